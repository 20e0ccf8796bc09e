"""The contactor between mains and power electronics: grid protection opens it, and only its return closes it (R209)."""

import asyncio
import shutil
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path

import pytest

from pki_tools.tree import PkiTree
from secc.energy_manager import mains
from secc.energy_manager.mains import MainsContactor, MainsContactorConfig
from tests.secc.bench_program import BENCH, made
from tests.secc.hardware.channel import Broken
from tests.virtual_time import in_simulated_time
from tests.waiting import until
from v2g.energy.frequency_trace import FrequencyTrace
from v2g.energy.grid_code import parse_code, preset_texts
from v2g.errors import TransportError
from v2g.hardware.interfaces import Contactor
from v2g.io.hardware.gpio import GpioLine
from v2g.io.storage.grid_code_file import set_grid_code
from v2g.observe import Observe
from v2g_station.blocks.der.response import Respond

pytestmark = pytest.mark.requirement("R209")

WAIT_S = 0.6
QUICK = (
    preset_texts()["vde-ar-n-4105-2018"]
    .replace("wait_s = 60", f"wait_s = {WAIT_S}")
    .replace("wait_s = 5", f"wait_s = {WAIT_S}")
    .replace("ramp = 10", "ramp = 6000")
)
TABLES = """[site.mains_contactor]
output = { line = 7 }
feedback = { line = 8 }
[grid_code]
file = "code.json"
frequency = { source = "trace", trace = "grid.csv", every_s = 0.05 }
"""


class Lines:
    """Lines with a contactor that moves at once, unless it is welded."""

    def __init__(self, outputs: Mapping[str, GpioLine], inputs: Mapping[str, GpioLine]) -> None:
        assert outputs.keys() == {"output"}
        self.inputs = inputs
        self.active = self.welded = self.deaf = self.stuck = self.released = False
        self.reads = self.writes = 0
        self.moves: list[tuple[float, bool]] = []
        MADE.append(self)

    def read(self) -> dict[str, bool]:
        self.reads += 1
        if self.deaf:
            raise TransportError("cannot be read")
        return {"feedback": self.active or self.welded}

    def write(self, name: str, *, active: bool) -> None:
        assert name == "output"
        self.writes += 1
        if self.stuck:
            raise TransportError("stuck" + "!" * 300)
        if active is not self.active:
            self.moves.append((asyncio.get_running_loop().time(), active))
        self.active = active

    def close(self) -> None:
        self.released = True


MADE: list[Lines] = []


@pytest.fixture(autouse=True)
def _lines(monkeypatch: pytest.MonkeyPatch) -> None:
    MADE.clear()
    monkeypatch.setattr(mains, "GpiodLines", Lines)


