"""Sessions of partners' drivers at our stations, and their CDRs, each stored as it changes.

A CDR says what is booked: by the offers that the vehicle has signed, as its session was settled, else by the price plan
of its transaction (R203). It never changes: what is corrected later is taken back by a credit CDR and replaced.
"""

import base64
import contextlib
import hashlib
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, select

from csms.booking import held
from csms.booking import store as reviews
from csms.config import CsmsConfig
from csms.db.leases import lock
from csms.device_model import store as device_model
from csms.roaming import store as rows
from csms.roaming.publication import (
    OfferedConnector,
    OfferedEvse,
    OfferedLocation,
    grant_of,
    own_object,
    place_of,
    tariffs_at,
)
from csms.roaming.rules import party_of
from csms.settlements import store as records
from csms.settlements.work import taxation_of
from csms.tariffs import store as tariffs
from csms.tariffs.plans import plan, plans_of
from csms.transactions import store as transactions
from csms.transactions.events import meter_key
from csms.transactions.rules import Dated, Transaction
from csms.transactions.tables import transaction_events
from v2g import typed_json
from v2g.energy.meter_records.container import carried
from v2g.energy.settlement.costing import UNITS, Bill, Line, Period
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.pricing import NO_CURRENCY
from v2g.energy.settlement.settle import settle
from v2g.errors import CodecError, OcppError, RecordError
from v2g.ocpi import wire
from v2g.ocpi.objects import (
    CdrDimension,
    CdrLocation,
    CdrPeriod,
    CdrSignedData,
    CdrSignedValue,
    CdrToken,
    OcpiCdr,
    OcpiLocation,
    OcpiPlace,
    OcpiPrice,
    OcpiSession,
    OcpiTariff,
    TaxAmount,
)
from v2g.ocpi.records import credit_of, credits_in, judge_price, split_of, volume
from v2g.ocpi.settled import Facts, SettledPlace, charge_detail_record
from v2g.ocpi.tariffs import EXPORT, hours_of, percent_of, periods_of, tariff_id, tariffs_billed
from v2g.ocpp.messages.tariff_cost import CostDetails
from v2g.translate.details import itemised
from v2g.typed_json import Fields
from v2g.units import MINUTE_MS, MWH_PER_KWH, decimals_of, payable

_MOST_SIGNED: Final = 100
_Q4: Final = Decimal("0.0001")
_FRESH_MS: Final = 86_400_000
_SAME_MWH: Final = 1000
"""By so much a station's cost may be for other energy than its register says, and its periods still count."""
_PUSH_MS: Final = 60_000
_PUSH_KWH: Final = Decimal(1)


