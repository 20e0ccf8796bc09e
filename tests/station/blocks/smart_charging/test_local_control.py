"""What only OCPP 2.1 has, at our station, beyond the cases of the test lab."""

from typing import Any

import msgspec
import pytest

from tests.station.bench import Bench, EvseLayout, at
from tests.station.charging import charging as charging_any
from tests.station.local_control import CURVE, driver, local, power
from tests.station.profiles import limit, put
from tests.together import together
from v2g.ocpp.messages.charging_profiles import V2XFreqWattPoint
from v2g_station.blocks.evse import Plug
from v2g_station.blocks.smart_charging.external_limits import ExternalLimit
from v2g_station.blocks.smart_charging.local_control import GridFrequency, SetPower, UpstreamLoad, power_at

V2X = EvseLayout(max_power_w=50_000, max_discharge_w=20_000)


def charging(**more: Any) -> Bench:
    """A station of 2.1 that charges."""
    return charging_any(version="2.1", **more)


# -- E16: limits of a transaction


def test_a_limit_ends_the_transaction_where_energy_ends_it() -> None:
    found = charging(stop="EnergyTransfer")
    driver(found, max_time=30)
    found.wait(36)
    event = found.expect("TransactionEvent", eventType="Ended", triggerReason="TimeLimitReached")
    assert event["transactionInfo"]["stoppedReason"] == "TimeLimitReached"


def ends_by_power_loss(timeout: str | None) -> None:
    """After a power loss the transaction is ended, not resumed."""
    variables = {} if timeout is None else {"TxCtrlr.ResumptionTimeout": timeout}
    found = charging(variables=variables)
    found.power_loss(away_s=30)
    event = found.expect("TransactionEvent", eventType="Ended")
    assert event["transactionInfo"]["stoppedReason"] == "PowerLoss"


def test_tc_e_114_cs_no_resumption_timeout() -> None:
    ends_by_power_loss(None)


# -- F06


def test_custom_trigger() -> None:
    found = Bench("2.1")
    assert found.get("CustomizationCtrlr", "CustomTriggers")["attributeValue"] == "NotifyChargingLimit"
    trigger = {"requestedMessage": "CustomTrigger", "customTrigger": "NotifyChargingLimit"}
    assert found.ask("TriggerMessage", trigger)["status"] == "Rejected", "there is none"
    found.fact(ExternalLimit(source="EMS", limit_w=5000.0, grid_critical=True))
    found.fact(ExternalLimit(source="SO", limit_w=3000.0, evse_id=2))
    found.clear()
    assert found.ask("TriggerMessage", trigger)["status"] == "Accepted"
    reported = found.expect("NotifyChargingLimit", evseId=0)
    assert reported["chargingLimit"] == {"chargingLimitSource": "EMS", "isGridCritical": True}
    found.expect("NotifyChargingLimit", evseId=2, chargingLimit__chargingLimitSource="SO")
    assert found.ask("TriggerMessage", trigger | {"evse": {"id": 2}})["status"] == "Accepted"
    assert found.expect("NotifyChargingLimit")["evseId"] == 2
    found.nothing("NotifyChargingLimit")
    for other in ({}, {"customTrigger": "Weather"}):
        answer = found.ask("TriggerMessage", {"requestedMessage": "CustomTrigger"} | other)
        assert answer["status"] == "NotImplemented"


# -- K11 to K13, K28, K29


def test_an_external_limit_is_obeyed_reported_once_and_ended() -> None:
    found = charging(variables={"SmartChargingCtrlr.NotifyChargingLimitWithSchedules": "true"})
    found.fact(ExternalLimit(source="SO", limit_w=5000.0))
    assert limit(found) == 5000
    assert found.expect("NotifyChargingLimit")["chargingSchedule"]
    found.expect("TransactionEvent", triggerReason="ChargingRateChanged")
    found.clear()
    found.fact(ExternalLimit(source="SO", limit_w=5010.0))
    found.nothing("NotifyChargingLimit")
    assert limit(found) == 5010
    assert found.ask("ClearChargingProfile", chargingProfileCriteria={})["status"] == "Unknown", "not the CSMS's"
    found.fact(ExternalLimit(source="SO", limit_w=None))
    found.expect("ClearedChargingLimit", chargingLimitSource="SO")
    assert limit(found) is None


# -- Q


