"""The remote procedure calls of OCPP-J: what is answered to what, and that nothing a peer sends breaks them."""

import functools
import itertools
import json
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.together import together
from v2g.errors import OcppError, RefusedError, TimeoutExpired, TransportError
from v2g.observe import Observe
from v2g.ocpp.messages.availability import HeartbeatRequest, HeartbeatResponse, StatusNotificationRequest
from v2g.ocpp.messages.data_transfer import DataTransferRequest
from v2g.ocpp.messages.monitoring import NotifyPeriodicEventStream, StreamDataElement
from v2g.ocpp.messages.provisioning import ResetRequest, ResetResponse
from v2g.ocpp.messages.smart_charging import AFRRSignalRequest
from v2g.ocpp.routes import Version
from v2g.ocpp.rpc import MAX_FRAME, MAX_WAITING, Action, Answered, Called, Failed, RpcPeer, Send, SendReceived
from v2g.ocpp.versions import without_nul

HANDLES = ("Reset", "GetVariables", "DataTransfer", "SetChargingProfile")

CALLERROR = {
    "type": "array",
    "minItems": 5,
    "maxItems": 5,
    "prefixItems": [
        {"enum": [4, 5]},
        {"type": "string", "maxLength": 36, "minLength": 1},
        {
            "enum": [
                "FormatViolation",
                "GenericError",
                "InternalError",
                "MessageTypeNotSupported",
                "NotImplemented",
                "NotSupported",
                "OccurrenceConstraintViolation",
                "PropertyConstraintViolation",
                "ProtocolError",
                "RpcFrameworkError",
                "SecurityError",
                "TypeConstraintViolation",
            ]
        },
        {"type": "string", "maxLength": 255},
        {"type": "object"},
    ],
}


def peer(version: Version = "2.0.1") -> RpcPeer:
    """Return a peer whose message ids count up."""
    numbers = itertools.count(1)
    return RpcPeer(version, handles=HANDLES, entropy=lambda n: next(numbers).to_bytes(n, "big"), timeout=30)


def acts(rpc: RpcPeer) -> list[Action]:
    """Return the actions that are not observations."""
    return [action for action in rpc.actions() if not isinstance(action, Observe)]


def sent(rpc: RpcPeer) -> list[Any]:
    """Return the frames to be sent, decoded."""
    return [json.loads(action.text) for action in acts(rpc) if isinstance(action, Send)]


def call(action: str, payload: object, identifier: object = "id1") -> str:
    """Return a CALL."""
    return json.dumps([2, identifier, action, payload])


