"""Prequalification by grid operators: which EVSEs may feed energy back, how much, and until when.

A record is for an EVSE or for a whole station: it bounds that EVSE, or the sum of the station's EVSEs. A station with
records is bound by them; one without may export, unless the configuration requires records.
"""

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.energy.conductors import VOLTAGE
from v2g.energy.grid_signal import GridSignal
from v2g.energy.limits import MOST_W
from v2g.energy.settlement.pricing import NO_CURRENCY
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedulePeriod
from v2g.ocpp.messages.smart_charging import ChargingScheduleUpdate
from v2g.ocpp.times import format_time

_TEN_YEARS_MS: Final = 10 * 365 * 86_400_000

W_PER_A: Final = 3 * VOLTAGE
"""Power of 1 A of a profile, at most: on three phases."""

Certificate = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z", examples=["VDE-2026-0815"])]
EvseId = Annotated[int, Meta(ge=0, le=2**31 - 1, description="0: the whole station.")]


class Prequalification(msgspec.Struct, frozen=True, kw_only=True):
    """A grid operator's certificate that a station, or one of its EVSEs, may export `most_export_w` at most."""

    station_id: str
    certificate: str
    evse_id: int
    operator: str
    valid_from_ms: int
    valid_until_ms: int
    most_export_w: int

    def valid(self, at_ms: int) -> bool:
        """Return whether it is valid at a time."""
        return self.valid_from_ms <= at_ms < self.valid_until_ms


class ExportPermit(msgspec.Struct, frozen=True, kw_only=True):
    """What may be exported (W): by the whole station, and by each EVSE; None is unbounded. Not after `until_ms` (UTC).

    `reason` says why nothing may be exported; otherwise it is empty.
    """

    station_w: int | None = None
    evse_w: int | None = None
    until_ms: int | None = None
    reason: str = ""

    @property
    def bound(self) -> bool:
        """Whether records bound the export."""
        return (self.station_w, self.evse_w) != (None, None)

    @property
    def most_w(self) -> int:
        """The most that one EVSE may export, W."""
        return min(MOST_W if each is None else each for each in (self.station_w, self.evse_w))


OPEN = ExportPermit()
"""The permit where nothing binds."""


def permit(records: Sequence[Prequalification], evse_id: int, at_ms: int, *, required: bool) -> ExportPermit:
    """Return what an EVSE may export by all records of its station. `required`: nothing without a record."""
    here = [each for each in records if each.evse_id in (0, evse_id)]
    valid = [each for each in here if each.valid(at_ms)]
    if not here:
        if required or records:
            return ExportPermit(station_w=0, evse_w=0, reason=f"EVSE {evse_id} has no prequalification record")
        return OPEN
    if not valid:
        return ExportPermit(station_w=0, evse_w=0, reason=_why_not(here, at_ms))
    station, own = ([each for each in valid if (each.evse_id == 0) is whole] for whole in (True, False))
    most = [max((each.most_export_w for each in some), default=None) for some in (station, own)]
    ends = [_end(some, here, at_ms) for some in (station, own) if some]
    return ExportPermit(station_w=most[0], evse_w=most[1], until_ms=min(ends))


def permit_of_all(permits: Sequence[ExportPermit]) -> ExportPermit:
    """Return what every EVSE of a station may export: the strictest permit of all."""
    ends = [each.until_ms for each in permits if each.until_ms is not None]
    return ExportPermit(
        station_w=min((each.station_w for each in permits if each.station_w is not None), default=None),
        evse_w=min((each.evse_w for each in permits if each.evse_w is not None), default=None),
        until_ms=min(ends, default=None),
        reason=next((each.reason for each in permits if each.reason), ""),
    )


def next_change_ms(records: Sequence[Prequalification], at_ms: int) -> int | None:
    """Return when the next record begins or ends; None: never."""
    edges = [edge for each in records for edge in (each.valid_from_ms, each.valid_until_ms) if edge > at_ms]
    return min(edges, default=None)


def permitted(signal: GridSignal, granted: ExportPermit, parts: int) -> GridSignal:
    """Return a grid signal with no more export than is granted, for a station that divides it into equal parts."""
    if not granted.bound:
        return signal
    export_w = min(signal.export_limit_w, MOST_W if granted.station_w is None else granted.station_w)
    if granted.evse_w is not None:
        export_w = min(export_w, granted.evse_w * parts)
    until_ms = signal.valid_until_ms if granted.until_ms is None else min(signal.valid_until_ms, granted.until_ms)
    return msgspec.structs.replace(
        signal, export_limit_w=export_w, valid_until_ms=until_ms, issued_at_ms=min(signal.issued_at_ms, until_ms - 1)
    )


def bare_signal(now_ms: int) -> GridSignal:
    """Return a signal that limits nothing: carries a permit where there is no grid signal."""
    return GridSignal(
        version=0,
        issued_at_ms=now_ms,
        source="prequalification",
        currency=NO_CURRENCY,
        slots=(),
        site_import_limit_w=MOST_W,
        export_limit_w=MOST_W,
        valid_until_ms=now_ms + _TEN_YEARS_MS,
    )


def export_of(profile: ChargingProfile) -> int:
    """Return the most power that a profile requests or allows to feed back, W; in A at 230 V on three phases."""
    found = 0.0
    for schedule in profile.charging_schedule:
        factor = 1 if schedule.charging_rate_unit == "W" else W_PER_A
        for period in schedule.charging_schedule_period:
            curve = (-point.power for point in period.v2x_freq_watt_curve)
            found = max(found, factor * export_of_values(period), *curve)
    return round(min(found, MOST_W))


def export_of_values(values: ChargingSchedulePeriod | ChargingScheduleUpdate) -> float:
    """Return the power that set-points request, or limits allow, to feed back, in the unit of the schedule."""
    limits = values.discharge_limit, values.discharge_limit_l2, values.discharge_limit_l3
    setpoints = values.setpoint, values.setpoint_l2, values.setpoint_l3
    return max(-sum(min(0.0, each or 0.0) for each in some) for some in (limits, setpoints))


def _end(valid: Sequence[Prequalification], records: Sequence[Prequalification], at_ms: int) -> int:
    """Return when the power of the strongest valid record ends: others may take over without a gap."""
    most_w, whole = max(each.most_export_w for each in valid), valid[0].evse_id == 0
    same = [each for each in records if (each.evse_id == 0) is whole and each.most_export_w >= most_w]
    end_ms = at_ms
    for each in sorted(same, key=lambda one: one.valid_from_ms):
        if each.valid_from_ms <= end_ms:
            end_ms = max(end_ms, each.valid_until_ms)
    return end_ms


def _why_not(records: Sequence[Prequalification], at_ms: int) -> str:
    later = [each for each in records if each.valid_from_ms > at_ms]
    if later:
        first = min(later, key=lambda each: each.valid_from_ms)
        return f"prequalification {first.certificate} is valid from {format_time(first.valid_from_ms)} on"
    last = max(records, key=lambda each: each.valid_until_ms)
    return f"prequalification {last.certificate} expired at {format_time(last.valid_until_ms)}"
