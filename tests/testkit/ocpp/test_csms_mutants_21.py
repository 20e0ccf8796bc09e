"""Faults of back ends in what only OCPP 2.1 has: as in `test_csms_mutants`."""

import itertools
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from csms.payments import work as qr_payments
from csms.payments.rules import Scanned, decode
from tests.csms.fixtures import Start
from tests.testkit.ocpp.csms_mutants import (
    CALL,
    CALLRESULT,
    LONG_AGO,
    Edit,
    Mutant,
    Payload,
    add,
    drop,
    each,
    put,
    swap,
    token_status,
)
from tests.testkit.ocpp.csms_rig import CERTIFIED, DECLARED, SCHEDULED, csms_under_test
from v2g.errors import RefusedError
from v2g_testkit.cases.case import Verdict
from v2g_testkit.ocpp.case import OcppCase
from v2g_testkit.ocpp.csms_cases.catalogue import CSMS_CASES
from v2g_testkit.ocpp.csms_tester import CsmsTest
from v2g_testkit.ocpp.operator import TRANSACTION_LIMIT, Operator, OperatorStep

_LATER = "2099-01-01T00:00:00Z"
_REMOTE = "C_125 C_126 C_131 C_132 C_133"
"""Remote starts by a payment."""

_BEGINNING = {"tariffId": "own", "currency": "EUR", "validFrom": LONG_AGO}

CASES = [case for case in CSMS_CASES if case.versions == ("2.1",) and case.id not in SCHEDULED | CERTIFIED]


def _periods(change: Edit) -> Edit:
    def edit(payload: Payload) -> None:
        for period in payload["chargingProfile"]["chargingSchedule"][0]["chargingSchedulePeriod"]:
            change(period)

    return edit


def _bare(data: Payload) -> None:
    data["attributeValue"] = data["attributeValue"].replace("{totp}", "now")


def _by_the_terminal(payload: Payload) -> None:
    for data in payload["setVariableData"]:
        if data["component"]["name"] == "PaymentCtrlr":
            data["attributeValue"] = "false"


def _reversed(payload: Payload) -> None:
    payload["tariff"]["energy"]["prices"].reverse()


def _with_the_default_tariff_s_id() -> Edit:
    known: list[str] = []

    def edit(payload: Payload) -> None:
        if "transactionId" in payload:
            payload["tariff"]["tariffId"] = known[-1]
        known.append(payload["tariff"]["tariffId"])

    return edit


