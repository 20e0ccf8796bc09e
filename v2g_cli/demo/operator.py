"""What people do at the back end in a demo, by its HTTP API."""

import json
import ssl
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from v2g.errors import TransportError
from v2g.ocpp.times import format_time

TIMEOUT_S: Final = 10.0
REST_S: Final = 1_800
"""How long the charging profile of `rest` allows nothing, simulated seconds."""


@dataclass(frozen=True)
class Operator:
    """Somebody with a token. `ca` is the root of the back end's certificate."""

    port: int
    ca: Path
    token: str

    def put_signal(self, signal: bytes) -> None:
        """Publish a grid signal."""
        self._send("PUT", "/grid/signal", signal)

    def command(self, station: str, action: str, **payload: Any) -> None:
        """Send a request of OCPP to a station. Raises TransportError unless it is accepted."""
        answer = self._send("POST", f"/stations/{station}/commands/{action}", json.dumps(payload).encode())
        status = json.loads(answer).get("status")
        if status != "Accepted":
            raise TransportError(f"{action}: {status}")

    def allow(self, station: str, transaction: str, *modes: str) -> None:
        """Say which transfer of energy a transaction may use from now on (Q02)."""
        self.command(station, "NotifyAllowedEnergyTransfer", transactionId=transaction, allowedEnergyTransfer=modes)

    def rest(self, station: str, transaction: str, utc_ms: int, then_w: int) -> None:
        """Let a transaction have no energy for a while (K01)."""
        periods = [{"startPeriod": 0, "limit": 0}, {"startPeriod": REST_S, "limit": then_w}]
        schedule = {
            "id": 1,
            "startSchedule": format_time(utc_ms),
            "chargingRateUnit": "W",
            "chargingSchedulePeriod": periods,
        }
        profile = {
            "id": 4711,
            "stackLevel": 9,
            "chargingProfilePurpose": "TxProfile",
            "chargingProfileKind": "Absolute",
            "transactionId": transaction,
            "chargingSchedule": [schedule],
        }
        self.command(station, "SetChargingProfile", evseId=1, chargingProfile=profile)

    def telemetry_stored(self) -> int:
        """Return how many telemetry records the back end has stored. Raises TransportError."""
        return sum(vehicle["stored"] for vehicle in json.loads(self._send("GET", "/telemetry")))

    def _send(self, method: str, path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(
            f"https://127.0.0.1:{self.port}{path}",
            data=body,
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
            method=method,
        )
        context = ssl.create_default_context(cafile=str(self.ca))
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=context) as answer:  # noqa: S310  https
                found: bytes = answer.read()
        except OSError as error:
            raise TransportError(f"{method} {path} not taken: {error}") from None
        return found
