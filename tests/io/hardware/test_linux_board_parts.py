"""What a control board of the computer's own parts is made of: its levels, threads and configuration, and files."""

import asyncio
import contextlib
import itertools
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.io.hardware.linux_machine import CONTACT, KEYS, REFERENCE, RELAY, WATCHDOG, config_of
from tests.together import together
from tests.waiting import until
from v2g.config import Table
from v2g.errors import TransportError
from v2g.iec61851.pilot import ONE_LEVEL_S, PilotState
from v2g.iec61851.proximity import Proximity
from v2g.io.hardware.driver import DriverContext
from v2g.io.hardware.linux_board import (
    DRIVER,
    BoardThreads,
    LinuxBoardConfig,
    PilotLevels,
    PlugConfig,
    PwmConfig,
    ReferenceConfig,
    VoltageConfig,
    open_board,
    plug_at,
)
from v2g.io.runtime.clock import Clock

# -- its levels


def levels_of(samples: list[int], low: list[int] | None = None) -> PilotLevels:
    """Return levels from these samples, one each ms."""
    times = iter(range(1_000))
    found = iter(samples)
    return PilotLevels(lambda: next(found), None if low is None else lambda: low[0], lambda: next(times) / 1_000)


def test_levels_of_detectors_are_read_at_once() -> None:
    levels = levels_of([9_000, 8_900, 8_800], [-12_000])
    assert levels.read(0.0) == (9_000, None)
    levels.restart(oscillates=True)
    assert levels.read(0.0) == (8_900, -12_000)
    levels.restart(oscillates=False)
    assert (levels.read(0.0), levels.resting_low()) == ((8_800, None), -12_000)


def test_a_detector_of_the_low_level_follows_the_oscillator_within_100_ms() -> None:
    """Else what it showed before would be a shorted diode, which only another vehicle clears."""
    at, low = [1.0], [9_000]
    levels = PilotLevels(lambda: 9_000, lambda: low[0], lambda: at[0])
    levels.restart(oscillates=True)
    for at[0], low[0], found in (
        (1.0, 9_000, False),
        (1.01, -3_000, False),  # on its way
        (1.02, -11_000, True),
        (1.03, -8_000, True),  # a diode shorted later
    ):
        assert levels.read(0.0) == ((9_000, low[0]) if found else None)
    at[0] = 2.0
    levels.restart(oscillates=True)  # another duty cycle
    assert levels.read(0.0) == (9_000, -8_000)
    levels.restart(oscillates=False)
    assert levels.read(0.0) == (9_000, None)
    levels.restart(oscillates=True)
    assert levels.read(0.0) is None
    at[0] = 2.0 + ONE_LEVEL_S
    assert levels.read(0.0) == (9_000, -8_000)


def test_without_detectors_the_wire_is_sampled_for_some_time() -> None:
    levels = levels_of([9_000, 9_001, 9_002, 9_000, -12_000, 9_000, -12_000, -12_001, 9_001, 5, 6, 7])
    assert levels.resting_low() is None
    assert levels.read(0.001) is None
    assert levels.read(9.0) == (9_001, None)
    levels.restart(oscillates=True)
    assert levels.read(0.005) is None
    assert levels.read(9.0) == (9_000, -12_000)
    levels.restart(oscillates=False)
    assert levels.read(9.0) == (6, None)


# -- its threads


def wait(event: threading.Event) -> None:
    assert event.wait(30)


def test_a_thread_samples_until_it_is_stopped() -> None:
    threads, often, count = BoardThreads(), threading.Event(), itertools.count()
    names: set[str] = set()

    def each() -> None:
        names.add(threading.current_thread().name)
        if next(count) == 5:
            often.set()

    threads.sample(each)
    wait(often)
    threads.stop()
    after = next(count)
    assert "control pilot" not in {each.name for each in threading.enumerate()}
    assert (next(count), names) == (after + 1, {"control pilot"})


def test_a_round_is_waited_for_and_not_for_ever() -> None:
    threads, began, go_on = BoardThreads(), threading.Event(), threading.Event()
    done: list[str] = []

    def each() -> None:
        began.set()
        go_on.wait(30)
        done.append("round")

    threads.sample(each)
    wait(began)
    threads.stop()
    assert done == []
    threading.Timer(0.05, go_on.set).start()
    threads.stop()
    assert done == ["round"]


def test_the_contactor_is_opened_by_one_thread_at_a_time() -> None:
    threads, began, go_on = BoardThreads(), threading.Event(), threading.Event()
    names: list[str] = []

    def opening() -> None:
        names.append(threading.current_thread().name)
        began.set()
        go_on.wait(30)

    threads.open(opening)
    wait(began)
    threads.open(opening)
    (first,) = [each for each in threading.enumerate() if each.name == "contactor"]
    assert names == ["contactor"]
    go_on.set()
    first.join(30)
    threads.open(opening)
    assert threading.active_count() >= 1
    for each in threading.enumerate():
        if each.name == "contactor":
            each.join(30)
    assert names == ["contactor"] * 2


