"""The station on the bench at a back end of OCPP 1.6: frames of both are checked by the schemas of 1.6."""

import json
from typing import Any

from tests.station.bench import Bench, Payload, at

PNC = "org.openchargealliance.iso15118pnc"


class Bench16(Bench):
    """A bench whose back end numbers transactions, from 101 on."""

    def __init__(self, **settings: Any) -> None:
        self.numbers: dict[str, int] = {}
        """By StartTransaction, as JSON: a repeated one gets its number again."""
        super().__init__("1.6", **settings)

    def _usual(self, action: str, payload: Payload) -> Payload:
        accepted = {"idTagInfo": {"status": "Accepted"}}
        match action:
            case "BootNotification" | "Heartbeat":
                return super()._usual(action, payload)
            case "Authorize" | "StopTransaction":
                return accepted
            case "StartTransaction":
                number = self.numbers.setdefault(json.dumps(payload, sort_keys=True), 101 + len(self.numbers))
                return {"transactionId": number, **accepted}
            case "DataTransfer":
                return {"status": "UnknownVendorId"}
            case "SignCertificate":
                return {"status": "Accepted"}
        return {}

    def statuses(self, connector: int = 1) -> list[str]:
        """Return the states of a connector that were reported."""
        return [each["status"] for each in self.all("StatusNotification") if each["connectorId"] == connector]

    def key(self, name: str) -> Any:
        """Read one configuration key."""
        (found,) = self.ask("GetConfiguration", key=[name])["configurationKey"]
        return found.get("value")

    def change(self, name: str, value: str) -> str:
        """Write one configuration key; return the status."""
        status: str = self.ask("ChangeConfiguration", key=name, value=value)["status"]
        return status

    def ago(self, seconds: float) -> str:
        """Return a time."""
        return at(self.utc_ms - round(seconds * 1000))
