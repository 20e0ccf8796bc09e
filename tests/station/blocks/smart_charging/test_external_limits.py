"""Limits of energy managers and grid operators: what is obeyed, kept as a profile and reported (K11 to K13, Q06)."""

from typing import Any

import pytest

from tests.station.bench import FIXED, Bench, at
from tests.station.charging import charging as charging_any
from tests.station.profiles import limit, profile, put
from tests.together import together
from v2g.hardware.energy_manager.commands import CommandStep
from v2g_station.blocks.smart_charging.external_limits import REPORT_S, ExternalLimit
from v2g_station.blocks.smart_charging.profiles import ProfileLimits, part

S = "SmartChargingCtrlr."


def charging(version: Any = "2.1", **more: Any) -> Bench:
    """A station that charges, and has reported what it does."""
    found = charging_any(version=version, **more)
    found.clear()
    return found


def held(found: Bench) -> dict[int, dict[str, Any]]:
    """The profiles of external systems, by EVSE of the report and id."""
    count = len(found.all("ReportChargingProfiles"))
    found.ask("GetChargingProfiles", requestId=1, chargingProfile={"chargingLimitSource": ["EMS", "SO", "Other"]})
    reports = found.all("ReportChargingProfiles")[count:]
    return {
        each["id"]: {"evse": report["evseId"], "source": report["chargingLimitSource"], **each}
        for report in reports
        for each in report["chargingProfile"]
    }


def reports(found: Bench) -> list[tuple[str, str, int]]:
    """(action, source, EVSE) of what has been reported of limits since it was asked last."""
    said = [
        (action, payload.get("chargingLimit", payload)["chargingLimitSource"], payload.get("evseId", 0))
        for action, payload in found.unread
        if action in ("NotifyChargingLimit", "ClearedChargingLimit")
    ]
    found.clear()
    return said


def test_signals_of_others_are_taken_where_they_are_enabled() -> None:
    """ExternalControlSignalsEnabled; sources are those that OCPP names."""
    found = charging(variables={S + "ExternalControlSignalsEnabled": "false"})
    found.fact(ExternalLimit(source="EMS", limit_w=3000.0))
    assert (limit(found), held(found), reports(found)) == (None, {}, [])
    found = charging()
    found.fact(ExternalLimit(source="CSO", limit_w=3000.0))
    assert (limit(found), held(found), reports(found)) == (None, {}, [])


def test_201_has_no_local_generation() -> None:
    """K27 is of 2.1."""
    found = charging("2.0.1")
    found.fact(ExternalLimit(source="EMS", generation=True, limit_w=3000.0))
    assert (limit(found), held(found), reports(found)) == (None, {}, [])
    found.fact(ExternalLimit(source="EMS", limit_w=3000.0))
    assert limit(found) == 3000
    (own,) = held(found).values()
    (schedule,) = own["chargingSchedule"]
    assert own["chargingProfileKind"] == "Absolute"
    assert (schedule["startSchedule"], schedule["chargingSchedulePeriod"]) == (
        at(found.utc_ms), [{"startPeriod": 0, "limit": 3000.0}],
    )  # fmt: skip


def test_each_system_has_a_profile_of_its_own_for_each_place() -> None:
    """K11.FR.06, K29.FR.04: its id is below 0, and the same again."""
    found = charging()
    places = [("EMS", 0), ("Other", 0), ("SO", 0), ("EMS", 1), ("SO", 2)]
    for _ in range(2):
        for source, evse_id in places:
            found.fact(ExternalLimit(source=source, evse_id=evse_id, limit_w=9_000.0))
        found.fact(ExternalLimit(source="EMS", generation=True, limit_w=500.0))
    profiles = held(found)
    assert all(number < 0 for number in profiles)
    assert sorted(
        (each["source"], each["evse"], each["chargingProfilePurpose"]) for each in profiles.values()
    ) == sorted([(*each, "ChargingStationExternalConstraints") for each in places] + [("EMS", 0, "LocalGeneration")])
    assert limit(found) == 9_000 / 1 + 500


