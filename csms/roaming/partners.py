"""Partners: handshake and rotation of tokens in both directions, and requests to them.

The token that a partner uses is stored as a digest, the one that we use sealed. A rotation keeps the old token valid
until the new one is used, a handshake token A for 15 min, so that an answer that is lost leaves none of both sides out.
"""

import asyncio
import contextlib
import math
import secrets
import ssl
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from functools import partial
from typing import Final, NamedTuple, TypeVar
from urllib.parse import quote, urlencode, urljoin

import msgspec

from csms.cluster.feed import Feed
from csms.config import RoamingConfig
from csms.db import leases
from csms.db.store import Store
from csms.db.store_key import StoreKey
from csms.roaming import store as rows
from csms.roaming.rules import (
    MODULES,
    Partner,
    best_version,
    check_partner_url,
    digest_of,
    host_of,
    party_of,
    seal_purpose,
    with_roles,
)
from csms.roaming.store import KnownPartner
from csms.webhooks.rules import Reach
from csms.webhooks.work import within
from v2g.errors import ConfigError, OcpiError, StoreError, TransferError
from v2g.io.http.client import HttpAnswer, request
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog
from v2g.observe import Observe
from v2g.ocpi import wire
from v2g.ocpi.objects import BusinessDetails, ModuleEndpoint, OcpiCredentials, OfferedVersion, PartyRole, VersionDetails
from v2g.ocpi.wire import Version
from v2g.rates import retry_after

T = TypeVar("T")
PATH: Final = "/ocpi"
_REPEATS_MS: Final = 900_000
_SEEN_MS: Final = 60_000
"""So often it is noted that a partner answers."""
_REQUESTS: Final = 8
"""What a handshake sends at most: four requests, each again with another slash."""
_USED: Final = frozenset({"credentials", *MODULES["cpo"], *MODULES["emsp"]})
MOST_ANSWER: Final = 16 * 1024 * 1024
"""Octets of a partner's answer."""


class Sent(NamedTuple):
    """A partner's answer: its data in the inner form, its headers, and its time by the partner's clock, if any."""

    data: object
    headers: Mapping[str, str]
    at_ms: int | None