async def test_a_trip_with_direct_current_opens_it_and_it_closes_when_the_code_lets_power_return(
    pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hertz = [50.0]
    monkeypatch.setattr(FrequencyTrace, "at", lambda _trace, _seconds: hertz[-1])
    set_grid_code(tmp_path / "code.json", parse_code(QUICK), "installer-7", reason="test", utc_ms=1)
    (tmp_path / "grid.csv").write_text("0,50,230\n1000,50,230\n")
    async with made(tmp_path, pki, BENCH + TABLES) as charger:
        (controller,) = charger.controllers
        (lines,) = MADE
        await until(lambda: lines.active)  # a vehicle may charge before the code lets it feed back
        hertz.append(51.6)
        await until(lambda: controller.grid.response.trip)
        assert not lines.active, "before anything else happens"
        hertz.append(50.0)
        await until(lambda: lines.active)
        assert not controller.grid.response.trip
        (opened, _), (closed, _) = lines.moves[-2:]
        assert closed - opened >= WAIT_S
        assert controller.hardware.faults == ()
        response = controller.grid.response.__class__(floor_w=0, ceiling_w=0, trip=True)
        controller.carry_out(Respond(evse_id=1, response=response))  # of the back end's DER controls
        assert not lines.active
        lines.welded = True
        await until(lambda: "contactor_welded" in controller.hardware.faults)
    assert lines.released
    assert lines.moves[-1][1] is False


@pytest.mark.parametrize("number", [1, 2])
async def test_an_evse_without_its_own_contactor_is_separated_by_it_until_it_has_passed_a_test(
    pki: PkiTree, tmp_path: Path, number: int
) -> None:
    evses = "".join(
        f"[[evses]]\nevse_id = 'DEV2GE0000{n}'\nsdp.port = 0\nhardware.backend = 'bench'\n"
        f"meter = {{ chain = '{shutil.copy(pki.path('meter/chain.pem'), tmp_path / f'meter-{n}.pem')}',"
        f" key = '{pki.path('meter/leaf.key')}' }}\n"
        for n in (1, 2)
    )
    async with made(tmp_path, pki, TABLES.split("[grid_code]")[0] + evses) as charger:
        (lines,) = MADE
        await until(lambda: lines.active)
        controller = charger.controllers[number - 1]
        controller.safety.guard(Broken(), Contactor).set(closed=False)
        assert (lines.active, controller.hardware.faults) == (False, ("charger_failed",))
        before = lines.reads
        await until(lambda: lines.reads > before + 1)
        assert not lines.active
        controller.hardware.fault("charger_failed", active=False)
        await until(lambda: lines.active)


class Behind:
    """An EVSE's hardware."""

    def __init__(self) -> None:
        self.faults: tuple[str, ...] = ()

    def fault(self, word: str, active: bool) -> None:
        others = tuple(each for each in self.faults if each != word)
        self.faults = (*others, word) if active else others


class Switched:
    """A contactor, and what it does."""

    def __init__(self, *, feedback: bool = True, tripped: bool = False) -> None:
        self.behind, self.other, self.events, self.tripped = Behind(), Behind(), list[Observe](), tripped
        line = GpioLine(line=1)
        config = MainsContactorConfig(output=line, feedback=line if feedback else None)
        self.mains = MainsContactor(config, [self.behind, self.other], lambda: self.tripped, self.events.append)
        self.lines = MADE[-1]

    def look(self, *, tripped: bool | None = None) -> bool:
        """Look at it; return whether its line is active."""
        self.tripped = self.tripped if tripped is None else tripped
        self.mains.look()
        return self.lines.active

    @property
    def said(self) -> list[str]:
        """What was reported."""
        shapes = ("power", "mains_contactor", "state"), ("power", "mains_contactor_failed", "reason")
        assert {(each.stage, each.name, *each.data) for each in self.events} <= set(shapes)
        return [str(value) for each in self.events for value in each.data.values()]


def virtually(story: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run it in simulated time."""
    in_simulated_time(story())


def test_what_the_watchdog_has_cut_closes_only_after_a_passed_test() -> None:
    async def story() -> None:
        one = Switched()
        assert [one.look(), one.look(tripped=True), one.look(tripped=False)] == [True, False, True]
        one.mains.cut()
        assert not one.lines.active
        one.other.fault("charger_failed", active=True)
        assert [one.look() for _ in range(3)] == [False] * 3
        one.other.fault("charger_failed", active=False)
        assert one.look()
        assert one.said == ["closed", "open", "closed", "open", "closed"]
        one.mains.cut()
        assert [one.look(), one.look()] == [False, True], "first it is commanded off"
        one.behind.fault("charger_failed", active=True)
        assert [one.look(tripped=True), one.look(tripped=False)] == [False, True], "what was not cut follows the grid"

    virtually(story)


def test_one_that_cannot_be_commanded_or_read_leaves_no_energy() -> None:
    async def story() -> None:
        one = Switched()
        one.look()
        one.lines.stuck = True
        assert one.look(tripped=True), "the line still says so"
        assert one.behind.faults == one.other.faults == ("charger_failed",)
        one.lines.stuck = False
        assert not one.look(), "it is tried again"
        one.lines.stuck = True
        one.look(tripped=False)
        assert one.said == ["closed", said := ("stuck" + "!" * 300)[:200], "open", said, "closed"]
        two = Switched()
        two.look()
        two.lines.deaf = True
        two.look()
        assert two.behind.faults == ("charger_failed",)
        assert two.said == ["closed", "cannot be read"]
        two.lines.deaf = False
        two.look()
        writes = two.lines.writes
        two.look()
        assert two.lines.writes == writes, "nothing is wrong any more"

    virtually(story)


def test_a_line_that_could_not_be_written_for_long_is_still_tried() -> None:
    async def story() -> None:
        one = Switched()
        one.look()
        for tripped in (True, False):
            one.lines.stuck = True
            assert one.look(tripped=tripped) is tripped, "the line still says what it said"
            for _ in range(10):
                await asyncio.sleep(0.1)
                one.look()
            one.lines.stuck = False
            assert one.look() is not tripped
            one.look()
        assert one.behind.faults == ("contactor_welded", "charger_failed")
        stuck = ("stuck" + "!" * 300)[:200]
        assert one.said == ["closed", stuck, "open", "it does not open", stuck, "closed", "it does not close"]

    virtually(story)


def test_one_that_does_not_open_leaves_no_energy_and_one_that_stays_open_does_no_harm() -> None:
    async def story() -> None:
        one = Switched()
        one.look()
        one.lines.welded = True
        assert not one.look(tripped=True)
        await asyncio.sleep(0.49)
        one.look()
        assert one.behind.faults == (), "it may still move"
        await asyncio.sleep(0.01)
        one.look()
        one.look()
        assert one.behind.faults == one.other.faults == ("contactor_welded",)
        assert one.said == ["closed", "open", "it does not open"]
        two = Switched()
        two.look()
        two.lines.active = False
        await asyncio.sleep(0.5)
        two.look()
        assert (two.behind.faults, two.said) == ((), ["closed", "it does not close"])

    virtually(story)


def test_it_begins_open_is_looked_at_ten_times_a_second_and_opens_in_the_end() -> None:
    async def story() -> None:
        one = Switched(tripped=True)
        assert one.lines.inputs.keys() == {"feedback"}
        assert not one.look()
        assert (one.lines.writes, one.said) == (0, [])
        running = asyncio.create_task(one.mains.run())
        await asyncio.sleep(0.95)
        assert one.lines.reads == 11
        one.tripped = False
        await asyncio.sleep(0.1)
        assert one.lines.active
        running.cancel()
        one.mains.close()
        assert (one.lines.active, one.lines.released) == (False, True)

    virtually(story)


def test_without_a_feedback_contact_it_is_where_it_was_commanded() -> None:
    async def story() -> None:
        one = Switched(feedback=False)
        assert one.lines.inputs == {}
        assert one.look()
        await asyncio.sleep(0.6)
        one.look()
        assert (one.said, one.lines.reads) == (["closed"], 0)

    virtually(story)
