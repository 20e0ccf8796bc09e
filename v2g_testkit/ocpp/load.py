"""Load on a third-party back end: many stations from one process, in phases, with criteria that pass or fail.

The stations connect and boot (`ramp`), charge at a steady rate (`steady`), meet others that do not read (`slow`), all
lose their connections and come back at once (`storm`), and send what they stored meanwhile (`offline`). Times of
answers go into a histogram, so that memory does not grow with the duration.
"""

import asyncio
import contextlib
import heapq
import math
import socket
import ssl
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from v2g import typed_json
from v2g.errors import ConfigError, TransportError
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import cancel_tasks, spawn
from v2g.ocpp.routes import Version
from v2g.ocpp.rpc import CALL, CALLERROR, CALLRESULT
from v2g.ocpp.times import format_time
from v2g.text import numbered, printable
from v2g_testkit.ocpp.case import Payload
from v2g_testkit.ocpp.connection import CallError, Frame
from v2g_testkit.ocpp.csms_tester import ordinary_answer
from v2g_testkit.ocpp.declaration import CsmsDeclaration
from v2g_testkit.ocpp.minimal_client import MinimalClient, upgrade
from v2g_testkit.ocpp.v16.csms import ordinary_answer_16

Phase = Literal["ramp", "steady", "slow", "storm", "offline"]
PHASES: Final[tuple[Phase, ...]] = ("ramp", "steady", "slow", "storm", "offline")

MOST_SAMPLED: Final = 2_000
"""Stored frames of the sample."""

_OBSERVED: Final = 100
"""Stations whose answers are timed beside slow readers."""

_Seconds = Annotated[float, Meta(ge=0, le=86_400)]
_Limit = Annotated[float, Meta(gt=0, le=3600)]


class LoadPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much load, and which limits. Times in s; intervals are of each station, 0 for none."""

    stations: Annotated[int, Meta(ge=1, le=50_000)] = 50
    prefix: Annotated[str, Meta(max_length=40, pattern=r"^[A-Za-z0-9*_=+|@.-]*\Z")] = "LOAD"
    """Identities are the prefix and a number, all of the same length."""
    ramp_s: _Seconds = 5.0
    """Within which the stations connect, evenly."""
    steady_s: _Seconds = 30.0
    event_every_s: _Seconds = 10.0
    """TransactionEvent; of 1.6 StartTransaction, then MeterValues of the transaction."""
    heartbeat_every_s: _Seconds = 60.0
    status_every_s: _Seconds = 60.0
    """StatusNotification."""
    meter_every_s: _Seconds = 60.0
    """MeterValues."""
    ping_every_s: _Seconds = 10.0
    """Pings of WebSocket."""
    slow_readers: Annotated[int, Meta(ge=0, le=1000)] = 2
    """Stations that send and do not read; there must be others."""
    slow_s: _Seconds = 5.0
    unread: Annotated[int, Meta(ge=1, le=1_000_000)] = 5_000
    """Requests of each slow reader whose answers it does not read."""
    offline_events: Annotated[int, Meta(ge=2, le=10_000)] = 20
    """Stored events of a transaction of each station."""
    sampled: Annotated[int, Meta(ge=0, le=100)] = 5
    """Stations whose frames are judged by the official schemas."""
    boot_s: _Limit = 30.0
    """From connecting until the boot is accepted."""
    answer_s: _Limit = 30.0
    """After which a request counts as not answered."""
    p99_s: _Limit = 1.0
    """Of the answers to 99 % of requests."""
    ping_s: _Limit = 5.0
    reconnect_s: _Limit = 60.0
    """From the cut until the first answer."""

    def __post_init__(self) -> None:
        if self.slow_readers >= self.stations and self.stations > 1:
            raise ValueError("slow_readers must be fewer than stations")


PLANS: Final[Mapping[str, LoadPlan]] = {
    "small": LoadPlan(),
    "medium": LoadPlan(stations=500, ramp_s=20, steady_s=120, event_every_s=30, slow_readers=10, slow_s=10),
    "large": LoadPlan(
        stations=5000, ramp_s=120, steady_s=600, event_every_s=60, heartbeat_every_s=300, status_every_s=300,
        meter_every_s=300, ping_every_s=60, slow_readers=50, slow_s=20, reconnect_s=300,
    ),
}  # fmt: skip
"""For back ends of some ten, some hundred and some thousand stations."""


def read_plan(name: str) -> LoadPlan:
    """Return one of `PLANS`, or that of a TOML file. Raises ConfigError."""
    if name in PLANS:
        return PLANS[name]
    try:
        return msgspec.toml.decode(Path(name).read_bytes(), type=LoadPlan)
    except OSError as error:
        raise ConfigError(f"--load {name}: {error.strerror}", hint="small, medium, large, or a TOML file") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}: {error}", hint="docs/how-to/test-a-back-end.md lists the keys") from None


_STEPS_OF_TWO: Final = 32
_LEAST_S: Final = 1e-5


class Times:
    """A histogram of times: 3 % wide buckets from 10 µs."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.count = 0
        self.most = 0.0

    def add(self, seconds: float) -> None:
        """Count a time."""
        self.count += 1
        self.most = max(self.most, seconds)
        self._buckets[max(0, math.ceil(math.log2(max(seconds, _LEAST_S) / _LEAST_S) * _STEPS_OF_TWO))] += 1

    def within(self, share: float) -> float:
        """Return the time, s, within which that share of all was; 0 without any."""
        left = math.ceil(self.count * share)
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                return min(self.most, _LEAST_S * 2 ** (bucket / _STEPS_OF_TWO))
        return self.most


