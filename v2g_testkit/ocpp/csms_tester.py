"""A charging station that tests a third-party back end, case by case.

Each case connects as the declared station, plays what a station and its drivers would do, has the operator send
requests, and judges every frame of the back end. Whatever a case has begun is ended after it: transactions, and what it
registered with `CsmsTest.undo`.
"""

import asyncio
import contextlib
import itertools
import re
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography import x509

from v2g.errors import OcppError, SubprotocolError, TransportError, UpgradeRefusedError, V2GError
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import cancel_tasks, child, spawn
from v2g.ocpp.routes import Version
from v2g.ocpp.times import parse_time
from v2g_testkit.cases.case import PRECONDITION, REFUSED, Result
from v2g_testkit.ocpp import connection
from v2g_testkit.ocpp.attempts import Attempt, Network, declared_attempt, is_defect, is_distrust, is_ours, is_refusal
from v2g_testkit.ocpp.case import CaseTest, Ended, Failed, Inconclusive, NotApplicable, OcppCase, Payload, precondition
from v2g_testkit.ocpp.declaration import CsmsDeclaration, Token
from v2g_testkit.ocpp.operator import FREE, REGISTRATION, RESTART, WEB_PAYMENT, Operator, OperatorStep

CLOCK_S: Final = 60.0
"""By how much the clocks of tester and back end may differ, s; OCPP sets no limit."""

BAD_REQUEST: Final = 400
"""The HTTP status that may be about the subprotocols; others are about the station, or the back end itself."""

MODEL: Final[Mapping[tuple[str, str, str], str]] = {
    ("OCPPCommCtrlr", "OfflineThreshold", ""): "300",
    ("AuthCtrlr", "AuthorizeRemoteStart", ""): "true",
    ("AuthCtrlr", "OfflineTxForUnknownIdEnabled", ""): "false",
    ("DeviceDataCtrlr", "ItemsPerMessage", "GetReport"): "50",
    ("DeviceDataCtrlr", "ItemsPerMessage", "GetVariables"): "4",
    ("DeviceDataCtrlr", "ItemsPerMessage", "SetVariables"): "4",
    ("DeviceDataCtrlr", "BytesPerMessage", "GetReport"): "60000",
    ("DeviceDataCtrlr", "BytesPerMessage", "GetVariables"): "60000",
    ("MonitoringCtrlr", "ItemsPerMessage", "ClearVariableMonitoring"): "2",
    ("MonitoringCtrlr", "ItemsPerMessage", "SetVariableMonitoring"): "2",
    ("TxCtrlr", "SupportedLimits", ""): "maxCost,maxEnergy,maxTime",
}
"""Variables of the station: component, variable and its instance."""


class CsmsTester:
    """The tester; `version` is the one that its station offers. `record` gets each frame at once."""

    def __init__(
        self,
        declaration: CsmsDeclaration,
        operator: Operator,
        network: Network,
        clock: Clock,
        *,
        version: Version,
        record: Callable[[connection.Frame], None] = lambda _: None,
    ) -> None:
        self.declaration = declaration
        self.operator = operator
        self.network = network
        self.clock = clock
        self.version: Final = version
        self.record = record
        self.attempt = declared_attempt(declaration)
        """How the station connects from now on; its password may change."""
        self.frames: list[connection.Frame] = []
        """Of the latest case."""
        self.asked: set[str] = set()
        """Actions that the operator has the back end send in it."""
        self.numbers = itertools.count(1)
        self.meters: defaultdict[tuple[str, int], float] = defaultdict(lambda: 1000.0)
        """Registers (Wh) of stations' EVSEs: no case sets back what another has counted."""

    async def reboot(self) -> bool:
        """Have the back end restarted; return whether that was possible."""
        try:
            await self.operator.do(OperatorStep(self.declaration.station.identity, RESTART, {}))
        except Ended:
            return False
        return True

    def test(self, stack: contextlib.AsyncExitStack) -> "CsmsTest":
        """Return what a script gets."""
        return CsmsTest(self, stack)

    async def run(self, case: OcppCase["CsmsTest"]) -> Result:
        """Run a case, and end what it has begun."""
        self.frames, self.asked = [], set()

        async def script() -> int:
            if self.version not in case.versions:
                raise NotApplicable(f"is not for OCPP {self.version}")
            for need in case.needs:
                if not self.declaration.supports.get(need, True):
                    raise NotApplicable(f"the back end does not have {need}")
            async with contextlib.AsyncExitStack() as stack:
                test = self.test(stack)
                stack.push_async_callback(test.disconnect)
                if case.booted:
                    await test.ready()
                await case.script(test)
            return test.judged

        return await connection.verdict_of(case.id, script(), self.frames)


