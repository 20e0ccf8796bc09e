"""Thousands of small cases in a few tests: each is tried, and all that fail are named."""

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

    What pytest and its workers do for a test takes as long as most of these cases. A case does not end at another's
    failure: all failures come out as one group, each with the name (`ids`) of its case. Fixtures are shared by the
    cases of a test, so what they use up has to be made anew in the test's body.
    """
    fields = (names,) if isinstance(names, str) else names
    groups: dict[str, list[Any]] = {}
    for case in cases:
        groups.setdefault(by(case), []).append(case)

    def make(test: Test) -> Test:
        def run(_together: list[Any], **fixtures: Any) -> None:
            failures: list[BaseException] = []
            for case in _together:
                values = (case,) if isinstance(names, str) else case
                try:
                    test(**dict(zip(fields, values, strict=True)), **fixtures)
                except (Exception, pytest.fail.Exception) as failure:  # noqa: BLE001 - raised below, with the others
                    failure.add_note(f"in the case {ids(case)}")
                    failures.append(failure)
            if failures:
                raise BaseExceptionGroup(f"{len(failures)} of {len(_together)} cases failed", failures)

        functools.update_wrapper(run, test, updated=())  # what Hypothesis keeps on a test stays there
        signature = inspect.signature(test)
        own = inspect.Parameter("_together", inspect.Parameter.KEYWORD_ONLY)
        others = [each.replace(kind=own.kind) for name, each in signature.parameters.items() if name not in fields]
        run.__signature__ = signature.replace(parameters=[own, *others])  # type: ignore[attr-defined]
        run.pytestmark = [*getattr(test, "pytestmark", [])]  # type: ignore[attr-defined]
        return pytest.mark.parametrize("_together", groups.values(), ids=list(groups))(run)

    return make
