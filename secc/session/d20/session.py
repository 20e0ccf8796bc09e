"""The charge point's side of an ISO 15118-20 session: requests go to handlers, facts to stages, and power stops before
messages do.

`SeccSession` is driven as `v2g.iso15118.engine.session` describes. It serves one session on one connection.
Its collaborators hold what is not in the chart: `SessionFacts`, `SessionLimits`, `SessionBooks`,
`Notices`, `ReportedNeeds`, `OutputGuard` and `SignedDischarge` are independent of the edition; `SideStreams` and
`Pacing` are not.
"""

from collections.abc import Iterable
from typing import Any, Final

from msgspec.structs import replace

from secc.session import energy_transfer, ports
from secc.session.books import SessionBooks
from secc.session.config import ControlMode, EnergyService, SeccConfig
from secc.session.d20 import authorization, delivery, loop, wpt
from secc.session.d20.handlers import HANDLERS, ON_FACT
from secc.session.d20.pacing import LOOPS, Pacing
from secc.session.d20.power import DIRECTION_CHANGE, direction
from secc.session.d20.refusal import brings_power, fault_code, is_request, refusal
from secc.session.d20.request_context import Parking, RequestContext, Step
from secc.session.d20.scheduling import exchange
from secc.session.d20.side_streams import SideStreams
from secc.session.d20.stages import (
    Authorizing,
    Awaiting,
    Charging,
    Discovered,
    Finished,
    Fresh,
    Planned,
    PreCharging,
    Selected,
    Starting,
    Stopped,
    Stopping,
    Vehicle,
    parametrised_of,
    selected_of,
)
from secc.session.discharge import SignedDischarge
from secc.session.facts import SessionFacts
from secc.session.guard import OutputGuard, Use
from secc.session.identity import Connection, Contract
from secc.session.limits import SessionLimits
from secc.session.needs import ReportedNeeds
from secc.session.notices import NOTICE_S, Notices
from secc.session.paused import Paused
from secc.session.turnaround import Turnaround
from v2g.energy.discharge import JournalHead
from v2g.energy.grid_signal import Tariff
from v2g.energy.limits import VEHICLE, Limit
from v2g.energy.settlement.records import TariffSet
from v2g.errors import CodecError, Iso15118Error
from v2g.hardware.faults import FAULTS
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.charts import FETCHING, PARALLEL, SIDE_CHARTS, Family
from v2g.iso15118.d20.messages.common_messages import PowerDeliveryReq
from v2g.iso15118.d20.messages.common_types import Dynamic_CLReqControlMode, Processing, ResponseCode
from v2g.iso15118.d20.session import Session20
from v2g.iso15118.engine import sequence
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.session import NO_SESSION, Command, Fact, OnMessage, ignored
from v2g.iso15118.engine.v2gtp import PayloadType
from v2g.observe import Observe

_HOLDING: Final = frozenset({PilotState.B, PilotState.C, PilotState.D})
_DIRECT: Final = (Family.DC, Family.ACDP)
_PARAMETERS: Final = frozenset(f"{kind}_ChargeParameterDiscoveryReq" for kind in ("AC", "DC", "WPT"))


