"""Power modules on a bus, step by step in simulated time: what is sent, what is reported, and what a cut leaves."""

import asyncio
import importlib.resources
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.secc.hardware.bare import run
from v2g.dbc import identity
from v2g.errors import ConfigError, TransportError
from v2g.hardware.interfaces import OFF, Demand, StageReport
from v2g.hardware.power_modules import bank
from v2g.hardware.power_modules.bank import FAILED, PASSED, ModulesConfig
from v2g.hardware.power_modules.infypower import InfypowerConfig
from v2g.io.can import CanConfig
from v2g.io.hardware import modules
from v2g.io.hardware.driver import DriverContext
from v2g.io.hardware.modules import DRIVER, INFYPOWER, CanStage, check_modules
from v2g.io.runtime.clock import Clock
from v2g.observe import Observe

CONFIG = ModulesConfig(interface="virtual", channel="bus", bitrate=250_000, lost_s=0.5, isolation_s=0.75)
SAFE, SENT = (1, b"off"), (1, b"on")


class Monitor:
    """An isolation monitor that tests itself as far as it is set to."""

    testable = True

    def __init__(self) -> None:
        self.states: dict[bool, int | None] = {False: 0, True: PASSED}
        self.state: int | None = 0
        self.reported: list[bool] = []

    def test_state(self, now: float) -> int | None:
        return self.state

    def tell_test(self, *, on: bool) -> tuple[int, bytes]:
        self.reported.append(on)
        asyncio.get_running_loop().call_later(0.2, self.become, self.states[on])
        return 9, bytes([on])

    def become(self, state: int | None) -> None:
        self.state = state


class Group:
    """Modules that do nothing by themselves."""

    def __init__(self) -> None:
        self.report = StageReport(0, 0)
        self.temperatures: dict[str, float | None] = {"module 1": 40.0}
        self.isolation: Monitor | None = Monitor()
        self.working: tuple[int, ...] = (1,)
        self.out: tuple[int, ...] = ()
        self.waiting: list[tuple[int, bytes]] = [SAFE]
        self.happened: list[tuple[str, bool]] = []
        self.ticked: list[float] = []
        self.driven: list[Demand] = []
        self.received: list[tuple[int, bytes]] = []
        self.news = True

    def tick(self, now: float) -> None:
        self.ticked.append(round(now - 1000, 3))

    def frames(self) -> list[tuple[int, bytes]]:
        frames, self.waiting = self.waiting, []
        return frames

    def faults(self) -> list[tuple[str, bool]]:
        happened, self.happened = self.happened, []
        return happened

    def receive(self, frame_id: int, data: bytes, now: float) -> bool:
        self.received.append((frame_id, data))
        return self.news

    def drive(self, demand: Demand) -> None:
        self.driven.append(demand)
        self.waiting.append(SENT)

    def resistance_ohm(self, now: float) -> int | None:
        return round(now)

    def deadline(self) -> float:
        return 1e9


class Place:
    """Modules, and the bus between them and their stage."""

    def __init__(self, patch: pytest.MonkeyPatch, config: ModulesConfig = CONFIG) -> None:
        self.group, self.loop = Group(), asyncio.get_running_loop()
        self.sent: list[tuple[int, bytes]] = []
        self.broken = self.ended = False
        self.opens = 0
        self.failing: asyncio.Future[None] = self.loop.create_future()
        patch.setattr(modules, "CanPort", self)
        self.events: list[Observe] = []
        self.stage = CanStage(config, self.group, Clock(), self.events.append)  # type: ignore[arg-type]
        self.reports: list[StageReport] = []
        self.faults: list[tuple[str, bool]] = []
        self.stage.on_report(self.reports.append)
        self.stage.on_fault(lambda word, active: self.faults.append((word, active)))

    def __call__(self, config: CanConfig, on_frame: Callable[[int, bytes, float], None]) -> "Place":
        if self.broken:
            raise TransportError("there is no adapter")
        self.config, self.hear, self.ended = config, on_frame, False
        self.opens += 1
        return self

    async def opened(self, config: CanConfig, on_frame: Callable[[int, bytes, float], None]) -> "Place":
        return self(config, on_frame)

    async def failed(self) -> None:
        await asyncio.shield(self.failing)
        self.failing = self.loop.create_future()
        raise TransportError("it was unplugged")

    def send(self, frame_id: int, data: bytes) -> None:
        if self.broken:
            raise TransportError("the bus is off")
        self.sent.append((frame_id, data))

    async def close(self) -> None:
        self.ended = True

    def show(self, voltage_mv: int, current_ma: int) -> None:
        """The modules say this."""
        self.group.report = StageReport(voltage_mv, current_ma)
        self.hear(2, b"", 0.0)


