"""The charge point's side of a session in any edition: requests go to handlers, facts to stages, and power stops before
messages do.

An edition's session adds its messages, sequence and refusals. Collaborators hold what is not in the chart:
`SessionFacts`, `SessionLimits`, `JournalStatus`, `Notices`, `ReportedNeeds`, `OutputGuard`, `Turnaround`, `Pacing`,
`Supply`.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

from msgspec.structs import replace

from secc.session import delivery, needs, ports, stages
from secc.session.basic_charging import Supply, withheld_by
from secc.session.config import ControlMode
from secc.session.edition import SessionStart
from secc.session.facts import SessionFacts
from secc.session.guard import LOWERED, STATE_B, OutputGuard, OutputUse
from secc.session.identity import Contract
from secc.session.installation import Installing
from secc.session.journal import JournalStatus
from secc.session.needs import ReportedNeeds
from secc.session.pacing import Pacing, RequestPace
from secc.session.ports import Paused
from secc.session.power import DIRECTION_CHANGE, Turnaround, apply_output, direction
from secc.session.request_context import NOTICE_S, ChargerTiming, CommonContext, Handlers, Notices, RequestContext, Step
from v2g.asn1.discharge import DischargeLimits
from v2g.energy.grid_signal import Tariff
from v2g.energy.limits import VEHICLE, Limit, LimitsOverTime, limits_over
from v2g.energy.settlement.records import TariffSet, VehicleDescribed, support_record
from v2g.errors import CodecError, Iso15118Error
from v2g.exi.declare import Element
from v2g.hardware.faults import FAULTS
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.charts import LOOPS, Family
from v2g.iso15118.engine import sequence
from v2g.iso15118.engine.sequence import Chart, State
from v2g.iso15118.engine.session import NO_SESSION, Command, Fact, Session
from v2g.observe import Observe
from v2g.units import DAY_S
from v2g_station.blocks.authorization.contracts import AuthorizationStatus
from v2g_station.blocks.smart_charging.smart_charging import AnnouncePrices, ProfileTaken

_HOLDING: Final = frozenset({PilotState.B, PilotState.C, PilotState.D})
_DIRECT: Final = (Family.DC, Family.ACDP)

_WRONG_MODE: Final = "FAILED_WrongEnergyTransferMode"
DECIDING: Final[Mapping[str, str]] = {
    "RequestedEnergyTransferMode": _WRONG_MODE,
    "EVRequestedEnergyTransferType": _WRONG_MODE,
    **dict.fromkeys(("ChargeProgress", "ChargingSession", "EVProcessing", "EVResultCode"), "FAILED"),
    **dict.fromkeys(("EVCheckInStatus", "EVCheckOutStatus", "ParkingMethod"), "FAILED"),
}
"""Enumeration in a request that decides what happens -> the code by which a value without a name is refused."""
PULL_S: Final = 1.0
"""How long after state B state A still means that the cable was pulled, s: that takes some 100 ms. A vehicle that has
stopped stays in B."""
CONTACTOR: Final = frozenset({"contactor_welded", "contactor_stuck_open", "contactor_dropped"})
"""Faults of the contactor."""


class ChargerSession(Session):
    """One session of a charge point; an edition's session is this and the edition's `Session`."""

    handlers: ClassVar[Handlers[Any]]

    parameters: ClassVar[frozenset[str]]
    """The requests with the vehicle's limits, beside those of charge loops."""

    notifications: ClassVar[frozenset[str]]
    """What the vehicle can be asked for (`secc.session.request_context`)."""

    def __init__(self, start: SessionStart, timing: ChargerTiming, pace: RequestPace) -> None:
        config, connection = start.config, start.connection
        super().__init__(entropy=connection.entropy, on_message=start.on_message, time_scale=start.time_scale)
        self._config, self._connection, self._limits, self._facts = config, connection, start.limits, start.facts
        self._timing, self._loops = timing, frozenset(pace.loops)
        self._paused = start.paused
        self._notices, self._journal = Notices(), JournalStatus()
        self._pacing, self._guard = Pacing(self._time, timing, pace), OutputGuard(self._time)
        self._turnaround = Turnaround(self._time, config.direction_change_s, max(config.power_rating(Family.DC)))
        self._supply = Supply(self._time, config.no_energy)
        self._driving: ports.Output | None = None
        """The output that `_turnaround` knows of."""
        self._stage: stages.Stage = stages.Fresh()
        self.vehicle: stages.Vehicle | None = None
        """The vehicle's latest limits and state of charge."""
        self._needs = ReportedNeeds()
        self._pending: Element | None = None
        """The request that waits for a fact."""
        self._stopping = False
        self._stop_reason = "vehicle"
        self._doomed = ""
        """Why the session is over, though the vehicle has not been informed."""
        self._behind_ms = 0
        """By how much UTC has been set back."""

    @property
    def powered(self) -> bool:
        """Whether voltage may be at the output."""
        return self._guard.powered

    @property
    def facts(self) -> SessionFacts:
        """The known surroundings."""
        return self._facts

    @property
    def stage(self) -> stages.Stage:
        """The progress of the session, with its data (`secc.session.stages`)."""
        return self._stage

    def schedule_limits(self, utc_ms: int) -> LimitsOverTime:
        """Return the limits that a schedule would be made of now, if the vehicle has one; nothing else."""
        stage = self._stage
        if not isinstance(stage, stages.Planned | stages.AfterPlan):
            return ()
        if stage.selected.control_mode is not ControlMode.SCHEDULED:
            return ()
        return limits_over(self._limits.planned(utc_ms), utc_ms, utc_ms + DAY_S * 1000)

    @property
    def bidirectional(self) -> bool:
        """Whether energy may flow back by the selected services."""
        selected = self._selected()
        return selected is None or selected.bidirectional

    def _at(self, now: float, utc_ms: int) -> bool:
        """Let UTC run on when the clock is set back: journal time never decreases, and no command lives longer."""
        run_on = self._time.utc_ms + int((now - self._time.now) * 1000 * self._time.scale) if self._time.utc_ms else 0
        self._behind_ms = max(0, run_on - utc_ms)
        return super()._at(now, utc_ms + self._behind_ms)

    # -- what an edition adds -----------------------------------------------------------------------------------

    @property
    @abstractmethod
    def _chart(self) -> Chart:
        """The edition's sequence chart."""

    @property
    @abstractmethod
    def _kind(self) -> Family:
        """The kind of energy transfer; DC before it is known."""

    @abstractmethod
    def request_context(self, *, waited: bool) -> RequestContext:
        """Return the context of a request."""

    @abstractmethod
    def _refuse(self, request: Element, code: str, stream: int | None = None) -> None:
        """Send the negative response in the request's own type; `stream` is its payload type beside the main stream."""

    @abstractmethod
    def _send_step(self, step: Step) -> None:
        """Send a handler's response."""

    @abstractmethod
    def _fault_code(self, request: Element, fault: str) -> str:
        """Return the response code by which a fault of the charger is reported in the answer to this request."""

    @abstractmethod
    def _brings_power(self, request: Element) -> bool:
        """Return whether a request leads to voltage or current."""

    def _on_step(self, request: Element, step: Step, before: State) -> None:
        """A request was handled in the state `before`; its response is sent next."""

    def _on_answered(self, request: Element, before: State) -> None:
        """A request was answered in the state `before`, and the session continues."""

    def _on_leaving(self) -> None:
        """The session ends or pauses; power has stopped."""

    def _on_limits(self, limits: DischargeLimits) -> None:
        """The limits of discharge may have changed."""

    def _on_grid(self, *, limits: bool, tariff: bool) -> None:
        """New limits, or new prices, are in force."""

    def _on_joined(self, paused: Paused) -> None:
        """A paused session continues."""

    def _fail_after(self, code: str, reason: str) -> None:
        """A negative response was sent: the session is over."""
        self._end(reason or code)

    @property
    def _bounds_voltage(self) -> bool:
        """Whether voltage is present for a vehicle that has not begun to charge."""
        return isinstance(self._stage, stages.PreCharging) and bool(self._stage.target_mv)

    @property
    def _follows_pilot(self) -> bool:
        """Whether the control pilot shows the vehicle's state now."""
        return True

    # -- requests -----------------------------------------------------------------------------------------------

    def _common_context(self, *, waited: bool) -> CommonContext:
        """Return the fields of `RequestContext`."""
        now, utc_ms = self._time.now, self._time.utc_ms
        return {
            "config": self._config,
            "connection": self._connection,
            "timing": self._timing,
            "facts": self._facts,
            "family": self._kind,
            "now": now,
            "utc_ms": utc_ms,
            "station": self._limits.station(utc_ms),
            "limits": self._limits.planned(utc_ms),
            "setpoint": self._limits.setpoint_at(utc_ms),
            "turning": self._turning(),
            "notice": self._notices.current(now),
            "paused": self._paused,
            "powered": self._guard.powered,
            "journal_open": self._journal.open,
            "stopping": self._stopping,
            "waited": waited,
            "exi": self.newest.exi,
        }

    def _on_start(self) -> None:
        self._pacing.begin()
        self._limits.arm_change(self._time)
        self._limits.arm_setpoint(self._time)

    def _on_request(self, request: Element, *, same_session: bool) -> None:
        """Answer a request of the main stream; `same_session` is whether its header names this session."""
        name = type(request).__name__
        late_s = self._pacing.requested(self.state, first=self._pending is None)
        if late_s:
            self._observe("session", "late_request", request=name, seconds=round(late_s, 4))
        opened = self.session_id != NO_SESSION and name not in ("SupportedAppProtocolReq", "SessionSetupReq")
        if opened and not same_session:  # V2G20-460
            self._fail(request, "FAILED_UnknownSession", f"{name} of session {self._foreign_id.hex()}")
        elif self._pending is not None:
            self._fail(request, "FAILED_SequenceError", f"{name} before the response to {type(self._pending).__name__}")
        elif unlisted := self._unlisted(DECIDING):
            self._fail(request, DECIDING[unlisted.field], str(unlisted), "unlisted_value")
        elif name not in self.handlers or not sequence.accepts(self.state, request, self._chart):  # V2G20-459
            self._fail(request, self._sequence_code(request), f"{name} in state {self.state.value}")
        else:
            self._answer(request, waited=False)

    @property
    def _foreign_id(self) -> bytes:
        """The session that the latest message names."""
        header = getattr(self.newest.message, "header", None)
        return header.session_id if header is not None else NO_SESSION

    def _sequence_code(self, request: Element) -> str:
        """Return the response code for a request that is out of order."""
        return "FAILED_SequenceError"

    def _answer(self, request: Element, *, waited: bool) -> None:
        """Call the handler; if it waits for a fact, store the request until the fact arrives or time is up."""
        handler = self.handlers[type(request).__name__]
        if self._stopping and self._brings_power(request):
            code = "FAILED_PowerDeliveryNotApplied" if type(request).__name__ == "PowerDeliveryReq" else "FAILED"
            self._fail(request, code, "the session is ending", self._stop_reason)
            return
        while True:
            try:
                outcome = handler(request, self._stage, self.request_context(waited=waited))
            except Iso15118Error as error:
                self._fail(request, error.answer, str(error), error.reason)
                return
            self._stage = outcome.stage
            self._perform(outcome.commands)
            if isinstance(outcome, Step):
                self._respond(request, outcome)
                return
            if not waited and outcome.seconds > 0:
                break
            waited = True
        if self._pending is None:
            self._pending = request
            self._arm("answer", outcome.seconds)

    def _respond(self, request: Element, step: Step) -> None:
        name = type(request).__name__
        if self._pacing.too_long(step.response):
            self._fail(request, "FAILED", "the charger did not finish in time", "ongoing_timeout")
            return
        limits = stages.parametrised_of(step.stage) if name in self.parameters or name in self._loops else None
        if limits is not None and self._is_over_voltage(limits.vehicle):
            code = "FAILED_WrongChargeParameter" if name in self.parameters else "FAILED"
            self._fail(request, code, "the output's voltage is above the vehicle's maximum", self._guard.excess)
            return
        self._pending = None
        self._disarm("answer")
        if seconds := self._pacing.answered(name):
            self._observe("session", "late_response", request=name, seconds=round(seconds, 4))
        self._notices.followed(step.followed)
        before, self.state = self.state, sequence.advance(self.state, request, step.response, self._chart)
        self._on_step(request, step, before)
        if before is State.SESSION_SETUP:
            assert isinstance(step.stage, stages.Opened | stages.Selected)
            self.session_id = step.stage.session_id
        if self.state is State.PAUSED and not (isinstance(step.stage, stages.Finished) and step.stage.paused):
            self.state = State.ENDED  # nothing was stored that could be joined
        failed = sequence.code_of(step.response) if sequence.is_failed(step.response) else ""
        if self.state is State.PAUSED:
            self._keep()
        elif self.state is State.ENDED:
            self._settle(failed or self._stop_reason)
        self._send_step(step)
        if failed:
            self._end(failed)
        else:
            self._after(request, before)

    def _after(self, request: Element, before: State) -> None:
        """Carry out the effects of an answered request, and start the timers of the next one."""
        if isinstance(self._stage, stages.Finished):
            self._time.timers.clear()
            self._arm("close", self._linger_s)  # V2G20-1633, -1643: the vehicle closes first
            return
        name = type(request).__name__
        if name in self.parameters or name in self._loops:
            self._take_vehicle_limits()
        if name in self._loops:
            self._await_turn()
            self._look_supply()
        self._on_answered(request, before)
        # limit how long voltage, or a field, is present for a vehicle that does not begin to charge
        if self._bounds_voltage:
            if "pre_charge" not in self._time.timers:
                self._arm("pre_charge", self._timing.secc_pre_charge)
        elif not isinstance(self._stage, stages.Starting):
            self._disarm("pre_charge")
        self._pacing.expect(request, self.state)

    @property
    def _linger_s(self) -> float:
        """How long the vehicle may take to close after the end of the session, s."""
        return self._timing.close

    def _fail(self, request: Element, code: str, why: str, reason: str = "", *, stream: int | None = None) -> None:
        """Stop power, answer with `code` in the request's own response type (V2G20-736), and end."""
        self._stop_power(reason or code)
        self._observe("session", "request_failed", request=type(request).__name__, code=code, reason=why)
        self._refuse(request, code, stream)
        self._fail_after(code, reason)

    # -- facts --------------------------------------------------------------------------------------------------

    def _on_fact(self, fact: Fact) -> None:
        if isinstance(self._stage, stages.Finished):
            if fact == ports.PilotChanged(PilotState.A) and self._doomed == STATE_B:
                self._doomed = "unplugged"  # nobody stopped: the cable was pulled
                self._end(self._doomed)
            return
        if isinstance(fact, ports.MeterRead):  # else its energy had no time, and a Receipt would not count it
            fact = replace(fact, utc_ms=min(fact.utc_ms + self._behind_ms, self._time.utc_ms))
        before, self._facts = self._facts, self._facts.updated(fact)
        match fact, self._stage:  # an answer to an earlier attempt, and a second one, do not count
            case ports.AuthorizationDecided() as decided, stages.Authorizing() as stage:
                if decided.attempt == stage.attempt and stage.status is None:
                    self._stage = replace(stage, status=decided.status)
            case ports.ContractAnswered() as answered, Installing() as stage:
                if answered.attempt == stage.before.opened.fetches and stage.outcome is None:
                    self._stage = replace(stage, outcome=answered.answer)
            case ports.CableCheckFinished(passed, why), stages.CableChecking() as stage:
                self._stage = replace(stage, passed=passed, why=why)
            case _:
                self._take(fact, before)
        waits = isinstance(fact, ports.Measured) and isinstance(self._stage, stages.CableChecking | stages.Stopping)
        waits |= isinstance(fact, ports.MeterRead) and not fact.reason  # a report, for which no request waits
        if self._pending is not None and not self._closed and not waits:  # these wait for another fact
            self._answer(self._pending, waited=False)

    def _take(self, fact: Fact, before: SessionFacts) -> None:
        match fact:
            case ports.Measured():
                self._turning()
                if self._is_over_voltage(self.vehicle):
                    self._on_over_voltage()
            case ports.PausedSessionChanged(paused=paused):
                self._paused = paused if isinstance(self._stage, stages.Fresh) else self._paused
            case ports.ChargingNeedsAnswered():
                self._needs_answered(fact)
            case ports.ContactorState():
                self._take_contactor(fact)
            case ports.PilotChanged():
                self._take_pilot(fact.state)
            case ports.HardwareFault():
                self._on_fault(fact.reason)
            case _:
                self._take_demand(fact)

    def _needs_answered(self, fact: ports.ChargingNeedsAnswered) -> None:
        """Plan by the back end's answer. A rejection ends the session (Q01.FR.06)."""
        if isinstance(self._stage, stages.Awaiting):
            self._stage = needs.on_needs_answered(fact, self._stage)
        elif fact.status == needs.REJECTED and self._selected() is not None:
            self._terminate("energy_transfer_rejected")

    def _take_demand(self, fact: Fact) -> None:
        """Carry out what CSMS, grid or operator demand."""
        if isinstance(fact, ports.GridChanged | ProfileTaken) and isinstance(self._stage, stages.Awaiting):
            self._stage = replace(self._stage, status=needs.PROFILE_SET)  # the awaited limits or profile
        match fact:
            case ports.GridChanged():
                if fact.foreseen is not None:
                    self._limits.foresee(fact.foreseen)
                self._take_grid(fact.limits, fact.tariff)
            case AnnouncePrices():
                self._replan()
            case ports.SetpointChanged():
                self._limits.take_setpoint(fact.setpoint, self._time)
                self._perform(self._follow())
            case ports.GridResponseChanged():
                self._perform(self._follow())
                self._hold()
            case ports.PhasesChanged():
                self._replan()
            case ports.StopRequested():
                if isinstance(self._stage, stages.Authorizing):
                    # a pending decision becomes a refusal (V2G20-2230)
                    refused = self._stage.status or AuthorizationStatus.REFUSED
                    self._stage = replace(self._stage, status=refused)
                self._terminate(fact.reason)
            case ports.RenegotiationRequested():
                self._notify("ScheduleRenegotiation")
            case ports.MeteringConfirmationRequested():
                if self._config.metering_confirmation and isinstance(self._stage, stages.Charging) and self._contract():
                    self._notify("MeteringConfirmation")

    def _terminate(self, reason: str) -> None:
        """Stop power, and ask the vehicle to end the session; after a timeout it is ended.

        This is final: the first reason stays.
        """
        if self._stopping:
            return
        self._stopping, self._stop_reason = True, reason
        self._notify("Terminate")
        self._arm("terminate", NOTICE_S)
        self._perform(self._follow())
        self._perform(self._suspend("SuspendedEVSE"))  # the vehicle may take its time, or ignore it

    @property
    def _use(self) -> OutputUse:
        match self._stage:
            case stages.Starting():
                return OutputUse.CLOSING
            case stages.Stopping():
                return OutputUse.OPENING
            case stages.Charging(held=held, closing=closing):
                return OutputUse.CLOSING if closing else OutputUse.HELD if held else OutputUse.CHARGING
        return OutputUse.NONE

    def _take_contactor(self, fact: ports.ContactorState) -> None:
        wrong = self._guard.contactor(fact, self._use)
        if isinstance(self._stage, stages.Starting | stages.Stopping):
            self._stage = delivery.on_contactor(fact, self._stage)
        elif isinstance(self._stage, stages.Charging) and self._stage.closing:
            if fact.closed:  # not before: an opening by the interlock takes back what is permitted
                self._stage = replace(self._stage, held=False, closing=False)
                self._perform(self._follow())
        elif wrong.startswith("pilot_"):  # the pilot's own fact follows
            state = PilotState(wrong.removeprefix("pilot_"))
            self._facts = replace(self._facts, pilot=state)
            self._take_pilot(state)
        elif wrong:
            self._on_fault(wrong)

    def _is_over_voltage(self, vehicle: stages.Vehicle | None) -> bool:
        """Return whether the output has to be switched off at once, as it has more voltage than the vehicle bears."""
        most_mv = vehicle.max_voltage_mv if vehicle and self._kind in _DIRECT else None
        return self._guard.over_voltage(self._facts.measured.voltage_mv, most_mv)

    def _on_over_voltage(self) -> None:
        if self._guard.excess == LOWERED:
            self._end_by_answer(LOWERED)
        else:
            self._on_fault(self._guard.excess)

    def _take_pilot(self, state: PilotState) -> None:
        if not self._follows_pilot:
            return
        if self._kind is Family.AC and isinstance(self._stage, stages.Charging) and state in _HOLDING:
            self._hold(moved=True)
        elif (reason := self._guard.pilot(state, self._use)) == STATE_B:
            self._stop_power(reason)
            self._stage, self._doomed, self._pending = stages.Finished(), reason, None
            self._time.timers.clear()
            self._arm("close", PULL_S)
        elif reason:
            self._on_abort(reason)

    def _hold(self, *, moved: bool = False) -> None:
        """Open for an AC vehicle that interrupts by its pilot, and where the grid demands it: the loop continues
        without energy. Where the pilot has `moved` the contactor may close that could not in its last state. After a
        stop it stays open: the vehicle can only end the session."""
        stage, tripped = self._stage, self._facts.response.trip
        if self._kind is Family.AC and isinstance(stage, stages.Starting) and tripped:
            self._perform((ports.OpenContactors(),))
        held = tripped or self._facts.pilot is PilotState.B
        if (
            self._kind is not Family.AC
            or not isinstance(stage, stages.Charging)
            or (self._stopping and not held)
            or (held is (stage.held and not stage.closing) and not (moved and stage.closing))
        ):
            return
        self._stage = replace(stage, held=True, closing=not held)
        self._perform((*self._follow(), ports.OpenContactors() if held else ports.CloseContactors()))
        self._observe("power", "held" if held else "released")

    def _on_fault(self, fault: str) -> None:
        self._observe("power", "hardware_fault", reason=fault)
        self._end_by_answer(fault)

    def _end_by_answer(self, reason: str) -> None:
        """Stop power and close the journal at once; the vehicle gets the end in its pending or next response.

        If the vehicle sends no further request, the connection is closed after the close time.
        """
        if self._pending is not None:
            self._doomed, known = reason, FAULTS.get(reason)
            code = self._fault_code(self._pending, reason)
            self._fail(self._pending, code, known.sentence if known else reason, reason)
            return
        self._settle(reason)
        self._stage, self._doomed = stages.Finished(), reason
        self._time.timers.clear()
        self._arm("close", self._timing.close)

    def _close_doomed(self, request: Element, stream: int | None = None) -> None:
        """Answer a request after a fault, and close."""
        self._refuse(request, self._fault_code(request, self._doomed), stream)
        self._end(self._doomed)

    # -- notifications to the vehicle -------------------------------------------------------------------------

    def _notify(self, notification: str) -> None:
        if notification not in self.notifications:
            return
        self._notices.ask(notification, self._time.now)
        if notification == "ScheduleRenegotiation":
            self._needs.ask_again()
        self._observe("loop", "notice", notification=notification)

    def _selected(self) -> stages.Selected | None:
        return stages.selected_of(self._stage)

    def _contract(self) -> Contract | None:
        selected = self._selected()
        return selected.contract if selected else None

    # -- commands, and the end ----------------------------------------------------------------------------------

    def _perform(self, commands: Iterable[Command | Observe]) -> None:
        """Issue commands and note what they open, because it must be closed again."""
        for command in commands:
            match command:
                case ports.ReportChargingNeeds(needs=known):
                    # planned: it has opened its contactor for a renegotiation
                    goes_on = isinstance(self._stage, stages.Charging | stages.Planned)
                    if not self._needs.report(known, charging=goes_on):
                        continue
                case ports.JoinSession():
                    assert self._paused is not None
                    self._facts = replace(
                        self._facts, meter_begin=self._paused.meter_begin, allowed=self._paused.allowed
                    )
                    self._on_joined(self._paused)
            if not isinstance(command, Observe):  # most are, and these open nothing
                self._journal.watch(command)
                self._guard.commanded(command)
            self._actions.append(command)

    def _stop_power(self, reason: str) -> None:
        if self._guard.powered:
            self._perform((ports.EmergencyOff(reason),))
            self._observe("power", "emergency_off", reason=reason)

    def _settle(self, reason: str) -> None:
        """Stop power, close the journal and the transaction: once, whatever ends the session."""
        if self._journal.settled:
            return
        self._journal.settled = True
        self._stop_power(reason)
        self._on_leaving()
        soc = self.vehicle.soc if self.vehicle else None
        self._perform(self._journal.close(self.session_id, reason, soc))
        self._observe("session", "session_ended", reason=reason, session_id=self.session_id.hex())

    def _keep(self) -> None:
        """Stop power and leave journal and transaction open: the session continues later."""
        self._journal.settled = True
        self._stop_power("paused")
        self._on_leaving()
        self._observe("session", "session_paused", session_id=self.session_id.hex())

    def _end(self, reason: str) -> None:
        """Settle and close at once."""
        self._settle(reason)
        self._stage = stages.Finished()
        self._close(self._doomed or reason)

    def _on_timer(self, name: str) -> None:
        match name:
            case "answer" if self._pending is not None:
                self._answer(self._pending, waited=True)
            case "sequence":  # V2G20-443
                self._observe("session", "timeout", timer="V2G_SECC_Sequence_Timeout", state=self.state.value)
                self._on_abort("sequence_timeout")
            case "ongoing":
                self._observe("session", "timeout", timer="V2G_SECC_Ongoing_Timeout", state=self.state.value)
                self._on_abort("ongoing_timeout")
            case "pre_charge":
                self._on_abort("pre_charge_timeout")
            case "over_voltage":
                self._on_over_voltage()
            case "terminate":
                self._on_abort(self._stop_reason)
            case "silence" if isinstance(self._stage, stages.Charging):
                looping = self.state in LOOPS or self.state is State.STANDBY
                if self._kind is Family.AC and not looping:
                    return  # it negotiates, and controls its power by its present schedule: `sequence` bounds that
                self._stage = replace(self._stage, halted=stages.SILENT if looping else stages.RENEGOTIATES)
                self._observe("power", "loop_silent", state=self.state.value)
                self._perform(self._follow())
            case "setpoint":
                self._limits.arm_setpoint(self._time)
                self._perform(self._follow())
            case "turnaround":
                self._perform(self._follow())
            case "supply":
                self._look_supply()
            case "limits":
                self._limits_changed("validity")
                self._limits.arm_change(self._time)
            case "close":
                self._end(self._finished)

    def _on_broken(self, error: CodecError) -> None:
        self._stop_power("undecodable")
        self._observe("session", "undecodable", error=str(error), state=self.state.value)
        self._end(self._finished if isinstance(self._stage, stages.Finished) else "undecodable")

    def _on_eof(self) -> None:
        if isinstance(self._stage, stages.Finished):
            self._end(self._finished)
        else:
            self._on_abort("connection_lost")

    @property
    def _finished(self) -> str:
        """The reason code for a normal end, or for the earlier cause of the end."""
        return self._doomed or ("paused" if self.state is State.PAUSED else "finished")

    def _on_abort(self, reason: str) -> None:
        self._stop_power(reason)
        self._end(reason)

    # -- limits and output --------------------------------------------------------------------------------------

    def _take_vehicle_limits(self) -> None:
        parametrised = stages.parametrised_of(self._stage)
        assert parametrised is not None
        if parametrised.vehicle is self.vehicle:
            return
        before, self.vehicle = self.vehicle, parametrised.vehicle
        vehicle = parametrised.vehicle
        if self._limits.take_vehicle(vehicle.max_charge_w, vehicle.max_discharge_w):
            self._limits_changed(VEHICLE)
        if self._journal.open and self._journal.capacity_wh is None and vehicle.capacity_wh is not None:
            evcc_id = parametrised.selected.authorized.opened.evcc_id
            described = VehicleDescribed(evcc_id=evcc_id, battery_capacity_wh=vehicle.capacity_wh)
            self._perform((ports.Journal(described),))
        if self._journal.open and vehicle.given is not None and (before is None or before.given != vehicle.given):
            self._perform((ports.Journal(support_record(vehicle.given)),))

    def _limits_changed(self, source: str) -> None:
        """Apply new limits at once. A lower one reaches the hardware before the journal, a higher one after it."""
        limits = self._limits.discharge(self._time.utc_ms)
        self._on_limits(limits)
        rises = self._limits.rises(limits)
        entry = self._limits.entry(source, limits) if self._journal.open else None
        note = () if entry is None else (ports.Journal(entry),)
        follow = self._follow()
        self._perform((*note, *follow) if rises else (*follow, *note))
        if source != VEHICLE:
            effective = self._limits.effective(self._time.utc_ms)
            self._observe(
                "power",
                "limit_changed",
                source=source,
                charge_w=effective.charge_w,
                discharge_w=effective.discharge_w,
                binding=effective.discharge_source,
                version=limits.operator_version,
            )

    def _follow(self) -> tuple[Command | Observe, ...]:
        """Return the commands for the present limits, set points and signatures."""
        stage = self._stage
        if not isinstance(stage, stages.Charging) or stage.output is None:
            return ()
        self._stage, commands = apply_output(stage, self.request_context(waited=False))
        self._await_turn()
        # energy that flows is part of a transaction that charges: it says so first
        flows = not stage.halted and not self._stopping and not withheld_by(self._stage, self._facts.measured)
        return (*(self._suspend("") if flows else ()), *commands)

    def _suspend(self, state: str) -> tuple[Command | Observe, ...]:
        """Return the update of the transaction if the charging state in the loop changes; empty: energy may flow."""
        stage = self._stage
        if not isinstance(stage, stages.Charging) or stage.standby or state == stage.suspended:
            return ()
        self._stage = replace(stage, suspended=state)
        return delivery.charging_state(stage, "suspend" if state else "resume", state or "Charging")

    def _turning(self) -> int:
        """Note how power flows now; return the direction that has to wait."""
        output = self._stage.output if isinstance(self._stage, stages.Charging) else None
        if output is not self._driving:
            self._driving = output
            self._turnaround.drive(0 if output is None else direction(output))
        self._turnaround.measure(self._facts.measured.watts)
        return self._turnaround.turning

    def _await_turn(self) -> None:
        """Look again after the dead time, if the output waits for it."""
        limits = self._stage.limits if isinstance(self._stage, stages.Charging) else None
        if limits is not None and DIRECTION_CHANGE in (limits.charge_source, limits.discharge_source):
            self._turning()
            self._turnaround.arm()

    def _look_supply(self) -> None:
        """Report a loop without energy, whichever side's limit is 0, and end it in the configured time. A set point of
        0 W is an order: only the charging state says so."""
        stage, ordered = self._stage, self._limits.setpoint_at(self._time.utc_ms) is not None
        counted = stage if isinstance(stage, stages.Charging) and not self._stopping else None
        source = "" if counted is None else withheld_by(counted, self._facts.measured)
        event = self._supply.look(source, ordered=ordered)
        self._perform(() if event is None else (event,))
        if counted is not None:
            self._perform(self._suspend(self._supply.suspended or (counted.suspended if source else "")))
        if self._supply.over:
            self._terminate("no_energy")

    def _take_grid(self, limits: Iterable[Limit] = (), tariff: Tariff | None = None) -> None:
        """Apply new limits, then new prices."""
        changed = self._limits.update(limits)
        if changed:
            self._limits_changed("+".join(changed))
            self._limits.arm_change(self._time)
        before = self._facts.tariff
        if tariff is not None:
            self._facts = replace(self._facts, tariff=tariff)
            self._observe("schedule", "tariff_changed", version=tariff.version, source=tariff.source)
            if self._journal.open:
                self._perform((ports.Journal(TariffSet(tariff=tariff)),))
        self._on_grid(limits=bool(changed), tariff=tariff is not None)
        if tariff is not None and (before is None or tariff.slots != before.slots):
            self._replan()

    def _replan(self) -> None:
        """Ask a vehicle that follows a schedule for a new choice, since the offered ones have changed."""
        if isinstance(self._stage, stages.Charging) and self._stage.chosen is not None:
            self._notify("ScheduleRenegotiation")
