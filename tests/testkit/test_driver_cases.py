"""The contract test of drivers: simulated ones pass, and each of many broken ones fails the case that is about it."""

import asyncio
import inspect
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from secc.hardware.drivers import find
from secc.hardware.meter import SimulatedMeter
from tests.driver_packages import install
from tests.virtual_time import in_simulated_time
from v2g.hardware.interfaces import OFF, Demand, MeterValues, StageReport
from v2g.hardware.meters.registers import swapped
from v2g.io.hardware.driver import DriverContext, Kind
from v2g.io.plc.pilot import SimulatedChargerPilot
from v2g.io.runtime.clock import Clock, ClockConfig
from v2g.io.simulation.power import SimulatedCabinet, SimulatedContactor, SimulatedIsolation, SimulatedStage
from v2g.observe import Callbacks
from v2g_testkit.cases.case import Result, Verdict
from v2g_testkit.driver_cases import Bench, DriverTester, cases, simulated

Patch = pytest.MonkeyPatch
OPEN = Bench(energised=True)
METERED = Bench(power_w=-7_000)
LOADED = Bench(energised=True, discharge=True, voltage_mv=420_000, load_mv=400_000)


def outcome(kind: Kind, bench: Bench, **settings: Any) -> dict[str, Result]:
    """Return the results of the simulated driver of a kind, by the last part of the case's id."""

    async def scenario() -> dict[str, Result]:
        clock = Clock(ClockConfig(origin_monotonic=asyncio.get_running_loop().time(), origin_utc_ms=0))
        async with simulated(bench, clock) as (joined, context):
            with_ = bench if bench.vehicle is not None else replace(joined, energised=bench.energised)
            config = find(kind, "simulated").config(**settings)
            tester = DriverTester(kind, "simulated", config, with_, context)
            return {each.case.id.split("-", 2)[2]: await tester.run(each) for each in cases(kind)}

    return in_simulated_time(scenario())


def named(results: dict[str, Result], verdict: Verdict) -> set[str]:
    return {name for name, each in results.items() if each.verdict is verdict}


@pytest.mark.parametrize(
    ("kind", "bench", "passes"),
    [("pilot", OPEN, 18), ("stage", OPEN, 12), ("stage", LOADED, 12), ("meter", METERED, 9)],
)
def test_simulated_drivers_pass(kind: Kind, bench: Bench, passes: int) -> None:
    results = outcome(kind, bench, **({"latch": True} if kind == "pilot" else {}))
    assert not named(results, Verdict.FAIL), results
    assert len(named(results, Verdict.PASS)) == passes, results


def test_nothing_is_energised_unless_asked_for() -> None:
    moved: list[Any] = []
    with Patch.context() as patch:
        close, drive = SimulatedContactor.set, SimulatedStage.drive
        patch.setattr(
            SimulatedContactor, "set", lambda self, *, closed: (moved.append(closed), close(self, closed=closed))
        )
        patch.setattr(SimulatedStage, "drive", lambda self, demand: (moved.append(demand), drive(self, demand)))
        board = outcome("pilot", Bench())
        assert moved == [True, False, False, False]  # the first is the surroundings'
        stage = outcome("stage", Bench())
    assert {each for each in moved if isinstance(each, Demand)} == {Demand(0)}
    assert "cut" in named(board, Verdict.INCONCLUSIVE)
    assert {"charges", "voltage", "cut", "reports"} <= named(stage, Verdict.INCONCLUSIVE)


def late(kind: type, name: str, seconds: float) -> Callable[[Patch], None]:
    """Let a method take effect later."""
    before = getattr(kind, name)

    def call(self: Any, *args: Any, **kwargs: Any) -> None:
        asyncio.get_running_loop().call_later(seconds, lambda: before(self, *args, **kwargs))

    return lambda patch: patch.setattr(kind, name, call)


def driven(change: Callable[[Demand], Demand]) -> Callable[[Patch], None]:
    """Let a power stage follow another command."""
    before = SimulatedStage.drive
    return lambda patch: patch.setattr(SimulatedStage, "drive", lambda self, demand: before(self, change(demand)))