@together(
    ("frame", "identifier", "code"),
    [
        ("", "-1", "RpcFrameworkError"),
        ("hello", "-1", "RpcFrameworkError"),
        ("[", "-1", "RpcFrameworkError"),
        ("{}", "-1", "RpcFrameworkError"),
        ("[]", "-1", "RpcFrameworkError"),
        ('"[]"', "-1", "RpcFrameworkError"),
        ("[" * 3000, "-1", "RpcFrameworkError"),
        ('["2","a","Reset",{}]', "-1", "RpcFrameworkError"),
        ("[2]", "-1", "RpcFrameworkError"),
        ('[2,17,"Reset",{"type":"Immediate"}]', "-1", "RpcFrameworkError"),
        ('[2,"","Reset",{"type":"Immediate"}]', "-1", "RpcFrameworkError"),
        (call("Reset", {"type": "Immediate"}, "x" * 37), "-1", "RpcFrameworkError"),
        ('[2,"id1"]', "id1", "RpcFrameworkError"),
        ('[2,"id1","Reset"]', "id1", "RpcFrameworkError"),
        ('[2,"id1","Reset",{"type":"Immediate"},1]', "id1", "RpcFrameworkError"),
        ('[2,"id1",5,{}]', "id1", "RpcFrameworkError"),
        (call("Fly", {}), "id1", "NotImplemented"),
        (call("reset", {"type": "Immediate"}), "id1", "NotImplemented"),
        (call("SetDERControl", {}), "id1", "NotImplemented"),
        (call("Authorize", {}), "id1", "NotSupported"),
        (call("ReserveNow", {}), "id1", "NotSupported"),
        (call("Reset", []), "id1", "FormatViolation"),
        (call("Reset", None), "id1", "FormatViolation"),
        (call("Reset", "x"), "id1", "FormatViolation"),
        (call("Reset", {"type": "Immediate", "when": "now"}), "id1", "FormatViolation"),
        (call("Reset", {}), "id1", "OccurrenceConstraintViolation"),
        (call("GetVariables", {"getVariableData": []}), "id1", "OccurrenceConstraintViolation"),
        (call("Reset", {"type": 1}), "id1", "TypeConstraintViolation"),
        (call("Reset", {"type": None}), "id1", "TypeConstraintViolation"),
        (call("Reset", {"type": "Immediate", "evseId": None}), "id1", "TypeConstraintViolation"),
        (call("Reset", {"type": "Immediate", "evseId": "1"}), "id1", "TypeConstraintViolation"),
        (call("Reset", {"type": "Gently"}), "id1", "PropertyConstraintViolation"),
        (call("Reset", {"type": "Immediate", "evseId": -1}), "id1", "PropertyConstraintViolation"),
        ('[2,"id1","Reset",{"type":"Immediate","evseId":1e999}]', "id1", "PropertyConstraintViolation"),
        (call("Reset", {"type": "ImmediateAndResume"}), "id1", "PropertyConstraintViolation"),
        (call("DataTransfer", {"vendorId": "x" * 256}), "id1", "PropertyConstraintViolation"),
        ('[9,"id1","Reset",{}]', "id1", "MessageTypeNotSupported"),
        ('[6,"id1","NotifyPeriodicEventStream",{}]', "id1", "MessageTypeNotSupported"),
        ("[9]", "-1", "MessageTypeNotSupported"),
        (call("DataTransfer", {"vendorId": "a", "data": "x" * MAX_FRAME}), "id1", "RpcFrameworkError"),
        ("x" * (MAX_FRAME + 1), "-1", "RpcFrameworkError"),
    ],
)
def test_a_wrong_frame_is_answered_with_the_right_code(frame: str, identifier: str, code: str) -> None:
    rpc = peer()
    rpc.receive(frame, 0.0)
    (answer,) = sent(rpc)
    jsonschema.validate(answer, CALLERROR)
    assert (answer[1], answer[2]) == (identifier, code)
    rpc.receive(call("Reset", {"type": "Immediate"}, "next"), 1.0)
    assert isinstance(acts(rpc)[0], Called), "the connection works on"


def test_the_end_of_a_long_session_of_1_6_is_read_with_all_its_values() -> None:
    """10 hours, eight values a minute in `transactionData`: else its station repeats it, and the session runs on."""
    samples = [
        {"value": "16.0", "context": "Sample.Periodic", "measurand": "Current.Import", "phase": f"L{n}", "unit": "A"}
        for n in (1, 2, 3, 1, 2, 3, 1, 2)
    ]
    data = [{"timestamp": "2027-01-15T08:00:00Z", "sampledValue": samples}] * 600
    ends = {"transactionId": 7, "meterStop": 5, "timestamp": "2027-01-15T18:00:00Z", "transactionData": data}
    rpc = RpcPeer("1.6", handles={"StopTransaction"}, entropy=bytes, timeout=30)
    rpc.receive(call("StopTransaction", ends), 0.0)
    (called,) = acts(rpc)
    assert isinstance(called, Called)


@pytest.mark.parametrize(
    "frame",
    [
        '[2,"id1","Reset",{"type":"Immediate","evseId":1.0}]',
        '[2.0,"id1","Reset",{"type":"Immediate","evseId":10e-1}]',
        '[2E0,"id1","Reset",{"type":"Immediate","evseId":1}]',
    ],
)
def test_a_number_without_a_fraction_is_an_integer(frame: str) -> None:
    rpc = peer()
    rpc.receive(frame, 0.0)
    (called,) = acts(rpc)
    assert called == Called("id1", "Reset", ResetRequest(type="Immediate", evse_id=1))


@pytest.mark.parametrize(
    "frame",
    ['[9,"a"]', '[6,"a","NotifyPeriodicEventStream",{}]', '[5,"a","InternalError","",{}]', '[3,"late",{}]', '[4,"-1"]'],
)
def test_in_21_other_message_types_and_late_answers_are_ignored(frame: str) -> None:
    rpc = peer("2.1")
    rpc.receive(frame, 0.0)
    assert acts(rpc) == []


