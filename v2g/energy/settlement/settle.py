"""The settlement of a session, recomputed from its journal alone."""

import itertools
from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from v2g.asn1.discharge import DischargeOffer, signed_content
from v2g.energy.settlement import records
from v2g.energy.settlement.intervals import Registers, Timeline, intervals_of
from v2g.energy.settlement.journal import Entry
from v2g.energy.settlement.pricing import Line, PriceBook, Total, correct, price_interval, reprice, totals_of
from v2g.energy.settlement.session_journal import readings_of
from v2g.errors import Asn1Error, RefusedError, VerificationError


class Times(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the plugged-in time was spent, in ms, as three parts. A span is classified by its readings."""

    charging_ms: int
    discharging_ms: int
    idle_ms: int


class BatteryUse(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The session's use of the battery; cycles in millionths, None if the capacity is unknown.

    `throughput_mwh` counts both directions; `full_cycles` is throughput over twice the capacity, `v2g_cycles` export
    over capacity, the figure that battery warranties count.
    """

    capacity_wh: int | None
    throughput_mwh: int
    full_cycles: int | None
    v2g_cycles: int | None


class Settlement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything needed for an invoice. `state` is `open` while the journal has no session_ended. `unmetered` is the
    energy of `energy_unmetered`, absent without one: stated, and not charged."""

    format: Literal["v2g-settlement/1"]
    state: Literal["open", "closed"]
    station_id: str
    evse_id: str
    session_id: str
    emaid: str | None
    begin: Registers
    end: Registers
    reason: str | None
    intervals: tuple[records.IntervalClosed, ...]
    lines: tuple[Line, ...]
    totals: tuple[Total, ...]
    battery: BatteryUse
    times: Times
    journal_entries: int
    journal_head: str
    unmetered: records.EnergyUnmetered | UnsetType = UNSET


def settle(entries: Sequence[Entry], *, name: str = "journal.jsonl") -> Settlement:
    """Return the settlement of verified journal entries.

    Raises VerificationError if the intervals in the journal differ from those of its readings, an offer in it cannot be
    read, or a correction does not name a line in force. Signatures are verified in `v2g.energy.settlement.proof`.
    """
    started = entries[0].data
    assert isinstance(started, records.SessionStarted), "checked by verify_lines"
    ended = next((entry.data for entry in entries if isinstance(entry.data, records.SessionEnded)), None)
    readings = readings_of(entries)
    intervals = _check_intervals(entries, name, finished=ended is not None)
    timeline, book = Timeline(readings), price_book(entries, name=name)
    lines = [line for each in intervals for line in price_interval(each, timeline, book)]
    _apply_corrections(lines, entries, timeline, name)
    authorized = next((entry.data for entry in entries if isinstance(entry.data, records.ContractAuthorized)), None)
    return Settlement(
        format="v2g-settlement/1",
        state="closed" if ended else "open",
        station_id=started.station_id,
        evse_id=started.evse_id,
        session_id=started.session_id,
        emaid=authorized.emaid if authorized else None,
        begin=readings[0],
        end=readings[-1],
        reason=ended.reason if ended else None,
        intervals=tuple(intervals),
        lines=tuple(lines),
        totals=totals_of(lines),
        battery=_battery_use(entries, readings),
        times=_times(readings),
        journal_entries=len(entries),
        journal_head=entries[-1].hash,
        unmetered=_unmetered(entries),
    )


def _unmetered(entries: Sequence[Entry]) -> records.EnergyUnmetered | UnsetType:
    found = [entry.data for entry in entries if isinstance(entry.data, records.EnergyUnmetered)]
    if not found:
        return UNSET
    return records.EnergyUnmetered(
        import_mwh=sum(each.import_mwh for each in found), export_mwh=sum(each.export_mwh for each in found)
    )


def _check_intervals(entries: Sequence[Entry], name: str, *, finished: bool) -> list[records.IntervalClosed]:
    """Return the intervals of the readings, after comparing those in the journal with them."""
    written = [(number, e.data) for number, e in enumerate(entries, 1) if isinstance(e.data, records.IntervalClosed)]
    readings = readings_of(entries, substitutes=True)
    expected = intervals_of(readings, finished=finished)
    if len(written) > len(expected):  # killed between the last interval and session_ended
        expected = intervals_of(readings, finished=True)
    for index, (number, record) in enumerate(written):
        if index >= len(expected) or record != expected[index]:
            raise VerificationError("the interval differs from that of the readings", where=f"{name}:{number}")
    if finished and len(written) < len(expected):
        missing = expected[len(written)]
        raise VerificationError(f"the interval from {missing.start_ms} is missing", where=f"{name}:{len(entries)}")
    return expected


def price_book(entries: Sequence[Entry], *, name: str = "journal.jsonl") -> PriceBook:
    """Return the prices of a journal over time. Raises VerificationError if an offer or decision cannot be read."""
    book = PriceBook()
    offers: dict[bytes, DischargeOffer] = {}
    for number, entry in enumerate(entries, 1):
        match entry.data:
            case records.TariffSet(tariff=tariff):
                book.set_tariff(tariff, entry.utc_ms)
            case records.WearPriced(price=price):
                book.set_wear(price, entry.utc_ms)
            case records.TermsOffered(payload=payload):
                offer = offer_in(payload, f"{name}:{number}")
                offers[offer.offer_id] = offer
            case records.TermsDecided(accepted=False):
                book.set_offer(None, entry.utc_ms)
            case records.TermsDecided(payload=payload):
                book.set_offer(_decided_offer(payload, offers, f"{name}:{number}"), entry.utc_ms)
    return book


def offer_in(payload: bytes, where: str) -> DischargeOffer:
    """Return the offer in a signed payload, unverified. Raises VerificationError."""
    try:
        content = signed_content(payload)
    except Asn1Error as error:
        raise VerificationError(str(error), where=where) from None
    if not isinstance(content, DischargeOffer):
        raise VerificationError(f"{type(content).__name__} instead of an offer", where=where)
    return content


def _decided_offer(payload: bytes, offers: dict[bytes, DischargeOffer], where: str) -> DischargeOffer:
    try:
        content = signed_content(payload)
    except Asn1Error as error:
        raise VerificationError(str(error), where=where) from None
    offer = offers.get(getattr(content, "offer_id", b""))
    if offer is None:
        raise VerificationError("the decision refers to no offer in this journal", where=where)
    return offer


def _apply_corrections(lines: list[Line], entries: Sequence[Entry], timeline: Timeline, name: str) -> None:
    for number, entry in enumerate(entries, 1):
        try:
            match entry.data:
                case records.LineCorrected(line=line, price=price):
                    lines += correct(lines, line, price, entry.sequence)
                case records.SessionRepriced(tariff=tariff):
                    lines += reprice(lines, timeline, tariff, entry.sequence)
        except RefusedError as error:
            raise VerificationError(str(error), where=f"{name}:{number}") from error


def _battery_use(entries: Sequence[Entry], readings: list[Registers]) -> BatteryUse:
    vehicle = next((e.data for e in reversed(entries) if isinstance(e.data, records.VehicleDescribed)), None)
    capacity = vehicle.battery_capacity_wh if vehicle else None
    export = readings[-1].export_mwh - readings[0].export_mwh
    throughput = export + readings[-1].import_mwh - readings[0].import_mwh
    return BatteryUse(
        capacity_wh=capacity,
        throughput_mwh=throughput,
        full_cycles=throughput * 1000 // (2 * capacity) if capacity else None,  # millionths: mWh * 10^6 / (Wh * 10^3)
        v2g_cycles=export * 1000 // capacity if capacity else None,
    )


def _times(readings: list[Registers]) -> Times:
    spent = {"charging": 0, "discharging": 0, "idle": 0}
    for before, after in itertools.pairwise(readings):
        taken, fed_back = after.import_mwh - before.import_mwh, after.export_mwh - before.export_mwh
        kind = "idle" if taken == fed_back == 0 else "charging" if taken >= fed_back else "discharging"
        spent[kind] += after.utc_ms - before.utc_ms
    return Times(charging_ms=spent["charging"], discharging_ms=spent["discharging"], idle_ms=spent["idle"])
