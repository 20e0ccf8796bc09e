"""Sources of the grid's frequency: the meter, or a file that is played on the clock."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from secc.hardware.meter import Meter
from secc.hardware.meter_remote import RemoteMeter
from v2g.energy.curves import FrequencyCurve, value_at
from v2g.energy.frequency_trace import load_grid_trace
from v2g.errors import ConfigError
from v2g.io.runtime.clock import Clock
from v2g.observe import Observe
from v2g_station.blocks.smart_charging.local_control import GridFrequency

PLAUSIBLE: Final = 0.2
"""A reading with a larger relative deviation from the nominal frequency is invalid."""


class FrequencyConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The grid's frequency, for autonomous power control of the charger: local frequency control (Q08)
    and DER controls (R01)."""

    source: Literal["meter", "trace"] = "meter"
    """`meter`: the Modbus meter of the first EVSE; `trace`: the file below, for simulations."""
    trace: Path | None = None
    """Lines of `seconds,hertz` or `seconds,hertz,volts`, played from the program's start on its (simulated) clock."""
    every_s: Annotated[float, Meta(gt=0, le=1)] = 0.1
    """Interval of reading a trace."""
    nominal_hz: Annotated[float, Meta(ge=50, le=60)] = 50.0
    """Nominal frequency."""
    nominal_v: Annotated[float, Meta(gt=0, le=1000)] = 230.0
    """Between phase and neutral."""
    response: FrequencyCurve | None = None
    """The charger's own response at each EVSE, without a back end. It gives way to a droop of the back end, and to a
    charging profile that follows the frequency."""

    def __post_init__(self) -> None:
        """Reject inconsistent settings."""
        if (self.source == "trace") != (self.trace is not None):
            raise ValueError('frequency.trace requires source = "trace", and vice versa')


def without_frequency() -> ConfigError:
    """Return the error of a source that does not measure the frequency, as a simulated meter."""
    hint = 'hardware.meter = "modbus" with a register `frequency`, or source = "trace"'
    return ConfigError("the grid's frequency needs a meter with a frequency", hint=hint)


class GridWatch:
    """Reports the grid's state; as not measured until the first good measurement, and while the source is lost, so that
    no power leaves vehicles, and an EVSE that the grid has disconnected stays disconnected."""

    def __init__(
        self,
        config: FrequencyConfig,
        meters: Iterable[Meter],
        clock: Clock,
        observe: Callable[[Observe], None],
        notify: Callable[[GridFrequency], None],
    ) -> None:
        """Raises ConfigError when no meter reports the frequency, CodecError for an invalid trace file."""
        self._config, self._clock, self._observe, self._notify = config, clock, observe, notify
        self._trace = load_grid_trace(config.trace) if config.trace is not None else None
        meter = next(iter(meters), None)
        self._meter = meter if isinstance(meter, RemoteMeter) else None
        if self._trace is None and self._meter is None:
            raise without_frequency()
        self._began_ms = clock.elapsed_ms()
        self._lost: bool | None = None
        if self._meter is not None and self._trace is None:
            self._meter.on_grid(self._read)
            self._meter.on_fault(lambda _word, active: self._silent(lost=self._lost is not False or active))

    @property
    def played_s(self) -> float:
        """How far the trace is, s."""
        return (self._clock.elapsed_ms() - self._began_ms) / 1000

    async def run(self) -> None:
        """Report what is not measured yet, and play the trace, until cancelled."""
        if self._lost is None:
            self._notify(GridFrequency(hz=self._config.nominal_hz, measured=False))
        while self._trace is not None:
            seconds = self.played_s
            volt = value_at(self._trace.volts, seconds) if self._trace.volts else None
            self._read(self._trace.frequency.at(seconds), volt, ())
            await asyncio.sleep(self._config.every_s)
        await asyncio.Event().wait()

    @property
    def has_voltage(self) -> bool:
        """Whether the source has a voltage."""
        if self._trace is not None:
            return bool(self._trace.volts)
        return self._meter is not None and self._meter.has_voltage

    def _read(self, hz: float | None, volt: float | None, volts: tuple[float, ...]) -> None:
        nominal = self._config.nominal_hz
        if hz is not None and abs(hz - nominal) <= PLAUSIBLE * nominal:
            self._silent(lost=False)
            self._notify(GridFrequency(hz=hz, volt=volt, volts=volts))
        else:
            self._silent(lost=True)

    def _silent(self, *, lost: bool) -> None:
        before, self._lost = self._lost, lost
        if lost and not before:
            self._notify(GridFrequency(hz=self._config.nominal_hz, measured=False))
        if lost is not (before or False):
            self._observe(Observe("power", "frequency_lost" if lost else "frequency_back"))
