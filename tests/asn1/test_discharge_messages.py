"""Our DER against an independent compiler of the published module, and against garbage."""

import enum
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect

from tests.together import together
from v2g.asn1 import discharge as d
from v2g.asn1.published import as_module_value, check_signed, enumeral, member_name
from v2g.errors import Asn1Error

CONTENT = dict(
    zip(("offer", "decision", "command", "result", "checkpoint", "receipt"), get_args(d.DischargeContent), strict=True)
)


def values(type_: inspect.Type) -> st.SearchStrategy[Any]:
    """Values of a declared type, its bounds included."""
    match type_:
        case inspect.NoneType():
            return st.none()
        case inspect.UnionType(types=types):
            return st.one_of(*map(values, types))
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType(ge=low, le=high):
            return st.integers(low, high) | st.sampled_from((low, high))
        case inspect.BytesType(min_length=low, max_length=high):
            return st.binary(min_size=low or 0, max_size=min(high, 300) if low != high else high)
        case inspect.StrType(min_length=low, max_length=high):
            return st.text(st.characters(exclude_categories=("Cs",)), min_size=low or 0, max_size=high)
        case inspect.EnumType(cls=members):
            return st.sampled_from(members)
        case inspect.VarTupleType(item_type=item, min_length=low):
            return st.lists(values(item), min_size=low or 0, max_size=20).map(tuple)
        case inspect.StructType(cls=struct, fields=fields):
            return st.builds(struct, **{field.name: values(field.type) for field in fields})
    raise TypeError(type_)


MESSAGES = st.one_of(*(values(inspect.type_info(struct)) for struct in CONTENT.values()))
SIGNED = values(inspect.type_info(d.SignedMessage))


@given(message=MESSAGES)
def test_content_is_what_an_independent_compiler_of_the_module_writes_and_reads(module: Any, message: Any) -> None:
    """Byte for byte, both ways."""
    theirs = module.encode("DischargeContent", as_module_value(message), check_constraints=True)
    assert d.encode_content(message) == theirs
    assert d.decode_content(theirs) == message


@given(message=SIGNED)
def test_signed_message_is_what_an_independent_compiler_of_the_module_writes_and_reads(
    module: Any, message: d.SignedMessage
) -> None:
    """Byte for byte, both ways."""
    theirs = module.encode("SignedMessage", as_module_value(message), check_constraints=True)
    assert d.encode_signed(message) == theirs
    assert d.decode_signed(theirs) == message


@pytest.mark.parametrize(
    "struct", [*CONTENT.values(), d.PriceSlot, d.DischargeLimits, d.MeterRegisters, d.SignedMessage]
)
def test_fields_stand_in_the_order_and_under_the_names_of_the_published_module(
    parsed: dict[str, Any], struct: type[msgspec.Struct]
) -> None:
    """The declaration and the module cannot drift apart."""
    assert [member_name(name) for name in struct.__struct_fields__] == [
        member["name"] for member in parsed[struct.__name__]["members"]
    ]


@pytest.mark.parametrize("members", [d.DecisionReason, d.ResultStatus, d.ReceiptStatus, d.SignatureAlgorithm])
def test_enumerations_number_their_members_as_the_published_module_does(
    parsed: dict[str, Any], members: type[enum.Enum]
) -> None:
    """Position is number."""
    assert [(enumeral(member), number) for number, member in enumerate(members)] == parsed[members.__name__]["values"]


@given(data=st.binary(max_size=400))
def test_garbage_is_a_message_or_the_one_documented_error(data: bytes) -> None:
    """Whatever arrives, nothing else is raised; and what is read is exactly what is written."""
    for decode, encode in ((d.decode_content, d.encode_content), (d.decode_signed, d.encode_signed)):
        try:
            message = decode(data)
        except Asn1Error:
            continue
        assert encode(message) == data  # type: ignore[operator]


@pytest.mark.long
@given(message=MESSAGES, data=st.data())
def test_an_edited_message_reads_as_another_message_or_not_at_all(message: Any, data: st.DataObject) -> None:
    """One encoding a message: no byte can change without the meaning changing."""
    encoded = bytearray(d.encode_content(message))
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] ^= 1 << data.draw(st.integers(0, 7))
    try:
        other = d.decode_content(bytes(encoded))
    except Asn1Error:
        return
    assert other != message
    assert d.encode_content(other) == bytes(encoded)


@given(message=MESSAGES, size=st.integers(0, 30))
def test_a_truncated_or_lengthened_message_is_refused(message: Any, size: int) -> None:
    """Nothing before the end, nothing after it."""
    encoded = d.encode_content(message)
    with pytest.raises(Asn1Error):
        d.decode_content(encoded[: len(encoded) - 1 - size])
    with pytest.raises(Asn1Error):
        d.decode_content(encoded + bytes(size + 1))


