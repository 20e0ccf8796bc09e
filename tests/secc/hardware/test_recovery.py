"""What a failure with nobody plugged in leaves behind: a self-test, and an EVSE that serves the next customer."""

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest

from pki_tools.tree import PkiTree
from secc.hardware import assembly as parts
from secc.hardware.check_log import CheckLog, load_checks
from secc.hardware.config import Kind
from secc.hardware.evse import MOST_RETRIES
from secc.hardware.simulated import SimulatedEvseConfig
from secc.session import ports
from tests.safety.controllers import Disk
from tests.safety.judged.rig import Rig, rig
from tests.virtual_time import VirtualLoop, simulated
from v2g.hardware.simulation import FaultStep
from v2g.io.plc.pilot import SimulatedChargerPilot
from v2g.io.simulation.power import SimulatedCabinet
from v2g.iso15118.d20.charts import State

SLOW = SimulatedEvseConfig(report_s=0.5)
"""What takes hours is not watched ten times a second."""


def hang(found: Rig) -> None:
    """Let the watchdog see an event loop that hangs."""
    for _ in range(20):
        found.watchdog.check()


async def leave(found: Rig) -> None:
    found.car.switch(closed=False)
    found.car.pilot.unplug()
    await asyncio.sleep(0.5)


async def next_customer(found: Rig) -> None:
    """Somebody plugs in, and charges."""
    found.running.cancel()
    await asyncio.gather(found.running, return_exceptions=True)
    found.car.arrive()
    await asyncio.sleep(0.2)
    found.connect()
    await found.charge()


@pytest.mark.parametrize("kind", ["dc", "ac", "wpt", "acdp"])
@simulated
async def test_a_hang_with_nobody_plugged_in_ends_with_a_self_test(pki: PkiTree, tmp_path: Path, kind: Kind) -> None:
    async with rig(pki, tmp_path, kind) as found:
        await leave(found)
        hang(found)
        await asyncio.sleep(0.05)
        assert found.evse.faults == ("charger_failed",)
        await asyncio.sleep(5.0)
        assert found.evse.faults == ()
        await next_customer(found)


@simulated
async def test_a_failure_with_somebody_plugged_in_ends_when_they_have_left(pki: PkiTree, tmp_path: Path) -> None:
    async with rig(pki, tmp_path) as found:
        await found.charge()
        hang(found)
        await found.off(1.0)
        await asyncio.sleep(30.0)
        assert "charger_failed" in found.evse.faults
        await leave(found)
        await asyncio.sleep(5.0)
        assert found.evse.faults == ()
        await next_customer(found)


@pytest.mark.long
def test_a_driver_that_goes_on_failing_is_tried_again_ever_less_and_not_for_ever(pki: PkiTree, tmp_path: Path) -> None:
    async def scenario(lasts_s: float) -> tuple[int, tuple[str, ...]]:
        async with rig(pki, tmp_path, simulated=SLOW) as found:
            await leave(found)
            tried: list[float] = []
            patch.setattr(SimulatedChargerPilot, "set_error", lambda *_: tried.append(found.now))
            patch.setattr(SimulatedCabinet, "set_fan", lambda *_: 1 / 0)
            end = found.now + lasts_s
            while found.now < end and len(tried) < MOST_RETRIES:
                await asyncio.sleep(10.0)
            await asyncio.sleep(2 * (tried[-1] - tried[-2]) if len(tried) == MOST_RETRIES else 0.0)  # it is the last
            pauses = [after - before for before, after in itertools.pairwise(tried)]
            assert pauses == sorted(pauses)
            patch.undo()
            await asyncio.sleep(1_000.0)
            return len(tried), found.evse.faults

    with pytest.MonkeyPatch.context() as patch, asyncio.Runner(loop_factory=VirtualLoop) as runner:
        tried, faults = runner.run(scenario(120.0))
        assert 5 <= tried <= 10
        assert faults == ()
        tried, faults = runner.run(scenario(20_000.0))
        assert tried == MOST_RETRIES
        assert faults == ("charger_failed",)


