"""DER has one form for every value; every other form is refused by the name of its field."""

import enum
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta

from tests.together import together
from v2g.asn1 import der
from v2g.errors import Asn1Error


class Colour(enum.Enum):
    """Two values."""

    RED = "red"
    BLUE = "blue"


class Item(msgspec.Struct, frozen=True):
    """Something to make a list of."""

    number: Annotated[int, Meta(ge=-1000, le=1000)]


class Thing(msgspec.Struct, frozen=True, kw_only=True):
    """One field of each kind."""

    flag: bool
    number: Annotated[int, Meta(ge=-(2**40), le=2**40)]
    colour: Colour
    text: Annotated[str, Meta(max_length=5)]
    data: Annotated[bytes, Meta(max_length=5)]
    items: Annotated[tuple[Item, ...], Meta(min_length=1, max_length=2)]


THING = Thing(flag=True, number=-129, colour=Colour.BLUE, text="é", data=b"\x00", items=(Item(1), Item(128)))
BYTES = bytes.fromhex("301e 8001ff 8102ff7f 820101 8302c3a9 840100 a50b 3003800101 300480020080")


def test_a_known_value_has_its_known_encoding() -> None:
    """Written out by hand from X.690."""
    assert der.encode(THING) == BYTES
    assert der.decode(BYTES, Thing) == THING


def body(*fields: str) -> bytes:
    contents = bytes.fromhex("".join(fields))
    return bytes((0x30, len(contents))) + contents


GOOD = ("8001ff", "810101", "820101", "830161", "840100", "a5053003800101")


@pytest.mark.parametrize(
    ("index", "field", "said"),
    [
        pytest.param(0, "800101", "Thing.flag", id="boolean neither 00 nor FF"),
        pytest.param(0, "8000", "Thing.flag", id="empty boolean"),
        pytest.param(1, "8100", "Thing.number", id="empty integer"),
        pytest.param(1, "81020001", "Thing.number", id="padded with 00"),
        pytest.param(1, "8102ffff", "Thing.number", id="padded with FF"),
        pytest.param(1, "810a01000000000000000000", "Thing.number", id="integer of ten bytes"),
        pytest.param(1, "8106020000000000", "Thing.number", id="integer out of range"),
        pytest.param(2, "820102", "Thing.colour", id="enumerated out of range"),
        pytest.param(2, "8201ff", "Thing.colour", id="enumerated negative"),
        pytest.param(3, "8301ff", "Thing.text", id="no UTF-8"),
        pytest.param(3, "8306616161616161", "Thing.text", id="text too long"),
        pytest.param(4, "8406000000000000", "Thing.data", id="octets too long"),
        pytest.param(4, "a40100", "Thing.data", id="wrong tag"),
        pytest.param(5, "a500", "Thing.items", id="too few elements"),
        pytest.param(5, "a50f300380010130038001013003800101", "Thing.items", id="too many elements"),
        pytest.param(5, "a5053003810101", r"Thing.items\[0\].number", id="wrong tag in an element"),
        pytest.param(5, "a506300480010100", r"Thing.items\[0\]", id="element too long"),
        pytest.param(5, "a503300100", r"Thing.items\[0\].number", id="element too short"),
    ],
)
def test_every_other_form_is_refused_by_the_name_of_its_field(index: int, field: str, said: str) -> None:
    """The path says where."""
    der.decode(body(*GOOD), Thing)
    fields = list(GOOD)
    fields[index] = field
    with pytest.raises(Asn1Error, match=said):
        der.decode(body(*fields), Thing)


@together(
    ("field", "value"),
    [
        ("flag", 1),
        ("number", "1"),
        ("colour", "red"),
        ("text", b"red"),
        ("text", "\ud800"),
        ("data", "red"),
        ("items", [Item(1)]),
        ("items", ()),
        ("items", (THING,)),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_by_the_name_of_its_field(field: str, value: Any) -> None:
    """Structs do not check what they are made of."""
    with pytest.raises(Asn1Error, match=rf"Thing\.{field}"):
        der.encode(msgspec.structs.replace(THING, **{field: value}))


def test_what_follows_the_message_is_refused() -> None:
    """One message, and nothing after it, at either level."""
    encoded = der.encode(THING)
    with pytest.raises(Asn1Error, match="too many"):
        der.decode(encoded + b"\x00", Thing)
    choice = der.encode_choice(Item(5), (Thing, Item))
    assert der.decode_choice(choice, (Thing, Item)) == Item(5)
    with pytest.raises(Asn1Error, match="too many"):
        der.decode_choice(choice + b"\x00", (Thing, Item))


def test_a_declaration_without_bounds_is_a_programming_error() -> None:
    """Nothing unbounded is ever read."""

    class Endless(msgspec.Struct):
        number: int

    with pytest.raises(TypeError, match="bounds"):
        der.encode(Endless(1))
