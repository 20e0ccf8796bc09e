"""One model for all limits and requests of power: signed watts with validity, source, priority and version, and with
alternating current the amperes of each line conductor.

Signs as everywhere: positive power flows from the charger into the vehicle. Limits are magnitudes, never negative. Each
source of limits (vehicle, charger, site, grid operator, CSMS) increments its own versions; an older one never replaces
a newer one, whatever order messages arrive in.
"""

import itertools
from collections.abc import Iterable
from typing import Annotated, Final

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from v2g.asn1.discharge import DischargeLimits
from v2g.energy.conductors import line_current_ma, line_power_w

Watts = Annotated[int, Meta(ge=0, le=10_000_000)]
MilliAmperes = Annotated[int, Meta(ge=0, le=10_000_000)]
SignedWatts = Annotated[int, Meta(ge=-10_000_000, le=10_000_000)]

VEHICLE, EVSE, SITE, OPERATOR = "vehicle", "evse", "site", "operator"
AUTHORIZATION = "authorization"
"""Source of the limit for an identifier that the back end no longer accepts."""
CABLE = "cable"
"""Source of the limit of a cable plugged into a socket-outlet."""
TEMPERATURE = "temperature"
"""Source of the limit of parts that are too warm or too cold for full power."""
PHASES = "phases"
"""Source of the limit while the conductors of an outlet change."""
SETPOINT = "setpoint"
"""Source of the limits that a set-point imposes on a schedule."""
MOST_W = 10_000_000
MOST_MA = 10_000_000


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """A source's limits in `[valid_from_ms, valid_until_ms)`; None is open-ended.

    An expired limit permits no discharging, as export is no longer approved, but still limits charging: stopping to
    charge because a message is late would help no one.

    With alternating current `charge_ma` and `discharge_ma` bound each line conductor; watts are the sum of all of them.
    None: the source bounds no conductor. Less power than `least_charge_w`, `least_discharge_w` the source cannot hold:
    where limits permit less, none flows.
    """

    source: str
    charge_w: Watts
    discharge_w: Watts
    least_charge_w: Watts = 0
    least_discharge_w: Watts = 0
    charge_ma: MilliAmperes | None = None
    discharge_ma: MilliAmperes | None = None
    version: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0
    valid_from_ms: int = 0
    valid_until_ms: int | None = None

    def discharge_at(self, utc_ms: int) -> int:
        """Return the discharging power, W, that this source permits at a time."""
        return self.discharge_w if self._live(utc_ms) else 0

    def discharge_ma_at(self, utc_ms: int) -> int | None:
        """Return the discharging current of a line conductor, mA, that this source permits at a time."""
        return self.discharge_ma if self._live(utc_ms) else 0

    def _live(self, utc_ms: int) -> bool:
        return self.valid_from_ms <= utc_ms and (self.valid_until_ms is None or utc_ms < self.valid_until_ms)

    def balanced(self, volts: int, lines: int) -> "Limit":
        """Return it for an outlet with so many line conductors, V between one and the neutral.

        A source that states watts alone states those of a balanced connection: each conductor carries its part, and
        a vehicle on one phase gets no more of it.
        """
        most_ma = line_current_ma(self.charge_w, volts, lines)
        least_ma = line_current_ma(self.discharge_w, volts, lines)
        return replace(
            self,
            charge_ma=min(MOST_MA, most_ma) if self.charge_ma is None else self.charge_ma,
            discharge_ma=min(MOST_MA, least_ma) if self.discharge_ma is None else self.discharge_ma,
        )


class Setpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A requested power: `power_w` > 0 charges, < 0 discharges. The highest `priority` wins, then the newest one."""

    power_w: SignedWatts
    source: str
    priority: int = 0
    version: Annotated[int, Meta(ge=0)] = 0
    valid_from_ms: int = 0
    valid_until_ms: int | None = None


def setpoint_limit(power_w: int | None, from_ms: int = 0) -> Limit:
    """Return a set-point, or None for none, as a limit for schedules from a time on: its power in its direction."""
    if power_w is None:
        return Limit(source=SETPOINT, charge_w=MOST_W, discharge_w=MOST_W, valid_from_ms=from_ms)
    charge_w, discharge_w = min(MOST_W, max(0, power_w)), min(MOST_W, max(0, -power_w))
    return Limit(source=SETPOINT, charge_w=charge_w, discharge_w=discharge_w, valid_from_ms=from_ms)


class EffectiveLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The smallest of all limits, in each direction, and the source of the smallest one; `charge_line` and
    `discharge_line` are those of each line conductor, as (mA, source), None without one."""

    charge_w: int
    discharge_w: int
    charge_source: str
    discharge_source: str
    charge_line: tuple[int, str] | None = None
    discharge_line: tuple[int, str] | None = None

    def over(self, lines: int, volts: int) -> "EffectiveLimits":
        """Return the limits of a vehicle that uses so many line conductors: no more power than they may carry."""
        powers = self
        if self.charge_line is not None:
            most_ma, source = self.charge_line
            powers = powers.at_most(source, charge_w=line_power_w(most_ma, volts, lines))
        if self.discharge_line is not None:
            most_ma, source = self.discharge_line
            powers = powers.at_most(source, discharge_w=line_power_w(most_ma, volts, lines))
        return powers

    def clamp(self, power_w: int) -> int:
        """Return the power nearest to `power_w` that the limits allow."""
        return max(-self.discharge_w, min(self.charge_w, power_w))

    def at_most(self, source: str, charge_w: int | None = None, discharge_w: int | None = None) -> "EffectiveLimits":
        """Return these limits lowered to those of one more source, which is named where it is the smaller one.

        None limits nothing; a negative limit counts as 0.
        """
        most_w = self.charge_w if charge_w is None else min(self.charge_w, max(0, charge_w))
        most_out_w = self.discharge_w if discharge_w is None else min(self.discharge_w, max(0, discharge_w))
        if (most_w, most_out_w) == (self.charge_w, self.discharge_w):
            return self
        return replace(
            self,
            charge_w=most_w,
            discharge_w=most_out_w,
            charge_source=source if most_w < self.charge_w else self.charge_source,
            discharge_source=source if most_out_w < self.discharge_w else self.discharge_source,
        )


def effective_limits(limits: Iterable[Limit], utc_ms: int) -> EffectiveLimits:
    """Return the smallest limits at a time; the first of equal ones counts. No limit at all allows 0 W."""
    limits = list(limits)
    if not limits:
        return EffectiveLimits(charge_w=0, discharge_w=0, charge_source="none", discharge_source="none")
    charge = min(limits, key=lambda limit: limit.charge_w)
    discharge = min(limits, key=lambda limit: limit.discharge_at(utc_ms))
    charge_w, discharge_w = max(0, charge.charge_w), max(0, discharge.discharge_at(utc_ms))
    return EffectiveLimits(
        charge_w=0 if charge_w < max(each.least_charge_w for each in limits) else charge_w,
        discharge_w=0 if discharge_w < max(each.least_discharge_w for each in limits) else discharge_w,
        charge_source=charge.source,
        discharge_source=discharge.source,
        charge_line=_smallest((each.charge_ma, each.source) for each in limits),
        discharge_line=_smallest((each.discharge_ma_at(utc_ms), each.source) for each in limits),
    )


def _smallest(currents: Iterable[tuple[int | None, str]]) -> tuple[int, str] | None:
    """Return the first of the smallest currents that are known, with its source."""
    known = ((current, source) for current, source in currents if current is not None)
    return min(known, key=lambda each: each[0], default=None)


LimitsOverTime = tuple[tuple[int, int, EffectiveLimits], ...]
"""Start and end (UTC ms) of consecutive times, each with its limits."""


def limits_over(limits: Iterable[Limit], start_ms: int, end_ms: int) -> LimitsOverTime:
    """Return the limits over time, as (start, end, limits) from `start_ms` to `end_ms` without gaps.

    A source may have several limits: each applies from its `valid_from_ms` until that of the next one.
    """
    by_source: dict[str, list[Limit]] = {}
    for limit in sorted(limits, key=lambda each: each.valid_from_ms):
        by_source.setdefault(limit.source, []).append(limit)
    edges = {start_ms, end_ms}
    for series in by_source.values():
        edges |= {each.valid_from_ms for each in series}
        edges |= {each.valid_until_ms for each in series if each.valid_until_ms is not None}
    cuts = sorted(edge for edge in edges if start_ms <= edge <= end_ms)
    return tuple(
        (begin, end, effective_limits([_in_force(series, begin) for series in by_source.values()], begin))
        for begin, end in itertools.pairwise(cuts)
    )


def _in_force(series: list[Limit], utc_ms: int) -> Limit:
    begun = [each for each in series if each.valid_from_ms <= utc_ms]
    return begun[-1] if begun else series[0]


