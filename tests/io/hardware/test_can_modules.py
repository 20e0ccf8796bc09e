"""Power modules over a CAN bus of python-can: the same group, with a real port and a real clock."""

import contextlib
import importlib.resources
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest_asyncio

from tests.io.hardware.can_modules import Modules
from v2g.hardware.interfaces import Demand
from v2g.hardware.power_modules.bank import ModulesConfig
from v2g.hardware.power_modules.infypower import InfypowerConfig
from v2g.io.hardware.driver import Driver, DriverContext
from v2g.io.hardware.modules import DRIVER, INFYPOWER, CanStage
from v2g.io.runtime.clock import Clock


@contextlib.asynccontextmanager
async def opened(driver: Driver, config: ModulesConfig | InfypowerConfig) -> AsyncIterator[tuple[CanStage, Modules]]:
    modules = Modules(config)
    async with driver.open(config, DriverContext(clock=Clock())) as parts:
        yield parts.stage, modules
    await modules.close()


@pytest_asyncio.fixture
async def joined() -> AsyncIterator[tuple[CanStage, Modules]]:
    config = ModulesConfig(
        interface="virtual", channel=uuid.uuid4().hex, modules=(1, 2), send_s=0.05, lost_s=0.25, isolation_s=0.05
    )
    async with opened(DRIVER, config) as pair:
        yield pair


async def test_demand_report_loss_and_return(joined: tuple[CanStage, Modules], until: Callable[..., Any]) -> None:
    stage, modules = joined
    faults: list[tuple[str, bool]] = []
    currents: list[int] = []
    stage.on_fault(lambda word, active: faults.append((word, active)))
    stage.on_report(lambda report: currents.append(report.current_ma))
    stage.drive(Demand(450_000, 50_000, 100_000))
    await until(lambda: stage.present.current_ma == 50_000)
    assert stage.present.voltage_mv == 400_000
    assert currents == sorted(currents)  # a ramp
    assert await stage.measure(400_000) == 1_000_000
    assert set(stage.temperatures) == {"module_1", "module_2"}
    modules.bank.units[1].dead = True
    await until(lambda: faults == [("module_lost", True)] and stage.present.current_ma == 50_000)
    modules.bank.units[2].dead = True
    await until(lambda: faults[-1] == ("stage_lost", True))
    for unit in modules.bank.units.values():
        unit.dead = False
    await until(lambda: ("stage_lost", False) in faults)
    await until(lambda: stage.present.current_ma == 50_000)


async def test_a_stage_that_is_closed_leaves_its_modules_off(
    joined: tuple[CanStage, Modules], until: Callable[..., Any]
) -> None:
    stage, modules = joined
    stage.drive(Demand(450_000, 50_000, 100_000))
    await until(lambda: modules.bank.current_ma > 0)
    stage.drive(Demand(0))
    await until(lambda: modules.bank.current_ma == 0)


async def test_infypower_modules_charge_and_a_silent_one_ends_it(until: Callable[..., Any]) -> None:
    """A silent module may go on for 10 s: the others do not carry on, and the contactor has to open."""
    config = InfypowerConfig(
        interface="virtual", channel=uuid.uuid4().hex, bitrate=500_000, modules=(0, 5), send_s=0.05, lost_s=0.25
    )
    async with opened(INFYPOWER, config) as (stage, modules):
        faults: list[tuple[str, bool]] = []
        stage.on_fault(lambda word, active: faults.append((word, active)))
        stage.drive(Demand(450_000, 40_000, 100_000))
        await until(lambda: stage.present.current_ma == 40_000)
        assert stage.present.voltage_mv == 400_000
        assert {unit.model.current_ma for unit in modules.bank.units.values()} == {20_000}
        assert stage.resistance_ohm == 1_000_000
        modules.bank.units[5].mute = True
        await until(lambda: ("stage_lost", True) in faults)
        await until(lambda: modules.bank.units[0].model.current_ma == 0)


async def test_a_resistance_that_is_not_available_is_none(tmp_path: Path, until: Callable[..., Any]) -> None:
    """Its code is the highest of the signal: as a number it would be the best insulation of all."""
    own = importlib.resources.files("v2g.hardware.power_modules").joinpath("power_modules.dbc").read_text()
    dbc = tmp_path / "modules.dbc"
    dbc.write_text(own + '\nVAL_ 1024 Resistance 65534 "> 65534 kOhm" 65535 "SNA" ;\n')
    for driver, config in ((DRIVER, ModulesConfig), (INFYPOWER, InfypowerConfig)):
        channel = uuid.uuid4().hex
        made = config(interface="virtual", channel=channel, bitrate=500_000, send_s=0.05, lost_s=0.25, dbc=dbc)
        async with opened(driver, made) as (stage, modules):
            for kohm, ohm in ((65_534, 65_534_000), (65_535, None), (500, 500_000)):
                modules.bank.monitor.resistance_kohm = kohm
                await until(lambda ohm=ohm: stage.resistance_ohm == ohm)
