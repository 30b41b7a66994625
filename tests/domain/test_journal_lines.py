"""A journal in columns says what its lines say."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from merian_campaign.domain.execution.journal import JournalEvent, JournalRecord, format_line, parse_lines
from merian_campaign.domain.execution.journal_lines import JournalLines

UUIDS = [f"01930000-0000-0000-0000-00000000000{number}" for number in range(3)]
JOBS = [f"{UUIDS[0]}_isr_1", f"{UUIDS[1]}_isr_2", "cluster"]
EVENTS = [*list(JournalEvent), "teleported"]

records = st.builds(
    JournalRecord,
    event=st.sampled_from(EVENTS),
    t=st.sampled_from(["2026-11-22T15:04:05.123456Z", "2026-11-22T15:04:06Z", "", "é" * 27]),
    v=st.sampled_from([1, 2]),
    job=st.sampled_from(JOBS),
    label=st.sampled_from(["isr", ""]),
    quanta=st.sampled_from([(UUIDS[0],), (UUIDS[1],), tuple(UUIDS), ()]),
    host=st.sampled_from(["node1", "node2"]),
    pid=st.sampled_from([None, 0, 4711, -1, 2**70]),
    pid_start=st.sampled_from([None, 12]),
    exit=st.sampled_from([None, 0, 1]),
    signal=st.sampled_from([None, 9]),
    verdict=st.sampled_from([None, "ok", "failed"]),
    evidence=st.sampled_from([{}, {"reached_mb": 12.5}]),
    peak_mb=st.sampled_from([None, 0.0, 900.5]),
    requested_mb=st.sampled_from([None, 2048.0]),
    cpu_s=st.sampled_from([None, 1.25]),
    wall_s=st.sampled_from([None, 2.0]),
    slurm_job=st.sampled_from([None, "77"]),
    slurm_node=st.sampled_from([None, "n1"]),
)


@settings(deadline=None, max_examples=200)
@given(written=st.lists(records, max_size=12), cut=st.integers(0, 12), few=st.sampled_from([0, 1, 5, 99]))
def test_lines_are_what_is_written_but_for_those_that_waited(
    written: list[JournalRecord], cut: int, few: int
) -> None:
    """What was handed over and then heard of is left out; what waits comes last. Few lines or many."""
    lines = JournalLines(few=few)
    for part in (written[:cut], written[cut:]):
        lines.add("".join(map(format_line, part)))
    read = parse_lines("".join(map(format_line, written)))
    told = [record for record in read if record.event != JournalEvent.LAUNCHED]
    last = {record.job: record for record in read}
    waiting = [record for record in last.values() if record.event == JournalEvent.LAUNCHED]
    assert list(lines)[: len(told)] == told
    assert sorted(map(repr, list(lines)[len(told) :])) == sorted(map(repr, waiting))
    assert len(lines) == len(list(lines))
    assert list(lines.in_full()) == list(read)


usual = st.builds(
    JournalRecord,
    event=st.sampled_from(["launched", "started", "ended"]),
    t=st.just("2026-11-22T15:04:05.123456Z"),
    job=st.sampled_from(JOBS),
    label=st.just("isr"),
    quanta=st.just((UUIDS[0],)),
    host=st.sampled_from(["node1", ""]),
    pid=st.sampled_from([None, 0, 4711]),
    pid_start=st.sampled_from([None, 12]),
    exit=st.just(0),
    verdict=st.just("ok"),
    evidence=st.sampled_from([{}, {"reached_mb": 12.5}, {"warm": True, "parts": {"}": 0.5, "a": "},"}}]),
    peak_mb=st.sampled_from([None, 0.0, 900.5, 1e-7]),
    requested_mb=st.sampled_from([None, 2048]),
    cpu_s=st.sampled_from([None, 1.25]),
    wall_s=st.sampled_from([None, 2.0]),
    slurm_job=st.sampled_from([None, "77"]),
    slurm_node=st.sampled_from([None, "n1"]),
)
PLAIN = 'vabcdef0123456789.-+eE{}[],: "\\\x7f\né'


@settings(deadline=None, max_examples=400)
@given(
    record=usual | records, at=st.integers(0, 400), instead=st.text(PLAIN, max_size=3), cut=st.integers(0, 3)
)
def test_a_line_says_the_same_however_it_is_spelled(
    record: JournalRecord, at: int, instead: str, cut: int
) -> None:
    """Lines as we write them are read another way than others; whatever befell one, both ways agree."""
    line = format_line(record)[:-1]
    for text in (line, line[:at] + instead + line[at + cut :]):
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if "\n" in text or not text.startswith('{"v":') or text.count('{"v":') != 1:
            continue
        spaced = "" if value is None else json.dumps(value)
        assert parse_lines(text + "\n") == parse_lines(spaced + "\n")
