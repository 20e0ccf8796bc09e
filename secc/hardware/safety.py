"""The safety channel of one EVSE: the monitor (`v2g.safety.charger`) between its session and its drivers.

Drivers are wrapped before the EVSE gets them, so that every command passes the monitor. The session's messages
and commands are observed where they occur, independently of the session. Verdicts are executed at the drivers
themselves and reported as faults of the hardware.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Protocol, TypeVar

from secc.hardware.driver_guard import guarded
from secc.hardware.forwarding_monitor import ForwardingMonitor
from secc.hardware.heat import RUNAWAY, HeatWatch
from secc.hardware.meter import Meter
from secc.session import ports
from v2g.asn1.discharge import DischargeCommand, ResultStatus, signed_content
from v2g.energy.conductors import spread
from v2g.energy.limits import NO_RESPONSE, GridResponse, Limit, Setpoint, choose_setpoint
from v2g.energy.settlement.records import CommandAccepted, CommandRejected, ServiceChanged, SessionStarted, TermsDecided
from v2g.errors import Asn1Error
from v2g.exi.declare import Element
from v2g.hardware import interfaces
from v2g.hardware.faults import FAULTS as KINDS
from v2g.iec61851.pilot import PilotState
from v2g.io.hardware.emergency import CHECK_S, Emergency
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import new_thread, run_all
from v2g.io.runtime.watchdog import Watchdog
from v2g.iso15118.engine.session import Command, Fact
from v2g.observe import Observe
from v2g.safety import NOTHING, ChargerRating, Lower, Open, Output, Phase, Request, Verdict
from v2g.safety.flow import Agreement, Errors
from v2g.text import printable

Said = TypeVar("Said")
Part = TypeVar("Part")

TICK_S: Final = 0.1
"""Interval of the monitor's checks."""

STALE_TICKS: Final = 2
"""Checks after which a pilot is stale: after the first one the event loop may only have been busy."""

SILENT_TICKS: Final = 10
"""Checks without a report of a driven power stage, after which its driver has failed. Counted, not timed: a late event
loop has late reports, too."""

CLOCK_SET_S: Final = 0.5
"""By how much UTC has to be ahead of what it was on the monotonic clock for it to have been set."""

CUT_S: Final = 0.2
"""Time for a part's `cut`; the others do not wait for it."""

TRY_MV: Final = 30_000
TRY_S: Final = 0.2
POLL_S: Final = 0.02
JOIN_S: Final = 0.005
"""What a power stage that was cut is commanded in a self-test (safe to touch), the time for parts to show that they
ignore `cut`, how often these are looked at, and for how long a thread is waited for at once."""


_NEWEST: Final = frozenset(
    each.value
    for each in (
        ResultStatus.UNKNOWN_OFFER, ResultStatus.TERMS_MISMATCH, ResultStatus.WRONG_CHALLENGE,
        ResultStatus.NOT_ACCEPTED, ResultStatus.OFFER_EXPIRED, ResultStatus.EXPIRED, ResultStatus.NOT_YET_VALID,
        ResultStatus.VALIDITY_TOO_LONG, ResultStatus.UNKNOWN_CHECKPOINT,
    )
)  # fmt: skip
"""Rejection of a command although the vehicle has signed it for this session, in sequence."""


class FaultyHardware(Protocol):
    """Receiver of faults: the hardware of an EVSE."""

    @property
    def faults(self) -> tuple[str, ...]:
        """Codes of active faults."""

    def on_fault(self, callback: interfaces.OnFault) -> None:
        """Call `callback` with each fault that begins or ends."""

    def fault(self, word: str, active: bool) -> None:
        """A fault begins or ends."""


FAULTS: Final = frozenset(
    {"contactor_welded", "contactor_dropped", "over_voltage", "power_not_obeyed", "measurements_differ", RUNAWAY}
)
"""Verdicts that are hardware faults themselves; all others are `rule_broken`."""


