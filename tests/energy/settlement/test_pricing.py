"""Every mWh gets the price of its moment, rounded once; corrections reverse."""

import itertools
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.asn1.discharge import DischargeOffer, PriceSlot
from v2g.energy.grid_signal import Tariff
from v2g.energy.limits import discharge_limits
from v2g.energy.settlement.intervals import Registers, Timeline, intervals_of
from v2g.energy.settlement.pricing import (
    UNPRICED,
    Line,
    PriceBook,
    amount_of,
    correct,
    price_interval,
    reprice,
    standing_lines,
    totals_of,
)
from v2g.errors import RefusedError
from v2g.units import QUARTER_MS

T0 = 2_000_000 * QUARTER_MS


def tariff(*prices: tuple[int, int], duration_ms: int = QUARTER_MS, start_ms: int = T0, version: int = 1) -> Tariff:
    slots = tuple(PriceSlot(start_ms + i * duration_ms, duration_ms, *price) for i, price in enumerate(prices))
    return Tariff(currency="EUR", slots=slots, version=version)


def offer(*prices: tuple[int, int], start_ms: int = T0, valid_ms: int = QUARTER_MS) -> DischargeOffer:
    return DischargeOffer(
        offer_id=b"O" * 16,
        session_id=b"S" * 8,
        evse_id="E",
        issued_at_ms=start_ms,
        valid_until_ms=start_ms + valid_ms,
        currency="EUR",
        prices=tariff(*prices, start_ms=start_ms).slots,
        limits=discharge_limits(ev_w=1, evse_w=1, site_w=1, operator_w=1),
        challenge=b"C" * 16,
    )


def priced(readings: list[Registers], book: PriceBook) -> list[Line]:
    timeline = Timeline(readings)
    return [line for each in intervals_of(readings, finished=True) for line in price_interval(each, timeline, book)]


@given(energy=st.integers(-(10**12), 10**12), price=st.integers(-(10**7), 10**7))
def test_an_amount_is_the_exact_product_rounded_half_to_even_once(energy: int, price: int) -> None:
    """Against decimal arithmetic."""
    exact = Decimal(energy) * Decimal(price) / Decimal(10**6)
    assert amount_of(energy, price) == int(exact.quantize(Decimal(1), ROUND_HALF_EVEN))
    assert amount_of(-energy, price) == -amount_of(energy, price)


def test_of_two_amounts_equally_near_the_even_one_counts() -> None:
    """Against exact fractions, whose rounding is half to even too."""
    for quantity, per in itertools.product(range(-20, 21), range(1, 9)):
        assert amount_of(quantity, 1, per) == round(Fraction(quantity, per))


@pytest.mark.requirement("R33")
def test_directions_have_lines_of_their_own_and_are_never_netted() -> None:
    """A quarter hour with a kWh each way is two lines, not none."""
    book = PriceBook()
    book.set_tariff(tariff((300_000, 100_000)), T0)
    lines = priced([Registers(T0, 0, 0), Registers(T0 + QUARTER_MS, 1_000_000, 1_000_000)], book)
    assert [(line.direction, line.energy_mwh, line.amount) for line in lines] == [
        ("import", 1_000_000, 300_000),
        ("export", 1_000_000, 100_000),
    ]
    (total,) = totals_of(lines)
    assert (total.import_cost, total.export_credit, total.balance) == (300_000, 100_000, 200_000)
    assert (total.import_mwh, total.export_mwh) == (1_000_000, 1_000_000)


@pytest.mark.requirement("R7")
def test_each_metered_minute_is_priced_with_the_rate_in_force() -> None:
    """Fifteen prices in one quarter hour, read each minute."""
    book = PriceBook()
    book.set_tariff(tariff(*((100_000 * m, 0) for m in range(1, 16)), duration_ms=60_000), T0)
    readings = [Registers(T0 + m * 60_000, m * 100_000, 0) for m in range(16)]
    lines = priced(readings, book)
    assert [(line.price, line.energy_mwh) for line in lines] == [(100_000 * m, 100_000) for m in range(1, 16)]
    assert totals_of(lines)[0].import_cost == sum(10_000 * m for m in range(1, 16))


