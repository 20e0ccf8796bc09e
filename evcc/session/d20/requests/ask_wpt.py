"""The requests of wireless power: the secondary device's limits, and its requested power."""

from evcc.session.d20.quantities import whole
from evcc.session.d20.request_context import RequestContext
from evcc.session.d20.requests.needs import display
from evcc.session.program import PowerRequest
from v2g.iso15118.d20.messages.common_types import Processing
from v2g.iso15118.d20.messages.wpt import (
    WPT_AlignmentCheckReq,
    WPT_ChargeLoopReq,
    WPT_ChargeParameterDiscoveryReq,
    WPT_EVPCChargeDiagnostics,
    WPT_EVResult,
    WPT_FinePositioningReq,
    WPT_FinePositioningSetupReq,
    WPT_PairingReq,
)
from v2g.iso15118.d20.wpt_methods import MethodLists, method_lists


def methods(context: RequestContext) -> MethodLists:
    """Return the methods that the vehicle supports."""
    device = context.config.wireless
    return method_lists(device.positioning, device.pairing, device.alignment)


def setup(context: RequestContext) -> WPT_FinePositioningSetupReq:
    """Send the methods that the vehicle supports."""
    ours = methods(context)
    return WPT_FinePositioningSetupReq(
        header=context.header(),
        ev_processing=Processing.Finished,
        ev_device_fine_positioning_method_list=ours.positioning,
        ev_device_pairing_method_list=ours.pairing,
        ev_device_alignment_check_method_list=ours.alignment,
        natural_offset=context.config.wireless.natural_offset_mm,
    )


def position(context: RequestContext, *, in_place: bool) -> WPT_FinePositioningReq:
    """Report whether the vehicle is in its place."""
    return WPT_FinePositioningReq(
        header=context.header(), ev_processing=_processing(in_place), ev_result_code=_result(in_place)
    )


def pair(context: RequestContext, observed: int | None, *, done: bool) -> WPT_PairingReq:
    """Report the vehicle's observation, and whether it has completed its part."""
    return WPT_PairingReq(
        header=context.header(),
        ev_processing=_processing(done),
        observed_id_code=observed,
        ev_result_code=_result(done),
    )


def align(context: RequestContext, *, aligned: bool) -> WPT_AlignmentCheckReq:
    """Request a coil current, and report whether its power is received."""
    return WPT_AlignmentCheckReq(
        header=context.header(),
        ev_processing=_processing(aligned),
        target_coil_current=whole(context.config.wireless.coil_current_a),
        ev_result_code=_result(aligned),
    )


def charge_parameters(context: RequestContext) -> WPT_ChargeParameterDiscoveryReq:
    """Send the secondary device's limits."""
    device = context.config.wireless
    return WPT_ChargeParameterDiscoveryReq(
        header=context.header(),
        evpc_max_receivable_power=whole(context.max_charge_w),
        sd_max_ground_clearence=device.max_clearance_mm,
        sd_min_ground_clearence=device.min_clearance_mm,
        evpc_natural_frequency=whole(device.natural_frequency_hz),
        evpc_device_local_control=False,
    )


def charge_loop(context: RequestContext, power_request: PowerRequest) -> WPT_ChargeLoopReq:
    """Send the requested and the received power."""
    return WPT_ChargeLoopReq(
        header=context.header(),
        display_parameters=display(context),
        meter_info_requested=True,
        evpc_power_request=whole(power_request.charge_w),
        evpc_power_output=whole(received_w(context)),
        evpc_charge_diagnostics=WPT_EVPCChargeDiagnostics.EVPCNoIssue,
    )


def received_w(context: RequestContext) -> int:
    """Return the received power, W."""
    return max(0, context.inlet.voltage_mv * context.inlet.current_ma // 1_000_000)


def _processing(finished: bool) -> Processing:
    return Processing.Finished if finished else Processing.Ongoing


def _result(known: bool) -> WPT_EVResult:
    return WPT_EVResult.EVResultSuccess if known else WPT_EVResult.EVResultUnknown
