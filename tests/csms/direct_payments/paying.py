"""A back end where a session can be paid for at the EVSE, its provider, and what a station there reports."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp.test_utils import TestServer

from csms.direct_payments import store as rows
from csms.direct_payments.rules import DirectPayment
from csms.direct_payments.work import DirectPayments, begin
from csms.payments.config import DirectPaymentConfig, Payments
from csms.tariffs import store as tariffs
from csms.tariffs.store import Scope
from tests.csms.backend import Backend
from tests.csms.charging import Charging
from tests.csms.direct_payments.payment_server import TOKEN, FakePayments
from tests.csms.fixtures import Start
from tests.csms.scripted_station import ScriptedStation
from v2g.energy.price_plan import Charge, PricePlan, Rate, Tax

FLAT = PricePlan(
    id="flat", currency="EUR", energy=Charge(rates=(Rate(price="0.5"),), taxes=(Tax(kind="vat", ppm=200_000),))
)
NAME = "CS-V2G-0001"


class World:
    """A back end, its provider, and a station of one EVSE."""

    def __init__(self, csms: Backend, provider: FakePayments, config: DirectPaymentConfig) -> None:
        self.csms, self.provider, self.config = csms, provider, config
        self.work = DirectPayments(csms.services, config)

    async def station(self, version: str = "2.1", status: str = "Accepted") -> ScriptedStation:
        station = await self.csms.booted(NAME, version=version)  # type: ignore[arg-type]
        station.answers["RequestStartTransaction"] = {"status": status}
        station.answers["RequestStopTransaction"] = {"status": "Accepted"}
        station.answers["SetDefaultTariff"] = {"status": "Accepted"}
        return station

    async def begin(self) -> DirectPayment:
        return await begin(self.csms.services, NAME, 1)

    async def now(self, number: int = 1) -> DirectPayment:
        found = await self.csms.services.store.read(rows.payment, number)
        assert found is not None
        return found

    async def steps(self, count: int = 8) -> str:
        """Let the work go on as it does after a restart at any time: with nothing in its memory."""
        for _ in range(count):
            self.work = DirectPayments(self.csms.services, self.config)
            await self.work.step()
        return (await self.now()).state

    def later(self, ms: int) -> None:
        self.csms.clock.now_ms += ms


@contextlib.asynccontextmanager
async def paying(backend: Start, tmp_path: Path, amount: str = "30.00", **changes: Any) -> AsyncIterator[World]:
    """Start a back end, with its provider."""
    provider, secret = FakePayments(), tmp_path / "secret"
    secret.write_text(TOKEN)
    secret.chmod(0o600)
    server = TestServer(provider.application())
    await server.start_server()
    url = str(server.make_url("")).rstrip("/")
    config = DirectPaymentConfig(url=url, secret_file=secret, amount=amount, currency="EUR")
    async with backend(payments=Payments(direct=config), **changes) as csms:
        await csms.services.store.run(tariffs.add_plan, FLAT, 0)
        await csms.services.store.run(tariffs.assign, Scope(), FLAT.id, 0)
        yield World(csms, provider, config)
    await server.close()


async def charged(world: World, station: ScriptedStation, wh: int = 10_000) -> Charging:
    """Plug a vehicle in and charge, as the last remote start asks for."""
    started = station.payloads("RequestStartTransaction")[-1]
    charging = Charging(world.csms, station)
    info = {"transactionId": charging.id, "chargingState": "Charging", "remoteStartId": started["remoteStartId"]}
    extra = {"transactionInfo": info}
    await charging.event("Started", "RemoteStart", context="Transaction.Begin", token=started["idToken"], extra=extra)
    world.later(wh * 360)  # 10 kW
    charging.wh += wh
    return charging