class Partners:
    """The partners of this back end. The constructor raises ConfigError for unreadable roots."""

    def __init__(
        self, config: RoamingConfig, store: Store, key: StoreKey, clock: Clock, observe: EventLog, feed: Feed
    ) -> None:
        self.config: Final = config
        self.reach: Final = Reach(config.allow)
        self.store: Final = store
        self._key = key
        self.clock: Final = clock
        self.observe: Final = observe
        self.feed = feed
        self.wake: Final = asyncio.Event()
        """Set when something was queued for partners."""
        self.commands: Final = set[str]()
        """Partners' commands that this node carries out."""
        self._context = ssl.create_default_context()
        for root in config.roots:
            try:
                self._context.load_verify_locations(root)
            except OSError as error:
                why = error.strerror or error
                raise ConfigError(f"[roaming] roots: {root}: {why}", hint="PEM files of certificates") from None

    @property
    def url(self) -> str:
        """The URL of our versions."""
        return f"{self.config.url}{PATH}/versions"

    @property
    def party(self) -> str:
        """Our party, as `de*abc`."""
        return party_of(self.config.country_code, self.config.party_id)

    def roles(self) -> tuple[PartyRole, ...]:
        """Return our roles."""
        return tuple(
            PartyRole(
                role=role,
                business_details=BusinessDetails(name=self.config.name),
                country_code=self.config.country_code,
                party_id=self.config.party_id,
            )
            for role in self.config.roles
        )

    def endpoints(self, version: Version) -> tuple[ModuleEndpoint, ...]:
        """Return our modules."""
        base = f"{self.config.url}{PATH}"
        found = [ModuleEndpoint(identifier="credentials", role="RECEIVER", url=f"{base}/{version}/credentials")]
        for side, modules in MODULES.items():
            if side.upper() in self.config.roles:
                found += [
                    ModuleEndpoint(identifier=name, role=role, url=f"{base}/{side}/{version}/{name}/")
                    for name, role in modules.items()
                ]
        return tuple(found)

    # -- handshake

    @contextlib.asynccontextmanager
    async def _alone(self, partner_id: str) -> AsyncIterator[None]:
        """Hold off other handshakes with a partner, also of other nodes and those that it begins: of two at once, a
        side could keep a token that the other one has replaced. Raises OcpiError."""
        name, holder, now_ms = f"roaming handshake {partner_id}", secrets.token_hex(16), self.clock.utc_ms()
        until_ms = now_ms + int(1000 * _REQUESTS * self.config.timeout_s)
        if not await self.store.run(leases.take, name, holder, now_ms, until_ms):
            raise OcpiError("another handshake is under way", code=3000, hint="repeat it when that one is over")
        try:
            yield
        finally:
            await self.store.run(leases.give_up, (name,), holder)

    async def register(self, partner_id: str) -> Partner:
        """Do the handshake that we begin (POST), or rotate the tokens of a registered partner (PUT).

        Raises OcpiError, TransferError, StoreError.
        """
        async with self._alone(partner_id):
            known = await self.store.run(rows.find_partner, partner_id)
            if known is None or not known.partner.versions_url or not known.sealed_token:
                waits = known is not None and known.partner.state == "invited"
                hint = "it registers with the token of its invitation" if waits else "remove it, and add it again"
                raise OcpiError(f"we have no token of partner {partner_id}", code=2000, hint=hint)
            partner, token = known.partner, self._key.open(known.sealed_token, seal_purpose(partner_id))
            partner, version, details = await self._details(partner, token, partner.versions_url)
            endpoint = partner_endpoint(details, "credentials")
            ours = new_token()
            first = partner.state == "invited"
            if first:
                await self.store.run(rows.put_partner, partner, digest=digest_of(ours))
            else:
                await self.store.run(partial(rows.expect_token, ours=True), partner_id, digest_of(ours))
            said = wire.plain(OcpiCredentials(token=ours, url=self.url, roles=self.roles()))
            theirs = await self._asked(partner, token, OcpiCredentials, endpoint, "POST" if first else "PUT", said)
            return await self._agree(msgspec.structs.replace(partner, rotated=not first), version, details, theirs)

    async def accept(
        self, partner: Partner, said: OcpiCredentials, version: Version, *, first: bool
    ) -> OcpiCredentials:
        """Answer a partner's handshake (POST, `first`) or rotation (PUT) at our endpoint of a version: call it back
        with its token, store that, and issue another one; a handshake may be repeated for a while, as its answer may be
        lost. Raises OcpiError: 3001 if it cannot be called."""
        async with self._alone(partner.partner_id):
            check_partner_url(said.url, partner.hosts, self.reach)
            partner = msgspec.structs.replace(
                partner, versions_url=said.url, hosts=partner.hosts or (host_of(said.url),)
            )
            await self._with_roles(partner, said)
            try:
                partner, _, details = await self._details(partner, said.token, said.url, version)
            except (TransferError, OcpiError) as error:
                code = error.code if isinstance(error, OcpiError) and error.code in (3002, 3003) else 3001
                raise OcpiError(f"cannot use your API: {error}", code=code) from None
            ours = new_token()
            await self.store.run(rows.expect_token, partner.partner_id, digest_of(ours))
            if first:
                partner = msgspec.structs.replace(partner, repeats_until_ms=self.clock.utc_ms() + _REPEATS_MS)
            await self._agree(msgspec.structs.replace(partner, rotated=False), version, details, said)
            return OcpiCredentials(token=ours, url=self.url, roles=self.roles())

    async def _agree(
        self, partner: Partner, version: Version, details: VersionDetails, theirs: OcpiCredentials
    ) -> Partner:
        """Store what a handshake has agreed."""
        check_partner_url(theirs.url, partner.hosts, self.reach)
        agreed = msgspec.structs.replace(
            await self._with_roles(partner, theirs), state="registered", versions_url=theirs.url, version=version,
            endpoints=details.endpoints,
        )  # fmt: skip
        sealed = self._key.seal(theirs.token, seal_purpose(partner.partner_id))
        await self.store.run(rows.put_partner, agreed, token=sealed)
        if partner.state == "invited":
            wanted = [each for each in ("tariffs", "locations", "tokens") if agreed.endpoint(each, "RECEIVER")]
            await self.store.run(rows.enqueue_all, partner.partner_id, wanted, self.clock.utc_ms())
            self.wake.set()
        self.observe(Observe("roaming", "roaming_partner_registered", {"partner": partner.partner_id}))
        self.feed.publish("roaming_partner_registered", None, {"partner": partner.partner_id})
        return agreed

    async def _details(
        self, partner: Partner, token: str, url: str, only: str = ""
    ) -> tuple[Partner, Version, VersionDetails]:
        """Return the best version that a partner offers; with a partner that expects tokens as they do."""
        try:
            offered = await self._asked(partner, token, tuple[OfferedVersion, ...], url)
        except OcpiError as error:  # also of status 400, or 200 with a code
            if error.code >= 3000 and error.http not in (400, 401, 403):
                raise
            partner = msgspec.structs.replace(partner, bare_token=not partner.bare_token)
            offered = await self._asked(partner, token, tuple[OfferedVersion, ...], url)
        version, where = best_version(list(offered), only)
        details = await self._asked(partner, token, VersionDetails, where)
        used = tuple(each for each in details.endpoints if each.identifier.lower() in _USED and each.url)
        for each in used:
            check_partner_url(each.url, partner.hosts, self.reach)
        details = msgspec.structs.replace(details, endpoints=used)
        partner_endpoint(details, "credentials")
        return partner, version, details

    async def _asked(
        self, partner: Partner, token: str, kind: type[T], url: str, method: str = "GET", body: object = None
    ) -> T:
        """Return what a partner answers in a handshake. Raises TransferError, and OcpiError that names the request."""
        try:
            return wire.read((await self.send(partner, method, url, body, token=token)).data, kind)
        except OcpiError as error:
            raise OcpiError(f"{method} {url}: {error}", code=error.code, http=error.http, hint=error.hint) from None

    async def _with_roles(self, partner: Partner, said: OcpiCredentials) -> Partner:
        others = {self.party: self.config.name}
        for each in await self.store.run(rows.list_partners):
            if each.partner.partner_id != partner.partner_id:
                others |= dict.fromkeys(each.partner.parties, "another partner")
        return with_roles(partner, said, others)

    async def unregister(self, known: KnownPartner, *, at_partner: bool) -> None:
        """End the registration: no token works any more. `at_partner`: tell it by DELETE. Raises as `call`."""
        partner = known.partner
        ended = msgspec.structs.replace(partner, state="unregistered", version="", endpoints=(), repeats_until_ms=0)
        url = partner.endpoint("credentials", "RECEIVER") or partner.endpoint("credentials", "SENDER")
        try:
            if at_partner and partner.state == "registered" and url is not None:
                await self.send(partner, "DELETE", url, token=self.token_of(known))
        finally:
            await self.store.run(rows.put_partner, ended, token="", digest="")
            self.observe(Observe("roaming", "roaming_partner_unregistered", {"partner": partner.partner_id}))
            self.feed.publish("roaming_partner_unregistered", None, {"partner": partner.partner_id})

    def token_of(self, known: KnownPartner) -> str:
        """Return the token that a partner has given us. Raises StoreError."""
        return self._key.open(known.sealed_token, seal_purpose(known.partner.partner_id))

    def seal(self, partner_id: str, token: str) -> str:
        """Return a token to use, sealed."""
        return self._key.seal(token, seal_purpose(partner_id))

    # -- requests

    async def call(
        self,
        known: KnownPartner,
        method: str,
        url: str,
        body: object = None,
        *,
        functional: bool = True,
        timeout_s: float | None = None,
        to: tuple[str, str] | None = None,
    ) -> Sent:
        """Send a request to a registered partner, or its party `to`. Raises OcpiError, TransferError, StoreError."""
        sent = await self.send(
            known.partner, method, url, body, token=self.token_of(known), functional=functional, timeout_s=timeout_s,
            to=to,
        )  # fmt: skip
        now_ms = self.clock.utc_ms()
        if known.seen_ms is None or now_ms - known.seen_ms > _SEEN_MS:
            with contextlib.suppress(StoreError):  # it has answered
                await self.store.run(rows.note_use, known.partner.partner_id, (), now_ms)
        return sent

    async def send(
        self,
        partner: Partner,
        method: str,
        url: str,
        body: object = None,
        *,
        token: str,
        functional: bool = False,
        timeout_s: float | None = None,
        to: tuple[str, str] | None = None,
    ) -> Sent:
        """Send a request to a partner's host. No redirect is followed, but one that only adds or drops the slash at the
        URL's end. Raises OcpiError, TransferError."""
        check_partner_url(url, partner.hosts, self.reach)
        number = secrets.token_hex(16)
        headers = {
            "Authorization": wire.authorization(token, bare=partner.bare_token),
            "X-Request-ID": number,
            "X-Correlation-ID": number,
        }
        if functional and partner.roles:
            first = partner.hub or (partner.roles[0].country_code, partner.roles[0].party_id)
            known = to is not None and party_of(*to) in partner.parties
            country_code, party_id = to if to is not None and known else first
            headers |= {
                "OCPI-from-country-code": self.config.country_code,
                "OCPI-from-party-id": self.config.party_id,
                "OCPI-to-country-code": country_code.upper(),
                "OCPI-to-party-id": party_id.upper(),
            }
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = wire.encode(wire.outer(body, partner_version(partner)))
        for where in (url, slashed(url)):
            answer = await request(
                method, where, most=MOST_ANSWER, timeout_s=timeout_s or self.config.timeout_s, body=content,
                headers=headers, context=self._context, resolve=within(self.reach),
            )  # fmt: skip
            if not 300 <= answer.status < 400 or joined(url, answer.headers.get("location", "")) != slashed(url):
                break
        data, at_ms = _opened(answer, method, self.clock.now())
        return Sent(data, answer.headers, at_ms)

    async def known(self, partner_id: str) -> KnownPartner:
        """Return a registered partner. Raises OcpiError."""
        found = await self.store.run(rows.find_partner, partner_id)
        if found is None or found.partner.state != "registered":
            raise OcpiError(f"partner {partner_id} is not registered", code=2000)
        return found


