"""Energy flows within transactions only, whatever their start points."""

import pytest

from tests.station.bench import Bench


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