class CsmsTest(CaseTest):
    """What the script of a case gets: the station, which has booted or is not connected yet, and the operator."""

    def __init__(self, tester: CsmsTester, stack: contextlib.AsyncExitStack) -> None:
        super().__init__(tester.clock, tester.numbers, stack)
        self._tester = tester
        self._inbox = connection.Inbox()
        self._answers: dict[str, connection.Answer] = {}
        self._connection: connection.Connection | None = None
        self._station = tester.attempt.station
        self._reader: asyncio.Task[None] | None = None
        self._transactions: dict[str, int] = {}
        self._ended: set[str] = set()
        self._variables = dict(MODEL)

    @property
    def declared(self) -> CsmsDeclaration:
        """What the maker declares."""
        return self._tester.declaration

    @property
    def version(self) -> Version:
        """The version in use."""
        return self._tester.version

    def is_now(self, time: str, requirement: str) -> None:
        """Raise Failed unless a time of the back end is about that of the tester."""
        apart_s = abs(self._ahead_s(time, requirement))
        self.check(apart_s <= CLOCK_S, requirement, f"the time {time} is {apart_s:.0f} s from that of the tester")

    def is_at(self, time: str, wanted: str, requirement: str) -> None:
        """Raise Failed unless a time of the back end is that second."""
        apart_s = abs(self._ahead_s(time, requirement) - self._ahead_s(wanted, requirement))
        self.check(apart_s < 1, requirement, f"the time is {time} instead of {wanted}")

    def is_later(self, time: str, requirement: str) -> None:
        """Raise Failed unless a time of the back end is in the future."""
        self.check(self._ahead_s(time, requirement) > 0, requirement, f"the time {time} has passed")

    def until(self, time: str) -> float:
        """Return how far in the future a time of the back end is, s; below 0 in the past. Raises Failed."""
        return self._ahead_s(time, "")

    def _ahead_s(self, time: str, requirement: str) -> float:
        try:
            return (parse_time(time) - self._tester.clock.utc_ms()) / 1000
        except OcppError as error:
            raise Failed(str(error), requirement) from None

    # -- the connection

    @property
    def attempt(self) -> Attempt:
        """How the station connects, unless a case says otherwise."""
        return self._tester.attempt

    async def connect(self, attempt: Attempt | None = None) -> None:
        """Connect the station. Raises Inconclusive."""
        try:
            await self._open(attempt or self.attempt)
        except V2GError as error:
            # one that answers is not stuck: the case about subprotocols is still to be run
            kind = REFUSED if isinstance(error, SubprotocolError) else PRECONDITION
            raise Inconclusive(f"{kind}the station cannot connect: {error}") from None

    async def let_in(self, requirement: str, attempt: Attempt | None = None) -> None:
        """Reconnect the station. Raises Failed if the back end refuses that, or ends the connection of this attempt
        but not of the usual one; else as `connect`."""
        await self.disconnect()
        try:
            await self._open(attempt or self.attempt)
        except V2GError as error:
            unclear = attempt is None or is_ours(error) or is_distrust(error) or is_defect(error)
            if is_refusal(error) or (not unclear and await self._is_there()):
                raise Failed(f"does not let the station in: {error}", requirement) from None
            raise Inconclusive(f"the station cannot connect: {error}") from None

    async def _is_there(self) -> bool:
        """Return whether the back end lets the station in as usual."""
        with contextlib.suppress(V2GError):
            await self._open(self.attempt)
            await self.disconnect()
            return True
        return False

    async def turned_away(self, attempt: Attempt, requirement: str, what: str, *, ends: bool = False) -> None:
        """Reconnect the station. Raises Failed if the back end lets it in and accepts its boot.

        `ends`: also if it rejects the boot, and keeps the connection.
        """
        await self.disconnect()
        try:
            await self._open(attempt)
        except V2GError as error:
            if is_ours(error) or is_defect(error):
                raise Inconclusive(f"the tester cannot connect with {what}: {error}") from None
            return
        answer: Payload = {}
        with contextlib.suppress(Failed):  # an error, no answer, or the end of the connection
            answer = await self.call("BootNotification", **self._boots("PowerUp"))
        if ends and answer.get("status") == "Rejected" and self._reader is not None:
            over, _ = await asyncio.wait({self._reader}, timeout=self.declared.seconds)
            self.check(bool(over), requirement, f"keeps the connection of a station with {what}")
        await self.disconnect()
        self.check(answer.get("status") not in ("Accepted", "Pending"), requirement, f"lets a station in with {what}")

    async def agreed(self, *names: str) -> str | None:
        """Offer these WebSocket subprotocols; return that to which the back end agrees, if any. Raises Failed.

        Raises Inconclusive if the back end does not let the station in.
        """
        try:
            return await self._tester.network.agreed(msgspec.structs.replace(self.attempt, offered=names))
        except V2GError as error:
            if isinstance(error, UpgradeRefusedError) and error.status != BAD_REQUEST:
                raise Inconclusive(f"{PRECONDITION}the station cannot connect: {error}") from None
            raise Failed(f"is offered {', '.join(names)}: {error}", "OCPP-J 3.3") from None

    async def certificate(self, attempt: Attempt, requirement: str) -> x509.Certificate:
        """Return the certificate that the back end shows in a TLS handshake. Raises Failed without.

        Raises Inconclusive if the tester cannot make the attempt, or the declared roots do not lead to the certificate.
        """
        try:
            return x509.load_der_x509_certificate(await self._tester.network.certificate(attempt))
        except V2GError as error:
            if is_ours(error) or is_distrust(error):
                raise Inconclusive(str(error)) from None
            raise Failed(f"no TLS with {attempt.suite}: {error}", requirement) from None
        except ValueError as error:
            raise Failed(f"the certificate is not readable: {error}", "A00.FR.507") from None

    def keep_password(self, password: str) -> None:
        """Connect with another password from now on, also after the case."""
        station = msgspec.structs.replace(self.attempt.station, password=password)
        self._tester.attempt = msgspec.structs.replace(self.attempt, station=station)

    def folder(self) -> Path:
        """Return a folder for files, until the end of the case."""
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory()))

    async def _open(self, attempt: Attempt) -> None:
        socket = await self._tester.network.connect(attempt, self.version)
        self._station = attempt.station
        self._connection = connection.Connection(
            socket, self._inbox, role="station", answer=self._answer, log=self._log
        )
        self._reader = spawn(self._connection.run())

    async def disconnect(self) -> None:
        """End the connection, if there is one."""
        if self._connection is None or self._reader is None:
            return
        with contextlib.suppress(Ended):
            for transaction, seq_no in list(self._transactions.items()):
                await self._end(transaction, seq_no + 1)
        with contextlib.suppress(TransportError):
            await self._connection.close()
        await cancel_tasks(self._reader)
        self._connection = self._reader = None

    async def away(self) -> None:
        """Lose the connection, with transactions that continue, and connect again."""
        going, self._transactions = self._transactions, {}
        await self.disconnect()
        self._transactions = going
        await self.connect()

    def _log(self, frame: connection.Frame) -> None:
        frame = connection.without_secrets(frame, (self._station.password or "",))
        if "asicAuthPassword" in frame.text or "AuthorizationKey" in frame.text or "SharedSecret" in frame.text:
            frame = msgspec.structs.replace(frame, text=_PASSWORD.sub(r'\1"***"', frame.text))
        if len(self._tester.frames) < connection.MOST_FRAMES:
            self._tester.frames.append(frame)
            self._tester.record(frame)

    # -- messages

    async def call(self, action: str, /, **payload: object) -> Payload:
        """Send a request of the station; return the answer. Raises CallError, Failed."""
        if self._connection is None:
            raise Inconclusive("the station is not connected")
        if action == "TransactionEvent":
            self._follow(payload)
        answer = await self._connection.call(action, payload, self.declared.seconds)
        if action == "TransactionEvent" and "idToken" in payload:
            self.check("idTokenInfo" in answer, "E01.FR.12", "answers an idToken without idTokenInfo")
        info = answer.get("idTokenInfo", {})
        if info.get("status") == "Accepted" and (until := info.get("cacheExpiryDateTime")):  # now: do not cache it
            passed = self.until(until) < -CLOCK_S
            self.check(not passed, "IdTokenInfoType", f"accepts a token that is to be invalid since {until}")
        return answer

    async def refused(self, action: str, requirement: str, **payload: object) -> connection.CallError:
        """Send a request that must be answered by a CALLERROR, and return it. Raises Failed."""
        self.judged += 1
        try:
            answer = await self.call(action, **payload)
        except connection.CallError as error:
            return error
        raise Failed(f"answers {action} with {answer} instead of a CALLERROR", requirement)

    def answer(self, action: str, answer: connection.Answer) -> None:
        """Answer that request of the back end so until the end of the case."""
        self._answers[action] = answer

    async def expect(self, action: str, requirement: str = "", *, within: float = 0.0, **fields: object) -> Payload:
        """Return the next request of the back end with these values; `__` leads into an object. Raises Failed.

        `within`: how long it may take where that is longer than declared, s.
        """
        self.judged += 1
        return await self._inbox.expect(action, fields, requirement, max(within, self.declared.seconds))

    def received(self, action: str) -> list[Payload]:
        """Return requests of an action that no case has looked at yet."""
        return [each.payload for each in self._inbox.messages if each.action == action]

    def forget(self, action: str) -> None:
        """Ignore the requests of an action so far."""
        self._inbox.messages[:] = [each for each in self._inbox.messages if each.action != action]

    def read_meter(self, evse: int) -> float:
        """Return the register (Wh) of an EVSE of the station, also over cases."""
        return self._tester.meters[self._station.identity, evse]

    def set_meter(self, evse: int, wh: float) -> None:
        """Let an EVSE's register stand at so many Wh."""
        self._tester.meters[self._station.identity, evse] = wh

    @contextlib.asynccontextmanager
    async def holding(self) -> AsyncIterator[None]:
        """Answer what the back end asks in the body after it only; its next request has to wait until then.

        Raises Failed for a back end that does not wait.
        """
        if self._connection is None:
            raise Inconclusive("the station is not connected")
        async with self._connection.holding():
            yield
            await asyncio.sleep(min(1.0, self.declared.seconds / 6))  # operators wait for the answers meanwhile
            self.check(*self._connection.impatient())

    # -- the operator

    async def asked(
        self,
        action: str,
        requirement: str = "",
        *,
        without: tuple[str, ...] = (),
        free: tuple[str, ...] = (),
        by: tuple[str, Payload] | None = None,
        **payload: Any,
    ) -> Payload:
        """Have the back end send a request, and return it.

        It may have more fields, but those of `without` and `NARROWING`, and other values in those of `free` and `FREE`.
        `by`: the step and its payload that lead to the request. Raises Failed if it does not come, NotApplicable,
        Inconclusive.
        """

        def judged(sent: Payload) -> Payload:
            return {name: value for name, value in sent.items() if name not in FREE | set(free)}

        wanted = judged(payload)

        def matches(each: connection.Received) -> bool:
            same = each.action == action and covers(judged(each.payload), wanted)
            return same and not each.payload.keys() & frozenset(without)

        doing = await self._operate(*(by or (action, payload)), action)
        over = doing.done() and (doing.exception() or any(each.action == action for each in self._inbox.messages))
        found = await self._inbox.take(matches, 0 if over else self.declared.seconds)
        if found is None:
            sent = [each.payload for each in self._inbox.messages if each.action == action]
            if not sent and doing.done():
                doing.result()
            raise Failed(f"sends {f'{action} {sent[-1]}' if sent else f'no {action}'}, not {wanted}", requirement)
        return found.payload

    async def operate(self, action: str, **payload: object) -> None:
        """Have the operator do something, whatever the back end sends then. Raises NotApplicable, Inconclusive."""
        doing = await self._operate(action, payload, action)
        if not doing.done():
            raise Inconclusive(f"the operator does not finish within {self.declared.seconds:g} s: {action}")
        doing.result()

    async def _operate(self, action: str, payload: Payload, awaited: str) -> asyncio.Task[None]:
        """Return when the operator has done a step, or the back end waits for the station after the awaited request."""
        self.forget(awaited)
        self._tester.asked |= {action, awaited} | ({"RequestStartTransaction"} if action == WEB_PAYMENT else set())
        step = OperatorStep(self._station.identity, action, payload)
        doing = child(self._tester.operator.do(step))
        self._stack.callback(doing.cancel)
        came = child(self._inbox.take(connection.having(awaited, {}), OPERATOR_S, keep=True))
        try:
            await asyncio.wait({doing, came}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({doing}, timeout=self.declared.seconds)
        finally:
            came.cancel()
        return doing

    async def registration(self, status: str) -> None:
        """Have the back end answer the station's next boot so; after the case it is accepted again."""
        self.undo(lambda: self.operate(REGISTRATION, status="Accepted"))
        await self.operate(REGISTRATION, status=status)

    def value(self, component: str, variable: str) -> str | None:
        """Return the value of the station's variable, which the back end may have set; None if there is none."""
        return self._variables.get((component, variable, ""))

    def set_value(self, component: str, variable: str, value: str) -> None:
        """Give the station's variable a value, until the end of the case."""
        self._variables[component, variable, ""] = value

    # -- what a station does

    async def boot(self, reason: str = "PowerUp", **more: object) -> Payload:
        """Send BootNotification, with more fields; return the answer."""
        answer = await self.call("BootNotification", **self._boots(reason), **more)
        self.is_now(answer["currentTime"], "B01.FR.02")
        interval = answer["interval"]
        self.check(
            interval >= 0, "BootNotificationResponse", f"answers BootNotification with an interval of {interval} s"
        )
        return answer

    def _boots(self, reason: str) -> Payload:
        about = {"model": "Conformance", "vendorName": "v2g-engine"}
        if self._station.serial_number is not None:
            about["serialNumber"] = self._station.serial_number
        return {"reason": reason, "chargingStation": about}

    async def booted(self, reason: str = "PowerUp") -> None:
        """Booted: the back end has accepted the station, and knows that its connectors are Available."""
        if self._connection is None:
            await self.connect()
        answer = await self.boot(reason)
        self.check(answer["status"] == "Accepted", "B01.FR.02", f"answers BootNotification with {answer['status']}")
        for evse in (1, 2):
            await self.connector("Available", evse)

    async def ready(self) -> None:
        """Booted, as a precondition. Raises Inconclusive."""
        with precondition():
            await self.booted()

    async def connector(self, status: str, evse: int = 1) -> None:
        """Report a connector's status both ways."""
        now = self.now()
        await self.call("StatusNotification", evseId=evse, connectorId=1, connectorStatus=status, timestamp=now)
        component = {"name": "Connector", "evse": {"id": evse, "connectorId": 1}}
        await self.event(component, "AvailabilityState", status)

    async def event(
        self, component: Payload, variable: str, value: str, trigger: str = "Delta", **more: object
    ) -> None:
        """Report a value of the device model by NotifyEvent; `more` sets fields of EventDataType."""
        data = {
            "eventId": self.next_id(),
            "timestamp": self.now(),
            "trigger": trigger,
            "actualValue": value,
            "eventNotificationType": "HardWiredNotification",
            "component": component,
            "variable": {"name": variable},
            **more,
        }
        await self.call("NotifyEvent", generatedAt=self.now(), seqNo=0, eventData=[data])

    async def authorize(self, token: Token, **more: object) -> Payload:
        """Present a token; return idTokenInfo."""
        info: Payload = (await self.call("Authorize", idToken=token.payload, **more))["idTokenInfo"]
        there = set(info.get("evseId", ())) <= {1, 2}
        self.check(there, "AuthorizeResponse", f"takes a token at EVSE {info.get('evseId')}, the station has 1 and 2")
        return info

    def _follow(self, payload: Payload) -> None:
        """Note which transactions have to be ended."""
        transaction = payload["transactionInfo"]["transactionId"]
        if payload["eventType"] == "Ended":
            self._transactions.pop(transaction, None)
            self._ended.add(transaction)
        elif transaction not in self._ended:  # else an event of before the end comes late
            self._transactions[transaction] = payload["seqNo"]

    async def _end(self, transaction: str, seq_no: int) -> None:
        await self.call(
            "TransactionEvent",
            eventType="Ended",
            triggerReason="AbnormalCondition",
            timestamp=self.now(),
            seqNo=seq_no,
            transactionInfo={"transactionId": transaction, "stoppedReason": "Other"},
        )

    # -- answers

    def _answer(self, action: str, payload: Payload) -> Payload | connection.CallError | None:
        answer = self._answers[action] if action in self._answers else self._usual(action, payload)
        return answer(payload) if callable(answer) else answer

    def _usual(self, action: str, payload: Payload) -> Payload | connection.CallError:
        """Return the answer of an ordinary station."""
        match action:
            case "GetVariables":
                return {"getVariableResult": [self._read(each) for each in payload["getVariableData"]]}
            case "SetVariables":
                return {"setVariableResult": [self._write(each) for each in payload["setVariableData"]]}
            case "GetTransactionStatus":
                named = payload.get("transactionId")
                found: Payload = {"messagesInQueue": False}
                return found if named is None else found | {"ongoingIndicator": named in self._transactions}
        return ordinary_answer(action, payload)

    def _read(self, wanted: Payload) -> Payload:
        name = _name(wanted)
        if name not in self._variables:
            return _about(wanted) | {"attributeStatus": "UnknownVariable"}
        return _about(wanted) | {"attributeStatus": "Accepted", "attributeValue": self._variables[name]}

    def _write(self, wanted: Payload) -> Payload:
        if len(self._variables) < _MOST_VARIABLES:
            self._variables[_name(wanted)] = wanted["attributeValue"]
        return _about(wanted) | {"attributeStatus": "Accepted"}


OPERATOR_S: Final = 600.0
"""How long a person may take for a step, s."""

_MOST_VARIABLES: Final = 1000
_PASSWORD: Final = re.compile(r'("(?:attributeValue|basicAuthPassword|value)"\s*:\s*)"(?:[^"\\]|\\.)*"')


def _name(data: Payload) -> tuple[str, str, str]:
    return data["component"]["name"], data["variable"]["name"], data["variable"].get("instance", "")


def _all(status: str, actions: Iterable[str]) -> dict[str, Payload]:
    return {each: {"status": status} for each in actions}


_ANSWERS: Final[Mapping[str, Payload]] = {
    **_all("Accepted", (
        "CancelReservation", "CertificateSigned", "ChangeAvailability", "ClearCache", "ClearChargingProfile",
        "CustomerInformation", "GetBaseReport", "GetLog", "InstallCertificate", "RequestStartTransaction",
        "RequestStopTransaction", "ReserveNow", "Reset", "SendLocalList", "SetChargingProfile", "SetDisplayMessage",
        "SetMonitoringBase", "SetMonitoringLevel", "SetNetworkProfile", "TriggerMessage", "UpdateFirmware",
        "AFRRSignal", "ClearDERControl", "GetDERControl", "NotifyAllowedEnergyTransfer", "SetDERControl",
        "UpdateDynamicSchedule", "UsePriorityCharging", "AdjustPeriodicEventStream", "ChangeTransactionTariff",
        "SetDefaultTariff",
    )),
    **_all("EmptyResultSet", ("GetReport", "GetMonitoringReport")),
    **_all("Rejected", ("GetCompositeSchedule", "PublishFirmware")),
    **_all("Unknown", ("GetDisplayMessages", "ClearDisplayMessage")),
    **_all("NotFound", ("DeleteCertificate", "GetInstalledCertificateIds")),
    "CostUpdated": {},
    "ClearTariffs": {"clearTariffsResult": [{"status": "NoTariff"}]},
    "DataTransfer": {"status": "UnknownVendorId"},
    "GetPeriodicEventStream": {},
    "GetTariffs": {"status": "NoTariff"},
    "NotifyWebPaymentStarted": {},
    "GetChargingProfiles": {"status": "NoProfiles"},
    "GetLocalListVersion": {"versionNumber": 0},
    "UnlockConnector": {"status": "Unlocked"},
    "UnpublishFirmware": {"status": "NoFirmware"},
}  # fmt: skip


def ordinary_answer(action: str, payload: Payload) -> Payload | connection.CallError:
    """Return the answer of an ordinary station that has no variables and no monitors."""
    match action:
        case "GetVariables":
            unknown = {"attributeStatus": "UnknownVariable"}
            return {"getVariableResult": [_about(each) | unknown for each in payload["getVariableData"]]}
        case "SetVariables":
            accepted = {"attributeStatus": "Accepted"}
            return {"setVariableResult": [_about(each) | accepted for each in payload["setVariableData"]]}
        case "GetTransactionStatus":
            return {"messagesInQueue": False}
        case "SetVariableMonitoring" | "ClearVariableMonitoring":
            return connection.CallError("NotSupported", "the tester has no monitors")
        case _ if action in _ANSWERS:
            return dict(_ANSWERS[action])
    return connection.CallError("NotImplemented", "the tester does not know this action")


def _about(wanted: Payload) -> Payload:
    return {each: wanted[each] for each in ("component", "variable", "attributeType") if each in wanted}


NARROWING: Final = frozenset(
    {"id", "evse", "evseId", "instance", "state", "transaction", "transactionId", "startDateTime", "endDateTime"}
)
"""Fields that say of what, or when, the others are: with one more of them a request is another one."""


def covers(found: object, wanted: object) -> bool:
    """Return whether a value has everything of another: objects may have more fields, but none that narrows them,
    arrays any order."""
    if isinstance(wanted, dict):
        return (
            isinstance(found, dict)
            and not (found.keys() - wanted.keys()) & NARROWING
            and all(name in found and covers(found[name], value) for name, value in wanted.items())
        )
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(any(covers(each, value) for each in found) for value in wanted)
        )
    return bool(found == wanted)
