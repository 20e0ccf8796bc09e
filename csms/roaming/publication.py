"""What this back end offers as CPO: locations with their status and tariffs, each stored as it changes.

An object keeps its `last_updated` until it differs, and each change is queued for the partners that may see it in the
same transaction.
"""

import hashlib
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Annotated, Final

import msgspec
from sqlalchemy import Connection, select

from csms.config import RoamingConfig
from csms.db.leases import lock
from csms.roaming import store as rows
from csms.roaming.store import Kept
from csms.stations.tables import connectors
from csms.tariffs.plans import Scope, find_plan, plan
from csms.tariffs.rules import has_clock_of
from csms.tariffs.store import plans, stored_plans
from csms.tokens.rules import normalise
from v2g import typed_json
from v2g.energy.price_plan import PricePlan
from v2g.errors import CodecError
from v2g.io.websocket.server import IDENTITY
from v2g.ocpi import objects, wire
from v2g.ocpi.tariffs import tariff_id, tariffs_of

_STATUS: Final = {"Occupied": "CHARGING", "Reserved": "RESERVED", "Available": "AVAILABLE", "Faulted": "OUTOFORDER",
                  "Unavailable": "INOPERATIVE"}  # fmt: skip
"""By OCPP's status of a connector; of several the first one counts."""

_CAPABILITIES: Final = ("REMOTE_START_STOP_CAPABLE", "RFID_READER", "RESERVABLE", "UNLOCK_CAPABLE",
                        "CHARGING_PROFILE_CAPABLE", "CHARGING_PREFERENCES_CAPABLE")  # fmt: skip


class OfferedConnector(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A connector as partners see it, by OCPI's names; `id` is its number at the EVSE."""

    id: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,4}\Z")] = "1"
    standard: Annotated[
        str,
        msgspec.Meta(pattern=r"^(IEC_60309_2_(single|three))?[A-Z0-9_]{1,36}\Z", examples=["IEC_62196_T2_COMBO"]),
    ]
    format: Annotated[str, msgspec.Meta(pattern=r"^(SOCKET|CABLE)\Z")]
    power_type: Annotated[str, msgspec.Meta(pattern=r"^(AC_[123]_PHASE(_SPLIT)?|DC)\Z")]
    max_voltage: Annotated[int, msgspec.Meta(ge=1, le=2000)]
    """V; of AC_3_PHASE line to neutral."""
    max_amperage: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    """A."""
    max_electric_power: Annotated[int, msgspec.Meta(ge=1, le=100_000_000)] | None = None
    """W."""
    capabilities: Annotated[tuple[objects.OpenEnum, ...], msgspec.Meta(max_length=10)] = ()
    """Such as `ISO_15118_20_PLUG_AND_CHARGE`, or `BIDIRECTIONAL`, for which OCPI has no word."""


