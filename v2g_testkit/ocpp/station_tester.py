"""A back end that tests a third-party charging station, case by case.

The station connects once and stays; a case changes what it is answered, asks it, and looks at what it sends. Whatever
a case has changed is undone after it: variables, transactions, cables, and what it registered with `StationTest.undo`.
"""

import asyncio
import contextlib
import itertools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from v2g.io.runtime.clock import Clock
from v2g.io.websocket.client import OcppSocket
from v2g.io.websocket.server import Handshake, Refusal
from v2g.ocpp.routes import Version
from v2g.ocpp.times import format_time
from v2g.text import printable
from v2g_testkit.cases.case import PRECONDITION, Result
from v2g_testkit.ocpp.case import CaseTest, Ended, Failed, Inconclusive, NotApplicable, OcppCase, Payload, precondition
from v2g_testkit.ocpp.certificates import Authority
from v2g_testkit.ocpp.connection import (
    MALFORMED,
    MOST_FRAMES,
    PATIENCE_S,
    Answer,
    CallError,
    Connection,
    Frame,
    Inbox,
    Received,
    field_of,
    having,
    verdict_of,
    without_secrets,
)
from v2g_testkit.ocpp.declaration import Declaration, Token, connectors_of, evses_of, variables_of
from v2g_testkit.ocpp.driver import Driver, Step
from v2g_testkit.ocpp.file_server import FileServer
from v2g_testkit.ocpp.listener import Attempts, Listener

_READS: Final = 3
"""How often the device model is asked for before a station counts as one without."""

PAUSE_S: Final = 1.0
"""Between two things that people do."""
CARD_S: Final = 4.0
"""How long a station may take for a card before its driver does the next thing."""
SHORTEST_PASSWORD: Final = 16
"""Of BasicAuthPassword."""


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """How the station tried to connect: what it showed, and where."""

    host: str
    """Name or address of the tester, with its port, as in the header Host."""
    username: str | None = None
    password: str | None = None
    tls: str | None = None
    """TLSv1.2 or TLSv1.3; None without TLS."""
    suites: frozenset[str] = frozenset()
    """Cipher suites that the station offers, of those that the tester knows, by their names in OpenSSL."""
    certificate: bytes | None = None
    """Of the station, DER."""

    @property
    def security_profile(self) -> int:
        """The security profile (A00)."""
        return 1 if self.tls is None else 2 if self.certificate is None else 3


def _opening(handshake: Handshake) -> Opening:
    shown = handshake.credentials
    secure: ssl.SSLObject | None = handshake.transport.get_extra_info("ssl_object")
    return Opening(
        host=handshake.host,
        username=None if shown is None else shown.username,
        password=None if shown is None else shown.password,
        tls=None if secure is None else secure.version(),
        suites=frozenset(each[0] for each in (secure.shared_ciphers() or ())) if secure is not None else frozenset(),
        certificate=None if secure is None else secure.getpeercert(binary_form=True),
    )


