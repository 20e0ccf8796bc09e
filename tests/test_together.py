"""Cases that are tried together are all tried, and pytest names and counts those that fail."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.together import together

pytest_plugins = ("pytester",)

FILE = """
from tests.together import together

@together("number", range(6), ids=lambda number: f"number-{number}")
def test_numbers(number):
    assert number not in (1, 4)
"""


@pytest.mark.long  # runs pytest
def test_every_case_is_tried_and_each_failure_is_named(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(FILE)
    report = pytester.path / "junit.xml"
    outcome = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider", f"--junitxml={report}")
    text = outcome.stdout.str()
    assert "number-1" in text
    assert "number-4" in text
    assert "number-2" not in text
    assert "number-4" in report.read_text()


def test_no_cases_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="no cases"):
        together("number", [])


@together(("left", "right"), [(1, 2), (3, 4), (5, 7)], by=lambda case: str(sum(case) % 2))
@settings(max_examples=3)
@given(drawn=st.integers())
def test_groups_fixtures_marks_and_hypothesis_go_with_it(
    request: pytest.FixtureRequest, left: int, right: int, drawn: int
) -> None:
    assert request.node.callspec.id == str((left + right) % 2)
    assert drawn * right >= drawn * left if drawn >= 0 else drawn * right <= drawn * left
