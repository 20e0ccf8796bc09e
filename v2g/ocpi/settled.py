"""The charge detail record (CDR) of a settled session in both directions, with the meter's signed data.

In OCPI a discharge has no record of its own. The dimension `ENERGY` of a charging period is negative where energy was
fed back (mod_cdrs, CdrDimensionType); `ENERGY_IMPORT` and `ENERGY_EXPORT` are for sessions only. So a period here has
one direction and one price, and its tariff's price times its volume is a cost, or a credit below zero. `total_energy`
is the sum of the volumes; both registers, never netted, are in the signed data. Numbers have four decimals (types,
`number`), prices all they have. What OCPI asks for and a settlement does not know (the location, how the driver was
authorised) are facts of the operator.
"""

import base64
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

from v2g import typed_json
from v2g.energy.settlement.intervals import Registers, Timeline
from v2g.energy.settlement.journal import Entry
from v2g.energy.settlement.pricing import NO_CURRENCY, WEAR, Direction, Line, standing_lines
from v2g.energy.settlement.records import Correction, SessionStarted
from v2g.energy.settlement.session_journal import readings_of
from v2g.energy.settlement.settle import Settlement, settle
from v2g.energy.settlement.taxes import Taxation, VatRate, gross_of, percents, taxes_of
from v2g.errors import CodecError
from v2g.ocpi import objects, wire
from v2g.ocpi.records import credit_of
from v2g.units import HOUR_MS, MWH_PER_KWH, payable

_SHORT_PAUSE_MS: Final = 60_000
"""A pause shorter than this is none: a meter's register steps."""

Text45 = Annotated[str, Meta(min_length=1, max_length=45)]


class SettledPlace(objects.OcpiObject, frozen=True, forbid_unknown_fields=True):
    """Where a session took place. `evse_uid` is the operator's technical name; default: the EVSE id.

    `country` is ISO 3166-1 alpha-3. `connector_standard` is OCPI's name, such as `IEC_62196_T2_COMBO`.
    """

    id: objects.Id36
    address: Text45
    city: Text45
    country: Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")]
    coordinates: objects.OcpiPlace
    connector_id: objects.Id36
    connector_standard: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_]{1,36}\Z")]
    connector_format: Literal["SOCKET", "CABLE"]
    connector_power_type: Literal["AC_1_PHASE", "AC_2_PHASE", "AC_2_PHASE_SPLIT", "AC_3_PHASE", "DC"]
    name: Annotated[str, Meta(max_length=255)] | None = None
    postal_code: Annotated[str, Meta(max_length=10)] | None = None
    state: Annotated[str, Meta(max_length=20)] | None = None
    evse_uid: objects.Id36 | None = None
    evse_id: Annotated[str, Meta(pattern=r"^[ -~]{1,48}\Z")] | None = None


class Facts(objects.OcpiObject, frozen=True, forbid_unknown_fields=True):
    """What the operator adds. Country and party default to those of the EVSE id, the token to the contract's EMAID.

    `vat` are rates by day of `vat_zone` (IANA); without any the record has costs without VAT only.
    """

    location: SettledPlace
    auth_method: Literal["AUTH_REQUEST", "COMMAND", "WHITELIST"]
    country_code: objects.CountryCode | None = None
    party_id: objects.PartyId | None = None
    token: objects.CdrToken | None = None
    vat: tuple[VatRate, ...] = ()
    vat_zone: Annotated[str, Meta(max_length=64)] = "UTC"


def encode(record: objects.OcpiCdr | Sequence[objects.OcpiCdr]) -> bytes:
    """Return a record, or several, as JSON of OCPI 2.2.1."""
    return wire.encode(wire.outer(wire.plain(record), "2.2.1")) + b"\n"


