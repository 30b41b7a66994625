"""Learned requests in words, and for machines."""

from __future__ import annotations

from merian_campaign.domain.resources.memory_model import MemoryForecast
from merian_campaign.reports.cells import share
from merian_campaign.reports.memory_lines import memory_json, memory_lines


def of(task: str, *, fits: float, learned: bool = True, measured: int = 100) -> MemoryForecast:
    return MemoryForecast(
        task=task, request_mb=5000, measured=measured, fits=fits, wasted=2.0, learned=learned
    )


def test_a_step_is_one_line_of_the_plan() -> None:
    found = {
        "step1": (of("isr", fits=1.0, learned=False), of("calibrate", fits=0.9, measured=300)),
        "step2": (),
    }
    (line,) = memory_lines(found)
    assert line == (
        "memory of step1: 1 task asks for what was measured; 92.5% of the quanta would fit, "
        "7.5 second attempts in 100, 2.0 GB-hours unused in 1,000"
    )


def test_for_machines() -> None:
    (found,) = memory_json({"step1": (of("isr", fits=0.975),)})
    assert (found["step"], found["fits"], found["retries_in_100"]) == ("step1", 0.975, 2.5)
    assert (found["request_mb"], found["learned"], found["wasted_gb_hours_in_1000"]) == (5000, True, 2.0)


def test_a_whole_is_one_of_which_nothing_is_missing() -> None:
    assert [share(part) for part in (0.0, 0.994, 0.9999, 1.0)] == ["0%", "99%", "99%", "100%"]
    (line,) = memory_lines({"step1": (of("isr", fits=0.99996),)})
    assert "99.9% of the quanta would fit" in line
