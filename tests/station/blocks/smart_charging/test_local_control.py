"""What only OCPP 2.1 has, at our station, beyond the cases of the test lab."""

from typing import Any

import pytest

from tests.station.bench import Bench, EvseLayout, at
from tests.station.charging import charging as charging_any
from tests.station.local_control import CURVE, driver, local, power
from tests.station.profiles import limit, put
from v2g.ocpp.messages.charging_profiles import V2XFreqWattPoint
from v2g_station.blocks.evse import Plug
from v2g_station.blocks.smart_charging.external_limits import ExternalLimit
from v2g_station.blocks.smart_charging.local_control import GridFrequency, UpstreamLoad, power_at

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
    found.fact(GridFrequency(hz=50.25))
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
    for signal, after_s in ((40, -1), (20, -4)):
        when = at(found.utc_ms + after_s * 1000)
        assert found.ask("AFRRSignal", timestamp=when, signal=signal) == {"status": "Accepted"}
        found.wait(1)
        assert power(found) == 4_000


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
    found = charging(evses=(V2X,))
    for baseline, wanted in ((-5000.0, 0), (3000.0, 3000)):
        local(found, v2xBaseline=baseline)
        found.fact(GridFrequency(hz=50.0))
        assert power(found) == baseline
        found.fact(GridFrequency(hz=50.0, measured=False))
        assert power(found) == wanted


def test_points_of_a_curve_come_in_any_order() -> None:
    curve = tuple(V2XFreqWattPoint(frequency=hz, power=watts) for hz, watts in ((50.5, 10_000.0), (49.5, -10_000.0)))
    assert [power_at(curve, hz) for hz in (49.0, 49.75, 50.0, 51.0)] == [-10_000, -5000, 0, 10_000]


# -- Q09


def balancing() -> Bench:
    """A vehicle in a building that shall draw up to 10 kW and feed back up to 5 kW, by 500 W less if it was more."""
    values = {"UpperThreshold": "10000", "LowerThreshold": "-5000", "UpperOffset": "-500", "LowerOffset": "500"}
    variables = {f"V2XChargingCtrlr.LocalLoadBalancing[{name}]": value for name, value in values.items()}
    found = charging(evses=(V2X,), variables=variables)
    found.power_w = 0
    local(found, operationMode="LocalLoadBalancing", v2xBaseline=None, v2xFreqWattCurve=None)
    return found


@pytest.mark.parametrize(("load", "wanted"), [(10_000, 0), (10_001, -501), (-5000, 0), (-5001, 501)])
def test_only_a_load_beyond_a_threshold_is_balanced(load: float, wanted: float) -> None:
    """Q09.FR.03, .04: to the threshold with its offset."""
    found = balancing()
    found.fact(UpstreamLoad(power_w=load))
    assert power(found) == wanted


@pytest.mark.parametrize(("flows", "seconds", "wanted"), [(-5200, 10, -6100), (-5199, 9, -6099), (-5199, 10, -5500)])
def test_a_vehicle_that_is_300_w_beside_its_set_point_after_10_s_follows_no_further(
    flows: int, seconds: int, wanted: float
) -> None:
    found = balancing()
    found.fact(UpstreamLoad(power_w=15_000))
    assert power(found) == -5500
    found.power_w = flows
    found.wait(seconds)
    found.fact(UpstreamLoad(power_w=10_400))
    assert power(found) == wanted


def test_load_balancing_stays_within_limits_that_change() -> None:
    """Q09.FR.05."""
    found = balancing()
    found.fact(UpstreamLoad(power_w=-10_500))
    assert power(found) == 6000
    put(found, 0, purpose="ChargingStationMaxProfile", number=7, limit=4000.0)
    assert power(found) == 4000
