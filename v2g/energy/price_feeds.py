"""Prices of markets in published formats: Energy-Charts JSON, ENTSO-E A44 XML, CAISO OASIS CSV, Elexon market index
JSON, JEPX spot CSV, and our own grid signal.

Facts of the formats: Energy-Charts API `/price`; ENTSO-E Transparency Platform, publication document 451-3 (document
type A44) and its rules for `curveType` A01 (every position) and A03 (a position without a point repeats the one before,
until the end of the period); CAISO's Interface Specification for OASIS, report PRC_LMP (`LMP_TYPE` LMP is the price,
in USD per MWh); Elexon Insights, `/balancing/pricing/market-index` (half hours, GBP per MWh, of what has been traded);
JEPX's file of spot prices of a fiscal year (48 half hours of a day in Japan, JPY per kWh).
"""

import csv
import io
import itertools
import math
import re
import zipfile
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from v2g import typed_json
from v2g.energy.grid_signal import ALL, MAX_SIGNAL_BYTES, GridSignal, PriceSignal, SignalSlot, parse_grid_signal
from v2g.errors import CodecError
from v2g.units import HOUR_MS
from v2g.xml_text import Node, children, local_name, read_xml, text_at

FORMATS = Literal["energy-charts", "entsoe", "caiso", "elexon", "jepx", "grid-signal"]
MOST_PRICES: Final = 20_000
"""Maximum number of prices of one document."""

MOST_ROWS: Final = 100_000
"""Maximum number of rows of a table: CAISO has one for each part of a price, JEPX 17,568 a year."""
_MOST_TABLE_BYTES: Final = 8_000_000
MOST_UNZIPPED: Final = 20_000_000
"""Maximum number of bytes of an unzipped document."""

_HALF_HOUR_MS: Final = HOUR_MS // 2
_JEPX_DAYS: Final = ("受渡日", "年月日")
"""The column of the day of delivery; the second name is that of older files."""
_JEPX_SLOT: Final = "時刻コード"
_JEPX_AREAS: Final = {"system": "システムプライス(円/kWh)"} | {
    name: f"エリアプライス{area}(円/kWh)"
    for name, area in (
        ("hokkaido", "北海道"), ("tohoku", "東北"), ("tokyo", "東京"), ("chubu", "中部"), ("hokuriku", "北陸"),
        ("kansai", "関西"), ("chugoku", "中国"), ("shikoku", "四国"), ("kyushu", "九州"),
    )
}  # fmt: skip
_UNIT: Final = re.compile(r"([A-Z]{3}) ?/ ?(MWh|kWh)\Z", re.ASCII | re.IGNORECASE)
_RESOLUTIONS: Final = {
    "PT1M": 60_000, "PT5M": 300_000, "PT15M": 900_000, "PT30M": 1_800_000, "PT60M": HOUR_MS, "PT1H": HOUR_MS,
    "P1D": 24 * HOUR_MS,
}  # fmt: skip
_MOST_PRICE: Final = 2**53 - 1
_LONGEST_MS: Final = 31 * 86_400_000


class MarketPrice(msgspec.Struct, frozen=True):
    """A price in `[start_ms, end_ms)`: currency per kWh, as a number."""

    start_ms: int
    end_ms: int
    per_kwh: float


class Markup(msgspec.Struct, frozen=True, kw_only=True):
    """From a market's price to that of a vehicle, in each direction: factor, then surcharge (currency per kWh)."""

    import_factor: float = 1.0
    import_surcharge: float = 0.0
    export_factor: float = 1.0
    export_surcharge: float = 0.0


class FeedData(msgspec.Struct, frozen=True, kw_only=True):
    """What a document states: prices in order of time; version and limits (W; None: none) of a grid signal."""

    currency: str
    slots: tuple[SignalSlot, ...]
    version: int | None = None
    import_limit_w: int | None = None
    export_limit_w: int | None = None
    export_until_ms: int | None = None

    @property
    def until_ms(self) -> int:
        """The end of the last price; 0 without prices."""
        return self.slots[-1].start_ms + self.slots[-1].duration_s * 1000 if self.slots else 0


def most_bytes(format_: FORMATS) -> int:
    """Return the size of the largest document that is read: JEPX has one for a year."""
    return _MOST_TABLE_BYTES if format_ in ("caiso", "jepx") else MAX_SIGNAL_BYTES


