"""Cases that are tried together are all tried, and those that fail are named."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.together import together


def run(test: object, **fixtures: object) -> None:
    """Run a test of its own as pytest does: once for each group of cases."""
    (mark,) = test.pytestmark  # type: ignore[attr-defined]
    for cases in mark.args[1]:
        test(_together=cases, **fixtures)  # type: ignore[operator]


def test_every_case_is_tried_and_each_failure_is_named() -> None:
    tried = []

    @together("number", range(6), ids=lambda number: f"number {number}")
    def test(number: int) -> None:
        tried.append(number)
        if number == 1:
            raise ValueError
        if number == 4:
            with pytest.raises(KeyError):
                pass

    with pytest.raises(BaseExceptionGroup, match="2 of 6 cases") as caught:
        run(test)
    assert tried == [*range(6)]
    kinds = [(type(each), *each.__notes__) for each in caught.value.exceptions]
    assert kinds == [(ValueError, "in the case number 1"), (pytest.fail.Exception, "in the case number 4")]


@together(("left", "right"), [(1, 2), (3, 4), (5, 7)], by=lambda case: str(sum(case) % 2))
@settings(max_examples=3)
@given(drawn=st.integers())
def test_groups_fixtures_marks_and_hypothesis_go_with_it(
    request: pytest.FixtureRequest, left: int, right: int, drawn: int
) -> None:
    assert request.node.callspec.id == str((left + right) % 2)
    assert drawn * right >= drawn * left if drawn >= 0 else drawn * right <= drawn * left
