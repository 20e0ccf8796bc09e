"""Which transport carries which edition."""

import pytest

from v2g.iso15118.select import carried


@pytest.mark.requirement("R18")
@pytest.mark.parametrize(
    ("version", "of_2", "laboratory", "editions"),
    [
        ("TLSv1.3", True, False, {"20", "2"}),
        ("TLSv1.3", False, True, {"20"}),
        ("TLSv1.2", True, True, {"2"}),  # V2G20-1237, V2G20-2356
        ("none", True, False, {"2", "din"}),
        ("none", False, True, {"20", "2", "din"}),
    ],
)
def test_each_transport_carries_its_editions(version: str, *, of_2: bool, laboratory: bool, editions: set[str]) -> None:
    assert carried(version, of_2_in_tls13=of_2, without_tls=laboratory) == editions
