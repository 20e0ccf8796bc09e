"""Requests to stations: any node reaches any station, with the station's own answer or its own error."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from csms.cluster.bus import Bus
from csms.cluster.connections import ConnectionRegistry, Deviations
from tests.csms.cluster.buses import Buses
from tests.waiting import until
from v2g.errors import OcppError, RefusedError, TimeoutExpired, TransportError, V2GError
from v2g.ocpp.messages.availability import ChangeAvailabilityRequest, ChangeAvailabilityResponse
from v2g.ocpp.messages.base import Message, StatusInfo
from v2g.ocpp.routes import Version
from v2g.ocpp.v16.messages import ResetConf, ResetReq

REQUEST = ChangeAvailabilityRequest(operational_status="Inoperative")
RESPONSE = ChangeAvailabilityResponse(status="Rejected", status_info=StatusInfo(reason_code="NotNow"))


class StationLine:
    """A station's connection that answers, or fails, as told."""

    def __init__(self, answer: Message | V2GError | None = RESPONSE) -> None:
        self.version: Version = "2.1"
        self.asked: list[tuple[Message, float | None]] = []
        self.closed: list[str] = []
        self.answer = answer
        self.deviations = Deviations({"empty_text": 2}, ("UnlockConnector",))

    async def call(self, request: Message, response: type[Any], *, timeout: float | None = None) -> Any:
        self.asked.append((request, timeout))
        if isinstance(self.answer, V2GError):
            raise self.answer
        if self.answer is None:
            await asyncio.Event().wait()
        return self.answer

    async def close(self, reason: str = "") -> None:
        self.closed.append(reason)


class Nodes:
    """Two switchboards on one bus."""

    def __init__(self, buses: Buses) -> None:
        self.buses = buses
        self.bus: dict[str, Bus] = {name: buses.node(name) for name in ("a", "b")}
        self.a, self.b = (ConnectionRegistry(bus, 1.0) for bus in self.bus.values())

    async def plugged(self, line: StationLine) -> StationLine:
        """Connect a station to node b, and wait until node a knows."""
        self.b.register("CS-1", line)
        await until(lambda: self.a.version("CS-1") is not None)
        return line


@pytest_asyncio.fixture
async def nodes(buses: Buses) -> AsyncIterator[Nodes]:
    found = Nodes(buses)
    for bus in found.bus.values():
        await bus.start()
    yield found
    for bus in found.bus.values():
        await bus.close()


async def test_a_station_answers_whichever_node_asks(nodes: Nodes) -> None:
    line = await nodes.plugged(StationLine())
    assert await nodes.b.call("CS-1", REQUEST) == RESPONSE
    assert await nodes.a.call("CS-1", REQUEST, timeout_s=7) == RESPONSE
    assert line.asked == [(REQUEST, None), (REQUEST, 7.0)]
    assert nodes.a.connected() == nodes.b.connected() == nodes.b.connected_here() == {"CS-1"}
    assert nodes.a.connected_here() == frozenset()
    raw = ResetReq(type="Soft")
    line.answer = ResetConf(status="Accepted")
    assert await nodes.a.call("CS-1", raw) == line.answer
    assert line.asked[-1] == (raw, 1.0)


async def test_what_was_noticed_on_a_connection_is_known_at_every_node(nodes: Nodes) -> None:
    line = await nodes.plugged(StationLine())
    assert await nodes.a.deviations("CS-1") == await nodes.b.deviations("CS-1") == line.deviations
    assert await nodes.a.deviations("CS-9") == Deviations()


@pytest.mark.parametrize(
    "error",
    [
        OcppError("NotSupported: not here", answer="NotSupported"),
        TimeoutExpired("ChangeAvailability answer", 3.0),
        RefusedError("too many requests are queued", reason="full"),
        TransportError("connection lost"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_the_stations_error_is_the_same_from_every_node(nodes: Nodes, error: V2GError) -> None:
    await nodes.plugged(StationLine(error))
    for connections in (nodes.a, nodes.b):
        with pytest.raises(type(error)) as caught:
            await connections.call("CS-1", REQUEST)
        assert str(caught.value) == str(error)
        assert ("may have acted" in caught.value.hint) == isinstance(error, TransportError)
        if isinstance(error, OcppError):
            assert isinstance(caught.value, OcppError)
            assert caught.value.answer == error.answer


async def test_a_station_that_is_nowhere_is_a_refusal(nodes: Nodes) -> None:
    with pytest.raises(RefusedError) as caught:
        await nodes.a.call("CS-9", REQUEST)
    assert caught.value.reason == "not_connected"
    assert nodes.a.version("CS-9") is None


async def test_a_request_that_breaks_its_declaration_does_not_reach_the_other_node(nodes: Nodes) -> None:
    line = await nodes.plugged(StationLine())
    with pytest.raises(OcppError):
        await nodes.a.call("CS-1", ChangeAvailabilityRequest(operational_status="Maybe"))  # type: ignore[arg-type]
    assert line.asked == []


async def test_the_death_of_the_stations_node_fails_the_call(nodes: Nodes) -> None:
    line = await nodes.plugged(StationLine(None))
    call = asyncio.create_task(nodes.a.call("CS-1", REQUEST, timeout_s=60))
    await until(lambda: line.asked)
    await nodes.buses.kill(nodes.bus["b"])
    async with asyncio.timeout(5):
        with pytest.raises(TransportError, match="gone") as caught:
            await call
    assert "may have acted" in caught.value.hint


async def test_a_station_that_moved_is_cut_off_at_its_old_node(nodes: Nodes) -> None:
    old, new = await nodes.plugged(StationLine()), StationLine()
    nodes.a.register("CS-1", new)
    await until(lambda: old.closed)
    nodes.b.unregister("CS-1", old)
    assert await nodes.b.call("CS-1", REQUEST) == RESPONSE
    assert [len(line.asked) for line in (old, new)] == [0, 1]


async def test_a_newer_connection_to_the_same_node_takes_the_place_of_the_older(nodes: Nodes) -> None:
    old, new = StationLine(), StationLine()
    assert nodes.a.register("CS-1", old) is None
    assert nodes.a.register("CS-1", new) is old
    nodes.a.unregister("CS-1", old)
    assert await nodes.a.call("CS-1", REQUEST) == RESPONSE
    assert new.asked
    nodes.a.unregister("CS-1", new)
    assert nodes.a.connected() == frozenset()
