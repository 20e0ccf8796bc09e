"""Limits of drivers, and set-points that a station follows by itself."""

from typing import Any

from tests.station.bench import Bench
from tests.station.profiles import profile, transaction
from v2g.ocpp.messages.transactions import TransactionLimit
from v2g_station.blocks.smart_charging.local_control import SetPower
from v2g_station.blocks.transaction_limits import DriverLimit


def driver(found: Bench, **wanted: Any) -> None:
    """The driver limits his transaction."""
    found.fact(DriverLimit(evse_id=1, limit=TransactionLimit(**wanted)))


CURVE = [{"frequency": hz, "power": watts} for hz, watts in ((49.5, -10_000), (49.9, 0), (50.1, 0), (50.5, 10_000))]


def local(found: Bench, **period: Any) -> Any:
    """Let an EVSE follow the frequency; return the answer."""
    wanted = {
        "startPeriod": 0,
        "operationMode": "LocalFrequency",
        "v2xBaseline": 0.0,
        "v2xFreqWattCurve": CURVE,
    } | period
    wanted = {key: value for key, value in wanted.items() if value is not None}
    return found.ask(
        "SetChargingProfile", evseId=1,
        chargingProfile=profile("TxProfile", transactionId=transaction(found), periods=[wanted]),
    )  # fmt: skip


def power(found: Bench) -> float | None:
    """The hardware's last command."""
    reported = [each for each in found.commands if isinstance(each, SetPower)]
    return reported[-1].power_w if reported else None
