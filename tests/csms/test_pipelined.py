"""Stations that do not wait for answers: each request is answered, in its order, and none before its time."""

import json
from typing import Any

from tests.csms.killed import event_frame
from tests.csms.support import Running

BOOT = {"reason": "PowerUp", "chargingStation": {"model": "M", "vendorName": "V"}}
STATUS = {"timestamp": "2026-01-01T00:00:00Z", "connectorStatus": "Available", "evseId": 1, "connectorId": 1}


async def answers(websocket: Any, count: int) -> list[Any]:
    """Return that many answers, and pass over what the back end asks."""
    found: list[Any] = []
    while len(found) < count:
        frame = json.loads(await websocket.recv())
        if frame[0] != 2:
            found.append(frame)
    return found


async def test_a_boot_and_the_status_in_one_go_are_both_taken(csms: Running) -> None:
    async with csms.connect() as websocket:
        await websocket.send(json.dumps([2, "boot", "BootNotification", BOOT]))
        await websocket.send(json.dumps([2, "status", "StatusNotification", STATUS]))
        assert [frame[:2] for frame in await answers(websocket, 2)] == [[3, "boot"], [3, "status"]]


async def test_forty_calls_at_once_are_answered_in_order(csms: Running) -> None:
    async with csms.connect() as websocket:
        await websocket.send(json.dumps([2, "boot", "BootNotification", BOOT]))
        frames = [event_frame("T", number, "Updated" if number else "Started") for number in range(40)]
        frames[10] = json.dumps([2, "authorize", "Authorize", {"idToken": {"idToken": "A", "type": "Central"}}])
        frames[20] = json.dumps([2, "beat", "Heartbeat", {}])
        for frame in frames:
            await websocket.send(frame)
        asked = ["boot", *(json.loads(frame)[1] for frame in frames)]
        assert [frame[:2] for frame in await answers(websocket, 41)] == [[3, each] for each in asked]
