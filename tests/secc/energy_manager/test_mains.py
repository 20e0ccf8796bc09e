"""The contactor between mains and power electronics: grid protection opens it, and only its return closes it (R209)."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from pki_tools.tree import PkiTree
from secc.energy_manager import mains
from secc.energy_manager.mains import MainsContactor, MainsContactorConfig
from tests.secc.bench_program import BENCH, made
from v2g.energy.frequency_trace import FrequencyTrace
from v2g.energy.grid_code import parse_code, preset_texts
from v2g.errors import TransportError
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
        self.active = self.welded = self.gone = self.released = False
        self.moves: list[tuple[float, bool]] = []
        MADE.append(self)

    def read(self) -> dict[str, bool]:
        if self.gone:
            raise TransportError("no chip")
        return {"feedback": self.active or self.welded}

    def write(self, name: str, *, active: bool) -> None:
        if self.gone:
            raise TransportError(f"no chip, {name}")
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


async def until(holds: object) -> None:
    async with asyncio.timeout(30):
        while not holds():  # type: ignore[operator]
            await asyncio.sleep(0.005)


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


class Behind:
    """An EVSE's hardware."""

    def __init__(self) -> None:
        self.faults: tuple[str, ...] = ()

    def fault(self, word: str, active: bool) -> None:
        others = tuple(each for each in self.faults if each != word)
        self.faults = (*others, word) if active else others


class Switched:
    """A contactor, and what it does."""

    def __init__(self, *, feedback: bool = True) -> None:
        self.behind, self.events, self.tripped = Behind(), list[Observe](), False
        line = GpioLine(line=1)
        config = MainsContactorConfig(output=line, feedback=line if feedback else None, move_s=0.05)
        self.mains = MainsContactor(config, [self.behind], lambda: self.tripped, self.events.append)
        (self.lines,) = MADE

    def look(self, *, tripped: bool | None = None) -> bool:
        """Look at it; return whether it is closed."""
        self.tripped = self.tripped if tripped is None else tripped
        self.mains.look()
        return self.lines.active


async def test_what_the_watchdog_has_cut_closes_only_after_a_passed_test() -> None:
    one = Switched()
    assert [one.look(), one.look(tripped=True), one.look(tripped=False)] == [True, False, True]
    one.mains.cut()
    assert not one.lines.active
    one.behind.fault("charger_failed", active=True)
    assert [one.look() for _ in range(3)] == [False] * 3
    one.behind.fault("charger_failed", active=False)
    assert one.look()
    states = [each.data["state"] for each in one.events if each.name == "mains_contactor"]
    assert states == ["closed", "open", "closed", "open", "closed"]


async def test_one_that_does_not_open_leaves_no_energy_and_one_that_stays_open_does_no_harm() -> None:
    one = Switched()
    one.look()
    one.lines.gone = True
    assert one.look(tripped=True), "the line still says so"
    assert one.behind.faults == ("charger_failed",)
    one.lines.gone = False
    assert not one.look(), "it is tried again"
    MADE.clear()
    two = Switched()
    two.look()
    two.lines.welded = True
    assert not two.look(tripped=True)
    assert two.behind.faults == (), "it may still move"
    await asyncio.sleep(0.06)
    two.look()
    two.look()
    assert two.behind.faults == ("contactor_welded",)
    assert [each.data["reason"] for each in two.events if each.name == "mains_contactor_failed"] == ["it does not open"]
    MADE.clear()
    three = Switched()
    three.look()
    three.lines.active = False
    await asyncio.sleep(0.06)
    three.look()
    assert (three.behind.faults, three.events[-1].data["reason"]) == ((), "it does not close")


async def test_without_a_feedback_contact_it_is_where_it_was_commanded() -> None:
    one = Switched(feedback=False)
    assert one.lines.inputs == {}
    assert one.look()
    await asyncio.sleep(0.06)
    one.look()
    assert [each.name for each in one.events] == ["mains_contactor"]
