"""Our simulated station and our back end: what the station works out by the back end's plan is what the plan says."""

import asyncio
import contextlib
import time

import msgspec
import pytest
from sqlalchemy import Connection, select

from csms.admission.work import StationAdmissions
from csms.sites import store as site_store
from csms.sites.rules import Place, Site
from csms.tariffs import store as tariffs
from csms.tariffs.store import Scope
from csms.tariffs.tables import transaction_costs
from csms.tariffs.work import TariffService
from csms.tokens.rules import TokenEntry
from tests.csms.fixtures import Start, backend
from tests.csms.network import listening
from tests.waiting import until
from v2g.energy.balancing import Node
from v2g.energy.price_plan import Charge, PricePlan, Rate, Tax, When
from v2g.energy.settlement.costing import with_taxes
from v2g.ocpp.messages.tariff_cost import CostDetails
from v2g.translate.details import bill_of
from v2g_station.simulator.behaviour import Behaviour
from v2g_station.simulator.fleet import Simulator, StationFleet

__all__ = ["backend"]

_SPEED = 200.0
CS = "CS-V2G-0001"
VAT = (Tax(kind="vat", ppm=190_000),)
PLAN = PricePlan(
    id="place",
    currency="EUR",
    energy=Charge(rates=(Rate(price="0.4", when=When(max_energy_wh=500)), Rate(price="0.6")), taxes=VAT),
    fixed=Charge(rates=(Rate(price="1", when=When(evse_kind="DC")),), taxes=VAT),
)
OWN = msgspec.structs.replace(PLAN, id="own", fixed=None)


def _final(connection: Connection) -> list[str]:
    costs = transaction_costs.c
    return list(connection.execute(select(costs.document).where(costs.final, costs.source == "station")).scalars())


@pytest.mark.parametrize("of", ["station", "site", "driver"])
async def test_a_station_asks_what_the_plan_says(backend: Start, of: str) -> None:
    own = of == "driver"
    card = TokenEntry(id_token="CA4D0000", type="ISO14443")
    behaviour = Behaviour(
        arrivals_per_hour=60, energy_kwh=(0.8, 0.8), linger_minutes=(0.0, 0.0), offline_per_day=0, faults_per_day=0,
        tokens=1, plug_and_charge=0.0,
    )  # fmt: skip
    async with backend(ocpp={"security_profile": 1, "port": 0}, tokens=(card,)) as csms, listening(csms) as (port,):
        run, service = csms.services.store.run, TariffService(csms.services)
        for plan in (PLAN, OWN):
            await run(tariffs.add_plan, plan, 0)
        if own:
            await run(tariffs.assign, Scope(token_type="ISO14443", id_token="CA4D0000"), OWN.id, 0)
        password = await csms.services[StationAdmissions].set_password(CS)
        fleet = StationFleet(
            url=f"ws://127.0.0.1:{port}/ocpp", prefix="CS-V2G-000", evses=1, password=password, versions=("2.1",),
            speed=_SPEED, behaviour=behaviour,
        )  # fmt: skip
        csms.clock.now_ms = time.time_ns() // 1_000_000
        csms.clock.start(_SPEED)  # the station's clock begins with it, runs as fast, and is judged by it
        simulator = asyncio.create_task(Simulator(fleet).run(None))
        try:
            async with asyncio.timeout(60):
                await until(lambda: CS in csms.services.connections.connected())
                if of == "site":
                    place = Place(station_id=CS, evse_id=1, node="main", most_ma=32_000)
                    site = Site(id="north", nodes=(Node(id="main", limits=(63_000,) * 3),), places=(place,))
                    await run(site_store.save_site, site, 0)
                    await run(tariffs.assign, Scope(site_id="north"), PLAN.id, 0)
                    while not (await service.get(CS)).tariff_assignments:
                        await service.install_assigned(CS)
                else:
                    while await service.set_default(CS, 0, PLAN.id) not in ("Accepted", "DuplicateTariffId"):
                        await asyncio.sleep(0.01)
                wanted = OWN.id if own else PLAN.id
                while not (found := [each for each in await _read(csms) if _plan(each) == wanted]):
                    await asyncio.sleep(0.05)
        finally:
            simulator.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await simulator
    bill = bill_of(found[0])
    assert bill.energy_mwh > 500_000
    energy = 500 * 400 + (bill.energy_mwh / 1000 - 500) * 600
    assert bill.excl_tax == pytest.approx(energy + (0 if own else 1_000_000), abs=2)
    assert bill.incl_tax == pytest.approx(with_taxes(bill.excl_tax, VAT), abs=2)


async def _read(csms: object) -> list[CostDetails]:
    texts = await csms.services.store.read(_final)  # type: ignore[attr-defined]
    return [msgspec.json.decode(each, type=CostDetails) for each in texts]


def _plan(details: CostDetails) -> str | None:
    return details.charging_periods[0].tariff_id if details.charging_periods else None
