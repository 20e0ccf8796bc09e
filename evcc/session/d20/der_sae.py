"""AC DER by SAE (Amendment 1): the charger's demands, as far as public facts carry (R221).

Loaded by the first session of it. A function that is enabled and has no meaning here ends discharge, not the session.
"""

from typing import Final, TypeAlias, TypeVar

from msgspec.structs import replace

from evcc.session.d20.der import Outcome
from evcc.session.d20.der import within as within_limits
from evcc.session.d20.request_context import Plan, RequestContext
from evcc.session.d20.stages import Parametrizing
from evcc.session.ports import SetGridSupport
from evcc.session.steps import seen
from v2g.energy.grid_support import NO_SUPPORT, GridSupport
from v2g.exi.declare import Element
from v2g.iso15118.d20.der import real
from v2g.iso15118.d20.der_sae import Blocks, enabled_modes, support_of
from v2g.iso15118.d20.messages import ac_der_sae as iso
from v2g.iso15118.d20.messages.common_types import Processing
from v2g.observe import Observe

_Mode: TypeAlias = (
    iso.DER_AC_CPDResEnergyTransferMode | iso.DER_Dynamic_AC_CLResControlMode | iso.DER_Scheduled_AC_CLResControlMode
)
_PARTS: Final = (
    iso.DER_Dynamic_AC_CLResControlMode,
    iso.DER_Scheduled_AC_CLResControlMode,
    iso.DERControlCLRes,
    iso.ReactivePowerSupportCLRes,
    iso.ActivePowerSupportCLRes,
)
"""What leaves out its parts that have not changed."""


def demanded(stage: Parametrizing, mode: Element, context: RequestContext) -> Outcome:
    """See `der.demanded`."""
    assert isinstance(mode, iso.DER_AC_CPDResEnergyTransferMode)
    grid, blocks = mode.grid_limits, mode.der_control_cpd_res
    permit = blocks.enter_service_cpd_res.permit_service
    ongoing = mode.evse_processing is not Processing.Finished
    volts, hertz = real(grid.grid_nominal_voltage), real(grid.grid_nominal_frequency)
    support, wrong = _read(blocks, NO_SUPPORT, volts, hertz, context)
    wrong = wrong or _unlike(mode)
    enabled = enabled_modes(NO_SUPPORT if wrong else support, permit=permit and not wrong)
    return Outcome(support, wrong, ongoing=ongoing, enabled=enabled, grid=(volts, hertz))


def _read(
    blocks: Blocks, before: GridSupport, volts: float, hertz: float, context: RequestContext
) -> tuple[GridSupport, str]:
    """Return the functions that are enabled, and what is wrong with them."""
    most_w = context.config.on_board_charger.max_discharge_w
    try:
        support = support_of(blocks, before, most_w=most_w, nominal_v=volts, nominal_hz=hertz)
    except ValueError as error:
        return before, str(error)
    lacking = support.functions - frozenset(context.config.services.der_functions)
    if lacking:
        return before, f"the vehicle lacks {' '.join(sorted(lacking))}"
    return support, support.wrong_at(hertz)


def _unlike(mode: _Mode) -> str:
    """Return why the vehicle's inverter cannot run at such a grid, or empty."""
    if mode.required_der_operating_mode not in (None, iso.RequiredDEROperatingMode.GridFollowing):
        return "the vehicle is asked to form a grid"
    islanded = mode.grid_connection_mode not in (None, iso.GridConnectionMode.GridConnected)
    return "the grid is islanded" if islanded else ""


_Said = TypeVar("_Said", bound=Element)


def _over(before: Element | None, new: _Said) -> _Said:
    """Return a part of a loop response with what it leaves out as said before: only changes are sent. A power alone is
    that of all phases, whatever was said of L2 and L3."""
    if before is None or not isinstance(new, _PARTS):
        return new
    said = {name: getattr(before, name) for name in new.__struct_fields__}
    changed = {name: _over(said[name], value) for name in said if (value := getattr(new, name)) is not None}
    return type(new)(**{name: value for name, value in said.items() if name[:-3] not in changed} | changed)


def follow(
    plan: Plan, mode: Element, context: RequestContext
) -> tuple[Plan, tuple[SetGridSupport, ...], tuple[Observe, ...]]:
    """Take over functions that change in the loop (V2G20-3358 to -3361), and whether the vehicle may feed back."""
    assert plan.support is not None
    assert isinstance(mode, iso.DER_Dynamic_AC_CLResControlMode | iso.DER_Scheduled_AC_CLResControlMode)
    said = _over(plan.said, mode)
    blocks = said.der_control_cl_res
    support, wrong = _read(blocks, plan.support, *plan.grid, context)
    wrong = wrong or _unlike(said)
    permit = blocks.enter_service_cl_res.permit_service and not wrong
    changed = (SetGridSupport(support),) if support != plan.support else ()
    dropped, observed = (wrong,) if wrong else (), tuple[Observe, ...]()
    if changed or dropped != plan.dropped:
        functions = " ".join(sorted(support.functions))
        observed = (seen("loop", "setpoints", functions=functions, dropped=wrong),)
    enabled = enabled_modes(support, permit=permit)
    return replace(plan, support=support, dropped=dropped, enabled=enabled, said=said), changed, observed


def within(power_w: int, mode: Element, plan: Plan, context: RequestContext) -> int:
    """Return a power (W) within the limits of the loop's responses; without permission, or by demands that the vehicle
    cannot follow, it does not feed back."""
    assert plan.said is not None
    service = mode.der_control_cl_res.enter_service_cl_res  # type: ignore[attr-defined] # both modes have it
    power_w = within_limits(power_w, plan.said, plan, context)
    return power_w if service.permit_service and not plan.dropped and not plan.choice.lacking else max(0, power_w)