@pytest.fixture
def scenes(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def play(scene: Callable[[Place], Any]) -> None:
        async def scenario() -> None:
            place = Place(monkeypatch)
            await scene(place)
            await place.stage.close()

        run(scenario)

    return play


def test_a_stage_attaches_to_its_bus_and_is_what_its_modules_are(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        stage = place.stage
        assert (place.config.interface, place.config.channel, place.config.bitrate) == ("virtual", "bus", 250_000)
        assert (stage.present, stage.temperatures, stage.max_var) == (StageReport(0, 0), {"module 1": 40.0}, 0)
        stage.react(5)
        assert place.sent == []
        assert place.group.ticked == [0.0, 0.0]
        await asyncio.sleep(7.0)
        assert stage.resistance_ohm == 1_007

    scenes(scene)


def test_a_demand_is_sent_at_once(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        place.stage.drive(Demand(400_000, 5_000, 9_000))
        assert (place.group.driven, place.sent) == ([Demand(400_000, 5_000, 9_000)], [SENT])

    scenes(scene)


def test_a_bus_that_fails_is_no_error_here(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        place.broken = True
        place.stage.drive(Demand(400_000, 5_000, 9_000))
        place.stage.cut()
        assert place.sent == []

    scenes(scene)


def test_a_bus_that_has_failed_is_opened_again(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        await asyncio.sleep(5.0)
        assert (place.opens, place.ended) == (1, False)
        for opens in (2, 3):
            place.broken = True
            place.failing.set_result(None)
            await asyncio.sleep(5.0)
            assert (place.opens, place.ended) == (opens - 1, True)
            place.broken = False
            await asyncio.sleep(0.6)
            assert (place.opens, place.ended) == (opens, False)
        place.show(7, 7)
        assert place.reports == [StageReport(7, 7)]
        place.stage.drive(Demand(400_000, 5_000, 9_000))
        assert place.sent == [SENT]

    scenes(scene)


def test_a_bus_that_has_failed_is_not_opened_once_the_stage_has_left_it(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        place.broken = True
        place.failing.set_result(None)
        await asyncio.sleep(5.0)
        await place.stage.close()
        place.broken = False
        await asyncio.sleep(5.0)
        assert (place.opens, place.ended) == (1, True)

    scenes(scene)


def test_after_a_cut_only_off_is_sent_until_off_was_commanded(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        place.stage.cut()
        assert place.sent == [SAFE]
        place.stage.drive(Demand(400_000, 5_000, 9_000))
        assert place.sent == [SAFE, SAFE]
        place.show(1, 1)  # without anything to send
        assert place.sent == [SAFE, SAFE]
        place.stage.drive(OFF)
        place.stage.drive(Demand(400_000, 5_000, 9_000))
        assert place.sent == [SAFE, SAFE, SENT, SENT]

    scenes(scene)


def test_what_the_modules_say_is_reported_once(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        place.group.working = ()
        place.show(400_000, 5_000)
        place.show(400_000, 5_000)
        assert place.reports == [StageReport(400_000, 5_000)]
        assert place.group.received == [(2, b""), (2, b"")]

    scenes(scene)


def test_frames_of_others_change_nothing(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        place.group.news = False
        place.show(400_000, 5_000)
        assert place.reports == []

    scenes(scene)


@pytest.mark.parametrize(("working", "reported"), [((1,), 3), ((), 1)])
def test_working_modules_get_a_command_every_quarter_second(
    scenes: Any, working: tuple[int, ...], reported: int
) -> None:
    async def scene(place: Place) -> None:
        place.group.working = working
        for _ in range(7):
            place.show(400_000, 5_000)
            await asyncio.sleep(0.1)
        assert len(place.reports) == reported

    scenes(scene)


def test_faults_are_reported_after_the_modules_have_started(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        place.group.happened, place.group.out = [("module_lost", True)], (2, 5)
        await asyncio.sleep(0.49)
        place.show(1, 0)
        assert (place.faults, place.events) == ([], [])
        await asyncio.sleep(0.02)
        for voltage_mv, out in ((2, (2, 5)), (3, (2, 5)), (4, ())):
            place.group.out = out
            place.show(voltage_mv, 0)
        assert place.faults == [("module_lost", True)]
        assert place.events == [Observe("hardware", "modules_out", {"modules": each}) for each in ("2 5", "")]

    scenes(scene)


@pytest.mark.parametrize(("next_s", "ticks"), [(0.1, 10), (0.5, 2), (-1.0, 1_000)])
def test_the_group_is_ticked_when_it_has_to_be_and_at_most_each_ms(
    monkeypatch: pytest.MonkeyPatch, scenes: Any, next_s: float, ticks: int
) -> None:
    async def scene(place: Place) -> None:
        place.group.ticked.clear()
        await asyncio.sleep(1.0005)
        assert len(place.group.ticked) == pytest.approx(ticks, abs=1)
        place.stage.drive(OFF)  # sends, and does not tick
        assert len(place.group.ticked) == pytest.approx(ticks, abs=1)

    monkeypatch.setattr(Group, "deadline", lambda group: asyncio.get_running_loop().time() + next_s)
    scenes(scene)


def test_a_closed_stage_is_off_and_reports_nothing_more(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        await place.stage.close()
        assert (place.group.driven, place.ended) == ([OFF], True)
        place.show(1, 1)
        assert (place.reports, place.group.received) == ([], [])

    scenes(scene)


def test_a_closed_stage_is_ticked_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(Group, "deadline", lambda group: group.ticked[-1] + 1000.1)
        place = Place(monkeypatch)
        await place.stage.close()
        ticked = len(place.group.ticked)
        await asyncio.sleep(5.0)
        assert len(place.group.ticked) == ticked

    run(scenario)


# -- the isolation monitor


def test_a_measurement_takes_the_monitors_time(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        began = place.loop.time()
        assert await place.stage.measure(400_000) == 1_001
        assert place.loop.time() - began == pytest.approx(0.75, abs=0.001)

    scenes(scene)


@pytest.mark.parametrize(
    ("states", "begins", "failed", "took_s"),
    [
        ({False: 0, True: PASSED}, 0, "", 0.2),
        ({False: 0, True: FAILED}, 0, "the monitor has failed its test", 0.2),
        ({False: 0, True: PASSED}, PASSED, "", 0.4),  # the one before has to end first
        ({False: 1, True: 1}, 1, "it stays in state 1", 2.0),
        ({False: None, True: None}, None, "the monitor does not answer", 2.0),
        ({False: 0, True: 1}, 0, "it stays in state 1", 2.0),
        ({False: 0, True: 0}, 0, "it stays in state 0", 2.0),
    ],
)
def test_a_monitor_tests_itself_on_command(
    scenes: Any, states: dict[bool, int | None], begins: int | None, failed: str, took_s: float
) -> None:
    async def scene(place: Place) -> None:
        monitor = place.group.isolation
        assert monitor is not None
        monitor.states, monitor.state = states, begins
        began = place.loop.time()
        assert await place.stage.test_isolation() == failed
        assert place.loop.time() - began == pytest.approx(took_s, abs=0.06)
        assert place.sent[-1] == (9, b"\0")
        assert monitor.reported[-1] is False
        assert len(monitor.reported) == pytest.approx(took_s / 0.05, abs=2)

    scenes(scene)


# -- the drivers


@pytest.mark.parametrize("testable", [True, False, None])
def test_a_driver_offers_the_monitors_test_where_it_has_one(
    monkeypatch: pytest.MonkeyPatch, testable: bool | None
) -> None:
    async def scenario() -> None:
        place = Place(monkeypatch)
        if testable is None:
            place.group.isolation = None
        else:
            monkeypatch.setattr(Monitor, "testable", testable)
        monkeypatch.setattr(bank, "dbc_group", lambda *_: place.group)
        async with DRIVER.open(CONFIG, DriverContext(clock=Clock())) as parts:
            assert isinstance(parts.stage, CanStage)
            assert parts.isolation is parts.stage
            assert parts.isolation_test == (parts.stage.test_isolation if testable else None)
            assert not place.ended
        assert place.ended
        await place.stage.close()

    run(scenario)


@pytest.mark.parametrize("driver", [DRIVER, INFYPOWER])
def test_a_driver_makes_its_modules_and_wants_an_isolation_monitor(
    monkeypatch: pytest.MonkeyPatch, driver: Any
) -> None:
    async def scenario() -> None:
        place = Place(monkeypatch)
        config = driver.config(channel="other")
        async with driver.open(config, DriverContext(clock=Clock())):
            assert place.config.channel == "other"
        with pytest.raises(ConfigError, match="isolation is missing"):
            async with driver.open(msgspec.structs.replace(config, isolation=""), DriverContext(clock=Clock())):
                pass
        await place.stage.close()

    run(scenario)
    assert {each.kind for each in (DRIVER, INFYPOWER)} == {"stage"}
    assert [each.config for each in (DRIVER, INFYPOWER)] == [ModulesConfig, InfypowerConfig]


OWN = (importlib.resources.files("v2g.hardware.power_modules") / "power_modules.dbc").read_text()
LONG = OWN.replace("BO_ 1024 ", f"BO_ {1024 | 1 << 31} ")


@pytest.mark.parametrize(
    ("text", "code", "ohm"),
    [
        (OWN + 'VAL_ 1024 Resistance 65535 "SNA" ;\n', 65_535, None),
        (OWN + 'VAL_ 1024 Resistance 65535 "SNA" ;\n', 65_534, 65_534_000),
        (OWN + 'VAL_ 1024 Resistance 65535 "self test" ;\n', 65_535, None),  # not only what says that there is none
        (OWN + 'BA_DEF_DEF_ "ProtocolType" "J1939";\n', 0xFAFF, 64_255_000),
        (OWN + 'BA_DEF_DEF_ "ProtocolType" "J1939";\n', 0xFB00, None),
        (LONG, 0xFF00, 65_280_000),  # 29 bits alone are not J1939
        ("", 0xFFFF, 65_535_000),  # the file that comes with the program
    ],
)
@pytest.mark.parametrize("driver", [DRIVER, INFYPOWER])
def test_a_code_that_the_file_says_is_none_is_not_a_resistance(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, driver: Any, text: str, code: int, ohm: int | None
) -> None:
    """As a number it would be the highest of all."""
    (tmp_path / "modules.dbc").write_text(text)
    config = driver.config(channel="other", dbc=tmp_path / "modules.dbc" if text else None)

    async def scenario() -> None:
        place = Place(monkeypatch)
        async with driver.open(config, DriverContext(clock=Clock())) as parts:
            place.hear(identity(1024, extended=text is LONG), b"\0" + code.to_bytes(2, "little"), 0.0)
            assert parts.isolation.resistance_ohm == ohm
        await place.stage.close()

    run(scenario)


def test_a_bus_that_cannot_be_opened_is_found_before_the_start() -> None:
    check_modules(CONFIG)
    with pytest.raises(ConfigError, match="unknown CAN interface 'socket'") as caught:
        check_modules(msgspec.structs.replace(CONFIG, interface="socket"))
    assert ", socketcan, " in (caught.value.hint or "")
    with pytest.raises(ConfigError, match="isolation is missing"):
        check_modules(msgspec.structs.replace(CONFIG, isolation=""))
