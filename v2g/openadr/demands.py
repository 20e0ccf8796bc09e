"""The demands of a program's events on a site, now and later: prices, limits, a set-point, alerts.

Of overlapping events the one with the lowest `priority` applies, then the one modified last; of capacity limits the
lowest one applies, whatever its priority.
"""

import itertools
import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from v2g.asn1.discharge import PriceSlot
from v2g.energy.limits import MOST_W
from v2g.errors import CodecError
from v2g.openadr.objects import Event, EventPayloadDescriptor, Program
from v2g.openadr.timing import FOREVER, MAX_SEGMENTS, TimedSegment, parse_time, segments
from v2g.units import HOUR_MS

PRICE, EXPORT_PRICE = "PRICE", "EXPORT_PRICE"
IMPORT_LIMIT, EXPORT_LIMIT = "IMPORT_CAPACITY_LIMIT", "EXPORT_CAPACITY_LIMIT"
_CAPACITIES: Final = (IMPORT_LIMIT, EXPORT_LIMIT)
SETPOINT = "DISPATCH_SETPOINT"
ALERTS: Final = ("ALERT_GRID_EMERGENCY", "ALERT_BLACK_START", "ALERT_POSSIBLE_OUTAGE", "ALERT_FLEX_ALERT")
EMERGENCIES: Final = ALERTS[:2]

_WATTS: Final = {"KW": 1000.0, "W": 1.0, "MW": 1e6}
_MICRO_PER_KWH: Final = {"KWH": 1e6, "MWH": 1e3}
_MOST_SLOTS: Final = 3000  # of a grid signal
_MOST_PRICE: Final = 2**53 - 1


class GridAlert(msgspec.Struct, frozen=True):
    """An alert in force."""

    type: str
    text: str
    event_id: str
    until_ms: int


class Demands(msgspec.Struct, frozen=True, kw_only=True):
    """Demands in force at `at_ms`, until `until_ms` at least; prices also for later. None: not set by any event.

    Limits and set-point in W, a positive set-point into the vehicles, with the time of their next change; prices in
    micro-units of `currency` per kWh.
    `problems` describes unusable values. An unusable export limit is 0 W.
    """

    at_ms: int
    until_ms: int
    currency: str | None
    prices: tuple[PriceSlot, ...]
    import_limit_w: int | None
    export_limit_w: int | None
    export_until_ms: int
    setpoint_w: int | None
    setpoint_until_ms: int
    alerts: tuple[GridAlert, ...] = ()
    problems: tuple[str, ...] = ()


def demands(
    programs: Sequence[Program], events: Sequence[Event], at_ms: int, *, horizon_ms: int, ven_name: str
) -> Demands:
    """Return the demands of events at a time, and their prices for the `horizon_ms` that follow.

    Prices start at whole hours, so that the same events give the same prices within an hour. Events of other programs
    than `programs` are ignored.
    """
    reader = _EventReading(programs, events, at_ms, horizon_ms, ven_name)
    import_limit, import_until = reader.least(IMPORT_LIMIT)
    export_limit, export_until = reader.least(EXPORT_LIMIT)
    setpoint, setpoint_until = reader.foremost(SETPOINT)
    currency, prices = reader.prices()
    alerts = reader.alerts()
    untils = [import_until, export_until, setpoint_until, *(alert.until_ms for alert in alerts)]
    return Demands(
        at_ms=at_ms,
        until_ms=min(*untils, at_ms - at_ms % HOUR_MS + HOUR_MS),
        currency=currency,
        prices=prices,
        import_limit_w=import_limit,
        export_limit_w=export_limit,
        export_until_ms=export_until,
        setpoint_w=setpoint[0] if setpoint else None,
        setpoint_until_ms=setpoint_until,
        alerts=alerts,
        problems=tuple(dict.fromkeys(reader.problems)),
    )


