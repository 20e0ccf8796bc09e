"""Reports hardware faults to the CSMS as device model events (N07)."""

from v2g.hardware.faults import FAULTS
from v2g.ocpp.messages.base import EVSE
from v2g.ocpp.messages.device_model import Component, Variable
from v2g.ocpp.messages.diagnostics import EventData, NotifyEventRequest
from v2g.ocpp.times import format_time


def problem_event(evse_id: int, problem: str, event_id: int, utc_ms: int, *, active: bool) -> NotifyEventRequest:
    """Return the event for the start or end of a fault: `Problem` of the component, our name as its technical code."""
    fault, now = FAULTS[problem], format_time(utc_ms)
    event = EventData(
        event_id=event_id,
        timestamp=now,
        trigger="Alerting" if fault.stops else "Delta",
        actual_value="true" if active else "false",
        tech_code=problem,
        tech_info=fault.sentence,
        cleared=not active,
        component=Component(name=fault.component, evse=EVSE(id=evse_id, connector_id=1)),
        event_notification_type="HardWiredNotification",
        variable=Variable(name="Problem"),
    )
    return NotifyEventRequest(generated_at=now, seq_no=0, event_data=(event,))
