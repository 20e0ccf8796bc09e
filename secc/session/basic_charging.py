"""Basic AC charging (IEC 61851-1): the duty cycle limits the current, the pilot's state controls the contactor.

For a vehicle that does not match, or whose ISO 15118 session failed: authorisation is external, the charger shows the
nominal duty cycle, and the transaction is recorded in the same journal as one of ISO 15118.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Final, Literal

from secc.session import ports
from secc.session.config import NoEnergy, SeccConfig
from secc.session.identity import Identity
from secc.session.journal import STOPPED_REASONS, session_started
from secc.session.limits import SessionLimits
from secc.session.ports import Measured, SetAcOutput, SetOutput, SetWptOutput
from secc.session.power import INTERRUPTED, NOT_READY, towards
from secc.session.stages import Charging
from v2g.energy.conductors import line_current_ma, line_power_w, line_rating_ma
from v2g.energy.grid_signal import Tariff
from v2g.energy.limits import NO_RESPONSE, VEHICLE, EffectiveLimits, GridResponse, Limit, Setpoint
from v2g.energy.settlement.records import TariffSet
from v2g.iec61851.pilot import LEAST_A, OFF_DUTY, PilotState, PilotTiming, offer, read_duty
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.engine.core import BasicFallback
from v2g.iso15118.engine.dc_status import NO_CURRENT_MA
from v2g.iso15118.engine.message_timing import SessionTime
from v2g.iso15118.engine.session import Entropy, Fact
from v2g.observe import Observe
from v2g_station.blocks.authorization.contracts import AuthorizationStatus

REPORT_S: Final = 30.0
"""After this time without energy it is reported, s."""

NO_POWER_W: Final = 150
"""What counts as no alternating current: what a vehicle's electronics draw in stand-by."""

_OF_VEHICLE: Final = frozenset({VEHICLE, INTERRUPTED, NOT_READY})


def withheld_by(stage: Charging, measured: Measured) -> str:
    """Return whose limit or request of 0 keeps a vehicle from energy, empty if energy flows or nothing forbids it.

    A bidirectional vehicle whose battery is full waits for whoever permits discharge. An AC vehicle that draws less
    than it may is full, or waits for its own timer, unless its limit is below the least that it can draw.
    """
    limits, output, family = stage.limits, stage.output, stage.selected.family
    direct = family in (Family.DC, Family.ACDP)
    flows = abs(measured.current_ma) > NO_CURRENT_MA if direct else abs(measured.watts) > NO_POWER_W
    if limits is None or output is None or flows or stage.standby or stage.halted:
        return ""
    if not limits.charge_w and not limits.discharge_w:
        full = stage.selected.bidirectional and stage.vehicle.max_discharge_w and limits.charge_source == VEHICLE
        return limits.discharge_source if full else limits.charge_source
    match output:
        case SetOutput(current_ma=current_ma) if abs(current_ma) <= NO_CURRENT_MA:
            return VEHICLE
        case SetWptOutput(power_w=0):
            return VEHICLE
        case SetAcOutput(charge_w=charge_w, discharge_w=0) if charge_w < stage.vehicle.min_charge_w:
            return limits.charge_source
        case SetOutput() | SetWptOutput() | SetAcOutput():
            return ""


class Supply:
    """How long a session has been without energy by a limit of the same side. Its timer: `supply`."""

    def __init__(self, time: SessionTime, rules: NoEnergy) -> None:
        self._time, self._rules = time, rules
        self._vehicle: bool | None = None
        self._ordered = False
        self._since, self._reported = 0.0, False

    def look(self, source: str, *, ordered: bool = False) -> Observe | None:
        """Note what withholds energy now, empty if nothing does; return the event once that has lasted. While a set
        point is in force energy is `ordered`: then there is no event, and the session is not ended for it."""
        if not source:
            self._vehicle = None
            self._time.disarm("supply")
            return None
        vehicle = source in _OF_VEHICLE
        if (vehicle, ordered) != (self._vehicle, self._ordered):
            self._vehicle, self._ordered, self._since, self._reported = vehicle, ordered, self._time.now, False
            self._time.arm("supply", REPORT_S)
        if self._reported or self._time.now < self._since + REPORT_S:
            return None
        self._reported = True
        self._time.disarm("supply")
        if ordered:
            return None
        if self._patience is not None:
            self._time.arm("supply", self._since + self._patience - self._time.now)
        advice = "look at the vehicle: its limit or its request is 0" if vehicle else f"raise the limit of {source}"
        return Observe("power", "no_energy", {"limited_by": source, "advice": advice})

    @property
    def suspended(self) -> str:
        """The charging state for the CSMS once that has lasted, by whose limit it is; empty before."""
        if self._vehicle is None or not self._reported:
            return ""
        return "SuspendedEV" if self._vehicle else "SuspendedEVSE"

    @property
    def over(self) -> bool:
        """Whether the session is to end for that."""
        patience = self._patience
        return self._vehicle is not None and patience is not None and self._time.now >= self._since + patience

    @property
    def _patience(self) -> float | None:
        if self._ordered:
            return None
        return self._rules.vehicle_s if self._vehicle else self._rules.charger_s