class LimitBook:
    """The newest limit of each source. Only the core that owns it writes to it."""

    def __init__(self, limits: Iterable[Limit] = ()) -> None:
        self._limits: dict[str, Limit] = {}
        self._known: dict[str, tuple[int, float, EffectiveLimits]] = {}
        for limit in limits:
            self.update(limit)

    def update(self, limit: Limit) -> bool:
        """Store a limit and return True, unless a newer version of its source is known. Equal versions replace."""
        known = self._limits.get(limit.source)
        if known is not None and limit.version < known.version:
            return False
        self._limits[limit.source] = limit
        self._known.clear()
        return True

    def get(self, source: str) -> Limit | None:
        """Return the newest limit of a source."""
        return self._limits.get(source)

    @property
    def all(self) -> tuple[Limit, ...]:
        """The newest limits of all sources."""
        return tuple(self._limits.values())

    def effective(self, utc_ms: int, *, without: str = "") -> EffectiveLimits:
        """Return the limits of all sources together, or of all but one, at a time."""
        known = self._known.get(without)
        if known is not None:  # read for every message, and changed a few times per session
            begin, end, effective = known
            if begin <= utc_ms < end:
                return effective
        effective = effective_limits((each for each in self._limits.values() if each.source != without), utc_ms)
        change = self.next_change_ms(utc_ms)
        self._known[without] = utc_ms, float("inf") if change is None else change, effective
        return effective

    def discharge_limits(self, utc_ms: int) -> DischargeLimits:
        """Return the four limits of a discharge offer; a source without a limit allows 0 W."""
        watts = {source: self._discharge(source, utc_ms) for source in (VEHICLE, EVSE, SITE, OPERATOR)}
        operator = self._limits.get(OPERATOR)
        return discharge_limits(
            ev_w=watts[VEHICLE],
            evse_w=watts[EVSE],
            site_w=watts[SITE],
            operator_w=watts[OPERATOR],
            operator_version=operator.version if operator else 0,
            source=self.effective(utc_ms).discharge_source,
        )

    def next_change_ms(self, utc_ms: int) -> int | None:
        """Return the first time after `utc_ms` at which a validity starts or ends."""
        edges = [e for x in self._limits.values() for e in (x.valid_from_ms, x.valid_until_ms) if e is not None]
        return min((edge for edge in edges if edge > utc_ms), default=None)

    def _discharge(self, source: str, utc_ms: int) -> int:
        limit = self._limits.get(source)
        return limit.discharge_at(utc_ms) if limit else 0


def discharge_limits(
    *, ev_w: int, evse_w: int, site_w: int, operator_w: int, operator_version: int = 0, source: str = ""
) -> DischargeLimits:
    """Return the limits of an offer (W of discharge); negative values count as 0."""
    watts = [max(0, w) for w in (ev_w, evse_w, site_w, operator_w)]
    return DischargeLimits(
        ev_w=watts[0],
        evse_w=watts[1],
        site_w=watts[2],
        operator_w=watts[3],
        max_discharge_w=min(watts),
        operator_version=operator_version,
        source=source[:64],
    )


def choose_setpoint(setpoints: Iterable[Setpoint], utc_ms: int) -> Setpoint | None:
    """Return the set-point in force: valid, with the highest priority, of those the newest version."""
    live = [
        s for s in setpoints if s.valid_from_ms <= utc_ms and (s.valid_until_ms is None or utc_ms < s.valid_until_ms)
    ]
    return max(live, key=lambda s: (s.priority, s.version), default=None)


class GridResponse(msgspec.Struct, frozen=True):
    """Required change of power for the grid: a shift by `delta_w`, limited to `floor_w` (below 0: the most that may
    leave the vehicle; above 0: the least that must enter it) and `ceiling_w` (the most that may enter it; None means no
    limit), rising by at most `ramp_percent` of the rating per second (0: at once). `trip`: the grid's time for that is
    over; mains are disconnected, and no vehicle is asked."""

    delta_w: int = 0
    floor_w: int | None = None
    ceiling_w: int | None = None
    ramp_percent: float = 0.0
    trip: bool = False

    def beside(self, other: "GridResponse") -> "GridResponse":
        """Return what both require at once: the sum of shifts, and of limits those that leave less."""
        floors = [each.floor_w for each in (self, other) if each.floor_w is not None]
        ceilings = [each.ceiling_w for each in (self, other) if each.ceiling_w is not None]
        return GridResponse(
            delta_w=self.delta_w + other.delta_w,
            floor_w=max(floors, default=None),
            ceiling_w=min(ceilings, default=None),
            ramp_percent=min((each.ramp_percent for each in (self, other) if each.ramp_percent), default=0.0),
            trip=self.trip or other.trip,
        )

    def bend(self, power_w: int) -> int:
        """Return the changed power, as far as it can flow."""
        bent = power_w + self.delta_w
        bent = bent if self.floor_w is None else max(bent, self.floor_w)
        return bent if self.ceiling_w is None else min(bent, self.ceiling_w)


NO_RESPONSE: Final = GridResponse()
"""The grid requires no change."""
