"""Cuts a transaction wherever one of its prices may change (block I of OCPP 2.1).

That is at readings, when charging starts or pauses, by clock and calendar, and where energy or time passes a bound;
energy at a bound is split to the mWh. Within a piece each kind of charge has one rate.
"""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from itertools import pairwise
from typing import Literal

import msgspec

from v2g.energy.price_plan import PricePlan, Use
from v2g.energy.settlement.intervals import Registers, Timeline
from v2g.units import HOUR_MS


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """The use in a transaction, up to `end_ms`. Times are UTC ms, in order.

    `readings`: both registers (mWh), never falling. `charging`: starts and pauses of the energy flow. `currents`:
    changes of the current (A over all phases). `powers`: changes of the power (W) where it is known otherwise than by
    the readings. `reserved_ms`: when the EVSE was reserved for it, if it was.
    """

    start_ms: int
    end_ms: int
    readings: tuple[Registers, ...] = ()
    charging: tuple[tuple[int, bool], ...] = ()
    currents: tuple[tuple[int, int], ...] = ()
    powers: tuple[tuple[int, int], ...] = ()
    reserved_ms: int | None = None
    evse_kind: Literal["AC", "DC"] | None = None
    payment_brand: str | None = None
    payment_recognition: str | None = None


class Progress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The progress of a transaction: what the conditions of its rest need of its past.

    `first_mwh` is the import register at which energy starts to count. `idle_ms` is the length of the current pause.
    """

    start_ms: int
    last: Registers
    first_mwh: int
    charged_ms: int = 0
    idle_ms: int = 0


class Piece(msgspec.Struct, frozen=True):
    """A part of a transaction within which no rate changes."""

    begin: Registers
    end: Registers
    charging: bool
    use: Use

    @property
    def length_ms(self) -> int:
        """How long it lasted."""
        return self.end.utc_ms - self.begin.utc_ms

    @property
    def energy_mwh(self) -> int:
        """Energy taken in it."""
        return self.end.import_mwh - self.begin.import_mwh

    @property
    def export_mwh(self) -> int:
        """Energy fed back in it."""
        return self.end.export_mwh - self.begin.export_mwh


def zone_of(name: str) -> tzinfo:
    """Return a time zone by its IANA name or its fixed offset (`+01:00`). Raises ValueError for others.

    UTC needs no time zone data of this machine.
    """
    if name == "UTC":
        return UTC
    try:
        if name[:1] in ("+", "-"):
            offset = datetime.fromisoformat(f"2000-01-01T00:00:00{name}").tzinfo
            assert offset is not None
            return offset
        from zoneinfo import ZoneInfo  # slow to load

        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"unknown time zone {name!r}") from None


def begin(usage: Usage) -> Progress:
    """Return the progress at the start of a transaction."""
    first = _bounded(usage)[0]
    return Progress(start_ms=usage.start_ms, last=first, first_mwh=first.import_mwh)


def cut(
    plans: Sequence[tuple[int, PricePlan]], zones: Sequence[tzinfo], usage: Usage, before: Progress
) -> tuple[list[Piece], Progress]:
    """Return the use since `before`, in pieces within which no rate can change, and the progress after it."""
    # the registers at the start, the end, and every cut between
    readings = _split_energy(_bounded(usage), before.first_mwh, bounds(plans, "energy_wh", 1000))
    timeline = Timeline(readings)
    cuts = {since for since, _ in plans} | {at for at, _ in usage.charging} | {at for at, _ in usage.currents}
    cuts |= {before.start_ms + bound for bound in bounds(plans, "time_s", 1000)}
    cuts |= _run_cuts(usage, before, bounds(plans, "charging_s", 1000), bounds(plans, "idle_s", 1000))
    for (_, plan), zone in zip(plans, zones, strict=True):
        cuts |= plan.clock_cuts(usage.start_ms, usage.end_ms, zone)
    known = {reading.utc_ms for reading in readings}
    more = [timeline.at(cut) for cut in cuts if usage.start_ms < cut < usage.end_ms and cut not in known]
    points = sorted([*readings, *more], key=lambda point: (point.utc_ms, point.import_mwh, point.export_mwh))
    powers = usage.powers or _powers(_bounded(usage))
    power_since = [at for at, _ in powers]
    charging_since = [at for at, _ in usage.charging]
    current_since = [at for at, _ in usage.currents]
    pieces = []
    charged, idle = before.charged_ms, before.idle_ms
    for first, end in pairwise(points):
        charging = _state(charging_since, usage.charging, first.utc_ms)
        length = end.utc_ms - first.utc_ms
        use = facts(
            usage,
            energy_mwh=first.import_mwh - before.first_mwh,
            power_w=_state(power_since, powers, first.utc_ms),
            current_a=_state(current_since, usage.currents, first.utc_ms),
            time_ms=first.utc_ms - before.start_ms,
            charging_ms=charged,
            idle_ms=0 if charging else idle,
        )
        pieces.append(Piece(first, end, bool(charging), use))
        charged, idle = (charged + length, 0) if charging else (charged, idle + length)
    after = msgspec.structs.replace(before, last=points[-1], charged_ms=charged, idle_ms=idle)
    return pieces, after


def facts(usage: Usage, **more: int) -> Use:
    """Return the inputs of conditions, with those of the whole transaction."""
    return Use(
        evse_kind=usage.evse_kind,
        payment_brand=usage.payment_brand,
        payment_recognition=usage.payment_recognition,
        **more,
    )


def _powers(readings: Sequence[Registers]) -> list[tuple[int, int]]:
    """Return the changes of power (W): the mean between readings."""
    return [
        (first.utc_ms, (end.import_mwh - first.import_mwh) * HOUR_MS // (1000 * (end.utc_ms - first.utc_ms)))
        for first, end in pairwise(readings)
        if end.utc_ms > first.utc_ms
    ]


def _state(since: Sequence[int], states: Sequence[tuple[int, int]], at: int) -> int:
    index = bisect_right(since, at) - 1
    return int(states[index][1]) if index >= 0 else 0


def _bounded(usage: Usage) -> list[Registers]:
    """Return the readings within the transaction, with one at its start and one at its end."""
    inside = [reading for reading in usage.readings if usage.start_ms <= reading.utc_ms <= usage.end_ms]
    if not inside:
        return [Registers(usage.start_ms, 0, 0), Registers(usage.end_ms, 0, 0)]
    first, last = inside[0], inside[-1]
    if first.utc_ms > usage.start_ms:
        inside.insert(0, Registers(usage.start_ms, first.import_mwh, first.export_mwh, "interpolated"))
    if last.utc_ms < usage.end_ms or len(inside) == 1:
        inside.append(Registers(usage.end_ms, last.import_mwh, last.export_mwh, "interpolated"))
    return inside


def _split_energy(readings: list[Registers], first: int, bounds: set[int]) -> list[Registers]:
    """Insert a reading where the energy taken since the register `first` reaches each bound (mWh), at that very mWh."""
    if not bounds:
        return readings
    split = [readings[0]]
    for before, after in pairwise(readings):
        flow = after.import_mwh - before.import_mwh
        for bound in sorted(first + each for each in bounds):
            if before.import_mwh < bound < after.import_mwh:
                part = bound - before.import_mwh
                at = before.utc_ms + (after.utc_ms - before.utc_ms) * part // flow
                exported = before.export_mwh + (after.export_mwh - before.export_mwh) * part // flow
                split.append(Registers(at, bound, exported, "interpolated"))
        split.append(after)
    return split


def _run_cuts(usage: Usage, before: Progress, charging: set[int], idle: set[int]) -> set[int]:
    """Return when the total charging time, and each pause by itself, reaches a bound (ms)."""
    cuts = set()
    charged, paused = before.charged_ms, before.idle_ms
    runs = [(usage.start_ms, False), *usage.charging, (usage.end_ms, False)]
    for (first, flows), (end, _) in pairwise(runs):
        length = end - first
        if flows:
            cuts |= {first + bound - charged for bound in charging if charged < bound < charged + length}
            charged, paused = charged + length, 0
        else:
            cuts |= {first + bound - paused for bound in idle if paused < bound < paused + length}
            paused += length
    return cuts


def bounds(plans: Sequence[tuple[int, PricePlan]], name: str, scale: int) -> set[int]:
    """Return every bound of one quantity (a field of When without `min_` or `max_`), in its smaller unit."""
    conditions = [when for _, plan in plans for when in plan.conditions()]
    values = [getattr(when, f"{side}_{name}") for when in conditions for side in ("min", "max")]
    return {value * scale for value in values if value}
