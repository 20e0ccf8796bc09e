"""Energy flows within transactions only, whatever their start points."""

import pytest

from tests.station.bench import Bench
from tests.station.charging import bench, charging
from tests.station.local_control import driver


@pytest.mark.parametrize("start", ["EVConnected", "ParkingBayOccupancy", "Authorized", "PowerPathClosed"])
def test_whoever_is_authorized_again_with_the_cable_still_in_begins_another_transaction(start: str) -> None:
    """The first one ended with the authorization; what starts by the cable alone has started before."""
    station = Bench(variables={"TxCtrlr.TxStartPoint": start, "TxCtrlr.TxStopPoint": "Authorized"})
    if start == "ParkingBayOccupancy":
        station.bay(occupied=True)
    station.plug()
    station.present()
    first = station.expect("TransactionEvent", eventType="Started")["transactionInfo"]["transactionId"]
    station.present()
    station.expect("TransactionEvent", eventType="Ended", triggerReason="StopAuthorized")
    assert not station.allowed()
    station.present()
    second = station.expect("TransactionEvent", eventType="Started", triggerReason="Authorized")
    assert second["transactionInfo"]["transactionId"] != first
    assert station.allowed()


def test_a_raised_limit_lets_no_energy_flow_after_the_driver_has_stopped() -> None:
    """E16.FR.14 is about a transaction that only its limit has stopped."""
    station = charging("EVConnected", "EVConnected", version="2.1")
    driver(station, max_energy=1000)
    station.flow("SuspendedEV", wh=1500)
    station.wait(6)
    station.expect("TransactionEvent", triggerReason="EnergyLimitReached")
    station.present()
    station.expect("TransactionEvent", eventType="Updated", triggerReason="StopAuthorized")
    driver(station, max_energy=5000)
    station.expect("TransactionEvent", triggerReason="LimitSet")
    assert not station.allowed()


@pytest.mark.parametrize("stop", ["EVConnected", "EnergyTransfer", "PowerPathClosed"])
@pytest.mark.parametrize("cancelled", [False, True])
def test_a_driver_without_vehicle_leaves_no_transaction_to_the_next_one(stop: str, cancelled: bool) -> None:
    """E03.FR.05 (the common points EVConnected,Authorized and EVConnected), E06.FR.06."""
    station = Bench(variables={"TxCtrlr.TxStartPoint": "EVConnected,Authorized", "TxCtrlr.TxStopPoint": stop})
    station.present("TAG-1")
    first = station.expect("TransactionEvent", eventType="Started")["transactionInfo"]["transactionId"]
    if cancelled:
        station.present("TAG-1")
    station.wait(float(station.get("TxCtrlr", "EVConnectionTimeOut")["attributeValue"]) + 1)
    ended = station.expect("TransactionEvent", eventType="Ended")
    at_once = cancelled and stop == "PowerPathClosed"
    assert ended["triggerReason"] == ("StopAuthorized" if at_once else "EVConnectTimeout")
    station.present("TAG-2")
    second = station.expect("TransactionEvent", eventType="Started", idToken__idToken="TAG-2")
    assert second["transactionInfo"]["transactionId"] != first


def test_a_vehicle_that_leaves_without_a_driver_ends_what_its_plug_began() -> None:
    """E06.FR.06: the power path, a stop point, was never closed."""
    points = {"TxCtrlr.TxStartPoint": "EVConnected", "TxCtrlr.TxStopPoint": "PowerPathClosed"}
    station = Bench(variables=points)
    station.plug()
    station.unplug()
    station.expect("TransactionEvent", eventType="Ended", triggerReason="EVCommunicationLost")


@pytest.mark.parametrize("stop", ["Authorized", "EnergyTransfer"])
@pytest.mark.parametrize("how", ["EVCommunicationLost", "RemoteStop"])
@pytest.mark.parametrize("stays", ["true", "false"])
def test_what_a_plug_began_without_a_driver_does_not_last_for_ever(stop: str, how: str, stays: str) -> None:
    """E09.FR.01, F03.FR.02: also where only the end of what there never was stops transactions."""
    station = bench("EVConnected", stop, variables={"TxCtrlr.StopTxOnEVSideDisconnect": stays})
    station.plug()
    transaction = station.expect("TransactionEvent", eventType="Started")["transactionInfo"]["transactionId"]
    if how == "RemoteStop":
        station.ask("RequestStopTransaction", transactionId=transaction)
    else:
        station.unplug()
    station.expect("TransactionEvent", eventType="Ended", triggerReason=how)
