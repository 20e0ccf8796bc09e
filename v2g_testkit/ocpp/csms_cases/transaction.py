"""A transaction that a case plays, event by event: the states with which cases begin (part 6, reusable states)."""

import uuid
from typing import Any, Final

from v2g_testkit.ocpp.case import Payload, given
from v2g_testkit.ocpp.csms_tester import CsmsTest
from v2g_testkit.ocpp.declaration import Token

SIGNED: Final = {"signedMeterData": "T0NNRg==", "signingMethod": "", "encodingMethod": "OCMF", "publicKey": ""}
"""A signed value, as far as a third-party back end reads it."""


class Transaction:
    """A transaction of the station; `token` is that of its driver, by default the valid one."""

    def __init__(self, t: CsmsTest, *, evse: int = 1, token: Token | None = None) -> None:
        self.id = str(uuid.uuid4())
        self.seq_no = -1
        self.token = token or t.declared.token
        self._t = t
        self._evse = evse
        self._authorized = self._plugged = False

    @property
    def wh(self) -> float:
        """The meter of the EVSE, Wh."""
        return self._t.read_meter(self._evse)

    @wh.setter
    def wh(self, value: float) -> None:
        self._t.set_meter(self._evse, value)

    async def event(
        self,
        kind: str,
        trigger: str,
        *,
        state: str = "",
        stopped: str = "",
        token: Token | None = None,
        context: str = "",
        seq_no: int | None = None,
        info: Payload | None = None,
        placed: bool = True,
        **more: object,
    ) -> Payload:
        """Send an event; return the answer. `context` adds the meter's reading, `info` is added to transactionInfo."""
        if seq_no is None:
            self.seq_no = seq_no = self.seq_no + 1
        about: Payload = {"transactionId": self.id, **(info or {})}
        about |= {name: value for name, value in (("chargingState", state), ("stoppedReason", stopped)) if value}
        request: Payload = {
            "eventType": kind,
            "triggerReason": trigger,
            "timestamp": self._t.now(),
            "seqNo": seq_no,
            "transactionInfo": about,
            **more,
        }
        if placed:
            request["evse"] = {"id": self._evse, "connectorId": 1}
        if token is not None:
            request["idToken"] = token.payload
        if context:
            request.setdefault("meterValue", [self.reading(context)])
        return await self._t.call("TransactionEvent", **request)

    def reading(self, context: str, **more: object) -> Payload:
        """Return a meter value with the import register."""
        sample = {"value": self.wh, "context": context, "measurand": "Energy.Active.Import.Register", **more}
        return {"timestamp": self._t.now(), "sampledValue": [sample]}

    # -- states

    async def plugged(self) -> None:
        """EVConnectedPreSession."""
        await self._t.connector("Occupied", self._evse)
        await self.event(self._kind(), "CablePluggedIn", state="EVConnected", context="Transaction.Begin")
        self._plugged = True

    async def authorize(self) -> None:
        """Present the token. Raises Failed unless it is accepted."""
        info = await self._t.authorize(self.token)
        self._t.check(info["status"] == "Accepted", "C01.FR.07", f"answers a valid token with {info['status']}")

    async def authorized(self) -> None:
        """Authorized."""
        await self.authorize()
        self.accepted(await self.event(self._kind(), "Authorized", token=self.token))
        self._authorized = True

    async def started(self) -> None:
        """EnergyTransferStarted."""
        if not self._authorized:
            await self.authorized()
        if not self._plugged:
            await self.plugged()
        await self.event("Updated", "ChargingStateChanged", state="Charging", context="Sample.Periodic")

    async def suspended(self) -> None:
        """EnergyTransferSuspended."""
        await self.started()
        self.wh += 500
        await self.event("Updated", "ChargingStateChanged", state="SuspendedEV", context="Sample.Periodic")

    async def stop_authorized(self) -> None:
        """StopAuthorized, of a transaction in EnergyTransferStarted."""
        self.accepted(await self.event("Updated", "StopAuthorized", state="Charging", token=self.token))

    async def post_session(self) -> None:
        """EVConnectedPostSession, of a transaction in StopAuthorized."""
        self.wh += 500
        await self.event("Updated", "ChargingStateChanged", state="EVConnected")

    async def unplugged(self, **more: Any) -> None:
        """EVDisconnected, which ends the transaction."""
        await self._t.connector("Available", self._evse)
        more = {"context": "Transaction.End", **more}
        await self.event("Ended", "EVCommunicationLost", state="Idle", stopped="EVDisconnected", **more)

    def remotely_started(self) -> None:
        """Note that a remote start has authorized it."""
        self._authorized = True

    def accepted(self, answer: Payload) -> None:
        """Raise Failed unless the answer to an event accepts the token."""
        status = answer["idTokenInfo"]["status"]
        self._t.check(status == "Accepted", "E01.FR.12", f"answers a valid token with {status}")

    def _kind(self) -> str:
        return "Started" if self.seq_no < 0 else "Updated"


async def charging(t: CsmsTest) -> Transaction:
    """Let a transaction charge. Raises Inconclusive."""
    transaction = Transaction(t)
    await given(transaction.started())
    return transaction
