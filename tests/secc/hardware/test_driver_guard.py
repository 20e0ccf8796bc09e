"""Drivers that raise, report nonsense, or stop working while a vehicle charges: a fault, and the contactor opens."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import msgspec
import pytest

from pki_tools.tree import PkiTree
from secc.hardware import driver_guard
from secc.hardware.driver_guard import guarded
from secc.hardware.safety import SafetyChannel
from tests.safety.channels import RATING, FaultLog
from tests.safety.judged.rig import Rig, rig
from tests.virtual_time import in_simulated_time, simulated
from v2g.errors import TransportError
from v2g.hardware.interfaces import (
    Cabinet,
    Contactor,
    EnergyMeter,
    IsolationMonitor,
    MeterValues,
    OnFault,
    PowerStage,
    StageReport,
)
from v2g.io.plc.pilot import SimulatedChargerPilot
from v2g.io.runtime.clock import Clock, ClockConfig
from v2g.io.runtime.watchdog import Watchdog
from v2g.io.simulation.power import SimulatedCabinet, SimulatedContactor, SimulatedIsolation, SimulatedStage
from v2g.iso15118.d20.charts import State

Patch = pytest.MonkeyPatch


def fails(*_: Any, **__: Any) -> Any:
    """Raise what nobody has foreseen."""
    raise ZeroDivisionError("a driver's own \x1b[31m error")


def shows(kind: type, name: str, value: Any) -> Callable[[Patch, Rig], None]:
    """Let a property of a driver have this value, or raise."""
    read = value if callable(value) else lambda _: value
    return lambda patch, _: patch.setattr(kind, name, property(read))


def takes_no(kind: type, name: str) -> Callable[[Patch, Rig], None]:
    """Let a method of a driver raise."""
    return lambda patch, _: patch.setattr(kind, name, fails)


def says(event: str, *values: Any) -> Callable[[Patch, Rig], None]:
    """Let the stage report these values, the next time that it is looked at."""

    def tell(patch: Patch, _: Rig) -> None:
        before: Any = SimulatedStage.present

        def read(self: Any) -> Any:
            patch.setattr(SimulatedStage, "present", before)
            getattr(self, event).tell(*values)
            return before.fget(self)

        patch.setattr(SimulatedStage, "present", property(read))

    return tell


FLAWS = {
    "present raises": shows(SimulatedStage, "present", fails),
    "present is nothing": shows(SimulatedStage, "present", None),
    "present has no number": shows(SimulatedStage, "present", StageReport("400 V", 0)),  # type: ignore[arg-type]
    "present is not finite": shows(SimulatedStage, "present", StageReport(float("nan"), 0)),  # type: ignore[arg-type]
    "present is impossible": shows(SimulatedStage, "present", StageReport(400_000, 10**12)),
    "no report": lambda patch, _: patch.setattr(SimulatedStage, "_repeat", lambda _: None),
    "report is nothing": says("on_report", None),
    "report has two values": says("on_report", 400_000, 10_000),
    "unknown fault": says("on_fault", "burns", *(True,)),
    "state is not measured": shows(SimulatedChargerPilot, "age_s", 1.1),
    "closed raises": shows(SimulatedContactor, "closed", fails),
    "closed is text": shows(SimulatedContactor, "closed", "yes"),
    "temperatures raise": shows(SimulatedCabinet, "temperatures", fails),
    "temperature is not finite": shows(SimulatedCabinet, "temperatures", {"plug": float("nan")}),
    "temperature is a list": shows(SimulatedCabinet, "temperatures", [20.0]),
    "fan raises": shows(SimulatedCabinet, "fan_rpm", fails),
    "fan takes no command": takes_no(SimulatedCabinet, "set_fan"),
    "insulation raises": shows(SimulatedIsolation, "resistance_ohm", fails),
    "insulation is negative": shows(SimulatedIsolation, "resistance_ohm", -5),
}


@pytest.mark.some(2)
@pytest.mark.parametrize("flaw", FLAWS)
def test_a_driver_that_fails_while_energy_flows_is_a_fault_that_opens(pki: PkiTree, tmp_path: Path, flaw: str) -> None:
    async def scenario() -> None:
        async with rig(pki, tmp_path) as found:
            await found.charge(settle_s=2.0)
            FLAWS[flaw](patch, found)
            await found.off(1.6, looping=True)
            assert "charger_failed" in found.evse.faults
            (why,) = {each.data["why"] for each in found.named("hardware", "driver_failed")}
            assert "\x1b" not in str(why)
            await found.stays_off(5.0, looping=True)

    with pytest.MonkeyPatch.context() as patch:
        in_simulated_time(scenario())


@pytest.mark.parametrize(
    "flaw",
    [takes_no(SimulatedStage, "drive"), takes_no(SimulatedContactor, "set"), takes_no(SimulatedCabinet, "set_light")],
    ids=["drive", "set", "light"],
)
def test_a_driver_that_takes_no_command_is_cut_at_the_next_one(pki: PkiTree, tmp_path: Path, flaw: Any) -> None:
    async def scenario() -> None:
        async with rig(pki, tmp_path) as found:
            await found.charge(settle_s=2.0)
            flaw(patch, found)
            found.evse.fault("emergency_stop", active=True)
            await found.off(0.5)
            assert "charger_failed" in found.evse.faults
            await found.stays_off(5.0)
            patch.undo()

    with pytest.MonkeyPatch.context() as patch:
        in_simulated_time(scenario())


@pytest.mark.parametrize("flaw", ["hangs", "raises", "nonsense"])
def test_a_measurement_of_the_insulation_that_fails_lets_no_energy_flow(
    pki: PkiTree, tmp_path: Path, flaw: str
) -> None:
    async def measure(_: Any, _voltage_mv: int) -> Any:
        if flaw == "hangs":
            await asyncio.sleep(1_000)
        return fails() if flaw == "raises" else "1 Mohm"

    async def scenario() -> None:
        async with rig(pki, tmp_path) as found:
            await found.to(State.DC_CABLE_CHECK)
            asking = asyncio.create_task(found.step("DC_CableCheckReq"))
            await asyncio.sleep(35.0)
            assert "charger_failed" in found.evse.faults
            assert not found.evse.contactors_closed
            await found.stays_off(5.0)
            asking.cancel()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver_guard, "LONGEST_S", {"measure": 5.0})
        patch.setattr(SimulatedIsolation, "measure", measure)
        in_simulated_time(scenario())


class Held:
    """A contactor whose `cut` never returns."""

    closed = False

    def set(self, *, closed: bool) -> None:
        """Ignore it."""

    def on_change(self, callback: Callable[[bool], None]) -> None:
        """It never changes."""

    def cut(self) -> None:
        import threading

        threading.Event().wait()


@simulated
async def test_a_part_that_hangs_does_not_keep_others_from_being_cut(monkeypatch: Patch) -> None:
    watchdog = Watchdog()
    clock = Clock(ClockConfig(origin_monotonic=asyncio.get_running_loop().time(), origin_utc_ms=0))
    channel = SafetyChannel(RATING, clock, lambda _: None, watchdog=watchdog)
    channel.stand_over(FaultLog())
    other = Cut()
    channel.contactor(other)
    channel.contactor(Held())
    for _ in range(20):
        watchdog.check()
    assert other.was_cut
    channel.close()


class Cut(Held):
    was_cut = False

    def cut(self) -> None:
        self.was_cut = True


GOOD = MeterValues(1, 2)


class Meter:
    """A meter with one flaw."""

    lost = False
    rollover_mwh = None
    has_voltage = True

    def __init__(self, values: Any = GOOD, *, hangs: bool = False) -> None:
        self._values, self._hangs = values, hangs

    @property
    def values(self) -> MeterValues:
        return self._values() if callable(self._values) else self._values

    async def refresh(self) -> None:
        await asyncio.sleep(1_000 if self._hangs else 0)

    def on_change(self, callback: Callable[[], None]) -> None:
        """It never changes."""

    def on_fault(self, callback: OnFault) -> None:
        callback("meter_lost", "perhaps")  # type: ignore[arg-type]


def test_a_meter_that_hangs_or_reports_nonsense_is_named() -> None:
    failures: list[str] = []

    async def scenario() -> None:
        meter = guarded(Meter(hangs=True), EnergyMeter, failures.append)
        await meter.refresh()
        meter.on_fault(lambda *_: failures.append("passed on"))
        assert meter.values == GOOD

    in_simulated_time(scenario())
    assert failures == [
        "EnergyMeter.refresh: no result within 5 s",
        "EnergyMeter.on_fault: ValidationError: Expected `bool`, got `str`",
    ]


def test_faults_of_a_driver_pass_by_their_codes_and_no_others() -> None:
    failures, passed = list[str](), list[tuple[str, bool]]()
    meter = Meter()
    meter.on_fault = lambda callback: (callback("meter_lost", True), callback("burns", True))  # type: ignore[assignment, func-returns-value, misc]  # noqa: FBT003
    guarded(meter, EnergyMeter, failures.append).on_fault(lambda word, active: passed.append((word, active)))
    assert passed == [("meter_lost", True)]
    assert failures == ["EnergyMeter.on_fault: ValueError: 'burns' is not a fault"]


@pytest.mark.parametrize("reported", [("meter_lost",), ("meter_lost", True, "since")])
def test_a_report_with_other_values_than_declared_is_not_passed_on(reported: tuple[Any, ...]) -> None:
    failures, passed = list[str](), list[Any]()
    meter = Meter()
    meter.on_fault = lambda callback: callback(*reported)  # type: ignore[method-assign]
    guarded(meter, EnergyMeter, failures.append).on_fault(lambda *values: passed.append(values))
    assert not passed
    assert [each.partition(" ")[0] for each in failures] == ["EnergyMeter.on_fault:"]


def test_a_cut_that_fails_asks_nothing_of_the_charger() -> None:
    """The watchdog's thread cuts, perhaps because the charger hangs, and goes on with the next part."""
    failures: list[str] = []
    part = type("Stuck", (), {"closed": False, "cut": fails, "on_change": fails, "set": fails})()
    with pytest.raises(ZeroDivisionError):
        guarded(part, Contactor, failures.append).cut()  # type: ignore[call-arg]
    assert not failures


