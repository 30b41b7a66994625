"""`preflight` and the tracking database: outputs of others, and a database that cannot be used."""

from __future__ import annotations

import json

from cli_help import Cli


def test_an_output_of_another_campaign_is_found(cli: Cli) -> None:
    name = cli.applied()
    text = cli.survey.file.read_text()
    other = cli.survey.folder / "other.yaml"
    other.write_text(text.replace(f"campaign: {name}", "campaign: preflight-other"))
    done = cli("preflight", str(other), "--json")
    assert done.code == 2
    said = json.loads(done.stdout)
    assert (said["schema"], said["campaign"]) == (1, "preflight-other")
    found = said["findings"]
    # The repository of this survey is none: that is a finding beside the others.
    assert [entry["place"] for entry in found if "cannot be opened" in entry["message"]] == ["butler"]
    taken = [entry["message"] for entry in found if entry["place"] == "step3"]
    assert f"its output runs/night/step3 is also that of campaign {name} (step3)" in taken
    assert all(entry["fix"] for entry in found)
    done = cli("preflight", name, COLUMNS="80")
    assert done.code == 2
    assert "errors" in done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_database_that_does_not_answer_is_a_finding(cli: Cli) -> None:
    url = "postgresql://nobody@127.0.0.1:1/none"
    done = cli("preflight", cli.file, "--json", MERIAN_CAMPAIGN_DATABASE_URL=url)
    assert done.code == 2, done.stderr
    assert "Traceback" not in done.stderr
    (found,) = [
        entry for entry in json.loads(done.stdout)["findings"] if entry["place"] == "tracking database"
    ]
    assert found["fatal"]
    assert "MERIAN_CAMPAIGN_DATABASE_URL" in found["fix"]
