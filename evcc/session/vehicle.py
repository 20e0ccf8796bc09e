"""A vehicle's side of a session in every edition: it sends requests, waits for their answers, and stops safely.

`Vehicle` has the engine's events, timers, hardware and the ends of a session; `Watch` monitors battery, inlet and
contactor. An edition has stages, handlers and messages.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Final, Generic, Protocol, TypeVar

from msgspec.structs import replace

from evcc.session import ports
from evcc.session.context import CommonContext
from evcc.session.edition import Connection
from evcc.session.paused import Kept, Paused
from evcc.session.program import ProgramProgress
from evcc.session.settings import SessionConfig
from evcc.session.steps import Ended, Negotiating, Stage, StageKinds, Step
from evcc.session.watch import LOOK_S, Watch
from v2g.errors import CodecError
from v2g.exi.declare import Element
from v2g.iec61851.pilot import DutyReading
from v2g.iso15118.engine import sequence
from v2g.iso15118.engine.app_protocol import AppProtocol, SupportedAppProtocolReq
from v2g.iso15118.engine.dc_status import NO_CURRENT_MA
from v2g.iso15118.engine.message_timing import MessageTiming
from v2g.iso15118.engine.session import Command, Fact, Session
from v2g.observe import Scalar

MESSAGE: Final = "message"
_SETUP: Final = "communication_setup"
PACE: Final = "pace"
_THEN: Final = "then"
DRY_S: Final = 30.0
"""After this time without current in a step `charge` it is reported, s."""
_WATCH: Final = "watch"
ON_ITS_WAY_S: Final = 0.05
"""Time after which a request has been sent; state C follows it within 250 ms (V2G20-847, V2G20-1617)."""
MEASURING_S: Final = 0.05
"""Allowance for our own clock and event loop in measured times, s."""


class Timers(Protocol):
    """The timers that every edition has."""

    @property
    def evcc_communication_setup(self) -> float:
        """From plug-in to SessionSetupRes, s."""

    def message_timeout(self, request: str) -> float:
        """Return how long the answer to the named request may take, s."""


StepT = TypeVar("StepT", bound=Step)


class End(Protocol):
    """Mode and cause of a session's end, as an edition has it."""

    @property
    def cause(self) -> str:
        """Why it ends."""

    @property
    def failed(self) -> bool:
        """Whether the cause is a failure."""

    @property
    def goes_on(self) -> bool:
        """Whether the session continues after it: a pause, or other services."""


EndingT = TypeVar("EndingT", bound=End)


