"""A listening TLS server with limits for unauthenticated peers."""

import asyncio
import errno
import logging
import secrets
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec.structs import replace

from v2g.errors import TlsError, TransportError, V2GError
from v2g.io.network.plain_tcp import port_of, start_server
from v2g.io.runtime.disk import Turnstile
from v2g.io.runtime.supervision import cancel_tasks, spawn
from v2g.io.tls.endpoint import Endpoint, TlsChannel, open_channel, record_channel
from v2g.io.tls.hello import open_for
from v2g.io.tls.stream import ACCEPT_SECONDS, TlsStream, close_gracefully, handshake
from v2g.rates import Buckets

# -- How many TLS handshakes a server begins for peers that do not finish them. Pure. A ClientHello costs its sender
# nothing, since it can be repeated, and the server a key and a signature. So beginning one takes from a budget of the
# peer's address and, unless the address has shown a trusted certificate before, from one of all strangers; a finished
# handshake gives back what it took.

ADDRESS_PER_S: Final = 8.0
ADDRESS_BURST: Final = 16.0
STRANGERS_PER_S: Final = 16.0
STRANGERS_BURST: Final = 32.0
"""Unfinished handshakes per second, after so many at once: of one address, and of all strangers."""

KNOWN: Final = 256
"""Limit of stored addresses that have shown a trusted certificate; the one not seen for longest is dropped."""


class HandshakeBudget:
    """What is left for whom. Addresses are without port, `now` is monotonic time in s."""

    def __init__(self) -> None:
        self._of_one = Buckets(per_s=ADDRESS_PER_S, burst=ADDRESS_BURST)
        self._of_strangers = Buckets(per_s=STRANGERS_PER_S, burst=STRANGERS_BURST)
        self._known: OrderedDict[str, None] = OrderedDict()

    def knows(self, address: str) -> bool:
        """Return whether an address has shown a trusted certificate."""
        return address in self._known

    def take(self, address: str, now: float) -> float:
        """Begin a handshake of an address; return 0, or the time to wait (s) if it may not begin yet."""
        wait_s = self._of_one.wait_s(address, now)
        if not wait_s and not self.knows(address):
            wait_s = self._of_strangers.take("", now)
        return wait_s or self._of_one.take(address, now)

    def finish(self, address: str, *, trusted: bool) -> None:
        """Give back what a finished handshake took; `trusted`: the peer has shown a certificate that we trust."""
        self._of_one.give(address)
        if not self.knows(address):
            self._of_strangers.give("")
        if trusted:
            self._known[address] = None
            self._known.move_to_end(address)
            if len(self._known) > KNOWN:
                self._known.popitem(last=False)


MAX_HANDSHAKES: Final = 32
"""Limit of unfinished handshakes. Beyond it, the oldest of the address with the most
is closed, strangers first: an honest vehicle is quick and has one."""

Handler = Callable[[TlsStream], Awaitable[None]]
_log = logging.getLogger(__name__)


