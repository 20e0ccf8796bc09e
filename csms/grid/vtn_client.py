"""Requests of a VEN to a VTN: token, programs, events, reports (OpenADR 3.1 over HTTPS)."""

import ssl
from typing import Final
from urllib.parse import urlencode

import msgspec

from v2g import typed_json
from v2g.errors import CodecError, TransferError, TransportError
from v2g.io.http.authorized import ClientCredentials
from v2g.io.http.client import request
from v2g.io.runtime.clock import Clock
from v2g.openadr.objects import MAX_BYTES, Event, Program, ReportRequest, read_events, read_programs, read_reports
from v2g.text import printable

_PAGE: Final = 50
"""Objects a page: the most that a VTN may be asked for."""
_MOST_EVENTS: Final = 2_000
_MOST_PAGES: Final = 210
_ANSWER_S: Final = 20.0


class VtnRefusal(TransportError):
    """The VTN answers with a status of failure."""

    def __init__(self, message: str, status: int) -> None:
        hint = "are client_id and targets those that the VTN knows?" if status < 500 else ""
        super().__init__(message, hint=hint)
        self.final: Final = status in (403, 404)
        """Whether there is nothing for this VEN."""


class VtnClient:
    """Speaks to one VTN. Every method raises TransportError or CodecError.

    Tokens come from `token_url` by the OAuth 2.0 client credentials grant, and are asked for again when the VTN answers
    401. Redirects are not followed: they would take the token elsewhere.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        url: str,
        token_url: str,
        client_id: str,
        client_secret: str,
        scope: str,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._tls, self._url = tls, url.rstrip("/")
        token_url = token_url or f"{self._url}/auth/token"
        self._credentials = ClientCredentials(clock, token_url, client_id, client_secret, tls=tls, scope=scope)

    async def programs(self, names: tuple[str, ...]) -> tuple[tuple[Program, ...], dict[str, str]]:
        """Return the programs of these names, or all where there are none, and what is wrong with those that cannot be
        read, by id."""
        programs: list[Program] = []
        problems: dict[str, str] = {}
        for page in await self._pages("/programs", {}):
            found, wrong = read_programs(page)
            programs += (each for each in found if not names or each.program_name in names)
            problems |= wrong
        if problems and not programs:
            raise CodecError(next(iter(problems.values())))
        return tuple(programs), problems

    async def events(self, program_id: str, targets: tuple[str, ...]) -> tuple[tuple[Event, ...], dict[str, str]]:
        """Return the events of a program for some targets, and what is wrong with those that cannot be read."""
        events: dict[str, Event] = {}
        problems: dict[str, str] = {}
        for page in await self._pages("/events", {"programID": program_id}, targets):
            found, wrong = read_events(page)
            events |= {event.id: event for event in found}
            problems |= wrong
        return tuple(events.values()), problems

    async def has_report(self, event_id: str, client_name: str, report_name: str) -> bool:
        """Say whether the VTN has a report of that name about an event."""
        pages = await self._pages("/reports", {"eventID": event_id, "clientName": client_name})
        return any(each.report_name == report_name for page in pages for each in read_reports(page))

    async def report(self, report: ReportRequest) -> None:
        """Send a report."""
        await self._request("POST", f"{self._url}/reports", body=msgspec.json.encode(report))

    async def _pages(self, path: str, query: dict[str, str], targets: tuple[str, ...] = ()) -> list[bytes]:
        pages: list[bytes] = []
        skip = 0
        while skip < _MOST_EVENTS and len(pages) < _MOST_PAGES:
            parameters = [*query.items(), ("skip", str(skip)), ("limit", str(_PAGE))]
            parameters += [("targets", target) for target in targets]
            page = await self._request("GET", f"{self._url}{path}?{urlencode(parameters)}")
            try:
                count = len(typed_json.decode(page, list[msgspec.Raw]))
            except msgspec.DecodeError as error:
                raise CodecError(f"{path} is answered with no list: {error}") from None
            if count == 0 or page in pages:  # the end, or the VTN knows no pages
                return pages
            pages.append(page)
            skip += count  # its pages may be smaller
        raise CodecError(f"the VTN has more than {_MOST_EVENTS} objects, or {_MOST_PAGES} pages, at {path}")

    async def _request(self, method: str, url: str, *, body: bytes | None = None) -> bytes:
        for attempt in range(2):
            headers = {"Authorization": f"Bearer {await self._credentials.token()}", "Accept": "application/json"}
            if body is not None:
                headers["Content-Type"] = "application/json"
            status, answer = await self._exchange(method, url, headers, body)
            if status == 401 and attempt == 0:
                self._credentials.refused()
                continue
            if not 200 <= status < 300:
                text = printable(answer[:200].decode(errors="replace"))
                raise VtnRefusal(f"the VTN answers {method} {url} with HTTP status {status}: {text}", status)
            return answer
        raise AssertionError("the second attempt ends above")

    async def _exchange(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> tuple[int, bytes]:
        try:
            answer = await request(
                method, url, most=MAX_BYTES, timeout_s=_ANSWER_S, body=body, headers=headers, context=self._tls
            )
        except TransferError as error:
            if error.failure == "too_large":
                raise CodecError(f"the VTN's answer has more than {MAX_BYTES} bytes") from None
            raise TransportError(f"VTN {url}: {error}", hint="is the VTN reachable?") from None
        return answer.status, answer.body
