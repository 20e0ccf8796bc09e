"""The charge point's side of a session: requests to handlers, facts to contexts, and power that stops before words.

`SeccSession` is driven as `v2g.iso15118.session` says. It serves one session on one connection and then is over.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from secc.core import authorization, delivery, loop, parameters, ports, service, setup, stop
from secc.core.context import Authorizing, CableChecking, Charging, Finished, Handler, Starting, Step, Stopping
from secc.core.control import NOTICE_S, PowerControl
from secc.core.refusal import is_request, refusal
from v2g.errors import CodecError, Iso15118Error
from v2g.iso15118 import sequence
from v2g.iso15118.messages.common_messages import MeteringConfirmationReq
from v2g.iso15118.sequence import ENERGY, State
from v2g.iso15118.session import NO_SESSION, Fact
from v2g.iso15118.v2gtp import PayloadType
from v2g.slac.pilot import PilotState

HANDLERS: Final[Mapping[str, Handler]] = MappingProxyType(
    {
        "SupportedAppProtocolReq": setup.supported_app_protocol,
        "SessionSetupReq": setup.session_setup,
        "AuthorizationSetupReq": setup.authorization_setup,
        "AuthorizationReq": authorization.authorization,
        "ServiceDiscoveryReq": service.service_discovery,
        "ServiceDetailReq": service.service_detail,
        "ServiceSelectionReq": service.service_selection,
        "DC_ChargeParameterDiscoveryReq": parameters.charge_parameter_discovery,
        "ScheduleExchangeReq": parameters.schedule_exchange,
        "DC_CableCheckReq": delivery.cable_check,
        "DC_PreChargeReq": delivery.pre_charge,
        "PowerDeliveryReq": delivery.power_delivery,
        "DC_ChargeLoopReq": loop.charge_loop,
        "MeteringConfirmationReq": loop.metering_confirmation,
        "DC_WeldingDetectionReq": delivery.welding_detection,
        "SessionStopReq": stop.session_stop,
    }
)
"""Name of the request -> its handler. A request of the chart that is missing here is not served: out of order."""

_NOT_READY: Final = frozenset({PilotState.A, PilotState.B, PilotState.E, PilotState.F})
_LOOP: Final = "DC_ChargeLoopReq"


class SeccSession(PowerControl):
    """One session of a charge point.

    `limits` are those of site and operator as known (the charger's own follows from its rating), `meter` is the
    reading at the start, `pilot` None when the shell does not report it, `time_scale` how many (simulated) seconds of
    UTC pass in one of the monotonic clock.
    """

    _pending: tuple[Any, int] | None = None

    def _on_start(self) -> None:
        self._arm("sequence", self._config.timing.secc_sequence)
        self._arm_limits()

    def _on_message(self, message: Any, payload_type: int) -> None:
        if isinstance(self._context, Finished):
            return  # the session was ended in words; nothing is owed any more
        side_stream = payload_type == PayloadType.METERING_CONFIRMATION
        if not is_request(message) or (side_stream and not isinstance(message, MeteringConfirmationReq)):
            self._on_broken(CodecError(f"{type(message).__name__} has no place on stream {payload_type:#06x}"))
            return
        if not isinstance(message, MeteringConfirmationReq):  # beside the loop, whose time runs on
            self._disarm("sequence")
        refused = self._refused_at_once(message)
        if refused is not None:
            self._fail(message, payload_type, *refused)
        else:
            self._answer(message, payload_type, waited=False)

    def _refused_at_once(self, message: Any) -> tuple[str, str] | None:
        """Return code and reason when the request is of another session or out of order."""
        name = type(message).__name__
        opened = self.session_id != NO_SESSION and name not in ("SupportedAppProtocolReq", "SessionSetupReq")
        if opened and message.header.session_id != self.session_id:  # V2G20-460
            return "FAILED_UnknownSession", f"{name} of session {message.header.session_id.hex()}"
        if self._pending is not None:
            return "FAILED_SequenceError", f"{name} before the response to {type(self._pending[0]).__name__}"
        if name not in HANDLERS or not sequence.accepts(self.state, message):  # V2G20-459
            return "FAILED_SequenceError", f"{name} in state {self.state.value}"
        return None

    def _answer(self, request: Any, payload_type: int, *, waited: bool) -> None:
        """Ask the handler; when it waits for a fact, keep the request until that comes or time is up."""
        handler = HANDLERS[type(request).__name__]
        while True:
            try:
                outcome = handler(request, self._context, self._world(waited=waited))
            except Iso15118Error as error:
                self._fail(request, payload_type, error.answer, str(error))
                return
            self._context = outcome.context
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
        self._pending = None
        self._disarm("answer")
        self._notices.pop(step.heard, None)
        before, self.state = self.state, sequence.advance(self.state, request, step.response)
        if before is State.SESSION_SETUP:
            self.session_id = step.response.header.session_id
        if self.state in (State.ENDED, State.PAUSED):
            self._settle(self._stop_reason)
        side_stream = payload_type == PayloadType.METERING_CONFIRMATION
        self._send(step.response, payload_type if side_stream else None)
        if sequence.is_failed(step.response):
            self._end(step.response.response_code.name)
        else:
            self._after(request, before)

    def _after(self, request: Any, before: State) -> None:
        """Do what an answered request brings with it, and start the timers of the next one."""
        timing = self._config.timing
        if isinstance(self._context, Finished):
            self._timers.clear()
            self._arm("close", timing.close)  # V2G20-1633, -1643: the vehicle closes first
            return
        name = type(request).__name__
        if before in ENERGY and self.state not in ENERGY:
            self._disarm("terminate", "discharge", "offer", "decision")
            if self._discharge is not None:
                self._discharge.stop()
        if name in ("DC_ChargeParameterDiscoveryReq", _LOOP):
            self._take_vehicle_limits()
        if name == "ScheduleExchangeReq":
            self._begin_discharge()
        processing = getattr(request, "ev_processing", None)
        if processing is not None and processing.name.startswith("Ongoing"):
            if "ongoing" not in self._timers:
                self._arm("ongoing", timing.ongoing)
        else:
            self._disarm("ongoing")
        if name == "MeteringConfirmationReq":
            return
        loop_silence = timing.secc_sequence_loop + timing.secc_loop_tolerance  # V2G20-1502
        self._arm("sequence", loop_silence if name == _LOOP else timing.secc_sequence)  # V2G20-441

    def _fail(self, request: Any, payload_type: int, code: str, why: str) -> None:
        """Stop power, answer with `code` in the request's own response type, and end (V2G20-459, -460)."""
        self._stop_power(code)
        self._observe("session", "request_failed", request=type(request).__name__, code=code, reason=why)
        side_stream = payload_type == PayloadType.METERING_CONFIRMATION
        response = refusal(request, code, self._header(), self._config)
        self._send(response, payload_type if side_stream else None)
        self._end(code)

    # -- facts --------------------------------------------------------------------------------------------------

    def _on_fact(self, fact: Fact) -> None:
        if isinstance(self._context, Finished):
            return
        self._take(fact)
        if self._pending is not None and not self._closed:
            self._answer(*self._pending, waited=False)

    def _take(self, fact: Fact) -> None:
        context = self._context
        match fact:
            case ports.Measured():
                self._measured = fact
            case ports.MeterRead():
                if self._meter is None:
                    self._meter_begin = (fact.import_mwh, fact.export_mwh)
                self._meter = fact
            case ports.AuthorizationDecided():
                if isinstance(context, Authorizing):
                    self._context = authorization.on_decided(fact, context)
            case ports.CableCheckFinished():
                if isinstance(context, CableChecking):
                    self._context = delivery.on_cable_check(fact, context)
            case ports.ContactorState():
                self._take_contactor(fact)
            case ports.PilotChanged():
                self._take_pilot(fact.state)
            case ports.HardwareFault():
                self._observe("power", "hardware_fault", reason=fact.reason)
                self._on_abort("hardware_fault")
            case _:
                self._take_wish(fact)

    def _take_wish(self, fact: Fact) -> None:
        match fact:
            case ports.GridChanged():
                self._take_grid(fact.limits, fact.tariff)
            case ports.LimitChanged():
                self._take_grid((fact.limit,))
            case ports.SetpointChanged():
                self._setpoint = fact.setpoint
                self._perform(self._follow())
            case ports.TariffChanged():
                self._take_grid(tariff=fact.tariff)
            case ports.StopRequested():
                self._stop_reason = fact.reason
                self._notify("Terminate")
                self._arm("terminate", NOTICE_S)
            case ports.MeteringConfirmationRequested():
                if self._config.metering_confirmation and isinstance(self._context, Charging) and self._contract():
                    self._notify("MeteringConfirmation")
            case ports.RenegotiationRequested():
                self._notify("ScheduleRenegotiation")

    def _take_contactor(self, fact: ports.ContactorState) -> None:
        context = self._context
        if isinstance(context, Stopping) and not fact.closed:
            self._powered = False  # anywhere else open contacts may be about to close
        if isinstance(context, Starting | Stopping):
            self._context = delivery.on_contactor(fact, context)
        elif isinstance(context, Charging) and not fact.closed:
            self._on_abort("contactor_opened")

    def _take_pilot(self, state: PilotState) -> None:
        self._pilot = state
        if state is PilotState.A:
            self._on_abort("unplugged")
        elif self._powered and state in _NOT_READY and not isinstance(self._context, Stopping):
            self._on_abort("pilot_lost")  # the vehicle left C or D while energy may flow

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
            case "terminate":
                self._on_abort(self._stop_reason)
            case "discharge":
                self._command_expired()
            case "offer":
                self._renew_offer(due=True)
            case "decision":
                self._renew_offer()
            case "limits":
                self._limits_changed("validity")
                self._arm_limits()
                self._renew_offer()
            case "close":
                self._close("finished")

    def _on_broken(self, error: CodecError) -> None:
        self._stop_power("undecodable")
        self._observe("session", "undecodable", error=str(error), state=self.state.value)
        self._end("undecodable")

    def _on_eof(self) -> None:
        if isinstance(self._context, Finished):
            self._close("finished")
        else:
            self._on_abort("connection_lost")

    def _on_abort(self, reason: str) -> None:
        self._stop_power(reason)
        self._end(reason)
