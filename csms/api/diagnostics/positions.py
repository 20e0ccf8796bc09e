"""Positions of vehicles as they move, for maps (R177): of those that have consented, for roles that see routes."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

from csms.api.diagnostics.events import ALIVE, ALIVE_S, EVENT_STREAM, stream_of
from csms.api.http.call import Call, encode
from csms.api.http.operations import get
from csms.domain.diagnostics.vehicle_state import VehicleState
from csms.domain.security.access import Permission, may_handle, sees
from v2g.telemetry.signals import LATITUDE, LONGITUDE

_GATHER_S: Final = 0.05
"""Vehicles that move within this time share an event."""

_AT_ONCE: Final = 1000


@get("/vehicle-positions", Permission.READ_ROUTES, media_type=EVENT_STREAM, streams=True, answer=str)
async def stream_positions(call: Call) -> Any:
    """Stream positions of all vehicles that the caller may see: first all, then each that moves.

    `event` is `positions`, `data` an array of [vehicle, latitude, longitude, time in ms since 1970]. Vehicles without
    consent deliver no position; where it is withdrawn, they become null with the next record of all signals.
    """
    return stream_of(call, _positions(call))


async def _positions(call: Call) -> AsyncIterator[bytes]:
    latest, caller = call.backend.latest, call.caller
    if not sees(caller, LATITUDE):
        return
    with latest.watched() as changes:
        moved: Iterable[str] = [each.ev for each in latest.all()]
        located: set[str] = set()
        while True:
            found = {ev: _place(latest.get(ev)) for ev in moved if may_handle(caller, ev)}
            points = [(ev, *at) for ev, at in found.items() if at is not None]
            gone = [ev for ev, at in found.items() if at is None and ev in located]
            located.update(ev for ev, *_ in points)
            located.difference_update(gone)
            points += [(ev, None, None, 0) for ev in gone]
            for start in range(0, len(points), _AT_ONCE):
                yield b"event: positions\ndata: " + encode(points[start : start + _AT_ONCE]) + b"\n\n"
            moved = await changes.take(ALIVE_S)
            if not moved:
                yield ALIVE
                continue
            await asyncio.sleep(_GATHER_S)
            moved = moved | await changes.take(0)


def _place(state: VehicleState | None) -> tuple[float | None, float | None, int] | None:
    latitude, longitude = (None, None) if state is None else map(state.present, (LATITUDE, LONGITUDE))
    if latitude is None or longitude is None:
        return None
    return round(float(latitude.value), 6), round(float(longitude.value), 6), max(latitude.at_ms, longitude.at_ms)
