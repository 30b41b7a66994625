"""What the end of a log says of a failure."""

from __future__ import annotations

from merian_campaign.domain.safe_text.log_tail import telling

START = "INFO 2026-11-26T07:35:57.6 lsst.pipe.base.single_quantum_executor (fit:{visit: 4})(x.py:2) - Run"
RAISED = """Traceback (most recent call last):
  File "task.py", line 157, in run
    raise NoStarsError(label)
          ^^^^^^^^^^^~~~~~
made.NoStarsError: Only 0 usable sources."""
AFTER = """INFO 2026-11-26T07:35:57.7 lsst.pipe.base.mp_graph_executor ()(x.py:757) - Executed 0
ERROR 2026-11-26T07:35:57.7 lsst.daf.butler.cli.utils ()(utils.py:218) - Caught an exception, details are in:
Traceback (most recent call last):
  File "mp_graph_executor.py", line 767, in _execute_quanta_in_process
    raise MPGraphExecutorError("One or more tasks failed during execution.")
lsst.pipe.base.mp_graph_executor.MPGraphExecutorError: One or more tasks failed during execution."""


def told(*parts: str, lines: int = 12, characters: int = 1500) -> list[str]:
    return telling("\n".join(parts), lines=lines, characters=characters).splitlines()


def test_the_end_is_what_the_task_raised_and_not_what_the_middleware_makes_of_it() -> None:
    found = told(START, RAISED, AFTER, "")
    assert found[-1] == "made.NoStarsError: Only 0 usable sources."
    assert found[0] == START
    assert not any("^" in line for line in found)


def test_of_what_was_killed_it_is_what_came_last() -> None:
    assert told(RAISED, START)[-1] == START
    assert told(AFTER)[-1].endswith("during execution."), "if that is all there is, it stays"
    assert told("", " \n ") == []


def test_it_is_bounded() -> None:
    assert told(*["x" * 100] * 50, lines=3) == ["x" * 100] * 3
    assert sum(map(len, told(*["y" * 300] * 50, characters=500))) <= 500
