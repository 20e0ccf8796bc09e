"""Whatever inputs a charger's safety monitor gets, in any order: it only lowers and opens, lets nothing pass beyond
what everybody allows, and has opened in time. The plain rule is written once more here; what depends on the session's
own timers, and on what was measured before, is for `tests.safety.test_charger`.
"""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from v2g.safety import NOTHING, ChargerMonitor, ChargerRating, Lower, Open, Output, Phase, Request

RATING = ChargerRating(charge_w=50_000, discharge_w=30_000)
WATTS = st.sampled_from((0, 1, 999, 3_000, 11_000, 20_000, 50_001, 1_000_000))
SOURCES = st.sampled_from(("site", "operator", "grid"))
SLACK_S = RATING.grace_s + 0.1
"""Between a rule that is broken and the look by which the monitor has acted, at ten looks a second."""


def beyond(output: Output, most: Output) -> bool:
    """Say whether an output is more than another in anything."""
    return output.within(most) != output


class AnyOrder(RuleBasedStateMachine):
    """A monitor, a hardware that does what it says, and what is known of the world."""

    def __init__(self) -> None:
        super().__init__()
        self.monitor = ChargerMonitor(RATING)
        self.now = 0.0
        self.driven, self.closed = NOTHING, False
        self.authorised = self.stopped = False
        self.faults: set[str] = set()
        self.limits: dict[str, tuple[int, int, float]] = {}
        self.bears = NOTHING
        self.power_until = self.closed_until = 0.0
        self.signed, self.discharge = (0, 0.0), "none"
        self.since: dict[str, float] = {}

    # -- what is allowed, by the rule

    def may_close(self) -> bool:
        return self.authorised and not self.faults and self.now < self.closed_until

    def most(self) -> Output:
        """Return what may flow at most: too much rather than too little."""
        if not self.may_close():
            return NOTHING
        charge_w, discharge_w = (
            min(self.bears.charge_w, RATING.charge_w),
            min(self.bears.discharge_w, RATING.discharge_w),
        )
        if self.stopped or self.now >= self.power_until:
            charge_w = discharge_w = 0
        for charge, discharge, until in self.limits.values():
            charge_w = min(charge_w, charge)
            discharge_w = min(discharge_w, discharge if self.now < until else 0)
        if self.discharge == "none":
            discharge_w = 0
        elif self.discharge == "signed":
            discharge_w = min(discharge_w, self.signed[0] if self.now < self.signed[1] else 0)
        return Output(charge_w, discharge_w, self.bears.charge_ma, self.bears.discharge_ma, self.bears.voltage_mv)

    def obey(self) -> None:
        """Do what the monitor says, which is never more than there is."""
        for verdict in self.monitor.verdicts():
            match verdict:
                case Lower(output=output):
                    assert not beyond(output.within(self.driven), self.driven)
                    self.driven = self.driven.within(output)
                case Open():
                    self.driven, self.closed = NOTHING, False
                    self.monitor.feedback(self.now, closed=False)

    # -- what happens

    @initialize()
    def it_begins(self) -> None:
        """With power."""
        self.a_session_begins("signed", 0)

    @rule(how=st.sampled_from(("signed", "standard")), discharge_w=WATTS)
    def a_session_begins(self, how: str, discharge_w: int) -> None:
        """All that lets power flow."""
        for word in tuple(self.faults):
            self.fault(word, active=False)
        self.authorise(allowed=False, paused=False)
        self.authorise(allowed=True, paused=False)
        self.agree(how)
        self.loop(20_000, 11_000, 60.0)
        self.sign(20_000, 30.0)
        self.close()
        self.drive(0, discharge_w) if discharge_w else self.drive(20_000, 0)

    @rule(charge_w=WATTS)
    def it_goes_on(self, charge_w: int) -> None:
        """The loop, and power."""
        self.loop(20_000, 11_000, 1.0)
        self.drive(charge_w, 0)

    @rule(seconds=st.sampled_from((0.05, 0.1, 0.25, 0.35, 0.5, 1.0, 5.0, 70.0)))
    def time_passes(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 0.1)
            self.monitor.tick(self.now)
            self.obey()
            self.judge()

    @rule(allowed=st.booleans(), paused=st.booleans())
    def authorise(self, allowed: bool, paused: bool) -> None:
        self.monitor.authorise(self.now, allowed=allowed, paused=paused)
        self.authorised = allowed
        if not allowed:
            self.stopped = self.stopped and paused
            self.power_until = self.closed_until = 0.0
            self.bears, self.signed, self.discharge = NOTHING, (0, 0.0), "none"
        self.obey()

    @rule()
    def stop(self) -> None:
        self.monitor.stop(self.now)
        self.stopped = True
        self.obey()

    @rule(word=st.sampled_from(("emergency_stop", "isolation_low")), active=st.booleans())
    def fault(self, word: str, active: bool) -> None:
        self.monitor.fault(word, self.now, active=active)
        (self.faults.add if active else self.faults.discard)(word)
        self.obey()

    @rule(charge_w=WATTS, discharge_w=WATTS, seconds=st.sampled_from((0.5, 1.0, 60.0)))
    def loop(self, charge_w: int, discharge_w: int, seconds: float) -> None:
        """A vehicle asks for power."""
        bears = Output(charge_w, discharge_w, 60_000, 40_000, 450_000)
        self.monitor.request(Request(phase=Phase.POWER, power_s=seconds, closed_s=60.0, bears=bears), self.now)
        self.bears, self.power_until, self.closed_until = bears, self.now + seconds, self.now + 60.0
        self.obey()

    @rule(phase=st.sampled_from((Phase.IDLE, Phase.VOLTAGE, Phase.REST)))
    def asks_for_less(self, phase: Phase) -> None:
        self.monitor.request(Request(phase=phase, closed_s=10.0), self.now)
        self.power_until = 0.0
        self.closed_until = 0.0 if phase is Phase.IDLE else self.now + 10.0
        self.obey()

    @rule(source=SOURCES, charge_w=WATTS, discharge_w=WATTS, seconds=st.sampled_from((1.0, 1e9)))
    def limit(self, source: str, charge_w: int, discharge_w: int, seconds: float) -> None:
        until = self.now + seconds
        self.monitor.limit(source, self.now, charge_w=charge_w, discharge_w=discharge_w, until_s=until)
        self.limits[source] = (charge_w, discharge_w, until)
        self.obey()

    @rule(how=st.sampled_from(("none", "signed", "standard")))
    def agree(self, how: Any) -> None:
        self.monitor.discharge(how, self.now)
        self.discharge, self.signed = how, (0, 0.0)
        self.obey()

    @rule(power_w=WATTS, seconds=st.sampled_from((0.5, 30.0)))
    def sign(self, power_w: int, seconds: float) -> None:
        self.monitor.signed(power_w, self.now + seconds, self.now)
        self.signed = (power_w, self.now + seconds)
        self.obey()

    @rule(power_w=WATTS, seconds=st.sampled_from((0.5, 30.0)))
    def sign_what_is_not_followed(self, power_w: int, seconds: float) -> None:
        self.monitor.signed_less(power_w, self.now + seconds, self.now)
        self.signed = (min(self.signed[0], power_w), min(self.signed[1], self.now + seconds))
        self.obey()

    @rule(charge_w=WATTS, discharge_w=WATTS)
    def drive(self, charge_w: int, discharge_w: int) -> None:
        wanted = Output(charge_w, discharge_w, 50_000, 30_000, 400_000)
        passed = self.monitor.drive(wanted, self.now)
        assert not beyond(passed, wanted)
        assert not beyond(passed, self.most())
        self.driven = passed
        self.obey()

    @rule()
    def close(self) -> None:
        passes = self.monitor.close(self.now)
        assert not passes or self.may_close()
        if passes:
            self.closed = True
            self.monitor.feedback(self.now, closed=True)
        self.obey()

    @rule()
    def open(self) -> None:
        self.monitor.open(self.now)
        self.closed = False
        self.monitor.feedback(self.now, closed=False)
        self.obey()

    # -- what must be

    def judge(self) -> None:
        """Say that nothing has been there for longer than it may."""
        wrong = {"closed": self.closed and not self.may_close(), "driven": beyond(self.driven, self.most())}
        for what, is_wrong in wrong.items():
            if not is_wrong:
                self.since.pop(what, None)
                continue
            seconds = self.now - self.since.setdefault(what, self.now)
            assert seconds <= SLACK_S + 1e-6, (what, self.driven, self.most())

    @invariant()
    def always(self) -> None:
        self.judge()


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(stateful_step_count=50, deadline=None)
