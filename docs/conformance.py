"""The tables of conformance cases, generated from the cases."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from v2g.iso15118.d20.charts import Family
from v2g_testkit.cases.case import Case


def _cases(role: str) -> dict[Family, tuple[Case, ...]]:
    from v2g_testkit.cases.evcc_cases import FAMILIES, evcc_cases
    from v2g_testkit.cases.secc_cases import secc_cases

    if role == "evcc":
        return {family: evcc_cases(family) for family in FAMILIES}
    return {family: secc_cases(family) for family in Family}


def table(role: str) -> str:
    """Return the page's part for `secc` or `evcc`: number of cases, single cases, then series of cases."""
    from docs.generate import table as markdown

    found = _cases(role)
    counts = [
        (family.value, str(len(cases)), str(sum(not case.open for case in cases)), str(sum(c.quick for c in cases)))
        for family, cases in found.items()
    ]
    parts = [markdown(("Message set", "Cases", "Certain", "With `--quick`"), counts)]
    header = ("Case", "Test", "Required", "Requirements", "Why open")
    parts += ["\n", markdown(header, _rows(found))]
    if role == "secc":
        parts += ["\n### Out of order\n\n", markdown(("State", "Requests", "Open"), _orders(found))]
    else:
        parts += ["\n### Failures\n\n", markdown(("Response", "Codes"), _codes(found))]
    return "".join(parts)


def _codes(found: dict[Family, tuple[Case, ...]]) -> Iterator[Sequence[str]]:
    """Yield a row for each response with all its failures."""
    for family, cases in found.items():
        about = [case for case in cases if case.group == "COD"]
        for response, some in groupby(about, lambda case: case.id.split("-")[3]):
            codes = [case.id.rpartition("-")[2] for case in some]
            listed = codes[0] if len(codes) == 1 else f"all {len(codes)} from {codes[0]} to {codes[-1]}"
            yield (f"`EVCC-COD-{family.value}-{response}-...`", listed)


def _rows(found: dict[Family, tuple[Case, ...]]) -> Iterator[Sequence[str]]:
    """Yield a row for each case that is not about order; those that differ in the set of messages alone share one."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for family, cases in found.items():
        for case in cases:
            if case.group in ("SEQ", "COD"):
                continue
            name = case.id.replace(f"-{family.value}-", "-*-", 1)
            key = (name, case.title, case.required, ", ".join(case.requirements), case.open)
            families = rows.setdefault(key, [])
            if f"-{family.value}-" in case.id:
                families.append(family.value)
    for (name, *rest), families in rows.items():
        shown = name.replace("-*-", f"-{families[0] if len(families) == 1 else '{' + ','.join(families) + '}'}-", 1)
        yield (f"`{shown}`", *rest)


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