STREAM = NotifyPeriodicEventStream(
    id=3, pending=0, basetime="2026-01-31T23:59:59Z", data=(StreamDataElement(t=0.5, v="230.1"),)
)


def test_what_is_sent_without_an_answer_arrives_and_is_not_answered() -> None:
    sender = peer("2.1")
    sender.notify(STREAM)
    (frame,) = sent(sender)
    assert frame[0] == 6
    assert frame[2] == "NotifyPeriodicEventStream"
    receiver = RpcPeer("2.1", handles=["NotifyPeriodicEventStream"], entropy=bytes)
    receiver.receive(json.dumps(frame), 0)
    assert acts(receiver) == [SendReceived("NotifyPeriodicEventStream", STREAM)]


@pytest.mark.parametrize(
    "frame",
    [[6], [6, "a", "Reset", {"type": "Immediate"}], [6, "a", "NotifyPeriodicEventStream", {}], [6, 1, 2, 3], [6, "a"]],
)
def test_a_wrong_send_is_not_answered_either(frame: list[Any]) -> None:
    receiver = RpcPeer("2.1", handles=["NotifyPeriodicEventStream", "Reset"], entropy=bytes)
    receiver.receive(json.dumps(frame), 0)
    assert [action.name for action in receiver.actions() if isinstance(action, Observe)] == ["send_ignored"]


def test_only_what_has_no_answer_is_sent_so_and_only_in_21() -> None:
    with pytest.raises(OcppError):
        peer("2.0.1").notify(STREAM)
    with pytest.raises(OcppError):
        peer("2.1").notify(HeartbeatRequest())
    receiver = RpcPeer("2.1", handles=["NotifyPeriodicEventStream"], entropy=bytes)
    receiver.receive(call("NotifyPeriodicEventStream", {}), 0)
    assert sent(receiver)[0][:3] == [4, "id1", "NotSupported"]


def test_a_frame_that_is_refused_is_reported_with_its_action_and_id() -> None:
    rpc = peer()
    rpc.receive(call("Reset", {"type": "Gently"}), 0.0)
    (observed,) = [each for each in rpc.actions() if isinstance(each, Observe) and each.name == "frame_refused"]
    assert (observed.data["action"], observed.data["id"], observed.data["code"]) == (
        "Reset",
        "id1",
        "PropertyConstraintViolation",
    )


def test_in_21_an_answer_that_the_peer_cannot_use_is_reported_with_its_action() -> None:
    rpc = peer("2.1")
    rpc.receive(call("Reset", {"type": "Immediate"}, "mine"), 0.0)
    rpc.answer("mine", ResetResponse(status="Accepted"))
    rpc.actions()
    rpc.receive('[5,"mine","FormatViolation","no such status",{}]', 1.0)
    (observed,) = rpc.actions()
    assert isinstance(observed, Observe)
    assert observed.data == {"action": "Reset", "code": "FormatViolation", "reason": "no such status"}
    rpc.receive("[5]", 2.0)
    (observed,) = rpc.actions()
    assert isinstance(observed, Observe)
    assert observed.data["action"] == ""


def test_a_request_is_handed_over_and_its_answer_sent() -> None:
    rpc = peer()
    rpc.receive(call("Reset", {"type": "OnIdle", "evseId": 1}), 0.0)
    assert acts(rpc) == [Called("id1", "Reset", ResetRequest(type="OnIdle", evse_id=1))]
    rpc.answer("id1", ResetResponse(status="Scheduled"))
    assert sent(rpc) == [[3, "id1", {"status": "Scheduled"}]]
    rpc.answer("id1", ResetResponse(status="Scheduled"))
    assert sent(rpc) == [], "a request is answered once"


