"""Requests to an IEEE 2030.5 server: its resources over mutual TLS, lists page by page, and what is reported back."""

import ssl
from typing import Final
from urllib.parse import urlsplit

from v2g.errors import CodecError, TransferError, TransportError
from v2g.ieee2030_5.resources import CONTENT_TYPE, MAX_BYTES, Page, read_page, read_resource
from v2g.io.http.client import HttpAnswer, request
from v2g.xml_text import Node

_ANSWER_S: Final = 20.0
_PAGE: Final = 100
_MOST_ITEMS: Final = 2_000
_MOST_PAGES: Final = 100


class DerServer:
    """One server. Every method raises TransportError or CodecError. Redirects are not followed."""

    def __init__(self, url: str, *, tls: ssl.SSLContext | None) -> None:
        parts = urlsplit(url)
        self._origin, self.path, self._tls = f"{parts.scheme}://{parts.netloc}", parts.path or "/", tls

    async def resource(self, path: str, name: str) -> Node:
        """Return a resource."""
        return read_resource(await self._get(path), name)

    async def items(self, path: str, name: str) -> tuple[Node, ...]:
        """Return the items of a list, all pages of it."""
        found: list[Node] = []
        separator = "&" if "?" in path else "?"
        for _ in range(_MOST_PAGES):
            if len(found) > _MOST_ITEMS:
                break
            page: Page = read_page(await self._get(f"{path}{separator}s={len(found)}&l={_PAGE}"), name)
            found += page.items
            if not page.items or len(found) >= page.all:
                return tuple(found)
        raise CodecError(f"{name}List at {path} has more than {_MOST_ITEMS} items or {_MOST_PAGES} pages")

    async def post(self, path: str, body: bytes) -> None:
        """Create a resource."""
        await self._exchange("POST", path, body)

    async def put(self, path: str, body: bytes) -> None:
        """Replace a resource."""
        await self._exchange("PUT", path, body)

    async def _get(self, path: str) -> bytes:
        return (await self._exchange("GET", path, None)).body

    async def _exchange(self, method: str, path: str, body: bytes | None) -> HttpAnswer:
        headers = {"Accept": CONTENT_TYPE} | ({"Content-Type": CONTENT_TYPE} if body is not None else {})
        url = f"{self._origin}{path}"
        try:
            answer = await request(
                method, url, most=MAX_BYTES, timeout_s=_ANSWER_S, body=body, headers=headers, context=self._tls
            )
        except TransferError as error:
            if error.failure == "too_large":
                raise CodecError(f"{path} has more than {MAX_BYTES} bytes") from None
            raise TransportError(
                f"{url}: {error}", hint="is the server reachable, and our certificate known?"
            ) from None
        if not answer.ok:
            raise TransportError(f"the server answers {method} {path} with HTTP status {answer.status}")
        return answer
