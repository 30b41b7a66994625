"""Sites, failure rules and memory requests, read from their files."""

import pytest
from survey_help import Survey

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.spec import BpsStep
from merian_campaign.domain.states import Verdict
from merian_campaign.files.bps_files import included_files, read_requests
from merian_campaign.files.rule_files import read_rules
from merian_campaign.files.shipped import FRAGMENTS, shipped
from merian_campaign.files.site_file import read_site


def write(survey: Survey, name: str, text: str) -> str:
    path = survey.folder / name
    path.write_text(text)
    return str(path)


def requests(survey: Survey, step: str = "step1") -> dict[str, object]:
    spec = survey.load().spec
    found = spec.step(step)
    assert isinstance(found, BpsStep)
    table = read_requests(spec, found)
    return {"default": table.default_mb, "tasks": dict(table.by_task), "maximum": dict(table.maximum_mb)}


@pytest.mark.parametrize("key", ["cores", "cores_per_node", "max_workers"])
def test_a_site_says_its_workers(survey: Survey, key: str) -> None:
    file = write(
        survey, "s.yaml", f"computeSite: tiger\nsite:\n  tiger: {{class: a.B, nodes: 3, {key}: 40}}\n"
    )
    site = read_site(file)
    assert (site.name, site.file, site.workers, site.workers_key) == ("tiger", file, 40, key)
    assert site.site_class == "a.B"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1", "a site file needs computeSite: NAME and its section"),
        ("computeSite: x\nsite: {y: {cores: 1}}", "a site file needs computeSite: NAME and its section"),
        ("computeSite: [x]\nsite: {x: {cores: 1}}", "a site file needs computeSite: NAME and its section"),
        ("computeSite: x\nsite: {x: {class: y}}", "site 'x' does not say how many workers a node has"),
        ("computeSite: x\nsite: {x: {cores: many}}", "does not say how many workers"),
        ("computeSite: x\nsite: {x: {cores: 0}}", "does not say how many workers"),
        ("computeSite: x\nsite: {x: {cores: true}}", "does not say how many workers"),
        ("computeSite: [", "not readable as YAML: did not find"),
        ("- x", ":1: the file must be a mapping"),
    ],
)
def test_sites_that_cannot_be_used(survey: Survey, text: str, words: str) -> None:
    file = write(survey, "s.yaml", text)
    with pytest.raises(BadInputError) as caught:
        read_site(file)
    assert str(caught.value).startswith(file)
    assert words in str(caught.value)


def test_no_file_of_rules_gives_no_rules() -> None:
    assert read_rules(None) == ()


def test_rules_in_the_order_of_the_file(survey: Survey) -> None:
    file = write(
        survey,
        "r.yaml",
        "rules:\n  - {exception: A, verdict: infrastructure, note: why}\n"
        "  - {exit_code: 3, verdict: algorithm}\n",
    )
    first, second = read_rules(file)
    assert (first.exception, first.verdict, first.note) == ("A", Verdict.INFRASTRUCTURE, "why")
    assert (second.exit_code, second.verdict) == (3, Verdict.ALGORITHM)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("rules: 5", 1, "rules: found 5; write a list"),
        ("rulez: []", 1, "rulez: no such key; did you mean 'rules'?"),
        ("rules:\n  - verdict: infrastructure", 2, "rules[0]: a rule needs one of task, exception"),
        ("rules:\n  - {exception: x}", 2, "rules[0].verdict: missing; it must be given"),
        (
            "rules:\n  - exception: (\n    verdict: unknown",
            2,
            "rules[0].exception: '(' is not a regular expression",
        ),
        (
            'rules:\n  - message: "(?!x)"\n    verdict: unknown',
            2,
            "it cannot look ahead; write a rule for the exception and put it first",
        ),
        (
            "rules:\n  - exception: x\n    verdict: transeint",
            3,
            "rules[0].verdict: found 'transeint'; it should be",
        ),
        ("rules:\n  - exception: x\n    verdict: unknown\n    exitcode: 3", 4, "did you mean 'exit_code'?"),
        (
            "rules:\n  - exit_code: '3'\n    verdict: unknown",
            2,
            "rules[0].exit_code: found '3'; write a whole number",
        ),
    ],
)
def test_rules_that_cannot_be_used(survey: Survey, text: str, line: int, words: str) -> None:
    file = write(survey, "r.yaml", text)
    with pytest.raises(BadInputError) as caught:
        read_rules(file)
    assert any(
        entry.startswith(f"{file}:{line}: ") and words in entry for entry in str(caught.value).split("\n")
    )


