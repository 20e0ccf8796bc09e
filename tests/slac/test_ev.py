"""The vehicle's core, message by message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.memory import held
from tests.slac.benches import EV, EV_MODEM, EVSE, FLAT, EvBench
from v2g.slac import mme, vendor
from v2g.slac.ev import EvState
from v2g.slac.shared import EV_CANDIDATES, STANDARD, Matched, MatchingFailed


@pytest.fixture
def bench() -> EvBench:
    return EvBench()


def test_requests_are_repeated_with_the_same_run_then_with_a_new_one(bench: EvBench) -> None:
    first = bench.run_id
    repeats = bench.wait(0.5)
    assert repeats == [mme.CmSlacParmReq(run_id=first)] * 2
    again = bench.wait(0.6)
    assert again == [mme.CmSlacParmReq(run_id=bench.run_id)]
    assert bench.run_id != first


@pytest.mark.parametrize(
    "changes",
    [
        {"run_id": b"another!"},
        {"forwarding_sta": EVSE},
        {"num_sounds": 9},
        {"time_out": 10},
        {"resp_type": 0},
        {"m_sound_target": EV},
    ],
)
def test_answers_with_a_wrong_fixed_field_are_ignored(bench: EvBench, changes) -> None:
    fields = {"forwarding_sta": EV, "run_id": bench.run_id} | changes
    assert bench.tell(mme.CmSlacParmCnf(**fields)) == []
    assert bench.core.state is EvState.ASKING
    assert bench.parameters() != []


def test_a_second_charger_is_waited_for_until_the_results_are_due(bench: EvBench) -> None:
    other = b"\x02\0\0\0\x01\x02"
    bench.parameters()
    bench.parameters(other)
    bench.wait(0.5)
    assert len(bench.result()) == 1, "a receipt, no decision"
    messages = bench.wait(0.7)
    assert [type(m) for m in messages] == [mme.CmSlacMatchReq]


def test_results_of_no_sounds_other_runs_or_other_vehicles_are_ignored(bench: EvBench) -> None:
    bench.parameters()
    bench.wait(0.5)
    assert bench.result(sounds=0) == []
    wrong_run = mme.CmAttenCharInd(source_address=EV, run_id=b"another!", num_sounds=10, aag=FLAT)
    wrong_vehicle = mme.CmAttenCharInd(source_address=EVSE, run_id=bench.run_id, num_sounds=10, aag=FLAT)
    assert bench.tell(wrong_run) == bench.tell(wrong_vehicle) == []
    assert bench.wait(0.7) == []
    assert bench.others[-1].data["reason"] == "no_attenuation_result"


def test_a_repeated_result_gets_its_receipt_also_after_the_decision(bench: EvBench) -> None:
    bench.choose()
    assert bench.result() == [mme.CmAttenCharRsp(source_address=EV, run_id=bench.run_id)]


def test_match_requests_are_repeated_twice(bench: EvBench) -> None:
    bench.choose()
    assert len(bench.wait(0.5)) == 2
    bench.wait(0.1)
    assert bench.others[-1].data["reason"] == "no_match_confirmation"


@pytest.mark.parametrize("changes", [{"run_id": b"another!"}, {"evse_mac": EV}, {"pev_mac": EVSE}])
def test_confirmations_for_others_are_ignored(bench: EvBench, changes) -> None:
    bench.choose()
    assert bench.confirm(**changes) == []
    assert bench.core.state is EvState.CHOOSING


def test_the_key_goes_to_the_modem_and_the_link_is_asked_for_until_it_is_up(bench: EvBench) -> None:
    bench.choose()
    assert bench.confirm() == [mme.CmSetKeyReq(nid=b"network", nmk=bytes(16))]
    assert len(bench.wait(1.0)) == 1, "asked again: the modem has not answered"
    assert bench.tell(mme.CmSetKeyCnf(result=0), source=EV_MODEM) == [vendor.VsPlLinkStatusReq()]
    assert bench.tell(vendor.VsPlLinkStatusCnf(link_status=0), source=EV_MODEM) == []
    assert set(map(repr, bench.wait(0.15))) == {repr(vendor.VsPlLinkStatusReq())}
    bench.tell(vendor.VsPlLinkStatusCnf(link_status=1), source=EV_MODEM)
    assert isinstance(bench.others[-1], Matched)
    assert bench.wait(STANDARD.matched_poll_s) == [vendor.VsPlLinkStatusReq()]
    bench.core.leave(bench.now)
    (key,) = bench.take()
    assert isinstance(key, mme.CmSetKeyReq)
    assert key.nid != b"network"


def test_no_link_in_twelve_seconds_fails_and_leaves_the_network(bench: EvBench) -> None:
    bench.choose()
    bench.confirm()
    bench.tell(mme.CmSetKeyCnf(result=1), source=EV_MODEM)
    messages = bench.wait(STANDARD.match_join_s)
    assert bench.others[-1] == MatchingFailed("no_link")
    assert isinstance(messages[-1], mme.CmSetKeyReq)


def test_strangers_cannot_fill_the_memory(bench: EvBench) -> None:
    bench.parameters()

    def grow(numbers: range) -> int:
        for number in numbers:
            source = b"\x02\0\0\0\x05" + bytes((number,))
            bench.parameters(source)
            bench.result(source)
        bench.take()
        return held(bench.core)

    at_most = grow(range(EV_CANDIDATES))
    assert grow(range(EV_CANDIDATES, 100)) <= at_most


_kinds = st.sampled_from(["parameters", "result", "confirm", "key", "up", "down", "start", "leave"])


@given(st.lists(_kinds | st.floats(0, 13) | st.binary(max_size=80), max_size=40))
def test_any_message_in_any_state_leaves_it_able_to_match(events) -> None:
    bench = EvBench()
    for event in events:
        if isinstance(event, float):
            bench.wait(event)
        elif isinstance(event, bytes):
            bench.core.receive(event, bench.now)
        elif event in ("start", "leave"):
            getattr(bench.core, event)(bench.now)
            bench.take()
        elif event in ("parameters", "result", "confirm"):
            getattr(bench, event)()
        else:
            message = (
                mme.CmSetKeyCnf(result=1)
                if event == "key"
                else vendor.VsPlLinkStatusCnf(link_status=int(event == "up"))
            )
            bench.tell(message, source=EV_MODEM)
        deadline = bench.core.deadline()
        assert deadline is None or deadline >= bench.now
    bench.core.leave(bench.now)
    bench.wait(10)
    bench.core.start(bench.now)
    bench.take()
    bench.choose()
    assert bench.confirm()
