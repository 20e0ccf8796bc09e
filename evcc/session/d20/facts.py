"""Facts that reach the vehicle's session while it talks: battery, inlet, plug, driver."""

from abc import abstractmethod
from typing import Any, Final

from msgspec.structs import replace

from evcc.session.d20 import parking, positioning
from evcc.session.d20.discharge import Discharge
from evcc.session.d20.handlers import ON_FACT
from evcc.session.d20.side_streams import SideStreams
from evcc.session.d20.stages import (
    CLOSING_STAGES,
    ENDING_STAGES,
    CheckingIn,
    Ended,
    Ending,
    FindingPlace,
    Looping,
    Pairing,
    Step,
    is_powered,
)
from evcc.session.paused import Choice
from evcc.session.ports import (
    BatteryState,
    ContactorState,
    DeviceObserved,
    DroveIn,
    HardwareFault,
    NeedsChanged,
    PlugState,
    PresentVoltage,
    SetPowerLimits,
    StopRequested,
)
from evcc.session.settings import SessionConfig
from evcc.session.watch import LOOK_S, Circumstances, Watch
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages.common_messages import ChargingSession
from v2g.iso15118.engine.session import Entropy, Fact

PACE: Final = "pace"
"""The timer of a pause before the next request."""

WATCH: Final = "watch"
"""The timer of the next look at battery, inlet and contactor."""


class Facts(SideStreams):
    """See `VehicleSession`, which asks and takes answers."""

    def __init__(self, config: SessionConfig, discharge: Discharge, *, battery: BatteryState, entropy: Entropy) -> None:
        super().__init__(entropy=entropy)
        self._config = config
        self._discharge = discharge
        self._battery = battery
        self._inlet = PresentVoltage(0)
        self._contactor_closed = False
        self._departure_ms = 0
        self._choice: Choice | None = None
        self._pending: Any = None  # the request that waits for its response
        self._stop_wish: Ending | None = None
        self._replan = False
        self._limits = SetPowerLimits(0, 0)
        self._overdrawn_since: float | None = None
        timing = config.timing
        self._watch = Watch(sensor_s=timing.sensor_s, contactor_s=timing.contactor_s + LOOK_S)

    @abstractmethod
    def _apply(self, step: Step) -> None:
        """Do what a step says."""

    def _on_fact(self, fact: Fact) -> None:
        match fact:
            case PlugState(connected=False):
                self._fail("unplugged")
            case HardwareFault(reason=reason):
                self._fail(reason)
            case StopRequested():
                self._wish_to_stop(Ending(fact.reason, self._stop_mode(fact)))
            case NeedsChanged():
                self._take_needs(fact)
            case DroveIn() | DeviceObserved():
                self._take_place(fact)
            case BatteryState():
                self._battery = fact
                self._watch.battery(fact, self._now)
                self._check_overdraw()
                self._look()
                self._check_battery()
            case PresentVoltage():
                self._inlet = fact
                self._watch.inlet(self._now)
                self._look()
            case ContactorState(closed=closed):
                self._contactor_closed = closed
                self._watch.contactor(fact)
                self._look()
                step = ON_FACT.get((type(self.stage), closed))
                if step is not None and self._pending is None:
                    self._apply(step(self.stage, self._request_context()))

    def _take_place(self, fact: DroveIn | DeviceObserved) -> None:
        """Go on with what the vehicle has found, if that is what is waited for."""
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

    def _stop_mode(self, wish: StopRequested) -> ChargingSession:
        if wish.reselect and self._choice is not None and self._choice.renegotiable:  # V2G20-1477
            return ChargingSession.ServiceRenegotiation
        return ChargingSession.Pause if wish.pause else ChargingSession.Terminate

    def _take_needs(self, fact: NeedsChanged) -> None:
        """Take new needs; a scheduled session that is in its loop plans anew."""
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
            if isinstance(self.stage, Looping) and self._pending is None and PACE in self._timers:
                self._disarm(PACE)
                self._apply(Step(stage=self.stage, wait=0.0))

    def _wish_to_stop(self, ending: Ending) -> None:
        """Stop in order: at once while nothing is awaited, else after the answer that is."""
        if isinstance(self.stage, ENDING_STAGES) or self._stop_wish is not None:
            return
        self._stop_wish = ending
        if self._pending is None and PACE in self._timers:
            self._disarm(PACE)
            self._apply(Step(stage=self.stage))

    def _look(self) -> None:
        """Stop at once when what is measured is not what may be."""
        if self._closed or isinstance(self.stage, Ended):
            return
        powered = is_powered(self.stage)
        seen = Circumstances(
            battery=self._battery,
            inlet=self._inlet,
            limits=self._limits,
            powered=powered,
            ending=isinstance(self.stage, ENDING_STAGES),
        )
        word = self._watch.look(seen, self._now)
        if word:
            inlet = {"inlet_mv": self._inlet.voltage_mv, "inlet_ma": self._inlet.current_ma}
            self._fail(word, battery_mv=self._battery.voltage_mv, battery_ma=self._battery.current_ma, **inlet)
        elif powered:
            self._arm(WATCH, LOOK_S)
        else:
            self._disarm(WATCH)

    def _check_battery(self) -> None:
        """A battery with a fault is not connected; one that is connected is left in order."""
        fault = self._battery.fault
        if not fault or self._closed:
            return
        if isinstance(self.stage, CLOSING_STAGES):
            self._fail(fault)
        else:
            self._wish_to_stop(Ending(fault, failed=True))

    def _check_overdraw(self) -> None:
        """No more may leave the vehicle than was signed, measuring error and a moment to react apart.

        With alternating current the inlet counts: the on-board charger's losses are not the charger's to pay for.
        """
        config = self._config.discharge
        allowed = min(self._limits.discharge_w, self._discharge.signed_w(self._utc_ms))
        gate = self._inlet if self.family is Family.AC else self._battery
        leaving_w = -gate.voltage_mv * gate.current_ma // 1_000_000
        if leaving_w <= allowed + config.overdraw_tolerance_w:
            self._overdrawn_since = None
        elif self._overdrawn_since is None:
            self._overdrawn_since = self._now
        elif self._now - self._overdrawn_since > config.overdraw_tolerance_s:
            self._fail("more_discharged_than_agreed", leaving_w=leaving_w, allowed_w=allowed)
