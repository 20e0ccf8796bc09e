"""Our own back end and the tester for back ends, joined in memory; frames of the back end may be changed on the way."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

from websockets.exceptions import ConnectionClosedOK

from csms.config import TokenEntry
from csms.db.queries import tariffs
from csms.db.queries.tariffs import Scope
from csms.domain.authorization.authorize import Allowance, Group, Terms
from csms.services.charging.smart_charging import SmartCharging
from tests.certification.backend import Backend
from tests.certification.conftest import Start
from tests.certification.scripted import Wire
from tests.csms.api.support import ApiClient, serving
from v2g.energy.price_plan import Charge, PricePlan, Rate
from v2g.io.http.client import HttpAnswer
from v2g.io.runtime.clock import Clock
from v2g.io.websocket.client import OcppSocket
from v2g.ocpp.routes import Version
from v2g_testkit.ocpp.csms_tester import CsmsTester
from v2g_testkit.ocpp.declaration import CsmsDeclaration, Token
from v2g_testkit.ocpp.operator import V2gOperator

DECLARED = CsmsDeclaration(seconds=3)

Change = Callable[[str, list[Any]], list[Any] | None]
"""Takes the action and a frame of the back end, returns the one that reaches the station.

None: a request gets lost, on an answer the connection.
"""


def _entry(token: Token, status: Literal["Accepted", "Blocked"] = "Accepted", **terms: Any) -> TokenEntry:
    return TokenEntry(id_token=token.id, type=token.type, status=status, terms=Terms(**terms))


TOKENS = (
    _entry(DECLARED.token, group_id=DECLARED.group),
    _entry(DECLARED.group_token, group_id=DECLARED.group),
    _entry(DECLARED.master_token, group_id=DECLARED.master_group),
    _entry(DECLARED.blocked_token, "Blocked"),
    _entry(DECLARED.expired_token, expires_ms=1_600_000_000_000),
    _entry(DECLARED.tariff_token),
    _entry(DECLARED.prepaid_token, allowances=(Allowance(period="total", cost="100"),)),
    _entry(DECLARED.no_credit_token, allowances=(Allowance(period="total", cost="0"),)),
)
GROUPS = (Group(group_id=DECLARED.group), Group(group_id=DECLARED.master_group, master_pass=True))
PRICE = PricePlan(id="flat", currency="EUR", energy=Charge(rates=(Rate(price="0.5"),)))


class _StationEnd:
    """The station's end of a websocket in memory."""

    def __init__(self, wire: Wire, change: Change) -> None:
        self._wire, self._change = wire, change
        self._asked: dict[str, str] = {}

    async def send(self, message: str) -> None:
        """Give the back end a frame."""
        match json.loads(message):
            case [2, str() as number, str() as action, _]:
                self._asked[number] = action
        self._wire.push(message)

    async def recv(self) -> str:
        """Return a frame of the back end."""
        while True:
            text = await self._wire.sent.get()
            if text is None:
                raise ConnectionClosedOK(None, None)
            frame = json.loads(text)
            changed = self._change(frame[2] if frame[0] == 2 else self._asked.get(frame[1], ""), frame)
            if changed is not None:
                return json.dumps(changed)
            if frame[0] != 2:
                raise ConnectionClosedOK(None, None)  # which nobody has to wait for
            self._wire.push(json.dumps([3, frame[1], {"status": "Accepted"}]))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """End the connection."""
        self._wire.push(None)


class ApiOperator(V2gOperator):
    """Our HTTP API in the same process."""

    def __init__(self, client: ApiClient) -> None:
        async def exchange(method: str, path: str, body: bytes) -> HttpAnswer:
            answer = await client(method, path, body)
            return HttpAnswer(answer.status, answer.body, answer.headers)

        super().__init__(exchange)


@contextlib.asynccontextmanager
async def csms_under_test(
    backend: Start, version: Version = "2.0.1", change: Change = lambda _, frame: frame
) -> AsyncIterator[CsmsTester]:
    """Start a back end that knows the declared tokens and a price; `change` changes its frames."""
    sessions: list[asyncio.Task[None]] = []
    identity = DECLARED.station.identity
    async with backend(signs=True, tokens=TOKENS, token_groups=GROUPS) as csms, serving(csms) as client:
        await csms.services.store.run(tariffs.add_plan, PRICE, 0)
        own = Scope(token_type=DECLARED.tariff_token.type, id_token=DECLARED.tariff_token.id)
        for scope in (Scope(), own):
            await csms.services.store.run(tariffs.assign, scope, PRICE.id, 0)

        async def connect(version: Version) -> OcppSocket:
            wire = Wire()
            sessions.append(asyncio.create_task(csms.server.serve(OcppSocket(wire, identity, version))))
            await _registered(csms, identity, sessions[-1])
            return OcppSocket(_StationEnd(wire, change), identity, version)

        restoring = asyncio.create_task(SmartCharging(csms.services).run())
        yield CsmsTester(DECLARED, ApiOperator(client), connect, Clock(), version=version)
        for each in sessions:
            await asyncio.wait_for(each, 5)
        restoring.cancel()
        await asyncio.gather(restoring, return_exceptions=True)


async def _registered(csms: Backend, identity: str, session: asyncio.Task[None]) -> None:
    while identity not in csms.services.connections.connected() and not session.done():
        await asyncio.sleep(0)
