"""Prices by time, and the grid operator's signal that contains them.

Prices are integer micro-units of the currency per kWh; people write them as decimal text. The vehicle pays
`import_price` for energy from the grid and receives `export_compensation` for energy fed back. Times are UTC ms.
"""

import itertools
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Annotated, Final, Literal, TypeVar, overload

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from v2g import typed_json
from v2g.asn1.discharge import MicroPerKwh, PriceSlot
from v2g.errors import CodecError, RefusedError
from v2g.typed_json import Fields
from v2g.units import LAST_MS, Currency, Decimals, UtcMs, micro_of

MAX_SIGNAL_BYTES: Final = 1_000_000
_DECIMALS: Final = re.compile(r"-?[0-9]{1,13}(\.[0-9]{1,6})?\Z", re.ASCII)
"""Decimal text, as in `v2g.units.Decimals`."""


S = TypeVar("S", bound="PriceSignal")
PhaseCurrent = Annotated[int, Meta(ge=0, le=10_000_000)]


class Tariff(msgspec.Struct, frozen=True, kw_only=True):
    """A price series: `slots` are ascending and do not overlap; gaps have no price."""

    currency: Currency
    slots: tuple[PriceSlot, ...]
    version: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0
    source: str = ""

    def __post_init__(self) -> None:
        """Reject a series with two prices for one moment."""
        for before, after in itertools.pairwise(self.slots):
            if after.start_ms < before.end_ms:
                raise ValueError(f"price slot at {after.start_ms} begins before the one at {before.start_ms} ends")
        if any(slot.duration_ms < 1 for slot in self.slots):
            raise ValueError("a price slot has no length")

    def price_at(self, utc_ms: int) -> PriceSlot:
        """Return the slot in force. Raises RefusedError (`no_price`) in a gap."""
        for slot in self.slots:
            if slot.start_ms <= utc_ms < slot.end_ms:
                return slot
        raise RefusedError(f"the tariff has no price at {utc_ms}", reason="no_price")

    def split(self, start_ms: int, end_ms: int) -> Iterator[tuple[int, int, PriceSlot]]:
        """Yield (start, end, slot) parts of `[start_ms, end_ms)`. Raises RefusedError (`no_price`) at a gap."""
        while start_ms < end_ms:
            slot = self.price_at(start_ms)
            piece_end = min(slot.end_ms, end_ms)
            yield start_ms, piece_end, slot
            start_ms = piece_end

    def window(self, start_ms: int, end_ms: int, *, at_most: int = 1024) -> tuple[PriceSlot, ...]:
        """Return the slots in force from `start_ms` on, without gaps, until `end_ms`.

        Whole slots: the first may start earlier and the last end later. Empty if `start_ms` has no price.
        """
        found: list[PriceSlot] = []
        for slot in self.slots:
            if slot.end_ms <= start_ms:
                continue
            expected = found[-1].end_ms if found else start_ms
            if slot.start_ms > expected or expected >= end_ms or len(found) >= at_most:
                break
            found.append(slot)
        return tuple(found)


class SignalSlot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One slot of a grid signal; prices in micro-units per kWh."""

    start_ms: Annotated[int, Meta(ge=0, le=2**53 - 1)]
    duration_s: Annotated[int, Meta(ge=1, le=31 * 86400)]
    import_price: MicroPerKwh
    export_compensation: MicroPerKwh


class PriceSignal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The prices of a grid signal, as JSON: what a station of OCPP 2.1 gets by DataTransfer.

    A signal with a higher `version` replaces the previous one as a whole.
    """

    version: Annotated[int, Meta(ge=0, le=2**32 - 1)]
    issued_at_ms: Annotated[int, Meta(ge=0, le=2**53 - 1)]
    source: Annotated[str, Meta(min_length=1, max_length=64)]
    currency: Currency
    slots: Annotated[tuple[SignalSlot, ...], Meta(max_length=3000)]

    def tariff(self) -> Tariff:
        """Return the price series. Raises ValueError if slots overlap or are not ascending."""
        slots = tuple(
            PriceSlot(
                start_ms=slot.start_ms,
                duration_ms=slot.duration_s * 1000,
                import_price=slot.import_price,
                export_compensation=slot.export_compensation,
            )
            for slot in self.slots
        )
        return Tariff(currency=self.currency, slots=slots, version=self.version, source=self.source)

    def to_json(self) -> bytes:
        """Return the signal as JSON for files and messages."""
        return msgspec.json.encode(self)


