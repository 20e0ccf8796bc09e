"""Functional block K, smart charging, of our station, beyond the cases of the test lab."""

from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.station.bench import FIXED, SOCKET, Bench, at
from tests.station.charging import bench, charging
from tests.station.profiles import limit, profile, put
from tests.together import together
from v2g.energy.needs import EvNeeds
from v2g.ocpp.routes import Version
from v2g_station.blocks.evse import Power
from v2g_station.blocks.smart_charging.high_level import NeedsReported
from v2g_station.blocks.smart_charging.profiles import ProfileLimits, limits_at
from v2g_station.blocks.smart_charging.smart_charging import SetPhases
from v2g_station.kernel.layout import EvseLayout, StationLayout


def composite(found: Bench, evse_id: int = 1, duration: int = 600, **more: Any) -> Any:
    """The composite schedule's periods, or the status."""
    answer = found.ask("GetCompositeSchedule", evseId=evse_id, duration=duration, **more)
    if answer["status"] != "Accepted":
        return answer["status"]
    return [(p["startPeriod"], p["limit"]) for p in answer["schedule"]["chargingSchedulePeriod"]]


def three() -> Bench:
    """A station with three profiles."""
    found = Bench()
    put(found, 0, number=1, purpose="ChargingStationMaxProfile")
    put(found, 1, number=2)
    put(found, 1, number=3, stackLevel=1)
    return found


@together(
    ("evse_id", "criterion", "ids"),
    [
        (0, {"chargingProfilePurpose": "ChargingStationMaxProfile"}, [1]),
        (1, {"chargingProfilePurpose": "TxDefaultProfile"}, [2, 3]),
        (None, {"chargingProfilePurpose": "TxDefaultProfile"}, [2, 3]),
        (None, {"chargingProfileId": [3]}, [3]),
        (1, {"stackLevel": 1}, [3]),
        (1, {"chargingLimitSource": ["CSO"]}, [2, 3]),
        (1, {"chargingLimitSource": ["EMS"]}, []),
        (1, {"chargingProfilePurpose": "TxDefaultProfile", "stackLevel": 0}, [2]),
    ],
)
def test_profiles_are_reported(evse_id: int | None, criterion: dict[str, Any], ids: list[int]) -> None:
    found = three()
    place = {} if evse_id is None else {"evseId": evse_id}
    answer = found.ask("GetChargingProfiles", {"requestId": 7, "chargingProfile": criterion} | place)
    assert answer["status"] == ("Accepted" if ids else "NoProfiles")
    reports = found.all("ReportChargingProfiles")
    assert [each["id"] for report in reports for each in report["chargingProfile"]] == ids
    assert all(report["requestId"] == 7 for report in reports)
    assert [report.get("tbc", False) for report in reports] == [True] * (len(reports) - 1) + [False] * bool(reports)


TOKEN = {"idToken": "0A0B0C0D", "type": "ISO14443"}


def relative(purpose: str = "TxProfile", **more: Any) -> dict[str, Any]:
    """A profile that begins with its transaction."""
    return profile(purpose, chargingProfileKind="Relative", **more)


def test_a_remote_start_with_a_bad_profile_is_rejected() -> None:
    for bad in (relative("TxDefaultProfile"), relative(transactionId="x"), relative(unit="A")):
        found = Bench(evses=(FIXED,))
        answer = found.ask("RequestStartTransaction", idToken=TOKEN, remoteStartId=1, evseId=1, chargingProfile=bad)
        assert answer["status"] == "Rejected"


def test_tc_k_38_cs_remote_start_whose_profile_is_ignored() -> None:
    found = Bench(variables={"SmartChargingCtrlr.Enabled": "false"})
    found.plug()
    answer = found.ask("RequestStartTransaction", idToken=TOKEN, remoteStartId=1, evseId=1, chargingProfile=relative())
    assert answer["status"] == "Accepted"
    assert limit(found) is None


def test_the_profile_of_a_remote_start_that_nobody_followed_is_not_the_next_drivers() -> None:
    """F01.FR.10: it belongs to the transaction of that start."""
    found = Bench(variables={"TxCtrlr.TxStartPoint": "PowerPathClosed"})
    wish = {"idToken": TOKEN, "remoteStartId": 1, "evseId": 1, "chargingProfile": relative()}
    assert found.ask("RequestStartTransaction", wish)["status"] == "Accepted"
    found.wait(1_000)
    assert found.station.evses[1].authorization is None
    found.plug()
    found.present()
    assert found.station.evses[1].record is not None
    assert limit(found) is None