def seen(change: Callable[[StageReport], StageReport]) -> Callable[[Patch], None]:
    """Let a power stage report another output."""
    before: Any = SimulatedStage.present
    return lambda patch: patch.setattr(SimulatedStage, "present", property(lambda self: change(before.fget(self))))


def made(kind: Any, change: Callable[[Any, Patch], None]) -> Callable[[Patch], None]:
    """Change each new part of a kind."""
    init = kind.__init__

    def patched(patch: Patch) -> None:
        def begin(self: Any, *args: Any, **kwargs: Any) -> None:
            init(self, *args, **kwargs)
            change(self, patch)

        patch.setattr(kind, "__init__", begin)

    return patched


def nothing(kind: type, name: str) -> Callable[[Patch], None]:
    """Let a method do nothing."""
    return lambda patch: patch.setattr(kind, name, lambda *_, **__: None)


def silent(kind: type, name: str) -> Callable[[Patch], None]:
    """Let an event not be reported."""
    return made(kind, lambda part, patch: patch.setattr(getattr(part, name), "tell", lambda *_: None))


def raising(kind: type, name: str) -> Callable[[Patch], None]:
    """Let a method raise."""

    def fail(*_: Any) -> None:
        raise KeyError("line")

    return lambda patch: patch.setattr(kind, name, fail)


def closed_twice(patch: Patch) -> None:
    """Report each command as a movement."""
    before = SimulatedContactor.set

    def set_(self: Any, *, closed: bool) -> None:
        again = closed and closed is self.closed
        before(self, closed=closed)
        if again:
            self.on_change.tell(closed)

    patch.setattr(SimulatedContactor, "set", set_)


def only_opens_when_told_twice(patch: Patch) -> None:
    before = SimulatedContactor.set

    def set_(self: Any, *, closed: bool) -> None:
        if closed or not self.closed:
            before(self, closed=closed)

    patch.setattr(SimulatedContactor, "set", set_)


def slow_isolation(patch: Patch) -> None:
    async def measure(_: Any, _voltage_mv: int) -> int:
        await asyncio.sleep(1_000)
        return 1

    patch.setattr(SimulatedIsolation, "measure", measure)


def comes_back(patch: Patch) -> None:
    """After `cut` the command before is given anew, as by a loop that does not know of it."""
    before = SimulatedStage.cut

    def cut(self: Any) -> None:
        demand = self._model.demand
        before(self)
        self._loop.call_soon_threadsafe(
            self._loop.call_later, 0.5, lambda: [self.drive(each) for each in (OFF, demand)]
        )

    patch.setattr(SimulatedStage, "cut", cut)


def keeps_a_task(patch: Patch) -> None:
    before = SimulatedContactor.close

    def close(self: Any) -> None:
        before(self)
        self._loop.create_task(asyncio.sleep(1_000))

    patch.setattr(SimulatedContactor, "close", close)


def grows_old(patch: Patch) -> None:
    """The state is that of the start, for ever."""
    began = 0.0

    def age(_: Any) -> float:
        return asyncio.get_running_loop().time() - began

    before = SimulatedChargerPilot.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        nonlocal began
        before(self, *args, **kwargs)
        began = asyncio.get_running_loop().time()

    patch.setattr(SimulatedChargerPilot, "__init__", init)
    patch.setattr(SimulatedChargerPilot, "age_s", property(age))


def flaps(kind: type, word: str) -> Callable[[Patch], None]:
    """Let a part report one fault twice."""

    class Flaps(Callbacks[str, bool]):
        def __call__(self, callback: Callable[[str, bool], object]) -> None:
            for _again in range(2):
                asyncio.get_running_loop().call_soon(callback, word, *(True,))
            asyncio.get_running_loop().call_later(1.0, callback, word, *(False,))

    return made(kind, lambda part, patch: patch.setattr(part, "on_fault", Flaps()))


