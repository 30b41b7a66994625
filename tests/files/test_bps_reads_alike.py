"""What BPS and a shell make of rendered files: exactly what the model says, whatever was accepted."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lsst.ctrl.bps import BPS_DEFAULTS, BpsConfig
from lsst.daf.butler import Config
from pydantic import ValidationError

from merian_campaign.domain.campaign.plan import plan_groups
from merian_campaign.domain.failures.remedy import RequestTable
from merian_campaign.domain.record.snapshot import Remedy
from merian_campaign.domain.rendering import naming
from merian_campaign.domain.rendering.render import (
    RenderRequest,
    data_query,
    input_collections,
    payload_name,
    render,
    run_of,
)
from merian_campaign.domain.spec import BpsStep, CampaignSpec
from merian_campaign.domain.spec.site import DriverOptions
from merian_campaign.domain.spec.stack import Stack
from merian_campaign.domain.stack import stack_setup as stacks
from merian_campaign.domain.tick.driver_jobs import script
from merian_campaign.files.site_file import read_site

REPOSITORY = Path(__file__).parents[2]
GRAPH = "/sub/night/step1/all/001/bps/x.qg"

# What BPS, str.format, shells, Slurm and YAML read something into, in one alphabet.
MARKS = "abT1_./:@+=,~-#%&*?!|;<>()[]{}$`\\'\" \té\u4e2d"
HOSTILE = st.one_of(
    st.text(MARKS, max_size=20),
    st.sampled_from(
        [
            "{output}",
            "${HOME}",
            "$HOME",
            "<ENV:HOME>",
            "<WMS:x>",
            "<BPSTMP:x>",
            "{wmsX}",
            "bpsEval(int, 1)",
            "a b",
        ]
    ),
)
WORDS = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,5}(-[A-Za-z0-9_]{1,3})?", fullmatch=True)
COLLECTIONS = st.from_regex(
    r"[A-Za-z0-9_][A-Za-z0-9_.+@=-]{0,6}(/[A-Za-z0-9_][A-Za-z0-9_.+@=-]{0,6}){0,2}", fullmatch=True
)
PATHS = st.from_regex(r"/[\w./:@+=,~-]{1,20}", fullmatch=True)
QUERIES = st.text("abT1_./:@+=,~-#%&*?!|;<>[] \té", max_size=20).map(lambda text: f"a = '{text}'")
TARGETS = st.text("ab ;&|<>#!*", min_size=1, max_size=5)
SETTINGS = st.text("ab ;&|<>#!*()[]~'\"`", max_size=9)


def maybe(good: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Mostly what is fine; what is not must be refused or come through."""
    return st.integers(0, 29).flatmap(lambda dice: HOSTILE if dice == 29 else good)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    number = draw(st.integers(1, 3))
    name, other = draw(maybe(WORDS)), draw(maybe(WORDS))
    return {
        "campaign": draw(maybe(WORDS)),
        "butler": draw(maybe(PATHS)),
        "instrument": draw(maybe(WORDS)),
        "skymap": draw(maybe(WORDS)),
        "site": str(REPOSITORY / "site" / "local.yaml"),
        "wms": draw(st.sampled_from(["campaign", "stock"])),
        "include": [str(REPOSITORY / "bps_configs" / "base.yaml")],
        "collections": {
            "output": draw(maybe(COLLECTIONS)),
            "inputs": draw(st.lists(maybe(COLLECTIONS), max_size=2, unique=True)),
        },
        "steps": [
            {
                "name": name,
                "pipeline": f"{draw(maybe(PATHS))}#{draw(maybe(st.just('step1')))}",
                "scope": "exposure",
                "where": draw(maybe(QUERIES)),
                "select": {"target": draw(st.lists(maybe(TARGETS), max_size=2))},
                "group_by": {"kind": "lists", "dimension": "exposure", "lists": {other: [1, 2]}},
                "config": [f"isr:f={draw(maybe(SETTINGS))}" for _ in range(number)],
                "resources": {draw(maybe(WORDS)): {"memory": 1234, "cpus": 3}},
            }
        ],
    }  # fmt: skip


def accepted(document: dict[str, Any]) -> CampaignSpec | None:
    try:
        return CampaignSpec.model_validate(document)
    except ValidationError:
        return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rendered")


def request_of(spec: CampaignSpec) -> RenderRequest:
    (step,) = spec.steps
    (group,) = plan_groups(spec).wanted
    assert isinstance(step, BpsStep)
    return RenderRequest(
        spec=spec,
        step=step,
        group=group.key,
        selection=group.selection,
        number=2,
        earlier=True,
        directory="/sub/night/step1/all/002",
        site=read_site(spec.site),
        remedy=Remedy(),
        quantum_wrapper="/pkg/quantum.sh",
        requests=RequestTable(files=spec.include),
    )