class OfferedEvse(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An EVSE as partners see it."""

    station_id: Annotated[str, msgspec.Meta(pattern=rf"^{IDENTITY.pattern}\Z")]
    """Its station."""
    evse: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1
    """Its number there."""
    uid: objects.Id36 | None = None
    """Its technical id at partners; by default from station and number."""
    evse_id: Annotated[str, msgspec.Meta(pattern=r"^[ -~]{1,48}\Z", examples=["DE*ABC*E1"])]
    """Its id (eMI3)."""
    connectors: Annotated[tuple[OfferedConnector, ...], msgspec.Meta(min_length=1, max_length=20)]
    """Its connectors."""
    capabilities: Annotated[tuple[objects.OpenEnum, ...], msgspec.Meta(max_length=20)] = ()
    """What it can beside what its station does, such as `CONTACTLESS_CARD_SUPPORT` of a payment terminal."""
    parking_restrictions: Annotated[tuple[objects.OpenEnum, ...], msgspec.Meta(max_length=10)] = ()
    """Who may park there, such as `EV_ONLY`."""

    @property
    def key(self) -> str:
        """The uid."""
        name = f"{self.station_id}*{self.evse}"
        return self.uid or (name if len(name) <= 36 else hashlib.sha256(name.encode()).hexdigest()[:32])


class OfferedLocation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A location as partners see it; `country` is ISO 3166-1 alpha-3."""

    id: Annotated[str, msgspec.Meta(pattern=r"^[!-.0-~]{1,36}\Z")]
    name: Annotated[str, msgspec.Meta(max_length=255)] | None = None
    address: Annotated[str, msgspec.Meta(min_length=1, max_length=45)]
    city: Annotated[str, msgspec.Meta(min_length=1, max_length=45)]
    postal_code: Annotated[str, msgspec.Meta(max_length=10)] | None = None
    country: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}\Z")]
    latitude: Annotated[str, msgspec.Meta(pattern=r"^-?[0-9]{1,2}\.[0-9]{5,7}\Z")]
    """Degrees, as text with 5 to 7 decimals."""
    longitude: Annotated[str, msgspec.Meta(pattern=r"^-?[0-9]{1,3}\.[0-9]{5,7}\Z")]
    """Degrees, as text with 5 to 7 decimals."""
    time_zone: Annotated[str, msgspec.Meta(min_length=1, max_length=64, examples=["Europe/Berlin"])]
    """Of IANA."""
    publish: bool = True
    """Whether drivers may see it on maps."""
    opening_times: objects.OpeningTimes | None = None
    """When its EVSEs can be reached."""
    green_energy: bool | None = None
    """Whether all of its energy is from renewable sources."""
    help_phone: Annotated[str, msgspec.Meta(pattern=r"^\+[0-9 ]{5,24}\Z", examples=["+49 30 1234567"])] | None = None
    """Whom drivers call; before OCPI 2.3.0 partners do not see it."""
    nuts: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}[A-Z0-9]\Z", examples=["DE3"])] | None = None
    """Region (NUTS-1), for national access points."""
    parking_spaces: Annotated[int, msgspec.Meta(ge=0, le=100_000)] | None = None
    """Parking spaces, also those for people with disabilities, for national access points."""
    disabled_spaces: Annotated[int, msgspec.Meta(ge=0, le=100_000)] | None = None
    """Parking spaces for people with disabilities."""
    evses: Annotated[tuple[OfferedEvse, ...], msgspec.Meta(max_length=2000)] = ()
    """Its EVSEs."""


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """A partner's driver was authorized: how, with which token, and whether it consents to feed back (None: unsaid)."""

    token: objects.CdrToken
    auth_method: str
    reference: str | None = None
    discharge: bool | None = None
    status: str = "Accepted"


def place_of(connection: Connection, location_id: str) -> OfferedLocation | None:
    """Return a location as the operator stored it."""
    kept = rows.find_object(connection, "", "places", location_id)
    return None if kept is None else typed_json.decode(kept.document, OfferedLocation)


def put_place(
    connection: Connection, config: RoamingConfig, place: OfferedLocation, connected: Collection[str], now_ms: int
) -> None:
    """Store and publish a location."""
    before = place_of(connection, place.id)
    for each in before.evses if before is not None else ():
        known = rows.find_object(connection, "", "evses", each.key)
        if known is not None and known.alias == place.id.lower():  # else it has moved to another place
            rows.remove_object(connection, "", "evses", each.key)
    document = msgspec.json.encode(place).decode()
    rows.put_object(connection, own_object("places", place.id, document, now_ms))
    for each in place.evses:
        made = own_object("evses", each.key, msgspec.json.encode(each).decode(), now_ms)
        about = {"about": each.station_id, "alias": place.id.lower(), "state": str(each.evse)}
        rows.put_object(connection, msgspec.structs.replace(made, **about))
    publish_location(connection, config, place.id, connected, now_ms)


def remove_place(connection: Connection, config: RoamingConfig, location_id: str, now_ms: int) -> None:
    """Withdraw a location: its EVSEs are REMOVED for partners, which cannot delete it."""
    place = place_of(connection, location_id)
    if place is not None:
        put_place(connection, config, msgspec.structs.replace(place, evses=(), publish=False), (), now_ms)
        rows.remove_object(connection, "", "places", location_id)


def own_object(module: str, object_id: str, document: str, now_ms: int) -> Kept:
    """Return an object of this back end."""
    return Kept(owner="", module=module, object_id=object_id.lower(), updated_ms=now_ms, document=document)


def publish_station(
    connection: Connection, config: RoamingConfig, station_id: str, connected: Collection[str], now_ms: int
) -> None:
    """Publish the locations of a station again. What is published of other stations stays: there may be hundreds."""
    for location_id in sorted({each.alias for each in rows.objects_about(connection, "", "evses", station_id)}):
        publish_location(connection, config, location_id, connected, now_ms, station_id)


