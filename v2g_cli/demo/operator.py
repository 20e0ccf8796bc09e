"""Operators' actions at the back end in a demo, by its HTTP API."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from csms.fleets.rules import Fleet
from v2g.errors import TransportError, V2GError
from v2g.ocpp.times import format_time
from v2g.typed_json import Fields
from v2g_cli.csms.client import Access, CsmsClient

REST_S: Final = 1_800
"""Validity of the charging profile of `rest`, simulated seconds."""


@dataclass(frozen=True)
class Operator:
    """A client with a token. `ca` is the root of the back end's certificate."""

    port: int
    ca: Path
    token: str

    def put_signal(self, signal: bytes) -> None:
        """Publish a grid signal."""
        self._ask("PUT", "/grid/signal", json.loads(signal))

    def command(self, station: str, action: str, **payload: object) -> None:
        """Send a request of OCPP to a station. Raises TransportError unless it is accepted."""
        status = self._ask("POST", f"/stations/{station}/commands/{action}", payload).get("status")
        if status != "Accepted":
            raise TransportError(f"{action}: {status}")

    def allow(self, station: str, transaction: str, *modes: str) -> None:
        """Set the energy transfer modes allowed for a transaction (Q02)."""
        self.command(station, "NotifyAllowedEnergyTransfer", transactionId=transaction, allowedEnergyTransfer=modes)

    def start(self, station: str, token: str) -> None:
        """Start a transaction at a station's first EVSE (F01, F02)."""
        body = {"id_token": {"idToken": token, "type": "Central"}, "evse_id": 1}
        status = self._ask("POST", f"/stations/{station}/transactions", body)["response"].get("status")
        if status != "Accepted":
            raise TransportError(f"the start of a transaction: {status}")

    def rest(self, station: str, transaction: str, utc_ms: int, then_w: int) -> None:
        """Block a transaction's energy for a while (K01)."""
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

    def put_fleet(self, fleet: Fleet) -> None:
        """Have vehicles planned together."""
        self._ask("PUT", f"/fleets/{fleet.id}", msgspec.to_builtins(fleet))

    def of_fleet(self, fleet_id: str, what: str) -> Any:
        """Return a fleet's `plan`, `forecast`, `capability` or `bids`, from now on."""
        return self._ask("GET", f"/fleets/{fleet_id}/{what}")

    def bid(self, fleet_id: str, start_ms: int, end_ms: int, power_w: int, price: str) -> Fields:
        """Bid so much less power than planned, at a price per kWh; return the bid. Raises TransportError if refused."""
        times = {"start_ms": start_ms, "end_ms": end_ms}
        body = times | {"direction": "up", "power_w": power_w, "price_per_kwh": price}
        found: dict[str, object] = self._ask("POST", f"/fleets/{fleet_id}/bids", body)
        return found

    def call_bid(self, fleet_id: str, bid_id: str, power_w: int) -> list[Fields]:
        """Call a bid; return the vehicles' set-points."""
        found: list[dict[str, object]] = self._ask(
            "POST", f"/fleets/{fleet_id}/bids/{bid_id}/call", {"power_w": power_w}
        )
        return found

    def put_plan(self, plan: Mapping[str, object]) -> None:
        """Store a price plan, and let it apply everywhere."""
        self._ask("POST", "/tariffs", plan)
        self._ask("PUT", "/tariff-assignments", {"plan_id": plan["id"]})

    def admit(self, passwords: Mapping[str, str]) -> None:
        """Admit stations with these passwords."""
        rows = [{"station_id": name, "password": password} for name, password in passwords.items()]
        self._ask("POST", "/admissions/passwords", {"passwords": rows, "admit": True})

    def add_partner(self, partner: Mapping[str, object]) -> Fields:
        """Add a roaming partner; return its invitation."""
        found: dict[str, object] = self._ask("POST", "/roaming/partners", partner)
        return found

    def register(self, partner_id: str) -> None:
        """Register at a roaming partner."""
        self._ask("POST", f"/roaming/partners/{partner_id}/register")

    def put_location(self, location: Mapping[str, object]) -> None:
        """Offer roaming partners a location."""
        self._ask("PUT", f"/roaming/locations/{location['id']}", location)

    def cdrs(self) -> list[Fields]:
        """Return the CDRs of roaming partners."""
        found: list[dict[str, object]] = self._ask("GET", "/roaming/cdrs")
        return found

    def reject(self, station: str) -> None:
        """Let a station in no more."""
        self._ask("PUT", f"/admissions/{station}", {"decision": "Rejected"})

    def dispatch(self, watts: int) -> None:
        """Split a set-point (W, below 0 out of them) over all vehicles."""
        self._ask("POST", "/dispatch/setpoint", {"setpoint_w": watts})

    def read_meters(self, station: str, seconds: int) -> None:
        """Have a station report its meters every so many seconds of a transaction. Raises TransportError."""
        variable = {
            "component": {"name": "SampledDataCtrlr"},
            "variable": {"name": "TxUpdatedInterval"},
            "attributeValue": str(seconds),
        }
        self._ask("POST", f"/stations/{station}/commands/SetVariables", {"setVariableData": [variable]})

    def put_site(self, site: Mapping[str, object]) -> None:
        """Store a site."""
        self._ask("PUT", f"/sites/{site['id']}", site)

    def begin_campaign(self, campaign: Mapping[str, object]) -> None:
        """Begin to update stations."""
        self._ask("POST", "/campaigns", campaign)

    def telemetry_stored(self) -> int:
        """Return how many telemetry records the back end has stored. Raises TransportError."""
        return sum(vehicle["stored"] for vehicle in self._ask("GET", "/telemetry"))

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        client = CsmsClient(Access(url=f"https://127.0.0.1:{self.port}", token=self.token, ca=self.ca))
        try:
            return client.ask(method, path, body).body
        except V2GError as error:
            raise TransportError(f"{method} {path} rejected: {error}") from None
        finally:
            client.close()
