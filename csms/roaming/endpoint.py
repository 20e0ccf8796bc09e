"""Requests of partners: authentication, rate, versions, credentials, and the modules of `cpo` and `emsp`."""

import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from csms.backend import Backend
from csms.config import RoamingConfig
from csms.roaming import store as rows
from csms.roaming.open_data import OPEN, OpenData
from csms.roaming.partners import PATH, Partners
from csms.roaming.rules import MODULES, Partner, digest_of, party_of
from csms.roaming.store import KnownPartner
from csms.services import Services
from v2g.errors import OcpiError, StoreError
from v2g.observe import Observe, Scalar
from v2g.ocpi import wire
from v2g.ocpi.objects import OcpiCredentials, OfferedVersion, VersionDetails
from v2g.ocpi.wire import VERSIONS, Version
from v2g.rates import Buckets, caller_at

_log = logging.getLogger(__name__)

_ROUTED: Final = ("ocpi-from-country-code", "ocpi-from-party-id", "ocpi-to-country-code", "ocpi-to-party-id")


_OPEN: Final = ("versions", "credentials", *VERSIONS)
"""The last part of paths that are open to a partner with token A."""


class OcpiRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request of a partner. `path` follows the module, whose URL is `url`; names of `headers` are in lower case."""

    services: Services
    partners: Partners
    partner: Partner
    known: KnownPartner
    version: Version
    method: str
    path: tuple[str, ...]
    query: Mapping[str, str]
    body: bytes
    url: str
    headers: Mapping[str, str]
    sender: str = ""
    """The party that has sent it, as `de*abc`, as said in its headers."""

    @property
    def now_ms(self) -> int:
        """The time, UTC ms."""
        return self.services.clock.utc_ms()

    @property
    def behind(self) -> str:
        """The party behind a hub whose request it is; see `Partner.behind`."""
        return self.partner.behind(self.sender)

    def speaks_for(self, country_code: str, party_id: str) -> bool:
        """Return whether a party's objects and drivers are the sender's."""
        party = party_of(country_code, party_id)
        return party == self.behind if self.behind else party in self.partner.parties

    def sent(self) -> object:
        """Return the body in the inner form. Raises OcpiError."""
        return wire.inner(wire.decode(self.body))


class OcpiAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer: data in the inner form, or a whole `document`."""

    data: object = None
    document: object = None
    status: int = 200
    code: int = 1000
    message: str = ""
    headers: Mapping[str, str] = {}


Handler = Callable[[OcpiRequest], Awaitable[OcpiAnswer]]
HANDLERS: Final[dict[tuple[str, str], Handler]] = {}
"""By side and module."""


_UNKNOWN: Final = {"location": 2003, "evse": 2003, "connector": 2003, "token": 2004}


def not_found(what: str = "path") -> OcpiError:
    """Return the error for what does not exist."""
    return OcpiError(f"unknown {what}", code=_UNKNOWN.get(what, 2001), http=404)


def only(method: str, *allowed: str) -> None:
    """Raise OcpiError for a method that a path does not have; its hint names those that it has."""
    if method not in allowed:
        raise OcpiError(f"{method} is not allowed here", code=2000, hint=", ".join(allowed), http=405)


_HINTS: Final = ((405, "Allow"), (429, "Retry-After"))
"""Headers of answers that are the error's hint (RFC 9110)."""