@together(
    "frame",
    [
        '[2,"id1","DataTransfer",{"vendorId":"a","data":"x"}]',
        ' [ 2 ,\n"id1" , "DataTransfer" , { "vendorId" : "a" , "data" : "x" } ] ',
        f'[2,{" " * 200}"id1","DataTransfer",{{"vendorId":"a","data":"x"}}]',
        '[2,"\\u0069d1","DataTransfer",{"vendorId":"a","data":"x"}]',
        '[2,"id1","\\u0044ataTransfer",{"data":"x","vendorId":"a"}]',
        '[2,"id1","DataTransfer",{"vendorId":"a\\u0000","data":"x"}]',
    ],
)
def test_a_request_is_the_same_however_it_is_written(frame: str) -> None:
    rpc = peer()
    rpc.receive(frame, 0.0)
    assert acts(rpc) == [Called("id1", "DataTransfer", DataTransferRequest(vendor_id="a", data="x"))]
    for identifier in ('a\\"', '\\"DataTransfer\\"', "a,b", "\\\\"):  # ids in which an action seems to begin
        rpc = peer()
        rpc.receive(frame.replace('"id1"', f'"{identifier}"').replace('"\\u0069d1"', f'"{identifier}"'), 0.0)
        (called,) = acts(rpc)
        assert isinstance(called, Called)
        assert called.id == json.loads(f'"{identifier}"')


def test_an_answer_may_be_an_error() -> None:
    rpc = peer()
    rpc.receive(call("Reset", {"type": "OnIdle"}), 0.0)
    acts(rpc)
    rpc.answer("id1", OcppError("no such thing", answer="NotSupported"))
    assert sent(rpc) == [[4, "id1", "NotSupported", "no such thing", {}]]


def test_an_answer_that_breaks_its_schema_becomes_an_internal_error() -> None:
    rpc = peer()
    rpc.receive(call("Reset", {"type": "OnIdle"}), 0.0)
    acts(rpc)
    rpc.answer("id1", ResetResponse(status="Perhaps"))  # type: ignore[arg-type]
    assert sent(rpc)[0][:3] == [4, "id1", "InternalError"]


def test_an_id_that_is_in_work_is_not_taken_twice() -> None:
    rpc = peer()
    rpc.receive(call("Reset", {"type": "OnIdle"}), 0.0)
    rpc.receive(call("Reset", {"type": "OnIdle"}), 0.0)
    assert [type(a) for a in acts(rpc)] == [Called, Send]


def test_requests_that_come_together_are_answered_in_their_order() -> None:
    rpc = peer()
    for number in range(40):
        rpc.receive(call("Reset", {"type": "OnIdle"}, f"id{number}"), 0.0)
    rpc.receive(call("Reset", {"type": "OnIdle"}, "id7"), 0.0)
    first, refused = acts(rpc)
    assert isinstance(first, Called)
    assert isinstance(refused, Send)
    assert json.loads(refused.text)[:3] == [4, "id7", "RpcFrameworkError"]
    for number in range(40):
        rpc.answer(f"id{number}", ResetResponse(status="Accepted"))
        answer, *following = acts(rpc)
        assert isinstance(answer, Send)
        assert json.loads(answer.text) == [3, f"id{number}", {"status": "Accepted"}]
        assert [each.id for each in following if isinstance(each, Called)] == [f"id{number + 1}"][: 39 - number]


def test_what_waits_is_bounded_and_events_of_transactions_have_room_left() -> None:
    rpc = RpcPeer("2.0.1", handles={"Reset", "TransactionEvent"}, entropy=lambda n: bytes(n))
    event = {
        "eventType": "Updated", "timestamp": "2026-01-01T00:00:00Z", "triggerReason": "MeterValuePeriodic",
        "seqNo": 1, "transactionInfo": {"transactionId": "T"},
    }  # fmt: skip

    def fill(action: str, payload: object, name: str) -> int:
        """Send until one is refused; return how many were taken."""
        for number in range(5000):
            rpc.receive(call(action, payload, f"{name}{number}"), 0.0)
            if any(isinstance(each, Send) and '"GenericError"' in each.text for each in acts(rpc)):
                return number
        raise AssertionError("there is no bound")

    assert fill("Reset", {"type": "OnIdle"}, "first") > 500
    assert fill("TransactionEvent", event, "event") > 500
    assert fill("Reset", {"type": "OnIdle"}, "later") == 0
    rpc.answer("first0", ResetResponse(status="Accepted"))
    assert [type(each) for each in acts(rpc)] == [Send, Called], "it goes on"


def test_one_request_is_outstanding_at_a_time() -> None:
    rpc = peer()
    first, second = rpc.call(HeartbeatRequest(), 0.0), rpc.call(HeartbeatRequest(), 0.0)
    assert sent(rpc) == [[2, first, "Heartbeat", {}]]
    assert len(first) <= 36
    assert first != second
    rpc.receive(json.dumps([3, first, {"currentTime": "2026-01-01T00:00:00Z"}]), 1.0)
    answered, following = acts(rpc)
    assert answered == Answered(first, HeartbeatRequest(), HeartbeatResponse(current_time="2026-01-01T00:00:00Z"))
    assert isinstance(following, Send)
    assert not rpc.idle
    assert json.loads(following.text)[1] == second