STOP_S: Final = 3.0
"""How long a vehicle may still draw current after the oscillator went off (IEC 61851-1), before the contactor opens."""


CLOSE_GRACE_S: Final = 0.5
RETRY_S: Final = 0.2
"""A contactor that was not permitted to close is commanded again until its time is up (IEC 61851-1: 3 s), and a little
longer; so is one that was opened only briefly."""

ASK_S: Final = 5.0
"""Interval of requests for external authorisation."""

Way = Literal["at_once", "x1", "f"]
"""`at_once`: no attempt to match before. `x1`: the vehicle had begun to match, X1 ends that (V2G3-M06-06). `f`: it had
not, F signals that the charger restarts (V2G3-M06-05, -08)."""

_X1: Final = ports.SetPilot()
_F: Final = ports.SetPilot(forced=PilotState.F)

WAYS: Final[Mapping[Way, Callable[[PilotTiming], tuple[tuple[ports.SetPilot, float], ...]]]] = {
    "at_once": lambda _: ((_X1, 0.0),),
    "x1": lambda times: ((_X1, times.step_x1_s),),
    "f": lambda times: ((_F, times.step_ef_s), (_X1, times.after_ef_s)),
}
"""Pilot states before the nominal duty cycle, and their durations."""


class Phase(Enum):
    """Progress of the session."""

    WAITING = "waiting"  # not authorised, or the pilot is on its way to the nominal duty cycle
    OFFERED = "offered"  # nominal duty cycle, the vehicle is not ready
    CHARGING = "charging"  # the contactor is closed, or is being closed
    HELD = "held"  # no energy is permitted: X1, the transaction continues
    ENDED = "ended"