def test_the_profile_of_a_remote_start_is_that_of_the_transaction_that_waits_for_it() -> None:
    found = Bench(variables={"TxCtrlr.TxStartPoint": "EVConnected"})
    found.plug()
    wish = {"idToken": TOKEN, "remoteStartId": 1, "evseId": 1, "chargingProfile": relative()}
    assert found.ask("RequestStartTransaction", wish)["status"] == "Accepted"
    assert limit(found) == 6000


def test_limits_follow_the_schedule_while_nobody_speaks() -> None:
    found = charging()
    periods = [{"startPeriod": 0, "limit": 8000.0}, {"startPeriod": 120, "limit": 4000.0}]
    put(found, periods=periods, schedule={"startSchedule": at(found.utc_ms)})
    found.drop()
    assert limit(found) == 8000
    found.wait(121)
    assert limit(found) == 4000


EVSES = st.integers(1, 3)
STEPS = st.one_of(
    st.tuples(st.just("charge"), EVSES),
    st.tuples(st.just("leave"), EVSES),
    st.tuples(st.just("wait"), st.sampled_from((1, 100, 400))),
    st.tuples(st.just("clear"), st.integers(1, 6)),
    st.tuples(
        st.just("set"),
        st.sampled_from(("ChargingStationMaxProfile", "TxDefaultProfile", "TxProfile")),
        st.integers(0, 3),
        st.integers(1, 6),
        st.sampled_from((3000.0, 6000.0, 9000.0)),
        st.sampled_from((None, 3700, 4000)),
    ),
)


@pytest.mark.requirement("R54")
@given(st.lists(STEPS, max_size=12))
@example(
    [
        ("set", "ChargingStationMaxProfile", 0, 1, 9000.0, None),
        ("charge", 1),
        ("charge", 2),
        ("set", "TxProfile", 1, 2, 6000.0, None),
        ("leave", 1),
    ]
)
def test_each_evse_always_has_what_all_profiles_together_allow(steps: list[tuple[Any, ...]]) -> None:
    """Only EVSEs that a change concerns are looked at again."""
    found = Bench(evses=(FIXED,) * 3)
    running: dict[int, str] = {}
    for step in steps:
        match step:
            case ("charge", evse_id) if evse_id not in running:
                found.plug(evse_id)
                found.present(f"TAG-{evse_id}", evse_id)
                found.flow(evse_id=evse_id)
                running[evse_id] = found.all("TransactionEvent")[-1]["transactionInfo"]["transactionId"]
            case ("leave", evse_id) if evse_id in running:
                found.unplug(evse_id)
                del running[evse_id]
            case ("wait", seconds):
                found.wait(seconds)
            case ("clear", number):
                found.ask("ClearChargingProfile", chargingProfileId=number)
            case ("set", purpose, evse_id, number, limit_w, lasts_s):
                more = {"transactionId": running.get(evse_id, "none")} if purpose == "TxProfile" else {}
                lasts = {} if lasts_s is None else {"duration": lasts_s}
                put(found, evse_id, purpose=purpose, number=number, limit=limit_w, schedule=lasts, **more)
        smart = found.station.smart_charging
        for number in (1, 2, 3):
            expected = limits_at(smart.installed, found.utc_ms, smart.where.at(number))
            assert limit(found, number) == expected.charge_w, (step, number)


def test_alternating_current_knows_both_units() -> None:
    found = Bench()
    assert put(found, unit="A", limit=16.0) == "Accepted"
    assert composite(found, chargingRateUnit="A") == [(0, 16)]
    assert composite(found)[0] == (0, 16 * 230 * 3)


def phased(found: Bench, number_phases: int | None, limit: float = 16, **more: Any) -> str:
    """Set a profile in A for so many phases, and return its status with its reason."""
    period = {"startPeriod": 0, "limit": limit} | more
    period |= {} if number_phases is None else {"numberPhases": number_phases}
    wanted = profile(unit="A") | {"chargingSchedule": [profile(unit="A")["chargingSchedule"][0]]}
    wanted["chargingSchedule"][0] |= {"chargingRateUnit": "A", "chargingSchedulePeriod": [period]}
    answer = found.ask("SetChargingProfile", evseId=1, chargingProfile=wanted)
    return str(answer["status"] + answer.get("statusInfo", {}).get("reasonCode", ""))