def in_bash(command: str) -> list[str]:
    """Return the words that bash makes of a command line, its first word left out."""
    program = f'merian-campaign() {{ printf "%s\\0" "$@"; }}\n{command}\n'
    environ = {"PATH": "/usr/bin:/bin", "HOME": "/home/nobody"}
    done = subprocess.run(
        ["bash", "-c", program], env=environ, capture_output=True, text=True, check=True, cwd="/", timeout=60
    )
    assert done.stderr == ""
    return done.stdout.split("\0")[:-1]


def worded(word: str) -> dict[str, Any]:
    """Return a campaign with a word wherever one may stand."""
    name, collection = word if word.isalpha() else "DECam", word.replace(":", "-").strip("=.")
    step = {
        "name": "step1",
        "pipeline": f"/pipe/{word.replace(':', '-')}.yaml#step1",
        "scope": "exposure",
        "where": f"a = '{word}'",
        "group_by": {"kind": "lists", "dimension": "exposure", "lists": {"all": [1]}},
        "config": [f"isr:f={word}"],
        "resources": {"isr": {"memory": 1234, "cpus": 3}},
    }
    return {
        "campaign": name,
        "butler": f"/repo/{word}",
        "instrument": name,
        "skymap": name,
        "site": str(REPOSITORY / "site" / "local.yaml"),
        "include": [str(REPOSITORY / "bps_configs" / "base.yaml")],
        "collections": {"output": f"u/{collection}", "inputs": [collection]},
        "steps": [step],
    }


YAML_WORDS = ("24:00:00", "no", "1e3", "012", "2026-11-22", "0x1f", "1_000", "null", "0o17", "5.5", "on", "y")
"""What YAML 1.1 or 1.2 takes for a number, a truth, a moment, or nothing."""


@pytest.mark.parametrize("word", YAML_WORDS)
def test_words_that_yaml_takes_for_something_else_stay_words(folder: Path, word: str) -> None:
    document = worded(word)
    assert accepted(document)
    _bps_and_bash_agree(folder, document)


@settings(max_examples=40)
@given(document=documents())
def test_bps_and_bash_read_what_the_model_says(folder: Path, document: dict[str, Any]) -> None:
    _bps_and_bash_agree(folder, document)


def _bps_and_bash_agree(folder: Path, document: dict[str, Any]) -> None:
    spec = accepted(document)
    if spec is None:
        return
    request = request_of(spec)
    file = folder / "submit.yaml"
    file.write_text(render(request))
    config = BpsConfig(str(file), defaults=BPS_DEFAULTS)
    step, query = request.step, data_query(spec=spec, step=request.step, selection=request.selection)
    inputs = ",".join(input_collections(spec=spec, step=step))
    output = naming.group_output(step_output=spec.output_of(step), group=request.group)
    expected = {
        "payloadName": payload_name(request),
        "campaign": payload_name(request),
        "butlerConfig": spec.butler,
        "inCollection": inputs,
        "output": output,
        "outputRun": run_of(request),
        "dataQuery": query,
        "pipelineYaml": step.pipeline,
        "submitPath": "/sub/night/step1/all/002/bps",
        "computeSite": "local",
    }
    assert {key: config[key] for key in expected} == expected
    assert config["wmsServiceClass"].startswith(("merian_campaign.wms.", "lsst.ctrl.bps.parsl."))
    for label in step.resources:
        for key, value in (("requestMemory", 1234), ("requestCpus", 3)):
            assert config.search(key, opt={"curvals": {"curr_pipetask": label}}) == (True, value)

    _, command = config.search("createQuantumGraph", opt={"curvals": {"qgraphFile": GRAPH}})
    overrides = [word for entry in step.config for word in ("-c", entry)]
    words = [
        "merian-campaign", "shared", "--readers", str(spec.limits.graphs or 0), "--repository", spec.butler,
        "--", "pipetask", "--long-log", "--log-level=VERBOSE", "qgraph", "--butler-config", spec.butler,
        "-i", inputs, "-o", output, "--output-run", run_of(request), "--pipeline", step.pipeline,
        "--save-qgraph", GRAPH, "--qgraph-datastore-records", "-d", query,
        *overrides, "--rebase", "--skip-existing-in", output,
    ]  # fmt: skip
    if not inputs:
        return  # `-i` without a word: the butler says what is missing
    assert shlex.split(command) == words
    assert in_bash(command) == words[1:]
    final = {"curvals": {"qgraphFile": GRAPH}, "searchobj": config["finalJob"]}
    _, last = config.search("command1", opt=final)
    assert in_bash(last)[:5] == ["exclusive", "--repository", spec.butler, "--", "butler"]


