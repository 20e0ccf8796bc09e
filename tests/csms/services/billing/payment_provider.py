"""A payment provider with mandates, written from docs/reference/payment-mandates.md alone: a ledger that counts twice
what it is asked twice without a key."""

import json
from typing import Any

from aiohttp import web

TOKEN = "a-token-of-the-provider"


class FakeProvider:
    """Mandates await `approve`. The next `lost` requests are carried out, but their answers never arrive; the next
    `down` ones are not carried out."""

    def __init__(self) -> None:
        self.mandates: dict[str, dict[str, Any]] = {}
        self.debits: dict[str, dict[str, Any]] = {}
        self.reversals: list[str] = []
        self.answers: dict[str, tuple[str, int, dict[str, Any]]] = {}
        self.requests: list[tuple[str, str]] = []
        self.lost = self.down = 0
        self.slow = False
        """Debits and notices are pending when they are asked for first."""
        self.refused = ""
        """The last part of the path of requests that are refused."""
        self.funds = True
        self.notices: dict[str, tuple[str, int, int]] = {}
        """Notice -> amount, when it was given, and how long it has to be before the debit (s)."""
        self.now_ms = 0
        """Its clock, where payers must have notice; else 0."""
        self.reachable = True
        """Whether payers can be told."""

    @property
    def balance(self) -> dict[str, str]:
        """Debit -> amount, of those that were not reversed."""
        return {name: each["amount"] for name, each in self.debits.items() if name not in self.reversals}

    def approve(self, state: str = "active") -> None:
        """Let the payer decide about every mandate."""
        for each in self.mandates.values():
            each["state"] = state

    def application(self) -> web.Application:
        """Return what serves it."""
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._serve)
        return application

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = (await request.read()).decode()
        self.requests.append((request.method, request.path))
        if self.down:
            self.down -= 1
            return web.Response(status=503)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.Response(status=401)
        if request.path.rpartition("/")[2] == self.refused:
            return web.Response(status=422)
        status, answer = self._once(request, body)
        if self.lost and request.method == "POST":
            self.lost -= 1
            assert request.transport is not None
            request.transport.close()
        return web.json_response(answer, status=status)

    def _once(self, request: web.Request, body: str) -> tuple[int, dict[str, Any]]:
        if request.method == "GET":
            return 200, self.mandates[request.path.rpartition("/")[2]]
        key, asked = request.headers["Idempotency-Key"], f"{request.path} {body}"
        if key not in self.answers:
            self.answers[key] = (asked, *self._carry_out(request.path.strip("/").split("/"), json.loads(body)))
        before, status, answer = self.answers[key]
        if before != asked:
            return 422, {"reason": "this key was used for another request"}
        if answer.get("state") == "pending" and request.path != "/mandates":
            self.answers[key] = (asked, status, {**answer, "state": "done"})
        return status, answer

    def _has_notice(self, body: dict[str, Any]) -> bool:
        amount, given_ms, notice_s = self.notices.get(body.get("notice", ""), ("", 0, 0))
        return amount == body["amount"] and self.now_ms >= given_ms + 1000 * notice_s

    def _carry_out(self, path: list[str], body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        match path:
            case ["mandates", name, "notices" | "debits"] if body["currency"] != self.mandates[name]["currency"]:
                return 422, {"reason": "another currency"}
            case ["mandates"]:
                name = f"M{len(self.mandates) + 1}"
                approval = f"https://pay.example/{name}"
                self.mandates[name] = {**body, "reference": name, "state": "pending", "approval_url": approval}
                return 201, self.mandates[name]
            case ["mandates", name, "notices"]:
                if not self.reachable:
                    return 200, {"reference": "none", "state": "failed", "reason": "the payer has moved"}
                reference = f"N{len(self.notices) + 1}"
                self.notices[reference] = body["amount"], self.now_ms, body["notice_s"]
                return 201, {"reference": reference, "state": "pending" if self.slow else "done"}
            case ["mandates", name, "debits"] if self.now_ms and not self._has_notice(body):
                return 422, {"reason": "no notice, of another amount, or too short"}
            case ["mandates", name, "debits"]:
                if self.mandates[name]["state"] != "active":
                    return 422, {"reason": "the mandate is not active"}
                if not self.funds:
                    return 200, {"reference": "none", "state": "failed", "reason": "insufficient funds"}
                reference = f"D{len(self.debits) + 1}"
                self.debits[reference] = body
                return 201, {"reference": reference, "state": "pending" if self.slow else "done"}
            case ["debits", name, "reversals"]:
                assert name in self.debits
                self.reversals.append(name)
                return 201, {"reference": f"R{len(self.reversals)}", "state": "done"}
        return 404, {}
