"""The charger keeps each grid code by the test signals, and what keeps it wrongly is noticed (R209)."""

import asyncio
import logging
from pathlib import Path

import pytest

from pki_tools.tree import PkiTree
from tests.testkit.grid_code_faults import FAULTS, Fault
from v2g.energy.grid_code import GridCode, presets
from v2g.io.runtime.virtual_time import VirtualLoop
from v2g_testkit.cases.case import Result, Verdict
from v2g_testkit.cases.grid_code import Energy, cases_of
from v2g_testkit.grid_code_tester import GridCodeBench, GridCodeTester

pytestmark = pytest.mark.requirement("R209")


def play(code: GridCode, installed: GridCode, energy: Energy, only: str, pki: PkiTree, folder: Path) -> list[Result]:
    """Run the cases of which the id begins so."""
    logging.disable(logging.ERROR)
    try:
        with asyncio.Runner(loop_factory=lambda: VirtualLoop(waits=True, disks=True)) as runner:
            tester = GridCodeTester(GridCodeBench(code=code, installed=installed, energy=energy), pki, folder)
            cases = [each for each in cases_of(code, energy) if each.id.startswith(only)]
            assert cases
            return [runner.run(tester.run(each)) for each in cases]
    finally:
        logging.disable(logging.NOTSET)


def wrong(results: list[Result]) -> list[str]:
    return [f"{each.case}: {each.found}" for each in results if each.verdict is not Verdict.PASS]


@pytest.mark.some(2)
@pytest.mark.parametrize(("energy", "only"), [("DC", "TRIP-5"), ("AC", "CONNECT-3"), ("DC", "LFSM-U-100")])
@pytest.mark.some(1)
def test_the_charger_keeps_a_code(energy: Energy, only: str, pki: PkiTree, tmp_path: Path) -> None:
    code = presets()["vde-ar-n-4105-2018"]
    assert wrong(play(code, code, energy, only, pki, tmp_path)) == []


@pytest.mark.long
@pytest.mark.parametrize("energy", ["DC", "AC"])
@pytest.mark.parametrize("preset", presets())
def test_the_charger_passes_all_cases_of_each_preset(preset: str, energy: Energy, pki: PkiTree, tmp_path: Path) -> None:
    code = presets()[preset]
    assert wrong(play(code, code, energy, "", pki, tmp_path)) == []


@pytest.mark.some(1)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda each: each.name)
def test_a_charger_that_is_wrong_is_noticed(
    fault: Fault, pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = presets()[fault.preset]
    fault.patch(monkeypatch)
    (found,) = play(code, fault.change(code), "DC", fault.case, pki, tmp_path)
    assert found.verdict is Verdict.FAIL
