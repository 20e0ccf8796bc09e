"""The receipt of a session for the driver: one page of HTML with a picture, priced lines, and what is proven.

The page loads nothing, runs no script, follows the reader's light or dark scheme and prints on one or two sheets. All
that comes from vehicle, charger or configuration is escaped.
"""

import tomllib
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from functools import cache
from html import escape
from importlib.resources import files
from itertools import accumulate, groupby, pairwise
from typing import Final, Literal, TypeVar

import msgspec

from v2g import typed_json
from v2g.energy.grid_support import Function
from v2g.energy.settlement.intervals import Registers, Timeline
from v2g.energy.settlement.journal import Entry
from v2g.energy.settlement.pricing import NO_CURRENCY, WEAR, Direction, Total, standing_lines
from v2g.energy.settlement.records import GridSupportGiven, MeterReading, MeterStatus
from v2g.energy.settlement.report import Report, affected
from v2g.energy.settlement.session_journal import readings_of
from v2g.energy.settlement.settle import Settlement, price_book
from v2g.energy.settlement.taxes import Tax, gross_of
from v2g.errors import VerificationError
from v2g.look import document
from v2g.svg_chart import Row, Series, stairs_chart
from v2g.text import printable
from v2g.units import MICRO, currency_digits, payable

Language = Literal["en", "de"]

Words = TypeVar("Words", bound=msgspec.Struct)

_STEPS: Final = 240
"""Most steps of the picture."""

_MOST_PRICES: Final = 12
"""Most prices of a direction with a row each; more are one row, with the lowest and the highest."""


_END_OF_CALENDAR_MS: Final = 253_370_764_800_000
"""9999-01-01."""


class _ReceiptWords(msgspec.Struct, frozen=True, kw_only=True):
    """The words of a language."""

    decimal: str
    thousands: str
    clock: str
    receipt: str
    preliminary: str
    to_pay: str
    to_receive: str
    unpriced: str
    by_plan: str
    begin: str
    end: str
    session: str
    station: str
    evse: str
    contract: str
    no_contract: str
    ended_by: str
    reasons: dict[str, str]
    course: str
    course_note: str
    power: str
    price: str
    balance: str
    charge_state: str
    charging: str
    discharging: str
    idle: str
    prices: str
    direction: str
    taken: str
    fed_back: str
    wear: str
    energy: str
    amount: str
    sum: str
    net: str
    vat: str
    vat_on: str
    gross: str
    rounded: str
    corrected: str
    energy_and_time: str
    registers: str
    plugged_in: str
    battery: str
    battery_of: str
    grid_support: str
    only_charged: str
    functions: dict[Function, str]
    statuses: dict[MeterStatus, str]
    proven: str
    chain: str
    meter: str
    commands: str
    standard: str
    no_export: str
    countersigned: str
    confirmations: str
    rejections: str
    certificates: str
    own_roots: str
    bundle_roots: str
    copy: str
    exact: str


@cache
def words_of(language: Language, page: str, kind: type[Words]) -> Words:
    """Return the words of a page, from `texts`."""
    text = (files("v2g.energy.settlement") / "texts" / f"{language}.toml").read_text("utf-8")
    return typed_json.convert(tomllib.loads(text)[page], kind)


_STYLE: Final = """
.sheet{max-width:42rem}h1{font-size:1.35rem;margin:0}h2{margin-top:1.6rem;border-bottom:1px solid var(--line)}
header{display:flex;flex-wrap:wrap;justify-content:space-between;gap:.5em 2em;align-items:baseline}
.due{margin:0;font-size:1.05rem}.due b{font-size:1.5rem;white-space:nowrap}.pairs{margin:.5em 0}
td,th{text-align:right;padding:.2em 0 .2em .8em;border:0}td{white-space:nowrap}th{color:var(--dim)}
td:first-child,th:first-child{text-align:left;padding-left:0;white-space:normal}
tfoot td{border-top:1px solid var(--line)}
figure{margin:.5em 0}svg{width:100%;height:auto}body svg.stairs text{font-size:13px}ul{padding-left:1.2em;margin:.5em 0}
@media screen and (max-width:36em){table{font-size:.85em}body svg.stairs text{font-size:16px}}
@media print{html{font-size:10.5pt}.sheet{margin:0;max-width:none}figure{max-width:12cm}}
"""