@pytest.mark.long
@simulated
async def test_a_welded_contactor_is_not_healed_by_a_self_test(pki: PkiTree, tmp_path: Path) -> None:
    async with rig(pki, tmp_path, simulated=SLOW) as found:
        await leave(found)
        found.faults.set("stuck_closed")
        await asyncio.sleep(1.0)
        hang(found)
        await asyncio.sleep(600.0)
        found.faults.set("stuck_closed", active=False)
        await asyncio.sleep(600.0)
        assert found.evse.faults == ("contactor_welded",)


@simulated
async def test_a_charger_whose_hardware_fails_its_test_at_the_start_is_not_available(
    pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = monkeypatch.context()
    with broken as patch:
        patch.setattr(SimulatedChargerPilot, "set_error", lambda *_: None)  # the wire stays at A
        async with rig(pki, tmp_path) as found:
            assert found.evse.faults == ("self_test_failed",)
            await leave(found)
            patch.undo()
            await asyncio.sleep(60.0)
            assert found.evse.faults == ()
            await next_customer(found)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where chargers keep the results of their checks."""
    made = parts.Assembly.make

    async def with_log(self: Any) -> Any:
        self.log = CheckLog(tmp_path, Disk(), utc_ms=self.clock.utc_ms, observe=self.observe)
        return await made(self)

    monkeypatch.setattr(parts.Assembly, "make", with_log)
    return tmp_path


def checks(folder: Path) -> list[tuple[str, str, bool]]:
    return [(each.check, each.failed, bool(each.session_id)) for each in load_checks(folder)]


@simulated
async def test_what_self_tests_have_shown_is_kept(pki: PkiTree, kept: Path) -> None:
    welded = SimulatedEvseConfig(faults=(FaultStep(fault="stuck_closed"),))
    async with rig(pki, kept, simulated=welded) as found:
        (event,) = found.named("hardware", "checked")
        assert event.data["failed"] == "the contactor does not open"
        assert found.evse.faults == ("contactor_welded",)
    assert checks(kept) == [("self_test", "the contactor does not open", False)]


@pytest.mark.parametrize("welds", [False, True])
@simulated
async def test_each_session_tests_isolation_monitor_and_contactor(pki: PkiTree, kept: Path, welds: bool) -> None:
    async with rig(pki, kept) as found:
        await found.charge()
        if welds:
            found.faults.set("weld")
        found.evse.execute(ports.EmergencyOff("test"))
        await asyncio.sleep(2.0)
        contactor = ("contactor", "the contactor does not open" if welds else "", True)
        assert checks(kept) == [("self_test", "", False), ("isolation", "", True), contactor]
        assert ("contactor_welded" in found.evse.faults) is welds


@simulated
async def test_an_isolation_monitor_that_fails_its_own_test_is_not_believed(pki: PkiTree, kept: Path) -> None:
    async with rig(pki, kept) as found:
        found.faults.set("isolation_test")
        await found.to(State.DC_CABLE_CHECK_ONGOING)
        await found.step("DC_CableCheckReq")
        assert "isolation_test_failed" in found.evse.faults
        assert not found.evse.contactors_closed
        assert not found.car.live


@pytest.mark.parametrize("guarded", [True, False])
@simulated
async def test_the_insulation_is_watched_without_a_current(pki: PkiTree, tmp_path: Path, guarded: bool) -> None:
    """In pre-charge, and wherever a vehicle asks for 0 A: it was only while a current was commanded."""
    async with rig(pki, tmp_path, guarded=guarded) as found:
        await found.to(State.DC_PRE_CHARGE_ONGOING)
        await asyncio.sleep(0.5)
        assert found.evse.present.current_ma == 0
        assert found.car.live
        found.faults.set("isolation", value=20_000)
        await found.off(1.0)
        assert "isolation_low" in found.evse.faults
