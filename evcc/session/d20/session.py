"""The vehicle's side of an ISO 15118-20 session: sends requests, checks every answer, and stops safely on an error.

`VehicleSession` runs the main stream and passes messages to the handlers of its stage. `Watch` monitors battery,
inlet and contactor, `SideStreams` runs the side streams, `Discharge` signed discharge; these and the stage are the
only mutable state.
"""

import math
from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from evcc.policy.policy import OwnerSettings
from evcc.session import ports
from evcc.session.contracts import Contract, emaid, ranked, signing
from evcc.session.d20 import energy, positioning, services, setup, stages  # noqa: F401 - handlers register themselves
from evcc.session.d20 import requests as ask
from evcc.session.d20.discharge import Discharge
from evcc.session.d20.loop import renegotiate, wanted_end
from evcc.session.d20.quantities import to_milli
from evcc.session.d20.request_context import Plan, RequestContext
from evcc.session.d20.response_policy import Reaction, judge, reaction
from evcc.session.d20.safety import Iso20Messages
from evcc.session.d20.side_streams import ANSWERS, Turn, plan_anew
from evcc.session.d20.stop import stop
from evcc.session.edition import Connection
from evcc.session.paused import PausedChoice, Resume
from evcc.session.program import wants_plan
from evcc.session.settings import SessionConfig
from evcc.session.steps import Stage
from evcc.session.vehicle import Vehicle
from v2g.errors import CertificateError
from v2g.exi.declare import Element
from v2g.iso15118.d20.charts import SIDE_CHARTS, Family
from v2g.iso15118.d20.messages import common_messages as iso
from v2g.iso15118.d20.messages.common_types import ChargeLoopRes, V2GResponse
from v2g.iso15118.d20.messages.dc import DC_ChargeLoopRes
from v2g.iso15118.d20.services import DER_SCHEMAS
from v2g.iso15118.d20.session import Session20, binding
from v2g.iso15118.d20.timing import MESSAGES, Timing
from v2g.iso15118.engine import sequence
from v2g.iso15118.engine.app_protocol import AppProtocol
from v2g.iso15118.engine.message_timing import SessionTime
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.session import Fact
from v2g.iso15118.engine.v2gtp import PayloadType
from v2g.pki.keys import SoftwareKey

# -- The vehicle's side streams: one exchange at a time on each, with its own timer

_BESIDE: Final = "beside:"
_AGAIN: Final = "again:"


class SideStreams:
    """Pending requests of each stream, and the result of a renegotiation."""

    def __init__(self, time: SessionTime, timing: Timing) -> None:
        self._time, self._timing = time, timing
        self._asked: dict[PayloadType, Element] = {}  # requests that wait for an answer, or for repetition
        self._plan: Plan | None = None  # until the charger accepts it

    @property
    def busy(self) -> frozenset[PayloadType]:
        """The streams with a pending answer."""
        return frozenset(self._asked)

    def ask(self, stream: PayloadType, request: Element) -> None:
        """A request is sent on this stream: its answer is due."""
        self._asked[stream] = request
        self._time.arm(f"{_BESIDE}{stream}", self._timing.message_timeout(type(request).__name__))

    def answered(self, stream: PayloadType) -> Element | None:
        """An answer has arrived; return its request, None if there was none."""
        self._time.disarm(f"{_BESIDE}{stream}")
        return self._asked.pop(stream, None)

    def take(self, turn: Turn, stream: PayloadType) -> Plan | None:
        """Handle the result of an answer, except a request to be sent at once; return the plan that takes effect.

        The charger has accepted the profile once no request is left: then the new plan is followed.
        """
        if turn.plan is not None or turn.unchanged:
            self._plan = turn.plan
        if turn.request is not None:
            if turn.wait:
                self._asked[stream] = turn.request
                self._time.arm(f"{_AGAIN}{stream}", turn.wait)
            return None
        if stream is not PayloadType.SCHEDULE_RENEGOTIATION:
            return None
        new, self._plan = self._plan, None
        return new

    def expired(self, timer: str) -> tuple[PayloadType, Element, bool] | None:
        """Return stream and request of a timer, and whether to repeat the request; None for other timers.

        A request that is not to be repeated was not answered in time.
        """
        prefix, colon, number = timer.partition(":")
        if not colon:
            return None
        stream = PayloadType(int(number))
        request = self._asked.get(stream)
        return None if request is None else (stream, request, prefix + colon == _AGAIN)


