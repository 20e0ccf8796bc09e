"""Makes PhysicalValue of ISO 15118-2 from integers of mV, mA, W, Wh and s; reads by `engine.physical_values`."""

from typing import Final

from v2g.iso15118.d2.messages.data_types import (
    DC_EVSEStatus,
    DC_EVSEStatusCode,
    EVSENotification,
    IsolationLevel,
    PhysicalValue,
    UnitSymbol,
)
from v2g.iso15118.engine.dc_status import DcStatus
from v2g.iso15118.engine.physical_values import Writer


def _make(multiplier: int, unit: str, value: int) -> PhysicalValue:
    return PhysicalValue(multiplier=multiplier, unit=UnitSymbol(unit), value=value)


VALUES: Final = Writer(_make)
"""The units are always sent."""


# -- DC_EVSEStatus of ISO 15118-2 from `engine.dc_status`


def dc_evse_status(status: DcStatus, max_delay_s: int = 0) -> DC_EVSEStatus:
    """Return the status with NotificationMaxDelay in s (0: at once)."""
    return DC_EVSEStatus(
        notification_max_delay=max_delay_s,
        evse_notification=EVSENotification(status.notification),
        evse_isolation_status=IsolationLevel(status.isolation),
        evse_status_code=DC_EVSEStatusCode(status.code),
    )
