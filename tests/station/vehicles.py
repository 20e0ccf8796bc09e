"""Vehicles that charge and discharge."""

from typing import Any

from tests.station.bench import Bench, EvseLayout
from tests.station.charging import charging as charging_any
from tests.station.profiles import profile, transaction

V2X = EvseLayout(max_power_w=50_000, max_discharge_w=20_000)


def charging(**more: Any) -> Bench:
    """A station of 2.1 that charges, at an EVSE for both directions."""
    return charging_any(version="2.1", **({"evses": (V2X,)} | more))


def own(found: Bench, period: dict[str, Any], *, dynamic: bool = False, **more: Any) -> str:
    """Set a profile with one period for the transaction that runs."""
    wanted = profile("TxProfile", transactionId=transaction(found), periods=[{"startPeriod": 0} | period], **more)
    if dynamic:
        wanted["chargingProfileKind"] = "Dynamic"
        del wanted["chargingSchedule"][0]["startSchedule"]
    status: str = found.ask("SetChargingProfile", evseId=1, chargingProfile=wanted)["status"]
    return status


def measured(event: dict[str, Any]) -> set[str]:
    """What an event has measured."""
    return {each.get("measurand", "") for value in event["meterValue"] for each in value["sampledValue"]}
