"""An EVCCID identifies a vehicle only where it is a whole MAC address."""

from hypothesis import given
from hypothesis import strategies as st

from tests.together import together
from v2g.iso15118.engine.identifiers import is_regular, mac_address, shown


@together(
    ("evcc_id", "identity", "text"),
    [
        ("98ED5C1A2B3C", "98ED5C1A2B3C", "98ED5C1A2B3C"),
        ("", None, ""),
        ("00", None, ""),
        ("000000000000", None, ""),
        ("0000000000000000", None, ""),
        ("FFFFFFFFFFFF", None, "FFFFFFFFFFFF"),
        ("01005E000001", None, "01005E000001"),
        ("02AB12CD34EF", None, "02AB12CD34EF"),
        ("98ED5C1A2B3C0000", None, "98ED5C1A2B3C"),
        ("000098ED5C1A2B3C", None, "98ED5C1A2B3C"),
        ("98ED5C1A2B3C4D5E", None, "98ED5C1A2B3C4D5E"),
        ("98ED5C", None, "98ED5C"),
    ],
)
def test_what_identifies_and_what_is_shown(evcc_id: str, identity: str | None, text: str) -> None:
    assert mac_address(bytes.fromhex(evcc_id)) == identity
    assert shown(bytes.fromhex(evcc_id)) == text


@given(st.binary(max_size=8))
def test_nothing_padded_short_or_empty_ever_identifies(evcc_id: bytes) -> None:
    identity = mac_address(evcc_id)
    assert identity is None or (is_regular(evcc_id) and bytes.fromhex(identity) == evcc_id)
    assert identity is None or mac_address(evcc_id + b"\0\0") is None