@pytest.mark.parametrize(
    ("values", "period", "unit"),
    [
        ({"limit_w": 5000.0}, {"limit": 5000.0, "operationMode": "ExternalLimits"}, "W"),
        ({"limit_w": 5000.0, "discharge_w": 4000.0},
         {"limit": 5000.0, "dischargeLimit": -4000.0, "operationMode": "ExternalLimits"}, "W"),
        ({"setpoint_w": -3000.0, "discharge_w": 4000.0},
         {"setpoint": -3000.0, "dischargeLimit": -4000.0, "operationMode": "ExternalSetpoint"}, "W"),
        ({"limit_ma": 16_000}, {"limit": 16.0, "operationMode": "ExternalLimits"}, "A"),
    ],
)  # fmt: skip
def test_values_are_those_of_a_dynamic_profile(values: dict[str, float], period: dict[str, Any], unit: str) -> None:
    """K29.FR.04 to .06, Q06.FR.01 to .07."""
    found = charging()
    found.fact(ExternalLimit(source="SO", **values))
    ((number, own),) = held(found).items()
    assert (own["chargingProfileKind"], own["dynUpdateTime"], own["stackLevel"]) == ("Dynamic", at(found.utc_ms), 0)
    (schedule,) = own["chargingSchedule"]
    assert schedule == {
        "id": -number, "chargingRateUnit": unit, "chargingSchedulePeriod": [{"startPeriod": 0, **period}],
    }  # fmt: skip


def test_a_schedule_is_an_absolute_profile_from_this_second_on() -> None:
    found = charging()
    found.utc_ms += 345
    steps = (CommandStep(start_s=0, limit_w=5000.0), CommandStep(start_s=60, limit_w=2000.0))
    found.fact(ExternalLimit(source="SO", schedule=steps))
    (own,) = held(found).values()
    assert own["chargingProfileKind"] == "Absolute"
    assert "dynUpdateTime" not in own
    (schedule,) = own["chargingSchedule"]
    assert schedule["startSchedule"] == at(found.utc_ms // 1000 * 1000)
    assert [(each["startPeriod"], each["limit"]) for each in schedule["chargingSchedulePeriod"]] == [
        (0, 5000),
        (60, 2000),
    ]


def test_no_profile_of_its_own_is_made_where_that_is_disallowed() -> None:
    """K11.FR.07, Q06.FR.08: ExternalConstraintsProfileDisallowed; one of the CSMS for it is filled."""
    found = charging(evses=(FIXED,), variables={S + "ExternalConstraintsProfileDisallowed": "true"})
    found.fact(ExternalLimit(source="EMS", limit_w=3000.0))
    assert (limit(found), held(found), reports(found)) == (None, {}, [])
    left(found)
    assert limit(found) == 3000
    found.fact(ExternalLimit(source="EMS", limit_w=2000.0))
    assert (limit(found), held(found)) == (2000, {})
    assert found.ask("ClearChargingProfile", chargingProfileId=1)["status"] == "Accepted"
    assert (limit(found), held(found)) == (None, {})


def left(found: Bench, evse_id: int = 0, mode: str = "ExternalLimits", number: int = 1, **more: Any) -> None:
    """The CSMS leaves the values of a dynamic profile to an external system."""
    periods = [{"startPeriod": 0, "operationMode": mode} | more.pop("values", {})]
    wanted = profile(number=number, chargingProfileKind="Dynamic", periods=periods, **more)
    del wanted["chargingSchedule"][0]["startSchedule"]
    assert found.ask("SetChargingProfile", evseId=evse_id, chargingProfile=wanted)["status"] == "Accepted"


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    ("other", "needed"), [(("SO", 2), False), (("SO", 1), True), (("SO", 0), True), (("EMS", 2), False)]
)
def test_a_profile_of_the_csms_is_enough_for_one_system_at_its_evse(
    other: tuple[str, int], needed: bool, first: bool
) -> None:
    """K29.FR.03, .04: a second system at the same place has its own, and then both do."""
    found = charging()
    left(found, 1)
    facts = [
        ExternalLimit(source="EMS", evse_id=1, limit_w=5000.0),
        ExternalLimit(source=other[0], evse_id=other[1], limit_w=9000.0),
    ]
    for each in facts if first else reversed(facts):
        found.fact(each)
    assert any((each["source"], each["evse"]) == ("EMS", 1) for each in held(found).values()) is needed
    assert limit(found) == 5000


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("mode", ["ExternalLimits", "ExternalSetpoint"])
def test_values_for_an_evse_are_not_those_of_the_others(mode: str, *, first: bool) -> None:
    """A profile of the CSMS for all EVSEs has those for the station alone."""
    found = charging()
    value, fact = (
        ("charge_w", ExternalLimit(source="EMS", evse_id=1, limit_w=4000.0)) if mode == "ExternalLimits" else
        ("setpoint_w", ExternalLimit(source="EMS", evse_id=1, setpoint_w=4000.0))
    )  # fmt: skip
    if first:
        left(found, 0, mode)
    found.fact(fact)
    if not first:
        left(found, 0, mode)
    last = {each.evse_id: part(each) for each in found.commands if isinstance(each, ProfileLimits)}
    assert [getattr(last[evse_id], value) for evse_id in (1, 2)] == [4000, None]


