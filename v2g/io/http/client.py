"""HTTP(S) requests with the client of the standard library: cancellable, answers bounded, redirects never followed."""

import asyncio
import base64
import contextlib
import functools
import http.client
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from v2g.errors import TransferError
from v2g.io.http.cancel import Cancel
from v2g.io.runtime.supervision import new_thread

Result = TypeVar("Result")

Resolve = Callable[[str], Sequence[str]]
"""Takes a host, returns the IP addresses to connect to; blocking. Raises OSError."""


class HttpAnswer(msgspec.Struct, frozen=True):
    """A response: its status, whole body, and headers by name in lower case."""

    status: int
    body: bytes
    headers: Mapping[str, str] = {}

    @property
    def ok(self) -> bool:
        """Whether the status is one of success."""
        return 200 <= self.status < 300


class HttpConnection(http.client.HTTPConnection):
    """An HTTP(S) connection to a URL's host. It can be shut down at any time, also during the TLS handshake."""

    def __init__(
        self,
        where: SplitResult,
        *,
        context: ssl.SSLContext | None = None,
        timeout_s: float,
        resolve: Resolve | None = None,
    ) -> None:
        """Prepare; the first request connects. `timeout_s` (s) is that of each wait for the server.

        `context`: TLS settings, by default the system's roots. `resolve` replaces the system's resolver.
        """
        assert where.hostname is not None
        self.default_port = 443 if where.scheme == "https" else 80
        super().__init__(where.hostname, where.port or self.default_port, timeout=timeout_s)
        self._tls = (context or _default_context()) if where.scheme == "https" else None
        self._resolve = resolve
        self._wire: socket.socket | None = None  # `sock` is None as soon as a server announces that it will close

    def connect(self) -> None:
        """Connect. Raises OSError."""
        sock = self._dial((self.host,) if self._resolve is None else self._resolve(self.host))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._wire = self.sock = sock
        if self._tls is not None:
            secured = self._tls.wrap_socket(sock, server_hostname=self.host, do_handshake_on_connect=False)
            self._wire = self.sock = secured
            try:
                secured.do_handshake()
            except OSError:
                self.close()
                raise

    def _dial(self, addresses: Sequence[str]) -> socket.socket:
        for address in addresses[:-1]:
            with contextlib.suppress(OSError):
                return socket.create_connection((address, self.port), self.timeout)
        return socket.create_connection((addresses[-1], self.port), self.timeout)

    def shut(self) -> None:
        """End the connection, from any thread: reads return, and fail or find the end."""
        if self._wire is not None:
            with contextlib.suppress(OSError):
                self._wire.shutdown(socket.SHUT_RDWR)


@functools.cache
def _default_context() -> ssl.SSLContext:
    return ssl.create_default_context()


def split_url(url: str) -> SplitResult:
    """Return the parts of an http(s) URL. Raises TransferError(refused) for any other."""
    try:
        where = urlsplit(url)
        host = (where.hostname or "").encode("idna")  # as for its look-up, which takes no label of 64 characters
        usable = where.scheme in ("http", "https") and bool(host) and where.port != 0
    except ValueError:
        usable = False
    if not usable or any(ord(character) <= 32 or ord(character) > 126 for character in url):
        raise TransferError("not an http or https URL", "refused")
    return where


def target_of(where: SplitResult) -> str:
    """Return the path and query that a request names."""
    return (where.path or "/") + (f"?{where.query}" if where.query else "")


def authorization_of(where: SplitResult) -> dict[str, str]:
    """Return the header of Basic authentication with the userinfo of a URL, if it has one (RFC 7617)."""
    if where.username is None:
        return {}
    pair = f"{unquote(where.username)}:{unquote(where.password or '')}"
    return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def _read_answer(connection: HttpConnection, most: int) -> HttpAnswer:
    with connection.getresponse() as response:
        content = response.read(most + 1) if most else b""
        received = {name.lower(): value for name, value in response.getheaders()}
    if not most:
        return HttpAnswer(response.status, content, received)
    if len(content) > most:
        raise TransferError(f"its answer is longer than {most} bytes", "too_large")
    if response.length:
        raise TransferError(f"the last {response.length} bytes of its answer are missing", "unreachable")
    return HttpAnswer(response.status, content, received)


