"""What this back end offers as CPO: locations with their status, tariffs, sessions and CDRs, each stored as it changes.

An object keeps its `last_updated` until it differs, and each change is queued for the partners that may see it in the
same transaction. A CDR never changes: what is corrected later is taken back by a credit CDR and replaced.
"""

import base64
import hashlib
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec
from sqlalchemy import Connection, select

from csms.booking import held
from csms.config import CsmsConfig, RoamingConfig
from csms.roaming import store as rows
from csms.roaming.store import Kept
from csms.stations.tables import connectors
from csms.tariffs import store as tariffs
from csms.tariffs.plans import Scope, find_plan, plan, plans_of
from csms.tokens.rules import normalise
from csms.transactions import store as transactions
from csms.transactions.rules import Transaction
from csms.transactions.tables import transaction_events
from v2g import typed_json
from v2g.energy.settlement.costing import Bill, Line, Period
from v2g.errors import CodecError
from v2g.ocpi import wire
from v2g.ocpi.objects import (
    BusinessDetails,
    CdrDimension,
    CdrLocation,
    CdrPeriod,
    CdrSignedData,
    CdrSignedValue,
    CdrToken,
    Id36,
    OcpiCdr,
    OcpiConnector,
    OcpiEvse,
    OcpiLocation,
    OcpiPlace,
    OcpiPrice,
    OcpiSession,
    OcpiTariff,
    OpeningTimes,
    TaxAmount,
)
from v2g.ocpi.records import credit_of
from v2g.ocpi.tariffs import EXPORT, percent_of, tariff_id, tariffs_of
from v2g.units import payable

_STATUS: Final = {"Occupied": "CHARGING", "Reserved": "RESERVED", "Available": "AVAILABLE", "Faulted": "OUTOFORDER",
                  "Unavailable": "INOPERATIVE"}  # fmt: skip
"""By OCPP's status of a connector; of several the first one counts."""

_CAPABILITIES: Final = ("REMOTE_START_STOP_CAPABLE", "RFID_READER", "RESERVABLE", "UNLOCK_CAPABLE",
                        "CHARGING_PROFILE_CAPABLE", "CHARGING_PREFERENCES_CAPABLE")  # fmt: skip
_MOST_SIGNED: Final = 100
_Q4: Final = Decimal("0.0001")


class OfferedConnector(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A connector as partners see it, by OCPI's names; `id` is its number at the EVSE."""

    id: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,4}\Z")] = "1"
    standard: Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9_]{1,36}\Z", examples=["IEC_62196_T2_COMBO"])]
    format: Annotated[str, msgspec.Meta(pattern=r"^(SOCKET|CABLE)\Z")]
    power_type: Annotated[str, msgspec.Meta(pattern=r"^(AC_[123]_PHASE(_SPLIT)?|DC)\Z")]
    max_voltage: Annotated[int, msgspec.Meta(ge=1, le=2000)]
    """V; of AC_3_PHASE line to neutral."""
    max_amperage: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    """A."""
    max_electric_power: Annotated[int, msgspec.Meta(ge=1, le=100_000_000)] | None = None
    """W."""
    capabilities: Annotated[tuple[str, ...], msgspec.Meta(max_length=10)] = ()
    """Such as `ISO_15118_20_PLUG_AND_CHARGE`."""