@pytest.mark.parametrize("disallowed", ["true", "false"])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("evse_id", [0, 1])
def test_the_end_of_a_limit_that_a_profile_of_the_csms_has_is_reported(
    evse_id: int, disallowed: str, *, first: bool
) -> None:
    """K13.FR.02, whether that profile came first, or took over from the station's own."""
    found = charging(evses=(FIXED,), variables={S + "ExternalConstraintsProfileDisallowed": disallowed})
    if first:
        left(found, evse_id)
    found.fact(ExternalLimit(source="EMS", evse_id=evse_id, limit_w=5000.0))
    if not first:
        left(found, evse_id)
        found.fact(ExternalLimit(source="EMS", evse_id=evse_id, limit_w=5000.0))
    found.wait(REPORT_S)
    assert ("NotifyChargingLimit", "EMS", evse_id) in reports(found)
    assert held(found) == {}
    found.fact(ExternalLimit(source="EMS", evse_id=evse_id))
    assert limit(found) is None
    assert reports(found) == [("ClearedChargingLimit", "EMS", evse_id)]
    found.fact(ExternalLimit(source="EMS", evse_id=evse_id))
    assert reports(found) == [], "once"


def test_the_end_of_a_limit_of_the_station_is_that_of_each_evse_that_has_no_other() -> None:
    """K13.FR.02."""
    found = charging()
    left(found, 1)
    left(found, 2, number=2)
    found.fact(ExternalLimit(source="EMS", limit_w=9000.0))
    found.fact(ExternalLimit(source="EMS", evse_id=2, limit_w=5000.0))
    found.wait(REPORT_S)
    reports(found)
    found.fact(ExternalLimit(source="EMS"))
    assert sorted(reports(found)) == [("ClearedChargingLimit", "EMS", 0), ("ClearedChargingLimit", "EMS", 1)]
    assert (limit(found), limit(found, 2)) == (None, 5000)


@pytest.mark.parametrize("first", [True, False])
def test_values_for_an_evse_are_put_into_a_profile_of_the_station_where_no_own_one_is_allowed(*, first: bool) -> None:
    """Q05.FR.02, K29.FR.03: they are its alone, as long as such a period leads there."""
    found = charging(variables={S + "ExternalConstraintsProfileDisallowed": "true"})
    if first:
        left(found)
    found.fact(ExternalLimit(source="EMS", evse_id=1, limit_w=4000.0))
    if not first:
        assert limit(found) is None
        left(found)
    assert (limit(found), limit(found, 2), held(found)) == (4000, None, {})
    schedule = found.ask("GetCompositeSchedule", evseId=1, duration=60)["schedule"]["chargingSchedulePeriod"]
    assert [each["limit"] for each in schedule] == [4000]
    found.fact(ExternalLimit(source="EMS", limit_w=9000.0))
    assert (limit(found), limit(found, 2)) == (4000, 9000)
    found.fact(ExternalLimit(source="EMS", evse_id=1, limit_w=2000.0))
    assert limit(found) == 2000
    found.fact(ExternalLimit(source="EMS", limit_w=1500.0))
    assert (limit(found), limit(found, 2)) == (1500, 1500), "that of the station is for all"
    found.fact(ExternalLimit(source="EMS", limit_w=9000.0))
    assert limit(found) == 2000
    put(found, 1, number=2, stackLevel=1, limit=8000.0)
    assert limit(found) == 8000
    found.ask("ClearChargingProfile", chargingProfileId=2)
    found.fact(ExternalLimit(source="EMS", evse_id=1))
    assert limit(found) == 9000
    found.ask("ClearChargingProfile", chargingProfileId=1)
    assert (limit(found), limit(found, 2)) == (None, None)


