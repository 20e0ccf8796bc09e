"""The vehicle's side of an ISO 15118-20 session: sends requests, checks every answer, and stops safely on an error.

`VehicleSession` runs the main stream and passes messages to the handlers of its stage. `Watch` monitors battery,
inlet and contactor, `SideStreams` runs the side streams, `Discharge` signed discharge; these and the stage are the
only mutable state.
"""

from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from evcc.policy.policy import Owner, OwnPolicy
from evcc.session.contracts import Contract, Provisioning, ranked
from evcc.session.d20 import parking, positioning, setup
from evcc.session.d20.discharge import Discharge
from evcc.session.d20.handlers import ON_FACT, ON_RESPONSE, ON_WAKE
from evcc.session.d20.loop import renegotiate, wanted_end
from evcc.session.d20.renegotiation import ANSWERS, Turn, plan_anew
from evcc.session.d20.request_context import RequestContext
from evcc.session.d20.requests import ask
from evcc.session.d20.response_policy import Reaction, reaction
from evcc.session.d20.side_streams import SideStreams
from evcc.session.d20.stages import (
    CLOSING_STAGES,
    ENDING_STAGES,
    Authorizing,
    CheckingIn,
    Ended,
    Ending,
    FindingPlace,
    Looping,
    OpeningContactor,
    Pairing,
    Stage,
    Step,
    is_powered,
)
from evcc.session.d20.stop import stop
from evcc.session.paused import Choice, Resume
from evcc.session.ports import (
    SAFE,
    BatteryState,
    CheckpointStored,
    ConsentChanged,
    ContactorState,
    DeviceObserved,
    DroveIn,
    HardwareFault,
    NeedsChanged,
    PlugState,
    PresentVoltage,
    SetAcPower,
    SetPowerLimits,
    StopRequested,
)
from evcc.session.program import Progress
from evcc.session.settings import SessionConfig
from evcc.session.watch import LOOK_S, Watch
from v2g.errors import CertificateError, CodecError
from v2g.iso15118.d20.charts import SIDE_CHARTS, Family
from v2g.iso15118.d20.messages.common_messages import ChargingSession, PowerDeliveryRes, SessionSetupReq, SessionStopReq
from v2g.iso15118.d20.session import Session20
from v2g.iso15118.d20.timing import MESSAGES, Timing
from v2g.iso15118.engine import sequence
from v2g.iso15118.engine.pause import binding
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.session import Command, Entropy, Fact
from v2g.iso15118.engine.v2gtp import PayloadType
from v2g.observe import Scalar
from v2g.pki.keys import SoftwareKey

_MESSAGE: Final = "message"
_SETUP: Final = "communication_setup"
_PACE: Final = "pace"
_THEN: Final = "then"
_WATCH: Final = "watch"
_CHECKPOINT: Final = "checkpoint"
ON_ITS_WAY_S: Final = 0.05
"""Time after which a request has been sent; state C follows it within 250 ms (V2G20-847, V2G20-1617)."""
MEASURING_S: Final = 0.05
"""Allowance for our own clock and event loop in measured times, s."""


