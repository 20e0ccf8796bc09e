"""Notes each minute what this node's set-points ask for, what vehicles follow of them, and their power."""

from typing import Final

from csms.db.queries import charging, overview
from csms.ocpp.base import Services

_MINUTE_MS: Final = 60_000


async def note(services: Services) -> None:
    """Store this minute's point, unless it is stored, or no set-point is in force. Raises StoreError."""
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
    powers = [each.watts for each in running if (each.station_id, each.transaction_id) in followed]
    point = charging.CoursePoint(
        at_ms=at_ms,
        asked_w=sum(each.setpoint_w for each in in_force),
        accepted_w=sum(followed.values()),
        delivered_w=round(sum(powers)),
        vehicles=len(followed),
    )
    await services.store.run(charging.note_course, services.feed.node, point)