def test_what_is_put_into_a_profile_of_the_station_for_an_evse_is_reported_as_its() -> None:
    """K11.FR.02, K13.FR.02, K29: each change, by the system that made it, and the end."""
    found = charging(variables={S + "ExternalConstraintsProfileDisallowed": "true"})
    found.fact(ExternalLimit(source="EMS", evse_id=1, limit_w=4000.0))
    left(found)
    assert reports(found) == [("NotifyChargingLimit", "EMS", 1)]
    for source, evse_id, watts, news in (
        ("EMS", 1, 4001.0, []),
        ("EMS", 1, 2000.0, [("NotifyChargingLimit", "EMS", 1)]),
        ("SO", 1, 1000.0, [("NotifyChargingLimit", "SO", 1)]),
        ("SO", 1, 9000.0, [("NotifyChargingLimit", "SO", 1)]),
        ("EMS", 0, 8000.0, [("NotifyChargingLimit", "EMS", 0)]),
    ):
        found.wait(REPORT_S)
        found.clear()
        found.fact(ExternalLimit(source=source, evse_id=evse_id, limit_w=watts))
        assert reports(found) == news, (source, watts)
    found.fact(ExternalLimit(source="SO", evse_id=1))
    assert reports(found) == [("ClearedChargingLimit", "SO", 1)]
    found.fact(ExternalLimit(source="EMS", evse_id=1))
    assert reports(found) == [("ClearedChargingLimit", "EMS", 1)]
    found.wait(REPORT_S)
    assert reports(found) == []
    found.fact(ExternalLimit(source="EMS", evse_id=1, limit_w=2000.0))
    assert reports(found) == [("NotifyChargingLimit", "EMS", 1)], "the same again"


@pytest.mark.parametrize("evse_id", [0, 1])
def test_values_that_come_before_the_profile_that_they_are_put_into_are_reported_with_it(evse_id: int) -> None:
    """K29: the station did not obey them before (K11.FR.07)."""
    found = charging(variables={S + "ExternalConstraintsProfileDisallowed": "true"})
    found.fact(ExternalLimit(source="EMS", evse_id=evse_id, limit_w=4000.0))
    assert reports(found) == []
    left(found, evse_id)
    assert reports(found) == [("NotifyChargingLimit", "EMS", evse_id)]


def test_a_change_that_ends_before_it_is_reported_is_not() -> None:
    found = charging()
    left(found, 1)
    for watts in (5000.0, 9000.0):
        found.fact(ExternalLimit(source="EMS", evse_id=1, limit_w=watts))
    assert reports(found) == [("NotifyChargingLimit", "EMS", 1)]
    found.fact(ExternalLimit(source="EMS", evse_id=1))
    found.wait(REPORT_S)
    assert reports(found) == [("ClearedChargingLimit", "EMS", 1)]
    found.fact(ExternalLimit(source="EMS", evse_id=1, limit_w=9000.0))
    assert reports(found) == [("NotifyChargingLimit", "EMS", 1)], "the same again"


def test_a_profile_of_the_csms_is_not_enough_for_evses_that_share_values() -> None:
    found = charging()
    left(found)
    found.fact(ExternalLimit(source="EMS", limit_w=5000.0))
    assert held(found)