def publish_location(
    connection: Connection, config: RoamingConfig, location_id: str, connected: Collection[str], now_ms: int,
    station_id: str = "",
) -> None:  # fmt: skip
    """Publish a location if it differs from what is published: with all of it, or the status of its EVSEs.
    `station_id`: only what this station has there has changed."""
    lock(connection, [f"roaming location {location_id.lower()}"])  # its stations may be at several nodes
    place = place_of(connection, location_id)
    if place is None:
        return
    known = rows.find_object(connection, "", "locations", place.id)
    # two changes have two times, also where a clock was set back
    changed_ms = now_ms if known is None else max(now_ms, known.updated_ms + 1)
    updated = wire.moment(changed_ms)
    before = None if known is None else typed_json.decode(known.document, objects.OcpiLocation)
    only = station_id if before is not None else ""
    stations = {only} if only else {each.station_id for each in place.evses}
    query = select(connectors).where(connectors.c.station_id.in_(stations))
    statuses: dict[tuple[str, int], set[str]] = {}
    for row in connection.execute(query):
        statuses.setdefault((row.station_id, row.evse_id), set()).add(row.status)
    old = {each.uid: each for each in before.evses} if before is not None else {}
    evses = [
        _evse(connection, config, each, place.time_zone, statuses, connected, kept, now_ms, updated)
        if (kept := old.get(each.key)) is None or only in ("", each.station_id)
        else kept
        for each in place.evses
    ]
    there = {each.uid for each in evses}
    removed = {"status": "REMOVED", "last_updated": updated}
    gone = [
        each if each.status == "REMOVED" else msgspec.structs.replace(each, **removed)
        for uid, each in old.items()
        if uid not in there
    ]
    found = objects.OcpiLocation(
        country_code=config.country_code, party_id=config.party_id, id=place.id, publish=place.publish,
        name=place.name, address=place.address, city=place.city, postal_code=place.postal_code,
        country=place.country, coordinates=objects.OcpiPlace(latitude=place.latitude, longitude=place.longitude),
        evses=(*evses, *gone), operator=objects.BusinessDetails(name=config.name), time_zone=place.time_zone,
        opening_times=place.opening_times, help_phone=place.help_phone, nuts=place.nuts,
        energy_mix=None if place.green_energy is None else objects.EnergyMix(is_green_energy=place.green_energy),
        parking_spaces=place.parking_spaces, disabled_spaces=place.disabled_spaces, last_updated=updated,
    )  # fmt: skip
    if before is not None and msgspec.structs.replace(found, last_updated=before.last_updated) == before:
        return
    document = wire.encode(found).decode()
    rows.put_object(connection, own_object("locations", place.id, document, changed_ms))
    changed = [each for each in found.evses if old.get(each.uid) != each]
    small = before is not None and before == msgspec.structs.replace(
        found, last_updated=before.last_updated, evses=before.evses
    )
    only_status = small and all(_but_status(each, old.get(each.uid)) for each in changed)
    partners = rows.receivers(connection, "locations")
    for subject in [f"{place.id}/{each.uid}" for each in changed] if only_status else [place.id]:
        rows.enqueue(connection, partners, "locations", subject, now_ms)


def _but_status(evse: objects.OcpiEvse, before: objects.OcpiEvse | None) -> bool:
    return before is not None and before == msgspec.structs.replace(
        evse, status=before.status, last_updated=before.last_updated
    )


def _evse(
    connection: Connection, config: RoamingConfig, offered: OfferedEvse, zone: str,
    statuses: Mapping[tuple[str, int], set[str]], connected: Collection[str], before: objects.OcpiEvse | None,
    now_ms: int, updated: datetime,
) -> objects.OcpiEvse:  # fmt: skip
    station_id = offered.station_id
    price_plan = find_plan(connection, Scope(station_id=station_id, evse_id=offered.evse))
    fault = "" if price_plan is None else publish_tariff(connection, config, price_plan, zone, now_ms)
    names = () if price_plan is None or fault else (tariff_id(price_plan.id),)
    kept_evse = rows.find_object(connection, "", "evses", offered.key)
    if kept_evse is not None and kept_evse.detail != fault:  # an alert
        rows.put_object(connection, msgspec.structs.replace(kept_evse, detail=fault))
    reported = statuses.get((station_id, offered.evse), set())
    status = next((_STATUS[each] for each in _STATUS if each in reported), "UNKNOWN")
    old = {each.id: each for each in before.connectors} if before is not None else {}
    made = []
    for each in offered.connectors:
        connector = objects.OcpiConnector(
            id=each.id, standard=each.standard, format=each.format, power_type=each.power_type,
            max_voltage=each.max_voltage, max_amperage=each.max_amperage,
            max_electric_power=each.max_electric_power, tariff_ids=names, capabilities=each.capabilities,
            last_updated=updated,
        )  # fmt: skip
        kept = old.get(each.id)
        same = kept is not None and msgspec.structs.replace(connector, last_updated=kept.last_updated) == kept
        made.append(kept if same and kept is not None else connector)
    found = objects.OcpiEvse(
        uid=offered.key, evse_id=offered.evse_id, status=status if station_id in connected else "UNKNOWN",
        capabilities=tuple(dict.fromkeys((*_CAPABILITIES, *offered.capabilities))),
        parking_restrictions=offered.parking_restrictions, connectors=tuple(made), last_updated=updated,
    )  # fmt: skip
    same = before is not None and msgspec.structs.replace(found, last_updated=before.last_updated) == before
    return before if same and before is not None else found


