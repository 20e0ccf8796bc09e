"""The charge parameters of ISO 15118-2: with alternating current energy begins at once after them."""

from msgspec.structs import replace

from evcc.session.context import EvseLimits
from evcc.session.ports import SetCpState
from evcc.session.steps import seen
from evcc.session.v2g_message import energy
from evcc.session.v2g_message.context import MessageContext
from evcc.session.v2g_message.stages import Parametrizing, Starting, Step, fail
from evcc.session.v2g_message.status import wanted_end
from evcc.session.v2g_message.stop import stop
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d2.messages.common import ChargeParameterDiscoveryReq, ChargeParameterDiscoveryRes
from v2g.iso15118.d2.messages.data_types import EVSEProcessing
from v2g.iso15118.d2.messages.parameters import AC_EVSEChargeParameter
from v2g.iso15118.engine.physical_values import milliamperes, millivolts
from v2g.safety.output import UNBOUNDED


def on_parameters(
    stage: Parametrizing,
    request: ChargeParameterDiscoveryReq,
    response: ChargeParameterDiscoveryRes,
    context: MessageContext,
) -> Step:
    """Wait for limits and schedule; then check the cable, or with alternating current start energy."""
    if context.choice is None or not context.choice.phases:
        return energy.on_parameters(stage, request, response, context)
    parameter = response.evse_charge_parameter
    if not isinstance(parameter, AC_EVSEChargeParameter):
        return fail(stage, "wrong_charge_parameters", received=type(parameter).__name__)
    ending = wanted_end(parameter.ac_evse_status)
    if ending is not None:
        return stop(stage, context, ending)
    if response.evse_processing is not EVSEProcessing.Finished:
        return Step(stage=replace(stage, polls=stage.polls + 1), wait=context.config.timing.poll_pause_s)
    limits = EvseLimits(
        charge_w=UNBOUNDED,
        charge_ma=max(0, milliamperes(parameter.evse_max_current)),
        voltage_mv=max(0, millivolts(parameter.evse_nominal_voltage)),
    )
    exchanged = seen(
        "parameters",
        "exchanged",
        evse_charge_w=context.choice.phases * limits.charge_ma * limits.voltage_mv // 1_000_000,
        ev_charge_w=context.max_charge_w,
        soc=context.battery.soc,
    )
    plan, observed = context.vocabulary.agree(response, limits, context)
    return Step(
        stage=Starting(plan),
        request=context.vocabulary.power_start(plan, context),
        then=() if stage.again else (SetCpState(PilotState.C),),  # within 250 ms after the request [V2G2-847]
        observed=(exchanged, *observed, energy.agreed_event(plan, context)),
    )