def test_neighbours_of_one_price_are_one_line() -> None:
    """One rounding for what costs the same."""
    book = PriceBook()
    book.set_tariff(tariff((5, 5), (5, 5), (6, 5), duration_ms=QUARTER_MS // 3), T0)
    lines = priced([Registers(T0, 0, 0), Registers(T0 + QUARTER_MS, 3_000, 0)], book)
    assert [(line.price, line.energy_mwh) for line in lines] == [(5, 2_000), (6, 1_000)]


def test_an_accepted_offer_prices_from_its_acceptance_until_it_ends_or_is_declined() -> None:
    """Before and after it, the tariff does."""
    book = PriceBook()
    book.set_tariff(tariff(*[(100, 10)] * 8), T0)
    book.set_offer(offer((200, 20), start_ms=T0 + 1_000, valid_ms=60_000), T0 + 2_000)
    assert book.at(T0 - 1) == UNPRICED
    assert book.at(T0 + 1_999).import_price == 100
    assert book.at(T0 + 2_000).export_compensation == 20
    assert book.at(T0 + 2_000).basis == f"offer:{(b'O' * 16).hex()}"
    assert book.at(T0 + 60_999).import_price == 200
    assert book.at(T0 + 61_000).basis == "tariff:1"
    book.set_offer(None, T0 + 30_000)
    assert book.at(T0 + 30_000).import_price == 100


def test_a_new_tariff_does_not_touch_an_accepted_offer() -> None:
    """The offer binds; the tariff waits behind it."""
    book = PriceBook()
    book.set_offer(offer((200, 20)), T0)
    book.set_tariff(tariff((900, 90), (901, 91), version=2), T0 + 10)
    assert book.at(T0 + 10).import_price == 200
    assert book.at(T0 + QUARTER_MS).basis == "tariff:2"


def test_energy_that_nobody_priced_is_shown_and_costs_nothing() -> None:
    """It is not lost, and nobody invents a price for it."""
    (line,) = priced([Registers(T0, 0, 0), Registers(T0 + 60_000, 500, 0)], PriceBook())
    assert (line.price, line.amount, line.currency, line.energy_mwh) == (None, 0, "XXX", 500)  # ISO 4217: no currency
    assert line.basis == "none"


def test_a_price_change_between_readings_splits_the_energy_between_them() -> None:
    """By the registers at that moment, to the mWh."""
    book = PriceBook()
    book.set_tariff(tariff((100, 0), (200, 0), duration_ms=300_000), T0)
    lines = priced([Registers(T0, 0, 0), Registers(T0 + 600_000, 1_001, 0)], book)
    assert [line.energy_mwh for line in lines] == [500, 501]


@st.composite
def slot_series(draw: st.DrawFn) -> tuple[PriceSlot, ...]:
    """Slots of some ms, with and without gaps between them."""
    now, slots = T0 + draw(st.integers(-20, 20)), []
    for gap, length, price in draw(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9), st.integers(0, 2)))):
        slots.append(PriceSlot(now + gap, length, price, 1))
        now += gap + length
    return tuple(slots)


_prices_set = st.tuples(
    st.integers(T0 - 10, T0 + 45),
    st.one_of(
        slot_series().map(lambda slots: Tariff(currency="SEK", slots=slots)),
        st.tuples(slot_series(), st.integers(1, 40)),
        st.none(),
    ),
)


