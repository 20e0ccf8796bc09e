"""Lists of own objects for partners, and objects that partners own and send: the same for all modules."""

from collections.abc import Callable
from typing import Any, Final

from csms.roaming import store as rows
from csms.roaming.endpoint import OcpiAnswer, OcpiRequest, not_found, only
from csms.roaming.open_data import page_of
from csms.roaming.received import remove_tariff, store_object, take_client
from csms.roaming.rules import key_of, party_of
from v2g import typed_json
from v2g.errors import OcpiError
from v2g.ocpi import wire
from v2g.ocpi.objects import ClientInfo, OcpiConnector, OcpiEvse
from v2g.typed_json import Fields

_PARTS: Final = (("evses", "uid", OcpiEvse), ("connectors", "id", OcpiConnector))
_ONCE: Final = ("country_code", "party_id")


async def listed(asked: OcpiRequest, module: str) -> OcpiAnswer:
    """Answer GET of own objects: all that the partner may see."""
    owner, party = asked.partner.partner_id, asked.behind
    data, headers = await page_of(asked.services, module, asked.url, asked.query, owner, party)
    return OcpiAnswer(data=data, headers=headers)


async def one(asked: OcpiRequest, module: str, object_id: str) -> Any:
    """Return one own object that the partner may see, as plain values. Raises OcpiError (404)."""
    return typed_json.decode_exact((await seen(asked, module, object_id)).document.encode())


async def seen(asked: OcpiRequest, module: str, object_id: str) -> rows.Kept:
    """Return one own object that the partner, and the party behind it, may see. Raises OcpiError (404)."""
    kept = await asked.services.store.read(rows.find_object, "", module, object_id)
    if kept is None or kept.audience not in ("", asked.partner.partner_id):
        raise not_found(module[:-1])
    if asked.behind and kept.audience:
        token = typed_json.decode(kept.document, Fields)["cdr_token"]
        if not asked.speaks_for(token["country_code"], token["party_id"]):
            raise not_found(module[:-1])
    return kept


def part(found: Any, path: tuple[str, ...]) -> Any:
    """Return the EVSE or connector of a location that a path names. Raises OcpiError (404)."""
    for (field, key, _), wanted in zip(_PARTS, path, strict=False):
        found = next((each for each in found.get(field, ()) if str(each[key]).lower() == wanted.lower()), None)
        if found is None:
            raise not_found(field[:-1])
    return found


async def received(asked: OcpiRequest, module: str, *methods: str) -> OcpiAnswer:
    """Answer GET, PUT, PATCH and DELETE of an object that the partner owns, at `country/party/id`; of a location also
    of its parts."""
    only(asked.method, *methods)
    if not 3 <= len(asked.path) <= (5 if module == "locations" else 3):
        raise not_found()
    country_code, party_id, object_id = asked.path[:3]
    if not asked.speaks_for(country_code, party_id):
        raise not_found("party")
    kind = (asked.query.get("type") or "RFID",) if module == "tokens" else ()
    key = key_of(country_code, party_id, object_id, *kind)
    if len(key) > 160:
        raise OcpiError("the id is too long", code=2001)
    owner = asked.partner.partner_id
    if asked.method in ("GET", "DELETE"):
        kept = await asked.services.store.read(rows.find_object, owner, module, key)
        if kept is None:
            raise not_found(module[:-1])
        if asked.method == "DELETE":
            await asked.services.store.run(remove_tariff, kept, asked.now_ms)
            return OcpiAnswer()
        return OcpiAnswer(data=part(typed_json.decode_exact(kept.document.encode()), asked.path[3:]))
    sent = asked.sent()
    if not isinstance(sent, dict):
        raise OcpiError("an object is expected", code=2001)
    names = dict(zip((*_ONCE, "uid" if module == "tokens" else "id"), asked.path, strict=False))
    if kind:
        names["type"] = kind[0]
    if len(asked.path) > 3:
        names = {_PARTS[len(asked.path) - 4][1]: asked.path[-1]}
    for name, value in names.items():
        if name in sent and str(sent[name]).lower() != value.lower():
            raise OcpiError(f"{name} is {value} in the URL and {str(sent[name])[:40]} in the object", code=2001)
    parts = asked.path[3:]
    if asked.method == "PUT":  # what a partner leaves out as the URL has it
        sent = {**names, **sent}
    change = _patch(sent, parts, module) if asked.method == "PATCH" else _put(sent, parts)
    new = await asked.services.store.run(store_object, owner, module, key, change, asked.now_ms)
    return OcpiAnswer(status=201 if new and asked.method == "PUT" else 200)


async def clients(asked: OcpiRequest) -> OcpiAnswer:
    """Answer GET and PUT of what a hub says about a party behind it."""
    only(asked.method, "GET", "PUT")
    if len(asked.path) != 2 or asked.partner.hub is None:
        raise not_found("party")
    owner = asked.partner.partner_id
    if asked.method == "PUT":
        sent = wire.read(asked.sent(), ClientInfo)
        if party_of(*asked.path) != party_of(sent.country_code, sent.party_id):
            raise OcpiError("the URL has another party", code=2001)
        await asked.services.store.run(take_client, owner, sent, asked.partners.party)
        return OcpiAnswer()
    kept = await asked.services.store.read(rows.find_object, owner, "hubclientinfo", party_of(*asked.path))
    if kept is None:
        raise not_found("party")
    return OcpiAnswer(data=typed_json.decode_exact(kept.document.encode()))


def _put(sent: Fields, parts: tuple[str, ...]) -> Callable[[Fields | None], Fields]:
    def change(known: Fields | None) -> Fields:
        if not parts:
            return sent
        if known is None:
            raise not_found("location")
        return _within(known, parts, lambda _: sent, sent.get("last_updated"))

    return change


def _patch(sent: Fields, parts: tuple[str, ...], module: str) -> Callable[[Fields | None], Fields]:
    def merged(known: Fields | None) -> Fields:
        if known is None:
            raise not_found(_PARTS[len(parts) - 1][0][:-1])
        return wire.merged(known, sent)

    def change(known: Fields | None) -> Fields:
        if known is None:
            raise not_found(module[:-1])
        if parts:
            return _within(known, parts, merged, sent.get("last_updated"))
        found = wire.merged(known, sent)
        added = sent.get("charging_periods")
        if module == "sessions" and isinstance(added, list):  # those of a PATCH are added, but for a repetition's
            before = known.get("charging_periods") or []  # some write "" for none
            found["charging_periods"] = before + [each for each in added if each not in before]
        return found

    return change


def _within(
    known: Fields, parts: tuple[str, ...], change: Callable[[Fields | None], Fields], updated: object, depth: int = 0
) -> Fields:
    """Return a location of which a part has changed; the parents' `last_updated` moves with it. A part that is older
    than what is known of it changes nothing, one that is older than other parts does."""
    field, name, kind = _PARTS[depth]
    wanted, rest = parts[0].lower(), parts[1:]
    others, there = [], None
    for each in known.get(field, ()):
        if str(each[name]).lower() == wanted:
            there = each
        others.append(each)
    if rest:
        if there is None:
            raise not_found(field[:-1])
        new: object = _within(there, rest, change, updated, depth + 1)
    else:
        new = change(there)
        wire.read(new, kind)
        if there is not None and wire.read_time(updated) < wire.read_time(there["last_updated"]):
            return known
    items = [new if each is there else each for each in others] + ([new] if there is None else [])
    return {**known, field: items, "last_updated": max(known["last_updated"], updated, key=wire.read_time)}