def parse_feed(data: bytes, format_: FORMATS, markup: Markup, series: str = "") -> FeedData:
    """Return the prices of a document. Raises CodecError for another format, a wrong unit, or prices in disorder.

    `series`: which ones, where a document has several: node of CAISO, data provider of Elexon, area of JEPX.
    """
    most = most_bytes(format_)
    if len(data) > most:
        raise CodecError(f"prices of {len(data)} bytes", hint=f"at most {most} bytes are accepted")
    if format_ == "grid-signal":
        signal = parse_grid_signal(data, GridSignal if b'"site_import_limit_w"' in data else PriceSignal)
        limits = signal if isinstance(signal, GridSignal) else None
        if limits is not None and (limits.limits or limits.connection_point != ALL):
            hint = "grid.connection_point says it for all"
            raise CodecError("grid signal: a feed names no connection points", hint=hint)
        return FeedData(
            currency=signal.currency,
            slots=signal.slots,
            version=signal.version,
            import_limit_w=limits.site_import_limit_w if limits else None,
            export_limit_w=limits.export_limit_w if limits else None,
            export_until_ms=limits.valid_until_ms if limits else None,
        )
    match format_:
        case "energy-charts":
            currency, prices = _energy_charts(data)
        case "entsoe":
            currency, prices = _entsoe(data)
        case "caiso":
            currency, prices = "USD", _caiso(data, series)
        case "elexon":
            currency, prices = "GBP", _elexon(data, series or "APXMIDP")
        case _:
            currency, prices = "JPY", _jepx(data, series or "system")
    return FeedData(currency=currency, slots=tuple(_slot(each, markup) for each in prices))


def _slot(price: MarketPrice, markup: Markup) -> SignalSlot:
    return SignalSlot(
        start_ms=price.start_ms,
        duration_s=(price.end_ms - price.start_ms) // 1000,
        import_price=_micro(price.per_kwh * markup.import_factor + markup.import_surcharge),
        export_compensation=_micro(price.per_kwh * markup.export_factor + markup.export_surcharge),
    )


def _micro(per_kwh: float) -> int:
    micro = per_kwh * 1e6
    if not math.isfinite(micro) or abs(micro) > _MOST_PRICE:
        raise CodecError(f"a price of {per_kwh} per kWh is out of range")
    return round(micro)


class _EnergyCharts(msgspec.Struct, frozen=True):
    unix_seconds: Annotated[tuple[Annotated[int, Meta(ge=0, le=2**42)], ...], Meta(max_length=MOST_PRICES)]
    price: Annotated[tuple[float | None, ...], Meta(max_length=MOST_PRICES)]
    unit: Annotated[str, Meta(max_length=40)]


def _energy_charts(data: bytes) -> tuple[str, list[MarketPrice]]:
    try:
        found = typed_json.decode_sent(data, _EnergyCharts)
    except msgspec.DecodeError as error:
        raise CodecError(f"prices of Energy-Charts: {error}") from None
    unit = _UNIT.match(found.unit)
    if unit is None:
        raise CodecError(f"prices of Energy-Charts: the unit {found.unit!r} is not supported", hint="EUR / MWh is")
    if len(found.price) != len(found.unix_seconds):
        raise CodecError(f"prices of Energy-Charts: {len(found.price)} prices for {len(found.unix_seconds)} times")
    starts = [second * 1000 for second in found.unix_seconds]
    steps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    if any(step <= 0 for step in steps):
        raise CodecError("prices of Energy-Charts: the times do not ascend")
    lengths = [*(_lasts(steps, at) for at in range(len(steps))), min(*steps, HOUR_MS) if steps else HOUR_MS]
    scale = 1e-3 if unit[2].lower() == "mwh" else 1.0
    return unit[1].upper(), [
        MarketPrice(start, start + length, price * scale)
        for start, length, price in zip(starts, lengths, found.price, strict=False)
        if price is not None
    ]


def _lasts(steps: Sequence[int], at: int) -> int:
    """Return how long a price holds (ms): until the next, unless prices are missing between, as by the steps beside."""
    step, beside = steps[at], (*steps[max(0, at - 1) : at], *steps[at + 1 : at + 2])
    return step if step in beside and step <= HOUR_MS else min(step, *beside, HOUR_MS)


