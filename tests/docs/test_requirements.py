"""No row of the requirements is claimed without a test or a benchmark that shows it."""

import pytest

from docs import requirements

pytestmark = pytest.mark.xdist_group("pages")  # what pages are made of takes seconds, and is kept for all of them

ROWS = requirements.rows()


def test_rows_have_ids_without_gaps() -> None:
    assert list(ROWS) == [f"R{number}" for number in range(1, len(ROWS) + 1)]


def test_tests_and_benchmarks_name_rows_that_exist() -> None:
    assert set(requirements.shown()) - set(ROWS) == set()


def test_what_is_claimed_is_shown_and_what_is_shown_is_claimed() -> None:
    claimed = {row for row, each in ROWS.items() if each.state in ("done", "part")}
    assert claimed == set(requirements.shown())


def test_what_is_not_whole_says_what_is_missing() -> None:
    assert {row for row, each in ROWS.items() if each.missing and each.state in ("done", "open")} == set()
    assert {row for row, each in ROWS.items() if not each.missing and each.state in ("part", "outside")} == set()


@pytest.mark.parametrize(
    ("source", "rows"),
    [
        ('pytestmark = [pytest.mark.interop, pytest.mark.requirement("R1", "R2")]', ["R1", "R2"]),
        ('@pytest.mark.requirement("R3")\ndef test_it(): ...', ["R3"]),
        ('class TestIt:\n    @mark.requirement("R4")\n    async def test_it(self): ...', ["R4"]),
        ('REQUIREMENTS = ("R5",)', ["R5"]),
        ("def test_it(): ...", []),
    ],
)
def test_rows_are_found_in_a_module(source: str, rows: list[str]) -> None:
    assert list(requirements.marked(source)) == rows
