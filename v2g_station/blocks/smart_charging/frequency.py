"""Power control by the local grid frequency, with or without the CSMS (Q08)."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.energy.curves import value_at
from v2g.iso15118.engine.session import Fact
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.charging_profiles import V2XFreqWattPoint
from v2g.ocpp.messages.smart_charging import AFRRSignalRequest, AFRRSignalResponse
from v2g.ocpp.times import parse_time
from v2g_station.blocks.evse import Evse
from v2g_station.blocks.smart_charging.local_control import LocalControl
from v2g_station.blocks.smart_charging.smart_charging import ChargingProfiles
from v2g_station.kernel.kernel import Handler, Kernel, status_info

THRESHOLD: Final = "V2XChargingCtrlr.LocalFrequencyUpdateThreshold"


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

    def __init__(self, kernel: Kernel, evses: Mapping[int, Evse], smart_charging: ChargingProfiles) -> None:
        super().__init__(kernel, evses, smart_charging)
        self._grid: GridFrequency | None = None
        self._signal: dict[int, float] = {}
        self._last: dict[int, _Last] = {}
        self.answers: dict[str, Handler] = {"AFRRSignal": self._afrr}

    def measured(self, fact: GridFrequency) -> None:
        """Handle a frequency at once, without waiting for anything."""
        self._grid = fact
        for evse in self._evses.values():
            signal, last = self._signal.get(evse.number, 0.0), self._last.get(evse.number)
            threshold_hz = max(self._k.model.number(THRESHOLD) / 1000, 1e-6)
            near = (
                last is not None
                and (last.signal_w, last.grid.measured) == (signal, fact.measured)
                and round(abs(fact.hz - last.grid.hz), 6) < threshold_hz
            )
            if not near and self.period(evse) is not None:
                self.follow(evse)

    def leave(self, evse: Evse) -> None:
        """Clear the state of this mode."""
        self._last.pop(evse.number, None)
        self._signal.pop(evse.number, None)
        super().leave(evse)

    def follow(self, evse: Evse) -> None:
        """Q08.FR.06, .07: apply baseline and curve at the measured frequency, within all other limits."""
        period, grid = self.period(evse), self._grid
        if period is None or grid is None:
            return
        signal = self._signal.get(evse.number, 0.0)
        self._last[evse.number] = _Last(grid, signal)
        wanted = (period.v2x_baseline or 0.0) + power_at(period.v2x_freq_watt_curve, grid.hz) + signal
        self.want(evse, wanted if grid.measured else max(0.0, wanted))

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
        self._k.at_utc("afrr", at, lambda: self._shift(request.signal))
        return AFRRSignalResponse(status="Accepted")

    def _shift(self, signal: int) -> None:
        for evse in self._evses.values():
            period = self.period(evse)
            if period is not None and period.v2x_signal_watt_curve:
                curve = tuple(
                    V2XFreqWattPoint(frequency=float(point.signal), power=point.power)
                    for point in period.v2x_signal_watt_curve
                )
                self._signal[evse.number] = power_at(curve, float(signal))
                self.follow(evse)