def switched(found: Bench) -> list[tuple[int, ...]]:
    return [each.lines for each in found.commands if isinstance(each, SetPhases)]


@pytest.mark.requirement("R192")
def test_a_profile_switches_phases_where_the_charger_can_and_back() -> None:
    """K01.FR.46, .47: 3 to 1 to 3."""
    layout = StationLayout(evses=(msgspec.structs.replace(SOCKET, switches_phases=True),))
    found = charging(layout=layout)
    for name, value in (("Phases3to1", "true"), ("ACPhaseSwitchingSupported", "false")):
        assert found.get("SmartChargingCtrlr", name)["attributeValue"] == value
    assert phased(found, 3) == "Accepted"
    assert switched(found) == []
    assert phased(found, 1) == "Accepted"
    assert phased(found, 1, 10) == "Accepted"
    assert switched(found) == [(0,)]
    assert composite(found, chargingRateUnit="A") == [(0, 10.0)]
    assert phased(found, None) == "Accepted"
    assert switched(found) == [(0,), (0, 1, 2)]
    assert phased(found, 1, phaseToUse=2) == "RejectedInvalidSchedule"
    assert phased(found, 1, phaseToUse=1) == "Accepted"


@pytest.mark.requirement("R192")
def test_limits_of_single_conductors_follow_the_needs_of_the_vehicle_and_updates() -> None:
    """K01.FR.142, .144, K28: refused before the vehicle has sent its powers."""
    found = charging(version="2.1", layout=StationLayout(evses=(SOCKET,)))
    period = {"startPeriod": 0, "limit": 16.0, "limit_L2": 10.0, "limit_L3": 6.0}
    schedule = {"id": 1, "chargingRateUnit": "A", "chargingSchedulePeriod": [period]}
    transaction_id = found.all("TransactionEvent")[-1]["transactionInfo"]["transactionId"]
    wanted = {
        "id": 5, "stackLevel": 0, "chargingProfilePurpose": "TxProfile", "chargingProfileKind": "Dynamic",
        "transactionId": transaction_id, "chargingSchedule": [schedule],
    }  # fmt: skip

    def status(action: str, **payload: Any) -> str:
        answer = found.ask(action, **payload)
        return str(answer["status"] + answer.get("statusInfo", {}).get("reasonCode", ""))

    assert status("SetChargingProfile", evseId=1, chargingProfile=wanted) == "RejectedPhaseConflict"
    needs = EvNeeds(
        service="AC", control_mode="dynamic", max_charge_w=11_040, max_current_ma=16_000, max_voltage_mv=230_000,
        line_charge_w=(3_680, 3_680, 3_680),
    )  # fmt: skip
    found.fact(NeedsReported(evse_id=1, needs=needs))
    sent = found.expect("NotifyEVChargingNeeds")["chargingNeeds"]["v2xChargingParameters"]
    assert [sent[f"maxChargePower{line}"] for line in ("", "_L2", "_L3")] == [3_680] * 3
    assert status("SetChargingProfile", evseId=1, chargingProfile=wanted) == "Accepted"
    changed = {"limit": 12.0, "limit_L2": 4.0}
    assert status("UpdateDynamicSchedule", chargingProfileId=5, scheduleUpdate=changed) == "Accepted"
    limits = [each.charge_lines_a for each in found.commands if isinstance(each, ProfileLimits)]
    assert limits[-2:] == [(16, 10, 6), (12, 4, 6)]
    wrong = {"dischargeLimit": -5.0, "dischargeLimit_L2": -5.0}
    assert status("UpdateDynamicSchedule", chargingProfileId=5, scheduleUpdate=wrong) == "RejectedPhaseConflict"


def test_a_phase_is_chosen_where_the_charger_can() -> None:
    layout = StationLayout(evses=(msgspec.structs.replace(SOCKET, switches_phases=True, selects_phase=True),))
    found = charging(layout=layout)
    assert found.get("SmartChargingCtrlr", "ACPhaseSwitchingSupported")["attributeValue"] == "true"
    assert phased(found, 1, phaseToUse=3) == "Accepted"
    assert phased(found, 1, phaseToUse=2) == "Accepted"
    assert phased(found, 3, phaseToUse=2) == "RejectedInvalidSchedule"
    assert switched(found) == [(2,), (1,)]


