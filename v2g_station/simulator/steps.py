"""Steps by hand that only make the hardware report something: an external system, a terminal, a display.

Pure.
"""

import math
from collections.abc import Iterator, Sequence

from v2g.hardware.energy_manager.commands import CommandStep
from v2g.iso15118.engine.session import Fact
from v2g.ocpp.messages.transactions import TransactionLimit
from v2g_station.blocks.payment.terminal import CardPresented, VatEntered
from v2g_station.blocks.smart_charging.external_limits import ExternalLimit
from v2g_station.blocks.smart_charging.priority import PriorityChargingRequested
from v2g_station.blocks.transaction_limits import DriverLimit
from v2g_station.blocks.web_payment import WebPaymentRequested

SYSTEM = "EMS"
"""The external system, as a source of limits."""
CARD = "simulated-card"


def reported(action: str, evse_id: int, values: Sequence[str]) -> Iterator[Fact]:
    """Yield what the hardware reports of a step. Raises ValueError for an unknown one, and for a wrong value."""
    match action, values:
        case "limit", [watts]:
            yield ExternalLimit(source=SYSTEM, limit_w=number(watts))
        case "setpoint", [watts]:
            yield ExternalLimit(source=SYSTEM, setpoint_w=number(watts))
        case "generate", [watts]:
            yield ExternalLimit(source=SYSTEM, generation=True, limit_w=number(watts))
        case "schedule", [text]:
            first, seconds, then = text.split("/")
            begin = CommandStep(start_s=0, limit_w=number(first))
            later = CommandStep(start_s=int(seconds), limit_w=number(then))
            yield ExternalLimit(source=SYSTEM, schedule=(begin, later))
        case "release", []:
            yield ExternalLimit(source=SYSTEM)
            yield ExternalLimit(source=SYSTEM, generation=True)
        case (("hurry" | "relax"), []):
            yield PriorityChargingRequested(evse_id=evse_id, active=action == "hurry")
        case "pay", []:
            yield CardPresented(evse_id=evse_id, card=CARD)
        case "vat", [written]:
            yield VatEntered(evse_id=evse_id, number=written)
        case (("most-time" | "most-energy" | "most-cost"), [value]):
            yield DriverLimit(evse_id=evse_id, limit=_limit(action, value))
        case _:
            raise ValueError(f"not a step: {' '.join((action, str(evse_id), *values))}")


def chosen(action: str, evse_id: int, value: str) -> Iterator[Fact]:
    """Yield a limit that a driver chooses before a payment on the web. Raises ValueError for a wrong value."""
    yield WebPaymentRequested(evse_id=evse_id, limit=_limit(action, value))


def _limit(action: str, value: str) -> TransactionLimit:
    match action:
        case "most-time":
            return TransactionLimit(max_time=int(value))
        case "most-energy":
            return TransactionLimit(max_energy=number(value))
    return TransactionLimit(max_cost=number(value))


def number(text: str) -> float:
    """Return a number of a step. Raises ValueError for anything else, also for inf and nan."""
    found = float(text)
    if not math.isfinite(found):
        raise ValueError(f"not a number: {text}")
    return found
