"""DC_EVSEStatus by phase and demand."""

from typing import Any

from secc.session.v2g_message.request_context import RequestContext
from v2g.iso15118.engine import dc_status
from v2g.iso15118.engine.dc_status import Phase


def dc_evse_status(phase: Phase, context: RequestContext) -> Any:
    """Return the edition's DC_EVSEStatus, with the present notification."""
    status = dc_status.status(phase, stop=context.stop, renegotiate=context.renegotiate)
    return context.messages.dc_status(status, max_delay_s=context.delay_s)
