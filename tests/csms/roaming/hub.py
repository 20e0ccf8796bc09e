"""A hub between two operators: it routes by the party that a request is for, and to all where that is the hub."""

import base64
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from tests.csms.roaming.peers import Operator
from tests.web_server import serving

HUB = "NL", "HUB"
_ROLE = {"role": "HUB", "country_code": "NL", "party_id": "HUB", "business_details": {"name": "The Hub"}}
_WAYS = ("OCPI-from-country-code", "OCPI-from-party-id", "OCPI-to-country-code", "OCPI-to-party-id")
_BOTH = ("locations", "tariffs", "sessions", "cdrs", "tokens", "commands", "chargingprofiles")


class Member:
    """An operator behind the hub."""

    def __init__(self, operator: Operator, party: str) -> None:
        self.operator = operator
        self.party = "DE", party
        self.token = ""
        """What the hub uses there; the operator uses its party's name here."""
        self.endpoints: dict[tuple[str, str], str] = {}


class Hub:
    """The hub of 2.2.1, or of 2.3.0, which names its parties at the handshake."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.members: list[Member] = []
        self.routed: list[tuple[str, str, str]] = []
        """Requests as they came: method, module, and to whom."""
        self.url = ""
        self._results: dict[str, str] = {}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Hub"]:
        """Listen at a port of this machine."""
        async with serving(self._answer) as port:
            self.url = f"http://127.0.0.1:{port}"
            yield self

    async def register(self, operator: Operator, party: str) -> None:
        """Register at an operator, and tell it of the others; the others of it."""
        invited = await operator.ask("POST", "/roaming/partners", {"partner_id": "hub"}, 201)
        member = Member(operator, party)
        self.members.append(member)
        member.token = invited["token"]
        offered = {each["version"]: each["url"] for each in (await self._ask(member, "GET", "/versions")).data}
        details = (await self._ask(member, "GET", offered[self.version])).data
        member.endpoints = {(each["identifier"], each["role"]): each["url"] for each in details["endpoints"]}
        await self._tell(member, "POST")
        for each in self.members:
            await self._tell(each, "PUT")

    async def _tell(self, member: Member, method: str) -> None:
        """Name the parties behind the hub: as its roles, or one by one."""
        others = [each.party for each in self.members if each is not member]
        roles = [{**_ROLE, "role": role, "country_code": country, "party_id": party}
                 for country, party in others for role in ("CPO", "EMSP")]  # fmt: skip
        said: dict[str, Any] = {"token": member.party[1], "url": f"{self.url}/versions", "roles": [_ROLE]}
        if self.version == "2.3.0":
            own = {**_ROLE, "role": "CPO", "country_code": "DE", "party_id": member.party[1]}
            said |= {"hub_party_id": "".join(HUB), "roles": [own, *roles] if roles else [_ROLE]}
        if method == "POST" or self.version == "2.3.0":
            answer = await self._ask(member, method, member.endpoints["credentials", "RECEIVER"], said)
            member.token = answer.data["token"]
        if self.version == "2.2.1":
            where = member.endpoints["hubclientinfo", "RECEIVER"]
            for country, party in others:
                info = {"country_code": country, "party_id": party, "role": "CPO", "status": "CONNECTED",
                        "last_updated": "2026-01-01T00:00:00Z"}  # fmt: skip
                assert (await self._ask(member, "PUT", f"{where}{country}/{party}", info)).code == 1000

    async def _ask(self, member: Member, method: str, path: str, body: Any = None, **headers: str) -> Any:
        return await member.operator.ocpi(method, path, member.token, body, **headers)

    async def _answer(self, request: web.Request) -> web.Response:
        name = base64.b64decode(request.headers["Authorization"].partition(" ")[2]).decode()
        sender = next(each for each in self.members if each.party[1] == name)
        module, _, rest = request.match_info["path"].partition("/")
        if module == "versions":
            return _said([{"version": self.version, "url": f"{self.url}/details"}])
        if module == "details":
            names = [(each, role) for each in _BOTH for role in ("SENDER", "RECEIVER")] + [("credentials", "RECEIVER")]
            offered = [{"identifier": each, "role": role, "url": f"{self.url}/{each}/{role}"} for each, role in names]
            return _said({"version": self.version, "endpoints": offered})
        whose = tuple(request.headers[each] for each in _WAYS)
        assert whose[:2] == sender.party
        self.routed.append((request.method, module, "*".join(whose[2:])))
        body = json.loads(await request.read() or b"null")
        if isinstance(body, dict) and "response_url" in body:
            number = str(len(self._results))
            self._results[number] = body["response_url"]
            body["response_url"] = f"{self.url}/results/{number}"
        role, _, path = rest.partition("/")
        others = [each for each in self.members if each is not sender]
        found = []
        for each in others if whose[2:] == HUB else [each for each in others if each.party == whose[2:]]:
            base = self._results[rest] if module == "results" else each.endpoints.get((module, role))
            if base is None:
                continue
            url = base + path + (f"?{request.query_string}" if request.query_string else "")
            headers = {name.replace("-", "_"): request.headers[name] for name in _WAYS[:2]}
            headers |= {"OCPI_to_country_code": each.party[0], "OCPI_to_party_id": each.party[1]}
            found.append(await self._ask(each, request.method, url, body, **headers))
        if not found:
            return _said(None, 1000 if whose[2:] == HUB else 4001)
        best = min(found, key=lambda each: each.status)
        return web.json_response(best.body, status=best.status)


def _said(data: Any, code: int = 1000) -> web.Response:
    return web.json_response({"data": data, "status_code": code, "timestamp": "2026-01-01T00:00:00Z"})
