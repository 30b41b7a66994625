"""Which groups a person means by a few words."""

from __future__ import annotations

import pytest
from domain_help import group, open_quanta, snapshot

from merian_campaign.domain.campaign.group_selection import Filter, choose
from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.selection import Selection
from merian_campaign.domain.states import GroupState, Verdict

REVIEW = frozenset({GroupState.NEEDS_REVIEW})
FULL = open_quanta(Verdict.OUT_OF_MEMORY)
ALL = snapshot(
    group("step1", state=GroupState.DONE),
    group("step3", tract=1, state=GroupState.NEEDS_REVIEW, open_quanta=(FULL,)),
    group("step3", tract=2, state=GroupState.DONE),
    group("step3", tract=13, state=GroupState.NEEDS_REVIEW, open_quanta=(open_quanta(Verdict.WALLTIME),)),
    group("step4", tract=1, state=GroupState.NEEDS_REVIEW),
    group("lone", state=GroupState.NEEDS_REVIEW),
)


@pytest.mark.parametrize(
    ("words", "names", "exact"),
    [
        (["step3/tract1"], ["step3/tract1"], True),
        (["step3/tract2"], ["step3/tract2"], True),
        (["lone"], ["lone/all"], True),
        (["step1"], ["step1/all"], True),
        (["step3"], ["step3/tract1", "step3/tract13"], False),
        (["step3/*"], ["step3/tract1", "step3/tract13"], False),
        (["step3/tract1?"], ["step3/tract13"], False),
        (["step[34]/tract1"], ["step3/tract1", "step4/tract1"], False),
        (["step?"], ["step3/tract1", "step3/tract13", "step4/tract1"], False),
        (["*"], ["step3/tract1", "step3/tract13", "step4/tract1", "lone/all"], False),
        (["lone", "step3/tract1", "lone"], ["step3/tract1", "lone/all"], False),
        (["lone", "lone"], ["lone/all"], True),
    ],
)
def test_words_mean_groups(words: list[str], names: list[str], exact: bool) -> None:
    found = choose(ALL, words, states=REVIEW)
    assert (list(found.names), found.exact) == (names, exact)


def test_a_verdict_narrows() -> None:
    full, passing = Filter(verdict=Verdict.OUT_OF_MEMORY), Filter(verdict=Verdict.INFRASTRUCTURE)
    found = choose(ALL, ["step3/*", "step4"], states=REVIEW, only=full)
    assert found.names == ("step3/tract1",)
    with pytest.raises(BadInputError, match=r"none of 2 groups .* infrastructure; they failed for: out_of_m"):
        choose(ALL, ["step3"], states=REVIEW, only=passing)
    with pytest.raises(BadInputError, match=r"none of 1 group .*: no quantum that failed"):
        choose(ALL, ["lone"], states=REVIEW, only=passing)


@pytest.mark.parametrize(
    ("words", "only", "names"),
    [
        (["step[34]"], Filter(tract=13), ["step3/tract13"]),
        ([], Filter(step="step3"), ["step3/tract1", "step3/tract13"]),
        ([], Filter(tract=1), ["step3/tract1", "step4/tract1"]),
        ([], Filter(night=20260101), ["step1/night20260101"]),
        ([], Filter(tasks=(FULL.task,), verdict=Verdict.WALLTIME), ["step3/tract13"]),
        ([], Filter(tasks=(FULL.task, "other"), tract=1), ["step3/tract1"]),
    ],
)
def test_filters_narrow_and_mean_groups_without_words(
    words: list[str], only: Filter, names: list[str]
) -> None:
    chosen = Selection(dimension="day_obs", values=(20260101,))
    night = group("step1", "night20260101", selection=chosen, state=GroupState.NEEDS_REVIEW)
    found = choose(snapshot(*ALL.groups, night), words, states=REVIEW, only=only)
    assert (list(found.names), found.exact) == (names, False)


def test_filters_that_mean_nothing_are_answered() -> None:
    with pytest.raises(BadInputError, match="say which groups"):
        choose(ALL, [], states=REVIEW)
    with pytest.raises(BadInputError, match="none of 4 groups is of tract 7, an open quantum of isr"):
        choose(ALL, [], states=REVIEW, only=Filter(tract=7, tasks=("isr",)))
    waiting = snapshot(*(group("step3", tract=tract, state=GroupState.WAITING) for tract in (1, 2)))
    with pytest.raises(BadInputError, match=r"^none of 2 groups is of tract 7$"):
        choose(waiting, [], states=REVIEW, only=Filter(tract=7))
    with pytest.raises(BadInputError, match=r"^tract 2 means 1 group, of which none needs review"):
        choose(waiting, [], states={GroupState.NEEDS_REVIEW}, only=Filter(tract=2))


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("step3/tract9", "no group is meant by 'step3/tract9'; that step has tract1, tract2, tract13"),
        ("step3/x*", "no group is meant by 'step3/x*'; that step has tract1"),
        ("nope", "no group is meant by 'nope'; steps are step1, step3, step4, lone"),
        ("x*", "steps are step1, step3"),
        ("[", "steps are"),
        ("a\x1b[31m", r"'a\\x1b[31m'; steps"),
        ("step1/*", "'step1/*' means 1 group, of which none needs review (1 done)"),
    ],
)
def test_words_that_mean_nothing_are_answered_with_what_there_is(word: str, says: str) -> None:
    with pytest.raises(BadInputError) as caught:
        choose(ALL, ["lone", word], states=REVIEW)
    assert says in str(caught.value)


def test_of_many_the_first_are_shown() -> None:
    many = snapshot(*(group("step3", tract=t, state=GroupState.NEEDS_REVIEW) for t in range(400)))
    words = choose(many, ["step3"], states=REVIEW).in_words()
    assert words.startswith("400 groups: step3/tract0, step3/tract1, ")
    assert words.endswith("step3/tract7 and 392 more")
    assert choose(ALL, ["lone"], states=REVIEW).in_words() == "1 group: lone/all"