def receipt(
    entries: Sequence[Entry],
    settlement: Settlement,
    *,
    report: Report | None = None,
    language: Language = "en",
    zone: tzinfo = UTC,
    taxes: Sequence[Tax] = (),
    plan_cost: tuple[int, str] | None = None,
) -> str:
    """Return the page. `entries` are the journal of `settlement`, verified; `report` is what its bundle proves.

    `plan_cost` is what the back end's price plan makes of the transaction, with taxes, in micro-units of a currency: it
    counts where the journal has no prices.
    `taxes` are its VAT: prices are net, and what is to be paid is with VAT. Without a report the page says that it was
    made from a copy. Money has the digits of its currency (ISO 4217).
    Raises VerificationError for times beyond the calendar.
    """
    if settlement.end.utc_ms >= _END_OF_CALENDAR_MS:
        raise VerificationError(f"{settlement.end.utc_ms} ms is beyond the calendar", where="journal.jsonl")
    words = words_of(language, "receipt", _ReceiptWords)
    body = "".join(_Receipt(entries, settlement, report, words, zone, taxes, plan_cost).body())
    return document(words.receipt, body, style=_STYLE, language=language)


def _text(text: str) -> str:
    """Return text from elsewhere for HTML."""
    return escape(printable(text))


def proven(report: Report, language: Language) -> Iterator[str]:
    """Yield what a verified bundle proves, a sentence (HTML) each."""
    return _proven(words_of(language, "receipt", _ReceiptWords), report)


def function_names(language: Language) -> dict[Function, str]:
    """Return the functions of a grid code in words."""
    words: _ReceiptWords = words_of(language, "receipt", _ReceiptWords)
    return words.functions


def _proven(words: _ReceiptWords, report: Report) -> Iterator[str]:
    yield words.chain.format(count=report.settlement.journal_entries)
    yield words.meter.format(meter=_text(report.meter))
    proof = report.discharge
    if not proof.export_mwh:
        yield words.no_export
    else:
        yield words.commands.format(count=proof.commands) if proof.covered else words.standard
    proved = proof.checkpoints
    if proved.countersigned:
        yield words.countersigned.format(part=proved.entries, count=report.settlement.journal_entries)
    if report.confirmations:
        yield words.confirmations.format(count=report.confirmations)
    if proof.rejections:
        yield words.rejections.format(count=proof.rejections)
    roots = words.own_roots if report.own_anchors else words.bundle_roots
    yield f"{words.certificates.format(charger=_text(report.charger))} {roots}"


