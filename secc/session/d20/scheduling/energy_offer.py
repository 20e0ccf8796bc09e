"""The vehicle's price offer for discharged energy: read and checked here, answered by the back end."""

from secc.session.d20.quantities import scaled, to_w
from secc.session.stages import Vehicle
from v2g.energy.energy_offer import AskedPrice, AskedPrices, EnergyOffer, OfferedPower
from v2g.iso15118.d20.messages.schedules import EVEnergyOffer
from v2g.iso15118.d20.prices import Algorithm


def read_offer(offer: EVEnergyOffer) -> EnergyOffer:
    """Return an offer as numbers; sources disagree on the sign of discharge power, so its magnitude counts."""
    power, price = offer.ev_power_schedule, offer.ev_absolute_price_schedule
    return EnergyOffer(
        power_from_s=power.time_anchor,
        powers=tuple(
            OfferedPower(each.duration, abs(to_w(each.power)))
            for each in power.ev_power_schedule_entries.ev_power_schedule_entry
        ),
        price_from_s=price.time_anchor,
        currency=price.currency,
        algorithm=price.price_algorithm,
        prices=tuple(
            AskedPrices(
                stack.duration,
                tuple(AskedPrice(abs(to_w(r.power_range_start)), scaled(r.energy_fee, 6)) for r in stack.ev_price_rule),
            )
            for stack in price.ev_price_rule_stacks.ev_price_rule_stack
        ),
    )


def impossible(offer: EnergyOffer, vehicle: Vehicle, *, bidirectional: bool) -> str:
    """Return the error in an offer, or empty."""
    if not bidirectional:
        return "energy is offered by a service without discharge"
    if any(each.duration_s < 1 for each in offer.powers) or any(each.duration_s < 1 for each in offer.prices):
        return "an interval of the offer has no duration"
    if any(each.power_w > vehicle.max_discharge_w for each in offer.powers):
        return "more power is offered than the vehicle can discharge"
    if offer.algorithm not in {each.uri for each in Algorithm}:
        return f"price algorithm {offer.algorithm!r} is not known"
    for stack in offer.prices:
        starts = [rule.from_w for rule in stack.rules]
        if starts != sorted(set(starts)):
            return "power ranges of the offer must rise"
    if not (len(offer.currency) == 3 and offer.currency.isascii() and offer.currency.isupper()):
        return f"{offer.currency!r} is not a currency"
    return ""
