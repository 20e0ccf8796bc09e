"""Contract test of drivers (`v2g.io.hardware.driver`): what a charger expects of each part, beyond the types that
`secc.hardware.driver_guard` checks. The cases of each kind; `driver_tester` runs them."""

import asyncio
import contextlib
import math
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, get_args

import msgspec

from secc.hardware.driver_guard import guarded
from secc.hardware.drivers import INTERFACES, KINDS, opened
from secc.hardware.meter import ANY_MV, SimulatedMeter
from v2g.errors import ConfigError, V2GError
from v2g.hardware import interfaces
from v2g.hardware.faults import Light
from v2g.hardware.interlock import TOUCH_MV
from v2g.hardware.meters.plausibility import STUCK_WH
from v2g.iec61851.pilot import PilotState
from v2g.io.hardware.driver import DriverContext, Kind
from v2g.io.plc.pilot import SimulatedVehiclePilot
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import new_thread
from v2g.io.simulation.lines import VehicleDcLine
from v2g.io.simulation.medium import Room
from v2g.io.simulation.power import Faults, SimulatedContactor, Simulation
from v2g.ocpp.messages.base import MessageFormat
from v2g_testkit.cases.case import Case, Result, Verdict

OFF_MA: Final = 1_000
"""Current that counts as none."""

LOWER_S: Final = 0.5
"""Time for a power stage to follow a lower current, or `cut`."""

RAMP_S: Final = 10.0
"""Time for a power stage to reach a voltage or a current."""

PILOT_S: Final = 1.0
"""Time for a pilot to show a new state."""

STEADY_S: Final = 1.0
WATCH_S: Final = 3.0
"""How long an output has to keep what it has reached, and how long a part is watched."""

CUT_S: Final = 0.2
"""Time for `cut`, which the watchdog's thread calls."""

LOOKS: Final = 20
LOOK_S: Final = 0.01
"""How often what the process holds is counted, and the time between."""

HUNG_S: Final = 1.0
"""Time for which the event loop stops after `cut`, so that a part whose own watchdog switches it off does."""

REFRESH_S: Final = 5.0

MEASURES: Final = 0.2
"""How far a measured power or energy may be from what flows, of it: a wrong sign, unit, ratio or line is further."""

LEAST_W: Final = 1_000
"""Power with which the registers of a meter move within minutes."""

EMERGENCY_S: Final = 1.0
"""Time for an emergency output to follow."""

CARD_S: Final = 2.0
"""Time for a reader to report a card."""

Stimulus = Callable[[PilotState], Awaitable[None]]
"""Lets a vehicle, or its simulator, show B or C."""

CardStimulus = Callable[[bool], Awaitable[None]]
"""Holds a card to the reader (True), or takes it away."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What is connected to the driver's part, and what the test may do with it. Voltages mV, currents mA.

    `load_mv` is the voltage of a battery, or of another source and sink, at the output of a power stage; None leaves
    the output open. Nothing gets voltage or current, and no contactor closes, unless it is `energised`. `power_w` flows
    through a meter, positive into the vehicle, as another instrument shows it. A card is away for `away_s` before it
    counts again.
    """

    energised: bool = False
    discharge: bool = False
    voltage_mv: int = 400_000
    current_ma: int = 10_000
    load_mv: int | None = None
    power_w: float | None = None
    contactor_s: float = 3.0
    discharge_s: float = 5.0
    isolation_s: float = 30.0
    vehicle: Stimulus | None = None
    card: CardStimulus | None = None
    away_s: float = 3.0


class Failed(Exception):
    """The driver does not do what a case requires."""


class Inapplicable(Exception):
    """The driver's part has nothing that a case is about."""


Open = Callable[[], AbstractAsyncContextManager[Any]]
"""Opens the part."""

Check = Callable[[Open, Bench], Awaitable[str]]
"""Does what a case says; returns what it found. Raises Failed, Inapplicable."""


@dataclass(frozen=True)
class DriverCase:
    """A case, what it needs of the bench, and its check."""

    case: Case
    check: Check
    energises: bool = False
    load: bool | None = None
    """Whether a load has to be connected, or must not be; None does not matter."""
    vehicle: bool = False
    discharges: bool = False
    power: bool = False
    card: bool = False

    def obstacle(self, bench: Bench) -> str:
        """Return why the case cannot run at this bench, or nothing."""
        if self.energises and not bench.energised:
            return "energises the part: --energised"
        if self.vehicle and bench.vehicle is None:
            return "needs a vehicle that shows B and C: --pilot COMMAND"
        if self.card and bench.card is None:
            return "needs a card: --card COMMAND"
        if self.power and abs(bench.power_w or 0) < LEAST_W:
            return f"needs a known power through the meter, at least {LEAST_W} W: --power WATT"
        if self.load is True and bench.load_mv is None:
            return "needs a source and sink at the output: --load VOLT"
        if self.load is False and bench.load_mv is not None:
            return "needs an open output: without --load"
        if self.discharges and not bench.discharge:
            return "discharges the load: --discharge"
        return ""


CASES: Final[dict[Kind, list[DriverCase]]] = {kind: [] for kind in KINDS}

_LETTERS: Final[dict[Kind, str]] = {
    "pilot": "PILOT", "stage": "STAGE", "meter": "METER", "emergency": "EMERGENCY", "card_reader": "READER",
    "display": "DISPLAY",
}  # fmt: skip


