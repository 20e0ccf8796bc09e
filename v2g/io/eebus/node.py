"""A SHIP node on the network: listens, connects to trusted peers, and passes SPINE to a device.

Connections are TLS with SKIs, then WebSocket (`ship`, binary), then `ShipConnection`. Of two connections with one peer
that which the larger SKI has opened stays, as most of the market has it; the standard's rule is the newest (O, C1).
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from random import SystemRandom
from typing import Final, Protocol
from urllib.parse import urlsplit

from websockets.client import ClientProtocol
from websockets.exceptions import WebSocketException
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from v2g.eebus.identity import ShipNode
from v2g.eebus.json_form import MOST_BYTES
from v2g.eebus.ship import ShipConnection
from v2g.eebus.spine import DISCOVERY_S, Moment, PeerLink, SpineDevice
from v2g.errors import CodecError, TlsError, TransportError
from v2g.io.eebus.files import NodeKey, SeenPeer
from v2g.io.network.plain_tcp import listen, port_of
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import Supervisor, cancel_tasks, child, spawn, wait_at_most
from v2g.io.tls.endpoint import TlsChannel
from v2g.io.tls.ski_channel import SkiChannel
from v2g.io.tls.stream import TlsStream, close_gracefully, handshake
from v2g.observe import Observe
from v2g.rates import Buckets
from v2g.text import printable

SUBPROTOCOL: Final = Subprotocol("ship")
MOST_CONNECTIONS: Final = 16
"""Limit of connections, with those in the handshake."""
MOST_STRANGERS: Final = 4
"""Limit of connections that wait until the user trusts the peer."""
CALLS_PER_S: Final = 0.2
CALLS_BURST: Final = 16.0
"""Connections of an address without a trusted peer, per second, after so many at once."""
TLS_S: Final = 10.0
DIAL_S: Final = 5.0
PING_S: Final = 50.0
PONG_S: Final = 10.0
"""A peer that does not answer a ping for so long is lost (G)."""
PAUSES_S: Final = ((0.0, 3.0), (3.0, 10.0), (10.0, 20.0))
"""Random pauses before the first, second and later attempts to connect (G)."""
LOOK_S: Final = 2.0
"""Interval in which the list of trusted peers is read."""
_CLOSING_S: Final = 2.0
_BROKEN: Final = 20
"""Unreadable datagrams after which a connection is closed."""


class ShipListener(Protocol):
    """What a node tells: after everything that a peer has said, and when `peers` has changed."""

    def processed(self) -> None:
        """The device may have changed."""

    def peers_changed(self) -> None:
        """A peer was found, has connected, or is gone."""


class EebusNode:
    """See the module. `trusted` returns the SKIs that the user trusts now, `targets` the URLs of peers by SKI."""

    def __init__(
        self,
        key: NodeKey,
        node: ShipNode,
        device: SpineDevice,
        listener: ShipListener,
        *,
        clock: Clock,
        observe: Callable[[Observe], None],
        trusted: Callable[[], frozenset[str]],
        targets: Callable[[], Mapping[str, str]],
    ) -> None:
        self.key, self.node, self.device, self.listener = key, node, device, listener
        self.clock, self.observe = clock, observe
        self._read_trusted, self._targets = trusted, targets
        self.trusted = trusted()
        self.ids: dict[str, str] = {}
        """SHIP ids of peers, by SKI."""
        self.states: dict[str, str] = {}
        """State of each peer that has connected, by SKI."""
        self._connections: list[_Connection] = []
        self._handshakes = 0
        self._calls = Buckets(per_s=CALLS_PER_S, burst=CALLS_BURST)
        """Connections of strangers, by address."""
        self._dials: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._supervisor = Supervisor(observe)
        self._random = SystemRandom()

    @property
    def port(self) -> int:
        """The TCP port."""
        return port_of(self._server)

    async def open(self, host: str, port: int) -> None:
        """Listen. Raises TransportError."""
        self._server = await listen("EEBUS", self._accept, host, port)
        self._supervisor.keep("eebus", self._keep)

    async def close(self) -> None:
        """Close all connections."""
        await self._supervisor.close()
        if self._server is not None:
            self._server.close()
        self.trusted = frozenset()
        for connection in self._connections:
            connection.end()
        tasks = {*self._tasks, *self._dials.values()}
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSING_S)
        await cancel_tasks(*tasks)

    def now(self) -> Moment:
        """Return the time."""
        return Moment(self.clock.monotonic(), self.clock.utc_ms())

    def peers(self) -> tuple[SeenPeer, ...]:
        """Return the peers that have connected."""
        return tuple(
            SeenPeer(ski=ski, id=printable(self.ids.get(ski, "")), state=state) for ski, state in self.states.items()
        )

    def pump(self) -> None:
        """Send what the device has to say, to all peers, and tell the listener."""
        for connection in self._connections:
            connection.flush()
        self.listener.processed()

    def peer(self, ski: str, state: str, why: str = "") -> None:
        """Note the state of a peer."""
        if self.states.get(ski) != state:
            self.states[ski] = state
            while len(self.states) > MOST_CONNECTIONS:
                del self.states[next(iter(self.states))]
            self.observe(Observe("power", "eebus_peer", {"ski": ski, "state": state, "reason": printable(why)[:200]}))
            self.listener.peers_changed()

    async def _keep(self) -> None:
        """Keep time for the device, follow the list of trusted peers, and connect to them."""
        while True:
            self.device.tick(self.now())
            self.pump()
            trusted = self._read_trusted()
            if trusted != self.trusted:
                self.trusted = trusted
                for connection in tuple(self._connections):
                    connection.retrust()
            for ski, url in self._targets().items():
                if ski in trusted and ski not in self._dials and not self._connected(ski):
                    task = self._dials[ski] = spawn(self._dial(ski, url), name="eebus dial")
                    task.add_done_callback(lambda _, ski=ski: self._dials.pop(ski, None))  # type: ignore[misc]
            await asyncio.sleep(max(0.05, min(LOOK_S, self.device.due - self.clock.monotonic())))

    def _connected(self, ski: str) -> bool:
        return any(each.ski == ski for each in self._connections)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer: tuple[object, ...] | None = writer.get_extra_info("peername")
        address = str(peer[0]) if peer else ""
        busy = self._handshakes + len(self._connections) >= MOST_CONNECTIONS
        if busy or self._calls.take(address, asyncio.get_running_loop().time()):
            writer.close()
            return
        task = spawn(self._serve(reader, writer, address), name="eebus peer")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str) -> None:
        with contextlib.suppress(TlsError, TransportError, OSError):
            try:
                stream, ski = await self._secure(reader, writer, server=True)
            except TlsError as error:
                reason = printable(str(error))[:200]
                self.observe(Observe("power", "eebus_refused", {"address": address, "reason": reason}))
                return
            if ski in self.trusted:
                self._calls.give(address)
            protocol = ServerProtocol(subprotocols=[SUBPROTOCOL], max_size=MOST_BYTES + 1)
            await self._run(_Connection(self, stream, ski, protocol))

    async def _secure(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, server: bool
    ) -> tuple[TlsStream, str]:
        """Return the stream after the TLS handshake, and the peer's SKI. Raises TlsError."""
        channel = SkiChannel(self.key.certificate, self.key.key, server=server)

        async def opener(_first: bytes) -> TlsChannel:
            return channel

        self._handshakes += 1
        try:
            stream = await handshake(opener, reader, writer, until=asyncio.get_running_loop().time() + TLS_S)
        except TlsError:
            await close_gracefully(reader, writer)
            raise
        finally:
            self._handshakes -= 1
        return stream, channel.ski

    async def _dial(self, ski: str, url: str) -> None:
        attempts = 0
        while ski in self.trusted:
            await asyncio.sleep(self._random.uniform(*PAUSES_S[min(attempts, len(PAUSES_S) - 1)]))
            attempts += 1
            if self._connected(ski):
                return
            try:
                if await self._connect(ski, url):
                    attempts = 0
            except (TlsError, TransportError, OSError, ValueError, WebSocketException) as error:
                self.peer(ski, "unreachable", str(error) or type(error).__name__)
            if url != self._targets().get(ski):
                return

    async def _connect(self, ski: str, url: str) -> bool:
        """Connect to a peer, and return after the end whether data were exchanged."""
        parts = urlsplit(url)
        async with asyncio.timeout(DIAL_S):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            stream, shown = await self._secure(reader, writer, server=False)
            if shown != ski:
                await stream.close()
                raise TlsError(f"the node at {url} has the SKI {shown}", reason="wrong_certificate")
            protocol = ClientProtocol(parse_uri(url), subprotocols=[SUBPROTOCOL], max_size=MOST_BYTES + 1)
            protocol.send_request(protocol.connect())
            connection = _Connection(self, stream, ski, protocol)
            await self._run(connection)
            return connection.link is not None
        finally:
            writer.transport.abort()

    async def _run(self, connection: "_Connection") -> None:
        if not self._admit(connection):
            await connection.stream.close()
            return
        self._connections.append(connection)
        try:
            await connection.run()
        finally:
            self._connections.remove(connection)
            if connection.link is not None:
                self.device.disconnect(connection.link)
            if not self._connected(connection.ski):
                self.peer(connection.ski, "disconnected", connection.why)
            await connection.stream.close()

    def _admit(self, connection: "_Connection") -> bool:
        """Return whether a connection stays beside, or instead of, another one with the same peer."""
        strangers = [each for each in self._connections if each.ski not in self.trusted]
        if connection.ski not in self.trusted and len(strangers) >= MOST_STRANGERS:
            strangers[0].end()
        for other in self._connections:
            if other.ski == connection.ski:
                if other.client is not connection.client and other.client is (self.node.ski > other.ski):
                    return False
                other.end()
        return True


