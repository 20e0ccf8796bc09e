"""D-LINK events: pause keeps the network, wake-up by either side goes on in it, errors and ends leave it."""

import pytest

from tests.slac.benches import EvBench, EvseBench
from tests.slac.conftest import Line, Station
from tests.together import together
from v2g.iec61851.pilot import PilotState
from v2g.slac import mme
from v2g.slac.ev import EvSlacConfig, EvState
from v2g.slac.evse import EvseSlacState
from v2g.slac.shared import (
    STANDARD,
    LinkLost,
    Matched,
    MatchingFailed,
    OscillatorOff,
    OscillatorOn,
    RestartPilot,
    SlacTiming,
    TogglePilot,
)


def _paused(line: Line) -> tuple[Station, Station]:
    evse_station, evse = line.evse()
    ev_station, ev = line.ev()
    line.plug(ev_station, evse_station)
    line.run(5.0)
    evse.pause(line.now)
    ev.pause(line.now)
    line.settle()
    assert evse_station.of(OscillatorOff) == [OscillatorOff()]
    return ev_station, evse_station


def test_in_a_pause_nobody_asks_and_nobody_loses(line: Line) -> None:
    ev_station, evse_station = _paused(line)
    line.sent.clear()
    line.run(line.now + 3600)
    assert line.sent == []
    assert ev_station.of(LinkLost, MatchingFailed) == evse_station.of(LinkLost, RestartPilot, MatchingFailed) == []


def test_the_vehicle_wakes_the_charger_by_a_toggle_and_both_go_on_in_the_same_network(line: Line) -> None:
    ev_station, evse_station = _paused(line)
    (before,) = ev_station.of(Matched)
    line.run(line.now + 60)
    woken = line.now
    ev_station.core.wake_up(line.now)
    line.settle()
    assert ev_station.of(TogglePilot) == [TogglePilot(1, STANDARD.toggle_state_s)]
    line.run(woken + STANDARD.conn_resume_s)
    assert evse_station.of(OscillatorOn) == [OscillatorOn()]
    assert ev_station.of(Matched) == evse_station.of(Matched) == [before, before]
    assert line.count(mme.CmSlacParmReq) == 1, "no new matching"


def test_the_oscillator_stays_off_for_three_seconds_at_least(line: Line) -> None:
    ev_station, evse_station = _paused(line)
    paused = line.now
    ev_station.core.wake_up(line.now)
    line.run(paused + 10)
    (at,) = [when for when, what in zip(evse_station.times, evse_station.done, strict=True) if what == OscillatorOn()]
    assert at == pytest.approx(paused + STANDARD.step_x1_s)


def test_the_charger_wakes_the_vehicle_by_its_oscillator(line: Line) -> None:
    ev_station, evse_station = _paused(line)
    line.run(line.now + 60)
    evse_station.core.wake_up(line.now)
    line.run(line.now + 1)
    assert len(ev_station.of(Matched)) == len(evse_station.of(Matched)) == 2
    assert ev_station.of(TogglePilot) == []


def test_a_vehicle_that_is_not_there_any_more_is_asked_to_start_over(line: Line) -> None:
    ev_station, evse_station = _paused(line)
    ev_station.core.leave(line.now)  # its modem is in another network now
    line.run(line.now + 10)
    evse_station.core.wake_up(line.now)
    line.run(line.now + STANDARD.conn_max_comm_s + 0.5)
    assert evse_station.of(RestartPilot) == [RestartPilot("not_resumed")]
    line.run(line.now + 15)
    assert len(ev_station.of(Matched)) == 2, "a fresh matching"
    assert ev_station.of(Matched)[0] != ev_station.of(Matched)[1]


def test_a_charger_that_does_not_go_on_is_a_named_failure_and_left() -> None:
    bench = EvBench().reach(EvState.PAUSED)
    bench.core.wake_up(bench.now)
    (key,) = bench.wait(STANDARD.conn_resume_s)
    assert isinstance(key, mme.CmSetKeyReq)
    assert bench.others[-1] == MatchingFailed("not_resumed")
    assert bench.core.state is EvState.UNMATCHED


@pytest.mark.parametrize("length_s", [0.1, 0.6])
def test_a_pulse_that_is_no_toggle_wakes_nobody(length_s: float) -> None:
    bench = EvseBench().reach(EvseSlacState.PAUSED)
    bench.now += 10
    bench.core.pilot(PilotState.C, bench.now)
    bench.now += length_s
    bench.core.pilot(PilotState.B, bench.now)
    assert bench.core.deadline() is None


@pytest.mark.parametrize("state", [EvseSlacState.PAUSED, EvseSlacState.RESUMING])
def test_an_unplugged_cable_ends_a_pause_and_the_network(state: EvseSlacState) -> None:
    bench = EvseBench().reach(state)
    bench.core.disconnect(bench.now)
    (key,) = bench.take()
    assert isinstance(key, mme.CmSetKeyReq)
    assert bench.core.state is EvseSlacState.UNMATCHED


def test_only_a_matched_link_can_pause_and_only_a_paused_one_wake() -> None:
    for state in EvState:
        bench = EvBench().reach(state)
        if state is not EvState.MATCHED:
            bench.core.pause(bench.now)
            assert bench.core.state is state
        bench = EvBench().reach(state)
        if state is not EvState.PAUSED:
            bench.core.wake_up(bench.now)
            assert bench.core.state is state
        if state not in (EvState.PAUSED, EvState.WAKING):
            bench.core.resume(bench.now)
            assert bench.core.state is state
    for state in EvseSlacState:
        charger = EvseBench().reach(state)
        if state is not EvseSlacState.MATCHED:
            charger.core.pause(charger.now)
            assert charger.core.state is state
        if state is not EvseSlacState.PAUSED:
            charger.core.wake_up(charger.now)
            charger.wait(0.05)
            assert charger.core.state is state


@together("state", EvseSlacState)
def test_an_error_leaves_and_lets_the_vehicle_start_over(state: EvseSlacState) -> None:
    bench = EvseBench().reach(state)
    bench.core.error("session_failed", bench.now)
    messages = bench.take()
    if state is EvseSlacState.UNMATCHED:
        assert messages == []
        return
    assert [type(m) for m in messages] == [mme.CmSetKeyReq]
    assert bench.others[-1] == RestartPilot("session_failed")
    assert bench.core.state is EvseSlacState.MATCHING
    bench.key_taken()
    bench.characterize()
    assert bench.match()


@together("state", EvState)
def test_leaving_takes_a_fresh_key_where_there_was_one(state: EvState) -> None:
    bench = EvBench().reach(state)
    joined = state in (
        EvState.KEYING, EvState.JOINING, EvState.MATCHED, EvState.PAUSED, EvState.WAKING, EvState.RESUMING
    )  # fmt: skip
    bench.core.leave(bench.now)
    keys = bench.take()
    if state is EvState.KEYING:
        keys += bench.key_taken()  # one at a time
    assert [type(m) for m in keys] == [mme.CmSetKeyReq] * joined
    assert bench.core.state is EvState.UNMATCHED


def test_a_vehicle_may_be_configured_to_match_again_by_itself(line: Line) -> None:
    timing = SlacTiming(connection_retries=1)
    evse_station, evse = line.evse()
    ev_station, ev = line.ev(config=EvSlacConfig(timing=timing))
    ev.start(0.0)
    line.run(12.0)
    assert ev_station.of(MatchingFailed) == [MatchingFailed("no_charger_answers")]
    evse.connect(line.now)
    line.run(line.now + timing.connection_pause_s)
    assert ev_station.of(Matched) == evse_station.of(Matched) != []