def follow(
    connection: Connection, config: CsmsConfig, station_id: str, transaction_id: str, now_ms: int, *, margin_ms: int
) -> bool:
    """Store the session of a partner's driver, and its CDR once it is booked; return whether that is to come.

    `margin_ms`: by so much a signed session may begin before its transaction, and end after it.
    """
    roaming = config.roaming
    lock(connection, [f"roaming {station_id}"])  # else two nodes could make one CDR with two contents
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
        if granted is None or transaction.started_ms - granted[0].updated_ms > _FRESH_MS:
            return False  # a later one is of an offline session, whose events had to wait
        partner_id, grant = granted[0].audience, granted[1]
        token, method, reference = grant.token, grant.auth_method, grant.reference
    else:
        assert before is not None
        partner_id, token = known.audience, before.cdr_token
        method, reference = before.auth_method, before.authorization_reference
    where = _where(connection, transaction, known, before)
    if where is None:
        return False
    place, offered = where.place, where.evse
    cost = tariffs.cost(connection, station_id, transaction_id)
    if cost is not None:
        currency = str(cost["currency"])
    else:
        plans = plans_of(connection, transaction)
        currency = plans[0][1].currency if plans else config.grid.currency or "EUR"
    name = hashlib.sha256(f"{station_id} {transaction_id}".encode()).hexdigest()[:32]  # stations may use the same ids
    session = OcpiSession(
        country_code=roaming.country_code, party_id=roaming.party_id,
        id=name, start_date_time=wire.moment(transaction.started_ms),
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
            kept = own_object("sessions", session.id, wire.encode(session).decode(), now_ms)
            more = {"audience": partner_id, "about": about, "state": state or "open", "alias": _driver(token),
                    "detail": msgspec.json.encode(where).decode()}  # fmt: skip
            rows.put_object(connection, msgspec.structs.replace(kept, **more))
            if partner_id in rows.receivers(connection, "sessions"):
                rows.enqueue(connection, [partner_id], "sessions", session.id, now_ms)
    if transaction.active:
        return False
    return not _bill(connection, config, transaction, session, partner_id, where, margin_ms, now_ms)


def _driver(token: CdrToken) -> str:
    """Return the party of a driver: behind a hub, nobody else sees the session."""
    return party_of(token.country_code, token.party_id)


def _kwh(start: Dated | None, last: Dated | None) -> Decimal:
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


class _Where(msgspec.Struct, frozen=True):
    """An EVSE, and its place, as they were when a session began there: CDRs have them so (CDRs, 10.3.1)."""

    place: OfferedLocation
    evse: OfferedEvse


def _where(
    connection: Connection, transaction: Transaction, known: rows.Kept | None, before: OcpiSession | None
) -> _Where | None:
    if known is not None and known.detail:
        then = typed_json.decode(known.detail, _Where)
        if then.evse.evse == (transaction.evse_id or 1):  # else the station had not said which one it is
            return then
    now = _place_of(connection, transaction)
    return now if now is not None or before is None else _place_then(connection, transaction, before)


def _place_of(connection: Connection, transaction: Transaction) -> _Where | None:
    for kept in rows.objects_about(connection, "", "evses", transaction.station_id):
        if kept.state == str(transaction.evse_id or 1):
            place = place_of(connection, kept.alias)
            if place is not None:
                evse = typed_json.decode(kept.document, OfferedEvse)
                return _Where(msgspec.structs.replace(place, evses=()), evse)
    return None


def _place_then(connection: Connection, transaction: Transaction, session: OcpiSession) -> _Where | None:
    """Return the place of an earlier program's session whose EVSE is offered no more, as partners have seen it."""
    kept = rows.find_object(connection, "", "locations", session.location_id)
    seen = None if kept is None else typed_json.decode(kept.document, OcpiLocation)
    evse = None if seen is None else next((each for each in seen.evses if each.uid == session.evse_uid), None)
    if seen is None or evse is None:
        return None
    connectors = (
        OfferedConnector(
            id=each.id, standard=each.standard, format=each.format, power_type=each.power_type,
            max_voltage=each.max_voltage, max_amperage=each.max_amperage,
        )
        for each in evse.connectors
    )  # fmt: skip
    place = OfferedLocation(
        id=seen.id, name=seen.name, address=seen.address, city=seen.city, postal_code=seen.postal_code,
        country=seen.country, latitude=seen.coordinates.latitude, longitude=seen.coordinates.longitude,
        time_zone=seen.time_zone,
    )  # fmt: skip
    return _Where(place, OfferedEvse(
        station_id=transaction.station_id, evse=transaction.evse_id or 1, uid=evse.uid, evse_id=evse.evse_id or "",
        connectors=tuple(connectors),
    ))  # fmt: skip


def _connector(transaction: Transaction, offered: OfferedEvse) -> OfferedConnector:
    wanted = str(transaction.connector_id or "")
    return next((each for each in offered.connectors if each.id == wanted), offered.connectors[0])


# -- CDRs


def _bill(
    connection: Connection, config: CsmsConfig, transaction: Transaction, session: OcpiSession, partner_id: str,
    where: _Where, margin_ms: int, now_ms: int,
) -> bool:  # fmt: skip
    """Make the CDR of a session that has ended, if it is booked; what differs from an earlier one is corrected, and
    what was rejected since is taken back."""
    key = transaction.station_id, transaction.transaction_id
    cost = tariffs.cost(connection, *key)
    journal = _journal_of(connection, transaction, margin_ms, now_ms)
    if journal is None:
        return False
    about = f"{key[0]}/{key[1]}"
    earlier = [typed_json.decode(each.document, OcpiCdr) for each in rows.objects_about(connection, "", "cdrs", about)]
    bills = [each for each in earlier if not each.credit]
    name = session.id if not bills else f"{session.id}-{len(bills)}"
    last = max(bills, key=lambda each: (len(each.id), each.id), default=None)
    whole = _by_offers(connection, config, transaction, session, where, journal, name, now_ms)
    rejected = whole is None and last is not None and held.is_rejected(connection, *key)
    if whole is None and not rejected:  # what is signed was judged by itself
        if held.is_open(connection, *key):
            return False
        if (cost is None and plans_of(connection, transaction)) or (cost is not None and not cost["final"]):
            return False
        whole = _by_plan(connection, config, transaction, session, where, cost, name, now_ms)
    known = rows.find_partner(connection, partner_id)
    negative = known is None or known.partner.negative_energy
    made = [] if whole is None else [whole] if negative else split_of(whole, where.place.time_zone)
    if last is not None:
        credited = credits_in(earlier, last)
        if _sums((last, *credited)) == _sums(made):
            return True
        back = credit_of(last, credited)
        if all(each.id != back.id for each in credited):  # else it was taken back when its transaction was rejected
            made.insert(0, msgspec.structs.replace(back, last_updated=wire.moment(now_ms)))
    for cdr in made:
        kept = own_object("cdrs", cdr.id, wire.encode(cdr).decode(), now_ms)
        more = {"audience": partner_id, "about": about, "state": "sent", "alias": _driver(session.cdr_token)}
        rows.put_object(connection, msgspec.structs.replace(kept, **more))
        # it waits for a partner that is not registered now; a credit CDR that came before the CDR that it takes back
        # would be disputed
        rows.enqueue(connection, [partner_id], "cdrs", cdr.id.lower(), now_ms, chain=about)
    there = rows.find_object(connection, "", "sessions", session.id)
    if there is not None and there.state != "billed":
        rows.put_object(connection, msgspec.structs.replace(there, state="billed"))
    return True


def _sums(cdrs: Sequence[OcpiCdr]) -> list[tuple[Decimal, Decimal | None, Decimal]]:
    return [(each.total_cost.before_taxes, each.total_cost.total, each.total_energy) for each in cdrs]


def _journal_of(
    connection: Connection, transaction: Transaction, margin_ms: int, now_ms: int
) -> tuple[str, list[bytes]] | None:
    """Return the booked journal of a transaction, with its session's id: no lines without one, or if there are several.

    None: it is yet to be booked. What has not arrived after a day is waited for no more, what is in quarantine is.
    """
    key, end_ms = (transaction.station_id, transaction.transaction_id), _end_ms(transaction, now_ms)
    found = reviews.journals_of(connection, *key, now_ms, margin_ms=margin_ms)
    booked = []
    for name, lines in found.items():
        review = reviews.get(connection, key[0], name)
        state = "waiting" if review is None else review.state
        if state == "quarantined" or (state == "waiting" and now_ms - end_ms < _FRESH_MS):
            return None
        booked += [(name, lines)] if state in ("booked", "released") else []
    return booked[0] if len(booked) == 1 else ("", [])


def _by_offers(
    connection: Connection, config: CsmsConfig, transaction: Transaction, session: OcpiSession,
    where: _Where, journal: tuple[str, list[bytes]], name: str, now_ms: int,
) -> OcpiCdr | None:  # fmt: skip
    """Return the CDR of a settled session, in both directions as its vehicle signed; None if it had no prices."""
    if not journal[1]:
        return None
    entries = verify_lines(b"".join(journal[1]), name=journal[0])
    settlement = settle(entries, name=journal[0])
    if all(each.currency == NO_CURRENCY for each in settlement.totals):
        return None
    location = _location(transaction, where)
    receipt = records.journal_receipt(connection, transaction.station_id, journal[0])
    taxation = taxation_of(receipt, config.taxation.at(transaction.station_id))
    facts = Facts(
        location=SettledPlace(**{each: getattr(location, each) for each in SettledPlace.__struct_fields__}),
        auth_method="AUTH_REQUEST", country_code=session.country_code, party_id=session.party_id,
        token=session.cdr_token, vat=taxation.rates, vat_zone=taxation.zone,
    )  # fmt: skip
    signed = _signed_data(connection, transaction)
    try:
        made = charge_detail_record(entries, settlement, signed, facts=facts, created_ms=now_ms)
    except CodecError:
        return None  # prices in two currencies
    return msgspec.structs.replace(
        made, id=name, session_id=session.id, auth_method=session.auth_method, cdr_location=location,
        authorization_reference=session.authorization_reference,
    )  # fmt: skip


def _price(
    excl: int, incl: int, currency: str, percent: Decimal | None = None, lines: Sequence[Line] = ()
) -> OcpiPrice:
    """Return a price; of the taxes of its `lines` each has its name and its part, if there are others than VAT."""
    net = payable(Decimal(excl).scaleb(-6), currency)
    gross = payable(Decimal(incl).scaleb(-6), currency)
    parts, tax = _parts(lines), gross - net
    if not tax:
        return OcpiPrice(before_taxes=net, taxes=())
    if parts.keys() <= {"VAT"} or not (whole := sum(parts.values())):
        return OcpiPrice(before_taxes=net, taxes=(TaxAmount(name="VAT", percentage=percent, amount=tax),))
    amounts = {name: payable(tax * part / whole, currency) for name, part in parts.items()}
    amounts[next(reversed(amounts))] += tax - sum(amounts.values())
    return OcpiPrice(before_taxes=net, taxes=tuple(TaxAmount(name=each, amount=amounts[each]) for each in amounts))


def _parts(lines: Sequence[Line]) -> dict[str, Decimal]:
    """Return what each tax is of lines, by name, unrounded and without a unit."""
    found: dict[str, Decimal] = {}
    for line in lines:
        base = Decimal(line.excl_tax)
        for stack in sorted({each.stack for each in line.taxes}):
            here = [each for each in line.taxes if each.stack == stack]
            for each in here:
                name = "VAT" if each.kind.upper() == "VAT" else each.kind
                found[name] = found.get(name, Decimal(0)) + base * each.ppm
            base += base * sum(each.ppm for each in here) / 10**6
    return found


def _location(transaction: Transaction, where: _Where) -> CdrLocation:
    place, offered = where.place, where.evse
    connector = _connector(transaction, offered)
    return CdrLocation(
        id=place.id, name=place.name, address=place.address, city=place.city, postal_code=place.postal_code,
        country=place.country, coordinates=OcpiPlace(latitude=place.latitude, longitude=place.longitude),
        evse_uid=offered.key, evse_id=offered.evse_id, connector_id=connector.id,
        connector_standard=connector.standard, connector_format=connector.format,
        connector_power_type=connector.power_type,
    )  # fmt: skip


def _by_plan(
    connection: Connection, config: CsmsConfig, transaction: Transaction, session: OcpiSession,
    where: _Where, cost: Mapping[str, object] | None, name: str, now_ms: int,
) -> OcpiCdr:  # fmt: skip
    """Return the CDR of a transaction by its price plan."""
    roaming = config.roaming
    assert roaming is not None
    assert transaction.started_ms is not None
    currency, end_ms, start_ms = session.currency, _end_ms(transaction, now_ms), transaction.started_ms
    bill = _bill_of(connection, transaction, cost, currency, end_ms)
    periods = periods_of(bill)
    if bill.reserved_ms and periods:  # a CDR begins with its reservation
        reserved = CdrDimension(type="RESERVATION_TIME", volume=hours_of(bill.reserved_ms))
        begun = wire.moment(start_ms - bill.reserved_ms)
        periods.insert(0, msgspec.structs.replace(periods[0], start_date_time=begun, dimensions=(reserved,)))
    found: dict[str, OcpiTariff] = {}
    names: dict[str, str] = {}
    unsaid: list[str] = []
    for plan_id in dict.fromkeys(each.plan_id for each in bill.periods if each.plan_id):
        price_plan, own = plan(connection, plan_id), tariff_id(plan_id)
        said, why = tuple[OcpiTariff, ...](), f"plan {plan_id} is not stored here"
        if price_plan is not None:
            said, why = tariffs_at(roaming, price_plan, where.place.time_zone, now_ms)
            said = tuple(_as_published(connection, each) for each in said)
        if why:  # its partner could not find out why it costs that much
            unsaid.append(f"{why}. Billed without taxes: {_lines_of(bill, plan_id)}")
            billed = tariff_id(f"{plan_id} {name}")
            names |= {own: billed, own + EXPORT: billed + EXPORT}
            said = tariffs_billed(bill, plan_id, billed, roaming.country_code, roaming.party_id, wire.moment(now_ms))
        found |= {each.id: each for each in said}
    named = [names.get(each.tariff_id or "", each.tariff_id) for each in periods]
    periods = [
        msgspec.structs.replace(each, tariff_id=one if one in found else None)
        for each, one in zip(periods, named, strict=True)
    ]
    used = {each.tariff_id for each in periods} | {
        names.get(own := tariff_id(each.plan_id), own) for each in bill.lines
    }

    def costs(*kinds: str) -> OcpiPrice | None:
        chosen = [each for each in bill.lines if each.kind in kinds]
        if not chosen:
            return None
        percents = {percent_of(each.taxes) for each in chosen}
        sums = sum(each.excl_tax for each in chosen), sum(each.incl_tax for each in chosen)
        return _price(*sums, currency, next(iter(percents)) if len(percents) == 1 else None, chosen)

    made = OcpiCdr(
        country_code=roaming.country_code, party_id=roaming.party_id, id=name,
        start_date_time=min([session.start_date_time, *(each.start_date_time for each in periods)]),
        end_date_time=wire.moment(end_ms), session_id=session.id,
        cdr_token=session.cdr_token, auth_method=session.auth_method,
        authorization_reference=session.authorization_reference, cdr_location=_location(transaction, where),
        currency=currency, tariffs=tuple(each for each in found.values() if each.id in used),
        charging_periods=tuple(periods), signed_data=_signed_data(connection, transaction),
        total_cost=_price(bill.excl_tax, bill.incl_tax, currency, lines=bill.lines), total_fixed_cost=costs("fixed"),
        total_energy=volume(periods, "ENERGY"), total_energy_cost=costs("energy", "export"),
        total_time=hours_of(end_ms - start_ms), total_time_cost=costs("charging_time"),
        total_parking_time=hours_of(bill.idle_ms), total_parking_cost=costs("idle_time"),
        total_reservation_cost=costs("reservation_time", "reservation_fixed"), last_updated=wire.moment(now_ms),
        remark="; ".join(unsaid)[:255] or None,
    )  # fmt: skip
    ours = cost is None or cost["source"] == "csms"
    if (ours and not unsaid) or not judge_price(made, {}, where.place.time_zone):
        return made
    return _without(made, names.values() if ours else found)


def _as_published(connection: Connection, tariff: OcpiTariff) -> OcpiTariff:
    """Return a tariff with the time of its publication."""
    kept = rows.find_object(connection, "", "tariffs", tariff.id)
    return tariff if kept is None else msgspec.structs.replace(tariff, last_updated=wire.moment(kept.updated_ms))


def _lines_of(bill: Bill, plan_id: str) -> str:
    """Return what a bill has by a plan, as text."""
    units = {MWH_PER_KWH: "kWh", MINUTE_MS: "min", 1: "times"}
    return ", ".join(
        f"{each.kind} {round(Decimal(each.quantity) / UNITS[each.kind], 3)} {units[UNITS[each.kind]]}"
        f" at {decimals_of(each.price)}"
        for each in bill.lines
        if each.plan_id == plan_id
    )


def _without(cdr: OcpiCdr, names: Collection[str]) -> OcpiCdr:
    """Return a CDR without tariffs of these names: a wrong one is worse than none."""
    periods = [
        msgspec.structs.replace(each, tariff_id=None) if each.tariff_id in names else each
        for each in cdr.charging_periods
    ]
    tariffs = tuple(each for each in cdr.tariffs if each.id not in names)
    return msgspec.structs.replace(cdr, tariffs=tariffs, charging_periods=tuple(periods))


def _bill_of(
    connection: Connection, transaction: Transaction, cost: Mapping[str, Any] | None, currency: str, end_ms: int
) -> Bill:
    """Return the bill of a transaction; its use is one period where neither we nor its station have calculated it."""
    if cost is not None and cost["source"] == "csms":
        return typed_json.convert(cost["document"], Bill)
    used = held.judged(connection, transaction, end_ms)
    if cost is not None and not used.export_mwh:
        with contextlib.suppress(OcppError):
            found = itemised(typed_json.convert(cost["document"], CostDetails))
            more = used.import_mwh - sum(each.energy_mwh for each in found.periods)
            if found.periods and abs(more) <= _SAME_MWH:  # what is billed is what the register says
                *others, last = sorted(found.periods, key=lambda each: each.energy_mwh)
                last = msgspec.structs.replace(last, energy_mwh=last.energy_mwh + more)
                periods = sorted((*others, last), key=lambda each: each.start_ms)
                return msgspec.structs.replace(found, periods=tuple(periods))
    flowed = used.import_mwh or used.export_mwh
    lasted = used.usage.end_ms - used.usage.start_ms
    period = Period(
        plan_id="", start_ms=used.usage.start_ms, energy_mwh=used.import_mwh, export_mwh=used.export_mwh,
        charging_ms=lasted if flowed else 0, idle_ms=0 if flowed else lasted,
    )  # fmt: skip
    excl, incl = (0, 0) if cost is None else (cost["excl_tax"], cost["incl_tax"])
    return Bill(currency=currency, periods=(period,), excl_tax=excl, incl_tax=incl, idle_ms=period.idle_ms)


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
        for sample in typed_json.decode(text, list[Fields]):
            signed = typed_json.decode(sample["signed"], dict[str, str]) if sample.get("signed") else {}
            data = signed.get("signedMeterData", "")
            with contextlib.suppress(RecordError):  # stations also write it plain or in hex
                data = base64.b64encode(carried(data.encode())).decode()
            if not data or data in found:
                continue
            try:
                plain = base64.b64decode(data, validate=True).decode("ascii", "replace")
            except ValueError:
                plain, data = data, base64.b64encode(data.encode()).decode()
            if len(data) > 5000:
                continue
            method = "OCMF" if "OCMF|" in plain else method or signed.get("encodingMethod", "")[:36]
            payload = plain.split("|")[1] if plain.startswith("OCMF|") and plain.count("|") >= 2 else plain
            nature = _NATURES.get(sample.get("context", ""), "Intermediate")
            found[data] = CdrSignedValue(nature=nature, plain_data=payload[:5000], signed_data=data)
            key = signed.get("publicKey") or key
    if not found:
        return None
    key = _der(_meter_key(connection, transaction) or key or "") or None
    values = tuple(found.values())
    if len(values) > _MOST_SIGNED:  # those of begin and end prove the energy
        values = values[: _MOST_SIGNED // 2] + values[-_MOST_SIGNED // 2 :]
    return CdrSignedData(encoding_method=method or "unknown", public_key=key, signed_values=values)


def _meter_key(connection: Connection, transaction: Transaction) -> str:
    """Return the key of a transaction's meter: that which an operator has stored, or its station has reported."""
    station_id, evse_id = transaction.station_id, transaction.evse_id or 1
    reported = device_model.list_variables(connection, station_id, "FiscalMetering", "PublicKey")
    keys = {each["evse_id"]: str(each["value"]) for each in reported if each["value"]}
    return meter_key(connection, station_id, evse_id) or keys.get(evse_id) or keys.get(0, "")


_OCA: Final = b"oca:base16:asn1:"


def _der(key: str) -> str:
    """Return a key as OCPI has it, DER in base64; OCPP puts a prefix and hex into the base64. Too long ones are left
    out."""
    with contextlib.suppress(ValueError):
        plain = base64.b64decode(key, validate=True)
        if plain.startswith(_OCA):
            key = base64.b64encode(bytes.fromhex(plain.removeprefix(_OCA).decode())).decode()
    return key if len(key) <= 512 else ""
