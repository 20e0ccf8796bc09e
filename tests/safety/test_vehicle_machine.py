"""Whatever inputs a vehicle's safety monitor gets, in any order: it only lowers and opens, lets nothing pass beyond the
rule, and has opened in time. The plain rule is written once more here, clause by clause of the table of a vehicle's
hazards; single clauses, with the clock in the hand, are for `tests.safety.test_vehicle`.
"""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from v2g.safety import NOTHING, Ask, BatteryReading, Lower, Open, Output, Phase, VehicleMonitor, VehicleRating

RATING = VehicleRating(signed=True)
BEARS = Output(charge_w=50_000, discharge_w=20_000, charge_ma=135_000, discharge_ma=60_000, voltage_mv=410_000)
BATTERY_MV = 400_000
POWERS = st.sampled_from((3_000, 11_000, -9_000))
SECONDS = st.sampled_from((0.0, 0.7, 1.5, 3.0, 6.0, 16.0))
WATTS = st.sampled_from((0, 1, 999, 3_000, 11_000, 20_000, 1_000_000))
LOOK_S = 0.1
SLACK_S = RATING.grace_s + LOOK_S
"""Between a rule that is broken and the look by which the monitor has acted, at ten looks a second."""


def clamped(power_w: int, within: Output) -> int:
    return max(-within.discharge_w, min(within.charge_w, power_w))