class BasicSession(BasicFallback):
    """One vehicle, from the fall-back to the end of its transaction. `start` begins it.

    `way` selects the pilot states before the nominal duty cycle. `cable_a` is the plug's ampacity, 0 if not coded;
    `lines` is how many line conductors are in use;
    `identity`, `chain` and `meter` are as for SeccSession.
    """

    def __init__(
        self,
        config: SeccConfig,
        *,
        identity: Identity,
        chain: tuple[bytes, ...],
        entropy: Entropy,
        pilot: PilotState,
        way: Way,
        limits: Iterable[Limit] = (),
        setpoint: Setpoint | None = None,
        tariff: Tariff | None = None,
        meter: ports.MeterRead,
        cable_a: float = 0.0,
        ventilation: bool = False,
        lines: int = 3,
        time_scale: float = 1.0,
        response: GridResponse = NO_RESPONSE,
    ) -> None:
        super().__init__(entropy=entropy, time_scale=time_scale)
        assert config.basic is not None
        self._config, self._basic, self._times = config, config.basic, config.basic.timing
        self._supply = Supply(self._time, config.no_energy)
        self._identity, self._chain = identity, chain
        self._pilot, self._way, self._ventilation, self._response = pilot, way, ventilation, response
        self._tariff, self._meter, self._cable_a = tariff, meter, cable_a
        self._limits, self._lines = SessionLimits(config, Family.AC, limits, setpoint), lines
        self.phase = Phase.WAITING
        self.duty: float | None = None
        """The duty cycle shown, percent; None while the oscillator is off."""
        self._authorized = self._connected = self._wanted = self._woken = self._settled = False
        self._steps: deque[tuple[ports.SetPilot, float]] = deque()
        self._stopping = ""
        self._reason = ""
        self._duty_from = 0.0
        self._shown_w = 0
        """Bound of the power of all conductors with the duty cycle shown, W."""

    @property
    def current_a(self) -> float:
        """The present maximum current of a conductor, A: 0 below the minimum that a duty cycle can express.

        Which conductors the vehicle uses is unknown: the smallest limit of one holds for each.
        """
        if self._stopping:
            return 0.0
        rating, limits = self._config.ac_rating, self._limits.effective(self._time.utc_ms)
        most_ma = 0 if limits.charge_line is None else limits.charge_line[0]
        most_ma = min(most_ma, line_rating_ma(None, limits.charge_w, rating.nominal_voltage_v, self._used))
        bent_w = max(0, self._response.bend(self._allowed.charge_w))  # R04: also after a trip
        if bent_w < limits.charge_w:
            most_ma = min(most_ma, line_current_ma(bent_w, rating.nominal_voltage_v, self._used))
        most = min(self._basic.max_current_a, most_ma / 1000)
        if self._cable_a:
            most = min(most, self._cable_a)
        return most if most >= LEAST_A else 0.0

    @property
    def shown_ma(self) -> int:
        """What the duty cycle shows the vehicle, mA of each conductor."""
        return 0 if self.duty is None else int(read_duty(self.duty).max_current_a * 1000)

    @property
    def _allowed(self) -> EffectiveLimits:
        """The limits, and a set-point as one."""
        utc_ms = self._time.utc_ms
        limits, setpoint = self._limits.effective(utc_ms), self._limits.setpoint_at(utc_ms)
        return limits if setpoint is None else towards(setpoint, limits)

    @property
    def _used(self) -> int:
        """How many line conductors are in use: the vehicle uses no others."""
        return min(self._lines, self._config.ac_rating.phases)

    # -- events -------------------------------------------------------------------------------------------------

    def _on_start(self) -> None:
        self._observe("basic", "started", way=self._way)
        self._arm_limits()
        self._play(WAYS[self._way](self._times))
        self._command(ports.AuthorizeExternally(1))

    def _play(self, steps: Iterable[tuple[ports.SetPilot, float]]) -> None:
        """Show states on the pilot one after the other, then the nominal duty cycle."""
        self.duty, self._steps = None, deque(steps)
        self._step()

    def _step(self) -> None:
        if self._steps:
            pilot, seconds = self._steps.popleft()
            self._command(pilot)
            self._arm("step", seconds)
        else:
            self._follow()

    def _on_timer(self, name: str) -> None:
        match name:
            case "step":
                self._step()
            case "duty":
                self._follow()
            case "limits" | "setpoint":
                self._arm_limits()
                self._follow()
            case "stop" if self._wanted:
                self._open("EVSE")
            case "wake":
                # wake a vehicle that stays in B at the nominal duty cycle once by F (A.5.3); then it counts as paused
                if self._woken:
                    self._update("SuspendedEV")
                    return
                self._woken = True
                self._observe("basic", "woken")
                self._play(WAYS["f"](self._times))
            case "ask":
                self._command(ports.AuthorizeExternally(1))
            case "supply":
                self._look_supply()
            case "retry" if self._wanted and not self._connected:
                self._command(ports.CloseContactors())
            case "retry":
                self._follow()
            case "close":
                self._observe("power", "hardware_fault", reason="contactor_stuck_open")
                self._on_abort("hardware_fault")
            case "fault":
                self._show(None)

    def _on_fact(self, fact: Fact) -> None:
        if self.phase is Phase.ENDED:
            if isinstance(fact, ports.PilotChanged) and fact.state is PilotState.A:
                self._close(self._reason)
            return
        match fact:
            case ports.PilotChanged(state=state):
                before, self._pilot = self._pilot, state
                if state is PilotState.A:
                    self._on_abort("unplugged")
                elif state is PilotState.E:
                    self._on_abort("pilot_lost")
                elif state is not PilotState.F and state is not before:
                    self._disarm("wake")
                    self._follow()
            case ports.AuthorizationDecided(status=AuthorizationStatus.ACCEPTED):
                self._accept()
            case ports.AuthorizationDecided(status=status):
                self._observe("authorization", "refused", reason=status.value)
                self._arm("ask", ASK_S)  # another user may follow
            case ports.ContactorState(closed=closed):
                self._take_contactor(closed)
            case ports.GridChanged(limits=limits, tariff=tariff):
                self._limits.update(limits)
                self._take_tariff(tariff)
                self._follow()
            case ports.SetpointChanged(setpoint=setpoint):
                self._limits.take_setpoint(setpoint, self._time)
                self._follow()
            case ports.GridResponseChanged(response=response):
                self._response = response
                self._follow()
                if response.trip and self._wanted:
                    self._open("EVSE")  # the vehicle is not waited for
            case ports.PhasesChanged(lines=lines):
                self._lines = lines
            case ports.MeterRead():
                self._meter = fact
            case ports.HardwareFault(reason=reason):
                self._observe("power", "hardware_fault", reason=reason)
                self._on_abort("hardware_fault")
            case ports.StopRequested(reason=reason):
                self._stopping = reason
                if self._wanted:
                    self._follow()  # the vehicle stops by itself, or is disconnected
                if not self._wanted:  # also where the contactor was still closing: it will report nothing new
                    self._finish(reason)

    def _on_abort(self, reason: str) -> None:
        """Stop at once. F signals a fault under current; in B no signal is needed (IEC 61851-1)."""
        if self.phase is Phase.ENDED:  # only the vehicle has not left, and perhaps the contactor has not opened
            if self._connected:
                self._command(ports.EmergencyOff(reason))
            self._close(self._reason)
            return
        self._command(ports.EmergencyOff(reason))
        self._wanted = False
        self._finish(reason)
        if reason != "hardware_fault":
            self._close(reason)
        elif self._pilot.ready:
            self._command(ports.SetPilot(forced=PilotState.F))
            self._arm("fault", self._times.fault_f_s)

    # -- the pilot ----------------------------------------------------------------------------------------------

    @property
    def _ready(self) -> bool:
        return self._pilot is PilotState.C or (self._pilot is PilotState.D and self._ventilation)

    def _accept(self) -> None:
        """The session is authorised: begin the journal before energy flows."""
        if self._authorized:
            return
        self._authorized = True
        self.session_id = self._entropy(8)
        session_id, meter = self.session_id.hex(), self._meter
        self._command(
            ports.TransactionStarted(session_id=session_id, emaid=""),
            ports.Journal(
                session_started(
                    self._config,
                    self._identity,
                    self._chain[0],
                    session_id=self.session_id,
                    meter=meter,
                    registers=(meter.import_mwh, meter.export_mwh),
                    discharge="none",
                )
            ),
        )
        self._observe("authorization", "authorized", session_id=session_id)
        self._take_tariff(self._tariff)
        self._follow()

    def _take_tariff(self, tariff: Tariff | None) -> None:
        if tariff is not None:
            self._tariff = tariff
            if self._authorized:
                self._command(ports.Journal(TariffSet(tariff=tariff)))

    def _follow(self) -> None:
        """Show the permitted current, and let the contactor follow the vehicle."""
        if not self._authorized or "step" in self._time.timers or self.phase is Phase.ENDED:
            return
        # show a current. A new duty cycle waits until the last has lasted its minimum time; off is always possible.
        wanted = offer(self.current_a) if self.current_a else OFF_DUTY
        duty = None if wanted == OFF_DUTY else wanted
        if duty == self.duty:
            self._disarm("duty")
            self._shown_w = self._allowed.charge_w
        elif duty is not None and self._time.now < self._duty_from:
            self._arm("duty", self._duty_from - self._time.now)
        else:
            self._show(duty)
        if self._wanted and not self._ready:
            self._open("EV")
        elif self.duty is None:
            # no energy is permitted: the oscillator is off, and the vehicle stops by itself or is disconnected
            if self.phase is not Phase.HELD:
                self.phase = Phase.HELD
                self._disarm("wake")
                if self._wanted and not self._connected:
                    self._open("EVSE")  # while it closes nobody draws who needed time to stop
                else:
                    if self._wanted:
                        self._arm("stop", STOP_S)
                        self._command(ports.SetAcOutput(0, 0))
                    self._update("SuspendedEVSE")
        elif not self._ready:
            self.phase = Phase.OFFERED
            if self._pilot is PilotState.D:
                self._observe("basic", "no_ventilation")
            elif "wake" not in self._time.timers:
                self._arm("wake", self._times.wake_after_s)
        elif not self._wanted:
            self._wanted, self.phase = True, Phase.CHARGING
            self._disarm("stop", "wake")
            self._allow()
            if self._pilot is PilotState.D:
                self._command(ports.Ventilate(on=True))
            self._arm("close", self._times.contactor_close_s + CLOSE_GRACE_S)
            self._command(ports.CloseContactors())
        else:
            self.phase = Phase.CHARGING
            self._disarm("stop")
            self._allow()
        self._look_supply()

    def _look_supply(self) -> None:
        """Report that no energy is permitted, and end the transaction in the configured time. A vehicle in B or
        without current has its charging state (SuspendedEV); it may be full."""
        waits = self._stopping or self._limits.setpoint_at(self._time.utc_ms) is not None  # which may be an order
        held = self.phase is Phase.HELD and self.duty is None and not waits
        source = self._limits.effective(self._time.utc_ms).charge_source if held else ""
        if (event := self._supply.look(source)) is not None:
            self._actions.append(event)
        if self._supply.over:
            self._finish("no_energy")

    def _show(self, duty: float | None) -> None:
        self.duty = duty
        self._shown_w = self._allowed.charge_w
        self._duty_from = self._time.now + self._times.duty_interval_s
        self._command(ports.SetPilot(duty_percent=duty))
        reading = read_duty(OFF_DUTY if duty is None else duty)
        self._observe("basic", "duty", percent=duty, current_a=round(reading.max_current_a, 2))

    # -- the contactor ------------------------------------------------------------------------------------------

    def _open(self, by: str) -> None:
        self._wanted = False
        self._disarm("stop", "close", "retry")
        self._command(ports.SetAcOutput(0, 0), ports.OpenContactors(), ports.Ventilate(on=False))
        self._update(f"Suspended{by}")
        self.phase = Phase.OFFERED if self.duty is not None else Phase.HELD

    def _allow(self) -> None:
        """Set the hardware's limit to that of the duty cycle; the vehicle controls the power."""
        shown_ma = int(read_duty(self.duty).max_current_a * 1000) if self.duty is not None else 0
        power_w = line_power_w(shown_ma, self._config.ac_rating.nominal_voltage_v, self._used)
        self._command(ports.SetAcOutput(min(power_w, self._shown_w), 0, charge_ma=shown_ma, lines=self._used))

    def _take_contactor(self, closed: bool) -> None:
        if closed is self._connected:
            if self._wanted and not closed:  # the outcome of an earlier command, or a temporary obstacle
                self._arm("retry", RETRY_S)
            return
        self._connected = closed
        self._disarm("close", "retry")
        if closed and self._wanted:
            self._allow()  # a short opening by the interlock has taken it back
            self._command(ports.RecordMeter("begin", power_w=0, soc=None))
            self._update("Charging")
            self._observe("power", "started")
        elif not closed:
            if self._wanted:  # the interlock was faster than the fact on which it acted: the pilot, the plug, a fault
                self._open("EV")
                self._arm("retry", RETRY_S)
            self._command(ports.RecordMeter("stop", power_w=0, soc=None))
            if self._stopping:
                self._finish(self._stopping)

    # -- journal ------------------------------------------------------------------------------------------------

    def _update(self, charging_state: str) -> None:
        if self._authorized:
            self._command(
                ports.TransactionUpdated(
                    self.session_id.hex(), "ChargingStateChanged", charging_state, power_w=0, soc=None
                )
            )

    def _arm_limits(self) -> None:
        self._limits.arm_change(self._time)
        self._limits.arm_setpoint(self._time)

    def _finish(self, reason: str) -> None:
        """End the transaction: oscillator off, contactor open, journal closed. The session waits for unplugging."""
        if self._settled:
            return
        self._settled, self._reason = True, reason
        self._time.timers.clear()
        if self.duty is not None:
            self._show(None)
        self._command(ports.Ventilate(on=False))
        self.phase = Phase.ENDED
        if self._authorized:
            self._command(
                ports.CloseJournal(reason),
                ports.TransactionEnded(self.session_id.hex(), reason, STOPPED_REASONS.get(reason, "Other"), None),
            )
        self._observe("session", "session_ended", reason=reason, session_id=self.session_id.hex())
