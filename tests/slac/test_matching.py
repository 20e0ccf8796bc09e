"""Charger and vehicle cores, joined in memory, match as ISO 15118-3 says, also when frames get lost."""

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from v2g.slac import mme, vendor
from v2g.slac.control import ModemConfig
from v2g.slac.ev import EvSlacConfig, EvState
from v2g.slac.evse import EvseSlacConfig, EvseSlacState
from v2g.slac.host import nid_of
from v2g.slac.modem import AttenuationConfig
from v2g.slac.shared import FAST, STANDARD, LinkLost, Matched, MatchingFailed, RestartPilot, TogglePilot


def test_the_frames_of_a_matching_in_order(line) -> None:
    evse_station, evse = line.evse()
    ev_station, ev = line.ev()
    evse.connect(line.now)
    line.sent.clear()
    ev.start(line.now)
    line.run(5.0)
    names = [type(frame.message).__name__ for _, frame in line.sent if frame.message.MMV]
    assert names == [
        "CmSlacParmReq",
        "CmSlacParmCnf",
        *["CmStartAttenCharInd"] * 3,
        *["CmMnbcSoundInd"] * 10,
        "CmAttenCharInd",
        "CmAttenCharRsp",
        "CmSlacMatchReq",
        "CmSlacMatchCnf",
        "CmSetKeyReq",
    ]
    (matched,) = ev_station.of(Matched)
    assert isinstance(matched, Matched)
    assert matched == evse_station.of(Matched)[0]
    assert matched.nid == nid_of(matched.nmk)
    assert (matched.evse_mac, matched.pev_mac) == (evse.mac, ev.mac)
    assert matched.attenuation_db == pytest.approx(11.6, abs=0.2)
    assert ev_station.modem.link_up
    assert evse_station.modem.link_up
    assert matched.nmk.hex() not in repr((matched, line.sent))


def test_sounds_keep_their_interval_and_end_the_window_early(line) -> None:
    evse_station, evse = line.evse()
    _, ev = line.ev()
    evse.connect(0.0)
    ev.start(0.0)
    line.run(2.0)
    batch = [at for at, f in line.sent if isinstance(f.message, mme.CmStartAttenCharInd | mme.CmMnbcSoundInd)]
    assert [f.message.cnt for _, f in line.sent if isinstance(f.message, mme.CmMnbcSoundInd)] == list(range(9, -1, -1))
    assert all(later - earlier == pytest.approx(STANDARD.batch_interval_s) for earlier, later in pairwise(batch))
    (result,) = [at for at, f in line.sent if isinstance(f.message, mme.CmAttenCharInd)]
    assert result == batch[-1] < 0.6
    assert evse_station.of(Matched)


def test_the_fast_profile_matches_within_20_ms_of_protocol_time(line) -> None:
    evse_station, evse = line.evse(config=EvseSlacConfig(timing=FAST))
    ev_station, ev = line.ev(config=EvSlacConfig(timing=FAST))
    evse.connect(0.0)
    ev.start(0.0)
    line.run(0.02)
    assert evse_station.of(Matched)
    assert ev_station.of(Matched)


@pytest.mark.requirement("R21")
@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize(
    "lost",
    [
        mme.CmSlacParmReq,
        mme.CmSlacParmCnf,
        mme.CmStartAttenCharInd,
        mme.CmMnbcSoundInd,
        mme.CmAttenCharInd,
        mme.CmAttenCharRsp,
        mme.CmSlacMatchReq,
        mme.CmSlacMatchCnf,
    ],
)
@pytest.mark.parametrize("times", [1, 2])
def test_one_or_two_lost_frames_of_a_kind_do_not_matter(line, lost, times: int, fast) -> None:
    evse_station, evse = line.evse(config=EvseSlacConfig(timing=FAST if fast else STANDARD))
    ev_station, ev = line.ev(config=EvSlacConfig(timing=FAST if fast else STANDARD))
    left = [times]

    def lose(message: mme.Mme) -> bool:
        if isinstance(message, lost) and left[0]:
            left[0] -= 1
            return True
        return False

    line.lose = lose
    evse.connect(0.0)
    ev.start(0.0)
    line.run(8.0)
    assert left[0] < times
    assert ev.attempts == 1
    assert ev_station.of(Matched) == evse_station.of(Matched) != []