class OcpiEndpoint:
    """The ASGI application below `/ocpi`."""

    def __init__(self, backend: Backend, partners: Partners) -> None:
        self._services = backend.services
        self._partners = partners
        self._open = OpenData(backend.services, partners)
        config: RoamingConfig = partners.config
        self._most = backend.services.config.api.max_body_bytes
        self._buckets = Buckets(per_s=config.requests_per_s, burst=config.requests_at_once)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        body = b""
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return
            body += message.get("body", b"")
            if len(body) > self._most or not message.get("more_body", False):
                break
        try:
            if len(body) > self._most:
                raise OcpiError(f"more than {self._most} octets", code=2001, http=413)
            answer, version = await self._answer(scope, headers, body)
        except OcpiError as error:
            hints = {name: error.hint for status, name in _HINTS if error.http == status}
            version = VERSIONS[0]
            answer = OcpiAnswer(status=error.http, code=error.code, message=str(error), headers=hints)
        except StoreError as error:
            _log.warning("%s %s: %s", scope["method"], scope["path"], error)
            version, answer = VERSIONS[0], OcpiAnswer(status=503, code=3000, message=error.answer)
        except Exception:  # noqa: BLE001  a defect is logged, and the partner told in its protocol
            _log.exception("%s %s", scope["method"], scope["path"])
            version, answer = VERSIONS[0], OcpiAnswer(status=500, code=3000, message="internal error")
        await _respond(send, answer, version, headers, self._services.clock.utc_ms())

    async def _answer(self, scope: Any, headers: Mapping[str, str], body: bytes) -> tuple[OcpiAnswer, Version]:
        peer = scope["client"][0] if scope.get("client") else ""
        method = scope["method"]
        if b"%00" in scope["raw_path"] + scope["query_string"]:
            raise OcpiError("a text must not contain NUL", code=2001, http=400)
        path = tuple(unquote(each) for each in scope["raw_path"].decode("latin-1").split("/")[2:] if each)
        if path[:1] == (OPEN,) and self._partners.config.open_data:
            self._throttle(f"peer:{caller_at(peer)}")
            only(method, "GET")
            query = scope["query_string"].decode("latin-1")
            shown = await self._open.answer(path[1:], query)
            return OcpiAnswer(data=shown.data, document=shown.document, headers=shown.headers), shown.version
        digests = [digest_of(each) for each in wire.tokens_in(headers.get("authorization", ""))]
        run, now_ms = self._services.store.run, self._services.clock.utc_ms()
        found = await self._services.store.read(rows.partner_of, digests) if digests else None
        self._throttle(f"partner:{found[0].partner.partner_id}" if found else f"peer:{caller_at(peer)}")
        if found is None:
            self._refused(peer, "unknown token")
            raise OcpiError("unknown token", code=2000, http=401)
        known, fresh, older = found
        partner = known.partner
        if older and partner.repeats_until_ms:  # token A: the one that the handshake has issued was never used
            partner = msgspec.structs.replace(partner, state="invited")
            if now_ms >= partner.repeats_until_ms:
                self._refused(peer, "token A")
                raise OcpiError("registered: use the token of the handshake", code=2000, http=401)
        if partner.state == "invited" and not (len(path) <= 2 and (not path or path[-1] in _OPEN)):
            self._refused(peer, "not registered")
            raise OcpiError("not registered: this token is for versions and credentials", code=2000, http=401)
        transport = scope["state"].get("transport")
        if transport is not None:
            scope["state"]["leave"](transport)
        if fresh or known.seen_ms is None or now_ms - known.seen_ms > 1000:
            await run(rows.note_use, partner.partner_id, digests, now_ms)
        if fresh:
            partner = msgspec.structs.replace(partner, repeats_until_ms=0)
        base = f"{self._partners.config.url}{PATH}"
        if path in ((), ("versions",)):
            only(method, "GET")
            offered = [OfferedVersion(version=each, url=f"{base}/{each}") for each in VERSIONS]
            return OcpiAnswer(data=wire.plain(offered)), VERSIONS[0]
        version = next((each for each in VERSIONS if each in path[:2]), None)
        if version is None:
            raise not_found("version")
        asked = OcpiRequest(
            services=self._services, partners=self._partners, partner=partner, known=known, version=version,
            method=method, path=path[3:], query=wire.query_of(scope["query_string"].decode("latin-1")), body=body,
            url=f"{base}/{'/'.join(path[:3])}", headers=headers,
        )  # fmt: skip
        if path == (version,):
            only(method, "GET")
            details = VersionDetails(version=version, endpoints=self._partners.endpoints(version))
            return OcpiAnswer(data=wire.plain(details)), version
        if path == (version, "credentials"):
            return await self._handled(asked, "credentials", _credentials), version
        if len(path) < 3 or path[1] != version or path[0].upper() not in self._partners.config.roles:
            raise not_found()
        sender, receiver = (
            (asked.headers.get(f"ocpi-{way}-country-code", ""), asked.headers.get(f"ocpi-{way}-party-id", ""))
            for way in ("from", "to")
        )
        parties = asked.partner.parties
        if all(receiver) and party_of(*receiver) != asked.partners.party and party_of(*receiver) not in parties:
            raise OcpiError(f"unknown receiver {'*'.join(receiver)}", code=4001)
        if all(sender) and party_of(*sender) not in parties:
            raise OcpiError(f"{'*'.join(sender)} is not one of your parties", code=2000, http=404)
        asked = msgspec.structs.replace(asked, sender=party_of(*sender) if all(sender) else "")
        handler = HANDLERS.get((path[0], path[2]))
        if handler is None or path[2] not in MODULES[path[0]]:  # type: ignore[index]  # HANDLERS has its sides only
            raise not_found("module")
        return await self._handled(asked, path[2], handler), version

    async def _handled(self, asked: OcpiRequest, module: str, handler: Handler) -> OcpiAnswer:
        """Answer by a handler. What it refuses is reported: only the partner would know of a CDR that was not taken."""
        try:
            return await handler(asked)
        except OcpiError as error:
            if asked.method != "GET" and error.code != 2004:  # an unknown token is an answer
                data = {"partner": asked.partner.partner_id, "module": module, "reason": str(error)[:300]}
                self._services.observe(Observe("roaming", "object_refused", dict[str, Scalar](data)))
            raise

    def _throttle(self, caller: str) -> None:
        wait_s = self._buckets.take(caller, self._services.clock.monotonic())
        if wait_s > 0:
            raise OcpiError("too many requests", code=2000, http=429, hint=str(math.ceil(wait_s)))

    def _refused(self, peer: str, reason: str) -> None:
        data: dict[str, Scalar] = {"peer": peer, "reason": reason}
        self._services.observe(Observe("roaming", "request_refused", data))


