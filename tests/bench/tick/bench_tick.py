"""What ticks cost: following submissions under way, deciding, and reading journals.

Eight submissions of 2,000 quanta, of which a hundred a second start or end: a tick every ten seconds.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

HERE = Path(__file__).resolve()
TESTS = HERE.parents[2]
sys.path[:0] = [
    str(HERE.parents[1]),
    str(HERE.parents[1] / "store"),
    *(str(TESTS / one) for one in (".", "domain", "store")),
]

import domain_help as made  # noqa: E402 - of the tests
import psutil  # noqa: E402
from bench_results import entry, keep  # noqa: E402 - beside this one
from bench_store import database  # noqa: E402
from made_campaign import NIGHT_TASKS, STEPS, MadeCampaign  # noqa: E402 - of the tests
from store_help import Given  # noqa: E402

from merian_campaign.domain.campaign.plan import plan_groups  # noqa: E402
from merian_campaign.domain.execution import journal  # noqa: E402
from merian_campaign.domain.execution.journal import JournalEvent, JournalRecord  # noqa: E402
from merian_campaign.domain.record.overlaps import SkyExposure  # noqa: E402
from merian_campaign.domain.spec import CampaignSpec  # noqa: E402
from merian_campaign.domain.states import GroupState  # noqa: E402
from merian_campaign.domain.tick.decide import decide  # noqa: E402
from merian_campaign.middleware.drivers import LocalDrivers  # noqa: E402
from merian_campaign.services.record import Recorder  # noqa: E402
from merian_campaign.store.server.connection import open_connection  # noqa: E402

SUBMISSIONS, QUANTA, RATE, EVERY, TICKS = 8, 2000, 100, 10, 9
NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)
LINES = 100_000
NIGHTS = {"kind": "day_obs", "nights": ["20210301-20210331"]}


def uuid(number: int) -> str:
    """Return the name of a quantum."""
    return f"01a215b7-091b-7181-bc15-{number:012x}"


def line(event: JournalEvent, number: int) -> str:
    """Return what a worker writes."""
    ended = event is JournalEvent.ENDED
    return journal.format_line(
        JournalRecord(
            event=event, t=journal.format_time(NOW), job=f"job{number}", label="measure",
            quanta=(uuid(number),), host="node1", pid=4711, pid_start=123456,
            **({"verdict": "ok", "exit": 0, "peak_mb": 812.5, "wall_s": 9.5} if ended else {}),
        )
    )  # fmt: skip


def predicted(number: int) -> str:
    """Return the line of a predicted graph."""
    data_id = f"band=N540,patch={number},skymap=rings,tract=9813"
    dimensions = {"tract": 9813, "patch": number, "band": "N540"}
    after = [uuid(number - 1)] if number else []
    return json.dumps(
        {
            "uuid": uuid(number),
            "task": "measure",
            "data_id": data_id,
            "dimensions": dimensions,
            "after": after,
        }
    )


def cpu(url: str) -> float:
    """Return the CPU seconds of this process and of the processes of the server."""
    with closing(open_connection(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_stat_activity")
        pids = [pid for (pid,) in cursor.fetchall() if pid != connection.info.backend_pid]
    total = time.process_time()
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            used = psutil.Process(pid).cpu_times()
            total += used.user + used.system
    return total


def following(folder: Path) -> float:
    """Return the share of a core that following takes, the server's part included."""
    with database() as store:
        given = Given(store)
        groups = given.campaign(tracts=range(1, SUBMISSIONS + 1))
        files = []
        for group in groups:
            place = folder / str(group)
            (place / "bps").mkdir(parents=True)
            given.prepared(group, directory=str(place))
            (place / "predicted.jsonl").write_text("".join(f"{predicted(one)}\n" for one in range(QUANTA)))
            files.append(place / "bps" / "journal.jsonl")
            files[-1].write_text(journal.format_line(JournalRecord(event=JournalEvent.OPENED)))
        nobody: Any = SimpleNamespace(jobs=lambda _: (), records=lambda *_, **__: ())
        context: Any = SimpleNamespace(
            store=store, drivers=LocalDrivers(environ={}), scheduler=None, registry=None,
            runtime=SimpleNamespace(clock=lambda: datetime.now(UTC)), campaign_id=1, campaign_uuid="",
            spec=None, settings=None, slurm_view=nobody,
        )  # fmt: skip
        recorder = Recorder(context)
        shares = []
        for tick in range(TICKS):
            each = RATE * EVERY // SUBMISSIONS
            for file in files if tick else ():
                numbers = range((tick - 1) * each, tick * each)
                lines = [
                    line(event, one)
                    for event in (JournalEvent.STARTED, JournalEvent.ENDED)
                    for one in numbers
                ]
                with file.open("a") as stream:
                    stream.write("".join(lines))
            live = [one.submissions[0] for one in store.snapshot("demo").groups]
            begin = cpu(store.url)
            for submission in live:
                recorder.follow(submission)
            shares.append((cpu(store.url) - begin) / EVERY)
    return median(shares[1:])