class _EventReading:
    def __init__(
        self, programs: Sequence[Program], events: Iterable[Event], at_ms: int, horizon_ms: int, ven_name: str
    ) -> None:
        self._programs = {program.id: program for program in programs}
        self._events = [event for event in events if event.program_id in self._programs]
        self._at_ms, self._ven_name = at_ms, ven_name
        self._from_ms = at_ms - at_ms % HOUR_MS
        self._until_ms = -(-(at_ms + horizon_ms) // HOUR_MS) * HOUR_MS
        self.problems: list[str] = []

    def least(self, kind: str) -> tuple[int | None, int]:
        """Return the lowest power (W) in force, and when this changes next."""
        found = self._segments(kind, unusable=0.0 if kind == EXPORT_LIMIT else None)
        powers = [(segment, self._watts(segment, kind)) for segment in found]
        in_force = [watts for segment, watts in powers if self._in_force(segment) and watts is not None]
        return (max(0, min(in_force)) if in_force else None), self._next_change(found)

    def foremost(self, kind: str) -> tuple[tuple[int, str] | None, int]:
        """Return the power (W) and the id of the first-ranked event in force, and when this changes next."""
        found = self._segments(kind)
        for segment in sorted((each for each in found if self._in_force(each)), key=_rank):
            watts = self._watts(segment, kind)
            if watts is not None:
                return (watts, segment.event.id), self._next_change(found)
        return None, self._next_change(found)

    def prices(self) -> tuple[str | None, tuple[PriceSlot, ...]]:
        """Return the currency and the prices of this hour and later. Export without a price earns nothing."""
        bought, sold = self._segments(PRICE), self._segments(EXPORT_PRICE)
        currencies = {
            self._descriptor(each.event, kind).currency
            for kind, of_kind in ((PRICE, bought), (EXPORT_PRICE, sold))
            for each in of_kind
        }
        currencies.discard(None)
        if len(currencies) > 1:
            self.problems.append(f"prices in several currencies: {', '.join(sorted(map(str, currencies)))}")
            return None, ()
        edges = {self._from_ms, self._until_ms} | {
            edge for each in (*bought, *sold) for edge in (each.start_ms, each.end_ms)
        }
        cuts = sorted(edge for edge in edges if self._from_ms <= edge <= self._until_ms)
        series = zip(
            itertools.pairwise(cuts),
            self._laid_out(bought, PRICE, cuts),
            self._laid_out(sold, EXPORT_PRICE, cuts),
            strict=False,
        )
        slots: list[PriceSlot] = []
        for (start, end), buy, sell in series:
            if buy is None:
                continue
            last = slots[-1] if slots else None
            if (
                last is not None
                and last.end_ms == start
                and (last.import_price, last.export_compensation) == (buy, sell or 0)
            ):
                start = slots.pop().start_ms
            slots.append(PriceSlot(start, end - start, buy, sell or 0))
        return next(iter(currencies), None), tuple(slots[:_MOST_SLOTS])

    def alerts(self) -> tuple[GridAlert, ...]:
        """Return the alerts in force."""
        return tuple(
            GridAlert(kind, str(each.value)[:256], each.event.id, each.end_ms)
            for kind in ALERTS
            for each in self._segments(kind)
            if self._in_force(each)
        )

    def _segments(self, kind: str, *, unusable: float | None = None) -> list[TimedSegment]:
        """Return the values of one type that have not ended; `unusable` replaces those of unreadable events."""
        found: list[TimedSegment] = []
        for event in self._events:
            if not any(payload.type == kind for interval in event.intervals for payload in interval.payloads):
                continue
            try:
                if kind in _CAPACITIES and not all(_values(event, kind)):
                    raise CodecError(f"an interval of {kind} has no values")
                found += segments(event, kind, self._from_ms, self._until_ms, ven_name=self._ven_name)
                if len(found) > MAX_SEGMENTS:
                    raise CodecError(f"more than {MAX_SEGMENTS} intervals of {kind} with those of other events")
            except CodecError as error:
                self.problems.append(f"event {event.id}: {error}")
                del found[MAX_SEGMENTS:]
                if unusable is not None:
                    found.append(TimedSegment(self._at_ms, FOREVER, unusable, event))
        return found

    def _in_force(self, segment: TimedSegment) -> bool:
        return segment.start_ms <= self._at_ms < segment.end_ms

    def _next_change(self, found: Sequence[TimedSegment]) -> int:
        edges = [edge for each in found for edge in (each.start_ms, each.end_ms)]
        return min((edge for edge in edges if edge > self._at_ms), default=FOREVER)

    def _laid_out(self, found: Sequence[TimedSegment], kind: str, cuts: Sequence[int]) -> list[int | None]:
        """Return the price from each cut on; of several events the first-ranked one applies."""
        prices: list[int | None] = [None] * len(cuts)
        for segment in sorted(found, key=_rank, reverse=True):
            value = self._scaled(segment, kind, _MICRO_PER_KWH, default="KWH")
            if value is not None and abs(value) <= _MOST_PRICE:
                place = slice(bisect_left(cuts, segment.start_ms), bisect_left(cuts, segment.end_ms))
                prices[place] = [round(value)] * len(prices[place])
        return prices

    def _watts(self, segment: TimedSegment, kind: str) -> int | None:
        value = self._scaled(segment, kind, _WATTS, default="KW")
        if value is None:
            return 0 if kind == EXPORT_LIMIT else None
        return round(max(-MOST_W, min(MOST_W, value)))

    def _scaled(self, segment: TimedSegment, kind: str, factors: dict[str, float], *, default: str) -> float | None:
        units = self._descriptor(segment.event, kind).units or default
        factor = factors.get(units.upper())
        if factor is None or isinstance(segment.value, bool | str) or not math.isfinite(segment.value):
            what = f"unit {units[:20]!r}" if factor is None else f"value {str(segment.value)[:40]!r}"
            self.problems.append(f"event {segment.event.id}: {kind} has the {what}, which is not supported")
            return None
        return segment.value * factor

    def _descriptor(self, event: Event, kind: str) -> EventPayloadDescriptor:
        """Return unit and currency of a type: the event's, else the program's."""
        program = self._programs[event.program_id]
        for descriptors in (event.payload_descriptors, program.payload_descriptors):
            for each in descriptors or ():
                if each.payload_type == kind and each.object_type == "EVENT_PAYLOAD_DESCRIPTOR":
                    return each
        return EventPayloadDescriptor(payload_type=kind)


def _rank(segment: TimedSegment) -> tuple[float, int, str]:
    """Return the sort key: the event that applies comes first."""
    event = segment.event
    priority = math.inf if event.priority is None else event.priority
    try:
        modified = parse_time(event.modification_date_time) or 0
    except CodecError:
        modified = 0
    return priority, -modified, event.id


def _values(event: Event, kind: str) -> list[bool]:
    """Return of each payload of a type whether it has values."""
    return [
        bool(payload.values) for interval in event.intervals for payload in interval.payloads if payload.type == kind
    ]
