"""Operators of back ends: people, commands, relays over HTTP, our API."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from v2g.errors import TransferError
from v2g.io.http.client import HttpAnswer
from v2g_testkit.ocpp.case import Inconclusive, NotApplicable, NotExercised
from v2g_testkit.ocpp.operator import (
    CommandOperator,
    NoOperator,
    OperatorStep,
    PromptOperator,
    RelayOperator,
    V2gOperator,
    operator_of,
)

PASSWORD = {
    "component": {"name": "SecurityCtrlr"},
    "variable": {"name": "BasicAuthPassword"},
    "attributeValue": "a-new-password-1",
}
RESET = OperatorStep("CS 1", "Reset", {"type": "OnIdle"})


class Server:
    """Answers each request so; `asked` is what came."""

    def __init__(self, status: int, body: bytes = b"") -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self._answer = HttpAnswer(status, body)

    async def __call__(self, method: str, path: str, body: bytes) -> HttpAnswer:
        """Answer a request."""
        self.asked.append((method, path, json.loads(body) if body else None))
        return self._answer


async def test_a_relay_gets_the_step_as_json() -> None:
    server = Server(200)
    await RelayOperator(server).do(RESET)
    assert server.asked == [("POST", "", {"station": "CS 1", "action": "Reset", "payload": {"type": "OnIdle"}})]


async def test_a_relay_says_what_is_not_possible_and_what_failed() -> None:
    with pytest.raises(NotApplicable):
        await RelayOperator(Server(501)).do(RESET)
    with pytest.raises(Inconclusive, match=r"500: no \\u001b\[2J"):
        await RelayOperator(Server(500, b"no \x1b[2J")).do(RESET)

    async def lost(*_: object) -> HttpAnswer:
        raise TransferError("nobody there", "unreachable")

    with pytest.raises(Inconclusive, match="nobody there"):
        await RelayOperator(lost).do(RESET)


@pytest.mark.parametrize(
    ("action", "payload", "path"),
    [
        ("Reset", {"type": "OnIdle", "evseId": 1}, "/stations/CS%201/reset"),
        ("CostUpdated", {"totalCost": 1, "transactionId": "a"}, "/stations/CS%201/commands/CostUpdated"),
        ("RequestStopTransaction", {"transactionId": "a/b"}, "/transactions/a%2Fb/stop"),
        ("GetMonitoringReport", {"requestId": 1}, "/stations/CS%201/monitors/report"),
        ("SetDisplayMessage", {"message": {"id": 0}}, "/stations/CS%201/display-messages"),
        ("SetDisplayMessage", {"message": {"id": 7}}, "/stations/CS%201/display-messages/7"),
        ("GetDisplayMessages", {"requestId": 1, "id": [7]}, "/stations/CS%201/commands/GetDisplayMessages"),
        ("Registration", {"status": "Pending"}, "/admissions/CS%201"),
        ("TransactionLimit", {"transactionId": "a", "transactionLimit": {"maxCost": 5}}, "/transactions/a/limit"),
        ("SetVariables", {"setVariableData": [PASSWORD]}, "/admissions/CS%201/password"),
        ("SetVariables", {"setVariableData": [PASSWORD, PASSWORD]}, "/stations/CS%201/variables"),
        ("Payment", {"pspRef": "p", "evseId": 1, "transactionLimit": {"maxCost": 5}}, "/stations/CS%201/transactions"),
    ],
)
async def test_our_api_gets_the_operation_of_a_step(action: str, payload: dict[str, Any], path: str) -> None:
    server = Server(200)
    await V2gOperator(server).do(OperatorStep("CS 1", action, payload))
    assert [each[1] for each in server.asked] == [path]


PAID = {"pspRef": "p", "transactionLimit": {"maxCost": 20.0}}


@pytest.mark.parametrize(
    ("status", "paths"),
    [(200, ["/stations/CS%201/qr-scans", "/web-payments/7/paid"]), (409, ["/stations/CS%201/qr-scans"])],
)
async def test_our_api_lets_a_driver_pay_at_an_address_that_it_takes(status: int, paths: list[str]) -> None:
    server = Server(status, b'{"payment_id": 7}')
    await V2gOperator(server).do(OperatorStep("CS 1", "WebPayment", PAID | {"url": "https://pay.example/1"}))
    assert [each[1] for each in server.asked] == paths


@pytest.mark.parametrize("action", ["Registration", "TransactionLimit", "Payment", "WebPayment", "Reset"])
def test_each_step_has_a_sentence(action: str) -> None:
    payload = PAID | {"status": "Pending", "transactionId": "a", "evseId": 1, "url": "https://pay.example/1"}
    assert "CS 1" in OperatorStep("CS 1", action, payload).sentence


async def test_a_command_carries_steps_out(tmp_path: Path) -> None:
    script = tmp_path / "do.py"
    script.write_text("import sys; open(sys.argv[1], 'w').write(sys.argv[2]); sys.exit(int(sys.argv[3]))")
    for code, end in ((0, None), (3, NotApplicable), (4, Inconclusive)):
        operator = CommandOperator(f"{sys.executable} {script} {tmp_path / 'out'} {{payload}} {code}")
        if end is None:
            await operator.do(RESET)
        else:
            with pytest.raises(end):
                await operator.do(RESET)
    assert json.loads((tmp_path / "out").read_text()) == {"type": "OnIdle"}


async def test_a_person_is_asked() -> None:
    asked = []

    async def ask(sentence: str) -> str:
        asked.append(sentence)
        return "" if len(asked) == 1 else "no"

    await PromptOperator(ask).do(RESET)
    with pytest.raises(NotApplicable):
        await PromptOperator(ask).do(RESET)
    assert asked[0].startswith('Let the back end send Reset to CS 1: {"type": "OnIdle"}')


async def test_without_an_operator_steps_are_not_exercised() -> None:
    with pytest.raises(NotExercised):
        await NoOperator().do(RESET)


def test_an_option_names_a_relay_or_a_command() -> None:
    assert isinstance(operator_of("https://127.0.0.1:9200/step"), RelayOperator)
    assert isinstance(operator_of("relay.sh {station} {action} {payload}"), CommandOperator)