def test_power_follows_a_frequency_trace_while_the_csms_is_away() -> None:
    found = charging(evses=(V2X,))
    assert local(found)["status"] == "Accepted"
    found.drop()
    curve = tuple(V2XFreqWattPoint(frequency=float(p["frequency"]), power=float(p["power"])) for p in CURVE)
    trace = [50.0, 49.98, 49.9, 49.85, 49.7, 49.55, 49.45, 49.6, 49.88, 50.02, 50.15, 50.3, 50.6, 50.0]
    for hz in trace:
        found.wait(0.1)
        before = found.now
        found.fact(GridFrequency(hz=hz))
        assert found.now - before < 0.5, "in the same step"
        assert power(found) == pytest.approx(power_at(curve, hz), rel=0.05, abs=1)
    assert power_at(curve, 49.7) == pytest.approx(-5000)


def test_local_frequency_stays_within_what_is_allowed() -> None:
    found = charging(evses=(V2X,))
    local(found, v2xBaseline=-15_000.0)
    found.fact(GridFrequency(hz=49.0))
    assert power(found) == -20_000, "no more than the EVSE takes"
    put(found, 0, purpose="ChargingStationMaxProfile", number=7, limit=3000.0)
    local(found, v2xBaseline=0.0)
    found.fact(GridFrequency(hz=51.0))
    assert power(found) == 3000


def test_small_changes_of_frequency_are_not_followed() -> None:
    found = charging(evses=(V2X,), variables={"V2XChargingCtrlr.LocalFrequencyUpdateThreshold": "100"})
    local(found)
    found.fact(GridFrequency(hz=50.2))
    assert power(found) == pytest.approx(2500)
    found.fact(GridFrequency(hz=50.29995))
    assert power(found) == pytest.approx(2500)
    found.fact(GridFrequency(hz=50.3))
    assert power(found) == pytest.approx(5000)


def test_facts_of_places_that_are_none_change_nothing() -> None:
    found = Bench("2.1")
    found.clear()
    found.fact(Plug(evse_id=9, vehicle=True))
    found.fact(ExternalLimit(source="Nobody", limit_w=1.0))
    assert not found.unread


def test_each_signal_of_the_operator_acts_at_its_own_time() -> None:
    """Q08.FR.10: one that is announced later does not take back those that are still to come."""
    found = charging(evses=(V2X,))
    curve = [{"signal": each, "power": each * 100.0} for each in (-100, 100)]
    assert local(found, v2xSignalWattCurve=curve)["status"] == "Accepted"
    found.fact(GridFrequency(hz=50.0))
    for signal, after_s in ((20, 4), (40, 8), (30, 6)):
        when = at(found.utc_ms + after_s * 1000)
        assert found.ask("AFRRSignal", timestamp=when, signal=signal) == {"status": "Accepted"}
    for seconds, watts in ((5, 2_000), (2, 3_000), (2, 4_000)):
        found.wait(seconds)
        assert power(found) == watts


def test_a_delayed_signal_takes_nothing_back_from_a_later_one() -> None:
    """Q08.FR.10: a signal applies from its own time on, until that of the next."""
    found = charging(evses=(V2X,))
    curve = [{"signal": each, "power": each * 100.0} for each in (-100, 100)]
    assert local(found, v2xSignalWattCurve=curve)["status"] == "Accepted"
    found.fact(GridFrequency(hz=50.0))
    begin_ms = found.utc_ms
    for signal, after_s, watts in ((40, -1, 4_000), (20, -4, 4_000), (30, -1, 3_000)):
        when = at(begin_ms + after_s * 1000)
        assert found.ask("AFRRSignal", timestamp=when, signal=signal) == {"status": "Accepted"}
        found.wait(1)
        assert power(found) == watts, "another one of the same time replaces it"


def test_no_more_signals_wait_than_a_station_keeps() -> None:
    found = charging(evses=(V2X,))
    curve = [{"signal": each, "power": each * 100.0} for each in (-100, 100)]
    assert local(found, v2xSignalWattCurve=curve)["status"] == "Accepted"

    def announce(after_s: int) -> str:
        answer = found.ask("AFRRSignal", timestamp=at(found.utc_ms + after_s * 1000), signal=20)
        return str(answer.get("statusInfo", {}).get("reasonCode", answer["status"]))

    assert {announce(60 + each) for each in range(100)} == {"Accepted"}
    assert announce(600) == "TooManyElements"
    assert announce(60) == "Accepted", "it replaces the one of the same time"
    found.wait(61)
    assert announce(600) == "Accepted"