def signed_data_of(data_sets: Mapping[Direction, str], public_key: bytes) -> objects.CdrSignedData:
    """Return the meter's data sets (OCMF), and its key (DER)."""
    return objects.CdrSignedData(
        encoding_method="OCMF",
        public_key=base64.b64encode(public_key).decode(),
        signed_values=tuple(
            objects.CdrSignedValue(
                nature="End",  # each has the reading at the begin, too
                plain_data=text.split("|")[1],
                signed_data=base64.b64encode(text.encode()).decode(),
            )
            for text in (data_sets["import"], data_sets["export"])
        ),
    )


def correction_records(
    entries: Sequence[Entry], signed: objects.CdrSignedData | None, *, facts: Facts, credited: str | None = None
) -> tuple[objects.OcpiCdr, objects.OcpiCdr]:
    """Return the credit CDR of a corrected session's earlier record, and its new record.

    `credited` is the id of the earlier record; default: that of the session's end, without corrections. Raises
    CodecError like `charge_detail_record`, without a correction, and for an id that is none of the journal's.
    """
    first = next((count for count, each in enumerate(entries) if isinstance(each.data, Correction)), len(entries))
    ids = {_record_id(entries[count - 1]): count for count in range(first, len(entries))}
    if not ids:
        raise CodecError("the session has no correction")
    count = first if credited is None else ids.get(credited)
    if count is None:
        raise CodecError(
            f"no record {credited} came before the last correction", hint=f"the first is {next(iter(ids))}"
        )

    def record(part: Sequence[Entry]) -> objects.OcpiCdr:
        return charge_detail_record(part, settle(part), signed, facts=facts, created_ms=entries[-1].utc_ms)

    return credit_of(record(entries[:count])), record(entries)


def _record_id(entry: Entry) -> str:
    """Return the id of the record of a session whose journal ends with an entry."""
    return entry.hash[:36]


def charge_detail_record(
    entries: Sequence[Entry],
    settlement: Settlement,
    signed: objects.CdrSignedData | None,
    *,
    facts: Facts,
    created_ms: int,
) -> objects.OcpiCdr:
    """Return the record of a verified session, with the meter's signed data.

    Its id is the head of the journal, so a correction makes another record. Raises CodecError if the session is not
    over, has two currencies, or does not fit OCPI.
    """
    started = entries[0].data
    assert isinstance(started, SessionStarted), "checked by verify_lines"
    if settlement.state == "open":
        raise CodecError("the session is not over; a CDR describes a concluded one")
    totals = [total for total in settlement.totals if total.currency != NO_CURRENCY]
    if len(totals) > 1:
        raise CodecError("the session has prices in two currencies; a CDR has one")
    country, party = _owner(settlement, facts)
    taxation = Taxation(rates=facts.vat, zone=facts.vat_zone)
    spans = _spans(entries, settlement, percents(entries, settlement, taxation))
    begin = settlement.begin
    net = payable(Decimal(totals[0].balance).scaleb(-6), totals[0].currency) if totals else Decimal(0)
    cost = objects.OcpiPrice(before_taxes=net)
    taxes = taxes_of(entries, settlement, taxation)
    if taxes:
        gross = payable(Decimal(gross_of(taxes, taxes[0].currency)).scaleb(-6), taxes[0].currency)
        cost = objects.OcpiPrice(before_taxes=net, taxes=(objects.TaxAmount(name="VAT", amount=gross - net),))
    updated = wire.moment(created_ms)
    periods = tuple(_period(span, begin) for span in spans)
    hours = [
        dimension.volume for period in periods for dimension in period.dimensions if dimension.type == "PARKING_TIME"
    ]
    prices = {(span.price, span.percent): span.currency for span in spans if span.price is not None}
    return _checked(
        objects.OcpiCdr(
            country_code=country,
            party_id=party,
            id=_record_id(entries[-1]),
            start_date_time=wire.moment(begin.utc_ms),
            end_date_time=wire.moment(settlement.end.utc_ms),
            session_id=settlement.session_id,
            cdr_token=facts.token or _contract_token(settlement),
            auth_method=facts.auth_method,
            cdr_location=objects.CdrLocation(
                **{
                    **msgspec.structs.asdict(facts.location),
                    "evse_id": settlement.evse_id,
                    "evse_uid": facts.location.evse_uid or settlement.evse_id,
                }
            ),
            meter_id=started.meter_serial,
            currency=totals[0].currency if totals else NO_CURRENCY,
            tariffs=tuple(
                objects.OcpiTariff(
                    country_code=country,
                    party_id=party,
                    id=_tariff_id(price, percent),
                    currency=currency,
                    elements=(_element(price, percent),),
                    last_updated=updated,
                )
                for (price, percent), currency in sorted(prices.items(), key=lambda each: _tariff_id(*each[0]))
            ),
            charging_periods=periods,
            signed_data=signed,
            total_cost=cost,
            total_energy=sum(
                (each.volume for period in periods for each in period.dimensions if each.type == "ENERGY"),
                start=Decimal("0.0000"),
            ),
            total_energy_cost=cost,
            total_time=_decimal(settlement.end.utc_ms - begin.utc_ms, HOUR_MS),
            total_parking_time=sum(hours, start=Decimal("0.0000")),
            last_updated=updated,
        )
    )


