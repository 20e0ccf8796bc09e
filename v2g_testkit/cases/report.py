"""Selection of cases, and reports of their results: totals, and JUnit's XML for build servers (pure)."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final, TypeVar
from xml.sax.saxutils import escape, quoteattr

from v2g.text import printable
from v2g_testkit.cases.case import Described, Result, Verdict

C = TypeVar("C", bound=Described)

NOTICE: Final = (
    "These cases are this project's own, derived from requirements as publicly cited. They are not the test suites "
    "of ISO 15118-4 and ISO 15118-21, and a pass is not a certificate."
)
"""Notice in all reports."""


def chosen(cases: Iterable[C], only: Sequence[str] = (), *, skip: Sequence[str] = (), quick: bool = False) -> list[C]:
    """Return the cases of which an id, own or published, has one of `only` as a part, or matches it if it contains a *.

    Without those that `skip` names in the same way. `quick` selects the representative ones.
    """

    def named(case: C, words: Sequence[str]) -> bool:
        return any(
            fnmatchcase(name.lower(), each.lower()) if "*" in each else _has(name, each)
            for name in (case.id, *case.published)
            for each in words
        )

    kept = (case for case in cases if (not only or named(case, only)) and not named(case, skip))
    return [case for case in kept if case.quick or not quick]


def _has(case_id: str, part: str) -> bool:
    """Return whether whole words of an id are `part`; those of ISO 15118-4 have _ between words."""
    if case_id.startswith("TC_"):
        case_id, part = case_id.replace("_", "-"), part.replace("_", "-")
    return f"-{part}-".lower() in f"-{case_id}-".lower()


def totals(results: Iterable[Result]) -> dict[Verdict, int]:
    """Return the number of results by verdict."""
    counted = Counter(each.verdict for each in results)
    return {verdict: counted[verdict] for verdict in Verdict}


def exit_code(results: Sequence[Result]) -> int:
    """Return 0 if nothing failed, 1 if something failed, 3 if nothing was conclusive."""
    counted = totals(results)
    if counted[Verdict.FAIL]:
        return 1
    return 0 if counted[Verdict.PASS] or counted[Verdict.OPEN] else 3


def failures_first(results: Iterable[Result]) -> list[Result]:
    """Return results in reading order: failures, inconclusive ones, those not exercised, the others."""
    order = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.NOT_EXERCISED, Verdict.OPEN)
    return sorted(results, key=lambda each: order.index(each.verdict) if each.verdict in order else len(order))


def not_run(cases: Iterable[C], results: Iterable[Result]) -> list[C]:
    """Return the cases without a result: the run was interrupted, or the device no longer usable."""
    done = {each.case for each in results}
    return [case for case in cases if case.id not in done]


def junit(
    name: str, about: Mapping[str, str], cases: Iterable[Described], results: Iterable[Result], notice: str = NOTICE
) -> str:
    """Return the results in JUnit's format, failures first; inconclusive ones are skipped, cases not run errors.

    `about` describes the test: device, time, versions, and as `not run` why cases were not.
    """
    by_id = {case.id: case for case in cases}
    results = failures_first(results)
    left = not_run(by_id.values(), results)
    skipped = sum(each.verdict not in (Verdict.PASS, Verdict.FAIL) for each in results)
    failed = sum(each.verdict is Verdict.FAIL for each in results)
    seconds = sum(each.seconds for each in results)
    counts = (
        f'tests="{len(results) + len(left)}" failures="{failed}" errors="{len(left)}" skipped="{skipped}" '
        f'time="{seconds:.3f}"'
    )
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f"<testsuite name={quoteattr(name)} {counts}>",
        "<properties>",
        *(
            f"<property name={quoteattr(each)} value={quoteattr(printable(text))}/>"
            for each, text in {**about, "notice": notice}.items()
        ),
        "</properties>",
    ]
    for each in results:
        case = by_id[each.case]
        lines.append(
            f"<testcase classname={quoteattr(f'{name}.{case.group}')} name={quoteattr(f'{each.case} {case.title}')} "
            f'time="{each.seconds:.3f}">'
        )
        if case.published:
            ids = quoteattr(" ".join(case.published))
            lines.append(f'<properties><property name="ISO 15118-4" value={ids}/></properties>')
        found_text = quoteattr(printable(each.found))
        if each.verdict is Verdict.FAIL:
            needed = f"Required: {case.required} ({', '.join(case.requirements) or 'no public number'})"
            lines.append(f"<failure message={found_text}>{escape(needed)}</failure>")
        elif each.verdict is not Verdict.PASS:
            lines.append(f"<skipped message={quoteattr(f'{each.verdict.value}: {printable(each.found)}')}/>")
        lines.append("</testcase>")
    why = quoteattr(printable(": ".join(filter(None, ("not run", about.get("not run"))))))
    for case in left:
        about_case = f"classname={quoteattr(f'{name}.{case.group}')} name={quoteattr(f'{case.id} {case.title}')}"
        lines.append(f'<testcase {about_case} time="0.000"><error message={why}/></testcase>')
    return "\n".join((*lines, "</testsuite>", ""))