def publish_changed_tariffs(connection: Connection, config: RoamingConfig, now_ms: int, *, every: bool = False) -> None:
    """Publish tariffs again whose plans were removed, or stored again under the same id; `every`: also those that an
    earlier program has made otherwise."""
    stored = stored_plans(connection)
    changed = [
        each for each in rows.objects_in(connection, "", "tariffs") if every or stored.get(each.alias) != each.about
    ]
    if every or not all(each.alias for each in changed):  # an earlier program has not noted their plans
        known = plans(connection)
    else:
        named = (plan(connection, plan_id) for plan_id in {each.alias for each in changed})
        known = [each for each in named if each is not None]
    wanted = {made.id.lower(): (made, of) for of in known for made in tariffs_at(config, of, of.zone, now_ms)[0]}
    for kept in changed:
        if kept.object_id in wanted:
            tariff, of = wanted[kept.object_id]
            made = _own_tariff(tariff, of, stored[of.id], now_ms)
            before = typed_json.decode(kept.document, objects.OcpiTariff)
            if msgspec.structs.replace(tariff, last_updated=before.last_updated) == before:
                same = msgspec.structs.replace(kept, about=made.about, alias=made.alias)
                if same != kept:
                    rows.put_object(connection, same)
                continue
            rows.put_object(connection, made)
        else:
            rows.remove_object(connection, "", "tariffs", kept.object_id)
        rows.enqueue(connection, rows.receivers(connection, "tariffs"), "tariffs", kept.object_id, now_ms)


def _own_tariff(tariff: objects.OcpiTariff, of: PricePlan, stored: str, now_ms: int) -> Kept:
    """Return a tariff as it is stored, with its plan and when that was stored."""
    made = own_object("tariffs", tariff.id, wire.encode(tariff).decode(), now_ms)
    return msgspec.structs.replace(made, about=stored, alias=of.id)


def publish_tariff(connection: Connection, config: RoamingConfig, price_plan: PricePlan, zone: str, now_ms: int) -> str:
    """Publish the tariffs of a plan at a location in a time zone; return why OCPI cannot say it, "" if it can. The
    content under a plan's id never changes."""
    made, why = tariffs_at(config, price_plan, zone, now_ms)
    if why or rows.find_object(connection, "", "tariffs", tariff_id(price_plan.id)) is not None:
        return why
    stored = stored_plans(connection, price_plan.id).get(price_plan.id, "")
    for tariff in made:
        rows.put_object(connection, _own_tariff(tariff, price_plan, stored, now_ms))
        rows.enqueue(connection, rows.receivers(connection, "tariffs"), "tariffs", tariff.id.lower(), now_ms)
    return ""


def tariffs_at(
    config: RoamingConfig, found: PricePlan, zone: str, now_ms: int
) -> tuple[tuple[objects.OcpiTariff, ...], str]:
    """Return the tariffs of a plan at a location in a time zone, or why OCPI cannot say it there."""
    if not has_clock_of(found, zone, now_ms // 86_400_000):  # a tariff's clock is that of its location
        return (), f"plan {found.id} has the clock of {found.zone}, its location that of {zone}"
    try:
        return tariffs_of(found, config.country_code, config.party_id, wire.moment(now_ms)), ""
    except CodecError as error:
        return (), f"plan {found.id}: {error}"


# -- drivers of partners


def grant_key(token_type: str, id_token: str) -> str:
    return f"{token_type}*{normalise(token_type, id_token)}".lower()


def put_grant(
    connection: Connection, partner_id: str, token_type: str, id_token: str, grant: Grant, now_ms: int
) -> Grant:
    """Note that a partner's driver was authorized; if it has not said whether it consents, its contract has."""
    known = rows.find_partner(connection, partner_id)
    if grant.discharge is None and known is not None:
        grant = msgspec.structs.replace(grant, discharge=known.partner.discharge)
    kept = own_object("grants", grant_key(token_type, id_token), msgspec.json.encode(grant).decode(), now_ms)
    rows.put_object(connection, msgspec.structs.replace(kept, audience=partner_id))
    return grant


def grant_of(connection: Connection, token_type: str, id_token: str) -> tuple[Kept, Grant] | None:
    """Return the last grant of a token."""
    kept = rows.find_object(connection, "", "grants", grant_key(token_type, id_token))
    return None if kept is None else (kept, typed_json.decode(kept.document, Grant))