def test_a_request_times_out_and_the_next_one_is_sent() -> None:
    rpc = peer()
    first, second = rpc.call(HeartbeatRequest(), 10.0), rpc.call(HeartbeatRequest(), 11.0, timeout=5)
    acts(rpc)
    assert rpc.deadline() == 40.0
    rpc.tick(39.9)
    assert acts(rpc) == []
    rpc.tick(40.0)
    failed, following = acts(rpc)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, TimeoutExpired)
    assert failed.id == first
    assert isinstance(following, Send)
    assert rpc.deadline() == 45.0
    rpc.receive(json.dumps([3, first, {"currentTime": "2026-01-01T00:00:00Z"}]), 41.0)
    assert acts(rpc) == [], "a late answer answers nothing"
    rpc.receive(json.dumps([4, second, "InternalError", "", {}]), 41.0)
    (failed,) = acts(rpc)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, OcppError)
    assert failed.error.answer == "InternalError"
    assert rpc.deadline() is None
    assert rpc.idle


def test_a_request_that_was_not_sent_fails_and_the_next_one_is_sent() -> None:
    rpc = peer()
    rpc.unsent(1.0)
    assert acts(rpc) == []
    first, second = rpc.call(HeartbeatRequest(), 10.0), rpc.call(HeartbeatRequest(), 11.0)
    acts(rpc)
    rpc.unsent(12.0)
    failed, following = acts(rpc)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, TransportError)
    assert failed.id == first
    assert isinstance(following, Send)
    assert json.loads(following.text)[1] == second
    assert rpc.deadline() == 42.0


@pytest.mark.parametrize(
    ("rest", "code"),
    [
        ("{}", "OccurrenceConstraintViolation"),
        ('{"currentTime":5}', "TypeConstraintViolation"),
        ('{"currentTime":"yesterday"}', "PropertyConstraintViolation"),
        ("[]", "FormatViolation"),
        ("{},{}", "RpcFrameworkError"),
    ],
)
def test_an_answer_that_is_none_fails_the_request(rest: str, code: str) -> None:
    for version, reply in (("2.0.1", []), ("2.1", [5])):
        rpc = peer(version)  # type: ignore[arg-type]
        identifier = rpc.call(HeartbeatRequest(), 0.0)
        acts(rpc)
        rpc.receive(f'[3,"{identifier}",{rest}]', 0.0)
        actions = acts(rpc)
        failed = actions[-1]
        assert isinstance(failed, Failed)
        assert isinstance(failed.error, OcppError)
        assert failed.error.answer == code
        assert [json.loads(a.text)[0] for a in actions if isinstance(a, Send)] == reply


def test_a_request_that_breaks_its_schema_is_not_sent() -> None:
    rpc = peer()
    request = StatusNotificationRequest(timestamp="now", connector_status="Available", evse_id=1, connector_id=1)
    with pytest.raises(OcppError):
        rpc.call(request, 0.0)
    assert acts(rpc) == []


def test_closing_fails_what_is_open_and_refuses_more() -> None:
    rpc = peer()
    ids = [rpc.call(HeartbeatRequest(), 0.0) for _ in range(3)]
    rpc.receive(call("Reset", {"type": "OnIdle"}), 0.0)
    acts(rpc)
    rpc.close(1.0)
    failed = acts(rpc)
    assert [f.id for f in failed if isinstance(f, Failed) and isinstance(f.error, TransportError)] == ids
    rpc.answer("id1", ResetResponse(status="Accepted"))
    rpc.receive(call("Reset", {"type": "OnIdle"}), 1.0)
    assert acts(rpc) == []
    with pytest.raises(RefusedError):
        rpc.call(HeartbeatRequest(), 1.0)