def _checked(record: objects.OcpiCdr) -> objects.OcpiCdr:
    """Return a record whose texts fit OCPI. Raises CodecError."""
    try:
        return typed_json.convert(wire.plain(record), objects.OcpiCdr)
    except msgspec.ValidationError as error:
        raise CodecError(f"the session does not fit a CDR: {error}") from None


def _owner(settlement: Settlement, facts: Facts) -> tuple[str, str]:
    """Return country and party of the operator: the first five letters of the EVSE id, unless they are given."""
    found = re.match(r"([A-Z]{2})\*?([A-Z0-9]{3})\*?E", settlement.evse_id)
    country = facts.country_code or (found.group(1) if found else None)
    party = facts.party_id or (found.group(2) if found else None)
    if country is None or party is None:
        raise CodecError(
            f"the EVSE id {settlement.evse_id} names no operator", hint="give country_code and party_id in the facts"
        )
    return country, party


def _contract_token(settlement: Settlement) -> objects.CdrToken:
    if not settlement.emaid:
        raise CodecError("the session has no contract", hint="give the token in the facts")
    emaid = settlement.emaid.replace("-", "")
    return objects.CdrToken(
        country_code=emaid[:2], party_id=emaid[2:5], uid=emaid, type="OTHER", contract_id=settlement.emaid
    )


def _decimal(number: int, unit: int) -> Decimal:
    return (Decimal(number) / unit).quantize(Decimal("0.0001"), rounding=ROUND_HALF_UP)


def _element(price: int, percent: Decimal | None) -> objects.OcpiElement:
    component = objects.OcpiComponent(type="ENERGY", price=Decimal(price).scaleb(-6), step_size=1, vat=percent)
    return objects.OcpiElement(price_components=(component,))


def _tariff_id(price: int, percent: Decimal | None) -> str:
    taxed = "" if percent is None else f"-vat-{percent}"
    return f"energy-{Decimal(price).scaleb(-6):f}{taxed}"


# -- charging periods


class _Span(NamedTuple):
    """A part of the session with energy in one direction at one price and rate of VAT, or without energy."""

    begin: Registers
    end: Registers
    direction: Direction | None
    price: int | None
    currency: str
    percent: Decimal | None


def _period(span: _Span, start: Registers) -> objects.CdrPeriod:
    """Return a period. Volumes are differences of rounded sums since the start, so that they add up."""

    def volume(first: int, last: int, unit: int) -> Decimal:
        return _decimal(last, unit) - _decimal(first, unit)

    hours = volume(span.begin.utc_ms - start.utc_ms, span.end.utc_ms - start.utc_ms, HOUR_MS)
    if span.direction is None:
        dimensions: tuple[objects.CdrDimension, ...] = (objects.CdrDimension(type="PARKING_TIME", volume=hours),)
    else:
        energy = volume(_net(span.begin) - _net(start), _net(span.end) - _net(start), MWH_PER_KWH)
        dimensions = objects.CdrDimension(type="ENERGY", volume=energy), objects.CdrDimension(type="TIME", volume=hours)
    return objects.CdrPeriod(
        start_date_time=wire.moment(span.begin.utc_ms),
        dimensions=dimensions,
        tariff_id=None if span.price is None else _tariff_id(span.price, span.percent),
    )