class Insulation:
    """Measures what it is given."""

    resistance_ohm = 1

    async def measure(self, voltage_mv: int) -> int:
        """See IsolationMonitor."""
        return -voltage_mv


def test_ranges_of_an_interface_are_checked() -> None:
    failures: list[str] = []

    async def scenario() -> None:
        assert await guarded(Insulation(), IsolationMonitor, failures.append).measure(5) is None

    in_simulated_time(scenario())
    assert failures == ["IsolationMonitor.measure: ValidationError: Expected `int` >= 0"]
    wrong = Insulation()
    wrong.resistance_ohm = -1
    with pytest.raises(TransportError, match="resistance_ohm"):
        guarded(wrong, IsolationMonitor, fails)


def test_time_for_a_driver_and_the_length_of_its_errors() -> None:
    assert driver_guard.LONGEST_S == {"measure": 30.0, "refresh": 5.0, "show": 10.0}
    failures: list[str] = []

    def long_winded(*_: Any) -> None:
        raise ValueError("x" * 1_000)

    part = type("Wordy", (), {"closed": False, "cut": fails, "on_change": fails, "set": long_winded})()
    guarded(part, Contactor, failures.append).set()  # type: ignore[call-arg]
    assert failures == ["Contactor.set: ValueError: " + "x" * 188]


