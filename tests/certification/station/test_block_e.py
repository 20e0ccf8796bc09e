"""Certification cases of functional block E, transactions: the station."""

import itertools
from typing import Any

import pytest

from tests.certification.station.bench import FIXED, SOCKET, Bench, Refused

START, STOP = "TxCtrlr.TxStartPoint", "TxCtrlr.TxStopPoint"


def bench(start: str = "PowerPathClosed", stop: str = "EVConnected,Authorized", **more: Any) -> Bench:
    """A station that starts and stops transactions at these points."""
    variables = {START: start, STOP: stop} | more.pop("variables", {})
    return Bench(variables=variables, **more)


def charging(start: str = "PowerPathClosed", stop: str = "EVConnected,Authorized", **more: Any) -> Bench:
    """A station that charges a vehicle."""
    found = bench(start, stop, **more)
    found.plug()
    found.present()
    found.flow("Charging", wh=1)
    found.expect("TransactionEvent", triggerReason="ChargingStateChanged", transactionInfo__chargingState="Charging")
    return found


def test_tc_e_01_cs_power_path_closed() -> None:
    found = bench("PowerPathClosed")
    found.plug()
    found.nothing("TransactionEvent")
    found.present()
    event = found.expect("TransactionEvent")
    assert (event["eventType"], event["triggerReason"], event["seqNo"]) == ("Started", "Authorized", 0)
    assert event["idToken"] == {"idToken": "TAG-1", "type": "ISO14443"}
    assert event["evse"] == {"id": 1, "connectorId": 1}


def test_tc_e_02_cs_energy_transfer() -> None:
    found = bench("EnergyTransfer")
    found.plug()
    found.present()
    found.nothing("TransactionEvent")
    found.flow()
    event = found.expect("TransactionEvent", eventType="Started", triggerReason="ChargingStateChanged")
    assert event["transactionInfo"]["chargingState"] == "Charging"
    assert event["idToken"]["idToken"] == "TAG-1"
    assert event["numberOfPhasesUsed"] == 3


def test_tc_e_03_cs_cable_first() -> None:
    found = bench("EVConnected")
    found.plug()
    found.expect("StatusNotification", connectorStatus="Occupied")
    found.expect("TransactionEvent", eventType="Started", triggerReason="CablePluggedIn")
    found.present()
    found.expect("Authorize")
    found.expect("TransactionEvent", eventType="Updated", triggerReason="Authorized")
    assert found.allowed()
    assert found.locked()
    found.flow()
    found.expect("TransactionEvent", eventType="Updated", transactionInfo__chargingState="Charging", seqNo=2)


def test_tc_e_04_cs_authorization_first() -> None:
    found = bench("Authorized")
    found.present()
    found.expect("Authorize")
    found.expect("TransactionEvent", eventType="Started", triggerReason="Authorized")
    assert not found.allowed()
    found.plug()
    found.expect("StatusNotification", connectorStatus="Occupied")
    found.expect("TransactionEvent", triggerReason="CablePluggedIn", transactionInfo__chargingState="EVConnected")
    found.flow()
    found.expect("TransactionEvent", transactionInfo__chargingState="Charging")


def test_tc_e_05_cs_cable_plugin_timeout() -> None:
    found = bench("Authorized", "Authorized")
    found.present()
    found.expect("TransactionEvent", eventType="Started")
    found.wait(121)
    event = found.expect("TransactionEvent", triggerReason="EVConnectTimeout")
    assert event["eventType"] == "Ended"
    assert event["transactionInfo"]["stoppedReason"] == "Timeout"
    found.plug()
    assert not found.allowed()


def test_tc_e_06_cs_local_stop() -> None:
    found = charging(stop="EVConnected,Authorized")
    found.present()
    event = found.expect("TransactionEvent", triggerReason="StopAuthorized", eventType="Ended")
    assert event["idToken"]["idToken"] == "TAG-1"
    found.nothing("Authorize")
    assert not found.allowed()
    assert not found.locked()


def test_tc_e_07_cs_stop_power_path_closed() -> None:
    found = charging(stop="PowerPathClosed")
    found.present()
    found.expect("TransactionEvent", eventType="Ended", triggerReason="StopAuthorized")


