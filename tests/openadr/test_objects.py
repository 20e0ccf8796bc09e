"""Objects of a VTN: what can be read is read, what cannot hides nothing else."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.openadr.events import raw_event, raw_program
from tests.together import together
from v2g.errors import CodecError
from v2g.io.http.authorized import read_token
from v2g.openadr.objects import MAX_BYTES, read_events, read_programs
from v2g.openadr.reports import wanted_report


def test_an_event_that_cannot_be_read_hides_no_other() -> None:
    """It is named by its id where it has one."""
    good = raw_event("good", "PRICE", 1)
    found, problems = read_events(msgspec.json.encode([{**good, "id": "bad", "intervals": 3}, good, 5]))
    assert [event.id for event in found] == ["good"]
    assert len(problems) == 2
    assert problems["bad"].startswith("event bad: ")
    assert problems["without id"].startswith("event without id: ")


def test_nullable_members_may_be_null_and_unknown_ones_are_ignored() -> None:
    """As the OpenAPI document has them; a later version may have more."""
    nulls = dict.fromkeys(("eventName", "priority", "targets", "reportDescriptors", "payloadDescriptors"))
    found, problems = read_events(msgspec.json.encode([{**raw_event("e", "PRICE", 1), **nulls, "colour": "red"}]))
    assert (len(found), problems) == (1, {})


def test_targets_in_the_form_of_version_3_0_are_no_concern() -> None:
    """The VTN chooses by them."""
    targets = [{"type": "GROUP", "values": ["depots"]}]
    wanted = [{"payloadType": "USAGE", "targets": targets}]
    event = {**raw_event("e", "PRICE", 1), "targets": targets, "reportDescriptors": wanted}
    (found,), problems = read_events(msgspec.json.encode([event]))
    assert problems == {}
    assert wanted_report(found, ven_name="ven") is not None
    assert read_programs(msgspec.json.encode([{**raw_program(), "targets": targets}]))[1] == {}


def test_programs_have_descriptors_of_events_and_reports() -> None:
    """Those of reports carry members of their own."""
    report = {"objectType": "REPORT_PAYLOAD_DESCRIPTOR", "payloadType": "USAGE", "readingType": "DIRECT_READ"}
    (program,), _ = read_programs(msgspec.json.encode([raw_program(report)]))  # type: ignore[arg-type]
    assert program.payload_descriptors is not None
    assert program.payload_descriptors[0].object_type == "REPORT_PAYLOAD_DESCRIPTOR"


@together("data", [b"", b"{}", b"[", b"<html>", b"[" * 100_000, b"9" * (MAX_BYTES + 1)])
def test_an_answer_that_is_no_list_is_refused(data: bytes) -> None:
    """With one error, whatever it is."""
    for read in (read_events, read_programs):
        with pytest.raises(CodecError):
            read(data)


@pytest.mark.parametrize(
    "answer", [{}, {"access_token": ""}, {"access_token": "a\r\nX: y"}, {"access_token": "a", "token_type": "MAC"}]
)
def test_a_token_is_a_bearer_token_that_a_header_can_carry(answer: dict[str, Any]) -> None:
    """RFC 6749, 5.1 and RFC 6750."""
    with pytest.raises(CodecError):
        read_token(msgspec.json.encode(answer))
    assert read_token(b'{"access_token": "abc", "token_type": "bearer"}').expires_in == 3600
    for text in (b"599", b"599.0", b'"599"'):  # as text: Azure AD
        assert read_token(b'{"access_token":"abc","expires_in":%s}' % text).expires_in == 599


_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(sorted(raw_event("e", "PRICE", 1))), _VALUES)
def test_no_member_of_an_event_gives_anything_but_a_problem(name: str, value: Any) -> None:
    """Any value in any place."""
    found, problems = read_events(msgspec.json.encode([{**raw_event("e", "PRICE", 1), name: value}]))
    assert len(found) + len(problems) == 1