class OfferedEvse(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An EVSE as partners see it."""

    station_id: Annotated[str, msgspec.Meta(min_length=1, max_length=48)]
    """Its station."""
    evse: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1
    """Its number there."""
    uid: Id36 | None = None
    """Its technical id at partners; by default from station and number."""
    evse_id: Annotated[str, msgspec.Meta(pattern=r"^[ -~]{1,48}\Z", examples=["DE*ABC*E1"])]
    """Its id (eMI3)."""
    connectors: Annotated[tuple[OfferedConnector, ...], msgspec.Meta(min_length=1, max_length=20)]
    """Its connectors."""

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
    opening_times: OpeningTimes | None = None
    """When its EVSEs can be reached."""
    help_phone: Annotated[str, msgspec.Meta(pattern=r"^\+[0-9 ]{5,24}\Z", examples=["+49 30 1234567"])] | None = None
    """Whom drivers call; before OCPI 2.3.0 partners do not see it."""
    evses: Annotated[tuple[OfferedEvse, ...], msgspec.Meta(max_length=2000)] = ()
    """Its EVSEs."""


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """A partner's driver was authorized: how, with which token, and whether it consents to feed back (None: unsaid)."""

    token: CdrToken
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
        rows.remove_object(connection, "", "evses", each.key)
    document = msgspec.json.encode(place).decode()
    rows.put_object(connection, _own("places", place.id, document, now_ms))
    for each in place.evses:
        made = _own("evses", each.key, msgspec.json.encode(each).decode(), now_ms)
        about = {"about": each.station_id, "alias": place.id.lower(), "state": str(each.evse)}
        rows.put_object(connection, msgspec.structs.replace(made, **about))
    publish_location(connection, config, place.id, connected, now_ms)


def remove_place(connection: Connection, config: RoamingConfig, location_id: str, now_ms: int) -> None:
    """Withdraw a location: its EVSEs are REMOVED for partners, which cannot delete it."""
    place = place_of(connection, location_id)
    if place is not None:
        put_place(connection, config, msgspec.structs.replace(place, evses=(), publish=False), (), now_ms)
        rows.remove_object(connection, "", "places", location_id)


def _own(module: str, object_id: str, document: str, now_ms: int) -> Kept:
    return Kept(owner="", module=module, object_id=object_id.lower(), updated_ms=now_ms, document=document)


def publish_station(
    connection: Connection, config: RoamingConfig, station_id: str, connected: Collection[str], now_ms: int
) -> None:
    """Publish the locations of a station again."""
    for location_id in {each.alias for each in rows.objects_about(connection, "", "evses", station_id)}:
        publish_location(connection, config, location_id, connected, now_ms)


def publish_location(
    connection: Connection, config: RoamingConfig, location_id: str, connected: Collection[str], now_ms: int
) -> None:
    """Publish a location if it differs from what is published: with all of it, or the status of its EVSEs."""
    place = place_of(connection, location_id)
    if place is None:
        return
    known = rows.find_object(connection, "", "locations", place.id)
    before = None if known is None else typed_json.decode(known.document, OcpiLocation)
    stations = {each.station_id for each in place.evses}
    query = select(connectors).where(connectors.c.station_id.in_(stations))
    statuses: dict[tuple[str, int], set[str]] = {}
    for row in connection.execute(query):
        statuses.setdefault((row.station_id, row.evse_id), set()).add(row.status)
    old = {each.uid: each for each in before.evses} if before is not None else {}
    evses = [_evse(connection, config, each, statuses, connected, old.get(each.key), now_ms) for each in place.evses]
    there = {each.uid for each in evses}
    removed = {"status": "REMOVED", "last_updated": wire.moment(now_ms)}
    gone = [
        each if each.status == "REMOVED" else msgspec.structs.replace(each, **removed)
        for uid, each in old.items()
        if uid not in there
    ]
    found = OcpiLocation(
        country_code=config.country_code, party_id=config.party_id, id=place.id, publish=place.publish,
        name=place.name, address=place.address, city=place.city, postal_code=place.postal_code,
        country=place.country, coordinates=OcpiPlace(latitude=place.latitude, longitude=place.longitude),
        evses=(*evses, *gone), operator=BusinessDetails(name=config.name), time_zone=place.time_zone,
        opening_times=place.opening_times, help_phone=place.help_phone, last_updated=wire.moment(now_ms),
    )  # fmt: skip
    if before is not None and msgspec.structs.replace(found, last_updated=before.last_updated) == before:
        return
    document = wire.encode(found).decode()
    rows.put_object(connection, _own("locations", place.id, document, now_ms))
    changed = [each for each in found.evses if old.get(each.uid) != each]
    small = before is not None and before == msgspec.structs.replace(
        found, last_updated=before.last_updated, evses=before.evses
    )
    only_status = small and all(_but_status(each, old.get(each.uid)) for each in changed)
    partners = rows.receivers(connection, "locations")
    for subject in [f"{place.id}/{each.uid}" for each in changed] if only_status else [place.id]:
        rows.enqueue(connection, partners, "locations", subject, now_ms)


def _but_status(evse: OcpiEvse, before: OcpiEvse | None) -> bool:
    return before is not None and before == msgspec.structs.replace(
        evse, status=before.status, last_updated=before.last_updated
    )


def _evse(
    connection: Connection, config: RoamingConfig, offered: OfferedEvse, statuses: Mapping[tuple[str, int], set[str]],
    connected: Collection[str], before: OcpiEvse | None, now_ms: int,
) -> OcpiEvse:  # fmt: skip
    station_id, updated = offered.station_id, wire.moment(now_ms)
    price_plan = find_plan(connection, Scope(station_id=station_id, evse_id=offered.evse))
    names: tuple[str, ...] = ()
    if price_plan is not None and publish_tariff(connection, config, price_plan.id, now_ms):
        names = (tariff_id(price_plan.id),)
    reported = statuses.get((station_id, offered.evse), set())
    status = next((_STATUS[each] for each in _STATUS if each in reported), "UNKNOWN")
    old = {each.id: each for each in before.connectors} if before is not None else {}
    made = []
    for each in offered.connectors:
        connector = OcpiConnector(
            id=each.id, standard=each.standard, format=each.format, power_type=each.power_type,
            max_voltage=each.max_voltage, max_amperage=each.max_amperage,
            max_electric_power=each.max_electric_power, tariff_ids=names, capabilities=each.capabilities,
            last_updated=updated,
        )  # fmt: skip
        kept = old.get(each.id)
        same = kept is not None and msgspec.structs.replace(connector, last_updated=kept.last_updated) == kept
        made.append(kept if same and kept is not None else connector)
    found = OcpiEvse(
        uid=offered.key, evse_id=offered.evse_id, status=status if station_id in connected else "UNKNOWN",
        capabilities=_CAPABILITIES, connectors=tuple(made), last_updated=updated,
    )  # fmt: skip
    same = before is not None and msgspec.structs.replace(found, last_updated=before.last_updated) == before
    return before if same and before is not None else found


def publish_tariff(connection: Connection, config: RoamingConfig, plan_id: str, now_ms: int) -> bool:
    """Publish the tariffs of a plan; False if OCPI cannot express it. The content under a plan's id never changes."""
    if rows.find_object(connection, "", "tariffs", tariff_id(plan_id)) is not None:
        return True
    found = plan(connection, plan_id)
    made = () if found is None else _tariffs(config, found, now_ms)
    for tariff in made:
        rows.put_object(connection, _own("tariffs", tariff.id, wire.encode(tariff).decode(), now_ms))
        rows.enqueue(connection, rows.receivers(connection, "tariffs"), "tariffs", tariff.id.lower(), now_ms)
    return bool(made)


def _tariffs(config: RoamingConfig, found: Any, now_ms: int) -> tuple[OcpiTariff, ...]:
    try:
        return tariffs_of(found, config.country_code, config.party_id, wire.moment(now_ms))
    except CodecError:
        return ()


# -- sessions


def session_id_of(station_id: str, transaction_id: str) -> str:
    """Return the id of a transaction's session: stations may use the same ids."""
    return hashlib.sha256(f"{station_id} {transaction_id}".encode()).hexdigest()[:32]


def grant_key(token_type: str, id_token: str) -> str:
    """Return the key of a grant."""
    return f"{token_type}*{normalise(token_type, id_token)}".lower()


def put_grant(
    connection: Connection, partner_id: str, token_type: str, id_token: str, grant: Grant, now_ms: int
) -> Grant:
    """Note that a partner's driver was authorized; if it has not said whether it consents, its contract has."""
    known = rows.find_partner(connection, partner_id)
    if grant.discharge is None and known is not None:
        grant = msgspec.structs.replace(grant, discharge=known.partner.discharge)
    kept = _own("grants", grant_key(token_type, id_token), msgspec.json.encode(grant).decode(), now_ms)
    rows.put_object(connection, msgspec.structs.replace(kept, audience=partner_id))
    return grant


def grant_of(connection: Connection, token_type: str, id_token: str) -> tuple[Kept, Grant] | None:
    """Return the last grant of a token."""
    kept = rows.find_object(connection, "", "grants", grant_key(token_type, id_token))
    return None if kept is None else (kept, typed_json.decode(kept.document, Grant))


_FRESH_MS: Final = 86_400_000
_PUSH_MS: Final = 60_000
_PUSH_KWH: Final = Decimal(1)


def follow(connection: Connection, config: CsmsConfig, station_id: str, transaction_id: str, now_ms: int) -> bool:
    """Store the session of a partner's driver, and its CDR once it is booked; return whether that is to come."""
    roaming = config.roaming
    transaction = transactions.get(connection, station_id, transaction_id)
    if roaming is None or transaction is None or transaction.started_ms is None:
        return False
    about = f"{station_id}/{transaction_id}"
    known = next(iter(rows.objects_about(connection, "", "sessions", about)), None)
    before = None if known is None else typed_json.decode(known.document, OcpiSession)
    if known is None:
        if transaction.id_token is None or transaction.token_type is None:
            return False
        granted = grant_of(connection, transaction.token_type.value, transaction.id_token.value)
        if granted is None or abs(transaction.started_ms - granted[0].updated_ms) > _FRESH_MS:
            return False
        partner_id, grant = granted[0].audience, granted[1]
        token, method, reference = grant.token, grant.auth_method, grant.reference
    else:
        assert before is not None
        partner_id, token = known.audience, before.cdr_token
        method, reference = before.auth_method, before.authorization_reference
    found = _place_of(connection, transaction)
    if found is None:
        return False
    place, offered = found
    cost = tariffs.cost(connection, station_id, transaction_id)
    currency = _currency(connection, config, transaction, cost)
    session = OcpiSession(
        country_code=roaming.country_code, party_id=roaming.party_id,
        id=session_id_of(station_id, transaction_id), start_date_time=wire.moment(transaction.started_ms),
        end_date_time=None if transaction.active else wire.moment(_end_ms(transaction, now_ms)),
        kwh=_kwh(transaction.import_start_wh, transaction.import_wh), cdr_token=token, auth_method=method,
        authorization_reference=reference, location_id=place.id, evse_uid=offered.key,
        connector_id=_connector(transaction, offered).id, currency=currency,
        charging_periods=_running(transaction), status="ACTIVE" if transaction.active else "COMPLETED",
        total_cost=None if cost is None else _price(cost["excl_tax"], cost["incl_tax"], currency),
        last_updated=wire.moment(now_ms),
    )  # fmt: skip
    state = "" if known is None else known.state
    if before is None or msgspec.structs.replace(session, last_updated=before.last_updated) != before:
        soon = (
            known is not None and before is not None and before.status == session.status
            and now_ms - known.updated_ms < _PUSH_MS and session.kwh - before.kwh < _PUSH_KWH
        )  # fmt: skip
        if not soon or not transaction.active:
            kept = _own("sessions", session.id, wire.encode(session).decode(), now_ms)
            more = {"audience": partner_id, "about": about, "state": state or "open"}
            rows.put_object(connection, msgspec.structs.replace(kept, **more))
            if partner_id in rows.receivers(connection, "sessions"):
                rows.enqueue(connection, [partner_id], "sessions", session.id, now_ms)
    if transaction.active:
        return False
    return not _bill(connection, config, transaction, session, partner_id, (place, offered), now_ms)


def _kwh(start: Any, last: Any) -> Decimal:
    if start is None or last is None:
        return Decimal(0)
    return ((Decimal(last.value) - Decimal(start.value)) / 1000).quantize(_Q4)


def _end_ms(transaction: Transaction, now_ms: int) -> int:
    return transaction.ended_ms or transaction.closed_ms or now_ms


def _running(transaction: Transaction) -> tuple[CdrPeriod, ...]:
    dimensions = [CdrDimension(type="ENERGY_IMPORT", volume=_kwh(transaction.import_start_wh, transaction.import_wh))]
    if transaction.export_wh is not None:
        exported = _kwh(transaction.export_start_wh, transaction.export_wh)
        dimensions.append(CdrDimension(type="ENERGY_EXPORT", volume=exported))
    if transaction.soc is not None:
        dimensions.append(CdrDimension(type="STATE_OF_CHARGE", volume=Decimal(transaction.soc.value)))
    assert transaction.started_ms is not None
    return (CdrPeriod(start_date_time=wire.moment(transaction.started_ms), dimensions=tuple(dimensions)),)


def _place_of(connection: Connection, transaction: Transaction) -> tuple[OfferedLocation, OfferedEvse] | None:
    for kept in rows.objects_about(connection, "", "evses", transaction.station_id):
        if kept.state == str(transaction.evse_id or 1):
            place = place_of(connection, kept.alias)
            if place is not None:
                return place, typed_json.decode(kept.document, OfferedEvse)
    return None


def _connector(transaction: Transaction, offered: OfferedEvse) -> OfferedConnector:
    wanted = str(transaction.connector_id or "")
    return next((each for each in offered.connectors if each.id == wanted), offered.connectors[0])


def _currency(
    connection: Connection, config: CsmsConfig, transaction: Transaction, cost: Mapping[str, Any] | None
) -> str:
    if cost is not None:
        return str(cost["currency"])
    plans = plans_of(connection, transaction)
    return plans[0][1].currency if plans else config.grid.currency or "EUR"


# -- CDRs


def _bill(
    connection: Connection, config: CsmsConfig, transaction: Transaction, session: OcpiSession, partner_id: str,
    where: tuple[OfferedLocation, OfferedEvse], now_ms: int,
) -> bool:  # fmt: skip
    """Make the CDR of a session that has ended, if it is booked; what differs from an earlier one is corrected."""
    key = transaction.station_id, transaction.transaction_id
    if held.is_open(connection, *key):
        return False
    cost = tariffs.cost(connection, *key)
    if (cost is None and plans_of(connection, transaction)) or (cost is not None and not cost["final"]):
        return False
    about = f"{key[0]}/{key[1]}"
    earlier = [typed_json.decode(each.document, OcpiCdr) for each in rows.objects_about(connection, "", "cdrs", about)]
    bills = [each for each in earlier if not each.credit]
    known = rows.find_partner(connection, partner_id)
    split = known is not None and not known.partner.negative_energy
    made = _cdrs(connection, config, transaction, session, where, cost, split=split, number=len(bills), now_ms=now_ms)
    last = max(bills, key=lambda each: (len(each.id), each.id), default=None)
    if last is not None:
        if (last.total_cost, last.total_energy) == (made[0].total_cost, made[0].total_energy):
            return True
        made.insert(0, msgspec.structs.replace(credit_of(last), last_updated=wire.moment(now_ms)))
    for cdr in made:
        kept = _own("cdrs", cdr.id, wire.encode(cdr).decode(), now_ms)
        rows.put_object(connection, msgspec.structs.replace(kept, audience=partner_id, about=about, state="sent"))
        if partner_id in rows.receivers(connection, "cdrs"):
            # a credit CDR that came before the CDR that it takes back would be disputed
            rows.enqueue(connection, [partner_id], "cdrs", cdr.id.lower(), now_ms, chain=about)
    there = rows.find_object(connection, "", "sessions", session.id)
    if there is not None and there.state != "billed":
        rows.put_object(connection, msgspec.structs.replace(there, state="billed"))
    return True


def _price(excl: int, incl: int, currency: str, percent: Decimal | None = None) -> OcpiPrice:
    net = payable(Decimal(excl).scaleb(-6), currency)
    gross = payable(Decimal(incl).scaleb(-6), currency)
    tax = (TaxAmount(name="VAT", percentage=percent, amount=gross - net),) if gross != net else ()
    return OcpiPrice(before_taxes=net, taxes=tax)


def _cdrs(
    connection: Connection, config: CsmsConfig, transaction: Transaction, session: OcpiSession,
    where: tuple[OfferedLocation, OfferedEvse], cost: Mapping[str, Any] | None, *, split: bool, number: int,
    now_ms: int,
) -> list[OcpiCdr]:  # fmt: skip
    roaming, (place, offered) = config.roaming, where
    assert roaming is not None
    assert transaction.started_ms is not None
    currency, end_ms, start_ms = session.currency, _end_ms(transaction, now_ms), transaction.started_ms
    bill = _bill_of(connection, transaction, cost, currency, end_ms)
    periods = [each for period in bill.periods for each in _periods(period)]
    connector = _connector(transaction, offered)
    found: dict[str, OcpiTariff] = {}
    for plan_id in dict.fromkeys(each.plan_id for each in bill.periods if each.plan_id):
        price_plan = plan(connection, plan_id)
        if price_plan is not None:
            found |= {each.id: each for each in _tariffs(roaming, price_plan, now_ms)}
    used = {each.tariff_id for each in periods} | {tariff_id(each.plan_id) for each in bill.lines}

    def costs(lines: Iterable[Line], *kinds: str) -> OcpiPrice | None:
        chosen = [each for each in lines if each.kind in kinds]
        if not chosen:
            return None
        percents = {percent_of(each.taxes) for each in chosen}
        sums = sum(each.excl_tax for each in chosen), sum(each.incl_tax for each in chosen)
        return _price(*sums, currency, next(iter(percents)) if len(percents) == 1 else None)

    def cdr(name: str, lines: list[Line], kept: list[CdrPeriod], total: OcpiPrice, **more: Any) -> OcpiCdr:
        energy = sum((each.volume for p in kept for each in p.dimensions if each.type == "ENERGY"), Decimal(0))
        return OcpiCdr(
            country_code=roaming.country_code, party_id=roaming.party_id, id=name,
            start_date_time=session.start_date_time, end_date_time=wire.moment(end_ms), session_id=session.id,
            cdr_token=session.cdr_token, auth_method=session.auth_method,
            authorization_reference=session.authorization_reference,
            cdr_location=CdrLocation(
                id=place.id, name=place.name, address=place.address, city=place.city, postal_code=place.postal_code,
                country=place.country, coordinates=OcpiPlace(latitude=place.latitude, longitude=place.longitude),
                evse_uid=offered.key, evse_id=offered.evse_id, connector_id=connector.id,
                connector_standard=connector.standard, connector_format=connector.format,
                connector_power_type=connector.power_type,
            ),
            currency=currency, tariffs=tuple(each for each in found.values() if each.id in used),
            charging_periods=tuple(kept), signed_data=_signed_data(connection, transaction), total_cost=total,
            total_fixed_cost=costs(lines, "fixed"), total_energy=energy,
            total_energy_cost=costs(lines, "energy", "export"), total_time=_hours(end_ms - start_ms),
            total_time_cost=costs(lines, "charging_time"), total_parking_time=_hours(bill.idle_ms),
            total_parking_cost=costs(lines, "idle_time"),
            total_reservation_cost=costs(lines, "reservation_time", "reservation_fixed"),
            last_updated=wire.moment(now_ms), **more,
        )  # fmt: skip

    name = session.id if not number else f"{session.id}-{number}"
    lines = list(bill.lines)
    back = [each for each in periods if (each.tariff_id or "").endswith(EXPORT)]
    if not split or not back:
        return [cdr(name, lines, periods, _price(bill.excl_tax, bill.incl_tax, currency))]
    exports = [each for each in lines if each.kind == "export"]
    sums = sum(each.excl_tax for each in exports), sum(each.incl_tax for each in exports)
    whole = _price(bill.excl_tax, bill.incl_tax, currency)
    main = _price(bill.excl_tax - sums[0], bill.incl_tax - sums[1], currency)
    net = whole.before_taxes - main.before_taxes  # so that both add up to what the transaction costs
    tax = (whole.total or net) - (main.total or net) - net
    credit = OcpiPrice(before_taxes=net, taxes=(TaxAmount(name="VAT", amount=tax),))
    turned = [
        msgspec.structs.replace(each, dimensions=tuple(
            msgspec.structs.replace(one, volume=abs(one.volume)) for one in each.dimensions)) for each in back
    ]  # fmt: skip
    rest = [each for each in lines if each.kind != "export"]
    return [
        cdr(name, rest, [each for each in periods if each not in back], main),
        cdr(f"{name}E", exports, turned, credit, credit=True, credit_reference_id=name),
    ]


def _bill_of(
    connection: Connection, transaction: Transaction, cost: Mapping[str, Any] | None, currency: str, end_ms: int
) -> Bill:
    """Return the bill of a transaction; without a calculation of ours its use is one period."""
    if cost is not None and cost["source"] == "csms":
        return typed_json.convert(cost["document"], Bill)
    used = held.judged(connection, transaction, end_ms)
    flowed = used.import_mwh or used.export_mwh
    lasted = used.usage.end_ms - used.usage.start_ms
    period = Period(
        plan_id="", start_ms=used.usage.start_ms, energy_mwh=used.import_mwh, export_mwh=used.export_mwh,
        charging_ms=lasted if flowed else 0, idle_ms=0 if flowed else lasted,
    )  # fmt: skip
    excl, incl = (0, 0) if cost is None else (cost["excl_tax"], cost["incl_tax"])
    return Bill(currency=currency, periods=(period,), excl_tax=excl, incl_tax=incl, idle_ms=period.idle_ms)


def _hours(ms: int) -> Decimal:
    return (Decimal(max(0, ms)) / 3_600_000).quantize(_Q4)


def _energy(mwh: int) -> Decimal:
    return (Decimal(mwh) / 10**6).quantize(_Q4)


def _periods(period: Period) -> list[CdrPeriod]:
    """Return a period as one of OCPI, and another one for energy fed back, which has a tariff of its own."""
    begun = wire.moment(period.start_ms)
    name = tariff_id(period.plan_id) if period.plan_id else None
    dimensions = []
    if period.energy_mwh or not period.export_mwh:
        dimensions.append(CdrDimension(type="ENERGY", volume=_energy(period.energy_mwh)))
    if period.charging_ms:
        dimensions.append(CdrDimension(type="TIME", volume=_hours(period.charging_ms)))
    if period.idle_ms:
        dimensions.append(CdrDimension(type="PARKING_TIME", volume=_hours(period.idle_ms)))
    if period.max_current_a:
        dimensions.append(CdrDimension(type="MAX_CURRENT", volume=Decimal(period.max_current_a)))
    found = [CdrPeriod(start_date_time=begun, dimensions=tuple(dimensions), tariff_id=name)] if dimensions else []
    if period.export_mwh:
        back = (CdrDimension(type="ENERGY", volume=0 - _energy(period.export_mwh)),)
        found.append(CdrPeriod(start_date_time=begun, dimensions=back, tariff_id=name and name + EXPORT))
    return found


_NATURES: Final = {"Transaction.Begin": "Start", "Transaction.End": "End"}


def _signed_data(connection: Connection, transaction: Transaction) -> CdrSignedData | None:
    """Return the meter's signed values of a transaction: OCMF first."""
    event = transaction_events.c
    query = select(event.samples).where(
        (event.station_id == transaction.station_id) & (event.transaction_id == transaction.transaction_id)
    )
    found: dict[str, CdrSignedValue] = {}
    key, method = None, ""
    for text in connection.execute(query.order_by(event.seq_no)).scalars():
        if '"signed"' not in text:
            continue
        for sample in typed_json.decode(text, list[dict[str, Any]]):
            signed = typed_json.decode(sample["signed"], dict[str, str]) if sample.get("signed") else {}
            data = signed.get("signedMeterData", "")
            if not data or data in found:
                continue
            try:
                plain = base64.b64decode(data, validate=True).decode("ascii", "replace")
            except ValueError:
                plain, data = data, base64.b64encode(data.encode()).decode()
            if len(data) > 5000 or len(found) >= _MOST_SIGNED:
                continue
            method = "OCMF" if "OCMF|" in plain else method or signed.get("encodingMethod", "")[:36]
            payload = plain.split("|")[1] if plain.startswith("OCMF|") and plain.count("|") >= 2 else plain
            nature = _NATURES.get(sample.get("context", ""), "Intermediate")
            found[data] = CdrSignedValue(nature=nature, plain_data=payload[:5000], signed_data=data)
            key = signed.get("publicKey") or key
    if not found:
        return None
    key = key if key is not None and len(key) <= 512 else None
    return CdrSignedData(encoding_method=method or "unknown", public_key=key, signed_values=tuple(found.values()))
