"""The vehicle's end of an ISO 15118-20 session: asks, checks every answer, and stops safely when one is wrong.

`VehicleSession` is the only thing in `evcc.core` that changes. It keeps the timers, the facts and the signed
discharge, and hands everything else to the handlers of its stage.
"""

from collections.abc import Callable
from typing import Any, Final

from evcc.core import ask, setup
from evcc.core.discharge import Discharge
from evcc.core.handlers import ON_FACT, ON_RESPONSE, ON_WAKE
from evcc.core.ports import (
    BatteryState,
    ContactorState,
    HardwareFault,
    PlugState,
    PresentVoltage,
    SetPowerLimits,
    StopRequested,
)
from evcc.core.settings import SessionConfig
from evcc.core.stages import (
    ENDING_STAGES,
    Choice,
    Contract,
    Ended,
    Ending,
    Looping,
    Resume,
    Stage,
    Step,
    World,
)
from evcc.core.stop import SAFE, stop
from v2g.errors import CertificateError, CodecError
from v2g.iso15118 import sequence
from v2g.iso15118.messages.common_messages import ChargingSession, SessionSetupReq
from v2g.iso15118.sequence import State
from v2g.iso15118.session import Entropy, Fact, Session
from v2g.observe import Scalar

_MESSAGE: Final = "message"
_SETUP: Final = "communication_setup"
_PACE: Final = "pace"


