"""Roaming partners: invited, registered by OCPI's handshake, removed."""

import secrets
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec.structs import asdict
from sqlalchemy import Connection

from csms.accounts.rules import Permission
from csms.http.call import Call
from csms.http.operations import Page, Reply, delete, get, post, put
from csms.http.parameters import Paged, page_of, pages, shown
from csms.http.problems import ApiError, conflict, existing
from csms.roaming import store as rows
from csms.roaming.driver_commands import NEEDS, DriverCommand, SentCommand, send_command, state_of, store_command
from csms.roaming.partners import Partners, new_token
from csms.roaming.publication import OfferedLocation, place_of, put_place, remove_place
from csms.roaming.pulls import pull_all
from csms.roaming.received import count_use, credit_before
from csms.roaming.rules import HostName, Partner, check_partner_url, digest_of, host_of
from v2g import typed_json
from v2g.energy.settlement.pieces import zone_of
from v2g.errors import OcpiError, TransferError
from v2g.observe import Observe, Scalar
from v2g.typed_json import Fields

_EXAMPLE: Final = {
    "id": "depot", "address": "Ladestr. 1", "city": "Berlin", "country": "DEU", "latitude": "52.52000",
    "longitude": "13.40500", "time_zone": "Europe/Berlin",
    "evses": [{
        "station_id": "CS-V2G-0001", "evse": 1, "evse_id": "DE*ABC*E1",
        "connectors": [{
            "standard": "IEC_62196_T2_COMBO", "format": "CABLE", "power_type": "DC", "max_voltage": 1000,
            "max_amperage": 200,
        }],
    }],
}  # fmt: skip
_STILL_VALID: Final = "is the token A still valid there?"
_ROTATION: Final = (
    "try again; if the partner does not take the token that it gave us, remove it and register by a token A"
)
_HANDSHAKE: Final = {
    401: _STILL_VALID,
    403: _STILL_VALID,
    405: "it has registered us already: it has to unregister us, and give a new token A",
}
"""Hints by a partner's HTTP status."""
PartnerId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,36}\Z", examples=["hub-north"])]


