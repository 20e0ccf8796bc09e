"""Back ends of two operators that roam with each other over HTTPS, and a client that we did not write."""

import base64
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from csms.accounts.rules import Role
from csms.app import running
from csms.config import RoamingConfig
from pki_tools.tree import PkiTree
from tests.csms.backend import TestClock
from tests.csms.support import TOKENS, Running, make_config, provide
from v2g_cli.demo.processes import free_port


class Operator:
    """A back end of one operator."""

    def __init__(self, csms: Running, port: int) -> None:
        self.csms = csms
        self.url = f"https://127.0.0.1:{port}"
        self.services = csms.csms.services
        self.clock = csms.hand

    async def ask(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """Send a request of the operator; return the JSON of an answer with this status."""
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKENS[Role.ADMIN]}"}) as session,
            session.request(method, f"{self.url}{path}", json=body, ssl=self.csms.context(None)) as response,
        ):
            assert response.status == status, await response.text()
            return await response.json() if response.status != 204 else None

    async def ocpi(
        self, method: str, path: str, token: str, body: Any = None, *, bare: bool = False, **headers: str
    ) -> "Said":
        """Send a request of OCPI, as a partner with a token would."""
        written = token if bare else base64.b64encode(token.encode()).decode()
        url = path if path.startswith("https:") else f"{self.url}/ocpi{path}"
        sent = {"Authorization": f"Token {written}", "X-Request-ID": "r-1", "X-Correlation-ID": "c-1"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        content = {"data": body} if isinstance(body, bytes) else {"json": body}
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, headers=sent, ssl=self.csms.context(None), **content) as response,
        ):
            return Said(response.status, dict(response.headers), await response.json())


class Said:
    """An answer of OCPI."""

    def __init__(self, status: int, headers: dict[str, str], body: dict[str, Any]) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.code: int = body["status_code"]
        self.data: Any = body.get("data")


@contextlib.asynccontextmanager
async def operator(
    folder: Path, pki: PkiTree, empty_database: Path, party: str, port: int = 0, hand_ms: int = 0, **changes: Any
) -> AsyncIterator[Operator]:
    """Run the back end of the party `DE*party`; `hand_ms`: its clock shows this time until the test sets another."""
    port = port or free_port()
    clock = TestClock(hand_ms) if hand_ms else None
    roaming: dict[str, Any] = {
        "url": f"https://127.0.0.1:{port}", "country_code": "DE", "party_id": party, "name": f"Operator {party}",
        "allow": ("127.0.0.1",), "roots": (pki.path("csms/root.pem"),), **changes.pop("roaming", {}),
    }  # fmt: skip
    config = make_config(folder / party, pki, api={"port": port}, roaming=RoamingConfig(**roaming), **changes)
    provide(empty_database, config)
    events = folder / f"{party}.jsonl"
    async with running(config, events, clock) as csms:
        yield Operator(Running(csms, config, events, pki, clock), port)


async def acquainted(cpo: Operator, emsp: Operator, **settings: Any) -> None:
    """Let two operators register: the second with the first."""
    invited = await cpo.ask("POST", "/roaming/partners", {"partner_id": "emsp", **settings}, 201)
    body = {"partner_id": "cpo", "versions_url": invited["versions_url"], "token": invited["token"], **settings}
    await emsp.ask("POST", "/roaming/partners", body, 201)
    await emsp.ask("POST", "/roaming/partners/cpo/register")