def _net(registers: Registers) -> int:
    return registers.import_mwh - registers.export_mwh


def _spans(
    entries: Sequence[Entry], settlement: Settlement, percent_of: Callable[[Line], Decimal | None]
) -> list[_Span]:
    """Return the session cut where direction, price or VAT changes; short pauses belong to what was before them."""
    readings = readings_of(entries)
    prices = _Prices(standing_lines(settlement.lines).values(), percent_of)
    timeline = Timeline(readings)
    cuts = sorted({each.utc_ms for each in readings} | prices.edges)
    before, found = readings[0], list[_Span]()
    for after in (timeline.at(cut) for cut in cuts[1:]):
        found += _parts(before, after, prices)
        before = after
    if not found:  # no time has passed
        found = [_Span(before, before, None, None, NO_CURRENCY, None)]
    kept = list[_Span]()
    for span in _merged(found):
        short = span.direction is None and span.end.utc_ms - span.begin.utc_ms < _SHORT_PAUSE_MS
        like = kept[-1] if kept and short else span
        kept.append(span._replace(direction=like.direction, price=like.price, percent=like.percent))
    return _merged(kept)


def _parts(before: Registers, after: Registers, prices: "_Prices") -> list[_Span]:
    """Return the time between two readings; if energy flowed both ways, first that into the vehicle."""
    taken, fed_back = after.import_mwh - before.import_mwh, after.export_mwh - before.export_mwh
    if taken and fed_back:
        turned_ms = before.utc_ms + (after.utc_ms - before.utc_ms) * taken // (taken + fed_back)
        turn = Registers(turned_ms, after.import_mwh, before.export_mwh)
        return _parts(before, turn, prices) + _parts(turn, after, prices)
    direction: Direction | None = "import" if taken else "export" if fed_back else None
    price, currency, percent = prices.at(direction, before.utc_ms) if direction else (None, NO_CURRENCY, None)
    return [_Span(before, after, direction, price, currency, percent)]


def _merged(spans: Sequence[_Span]) -> list[_Span]:
    found = list(spans[:1])
    for before, span in pairwise(spans):
        if (before.direction, before.price, before.percent) == (span.direction, span.price, span.percent):
            found[-1] = found[-1]._replace(end=span.end)
        else:
            found.append(span)
    return found


class _Prices:
    """The price of each direction over time, that of wear included, with its currency and rate of VAT."""

    def __init__(self, lines: Iterable[Line], percent_of: Callable[[Line], Decimal | None]) -> None:
        standing = sorted(lines, key=lambda line: line.start_ms)
        self.edges = {edge for line in standing for edge in (line.start_ms, line.end_ms)}
        wear = [line for line in standing if line.basis == WEAR]
        self._since: dict[Direction, list[int]] = {"import": [], "export": []}
        self._prices: dict[Direction, list[tuple[int | None, str, Decimal | None]]] = {"import": [], "export": []}
        for line in standing:
            if line.basis != WEAR:
                beside = bisect_right(wear, line.start_ms, key=lambda each: each.start_ms) - 1
                worn = line.direction == "export" and beside >= 0 and line.start_ms < wear[beside].end_ms
                more = (wear[beside].price or 0) if worn else 0
                price = None if line.price is None else line.price + more
                self._since[line.direction].append(line.start_ms)
                percent = None if price is None else percent_of(line)
                self._prices[line.direction].append((price, line.currency, percent))

    def at(self, direction: Direction, utc_ms: int) -> tuple[int | None, str, Decimal | None]:
        """Return price, currency and rate of VAT of energy that flowed from then on."""
        return self._prices[direction][bisect_right(self._since[direction], utc_ms) - 1]