class AnyOrder(RuleBasedStateMachine):
    """A monitor, a hardware that does what it says unless it is welded, and what is known of the world."""

    def __init__(self) -> None:
        super().__init__()
        self.monitor = VehicleMonitor(RATING)
        self.now = 100.0
        self.since: dict[str, float] = {}
        self.silent: set[str] = set()
        self.received = {"battery": self.now, "inlet": self.now}
        self.reading = BatteryReading(voltage_mv=BATTERY_MV, current_ma=0, bears=BEARS)
        self.inlet = (0, 0)
        self.sick_at: float | None = None
        self.idle_since = self.now
        self.commanded = self.closed = self.welded = self.shown = False
        self.driven, self.drawn_w = NOTHING, 0
        self.session = False
        self.forget()
        self.report()

    def forget(self) -> None:
        self.phase = Phase.IDLE
        self.alive_until = self.voltage_until = self.now
        self.stop_at: float | None = None
        self.faults: set[str] = set()
        self.limit_w = 1_000_000_000
        self.signed = (0, 0.0)
        self.opened = False

    # -- what is allowed, by the rule

    def apart(self) -> bool:
        """Whether nothing may join vehicle and charger."""
        late = [at for at in (self.stop_at, self.sick_at) if at is not None and self.now >= at + RATING.stop_s]
        waits = self.phase is Phase.VOLTAGE and self.now >= self.voltage_until
        silent = self.now >= self.alive_until
        return bool(self.faults or late or waits or silent) or self.opened or self.phase is Phase.IDLE

    def most(self) -> Output:
        """Return what may be wished for."""
        late = [at for at in (self.stop_at, self.sick_at) if at is not None and self.now >= at + RATING.yield_s]
        if self.apart() or late or self.phase is not Phase.POWER:
            return NOTHING
        return Output(charge_w=self.limit_w, discharge_w=1_000_000_000)

    def obey(self) -> None:
        """Do what the monitor says, which is never more than there is."""
        for verdict in self.monitor.verdicts():
            match verdict:
                case Lower(output=output):
                    assert output.within(self.driven) == output or output.within(self.driven) == self.driven
                    self.driven = self.driven.within(output)
                    self.drawn_w = clamped(self.drawn_w, self.driven)
                case Open():
                    self.opened = True
                    self.commanded = self.shown = False
                    self.driven, self.drawn_w = NOTHING, 0
                    self.move()

    def move(self) -> None:
        """Let the contactor follow, if it can."""
        if self.closed is not self.commanded and not self.welded:
            self.closed = self.commanded
            self.monitor.feedback(self.now, closed=self.closed)

    def report(self) -> None:
        """Let those speak that do."""
        if "battery" not in self.silent:
            self.received["battery"] = self.now
            self.monitor.battery(self.reading, self.now)
            self.obey()
        if "inlet" not in self.silent:
            self.received["inlet"] = self.now
            self.monitor.inlet(*self.inlet, self.now)
            self.obey()

    # -- what happens

    @initialize(watts=POWERS)
    def it_begins(self, watts: int) -> None:
        self.power_flows(watts)

    @rule(watts=POWERS, then=st.sampled_from((0.2, 1.5, 6.0)))
    def it_begins_anew(self, watts: int, then: float) -> None:
        """Most of what can happen ends a session for good."""
        self.power_flows(watts)
        self.time_passes(then, alive=True)

    def power_flows(self, watts: int) -> None:
        """Another session, and all that lets power flow in it, by the book: the monitor has nothing to say to it."""
        self.silent.clear()
        self.welded, self.commanded, self.shown = False, False, False
        self.monitor.rest()
        self.monitor.open(self.now)
        self.move()
        self.monitor.verdicts()
        self.reading = BatteryReading(voltage_mv=BATTERY_MV, current_ma=0, bears=BEARS)
        self.sick_at, self.inlet = None, (0, 0)
        self.driven, self.drawn_w = self.monitor.drive(NOTHING, self.now), self.monitor.draw(0, self.now)
        self.report()
        self.a_session_begins()
        self.ask(Phase.VOLTAGE, 10.0)
        self.inlet = (BATTERY_MV, 0)
        self.report()
        self.show()
        self.close()
        self.ask(Phase.POWER, 10.0)
        self.sign(20_000, 30.0)
        self.drive(max(0, watts), max(0, -watts))
        self.flow(watts)
        self.report()
        assert not self.opened
        assert self.shown
        assert self.closed
        assert (self.driven.charge_w, self.driven.discharge_w) == (max(0, watts), max(0, -watts))

    def a_session_begins(self) -> None:
        """What was wrong in the last one is forgotten."""
        self.monitor.end()
        self.session = True
        self.forget()
        self.monitor.begin()
        self.obey()

    @rule(what=st.sampled_from(("over", "unplugged", "isolation", "drops", "welds", "stop", "next")), after=SECONDS)
    def it_is_over(self, what: str, after: float) -> None:
        """What no session outlives."""
        match what:
            case "over":
                self.session, self.phase = False, Phase.IDLE
                self.monitor.end()
            case "unplugged" | "isolation":
                self.monitor.fault(what, self.now)
                self.faults.add(what)
            case "drops":
                self.contactor_moves_by_itself(closed=not self.closed)
            case "welds":
                self.welded = True
                self.open()
            case "stop":
                self.monitor.stop(self.now)
                self.stop_at = self.now if self.stop_at is None else self.stop_at
            case "next":
                self.a_session_begins()
        self.obey()
        self.time_passes(after, alive=True)

    @rule(seconds=st.sampled_from((0.05, 0.25, 0.4, 1.0, 1.4, 2.5)), alive=st.booleans())
    def time_passes(self, seconds: float, alive: bool) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + LOOK_S)
            if alive:
                self.ask(None, 1.0)
            self.report()
            self.monitor.tick(self.now)
            self.obey()
            self.judge()

    @rule(phase=st.sampled_from((None, *Phase)), alive_s=st.sampled_from((0.0, 0.5, 1.0, 200.0)))
    def ask(self, phase: Phase | None, alive_s: float) -> None:
        """A message leaves, or comes."""
        self.monitor.ask(Ask(phase=phase, alive_s=alive_s), self.now)
        if self.session:
            if phase is not None and (phase is not Phase.REST or self.phase is Phase.POWER):
                self.voltage_until = self.now + RATING.voltage_s if phase is not self.phase else self.voltage_until
                self.phase = phase
            self.alive_until = self.now + alive_s if alive_s else self.alive_until
        self.obey()

    @rule(after=SECONDS)
    def the_charger_wants_the_end(self, after: float) -> None:
        self.monitor.ask(Ask(stop=True), self.now)
        if self.session and self.stop_at is None:
            self.stop_at = self.now
        self.obey()
        self.time_passes(after, alive=True)

    @rule(sick=st.booleans(), after=SECONDS)
    def battery_falls_sick(self, sick: bool, after: float) -> None:
        self.reading = replace(self.reading, fault="insulation" if sick else "")
        if "battery" not in self.silent:
            self.sick_at = (self.now if self.sick_at is None else self.sick_at) if sick else None
        self.flow(0)  # or it is opened for what flows
        self.report()
        self.time_passes(after, alive=True)

    @rule(sensor=st.sampled_from(("battery", "inlet")), after=SECONDS)
    def sensor_falls_silent(self, sensor: str, after: float) -> None:
        self.silent.add(sensor)
        self.time_passes(after, alive=True)

    @rule(watts=st.sampled_from((0, 400, 3_000, 11_000, 60_000, -9_000)), after=SECONDS)
    def it_flows(self, watts: int, after: float) -> None:
        self.flow(watts)
        self.time_passes(after, alive=True)

    def flow(self, watts: int) -> None:
        """So much flows at the battery's voltage, whoever asked for it."""
        ma = watts * 1_000_000 // BATTERY_MV
        self.inlet, self.reading = (BATTERY_MV, ma), replace(self.reading, current_ma=ma)

    @rule(battery_mv=st.sampled_from((BATTERY_MV, 416_000, 452_000)), inlet_mv=st.sampled_from((0, 379_000, 460_000)))
    def voltages(self, battery_mv: int, inlet_mv: int) -> None:
        self.reading, self.inlet = replace(self.reading, voltage_mv=battery_mv), (inlet_mv, self.inlet[1])
        self.time_passes(0.6, alive=True)

    def contactor_moves_by_itself(self, closed: bool) -> None:
        if closed is not self.closed:
            self.closed, self.welded = closed, True
            self.monitor.feedback(self.now, closed=closed)
            self.obey()

    @rule(charge_w=WATTS)
    def limit(self, charge_w: int) -> None:
        self.monitor.ask(Ask(limit=Output(charge_w, 1_000_000_000)), self.now)
        self.limit_w = charge_w if self.session else self.limit_w
        self.obey()

    @rule(power_w=WATTS, seconds=st.sampled_from((0.5, 30.0)))
    def sign(self, power_w: int, seconds: float) -> None:
        self.monitor.signed(power_w, self.now + seconds)
        self.signed = (power_w, self.now + seconds)
        self.obey()

    @rule(charge_w=WATTS, discharge_w=WATTS)
    def drive(self, charge_w: int, discharge_w: int) -> None:
        wanted = Output(charge_w, discharge_w)
        passed = self.monitor.drive(wanted, self.now)
        assert passed.within(wanted) == passed
        assert passed.within(self.most()) == passed
        self.driven = passed
        self.obey()

    @rule(power_w=st.sampled_from((0, 2_000, 11_000, -9_000)))
    def draw(self, power_w: int) -> None:
        passed = self.monitor.draw(power_w, self.now)
        assert passed in (power_w, clamped(power_w, self.driven), clamped(power_w, self.driven.within(self.most())))
        assert clamped(passed, self.most()) == passed
        self.drawn_w = passed
        self.obey()

    @rule()
    def show(self) -> None:
        passes = self.monitor.show(self.now)
        assert not (passes and (self.apart() or (self.closed and not self.commanded)))
        self.shown = passes
        self.obey()

    @rule()
    def rest(self) -> None:
        self.monitor.rest()
        self.shown = False
        self.obey()

    @rule()
    def close(self) -> None:
        old = [at for at in self.received.values() if self.now - at > RATING.sensor_s / 2]
        across = abs(self.inlet[0] - self.reading.voltage_mv) > 20_000 and not self.silent
        sick = bool(self.reading.fault) and "battery" not in self.silent
        self.report()
        passes = self.monitor.close(self.now)
        assert not (passes and (self.apart() or (old and self.silent) or across or sick))
        self.commanded = passes
        self.obey()
        self.move()
        self.obey()

    @rule()
    def open(self) -> None:
        self.monitor.open(self.now)
        self.commanded = False
        self.move()
        self.obey()

    # -- what must be

    def judge(self) -> None:
        """Say that nothing has been there for longer than it may."""
        live_w = self.signed[0] if self.now < self.signed[1] else 0
        on = self.commanded or self.shown or self.closed or self.driven != NOTHING or self.drawn_w != 0
        live = on and not self.opened
        most_mv = BEARS.voltage_mv
        high_mv = max(self.reading.voltage_mv, self.inlet[0]) if self.closed else self.reading.voltage_mv
        spoken = live and not self.silent
        flows_w = self.inlet[0] * self.inlet[1] // 1_000_000
        ma = (self.reading.current_ma, self.inlet[1])
        self.idle_since = self.idle_since if self.phase is Phase.IDLE else self.now
        there = self.inlet[0] > 60_000 and self.now - self.idle_since > RATING.left_s and not self.silent
        asked = self.phase is not Phase.IDLE
        moves_s = RATING.open_s if self.closed else RATING.close_s
        slack_w, follow_s = self.inlet[0] * 3.5 / 1000 + 1, RATING.follow_s * 65 / 64 + RATING.excess_s + SLACK_S
        wrong: dict[str, tuple[bool, float]] = {
            "joined": ((self.commanded or self.shown) and self.apart(), SLACK_S),
            "driven": (self.driven.within(self.most()) != self.driven, SLACK_S),
            "drawn": (clamped(self.drawn_w, self.driven) != self.drawn_w, SLACK_S),
            "signed": (self.driven.discharge_w > live_w, 1.0 + LOOK_S),
            "contact": (self.closed is not self.commanded and not self.opened, moves_s + LOOK_S),
            "battery": (live and asked and self.now - self.received["battery"] > RATING.sensor_s, SLACK_S),
            "inlet": (live and asked and self.now - self.received["inlet"] > RATING.sensor_s, SLACK_S),
            "higher": (spoken and high_mv * 10 > most_mv * 11, LOOK_S),
            "high": (spoken and high_mv > most_mv + 5_000, 0.4 + LOOK_S),
            "current": (
                spoken and self.closed and (max(ma) > 135_000 * 1.05 + 5_001 or min(ma) < -60_000 * 1.05 - 5_001),
                RATING.bears_s + RATING.excess_s + LOOK_S,
            ),
            "into": (spoken and flows_w > self.driven.charge_w * 1.05 + slack_w, follow_s),
            "out": (spoken and -flows_w > self.driven.discharge_w * 1.05 + slack_w, follow_s),
            "unasked": (there and not self.opened, RATING.unasked_s + LOOK_S),
        }
        for what, (is_wrong, most_s) in wrong.items():
            if not is_wrong:
                self.since.pop(what, None)
                continue
            seconds = self.now - self.since.setdefault(what, self.now)
            assert seconds <= most_s + 1e-6, (what, seconds, self.driven, self.phase)

    @invariant()
    def always(self) -> None:
        self.judge()


TestAnyOrder: Any = AnyOrder.TestCase
TestAnyOrder.settings = settings(stateful_step_count=50, deadline=None)
