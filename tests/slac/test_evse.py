"""The charger's core, message by message: what it answers, ignores, repeats and gives up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.slac import mme
from v2g.slac.actions import Failed, Matched, RestartPilot, Send
from v2g.slac.evse import EvseSlac, EvseSlacConfig, EvseState
from v2g.slac.mme import MmeFrame
from v2g.slac.pilot import PilotState
from v2g.slac.timing import EVSE_PARALLEL, STANDARD

_EVSE, _MODEM = bytes.fromhex("020000000101"), bytes.fromhex("060000000101")
_PEV, _RUN = bytes.fromhex("020000000201"), b"RUN-0001"
_FLAT = bytes([10]) * 58


class Bench:
    """A charger's core that is spoken to by hand."""

    def __init__(self, config: EvseSlacConfig | None = None) -> None:
        self.now = 0.0
        self.core = EvseSlac(config or EvseSlacConfig(), mac=_EVSE, entropy=lambda size: b"k" * size)
        self.others: list[object] = []
        self.core.prepare(0.0)
        assert isinstance(self.take()[0], mme.CmSetKeyReq)
        self.tell(mme.CmSetKeyCnf(result=1), source=_MODEM)
        self.core.connect(0.0)

    def take(self) -> list[mme.Mme]:
        """Return the messages sent since, and keep the other actions."""
        messages = []
        for action in self.core.actions():
            if isinstance(action, Send):
                messages.append(mme.decode(action.frame).message)
            else:
                self.others.append(action)
        return messages

    def tell(self, message: mme.Mme, *, source: bytes = _PEV, destination: bytes = _EVSE) -> list[mme.Mme]:
        self.core.receive(mme.encode(MmeFrame(destination, source, message)), self.now)
        return self.take()

    def wait(self, seconds: float) -> list[mme.Mme]:
        """Let time pass, timer by timer."""
        end, messages = self.now + seconds, []
        while (deadline := self.core.deadline()) is not None and deadline <= end:
            self.now = deadline
            self.core.tick(deadline)
            messages += self.take()
        self.now = end
        return messages

    def start(self, *, source: bytes = _PEV, run_id: bytes = _RUN) -> None:
        assert self.tell(mme.CmSlacParmReq(run_id=run_id), source=source) == [
            mme.CmSlacParmCnf(forwarding_sta=source, run_id=run_id)
        ]
        self.tell(mme.CmStartAttenCharInd(forwarding_sta=source, run_id=run_id), source=source)

    def sound(self, count: int = 10, aag: bytes = _FLAT) -> list[mme.Mme]:
        messages = []
        for number in range(count):
            messages += self.tell(mme.CmMnbcSoundInd(cnt=9 - number, run_id=_RUN, rnd=bytes(16)))
            messages += self.tell(mme.CmAttenProfileInd(pev_mac=_PEV, aag=aag), source=_MODEM)
        return messages

    def characterize(self) -> None:
        self.start()
        (result,) = self.sound()
        assert result == mme.CmAttenCharInd(source_address=_PEV, run_id=_RUN, num_sounds=10, aag=_FLAT)
        assert self.tell(mme.CmAttenCharRsp(source_address=_PEV, run_id=_RUN)) == []

    def match(self, run_id: bytes = _RUN) -> list[mme.Mme]:
        return self.tell(mme.CmSlacMatchReq(pev_mac=_PEV, evse_mac=_EVSE, run_id=run_id))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_fewer_sounds_are_averaged_when_the_window_ends(bench: Bench) -> None:
    bench.start()
    assert bench.sound(3, bytes([10]) * 58) == []
    assert bench.sound(1, bytes([14]) * 58) == []
    (result,) = bench.wait(STANDARD.sounding_s)
    assert isinstance(result, mme.CmAttenCharInd)
    assert (result.num_sounds, result.aag) == (4, bytes([11]) * 58)


def test_no_profile_at_all_is_told_as_zero_sounds(bench: Bench) -> None:
    bench.start()
    (result,) = bench.wait(STANDARD.sounding_s)
    assert isinstance(result, mme.CmAttenCharInd)
    assert (result.num_sounds, result.aag) == (0, bytes([1]) * 58)


def test_late_profiles_are_waited_for_after_the_last_sound(bench: Bench) -> None:
    bench.start()
    for number in range(10):
        bench.tell(mme.CmMnbcSoundInd(cnt=9 - number, run_id=_RUN, rnd=bytes(16)))
    assert bench.tell(mme.CmAttenProfileInd(pev_mac=_PEV, aag=_FLAT), source=_MODEM) == []
    (result,) = bench.wait(STANDARD.profile_grace_s)
    assert isinstance(result, mme.CmAttenCharInd)
    assert result.num_sounds == 1


def test_repeated_announcements_do_not_move_the_window(bench: Bench) -> None:
    bench.start()
    bench.wait(0.3)
    bench.tell(mme.CmStartAttenCharInd(forwarding_sta=_PEV, run_id=_RUN))
    assert len(bench.wait(0.3)) == 1