def register(values: Callable[[int], int]) -> Callable[[Patch], None]:
    """Let the import register have these values, one after the other."""
    before: Any = SimulatedMeter.values

    def patched(patch: Patch) -> None:
        count = 0

        def read(self: Any) -> Any:
            nonlocal count
            count += 1
            from msgspec.structs import replace as with_

            found = with_(before.fget(self), import_mwh=values(count))
            if values(count) != values(count - 1):
                self.on_change.tell()
            return found

        patch.setattr(SimulatedMeter, "values", property(read))

    return patched


def volts(report: StageReport) -> StageReport:
    return StageReport(report.voltage_mv // 1000, report.current_ma)


def unsigned(report: StageReport) -> StageReport:
    return StageReport(report.voltage_mv, abs(report.current_ma))


def always(kind: type, name: str, *, value: Any) -> Callable[[Patch], None]:
    """Let a property have one value."""
    return lambda patch: patch.setattr(kind, name, value)


Mutant = tuple[Kind, Bench, Callable[[Patch], None], str]
"""What is broken, how, and the cases that fail."""

BOARDS: dict[str, Mutant] = {
    name: ("pilot", OPEN, break_, fails)
    for name, break_, fails in (
        (
            "closed at the start",
            always(SimulatedContactor, "closed", value=True),
            "open-at-start open-again opens-contactor cut cut-at-rest stays-cut",
        ),
        ("closes late", late(SimulatedContactor, "_move", 5.0), "closes opens-contactor cut stays-cut"),
        ("reports commands", closed_twice, "closes"),
        ("does not open", only_opens_when_told_twice, "opens-contactor"),
        ("cannot be cut", nothing(SimulatedContactor, "cut"), "cut stays-cut"),
        ("its samples grow old", grows_old, "fresh"),
        ("F is not shown", nothing(SimulatedChargerPilot, "set_error"), "error"),
        ("states are not reported", silent(SimulatedChargerPilot, "on_state"), "follows"),
        ("the oscillator is not reported", silent(SimulatedChargerPilot, "on_oscillator"), "duty"),
        ("the lock does not move", nothing(SimulatedCabinet, "set_latch"), "lock"),
        ("the fan does not turn", nothing(SimulatedCabinet, "set_fan"), "fan"),
        ("the emergency stop is reported twice", flaps(SimulatedCabinet, "emergency_stop"), "faults"),
        ("a task stays", keeps_a_task, "releases"),
    )
}
STAGES: dict[str, Mutant] = {
    name: ("stage", OPEN, break_, fails)
    for name, break_, fails in (
        ("the voltage is in V", seen(volts), "voltage off cut insulation stays-cut"),
        ("the voltage is too high", driven(lambda d: Demand(d.voltage_mv * 11 // 10)), "voltage stays-cut"),
        ("changes only are reported, and looked at", nothing(SimulatedStage, "_repeat"), "cut reports"),
        ("voltage stays", driven(lambda d: d if d.voltage_mv else Demand(100_000)), "off off-at-start stays-cut"),
        ("comes back after cut", comes_back, "cut"),
        ("the output cannot be cut", nothing(SimulatedStage, "cut"), "cut stays-cut"),
        ("cutting it raises", raising(SimulatedStage, "cut"), "cut cut-at-rest stays-cut"),
        ("the insulation takes for ever", slow_isolation, "insulation"),
        ("a fault is reported twice", flaps(SimulatedStage, "stage_tripped"), "faults"),
    )
}
LOADED_STAGES: dict[str, Mutant] = {
    "the sign of the current is lost": ("stage", LOADED, seen(unsigned), "discharges"),
    "the power limit is ignored": (
        "stage", LOADED, driven(lambda d: Demand(d.voltage_mv, d.current_ma, 1_000_000)), "power",
    ),
    "a lower current is followed late": ("stage", LOADED, late(SimulatedStage, "drive", 1.0), "lowers"),
}  # fmt: skip
METERS: dict[str, Mutant] = {
    name: ("meter", OPEN, break_, fails)
    for name, break_, fails in (
        ("a register falls", register(lambda count: 1_000 - count // 30), "registers"),
        ("words in another order", register(lambda _: 13_708_200_000 * 1_000_000), "registers"),
        ("there is no voltage", always(SimulatedMeter, "has_voltage", value=False), "voltage"),
        ("the meter is lost", always(SimulatedMeter, "lost", value=True), "refresh"),
        ("the meter flaps", flaps(SimulatedMeter, "meter_lost"), "faults"),
    )
}
MUTANTS = BOARDS | STAGES | LOADED_STAGES | METERS


@pytest.mark.some(8)
@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_driver_fails_the_cases_that_are_about_it_and_no_others(name: str) -> None:
    kind, bench, break_, case = MUTANTS[name]
    with Patch.context() as patch:
        break_(patch)
        results = outcome(kind, bench, **({"latch": True} if kind == "pilot" else {}))
    assert named(results, Verdict.FAIL) == set(case.split()), results


# -- what is wrong with a measurement


def power_of(change: Callable[[int], int]) -> Callable[[Patch], None]:
    """Let the meter show another power than flows."""
    return shown(lambda values: msgspec.structs.replace(values, power_w=change(values.power_w or 0)))


def shown(change: Callable[[MeterValues], MeterValues]) -> Callable[[Patch], None]:
    """Let the meter show other values."""
    before: Any = SimulatedMeter.values
    return lambda patch: patch.setattr(SimulatedMeter, "values", property(lambda self: change(before.fget(self))))


def energy(factor: float) -> Callable[[Patch], None]:
    """Let the export register count too much, or too little."""
    return shown(lambda values: msgspec.structs.replace(values, export_mwh=round(values.export_mwh * factor)))


@pytest.mark.some(4)
@pytest.mark.parametrize(
    ("kind", "bench", "break_", "fails"),
    [
        ("meter", METERED, power_of(lambda watts: -watts), {"power": "the sign is reversed"}),
        ("meter", METERED, power_of(lambda watts: watts // 1_000), {"power": "1000 times too small"}),
        ("meter", METERED, power_of(lambda watts: watts // 3), {"power": "a third: check that all lines"}),
        ("meter", METERED, power_of(lambda watts: watts * 3 // 4), {"power": "shows -5250 W where it has to show"}),
        ("meter", METERED, shown(lambda _: MeterValues(5, 5, 0, 0)), {"power": "nothing", "counts": "stands still"}),
        ("meter", METERED, energy(0.0), {"counts": "export stands still for 200 Wh"}),
        ("meter", METERED, energy(1_000.0), {"counts": "1000 times too large"}),
        ("meter", METERED, energy(0.5), {"counts": "export rises as with -3500 W while -7000 W flow"}),
        ("meter", METERED, shown(swapped), {"power": "the sign is reversed", "counts": "import rises, not export"}),
        (
            "stage", LOADED, seen(lambda report: StageReport(report.voltage_mv, -report.current_ma)),
            dict.fromkeys(("charges", "discharges", "lowers", "power", "cut"), "the sign is reversed"),
        ),
    ],
)  # fmt: skip
def test_a_measurement_that_is_wrong_is_named(
    kind: Kind, bench: Bench, break_: Callable[[Patch], None], fails: dict[str, str]
) -> None:
    with Patch.context() as patch:
        break_(patch)
        results = outcome(kind, bench)
    assert named(results, Verdict.FAIL) == set(fails), results
    for case, words in fails.items():
        assert words in results[case].found


def test_a_known_power_has_to_be_one_that_moves_registers() -> None:
    for bench in (Bench(), Bench(power_w=999.0), Bench(power_w=-999.0)):
        assert named(outcome("meter", bench), Verdict.INCONCLUSIVE) == {"power", "counts"}


# -- what charging does not need: drivers of a maker, right but for one flaw

SIDE = """
import asyncio
from contextlib import asynccontextmanager
import msgspec
from v2g.io.hardware.driver import Driver

class Config(msgspec.Struct, forbid_unknown_fields=True):
    flaw: str = ""

class Reader:
    opened = None

    def __init__(self, flaw):
        self.flaw, self.cards, self.lost = flaw, [], []

    def on_card(self, callback):
        self.cards.append(callback)
        if self.flaw == "reports at rest":
            callback("04A1B2C3", "ISO14443")

    def on_lost(self, callback):
        self.lost.append(callback)
        if self.flaw == "is lost":
            asyncio.get_running_loop().call_later(1, callback, "loose cable")

    def hold(self, count):
        uid = "04A1B2C3"
        if self.flaw == "another identifier each time":
            uid = f"{count:08X}"
        if self.flaw == "lower case":
            uid = uid.lower()
        if self.flaw == "reports the first card only" and count > 1:
            return
        report = lambda: [callback(uid, "ISO14443") for callback in self.cards]
        if self.flaw == "reports in a thread":
            import threading
            thread = threading.Thread(target=report)
            thread.start()
            thread.join()
            return
        report()
        if self.flaw == "repeats":
            asyncio.get_running_loop().call_later(1, report)

class Display:
    def __init__(self, flaw):
        self.flaw, self.before = flaw, None

    async def show(self, shown):
        if self.flaw == "needs a language" and shown.get("content") and not shown["language"]:
            raise ValueError("no language")
        if self.flaw == "cannot be empty" and not shown:
            raise KeyError("content")
        if self.flaw == "needs a message" and shown and "content" not in shown:
            raise KeyError("content")
        if self.flaw == "knows ASCII":
            shown.get("content", "").encode("ascii")
        if self.flaw == "hangs with codes" and len(shown.get("qr_codes", ())) > 1:
            await asyncio.sleep(1_000)

@asynccontextmanager
async def reader(config, context):
    Reader.opened = Reader(config.flaw)
    yield Reader.opened
    if config.flaw == "leaves a task":
        asyncio.get_running_loop().create_task(asyncio.sleep(1_000))

@asynccontextmanager
async def display(config, context):
    yield Display(config.flaw)

DRIVERS = (Driver("card_reader", Config, reader), Driver("display", Config, display))
"""


@pytest.mark.some(4)
@pytest.mark.parametrize(
    ("kind", "flaw", "fails"),
    [
        ("card_reader", "", ""),
        ("card_reader", "leaves a task", "releases"),
        ("card_reader", "reports at rest", "rest"),
        ("card_reader", "is lost", "rest"),
        ("card_reader", "reports the first card only", "again"),
        ("card_reader", "repeats", "card"),
        ("card_reader", "another identifier each time", "again"),
        ("card_reader", "lower case", "card again"),
        ("card_reader", "reports in a thread", "card again"),
        ("display", "", ""),
        ("display", "needs a language", "message"),
        ("display", "cannot be empty", "clears"),
        ("display", "needs a message", "beside"),
        ("display", "hangs with codes", "beside"),
        ("display", "knows ASCII", "any-text"),
    ],
)
def test_drivers_of_card_readers_and_displays(
    kind: Kind, flaw: str, fails: str, tmp_path: Path, monkeypatch: Patch
) -> None:
    name = f"side_{uuid.uuid4().hex}"  # a module is imported once in a process
    install(tmp_path, monkeypatch, {"acme": f"{name}:DRIVERS"}, {name: SIDE})
    driver, held = find(kind, "acme"), 0

    async def card(there: bool) -> None:
        nonlocal held
        held += there
        if there:
            inspect.unwrap(driver.open).__globals__["Reader"].opened.hold(held)

    async def scenario() -> dict[str, Result]:
        nonlocal held
        tester = DriverTester(kind, "acme", driver.config(flaw=flaw), Bench(card=card), DriverContext(clock=Clock()))
        found = {}
        for each in cases(kind):
            held = 0
            found[each.case.id.split("-", 2)[2]] = await tester.run(each)
        return found

    results = in_simulated_time(scenario())
    assert named(results, Verdict.FAIL) == set(fails.split()), results
    assert not named(results, Verdict.INCONCLUSIVE)
