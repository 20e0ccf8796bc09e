"""How the vehicle's program reaches a charger."""

import contextlib
from collections.abc import AsyncIterator
from ipaddress import IPv6Address
from typing import Any

import pytest
from msgspec.structs import replace

from evcc import app
from evcc.config import load_config
from pki_tools.tree import PkiTree
from v2g import exi
from v2g.errors import TlsError, TransportError
from v2g.io.network import plain_tcp
from v2g.io.network.sdp import SdpAnswer, SdpServer, tls_answer
from v2g.io.runtime.clock import Clock
from v2g.iso15118.engine.app_protocol import ResponseCode, SupportedAppProtocolRes
from v2g.iso15118.engine.v2gtp import PayloadType, frame
from v2g.observe import Observe

NO_PROTOCOL = SupportedAppProtocolRes(response_code=ResponseCode.Failed_NoNegotiation)


class Log(list[Observe]):
    """An event log that keeps what the vehicle observes."""

    local = None

    def __call__(self, event: Observe) -> None:
        self.append(event)

    def tracer(self):  # type: ignore[no-untyped-def]
        return lambda session: session


class Charger:
    """A charger that closes the connection of the first `starting` vehicles, and has no protocol for the next ones."""

    def __init__(self, starting: int) -> None:
        self.starting, self.connections = starting, 0

    async def serve(self, stream: plain_tcp.PlainStream) -> None:
        self.connections += 1
        await stream.read(1000)
        if self.connections > self.starting:
            await stream.write(frame(PayloadType.SAP, exi.encode(NO_PROTOCOL)))
            await stream.read(1000)


@contextlib.asynccontextmanager
async def at(charger: Charger, pki: PkiTree, more: str) -> AsyncIterator[tuple[app.Vehicle, Log]]:
    """Yield a vehicle without TLS at the charger; `more` stands in its section sdp."""
    server = await plain_tcp.serve("::1", range(49152, 65536), charger.serve)
    discovery = SdpServer("lo", tls_answer(IPv6Address("::1"), None, plain_port=server.port), port=0)
    text = f"""
editions = ["din"]
hardware = {{ backend = "bench" }}
sdp = {{ without_tls = true, port = {discovery.port}{more} }}
[tls]
chain = "{pki.path("vehicle/chain.pem")}"
key = "{pki.path("vehicle/leaf.key")}"
anchors = ["{pki.path("v2g/root.pem")}"]
"""
    config, log = load_config(text, name="evcc.toml"), Log()
    try:
        async with app.assemble(config, Clock(), log) as made:  # type: ignore[arg-type]
            yield made, log
    finally:
        discovery.close()
        await server.close()


@pytest.mark.parametrize(
    ("starting", "more", "connections", "reason"),
    [(0, "", 1, "Failed_NoNegotiation"), (2, "", 3, "Failed_NoNegotiation"), (9, ", tries = 2", 2, "secc_vanished")],
)
async def test_a_vehicle_connects_again_to_a_charger_that_is_starting(
    pki: PkiTree,
    monkeypatch: pytest.MonkeyPatch,
    starting: int,
    more: str,
    connections: int,
    reason: str,
) -> None:
    """As long as it has not answered, by another discovery each time."""
    monkeypatch.setattr(app, "AGAIN_S", 0.0)
    charger = Charger(starting)
    async with at(charger, pki, more) as (made, log):
        assert await made.drive(lambda stream, _key: stream) == reason
    assert charger.connections == connections
    names = [event.name for event in log if event.stage == "sdp"]
    assert names == ["found", *["again", "found"] * (connections - 1)]


async def test_another_charger_that_answers_is_tried_after_one_that_cannot_be_reached(
    pki: PkiTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "AGAIN_S", 0.0)
    charger = Charger(0)
    async with at(charger, pki, "") as (made, log):
        discover, asked = app.discover, list[set[tuple[str, int]]]()

        async def both(*args: Any, avoided: set[tuple[str, int]], **options: Any) -> SdpAnswer:
            """The answer of one at a port where nobody listens comes first."""
            asked.append(set(avoided))
            found = await discover(*args, **options)
            return found if ("::1", 9) in avoided else replace(found, port=9)

        monkeypatch.setattr(app, "discover", both)
        assert await made.drive(lambda stream, _key: stream) == "Failed_NoNegotiation"
    assert asked == [set(), {("::1", 9)}]
    assert charger.connections == 1
    assert [event.name for event in log if event.stage == "sdp"] == ["found", "again", "found"]


async def test_where_nobody_accepts_the_connection_the_cause_is_its_error(
    pki: PkiTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "AGAIN_S", 0.0)

    async def refused(*_: object, **__: object) -> plain_tcp.PlainStream:
        raise TransportError("refused")

    monkeypatch.setattr(plain_tcp, "connect", refused)
    async with at(Charger(0), pki, ", tries = 3") as (made, log):
        with pytest.raises(TransportError, match="refused"):
            await made.drive(lambda stream, _key: stream)
    assert [event.name for event in log if event.stage == "sdp"] == ["found", *["again", "found"] * 2]


@pytest.mark.parametrize(("reason", "found"), [("peer_silent", 2), ("handshake_refused", 1)])
async def test_a_handshake_that_cannot_succeed_is_not_repeated(
    pki: PkiTree, monkeypatch: pytest.MonkeyPatch, reason: str, found: int
) -> None:
    monkeypatch.setattr(app, "AGAIN_S", 0.0)

    async def failed(*_: object, **__: object) -> plain_tcp.PlainStream:
        raise TlsError("failed", reason=reason)

    monkeypatch.setattr(plain_tcp, "connect", failed)
    async with at(Charger(0), pki, ", tries = 2") as (made, log):
        with pytest.raises(TlsError):
            await made.drive(lambda stream, _key: stream)
    assert [event.name for event in log if event.stage == "sdp"].count("found") == found


async def test_no_attempt_begins_after_the_time_of_communication_setup(
    pki: PkiTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "AGAIN_S", 100.0)
    charger = Charger(9)
    async with at(charger, pki, "") as (made, _):
        assert await made.drive(lambda stream, _key: stream) == "secc_vanished"
    assert charger.connections == 1
