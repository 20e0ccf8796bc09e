"""Transactions that an interruption does not end (B13, E17), at our station."""

from typing import Any

import pytest

from tests.station.bench import FIXED, Bench
from tests.station.charging import charging as charging_any
from tests.station.local_control import driver
from tests.station.profiles import transaction
from v2g_station.blocks.evse import AllowPower, Restart
from v2g_station.blocks.transactions.resumption import Restarted

TIMEOUT, ENERGY = "TxCtrlr.ResumptionTimeout", "TxCtrlr.AllowEnergyTransferResumption"


def charging(timeout: int = 300, *, energy: bool = True, **more: Any) -> Bench:
    """A station of 2.1 that charges and may resume."""
    variables = {TIMEOUT: str(timeout), ENERGY: str(energy).lower()} | more.pop("variables", {})
    found = charging_any(version="2.1", variables=variables, **more)
    found.clear()
    return found


def numbers(found: Bench) -> list[int]:
    """Sequence numbers of the first transaction."""
    first = found.all("TransactionEvent")[0]["transactionInfo"]["transactionId"]
    events = [e for e in found.all("TransactionEvent") if e["transactionInfo"]["transactionId"] == first]
    return [event["seqNo"] for event in events]


def resumed(found: Bench, state: str, reference: str) -> None:
    """The transaction goes on in this state, under its name and without a gap."""
    event = found.expect("TransactionEvent", eventType="Updated", triggerReason="TxResumed")
    assert event["transactionInfo"]["chargingState"] == state
    assert event["transactionInfo"]["transactionId"] == reference
    assert event["meterValue"]
    assert numbers(found) == list(range(len(numbers(found))))


def reset(found: Bench, evse_id: int | None = None) -> str:
    """Restart with transactions that go on."""
    place = {} if evse_id is None else {"evseId": evse_id}
    status: str = found.ask("Reset", {"type": "ImmediateAndResume"} | place)["status"]
    return status


def test_an_evse_restarts_and_its_transaction_goes_on() -> None:
    found = charging()
    name = transaction(found)
    assert reset(found, 1) == "Accepted"
    found.expect("TransactionEvent", triggerReason="ResetCommand")
    assert found.restarts == 0
    assert Restart(evse_id=1) in found.commands
    found.flow("EVConnected")
    found.nothing("TransactionEvent")
    found.fact(Restarted(evse_id=1))
    resumed(found, "Charging", name)
    assert found.allowed()


def test_an_evse_that_never_reports_its_return_is_not_waited_for_forever() -> None:
    found = charging()
    reset(found, 1)
    found.wait(20)
    found.expect("TransactionEvent", triggerReason="TxResumed", transactionInfo__chargingState="Charging")


def test_a_crash_for_too_long_is_a_reboot() -> None:
    found = charging(60)
    found.power_loss(away_s=200, same_boot=True)
    event = found.expect("TransactionEvent", eventType="Ended")
    assert event["transactionInfo"]["stoppedReason"] == "Reboot", "E17.FR.22"


def test_a_clock_that_has_lost_the_time_reports_nothing() -> None:
    found = charging()
    found.utc_ms -= 86_400_000
    found.power_loss(away_s=1)
    found.expect("TransactionEvent", eventType="Ended")


@pytest.mark.parametrize("state", ["EVConnected", "SuspendedEV", "SuspendedEVSE"])
def test_every_state_is_gone_back_to(state: str) -> None:
    found = charging()
    found.flow(state)
    found.power_loss(away_s=60)
    found.plug()
    resumed(found, state, transaction(found))


def test_how_long_it_was_away_is_known_without_readings() -> None:
    """TxUpdatedInterval of 0: the station writes down by itself that it is alive."""
    found = charging(120, variables={"SampledDataCtrlr.TxUpdatedInterval": "0"})
    found.wait(7200)
    writes = found.writes
    found.wait(3600)
    assert found.writes - writes <= 3600 / 30 + 5, "and not oftener than needed"
    found.power_loss(away_s=100)
    found.plug()
    found.expect("TransactionEvent", triggerReason="TxResumed")
    found.power_loss(away_s=200)
    found.expect("TransactionEvent", eventType="Ended")


def test_the_vehicle_has_gone_meanwhile() -> None:
    found = charging(stop="EVConnected")
    found.power_loss(away_s=60)
    found.plug(vehicle=False, station=False)
    event = found.expect("TransactionEvent", eventType="Ended", triggerReason="EVCommunicationLost")  # E17.FR.17
    assert event["transactionInfo"]["stoppedReason"] == "EVDisconnected"


def test_hardware_that_reports_nothing_has_no_vehicle() -> None:
    found = charging(stop="EVConnected")
    found.power_loss(away_s=60)
    found.wait(20)
    found.expect("TransactionEvent", eventType="Ended", triggerReason="EVCommunicationLost")


def test_the_vehicle_has_gone_and_that_ends_nothing() -> None:
    found = charging(stop="ParkingBayOccupancy", variables={"TxCtrlr.StopTxOnEVSideDisconnect": "false"})
    found.bay(occupied=True)
    found.power_loss(away_s=60)
    found.plug(vehicle=False, station=False)
    resumed(found, "Idle", transaction(found))  # E17.FR.16
    found.bay(occupied=False)
    found.expect("TransactionEvent", eventType="Ended", triggerReason="EVDeparted")


