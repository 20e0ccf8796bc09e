"""Faults of back ends in what only OCPP 2.1 has: as in `test_csms_mutants`."""

import pytest

from tests.certification.conftest import Start
from tests.testkit.ocpp.csms_rig import csms_under_test
from tests.testkit.ocpp.test_csms_mutants import CALL, CALLRESULT, LONG_AGO, Mutant, Payload, add, drop, put
from v2g_testkit.cases.case import Verdict
from v2g_testkit.ocpp.csms_cases.catalogue import CSMS_CASES

CASES = [case for case in CSMS_CASES if case.versions == ("2.1",)]


def _limited(payload: Payload) -> None:
    for each in payload["chargingProfile"]["chargingSchedule"][0]["chargingSchedulePeriod"]:
        each["limit"] = 6000.0


def _scheduled(name: str) -> Mutant:
    def edit(payload: Payload) -> None:
        payload["chargingProfile"]["chargingSchedule"][0].pop(name, None)

    return Mutant(f"profiles have no {name}", CALL, "SetChargingProfile", edit, "")


MUTANTS = (
    Mutant(
        "profiles end soon offline", CALL, "SetChargingProfile", put("chargingProfile.maxOfflineDuration", 1), "K_100"
    ),
    _scheduled("limitAtSoC")._replace(fails="K_102"),
    _scheduled("randomizedDelay")._replace(fails="K_106"),
    Mutant("set-points have limits", CALL, "SetChargingProfile", _limited, "Q_108 Q_109 Q_117 Q_121"),
    Mutant("priority is not used", CALL, "UsePriorityCharging", put("activate", value=False), "K_118"),
    Mutant("reports of priority are refused", CALLRESULT, "NotifyPriorityCharging", "NotSupported", "K_118"),
    Mutant("nothing is updated", CALL, "UpdateDynamicSchedule", None, "K_121 Q_109 Q_110 Q_117"),
    Mutant("nothing is pulled", CALLRESULT, "PullDynamicScheduleUpdate", put("status", "Rejected"), "K_121 Q_110"),
    Mutant("everything is pulled", CALLRESULT, "PullDynamicScheduleUpdate", put("status", "Accepted"), "K_121"),
    Mutant("transfers are of another", CALL, "NotifyAllowedEnergyTransfer", put("transactionId", "other"), "Q_107"),
    Mutant("signals are old", CALL, "AFRRSignal", put("timestamp", LONG_AGO), "Q_120"),
    Mutant(
        "controls have all fields",
        CALL,
        "SetDERControl",
        add(fixedVar={"priority": 1, "setpoint": 1.0, "unit": "PctMaxVar"}),
        "R_107",
    ),
    Mutant("alarms are refused", CALLRESULT, "NotifyDERAlarm", "NotSupported", "R_108"),
    Mutant("transactions do not survive resets", CALL, "Reset", put("type", "Immediate"), "B_103 B_104"),
    Mutant("identities are not set", CALL, "SetNetworkProfile", put("connectionData.identity", "X"), "B_100"),
    Mutant("VAT numbers have no EVSE", CALLRESULT, "VatNumberValidation", drop("evseId"), "C_108"),
    Mutant(
        "limits are raised",
        CALLRESULT,
        "TransactionEvent",
        add(transactionLimit={"maxEnergy": 1e6, "maxTime": 100_000, "maxCost": 1e6}),
        "E_106 E_107 E_108",
    ),
    Mutant("another message is triggered", CALL, "TriggerMessage", put("customTrigger", "Other"), "F_100"),
    Mutant("streams are refused", CALLRESULT, "OpenPeriodicEventStream", put("status", "Rejected"), "N_105"),
)


@pytest.mark.long
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
async def test_a_faulty_back_end_fails_exactly_the_cases_about_it(backend: Start, mutant: Mutant) -> None:
    async with csms_under_test(backend, "2.1", mutant.change) as tester:
        results = [await tester.run(case) for case in CASES]
    failed = {each.case for each in results if each.verdict is Verdict.FAIL}
    assert failed == {f"TC_{name}_CSMS" for name in mutant.fails.split()}
