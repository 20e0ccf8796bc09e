"""Open data for national access points (AFIR), below `/ocpi/open`: places, status and prices without a token.

They are the objects that partners see: OCPI lists as theirs, and DATEX II made of them.
"""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from csms.config import DatexPush
from csms.roaming import store as rows
from csms.roaming.partners import PATH, Partners
from csms.roaming.store import Kept
from csms.services import Services
from v2g import typed_json
from v2g.datex import afir
from v2g.errors import OcpiError, StoreError, TransferError
from v2g.io.http.client import request
from v2g.observe import Observe, Scalar
from v2g.ocpi import wire
from v2g.ocpi.objects import OcpiLocation, OcpiTariff
from v2g.ocpi.wire import VERSIONS, Version
from v2g.typed_json import Fields

OPEN: Final = "open"
_MODULES: Final = ("locations", "tariffs")
_FRESH_MS: Final = 60_000
"""So long a publication of the same places and prices is shown as it was made."""


class _Made(msgspec.Struct, frozen=True):
    """A publication: in which round it was made, of what stand, and when."""

    round: int
    stand: str
    at_ms: int
    document: msgspec.Raw


class OpenAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Open data: `data` of OCPI in the inner form, or a whole `document`."""

    data: object = None
    document: object = None
    headers: dict[str, str] = {}
    version: Version = VERSIONS[0]


class OpenData:
    """What everybody may read. Publications are made once for all who ask meanwhile, and anew where a place or price
    has changed: a thousand places take seconds, and strangers may ask again and again."""

    def __init__(self, services: Services, partners: Partners) -> None:
        self._services, self._partners = services, partners
        self._made: dict[str, _Made] = {}
        self._making = asyncio.Lock()
        self._rounds = 0

    async def answer(self, path: tuple[str, ...], query: str) -> OpenAnswer:
        """Answer `VERSION/locations`, `VERSION/tariffs`, `datex/table`, `datex/status` or `datex/missing`. Raises
        OcpiError."""
        match path:
            case (version, module) if version in VERSIONS and module in _MODULES:
                return await _listed(self._services, self._partners, VERSIONS[VERSIONS.index(version)], module, query)
            case ("datex", ("table" | "status" | "missing") as what):
                return OpenAnswer(document=await self._publication(what))
        raise OcpiError("unknown path", code=2001, http=404)

    async def _publication(self, what: str) -> msgspec.Raw:
        read, asked = self._services.store.read, self._rounds
        async with self._making:
            now_ms, made = self._services.clock.utc_ms(), self._made.get(what)
            if made is not None and made.round > asked:
                return made.document
            stand = await read(rows.stand_of, *_MODULES)
            if made is None or made.stand != stand or now_ms - made.at_ms >= _FRESH_MS:
                self._rounds += 1
                document = await asyncio.to_thread(wire.encode, await _datex(self._services, self._partners, what))
                made = self._made[what] = _Made(self._rounds, stand, now_ms, msgspec.Raw(document))
            return made.document


async def _listed(services: Services, partners: Partners, version: Version, module: str, query: str) -> OpenAnswer:
    url = f"{partners.config.url}{PATH}/{OPEN}/{version}/{module}"
    shown, headers = await page_of(services, module, url, wire.query_of(query), "")
    return OpenAnswer(
        data=[each for each in shown if not isinstance(each, dict) or each.get("publish", True)],
        headers=headers, version=version,
    )  # fmt: skip


async def page_of(
    services: Services, module: str, url: str, query: Mapping[str, str], seen_by: str, party: str = ""
) -> tuple[list[object], dict[str, str]]:
    """Return a page of the own objects that a partner, or everyone (""), may see, and its headers; `party`: behind a
    hub, see `list_objects`."""
    asked = wire.list_query(query)
    total, found, more = await services.store.read(rows.list_objects, module, asked, seen_by=seen_by, party=party)
    headers = {"X-Total-Count": str(total), "X-Limit": str(wire.MOST_LISTED)}
    if more:
        last = found[-1].updated_ms, found[-1].object_id
        headers["Link"] = wire.next_link(url, query, asked, last, total)
    return [typed_json.decode_exact(each.document.encode()) for each in found], headers


async def publications(services: Services, partners: Partners) -> dict[str, Fields]:
    """Return table and status. A table has at least one site: without any there is nothing to send."""
    table = await _datex(services, partners, "table")
    return {"table": table, "status": await _datex(services, partners, "status")} if afir.has_sites(table) else {}


def _publisher(partners: Partners) -> afir.Publisher:
    config = partners.config
    return afir.Publisher(
        country_code=config.country_code, party_id=config.party_id, name=config.name, legal_name=config.legal_name
    )


async def _datex(services: Services, partners: Partners, what: str) -> Any:
    now, who = wire.moment(services.clock.utc_ms()), _publisher(partners)

    def made(connection: Connection) -> Fields | list[str]:
        """Made beside the event loop: there may be thousands of places."""
        locations, kept = (rows.objects_in(connection, "", module) for module in _MODULES)
        places = [typed_json.decode(each.document, OcpiLocation) for each in locations]
        tariffs = {each.id: each for each in (typed_json.decode(each.document, OcpiTariff) for each in kept)}
        if what == "missing":
            return afir.missing(places, tariffs, who)
        return (afir.table if what == "table" else afir.status)(places, tariffs, who, now)

    return await services.store.read(made)


_ANEW_MS: Final = 6 * 3_600_000
_AGAIN_S: Final = 60.0
_TIMEOUT_S: Final = 30.0
_MOST_ANSWER: Final = 65_536
_SENT: Final = "datex"


async def keep_pushing(services: Services) -> None:
    """Send what has changed, on one node; what was refused again after a minute."""
    partners = services.find(Partners)
    assert partners is not None, "this work runs with [roaming] only"
    push = partners.config.datex_push
    while True:
        pause_s = _AGAIN_S
        if push is not None and await services.leads("datex push", push.every_s):
            pause_s = push.every_s if await push_changes(services, partners, push) else _AGAIN_S
        await asyncio.sleep(pause_s)


class _Accepted(msgspec.Struct, frozen=True, omit_defaults=True):
    """The version of the last table that the access point has accepted."""

    version: str = ""


async def push_changes(services: Services, partners: Partners, push: DatexPush) -> bool:
    """Send table and status if they have changed, or are old; return whether none was refused. While a table is refused
    the status is that of the last one that was accepted, by which places that have not changed are known."""
    read, run, now_ms = services.store.read, services.store.run, services.clock.utc_ms()
    stand = await read(rows.stand_of, *_MODULES)
    sent = {each.object_id: each for each in await read(rows.objects_in, "", _SENT)}
    if len(sent) == 2 and all(_fresh(each, now_ms) and each.detail == stand for each in sent.values()):
        return True  # nothing has changed, and large lists are not read again
    found, urls = await publications(services, partners), {"table": push.table_url, "status": push.status_url}
    who, now, accepted, known = _publisher(partners), wire.moment(now_ms), True, _Accepted()
    for name, publication in found.items():
        last, sent_ms = sent.get(name), now_ms
        if name == "table":
            known = _Accepted(version=afir.table_version(publication))
        elif not accepted:
            publication = afir.of_table(publication, known.version)
        version = afir.version_of(publication)
        try:
            if last is None or last.alias != version or not _fresh(last, now_ms):
                await _send(push, urls[name], afir.container(publication, who, now))
            else:
                sent_ms = last.updated_ms
            kept = Kept(
                owner="", module=_SENT, object_id=name, updated_ms=sent_ms, alias=version, detail=stand,
                document=msgspec.json.encode(known).decode(),
            )  # fmt: skip
            await run(rows.put_object, kept)
        except (TransferError, StoreError, OSError) as error:
            data: dict[str, Scalar] = {"publication": name, "reason": str(error)[:300]}
            services.observe(Observe("roaming", "datex_push_failed", data))
            accepted, known = False, _Accepted() if last is None else typed_json.decode(last.document, _Accepted)
            if not known.version:
                break
    return accepted


def _fresh(kept: Kept, now_ms: int) -> bool:
    return now_ms - kept.updated_ms < _ANEW_MS


async def _send(push: DatexPush, url: str, document: object) -> None:
    """Send a publication, as the client of the certificate that is there now. Raises TransferError, OSError."""
    context = ssl.create_default_context()
    for root in push.roots:
        context.load_verify_locations(root)
    context.load_cert_chain(push.certificate, push.key)
    answer = await request(
        "POST", url, most=_MOST_ANSWER, timeout_s=_TIMEOUT_S, body=wire.encode(document),
        headers={"Content-Type": "application/json"}, context=context,
    )  # fmt: skip
    if not answer.ok:
        said = answer.body[:200].decode("utf-8", "replace")
        raise TransferError(f"HTTP {answer.status}: {said}", "refused", status=answer.status)
