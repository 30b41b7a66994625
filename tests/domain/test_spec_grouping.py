"""Groups: the rules a person writes, and what they become."""

from itertools import pairwise

import pytest
from domain_help import bps, by_tract, campaign
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from merian_campaign.domain.readiness.overlap_refresh import cut_of
from merian_campaign.domain.selection import Selection
from merian_campaign.domain.spec.base import expand_ranges
from merian_campaign.domain.spec.grouping import ByDimension, ByTract, Chunks, Grouping, expand, where_clause

ADAPTER: TypeAdapter[object] = TypeAdapter(Grouping)
IDS = st.sets(st.integers(min_value=0, max_value=400), max_size=60)


@pytest.mark.parametrize(
    ("written", "values"),
    [
        (9813, (9813,)),
        ("9813", (9813,)),
        ("9813-9815", (9813, 9814, 9815)),
        ([9815, "9813 - 9814"], (9813, 9814, 9815)),
        (["7-7"], (7,)),
        ([], ()),
    ],
)
def test_ranges_are_written_out(written: object, values: tuple[int, ...]) -> None:
    assert expand_ranges(written) == values


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ([9813, 9813], "duplicate values: 9813"),
        ([9813, "9810-9820"], "duplicate values: 9813"),
        (["9813-9815", "9815-9816"], "duplicate values: 9815"),
        ("9815-9813", "runs backwards"),
        ("0-9999999", "more than 1000000 values"),
        ("9813,9814", "found '9813,9814'; write integers"),
        ("nine", "found 'nine'; write integers"),
        ("\u00b2", "write integers"),
        ([True], "found True; write integers"),
        ([1.5], "found 1.5; write integers"),
        ([-3], "found -3"),
        (None, "found None; write integers"),
        ({"a": 1}, "write integers"),
    ],
)
def test_other_lists_of_numbers_are_refused(written: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        expand_ranges(written)


def test_duplicate_tracts_are_refused_in_a_campaign() -> None:
    with pytest.raises(ValidationError, match="duplicate values: 9813"):
        campaign(bps(), tracts=[9813, "9812-9814"])
    with pytest.raises(ValidationError, match="duplicate values: 9813"):
        campaign(bps("step3", group_by={"kind": "tract", "tracts": [9813, 9813]}))


@pytest.mark.parametrize(
    "grouping",
    [
        {"kind": "day_obs", "nights": []},
        {"kind": "visit", "ids": [], "size": 5},
        {"kind": "exposure", "ids": [1], "size": 0},
        {"kind": "lists", "dimension": "visit", "lists": {}},
        {"kind": "lists", "dimension": "visit", "lists": {"a": []}},
        {"kind": "lists", "dimension": "detector", "lists": {"a": [1]}},
        {"kind": "lists", "dimension": "visit", "lists": {"a": [1, 2], "b": [2]}},
        {"kind": "lists", "dimension": "visit", "lists": {"a/b": [1]}},
        {"kind": "tract", "size": 0},
        {"kind": "dimension", "ids": [1]},
        {"kind": "dimension", "dimension": "healpix3", "ids": []},
        {"kind": "dimension", "dimension": "tract", "ids": [1]},
        {"kind": "dimension", "dimension": "band", "ids": [1]},
        {"kind": "dimension", "dimension": "patch", "ids": [1]},
        {"kind": "dimension", "dimension": "healpix3 OR 1", "ids": [1]},
        {"ids": [1], "size": 1},
        "night",
        None,
        5,
    ],
)
def test_groupings_that_are_refused(grouping: object) -> None:
    with pytest.raises(ValidationError):
        ADAPTER.validate_python(grouping)


@given(st.lists(IDS.filter(len), min_size=1, max_size=4), st.integers(min_value=1, max_value=9))
def test_groups_of_several_tracts_are_never_cut_anew(releases: list[set[int]], size: int) -> None:
    grouping = ByTract(size=size)
    existing: tuple[tuple[str, Selection], ...] = ()
    tracts: set[int] = set()
    for release in releases:
        tracts |= release
        groups = expand(grouping, tracts=tuple(sorted(tracts)), existing=existing)
        assert set(existing) <= set(groups)
        assert sorted(value for _, one in groups for value in one.values) == sorted(tracts)
        assert all(len(one.values) <= size and one.dimension == "tract" for _, one in groups)
        existing = groups


def test_groups_of_any_dimension() -> None:
    grouping = ADAPTER.validate_python(
        {"kind": "dimension", "dimension": "healpix3", "ids": ["5-8"], "size": 3}
    )
    assert isinstance(grouping, ByDimension)
    groups = expand(grouping, tracts=())
    assert [one.values for _, one in groups] == [(5, 6, 7), (8,)]
    assert where_clause(groups[0][1]) == "healpix3 IN (5, 6, 7)"
    spec = campaign(bps("all", "step2c", scope="global", group_by=grouping.model_dump()))
    assert cut_of(spec, "all") == ""
    with pytest.raises(ValidationError, match=r"group_by: found healpix3; .* write scope: global"):
        campaign(bps("all", "step2c", group_by=grouping.model_dump()))


def test_a_tract_step_without_tracts_is_refused() -> None:
    for steps in (by_tract(), bps("step3", group_by={"kind": "tract", "tracts": []})):
        with pytest.raises(ValidationError, match="no tracts, so the step would have no group"):
            campaign(steps, tracts=[])


@pytest.mark.parametrize(
    ("nights", "expected"),
    [
        ([20210318], (20210318,)),
        (["20210227-20210302"], (20210227, 20210228, 20210301, 20210302)),
        ("20201231-20210101", (20201231, 20210101)),
    ],
)
def test_nights_run_over_the_calendar(nights: object, expected: tuple[int, ...]) -> None:
    grouping = ADAPTER.validate_python({"kind": "day_obs", "nights": nights})
    found = expand(grouping, tracts=())
    assert [selection.values[0] for _, selection in found] == list(expected)
    assert [key for key, _ in found] == [f"night{night}" for night in expected]


@pytest.mark.parametrize(
    "night", [20210230, 202103, 2021031, "2021-03-18", 0, "tonight", 202103181, None, True]
)
def test_what_is_not_a_night_is_refused_by_its_own_words(night: object) -> None:
    with pytest.raises(ValidationError, match="write a night as YYYYMMDD") as caught:
        ADAPTER.validate_python({"kind": "day_obs", "nights": [night]})
    assert f"found {str(night)!r};" in str(caught.value)


@pytest.mark.parametrize(
    ("selection", "clause"),
    [
        (Selection(), ""),
        (Selection(dimension="tract", values=(9813,)), "tract = 9813"),
        (Selection(dimension="visit", values=(1, 2)), "visit IN (1, 2)"),
        (Selection(dimension="day_obs", values=(20210318,)), "exposure.day_obs = 20210318"),
    ],
)
def test_a_selection_as_a_query(selection: Selection, clause: str) -> None:
    assert where_clause(selection) == clause


def test_keys_say_what_a_group_selects() -> None:
    lists = {"kind": "lists", "dimension": "exposure", "lists": {"flats": ["1-3"], "science": [9]}}
    assert [key for key, _ in expand(ADAPTER.validate_python(lists), tracts=())] == ["flats", "science"]
    assert expand(ADAPTER.validate_python("tract"), tracts=(9813, 9814)) == (
        ("tract9813", Selection(dimension="tract", values=(9813,))),
        ("tract9814", Selection(dimension="tract", values=(9814,))),
    )
    own = {"kind": "tract", "tracts": [1]}
    assert [key for key, _ in expand(ADAPTER.validate_python(own), tracts=(9813,))] == ["tract1"]
    assert expand(ADAPTER.validate_python("everything"), tracts=(9813,)) == (("all", Selection()),)


def chunks(ids: set[int], size: int) -> Chunks:
    return Chunks(kind="visit", ids=tuple(sorted(ids)), size=size)


@given(ids=IDS.filter(bool), size=st.integers(min_value=1, max_value=9))
def test_chunks_hold_every_id_once(ids: set[int], size: int) -> None:
    groups = expand(chunks(ids, size), tracts=())
    found = [value for _, selection in groups for value in selection.values]
    assert sorted(found) == sorted(ids)
    assert all(1 <= len(selection.values) <= size for _, selection in groups)
    assert len({key for key, _ in groups}) == len(groups)
    assert all(a[1].values < b[1].values for a, b in pairwise(groups))


@given(first=IDS.filter(bool), more=IDS, size=st.integers(1, 9), new_size=st.integers(1, 9))
def test_new_ids_never_cut_existing_chunks_anew(
    first: set[int], more: set[int], size: int, new_size: int
) -> None:
    before = expand(chunks(first, size), tracts=())
    after = expand(chunks(first | more, new_size), tracts=(), existing=before)
    assert set(before) <= set(after)
    found = [value for _, selection in after for value in selection.values]
    assert sorted(found) == sorted(first | more)


@given(first=IDS.filter(bool), size=st.integers(1, 9))
def test_the_same_file_gives_the_same_chunks(first: set[int], size: int) -> None:
    before = expand(chunks(first, size), tracts=())
    assert expand(chunks(first, size), tracts=(), existing=reversed(before)) == before


@given(first=IDS.filter(bool), gone=IDS, size=st.integers(1, 9))
def test_a_chunk_of_which_an_id_is_gone_is_no_longer_wanted(
    first: set[int], gone: set[int], size: int
) -> None:
    left = first - gone
    if not left:
        return
    before = expand(chunks(first, size), tracts=())
    after = expand(chunks(left, size), tracts=(), existing=before)
    found = [value for _, selection in after for value in selection.values]
    assert sorted(found) == sorted(left)
    untouched = {entry for entry in before if not gone.intersection(entry[1].values)}
    assert untouched <= set(after)
