"""The vehicle's core, message by message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.slac import mme
from v2g.slac.actions import Failed, Matched, Send
from v2g.slac.ev import EvSlac, EvSlacConfig, EvState
from v2g.slac.mme import MmeFrame
from v2g.slac.timing import EV_CANDIDATES, STANDARD

_EV, _EVSE, _MODEM = bytes.fromhex("020000000201"), bytes.fromhex("020000000101"), bytes.fromhex("060000000201")
_FLAT = bytes([10]) * 58


class Bench:
    """A vehicle's core that is spoken to by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        draws = iter(range(10**6))
        self.core = EvSlac(EvSlacConfig(), mac=_EV, entropy=lambda size: next(draws).to_bytes(size, "big"))
        self.others: list[object] = []
        self.run_id = b""
        self.core.start(0.0)
        assert [type(m) for m in self.take()] == [mme.CmSlacParmReq]

    def take(self) -> list[mme.Mme]:
        messages = []
        for action in self.core.actions():
            if isinstance(action, Send):
                messages.append(mme.decode(action.frame).message)
            else:
                self.others.append(action)
        for message in messages:
            if isinstance(message, mme.CmSlacParmReq):
                self.run_id = message.run_id
        return messages

    def tell(self, message: mme.Mme, *, source: bytes = _EVSE, destination: bytes = _EV) -> list[mme.Mme]:
        self.core.receive(mme.encode(MmeFrame(destination, source, message)), self.now)
        return self.take()

    def wait(self, seconds: float) -> list[mme.Mme]:
        end, messages = self.now + seconds, []
        while (deadline := self.core.deadline()) is not None and deadline <= end:
            self.now = deadline
            self.core.tick(deadline)
            messages += self.take()
        self.now = end
        return messages

    def parameters(self, source: bytes = _EVSE) -> list[mme.Mme]:
        return self.tell(mme.CmSlacParmCnf(forwarding_sta=_EV, run_id=self.run_id), source=source)

    def result(self, source: bytes = _EVSE, *, db: int = 10, sounds: int = 10) -> list[mme.Mme]:
        ind = mme.CmAttenCharInd(source_address=_EV, run_id=self.run_id, num_sounds=sounds, aag=bytes([db]) * 58)
        return self.tell(ind, source=source)

    def confirm(self, **changes: object) -> list[mme.Mme]:
        fields: dict[str, object] = {
            "pev_mac": _EV, "evse_mac": _EVSE, "run_id": self.run_id, "nid": b"network", "nmk": bytes(16)
        }  # fmt: skip
        return self.tell(mme.CmSlacMatchCnf(**(fields | changes)))  # type: ignore[arg-type]

    def choose(self) -> None:
        self.parameters()
        self.wait(0.5)
        receipt, request = self.result()
        assert receipt == mme.CmAttenCharRsp(source_address=_EV, run_id=self.run_id)
        assert request == mme.CmSlacMatchReq(pev_mac=_EV, evse_mac=_EVSE, run_id=self.run_id)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_requests_are_repeated_with_the_same_run_then_with_a_new_one(bench: Bench) -> None:
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
        {"forwarding_sta": _EVSE},
        {"num_sounds": 9},
        {"time_out": 10},
        {"resp_type": 0},
        {"m_sound_target": _EV},
    ],
)
def test_answers_with_a_wrong_fixed_field_are_ignored(bench: Bench, changes) -> None:
    fields = {"forwarding_sta": _EV, "run_id": bench.run_id} | changes
    assert bench.tell(mme.CmSlacParmCnf(**fields)) == []
    assert bench.core.state is EvState.ASKING
    assert bench.parameters() != []


def test_a_second_charger_is_waited_for_until_the_results_are_due(bench: Bench) -> None:
    other = b"\x02\0\0\0\x01\x02"
    bench.parameters()
    bench.parameters(other)
    bench.wait(0.5)
    assert len(bench.result()) == 1, "a receipt, no decision"
    messages = bench.wait(0.7)
    assert [type(m) for m in messages] == [mme.CmSlacMatchReq]


