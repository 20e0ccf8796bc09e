"""The reference charger of the test: it answers correctly except for one answer, and observes the vehicle's reaction.

It is a core without I/O (`v2g.iso15118.engine.session`): a shell runs it on a connection, and reads the
observation in `seen`.
"""

from typing import Any, Final

from msgspec.structs import replace

from v2g import exi
from v2g.errors import CodecError
from v2g.exi.declare import schema_of
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.charts import CHARTS, SIDE_CHARTS, Family
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages.common_types import EvseNotification, EVSEStatus, Processing
from v2g.iso15118.d20.session import Session20
from v2g.iso15118.d20.timing import Timing
from v2g.iso15118.engine import sequence
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.session import NO_SESSION, Entropy, Fact, Send
from v2g.iso15118.engine.v2gtp import frame
from v2g_testkit.cases.case import ChargerScript, Seen
from v2g_testkit.cases.evcc_safety import EARLY_C
from v2g_testkit.cases.known import number, value_of
from v2g_testkit.cases.responses import Responses, with_code

STOP_AFTER: Final = 6
"""Exchanges of the loop after which the charger requests the end, to complete the session."""

MOST_LOOPS: Final = 200
"""Exchanges of the loop after which a vehicle has ignored a request to end."""

NOTICE_AT: Final = 3
"""The exchange of the loop in which the charger sends its notice, if configured."""

HOLD_S: Final = 0.02
"""Response time of the charger, s."""


class PilotSeen(Fact, frozen=True):
    """The measured state of the control pilot."""

    state: PilotState


