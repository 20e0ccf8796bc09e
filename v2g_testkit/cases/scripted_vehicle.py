"""A vehicle that behaves correctly until a case begins, then executes the case; an edition adds its messages.

It is a core without I/O (`v2g.iso15118.engine.session`): a shell runs it on a connection, and reads the
observation in `seen`.
"""

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import ClassVar, Final, Protocol

from v2g.errors import CodecError, Iso15118Error, RefusedError
from v2g.exi.declare import Element
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.charts import PARALLEL
from v2g.iso15118.engine import sequence
from v2g.iso15118.engine.app_protocol import SupportedAppProtocolRes
from v2g.iso15118.engine.message_timing import MessageTiming
from v2g.iso15118.engine.sequence import Asks, Chart, Edge, Says, State
from v2g.iso15118.engine.session import Command, Entropy, Fact, Send, Session
from v2g_testkit.cases import case
from v2g_testkit.cases.known import NEAR_V, Kit
from v2g_testkit.cases.malformed import FORMS, HEADERS, MOST_S, Form

Hop = tuple[str, Edge]
"""Name of a request, and its desired result."""

Usual = Callable[[State, str, Edge, State], bool]
"""Returns whether a vehicle takes an edge, the named request's in a state, on its way to a goal."""

ASIDE: Final = frozenset(
    {"VehicleCheckInReq", "VehicleCheckOutReq", "CertificateInstallationReq", "MeteringConfirmationReq"}
)
_UNPLANNED: Final = frozenset({Says.WARNING, Says.EXPIRES_SOON, Says.OLD_SESSION, Says.MORE, Says.RECEIPT_REQUIRED})
RENEGOTIATED: Final = frozenset({State.SCHEDULE_RENEGOTIATION, State.POWER_DELIVERY_RENEGOTIATED})
RESTING: Final = frozenset({State.STANDBY, State.STANDBY_RENEGOTIATION})
"""States without energy in which a vehicle stays connected."""


def usual(state: State, name: str, edge: Edge, goal: State) -> bool:
    """Return whether a vehicle on its way to `goal` takes this edge in ISO 15118-20."""
    if name == "SessionStopReq":
        return state is State.SESSION_STOP and edge.to is goal and edge.asks in (Asks.TERMINATE, Asks.PAUSE)
    if name == "PowerDeliveryReq":
        if state is State.DC_PRE_CHARGE_ONGOING:  # some chargers require Finished first
            return False
        if edge.asks is Asks.STOP:
            return state in PARALLEL
        if edge.asks is Asks.STANDBY:
            return goal in RESTING and state in PARALLEL
        if edge.asks is Asks.RENEGOTIATION:
            return goal is State.STANDBY_RENEGOTIATION if state in RESTING else goal in RENEGOTIATED
    return True


def next_hop(chart: Chart, start: State, goal: State, takes: Usual = usual) -> Hop | None:
    """Return the first exchange of a shortest usual path from `start` to `goal`, or None without one."""
    first: dict[State, Hop] = {}
    waiting = deque([start])
    seen = {start}
    while waiting:
        state = waiting.popleft()
        for name, edge in _ways(chart, state, goal, takes):
            if edge.to in seen:
                continue
            seen.add(edge.to)
            first[edge.to] = first.get(state, (name, edge))
            if edge.to is goal:
                return first[edge.to]
            waiting.append(edge.to)
    return None


def _ways(chart: Chart, state: State, goal: State, takes: Usual) -> Iterator[Hop]:
    for name, edges in chart[state].items():
        if name in ASIDE:
            continue
        for edge in edges:
            if edge.says not in _UNPLANNED and takes(state, name, edge, goal):
                yield name, edge


def reachable(chart: Chart, start: State = State.SUPPORTED_APP_PROTOCOL) -> tuple[State, ...]:
    """Return the states that a tester can try to reach, in the order of the chart."""
    return tuple(state for state in chart if state is start or next_hop(chart, start, state) is not None)


ANSWER_S: Final = 3.0
"""Time beyond a vehicle's time-out for which the tester waits, to observe late answers, s."""

POLL_S: Final = 0.1
"""Pause before a request is repeated because one side has not finished, s; also in the charge loop."""

LOOPED: Final = 2
"""Exchanges of the charge loop after which energy counts as flowing."""

NOTICE_S: Final = 30.0
"""Maximum wait for the charger's notice after its operator has ended the session, s."""

STOPPING_S: Final = 3.0
"""Tolerated energy after the last request, as seconds at the vehicle's power."""

