"""VAT: the rate of tariff, place and day, rounded once for each rate, beside a net that stays exact."""

from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.csms.settlement.journals import T0, started
from tests.together import together
from v2g.asn1.discharge import PriceSlot
from v2g.energy.grid_signal import Tariff
from v2g.energy.settlement.bookkeeping import is_balanced, posting_of
from v2g.energy.settlement.canonical import canonical
from v2g.energy.settlement.journal import Entry, Journal, verify_lines
from v2g.energy.settlement.pricing import standing_lines
from v2g.energy.settlement.receipt import receipt
from v2g.energy.settlement.records import LineCorrected, MeterReading, SessionRepriced, TariffSet, WearPriced
from v2g.energy.settlement.session_journal import SessionJournal
from v2g.energy.settlement.settle import Settlement, settle
from v2g.energy.settlement.taxes import RateFile, Tax, Taxation, VatRate, gross_of, percents, taxes_of
from v2g.errors import CodecError

HOUR_MS = 3_600_000


def session(
    begin_ms: int = T0,
    *,
    imports: tuple[int, ...] = (2_000_000,),
    export: int = 0,
    price: int = 300_000,
    currency: str = "EUR",
    source: str = "dso",
    wear: int | None = None,
) -> tuple[tuple[Entry, ...], Settlement]:
    """Return a session that takes so much in each hour, and then feeds back."""
    ledger, lines = SessionJournal(), list[bytes]()
    slots = tuple(PriceSlot(begin_ms + n * HOUR_MS, HOUR_MS, price, 200_000) for n in range(9))
    lines += ledger.record(started(), begin_ms)
    lines += ledger.record(TariffSet(tariff=Tariff(currency=currency, slots=slots, source=source)), begin_ms)
    if wear is not None:
        lines += ledger.record(WearPriced(price=wear), begin_ms)
    now_ms, taken, back = begin_ms, 1_000, 0
    for each in imports:
        taken, now_ms = taken + each, now_ms + HOUR_MS
        lines += ledger.record(MeterReading(import_mwh=taken, export_mwh=0), now_ms)
    if export:
        back, now_ms = export, now_ms + HOUR_MS
    lines += ledger.end("vehicle", now_ms, import_mwh=taken, export_mwh=back)
    entries = tuple(verify_lines(b"".join(lines)))
    return entries, settle(entries)


def taxes(found: tuple[tuple[Entry, ...], Settlement], *rates: VatRate, zone: str = "Europe/Berlin") -> list[Tax]:
    return list(taxes_of(*found, Taxation(rates=rates, zone=zone)))


def tax(percent: str, net: int, vat: int, currency: str = "EUR") -> Tax:
    return Tax(currency=currency, percent=Decimal(percent), net=net, vat=vat)


def test_without_rates_there_is_no_vat() -> None:
    assert taxes(session()) == []


def test_vat_is_on_the_net_price_and_not_on_what_is_fed_back() -> None:
    """2 kWh at 0.30; 1 kWh fed back at 0.20, and 0.05 for wear."""
    found = session(export=1_000_000, wear=50_000)
    assert taxes(found, VatRate(percent="19")) == [tax("0", -250_000, 0), tax("19", 600_000, 110_000)]
    assert taxes(found, VatRate(percent="19", feed_in=True)) == [tax("19", 350_000, 70_000)]


@together(
    ("rate", "percent"),
    [
        (VatRate(percent="7", stations=("CS-V2G-0001",)), "7"),
        (VatRate(percent="7", stations=("CS-OTHER",)), "19"),
        (VatRate(percent="7", tariffs=("dso",)), "7"),
        (VatRate(percent="7", tariffs=("other", "dso")), "7"),
        (VatRate(percent="7", tariffs=("other",)), "19"),
        (VatRate(percent="7", from_day=date(2030, 3, 17)), "7"),
        (VatRate(percent="7", from_day=date(2030, 3, 18)), "19"),
    ],
)
def test_a_rate_applies_by_place_tariff_and_day(rate: VatRate, percent: str) -> None:
    """The session is on 17 March 2030, 18:40 in Berlin."""
    (found,) = taxes(session(), rate, VatRate(percent="19"))
    assert found.percent == Decimal(percent)


def test_of_rates_that_apply_the_latest_counts_and_then_the_first() -> None:
    days = [date(2030, 1, 1), date(2030, 2, 1), date(2030, 2, 1), date(2031, 1, 1)]
    rates = [VatRate(percent=str(n), from_day=day) for n, day in enumerate(days, 1)]
    assert [each.percent for each in taxes(session(), *rates)] == [Decimal(2)]
    assert taxes(session(), rates[3]) == [tax("0", 600_000, 0)]


