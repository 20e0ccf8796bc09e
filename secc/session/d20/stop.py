"""The end of a session, or of its first part."""

from secc.session.d20.stages import HANDLERS, RequestContext, Step, authorized_of, refuse
from secc.session.ports import EmergencyOff, Paused, RecordMeter, SaveSession, TransactionUpdated
from secc.session.stages import Authorized, Finished, Stage, selected_of
from v2g.iso15118.d20.messages.common_messages import ChargingSession, SessionStopReq, SessionStopRes
from v2g.iso15118.d20.messages.common_types import ResponseCode
from v2g.iso15118.d20.session import binding
from v2g.iso15118.engine.session import Command
from v2g.observe import Observe


@HANDLERS.on_request(SessionStopReq)
def session_stop(request: SessionStopReq, stage: Stage, context: RequestContext) -> Step:
    """End the session, pause it, or return to service selection."""
    event = Observe(
        "stop",
        "session_stop",
        {
            "session": request.charging_session.value,
            "code": request.ev_termination_code,
            "explanation": request.ev_termination_explanation,
        },
    )
    match request.charging_session:
        case ChargingSession.Pause:
            return _pause(stage, context, event)
        case ChargingSession.ServiceRenegotiation:
            return _renegotiate(stage, context, event)
    return Step(_response(context), Finished(), (event,))


def _pause(stage: Stage, context: RequestContext, event: Observe) -> Step:
    """Store the session if the vehicle can be identified when it returns (V2G20-2545).

    A session whose end has been requested is not stored.
    """
    selected = selected_of(stage)
    if context.stopping or not context.config.pause or selected is None or not context.connection.vehicle_certificate:
        raise refuse(ResponseCode.FAILED_PauseNotAllowed, "this session cannot be paused")
    opened = selected.authorized.opened
    paused = Paused(
        session_id=opened.session_id,
        vehicle=binding(opened.session_id, context.connection.vehicle_certificate),
        evcc_id=opened.evcc_id,
        contract=selected.contract,
        service=selected.service,
        control_mode=selected.control_mode,
        signed_discharge=selected.signed_discharge,
        checkpoints=selected.checkpoints,
        meter_begin=context.facts.meter_begin,
        added=selected.added,
        needs_by_secc=selected.needs_by_secc,
        pricing=selected.pricing,
        functions=selected.functions,
        allowed=context.facts.allowed,
    )
    session_id = paused.session_id.hex()
    commands = (
        SaveSession(paused),
        TransactionUpdated(session_id, "ChargingStateChanged", "SuspendedEV", power_w=0, soc=None),
        event,
    )
    return Step(_response(context), Finished(paused=paused), commands, followed="Pause")


def _renegotiate(stage: Stage, context: RequestContext, event: Observe) -> Step:
    """Return to ServiceDiscovery in the same session and authorization, if that was offered (V2G20-1477).

    Power that is still on is switched off. A session whose end has been requested is not renegotiated.
    """
    authorized: Authorized | None = authorized_of(stage)
    if context.stopping or not context.config.service_renegotiation or authorized is None:
        raise refuse(ResponseCode.FAILED_NoServiceRenegotiationSupported, "services are not renegotiated")
    return Step(_response(context), authorized, (*_off(context), event), followed="ServiceRenegotiation")


def _off(context: RequestContext) -> tuple[Command, ...]:
    """Return the commands that switch power off in a session that continues."""
    if not context.powered:
        return ()
    session_id = context.header.session_id.hex()
    return (
        EmergencyOff("service_renegotiation"),
        RecordMeter("stop", power_w=0, soc=None),
        TransactionUpdated(session_id, "ChargingStateChanged", "EVConnected", power_w=0, soc=None),
    )


def _response(context: RequestContext) -> SessionStopRes:
    return SessionStopRes(header=context.header, response_code=ResponseCode.OK)