@pytest.mark.long
@pytest.mark.requirement("R21")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.booleans(), min_size=10, max_size=200))
def test_any_pattern_of_loss_ends_in_a_match_or_a_named_failure(line, pattern: list[bool]) -> None:
    line.__init__()
    losses = iter(pattern)
    line.lose = lambda message: next(losses, False) and not isinstance(message, vendor.SimBeaconInd)
    evse_station, evse = line.evse()
    ev_station, ev = line.ev()
    evse.connect(0.0)
    ev.start(0.0)
    line.run(40.0)
    if ev.state is EvState.MATCHED:
        assert evse.state is EvseSlacState.MATCHED
        assert ev_station.of(Matched) == evse_station.of(Matched)
    else:
        assert isinstance(ev_station.of(MatchingFailed)[0], MatchingFailed)


def test_nobody_answers_three_requests_an_attempt_until_the_repetition_time_is_over(line) -> None:
    station, ev = line.ev()
    ev.start(0.0)
    line.run(30.0)
    assert station.of(MatchingFailed) == [MatchingFailed("no_charger_answers")]
    assert ev.state is EvState.UNMATCHED
    assert line.count(mme.CmSlacParmReq) == 3 * ev.attempts
    run_ids = {f.message.run_id for _, f in line.sent if isinstance(f.message, mme.CmSlacParmReq)}
    assert len(run_ids) == ev.attempts == 10  # one second each within 10 s
    assert line.sent[-1][0] < STANDARD.matching_repetition_s


def test_no_profile_no_receipt_and_no_confirmation_fail_by_their_names(line) -> None:
    for lost, reason in (
        (mme.CmAttenCharInd, "no_attenuation_result"),
        (mme.CmSlacMatchCnf, "no_match_confirmation"),
    ):
        line.__init__()
        _, evse = line.evse()
        station, ev = line.ev()
        line.lose = lambda message, lost=lost: isinstance(message, lost)
        evse.connect(0.0)
        ev.start(0.0)
        line.run(15.0)
        assert station.of(MatchingFailed) == [MatchingFailed(reason)]


def test_a_vehicle_takes_the_nearer_of_two_chargers_and_acknowledges_both(line) -> None:
    far_station, far = line.evse(1, measures=AttenuationConfig(low_db=18, high_db=19))
    near_station, near = line.evse(2, measures=AttenuationConfig(low_db=10, high_db=14))
    ev_station, ev = line.ev()
    far.connect(0.0)
    near.connect(0.0)
    ev.start(0.0)
    line.run(5.0)
    assert ev_station.of(Matched)[0].evse_mac == near.mac
    assert near_station.of(Matched)
    assert not far_station.of(Matched)
    assert line.count(mme.CmAttenCharRsp) == 2
    assert far.state is EvseSlacState.MATCHING


def test_two_vehicles_at_two_chargers_with_cross_talk_each_find_their_own(line) -> None:
    stations = []
    for number in (1, 2):
        neighbour = bytes((2, 0, 0, 0, 2, 3 - number)).hex(":")
        stations.append(line.evse(number, measures=AttenuationConfig(neighbours={neighbour: 25})))
    ev1_station, ev1 = line.ev(1)
    ev2_station, ev2 = line.ev(2)
    for _, evse in stations:
        evse.connect(0.0)
    ev1.start(0.0)
    line.run(0.05)  # in the middle of the first vehicle's sounds
    ev2.start(line.now)
    line.run(5.0)
    assert ev1_station.of(Matched) == stations[0][0].of(Matched) != []
    assert ev2_station.of(Matched) == stations[1][0].of(Matched) != []
    assert ev1_station.of(Matched)[0].nid != ev2_station.of(Matched)[0].nid


def test_a_charger_out_of_reach_is_not_taken(line) -> None:
    _, evse = line.evse(measures=AttenuationConfig(low_db=60, high_db=80))
    station, ev = line.ev()
    evse.connect(0.0)
    ev.start(0.0)
    line.run(30.0)
    assert station.of(MatchingFailed) == [MatchingFailed("too_weak")]
    assert line.count(mme.CmSlacMatchReq) == 0


