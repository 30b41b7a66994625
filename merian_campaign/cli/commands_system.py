"""Commands around the campaigns: the database, the demo, and those that programs call."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from merian_campaign.cli.options import SiteOption, WmsOption
from merian_campaign.cli.output import flush, note, say
from merian_campaign.cli.plain_help import PlainTyper
from merian_campaign.context import CommandContext
from merian_campaign.store.server.rights import Access, statements
from merian_campaign.store.server.rights import grant as give_rights
from merian_campaign.submission_context import drive_submission, run_locked, submit_warm

db = PlainTyper(help="The tracking database.", no_args_is_help=True)


@db.command()
def url(
    libpq: Annotated[bool, typer.Option("--libpq", help="As psql and psycopg2 take it.")] = False,
) -> None:
    """Print the database's URL, as SQLAlchemy and pandas take it; starts the embedded server if need be."""
    from merian_campaign.store.server.connection import libpq_url, sqlalchemy_url
    from merian_campaign.store.server.server import database_url

    found = database_url()
    say(libpq_url(found) if libpq else sqlalchemy_url(found))


@db.command()
def upgrade() -> None:
    """Bring the database's schema to this program's version."""
    from merian_campaign.store.server.fitness import require_writable
    from merian_campaign.store.server.migrate import upgrade as migrate
    from merian_campaign.store.server.server import database_url

    where = database_url()
    require_writable(where)
    changed = migrate(where)
    say("upgraded" if changed else "already up to date")


@db.command()
def check(
    quanta: Annotated[
        bool, typer.Option("--quanta", help="Count every quantum too: a minute for ten million of them.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Count anew what is kept of groups and is not so.")
    ] = False,
) -> None:
    """Say whether the database answers, can be written and locked, has room, and has the right schema.

    And whether what the board shows is what is counted; a tick may be at work meanwhile.
    """
    from merian_campaign.store.kept_numbers import count_anew, different, require_right
    from merian_campaign.store.server.fitness import once_free, require_fit
    from merian_campaign.store.server.schema_version import check as check_version
    from merian_campaign.store.server.server import prepared_url

    where = prepared_url()
    require_fit(where)
    once_free(lambda: check_version(where))
    found = once_free(lambda: different(where, quanta=quanta))
    if repair and found:
        for entry in found:
            note(f"{entry.group}: {entry.words}")
        groups = once_free(lambda: count_anew(where, found))
        say("counted anew: what is kept of " + ("1 group" if groups == 1 else f"{groups} groups"))
        found = once_free(lambda: different(where, quanta=quanta))
    require_right(found, repair=f"merian-campaign db check{' --quanta' if quanta else ''} --repair")
    kept = "what is kept of groups is what every quantum says" if quanta else "the board is what is counted"
    say(f"the database answers, its schema is up to date, and {kept}")


@db.command()
def dump(
    file: Annotated[str, typer.Argument(help="File to write; it must not be there yet.", metavar="FILE")],
) -> None:
    """Write the whole database into a file, as of one moment; ticks and drivers may go on."""
    from merian_campaign.store.server.backup import dump as write_dump
    from merian_campaign.store.server.server import prepared_url

    write_dump(prepared_url(), Path(file))
    say(file)


@db.command()
def restore(
    file: Annotated[str, typer.Argument(help="File that `db dump` wrote.", metavar="FILE")],
) -> None:
    """Fill an empty database from such a file, and bring its schema to this program's version.

    Its campaigns are those that were dumped: of two databases with the same ones only one may go on.
    """
    from merian_campaign.store.server.backup import restore as read_dump
    from merian_campaign.store.server.fitness import require_writable
    from merian_campaign.store.server.migrate import upgrade as migrate
    from merian_campaign.store.server.server import database_url

    where = database_url()
    require_writable(where)
    read_dump(where, Path(file))
    migrate(where)
    say(f"restored from {file}")


@db.command()
def rebuild(
    file: Annotated[str, typer.Argument(help="Campaign file, as it was applied.", metavar="FILE")],
) -> None:
    """Put a campaign on record again whose database is lost, from its submissions and the butler.

    It is paused afterwards. What people had ordered is lost: accepted groups need review again.
    """
    report = CommandContext().rebuild(file, tell=note)
    for words in report.notes:
        note(words)
    states = Counter(group.state for group in report.snapshot.groups)
    found = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
    name = report.snapshot.campaign.name
    say(f"{name}: {report.submissions} submissions are on record again; groups: {found}")
    say(f"it is paused; look at it (`merian-campaign status {name}`), then `merian-campaign resume {name}`")


