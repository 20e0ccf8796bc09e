"""Positions of vehicles as they move, for maps (R177): of those that have consented, for roles that see routes."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

from csms.api.diagnostics.events import ALIVE, ALIVE_S, EVENT_STREAM, stream_of
from csms.api.http.call import Call, encode
from csms.api.http.operations import get
from csms.domain.diagnostics.vehicle_state import VehicleState
from csms.domain.security.access import Permission, may_handle, sees

LATITUDE: Final = "location.latitude"
LONGITUDE: Final = "location.longitude"

_GATHER_S: Final = 0.05
"""Vehicles that move within this time share an event."""

_AT_ONCE: Final = 1000


@get("/vehicle-positions", Permission.READ_ROUTES, media_type=EVENT_STREAM, streams=True, answer=str)
async def stream_positions(call: Call) -> Any:
    """Stream positions of all vehicles that the caller may see: first all, then each that moves.

    `event` is `positions`, `data` an array of [vehicle, latitude, longitude, time in ms since 1970]. Vehicles without
    consent deliver no position.
    """
    return stream_of(call, _positions(call))


async def _positions(call: Call) -> AsyncIterator[bytes]:
    latest, caller = call.backend.latest, call.caller
    if not sees(caller, LATITUDE):
        return
    with latest.watched() as changes:
        moved: Iterable[str] = [each.ev for each in latest.all()]
        while True:
            known = [latest.get(ev) for ev in moved if may_handle(caller, ev)]
            points = [point for each in known if each is not None and (point := _point(each)) is not None]
            for start in range(0, len(points), _AT_ONCE):
                yield b"event: positions\ndata: " + encode(points[start : start + _AT_ONCE]) + b"\n\n"
            moved = await changes.take(ALIVE_S)
            if not moved:
                yield ALIVE
                continue
            await asyncio.sleep(_GATHER_S)
            moved = moved | await changes.take(0)


def _point(state: VehicleState) -> tuple[str, float, float, int] | None:
    latitude, longitude = state.readings.get(LATITUDE), state.readings.get(LONGITUDE)
    if latitude is None or longitude is None:
        return None
    at_ms = max(latitude.at_ms, longitude.at_ms)
    return state.ev, round(float(latitude.value), 6), round(float(longitude.value), 6), at_ms


OPERATIONS = (stream_positions,)