def test_a_potentially_found_charger_is_waited_for_and_validated(line) -> None:
    evse_station, _ = line.evse(measures=AttenuationConfig(low_db=30, high_db=34))
    station, ev = line.ev()
    line.plug(station, evse_station)
    line.run(1.0)
    assert ev.state is EvState.COLLECTING, "it waits: a nearer one may still answer"
    line.run(1.3)
    assert ev.state is EvState.VALIDATING
    line.run(6.0)
    assert station.of(Matched)
    (toggle,) = station.of(TogglePilot)
    (success,) = [f.message for _, f in line.sent if isinstance(f.message, mme.CmValidateCnf) and f.message.result == 2]
    assert success.toggle_num == toggle.count


def test_unplugged_chargers_and_matched_chargers_do_not_answer(line) -> None:
    _, evse = line.evse()
    _, ev = line.ev(1)
    ev.start(0.0)
    line.run(0.1)
    assert line.count(mme.CmSlacParmCnf) == 0
    evse.connect(line.now)
    line.run(5.0)
    assert evse.state is EvseSlacState.MATCHED
    before = line.count(mme.CmSlacParmCnf)
    _, second = line.ev(2)
    second.start(line.now)
    line.run(8.0)
    assert line.count(mme.CmSlacParmCnf) == before


def test_leaving_takes_a_new_key_and_the_other_side_sees_the_link_go(line) -> None:
    evse_station, evse = line.evse()
    ev_station, ev = line.ev()
    evse.connect(0.0)
    ev.start(0.0)
    line.run(5.0)
    old = evse_station.of(Matched)[0]
    ev.leave(line.now)
    line.run(line.now + 2.0)
    assert evse_station.of(LinkLost, RestartPilot) == [LinkLost(), RestartPilot("link_lost")]
    assert evse.state is EvseSlacState.MATCHING, "ready for the vehicle that starts over"
    ev.start(line.now)
    line.run(line.now + 5.0)
    new = evse_station.of(Matched)[1]
    assert new.nid != old.nid
    evse.disconnect(line.now)
    line.run(line.now + 2.0)
    assert ev_station.of(LinkLost) == [LinkLost()]
    assert evse_station.modem.nid not in (old.nid, new.nid)


def test_a_vehicle_that_starts_over_is_answered_as_a_new_run(line) -> None:
    evse_station, evse = line.evse()
    _, first = line.ev()
    evse.connect(0.0)
    first.start(0.0)
    line.run(0.2)
    first.leave(line.now)
    first.start(line.now)
    line.run(5.0)
    assert len(evse_station.of(Matched)) == 1
    run_ids = {f.message.run_id for _, f in line.sent if isinstance(f.message, mme.CmSlacParmCnf)}
    assert len(run_ids) == 2


def test_a_silent_modem_is_a_named_failure_on_either_side(line) -> None:
    evse_station, evse = line.evse()
    ev_station, ev = line.ev()
    ev_station.modem_answers = False
    evse.connect(0.0)
    ev.start(0.0)
    line.run(20.0)
    assert ev_station.of(MatchingFailed) == [MatchingFailed("modem_silent")]
    evse_station.modem_answers = False
    evse.disconnect(line.now)
    line.run(30.0)
    assert MatchingFailed("modem_silent") in evse_station.of(MatchingFailed)


def test_no_link_after_the_match_starts_the_charger_over(line) -> None:
    evse_station, evse = line.evse()
    ev_station, ev = line.ev()
    line.lose = lambda message: isinstance(message, vendor.SimBeaconInd)
    evse.connect(0.0)
    ev.start(0.0)
    line.run(14.0)
    assert ev_station.of(MatchingFailed) == [MatchingFailed("no_link")]
    assert evse_station.of(RestartPilot) == [RestartPilot("no_link")]


def test_a_modem_that_cannot_be_asked_is_believed(line) -> None:
    evse_station, evse = line.evse(config=EvseSlacConfig(modem=ModemConfig(link_detection="none")))
    ev_station, ev = line.ev(config=EvSlacConfig(modem=ModemConfig(link_detection="none")))
    evse.connect(0.0)
    ev.start(0.0)
    line.run(3.0)
    assert ev_station.of(Matched) == evse_station.of(Matched) != []
    assert line.count(vendor.VsPlLinkStatusReq) == 0
    assert ev.deadline() is None
