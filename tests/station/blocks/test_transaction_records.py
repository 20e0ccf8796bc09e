"""Functional block E, transactions, of our station, beyond the cases of the test lab."""

import itertools

import pytest

from tests.station.bench import SOCKET
from tests.station.charging import bench, charging


def test_stop_deauthorized() -> None:
    variables = {"AuthCtrlr.OfflineTxForUnknownIdEnabled": "true"}
    found = bench(stop="Authorized", variables=variables)
    found.drop()
    found.plug()
    found.present()
    found.flow()
    found.answers["TransactionEvent"] = lambda p: {"idTokenInfo": {"status": "Invalid"}} if "idToken" in p else {}
    found.back()
    assert found.expect("TransactionEvent", eventType="Started")["offline"] is True
    event = found.expect("TransactionEvent", triggerReason="Deauthorized", eventType="Ended")
    assert event["transactionInfo"]["stoppedReason"] == "DeAuthorized"
    assert not found.allowed()
    assert found.locked(), "the cable waits for its owner (E05.FR.11)"
    found.present()
    assert not found.locked()


@pytest.mark.parametrize("stop", ["ParkingBayOccupancy", "EVConnected"])
@pytest.mark.parametrize("unlock", [True, False])
def test_disconnect_deauthorizes(unlock: bool, stop: str) -> None:
    variables = {"OCPPCommCtrlr.UnlockOnEVSideDisconnect": "true" if unlock else "false"}
    found = charging(stop=stop, variables=variables)
    found.flow("SuspendedEV")
    found.unplug(station=True)
    found.expect("TransactionEvent", triggerReason="EVCommunicationLost", transactionInfo__chargingState="Idle")
    assert found.locked() is not unlock
    if not unlock:
        found.present()
        assert not found.locked()
    found.unplug()
    found.expect("StatusNotification", connectorStatus="Available")


def test_a_vehicle_that_is_connected_again_was_not_disconnected_at_the_end() -> None:
    """E10: neither in stoppedReason, nor for the cable."""
    from v2g_station.blocks.evse import MeterSigns

    found = charging(stop="DataSigned", variables={"TxCtrlr.StopTxOnEVSideDisconnect": "false"})
    found.fact(MeterSigns(evse_id=1, available=True))
    found.unplug(station=True)
    assert found.locked()
    found.plug()
    found.fact(MeterSigns(evse_id=1, available=False))
    event = found.expect("TransactionEvent", eventType="Ended")
    assert event["transactionInfo"].get("stoppedReason", "Local") == "Local"
    assert not found.locked()


def test_a_power_loss_ends_the_transaction_once() -> None:
    found = charging()
    found.power_loss()
    event = found.expect("TransactionEvent", eventType="Ended", triggerReason="AbnormalCondition")
    assert event["transactionInfo"]["stoppedReason"] == "PowerLoss"
    numbers = [each["seqNo"] for each in found.all("TransactionEvent")]
    assert numbers == list(range(len(numbers)))
    found.power_loss()
    found.nothing("TransactionEvent")


@pytest.mark.long
def test_a_week_without_the_csms_arrives_in_order() -> None:
    found = charging(evses=(SOCKET,), variables={"SampledDataCtrlr.TxUpdatedInterval": "14400"})
    found.drop()
    for _ in range(7 * 24):
        found.wait(3600)
    found.present()
    found.back()
    numbers = [event["seqNo"] for event in found.all("TransactionEvent")]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 7 * 6


def test_bounded_room_drops_intermediate_readings_only() -> None:
    found = charging(evses=(SOCKET,), variables={"SampledDataCtrlr.TxUpdatedInterval": "10"}, max_events=40)
    found.drop()
    found.clear()
    found.wait(1000)
    found.present()
    assert len(found.station.outbox) <= 40
    found.back()
    events = [payload for name, payload in found.unread if name == "TransactionEvent"]
    assert events[-1]["eventType"] == "Ended"
    numbers = [event["seqNo"] for event in events]
    assert numbers == sorted(numbers)
    assert max(b - a for a, b in itertools.pairwise(numbers)) > 1, "readings in between were dropped"