class StationTester:
    """The back end. `admit` and `serve` are `welcome` and `handler` of `v2g.io.websocket.server.serve`; `record` gets
    each frame at once.

    The caller sets `listener`, where it listens by them.
    """

    listener: Listener

    def __init__(
        self, declaration: Declaration, driver: Driver, clock: Clock, record: Callable[[Frame], None] = lambda _: None
    ) -> None:
        self._record = record
        self.declaration, self._counts = declaration, not declaration.evses
        self.driver = driver
        self.clock = clock
        self.inbox = Inbox()
        self.frames: list[Frame] = []
        """Of the latest case."""
        self.asked: set[str] = set()
        """Nothing: a station has no operator."""
        self.answers: dict[str, Answer] = {}
        self.connection: Connection | None = None
        self.refuses = False
        """Whether the station may not connect now."""
        self.attempts: list[float] = []
        """When the station tried to connect in this case, s of the loop's clock."""
        self.connects = 0
        """How often the station has connected."""
        self.transactions: dict[str, int] = {}
        """Transactions that have not ended, with their EVSE."""
        self.plugged: set[int] = set()
        self.parked: dict[int, bool] = {}
        """EVSEs in whose bay a vehicle stands, and whether it came to be plugged in only."""
        self.states: dict[tuple[Any, Any], Any] = {}
        """The latest status of each connector since the boot, by EVSE and connector."""
        self._free: set[tuple[Any, Any]] = set()
        """Connectors that have been available, and are again after each case."""
        self.report: list[Payload] = []
        """The device model, as it was reported at the start (B07: FullInventory)."""
        self.variables: dict[str, str] = {}
        self.identity = ""
        self.opening = Opening(host="")
        """How the station tried to connect last."""
        self.hosts: list[str] = []
        """Where it tried to, in this case."""
        self.files = FileServer("127.0.0.1")
        """The caller replaces it where the station is on another machine."""
        self.closed: set[str] = set()
        """Hosts that refuse every connection."""
        self.authority: Authority | None = None
        """Signs certificates of the station, which `listener` then accepts."""
        self.allowed: set[str] = set()
        """Passwords that cases have set."""
        self.hidden = ""
        """What reports must not tell."""
        self.numbers = itertools.count(1)
        self._booted: bool | None = None
        """Whether its boot is accepted; None if it has not booted here."""
        self.turned_away = ""
        """Why it could not connect at its latest attempt."""
        self._no_version: tuple[str, ...] | None = None
        """Subprotocols of the latest attempt, if the tester speaks none of them."""
        self._changed = asyncio.Event()

    async def admit(self, handshake: Handshake) -> Refusal | None:
        """Admit the station, unless the case refuses it."""
        self.attempts.append(asyncio.get_running_loop().time())
        self.hosts.append(handshake.host)
        self._no_version = handshake.offered if handshake.version is None else None
        self.opening = _opening(handshake)
        self.turned_away = ""
        if handshake.identity is None:
            self.turned_away = f"it asks for {printable(handshake.path)}, not for {self.listener.path}/IDENTITY"
            return Refusal(404, "no such charging station")
        closed = self.refuses or handshake.host in self.closed
        return Refusal(503, "the test refuses connections") if closed else None

    async def serve(self, socket: OcppSocket) -> None:
        """Serve one connection of the station until it ends."""
        before = self.connection
        if before is not None and before.is_open:
            await before.close(reason="replaced by a new connection")
        self.connects += 1
        self.turned_away = ""
        self.identity = socket.identity
        self.connection = me = Connection(socket, self.inbox, role="csms", answer=self._answer, log=self._log)
        self._changed.set()
        try:
            await me.run()
        finally:
            if self.connection is me:
                self.connection = None
            self._changed.set()

    async def find(self, within: float) -> None:
        """Wait for the station, and read its device model. Raises Inconclusive if none connects."""
        try:
            await self.online(within)
            await self._ready()
        except Failed as failure:
            wrong = (f"sends an invalid frame: {each.fault}" for each in self.frames if each.fault)
            ended = (each.text for each in reversed(self.frames) if each.way == "note")
            found = "; ".join([str(failure), *itertools.islice(itertools.chain(wrong, ended), 1)])
            raise Inconclusive(f"{PRECONDITION}{found}") from None
        for _ in range(_READS):
            await self.learn()
            if self.variables:
                return
            await self._outside().wait(PAUSE_S)  # one that has just booted may refuse at first

    async def learn(self) -> None:
        """Read what the station has."""
        with contextlib.suppress(Ended, *MALFORMED):
            report = await self._outside().report("FullInventory")
            self.variables, self.report = variables_of(report), report
        if self._counts:
            self.declaration = replace(self.declaration, evses=evses_of(self.report))

    async def _ready(self) -> None:
        """Wait until the station is connected and accepted. Raises Failed."""
        await self.online(self.away_s)
        if self._booted or await self.inbox.take(_is_boot, 2):
            return
        status = ""
        with contextlib.suppress(Failed):  # it has been accepted before, or a case left it pending
            try:
                answer = await self._outside().ask("TriggerMessage", requestedMessage="BootNotification")
                status = str(answer.get("status"))
            except CallError:  # a station of 1.6 need not have it
                status = "NotImplemented"
        if status == "Rejected" or (status == "NotImplemented" and self._booted is None):
            self._booted = True  # F06.FR.17: it knows that it is accepted
        if not self._booted and not await self.inbox.take(_is_boot, self.away_s):
            raise Failed("the station does not send BootNotification", "B01.FR.01")

    def _outside(self) -> "StationTest":
        """Return what a script would get, outside of a case."""
        return self.test(contextlib.AsyncExitStack())

    def test(self, stack: contextlib.AsyncExitStack) -> "StationTest":
        """Return what a script gets."""
        return StationTest(self, stack)

    async def online(self, within: float) -> Connection:
        """Return the connection. Raises Failed if the station does not connect in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self.connection is None or not self.connection.is_open:
                    self._changed.clear()
                    await self._changed.wait()
                return self.connection
        what = f"the station does not connect within {within:g} s"
        if self._no_version is not None:
            offered = ", ".join(map(printable, self._no_version))[:200] or "no WebSocket subprotocol"
            what = f"the station offers {offered}: cases are for those of --ocpp; let it speak one of them"
        elif self.turned_away:
            what += f"; its latest attempt failed: {self.turned_away}"
        raise Failed(what)

    async def offline(self, within: float) -> None:
        """Wait until the station is not connected. Raises Failed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self.connection is not None and self.connection.is_open:
                    self._changed.clear()
                    await self._changed.wait()
                return
        raise Failed(f"the station keeps its connection for {within:g} s")

    async def reboot(self) -> bool:
        """Have the station switched off and on; return whether that was possible."""
        try:
            await self.driver.do(Step("reboot"))
        except Ended:
            return False
        self._booted = False
        return True

    # -- cases

    async def run(self, case: OcppCase["StationTest"]) -> Result:
        """Run a case, and bring the station back to where it was."""
        self.frames, self.attempts, self.hosts = [], [], []
        self.closed.clear()

        async def script() -> int:
            version = self.connection.version if self.connection is not None else None
            if version is not None and version not in case.versions:
                raise NotApplicable(f"is not for OCPP {version}")
            for need in case.needs:
                if not self.has(need):
                    raise NotApplicable(f"the station does not have {need}")
            with precondition():
                await self._ready()
            # an availability that the case before has restored is there when the station says so
            if not await self._outside().until(self._is_free, self.within(None)):
                self._free = {each for each in self._free if self.states.get(each) == "Available"}
            self.inbox.messages.clear()
            async with contextlib.AsyncExitStack() as stack:
                stack.push_async_callback(self._settle)
                test = self.test(stack)
                await case.script(test)
            return test.judged

        return await verdict_of(case.id, script(), self.frames)

    def has(self, need: str) -> bool:
        """Return whether the station has a feature: as declared, else as its device model says."""
        declared = self.declaration.supports.get(need)
        if declared is not None:
            return declared
        if need.endswith("EVSEs"):
            return self.declaration.evses >= int(need.split()[0])
        return self.variables.get(need, "").lower() not in ("", "false")

    async def _settle(self) -> None:
        """End what a case has begun."""
        self.answers.clear()
        self.files.reset()
        await self._outside().leave()

    @property
    def away_s(self) -> float:
        """How long the station may be away, s."""
        return self.declaration.away_seconds

    # -- answers

    def within(self, seconds: float | None) -> float:
        """Return a time-out, s; None: the declared one."""
        return self.declaration.seconds if seconds is None else seconds

    def now(self) -> str:
        """Return the time as OCPP writes it."""
        return format_time(self.clock.utc_ms())

    def _answer(self, action: str, payload: Payload) -> Payload | CallError | None:
        answer = self.answers[action] if action in self.answers else self.usual(action, payload)
        answer = answer(payload) if callable(answer) else answer
        self._note_states(action, payload)
        if isinstance(answer, dict) or action == "TransactionEvent":
            self._follow(action, payload, answer if isinstance(answer, dict) else None)
        if action == "BootNotification" and isinstance(answer, dict):
            self._booted = answer.get("status") == "Accepted"
        return answer

    def _follow(self, action: str, payload: Payload, answer: Payload | None) -> None:
        """Note which transactions go on; without an answer the request comes again."""
        if action != "TransactionEvent":
            return
        info = payload.get("transactionInfo")
        identifier = info.get("transactionId") if isinstance(info, dict) else None
        if not isinstance(identifier, str):
            return
        if payload.get("eventType") == "Ended":
            if answer is not None:
                self.transactions.pop(identifier, None)
        elif payload.get("eventType") == "Started" and len(self.transactions) < MOST_FRAMES:
            evse = payload.get("evse")
            self.transactions[identifier] = evse.get("id", 0) if isinstance(evse, dict) else 0

    def _is_free(self) -> bool:
        return all(self.states.get(each) == "Available" for each in self._free)

    def can_be_free(self, evse: int) -> bool:
        """Return whether a connector of an EVSE has been available lately."""
        return any(each == evse for each, _ in self._free)

    def _note_states(self, action: str, payload: Payload) -> None:
        """Note the states of connectors; a station that has booted reports each anew (B01.FR.05)."""
        if action == "BootNotification" and payload.get("reason") != "Triggered":
            self.states.clear()
        for place, status in states_of(action, payload):
            if place in self.states or len(self.states) < MOST_FRAMES:
                self.states[place] = status
                self._free |= {place} if status == "Available" else set()

    def usual(self, action: str, payload: Payload) -> Payload | CallError:
        """Return the answer of an ordinary back end."""
        match action:
            case "BootNotification":
                return {"currentTime": self.now(), "interval": 300, "status": "Accepted"}
            case "Heartbeat":
                return {"currentTime": self.now()}
            case "Authorize":
                return {"idTokenInfo": {"status": "Accepted"}}
            case "TransactionEvent":
                return {"idTokenInfo": {"status": "Accepted"}} if "idToken" in payload else {}
            case "DataTransfer":
                return {"status": "UnknownVendorId"}
            case "SignCertificate" | "NotifyEVChargingNeeds" | "NotifyEVChargingSchedule" | "OpenPeriodicEventStream":
                return {"status": "Accepted"}
            case "GetCertificateStatus":
                return {"status": "Failed"}
            case "Get15118EVCertificate":
                return {"status": "Failed", "exiResponse": ""}
            case _ if action in _EMPTY:
                return {}
        return CallError("NotImplemented", "the tester does not know this action")

    def _log(self, frame: Frame) -> None:
        frame = without_secrets(frame, (self.hidden, self.opening.password or ""))
        if len(self.frames) < MOST_FRAMES:
            self.frames.append(frame)
            self._record(frame)