def test_tc_e_08_cs_stop_energy_transfer() -> None:
    found = charging(stop="EnergyTransfer")
    found.present()
    found.expect("TransactionEvent", eventType="Ended", triggerReason="StopAuthorized")


def test_tc_e_09_cs_start_ev_connected() -> None:
    found = bench("EVConnected")
    found.plug()
    event = found.expect("TransactionEvent", eventType="Started", triggerReason="CablePluggedIn")
    assert event["transactionInfo"]["chargingState"] == "EVConnected"
    assert "idToken" not in event


def test_tc_e_10_cs_start_authorized_local() -> None:
    found = bench("Authorized")
    found.present()
    event = found.expect("TransactionEvent", eventType="Started", triggerReason="Authorized")
    assert event["transactionInfo"]["chargingState"] == "Idle"


def test_tc_e_11_cs_start_data_signed() -> None:
    from v2g_station.blocks.evse import Signature

    found = bench("DataSigned")
    found.plug()
    found.present()
    found.nothing("TransactionEvent")
    found.signs = True
    found.fact(Signature(evse_id=1, available=True))
    event = found.expect("TransactionEvent", eventType="Started", triggerReason="SignedDataReceived")
    assert "signedMeterValue" in event["meterValue"][0]["sampledValue"][0]


def test_tc_e_12_cs_start_parking_bay() -> None:
    found = bench("ParkingBayOccupancy")
    found.bay(occupied=True)
    found.expect("TransactionEvent", eventType="Started", triggerReason="EVDetected")


def test_tc_e_13_cs_start_authorized_remote() -> None:
    found = bench("Authorized")
    token = {"idToken": "R-1", "type": "Central"}
    assert found.ask("RequestStartTransaction", idToken=token, remoteStartId=7, evseId=1)["status"] == "Accepted"
    found.expect("Authorize")
    event = found.expect("TransactionEvent", eventType="Started", triggerReason="RemoteStart")
    assert event["transactionInfo"]["remoteStartId"] == 7


def test_tc_e_14_cs_stop_ev_disconnected_at_the_station() -> None:
    found = charging(stop="EVConnected")
    found.present()
    found.expect("TransactionEvent", eventType="Updated", triggerReason="StopAuthorized")
    found.flow("EVConnected")
    found.expect("TransactionEvent", eventType="Updated", transactionInfo__chargingState="EVConnected")
    found.unplug()
    found.expect("StatusNotification", connectorStatus="Available")
    event = found.expect("TransactionEvent", eventType="Ended", triggerReason="EVCommunicationLost")
    assert event["transactionInfo"]["chargingState"] == "Idle"
    assert event["transactionInfo"]["stoppedReason"] in ("Local", "EVDisconnected")


def test_tc_e_15_cs_stop_authorized_local() -> None:
    found = charging(stop="Authorized")
    found.present()
    event = found.expect("TransactionEvent", eventType="Ended", triggerReason="StopAuthorized")
    assert event["transactionInfo"]["stoppedReason"] == "Local"


def test_tc_e_16_cs_stop_deauthorized() -> None:
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


def test_tc_e_17_cs_stop_deauthorized_by_disconnection() -> None:
    found = charging(stop="Authorized", variables={"OCPPCommCtrlr.UnlockOnEVSideDisconnect": "false"})
    found.unplug(station=True)
    event = found.expect("TransactionEvent", triggerReason="EVCommunicationLost", eventType="Ended")
    assert event["transactionInfo"]["chargingState"] == "Idle"
    assert event["transactionInfo"]["stoppedReason"] == "EVDisconnected"
    found.unplug()
    found.expect("StatusNotification", connectorStatus="Available")


def test_tc_e_19_cs_stop_parking_bay() -> None:
    found = bench("ParkingBayOccupancy", "ParkingBayOccupancy")
    found.bay(occupied=True)
    found.plug()
    found.present()
    found.flow()
    found.present()
    found.flow("EVConnected")
    found.unplug()
    found.expect("TransactionEvent", eventType="Updated", triggerReason="EVCommunicationLost")
    found.bay(occupied=False)
    event = found.expect("TransactionEvent", eventType="Ended", triggerReason="EVDeparted")
    assert event["transactionInfo"]["stoppedReason"] == "Local"


