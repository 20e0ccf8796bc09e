"""The tables of conformance cases, generated from the cases."""

import tomllib
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

from docs.markdown import table as markdown
from v2g.iso15118.d20.charts import Family
from v2g_testkit.cases.case import Case
from v2g_testkit.cases.editions import CHARGERS, VEHICLES, Edition
from v2g_testkit.cases.published import GROUPS, LEFT
from v2g_testkit.cases.v2g_message.secc_cases import Scope, published_id

ROOT: Final = Path(__file__).resolve().parent.parent


def _cases(role: str) -> dict[Family, tuple[Case, ...]]:
    from v2g_testkit.cases.evcc_cases import FAMILIES, evcc_cases
    from v2g_testkit.cases.secc_cases import secc_cases

    if role == "evcc":
        return {family: evcc_cases(family) for family in FAMILIES}
    return {family: secc_cases(family) for family in Family}


def table(role: str) -> str:
    """Return the page's part for `secc` or `evcc`: number of cases, single cases, then series of cases."""
    found = _cases(role)
    counts = [
        (family.value, str(len(cases)), str(sum(not case.open for case in cases)), str(sum(c.quick for c in cases)))
        for family, cases in found.items()
    ]
    parts = [markdown(("Message set", "Cases", "Certain", "With `--quick`"), counts)]
    header = ("Case", *(("ISO 15118-4",) if role == "secc" else ()), "Test", "Required", "Requirements", "Why open")
    parts += ["\n", markdown(header, _rows(found, with_published=role == "secc"))]
    if role == "secc":
        parts += ["\n### Out of order\n\n", markdown(("State", "Requests", "Open"), _orders(found))]
    else:
        parts += ["\n### Failures\n\n", markdown(("Response", "Codes"), _codes(found))]
    return "".join(parts)


_OLDER: Final = {"2": Edition.ISO2, "din": Edition.DIN}


def older(edition: str) -> str:
    """Return the cases of `2` or `din`: their number, then each."""
    test = CHARGERS[_OLDER[edition]]
    found = {family: test.cases(family) for family in test.families}
    counts = [
        (family.value, str(len(cases)), str(sum(not case.open for case in cases)), str(sum(c.quick for c in cases)))
        for family, cases in found.items()
    ]
    rows = {case.id: case for cases in found.values() for case in cases}
    header = ("Case", "ISO 15118-4", "Test", "Required", "Requirements", "Applies if declared", "Why open")
    listed = (
        (
            f"`{case.id}`",
            "the same" if case.id in case.published else ", ".join(f"like `{each}`" for each in case.published),
            case.title,
            case.required,
            ", ".join(case.requirements),
            ", ".join(f"`{each}`" for each in case.needs),
            case.open,
        )
        for case in rows.values()
    )
    return f"{markdown(('Message set', 'Cases', 'Certain', 'With `--quick`'), counts)}\n{markdown(header, listed)}"


def older_vehicles(edition: str) -> str:
    """Return the cases for vehicles of `2` or `din`: their number, single cases, then the failures."""
    test = VEHICLES[_OLDER[edition]]
    found = {family: test.cases(family) for family in test.families}
    counts = [
        (family.value, str(len(cases)), str(sum(not case.open for case in cases)), str(sum(c.quick for c in cases)))
        for family, cases in found.items()
    ]
    rows = {case.id: case for cases in found.values() for case in cases}
    listed = (
        (
            f"`{case.id}`",
            ", ".join(f"`{each}`" for each in case.published),
            case.title,
            case.required,
            ", ".join(case.requirements),
            case.open,
        )
        for case in rows.values()
        if case.group != "COD"
    )
    failures: dict[str, list[str]] = {}
    for case in rows.values():
        if case.group == "COD":
            series, _, code = case.id.rpartition("-")
            failures.setdefault(series, []).append(code)
    header = ("Case", "Group in ISO 15118-4", "Test", "Required", "Requirements", "Why open")
    return "\n".join(
        (
            markdown(("Message set", "Cases", "Certain", "With `--quick`"), counts),
            markdown(header, listed),
            markdown(("Failures", "Codes"), ((f"`{name}-...`", ", ".join(each)) for name, each in failures.items())),
        )
    )


