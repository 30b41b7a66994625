"""Reading what Slurm prints, and saying how a job ended."""

from datetime import UTC, datetime

import pytest

from merian_campaign.domain.slurm.sbatch import SbatchRefusal, directive, refusal_of, sbatch_words
from merian_campaign.domain.slurm.slurm_jobs import (
    SlurmJob,
    belongs,
    describe,
    merge,
    parse_sacct,
    parse_squeue,
)
from merian_campaign.domain.slurm.slurm_states import JobEnd, state_word

T0, T1, T2 = "2026-11-22T15:00:00", "2026-11-22T15:01:00", "2026-11-22T15:09:00"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def accounted(
    job: str = "12",
    state: str = "COMPLETED",
    *,
    code: str = "0:0",
    start: str = T1,
    end: str = T2,
    **other: str,
) -> str:
    values = {"reason": "None", "nodes": "n1", "submit": T0, "name": "night-ab12", "comment": ""} | other
    return "|".join(
        [job, state, values["reason"], values["nodes"], values["submit"], start, end, code, values["name"],
         values["comment"]]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("word", "fate"),
    [
        ("PENDING", JobEnd.ALIVE),
        ("RUNNING", JobEnd.ALIVE),
        ("COMPLETING", JobEnd.ALIVE),
        ("REQUEUED", JobEnd.ALIVE),
        ("SUSPENDED", JobEnd.ALIVE),
        ("COMPLETED", JobEnd.COMPLETED),
        ("OUT_OF_MEMORY", JobEnd.OUT_OF_MEMORY),
        ("OUT_OF_ME+", JobEnd.OUT_OF_MEMORY),
        ("TIMEOUT", JobEnd.WALLTIME),
        ("DEADLINE", JobEnd.WALLTIME),
        ("NODE_FAIL", JobEnd.NODE_LOST),
        ("BOOT_FAIL", JobEnd.NODE_LOST),
        ("PREEMPTED", JobEnd.PREEMPTED),
        ("CANCELLED", JobEnd.CANCELLED),
        ("CANCELLED by 1000", JobEnd.CANCELLED),
        ("CANCELLED+", JobEnd.CANCELLED),
        ("FAILED", JobEnd.FAILED),
        ("REVOKED", JobEnd.UNKNOWN),
        ("", JobEnd.UNKNOWN),
    ],
)
def test_every_state_has_a_meaning(word: str, fate: JobEnd) -> None:
    (job,) = parse_sacct(accounted(state=word))
    assert job.fate is fate


def test_words_that_could_be_several_states_mean_nothing() -> None:
    assert state_word("RE+") == ("RE+", "")
    (job,) = parse_sacct(accounted(state="RE+"))
    assert (job.fate, job.alive, job.over) == (JobEnd.UNSURE, False, False)
    assert state_word("cancelled by 7") == ("CANCELLED", "7")


def test_the_accounting_tells_how_a_job_ended() -> None:
    (job,) = parse_sacct(accounted(state="FAILED", code="3:9", name="a|b", comment=""))
    assert (job.job_id, job.exit_code, job.signal) == ("12", 3, 9)
    assert (job.submitted, job.started, job.ended) == (at(T0), at(T1), at(T2))


def test_a_step_that_was_killed_for_memory_tells_of_its_job() -> None:
    text = "\n".join(
        [accounted(state="FAILED", code="137:0"), accounted("12.batch", "OUT_OF_ME+", code="0:125")]
    )
    (job,) = parse_sacct(text)
    assert job.fate is JobEnd.OUT_OF_MEMORY
    (other,) = parse_sacct(text.replace("FAILED", "COMPLETED"))
    assert other.fate is JobEnd.COMPLETED


def test_a_requeued_job_is_its_last_run() -> None:
    runs = [
        accounted(state="NODE_FAIL", submit=T0, start=T0, end=T1),
        accounted(state="RUNNING", submit=T1, start=T1, end="Unknown"),
    ]
    (job,) = parse_sacct("\n".join(runs))
    assert (job.state, job.restarts, job.ended) == ("RUNNING", 1, None)


def test_a_resized_job_is_one_job() -> None:
    (job,) = parse_sacct("\n".join([accounted(state="RESIZING"), accounted(state="COMPLETED")]))
    assert (job.state, job.restarts) == ("COMPLETED", 0)


def test_an_id_used_again_is_another_job() -> None:
    found = parse_sacct("\n".join([accounted(name="old"), accounted(name="new", state="RUNNING")]))
    assert {(job.name, job.alive) for job in found} == {("old", False), ("new", True)}


def test_the_queue_and_its_expected_times() -> None:
    text = f"12|PENDING|Priority||{T0}|{T1}|{T2}|0|night-ab12|merian-campaign:/s/1\n"
    text += f"13|RUNNING|None|n[1-2]|{T0}|{T1}|{T2}|2|x|(null)\nslurm_load_jobs error\n\n13|torn"
    waiting, running = parse_squeue(text)
    assert (waiting.started, waiting.ended, waiting.reason, waiting.restarts) == (None, None, "Priority", 0)
    assert (running.started, running.ended, running.nodes, running.comment) == (at(T1), None, "n[1-2]", "")
    assert running.restarts == 2


