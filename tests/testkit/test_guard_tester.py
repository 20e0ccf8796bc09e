"""The lab's energy guard at a charger of ours, and at one that does wrong (R206)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest

from v2g.eebus.limitation import LimitWrite, PowerLimitation
from v2g.io.eebus import node as node_module
from v2g.io.eebus.files import node_key
from v2g.io.hardware.energy_config import EnergyEebusConfig
from v2g.io.hardware.energy_eebus import EebusEnergyManager
from v2g.io.runtime.clock import Clock
from v2g_testkit.cases.case import Verdict
from v2g_testkit.guard_tester import CASES, GuardBench, GuardTester


class Preset:
    fallback_charge_w = 4200
    fallback_discharge_w = 1000
    timeout_s = 60.0


class MovedClock(Clock):
    """A clock of both sides, which the tester's waits move on."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead

    async def wait(self, seconds: float) -> None:
        self.ahead += seconds
        await asyncio.sleep(0.15)


@contextlib.asynccontextmanager
async def guarded(
    folder: Path, monkeypatch: pytest.MonkeyPatch, use_case: Literal["lpc", "lpp"]
) -> AsyncIterator[GuardTester]:
    monkeypatch.setattr(node_module, "LOOK_S", 0.03)
    monkeypatch.setattr(node_module, "PAUSES_S", ((0.0, 0.0),))
    clock = MovedClock()
    guard, own = node_key(folder / "guard", "guard").ski, node_key(folder / "eebus", "charger").ski
    config = EnergyEebusConfig(
        folder=folder / "eebus", port=0, mdns=False, trusted=(guard,), nominal_charge_w=22_000,
        nominal_discharge_w=11_000,
    )  # fmt: skip
    charger = EebusEnergyManager(config, Preset(), lambda *_: None, clock=clock, observe=lambda _: None)
    await charger.open()
    bench = GuardBench(ski=own, url=f"wss://127.0.0.1:{charger.ship.port}/ship/", use_case=use_case, most_w=11_000)
    tester = GuardTester(bench, folder / "guard", clock=clock, observe=lambda _: None, wait=clock.wait)
    try:
        async with asyncio.timeout(60):
            await tester.open()
            yield tester
    finally:
        await tester.close()
        await charger.close()


@pytest.mark.requirement("R206")
@pytest.mark.parametrize("use_case", ["lpc", "lpp"])
async def test_a_charger_of_ours_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use_case: Literal["lpc", "lpp"]
) -> None:
    async with guarded(tmp_path, monkeypatch, use_case) as tester:
        results = [await tester.run(case) for case in CASES]
    assert {each.case: each.found for each in results if each.verdict is not Verdict.PASS} == {}
    assert len(results) == 12


async def test_a_device_that_does_wrong_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes negative limits, never loses its guard, and forgets durations."""
    written = PowerLimitation.write

    def write(self: PowerLimitation, limit: LimitWrite, now: float) -> str:
        value = None if limit.value_w is None else abs(limit.value_w)
        return written(self, LimitWrite(value_w=value, active=limit.active), now)

    monkeypatch.setattr(PowerLimitation, "write", write)
    monkeypatch.setattr(PowerLimitation, "refusal", lambda *_: "")
    monkeypatch.setattr("v2g.eebus.limitation.LOST_S", 1e9)
    wrong = {"NT_CSLimited_001", "NT_CSUnlCntrl_001", "PT_CSTransition6_001", "PT_CSTransition7_001"}
    async with guarded(tmp_path, monkeypatch, "lpc") as tester:
        cases = [each for each in CASES if each.id.removeprefix("ATC_COM_") in wrong]
        results = [await tester.run(case) for case in cases]
    assert [each.verdict for each in results] == [Verdict.FAIL] * 4, [each.found for each in results]