def test_a_signal_needs_a_curve_that_says_what_it_means() -> None:
    """Q08.FR.11."""
    found = charging(evses=(V2X,))
    local(found)
    answer = found.ask("AFRRSignal", timestamp=at(found.utc_ms), signal=20)
    assert (answer["status"], answer["statusInfo"]["reasonCode"]) == ("Rejected", "NoSignalWattCurve")


def test_a_signal_ends_with_the_mode() -> None:
    found = charging(evses=(V2X,))
    curve = [{"signal": each, "power": each * 100.0} for each in (-100, 100)]
    local(found, v2xSignalWattCurve=curve)
    found.fact(GridFrequency(hz=50.0))
    found.ask("AFRRSignal", timestamp=at(found.utc_ms), signal=20)
    found.wait(1)
    assert power(found) == 2000
    local(found, operationMode="ChargingOnly", limit=6000.0, v2xBaseline=None, v2xFreqWattCurve=None)
    assert power(found) is None
    local(found, v2xSignalWattCurve=curve)
    assert power(found) == 0


def test_without_a_frequency_nothing_leaves_a_vehicle() -> None:
    found = charging(evses=(V2X,), variables={"V2XChargingCtrlr.LocalFrequencyUpdateThreshold": "100"})
    for baseline, wanted in ((-5000.0, 0), (3000.0, 3000)):
        local(found, v2xBaseline=baseline)
        found.fact(GridFrequency(hz=50.0))
        assert power(found) == baseline
        found.fact(GridFrequency(hz=50.0, measured=False))
        assert power(found) == wanted


def test_points_of_a_curve_come_in_any_order() -> None:
    curve = tuple(V2XFreqWattPoint(frequency=hz, power=watts) for hz, watts in ((50.5, -10_000.0), (49.5, 10_000.0)))
    assert [power_at(curve, hz) for hz in (49.0, 49.75, 50.0, 51.0)] == [10_000, 5000, 0, -10_000]


# -- Q09


BALANCED = {"operationMode": "LocalLoadBalancing"}
AC = EvseLayout(phases=3, max_power_w=22_000, max_discharge_w=11_000)


def balancing(offset_w: int = 500, evses: tuple[EvseLayout, ...] = (V2X,), **period: Any) -> Bench:
    """Vehicles, one for each EVSE, in a building that shall draw up to 10 kW and feed back up to 5 kW, by `offset_w`
    less if it was more."""
    values = {"UpperThreshold": 10_000, "LowerThreshold": -5000, "UpperOffset": -offset_w, "LowerOffset": offset_w}
    variables = {f"V2XChargingCtrlr.LocalLoadBalancing[{name}]": str(value) for name, value in values.items()}
    found = charging(evses=evses, variables=variables)
    for number in range(2, len(evses) + 1):
        found.plug(number)
        found.present(f"TAG-{number}", number)
    found.power_w = 0
    assert put(found, 0, periods=[{"startPeriod": 0} | BALANCED | period]) == "Accepted"
    return found


def wanted_of(found: Bench, load_w: float | None) -> dict[int, float | None]:
    """Return the set-points of EVSEs once the building draws so much."""
    found.fact(UpstreamLoad(power_w=load_w))
    return {each.evse_id: each.power_w for each in found.commands if isinstance(each, SetPower)}


@together(
    ("load", "offset", "wanted"),
    [(10_000, 500, 0), (10_001, 500, -501), (-5000, 500, 0), (-5001, 500, 501), (10_001, 0, -1), (-5001, 0, 1)],
)
def test_only_a_load_beyond_a_threshold_is_balanced(load: float, offset: int, wanted: float) -> None:
    """Q09.FR.03, .04: to the threshold with its offset."""
    assert wanted_of(balancing(offset), load) == {1: wanted}


@pytest.mark.parametrize(
    ("flows", "seconds", "load", "wanted"),
    [(-5200, 10, 10_400, -6100), (-5199, 9, 10_400, -6099), (-5199, 10, 10_400, -5500), (-5199, 10, 0, -5500)],
)
def test_a_vehicle_that_is_300_w_beside_its_set_point_after_10_s_follows_no_further(
    flows: int, seconds: int, load: float, wanted: float
) -> None:
    found = balancing()
    assert wanted_of(found, 15_000) == {1: -5500}
    found.power_w = flows
    found.wait(seconds)
    assert wanted_of(found, load) == {1: wanted}