def _entsoe(data: bytes) -> tuple[str, list[MarketPrice]]:
    root = read_xml(data, "publication document", most_bytes=MAX_SIGNAL_BYTES)
    kind = local_name(root)
    if kind == "Acknowledgement_MarketDocument":
        raise CodecError(f"ENTSO-E answers: {text_at(root, 'Reason', 'text')[:200] or 'no reason'}")
    if kind != "Publication_MarketDocument" or text_at(root, "type") not in ("A44", ""):
        raise CodecError(f"{kind[:60]!r} is not a publication document of prices (A44)")
    series = list(children(root, "TimeSeries"))
    currencies = {text_at(each, "currency_Unit.name") or "EUR" for each in series}
    units = {text_at(each, "price_Measure_Unit.name") or "MWH" for each in series}
    if len(currencies) > 1 or units - {"MWH"}:
        names = ", ".join(sorted(currencies | units))[:80]
        raise CodecError(f"publication document: one currency per MWH is supported, not {names}")
    prices: list[MarketPrice] = []
    read = 0
    for _, same in itertools.groupby(sorted(series, key=_sequence), key=_sequence):
        points = list(itertools.islice((price for each in same for price in _points(each)), MOST_PRICES + 1 - read))
        read += len(points)
        if read > MOST_PRICES:
            raise CodecError(f"publication document: more than {MOST_PRICES} prices")
        prices = sorted((*prices, *_beside(prices, _without_overlap(points))), key=lambda each: each.start_ms)
    currency = currencies.pop() if currencies else "EUR"
    if not re.match(r"[A-Z]{3}\Z", currency):
        raise CodecError(f"publication document: {currency[:20]!r} is not a currency")
    return currency, prices


def _beside(taken: Sequence[MarketPrice], prices: Iterable[MarketPrice]) -> list[MarketPrice]:
    """Return the prices for times without one in `taken`, which is in order of time."""
    starts = [each.start_ms for each in taken]
    places = ((bisect_left(starts, each.end_ms), each) for each in prices)
    return [each for place, each in places if not place or taken[place - 1].end_ms <= each.start_ms]


def _caiso(data: bytes, node: str) -> list[MarketPrice]:
    """Return the prices of a node, in order of time."""
    rows = _table(_unzipped(data), ("INTERVALSTARTTIME_GMT", "INTERVALENDTIME_GMT", "NODE", "LMP_TYPE", "MW"))
    total = [row for row in rows if row["LMP_TYPE"] == "LMP"]
    nodes = sorted({row["NODE"] for row in total})
    if not node and len(nodes) > 1:
        names = ", ".join(nodes)[:80]
        raise CodecError(f"prices of {len(nodes)} nodes: {names}", hint="name one as `series` of the feed")
    prices = [
        MarketPrice(_time(row["INTERVALSTARTTIME_GMT"]), _time(row["INTERVALENDTIME_GMT"]), _number(row["MW"]) / 1000)
        for row in total
        if row["NODE"] == (node or row["NODE"])
    ]
    if total and not prices:
        raise CodecError(f"no prices of the node {node}", hint=f"there are {', '.join(nodes)[:80]}")
    if any(not 0 < each.end_ms - each.start_ms <= _LONGEST_MS for each in prices):
        raise CodecError("prices of CAISO: an interval does not end after its start")
    return list(_without_overlap(prices))


class _MarketIndex(msgspec.Struct, frozen=True, rename="camel"):
    start_time: Annotated[str, Meta(max_length=40)]
    data_provider: Annotated[str, Meta(max_length=40)]
    price: float
    volume: float


class _MarketIndices(msgspec.Struct, frozen=True):
    data: Annotated[tuple[_MarketIndex, ...], Meta(max_length=MOST_PRICES)]


def _elexon(data: bytes, provider: str) -> list[MarketPrice]:
    """Return the prices of a data provider; one without trade has none."""
    try:
        found = typed_json.decode_sent(data, _MarketIndices)
    except (msgspec.DecodeError, ValueError) as error:
        raise CodecError(f"market index data: {error}") from None
    starts = [(_time(each.start_time), each) for each in found.data if each.data_provider == provider and each.volume]
    if found.data and not starts:
        raise CodecError(f"market index data: no trade of the data provider {provider}")
    prices = [MarketPrice(start, start + _HALF_HOUR_MS, each.price / 1000) for start, each in starts]
    return list(_without_overlap(prices))


def _jepx(data: bytes, area: str) -> list[MarketPrice]:
    """Return the prices of an area of Japan, in order of time."""
    column = _JEPX_AREAS.get(area.lower())
    if column is None:
        raise CodecError(f"JEPX has no area {area[:20]!r}", hint=f"areas: {', '.join(_JEPX_AREAS)}")
    text = _decoded(data, "utf-8-sig", "cp932")
    day = next((each for each in _JEPX_DAYS if each in text[:200]), _JEPX_DAYS[0])
    prices = []
    for row in _table(text, (day, _JEPX_SLOT, column)):
        number = row[_JEPX_SLOT]
        if not (number.isascii() and number.isdigit() and len(number) < 3 and 1 <= int(number) <= 48):
            raise CodecError(f"prices of JEPX: {number[:20]!r} is not a half hour from 1 to 48")
        if row[column]:
            start = _time(f"{row[day].replace('/', '-')}T00:00:00+09:00") + (int(number) - 1) * _HALF_HOUR_MS
            prices.append(MarketPrice(start, start + _HALF_HOUR_MS, _number(row[column])))
    return list(_without_overlap(prices))


