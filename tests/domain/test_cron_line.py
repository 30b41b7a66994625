"""What starts ticks: lines of a crontab, units of systemd, the script that they name."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.tick.cron_line import (
    Entry,
    TickStarter,
    bare_environment,
    entry_lines,
    kept_environment,
    launched_names,
    launcher_text,
    timer_units,
    unit_name,
    with_entry,
    without_entry,
)

CRONTAB, SCRONTAB = TickStarter.CRONTAB, TickStarter.SCRONTAB
ODD = Entry(starter=CRONTAB, home="/h/a b", launcher="/h/a b/50%/tick", every=5)
SLURM = Entry(starter=SCRONTAB, home="/h", launcher="/h/50%/tick", every=1, options=("--mem=2G",))


def test_an_entry_takes_the_place_of_the_one_before_and_leaves_all_else() -> None:
    others = "MAILTO=me\n0 0 1 1 * echo 50\\%\n"
    once = with_entry(others, ODD)
    assert once == f"{others}# merian-campaign ticks of /h/a b\n*/5 * * * * '/h/a b/50\\%/tick'\n"
    both = with_entry(once, SLURM)
    assert both.splitlines()[-3:] == [
        "# merian-campaign ticks of /h",
        "#SCRON --job-name=merian-campaign --output=/h/logs/scrontab.out --mem=2G",
        "* * * * * /h/50%/tick",
    ]  # fmt: skip
    assert with_entry(both, ODD).splitlines()[:2] == others.splitlines()
    assert without_entry(without_entry(both, home="/h"), home="/h/a b") == others
    # What Slurm makes of an entry whose job somebody has cancelled.
    disabled = "\n".join((entry_lines(SLURM)[0], *(f"#DISABLED: {line}" for line in entry_lines(SLURM)[1:])))
    assert without_entry(f"{others}{disabled}\n", home="/h") == others
    with pytest.raises(BadInputError, match="cannot hold a path with a line break"):
        entry_lines(Entry(starter=CRONTAB, home="/h\nx", launcher="/h/tick", every=5))
    assert (
        "--output=/dev/null" in entry_lines(Entry(starter=SCRONTAB, home="/a b", launcher="/t", every=5))[1]
    )


def test_a_home_has_units_of_its_own() -> None:
    made = timer_units(Entry(starter=TickStarter.SYSTEMD, home="/h/50%", launcher="/h/tick", every=5))
    assert "Description=Ticks of merian-campaign in /h/50%%\n" in made["timer"]
    assert "OnCalendar=*:0/5\n" in made["timer"]
    assert unit_name("/h") != unit_name("/h2")


def test_the_script_sets_what_a_tick_needs_and_no_secret(tmp_path: Path) -> None:
    environ = {
        "PATH": "/opt/b in:/bin", "REPO": "/r", "MERIAN_CAMPAIGN_HOME": "/h", "PGPASSWORD": "sekret",
        "DAF_BUTLER_TOKEN": "sekret", "EUPS_PATH": "/e", "OBS_DECAM_DIR": "/o", "WORD": "it's",
    }  # fmt: skip
    kept = kept_environment(environ, also=["WORD"])
    assert "sekret" not in str(kept)
    assert kept.keys() == environ.keys() - {"PGPASSWORD", "DAF_BUTLER_TOKEN"}
    told = ["/bin/sh", "-c", 'echo "$WORD $OBS_DECAM_DIR $PATH $(umask) $*"', "x"]
    script = tmp_path / "tick"
    script.write_text(launcher_text(program=told, environment=kept, umask=0o27, names=["wide", "a b"]))
    for words, named in ((), "wide a b"), (("deep",), "deep"):
        done = subprocess.run(
            ["/bin/sh", str(script), *words],
            env=bare_environment({}),
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == f"it's /o /opt/b in:/bin 0027 tick --quiet {named}\n"
    with pytest.raises(BadInputError, match="--keep NOPE: that variable is not set here"):
        kept_environment(environ, also=["NOPE"])
    with pytest.raises(BadInputError, match="found a line break"):
        kept_environment({"REPO": "a\nb"})


@pytest.mark.parametrize("names", [(), ("mine",), ("mine", "o'ther one", "wide-*")])
def test_a_script_says_which_campaigns_it_names(names: tuple[str, ...]) -> None:
    text = launcher_text(program=["/bin/m"], environment={"A": "set -- b; fi"}, umask=0o22, names=names)
    assert launched_names(text) == names
    assert launched_names(text.replace("then set -- ", "then set -- '")) == ()
    assert launched_names("") == ()
