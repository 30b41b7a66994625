"""Commands that take datasets to another site: export, import."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from merian_campaign.cli.options import AsJson, Name
from merian_campaign.cli.output import note, say, say_fields, show_report
from merian_campaign.cli.progress import progress
from merian_campaign.context import CommandContext
from merian_campaign.domain.errors import BadInputError
from merian_campaign.transfer import export_of


class Transfer(StrEnum):
    """How files get into the repository."""

    COPY = "copy"
    MOVE = "move"
    LINK = "link"
    HARDLINK = "hardlink"
    SYMLINK = "symlink"
    RELSYMLINK = "relsymlink"
    DIRECT = "direct"


def export(
    name: Name,
    folder: Annotated[
        Path, typer.Argument(help="New or empty folder, or an earlier export.", show_default=False)
    ],
    types: Annotated[
        str,
        typer.Option(
            "--types",
            help="Dataset types of any step, with commas and globs. Default: objectTable*, deepCoadd and "
            "deepCoadd_calexp of the last steps over tracts.",
            show_default=False,
        ),
    ] = "",
    tract: Annotated[
        list[int] | None,
        typer.Option("--tract", help="Only this tract. Repeatable.", show_default=False),
    ] = None,
    where: Annotated[str, typer.Option("--where", help="Data query.", show_default=False)] = "",
    archive: Annotated[
        Path | None,
        typer.Option(
            "--archive", help="Also pack it into this tar file (.tar, .tar.gz).", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Copy a campaign's final datasets into a folder for another site, with a manifest and checksums.

    Killed and repeated, it copies only what is missing or damaged; the manifest is written last.

    `butler import` reads the folder too.

    For example: `merian-campaign export mine outbox --tract 9813`
    """
    wanted = tuple(part.strip() for part in types.split(",") if part.strip())
    with progress() as tell:
        done = export_of(CommandContext(), tell=tell).run(
            name, folder=folder, types=wanted, tracts=tuple(tract or ()), where=where, archive=archive
        )  # fmt: skip
    manifest = done.manifest
    size = sum(entry.size for entry in manifest.files)
    if manifest.incomplete:
        note(f"not complete, and exported as far as they are: {', '.join(manifest.incomplete)}")
    if as_json:
        show_report(
            {
                "campaign": name,
                "folder": str(folder),
                "archive": None if archive is None else str(archive),
                "dataset_types": manifest.dataset_types,
                "files": len(manifest.files),
                "bytes": size,
                "copied": done.copied,
                "dropped": done.dropped,
                "incomplete": manifest.incomplete,
            }
        )
        return
    for dataset_type, number in manifest.dataset_types.items():
        say_fields(dataset_type, number)
    what = f"{done.copied} copied now" if done.changed else "all there already"
    dropped = f", {done.dropped} removed that are not wanted any more" if done.dropped else ""
    note(f"{folder}: {len(manifest.files)} files, {size / 1e6:.1f} MB ({what}{dropped})")


def import_(
    repository: Annotated[
        str, typer.Argument(help="Butler repository: path, label or URI.", metavar="REPO", show_default=False)
    ],
    export_: Annotated[
        Path,
        typer.Argument(help="Folder of an export, or its archive.", metavar="DIRECTORY", show_default=False),
    ],
    chain: Annotated[
        str | None,
        typer.Option("--chain", help="Chain to show it; default: as at the source.", show_default=False),
    ] = None,
    transfer: Annotated[
        Transfer,
        typer.Option("--transfer", "-t", help=f"How files get there: {', '.join(Transfer)}.", metavar="MODE"),
    ] = Transfer.COPY,
    skip_dimensions: Annotated[
        str,
        typer.Option(
            "--skip-dimensions",
            "-s",
            help="Dimensions whose records are left out, e.g. skymap,tract; what is there stays anyway.",
            show_default=False,
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Import an export into a butler repository, and make a chain show it; arguments as `butler import`.

    Checksums are compared before anything is registered. The tracking database is not needed.

    What the repository has already is skipped: run twice, it has one effect.

    For example: `merian-campaign import /path/to/repo outbox --transfer link`
    """
    from merian_campaign.transfer.butler_import import ButlerImport
    from merian_campaign.transfer.exports import is_export
    from merian_campaign.transfer.transfer_service import import_export

    if is_export(Path(repository)) and not is_export(export_):
        raise BadInputError(f"{repository}: is an export; write REPO before it, as butler import has them")
    from merian_campaign.files.repository_names import RepositoryNames

    place = RepositoryNames(CommandContext().environ).place(repository, Path.cwd())
    with progress() as tell:
        done = import_export(
            place=export_,
            open_destination=lambda: ButlerImport.opened(place),
            chain=chain,
            transfer=transfer.value,
            skip=tuple(part.strip() for part in skip_dimensions.split(",") if part.strip()),
            tell=tell,
        )
    if as_json:
        show_report(vars(done))
        return
    say(f"{repository}: {done.datasets} datasets imported, {done.known} were there before")
    say(f"{done.chain}: {'now shows them' if done.chained else 'shows them already'}")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(export)
    app.command("import")(import_)