def test_at_midnight_of_the_place_the_new_rate_begins() -> None:
    """Berlin's midnight is 23:00 UTC: of two hours around it each has its rate."""
    midnight_ms = 1_900_018_800_000
    found = session(midnight_ms - HOUR_MS, imports=(1_000_000, 2_000_000))
    rates = VatRate(percent="16"), VatRate(percent="19", from_day=date(2030, 3, 18))
    assert taxes(found, *rates) == [tax("16", 300_000, 50_000), tax("19", 600_000, 110_000)]
    assert taxes(found, *rates, zone="UTC") == [tax("16", 900_000, 140_000)]


def test_each_tariffs_energy_has_the_rate_of_its_source() -> None:
    """1 kWh in the first hour by one source, 2 kWh in the second by another, 3 kWh in the third without a name."""
    ledger, lines = SessionJournal(), list[bytes]()
    slots = tuple(PriceSlot(T0 + n * HOUR_MS, HOUR_MS, 300_000, 200_000) for n in range(4))
    lines += ledger.record(started(), T0)
    for hour, source in enumerate(("dso", "retail", "")):
        lines += ledger.record(
            TariffSet(tariff=Tariff(currency="EUR", slots=slots, source=source)), T0 + hour * HOUR_MS
        )
        lines += ledger.record(
            MeterReading(import_mwh=1_000 + (1, 3, 6)[hour] * 1_000_000, export_mwh=0), T0 + (hour + 1) * HOUR_MS
        )
    lines += ledger.end("vehicle", T0 + 3 * HOUR_MS, import_mwh=6_001_000, export_mwh=0)
    entries = tuple(verify_lines(b"".join(lines)))
    rates = VatRate(percent="7", tariffs=("dso",)), VatRate(percent="19", tariffs=("retail",))
    assert taxes((entries, settle(entries)), *rates) == [
        tax("0", 900_000, 0), tax("7", 300_000, 20_000), tax("19", 600_000, 110_000),
    ]  # fmt: skip


def test_what_is_repriced_has_the_rate_of_the_new_tariffs_source() -> None:
    """The first hour had no prices until the operator repriced the session; the second one's stay, and have its rate,
    too. Where it is repriced again, and one line corrected, each has the rate of the last repricing."""
    ledger, lines = SessionJournal(), list[bytes]()
    tariff = Tariff(
        currency="EUR", slots=tuple(PriceSlot(T0 + n * HOUR_MS, HOUR_MS, 300_000, 200_000) for n in range(4))
    )
    lines += ledger.record(started(), T0)
    lines += ledger.record(MeterReading(import_mwh=1_001_000, export_mwh=0), T0 + HOUR_MS)
    lines += ledger.record(TariffSet(tariff=replace(tariff, source="dso")), T0 + HOUR_MS)
    lines += ledger.end("vehicle", T0 + 2 * HOUR_MS, import_mwh=3_001_000, export_mwh=0)
    change = SessionRepriced(tariff=tariff, reason="no prices", by="alice")
    lines.append(Journal.resume(b"".join(lines)).append(change, T0 + 3 * HOUR_MS))
    entries = tuple(verify_lines(b"".join(lines)))
    rates = VatRate(percent="7", tariffs=("dso",)), VatRate(percent="19", tariffs=("",))
    assert taxes((entries, settle(entries)), *rates) == [tax("19", 900_000, 170_000)]
    rates = *rates, VatRate(percent="10", tariffs=("retail",))
    dearer = replace(tariff, source="retail", slots=(replace(tariff.slots[0], import_price=600_000), *tariff.slots[1:]))
    resumed = Journal.resume(b"".join(lines))
    lines.append(resumed.append(SessionRepriced(tariff=dearer, reason="other retailer", by="alice"), T0 + 4 * HOUR_MS))
    entries = tuple(verify_lines(b"".join(lines)))
    settled = settle(entries)
    assert taxes((entries, settled), *rates) == [tax("10", 1_200_000, 120_000)]
    for each in standing_lines(settled.lines).values():
        if each.price == 600_000:
            free = LineCorrected(line=each.id, price=0, reason="free", by="alice")
            lines.append(resumed.append(free, T0 + 5 * HOUR_MS))
    entries = tuple(verify_lines(b"".join(lines)))
    assert taxes((entries, settle(entries)), *rates) == [tax("10", 600_000, 60_000)]


