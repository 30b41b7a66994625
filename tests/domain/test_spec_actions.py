"""Arguments of actions: what is refused, and how command lines are shown."""

from __future__ import annotations

from typing import Any

import pytest
from domain_help import action, campaign
from pydantic import ValidationError

from merian_campaign.domain.safe_text.shell import ShellPattern, shown
from merian_campaign.domain.spec.actions import ACTIONS


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("register-instrument", {"instrument": "DECam"}, "full name, e.g. lsst.obs.decam.DarkEnergyCamera"),
        ("register-instrument", {}, "instrument"),
        ("check-filters", {"filters": []}, "filters"),
        ("ingest-raws", {"files": ["a"], "transfer": "move"}, "transfer"),
        ("ingest-raws", {"files": "a"}, "files"),
        ("ingest-raws", {"files": ["a"], "processes": 0}, "processes"),
        ("define-visits", {"instrument": "a.B", "processes": 4}, "processes"),
        (
            "reference-catalogue",
            {"name": "g", "shards": "s", "table": "t", "dimension": "pixel"},
            "dimension",
        ),
        ("transfer-datasets", {"source": "/other", "collections": []}, "collections"),
        ("command", {"run": []}, "run"),
        ("create", {"seed": "x"}, "seed"),
    ],
)
def test_wrong_arguments_are_named(name: str, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        campaign(action(action=name, arguments=arguments))
    assert words in str(caught.value)


def test_every_action_has_command_lines_and_only_known_paths() -> None:
    given: dict[str, dict[str, Any]] = {
        "certify-calibrations": {
            "input": "a/b", "output": "a", "dataset_type": "bias", "begin": "2021-01-01", "end": "2022-01-01",
        },
        "check-filters": {"filters": ["N708"]},
        "collection-chain": {"parent": "a", "children": ["b"]},
        "command": {"run": ["true", "{butler}"]},
        "create": {"seed_config": "/seed.yaml"},
        "define-visits": {"instrument": "a.B", "where": "exposure > 3"},
        "ingest-raws": {"files": ["/raw/*.fz"], "processes": 4, "run": "DECam/raw/some"},
        "reference-catalogue": {"name": "gaia", "shards": "/gaia", "table": "/gaia.ecsv"},
        "register-instrument": {"instrument": "a.B", "update": True},
        "register-skymap": {"name": "rings", "config_file": "/c.py", "config": ["x=1"]},
        "transfer-datasets": {"source": "/other", "collections": ["refcats"], "dataset_types": ["gaia*"]},
        "write-curated-calibrations": {"instrument": "a.B", "labels": ["v1"]},
    }  # fmt: skip
    assert set(given) == set(ACTIONS)
    lines = {}
    for name, arguments in given.items():
        model = ACTIONS[name].model_validate(arguments)
        assert set(model.PATHS) <= set(type(model).model_fields)
        lines[name] = [shown(words) for words in model.commands(repository="/repo")]
    assert lines["command"] == ["true /repo"]
    assert lines["create"] == ["mkdir -p /repo", "butler create --seed-config /seed.yaml /repo"]
    assert lines["define-visits"] == ["butler define-visits /repo a.B --where 'exposure > 3'"]
    assert lines["ingest-raws"] == [
        "butler ingest-raws /repo /raw/*.fz --transfer link --output-run DECam/raw/some -j 4"
    ]
    assert lines["register-instrument"] == ["butler register-instrument /repo a.B --update"]
    assert lines["register-skymap"] == ["butler register-skymap /repo -C /c.py -c name=rings -c x=1"]
    options = "--register-dataset-types -t link --collections refcats -d 'gaia*' --limit 0"
    assert lines["transfer-datasets"] == [f"butler transfer-datasets {options} /other /repo"]
    assert lines["write-curated-calibrations"] == ["butler write-curated-calibrations /repo a.B v1"]


@pytest.mark.parametrize(
    ("word", "text"),
    [
        (ShellPattern("/raw/*/[a-c]?.fz"), "/raw/*/[a-c]?.fz"),
        ("gaia*", "'gaia*'"),
        ("instrument = 'DECam'", "\"instrument = 'DECam'\""),
        ("it's $HOME", "'it'\"'\"'s $HOME'"),
        ("a b", "'a b'"),
        ("", "''"),
    ],
)
def test_words_are_quoted_for_a_shell(word: str, text: str) -> None:
    assert shown((word,)) == text
