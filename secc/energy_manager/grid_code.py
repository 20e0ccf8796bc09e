"""The grid code of the charger: what it permits each EVSE, with or without a back end (R209)."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from secc.energy_manager.grid_frequency import FrequencyConfig
from secc.session.config import SeccConfig
from v2g.energy.grid_code import GridCode, Reactive
from v2g.energy.grid_guard import GridGuard, GridProtection
from v2g.energy.grid_support import REACTIVE
from v2g.energy.inverter import SupportingInverter
from v2g.energy.limits import GridResponse
from v2g.errors import ConfigError, TransportError
from v2g.io.hardware.energy_relays import POLL_S
from v2g.io.hardware.gpio import GpioLine, GpioLines
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.disk import DiskThread
from v2g.io.storage.kept_file import KeptFile
from v2g.iso15118.d20.charts import Family
from v2g.observe import Observe
from v2g_station.blocks.smart_charging.local_control import GridFrequency


class GridCodeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The grid code that the charger keeps by itself: connection, protection, power by frequency and voltage."""

    file: Path
    """The code in force, a file that `v2g grid-code set` writes."""
    frequency: FrequencyConfig | None = None
    """Source of frequency and voltage; none: that of `station.frequency`, else the meter of the first EVSE."""
    narrow: bool = False
    """Whether the narrow stages of the code (CEI 0-21: 81.S1) act, by a local command."""
    narrow_contact: GpioLine | None = None
    """They act while this contact of the network operator is active, or cannot be read (extra `gpio`); none: no
    contact."""
    reactive: Reactive | None = None
    """The curve of reactive power, of those of the code, that the network operator demands: of power electronics that
    can produce any, and with `charger.der` of vehicles' inverters; none: no curve."""


def demanded(charger: SeccConfig, code: GridCode, reactive: Reactive | None) -> SeccConfig:
    """Return settings of a charger whose vehicles' inverters get the functions of a code, beside its own ones: by SAE
    those that its messages can say. The charger keeps all of them by itself in any case.

    Raises ConfigError for a curve of reactive power that the code does not have, or by the discharge of a charger that
    takes none, and for a rating at another frequency.
    """
    if charger.der is None:
        return charger
    if code.nominal_hz != charger.ac_rating.nominal_frequency_hz:
        raise ConfigError(
            f"{code.title} is for {code.nominal_hz:g} Hz, and charger.ac_rating.nominal_frequency_hz is "
            f"{charger.ac_rating.nominal_frequency_hz:g}",
            hint="set both nominal_frequency_hz and nominal_voltage_v of this grid, or another grid code",
        )
    volts, watts = charger.ac_rating.nominal_voltage_v, charger.power_rating(Family.AC)[1]
    if reactive in ("watt_var", "watt_cos_phi") and not watts:
        raise ConfigError(
            f"{reactive} is a curve by discharge, and charger.ac_rating.max_discharge_power_w is 0",
            hint="set what the outlet takes from a vehicle, or another grid_code.reactive",
        )
    functions = code.functions_for(volts=volts, watts=watts, reactive=reactive)
    if charger.der == "sae":
        from v2g.iso15118.d20.der_sae import carried  # its declarations are loaded for it alone

        # droops without an end where units disconnect there within a second anyway: messages by SAE have no end
        changes: dict[str, object] = {}
        for name, side, sign in (("over_frequency_watt", "over", 1), ("under_frequency_watt", "under", -1)):
            each = getattr(functions, name)
            trips = [s.limit for s in code.protection if (s.of, s.side) == ("frequency", side) and s.seconds <= 1]
            if each is not None and any(sign * limit <= sign * each.stop_hz for limit in trips):
                changes[name] = msgspec.structs.replace(each, stop_hz=each.start_hz + sign * 100 / each.slope)
        functions = carried(msgspec.structs.replace(functions, **changes), code.nominal_hz)
    return msgspec.structs.replace(charger, grid_support=functions.overlaid(charger.grid_support))


def check_code(code: GridCode, frequency: FrequencyConfig, reactive: Reactive | None, *, narrow: bool = False) -> None:
    """Raises ConfigError for a code of another nominal frequency, or without this curve of reactive power, or without
    narrow stages that are to act."""
    if code.nominal_hz != frequency.nominal_hz:
        raise ConfigError(
            f"{code.title} is for {code.nominal_hz:g} Hz, and frequency.nominal_hz is {frequency.nominal_hz:g}",
            hint="set both nominal_hz and nominal_v of this grid, or another grid code",
        )
    if narrow and not code.narrow_stages:
        raise ConfigError(f"{code.title} has no narrow stages", hint="remove grid_code.narrow")
    code.with_curve(reactive)


class CodeUnit(msgspec.Struct, frozen=True, kw_only=True):
    """An EVSE under the code: what it may draw and feed back (W), the reactive power that it can produce (var), its
    power now, and who is told what may flow, and how much reactive power shall."""

    rating: tuple[int, int]
    max_var: int
    power_w: Callable[[], int | None]
    respond: Callable[[GridResponse], None]
    react: Callable[[int], None]


