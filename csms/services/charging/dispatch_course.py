"""Notes each minute what this node's set-points ask for, what vehicles follow of them, and their power; also of each
fleet, beside its plan."""

from typing import Final

from csms.db.queries import charging, fleets, overview
from csms.domain.charging.fleets import vehicle_id
from csms.ocpp.base import Services

_MINUTE_MS: Final = 60_000


async def note(services: Services) -> None:
    """Store this minute's points, unless they are stored, or no set-point is in force. Raises StoreError."""
    now_ms, orders = services.clock.utc_ms(), services.orders
    at_ms = now_ms // _MINUTE_MS * _MINUTE_MS
    if at_ms == orders.noted_ms or not (in_force := orders.touched((None,), now_ms)):
        return
    orders.noted_ms = at_ms
    followed = {
        key: watts
        for key, watts in (await services.store.read(charging.following, now_ms)).items()
        if any(each.concerns(key[0]) for each in in_force)
    }
    running = await services.store.read(overview.powers, frozenset(station for station, _ in followed))
    powers = {(each.station_id, each.transaction_id): each.watts for each in running}
    point = charging.CoursePoint(
        at_ms=at_ms,
        asked_w=sum(each.setpoint_w for each in in_force),
        accepted_w=sum(followed.values()),
        delivered_w=round(sum(powers.get(key, 0) for key in followed)),
        vehicles=len(followed),
    )
    await services.store.run(charging.note_course, services.feed.node, point)
    for order in {each.fleet: each for each in in_force if each.fleet}.values():
        of_fleet = [key for key in followed if vehicle_id(*key) in (order.parts or {})]
        of_plan = fleets.FleetPoint(
            at_ms=at_ms,
            planned_w=order.planned_w,
            asked_w=order.setpoint_w,
            accepted_w=sum(followed[key] for key in of_fleet),
            delivered_w=round(sum(powers.get(key, 0) for key in of_fleet)),
            vehicles=len(of_fleet),
        )
        await services.store.run(fleets.note_course, order.fleet, of_plan)