class Vehicle(Session, Generic[StepT, EndingT]):
    """The vehicle's role in a session; subclasses add an edition, with its steps and ends of a session.

    `protocols` are offered to the charger, best first. `connected_for` is the time (s) since the data link was matched:
    the communication setup timer counts from then.
    """

    kinds: ClassVar[StageKinds]
    timing: ClassVar[Mapping[str, MessageTiming]]
    """Name of the request -> its timing."""

    def __init__(
        self,
        config: SessionConfig,
        timers: Timers,
        connection: Connection,
        protocols: tuple[AppProtocol, ...],
        connected_for: float,
    ) -> None:
        super().__init__(entropy=connection.entropy, time_scale=connection.time_scale)
        self.stage: Stage = Ended()
        self._config, self._timers, self._protocols = config, timers, protocols
        self._battery_before = connection.battery
        contactor_s = config.timing.contactor_s + LOOK_S
        self._watch = Watch(connection.battery, sensor_s=config.timing.sensor_s, contactor_s=contactor_s)
        self._connected_for = connected_for
        self._departure_ms = 0
        """As if UTC had not been set since the beginning."""
        self._requested_end: EndingT | None = None
        self.pending: Element | None = None  # the request that waits for its response
        self._last: Element | None = None  # the latest request, for repetitions
        self.asked_at = 0.0
        self._progress: ProgramProgress | None = None
        self._before = connection.resume if connection.stays else None
        self._woken_at: int | None = None
        self._then: tuple[Command, ...] = ()
        self._ac_w = self._drawn_w = 0
        self._duty = DutyReading("digital")
        self._dry_since: float | None = None
        self._dry_reported = False

    # -- what an edition implements -----------------------------------------------------------------------------

    @abstractmethod
    def _transmit(self, request: Element) -> None:
        """Encode and send a request, which is in order."""

    @abstractmethod
    def _apply(self, step: StepT) -> None:
        """Carry out a step of the edition's handlers."""

    @abstractmethod
    def _wake(self) -> None:
        """The pause before a repeated request is over."""

    @abstractmethod
    def _chains(self, stage: Stage) -> Mapping[str, float | None]:
        """Return the timers of chains of stages, s; None does not run. `stage` is the next one."""

    @abstractmethod
    def _contactor_moved(self, *, closed: bool) -> None:
        """Continue if the stage waits for the contactor."""

    @abstractmethod
    def _ending(self, cause: str | ports.StopRequested) -> EndingT:
        """Return the end that a request leads to; a text is a fault of the vehicle."""

    # -- hooks of the engine ------------------------------------------------------------------------------------

    def _on_start(self) -> None:
        self._departure_ms = self._time.utc_ms + self._config.needs.departure_after_s * 1000
        self._arm(_SETUP, max(0.0, self._timers.evcc_communication_setup - self._connected_for))
        self._enter(Negotiating())
        self._ask(SupportedAppProtocolReq(app_protocol=self._protocols))

    def _on_broken(self, error: CodecError) -> None:
        self._fail("undecodable_message", error=str(error))

    def _on_eof(self) -> None:
        self._fail(self._cause("secc_vanished"))

    def _on_abort(self, reason: str) -> None:
        self._fail(reason)

    def _on_timer(self, name: str) -> None:
        if name == PACE:
            self._wake()
        elif name == _THEN:
            self._follow_request()
        elif name == _WATCH:
            self._look()
        elif name == MESSAGE:
            self._fail(self._cause("message_timeout"), request=type(self.pending).__name__)
        else:
            self._fail(f"{name}_timeout")

    def _on_fact(self, fact: Fact) -> None:
        match fact:
            case ports.BatteryState():
                self._watch.take_battery(fact, self._time.now)
                self._check_overdraw()
                self._look()
                self._check_battery()
            case ports.PresentVoltage():
                self._watch.take_inlet(fact, self._time.now)
                self._follow_duty()
                self._look()
            case ports.DutyRead(reading=reading):
                self._duty = reading
                self._follow_duty()
            case ports.PlugState(connected=False):
                self._fail("unplugged")
            case ports.HardwareFault(reason=reason):
                self._fail(reason)
            case ports.StopRequested():
                self._request_end(self._ending(fact))
            case ports.NeedsChanged():
                self._take_needs(fact)
            case ports.ContactorState(closed=closed):
                self._watch.take_contactor(fact)
                self._look()
                if self.pending is None:
                    self._contactor_moved(closed=closed)

    # -- requests and answers -----------------------------------------------------------------------------------

    def _common_context(self) -> CommonContext:
        """Return the fields of `Context`."""
        watch, now = self._watch, self._time.now
        return {
            "config": self._config,
            "now": now,
            "utc_ms": self._time.utc_ms,
            "session_ms": self._time.utc_ms - self._time.set_ms,
            "state": self.state,
            "session_id": self.session_id,
            "battery": watch.battery,
            "inlet": watch.inlet,
            "contactor_closed": watch.contactor_closed,
            "departure_ms": self._departure_ms + self._time.set_ms,
            "fresh": watch.fresh(now),
            "woken_at": self._woken_at,
        }

    def _ask(self, request: Element) -> None:
        """Send a request."""
        self.pending = self._last = request
        self.asked_at = self._time.now
        self._disarm(PACE)
        self._watch.exchange(awaits=True)
        self._transmit(request)
        self._arm(MESSAGE, self._timers.message_timeout(type(request).__name__))

    def _awaiting(self, response: Element) -> Element | None:
        """Return the pending request if this is its response; any other ends the session."""
        request, name = self.pending, type(response).__name__
        if request is None:
            self._fail("unexpected_message", message=name)
        elif name != type(request).__name__.removesuffix("Req") + "Res":
            self._fail("unexpected_message", message=name, awaited=type(request).__name__)
        elif self._unlisted({"ResponseCode"}):
            self._fail("unexpected_response_code", message=name, code=sequence.code_of(response))
        elif unlisted := self._unlisted({"EVSEProcessing"}):
            self._fail("unlisted_value", message=name, field=unlisted.field)
        else:
            return request
        return None

    def _answered(self) -> None:
        """The awaited answer has come: carry out what follows the request, and report a late answer."""
        request, self.pending = type(self.pending).__name__, None
        self._watch.exchange(awaits=False)
        self._disarm(MESSAGE)
        self._follow_request()
        seconds = self._time.now - self.asked_at
        if seconds > self.timing[request].performance + MEASURING_S:
            self._observe("session", "late_answer", request=request, seconds=round(seconds, 4))

    def _follow_request(self) -> None:
        """Carry out the commands that follow the request."""
        self._disarm(_THEN)
        then, self._then = self._then, ()
        self._command(*then)

    # -- steps --------------------------------------------------------------------------------------------------

    def _enter(self, stage: Stage) -> None:
        """Enter the next stage."""
        if stage.chain or self.stage.chain:
            # the timer of a chain of stages; those that poll count from the first Ongoing.
            seconds = self._chains(stage)
            length = seconds.get(stage.chain)
            same_customer = getattr(stage, "customer", False) is getattr(self.stage, "customer", False)
            for chain in seconds:
                if chain != stage.chain or length is None or not same_customer:
                    self._disarm(chain)
            if length is not None and stage.chain not in self._time.timers:
                self._arm(stage.chain, length)
        if self.kinds.is_powered(stage) and not self.kinds.is_powered(self.stage):
            self._watch.begin(self._time.now)
            self._arm(_WATCH, LOOK_S)
        self.stage = stage

    def _proceed(self, step: Step) -> None:
        """End the session, send the request of a step, or wait; its stage is entered, its commands are given."""
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
            self._arm(PACE, step.wait)

    def _overtaking(self, step: Step) -> EndingT | None:
        """Return the requested end of the session, once, if it takes precedence over a step."""
        if step.failure or step.end or isinstance(step.stage, self.kinds.ending):
            return None
        ending, self._requested_end = self._requested_end, None
        return ending

    def _session_begun(self, session_id: bytes) -> None:
        """The charger has given the session its id, a new one if it has forgotten the one before the pause."""
        self.session_id = session_id
        if self._before is not None:
            self._take_up(self._before)
        self._disarm(_SETUP)

    def _command(self, *commands: Command) -> None:
        """Carry out commands, and reduce the power as soon as its limit is reduced."""
        for command in commands:
            if isinstance(command, ports.SetAcPower):
                self._ac_w = command.power_w
                command = ports.SetAcPower(self._within_duty(self._ac_w))
                self._drawn_w = command.power_w
            elif isinstance(command, ports.SetPowerLimits):
                within_w = max(-command.discharge_w, min(command.charge_w, self._ac_w))
                if within_w != self._ac_w:
                    self._command(ports.SetAcPower(within_w))
            self._watch.command(command, self._time.now)
            super()._command(command)

    def _within_duty(self, power_w: int) -> int:
        """Return an alternating power within what the pilot permits beside the messages (IEC 61851-1).

        At 5 % nothing is limited, a nominal duty cycle limits each phase, and without the oscillator nothing flows.
        """
        if self._duty.meaning == "digital":
            return power_w
        inlet, charger = self._watch.inlet, self._config.on_board_charger
        most_w = int(inlet.lines_of(charger.phases) * self._duty.max_current_a * inlet.voltage_mv / 1000)
        within_w = max(-most_w, min(most_w, power_w)) if self._duty.meaning == "current" else 0
        return 0 if 0 < within_w < charger.min_charge_w else within_w

    def _follow_duty(self) -> None:
        """Draw what was wanted last, as far as the pilot permits it now."""
        if self._within_duty(self._ac_w) != self._drawn_w:
            self._command(ports.SetAcPower(self._ac_w))

    def _resume_pause(self, step: StepT) -> None:
        """Carry out a step now, unless the session awaits a response or its contactor."""
        if self.pending is None and self.stage.chain != "contactor":
            self._disarm(PACE)
            self._apply(step)

    def _take_up(self, before: Paused) -> None:
        """Continue after a pause: the program goes on, and the driver's needs hold on."""
        self._progress = before.progress
        self._woken_at = None if before.progress is None else before.progress.index
        if before.needs is not None and before.departure_ms is not None:
            self._config = replace(self._config, needs=before.needs)
            self._departure_ms = before.departure_ms - self._time.set_ms

    def _kept(self) -> Kept:
        """Return what outlasts a pause."""
        progress, set_ms = self._progress, self._time.set_ms
        if progress is not None:
            progress = replace(progress, since_ms=progress.since_ms + set_ms)
        return {"progress": progress, "needs": self._config.needs, "departure_ms": self._departure_ms + set_ms}

    def _take_needs(self, fact: ports.NeedsChanged) -> None:
        """Set new needs of the driver."""
        needs = self._config.needs
        target = needs.target_soc if fact.target_soc is None else fact.target_soc
        minimum = needs.minimum_soc if fact.minimum_soc is None else fact.minimum_soc
        changed = replace(needs, target_soc=target, minimum_soc=min(minimum, target))  # V2G20-1640
        self._config = replace(self._config, needs=changed)
        if fact.departure_ms is not None:
            self._departure_ms = fact.departure_ms - self._time.set_ms
        self._observe("schedule", "needs_changed", target_soc=target, minimum_soc=changed.minimum_soc)

    # -- monitoring ---------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Stop at once if measurements violate a limit."""
        if self._closed or isinstance(self.stage, Ended):
            return
        powered, ending = self.kinds.is_powered(self.stage), isinstance(self.stage, self.kinds.ending)
        violation = self._watch.look(self._time.now, powered=powered, ending=ending)
        if violation:
            battery, inlet = self._watch.battery, self._watch.inlet
            shown = {"battery_mv": battery.voltage_mv, "battery_ma": battery.current_ma}
            self._fail(violation, **shown, inlet_mv=inlet.voltage_mv, inlet_ma=inlet.current_ma)
        elif powered:
            self._arm(_WATCH, LOOK_S)
            self._check_supply()
        else:
            self._disarm(_WATCH)

    def _check_supply(self) -> None:
        """Report a charge without current, whichever side's limit is 0, and end it in the configured time."""
        progress, config = self._progress, self._config
        # a resumed program may have become shorter
        steps = () if progress is None or progress.ended else config.program[progress.index :]
        charges = bool(steps) and steps[0].do == "charge" and not isinstance(self.stage, self.kinds.ending)
        if not charges or abs(self._watch.inlet.current_ma) > NO_CURRENT_MA:
            self._dry_since, self._dry_reported = None, False
            return
        since = self._dry_since = self._time.now if self._dry_since is None else self._dry_since
        seconds, battery = self._time.now - since, self._watch.battery
        if seconds >= DRY_S and not self._dry_reported:
            own = not min(battery.max_charge_w, battery.max_charge_ma)
            advice = "see the battery's limits" if own else "wait for the charger's limits, or leave"
            self._dry_reported = True
            self._observe("power", "no_energy", limited_by="vehicle" if own else "charger", advice=advice)
        if seconds >= config.timing.no_energy_s:
            self._request_end(self._ending(ports.StopRequested("no_energy", pause=True)))

    def _check_battery(self) -> None:
        """A battery with a fault is not connected; a connected one is disconnected normally."""
        fault = self._watch.battery.fault
        if not fault or self._closed:
            return
        if isinstance(self.stage, self.kinds.closing):
            self._fail(fault)
        else:
            self._request_end(self._ending(fault))

    def _check_overdraw(self) -> None:
        """Stop if more leaves the vehicle than was agreed, beyond measurement error and reaction time."""
        watch, config, now = self._watch, self._config.discharge, self._time.now
        allowed_w = self._discharge_allowed_w()
        gate = watch.inlet if self._is_ac() else watch.battery
        leaving_w = -gate.voltage_mv * gate.current_ma // 1_000_000
        tolerance_w, seconds = config.overdraw_tolerance_w, config.overdraw_tolerance_s
        if watch.overdrawn(leaving_w, allowed_w, tolerance_w, seconds=seconds, now=now):
            self._fail("more_discharged_than_agreed", leaving_w=leaving_w, allowed_w=allowed_w)

    def _discharge_allowed_w(self) -> int:
        """Return the power that may leave the vehicle, W."""
        return self._watch.limits.discharge_w

    @abstractmethod
    def _is_ac(self) -> bool:
        """Return whether the on-board charger is used; then the inlet counts for discharge, not its losses."""

    # -- ends ---------------------------------------------------------------------------------------------------

    def _request_end(self, ending: EndingT) -> None:
        """Stop normally: at once if no answer is pending, else after it. Of several requests the first one counts, but
        a session that was to go on can still be ended for good."""
        leaves = isinstance(self.stage, self.kinds.ending)
        first: EndingT | None = getattr(self.stage, "ending", None) if leaves else self._requested_end
        if leaves or first is not None:
            if first is None or not first.goes_on or ending.goes_on:
                return
            if leaves:
                self.stage = replace(self.stage, ending=ending)
                return
        self._requested_end = ending
        self._resume_pause(self._staying())

    @abstractmethod
    def _staying(self) -> StepT:
        """Return the step that only stays in the present stage."""

    def _end(self, reason: str) -> None:
        """Close a session that has ended normally."""
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

    def _cause(self, reason: str) -> str:
        """Return why the session fails: a charger that refuses, leaves or does not answer does not hide why the vehicle
        has ended it."""
        ending: EndingT | None = getattr(self.stage, "ending", None)
        return ending.cause if ending is not None and ending.failed else reason

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
        self._command(*ports.SAFE)
        self.stage = Ended()
        self._close(reason)
