"""Prices metered energy: one line for each interval, direction and price, rounded once.

The prices in force are those of the newest offer that the vehicle accepted, while that offer is valid; otherwise those
of the tariff that was set last. An offer takes effect with the entry that records its acceptance. Energy at a change of
price is split by the registers at that moment, as at a quarter hour.
"""

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from v2g.asn1.discharge import DischargeOffer, PriceSlot
from v2g.energy.grid_signal import Tariff
from v2g.energy.settlement.intervals import Registers, Timeline
from v2g.energy.settlement.records import IntervalClosed
from v2g.errors import RefusedError
from v2g.units import MWH_PER_KWH

Direction = Literal["import", "export"]

NO_CURRENCY = "XXX"
"""ISO 4217's code for no currency: energy without a price."""

WEAR: Final = "wear"
"""Basis of the lines for the battery's wear, their corrections included."""


class Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One priced amount. `price` is micro-units per kWh (None: no price), `amount` micro-units.

    An import amount is owed by the vehicle, an export amount owed to it; with a negative price it is the other way
    round. `basis` names the terms (`offer:<id>`, `tariff:<version>` or `wear`). A `reversal` has the negative amount of
    the line that it reverses, named in `corrects`. A line for `wear` repeats the energy of the export line beside it.
    """

    id: str
    kind: Literal["energy", "wear", "reversal", "replacement"]
    direction: Direction
    start_ms: int
    end_ms: int
    energy_mwh: int
    price: int | None
    currency: str
    amount: int
    basis: str
    corrects: str | None = None


class Price(msgspec.Struct, frozen=True):
    """Both prices at a time, and their source; `wear` is what a kWh fed back earns beside them."""

    import_price: int | None
    export_compensation: int | None
    currency: str
    basis: str
    wear: int | None = None


UNPRICED = Price(None, None, NO_CURRENCY, "none")


class PriceBook:
    """Prices as a function of time, from tariffs and accepted offers as they came into force, in order of time."""

    def __init__(self) -> None:
        self._tariff: Tariff | None = None
        self._offer: DischargeOffer | None = None
        self._wear: int | None = None
        self._since: list[int] = []
        self._regimes: list[tuple[Tariff | None, DischargeOffer | None, int | None]] = []

    def set_tariff(self, tariff: Tariff, utc_ms: int) -> None:
        """Apply a tariff from now on where no accepted offer applies."""
        self._tariff = tariff
        self._turn(utc_ms)

    def set_offer(self, offer: DischargeOffer | None, utc_ms: int) -> None:
        """Apply an accepted offer from now on; None if the vehicle declined the newest one."""
        self._offer = offer
        self._turn(utc_ms)

    def set_wear(self, price: int, utc_ms: int) -> None:
        """Add a price for wear (micro-units per kWh fed back) to that of export from now on."""
        self._wear = price
        self._turn(utc_ms)

    def cuts(self, start_ms: int, end_ms: int) -> set[int]:
        """Return the moments strictly between two times at which a price may change."""
        span = slice(max(0, bisect_right(self._since, start_ms) - 1), bisect_left(self._since, end_ms))
        found = set(self._since[span])
        for tariff, offer, _ in self._regimes[span]:
            if tariff is not None:
                found |= _edges(tariff.slots, start_ms, end_ms)
            if offer is not None:
                found |= {offer.valid_until_ms} | _edges(offer.prices, start_ms, end_ms)
        return {cut for cut in found if start_ms < cut < end_ms}

    def at(self, utc_ms: int) -> Price:
        """Return the price in force at a moment."""
        index = bisect_right(self._since, utc_ms) - 1
        if index < 0:
            return UNPRICED
        tariff, offer, wear = self._regimes[index]
        if offer is not None and utc_ms < offer.valid_until_ms:
            slot = _slot_at(offer.prices, utc_ms)
            if slot is not None:
                return _price(slot, offer.currency, f"offer:{offer.offer_id.hex()}", wear)
        if tariff is not None:
            slot = _slot_at(tariff.slots, utc_ms)
            if slot is not None:
                return _price(slot, tariff.currency, f"tariff:{tariff.version}", wear)
        return UNPRICED

    def _turn(self, utc_ms: int) -> None:
        self._since.append(utc_ms)
        self._regimes.append((self._tariff, self._offer, self._wear))


def _slot_at(slots: Sequence[PriceSlot], utc_ms: int) -> PriceSlot | None:
    index = bisect_right(slots, utc_ms, key=lambda slot: slot.start_ms) - 1
    return slots[index] if index >= 0 and utc_ms < slots[index].end_ms else None


def _edges(slots: Sequence[PriceSlot], start_ms: int, end_ms: int) -> set[int]:
    """Return where the slots between two times start and end."""
    first = bisect_left(slots, start_ms, key=lambda slot: slot.end_ms)
    last = bisect_left(slots, end_ms, key=lambda slot: slot.start_ms)
    return {edge for slot in slots[first:last] for edge in (slot.start_ms, slot.end_ms)}


def _price(slot: PriceSlot, currency: str, basis: str, wear: int | None) -> Price:
    return Price(slot.import_price, slot.export_compensation, currency, basis, wear)


def amount_of(quantity: int, price: int, per: int = MWH_PER_KWH) -> int:
    """Return a quantity (mWh) times micro-units per `per` (kWh) of it, rounded half to even: a line's only rounding."""
    whole, rest = divmod(quantity * price, per)
    twice = 2 * rest
    return whole + (twice > per or (twice == per and whole % 2 == 1))


