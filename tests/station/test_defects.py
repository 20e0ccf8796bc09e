"""A defect in a block, or a number that none expects, costs one message or one turn of a timer, never the station."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from ocpp.exceptions import PropertyConstraintViolationError

from tests.secc.backend import Backend, backend
from tests.station.bench import SOCKET, Bench, Refused
from v2g.io.websocket.client import OcppSocket, connect
from v2g.ocpp.messages.availability import HeartbeatRequest
from v2g_station.blocks.evse import Fault
from v2g_station.simulator.behaviour import Behaviour
from v2g_station.simulator.fleet import Simulator, StationFleet

MONITOR: dict[str, Any] = {
    "type": "PeriodicClockAligned",
    "severity": 5,
    "component": {"name": "ClockCtrlr"},
    "variable": {"name": "DateTime"},
}


async def with_station(csms: Backend, work: Callable[[Simulator], Any]) -> None:
    """Connect one simulated station over a websocket, and do something with it."""
    quiet = Behaviour(arrivals_per_hour=0, offline_per_day=0)
    simulator = Simulator(StationFleet(url=f"ws://127.0.0.1:{csms.port}/ocpp", behaviour=quiet))
    running = asyncio.create_task(simulator.run(None))
    try:
        await csms.wait("BootNotification")
        await work(simulator)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_no_number_of_a_csms_silences_a_station() -> None:
    async def work(_: Simulator) -> None:
        for value in (1e308, -1e308, 1e16):
            with pytest.raises(PropertyConstraintViolationError):
                await csms.ask("SetVariableMonitoring", set_monitoring_data=[{**MONITOR, "value": value}])
        answer = await csms.ask("SetVariableMonitoring", set_monitoring_data=[{**MONITOR, "value": 1e15}])
        assert answer.set_monitoring_result[0]["status"] == "Accepted"
        assert (await csms.ask("TriggerMessage", requested_message="Heartbeat")).status == "Accepted"
        await csms.wait("Heartbeat")

    async with backend() as csms:
        await with_station(csms, work)
        assert csms.connections == 1


async def test_a_handler_with_a_defect_is_answered_over_the_same_connection() -> None:
    async def work(simulator: Simulator) -> None:
        def fail(_: object) -> Any:
            raise ZeroDivisionError("on purpose")

        simulator.stations[0].runner.core.table["ClearCache"] = fail
        with pytest.raises(Exception, match="could not handle"):
            await csms.ask("ClearCache")
        assert (await csms.ask("TriggerMessage", requested_message="Heartbeat")).status == "Accepted"
        await csms.wait("Heartbeat")

    async with backend() as csms:
        await with_station(csms, work)
        assert csms.connections == 1


async def test_a_connection_with_a_defect_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a defect between socket and blocks leaves a station without a connection, and without a word."""
    attempts: list[str] = []

    async def connect_later(url: str, *more: Any, **options: Any) -> OcppSocket:
        attempts.append(url)
        if len(attempts) == 1:
            raise ZeroDivisionError("on purpose")
        return await connect(url, *more, **options)

    async def work(simulator: Simulator) -> None:
        assert simulator.report()["defects"] == 1

    monkeypatch.setattr("v2g_station.runner.connect", connect_later)
    async with backend() as csms:
        await with_station(csms, work)


def failing(*_: object) -> Any:
    """Fail."""
    raise ZeroDivisionError("on purpose")


def defective() -> Bench:
    """Return a station whose defects are contained."""
    found = Bench(evses=(SOCKET,))
    found.has_defects = True
    return found


def defects(found: Bench) -> list[dict[str, Any]]:
    """Return the defects that the station has reported."""
    return [event.data for event in found.observed if event.name == "station_defect"]


def test_a_handler_with_a_defect_answers_internal_error_and_is_reported() -> None:
    found = defective()
    found.station.table["ClearCache"] = failing
    with pytest.raises(Refused) as caught:
        found.ask("ClearCache")
    assert caught.value.code == "InternalError"
    (said,) = defects(found)
    assert said["where"] == "ClearCache"
    assert said["error"] == "ZeroDivisionError: on purpose"
    assert "in failing" in said["traceback"]
    assert found.ask("GetLocalListVersion") == {"versionNumber": 0}


def test_a_timer_with_a_defect_has_its_next_turn() -> None:
    found = defective()
    turns: list[float] = []

    def turn() -> None:
        turns.append(found.now)
        if len(turns) < 3:
            failing()

    found.station.kernel.after("broken", 10, turn)
    began, beats = found.now, len(found.all("Heartbeat"))
    found.wait(4000)
    assert [at - began for at in turns] == [10, 70, 130]
    assert len(found.all("Heartbeat")) > beats, "the other timers run on"
    assert [each["where"] for each in defects(found)] == ["timer broken"] * 2


def test_an_answer_or_a_fact_whose_handling_fails_ends_there() -> None:
    found = defective()
    found.station.kernel.call(HeartbeatRequest(), failing)
    found.wait(1)
    found.station.diagnostics.fault = failing  # type: ignore[method-assign]
    found.fact(Fault(evse_id=1, word="OverVoltage", active=True))
    assert [each["where"] for each in defects(found)] == ["answer to Heartbeat", "Fault"]
    del found.station.diagnostics.fault
    found.fact(Fault(evse_id=1, word="OverVoltage", active=False))
    found.plug()
    found.present()
    assert found.allowed()


def test_the_same_defect_is_reported_once_a_minute_and_counted_each_time() -> None:
    found = defective()
    found.station.table["ClearCache"] = failing
    for _ in range(5):
        with pytest.raises(Refused):
            found.ask("ClearCache")
    assert len(defects(found)) == 1
    found.wait(60)
    with pytest.raises(Refused):
        found.ask("ClearCache")
    assert [each["count"] for each in defects(found)] == [1, 6]