@together(
    ("mode", "values", "enough"),
    [
        ("ExternalLimits", {"limit_w": 5000.0}, True),
        ("ExternalLimits", {"limit_w": 5000.0, "discharge_w": 2000.0}, True),
        ("ExternalLimits", {"discharge_w": 2000.0}, True),
        ("ExternalLimits", {"limit_w": 5000.0, "setpoint_w": 2000.0}, False),
        ("ExternalSetpoint", {"setpoint_w": 2000.0}, True),
        ("ExternalSetpoint", {"limit_w": 5000.0, "setpoint_w": 2000.0}, False),
        ("ExternalSetpoint", {"limit_w": 5000.0}, False),
        ("ExternalLimits", {"limit_ma": 16_000}, False),
        ("ExternalLimits", {"schedule": (CommandStep(start_s=0, limit_w=5000.0),)}, False),
    ],
)
def test_a_profile_of_the_csms_is_enough_if_it_has_all_values(mode: str, values: dict[str, Any], enough: bool) -> None:
    """The table of part 2, Q 2.2: what is set externally in a mode."""
    found = charging(evses=(FIXED,)) if "limit_ma" not in values else charging()
    left(found, 1, mode)
    found.fact(ExternalLimit(source="EMS", evse_id=1, **values))
    assert (held(found) == {}) is enough


def test_a_profile_in_amperes_is_enough_for_values_in_amperes() -> None:
    found = charging()
    left(found, 1, unit="A")
    found.fact(ExternalLimit(source="EMS", evse_id=1, limit_ma=16_000))
    assert (filled(found, 1)["limit"], held(found)) == (16, {})


def later(found: Bench, evse_id: int, *periods: dict[str, Any]) -> None:
    """The CSMS sets a profile whose periods begin now, and each a minute later."""
    steps = [{"startPeriod": (3600 + 60 * n) * (n > 0), **each} for n, each in enumerate(periods)]
    assert put(found, evse_id, periods=steps) == "Accepted"


def test_values_that_come_again_are_reported_once_the_period_that_leaves_them_leads() -> None:
    found = charging(evses=(FIXED,), variables={S + "ExternalConstraintsProfileDisallowed": "true"})
    later(found, 1, {"limit": 9000.0}, {"operationMode": "ExternalLimits"})
    for watts in (9000, 5000):
        found.clear()
        found.fact(ExternalLimit(source="EMS", evse_id=1, limit_w=5000.0))
        assert limit(found) == watts
        found.wait(61)
    assert reports(found) == [("NotifyChargingLimit", "EMS", 1)]


def test_of_the_station_and_an_evse_the_least_limits_and_the_set_point_of_the_evse_hold() -> None:
    """Q05.FR.01, .02, in a profile of the station."""
    found = charging(evses=(FIXED, FIXED), variables={S + "ExternalConstraintsProfileDisallowed": "true"})
    later(found, 0, {"operationMode": "ExternalLimits"}, {"operationMode": "ExternalSetpoint"})

    def now() -> tuple[float | None, float | None, float | None]:
        last = part([each for each in found.commands if isinstance(each, ProfileLimits) and each.evse_id == 1][-1])
        return last.charge_w, last.discharge_w, last.setpoint_w

    found.fact(ExternalLimit(source="EMS", limit_w=9000.0, discharge_w=3000.0, setpoint_w=700.0))
    found.fact(ExternalLimit(source="EMS", evse_id=1, limit_w=8000.0, discharge_w=2000.0))
    assert now() == (8000, 2000, None)
    found.wait(61)
    assert now()[2] == 700
    found.fact(ExternalLimit(source="EMS", evse_id=1, setpoint_w=500.0))
    assert now()[2] == 500


def test_only_values_of_the_mode_are_put_into_a_profile_of_the_csms() -> None:
    """Q05.FR.01, .02: its own limit stays beside an external set-point; the end of the values brings back its own."""
    found = charging(evses=(FIXED,))
    left(found, 1, "ExternalSetpoint", values={"limit": 9000.0})

    def now() -> tuple[float | None, float | None]:
        last = [each for each in found.commands if isinstance(each, ProfileLimits)][-1]
        return part(last).charge_w, part(last).setpoint_w

    found.fact(ExternalLimit(source="EMS", setpoint_w=4000.0))
    assert now() == (9000, 4000)
    found.fact(ExternalLimit(source="EMS", setpoint_w=-500.0))
    assert now() == (9000, -500)
    found.fact(ExternalLimit(source="EMS"))
    assert now() == (9000, None)
    found.fact(ExternalLimit(source="EMS", setpoint_w=1000.0))
    left(found, 1, "ExternalSetpoint", values={"limit": 8000.0})
    assert now() == (8000, 1000), "also into one that comes later"


