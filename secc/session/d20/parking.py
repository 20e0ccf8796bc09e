"""Check-in to and check-out of the parking space (service ParkingStatus).

The place of these messages in the sequence is not public: check-in is accepted before charge parameters, check-out
after energy, and both at any time between on their side stream.
"""

from typing import Final

from msgspec.structs import replace

from secc.session.d20.stages import HANDLERS, SIDE_HANDLERS, RequestContext, Step, refuse
from secc.session.stages import Stage, selected_of
from v2g.iso15118.d20.messages import common_messages as iso
from v2g.iso15118.d20.messages.common_types import ResponseCode
from v2g.iso15118.d20.services import ServiceId
from v2g.iso15118.engine.v2gtp import PayloadType
from v2g.observe import Observe

_IN: Final = tuple(iso.EvCheckInStatus)
_OUT: Final = tuple(iso.EvCheckOutStatus)


@SIDE_HANDLERS[PayloadType.PARKING_STATUS].on_request(iso.VehicleCheckInReq)
@HANDLERS.on_request(iso.VehicleCheckInReq)
def check_in(request: iso.VehicleCheckInReq, stage: Stage, context: RequestContext) -> Step:
    """Send the vehicle its target and the remaining distance."""
    _require(stage, context)
    before, status = context.parking.check_in, request.ev_check_in_status
    _in_order(None if before is None else _IN.index(before), _IN.index(status), f"{status.value} after {before}")
    space = context.config.parking
    assert space is not None
    distance = None
    if space.device_location is not None and request.vehicle_travel is not None:
        ahead = space.device_location - request.vehicle_travel - (request.device_offset or 0)
        distance = max(-32768, min(32767, ahead))
    response = iso.VehicleCheckInRes(
        header=context.header,
        response_code=ResponseCode.OK,
        parking_space=space.space,
        device_location=space.device_location,
        target_distance=distance,
    )
    event = Observe(
        "parking", "check_in", {"status": status.value, "method": request.parking_method.value, "distance": distance}
    )
    return Step(response, stage, (event,), parking=replace(context.parking, check_in=status))


@SIDE_HANDLERS[PayloadType.PARKING_STATUS].on_request(iso.VehicleCheckOutReq)
@HANDLERS.on_request(iso.VehicleCheckOutReq)
def check_out(request: iso.VehicleCheckOutReq, stage: Stage, context: RequestContext) -> Step:
    """Let the vehicle leave once its time has come and there is no voltage at the output."""
    _require(stage, context)
    before, status = context.parking.check_out, request.ev_check_out_status
    _in_order(None if before is None else _OUT.index(before), _OUT.index(status), f"{status.value} after {before}")
    free = not context.powered and context.utc_ms >= request.check_out_time * 1000
    answer = iso.EvseCheckOutStatus.Completed if free else iso.EvseCheckOutStatus.Scheduled
    response = iso.VehicleCheckOutRes(
        header=context.header, response_code=ResponseCode.OK, evse_check_out_status=answer
    )
    event = Observe("parking", "check_out", {"status": status.value, "answer": answer.value})
    return Step(response, stage, (event,), parking=replace(context.parking, check_out=status))


def _require(stage: Stage, context: RequestContext) -> None:
    """Refuse a vehicle that has not selected the service."""
    selected = selected_of(stage)
    if context.config.parking is None or selected is None or ServiceId.PARKING_STATUS not in selected.added:
        raise refuse(ResponseCode.FAILED_SequenceError, "the service ParkingStatus was not selected")


def _in_order(before: int | None, now: int, what: str) -> None:
    """Require forward progress; after leaving, a vehicle may check in again."""
    if before is None or now >= before or (before == len(_IN) - 1 and now == 0):
        return
    raise refuse(ResponseCode.FAILED_SequenceError, what)
