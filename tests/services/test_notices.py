"""What people are told: when, once, by which channel, and what happens when a channel is down."""

from __future__ import annotations

import stat
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.execution.counts import Counts
from merian_campaign.domain.record.board_row import EXPIRED, STALE
from merian_campaign.domain.record.snapshot import CampaignView, GroupView, Snapshot
from merian_campaign.domain.selection import Selection
from merian_campaign.domain.states import CampaignState, GroupState
from merian_campaign.domain.tick.due_notices import notices_of
from merian_campaign.domain.tick.notices import (
    STORM,
    Activity,
    Channel,
    NoticeKind,
    NoticeOptions,
    PendingNotice,
    letter,
    trouble_notice,
)
from merian_campaign.files.notice_file import read_notices
from merian_campaign.host.rotated_log import append_lines, first_time, forget_time
from merian_campaign.middleware.notifier import ChannelNotifier
from merian_campaign.services.rounds import Teller

NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)
QUIET = Activity(moved_at=NOW - timedelta(minutes=1))


def seen(*states: GroupState, campaign: CampaignState = CampaignState.ACTIVE, reason: str = "") -> Snapshot:
    view = CampaignView(
        id=1, name="wide", state=campaign, file="/w.yaml", revision=1, sha256="0", spec={}, reason=reason
    )
    groups = tuple(
        GroupView(
            id=number, step="step3", key=f"tract{number}", selection=Selection(), state=state,
            reason="no key 'x'", accepted=False, attempts_from=0, submissions=(), counts=Counts(),
            open_quanta=(),
        )
        for number, state in enumerate(states, start=1)
    )  # fmt: skip
    return Snapshot(campaign=view, groups=groups)


def told(snapshot: Snapshot, *, activity: Activity = QUIET, **options: object) -> list[NoticeKind]:
    chosen = NoticeOptions.model_validate(options)
    return [entry.kind for entry in notices_of(snapshot, activity=activity, options=chosen, now=NOW)]


def test_quiet_when_nothing_is_to_be_told() -> None:
    assert told(seen(GroupState.RUNNING, GroupState.WAITING, GroupState.DONE)) == []


def test_a_group_that_needs_a_person_comes_with_the_exact_command() -> None:
    (found,) = notices_of(
        seen(GroupState.NEEDS_REVIEW, GroupState.RUNNING), activity=QUIET, options=NoticeOptions(), now=NOW
    )
    assert found.subject == "wide step3/tract1 needs a person"
    assert found.body.splitlines() == [
        "no key 'x'",
        "merian-campaign show wide step3/tract1",
        "merian-campaign retry wide step3/tract1",
        "merian-campaign accept wide step3/tract1",
    ]


def test_the_end_of_an_acceptance_is_told_though_its_group_was_told_of_before() -> None:
    before = seen(GroupState.NEEDS_REVIEW)
    (group,) = before.groups
    over = replace(group, reason=f"{EXPIRED}2026-11-22 15:00 UTC, which is over; accepted was: fine")
    keys = {
        notices_of(replace(before, groups=(one,)), activity=QUIET, options=NoticeOptions(), now=NOW)[0].key
        for one in (group, replace(group, reason="another word"), over)
    }
    assert len(keys) == 2


def test_trouble_past_the_outbox_is_told_each_channel_once_and_again_while_that_is_down(
    tmp_path: Path,
) -> None:
    out, program, down = tmp_path / "out", tmp_path / "tell", tmp_path / "down"
    program.write_text(f'#!/bin/sh\ntest ! -e {down} && echo "$1" >> {out}\n')
    program.chmod(0o700)
    teller = Teller(
        options=NoticeOptions(channels=(Channel(url=f"command:{program}"),)),
        notifier=ChannelNotifier(environ={"PATH": "/usr/bin:/bin"}),
        first=partial(first_time, tmp_path / "told"),
        unsaid=partial(forget_time, tmp_path / "told"),
    )
    notice = trouble_notice("wide", "the database is away", now=NOW)
    down.touch()
    assert [teller.trouble(notice), teller.trouble(notice)] == [True, False]
    assert not out.exists()
    down.unlink()
    assert [teller.trouble(notice), teller.trouble(notice)] == [False, False]
    assert out.read_text() == "merian-campaign: campaign wide: its ticks have trouble\n"


