"""When an EVSE worked, by the definition of a regulation (R185). Pure; times are ms of UTC, sums exact."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from operator import attrgetter, itemgetter
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

from v2g.units import HOUR_MS

Cause = Literal["grid", "vehicle", "maintenance", "vandalism", "disaster", "closed", "provider"]
"""Why an outage may not count: no supply, the vehicle, planned maintenance, vandalism, a natural disaster, outside the
opening hours, the communication provider."""


class UptimeRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A definition of uptime: named, dated, with its source."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,39}\Z", examples=["nevi"])]
    """By which requests name it."""
    title: Annotated[str, Meta(min_length=1, max_length=100)]
    """What people read."""
    source: Annotated[str, Meta(min_length=1, max_length=300)]
    """Regulation or contract that defines it."""
    read: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}\Z", examples=["2026-11-26"])]
    """When its source was read."""
    target_percent: Annotated[float, Meta(gt=0, le=100)]
    """What has to be reached."""
    of: Literal["each", "average"] = "each"
    """Whether each EVSE has to reach the target, or all on average."""
    days: Annotated[int, Meta(ge=1, le=366)] = 365
    """Length of the period, by default that before now."""
    offline: Literal["counts", "does not count"] = "counts"
    """Whether a station that is not connected counts as an outage; where not, it is none whatever it was before."""
    not_working: tuple[Literal["Faulted", "Unavailable"], ...] = ("Faulted", "Unavailable")
    """States of a connector that count as an outage; an EVSE works while one of its connectors does."""
    excluded: tuple[Cause, ...] = ()
    """Causes that do not count, where an operator has recorded them with evidence."""
    most_hours: Mapping[Cause, Annotated[int, Meta(ge=1, le=8784)]] = {}
    """How many hours of a cause may be left out of a period; the earliest are."""


PRESETS: Final[Mapping[str, UptimeRules]] = {
    each.name: each
    for each in (
        UptimeRules(
            name="nevi",
            title="NEVI, United States",
            source="23 CFR 680.116(b), but of the known time, not of 525,600 minutes; causes partly general knowledge",
            read="2026-11-26",
            target_percent=97,
            excluded=("grid", "vehicle", "maintenance", "vandalism", "disaster", "closed"),
        ),
        UptimeRules(
            name="california",
            title="California",
            source="California Energy Commission, from summaries; vandalism 10 days, maintenance 72 h, of a period",
            read="2026-11-26",
            target_percent=97,
            excluded=("grid", "maintenance", "vandalism", "disaster"),
            most_hours={"maintenance": 72, "vandalism": 240},
        ),
        UptimeRules(
            name="uk-2023",
            title="United Kingdom, rapid network",
            source="SI 2023/1168, of points of at least 50 kW; here all count, unless sites limit who asks",
            read="2026-11-26",
            target_percent=99,
            of="average",
            offline="does not count",
            excluded=("closed",),
        ),
        UptimeRules(
            name="strict",
            title="Every minute",
            source="ours: nothing is left out",
            read="2026-11-26",
            target_percent=99.9,
        ),
    )
}


class Status(msgspec.Struct, frozen=True, gc=False):
    """A connector's status from a time on; there are millions, so none is of interest to the garbage collector."""

    connector_id: int
    at_ms: int
    status: str


class TimeSpan(NamedTuple):
    """A time from a moment until before another one."""

    from_ms: int
    to_ms: int


class Exclusion(NamedTuple):
    """A time that may not count, and why."""

    span: TimeSpan
    cause: Cause


