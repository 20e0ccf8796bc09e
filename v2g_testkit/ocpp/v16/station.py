"""A back end of OCPP 1.6 that tests a charging station: what differs from that of 2.x."""

import contextlib
import itertools
from typing import Final

from msgspec.structs import replace

from v2g_testkit.ocpp.case import Ended, NotApplicable, Payload, precondition
from v2g_testkit.ocpp.connection import MALFORMED, CallError
from v2g_testkit.ocpp.declaration import Token
from v2g_testkit.ocpp.station_tester import StationTest, StationTester

_EMPTY: Final = frozenset({
    "DiagnosticsStatusNotification", "FirmwareStatusNotification", "LogStatusNotification", "MeterValues",
    "SecurityEventNotification", "SignedFirmwareStatusNotification", "StatusNotification", "StopTransaction",
})  # fmt: skip


class StationTester16(StationTester):
    """The back end; `variables` are the station's configuration keys."""

    def test(self, stack: contextlib.AsyncExitStack) -> "StationTest16":
        return StationTest16(self, stack)

    async def learn(self) -> None:
        with contextlib.suppress(Ended, *MALFORMED):
            answer = await self._outside().ask("GetConfiguration")
            self.variables = {each["key"]: str(each.get("value", "")) for each in answer.get("configurationKey", ())}
        if self._counts:
            number = self.variables.get("NumberOfConnectors", "1")
            self.declaration = replace(self.declaration, evses=int(number) if number.isdecimal() else 1)

    def has(self, need: str) -> bool:
        """See StationTester: a need is also a profile of SupportedFeatureProfiles."""
        profiles = [each.strip() for each in self.variables.get("SupportedFeatureProfiles", "").split(",")]
        return need in profiles or super().has(need)

    def usual(self, action: str, payload: Payload) -> Payload | CallError:
        match action:
            case "Authorize":
                return {"idTagInfo": {"status": "Accepted"}}
            case "StartTransaction":
                return {"transactionId": next(self.numbers), "idTagInfo": {"status": "Accepted"}}
            case _ if action in _EMPTY:
                return {}
            case "BootNotification" | "Heartbeat" | "DataTransfer" | "SignCertificate":
                return super().usual(action, payload)
        return CallError("NotImplemented", "the tester does not know this action")

    def _follow(self, action: str, payload: Payload, answer: Payload | None) -> None:
        if action == "StartTransaction" and answer is not None:
            self.transactions[str(answer["transactionId"])] = payload["connectorId"]
        elif action == "StopTransaction":
            self.transactions.pop(str(payload["transactionId"]), None)


class StationTest16(StationTest):
    """What the script of a case gets. EVSEs are connectors."""

    meter_start = 0
    """Register at the start of the latest transaction, Wh."""
    began: tuple[str, float] = "", 0.0
    """When that was: by the station's clock, and by `elapsed`."""

    async def read(self, key: str) -> str | None:
        """Return the value of a configuration key; None if there is none."""
        answer = await self.ask("GetConfiguration", key=[key])
        for each in answer.get("configurationKey", ()):
            if each["key"].lower() == key.lower():
                return str(each.get("value", ""))
        return None

    async def is_true(self, key: str) -> bool:
        """Return whether a configuration key is there, and true."""
        return (await self.read(key) or "").lower() == "true"

    async def change(self, key: str, value: str) -> str:
        """Set a configuration key; return the status. It is restored after the case."""
        before = await self.read(key)
        if before is not None and before != value:
            self.undo(lambda: self.ask("ChangeConfiguration", key=key, value=before))
        answer = await self.ask("ChangeConfiguration", key=key, value=value)
        return str(answer["status"])

    async def wants(self, **keys: object) -> None:
        """Set configuration keys as a precondition. Raises NotApplicable if the station does not have or allow one."""
        for key, value in keys.items():
            wanted = str(value).lower() if isinstance(value, bool) else str(value)
            before = await self.read(key)
            if before is None:
                raise NotApplicable(f"the station does not have {key}")
            if before.lower() != wanted.lower() and await self.change(key, wanted) != "Accepted":
                raise NotApplicable(f"{key} cannot be set to {wanted}")

    async def file_protocols(self) -> list[str]:
        """See StationTest: a key of the security whitepaper, which not all stations have."""
        known = await self.read("SupportedFileTransferProtocols")
        if known is None:
            raise NotApplicable("it does not tell SupportedFileTransferProtocols")
        return [each.strip() for each in known.split(",")]

    async def status(self, status: str, connector: int = 1, within: float | None = None) -> Payload:
        """Expect a connector's status. Raises Failed."""
        return await self.expect("StatusNotification", within=within, connectorId=connector, status=status)

    async def started(self, token: Token | None = None, within: float | None = None) -> int:
        """Expect a transaction with the token; return its id. Raises Failed."""
        token = token or self.token
        sent = await self.expect("StartTransaction", within=within)
        self.meter_start, self.began = sent["meterStart"], (sent["timestamp"], self.elapsed())
        self.check(sent["idTag"].upper() == token.id.upper(), "StartTransaction", f"starts with {sent['idTag']}")
        await self.wait(0)
        going = [int(each) for each, connector in self._tester.transactions.items() if connector == sent["connectorId"]]
        return going[-1] if going else 0

    async def stopped(self, transaction: int, *reasons: str, within: float | None = None) -> Payload:
        """Expect the end of a transaction for one of these reasons; absent is Local. Raises Failed."""
        sent = await self.expect("StopTransaction", within=within)
        self.check(sent["transactionId"] == transaction, "StopTransaction", f"stops {sent['transactionId']}")
        reason = sent.get("reason", "Local")
        self.check(not reasons or reason in reasons, "StopTransaction", f"stops for {reason}")
        return sent

    async def in_transaction(self) -> int:
        """Bring connector 1 to Charging with the token; return the transaction."""
        with precondition():
            await self.present()
            await self.plug()
            transaction = await self.started()
            await self.status("Charging")
        return transaction

    async def says(self, action: str, *statuses: str, **payload: object) -> Payload:
        """Send a request that must be answered with one of these statuses; return the answer. Raises Failed."""
        answer = await self.ask(action, **payload)
        self.check(answer.get("status") in statuses, action, f"answers {action} with {answer.get('status')}")
        return answer

    async def leave(self) -> None:
        tester = self._tester
        with contextlib.suppress(Ended):
            for transaction in list(tester.transactions):
                with contextlib.suppress(Ended):
                    await self.ask("RemoteStopTransaction", transactionId=int(transaction))
            await self._unplug_all()
            for _ in itertools.takewhile(lambda _: tester.transactions, range(round(tester.away_s))):
                await tester.inbox.take(lambda each: each.action == "StopTransaction", 1)
        tester.transactions.clear()