class NewPartner(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A partner. With `versions_url` and `token` (its token A) we register there; without, we invite it."""

    partner_id: PartnerId
    versions_url: Annotated[str, msgspec.Meta(max_length=2000)] = ""
    """Where its versions are."""
    token: Annotated[str, msgspec.Meta(pattern=r"^[!-~]{0,512}\Z")] = ""
    """Its token A."""
    hosts: Annotated[tuple[HostName, ...], msgspec.Meta(max_length=20)] = ()
    """The only hosts that are called for it; by default that of its versions."""
    bare_token: bool = False
    """Whether it expects tokens without base64; found out at the handshake, too."""
    discharge: bool = False
    """Whether its drivers' contracts consent to feeding back."""
    negative_energy: bool = True
    """Whether its CDRs may have energy below zero; else energy fed back is a credit CDR."""


class RoamingPartner(msgspec.Struct, frozen=True, kw_only=True):
    """A partner, without its tokens. `parties` are such as `DE*ABC CPO`, those behind a hub without a role; `seen_ms`:
    when it asked, or answered, last, to a minute."""

    partner_id: str
    state: str
    versions_url: str
    hosts: tuple[str, ...]
    bare_token: bool
    negative_energy: bool
    discharge: bool
    version: str
    parties: tuple[str, ...]
    modules: tuple[str, ...]
    created_ms: int
    seen_ms: int | None


class InvitedPartner(msgspec.Struct, frozen=True, kw_only=True):
    """A new partner. `token` (A), shown only here, and `versions_url` are for it; empty if we register there."""

    partner: RoamingPartner
    versions_url: str
    token: str


@get("/roaming/partners", Permission.MANAGE_ROAMING)
async def list_roaming_partners(call: Call, parameters: Paged) -> Page[RoamingPartner]:
    """List roaming partners, by id."""
    found = [_shown(each) for each in await call.run(rows.list_partners)]
    return page_of(call, found, parameters, lambda each: each.partner_id)


@get("/roaming/partners/{partner_id}", Permission.MANAGE_ROAMING, problems=(404,))
async def read_roaming_partner(call: Call, partner_id: PartnerId) -> RoamingPartner:
    """Return one roaming partner."""
    return _shown(await _partner(call, partner_id))


@post(
    "/roaming/partners",
    Permission.MANAGE_ROAMING,
    status=201,
    problems=(409,),
    confidential=True,
    example={"partner_id": "north"},
)
async def add_roaming_partner(call: Call, body: NewPartner) -> Reply[InvitedPartner]:
    """Add a roaming partner: invite it, or store where and with which token A we register there."""
    partners = _partners(call)
    if bool(body.versions_url) != bool(body.token):
        raise ApiError(400, "versions_url and token belong together", "give both, or none to invite the partner")
    hosts = tuple(each.lower() for each in body.hosts)
    if body.versions_url:
        check_partner_url(body.versions_url, hosts, partners.reach)
        hosts = hosts or (host_of(body.versions_url),)
    partner = Partner(
        partner_id=body.partner_id,
        versions_url=body.versions_url,
        hosts=hosts,
        bare_token=body.bare_token,
        negative_energy=body.negative_energy,
        discharge=body.discharge,
        created_ms=call.now_ms,
    )
    ours = "" if body.token else new_token()
    sealed = partners.seal(body.partner_id, body.token) if body.token else ""

    def write(connection: Connection, before: RoamingPartner | None) -> None:
        if before is not None:
            raise conflict(f"partner {body.partner_id} exists", "remove it first", code="partner_taken")
        rows.put_partner(connection, partner, token=sealed, digest=digest_of(ours) if ours else "")

    after = await call.put(_reader(body.partner_id), write)
    made = InvitedPartner(partner=after, versions_url=partners.url if ours else "", token=ours)
    return Reply(content=made, status=201, headers={"Location": f"/roaming/partners/{body.partner_id}"})


@post("/roaming/partners/{partner_id}/register", Permission.MANAGE_ROAMING, problems=(404, 502))
async def register_roaming_partner(call: Call, partner_id: PartnerId) -> RoamingPartner:
    """Register at a partner; at one that is registered, rotate the tokens of both sides."""
    known = await _partner(call, partner_id)
    try:
        await _partners(call).register(partner_id)
    except OcpiError as error:
        rotates = known.partner.state == "registered"
        hint = error.hint or (_ROTATION if rotates else _HANDSHAKE.get(error.http, ""))
        raise ApiError(502, f"the handshake failed: {error}", hint) from None
    except TransferError as error:
        hint = "does its server run, and is its certificate valid under a root of the system or of roaming.roots?"
        raise ApiError(502, f"the handshake failed: {error}", hint) from None
    return _shown(await _partner(call, partner_id))


class PulledModule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How many objects of a module a partner had; `problem`: why it could not be read."""

    module: str
    objects: int
    problem: str = ""


@post("/roaming/partners/{partner_id}/pull", Permission.MANAGE_ROAMING, problems=(404, 409))
async def pull_roaming_partner(call: Call, partner_id: PartnerId) -> tuple[PulledModule, ...]:
    """Pull what has changed at a partner: it is done hourly, too."""
    known = await _partner(call, partner_id)
    if known.partner.state != "registered":
        raise conflict(f"partner {partner_id} is not registered", "register it", code="not_registered")
    found = await pull_all(call.services, partner_id, again=True)
    return tuple(PulledModule(module=name, objects=each[0], problem=each[1]) for name, each in found.items())


@delete("/roaming/partners/{partner_id}", Permission.MANAGE_ROAMING, problems=(404,))
async def remove_roaming_partner(call: Call, partner_id: PartnerId) -> None:
    """Unregister at a partner, if it can be reached, and forget it; its sessions and CDRs stay."""
    known = await _partner(call, partner_id)
    try:
        await _partners(call).unregister(known, at_partner=True)
    except (OcpiError, TransferError) as error:
        data: dict[str, Scalar] = {"partner": partner_id, "reason": str(error)[:300]}
        call.services.observe(Observe("roaming", "unregistering_failed", data))
    await call.change(_reader(partner_id), lambda connection, _before: rows.remove_partner(connection, partner_id))


# -- locations that partners see


LocationId = Annotated[str, msgspec.Meta(min_length=1, max_length=36)]


@get("/roaming/locations", Permission.MANAGE_ROAMING)
async def list_roaming_locations(call: Call, parameters: Paged) -> Page[OfferedLocation]:
    """List the locations that partners see, by id."""
    kept = await call.run(rows.objects_in, "", "places")
    found = [typed_json.decode(each.document, OfferedLocation) for each in kept]
    return page_of(call, sorted(found, key=lambda each: each.id), parameters, lambda each: each.id)


@get("/roaming/locations/{location_id}", Permission.MANAGE_ROAMING, problems=(404,))
async def read_roaming_location(call: Call, location_id: LocationId) -> OfferedLocation:
    """Return one location that partners see."""
    return existing("location", await call.run(place_of, location_id))


@put("/roaming/locations/{location_id}", Permission.MANAGE_ROAMING, conditional=True, example=_EXAMPLE)
async def put_roaming_location(call: Call, location_id: LocationId, body: OfferedLocation) -> OfferedLocation:
    """Store a location that partners see, with status and prices of its EVSEs; replaces one of the same id."""
    if body.id != location_id:
        raise ApiError(400, f"the body has location {body.id}, the path {location_id}")
    try:
        zone_of(body.time_zone)
    except ValueError as error:
        raise ApiError(400, f"time_zone: {error}", "such as Europe/Berlin") from None
    times = body.opening_times
    if times is not None and (times.twentyfourseven == bool(times.regular_hours)):
        raise ApiError(400, "opening_times: either twentyfourseven or regular_hours")
    if times is not None and any(each.period_begin >= each.period_end for each in times.regular_hours):
        raise ApiError(400, "opening_times: a period ends before it begins", "give one for each day")
    if twice := [key for key, count in Counter(each.key for each in body.evses).items() if count > 1]:
        raise ApiError(400, f"evses: {twice[0]} is there twice", "each EVSE has its own uid")
    partners, connected = _partners(call), call.services.connections.connected()
    await call.change(
        lambda connection: place_of(connection, body.id),
        lambda connection, _before: put_place(connection, partners.config, body, connected, call.now_ms),
    )
    partners.wake.set()
    return body


@delete("/roaming/locations/{location_id}", Permission.MANAGE_ROAMING, problems=(404,), conditional=True)
async def remove_roaming_location(call: Call, location_id: LocationId) -> None:
    """Withdraw a location: partners see its EVSEs as REMOVED."""
    partners = _partners(call)
    await call.remove(
        "location",
        lambda connection: place_of(connection, location_id),
        lambda connection, place: remove_place(connection, partners.config, place.id, call.now_ms),
    )
    partners.wake.set()


class RoamingDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """What a partner is yet to be sent: an object of a module, since when, and the last error."""

    module: str
    subject: str
    created_ms: int
    due_ms: int | None
    attempts: int
    error: str


@get("/roaming/partners/{partner_id}/deliveries", Permission.MANAGE_ROAMING)
async def list_roaming_deliveries(call: Call, partner_id: PartnerId) -> tuple[RoamingDelivery, ...]:
    """List what a partner is yet to be sent, oldest first."""
    found = await call.run(rows.outbox, partner_id)
    return tuple(shown(each, RoamingDelivery) for each in found)


# -- commands for our drivers


class RoamingCommand(msgspec.Struct, frozen=True, kw_only=True):
    """A command that was sent. `state`: `waiting` for the partner's answer, `accepted`, then OCPI's result."""

    command_id: str
    partner_id: str
    sent_ms: int
    until_ms: int
    state: str
    detail: str
    command: DriverCommand


@post(
    "/roaming/partners/{partner_id}/commands",
    Permission.MANAGE_ROAMING,
    status=201,
    problems=(404, 409),
    example={"command": "START_SESSION", "location_id": "depot", "id_token": "04A1B2C3"},
)
async def send_roaming_command(call: Call, partner_id: PartnerId, body: DriverCommand) -> Reply[RoamingCommand]:
    """Send a command to a partner's station for one of our drivers: what the partner answers at once is the state."""
    lacking = [name for name in NEEDS[body.command] if getattr(body, name) is None]
    if lacking:
        raise ApiError(400, f"{body.command} needs {' and '.join(lacking)}")
    partners = _partners(call)
    known = await _partner(call, partner_id)
    if known.partner.state != "registered" or known.partner.endpoint(*body.module) is None:
        name = f"partner {partner_id}"
        raise conflict(f"{name} has no module {body.module[0]} for it", "register it", code="not_registered")
    number = secrets.token_hex(16)

    def read(connection: Connection) -> RoamingCommand | None:
        kept = rows.find_object(connection, partner_id, "orders", number)
        return None if kept is None else _sent(kept, call.now_ms)

    def write(connection: Connection, _before: RoamingCommand | None) -> None:
        try:
            store_command(connection, partners, partner_id, body, number, call.now_ms)
        except OcpiError as error:
            raise conflict(str(error), "pull the partner, or allow the token", code="not_usable") from None

    await call.change(read, write)
    await send_command(call.services, partners, known, number)
    return Reply(content=existing("command", await call.run(read)), status=201)


@get("/roaming/commands", Permission.MANAGE_ROAMING)
async def list_roaming_commands(call: Call, parameters: Paged) -> Page[RoamingCommand]:
    """List the commands of the last 30 days that were sent to partners' stations, with what became of them."""

    def read(connection: Connection, after: tuple[str, str] | None, limit: int) -> list[Fields]:
        return [asdict(_sent(each, call.now_ms)) for each in rows.of_partners(connection, after, limit, "orders")]

    return await pages(call, parameters, RoamingCommand, tuple[str, str], ("partner_id", "command_id"), read)


def _sent(kept: rows.Kept, now_ms: int) -> RoamingCommand:
    sent = typed_json.decode(kept.document, SentCommand)
    return RoamingCommand(
        command_id=kept.object_id, partner_id=kept.owner, sent_ms=sent.sent_ms, until_ms=sent.until_ms,
        state=state_of(kept, sent, now_ms), detail=kept.detail, command=sent.command,
    )  # fmt: skip


# -- what partners own


class PartnerObject(msgspec.Struct, frozen=True, kw_only=True):
    """A partner's location, tariff or session as it was sent, changed last at `updated_ms`."""

    partner_id: str
    key: str
    updated_ms: int
    document: Any


class WhichObjects(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The module whose objects are wanted."""

    module: Literal["locations", "tariffs", "sessions"] = "sessions"


@get("/roaming/objects", Permission.MANAGE_ROAMING, answer=Page[PartnerObject])
async def list_roaming_objects(call: Call, parameters: WhichObjects) -> Page[Any]:
    """List partners' sessions of our drivers, their locations or tariffs, as known here: what commands name."""

    def read(connection: Connection, after: tuple[str, str] | None, limit: int) -> list[Fields]:
        found = rows.of_partners(connection, after, limit, parameters.module)
        return [
            {"partner_id": each.owner, "key": each.object_id, "updated_ms": each.updated_ms,
             "document": msgspec.Raw(each.document.encode())}
            for each in found
        ]  # fmt: skip

    return await pages(call, parameters, Fields, tuple[str, str], ("partner_id", "key"), read)


# -- CDRs of partners


class RoamingCdr(msgspec.Struct, frozen=True, kw_only=True):
    """A partner's CDR: `booked`, or `disputed` with what is wrong, until a person has `released` or `rejected` it."""

    partner_id: str
    key: str
    state: str
    detail: str
    document: Any


class WhichCdrs(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filter of CDRs."""

    state: Literal["booked", "disputed", "released", "rejected"] | None = None


Key = Annotated[str, msgspec.Meta(min_length=1, max_length=160)]


class CdrDecision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What becomes of a disputed CDR."""

    decision: Literal["released", "rejected"]
    note: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


@get("/roaming/cdrs", Permission.MANAGE_ROAMING, answer=Page[RoamingCdr])
async def list_roaming_cdrs(call: Call, parameters: WhichCdrs) -> Page[Any]:
    """List the CDRs of partners, with what is found about them."""

    def read(connection: Connection, after: tuple[str, str] | None, limit: int) -> list[Fields]:
        return [asdict(_cdr(each)) for each in rows.of_partners(connection, after, limit, "cdrs", parameters.state)]

    return await pages(call, parameters, Fields, tuple[str, str], ("partner_id", "key"), read)


@post(
    "/roaming/partners/{partner_id}/cdrs/{key}/decision",
    Permission.MANAGE_ROAMING,
    problems=(404, 409),
    example={"decision": "rejected", "note": "credited by the partner"},
)
async def decide_roaming_cdr(call: Call, partner_id: PartnerId, key: Key, body: CdrDecision) -> RoamingCdr:
    """Decide about a disputed CDR: book it on your word, or reject it for good."""

    def read(connection: Connection) -> RoamingCdr | None:
        kept = rows.find_object(connection, partner_id, "cdrs", key)
        return None if kept is None else _cdr(kept)

    def write(connection: Connection, _before: RoamingCdr | None) -> None:
        kept = existing("CDR", rows.find_object(connection, partner_id, "cdrs", key))
        if kept.state != "disputed":
            raise conflict(f"the CDR is {kept.state}", "only disputed ones are decided", code="not_disputed")
        before = credit_before(connection, kept) if body.decision == "released" else ""
        if before:
            raise conflict(f"{before} has credited that CDR", "reject this one", code="credited")
        detail = f"{kept.detail}; {call.caller.name}: {body.note}"
        rows.put_object(connection, msgspec.structs.replace(kept, state=body.decision, detail=detail))
        if body.decision == "released":
            count_use(connection, kept, call.now_ms)

    return await call.put(read, write)


def _cdr(kept: rows.Kept) -> RoamingCdr:
    return RoamingCdr(
        partner_id=kept.owner,
        key=kept.object_id,
        state=kept.state,
        detail=kept.detail,
        document=msgspec.Raw(kept.document.encode()),
    )


async def _partner(call: Call, partner_id: PartnerId) -> rows.KnownPartner:
    return existing("partner", await call.run(rows.find_partner, partner_id))


def _partners(call: Call) -> Partners:
    found = call.services.find(Partners)
    if found is None:
        raise conflict("roaming is not configured", "see [roaming] in the configuration", code="no_roaming")
    return found


def _shown(known: rows.KnownPartner) -> RoamingPartner:
    partner = known.partner
    return RoamingPartner(
        partner_id=partner.partner_id,
        state=partner.state,
        versions_url=partner.versions_url,
        hosts=partner.hosts,
        bare_token=partner.bare_token,
        negative_energy=partner.negative_energy,
        discharge=partner.discharge,
        version=partner.version,
        parties=(
            *(f"{each.country_code}*{each.party_id} {each.role}" for each in partner.roles),
            *(each.upper() for each in partner.clients),
        ),
        modules=tuple(sorted({f"{each.identifier} {each.role}".strip() for each in partner.endpoints})),
        created_ms=partner.created_ms,
        seen_ms=known.seen_ms,
    )


def _reader(partner_id: str) -> Callable[[Connection], RoamingPartner | None]:
    def read(connection: Connection) -> RoamingPartner | None:
        found = rows.find_partner(connection, partner_id)
        return None if found is None else _shown(found)

    return read