COMMAND = d.DischargeCommand(
    session_id=b"S" * 8,
    offer_id=b"O" * 16,
    terms_hash=b"T" * 64,
    challenge=b"C" * 16,
    sequence=1,
    nonce=b"N" * 16,
    power_w=11_000,
    issued_at_ms=1_800_000_000_000,
    valid_until_ms=1_800_000_010_000,
)


@together(
    ("field", "value"),
    [
        ("session_id", b"short"),
        ("power_w", -1),
        ("power_w", 10_000_001),
        ("power_w", True),
        ("power_w", 1.5),
        ("sequence", 0),
        ("sequence", 2**32),
        ("nonce", "0123456789abcdef"),
        ("issued_at_ms", 2**53),
    ],
)
def test_a_value_outside_its_declaration_is_refused_by_the_name_of_its_field(field: str, value: object) -> None:
    """Constructors do not check, so the encoder does."""
    with pytest.raises(Asn1Error, match=rf"DischargeCommand\.{field}"):
        d.encode_content(msgspec.structs.replace(COMMAND, **{field: value}))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x30\x80\x00\x00", id="indefinite length"),
        pytest.param(b"\x30\x81\x05\x80\x03\x01\x02\x03", id="length not minimal"),
        pytest.param(b"\x30\x84\x00\x00\x00\x01\x00", id="length of four bytes"),
        pytest.param(b"\x30\xff", id="reserved length"),
        pytest.param(b"\x30\x82\xff", id="length cut off"),
        pytest.param(b"\x30\x83\xff\xff\xff", id="contents missing"),
    ],
)
def test_lengths_that_der_does_not_know_are_refused(data: bytes) -> None:
    """BER's freedoms are not DER's."""
    with pytest.raises(Asn1Error):
        d.decode_signed(data)


def test_an_oversized_message_is_refused_before_it_is_read() -> None:
    """The bound stands above the longest message there can be."""
    longest = d.SignedMessage(
        content=bytes(65535), signer=bytes(32), algorithm=d.SignatureAlgorithm.ED448, signature=bytes(132)
    )
    assert d.decode_signed(d.encode_signed(longest)) == longest
    with pytest.raises(Asn1Error):
        d.decode_signed(b"\x30\x83\x02\x00\x00" + bytes(131_072))
    with pytest.raises(Asn1Error):
        d.decode_content(b"\xa0\x83\x02\x00\x00" + bytes(131_072))


def test_a_vehicle_message_of_no_alternative_is_refused() -> None:
    """A CHOICE is one of its six."""
    with pytest.raises(Asn1Error, match="not one of"):
        d.decode_content(b"\xa6\x02\x80\x00")
    with pytest.raises(Asn1Error, match="alternatives"):
        d.encode_content(d.PriceSlot(0, 1, 0, 0))  # type: ignore[arg-type]


def test_the_independent_reader_takes_what_was_signed_and_names_what_it_reads_otherwise() -> None:
    """Extra [verify]: what `v2g settle verify --independent` asks of each signed message."""
    command = d.DischargeCommand(
        session_id=bytes(8), offer_id=bytes(16), terms_hash=bytes(64), challenge=bytes(16), sequence=1,
        nonce=bytes(16), power_w=5000, issued_at_ms=1, valid_until_ms=2,
    )  # fmt: skip
    signed = d.SignedMessage(
        content=d.encode_content(command), signer=bytes(32), algorithm=d.SignatureAlgorithm.ED448, signature=bytes(114)
    )
    check_signed(d.encode_signed(signed))
    with pytest.raises(Asn1Error):
        check_signed(d.encode_signed(signed)[:-1])


DECISION = d.DischargeDecision(
    offer_id=b"O" * 16,
    session_id=b"S" * 8,
    terms_hash=b"T" * 64,
    accepted=True,
    reason=d.DecisionReason.ACCEPTED,
    decided_at_ms=1_800_000_000_000,
    minimum_soc=30,
    max_discharge_w=11_000,
)


@pytest.mark.parametrize(
    ("message", "ends"),
    [(COMMAND, "86022af8870601a3185c5000880601a3185c7710"), (DECISION, "850601a3185c500086011e87022af8")],
)
def test_messages_of_version_1_have_the_bytes_that_version_1_gave_them(message: Any, ends: str) -> None:
    """Only the length before, and one component at the end, tell version 2 from it."""
    before = d.encode_content(message)
    assert before.hex().endswith(ends)
    after = d.encode_content(msgspec.structs.replace(message, checkpoint=7))
    assert after[-3:] == bytes((0x80 + len(message.__struct_fields__) - 1, 1, 7))
    assert after.endswith(before[3:] + after[-3:])
