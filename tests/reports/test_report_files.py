"""What is taken away: CSV without formulas, Parquet, JSON, pictures."""

from __future__ import annotations

import csv
import io
import json

import pyarrow.parquet as pq
import pytest

from merian_campaign.domain.report.numbers import Report
from merian_campaign.reports.page.figures import figures
from merian_campaign.reports.page.tables import KINDS, as_csv, as_parquet, report_json, rows


@pytest.mark.parametrize("name", KINDS)
def test_a_table_is_the_same_everywhere(report: Report, name: str) -> None:
    given = rows(report, name)
    read = list(csv.DictReader(io.StringIO(as_csv(report, name))))
    assert len(read) == len(given)
    table = pq.read_table(io.BytesIO(as_parquet(report, name))).to_pylist()
    assert table == given
    assert len(report_json(report)[name]) == len(given)
    for line in read:
        for cell in line.values():
            assert not cell.startswith(("=", "@", "\t", "\r", "\n"))
            assert not cell.startswith(("+", "-")) or float(cell) <= 0


def test_no_cell_is_a_formula(report: Report) -> None:
    from dataclasses import replace  # noqa: PLC0415

    words = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"]
    changed = replace(report, groups=tuple(replace(report.groups[0], reason=word) for word in words))
    read = list(csv.DictReader(io.StringIO(as_csv(changed, "groups"))))
    assert [line["reason"] for line in read] == [f"'{word}" for word in words]


def test_json_is_json(report: Report) -> None:
    text = json.dumps(report_json(report))
    assert json.loads(text)["headline"]["expected"] == report.headline.expected


def test_pictures_are_files(report: Report) -> None:
    made = dict(figures(report))
    names = {name.rpartition(".")[0] for name in made}
    assert names >= {
        "sky-1",
        "sky-all",
        "tracts",
        "nights",
        "progress",
        "memory",
        "times",
        "blocks",
        "submissions",
    }
    begins = {".png": b"\x89PNG", ".svg": b"<svg", ".pdf": b"%PDF"}
    for name, content in made.items():
        assert content.startswith(begins[name[-4:]]), name
        assert b"var(--" not in content
    assert len(made) == 3 * len(names)
    # What its colours and marks mean stands in each file: there is no page beside it.
    for name, words in {
        "sky-1": (*report.tract_steps, "nothing yet", "outlined in red: needs review"),
        "sky-all": report.tract_steps,
        "tracts": ("done", "needs review"),
        "memory": ("Dot: median", "asked for"),
        "times": ("Dot: median", "queue wait"),
        "submissions": ("afterburners",),
    }.items():
        drawn = made[f"{name}.svg"].decode()
        assert [word for word in words if word not in drawn] == [], name
    assert "needs review" not in made["nights.svg"].decode()
