"""The charger's core, message by message: what it answers, ignores, repeats and gives up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.slac.benches import EV, EVSE, EVSE_MODEM, FLAT, QUALCOMM, RUN, EvseBench
from v2g.slac import mme, vendor
from v2g.slac.evse import EvseSlacConfig, EvseSlacState
from v2g.slac.host import nid_of
from v2g.slac.shared import STANDARD, Matched, MatchingFailed, RestartPilot


@pytest.fixture
def bench() -> EvseBench:
    return EvseBench()


def test_fewer_sounds_are_averaged_when_the_window_ends(bench: EvseBench) -> None:
    bench.start()
    assert bench.sound(3, bytes([10]) * 58) == []
    assert bench.sound(1, bytes([14]) * 58) == []
    (result,) = bench.wait(STANDARD.sounding_s)
    assert isinstance(result, mme.CmAttenCharInd)
    assert (result.num_sounds, result.aag) == (4, bytes([11]) * 58)


@pytest.mark.parametrize(("taken", "sounds"), [(True, 10), (False, 0)])
def test_an_ar7420_s_own_profiles_count_where_they_are_configured(taken: bool, sounds: int) -> None:
    bench = EvseBench(EvseSlacConfig(modem=QUALCOMM, vendor_profiles=taken))
    bench.start()
    messages = []
    for number in range(10):
        messages += bench.tell(mme.CmMnbcSoundInd(cnt=9 - number, run_id=RUN, rnd=bytes(16)))
        for groups in (58, 57):  # one of another size says nothing
            own = vendor.VsAttenuationCharacteristicsInd(pev_mac=EV, num_groups=groups, aag=FLAT[:groups])
            messages += bench.tell(own, source=EVSE_MODEM)
    messages += bench.wait(STANDARD.profile_grace_s)
    assert [(each.num_sounds, each.aag == FLAT) for each in messages] == [(sounds, taken)]


def test_no_profile_at_all_is_reported_as_zero_sounds(bench: EvseBench) -> None:
    bench.start()
    (result,) = bench.wait(STANDARD.sounding_s)
    assert isinstance(result, mme.CmAttenCharInd)
    assert (result.num_sounds, result.aag) == (0, bytes([1]) * 58)


def test_late_profiles_are_waited_for_after_the_last_sound(bench: EvseBench) -> None:
    bench.start()
    for number in range(10):
        bench.tell(mme.CmMnbcSoundInd(cnt=9 - number, run_id=RUN, rnd=bytes(16)))
    assert bench.tell(mme.CmAttenProfileInd(pev_mac=EV, aag=FLAT), source=EVSE_MODEM) == []
    (result,) = bench.wait(STANDARD.profile_grace_s)
    assert isinstance(result, mme.CmAttenCharInd)
    assert result.num_sounds == 1


def test_repeated_announcements_do_not_move_the_window(bench: EvseBench) -> None:
    bench.start()
    bench.wait(0.3)
    bench.tell(mme.CmStartAttenCharInd(forwarding_sta=EV, run_id=RUN))
    assert len(bench.wait(0.3)) == 1


@pytest.mark.parametrize(
    "announcement",
    [
        mme.CmStartAttenCharInd(forwarding_sta=EV, run_id=RUN, num_sounds=0),
        mme.CmStartAttenCharInd(forwarding_sta=EV, run_id=RUN, time_out=0),
        mme.CmStartAttenCharInd(forwarding_sta=EVSE, run_id=RUN),
        mme.CmStartAttenCharInd(forwarding_sta=EV, run_id=RUN, resp_type=0),
        mme.CmStartAttenCharInd(forwarding_sta=EV, run_id=b"another!"),
    ],
)
def test_wrong_announcements_are_ignored_and_the_run_fails_by_silence(bench: EvseBench, announcement) -> None:
    bench.tell(mme.CmSlacParmReq(run_id=RUN))
    assert bench.tell(announcement) == []
    bench.wait(STANDARD.match_sequence_s)
    assert bench.others[-1].data["reason"] == "no CM_START_ATTEN_CHAR.IND"
    bench.start(run_id=b"RUN-0002")  # and the vehicle may start over


def test_a_result_is_sent_three_times_without_a_receipt_then_the_run_is_over(bench: EvseBench) -> None:
    bench.start()
    first = bench.sound()
    assert bench.wait(3 * STANDARD.match_response_s) == first * 2
    assert bench.others[-1].data["reason"] == "no CM_ATTEN_CHAR.RSP"
    assert bench.match() == []


def test_receipts_with_an_error_or_another_address(bench: EvseBench) -> None:
    bench.start()
    bench.sound()
    bench.tell(mme.CmAttenCharRsp(source_address=EVSE, run_id=RUN))
    assert not [o for o in bench.others if getattr(o, "name", "") == "run_failed"]
    bench.tell(mme.CmAttenCharRsp(source_address=EV, run_id=RUN, result=1))
    assert bench.others[-1].data["reason"] == "profile_refused"


def test_no_decision_in_ten_seconds_ends_the_run(bench: EvseBench) -> None:
    bench.characterize()
    bench.wait(STANDARD.evse_match_session_s)
    assert bench.others[-1].data["reason"].startswith("no CM_VALIDATE.REQ")
    assert bench.match() == []


def test_a_match_is_confirmed_again_when_asked_again_and_never_to_others(bench: EvseBench) -> None:
    bench.characterize()
    assert bench.match(b"another!") == []
    assert bench.tell(mme.CmSlacMatchReq(pev_mac=EV, evse_mac=EV, run_id=RUN)) == []
    assert bench.tell(mme.CmSlacMatchReq(pev_mac=EV, evse_mac=EVSE, run_id=RUN), source=EVSE_MODEM) == []
    confirmation, status = bench.match()
    assert isinstance(confirmation, mme.CmSlacMatchCnf)
    assert isinstance(status, vendor.VsPlLinkStatusReq)
    assert confirmation.nid == nid_of(confirmation.nmk)
    assert bench.match() == [confirmation]
    bench.tell(vendor.VsPlLinkStatusCnf(link_status=0), source=EVSE_MODEM)
    assert bench.core.state is EvseSlacState.JOINING
    bench.tell(vendor.VsPlLinkStatusCnf(link_status=1, mstatus=1), source=EVSE_MODEM)
    assert bench.core.state is EvseSlacState.JOINING
    bench.tell(vendor.VsPlLinkStatusCnf(link_status=1), source=EVSE_MODEM)
    assert bench.core.state is EvseSlacState.MATCHED
    assert isinstance(bench.others[-1], Matched)
    assert bench.others[-1].attenuation_db == 10
    assert bench.match() == [confirmation]
    assert bench.tell(mme.CmSlacParmReq(run_id=b"RUN-0002")) == []
    assert bench.match(b"RUN-0002") == []


def test_while_joining_only_the_same_vehicle_may_start_over(bench: EvseBench) -> None:
    bench.characterize()
    bench.match()
    assert bench.tell(mme.CmSlacParmReq(run_id=b"x" * 8), source=b"\x02\0\0\0\x02\x09") == []
    bench.start(run_id=b"RUN-0002")
    assert bench.core.state is EvseSlacState.MATCHING


def test_amplitude_maps_are_answered_but_not_empty_ones(bench: EvseBench) -> None:
    assert bench.tell(mme.CmAmpMapReq(amlen=4, amplitudes=bytes(2))) == [mme.CmAmpMapCnf(result=0)]
    assert bench.tell(mme.CmAmpMapReq(amlen=0, amplitudes=b"")) == []


def test_a_silent_vehicle_is_woken_twice_then_given_up_but_still_answered(bench: EvseBench) -> None:
    bench.wait(40.0)
    assert bench.others[-1] == RestartPilot("vehicle_silent")
    bench.wait(47.0)
    bench.wait(47.0)
    assert bench.others[-2:] == [RestartPilot("vehicle_silent"), MatchingFailed("vehicle_silent")]
    assert bench.core.deadline() is None
    bench.characterize()
    assert bench.match()


def test_vehicles_in_parallel_are_bounded_and_a_new_run_replaces_the_old(bench: EvseBench) -> None:
    for number in range(STANDARD.parallel_runs):
        bench.start(source=bytes((2, 0, 0, 0, 3, number)))
    assert bench.tell(mme.CmSlacParmReq(run_id=RUN), source=EV) == []
    bench.start(source=bytes((2, 0, 0, 0, 3, 0)), run_id=b"RUN-0002")


def test_the_adjustment_is_added_within_a_byte() -> None:
    bench = EvseBench(EvseSlacConfig(modem=QUALCOMM, attenuation_adjustment_db=-12))
    bench.start()
    (result,) = bench.sound()
    assert isinstance(result, mme.CmAttenCharInd)
    assert result.aag == bytes(58)


def test_unplugging_after_a_match_takes_a_new_key_and_before_it_does_not(bench: EvseBench) -> None:
    bench.characterize()
    bench.core.disconnect(bench.now)
    assert bench.take() == []
    bench.core.connect(bench.now)
    bench.characterize()
    bench.match()
    bench.core.disconnect(bench.now)
    assert [type(m) for m in bench.take()] == [mme.CmSetKeyReq]
    bench.core.connect(bench.now)
    bench.characterize()
    assert bench.match() == [], "the modem has not taken the new key yet"
    bench.tell(mme.CmSetKeyCnf(result=1), source=EVSE_MODEM)
    assert bench.match()


# -- validation -------------------------------------------------------------------------------------------------


def test_toggles_are_counted_and_reported_at_the_end_of_the_window(bench: EvseBench) -> None:
    bench.characterize()
    assert bench.tell(mme.CmValidateReq()) == [mme.CmValidateCnf(result=mme.VALIDATE_READY)]
    assert bench.tell(mme.CmValidateReq(timer=19)) == []
    bench.toggle(2)
    assert bench.wait(1.1) == [mme.CmValidateCnf(result=mme.VALIDATE_SUCCESS, toggle_num=2)]
    assert bench.match()


def test_ready_is_repeated_then_the_run_ends(bench: EvseBench) -> None:
    bench.characterize()
    ready = bench.tell(mme.CmValidateReq())
    assert bench.wait(3 * STANDARD.match_sequence_s) == ready * 2
    assert bench.others[-1].data["reason"] == "no CM_VALIDATE.REQ, step 2"


def test_a_broken_off_validation_is_not_confirmed(bench: EvseBench) -> None:
    bench.characterize()
    bench.tell(mme.CmValidateReq())
    assert bench.tell(mme.CmValidateReq(timer=5, result=0)) == []
    assert bench.wait(2.0) == []
    assert bench.match() == []


def test_a_second_vehicle_gets_not_ready_while_one_validates(bench: EvseBench) -> None:
    other = bytes((2, 0, 0, 0, 3, 1))
    bench.start(source=other, run_id=b"other-01")
    for _ in range(10):
        result = bench.tell(mme.CmAttenProfileInd(pev_mac=other, aag=FLAT), source=EVSE_MODEM)
    assert len(result) == 1
    bench.tell(mme.CmAttenCharRsp(source_address=other, run_id=b"other-01"), source=other)
    bench.characterize()
    bench.tell(mme.CmValidateReq(), source=other)
    assert bench.tell(mme.CmValidateReq()) == [mme.CmValidateCnf(result=mme.VALIDATE_NOT_READY)]
    assert bench.match(), "it may still choose without"


def test_no_match_after_a_validation_ends_the_run_soon(bench: EvseBench) -> None:
    bench.characterize()
    bench.tell(mme.CmValidateReq())
    bench.tell(mme.CmValidateReq(timer=0, result=1))  # step 1 again: its answer was lost
    bench.tell(mme.CmValidateReq(timer=5))
    bench.wait(0.8 + STANDARD.match_sequence_s)
    assert bench.match() == []


_messages = st.sampled_from(
    [
        mme.CmSlacParmReq(run_id=RUN),
        mme.CmStartAttenCharInd(forwarding_sta=EV, run_id=RUN),
        mme.CmMnbcSoundInd(cnt=1, run_id=RUN, rnd=bytes(16)),
        mme.CmAttenProfileInd(pev_mac=EV, aag=FLAT),
        mme.CmAttenCharRsp(source_address=EV, run_id=RUN),
        mme.CmValidateReq(),
        mme.CmValidateReq(timer=3),
        mme.CmSlacMatchReq(pev_mac=EV, evse_mac=EVSE, run_id=RUN),
        mme.CmSetKeyCnf(result=1),
        vendor.VsPlLinkStatusCnf(link_status=1),
        vendor.VsPlLinkStatusCnf(link_status=0),
        mme.CmSlacParmCnf(forwarding_sta=EVSE, run_id=RUN),
    ]
)


@given(st.lists(_messages | st.floats(0, 15) | st.booleans() | st.binary(max_size=80), max_size=40))
def test_any_message_in_any_state_leaves_it_able_to_match(events) -> None:
    bench = EvseBench()
    for event in events:
        match event:
            case bool():
                (bench.core.connect if event else bench.core.disconnect)(bench.now)
            case float():
                bench.wait(event)
            case bytes():
                bench.core.receive(event, bench.now)
            case _:
                bench.tell(event)
        deadline = bench.core.deadline()
        assert deadline is None or deadline >= bench.now
    bench.core.disconnect(bench.now)
    bench.tell(mme.CmSetKeyCnf(result=1), source=EVSE_MODEM)
    bench.core.connect(bench.now)
    bench.tell(mme.CmSetKeyCnf(result=1), source=EVSE_MODEM)
    bench.take()
    bench.characterize()
    assert bench.match()
