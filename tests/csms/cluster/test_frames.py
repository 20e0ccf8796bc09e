"""What is shown of frames: no password or key, everything else word for word."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from csms.cluster.frames import HIDDEN, presentable, without_tokens
from tests.together import together

SECRET = "correct-horse-battery"
PASSWORD = {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "BasicAuthPassword"}}


@together(
    "payload",
    [
        {"setVariableData": [{**PASSWORD, "attributeValue": SECRET}]},
        {"getVariableResult": [{**PASSWORD, "attributeStatus": "Accepted", "attributeValue": SECRET}]},
        {"reportData": [{**PASSWORD, "variableAttribute": [{"type": "Actual", "value": SECRET}]}]},
        {"connectionData": {"basicAuthPassword": SECRET, "ocppCsmsUrl": "wss://x"}},
        {"connectionData": {"apn": {"apn": "internet", "apnPassword": SECRET}}},
        {"connectionData": {"vpn": {"server": "x", "password": SECRET, "key": SECRET, "type": "IKEv2"}}},
        {"key": "AuthorizationKey", "value": SECRET},
        {"configurationKey": [{"key": "AuthorizationKey", "readonly": False, "value": SECRET}]},
    ],
)
def test_secrets_are_hidden(payload: dict[str, Any]) -> None:
    shown = presentable(json.dumps([2, "1", "X", payload]))
    assert SECRET not in shown
    assert json.loads(shown)[:3] == [2, "1", "X"]
    assert list(json.loads(shown)[3]) == list(payload)


@given(st.text(max_size=200))
def test_whatever_came_is_shown_or_counted(text: str) -> None:
    assert presentable(text) in (text, f"({len(text)} characters, not JSON)") or HIDDEN in presentable(text)


def test_a_frame_without_secrets_is_shown_word_for_word() -> None:
    frame = '[2, "1",  "Heartbeat", {} ]'
    assert presentable(frame) == frame


def test_broken_json_that_may_hold_a_secret_is_not_shown() -> None:
    assert presentable('[2,"1","SetVariables",{"basicAuthPassword":"x"') == "(46 characters, not JSON)"


def test_tokens_are_hidden_wherever_they_stand() -> None:
    token = {"idToken": "04A1B2C3", "type": "Central", "additionalInfo": [{"additionalIdToken": "04A1", "type": "x"}]}
    frame = json.dumps([2, "1", "X", {"idToken": token, "list": [{"groupIdToken": token}]}])
    assert "04A1" not in without_tokens(frame)
    assert json.loads(without_tokens(frame))[3]["list"][0]["groupIdToken"]["type"] == "Central"
    assert "04A1" not in without_tokens('[3,"1",{"idTagInfo":{"status":"Accepted","parentIdTag":"04A1"}}]')
    assert "04A1" not in without_tokens('[2,"1","Authorize",{"idTag":"04A1"}]')
    assert without_tokens('[2, "1",  "Heartbeat", {} ]') == '[2, "1",  "Heartbeat", {} ]'
    assert "04A1" not in without_tokens('{"idToken": "04A1')


def test_what_another_vendor_transfers_is_hidden_with_the_tokens() -> None:
    """A card number may stand there under any name."""
    card = {"uid": "04A1B2C3"}
    for frame in (
        [2, "1", "DataTransfer", {"vendorId": "com.acme", "data": card}],
        [3, "1", {"status": "Accepted", "data": [card]}],
    ):
        shown = without_tokens(json.dumps(frame))
        assert "04A1" not in shown
        assert json.loads(shown)[:2] == frame[:2]
    own = json.dumps([2, "1", "DataTransfer", {"vendorId": "org.v2g-engine", "data": {"lines": 3}}])
    assert json.loads(without_tokens(own)) == json.loads(own)