class VehicleSession(Session20):
    """One session of one vehicle.

    `battery` is the battery's present state, `secc_certificate` the leaf (DER) that the charger presented in TLS, whose
    chain was validated there; empty without TLS, which excludes payment by contract. Without `contracts` there is only
    external identification, and contracts fetched by `provisioning`. `connected_for` is the time (s) since the data
    link was matched: the communication setup timer counts from then. `stopwatch` measures decisions (s);
    `resume` is `paused` of an earlier session. `own_policy` is the owner's, `discharged_before_mwh` the battery's
    register when the vehicle was plugged in (None: now).

    Raises CertificateError if a contract chain cannot be sent.
    """

    def __init__(
        self,
        config: SessionConfig,
        *,
        battery: BatteryState,
        secc_certificate: bytes,
        entropy: Entropy,
        contracts: tuple[Contract, ...] = (),
        provisioning: Provisioning | None = None,
        stopwatch: Callable[[], float] | None = None,
        connected_for: float = 0.0,
        resume: Resume | None = None,
        price_signers: tuple[bytes, ...] = (),
        own_policy: OwnPolicy | None = None,
        discharged_before_mwh: int | None = None,
    ) -> None:
        super().__init__(entropy=entropy)
        for contract in contracts:
            if not 2 <= len(contract.chain) <= 4:
                raise CertificateError(
                    f"a contract chain has 1 to 3 sub-CAs, this one {len(contract.chain) - 1}", reason="malformed"
                )
        self.stage: Stage = Ended()
        self.paused: Resume | None = None
        timing = config.timing
        self._config = config
        self._discharge = Discharge(config, stopwatch)
        self._sides = SideStreams(self._time, config.timers)
        self._battery_before = battery
        self._watch = Watch(battery, sensor_s=timing.sensor_s, contactor_s=timing.contactor_s + LOOK_S)
        self._secc_certificate = secc_certificate
        self._contracts, self._provisioning = contracts, provisioning
        self._price_signers = price_signers
        self._own_policy, self._consents = own_policy, False
        self._discharged_before_mwh = battery.discharged_mwh if discharged_before_mwh is None else discharged_before_mwh
        self._contract: Contract | None = None
        self._connected_for = connected_for
        self._resume = resume if resume is not None and setup.same_charger(resume, secc_certificate) else None
        self._departure_ms = 0
        self._choice: Choice | None = None
        self._requested_end: Ending | None = None
        self._replan = False
        self._pending: Any = None  # the request that waits for its response
        self._last: Any = None  # the latest request, for repetitions
        self._asked_at = 0.0
        self._parked = False
        self._progress: Progress | None = None
        self._joined = False
        self._then: tuple[Command, ...] = ()
        self._ac_w = 0
        self._parting: Step | None = None
        """The step that sends SessionStopReq, until the charger's last checkpoint has come."""

    # -- hooks of the engine ------------------------------------------------------------------------------------

    def _on_start(self) -> None:
        self._departure_ms = self._time.utc_ms + self._config.needs.departure_after_s * 1000
        preferred = self._config.installation.prioritized_emaids
        self._contract = next(iter(ranked(self._contracts, self._time.utc_ms, preferred=preferred)), None)
        self._arm(_SETUP, max(0.0, self._config.timers.evcc_communication_setup - self._connected_for))
        self._apply(ask.protocol(self._config.services))

    def _on_message(self, message: Any, payload_type: int) -> None:
        if payload_type in SIDE_CHARTS:
            self._on_side_message(message, PayloadType(payload_type))
            return
        request, name = self._pending, type(message).__name__
        if request is None:
            self._fail("unexpected_message", message=name)
            return
        if name != type(request).__name__.removesuffix("Req") + "Res":
            self._fail("unexpected_message", message=name, awaited=type(request).__name__)
            return
        reacts = reaction(message)
        if reacts is Reaction.END:
            self._fail(message.response_code.name, message=name)
            return
        if name not in ("SupportedAppProtocolRes", "SessionSetupRes") and (
            message.header.session_id != self.session_id
        ):
            self._fail("wrong_session_id", message=name)
            return
        self._pending = None
        self._disarm(_MESSAGE)
        self._follow_request()
        self._note_answer(type(request).__name__)
        if reacts is Reaction.NOTE:
            self._observe("session", "warning", message=name, code=message.response_code.name)
        state = sequence.advance(self.state, request, message, self.chart)
        if state is State.ENDED and name != "SessionStopRes":
            self._fail("unexpected_response_code", message=name, code=message.response_code.name)
            return
        self.state = state
        if isinstance(message, PowerDeliveryRes) and message.evse_status is not None and self._choice is not None:
            ending = wanted_end(message.evse_status, self._choice)
            if ending is not None:  # in the loop, the loop handles it
                self._request_end(ending)
        self._apply(ON_RESPONSE[type(self.stage)](self.stage, request, message, self._request_context()))

    def _note_answer(self, request: str) -> None:
        """Report a charger that answers late, but before the timeout."""
        seconds = self._time.now - self._asked_at
        if seconds > MESSAGES[request].performance + MEASURING_S:
            self._observe("session", "late_answer", request=request, seconds=round(seconds, 4))

    def _on_discharge(self, payload: bytes) -> None:
        self._actions.extend(self._discharge.receive(payload, self._request_context(), self._looping))
        self._send_replies()

    def _send_replies(self) -> None:
        """Send what signed discharge has to say, and the held SessionStopReq once nothing more is awaited."""
        if self._closed:
            return
        for reply in self._discharge.outbox():
            self._send_discharge(reply)
        if self._parting is not None and not self._discharge.awaits_final:
            self._part()

    def _part(self) -> None:
        """Send the held SessionStopReq."""
        self._disarm(_CHECKPOINT)
        step, self._parting = self._parting, None
        if step is not None:
            self._apply(step)

    def _on_broken(self, error: CodecError) -> None:
        self._fail("undecodable_message", error=str(error))

    def _on_eof(self) -> None:
        self._fail("secc_vanished")

    def _on_timer(self, name: str) -> None:
        if name == _PACE:
            self._apply(ON_WAKE[type(self.stage)](self.stage, self._last, self._request_context()))
        elif name == _THEN:
            self._follow_request()
        elif name == _WATCH:
            self._look()
        elif name == _CHECKPOINT:
            self._observe("offer", "checkpoint_missing")
            self._discharge.awaits_final = False
            self._part()
        elif name == _MESSAGE:
            self._fail("message_timeout", request=type(self._pending).__name__)
        elif (beside := self._sides.expired(name)) is not None:
            stream, request, again = beside
            if again:
                self._ask_beside(stream, replace(request, header=self._header()))
            else:
                self._fail("message_timeout", request=type(request).__name__)
        else:
            self._fail(f"{name}_timeout")

    def _on_abort(self, reason: str) -> None:
        self._fail(reason)

    @property
    def _looping(self) -> Looping | None:
        """The charge loop, running or interrupted by the present stage."""
        return self.stage if isinstance(self.stage, Looping) else getattr(self.stage, "looping", None)

    # -- steps --------------------------------------------------------------------------------------------------

    def _request_context(self) -> RequestContext:
        watch, now = self._watch, self._time.now
        return RequestContext(
            config=self._config,
            now=now,
            utc_ms=self._time.utc_ms,
            state=self.state,
            session_id=self.session_id,
            battery=watch.battery,
            inlet=watch.inlet,
            contactor_closed=watch.contactor_closed,
            departure_ms=self._departure_ms,
            contract=self._contract,
            contracts=self._contracts,
            provisioning=self._provisioning,
            resume=self._resume,
            joined=self._joined,
            parked=self._parked,
            fresh=watch.fresh(now),
            beside=self._sides.busy,
            family=self.family,
            price_signers=self._price_signers,
            tls=bool(self._secc_certificate),
            agreement=self._discharge.agreement,
            terms=self._discharge.terms,
            owner=Owner(
                consents=self._consents,
                fed_back_wh=(watch.battery.discharged_mwh - self._discharged_before_mwh) / 1000,
                policy=self._own_policy,
            ),
        )

    def _apply(self, step: Step) -> None:
        """Carry out a step: report, command, then send, wait or end."""
        if step.family is not None:
            self.family = step.family
        if step.installed is not None:
            new = Contract(step.installed.chain, SoftwareKey(step.installed.key))
            self._contracts = (*self._contracts, new)
            self._command(step.installed)
        if step.contract is not None:
            self._contract = step.contract
        if step.session_id is not None:
            self.session_id = step.session_id
            self._disarm(_SETUP)
        self._joined = self._joined or step.joined
        if step.choice is not None:
            self._select(step.choice)
        if step.needs is not None:
            self._take_needs(step.needs)
        if self._requested_end is not None and not (step.failure or step.end or isinstance(step.stage, ENDING_STAGES)):
            ending, self._requested_end = self._requested_end, None
            self._actions.extend(step.observed)
            step = stop(step.stage, self._request_context(), ending)
        elif self._replan and isinstance(step.stage, Looping) and not (step.failure or step.end):
            looping = step.stage
            self._replan = False
            if self._config.services.renegotiate_beside:
                step = replace(step, replan=True)
            else:
                self._actions.extend(step.observed)
                step = renegotiate(looping, self._request_context())
        if isinstance(step.request, SessionStopReq) and self._discharge.awaits_final:
            self._parting = step
            self._arm(_CHECKPOINT, self._config.discharge.checkpoint_wait_s)
            return
        self._enter(step.stage)
        self._actions.extend(step.observed)
        for command in step.commands:
            self._command(command)
        if step.discharge_w is not None:
            self._actions.extend(self._discharge.command(step.discharge_w, self._request_context()))
            for payload in self._discharge.outbox():
                self._send_discharge(payload)
        if step.failure:
            self._fail(step.failure)
        elif step.end:
            self._end(step.end)
        elif step.request is not None:
            self._ask(step.request)
            if step.then:
                self._then = step.then
                self._arm(_THEN, ON_ITS_WAY_S)
        elif step.wait is not None:
            self._arm(_PACE, step.wait)
        if not self._closed:
            for stream, request in step.beside:
                self._ask_beside(stream, request)
            if step.replan:
                self._plan_anew()

    def _command(self, *commands: Command) -> None:
        """Carry out commands, and reduce the power as soon as its limit is reduced."""
        for command in commands:
            if isinstance(command, SetAcPower):
                self._ac_w = command.power_w
            elif isinstance(command, SetPowerLimits):
                within_w = max(-command.discharge_w, min(command.charge_w, self._ac_w))
                if within_w != self._ac_w:
                    self._command(SetAcPower(within_w))
            self._watch.command(command, self._time.now)
            super()._command(command)

    def _follow_request(self) -> None:
        """Carry out the commands that follow the request."""
        self._disarm(_THEN)
        then, self._then = self._then, ()
        self._command(*then)

    def _ask(self, request: Any) -> None:
        assert sequence.accepts(self.state, request, self.chart), (
            f"{type(request).__name__} is out of order in {self.state}"
        )
        self._pending = self._last = request
        self._asked_at = self._time.now
        self._disarm(_PACE)
        self._send(request)
        self._arm(_MESSAGE, self._config.timers.message_timeout(type(request).__name__))
        if isinstance(request, SessionSetupReq):
            self.session_id = request.header.session_id

    def _enter(self, stage: Stage) -> None:
        """Enter the next stage."""
        if stage.chain or self.stage.chain:
            self._time_chain(stage)
        if isinstance(self.stage, CheckingIn) and not isinstance(stage, CheckingIn):
            self._parked = True
        if is_powered(stage) and not is_powered(self.stage):
            self._watch.begin(self._time.now)
            self._arm(_WATCH, LOOK_S)
        if isinstance(stage, OpeningContactor) and self._progress is not None:
            self._discharge.power_stopped()
        self.stage = stage
        if isinstance(stage, Looping):
            self._progress = stage.progress

    def _time_chain(self, stage: Stage) -> None:
        """Run the timer of a chain of stages; those that poll count from the first Ongoing."""
        timers = self._config.timers
        seconds = {
            "installation": timers.ongoing if getattr(stage, "polls", 0) else None,
            "authorization": _authorization_s(stage, timers),
            "schedule": timers.ongoing if getattr(stage, "polls", 0) else None,
            "cable_check": timers.evcc_cable_check,
            "pre_charge": timers.evcc_pre_charge,
            "contactor": self._config.timing.contactor_s,
            **dict.fromkeys(("positioning", "pairing", "alignment", "connection", "disconnection"), timers.ongoing),
        }
        length = seconds.get(stage.chain)
        same_customer = getattr(stage, "customer", False) is getattr(self.stage, "customer", False)
        for chain in seconds:
            if chain != stage.chain or length is None or not same_customer:
                self._disarm(chain)
        if length is not None and stage.chain not in self._time.timers:
            self._arm(stage.chain, length)

    def _select(self, choice: Choice) -> None:
        self._choice = choice
        if choice.signed_set is not None and self._contract is not None:
            self._discharge.begin(
                session_id=self.session_id,
                contract=self._contract,
                charger_certificate=self._secc_certificate,
                entropy=self._entropy,
                energy=self._measured_mwh if choice.checkpoints else None,
                last=self._resume.checkpoint if self._resume is not None and self._joined else None,
            )

    # -- side streams -------------------------------------------------------------------------------------------

    def _plan_anew(self) -> None:
        if isinstance(self.stage, Looping):
            for stream, request in plan_anew(self.stage, self._request_context()):
                self._ask_beside(stream, request)

    def _ask_beside(self, stream: PayloadType, request: Any) -> None:
        self._sides.ask(stream, request)
        self._send(request, stream)

    def _on_side_message(self, message: Any, stream: PayloadType) -> None:
        request, name = self._sides.answered(stream), type(message).__name__
        awaited = type(request).__name__ if request is not None else None
        if request is None or name != str(awaited).removesuffix("Req") + "Res":
            self._fail("unexpected_message", message=name, awaited=awaited, stream=stream.name)
        elif reaction(message) is Reaction.END:
            self._fail(message.response_code.name, message=name)
        elif message.header.session_id != self.session_id:
            self._fail("wrong_session_id", message=name)
        else:
            answer = ANSWERS[type(request).__name__]
            self._take_turn(answer(request, message, self._looping, self._request_context()), stream)

    def _take_turn(self, turn: Turn, stream: PayloadType) -> None:
        self._actions.extend(turn.observed)
        if turn.failure:
            self._fail(turn.failure)
            return
        new = self._sides.take(turn, stream)
        if turn.request is not None and not turn.wait:
            self._ask_beside(stream, turn.request)
        if new is not None and isinstance(self.stage, Looping):
            plan = replace(self.stage.plan, schedule=new.schedule, outlook=new.outlook)
            self.stage = replace(self.stage, plan=plan)

    # -- facts --------------------------------------------------------------------------------------------------

    def _on_fact(self, fact: Fact) -> None:
        match fact:
            case BatteryState():
                self._watch.take_battery(fact, self._time.now)
                self._check_overdraw()
                self._look()
                self._check_battery()
            case PresentVoltage():
                self._watch.take_inlet(fact, self._time.now)
                self._look()
            case PlugState(connected=False):
                self._fail("unplugged")
            case HardwareFault(reason=reason):
                self._fail(reason)
            case StopRequested():
                self._request_end(Ending(fact.reason, self._stop_mode(fact)))
            case NeedsChanged():
                self._take_needs(fact)
            case CheckpointStored(number=number, stored=stored):
                self._actions.extend(self._discharge.stored(number, stored=stored))
                self._send_replies()
            case ConsentChanged(given=given):
                self._take_consent(given=given)
            case DroveIn() | DeviceObserved():
                self._take_place(fact)
            case ContactorState(closed=closed):
                self._watch.take_contactor(fact)
                self._look()
                step = ON_FACT.get((type(self.stage), closed))
                if step is not None and self._pending is None:
                    self._apply(step(self.stage, self._request_context()))

    def _take_place(self, fact: DroveIn | DeviceObserved) -> None:
        """Continue with the vehicle's position or observation, if the stage waits for it."""
        stage = self.stage
        if self._pending is not None:
            return
        if isinstance(fact, DeviceObserved):
            if isinstance(stage, Pairing):
                self._apply(positioning.on_observed(stage, fact.device_id, self._request_context()))
        elif isinstance(stage, CheckingIn):
            self._apply(parking.on_drove(stage, fact, self._request_context()))
        elif isinstance(stage, FindingPlace):
            self._apply(positioning.on_drove(stage, fact, self._request_context()))

    def _stop_mode(self, request: StopRequested) -> ChargingSession:
        if request.reselect and self._choice is not None and self._choice.renegotiable:  # V2G20-1477
            return ChargingSession.ServiceRenegotiation
        return ChargingSession.Pause if request.pause else ChargingSession.Terminate

    def _take_needs(self, fact: NeedsChanged) -> None:
        """Set new needs; a scheduled session in its loop makes a new plan."""
        needs = self._config.needs
        target = needs.target_soc if fact.target_soc is None else fact.target_soc
        minimum = needs.minimum_soc if fact.minimum_soc is None else fact.minimum_soc
        changed = replace(needs, target_soc=target, minimum_soc=min(minimum, target))  # V2G20-1640
        self._config = replace(self._config, needs=changed)
        if fact.departure_ms is not None:
            self._departure_ms = fact.departure_ms
        self._observe("schedule", "needs_changed", target_soc=target, minimum_soc=changed.minimum_soc)
        if self._choice is not None and not self._choice.dynamic:
            self._replan = True
            if isinstance(self.stage, Looping) and self._pending is None and _PACE in self._time.timers:
                self._disarm(_PACE)
                self._apply(Step(stage=self.stage, wait=0.0))

    def _take_consent(self, *, given: bool) -> None:
        """Note the owner's consent; a withdrawn one ends the present agreement."""
        self._consents = given
        self._observe("power", "consent_changed", given=given)
        if not given and self._config.discharge.consent == "ask":
            self._actions.extend(self._discharge.withdraw(self._request_context()))
            for payload in self._discharge.outbox():
                self._send_discharge(payload)

    def _request_end(self, ending: Ending) -> None:
        """Stop normally: at once if no answer is pending, else after it."""
        if isinstance(self.stage, ENDING_STAGES) or self._requested_end is not None:
            return
        self._requested_end = ending
        if self._pending is None and _PACE in self._time.timers:
            self._disarm(_PACE)
            self._apply(Step(stage=self.stage))

    def _look(self) -> None:
        """Stop at once if measurements violate a limit."""
        if self._closed or isinstance(self.stage, Ended):
            return
        powered = is_powered(self.stage)
        violation = self._watch.look(self._time.now, powered=powered, ending=isinstance(self.stage, ENDING_STAGES))
        if violation:
            battery, inlet = self._watch.battery, self._watch.inlet
            shown = {"battery_mv": battery.voltage_mv, "battery_ma": battery.current_ma}
            self._fail(violation, **shown, inlet_mv=inlet.voltage_mv, inlet_ma=inlet.current_ma)
        elif powered:
            self._arm(_WATCH, LOOK_S)
        else:
            self._disarm(_WATCH)

    def _check_battery(self) -> None:
        """A battery with a fault is not connected; a connected one is disconnected normally."""
        fault = self._watch.battery.fault
        if not fault or self._closed:
            return
        if isinstance(self.stage, CLOSING_STAGES):
            self._fail(fault)
        else:
            self._request_end(Ending(fault, failed=True))

    def _check_overdraw(self) -> None:
        """Stop if more leaves the vehicle than was signed, beyond measurement error and reaction time.

        With alternating current the inlet counts: the charger does not pay for the on-board charger's losses.
        """
        watch, config, now = self._watch, self._config.discharge, self._time.now
        allowed_w = min(watch.limits.discharge_w, self._discharge.signed_w(self._time.utc_ms))
        gate = watch.inlet if self.family is Family.AC else watch.battery
        leaving_w = -gate.voltage_mv * gate.current_ma // 1_000_000
        most_w = allowed_w + config.overdraw_tolerance_w
        if watch.overdrawn(leaving_w, most_w, seconds=config.overdraw_tolerance_s, now=now):
            self._fail("more_discharged_than_agreed", leaving_w=leaving_w, allowed_w=allowed_w)

    # -- ends ---------------------------------------------------------------------------------------------------

    def _end(self, reason: str) -> None:
        if reason == "paused" and self._choice is not None:
            charger = binding(self.session_id, self._secc_certificate)
            self.paused = Resume(self.session_id, self._choice, charger, self._progress, self._discharge.checkpoint)
        charged_mwh, discharged_mwh = self._measured_mwh()
        self._observe(
            "session",
            "ended",
            session_id=self.session_id.hex(),
            reason=reason,
            soc=self._watch.battery.soc,
            charged_mwh=charged_mwh,
            discharged_mwh=discharged_mwh,
        )
        self._close(reason)

    def _measured_mwh(self) -> tuple[int, int]:
        """Return the energy into and out of the battery in this session, as the vehicle measured it."""
        battery, before = self._watch.battery, self._battery_before
        return battery.charged_mwh - before.charged_mwh, battery.discharged_mwh - before.discharged_mwh

    def _fail(self, reason: str, **data: Scalar) -> None:
        """Make the vehicle safe and close. No further request is sent (V2G20-436 to -440)."""
        charged_mwh, discharged_mwh = self._measured_mwh()
        self._observe(
            "session",
            "failed",
            session_id=self.session_id.hex(),
            reason=reason,
            awaiting=type(self.stage).__name__,
            charged_mwh=charged_mwh,
            discharged_mwh=discharged_mwh,
            **data,
        )
        self._command(*SAFE)
        self.stage = Ended()
        self._close(reason)


def _authorization_s(stage: Stage, timers: Timing) -> float | None:
    """Return how long the charger may send Ongoing; waiting for a customer is not limited by it."""
    if isinstance(stage, Authorizing) and stage.customer:
        return timers.evcc_customer
    return timers.ongoing if getattr(stage, "polls", 0) else None
