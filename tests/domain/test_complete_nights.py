"""Nights of which more may come are waited for; raws that come late of what is there are told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from domain_help import NOW, seen, sky
from new_data_help import SKY, MiniatureSurvey, of, pick, states, survey

from merian_campaign.domain.readiness.complete_nights import night_is_complete
from merian_campaign.domain.readiness.overlap_refresh import nights_of
from merian_campaign.domain.record.overlaps import SkyExposure
from merian_campaign.domain.spec.new_data import NightComplete
from merian_campaign.domain.states import GroupState

NIGHT = 20210318


@pytest.mark.parametrize(
    ("rule", "now", "complete"),
    [
        ({"after": "12:00"}, datetime(2021, 3, 19, 11, 59, tzinfo=UTC), False),
        ({"after": "12:00"}, datetime(2021, 3, 19, 12, 0, tzinfo=UTC), True),
        ({"quiet_hours": 2}, NOW + timedelta(hours=1), False),
        ({"quiet_hours": 2}, NOW + timedelta(hours=2), True),
        ({"marker": "/raw/{night}.done"}, NOW, False),
    ],
)
def test_a_night_is_complete_by_the_campaigns_rule(
    rule: dict[str, object], now: datetime, complete: bool
) -> None:
    row = SkyExposure(exposure=1, day_obs=NIGHT, seen_at=NOW)
    given = NightComplete.model_validate(rule)
    assert night_is_complete(given, NIGHT, [row], marked=False, now=now) is complete
    if "marker" in rule:
        assert night_is_complete(given, NIGHT, [row], marked=True, now=now)


def test_raws_that_come_late_of_exposures_that_it_has_begin_the_quiet_hours_anew() -> None:
    row = SkyExposure(exposure=1, day_obs=NIGHT, seen_at=NOW, raws_at=NOW + timedelta(hours=3))
    given = NightComplete.model_validate({"quiet_hours": 2})
    for hours, complete in ((4, False), (5, True)):
        now = NOW + timedelta(hours=hours)
        assert night_is_complete(given, NIGHT, [row], marked=False, now=now) is complete


def test_raws_that_come_late_wait_for_their_night() -> None:
    found = MiniatureSurvey(survey(night_complete={"quiet_hours": 1}))
    found.arrive([replace(SKY[81], raws=1), SKY[91]])
    found.settle()
    found.ticks += 61
    found.settle()
    found.arrive([SKY[81]])
    found.settle()
    assert states(found) == {GroupState.DONE}
    assert pick(found, "step2a/night20210318").generation == 1
    found.ticks += 61
    found.settle()
    assert pick(found, "step2a/night20210318").generation == 2
    assert pick(found, "step2a/night20210319").generation == 1


def test_half_a_night_is_not_reduced() -> None:
    found = MiniatureSurvey(survey(night_complete={"quiet_hours": 1}))
    found.arrive(of(18))
    found.settle()
    assert not [one for one in found.groups.values() if one.step == "step1" and one.submissions]
    found.ticks += 61
    found.settle()
    assert pick(found, "step1/night20210318").state is GroupState.DONE


def test_what_comes_late_waits_for_its_night_and_withdraws_nothing() -> None:
    found = MiniatureSurvey(survey(night_complete={"quiet_hours": 1}))
    found.arrive(of(18, 19))
    found.settle()
    found.ticks += 61
    found.settle()
    assert found.used("step3", "tract1") == {81, 91}
    found.arrive([sky(82, 18, 1)])
    found.settle()
    assert states(found) == {GroupState.DONE}
    assert (pick(found, "step3/tract1").generation, found.used("step3", "tract1")) == (1, {81, 91})
    found.ticks += 61
    found.settle()
    assert (pick(found, "step3/tract1").generation, found.used("step3", "tract1")) == (2, {81, 82, 91})


def test_more_raws_of_exposures_that_it_has_extend_a_night_too() -> None:
    found = MiniatureSurvey(survey())
    found.arrive([replace(SKY[81], raws=60)])
    found.settle()
    found.registry[81] = replace(found.registry[81], raws=62)
    found.revision += 1  # another look
    found.settle()
    assert len(pick(found, "step1/night20210318").submissions) == 2
    assert pick(found, "step3/tract1").generation == 2


def test_more_raws_of_an_exposure_make_anew_what_gathers_its_detectors() -> None:
    found = MiniatureSurvey(survey())
    found.arrive([replace(SKY[81], raws=1), SKY[91]])
    found.settle()
    # Another exposure of the night comes with them: it does not hide them.
    found.arrive([SKY[81], replace(sky(82, 18, 1), raws=2)])
    found.settle()
    assert pick(found, "step1/night20210318").generation == 1
    assert pick(found, "step2a/night20210318").generation == 2
    assert pick(found, "step2a/night20210319").generation == 1
    whole = MiniatureSurvey(survey())
    whole.arrive([SKY[81], replace(sky(82, 18, 1), raws=2), SKY[91]])
    whole.settle()
    assert found.shown_values() == whole.shown_values()


def test_a_night_that_waits_for_its_visits_is_no_night_yet() -> None:
    spec = survey()
    step = spec.step("step1")
    row = replace(SKY[81], steps=frozenset({"step1"}))
    assert nights_of(spec, step, seen(row)) == (20210318,)
    assert nights_of(spec, step, seen(replace(row, visits=(), tracts=None))) == ()