# -- its configuration, and the parts of Linux


def test_its_lines_are_those_that_are_configured() -> None:
    few = config_of(lock=None, lock_feedback=None, fan=None, emergency_stop=None)
    assert (set(few.outputs), set(few.inputs)) == ({"contactor"}, {"contactor_feedback"})
    all_ = config_of(**WATCHDOG, **REFERENCE, **CONTACT)
    assert {name: line.line for name, line in all_.outputs.items()} == {
        "contactor": 1,
        "lock": 3,
        "fan": 5,
        "watchdog": 7,
        "reference": 9,
    }
    assert {name: line.line for name, line in all_.inputs.items()} == {
        "contactor_feedback": 2,
        "lock_feedback": 4,
        "emergency_stop": 6,
        "watchdog_feedback": 8,
        "plug_contact": 10,
    }
    relay = config_of(**RELAY)
    assert (relay.outputs["phase_relay"].line, relay.inputs["phase_relay_feedback"].line) == (11, 12)
    assert "reference" not in config_of(reference={"channel": "voltage3", "mv": 0}).outputs


def test_what_is_not_configured() -> None:
    voltage = VoltageConfig(channel="voltage0")
    assert (voltage.gain, voltage.offset_mv) == (1.0, 0.0)
    plug = PlugConfig(channel="voltage0")
    assert (plug.supply_mv, plug.pull_up_ohm, plug.coding) == (5_000, 330, "type2")
    reference = ReferenceConfig(channel="voltage0", mv=7)
    assert (reference.active_mv, reference.tolerance_mv, reference.line) == (0, 200, None)
    assert PwmConfig() == PwmConfig(chip=Path("/sys/class/pwm/pwmchip0"), channel=0, inverted=False)
    config = config_of()
    assert (config.adc, config.lost_s) == (Path("/sys/bus/iio/devices/iio:device0"), 0.25)


@pytest.mark.parametrize("missing", ["lock", "lock_feedback", "phase_relay", "phase_relay_feedback"])
def test_a_lock_and_a_relay_need_their_feedback(missing: str) -> None:
    keys = {key: value for key, value in (KEYS | RELAY).items() if key != missing}
    found, flaws = Table(keys).read(LinuxBoardConfig)
    name = missing.removesuffix("_feedback")
    assert (found, flaws[0][1]) == (None, f"{name} and {name}_feedback belong together")


@together(
    ("mv", "plug"),
    [
        (5_000, Proximity("open")),
        (5_001, Proximity("open")),
        (4_999, Proximity("open")),
        (4_658, Proximity("seated", 13)),  # 4494 ohm
        (4_659, Proximity("open")),
        (2_000, Proximity("seated", 32)),
        (1_162, Proximity("seated", 63)),  # 100 ohm
        (770, Proximity("seated", 63)),  # 60 ohm
        (769, Proximity("fault")),
        (1, Proximity("fault")),
        (0, Proximity("fault")),
        (-3, Proximity("fault")),
    ],
)
def test_the_plug_is_known_by_its_voltage(mv: int, plug: Proximity) -> None:
    assert plug_at(mv, PlugConfig(channel="voltage2")) == plug


def test_a_plug_of_type_1_has_a_button() -> None:
    config = PlugConfig(channel="voltage2", coding="type1")
    assert [plug_at(mv, config).state for mv in (1_562, 2_963)] == ["seated", "unlatched"]


class Lines:
    """The GPIO lines of a board at rest."""

    def __init__(self) -> None:
        self.outputs: dict[str, bool] = {}
        self.closed = 0

    def take(self, outputs: dict[str, Any], inputs: dict[str, Any]) -> "Lines":
        self.outputs, self._inputs = dict.fromkeys(outputs, True), inputs
        return self

    def read(self) -> dict[str, bool]:
        return dict.fromkeys(self._inputs, False)

    def write(self, name: str, *, active: bool) -> None:
        self.outputs[name] = active

    def close(self) -> None:
        self.closed += 1


