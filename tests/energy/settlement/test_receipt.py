"""The page that a driver gets: what it says, that it says nothing else, and that it is safe to open."""

from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.energy.settlement.conftest import Session
from v2g.asn1.discharge import PriceSlot
from v2g.energy.grid_signal import Tariff
from v2g.energy.grid_support import FUNCTIONS, Function
from v2g.energy.settlement.bundle import verify_bundle
from v2g.energy.settlement.canonical import canonical
from v2g.energy.settlement.journal import Entry, verify_lines
from v2g.energy.settlement.receipt import Language, function_names, receipt
from v2g.energy.settlement.records import (
    GridSupportGiven,
    LineCorrected,
    MeterReading,
    MeterStatus,
    SessionStarted,
    TariffSet,
    WearPriced,
)
from v2g.energy.settlement.session_journal import SessionJournal
from v2g.energy.settlement.settle import settle
from v2g.errors import VerificationError
from v2g.units import QUARTER_MS

T0 = 2_000_000 * QUARTER_MS
STATUSES: tuple[tuple[MeterStatus, ...], ...] = (("missing", "rollover"), ("missing", "reset", "time_jump"))


class Page(HTMLParser):
    """The elements, texts and stairs of a page; fails on what is not balanced."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.stairs: list[list[tuple[float, float]]] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag != "meta":  # which has no end
            self.open.append(tag)
        for name, value in attrs:
            assert name not in ("src", "href", "style")
            assert not name.startswith("on")
            if name == "points":
                pairs = [pair.split(",") for pair in (value or "").split()]
                self.stairs.append([(float(x), float(y)) for x, y in pairs])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag == "meta" or self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def journal(
    *,
    currency: str = "EUR",
    price: int = 300_000,
    name: str = "CS",
    reason: str = "vehicle",
    soc: int | None = None,
    wear: int | None = None,
    start_ms: int = T0,
    end: bool = True,
) -> list[Entry]:
    """Return half an hour at 8 kW, then a quarter at -4 kW for 200,000 micro-units."""
    ledger = SessionJournal()
    lines = ledger.record(
        SessionStarted(
            station_id=name,
            evse_id=name,
            session_id="00",
            meter_serial="M",
            meter_certificate="ab",
            charger_certificate="cd",
            import_mwh=1_000_000_000,
            export_mwh=0,
            discharge="standard",
        ),
        start_ms,
    )
    slot = PriceSlot(start_ms, QUARTER_MS * 8, price, 200_000)
    lines += ledger.record(
        TariffSet(tariff=Tariff(currency=currency, slots=(slot,), version=1, source="dso")), start_ms
    )
    if wear is not None:
        lines += ledger.record(WearPriced(price=wear), start_ms)
    full = 1_004_000_000
    lines += ledger.record(MeterReading(import_mwh=full, export_mwh=0, soc=soc), start_ms + 2 * QUARTER_MS)
    if end:
        lines += ledger.end(reason, start_ms + 3 * QUARTER_MS, import_mwh=full, export_mwh=1_000_000)
    return list(verify_lines(b"".join(lines)))


def shown(entries: list[Entry], language: Language = "en") -> Page:
    return Page(receipt(entries, settle(entries), language=language, zone=timezone(timedelta(hours=1))))


def test_the_receipt_of_a_verified_bundle_says_what_was_proven(finished: Session) -> None:
    files = finished.bundle()
    report = verify_bundle(files)
    entries = verify_lines(files["journal.jsonl"])
    text = "".join(Page(receipt(entries, report.settlement, report=report)).texts)
    proof = report.discharge
    assert f"Every kWh fed back was allowed by a command that the vehicle signed: {proof.commands} commands." in text
    assert f"The meter ({report.meter}) signed its readings at begin and end, for both directions." in text
    assert "3 messages without a valid signature or permission were rejected." in text
    assert "They lead to roots that came with the record." in text
    assert "copy" not in text
    assert "DEV2GC00000001" in text


@pytest.mark.parametrize("language", ["en", "de"])
def test_energy_money_and_time_are_those_of_the_settlement(language: Language) -> None:
    page = shown(journal(soc=55), language)
    comma = {ord(","): ".", ord("."): ","} if language == "de" else {}
    for text in (
        "1.00 EUR",
        "4.000",
        "1.2000 EUR",
        "\N{MINUS SIGN}0.2000 EUR",
        "45 min 00 s",
        "30 min 00 s",
        "0.30 EUR",
    ):
        assert text.translate(comma) in page.texts, text
    assert any("1,000.000".translate(comma) in each and "1,004.000".translate(comma) in each for each in page.texts)


def test_the_picture_has_power_prices_charge_and_money_to_scale() -> None:
    power, buy, sell, charge, money = shown(journal(soc=55)).stairs
    (top, bottom), steps = (power[0][1], power[-1][1]), 240
    assert (len(power), len(money)) == (2 * steps, steps + 1)
    zero = top + (bottom - top) * 8 / 12  # +8 kW to -4 kW
    assert len(charge) == 2 * 81, "from the first reading on: two of three quarters have none before it"
    assert {y for _, y in power} == {top, bottom}
    assert top < zero < bottom
    assert sell[0][1] - buy[0][1] == pytest.approx(110 / 3, abs=0.2)  # 0.2 of 0.3 per kWh
    heights = [y for _, y in money]
    assert min(heights) == heights[2 * steps // 3], "most is owed when discharging begins"
    assert (heights[0] - heights[-1]) / 110 == pytest.approx(1.0 / 1.2, abs=0.01)


@pytest.mark.requirement("R31")
@pytest.mark.parametrize("language", ["en", "de"])
def test_a_driver_reads_what_was_wrong_with_readings(language: Language) -> None:
    """Each status once, with its first interval and how many there are; nothing about good readings."""
    entries = journal()
    settlement = settle(entries)
    first, second = (replace(settlement.intervals[n], status=found) for n, found in enumerate(STATUSES))
    wrong = replace(settlement, intervals=(first, second, *settlement.intervals[2:]))
    plain, noted = (len(Page(receipt(entries, each, language=language)).texts) for each in (settlement, wrong))
    assert noted - plain >= 4
    texts = Page(receipt(entries, wrong, language=language, zone=timezone(timedelta(hours=1)))).texts
    clock = f"{datetime.fromtimestamp(first.start_ms / 1000, timezone(timedelta(hours=1))):%H:%M}"
    assert sum(clock in each and " 2 " in each for each in texts) == 1, "the one that both intervals have"


@pytest.mark.parametrize(
    ("currency", "price", "due", "line"),
    [
        ("JPY", 31_250_000, "125 JPY", "125.00 JPY"),
        ("KWD", 131_111, "0.324 KWD", "0.52444 KWD"),
        ("BHD", -131_111, "0.724 BHD", "\N{MINUS SIGN}0.52444 BHD"),
        ("EUR", 311_111, "1.04 EUR", "1.2444 EUR"),
    ],
)
def test_money_has_the_digits_of_its_currency(currency: str, price: int, due: str, line: str) -> None:
    texts = shown(journal(currency=currency, price=price)).texts
    assert due in texts
    assert line in texts


def test_many_prices_are_one_row_with_the_lowest_and_the_highest() -> None:
    few, many = (Page(receipt(entries := priced(count), settle(entries))) for count in (12, 13))
    assert few.tags.count("tr") == 2 + 12  # a head and a sum
    assert many.tags.count("tr") == 2 + 1
    assert "0.10\N{EN DASH}0.22 EUR" in many.texts
    assert {"2.0800 EUR", "13.000"} <= set(many.texts)


def priced(quarters: int) -> list[Entry]:
    """Return a kWh in each quarter of an hour, the first for 0.10, each next one for 0.01 more."""
    ledger, first = SessionJournal(), journal()[0]
    assert isinstance(first.data, SessionStarted)
    lines = ledger.record(first.data, T0)
    slots = tuple(PriceSlot(T0 + n * QUARTER_MS, QUARTER_MS, 100_000 + n * 10_000, 0) for n in range(quarters))
    lines += ledger.record(TariffSet(tariff=Tariff(currency="EUR", slots=slots, version=1, source="dso")), T0)
    for n in range(1, quarters + 1):
        reading = MeterReading(import_mwh=1_000_000_000 + n * 1_000_000, export_mwh=0)
        lines += ledger.record(reading, T0 + n * QUARTER_MS)
    last = T0 + quarters * QUARTER_MS
    lines += ledger.end("vehicle", last, import_mwh=1_000_000_000 + quarters * 1_000_000, export_mwh=0)
    return list(verify_lines(b"".join(lines)))


def test_wear_of_the_battery_has_a_row_of_its_own() -> None:
    page = shown(journal(wear=50_000))
    assert "wear of the battery" in page.texts
    assert "\N{MINUS SIGN}0.0500 EUR" in page.texts
    assert "0.95 EUR" in page.texts


@pytest.mark.requirement("R221")
@pytest.mark.parametrize(
    ("functions", "shown_as"),
    [((), "none: the vehicle was only to charge"), (FUNCTIONS, "reactive power by voltage, reactive power by power")],
)
def test_the_grid_code_that_the_inverter_had_is_named(functions: tuple[Function, ...], shown_as: str) -> None:
    begin = journal()[0]
    ledger = SessionJournal()
    lines = ledger.record(begin.data, T0)
    lines += ledger.record(GridSupportGiven(functions=("volt_watt",), values="{}"), T0)
    lines += ledger.record(GridSupportGiven(functions=functions, values="{}"), T0)
    lines += ledger.end("vehicle", T0 + QUARTER_MS, import_mwh=1_004_000_000, export_mwh=0)
    text = "".join(shown(list(verify_lines(b"".join(lines)))).texts)
    assert shown_as in text
    assert "less discharge at high voltage" not in text or functions
    assert function_names("de").keys() == function_names("en").keys() == set(FUNCTIONS)


def test_a_driver_who_is_owed_money_reads_so() -> None:
    text = receipt(entries := journal(price=-300_000), settle(entries))
    assert "You receive <b>1.40 EUR</b>" in text


def test_energy_without_a_price_is_shown_as_such() -> None:
    assert "No price" not in shown(journal()).texts
    ledger = SessionJournal()
    first = journal()[0]
    assert isinstance(first.data, SessionStarted)
    lines = ledger.record(first.data, T0)
    lines += ledger.end("fault", T0 + 60_000, import_mwh=1_000_500_000, export_mwh=0)
    entries = list(verify_lines(b"".join(lines)))
    assert shown(entries).texts.count("No price") == 2
    page = receipt(entries, settle(entries), plan_cost=(56_000, "EUR"))
    assert ("To pay <b>0.06 EUR" in page, "by the operator's price plan" in page.replace("&#x27;", "'")) == (True, True)
    assert "price plan" not in receipt(journal(), settle(journal()), plan_cost=(56_000, "EUR"))


@given(
    name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
    | st.sampled_from(["</dd><script>alert(1)</script>", "<svg onload=x>", "a&b", "\u202eright", "\x1b[0m"]),
    language=st.sampled_from(["en", "de"]),
)
def test_no_text_from_elsewhere_becomes_an_element(name: str, language: Language) -> None:
    page = shown(journal(name=name, reason=name), language)
    plain = shown(journal(name="CS", reason="R"), language)
    assert page.tags == plain.tags
    assert all(each.replace("\n", "").isprintable() for each in page.texts)


def test_a_running_session_is_preliminary_and_one_without_length_has_no_picture() -> None:
    assert "The session is not over: this is its state so far." in shown(journal(end=False)).texts
    assert "svg" not in shown(journal()[:1]).tags


def test_a_corrected_price_replaces_the_wrong_one() -> None:
    entries = journal()
    ledger = SessionJournal.resume(b"".join(_lines(entries)))
    line = settle(entries).lines[0]
    lines = ledger.record(LineCorrected(line=line.id, price=100_000, reason="typo"), entries[-1].utc_ms)
    line = settle(entries).lines[1]
    lines += ledger.record(LineCorrected(line=line.id, price=100_000, reason="typo"), entries[-1].utc_ms)
    corrected = list(verify_lines(b"".join([*_lines(entries), *lines])))
    texts = shown(corrected).texts
    assert "A price was corrected after the session; the table has the corrected one." in texts
    assert "0.10 EUR" in texts
    assert "0.30 EUR" not in texts
    assert "0.20 EUR" in texts  # 0.40 for 4 kWh, less 0.20


def test_times_beyond_the_calendar_are_refused() -> None:
    entries = journal(start_ms=2**52)
    with pytest.raises(VerificationError, match="beyond the calendar"):
        receipt(entries, settle(entries))


def _lines(entries: list[Entry]) -> list[bytes]:
    return [canonical(each) + b"\n" for each in entries]