def test_waiting_requests_are_bounded() -> None:
    rpc = peer()
    for _ in range(MAX_WAITING + 1):
        rpc.call(HeartbeatRequest(), 0.0)
    with pytest.raises(RefusedError):
        rpc.call(HeartbeatRequest(), 0.0)


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=60)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner), max_leaves=8
)
near_misses = st.lists(
    st.sampled_from([2, 3, 4, 5, 6, "a", "id1", "Reset", "Authorize", {}, {"type": "Immediate"}, [], None]) | trees,
    max_size=6,
)
frames = (
    st.text()
    | st.builds(json.dumps, trees)
    | st.builds(json.dumps, near_misses)
    | st.builds(lambda cut, text: text[:cut], st.integers(0, 40), st.just(call("Reset", {"type": "Immediate"})))
)


@pytest.mark.long
@given(st.lists(frames | st.just("call"), max_size=8), st.sampled_from(["2.0.1", "2.1"]))
def test_whatever_arrives_is_answered_by_the_rules_or_ignored(texts: list[str], version: Version) -> None:
    rpc = peer(version)
    for number, text in enumerate(texts):
        if text == "call":
            rpc.call(HeartbeatRequest(), float(number))
            continue
        rpc.receive(text, float(number))
        for action in rpc.actions():
            if isinstance(action, Send) and (frame := json.loads(action.text))[0] in (4, 5):
                jsonschema.validate(frame, CALLERROR)
            if isinstance(action, Called):
                rpc.answer(action.id, ResetResponse(status="Accepted"))


@pytest.mark.long
@given(st.data())
def test_two_peers_understand_each_other_whatever_the_timing(data: st.DataObject) -> None:
    """Frames cross, answers come late, nothing is lost but what times out."""
    station, csms = peer("2.1"), peer("2.1")
    ends = {station: csms, csms: station}
    outcomes: dict[RpcPeer, list[str]] = {station: [], csms: []}
    calls: dict[RpcPeer, list[str]] = {station: [], csms: []}
    wires: dict[RpcPeer, list[str]] = {station: [], csms: []}
    todo: list[Callable[[], None]] = []

    def pump(end: RpcPeer) -> None:
        for action in end.actions():
            match action:
                case Send(text):
                    wires[ends[end]].append(text)
                case Called(id=wanted):
                    todo.append(functools.partial(end.answer, wanted, ResetResponse(status="Accepted")))
                case Answered(id=identifier) | Failed(id=identifier):
                    outcomes[end].append(identifier)

    for step in range(40):
        end = data.draw(st.sampled_from([station, csms]))
        match data.draw(st.sampled_from(["call", "deliver", "answer"])):
            case "call":
                calls[end].append(end.call(ResetRequest(type="OnIdle"), float(step)))
            case "deliver" if wires[end]:
                end.receive(wires[end].pop(0), float(step))
            case "answer" if todo:
                todo.pop(data.draw(st.integers(0, len(todo) - 1)))()
        pump(station)
        pump(csms)
    while any(wires.values()) or todo:
        while todo:
            todo.pop(0)()
        for end in ends:
            pump(end)
            while wires[end]:
                end.receive(wires[end].pop(0), 40.0)
            pump(end)
    assert outcomes == calls, "each request has its outcome, in order"


def test_an_action_of_21_is_not_sent_to_a_peer_of_201() -> None:
    signal = AFRRSignalRequest(timestamp="2026-01-01T00:00:00Z", signal=3)
    old = peer("2.0.1")
    with pytest.raises(OcppError) as caught:
        old.call(signal, 0)
    assert caught.value.answer == "NotImplemented"
    assert old.idle
    assert not acts(old)
    new = peer("2.1")
    new.call(signal, 0)
    assert sent(new)[0][2] == "AFRRSignal"


def test_texts_that_firmware_fills_up_with_u0000_are_read_without_it() -> None:
    rpc = peer()
    rpc.receive(call("DataTransfer", {"vendorId": "\0V\0\0", "data": ["\0", {"a": "b\0"}]}), 0.0)
    assert acts(rpc) == [Called("id1", "DataTransfer", DataTransferRequest(vendor_id="V", data=["", {"a": "b"}]))]


@together("text", ["\\u0000", "\\\\u0000", "a\\", "\u0000\\\u0000\\\\\u0000", "u0000", "\u00000000"])
def test_only_u0000_goes_and_no_text_that_looks_like_it(text: str) -> None:
    assert json.loads(without_nul(json.dumps({"a": text}).encode())) == {"a": text.replace("\0", "")}
