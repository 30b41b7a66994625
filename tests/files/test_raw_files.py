"""What lies on the file system of new data: names, sizes and times, never the content."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import yaml

from merian_campaign.domain.record.overlaps import Overlaps, SkyExposure
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.files.raw_files import look_for_arrivals

SEEN = Overlaps(
    exposures=(SkyExposure(exposure=1, day_obs=20210318), SkyExposure(exposure=2, day_obs=20210319)),
    basis="",
    seen_at=datetime(2026, 11, 22, tzinfo=UTC),
)


def spec(folder: Path) -> CampaignSpec:
    return CampaignSpec.model_validate(
        yaml.safe_load(f"""
        campaign: night
        butler: /repo
        instrument: DECam
        site: /site/local.yaml
        collections: {{output: runs/night}}
        night_complete: {{marker: "{folder}/marks/{{night}}.done"}}
        steps:
          - {{name: ingest, action: ingest-raws, arguments: {{files: ["{folder}/raw_*"]}}}}
        """)
    )


def digest(folder: Path) -> str:
    return look_for_arrivals(spec(folder), SEEN).files["ingest"]


def test_another_file_is_another_digest_and_nothing_is_opened(tmp_path: Path) -> None:
    assert digest(tmp_path) == ""
    os.mkfifo(tmp_path / "raw_fifo")  # opened, it would wait for ever
    (tmp_path / "raw_gone").symlink_to(tmp_path / "nowhere")
    first = digest(tmp_path)
    assert first == digest(tmp_path) != ""
    (tmp_path / "raw_\udcff").touch()
    second = digest(tmp_path)
    assert second not in {"", first}
    (tmp_path / "raw_fifo").unlink()
    assert digest(tmp_path) not in {"", first, second}


def test_a_night_is_marked_by_its_file(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    (marks / "20210319.done").touch()
    assert look_for_arrivals(spec(tmp_path), SEEN).marked == {20210319}
    assert look_for_arrivals(spec(tmp_path), None).marked == frozenset()


def test_marks_that_cannot_be_looked_at_are_none(tmp_path: Path) -> None:
    (tmp_path / "marks").symlink_to(tmp_path / "marks")  # a loop, as a folder without rights
    (tmp_path / "marks2").touch()
    assert look_for_arrivals(spec(tmp_path), SEEN).marked == frozenset()
    long = tmp_path / ("x" * 250) / ("y" * 250)  # too long a name on the way
    assert look_for_arrivals(spec(long.with_name("z" * 300)), SEEN).marked == frozenset()
