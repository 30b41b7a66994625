"""What benchmarks found: entries with what must hold and what is aimed at, kept in one file."""

from __future__ import annotations

import fcntl
import json
import os
import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

OUT = Path(__file__).resolve().parents[2] / "build" / "bench.json"
TURN = "BENCH_TURN"
"""Variable with the file that is locked until a benchmark has the machine for itself."""

_PACKAGES = (
    "merian-campaign",
    "lsst-ctrl-bps",
    "lsst-daf-butler",
    "parsl",
    "psycopg2-binary",
    "pydantic",
    "typer",
)


def entry(name: str, found: float, at_least: float, aim: float, *, less: bool = False) -> dict[str, Any]:
    """Return one line of the table; with ``less``, what is smaller is better."""
    digits = max(3, 2 - len(str(int(found))))
    return {"name": name, "ratio": round(found, digits), "at_least": at_least, "aim": aim, "less": less}


def held(one: Mapping[str, Any]) -> bool:
    """Say whether an entry is as it must be."""
    return bool(one["ratio"] <= one["at_least"] if one.get("less") else one["ratio"] >= one["at_least"])


def line(one: Mapping[str, Any]) -> str:
    """Return an entry as a line of a table."""
    word = "at most" if one.get("less") else "at least"
    sign = "ok  " if held(one) else "MISS"
    return f"{sign} {one['name']:62} {one['ratio']:9.3f}  ({word} {one['at_least']:g}, aim {one['aim']:g})"


def wait_for_turn() -> None:
    """Wait until nothing else is measured: what was set up before was so beside others."""
    turn = os.environ.get(TURN)
    if turn:
        asked(Path(turn)).touch()
        with Path(turn).open() as held_elsewhere:
            fcntl.flock(held_elsewhere, fcntl.LOCK_SH)


def asked(turn: Path) -> Path:
    """Return the file that says that somebody waits for a turn."""
    return turn.with_suffix(".asked")


class DamagedResultsError(Exception):
    """A file holds no results, or what it holds is not what `make bench` writes."""


def read(path: Path) -> dict[str, Any]:
    """Return what a file of results holds.

    Raises
    ------
    DamagedResultsError
        Raised with the file and what is wrong with it.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        for one in found["entries"]:
            held(one), line(one)
    except OSError as error:
        raise DamagedResultsError(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError, LookupError) as error:
        raise DamagedResultsError(
            f"{path}: no results as `make bench` writes them ({type(error).__name__}: {error})"
        ) from None
    return dict(found)


def keep(entries: Iterable[Mapping[str, Any]], *, path: Path = OUT) -> int:
    """Put entries into the file, in place of those of the same name; return 1 if one is not as it must be."""
    where = _where()
    # Of each, for those of other parts are kept from another run.
    of_run = {"at": where["at"], "load": where["machine"]["load"], "quanta": os.environ.get("BENCH_QUANTA")}
    new = [{**one, **of_run} for one in entries]
    names = {one["name"] for one in new}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two parts may end at once
        before = read(path)["entries"] if path.exists() else []
        kept = [*(one for one in before if one["name"] not in names), *new]
        part = path.with_suffix(".part")
        part.write_text(json.dumps({**where, "entries": kept}, indent=2) + "\n", encoding="utf-8")
        part.replace(path)
    for one in new:
        print(line(one))  # noqa: T201 - a bench prints what it finds
    return int(not all(map(held, new)))


def draw(name: str, curves: Mapping[str, Mapping[int, float]]) -> None:
    """Draw how long each question takes on campaigns of several sizes; beside the results, as SVG.

    Parameters
    ----------
    name : `str`
        Of the picture.
    curves : `~collections.abc.Mapping`
        Seconds by number of quanta, by question.
    """
    import vl_convert  # noqa: PLC0415 - nothing else of this needs it

    points = [
        {"question": question, "quanta": number, "ms": 1e3 * seconds}
        for question, curve in curves.items()
        for number, seconds in curve.items()
    ]
    scale = {"type": "log"}
    picture = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "data": {"values": points},
        "width": 480,
        "height": 320,
        "mark": {"type": "line", "point": True},
        "encoding": {
            "x": {"field": "quanta", "type": "quantitative", "scale": scale, "title": "quanta"},
            "y": {"field": "ms", "type": "quantitative", "scale": scale, "title": "ms"},
            "color": {"field": "question", "type": "nominal", "title": None},
        },
    }
    file = OUT.with_name(f"bench-{name}.svg")
    file.write_text(vl_convert.vegalite_to_svg(picture), encoding="utf-8")
    print(file)  # noqa: T201


def _where() -> dict[str, Any]:
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "system": platform.system(),
            "architecture": platform.machine(),
            "cores": os.cpu_count(),
            "memory_gb": round(pages / 2**30),
            "load": [round(each, 2) for each in os.getloadavg()],
        },
        "versions": {"python": platform.python_version(), **versions},
    }


def compare(old: Path, new: Path) -> int:
    """Print what became of each entry; return 1 if one is not as it must be any more."""
    was, now = read(old), read(new)
    before = {one["name"]: one for one in was["entries"]}
    for what in _differing(was, now):
        print(what)  # noqa: T201
    worse = 0
    for one in now["entries"]:
        earlier = before.pop(one["name"], None)
        print(f"{line(one)}  {_change(earlier, one)}")  # noqa: T201
        worse += earlier is not None and held(earlier) and not held(one)
    for one in before.values():
        print(f"{line(one)}  only in {old}")  # noqa: T201
    return int(worse > 0)


def _change(earlier: Mapping[str, Any] | None, one: Mapping[str, Any]) -> str:
    if earlier is None:
        return "new"
    change = f"x{one['ratio'] / earlier['ratio']:.2f}" if earlier["ratio"] else f"was {earlier['ratio']:g}"
    sizes = [entry.get("quanta") or "the usual size" for entry in (earlier, one)]
    return change if sizes[0] == sizes[1] else f"{change}, {sizes[0]} against {sizes[1]}"


def _differing(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterable[str]:
    """Yield what differs of the machines, but for their loads, and of the versions."""
    for part in ("machine", "versions"):
        old, new = was.get(part, {}), now.get(part, {})
        for name in sorted({*old, *new} - {"load"}):
            if old.get(name) != new.get(name):
                yield f"{part}, {name}: {old.get(name, 'none')} -> {new.get(name, 'none')}"
