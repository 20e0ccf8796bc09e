"""Registers for a SCADA system: limits and set-point by Modbus TCP, the dead-man time, several nodes."""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from pymodbus.client import AsyncModbusTcpClient

from csms.config import StationEntry
from csms.dispatch.work import in_force
from csms.grid.config import Scada
from csms.grid.rules import SourceSignal
from csms.grid.scada import ScadaRegisters
from csms.grid.setpoints import SetpointFollower
from csms.grid.source import GridSource
from csms.transactions.powers import FRESH_MS
from pki_tools.tree import PkiTree
from tests.csms.backend import Backend, running_backend
from tests.csms.charging import Charging
from tests.csms.grid.site import GridSite
from tests.csms.support import make_config
from v2g.hardware.energy_manager.registers import NOTHING

NOW_MS = 1_795_161_600_000
STATIONS = ("CS-V2G-0001", "CS-V2G-0002")


class Site(GridSite):
    """A back end whose registers take their steps when the test says so, and a SCADA system."""

    def __init__(self, backend: Backend, config: Scada, registers: ScadaRegisters, client: Any) -> None:
        super().__init__(backend)
        self.config, self.registers, self.client = config, registers, client

    async def write(self, address: int, value: int, kind: str = "UINT32") -> None:
        """Write a value."""
        words = self.client.convert_to_registers(value, getattr(self.client.DATATYPE, kind))
        assert not (await self.client.write_registers(address, words)).isError()

    async def step(self, seconds: float = 0.0) -> None:
        """Let time pass and take a step."""
        self.backend.clock.advance(seconds)
        await self.registers.step()


Start = Callable[..., contextlib.AbstractAsyncContextManager[Site]]


@pytest.fixture
def site(tmp_path: Path, pki: PkiTree, empty_database: Path) -> Start:
    """Start a back end with registers, and a client; keyword arguments change `[grid.scada]`."""

    @contextlib.asynccontextmanager
    async def begin(**changes: Any) -> AsyncIterator[Site]:
        config = Scada(**({"port": 0, "dead_man_s": 30.0, "safe_import_w": 10_000} | changes))
        grid = {"scada": config, "currency": "EUR", "import_limit_w": 100_000, "export_limit_w": 40_000}
        whole = make_config(tmp_path, pki, grid=grid, stations=tuple(StationEntry(id=each) for each in STATIONS))
        async with running_backend(whole, empty_database, NOW_MS) as backend:
            registers = ScadaRegisters(backend.services, config)
            await registers.link.open()
            client = AsyncModbusTcpClient("127.0.0.1", port=registers.link.port, timeout=5, retries=0)
            assert await client.connect()
            try:
                yield Site(backend, config, registers, client)
            finally:
                client.close()
                await registers.link.close()

    return begin


@pytest.mark.requirement("R56")
async def test_written_limits_apply_until_the_dead_man_time_is_over(site: Start) -> None:
    """Before the first write and after the last one the safe state does; a heartbeat keeps the values in force."""
    async with site() as one:
        await one.step()
        assert one.limits == (10_000, 0)
        await one.write(2, 60_000)
        await one.write(4, 20_000)
        await one.step()
        assert one.limits == (60_000, 20_000)
        for number in range(4):
            await one.step(20)
            await one.write(0, number, "UINT16")
            await one.step()
        assert one.limits == (60_000, 20_000)
        await one.step(29)
        assert one.limits == (60_000, 20_000)
        await one.step(1)
        assert one.limits == (10_000, 0)
        assert [len(one.named(name)) for name in ("scada_lost", "scada_active")] == [2, 1]
        (stated,) = await one.backend.services[GridSource].stated()
        assert stated.problem == "nothing was written for 30 s: the safe state applies"
        await one.write(0, 9, "UINT16")
        await one.step()
        assert one.limits == (60_000, 20_000), "the registers still hold them"


@pytest.mark.requirement("R56")
async def test_a_clock_that_is_set_back_lengthens_no_dead_man_time(site: Start) -> None:
    async with site() as one:
        await one.write(2, 60_000)
        await one.step()
        await one.step(-3600)
        assert one.limits == (10_000, 0)
        await one.write(0, 1, "UINT16")
        await one.step()
        assert one.limits == (60_000, 40_000)
        again = ScadaRegisters(one.backend.services, one.config)
        one.backend.clock.advance(-3600)
        await again.step()
        assert one.limits == (10_000, 0), "also after a restart"


