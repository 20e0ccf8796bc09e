"""Every timer of both roles, for every set of messages, with the clock in the hand: nothing here sleeps.

Times are those of `v2g.iso15118.d20.timing`, which is data; a timer that nobody tests fails the last test.
"""

import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from evcc.session.settings import AuthorizationConfig, ProgramStep, ServiceConfig, SessionConfig
from evcc.session.settings import TimingConfig as Pace
from pki_tools.tree import PkiTree
from secc.session import ports as se
from secc.session.config import EnergyService, SeccConfig
from tests.evcc.session.d20 import test_session
from tests.secc.session.bench import AC_WAYS, ACDP_WAYS, WAYS, WPT_WAYS, Bench
from tests.sessions import test_authorization
from tests.sessions.joined import Joined
from tests.sessions.timers import SERVICE, requests_of
from v2g.iso15118.d20.charts import LOOPS, Family
from v2g.iso15118.d20.messages.common_messages import Authorization
from v2g.iso15118.d20.messages.common_types import Processing
from v2g.iso15118.d20.timing import MESSAGES, Timing
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.session import Command, Fact
from v2g.iso15118.engine.v2gtp import Framer

replace = msgspec.structs.replace
STANDARD = Timing()
WAYS_OF = {Family.AC: AC_WAYS, Family.DC: WAYS, Family.WPT: WPT_WAYS, Family.ACDP: ACDP_WAYS}
EVERYTHING = tuple(EnergyService)
LIVE = [(family, state) for family, ways in WAYS_OF.items() for state in ways if state is not State.ENDED]


def ids(value: object) -> str:
    return str(getattr(value, "value", value))


