"""The charge point's side of a session: requests to handlers, facts to stages, and power that stops before words.

`SeccSession` is driven as `v2g.iso15118.engine.session` says. It serves one session on one connection and then is over.
"""

from typing import Any, Final

from msgspec.structs import replace

from secc.session.d20 import wpt
from secc.session.d20.facts import Facts
from secc.session.d20.handlers import HANDLERS
from secc.session.d20.refusal import is_request, refusal
from secc.session.d20.request_context import Step
from secc.session.d20.scheduling import exchange
from secc.session.d20.stages import Charging, Finished, Fresh, Planned, PreCharging, Starting
from v2g.errors import CodecError, Iso15118Error
from v2g.hardware.faults import FAULTS
from v2g.iso15118.d20.charts import BESIDE, FETCHING, SIDE_CHARTS
from v2g.iso15118.d20.messages.common_messages import ChargeProgress, PowerDeliveryReq
from v2g.iso15118.d20.messages.common_types import Dynamic_CLReqControlMode, Processing, ResponseCode
from v2g.iso15118.d20.timing import MESSAGES
from v2g.iso15118.engine import sequence
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.session import NO_SESSION
from v2g.iso15118.engine.v2gtp import PayloadType

MEASURING_S: Final = 0.05
"""What our own clock and event loop may add to a time that is noted, s."""

_CONTACTOR: Final = frozenset({"contactor_welded", "contactor_stuck_open", "contactor_dropped"})
_ENERGISING: Final = frozenset({"DC_CableCheckReq", "DC_PreChargeReq", "WPT_AlignmentCheckReq", "ACDP_ConnectReq"})
_LOOPS: Final = frozenset({"AC_ChargeLoopReq", "DC_ChargeLoopReq", "WPT_ChargeLoopReq"})
_PARAMETERS: Final = frozenset(f"{kind}_ChargeParameterDiscoveryReq" for kind in ("AC", "DC", "WPT"))