def test_the_values_of_an_evse_go_before_those_of_the_station_in_a_profile() -> None:
    found = charging()
    found.fact(ExternalLimit(source="EMS", limit_w=9000.0))
    found.fact(ExternalLimit(source="SO", evse_id=1, limit_w=5000.0))
    found.fact(ExternalLimit(source="Other", evse_id=2, limit_w=1000.0))
    left(found, 1)
    found.ask("GetChargingProfiles", requestId=1, chargingProfile={"chargingProfileId": [1]})
    (filled,) = found.all("ReportChargingProfiles")[-1]["chargingProfile"]
    (period,) = filled["chargingSchedule"][0]["chargingSchedulePeriod"]
    assert period["limit"] == 5000


def test_the_newest_values_go_into_a_profile_of_the_csms() -> None:
    found = charging()
    for source, watts in (("EMS", 9000.0), ("SO", 8000.0), ("EMS", 7000.0)):
        found.fact(ExternalLimit(source=source, evse_id=1, limit_w=watts))
    left(found, 1)
    assert filled(found, 1)["limit"] == 7000


def test_each_schedule_is_reported() -> None:
    """K11.FR.02: later values may differ."""
    found = charging()
    for watts in (4000.0, 2000.0):
        steps = (CommandStep(start_s=0, limit_w=5000.0), CommandStep(start_s=60, limit_w=watts))
        found.fact(ExternalLimit(source="SO", schedule=steps))
        assert reports(found) == [("NotifyChargingLimit", "SO", 0)]
        found.wait(REPORT_S)


@pytest.mark.parametrize("percent", [None, "10"])
def test_a_change_is_reported_where_it_is_significant(percent: str | None) -> None:
    """K11.FR.02, LimitChangeSignificance: more than so many percent of the limit before."""
    found = charging(variables={} if percent is None else {S + "LimitChangeSignificance": percent})
    share = float(found.get("SmartChargingCtrlr", "LimitChangeSignificance")["attributeValue"]) / 100
    found.fact(ExternalLimit(source="EMS", limit_w=10_000.0))
    assert reports(found) == [("NotifyChargingLimit", "EMS", 0)]
    for watts, news in (
        (10_000 * (1 + share), False), (10_000 * (1 - share), False), (10_001 + 10_000 * share, True),
        (1.0, True), (0.0, True), (0.0, False), (5.0, True),
    ):  # fmt: skip
        found.wait(REPORT_S)
        found.clear()
        found.fact(ExternalLimit(source="EMS", limit_w=watts))
        assert bool(reports(found)) is news, watts


def test_a_value_that_comes_or_goes_is_significant() -> None:
    """Q06.FR.11."""
    found = charging(evses=(FIXED,))
    for values in ({"limit_w": 5000.0}, {"limit_w": 5000.0, "discharge_w": 9.0}, {"limit_w": 5000.0}):
        found.wait(REPORT_S)
        found.clear()
        found.fact(ExternalLimit(source="EMS", **values))
        assert reports(found) == [("NotifyChargingLimit", "EMS", 0)]


def test_a_limit_that_bounds_nothing_is_reported_too() -> None:
    """Another is lower: the CSMS is to know all of them."""
    found = charging()
    found.fact(ExternalLimit(source="SO", limit_w=3000.0))
    found.fact(ExternalLimit(source="EMS", limit_w=5000.0))
    assert reports(found) == [("NotifyChargingLimit", "SO", 0), ("NotifyChargingLimit", "EMS", 0)]
    found.fact(ExternalLimit(source="EMS"))
    assert reports(found) == [("ClearedChargingLimit", "EMS", 0)]
    found.fact(ExternalLimit(source="EMS"))
    assert reports(found) == [], "once"


