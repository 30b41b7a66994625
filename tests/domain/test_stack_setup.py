"""How a stack is set up, in bash that a person can read, whatever stands in it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from domain_help import campaign
from pydantic import ValidationError

from merian_campaign.domain.spec.site import SiteOptions
from merian_campaign.domain.spec.stack import Stack, in_force
from merian_campaign.domain.stack import stack_setup as text

ODD = '/home/o\'brien/my "repos"/$HOME/obs_decam; touch x'


def test_the_notes_lines_in_their_order() -> None:
    made = Stack.model_validate(
        {
            "load": "/projects/HSC/LSST/stack/loadLSST.sh",
            "environment": "lsst-scipipe-4.0.0",
            "setup": ["lsst_distrib -t w_2022_26"],
            "packages": ["/home/lkelvin/repos/obs_decam"],
        }
    )
    lines = [line.partition(" || ")[0] for line in text.prelude(made, file="/sub/001/stack.sh").splitlines()]
    assert [line for line in lines if line and not line.startswith("#")] == [
        "export LSST_CONDA_ENV_NAME=lsst-scipipe-4.0.0",
        "source /projects/HSC/LSST/stack/loadLSST.sh",
        "setup lsst_distrib -t w_2022_26",
        "setup -j -r /home/lkelvin/repos/obs_decam",
        "export MERIAN_CAMPAIGN_STACK=/sub/001/stack.sh",
    ]


def test_without_an_environment_the_newest_is_loaded() -> None:
    assert "unset LSST_CONDA_ENV_NAME\n" in text.prelude(Stack(load="/load.sh"), file="/s.sh")
    assert "LSST_CONDA" not in text.prelude(Stack(prelude="true"), file="/s.sh")


def test_names_are_never_read_by_the_shell(tmp_path: Path) -> None:
    """Bash itself says what it makes of a path full of its own signs."""
    file = tmp_path / "it's $HOME" / "stack.sh"
    file.parent.mkdir()
    made = Stack(load=str(tmp_path / "load 'all'.sh"), packages=(ODD,))
    (tmp_path / "load 'all'.sh").write_text('setup() { printf "%s\\n" "$@"; }\n')
    file.write_text(text.prelude(made, file=str(file)))
    done = subprocess.run(
        ["bash", "-c", 'source "$1" && printf "%s" "$MERIAN_CAMPAIGN_STACK"', "bash", str(file)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"-j\n-r\n{ODD}\n{file}"
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"setup": ["lsst_distrib; rm -rf /"]}, "write what follows `setup`"),
        ({"setup": ["$(reboot)"]}, "write what follows `setup`"),
        ({"setup": [" "]}, "write what follows `setup`"),
        ({"environment": "lsst-scipipe-4.0.0 (LSST)"}, "mamba env list"),
        ({"load": "/a\n/b"}, "no shell takes"),
        ({"packages": ["/a\0b"]}, "no shell takes"),
        ({"loads": "/a"}, "Extra inputs"),
        ({"changes": "maybe"}, "'refused' or 'allowed'"),
    ],
)
def test_what_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words.replace("(", r"\(")):
        Stack.model_validate(given)


def test_one_line_needs_no_list() -> None:
    assert Stack.model_validate({"setup": "lsst_distrib"}).setup == ("lsst_distrib",)


def test_the_campaign_goes_before_the_site_key_by_key() -> None:
    site = SiteOptions.model_validate({"stack": {"load": "/load.sh", "setup": ["lsst_distrib"]}}).stack
    own = campaign(stack={"setup": ["lsst_distrib -t w_2022_26"], "prelude": ""}).stack
    found = in_force(campaign=own, site=site)
    assert (found.load, found.setup, found.changes) == (
        "/load.sh",
        ("lsst_distrib -t w_2022_26",),
        "refused",
    )
    assert in_force(campaign=None, site=site) == site
    assert not in_force(campaign=None, site=None).sets_up
    assert not Stack(changes="allowed", prelude=" \n").sets_up


def test_a_failure_has_a_reason_in_any_case() -> None:
    assert text.failure("boo\n") == "the stack could not be set up: boo; see driver.log"
    assert text.failure(" ") == "the stack could not be set up: no word of why; see driver.log"