def test_wear_is_not_repriced_and_keeps_the_rate_of_its_time() -> None:
    """1 kWh fed back, for 0.20 and 0.10 for wear, of which a repricing by another source changes nothing."""
    entries, _ = session(imports=(), export=1_000_000, wear=100_000, source="dso")
    tariff = next(each.data.tariff for each in entries if isinstance(each.data, TariffSet))
    resumed = Journal.resume(lines := b"".join(canonical(each) + b"\n" for each in entries))
    change = SessionRepriced(tariff=replace(tariff, source="retail"), reason="other retailer", by="alice")
    entries = tuple(verify_lines(lines + resumed.append(change, T0 + 9 * HOUR_MS)))
    rates = (
        VatRate(percent="7", tariffs=("dso",), feed_in=True), VatRate(percent="19", tariffs=("retail",), feed_in=True)
    )  # fmt: skip
    assert taxes((entries, settle(entries)), *rates) == [tax("7", -100_000, -10_000), tax("19", -200_000, -40_000)]


@pytest.mark.parametrize(
    ("currency", "price", "vat"),
    [("EUR", 13_156, 0), ("EUR", 13_160, 10_000), ("JPY", 15_000_000, 6_000_000), ("KWD", 15_000, 6_000)],
)
def test_it_is_rounded_half_up_to_the_currencys_smallest_unit(currency: str, price: int, vat: int) -> None:
    (found,) = taxes(session(price=price, currency=currency), VatRate(percent="19"))
    assert found == tax("19", 2 * price, vat, currency)


@given(
    st.lists(st.integers(0, 50_000_000), min_size=1, max_size=4),
    st.integers(-500_000, 2_000_000),
    st.sampled_from(["0", "7", "8.1", "19", "25.5"]),
)
def test_the_books_owe_net_and_vat_and_sum_to_zero(imports: list[int], price: int, percent: str) -> None:
    entries, settled = session(imports=tuple(imports), price=price)
    found = taxes_of(entries, settled, Taxation(rates=(VatRate(percent=percent),)))
    posting = posting_of(settled, found)
    assert is_balanced(posting.entries)
    owed = {each.account: each.amount for each in posting.entries if each.unit == "EUR"}
    balance = sum(each.balance for each in settled.totals)
    exact = Fraction(balance) * Fraction(percent) / 100
    cents = (Decimal(exact.numerator) / exact.denominator / 10_000).quantize(Decimal(1), ROUND_HALF_UP)
    assert -owed.get("vat", 0) == int(cents) * 10_000
    assert owed.get("driver", 0) == gross_of(found, "EUR") == balance - owed.get("vat", 0)


@pytest.mark.requirement("R44")
def test_a_receipt_shows_net_vat_by_rate_and_the_total() -> None:
    entries, settled = session(export=1_000_000)
    rates = Taxation(rates=(VatRate(percent="8.1"),))
    page = receipt(entries, settled, taxes=taxes_of(entries, settled, rates))
    assert "To pay <b>0.45 EUR</b>" in page
    for words in ("Net", "8.1 % of 0.6000 EUR", "0.0500 EUR", "Total with VAT", "0.4500 EUR"):
        assert words in page
    german = receipt(entries, settled, taxes=taxes_of(entries, settled, rates), language="de")
    assert "8,1 % auf 0,6000 EUR" in german
    plain = receipt(entries, settled)
    assert "To pay <b>0.40 EUR</b>" in plain
    assert "VAT" not in plain


def test_what_has_no_tariff_has_the_rate_of_none_and_a_zone_has_to_be_known() -> None:
    entries, settled = session(source="dso")
    line = settled.lines[0]
    rates = VatRate(percent="7", tariffs=("dso",)), VatRate(percent="19", tariffs=("",))
    without = [each for each in entries if not isinstance(each.data, TariffSet)]
    assert percents(entries, settled, Taxation(rates=rates))(line) == 7
    assert percents(without, settled, Taxation(rates=rates))(line) == 19
    with pytest.raises(CodecError, match="vat_zone"):
        percents(entries, settled, Taxation(rates=rates, zone="Europe/Nowhere"))
    assert RateFile(vat=rates).vat_zone == "UTC"


def test_a_station_is_told_only_of_its_own_rates() -> None:
    here, there, all_ = (VatRate(percent=f"{n}", stations=of) for n, of in enumerate((("CS-1",), ("CS-2",), ())))
    found = Taxation(rates=(here, there, all_), zone="Europe/Berlin").at("CS-1")
    assert found == Taxation(rates=(replace(here, stations=()), all_), zone="Europe/Berlin")
