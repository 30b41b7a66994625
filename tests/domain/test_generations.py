"""What a generation was made from, by what its submissions say; and its chain."""

from __future__ import annotations

from dataclasses import replace

import pytest
from domain_help import finished
from hypothesis import given
from hypothesis import strategies as st

from merian_campaign.domain.readiness.generations import (
    MadeFrom,
    basis_of,
    chain_change,
    change_of,
    combines_of,
    generations_of,
    stored_basis,
)
from merian_campaign.domain.record.basis import Basis

PARTS = {"exposures": [1], "upstream": {}, "parts": [1]}
BASES = st.builds(
    Basis,
    exposures=st.frozensets(st.integers(1, 9)),
    upstream=st.dictionaries(st.sampled_from(["step1/all", "step3/tract1"]), st.integers(2, 4)),
    files=st.sampled_from(["", "abc"]),
    terms=st.sampled_from(["abc", "def"]),
    parts=st.frozensets(st.sampled_from(["step3/tract1", "step3/tract2"])),
)


def made(number: int, *, of: int = 1, combines: bool | None = None) -> MadeFrom:
    return MadeFrom(
        number=number, generation=of, combines=combines, basis=Basis(exposures=frozenset(range(number)))
    )


@pytest.mark.parametrize(
    ("graphs", "combines", "basis"),
    [
        ([], None, None),
        ([None], None, 1),
        ([None, None], None, 2),  # an action that has run twice; or a group that selected nothing twice
        ([True, None, False], True, 1),
        ([None, True, True], True, 2),  # the first could not run
        ([False, False], False, 2),
        ([False, None], False, 2),
    ],
)
def test_what_outputs_were_made_from(
    graphs: list[bool | None], combines: bool | None, basis: int | None
) -> None:
    entries = [made(number, combines=graph) for number, graph in enumerate(graphs, start=1)]
    found = basis_of(entries, generation=1)
    assert combines_of(entries, generation=1) is combines
    assert (None if found is None else len(found.exposures)) == basis


def test_a_new_generation_is_like_the_one_before_until_it_has_a_graph() -> None:
    entries = [made(1, combines=True), made(2, combines=False)]
    assert combines_of(entries, generation=2) is True
    entries.append(made(3, of=2))
    assert combines_of(entries, generation=2) is True
    assert basis_of(entries, generation=2) == entries[2].basis
    entries.append(made(4, of=2, combines=False))
    assert combines_of(entries, generation=2) is False
    assert [(entry.number, entry.submissions) for entry in generations_of(entries)] == [
        (1, (1, 2)),
        (2, (3, 4)),
    ]


@given(BASES, BASES)
def test_a_change_leads_from_one_basis_to_the_other(before: Basis, after: Basis) -> None:
    change = change_of(before, after)
    assert bool(change) == (before != after)
    assert before.parts - set(change.lost) | set(change.parts) == after.parts
    upstream = {**before.upstream, **{name: new for name, _, new in change.upstream}}
    assert (before.exposures | set(change.added)) - set(change.removed) == after.exposures
    assert {name: number for name, number in upstream.items() if number > 1} == after.upstream
    assert stored_basis(before.to_json()) == before


def test_a_basis_from_before_terms_and_parts_were_kept_is_read() -> None:
    before = Basis(exposures=frozenset({1}), upstream={"step1/all": 2}, raws=3, files="x")
    stored = before.to_json()
    del stored["terms"], stored["parts"]
    assert stored_basis(stored) == before
    assert not before.asks_otherwise(replace(before, terms="abc"))


@pytest.mark.parametrize("stored", [{}, {"exposures": [1.5], "upstream": {}}, {"exposures": None}, PARTS])
def test_a_basis_that_cannot_be_read_is_none(stored: dict[str, object]) -> None:
    assert stored_basis(stored) is None


def test_a_chain_shows_a_generation_in_the_place_of_older_ones() -> None:
    entries = [
        replace(finished(number), generation=of, run_collection=run)
        for number, of, run in [(1, 1, "a/1"), (2, 1, "a/2"), (3, 2, "b/3"), (4, 2, "b/4"), (5, 2, "")]
    ]
    change = chain_change(entries, chain="step", generation=2)
    assert (change.runs, change.drop) == (("b/4", "b/3"), ("a/1", "a/2"))
