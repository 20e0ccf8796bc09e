"""Sessions of ISO 15118-2 and DIN 70121: what a V2G_Message carries, and what is not one."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.together import together
from v2g import exi
from v2g.errors import CodecError, ExiDecodeError, FrameError
from v2g.iso15118.d2.charts import CHARTS, Family, Session2
from v2g.iso15118.d2.messages import common as common_2
from v2g.iso15118.d2.messages.data_types import ChargingSession
from v2g.iso15118.din.charts import CHART, SessionDin
from v2g.iso15118.din.messages import common as common_din
from v2g.iso15118.din.messages.message import Body
from v2g.iso15118.din.messages.message import V2G_Message as DinMessage
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine import quirks
from v2g.iso15118.engine.quirks import Quirk
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.session import Close, Fact, Send
from v2g.iso15118.engine.v2g_message import (
    MessageSession,
    asks_for_new_session,
    body_of,
    decode_message,
    is_same_session,
)
from v2g.iso15118.engine.v2gtp import PayloadType, frame, parse
from v2g.observe import Observe

HANDSHAKE = app.SupportedAppProtocolRes(response_code=app.ResponseCode.OK_SuccessfulNegotiation, schema_id=1)


class _Role(MessageSession):
    """Writes down what it is asked."""

    def __init__(self) -> None:
        super().__init__(entropy=bytes)
        self.seen: list[Any] = []

    def send(self, body: Any) -> None:
        self._send_body(body)

    def tolerate(self, quirk: Quirk) -> None:
        self._tolerate(quirk)

    def _on_start(self) -> None: ...
    def _on_eof(self) -> None: ...
    def _on_fact(self, fact: Fact) -> None: ...
    def _on_timer(self, name: str) -> None: ...

    def _on_body(self, body: Any, header: Any | None) -> None:
        self.seen.append((type(body).__name__, header.session_id if header else None))

    def _on_broken(self, error: CodecError) -> None:
        self._close("broken")

    def _on_abort(self, reason: str) -> None:
        self._close(reason)


class Role2(_Role, Session2):
    request = common_2.SessionStopReq(charging_session=ChargingSession.Terminate)


class RoleDin(_Role, SessionDin):
    request = common_din.SessionStopReq()


EDITIONS = pytest.mark.parametrize("edition", [Role2, RoleDin])


def begun(edition: Any, state: State = State.SERVICE_DISCOVERY) -> Any:
    role = edition()
    role.state = state
    return role


def sent(role: Any) -> bytes:
    """Return what a role sends, as one byte string."""
    return b"".join(each.data for each in role.actions() if isinstance(each, Send))


@EDITIONS
@given(session_id=st.binary(max_size=8))
def test_the_session_id_goes_with_every_message_in_its_own_length(edition: Any, session_id: bytes) -> None:
    sender, receiver = begun(edition), begun(edition)
    sender.session_id = session_id
    sender.send(edition.request)
    receiver.receive(sent(sender), 0.0, 0)
    assert receiver.seen == [("SessionStopReq", session_id)]


@EDITIONS
def test_handshake_and_messages_share_a_payload_type_and_the_state_tells_them_apart(edition: Any) -> None:
    role, sender = edition(), begun(edition)
    sender.send(edition.request)
    message = sent(sender)
    role.receive(frame(PayloadType.SAP, exi.encode(HANDSHAKE)), 0.0, 0)
    assert role.seen == [("SupportedAppProtocolRes", None)]
    role.receive(message, 0.0, 0)
    assert [each.reason for each in role.actions() if isinstance(each, Close)] == ["broken"]
    later = begun(edition)
    later.receive(message + frame(PayloadType.SAP, exi.encode(HANDSHAKE)), 0.0, 0)
    assert [name for name, _ in later.seen] == ["SessionStopReq", "SupportedAppProtocolRes"]


@EDITIONS
@given(payload=st.binary(max_size=200), handshake=st.booleans())
def test_arbitrary_bytes_are_a_message_or_the_one_error(edition: Any, payload: bytes, handshake: bool) -> None:
    with contextlib.suppress(ExiDecodeError):
        decode_message(payload, edition.schema, handshake=handshake)


@EDITIONS
def test_two_frames_without_a_message_are_ignored_and_the_third_ends_the_session(edition: Any) -> None:
    """TC_SECC_CMN_VTB_V2GTPSessionSetup_002 and _003: no answer, and the charger stays usable."""
    role, sender = begun(edition), begun(edition)
    sender.send(edition.request)
    good = sent(sender)
    role.receive(frame(PayloadType.SAP, b"") + frame(0x7001, b"\x80") + good, 0.0, 0)
    assert len(role.seen) == 1
    ignored = [each.name for each in role.actions() if isinstance(each, Observe)]
    assert ignored == ["frame_ignored", "frame_ignored"]
    role.receive(frame(PayloadType.COMMON, b"\x80") + good, 0.0, 0)
    assert role.closed
    assert len(role.seen) == 1


@EDITIONS
def test_extensions_of_others_are_ignored(edition: Any) -> None:
    role = begun(edition)
    for _ in range(5):
        role.receive(frame(0xA123, b"x") + frame(PayloadType.SIGNED_DISCHARGE, b"der"), 0.0, 0)
    assert not role.closed
    assert not role.seen


def test_a_message_without_a_body_is_no_message() -> None:
    sender, role = begun(RoleDin), begun(RoleDin)
    sender.send(RoleDin.request)
    (whole,) = (each.message for each in sender.actions())
    role.receive(frame(PayloadType.SAP, exi.encode(DinMessage(header=whole.header, body=Body()))), 0.0, 0)
    assert role.closed


def test_payload_types_of_20_carry_no_message() -> None:
    with pytest.raises(FrameError, match="0x8002"):
        begun(Role2).decode(PayloadType.COMMON, b"")


def test_what_is_in_a_body_and_what_has_none() -> None:
    sender = begun(Role2)
    sender.send(Role2.request)
    payload = parse(sent(sender)).payload
    assert body_of(decode_message(payload, Role2.schema, handshake=False)[0]) == Role2.request
    assert body_of(HANDSHAKE) is HANDSHAKE


def test_a_quirk_is_reported_once_a_session() -> None:
    role = begun(RoleDin)
    for quirk in (quirks.EVCCID_LENGTH, quirks.EVSEID_TEXT, quirks.EVCCID_LENGTH):
        role.tolerate(quirk)
    observed = [(each.name, each.data) for each in role.actions() if isinstance(each, Observe)]
    assert observed == [("quirk_tolerated", {"quirk": "evccid_length"}), ("quirk_tolerated", {"quirk": "evseid_text"})]


def test_padding_is_reported_with_the_name_of_the_body() -> None:
    sender, role = begun(RoleDin), begun(RoleDin)
    sender.send(RoleDin.request)
    payload = parse(sent(sender)).payload
    role.receive(frame(PayloadType.SAP, payload + b"\0"), 0.0, 0)
    assert [each.data["message"] for each in role.actions() if isinstance(each, Observe)] == ["SessionStopReq"]


@together(
    ("given_id", "received", "same"),
    [
        ("0102030405060708", "0102030405060708", True),
        ("0102030405060708", "0102030405060709", False),
        ("01020304", "01020304", True),
        ("01020304", "0102030400000000", True),
        ("01020304", "0000000001020304", True),
        ("01020304", "0000010203040000", False),
        ("01020304", "010203", False),
        ("01020304", "0102030400", False),
        ("000000003bc13513", "3bc13513", True),
        ("0102030405060708", "", False),
        ("0102030405060708", "0000000000000000", False),
        ("", "0000000000000000", False),
        ("00", "0000000000000000", False),
    ],
)
def test_zeros_that_pad_a_session_id_do_not_count(given_id: str, received: str, same: bool) -> None:
    assert is_same_session(bytes.fromhex(given_id), bytes.fromhex(received)) == same


@given(st.binary(max_size=8))
def test_only_zeros_and_nothing_ask_for_a_new_session(session_id: bytes) -> None:
    assert asks_for_new_session(session_id) == (session_id.replace(b"\0", b"") == b"")


def test_charts_are_those_of_the_edition_and_family() -> None:
    role = Role2()
    assert role.chart is CHARTS[Family.DC]
    role.family = Family.AC
    assert role.chart is CHARTS[Family.AC]
    assert RoleDin().chart is CHART