@given(changes=st.lists(_prices_set, max_size=5).map(lambda found: sorted(found, key=lambda each: each[0])))
def test_each_ms_has_the_price_of_the_newest_terms_that_hold(
    changes: list[tuple[int, Tariff | tuple[tuple[PriceSlot, ...], int] | None]],
) -> None:
    """Against looking at every ms, with every slot tried one by one: a valid accepted offer first, then the tariff."""
    book, since = PriceBook(), dict[int, tuple[Tariff | None, DischargeOffer | None]]()
    held: Tariff | None = None
    accepted: DischargeOffer | None = None
    for now, change in changes:
        if isinstance(change, Tariff):
            held = change
            book.set_tariff(change, now)
        else:
            accepted = (
                msgspec.structs.replace(offer(start_ms=now, valid_ms=change[1]), prices=change[0]) if change else None
            )
            book.set_offer(accepted, now)
        since[now] = (held, accepted)

    def price(now: int) -> tuple[int | None, str]:
        tariff, terms = next((since[at] for at in sorted(since, reverse=True) if at <= now), (None, None))
        for slot in terms.prices if terms is not None and now < terms.valid_until_ms else ():
            if slot.start_ms <= now < slot.end_ms:
                return slot.import_price, "EUR"
        for slot in tariff.slots if tariff is not None else ():
            if slot.start_ms <= now < slot.end_ms:
                return slot.import_price, "SEK"
        return None, "XXX"

    assert all(T0 < cut < T0 + 40 for cut in book.cuts(T0, T0 + 40))
    lines = priced([Registers(T0, 0, 0), Registers(T0 + 40, 4_000, 0)], book)
    expected = [(*terms, len(list(ms))) for terms, ms in itertools.groupby(map(price, range(T0, T0 + 40)))]
    assert [(line.price, line.currency, line.energy_mwh // 100) for line in lines] == expected
    assert [line.start_ms for line in lines[1:]] == [line.end_ms for line in lines[:-1]]


@pytest.mark.requirement("R31", "R33")
@given(
    prices=st.lists(st.tuples(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6)), min_size=1, max_size=30),
    steps=st.lists(
        st.tuples(st.integers(1, 2 * QUARTER_MS), st.integers(0, 10**8), st.integers(0, 10**8)), min_size=1, max_size=20
    ),
    slot_ms=st.sampled_from((60_000, 420_000, QUARTER_MS)),
)
def test_lines_add_up_to_the_registers_whatever_the_prices(
    prices: list[tuple[int, int]], steps: list[tuple[int, int, int]], slot_ms: int
) -> None:
    """0 arithmetic error in energy, and amounts that anyone can recompute."""
    book = PriceBook()
    book.set_tariff(tariff(*prices, duration_ms=slot_ms), T0)
    readings = [Registers(T0, 0, 0)]
    for span, taken, fed_back in steps:
        last = readings[-1]
        readings.append(Registers(last.utc_ms + span, last.import_mwh + taken, last.export_mwh + fed_back))
    lines = priced(readings, book)
    for direction, register in (("import", readings[-1].import_mwh), ("export", readings[-1].export_mwh)):
        assert sum(line.energy_mwh for line in lines if line.direction == direction) == register
    for line in lines:
        assert line.amount == (0 if line.price is None else amount_of(line.energy_mwh, line.price))
    assert len({line.id for line in lines}) == len(lines)


@pytest.mark.requirement("R44")
@pytest.mark.parametrize(("rate_per_mwh", "cents"), [(30, 3), (80, 8), (20, 2), (50, 5)])
def test_revenue_at_the_bounds_of_market_rates_is_exact_to_the_cent(rate_per_mwh: int, cents: int) -> None:
    """30 to 80 and 20 to 50 per MWh, over one kWh."""
    price = rate_per_mwh * 1_000  # micro-units per kWh
    assert amount_of(1_000_000, price) == cents * 10_000


def test_a_correction_reverses_and_enters_anew() -> None:
    """Nothing is edited; a line can be corrected again, but only the one that stands."""
    book = PriceBook()
    book.set_tariff(tariff((300_000, 0)), T0)
    lines = priced([Registers(T0, 0, 0), Registers(T0 + QUARTER_MS, 2_000_000, 0)], book)
    untouched = msgspec.structs.replace(lines[0], id="another")
    assert list(standing_lines([*lines, untouched])) == [lines[0].id, "another"]
    wrong = lines[0].id
    pair = correct(lines, wrong, 250_000, 9)
    lines += pair
    assert [(line.kind, line.energy_mwh, line.amount) for line in lines] == [
        ("energy", 2_000_000, 600_000),
        ("reversal", -2_000_000, -600_000),
        ("replacement", 2_000_000, 500_000),
    ]
    assert totals_of(lines)[0].import_cost == 500_000
    with pytest.raises(RefusedError) as gone:
        correct(lines, wrong, 1, 10)
    assert gone.value.reason == "no_line"
    assert list(standing_lines([*lines, untouched])) == [pair[1].id, "another"]
    again = correct(lines, pair[1].id, 260_000, 11)
    assert totals_of([*lines, *again])[0].import_cost == 520_000


def test_what_has_no_currency_is_repriced_not_corrected() -> None:
    readings = [Registers(T0, 0, 0), Registers(T0 + QUARTER_MS, 2_000_000, 0)]
    lines = priced(readings, PriceBook())
    with pytest.raises(RefusedError) as refused:
        correct(lines, lines[0].id, 1, 10)
    assert (refused.value.reason, refused.value.hint) == ("no_currency", "reprice the session")
    lines += reprice(lines, Timeline(readings), tariff((250_000, 0)), 3)
    assert {total.currency: (total.import_mwh, total.balance) for total in totals_of(lines)} == {
        "EUR": (2_000_000, 500_000),
        "XXX": (0, 0),
    }


@pytest.mark.requirement("R33")
def test_a_session_is_priced_anew_where_the_tariff_differs_and_cut_where_it_changes() -> None:
    book = PriceBook()
    book.set_tariff(tariff((300_000, 200_000), (300_000, 200_000), (100_000, 0)), T0)
    book.set_wear(20_000, T0)
    half = QUARTER_MS // 2
    readings = [
        Registers(T0, 0, 0),
        Registers(T0 + QUARTER_MS, 3_000_000, 0),
        Registers(T0 + 2 * QUARTER_MS, 3_000_000, 1_000_000),
        Registers(T0 + 3 * QUARTER_MS, 4_000_000, 1_000_000),
    ]
    lines = priced(readings, book)
    other = Tariff(
        currency="EUR",
        slots=(
            PriceSlot(T0, half // 2, 200_000, 0),
            PriceSlot(T0 + half // 2, half // 2, 200_000, 0),
            PriceSlot(T0 + half, half + QUARTER_MS, 400_000, 150_000),
            PriceSlot(T0 + 2 * QUARTER_MS, QUARTER_MS, 100_000, 0),
        ),
        version=9,
    )
    found = reprice(lines, Timeline(readings), other, 7)
    first, export = f"{T0}/import", f"{T0 + QUARTER_MS}/export"
    assert [
        (each.id, each.kind, each.start_ms - T0, each.end_ms - T0, each.energy_mwh, each.price, each.amount, each.basis)
        for each in found
    ] == [
        (f"{first}/reversal-7", "reversal", 0, QUARTER_MS, -3_000_000, 300_000, -900_000, "tariff:1"),
        (f"{first}/replacement-7", "replacement", 0, half, 1_500_000, 200_000, 300_000, "tariff:9"),
        (f"{first}/replacement-7.1", "replacement", half, QUARTER_MS, 1_500_000, 400_000, 600_000, "tariff:9"),
        (f"{export}/reversal-7", "reversal", QUARTER_MS, 2 * QUARTER_MS, -1_000_000, 200_000, -200_000, "tariff:1"),
        (f"{export}/replacement-7", "replacement", QUARTER_MS, 2 * QUARTER_MS, 1_000_000, 150_000, 150_000, "tariff:9"),
    ]
    assert {each.corrects for each in found[:3]} == {first}
    (total,) = totals_of([*lines, *found])
    assert (total.import_cost, total.export_credit, total.wear_credit) == (1_000_000, 150_000, 20_000)
    assert reprice([*lines, *found], Timeline(readings), other, 8) == []


def test_a_line_is_cut_wherever_the_tariffs_price_changes_and_nowhere_else() -> None:
    book = PriceBook()
    book.set_tariff(tariff((300_000, 200_000), (300_000, 200_000)), T0)
    book.set_wear(20_000, T0)
    readings = [
        Registers(T0, 10_000, 500),
        Registers(T0 + QUARTER_MS, 10_600, 500),
        Registers(T0 + 2 * QUARTER_MS, 10_600, 1_100),
    ]
    lines = priced(readings, book)
    tenth = QUARTER_MS // 6
    prices = [(1, 4), (2, 5), (2, 5), (1, 4), (2, 5), (2, 5)] * 2
    found = reprice(lines, Timeline(readings), tariff(*prices, duration_ms=tenth, version=9), 3)
    pieces = [((each.start_ms - T0) // tenth, each.energy_mwh, each.price) for each in found if each.kind != "reversal"]
    assert pieces == [
        (0, 100, 1), (1, 200, 2), (3, 100, 1), (4, 200, 2), (6, 100, 4), (7, 200, 5), (9, 100, 4), (10, 200, 5),
    ]  # fmt: skip
    worn = lines[2]
    assert (worn.kind, worn.direction, worn.basis, worn.id) == ("wear", "export", "wear", f"{T0 + QUARTER_MS}/wear")
    (total,) = totals_of(lines)
    assert (total.import_cost, total.export_credit, total.wear_credit, total.balance) == (180, 120, 12, 48)


def test_a_session_is_not_priced_anew_by_a_tariff_that_does_not_fit_it() -> None:
    book = PriceBook()
    book.set_tariff(tariff((300_000, 0)), T0)
    readings = [Registers(T0, 0, 0), Registers(T0 + QUARTER_MS, 2_000_000, 0)]
    lines = priced(readings, book)
    short = tariff((200_000, 0), duration_ms=QUARTER_MS - 1)
    for wrong, reason in ((msgspec.structs.replace(short, currency="SEK"), "other_currency"), (short, "no_price")):
        with pytest.raises(RefusedError) as refused:
            reprice(lines, Timeline(readings), wrong, 3)
        assert refused.value.reason == reason


@given(
    energy=st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**7)), min_size=1, max_size=6),
    prices=st.lists(st.tuples(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6)), min_size=8, max_size=8),
)
def test_however_it_is_priced_anew_energy_stays_and_money_is_that_of_the_tariff_in_force(
    energy: list[tuple[int, int]], prices: list[tuple[int, int]]
) -> None:
    book = PriceBook()
    book.set_tariff(tariff(*[(1, 1)] * 8), T0)
    registers = [(0, 0), *itertools.accumulate(energy, lambda a, b: (a[0] + b[0], a[1] + b[1]))]
    readings = [Registers(T0 + n * QUARTER_MS, *each) for n, each in enumerate(registers)]
    lines = priced(readings, book)
    fresh = PriceBook()
    fresh.set_tariff(tariff(*prices), T0)
    wanted = totals_of(priced(readings, fresh))
    assert totals_of([*lines, *reprice(lines, Timeline(readings), tariff(*prices), 1)]) == wanted


def test_currencies_are_totalled_apart() -> None:
    """There is no exchange rate in a journal."""
    book = PriceBook()
    book.set_tariff(tariff((100_000, 0)), T0)
    book.set_tariff(
        Tariff(currency="SEK", slots=(PriceSlot(T0 + QUARTER_MS, QUARTER_MS, 900_000, 0),)), T0 + QUARTER_MS
    )
    lines = priced([Registers(T0, 0, 0), Registers(T0 + 2 * QUARTER_MS, 2_000_000, 0)], book)
    assert [(t.currency, t.import_cost) for t in totals_of(lines)] == [("EUR", 100_000), ("SEK", 900_000)]
