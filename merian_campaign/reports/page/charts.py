"""Charts over time and by task: progress, memory, run time, blocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from merian_campaign.domain.report.numbers import Report
from merian_campaign.domain.report.outlook import totals_by_start
from merian_campaign.domain.report.rows import UsageRow
from merian_campaign.reports.page.pictures import Picture, Spec, milliseconds, scale, tooltip, utc, values
from merian_campaign.reports.page.style import colour
from merian_campaign.reports.page.submission_bars import submission_bars

_TASK_ROW: Final = 21
_AXIS: Final = 36
"""Pixels that the numbers of an axis take at least, so that pictures below each other agree."""

_MARKS: Final = "Dot: median; tick: 95%; bar: up to the largest"
_GOOD, _BAD = ("succeeded", "failed")
_TIME: Final = "%Y-%m-%d %H:%M"


def pictures(report: Report) -> list[Picture]:
    """Return those of which there is something to show."""
    found = []
    if report.progress:
        found += [_progress(report), _throughput(report)]
    memory = [row for row in report.usage if row.peak_mb]
    if memory:
        found.append(_memory(report, memory))
    timed = [row for row in report.usage if row.seconds_median]
    if timed:
        found.append(_times(report, timed))
    if report.blocks:
        found.append(_blocks(report))
    if report.submissions:
        found.append(submission_bars(report, axis=_submission_axis(report)))
    return found


def _count(number: float) -> str:
    return f"{number:,.0f}".replace(",", "\N{THIN SPACE}")


def _progress(report: Report) -> Picture:
    head = report.headline
    done: Counter[datetime] = Counter()
    for row in report.progress:
        done[row.start] += row.done
    first = min(done)
    rows, total = [{"t": milliseconds(first), "n": 0, "tip": f"{first:{_TIME}} UTC\nnothing yet"}], 0
    for start, number in sorted(done.items()):
        total += number
        end = start + timedelta(seconds=report.span_seconds)
        rows.append(
            {
                "t": milliseconds(min(end, max(head.at, start))),
                "n": total,
                "tip": f"{end:{_TIME}} UTC\n{_count(total)} quanta",
            }
        )
    expected = head.expected + head.foreseen
    words = f"{_count(expected)} expected" + (" or estimated" if head.foreseen else "")
    layers: list[Spec] = [
        {
            "data": values(rows),
            "mark": {"type": "area", "color": colour("done"), "opacity": 0.16,
                     "line": {"color": colour("done"), "strokeWidth": 1.8}},
            "encoding": {
                "x": _progress_time(report),
                "y": {"field": "n", "type": "quantitative", "title": "quanta done", "axis": _counts(5)},
                "tooltip": tooltip(),
            },
        },
        {
            "data": values([{"y": expected, "words": words}]),
            "mark": {"type": "rule", "strokeDash": [4, 4], "color": colour("faint")},
            "encoding": {"y": {"field": "y", "type": "quantitative"}, "tooltip": tooltip("words")},
        },
    ]  # fmt: skip
    layers += _forecast(report, total=total, expected=expected)
    return Picture(
        name="progress",
        title=f"{head.campaign}: quanta done",
        words=f"{_count(head.succeeded)} of {_count(head.expected)} predicted quanta are done.",
        spec={"width": "container", "height": 200, "layer": layers},
    )


def _forecast(report: Report, *, total: int, expected: int) -> list[Spec]:
    head = report.headline
    if head.eta_low is None or head.eta_high is None:
        return []
    rows = [
        {"t": milliseconds(head.at), "low": total, "high": total},
        {"t": milliseconds(head.eta_low), "high": expected,
         "low": _between(head.at, head.eta_low, head.eta_high, total, expected)},
        {"t": milliseconds(head.eta_high), "low": expected, "high": expected},
    ]  # fmt: skip
    tip = f"expected to end\n{head.eta_low:{_TIME}} to\n{head.eta_high:{_TIME}} UTC"
    return [
        {
            "data": values([row | {"tip": tip} for row in rows]),
            "mark": {"type": "area", "color": colour("accent"), "opacity": 0.18},
            "encoding": {
                "x": _progress_time(report),
                "y": {"field": "low", "type": "quantitative", "stack": None},
                "y2": {"field": "high"},
                "tooltip": tooltip(),
            },
        }
    ]


def _between(now: datetime, when: datetime, last: datetime, total: int, expected: int) -> int:
    """Return how far the slower forecast is at a time."""
    whole = (last - now).total_seconds()
    return (
        expected if whole <= 0 else round(total + (expected - total) * (when - now).total_seconds() / whole)
    )


def _counts(ticks: int) -> Spec:
    """Return an axis of numbers in short."""
    return {"tickCount": ticks, "labelExpr": "format(datum.value, '~s')", "minExtent": _AXIS}


def _time_axis(begin: datetime, end: datetime) -> Spec:
    """Return an axis of time that says as much as its length wants."""
    lengths = ((timedelta(minutes=10), "%H:%M:%S"), (timedelta(hours=30), "%H:%M"),
               (timedelta(days=4), "%-d %b %H:%M"))  # fmt: skip
    return {
        "format": next((words for limit, words in lengths if end - begin <= limit), "%-d %b"),
        "tickCount": {"signal": "max(2, floor(width / 90))"},
        "labelOverlap": True,
    }


def _progress_time(report: Report) -> Spec:
    """Return the encoding of time of progress and throughput, which stand below each other."""
    begin = min(row.start for row in report.progress)
    ends = [row.start + timedelta(seconds=report.span_seconds) for row in report.progress]
    end = max(*ends, report.headline.eta_high or report.headline.at)
    domain = [milliseconds(begin), milliseconds(end)]
    return utc("t", axis=_time_axis(begin, end), scale={"type": "utc", "domain": domain})


def _submission_axis(report: Report) -> Spec:
    begin = min(line.created_at for line in report.submissions)
    return _time_axis(begin, max(line.finished_at or report.headline.at for line in report.submissions))


def _span_words(seconds: int) -> str:
    if seconds < 60:  # noqa: PLR2004 - seconds of a minute
        return f"{seconds} s"
    if seconds < 3600:  # noqa: PLR2004 - seconds of an hour
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h" if seconds < 86400 else f"{seconds // 86400} d"  # noqa: PLR2004 - of a day


def _throughput(report: Report) -> Picture:
    rows = []
    each = timedelta(seconds=report.span_seconds)
    for start, (good, bad) in totals_by_start(report.progress).items():
        ended = f"{_count(good)} succeeded, {_count(bad)} failed"
        tip = f"{start:{_TIME}} UTC, {_span_words(report.span_seconds)}\n{ended}"
        base = {"t": milliseconds(start), "u": milliseconds(start + each), "tip": tip}
        rows.append({**base, "what": _GOOD, "n": good})
        if bad:
            rows.append({**base, "what": _BAD, "n": -bad})
    spec: Spec = {
        "width": "container",
        "height": 110,
        "data": values(rows),
        "mark": {"type": "bar"},
        "encoding": {
            "x": _progress_time(report),
            "x2": {"field": "u"},
            "y": {
                "field": "n",
                "type": "quantitative",
                "stack": None,
                "title": f"executions in {_span_words(report.span_seconds)}",
                "axis": _counts(4),
            },
            "y2": {"datum": 0},
            "color": {
                "field": "what",
                "type": "nominal",
                "scale": {"domain": [_GOOD, _BAD], "range": [colour("done"), colour("needs_review")]},
                "legend": {"orient": "top", "title": None, "symbolType": "square"},
            },
            "tooltip": tooltip(),
        },
    }
    title = f"{report.headline.campaign}: executions that ended"
    words = f"Executions by {_span_words(report.span_seconds)}, failed ones below the line."
    return Picture(name="throughput", title=title, words=words, spec=spec)


def _names(rows: Sequence[UsageRow]) -> Mapping[tuple[str, str], str]:
    """Return what tasks are called: with their step where several steps have them."""
    often = Counter(row.task for row in rows)
    return {
        (row.step, row.task): row.task if often[row.task] == 1 else f"{row.step}: {row.task}" for row in rows
    }


def _by_task(rows: Sequence[UsageRow], layers: list[Spec]) -> Spec:
    order = list(_names(rows).values())
    for layer in layers:
        layer["encoding"]["y"] = {
            "field": "task",
            "type": "nominal",
            "sort": order,
            "title": None,
            "axis": {"domain": False, "ticks": False, "labelLimit": 190, "grid": False},
        }
    return {"width": "container", "height": _TASK_ROW * len(order), "layer": layers}


def _range(low: str, middle: str, high: str, *, title: str, scale: Spec, axis: Spec) -> list[Spec]:
    def x(field: str) -> Spec:
        return {"field": field, "type": "quantitative", "title": title, "scale": scale, "axis": axis}

    return [
        {"mark": {"type": "bar", "height": 5, "color": colour("accent"), "opacity": 0.35, "cornerRadius": 2},
         "encoding": {"x": x(low), "x2": {"field": high}, "tooltip": tooltip()}},
        {"mark": {"type": "point", "filled": True, "size": 46, "opacity": 1, "color": colour("accent")},
         "encoding": {"x": x(low), "tooltip": tooltip()}},
        {"mark": {"type": "tick", "thickness": 2, "height": 11, "color": colour("accent")},
         "encoding": {"x": x(middle), "tooltip": tooltip()}},
    ]  # fmt: skip


def _mark(field: str) -> Spec:
    """Return the mark of what a range is compared with."""
    return {
        "mark": {"type": "tick", "thickness": 2.5, "height": 15, "color": colour("blocked")},
        "encoding": {"x": {"field": field, "type": "quantitative"}, "tooltip": tooltip()},
    }


def _queue_words(row: UsageRow) -> str:
    if row.wait_seconds_median is None:
        return ""
    return (
        f"\nqueue wait {row.wait_seconds_median:.1f} s median, {row.wait_seconds_p95 or 0:.1f} s for 95%, "
        f"{row.wait_seconds_longest or 0:.1f} s at most"
    )


def _memory(report: Report, usage: Sequence[UsageRow]) -> Picture:
    names = _names(usage)
    rows = [
        {
            "task": names[row.step, row.task],
            "m": (row.peak_mb_median or 0) / 1024, "p": (row.peak_mb_p95 or 0) / 1024,
            "x": (row.peak_mb or 0) / 1024,
            "r": None if row.requested_mb_median is None else row.requested_mb_median / 1024,
            "tip": f"{row.step}: {row.task}\npeak {row.peak_mb_median} MB median, "
            f"{row.peak_mb_p95} MB for 95%, {row.peak_mb} MB at most\n"
            f"asked for {row.requested_mb_median} MB, up to {row.requested_mb} MB",
        }
        for row in usage
    ]  # fmt: skip
    layers = _range(
        "m",
        "p",
        "x",
        title="memory (GiB)",
        scale={"zero": True},
        axis={"tickCount": 6},
    )
    spec = {"data": values(rows)} | _by_task(usage, [*layers, _mark("r")])
    words = f"Memory of {len(rows)} tasks, asked for and used; the table below says it in numbers."
    title = f"{report.headline.campaign}: memory by task"
    return Picture(
        name="memory", title=title, words=words, spec=spec, marks=f"{_MARKS}; yellow: asked for, median"
    )


def _times(report: Report, usage: Sequence[UsageRow]) -> Picture:
    least, names = 0.1, _names(usage)
    rows: list[dict[str, Any]] = [
        {
            "task": names[row.step, row.task],
            "m": max(least, row.seconds_median or 0), "p": max(least, row.seconds_p95 or 0),
            "x": max(least, row.seconds_longest or 0),
            "q": None if row.wait_seconds_median is None else max(least, row.wait_seconds_median),
            "tip": f"{row.step}: {row.task}\n{row.seconds_median:.1f} s median, "
            f"{row.seconds_p95 or 0:.1f} s for 95%, {row.seconds_longest or 0:.1f} s at most\n"
            f"{row.executions:,} executions, {row.hours:,.1f} hours" + _queue_words(row),
        }
        for row in usage
    ]  # fmt: skip
    waited = any(row["q"] is not None for row in rows)
    longest = max(max(row["x"], row["q"] or 0.0) for row in rows)
    decades = [10.0**power for power in range(-1, 9) if 10.0**power <= 10 * longest]
    axis = {"values": decades, "labelExpr": "datum.value < 1 ? datum.value : format(datum.value, '~s')"}
    title = "run time and queue wait (s)" if waited else "run time (s)"
    layers = _range("m", "p", "x", title=title, scale={"type": "log"}, axis=axis)
    spec = {"data": values(rows)} | _by_task(usage, [*layers, *([_mark("q")] if waited else [])])
    words = f"Run times of {len(rows)} tasks{', and how long they waited to start' if waited else ''}."
    what = "run time and queue wait" if waited else "run time"
    title = f"{report.headline.campaign}: {what} by task"
    marks = f"{_MARKS}; yellow: queue wait, median" if waited else _MARKS
    return Picture(name="times", title=title, words=words, spec=spec, marks=marks)


_PARTS: Final = (
    ("queued", "queued_hours", "waiting"),
    ("busy", "busy_hours", "done"),
    ("idle", "idle_hours", "blocked"),
    ("not known", "unknown_hours", "none"),
)


def _blocks(report: Report) -> Picture:
    rows: list[dict[str, Any]] = [
        {
            "step": line.step, "part": part, "place": place, "hours": getattr(line, name),
            "tip": f"{line.step}: {part}\n{getattr(line, name):,.1f} h of {line.blocks} blocks"
            + (f"\n{line.lost} lost with their node or preempted" if line.lost else ""),
        }
        for line in report.blocks
        for place, (part, name, _) in enumerate(_PARTS)
        if getattr(line, name) > 0
    ]  # fmt: skip
    there = {row["part"] for row in rows}
    shown = [(part, name) for part, _, name in _PARTS if part in there]
    spec: Spec = {
        "width": "container",
        "height": 26 * len(report.blocks),
        "data": values(rows),
        "mark": {"type": "bar", "height": 14},
        "encoding": {
            "y": {"field": "step", "type": "nominal", "title": None,
                  "sort": [line.step for line in report.blocks],
                  "axis": {"domain": False, "ticks": False}},
            "x": {"field": "hours", "type": "quantitative", "title": "hours of blocks",
                  "axis": {"tickCount": 6}},
            "order": {"field": "place"},
            "color": {
                "field": "part", "type": "nominal",
                "scale": scale(shown),
                "legend": {"orient": "top", "title": None, "symbolType": "square"},
            },
            "tooltip": tooltip(),
        },
    }  # fmt: skip
    words = "Hours that Slurm blocks waited in the queue, were busy, and were idle, by step."
    return Picture(name="blocks", title=f"{report.headline.campaign}: blocks", words=words, spec=spec)