@pytest.mark.requirement("R56")
async def test_a_system_that_is_lost_raises_nothing(site: Start) -> None:
    """A written limit below the safe state stays, also over a restart, and that is said; until the next write."""
    async with site() as one:
        await one.write(2, 6_000)
        await one.write(4, 20_000)
        await one.step()
        await one.step(30)
        assert one.limits == (6_000, 0)
        again = ScadaRegisters(one.backend.services, one.config)
        one.backend.clock.advance(100)
        await again.step()
        assert one.limits == (6_000, 0)
        (stated,) = await one.backend.services[GridSource].stated()
        assert stated.problem == "nothing was written for 30 s: a lower written limit stays"
        await one.write(2, 70_000)
        await one.step()
        assert one.limits == (70_000, 20_000)


@pytest.mark.requirement("R56")
async def test_registers_outlive_a_restart(site: Start) -> None:
    """A system that goes on with its heartbeat, or with another register, raises nothing."""
    async with site() as one:
        await one.write(2, 6_000)
        await one.step()
        again = ScadaRegisters(one.backend.services, one.config)
        await again.link.open()
        client = AsyncModbusTcpClient("127.0.0.1", port=again.link.port, timeout=5, retries=0)
        assert await client.connect()
        try:
            one.backend.clock.advance(100)
            await again.step()
            assert one.limits == (6_000, 0)
            await client.write_register(0, 1)
            await again.step()
            assert one.limits == (6_000, 40_000)
            assert (await client.read_holding_registers(2, count=2)).registers == [0, 6_000]
        finally:
            client.close()
            await again.link.close()