def test_tc_e_20_cs_stop_ev_disconnected_at_the_vehicle() -> None:
    found = charging(stop="EVConnected", variables={"TxCtrlr.StopTxOnEVSideDisconnect": "false"})
    found.flow("SuspendedEV")
    found.unplug(station=True)
    event = found.expect("TransactionEvent", eventType="Ended", triggerReason="EVCommunicationLost")
    assert event["transactionInfo"]["chargingState"] == "Idle"
    assert event["transactionInfo"]["stoppedReason"] == "EVDisconnected"


def test_tc_e_21_cs_stop_authorized_remote() -> None:
    found = charging(stop="Authorized")
    identifier = found.all("TransactionEvent")[0]["transactionInfo"]["transactionId"]
    assert found.ask("RequestStopTransaction", transactionId=identifier)["status"] == "Accepted"
    event = found.expect("TransactionEvent", eventType="Ended", triggerReason="RemoteStop")
    assert event["transactionInfo"]["stoppedReason"] == "Remote"


def test_tc_e_22_cs_stop_energy_transfer_by_the_vehicle() -> None:
    found = charging(stop="EnergyTransfer")
    found.flow("SuspendedEV")
    event = found.expect("TransactionEvent", eventType="Ended", triggerReason="ChargingStateChanged")
    assert event["transactionInfo"]["chargingState"] == "EVConnected"
    assert event["transactionInfo"]["stoppedReason"] == "StoppedByEV"


@pytest.mark.parametrize("unlock", [True, False])
def test_tc_e_24_cs_disconnect_deauthorizes(unlock: bool) -> None:
    variables = {"OCPPCommCtrlr.UnlockOnEVSideDisconnect": "true" if unlock else "false"}
    found = charging(stop="ParkingBayOccupancy", variables=variables)
    found.flow("SuspendedEV")
    found.unplug(station=True)
    found.expect("TransactionEvent", triggerReason="EVCommunicationLost", transactionInfo__chargingState="Idle")
    assert found.locked() is not unlock
    if not unlock:
        found.present()
        assert not found.locked()
    found.unplug()
    found.expect("StatusNotification", connectorStatus="Available")


def test_tc_e_25_cs_disconnect_deauthorizes_and_keeps_the_cable() -> None:
    test_tc_e_24_cs_disconnect_deauthorizes(unlock=False)


def test_tc_e_26_cs_disconnect_suspends() -> None:
    variables = {"TxCtrlr.StopTxOnEVSideDisconnect": "false", "OCPPCommCtrlr.UnlockOnEVSideDisconnect": "false"}
    found = charging(stop="Authorized", variables=variables, evses=(FIXED,))
    found.flow("SuspendedEV")
    found.unplug()
    found.expect("StatusNotification", connectorStatus="Available")
    event = found.expect("TransactionEvent", triggerReason="EVCommunicationLost")
    assert (event["eventType"], event["transactionInfo"]["chargingState"]) == ("Updated", "Idle")
    found.wait(60)
    found.plug()
    found.expect("TransactionEvent", triggerReason="CablePluggedIn", eventType="Updated")
    found.flow()
    found.expect("TransactionEvent", triggerReason="ChargingStateChanged", transactionInfo__chargingState="Charging")


def test_tc_e_27_cs_disconnect_suspends_until_timeout() -> None:
    variables = {"TxCtrlr.StopTxOnEVSideDisconnect": "false"}
    found = charging(stop="Authorized", variables=variables, evses=(FIXED,))
    found.unplug()
    found.expect("TransactionEvent", triggerReason="EVCommunicationLost", eventType="Updated")
    found.wait(121)
    event = found.expect("TransactionEvent", triggerReason="EVConnectTimeout", eventType="Ended")
    assert event["transactionInfo"]["stoppedReason"] == "Timeout"


def status(found: Bench, identifier: str | None = None) -> Any:
    """What GetTransactionStatus says."""
    return found.ask("GetTransactionStatus", {"transactionId": identifier} if identifier else {})


def test_tc_e_28_cs_status_unknown() -> None:
    assert status(Bench(), "no-such") == {"ongoingIndicator": False, "messagesInQueue": False}


def stuck(found: Bench) -> str:
    """Let an event wait for its answer; return the transaction."""
    identifier: str = found.all("TransactionEvent")[0]["transactionInfo"]["transactionId"]
    found.answers["TransactionEvent"] = None
    found.flow("SuspendedEV")
    return identifier