def test_the_queue_knows_the_living_and_the_accounting_the_dead() -> None:
    queue = (
        SlurmJob(job_id="1", name="a", state="RUNNING"),
        SlurmJob(job_id="2", name="b", state="FAILED", comment="c"),
        SlurmJob(job_id="4", name="d", state="CANCELLED", reason="None"),
        SlurmJob(job_id="5", name="e", state="CANCELLED", restarts=1),
    )
    accounting = (
        SlurmJob(job_id="1", name="a", state="COMPLETED"),
        SlurmJob(job_id="2", name="b", state="FAILED", exit_code=3),
        SlurmJob(job_id="3", name="c", state="RUNNING"),
        SlurmJob(job_id="4", name="d", state="RUNNING", restarts=2),
        # It has not been told yet that the job was requeued.
        SlurmJob(job_id="5", name="e", state="CANCELLED"),
    )
    merged = {job.job_id: job for job in merge(queue, accounting)}
    assert merged["1"].state == "RUNNING"
    assert (merged["2"].exit_code, merged["2"].comment) == (3, "c")
    # It may be gone from the queue for a second only: nobody concludes that it ended.
    assert merged["3"].alive
    assert (merged["4"].state, merged["4"].restarts) == ("CANCELLED", 2)
    assert (merged["5"].state, merged["5"].restarts) == ("CANCELLED", 1)


@pytest.mark.parametrize(
    ("name", "comment", "own"),
    [
        ("mine", "", True),
        ("other", "merian-campaign:/s/1", True),
        ("other", "merian-campaign:/s/1/bps", True),
        ("other", "merian-campaign:/s/11", False),
        ("other", "/s/1", False),
        ("other", "", False),
    ],
)
def test_a_job_is_known_by_its_name_or_its_comment(name: str, comment: str, *, own: bool) -> None:
    job = SlurmJob(job_id="1", name=name, state="RUNNING", comment=comment)
    assert belongs(job, directory="/s/1", names=["mine"]) is own


def test_words_for_people() -> None:
    job = SlurmJob(
        job_id="12", name="a", state="CANCELLED", cancelled_by="ana", nodes="n1", started=at(T1), ended=at(T2)
    )
    assert describe(job) == (
        "Slurm job 12 was cancelled by user ana (CANCELLED, on n1, 2026-11-22 15:01:00 to 15:09:00 UTC)"
    )
    assert "signal 9" in describe(SlurmJob(job_id="1", name="a", state="FAILED", signal=9))


POLICY = "Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size ...)"


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        (
            "Batch job submission failed: Invalid account or account/partition combination",
            SbatchRefusal.FINAL,
        ),
        ("Batch job submission failed: Requested node configuration is not available", SbatchRefusal.FINAL),
        ("Batch job submission failed: Requested time limit is invalid", SbatchRefusal.FINAL),
        (
            f"QOSMaxWallDurationPerJobLimit\nsbatch: error: {POLICY}",
            SbatchRefusal.FINAL,
        ),
        (POLICY, SbatchRefusal.FINAL),
        (f"AssocMaxSubmitJobLimit\nsbatch: error: {POLICY}", SbatchRefusal.FOR_NOW),
        (f"AssocGrpSubmitJobsLimit\nsbatch: error: {POLICY}", SbatchRefusal.FOR_NOW),
        (f"QOSMaxSubmitJobPerUserLimit\nsbatch: error: {POLICY}", SbatchRefusal.FOR_NOW),
        ("Slurm temporarily unable to accept job, sleeping and retrying", SbatchRefusal.FOR_NOW),
        ("Required partition not available (inactive or drain)", SbatchRefusal.FOR_NOW),
        ("Batch job submission failed: Unable to contact slurm controller", SbatchRefusal.UNSURE),
        ("Batch job submission failed: Socket timed out on send/recv operation", SbatchRefusal.UNSURE),
        (
            "Slurm temporarily unable to accept job, sleeping and retrying\nSocket timed out",
            SbatchRefusal.UNSURE,
        ),
        ("", SbatchRefusal.UNSURE),
    ],
)
def test_what_a_failed_sbatch_means(text: str, meaning: SbatchRefusal) -> None:
    assert refusal_of(f"sbatch: error: {text}" if text else "") is meaning


def test_what_sbatch_said() -> None:
    text = "sbatch: error: invalid partition specified: xx\nsbatch: error: Batch job submission failed\n"
    assert sbatch_words(text) == "invalid partition specified: xx; Batch job submission failed"
    assert sbatch_words("") == "sbatch said nothing"


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("night", "#SBATCH --comment=night"),
        (4, "#SBATCH --comment=4"),
        ("/a b/c", '#SBATCH --comment="/a b/c"'),
        ('say "no"', '#SBATCH --comment="say \\"no\\""'),
        ("back\\slash", '#SBATCH --comment="back\\\\slash"'),
        ("a#b", '#SBATCH --comment="a#b"'),
    ],
)
def test_values_of_batch_scripts_are_quoted_where_they_must_be(value: object, line: str) -> None:
    assert directive("comment", value) == line


@pytest.mark.parametrize("value", ["a\nrm -rf /", "a\rb"])
def test_a_value_of_two_lines_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="a value of one line"):
        directive("comment", value)