_CHECKPOINT: Final = "checkpoint"


class VehicleSession(Vehicle[stages.Step, stages.Ending], Session20):
    """One session of one vehicle.

    The chain of the charger's certificate was validated in TLS; a connection without it excludes payment by contract.
    Without contracts there is only external identification, and contracts that are fetched. `protocols` are those
    offered in the handshake, by default those of ISO 15118-20.

    Raises CertificateError if a contract chain cannot be sent.
    """

    kinds = stages.KINDS
    timing = MESSAGES

    def __init__(
        self,
        config: SessionConfig,
        connection: Connection,
        protocols: tuple[AppProtocol, ...] = (),
        connected_for: float = 0.0,
    ) -> None:
        super().__init__(config, config.timers, connection, protocols or ask.protocols(config.services), connected_for)
        self._contracts, self._provisioning = signing(connection.contracts, connection.signs), connection.provisioning
        for contract in self._contracts:
            if not 2 <= len(contract.chain) <= 4:
                what = f"contract {emaid(contract)} has {len(contract.chain) - 1} sub-CAs behind it, 1 to 3 are needed"
                raise CertificateError(what, reason="malformed")
        self.paused: Resume | None = None
        self._discharge = Discharge(config, connection.stopwatch)
        self._sides = SideStreams(self._time, config.timers)
        self._secc_certificate = connection.secc_certificate
        self._price_signers = connection.price_signers
        self._own_policy, self._consents = connection.own_policy, False
        before_mwh = connection.discharged_before_mwh
        self._discharged_before_mwh = connection.battery.discharged_mwh if before_mwh is None else before_mwh
        self._contract: Contract | None = None
        resume = connection.resume
        same = isinstance(resume, Resume) and setup.same_charger(resume, connection.secc_certificate)
        self._resume = resume if isinstance(resume, Resume) and same else None
        self._choice: PausedChoice | None = None
        self._replan = False
        self._reselected = -math.inf
        self._parked = False
        self._joined = False
        self._parting: stages.Step | None = None
        """The step that sends SessionStopReq, until the charger's last checkpoint has come."""

    # -- hooks of the engine ------------------------------------------------------------------------------------

    def _on_start(self) -> None:
        preferred = self._config.installation.prioritized_emaids
        self._contract = next(iter(ranked(self._contracts, self._time.utc_ms, preferred=preferred)), None)
        super()._on_start()

    def _at(self, now: float, utc_ms: int) -> bool:
        """After UTC is set, a plan by prices is for other times; in Dynamic mode the moved departure renews it."""
        set_ms, planned = self._time.set_ms, self._choice is not None and not self._choice.dynamic
        going_on = super()._at(now, utc_ms)
        self._replan |= planned and self._time.set_ms != set_ms and wants_plan(self._config.program)
        return going_on

    def _on_message(self, message: Element, payload_type: int) -> None:
        if payload_type in SIDE_CHARTS:
            self._on_side_message(message, PayloadType(payload_type))
            return
        request = self._awaiting(message)
        if request is None:
            return
        name, code = type(message).__name__, sequence.code_of(message)
        reacts = reaction(message)
        if reacts is Reaction.END:
            self._fail(self._cause(code), message=name)
            return
        if (
            isinstance(message, V2GResponse)
            and not isinstance(message, iso.SessionSetupRes)
            and message.header.session_id != self.session_id
        ):
            self._fail("wrong_session_id", message=name)
            return
        # beside the limits AC DER by SAE has a status; in the loop, the loop handles it
        part = getattr(message, "ac_cpd_res_energy_transfer_mode", message)
        status = None if isinstance(message, ChargeLoopRes) else getattr(part, "evse_status", None)
        if status is not None and self._choice is not None:
            ending = wanted_end(status, self._choice, self._request_context())
            if ending is not None:
                self._request_end(ending)
        self._answered()
        if reacts is Reaction.NOTE:
            self._observe("session", "warning", message=name, code=code)
        state = sequence.advance(self.state, request, message, self.chart)
        if state is State.ENDED and name != "SessionStopRes":
            self._fail("unexpected_response_code", message=name, code=code)
            return
        self.state = state
        if isinstance(message, DC_ChargeLoopRes):  # at each stage: whatever the vehicle asks for meanwhile
            self._command(
                ports.Reported(to_milli(message.evse_present_voltage), to_milli(message.evse_present_current))
            )
        context = self._request_context()
        finding = None if isinstance(self.stage, self.kinds.ending) else judge(message, context)
        if finding is None:
            self._apply(stages.HANDLERS.response(self.stage, request, message, context))
        else:
            self._actions.append(finding.event(name))
            self._apply(stop(self.stage, context, stages.Ending(finding.cause, failed=True)))

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
            self._apply(replace(step, stage=self.stage))

    def _on_timer(self, name: str) -> None:
        if name == _CHECKPOINT:
            self._observe("offer", "checkpoint_missing")
            self._discharge.awaits_final = False
            self._part()
        elif (beside := self._sides.expired(name)) is not None:
            stream, request, again = beside
            if not again:
                self._fail("message_timeout", request=type(request).__name__)
            elif self._looping is not None:  # once the loop is over there is nothing to plan
                self._ask_beside(stream, replace(request, header=self._header()))
        else:
            super()._on_timer(name)

    def _wake(self) -> None:
        self._apply(stages.HANDLERS.wake(self.stage, self._last, self._request_context()))

    @property
    def _looping(self) -> stages.Looping | None:
        """The charge loop, running or interrupted by the present stage."""
        return self.stage if isinstance(self.stage, stages.Looping) else getattr(self.stage, "looping", None)

    # -- steps --------------------------------------------------------------------------------------------------

    def _request_context(self) -> RequestContext:
        return RequestContext(
            **self._common_context(),
            contract=self._contract,
            contracts=self._contracts,
            provisioning=self._provisioning,
            resume=self._resume,
            joined=self._joined,
            progress=self._progress,
            reselected=self._reselected,
            parked=self._parked,
            beside=self._sides.busy,
            family=self.family,
            price_signers=self._price_signers,
            tls=bool(self._secc_certificate),
            agreement=self._discharge.agreement,
            terms=self._discharge.terms,
            owner=OwnerSettings(
                consents=self._consents,
                fed_back_wh=(self._watch.battery.discharged_mwh - self._discharged_before_mwh) / 1000,
                policy=self._own_policy,
            ),
        )

    def _apply(self, step: stages.Step) -> None:
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
            self._session_begun(step.session_id)
        if isinstance(step.request, iso.AuthorizationReq):
            external = step.request.selected_authorization_service is iso.Authorization.EIM
            self._contract = None if external else self._contract
        if step.joined and self._resume is not None:
            self._joined, self._parked = True, self._resume.choice.parking
            if (leaf := self._resume.leaf) is not None:
                self._contract = next((each for each in self._contracts if each.chain[0] == leaf), None)
            self._take_up(self._resume)
        if step.choice is not None:
            self._select(step.choice)
        if step.needs is not None:
            self._take_needs(step.needs)
        overtaking = self._overtaking(step)
        if overtaking is not None:
            self._actions.extend(step.observed)
            step = stop(step.stage, self._request_context(), overtaking)
        elif self._replan and isinstance(step.stage, stages.Looping) and not (step.failure or step.end):
            looping = step.stage
            self._replan = False
            if self._config.services.renegotiate_beside:
                # needs that change during a renegotiation are for the next one
                self._replan = PayloadType.SCHEDULE_RENEGOTIATION in self._sides.busy
                step = replace(step, replan=True)
            else:
                self._actions.extend(step.observed)
                step = renegotiate(looping, self._request_context())
        if isinstance(step.request, iso.SessionStopReq):
            if step.request.charging_session is iso.ChargingSession.ServiceRenegotiation:
                self._reselected = self._time.now
            ended = step.request.charging_session is iso.ChargingSession.Terminate
            self._actions.extend(self._discharge.leaving(self._request_context(), self._looping, ended=ended))
            for payload in self._discharge.outbox():
                self._send_discharge(payload)
        if isinstance(step.request, iso.SessionStopReq) and self._discharge.awaits_final:
            self._enter(step.stage)  # the timers of the stage before end
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
        self._proceed(step)
        if not self._closed:
            for stream, request in step.beside:
                self._ask_beside(stream, request)
            if step.replan and isinstance(self.stage, stages.Looping):
                for stream, request in plan_anew(self.stage, self._request_context()):
                    self._ask_beside(stream, request)

    def _transmit(self, request: Element) -> None:
        assert sequence.accepts(self.state, request, self.chart), (
            f"{type(request).__name__} is out of order in {self.state}"
        )
        self._send(request)
        if isinstance(request, iso.SessionSetupReq):
            self.session_id = request.header.session_id
        elif isinstance(request, iso.ScheduleExchangeReq):  # it has the present needs
            self._replan = False

    def _enter(self, stage: Stage) -> None:
        if isinstance(self.stage, stages.CheckingIn) and not isinstance(stage, stages.CheckingIn):
            self._parked = True
        checkpoints = self._choice is not None and self._choice.checkpoints  # by the services that are selected now
        if isinstance(stage, stages.OpeningContactor) and self._progress is not None and checkpoints:
            self._discharge.power_stopped()
        super()._enter(stage)
        if isinstance(stage, stages.Looping):
            self._progress = stage.progress

    def _chains(self, stage: Stage) -> Mapping[str, float | None]:
        timers = self._config.timers
        return {
            "installation": timers.ongoing if getattr(stage, "polls", 0) else None,
            "authorization": _authorization_s(stage, timers),
            **dict.fromkeys(("parameters", "schedule"), timers.ongoing if getattr(stage, "polls", 0) else None),
            "cable_check": timers.evcc_cable_check,
            "pre_charge": timers.evcc_pre_charge,
            "contactor": self._config.timing.contactor_s,
            **dict.fromkeys(("positioning", "pairing", "alignment", "connection", "disconnection"), timers.ongoing),
        }

    def _select(self, choice: PausedChoice) -> None:
        self._choice, self.der = choice, DER_SCHEMAS.get(choice.service_id)
        if choice.signed_set is not None and self._contract is not None:
            self._discharge.begin(
                session_id=self.session_id,
                contract=self._contract,
                charger_certificate=self._secc_certificate,
                entropy=self._entropy,
                energy=self._measured_mwh if choice.checkpoints else None,
                ends=choice.ends,
                last=self._resume.checkpoint if self._resume is not None and self._joined else None,
            )

    # -- side streams -------------------------------------------------------------------------------------------

    def _ask_beside(self, stream: PayloadType, request: Element) -> None:
        self._sides.ask(stream, request)
        self._send(request, stream)

    def _on_side_message(self, message: Element, stream: PayloadType) -> None:
        request, name = self._sides.answered(stream), type(message).__name__
        awaited = type(request).__name__ if request is not None else None
        if request is None or name != str(awaited).removesuffix("Req") + "Res":
            self._fail("unexpected_message", message=name, awaited=awaited, stream=stream.name)
        elif reaction(message) is Reaction.END:
            self._fail(sequence.code_of(message), message=name)
        elif not isinstance(message, V2GResponse) or message.header.session_id != self.session_id:
            self._fail("wrong_session_id", message=name)
        else:
            answer = ANSWERS[type(request).__name__]
            turn = answer(request, message, self._looping, self._request_context())
            self._actions.extend(turn.observed)
            if turn.failure:
                self._fail(turn.failure)
                return
            if turn.needs is not None:
                self._take_needs(turn.needs)
            if turn.ending is not None:
                self._request_end(turn.ending)
            new = self._sides.take(turn, stream)
            if turn.request is not None and not turn.wait:
                self._ask_beside(stream, turn.request)
            looping = self._looping
            if new is not None and looping is not None:
                plan = replace(looping.plan, schedule=new.schedule, outlook=new.outlook)
                looping, runs = replace(looping, plan=plan), isinstance(self.stage, stages.Looping)
                self.stage = looping if runs else replace(self.stage, looping=looping)

    # -- facts --------------------------------------------------------------------------------------------------

    def _on_fact(self, fact: Fact) -> None:
        match fact:
            case ports.CheckpointStored(number=number, stored=stored):
                self._actions.extend(self._discharge.stored(number, stored=stored))
                self._send_replies()
            case ports.ConsentChanged(given=given):
                # note the owner's consent; a withdrawn one ends the present agreement
                self._consents = given
                self._observe("power", "consent_changed", given=given)
                if not given and self._config.discharge.consent == "ask":
                    self._actions.extend(self._discharge.withdraw(self._request_context()))
                    for payload in self._discharge.outbox():
                        self._send_discharge(payload)
            case ports.DroveIn() | ports.DeviceObserved():
                # continue with the vehicle's position or observation, if the stage waits for it
                stage = self.stage
                if self.pending is not None:
                    return
                if isinstance(fact, ports.DeviceObserved):
                    if isinstance(stage, stages.Pairing):
                        self._apply(positioning.on_observed(stage, fact.device_id, self._request_context()))
                elif isinstance(stage, stages.CheckingIn):
                    self._apply(positioning.on_check_in_drove(stage, fact, self._request_context()))
                elif isinstance(stage, stages.FindingPlace):
                    self._apply(positioning.on_drove(stage, fact, self._request_context()))
            case _:
                super()._on_fact(fact)

    def _contactor_moved(self, *, closed: bool) -> None:
        step = stages.HANDLERS.contactor(self.stage, self._request_context(), closed=closed)
        if step is not None:
            self._apply(step)

    def _ending(self, cause: str | ports.StopRequested) -> stages.Ending:
        if isinstance(cause, str):
            return stages.Ending(cause, failed=True)
        if cause.reselect and self._choice is not None and self._choice.renegotiable:  # V2G20-1477
            return stages.Ending(cause.reason, iso.ChargingSession.ServiceRenegotiation)
        pauses = cause.pause and self._choice is not None  # only a session with services can be joined again
        return stages.Ending(cause.reason, iso.ChargingSession.Pause if pauses else iso.ChargingSession.Terminate)

    def _staying(self) -> stages.Step:
        return stages.Step(stage=self.stage)

    def _take_needs(self, fact: ports.NeedsChanged) -> None:
        """Set new needs; a scheduled session in its loop makes a new plan."""
        super()._take_needs(fact)
        if self._choice is not None and not self._choice.dynamic:
            self._replan = True
            if isinstance(self.stage, stages.Looping):
                self._resume_pause(stages.Step(stage=self.stage, wait=0.0))

    def _discharge_allowed_w(self) -> int:
        """Return what was signed, too: the charger does not pay for more."""
        return min(super()._discharge_allowed_w(), self._discharge.signed_w(self._time.utc_ms))

    def _is_ac(self) -> bool:
        return self.family is Family.AC

    # -- ends ---------------------------------------------------------------------------------------------------

    def _end(self, reason: str) -> None:
        if reason == "paused" and self._choice is not None:
            charger = binding(self.session_id, self._secc_certificate)
            checkpoint = self._discharge.checkpoint
            leaf = self._contract.chain[0] if self._contract is not None else b""
            kept = self._kept()
            self.paused = Resume(self.session_id, self._choice, charger, checkpoint=checkpoint, leaf=leaf, **kept)
        super()._end(reason)


def _authorization_s(stage: Stage, timers: Timing) -> float | None:
    """Return how long the charger may send Ongoing; waiting for a customer is not limited by it."""
    if isinstance(stage, stages.Authorizing) and stage.customer:
        return timers.evcc_customer
    return timers.ongoing if getattr(stage, "polls", 0) else None


# -- ISO 15118-20 as a vehicle offers it: see `evcc.session.edition.Edition`


class Iso20:
    """See Edition. Without TLS it is for laboratories, whose configuration decides about that."""

    session = VehicleSession

    def protocols(self, config: SessionConfig, *, tls: bool) -> tuple[AppProtocol, ...]:
        return ask.protocols(config.services)

    def reader(self, config: SessionConfig) -> Iso20Messages:
        return Iso20Messages(config)