class _Piece(msgspec.Struct, frozen=True):
    begin: Registers
    end: Registers
    price: Price


def price_interval(interval: IntervalClosed, timeline: Timeline, book: PriceBook) -> list[Line]:
    """Return the lines of one interval: none for a direction without energy."""
    begin = Registers(interval.start_ms, interval.import_begin_mwh, interval.export_begin_mwh)
    end = Registers(interval.end_ms, interval.import_end_mwh, interval.export_end_mwh)
    inner = [timeline.at(cut) for cut in sorted(book.cuts(interval.start_ms, interval.end_ms))]
    pieces: list[_Piece] = []
    for before, after in itertools.pairwise([begin, *inner, end]):
        price = book.at(before.utc_ms)
        if pieces and pieces[-1].price == price:
            pieces[-1] = _Piece(pieces[-1].begin, after, price)
        else:
            pieces.append(_Piece(before, after, price))
    return [
        line
        for piece in pieces
        for line in (_line("import", piece), _line("export", piece), _wear_line(piece))
        if line is not None
    ]


def _line(direction: Direction, piece: _Piece) -> Line | None:
    begin, end, price = piece.begin, piece.end, piece.price
    if direction == "import":
        energy, rate = end.import_mwh - begin.import_mwh, price.import_price
    else:
        energy, rate = end.export_mwh - begin.export_mwh, price.export_compensation
    if energy == 0:
        return None
    return Line(
        id=f"{begin.utc_ms}/{direction}",
        kind="energy",
        direction=direction,
        start_ms=begin.utc_ms,
        end_ms=end.utc_ms,
        energy_mwh=energy,
        price=rate,
        currency=price.currency,
        amount=0 if rate is None else amount_of(energy, rate),
        basis=price.basis,
    )


def _wear_line(piece: _Piece) -> Line | None:
    """Return the line for wear beside the export line, if it has a price."""
    exported, price = _line("export", piece), piece.price.wear
    if exported is None or price is None:
        return None
    return msgspec.structs.replace(
        exported,
        id=f"{exported.start_ms}/{WEAR}",
        kind="wear",
        price=price,
        amount=amount_of(exported.energy_mwh, price),
        basis=WEAR,
    )


def correct(lines: Sequence[Line], line_id: str, price: int, number: int) -> list[Line]:
    """Return the reversal of a line in force and its replacement at `price`. Raises RefusedError (`no_line`)."""
    old = standing_lines(lines).get(line_id)
    if old is None:
        raise RefusedError(f"no line {line_id} is in force", reason="no_line")
    if old.price is None:
        raise RefusedError(f"line {line_id} has no currency", reason="no_currency", hint="reprice the session")
    return _replaced(old, [msgspec.structs.replace(old, price=price)], number)


