"""What maintenance by hand does step by step: each command with its time, and what of the parts it reports."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import pytest
from msgspec.structs import asdict

from secc.hardware.assembly import BareParts
from secc.hardware.maintenance import Maintenance, PartName
from secc.session.ports import MeterRead
from tests.secc.hardware.bare import at
from tests.secc.hardware.channel import Place, Stage
from v2g.errors import RefusedError
from v2g.hardware.board import inputs
from v2g.hardware.board.inputs import UNBOUNDED
from v2g.hardware.interfaces import BoardParts, OnFault, StageParts, StageReport
from v2g.iec61851.pilot import PilotState
from v2g.iec61851.proximity import Proximity
from v2g.safety import NOTHING

FOLLOWS_S: Final = 0.05
LIGHTS: Final = ("available", "occupied", "charging", "red", "red_flash")


class Pilot:
    state, duty_percent, proximity = PilotState.A, 5.0, Proximity("open")


class Isolation:
    resistance_ohm = 90_000


class Meter:
    answered = True

    def __init__(self) -> None:
        self.faults: list[OnFault] = []

    def read(self, utc_ms: int) -> MeterRead:
        return MeterRead(utc_ms, 7_000, 3_000, answered=self.answered)

    def on_fault(self, callback: OnFault) -> None:
        self.faults.append(callback)


class Moving:
    """Contactor and cabinet in one, which note when they are commanded, and follow after FOLLOWS_S."""

    closed, has_latch, fan_rpm, follows = False, True, 0, True
    temperatures: Final = {"inlet": 20.5}

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self.commands: list[tuple[int, str, Any]] = []
        self.faults: list[OnFault] = []
        self._on_latch: Callable[[bool], None] = lambda _: None

    @property
    def elapsed_ms(self) -> int:
        return round((self._loop.time() - self._began) * 1000)

    def _note(self, part: str, value: Any, then: Callable[[], object]) -> None:
        self.commands.append((self.elapsed_ms, part, value))
        if self.follows:
            self._loop.call_later(FOLLOWS_S, then)

    def set(self, *, closed: bool) -> None:
        self._note("contactor", closed, lambda: setattr(self, "closed", closed))

    def cut(self) -> None:
        """It is switched off by its commands."""

    def on_change(self, callback: Callable[[bool], None]) -> None:
        """Maintenance looks at `closed`."""

    def set_latch(self, *, locked: bool) -> None:
        self._note("lock", locked, lambda: self._on_latch(locked))

    def set_fan(self, percent: int) -> None:
        self._note("fan", percent, lambda: setattr(self, "fan_rpm", percent * 30))

    def set_light(self, light: str) -> None:
        self.commands.append((self.elapsed_ms, "lamp", light))

    def on_latch(self, callback: Callable[[bool], None]) -> None:
        self._on_latch = callback

    def on_fault(self, callback: OnFault) -> None:
        self.faults.append(callback)


class Hand:
    """Maintenance, and the parts under it."""

    def __init__(self, place: Place, *, bare: bool = False, latched: tuple[str, ...] = ()) -> None:
        self.place, self.moving, self.stage = place, Moving(), Stage()
        self.pilot, self.meter, self.isolation = Pilot(), Meter(), Isolation()
        self.stage.present = StageReport(12_500, 500)
        parts: Any = BareParts(
            place.channel,
            BoardParts(None if bare else self.pilot, self.moving, self.moving),  # type: ignore[arg-type]
            self.meter,  # type: ignore[arg-type]
            None if bare else StageParts(self.stage, self.isolation),  # type: ignore[arg-type]
        )
        self.maintenance = Maintenance(parts, latched)
        place.board.inputs.clear()

    async def exercise(self, part: PartName) -> list[str]:
        return [f"{self.moving.elapsed_ms} {line}" async for line in self.maintenance.exercise(part)]


STEPS: Final[dict[PartName, tuple[list[str], list[tuple[int, str, Any]]]]] = {
    "contactor": (
        ["1060 contactor closed after 60 ms", "2120 contactor open after 60 ms"],
        [(1_000, "contactor", True), (2_060, "contactor", False)],
    ),
    "lock": (
        ["1060 lock locked after 60 ms", "1120 lock released after 60 ms"],
        [(1_000, "lock", True), (1_060, "lock", False)],
    ),
    "fan": (["2060 fan turns after 0.1 s, 3000 rpm"], [(1_000, "fan", 100)]),
    "lamp": (
        [f"{1_000 * (at + 1)} lamp {light}" for at, light in enumerate(LIGHTS)],
        [(1_000 * (at + 1), "lamp", light) for at, light in enumerate(LIGHTS)],
    ),
}
ENDS_MS: Final = {"contactor": 3_120, "lock": 1_120, "fan": 2_060, "lamp": 6_000}


def left_off(at_ms: int) -> list[tuple[int, str, Any]]:
    return [(at_ms, "contactor", False), (at_ms, "fan", 0), (at_ms, "lamp", "available")]


@pytest.mark.parametrize("part", STEPS)
@at(Place)
async def test_each_part_moves_at_its_time_and_all_are_left_off(place: Place, part: PartName) -> None:
    hand = Hand(place)
    lines, commands = STEPS[part]
    assert await hand.exercise(part) == lines
    assert hand.moving.commands == commands + left_off(ENDS_MS[part])


@at(Place)
async def test_the_monitor_lets_the_contactor_close_for_the_exercise_alone_without_power(place: Place) -> None:
    hand = Hand(place)
    await hand.exercise("contactor")
    none = {"charge_w": 0, "discharge_w": 0, "charge_ma": UNBOUNDED, "discharge_ma": UNBOUNDED}
    reported = [each for each in place.board.inputs if not isinstance(each, inputs.Drive)]
    assert reported == [
        inputs.Begin(),
        inputs.Authorise(allowed=False),
        inputs.Authorise(allowed=True),
        inputs.Bears(**none, voltage_mv=60_000),
        inputs.Request(phase="voltage", closed_ms=7_000),
        inputs.Begin(),
        inputs.Authorise(allowed=False),
        inputs.Authorise(allowed=False),
        inputs.Bears(**none, voltage_mv=0),
        inputs.Request(phase="idle"),
    ]


@pytest.mark.parametrize(
    ("part", "why"),
    [
        ("contactor", "the contactor is not closed within 3 s"),
        ("lock", "the lock is not locked within 3 s"),
        ("fan", "the fan does not turn within 3 s"),
    ],
)
@at(Place)
async def test_a_part_that_does_not_follow_is_refused_after_3_s(place: Place, part: PartName, why: str) -> None:
    hand = Hand(place)
    hand.moving.follows = False
    with pytest.raises(RefusedError, match=why) as refused:
        await hand.exercise(part)
    assert (refused.value.reason, refused.value.hint) == ("does_not_follow", "see its wiring")
    assert hand.moving.commands[1:] == left_off(4_000)


OBSTACLES: Final[dict[str, Callable[[Hand], object]]] = {
    "a vehicle is connected, or the pilot is disturbed (state B)": lambda hand: setattr(
        hand.pilot, "state", PilotState.B
    ),
    "60 V are at the output": lambda hand: setattr(hand.stage, "present", StageReport(60_000, 0)),
    "fault meter_lost: the meter does not answer": lambda hand: hand.meter.faults[0]("meter_lost", True),  # noqa: FBT003
    "fault latch_failed: the plug cannot be locked": lambda hand: hand.moving.faults[0]("latch_failed", True),  # noqa: FBT003
    "fault stage_lost: the power stage does not answer": lambda hand: hand.stage.faults[0]("stage_lost", True),  # noqa: FBT003
    "fault over_voltage: the output's voltage is above its limit": lambda hand: hand.maintenance.fault(
        "over_voltage", active=True
    ),
}


@pytest.mark.parametrize("why", OBSTACLES)
@pytest.mark.parametrize("at_s", [0.0, 0.5, 1.01, 1.5])
@at(Place)
async def test_nothing_begins_or_goes_on_while_something_is_in_the_way(place: Place, why: str, at_s: float) -> None:
    hand = Hand(place)
    assert hand.maintenance.obstacle == ""
    asyncio.get_running_loop().call_later(at_s, OBSTACLES[why], hand)
    with pytest.raises(RefusedError) as refused:
        await hand.exercise("contactor")
    assert (str(refused.value), refused.value.reason) == (why, "interlock")
    assert hand.moving.elapsed_ms == pytest.approx(max(1_000, at_s * 1000), abs=21)
    commands = [(1_000, "contactor", True), *left_off(hand.moving.elapsed_ms)]
    assert hand.moving.commands == (commands if at_s > 1 else [])


@pytest.mark.parametrize(
    ("part", "missing", "why", "reason"),
    [
        ("contactor", {"closed": True}, "the contactor is closed already", "interlock"),
        ("lock", {"has_latch": False}, "the charger has no plug lock", "missing"),
        ("fan", {"fan_rpm": None}, "the charger has no fan", "missing"),
    ],
)
@at(Place)
async def test_what_is_not_there_is_not_moved(
    place: Place, part: PartName, missing: dict[str, Any], why: str, reason: str
) -> None:
    hand = Hand(place)
    for name, value in missing.items():
        setattr(hand.moving, name, value)
    with pytest.raises(RefusedError) as refused:
        await hand.exercise(part)
    assert (str(refused.value), refused.value.reason) == (why, reason)
    assert hand.moving.commands == left_off(1_000)


@at(Place)
async def test_faults_count_while_they_are_active_and_those_that_stop_nothing_are_no_obstacle(place: Place) -> None:
    hand = Hand(place, latched=("meter_jump",))
    maintenance = hand.maintenance
    assert maintenance.faults == ("meter_jump",)
    assert place.passes() == NOTHING  # the monitor knows it, too
    maintenance.fault("fan_failed", active=True)
    maintenance.fault("meter_jump", active=False)
    maintenance.fault("meter_jump", active=False)
    assert (maintenance.faults, maintenance.obstacle) == (("fan_failed",), "")


ALL_PARTS: Final = {
    "contactor": "open",
    "pilot": "A",
    "duty_percent": 5.0,
    "plug": "open",
    "lock": True,
    "temperatures_c": {"inlet": 20.5},
    "fan_rpm": 0,
    "voltage_v": 12.5,
    "current_a": 0.5,
    "insulation_ohm": 90_000,
    "import_wh": 7.0,
    "export_wh": 3.0,
    "faults": ("fan_failed",),
}
MISSING: Final = ("pilot", "duty_percent", "plug", "voltage_v", "current_a", "insulation_ohm", "import_wh", "export_wh")


@at(Place)
async def test_the_report_has_each_part_after_a_second(place: Place) -> None:
    hand = Hand(place, latched=("fan_failed",))
    assert asdict(await hand.maintenance.report()) == ALL_PARTS
    assert hand.moving.elapsed_ms == 1_000
    bare = Hand(place, bare=True, latched=("fan_failed",))
    bare.moving.closed, bare.meter.answered = True, False
    missing = dict.fromkeys(MISSING)
    assert asdict(await bare.maintenance.report()) == ALL_PARTS | {"contactor": "closed"} | missing
    assert await bare.exercise("lock") == ["2060 lock locked after 60 ms", "2120 lock released after 60 ms"]