class HttpSession:
    """Requests to one URL over one connection, one after the other; it is opened again when the server has closed it.

    A thread of its own does the waiting.
    """

    def __init__(self, url: str, *, most: int, timeout_s: float, context: ssl.SSLContext | None = None) -> None:
        """`most`: of an answer's body, bytes. `timeout_s` (s) is that of a request. Raises TransferError(refused)."""
        self._where, self._context = split_url(url), context
        self._most, self._timeout_s = most, timeout_s
        self._connection: HttpConnection | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="http")

    async def connect(self) -> None:
        """Connect if there is no connection. Raises TransferError(unreachable)."""
        await self._run(self._connected)

    def renew(self) -> None:
        """Let the next request connect again, with what the context has by then; one under way is not disturbed."""
        self._thread.submit(self._drop)

    async def request(self, method: str, body: bytes, headers: Mapping[str, str]) -> HttpAnswer:
        """Send a request and return the answer, of any status. A request over a connection that turns out to be closed
        is repeated over a new one, so it must be idempotent. Raises TransferError: too_large, unreachable."""
        sent = authorization_of(self._where) | dict(headers)

        def exchange() -> HttpAnswer:
            kept = self._connection is not None
            try:
                return self._exchange(method, body, sent)
            except (http.client.RemoteDisconnected, ConnectionError):
                if not kept:
                    raise
            self._drop()
            return self._exchange(method, body, sent)

        return await self._run(exchange)

    def _exchange(self, method: str, body: bytes, headers: Mapping[str, str]) -> HttpAnswer:
        connection = self._connected()
        connection.request(method, target_of(self._where), body, dict(headers))
        answer = _read_answer(connection, self._most)
        if answer.headers.get("connection", "").lower() == "close":
            self._drop()
        return answer

    def _connected(self) -> HttpConnection:
        if self._connection is None:
            connection = HttpConnection(self._where, context=self._context, timeout_s=self._timeout_s)
            connection.connect()
            self._connection = connection
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _run(self, work: Callable[[], Result]) -> Result:
        def safely() -> Result:
            try:
                return work()
            except (OSError, http.client.HTTPException, ValueError) as error:
                self._drop()
                raise _unreachable(error, self._timeout_s) from None
            except BaseException:
                self._drop()
                raise

        running = asyncio.get_running_loop().run_in_executor(self._thread, safely)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.shield(running)
        except BaseException as error:
            if (connection := self._connection) is not None:
                connection.shut()
            running.add_done_callback(_forget)
            if isinstance(error, TimeoutError):
                raise _unreachable(error, self._timeout_s) from None
            raise

    async def close(self) -> None:
        """End the connection."""
        if (connection := self._connection) is not None:
            connection.shut()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._drop)
        self._thread.shutdown(wait=False)


def _unreachable(error: Exception, timeout_s: float) -> TransferError:
    """Return the failure; the socket's own time-out and that of the whole exchange are alike."""
    if isinstance(error, TimeoutError):
        return TransferError(f"no answer in {timeout_s:g} s", "unreachable")
    return TransferError(str(error) or type(error).__name__, "unreachable")


def _forget(done: "asyncio.Future[Result]") -> None:
    if not done.cancelled():
        done.exception()


async def request(
    method: str,
    url: str,
    *,
    most: int,
    timeout_s: float,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    context: ssl.SSLContext | None = None,
    resolve: Resolve | None = None,
) -> HttpAnswer:
    """Send a request in a thread of its own; return the answer, of any status, with at most `most` bytes of body.

    A pool of threads would let unresponsive servers delay the others. `timeout_s` (s) includes connecting; with `most`
    0 the body is not read. Raises TransferError: refused (the URL), too_large, unreachable.
    """
    where, cancel = split_url(url), Cancel()
    sent = {"Connection": "close"} | authorization_of(where) | dict(headers or {})
    done: Future[HttpAnswer] = Future()

    def exchange() -> HttpAnswer:
        connection = HttpConnection(where, context=context, timeout_s=timeout_s, resolve=resolve)
        with contextlib.closing(connection), cancel.watching(connection):
            connection.connect()
            cancel.check()
            connection.request(method, target_of(where), body, sent)
            return _read_answer(connection, most)

    def run() -> None:
        if done.set_running_or_notify_cancel():
            try:
                done.set_result(exchange())
            except (OSError, http.client.HTTPException, ValueError) as error:
                done.set_exception(_unreachable(error, timeout_s))
            except BaseException as error:  # noqa: BLE001 - it is passed on
                done.set_exception(error)

    new_thread(target=run, name="http").start()
    try:
        async with asyncio.timeout(timeout_s):
            return await asyncio.wrap_future(done)
    except TimeoutError as error:
        raise _unreachable(error, timeout_s) from None
    finally:
        cancel.cancel()