class ExportSignal(PriceSignal, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prices, and the site's maximum feed-in: for stations of OCPP 2.0.1, whose profiles cannot express it.

    After `valid_until_ms` no export is permitted.
    """

    export_limit_w: Annotated[int, Meta(ge=0, le=10_000_000)]
    valid_until_ms: Annotated[int, Meta(ge=0, le=2**53 - 1)]


class ConnectionPoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where a limit holds: a site, a feeder of it, or an EVSE; empty: all stations of the back end."""

    site: Annotated[str, Meta(max_length=60, description="A site.")] = ""
    feeder: Annotated[str, Meta(max_length=60, description="A node of that site: a fuse, cable or transformer.")] = ""
    station_id: Annotated[str, Meta(max_length=48, description="The station of an EVSE.")] = ""
    evse_id: Annotated[int, Meta(ge=0, le=10_000, description="The number of an EVSE at its station.")] = 0

    def __post_init__(self) -> None:
        """Reject what names no point or two."""
        if bool(self.station_id) is not bool(self.evse_id) or (self.station_id and (self.site or self.feeder)):
            raise ValueError("a connection point is a site, a feeder of a site, or an EVSE by station_id and evse_id")
        if self.feeder and not self.site:
            raise ValueError("a feeder needs its site")

    def __str__(self) -> str:
        """Return its name, as alerts, metrics and pages have it."""
        if self.station_id:
            return f"EVSE {self.station_id}/{self.evse_id}"
        return (f"feeder {self.site}/{self.feeder}" if self.feeder else f"site {self.site}") if self.site else "all"


ALL: Final = ConnectionPoint()
"""All stations of the back end together."""

Direction = Literal["import", "export"]


class GridLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A limit of what all stations behind a connection point draw or feed back together, from one time until another.

    Either `limit_w`, of all phases together, or `phases_ma`.
    """

    connection_point: ConnectionPoint = ALL
    direction: Direction
    limit_w: Annotated[int, Meta(ge=0, le=10_000_000, description="Of all phases together, W.")] | None = None
    phases_ma: Annotated[
        tuple[PhaseCurrent, PhaseCurrent, PhaseCurrent] | None, Meta(description="Of L1, L2 and L3, mA.")
    ] = None
    from_ms: Annotated[UtcMs, Meta(description="When it begins.")] = 0
    until_ms: Annotated[UtcMs, Meta(description="When it ends.")] = LAST_MS
    source: Annotated[str, Meta(max_length=64, description="Who set it; empty: the source of the signal.")] = ""

    def __post_init__(self) -> None:
        """Reject two limits in one, none, and one that never holds."""
        if (self.limit_w is None) is (self.phases_ma is None):
            raise ValueError("a limit has either limit_w or phases_ma")
        if self.until_ms <= self.from_ms:
            raise ValueError("until_ms of a limit must be after from_ms")


class GridSignal(ExportSignal, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The grid operator's signal, as JSON: prices, and limits of import and export at connection points.

    `site_import_limit_w` and `export_limit_w` hold at `connection_point`: where it is left out, over all stations.
    """

    site_import_limit_w: Annotated[int, Meta(ge=0, le=10_000_000)]
    connection_point: ConnectionPoint = ALL
    limits: Annotated[tuple[GridLimit, ...], Meta(max_length=1000)] = ()

    @property
    def every_limit(self) -> tuple[GridLimit, ...]:
        """All limits with their connection point and source; export ends with the signal, import does not."""
        import_ = GridLimit(
            connection_point=self.connection_point,
            direction="import",
            limit_w=self.site_import_limit_w,
            source=self.source,
        )
        export = replace(import_, direction="export", limit_w=self.export_limit_w, until_ms=self.valid_until_ms)
        ended = replace(import_, direction="export", limit_w=0, from_ms=min(self.valid_until_ms, LAST_MS - 1))
        named = (replace(each, source=each.source or self.source) for each in self.limits)
        return import_, export, ended, *named

    def limits_at(self, utc_ms: int) -> tuple[GridLimit, ...]:
        """Return the limits in force at a time."""
        return tuple(each for each in self.every_limit if each.from_ms <= utc_ms < each.until_ms)

    def part(self, kind: type[S]) -> S:
        """Return the fields that a kind of signal has."""
        return kind(**{name: getattr(self, name) for name in kind.__struct_fields__})


class TypedSlot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A slot as people write it: prices as decimal text per kWh. Integers, as in earlier files, are millionths."""

    start_ms: UtcMs
    duration_s: Annotated[int, Meta(ge=1, le=31 * 86400)]
    import_price: Decimals | MicroPerKwh
    export_compensation: Decimals | MicroPerKwh


class TypedGridSignal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A grid signal as people write it, which `parse_grid_signal` reads."""

    version: Annotated[int, Meta(ge=0, le=2**32 - 1)]
    issued_at_ms: UtcMs
    source: Annotated[str, Meta(min_length=1, max_length=64)]
    currency: Currency
    slots: Annotated[tuple[TypedSlot, ...], Meta(max_length=3000)]
    export_limit_w: Annotated[int, Meta(ge=0, le=10_000_000)]
    valid_until_ms: UtcMs
    site_import_limit_w: Annotated[int, Meta(ge=0, le=10_000_000)]
    connection_point: ConnectionPoint = ALL
    limits: Annotated[tuple[GridLimit, ...], Meta(max_length=1000)] = ()


class TypedPriceSlot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A slot of a tariff as people write it: prices are decimal text. Integers, as in journals, are millionths."""

    start_ms: UtcMs
    duration_ms: Annotated[int, Meta(ge=1, le=31 * 86_400_000)]
    import_price: Decimals | MicroPerKwh
    export_compensation: Decimals | MicroPerKwh


class TypedTariff(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tariff as people write it; otherwise as `tariff_set` of a journal has it."""

    currency: Currency
    slots: Annotated[tuple[TypedPriceSlot, ...], Meta(max_length=3000)]
    version: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0
    source: Annotated[str, Meta(max_length=64)] = ""

    def __post_init__(self) -> None:
        """Reject what `tariff` cannot return."""
        self.tariff()

    def tariff(self) -> Tariff:
        """Return the price series."""
        slots = tuple(
            PriceSlot(each.start_ms, each.duration_ms, _micro(each.import_price), _micro(each.export_compensation))
            for each in self.slots
        )
        return Tariff(currency=self.currency, slots=slots, version=self.version, source=self.source)

    @property
    def integer_price(self) -> int | None:
        """The first price that is an integer, which is read as millionths; None: all are decimal text."""
        prices = (price for each in self.slots for price in (each.import_price, each.export_compensation))
        return next((price for price in prices if isinstance(price, int)), None)


def _micro(price: str | int) -> int:
    return price if isinstance(price, int) else micro_of(price)


@overload
def parse_grid_signal(data: bytes) -> GridSignal: ...
@overload
def parse_grid_signal(data: bytes, kind: type[S]) -> S: ...
def parse_grid_signal(data: bytes, kind: type[PriceSignal] = GridSignal) -> PriceSignal:
    """Return a complete signal; prices may be decimal text, or integer micro-units.

    Raises CodecError naming the field (`$.slots[3].duration_s`).
    """
    if len(data) > MAX_SIGNAL_BYTES:
        raise CodecError(f"grid signal of {len(data)} bytes", hint=f"at most {MAX_SIGNAL_BYTES} bytes are accepted")
    try:
        fields, sent = (typed_json.decode(each, dict[str, object]) for each in (typed_json.whole_numbers(data), data))
        for slot, name in _typed_prices(fields):
            slot[name] = micro_of(slot[name])
        for slot, before in zip(_slots(fields), _slots(sent), strict=True):
            slot |= {name: before[name] for name in _PRICES if isinstance(before.get(name), float)}  # meant as EUR?
        signal = typed_json.convert(fields, kind)
        signal.tariff()
    except (msgspec.DecodeError, ValueError) as error:
        hint = 'see docs/reference for the fields of a grid signal; prices are decimal text, such as "0.30"'
        raise CodecError(f"grid signal: {error}", hint=hint) from None
    if isinstance(signal, ExportSignal) and signal.valid_until_ms <= signal.issued_at_ms:
        raise CodecError("grid signal: valid_until_ms must be after issued_at_ms")
    return signal


def has_integer_prices(data: bytes) -> bool:
    """Return whether a readable signal has prices as integers, as earlier ones have: millionths per kWh."""
    fields = typed_json.decode(data, dict[str, object])
    return bool(fields["slots"]) and not any(True for _ in _typed_prices(fields))


_PRICES: Final = ("import_price", "export_compensation")


def _slots(fields: dict[str, object]) -> list[Fields]:
    slots = fields.get("slots")
    return [each for each in slots if isinstance(each, dict)] if isinstance(slots, list) else []


def _typed_prices(fields: dict[str, object]) -> Iterator[tuple[Fields, str]]:
    """Yield the slots, and names of their prices, that are decimal text."""
    for slot in _slots(fields):
        for name in _PRICES:
            if isinstance(slot.get(name), str) and _DECIMALS.match(slot[name]):
                yield slot, name


def local_day(day: date, zone: tzinfo) -> tuple[int, int]:
    """Return the UTC ms at which a local calendar day starts and ends: 92, 96 or 100 quarter hours apart in Europe."""
    begin, end = (datetime(d.year, d.month, d.day, tzinfo=zone) for d in (day, day + timedelta(days=1)))
    return _utc_ms(begin), _utc_ms(end)


def _utc_ms(moment: datetime) -> int:
    return int(moment.astimezone(UTC).timestamp()) * 1000
