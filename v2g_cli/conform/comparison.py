"""`v2g conform diff`: compares two runs of cases. `v2g conform badge`: a picture of one run's result (SVG)."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Annotated

import typer

from v2g.errors import StoreError
from v2g_cli.conform.options import JsonFlag
from v2g_cli.conform.running import read_results
from v2g_cli.output import print_json, print_table, say
from v2g_testkit.cases.case import Result, Verdict
from v2g_testkit.cases.report import totals

RecordsFile = Annotated[Path, typer.Argument(help="Records of a run: the output of a test with --json.")]


def diff(before: RecordsFile, after: RecordsFile, json: JsonFlag = False) -> None:
    """Compare two runs, of the same device before and after a change, or of two devices.

    Exit code 1 if a case fails that did not fail before.

    Example: `v2g conform diff monday.jsonl friday.jsonl`
    """
    first, second = _by_case(read_results(before)), _by_case(read_results(after))
    changes = [
        (case, first.get(case), second.get(case))
        for case in dict.fromkeys((*first, *second))
        if _verdict(first.get(case)) != _verdict(second.get(case))
    ]
    if json:
        for case, old, new in changes:
            print_json({"case": case, "before": _verdict(old), "after": _verdict(new), "found": new and new.found})
    elif changes:
        rows = [(case, _verdict(old), _verdict(new), new.found if new else "") for case, old, new in changes]
        print_table("Changes", ("Case", "Before", "After", "Found"), rows)
    else:
        say(f"no verdict changed, in {len(second)} cases")
    worse = [case for case, _, new in changes if new is not None and new.verdict is Verdict.FAIL]
    raise typer.Exit(1 if worse else 0)


def badge(
    records: RecordsFile,
    file: Annotated[Path, typer.Argument(help="SVG file to write.")],
    title: Annotated[str, typer.Option("--title", help="Left part of the badge.")] = "OCPP cases",
) -> None:
    """Write a badge with the result of a run: how many of the cases that apply passed.

    Example: `v2g conform badge friday.jsonl badge.svg --title 'OCPP 2.0.1 Core'`
    """
    try:
        file.write_text(drawn(title, read_results(records)), encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{file}: {error.strerror}", hint="choose a file that this user may write") from None


def drawn(title: str, results: Sequence[Result]) -> str:
    """Return the badge: green if all that applies passed, red if something failed."""
    counted = totals(results)
    applied = sum(counted.values()) - counted[Verdict.NOT_APPLICABLE]
    text = f"{counted[Verdict.PASS]} of {applied}"
    colour = "#c0392b" if counted[Verdict.FAIL] else "#2e7d32" if counted[Verdict.PASS] == applied else "#b26a00"
    left, right = 12 + 7 * len(title), 12 + 7 * len(text)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" '
        f'aria-label="{escape(title)}: {text}"><title>{escape(title)}: {text}</title>'
        f'<rect width="{left}" height="20" fill="#444"/><rect x="{left}" width="{right}" height="20" fill="{colour}"/>'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">'
        f'<text x="{left / 2:g}" y="14">{escape(title)}</text><text x="{left + right / 2:g}" y="14">{text}</text>'
        "</g></svg>\n"
    )


def _by_case(results: Sequence[Result]) -> Mapping[str, Result]:
    return {each.case: each for each in results}


def _verdict(result: Result | None) -> str:
    return "not run" if result is None else result.verdict.value
