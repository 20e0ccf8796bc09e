"""DC_EVSEStatus of ISO 15118-2 from `engine.dc_status`."""

from v2g.iso15118.d2.messages.parameters import DC_EVSEStatus, DC_EVSEStatusCode, EVSENotification, IsolationLevel
from v2g.iso15118.engine.dc_status import DcStatus


def dc_evse_status(status: DcStatus, *, max_delay_s: int = 0) -> DC_EVSEStatus:
    """Return the status with NotificationMaxDelay in s (0: at once)."""
    return DC_EVSEStatus(
        notification_max_delay=max_delay_s,
        evse_notification=EVSENotification(status.notification),
        evse_isolation_status=IsolationLevel(status.isolation),
        evse_status_code=DC_EVSEStatusCode(status.code),
    )