class TlsServer:
    """A listening server; made by `serve`."""

    def __init__(
        self,
        endpoint: Endpoint,
        handler: Handler,
        on_failure: Callable[[TlsError], None] | None,
        timeout: float,
        turnstile: Turnstile | None = None,
    ) -> None:
        self._endpoint, self._turnstile = endpoint, turnstile
        self._handler = handler
        self._on_failure = on_failure
        self._timeout = timeout
        self._tasks: set[asyncio.Task[None]] = set()
        self._handshakes: dict[asyncio.Task[None], str] = {}  # to the peer's address, in the order in which they began
        self._budget = HandshakeBudget()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The TCP port."""
        return port_of(self._server)

    async def close(self) -> None:
        """Stop listening and end all connections."""
        assert self._server is not None
        self._server.close()
        await cancel_tasks(*self._tasks)
        await self._server.wait_closed()
        await asyncio.sleep(0)  # aborted transports close their sockets in the next iteration of the loop

    async def listen(self, host: str, ports: range) -> None:
        """Bind the first free port of `ports`, from a random one on. Raises TransportError."""
        first = secrets.randbelow(len(ports))
        for port in (*ports[first:], *ports[:first]):
            try:
                self._server = await start_server(self._accept, host, port)
            except OSError as error:
                if error.errno == errno.EADDRINUSE and len(ports) > 1:
                    continue
                raise TransportError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None
            return
        raise TransportError(f"{host} has no free port from {ports[0]} to {ports[-1]}")

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = spawn(self._serve_one(reader, writer))
        self._tasks.add(task)
        self._handshakes[task] = _address(writer)
        if len(self._handshakes) > MAX_HANDSHAKES:
            strangers = [address for address in self._handshakes.values() if not self._budget.knows(address)]
            busiest, _count = Counter(strangers or self._handshakes.values()).most_common(1)[0]
            oldest = next(task for task, address in self._handshakes.items() if address == busiest)
            del self._handshakes[oldest]
            oldest.cancel()
        # However the task ends, even cancelled before its first step, the socket must be closed.
        task.add_done_callback(lambda _: writer.transport.abort())
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._handshakes.pop(task, None)

    def _open(self, writer: asyncio.StreamWriter, first: bytes) -> TlsChannel | None:
        """Return the channel by the client's first bytes; unusable own credentials cost this connection only."""
        try:
            channel = open_for(self._endpoint, first)
        except TlsError:
            raise
        except V2GError as error:
            why = f"our own credentials: {error}"
            raise TlsError(why, reason="own_credentials_unusable", hint=error.hint) from None
        return channel if channel is None else record_channel(self._endpoint, channel, writer)

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._turnstile is not None:
            await self._turnstile.enter(vehicle=True)
        until = asyncio.get_running_loop().time() + self._timeout
        address = _address(writer)
        begun = False

        async def opener(first: bytes) -> TlsChannel | None:
            nonlocal begun
            if first and not begun:
                begun = True
                while wait_s := self._budget.take(address, asyncio.get_running_loop().time()):
                    await asyncio.sleep(wait_s)
            return self._open(writer, first) if first else None

        try:
            stream = await handshake(opener, reader, writer, until=until)
        except TlsError as error:
            _log.warning("TLS handshake with %s: %s: %s", address, error.reason, error)
            if self._on_failure is not None:
                self._on_failure(error)
            await close_gracefully(reader, writer)
            return
        task = asyncio.current_task()
        assert task is not None
        self._handshakes.pop(task, None)
        self._budget.finish(address, trusted=stream.peer is not None)
        try:
            await self._handler(stream)
        finally:
            await stream.close()


def _address(writer: asyncio.StreamWriter) -> str:
    peer: tuple[object, ...] | None = writer.get_extra_info("peername")  # None once the peer is gone
    return str(peer[0]) if peer else "a peer that is gone"


async def serve(
    host: str,
    port: int | range,
    handler: Handler,
    endpoint: Endpoint,
    *,
    timeout: float = ACCEPT_SECONDS,
    on_failure: Callable[[TlsError], None] | None = None,
    turnstile: Turnstile | None = None,
) -> TlsServer:
    """Listen and run `handler` for every client that `endpoint` trusts; handshakes begin as the `turnstile` permits.

    `port` 0 is any free one, a range is a random free one of its ports. A handshake that fails or takes more than
    `timeout` s goes to `on_failure` and the log. Raises TransportError when the port is in use, and as `open_channel`.
    """
    assert endpoint.server
    for profile in endpoint.profiles:  # report unusable credentials now, not at the first client
        open_channel(replace(endpoint, profile=profile, older=None))
    server = TlsServer(endpoint, handler, on_failure, timeout, turnstile)
    await server.listen(host, port if isinstance(port, range) else range(port, port + 1))
    return server
