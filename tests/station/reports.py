"""Reports of a station's device model."""

from typing import Any

from tests.station.bench import Bench

PROFILE: dict[str, Any] = {
    "ocppVersion": "OCPP20",
    "ocppTransport": "JSON",
    "ocppCsmsUrl": "ws://other.example/ocpp",
    "messageTimeout": 30,
    "securityProfile": 1,
    "ocppInterface": "Wired0",
}


def reports(found: Bench, request_id: int = 1) -> list[dict[str, Any]]:
    """All that was reported, in parts numbered from 0, the last of which says so."""
    parts = [part for part in found.all("NotifyReport") if part["requestId"] == request_id]
    assert [part["seqNo"] for part in parts] == list(range(len(parts)))
    assert [part.get("tbc", False) for part in parts] == [True] * (len(parts) - 1) + [False]
    return [item for part in parts for item in part["reportData"]]