_EMPTY: Final = frozenset({
    "ClearedChargingLimit", "FirmwareStatusNotification", "LogStatusNotification", "MeterValues",
    "NotifyChargingLimit", "NotifyCustomerInformation", "NotifyDisplayMessages", "NotifyEvent",
    "NotifyMonitoringReport", "NotifyReport", "PublishFirmwareStatusNotification", "ReportChargingProfiles",
    "ReservationStatusUpdate", "SecurityEventNotification", "StatusNotification", "NotifyPriorityCharging",
    "NotifySettlement", "NotifyDERAlarm", "NotifyDERStartStop", "ReportDERControl", "ClosePeriodicEventStream",
    "NotifyAllowedEnergyTransfer",
})  # fmt: skip


class StationTest(CaseTest):
    """What the script of a case gets."""

    def __init__(self, tester: StationTester, stack: contextlib.AsyncExitStack) -> None:
        super().__init__(tester.clock, tester.numbers, stack)
        self._tester = tester
        self._acted_s = 0.0
        """When the driver has done something last, by `elapsed`."""

    @property
    def declared(self) -> Declaration:
        """What the maker declares."""
        return self._tester.declaration

    @property
    def version(self) -> Version:
        """The version in use. Raises Failed without a connection."""
        if self._tester.connection is None:
            raise Failed("the station is not connected")
        return self._tester.connection.version

    @property
    def reported(self) -> list[Payload]:
        """The entries of the station's device model, as it reported it at the start."""
        return self._tester.report

    @property
    def connectors(self) -> list[tuple[int, int]]:
        """EVSE and number of each connector, as reported; of EVSEs without, the first one."""
        return connectors_of(self._tester.report, self.declared.evses)

    def occupied(self, evse: int = 1) -> int:
        """Return the connector of an EVSE at which a vehicle is, by the latest states; the first one if none is."""
        found = ((place, status) for place, status in self._tester.states.items() if place[0] == evse and place[1])
        return next((place[1] for place, status in found if status not in _WITHOUT_VEHICLE), 1)

    @property
    def token(self) -> Token:
        """The token that a driver presents."""
        return self.declared.token

    def has(self, need: str) -> bool:
        """Return whether the station has something (see `OcppCase.needs`)."""
        return self._tester.has(need)

    def needs(self, condition: bool, what: str) -> None:
        """Raise NotApplicable if the station lacks something."""
        if not condition:
            raise NotApplicable(what)

    def undo(self, work: Callable[[], Awaitable[object]]) -> None:
        """Do something with the connected station after the case, whatever its result; the latest first."""

        async def connected() -> None:
            await self._tester.online(self._tester.away_s)
            await work()

        super().undo(connected)

    # -- messages

    def answer(self, action: str, answer: Answer) -> None:
        """Answer that request of the station so until the end of the case."""
        self._tester.answers[action] = answer

    async def ask(self, action: str, **payload: object) -> Payload:
        """Send a request; return the answer. Raises CallError, Failed."""
        connection = await self._tester.online(self._tester.within(None))
        return await connection.call(action, payload, self._tester.within(None))

    async def must_answer(self, status: str, requirement: str, action: str, **payload: object) -> Payload:
        """Send a request that must be answered with this status; return the answer. Raises CallError, Failed."""
        answer = await self.ask(action, **payload)
        self.equal(answer["status"], status, requirement, "answers {}")
        return answer

    async def refused(self, action: str, **payload: object) -> CallError:
        """Send a request that must be answered by a CALLERROR, and return it. Raises Failed."""
        self.judged += 1
        try:
            answer = await self.ask(action, **payload)
        except CallError as error:
            return error
        raise Failed(f"answers {action} with {answer} instead of a CALLERROR")

    async def send(self, frame: list[object] | str) -> None:
        """Send a frame as it is."""
        await (await self._tester.online(self._tester.within(None))).send(frame)

    async def expect(
        self, action: str, requirement: str = "", *, within: float | None = None, skip: bool = False, **fields: object
    ) -> Payload:
        """Return the next request of the station with these values; `__` leads into an object. Raises Failed.

        `skip`: forget what came before it.
        """
        self.judged += 1
        return await self._tester.inbox.expect(action, fields, requirement, self._tester.within(within), skip=skip)

    async def find(
        self, matches: Callable[[Received], bool], within: float | None = None, *, keep: bool = False
    ) -> Payload | None:
        """Return the next request of the station that matches, or None. `keep`: leave it for what follows."""
        found = await self._tester.inbox.take(matches, self._tester.within(within), keep=keep)
        self.judged += found is not None
        return None if found is None else found.payload

    async def nothing(self, action: str, requirement: str = "", *, within: float, **fields: object) -> None:
        """Raise Failed if the station sends such a request within some time."""
        found = await self._tester.inbox.take(having(action, fields), within)
        self.check(found is None, requirement, f"sends {action}")

    @contextlib.asynccontextmanager
    async def holding(self) -> AsyncIterator[None]:
        """Answer what the station asks in the body after it only; its next request has to wait until then.

        Raises Failed for a station that does not wait, up to its MessageTimeout.
        """
        timeout = self._tester.variables.get("OCPPCommCtrlr.MessageTimeout", "")
        connection = await self._tester.online(self._tester.within(None))
        async with connection.holding():
            yield
            await self.wait(PAUSE_S)
            self.check(*connection.impatient(float(timeout) if timeout.isdecimal() else PATIENCE_S))

    def forget(self) -> None:
        """Ignore what the station has sent so far."""
        self._tester.inbox.messages.clear()

    def seen(self, action: str) -> list[Payload]:
        """Return the unread requests of an action."""
        return [each.payload for each in self._tester.inbox.messages if each.action == action]

    async def wait(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    def after(self, interval: float) -> float:
        """Return until when a station must have reacted to the end of an interval that the case has set, s."""
        return interval + self.declared.seconds

    async def until(self, condition: Callable[[], object], within: float) -> bool:
        """Wait until a condition holds; return whether it came to hold in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while not condition():
                    await asyncio.sleep(0.05)
                return True
        return False

    def elapsed(self) -> float:
        """Return a time that only grows, s."""
        return asyncio.get_running_loop().time()

    # -- the connection

    async def disconnect(self) -> None:
        """End the connection; the station may connect again at once."""
        connection = await self._tester.online(self._tester.within(None))
        await connection.close()

    async def reconnected(self, requirement: str = "", *, within: float | None = None) -> None:
        """Wait for the station's next connection, if it is away. Raises Failed."""
        try:
            await self._tester.online(self._tester.away_s if within is None else within)
        except Failed as failure:
            raise Failed(str(failure), requirement) from None

    async def disconnected(self, requirement: str = "", *, within: float | None = None) -> None:
        """Wait until the station has closed its connection. Raises Failed."""
        try:
            await self._tester.offline(self._tester.away_s if within is None else within)
        except Failed as failure:
            raise Failed(str(failure), requirement) from None

    @contextlib.asynccontextmanager
    async def away(self, seconds: float) -> AsyncIterator[None]:
        """Keep the station offline during the body, at least for some time and until it has reacted to what was done,
        then wait for it."""
        began = asyncio.get_running_loop().time()
        self._tester.refuses = True
        try:
            await self.disconnect()
            yield
            rest = max(began + seconds, self._acted_s + CARD_S) - asyncio.get_running_loop().time()
            await asyncio.sleep(max(0.0, rest))
        finally:
            self._tester.refuses = False
        await self.reconnected()

    async def attempts(self, number: int) -> list[float]:
        """Refuse the station that often; return the times between its attempts to connect, s. Raises Failed."""
        tester, began = self._tester, asyncio.get_running_loop().time()
        tester.refuses, tester.attempts = True, []
        try:
            await self.disconnect()
            deadline = began + tester.away_s
            while len(tester.attempts) < number:
                if asyncio.get_running_loop().time() > deadline:
                    raise Failed(f"tries to connect {len(tester.attempts)} times within {tester.away_s:g} s")
                await asyncio.sleep(0.05)
        finally:
            tester.refuses = False
        times = [began, *tester.attempts[:number]]
        await self.reconnected()
        return [later - sooner for sooner, later in itertools.pairwise(times)]

    @contextlib.asynccontextmanager
    async def reconnects(self) -> AsyncIterator[None]:
        """Wait after the body until the station has reconnected, e.g. because it was reset. Raises Failed."""
        before = self._tester.connects
        yield
        deadline = asyncio.get_running_loop().time() + self._tester.away_s
        while self._tester.connects == before:
            if asyncio.get_running_loop().time() > deadline:
                raise Failed(f"the station does not reconnect within {self._tester.away_s:g} s")
            await asyncio.sleep(0.05)
        await self._tester.online(self._tester.away_s)

    @property
    def opening(self) -> Opening:
        """How the station tried to connect last."""
        return self._tester.opening

    def shows_password(self, some: str, of: str, length: str, *, longest: int) -> None:
        """Check that the station's last attempt had its identity and a password; the arguments are requirements."""
        shown = self.opening
        if shown.password is None:
            raise Failed("connects without a password", some)
        self.check(shown.username == self.identity, of, "the user name is not its identity")
        fits = SHORTEST_PASSWORD <= len(shown.password) <= longest
        self.check(fits, length, f"the password has {len(shown.password)} characters")

    @property
    def connected(self) -> bool:
        """Whether the station is connected now."""
        connection = self._tester.connection
        return connection is not None and connection.is_open

    @property
    def hosts(self) -> list[str]:
        """Where the station tried to connect in this case, see `Opening.host`."""
        return self._tester.hosts

    @property
    def server_name(self) -> str:
        """Name or address of the tester, as the station has it."""
        return self.opening.host.rpartition(":")[0].strip("[]") or self.opening.host

    @property
    def authority(self) -> Authority | None:
        """The authority whose certificates of stations the tester accepts, if it has its key."""
        return self._tester.authority

    def needs_authority(self) -> Authority:
        """Return that authority. Raises NotApplicable."""
        if self.authority is None:
            raise NotApplicable("needs the key of the authority of the station's certificates (--ca-key)")
        return self.authority

    @property
    def identity(self) -> str:
        """The station's identity."""
        return self._tester.identity

    @contextlib.asynccontextmanager
    async def served_by(self, context: ssl.SSLContext) -> AsyncIterator[Attempts]:
        """Listen with this TLS during the body, which gets the attempts to connect; then wait for the station."""
        async with self._tester.listener.instead(context) as attempts:
            yield attempts
        await self.reconnected()

    async def listen_also(self, context: ssl.SSLContext | None = None, *, stays: bool = False) -> tuple[str, str]:
        """Listen at another port, too, with TLS of its own or that of the first; return URL and `Opening.host`.

        Until the end of the case, or if it `stays`, of all cases.
        """
        listener = self._tester.listener
        context = context or listener.context
        server = await listener.also(context)
        if not stays:
            self._stack.push_async_callback(server.close)
        name = f"[{self.server_name}]" if ":" in self.server_name else self.server_name
        host = f"{name}:{server.port}"
        return f"{'ws' if context is None else 'wss'}://{host}{listener.path}", host

    async def file_server(self, tls: ssl.SSLContext | None = None) -> tuple[FileServer, str]:
        """Return the file server, or with a context another one until the end of the case; and its URL without a slash
        at its end. Raises NotApplicable."""
        protocol = "HTTP" if tls is None else "HTTPS"
        self.needs(protocol in await self.file_protocols(), f"it does not transfer files over {protocol}")
        files = self._tester.files
        if tls is not None:
            files = FileServer(files.host, tls=tls)
            self._stack.callback(files.stop)
        name = f"[{self.server_name}]" if ":" in self.server_name else self.server_name
        return files, f"{protocol.lower()}://{name}:{files.start()}"

    async def file_protocols(self) -> list[str]:
        """Return by which protocols the station transfers files. Raises NotApplicable where it does not tell."""
        known = await self.value("OCPPCommCtrlr", "FileTransferProtocols")
        return [each.strip() for each in known.split(",")]

    async def secure(self, context: ssl.SSLContext) -> None:
        """Listen with this TLS from now on, also after the case; every connection is closed."""
        await self._tester.listener.change(context)

    def close(self, host: str) -> None:
        """Refuse connections there until the end of the case, see `Opening.host`."""
        self._tester.closed.add(host)

    def open(self, host: str) -> None:
        """Accept connections there again."""
        self._tester.closed.discard(host)

    def allow(self, *passwords: str) -> None:
        """Let the station connect with these passwords, too, from now on."""
        self._tester.allowed.update(passwords)

    def hide(self, secret: str) -> None:
        """Keep a text out of the frames of reports."""
        self._tester.hidden = secret

    # -- the device model

    async def get(self, component: str, variable: str, **more: object) -> Payload:
        """Return the result of reading one variable; `evse`, `instance` and `attributeType` say more."""
        answer = await self.ask("GetVariables", getVariableData=[variable_of(component, variable, **more)])
        return answer["getVariableResult"][0]  # type: ignore[no-any-return]

    async def value(self, component: str, variable: str, **more: object) -> str:
        """Return the value of a variable. Raises NotApplicable if the station does not have it."""
        result = await self.get(component, variable, **more)
        if result["attributeStatus"] != "Accepted":
            raise NotApplicable(f"the station does not have {component}.{variable}: {result['attributeStatus']}")
        return str(result.get("attributeValue", ""))

    async def set(self, component: str, variable: str, value: str, **more: object) -> str:
        """Set a variable; return the status. Its value is restored after the case."""
        await self.keep(component, variable, **more)
        return await self._set(component, variable, value, more)

    async def keep(self, component: str, variable: str, **more: object) -> None:
        """Restore a variable after the case."""
        before = (await self.get(component, variable, **more)).get("attributeValue")
        if before is not None:
            self.undo(lambda: self._set(component, variable, before, more))

    async def demand(self, component: str, variable: str, value: str, **more: object) -> None:
        """Set a variable as a precondition. Raises NotApplicable if the station does not have or allow it."""
        before = await self.get(component, variable, **more)
        if before["attributeStatus"] != "Accepted":
            raise NotApplicable(f"the station does not have {component}.{variable}")
        if before.get("attributeValue") != value:
            status = await self.set(component, variable, value, **more)
            if status != "Accepted":
                raise NotApplicable(f"{component}.{variable} cannot be set to {value}: {status}")

    async def write(self, component: str, variable: str, value: str, **more: object) -> str:
        """Set a variable; return the status. It stays so."""
        return await self._set(component, variable, value, more)

    def values_of(self, component: str, variable: str) -> list[str]:
        """Return the values that a variable can have, by the first report; empty if it has no list."""
        for each in self._tester.report:
            if (each["component"]["name"], each["variable"]["name"]) == (component, variable):
                listed: str = each.get("variableCharacteristics", {}).get("valuesList", "")
                return [one.strip() for one in listed.split(",") if one.strip()]
        return []

    async def _set(self, component: str, variable: str, value: str, more: Mapping[str, object]) -> str:
        data = variable_of(component, variable, **more) | {"attributeValue": value}
        answer = await self.ask("SetVariables", setVariableData=[data])
        return str(answer["setVariableResult"][0]["attributeStatus"])

    async def report(self, base: str = "", **criteria: object) -> list[Payload]:
        """Return the entries of a base report, or of a custom one by its criteria. Raises Failed for missing parts."""
        number = self.next_id()
        if base:
            answer = await self.ask("GetBaseReport", requestId=number, reportBase=base)
        else:
            answer = await self.ask("GetReport", requestId=number, **criteria)
        self.check(answer["status"] == "Accepted", "B07.FR.01", f"answers {answer['status']}")
        return await self.parts("NotifyReport", "reportData", number)

    async def parts(self, action: str, field: str, number: int) -> list[Payload]:
        """Return the entries of all parts of a report. Raises Failed unless they are numbered from 0 without gaps."""
        entries: list[Payload] = []
        for expected in itertools.count():
            part = await self.expect(action, requestId=number)
            self.check(part["seqNo"] == expected, "B07.FR.10", f"{action} {part['seqNo']} instead of {expected}")
            entries += part.get(field, [])
            if not part.get("tbc", False):
                break
        return entries

    # -- people

    async def do(self, step: Step) -> None:
        """Carry out a step at the station, which has reacted to what went before. Raises NotApplicable,
        Inconclusive."""
        await self.wait(PAUSE_S)
        await self._tester.driver.do(step)
        self._acted_s = self.elapsed()

    async def plug(self, evse: int = 1) -> None:
        """Plug a vehicle in."""
        await self._plug(Step("plug", evse))

    async def _plug(self, step: Step) -> None:
        """Plug a vehicle in; it stands in the bay before, where the station looks at that."""
        points = (self._tester.variables.get(f"TxCtrlr.Tx{each}Point", "") for each in ("Start", "Stop"))
        if step.evse not in self._tester.parked and any("ParkingBayOccupancy" in each for each in points):
            with contextlib.suppress(NotApplicable):
                await self.arrive(step.evse)
                self._tester.parked[step.evse] = True
        await self.do(step)
        self._tester.plugged.add(step.evse)

    async def unplug(self, evse: int = 1) -> None:
        """Unplug it; one that came to be plugged in drives away."""
        self._tester.plugged.discard(evse)
        await self.do(Step("unplug", evse))
        if self._tester.parked.get(evse):
            await self.depart(evse)

    async def leave(self) -> None:
        """End every transaction, and unplug every vehicle."""
        tester = self._tester
        with contextlib.suppress(Ended):
            for transaction in list(tester.transactions):
                with contextlib.suppress(Ended):
                    await self.ask("RequestStopTransaction", transactionId=transaction)
            await self._unplug_all()
            for evse in list(tester.parked):
                await self.depart(evse)
            deadline = self.elapsed() + tester.away_s  # events may wait to be sent again
            while tester.transactions and self.elapsed() < deadline:
                await tester.inbox.take(lambda each: each.action == "TransactionEvent", 1)
            tester.transactions.clear()

    async def _unplug_all(self) -> None:
        """Unplug every vehicle; what follows does not begin before the station reports EVSEs as free that were."""
        for evse in list(self._tester.plugged):
            began = self.elapsed() + PAUSE_S
            await self.unplug(evse)
            if self._tester.can_be_free(evse):
                await self.find(lambda each: each.at_s >= began and "Available" in reported(each, evse))  # noqa: B023

    async def pull(self, evse: int = 1) -> None:
        """Unplug the cable at the vehicle, and leave its other end where it is."""
        await self.do(Step("pull", evse))

    async def suspend(self, evse: int = 1) -> None:
        """Let the vehicle take no more energy."""
        await self.do(Step("suspend", evse))

    async def arrive(self, evse: int = 1) -> None:
        """Drive the vehicle into the parking bay."""
        await self.do(Step("arrive", evse))
        self._tester.parked[evse] = False

    async def depart(self, evse: int = 1) -> None:
        """Drive it out."""
        self._tester.parked.pop(evse, None)
        await self.do(Step("depart", evse))

    async def vehicle(self, value: str = "dynamic", evse: int = 1) -> None:
        """Plug a vehicle of ISO 15118 in, one of `VEHICLES`."""
        await self._plug(Step("vehicle", evse, value=value))

    async def present(self, token: Token | None = None, evse: int = 1) -> None:
        """Present a token, and wait until the station reacts, for a while: offline it does so unseen."""
        token = token or self.token
        began = self.elapsed()
        await self.do(Step("present", evse, token.id, token.type))
        await self._tester.inbox.take(lambda each: each.at_s >= began + PAUSE_S, CARD_S, keep=True)

    async def charging(self, evse: int = 1, token: Token | None = None) -> str:
        """Bring an EVSE to EnergyTransferStarted with the token; return the transaction."""
        with precondition():
            await self.present(token, evse)
            await self.plug(evse)
            return await self.flowing(evse)

    async def flowing(self, evse: int = 1, event: Payload | None = None) -> str:
        """Wait until energy flows at an EVSE; return the transaction. An event that has been read may say so already,
        with TxStartPoint EnergyTransfer the first one."""
        while True:
            if field_of(event, "transactionInfo__chargingState") != "Charging":
                event = await self.expect("TransactionEvent", "E02.FR.05", transactionInfo__chargingState="Charging")
            assert event is not None
            transaction: str = event["transactionInfo"]["transactionId"]
            if self._tester.transactions.get(transaction, evse) in (evse, 0):
                return transaction
            event = None


_WITHOUT_VEHICLE: Final = frozenset({"Available", "Reserved", "Unavailable", "Faulted"})


def variable_of(component: str, variable: str, **more: object) -> Payload:
    """Return a component and a variable as requests have them; `evse`, `instance` and `attributeType` say more."""
    place: Payload = {"name": component}
    named: Payload = {"name": variable}
    if "evse" in more:
        place["evse"] = {"id": more["evse"]} | ({"connectorId": more["connector"]} if "connector" in more else {})
    if "instance" in more:
        named["instance"] = more["instance"]
    found = {"component": place, "variable": named}
    return found | ({"attributeType": more["attributeType"]} if "attributeType" in more else {})


def _is_boot(message: Received) -> bool:
    return message.action == "BootNotification"


def states_of(action: str, payload: Payload) -> list[tuple[tuple[Any, Any], Any]]:
    """Return the states of connectors that a request of a station reports, each with EVSE and connector, which are the
    same in OCPP 1.6."""
    if action == "StatusNotification":
        connector = payload.get("connectorId")
        status = payload.get("connectorStatus", payload.get("status"))
        return [((payload.get("evseId", connector), connector), status)]
    if action != "NotifyEvent":
        return []
    return [
        ((evse["id"], evse.get("connectorId")), event["actualValue"])
        for event in payload["eventData"]
        if field_of(event, "component__name") == "Connector"
        and field_of(event, "variable__name") == "AvailabilityState"
        and (evse := field_of(event, "component__evse")) is not None
    ]


def reported(message: Received, evse: int) -> list[str]:
    """Return the states of an EVSE's connectors that a request of the station reports."""
    return [state for (each, _), state in states_of(message.action, message.payload) if each == evse]
