"""Puts the rooms together for one command: the only module that knows all of them."""

from __future__ import annotations

import getpass
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from merian_campaign.domain.errors import BadInputError, CampaignError
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.host.home import home_directory
from merian_campaign.host.ownership import user_name

if TYPE_CHECKING:
    from merian_campaign.domain.failures.failure_rules import FailureRule
    from merian_campaign.domain.preflight.facts import PipelineFacts
    from merian_campaign.domain.preflight.queries import StepQuery
    from merian_campaign.domain.record.basis import Basis
    from merian_campaign.domain.record.records import OpenTick
    from merian_campaign.domain.record.snapshot import GroupView, Snapshot
    from merian_campaign.domain.report.rows import ReportRows
    from merian_campaign.domain.resources.core_hours import Price
    from merian_campaign.domain.resources.memory_model import MemoryForecast
    from merian_campaign.domain.sky_regions import SkyRegion
    from merian_campaign.domain.spec import CampaignSpec
    from merian_campaign.domain.spec.stack import Stack
    from merian_campaign.domain.stack.requirements import StackReport
    from merian_campaign.files.campaign_file import CampaignFile
    from merian_campaign.files.read_scopes import PipelineReader
    from merian_campaign.middleware.scheduler import SlurmScheduler
    from merian_campaign.reports.status import Status
    from merian_campaign.services.apply import Applied
    from merian_campaign.services.control import Control
    from merian_campaign.services.orders import Orders
    from merian_campaign.services.ports import Store
    from merian_campaign.services.rebuild import RebuildReport
    from merian_campaign.services.rounds import Rounds, Teller
    from merian_campaign.services.runtime import Runtime
    from merian_campaign.services.tick import Tick
    from merian_campaign.store.reading.reader import Reader


def _now() -> datetime:
    return datetime.now(UTC)


def quantum_wrapper() -> str:
    """Return the path of the shell wrapper that writes the journal under the stock service."""
    return str(Path(__file__).resolve().parent / "wms" / "quantum.sh")