def test_tc_e_29_cs_status_ongoing_with_message_in_queue() -> None:
    found = charging(stop="Authorized")
    assert status(found, stuck(found)) == {"ongoingIndicator": True, "messagesInQueue": True}


def test_tc_e_30_cs_status_ongoing_without_message_in_queue() -> None:
    found = charging(stop="Authorized")
    identifier = found.all("TransactionEvent")[0]["transactionInfo"]["transactionId"]
    assert status(found, identifier) == {"ongoingIndicator": True, "messagesInQueue": False}


def test_tc_e_31_cs_status_ended_with_message_in_queue() -> None:
    found = charging(stop="Authorized")
    identifier = stuck(found)
    found.present()
    assert status(found, identifier) == {"ongoingIndicator": False, "messagesInQueue": True}


def test_tc_e_32_cs_status_ended_without_message_in_queue() -> None:
    found = charging(stop="Authorized")
    identifier = stuck(found)
    found.present()
    del found.answers["TransactionEvent"]
    found.wait(60)
    assert status(found, identifier) == {"ongoingIndicator": False, "messagesInQueue": False}


def test_tc_e_33_cs_status_of_any_with_message_in_queue() -> None:
    found = charging(stop="Authorized")
    stuck(found)
    assert status(found) == {"messagesInQueue": True}


def test_tc_e_34_cs_status_of_any_without_message_in_queue() -> None:
    assert status(charging()) == {"messagesInQueue": False}


def test_tc_e_35_cs_stop_power_path_closed_remote() -> None:
    found = charging(stop="PowerPathClosed")
    identifier = found.all("TransactionEvent")[0]["transactionInfo"]["transactionId"]
    assert found.ask("RequestStopTransaction", transactionId=identifier)["status"] == "Accepted"
    event = found.expect("TransactionEvent", eventType="Ended", triggerReason="RemoteStop")
    assert event["transactionInfo"]["stoppedReason"] == "Remote"


def test_tc_e_37_cs_stop_power_path_closed_by_disconnection() -> None:
    found = charging(stop="PowerPathClosed", variables={"TxCtrlr.StopTxOnEVSideDisconnect": "false"})
    found.flow("SuspendedEV")
    found.unplug(station=True)
    event = found.expect("TransactionEvent", eventType="Ended", triggerReason="EVCommunicationLost")
    assert event["transactionInfo"]["chargingState"] == "Idle"


def test_tc_e_38_cs_vehicle_not_ready() -> None:
    found = bench("Authorized")
    found.present()
    found.plug()
    found.flow("SuspendedEV")
    found.expect("TransactionEvent", triggerReason="ChargingStateChanged", transactionInfo__chargingState="SuspendedEV")


def test_tc_e_39_cs_deauthorized_by_timeout() -> None:
    """The driver is there in time, and goes: what was authorised runs out with the time for the next plug."""
    found = bench("ParkingBayOccupancy", "Authorized")
    found.bay(occupied=True)
    found.expect("TransactionEvent", eventType="Started")
    found.present()
    found.expect("TransactionEvent", triggerReason="Authorized")
    found.wait(121)
    event = found.expect("TransactionEvent", triggerReason="EVConnectTimeout")
    assert (event["eventType"], event["transactionInfo"]["stoppedReason"]) == ("Ended", "Timeout")


def test_tc_e_40_cs_connection_lost_during_transaction() -> None:
    found = charging()
    found.drop()
    found.clear()
    found.wait(180)
    found.nothing("TransactionEvent")
    found.back()
    events = [payload for name, payload in found.unread if name == "TransactionEvent"]
    assert len(events) >= 3
    assert all(event["offline"] for event in events)
    numbers = [event["seqNo"] for event in found.all("TransactionEvent")]
    assert numbers == list(range(len(numbers)))


def test_tc_e_41_cs_retries_until_the_last() -> None:
    assert_last_retry(None)


def test_tc_e_50_cs_retries_until_the_last_after_a_callerror() -> None:
    assert_last_retry(Refused("InternalError"))


