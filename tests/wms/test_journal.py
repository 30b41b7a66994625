import json
from datetime import UTC, datetime
from pathlib import Path
from subprocess import run

from merian_campaign.domain.execution.journal import (
    JobVerdict,
    JournalEvent,
    JournalRecord,
    format_line,
    format_time,
    parse_lines,
)
from merian_campaign.domain.execution.quantum_progress import JournalState, fold
from merian_campaign.wms.journal_writer import Journal

SCRIPT = Path(__file__).parents[2] / "merian_campaign" / "wms" / "quantum.sh"


def line(event: str, *quanta: str, **more: object) -> JournalRecord:
    return JournalRecord(event=event, job="j", label="l", quanta=quanta, **more)  # type: ignore[arg-type]


def test_a_record_survives_the_round_trip() -> None:
    record = JournalRecord(
        event=JournalEvent.ENDED,
        t="2026-11-22T00:00:00.000001Z",
        job="j",
        label="isr",
        quanta=("a", "b"),
        host="h",
        pid=3,
        pid_start=4,
        signal=9,
        verdict=JobVerdict.OUT_OF_MEMORY,
        evidence={"reached_mb": 12.5},
        peak_mb=12.5,
        requested_mb=10.0,
        cpu_s=1.0,
        wall_s=2.0,
        slurm_job="77",
        slurm_node="n1",
    )
    assert parse_lines(format_line(record)) == (record,)
    assert record.time == datetime(2026, 11, 22, microsecond=1, tzinfo=UTC)
    assert format_time(record.time) == record.t


def test_torn_unknown_and_damaged_lines() -> None:
    good = format_line(line(JournalEvent.STARTED, "a"))
    later = json.dumps({"v": 7, "event": "teleported", "quanta": ["z"], "new": 1}) + "\n"
    text = good + '{"v":1,"event":"sta' + good + "rubbish\n[1]\n" + later + '{"v":1,"event":"ended"'
    assert [r.event for r in parse_lines(text)] == ["started", "started", "teleported"]


def test_wrong_types_read_as_unknown() -> None:
    (record,) = parse_lines('{"v":1,"event":"ended","pid":"x","exit":true,"peak_mb":[],"quanta":3,"t":5}\n')
    assert (record.pid, record.exit, record.peak_mb, record.quanta, record.time) == (
        None,
        None,
        None,
        (),
        None,
    )


def test_fold_follows_a_quantum() -> None:
    records = [
        line(JournalEvent.OPENED),
        line(JournalEvent.LAUNCHED, "a", "b", "c"),
        line(JournalEvent.STARTED, "a"),
        line(JournalEvent.ENDED, "a", verdict="failed"),
        line(JournalEvent.STARTED, "a"),
        line(JournalEvent.ENDED, "a", verdict="ok"),
        line(JournalEvent.STARTED, "a"),
        line(JournalEvent.STARTED, "b"),
        line(JournalEvent.HELD, "d"),
    ]
    states = {quantum: progress.state for quantum, progress in fold(records).items()}
    assert states == {
        "a": JournalState.OK,
        "b": JournalState.RUNNING,
        "c": JournalState.LAUNCHED,
        "d": JournalState.HELD,
    }
    assert fold(records)["a"].starts == 3
    assert fold([*records, line(JournalEvent.CLOSED)])["b"].state is JournalState.LOST


def test_writers_append_whole_lines(tmp_path: Path) -> None:
    journals = [Journal(tmp_path / "journal.jsonl") for _ in range(2)]
    for number in range(50):
        journals[number % 2].write(line(JournalEvent.LAUNCHED, str(number)))
    records = journals[0].read()
    assert [r.quanta[0] for r in records] == [str(n) for n in range(50)]
    assert all(r.time is not None for r in records)


def test_the_shell_wrapper_writes_the_same_format(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"

    def wrapped(*command: str, limit: str = "0") -> int:
        call = [SCRIPT, journal, limit, 'la"bel', "job", "--", *command]
        return run(call, check=False, capture_output=True).returncode

    assert wrapped("true", "--qgraph-node-id", "0a-1,0b-2") == 0
    assert wrapped("sh", "-c", "exit 3", "--qgraph-node-id=0c-3") == 3
    assert wrapped("sh", "-c", "kill -9 $$") == 137
    assert wrapped("sh", "-c", "ulimit -v", limit="512") == 0
    records = parse_lines(journal.read_text())
    assert [r.event for r in records] == ["started", "ended"] * 4
    assert records[0].quanta == ("0a-1", "0b-2")
    assert {r.label for r in records} == {'la"bel'}
    assert [(r.exit, r.signal, r.verdict) for r in records[1::2]] == [
        (0, None, "ok"),
        (3, None, "failed"),
        (None, 9, "failed"),
        (0, None, "ok"),
    ]
    assert records[-1].requested_mb == 512
    assert all(r.pid_start and r.host for r in records)


def test_what_is_too_much_or_no_number_is_left_out_by_reader_and_writer() -> None:
    nested: dict[str, object] = {}
    for _ in range(40):
        nested = {"deeper": nested}
    evidence = {
        "ratio": float("nan"), "far": float("inf"), "huge": 10**40, "words": "x" * 50_000,
        "nested": nested, "odd": {1, 2}, "active": "\x1b[31m\x00\ud800",
    }  # fmt: skip
    record = JournalRecord(
        event=JournalEvent.ENDED,
        job="j",
        quanta=("q",),
        verdict="failed",
        evidence=evidence,
        peak_mb=float("inf"),
    )
    line = format_line(record)
    assert len(line) < 10_000
    (found,) = parse_lines(line)
    assert found.peak_mb is None
    assert found.evidence["active"] == r"\x1b[31m\x00\ud800"
    assert set(found.evidence) == set(evidence)
    wild = '"exit":99999999999,"peak_mb":1e18,"wall_s":-5,"t":"9999-12-31T23:59:59-14:00"'
    (found,) = parse_lines(f'{{"v":1,"event":"ended",{wild}}}\n')
    assert (found.exit, found.peak_mb, found.wall_s, found.time) == (None, None, None, None)


def test_lines_that_are_no_journals_are_dropped_at_once() -> None:
    text = "\n".join(['{"v":' * 300_000, "[" * 300_000, '{"v":1,"event":NaN}', "x" * 10_000_000, ""])
    assert parse_lines(text) == ()
