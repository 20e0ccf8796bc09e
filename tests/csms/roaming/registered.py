"""An operator in memory whose partner is registered, and what both know."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from csms.config import RoamingConfig
from csms.roaming import work
from tests.csms.api.support import Answer, ApiClient, serving
from tests.csms.charging import Charging
from tests.csms.roaming.scripted_partner import ROLE, ScriptedPartner

PLAN = {
    "id": "day", "currency": "EUR",
    "energy": {"rates": [{"price": "0.50"}], "taxes": [{"kind": "VAT", "ppm": 190000}]},
    "fixed": {"rates": [{"price": "1.00"}], "taxes": [{"kind": "VAT", "ppm": 190000}]},
}  # fmt: skip
TOKEN = {
    "country_code": "NL", "party_id": "TNM", "uid": "04A1B2C3", "type": "RFID", "contract_id": "NLTNMC00000001",
    "issuer": "TNM", "valid": True, "whitelist": "NEVER", "last_updated": "2026-01-01T00:00:00",
}  # fmt: skip
UID = "CS-V2G-0001*1"


class Roaming:
    """A back end whose partner is registered."""

    def __init__(self, ask: ApiClient, partner: ScriptedPartner) -> None:
        self.ask = ask
        self.partner = partner
        self.backend = ask.backend
        self.token = ""

    async def ocpi(self, method: str, path: str, body: Any = None) -> Answer:
        """Ask as the partner."""
        token = base64.b64encode(self.token.encode()).decode()
        return await self.ask(method, f"/ocpi{path}", body, role=None, authorization=f"Token {token}")

    async def register(self, version: str = "2.2.1", party: str = "TNM", **settings: Any) -> None:
        """Let the partner register; it receives whatever it is sent."""
        self.partner.offers(version, ("credentials", "locations", "tariffs", "sessions", "cdrs", "commands"))
        tokens = {"identifier": "tokens", "role": "SENDER", "url": f"{self.partner.url}/tokens"}
        self.partner.answers["/d"][1]["endpoints"].append(tokens)
        self.partner.takes = True
        self.token = (await self.ask("POST", "/roaming/partners", {"partner_id": "tnm", **settings})).json["token"]
        said = {"token": "token-b", "url": f"{self.partner.url}/versions", "roles": [{**ROLE, "party_id": party}]}
        answer = await self.ocpi("POST", f"/{version}/credentials", said)
        assert answer.json["status_code"] == 1000, answer.json
        self.token = answer.json["data"]["token"]


@contextlib.asynccontextmanager
async def operating(backend: Any, partner: ScriptedPartner, **changes: Any) -> AsyncIterator[Roaming]:
    """Run a back end with a station and a price; its partner is yet to be registered."""
    config = {"url": "https://cpo.test", "country_code": "DE", "party_id": "CPO", "name": "The Operator",
              "allow": ("127.0.0.1",), **changes}  # fmt: skip
    async with backend(roaming=RoamingConfig(**config)) as csms, serving(csms) as ask:
        assert (await ask("POST", "/tariffs", PLAN)).status == 201
        assert (await ask("PUT", "/tariff-assignments", {"plan_id": "day"})).status < 300
        tasks = [asyncio.create_task(run(csms.services)) for _, run in work.WORKS]
        try:
            yield Roaming(ask, partner)
        finally:
            for task in tasks:
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*tasks, return_exceptions=True)


@pytest_asyncio.fixture
async def roaming(backend: Any) -> AsyncIterator[Roaming]:
    """A back end with a station, a price and a partner."""
    with ScriptedPartner().running() as partner:
        async with operating(backend, partner) as found:
            await found.register()
            yield found


async def charge(roaming: Roaming, token: Any, kwh: int = 10) -> Charging:
    """Charge at the station."""
    station = await roaming.backend.booted()
    charging = Charging(roaming.backend, station)
    assert (await station.call("Authorize", {"idToken": token}))["idTokenInfo"]["status"] == "Accepted"
    await charging.event("Started", "Authorized", state="Charging", token=token, context="Transaction.Begin")
    await roaming.partner.sent("PUT", "/sessions/DE/CPO/")
    charging.wh += kwh * 1000
    for _ in range(60):
        roaming.backend.clock.advance(60)
    await charging.event("Updated", "MeterValuePeriodic", state="Charging", context="Sample.Periodic")
    await charging.event("Ended", "StopAuthorized", stopped="Local", token=token, context="Transaction.End")
    return charging
