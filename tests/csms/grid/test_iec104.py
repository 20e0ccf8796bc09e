"""A control centre steers the site by IEC 60870-5-104: by octets, and c104 as a centre that we did not write."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from csms.grid.config import Iec104, PointForm, Scada
from csms.grid.scada import ScadaRegisters
from pki_tools.tree import PkiTree
from tests.csms.backend import running_backend
from tests.csms.grid.line import LineToSite
from tests.csms.grid.site import GridSite
from tests.csms.support import make_config
from tests.interop.environments import environment
from tests.interop.iec104_peer import ControlCentre
from v2g.iec60870.asdu import TypeId
from v2g.io.tls.files import TlsFiles

pytestmark = pytest.mark.requirement("R208")

NOW_MS = 1_795_161_600_000
CENTRE = Path(__file__).parents[2] / "interop" / "iec104_centre.py"


class SteeredSite(GridSite):
    """A back end with an outstation whose steps are taken when the test says so."""

    def __init__(self, backend: Any, registers: ScadaRegisters) -> None:
        super().__init__(backend)
        self.registers = registers

    @property
    def config(self) -> Scada:
        """The section `[grid.scada]`."""
        config = self.backend.services.config.grid.scada
        assert config is not None
        return config

    async def step(self, seconds: float = 0.0) -> None:
        """Let time pass and take a step."""
        self.backend.clock.advance(seconds)
        await self.registers.step()


Start = Callable[..., contextlib.AbstractAsyncContextManager[SteeredSite]]


@pytest.fixture
def site(tmp_path: Path, pki: PkiTree, empty_database: Path) -> Start:
    """Start a back end with an outstation; keyword arguments change `[grid.scada.iec104]`."""

    @contextlib.asynccontextmanager
    async def begin(**changes: Any) -> AsyncIterator[SteeredSite]:
        outstation = Iec104(**({"port": 0} | changes))
        config = Scada(dead_man_s=30.0, safe_import_w=10_000, iec104=outstation)
        grid = {"scada": config, "currency": "EUR", "import_limit_w": 100_000, "export_limit_w": 40_000}
        async with running_backend(make_config(tmp_path, pki, grid=grid), empty_database, NOW_MS) as backend:
            registers = ScadaRegisters(backend.services, config)
            await registers.link.open()
            try:
                yield SteeredSite(backend, registers)
            finally:
                await registers.link.close()

    return begin


async def connected(one: SteeredSite) -> LineToSite:
    line = LineToSite(*await asyncio.open_connection("127.0.0.1", one.registers.link.port))
    await line.start()
    return line


async def test_limits_are_selected_and_operated_and_end_with_the_dead_man_time(site: Start) -> None:
    async with site() as one:
        await one.step()
        assert one.limits == (10_000, 0)
        line = await connected(one)
        assert await line.command(2101, 60.0) == [True, True]
        assert await line.command(2102, 20.0) == [True, True]
        await one.step()
        assert one.limits == (60_000, 20_000)
        await one.step(29)
        assert await line.command(2104, 30, select=False) == [True]
        await one.step(29)
        assert one.limits == (60_000, 20_000)
        await one.step(1)
        assert one.limits == (10_000, 0)
        assert await line.command(2103, -8, select=False) == [False], "not selected"
        await one.step()
        assert one.limits == (10_000, 0)
        assert await line.command(2104, 5, select=False) == [True]
        await one.step()
        assert one.limits == (60_000, 20_000), "values stay"
        await one.step(5)
        assert one.limits == (10_000, 0), "a shorter dead-man time"
        line.close()


async def test_what_was_commanded_once_holds_over_a_restart(site: Start) -> None:
    """A centre that goes on with its heartbeat alone, at this node or another, raises nothing."""
    async with site() as one:
        line = await connected(one)
        assert await line.command(2101, 5.0) == [True, True]
        await one.step()
        assert one.limits == (5_000, 40_000)
        line.close()
        again = ScadaRegisters(one.backend.services, one.config)
        await again.link.open()
        try:
            await again.step()
            line = await connected(SteeredSite(one.backend, again))
            assert await line.command(2104, 30, select=False) == [True]
            assert await line.command(2102, 20.0) == [True, True]
            await again.step()
            assert one.limits == (5_000, 20_000)
            line.close()
        finally:
            await again.link.close()


async def test_a_set_point_in_kw_is_dispatched(site: Start) -> None:
    async with site() as one:
        line = await connected(one)
        await line.command(2102, 5.0)
        await line.command(2103, -8.0)
        await one.step()
        assert [each["setpoint_w"] for each in one.named("setpoint_dispatched")] == [-5_000]
        line.close()


async def test_stations_have_points_of_their_own(site: Start) -> None:
    async with site(chargers=("CS-A", "CS-V2G-0001"), first_charger=20_001) as one:
        station = await one.backend.booted("CS-V2G-0001")
        about = {"timestamp": "2026-11-20T00:00:00Z", "connectorStatus": "Faulted", "evseId": 1, "connectorId": 1}
        await station.call("StatusNotification", about)
        await one.step(5)
        line = await connected(one)
        found = await line.interrogate()
        single, power = TypeId.M_SP_NA, TypeId.M_ME_NC
        assert found[20_001] == (single, b"\x00"), "CS-A is not connected"
        assert found[20_002] == (single, b"\x40")
        assert found[20_003] == (power, struct.pack("<fB", 0, 0xC0))
        assert found[20_101] == (single, b"\x01")
        assert found[20_102] == (single, b"\x01")
        assert found[20_103] == (power, struct.pack("<fB", 0, 0))
        line.close()


@pytest.mark.parametrize(
    "wrong", [{"first_charger": 2000}, {"first_charger": 16_777_200}, {"chargers": ("CS-A", "CS-A")}]
)
def test_points_of_stations_are_beyond_all_others_and_each_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="charger"):
        Iec104(**({"chargers": ("CS-A",)} | wrong))


async def test_who_is_not_a_client_is_closed_and_named(site: Start) -> None:
    async with site(clients=("192.0.2.1",)) as one:
        line = LineToSite(*await asyncio.open_connection("127.0.0.1", one.registers.link.port))
        assert await line.ended()
        line.close()
        assert [each["reason"] for each in one.named("scada_refused")] == [
            "connection of 127.0.0.1: not in clients, or too many"
        ]


async def test_with_tls_a_centre_needs_a_certificate_of_ours(site: Start, pki: PkiTree) -> None:
    """IEC 62351-3: one of another root does not get in."""
    files = {
        name: pki.path(f"csms/server/{file}") for name, file in (("certificate", "chain.pem"), ("key", "leaf.key"))
    }
    async with site(**files, roots=(pki.path("csms/root.pem"),)) as one:
        port = one.registers.link.port
        for own, admitted in (("csms/station", True), ("secc", False)):
            context = TlsFiles(
                pki.path("csms/root.pem"), pki.path(f"{own}/chain.pem"), pki.path(f"{own}/leaf.key")
            ).context()
            context.check_hostname = False
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            line = LineToSite(reader, writer)
            if admitted:
                await line.start()
                assert await line.command(2101, 50.0) == [True, True]
            else:
                assert await line.ended()
            line.close()


async def test_garbage_ends_a_connection_and_no_other(site: Start) -> None:
    async with site() as one:
        line = await connected(one)
        reader, writer = await asyncio.open_connection("127.0.0.1", one.registers.link.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await reader.read() == b""
        assert one.named("scada_refused")
        assert await line.command(2101, 50.0) == [True, True]
        line.close()
        writer.close()


async def measured(one: SteeredSite, *, kw: float, import_kwh: float, hz: float) -> None:
    """Let a station send what its meter at the grid connection reads."""
    station = await one.backend.booted(version="2.1")
    samples = [
        {"value": value, "measurand": measurand, "location": "Upstream", "unitOfMeasure": {"unit": unit}}
        for value, measurand, unit in (
            (-kw, "Power.Active.Export", "kW"),
            (import_kwh, "Energy.Active.Import.Register", "kWh"),
            (hz, "Frequency", "Hz"),
        )
    ]
    reading = {"timestamp": "2026-11-20T00:00:00Z", "sampledValue": samples}
    await station.call("MeterValues", {"evseId": 0, "meterValue": [reading]})
    await one.backend.leave(station)
    await one.step(5)


@pytest.mark.interop
@pytest.mark.long  # c104 has time limits of its own
async def test_c104_interrogates_selects_operates_and_sees_events(site: Start) -> None:
    """Floats, scaled and normalised values, and counters that it freezes."""
    python = environment("c104", ("c104==2.2.1",))
    forms = {
        "connection_power": PointForm(form="scaled", unit=0.1),
        "frequency": PointForm(form="normalised", unit=100),
        "set_export_limit": PointForm(form="scaled", unit=0.1),
        "set_setpoint": PointForm(form="normalised", unit=200),
    }
    async with site(forms=forms) as one:
        await measured(one, kw=-4.2, import_kwh=1_234.5, hz=50)
        process = await asyncio.create_subprocess_exec(
            str(python), str(CENTRE), str(one.registers.link.port),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        centre = ControlCentre(process)
        try:
            assert await centre.do("wait")
            assert await centre.do("interrogate")
            await centre.shows({"1001": 0.0, "1002": 1.0, "1109": 10.0, "1101": -42.0, "1104": 0.5})
            assert await centre.do("counters", freeze=1)
            await measured(one, kw=-4.2, import_kwh=2_000, hz=50)
            assert await centre.do("counters", freeze=0)
            await centre.shows({"1201": 12_345.0})
            for set_back in (2, 3):
                assert not await centre.do("counters", freeze=set_back)
            assert await centre.do("clock")
            assert await centre.do("test")
            assert await centre.do("command", address=2101, value=60)
            assert await centre.do("command", address=2102, value=200)
            await one.step(5)
            assert one.limits == (60_000, 20_000)
            await centre.shows({"1001": 1.0, "1002": 0.0, "1109": 60.0})
            assert not await centre.do("direct", address=2101, value=70), "without select"
            assert not await centre.do("command", address=2101, value=10_001), "more than 10 MW"
            assert await centre.do("command", address=2001, value=0)
            await one.step()
            assert one.limits == (0, 0)
        finally:
            process.stdin.close()  # type: ignore[union-attr]
            await process.wait()