PRE_CHARGE_S: Final = 3.0
"""Maximum wait for the pre-charge voltage, s."""

DEAD_V: Final = 60.0
"""Below this voltage a charger is assumed to have no power electronics, V."""

DISCHARGED_S: Final = 3.0
"""Maximum time until a charger's output is below that voltage in the welding detection, s."""

_MOST_EXCHANGES: Final = 2000


UNFINISHED: Final = "does not finish in time"
"""Fact about a charger that keeps a vehicle waiting."""

SERVES: Final = "answers the next request"
"""Fact about a charger after bytes that it must ignore."""

Exchange = tuple[str, Asks, Says]
"""Name of a request, its intent and the desired result."""


class ShowPilot(Command, frozen=True):
    """Set the state of the control pilot; answered by `PilotShown`."""

    state: PilotState


class PilotShown(Fact, frozen=True):
    """The control pilot has the state, or is not measured."""


class EndAtCharger(Command, frozen=True):
    """End the session at the charger, as by its operator."""


class Memory(Protocol):
    """What a vehicle remembers of its sessions in one case."""

    session_id: bytes
    earlier_ids: list[bytes]
    voltage: float
    pre_charged: bool

    def begin(self) -> None:
        """Discard the state of one session."""

    @property
    def energy_wh(self) -> int | None:
        """The meter's counts, Wh; None if the charger does not report them."""


