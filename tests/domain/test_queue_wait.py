"""How long quanta waited for their turn, by what the journal says of them and of what came before."""

from __future__ import annotations

import pytest

from merian_campaign.domain.execution.journal import JournalEvent, JournalRecord
from merian_campaign.domain.execution.provenance import Predicted
from merian_campaign.domain.execution.queue_wait import queue_waits


def predicted(uuid: str, *after: str, task: str = "isr") -> Predicted:
    return Predicted(uuid=uuid, task=task, data_id=f"detector={uuid}", dimensions={}, after=after)


# isr (a) -> calibrate (b) -> table (d);  isr (c) -> table (d)
GRAPH = (
    predicted("a"),
    predicted("b", "a", task="calibrate"),
    predicted("c"),
    predicted("d", "b", "c", task="table"),
)


def line(event: JournalEvent, quanta: str, seconds: float) -> JournalRecord:
    """A line about a job that has these quanta, a letter each."""
    moment = f"2026-11-22T15:00:{seconds:09.6f}Z"
    return JournalRecord(event=event, t=moment, job=f"job_{quanta}", quanta=tuple(quanta))


def launched(*jobs: str, at: float = 0) -> list[JournalRecord]:
    return [line(JournalEvent.LAUNCHED, quanta, at) for quanta in jobs]


def ran(quanta: str, begin: float, end: float) -> list[JournalRecord]:
    return [line(JournalEvent.STARTED, quanta, begin), line(JournalEvent.ENDED, quanta, end)]


def waited(*parts: list[JournalRecord]) -> dict[str, tuple[int, float, float]]:
    records = [record for part in parts for record in part]
    found = queue_waits(records, predicted=GRAPH)
    assert all(sum(wait.bins.values()) == wait.executions for wait in found)
    return {wait.task: (wait.executions, pytest.approx(wait.seconds), wait.longest) for wait in found}


def test_from_the_hand_over_or_the_end_of_the_last_one_before() -> None:
    everything = waited(
        launched("a", "b", "c", "d"), ran("a", 3, 5), ran("c", 4, 20), ran("b", 6, 8), ran("d", 21.5, 22)
    )
    assert everything == {"isr": (2, 7, 4), "calibrate": (1, 1, 1), "table": (1, 1.5, 1.5)}


def test_quanta_of_one_job_wait_together_and_not_for_each_other() -> None:
    assert waited(launched("ab", "c"), ran("ab", 2, 9), ran("c", 3, 4)) == {
        "isr": (2, 5, 3),
        "calibrate": (1, 2, 2),
    }


def test_what_is_run_again_waits_from_its_end_on() -> None:
    assert waited(launched("a"), ran("a", 1, 4), ran("a", 6, 9)) == {"isr": (2, 3, 2)}


def test_what_went_down_unseen_says_no_moment() -> None:
    gone = [line(JournalEvent.STARTED, "a", 1)]
    assert waited(launched("a"), gone, ran("a", 30, 40)) == {"isr": (1, 1, 1)}
    another = [line(JournalEvent.CLOSED, "", 20), line(JournalEvent.OPENED, "", 25)]
    assert waited(launched("a"), gone, another, launched("a", at=26), ran("a", 30, 40)) == {"isr": (2, 5, 4)}


def test_a_journal_without_hand_overs_says_nothing() -> None:
    assert waited(ran("a", 1, 2), ran("b", 3, 4)) == {}


def test_clocks_that_disagree_make_no_negative_wait() -> None:
    (wait,) = queue_waits([*launched("a", at=5), *ran("a", 3, 6)], predicted=GRAPH)
    assert (wait.seconds, wait.longest, dict(wait.bins)) == (0, 0, {-345: 1})
    (wait,) = queue_waits([*launched("a"), *ran("a", 10, 11)], predicted=GRAPH)
    assert dict(wait.bins) == {115: 1}  # 50 ln 10