@pytest.mark.parametrize("values", [None, fails, MeterValues(-1, 0), MeterValues(1.5, 0)])  # type: ignore[arg-type]
def test_a_part_that_is_wrong_at_the_start_is_refused(values: Any) -> None:
    with pytest.raises(TransportError, match=r"the driver's EnergyMeter\.values: "):
        guarded(Meter(values), EnergyMeter, fails)


def test_a_part_without_a_method_is_refused() -> None:
    with pytest.raises(TransportError, match="the driver's Contactor has no method 'set'"):
        guarded(type("Half", (), {"closed": False, "cut": fails, "on_change": fails})(), Contactor, fails)
    with pytest.raises(TransportError, match="IsolationMonitor has no method 'measure'"):
        guarded(object(), IsolationMonitor, fails)


def test_what_is_not_of_an_interface_is_not_behind_the_guard() -> None:
    meter = guarded(Meter(), EnergyMeter, fails)
    assert not hasattr(meter, "_values")


class Changing:
    """Gives the same object again, and changes it."""

    has_latch = False
    fan_rpm = None

    def __init__(self) -> None:
        self.temperatures: dict[str, Any] = {"plug": 20.0}

    def __getattr__(self, name: str) -> Any:
        return fails


def test_a_value_that_a_driver_changes_in_place_is_checked_each_time() -> None:
    failures: list[str] = []
    part = Changing()
    cabinet = guarded(part, Cabinet, failures.append)
    part.temperatures["plug"] = 60.0
    assert cabinet.temperatures == {"plug": 60.0}
    part.temperatures["plug"] = "hot"
    assert cabinet.temperatures == {"plug": 60.0}
    assert [each.partition(":")[0] for each in failures] == ["Cabinet.temperatures"]


