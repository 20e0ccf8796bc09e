"""What is measured behind a connection point: sums and means of chargers, and the one meter at the grid connection."""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from csms.config import StationEntry
from csms.grid.meters import measured
from csms.sites import store as site_store
from csms.sites.rules import Place, Site
from pki_tools.tree import PkiTree
from tests.csms.backend import Backend, running_backend
from tests.csms.grid.site import report_meter, report_transaction, sampled
from tests.csms.support import make_config
from v2g.energy.balancing import Node
from v2g.energy.grid_signal import ALL, ConnectionPoint

A, B = "CS-V2G-0001", "CS-V2G-0002"
NOW_MS = 1_682_475_240_000
YARD = ConnectionPoint(site="yard")
IMPORT = ("Power.Active.Import", 7_000, "W")
POWER = sampled("Outlet", IMPORT)
REACTIVE = sampled("Outlet", IMPORT, ("Power.Reactive.Import", 500, "var"))

Start = Callable[[], contextlib.AbstractAsyncContextManager[Backend]]


@pytest.fixture
def start(tmp_path: Path, pki: PkiTree, empty_database: Path) -> Start:
    """Start a back end with a site of station A, whose EVSE is on the site's phases L2, L3 and L1."""

    @contextlib.asynccontextmanager
    async def begin() -> AsyncIterator[Backend]:
        evse = Place(station_id=A, evse_id=1, node="main", most_ma=32_000, phases=("L2", "L3", "L1"))
        site = Site(id="yard", nodes=(Node(id="main", limits=(100_000,) * 3),), places=(evse,))
        config = make_config(tmp_path, pki, stations=(StationEntry(id=A), StationEntry(id=B)))
        async with running_backend(config, empty_database, NOW_MS) as csms:
            await csms.services.store.run(site_store.save_site, site, NOW_MS)
            yield csms

    return begin


async def found(csms: Backend, point: ConnectionPoint = ALL) -> dict[str, float]:
    """Return what is measured."""
    return await csms.services.store.read(measured, point, point, NOW_MS - 900_000)


@pytest.mark.requirement("R207")
async def test_without_vehicles_nothing_flows_into_them_and_nothing_else_is_known(start: Start) -> None:
    async with start() as csms:
        await csms.booted(A)
        assert await found(csms) == {"der power": 0}


@pytest.mark.requirement("R207")
async def test_reactive_power_is_that_of_all_vehicles_or_unknown(start: Start) -> None:
    """As one that measures none, or more than its EVSE can have, makes it; nothing flows once charging is suspended."""
    async with start() as csms:
        one, other = await csms.booted(A, "2.1"), await csms.booted(B, "2.1")
        await report_transaction(one, 0, REACTIVE)
        assert await found(csms) == {"der power": -7_000, "der reactive power": -500}
        await report_transaction(other, 0, POWER)
        assert await found(csms) == {"der power": -14_000}
        assert await found(csms, YARD) == {"der power": -7_000, "der reactive power": -500}
        await report_transaction(other, 1, sampled("Outlet", IMPORT, ("Power.Reactive.Export", 2_000, "var")))
        assert (await found(csms))["der reactive power"] == 1_500
        await report_transaction(one, 1, [], state="SuspendedEV")
        assert await found(csms) == {"der power": -7_000, "der reactive power": 2_000}
        await report_transaction(other, 2, sampled("Outlet", IMPORT, ("Power.Reactive.Export", 9_000_000, "var")))
        assert await found(csms) == {"der power": -7_000}


@pytest.mark.requirement("R207")
async def test_voltages_are_means_on_the_sites_phases(start: Start) -> None:
    """Of what alternates: a vehicle's direct voltage has no phase; those of a charger of DC are at its inlet."""
    async with start() as csms:
        one, other = await csms.booted(A, "2.1"), await csms.booted(B, "2.1")
        volts = ("Voltage L1-N", 230, "V"), ("Voltage L2", 231, "V"), ("Voltage L3-N", 99_000, "V")
        await report_transaction(one, 0, POWER + sampled("Outlet", *volts))
        assert await found(csms, YARD) == {"der power": -7_000, "der voltage L2": 230, "der voltage L3": 231}
        at_inlet = sampled("Inlet", ("Voltage L2-N", 240, "V"), ("Power.Reactive.Export", 1, "kvar"))
        await report_transaction(other, 0, POWER + sampled("Outlet", ("Voltage", 400, "V")) + at_inlet)
        assert await found(csms) == {"der power": -14_000, "der voltage L2": 235, "der voltage L3": 231}


@pytest.mark.requirement("R207")
async def test_a_grid_connection_has_one_meter(start: Start) -> None:
    """Which of several is its own nobody knows; one elsewhere, or without a power, is none."""
    async with start() as csms:
        one, other = await csms.booted(A, "2.1"), await csms.booted(B, "2.1")
        frequency = ("Frequency", 50, "Hz")
        await report_meter(one, sampled("Upstream", ("Voltage L3", 229, "V"), frequency))
        assert await found(csms) == {"der power": 0}
        await report_meter(one, sampled("Upstream", ("Power.Active.Export", 2, "kW"), ("Voltage L3", 229, "V")))
        read = {"der power": 0, "site power": -2_000, "site voltage L3": 229}
        assert await found(csms) == await found(csms, YARD) == read
        await report_meter(other, sampled("Upstream", ("Power.Active.Import", 5, "kW")))
        assert await found(csms) == {"der power": 0}
        assert await found(csms, YARD) == read
