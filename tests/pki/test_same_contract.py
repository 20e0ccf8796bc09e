"""Which eMAIDs name one contract."""

from tests.together import together
from v2g.pki.certificates import is_same_contract


@together(
    ("one", "other", "same"),
    [
        ("DEV2GC00000001", "de-v2g-c00000001", True),
        ("DEV2GC00000001X", "DE-V2G-C00000001-X", True),
        ("DEV2GC00000001", "DEV2GC000000015", True),  # with and without check digit
        ("DEV2GC000000014", "DEV2GC000000015", False),
        ("DEV2GC00000001", "DEV2GC00000002", False),
        ("DEV2GC00000001", "DEV2GC0000000", False),
        ("DEV2GC0000000", "DEV2GC00000001", False),
        ("", "", True),
        ("", "DEV2GC00000001", False),
    ],
)
def test_form_and_check_digit_do_not_count_and_everything_else_does(one: str, other: str, same: bool) -> None:
    assert is_same_contract(one, other) == is_same_contract(other, one) == same