class VehicleSession(Session):
    """One session of one vehicle.

    `battery` is the battery at this moment, `secc_certificate` the leaf (DER) that the charger showed in TLS, whose
    chain was validated there. `contract` None means external identification only. `connected_for` is how long (s) ago
    the data link was matched: the communication setup timer counts from then. `stopwatch` measures how long a
    decision takes (s); `resume` is what `paused` gave at the end of an earlier session.

    Raises CertificateError when the contract chain cannot be sent.
    """

    def __init__(
        self,
        config: SessionConfig,
        *,
        battery: BatteryState,
        secc_certificate: bytes,
        entropy: Entropy,
        contract: Contract | None = None,
        stopwatch: Callable[[], float] | None = None,
        connected_for: float = 0.0,
        resume: Resume | None = None,
    ) -> None:
        super().__init__(entropy=entropy)
        if contract is not None and not 2 <= len(contract.chain) <= 4:
            raise CertificateError(
                f"a contract chain has 1 to 3 sub-CAs, this one {len(contract.chain) - 1}", reason="malformed"
            )
        self.stage: Stage = Ended()
        self.paused: Resume | None = None
        self._config = config
        self._battery = battery
        self._inlet = PresentVoltage(0)
        self._contactor_closed = False
        self._secc_certificate = secc_certificate
        self._contract = contract
        self._connected_for = connected_for
        self._resume = resume if resume is not None and setup.same_charger(resume, secc_certificate) else None
        self._departure_ms = 0
        self._choice: Choice | None = None
        self._pending: Any = None  # the request that waits for its response
        self._last: Any = None  # the newest request, for repetitions
        self._stop_wish: Ending | None = None
        self._limits = SetPowerLimits(0, 0)
        self._overdrawn_since: float | None = None
        self._discharge = Discharge(config, stopwatch)

    # -- hooks of the engine ------------------------------------------------------------------------------------

    def _on_start(self) -> None:
        self._departure_ms = self._utc_ms + self._config.needs.departure_after_s * 1000
        self._arm(_SETUP, max(0.0, self._config.timers.evcc_communication_setup - self._connected_for))
        self._apply(ask.protocol())

    def _on_message(self, message: Any, payload_type: int) -> None:
        request, name = self._pending, type(message).__name__
        if request is None:
            self._fail("unexpected_message", message=name)
            return
        if name != type(request).__name__.removesuffix("Req") + "Res":
            self._fail("unexpected_message", message=name, awaited=type(request).__name__)
            return
        if sequence.is_failed(message):
            self._fail(message.response_code.name, message=name)
            return
        if name not in ("SupportedAppProtocolRes", "SessionSetupRes") and (
            message.header.session_id != self.session_id
        ):
            self._fail("wrong_session_id", message=name)
            return
        self._pending = None
        self._disarm(_MESSAGE)
        state = sequence.advance(self.state, request, message)
        if state is State.ENDED and name != "SessionStopRes":
            self._fail("unexpected_response_code", message=name, code=message.response_code.name)
            return
        self.state = state
        self._apply(ON_RESPONSE[type(self.stage)](self.stage, request, message, self._world()))

    def _on_discharge(self, payload: bytes) -> None:
        looping = self.stage if isinstance(self.stage, Looping) else getattr(self.stage, "looping", None)
        self._actions.extend(self._discharge.receive(payload, self._world(), looping))
        for reply in self._discharge.outbox():
            self._send_discharge(reply)

    def _on_broken(self, error: CodecError) -> None:
        self._fail("undecodable_message", error=str(error))

    def _on_eof(self) -> None:
        self._fail("secc_vanished")

    def _on_fact(self, fact: Fact) -> None:
        match fact:
            case PlugState(connected=False):
                self._fail("unplugged")
            case HardwareFault(reason=reason):
                self._fail(reason)
            case StopRequested(reason=reason, pause=pause):
                mode = ChargingSession.Pause if pause else ChargingSession.Terminate
                self._wish_to_stop(Ending(reason, mode))
            case BatteryState():
                self._battery = fact
                self._check_overdraw()
            case PresentVoltage():
                self._inlet = fact
            case ContactorState(closed=closed):
                self._contactor_closed = closed
                step = ON_FACT.get((type(self.stage), closed))
                if step is not None and self._pending is None:
                    self._apply(step(self.stage, self._world()))

    def _on_timer(self, name: str) -> None:
        if name == _PACE:
            self._apply(ON_WAKE[type(self.stage)](self.stage, self._last, self._world()))
        elif name == _MESSAGE:
            self._fail("message_timeout", request=type(self._pending).__name__)
        else:
            self._fail(f"{name}_timeout")

    def _on_abort(self, reason: str) -> None:
        self._fail(reason)

    # -- steps --------------------------------------------------------------------------------------------------

    def _world(self) -> World:
        return World(
            config=self._config,
            now=self._now,
            utc_ms=self._utc_ms,
            state=self.state,
            session_id=self.session_id,
            battery=self._battery,
            inlet=self._inlet,
            contactor_closed=self._contactor_closed,
            departure_ms=self._departure_ms,
            contract=self._contract,
            resume=self._resume,
            agreement=self._discharge.agreement,
            terms=self._discharge.terms,
        )

    def _apply(self, step: Step) -> None:
        """Do what a step says: note, command, then send, wait or end."""
        if step.session_id is not None:
            self.session_id = step.session_id
            self._disarm(_SETUP)
        if step.choice is not None:
            self._select(step.choice)
        if self._stop_wish is not None and not (step.failure or step.end or isinstance(step.stage, ENDING_STAGES)):
            ending, self._stop_wish = self._stop_wish, None
            self._actions.extend(step.observed)
            step = stop(step.stage, self._world(), ending)
        self._enter(step.stage)
        self._actions.extend(step.observed)
        for command in step.commands:
            if isinstance(command, SetPowerLimits):
                self._limits, self._overdrawn_since = command, None
            self._command(command)
        if step.discharge_w is not None:
            self._actions.extend(self._discharge.command(step.discharge_w, self._world()))
            for payload in self._discharge.outbox():
                self._send_discharge(payload)
        if step.failure:
            self._fail(step.failure)
        elif step.end:
            self._end(step.end)
        elif step.request is not None:
            self._ask(step.request, step.payload_type)
        elif step.wait is not None:
            self._arm(_PACE, step.wait)

    def _ask(self, request: Any, payload_type: int | None) -> None:
        assert sequence.accepts(self.state, request), f"{type(request).__name__} is out of order in {self.state}"
        self._pending = self._last = request
        self._send(request, payload_type)
        self._arm(_MESSAGE, self._config.timers.message_timeout(type(request).__name__))
        if isinstance(request, SessionSetupReq):
            self.session_id = request.header.session_id

    def _enter(self, stage: Stage) -> None:
        """Take the next stage and keep the timer of its chain: authorization and schedule count from Ongoing."""
        timers = self._config.timers
        seconds = {
            "authorization": timers.ongoing if getattr(stage, "polls", 0) else None,
            "schedule": timers.ongoing if getattr(stage, "polls", 0) else None,
            "cable_check": timers.evcc_cable_check,
            "pre_charge": timers.evcc_pre_charge,
            "contactor": self._config.timing.contactor_s,
        }
        for chain in seconds:
            if chain != stage.chain:
                self._disarm(chain)
        length = seconds.get(stage.chain)
        if length is not None and stage.chain not in self._timers:
            self._arm(stage.chain, length)
        self.stage = stage

    def _select(self, choice: Choice) -> None:
        self._choice = choice
        if choice.signed_set is not None and self._contract is not None:
            self._discharge.begin(
                session_id=self.session_id,
                contract=self._contract,
                charger_certificate=self._secc_certificate,
                entropy=self._entropy,
            )

    def _wish_to_stop(self, ending: Ending) -> None:
        """Stop in order: at once while nothing is awaited, else after the answer that is."""
        if isinstance(self.stage, ENDING_STAGES) or self._stop_wish is not None:
            return
        self._stop_wish = ending
        if self._pending is None and _PACE in self._timers:
            self._disarm(_PACE)
            self._apply(Step(stage=self.stage))

    def _check_overdraw(self) -> None:
        """No more may leave the battery than was signed, measuring error and a moment to react apart."""
        config = self._config.discharge
        allowed = min(self._limits.discharge_w, self._discharge.signed_w(self._utc_ms))
        leaving_w = -self._battery.voltage_mv * self._battery.current_ma // 1_000_000
        if leaving_w <= allowed + config.overdraw_tolerance_w:
            self._overdrawn_since = None
        elif self._overdrawn_since is None:
            self._overdrawn_since = self._now
        elif self._now - self._overdrawn_since > config.overdraw_tolerance_s:
            self._fail("more_discharged_than_agreed", leaving_w=leaving_w, allowed_w=allowed)

    # -- ends ---------------------------------------------------------------------------------------------------

    def _end(self, reason: str) -> None:
        if reason == "paused" and self._choice is not None:
            charger = setup.charger_binding(self.session_id, self._secc_certificate)
            self.paused = Resume(self.session_id, self._choice, charger)
        self._observe("session", "ended", reason=reason, soc=self._battery.soc)
        self._close(reason)

    def _fail(self, reason: str, **data: Scalar) -> None:
        """Make the vehicle safe and close. No further request is sent (V2G20-436 to -440)."""
        self._observe("session", "failed", reason=reason, awaiting=type(self.stage).__name__, **data)
        self._limits = SetPowerLimits(0, 0)
        self._command(*SAFE)
        self.stage = Ended()
        self._close(reason)