class SeccSession(Session20):
    """One session of a charge point.

    `limits` begins with the charger's rating for its first service, `facts` with the meter's reading at the start.
    `paused` is the session that a vehicle may join. `time_scale` is how many (simulated) seconds of UTC pass in one of
    the monotonic clock.
    """

    def __init__(
        self,
        config: SeccConfig,
        connection: Connection,
        limits: SessionLimits,
        facts: SessionFacts,
        *,
        paused: Paused | None = None,
        time_scale: float = 1.0,
        on_message: OnMessage = ignored,
    ) -> None:
        super().__init__(entropy=connection.entropy, on_message=on_message, time_scale=time_scale)
        self._config, self._connection, self._limits, self._facts = config, connection, limits, facts
        self._paused = paused
        self._notices, self._books = Notices(), SessionBooks()
        self._sides = SideStreams(self._time, config.timing.secc_sequence)
        self._pacing, self._guard = Pacing(self._time, config.timing), OutputGuard(self._time)
        self._turnaround = Turnaround(self._time, config.direction_change_s, max(config.power_rating(Family.DC)))
        self._driving: ports.Output | None = None
        """The output that `_turnaround` knows of."""
        self._discharge: SignedDischarge | None = None
        self._countersigned = 0
        """Number of the last countersigned checkpoint, in earlier parts of the session."""
        self._stage: Any = Fresh()
        self._vehicle: Vehicle | None = None
        self._parking = Parking()
        self._needs = ReportedNeeds()
        self._pending: tuple[Any, int] | None = None
        """The request that waits for a fact, and its payload type."""
        self._stopping = False
        self._ready = True
        self._stop_reason = "vehicle"
        self._doomed = ""
        """Why the session is over, though the vehicle has not been informed."""

    @property
    def powered(self) -> bool:
        """Whether voltage may be at the output."""
        return self._guard.powered

    @property
    def facts(self) -> SessionFacts:
        """The known surroundings."""
        return self._facts

    @property
    def stage(self) -> Any:
        """The progress of the session, with its data (`secc.session.d20.stages`)."""
        return self._stage

    @property
    def vehicle(self) -> Vehicle | None:
        """The vehicle's latest limits and state of charge."""
        return self._vehicle

    @property
    def scheduled(self) -> bool:
        """Whether the vehicle follows a schedule, which new limits and prices make obsolete."""
        selected = self._selected()
        return selected is not None and selected.control_mode is ControlMode.SCHEDULED

    @property
    def bidirectional(self) -> bool:
        """Whether energy may flow back by the selected services."""
        selected = self._selected()
        return selected is None or selected.bidirectional

    def _at(self, now: float, utc_ms: int) -> bool:
        """Let UTC run on when the clock is set back: journal time never decreases, and no command lives longer."""
        run_on = self._time.utc_ms + int((now - self._time.now) * 1000 * self._time.scale) if self._time.utc_ms else 0
        return super()._at(now, max(utc_ms, run_on))

    def _request_context(self, *, waited: bool) -> RequestContext:
        now, utc_ms = self._time.now, self._time.utc_ms
        return RequestContext(
            config=self._config,
            connection=self._connection,
            facts=self._facts,
            family=self.family,
            now=now,
            utc_ms=utc_ms,
            header=self._header(),
            station=self._limits.station(utc_ms),
            limits=self._limits.planned(utc_ms),
            setpoint=self._limits.setpoint_at(utc_ms),
            signed_w=self._discharge.signed_w(utc_ms) if self._discharge else 0,
            turning=self._turning(),
            notice=self._notices.current(now),
            paused=self._paused,
            parking=self._parking,
            powered=self._guard.powered,
            books_open=self._books.open,
            stopping=self._stopping,
            ready=self._ready,
            waited=waited,
            exi=self.newest.exi,
        )

    # -- requests -----------------------------------------------------------------------------------------------

    def _on_start(self) -> None:
        self._pacing.begin()
        self._limits.arm_change(self._time)
        self._limits.arm_setpoint(self._time)

    def _receive_frame(self, payload_type: int, payload: bytes) -> None:
        """Accept a CertificateInstallationReq that -2 era vehicles frame like the handshake."""
        misframed = payload_type == PayloadType.SAP and self._connection.trust.interop and self.state in FETCHING
        super()._receive_frame(PayloadType.COMMON if misframed else payload_type, payload)

    def _on_message(self, message: Any, payload_type: int) -> None:
        if self._doomed and is_request(message):
            self._refuse(message, payload_type, fault_code(message, self._doomed))
            self._close(self._doomed)
        if isinstance(self._stage, Finished):
            return  # the session was ended by messages; no response is due any more
        if not is_request(message):
            self._on_broken(CodecError(f"{type(message).__name__} has no place on stream {payload_type:#06x}"))
            return
        if payload_type in SIDE_CHARTS:
            self._on_side_request(message, PayloadType(payload_type))
            return
        late_s = self._pacing.requested(self.state, first=self._pending is None)
        if late_s:
            self._observe("session", "late_request", request=type(message).__name__, seconds=round(late_s, 4))
        refused = self._refused_at_once(message)
        if refused is not None:
            self._fail(message, payload_type, *refused)
        else:
            self._answer(message, payload_type, waited=False)

    def _refused_at_once(self, message: Any) -> tuple[str, str] | None:
        """Return code and reason if the request is of another session or out of order."""
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
        """Call the handler; if it waits for a fact, store the request until the fact arrives or time is up."""
        handler = HANDLERS[type(request).__name__]
        if self._stopping and brings_power(request):
            code = "FAILED_PowerDeliveryNotApplied" if isinstance(request, PowerDeliveryReq) else "FAILED"
            self._fail(request, payload_type, code, "the session is ending", self._stop_reason)
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
        name = type(request).__name__
        if self._pacing.too_long(step.response):
            why = "the charger did not finish in time"
            self._fail(request, payload_type, ResponseCode.FAILED.name, why, "ongoing_timeout")
            return
        self._pending = None
        self._disarm("answer")
        if seconds := self._pacing.answered(name):
            self._observe("session", "late_response", request=name, seconds=round(seconds, 4))
        self._notices.followed(step.followed)
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
        """Carry out the effects of an answered request, and start the timers of the next one."""
        if isinstance(self._stage, Finished):
            self._time.timers.clear()
            self._arm("close", self._config.timing.close)  # V2G20-1633, -1643: the vehicle closes first
            return
        name = type(request).__name__
        if before in PARALLEL and self.state not in PARALLEL:
            self._sides.drop(PayloadType.SCHEDULE_RENEGOTIATION)
            if self._discharge is not None:
                self._discharge.stop()
        if self.state is State.SERVICE_DISCOVERY and self._discharge is not None:
            self._countersigned = self._discharge.countersigned
            self._discharge = None  # services are selected again
        if name in _PARAMETERS or name in LOOPS:
            self._take_vehicle_limits()
        if name in LOOPS:
            self._await_turn()
        if name == "ScheduleExchangeReq":
            self._begin_discharge()
        self._report(request)
        self._bound_voltage()
        self._pacing.expect(request, self.state)

    def _bound_voltage(self) -> None:
        """Limit how long voltage, or a field, is present for a vehicle that does not begin to charge."""
        stage = self._stage
        waits = isinstance(stage, PreCharging) and stage.target_mv
        if waits or (isinstance(stage, Planned) and stage.coil_ma):
            if "pre_charge" not in self._time.timers:
                self._arm("pre_charge", self._config.timing.secc_pre_charge)
        elif not isinstance(stage, Starting):
            self._disarm("pre_charge")

    def _report(self, request: Any) -> None:
        """Report the vehicle's plan and present needs to the back end (K16.FR.05, K18.FR.10, K20.FR.01)."""
        if not isinstance(self._stage, Charging):
            return
        if isinstance(request, PowerDeliveryReq):
            plan = exchange.planned_power(request)
            self._perform(() if plan is None else (plan,))
            return
        mode = getattr(request, "cl_req_control_mode", None)
        if isinstance(mode, Dynamic_CLReqControlMode) and self._needs.known is not None:
            needs = exchange.renewed(mode, self._needs.known, self._time.utc_ms)
            self._perform(() if needs is None else (ports.ReportChargingNeeds(needs),))

    def _fail(self, request: Any, payload_type: int, code: str, why: str, reason: str = "") -> None:
        """Stop power, answer with `code` in the request's own response type (V2G20-736), and end."""
        self._stop_power(reason or code)
        self._observe("session", "request_failed", request=type(request).__name__, code=code, reason=why)
        self._refuse(request, payload_type, code)
        self._end(reason or code)

    def _refuse(self, request: Any, payload_type: int, code: str) -> None:
        response = refusal(request, code, self._header(), self._config)
        self._send(response, payload_type if payload_type in SIDE_CHARTS else None)

    def _on_side_request(self, request: Any, stream: PayloadType) -> None:
        """Answer a request on a side stream; state, timers and pending request of the main stream stay unchanged."""
        name = type(request).__name__
        if request.header.session_id != self.session_id:  # V2G20-460
            self._fail(request, stream, "FAILED_UnknownSession", f"{name} of another session")
            return
        if not self._sides.accepts(request, stream, self.state):  # V2G20-459
            self._fail(request, stream, "FAILED_SequenceError", f"{name} beside state {self.state.value}")
            return
        try:
            step = self._sides.handler(request, stream)(request, self._stage, self._request_context(waited=True))
        except Iso15118Error as error:
            self._fail(request, stream, error.answer, str(error), error.reason)
            return
        self._stage = step.stage
        self._perform(step.commands)
        assert isinstance(step, Step), "handlers never wait on a side stream"
        self._notices.followed(step.followed)
        self._parking = step.parking or self._parking
        if step.ready is not None:
            self._ready = step.ready
            self._perform(self._follow())
        self._sides.advance(request, step.response, stream)
        self._send(step.response, stream)
        if sequence.is_failed(step.response):
            self._end(step.response.response_code.name)
            return
        if name == "PowerDeliveryReq" and request.ev_processing is Processing.Finished:
            self._take_vehicle_limits()
            self._begin_discharge()

    def _drop_side(self, stream: PayloadType) -> None:
        """Drop an exchange that the vehicle does not continue: energy flows by the earlier agreement."""
        self._sides.drop(stream)
        if isinstance(self._stage, Charging):
            self._stage = replace(self._stage, beside=None)
        self._observe("session", "side_stream_dropped", stream=stream.name)

    # -- facts --------------------------------------------------------------------------------------------------

    def _on_fact(self, fact: Fact) -> None:
        if isinstance(self._stage, Finished):
            return
        before, self._facts = self._facts, self._facts.updated(fact)
        awaited = ON_FACT.get(type(fact))
        if awaited is not None and isinstance(self._stage, awaited[0]):
            self._stage = awaited[1](fact, self._stage)
        else:
            self._take(fact, before)
        if self._pending is not None and not self._closed:
            self._answer(*self._pending, waited=False)

    def _take(self, fact: Fact, before: SessionFacts) -> None:
        stage = self._stage
        match fact:
            case ports.Measured():
                self._turning()
                self._watch_voltage()
            case ports.DeviceChanged():
                self._take_device(before.device, fact.device)
            case ports.MeterRead(journal=JournalHead() as journal):
                self._countersigned = max(self._countersigned, journal.countersigned)
                if fact.reason in ("interval", "stop"):
                    self._issue_checkpoint(journal, final=fact.reason == "stop")
            case ports.PausedSessionChanged(paused=paused):
                self._paused = paused if isinstance(stage, Fresh) else self._paused
            case ports.ChargingNeedsAnswered():
                self._needs_answered(fact)
            case ports.ContactorState():
                self._take_contactor(fact)
            case ports.PilotChanged():
                self._take_pilot(fact.state)
            case ports.EnergyTransferAllowed():
                seen = isinstance(stage, Discovered) or self._selected() is not None
                if seen and self._offered(self._facts.allowed) != self._offered(before.allowed):
                    self._reselect()  # Q02.FR.06
            case ports.HardwareFault():
                self._on_fault(fact.reason)
            case _:
                self._take_request(fact)

    def _needs_answered(self, fact: ports.ChargingNeedsAnswered) -> None:
        """Plan by the back end's answer. A rejection selects another service, or ends the session (Q01.FR.05, .06)."""
        stage, selected = self._stage, self._selected()
        if fact.status == exchange.REJECTED and selected is not None:
            others = [each for each in self._offered(self._facts.allowed) if each != selected.service]
            if others and self._config.service_renegotiation:
                self._facts = replace(self._facts, allowed=frozenset(int(each) for each in others))
                self._reselect()
                fact = ports.ChargingNeedsAnswered("")  # until then plan without it
            elif not isinstance(stage, Awaiting):
                self._terminate("energy_transfer_rejected")
        if isinstance(stage, Awaiting):
            self._stage = exchange.on_needs_answered(fact, stage)

    def _offered(self, allowed: frozenset[int] | None) -> tuple[EnergyService, ...]:
        return energy_transfer.offered(self._config.offers(self.family), allowed)

    def _take_request(self, fact: Fact) -> None:
        """Carry out requests of CSMS, grid or operator."""
        if isinstance(fact, ports.GridChanged | ports.LimitChanged | ports.ProfileSet) and isinstance(
            self._stage, Awaiting
        ):
            self._stage = replace(self._stage, status=exchange.PROFILE_SET)  # the awaited limits or profile
        match fact:
            case ports.GridChanged():
                self._take_grid(fact.limits, fact.tariff)
            case ports.LimitsForeseen():
                self._limits.foreseen = fact.limits
                self._replan()
            case ports.LimitChanged():
                self._take_grid((fact.limit,))
            case ports.CsmsPricesChanged():
                self._replan()
            case ports.SetpointChanged():
                self._limits.take_setpoint(fact.setpoint, self._time)
                self._perform(self._follow())
            case ports.GridResponseChanged():
                self._perform(self._follow())
            case ports.TariffChanged():
                self._take_grid(tariff=fact.tariff)
            case ports.StopRequested():
                if isinstance(self._stage, Authorizing):
                    self._stage = authorization.on_cancelled(self._stage)
                self._terminate(fact.reason)
            case ports.MeteringConfirmationRequested():
                if self._config.metering_confirmation and isinstance(self._stage, Charging) and self._contract():
                    self._notify("MeteringConfirmation")
            case ports.RenegotiationRequested():
                self._notify("ScheduleRenegotiation")
            case ports.PauseRequested():
                if self._config.pause:
                    self._ask_pause()
            case ports.ServiceRenegotiationRequested():
                self._reselect()
            case ports.StandbyEnded():
                if isinstance(self._stage, Charging) and self._stage.standby:
                    self._notify("ExitStandby")

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

    @property
    def _use(self) -> Use:
        match self._stage:
            case Starting():
                return Use.CLOSING
            case Stopping():
                return Use.OPENING
            case Charging(held=held):
                return Use.HELD if held else Use.CHARGING
        return Use.NONE

    def _take_contactor(self, fact: ports.ContactorState) -> None:
        wrong = self._guard.contactor(fact, self._use)
        if isinstance(self._stage, Starting | Stopping):
            self._stage = delivery.on_contactor(fact, self._stage)
        elif wrong.startswith("pilot_"):  # the pilot's own fact follows
            state = PilotState(wrong.removeprefix("pilot_"))
            self._facts = replace(self._facts, pilot=state)
            self._take_pilot(state)
        elif wrong:
            self._on_fault(wrong)

    def _take_device(self, before: ports.Device, device: ports.Device) -> None:
        """Follow the primary or connection device; a fault of it stops power at once."""
        if device.trouble and not before.trouble:
            self._observe("power", "device_trouble", trouble=device.trouble)
            self._arm("trouble", self._config.wpt.trouble_s)
        elif not device.trouble:
            self._disarm("trouble")
        if device.trouble != before.trouble:
            self._perform(self._follow())
        if self.family is Family.ACDP and before.connected and not device.connected and self._guard.powered:
            self._on_abort("device_disconnected")

    def _watch_voltage(self) -> None:
        most_mv = self._vehicle.max_voltage_mv if self._vehicle and self.family in _DIRECT else 0
        if self._guard.over_voltage(self._facts.measured.voltage_mv, most_mv):
            self._on_fault("over_voltage")

    def _take_pilot(self, state: PilotState) -> None:
        if self.family is Family.WPT or (self.family is Family.ACDP and not self._guard.powered):
            return  # no pilot, or not connected yet
        stage = self._stage
        if self.family is Family.AC and isinstance(stage, Charging) and state in _HOLDING:
            self._hold(stage, held=state is PilotState.B)
        elif reason := self._guard.pilot(state, self._use):
            self._on_abort(reason)

    def _hold(self, stage: Charging, *, held: bool) -> None:
        """Follow an AC vehicle that interrupts by its pilot: the loop continues without energy."""
        if stage.held is held:
            return
        self._stage = replace(stage, held=held)
        self._perform((*self._follow(), ports.OpenContactors() if held else ports.CloseContactors()))
        self._observe("power", "held" if held else "released")

    def _on_fault(self, fault: str) -> None:
        """Stop power and close the journal at once; the vehicle gets the fault in its pending or next response.

        If the vehicle sends no further request, the connection is closed after the close time.
        """
        self._observe("power", "hardware_fault", reason=fault)
        if self._pending is not None:
            request, payload_type = self._pending
            known = FAULTS.get(fault)
            code = fault_code(request, fault)
            self._fail(request, payload_type, code, known.sentence if known else fault, fault)
            return
        self._settle(fault)
        self._stage, self._doomed = Finished(), fault
        self._time.timers.clear()
        self._arm("close", self._config.timing.close)

    # -- notifications to the vehicle -------------------------------------------------------------------------

    def _ask_pause(self) -> None:
        """Request a pause, and before it a signature of the meter reading: a paused vehicle signs nothing."""
        if self._config.metering_confirmation and self._contract() and loop.is_unsigned(self._stage, self._facts):
            if "MeteringConfirmation" not in self._notices:
                self._notify("MeteringConfirmation")
            self._notices.sign_first(self._time.now)
        self._notify("Pause")

    def _notify(self, notification: str) -> None:
        self._notices.ask(notification, self._time.now)
        if notification == "ScheduleRenegotiation":
            self._needs.ask_again()
        self._observe("loop", "notice", notification=notification)

    def _reselect(self) -> None:
        """Ask the vehicle to select services again (V2G20-1477)."""
        if self._config.service_renegotiation:
            self._notify("ServiceRenegotiation")

    def _selected(self) -> Selected | None:
        return selected_of(self._stage)

    def _contract(self) -> Contract | None:
        selected = self._selected()
        return selected.contract if selected else None

    # -- commands, and the end ----------------------------------------------------------------------------------

    def _perform(self, commands: Iterable[Command | Observe]) -> None:
        """Issue commands and note what they open, because it must be closed again."""
        for command in commands:
            match command:
                case ports.ReportChargingNeeds(needs=needs):
                    if not self._needs.report(needs, charging=isinstance(self._stage, Charging)):
                        continue
                case ports.JoinSession():
                    assert self._paused is not None
                    allowed = self._paused.allowed
                    self._facts = replace(self._facts, meter_begin=self._paused.meter_begin, allowed=allowed)
                    if allowed is not None and int(self._paused.service) not in allowed:
                        self._reselect()
            if not isinstance(command, Observe):  # most are, and these open nothing
                self._books.watch(command)
                self._guard.commanded(command)
            self._actions.append(command)

    def _stop_power(self, reason: str) -> None:
        if self._guard.powered:
            self._perform((ports.EmergencyOff(reason),))
            self._observe("power", "emergency_off", reason=reason)

    def _settle(self, reason: str) -> None:
        """Stop power, close the journal and the transaction: once, whatever ends the session."""
        if self._books.settled:
            return
        self._books.settled = True
        self._stop_power(reason)
        if self.family is Family.ACDP and self._facts.device.mechanical != "Home":
            self._perform((ports.MoveDevice(to_vehicle=False),))
        if self._discharge is not None:
            self._discharge.stop()
        soc = self._vehicle.soc if self._vehicle else None
        self._perform(self._books.close(self.session_id, reason, soc))
        self._observe("session", "session_ended", reason=reason, session_id=self.session_id.hex())

    def _keep(self) -> None:
        """Stop power and leave journal and transaction open: the session continues later."""
        self._books.settled = True
        self._stop_power("paused")
        if self._discharge is not None:
            self._discharge.stop()
        self._observe("session", "session_paused", session_id=self.session_id.hex())

    def _end(self, reason: str) -> None:
        """Settle and close at once."""
        self._settle(reason)
        self._stage = Finished()
        self._close(self._doomed or reason)

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
                self._limits.arm_setpoint(self._time)
                self._perform(self._follow())
            case "turnaround":
                self._perform(self._follow())
            case "trouble":
                self._terminate(wpt.TROUBLES.get(self._facts.device.trouble, self._facts.device.trouble))
            case "discharge":
                self._perform(self._discharge.expire() if self._discharge is not None else ())
                self._perform(self._follow())
            case "offer":
                self._renew_offer(due=True)
            case "decision" | "terms":
                self._renew_offer()
            case "limits":
                self._limits_changed("validity")
                self._limits.arm_change(self._time)
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
        """The reason code for a normal end, or for the earlier cause of the end."""
        return self._doomed or ("paused" if self.state is State.PAUSED else "finished")

    def _on_abort(self, reason: str) -> None:
        self._stop_power(reason)
        self._end(reason)

    # -- limits and output --------------------------------------------------------------------------------------

    def _speak(self, family: Family) -> None:
        """Change to the negotiated set of messages and its rating."""
        self.family = family
        self._limits.rate(self._config.power_rating(family))

    def _take_vehicle_limits(self) -> None:
        parametrised = parametrised_of(self._stage)
        assert parametrised is not None
        if parametrised.vehicle is self._vehicle:
            return
        self._vehicle = vehicle = parametrised.vehicle
        if self._limits.take_vehicle(vehicle.max_charge_w, vehicle.max_discharge_w):
            self._limits_changed(VEHICLE)

    def _limits_changed(self, source: str) -> None:
        """Apply new limits at once. A lower one reaches the hardware before the journal, a higher one after it."""
        limits = self._limits.discharge(self._time.utc_ms)
        if self._discharge is not None:
            self._discharge.set_limits(limits)
        rises = self._limits.rises(limits)
        entry = self._limits.entry(source, limits) if self._books.open else None
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
        commands: tuple[Command | Observe, ...] = ()
        if isinstance(stage, Charging) and stage.output is not None:
            self._stage, commands = loop.apply_output(stage, self._request_context(waited=False))
            self._await_turn()
        elif isinstance(stage, Planned) and stage.coil_ma:
            self._stage, commands = wpt.aligned(stage, self._request_context(waited=False))
        return commands

    def _turning(self) -> int:
        """Note how power flows now; return the direction that has to wait."""
        output = self._stage.output if isinstance(self._stage, Charging) else None
        if output is not self._driving:
            self._driving = output
            self._turnaround.drive(0 if output is None else direction(output))
        self._turnaround.measure(self._facts.measured.watts)
        return self._turnaround.turning

    def _await_turn(self) -> None:
        """Look again after the dead time, if the output waits for it."""
        limits = self._stage.limits if isinstance(self._stage, Charging) else None
        if limits is not None and DIRECTION_CHANGE in (limits.charge_source, limits.discharge_source):
            self._turning()
            self._turnaround.arm()

    # -- tariff and signed discharge ----------------------------------------------------------------------------

    def _take_grid(self, limits: Iterable[Limit] = (), tariff: Tariff | None = None) -> None:
        """Apply new limits, then new prices, and make one offer of both."""
        changed = self._limits.update(limits)
        if changed:
            self._limits_changed("+".join(changed))
            self._limits.arm_change(self._time)
        before = self._facts.tariff
        if tariff is not None:
            self._facts = replace(self._facts, tariff=tariff)
            self._observe("schedule", "tariff_changed", version=tariff.version, source=tariff.source)
            if self._books.open:
                self._perform((ports.Journal(TariffSet(tariff=tariff)),))
        if tariff is not None or (changed and not (self._discharge is not None and self._discharge.await_rest())):
            self._renew_offer()
        if tariff is not None and (before is None or tariff.slots != before.slots):
            self._replan()

    def _replan(self) -> None:
        """Ask a vehicle that follows a schedule for a new choice, since the offered ones have changed."""
        if isinstance(self._stage, Charging) and self._stage.chosen is not None:
            self._notify("ScheduleRenegotiation")

    def _begin_discharge(self) -> None:
        """Make the first offer, once the vehicle has selected the service and its needs are known."""
        selected = self._selected()
        if selected is None or not (selected.signed_discharge and selected.bidirectional):
            return
        if self._discharge is None:
            assert selected.contract is not None, "the service is offered to contracts only"
            self._discharge = SignedDischarge(
                self._config,
                self._connection.trust,
                self._entropy,
                self._time,
                session_id=selected.session_id,
                contract=selected.contract,
                checkpoints=selected.checkpoints,
                countersigned=self._countersigned,
            )
            self._discharge.set_limits(self._limits.discharge(self._time.utc_ms))
        self._renew_offer()

    def _renew_offer(self, *, due: bool = False) -> None:
        """Make a new offer of discharge if the terms have changed, or the offer is due for renewal.

        Limits are applied at once, whatever was offered.
        """
        discharge = self._discharge
        if discharge is None or isinstance(self._stage, Stopping | Stopped | Finished):
            return
        limits = self._limits.discharge(self._time.utc_ms)
        payload, commands = discharge.renew(limits, self._facts.tariff, due=due)
        self._perform(commands)
        if payload is not None:
            self._send_discharge(payload)

    def _issue_checkpoint(self, journal: JournalHead, *, final: bool) -> None:
        """Send the vehicle a head of the journal to countersign, if it selected a version with checkpoints."""
        if self._discharge is None or self._books.settled:
            return
        payload, commands = self._discharge.checkpoint(journal, self._facts.meter_begin, final=final)
        self._perform(commands)
        if payload is not None:
            self._send_discharge(payload)

    def _on_discharge(self, payload: bytes) -> None:
        if self._discharge is None or self._books.settled:
            self._observe("offer", "message_ignored", size=len(payload))
            return
        reply, commands = self._discharge.receive(payload)
        self._perform(commands)  # into the journal before power follows
        self._perform(self._follow())
        if reply is not None:
            self._send_discharge(reply)
        if self._discharge.decided():
            self._renew_offer()