def assert_last_retry(answer: Any) -> None:
    """The interval grows with each attempt, and after the last there is silence."""
    variables = {
        "OCPPCommCtrlr.MessageAttempts[TransactionEvent]": "3",
        "OCPPCommCtrlr.MessageAttemptInterval[TransactionEvent]": "5",
        "SampledDataCtrlr.TxUpdatedInterval": "0",
    }
    found = bench("EVConnected", variables=variables)
    moments: list[float] = []

    def heard(_: Any) -> Any:
        moments.append(found.now)
        return answer

    found.answers["TransactionEvent"] = heard
    found.plug()
    found.wait(300)
    timeout = 30 if answer is None else 0
    assert len(moments) == 3
    assert moments[1] - moments[0] == pytest.approx(timeout + 5)
    assert moments[2] - moments[1] == pytest.approx(timeout + 10)  # E13.FR.03


def test_tc_e_42_cs_retries_until_it_works() -> None:
    assert_retried(None)


def test_tc_e_51_cs_retries_until_it_works_after_a_callerror() -> None:
    assert_retried(Refused("InternalError"))


def assert_retried(answer: Any) -> None:
    """The third attempt is answered."""
    found = bench("EVConnected", variables={"SampledDataCtrlr.TxUpdatedInterval": "0"})
    tries: list[int] = []

    def heard(_: Any) -> Any:
        tries.append(1)
        return answer if len(tries) < 3 else {}

    found.answers["TransactionEvent"] = heard
    found.plug()
    found.wait(600)
    assert len(tries) == 3
    assert len(found.station.outbox) == 0


def test_tc_e_43_cs_whole_transaction_offline() -> None:
    found = bench(variables={"AuthCtrlr.OfflineTxForUnknownIdEnabled": "true"})
    found.drop()
    found.plug()
    found.present()
    found.flow()
    found.wait(60)
    found.present()
    found.unplug()
    found.back()
    events = found.all("TransactionEvent")
    assert [event["eventType"] for event in events][0 :: len(events) - 1] == ["Started", "Ended"]
    assert all(event["offline"] for event in events)
    assert [event["seqNo"] for event in events] == list(range(len(events)))


def test_tc_e_44_cs_stop_offline() -> None:
    found = charging()
    found.drop()
    found.present()
    assert not found.allowed()
    found.back()
    event = found.expect("TransactionEvent", eventType="Ended", triggerReason="StopAuthorized")
    assert event["offline"] is True


def test_tc_e_45_cs_stop_offline_same_group() -> None:
    found = bench(variables={"AuthCtrlr.LocalPreAuthorize": "false"})
    group = {"idToken": "GROUP", "type": "Central"}
    found.answers["Authorize"] = {"idTokenInfo": {"status": "Accepted", "groupIdToken": group}}
    found.present("TAG-2", 2)
    found.present("TAG-2", 2)  # known now, and the EVSE free again
    found.plug()
    found.present("TAG-1")
    found.flow()
    found.drop()
    found.present("TAG-2")
    assert not found.allowed()
    found.back()
    event = found.expect("TransactionEvent", eventType="Ended", triggerReason="StopAuthorized")
    assert event["idToken"]["idToken"] == "TAG-2"


def test_tc_e_52_cs_remote_authorization_disabled() -> None:
    found = bench(variables={"AuthCtrlr.DisableRemoteAuthorization": "true"})
    found.present()
    found.nothing("Authorize")
    found.plug()
    assert not found.allowed()


def test_tc_e_54_cs_stop_ev_disconnected_without_words() -> None:
    """Without a pause before: the vehicle's end is all that is seen."""
    found = charging(stop="EVConnected", variables={"TxCtrlr.StopTxOnEVSideDisconnect": "false"})
    found.unplug(station=True)
    event = found.expect("TransactionEvent", eventType="Ended", triggerReason="EVCommunicationLost")
    assert event["transactionInfo"]["stoppedReason"] == "EVDisconnected"
    assert not found.allowed()


def test_a_power_loss_ends_the_transaction_once() -> None:
    found = charging()
    found.power_loss()
    event = found.expect("TransactionEvent", eventType="Ended", triggerReason="AbnormalCondition")
    assert event["transactionInfo"]["stoppedReason"] == "PowerLoss"
    numbers = [each["seqNo"] for each in found.all("TransactionEvent")]
    assert numbers == list(range(len(numbers)))
    found.power_loss()
    found.nothing("TransactionEvent")


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
