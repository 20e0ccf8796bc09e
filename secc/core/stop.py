"""The end of a session."""

from secc.core.context import Finished, Step, World, refuse
from v2g.iso15118.messages.common_messages import ChargingSession, SessionStopReq, SessionStopRes
from v2g.iso15118.messages.common_types import ResponseCode
from v2g.observe import Observe


def session_stop(request: SessionStopReq, context: object, world: World) -> Step:
    """End the session. Sessions are neither kept for a pause nor sent back to service selection here."""
    match request.charging_session:
        case ChargingSession.Pause:
            raise refuse(ResponseCode.FAILED_PauseNotAllowed, "a paused session is not kept")
        case ChargingSession.ServiceRenegotiation:  # V2G20-1477: ServiceDiscoveryRes said so
            raise refuse(ResponseCode.FAILED_NoServiceRenegotiationSupported, "services are not renegotiated")
    event = Observe(
        "stop",
        "session_stop",
        {"code": request.ev_termination_code, "explanation": request.ev_termination_explanation},
    )
    response = SessionStopRes(header=world.header, response_code=ResponseCode.OK)
    return Step(response, Finished(), (event,))