@pytest.mark.parametrize(
    "announcement",
    [
        mme.CmStartAttenCharInd(forwarding_sta=_PEV, run_id=_RUN, num_sounds=0),
        mme.CmStartAttenCharInd(forwarding_sta=_PEV, run_id=_RUN, time_out=0),
        mme.CmStartAttenCharInd(forwarding_sta=_EVSE, run_id=_RUN),
        mme.CmStartAttenCharInd(forwarding_sta=_PEV, run_id=_RUN, resp_type=0),
        mme.CmStartAttenCharInd(forwarding_sta=_PEV, run_id=b"another!"),
    ],
)
def test_wrong_announcements_are_ignored_and_the_run_fails_by_silence(bench: Bench, announcement) -> None:
    bench.tell(mme.CmSlacParmReq(run_id=_RUN))
    assert bench.tell(announcement) == []
    bench.wait(STANDARD.match_sequence_s)
    assert bench.others[-1].data["reason"] == "no CM_START_ATTEN_CHAR.IND"
    bench.start(run_id=b"RUN-0002")  # and the vehicle may start over


def test_a_result_is_sent_three_times_without_a_receipt_then_the_run_is_over(bench: Bench) -> None:
    bench.start()
    first = bench.sound()
    assert bench.wait(3 * STANDARD.match_response_s) == first * 2
    assert bench.others[-1].data["reason"] == "no CM_ATTEN_CHAR.RSP"
    assert bench.match() == []


def test_receipts_with_an_error_or_another_address(bench: Bench) -> None:
    bench.start()
    bench.sound()
    bench.tell(mme.CmAttenCharRsp(source_address=_EVSE, run_id=_RUN))
    assert not [o for o in bench.others if getattr(o, "name", "") == "run_failed"]
    bench.tell(mme.CmAttenCharRsp(source_address=_PEV, run_id=_RUN, result=1))
    assert bench.others[-1].data["reason"] == "profile_refused"


def test_no_decision_in_ten_seconds_ends_the_run(bench: Bench) -> None:
    bench.characterize()
    bench.wait(STANDARD.evse_match_session_s)
    assert bench.others[-1].data["reason"].startswith("no CM_VALIDATE.REQ")
    assert bench.match() == []


def test_a_match_is_confirmed_again_when_asked_again_and_never_to_others(bench: Bench) -> None:
    bench.characterize()
    assert bench.match(b"another!") == []
    assert bench.tell(mme.CmSlacMatchReq(pev_mac=_PEV, evse_mac=_PEV, run_id=_RUN)) == []
    assert bench.tell(mme.CmSlacMatchReq(pev_mac=_PEV, evse_mac=_EVSE, run_id=_RUN), source=_MODEM) == []
    confirmation, status = bench.match()
    assert isinstance(confirmation, mme.CmSlacMatchCnf)
    assert isinstance(status, mme.VsPlLinkStatusReq)
    assert confirmation.nmk == b"k" * 16
    assert bench.match() == [confirmation]
    bench.tell(mme.VsPlLinkStatusCnf(link_status=0), source=_MODEM)
    assert bench.core.state is EvseState.JOINING
    bench.tell(mme.VsPlLinkStatusCnf(link_status=1, mstatus=1), source=_MODEM)
    assert bench.core.state is EvseState.JOINING
    bench.tell(mme.VsPlLinkStatusCnf(link_status=1), source=_MODEM)
    assert bench.core.state is EvseState.MATCHED
    assert isinstance(bench.others[-1], Matched)
    assert bench.others[-1].attenuation_db == 10
    assert bench.match() == [confirmation]
    assert bench.tell(mme.CmSlacParmReq(run_id=b"RUN-0002")) == []
    assert bench.match(b"RUN-0002") == []


def test_while_joining_only_the_same_vehicle_may_start_over(bench: Bench) -> None:
    bench.characterize()
    bench.match()
    assert bench.tell(mme.CmSlacParmReq(run_id=b"x" * 8), source=b"\x02\0\0\0\x02\x09") == []
    bench.start(run_id=b"RUN-0002")
    assert bench.core.state is EvseState.MATCHING


def test_amplitude_maps_are_answered_but_not_empty_ones(bench: Bench) -> None:
    assert bench.tell(mme.CmAmpMapReq(amlen=4, amplitudes=bytes(2))) == [mme.CmAmpMapCnf(result=0)]
    assert bench.tell(mme.CmAmpMapReq(amlen=0, amplitudes=b"")) == []


def test_a_silent_vehicle_is_woken_twice_then_given_up_but_still_heard(bench: Bench) -> None:
    bench.wait(40.0)
    assert bench.others[-1] == RestartPilot("vehicle_silent")
    bench.wait(44.0)
    bench.wait(44.0)
    assert bench.others[-2:] == [RestartPilot("vehicle_silent"), Failed("vehicle_silent")]
    assert bench.core.deadline() is None
    bench.characterize()
    assert bench.match()


