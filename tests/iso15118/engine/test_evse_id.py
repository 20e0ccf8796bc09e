"""EVSEID as text, packed digits and ASCII."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.together import together
from v2g.iso15118.engine.identifiers import UNKNOWN, UNKNOWN_BYTES, as_bytes, as_text, from_bytes, is_evse_id


@together(
    ("text", "valid"),
    [
        ("DE*ABB*E1", True),
        ("DEABBE1", True),
        ("FR*A23*E45B*78C", True),
        ("DE*ABB*X1", False),
        ("D1*ABB*E1", False),
        ("DE*ABB*E", False),
        ("DEABBE" + "1" * 31, False),
        ("DE*ABB*E1\n", False),
        ("", False),
    ],
)
def test_the_form_of_the_conformance_suite(text: str, valid: bool) -> None:
    assert is_evse_id(text) == valid


def test_a_text_that_does_not_fit_is_unknown() -> None:
    assert as_text("DE*ABB*E1") == "DE*ABB*E1"
    assert as_text("E1") == as_text("D" * 38) == UNKNOWN
    assert 7 <= len(UNKNOWN) <= 37


def test_digits_are_packed_as_published() -> None:
    assert as_bytes("49*89*6360") == as_bytes("+49*89*6360") == bytes.fromhex("49A89A6360")
    assert from_bytes(bytes.fromhex("49A89A6360")) == ("49*89*6360", False)


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("49*89*636", b"49*89*636"),  # an odd number of half bytes has no published form
        ("DE*ABB*E1", b"DE*ABB*E1"),
        ("", UNKNOWN_BYTES),
        ("Ladesäule", UNKNOWN_BYTES),
        ("DE*ABB*E" + "1" * 30, UNKNOWN_BYTES),
    ],
)
def test_what_cannot_be_packed_is_sent_as_ascii_or_as_unknown(text: str, sent: bytes) -> None:
    assert as_bytes(text) == sent


@together(
    ("sent", "shown"),
    [
        (b"", ("", False)),
        (b"\0", ("", False)),
        (bytes(32), ("", False)),
        (b"DE*ABB*E1\0\0", ("DE*ABB*E1", True)),
        (b"ZZ00000", ("ZZ00000", True)),
        (b"\x81\xfe", ("81FE", False)),
        (b"DE\x1b[31m", ("44451B5B33316D", False)),
    ],
)
def test_what_chargers_send_is_read_or_shown_as_hexadecimal(sent: bytes, shown: tuple[str, bool]) -> None:
    assert from_bytes(sent) == shown


@given(st.binary(max_size=32))
def test_any_bytes_give_a_printable_text(sent: bytes) -> None:
    text, _ = from_bytes(sent)
    assert text.isascii()
    assert text == "" or text.isprintable()


@given(
    st.from_regex(r"\A[A-Z]{2}\*[A-Z0-9]{3}\*E[A-Z0-9]{1,20}\Z")
    | st.from_regex(r"\A[1-9][0-9]\*[0-9]{3}\*[0-9]{1,12}\Z")
)
def test_every_id_is_read_as_it_was_written(text: str) -> None:
    assert len(as_bytes(text)) <= 32
    shown, _ = from_bytes(as_bytes(text))
    assert shown in (text, text.encode().hex().upper())
