"""Power that the station controls by local measurements (Q08, Q09)."""

from abc import abstractmethod
from collections.abc import Collection, Iterable
from typing import Annotated, ClassVar, Final

import msgspec
from msgspec import Meta

from v2g.energy.curves import value_at
from v2g.energy.dispatch.split import level
from v2g.iec61851.pilot import LEAST_A
from v2g.iso15118.engine.session import Fact
from v2g.ocpp.messages.base import Message, OperationMode
from v2g.ocpp.messages.charging_profiles import ChargingSchedulePeriod, V2XFreqWattPoint
from v2g.ocpp.messages.smart_charging import AFRRSignalRequest, AFRRSignalResponse
from v2g.ocpp.times import parse_time
from v2g_station.blocks.evse import Evse
from v2g_station.blocks.smart_charging.smart_charging import ChargingProfiles
from v2g_station.blocks.transactions.sessions import FunctionalBlock, Shared
from v2g_station.kernel.kernel import Handler, StationCommand, status_info


class SetPower(StationCommand, frozen=True, kw_only=True):
    """Set the power, W; discharging is negative. None returns control to charging profiles."""

    evse_id: int
    power_w: float | None


class LocalControl(FunctionalBlock):
    """Base of local control of EVSEs in one operation mode."""

    mode: ClassVar[OperationMode]

    def __init__(self, shared: Shared, smart_charging: ChargingProfiles) -> None:
        super().__init__(shared)
        self._smart = smart_charging
        if self.mode in smart_charging.modes:
            smart_charging.on_limits(self.changed)

    def changed(self, places: Collection[int]) -> None:
        """Handle a change of charging profiles at these EVSEs."""
        for evse in map(self._evses.__getitem__, places):
            if self.period(evse) is None:
                self.leave(evse)
            else:
                self.follow(evse)

    @abstractmethod
    def follow(self, evse: Evse) -> None:
        """Recalculate the set-point of an EVSE in this mode."""

    def leave(self, evse: Evse) -> None:
        """Handle an EVSE that is not, or no longer, in this mode."""
        if evse.local_w.pop(self.mode, None) is not None and not evse.local_w:  # else another control is active
            self._k.do(SetPower(evse_id=evse.number, power_w=None))

    def power(self, evse: Evse) -> float | None:
        """Return the set-point of an EVSE."""
        return evse.local_w.get(self.mode)

    def period(self, evse: Evse) -> ChargingSchedulePeriod | None:
        """Return the period in force at an EVSE, if it has this mode and energy may flow."""
        period = self._smart.period_in_force(evse)
        here = period is not None and period.operation_mode == self.mode
        return period if here and evse.record is not None else None

    def bounds(self, evse: Evse) -> tuple[float, float]:
        """Return the least and the greatest set-point within all other limits, W."""
        layout = self._k.layout.evses[evse.number - 1]
        allowed = self._smart.limits_of(evse)
        most = layout.max_power_w if allowed.charge_w is None else min(layout.max_power_w, allowed.charge_w)
        back = layout.max_discharge_w
        return -float(back if allowed.discharge_w is None else min(back, allowed.discharge_w)), float(most)

    def want(self, evse: Evse, wanted: float) -> None:
        """Set the power, within all other limits."""
        least, most = self.bounds(evse)
        power = max(least, min(most, wanted))
        if self.power(evse) != power:
            evse.local_w[self.mode] = power
            self._k.do(SetPower(evse_id=evse.number, power_w=power))


# -- Power control that keeps the load of a building between two thresholds, with or without the CSMS (Q09)


class UpstreamLoad(Fact, frozen=True, kw_only=True):
    """The meter reading at the grid connection, W; positive is drawn from the grid. It includes the vehicles. None
    while it is unknown."""

    power_w: float | None


FOLLOWED_S: Final = 10.0
"""After this time a vehicle that does not do as its set-point says will not: it is full, or cannot."""
FOLLOWS_W: Final = 300.0
"""What a vehicle that follows its set-point may be beside it, W."""


