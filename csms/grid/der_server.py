"""Requests to an IEEE 2030.5 server: resources, whole lists, its rates and pauses; mutual TLS."""

import asyncio
import ssl
from collections import defaultdict
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate

from csms.grid.config import Ieee2030
from v2g.errors import CodecError, ConfigError, TransferError, TransportError
from v2g.ieee2030_5.resources import ACCEPT, CONTENT_TYPE, MAX_BYTES, lfdi_of, poll_rate_of, read_page, read_resource
from v2g.io.http.client import HttpAnswer, request
from v2g.rates import retry_after
from v2g.xml_text import Node

_ANSWER_S: Final = 20.0
_PAGE: Final = 100
MOST_ITEMS: Final = 2_000
_REDIRECTIONS: Final = (301, 302, 307, 308)
_MOST_REDIRECTIONS: Final = 3
_MOST_PAGES: Final = 100
_MOST_PATHS: Final = 5_000
_AT_ONCE: Final = 8
"""Requests of all devices of an aggregator at one time."""
_PAUSE_S: Final = 30
_LONGEST_PAUSE_S: Final = 3600
_DEFAULT_RATE_S: Final = 900
"""`pollRate` where a server states none."""


class AnswerError(TransportError):
    """The server answers with a status of failure."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status

    @property
    def final(self) -> bool:
        """Whether the same request will never be taken."""
        return self.status == HTTPStatus.NO_CONTENT or (
            400 <= self.status < 500 and self.status not in (408, 425, HTTPStatus.TOO_MANY_REQUESTS)
        )


class _Held(msgspec.Struct, frozen=True):
    until_ms: int
    rate_s: int
    nodes: tuple[Node, ...]


class DerServer:
    """One server. Every method raises TransportError (AnswerError for a status) or CodecError.

    Redirects are not followed. Links with the server's own address become paths. With `rates` set, a resource is not
    requested more often than its `pollRate` says, by all clients of it together.
    """

    def __init__(self, url: str, *, tls: ssl.SSLContext | None, rates: bool = False) -> None:
        self._url, self._tls, self._rates = url, tls, rates
        self._origin = _origin(url)
        self.path = urlsplit(url).path or "/"
        self.now_ms = 0
        self.answered_ms = 0
        """When it last answered a request for a resource."""
        self.subscribable: set[str] = set()
        """Paths of the resources that it sends notifications of."""
        self._held: dict[str, _Held] = {}
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._pause_s, self._quiet_ms = 0, 0
        self._type = CONTENT_TYPE

    @property
    def due_ms(self) -> int:
        """When the next of its resources may be requested; `now_ms` without rates."""
        return min((each.until_ms for each in self._held.values()), default=self.now_ms)

    def due(self, path: str) -> bool:
        """Return whether a resource may be requested now."""
        return self._fresh(path) is None

    def begin(self, now_ms: int) -> None:
        """Begin a poll; by a clock that was set back nothing is held, and nothing waits."""
        if now_ms < self.now_ms:
            self._held, self._quiet_ms = {}, 0
        self.now_ms = now_ms

    def forget(self, path: str = "") -> None:
        """Request a resource, or all of them, again."""
        self._held = {each: held for each, held in self._held.items() if path not in ("", each)}

    async def resource(self, path: str, name: str, *, rate_of: str = "") -> Node:
        """Return a resource, of the poll rate of `rate_of`, or its own."""
        async with self._asking[path]:
            if (held := self._fresh(path)) is not None:
                return held[0]
            node = self._local(read_resource(await self._get(path), name), path)
            self._hold(path, (node,), poll_rate_of(node), rate_of)
            self._note_subscribable(path, node.get("subscribable"))
            return node

    async def items(self, path: str, name: str, *, rate_of: str = "") -> tuple[Node, ...]:
        """Return the items of a list, all pages of it; of the poll rate of `rate_of`, or its own."""
        async with self._asking[path]:
            if (held := self._fresh(path)) is not None:
                return held
            found: list[Node] = []
            count: int | None = None
            separator = "&" if "?" in path else "?"
            for _ in range(_MOST_PAGES):
                if len(found) > MOST_ITEMS:
                    break
                page = read_page(await self._get(f"{path}{separator}s={len(found)}&l={_PAGE}"), name)
                if count is not None and page.all != count:  # it has changed between two pages
                    found, count = [], None
                    continue
                count = page.all
                self._note_subscribable(path, page.subscribable)
                found += (self._local(each, path) for each in page.items)
                if not page.items or len(found) >= page.all:
                    self._hold(path, tuple(found), page.poll_rate_s, rate_of)
                    return tuple(found)
            raise CodecError(f"{name}List at {path} has more than {MOST_ITEMS} items or {_MOST_PAGES} pages")

    async def post(self, path: str, body: bytes) -> str:
        """Create a resource; return its path, empty if the server does not say."""
        answer = await self._exchange("POST", path, body)
        return self.path_of(answer.headers.get("location", ""), path)

    async def put(self, path: str, body: bytes) -> None:
        """Replace a resource."""
        await self._exchange("PUT", path, body)

    async def delete(self, path: str) -> None:
        """Delete a resource."""
        await self._exchange("DELETE", path, None)

    async def read(self, path: str) -> bytes:
        """Return what is at a path, whatever it is."""
        return (await self._exchange("GET", path, None, accept="application/json")).body

    def _fresh(self, path: str) -> tuple[Node, ...] | None:
        held = self._held.get(path) if self._rates else None
        return held.nodes if held is not None and self.now_ms < held.until_ms else None

    def _hold(self, path: str, nodes: tuple[Node, ...], rate_s: int | None, rate_of: str) -> None:
        if not self._rates:
            return
        if len(self._held) >= _MOST_PATHS:
            self._held.clear()
            self._asking = defaultdict(
                asyncio.Lock, {path: lock for path, lock in self._asking.items() if lock.locked()}
            )
        other = self._held.get(rate_of)
        rate_s = rate_s or (_DEFAULT_RATE_S if other is None else other.rate_s)
        self._held[path] = _Held(self.now_ms + rate_s * 1000, rate_s, nodes)

    def _note_subscribable(self, path: str, kinds: str | None) -> None:
        if kinds in ("1", "3") and len(self.subscribable) < _MOST_PATHS:
            self.subscribable.add(path)
        else:
            self.subscribable.discard(path)

    def path_of(self, href: str, where: str = "/") -> str:
        """Return a link at a path of this server as a path, one to another server as it is."""
        try:
            url = urljoin(f"{self._origin}{where}", href.strip()) if href else ""
            if not url or _origin(url) != self._origin:
                return href
            parts = urlsplit(url)
        except ValueError:
            return href
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def _local(self, root: Node, where: str) -> Node:
        for node in root.iter():
            for name in ("href", "replyTo"):
                if href := node.get(name):
                    node.set(name, self.path_of(href, where))
        return root

    async def _get(self, path: str) -> bytes:
        answer = await self._exchange("GET", path, None)
        self.answered_ms = self.now_ms
        if answer.status == HTTPStatus.NO_CONTENT:
            raise AnswerError(f"the server has nothing at {path}", answer.status)
        return answer.body

    async def _exchange(self, method: str, path: str, body: bytes | None, accept: str = ACCEPT) -> HttpAnswer:
        if not path.startswith("/") or path.startswith("//"):
            raise CodecError(f"{path[:80]!r} is not a path on the server")
        if self.now_ms < self._quiet_ms:
            wait_s = (self._quiet_ms - self.now_ms) // 1000
            raise AnswerError(
                f"the server asks not to be requested for another {wait_s} s", HTTPStatus.TOO_MANY_REQUESTS
            )
        answer = await self._request(method, path, body, accept)
        if answer.status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE and body is not None and self._type == CONTENT_TYPE:
            self._type = "application/xml"
            answer = await self._request(method, path, body, accept)
        for _ in range(_MOST_REDIRECTIONS):
            there = self.path_of(answer.headers.get("location", ""), path) if answer.status in _REDIRECTIONS else ""
            if not there.startswith("/") or there.startswith("//"):  # of another server: our certificate is not for it
                break
            answer = await self._request(method, there, body, accept)
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            now = datetime.fromtimestamp(self.now_ms / 1000, UTC)
            asked_s = retry_after(answer.headers.get("retry-after", ""), now) or 0.0
            self._pause_s = min(_LONGEST_PAUSE_S, self._pause_s * 2 or _PAUSE_S)
            self._quiet_ms = self.now_ms + round(max(self._pause_s, min(asked_s, _LONGEST_PAUSE_S)) * 1000)
        elif answer.ok:
            self._pause_s = 0
        if not answer.ok:
            raise AnswerError(f"the server answers {method} {path} with HTTP status {answer.status}", answer.status)
        return answer

    async def _request(self, method: str, path: str, body: bytes | None, accept: str) -> HttpAnswer:
        headers = {"Accept": accept} | ({"Content-Type": self._type} if body is not None else {})
        url = f"{self._origin}{path}"
        try:
            async with self._room:
                return await request(
                    method, url, most=MAX_BYTES, timeout_s=_ANSWER_S, body=body, headers=headers, context=self._tls
                )
        except TransferError as error:
            if error.failure == "too_large":
                raise CodecError(f"{path} has more than {MAX_BYTES} bytes") from None
            raise TransportError(
                f"{url}: {error}", hint="is the server reachable, and our certificate known?"
            ) from None


def _origin(url: str) -> str:
    """Return scheme, host and port of a URL, without what they are by default. Raises ValueError."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = parts.hostname or ""
    plain = port == (443 if parts.scheme == "https" else 80)
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}" + ("" if plain else f":{port}")


def tls_of(config: Ieee2030) -> ssl.SSLContext:
    """Return the settings of mutual TLS. Raises ConfigError."""
    context = ssl.create_default_context(cafile=None if config.root is None else str(config.root))
    context.check_hostname = config.check_hostname
    try:
        if config.ccm8:
            context.set_ciphers("ECDHE-ECDSA-AES128-CCM8:ECDHE+AESGCM:@SECLEVEL=0")
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(config.certificate, config.key)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise ConfigError(f"grid.ieee2030_5: {error}", hint="are certificate and key those of one device?") from None
    return context


def lfdi_in(path: Path) -> str:
    """Return the identifier of the first certificate of a PEM file. Raises ConfigError."""
    try:
        certificate = load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}", hint="grid.ieee2030_5.certificate is a PEM file, leaf first") from None
    return lfdi_of(certificate.public_bytes(Encoding.DER))
