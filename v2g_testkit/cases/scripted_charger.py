"""A charger that answers correctly except for one answer, and observes the vehicle; an edition adds its messages.

It is a core without I/O (`v2g.iso15118.engine.session`): a shell runs it on a connection, and reads the
observation in `seen`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar, Final

from v2g.errors import CodecError, V2GError
from v2g.exi.declare import Element
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine import sequence
from v2g.iso15118.engine.sequence import Chart, State
from v2g.iso15118.engine.session import Entropy, Fact, Send, Session
from v2g.typed_json import Fields
from v2g_testkit.cases.case import OPTIONAL, UNDECODABLE, ChargerScript, Seen
from v2g_testkit.cases.evcc_safety import EARLY_C
from v2g_testkit.cases.malformed import HEADERS, Form
from v2g_testkit.cases.quantities import NOISE, amount, numbers

_TARGETS: Final = {
    "ev_target_voltage": ("ev_maximum_voltage_limit", "ev_maximum_voltage"),
    "ev_present_voltage": ("ev_maximum_voltage",),
    "ev_target_current": ("ev_maximum_current_limit", "ev_maximum_charge_current"),
}
_BACK: Final = "ev_maximum_discharge_current"
"""The maximum of a negative current; itself of either sign."""
_MAXIMA: Final = frozenset(each for maxima in _TARGETS.values() for each in maxima)
_POSITIVE: Final = _MAXIMA | {"ev_target_voltage", "ev_present_voltage"}


class ScriptedResponses(ABC):
    """Creates responses, and stores the vehicle's data. Its faults are added to `facts`.

    A method `_NameReq` returns the fields of the response to that request.
    """

    def __init__(self, family: Family, facts: list[str]) -> None:
        self.family, self.facts = family, facts
        self.agreed = False
        self.voltage = self.current = 0.0
        self._polled: set[str] = set()
        self._bears: dict[str, tuple[str, float]] = {}
        """Field of a maximum of the vehicle -> its name in the schema, and value."""

    @abstractmethod
    def _response(self, name: str, fields: Fields) -> Element:
        """Return the response of this name, OK unless the fields say otherwise."""

    @abstractmethod
    def _serves(self, offered: app.AppProtocol) -> bool:
        """Return whether this is what a vehicle offers."""

    def make(self, request: Element) -> Element:
        """Return the response to a request. Raises KeyError for an unsupported one."""
        if isinstance(request, app.SupportedAppProtocolReq):
            ids = [each.schema_id for each in request.app_protocol]
            self.facts += (f"states SchemaID {each} for several protocols" for each in {*ids} if ids.count(each) > 1)
            own = [each for each in request.app_protocol if self._serves(each)]
            self.agreed = bool(own)
            if not own:
                return app.SupportedAppProtocolRes(response_code=app.ResponseCode.Failed_NoNegotiation)
            best = min(own, key=lambda each: each.priority)
            return app.SupportedAppProtocolRes(
                response_code=app.ResponseCode.OK_SuccessfulNegotiation, schema_id=best.schema_id
            )
        name = type(request).__name__
        maker: Callable[[Element], Fields] | None = getattr(self, f"_{name}", None)
        if maker is None:
            raise KeyError(name)
        self.facts += (fact for fact in self._excess(request) if fact not in self.facts)
        return self._response(name.removesuffix("Req") + "Res", maker(request))

    def _excess(self, request: Element) -> Iterator[str]:
        """Yield what a request asks for beyond what the vehicle says that it bears; one in fifty is rounding."""
        found = {name: (shown, amount(number)) for name, shown, number in numbers(request)}
        for name, (shown, value) in found.items():
            if name in _MAXIMA or name == _BACK:
                self._bears[name] = shown, abs(value)
            if value < (-NOISE if "present" in name else 0) and name in _POSITIVE:
                yield f"states {shown} {value:g}"
        for target, maxima in _TARGETS.items():
            back = target in found and found[target][1] < 0
            for most in (_BACK,) if back else maxima:
                if target in found and most in self._bears:
                    (shown, value), (shown_most, bears) = found[target], self._bears[most]
                    if abs(value) > bears * 1.02:
                        yield f"states {shown} {value:g}, its {shown_most} is {bears:g}"
        amperes = found.get("ev_target_current", ("", 0.0))[1]
        if amperes > 0 and not found.get("ev_target_voltage", ("", 1.0))[1]:
            yield f"states EVTargetVoltage 0 for {amperes:g} A"

    def _asked_before(self, name: str) -> bool:
        """Return whether a request came before, so that a vehicle must repeat it once."""
        before = name in self._polled
        self._polled.add(name)
        return before


STOP_AFTER: Final = 6
"""Exchanges of the loop after which the charger requests the end, to complete the session."""

MOST_LOOPS: Final = 200
"""Exchanges of the loop after which a vehicle has ignored a request to end."""

MOST_REQUESTS: Final = 5000
"""Requests of a connection; no case needs as many."""

LONGEST_S: Final = 600.0
"""Time for a vehicle to come to where a case begins, s."""

NOTICE_AT: Final = 3
"""The exchange of the loop in which the charger sends its notice, if configured."""

HOLD_S: Final = 0.02
"""Response time of the charger, s."""


PAUSES: Final = "stops the session: Pause"
JOINS: Final = "names the session before the pause"


class PilotSeen(Fact, frozen=True):
    """The measured state of the control pilot."""

    state: PilotState


class ScriptedCharger(Session):
    """Runs one connection of a vehicle."""

    _responses: ScriptedResponses
    ends: ClassVar[str]
    """The notice that demands the end of the session."""
    sequence_s: ClassVar[float]
    """How long a vehicle may take for its next request, s."""

    def __init__(self, script: ChargerScript, family: Family, *, entropy: Entropy) -> None:
        super().__init__(entropy=entropy)
        self.seen = Seen(reached=False)
        self.energy = family
        self._script = script
        self._counts: dict[str, int] = {}
        self._loops = self._requests = 0
        self._looping = self._measured = False
        self._bears = (0.0, 0.0)
        self._stimulus_at: float | None = None
        self._answered_at: float | None = None
        self._answer: tuple[Element, Element] | None = None
        self._paused_id = b""
        """The session that the vehicle may join."""
        self.forgotten: frozenset[bytes] = frozenset()
        """Sessions that it has paused in other cases: it may ask for them, and begins a new one."""

    def follow(self, before: "ScriptedCharger") -> None:
        """Continue after another connection of the same vehicle, on which it paused its session or did not."""
        self._paused_id = before.session_id if PAUSES in before.seen.facts else b""
        self._responses = before._responses
        self._responses.facts, self._responses.voltage = self.seen.facts, 0.0

    @property
    def output_v(self) -> float:
        """Voltage at the output, V."""
        return self._responses.voltage

    # -- what an edition adds -----------------------------------------------------------------------------------

    @property
    @abstractmethod
    def _chart(self) -> Chart:
        """The sequence chart."""

    @abstractmethod
    def _made(self, request: Element) -> Element:
        """Return the correct response. Raises KeyError for an unsupported request."""

    @abstractmethod
    def _coded(self, response: Element, code: str) -> Element:
        """Return a response with this code."""

    @abstractmethod
    def _out(self, response: Element) -> None:
        """Send a response."""

    @abstractmethod
    def _out_of_another_session(self, response: Element) -> None:
        """Send a response with another SessionID."""

    @abstractmethod
    def _framed(self, response: Element) -> bytes:
        """Return a response as V2GTP frame."""

    @abstractmethod
    def _of_another(self, name: str, response: Element) -> Element:
        """Return the response to another request than the named one."""

    @abstractmethod
    def _twisted(self, response: Element) -> Element:
        """Return a response with the script's fault in its content."""

    @abstractmethod
    def _with_notice(self, response: Element, notice: str) -> Element:
        """Return a response of the loop with a notice."""

    @abstractmethod
    def _is_loop(self, name: str) -> bool:
        """Return whether a request or response is of a charge loop."""

    @abstractmethod
    def _asked(self, request: Element) -> str:
        """Return the name of a request, with what it asks for."""

    def _counted(self) -> None:
        """Count energy, once an exchange of the loop."""

    def _look(self, request: Element) -> None:
        """Store what later responses need of a request."""

    # -- hooks of the engine ------------------------------------------------------------------------------------

    def _on_start(self) -> None:
        self._arm("sequence", self.sequence_s)
        self._arm("case", LONGEST_S)

    def _received(self, message: Element, session_id: bytes) -> None:
        """Handle a message, with the SessionID in its header."""
        name = type(message).__name__
        if not name.endswith("Req"):
            self.seen.facts.append(f"sends {name}")
            self._finish()
            return
        if self._answer is not None:
            self._fault(f"sends {name} before the response to its last request")
            return
        self._disarm("sequence")
        # check a request: its SessionID, its time, and the sequence
        self._counts[name] = self._counts.get(name, 0) + 1
        judged = self._stimulus_at is None or self._script.twist == "forgets"
        if name != "SupportedAppProtocolReq" and judged:
            new = name == "SessionSetupReq"
            other = any(session_id) and session_id not in {self._paused_id, *self.forgotten}
            if other if new else session_id != self.session_id:
                self.seen.facts.append(f"asks {name} with another SessionID")
        self._look(message)
        if self._answered_at is not None:
            self.seen.times.append(("ChargeLoop" if self._looping else name, self._time.now - self._answered_at))
        self._note_asked(message, name)
        if self.closed:
            return
        joined = self._joins(session_id) if name == "SessionSetupReq" else False
        if joined is None:
            return
        try:
            response = self._made(message)
            response = self._coded(response, "OK_OldSessionJoined") if joined else response
        except KeyError:
            self._trouble(f"it sent {name}, which the tester does not support")
            return
        except V2GError as error:  # valid by the schema, such as a voltage in Ah, or octets for a certificate
            self._fault(f"its {name} has no meaning: {error}")
            return
        if not sequence.accepts(self.state, message, self._chart):
            if name == "SupportedAppProtocolReq":  # whose response has no code for it
                self._fault(f"sends {name} in {self.state.value}")
                return
            self.seen.facts.append(f"out of order: {name} in {self.state.value}")
            response = self._coded(response, "FAILED_SequenceError")
        self._answer = (message, response)
        self._arm("answer", HOLD_S)

    def _joins(self, asked: bytes) -> bool | None:
        """Begin a session, or join the paused one if the vehicle asks for it; return whether it was joined.

        None: it had to be, but the vehicle does not ask for it.
        """
        joins = bool(self._paused_id) and asked == self._paused_id
        if joins:
            self.seen.facts.append(JOINS)
        elif self._script.resume:
            self.seen.absent = "the vehicle begins a new session" if self._paused_id else "the vehicle does not pause"
            self._finish()
            return None
        joined = joins and self._script.twist != "forgets"
        self.session_id = self._paused_id if joined else self._entropy(8)
        return joined

    def _on_broken(self, error: CodecError) -> None:
        self.seen.facts += (UNDECODABLE, str(error))
        self._finish()

    def _on_eof(self) -> None:
        if self._stimulus_at is not None:
            self.seen.closed_s = self._time.now - self._stimulus_at
            self._finish()
        elif self.state in (State.ENDED, State.PAUSED) and not self._script.at:
            if not self._loops:
                self.seen.began = False
                self._trouble("it ended the session without a charge loop")
                return
            assert self._answered_at is not None
            self.seen.reached, self.seen.closed_s = True, self._time.now - self._answered_at
            self._finish()
        elif self.state in (State.ENDED, State.PAUSED) and self._script.at in OPTIONAL and self._loops:
            self.seen.absent = f"the vehicle sends no {self._script.at}"
            self._finish()
        else:
            self._trouble(f"it closed in {self.state.value}")

    def _on_fact(self, fact: Fact) -> None:
        if not isinstance(fact, PilotSeen):
            return
        self._measured = True
        early = self.energy is Family.AC and not self._counts.get("PowerDeliveryReq")
        if early and fact.state is PilotState.C:
            self.seen.facts.append(EARLY_C)
        if self._stimulus_at is None:
            self.seen.pilot_c = fact.state is PilotState.C
        elif fact.state is PilotState.B and "shows state B" not in self.seen.facts:
            self.seen.facts.append("shows state B")

    def _on_timer(self, name: str) -> None:
        match name:
            case "answer":
                assert self._answer is not None
                (request, response), self._answer = self._answer, None
                self._give(request, response)
            case "sequence":
                self._trouble(f"it sent no request in {self.state.value} for {self.sequence_s:g} s")
            case "case":
                self._trouble(f"it is in {self.state.value} after {LONGEST_S:g} s")
            case _:  # watch: the observation is over
                self._finish()

    def _on_abort(self, reason: str) -> None:
        self._trouble(reason)

    # -- requests of the vehicle --------------------------------------------------------------------------------

    def _note_asked(self, request: Element, name: str) -> None:
        """Count requests, and record those after the modified answer."""
        self._requests += 1
        if self._requests > MOST_REQUESTS:
            self._fault(f"sends more than {MOST_REQUESTS} requests")
        if self._stimulus_at is None:
            return
        asked = f"asks {self._asked(request)}"
        if asked not in self.seen.facts:
            self.seen.facts.append(asked)
        if name != "SessionStopReq" and "asks on" not in self.seen.facts:
            self.seen.facts.append("asks on")

    # -- answers ------------------------------------------------------------------------------------------------

    def _give(self, request: Element, response: Element) -> None:
        """Answer, correctly or modified by the script."""
        name, script = type(request).__name__, self._script
        response = self._notified(name, response)
        if self.closed:
            return
        before = self.state
        self.state = sequence.advance(before, request, response, self._chart)
        twisted = script.at == name and self._counts[name] >= script.nth
        if not twisted or (self._stimulus_at is not None and not script.again):
            self._say(response)
            return
        if self._stimulus_at is None:
            self.seen.reached, self.seen.state, self._stimulus_at = True, before.value, self._time.now
            self._disarm("case")
            self._arm("watch", script.watch_s)
        self._twist(name, response, before)

    def _notified(self, name: str, response: Element) -> Element:
        """Request the end, once energy has flowed long enough."""
        if not self._is_loop(name):
            return response
        self._loops += 1
        if self._loops > MOST_LOOPS and self._stimulus_at is None:
            self._trouble("it ignores the request to end")
            return response
        self._counted()
        if self._script.notice:
            at = self._loops == NOTICE_AT
            return self._with_notice(response, self._script.notice) if at else response
        if self._loops < STOP_AFTER or self._script.twist in _BY_ITSELF:
            return response
        return self._with_notice(response, self.ends)

    def _twist(self, name: str, response: Element, before: State) -> None:
        value = self._script.value
        match self._script.twist:
            case "code":
                self.state = State.ENDED if value.upper().startswith("FAILED") else before
                self._say(self._coded(response, value))
            case "other session":
                self._answered(response)
                self._out_of_another_session(response)
            case "other response":
                self._say(self._of_another(name, response))
            case "silence":
                pass
            case "ongoing":
                self.state = before
                self._say(self._twisted(response))
            case "notify":
                self._say(self._with_notice(response, value))
            case "bytes":
                self._actions.append(Send(SPOILT[value](self._framed(response))))
            case "close":
                self._close("done")
            case "":
                self._say(response)
            case _:
                self._say(self._twisted(response))

    def _say(self, response: Element) -> None:
        self._answered(response)
        self._out(response)

    def _answered(self, response: Element) -> None:
        self._looping = self._is_loop(type(response).__name__)
        self._answered_at = self._time.now
        if self._stimulus_at is None:
            self._arm("sequence", self.sequence_s)
            if self.state in (State.ENDED, State.PAUSED):
                self._disarm("sequence", "case")
                self._arm("watch", self._script.watch_s)
                self.seen.reached, self.seen.state = True, self.state.value

    # -- the end ------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        if self._script.measures_pilot and not self._measured:
            self.seen.absent = "the control pilot is not measured"
        self._close("done")

    def _fault(self, what: str) -> None:
        """End with what no vehicle may do, whatever the case."""
        self.seen.at_fault, self.seen.trouble = True, what
        self._finish()

    def _trouble(self, why: str) -> None:
        at = self._script.at or "the end"
        if self._responses.agreed or self.state is State.SUPPORTED_APP_PROTOCOL:
            self.seen.reached, self.seen.trouble = False, f"the vehicle did not reach {at}: {why}"
        else:
            self.seen.absent = f"the vehicle does not support {self.energy.value}"
        self._finish()


_BY_ITSELF: Final = ("notify", "too much voltage", "too much current")
"""Modifications for which the vehicle must or may end the loop."""


def _joined(form: Form) -> Callable[[bytes], bytes]:
    return lambda data: b"".join(form(data))


SPOILT: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "wrong version": lambda data: b"\x02\xfd" + data[2:],
    "EXI of no message": lambda data: data[:4] + (17).to_bytes(4, "big") + b"\x80" + b"\xff" * 16,
    "reserved payload type": lambda data: data[:2] + b"\x80\x07" + data[4:],
    **{name: _joined(form) for name, form in HEADERS.items()},
}
"""Name -> modification of the frame of a response."""
