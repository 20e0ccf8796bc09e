"""A charging station on the bench: a CSMS that does what a test says, hardware by hand, and time by turning a knob.

Every frame of the station is checked: its form by OCPP-J, its payload by the official JSON schema. Nothing sleeps.
"""

import itertools
import json
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from tests.ocpp.official import validator
from v2g.iso15118.engine.session import Fact
from v2g.observe import Observe
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.provisioning import BootReason
from v2g.ocpp.routes import Version
from v2g_station.blocks.connection.network import first_profile
from v2g_station.blocks.evse import AllowPower, Bay, Indicate, Lock, Plug, Power, Restart, TokenPresented
from v2g_station.blocks.settings import StationSettings
from v2g_station.blocks.transaction_records import MeterSample
from v2g_station.kernel.kernel import Action, Connect, Disconnect, Keep, Moment, Ping, SendToCsms, StationCommand
from v2g_station.kernel.layout import ConnectorLayout, EvseLayout, StationLayout, TerminalLayout
from v2g_station.station import StationCore

CALL, CALLRESULT, CALLERROR, SEND = 2, 3, 4, 6
START_MS = 1_780_000_200_000
"""28 May 2026, 20:30 UTC."""

Payload = dict[str, Any]
Answer = Payload | Exception | None | Callable[[Payload], Any]
"""What the CSMS answers: a payload, a CALLERROR, or nothing at all (None)."""

SOCKET = EvseLayout(
    connectors=(ConnectorLayout(connector_type="sType2", fixed_cable=False),), phases=3, max_power_w=22_000
)
FIXED = EvseLayout(connectors=(ConnectorLayout(),), max_power_w=150_000)


class Refused(Exception):
    """A CALLERROR."""

    def __init__(self, code: str, description: str = "") -> None:
        super().__init__(f"{code}: {description}")
        self.code = code
        self.description = description


def at(ms: int) -> str:
    """Return a time as OCPP writes it."""
    from v2g.ocpp.times import format_time

    return format_time(ms)


