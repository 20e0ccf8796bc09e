"""Random walks: two vehicles in turn plug in, match, connect, pause, resume and leave, while faults, the back end, the
disk and time do what they want. The bench judges each step: see there."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from secc.evse.core import EvseService, LinkAvailability, Pause
from secc.evse.ports import (
    ClosePaused,
    JoinPaused,
    LinkDown,
    LinkUp,
    MatchingStarted,
    PausedFound,
    ServiceBegun,
    ShutDown,
    SupplyChanged,
)
from secc.session import ports
from secc.session.config import BasicChargingConfig
from tests.secc.evse.bench import SETTINGS, EvseBench, allow, paused
from v2g.hardware.faults import FAULTS
from v2g.slac.shared import FAILURES
from v2g_station.blocks.availability import Serve
from v2g_station.blocks.evse import Restart
from v2g_station.blocks.transactions.managed import RemoteStopRequested

FAULT = st.sampled_from(["emergency_stop", "diode_shorted", "plug_not_seated", "contactor_welded", "modem_lost"])


class TwoVehicles(RuleBasedStateMachine):
    """One EVSE. `journals` are the sessions of each vehicle that are open, `ended` those that are over."""

    @initialize(
        link=st.booleans(),
        basic=st.sampled_from([None, BasicChargingConfig(), BasicChargingConfig(conversations=2)]),
        found=st.booleans(),
    )
    def begin(self, link: bool, basic: BasicChargingConfig | None, found: bool) -> None:
        self.bench = EvseBench(replace(SETTINGS, basic=basic), link=link, started=False)
        self.core = self.bench.core
        self.number, self.ended = 0, set[bytes]()
        self.session = 0  # of the running one, 0 before its transaction
        self.owner: dict[bytes, int] = {}
        self.vehicle, self.last = 0, 2  # at the plug, and who was there
        if found:
            self.number = 1
            self.owner[paused(1).session_id] = 1
            self.step(self.bench.fact(PausedFound(paused(1))))
        self.step(self.bench.fact(ServiceBegun(link=link)))

    def step(self, actions: list[Any]) -> None:
        """Note what has become of sessions."""
        for action in actions:
            if isinstance(action, ClosePaused):
                assert action.session_id not in self.ended
                self.ended.add(action.session_id)
            if isinstance(action, JoinPaused):
                assert action.session_id not in self.ended
        if not self.core.busy:
            self.session = 0

    # -- the vehicle

    @rule(seated=st.sampled_from([True, True, True, False]), state=st.sampled_from("BBC"))
    @precondition(lambda self: not self.vehicle)
    def plug(self, seated: bool, state: str) -> None:
        self.vehicle = self.last = 3 - self.last
        self.step(self.bench.pilot(state, seated=seated))

    @rule()
    @precondition(lambda self: self.vehicle)
    def unplug(self) -> None:
        self.vehicle = 0
        self.step(self.bench.pilot("A"))

    @rule(letter=st.sampled_from("BCDEF"))
    @precondition(lambda self: self.vehicle)
    def show(self, letter: str) -> None:
        self.step(self.bench.pilot(letter))

    @rule()
    def match(self) -> None:
        self.step(self.bench.fact(MatchingStarted(), LinkUp()))

    @rule(reason=st.sampled_from(["link_lost", "port_lost", *FAILURES]))
    def link_down(self, reason: str) -> None:
        self.step(self.bench.fact(LinkDown(reason)))

    @rule(joins=st.booleans())
    def connect(self, joins: bool) -> None:
        refusal, kept = self.core.refusal, self.core.kept
        self.step(self.bench.connect())
        assert bool(refusal) is (self.core.service is not EvseService.SESSION or refusal == "occupied")
        if refusal or kept is None:
            return
        if joins and self.owner[kept.session_id] == self.vehicle:
            self.step(self.bench.fact(ports.JoinSession(kept.session_id.hex())))
            self.session = int.from_bytes(kept.session_id)
            assert self.core.paused is None
        elif not joins:
            self.step(self.bench.fact(ports.ForgetSession(kept.session_id.hex(), "not_resumed", "Other")))

    @rule()
    @precondition(lambda self: self.core.busy and not self.session and not self.core.paused)
    def authorise(self) -> None:
        self.number += 1
        self.session = self.number
        self.owner[paused(self.number).session_id] = self.vehicle
        self.step(self.bench.transaction(self.number))

    @rule()
    @precondition(lambda self: self.core.service is EvseService.SESSION and self.session > 0 and not self.core.paused)
    def pause(self) -> None:
        self.step(self.bench.save(self.session))
        self.session = -1  # it says no more

    @rule(reason=st.sampled_from(["finished", "paused", "broke_down", "sequence_timeout", "unplugged"]))
    @precondition(lambda self: self.core.busy)
    def end(self, reason: str) -> None:
        saved = self.session < 0
        if self.session > 0:
            self.ended.add(paused(self.session).session_id)
        self.step(self.bench.end(reason if saved or reason != "paused" else "finished"))

    # -- everybody else

    @rule(error=st.sampled_from(["", "", "", "full"]))
    @precondition(lambda self: self.bench.saving)
    def disk(self, error: str) -> None:
        self.step(self.bench.stored(error))

    @rule(code=FAULT, active=st.booleans())
    def fault(self, code: str, active: bool) -> None:
        self.step(self.bench.fault(code, active=active))

    @rule(operative=st.booleans())
    def serve(self, operative: bool) -> None:
        self.step(self.bench.fact(Serve(evse_id=1, operative=operative)))

    @rule(number=st.integers(1, 6), reason=st.sampled_from(["remote", "deauthorized"]))
    def stop(self, number: int, reason: str) -> None:
        session_id = paused(number).session_id
        self.step(self.bench.fact(RemoteStopRequested(reference=session_id.hex(), cause=reason)))
        assert self.core.kept is None or self.core.kept.session_id != session_id

    @rule(number=st.integers(1, 6))
    def allow(self, number: int) -> None:
        self.step(self.bench.fact(allow(paused(number).session_id.hex())))

    @rule(charge=st.booleans(), discharge=st.booleans(), again_in_s=st.sampled_from([None, 10.0, 10_000.0]))
    def supply(self, charge: bool, discharge: bool, again_in_s: float | None) -> None:
        self.step(self.bench.fact(SupplyChanged(charge=charge, discharge=discharge, again_in_s=again_in_s)))

    @rule(seconds=st.sampled_from([0.0, 1.0, 6.0, 11.0, 16.0, 61.0]))
    def time(self, seconds: float) -> None:
        self.step(self.bench.wait(seconds))

    @rule(at_once=st.booleans(), keep=st.booleans(), chance=st.integers(0, 5))
    def reset(self, at_once: bool, keep: bool, chance: int) -> None:
        if chance:
            return
        self.step(self.bench.fact(Restart(evse_id=None, at_once=at_once, keep=keep)))
        if at_once and self.core.busy:
            self.step(self.bench.wait(15.0))
            assert self.bench.aborted

    @rule(chance=st.integers(0, 9))
    def shut_down(self, chance: int) -> None:
        if not chance:
            self.step(self.bench.fact(ShutDown()))
            assert self.bench.aborted is self.core.busy

    # -- what holds at any time

    @invariant()
    def no_timer_is_forgotten(self) -> None:
        deadline = self.core.deadline()
        assert deadline is None or self.bench.now <= deadline <= self.bench.now + 60

    @invariant()
    def f_is_shown_exactly_while_nobody_can_be_served(self) -> None:
        if self.core.busy or not self.bench.started:
            return
        shown = any(FAULTS[each].shown_by_f for each in self.bench.present.faults) or not self.core.open
        unavailable = self.core.availability is LinkAvailability.UNAVAILABLE
        assert unavailable is self.bench.held
        assert unavailable is shown or not self.bench.linked

    def teardown(self) -> None:
        """Everybody leaves, and the next vehicle finds an EVSE that is as new."""
        if not hasattr(self, "bench"):
            return
        self.step(self.bench.pilot("A"))
        if self.core.busy:
            self.step(self.bench.end("unplugged"))
        while self.bench.saving:
            self.step(self.bench.stored())
        assert (self.core.service, self.core.pause) == (EvseService.FREE, Pause.NONE)
        self.step(self.bench.wait(100.0))
        assert self.core.deadline() is None


TestTwoVehicles = TwoVehicles.TestCase
TestTwoVehicles.settings = settings(stateful_step_count=60, deadline=None)
