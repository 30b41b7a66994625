"""Ticks of several campaigns, as cron starts them: what each came to, and who is told."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from merian_campaign.domain.errors import BadInputError, BusyError, CampaignError
from merian_campaign.domain.failures.fault_attribution import alone, is_of_the_machine, words_of
from merian_campaign.domain.record.applied_spec import applied_spec
from merian_campaign.domain.record.records import OpenTick
from merian_campaign.domain.record.snapshot import CampaignView, Snapshot
from merian_campaign.domain.resources.core_hours import core_hours
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.domain.states import CampaignState, GroupState
from merian_campaign.domain.tick.due_notices import notices_of
from merian_campaign.domain.tick.notices import (
    URGENT,
    Activity,
    Channel,
    Notice,
    NoticeKind,
    NoticeOptions,
    PendingNotice,
    digest_key,
    letter,
    trouble_notice,
)
from merian_campaign.domain.tick.tick_status import BUSY, FAILED, NOTHING, PERSON
from merian_campaign.services.expected_end import expected_end
from merian_campaign.services.ports import Store
from merian_campaign.services.runtime import Runtime
from merian_campaign.services.tick import Tick
from merian_campaign.services.tick_report import TickReport

_DAY = timedelta(days=1)
_LONGEST_TICK = timedelta(hours=1)
_ASK_AGAIN_SECONDS = 0.5
_RELEASE_SECONDS = 10.0
"""How long PostgreSQL may take to notice that the holder of a lock is gone."""

_MOST_TRIES = 5
"""After so many tries a notice waits for the first ticks of an hour, so that a dead channel costs little."""


class Notifier(Protocol):
    """Sends what people are told; whatever goes wrong is an answer in words."""

    def send(self, channel: Channel, *, subject: str, body: str) -> str:
        """Send a message; return in words why it did not get there, or nothing."""

    def beat(self, place: str) -> str:
        """Give a sign of life at a place; return in words why not, or nothing."""


@dataclass(frozen=True, kw_only=True)
class Ticked:
    """What the tick of one campaign came to.

    Parameters
    ----------
    campaign : `str`
        Its name.
    status : `int`
        0, 1, 2 or 75.
    summary : `str`
        One line.
    actions, notes : `tuple` [`str`, ...]
        What it did, and what was seen besides.
    error : `Exception` or `None`
        What is to be complained of.
    news : `bool`
        Whether a person has not been told of it yet.
    """

    campaign: str
    status: int
    summary: str
    news: bool = False
    actions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    error: Exception | None = None


@dataclass(frozen=True, kw_only=True)
class Teller:
    """Whom to tell, and how.

    Parameters
    ----------
    options : `NoticeOptions`
        Whom to tell.
    notifier : `Notifier`
        Tells them.
    first : callable
        Says whether something of this key is said for the first time, and keeps that: without the database.
    unsaid : callable
        Has it forget that, for what did not get out.
    wrong : `str`
        Why nobody is told anything, in words: what says whom cannot be read.
    """

    options: NoticeOptions
    notifier: Notifier
    first: Callable[[str], bool]
    unsaid: Callable[[str], None] = lambda _: None
    wrong: str = ""

    def trouble(self, notice: Notice) -> bool:
        """Tell of trouble past the outbox, which is out of reach, each channel once; say if it was news."""
        for channel in self.options.channels:
            key = f"{notice.key} {channel.key}"
            if notice.kind not in channel.kinds or not self.first(key):
                continue
            subject = f"merian-campaign: {notice.subject}"
            if self.notifier.send(channel, subject=subject, body=notice.body):
                self.unsaid(key)  # the next tick tries again
        return self.first(notice.key)


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """Ticks, and what people are told of them.

    Parameters
    ----------
    tick : `Tick`
        The reconciler.
    store, runtime
        The world.
    teller : `Teller`
        Whom to tell.
    pause : callable
        Sleeps for some seconds.
    end_stuck : callable
        Ends a tick of this host that hangs or is stopped; says whether it was there. A tick may be killed
        anywhere.
    """

    tick: Tick
    store: Store
    runtime: Runtime
    teller: Teller
    pause: Callable[[float], None] = field(default=time.sleep)
    end_stuck: Callable[[OpenTick], bool] = field(default=lambda _: False)

    def names(self) -> tuple[str, ...]:
        """Return the campaigns that ticks act on, in order: not those that were cancelled and have ended.

        A higher ``limits.priority`` goes first.
        """
        wanted = [
            campaign
            for campaign in self.store.campaigns()
            if campaign.state is not CampaignState.CANCELLED
            or any(group.live is not None for group in self.store.snapshot(campaign.name).groups)
        ]
        return tuple(campaign.name for campaign in sorted(wanted, key=_priority))

    def run(
        self, names: Sequence[str], *, look_anew: bool = False, patience: float = 0.0
    ) -> tuple[Ticked, ...]:
        """Tick each campaign, then send what is to be told; what goes wrong in one hurts no other.

        Parameters
        ----------
        names : sequence of `str`
            Campaigns.
        look_anew : `bool`, optional
            Ask the butler for overlaps even if nothing of the campaign's own is new.
        patience : `float`, optional
            Seconds to wait for a lock that is taken.
        """
        found = tuple(self._one(name, look_anew=look_anew, patience=patience) for name in names)
        notes = self._send()
        place = self.teller.options.heartbeat
        if place and all(entry.status != FAILED for entry in found):
            notes += tuple(filter(None, [self.teller.notifier.beat(place)]))
        if notes and found:
            found = (*found[:-1], replace(found[-1], notes=(*found[-1].notes, *notes)))
        return found

    def _one(self, name: str, *, look_anew: bool, patience: float) -> Ticked:
        try:
            report = self._patiently(name, look_anew=look_anew, patience=patience)
        except BusyError as busy:
            stuck = alone(partial(self._stuck, name))
            if not isinstance(stuck, OpenTick) or not self.end_stuck(stuck):
                return self._busy(name, busy, stuck=stuck if isinstance(stuck, OpenTick) else None)
            ended = f"{_stuck_words(stuck)}: it was ended"
            found = self._one(name, look_anew=look_anew, patience=max(patience, _RELEASE_SECONDS))
            return replace(found, notes=(ended, *found.notes))
        except Exception as error:  # noqa: BLE001 - the other campaigns go on, whatever it was
            known = isinstance(error, CampaignError | OSError | MemoryError) or is_of_the_machine(error)
            words = words_of(error)
            notes = () if known else tuple("".join(traceback.format_exception(error)).splitlines())
            return Ticked(
                campaign=name, status=FAILED, summary=f"campaign {name}: failed: {words}", notes=notes,
                error=error, news=self._trouble(name, words),
            )  # fmt: skip
        return self._judged(name, report)

    def _busy(self, name: str, busy: BusyError, *, stuck: OpenTick | None) -> Ticked:
        """Say that another tick is at work; of one that hangs on another host, a person is told."""
        words = one_line(str(busy), limit=1000)
        campaign = None if stuck is None else self.store.campaign(name)
        if stuck is not None and campaign is not None:
            notice = Notice(
                kind=NoticeKind.TROUBLE,
                key=f"hanging:{stuck.id}",
                subject=f"campaign {name}: a tick seems to hang",
                body=f"{_stuck_words(stuck)}; if it is stopped or stuck: kill -9 {stuck.pid} there, and the "
                "next tick goes on",
            )
            if self._add(campaign.id, [notice]):
                return Ticked(
                    campaign=name, status=PERSON, summary=one_line(f"{notice.subject}: {notice.body}"),
                    error=busy, news=True,
                )  # fmt: skip
        return Ticked(campaign=name, status=BUSY, summary=words, error=busy)

    def _stuck(self, name: str) -> OpenTick | None:
        """Return the tick that has been at work for longer than any is, if there is one."""
        found = self.store.open_tick(name)
        late = found is not None and self.runtime.clock() - found.started_at >= _LONGEST_TICK
        return found if late else None

    def _patiently(self, name: str, *, look_anew: bool, patience: float) -> TickReport:
        began = time.monotonic()
        while True:
            try:
                return self.tick.run(name, look_anew=look_anew)
            except BusyError:
                if time.monotonic() - began >= patience:
                    raise
                self.pause(_ASK_AGAIN_SECONDS)

    def _judged(self, name: str, report: TickReport) -> Ticked:
        """Say what a tick that was done came to, and put into the outbox what people are told of it."""
        snapshot = self.store.snapshot(name)
        now = self.runtime.clock()
        options = self.teller.options
        activity = self._activity(snapshot, now=now)
        notices = list(
            notices_of(snapshot, activity=activity, options=options, now=now, resting=report.resting)
        )
        if report.trouble is not None:
            notices.append(trouble_notice(name, words_of(report.trouble), now=now))
        new = set(self._add(snapshot.campaign.id, notices))
        urgent = [entry for entry in notices if entry.key in new and entry.kind in URGENT]
        review = sum(group.state is GroupState.NEEDS_REVIEW for group in snapshot.groups)
        state = snapshot.campaign.state
        words = [f"{len(report.actions)} actions", f"{report.live} submissions under way"]
        if state is not CampaignState.ACTIVE:
            words.insert(0, f"{state}{f' ({snapshot.campaign.reason})' if snapshot.campaign.reason else ''}")
        if review:
            words.append(
                f"{review} group{'' if review == 1 else 's'} need{'s' if review == 1 else ''} a person"
            )
        words += [entry.subject for entry in urgent[:1] if entry.kind.value != "person"]
        status = PERSON if urgent else NOTHING
        if report.trouble is not None:
            status = FAILED
            words.append(words_of(report.trouble))
        return Ticked(
            campaign=name, status=status, actions=report.actions, notes=report.notes, error=report.trouble,
            summary=one_line(f"campaign {name}: {', '.join(words)}", limit=2000), news=bool(urgent),
        )  # fmt: skip

    def _activity(self, snapshot: Snapshot, *, now: datetime) -> Activity:
        """Return when a campaign last moved; where a digest is due, also what the day has brought."""
        hour, campaign = self.teller.options.digest_hour, snapshot.campaign
        last = self.store.activity(campaign_id=campaign.id, since=None)
        moved = last.moved_at is not None and now - last.moved_at < _DAY
        if hour is None or now.hour < hour or not moved:
            return last
        if self.store.is_told(campaign_id=campaign.id, key=digest_key(now)):
            return last
        spec = applied_spec(campaign)

        def hours(since: datetime) -> float:
            return core_hours(spec, self.store.run_times(campaign_id=campaign.id, since=since)).tonight

        yesterday = now - _DAY
        found = self.store.activity(campaign_id=campaign.id, since=yesterday)
        if found.quiet:
            return found
        before = self.store.activity(campaign_id=campaign.id, since=yesterday - _DAY, until=yesterday)
        used = hours(yesterday)
        before = replace(before, core_hours=hours(yesterday - _DAY) - used)
        ends = expected_end(self.store, campaign.name, now=now)
        return replace(found, core_hours=used, before=before, ends=ends)

    def _add(self, campaign_id: int, notices: Sequence[Notice]) -> tuple[str, ...]:
        return self.store.add_notices(campaign_id=campaign_id, notices=notices, now=self.runtime.clock())

    def _trouble(self, name: str, words: str) -> bool:
        """Tell of a tick that failed, by the outbox or past it; say whether it was news."""
        notice = trouble_notice(name, words, now=self.runtime.clock())
        try:
            campaign = self.store.campaign(name)
            if campaign is not None:
                return bool(self._add(campaign.id, [notice]))
        except (CampaignError, OSError):
            pass
        return self.teller.trouble(notice)

    def _send(self) -> tuple[str, ...]:
        """Send what is in the outbox, one message a channel; return what did not get there."""
        channels = {channel.key: channel for channel in self.teller.options.channels}
        if not channels:
            return ()
        trouble: list[str] = []
        now = self.runtime.clock()
        try:
            pending = self.store.pending_notices(channels=tuple(channels), now=now)
            for key, channel in channels.items():
                due = [entry for entry in pending if key not in entry.delivered and self._is_due(entry)]
                wanted = [entry for entry in due if entry.notice.kind in channel.kinds]
                self._record(channel, [entry for entry in due if entry not in wanted], error="")
                words = self._deliver(channel, wanted) if wanted else ""
                trouble += [f"notices by {key}: {words}"] if words else []
        except CampaignError as error:
            trouble.append(f"notices were not sent: {error}")
        return tuple(trouble)

    def _is_due(self, entry: PendingNotice) -> bool:
        return entry.tries < _MOST_TRIES or self.runtime.clock().minute < _MOST_TRIES

    def _deliver(self, channel: Channel, notices: Sequence[PendingNotice]) -> str:
        subject, body = letter(notices)
        words = self.teller.notifier.send(channel, subject=subject, body=body)
        self._record(channel, notices, error=words)
        return words

    def _record(self, channel: Channel, notices: Sequence[PendingNotice], *, error: str) -> None:
        if notices:
            self.store.record_delivery(
                ids=[entry.id for entry in notices],
                channel=channel.key,
                error=error,
                now=self.runtime.clock(),
            )


def _stuck_words(tick: OpenTick) -> str:
    return f"tick of process {tick.pid} on {tick.host}, since {tick.started_at:%Y-%m-%d %H:%M} UTC"


def _priority(campaign: CampaignView) -> int:
    """Return what campaigns are sorted by; one that this release does not understand comes last."""
    try:
        return -applied_spec(campaign).limits.priority
    except BadInputError:
        return 0
