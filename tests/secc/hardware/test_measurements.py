"""Power electronics and meter that measure different powers: found by the hardware layer, and by the monitor alone."""

import asyncio
from pathlib import Path

import pytest

from pki_tools.tree import PkiTree
from secc.hardware import evse
from secc.hardware.config import Kind
from secc.hardware.simulated import SimulatedEvseConfig
from tests.safety.judged.rig import Rig, rig
from tests.virtual_time import in_simulated_time, simulated
from v2g.iso15118.d20.charts import State

SLOW = SimulatedEvseConfig(report_s=0.5)
"""What takes half an hour is not watched ten times a second."""


def unseen(patch: pytest.MonkeyPatch) -> None:
    """Take out what compares the energies."""
    patch.setattr(evse.MeterGuard, "check", lambda *_: "")


async def differs(found: Rig, within: float, *, looping: bool) -> None:
    began = found.now
    while "measurements_differ" not in found.evse.faults:
        assert found.now - began <= within
        await (found.go_on(0.05) if looping else asyncio.sleep(0.05))
    await found.off(1.0)
    assert not found.evse.contactors_closed


@pytest.mark.some(4)
@pytest.mark.parametrize("line", ["monitor", "session"])
@pytest.mark.parametrize("watts", [100_000.0, -100_000.0])
@pytest.mark.parametrize("kind", ["dc", "ac", "wpt", "acdp"])
def test_a_step_is_found(
    pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind, watts: float, line: str
) -> None:
    """The session compares energies, which takes 200 Wh."""

    async def scenario() -> None:
        async with rig(pki, tmp_path, kind, guarded=line == "monitor") as found:
            await found.charge()
            found.faults.set("meter_wrong", value=watts)
            await differs(found, 1.0 if line == "monitor" else 10.0, looping=True)

    if line == "monitor":
        unseen(monkeypatch)
    in_simulated_time(scenario())


@pytest.mark.parametrize("line", ["monitor", "session"])
def test_power_that_only_the_meter_sees_is_found_at_0_w(
    pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """The meter counted 100 kW at the power electronics' 0 W, and nobody said so in an hour."""

    async def scenario() -> None:
        async with rig(pki, tmp_path, guarded=line == "monitor") as found:
            await found.to(State.DC_PRE_CHARGE_ONGOING)
            found.faults.set("meter_wrong", value=100_000.0)
            await differs(found, 1.0 if line == "monitor" else 10.0, looping=False)

    if line == "monitor":
        unseen(monkeypatch)
    in_simulated_time(scenario())


@pytest.mark.long
@pytest.mark.parametrize("line", ["monitor", "session"])
def test_a_drift_is_found_within_the_hour(
    pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    async def scenario() -> None:
        async with rig(pki, tmp_path, guarded=line == "monitor", simulated=SLOW) as found:
            await found.charge()
            began = found.now
            while "measurements_differ" not in found.evse.faults:
                assert found.now - began <= 3_600.0
                found.faults.set("meter_wrong", value=0.3 * found.car.power_w * (found.now - began) / 3_600)
                await found.go_on(10.0, every_s=0.4)
            assert found.now - began > 300.0

    if line == "monitor":
        unseen(monkeypatch)
    in_simulated_time(scenario())


@pytest.mark.long
@simulated
async def test_measurements_that_agree_are_no_fault(pki: PkiTree, tmp_path: Path) -> None:
    async with rig(pki, tmp_path, simulated=SLOW) as found:
        await found.charge()
        found.faults.set("meter_wrong", value=500.0)
        await found.go_on(1_200.0, every_s=0.4)
        assert found.evse.faults == ()