class LoadBalancing(LocalControl):
    """Local load balancing, shared by all EVSEs of a station whose profiles ask for it."""

    mode = "LocalLoadBalancing"

    def __init__(self, shared: Shared, smart_charging: ChargingProfiles) -> None:
        super().__init__(shared, smart_charging)
        self._since_ms: dict[int, int] = {}
        """Since when each EVSE has its set-point."""

    def measured(self, fact: UpstreamLoad) -> None:
        """Q09.FR.03, .04: split the power beyond the threshold over the vehicles that can follow.

        First over those whose power flows the other way, to nothing: no vehicle feeds another one. One whose power is
        unknown gets no more by it; none feeds back while the load is unknown.
        """
        followers = [evse for evse in self._evses.values() if self.period(evse) is not None]
        if fact.power_w is None:
            for evse in followers:
                self.want(evse, max(0.0, self._base(evse)))
            return
        delta = self._delta(fact.power_w + sum(map(self._to_come, followers)))
        able = [evse for evse in followers if not self._refuses(evse, delta)]
        wanted = {evse.number: self._base(evse) for evse in able}
        sign, left = 1 if delta > 0 else -1, round(abs(delta))
        for to_nothing in (True, False):
            rooms = [(evse.number, self._room(evse, wanted[evse.number], sign, to_nothing)) for evse in able]
            for number, part in level(left, rooms).items():
                wanted[number] += sign * part
                left -= part
        for evse in able:
            self.want(evse, wanted[evse.number])

    def _room(self, evse: Evse, power: float, sign: int, to_nothing: bool) -> int:
        """Return by how much a set-point may change in a direction, W."""
        if to_nothing:
            return max(0, round(-sign * power))
        least, most = self.bounds(evse)
        if sign == -1:
            return max(0, int(power - least))
        return 0 if self._flowing(evse) is None else max(0, int(most - power))

    def want(self, evse: Evse, wanted: float) -> None:
        """Set the power, and note since when."""
        before = self.power(evse)
        super().want(evse, wanted)
        if self.power(evse) != before:
            self._since_ms[evse.number] = self._k.utc_ms

    def follow(self, evse: Evse) -> None:
        """Stay within changed limits (Q09.FR.05)."""
        if (power := self.power(evse)) is not None:
            self.want(evse, power)

    def _delta(self, load_w: float) -> float:
        """Return the necessary change of the set-point."""
        upper, lower, upper_offset, lower_offset = (
            self._k.model.number(f"V2XChargingCtrlr.LocalLoadBalancing[{name}]")
            for name in ("UpperThreshold", "LowerThreshold", "UpperOffset", "LowerOffset")
        )
        if load_w > upper:
            return upper + upper_offset - load_w
        return lower + lower_offset - load_w if load_w < lower else 0.0

    def _base(self, evse: Evse) -> float:
        """Return the current set-point, or the actual power before there is one."""
        power = self.power(evse)
        return self._flowing(evse) or 0.0 if power is None or self._late(evse) else power

    def _late(self, evse: Evse) -> bool:
        """Return whether a vehicle has not followed its set-point in time."""
        since_ms = self._since_ms.get(evse.number, self._k.utc_ms)
        return abs(self._missing(evse)) > FOLLOWS_W and self._k.utc_ms >= since_ms + FOLLOWED_S * 1000

    def _refuses(self, evse: Evse, delta: float) -> bool:
        """Return whether a vehicle does not follow a change in this direction; one below 6 A on its phases cannot."""
        layout, power = self._k.layout.evses[evse.number - 1], self.power(evse) or 0.0
        cannot = 0 < power < LEAST_A * layout.line_v * layout.phases
        return not cannot and self._late(evse) and self._missing(evse) * delta >= 0

    def _to_come(self, evse: Evse) -> float:
        """Return how much of its set-point the vehicle has yet to follow, W: requesting it twice would overshoot."""
        return 0.0 if self._late(evse) else self._missing(evse)

    def _missing(self, evse: Evse) -> float:
        flowing, power = self._flowing(evse), self.power(evse)
        return 0.0 if flowing is None or power is None else power - flowing

    def _flowing(self, evse: Evse) -> float | None:
        sample = self._read(evse.number)
        return None if sample is None or sample.power_w is None else float(sample.power_w)


THRESHOLD: Final = "V2XChargingCtrlr.LocalFrequencyUpdateThreshold"
MOST_SIGNALS: Final = 100
"""Signals of the operator that may wait for their times."""