class ScriptedVehicle(Session):
    """Runs one script against a charger. `known` is the memory of earlier connections in the same case."""

    messages: ClassVar[Mapping[str, MessageTiming]]
    """The edition's time limits of requests."""
    ongoing_s: ClassVar[float]
    """How long a charger may keep the vehicle in one state, s."""
    loops: ClassVar[frozenset[State]]

    def __init__(self, script: case.Script, kit: Kit, known: Memory, *, entropy: Entropy) -> None:
        super().__init__(entropy=entropy)
        self.seen = case.Seen(reached=False)
        self._script = script
        self._kit = kit
        self._memory = known
        self._pending: Element | None = None
        self._asked_at = self._answered_at = 0.0
        self._probing = False
        self._stimulus_at: float | None = None
        self._pilot = PilotState.B
        self._then: Callable[[], None] | None = None
        """What follows once the control pilot has its state."""
        self._pieces: list[bytes] = []
        self._pause = 0.0
        self._probing_since = 0.0
        """When the case's request was sent first."""
        self._follows = False
        """Whether a correct request has followed the bytes of the case."""
        self._exchanges = 0
        self._since = 0.0
        self._detour, self._away = script.detour, False
        self._notified_at: float | None = None
        self._beyond: list[str] = []
        """What the latest message has beyond its schema."""
        self._loops: list[tuple[float, int | None]] = []
        """Start of the charge loop's answers, and the meter's count, Wh."""
        self._counted: tuple[float, int, float] | None = None
        """Before the detour: time of the last meter reading, its count, and rate, Wh/s."""

    # -- what an edition adds -----------------------------------------------------------------------------------

    @property
    @abstractmethod
    def _chart(self) -> Chart:
        """The sequence chart."""

    @abstractmethod
    def _make(self, name: str, asks: Asks = Asks.ANYTHING, says: Says = Says.ANYTHING) -> Element:
        """Return a valid request."""

    @abstractmethod
    def _changed(self, change: str, request: Element) -> Element:
        """Return the request with the named fault. Raises RefusedError where the case does not apply."""

    @abstractmethod
    def _say(self, request: Element) -> None:
        """Send a request."""

    @abstractmethod
    def _framed(self, request: Element) -> bytes:
        """Return a request as V2GTP frame."""

    @abstractmethod
    def _learn(self, request: Element, message: Element) -> None:
        """Store the data of a response that later requests need."""

    @abstractmethod
    def _faults(self, request: Element, message: Element) -> list[str]:
        """Return what is wrong with a response, before it is learnt."""

    @abstractmethod
    def _prepare(self, name: str) -> str:
        """Make the choices for the next request; return why the device does not support them, or nothing."""

    @abstractmethod
    def _stops_power(self, request: Element) -> bool:
        """Return whether a request ends the transfer of energy."""

    @abstractmethod
    def _asks_to_stop(self, message: Element) -> bool:
        """Return whether a response demands the end of the session."""

    @abstractmethod
    def _charging(self, name: str, asks: Asks) -> bool:
        """Return whether a request is sent in state C of the control pilot."""

    @abstractmethod
    def _loop_hop(self) -> Exchange:
        """Return the request that continues a loop."""

    @abstractmethod
    def _is_of_loop(self, name: str) -> bool:
        """Return whether a response is one of a charge loop."""

    def _probes_in_c(self, request: Element) -> bool:
        """Return whether the case's request is sent in state C, although the way to it was not."""
        return False

    def _repeated(self) -> Exchange | None:
        """Return the exchange to repeat before the vehicle goes on, if any."""
        return self._loop_hop() if self.state in self.loops and self._wants_to_loop() else None

    def _usual(self, state: State, name: str, edge: Edge, goal: State) -> bool:
        """Return whether a vehicle on its way to `goal` takes this edge of the chart."""
        return usual(state, name, edge, goal)

    def _closes_contactor(self, name: str, asks: Asks, says: Says) -> bool:
        """Return whether the vehicle closes its contactor with a request, so that the voltage must be there."""
        return False

    def _unfinished(self, message: Element) -> bool:
        """Return whether a positive response says that the charger has not finished."""
        processing = getattr(message, "evse_processing", None)
        return processing is not None and processing.name.startswith("Ongoing")

    def _refused_standby(self, request: Element) -> bool:
        """Return whether a request was for standby, which may be refused."""
        return False

    # -- hooks of the engine ------------------------------------------------------------------------------------

    def _on_start(self) -> None:
        if self._script.pilot and not self._kit.sets_pilot:
            self._not_here("the tester does not set the control pilot (give --pilot)")
            return
        if not self._script.resume:
            self._memory.begin()
        self.session_id = self._memory.session_id
        self._since = self._answered_at = self._time.now
        self._go()

    def _received(self, message: Element, session_id: bytes) -> None:
        """Handle a message, with the SessionID in its header."""
        name = type(message).__name__
        if not name.endswith("Res"):
            self._unasked(name)
            return
        if self._probing:
            self._judged(message, name, session_id)
            return
        request = self._pending
        if request is None:
            return  # an unexpected answer, or one of a side stream
        asked = type(request).__name__
        self._disarm("message")
        self._answered_at = self._time.now
        self.seen.times.append((asked, self._time.now - self._asked_at))
        if name != asked.removesuffix("Req") + "Res":
            self._trouble(f"{asked} was answered with {name}")
            return
        code = sequence.code_of(message)
        if sequence.is_failed(message):
            if self._away and self._detour is not None and asked == self._detour.request:
                self._not_here(f"{asked} was answered {code} in {self.state.value}")
            else:
                pilot = "; is the control pilot in state C (--pilot)?" if asked.endswith("CableCheckReq") else ""
                self._trouble(f"{asked} was answered {code}{pilot}")
            return
        self._pending = None
        self._hear(request, message, session_id)
        if self.closed:
            return
        before, self.state = self.state, sequence.advance(self.state, request, message, self._chart)
        if self.state is State.ENDED and (self._script.goal is not State.ENDED or asked != "SessionStopReq"):
            self._trouble(f"{asked} was answered {code}, after which no valid sequence remains")
            return
        if before is not self.state:
            self._since = self._time.now
        elif self._refused_standby(request):
            self._not_here(f"standby is not allowed: {code}")
            return
        if self._stops_power(request) and self._script.pilot != "C":
            self._show(PilotState.B)
        if self._away and self._detour is not None and asked == self._detour.request:
            rest_s, self._detour = self._detour.rest_s, None
            self._arm("pace", rest_s)
        elif before is self.state:
            self._arm("pace", POLL_S)
        else:
            self._go()

    def _name_deviations(self) -> None:
        super()._name_deviations()
        self._beyond = [f"{case.WRONG}{each}" for each in self._deviations]

    def _on_padding(self, message: Element, octets: int) -> None:
        super()._on_padding(message, octets)
        self._beyond.append(f"{case.WRONG}{octets} octets after the end of the EXI stream")

    def _on_broken(self, error: CodecError) -> None:
        self.seen.facts.append(case.UNDECODABLE)
        if self._probing:
            self.seen.trouble = f"{case.UNDECODABLE}: {error}"
            self._finish()
        else:
            self._trouble(f"the device sent an undecodable message: {error}")

    def _on_eof(self) -> None:
        if not self._probing:
            self._trouble("the device closed the connection" + self._awaited())
            return
        assert self._stimulus_at is not None
        self.seen.closed_s = self._time.now - self._stimulus_at
        self._finish()

    def _on_fact(self, fact: Fact) -> None:
        if isinstance(fact, PilotShown) and self._then is not None:
            then, self._then = self._then, None
            then()

    def _on_timer(self, name: str) -> None:
        do = self._script.do
        if name in ("message", "answer"):
            self.seen.unfinished(self._framer.pending)
        match name:
            case "pace":
                self._go()
            case "piece":
                self._drip()
            case "again" if self._pending is not None:
                self.seen.answer = self.seen.code = ""
                self._stimulus_at = self._time.now
                self._say(self._pending)
                self._arm("answer", self.messages[self.seen.request].timeout + ANSWER_S)
            case "message":
                self.seen.times.append((type(self._pending).__name__, self._time.now - self._asked_at))
                instead = ", but ".join(("", *self.seen.unread))
                self._trouble(f"no answer to {type(self._pending).__name__}{instead}")
            case "answer" if (
                self._pending is not None and isinstance(do, case.Malformed) and do.again and not self._follows
            ):
                self._follows = True
                self._say(self._pending)
                self._arm("answer", self.messages[self.seen.request].timeout + ANSWER_S)
            case _:  # answer, end: the expected event has not come
                self._finish()

    def _on_abort(self, reason: str) -> None:
        self._trouble(reason)

    # -- on the way ---------------------------------------------------------------------------------------------

    def _go(self) -> None:
        """Make the next exchange on the way to the goal, or begin the case."""
        goal = self._script.goal if self._detour is None else self._detour.at
        again = self._repeated()
        if self.state is goal and again is None:
            if self._detour is None:
                self.seen.reached, self.seen.state = True, self.state.value
                self._disarm("pace")
                do = self._script.do
                match do:
                    case case.Nothing():
                        self._rest()
                    case case.Silence(seconds=seconds):
                        self._probe_from(self._answered_at)
                        self._arm("end", seconds)
                    case case.Ask(request=name, change=change):
                        self._put(name, change)
                    case case.Beside():
                        self._begin_beside(do)
                    case case.Malformed(form=form):
                        self._spoil({**FORMS, **HEADERS}[form])
            else:
                self._leave(self._detour)
            return
        if self._time.now - self._since > self.ongoing_s or self._exchanges > _MOST_EXCHANGES:
            self._trouble(f"the device stays in {self.state.value}")
            return
        found = next_hop(self._chart, self.state, goal, self._usual) if again is None else None
        if again is None and found is None:
            self.seen.state = self.state.value
            self._not_here(f"{goal.value} cannot be reached any more from {self.state.value}")
            return
        hop = again if found is None else (found[0], found[1].asks, found[1].says)
        assert hop is not None
        if why := self._prepare(hop[0]):
            self._not_here(why)
            return
        if why := self._other_voltage(hop):
            self._trouble(why, at_fault=True)
            return
        wanted = self._pilot_for(*hop[:2])
        if wanted is not self._pilot:
            self._show(wanted, partial(self._ask, *hop))
            return
        self._ask(*hop)

    def _wants_to_loop(self) -> bool:
        detour = self._detour
        if detour is None or len(self._loops) < LOOPED:
            return len(self._loops) < LOOPED
        if not self._away:
            return self._time.now - self._loops[0][0] < detour.before_s
        if self._notified_at is None and self._time.now - self._since < NOTICE_S:
            return True
        if self._notified_at is None:
            self.seen.facts.append("gives no notice that it ends the session")
        elif self._time.now - self._notified_at < detour.rest_s:
            return True
        self._compare()
        self._detour = None
        return False

    # -- on a detour --------------------------------------------------------------------------------------------

    def _leave(self, detour: case.Detour) -> None:
        """Execute the script's detour."""
        if detour.before_s and (why := self._count()):
            self._not_here(why)
            return
        self._away, self._loops, self._since = True, self._loops[-1:], self._time.now
        if not detour.request:
            if not self._kit.stops:
                self._not_here("the session cannot be ended at the charger (give --stop)")
                return
            self._command(EndAtCharger())
            self._go()
            return
        self._loops = []
        try:
            request = self._changed(detour.change, self._make(detour.request, detour.asks))
        except RefusedError as error:
            self._not_here(str(error))
            return
        self._put_request(request)

    def _count(self) -> str:
        """Record the meter's rate; return why it is not observable, or nothing."""
        (began, first), (ended, last) = self._loops[0], self._loops[-1]
        if first is None or last is None:
            return "the charger does not report its meter"
        if last == first:
            return f"the meter does not advance in {ended - began:.0f} s: there is no load"
        self._counted = ended, last, (last - first) / (ended - began)
        return ""

    def _compare(self) -> None:
        """Record energy that flowed after the last request. A meter in Wh may be off by one."""
        if self._counted is None or self._memory.energy_wh is None:
            return
        (at, before, rate), self._counted = self._counted, None
        drawn = self._memory.energy_wh - before
        if drawn > rate * STOPPING_S + 1:
            self.seen.facts.append(f"energy flows without a request: {drawn} Wh in {self._time.now - at:.0f} s")

    def _pilot_for(self, name: str, asks: Asks) -> PilotState:
        if self._script.pilot != "B" and self._charging(name, asks):
            return PilotState.C
        return self._pilot

    def _other_voltage(self, hop: Exchange) -> str:
        """Return why a vehicle must not close its contactor at the pre-charge voltage, or nothing."""
        known, kit = self._memory, self._kit
        if not self._closes_contactor(*hop) or not known.pre_charged:
            return ""
        if self._time.now - self._since < PRE_CHARGE_S or self._voltage_there:
            return ""
        if kit.without_power and known.voltage < DEAD_V:
            return ""
        hint = " (use --without-power if it has no power electronics)" if known.voltage < DEAD_V else ""
        return f"{known.voltage:g} V after {PRE_CHARGE_S:g} s of pre-charge, {kit.voltage:g} V were requested{hint}"

    @property
    def _voltage_there(self) -> bool:
        """Whether the charger reports the requested voltage, within the tolerance of a vehicle's contactor."""
        return abs(self._memory.voltage - self._kit.voltage) <= NEAR_V

    def _show(self, state: PilotState, then: Callable[[], None] | None = None) -> None:
        self._pilot, self._then = state, then
        self._command(ShowPilot(state))

    def _ask(self, name: str, asks: Asks, says: Says) -> None:
        try:
            request = self._make(name, asks, says)
        except Iso15118Error as error:
            self._trouble(f"{name} cannot be made from what the device offers: {error}")
            return
        self._put_request(request)

    def _put_request(self, request: Element) -> None:
        self._exchanges += 1
        self._pending, self._asked_at = request, self._time.now
        self._disarm("pace")
        self._say(request)
        self._arm("message", self.messages[type(request).__name__].timeout + ANSWER_S)

    def _hear(self, request: Element, message: Element, session_id: bytes) -> None:
        known, name = self._memory, type(message).__name__
        if name == "SessionSetupRes":
            if session_id in known.earlier_ids and not sequence.code_of(message).endswith("Joined"):
                self.seen.facts.append("gives a SessionID that it has given before")
            if not any(session_id):
                self.seen.facts.append("gives a SessionID of zeros")
            known.earlier_ids.append(session_id)
            known.session_id = session_id
        elif name != "SupportedAppProtocolRes" and session_id != known.session_id:
            self.seen.facts.append("answers with another SessionID")
        try:
            if self._probing or self._script.do == case.Nothing():  # on the way to a case they are of another one
                found = [*self._beyond, *self._faults(request, message)]
                self.seen.facts += [each for each in found if each not in self.seen.facts]
            self._learn(request, message)
        except Iso15118Error as error:  # a unit or value that no vehicle can use
            if self._probing:
                self.seen.facts.append(f"{case.WRONG}{error}")
            else:
                self._trouble(f"{name}: {error}")
            return
        self.session_id = known.session_id
        if self._is_of_loop(name):
            self._loops.append((self._time.now, known.energy_wh))
            if self._detour is None:
                self._compare()
        if self._asks_to_stop(message):
            self._notified_at = self._notified_at or self._time.now

    # -- at the goal --------------------------------------------------------------------------------------------

    def _begin_beside(self, do: case.Beside) -> None:
        """Begin the exchange on a side stream."""
        self._not_here("the edition has no side streams")

    def _rest(self) -> None:
        """Do nothing more; if the device must close, wait for it."""
        if self._script.expect.closes is None:
            self._finish()
            return
        self._probe_from(self._time.now)
        self._arm("end", case.CLOSING_S)

    def _put(self, name: str, change: str) -> None:
        if why := self._prepare(name):
            self._not_here(why)
            return
        try:
            request = self._changed(change, self._make(name))
        except RefusedError as error:
            self._not_here(str(error))
            return
        if self._pilot is not PilotState.C and self._script.pilot != "B" and self._probes_in_c(request):
            self._show(PilotState.C, partial(self._put, name, change))
            return
        self.seen.request = name
        self._probing_since = self._time.now
        self._probe_from(self._time.now)
        self._pending = request
        self._say(request)
        self._arm("answer", self.messages[name].timeout + ANSWER_S if name in self.messages else 5.0)

    def _spoil(self, form: Form) -> None:
        hop = self._loop_hop() if self.state in self.loops else self._ordinary()
        if why := self._prepare(hop[0]):
            self._not_here(why)
            return
        request = self._make(*hop)
        self._pieces = list(form(self._framed(request)))
        self._pause = MOST_S / len(self._pieces)
        self.seen.request = hop[0]
        self._pending = request
        self._probe_from(self._time.now)
        self._drip()
        self._arm("answer", self.messages[hop[0]].timeout + ANSWER_S + MOST_S)

    def _ordinary(self) -> Exchange:
        """Return a request that is in order here and not the last."""
        return next((name, edges[0].asks, edges[0].says) for name, edges in self._chart[self.state].items())

    def _drip(self) -> None:
        self._actions.append(Send(self._pieces.pop(0)))
        if self._pieces:
            self._arm("piece", self._pause)
        else:
            self._stimulus_at = self._time.now

    def _probe_from(self, now: float) -> None:
        self._probing, self._stimulus_at = True, now

    def _judged(self, message: Element, name: str, session_id: bytes) -> None:
        """Process the answer to the case's request, and observe whether the device closes."""
        if self._follows:
            served = not sequence.is_failed(message)
            self.seen.facts.append(SERVES if served else f"answers the next request {sequence.code_of(message)}")
            self._finish()
            return
        if self.seen.answer or self._script.do == case.Nothing():
            if (fact := f"sends {name} unasked") not in self.seen.facts:
                self.seen.facts.append(fact)  # a request that is sent twice may be answered twice
            else:
                self._unasked(name)
            return
        assert self._stimulus_at is not None
        self.seen.answer, self.seen.code = name, sequence.code_of(message)
        self.seen.answer_s = self._time.now - self._stimulus_at
        self.seen.times.append((self.seen.request, self.seen.answer_s))
        if isinstance(self._script.do, case.Silence):
            return
        if isinstance(message, SupportedAppProtocolRes) and message.schema_id is not None:
            self.seen.facts.append(f"SchemaID {message.schema_id}")
        pending = None if isinstance(message, SupportedAppProtocolRes) else self._pending
        if pending is not None and type(pending).__name__ == name.removesuffix("Res") + "Req":
            if session_id != self._memory.session_id and name != "SessionSetupRes":
                self.seen.facts.append("answers with another SessionID")
            if not sequence.is_failed(message):
                self._hear(pending, message, session_id)
                if self.closed:
                    return
        if self.seen.code == "FAILED_PauseNotAllowed" and self._script.detour is None:
            self._not_here("the charger does not allow pauses")
            return
        if isinstance(self._script.do, case.Ask) and self.seen.code in self._script.do.unless:
            self._not_here(f"the charger's back end has nothing for this vehicle: {self.seen.code}")
            return
        self._disarm("answer")
        if isinstance(self._script.do, case.Ask) and self._script.do.finished_s and self._unfinished(message):
            if self._time.now - self._probing_since < self._script.do.finished_s:
                self._arm("again", POLL_S)
                return
            self.seen.facts.append(UNFINISHED)
        self._stimulus_at = self._time.now
        expect = self._script.expect
        if expect.closes is True or expect.open or sequence.is_failed(message):
            self._arm("end", case.CLOSING_S)
        else:
            self._arm("end", POLL_S)

    # -- the end ------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        self.seen.state = self.seen.state or self.state.value
        if self._pilot is not PilotState.B:
            self._show(PilotState.B)
        self._close("done")

    def _not_here(self, why: str) -> None:
        self.seen.absent = why
        self._finish()

    def _trouble(self, why: str, *, at_fault: bool = False) -> None:
        self.seen.at_fault = at_fault
        goal = self._script.goal
        missed = "session not completed" if goal is State.ENDED else f"{goal.value} was not reached"
        self.seen.reached, self.seen.trouble = False, f"{missed}: {why}"
        self._finish()

    def _unasked(self, name: str) -> None:
        """End with a message that no charger may send here, whatever the case."""
        self.seen.at_fault, self.seen.trouble = True, f"sends {name} unasked"
        self._finish()

    def _awaited(self) -> str:
        return f", instead of answering {type(self._pending).__name__}" if self._pending is not None else ""