def reprice(lines: Sequence[Line], timeline: Timeline, tariff: Tariff, number: int) -> list[Line]:
    """Return reversals of the lines in force, and replacements at a tariff's prices, cut where these change.

    Lines that have the tariff's prices stay, and those for wear. Raises RefusedError (`no_price`, `other_currency`).
    """
    found: list[Line] = []
    for old in standing_lines(lines).values():
        if old.basis == WEAR:
            continue
        if old.currency not in (NO_CURRENCY, tariff.currency):
            raise RefusedError(
                f"line {old.id} is in {old.currency}, the tariff in {tariff.currency}", reason="other_currency"
            )
        pieces = _at_tariff(old, timeline, tariff)
        if [(each.price, each.currency) for each in pieces] != [(old.price, old.currency)]:
            found += _replaced(old, pieces, number)
    return found


def _at_tariff(line: Line, timeline: Timeline, tariff: Tariff) -> list[Line]:
    """Return a line cut into one for each price of a tariff, without amounts; their energy adds up to the line's."""

    def register(utc_ms: int) -> int:
        registers = timeline.at(utc_ms)
        return registers.import_mwh if line.direction == "import" else registers.export_mwh

    parts: list[tuple[int, int, int]] = []
    for start_ms, end_ms, slot in tariff.split(line.start_ms, line.end_ms):
        price = slot.import_price if line.direction == "import" else slot.export_compensation
        if parts and parts[-1][2] == price:
            start_ms = parts.pop()[0]
        parts.append((start_ms, end_ms, price))
    registers = [0, *(register(end_ms) - register(line.start_ms) for _, end_ms, _ in parts[:-1]), line.energy_mwh]
    return [
        msgspec.structs.replace(
            line,
            start_ms=start_ms,
            end_ms=end_ms,
            energy_mwh=after - before,
            price=price,
            currency=tariff.currency,
            basis=f"tariff:{tariff.version}",
        )
        for (start_ms, end_ms, price), (before, after) in zip(parts, itertools.pairwise(registers), strict=True)
        if after != before
    ]


def _replaced(old: Line, pieces: Sequence[Line], number: int) -> list[Line]:
    """Return the reversal of a line, and its pieces with ids and amounts."""
    reversal = msgspec.structs.replace(
        old,
        id=f"{old.id}/reversal-{number}",
        kind="reversal",
        energy_mwh=-old.energy_mwh,
        amount=-old.amount,
        corrects=old.id,
    )
    return [reversal] + [
        msgspec.structs.replace(
            piece,
            id=f"{old.id}/replacement-{number}" + (f".{place}" if place else ""),
            kind="replacement",
            amount=amount_of(piece.energy_mwh, piece.price or 0),
            corrects=old.id,
        )
        for place, piece in enumerate(pieces)
    ]


def standing_lines(lines: Sequence[Line]) -> dict[str, Line]:
    """Return the lines in force, which no reversal has cancelled, by id."""
    corrected = {line.corrects for line in lines}
    return {line.id: line for line in lines if line.kind != "reversal" and line.id not in corrected}


class Total(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sums of one currency: energy each way (mWh), cost and credits (micro-units), and the balance to pay.

    `wear_credit` is absent where wear has no price.
    """

    currency: str
    import_mwh: int
    export_mwh: int
    import_cost: int
    export_credit: int
    balance: int
    wear_credit: int | UnsetType = UNSET


def totals_of(lines: Sequence[Line]) -> tuple[Total, ...]:
    """Return one total for each currency. Money is netted; energy is not."""
    totals = []
    for currency in sorted({line.currency for line in lines}):
        mine = [line for line in lines if line.currency == currency]
        imports = [line for line in mine if line.direction == "import"]
        exports = [line for line in mine if line.direction == "export" and line.basis != WEAR]
        worn = [line.amount for line in mine if line.basis == WEAR]
        cost, credit = sum(line.amount for line in imports), sum(line.amount for line in exports)
        totals.append(
            Total(
                currency=currency,
                import_mwh=sum(line.energy_mwh for line in imports),
                export_mwh=sum(line.energy_mwh for line in exports),
                import_cost=cost,
                export_credit=credit,
                balance=cost - credit - sum(worn),
                wear_credit=sum(worn) if worn else UNSET,
            )
        )
    return tuple(totals)