@pytest.mark.parametrize(
    ("asked", "flows", "load", "wanted"),
    [
        (4139, 0, -10_000, 5000),  # 6 A on three phases are 4140 W: it could draw nothing, and now it can
        (4140, 0, -10_000, 4140),  # it could before, and is full
        (1, 400, 15_000, -4600),
        (0, 400, 15_000, 0),
    ],
)
def test_a_vehicle_that_cannot_draw_so_little_is_asked_again(
    asked: int, flows: int, load: float, wanted: float
) -> None:
    """What is below 6 A on its phases tells nothing of whether it would follow."""
    found = balancing(0, (AC, msgspec.structs.replace(AC, phases=1)))
    found.powers_w = {1: 0, 2: 0}
    put(found, 2, number=2, purpose="TxDefaultProfile", stackLevel=1)
    assert wanted_of(found, -5000 - asked) == {1: asked}
    found.powers_w = {1: flows, 2: 0}
    found.wait(10)
    assert wanted_of(found, load) == {1: wanted}


def test_load_balancing_asks_for_no_more_than_an_evse_has() -> None:
    found = balancing(limit=60_000.0, dischargeLimit=-30_000.0)
    assert wanted_of(found, -80_000) == {1: 50_000}
    assert wanted_of(found, 80_000) == {1: -20_000}


def test_what_one_vehicle_may_draw_beyond_its_limit_makes_no_room_for_another() -> None:
    for flows, load, wanted in (
        ({1: 8000, 2: 2000}, -7000, {1: 6000, 2: 4500}),
        ({1: 4000, 2: 2000}, -9500, {1: 6000, 2: 5000}),
    ):
        found = balancing(evses=(AC, AC), limit=6000.0)
        found.powers_w = flows
        assert wanted_of(found, load) == wanted


def test_a_vehicle_beyond_its_limit_feeds_no_more_in_the_place_of_another() -> None:
    found = balancing(evses=(msgspec.structs.replace(AC, max_discharge_w=1000), AC))
    found.powers_w = {1: -3000, 2: 0}
    assert wanted_of(found, 11_000) == {1: -1000, 2: -1500}


def test_a_load_that_is_unknown_leaves_what_a_vehicle_draws() -> None:
    found = balancing()
    assert wanted_of(found, -10_500) == {1: 6000}
    assert wanted_of(found, None) == {1: 6000}
    found.power_w = 6000
    assert wanted_of(found, 21_000) == {1: -5500}
    assert wanted_of(found, None) == {1: 0}


@pytest.mark.parametrize("metered", [True, False])
def test_a_vehicle_whose_power_is_unknown_gets_less_and_no_more(metered: bool) -> None:
    found = balancing()
    found.power_w, found.metered = None, metered
    assert wanted_of(found, 15_000) == {1: -5500}
    assert wanted_of(found, -15_000) == {1: 0}


def test_an_evse_without_a_transaction_is_not_controlled() -> None:
    found = Bench("2.1", evses=(V2X,))
    period = {"startPeriod": 0, "operationMode": "LocalFrequency", "v2xBaseline": 3000.0, "v2xFreqWattCurve": CURVE}
    assert put(found, 1, periods=[period]) == "Accepted"
    found.fact(GridFrequency(hz=50.0))
    assert power(found) is None


def test_a_signal_is_for_the_evses_whose_profiles_have_a_curve_for_it() -> None:
    found = charging(evses=(V2X, V2X, V2X))
    found.plug(2)
    found.present("TAG-2", 2)
    period = {"startPeriod": 0, "operationMode": "LocalFrequency", "v2xBaseline": 3000.0, "v2xFreqWattCurve": CURVE}
    curve = [{"signal": each, "power": each * 100.0} for each in (-100, 100)]
    assert put(found, 1, periods=[period | {"v2xSignalWattCurve": curve}]) == "Accepted"
    assert put(found, 2, number=2, periods=[period]) == "Accepted"
    found.fact(GridFrequency(hz=50.0))
    assert found.ask("AFRRSignal", timestamp=at(found.utc_ms), signal=20)["status"] == "Accepted"
    found.wait(1)
    assert [(each.evse_id, each.power_w) for each in found.commands if isinstance(each, SetPower)] == [
        (1, 3000), (2, 3000), (1, 5000),
    ]  # fmt: skip


def test_load_balancing_stays_within_limits_that_change() -> None:
    """Q09.FR.05."""
    found = balancing()
    found.fact(UpstreamLoad(power_w=-10_500))
    assert power(found) == 6000
    put(found, 0, purpose="ChargingStationMaxProfile", number=7, limit=4000.0)
    assert power(found) == 4000