class ReferenceCharger(Session20):
    """Runs one connection of a vehicle."""

    def __init__(
        self,
        script: ChargerScript,
        family: Family,
        *,
        entropy: Entropy,
        pays: tuple[cm.Authorization, ...],
        tls: bool = True,
    ) -> None:
        super().__init__(entropy=entropy)
        self.seen = Seen(reached=False)
        self.family = family
        self._script = script
        self._responses = Responses(family, self.seen.facts, pays=pays if tls else (cm.Authorization.EIM,))
        self._counts: dict[str, int] = {}
        self._loops = 0
        self._looping = self._measured = False
        self._bears = (0.0, 0.0)
        self._stimulus_at: float | None = None
        self._answered_at: float | None = None
        self._answer: tuple[Any, Any] | None = None

    # -- hooks of the engine ------------------------------------------------------------------------------------

    def _on_start(self) -> None:
        self._responses.challenge = self._entropy(16)
        self._arm("sequence", Timing().secc_sequence)

    def _on_message(self, message: Any, payload_type: int) -> None:
        name = type(message).__name__
        if not name.endswith("Req"):
            self.seen.facts.append(f"sends {name}")
            self._finish()
            return
        if payload_type in SIDE_CHARTS:
            self._beside(message, name, payload_type)
            return
        self._disarm("sequence")
        self._note(message, name)
        if self.closed:
            return
        self._responses.time = self._time.utc_ms // 1000
        try:
            response = self._responses.make(message)
        except KeyError:
            self._trouble(f"it sent {name}, which the tester does not support")
            return
        if not sequence.accepts(self.state, message, CHARTS[self.family]):
            self.seen.facts.append(f"out of order: {name} in {self.state.value}")
            response = with_code(response, "FAILED_SequenceError")
        if name == "SessionSetupReq":
            self.session_id = self._responses.session_id = self._entropy(8)
            response = replace(response, header=self._responses.header())
        self._answer = (message, response)
        self._arm("answer", HOLD_S)

    def _beside(self, request: Any, name: str, payload_type: int) -> None:
        """Answer on a side stream, immediately: the main one continues meanwhile."""
        self._note_asked(request, name)
        self._responses.time = self._time.utc_ms // 1000
        try:
            self._send(self._responses.make(request), payload_type)
        except KeyError:
            self._trouble(f"it sent {name}, which the tester does not support")

    def _on_discharge(self, payload: bytes) -> None:
        """Signed discharge is not offered."""

    def _on_broken(self, error: CodecError) -> None:
        self.seen.facts.append("sends an undecodable message")
        self._finish()

    def _on_eof(self) -> None:
        if self._stimulus_at is not None:
            self.seen.closed_s = self._time.now - self._stimulus_at
            self._finish()
        elif self.state in (State.ENDED, State.PAUSED) and not self._script.at:
            assert self._answered_at is not None
            self.seen.reached, self.seen.closed_s = True, self._time.now - self._answered_at
            self._finish()
        else:
            self._trouble(f"it closed in {self.state.value}")

    def _on_fact(self, fact: Fact) -> None:
        if not isinstance(fact, PilotSeen):
            return
        self._measured = True
        early = self.family is Family.AC and not self._counts.get("PowerDeliveryReq")
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
                request, response = self._answer
                self._give(request, response)
            case "sequence":
                self._trouble(f"it sent no request in {self.state.value} for {Timing().secc_sequence:g} s")
            case _:  # watch: the observation is over
                self._finish()

    def _on_abort(self, reason: str) -> None:
        self._trouble(reason)

    # -- requests of the vehicle --------------------------------------------------------------------------------

    def _note(self, request: Any, name: str) -> None:
        """Check a request: its SessionID, its time, and the sequence."""
        self._counts[name] = self._counts.get(name, 0) + 1
        if name != "SupportedAppProtocolReq" and self._stimulus_at is None:
            wanted = NO_SESSION if name == "SessionSetupReq" else self.session_id
            if request.header.session_id != wanted:
                self.seen.facts.append(f"asks {name} with another SessionID")
        mode = getattr(request, "dc_cpd_req_energy_transfer_mode", None)
        if mode is not None:
            self._bears = value_of(mode.ev_maximum_voltage), value_of(mode.ev_maximum_charge_current)
        if self._answered_at is not None:
            self.seen.times.append(("ChargeLoop" if self._looping else name, self._time.now - self._answered_at))
        self._note_asked(request, name)

    def _note_asked(self, request: Any, name: str) -> None:
        """Record requests after the modified answer."""
        if self._stimulus_at is None:
            return
        asked = name
        if isinstance(request, cm.PowerDeliveryReq):
            asked += f" {request.charge_progress.name}"
        if isinstance(request, cm.SessionStopReq):
            self.seen.facts.append(f"stops the session: {request.charging_session.name}")
        if f"asks {asked}" not in self.seen.facts:
            self.seen.facts.append(f"asks {asked}")
        if name != "SessionStopReq" and "asks on" not in self.seen.facts:
            self.seen.facts.append("asks on")

    # -- answers ------------------------------------------------------------------------------------------------

    def _give(self, request: Any, response: Any) -> None:
        """Answer, correctly or modified by the script."""
        name, script = type(request).__name__, self._script
        response = self._notified(name, response)
        if self.closed:
            return
        before = self.state
        self.state = sequence.advance(before, request, response, CHARTS[self.family])
        twisted = script.at == name and self._counts[name] >= script.nth
        if not twisted or (self._stimulus_at is not None and not script.again):
            self._say(response)
            return
        if self._stimulus_at is None:
            self.seen.reached, self.seen.state, self._stimulus_at = True, before.value, self._time.now
            self._arm("watch", script.watch_s)
        self._twist(name, response, before)

    def _notified(self, name: str, response: Any) -> Any:
        """Request the end, once energy has flowed long enough."""
        if not name.endswith("ChargeLoopReq"):
            return response
        self._loops += 1
        if self._loops > MOST_LOOPS and self._stimulus_at is None:
            self._trouble("it ignores the request to end")
            return response
        self._responses.energy_wh += 1
        if self._script.notice:
            at = self._loops == NOTICE_AT
            return _with_status(response, EvseNotification(self._script.notice)) if at else response
        if self._loops < STOP_AFTER or self._script.twist in _BY_ITSELF:
            return response
        return _with_status(response, EvseNotification.Terminate)

    def _twist(self, name: str, response: Any, before: State) -> None:
        value = self._script.value
        match self._script.twist:
            case "code":
                self.state = State.ENDED if value.upper().startswith("FAILED") else before
                self._say(with_code(response, value))
            case "other session":
                self._say(replace(response, header=replace(response.header, session_id=b"somebody")))
            case "other response":
                kind = cm.SessionStopRes if name != "SessionStopReq" else cm.ServiceSelectionRes
                self._say(kind(header=self._responses.header(), response_code=response.response_code))
            case "silence":
                pass
            case "ongoing":
                self.state = before
                self._say(replace(response, evse_processing=Processing(value)))
            case "no voltage":
                self._responses.voltage = 0.0
                self._say(replace(response, evse_present_voltage=replace(response.evse_present_voltage, value=0)))
            case "less voltage":
                self._responses.voltage -= _LESS_V
                self._say(replace(response, evse_present_voltage=number(self._responses.voltage)))
            case "too much voltage":
                self._say(replace(response, evse_present_voltage=number(round(self._bears[0] * 1.2))))
            case "too much current":
                self._say(replace(response, evse_present_current=number(round(self._bears[1] * 2))))
            case "notify":
                if value == "MeteringConfirmation":
                    response = self._responses.to_confirm(response)
                self._say(_with_status(response, EvseNotification(value)))
            case "bytes":
                self._actions.append(Send(_SPOILT[value](self._framed(response))))
            case "close":
                self._close("done")
            case _:
                self._say(response)

    def _say(self, response: Any) -> None:
        self._send(response)
        self._looping = type(response).__name__.endswith("ChargeLoopRes")
        self._answered_at = self._time.now
        if self._stimulus_at is None:
            self._arm("sequence", Timing().secc_sequence)
            if self.state in (State.ENDED, State.PAUSED):
                self._disarm("sequence")
                self._arm("watch", self._script.watch_s)
                self.seen.reached, self.seen.state = True, self.state.value

    def _framed(self, response: Any) -> bytes:
        payload_type = schema_of(type(response)).payload_type
        assert payload_type is not None
        return frame(payload_type, exi.encode(response))

    # -- the end ------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        if self._script.measures_pilot and not self._measured:
            self.seen.absent = "the control pilot is not measured"
        self._close("done")

    def _trouble(self, why: str) -> None:
        at = self._script.at or "the end"
        if self._responses.agreed or self.state is State.SUPPORTED_APP_PROTOCOL:
            self.seen.reached, self.seen.trouble = False, f"the vehicle did not reach {at}: {why}"
        else:
            self.seen.absent = f"the vehicle does not support {self.family.value}"
        self._finish()


_BY_ITSELF: Final = ("notify", "too much voltage", "too much current")
"""Modifications for which the vehicle must or may end the loop."""

_LESS_V: Final = 50.0

_SPOILT: Final = {
    "wrong version": lambda data: b"\x02\xfd" + data[2:],
    "EXI of no message": lambda data: data[:4] + (17).to_bytes(4, "big") + b"\x80" + b"\xff" * 16,
    "reserved payload type": lambda data: data[:2] + b"\x80\x07" + data[4:],
}


def _with_status(response: Any, notification: EvseNotification) -> Any:
    status = EVSEStatus(notification_max_delay=0, evse_notification=notification)
    return replace(response, evse_status=status)