@pytest.mark.parametrize("schedules", [True, False])
@pytest.mark.parametrize(
    ("values", "both_ways"),
    [({"limit_w": 5000.0}, False), ({"limit_w": 5.0, "discharge_w": 5.0}, True), ({"setpoint_w": 5.0}, True)],
)
def test_a_report_has_the_schedule_where_that_is_asked_for_or_goes_both_ways(
    values: dict[str, float], both_ways: bool, schedules: bool
) -> None:
    """K11.FR.03, Q06.FR.10, .11."""
    found = charging(variables={S + "NotifyChargingLimitWithSchedules": str(schedules).lower()})
    found.fact(ExternalLimit(source="SO", evse_id=2, grid_critical=True, **values))
    said = found.expect("NotifyChargingLimit")
    assert said["chargingLimit"] == {"chargingLimitSource": "SO", "isGridCritical": True}
    assert said["evseId"] == 2
    assert ("chargingSchedule" in said) is (schedules or both_ways)


def test_generation_is_reported_as_such() -> None:
    """K27.FR.02."""
    found = charging()
    found.fact(ExternalLimit(source="EMS", generation=True, limit_w=500.0, grid_critical=False))
    assert found.expect("NotifyChargingLimit")["chargingLimit"] == {
        "chargingLimitSource": "EMS", "isGridCritical": False, "isLocalGeneration": True,
    }  # fmt: skip
    found.fact(ExternalLimit(source="EMS", generation=True))
    assert reports(found) == [("ClearedChargingLimit", "EMS", 0)]


def test_generation_is_reported_as_its_schedule_goes_on() -> None:
    """K27.FR.03."""
    found = charging()
    steps = [CommandStep(start_s=60 * n, limit_w=watts) for n, watts in enumerate((500.0, 501.0, 900.0))]
    found.fact(ExternalLimit(source="EMS", generation=True, schedule=tuple(steps)))
    assert reports(found) == [("NotifyChargingLimit", "EMS", 0)]
    found.wait(61)
    assert reports(found) == [], "a small change"
    found.wait(60)
    assert reports(found) == [("NotifyChargingLimit", "EMS", 0)]


def test_a_schedule_of_limits_is_reported_once() -> None:
    """K11.FR.02: it is with its report; K27.FR.03 is of generation."""
    found = charging()
    steps = (CommandStep(start_s=0, limit_w=5000.0), CommandStep(start_s=60, limit_w=2000.0))
    found.fact(ExternalLimit(source="SO", schedule=steps))
    found.clear()
    found.wait(61)
    assert (limit(found), reports(found)) == (2000, [])


def test_the_end_of_a_limit_is_not_that_of_another() -> None:
    """K13.FR.02: not of generation of the same system, nor of other places."""
    found = charging()
    left(found, 2)
    limits = [
        ExternalLimit(source="EMS", evse_id=n, generation=g, limit_w=9000.0) for g in (False, True) for n in (0, 1)
    ]
    for each in limits:
        found.fact(each)
    found.clear()
    for each, ends in ((limits[1], [1]), (limits[0], [0, 2]), (limits[2], [0]), (limits[3], [1])):
        found.fact(ExternalLimit(source="EMS", evse_id=each.evse_id, generation=each.generation))
        assert sorted(reports(found)) == [("ClearedChargingLimit", "EMS", n) for n in ends]


def test_transactions_at_its_place_say_that_the_limit_has_changed() -> None:
    """K11.FR.04, K13.FR.03."""
    found = charging()
    for evse_id, told in ((0, 1), (1, 1), (2, 0)):
        for values in ({"limit_w": 5000.0}, {}):
            found.clear()
            found.fact(ExternalLimit(source="SO", evse_id=evse_id, **values))
            events = [each for action, each in found.unread if action == "TransactionEvent"]
            assert [each["triggerReason"] for each in events] == ["ChargingRateChanged"] * told
            found.wait(REPORT_S)


