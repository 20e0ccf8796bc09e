"""The scripted station notices what a back end must not send, so that its tests can fail."""

import asyncio
import json

import pytest

from tests.csms.scripted_station import Refused, ScriptedStation, Wire


async def answered(frame: str) -> ScriptedStation:
    wire = Wire()
    station = ScriptedStation(wire, "CS", "2.0.1")
    await wire.send(frame)
    await wire.close()
    try:
        await station.ended()
    finally:
        await station.stop()
    return station


@pytest.mark.parametrize(
    "frame",
    [
        [2, "1", "Reset", {}],
        [2, "1", "Reset", {"type": "Immediately"}],
        [2, "1" * 37, "Reset", {"type": "OnIdle"}],
        [4, "1", "NoSuchCode", "", {}],
        [4, "1", "InternalError", ""],
        [5, "1", "InternalError", "", {}],
        [3, "1", {}],
    ],
)
async def test_a_frame_against_the_rules_fails_the_test(frame: list[object]) -> None:
    with pytest.raises(AssertionError):
        await answered(json.dumps(frame))


async def test_an_answer_against_the_schema_fails_the_call() -> None:
    wire = Wire()
    station = ScriptedStation(wire, "CS", "2.0.1")
    call = asyncio.create_task(station.call("Heartbeat"))
    assert json.loads(await wire.recv()) == [2, "cs-1", "Heartbeat", {}]
    await wire.send(json.dumps([3, "cs-1", {"currentTime": 1}]))
    with pytest.raises(AssertionError, match="HeartbeatResponse"):
        await call
    with pytest.raises(AssertionError):
        await station.stop()


async def test_requests_are_kept_and_answered_as_the_test_says() -> None:
    wire = Wire()
    station = ScriptedStation(wire, "CS", "2.0.1")
    station.answers["Reset"] = Refused("InternalError", "not now")
    await wire.send(json.dumps([2, "1", "Reset", {"type": "OnIdle"}]))
    assert json.loads(await wire.recv()) == [4, "1", "InternalError", "not now", {}]
    await wire.send(json.dumps([2, "2", "ClearCache", {}]))
    (await station.expect("ClearCache")).reply({"status": "Accepted"})
    assert json.loads(await wire.recv()) == [3, "2", {"status": "Accepted"}]
    assert station.calls == [("Reset", {"type": "OnIdle"}), ("ClearCache", {})]
    await station.stop()