@db.command()
def grant(
    roles: Annotated[
        list[str], typer.Argument(help="Roles of the database.", show_default=False, metavar="ROLE...")
    ],
    access: Annotated[
        Access,
        typer.Option(
            "--as", help="views: the stable views only; reader: all of it; operator: all but change tables."
        ),
    ] = Access.VIEWS,
    sql: Annotated[
        bool, typer.Option("--sql", help="Print the SQL, for the owner's psql, and change nothing.")
    ] = False,
) -> None:
    """Let other roles use the database, e.g. Grafana its views, or a second operator all of it.

    For example: `merian-campaign db grant grafana --as views`
    """
    if sql:
        say("\n".join(("BEGIN;", *statements(roles, access=access), "COMMIT;")))
        return
    from merian_campaign.store.server.server import prepared_url

    give_rights(prepared_url(), roles, access=access)
    say("granted")


@db.command()
def stop() -> None:
    """Stop the embedded server, if it runs."""
    from merian_campaign.store.server.server import stop as stop_server

    say("stopped" if stop_server() else "no embedded server was running")


def drive(
    submission: Annotated[int, typer.Argument(help="Id of the submission.")],
    epoch: Annotated[int, typer.Option(help="Epoch that is expected.")] = 0,
    no_stack: Annotated[
        str | None, typer.Option(help="Only put on record that the stack could not be set up, and why.")
    ] = None,
) -> None:
    """Drive one submission to its end (started by ticks)."""
    context = CommandContext()
    if not drive_submission(context, submission_id=submission, expected_epoch=epoch, no_stack=no_stack):
        note("another driver has this submission, or it is finished")


def submit(
    directory: Annotated[str, typer.Argument(help="The submission's directory, with its submit.yaml.")],
    repository: Annotated[str, typer.Option(help="Butler repository.")],
    run: Annotated[str, typer.Option(help="RUN collection.")],
    chain: Annotated[str, typer.Option(help="Chain of the step's outputs.")],
) -> None:
    """Run a rendered file through our WMS service with warm stages (started by drivers)."""
    submit_warm(directory=directory, repository=repository, run=run, chain=chain)


def run_exclusive(
    command: Annotated[list[str], typer.Argument(help="Command and its arguments, after --.")],
    repository: Annotated[str, typer.Option("--repository", "-b", help="Butler repository.")],
) -> None:
    """Run a command while holding a butler repository's lock (stands in rendered submit files)."""
    flush()
    raise typer.Exit(run_locked(repository=repository, command=command))


def run_shared(
    command: Annotated[list[str], typer.Argument(help="Command and its arguments, after --.")],
    repository: Annotated[str, typer.Option(help="Butler repository.")],
    readers: Annotated[
        int, typer.Option(min=0, max=10_000, help="How many at once; 0 for this host's cores.")
    ] = 0,
) -> None:
    """Run a command that only reads a butler repository, with others and none that writes to it."""
    flush()
    raise typer.Exit(run_locked(repository=repository, command=command, readers=readers))


def demo(
    directory: Annotated[
        str, typer.Option("--dir", envvar="DEMO_DIR", help="Where the demo survey lives.")
    ] = "build/demo",
    keep: Annotated[bool, typer.Option("--keep", help="Go on with a demo that is there.")] = False,
    faults: Annotated[bool, typer.Option(help="Inject the demo's faults.")] = True,
    nights: Annotated[
        int, typer.Option(min=2, max=3, help="3: when two nights are reduced, another one comes.")
    ] = 2,
    wms: WmsOption = None,
    site: SiteOption = None,
) -> None:
    """Make a miniature survey and reduce it, with injected faults, to finished quanta."""
    from merian_campaign.cli.demo import run_demo

    code = run_demo(
        directory=Path(directory).absolute(), keep=keep, faults=faults, wms=wms, site=site, nights=nights
    )
    if code:
        raise typer.Exit(code)


def butler_helper(no_stack: Annotated[str | None, typer.Option(hidden=True)] = None) -> None:
    """Answer requests about a butler on standard input, as JSON (started by ticks, inside a stack)."""
    from merian_campaign.middleware import butler_helper as helper

    if no_stack is None:
        helper.main()
        return
    from merian_campaign.domain.stack.stack_setup import failure

    say(json.dumps({"ok": False, "error": failure(no_stack).removesuffix("; see driver.log")}))


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(db, name="db")
    app.command()(demo)
    app.command(hidden=True)(drive)
    app.command("butler-helper", hidden=True)(butler_helper)
    app.command(hidden=True)(submit)
    app.command("exclusive", hidden=True, context_settings={"allow_interspersed_args": False})(run_exclusive)
    app.command("shared", hidden=True, context_settings={"allow_interspersed_args": False})(run_shared)