def deciding(*, touched: int) -> float:
    """Return how long a decision on 1,485 tracts takes of which so many are overlapped by visits."""
    spec = made.campaign(
        made.bps("step1", group_by=NIGHTS),
        made.bps("step2a", after=["step1"], group_by=NIGHTS),
        made.by_tract("step2b", "step2b", after=["step2a"]),
        made.by_tract("step3", "step3", after=["step2b"]),
        tracts=list(range(1, 1486)),
    )
    waiting = [
        made.group(one.step, one.key, selection=one.selection, state=GroupState.WAITING)
        for one in plan_groups(spec).wanted
    ]
    sky = [
        made.sky(100 * k + i, k % 31 + 1, 1 + (k * 37 + i) % touched) for k in range(60) for i in range(40)
    ]
    snapshot = made.with_overlaps(spec, made.snapshot(*waiting), *sky)
    begin = time.process_time()
    decide(spec, snapshot, made.situation())
    return time.process_time() - begin


def half_done(tracts: int, *, known: bool = True) -> float:
    """Return how long a decision takes on so many tracts and sixty nights, four of seven steps done.

    Where overlaps are not known, no step is done, and each tract waits for all that is before it.
    """
    sketch = MadeCampaign(tracts=tracts, quanta=1000)
    numbers = [tract for tract, _, _ in sketch.numbers()]
    nights = [20260101 + 100 * (day // 28) + day % 28 for day in range(sketch.nights)]
    spec = CampaignSpec.model_validate(sketch.spec(nights=nights, tracts=numbers))
    done = {"submissions": (made.finished(),), "counts": made.Counts(succeeded=5), "state": GroupState.DONE}
    groups = [
        made.group(
            one.step,
            one.key,
            selection=one.selection,
            **(done if known and STEPS.index(one.step) < 4 else {"state": GroupState.WAITING}),
        )
        for one in plan_groups(spec).wanted
    ]
    sky = [
        SkyExposure(
            exposure=900000 + i,
            day_obs=nights[i % len(nights)],
            visits=(900000 + i,),
            tracts=(numbers[i % tracts],),
            steps=frozenset(NIGHT_TASKS),
        )
        for i in range(3 * tracts)
    ]
    snapshot = made.snapshot(*groups)
    if known:
        snapshot = made.with_overlaps(spec, snapshot, *sky)
    situation = made.situation(steps=STEPS)
    begin = time.process_time()
    decide(spec, snapshot, situation)
    return time.process_time() - begin


def reading() -> tuple[float, float]:
    """Return CPU seconds of reading a journal, and of decoding its lines as JSON alone."""
    kinds = (JournalEvent.LAUNCHED, JournalEvent.STARTED, JournalEvent.ENDED)
    text = "".join(line(event, one) for one in range(LINES // 3) for event in kinds)
    begin = time.process_time()
    journal.parse_lines(text)
    ours = time.process_time() - begin
    begin = time.process_time()
    for each in text.splitlines():
        json.loads(each)
    return ours, time.process_time() - begin


def main() -> int:
    """Measure, print, keep."""
    with tempfile.TemporaryDirectory() as folder:
        share = following(Path(folder))
    slower = median(deciding(touched=15) / deciding(touched=1485) for _ in range(3))
    larger = median(half_done(2000) / half_done(1000) for _ in range(3))
    unknown = median(half_done(2000, known=False) / half_done(1000, known=False) for _ in range(3))
    pairs = [reading() for _ in range(3)]
    print(f"a million journal lines in {median(ours for ours, _ in pairs) * 1e6 / LINES:.1f} s")  # noqa: T201
    return keep(
        [
            entry(
                "tick: following 8 submissions at 100 quanta a second, of a core",
                share,
                0.02,
                0.005,
                less=True,
            ),
            entry("tick: decision on tracts that no visit overlaps against others", slower, 2, 1, less=True),
            entry("tick: decision on twice as many tracts", larger, 2.5, 2, less=True),
            entry("tick: the same while no overlap is known", unknown, 3, 2, less=True),
            entry(
                "tick: reading a journal against json.loads", median(a / b for a, b in pairs), 5, 3, less=True
            ),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
