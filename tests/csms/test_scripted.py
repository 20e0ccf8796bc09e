"""A scripted back end on a socket, met by stations that we did not write: the `ocpp` package's ChargePoint."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
import websockets
from ocpp.routing import on
from ocpp.v201 import ChargePoint, call, call_result
from websockets.typing import Subprotocol

from csms.script.declared import read_script
from csms.script.run import ScriptedBackEnd
from csms.script.station import Line, ScriptReport
from pki_tools.tree import PkiTree
from tests.waiting import until
from v2g.errors import KeyAccessError, TransportError

BOOT = call.BootNotification(charging_station={"model": "M", "vendor_name": "V"}, reason="PowerUp")


class Station(ChargePoint):
    """A station that resets when it is told to."""

    @on("Reset")
    async def reset(self, **_: Any) -> call_result.Reset:
        return call_result.Reset(status="Accepted")


class Run:
    """A back end that runs, and what it reported."""

    def __init__(
        self, back_end: ScriptedBackEnd, task: "asyncio.Task[ScriptReport]", port: int, log: list[str]
    ) -> None:
        self.back_end = back_end
        self.task = task
        self.port = port
        self.log = log

    @contextlib.asynccontextmanager
    async def station(self, identity: str = "CS-1") -> AsyncIterator[Station]:
        """Connect a station."""
        url = f"ws://127.0.0.1:{self.port}/ocpp/{identity}"
        async with websockets.connect(url, subprotocols=[Subprotocol("ocpp2.0.1")]) as socket:
            station = Station(identity, socket, response_timeout=5)
            reading = asyncio.create_task(station.start())
            try:
                yield station
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    async def report(self) -> ScriptReport:
        """Wait for its end."""
        async with asyncio.timeout(60):
            return await self.task


@contextlib.asynccontextmanager
async def running(text: str) -> AsyncIterator[Run]:
    """Run a script on a free port."""
    log: list[str] = []

    def tell(_at_s: float, station: str, line: Line) -> None:
        log.append(f"{station} {line.mark} {line.text}")

    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    back_end = ScriptedBackEnd(read_script(f"port: 0\n{text}", "script.yaml"), tell, ready.set_result)
    task = asyncio.create_task(back_end.run())
    try:
        yield Run(back_end, task, await ready, log)
    finally:
        back_end.stop()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_station_is_rejected_then_accepted_then_reset_and_the_run_ends_by_itself() -> None:
    script = """
answers:
  - {action: BootNotification, times: 1, do: reject, payload: {interval: 1}}
calls:
  - {name: reset, after: BootNotification, count: 2, action: Reset, payload: {type: OnIdle}, expect: {status: Accepted}}
expect:
  - {action: BootNotification, at_least: 2}
  - {action: Heartbeat, after: reset, within_s: 5}
"""
    async with running(script) as run, run.station() as station:
        first = await station.call(BOOT)
        second = await station.call(BOOT)
        assert (first.status, first.interval, second.status) == ("Rejected", 1, "Accepted")
        await until(lambda: any("> Reset" in line for line in run.log))
        await station.call(call.Heartbeat())
        outcome = await run.report()
    assert outcome.ok, outcome
    assert outcome.requests == {"CS-1": {"BootNotification": 2, "Heartbeat": 1}}


async def test_each_station_meets_the_script_for_itself() -> None:
    async with (
        running("answers: [{action: BootNotification, times: 1, do: reject}]") as run,
        run.station("CS-1") as one,
        run.station("CS-2") as two,
    ):
        assert [(await each.call(BOOT)).status for each in (one, two)] == ["Rejected"] * 2
        run.back_end.stop()
        assert set((await run.report()).requests) == {"CS-1", "CS-2"}


async def test_a_closed_connection_is_closed_with_its_code() -> None:
    async with running("answers: [{action: Heartbeat, do: close, close_code: 1011}]") as run:
        url = f"ws://127.0.0.1:{run.port}/ocpp/CS-1"
        async with websockets.connect(url, subprotocols=[Subprotocol("ocpp2.0.1")]) as socket:
            await socket.send('[2,"1","Heartbeat",{}]')
            with pytest.raises(websockets.ConnectionClosedError):
                await socket.recv()
            assert socket.close_code == 1011


async def test_a_script_may_ask_for_tls_and_certificates(pki: PkiTree) -> None:
    script = f"""
certificate: {pki.path("csms/server/chain.pem")}
key: {pki.path("csms/server/leaf.key")}
client_roots: [{pki.path("csms/root.pem")}]
"""
    context = ssl.create_default_context(cafile=str(pki.path("csms/root.pem")))
    context.load_cert_chain(pki.path("csms/station/chain.pem"), pki.path("csms/station/leaf.key"))
    async with running(script) as run:
        url = f"wss://127.0.0.1:{run.port}/ocpp/CS-V2G-0001"
        async with websockets.connect(url, subprotocols=[Subprotocol("ocpp2.1")], ssl=context) as socket:
            await socket.send('[2,"1","Heartbeat",{}]')
            assert "currentTime" in str(await socket.recv())
        with pytest.raises(websockets.InvalidStatus):
            await websockets.connect(url.replace("0001", "0002"), subprotocols=[Subprotocol("ocpp2.1")], ssl=context)


async def test_a_run_is_over_when_its_time_is_whoever_came() -> None:
    async with running("duration_s: 0.01") as run:
        outcome = await run.report()
    assert [check.detail for check in outcome.checks] == ["none did"]


async def test_a_port_that_is_taken_and_keys_that_are_not_there_are_errors() -> None:
    async with running("{}".replace("{}", "duration_s: 5")) as run:
        script = read_script(f"port: {run.port}", "script.yaml")
        with pytest.raises(TransportError, match="cannot listen"):
            await ScriptedBackEnd(script, lambda *_: None).run()
    script = read_script("{port: 0, certificate: none.pem, key: none.key}", "script.yaml")
    with pytest.raises(KeyAccessError):
        await ScriptedBackEnd(script, lambda *_: None).run()


async def test_a_judge_that_fails_fails_the_run() -> None:
    """It has not found that all is well."""

    def broken(*_: object) -> None:
        raise RecursionError("on purpose")

    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    script = read_script("port: 0\nexpect: [{action: Heartbeat}]", "script.yaml")
    back_end = ScriptedBackEnd(script, lambda *_: None, ready.set_result, broken)
    running = asyncio.create_task(back_end.run())
    url = f"ws://127.0.0.1:{await ready}/ocpp/CS-1"
    async with websockets.connect(url, subprotocols=[Subprotocol("ocpp2.0.1")]) as socket:
        await socket.send('[2,"1","Heartbeat",{}]')
        await socket.wait_closed()
    back_end.stop()
    outcome = await running
    assert not outcome.ok
    assert [each.detail for each in outcome.checks if each.what == "the test tool works"] == [
        "RecursionError: on purpose"
    ]
