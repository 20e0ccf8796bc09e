"""Keeps partners informed: what changes here is published and queued, and each partner has its own courier.

A courier sends a partner what is queued for it, again until it is acknowledged; a slow one delays no other. The queue
names objects, so that what is sent is always the object as it is then.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, NamedTuple

from csms.booking.work import Bookkeeper
from csms.db.outbox import Couriers
from csms.roaming import store as rows
from csms.roaming.charging_profiles import PROFILES, active_profile, queue_updates
from csms.roaming.commands import resume_commands
from csms.roaming.driver_commands import forget_commands, publish_tokens, unpublished_tokens
from csms.roaming.open_data import keep_pushing
from csms.roaming.partners import Partners, below, partner_version
from csms.roaming.publication import publish_changed_tariffs, publish_location, publish_station
from csms.roaming.pulls import keep_pulling
from csms.roaming.rules import KINDS
from csms.roaming.sessions import follow
from csms.roaming.store import DueDelivery, KnownPartner
from csms.services import Services
from csms.tariffs.work import TARIFFS_CHANGED
from csms.transactions import store as transactions
from v2g import typed_json
from v2g.errors import OcpiError, StoreError, TransferError, V2GError
from v2g.io.runtime.supervision import wait_at_most
from v2g.observe import Observe, Scalar
from v2g.ocpi.objects import OcpiLocation, OcpiSession

_log = logging.getLogger(__name__)

_LOOK_S: Final = 1.0
_AT_ONCE: Final = 8
_TOKENS_AT_ONCE: Final = 25
_SETTLE_S: Final = 0.05
_AGAIN_S: Final = 0.5
_ATTEMPTS: Final = 10
_SWEEP_S: Final = 60.0
_SWEEP_MS: Final = 3_600_000

_OF_STATIONS: Final = frozenset({"connector_status", "station_connected", "station_disconnected"})
_OF_TRANSACTIONS: Final = frozenset({
    "transaction_started", "transaction_updated", "transaction_ended", "transaction_closed", "transaction_released",
    "transaction_rejected", "transaction_held", "settled", "corrected", "roaming_driver",
})  # fmt: skip

_OF_LIMITS: Final = frozenset({"charging_limit", "charging_limit_cleared", "charging_profile_set"})
_OF_PRICES: Final = frozenset({TARIFFS_CHANGED, "site_changed"})
_OF_TOKENS: Final = frozenset({"token_put", "token_status", "token_removed"})


async def follow_changes(services: Services) -> None:
    """Publish what stations and transactions of this node do, within a fraction of a second."""
    with services.feed.subscribe(_OF_STATIONS | _OF_TRANSACTIONS | _OF_LIMITS | _OF_TOKENS) as changes:
        await sweep(services, every=True)
        await resume_commands(services)
        unbilled: dict[tuple[str, str], int] = {}
        while True:
            # Costs come a little after an end, and are looked for some times (`unbilled`)
            events = await changes.batch(_SETTLE_S, within_s=_AGAIN_S if unbilled else None)
            partners, now_ms = services[Partners], services.clock.utc_ms()
            if any(each.kind in _OF_TOKENS and each.node == services.feed.node for each in events):
                await _publish_tokens(services, now_ms)
            own = [each for each in events if each.node == services.feed.node and each.station_id]
            for station_id in sorted({str(each.station_id) for each in own if each.kind in _OF_STATIONS}):
                connected = services.connections.connected()
                await services.store.run(publish_station, partners.config, station_id, connected, now_ms)
            if limited := {str(each.station_id) for each in own if each.kind in _OF_LIMITS}:
                await services.store.run(queue_updates, limited, now_ms)
            keys = {
                (str(each.station_id), str(each.data.get("transaction") or each.data.get("session")))
                for each in own
                if each.kind in _OF_TRANSACTIONS
            }
            margin_ms = services[Bookkeeper].margin_ms
            for key in sorted(keys | unbilled.keys()):
                left = _ATTEMPTS if key in keys else unbilled[key] - 1
                if await services.store.run(follow, services.config, *key, now_ms, margin_ms=margin_ms) and left:
                    unbilled[key] = left
                else:
                    unbilled.pop(key, None)
            partners.wake.set()


async def _publish_tokens(services: Services, now_ms: int) -> None:
    """Publish what has changed, a few at once: there may be thousands, and all that is stored waits meanwhile."""
    config, store = services[Partners].config, services.store
    if "EMSP" in config.roles:
        numbers = await store.read(unpublished_tokens, config)
        for first in range(0, len(numbers), _TOKENS_AT_ONCE):
            await store.run(publish_tokens, config, numbers[first : first + _TOKENS_AT_ONCE], now_ms)


async def keep_sweeping(services: Services) -> None:
    """Look again from time to time for what no other event has told, and at once for new prices: what is published is
    what is billed from now on."""
    with services.feed.subscribe(_OF_PRICES) as changes:
        while True:
            await changes.batch(_SETTLE_S, within_s=_SWEEP_S)
            if await services.leads("roaming", _SWEEP_S):
                await sweep(services)
                await resume_commands(services)
                await services.store.run(forget_commands, services.clock.utc_ms())


async def sweep(services: Services, *, every: bool = False) -> None:
    """Publish all locations and sessions that are not finished; `every`: also tariffs whose plans have not changed."""
    partners, store, now_ms = services[Partners], services.store, services.clock.utc_ms()
    await _publish_tokens(services, now_ms)
    await store.run(publish_changed_tariffs, partners.config, now_ms, every=every)
    connected = services.connections.connected()
    offered = await store.read(rows.objects_in, "", "evses")
    stations = {each.about for each in offered}
    for location_id in sorted({each.alias for each in offered}):
        await store.run(publish_location, partners.config, location_id, connected, now_ms)
    unfinished = [each.about.partition("/") for each in await store.read(rows.objects_in, "", "sessions", "open")]
    keys = {(station_id, transaction_id) for station_id, _, transaction_id in unfinished}
    for each in await store.read(transactions.during, now_ms - _SWEEP_MS, now_ms):
        if each.station_id in stations:
            keys.add((each.station_id, each.transaction_id))
    for key in sorted(keys):
        await store.run(follow, services.config, *key, now_ms, margin_ms=services[Bookkeeper].margin_ms)
    partners.wake.set()


# -- the outbox


async def run_outbox(services: Services) -> None:
    """Deliver until cancelled; each partner by a task of its own."""
    couriers = Couriers(partial(_deliver_all, services))
    wake = services[Partners].wake
    try:
        while True:
            wake.clear()
            with contextlib.suppress(StoreError):
                couriers.wake(await services.store.run(rows.with_due, services.clock.utc_ms()))
            await wait_at_most(_LOOK_S, wake.wait())
    finally:
        await couriers.dismiss(couriers.destinations)


async def _deliver_all(services: Services, partner_id: str) -> None:
    """Make every due delivery of a partner."""
    try:
        known = await services[Partners].known(partner_id)
        while due := await services.store.run(rows.claim, partner_id, services.clock.utc_ms(), _AT_ONCE):
            await asyncio.gather(*(_deliver(services, known, each) for each in due))
    except V2GError as error:
        _log.info("roaming partner %s: %s", partner_id, error)


async def _deliver(services: Services, known: KnownPartner, due: DueDelivery) -> None:
    run, partner_id = services.store.run, known.partner.partner_id
    try:
        request = await request_of(services, known, due)
        if request is not None:
            await services[Partners].call(known, *request[:3], to=request.to)
    except OcpiError as error:
        if error.http == 409 and due.module == "cdrs":  # it has this CDR: an answer was lost
            await run(rows.delivered, due, services.clock.utc_ms())
            return
        # it does not know the EVSE: send the whole location, but not to one that asks to wait
        if due.module == "locations" and "/" in due.subject and error.http < 429:
            whole = due.subject.split("/")[0]
            await run(rows.enqueue, [partner_id], "locations", whole, services.clock.utc_ms())
            await run(rows.delivered, due, services.clock.utc_ms())
            return
        await _failed(services, partner_id, due, error, float(error.hint) if error.hint.isdecimal() else None)
    except (TransferError, StoreError) as error:
        await _failed(services, partner_id, due, error, None)
    else:
        await run(rows.delivered, due, services.clock.utc_ms())


async def _failed(services: Services, partner_id: str, due: DueDelivery, error: V2GError, wait_s: float | None) -> None:
    await services.store.run(rows.failed, due, str(error), services.clock.utc_ms(), wait_s)
    if due.attempts in (0, 5):
        data: dict[str, Scalar] = {
            "partner": partner_id,
            "module": due.module,
            "object": due.subject,
            "reason": str(error)[:300],
        }
        services.observe(Observe("roaming", "delivery_failed", data))


class PartnerRequest(NamedTuple):
    """What a delivery sends."""

    method: str
    url: str
    body: object = None
    to: tuple[str, str] | None = None


async def request_of(services: Services, known: KnownPartner, due: DueDelivery) -> PartnerRequest | None:
    """Return what to send for a delivery; None: nothing any more. Raises OcpiError without an endpoint."""
    if due.method:  # a result, as it was
        country_code, _, party_id = due.subject.partition("/")[2].partition("*")
        result = typed_json.decode_exact(due.body.encode())
        return PartnerRequest(due.method, due.path, result, (country_code, party_id) if party_id else None)
    url = known.partner.endpoint(due.module, "SENDER" if due.module == PROFILES else "RECEIVER")
    if url is None:
        return None
    if due.module == PROFILES:
        return await _active(services, url, due.subject)
    object_id, _, uid = due.subject.partition("/") if due.module == "locations" else (due.subject, "", "")
    kept = await services.store.read(rows.find_object, "", due.module, object_id)
    config = services[Partners].config
    party = config.country_code, config.party_id
    if kept is None:
        return PartnerRequest("DELETE", below(url, *party, object_id)) if due.module == "tariffs" else None
    body: Any = typed_json.decode_exact(kept.document.encode())
    whose = body["cdr_token"] if due.module in ("sessions", "cdrs") else {}
    to = (str(whose["country_code"]), str(whose["party_id"])) if whose else None
    if due.module == "cdrs":
        return PartnerRequest("POST", url, body, to)
    if due.module == "locations" and uid:
        location = typed_json.decode(kept.document, OcpiLocation)
        found = next((each for each in location.evses if each.uid == uid), None)
        if found is not None:
            changed = {"status": found.status, "last_updated": found.last_updated}
            return PartnerRequest("PATCH", below(url, *party, location.id, found.uid), changed)
    sent: Any = typed_json.decode(kept.document, KINDS[due.module])
    query = dict[str, str]()
    if due.module == "tokens":
        query = {"type": "OTHER" if sent.type == "EMAID" and partner_version(known.partner) == "2.2.1" else sent.type}
    name = sent.uid if due.module == "tokens" else sent.id
    return PartnerRequest("PUT", below(url, *party, name, **query), body, to)


async def _active(services: Services, url: str, session_id: str) -> PartnerRequest | None:
    """Return what limits a session now; None if it is over, or its station does not say."""
    kept = await services.store.read(rows.find_object, "", "sessions", session_id)
    station_id, _, transaction_id = ("" if kept is None else kept.about).partition("/")
    found = await services.store.read(transactions.get, station_id, transaction_id)
    if kept is None or found is None or not found.active or found.evse_id is None:
        return None
    with contextlib.suppress(V2GError):
        active = await active_profile(services, station_id, found.evse_id)
        session = typed_json.decode(kept.document, OcpiSession)
        to = session.cdr_token.country_code, session.cdr_token.party_id
        return None if active is None else PartnerRequest("PUT", below(url, session.id), active, to)
    return None


WORKS: Final[tuple[tuple[str, Callable[[Services], Awaitable[None]]], ...]] = (
    ("changes", follow_changes),
    ("sweep", keep_sweeping),
    ("outbox", run_outbox),
    ("pulls", keep_pulling),
    ("datex", keep_pushing),
)
"""What runs with [roaming]."""