class SafetyChannel:
    """Owns the monitor, its clock and the wrapped drivers. All calls are in the event loop."""

    def __init__(
        self,
        rating: ChargerRating,
        clock: Clock,
        observe: Callable[[Observe], None],
        *,
        watchdog: Watchdog | None = None,
    ) -> None:
        self._monitor, self._clock, self._observe = ForwardingMonitor(rating, clock.monotonic), clock, observe
        self._loop = asyncio.get_running_loop()
        self._lower: list[Callable[[Output], None]] = []
        self._open: list[Callable[[], None]] = []
        self._measure: Callable[[float], None] = self._monitor.tick
        self._compared: tuple[Agreement, Meter, Callable[[], int]] | None = None
        self._hardware: FaultyHardware | None = None
        self._timer = self._loop.call_later(TICK_S, self._tick)
        self._basic = False
        self._last: Verdict | None = None
        self._response = NO_RESPONSE
        self._mains: tuple[int, int] | None = None
        self._setpoint: Setpoint | None = None
        self._timed: dict[str, Limit] = {}
        self._epoch_s = clock.at(0)
        self._parts: list[tuple[str, interfaces.Cut]] = []
        self._shared: list[interfaces.Cut] = []
        self._stage: _Stage | None = None
        self._raw_contactor: interfaces.Contactor | None = None
        self._raw_stage: interfaces.PowerStage | None = None
        self._differs = False
        self._failures: dict[str, str] = {}
        self._silent = self._stale = 0
        self._pilot: interfaces.ChargerPilot | None = None
        self._heat: tuple[HeatWatch, Callable[[], Mapping[str, float | None]], Emergency] | None = None
        self._checked_at = float("-inf")
        self._feed = watchdog.watch(self._cut) if watchdog is not None else lambda: None

    def close(self) -> None:
        """Stop; the drivers are already off."""
        self._timer.cancel()

    # -- drivers

    def guard(self, part: Part, interface: type) -> Part:
        """Return a driver's part behind its interface: what the driver fails to do is a fault that opens. Raises
        TransportError if it lacks something."""
        return guarded(part, interface, partial(self._driver_failed, alone=interface is not interfaces.Contactor))

    def _driver_failed(self, why: str, *, alone: bool = True) -> None:
        """Cut the EVSE's parts; what it shares with others only if its own contactor may not separate it."""
        run_all(part.cut for _, part in self._parts)
        if not alone:
            run_all(part.cut for part in self._shared)
        member = why.partition(":")[0]
        if self._failures.get(member) != why:
            self._failures[member] = why
            self._observe(Observe("hardware", "driver_failed", {"why": why}))
        self._report("charger_failed")

    def pilot(self, pilot: interfaces.ChargerPilot) -> None:
        """Watch that this pilot's state is measured."""
        self._pilot = pilot

    def forward_to(self, board: interfaces.BoardMonitor) -> None:
        """Pass the monitor's inputs on to a control board, which opens by the same rule."""
        self._monitor.forward_to(board)

    def contactor(self, contactor: interfaces.Contactor) -> interfaces.Contactor:
        """Return the wrapped contactor for the EVSE."""
        contactor.on_change(lambda closed: self._tell(lambda now: self._monitor.feedback(now, closed=closed)))
        self._monitor.feedback(self._clock.monotonic(), closed=contactor.closed)
        self._open.append(lambda: contactor.set(closed=False))
        self._parts.insert(0, ("contactor", contactor))
        self._raw_contactor = contactor
        return _Contactor(contactor, self)

    def stage(self, stage: interfaces.PowerStage) -> interfaces.PowerStage:
        """Return the wrapped power stage for the EVSE."""
        self._stage = _Stage(stage, self)
        self._parts.append(("power stage", stage))
        self._raw_stage = stage
        self._lower.append(self._stage.lower)

        def measure(now: float) -> None:
            present = stage.present
            self._monitor.measured(present.voltage_mv, present.current_ma, now)

        self._measure = measure
        stage.on_report(self._reported)
        return self._stage

    def _reported(self, _: interfaces.StageReport) -> None:
        self._silent = 0
        self._look()

    def primary(self, device: interfaces.PrimaryDevice) -> interfaces.PrimaryDevice:
        """Return the wrapped primary device for the EVSE."""
        guarded = _Primary(device, self)
        self._parts.append(("primary device", device))
        self._lower.append(guarded.lower)
        self._measure = lambda now: self._monitor.drawn(device.report.sent_w, now)
        device.on_report(lambda _: self._look())
        return guarded

    def compare(self, watts: Callable[[], int], meter: Meter, errors: Errors, most_w: int) -> None:
        """Compare the power that the output measures itself with what this meter measures: they must agree."""
        self._compared = Agreement(errors, most_w), meter, watts

    def watch_heat(
        self, watch: HeatWatch, temperatures: Callable[[], Mapping[str, float | None]], emergency: Emergency
    ) -> None:
        """Watch temperatures (degrees C by sensor; None for a failed one) for a part that heats itself: no energy from
        then on, and the emergency output asserted."""
        self._heat = watch, temperatures, emergency

    def mains(
        self, present: Callable[[], ports.Measured], *, volts: int, lines: int, part: interfaces.Cut | None = None
    ) -> Callable[[Output, int], Output]:
        """Return what permits a part of an output to a vehicle on alternating current, which controls its power itself:
        its limits are sent to it, and it is disconnected if it exceeds them. See `secc.hardware.ac.Allow`.

        `present` is what flows now, nothing where that is not known; the outlet has so many line conductors, V between
        one and the neutral.
        """
        self._mains, used = (volts, lines), lines
        self._parts += [] if part is None else [("mains", part)]

        def measure(now: float) -> None:
            flows = present()
            currents = flows.currents or spread(flows.current_ma, range(used))
            self._monitor.drawn(flows.watts, now, currents)

        def allow(output: Output, in_lines: int) -> Output:
            nonlocal used
            used = in_lines
            return self.drive(output if output.charge_w or output.discharge_w else NOTHING)

        self._measure = measure
        return allow

    def drive(self, output: Output) -> Output:
        """Return the permitted part of an output."""
        self._time_setpoint()
        return self._tell(lambda now: self._monitor.drive(output, now))

    def also_cut(self, part: interfaces.Cut) -> None:
        """Cut this part with the others: when the contactor's driver has failed, or by the watchdog. Other EVSEs may
        use it, so failures of other drivers and the self-test let it be."""
        self._shared.append(part)

    def switch(self, *, closed: bool) -> bool:
        """Return whether the contactor may be switched to this state."""
        if closed:
            return self._tell(self._monitor.close)
        self._tell(self._monitor.open)
        return True

    def stand_over(self, evse: "FaultyHardware") -> None:
        """Report violations found by the monitor as faults of this hardware, whose faults forbid energy here, too."""
        self._hardware = evse
        evse.on_fault(self._fault)
        if self._failures:
            evse.fault("charger_failed", active=True)
        for word in evse.faults:
            self._fault(word, active=True)

    def _fault(self, word: str, active: bool) -> None:
        if word == "charger_failed" and not active:
            self._failures.clear()  # they are reported again
        if KINDS[word].stops:
            self._tell(lambda now: self._monitor.fault(word, now, active=active))

    # -- the self-test

    async def test_cut(self) -> str:
        """Cut each part as the watchdog does, and return what does not follow; empty if all do.

        With a power stage, whose output is off, contactor and stage are then commanded on, without the monitor: one
        that has been cut does not move. A contactor for alternating current is not: it would have mains behind it.
        """
        contactor, stage = self._raw_contactor, self._raw_stage
        try:
            failed = [each for each in [await _cut_aside(name, part) for name, part in self._parts] if each]
            if not failed and contactor is not None and stage is not None:
                failed = await self._on_after_cut(contactor, stage)
        finally:  # commanded off, all can be switched on again
            offs: list[Callable[[], None]] = [] if stage is None else [partial(stage.drive, interfaces.OFF)]
            offs += [] if contactor is None else [partial(contactor.set, closed=False)]
            run_all(offs)
        return ", ".join(failed)

    async def _on_after_cut(self, contactor: interfaces.Contactor, stage: interfaces.PowerStage) -> list[str]:
        """Command parts on that were cut; return which of them are."""
        contactor.set(closed=True)
        stage.drive(interfaces.Demand(TRY_MV))
        end = self._loop.time() + TRY_S
        while self._loop.time() < end:
            found = {"contactor": contactor.closed, "power stage": stage.present.voltage_mv >= TRY_MV // 2}
            if any(found.values()):
                return [f"the {name} is on after cut" for name, on in found.items() if on]
            await asyncio.sleep(POLL_S)
        return []

    # -- the session

    def converse(self, read: Callable[[Element, int], Request]) -> Callable[[Element, int], None]:
        """A session begins whose messages `read` decodes; return the observer of its messages."""
        self._basic = False
        self._tell(self._monitor.begin)
        return lambda message, stream: self._ask(read(message, stream))

    def maintain(self, *, seconds: float, voltage_mv: int) -> None:
        """No session: the contactor may close by hand for so long, as long as no power flows, and no more voltage is
        there. 0 s ends that."""
        self._tell(self._monitor.begin)
        self._tell(lambda now: self._monitor.authorise(now, allowed=seconds > 0))
        phase = Phase.VOLTAGE if seconds else Phase.IDLE
        self._ask(Request(phase=phase, closed_s=seconds, bears=Output(voltage_mv=voltage_mv)))

    def signal(self, pilot: PilotState, *, most_w: int, interval_s: float) -> None:
        """A session without messages begins, controlled by the pilot (IEC 61851-1); `interval_s`: of duty cycles."""
        self._basic = True
        self._tell(self._monitor.begin)
        self._ask(Request(bears=Output(charge_w=most_w), notice_s=interval_s))
        self._take_pilot(pilot)

    def command(self, command: Command) -> None:
        """A command of the session for journal, back end or hardware."""
        match command:
            case ports.TransactionStarted() | ports.JoinSession():
                self._tell(lambda now: self._monitor.authorise(now, allowed=True))
            case ports.TransactionEnded() | ports.CloseJournal():
                self._tell(lambda now: self._monitor.authorise(now, allowed=False))
            case ports.SaveSession():
                self._tell(lambda now: self._monitor.authorise(now, allowed=False, paused=True))
            case ports.EmergencyOff():
                self._ask(Request(phase=Phase.IDLE))
            case ports.Journal(record=SessionStarted(discharge=rule) | ServiceChanged(discharge=rule)):
                self._tell(lambda now: self._monitor.discharge(rule, now))
            case ports.Journal(record=TermsDecided(accepted=False)):
                self._tell(lambda now: self._monitor.signed(0, now, now))
            case ports.Journal(record=CommandAccepted(payload=payload, until_ms=until_ms)):
                self._take_signed(payload, until_ms)
            case ports.Journal(record=CommandRejected(reason=reason, payload=payload)) if reason in _NEWEST:
                self._take_refused(payload)

    def forget_paused(self) -> None:
        """The paused session will not be resumed."""
        self._monitor.forget_paused()

    def fact(self, fact: Fact) -> None:
        """A fact for the session."""
        match fact:
            case ports.GridChanged(limits=limits):
                for limit in limits:
                    self._take_limit(limit)
            case ports.GridResponseChanged(response=response):
                self._take_response(response)
            case ports.SetpointChanged(setpoint=setpoint):
                self._setpoint = setpoint
                self._limit_setpoint()
            case ports.StopRequested():
                self._tell(self._monitor.stop)
            case ports.PilotChanged(state=state) if self._basic:
                self._take_pilot(state)

    # -- inside

    def _ask(self, request: Request) -> None:
        self._tell(lambda now: self._monitor.request(request, now))

    def _take_pilot(self, state: PilotState) -> None:
        forever = float("inf")
        if state.ready:
            self._ask(Request(phase=Phase.POWER, power_s=forever, closed_s=forever))
        else:
            self._ask(Request(phase=Phase.IDLE))

    def _take_limit(self, limit: Limit) -> None:
        if limit.valid_from_ms or limit.valid_until_ms is not None:
            self._timed[limit.source] = limit
        else:
            self._timed.pop(limit.source, None)
        until_s = float("inf") if limit.valid_until_ms is None else self._clock.at(limit.valid_until_ms)
        bounds = {"charge_w": limit.charge_w, "discharge_w": limit.discharge_w}
        if self._mains is not None:
            lines = limit.balanced(*self._mains)
            currents = {"charge_ma": lines.charge_ma, "discharge_ma": lines.discharge_ma}
            bounds |= {name: most for name, most in currents.items() if most is not None}
        self._tell(
            lambda now: self._monitor.limit(
                limit.source, now, **bounds, from_s=self._clock.at(limit.valid_from_ms), until_s=until_s
            )
        )

    def _take_response(self, response: GridResponse) -> None:
        """Bound the power by the grid's frequency and voltage, signed into the vehicle."""
        if self._mains is not None and response.trip is not self._response.trip:
            self._tell(lambda now: self._monitor.fault("grid_trip", now, active=response.trip))
        self._response = response
        bounds: dict[str, int] = {}
        if response.ceiling_w is not None:
            bounds["charge_w"] = max(0, response.ceiling_w)
        if response.floor_w is not None:
            bounds["discharge_w"] = max(0, -response.floor_w)
        self._tell(lambda now: self._monitor.limit("grid", now, **bounds))
        self._limit_setpoint()

    def _limit_setpoint(self) -> None:
        """Bound the power by a set-point, which only the grid's response exceeds: towards it, or against nothing."""
        setpoint = choose_setpoint(() if self._setpoint is None else (self._setpoint,), self._clock.utc_ms())
        bounds: dict[str, int] = {}
        if setpoint is not None:
            bounds["charge_w"] = max(0, self._response.bend(max(0, setpoint.power_w)))
            bounds["discharge_w"] = max(0, -self._response.bend(min(0, setpoint.power_w)))
        self._tell(lambda now: self._monitor.limit("setpoint", now, **bounds))

    def _take_signed(self, payload: bytes, until_ms: int) -> None:
        try:
            content = signed_content(payload)
        except Asn1Error:  # undecodable although accepted: nothing is signed
            return
        if isinstance(content, DischargeCommand):
            self._tell(lambda now: self._monitor.signed(content.power_w, self._clock.at(until_ms), now))

    def _take_refused(self, payload: bytes) -> None:
        try:
            content = signed_content(payload)
        except Asn1Error:  # too long, which no command is
            return
        if isinstance(content, DischargeCommand):
            until_s = self._clock.at(content.valid_until_ms)
            self._tell(lambda now: self._monitor.signed_less(content.power_w, until_s, now))

    def _look(self) -> None:
        """Pass the measured output to the monitor, and compare it with the meter."""
        self._tell(self._measure)
        # open when the meter measures another power, while energy may flow
        if self._compared is None:
            return
        agreement, meter, watts = self._compared
        metered_w, now = meter.power_w if self._monitor.live else None, self._clock.monotonic()
        differ = agreement.differ(watts(), metered_w, min(now, meter.read_at), now)
        if differ and not self._differs:
            self.switch(closed=False)
            self._fault("measurements_differ", active=True)
            self._carry_out(Open("measurements_differ"))
        self._differs = differ

    def _time_setpoint(self) -> None:
        """A set-point may begin or end with time."""
        if self._setpoint is not None:
            self._limit_setpoint()

    def _look_at_heat(self) -> None:
        """Power goes first, then the emergency output, and then the disk."""
        if self._heat is None:
            return
        watch, temperatures, emergency = self._heat
        now = self._clock.monotonic()
        seldom = now - self._checked_at >= CHECK_S
        if not (seldom or self._monitor.live):
            return
        evidence = watch.look(temperatures(), now)
        if evidence and not emergency.cause:
            run_all((partial(self.switch, closed=False), partial(self._fault, RUNAWAY, active=True)))
            self._carry_out(Open(RUNAWAY))
            emergency.trip(RUNAWAY, evidence)
        if seldom:
            self._checked_at = now
            emergency.check()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(TICK_S, self._tick)
        self._look_at_heat()
        self._time_setpoint()
        # UTC may have been set forward since limits were taken: they begin and end earlier then. Where it is set back,
        # that of a session runs on, and so do they.
        epoch_s = self._clock.at(0)
        if epoch_s <= self._epoch_s - CLOCK_SET_S:
            self._epoch_s = epoch_s
            for limit in tuple(self._timed.values()):
                self._take_limit(limit)
        self._look()
        self._silent = self._silent + 1 if self._stage is not None and self._stage.driven else 0
        if self._silent == SILENT_TICKS:
            self._driver_failed(f"PowerStage: no report for {SILENT_TICKS * TICK_S:g} s")
        pilot = self._pilot
        stale = pilot is not None and pilot.state is not PilotState.F and pilot.age_s > interfaces.FRESH_S
        self._stale = self._stale + 1 if stale else 0
        if self._stale == STALE_TICKS:
            self._driver_failed(f"ChargerPilot: state not measured for {interfaces.FRESH_S:g} s")
        self._feed()

    def _cut(self) -> None:
        """Called by the watchdog's thread when the event loop hangs: remove power, and report it later."""
        parts = [*(part for _, part in self._parts), *self._shared]
        cutting = [new_thread(target=partial(run_all, (part.cut,)), name="cut") for part in parts]
        for each in cutting:
            each.start()
        self._loop.call_soon_threadsafe(self._hung)  # a part that hangs does not delay the fault
        for each in cutting:
            each.join(CUT_S)

    def _hung(self) -> None:
        self._observe(Observe("safety", "opened", {"reason": "hung"}))
        self._report("charger_failed")

    def _report(self, word: str) -> None:
        if self._hardware is not None:
            self._hardware.fault(word, active=True)

    def _tell(self, what: Callable[[float], Said]) -> Said:
        """Execute and return the monitor's verdicts."""
        said = what(self._clock.monotonic())
        for verdict in self._monitor.verdicts():
            self._carry_out(verdict)
        return said

    def _carry_out(self, verdict: Verdict) -> None:
        """Execute verdicts at the drivers, each regardless of exceptions, and report."""
        output = verdict.output if isinstance(verdict, Lower) else NOTHING
        run_all(partial(lower, output) for lower in self._lower)
        if isinstance(verdict, Open):
            word = verdict.reason if verdict.reason in FAULTS else "rule_broken"
            observed = partial(self._observe, Observe("safety", "opened", {"reason": verdict.reason}))
            run_all((observed, partial(self._report, word), *self._open))
        elif verdict != self._last:
            self._observe(
                Observe(
                    "safety",
                    "lowered",
                    {"reason": verdict.reason, "charge_w": output.charge_w, "discharge_w": output.discharge_w},
                )
            )
        self._last = verdict


async def _cut_aside(name: str, part: interfaces.Cut) -> str:
    """Cut a part in a thread; return what its driver does wrong."""
    raised: list[Exception] = []

    def cut() -> None:
        try:
            part.cut()
        except Exception as error:  # noqa: BLE001 - whatever a driver of others raises
            raised.append(error)

    thread = new_thread(target=cut, name="cut")
    thread.start()
    for _ in range(round(CUT_S / JOIN_S)):
        if not thread.is_alive():
            break
        thread.join(JOIN_S)  # a sound driver needs less: the event loop goes on
        await asyncio.sleep(0)
    if thread.is_alive():
        return f"the {name} is not cut within {CUT_S:g} s"
    return f"cutting the {name} fails: {printable(repr(raised[0]))[:200]}" if raised else ""


class _Contactor:
    """A contactor that closes only when the monitor permits it."""

    def __init__(self, contactor: interfaces.Contactor, channel: SafetyChannel) -> None:
        self._contactor, self._channel = contactor, channel

    def cut(self) -> None:
        """See Cut."""
        self._contactor.cut()

    @property
    def closed(self) -> bool:
        """See Contactor."""
        return self._contactor.closed

    def set(self, *, closed: bool) -> None:
        """See Contactor."""
        if self._channel.switch(closed=closed):
            self._contactor.set(closed=closed)

    def on_change(self, callback: Callable[[bool], None]) -> None:
        """See Contactor."""
        self._contactor.on_change(callback)


class _Stage:
    """A power stage that drives what the monitor permits."""

    def __init__(self, stage: interfaces.PowerStage, channel: SafetyChannel) -> None:
        self._stage, self._channel = stage, channel
        self._demand = interfaces.OFF

    def cut(self) -> None:
        """See Cut."""
        self._stage.cut()

    @property
    def present(self) -> interfaces.StageReport:
        """See PowerStage."""
        return self._stage.present

    @property
    def max_var(self) -> int:
        """See PowerStage."""
        return self._stage.max_var

    @property
    def driven(self) -> bool:
        """Whether it is commanded to do anything."""
        return self._demand != interfaces.OFF

    def drive(self, demand: interfaces.Demand) -> None:
        """See PowerStage."""
        charging = demand.current_ma >= 0
        wanted = Output(
            charge_w=demand.power_w if charging else 0,
            discharge_w=0 if charging else demand.power_w,
            charge_ma=max(0, demand.current_ma),
            discharge_ma=max(0, -demand.current_ma),
            voltage_mv=demand.voltage_mv,
        )
        passed = self._channel.drive(wanted)
        self._demand = _demand(passed, charging=charging)
        self._stage.drive(self._demand)

    def lower(self, output: Output) -> None:
        """Drive no more than this."""
        self._demand = _demand(output, charging=self._demand.current_ma >= 0)
        self._stage.drive(self._demand)

    def react(self, var: int) -> None:
        """See PowerStage."""
        self._stage.react(var)

    def on_report(self, callback: Callable[[interfaces.StageReport], None]) -> None:
        """See PowerStage."""
        self._stage.on_report(callback)

    def on_fault(self, callback: interfaces.OnFault) -> None:
        """See PowerStage."""
        self._stage.on_fault(callback)


class _Primary:
    """A primary device that sends what the monitor permits."""

    def __init__(self, device: interfaces.PrimaryDevice, channel: SafetyChannel) -> None:
        self._device, self._channel = device, channel
        self._coil_ma = 0

    def cut(self) -> None:
        """See Cut."""
        self._device.cut()

    @property
    def report(self) -> interfaces.PrimaryReport:
        """See PrimaryDevice."""
        return self._device.report

    def find(self, method: str) -> None:
        """See PrimaryDevice."""
        self._device.find(method)

    def pair(self, method: str, device_id: int) -> None:
        """See PrimaryDevice."""
        self._device.pair(method, device_id)

    def excite(self, coil_ma: int, power_w: int) -> None:
        """See PrimaryDevice."""
        self._coil_ma = coil_ma
        self._device.excite(coil_ma, self._passed(power_w))

    def send(self, power_w: int) -> None:
        """See PrimaryDevice."""
        self._coil_ma = 0
        self._device.send(self._passed(power_w))

    def lower(self, output: Output) -> None:
        """Send no more than this."""
        if self._coil_ma and output.charge_w:
            self._device.excite(self._coil_ma, output.charge_w)
        else:
            self._device.send(output.charge_w)

    def rest(self) -> None:
        """See PrimaryDevice."""
        self._channel.drive(NOTHING)
        self._device.rest()

    def on_report(self, callback: Callable[[interfaces.PrimaryReport], None]) -> None:
        """See PrimaryDevice."""
        self._device.on_report(callback)

    def on_fault(self, callback: interfaces.OnFault) -> None:
        """See PrimaryDevice."""
        self._device.on_fault(callback)

    def _passed(self, power_w: int) -> int:
        return self._channel.drive(Output(charge_w=power_w) if power_w else NOTHING).charge_w


def _demand(output: Output, *, charging: bool) -> interfaces.Demand:
    if charging:
        return interfaces.Demand(output.voltage_mv, output.charge_ma, output.charge_w)
    return interfaces.Demand(output.voltage_mv, -output.discharge_ma, output.discharge_w)
