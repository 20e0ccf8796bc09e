"""Charging profiles and keys as makes of stations of 1.6 take them."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.ocpp.v16.drawing import Run as Translation
from tests.ocpp.v16.drawing import in_turn
from tests.ocpp.v16.known import NOW_MS, Run
from tests.together import together
from v2g.errors import OcppError
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedule, ChargingSchedulePeriod
from v2g.ocpp.messages.provisioning import GetVariableData, GetVariablesRequest
from v2g.ocpp.messages.smart_charging import (
    ClearChargingProfile,
    ClearChargingProfileRequest,
    SetChargingProfileRequest,
)
from v2g.ocpp.quirks import STRICT, StationQuirks, quirks_of
from v2g.ocpp.v16 import messages as v16
from v2g.ocpp.v16 import to_station
from v2g.ocpp.v16.bridge import Bridge, Held, HeldProfiles
from v2g.ocpp.v16.configuration import variable_of

pytestmark = pytest.mark.requirement("R198")

_REGISTERED = to_station.PURPOSES
ABB = quirks_of("ABB", "Terra AC", "1.8")
EN_PLUS = quirks_of("EN+", "Caro", "")
HUAWEI = quirks_of("Huawei Technologies", "SCharger-22KT", "")
NECHARGE = quirks_of("NEcharge", "AC", "")
WALLBOX = quirks_of("Wall Box Chargers", "CPB1", "5.17")


def profile(*limits: float, unit: Any = "A", **more: Any) -> SetChargingProfileRequest:
    """Return the request for a profile of these limits, an hour each, that began a minute ago."""
    schedule = ChargingSchedule(
        id=1,
        charging_rate_unit=unit,
        start_schedule=more.pop("start", "2027-01-15T07:59:00Z"),
        duration=more.pop("duration", None),
        min_charging_rate=more.pop("least", None),
        charging_schedule_period=tuple(
            ChargingSchedulePeriod(
                start_period=3600 * place + more.get("late", 0), limit=limit, number_phases=more.get("phases")
            )
            for place, limit in enumerate(limits)
        ),
    )
    return SetChargingProfileRequest(
        evse_id=1,
        charging_profile=ChargingProfile(
            id=1,
            stack_level=more.pop("level", 3),
            charging_profile_purpose="TxDefaultProfile",
            charging_profile_kind=more.pop("kind", "Absolute"),
            recurrency_kind=more.pop("recurs", None),
            valid_from=more.pop("valid_from", None),
            valid_to=more.pop("valid_to", None),
            charging_schedule=(schedule,),
        ),
    )


def sent(quirks: StationQuirks, request: SetChargingProfileRequest, status: Any = "Accepted") -> tuple[Any, str]:
    """Return the profile that a station of a make gets, and what the back end hears of it."""
    bridge = Bridge(NOW_MS)
    bridge.quirks = quirks
    run = Run(bridge.downward(request, NOW_MS), in_turn(v16.SetChargingProfileConf(status=status)))
    info = run.result.status_info
    (said,) = run.asked
    assert isinstance(said, v16.SetChargingProfileReq)
    return said.cs_charging_profiles, "" if info is None else info.additional_info


def held(level: int, *rates: float, profile_id: int = 2, **more: Any) -> Held:
    """Return a profile that the station has accepted before."""
    found = profile(*rates, **more).charging_profile
    return Held(1, msgspec.structs.replace(found, id=profile_id, stack_level=level))


def among(others: tuple[Held, ...], request: Any, *answers: Any, quirks: StationQuirks = ABB) -> Translation:
    """Carry out a request for a station that keeps one profile in each place, of which these are known."""
    bridge = Bridge(NOW_MS)
    bridge.quirks = quirks
    facts = {HeldProfiles(): others}
    return Translation(bridge.downward(request, NOW_MS), in_turn(*answers), facts.__getitem__)


TAKEN = v16.SetChargingProfileConf(status="Accepted")
BESIDE: dict[str, tuple[tuple[Held, ...], SetChargingProfileRequest, list[float], str]] = {
    "none": ((), profile(15), [15], "stack level 0 in place of 3"),
    "higher": ((held(1, 10),), profile(15, 6), [10, 6], "no higher than profile 2"),
    "lower": ((held(1, 16),), profile(15), [15], "stack level 0 in place of 3"),
    "the lowest of its schedule": ((held(9, 16, 8),), profile(15), [8], "no higher than profile 2"),
    "the lowest of two": ((held(1, 10), held(5, 7, profile_id=4)), profile(15), [7], "no higher than profile 4"),
    "itself": ((held(3, 10, profile_id=1),), profile(15), [15], "stack level 0 in place of 3"),
    "over": ((held(1, 6, duration=60),), profile(15), [15], "stack level 0 in place of 3"),
    "now valid": ((held(1, 10),), profile(15, valid_from="2027-01-15T08:00:00Z"), [10], "no higher than profile 2"),
    "until the same": (
        (held(1, 10, duration=9000, valid_to="2027-01-15T08:05:00Z"),),
        profile(15, valid_to="2027-01-15T08:05:00Z"),
        [10],
        "no higher than profile 2",
    ),
    "of a day that comes again": (
        (held(1, 10, duration=1, kind="Recurring", recurs="Daily"),),
        profile(15),
        [10],
        "no higher than profile 2",
    ),
    "as long": ((held(1, 10, duration=600),), profile(15, duration=600), [10], "no higher than profile 2"),
}


@together("name", BESIDE)
def test_a_lower_limit_of_another_level_stays(name: str) -> None:
    others, request, wanted, said = BESIDE[name]
    run = among(others, request, TAKEN)
    (sent_,) = run.asked
    assert isinstance(sent_, v16.SetChargingProfileReq)
    assert [each[0] for each in limits(sent_.cs_charging_profiles)] == wanted
    assert run.result.status_info.additional_info.endswith(said)


@pytest.mark.parametrize(
    "request_",
    [
        profile(9, duration=600),
        profile(9, unit="W"),
        profile(9, start="2027-01-15T08:00:01Z"),
        profile(9, start=None, duration=600),
        profile(9, valid_from="2027-01-15T08:00:01Z"),
        profile(9, late=1),
        profile(9, kind="Recurring", recurs="Daily"),
        profile(9, valid_to="2027-01-15T08:05:00Z"),
    ],
    ids=["shorter", "in W", "later", "from when it began", "valid later", "a second later", "daily", "valid shorter"],
)
def test_a_profile_that_would_end_a_lower_limit_is_refused_and_named(request_: SetChargingProfileRequest) -> None:
    with pytest.raises(OcppError, match="clear profile 2 of level 1 first") as refused:
        among((held(1, 10),), request_)
    assert refused.value.answer == "NotSupported"


def test_what_is_left_of_two_levels_comes_back_before_the_other_is_cleared() -> None:
    two = (held(1, 10), held(3, 6, profile_id=1))
    by_level = ClearChargingProfileRequest(charging_profile_criteria=ClearChargingProfile(stack_level=3))
    for request in (ClearChargingProfileRequest(charging_profile_id=1), by_level):
        run = among(two, request, TAKEN, v16.ClearChargingProfileConf(status="Unknown"))
        again, cleared = run.asked
        assert isinstance(again, v16.SetChargingProfileReq)
        assert limits(again.cs_charging_profiles) == [(10, "A")]
        assert (cleared, run.result.status) == (v16.ClearChargingProfileReq(id=1), "Accepted")
    unknown = ClearChargingProfileRequest(charging_profile_id=9)
    run = among(two, unknown, v16.ClearChargingProfileConf(status="Unknown"))
    assert (run.asked, run.result.status) == ([v16.ClearChargingProfileReq(id=9)], "Unknown")
    elsewhere = (held(1, 10), Held(2, two[1].profile))
    run = among(
        elsewhere, ClearChargingProfileRequest(charging_profile_id=1), v16.ClearChargingProfileConf(status="Accepted")
    )
    assert run.asked == [v16.ClearChargingProfileReq(id=1)]


def limits(found: Any) -> list[tuple[float, str]]:
    schedule = found.charging_schedule
    return [(each.limit, schedule.charging_rate_unit) for each in schedule.charging_schedule_period]


PROFILES: dict[str, tuple[StationQuirks, SetChargingProfileRequest, Callable[[Any], Any], Any, str]] = {
    "none": (STRICT, profile(15), lambda it: (it.stack_level, limits(it)), (3, [(15, "A")]), ""),
    "level 0": (ABB, profile(15), lambda it: it.stack_level, 0, "stack level 0 in place of 3"),
    "relative": (WALLBOX, profile(15), lambda it: it.charging_profile_kind, "Relative", "without its beginning"),
    "no start": (HUAWEI, profile(9, unit="W"), lambda it: it.charging_schedule.start_schedule, None, "beginning"),
    "ends": (HUAWEI, profile(9, unit="W", duration=120), lambda it: it.valid_to, "2027-01-15T08:01:00Z", "begin"),
    "watts of one phase": (HUAWEI, profile(10), limits, [(2300, "W")], "limits in W"),
    "watts of three": (HUAWEI, profile(10, phases=3), limits, [(6900, "W")], "limits in W"),
    "0 A ends it": (NECHARGE, profile(0), limits, [(0, "A")], "a limit of 0 ends the transaction"),
    "step": (NECHARGE, profile(15.9), limits, [(13, "A")], "rounded down to 13 A"),
    "a step itself": (NECHARGE, profile(16), limits, [(16, "A")], "without its beginning"),
    "above all steps": (NECHARGE, profile(32), limits, [(16, "A")], "rounded down to 16 A"),
    "below all steps": (NECHARGE, profile(5.9), limits, [(0, "A")], "a limit of 0 ends"),
    "step of a power": (NECHARGE, profile(6899, unit="W"), limits, [(8, "A")], "rounded down to 8 A"),
    "level 0 itself": (ABB, profile(15, level=0), lambda it: it.stack_level, 0, ""),
    "relative itself": (WALLBOX, profile(15, start=None, kind="Relative", level=0), limits, [(15, "A")], ""),
    "without a start": (HUAWEI, profile(9, unit="W", start=None), limits, [(9, "W")], ""),
    "least rate in W": (HUAWEI, profile(9, least=6.5), lambda it: it.charging_schedule.min_charging_rate, 1495, "W"),
    "now": (
        WALLBOX,
        profile(15, start="2027-01-15T08:00:00Z", late=0, level=0),
        lambda it: it.charging_schedule.charging_schedule_period[0].start_period,
        0,
        "without its beginning",
    ),
    "begins late": (
        WALLBOX,
        profile(15, late=60, level=0),
        lambda it: it.charging_schedule.charging_schedule_period[0].start_period,
        0,
        "without its beginning",
    ),
    "ends by its validity": (
        HUAWEI,
        profile(9, unit="W", duration=120, valid_to="2027-01-15T08:00:30Z"),
        lambda it: it.valid_to,
        "2027-01-15T08:00:30Z",
        "begin",
    ),
    "ends by its duration": (
        HUAWEI,
        profile(9, unit="W", duration=120, valid_to="2027-01-15T09:00:00Z"),
        lambda it: it.valid_to,
        "2027-01-15T08:01:00Z",
        "begin",
    ),
    "0 A at last": (
        EN_PLUS,
        profile(6, 0, start=None),
        limits,
        [(6, "A"), (0, "A")],
        "a limit of 0 ends the transaction",
    ),
    "not 0": (EN_PLUS, profile(6, start=None), limits, [(6, "A")], ""),
    "step of a power of one phase": (NECHARGE, profile(2300, unit="W", phases=1), limits, [(10, "A")], "10 A"),
}


@together("name", PROFILES)
def test_a_profile_is_as_its_make_takes_it_and_never_higher(name: str) -> None:
    quirks, request, part, wanted, said = PROFILES[name]
    found, info = sent(quirks, request)
    assert part(found) == wanted
    assert said in info
    assert bool(said) == bool(info)


@pytest.mark.parametrize(
    "request_",
    [
        profile(16, 6),
        profile(16, start="2027-01-15T09:00:00Z"),
        profile(16, kind="Recurring", recurs="Daily"),
    ],
    ids=["two", "later", "daily"],
)
def test_what_a_make_cannot_follow_is_refused_before_it_is_sent(request_: SetChargingProfileRequest) -> None:
    with pytest.raises(OcppError, match="constant limit") as refused:
        sent(WALLBOX, request_)
    assert refused.value.answer == "NotSupported"


def test_what_is_said_of_a_long_schedule_is_cut() -> None:
    assert len(sent(StationQuirks(steps_a=(6,)), profile(*[6.5] * 60))[1]) == 200


def test_a_refused_limit_of_0_says_what_then() -> None:
    assert sent(STRICT, profile(0), "Rejected")[1] == "it may take no limit of 0: stop the transaction"
    assert sent(STRICT, profile(6), "Rejected")[1] == ""


def test_a_key_that_makes_a_station_boot_is_never_read() -> None:
    component, variable = variable_of("MeterValuesSampledData")
    asked = GetVariablesRequest(get_variable_data=(GetVariableData(component=component, variable=variable),))
    bridge = Bridge(NOW_MS)
    bridge.quirks = ABB
    run = Run(bridge.downward(asked, NOW_MS), in_turn())
    assert (run.asked, run.result.get_variable_result[0].attribute_status) == ([], "Rejected")
