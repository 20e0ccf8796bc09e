"""A back end of a grid test: the events that it reported, the limits in force, and what stations measure."""

from typing import Any

from csms.grid.source import GridSource
from tests.csms.backend import Backend
from tests.csms.scripted_station import Payload, ScriptedStation


class GridSite:
    """What the tests of each source of the grid signal look at; each adds its source."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def named(self, name: str) -> list[dict[str, Any]]:
        """Return the data of every event of that name."""
        return [dict(each.data) for each in self.backend.events.named(name)]

    @property
    def limits(self) -> tuple[int, int]:
        """The limits in force: import and export."""
        signal = self.backend.services[GridSource].current
        assert signal is not None
        return signal.site_import_limit_w, signal.export_limit_w


def sampled(location: str, *values: tuple[str, float, str]) -> list[Payload]:
    """Return sampled values at a place, of measurand and phase ("Voltage L1-N"), value and unit."""
    found = []
    for name, value, unit in values:
        measurand, _, phase = name.partition(" ")
        about = {"measurand": measurand, "value": value, "unitOfMeasure": {"unit": unit}, "location": location}
        found.append(about | ({"phase": phase} if phase else {}))
    return found


def _meter_value(values: list[Payload]) -> list[Payload]:
    return [{"timestamp": "2023-04-26T02:14:00Z", "sampledValue": values}]


async def report_meter(station: ScriptedStation, values: list[Payload]) -> None:
    """Let a station report what its main meter reads."""
    await station.call("MeterValues", {"evseId": 0, "meterValue": _meter_value(values)})


async def report_transaction(
    station: ScriptedStation, seq_no: int, values: list[Payload], state: str = "Charging"
) -> None:
    """Let a station report what its first EVSE measures in a transaction."""
    await station.call(
        "TransactionEvent",
        {
            "eventType": "Updated" if seq_no else "Started",
            "triggerReason": "MeterValuePeriodic",
            "timestamp": "2023-04-26T02:14:00Z",
            "seqNo": seq_no,
            "transactionInfo": {"transactionId": "T1", "chargingState": state},
            "evse": {"id": 1, "connectorId": 1},
        }
        | ({"meterValue": _meter_value(values)} if values else {}),
    )
