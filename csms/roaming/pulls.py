"""Objects of partners by pull: what a push has not brought, page by page, hourly and after the handshake.

A page's objects are stored as if they were pushed, so that one that comes twice is stored once. It has moved to the end
of the list, and others may have moved to pages that were read already: the list is read again. The next pull asks for
what has changed since the last one began; daily, and when people ask, for what was refused, too: the partner, or this
back end, may have been mended.
"""

import asyncio
import contextlib
from functools import partial
from typing import Final

import msgspec
from sqlalchemy import Connection

from csms.db.outbox import Couriers
from csms.roaming import store as rows
from csms.roaming.partners import Partners, joined
from csms.roaming.received import announce_cdr, store_object, take_cdr, take_client
from csms.roaming.rules import Partner, check_partner_url, key_of, party_of
from csms.roaming.store import Kept, KnownPartner
from csms.services import Services
from v2g import typed_json
from v2g.errors import OcpiError, StoreError, TransferError, V2GError
from v2g.observe import Observe, Scalar
from v2g.ocpi import wire
from v2g.ocpi.objects import ClientInfo, OcpiCdr

MODULES: Final = {
    "EMSP": ("hubclientinfo", "locations", "tariffs", "sessions", "cdrs"), "CPO": ("hubclientinfo", "tokens"),
}  # fmt: skip
"""What we pull in each role, of partners that have the modules as senders."""

_EVERY_MS: Final = 3_600_000
_AGAIN_MS: Final = 86_400_000
"""So often what was refused is asked for again."""
_LOOK_S: Final = 30.0
_AT_ONCE: Final = 8
_OVERLAP_MS: Final = 300_000
"""Clocks of partners may be so much behind ours."""

_PAGE: Final = 100
_MOST_PAGES: Final = 20_000
_MOST_REPEATS: Final = 3
"""A page may come again where a list moves that is cut into small ones."""
_MOST_READINGS: Final = 3
"""So often a list is read that moves meanwhile: a busy one always does, but each time leaves out other objects."""


class Pulled(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a pull leaves to be asked for again: from the first refused object's last change on (UTC ms; None: nothing
    was refused); `asked_ms`: when that was asked for last."""

    refused_ms: int | None = None
    asked_ms: int = 0


async def keep_pulling(services: Services) -> None:
    """Pull from each registered partner hourly, on one node; one with a long list, or a slow one, delays few others."""
    pullers = Couriers(partial(_pull_due, services, asyncio.Semaphore(_AT_ONCE)))
    try:
        while True:
            if await services.leads("roaming pulls", _LOOK_S):
                found = await services.store.read(rows.list_partners)
                pullers.wake({each.partner.partner_id for each in found if each.partner.state == "registered"})
            await asyncio.sleep(_LOOK_S)
    finally:
        await pullers.dismiss(pullers.destinations)


async def _pull_due(services: Services, limit: asyncio.Semaphore, partner_id: str) -> None:
    async with limit:
        last = await services.store.read(rows.find_object, partner_id, "pulls", "all")
        now_ms = services.clock.utc_ms()
        if last is None or _set_back(now_ms, last) or now_ms - last.updated_ms >= _EVERY_MS:
            await pull_all(services, partner_id)


def _set_back(now_ms: int, last: Kept) -> bool:
    """Return whether the clock was set back since a pull: nobody knows when it was."""
    return last.updated_ms > now_ms + _OVERLAP_MS


async def pull_all(services: Services, partner_id: str, *, again: bool = False) -> dict[str, tuple[int, str]]:
    """Pull every module of a partner; return how many objects each had, or why it could not be read: then it is tried
    again next time. `again`: with what was refused."""
    partners = services.find(Partners)
    assert partners is not None, "this work runs with [roaming] only"
    found, begun_ms = dict[str, tuple[int, str]](), services.clock.utc_ms()
    modules = dict.fromkeys(module for role in partners.config.roles for module in MODULES[role])
    for module in modules:
        try:
            known = await partners.known(partner_id)  # a hub may speak for more parties now
            if known.partner.endpoint(module, "SENDER") is not None:
                found[module] = await _pull(services, known, module, again=again), ""
        except (OcpiError, TransferError, StoreError) as error:
            found[module] = 0, str(error)[:300]
            data: dict[str, Scalar] = {"partner": partner_id, "module": module, "reason": str(error)[:300]}
            services.observe(Observe("roaming", "pull_failed", data))
    await services.store.run(rows.put_object, _noted(partner_id, "all", begun_ms, Pulled()))
    return found


def _noted(partner_id: str, module: str, begun_ms: int, pulled: Pulled) -> Kept:
    document = msgspec.json.encode(pulled).decode()
    return Kept(owner=partner_id, module="pulls", object_id=module, updated_ms=begun_ms, document=document)


async def _pull(services: Services, known: KnownPartner, module: str, *, again: bool) -> int:
    """Pull the objects of a module that have changed since the last time; return how many there were."""
    partner, begun_ms = known.partner, services.clock.utc_ms()
    last = await services.store.read(rows.find_object, partner.partner_id, "pulls", module)
    if last is not None and _set_back(begun_ms, last):
        last = None
    since_ms = 0 if last is None else max(0, last.updated_ms - _OVERLAP_MS)
    before = Pulled(asked_ms=begun_ms) if last is None else typed_json.decode(last.document, Pulled)
    again = before.refused_ms is not None and (again or begun_ms - before.asked_ms >= _AGAIN_MS)
    left = before
    if before.refused_ms is not None and again:
        since_ms, left = max(0, min(since_ms, before.refused_ms - _OVERLAP_MS)), Pulled(asked_ms=begun_ms)
    query = {"date_from": wire.moment(since_ms).strftime("%Y-%m-%dT%H:%M:%SZ")} if last or module == "sessions" else {}
    count, partners_ms = 0, begun_ms
    for _ in range(_MOST_READINGS):
        count, left, moved, at_ms = await _read(services, known, module, query, left, begun_ms)
        if at_ms is not None:  # its objects have times by its clock, which may be slow
            partners_ms = min(partners_ms, at_ms)
        if not moved:
            break
    await services.store.run(rows.put_object, _noted(partner.partner_id, module, partners_ms, left))
    return count


async def _read(
    services: Services, known: KnownPartner, module: str, query: dict[str, str], left: Pulled, begun_ms: int
) -> tuple[int, Pulled, bool, int | None]:
    """Read all pages of a list; return how many objects there were, what is left to be asked for again, whether one
    came on two pages or has gone: others may have been on none, and when the first page came by the partner's clock."""
    partners, partner = services[Partners], known.partner
    base = partner.endpoint(module, "SENDER")
    offset, repeats, seen, before_it = 0, 0, set[str](), None
    names, moved, at_ms = set[str](), False, None
    total, guessed = 0, False
    url = None if base is None else wire.page_url(base, query, offset, _PAGE)
    while url is not None and url not in seen and len(seen) < _MOST_PAGES:
        seen.add(url)
        try:
            answer = await partners.call(known, "GET", url, functional=module != "hubclientinfo")
        except OcpiError:
            if guessed:  # the list ended with the page before
                break
            raise
        at_ms = answer.at_ms if len(seen) == 1 else at_ms
        items = [] if answer.data is None else answer.data
        if not isinstance(items, list):
            raise OcpiError("its data is not a list", code=3001)
        new, refused, refused_ms = await services.store.run(
            _take_page, partner, module, items, begun_ms, partners.party
        )
        for each in new:
            announce_cdr(services, each)
        if refused:
            first_ms = refused_ms if left.refused_ms is None else min(refused_ms, left.refused_ms)
            left = Pulled(first_ms, left.asked_ms)
            data: dict[str, Scalar] = {"partner": partner.partner_id, "module": module, "reason": refused[:300]}
            services.observe(Observe("roaming", "object_refused", data))
        here = {_name_of(each) for each in items if isinstance(each, dict)}
        moved = moved or not names.isdisjoint(here)
        names |= here
        offset += len(items)
        link = wire.link_of(answer.headers.get("link", ""))
        most, page = (_number(answer.headers.get(name, "")) for name in ("x-total-count", "x-limit"))
        moved, total = moved or 0 < most < total, most or total
        # a full page of a partner that says neither how many there are nor where the next one is
        guessed = not most and link is None and len(items) >= min(page or _PAGE, _PAGE)
        url = None if link is None else _followed(partners, partner, url, link)
        if items and base is not None:
            if url is None and (link is not None or most > offset or guessed):  # it names no page that can be asked for
                url = wire.page_url(base, query, offset, _PAGE)
            elif url in seen and most > len(names):  # it names one again
                url = wire.page_url(base, query, len(names), _PAGE)
        repeats = repeats + 1 if items == before_it else 0
        if repeats == _MOST_REPEATS:  # the list has come to its end, or has no pages, whatever it says
            return offset, left, False, at_ms
        before_it = items
    return offset, left, moved, at_ms


