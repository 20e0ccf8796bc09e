"""The vehicle's session of ISO 15118-2 and DIN 70121; an edition adds its handlers, vocabulary and timers."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from msgspec.structs import replace

from evcc.session import watch
from evcc.session.edition import Connection
from evcc.session.ports import SAFE, Reported, StopRequested
from evcc.session.settings import SessionConfig
from evcc.session.steps import Handlers, Stage
from evcc.session.v2g_message import energy, loop, setup, stages  # noqa: F401 - their handlers register themselves
from evcc.session.v2g_message.context import MessageContext, Vocabulary
from evcc.session.v2g_message.loop import status_of, wanted_end
from evcc.session.v2g_message.stop import stop
from evcc.session.vehicle import MESSAGE, Vehicle
from evcc.session.watch import NO_ERROR, Implausible
from v2g.errors import CodecError, Iso15118Error
from v2g.exi.declare import Element
from v2g.iso15118.engine import identifiers, sequence
from v2g.iso15118.engine.app_protocol import AppProtocol, SupportedAppProtocolReq
from v2g.iso15118.engine.dc_status import FAULT, NO_CURRENT_MA, is_sound
from v2g.iso15118.engine.message_timing import SLOW_PRE_CHARGE_S, SharedTiming
from v2g.iso15118.engine.physical_values import PhysicalNumber, milliamperes, millivolts, watts
from v2g.iso15118.engine.quirks import (
    EVSEID_NOT_REPEATED,
    NOT_READY_AFTER_CHECK,
    SESSION_ID_LENGTH,
    SLOW_ANSWER,
    SLOW_CURRENT_DEMAND,
    SLOW_PRE_CHARGE,
    WELDING_DETECTION,
    Quirk,
)
from v2g.iso15118.engine.response_codes import Consequence, consequence
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.v2g_message import Header, MessageSession, is_same_session
from v2g.iso15118.engine.xmldsig import Signature
from v2g.iso15118.v2g_message import ChargeParameterDiscoveryRes, CurrentDemandRes, DC_EVSEStatus, EVSEStatus

# -- Whether a response of ISO 15118-2 or DIN 70121 can be right, from the charge parameters to the end of the loop.
# The insulation, the status, limits, present values, and whether EVSE and schedule are still those of the session.

_CHECKED: Final = frozenset({"PreChargeRes", "PowerDeliveryRes", "CurrentDemandRes", "MeteringReceiptRes"})
"""Responses after the insulation test."""

_READERS: Final[Mapping[str, Callable[[PhysicalNumber], int]]] = {
    "voltage": millivolts,
    "current": milliamperes,
    "power": watts,
}

_LIMITS: Final = ("evse_maximum_", "evse_minimum_voltage", "evse_max_current", "evse_nominal_voltage")
"""Beginnings of the names of limits; a minimum of current decides nothing."""

Judgement = tuple[Implausible | None, tuple[Quirk, ...]]


def judge(response: Element, context: MessageContext) -> Judgement:
    """Return what is wrong with a response, and quirks that are tolerated; what it demands is for the handlers.

    Raises Iso15118Error for values of another unit.
    """
    name, status = type(response).__name__, status_of(response)
    if status is None or wanted_end(status) is not None:
        return None, ()
    found, quirks = _status(name, status, response)
    parameter = getattr(response, "evse_charge_parameter", response)
    if not isinstance(response, ChargeParameterDiscoveryRes) or response.evse_processing.value == "Finished":
        found = found or watch.limits(_limits(parameter, context))
    if hasattr(response, "evse_present_voltage"):
        found = found or _present(response, context)
    if found is None and hasattr(response, "evse_id"):
        found, more = _identity(response, context)
        quirks += more
    return found, quirks


def _status(name: str, status: EVSEStatus, response: object) -> Judgement:
    """Judge a DC_EVSEStatus by the phase: before the insulation test only a fault counts, NotReady only in the loop and
    beside a current that ought to stop.
    """
    if not isinstance(status, DC_EVSEStatus):  # alternating current
        return None, ()
    code = status.evse_status_code
    isolation, checked = status.evse_isolation_status, name in _CHECKED
    if isolation is not None and (isolation.value == FAULT or (checked and not is_sound(status))):
        return Implausible("insulation_fault", "evse_isolation_status", isolation.value, NO_ERROR), ()
    if code.value.startswith("Reserved"):
        return Implausible("evse_status_unknown", "evse_status_code", code.value), ()
    if not checked or code.value != "EVSE_NotReady":
        return None, ()
    current = getattr(response, "evse_present_current", None)
    if current is not None and milliamperes(current) >= NO_CURRENT_MA:
        return Implausible("evse_not_ready", "evse_status_code", code.value, NO_ERROR), ()
    return None, (NOT_READY_AFTER_CHECK,)


def _limits(parameter: Element, context: MessageContext) -> dict[str, int]:
    """Return the limits in a response, beside the known minimum voltage."""
    known = context.plan.limits.min_voltage_mv if context.plan is not None else 0
    values = {"evse_minimum_voltage_limit": known} if known else {}
    for field in parameter.__struct_fields__:
        value = getattr(parameter, field)
        if value is not None and field.startswith(_LIMITS):
            values[field] = next(read for word, read in _READERS.items() if word in field)(value)
    if isinstance(parameter, CurrentDemandRes) and values.get("evse_maximum_voltage_limit") == 0:
        del values["evse_maximum_voltage_limit"]  # not given: the voltage is there
    return values


def _present(response: Any, context: MessageContext) -> Implausible | None:
    current = getattr(response, "evse_present_current", None)
    return watch.present(
        voltage=("evse_present_voltage", millivolts(response.evse_present_voltage)),
        current=None if current is None else ("evse_present_current", milliamperes(current)),
        max_voltage_mv=context.battery.max_voltage_mv if context.contactor_closed else None,
    )


def _identity(response: Any, context: MessageContext) -> Judgement:
    """Judge EVSEID and SAScheduleTupleID of a loop's response."""
    begun, present = identifiers.plain(context.evse_id), identifiers.plain(response.evse_id)
    quirks = (EVSEID_NOT_REPEATED,) if bool(begun) != bool(present) else ()
    if begun and present and begun != present:
        return Implausible("evse_id_changed", "evse_id", response.evse_id), quirks
    schedule = context.plan.schedule if context.plan is not None else None
    if schedule is not None and response.sa_schedule_tuple_id != schedule.tuple_id:
        return Implausible("schedule_changed", "sa_schedule_tuple_id", response.sa_schedule_tuple_id), quirks
    return None, quirks


