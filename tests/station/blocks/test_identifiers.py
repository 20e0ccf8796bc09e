"""Which identifiers are equal, in any spelling."""

import pytest

from tests.together import together
from v2g.ocpp.messages.authorization import IdToken
from v2g_station.blocks.identifiers import is_same_group, name_of, same


@pytest.mark.parametrize(
    ("one", "two", "equal"),
    [
        ("DEV2GC00000001", "de-v2g-c00000001", True),
        ("DEV2GC00000001", "DE-V2G-C00000001-4", True),
        ("DEV2GC000000014", "DEV2GC00000001", True),
        ("DEV2GC00000001", "DEV2GC00000002", False),
        ("DEV2GC0000000144", "DEV2GC00000001", False),
    ],
)
def test_an_emaid_is_one_with_and_without_separators_and_check_digit(one: str, two: str, equal: bool) -> None:
    assert same(*(IdToken(id_token=each, type="eMAID") for each in (one, two))) is equal
    assert name_of(IdToken(id_token="A-B", type="Central")) != name_of(IdToken(id_token="AB", type="Central"))


@together(
    ("one", "two", "equal"),
    [
        ("G-1", "g-1", True),
        ("G-1", "G-2", False),
        ("G-1", None, False),
        (None, "G-1", False),
        (None, None, False),
        ("", "", False),
    ],
)
def test_groups_are_equal_in_any_case(one: str | None, two: str | None, equal: bool) -> None:
    assert is_same_group(one, two) is equal


def test_stores_have_identifiers_by_a_key_that_stays() -> None:
    assert name_of(IdToken(id_token="TAG-1", type="ISO14443")) == "a1be089da4030b7e9acc48b99baabe5071241edc"
