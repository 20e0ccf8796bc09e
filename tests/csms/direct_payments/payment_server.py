"""A payment provider that holds and takes money, written from docs/reference/payment-mandates.md alone: a ledger that
counts twice what it is asked twice without a key."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from aiohttp import web

TOKEN = "a-token-of-the-provider"


class FakePayments:
    """Holds await `approve`. The next `lost` requests are carried out, but their answers never arrive; the next `down`
    ones are not carried out; acts of the name `refused` never are. `on_act` is called with each act once it is
    "asked" and "done"; nothing is answered where it returns True."""

    def __init__(self) -> None:
        self.holds: dict[str, dict[str, Any]] = {}
        self.answers: dict[str, tuple[str, dict[str, Any]]] = {}
        self.lost = self.down = 0
        self.refused = ""
        self.requests: list[str] = []
        self.on_act: Callable[[str], bool] = lambda _: False

    @property
    def held(self) -> Decimal:
        """What is held of all drivers and neither taken nor released."""
        holds = self.holds.values()
        return sum((each["amount"] - each["taken"] for each in holds if each["state"] == "active"), Decimal(0))

    @property
    def taken(self) -> Decimal:
        """What was taken of all drivers."""
        return sum((each["taken"] for each in self.holds.values()), Decimal(0))

    def approve(self, state: str = "active", reason: str = "") -> None:
        """Let the driver decide about every hold."""
        for each in self.holds.values():
            each |= {"state": state, "reason": reason}

    def application(self) -> web.Application:
        """Return what serves it."""
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._serve)
        return application

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = (await request.read()).decode()
        self.requests.append(f"{request.method} {request.path}")
        if self.down:
            self.down -= 1
            return web.Response(status=503)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.Response(status=401)
        parts = request.path.strip("/").split("/")
        if parts[-1] == self.refused:
            return web.json_response({"reason": "the hold is over"}, status=422)
        act = f"{request.method} {parts[-1] if request.method == 'POST' else parts[0]}"
        if self.on_act(f"{act}, asked"):
            return self._gone(request)
        if request.method == "GET":
            answer = self._told(parts[1])
        else:
            key = request.headers["Idempotency-Key"]
            asked, answer = self.answers.get(key, ("", {}))
            if not asked:
                answer = self._carry_out(parts, json.loads(body))
                self.answers[key] = (f"{request.path} {body}", answer)
            elif asked != f"{request.path} {body}":
                return web.json_response({"reason": "this key was used for another request"}, status=422)
            elif len(parts) == 1:
                answer = self._told(answer["reference"])
        if self.lost and request.method == "POST":
            self.lost -= 1
            return self._gone(request)
        return self._gone(request) if self.on_act(f"{act}, done") else web.json_response(answer)

    @staticmethod
    def _gone(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    def _told(self, name: str) -> dict[str, Any]:
        state = "ended" if self.holds[name]["state"] == "over" else self.holds[name]["state"]
        url, reason = f"https://pay.example/{name}", self.holds[name].get("reason", "")
        return {"reference": name, "state": state, "approval_url": url, "reason": reason}

    def _carry_out(self, parts: list[str], body: dict[str, str]) -> dict[str, Any]:
        if len(parts) == 1:
            name = f"A{len(self.holds) + 1}"
            self.holds[name] = {
                "amount": Decimal(body["amount"]),
                "taken": Decimal(0),
                "state": "pending",
                "return_url": body.get("return_url", ""),
            }
            return self._told(name)
        hold = self.holds[parts[1]]
        if parts[2] == "captures":
            hold["taken"] += Decimal(body["amount"])
            assert hold["taken"] <= hold["amount"], "more than is held"
        else:
            hold["state"] = "over"
        return {"reference": f"{parts[1]}/{parts[2]}", "state": "done"}
