"""What several tests of killed use."""

import json


def event_frame(transaction_id: str, seq_no: int, kind: str) -> str:
    """A TransactionEvent with two values, the register rising by one with each."""
    values = [
        {"value": seq_no, "measurand": "Energy.Active.Import.Register"},
        {"value": 7000, "measurand": "Power.Active.Import", "unitOfMeasure": {"unit": "W"}},
    ]
    at = "2026-01-01T00:00:00Z"
    payload = {
        "eventType": kind,
        "timestamp": at,
        "triggerReason": "MeterValuePeriodic",
        "seqNo": seq_no,
        "transactionInfo": {"transactionId": transaction_id},
        "evse": {"id": 1},
        "meterValue": [{"timestamp": at, "sampledValue": values}],
    }
    return json.dumps([2, f"{transaction_id}-{seq_no}", "TransactionEvent", payload])
