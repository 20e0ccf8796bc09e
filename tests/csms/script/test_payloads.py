"""Answers that nobody wrote down are valid by the official schemas, for every action of both versions."""

import pytest

from csms.ocpp.server import HANDLES
from csms.script.payloads import fill, response_payload
from tests.ocpp.official import VERSIONS, validator
from v2g.ocpp.routes import UNCONFIRMED, Version, known


@pytest.mark.parametrize("version", VERSIONS)
def test_every_answer_is_valid_by_the_schema(version: Version) -> None:
    for action in known(version) - UNCONFIRMED:
        payload = response_payload(action, {}, good=True, utc_ms=1_700_000_000_000)
        validator(f"{action}Response", version).validate(payload)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_refusal_of_what_stations_send_is_valid_by_the_schema(version: Version) -> None:
    refused = 0
    for action in (HANDLES & known(version)) - UNCONFIRMED:
        payload = response_payload(action, {}, good=False, utc_ms=0)
        if payload is not None:
            validator(f"{action}Response", version).validate(payload)
            refused += 1
    assert refused >= 8


def test_what_a_back_end_says_when_it_accepts_and_when_it_refuses() -> None:
    boot = response_payload("BootNotification", {}, good=True, utc_ms=0)
    assert boot == {"currentTime": "1970-01-01T00:00:00Z", "interval": 300, "status": "Accepted"}
    assert response_payload("Authorize", {}, good=False, utc_ms=0) == {"idTokenInfo": {"status": "Invalid"}}
    assert response_payload("TransactionEvent", {}, good=True, utc_ms=0) == {}
    token = {"idToken": {"idToken": "A", "type": "Central"}}
    assert response_payload("TransactionEvent", token, good=True, utc_ms=0) == {"idTokenInfo": {"status": "Accepted"}}
    assert response_payload("TransactionEvent", {}, good=False, utc_ms=0) == {"idTokenInfo": {"status": "Invalid"}}
    assert response_payload("StatusNotification", {}, good=False, utc_ms=0) is None


def test_changes_go_over_a_payload_at_any_depth() -> None:
    payload = {"status": "Accepted", "info": {"a": 1, "b": {"c": 2}}}
    assert fill(payload, {"info": {"b": {"d": 3}}}) == {"status": "Accepted", "info": {"a": 1, "b": {"c": 2, "d": 3}}}
    assert payload["info"] == {"a": 1, "b": {"c": 2}}
    assert response_payload("Heartbeat", {}, good=True, utc_ms=0) != response_payload(
        "Heartbeat", {}, good=True, utc_ms=1
    )