def _of_another_the_second_time() -> Edit:
    seen = set()

    def edit(payload: Payload) -> None:
        profile = payload["chargingProfile"]
        key = profile.get("transactionId"), str(profile["chargingSchedule"])
        if key in seen:
            profile["transactionId"] = "other"
        seen.add(key)

    return edit


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
    Mutant(
        "set-points have limits",
        CALL,
        "SetChargingProfile",
        _periods(add(limit=6000.0)),
        "Q_108 Q_109 Q_117 Q_121 Q_124",
    ),
    Mutant(
        "every mode is ChargingOnly",
        CALL,
        "SetChargingProfile",
        _periods(put("operationMode", "ChargingOnly")),
        "K_101 Q_108 Q_109 Q_110 Q_117 Q_121 Q_124",
    ),
    Mutant("there is no limit of discharging", CALL, "SetChargingProfile", _periods(drop("dischargeLimit")), "Q_124"),
    Mutant("profiles have low numbers", CALL, "SetChargingProfile", put("chargingProfile.id", 5), "K_109"),
    Mutant("streams are read by number", CALL, "GetPeriodicEventStream", add(id=7), "N_107"),
    Mutant(
        "another slot is set", CALL, "SetVariables", each("setVariableData", put("component.instance", "1")), "B_105"
    ),
    Mutant(
        "APN and VPN are on",
        CALL,
        "SetVariables",
        each("setVariableData", swap("attributeValue", {"false": "true"})),
        "B_105",
    ),
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
    Mutant("controls have one id", CALL, "SetDERControl", put("controlId", "one"), "R_107"),
    Mutant(
        "logs go to a fragment", CALL, "GetLog", put("log.remoteLocation", "https://logs.example/a#b"), "N_100 N_102"
    ),
    Mutant(
        "addresses of logs end with a slash in their query",
        CALL,
        "GetLog",
        put("log.remoteLocation", "https://u:p@logs.example/a?b=c/"),
        "N_100 N_102",
    ),
    Mutant("alarms are refused", CALLRESULT, "NotifyDERAlarm", "NotSupported", "R_108"),
    Mutant("transactions do not survive resets", CALL, "Reset", put("type", "Immediate"), "B_103 B_104 B_116"),
    Mutant("identities are not set", CALL, "SetNetworkProfile", put("connectionData.identity", "X"), "B_100"),
    Mutant("default tariffs are of an EVSE", CALL, "SetDefaultTariff", put("evseId", 1), "I_101"),
    Mutant("default tariffs are of the station", CALL, "SetDefaultTariff", put("evseId", 0), "I_102 I_105 I_106 I_110"),
    Mutant("prices are in another order", CALL, "SetDefaultTariff", _reversed, "I_101"),
    Mutant("tariffs have the same id", CALL, "SetDefaultTariff", put("tariff.tariffId", "one"), "I_102 I_105 I_106"),
    Mutant("drivers have no tariff", CALLRESULT, "Authorize", drop("tariff"), "I_109"),
    Mutant("drivers' tariffs begin", CALLRESULT, "Authorize", put("tariff", _BEGINNING), "I_109"),
    Mutant("another tariff is cleared", CALL, "ClearTariffs", put("tariffIds", ["other"]), "I_110"),
    Mutant("all tariffs are cleared", CALL, "ClearTariffs", drop("tariffIds"), "I_110"),
    Mutant(
        "tariffs of another transaction are changed",
        CALL,
        "ChangeTransactionTariff",
        put("transactionId", "other"),
        "I_113 I_114 I_115",
    ),
    Mutant(
        "the id of a tariff stays",
        CALL,
        "SetDefaultTariff ChangeTransactionTariff",
        _with_the_default_tariff_s_id(),
        "I_113 I_114 I_115",
    ),
    Mutant("calculated costs are changed", CALLRESULT, "TransactionEvent", put("totalCost", 99.0), "C_113 C_126 I_122"),
    Mutant("swaps are for another driver", CALL, "RequestBatterySwap", put("idToken.idToken", "4711"), "S_102 S_103"),
    Mutant("batteries are refused", CALLRESULT, "BatterySwap", "NotImplemented", "S_103"),
    Mutant("every VAT number is valid", CALLRESULT, "VatNumberValidation", put("status", "Accepted"), "C_108"),
    Mutant("VAT numbers have no EVSE", CALLRESULT, "VatNumberValidation", drop("evseId"), "C_108"),
    Mutant(
        "limits are raised",
        CALLRESULT,
        "TransactionEvent",
        add(transactionLimit={"maxEnergy": 1e6, "maxTime": 100_000, "maxCost": 1e6}),
        f"C_103 {_REMOTE} E_102 E_106 E_107 E_108 E_109 E_110 E_111",
    ),
    Mutant(
        "limits are not told",
        CALLRESULT,
        "TransactionEvent",
        drop("transactionLimit"),
        f"C_103 {_REMOTE} E_102 E_109 E_110 E_111",
    ),
    Mutant("other limits are told", CALLRESULT, "TransactionEvent", put("transactionLimit.maxTime", 1), "E_111"),
    Mutant("costs of another transaction are told", CALL, "CostUpdated", put("transactionId", "tx"), "E_109"),
    Mutant("settlements are refused", CALLRESULT, "NotifySettlement", "NotSupported", "C_113 C_118 C_119 C_120"),
    Mutant("receipts have no address", CALLRESULT, "NotifySettlement", drop("receiptUrl"), "C_118"),
    Mutant("the last event has no cost", CALLRESULT, "TransactionEvent", drop("totalCost"), "C_113 C_117 C_125"),
    Mutant("payments are other tokens", CALL, "RequestStartTransaction", put("idToken.type", "Central"), _REMOTE),
    Mutant("payments are for another EVSE", CALL, "RequestStartTransaction", put("evseId", 2), _REMOTE),
    Mutant("addresses have no password", CALL, "SetVariables", each("setVariableData", _bare), "C_131 C_132 C_133"),
    Mutant("terminals settle", CALL, "SetVariables", _by_the_terminal, "C_117 C_118"),
    Mutant("tokens are cached", CALLRESULT, "Authorize", put("idTokenInfo.cacheExpiryDateTime", _LATER), "C_103 C_104"),
    Mutant("credit is not needed", CALLRESULT, "Authorize", token_status("Accepted", "NoCredit"), "C_104"),
    Mutant(
        "profiles are not restored",
        CALL,
        "SetChargingProfile",
        _of_another_the_second_time(),
        "B_116 E_117 K_104 K_109",
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


# -- no faults, though our own back end does otherwise


def _case(name: str) -> OcppCase[CsmsTest]:
    (found,) = (each for each in CASES if each.id == f"TC_{name}_CSMS")
    return found


async def test_other_variables_may_be_set_with_those_of_a_network_profile(backend: Start) -> None:
    def edit(sent: Payload) -> None:
        if sent["setVariableData"][0]["component"]["name"] == "NetworkConfiguration":
            sent["setVariableData"].append(
                {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "RetryBackOffWaitMinimum"}}
                | {"attributeValue": "10"}
            )

    async with csms_under_test(backend, "2.1", Mutant("", CALL, "SetVariables", edit, "").change) as tester:
        assert (await tester.run(_case("B_105"))).verdict is Verdict.PASS