class Count:
    """The requests of a phase."""

    def __init__(self) -> None:
        self.sent = self.answered = self.lost = 0
        self.errors: Counter[str] = Counter()
        self.times = Times()
        self.seconds = 0.0

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.answered / self.seconds if self.seconds else 0.0


class Load:
    """The stations, and what was counted; `context` is the TLS of a station, `password` its password."""

    def __init__(
        self,
        plan: LoadPlan,
        declared: CsmsDeclaration,
        version: Version,
        *,
        context: Callable[[str], ssl.SSLContext | None] = lambda _: None,
        password: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self.plan, self.declared, self.version = plan, declared, version
        self.context, self.password = context, password
        self.clock = Clock()
        kind = _Station16 if version == "1.6" else _Station
        self.stations = [kind(self, name) for name in numbered(plan.prefix, plan.stations)]
        for each in self.stations[: plan.sampled]:
            each.sampled = True
        self.address: tuple[Any, ...] = ()
        self.phase: Phase = "ramp"
        self.done: list[Phase] = []
        self.counts: dict[Phase, Count] = {phase: Count() for phase in PHASES}
        self.booted, self.reconnected = Times(), Times()
        self.pongs, self.lags = Times(), Times()
        self.failures: Counter[str] = Counter()
        """Why stations did not come in, in the phase."""
        self.not_booted: Counter[str] = Counter()
        self.not_reconnected: Counter[str] = Counter()
        self.refused = 0
        """Attempts that failed in the storm."""
        self.no_pong = 0
        self.strays = 0
        self.stray = ""
        self.cut_off: Counter[str] = Counter()
        self.invalid: Counter[str] = Counter()
        self.sample: list[Frame] = []
        self.progress: Callable[[str], None] = lambda _: None
        """Gets a sentence each second."""
        self._began = 0.0

    @property
    def count(self) -> Count:
        """The requests of the present phase."""
        return self.counts[self.phase]

    def now(self) -> str:
        """Return the time as OCPP writes it."""
        return format_time(self.clock.utc_ms())

    async def run(self, phase: Phase) -> None:
        """Run a phase. Raises TransportError when the host is unknown."""
        loop = asyncio.get_running_loop()
        if not self.address:
            parts = urlsplit(self.declared.url)
            port = parts.port or (443 if parts.scheme == "wss" else 80)
            try:
                found = await loop.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
            except OSError as error:
                raise TransportError(f"{parts.hostname}: {error.strerror}") from None
            self.address = found[0][4]
        self.phase, self._began = phase, loop.time()
        self.failures = Counter()
        showing = spawn(self._show())
        try:
            await {
                "ramp": self._ramp, "steady": self._steady, "slow": self._slow, "storm": self._storm,
                "offline": self._offline,
            }[phase]()  # fmt: skip
        finally:
            showing.cancel()
            self.count.seconds = loop.time() - self._began
        self.done.append(phase)

    async def close(self) -> None:
        """End all connections."""
        for each in self.stations:
            each.cut()
        await asyncio.sleep(0)

    def _planned_s(self, phase: Phase) -> float:
        return {"ramp": self.plan.ramp_s, "steady": self.plan.steady_s, "slow": self.plan.slow_s}.get(phase, 0.0)

    async def _show(self) -> None:
        rest_s = sum(self._planned_s(each) for each in PHASES[PHASES.index(self.phase) + 1 :])
        while True:
            await asyncio.sleep(1)
            passed_s, count = asyncio.get_running_loop().time() - self._began, self.count
            left_s = rest_s + max(0.0, self._planned_s(self.phase) - passed_s)
            online = sum(each.online for each in self.stations)
            self.progress(
                f"{self.phase}: {passed_s:.0f} s, {online} of {len(self.stations)} connected, "
                f"{count.answered} answered, 99 % within {count.times.within(0.99):.3f} s; about {left_s:.0f} s left"
            )

    # -- phases

    async def _ramp(self) -> None:
        step_s = self.plan.ramp_s / len(self.stations)
        await _all(each.comes(number * step_s) for number, each in enumerate(self.stations))
        self.not_booted = self.failures

    async def _steady(self) -> None:
        plan = self.plan
        rates = (
            ("TransactionEvent", plan.event_every_s), ("Heartbeat", plan.heartbeat_every_s),
            ("StatusNotification", plan.status_every_s), ("MeterValues", plan.meter_every_s),
        )  # fmt: skip
        charging = [each for each in self.stations if each.online]
        pinging = spawn(self._ping(charging))
        try:
            await _all(
                each.works([(action, every) for action, every in rates if every], plan.steady_s, number / len(charging))
                for number, each in enumerate(charging)
            )
        finally:
            pinging.cancel()
        deadline = asyncio.get_running_loop().time() + plan.ping_s
        while asyncio.get_running_loop().time() < deadline and any(each.pinged_at for each in charging):
            await asyncio.sleep(0.02)
        self.no_pong = sum(bool(each.pinged_at) and each.online for each in charging)

    async def _ping(self, stations: "Sequence[_Station]") -> None:
        while self.plan.ping_every_s and stations:
            for each in stations:
                each.ping()
                await asyncio.sleep(self.plan.ping_every_s / len(stations))

    async def _slow(self) -> None:
        slow = [each for each in self.stations if each.online][-self.plan.slow_readers or len(self.stations) :]
        others = [each for each in self.stations if each.online and each not in slow][:_OBSERVED]
        reading = [spawn(each.floods(self.plan.unread)) for each in slow]
        try:
            every = min(1.0, self.plan.slow_s / 10)
            await _all(
                each.works([("Heartbeat", every)], self.plan.slow_s, number / len(others))
                for number, each in enumerate(others)
            )
        finally:
            await cancel_tasks(*reading)

    async def _storm(self) -> None:
        if not any(each.online for each in self.stations):
            return  # no connection to lose
        for each in self.stations:
            each.cut()
        await asyncio.sleep(0)
        began = asyncio.get_running_loop().time()
        await _all(each.returns(began) for each in self.stations)
        self.not_reconnected = self.failures

    async def _offline(self) -> None:
        await _all(each.replays(self.plan.offline_events) for each in self.stations if each.online and each.booted)


async def _all(work: Any) -> None:
    """Run coroutines together; an error of one ends the others."""
    async with asyncio.TaskGroup() as group:
        for each in work:
            group.create_task(each)


class _Station:
    """One station: one request at a time (OCPP-J 4.1.1)."""

    def __init__(self, load: Load, identity: str) -> None:
        self.load, self.identity = load, identity
        self.sampled = False
        self.booted = False
        """Whether the back end has accepted it; before, it may send nothing else (B01.FR.10)."""
        self.pinged_at = 0.0
        self._client: MinimalClient | None = None
        self._numbers = 0
        self._waiting = ""
        self._answer: asyncio.Future[Payload | None] | None = None
        self._given_up: deque[str] = deque(maxlen=20)
        self._transaction = ""
        self._transactions = 0
        self._seq_no = 0

    @property
    def online(self) -> bool:
        """Whether it is connected."""
        return self._client is not None

    # -- the connection

    async def _connect(self, within_s: float) -> None:
        """Connect. Raises TransportError."""
        load = self.load
        context = load.context(self.identity) if load.declared.url.startswith("wss:") else None
        request = upgrade(load.declared.url, self.identity, load.version, load.password(self.identity))
        client = MinimalClient(request, self._take, self._ponged)
        name = urlsplit(load.declared.url).hostname if context is not None else None
        try:
            async with asyncio.timeout(within_s):
                await asyncio.get_running_loop().create_connection(
                    lambda: client, *load.address[:2], ssl=context, server_hostname=name
                )
                await client.opened
        except TimeoutError:
            raise TransportError(f"no connection within {within_s:.0f} s") from None
        except OSError as error:  # ssl.SSLError is one
            raise TransportError(printable(str(error))) from None
        self._client = client
        client.gone.add_done_callback(lambda gone: self._lost(client, gone.result()))

    def cut(self) -> None:
        """Lose the connection."""
        client, self._client, self.pinged_at = self._client, None, 0.0
        if client is not None:
            client.transport.abort()
        self._finish(None)

    def _lost(self, client: MinimalClient, reason: str) -> None:
        if client is self._client:
            self.load.cut_off[reason] += 1
            self.cut()

    def ping(self) -> None:
        """Ping the back end, unless a ping waits for its answer."""
        if self._client is not None and not self.pinged_at:
            self.pinged_at = asyncio.get_running_loop().time()
            self._client.ping(b"v2g")

    def _ponged(self, _payload: bytes) -> None:
        if self.pinged_at:
            self.load.pongs.add(asyncio.get_running_loop().time() - self.pinged_at)
            self.pinged_at = 0.0

    # -- frames

    async def _call(self, action: str, payload: Payload, due: float | None = None) -> Payload | None:
        """Send a request, and return its answer; None without one. Its time counts from `due`, else from now."""
        loop, load, count = asyncio.get_running_loop(), self.load, self.load.count
        if self._client is None:
            return None
        self._numbers += 1
        self._waiting, self._answer = str(self._numbers), loop.create_future()
        began = loop.time() if due is None else due
        count.sent += 1
        giving_up = loop.call_later(load.plan.answer_s, self._give_up, count)
        self._send([CALL, self._waiting, action, payload])
        try:
            answer = await self._answer
        finally:
            giving_up.cancel()
        if answer is not None:
            count.answered += 1
            count.times.add(loop.time() - began)
        return answer

    def _send(self, message: list[object]) -> None:
        text = msgspec.json.encode(message).decode()
        self._sample("sent", text)
        if self._client is not None:
            self._client.send(text)

    def _sample(self, way: Literal["sent", "received"], text: str) -> None:
        if self.sampled and len(self.load.sample) < MOST_SAMPLED:
            self.load.sample.append(Frame(asyncio.get_running_loop().time(), way, text, station=self.identity))

    def _give_up(self, count: Count) -> None:
        if self._answer is not None:
            self._given_up.append(self._waiting)
            count.lost += 1
            self._finish(None)

    def _finish(self, answer: Payload | None) -> None:
        waiting, self._answer, self._waiting = self._answer, None, ""
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def _take(self, data: bytes) -> None:
        load = self.load
        text = data.decode(errors="replace")
        self._sample("received", text)
        try:
            message = typed_json.decode(data, list[Any])
        except msgspec.DecodeError:
            load.invalid["not a message of OCPP-J"] += 1
            return
        match message:
            case [kind, str() as identifier, *rest] if kind in (CALLRESULT, CALLERROR):
                if identifier != self._waiting:
                    if identifier not in self._given_up:
                        load.strays += 1
                        load.stray = load.stray or f"{self.identity}: an answer to {identifier!r}"
                elif kind == CALLERROR:
                    load.count.errors[printable(str(rest[:1])[:60])] += 1
                    self._finish({})
                else:
                    self._finish(rest[0] if rest and isinstance(rest[0], dict) else {})
            case [int(kind), str() as identifier, str() as action, dict() as payload] if kind == CALL:
                try:
                    answer = self._answered(action, payload)
                except (KeyError, TypeError, AttributeError):
                    answer = CallError("FormatViolation", "the tester cannot read this request")
                if isinstance(answer, CallError):
                    self._send([CALLERROR, identifier, answer.code, answer.description, answer.details])
                else:
                    self._send([CALLRESULT, identifier, answer])

    # -- what it does

    _boots: ClassVar[Payload] = {"reason": "PowerUp", "chargingStation": {"model": "Load", "vendorName": "v2g-engine"}}

    def _answered(self, action: str, payload: Payload) -> Payload | CallError:
        return ordinary_answer(action, payload)

    async def comes(self, after_s: float) -> None:
        """Connect and boot."""
        await asyncio.sleep(after_s)
        loop, load, limit_s = asyncio.get_running_loop(), self.load, self.load.plan.boot_s
        began = loop.time()
        try:
            await self._connect(limit_s)
        except TransportError as error:
            load.failures[str(error)] += 1
            return
        while True:
            answer = await self._boot()
            status = "no answer" if answer is None else str(answer.get("status"))
            if self.booted:
                break
            pause_s = max(0.1, float((answer or {}).get("interval") or 1))
            if loop.time() - began + pause_s > limit_s:
                load.failures[f"boot: {printable(status)}"] += 1
                self.cut()
                return
            await asyncio.sleep(pause_s)
        load.booted.add(loop.time() - began)
        await self._call("StatusNotification", self._status("Available"))

    async def _boot(self) -> Payload | None:
        answer = await self._call("BootNotification", self._boots)
        self.booted = answer is not None and answer.get("status") == "Accepted"
        return answer

    async def returns(self, began: float) -> None:
        """Connect again after a cut, more slowly after each refusal."""
        loop, load, limit_s, pause_s = asyncio.get_running_loop(), self.load, self.load.plan.reconnect_s, 0.5
        while True:
            try:
                await self._connect(max(0.1, limit_s - (loop.time() - began)))
                break
            except TransportError as error:
                load.refused += 1
                if loop.time() - began + pause_s > limit_s:
                    load.failures[str(error)] += 1
                    return
            await asyncio.sleep(pause_s)
            pause_s *= 2
        if await (self._call("Heartbeat", {}) if self.booted else self._boot()) is None:
            load.failures["no answer to the first request"] += 1
        else:
            load.reconnected.add(loop.time() - began)

    async def works(self, actions: Sequence[tuple[str, float]], for_s: float, place: float) -> None:
        """Send requests of each action at its interval, s, for some time; `place` from 0 to 1 spreads stations."""
        loop = asyncio.get_running_loop()
        end = loop.time() + for_s
        due = [(loop.time() + min(every, for_s) * place, every, action) for action, every in actions]
        heapq.heapify(due)
        while due and due[0][0] < end:
            at, every, action = due[0]
            if (early_s := at - loop.time()) > 0:
                await asyncio.sleep(early_s)
                self.load.lags.add(max(0.0, loop.time() - at))
            elif loop.time() > end:
                break
            heapq.heapreplace(due, (at + every, every, action))
            if self._client is None:
                await self._again(end)
            await self._report(action, at)
        await self._end()

    async def _end(self) -> None:
        if self._transaction:
            await self._call("TransactionEvent", self._event("Ended"))

    async def _report(self, action: str, due: float) -> None:
        """Send a request of an action; a TransactionEvent is what its version has for it."""
        await self._call(action, self._payload(action), due)

    async def _again(self, until: float) -> None:
        """Connect again after the back end has ended the connection."""
        loop = asyncio.get_running_loop()
        while self._client is None and loop.time() < until:
            with contextlib.suppress(TransportError):
                await self._connect(max(0.1, until - loop.time()))
                return
            await asyncio.sleep(1)

    async def floods(self, unread: int) -> None:
        """Send heartbeats and do not read; the transport buffers no more than 64 KiB."""
        client, self._client = self._client, None  # the back end may end this connection
        assert client is not None
        transport = client.transport
        transport.pause_reading()
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        try:
            for number in range(unread):
                client.send(f'[2,"slow-{number:030d}","Heartbeat",{{}}]')
                if not client.may_write:
                    await asyncio.sleep(0.01)
                elif number % 20 == 0:
                    await asyncio.sleep(0)
            await asyncio.shield(client.gone)
        finally:
            transport.abort()

    async def replays(self, events: int) -> None:
        """Send the events of a transaction that was offline, one after the other."""
        for number in range(events):
            ends = number == events - 1
            await self._call("TransactionEvent", self._event("Ended" if ends else "Updated", offline=True))

    def _payload(self, action: str) -> Payload:
        match action:
            case "Heartbeat":
                return {}
            case "StatusNotification":
                return self._status("Occupied" if self._transaction else "Available")
            case "MeterValues":
                return {"evseId": 1, "meterValue": [self._values("Sample.Clock")]}
        return self._event("Updated")

    def _status(self, status: str) -> Payload:
        return {"timestamp": self.load.now(), "connectorStatus": status, "evseId": 1, "connectorId": 1}

    def _values(self, context: str) -> Payload:
        """Return a meter value; the register counts requests."""
        values = (("Energy.Active.Import.Register", 10.0 * self._numbers, "Wh"), ("Power.Active.Import", 11_000, "W"))
        sampled = [
            {"value": value, "context": context, "measurand": measurand, "unitOfMeasure": {"unit": unit}}
            for measurand, value, unit in values
        ]
        return {"timestamp": self.load.now(), "sampledValue": sampled}

    def _event(self, kind: Literal["Updated", "Ended"], *, offline: bool = False) -> Payload:
        """Return the next event of the transaction; the first one starts it."""
        if not self._transaction:
            self._transactions += 1
            self._transaction, self._seq_no = f"{self.identity}-{self.load.clock.utc_ms()}-{self._transactions}", -1
        self._seq_no += 1
        began = self._seq_no == 0
        info: Payload = {"transactionId": self._transaction, "chargingState": "Charging"}
        event: Payload = {
            "eventType": "Started" if began else kind,
            "triggerReason": "CablePluggedIn" if began else {"Updated": "MeterValuePeriodic"}.get(kind, "EVDeparted"),
            "timestamp": self.load.now(),
            "seqNo": self._seq_no,
            "transactionInfo": info,
            "evse": {"id": 1, "connectorId": 1},
            "meterValue": [self._values("Transaction.Begin" if began else "Sample.Periodic")],
        }
        if offline:
            event["offline"] = True
        if began:
            event["idToken"] = self.load.declared.token.payload
        elif kind == "Ended":
            info |= {"chargingState": "Idle", "stoppedReason": "EVDisconnected"}
            event["meterValue"] = [self._values("Transaction.End")]
            self._transaction = ""
        return event


class _Station16(_Station):
    """One that speaks 1.6: events are StartTransaction, MeterValues of the transaction and StopTransaction."""

    _boots: ClassVar[Payload] = {"chargePointModel": "Load", "chargePointVendor": "v2g-engine"}
    _number = 0

    def _answered(self, action: str, payload: Payload) -> Payload | CallError:
        return ordinary_answer_16(action, payload)

    async def _report(self, action: str, due: float) -> None:
        if action == "TransactionEvent" and not self._transaction:
            await self._start(due)
        else:
            await self._call("MeterValues" if action == "TransactionEvent" else action, self._payload(action), due)

    async def _start(self, due: float | None = None) -> None:
        """Begin a transaction; without an answer the next event tries again."""
        about = {"connectorId": 1, "idTag": self.load.declared.token.id, "meterStart": 10 * self._numbers}
        answer = await self._call("StartTransaction", about | {"timestamp": self.load.now()}, due)
        number = (answer or {}).get("transactionId")
        if isinstance(number, int):
            self._transaction, self._number = str(number), number

    async def _end(self) -> None:
        if self._transaction:
            about = {"transactionId": self._number, "meterStop": 10 * self._numbers, "reason": "EVDisconnected"}
            self._transaction = ""
            await self._call("StopTransaction", about | {"timestamp": self.load.now()})

    async def replays(self, events: int) -> None:
        await self._start()
        for _ in range(events - 2):
            await self._call("MeterValues", self._payload("TransactionEvent"))
        await self._end()

    def _payload(self, action: str) -> Payload:
        if action in ("MeterValues", "TransactionEvent"):
            named = {"transactionId": self._number} if self._transaction else {}
            context = "Sample.Periodic" if action == "TransactionEvent" else "Sample.Clock"
            return {"connectorId": 1, "meterValue": [self._values(context)], **named}
        if action == "StatusNotification":
            return self._status("Charging" if self._transaction else "Available")
        return {}

    def _status(self, status: str) -> Payload:
        return {"timestamp": self.load.now(), "status": status, "errorCode": "NoError", "connectorId": 1}

    def _values(self, context: str) -> Payload:
        values = (
            ("Energy.Active.Import.Register", str(10 * self._numbers), "Wh"),
            ("Power.Active.Import", "11000", "W"),
        )
        sampled = [
            {"value": value, "context": context, "measurand": measurand, "unit": unit}
            for measurand, value, unit in values
        ]
        return {"timestamp": self.load.now(), "sampledValue": sampled}
