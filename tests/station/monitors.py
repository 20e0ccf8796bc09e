"""Monitors of variables."""

from typing import Any

from tests.station.bench import Bench


def monitors(found: Bench, *wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """Set monitors; return the results."""
    filled = [{"type": "UpperThreshold", "value": 100, "severity": 5} | each for each in wanted]
    results: list[dict[str, Any]] = found.ask("SetVariableMonitoring", setMonitoringData=filled)["setMonitoringResult"]
    return results


def report(found: Bench, number: int = 1, **wanted: Any) -> list[dict[str, Any]] | str:
    """What a report has, or why there is none."""
    answer = found.ask("GetMonitoringReport", requestId=number, **wanted)
    if answer["status"] != "Accepted":
        word: str = answer["status"]
        return word
    parts = [part for part in found.all("NotifyMonitoringReport") if part["requestId"] == number]
    return [each for part in parts for data in part["monitor"] for each in data["variableMonitoring"]]
