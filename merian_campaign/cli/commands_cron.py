"""Commands that have ticks started: cron install, show, remove."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from merian_campaign.cli import completion
from merian_campaign.cli.options import Yes
from merian_campaign.cli.output import confirm, note, say
from merian_campaign.cli.plain_help import PlainTyper
from merian_campaign.context import CommandContext
from merian_campaign.domain.errors import CampaignError, UnavailableError
from merian_campaign.domain.tick.cron_line import (
    NEXT_TICK,
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

cron = PlainTyper(help="Ticks from cron, Slurm's cron, or a systemd timer.", no_args_is_help=True)

With = Annotated[TickStarter, typer.Option("--with", help="What starts them.")]


def _launcher(home: Path) -> Path:
    return home / "cron" / "tick"


def say_if_ticked(name: str) -> None:
    """Say what to type where ticks are started with a campaign that is on record no more."""
    from merian_campaign.host.home import home_directory
    from merian_campaign.host.regular_files import DamagedFileError, read_text

    launcher = _launcher(home_directory(CommandContext().environ))
    with suppress(OSError, DamagedFileError):
        if name in launched_names(read_text(launcher)):
            say(
                f"cron: its ticks still name {name}, and will fail: `merian-campaign cron install` with "
                "the others, or `cron remove`"
            )


@cron.command()
def install(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Campaigns; all there ever are, without any.",
            metavar="[NAME]...",
            show_default=False,
            autocompletion=completion.campaigns,
        ),
    ] = None,
    scheduler: With = TickStarter.CRONTAB,
    every: Annotated[int, typer.Option("--every", help="Minutes between ticks.", min=1, max=59)] = 5,
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", help="One more environment variable to keep. Repeatable.", metavar="VARIABLE"),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", help="Option of sbatch, for Slurm's cron. Repeatable.", metavar="OPTION"),
    ] = None,
    yes: Yes = False,
) -> None:
    """Have ticks started: write a script that sets up what they need, try it, and enter it.

    What is kept of this shell's environment is shown first (paths, home, database, stack; no secrets: a
    password goes into a file that only you can read). The entry takes the place of an earlier one.

    For example: `merian-campaign cron install --every 10 mine`
    """
    from merian_campaign.host.home import HOME_VARIABLE, hide_passwords, home_directory
    from merian_campaign.host.ownership import private_folder
    from merian_campaign.middleware.programs import own
    from merian_campaign.services.find import find_campaign

    context = CommandContext()
    for name in names or ():
        find_campaign(context.store, name)
    environ = dict(context.environ)
    hide_passwords(environ)
    home = home_directory(environ)
    launcher = _launcher(home)
    kept = kept_environment(environ, also=keep or ()) | {HOME_VARIABLE: str(home), NEXT_TICK: str(launcher)}
    umask = os.umask(0o077)
    os.umask(umask)
    text = launcher_text(program=own(), environment=kept, umask=umask, names=names or ())
    entry = Entry(
        starter=scheduler, home=str(home), launcher=str(launcher), every=every, options=tuple(option or ())
    )
    say(f"{launcher}:")
    say(text.rstrip("\n"))
    say(f"{scheduler.value}:")
    say("\n".join(timer_units(entry).values() if scheduler is TickStarter.SYSTEMD else entry_lines(entry)))
    if not yes:
        confirm("Write these?")
    (home / "logs").mkdir(parents=True, exist_ok=True)
    private_folder(launcher.parent)
    with _script_in_place(launcher, text) as trial:
        say(_tried(context, trial))
        # A timer may start a tick at once.
        trial.replace(launcher)
        _enter(entry, environ=context.environ)
    say(f"a tick starts every {every} minutes; `merian-campaign cron show` shows it")
    if scheduler is TickStarter.SCRONTAB:
        note(
            "what a tick starts ends with its job: let drivers be jobs of their own (driver: slurm of a site)"
        )
    if scheduler is TickStarter.SYSTEMD:
        note("to go on when you are not logged in: loginctl enable-linger")


@contextmanager
def _script_in_place(launcher: Path, text: str) -> Iterator[Path]:
    """Write a script beside the one in use, to be put in its place; after a failure all is as it was."""
    from merian_campaign.host.atomic_files import write_atomically

    trial = launcher.with_name("tick.new")
    earlier = launcher.read_text(encoding="utf-8") if launcher.exists() else None
    write_atomically(trial, text, mode=0o700)
    try:
        yield trial
    except CampaignError:
        trial.unlink(missing_ok=True)
        if earlier is None:
            launcher.unlink(missing_ok=True)
        else:
            write_atomically(launcher, earlier, mode=0o700)
        raise


def _tried(context: CommandContext, launcher: Path) -> str:
    """Run the script as cron would; return what it found, which must be the database of this shell.

    Raises
    ------
    UnavailableError
        Raised if it does not work; then nothing was entered.
    """
    import shlex

    from merian_campaign.host.cron_tables import run_bare
    from merian_campaign.store.server.connection import redacted
    from merian_campaign.store.server.server import database_url

    line = f"{shlex.quote(str(launcher))} --all --check"
    status, said = run_bare(line, environment=bare_environment(context.environ))
    if status:
        raise UnavailableError(f"{launcher}: in cron's environment it ends with status {status}: {said}")
    here = redacted(database_url())
    if f"database {here};" not in said:
        raise UnavailableError(
            f"{launcher}: in cron's environment it finds another database: {said}; here {here}"
        )
    return f"tried in cron's environment: {said}"


def _enter(entry: Entry, *, environ: Mapping[str, str]) -> None:
    from merian_campaign.host.cron_tables import enable_timer, read_table, write_table

    if entry.starter is TickStarter.SYSTEMD:
        enable_timer(unit_name(entry.home), timer_units(entry), environ=environ)
        return
    table = read_table(entry.starter.value)
    write_table(entry.starter.value, with_entry(table, entry))


@cron.command()
def show(scheduler: With = TickStarter.CRONTAB) -> None:
    """Show what starts ticks, with the script, the log, and the last tick."""
    from merian_campaign.cli.commands_tick import log_file
    from merian_campaign.host.cron_tables import read_table, unit_file
    from merian_campaign.host.home import home_directory
    from merian_campaign.host.regular_files import read_tail

    context = CommandContext()
    home = home_directory(context.environ)
    if scheduler is TickStarter.SYSTEMD:
        name = unit_name(str(home))
        units = [unit_file(name, suffix, environ=context.environ) for suffix in ("service", "timer")]
        found = "".join(unit.read_text(encoding="utf-8") for unit in units if unit.exists())
    else:
        table = read_table(scheduler.value).splitlines()
        rest = without_entry("\n".join(table), home=str(home)).splitlines()
        found = "\n".join(line for line in table if line not in rest)
    if not found:
        note(f"nothing of {home} is in {scheduler.value}; `merian-campaign cron install` enters it")
        raise typer.Exit(1)
    say(found.rstrip("\n"))
    say(f"script: {_launcher(home)}")
    log = log_file(context)
    say(f"log: {log}")
    last = read_tail(log).rstrip("\n").rpartition("\n")[2]
    if last:
        say(f"last: {last}")


@cron.command()
def remove(scheduler: With = TickStarter.CRONTAB) -> None:
    """Have no more ticks started; what runs goes on."""
    from merian_campaign.host.cron_tables import disable_timer, read_table, write_table
    from merian_campaign.host.home import home_directory

    context = CommandContext()
    home = home_directory(context.environ)
    if scheduler is TickStarter.SYSTEMD:
        changed = disable_timer(unit_name(str(home)), environ=context.environ)
    else:
        table = read_table(scheduler.value)
        without = without_entry(table, home=str(home))
        # A crontab need not end with a newline.
        changed = without.splitlines() != table.splitlines()
        if changed:
            write_table(scheduler.value, without)
    # Drivers that end start no tick any more.
    _launcher(home).unlink(missing_ok=True)
    say("removed" if changed else f"nothing of {home} was in {scheduler.value}")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(cron, name="cron")
