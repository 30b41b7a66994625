"""How many ids a campaign file lists, looked at before any list of them is expanded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from merian_campaign.domain.spec.base import MOST_IDS, count_ids
from merian_campaign.domain.spec.tracts_and_nights import calendar_days


def check_ids(document: object) -> None:
    """Refuse a document whose lists of ids hold more than `MOST_IDS`, before they are expanded.

    Raises
    ------
    ValueError
        Raised with how many there are.
    """
    if not isinstance(document, Mapping):
        return
    steps = document.get("steps")
    number = count_ids(document.get("tracts", ())) + count_ids(document.get("bad_exposures", ()))
    for step in steps if isinstance(steps, list | tuple) else ():
        if not isinstance(step, Mapping):
            continue
        number += sum(map(count_ids, _id_lists(step)))
        if number > MOST_IDS:
            raise ValueError(
                f"steps[{step.get('name')}]: with this step the campaign lists more than {MOST_IDS} ids, "
                "nights and tracts; cut it into several campaigns"
            )
    if number > MOST_IDS:
        raise ValueError(f"tracts: more than {MOST_IDS}; cut the campaign into several")


def _id_lists(step: Mapping[str, object]) -> Iterator[object]:
    """Yield what lists ids in a step as it is written."""
    grouping, select = step.get("group_by"), step.get("select")
    if isinstance(grouping, Mapping):
        yield from (grouping[key] for key in ("ids", "tracts") if key in grouping)
        lists = grouping.get("lists")
        yield from lists.values() if isinstance(lists, Mapping) else ()
        if "nights" in grouping:
            yield calendar_days(grouping["nights"])
    if isinstance(select, Mapping):
        keys = ("exposures", "exclude_exposures", "exclude_detectors")
        yield from (select[key] for key in keys if key in select)
