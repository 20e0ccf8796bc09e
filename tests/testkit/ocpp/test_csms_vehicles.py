"""Back ends with one fault in what they send and answer for vehicles: each fails exactly the cases that say so."""

from typing import Any

import pytest

from tests.csms.fixtures import Start
from tests.testkit.ocpp.csms_mutants import CALL, CALLRESULT, Mutant, Payload, put
from tests.testkit.ocpp.csms_rig import SCHEDULED, csms_under_test
from v2g.ocpp.routes import Version
from v2g_testkit.cases.case import Verdict
from v2g_testkit.ocpp.csms_cases import block_k
from v2g_testkit.ocpp.csms_cases.catalogue import CSMS_CASES
from v2g_testkit.ocpp.csms_tester import CsmsTester


def _schedules(count: int) -> Any:
    def edit(payload: Payload) -> None:
        profile = payload["chargingProfile"]
        first = profile["chargingSchedule"][0]
        profile["chargingSchedule"] = [first | {"id": number} for number in range(1, count + 1)]

    return edit


def _periods(payload: Payload) -> None:
    schedule = payload["chargingProfile"]["chargingSchedule"][0]
    last = schedule["chargingSchedulePeriod"][-1]
    schedule["chargingSchedulePeriod"] += [last | {"startPeriod": 60_000 + n} for n in range(13)]


class Later:
    """A fault in the frames of an action from the second of each case on, which begins with a boot."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant, self._count = mutant, 0

    def change(self, action: str, frame: list[Any]) -> list[Any] | None:
        """Change a frame of the back end."""
        if action == "BootNotification":
            self._count = 0
        if (frame[0], action) != (self._mutant.kind, self._mutant.action):
            return frame
        if "transactionId" not in frame[-1].get("chargingProfile", {"transactionId": ""}):
            return frame  # a profile of the station
        self._count += 1
        return frame if self._count == 1 else self._mutant.change(action, frame)


OTHER = put("chargingProfile.transactionId", "other")
REJECTED = put("status", "Rejected")
FIRST: tuple[tuple[Version, Mutant], ...] = (
    ("2.0.1", Mutant("no profile follows", CALL, "SetChargingProfile", None, "K_53")),
    ("2.0.1", Mutant("profiles are of no transaction", CALL, "SetChargingProfile", OTHER, "K_53")),
    ("2.0.1", Mutant("too many schedules", CALL, "SetChargingProfile", _schedules(4), "K_53 K_55 K_57 K_58 K_59")),
    ("2.0.1", Mutant("schedules are too long", CALL, "SetChargingProfile", _periods, "K_53")),
    ("2.0.1", Mutant("needs are refused", CALLRESULT, "NotifyEVChargingNeeds", "NotSupported", "K_53")),
    ("2.0.1", Mutant("no plan is good", CALLRESULT, "NotifyEVChargingSchedule", REJECTED, "K_53 K_55")),
    ("2.0.1", Mutant("every plan is good", CALLRESULT, "NotifyEVChargingSchedule", put("status", "Accepted"), "K_55")),
    ("2.1", Mutant("no profile follows", CALL, "SetChargingProfile", None, "K_115 Q_102")),
    ("2.1", Mutant("there are two schedules", CALL, "SetChargingProfile", _schedules(2), "K_113 K_115 K_117")),
    ("2.1", Mutant("all is allowed", CALLRESULT, "NotifyEVChargingNeeds", put("status", "Accepted"), "Q_103")),
)
LATER: tuple[tuple[Version, Mutant], ...] = (
    ("2.0.1", Mutant("other profiles are of no transaction", CALL, "SetChargingProfile", OTHER, "K_55 K_57 K_58 K_59")),
    ("2.0.1", Mutant("no other plan is good", CALLRESULT, "NotifyEVChargingSchedule", REJECTED, "K_55 K_57 K_58 K_59")),
    ("2.1", Mutant("other profiles are of no transaction", CALL, "SetChargingProfile", OTHER, "K_113 K_114 K_117")),
    ("2.1", Mutant("no other plan is good", CALLRESULT, "NotifyEVChargingSchedule", REJECTED, "K_113 K_114")),
)


def named(pairs: tuple[tuple[Version, Mutant], ...]) -> list[Any]:
    slow = [pytest.mark.long]
    return [
        pytest.param(*each, marks=slow if each[1].edit is None else [], id=f"{each[0]}-{each[1].name}")
        for each in pairs
    ]


async def failed(tester: CsmsTester) -> set[str]:
    """Return which cases fail."""
    found = set()
    for case in CSMS_CASES:
        applies = case.id in SCHEDULED | {"TC_Q_103_CSMS"} and tester.version in case.versions
        if applies and (await tester.run(case)).verdict is Verdict.FAIL:
            found.add(case.id.removeprefix("TC_").removesuffix("_CSMS"))
    return found


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_k, "SCHEDULE_S", 0.0)


@pytest.mark.some(3)
@pytest.mark.parametrize(("version", "mutant"), named(FIRST))
async def test_a_faulty_back_end_fails_exactly_the_cases_about_it(
    backend: Start, version: Version, mutant: Mutant
) -> None:
    async with csms_under_test(backend, version, mutant.change, signal=True) as tester:
        assert await failed(tester) == set(mutant.fails.split())


@pytest.mark.some(1)
@pytest.mark.parametrize(("version", "mutant"), named(LATER))
async def test_a_fault_in_renegotiations_fails_exactly_the_cases_about_them(
    backend: Start, version: Version, mutant: Mutant
) -> None:
    async with csms_under_test(backend, version, Later(mutant).change, signal=True) as tester:
        assert await failed(tester) == set(mutant.fails.split())


async def test_a_schedule_that_is_announced_and_does_not_follow_is_found(backend: Start) -> None:
    mutant = Mutant("", CALLRESULT, "NotifyEVChargingNeeds", put("status", "Accepted"), "")
    async with csms_under_test(backend, "2.1", mutant.change, prices=False) as tester:
        (case,) = (each for each in CSMS_CASES if each.id == "TC_K_126_CSMS")
        assert (await tester.run(case)).verdict is Verdict.FAIL
