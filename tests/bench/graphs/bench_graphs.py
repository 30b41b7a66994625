"""Graph builds share a repository: as many at once as there are cores, against one after another.

``BENCH_GRAPHS`` is how many, four unless it is said, three times over. Each is ``pipetask qgraph`` behind
``merian-campaign shared``, as a driver builds its graph, on a registry on PostgreSQL (Debian's package
``postgresql``; without it, or when not root, nothing is measured).
"""

# ruff: noqa: T201 - a bench prints what it finds

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[2]), str(HERE.parents[1])]

from bench_results import entry, keep, wait_for_turn  # noqa: E402 - beside this one
from lsst.daf.butler import Config  # noqa: E402
from mock_survey import MockSurvey, make_mock_survey  # noqa: E402 - of the tests
from postgresql_help import PROGRAMS, private_registry  # noqa: E402 - of the tests

from merian_campaign.context import CommandContext  # noqa: E402
from merian_campaign.domain.rendering.render import data_query, input_collections  # noqa: E402
from merian_campaign.domain.spec import BpsStep  # noqa: E402
from merian_campaign.domain.spec.grouping import expand  # noqa: E402
from merian_campaign.store.server import embedded  # noqa: E402

BUILDS = int(os.environ.get("BENCH_GRAPHS", "4"))
ROUNDS = 3
BIN = Path(sys.executable).parent


@dataclass(frozen=True, kw_only=True)
class Builds:
    """What builds a graph of the survey's first step."""

    survey: MockSurvey
    words: tuple[str, ...]
    environ: dict[str, str]

    def run(self, *, readers: int, round_: str) -> float:
        """Build all graphs, so many at once; return the seconds that it took."""
        begin = time.perf_counter()
        builds = [self._start(readers=readers, run=f"u/bench/{round_}/{i:03d}") for i in range(BUILDS)]
        codes = [build.wait() for build in builds]
        assert not any(codes), codes
        return time.perf_counter() - begin

    def _start(self, *, readers: int, run: str) -> subprocess.Popen[bytes]:
        graph = self.survey.folder / f"{run.replace('/', '-')}.qg"
        lock = (str(BIN / "merian-campaign"), "shared", "--readers", str(readers), "--repository")
        build = (str(BIN / "pipetask"), "--log-level=ERROR", "qgraph", *self.words, "--output-run", run)
        return subprocess.Popen(
            [*lock, str(self.survey.repository), "--", *build, "--save-qgraph", str(graph)], env=self.environ
        )


@contextmanager
def survey() -> Iterator[Builds]:
    """A survey on PostgreSQL, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="merian-bench-")).resolve()
    folder.chmod(0o755)
    files, home = folder / "registry", folder / "home"
    files.mkdir()
    home.mkdir(mode=0o711)
    try:
        with private_registry(files) as registry:
            os.environ["LSST_DB_AUTH"] = str(registry.passwords)
            made = make_mock_survey("hsc-rc2", folder / "survey", config=Config(str(registry.seed)))
            environ = {**os.environ, **made.environ, "MERIAN_CAMPAIGN_HOME": str(home)}
            environ.pop("MERIAN_CAMPAIGN_DATABASE_URL", None)
            subprocess.run([str(BIN / "merian-campaign"), "db", "upgrade"], env=environ, check=True)
            yield Builds(survey=made, words=words_of(made), environ=environ)
    finally:
        embedded.stop(home)
        shutil.rmtree(folder, ignore_errors=True)


def words_of(made: MockSurvey) -> tuple[str, ...]:
    """Return what `pipetask qgraph` is told of the survey's first step."""
    context = CommandContext(environ={"HOME": str(made.folder), "PATH": "/usr/bin:/bin", **made.environ})
    spec = context.load(str(made.file)).spec
    step = next(step for step in spec.steps if isinstance(step, BpsStep))
    _, selection = next(iter(expand(step.group_by, tracts=made.facts.tracts)))
    own = spec.model_copy(update={"tracts": made.facts.tracts})
    return (
        *("-b", str(made.repository), "-i", ",".join(input_collections(spec=spec, step=step))),
        *("-p", step.pipeline, "-d", data_query(spec=own, step=step, selection=selection)),
    )


def main() -> int:
    """Measure, print, keep."""
    if not PROGRAMS or os.geteuid() != 0:
        print("graphs: not measured, for want of PostgreSQL's own server or of the rights to start it")
        return 0
    cores = max(2, os.cpu_count() or 2)
    ratios = []
    with survey() as builds:
        wait_for_turn()
        for i in range(ROUNDS):
            one = builds.run(readers=1, round_=f"one{i}")
            shared = builds.run(readers=cores, round_=f"shared{i}")
            print(f"{BUILDS} graphs: {one:.1f} s one after another, {shared:.1f} s at most {cores} at once")
            ratios.append(shared / one)
    return keep(
        [
            entry(
                "graphs: builds that share a repository against one after another",
                median(ratios),
                0.6,
                0.52,
                less=True,
            )
        ]
    )


if __name__ == "__main__":
    raise SystemExit(main())
