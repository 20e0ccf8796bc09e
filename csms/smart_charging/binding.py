"""What limits the power of each running transaction, and what it was asked for and does. Pure."""

from typing import Literal

import msgspec

from csms.sites.rules import Known, lines_in_use
from csms.smart_charging.charging_plans import VOLTAGE
from csms.transactions.rules import flowing_w

BoundName = Literal["share", "external", "vehicle", "set_point"]


class Bound(msgspec.Struct, frozen=True):
    """A limit (W): the site's share, an external limit, what the vehicle takes at most, or a set-point, below 0 out of
    the vehicle. `source` of an external limit: OCPP's ChargingLimitSource."""

    name: BoundName
    power_w: int
    source: str = ""


class LimitPoint(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of a transaction from `at_ms` (UTC) on, as `EvseLimits`."""

    at_ms: int
    setpoint_w: int | None
    bounds: tuple[Bound, ...]


class EvseLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of an EVSE's transaction, lowest first: that one binds. `setpoint_w`: what dispatch has asked for,
    `power_w`: what it draws by its last reading, both below 0 out of the vehicle."""

    station_id: str
    evse_id: int
    transaction_id: str
    power_w: str | None
    setpoint_w: int | None
    bounds: tuple[Bound, ...]


def evse_limits(station_id: str, known: Known, share_ma: int | None, phases: int = 3) -> EvseLimits | None:
    """Return the limits of an EVSE with so many phases; None without a transaction. `share_ma`: its limit on each of
    them, as its station accepted it."""
    transaction, needs = known.transaction, known.needs
    if transaction is None or transaction.evse_id is None:
        return None
    phases = len(lines_in_use(phases, known))
    bounds: list[Bound] = []
    if share_ma is not None:
        bounds.append(Bound("share", round(share_ma * VOLTAGE * phases / 1000)))
    bounds += [Bound("external", round(power_w), source) for source, power_w in known.external.items()]
    if needs is not None:
        most = (needs.most_w, round(needs.most_ma * VOLTAGE * phases / 1000))
        bounds += [Bound("vehicle", min(filter(None, most)))] if any(most) else []
    if known.dispatch_w is not None:
        bounds.append(Bound("set_point", known.dispatch_w))
    flows_w = flowing_w(transaction.power_w, transaction.charging_state)
    return EvseLimits(
        station_id=station_id,
        evse_id=transaction.evse_id,
        transaction_id=transaction.transaction_id,
        power_w=None if flows_w is None else str(flows_w),
        setpoint_w=known.dispatch_w,
        bounds=tuple(sorted(bounds, key=lambda each: each.power_w)),
    )