class TripFile:
    """The stage of protection that has disconnected the charger, over restarts: it then returns as after that, not as
    for the first time."""

    def __init__(self, directory: Path, disk: DiskThread, observe: Callable[[Observe], None]) -> None:
        self._observe = observe
        self._file = KeptFile(directory / TRIPPED, disk, self._failed)

    def load(self) -> str:
        """Return the stage; empty for none. A file that cannot be read stands for one: that wait is no shorter."""
        try:
            return self._file.load().decode("ascii")[:20]
        except (OSError, ValueError) as error:
            self._failed(str(error)[:200])
            return UNREADABLE

    def keep(self, stage: str) -> None:
        """Store a stage, or that there is none, off the event loop."""
        self._file.keep(stage.encode("ascii", "replace"))

    def _failed(self, reason: str) -> None:
        self._observe(Observe("power", "grid_trip_not_stored", {"reason": reason}))


TRIPPED: Final = "grid-trip"
"""Name of the file."""
UNREADABLE: Final = "unreadable"
NEEDS_GRID: Final = 'hardware.meter = "modbus" with `frequency` and `voltage`, or a trace of seconds,hertz,volts'
LEAST_S: Final = 0.005
"""The shortest time of a timer."""


class GridCodeWatch:
    """Keeps the code at all EVSEs: all are at one connection, so they connect and disconnect together."""

    def __init__(
        self,
        code: GridCode,
        frequency: FrequencyConfig,
        units: Sequence[CodeUnit],
        clock: Clock,
        observe: Callable[[Observe], None],
        *,
        reactive: Reactive | None,
        trips: TripFile | None = None,
    ) -> None:
        """`trips`: what disconnected it outlives a restart there. Raises ConfigError as `check_code`."""
        check_code(code, frequency, reactive)
        self._trips = trips
        tripped = "" if trips is None else trips.load()
        self._clock, self._observe, self._units = clock, observe, units
        volts = frequency.nominal_v
        self._protection = GridProtection(code, nominal_v=volts, tripped=tripped)
        self._guards: list[GridGuard] = []
        self._inverters: dict[int, SupportingInverter] = {}
        for number, unit in enumerate(units):
            most_in_w, most_out_w = unit.rating
            functions = code.functions_for(volts=volts, watts=max(unit.rating), reactive=reactive)
            self._guards.append(GridGuard(self._protection, functions, most_out_w=most_out_w, most_in_w=most_in_w))
            if reactive is not None:
                inverter = SupportingInverter(nominal_v=volts, most_out_w=most_out_w, most_var=unit.max_var)
                inverter.follow(functions.only(REACTIVE))
                self._inverters[number] = inverter
        self._told: dict[int, GridResponse] = {}
        self._var: dict[int, int] = {}
        self._grid: tuple[float, float] | None = None
        """Hz and V, if they are measured."""
        self._state = True, tripped
        """Whether units are disconnected, and by which stage."""
        self._narrow = False
        self._timer: asyncio.TimerHandle | None = None
        observe(Observe("power", "grid_code", {"code": code.title, "digest": code.digest}))
        self._follow(self._now)

    @property
    def _now(self) -> float:
        """Seconds of grid time, which a simulation may speed up."""
        return self._clock.elapsed_ms() / 1000

    def select(self, *, narrow: bool) -> None:
        """Let the narrow stages of the code act as well, or no longer."""
        if narrow is not self._narrow:
            self._narrow = narrow
            self._protection.select(narrow=narrow)
            self._observe(Observe("power", "grid_code_stages", {"narrow": narrow}))

    async def follow_contact(self, lines: GpioLines) -> None:
        """Let a contact select the narrow stages, until cancelled; two readings in a row have to agree. One that cannot
        be read selects them."""
        before: bool | None = None
        while True:
            try:
                active = lines.read()["narrow"]
            except TransportError:
                active = True
            if active is before:
                self.select(narrow=active)
            before = active
            await asyncio.sleep(POLL_S)

    def measured(self, fact: GridFrequency) -> None:
        """Take a measurement at once."""
        hertz = fact.hz if fact.measured else None
        volts = fact.volts or (() if fact.volt is None else (fact.volt,))
        now = self._now
        self._protection.measured(hertz, volts, now)
        for unit, guard in zip(self._units, self._guards, strict=True):
            guard.measured(unit.power_w() or 0, now)
        self._grid = (hertz, sum(volts) / len(volts)) if hertz is not None and volts else None
        self._follow(now)

    def _tick(self) -> None:
        now = self._now
        self._protection.tick(now)
        for guard in self._guards:
            guard.tick(now)
        self._follow(now)

    def _follow(self, now: float) -> None:
        for number, (unit, guard) in enumerate(zip(self._units, self._guards, strict=True)):
            response = guard.response(now)
            if response != self._told.get(number):
                self._told[number] = response
                unit.respond(response)
        # set reactive power by the mean of the phases; none while disconnected, or where the grid is not measured
        for number, inverter in self._inverters.items():
            unit, var = self._units[number], 0
            if self._grid is not None and not self._protection.out:
                hertz, volts = self._grid
                var = inverter.at(unit.power_w() or 0, volts, hertz, now).reactive_var
            if var != self._var.get(number, 0):
                self._var[number] = var
                unit.react(var)
        before, self._state = self._state, (self._protection.out, self._protection.tripped)
        out, stage = self._state
        if self._state != before:
            event = "grid_disconnected" if out else "grid_connected"
            self._observe(Observe("power", event, {"stage": stage} if out else {}))
            if self._trips is not None:
                self._trips.keep(stage)
        owners: tuple[GridProtection | GridGuard, ...] = (self._protection, *self._guards)
        due = min((at for each in owners if (at := each.due(now)) is not None), default=None)
        self.close()
        if due is not None:
            wait_s = max(LEAST_S, (due - now) / self._clock.scale)
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._tick)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