def test_a_charger_that_cannot_switch_refuses_fewer_phases_than_it_would_use() -> None:
    """K01.FR.43."""
    found = charging()
    assert phased(found, 1) == "RejectedInvalidSchedule"
    assert phased(found, 3) == "Accepted"
    assert switched(found) == []
    assert composite(found, chargingRateUnit="A") == [(0, 16.0)]
    allowed = [each for each in found.commands if isinstance(each, ProfileLimits)][-1]
    assert (allowed.charge_a, allowed.charge_w) == (16, 11_040)
    found.fact(Power(evse_id=1, state="Charging", phases=1))  # the vehicle uses one anyway
    assert phased(found, 1) == "Accepted"


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
def test_a_relative_profile_begins_with_driver_and_vehicle_not_with_the_plug(version: Version) -> None:
    """K01.FR.42: a vehicle that waits for its driver must not use up the periods with low limits."""
    found = bench("EVConnected", "EVConnected", version=version)
    periods = [{"startPeriod": 0, "limit": 3000.0}, {"startPeriod": 600, "limit": 9000.0}]
    assert put(found, chargingProfileKind="Relative", periods=periods) == "Accepted"
    found.plug()
    found.wait(1800)
    found.present()
    assert limit(found) == 3000
    found.wait(599)
    assert limit(found) == 3000
    found.wait(2)
    assert limit(found) == 9000


DC_EVSE = EvseLayout(max_power_w=20_000)
THREE_PHASES = msgspec.structs.replace(SOCKET, max_power_w=22_080)
ONE_PHASE = msgspec.structs.replace(SOCKET, phases=1, max_power_w=7_360)


@together(
    ("profiles", "watts", "amperes"),
    [
        ([], 44_160, 64),
        ([(0, "TxDefaultProfile", 5_000)], 10_000, 10_000 / 690),
        ([(1, "TxDefaultProfile", 5_000)], 5_000 + 22_080, 5_000 / 690 + 32),
        ([(0, "TxDefaultProfile", 99_000)], 44_160, 64),
        ([(0, "TxDefaultProfile", 5_000), (0, "ChargingStationMaxProfile", 6_900)], 6_900, 10),
        ([(1, "TxDefaultProfile", 1_000), (0, "ChargingStationMaxProfile", 27_600)], 23_080, 1_000 / 690 + 32),
        ([(0, "ChargingStationMaxProfile", 99_000)], 44_160, 64),
    ],
)
def test_a_composite_schedule_of_the_station_is_the_sum_of_its_evses(
    profiles: list[tuple[int, str, float]], watts: float, amperes: float
) -> None:
    """K08.FR.03: what the grid connection is to deliver, within what the whole station may have."""
    found = Bench(evses=(THREE_PHASES, THREE_PHASES))
    for number, (evse_id, purpose, limit_w) in enumerate(profiles, 1):
        assert put(found, evse_id, number=number, purpose=purpose, limit=limit_w) == "Accepted"
    assert composite(found, 0) == [(0, pytest.approx(watts))]
    assert composite(found, 0, chargingRateUnit="A") == [(0, pytest.approx(amperes))]


@pytest.mark.parametrize(
    ("evses", "watts", "amperes"),
    [
        ((ONE_PHASE, ONE_PHASE), 14_720, 64),
        ((THREE_PHASES, ONE_PHASE), 29_440, 64),  # its one conductor may be the same
        ((THREE_PHASES, DC_EVSE), 42_080, 32 + 20_000 / 690),
    ],
)
def test_evses_of_a_station_may_differ(evses: tuple[EvseLayout, ...], watts: float, amperes: float) -> None:
    found = Bench(evses=evses)
    assert composite(found, 0) == [(0, watts)]
    assert composite(found, 0, chargingRateUnit="A") == [(0, pytest.approx(amperes))]
    put(found, 0, limit=690)
    assert composite(found, 0) == [(0, 1_380)]


def test_a_composite_schedule_of_the_station_changes_with_each_evse() -> None:
    found = Bench()
    for evse_id, start in ((1, 0), (2, 60)):
        periods = [{"startPeriod": 0, "limit": 4_000}, {"startPeriod": 100 + start, "limit": 1_000}]
        put(found, evse_id, number=evse_id, periods=periods, schedule={"startSchedule": at(found.utc_ms)})
    assert composite(found, 0) == [(0, 8_000), (100, 5_000), (160, 2_000)]
    assert composite(found, 0, duration=100) == [(0, 8_000)]