class SeccSession(Facts):
    """One session of a charge point.

    `limits` are those of site and operator as known (the charger's own follows from its rating), `meter` is the
    reading at the start, `pilot` None when the shell does not report it, `time_scale` how many (simulated) seconds of
    UTC pass in one of the monotonic clock.
    """

    _asked_at = 0.0
    _ongoing_since: float | None = None
    _late_at = float("inf")
    """When the vehicle's next request is later than it should be."""
    _late_in: State | None = None

    def _on_start(self) -> None:
        self._arm("sequence", self._config.timing.secc_sequence)
        self._arm_limits()
        self._arm_setpoint()

    def _receive_frame(self, payload_type: int, payload: bytes) -> None:
        """Take what -2 era vehicles frame like the handshake, CertificateInstallationReq, for what it is."""
        misframed = payload_type == PayloadType.SAP and self._trust.interop and self.state in FETCHING
        super()._receive_frame(PayloadType.COMMON if misframed else payload_type, payload)

    def _on_message(self, message: Any, payload_type: int) -> None:
        if self._doomed and is_request(message):
            self._refuse(message, payload_type, _fault_code(message, self._doomed))
            self._close(self._doomed)
        if isinstance(self._stage, Finished):
            return  # the session was ended in words; nothing is owed any more
        if not is_request(message):
            self._on_broken(CodecError(f"{type(message).__name__} has no place on stream {payload_type:#06x}"))
            return
        if payload_type in SIDE_CHARTS:
            self._on_side_request(message, PayloadType(payload_type))
            return
        self._note_request(message)
        self._disarm("sequence")
        refused = self._refused_at_once(message)
        if refused is not None:
            self._fail(message, payload_type, *refused)
        else:
            self._answer(message, payload_type, waited=False)

    def _note_request(self, request: Any) -> None:
        """Note a vehicle that is slower than it should be; once in a state, since some are so all the time."""
        if self._pending is None:
            self._asked_at = self._now
        if self._now > self._late_at and self._late_in is not self.state:
            self._late_in = self.state
            seconds = round(self._now - self._late_at, 4)
            self._observe("session", "late_request", request=type(request).__name__, seconds=seconds)
        self._late_at = float("inf")

    def _too_long(self, response: Any) -> bool:
        """Say whether a chain of our own Ongoing has to end now, before the vehicle gives up; a customer has longer."""
        if getattr(response, "evse_processing", None) is not Processing.Ongoing:
            self._ongoing_since = None
            return False
        if self._ongoing_since is None:
            self._ongoing_since = self._now
        return self._now - self._ongoing_since >= self._config.timing.ongoing_performance

    def _note_response(self, name: str) -> None:
        seconds = self._now - self._asked_at
        if seconds > MESSAGES[name].performance + MEASURING_S:
            self._observe("session", "late_response", request=name, seconds=round(seconds, 4))

    def _refused_at_once(self, message: Any) -> tuple[str, str] | None:
        """Return code and reason when the request is of another session or out of order."""
        name = type(message).__name__
        opened = self.session_id != NO_SESSION and name not in ("SupportedAppProtocolReq", "SessionSetupReq")
        if opened and message.header.session_id != self.session_id:  # V2G20-460
            return "FAILED_UnknownSession", f"{name} of session {message.header.session_id.hex()}"
        if self._pending is not None:
            return "FAILED_SequenceError", f"{name} before the response to {type(self._pending[0]).__name__}"
        if name not in HANDLERS or not sequence.accepts(self.state, message, self.chart):  # V2G20-459
            return "FAILED_SequenceError", f"{name} in state {self.state.value}"
        return None

    def _answer(self, request: Any, payload_type: int, *, waited: bool) -> None:
        """Ask the handler; when it waits for a fact, keep the request until that comes or time is up."""
        handler = HANDLERS[type(request).__name__]
        if self._stopping and _brings_power(request):
            code = "FAILED_PowerDeliveryNotApplied" if isinstance(request, PowerDeliveryReq) else "FAILED"
            self._fail(request, payload_type, code, "the session is to end", self._stop_reason)
            return
        while True:
            try:
                outcome = handler(request, self._stage, self._request_context(waited=waited))
            except Iso15118Error as error:
                self._fail(request, payload_type, error.answer, str(error), error.reason)
                return
            self._stage = outcome.stage
            self._perform(outcome.commands)
            if isinstance(outcome, Step):
                self._respond(request, payload_type, outcome)
                return
            if not waited and outcome.seconds > 0:
                break
            waited = True
        if self._pending is None:
            self._pending = (request, payload_type)
            self._arm("answer", outcome.seconds)

    def _respond(self, request: Any, payload_type: int, step: Step) -> None:
        if self._too_long(step.response):
            why = "the charger did not finish in the time for it"
            self._fail(request, payload_type, ResponseCode.FAILED.name, why, "ongoing_timeout")
            return
        self._pending = None
        self._disarm("answer")
        self._note_response(type(request).__name__)
        self._notices.pop(step.heard, None)
        before, self.state = self.state, sequence.advance(self.state, request, step.response, self.chart)
        if isinstance(step.stage, Fresh) and step.stage.family is not None:
            self._speak(step.stage.family)
        if before is State.SESSION_SETUP:
            self.session_id = step.response.header.session_id
        if self.state is State.PAUSED:
            self._keep()
        elif self.state is State.ENDED:
            self._settle(self._stop_reason)
        self._parking = step.parking or self._parking
        self._send(step.response, encoded=step.exi)
        if sequence.is_failed(step.response):
            self._end(step.response.response_code.name)
        else:
            self._after(request, before)

    def _after(self, request: Any, before: State) -> None:
        """Do what an answered request brings with it, and start the timers of the next one."""
        timing = self._config.timing
        if isinstance(self._stage, Finished):
            self._timers.clear()
            self._arm("close", timing.close)  # V2G20-1633, -1643: the vehicle closes first
            return
        name = type(request).__name__
        if before in BESIDE and self.state not in BESIDE:
            self._sides.pop(PayloadType.SCHEDULE_RENEGOTIATION, None)
            self._disarm("discharge", "offer", "decision", "terms")
            if self._discharge is not None:
                self._discharge.stop()
        if self.state is State.SERVICE_DISCOVERY:
            self._discharge = None  # services are selected anew
        if name in _PARAMETERS or name in _LOOPS:
            self._take_vehicle_limits()
        if name == "ScheduleExchangeReq":
            self._begin_discharge()
        self._report(request)
        processing = getattr(request, "ev_processing", None)
        if processing is not None and processing.name.startswith("Ongoing"):
            if "ongoing" not in self._timers:
                self._arm("ongoing", timing.ongoing)
        else:
            self._disarm("ongoing")
        self._bound_voltage()
        loop_silence = timing.secc_sequence_loop + timing.secc_loop_tolerance  # V2G20-1502
        looping = name in _LOOPS and self.state is not State.STANDBY
        if name in _LOOPS:
            self._arm("silence", loop_silence)
        self._arm("sequence", loop_silence if looping else timing.secc_sequence)  # V2G20-441
        soon = timing.evcc_loop_performance if looping else timing.evcc_sequence_performance
        self._late_at = self._now + soon + MEASURING_S

    def _bound_voltage(self) -> None:
        """Bound how long voltage, or a field, is there for a vehicle that does not begin to charge."""
        stage = self._stage
        waits = isinstance(stage, PreCharging) and stage.target_mv
        if waits or (isinstance(stage, Planned) and stage.coil_ma):
            if "pre_charge" not in self._timers:
                self._arm("pre_charge", self._config.timing.secc_pre_charge)
        elif not isinstance(stage, Starting):
            self._disarm("pre_charge")

    def _report(self, request: Any) -> None:
        """Tell the back end what a vehicle plans, and what it needs now (K16.FR.05, K18.FR.10, K20.FR.01)."""
        if not isinstance(self._stage, Charging):
            return
        if isinstance(request, PowerDeliveryReq):
            plan = exchange.planned_power(request)
            self._perform(() if plan is None else (plan,))
            return
        mode = getattr(request, "cl_req_control_mode", None)
        if isinstance(mode, Dynamic_CLReqControlMode) and self._reported is not None:
            needs = exchange.renewed(mode, self._reported, self._utc_ms)
            self._perform(() if needs is None else (needs,))

    def _fail(self, request: Any, payload_type: int, code: str, why: str, reason: str = "") -> None:
        """Stop power, answer with `code` in the request's own response type (V2G20-736), and end."""
        self._stop_power(reason or code)
        self._observe("session", "request_failed", request=type(request).__name__, code=code, reason=why)
        self._refuse(request, payload_type, code)
        self._end(reason or code)

    def _refuse(self, request: Any, payload_type: int, code: str) -> None:
        response = refusal(request, code, self._header(), self._config)
        self._send(response, payload_type if payload_type in SIDE_CHARTS else None)

    def _on_fault(self, word: str) -> None:
        """Stop power and close the books at once; the vehicle hears it in the answer that it awaits, or in its next.

        A vehicle that asks nothing any more is left after the time for closing.
        """
        self._observe("power", "hardware_fault", reason=word)
        if self._pending is not None:
            request, payload_type = self._pending
            known = FAULTS.get(word)
            code = _fault_code(request, word)
            self._fail(request, payload_type, code, known.sentence if known else word, word)
            return
        self._settle(word)
        self._stage, self._doomed = Finished(), word
        self._timers.clear()
        self._arm("close", self._config.timing.close)

    # -- time and the end ---------------------------------------------------------------------------------------

    def _on_timer(self, name: str) -> None:
        match name:
            case "answer":
                assert self._pending is not None
                self._answer(*self._pending, waited=True)
            case "sequence":  # V2G20-443
                self._observe("session", "timeout", timer="V2G_SECC_Sequence_Timeout", state=self.state.value)
                self._on_abort("sequence_timeout")
            case "ongoing":
                self._observe("session", "timeout", timer="V2G_SECC_Ongoing_Timeout", state=self.state.value)
                self._on_abort("ongoing_timeout")
            case "pre_charge":
                self._on_abort("pre_charge_timeout")
            case "over_voltage":
                self._on_fault("over_voltage")
            case "terminate":
                self._on_abort(self._stop_reason)
            case "silence" if isinstance(self._stage, Charging):
                self._stage = replace(self._stage, alive=False)
                self._observe("power", "loop_silent", state=self.state.value)
                self._perform(self._follow())
            case "setpoint":
                self._arm_setpoint()
                self._perform(self._follow())
            case "trouble":
                self._terminate(wpt.TROUBLES.get(self._device.trouble, self._device.trouble))
            case "discharge":
                self._command_expired()
            case "offer":
                self._renew_offer(due=True)
            case "decision" | "terms":
                self._renew_offer()
            case "limits":
                self._limits_changed("validity")
                self._arm_limits()
                self._renew_offer()
            case "close":
                self._close(self._finished)
            case side if side.startswith("side:"):
                self._drop_side(PayloadType(int(side.partition(":")[2])))

    def _on_broken(self, error: CodecError) -> None:
        self._stop_power("undecodable")
        self._observe("session", "undecodable", error=str(error), state=self.state.value)
        self._end("undecodable")

    def _on_eof(self) -> None:
        if isinstance(self._stage, Finished):
            self._close(self._finished)
        else:
            self._on_abort("connection_lost")

    @property
    def _finished(self) -> str:
        """The word for an end in good order, or for what has ended it before."""
        return self._doomed or ("paused" if self.state is State.PAUSED else "finished")

    def _on_abort(self, reason: str) -> None:
        self._stop_power(reason)
        self._end(reason)


def _fault_code(request: Any, word: str) -> str:
    """Return how a fault of the charger is told to a vehicle that asks this."""
    if not isinstance(request, PowerDeliveryReq):
        return ResponseCode.FAILED.name
    return (
        ResponseCode.FAILED_ContactorError if word in _CONTACTOR else ResponseCode.FAILED_PowerDeliveryNotApplied
    ).name


def _brings_power(request: Any) -> bool:
    """Say whether a request asks for voltage or current, or for what leads there."""
    if isinstance(request, PowerDeliveryReq):
        return request.charge_progress is ChargeProgress.Start
    return type(request).__name__ in _ENERGISING