def test_the_last_report_of_each_limit_is_sent_once_the_csms_is_back() -> None:
    """K11.FR.02, K12.FR.02, K13.FR.02."""
    found = charging()
    found.drop()
    found.fact(ExternalLimit(source="SO", limit_w=5000.0))
    found.wait(REPORT_S)
    found.fact(ExternalLimit(source="SO", limit_w=2000.0))
    found.fact(ExternalLimit(source="EMS", evse_id=1, limit_w=9000.0))
    found.wait(REPORT_S)
    found.fact(ExternalLimit(source="EMS", evse_id=1))
    found.clear()
    found.back()
    assert sorted(reports(found)) == [("ClearedChargingLimit", "EMS", 1), ("NotifyChargingLimit", "SO", 0)]
    found.drop()
    found.back()
    assert reports(found) == [], "once"


def test_a_csms_that_asks_gets_what_concerns_its_place() -> None:
    """F06.FR.18: those of an EVSE, or all."""
    found = charging()
    trigger = {"requestedMessage": "CustomTrigger", "customTrigger": "NotifyChargingLimit"}
    found.fact(ExternalLimit(source="EMS", evse_id=1, limit_w=9000.0))
    found.fact(ExternalLimit(source="SO", evse_id=2, limit_w=9000.0))
    put(found, 1, limit=5000.0)
    for place, said in (({}, ["EMS", "SO"]), ({"evse": {"id": 1}}, ["EMS"]), ({"evse": {"id": 2}}, ["SO"])):
        found.clear()
        assert found.ask("TriggerMessage", trigger | place)["status"] == "Accepted"
        assert [source for _, source, _ in reports(found)] == said
    found.fact(ExternalLimit(source="EMS", evse_id=1))
    assert found.ask("TriggerMessage", trigger | {"evse": {"id": 1}})["status"] == "Rejected"


def filled(found: Bench, number: int) -> dict[str, Any]:
    """A profile of the CSMS as it is held."""
    found.ask("GetChargingProfiles", requestId=1, chargingProfile={"chargingProfileId": [number]})
    (held_,) = found.all("ReportChargingProfiles")[-1]["chargingProfile"]
    return {"updated": held_.get("dynUpdateTime"), **held_["chargingSchedule"][0]["chargingSchedulePeriod"][0]}


def test_what_is_put_into_a_profile_of_the_csms_is_reported_and_dated() -> None:
    """K29.FR.03, Q05.FR.05, .06."""
    found = charging(evses=(FIXED,))
    left(found, 1)
    found.clear()
    for watts, news in ((5000.0, True), (5010.0, False), (9000.0, True)):
        found.wait(REPORT_S)
        found.clear()
        found.fact(ExternalLimit(source="EMS", limit_w=watts))
        assert reports(found) == ([("NotifyChargingLimit", "EMS", 1)] if news else [])
        assert (filled(found, 1)["limit"], filled(found, 1)["updated"]) == (watts, at(found.utc_ms))
    put(found, 1, number=2, stackLevel=1, periods=[{"startPeriod": 0, "operationMode": "ExternalLimits"}])
    assert (filled(found, 2)["limit"], filled(found, 2)["updated"]) == (9000, None), "an absolute one has no update"


def test_values_that_end_are_taken_out_of_the_profiles_at_their_place() -> None:
    found = charging()
    for number in (1, 2):
        left(found, number, number=number)
        found.fact(ExternalLimit(source="EMS", evse_id=number, limit_w=5000.0 + number))
    found.fact(ExternalLimit(source="EMS", evse_id=1))
    assert "limit" not in filled(found, 1)
    assert filled(found, 2)["limit"] == 5002
    found.fact(ExternalLimit(source="EMS", evse_id=1, limit_w=4000.0))
    assert (filled(found, 1)["limit"], limit(found)) == (4000, 4000)
    found.fact(ExternalLimit(source="EMS"))
    assert [filled(found, number)["limit"] for number in (1, 2)] == [4000, 5002], "those of the station had none"
    found.ask("ClearChargingProfile", chargingProfileId=1)
    found.fact(ExternalLimit(source="EMS", evse_id=1))
    assert [each.profile.id for each in found.station.smart_charging.installed] == [2], "what is cleared stays away"
