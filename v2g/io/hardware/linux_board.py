"""A control board made of the computer's own parts: its PWM drives the control pilot, its ADC reads it, GPIO lines
switch and sense the rest.

A thread samples, so that it blocks no event loop, which finds samples that are too old. While the board is lost, the
event loop does not switch the contactor itself: its line may hang as the thread may. The thread opens the contactor
without the event loop when the vehicle is not ready, at an emergency stop, and when the loop stops. A process
that ends opens nothing: that is up to the hardware behind `watchdog`.
"""

import asyncio
import contextlib
import errno
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Generic, Protocol, TypeVar

import msgspec
from msgspec import Meta

from v2g.energy.conductors import LINES
from v2g.errors import TransportError
from v2g.hardware.faults import Light
from v2g.hardware.interfaces import BoardParts, OnFault
from v2g.hardware.pilot import ReportingPilot
from v2g.iec61851.pilot import (
    NOMINAL_MV,
    ONE_LEVEL_S,
    TOLERANCE_MV,
    Levels,
    LevelWindow,
    PilotFault,
    PilotFilter,
    PilotState,
    near,
    read_levels,
)
from v2g.iec61851.proximity import Coding, Proximity, read_proximity
from v2g.io.hardware.driver import Driver, DriverContext
from v2g.io.hardware.gpio import GpiodLines, GpioLine, GpioLines
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import new_thread
from v2g.observe import Callbacks

EXPORT_S: Final = 1.0
"""Time for an exported PWM to appear, and for udev to set its permissions."""


_HINTS: Final[Mapping[int, str]] = {
    errno.EACCES: "a udev rule has to give the service's user write access",
    errno.EROFS: "`systemctl edit v2g-secc`: ProtectKernelTunables=no",
}


class PwmOutput:
    """One output of a PWM chip, such as /sys/class/pwm/pwmchip0. It keeps running when the process ends."""

    def __init__(self, chip: Path, channel: int, *, period_ns: int, inverted: bool = False) -> None:
        """Take the output, low. Raises TransportError."""
        self._folder, self._period_ns = chip / f"pwm{channel}", period_ns
        if not self._folder.exists():
            _write(chip / "export", channel)
            end = time.monotonic() + EXPORT_S
            while not os.access(self._folder / "enable", os.W_OK) and time.monotonic() < end:
                time.sleep(0.005)
        with contextlib.suppress(TransportError):  # the kernel refuses 0 for what has no period yet
            _write(self._folder / "enable", 0)
        # a duty cycle may never exceed the period, and an output that runs cannot be inverted
        with contextlib.suppress(TransportError):
            _write(self._folder / "duty_cycle", 0)
        _write(self._folder / "period", period_ns)
        _write(self._folder / "duty_cycle", 0)
        if (self._folder / "polarity").exists():  # chips that cannot invert have none
            _write(self._folder / "polarity", "inversed" if inverted else "normal")
        elif inverted:
            raise TransportError(f"{self._folder} cannot be inverted", hint="invert the pilot's driver instead")
        _write(self._folder / "enable", 1)

    def set(self, percent: float) -> None:
        """Be high for `percent` (0..100) of each period. Raises TransportError."""
        _write(self._folder / "duty_cycle", round(self._period_ns * percent / 100))

    def read(self) -> float:
        """Return for how many percent of each period it is high, as the kernel has it. Raises TransportError."""
        path = self._folder / "duty_cycle"
        try:
            return 100 * int(path.read_text().split()[0]) / self._period_ns
        except (OSError, ValueError, IndexError) as error:
            raise TransportError(f"{path}: {error}") from None


class AdcInput:
    """One voltage of an IIO device, such as `voltage0` of /sys/bus/iio/devices/iio:device0, read one by one."""

    def __init__(self, device: Path, channel: str) -> None:
        """Open the input. Raises TransportError."""
        self._path = device / f"in_{channel}_raw"
        self._scale = _constant(device, channel, "scale", 1.0)
        self._offset = _constant(device, channel, "offset", 0.0)
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise TransportError(f"{self._path}: {error.strerror}", hint="see `ls` of its folder") from None

    def read_mv(self) -> float:
        """Return the voltage at the ADC, mV. It may block. Raises TransportError."""
        try:
            return (int(os.pread(self._fd, 32, 0)) + self._offset) * self._scale
        except (OSError, ValueError) as error:
            raise TransportError(f"{self._path}: {error}") from None

    def close(self) -> None:
        os.close(self._fd)


