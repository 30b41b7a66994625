"""Which versions count, when two sets of them differ, and which submission binds a later one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from domain_help import finished, group

from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.stack import stack_versions
from merian_campaign.domain.stack.stack_versions import Versions

BEFORE = Versions(
    stack={"lsst_pipe_base": "30.1", "lsst_daf_butler": "30.1"},
    others={"numpy": "2.5.5", "parsl": "2026.10.26", "sqlalchemy": "2.1.9"},
    python="3.12.1",
    manager="0.1.0",
    environment="lsst-scipipe-4.0.0",
)
RAN = Counts(succeeded=3)


@pytest.mark.parametrize(
    ("after", "changes"),
    [
        (replace(BEFORE, stack={**BEFORE.stack, "lsst_pipe_base": "30.2"}), ("lsst_pipe_base 30.1 -> 30.2",)),
        (replace(BEFORE, stack={"lsst_pipe_base": "30.1"}), ("lsst_daf_butler 30.1 -> not there",)),
        (replace(BEFORE, others={**BEFORE.others, "numpy": "2.6.0"}), ("numpy 2.5.5 -> 2.6.0",)),
        (replace(BEFORE, python="3.13.2"), ("python 3.12 -> 3.13",)),
        (replace(BEFORE, python="3.12.9"), ()),
        (replace(BEFORE, manager="0.2.0", environment="/venv", tag="w_2022_26"), ()),
        (replace(BEFORE, others={**BEFORE.others, "parsl": "2026.11.1", "sqlalchemy": "2.2"}), ()),
    ],
)
def test_what_counts(after: Versions, changes: tuple[str, ...]) -> None:
    assert stack_versions.differences(BEFORE, after) == changes
    assert (stack_versions.sha_of(BEFORE) == stack_versions.sha_of(after)) == (not changes)


def test_what_is_kept_comes_back() -> None:
    content = stack_versions.to_json(BEFORE)
    assert stack_versions.from_json(content) == BEFORE
    assert content["sha"] == stack_versions.sha_of(BEFORE)
    assert content["short"] == f"lsst_pipe_base 30.1, python 3.12.1 ({content['sha'][:8]})"


def test_in_a_few_words() -> None:
    local = {"lsst_distrib": "gb29", "obs_decam": "LOCAL:/home/me/obs_decam#12345678"}
    found = stack_versions.short(replace(BEFORE, stack=local, tag="w_2022_26"))
    assert found.startswith("w_2022_26, local obs_decam, python 3.12.1 (")
    assert stack_versions.short(replace(BEFORE, stack={})).startswith("no LSST stack, python")


def test_changes_in_a_few_words() -> None:
    old = replace(BEFORE, stack={f"p{number}": "1" for number in range(6)}, tag="w_2022_26")
    new = replace(old, stack=dict.fromkeys(old.stack, "2"), tag="w_2022_27")
    listed = "p0 1 -> 2, p1 1 -> 2, p2 1 -> 2, p3 1 -> 2 and 2 more"
    assert stack_versions.change_words(old, new) == f"w_2022_26 -> w_2022_27: {listed}"
    assert stack_versions.change_words(old, replace(new, tag="")) == listed
    assert stack_versions.change_words(old, replace(old, tag="w_2022_27")) == ""


@pytest.mark.parametrize(
    ("words", "tag"),
    [
        ("current w_2022_26 setup", "w_2022_26"),
        ("current d_2022_06_30", "d_2022_06_30"),
        ("v23_0_1", "v23_0_1"),
        ("b6543", ""),
        ("", ""),
    ],
)
def test_the_tag_of_a_release(words: str, tag: str) -> None:
    assert stack_versions.tag_of(words) == tag


def test_the_latest_that_ran_binds() -> None:
    first, refused = finished(1, versions_sha="aaaa"), finished(2, versions_sha="")
    now = finished(3)
    it = group(submissions=(first, refused, now), counts=RAN)
    assert stack_versions.binding(it, number=3) == first
    assert stack_versions.binding(it, number=1) is None
    # Nothing that could be mixed; and what a person has allowed.
    assert stack_versions.binding(replace(it, counts=Counts()), number=3) is None
    assert stack_versions.binding(replace(it, stack_from=2), number=3) is None
    later = replace(it, submissions=(first, refused, replace(now, versions_sha="bbbb")), stack_from=2)
    found = stack_versions.binding(later, number=4)
    assert found is not None
    assert found.number == 3


def test_the_refusal_says_what_to_do() -> None:
    words = stack_versions.refusal(
        campaign="night", group=group("step3", tract=9813), earlier=finished(1), changes="a 1 -> 2"
    )
    assert words == (
        "the stack changed since submission 1: a 1 -> 2; run it with the old one, or allow it with "
        "`merian-campaign retry night step3/tract9813 --allow-stack-change`"
    )