def joined(url: str, reference: str) -> str:
    """Return the URL that a partner's reference at a URL means. Raises OcpiError."""
    try:
        return urljoin(url, reference)
    except ValueError as error:
        raise OcpiError(f"{reference[:100]!r}: {error}", code=3001) from None


def slashed(url: str) -> str:
    """Return a URL with a slash at its path's end, or without the one that is there."""
    where, question, query = url.partition("?")
    return (where[:-1] if where.endswith("/") else f"{where}/") + question + query


def _opened(answer: HttpAnswer, method: str, now: datetime) -> tuple[object, int | None]:
    if answer.ok and (answer.body or method == "GET"):
        return wire.opened(answer.body)
    if answer.ok:  # some have nothing to say about what they have taken
        return None, None
    code, why = 3001, ""
    try:
        wire.opened(answer.body)
    except OcpiError as error:
        code, why = error.code, str(error) if error.http == 200 else ""  # a proxy's answer is not JSON
    asked_s = retry_after(answer.headers.get("retry-after", ""), now) if answer.status in (429, 503) else None
    wait = "" if asked_s is None else str(max(1, math.ceil(min(asked_s, rows.MOST_PAUSE_S))))
    raise OcpiError(f"HTTP {answer.status} {why}".strip(), code=code, http=answer.status, hint=wait)


def partner_version(partner: Partner) -> Version:
    """Return the version that is agreed with a partner."""
    return "2.3.0" if partner.version in ("", "2.3.0") else "2.2.1"


def partner_endpoint(details: VersionDetails, module: str) -> str:
    """Return the URL of a module. Raises OcpiError (3003)."""
    for each in details.endpoints:
        if each.identifier.lower() == module:
            return each.url
    raise OcpiError(f"the partner has no endpoint of {module}", code=3003)


def new_token() -> str:
    return secrets.token_urlsafe(32)


def below(url: str, *path: str, **query: str) -> str:
    """Return a URL below an endpoint."""
    where = "/".join((url.rstrip("/"), *(quote(each, safe="") for each in path)))
    return f"{where}?{urlencode(query)}" if query else where
