"""From the agreed schedule to the first step towards power, by kind of energy transfer."""

from typing import Final

from msgspec.structs import replace

from evcc.session.d20 import requests as ask
from evcc.session.d20.request_context import Plan, RequestContext
from evcc.session.d20.stages import Aligning, CableChecking, ConnectingDevice, Step, fail
from evcc.session.ports import SetCpState, SetPowerLimits
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages import acdp as iso
from v2g.iso15118.d20.messages.dc import DC_CableCheckReq
from v2g.iso15118.engine.v2gtp import PayloadType

_STATE_B: Final = iso.ElectricalChargingDeviceStatus.State_B


def begin(plan: Plan, context: RequestContext) -> Step:
    """Return the step after the schedule."""
    match plan.choice.family:
        case Family.AC:  # V2G20-847: state C at most 250 ms after the request, V2G20-1617: not before
            return replace(ask.power_start(plan, context), then=(SetCpState(PilotState.C),))
        case Family.WPT:
            # request a little power, and accept it: the power received shows the alignment
            return Step(
                stage=Aligning(plan, until=context.now + context.config.timing.place_s),
                request=ask.align(context, aligned=False),
                commands=(SetPowerLimits(context.max_charge_w, 0),),
            )
        case Family.ACDP:
            # ask the charger to connect its device, and report the vehicle's state on the side stream
            technical = iso.EVTechnicalStatus(
                ev_ready_to_charge=not context.battery.fault,
                ev_immobilization_request=False,
                ev_immobilized=True,
                ev_soc=round(context.battery.soc),
            )
            status = iso.ACDP_SystemStatusReq(header=context.header(), ev_technical_status=technical)
            return Step(
                stage=ConnectingDevice(plan),
                request=iso.ACDP_ConnectReq(header=context.header(), ev_electrical_charging_device_status=_STATE_B),
                beside=((PayloadType.ACDP_SYSTEM_STATUS, status),),
            )
        case _:
            return begin_cable_check(plan, context)


def begin_cable_check(plan: Plan, context: RequestContext) -> Step:
    """Request the insulation test, in state C (V2G20-1418), with an open contactor."""
    if context.contactor_closed:
        return fail(CableChecking(plan), "contactor_welded")
    return Step(
        stage=CableChecking(plan),
        request=DC_CableCheckReq(header=context.header()),
        commands=(SetCpState(PilotState.C),),
    )
