"""One form for what is hashed or signed."""

import msgspec
import pytest

from v2g.energy.settlement.canonical import canonical, parse_canonical, sha256_hex
from v2g.errors import VerificationError


class Line(msgspec.Struct, frozen=True):
    """Something signed."""

    b: int
    a: dict[str, int]


LINE = Line(b=1, a={"y": 2, "x": 3})


def test_keys_are_sorted_at_every_level_without_white_space() -> None:
    assert canonical(LINE) == b'{"a":{"x":3,"y":2},"b":1}'
    assert parse_canonical(canonical(LINE), Line, where="x:1") == LINE


@pytest.mark.parametrize(
    "data", [b'{"b":1,"a":{"x":3,"y":2}}', b'{"a":{"x":3,"y":2}, "b":1}', b'{"a":{"x":3,"y":2},"b":1,"c":0}', b"{"]
)
def test_any_other_form_of_the_same_is_refused(data: bytes) -> None:
    with pytest.raises(VerificationError) as caught:
        parse_canonical(data, Line, where="x:1")
    assert caught.value.where == "x:1"


def test_hashes_are_in_hexadecimal() -> None:
    """FIPS 180-4, "abc"."""
    assert sha256_hex(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