def test_a_storm_a_stall_and_the_end() -> None:
    paused = seen(
        GroupState.READY, campaign=CampaignState.PAUSED, reason=f"{STORM}5 of 5 failed alike: no key"
    )
    assert told(paused) == [NoticeKind.STORM]
    assert told(replace(paused, campaign=replace(paused.campaign, reason="by ana"))) == []
    stuck = seen(GroupState.RUNNING)
    long_ago = Activity(moved_at=NOW - timedelta(hours=7))
    assert told(stuck, activity=long_ago) == [NoticeKind.STALL]
    assert told(stuck, activity=long_ago, stall_hours=8) == []
    assert told(seen(GroupState.WAITING), activity=long_ago) == [], "only a person can move that"
    options = NoticeOptions()
    for state, kinds in (GroupState.READY, []), (GroupState.RUNNING, [NoticeKind.STALL]):
        found = notices_of(seen(state), activity=long_ago, options=options, now=NOW, resting=True)
        assert [entry.kind for entry in found] == kinds, "what waits for its hours does not stall"
    assert told(seen(GroupState.DONE, GroupState.DONE)) == [NoticeKind.COMPLETION]
    assert told(seen(GroupState.NEEDS_REVIEW, campaign=CampaignState.CANCELLED)) == []


def test_what_is_done_for_older_data_is_told_once_nothing_else_is_under_way() -> None:
    done = seen(GroupState.DONE, GroupState.DONE)
    reason = f"{STALE}2 new exposures; made from 4 of 6 exposures"
    older = replace(done, groups=(replace(done.groups[0], reason=reason), done.groups[1]))
    place = f"{older.groups[0].step}/{older.groups[0].key}"
    stale, completed = notices_of(older, activity=QUIET, options=NoticeOptions(), now=NOW)
    assert stale.subject == "campaign wide: 1 group is done for older data"
    assert stale.body.splitlines() == [
        f"{place}: 2 new exposures; made from 4 of 6 exposures",
        "merian-campaign plan wide",
        f"merian-campaign redo wide {place}",
    ]
    assert completed.subject == "campaign wide is done, 1 group is done for older data"
    assert told(older) == [NoticeKind.STALE, NoticeKind.COMPLETION]
    busy = seen(GroupState.DONE, GroupState.RUNNING)
    assert told(replace(busy, groups=(older.groups[0], busy.groups[1]))) == []


def test_that_a_campaign_is_done_is_told_again_only_when_more_of_it_is() -> None:
    done = seen(GroupState.DONE, GroupState.DONE)

    def key(snapshot: Snapshot) -> str:
        (completed,) = notices_of(snapshot, activity=QUIET, options=NoticeOptions(), now=NOW)
        return completed.key

    edited = replace(done, campaign=replace(done.campaign, revision=done.campaign.revision + 1))
    assert key(edited) == key(done), "an edit that brings nothing is no news"
    assert key(seen(*[GroupState.DONE] * 3)) != key(done), "another group is"


def test_the_digest_of_a_day() -> None:
    day = Activity(
        moved_at=NOW, ended=(("partial", 2),), moves=(("done", 3), ("needs_review", 1)), attempts=40,
        core_hours=12.345, failed=(("step1 isr: out_of_memory", 7),),
        retried=tuple(f"step1/night{n} submission 2: isr gets 4096 MB" for n in range(10)),
        before=Activity(moved_at=None, moves=(("done", 5),), attempts=60, core_hours=20.0),
        ends="after 24 Nov",
    )  # fmt: skip
    snapshot = seen(*[GroupState.DONE] * 4, *[GroupState.READY] * 5, GroupState.NEEDS_REVIEW)
    assert NoticeKind.DIGEST not in told(snapshot, activity=day, digest_hour=16)
    assert NoticeKind.DIGEST not in told(snapshot, activity=QUIET, digest_hour=6), "quiet when nothing ran"
    *_, found = notices_of(snapshot, activity=day, options=NoticeOptions(digest_hour=6), now=NOW)
    assert (found.key, found.subject) == (
        "digest:2026-11-22",
        "campaign wide: 4 of 10 groups done, 1 need you",
    )
    lines = found.body.splitlines()
    assert lines[2] == (
        "since yesterday (the day before): 3 (5) groups done, 1 (0) began to need you, 40 (60) quanta ended, "
        "12.3 (20.0) core-hours"
    )
    assert lines[3:6] == [
        "submissions ended: 2 partial",
        "failed: step1 isr: out_of_memory: 7",
        "retried: step1/night0 submission 2: isr gets 4096 MB",
    ]
    assert lines[13:] == [
        "retried: 2 more",
        "expected to end after 24 Nov",
        "needs you: step3/tract10: no key 'x'",
        "  merian-campaign retry wide step3/tract10",
        "merian-campaign failures wide",
    ]