class EvseOutage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An EVSE did not work: from when until when (UTC, ms; `to_ms`: the period's end if it lasts), why, and how much of
    it (ms) does not count."""

    from_ms: int
    to_ms: int
    why: Literal["faulted", "unavailable", "offline"]
    excluded_ms: int = 0

    @property
    def counts_ms(self) -> int:
        return self.to_ms - self.from_ms - self.excluded_ms


class Uptime(NamedTuple):
    """An EVSE in a period: for how long it is known (ms), what counts as outage and what was left out, and each."""

    known_ms: int
    outage_ms: int
    excluded_ms: int
    outages: tuple[EvseOutage, ...]

    @property
    def share(self) -> Fraction | None:
        """The part of the known time without what counts as outage; None if nothing is known."""
        return Fraction(self.known_ms - self.outage_ms, self.known_ms) if self.known_ms else None


def uptime(
    rules: UptimeRules,
    period: TimeSpan,
    history: Iterable[Status],
    offline: Iterable[TimeSpan],
    exclusions: Iterable[Exclusion] = (),
    blind: Iterable[TimeSpan] = (),
    charged: Iterable[TimeSpan] = (),
) -> Uptime:
    """Return the uptime of an EVSE whose connectors had these states, while its station was `offline` at times.

    Time before the first state is not known. What a station reports later of a time when it was offline counts: while a
    connector was Occupied then, it worked, as it did while it `charged` in sessions. While the back end itself was
    `blind`, stations count as connected.
    """
    events = sorted(history, key=attrgetter("at_ms", "connector_id"))
    if not events:
        return Uptime(0, 0, 0, ())
    others, sessions = _joined(blind), _joined(charged)
    gaps = [(seen, gap.from_ms) for gap in _joined(offline) for seen in _minus((gap,), others)]
    """When it was offline while the back end looked, and since when it was."""
    begin = max(period.from_ms, events[0].at_ms)
    edges = {begin, period.to_ms} | {each.at_ms for each in events}
    edges |= {edge for span in (*(gap for gap, _ in gaps), *sessions) for edge in span}
    marks = sorted([edge for edge in edges if begin <= edge <= period.to_ms])
    states: dict[int, Status] = {}
    told, count = 0, len(events)
    found: list[EvseOutage] = []
    gap = session = 0
    for start, end in pairwise(marks):
        while told < count and (event := events[told]).at_ms <= start:
            states[event.connector_id] = event
            told += 1
        while gap < len(gaps) and gaps[gap][0].to_ms <= start:
            gap += 1
        while session < len(sessions) and sessions[session].to_ms <= start:
            session += 1
        if session < len(sessions) and sessions[session].from_ms <= start:
            continue
        away_ms = gaps[gap][1] if gap < len(gaps) and gaps[gap][0].from_ms <= start else None
        why = _why(rules, states.values(), away_ms)
        if why is None:
            continue
        if found and found[-1].to_ms == start and found[-1].why == why:
            found[-1] = msgspec.structs.replace(found[-1], to_ms=end)
        else:
            found.append(EvseOutage(from_ms=start, to_ms=end, why=why))
    outages = _excluded(rules, found, exclusions)
    return Uptime(
        known_ms=max(0, period.to_ms - begin),
        outage_ms=sum(each.counts_ms for each in outages),
        excluded_ms=sum(each.excluded_ms for each in outages),
        outages=outages,
    )


def _why(
    rules: UptimeRules, states: Iterable[Status], away_ms: int | None
) -> Literal["faulted", "unavailable", "offline"] | None:
    """Return why an EVSE does not work, None if it does; its station is offline since `away_ms`."""
    faulted = False
    if away_ms is not None and rules.offline == "does not count":
        return None  # whatever it was before: its state is unknown
    for each in states:  # loops, for this is called for each change of a year
        if away_ms is not None:
            if each.status == "Occupied" and each.at_ms >= away_ms:
                return None
        elif each.status not in rules.not_working:
            return None
        faulted = faulted or each.status == "Faulted"
    return "offline" if away_ms is not None else "faulted" if faulted else "unavailable"


def _excluded(
    rules: UptimeRules, found: Sequence[EvseOutage], exclusions: Iterable[Exclusion]
) -> tuple[EvseOutage, ...]:
    """Return outages with what does not count of each; of causes with a maximum the earliest."""
    given = tuple(exclusions)
    if not given:
        return tuple(found)
    left = {cause: rules.most_hours[cause] * HOUR_MS for cause in rules.most_hours}
    excluded = {number: list[TimeSpan]() for number in range(len(found))}
    for cause in rules.excluded:
        spans = _joined(each.span for each in given if each.cause == cause)
        for number, outage in enumerate(found):
            own = _minus(within(spans, outage.from_ms, outage.to_ms), excluded[number])
            for span in own:
                length = min(span.to_ms - span.from_ms, left.get(cause, span.to_ms - span.from_ms))
                if cause in left:
                    left[cause] -= length
                if length:
                    excluded[number] = _joined((*excluded[number], TimeSpan(span.from_ms, span.from_ms + length)))
    return tuple(
        msgspec.structs.replace(outage, excluded_ms=sum(each.to_ms - each.from_ms for each in excluded[number]))
        for number, outage in enumerate(found)
    )


_FROM_MS, _TO_MS = itemgetter(0), itemgetter(1)


def _joined(spans: Iterable[TimeSpan]) -> list[TimeSpan]:
    """Return spans in their order, without empty ones, those that meet as one."""
    found: list[TimeSpan] = []
    for span in sorted(each for each in spans if each.from_ms < each.to_ms):
        if found and span.from_ms <= found[-1].to_ms:
            found[-1] = TimeSpan(found[-1].from_ms, max(found[-1].to_ms, span.to_ms))
        else:
            found.append(span)
    return found


def within(spans: Iterable[TimeSpan], from_ms: int, to_ms: int) -> list[TimeSpan]:
    """Return what of `spans` is between two moments."""
    cut = (TimeSpan(max(each.from_ms, from_ms), min(each.to_ms, to_ms)) for each in spans)
    return [each for each in cut if each.from_ms < each.to_ms]


def _minus(spans: Iterable[TimeSpan], others: Sequence[TimeSpan]) -> list[TimeSpan]:
    """Return what is in `spans` and in none of the others; both joined."""
    found: list[TimeSpan] = []
    for span in spans:
        begin = span.from_ms
        for other in others[bisect_right(others, begin, key=_TO_MS) : bisect_left(others, span.to_ms, key=_FROM_MS)]:
            if other.from_ms > begin:
                found.append(TimeSpan(begin, other.from_ms))
            begin = max(begin, other.to_ms)
        if begin < span.to_ms:
            found.append(TimeSpan(begin, span.to_ms))
    return found


def percent(share: Fraction | None) -> str | None:
    """Return a share as percent with three digits, rounded down: a target is never reached by rounding."""
    if share is None:
        return None
    thousandths = share.numerator * 100_000 // share.denominator
    return f"{thousandths // 1000}.{thousandths % 1000:03}"


def mean(shares: Iterable[Fraction | None]) -> Fraction | None:
    """Return the average of the known shares, each rounded down to 10⁻¹², which keeps the denominator small; None
    without one."""
    known = [each.numerator * _PARTS // each.denominator for each in shares if each is not None]
    return Fraction(sum(known), len(known) * _PARTS) if known else None


_PARTS: Final = 10**12
