"""Failures by cause, for a terminal: what stands in the way of most comes first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.padding import Padding

from merian_campaign.domain.report.causes import FailureTotals
from merian_campaign.domain.report.lines import CauseLine
from merian_campaign.domain.safe_text.shell import shown
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.reports.cells import Either, joined, line

_INDENT: Final = 9
_SAID: Final = 120
_UNSURE: Final = ("inferred",)
"""How sure verdicts are of which that is said: of the others the evidence says it."""


def causes_json(totals: FailureTotals, lines: Sequence[CauseLine]) -> dict[str, Any]:
    """Return causes for machines."""
    return {"totals": asdict(totals), "causes": [asdict(found) for found in lines]}


def causes_view(
    campaign: str, totals: FailureTotals, lines: Sequence[CauseLine], logs: Mapping[int, Sequence[str]]
) -> RenderableType:
    """Return totals, and the first causes with what each blocks and what to type next.

    Parameters
    ----------
    campaign : `str`
        Its name.
    totals : `FailureTotals`
        Of all causes.
    lines : `~collections.abc.Sequence` [`CauseLine`]
        Those that are shown, the worst first.
    logs : `~collections.abc.Mapping` [`int`, `~collections.abc.Sequence` [`str`]]
        Last lines of logs, by the number of the quantum that is the example of a cause.
    """
    parts: list[RenderableType] = [line(_totals(totals), "bold")]
    if totals.one_cause:
        most = max(lines, key=lambda found: found.quanta)
        parts.append(
            line(
                f"One cause stands behind {_part(most.quanta, totals.quanta)} of them, in "
                f"{_many(most.groups, 'group')}: {_named(most)}",
                "bold red",
            )
        )
    parts.extend(_cause(found, logs.get(found.example, ())) for found in lines)
    rest = totals.causes - len(lines)
    if rest:
        more = shown(("merian-campaign", "failures", campaign, "--all"))
        parts.append(line(f"and {_many(rest, 'more cause')}: {more}", "dim"))
    return Group(*parts)


def _totals(totals: FailureTotals) -> str:
    failed = f"{_many(totals.quanta, 'quantum', 'quanta')} failed in {_many(totals.groups, 'group')}"
    said = [
        f"{_many(totals.causes, 'cause')}: {failed}",
        f"{totals.blocked:,} blocked behind them",
        f"{_many(totals.asking, 'group needs', 'groups need')} you" if totals.asking else "",
        f"{_many(totals.held, 'later group waits', 'later groups wait')} for that" if totals.held else "",
        f"{_many(totals.attempts, 'attempt')} failed in all",
    ]
    return "; ".join(words for words in said if words)


def _cause(found: CauseLine, log: Sequence[str]) -> RenderableType:
    accepted = found.losses == found.quanta
    head: list[str | tuple[str, str]] = [
        (f"{found.quanta:>8,} ", "dim" if accepted else "bold red"),
        (found.task, "bold"),
        f" {found.verdict.replace('_', ' ')}",
        (f" {found.exception.rpartition('.')[2]}" if found.exception else "", "yellow"),
        (", accepted" if accepted else "", "dim"),
    ]
    where = f"{found.step}, {behind_words(found)}"
    said = one_line(found.message, limit=_SAID)
    why = " ".join(words for words in (evidence_words(found), f"«{said}»" if said else "") if words)
    example = f"{found.group} {found.data_id}"
    below = [line(where), *([line(why)] if why else []), line(found.command, "cyan")]
    if log:
        below[-1:-1] = [line(f"{example}:", "dim"), *(line(one, "dim", fit=True) for one in log)]
    flat = joined(*head, f": {where}", f": {why}" if why else "", f"; e.g. {example}; {found.command}")
    return Either(joined(*head), Padding(Group(*below), (0, 0, 0, _INDENT), expand=False), flat=flat)


def evidence_words(found: CauseLine) -> str:
    """Return what the verdict rests on, and how sure it is where that is not sure."""
    sure = f"({found.certainty})" if found.certainty in _UNSURE else ""
    return " ".join(words for words in (found.evidence, sure) if words)


def behind_words(found: CauseLine) -> str:
    """Return where a cause is, and what it blocks: quanta, patches, later groups, tracts."""
    said = [
        _many(found.groups, "group"),
        f"in {_many(found.tracts, 'tract')}" if found.tracts else "",
        f"{_many(found.blocked, 'quantum', 'quanta')} blocked behind" if found.blocked else "",
        f"{_many(found.patches, 'patch', 'patches')} incomplete" if found.patches else "",
        f"holds {_many(found.held, 'later group')}" if found.held else "",
        f"of {_many(found.held_tracts, 'tract')}" if found.held_tracts else "",
    ]
    return ", ".join(words for words in said if words).replace(", of ", " of ").replace(", in ", " in ")


def _named(found: CauseLine) -> str:
    exception = found.exception.rpartition(".")[2]
    words = (found.task, found.verdict.replace("_", " "), exception, one_line(found.message, limit=_SAID))
    return " ".join(one for one in words if one)


def _part(some: int, of: int) -> str:
    return "all" if some == of else f"{min(99, 100 * some // of)}%"


def _many(number: int, one: str, more: str = "") -> str:
    return f"{number:,} {one if number == 1 else more or one + 's'}"