def linux(folder: Path, **changes: Any) -> LinuxBoardConfig:
    """Return the board of a computer whose parts are in a folder: X1 without a vehicle, and a plug of 220 ohm."""
    pwm, adc = folder / "pwmchip3" / "pwm1", folder / "adc"
    pwm.mkdir(parents=True)
    adc.mkdir()
    for name in ("period", "duty_cycle", "enable", "polarity"):
        (pwm / name).write_text("")
    for channel, raw in (("0", 3_000), ("1", 3_001), ("2", 4_000), ("3", 5_000)):
        (adc / f"in_voltage{channel}_raw").write_text(f"{raw}\n")
    (adc / "in_voltage_scale").write_text("0.5\n")
    pilot = {"gain": 16.0, "offset_mv": -12_000}
    keys = {
        "pwm": {"chip": str(pwm.parent), "channel": 1, "inverted": True},
        "adc": str(adc),
        "pilot": {"channel": "voltage0", **pilot},
        "pilot_low": {"channel": "voltage1", **pilot},
        "plug": {"channel": "voltage2"},
        "reference": {"channel": "voltage3", "mv": 2_500},
        "lost_s": 2,
    }
    return config_of(**{**keys, **changes})


def opened() -> set[str]:
    """Return the names of the files that are open."""
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(each.readlink().name)
    return found


@pytest.mark.parametrize("changes", [{}, {"pilot_low": None, "plug": None, "reference": None}])
async def test_a_board_is_opened_with_its_parts_and_closed(tmp_path: Path, changes: dict[str, Any]) -> None:
    lines, config = Lines(), linux(tmp_path, **changes)
    pwm = tmp_path / "pwmchip3" / "pwm1"

    def files() -> dict[str, str]:
        return {each.name: each.read_text().split()[0] for each in pwm.iterdir()}

    async with open_board(config, DriverContext(clock=Clock()), lines.take) as parts:
        assert parts.pilot is not None
        pilot = parts.pilot
        assert pilot.state is PilotState.A
        if not changes:
            await until(lambda: pilot.proximity == Proximity("seated", 32))
        assert files() == {"period": "1000000", "duty_cycle": "1000000", "enable": "1", "polarity": "inversed"}
        assert parts.self_test is not None
        assert parts.contactor.closed is False
        assert parts.cabinet.has_latch
        assert "in_voltage0_raw" in opened()
    assert lines.closed == 1
    assert not any(lines.outputs.values())
    assert files()["duty_cycle"] == "0"
    assert not any(each.endswith("_raw") for each in opened())


@pytest.mark.parametrize(
    ("raw", "frozen"), [({"in_voltage1_raw": "0"}, True), ({"in_voltage3_raw": "0"}, True), ({}, False)]
)
async def test_each_channel_has_its_meaning(tmp_path: Path, raw: dict[str, str], frozen: bool) -> None:
    """A detector of the negative peak that shows -12 V without the oscillator, and a reference that is off."""
    lines, config = Lines(), linux(tmp_path)
    for name, text in raw.items():
        (tmp_path / "adc" / name).write_text(text)
    faults: list[tuple[str, bool]] = []
    async with open_board(config, DriverContext(clock=Clock()), lines.take) as parts:
        parts.cabinet.on_fault(lambda word, active: faults.append((word, active)))
        if frozen:
            await until(lambda: faults == [("pilot_frozen", True)])
        else:
            await asyncio.sleep(0.6)
            assert faults == []


@pytest.mark.parametrize("raw", [3_000, 2_250], ids=["no_vehicle", "it_wants_power"])
async def test_a_board_with_a_relay_begins_with_three_phases_and_an_open_contactor(tmp_path: Path, raw: int) -> None:
    lines, config = Lines(), linux(tmp_path, **RELAY)
    for channel in "01":
        (tmp_path / "adc" / f"in_voltage{channel}_raw").write_text(str(raw))
    async with open_board(config, DriverContext(clock=Clock()), lines.take) as parts:
        assert parts.phases is not None
        assert (lines.outputs["contactor"], lines.outputs["phase_relay"]) == (False, True)


async def test_the_lines_are_released_where_another_part_is_missing(tmp_path: Path) -> None:
    lines = Lines()
    with pytest.raises(TransportError, match="none/in_voltage1_raw"):
        async with open_board(linux(tmp_path, adc=str(tmp_path / "none")), DriverContext(clock=Clock()), lines.take):
            pass
    assert lines.closed == 1


async def test_lines_are_those_of_the_kernel(tmp_path: Path) -> None:
    pytest.importorskip("gpiod", reason="the extra gpio is not installed")
    chip = str(tmp_path / "none")
    keys: dict[str, Any] = dict.fromkeys(KEYS) | {"pilot": KEYS["pilot"]}
    config = linux(tmp_path, **keys | {key: {"chip": chip, "line": 1} for key in ("contactor", "contactor_feedback")})
    with pytest.raises(TransportError, match="none, contactor: "):
        async with DRIVER.open(config, DriverContext(clock=Clock())):
            pass
    assert DRIVER.kind == "pilot"