def published() -> str:
    """Return which numbers of each published group are tested in each edition, and which are not tested at all."""
    tested = {
        edition: {name for family in test.families for case in test.cases(family) for name in case.published}
        for edition, test in CHARGERS.items()
    }
    not_tested = {name for each in LEFT for name in each.ids()}

    def row(scopes: Sequence[Scope], message: str, count: int) -> Iterator[str]:
        names = [f"`{published_id(scope, message, 1)[:-4]}`" for scope in scopes]
        yield ", ".join(names)
        yield str(count)
        for found in (*(tested[edition] for edition in (Edition.ISO2, Edition.DIN, Edition.ISO20)), not_tested):
            yield _ranges([n for n in range(1, count + 1) if any(published_id(s, message, n) in found for s in scopes)])

    rows = (tuple(row(each.scopes, *group)) for each in GROUPS for group in each.cases.items())
    return markdown(("Group", "Published", "ISO 15118-2", "DIN 70121", "ISO 15118-20", "Not tested"), rows)


def faults() -> str:
    """Return how many faults in fields of a charger's responses the cases catch, and which they cannot."""
    known = tomllib.loads((ROOT / "docs" / "fault-catalogue.toml").read_text(encoding="utf-8"))
    counts = [
        (
            each["edition"],
            each["set"],
            str(each["faults"]),
            str(each["caught"]),
            f"{each['caught'] / each['faults']:.0%}",
        )
        for each in known["way"]
    ]
    rows = ((", ".join(f"`{pattern}`" for pattern in each["patterns"]), each["why"]) for each in known["unseen"])
    header = ("Edition", "Message set", "Faults", "Caught by a named case", "Part")
    return f"{markdown(header, counts)}\n{markdown(('Not caught', 'Why no case can'), rows)}"


def left() -> str:
    """Return the published cases that are not tested, and why."""
    rows = (
        (", ".join(f"`TC_SECC_{scope}_VTB_{each.message}`" for scope in each.scopes), _ranges(each.numbers), each.why)
        for each in LEFT
    )
    return markdown(("Group", "Numbers", "Why not"), rows)


def _ranges(numbers: Sequence[int]) -> str:
    """Return numbers, with those that follow each other as ranges."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]:03}" if len(run) == 1 else f"{run[0]:03} to {run[-1]:03}" for run in runs)


def _codes(found: dict[Family, tuple[Case, ...]]) -> Iterator[Sequence[str]]:
    """Yield a row for each response with all its failures."""
    for family, cases in found.items():
        about = [case for case in cases if case.group == "COD"]
        for response, some in groupby(about, lambda case: case.id.split("-")[3]):
            codes = [case.id.rpartition("-")[2] for case in some]
            listed = codes[0] if len(codes) == 1 else f"all {len(codes)} from {codes[0]} to {codes[-1]}"
            yield (f"`EVCC-COD-{family.value}-{response}-...`", listed)


def _rows(found: dict[Family, tuple[Case, ...]], *, with_published: bool) -> Iterator[Sequence[str]]:
    """Yield a row for each case that is not about order; those that differ in the set of messages alone share one."""
    rows: dict[tuple[str, ...], tuple[list[str], set[str]]] = {}
    for family, cases in found.items():
        for case in cases:
            if case.group in ("SEQ", "COD"):
                continue
            name = case.id.replace(f"-{family.value}-", "-*-", 1)
            key = (name, case.title, case.required, ", ".join(case.requirements), case.open)
            families, ids = rows.setdefault(key, ([], set()))
            ids |= set(case.published)
            if f"-{family.value}-" in case.id:
                families.append(family.value)
    for (name, *rest), (families, ids) in rows.items():
        shown = name.replace("-*-", f"-{families[0] if len(families) == 1 else '{' + ','.join(families) + '}'}-", 1)
        yield (f"`{shown}`", *((", ".join(f"`{each}`" for each in sorted(ids)),) if with_published else ()), *rest)


def _orders(found: dict[Family, tuple[Case, ...]]) -> Iterator[Sequence[str]]:
    for family, cases in found.items():
        about = [case for case in cases if case.group == "SEQ"]
        for state, some in groupby(about, lambda case: case.id.split("-")[3]):
            listed = list(some)
            yield (
                f"`SECC-SEQ-{family.value}-{state}-...`",
                ", ".join(case.id.rpartition("-")[2] for case in listed),
                "all" if all(c.open for c in listed) else ", ".join(c.id.rpartition("-")[2] for c in listed if c.open),
            )
