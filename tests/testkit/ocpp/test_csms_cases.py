"""Every case for back ends against our own back end: its frames are judged on the way, then what it has stored.

Those of security profiles: `test_csms_security`; of contracts: `test_csms_contracts`.
"""

import pytest
from msgspec.structs import replace

from tests.csms.fixtures import Start
from tests.testkit.ocpp.csms_rig import (
    CERTIFIED,
    SCHEDULED,
    SECURED,
    SECURED_16,
    UNPRICED,
    csms_16_under_test,
    csms_under_test,
)
from v2g.ocpp.routes import Version
from v2g_testkit.cases.case import Verdict
from v2g_testkit.ocpp.csms_cases.catalogue import CSMS_CASES
from v2g_testkit.ocpp.run_judge import JudgedTester, RunJudge
from v2g_testkit.ocpp.v16.csms_cases import CSMS_CASES_16

SLOW = {"TC_H_07_CSMS"}
"""What waits until a reservation expires."""


@pytest.mark.some(2)
@pytest.mark.parametrize("block", sorted({case.group for case in CSMS_CASES}))
async def test_our_back_end_passes(backend: Start, block: str, subtests: pytest.Subtests) -> None:
    """In 2.1; in 2.0.1 `test_csms_mutants` runs all cases anyway."""
    async with csms_under_test(backend, "2.1") as tester:
        judge = RunJudge("csms", {})
        judged = JudgedTester(tester, judge)
        for case in CSMS_CASES:
            if case.group != block or case.id in SLOW | SCHEDULED | UNPRICED | CERTIFIED:
                continue
            with subtests.test(case.id):
                result = await judged.run(case)
                absent = "2.1" not in case.versions or case.id in SECURED
                assert result.verdict is (Verdict.NOT_APPLICABLE if absent else Verdict.PASS), result.found
        for rule in judge.rules:
            with subtests.test(rule.id):
                assert judge.result(rule).verdict is not Verdict.FAIL, judge.result(rule).found


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
async def test_our_back_end_passes_with_a_grid_signal(
    backend: Start, version: Version, subtests: pytest.Subtests
) -> None:
    async with csms_under_test(backend, version, signal=True) as tester:
        for case in CSMS_CASES:
            if case.id in SCHEDULED and version in case.versions:
                with subtests.test(case.id):
                    result = await tester.run(case)
                    assert result.verdict is Verdict.PASS, result.found


async def test_our_back_end_passes_without_schedules(backend: Start, subtests: pytest.Subtests) -> None:
    async with csms_under_test(backend, "2.1", prices=False) as tester:
        for case in CSMS_CASES:
            if case.id in UNPRICED:
                with subtests.test(case.id):
                    result = await tester.run(case)
                    assert result.verdict is Verdict.PASS, result.found


@pytest.mark.requirement("R200")
@pytest.mark.long
async def test_our_back_end_passes_with_a_station_of_1_6(backend: Start, subtests: pytest.Subtests) -> None:
    async with csms_16_under_test(backend) as tester:
        judge = RunJudge("csms", {}, is_16=True)
        judged = JudgedTester(tester, judge)
        for case in CSMS_CASES_16:
            with subtests.test(case.id):
                result = await judged.run(case)
                expected = Verdict.NOT_APPLICABLE if case.id in SECURED_16 else Verdict.PASS
                assert result.verdict is expected, result.found
        for rule in judge.rules:
            with subtests.test(rule.id):
                assert judge.result(rule).verdict is not Verdict.FAIL, judge.result(rule).found


@pytest.mark.long
async def test_our_back_end_passes_what_takes_time(backend: Start, subtests: pytest.Subtests) -> None:
    async with csms_under_test(backend) as tester:
        for case in CSMS_CASES:
            if case.id in SLOW:
                with subtests.test(case.id):
                    result = await tester.run(case)
                    assert result.verdict is Verdict.PASS, result.found


@pytest.mark.some(2)
@pytest.mark.parametrize(
    ("name", "said", "other"),
    [
        ("TC_E_07_CSMS", '"stoppedReason": "Local"', '"stoppedReason": "Remote"'),
        ("TC_E_07_CSMS", '"value": 1000.0', '"value": 1001.0'),
        ("TC_B_09_CSMS", '"123"', '"124"'),
        ("TC_H_17_CSMS", '"CancelReservation"', '"ClearCache"'),
        ("TC_K_01_CSMS", '"evseId": 1', '"evseId": 2'),
        ("TC_L_07_CSMS", '"DownloadFailed"', '"Downloading"'),
        ("TC_N_21_CSMS", '"trigger": "Alerting"', '"trigger": "Delta"'),
        ("TC_O_04_CSMS", '"ClearDisplayMessage"', '"ClearCache"'),
        ("TC_K_48_CSMS", '"EMS"', '"SO"'),
    ],
)
async def test_what_is_stored_is_compared_with_the_frames(backend: Start, name: str, said: str, other: str) -> None:
    async with csms_under_test(backend) as tester:
        (case,) = (each for each in CSMS_CASES if each.id == name)
        assert (await tester.run(case)).verdict is Verdict.PASS
        tester.frames = [replace(each, text=each.text.replace(said, other)) for each in tester.frames]
        with pytest.raises(AssertionError):
            await tester.check_stored()


def test_ids_are_unique() -> None:
    ids = [case.id for case in CSMS_CASES]
    assert len(set(ids)) == len(ids)