def test_results_of_no_sounds_other_runs_or_other_vehicles_are_ignored(bench: Bench) -> None:
    bench.parameters()
    bench.wait(0.5)
    assert bench.result(sounds=0) == []
    wrong_run = mme.CmAttenCharInd(source_address=_EV, run_id=b"another!", num_sounds=10, aag=_FLAT)
    wrong_vehicle = mme.CmAttenCharInd(source_address=_EVSE, run_id=bench.run_id, num_sounds=10, aag=_FLAT)
    assert bench.tell(wrong_run) == bench.tell(wrong_vehicle) == []
    assert bench.wait(0.7) == []
    assert bench.others[-1].data["reason"] == "no_attenuation_result"


def test_a_repeated_result_gets_its_receipt_also_after_the_decision(bench: Bench) -> None:
    bench.choose()
    assert bench.result() == [mme.CmAttenCharRsp(source_address=_EV, run_id=bench.run_id)]


def test_match_requests_are_repeated_twice(bench: Bench) -> None:
    bench.choose()
    assert len(bench.wait(0.5)) == 2
    bench.wait(0.1)
    assert bench.others[-1].data["reason"] == "no_match_confirmation"


@pytest.mark.parametrize("changes", [{"run_id": b"another!"}, {"evse_mac": _EV}, {"pev_mac": _EVSE}])
def test_confirmations_for_others_are_ignored(bench: Bench, changes) -> None:
    bench.choose()
    assert bench.confirm(**changes) == []
    assert bench.core.state is EvState.CHOOSING


def test_the_key_goes_to_the_modem_and_the_link_is_asked_for_until_it_is_up(bench: Bench) -> None:
    bench.choose()
    assert bench.confirm() == [mme.CmSetKeyReq(nid=b"network", nmk=bytes(16))]
    assert len(bench.wait(1.0)) == 1, "asked again: the modem has not answered"
    assert bench.tell(mme.CmSetKeyCnf(result=0), source=_MODEM) == [mme.VsPlLinkStatusReq()]
    assert bench.tell(mme.VsPlLinkStatusCnf(link_status=0), source=_MODEM) == []
    assert bench.wait(0.15) == [mme.VsPlLinkStatusReq()]
    bench.tell(mme.VsPlLinkStatusCnf(link_status=1), source=_MODEM)
    assert isinstance(bench.others[-1], Matched)
    assert bench.wait(STANDARD.matched_poll_s) == [mme.VsPlLinkStatusReq()]
    bench.core.leave(bench.now)
    (key,) = bench.take()
    assert isinstance(key, mme.CmSetKeyReq)
    assert key.nid != b"network"


def test_no_link_in_twelve_seconds_fails_and_leaves_the_network(bench: Bench) -> None:
    bench.choose()
    bench.confirm()
    bench.tell(mme.CmSetKeyCnf(result=1), source=_MODEM)
    messages = bench.wait(STANDARD.match_join_s)
    assert bench.others[-1] == Failed("no_link")
    assert isinstance(messages[-1], mme.CmSetKeyReq)


def test_strangers_cannot_fill_the_memory(bench: Bench) -> None:
    bench.parameters()
    for number in range(100):
        source = b"\x02\0\0\0\x05" + bytes((number,))
        bench.parameters(source)
        bench.result(source)
    assert len(bench.core._answered) == len(bench.core._attenuation) == EV_CANDIDATES


_kinds = st.sampled_from(["parameters", "result", "confirm", "key", "up", "down", "start", "leave"])


@given(st.lists(_kinds | st.floats(0, 13) | st.binary(max_size=80), max_size=40))
def test_any_message_in_any_state_leaves_it_able_to_match(events) -> None:
    bench = Bench()
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
                mme.CmSetKeyCnf(result=1) if event == "key" else mme.VsPlLinkStatusCnf(link_status=int(event == "up"))
            )
            bench.tell(message, source=_MODEM)
        deadline = bench.core.deadline()
        assert deadline is None or deadline >= bench.now
    bench.core.leave(bench.now)
    bench.wait(10)
    bench.core.start(bench.now)
    bench.take()
    bench.choose()
    assert bench.confirm()