class _Receipt:
    def __init__(
        self,
        entries: Sequence[Entry],
        settlement: Settlement,
        report: Report | None,
        words: _ReceiptWords,
        zone: tzinfo,
        taxes: Sequence[Tax],
        plan_cost: tuple[int, str] | None,
    ) -> None:
        self._plan_cost = plan_cost
        self._taxes = taxes
        self._entries = entries
        self._settlement = settlement
        self._report = report
        self._words = words
        self._zone = zone

    def body(self) -> Iterator[str]:
        words, settlement = self._words, self._settlement
        yield f"<header><h1>{words.receipt}</h1>{''.join(self._due())}</header>\n"
        if settlement.state == "open":
            yield f"<p><b>{words.preliminary}</b></p>\n"
        yield _list(self._facts())
        picture = self._picture()
        if picture:
            yield (
                f"<h2>{words.course}</h2>\n<figure>{picture}"
                f'<figcaption class="note">{words.course_note}</figcaption></figure>\n'
            )
        yield f"<h2>{words.prices}</h2>\n{''.join(self._table())}"
        yield f"<h2>{words.energy_and_time}</h2>\n{_list(self._quantities())}"
        for status, starts in affected(settlement).items():
            note = words.statuses[status].format(count=len(starts), first=self._clock(starts[0]))
            yield f'<p class="note">{note}</p>\n'
        yield f"<h2>{words.proven}</h2>\n<ul>{''.join(f'<li>{each}</li>' for each in self._claims())}</ul>\n"
        yield f'<p class="note">{words.exact.format(zone=_text(str(self._zone)))}</p>'

    # -- numbers

    def _number(self, value: Decimal | float, digits: int) -> str:
        text = f"{value:,.{digits}f}"
        swapped = {",": self._words.thousands, ".": self._words.decimal, "-": "\N{MINUS SIGN}"}
        return "".join(swapped.get(each, each) for each in text)

    def _kwh(self, mwh: int) -> str:
        return self._number(Decimal(mwh).scaleb(-6), 3)

    def _money(self, micro: int, currency: str) -> str:
        """Return an amount with two digits more than its currency: amounts of lines are not payable yet."""
        return f"{self._number(Decimal(micro).scaleb(-6), currency_digits(currency) + 2)} {_text(currency)}"

    def _price(self, micro: int | None, currency: str) -> str:
        if micro is None:
            return escape(self._words.unpriced)
        price = Decimal(micro).scaleb(-6).normalize()
        exponent = price.as_tuple().exponent
        assert isinstance(exponent, int), "of an integer"
        return f"{self._number(price, max(currency_digits(currency), -exponent))} {_text(currency)}".rstrip()

    def _clock(self, utc_ms: int) -> str:
        return escape(f"{datetime.fromtimestamp(utc_ms // 1000, self._zone):{self._words.clock}}")

    def _span(self, ms: int) -> str:
        hours, rest = divmod(round(ms / 1000), 3600)
        minutes, seconds = divmod(rest, 60)
        return f"{hours} h {minutes:02} min {seconds:02} s" if hours else f"{minutes} min {seconds:02} s"

    # -- parts

    def _due(self) -> Iterator[str]:
        priced = [(self._gross(total), total.currency) for total in self._priced()]
        by_plan = [self._plan_cost] if self._plan_cost is not None and not priced else []
        for micro, currency in priced or by_plan:
            amount = payable(Decimal(micro).scaleb(-6), currency)
            word = self._words.to_receive if amount < 0 else self._words.to_pay
            shown = f"{self._number(abs(amount), currency_digits(currency))} {_text(currency)}"
            yield f'<p class="due">{word} <b>{shown}</b></p>'
        if by_plan:
            yield f'<p class="note">{escape(self._words.by_plan)}</p>'
        elif not priced:
            yield f'<p class="due"><b>{self._words.unpriced}</b></p>'

    def _gross(self, total: Total) -> int:
        return gross_of(self._taxes, total.currency) if self._taxes else total.balance

    def _priced(self) -> list[Total]:
        return [total for total in self._settlement.totals if total.currency != NO_CURRENCY]

    def _facts(self) -> Iterator[tuple[str, str]]:
        words, settlement = self._words, self._settlement
        yield words.begin, self._clock(settlement.begin.utc_ms)
        yield words.end, self._clock(settlement.end.utc_ms)
        if settlement.reason is not None:
            yield words.ended_by, _text(words.reasons.get(settlement.reason, settlement.reason))
        yield words.evse, _text(settlement.evse_id)
        yield words.station, _text(settlement.station_id)
        yield words.contract, _text(settlement.emaid or words.no_contract)
        yield words.session, _text(settlement.session_id)

    def _table(self) -> Iterator[str]:
        words, lines = self._words, self._settlement.lines
        places = {words.taken: 0, words.fed_back: 1, words.wear: 2}
        energy: dict[tuple[str, str, int | None], int] = defaultdict(int)
        amounts: dict[tuple[str, str, int | None], int] = defaultdict(int)
        for line in lines:
            taken = line.direction == "import"
            key = (
                words.wear if line.basis == WEAR else words.taken if taken else words.fed_back,
                line.currency,
                line.price,
            )
            energy[key] += line.energy_mwh
            amounts[key] += line.amount if taken else -line.amount
        heads = (words.direction, _capital(words.price), words.energy, words.amount)
        yield f"<table><thead><tr>{''.join(f'<th>{each}</th>' for each in heads)}</tr></thead>\n<tbody>"
        keys = [key for key in energy if energy[key] or amounts[key]]  # not, if reversed
        keys.sort(key=lambda key: (places[key[0]], key[1], key[2] or 0))
        for (word, currency), group in groupby(keys, key=lambda key: key[:2]):
            mine = list(group)
            for part in [mine] if len(mine) > _MOST_PRICES else [[key] for key in mine]:
                first, last = part[0][2], part[-1][2]
                price = self._price(first, currency)
                if first is not None and first != last:
                    price = f"{self._price(first, '')}\N{EN DASH}{self._price(last, currency)}"
                shown = "" if first is None else self._money(sum(amounts[key] for key in part), currency)
                yield _cells(word, price, self._kwh(sum(energy[key] for key in part)), shown)
        yield "</tbody>\n<tfoot>"
        for total in self._priced():
            name = words.net if self._taxes else words.sum
            yield _cells(name, "", "", self._money(total.balance, total.currency))
            for tax in self._taxes:
                if tax.currency == total.currency and tax.percent:
                    rate = self._number(tax.percent, max(0, -int(tax.percent.as_tuple().exponent)))
                    on = f"{rate} % {words.vat_on} {self._money(tax.net, tax.currency)}"
                    yield _cells(words.vat, on, "", self._money(tax.vat, tax.currency))
            if self._taxes:
                yield _cells(words.gross, "", "", self._money(self._gross(total), total.currency))
        yield f'</tfoot></table>\n<p class="note">{words.rounded}</p>\n'
        if any(line.kind == "reversal" for line in lines):
            yield f'<p class="note">{words.corrected}</p>\n'

    def _quantities(self) -> Iterator[tuple[str, str]]:
        words, settlement = self._words, self._settlement
        begin, end, times, use = settlement.begin, settlement.end, settlement.times, settlement.battery
        for word, first, last in (
            (words.taken, begin.import_mwh, end.import_mwh),
            (words.fed_back, begin.export_mwh, end.export_mwh),
        ):
            registers = words.registers.format(begin=self._kwh(first), end=self._kwh(last))
            yield _capital(word), f"{self._kwh(last - first)} kWh ({registers})"
        yield words.plugged_in, self._span(end.utc_ms - begin.utc_ms)
        yield _capital(words.charging), self._span(times.charging_ms)
        yield _capital(words.discharging), self._span(times.discharging_ms)
        yield words.idle, self._span(times.idle_ms)
        through = f"{self._kwh(use.throughput_mwh)} kWh"
        if use.capacity_wh is not None and use.full_cycles is not None:
            cycles = self._number(Decimal(use.full_cycles).scaleb(-6), 3)
            capacity = self._number(Decimal(use.capacity_wh).scaleb(-3), 1)
            through += f" ({words.battery_of.format(cycles=cycles, capacity=capacity)})"
        yield words.battery, through
        given = [each.data.functions for each in self._entries if isinstance(each.data, GridSupportGiven)]
        if given:
            named = ", ".join(words.functions[each] for each in given[-1])
            yield words.grid_support, _text(named or words.only_charged)

    def _claims(self) -> Iterator[str]:
        words, settlement, report = self._words, self._settlement, self._report
        if report is None:
            yield words.chain.format(count=settlement.journal_entries)
            yield words.copy
            return
        yield from _proven(words, report)

    # -- the picture

    def _picture(self) -> str:
        """Return power, prices, state of charge and money over time; nothing for a session without length."""
        words, settlement = self._words, self._settlement
        first, last = settlement.begin.utc_ms, settlement.end.utc_ms
        steps = min(_STEPS, (last - first) // 1000)
        if steps < 1:
            return ""
        edges = [first + (last - first) * step // steps for step in range(steps + 1)]
        timeline, book = Timeline(readings_of(self._entries)), price_book(self._entries)
        power = [
            (b.import_mwh - a.import_mwh - b.export_mwh + a.export_mwh) * 3.6 / (b.utc_ms - a.utc_ms)
            for a, b in pairwise(timeline.at(edge) for edge in edges)
        ]
        prices = [book.at(edge) for edge in edges[:-1]]
        buy = [None if each.import_price is None else each.import_price / MICRO for each in prices]
        sell = [None if each.export_compensation is None else each.export_compensation / MICRO for each in prices]
        rows = [
            Row(words.power, (Series("orange", "", power),)),
            Row(words.price, (Series("blue", words.charging, buy), Series("green", words.discharging, sell))),
        ]
        # the last known state of charge of each step, %
        known = [
            (entry.utc_ms, entry.data.soc)
            for entry in self._entries
            if isinstance(entry.data, MeterReading) and entry.data.soc is not None
        ]
        charge: list[float | None] = []
        place, value = 0, None
        for edge in edges[1:]:
            while place < len(known) and known[place][0] <= edge:
                value = float(known[place][1])
                place += 1
            charge.append(value)
        if any(each is not None for each in charge):
            rows.append(Row(words.charge_state, (Series("green", "", charge),)))
        totals = self._priced()
        if len(totals) == 1:
            title = f"{words.balance}, {printable(totals[0].currency)}"
            rows.append(Row(title, (Series("blue", "", self._balance(edges, timeline)),)))
        return stairs_chart(words.course, edges, rows, zone=self._zone, width=560, number=self._axis)

    def _axis(self, value: float) -> str:
        """Return a value with three significant digits, without zeros at the end."""
        size = abs(value)
        shown = round(value, 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3)
        return self._number(shown, max(0, -int(Decimal(str(shown)).normalize().as_tuple().exponent)))

    def _balance(self, edges: Sequence[int], timeline: Timeline) -> list[float]:
        """Return what is to be paid at each edge; a line's amount grows with its energy."""
        found = [0.0] * len(edges)
        whole = [0.0] * (len(edges) + 1)  # amounts of lines, where they are complete
        for line in standing_lines(self._settlement.lines).values():
            amount = line.amount / MICRO * (1 if line.direction == "import" else -1)
            begin = _register(timeline.at(line.start_ms), line.direction)
            last = bisect_left(edges, line.end_ms)
            for edge in range(bisect_right(edges, line.start_ms), last):
                flowed = _register(timeline.at(edges[edge]), line.direction) - begin
                found[edge] += amount * flowed / line.energy_mwh
            whole[last] += amount
        return [part + sum_ for part, sum_ in zip(found, accumulate(whole), strict=False)]


def _register(registers: Registers, direction: Direction) -> int:
    return registers.import_mwh if direction == "import" else registers.export_mwh


def _list(rows: Iterator[tuple[str, str]]) -> str:
    return f'<dl class="pairs">{"".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows)}</dl>\n'


def _cells(*cells: str) -> str:
    return f"<tr>{''.join(f'<td>{each}</td>' for each in cells)}</tr>\n"


def _capital(word: str) -> str:
    return word[:1].upper() + word[1:]
