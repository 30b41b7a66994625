"""Replacing one value of a file and leaving every other character."""

from __future__ import annotations

from pathlib import Path

import pytest

from merian_campaign.domain.errors import BadInputError
from merian_campaign.files.yaml_value import replace_in_file, replaced

AROUND = "# head\ncampaign: night  # a name\n\n{}\n# before\nsteps:\n  - {{name: a, tracts: [1]}} # here\n"
NEW = '["9813-9815", 9900]'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('tracts: ["9813-9814"]', f"tracts: {NEW}"),
        ("tracts: discover   # all", f"tracts: {NEW}   # all"),
        ("tracts: 9813", f"tracts: {NEW}"),
        ("tracts: {discover: true, min_visits: 2}", f"tracts: {NEW}"),
        ("tracts:    [1,\n  2,\n  3]  # three", f"tracts: {NEW}  # three"),
        ('tracts:\n  - 9813\n  - "9814-9820"\n', f"tracts: {NEW}\n"),
        ("tracts:\n- 9813\n- 9814  # the last", f"tracts: {NEW}  # the last"),
        ("tracts:\n  discover: true\n  min_visits: 2", f"tracts: {NEW}"),
        ('tracts: "${TRACTS}"', f"tracts: {NEW}"),
        ("tracts: []", f"tracts: {NEW}"),
        ('"tracts": [1]', f'"tracts": {NEW}'),
        ("tracts: [1]  # ünïcode \U0001f52d", f"tracts: {NEW}  # ünïcode \U0001f52d"),
    ],
)
def test_only_the_value_changes(old: str, new: str) -> None:
    assert replaced(AROUND.format(old), key="tracts", value=NEW) == AROUND.format(new)


def test_line_ends_of_other_systems_stay() -> None:
    text = AROUND.format("tracts: [1]").replace("\n", "\r\n")
    assert replaced(text, key="tracts", value="[2]") == text.replace("tracts: [1]\r", "tracts: [2]\r")


@pytest.mark.parametrize(
    ("old", "words"),
    [
        ("other: 1", "there is no such key"),
        ("tracts: [1]\ntracts: [2]", "the key is there twice"),
        ("tracts:\n  - 1  # first\n  - 2", "comments inside its value"),
        ("tracts:  # these\n  - 1", "comments inside its value"),
        ("here: &t [1]\ntracts: *t", "an alias, has an anchor"),
        ("tracts: &t [1]\nhere: *t", "an alias, has an anchor"),
        ("tracts: !!seq [1]", "its value is empty, an alias, has an anchor or a tag"),
        ("tracts: |\n  discover", "runs over lines of text"),
        ("tracts:", "an alias, has an anchor"),
        ("tracts: [1", "not readable as YAML"),
    ],
)
def test_what_cannot_be_told_exactly_is_refused(old: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "night.yaml"
    text = AROUND.format(old)
    file.write_text(text)
    with pytest.raises(BadInputError) as caught:
        replace_in_file(file, key="tracts", value="[2]", shown="night.yaml")
    assert str(caught.value).startswith("night.yaml: tracts: ")
    assert words in str(caught.value)
    assert str(caught.value).endswith("put this there by hand:  tracts: [2]")
    assert file.read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["night.yaml"]


def test_a_file_keeps_its_mode_and_a_link_its_target(tmp_path: Path) -> None:
    file = tmp_path / "real.yaml"
    file.write_text("tracts: [1]\n")
    file.chmod(0o664)
    link = tmp_path / "night.yaml"
    link.symlink_to("real.yaml")
    assert replace_in_file(link, key="tracts", value="[2]", shown="night.yaml")
    assert link.is_symlink()
    assert file.read_text() == "tracts: [2]\n"
    assert file.stat().st_mode & 0o777 == 0o664
    before = file.stat()
    assert not replace_in_file(link, key="tracts", value="[2]", shown="night.yaml")
    assert file.stat().st_mtime_ns == before.st_mtime_ns