def test_most_of_the_documents_are_accepted() -> None:
    """The property above is about something: these are typical ones."""
    taken = []

    @settings(max_examples=20)
    @given(document=documents())
    def count(document: dict[str, Any]) -> None:
        taken.append(accepted(document) is not None)

    count()
    assert sum(taken) >= len(taken) / 3, f"{sum(taken)} of {len(taken)}"


@given(
    load=maybe(PATHS),
    setup=st.lists(maybe(st.sampled_from(["lsst_distrib -t w_2022_26", "-j -r /x ~/y"])), max_size=2),
    packages=st.lists(st.text(MARKS, min_size=1, max_size=12).map(lambda text: f"/{text}"), max_size=2),
)
def test_a_shell_reads_the_words_of_a_stack(load: str, setup: list[str], packages: list[str]) -> None:
    try:
        stack = Stack.model_validate({"load": load, "setup": setup, "packages": packages})
    except ValidationError:
        return
    text = stacks.prelude(stack, file="/sub/it's $HOME/stack.sh")
    # Words as they come, instead of the programs.
    programs = 'source() { printf "%s\\0" "$@"; }\nsetup() { source "$@"; }\n'
    program = f'{programs}{text}source "$MERIAN_CAMPAIGN_STACK"'
    done = subprocess.run(
        ["bash", "-c", program], capture_output=True, text=True, check=True, env={"HOME": "/h"}
    )
    lines = [word for line in stack.setup for word in shlex.split(line)]
    folders = [word for folder in packages for word in ("-j", "-r", folder)]
    assert done.stdout.split("\0")[:-1] == [load, *lines, *folders, "/sub/it's $HOME/stack.sh"]
    assert done.stderr == ""


SLURM = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.,:@+-]{0,8}", fullmatch=True)


@given(
    partition=maybe(SLURM),
    account=st.one_of(HOSTILE, SLURM, st.just("a\n#SBATCH --uid=0"), st.just("a\nrm x")),
    work=maybe(PATHS),
)
def test_a_drivers_script_has_the_lines_it_should(partition: str, account: str, work: str) -> None:
    document = {"campaign": "n", "butler": "/r", "instrument": "D", "site": "/s.yaml", "work_dir": work}
    document |= {
        "collections": {"output": "r"},
        "steps": [{"name": "step1", "pipeline": "/p#step1", "scope": "exposure"}],
    }
    spec = accepted(document)
    try:
        options = DriverOptions(partition=partition, account=account)
    except ValidationError:
        return
    if spec is None:
        return
    directory = f"{work}/n/step1/all/001"
    command = ["printf", "%s\\0", directory, "it's"]
    text = script(
        name="n-1", directory=directory, log=f"{directory}/driver.log", options=options, command=command
    )
    directives = [line for line in text.splitlines() if line.startswith("#SBATCH")]
    assert len(directives) == 15
    assert f"#SBATCH --account={account}" in directives
    assert f"#SBATCH --partition={partition}" in directives
    assert f"#SBATCH --chdir={directory}" in directives
    done = subprocess.run(
        ["bash", "-c", text], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.split("\0")[:-1] == [directory, "it's"]


@pytest.mark.parametrize(
    "name", ["output", "requestMemory", "createQuantumGraph", "pipelineYaml", "dataQuery"]
)
def test_a_task_that_is_called_like_a_key_of_bps_is_refused(name: str) -> None:
    document = {
        "campaign": "n",
        "butler": "/r",
        "instrument": "D",
        "site": "/s.yaml",
        "collections": {"output": "r"},
    }
    document["steps"] = [
        {"name": "step1", "pipeline": "/p#step1", "scope": "exposure", "resources": {name: {"memory": 5}}}
    ]
    assert accepted(document) is None
    assert (
        accepted(json.loads(json.dumps(document).replace(f'"{name}": {{"memory"', '"isr": {"memory"')))
        is not None
    )


def test_every_key_of_bps_is_known() -> None:
    from merian_campaign.domain.spec.words import BPS_KEYS  # noqa: PLC0415 - for this one test

    assert set(Config(BPS_DEFAULTS).names(topLevelOnly=True)) - BPS_KEYS == set()
