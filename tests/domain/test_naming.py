import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merian_campaign.domain.rendering import naming
from merian_campaign.domain.rendering.naming import RunName, SubmissionPaths
from merian_campaign.domain.spec.base import NAME_PATTERN

NAMES = st.from_regex(re.compile(NAME_PATTERN.removesuffix("$") + r"\Z", re.ASCII), fullmatch=True)
COLLECTIONS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


GENERATIONS = st.integers(min_value=1, max_value=999)


@given(
    step_output=COLLECTIONS,
    group=NAMES,
    number=st.integers(min_value=1, max_value=20_000),
    generation=GENERATIONS,
)
def test_a_run_collection_is_read_back_as_it_was_made(
    step_output: str, group: str, number: int, generation: int
) -> None:
    name = RunName(step_output=step_output, group=group, number=number, generation=generation)
    assert naming.parse_run_collection(naming.run_collection(name)) == name


@given(
    step_output=COLLECTIONS,
    group=NAMES,
    number=st.integers(min_value=1, max_value=20_000),
    generation=GENERATIONS,
)
def test_a_run_lies_under_its_groups_output(
    step_output: str, group: str, number: int, generation: int
) -> None:
    name = RunName(step_output=step_output, group=group, number=number, generation=generation)
    chain = naming.group_output(step_output=step_output, group=group, generation=generation)
    assert naming.run_collection(name).startswith(f"{chain}/")


@given(step_output=COLLECTIONS, one=NAMES, other=NAMES, first=GENERATIONS, second=GENERATIONS)
def test_generations_of_groups_never_share_a_chain(
    step_output: str, one: str, other: str, first: int, second: int
) -> None:
    chains = [
        naming.group_output(step_output=step_output, group=group, generation=generation)
        for group, generation in ((one, first), (other, second))
    ]
    assert (chains[0] == chains[1]) == ((one, first) == (other, second))


@given(st.text())
def test_what_is_read_as_a_run_is_written_the_same(text: str) -> None:
    try:
        name = naming.parse_run_collection(text)
    except ValueError:
        return
    assert naming.run_collection(name) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "001",
        "all/001",
        "/all/001",
        "runs//001",
        "runs/all/1",
        "runs/all/01",
        "runs/all/000",
        "runs/all/0001",
        "runs/all/001\n",
        "runs/all/\u0660\u0660\u0661",
        "runs/all/001/x",
        "runs/all/20261122T150000Z",
    ],
)
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not <step output>/<group>/<NNN>"):
        naming.parse_run_collection(text)


def test_files_of_a_submission_lie_in_a_directory_of_its_own() -> None:
    directory = naming.submission_directory(
        root="/data/sub", campaign="night", step="step3", group="tract9813", number=2
    )
    paths = SubmissionPaths(directory=directory)
    assert directory == "/data/sub/night/step3/tract9813/002"
    assert paths.yaml == f"{directory}/submit.yaml"
    assert paths.journal == f"{directory}/bps/journal.jsonl"
    everything = [
        paths.yaml, paths.bps, paths.journal, paths.provenance, paths.driver_log, paths.progress,
        paths.outcome, paths.predicted, paths.harvest, paths.hold, paths.started,
    ]  # fmt: skip
    assert len(set(everything)) == len(everything)
    assert all(path.startswith(f"{directory}/") for path in everything)