def _constant(device: Path, channel: str, name: str, otherwise: float) -> float:
    """Return a constant of a channel, or that of all channels of its kind."""
    kind = channel.rstrip("0123456789")
    for path in (device / f"in_{channel}_{name}", device / f"in_{kind}_{name}"):
        try:
            return float(path.read_text())
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise TransportError(f"{path}: {error}") from None
    return otherwise


def _write(path: Path, value: int | str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)  # nothing may be created in sysfs
        try:
            os.write(descriptor, f"{value}\n".encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise TransportError(f"{path}: {error.strerror}", hint=_HINTS.get(error.errno or 0, "")) from None


T = TypeVar("T")

PERIOD_NS: Final = 1_000_000
"""1 kHz (IEC 61851-1)."""

ROUND_S: Final = 0.01
"""Interval of samples; each round may take half of it."""

TICK_S: Final = 0.02
"""Interval in which the event loop shows that it runs, and looks at the age of the samples."""

READY_S: Final = 2.0
"""Time for the first samples."""

SWITCH_S: Final = 0.05
"""Time for another thread to finish switching the contactor."""

FOLLOW_S: Final = 0.5
"""Time for the levels to follow the oscillator, and for the reference to follow its line."""

TOGGLE_S: Final = 0.1
"""Interval in which the reference's line is switched."""

SHOW_S: Final = 1.0
WATCHDOG_S: Final = 3.0
"""Time in the self-test for levels to show, and for the hardware behind `watchdog` to act and to end."""

JOIN_S: Final = 1.0
"""Time for the thread to end; one that hangs in a driver of the kernel ends with the process."""


class PwmConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The PWM output that drives the pilot: high is +12 V, low -12 V."""

    chip: Path = Path("/sys/class/pwm/pwmchip0")
    """Its chip."""
    channel: Annotated[int, Meta(ge=0, le=63)] = 0
    """Its number at the chip."""
    inverted: bool = False
    """The driver of the pilot inverts: a low output is +12 V."""


class VoltageConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A voltage that the ADC sees through a divider: `gain` times its mV, plus `offset_mv`."""

    channel: Annotated[str, Meta(pattern=r"^voltage[0-9]{1,3}\Z")]
    """Its channel, such as `voltage0`."""
    gain: Annotated[float, Meta(ge=-1_000, le=1_000)] = 1.0
    """Voltage at the wire for each at the ADC."""
    offset_mv: Annotated[float, Meta(ge=-100_000, le=100_000)] = 0.0
    """Voltage at the wire for 0 V at the ADC, mV."""


class PlugConfig(VoltageConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The proximity contact: the voltage between it and earth, behind a resistor to a supply."""

    supply_mv: Annotated[int, Meta(ge=1_000, le=24_000)] = 5_000
    """The supply, mV."""
    pull_up_ohm: Annotated[int, Meta(ge=10, le=100_000)] = 330
    """The resistor."""
    coding: Coding = "type2"
    """Coding of the plug (IEC 61851-1): `type2` by the cable's resistance, `type1` by the latch."""


class ReferenceConfig(VoltageConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A voltage that is known: an ADC that has failed, or stands still, does not show it."""

    mv: Annotated[int, Meta(ge=-100_000, le=100_000)]
    """The voltage; with `line` while that is inactive, mV."""
    line: GpioLine | None = None
    """Output that switches it: only a voltage that changes shows an ADC that stands still."""
    active_mv: Annotated[int, Meta(ge=-100_000, le=100_000)] = 0
    """The voltage while `line` is active, mV."""
    tolerance_mv: Annotated[int, Meta(ge=1, le=10_000)] = 200
    """How far it may be off, mV."""


class LinuxBoardConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A control board of PWM, ADC and GPIO lines."""

    pwm: PwmConfig = PwmConfig()
    """The oscillator."""
    adc: Path = Path("/sys/bus/iio/devices/iio:device0")
    """The ADC."""
    pilot: VoltageConfig
    """The pilot's voltage; with `pilot_low` that of a detector of its positive peak."""
    pilot_low: VoltageConfig | None = None
    """Detector of the negative peak. Without detectors the wire itself is sampled, which needs 5000 samples each s."""
    plug: PlugConfig | None = None
    """The proximity contact; without it and `plug_contact` a plug is inserted when the pilot shows a vehicle."""
    plug_contact: GpioLine | None = None
    """Active while a plug is in, by a contact of its own: no energy flows without it, whatever the ADC shows."""
    reference: ReferenceConfig | None = None
    """A known voltage at the ADC. With `line` an ADC that stands still is found within a second; without it only when
    the oscillator changes."""
    contactor: GpioLine
    """Closes the contactor."""
    contactor_feedback: GpioLine
    """Auxiliary contact: active while the contactor is closed."""
    phase_relay: GpioLine | None = None
    """Connects L2 and L3 of an AC outlet; inactive leaves L1 alone. It moves only while the contactor is open."""
    phase_relay_feedback: GpioLine | None = None
    """Auxiliary contact: active while L2 and L3 are connected."""
    lock: GpioLine | None = None
    """Locks the plug."""
    lock_feedback: GpioLine | None = None
    """Active while the plug is locked."""
    fan: GpioLine | None = None
    """Switches the fan on."""
    emergency_stop: GpioLine | None = None
    """Active when the emergency stop is pressed, or its wire broken: with a contact that opens, `active_low`."""
    watchdog: GpioLine | None = None
    """Toggles while program and samples are alive; hardware has to open the contactor when it stops."""
    watchdog_feedback: GpioLine | None = None
    """Active while that hardware lets the contactor close, for the self-test."""
    lost_s: Annotated[float, Meta(ge=0.15, le=2)] = 0.25
    """Time without samples, or without a sign of the event loop, after which the contactor opens, s."""

    def __post_init__(self) -> None:
        """Reject a lock and a relay that nobody can see."""
        for name in ("lock", "phase_relay"):
            if (getattr(self, name) is None) is not (getattr(self, f"{name}_feedback") is None):
                raise ValueError(f"{name} and {name}_feedback belong together")

    @property
    def outputs(self) -> dict[str, GpioLine]:
        """The lines that are set."""
        lines = self._lines("contactor", "phase_relay", "lock", "fan", "watchdog")
        if self.reference is not None and self.reference.line is not None:
            lines["reference"] = self.reference.line
        return lines

    @property
    def inputs(self) -> dict[str, GpioLine]:
        """The lines that are read."""
        return self._lines(
            "contactor_feedback", "phase_relay_feedback", "lock_feedback", "emergency_stop", "plug_contact",
            "watchdog_feedback",
        )  # fmt: skip

    @property
    def devices(self) -> tuple[str, ...]:
        """See Driver."""
        lines = (f"{each.chip} line {each.line}" for each in (self.outputs | self.inputs).values())
        return f"{self.pwm.chip} channel {self.pwm.channel}", f"{self.adc} {self.pilot.channel}", *lines

    def _lines(self, *names: str) -> dict[str, GpioLine]:
        return {name: line for name in names if (line := getattr(self, name)) is not None}


_OTHER_THAN_F: Final = (PilotState.A, PilotState.B, PilotState.C, PilotState.D)
"""States that the wire cannot show at 0 %; a short is one of its own."""


class _Signal(msgspec.Struct, frozen=True):
    """High for `percent` of each period: X1 is 100, F is 0."""

    percent: float

    @property
    def oscillates(self) -> bool:
        """Whether the wire has two levels."""
        return 0 < self.percent < 100


class Oscillator(Protocol):
    """See PwmOutput."""

    def set(self, percent: float) -> None:
        """Be high for this part of each period. Raises TransportError."""

    def read(self) -> float:
        """Return that part, as the hardware has it. Raises TransportError."""


class PilotLevels:
    """The levels of the wire: by detectors of its peaks, or from samples of itself."""

    def __init__(self, high: Callable[[], int], low: Callable[[], int] | None, now: Callable[[], float]) -> None:
        self._high, self._low, self._now = high, low, now
        self._window = LevelWindow()
        self._oscillates = self._followed = False
        self._began = float("-inf")

    def restart(self, *, oscillates: bool) -> None:
        """The oscillator was switched."""
        if oscillates and not self._oscillates:
            self._followed, self._began = False, self._now()
        self._oscillates = oscillates
        self._window.restart(oscillates=oscillates)

    def resting_low(self) -> int | None:
        """Return what the detector of the negative peak shows, None without one."""
        return None if self._low is None else self._low()

    def read(self, until: float) -> Levels | None:
        """Sample until a time, or until there are levels; None: more samples are needed."""
        if self._low is not None:
            high, low = self._high(), self._low() if self._oscillates else None
            # a detector follows some periods later: until then it shows no diode that is shorted
            self._followed = self._followed or near(low, NOMINAL_MV[PilotState.F])
            late = self._oscillates and not self._followed and self._now() - self._began < ONE_LEVEL_S
            return None if late else (high, low)
        while True:
            levels = self._window.add((self._high(),), now := self._now())
            if levels is not None or now >= until:
                return levels


class _Settled(Generic[T]):
    """A value that counts once two samples have it: contacts bounce."""

    def __init__(self, value: T) -> None:
        self.value = self._seen = value

    def feed(self, value: T) -> T:
        if value == self._seen:
            self.value = value
        self._seen = value
        return self.value


class _Signs:
    """Signs of life that one thread gives and another one watches, by its own clock."""

    def __init__(self) -> None:
        self._given = self._seen = 0
        self._seen_at = float("-inf")

    def give(self) -> None:
        self._given += 1

    def age(self, now: float) -> float:
        """Return the time since the last sign was there, as the watcher knows."""
        if self._given != self._seen:
            self._seen, self._seen_at = self._given, now
        return now - self._seen_at


class _Sample(msgspec.Struct, frozen=True):
    """What the board shows."""

    state: PilotState = PilotState.F
    fault: PilotFault = ""
    proximity: Proximity = Proximity("open")
    contactor: bool = False
    lock: bool = False
    estop: bool = False
    frozen: bool = False
    three: bool = False
    stuck: bool = False


class BoardThreads:
    """The threads of a board: one that samples, and one that opens the contactor, as the other may hang."""

    def __init__(self) -> None:
        self._ending = threading.Event()
        self._sampling: threading.Thread | None = None
        self._opening: threading.Thread | None = None

    def sample(self, each: Callable[[], None]) -> None:
        """Call this each few milliseconds, until `stop`."""

        def run() -> None:
            while not self._ending.wait(ROUND_S / 2):
                each()

        self._sampling = new_thread(target=run, name="control pilot")
        self._sampling.start()

    def open(self, opening: Callable[[], None]) -> None:
        """Call this once, unless an earlier one still hangs."""
        if self._opening is None or not self._opening.is_alive():
            self._opening = new_thread(target=opening, name="contactor")
            self._opening.start()

    def stop(self) -> None:
        """Wait for the thread that samples, at most `JOIN_S`."""
        self._ending.set()
        if self._sampling is not None:
            self._sampling.join(JOIN_S)


class LinuxBoard(ReportingPilot):
    """See ChargerPilot and Cabinet. Without samples it shows F, an open contactor and the fault `board_lost`; it
    recovers by itself."""

    def __init__(
        self,
        config: LinuxBoardConfig,
        clock: Clock,
        lines: GpioLines,
        oscillator: Oscillator,
        levels: PilotLevels,
        plug: Callable[[], Proximity] | None,
        reference: Callable[[], int] | None,
        threads: BoardThreads,
    ) -> None:
        """Show X1, and begin to sample. Raises TransportError."""
        super().__init__(PilotState.F)
        self._config, self._clock, self._lines = config, clock, lines
        self._oscillator, self._levels, self._plug_reader = oscillator, levels, plug
        self._loop = asyncio.get_running_loop()
        self._signal = self._sampled_signal = _Signal(100)
        self._filter = PilotFilter()
        self._plug = _Settled(Proximity("open"))
        self._closed, self._locked, self._three = (_Settled(value=False) for _ in range(3))
        self._wants_three, self._relay_wrong_since = False, float("inf")
        self._switching = threading.Lock()
        self._driven: bool | None = None
        self._allowed = self._cut = self._toggle = self._resting = False
        self._reference, self._reference_active, self._reference_at = reference, False, float("-inf")
        self._levels_wrong_since: float | None = None
        self._reference_wrong_since: float | None = None
        self._frozen: Levels | None = None  # levels that had not followed the oscillator
        self._seen_levels: tuple[_Signal, Levels] | None = None
        self._guarding: bool | None = None
        self._newest, self._failure = _Sample(), "the pilot has no level"
        self._sampled_at = float("-inf")
        self._samples, self._signs = _Signs(), _Signs()
        self._shown, self._lost, self._estop = _Sample(), True, False
        self.on_contactor: Final = Callbacks[bool]()
        self.on_latch: Final = Callbacks[bool]()
        self._on_fault: Final = Callbacks[str, bool]()
        self.contactor: Final = LinuxContactor(self)
        self._came = asyncio.Event()
        self._oscillator.set(self._signal.percent)
        self._threads = threads
        threads.sample(self._round)
        self._timer = self._loop.call_later(0, self._tick)

    async def ready(self) -> None:
        """Wait for the first levels. Raises TransportError without them."""
        try:
            async with asyncio.timeout(READY_S):
                await self._came.wait()
        except TimeoutError:
            hint = "do the channels and lines in [hardware.drivers.linux] fit the wiring?"
            raise TransportError(f"the control pilot gives no samples: {self._failure}", hint=hint) from None

    def close(self) -> None:
        """Open the contactor, and show F."""
        self._timer.cancel()
        self._threads.stop()
        for name in self._config.outputs:
            if name != "phase_relay":  # the contactor may need a while to open
                with contextlib.suppress(TransportError):
                    self._lines.write(name, active=False)
        with contextlib.suppress(TransportError):
            self._oscillator.set(0)

    # -- the control pilot: ChargerPilot

    @property
    def age_s(self) -> float:
        return self._samples.age(self._clock.monotonic())

    @property
    def duty_percent(self) -> float | None:
        return self._signal.percent if self._signal.oscillates else None

    def _drive(self, percent: float | None, error: PilotState | None) -> None:
        """The wire shows F for both errors, as the output has no 0 V. Raises TransportError."""
        self._signal = _Signal(0 if error is not None else 100 if percent is None else percent)
        self._oscillator.set(self._signal.percent)
        self._report_oscillator(on=self._signal.oscillates)

    # -- the self-test: BoardParts

    async def self_test(self) -> str:
        """See BoardParts: levels, duty cycle read back, auxiliary contact, and the hardware behind `watchdog`."""
        before = self._signal
        try:
            levels = (
                (0.0, NOMINAL_MV[PilotState.F], None),
                (100.0, NOMINAL_MV[PilotState.A], None),
                (50.0, NOMINAL_MV[PilotState.A], NOMINAL_MV[PilotState.F]),
            )
            for percent, high_mv, low_mv in () if self.state.connected else levels:
                self._show_signal(signal := _Signal(percent))

                def shows(signal: _Signal = signal, high_mv: int = high_mv, low_mv: int | None = low_mv) -> bool:
                    seen = self._seen_levels
                    if seen is None or seen[0] is not signal:
                        return False
                    return near(seen[1][0], high_mv) and near(seen[1][1], low_mv)

                if not await self._within(SHOW_S, shows):
                    return f"the pilot shows {self._seen_levels and self._seen_levels[1]} mV at {percent:g} %"
                if abs(self._oscillator.read() - percent) > 0.5:
                    return f"the oscillator is at {self._oscillator.read():g} %, not {percent:g} %"
            if self.contactor.closed:
                return "the contactor is closed"
            # whether the hardware behind `watchdog` acts when that stops to toggle, where it can be seen: without its
            # feedback neither fails
            if self._config.watchdog is None:
                return ""
            for resting, what in ((False, "does not let the contactor close"), (True, "does not act")):
                self._resting = resting
                if not await self._within(WATCHDOG_S, lambda resting=resting: self._guarding is not resting):  # type: ignore[misc]
                    return f"the hardware behind the watchdog line {what}"
            return ""
        finally:
            self._resting = False
            self._show_signal(before)

    def _show_signal(self, signal: _Signal) -> None:
        self._signal = signal
        self._oscillator.set(signal.percent)

    async def _within(self, seconds: float, holds: Callable[[], bool]) -> bool:
        end = self._clock.monotonic() + seconds
        while not holds():
            if self._clock.monotonic() >= end:
                return False
            await asyncio.sleep(ROUND_S)
        return True

    # -- the rest: Cabinet

    @property
    def has_latch(self) -> bool:
        return self._config.lock is not None

    @property
    def temperatures(self) -> dict[str, float | None]:
        """See Cabinet: there are none."""
        return {}

    @property
    def fan_rpm(self) -> int | None:
        """See Cabinet: its speed is not measured."""
        return None

    def set_light(self, light: Light) -> None:
        """See Cabinet: there is no lamp."""

    def set_latch(self, *, locked: bool) -> None:
        """See Cabinet. Raises TransportError."""
        if self._config.lock is not None:
            self._lines.write("lock", active=locked)

    def set_fan(self, percent: int) -> None:
        """See Cabinet: it is on or off. Raises TransportError."""
        if self._config.fan is not None:
            self._lines.write("fan", active=percent > 0)

    def on_fault(self, callback: OnFault) -> None:
        """See Cabinet; present faults are reported at once."""
        self._on_fault(callback)
        if self._lost:
            callback("board_lost", True)  # noqa: FBT003
        if self._estop:
            callback("emergency_stop", True)  # noqa: FBT003

    # -- the thread

    def _round(self) -> None:
        try:
            self._sample()
        except TransportError as error:
            self._failure = str(error)
            with contextlib.suppress(TransportError):  # the next round tries again
                if not self._sound:
                    self._forbid()

    @property
    def _sound(self) -> bool:
        """Whether samples are fresh, and the event loop runs."""
        now = self._clock.monotonic()
        return max(now - self._sampled_at, self._signs.age(now)) < self._config.lost_s

    def _sample(self) -> None:
        """Sample, open what may not stay closed, and pass on what has changed. Raises TransportError."""
        signal = self._signal
        if signal is not self._sampled_signal:
            self._sampled_signal = signal
            self._levels.restart(oscillates=signal.oscillates)
        levels = self._levels.read(self._clock.monotonic() + ROUND_S / 2)
        lines = self._lines.read()
        plug = None if self._plug_reader is None else self._plug_reader()
        now = self._clock.monotonic()
        if levels is not None and signal is self._signal:
            self._filter.feed(read_levels(*levels), now)
            self._judge_levels(signal, levels, now)
            self._seen_levels = signal, levels
            self._sampled_at = now
            self._samples.give()
        self._judge_reference(now)
        wrong_since = self._reference_wrong_since
        frozen = self._frozen is not None or (wrong_since is not None and now - wrong_since >= FOLLOW_S)
        state = PilotState.F if frozen else self._filter.state
        self._guarding = lines.get("watchdog_feedback")
        inserted = lines.get("plug_contact")
        if plug is None:
            plug = Proximity("seated" if (state.connected if inserted is None else inserted) else "open")
        elif inserted is False:
            plug = Proximity("open")
        estop, three = lines.get("emergency_stop", False), self._three.feed(lines.get("phase_relay_feedback", False))
        if three is self._wants_three:
            self._relay_wrong_since = float("inf")
        elif self._relay_wrong_since > now:
            self._relay_wrong_since = now
        moved = self._relay_wrong_since > now
        if state.ready and not estop and inserted is not False and moved and self._sound:
            self._allowed = True
        else:
            self._forbid()
        if self._config.watchdog is not None and self._sound and not self._cut and not self._resting:
            self._toggle = not self._toggle
            self._lines.write("watchdog", active=self._toggle)
        sample = _Sample(
            state,
            self._filter.fault,
            plug if self._plug_reader is None and inserted is None else self._plug.feed(plug),
            self._closed.feed(lines["contactor_feedback"]),
            self._locked.feed(lines.get("lock_feedback", False)),
            estop,
            frozen,
            three,
            now - self._relay_wrong_since >= FOLLOW_S,
        )
        changed, self._newest = sample != self._newest, sample
        if changed:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._show)

    def _judge_levels(self, signal: _Signal, levels: Levels, now: float) -> None:
        """The levels have to follow the oscillator: F is -12 V; without the oscillator there is no negative peak. Where
        they have not, they have to move before they are believed again."""
        high = levels[0]
        if self._frozen is not None and abs(high - self._frozen[0]) > TOLERANCE_MV:
            self._frozen = None
        low = self._levels.resting_low() if signal.percent == 100 else None
        wrong = near(low, NOMINAL_MV[PilotState.F])
        if signal.percent == 0:
            wrong = read_levels(high, None).state in _OTHER_THAN_F
        if not wrong:
            self._levels_wrong_since = None
        elif self._levels_wrong_since is None:
            self._levels_wrong_since = now
        elif now - self._levels_wrong_since >= FOLLOW_S:
            self._frozen = levels

    def _judge_reference(self, now: float) -> None:
        """The reference has to have its voltage, and to follow its line. Raises TransportError."""
        config = self._config.reference
        if config is None or self._reference is None:
            return
        expected = config.active_mv if self._reference_active else config.mv
        if abs(self._reference() - expected) <= config.tolerance_mv:
            self._reference_wrong_since = None
            if config.line is not None and now - self._reference_at >= TOGGLE_S:
                self._reference_active, self._reference_at = not self._reference_active, now
                self._lines.write("reference", active=self._reference_active)
        elif self._reference_wrong_since is None:
            self._reference_wrong_since = now

    def _forbid(self) -> None:
        """Open the contactor; it stays open until it is commanded to close. Raises TransportError."""
        with self._switching:
            self._allowed = False
            if self._driven is not False:
                self._write(closed=False)

    def switch(self, *, closed: bool, cut: bool = False) -> None:
        """Command the contactor, from any thread; after `cut` it has to be commanded open first. That of a lost board
        opens. Raises TransportError."""
        if self._lost:
            self._cut = cut or (self._cut and closed)
            self._open_aside()
            return
        if not self._switching.acquire(timeout=SWITCH_S):
            self._cut = self._cut or cut
            if not closed:
                self._open_aside()  # also after one that closes it slowly
            raise TransportError("another thread hangs while it switches the contactor")
        try:
            self._cut = cut or (self._cut and closed)
            moved = self._three.value is self._wants_three
            self._write(closed=closed and self._allowed and moved and not self._cut)
        finally:
            self._switching.release()

    def switch_phases(self, *, three: bool) -> None:
        """Move the relay of L2 and L3, where the contactor is commanded and measured open; until its contact shows it
        the contactor does not close. Raises TransportError."""
        if not self._switching.acquire(timeout=SWITCH_S):
            raise TransportError("another thread hangs while it switches the contactor")
        try:
            if self._driven is False and not self._newest.contactor and self._sound:
                self._wants_three = three
                self._lines.write("phase_relay", active=three)
        finally:
            self._switching.release()

    def _open_aside(self) -> None:
        """Open the contactor in a thread of its own, which may hang."""
        self._threads.open(self._try_to_open)

    def _try_to_open(self) -> None:
        with contextlib.suppress(TransportError):  # a thread that still samples tries again
            self._forbid()

    def _write(self, *, closed: bool) -> None:
        self._driven = None  # unknown, if this fails
        self._lines.write("contactor", active=closed)
        self._driven = closed

    # -- the event loop

    def _tick(self) -> None:
        self._timer = self._loop.call_later(TICK_S, self._tick)
        self._signs.give()
        self._show()

    def _show(self) -> None:
        """Report what has changed."""
        lost = self._samples.age(self._clock.monotonic()) > self._config.lost_s
        before, self._shown = self._shown, _Sample() if lost else self._newest
        now = self._shown
        was_lost, self._lost = self._lost, lost
        if lost is not was_lost:
            if lost:
                self._open_aside()
            self._on_fault.tell("board_lost", lost)
        if not lost and now.estop is not self._estop:  # a lost board does not end it
            self._estop = now.estop
            self._on_fault.tell("emergency_stop", now.estop)
        if now.frozen is not before.frozen:
            self._on_fault.tell("pilot_frozen", now.frozen)
        if now.stuck is not before.stuck:
            self._on_fault.tell("phases_stuck", now.stuck)
        self._report_wire(now.state, now.fault, now.proximity)
        if before.contactor is not now.contactor:
            self.on_contactor.tell(now.contactor)
        if before.lock is not now.lock:
            self.on_latch.tell(now.lock)
        if not lost:
            self._came.set()


class LinuxContactor:
    """See Contactor. It closes only while the vehicle is ready."""

    def __init__(self, board: LinuxBoard) -> None:
        self._board, self.on_change = board, board.on_contactor

    @property
    def closed(self) -> bool:
        """See Contactor; that of a lost board counts as open."""
        return self._board._shown.contactor

    def cut(self) -> None:
        """See Cut."""
        self._board.switch(closed=False, cut=True)

    def set(self, *, closed: bool) -> None:
        """See Contactor. Raises TransportError."""
        self._board.switch(closed=closed)


class LinuxPhaseSwitch:
    """See PhaseSwitch: a relay of L2 and L3. Under voltage it stays as it is."""

    selects = False

    def __init__(self, board: LinuxBoard) -> None:
        self._board = board

    @property
    def lines(self) -> tuple[int, ...]:
        """See PhaseSwitch, by its auxiliary contact."""
        return LINES if self._board._newest.three else LINES[:1]

    def set(self, lines: tuple[int, ...]) -> None:
        """See PhaseSwitch. Raises TransportError."""
        self._board.switch_phases(three=len(lines) > 1)


def _plug(read: Callable[[], int], config: PlugConfig) -> Proximity:
    return plug_at(read(), config)


def plug_at(mv: int, config: PlugConfig) -> Proximity:
    """Return the state of the proximity contact at this voltage."""
    left_mv = config.supply_mv - mv
    ohm = None if left_mv <= 0 else mv * config.pull_up_ohm // left_mv
    return read_proximity(ohm, config.coding)


@contextlib.asynccontextmanager
async def open_board(
    config: LinuxBoardConfig,
    context: DriverContext,
    take: Callable[[dict[str, GpioLine], dict[str, GpioLine]], GpioLines] | None = None,
) -> AsyncIterator[BoardParts]:
    """Open the board; `take` opens the lines, else `GpiodLines`. Raises TransportError."""
    with contextlib.ExitStack() as stack:
        lines = (take or GpiodLines)(config.outputs, config.inputs)
        stack.callback(lines.close)

        def voltage(of: VoltageConfig) -> Callable[[], int]:
            adc = AdcInput(config.adc, of.channel)
            stack.callback(adc.close)
            # what reads the voltage at the wire, mV
            return lambda: round(adc.read_mv() * of.gain + of.offset_mv)

        low = None if config.pilot_low is None else voltage(config.pilot_low)
        levels = PilotLevels(voltage(config.pilot), low, context.clock.monotonic)
        plug: Callable[[], Proximity] | None = None
        if (at := config.plug) is not None:
            plug = partial(_plug, voltage(at), at)
        pwm = config.pwm
        oscillator = await asyncio.to_thread(
            PwmOutput, pwm.chip, pwm.channel, period_ns=PERIOD_NS, inverted=pwm.inverted
        )
        reference = None if config.reference is None else voltage(config.reference)
        board = LinuxBoard(config, context.clock, lines, oscillator, levels, plug, reference, BoardThreads())
        stack.callback(board.close)
        await board.ready()
        phases = None if config.phase_relay is None else LinuxPhaseSwitch(board)
        if phases is not None:
            board.contactor.set(closed=False)
            phases.set(LINES)
        yield BoardParts(board, board.contactor, board, board.self_test, phases=phases)


DRIVER = Driver("pilot", LinuxBoardConfig, open_board)