async def _credentials(asked: OcpiRequest) -> OcpiAnswer:
    """Answer GET, POST (handshake), PUT (rotation, other version) and DELETE of credentials."""
    registered = asked.partner.state == "registered"
    if asked.method == "GET":
        token = next(iter(wire.tokens_in(asked.headers.get("authorization", ""))))
        ours = OcpiCredentials(token=token, url=asked.partners.url, roles=asked.partners.roles())
        return OcpiAnswer(data=wire.plain(ours))
    only(asked.method, *(("PUT", "DELETE") if registered else ("POST",)))
    if asked.method == "DELETE":
        await asked.partners.unregister(asked.known, at_partner=False)
        return OcpiAnswer()
    said = wire.read(asked.sent(), OcpiCredentials)
    given = await asked.partners.accept(asked.partner, said, asked.version, first=asked.method == "POST")
    return OcpiAnswer(data=wire.plain(given))


async def _respond(send: Any, answer: OcpiAnswer, version: Version, asked: Mapping[str, str], now_ms: int) -> None:
    body = wire.envelope(wire.outer(answer.data, version), now_ms, code=answer.code, message=answer.message)
    if answer.document is not None:
        body = wire.encode(answer.document)
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store", "Content-Length": str(len(body))}
    for name in ("X-Request-ID", "X-Correlation-ID"):
        if said := asked.get(name.lower()):
            headers[name] = said
    if all(each in asked for each in _ROUTED):
        swapped = (_ROUTED[2], _ROUTED[3], _ROUTED[0], _ROUTED[1])
        headers |= {name: asked[other] for name, other in zip(_ROUTED, swapped, strict=True)}
    headers |= answer.headers
    if answer.status == 401:
        headers["WWW-Authenticate"] = "Token"
    listed = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": listed})
    await send({"type": "http.response.body", "body": body, "more_body": False})
