"""What the cases of block N are about: two components, two variables, and a station that takes monitors."""

from tests.csms.scripted_station import Payload, ScriptedStation
from v2g.ocpp.messages.base import EVSE, Component, Variable

NOW = "2026-01-01T00:00:00Z"
EVSE_1 = Component(name="EVSE", evse=EVSE(id=1))
POWER, STATE = Variable(name="Power"), Variable(name="AvailabilityState")


def install(station: ScriptedStation) -> None:
    """Let a station accept every monitor, and number them."""
    numbers = iter(range(1, 100))

    def take(request: Payload) -> Payload:
        return {
            "setMonitoringResult": [
                {key: each[key] for key in ("type", "severity", "component", "variable")}
                | {"status": "Accepted", "id": next(numbers)}
                for each in request["setMonitoringData"]
            ]
        }

    station.answers["SetVariableMonitoring"] = take
    station.answers["GetVariables"] = lambda request: {
        "getVariableResult": [{**request["getVariableData"][0], "attributeStatus": "Accepted", "attributeValue": "2"}]
    }
