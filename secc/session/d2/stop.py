"""The end of an ISO 15118-2 session, or its pause."""

from secc.session.ports import Paused, SaveSession, TransactionUpdated
from secc.session.request_context import Wait
from secc.session.stages import Finished, Stage, Stopped
from secc.session.v2g_message import delivery
from secc.session.v2g_message.request_context import ISO2_HANDLERS, RequestContext, Step
from v2g.iso15118.d2.messages.common import SessionStopReq
from v2g.iso15118.d2.messages.data_types import ChargingSession
from v2g.observe import Observe


@ISO2_HANDLERS.on_request(SessionStopReq)
def session_stop(request: SessionStopReq, stage: Stage, context: RequestContext) -> Step | Wait:
    """End the session, or store it: a pause counts after power was stopped only [V2G2-739]."""
    step = delivery.session_stop(request, stage, context)
    pauses = request.charging_session is ChargingSession.Pause and isinstance(stage, Stopped) and not context.stopping
    if isinstance(step, Wait) or not pauses or not context.config.pause:
        return step
    assert isinstance(stage, Stopped)
    selected = stage.selected
    paused = Paused(
        session_id=selected.session_id,
        vehicle=b"",  # the SessionID alone is compared [V2G2-753]
        evcc_id=selected.authorized.opened.evcc_id,
        contract=selected.contract,
        service=selected.service,
        control_mode=selected.control_mode,
        signed_discharge=False,
        meter_begin=context.facts.meter_begin,
        allowed=context.facts.allowed,
    )
    commands = (
        SaveSession(paused),
        TransactionUpdated(
            selected.session_id.hex(), "ChargingStateChanged", "SuspendedEV", power_w=0, soc=stage.vehicle.soc
        ),
        Observe("stop", "session_stop", {"session": "Pause"}),
    )
    return Step(step.response, Finished(paused=paused), commands, followed="Pause")
