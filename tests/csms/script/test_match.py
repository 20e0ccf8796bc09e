"""Conditions on payloads."""

from typing import Any

from csms.script.payloads import check_conditions, matches, unmet
from tests.together import together

EVENT = {
    "eventType": "Started",
    "seqNo": 3,
    "offline": False,
    "transactionInfo": {"transactionId": "tx-17"},
    "meterValue": [{"sampledValue": [{"value": 1.5}, {"value": 20}]}],
}


@together(
    "condition",
    [
        {},
        {"eventType": "Started", "seqNo": 3},
        {"seqNo": 3.0},
        {"seqNo": {"min": 3, "max": 3}},
        {"transactionInfo.transactionId": {"like": "tx-*"}},
        {"eventType": {"one_of": ["Started", "Ended"]}},
        {"eventType": {"not": "Ended"}},
        {"eventType": {"is": "Started"}},
        {"idToken": {"present": False}},
        {"transactionInfo": {"present": True}},
        {"transactionInfo": {"is": {"transactionId": "tx-17"}}},
        {"meterValue.0.sampledValue.*.value": {"min": 10}},
        {"meterValue.0.sampledValue.0.value": 1.5},
        {"offline": False},
    ],
)
def test_what_fits(condition: dict[str, Any]) -> None:
    assert matches(condition, EVENT)
    assert list(check_conditions(condition)) == []


@together(
    "condition",
    [
        {"eventType": "Ended"},
        {"seqNo": "3"},
        {"seqNo": True},
        {"offline": 0},
        {"seqNo": {"min": 4}},
        {"seqNo": {"min": 1, "max": 2}},
        {"eventType": {"min": 1}},
        {"seqNo": {"like": "3"}},
        {"transactionInfo": {"present": False}},
        {"idToken.idToken": "A"},
        {"idToken": {"not": "A"}},
        {"meterValue.1.sampledValue": {"present": True}},
        {"meterValue.*.sampledValue.*.value": {"min": 2, "max": 10}},
        {"eventType.deeper": "x"},
    ],
)
def test_what_does_not_fit(condition: dict[str, Any]) -> None:
    assert not matches(condition, EVENT)


def test_what_is_unmet_is_said_in_words() -> None:
    (said,) = unmet({"status": "Accepted"}, {"status": "Rejected"})
    assert said == "status is 'Rejected', not 'Accepted'"
    (said,) = unmet({"a.b": {"min": 3}}, {})
    assert said == "a.b is absent, not min 3"
