"""Leaving the charge loop without current: the vehicle asks for 0 first, and leaves once nothing flows.

A contactor never opens, and a charger is never asked to switch off, at the current of the last request, unless the
charger does not follow in time.
"""

from typing import Final

from evcc.session.context import Context
from v2g.iso15118.engine.dc_status import NO_CURRENT_MA

ORDERLY_S: Final = 2.0
FAULT_S: Final = 1.0
"""How long the vehicle waits for it: before an orderly end or a renegotiation, and after a fault (IEC 61851-23 gives a
charger 1 s to switch off). Then it leaves anyway."""


def until(context: Context, *, failed: bool = False) -> float:
    """Return the time (s) at which the vehicle leaves in any case."""
    return context.now + (FAULT_S if failed else ORDERLY_S)


def flows(context: Context, reported_ma: int, deadline: float) -> bool:
    """Return whether to wait for the current to fall, by the inlet and by what the charger reports."""
    return max(abs(context.inlet.current_ma), abs(reported_ma)) > NO_CURRENT_MA and context.now < deadline
