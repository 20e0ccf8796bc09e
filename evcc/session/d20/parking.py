"""Check-in to the parking space before charging, and check-out afterwards (service ParkingStatus)."""

from typing import Final

from msgspec.structs import replace

from evcc.session.d20.request_context import RequestContext
from evcc.session.d20.requests import ask
from evcc.session.d20.stages import CheckingIn, CheckingOut, Step
from evcc.session.d20.stop import session_stop
from evcc.session.paused import Choice
from evcc.session.ports import DriveIn, DroveIn
from evcc.session.steps import seen
from v2g.iso15118.d20.messages.common_messages import (
    EvCheckInStatus,
    EvCheckOutStatus,
    EvseCheckOutStatus,
    ParkingMethod,
    VehicleCheckInReq,
    VehicleCheckInRes,
    VehicleCheckOutReq,
    VehicleCheckOutRes,
)

PATIENCE_S: Final = 60.0
"""How long the vehicle requests to leave before it ends the session anyway."""


def ask_check_in(choice: Choice, context: RequestContext) -> Step:
    """Announce the vehicle to the charger."""
    return Step(stage=CheckingIn(choice), request=_check_in(EvCheckInStatus.CheckIn, None, context))


def on_check_in(
    stage: CheckingIn, request: VehicleCheckInReq, response: VehicleCheckInRes, context: RequestContext
) -> Step:
    """Drive on until in place; then continue with the charge parameters."""
    guided = seen(
        "parking",
        "guided",
        status=request.ev_check_in_status.value,
        space=response.parking_space,
        ahead_cm=response.target_distance,
    )
    if stage.in_place:
        return replace(ask.charge_parameters(stage.choice, context), observed=(guided,))
    again = context.config.timers.evcc_sequence_performance / 2  # the charger times out a silent vehicle
    return Step(stage=stage, commands=(DriveIn(response.target_distance),), observed=(guided,), wait=again)


def repeat_check_in(stage: CheckingIn, request: VehicleCheckInReq, context: RequestContext) -> Step:
    """Report that the vehicle is still on its way."""
    return Step(stage=stage, request=_check_in(EvCheckInStatus.Processing, request.vehicle_travel, context))


def on_drove(stage: CheckingIn, fact: DroveIn, context: RequestContext) -> Step:
    """Report the vehicle's position."""
    status = EvCheckInStatus.Completed if fact.in_place else EvCheckInStatus.Processing
    request = _check_in(status, fact.travel_cm, context)
    return Step(stage=replace(stage, in_place=fact.in_place), request=request)


def repeat_check_out(stage: CheckingOut, request: VehicleCheckOutReq, context: RequestContext) -> Step:
    """Repeat the request."""
    return Step(stage=stage, request=ask.check_out(EvCheckOutStatus.Processing, context))


def on_check_out(
    stage: CheckingOut, request: VehicleCheckOutReq, response: VehicleCheckOutRes, context: RequestContext
) -> Step:
    """End the session once the charger lets the vehicle leave, or after a timeout."""
    free = response.evse_check_out_status is EvseCheckOutStatus.Completed
    if free and request.ev_check_out_status is not EvCheckOutStatus.Completed:
        return Step(stage=stage, request=ask.check_out(EvCheckOutStatus.Completed, context))
    if not free and context.now - stage.since < PATIENCE_S:
        return Step(stage=stage, wait=context.config.timing.poll_pause_s)
    return session_stop(context, stage.ending, observed=(seen("parking", "left", free=free),))


def _check_in(status: EvCheckInStatus, travel_cm: int | None, context: RequestContext) -> VehicleCheckInReq:
    method = context.config.services.parking
    return VehicleCheckInReq(
        header=context.header(),
        ev_check_in_status=status,
        parking_method=ParkingMethod("Manual" if method == "none" else method),
        vehicle_travel=None if travel_cm is None else max(-32768, min(32767, travel_cm)),
    )
