"""A trace says what passed, when and in which state, and nothing that is secret."""

import functools
import itertools
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evcc.session.contracts import Contract
from evcc.session.settings import ServiceConfig
from pki_tools.tree import PkiTree
from secc.session.config import SeccConfig
from tests.iso15118.trace import CHARGE, HandClock, Lines, Traced
from tests.sessions.joined import Joined
from tests.together import together
from v2g import exi
from v2g.errors import CodecError
from v2g.exi.json import from_object
from v2g.io.runtime.trace import Trace, TracedCore, TraceFile
from v2g.iso15118 import trace
from v2g.iso15118.d20 import installation
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages.common_types import MessageHeader, ResponseCode
from v2g.iso15118.d20.session import SCHEMAS, decode_payload
from v2g.iso15118.engine.session import Received
from v2g.iso15118.engine.v2gtp import PayloadType, frame
from v2g.iso15118.trace import Line
from v2g.iso15118.trace_read import Entry, differences, entries, leaves, summary, times

DECODE = functools.partial(decode_payload, family=Family.DC)


@pytest.fixture(scope="module")
def traced(pki: PkiTree) -> Traced:
    """A session of plug and charge, charge and discharge, ended in good order."""
    return Traced(pki, time.time_ns() // 1_000_000)


def test_every_byte_that_was_sent_stands_in_both_traces_once_and_in_order(traced: Traced) -> None:
    sent = traced.sent()
    for process, peer in (("evcc", "secc"), ("secc", "evcc")):
        for way, speaker in (("out", process), ("in", peer)):
            payloads = [bytes.fromhex(each.exi) for each in traced.of(process) if each.way == way]
            assert payloads == [data[8:] for data in sent[speaker]]
    assert traced.joined.evcc_reason == "finished"


def test_both_ends_tell_the_same_conversation(traced: Traced) -> None:
    found = [entries(traced.of(process)) for process in ("evcc", "secc")]
    unlike = [each for each in differences(found[0], found[1]) if "Discharge" not in each.message]  # these cross
    assert not unlike


def test_the_json_of_each_message_encodes_to_the_octets_beside_it(traced: Traced) -> None:
    encoded = 0
    for line in traced.of("secc"):
        if line.stream == "SIGNED_DISCHARGE":
            continue
        schema = SCHEMAS[PayloadType[line.stream]]
        assert exi.encode(from_object({_element(line.name): line.body}, schema)).hex() == line.exi
        encoded += 1
    assert encoded > 30


def _element(name: str) -> str:
    """The handshake's elements begin with a small letter."""
    return "s" + name[1:] if name.startswith("SupportedAppProtocol") else name


def test_states_are_those_of_the_chart_and_follow_one_another(traced: Traced) -> None:
    for process in ("evcc", "secc"):
        main = [
            each
            for each in traced.of(process)
            if each.stream in ("SAP", "COMMON", "DC") and each.name != "MeteringConfirmationRes"
        ]
        assert main[0].state == "supported_app_protocol"
        assert main[-1].next == "ended"
        for line, following in itertools.pairwise(main):
            assert line.next == following.state, (process, line.name, following.name)
        assert all(line.state == line.next for line in main if line.name.endswith("Req"))


def test_a_run_has_one_name_and_its_session_from_the_moment_it_has_one(traced: Traced) -> None:
    for process in ("evcc", "secc"):
        lines = traced.of(process)
        assert {each.run for each in lines} == {lines[0].run}
        assert re.fullmatch(r"[0-9a-f]{8}\.1", lines[0].run)
        sessions = [each.session for each in lines]
        assert sessions[0] == ""
        assert len({each for each in sessions if each}) == 1
        assert all(sessions[3:])


def test_signed_discharge_is_shown_in_words(traced: Traced) -> None:
    command = next(each for each in traced.of("evcc") if each.name == "DischargeCommand")
    assert command.stream == "SIGNED_DISCHARGE"
    assert command.body["power_w"] >= 0
    assert command.body["Signature"]["Algorithm"].startswith(("ecdsa", "ed448"))
    assert {"DischargeOffer", "DischargeDecision", "DischargeResult"} <= {each.name for each in traced.of("evcc")}


def test_side_streams_are_traced_with_their_stream(pki: PkiTree) -> None:
    config = msgspec.structs.replace(CHARGE, services=ServiceConfig(confirm_beside=True))
    traced = Traced(pki, time.time_ns() // 1_000_000, vehicle=config, charger=SeccConfig(meter_info=True))
    assert traced.joined.evcc_reason == "finished"
    assert not differences(*(
        [each for each in entries(traced.of(process)) if each.line.stream != "SIGNED_DISCHARGE"]
        for process in ("evcc", "secc")
    ))  # fmt: skip


def test_a_failure_leads_to_the_end_on_both_sides(pki: PkiTree) -> None:
    contract = Contract(pki.chain("contract"), pki.key("vehicle"))  # signs with a key that is not the contract's
    traced = Traced(pki, time.time_ns() // 1_000_000, contract=contract)
    for process in ("evcc", "secc"):
        last = [each for each in traced.of(process) if each.name.endswith("Res")][-1]
        assert last.body["ResponseCode"] == "FAILED_SignatureError"
        assert (last.state, last.next) == ("authorization", "ended")


def test_a_line_says_what_its_bytes_say(traced: Traced) -> None:
    """Messages are written down as the core has made or read them: the bytes alone say the same."""
    lines = [
        each
        for process in ("evcc", "secc")
        for each in traced.of(process)
        if each.exi and each.stream != "SIGNED_DISCHARGE"
    ]
    assert len(lines) > 20
    for each in lines:
        reported = trace.describe(PayloadType[each.stream], bytes.fromhex(each.exi), DECODE)
        assert (each.name, each.body) == (reported.name, reported.body)


@pytest.mark.long
@given(cuts=st.lists(st.integers(1, 400), max_size=60))
@settings(max_examples=40, deadline=None)
def test_frames_split_and_glued_in_any_way_give_the_same_lines(traced: Traced, cuts: list[int]) -> None:
    class Core:
        """Everything that a traced core may ask of its core."""

        closed, reason, session_id = False, "", b"12345678"
        decode = staticmethod(DECODE)

        def __init__(self) -> None:
            from v2g.iso15118.engine.sequence import State

            self.state, self.received, self.newest = State.DC_CHARGE_LOOP, b"", Received()

        def receive(self, data: bytes, now: float, utc_ms: int) -> None:
            self.received += data

        def actions(self) -> list[Any]:
            return []

    stream = b"".join(traced.sent()["evcc"])
    core, file = Core(), Lines()
    feeder = TracedCore(core, Trace("secc", HandClock(), file).place())  # type: ignore[arg-type]
    rest = stream
    for cut in cuts:
        feeder.receive(rest[:cut], 0.0, 0)
        rest = rest[cut:]
    feeder.receive(rest, 0.0, 0)
    assert core.received == stream
    assert [each.exi for each in file.lines] == [each.exi for each in traced.of("evcc") if each.way == "out"]


@given(payload_type=st.sampled_from([*PayloadType, 0xBEEF]), payload=st.binary(max_size=80))
def test_whatever_arrives_is_described_or_said_to_be_unreadable(payload_type: int, payload: bytes) -> None:
    reported = trace.describe(payload_type, payload, DECODE)
    assert bool(reported.name) != bool(reported.error)


def test_bytes_that_are_no_frame_are_kept_with_the_reason(traced: Traced, pki: PkiTree) -> None:
    joined = Joined(pki, time.time_ns() // 1_000_000)
    file = Lines()
    core = TracedCore(joined.secc, Trace("secc", HandClock(), file).place())
    core.start(0.0, 0)
    core.receive(b"GET / HTTP/1.1\r\n\r\n", 0.0, 0)
    core.receive(b"Host: charger\r\n", 0.0, 0)
    assert core.closed
    assert [(each.exi, each.name) for each in file.lines] == [(b"GET / HT".hex(), "")]
    assert "V2GTP" in file.lines[0].error


def test_sealed_contract_keys_are_withheld(pki: PkiTree) -> None:
    header = MessageHeader(session_id=b"12345678", time_stamp=1)
    payload = exi.encode(installation.refusal(header, ResponseCode.OK))  # it has room for a key as any answer has
    reported = trace.describe(PayloadType.COMMON, payload, DECODE)
    assert reported.name == "CertificateInstallationRes"
    assert [each.rpartition("/")[2] for each in reported.withheld] == ["SECP521_EncryptedPrivateKey"]
    assert not [path for path, _ in leaves(reported.body) if "EncryptedPrivateKey" in path]
    file = Lines()
    joined: Any = Joined(pki, 0)
    state = joined.secc.state
    place = Trace("secc", HandClock(), file).place()
    place.message((0, 0.0), "out", PayloadType.COMMON, payload, None, joined.secc, (state, state))
    assert file.lines[0].exi == ""
    assert file.lines[0].withheld == reported.withheld


# -- reading ------------------------------------------------------------------------------------------------------


def _entry(
    number: int, name: str, mono_ms: float, *, way: str = "in", stream: str = "COMMON", body: Any = None
) -> Line:
    return Line(
        time="2026-01-01T00:00:00.000Z", mono_ms=mono_ms, run="a.1", process="secc", way=way,  # type: ignore[arg-type]
        name=name, stream=stream, body=body,
    )  # fmt: skip


def test_answer_times_are_those_between_a_request_and_its_own_response() -> None:
    found = entries(
        [
            _entry(1, "DC_ChargeLoopReq", 0.0, stream="DC"),
            _entry(2, "MeteringConfirmationReq", 5.0, stream="METERING_CONFIRMATION"),
            _entry(3, "DC_ChargeLoopRes", 300.0, way="out", stream="DC"),
            _entry(4, "MeteringConfirmationRes", 320.0, way="out", stream="METERING_CONFIRMATION"),
            _entry(5, "DC_ChargeLoopReq", 700.0, stream="DC"),
        ]
    )
    assert [each.answer_ms for each in found] == [None, None, 300.0, 315.0, None]
    assert [each.late for each in found] == [False, False, True, False, False]
    rows = {each.message: each for each in times(found)}
    assert rows["DC_ChargeLoopReq"].late == 1
    assert rows["DC_ChargeLoopReq"].performance == 250.0
    assert rows["vehicle, after a loop"].longest == 400.0
    assert rows["vehicle, after a loop"].late == 1


def test_the_fields_that_matter_come_first_and_numbers_are_numbers() -> None:
    body = {
        "Header": {"SessionID": "00"},
        "EVSEMaximumChargePower": {"Exponent": 3, "Value": 22},
        "ResponseCode": "OK",
        "Certificate": "M" * 400,
    }
    line = _entry(1, "DC_ChargeParameterDiscoveryRes", 0.0, body=body)
    assert summary(line) == [("ResponseCode", "OK"), ("EVSEMaximumChargePower", "22000")]


def test_a_handshake_shows_all_that_the_vehicle_offers() -> None:
    offers = (("urn:iso:std:iso:15118:-20:DC", 1, 7, 2), ("urn:iso:15118:2:2013:MsgDef", 2, 0, 1))
    body = {
        "AppProtocol": [
            {
                "ProtocolNamespace": uri,
                "VersionNumberMajor": major,
                "VersionNumberMinor": 0,
                "SchemaID": schema_id,
                "Priority": priority,
            }
            for uri, major, schema_id, priority in offers
        ]
    }
    assert summary(_entry(1, "SupportedAppProtocolReq", 0.0, body=body)) == [
        ("Priority 2", "urn:iso:std:iso:15118:-20:DC 1.0, SchemaID 7"),
        ("Priority 1", "urn:iso:15118:2:2013:MsgDef 2.0, SchemaID 0"),
    ]


Change = Callable[[list[Line]], list[Line]]


@pytest.mark.parametrize(
    ("change", "message", "count", "path"),
    [
        (lambda lines: [x for x in lines if not x.name.startswith("ServiceDetail")], "ServiceDetailReq", (2, 0), None),
        (
            lambda lines: [_with(x, "EVCCID", "OTHER") if x.name == "SessionSetupReq" else x for x in lines],
            "SessionSetupReq",
            (1, 1),
            "SessionSetupReq/EVCCID",
        ),
        (
            lambda lines: [x for x in lines if x.name != "SessionStopRes"],
            "SessionStopReq",
            (1, 1),
            "SessionStopRes/ResponseCode",
        ),
    ],
    ids=["missing", "changed", "unanswered"],
)
def test_differences_name_message_path_and_values(
    traced: Traced, change: Change, message: str, count: tuple[int, int], path: str | None
) -> None:
    lines = traced.of("evcc")
    (difference,) = differences(entries(lines), entries(change(lines)))
    assert (difference.message, difference.count) == (message, count)
    if path is not None:
        assert path in {each.path for each in difference.fields}


def test_times_and_random_numbers_differ_only_where_one_asks(traced: Traced, pki: PkiTree) -> None:
    other = Traced(pki, traced.joined.origin + 0)
    a, b = ([e for e in entries(t.of("evcc")) if e.line.name == "AuthorizationReq"] for t in (traced, other))
    shifted = [
        Entry(e.number, msgspec.structs.replace(e.line, body=_stamped(e.line.body)), e.at_ms, e.answer_ms) for e in b
    ]
    assert not differences(a, shifted)
    paths = {each.path for d in differences(a, shifted, strict=True) for each in d.fields}
    assert "AuthorizationReq/Header/TimeStamp" in paths


def _with(line: Line, name: str, value: Any) -> Line:
    return msgspec.structs.replace(line, body=line.body | {name: value})


def _stamped(body: Any) -> Any:
    return body | {"Header": body["Header"] | {"TimeStamp": 1}}


@together("text", [b"{", b"[]", b'{"time":1}', b"null", b"\xff", b'{"time":"x"}'])
def test_what_is_no_line_of_a_trace_is_refused(text: bytes) -> None:
    with pytest.raises(CodecError):
        trace.decode_line(text)


def test_a_line_holds_integers_of_any_length() -> None:
    line = _entry(1, "CertificateInstallationReq", 0.0, body={"X509SerialNumber": 2**140})
    assert trace.decode_line(trace.encode_line(line)) == line


def test_a_frame_without_payload_is_a_message_of_its_own() -> None:
    assert frame(0x8002, b"")[8:] == b""
    assert trace.describe(0x8002, b"", DECODE).error


def test_a_path_is_a_file_of_its_owner_only(tmp_path: Path) -> None:
    file = TraceFile(tmp_path / "a.jsonl", max_mib=1)
    file.close()
    assert (tmp_path / "a.jsonl").stat().st_mode & 0o777 == 0o600
