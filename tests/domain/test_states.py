import itertools

import pytest

from merian_campaign.domain.states import (
    GROUP_MOVES,
    SUBMISSION_MOVES,
    GroupState,
    IllegalMoveError,
    SubmissionState,
    advance_group,
    advance_submission,
)

# Written down once more, by hand: a move that appears or disappears is a decision, not an accident.
GROUP = {
    "waiting": {"ready", "blocked", "needs_review", "cancelled"},
    "blocked": {"waiting", "ready", "needs_review", "cancelled"},
    "ready": {"running", "waiting", "cancelled", "needs_review"},
    "running": {"ready", "done", "needs_review", "cancelled"},
    "needs_review": {"ready", "waiting", "done", "cancelled"},
    "done": {"ready", "waiting", "needs_review"},
    "cancelled": {"ready", "waiting", "needs_review"},
}
SUBMISSION = {"prepared": {"running", "finished"}, "running": {"finished"}, "finished": set()}


@pytest.mark.parametrize(("current", "target"), [*itertools.product(GroupState, repeat=2)])
def test_groups_move_along_the_table_and_nowhere_else(current: GroupState, target: GroupState) -> None:
    if target in GROUP[current]:
        assert advance_group(current, target) is target
    else:
        with pytest.raises(IllegalMoveError, match=f"from {current} to {target}"):
            advance_group(current, target)


@pytest.mark.parametrize(("current", "target"), [*itertools.product(SubmissionState, repeat=2)])
def test_submissions_move_along_the_table_and_nowhere_else(
    current: SubmissionState, target: SubmissionState
) -> None:
    if target in SUBMISSION[current]:
        assert advance_submission(current, target) is target
    else:
        with pytest.raises(IllegalMoveError, match=f"from {current} to {target}"):
            advance_submission(current, target)


def test_every_state_has_its_moves() -> None:
    assert set(GROUP_MOVES) == set(GroupState)
    assert set(SUBMISSION_MOVES) == set(SubmissionState)
