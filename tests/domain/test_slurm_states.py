"""One table of Slurm's states, read by the manager and by the drivers alike."""

from __future__ import annotations

import pytest
from parsl.jobs.states import TERMINAL_STATES

from merian_campaign.domain.slurm.slurm_jobs import SlurmJob, describe, merge
from merian_campaign.domain.slurm.slurm_states import STATES, JobEnd, Stage, meaning_of, whole_state
from merian_campaign.wms.sites.provider import parsl_state

DOCUMENTED = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "COMPLETING", "CONFIGURING", "DEADLINE", "EXPEDITING", "FAILED"),
    *("LAUNCH_FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PENDING", "POWER_UP_NODE", "PREEMPTED", "RUNNING"),
    *("RECONFIG_FAIL", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESIZING", "RESV_DEL_HOLD", "REVOKED"),
    *("SIGNALING", "SPECIAL_EXIT", "STAGE_OUT", "STOPPED", "SUSPENDED", "TIMEOUT", "UPDATE_DB"),
}
UNKNOWN_WORDS = ("BRAND_NEW", "RE+", "COMPLE+", "{}", "12")


def job(state: str) -> SlurmJob:
    return SlurmJob(job_id="12", name="n", state=state)


def test_every_documented_state_is_in_the_table() -> None:
    assert {state for state in STATES if state} - {"UNKNOWN"} == DOCUMENTED


@pytest.mark.parametrize("state", STATES)
def test_both_sides_conclude_the_same(state: str) -> None:
    meaning, seen, parsl = meaning_of(state), job(state), parsl_state(state)
    assert seen.over is meaning.over
    assert seen.alive is (meaning.fate is JobEnd.ALIVE)
    assert not (seen.alive and seen.over)
    if meaning.stage is Stage.UNSURE:
        assert parsl is None
    elif meaning.stage is not Stage.ENDING:  # a successor of a block that ends may be asked for
        assert (parsl in TERMINAL_STATES) is seen.over


@pytest.mark.parametrize("word", [*UNKNOWN_WORDS, "UPDATE_DB"])
def test_a_word_that_says_nothing_is_neither_dead_nor_alive(word: str) -> None:
    seen = job(whole_state(word))
    assert (seen.alive, seen.over, seen.fate) == (False, False, JobEnd.UNSURE)
    assert parsl_state(seen.state) is None
    assert describe(seen).startswith("Slurm job 12 is in a state that is not known here")
    # The accounting may know more; what it says of a living or ended job counts then.
    for better in ("RUNNING", "FAILED"):
        assert [each.state for each in merge([seen], [job(better)])] == [better]
    assert [each.state for each in merge([job("RUNNING")], [seen])] == ["RUNNING"]


@pytest.mark.parametrize(
    ("word", "whole"),
    [
        ("OUT_OF_ME+", "OUT_OF_MEMORY"),
        ("CANCELLED by 1000", "CANCELLED"),
        ("CANCELLED+", "CANCELLED"),
        ("RUNNING ", "RUNNING"),
        ("running", "RUNNING"),
        ("COMPLETING,NODE_FAIL", "COMPLETING"),
        ("COMPLE+", "COMPLE+"),
        ("", ""),
    ],
)
def test_words_are_completed_where_slurm_cut_them(word: str, whole: str) -> None:
    assert whole_state(word) == whole