def test_after_a_power_cut_of_the_whole_street_not_all_charge_at_once() -> None:
    found = charging(variables={"TxCtrlr.EnergyTransferResumptionRandomRange": "600", TIMEOUT: "300"})
    found.power_loss(away_s=60)
    object.__setattr__(found.station.kernel, "entropy", lambda n: b"\x80" + bytes(n - 1))
    found.plug()
    resumed(found, "SuspendedEVSE", transaction(found))
    found.wait(290)
    assert not found.allowed()
    found.wait(15)
    assert found.allowed(), "after half of the range (E17.FR.18)"


def test_limits_outlive_a_power_loss() -> None:
    found = charging()
    driver(found, max_energy=2000.0)
    found.meter_mwh[1] += 1_500_000
    found.wait(6)
    found.power_loss(away_s=60)
    found.plug()
    found.expect("TransactionEvent", triggerReason="TxResumed")
    assert found.allowed()
    found.meter_mwh[1] += 600_000
    found.wait(6)
    found.expect("TransactionEvent", triggerReason="EnergyLimitReached")
    assert not found.allowed()


def test_what_an_invalid_card_may_still_have_outlives_a_power_loss() -> None:
    variables = {"TxCtrlr.StopTxOnInvalidId": "false", "TxCtrlr.MaxEnergyOnInvalidId": "1000"}
    found = charging(variables=variables)
    found.answers["TransactionEvent"] = {"idTokenInfo": {"status": "Blocked"}}
    found.flow("SuspendedEV")
    found.answers.clear()
    found.flow("Charging")
    found.power_loss(away_s=60)
    found.plug()
    assert found.allowed()
    found.meter_mwh[1] += 1_100_000
    found.wait(61)
    assert not found.allowed()
    found.power_loss(away_s=60)
    found.plug()
    assert not found.allowed()


@pytest.mark.parametrize("ends", ["invalid card", "limit"])
def test_energy_that_is_used_up_does_not_come_back_by_plugging_in_again(ends: str) -> None:
    """E05.FR.03, E16.FR.06, E10: the transaction outlasts the vehicle's departure, and its limit does, too."""
    variables = {
        "TxCtrlr.StopTxOnEVSideDisconnect": "false",
        "TxCtrlr.StopTxOnInvalidId": "false",
        "TxCtrlr.MaxEnergyOnInvalidId": "1000",
    }
    found = charging(stop="ParkingBayOccupancy", variables=variables)
    found.bay(occupied=True)
    if ends == "limit":
        driver(found, max_energy=1000.0)
    else:
        found.answers["TransactionEvent"] = {"idTokenInfo": {"status": "Blocked"}}
        found.flow("SuspendedEV")
        found.answers.clear()
        found.flow("Charging")
    assert found.allowed()
    found.meter_mwh[1] += 1_100_000
    found.wait(61)
    assert not found.allowed()
    found.unplug()
    found.plug()
    assert not found.allowed()
    found.wait(10)
    assert not found.allowed()


def test_offline_it_goes_on_and_is_reported_later() -> None:
    found = charging()
    found.accepting = lambda _: False
    found.power_loss(away_s=60)
    found.plug()
    assert found.allowed()
    found.nothing("TransactionEvent")
    found.back()
    found.expect("TransactionEvent", triggerReason="TxResumed", offline=True)


def test_a_kill_at_any_moment_ends_in_one_transaction() -> None:
    """Cut after every step, also of the resumption itself: one Started, one Ended, no number twice or missing."""
    steps = ["flow", "wait", "suspend", "flow", "wait", "present", "unplug"]
    for cut in range(len(steps) + 1):
        for again in (False, True):
            found = charging(evses=(FIXED,))
            for position, step in enumerate([*steps, ""]):
                if position == cut:
                    found.power_loss(away_s=30, same_boot=True)
                    if again:
                        found.power_loss(away_s=30, same_boot=True)
                    found.plug(vehicle=position < len(steps))
                act(found, step)
            found.wait(30)
            kinds = [event["eventType"] for event in found.all("TransactionEvent")]
            assert (kinds.count("Started"), kinds.count("Ended")) == (1, 1), (cut, again, kinds)
            assert numbers(found) == list(range(len(kinds)))
            assert not found.allowed()


def act(found: Bench, step: str) -> None:
    """Do a step of a story."""
    match step:
        case "flow":
            found.flow("Charging", wh=100)
        case "suspend":
            found.flow("SuspendedEV")
        case "wait":
            found.wait(61)
        case "present":
            found.present()
        case "unplug":
            found.unplug()


def test_energy_that_may_flow_still_after_a_crash_is_stopped_first() -> None:
    found = charging()
    found.commands.clear()
    found.power_loss(away_s=30)
    found.plug()
    orders = [c.allowed for c in found.commands if isinstance(c, AllowPower) and c.evse_id == 1]
    assert orders == [False, True]
    found = charging(0)
    found.commands.clear()
    found.power_loss(away_s=30)
    found.expect("TransactionEvent", eventType="Ended")
    assert not found.allowed(), "what is over takes no energy any more"