def _number(header: str) -> int:
    return int(header[:12]) if header.isascii() and header.isdecimal() else 0


def _name_of(item: dict[str, object]) -> str:
    """Return what is an object's own in its list."""
    names = ("country_code", "party_id", "role", "id", "uid", "type")
    return "*".join(str(item.get(name) or "") for name in names).lower()


def _followed(partners: Partners, partner: Partner, here: str, link: str) -> str | None:
    """Return the URL of a `Link`, also a relative one (RFC 8288, 3.1); None: it names what is not called, as the name
    of a host behind the partner's proxy."""
    with contextlib.suppress(OcpiError):
        return check_partner_url(joined(here, link), partner.hosts, partners.reach)
    return None


def _take_page(
    connection: Connection, partner: Partner, module: str, items: list[object], now_ms: int, ours: str
) -> tuple[list[Kept], str, int]:
    """Store the objects of a page; return new CDRs, what is wrong with the first object that is refused, and the oldest
    last change of those, UTC ms."""
    new, refused, refused_ms = list[Kept](), "", now_ms
    for each in items:
        try:
            if not isinstance(each, dict):
                raise OcpiError("an object is expected", code=2001)
            if module == "hubclientinfo":
                take_client(connection, partner.partner_id, wire.read(each, ClientInfo), ours)
                continue
            whose = str(each.get("country_code") or ""), str(each.get("party_id") or "")
            if party_of(*whose) not in partner.parties:
                raise OcpiError(f"{'*'.join(whose)} is not one of its parties", code=2001)
            if module == "cdrs":
                new += take_cdr(connection, partner, wire.read(each, OcpiCdr), wire.encode(each).decode(), now_ms)
                continue
            names = ("uid", "type") if module == "tokens" else ("id",)
            ids = [str(each.get(name) or "RFID") for name in names]
            key = key_of(*whose, *ids)
            store_object(connection, partner.partner_id, module, key, partial(_as_it_is, each), now_ms)
        except V2GError as error:
            sent = each if isinstance(each, dict) else {}
            refused = refused or f"{str(sent.get('id') or sent.get('uid') or 'without id')[:40]}: {error}"
            changed_ms = 0
            with contextlib.suppress(V2GError):
                changed_ms = wire.read_time(sent.get("last_updated"))
            refused_ms = min(refused_ms, changed_ms)
    return new, refused, refused_ms


def _as_it_is(sent: dict[str, object], _known: object) -> dict[str, object]:
    return sent