@dataclass(frozen=True)
class CommandContext:
    """What a command works with; everything heavy is made when it is first asked for.

    Parameters
    ----------
    environ : `~collections.abc.Mapping`
        The environment.
    """

    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    clock: Callable[[], datetime] = _now

    @cached_property
    def store(self) -> Store:
        """The tracking database."""
        from merian_campaign.store import connect  # noqa: PLC0415 - see the class

        return connect()

    def close(self) -> None:
        """Close the connections of the store, if there are any."""
        if "store" in vars(self):
            self.store.close()

    @cached_property
    def reader(self) -> Reader:
        """The fast, reading part of the store."""
        from merian_campaign.store import open_reader  # noqa: PLC0415

        return open_reader()

    def status(self, name: str, *, at: datetime | None = None) -> Status:
        """Return how a campaign stands, from the fast reader, or how it stood at an earlier moment."""
        from merian_campaign.reports.status import Status  # noqa: PLC0415

        if at is not None:
            state, rows = self.reader.board_at(name, at=at)
            return Status(campaign=name, campaign_state=state, rows=rows, at=at)
        state, rows = self.reader.campaign_state(name), self.reader.board(name)
        stale = [f"{row.step}/{row.group}" for row in rows if row.stale]
        return Status(campaign=name, campaign_state=state, rows=rows, prices=self.prices(name, stale))

    def prices(self, name: str, groups: Sequence[str]) -> Mapping[str, Price]:
        """Return what it costs to make groups anew; only where there are any, its file is looked at."""
        if not groups:
            return {}
        from merian_campaign.domain.record.applied_spec import applied_spec  # noqa: PLC0415
        from merian_campaign.domain.resources.core_hours import prices  # noqa: PLC0415
        from merian_campaign.services.find import find_campaign  # noqa: PLC0415

        spec = applied_spec(find_campaign(self.store, name))
        return prices(spec, self.reader.costs(name, groups=groups))

    @cached_property
    def runtime(self) -> Runtime:
        """Where things lie and who asks."""
        from merian_campaign.services.runtime import Runtime  # noqa: PLC0415

        host = os.uname().nodename
        return Runtime(
            root=str(home_directory(self.environ) / "submissions"),
            quantum_wrapper=quantum_wrapper(),
            actor=one_line(f"{_user()}@{host}"),
            host=host,
            pid=os.getpid(),
            clock=self._shared_clock(),
        )

    def _shared_clock(self) -> Callable[[], datetime]:
        """Return the clock of all hosts, the database's, unless another was given."""
        from merian_campaign.store.server.clock import DatabaseClock  # noqa: PLC0415

        return DatabaseClock(self._database_now) if self.clock is _now else self.clock

    def _database_now(self) -> datetime:
        return self.store.now()

    @cached_property
    def tick(self) -> Tick:
        """The reconciler."""
        from merian_campaign.middleware.drivers import LocalDrivers  # noqa: PLC0415
        from merian_campaign.middleware.registry import ButlerRegistry  # noqa: PLC0415
        from merian_campaign.services.campaign_settings import settings_of  # noqa: PLC0415
        from merian_campaign.services.tick import Tick  # noqa: PLC0415

        return Tick(
            store=self.store,
            drivers=LocalDrivers(environ=self.environ),
            scheduler=self.scheduler,
            registry=ButlerRegistry(environ=self.environ),
            runtime=self.runtime,
            settings_of=settings_of,
        )

    @cached_property
    def teller(self) -> Teller:
        """Whom to tell what."""
        from merian_campaign.domain.tick.notices import NoticeOptions  # noqa: PLC0415
        from merian_campaign.files.notice_file import read_notices  # noqa: PLC0415
        from merian_campaign.host.rotated_log import first_time, forget_time  # noqa: PLC0415
        from merian_campaign.middleware.notifier import ChannelNotifier  # noqa: PLC0415
        from merian_campaign.services.rounds import Teller  # noqa: PLC0415

        home = home_directory(self.environ)
        options, wrong = NoticeOptions(), ""
        try:
            options = read_notices(home, environ=self.environ)
        except BadInputError as error:  # a slip in it stops no tick
            wrong = str(error)
        return Teller(
            options=options,
            notifier=ChannelNotifier(environ=self.environ),
            first=partial(first_time, home / "told"),
            unsaid=partial(forget_time, home / "told"),
            wrong=wrong,
        )

    @cached_property
    def rounds(self) -> Rounds:
        """Ticks of several campaigns, and what people are told of them."""
        from merian_campaign.services.rounds import Rounds  # noqa: PLC0415

        return Rounds(
            tick=self.tick,
            store=self.store,
            runtime=self.runtime,
            teller=self.teller,
            end_stuck=partial(_end_stuck, host=self.runtime.host),
        )

    @cached_property
    def scheduler(self) -> SlurmScheduler:
        """Slurm's commands; nothing is run until something is asked."""
        from merian_campaign.middleware.scheduler import SlurmScheduler  # noqa: PLC0415

        return SlurmScheduler(environ=self.environ, clock=self.runtime.clock)

    @cached_property
    def control(self) -> Control:
        """A person's orders."""
        from merian_campaign.middleware.drivers import LocalDrivers  # noqa: PLC0415
        from merian_campaign.services.campaign_settings import trusted_by  # noqa: PLC0415
        from merian_campaign.services.control import Control  # noqa: PLC0415

        return Control(
            store=self.store,
            drivers=LocalDrivers(environ=self.environ),
            scheduler=self.scheduler,
            runtime=self.runtime,
            trusted_by=trusted_by,
        )

    def basis_now(self, snapshot: Snapshot, group: GroupView) -> Basis | None:
        """Return what a submission of a group would be made from now; `None` when that is not known."""
        from merian_campaign.domain.campaign.plan import in_force as groups_in_force  # noqa: PLC0415
        from merian_campaign.domain.readiness.new_data import NewData  # noqa: PLC0415
        from merian_campaign.domain.record.applied_spec import applied_spec  # noqa: PLC0415
        from merian_campaign.files.raw_files import look_for_arrivals  # noqa: PLC0415

        spec = applied_spec(snapshot.campaign)
        arrivals = look_for_arrivals(spec, snapshot.overlaps)
        now = self.clock()
        current = groups_in_force(spec, snapshot)
        return NewData(spec=spec, snapshot=current, arrivals=arrivals, now=now).basis(group)

    @cached_property
    def orders(self) -> Orders:
        """More orders of a person: those that take others back, and those that hold groups."""
        from merian_campaign.services.orders import Orders  # noqa: PLC0415

        return Orders(store=self.store, runtime=self.runtime)

    def memory_forecasts(self, name: str) -> Mapping[str, tuple[MemoryForecast, ...]]:
        """Return the memory requests that the steps of a campaign get next, by what was measured."""
        from merian_campaign.services.memory_forecasts import campaign_forecasts  # noqa: PLC0415

        return campaign_forecasts(self.store, name)

    def failure_rules(self, name: str, *, file: str | None = None) -> tuple[FailureRule, ...]:
        """Return the failure rules of a campaign, in the order in which they are tried.

        With ``file``, an absolute path, that in place of the campaign's own.
        """
        from merian_campaign.domain.record.applied_spec import applied_spec  # noqa: PLC0415
        from merian_campaign.files.rule_files import rules_in_force  # noqa: PLC0415
        from merian_campaign.files.site_file import read_site  # noqa: PLC0415
        from merian_campaign.services.find import find_campaign  # noqa: PLC0415

        spec = applied_spec(find_campaign(self.store, name))
        return rules_in_force(campaign=file or spec.failure_rules, site=read_site(spec.site).failure_rules)

    def report_rows(
        self, name: str, *, at: datetime | None, since: datetime | None, tell: Callable[[str], None]
    ) -> ReportRows:
        """Return the rows of a report; where tracts lie is asked of the butler if it is not known yet.

        ``at`` is a moment that is past, or `None` for now.
        """
        from merian_campaign.middleware.registry import ButlerRegistry  # noqa: PLC0415
        from merian_campaign.services.fetch_regions import fetch_regions, regions_wanted  # noqa: PLC0415

        rows = self.reader.report(name, at=at or self.clock(), past=at is not None, since=since)
        question = regions_wanted(rows)
        if question.empty:
            return rows
        found: tuple[SkyRegion, ...] | str
        try:
            registry = ButlerRegistry(environ=self.environ)
            found = fetch_regions(question, campaign=name, store=self.store, registry=registry)
        except (CampaignError, OSError) as error:
            found = str(error)
        if isinstance(found, str):
            tell(f"where tracts and visits lie cannot be asked of the butler: {one_line(found)}")
            return rows
        return replace(rows, regions=(*rows.regions, *found))

    @cached_property
    def read_pipelines(self) -> PipelineReader:
        """Reads pipelines: in this process, or in the campaign's stack where only that has the middleware."""
        from merian_campaign.middleware.preflight.pipeline_facts import PipelinesHere  # noqa: PLC0415
        from merian_campaign.middleware.registry import ButlerRegistry  # noqa: PLC0415
        from merian_campaign.services.campaign_settings import settings_of  # noqa: PLC0415

        here = PipelinesHere()

        def read(spec: CampaignSpec, asked: tuple[StepQuery, ...]) -> Mapping[str, PipelineFacts]:
            stack = settings_of(spec).stack
            if here.possible or not stack.sets_up:
                return here(spec, asked)
            registry = ButlerRegistry(environ=self.environ)
            return registry.pipelines(asked, environment=spec.environment, stack=stack)

        return read

    def load(self, file: str, *, wms: str | None = None, site: str | None = None) -> CampaignFile:
        """Read and check a campaign file and every file it names; ``wms`` and ``site`` override it."""
        from merian_campaign.files.campaign_file import check_root, load_campaign  # noqa: PLC0415
        from merian_campaign.files.stack_files import check_stack_files  # noqa: PLC0415
        from merian_campaign.services.campaign_settings import settings_of  # noqa: PLC0415

        loaded = load_campaign(
            file, environment=self.environ, wms=wms, site=site, pipelines=self.read_pipelines
        )
        check_root(loaded.spec, root=str(home_directory(self.environ) / "submissions"), shown=file)
        profile = settings_of(loaded.spec).site
        check_stack_files(loaded.spec, path=loaded.path, shown=file, site=profile)
        return loaded

    def campaign_stack(self, file_or_name: str) -> Stack:
        """Return the stack of a campaign, by its file or by its name."""
        from merian_campaign.domain.record.applied_spec import applied_spec  # noqa: PLC0415
        from merian_campaign.services.campaign_settings import settings_of  # noqa: PLC0415
        from merian_campaign.services.find import find_campaign  # noqa: PLC0415

        if Path(file_or_name).suffix in {".yaml", ".yml"} or Path(file_or_name).is_file():
            return settings_of(self.load(file_or_name).spec).stack
        return settings_of(applied_spec(find_campaign(self.store, file_or_name))).stack

    def apply(
        self, file: str, *, move: bool = False, wms: str | None = None, site: str | None = None
    ) -> Applied:
        """Record a campaign file: a new campaign, or a new revision."""
        from merian_campaign.services.apply import apply_campaign  # noqa: PLC0415

        loaded = self.load(file, wms=wms, site=site)
        return apply_campaign(
            store=self.store,
            runtime=self.runtime,
            spec=loaded.spec,
            file=str(loaded.path),
            text=loaded.text,
            resolved=loaded.resolved,
            move=move,
        )

    def rebuild(self, file: str, *, tell: Callable[[str], None]) -> RebuildReport:
        """Put a campaign on record again whose database is lost."""
        from merian_campaign.services.rebuild import Rebuild  # noqa: PLC0415

        loaded = self.load(file)
        return Rebuild(tick=self.tick, tell=tell).run(
            spec=loaded.spec, file=str(loaded.path), text=loaded.text, resolved=loaded.resolved
        )

    def changes(self, file: str, *, wms: str | None = None, site: str | None = None) -> tuple[str, ...]:
        """Return in words what applying a file would change of its campaign; nothing for a new one."""
        from merian_campaign.services.apply import changes_of  # noqa: PLC0415

        loaded = self.load(file, wms=wms, site=site)
        return changes_of(self.store, spec=loaded.spec, file=str(loaded.path))

    def store_if_any(self) -> Store | None:
        """Return the store, unless that would have to be made first."""
        from merian_campaign.store.server.server import is_there  # noqa: PLC0415

        return self.store if is_there(self.environ) else None

    def edited(self, name: str) -> str:
        """Return in words that a campaign's file is no longer what was applied; empty while it is."""
        from merian_campaign.services.apply import edited  # noqa: PLC0415
        from merian_campaign.services.find import find_campaign  # noqa: PLC0415

        return edited(find_campaign(self.store, name))


def check_stack() -> StackReport:
    """Return what this Python has of all that is needed."""
    from merian_campaign.middleware.import_check import report  # noqa: PLC0415

    return report()


def run_in_stack(stack: Stack, *, words: Sequence[str], tell: Callable[[str], None]) -> int:
    """Run a command of this package in a stack; return its exit code. ``tell`` is told how it is set up."""
    from merian_campaign.domain.stack.stack_setup import prelude  # noqa: PLC0415
    from merian_campaign.middleware.drivers import in_stack  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "stack.sh"
        text = prelude(stack, file=str(file))
        file.write_text(text, encoding="utf-8")
        tell(text.rstrip("\n"))
        command = in_stack(str(file), words=words, output=str(Path(folder) / "stack.out"))
        return subprocess.run(command, check=False).returncode


def _end_stuck(tick: OpenTick, *, host: str) -> bool:
    """End a tick of this host that hangs or is stopped; say whether it was there."""
    from merian_campaign.host.termination import kill_stuck  # noqa: PLC0415

    return tick.host == host and kill_stuck(tick.pid, since=tick.started_at, word="merian-campaign")


def _user() -> str:
    """Return who runs this, in words where the account has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return user_name(os.getuid())
