"""A station at which somebody charges."""

from typing import Any

from tests.station.bench import Bench

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
