"""Thousands of small cases in a few tests: one that fails is a subtest, so that pytest names, counts and reports it."""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import pytest

Test = Callable[..., None]


def together(
    names: str | tuple[str, ...],
    cases: Iterable[Any],
    *,
    ids: Callable[[Any], str] = str,
    by: Callable[[Any], str] = lambda case: "all",
) -> Callable[[Test], Test]:
    """Take the place of `pytest.mark.parametrize`, with one test for all cases of which `by` says the same.

    What pytest and its workers do for a test takes as long as most of these cases. A case that fails is reported by its
    name (`ids`), like a test, and does not keep the others from being tried. Fixtures are shared by the cases of a
    test, so what they use up has to be made anew in the test's body. Raises ValueError where there are no cases.
    """
    fields = (names,) if isinstance(names, str) else names
    groups: dict[str, list[Any]] = {}
    for case in cases:
        groups.setdefault(by(case), []).append(case)
    if not groups:
        raise ValueError("there are no cases to try")

    def make(test: Test) -> Test:
        def run(_together: list[Any], subtests: pytest.Subtests, **fixtures: Any) -> None:
            for case in _together:
                values = (case,) if isinstance(names, str) else case
                try:
                    test(**dict(zip(fields, values, strict=True)), **fixtures)
                except (Exception, pytest.fail.Exception, pytest.skip.Exception) as failure:
                    failure.add_note(f"in the case {ids(case)}")  # JUnit's report has no other place for it
                    with subtests.test(ids(case)):  # a report of each that passes takes as long as most of them
                        raise

        functools.update_wrapper(run, test, updated=())  # what Hypothesis keeps on a test stays there
        signature = inspect.signature(test)
        own = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in ("_together", "subtests")]
        others = [each.replace(kind=own[0].kind) for name, each in signature.parameters.items() if name not in fields]
        run.__signature__ = signature.replace(parameters=[*own, *others])  # type: ignore[attr-defined]
        run.pytestmark = [*getattr(test, "pytestmark", [])]  # type: ignore[attr-defined]
        return pytest.mark.parametrize("_together", groups.values(), ids=list(groups))(run)

    return make