@pytest.mark.parametrize("name", ["B_103", "B_104", "E_113"])
async def test_a_station_may_have_to_wait_after_a_boot(backend: Start, name: str) -> None:
    boots = itertools.count()

    def edit(answer: Payload) -> None:
        answer["status"] = "Pending" if next(boots) else "Accepted"

    async with csms_under_test(backend, "2.1", Mutant("", CALLRESULT, "BootNotification", edit, "").change) as tester:
        assert (await tester.run(_case(name))).verdict is Verdict.INCONCLUSIVE


class Doing:
    """An operator who does more than the case asks for: `more` makes other steps of one, before it or instead."""

    def __init__(self, inner: Operator, more: Callable[[OperatorStep], list[OperatorStep]]) -> None:
        self._inner, self._more = inner, more

    async def do(self, step: OperatorStep) -> None:
        """See Operator."""
        for one in self._more(step):
            await self._inner.do(one)


async def test_costs_may_be_told_without_being_asked_for(backend: Start) -> None:
    def more(step: OperatorStep) -> list[OperatorStep]:
        if step.action != TRANSACTION_LIMIT:
            return [step] if step.action != "CostUpdated" else []
        cost = {"totalCost": 1.0, "transactionId": step.payload["transactionId"]}
        return [step, OperatorStep(step.station, "CostUpdated", cost)]

    async with csms_under_test(backend, "2.1") as tester:
        tester.operator = Doing(tester.operator, more)
        assert (await tester.run(_case("E_109"))).verdict is Verdict.PASS


@pytest.mark.parametrize("name", ["B_116", "E_117"])
async def test_other_profiles_of_a_transaction_may_be_restored_first(backend: Start, name: str) -> None:
    def more(step: OperatorStep) -> list[OperatorStep]:
        if step.action != "SetChargingProfile":
            return [step]
        (schedule,) = step.payload["chargingProfile"]["chargingSchedule"]
        own = step.payload["chargingProfile"] | {
            "id": 59,
            "stackLevel": 0,
            "chargingSchedule": [schedule | {"chargingSchedulePeriod": [{"startPeriod": 0, "limit": 3000.0}]}],
        }
        return [step, OperatorStep(step.station, step.action, step.payload | {"chargingProfile": own})]

    async with csms_under_test(backend, "2.1") as tester:
        tester.operator = Doing(tester.operator, more)
        assert (await tester.run(_case(name))).verdict is Verdict.PASS


def _of_here(url: str, template: str) -> Scanned:
    try:
        found = decode(url, template)
    except RefusedError:
        found = decode(url.replace("/one/", "/1/"), template)
    return msgspec.structs.replace(found, station_id=DECLARED.station.identity)


@pytest.mark.parametrize(
    ("name", "fault", "fails"), [("is_valid", lambda *_: True, "C_133"), ("decode", _of_here, "C_132")]
)
async def test_a_back_end_that_takes_wrong_addresses_fails(
    backend: Start, monkeypatch: pytest.MonkeyPatch, name: str, fault: Callable[..., Any], fails: str
) -> None:
    monkeypatch.setattr(qr_payments, name, fault)
    async with csms_under_test(backend, "2.1") as tester:
        results = [await tester.run(case) for case in CASES if case.id.startswith("TC_C_13")]
    assert [each.case for each in results if each.verdict is Verdict.FAIL] == [f"TC_{fails}_CSMS"]
