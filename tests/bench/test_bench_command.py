"""`make bench` as a person types it: wrong numbers, files to compare that are none, and an end by signal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

BENCH = Path(__file__).resolve().parent


def bench(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCH), *words]
    return subprocess.run(
        command, env={**os.environ, **environ}, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize("number", ["0", "-1", "abc", "1e6", "9_999"])
def test_a_number_that_measures_nothing_is_refused(number: str) -> None:
    done = bench(PART="store", BENCH_QUANTA=number)
    assert done.returncode == 2
    assert done.stderr == (
        f"BENCH_QUANTA: found '{number}'; write a whole number of 10,000 at least, e.g. 100000\n"
    )


def test_a_part_that_there_is_not_is_refused() -> None:
    done = bench(PART="shop")
    assert (done.returncode, done.stdout) == (2, "")
    assert "PART is one of cli, render, store" in done.stderr


@pytest.mark.parametrize("script", sorted(BENCH.glob("*/bench_*.py")), ids=lambda script: script.stem)
def test_each_benchmark_finds_what_it_imports(script: Path) -> None:
    # In a process without the paths that pytest adds.
    words = [sys.executable, "-c", "import runpy, sys; runpy.run_path(sys.argv[1], run_name='bench')"]
    done = subprocess.run([*words, str(script)], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_benchmark_that_breaks_off_is_named(tmp_path: Path) -> None:
    (tmp_path / "statistics.py").write_text("raise ImportError('not today')")
    done = bench(PART="reports", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stdout.endswith("reports/bench_reports.py: not as it must be, or it broke off; see above\n")


def entry(name: str, ratio: float, **more: Any) -> dict[str, Any]:
    return {"name": name, "ratio": ratio, "at_least": 0.5, "aim": 2, "less": False, **more}


@pytest.fixture
def results(tmp_path: Path) -> Callable[..., str]:
    def write(name: str, *entries: dict[str, Any], cores: int = 2) -> str:
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps({"machine": {"cores": cores, "load": [name]}, "entries": entries}))
        return str(file)

    return write


def test_two_files_are_held_against_each_other(results: Callable[..., str]) -> None:
    old = results("old", entry("slower", 1.0), entry("gone", 0.6), entry("same", 0.7))
    new = results(
        "new", entry("slower", 0.3), entry("same", 0.7, quanta="1000000"), entry("found", 0.6), cores=8
    )
    done = bench("compare", old, new)
    assert (done.returncode, done.stderr) == (1, "")
    machine, slower, same, found, gone = done.stdout.splitlines()
    assert machine == "machine, cores: 2 -> 8"
    assert slower.startswith("MISS slower")
    assert slower.endswith("x0.30")
    assert same.endswith("x1.00, the usual size against 1000000")
    assert found.endswith("new")
    assert gone.endswith(f"only in {old}")
    again = bench("compare", old, old)
    assert again.returncode == 0
    assert again.stdout.count("x1.00") == 3


@pytest.mark.parametrize("text", ["{", "[]", '{"entries": 3}', '{"entries": [{"name": "a"}]}', None])
def test_a_file_that_holds_no_results_is_named(
    results: Callable[..., str], tmp_path: Path, text: str | None
) -> None:
    file = tmp_path / "damaged.json"
    if text is not None:
        file.write_text(text)
    done = bench("compare", results("old"), str(file))
    assert done.returncode == 2
    assert done.stderr.startswith(f"{file}: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_bench_that_is_ended_leaves_no_server_and_no_folder(tmp_path: Path, how: signal.Signals) -> None:
    environ = {**os.environ, "PART": "reports", "BENCH_QUANTA": "10000", "TMPDIR": str(tmp_path)}
    # As from a terminal, of which Ctrl-C goes to all.
    process = subprocess.Popen(
        [sys.executable, str(BENCH)], env=environ, stdout=subprocess.DEVNULL, process_group=0
    )
    servers: list[psutil.Process] = []
    deadline = time.monotonic() + 120
    while not servers and time.monotonic() < deadline:
        assert process.poll() is None
        for file in tmp_path.glob("merian-bench-*/postgres/postmaster.pid"):
            number = file.read_text().partition("\n")[0]
            servers += [psutil.Process(int(number))] if number and psutil.pid_exists(int(number)) else []
    assert servers
    (os.killpg if how is signal.SIGINT else os.kill)(process.pid, how)
    assert process.wait(timeout=120) == 128 + how
    psutil.wait_procs(servers, timeout=60)
    assert not [server for server in servers if server.is_running()]
    assert not list(tmp_path.iterdir())