def test_one_letter_for_several_notices() -> None:
    found = notices_of(
        seen(*[GroupState.NEEDS_REVIEW] * 40), activity=QUIET, options=NoticeOptions(), now=NOW
    )
    pending = [
        PendingNotice(id=n, campaign="wide", notice=entry, created_at=NOW, delivered=frozenset(), tries=0)
        for n, entry in enumerate(found)
    ]
    subject, body = letter(pending)
    assert subject == "merian-campaign: wide step3/tract1 needs a person, and 39 more"
    assert body.endswith("and 10 more; `merian-campaign list`")
    assert body.startswith(f"* wide step3/tract1 needs a person ({NOW:%Y-%m-%d %H:%M} UTC)\n")
    late = replace(pending[0], created_at=NOW + timedelta(days=1))
    assert letter([late]) != letter(pending[:1]), "a day that is like another is told apart"


# -- whom ----------------------------------------------------------------------------------------------


def test_the_file_is_checked_like_others_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    file = tmp_path / "notices.yaml"
    file.write_text("channels: [slack://token, {url: 'mailto://a:b@c', kinds: [digest]}]\ndigest_hour: 6\n")
    file.chmod(0o640)
    with pytest.raises(BadInputError, match=r"others may read it \(mode 0640\); `chmod 600` it"):
        read_notices(tmp_path, environ={})
    file.chmod(0o600)
    found = read_notices(tmp_path, environ={"MERIAN_CAMPAIGN_NOTICES": "json://host"})
    assert [channel.url for channel in found.channels] == ["slack://token", "mailto://a:b@c", "json://host"]
    assert [len(channel.kinds) for channel in found.channels] == [len(NoticeKind), 1, len(NoticeKind)]
    assert "token" not in found.channels[0].key
    file.write_text("channels: []\nstal_hours: 7\n")
    with pytest.raises(
        BadInputError, match=r"notices.yaml:2: stal_hours: no such key; did you mean 'stall_hours'"
    ):
        read_notices(tmp_path, environ={})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.fixture
def web() -> Iterator[tuple[str, list[bytes]]]:
    """A web service that keeps what it is sent; its address."""
    got: list[bytes] = []

    class Keep(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def do_GET(self) -> None:
            got.append(self.path.encode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Keep)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}", got
    server.shutdown()
    thread.join()
    server.server_close()


def test_apprise_sends_and_says_what_does_not_arrive(web: tuple[str, list[bytes]]) -> None:
    address, got = web
    sender = ChannelNotifier(environ={})
    assert sender.send(Channel(url=f"json://{address}/hook"), subject="about it", body="do this") == ""
    assert b"about it" in got[0]
    assert b"do this" in got[0]
    refused = sender.send(Channel(url="json://user:secret@127.0.0.1:1/x"), subject="s", body="b")
    assert refused.startswith("it was not delivered")
    assert sender.send(Channel(url="nosuch://x"), subject="s", body="b").startswith("Apprise does not know")
    assert sender.beat(f"http://{address}/alive") == ""
    assert got[-1] == b"/alive"
    assert "secret" not in sender.beat("http://127.0.0.1:1/secret")


def test_without_apprise_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    said = ChannelNotifier(environ={}).send(Channel(url="json://x"), subject="s", body="b")
    assert "pip install 'merian-campaign[notices]'" in said


def test_a_program_of_ones_own(tmp_path: Path) -> None:
    program, out = tmp_path / "tell", tmp_path / "out"
    program.write_text(f'#!/bin/sh\n(echo "$1"; cat) > {out}\n')
    program.chmod(0o700)
    sender = ChannelNotifier(environ={"PATH": "/usr/bin:/bin"})
    assert sender.send(Channel(url=f"command:{program}"), subject="about it", body="do this") == ""
    assert out.read_text() == "about it\ndo this\n"
    program.write_text("#!/bin/sh\necho no >&2; exit 3\n")
    assert (
        sender.send(Channel(url=f"command:{program}"), subject="s", body="b") == f"{program} ended with 3: no"
    )
    assert sender.beat(str(tmp_path / "new" / "alive")) == ""
    assert (tmp_path / "new" / "alive").exists()


def test_the_log_is_rotated_and_what_was_said_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "ticks.log"
    for number in range(30):
        append_lines(log, [f"line {number} " + "x" * 100], most_bytes=400)
    names = sorted(path.name for path in log.parent.iterdir())
    assert names == ["ticks.log", *(f"ticks.log.{n}" for n in range(1, 6)), "ticks.log.lock"]
    assert log.read_text().splitlines()[-1].startswith("line 29")
    assert all(path.stat().st_size < 700 for path in log.parent.iterdir())
    assert [first_time(tmp_path / "told", key) for key in ("a", "a", "b")] == [True, False, True]
