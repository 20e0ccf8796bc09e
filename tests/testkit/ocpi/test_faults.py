"""Our back end with one fault at a time, put between it and the lab: each is found (R204)."""

from functools import partial
from pathlib import Path

import pytest

from pki_tools.tree import PkiTree
from tests.testkit.ocpi.faults import FAULTS, Fault, FaultyLab
from tests.testkit.ocpi.rig import under_test
from v2g_testkit.cases.case import Verdict
from v2g_testkit.ocpi.cases import CASES

pytestmark = pytest.mark.requirement("R204")

FOUND = (Verdict.FAIL, Verdict.OPEN)
"""Open is what the specification leaves to a platform, and ours does right."""


@pytest.mark.some(3)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_a_fault_is_found(tmp_path: Path, pki: PkiTree, empty_database: Path, fault: Fault) -> None:
    class Faulty(FaultyLab):
        pass

    Faulty.fault = fault
    cases = [case for case in CASES if any(case.id.startswith(each) for each in fault.cases.split())]
    assert cases
    async with under_test(tmp_path, pki, empty_database, seconds=2, lab_of=partial(Faulty)) as rig:
        results = await rig.run(cases)
    assert [each.case for each in results.values() if each.verdict in FOUND], [
        f"{each.case} {each.verdict.value}: {each.found}" for each in results.values()
    ]


@pytest.mark.some(2)
@pytest.mark.parametrize("cases", sorted({each.cases for each in FAULTS}))
async def test_the_same_cases_find_none_where_there_is_none(
    tmp_path: Path, pki: PkiTree, empty_database: Path, cases: str
) -> None:
    chosen = [case for case in CASES if any(case.id.startswith(each) for each in cases.split())]
    async with under_test(tmp_path, pki, empty_database, seconds=2) as rig:
        results = await rig.run(chosen)
    assert [f"{each.case}: {each.found}" for each in results.values() if each.verdict in FOUND] == []


def test_there_are_enough() -> None:
    assert len(FAULTS) >= 30
    assert len({each.name for each in FAULTS}) == len(FAULTS)
    assert sum(case.wrong for case in CASES) >= 30
    assert len({case.id for case in CASES}) == len(CASES)
