"""The driver's needs and the vehicle's capabilities as values for messages of all kinds of current."""

from evcc.policy import policy
from evcc.session.context import energy_up_to
from evcc.session.d20.quantities import whole
from evcc.session.d20.request_context import Agreement, Outlook, Plan, RequestContext
from evcc.session.program import PowerRequest
from v2g.iso15118.d20.messages.common_types import DisplayParameters, RationalNumber


def energy_requests(context: RequestContext, outlook: Outlook | None = None) -> tuple[int, int, int]:
    """Return target, maximum and minimum energy to charge, Wh, with minimum <= target <= maximum.

    The target is the driver's need, or more if a plan by prices charges more.
    """
    needs, most = context.config.needs, _up_to(100.0, context)
    target = _up_to(needs.target_soc, context)
    if outlook is not None and outlook.plan is not None:
        present_wh = int(context.battery.capacity_wh * context.battery.soc / 100)
        target = min(most, max(target, outlook.plan.energy_wh - present_wh))
    return target, most, _up_to(needs.minimum_soc, context)


def v2x_requests(plan: Plan, context: RequestContext) -> dict[str, RationalNumber]:
    """Return the energy available for V2X, Wh, as fields of a Dynamic request; none without compensation.

    The minimum is negative while energy above the driver's reserve can be discharged. A vehicle that follows the
    charger's set-point also sends how far it is above the charge that its driver needs, as a negative minimum.
    """
    config, terms = context.config.discharge, context.terms
    follows = any(step.do == "follow" for step in context.config.program)
    if (plan.outlook is None and not follows) or not config.enabled:
        return {}
    if terms is None or context.agreement is not Agreement.AGREED:
        return {}
    if not policy.pays_later(config, terms, utc_ms=context.utc_ms, departure_ms=context.departure_ms):
        return {}
    reserve = max(config.minimum_soc, config.departure_soc or 0.0)
    fields = {
        "ev_maximum_v2x_energy_request": whole(_up_to(100.0, context)),
        "ev_minimum_v2x_energy_request": whole(energy_up_to(reserve, context)),
    }
    if follows:
        fields["ev_minimum_energy_request"] = whole(energy_up_to(context.config.needs.minimum_soc, context))
    return fields


def _up_to(soc: float, context: RequestContext) -> int:
    return max(0, energy_up_to(soc, context))


def discharge_capability_w(context: RequestContext) -> int:
    """Return the possible discharge, W, regardless of the request."""
    config = context.config.discharge
    return min(config.max_power_w, context.max_discharge_w) if config.enabled else 0


def discharge_limit_w(plan: Plan, context: RequestContext, power_request: PowerRequest) -> int:
    """Return the vehicle's limit of discharge.

    If discharge requires signed commands it is the battery's capability, so that offers can be made at
    any time; by the plain standard the charger may use it at once, so it is the present request.
    """
    return power_request.discharge_w if plan.choice.signed_set is None else discharge_capability_w(context)


def display(context: RequestContext) -> DisplayParameters:
    battery, needs = context.battery, context.config.needs
    return DisplayParameters(
        present_soc=round(battery.soc),
        minimum_soc=round(needs.minimum_soc),
        target_soc=round(needs.target_soc),
        maximum_soc=100,
        charging_complete=battery.soc >= needs.target_soc,
        battery_energy_capacity=whole(battery.capacity_wh),
    )