def test_requests_come_from_the_includes_the_site_and_the_step(survey: Survey) -> None:
    write(survey, "deep.yaml", "requestMemory: 1000\npipetask:\n  isr: {requestMemory: 1500}\n")
    write(
        survey,
        "base.yaml",
        "includeConfigs: [deep.yaml]\npipetask:\n  isr: {requestMemory: 3000}\n"
        "  calibrate: {requestMemory: 3500, requestMemoryMax: 9000}\n",
    )
    assert requests(survey) == {
        "default": 1000,
        "tasks": {"isr": 4096, "calibrate": 3500},
        "maximum": {"calibrate": 9000},
    }
    assert requests(survey, "step3")["tasks"] == {"isr": 3000, "calibrate": 3500}


def test_a_steps_own_include_wins_over_the_campaigns(survey: Survey) -> None:
    write(survey, "more.yaml", "requestMemory: 7000\n")
    survey.edit("after: [step1]", "include: [more.yaml]")
    assert requests(survey, "step3")["default"] == 7000
    assert requests(survey, "step1")["default"] == 2048


def test_variables_in_includes_are_those_of_the_environment(
    survey: Survey, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(survey, "deep.yaml", "requestMemory: 5000\n")
    write(survey, "base.yaml", "includeConfigs: ${SOMEWHERE}/deep.yaml\n")
    monkeypatch.setenv("SOMEWHERE", str(survey.folder))
    assert requests(survey)["default"] == 5000
    monkeypatch.delenv("SOMEWHERE")
    with pytest.raises(
        BadInputError, match=r"base.yaml: includeConfigs: .*SOMEWHERE.*deep.yaml does not exist"
    ):
        requests(survey)


def test_includes_that_go_in_a_circle_are_refused(survey: Survey) -> None:
    write(survey, "deep.yaml", "includeConfigs: base.yaml\n")
    write(survey, "base.yaml", "includeConfigs: deep.yaml\n")
    with pytest.raises(
        BadInputError, match=r"includes go in a circle: .*base.yaml -> .*deep.yaml -> .*base.yaml"
    ):
        requests(survey)


@pytest.mark.parametrize(
    ("text", "where", "found"),
    [
        (
            "requestMemory: '{other}'",
            "1: requestMemory",
            "'{other}'; write a whole number of MiB; BPS takes it as it is",
        ),
        ("requestMemory: '4096'", "1: requestMemory", "'4096'; write a whole number of MiB"),
        ("requestMemory: 4.5", "1: requestMemory", "4.5; write a whole number of MiB"),
        ("requestMemory: 99999999999", "1: requestMemory", "99999999999; write a whole number of MiB"),
        (
            "pipetask:\n  isr: {requestCpus: two}",
            "2: pipetask.isr.requestCpus",
            "'two'; write a whole number of",
        ),
        ("cluster:\n  a:\n    requestWalltime: '01:00:00'", "3: cluster.a.requestWalltime", "of minutes"),
        ("site: {local: {memoryMultiplier: yes}}", "1: site.local.memoryMultiplier", "True; write a number"),
        (
            "pipetask: {requestMemoryMax: -1}",
            "1: pipetask.requestMemoryMax",
            "-1; write a whole number of MiB",
        ),
        ("memoryLimit: 8GB", "1: memoryLimit", "'8GB'; write a whole number of MiB"),
        ("numberOfRetries: '3'", "1: numberOfRetries", "'3'; write a whole number"),
        ("retryUnlessExit: [1, two]", "1: retryUnlessExit", "an exit status, or a list of them, e.g. [1, 2]"),
    ],
)
def test_requests_and_retries_that_are_no_numbers_are_refused(
    survey: Survey, text: str, where: str, found: str
) -> None:
    # BPS hands them on as text, and no service reads them.
    write(survey, "base.yaml", f"{text}\n")
    with pytest.raises(BadInputError) as caught:
        requests(survey)
    (line,) = str(caught.value).splitlines()
    assert f"base.yaml:{where}: found " in line
    assert found in line


def test_a_request_that_is_nothing_is_that_of_bps(survey: Survey) -> None:
    write(survey, "base.yaml", "requestMemory:\npipetask: 5\n")
    assert requests(survey) == {"default": 2048, "tasks": {"isr": 4096}, "maximum": {}}


def test_what_every_campaign_needs_is_built_in(survey: Survey) -> None:
    survey.edit("include: [base.yaml]\n", "")
    built_in = str(shipped(FRAGMENTS, "base.yaml"))
    spec = survey.load().spec
    step = spec.step("step1")
    assert isinstance(step, BpsStep)
    assert read_requests(spec, step).files == (built_in,)
    # Named in a file, it stands where it is named, and once.
    own = spec.model_copy(update={"include": ("/own.yaml", built_in)})
    assert included_files(own, step) == ("/own.yaml", built_in)
    assert included_files(own.model_copy(update={"include": ("/own.yaml",)}), step) == (built_in, "/own.yaml")