class GridFrequency(Fact, frozen=True, kw_only=True):
    """The measured grid frequency, and the voltage between phase and neutral if measured.

    Without `measured` the frequency is unknown, and no power leaves vehicles: `hz` is then the nominal one.
    """

    hz: Annotated[float, Meta(ge=0)]
    volt: float | None = None
    volts: tuple[float, ...] = ()
    """Those of all phases, where a meter measures more than one."""
    measured: bool = True


class _Last(msgspec.Struct, frozen=True):
    grid: GridFrequency
    signal_w: float


def power_at(curve: Iterable[V2XFreqWattPoint], hz: float) -> float:
    """Return the power of a frequency-watt curve, W: linear between its points, constant beyond them."""
    return value_at(sorted(((point.frequency, point.power) for point in curve), key=lambda point: point[0]), hz)


class FrequencyResponse(LocalControl):
    """Local control by frequency at all EVSEs of a station."""

    mode = "LocalFrequency"

    def __init__(self, shared: Shared, smart_charging: ChargingProfiles) -> None:
        super().__init__(shared, smart_charging)
        self._grid: GridFrequency | None = None
        self._signal: dict[int, tuple[int, float]] = {}
        """Time of the signal that an EVSE follows, ms of UTC, and its power, W."""
        self._last: dict[int, _Last] = {}
        self._waiting: set[int] = set()
        self.answers: dict[str, Handler] = {"AFRRSignal": self._afrr}

    def measured(self, fact: GridFrequency) -> None:
        """Handle a frequency at once, without waiting for anything."""
        self._grid = fact
        for evse in self._evses.values():
            signal, last = self._signal_w(evse), self._last.get(evse.number)
            near = (
                last is not None
                and (last.signal_w, last.grid.measured) == (signal, fact.measured)
                and round(abs(fact.hz - last.grid.hz), 6) < self._k.model.number(THRESHOLD) / 1000
            )
            if not near:
                self.follow(evse)

    def leave(self, evse: Evse) -> None:
        """Forget the signal, which ends with this mode."""
        self._signal.pop(evse.number, None)
        super().leave(evse)

    def follow(self, evse: Evse) -> None:
        """Q08.FR.06, .07: apply baseline and curve at the measured frequency, within all other limits."""
        period, grid = self.period(evse), self._grid
        if period is None or grid is None:
            return
        signal = self._signal_w(evse)
        self._last[evse.number] = _Last(grid, signal)
        wanted = (period.v2x_baseline or 0.0) + power_at(period.v2x_freq_watt_curve, grid.hz) + signal
        self.want(evse, wanted if grid.measured else max(0.0, wanted))

    def _signal_w(self, evse: Evse) -> float:
        return self._signal[evse.number][1] if evse.number in self._signal else 0.0

    def _afrr(self, request: AFRRSignalRequest) -> Message:
        """Q08.FR.10, .11: a signal of the operator shifts the set-point at its time."""
        found = [
            (evse, period)
            for evse in self._evses.values()
            if (period := self.period(evse)) is not None and period.v2x_signal_watt_curve
        ]
        if not found:
            return AFRRSignalResponse(status="Rejected", status_info=status_info("NoSignalWattCurve"))
        at = parse_time(request.timestamp)
        if at not in self._waiting and len(self._waiting) >= MOST_SIGNALS:
            return AFRRSignalResponse(status="Rejected", status_info=status_info("TooManyElements"))
        self._waiting.add(at)
        self._k.at_utc(f"afrr.{at}", at, lambda: self._shift(at, request.signal))
        return AFRRSignalResponse(status="Accepted")

    def _shift(self, at: int, signal: int) -> None:
        self._waiting.discard(at)
        for evse in self._evses.values():
            period, last = self.period(evse), self._signal.get(evse.number)
            if last is not None and at < last[0]:
                continue  # delayed on its way: a later one has taken its place
            if period is not None and period.v2x_signal_watt_curve:
                curve = tuple(
                    V2XFreqWattPoint(frequency=float(point.signal), power=point.power)
                    for point in period.v2x_signal_watt_curve
                )
                self._signal[evse.number] = (at, power_at(curve, float(signal)))
                self.follow(evse)
