"""A vehicle that charges at a scripted station: the reusable states of the test cases, event by event."""

import itertools
from typing import Any

from csms.tokens.rules import TokenEntry
from tests.csms.backend import Backend
from tests.csms.scripted_station import Payload, ScriptedStation
from tests.waiting import until
from v2g.ocpp.times import format_time

VALID = {"idToken": "0A1B2C3D", "type": "ISO14443"}
TOKENS = (TokenEntry(id_token=VALID["idToken"], type=VALID["type"], energy_transfer=()),)

_numbers = itertools.count(1)


async def away(csms: Backend, station: ScriptedStation) -> None:
    """Let a station lose its connection."""
    await station.disconnect()
    await until(lambda: station.id not in csms.services.connections.connected())


class Charging:
    """One transaction, as its station reports it. Every step lets a minute pass; `wh` is the meter."""

    def __init__(self, csms: Backend, station: ScriptedStation, *, evse_id: int = 1, wh: int = 1000) -> None:
        self.id = f"tx-{next(_numbers)}"
        self.wh = wh
        self.seq_no = -1
        self.station = station
        self.csms = csms
        self._evse_id = evse_id

    async def event(self, kind: str, trigger: str, *, seq_no: int | None = None, **more: Any) -> Payload:
        """Send an event; `state`, `stopped`, `token`, `context`, `signed`, `offline` say more. Return the answer."""
        self.csms.clock.advance(60)
        self.seq_no += seq_no is None
        info: Payload = {"transactionId": self.id}
        for name, key in (("state", "chargingState"), ("stopped", "stoppedReason"), ("tariff", "tariffId")):
            if name in more:
                info[key] = more[name]
        request: Payload = {
            "eventType": kind,
            "triggerReason": trigger,
            "timestamp": self.now(),
            "seqNo": self.seq_no if seq_no is None else seq_no,
            "transactionInfo": info,
            **more.get("extra", {}),
        }
        if more.get("placed", True):
            request["evse"] = {"id": self._evse_id, "connectorId": 1}
        if "token" in more:
            request["idToken"] = more["token"]
        if "context" in more:
            request["meterValue"] = [self.reading(more["context"], more.get("signed"))]
        if more.get("offline"):
            request["offline"] = True
        return await self.station.call("TransactionEvent", request)

    def now(self) -> str:
        """Return the time as stations write it."""
        return format_time(self.csms.clock.utc_ms())

    def reading(self, context: str, signed: Payload | None = None) -> Payload:
        """Return a meter value with the import register."""
        sample: Payload = {"value": self.wh, "context": context, "measurand": "Energy.Active.Import.Register"}
        if signed is not None:
            sample["signedMeterValue"] = signed
        return {"timestamp": self.now(), "sampledValue": [sample]}

    # -- reusable states

    async def authorize(self, token: Payload = VALID) -> None:
        """Present a token that is accepted."""
        answer = await self.station.call("Authorize", {"idToken": token})
        assert answer["idTokenInfo"]["status"] == "Accepted"

    async def connector(self, status: str) -> None:
        """Report the connector's status."""
        about = {"evseId": self._evse_id, "connectorId": 1, "connectorStatus": status, "timestamp": self.now()}
        assert await self.station.call("StatusNotification", about) == {}

    async def plugged(self) -> None:
        """EVConnectedPreSession."""
        await self.connector("Occupied")
        kind = "Started" if self.seq_no < 0 else "Updated"
        await self.event(kind, "CablePluggedIn", state="EVConnected", context="Transaction.Begin")

    async def authorized(self) -> None:
        """Authorized."""
        await self.authorize()
        kind = "Started" if self.seq_no < 0 else "Updated"
        answer = await self.event(kind, "Authorized", token=VALID)
        assert answer["idTokenInfo"]["status"] == "Accepted"

    async def started(self) -> None:
        """EnergyTransferStarted."""
        if self.seq_no < 0:
            await self.authorized()
            await self.plugged()
        await self.event("Updated", "ChargingStateChanged", state="Charging", context="Sample.Periodic")

    async def suspended(self) -> None:
        """EnergyTransferSuspended."""
        await self.started()
        self.wh += 500
        await self.event("Updated", "ChargingStateChanged", state="SuspendedEV", context="Sample.Periodic")

    async def stop_authorized(self) -> None:
        """StopAuthorized."""
        await self.started()
        answer = await self.event("Updated", "StopAuthorized", token=VALID, state="Charging")
        assert answer["idTokenInfo"]["status"] == "Accepted"

    async def post_session(self) -> None:
        """EVConnectedPostSession."""
        await self.stop_authorized()
        self.wh += 500
        await self.event("Updated", "ChargingStateChanged", state="EVConnected")

    async def unplugged(self, **more: Any) -> Payload:
        """EVDisconnected, which ends the transaction."""
        await self.connector("Available")
        more = {"context": "Transaction.End", **more}
        return await self.event("Ended", "EVCommunicationLost", state="Idle", stopped="EVDisconnected", **more)

    # -- what the back end makes of it

    async def stored(self) -> dict[str, Any]:
        """Return the transaction as the back end has it."""
        from tests.csms.db.events import found_as

        found = await self.csms.services.store.run(found_as, self.id)
        assert len(found) == 1
        return found[0]