class _Connection:
    """One connection, after TLS."""

    def __init__(self, node: EebusNode, stream: TlsStream, ski: str, protocol: ServerProtocol | ClientProtocol) -> None:
        self._node, self.stream, self.ski, self._protocol = node, stream, ski, protocol
        self.client = isinstance(protocol, ClientProtocol)
        self.link: PeerLink | None = None
        self.why = ""
        self._ship: ShipConnection | None = None
        self._message = b""
        self._broken = 0
        self._lost = False
        self._news = asyncio.Event()
        self._begun = self._ping_at = node.clock.monotonic()
        self._pong_until: float | None = None
        self._close_at: float | None = None

    def end(self) -> None:
        """End it: announced, where the handshake is over."""
        if self._ship is not None:
            self._ship.close(self._node.clock.monotonic())
        else:
            self._lost = True
        self._news.set()

    def retrust(self) -> None:
        """The list of trusted peers has changed."""
        if self._ship is None:
            return
        now = self._node.clock.monotonic()
        if self.ski in self._node.trusted:
            if not self._ship.trusted:
                self._ship.trust(now)
        elif self._ship.trusted:  # in the handshake, too, or it would go on to the data
            self._ship.close(now, "removedConnection")
        self._news.set()

    async def run(self) -> None:
        """Run it to its end."""
        reading = child(self._read(), name="eebus reading")
        try:
            while await self._write():
                due = [self._ping_at, self._pong_until, self._close_at, self._ship.due if self._ship else None]
                due.append(None if self._ship else self._begun + TLS_S)
                until = min(each for each in due if each is not None)
                await wait_at_most(max(0.0, until - self._node.clock.monotonic()), self._news.wait())
                self._news.clear()
        except (TlsError, TransportError, TimeoutError) as error:
            self.why = self.why or str(error) or "the peer does not read"
        finally:
            await cancel_tasks(reading)

    async def _read(self) -> None:
        try:
            while data := await self.stream.read(64 * 1024):
                self._protocol.receive_data(data)
                for event in self._protocol.events_received():
                    self._take(event)
                self._advance()
                self._news.set()
                await asyncio.sleep(0)  # the read does not yield while more has come
        except (TlsError, TransportError) as error:
            self.why = self.why or str(error)
        self._lost = True
        self._news.set()

    async def _write(self) -> bool:
        """Send what there is; return whether the connection goes on."""
        now = self._node.clock.monotonic()
        self._advance()
        if self._protocol.state is State.OPEN:
            if now >= self._ping_at:
                self._protocol.send_ping(b"")
                self._ping_at, self._pong_until = now + PING_S, now + PONG_S
            if self._ship is not None and self._ship.ended is not None:
                self.why = self.why or self._ship.why
                reason = self._ship.why.encode("ascii", "replace")[:80].decode()  # 123 bytes at most
                self._protocol.send_close(self._ship.ended, reason)
                self._close_at = now + 1.0
        for data in self._protocol.data_to_send():
            if not data:
                return False
            async with asyncio.timeout(PONG_S):  # a peer that does not read is lost
                await self.stream.write(data)
        if self._pong_until is not None and now >= self._pong_until:
            self.why = self.why or "no answer to a ping"
            return False
        if self._ship is None and now >= self._begun + TLS_S:
            return False
        late = self._close_at is not None and now >= self._close_at
        silent = self.link is not None and self.link.device is None and now >= self.link.since + DISCOVERY_S
        if silent and self._ship is not None and self._ship.phase == "data":
            self._ship.close(now)
            self._news.set()
        return not (self._lost or late or self._protocol.state is State.CLOSED)

    def _take(self, event: object) -> None:
        match event:
            case Request():
                assert isinstance(self._protocol, ServerProtocol)
                response = self._protocol.accept(event)
                if response.status_code == 101 and self._protocol.subprotocol != SUBPROTOCOL:
                    response = self._protocol.reject(400, "subprotocol ship\n")
                self._protocol.send_response(response)
                if response.status_code == 101:
                    self._shake()
            case Response():
                if self._protocol.handshake_exc is None and self._protocol.subprotocol == SUBPROTOCOL:
                    self._shake()
                else:
                    self.why, self._lost = "the peer refuses the subprotocol ship", True
            case Frame(opcode=Opcode.PONG):
                self._pong_until = None
            case Frame(opcode=Opcode.BINARY | Opcode.CONT):
                self._message += bytes(event.data)
                if event.fin and self._ship is not None:
                    message, self._message = self._message, b""
                    self._ship.receive(message, self._node.clock.monotonic())
            case Frame(opcode=Opcode.TEXT):
                self._protocol.fail(1003, "binary messages only")

    def _shake(self) -> None:
        """The WebSocket is open: begin SHIP."""
        now = self._node.clock.monotonic()
        self._ping_at = now + PING_S
        trusted = self.ski in self._node.trusted
        self._ship = ShipConnection(
            client=self.client,
            ship_id=self._node.node.id,
            trusted=trusted,
            now=now,
            peer_id=self._node.ids.get(self.ski) if trusted else None,
        )
        self._node.peer(self.ski, "connecting" if trusted else "waiting")

    def _advance(self) -> None:
        """Process time and data."""
        if self._ship is None:
            return
        node, at = self._node, self._node.now()
        self._ship.tick(at.s)
        if self._ship.phase == "data":
            if self.link is None:
                self.link = node.device.connect(self.ski, at)
                node.ids[self.ski] = self._ship.peer_id or ""
                node.peer(self.ski, "connected")
            while self._ship.received:
                try:
                    node.device.receive(self.link, self._ship.received.popleft(), at)
                except CodecError as error:
                    self._broken += 1
                    node.observe(
                        Observe("power", "eebus_unreadable", {"ski": self.ski, "reason": printable(str(error))[:200]})
                    )
                    if self._broken >= _BROKEN:
                        self._ship.close(at.s)
            node.pump()
        self.flush()

    def flush(self) -> None:
        """Pass what is to be sent to the WebSocket."""
        if self._ship is None:
            return
        if self.link is not None:
            for datagram in self.link.take():
                self._ship.send(datagram)
        for frame in self._ship.take():
            if self._protocol.state is State.OPEN:
                self._protocol.send_binary(frame)
                self._news.set()