def _table(text: str, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a CSV with at least these columns."""
    try:
        reader = csv.DictReader(io.StringIO(text), restval="")
        missing = [each for each in columns if each not in (reader.fieldnames or ())]
        if missing:
            raise CodecError(f"prices: the table has no column {', '.join(missing)[:200]}")
        rows = list(itertools.islice(reader, MOST_ROWS + 1))
    except csv.Error as error:
        raise CodecError(f"prices: no table: {error}") from None
    if len(rows) > MOST_ROWS:
        raise CodecError(f"prices: more than {MOST_ROWS} rows")
    return [{name: row[name] for name in columns} for row in rows]


def _unzipped(data: bytes) -> str:
    """Return the text of a CSV, also of one alone in a ZIP archive, as OASIS sends it."""
    if data.startswith(b"PK"):
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                (member,) = archive.infolist()
                with archive.open(member) as file:
                    data = file.read(MOST_UNZIPPED + 1)
        except (zipfile.BadZipFile, zlib.error, ValueError, NotImplementedError, RuntimeError, OSError) as error:
            raise CodecError(f"prices: not an archive of one file: {str(error)[:100]}") from None
        if len(data) > MOST_UNZIPPED:
            raise CodecError(f"prices: more than {MOST_UNZIPPED} bytes unzipped")
    return _decoded(data, "utf-8-sig")


def _decoded(data: bytes, *encodings: str) -> str:
    for encoding in encodings:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise CodecError("prices: the text is not in the encoding of its format")


def _sequence(series: Node) -> int:
    """Return which of several auctions a series is of; 1 is the day-ahead coupling, also where it is not named. A day
    that the first has no price for is in a later one."""
    text = text_at(series, "classificationSequence_AttributeInstanceComponent.position")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 1


def _points(series: Node) -> Iterator[MarketPrice]:
    repeats = text_at(series, "curveType") == "A03"
    for period in children(series, "Period"):
        start_ms, end_ms = (_time(text_at(period, "timeInterval", name)) for name in ("start", "end"))
        resolution = text_at(period, "resolution")
        step_ms = _RESOLUTIONS.get(resolution)
        if step_ms is None:
            raise CodecError(f"publication document: the resolution {resolution[:20]!r} is not supported")
        if not 0 < end_ms - start_ms <= _LONGEST_MS:
            raise CodecError("publication document: a period does not end after its start")
        points = [(_position(each), _number(text_at(each, "price.amount"))) for each in children(period, "Point")]
        positions = [position for position, _ in points]
        if positions != sorted(set(positions)):
            raise CodecError("publication document: the positions of points do not ascend")
        if not points:  # a period without prices
            continue
        ends = [*positions[1:], -(-(end_ms - start_ms) // step_ms) + 1]
        for (position, amount), following in zip(points, ends, strict=True):
            for place in range(position, following if repeats else position + 1):
                begin = start_ms + (place - 1) * step_ms
                if begin >= end_ms:
                    break
                yield MarketPrice(begin, min(begin + step_ms, end_ms), amount / 1000)


def _position(point: Node) -> int:
    text = text_at(point, "position")
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:9]) <= MOST_PRICES:
        raise CodecError(f"publication document: the position {text[:20]!r} is not a number from 1 on")
    return int(text[:9])


def _number(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = math.nan
    if not math.isfinite(amount):
        raise CodecError(f"prices: {text[:20]!r} is not a number")
    return amount


def _time(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CodecError(f"prices: {text[:40]!r} is not a time") from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _without_overlap(prices: Iterable[MarketPrice]) -> Iterator[MarketPrice]:
    """Yield prices in order of time; where two overlap, the one of the finer resolution, then the first."""
    ordered: Sequence[MarketPrice] = sorted(prices, key=lambda each: (each.end_ms - each.start_ms, each.start_ms))
    taken: list[MarketPrice] = []
    for _, same in itertools.groupby(ordered, key=lambda each: each.end_ms - each.start_ms):
        finer = sorted(taken, key=lambda each: each.start_ms)
        place, last_end = 0, -1
        for price in same:
            while place < len(finer) and finer[place].end_ms <= price.start_ms:
                place += 1
            if price.start_ms >= last_end and (place == len(finer) or finer[place].start_ms >= price.end_ms):
                taken.append(price)
                last_end = price.end_ms
    yield from sorted(taken, key=lambda each: each.start_ms)