@pytest.fixture
def charger(pki: PkiTree) -> Callable[..., Bench]:
    """Return a maker of chargers, alone with a vehicle by the book."""

    def make(family: Family, **changes: Any) -> Bench:
        config = SeccConfig(services=EVERYTHING, timing=replace(STANDARD, secc_loop_tolerance=0.25))
        bench = Bench(pki, time.time_ns() // 1_000_000, replace(config, **changes))
        bench.selection = (SERVICE[family], 0, family is Family.DC)
        return bench

    return make


@pytest.fixture
def join(pki: PkiTree) -> Callable[..., Joined]:
    """Return a maker of pairs for a family."""

    def make(family: Family, *, program: tuple[ProgramStep, ...] = (), **options: Any) -> Joined:
        energy: Any = (EnergyService(SERVICE[family]).name,)
        vehicle = SessionConfig(
            program=program or (ProgramStep(do="charge", for_s=60),),
            services=ServiceConfig(energy=energy),
            authorization=AuthorizationConfig(allow_eim=True),
        )
        charger = SeccConfig(services=EVERYTHING, authorization=(Authorization.EIM,))
        return Joined(pki, time.time_ns() // 1_000_000, **{"vehicle": vehicle, "charger": charger, **options})

    return make


# -- the charger's ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "state"), LIVE, ids=ids)
def test_sequence_a_silent_vehicle_is_left_after_the_time_of_its_state(
    charger: Callable[..., Bench], family: Family, state: State
) -> None:
    """V2G20-443: 60 s, V2G20-1500, -1502, -5070: 0.5 s after a charge-loop response (and the tolerance)."""
    bench = charger(family).reach(state)
    powered = bench.session.powered
    seconds = 0.75 if state in LOOPS else 60.0
    # what waits inside an exchange has used a part of it
    spent = bench.config.poll_hold_s if state is State.DC_CABLE_CHECK_ONGOING else 0.0
    bench.pass_time(seconds - spent - 0.01)
    assert not bench.reason
    bench.pass_time(spent + 0.02)
    assert bench.reason in ("sequence_timeout", "ongoing_timeout")
    assert bool(bench.commands(se.EmergencyOff)) == powered


POLLED = {
    "AuthorizationReq": (State.AUTHORIZATION, se.AuthorizeContract, 55.0, "WARNING_GeneralPnCAuthorizationError"),
    "DC_CableCheckReq": (State.DC_CABLE_CHECK, se.StartCableCheck, 38.0, "FAILED"),
}


@pytest.mark.parametrize("name", POLLED)
def test_ongoing_performance_the_charger_decides_before_the_vehicle_gives_up(
    charger: Callable[..., Bench], name: str
) -> None:
    state, command, seconds, code = POLLED[name]
    bench = charger(Family.DC).reach(state)
    del bench.auto[command]
    request, began = bench.ask(name), bench.now
    while not bench.responses or bench.responses[-1].response_code.name in ("OK", "OK_NewSessionEstablished"):
        bench.post(request)
        bench.pass_time(bench.config.poll_hold_s)
    assert bench.responses[-1].response_code.name == code
    assert seconds <= bench.now - began < seconds + 2
    assert bench.now - began < {"DC_CableCheckReq": STANDARD.evcc_cable_check}.get(name, STANDARD.ongoing)


@pytest.mark.parametrize("family", list(Family), ids=ids)
def test_ongoing_a_vehicle_that_never_starts_is_left_after_60_s(charger: Callable[..., Bench], family: Family) -> None:
    bench = charger(family).reach(State.POWER_DELIVERY)
    began = bench.now
    while not bench.reason:
        bench.send(bench.ask("PowerDeliveryReq", ev_processing=Processing.Ongoing))
        bench.pass_time(1.0)
        assert bench.now - began < 70
    assert bench.reason == "ongoing_timeout"
    assert bench.now - began == pytest.approx(60.0, abs=1.0)
    assert not [each for each in bench.commands(se.SetOutput) if each.charge_w]


@pytest.mark.parametrize("family", list(Family), ids=ids)
@pytest.mark.parametrize("closing", [True, False])
def test_contactor_one_that_does_not_move_is_reported_within_the_performance_time(
    charger: Callable[..., Bench], family: Family, closing: bool
) -> None:
    loop = {Family.AC: State.AC_CHARGE_LOOP, Family.WPT: State.WPT_CHARGE_LOOP}.get(family, State.DC_CHARGE_LOOP)
    bench = charger(family).reach(State.POWER_DELIVERY if closing else loop)
    del bench.auto[se.CloseContactors if closing else se.OpenContactors]
    from v2g.iso15118.d20.messages.common_messages import ChargeProgress

    progress = ChargeProgress.Start if closing else ChargeProgress.Stop
    assert bench.send(bench.ask("PowerDeliveryReq", charge_progress=progress)) is None
    bench.pass_time(STANDARD.contactor)
    assert bench.responses[-1].response_code.name == "FAILED_ContactorError"
    assert STANDARD.contactor < MESSAGES["PowerDeliveryReq"].performance


@pytest.mark.parametrize("family", list(Family), ids=ids)
def test_close_a_vehicle_that_does_not_close_is_closed_after_5_s(charger: Callable[..., Bench], family: Family) -> None:
    bench = charger(family).reach(State.ENDED)
    bench.pass_time(4.99)
    assert not bench.reason
    bench.pass_time(0.02)
    assert bench.reason == "finished"


@pytest.mark.parametrize("family", list(Family), ids=ids)
@pytest.mark.parametrize(("seconds", "late"), [(0.25, False), (0.45, True)])
def test_loop_performance_a_slow_vehicle_is_noted_once_and_borne(
    charger: Callable[..., Bench], family: Family, seconds: float, late: bool
) -> None:
    """V2G20-1499, -1501, -5069: 0.25 s between a charge-loop response and the next request."""
    loop = {Family.AC: State.AC_CHARGE_LOOP, Family.WPT: State.WPT_CHARGE_LOOP}.get(family, State.DC_CHARGE_LOOP)
    bench = charger(family).reach(loop)
    name = f"{'AC' if family is Family.AC else 'WPT' if family is Family.WPT else 'DC'}_ChargeLoopReq"
    for _ in range(5):
        bench.pass_time(seconds)
        assert bench.go(name).response_code.name == "OK"
    noted = bench.events("late_request")
    assert len(noted) == late
    if late:
        assert noted[0]["request"] == name
        assert 0 < noted[0]["seconds"] < 0.25


@pytest.mark.parametrize(("family", "state"), [each for each in LIVE if each[1] not in LOOPS][1:], ids=ids)
def test_sequence_performance_a_vehicle_that_takes_40_s_is_noted_and_borne(
    charger: Callable[..., Bench], family: Family, state: State
) -> None:
    if state in (State.SUPPORTED_APP_PROTOCOL, State.SESSION_SETUP):
        return  # nothing was answered to a vehicle that has not begun, and SessionStop comes later
    if state is State.DC_CABLE_CHECK_ONGOING:
        return  # the check that goes on has failed by then
    bench = charger(family).reach(state)
    bench.pass_time(41.0)
    assert not bench.reason
    bench.go("SessionStopReq")
    assert len(bench.events("late_request")) == 1


def test_an_answer_that_comes_late_is_an_event(charger: Callable[..., Bench]) -> None:
    bench = charger(Family.DC).reach(State.POWER_DELIVERY)
    del bench.auto[se.CloseContactors]
    bench.post(bench.ask("PowerDeliveryReq"))
    bench.move(bench.now + 1.9)  # the clock runs on while this process does not: nobody ticked
    bench.fact(se.ContactorState(closed=True))
    assert bench.responses[-1].response_code.name == "OK"
    assert bench.events("late_response") == [{"request": "PowerDeliveryReq", "seconds": 1.9}]


def test_an_answer_in_time_is_none(charger: Callable[..., Bench]) -> None:
    for family in Family:
        bench = charger(family).reach(State.ENDED)
        assert not bench.events("late_response")
        assert not bench.events("late_request")


# -- the vehicle's ----------------------------------------------------------------------------------------------------


class Silent:
    """Swallows the answer to one kind of request."""

    def __init__(self, joined: Joined, name: str) -> None:
        self.joined, self.name, self.asked_at = joined, name, 0.0
        joined.wire_to_evcc = self._answer

    def _answer(self, data: bytes) -> bytes:
        pending = self.joined.evcc.pending
        if type(pending).__name__ != self.name or next(iter(Framer().feed(data))).payload_type >= 0x8101:
            return data
        self.asked_at = self.joined.evcc.asked_at
        return b""


@pytest.mark.parametrize(
    ("family", "name"), [(family, name) for family in Family for name in requests_of(family)], ids=ids
)
def test_message_timeout_every_request_of_every_family_is_given_its_time_and_no_more(
    join: Callable[..., Joined], family: Family, name: str
) -> None:
    joined = join(family)
    silent = Silent(joined, name)
    joined.run(lambda: joined.evcc.closed, most_s=120)
    timeout = MESSAGES[name].timeout
    assert joined.evcc_reason == "message_timeout"
    assert joined.vehicle_saw("session", "failed")[0]["request"] == name
    assert joined.now - silent.asked_at == pytest.approx(timeout, abs=0.06)
    assert not joined.plant.ev_closed
    joined.run()
    assert joined.plant.flow()[1] == 0


def test_message_scale_is_for_slow_chargers(join: Callable[..., Joined]) -> None:
    vehicle = SessionConfig(timers=Timing(message_scale=3.0))
    joined = join(Family.DC, vehicle=vehicle)
    silent = Silent(joined, "SessionSetupReq")
    joined.run(lambda: joined.evcc.closed)
    assert joined.now - silent.asked_at == pytest.approx(6.0, abs=0.06)


@pytest.mark.parametrize("family", list(Family), ids=ids)
def test_communication_setup_ends_20_s_after_the_link(join: Callable[..., Joined], family: Family) -> None:
    joined = join(family, connected_for=19.0)
    joined.wire_to_evcc = lambda data: b""
    began = joined.now
    joined.run(lambda: joined.evcc.closed)
    assert joined.evcc_reason == "communication_setup_timeout"
    assert joined.now - began == pytest.approx(1.0, abs=0.06)


def never(joined: Joined, *kinds: type) -> None:
    """Let the charger's outside never answer these."""
    obey = joined.obey_charger

    def ignore(command: Command) -> Fact | None:
        return None if isinstance(command, kinds) else obey(command)

    joined.obey_charger = ignore  # type: ignore[method-assign]


ENDLESS = [
    (Family.DC, se.StartCableCheck, STANDARD.evcc_cable_check, "cable_check_timeout"),
    (Family.ACDP, se.StartCableCheck, STANDARD.evcc_cable_check, "cable_check_timeout"),
    (Family.DC, se.StartPreCharge, STANDARD.evcc_pre_charge, "pre_charge_timeout"),
    (Family.ACDP, se.StartPreCharge, STANDARD.evcc_pre_charge, "pre_charge_timeout"),
    (Family.ACDP, se.MoveDevice, STANDARD.ongoing, "connection_timeout"),
    (Family.WPT, se.CheckAlignment, STANDARD.ongoing, "alignment_timeout"),
]


@pytest.mark.parametrize(("family", "command", "seconds", "reason"), ENDLESS)
def test_what_a_charger_never_finishes_is_left_after_its_time(
    join: Callable[..., Joined], family: Family, command: type, seconds: float, reason: str
) -> None:
    """The charger's own limits are taken away, so that the vehicle's have to do."""
    patient = Timing(secc_cable_check=1e6, ongoing_performance=1e6)
    charger = SeccConfig(services=EVERYTHING, authorization=(Authorization.EIM,), timing=patient)
    joined = join(family, charger=charger)
    never(joined, command)
    began: list[float] = []

    def watch() -> bool:
        if not began and any(isinstance(each, command) for each in joined.secc_actions):
            began.append(joined.now)
        return joined.evcc.closed

    joined.run(watch, most_s=200)
    assert joined.evcc_reason == reason
    assert joined.now - began[0] == pytest.approx(seconds, abs=1.0)
    assert not joined.plant.ev_closed
    joined.run()
    assert joined.plant.flow()[1] == 0


@pytest.mark.parametrize(
    ("family", "command"), [(each[0], each[1]) for each in ENDLESS if each[1] is not se.StartPreCharge]
)
def test_the_chargers_own_limits_come_first_and_are_shown_in_words(
    join: Callable[..., Joined], family: Family, command: type
) -> None:
    joined = join(family)
    never(joined, command)
    joined.run(most_s=200)
    assert joined.evcc_reason.upper().startswith(("FAILED", "WARNING")), joined.evcc_reason
    assert joined.imported_mwh() < 1_000


@pytest.mark.parametrize("family", [Family.DC, Family.ACDP], ids=ids)
def test_welding_detection_a_voltage_that_stays_is_reported_after_its_time(
    join: Callable[..., Joined], family: Family
) -> None:
    joined = join(family)
    joined.run(lambda: joined.plant.flow()[1] > 1_000)
    measured = joined.measured
    joined.measured = lambda: replace(measured(), voltage_mv=400_000)  # type: ignore[method-assign]
    stopping: list[float] = []

    def watch() -> bool:
        if not stopping and joined.charger_saw("stop", "welding_detection"):
            stopping.append(joined.now)
        return joined.evcc.closed

    joined.run(watch, most_s=300)
    assert joined.vehicle_saw("stop", "welding_suspected")
    assert joined.evcc_reason == "finished"
    assert joined.now - stopping[0] == pytest.approx(STANDARD.evcc_welding_detection, abs=1.5)


def test_the_vehicle_keeps_its_own_performance_times(join: Callable[..., Joined]) -> None:
    for family in Family:
        joined = join(family)
        joined.run()
        assert joined.evcc_reason == "finished"
        assert not joined.charger_saw("session", "late_request")
        assert not joined.vehicle_saw("session", "late_answer")
    assert Pace().loop_pause_s < STANDARD.evcc_loop_performance


def test_an_answer_that_is_late_but_in_time_is_noted_by_the_vehicle(join: Callable[..., Joined]) -> None:
    joined = join(Family.DC)

    def late(data: bytes) -> bytes:
        if joined.evcc.state is State.SERVICE_DISCOVERY:
            joined.evcc.asked_at -= 1.8  # as if it had been under way for so long
        return data

    joined.wire_to_evcc = late
    joined.run()
    assert joined.vehicle_saw("session", "late_answer") == [{"request": "ServiceDiscoveryReq", "seconds": 1.8}]
    assert joined.evcc_reason == "finished"


@pytest.mark.parametrize("family", [Family.DC, Family.ACDP, Family.WPT], ids=ids)
def test_pre_charge_voltage_does_not_wait_for_ever(charger: Callable[..., Bench], family: Family) -> None:
    """A vehicle that goes on asking for something else than energy: it may stand by only once it has come that far."""
    bench = charger(family).reach(State.POWER_DELIVERY)
    began = bench.now
    from v2g.iso15118.d20.messages.common_messages import ChargeProgress

    while not bench.reason:
        response = bench.send(bench.ask("PowerDeliveryReq", charge_progress=ChargeProgress.Standby))
        assert response.response_code.name == "WARNING_StandbyNotAllowed"
        bench.pass_time(5.0)
        assert bench.now - began < 100
    assert bench.reason == "pre_charge_timeout"
    assert bench.now - began == pytest.approx(STANDARD.secc_pre_charge, abs=5.0)
    assert bench.commands(se.EmergencyOff) == [se.EmergencyOff("pre_charge_timeout")]


# -- completeness -----------------------------------------------------------------------------------------------------

TESTS: dict[str, Any] = {
    "secc_sequence": test_sequence_a_silent_vehicle_is_left_after_the_time_of_its_state,
    "secc_sequence_loop": test_sequence_a_silent_vehicle_is_left_after_the_time_of_its_state,
    "secc_loop_tolerance": test_sequence_a_silent_vehicle_is_left_after_the_time_of_its_state,
    "ongoing": test_ongoing_a_vehicle_that_never_starts_is_left_after_60_s,
    "ongoing_performance": test_ongoing_performance_the_charger_decides_before_the_vehicle_gives_up,
    "secc_customer": test_authorization.test_a_customer_who_never_comes_ends_it_after_three_minutes,
    "evcc_customer": test_session.test_a_customer_is_given_more_time_than_a_back_end,
    "evcc_sequence_performance": test_sequence_performance_a_vehicle_that_takes_40_s_is_noted_and_borne,
    "evcc_loop_performance": test_loop_performance_a_slow_vehicle_is_noted_once_and_borne,
    "secc_cable_check": test_ongoing_performance_the_charger_decides_before_the_vehicle_gives_up,
    "evcc_communication_setup": test_communication_setup_ends_20_s_after_the_link,
    "evcc_cable_check": test_what_a_charger_never_finishes_is_left_after_its_time,
    "evcc_pre_charge": test_what_a_charger_never_finishes_is_left_after_its_time,
    "evcc_welding_detection": test_welding_detection_a_voltage_that_stays_is_reported_after_its_time,
    "secc_pre_charge": test_pre_charge_voltage_does_not_wait_for_ever,
    "contactor": test_contactor_one_that_does_not_move_is_reported_within_the_performance_time,
    "close": test_close_a_vehicle_that_does_not_close_is_closed_after_5_s,
    "message_scale": test_message_scale_is_for_slow_chargers,
}


def test_every_timer_has_a_test() -> None:
    assert set(TESTS) == set(Timing.__struct_fields__)