def _case(
    kind: Kind, name: str, title: str, required: str, **needs: bool | None
) -> Callable[[Callable[[Any, Bench], Awaitable[str]]], Check]:
    """Register the check of an open part as a case."""

    def register(check: Callable[[Any, Bench], Awaitable[str]]) -> Check:
        async def run(open_: Open, bench: Bench) -> str:
            async with open_() as part:
                return await check(part, bench)

        case = Case(id=f"HW-{_LETTERS[kind]}-{name}", title=title, required=required)
        CASES[kind].append(DriverCase(case, run, **needs))  # type: ignore[arg-type]
        return run

    return register


# -- helpers


async def _until(holds: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait for a condition; return how long that took. Raises Failed when it does not come."""
    began = asyncio.get_running_loop().time()
    while not holds():
        if asyncio.get_running_loop().time() - began > seconds:
            raise Failed(f"{what} within {seconds:g} s")
        await asyncio.sleep(0.01)
    return asyncio.get_running_loop().time() - began


async def _stays(holds: Callable[[], bool], seconds: float, what: str) -> None:
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        _require(holds(), what)
        await asyncio.sleep(0.02)


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise Failed(what)


async def _reads(shown: Callable[[], float | None], right: float, margin: float, seconds: float, unit: str) -> float:
    """Wait for a value; return how long that took. Raises Failed with what the value is like that does not come."""
    try:
        return await _until(lambda: abs((shown() or 0) - right) <= margin, seconds, "")
    except Failed:
        found = shown() or 0
        raise Failed(f"shows {found:g} {unit} where it has to show {right:g} {unit}{_likely(found / right)}") from None


def _likely(ratio: float) -> str:
    """Return what a value of this ratio to the right one is usually due to, or nothing."""
    size, likely = abs(ratio), list[str]()
    if not size:
        return "; nothing is measured: check wiring and register"
    if ratio < 0:
        likely.append("the sign is reversed: check the direction of the part, and the sign in the driver's map")
    if (power := round(math.log10(size))) and abs(size / 10.0**power - 1) <= MEASURES:
        likely.append(f"{10 ** abs(power)} times too {'large' if power > 0 else 'small'}: check unit and scale")
    elif abs(size * 3 - 1) <= MEASURES:
        likely.append("a third: check that all lines are measured")
    return "".join(f"; {each}" for each in likely)


async def _cut(part: Any) -> None:
    """Cut as the watchdog does: from a thread, which does not wait for long."""
    raised: list[Exception] = []

    def cut() -> None:
        try:
            part.cut()
        except Exception as error:  # noqa: BLE001 - code of others
            raised.append(error)

    thread = new_thread(target=cut, name="cut")
    thread.start()
    await asyncio.sleep(0)
    thread.join(CUT_S)  # it has to work without the event loop
    _require(not thread.is_alive(), f"cut does not return within {CUT_S:g} s")
    _require(not raised, f"cut fails: {raised}")


async def _faults_once(watch: Callable[[interfaces.OnFault], None]) -> str:
    """Watch the faults that a part reports."""
    reports: list[tuple[str, bool]] = []
    watch(lambda word, active: reports.append((word, active)))
    await asyncio.sleep(WATCH_S)
    active: set[str] = set()
    for word, begins in reports:
        _require(begins is not (word in active), f"{word} is reported {'again' if begins else 'as ended'}")
        active ^= {word}
    _require(not active, f"reports {', '.join(sorted(active))}")
    return "no fault"


async def _passes(test: interfaces.SelfTest | None) -> str:
    if test is None:
        raise Inapplicable("the driver offers no test of its own")
    try:
        async with asyncio.timeout(interfaces.SELF_TEST_S):
            failed = await test()
    except TimeoutError:
        raise Failed(f"no result within {interfaces.SELF_TEST_S:g} s") from None
    _require(not failed, failed)
    return "passed"


# -- all kinds: what opening and closing leave behind


def _everywhere(name: str, title: str, required: str) -> Callable[[Check], Check]:
    def register(check: Check) -> Check:
        for kind, cases in CASES.items():
            cases.append(DriverCase(Case(id=f"HW-{_LETTERS[kind]}-{name}", title=title, required=required), check))
        return check

    return register


@_everywhere("opens", "open the part, and close it", "the part answers, and all its values are valid")
async def _opens(open_: Open, _: Bench) -> str:
    async with open_():
        return "opened"


@_everywhere("releases", "open and close the part again", "closing leaves no task, thread or descriptor behind")
async def _releases(open_: Open, _: Bench) -> str:
    async with open_():  # what stays for the process, such as loaded libraries, is there after the first time
        pass
    before = await _held()
    async with open_():
        pass
    left = {kind: count - before[kind] for kind, count in (await _held()).items() if count > before[kind]}
    _require(not left, f"leaves {', '.join(f'{count} {kind}' for kind, count in left.items())}")
    return "everything released"


async def _held() -> dict[str, int]:
    """Count what stays: the fewest of several looks, as others in the process open and close things meanwhile."""
    looks: list[dict[str, int]] = []
    for _ in range(LOOKS):
        await asyncio.sleep(LOOK_S)
        looks.append(
            {
                "tasks": len(asyncio.all_tasks()),
                "threads": threading.active_count(),
                "descriptors": len(list(Path("/proc/self/fd").iterdir())),
            }
        )
    return {kind: min(look[kind] for look in looks) for kind in looks[0]}


# -- a control board


async def _ready(parts: interfaces.BoardParts, bench: Bench) -> interfaces.ChargerPilot:
    """Let a vehicle be ready for energy."""
    pilot = _pilot(parts)
    assert bench.vehicle is not None
    pilot.set_duty(5.0)
    for state in (PilotState.B, PilotState.C):
        await bench.vehicle(state)
        await _until(lambda state=state: pilot.state is state, PILOT_S, f"pilot does not show {state.value}")  # type: ignore[misc]
    return pilot


def _pilot(parts: interfaces.BoardParts) -> interfaces.ChargerPilot:
    if parts.pilot is None:
        raise Inapplicable("no control pilot")
    return parts.pilot


async def _closed(parts: interfaces.BoardParts, bench: Bench) -> list[bool]:
    """Close the contactor; return where its changes are reported."""
    await _ready(parts, bench)
    moved: list[bool] = []
    parts.contactor.on_change(moved.append)
    parts.contactor.set(closed=True)
    await _until(lambda: parts.contactor.closed, bench.contactor_s, "contactor does not report that it is closed")
    return moved


@_case("pilot", "open-at-start", "open the board", "the contactor is open, and no pilot signal is a charging one")
async def _open_at_start(parts: interfaces.BoardParts, _: Bench) -> str:
    _require(not parts.contactor.closed, "contactor is closed")
    _require(parts.pilot is None or parts.pilot.duty_percent is None, "oscillator runs")
    return "contactor open, oscillator off"


@_case("pilot", "open-again", "open the open contactor, twice", "it stays open, and reports no change")
async def _open_again(parts: interfaces.BoardParts, _: Bench) -> str:
    moved: list[bool] = []
    parts.contactor.on_change(moved.append)
    for _again in range(2):
        parts.contactor.set(closed=False)
    await asyncio.sleep(0.2)
    _require(not parts.contactor.closed and not moved, "contactor reports a change")
    return "no change"


@_case(
    "pilot", "closes", "close the contactor while the vehicle is ready, twice",
    "its auxiliary contact reports it once, within its time", energises=True, vehicle=True,
)  # fmt: skip
async def _closes(parts: interfaces.BoardParts, bench: Bench) -> str:
    moved = await _closed(parts, bench)
    parts.contactor.set(closed=True)
    await asyncio.sleep(0.2)
    _require(moved == [True], f"{moved.count(True)} reports that it closes, {moved.count(False)} that it opens")
    return "closed"


@_case(
    "pilot", "opens-contactor", "open the closed contactor", "its auxiliary contact reports it, within its time",
    energises=True, vehicle=True,
)  # fmt: skip
async def _opens_contactor(parts: interfaces.BoardParts, bench: Bench) -> str:
    moved = await _closed(parts, bench)
    parts.contactor.set(closed=False)
    await _until(lambda: moved[-1:] == [False], bench.contactor_s, "contactor does not report that it is open")
    _require(not parts.contactor.closed, "contactor reports a change, and stays closed")
    return "open"


@_case(
    "pilot", "cut", "cut while the contactor is closed, then stop the event loop",
    "the contactor is open without the event loop", energises=True, vehicle=True,
)  # fmt: skip
async def _contactor_cut(parts: interfaces.BoardParts, bench: Bench) -> str:
    await _closed(parts, bench)
    await _cut(parts.contactor)
    if parts.contactor.closed:  # its own watchdog has to notice
        threading.Event().wait(HUNG_S)
    await _until(lambda: not parts.contactor.closed, LOWER_S, "contactor is not open")
    return "open"


@_case(
    "pilot", "cut-at-rest", "cut the open contactor from a thread, and command it open", "it returns, and nothing moves"
)
async def _open_contactor_cut(parts: interfaces.BoardParts, _: Bench) -> str:
    moved: list[bool] = []
    parts.contactor.on_change(moved.append)
    await _cut(parts.contactor)
    await _stays(lambda: not parts.contactor.closed and not moved, STEADY_S, "contactor reports a change")
    parts.contactor.set(closed=False)
    return "nothing moves"


@_case(
    "pilot", "stays-cut", "cut the open contactor while the vehicle is ready, close it, open it, close it",
    "it closes only after it was commanded open", energises=True, vehicle=True,
)  # fmt: skip
async def _stays_cut(parts: interfaces.BoardParts, bench: Bench) -> str:
    await _ready(parts, bench)
    await _cut(parts.contactor)
    parts.contactor.set(closed=True)
    await _stays(lambda: not parts.contactor.closed, STEADY_S, "cut does nothing: the contactor closes")
    parts.contactor.set(closed=False)
    parts.contactor.set(closed=True)
    await _until(lambda: parts.contactor.closed, bench.contactor_s, "contactor does not close any more")
    return "open until commanded open"


@_case(
    "pilot", "duty", "switch the oscillator on, to another duty cycle, and off", "it follows, and reports on and off"
)
async def _duty(parts: interfaces.BoardParts, _: Bench) -> str:
    pilot, reports = _pilot(parts), list[bool]()
    pilot.on_oscillator(reports.append)
    for percent in (5.0, 50.0, None):
        pilot.set_duty(percent)
        await asyncio.sleep(0.1)
        got = pilot.duty_percent
        same = got is None if percent is None else got is not None and abs(got - percent) < 0.5
        _require(same, f"{percent} % set, {got} % reported")
    _require(reports == [True, False], f"oscillator reported {reports}")
    return "5 %, 50 %, off"


@_case("pilot", "fresh", "watch the board at rest", f"its state is never older than {interfaces.FRESH_S:g} s")
async def _fresh(parts: interfaces.BoardParts, _: Bench) -> str:
    pilot, oldest = _pilot(parts), 0.0
    end = asyncio.get_running_loop().time() + WATCH_S
    while asyncio.get_running_loop().time() < end:
        oldest = max(oldest, pilot.age_s)
        _require(oldest <= interfaces.FRESH_S, f"{oldest:.2f} s old")
        await asyncio.sleep(0.02)
    return f"at most {oldest:.2f} s old"


@_case("pilot", "error", "force F, and end it", "the pilot shows F, then not any more")
async def _error(parts: interfaces.BoardParts, _: Bench) -> str:
    pilot = _pilot(parts)
    pilot.set_error(PilotState.F)
    await _until(lambda: pilot.state is PilotState.F, PILOT_S, "pilot does not show F")
    pilot.set_duty(None)
    await _until(lambda: pilot.state is not PilotState.F, PILOT_S, "pilot still shows F")
    return "F"


@_case("pilot", "follows", "let the vehicle show B, C, B", "each state is reported", vehicle=True)
async def _follows(parts: interfaces.BoardParts, bench: Bench) -> str:
    reports: list[PilotState] = []
    _pilot(parts).on_state(reports.append)
    pilot = await _ready(parts, bench)
    assert bench.vehicle is not None
    await bench.vehicle(PilotState.B)
    await _until(lambda: pilot.state is PilotState.B, PILOT_S, "pilot does not show B")
    _require(
        reports[-2:] == [PilotState.C, PilotState.B], f"reported {' '.join(each.value for each in reports) or 'none'}"
    )
    return "B, C, B"


@_case("pilot", "lock", "lock and release the plug", "each movement is reported")
async def _lock(parts: interfaces.BoardParts, bench: Bench) -> str:
    if not parts.cabinet.has_latch:
        raise Inapplicable("no plug lock")
    reports: list[bool] = []
    parts.cabinet.on_latch(reports.append)
    for locked in (True, False):
        parts.cabinet.set_latch(locked=locked)
        what = f"lock does not report that it is {'locked' if locked else 'released'}"
        await _until(lambda locked=locked: reports[-1:] == [locked], bench.contactor_s, what)  # type: ignore[misc]
    return "locked, released"


@_case("pilot", "fan", "switch the fan on and off", "its speed follows")
async def _fan(parts: interfaces.BoardParts, _: Bench) -> str:
    cabinet = parts.cabinet
    if cabinet.fan_rpm is None:
        raise Inapplicable("no fan")
    cabinet.set_fan(100)
    await _until(lambda: bool(cabinet.fan_rpm), WATCH_S, "fan does not turn")
    rpm = cabinet.fan_rpm
    cabinet.set_fan(0)
    return f"{rpm} rpm"


@_case("pilot", "temperatures", "read the temperatures", "each sensor works, and is at room temperature")
async def _temperatures(parts: interfaces.BoardParts, _: Bench) -> str:
    await asyncio.sleep(STEADY_S)
    measured = parts.cabinet.temperatures
    for name, celsius in measured.items():
        _require(celsius is not None, f"sensor {name} has failed")
        _require(celsius is not None and -30 <= celsius <= 60, f"sensor {name} reports {celsius} degrees C")
    return ", ".join(f"{name} {celsius:g} °C" for name, celsius in measured.items()) or "no sensor"


@_case("pilot", "lamp", "show each signal of the lamp", "each is accepted")
async def _lamp(parts: interfaces.BoardParts, _: Bench) -> str:
    for light in get_args(Light):
        parts.cabinet.set_light(light)
    return f"{len(get_args(Light))} signals"


@_case("pilot", "self-test", "let the board test itself", "it passes, and leaves pilot and contactor as they were")
async def _self_test(parts: interfaces.BoardParts, _: Bench) -> str:
    pilot = parts.pilot
    if pilot is not None:
        await _until(lambda: pilot.state is not PilotState.F, PILOT_S, "the pilot does not leave F")
        await asyncio.sleep(PILOT_S / 4)  # it may not have measured yet
        if pilot.state.connected:
            raise Inapplicable("a vehicle is connected")
    before = None if parts.pilot is None else (parts.pilot.state, parts.pilot.duty_percent)
    found = await _passes(parts.self_test)
    await _until(
        lambda: before == (None if parts.pilot is None else (parts.pilot.state, parts.pilot.duty_percent)),
        PILOT_S,
        "the pilot is not as it was",
    )
    _require(not parts.contactor.closed, "the contactor is closed")
    return found


@_case("pilot", "faults", "watch the board at rest", "it reports no fault, and none again and again")
async def _board_faults(parts: interfaces.BoardParts, _: Bench) -> str:
    return await _faults_once(parts.cabinet.on_fault)


# -- a power stage


def _off(stage: interfaces.PowerStage, bench: Bench) -> bool:
    """Return whether the output is off: without current, and if nothing else is connected without voltage."""
    present = stage.present
    return abs(present.current_ma) <= OFF_MA and (bench.load_mv is not None or present.voltage_mv < TOUCH_MV)


def _tolerance(value: int, least: int) -> int:
    return max(least, value // 20)


def _demand(bench: Bench, current_ma: int, power_w: int | None = None) -> interfaces.Demand:
    watts = bench.voltage_mv * abs(current_ma) // 1_000_000
    return interfaces.Demand(bench.voltage_mv, current_ma, watts if power_w is None else power_w)


async def _flows(stage: interfaces.PowerStage, current_ma: int) -> float:
    """Wait for a current; return the seconds."""
    margin = _tolerance(abs(current_ma), OFF_MA) / 1000
    return await _reads(lambda: stage.present.current_ma / 1000, current_ma / 1000, margin, RAMP_S, "A")


async def _reach(stage: interfaces.PowerStage, voltage_mv: int) -> float:
    margin = _tolerance(voltage_mv, 5_000) / 1000
    return await _reads(lambda: stage.present.voltage_mv / 1000, voltage_mv / 1000, margin, RAMP_S, "V")


@_case("stage", "off-at-start", "command off, twice", "there is no current, and no voltage at an open output")
async def _off_at_start(parts: interfaces.StageParts, bench: Bench) -> str:
    for _again in range(2):
        parts.stage.drive(interfaces.OFF)
        await _stays(lambda: _off(parts.stage, bench), STEADY_S, "the output is not off")
    return "off"


@_case(
    "stage", "voltage", "drive the open output", "the voltage is reached, not exceeded, and no current is reported",
    energises=True, load=False,
)  # fmt: skip
async def _voltage(parts: interfaces.StageParts, bench: Bench) -> str:
    stage, most = parts.stage, 0

    def on_report(report: interfaces.StageReport) -> None:
        nonlocal most
        most = max(most, report.voltage_mv)

    stage.on_report(on_report)
    stage.drive(interfaces.Demand(bench.voltage_mv))
    seconds = await _reach(stage, bench.voltage_mv)
    await _stays(
        lambda: abs(stage.present.voltage_mv - bench.voltage_mv) <= _tolerance(bench.voltage_mv, 5_000),
        STEADY_S,
        "does not keep the voltage",
    )
    _require(abs(stage.present.current_ma) <= OFF_MA, f"reports {stage.present.current_ma} mA into nothing")
    _require(most <= bench.voltage_mv + _tolerance(bench.voltage_mv, 5_000), f"exceeds the voltage: {most} mV")
    return f"{stage.present.voltage_mv / 1000:g} V after {seconds:.1f} s"


@_case(
    "stage", "off", "switch the driven, open output off", "the voltage is safe to touch within its time",
    energises=True, load=False,
)  # fmt: skip
async def _switches_off(parts: interfaces.StageParts, bench: Bench) -> str:
    parts.stage.drive(interfaces.Demand(bench.voltage_mv))
    await _reach(parts.stage, bench.voltage_mv)
    parts.stage.drive(interfaces.OFF)
    seconds = await _until(lambda: _off(parts.stage, bench), bench.discharge_s, "the output is not off")
    return f"below 60 V after {seconds:.1f} s"


@_case(
    "stage", "reports", "drive without a change", f"it reports at least every {interfaces.REPORT_S:g} s", energises=True
)
async def _reports(parts: interfaces.StageParts, bench: Bench) -> str:
    loop, at = asyncio.get_running_loop(), list[float]()
    parts.stage.drive(interfaces.Demand(bench.voltage_mv))
    await asyncio.sleep(STEADY_S)
    began = loop.time()
    parts.stage.on_report(lambda _: at.append(loop.time()))
    await asyncio.sleep(WATCH_S)
    gap = max(after - before for before, after in zip([began, *at], [*at, loop.time()], strict=True))
    _require(gap <= 1.5 * interfaces.REPORT_S, f"no report for {gap:.2f} s")
    return f"longest interval {gap:.2f} s"


@_case(
    "stage", "charges", "drive a current into the load", "it is reached, and reported as positive",
    energises=True, load=True,
)  # fmt: skip
async def _charges(parts: interfaces.StageParts, bench: Bench) -> str:
    parts.stage.drive(_demand(bench, bench.current_ma))
    seconds = await _flows(parts.stage, bench.current_ma)
    return f"{parts.stage.present.current_ma / 1000:g} A after {seconds:.1f} s"


@_case(
    "stage", "discharges", "drive a current out of the load", "it is reached, and reported as negative",
    energises=True, load=True, discharges=True,
)  # fmt: skip
async def _discharges(parts: interfaces.StageParts, bench: Bench) -> str:
    parts.stage.drive(_demand(bench, -bench.current_ma))
    seconds = await _flows(parts.stage, -bench.current_ma)
    return f"{parts.stage.present.current_ma / 1000:g} A after {seconds:.1f} s"


@_case(
    "stage", "lowers", "halve the current, then command none", f"each is followed within {LOWER_S:g} s",
    energises=True, load=True,
)  # fmt: skip
async def _lowers(parts: interfaces.StageParts, bench: Bench) -> str:
    parts.stage.drive(_demand(bench, bench.current_ma))
    await _flows(parts.stage, bench.current_ma)
    took = []
    for current_ma in (bench.current_ma // 2, 0):
        parts.stage.drive(_demand(bench, current_ma))
        most = current_ma + _tolerance(current_ma, OFF_MA)
        what = f"{current_ma} mA are exceeded"
        took.append(await _until(lambda most=most: parts.stage.present.current_ma <= most, LOWER_S, what))  # type: ignore[misc]
    return f"within {max(took):.2f} s"


@_case(
    "stage", "power", "limit the power to half of what the current would be", "the limit is kept, and used",
    energises=True, load=True,
)  # fmt: skip
async def _power(parts: interfaces.StageParts, bench: Bench) -> str:
    assert bench.load_mv is not None
    limit_w = bench.load_mv * bench.current_ma // 2_000_000
    parts.stage.drive(_demand(bench, bench.current_ma, limit_w))
    await _flows(parts.stage, bench.current_ma // 2)
    await _stays(
        lambda: parts.stage.present.power_w <= limit_w + _tolerance(limit_w, 500), STEADY_S, "exceeds its power limit"
    )
    return f"{parts.stage.present.power_w} W"


@_case(
    "stage", "cut", "cut the driven output", "it is off without the event loop, and stays off until commanded off",
    energises=True,
)  # fmt: skip
async def _stage_cut(parts: interfaces.StageParts, bench: Bench) -> str:
    stage = parts.stage
    if bench.load_mv is None:
        stage.drive(interfaces.Demand(bench.voltage_mv))
        await _reach(stage, bench.voltage_mv)
    else:
        stage.drive(_demand(bench, bench.current_ma))
        await _flows(stage, bench.current_ma)
    await _cut(stage)
    within_s = bench.discharge_s if bench.load_mv is None else LOWER_S
    await _until(lambda: _off(stage, bench), within_s, "the output is not off")
    await _stays(lambda: _off(stage, bench), STEADY_S, "the output comes back by itself")
    return "off"


@_case(
    "stage", "cut-at-rest", "cut the output from a thread while it is off, and command it off",
    "it returns, and the output stays off",
)  # fmt: skip
async def _off_stage_cut(parts: interfaces.StageParts, bench: Bench) -> str:
    await _cut(parts.stage)
    await _stays(lambda: _off(parts.stage, bench), STEADY_S, "the output is not off")
    parts.stage.drive(interfaces.OFF)
    return "off"


@_case(
    "stage", "stays-cut", "cut the output while it is off, drive it, command it off, drive it",
    "it is on only after it was commanded off", energises=True, load=False,
)  # fmt: skip
async def _stage_stays_cut(parts: interfaces.StageParts, bench: Bench) -> str:
    await _cut(parts.stage)
    parts.stage.drive(interfaces.Demand(bench.voltage_mv))
    await _stays(lambda: _off(parts.stage, bench), STEADY_S, "cut does nothing: the output has voltage")
    for demand in (interfaces.OFF, interfaces.Demand(bench.voltage_mv)):
        parts.stage.drive(demand)
    await _reach(parts.stage, bench.voltage_mv)
    return "off until commanded off"


@_case(
    "stage", "insulation", "measure the insulation of the driven, open output", "there is a result within its time",
    energises=True, load=False,
)  # fmt: skip
async def _insulation(parts: interfaces.StageParts, bench: Bench) -> str:
    parts.stage.drive(interfaces.Demand(bench.voltage_mv))
    await _reach(parts.stage, bench.voltage_mv)
    try:
        async with asyncio.timeout(bench.isolation_s):
            ohm = await parts.isolation.measure(bench.voltage_mv)
    except TimeoutError:
        raise Failed(f"no result within {bench.isolation_s:g} s") from None
    _require(ohm is not None, "the monitor does not answer")
    return f"{ohm} ohm"


@_case("stage", "isolation-test", "let the isolation monitor test itself", "it passes, if the driver offers it")
async def _isolation_test(parts: interfaces.StageParts, _: Bench) -> str:
    return await _passes(parts.isolation_test)


@_case("stage", "faults", "watch the power stage at rest", "it reports no fault, and none again and again")
async def _stage_faults(parts: interfaces.StageParts, _: Bench) -> str:
    return await _faults_once(parts.stage.on_fault)


# -- a meter


MOST_MWH: Final = 10**15
"""Energy that no meter of a charger has counted: 1 TWh."""


@_case("meter", "registers", "read the meter for a while", "its registers do not fall, and stay below their rollover")
async def _registers(meter: interfaces.EnergyMeter, _: Bench) -> str:
    last = meter.values
    end = asyncio.get_running_loop().time() + WATCH_S
    while asyncio.get_running_loop().time() < end:
        await asyncio.sleep(0.05)
        now = meter.values
        for name in ("import_mwh", "export_mwh"):
            register, most = getattr(now, name), meter.rollover_mwh
            _require(register >= getattr(last, name), f"{name} falls from {getattr(last, name)} to {register}")
            _require(most is None or register < most, f"{name} is not below {most}")
            _require(register < MOST_MWH, f"{name} is {register}: the order of words, or the unit, is another one")
        last = now
    power = "" if last.power_w is None else f", {last.power_w} W"
    return f"import {last.import_mwh / 1e6:g} kWh, export {last.export_mwh / 1e6:g} kWh{power}"


@_case("meter", "changes", "read the meter for a while", "each new reading is reported")
async def _changes(meter: interfaces.EnergyMeter, _: Bench) -> str:
    reported, last, missed = 0, meter.values, 0

    def on_change() -> None:
        nonlocal reported, last
        reported, last = reported + 1, meter.values

    meter.on_change(on_change)
    end = asyncio.get_running_loop().time() + WATCH_S
    while asyncio.get_running_loop().time() < end:
        await asyncio.sleep(0.05)
        missed += meter.values != last
    _require(not missed, "new readings are not reported")
    return f"{reported} readings in {WATCH_S:g} s"


@_case("meter", "refresh", "ask for a fresh reading", f"it is there within {REFRESH_S:g} s, and the meter is not lost")
async def _refresh(meter: interfaces.EnergyMeter, _: Bench) -> str:
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(REFRESH_S):
            await meter.refresh()
    except TimeoutError:
        raise Failed("no fresh reading") from None
    _require(not meter.lost, "the meter is lost")
    return f"after {loop.time() - began:.2f} s"


@_case("meter", "voltage", "read the voltage", "there is one if and only if the meter says so, in mV")
async def _meter_voltage(meter: interfaces.EnergyMeter, _: Bench) -> str:
    voltage_mv = meter.values.voltage_mv
    _require((voltage_mv is not None) is meter.has_voltage, f"has_voltage is {meter.has_voltage}, it is {voltage_mv}")
    if voltage_mv is None:
        raise Inapplicable("no voltage")
    _require(voltage_mv == 0 or 10_000 <= voltage_mv <= 1_500_000, f"{voltage_mv / 1000:g} V: check unit and scale")
    return f"{voltage_mv / 1000:g} V"


@_case("meter", "power", "read a known power", "it is shown in W, and into the vehicle as positive", power=True)
async def _meter_power(meter: interfaces.EnergyMeter, bench: Bench) -> str:
    assert bench.power_w is not None
    if meter.values.power_w is None:
        raise Inapplicable("no power")
    await _reads(lambda: meter.values.power_w, bench.power_w, abs(bench.power_w) * MEASURES, WATCH_S, "W")
    return f"{meter.values.power_w} W"


@_case(
    "meter", "counts", f"let a known power flow, for at most {STUCK_WH} Wh",
    "the register of its direction rises as it flows, and the other one does not", power=True,
)  # fmt: skip
async def _counts(meter: interfaces.EnergyMeter, bench: Bench) -> str:
    assert bench.power_w is not None
    into, loop = bench.power_w > 0, asyncio.get_running_loop()

    def registers() -> tuple[int, int]:
        """Return the one that has to rise, and the other."""
        values = meter.values
        return (values.import_mwh, values.export_mwh) if into else (values.export_mwh, values.import_mwh)

    name, other_name = ("import", "export") if into else ("export", "import")
    began, (first, other) = loop.time(), registers()
    moves: list[tuple[float, int]] = []
    while len(moves) < 2 or moves[-1][0] - moves[0][0] < WATCH_S:  # a register moves in steps: between two of them
        await asyncio.sleep(0.02)
        rises, still = registers()
        turned = f"{other_name} rises, not {name}: turn the meter or its transformers round, or exchange the registers"
        _require(still == other, turned)
        if rises != (moves[-1][1] if moves else first):
            moves.append((loop.time(), rises))
        flowed_wh = abs(bench.power_w) * (loop.time() - (moves[-1][0] if moves else began)) / 3_600
        stands = f"{name} stands still for {STUCK_WH} Wh: is it the right register, and its unit and scale right?"
        _require(flowed_wh <= STUCK_WH, stands)
    (since, before), (until, after) = moves[0], moves[-1]
    ratio = (after - before) * 3.6 / (until - since) / abs(bench.power_w)
    what = f"{name} rises as with {ratio * bench.power_w:.0f} W while {bench.power_w:g} W flow{_likely(ratio)}"
    _require(abs(ratio - 1) <= MEASURES, what)
    return f"{name} rises by {(after - before) / 1_000:g} Wh in {until - since:.1f} s"


@_case("meter", "faults", "watch the meter", "it reports no fault, and none again and again")
async def _meter_faults(meter: interfaces.EnergyMeter, _: Bench) -> str:
    return await _faults_once(meter.on_fault)


# -- an emergency output


@_case("emergency", "asserts", "assert the emergency output, and release it", "it follows", energises=True)
async def _asserts(output: interfaces.EmergencyOutput, _: Bench) -> str:
    took = []
    for asserted, what in ((True, "not asserted"), (False, "not released")):
        output.set(asserted=asserted)
        took.append(await _until(lambda asserted=asserted: output.asserted is asserted, EMERGENCY_S, what))  # type: ignore[misc]
    return f"asserted after {took[0] * 1000:.0f} ms, released after {took[1] * 1000:.0f} ms"


# -- a card reader


_ELSEWHERE: Final = "reports a card in another thread than that of the event loop"


def _cards(reader: interfaces.CardReader) -> list[str]:
    """Return where the reader's cards are reported. They have to be, in the event loop."""
    reports: list[str] = []
    loop = threading.current_thread()

    def card(uid: str, _: str) -> None:
        reports.append(uid if threading.current_thread() is loop else _ELSEWHERE)

    reader.on_card(card)
    return reports


@_case("card_reader", "rest", "watch the reader without a card", "it reports no card, and stays")
async def _rest(reader: interfaces.CardReader, _: Bench) -> str:
    cards, lost = _cards(reader), list[str]()
    reader.on_lost(lost.append)
    await asyncio.sleep(WATCH_S)
    _require(not cards, f"reports {', '.join(cards)}")
    _require(not lost, f"is lost: {', '.join(lost)}")
    return "no card"


async def _uid(bench: Bench, cards: list[str]) -> str:
    """Hold a card to the reader; return its identifier."""
    assert bench.card is not None
    del cards[:]
    await bench.card(True)  # noqa: FBT003
    await _until(lambda: bool(cards), CARD_S, "the card is not reported")
    _require(_ELSEWHERE not in cards, _ELSEWHERE)
    return cards[0]


@_case("card_reader", "card", "hold a card to the reader", "it is reported once, in the event loop", card=True)
async def _card(reader: interfaces.CardReader, bench: Bench) -> str:
    assert bench.card is not None
    cards = _cards(reader)
    uid = await _uid(bench, cards)
    await asyncio.sleep(WATCH_S)
    await bench.card(False)  # noqa: FBT003
    _require(cards == [uid], f"reports {', '.join(cards)}")
    return uid


@_case("card_reader", "again", "take the card away, and hold it again", "it is reported again, the same", card=True)
async def _card_again(reader: interfaces.CardReader, bench: Bench) -> str:
    assert bench.card is not None
    cards, found = _cards(reader), list[str]()
    for _again in range(2):
        found.append(await _uid(bench, cards))
        await bench.card(False)  # noqa: FBT003
        await asyncio.sleep(bench.away_s)
    _require(found[0] == found[1], f"reports {' and then '.join(found)}")
    return f"{found[0]}, twice"


# -- a display

_MESSAGE: Final = {
    "id": 1, "priority": "NormalCycle", "format": "UTF8", "language": "en", "content": "Half price until six",
    "extra": [{"format": "UTF8", "language": "de", "content": "Bis sechs zum halben Preis"}],
}  # fmt: skip
_CODE: Final = {"evse": 1, "url": "https://pay.example/CS1/1?otp=46728113", "quality": "Medium"}
_NOTICE: Final = {"evse": 1, "word": "accepted", "text": ""}


@_case("display", "message", "show a message in each format, also without a language", "each is shown")
async def _message(display: interfaces.DriverDisplay, _: Bench) -> str:
    formats = get_args(get_args(MessageFormat)[0])
    for each in formats:
        await display.show({**_MESSAGE, "format": each, "language": None if each == formats[0] else "en"})
    return ", ".join(formats)


@_case("display", "clears", "show a message, and then none", "both are shown, also twice")
async def _clears(display: interfaces.DriverDisplay, _: Bench) -> str:
    for shown in (_MESSAGE, {}, {}, _MESSAGE, _MESSAGE):
        await display.show(shown)
    return "cleared"


@_case("display", "beside", "show codes and notices, with and without a message", "each is shown")
async def _beside(display: interfaces.DriverDisplay, _: Bench) -> str:
    for message in ({}, _MESSAGE):
        for more in ({"qr_codes": [_CODE]}, {"notice": _NOTICE}, {"qr_codes": [_CODE, _CODE], "notice": _NOTICE}):
            await display.show({**message, **more})
    return "codes and notices"


@_case("display", "any-text", "show long text, and text with controls and many scripts", "each is shown")
async def _any_text(display: interfaces.DriverDisplay, _: Bench) -> str:
    texts = (
        "",
        "x" * 1024,
        "\x1b[2J\x00\r\n\t",
        "</p><script>alert(1)</script>",
        "充电 \u202eشحن 🔌",
        "$(reboot) %s {0}",
    )
    for text in texts:
        await display.show({**_MESSAGE, "content": text})
    return f"{len(texts)} texts"


def cases(kind: Kind) -> Sequence[DriverCase]:
    """Return the cases of drivers of a kind."""
    return CASES[kind]


class DriverTester:
    """Runs cases in sequence, each with a part of its own."""

    def __init__(self, kind: Kind, name: str, config: msgspec.Struct, bench: Bench, context: DriverContext) -> None:
        self._kind, self._name, self._config, self._bench, self._context = kind, name, config, bench, context
        self._opens = True

    async def run(self, case: DriverCase) -> Result:
        """Run a case and evaluate it; none after a part that does not open at all. Raises ConfigError as drivers do."""
        loop = asyncio.get_running_loop()
        began, wrong = loop.time(), list[str]()

        @contextlib.asynccontextmanager
        async def open_() -> AsyncIterator[object]:
            async with opened(self._kind, self._name, self._config, self._context) as part:
                if case.power and isinstance(part, SimulatedMeter):
                    current_ma = round((self._bench.power_w or 0) / ANY_MV * 1_000_000)
                    part.flow(self._context.clock.elapsed_ms(), ANY_MV, current_ma)
                yield _guarded(self._kind, part, wrong)

        verdict, found = Verdict.INCONCLUSIVE, case.obstacle(self._bench)
        if not self._opens:
            verdict, found = Verdict.NOT_EXERCISED, "the part does not open"
        elif not found:
            try:
                verdict, found = Verdict.PASS, await case.check(open_, self._bench)
            except Inapplicable as why:
                verdict, found = Verdict.NOT_APPLICABLE, str(why)
            except ConfigError:
                raise
            except V2GError as why:
                verdict, found = Verdict.FAIL, f"{why} ({why.hint})" if why.hint else str(why)
                self._opens = case.check is not _opens
            except Failed as why:
                verdict, found = Verdict.FAIL, str(why)
            if wrong and verdict is Verdict.PASS:
                verdict, found = Verdict.FAIL, wrong[0]
        return Result(case=case.case.id, verdict=verdict, found=found, seconds=round(loop.time() - began, 3))


def _guarded(kind: Kind, part: object, wrong: list[str]) -> object:
    """Return a part as the charger has it; what the driver fails to do is added to `wrong`."""
    match part:
        case interfaces.BoardParts():
            pilot = None if part.pilot is None else guarded(part.pilot, interfaces.ChargerPilot, wrong.append)
            contactor = guarded(part.contactor, interfaces.Contactor, wrong.append)
            return interfaces.BoardParts(
                pilot, contactor, guarded(part.cabinet, interfaces.Cabinet, wrong.append), part.self_test
            )
        case interfaces.StageParts():
            stage = guarded(part.stage, interfaces.PowerStage, wrong.append)
            return interfaces.StageParts(
                stage, guarded(part.isolation, interfaces.IsolationMonitor, wrong.append), part.isolation_test
            )
    return guarded(part, INTERFACES[kind], wrong.append)


@contextlib.asynccontextmanager
async def simulated(bench: Bench, clock: Clock) -> AsyncIterator[tuple[Bench, DriverContext]]:
    """Join simulated parts with a simulated vehicle, whose battery is the load."""
    room = Room()
    car = room.attach("evcc")
    pilot, line, faults = SimulatedVehiclePilot(car), VehicleDcLine(car), Faults((), clock)
    contactor = SimulatedContactor(faults)
    contactor.set(closed=True)
    if bench.load_mv is not None:
        line.publish(bench.load_mv, contactor_closed=True, max_charge_ma=1_000_000, max_discharge_ma=1_000_000)

    async def vehicle(state: PilotState) -> None:
        if not pilot.plugged:
            pilot.plug()
        pilot.set_state(state)

    simulation = Simulation(faults=faults, medium=room.attach("evse"), serial="TEST")
    yield replace(bench, vehicle=vehicle), DriverContext(clock=clock, contactor=contactor, simulation=simulation)
    faults.close()