_LOOP: Final = "CurrentDemandReq"

MOVES_S: Final = 1.0
"""How long the output of a pre-charge may stand still after its time, s."""


class MessageVehicle(Vehicle[stages.Step, stages.Ending], MessageSession):
    """One session of one vehicle. See `Vehicle` for its arguments; `timers` are the edition's.

    Responses that cannot be right end it: see `evcc.session.watch`; `invalid_value` is one of another unit.
    """

    kinds = stages.KINDS
    vocabulary: ClassVar[Vocabulary]
    handlers: ClassVar[Handlers[MessageContext, stages.Step]]

    def __init__(
        self,
        config: SessionConfig,
        timers: SharedTiming,
        connection: Connection,
        protocols: tuple[AppProtocol, ...],
        connected_for: float,
    ) -> None:
        super().__init__(config, timers, connection, protocols, connected_for)
        self._phases = timers
        self._choice: stages.Choice | None = None
        self._plan: stages.Plan | None = None
        self._evse_id = ""
        self._signature: Signature | None = None
        """Of the next request."""

    # -- messages -----------------------------------------------------------------------------------------------

    def _transmit(self, request: Element) -> None:
        assert sequence.accepts(self.state, request, self.chart), (
            f"{type(request).__name__} is out of order in {self.state}"
        )
        signature, self._signature = self._signature, None
        if isinstance(request, SupportedAppProtocolReq):
            self._send(request)
        else:
            self._send_body(request, signature)

    def _on_body(self, body: Element, header: Header | None) -> None:
        request = self._awaiting(body)
        if request is None:
            return
        code = sequence.code_of(body)
        if sequence.is_failed(body):
            if consequence(body) is Consequence.FINISH:
                self._finish(code)
            else:
                self._on_refusal(request, code)
                self._fail(self._cause(code), message=type(body).__name__)
            return
        if header is not None and not self._belongs(header.session_id):
            self._fail("wrong_session_id", message=type(body).__name__)
            return
        self._answered()
        self._note_slowness(type(request).__name__)
        state = sequence.advance(self.state, request, body, self.chart)
        if state is State.ENDED and type(body).__name__ != "SessionStopRes":
            self._fail("unexpected_response_code", message=type(body).__name__, code=code)
            return
        self.state = state
        context = self._context()
        if header is not None:
            context = replace(context, session_id=header.session_id, signature=header.signature)
        self._apply(self._judged(request, body, context))

    def _on_refusal(self, request: Element, code: str) -> None:
        """Handle a request that was refused, before the session ends by it."""

    def _judged(self, request: Element, body: Element, context: MessageContext) -> stages.Step:
        """Return the step that follows a response; one that cannot be right ends the session."""
        stage = self.stage
        try:
            if isinstance(body, CurrentDemandRes):  # at each stage: whatever the vehicle asks for meanwhile
                self._command(Reported(millivolts(body.evse_present_voltage), milliamperes(body.evse_present_current)))
            finding = None
            if not isinstance(stage, self.kinds.ending):
                finding, quirks = judge(body, context)
                for quirk in quirks:
                    self._tolerate(quirk)
            ending = wanted_end(status_of(body)) if isinstance(stage, stages.RampingDown) else None
            if ending is not None:  # a charger that ends the session meanwhile lets it not pause
                self._request_end(ending)
            if finding is None:
                return self.handlers.response(self.stage, request, body, context)
        except Iso15118Error as error:
            finding = Implausible("invalid_value", "PhysicalValue", str(error))
            if isinstance(stage, stages.RampingDown):
                return stop(stage, context, stage.ending)
            if isinstance(stage, self.kinds.ending):
                return stages.fail(stage, finding.cause, error=str(error))
        self._actions.append(finding.event(type(body).__name__))
        return stop(stage, context, stages.Ending(finding.cause, failed=True, ev_error=finding.ev_error))

    def _belongs(self, session_id: bytes) -> bool:
        """Return whether a response belongs to this session; the first one names it."""
        if self.state in (State.SUPPORTED_APP_PROTOCOL, State.SESSION_SETUP):
            return True
        if session_id != self.session_id and is_same_session(self.session_id, session_id):
            self._tolerate(SESSION_ID_LENGTH)
            return True
        return session_id == self.session_id

    def _note_slowness(self, request: str) -> None:
        """Report a charger whose answer came after the edition's time-out."""
        if self._time.now - self.asked_at > self.timing[request].timeout:
            self._tolerate(SLOW_CURRENT_DEMAND if request == _LOOP else SLOW_ANSWER)

    # -- steps --------------------------------------------------------------------------------------------------

    def _context(self) -> MessageContext:
        ending = getattr(self.stage, "ending", None)
        return MessageContext(
            **self._common_context(),
            vocabulary=self.vocabulary,
            choice=self._choice,
            plan=self._plan,
            progress=self._progress,
            evse_id=self._evse_id,
            ev_error=ending.ev_error if isinstance(ending, stages.Ending) else NO_ERROR,
        )

    def _apply(self, step: stages.Step) -> None:
        if step.session_id is not None:
            self._session_begun(step.session_id)
        if step.evse_id is not None:
            self._evse_id = step.evse_id
        if step.choice is not None:
            self._choice = step.choice
        for quirk in step.quirks:
            self._tolerate(quirk)
        overtaking = self._overtaking(step)
        if overtaking is not None:
            self._actions.extend(step.observed)
            step = stop(step.stage, self._context(), overtaking)
        self._signature = step.signature
        self._enter(step.stage)
        self._actions.extend(step.observed)
        self._command(*step.commands)
        self._proceed(step)

    def _enter(self, stage: Stage) -> None:
        self._plan = getattr(stage, "plan", self._plan)
        if self._plan is not None:
            self._watch.agree(self._plan.limits.tolerance_ma)
        super()._enter(stage)
        if isinstance(stage, stages.Looping):
            self._progress = stage.progress

    def _wake(self) -> None:
        context = self._context()
        self._apply(self.handlers.wake(self.stage, self._last, context))

    def _contactor_moved(self, *, closed: bool) -> None:
        step = self.handlers.contactor(self.stage, self._context(), closed=closed)
        if step is not None:
            self._apply(step)

    def _staying(self) -> stages.Step:
        return stages.Step(stage=self.stage)

    def _chains(self, stage: Stage) -> Mapping[str, float | None]:
        timers = self._phases
        ongoing_s = self._ongoing_s(stage)
        return {
            "authorization": ongoing_s,
            "parameters": ongoing_s,
            "cable_check": timers.evcc_cable_check,
            "pre_charge": timers.evcc_pre_charge,
            "contactor": self._config.timing.contactor_s,
        }

    def _ongoing_s(self, stage: Stage) -> float | None:
        """Return how long the charger may send Ongoing."""
        return self._phases.evcc_ongoing if getattr(stage, "polls", 0) else None

    def _is_ac(self) -> bool:
        return False

    # -- ends ---------------------------------------------------------------------------------------------------

    def _ending(self, cause: str | StopRequested) -> stages.Ending:
        return stages.Ending(cause, failed=True) if isinstance(cause, str) else stages.Ending(cause.reason)

    def _on_timer(self, name: str) -> None:
        stage = self.stage
        if name == MESSAGE and isinstance(stage, stages.Welding | stages.Stopping):
            self._finish("message_timeout")
        elif name == "pre_charge" and isinstance(stage, stages.PreCharging) and self._moves(stage):
            self._tolerate(SLOW_PRE_CHARGE)
            self._arm(name, MOVES_S)
        else:
            super()._on_timer(name)

    def _moves(self, stage: stages.PreCharging) -> bool:
        """Return whether a tolerant vehicle waits on, for an output that still moves."""
        now, tolerant = self._time.now, self._phases.tolerate_slow_chargers
        return tolerant and now - stage.moved_at <= MOVES_S and now - stage.since < SLOW_PRE_CHARGE_S

    def _on_eof(self) -> None:
        if isinstance(self.stage, stages.Welding | stages.Stopping):
            self._finish("secc_vanished")
        else:
            super()._on_eof()

    def _on_broken(self, error: CodecError) -> None:
        if isinstance(self.stage, stages.Welding | stages.Stopping):
            self._finish("undecodable_message")
        else:
            super()._on_broken(error)

    def _finish(self, cause: str) -> None:
        """End a session that is over anyway: its contactor is open, and the charger's last answers do not matter."""
        assert isinstance(self.stage, stages.Welding | stages.Stopping)
        ending = self.stage.ending
        if isinstance(self.stage, stages.Welding):
            self._tolerate(WELDING_DETECTION)
        self._observe("stop", "not_confirmed", cause=cause)
        self._command(*SAFE)
        self._end(ending.reason)