def test_vehicles_in_parallel_are_bounded_and_a_new_run_replaces_the_old(bench: Bench) -> None:
    for number in range(EVSE_PARALLEL):
        bench.start(source=bytes((2, 0, 0, 0, 3, number)))
    assert bench.tell(mme.CmSlacParmReq(run_id=_RUN), source=_PEV) == []
    bench.start(source=bytes((2, 0, 0, 0, 3, 0)), run_id=b"RUN-0002")


def test_the_adjustment_is_added_within_a_byte() -> None:
    bench = Bench(EvseSlacConfig(attenuation_adjustment_db=-12))
    bench.start()
    (result,) = bench.sound()
    assert isinstance(result, mme.CmAttenCharInd)
    assert result.aag == bytes(58)


def test_unplugging_after_a_match_takes_a_new_key_and_before_it_does_not(bench: Bench) -> None:
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
    bench.tell(mme.CmSetKeyCnf(result=0), source=_MODEM)
    assert bench.match()


# -- validation -------------------------------------------------------------------------------------------------


def _toggle(bench: Bench, count: int) -> None:
    bench.core.pilot(PilotState.B, bench.now)
    for _ in range(count):
        for state in (PilotState.C, PilotState.B):
            bench.now += 0.3
            bench.core.pilot(state, bench.now)


def test_toggles_are_counted_and_told_at_the_end_of_the_window(bench: Bench) -> None:
    bench.characterize()
    assert bench.tell(mme.CmValidateReq()) == [mme.CmValidateCnf(result=mme.VALIDATE_READY)]
    assert bench.tell(mme.CmValidateReq(timer=19)) == []
    _toggle(bench, 2)
    assert bench.wait(1.1) == [mme.CmValidateCnf(result=mme.VALIDATE_SUCCESS, toggle_num=2)]
    assert bench.match()


def test_ready_is_repeated_then_the_run_ends(bench: Bench) -> None:
    bench.characterize()
    ready = bench.tell(mme.CmValidateReq())
    assert bench.wait(3 * STANDARD.match_sequence_s) == ready * 2
    assert bench.others[-1].data["reason"] == "no CM_VALIDATE.REQ, step 2"


def test_a_broken_off_validation_is_not_confirmed(bench: Bench) -> None:
    bench.characterize()
    bench.tell(mme.CmValidateReq())
    assert bench.tell(mme.CmValidateReq(timer=5, result=0)) == []
    assert bench.wait(2.0) == []
    assert bench.match() == []


def test_a_second_vehicle_hears_not_ready_while_one_validates(bench: Bench) -> None:
    other = bytes((2, 0, 0, 0, 3, 1))
    bench.start(source=other, run_id=b"other-01")
    for _ in range(10):
        result = bench.tell(mme.CmAttenProfileInd(pev_mac=other, aag=_FLAT), source=_MODEM)
    assert len(result) == 1
    bench.tell(mme.CmAttenCharRsp(source_address=other, run_id=b"other-01"), source=other)
    bench.characterize()
    bench.tell(mme.CmValidateReq(), source=other)
    assert bench.tell(mme.CmValidateReq()) == [mme.CmValidateCnf(result=mme.VALIDATE_NOT_READY)]
    assert bench.match(), "it may still choose without"


def test_no_match_after_a_validation_ends_the_run_soon(bench: Bench) -> None:
    bench.characterize()
    bench.tell(mme.CmValidateReq())
    bench.tell(mme.CmValidateReq(timer=0, result=1))  # step 1 again: its answer was lost
    bench.tell(mme.CmValidateReq(timer=5))
    bench.wait(0.8 + STANDARD.match_sequence_s)
    assert bench.match() == []


_messages = st.sampled_from(
    [
        mme.CmSlacParmReq(run_id=_RUN),
        mme.CmStartAttenCharInd(forwarding_sta=_PEV, run_id=_RUN),
        mme.CmMnbcSoundInd(cnt=1, run_id=_RUN, rnd=bytes(16)),
        mme.CmAttenProfileInd(pev_mac=_PEV, aag=_FLAT),
        mme.CmAttenCharRsp(source_address=_PEV, run_id=_RUN),
        mme.CmValidateReq(),
        mme.CmValidateReq(timer=3),
        mme.CmSlacMatchReq(pev_mac=_PEV, evse_mac=_EVSE, run_id=_RUN),
        mme.CmSetKeyCnf(result=1),
        mme.VsPlLinkStatusCnf(link_status=1),
        mme.VsPlLinkStatusCnf(link_status=0),
        mme.CmSlacParmCnf(forwarding_sta=_EVSE, run_id=_RUN),
    ]
)


@given(st.lists(_messages | st.floats(0, 15) | st.booleans() | st.binary(max_size=80), max_size=40))
def test_any_message_in_any_state_leaves_it_able_to_match(events) -> None:
    bench = Bench()
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
    bench.tell(mme.CmSetKeyCnf(result=1), source=_MODEM)
    bench.core.connect(bench.now)
    bench.tell(mme.CmSetKeyCnf(result=1), source=_MODEM)
    bench.take()
    bench.characterize()
    assert bench.match()