@dataclass
class Reading:
    """A driver's own StageReport, that can change."""

    voltage_mv: Any
    current_ma: int


@pytest.mark.parametrize("own", [False, True])
def test_a_report_is_valid_for_as_long_as_it_is_the_same(own: bool) -> None:
    failures: list[str] = []
    part = type("Stage", (), {"max_var": 0, "__getattr__": lambda *_: fails})()
    part.present = Reading(400_000, 10) if own else StageReport(400_000, 10)
    stage = guarded(part, PowerStage, failures.append)
    assert stage.present is stage.present or own
    assert stage.present == StageReport(400_000, 10)
    if own:
        part.present.voltage_mv = 410_000
    else:
        part.present = StageReport(410_000, 10)
    assert stage.present == StageReport(410_000, 10)
    assert not failures
    if own:
        part.present.voltage_mv = "none"
    else:
        part.present = StageReport("none", 10)  # type: ignore[arg-type]
    assert stage.present == stage.present == StageReport(410_000, 10)
    assert len(failures) == 2


class Loose(msgspec.Struct):
    """Can change."""

    celsius: float


class Deep(msgspec.Struct, frozen=True):
    """Holds what can change."""

    celsius: list[float]


class Probe(Protocol):
    """An interface of such."""

    @property
    def loose(self) -> Loose:
        """One that can change."""

    @property
    def deep(self) -> Deep:
        """One that holds what can change."""


def test_a_structure_that_can_change_is_checked_each_time() -> None:
    failures: list[str] = []
    part = SimpleNamespace(loose=Loose(20.0), deep=Deep([20.0]))
    probe: Probe = guarded(part, Probe, failures.append)
    part.loose.celsius = 30.0
    part.deep.celsius.append(30.0)
    assert (probe.loose, probe.deep) == (Loose(30.0), Deep([20.0, 30.0]))
    part.loose.celsius = "hot"
    part.deep.celsius.append("hot")
    assert (probe.loose, probe.deep) == (Loose(30.0), Deep([20.0, 30.0]))
    assert [each.partition(":")[0] for each in failures] == ["Probe.loose", "Probe.deep"]