class Bench:
    """The station and everything around it. Two EVSEs with sockets unless said otherwise."""

    def __init__(
        self,
        version: Version = "2.0.1",
        *,
        evses: tuple[EvseLayout, ...] = (SOCKET, SOCKET),
        variables: Mapping[str, str] | None = None,
        power: bool = True,
        optional: tuple[str, ...] = (),
        terminal: TerminalLayout | None = None,
        **settings: Any,
    ) -> None:
        self.version: Version = version
        self.layout = StationLayout(evses=evses, serial_number="CS-1", optional=optional, terminal=terminal)
        self.settings = settings
        self.now, self.utc_ms = 1000.0, START_MS
        self.saved: dict[str, dict[str, bytes]] = {}
        self.log: list[tuple[str, Payload]] = []
        self.unread: deque[tuple[str, Payload]] = deque()
        self.commands: list[StationCommand] = []
        self.pings: list[Ping] = []
        self.connects: list[Connect] = []
        self.observed: list[Observe] = []
        self.has_defects = False
        """Whether defects of the station, which it contains, are what a test is about."""
        self.writes = 0
        self.accepting: Callable[[Connect], bool] = lambda _: True
        self.connected = False
        self.registration: deque[tuple[str, int]] = deque()
        self.answers: dict[str, Answer] = {}
        self.meter_mwh: dict[int, int] = dict.fromkeys(range(len(evses) + 1), 1_000_000)
        """What the meter of every EVSE shows."""
        self.power_w = 11_000
        self.powers_w: dict[int, int] | None = None
        """Those of each EVSE, where they differ."""
        self.lines: dict[str, tuple[float, ...]] = {}
        self.signs = False
        self.metered = True
        self.services: set[str] = set()
        """Energy transfer modes that the EVSEs serve."""
        self.restarts = 0
        self._ids = itertools.count(1)
        self._coming: deque[Callable[[], list[Action]]] = deque()
        self._busy = False
        self._results: dict[str, Payload | Exception] = {}
        self._unanswered: dict[str, str] = {}
        self._entropy = itertools.count(1)
        self.reset_at_once = True
        for key, value in (variables or {}).items():
            self.saved.setdefault("variables", {})[key] = value.encode()
        self.station = self.make("PowerUp", same_boot=False)
        if power:
            self.power_up()

    # -- power

    def make(self, reason: BootReason, *, same_boot: bool) -> StationCore:
        """Return a station that starts with what the one before has stored."""
        settings = {
            "identity": "CS-1",
            "network": first_profile("ws://csms.example/ocpp", security_profile=1, message_timeout=30),
            "layout": self.layout,
            "versions": (self.version,),
            "boot_reason": reason,
            "same_boot": same_boot,
            **self.settings,
        }
        return StationCore(
            StationSettings(**settings),
            {collection: dict(entries) for collection, entries in self.saved.items()},
            self.moment,
            entropy=lambda n: next(self._entropy).to_bytes(n, "big"),
            read=self.read,
            serves=lambda _evse, modes: not self.services.isdisjoint(modes),
        )

    def power_up(self) -> None:
        """Start the station and let it boot."""
        self.run(self.station.start(self.moment))

    def power_loss(self, *, away_s: float = 5.0, same_boot: bool = False) -> None:
        """Take the power away and give it back; what was kept is there again."""
        self.connected = False
        self.advance_clock(away_s)
        self.station = self.make("PowerUp", same_boot=same_boot)
        self.power_up()

    @property
    def moment(self) -> Moment:
        """Now."""
        return Moment(self.now, self.utc_ms)

    def advance_clock(self, seconds: float) -> None:
        """Let time pass for everybody but the station."""
        self.now += seconds
        self.utc_ms += round(seconds * 1000)

    def wait(self, seconds: float) -> None:
        """Let time pass: the station does what falls due on the way."""
        end = self.now + seconds
        while (due := self.station.deadline()) is not None and due <= end:
            self.advance_clock(max(0.0, due - self.now))
            self.run(self.station.tick(self.moment))
        self.advance_clock(end - self.now)
        self.run(self.station.tick(self.moment))

    # -- the CSMS

    def drop(self, *, accept_again: bool = False) -> None:
        """Cut the connection."""
        self.accepting = lambda _: accept_again
        self.connected = False
        self.run(self.station.closed("cut", self.moment))

    def back(self, patience: float = 200.0) -> None:
        """Accept connections again and wait for the station."""
        self.accepting = lambda _: True
        waited = 0.0
        while not self.connected and waited < patience:
            self.wait(1.0)
            waited += 1.0
        assert self.connected, "the station did not come back"

    def ask(self, action: str, payload: Payload | None = None, **fields: Any) -> Payload:
        """Send a request to the station; return its answer. Raises Refused for a CALLERROR."""
        identifier = f"csms-{next(self._ids)}"
        self.run(self.station.receive(json.dumps([CALL, identifier, action, payload or fields]), self.moment))
        result = self._results.pop(identifier)
        if isinstance(result, Exception):
            raise result
        validator(f"{action}Response", self.version).validate(result)
        return result

    def ask_later(self, action: str, **fields: Any) -> Callable[[], Payload]:
        """Send a request whose answer takes time; the returned function gives it."""
        identifier = f"csms-{next(self._ids)}"
        self.run(self.station.receive(json.dumps([CALL, identifier, action, fields]), self.moment))

        def result() -> Payload:
            found = self._results.pop(identifier)
            assert not isinstance(found, Exception), found
            validator(f"{action}Response", self.version).validate(found)
            return found

        return result

    def _receive(self, text: str) -> None:
        frame = json.loads(text)
        assert self.connected, "a frame without a connection"
        assert isinstance(frame, list)
        if frame[0] == CALL:
            _, identifier, action, payload = frame
            assert 0 < len(identifier) <= 36
            validator(action if self.version == "1.6" else f"{action}Request", self.version).validate(payload)
            self.log.append((action, payload))
            self.unread.append((action, payload))
            self._answer(identifier, action, payload)
        elif frame[0] == SEND:
            _, _, action, payload = frame
            validator(action, self.version).validate(payload)
            self.log.append((action, payload))
            self.unread.append((action, payload))
        elif frame[0] == CALLRESULT:
            self._results[frame[1]] = frame[2]
        else:
            assert frame[0] == CALLERROR, frame
            self._results[frame[1]] = Refused(frame[2], frame[3])

    def _answer(self, identifier: str, action: str, payload: Payload) -> None:
        answer = self.answers[action] if action in self.answers else self._usual(action, payload)
        if callable(answer):
            answer = answer(payload)
        if answer is None:
            self._unanswered[action] = identifier
            return
        if isinstance(answer, Refused):
            frame: list[Any] = [CALLERROR, identifier, answer.code, answer.description, {}]
        else:
            assert isinstance(answer, dict)
            validator(f"{action}Response", self.version).validate(answer)
            frame = [CALLRESULT, identifier, answer]
        text = json.dumps(frame)
        self._coming.append(lambda: self.station.receive(text, self.moment) if self.connected else [])

    def answer_late(self, action: str, written: str | None = None, **answer: Any) -> None:
        """Answer the last request of an action that has got no answer."""
        payload = written or json.dumps(answer)
        self.run(self.station.receive(f'[{CALLRESULT},"{self._unanswered.pop(action)}",{payload}]', self.moment))

    def _usual(self, action: str, payload: Payload) -> Payload:
        match action:
            case "BootNotification":
                status, interval = self.registration.popleft() if self.registration else ("Accepted", 3600)
                return {"currentTime": at(self.utc_ms), "interval": interval, "status": status}
            case "Heartbeat":
                return {"currentTime": at(self.utc_ms)}
            case "Authorize":
                return {"idTokenInfo": {"status": "Accepted"}}
            case "TransactionEvent" if "idToken" in payload:
                return {"idTokenInfo": {"status": "Accepted"}}
            case (
                "OpenPeriodicEventStream"
                | "DataTransfer"
                | "SignCertificate"
                | "NotifyEVChargingNeeds"
                | "NotifyEVChargingSchedule"
            ):
                return {"status": "Accepted"}
        return {}

    # -- what the station said

    def expect(self, action: str, **fields: Any) -> Payload:
        """Return the next message of an action; it has these values, which may be nested by `__`."""
        for position, (name, payload) in enumerate(self.unread):
            if name == action and all(_get(payload, path) == value for path, value in fields.items()):
                for _ in range(position + 1):
                    self.unread.popleft()
                return payload
        raise AssertionError(f"no {action} {fields} in {[(n, p) for n, p in self.unread]}")

    def nothing(self, action: str, **fields: Any) -> None:
        """Check that no such message has come since the last one that was expected."""
        for name, payload in self.unread:
            if name == action and all(_get(payload, path) == value for path, value in fields.items()):
                raise AssertionError(f"unexpected {action}: {payload}")

    def clear(self) -> None:
        """Forget what the station has said."""
        self.unread.clear()

    def all(self, action: str) -> list[Payload]:
        """Return all messages of an action since the start."""
        return [payload for name, payload in self.log if name == action]

    # -- hardware

    def read(self, evse_id: int, _context: str = "Other") -> MeterSample | None:
        """Return what a meter shows; None from one that does not answer."""
        from v2g_station.blocks.transaction_records import SignedRegister

        if not self.metered:
            return None
        signed = (SignedRegister(register="import", data='OCMF|{"RD":[]}|{"SD":"00"}', public_key=b"\x30\x59"),)
        return MeterSample(
            utc_ms=self.utc_ms,
            import_mwh=self.meter_mwh[evse_id],
            export_mwh=0,
            power_w=self.power_w if self.powers_w is None else self.powers_w[evse_id],
            voltage_v=230.0,
            current_a=16.0,
            **self.lines,
            signed=signed if self.signs else (),
        )

    def fact(self, fact: Fact) -> None:
        """Let hardware tell something."""
        self.run(self.station.handle(fact, self.moment))

    def plug(self, evse_id: int = 1, *, vehicle: bool = True, station: bool = True, connector_id: int = 1) -> None:
        """Plug a cable."""
        self.fact(Plug(evse_id=evse_id, connector_id=connector_id, station=station, vehicle=vehicle))

    def unplug(self, evse_id: int = 1, *, station: bool | None = None) -> None:
        """Pull the cable: at the vehicle, and at the station where it does not hang on it."""
        fixed = self.layout.evses[evse_id - 1].connectors[0].fixed_cable
        self.plug(evse_id, vehicle=False, station=fixed if station is None else station)

    def present(self, token: str = "TAG-1", evse_id: int | None = 1, *, kind: str = "ISO14443", **more: Any) -> None:
        """Present a card."""
        self.fact(TokenPresented(id_token=IdToken(id_token=token, type=kind), evse_id=evse_id, **more))

    def flow(self, state: Any = "Charging", evse_id: int = 1, wh: int = 0) -> None:
        """Let energy flow or cease."""
        self.meter_mwh[evse_id] += wh * 1000
        self.fact(Power(evse_id=evse_id, state=state, phases=3 if state == "Charging" else None))

    def bay(self, evse_id: int = 1, *, occupied: bool) -> None:
        """Let a vehicle come or go."""
        self.fact(Bay(evse_id=evse_id, occupied=occupied))

    def allowed(self, evse_id: int = 1) -> bool:
        """Return whether energy may flow."""
        orders = [c for c in self.commands if isinstance(c, AllowPower) and c.evse_id == evse_id]
        return bool(orders) and orders[-1].allowed

    def locked(self, evse_id: int = 1) -> bool:
        """Return whether the cable is locked."""
        orders = [c for c in self.commands if isinstance(c, Lock) and c.evse_id == evse_id]
        return bool(orders) and orders[-1].locked

    def shown(self) -> list[str]:
        """Return what drivers were shown."""
        return [c.word for c in self.commands if isinstance(c, Indicate)]

    # -- running

    def run(self, actions: list[Action]) -> None:
        """Carry out what the station wants, and what follows from that."""
        self.carry_out(actions)
        if self._busy:
            return
        self._busy = True
        try:
            while self._coming:
                self.carry_out(self._coming.popleft()())
        finally:
            self._busy = False

    def carry_out(self, actions: list[Action]) -> None:
        """Do what the station wants."""
        """Do all it keeps first, as a shell does."""
        kept = [action for action in actions if isinstance(action, Keep)]
        for action in kept:
            collection = self.saved.setdefault(action.collection, {})
            if action.body is None:
                collection.pop(action.key, None)
            else:
                collection[action.key] = action.body
        self.writes += any(action.durable for action in kept)
        for action in actions:
            match action:
                case SendToCsms(text=text):
                    if self.connected:
                        self._receive(text)
                case Connect():
                    self._connect(action)
                case Disconnect():
                    self.connected = False
                case Ping():
                    self.pings.append(action)
                case Restart(evse_id=None) if self.reset_at_once:
                    self.commands.append(action)
                    self._restart()
                    return
                case StationCommand():
                    self.commands.append(action)
                case Observe():
                    assert action.name != "station_defect" or self.has_defects, action.data
                    self.observed.append(action)

    def _connect(self, action: Connect) -> None:
        self.connects.append(action)
        if self.accepting(action):
            self.connected = True
            self._coming.append(lambda: self.station.opened(self.version, self.moment))
        else:
            self._coming.append(lambda: self.station.failed("refused", self.moment))

    def _restart(self) -> None:
        self.restarts += 1
        self.connected = False
        self._coming.clear()
        self.station = self.make("PowerUp", same_boot=True)
        self._coming.append(lambda: self.station.start(self.moment))

    # -- variables

    def get(self, component: str, variable: str, **more: Any) -> Payload:
        """Read one variable; return the result."""
        data = {"component": {"name": component}, "variable": {"name": variable}} | more
        result: Payload = self.ask("GetVariables", getVariableData=[data])["getVariableResult"][0]
        return result

    def set(self, component: str, variable: str, value: str, *, instance: str | None = None) -> str:
        """Write one variable; return the status."""
        name: Payload = {"name": variable} | ({"instance": instance} if instance else {})
        data = {"component": {"name": component}, "variable": name, "attributeValue": value}
        status: str = self.ask("SetVariables", setVariableData=[data])["setVariableResult"][0]["attributeStatus"]
        return status


def _get(payload: Any, path: str) -> Any:
    for part in path.split("__"):
        if not isinstance(payload, dict) or part not in payload:
            return None
        payload = payload[part]
    return payload