@pytest.mark.requirement("R56")
async def test_a_limit_written_while_another_is_stored_applies_next(
    site: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site() as one:
        source = one.backend.services[GridSource]
        state = source.state

        async def slow(stated: SourceSignal) -> int:
            monkeypatch.setattr(source, "state", state)
            await one.write(4, 5_000)
            return await state(stated)

        await one.write(2, 60_000)
        monkeypatch.setattr(source, "state", slow)
        await one.step()
        assert one.limits == (60_000, 40_000)
        await one.step()
        assert one.limits == (60_000, 5_000)


async def test_a_register_that_is_unset_leaves_the_sites_own_limit(site: Start) -> None:
    """Each direction by itself."""
    async with site() as one:
        await one.write(4, 5_000)
        await one.step()
        assert one.limits == (100_000, 5_000)
        await one.write(4, NOTHING["I"])
        await one.step()
        assert one.limits == (100_000, 40_000)


async def test_stations_stop_export_by_themselves_when_the_back_end_is_away(site: Start) -> None:
    """After `outage_s`; renewed long before, and not with every heartbeat."""
    async with site(outage_s=120) as one:
        await one.write(4, 5_000)
        await one.step()
        signal = one.backend.services[GridSource].current
        assert signal is not None
        assert signal.valid_until_ms == one.backend.clock.utc_ms() + 120_000
        versions = set()
        for _ in range(20):
            await one.step(5)
            await one.write(0, 1, "UINT16")
            await one.step()
            current = one.backend.services[GridSource].current
            assert current is not None
            assert current.valid_until_ms > one.backend.clock.utc_ms() + 40_000
            versions.add(current.version)
        assert len(versions) < 5


async def test_a_set_point_is_dispatched_within_the_limits_and_ends_with_the_heartbeat(site: Start) -> None:
    """Negative is export. Sources after it in the configuration wait meanwhile."""
    async with site() as one:
        await one.write(4, 5_000)
        await one.write(6, -8_000, "INT32")
        await one.step()
        assert [each["setpoint_w"] for each in one.named("setpoint_dispatched")] == [-5_000]
        other = SetpointFollower(one.backend.services, "openadr:V")
        now_ms = one.backend.clock.utc_ms()
        await other.follow(7_000, now_ms + 3_600_000, now_ms)
        assert len(one.named("setpoint_dispatched")) == 1
        await one.step(31)
        now_ms = one.backend.clock.utc_ms()
        await other.follow(7_000, now_ms + 3_600_000, now_ms)
        last = {"source": "openadr:V", "setpoint_w": 7_000, "vehicles": 0, "connection_point": "all"}
        assert one.named("setpoint_dispatched")[-1] == last


async def test_a_set_point_from_before_a_restart_ends_with_the_dead_man_time(site: Start) -> None:
    """Not sooner: the SCADA system may be back in time."""
    async with site() as one:
        await one.write(6, -8_000, "INT32")
        await one.step()
        again, services = ScadaRegisters(one.backend.services, one.config), one.backend.services
        await again.step()
        assert [(each.setpoint_w, each.source) for each in await in_force(services)] == [(-8_000, "scada")]
        one.backend.clock.advance(41)
        await again.step()
        assert one.limits == (10_000, 0)
        await again.step()
        one.backend.clock.advance(1.1)
        assert await in_force(services) == []


async def test_limits_in_force_can_be_read(site: Start) -> None:
    """And whether the dead-man time is running, and how long it is."""
    async with site() as one:
        await one.write(2, 60_000)
        await one.step()
        shown = (await one.client.read_input_registers(0, count=20)).registers
        number = one.client.convert_from_registers
        kinds = one.client.DATATYPE
        assert (shown[0], shown[1], shown[19]) == (1, 1, 30)
        assert number(shown[2:4], kinds.INT32) == 0
        assert (number(shown[12:14], kinds.UINT32), number(shown[14:16], kinds.UINT32)) == (60_000, 40_000)
        await one.write(2, 50_000)
        await one.step(1)
        shown = (await one.client.read_input_registers(0, count=20)).registers
        assert number(shown[12:14], kinds.UINT32) == 50_000, "who writes a limit need not wait to read it"


async def test_values_from_before_a_restart_are_shown_as_in_force_until_the_safe_state_is(site: Start) -> None:
    async with site() as one:
        await one.write(2, 60_000)
        await one.step()
        await one.registers.link.close()
        again = ScadaRegisters(one.backend.services, one.config)
        await again.link.open()
        try:
            async with AsyncModbusTcpClient("127.0.0.1", port=again.link.port, timeout=5, retries=0) as client:
                for seconds, live in ((0, 1), (39, 1), (1, 0)):
                    one.backend.clock.advance(seconds)
                    await again.step()
                    shown = (await client.read_input_registers(0, count=20)).registers
                    limit_w = client.convert_from_registers(shown[12:14], client.DATATYPE.UINT32)
                    assert (shown[1], limit_w) == (live, 60_000 if live else 10_000)
        finally:
            await again.link.close()


async def test_an_unknown_power_of_one_vehicle_makes_the_sum_unknown(site: Start) -> None:
    """A vehicle that charges has none before its first reading, and none for long after its last one."""
    async with site() as one:

        async def shown() -> int | None:
            await one.step(6)
            words = (await one.client.read_input_registers(2, count=2)).registers
            watts = one.client.convert_from_registers(words, one.client.DATATYPE.INT32)
            return None if watts == NOTHING["i"] else watts

        charges = [Charging(one.backend, await one.backend.booted(name)) for name in STATIONS]
        for each in charges:
            await each.event("Started", "CablePluggedIn", state="EVConnected")
        assert await shown() == 0, "no energy flows by their state"
        await charges[0].event("Updated", "ChargingStateChanged", state="Charging", extra=power(charges[0], 6_000))
        assert await shown() == 6_000
        await charges[1].event("Updated", "ChargingStateChanged", state="Charging")
        assert await shown() is None
        await charges[1].event("Updated", "MeterValuePeriodic", extra=power(charges[1], 1_500))
        assert await shown() == 7_500
        for _ in range(FRESH_MS // 60_000):
            await charges[0].event("Updated", "MeterValuePeriodic", context="Sample.Periodic")
            await charges[1].event("Updated", "MeterValuePeriodic", extra=power(charges[1], 1_000))
        assert await shown() is None, "the first one's is of long ago: since then it sends energy only"
        await charges[0].event("Updated", "ChargingStateChanged", state="SuspendedEV")
        assert await shown() == 1_000


def power(charge: Charging, watts: int) -> dict[str, Any]:
    """What an event has measured."""
    sampled = [{"value": watts, "measurand": "Power.Active.Import"}]
    return {"meterValue": [{"timestamp": charge.now(), "sampledValue": sampled}]}


async def test_what_is_out_of_range_is_refused(site: Start) -> None:
    """As a whole; and there is one device, not one for each EVSE."""
    async with site() as one:
        words = one.client.convert_to_registers(20_000_000, one.client.DATATYPE.UINT32)
        assert (await one.client.write_registers(2, words)).exception_code == 3
        assert (await one.client.write_register(100, 1)).exception_code == 2
        await one.step()
        assert one.limits == (10_000, 0)
        assert len(one.named("scada_refused")) == 2


async def test_a_node_that_nobody_writes_to_leaves_the_other_ones_values_in_force(site: Start) -> None:
    """Until that one is silent, too."""
    async with site() as one:
        await one.write(2, 60_000)
        await one.step()
        other = ScadaRegisters(one.backend.services, one.config)
        for _ in range(10):
            await one.step(10)
            await one.write(0, 1, "UINT16")
            await one.step()
            await other.step()
        assert one.limits[0] == 60_000
        one.backend.clock.advance(39)
        await other.step()
        assert one.limits[0] == 60_000
        one.backend.clock.advance(1)
        await other.step()
        assert one.limits[0] == 10_000
        await one.write(0, 2, "UINT16")
        await one.step()
        await other.step()
        await other.step()
        assert one.limits[0] == 60_000
