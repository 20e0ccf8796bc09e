"""What only OCPP 2.1 has in the blocks B, E, F and N: cases for back ends."""

from typing import Any, Final

from v2g_testkit.ocpp.case import Block, Inconclusive, Payload, precondition
from v2g_testkit.ocpp.csms_cases.block_k_21 import going, profile, sets
from v2g_testkit.ocpp.csms_cases.transaction import Transaction
from v2g_testkit.ocpp.csms_tester import CsmsTest
from v2g_testkit.ocpp.operator import TRANSACTION_LIMIT

OTHERS_21: Final[Block[CsmsTest]] = Block()

_OF: Final[dict[str, Any]] = {"versions": ("2.1",)}


@OTHERS_21.case(
    "TC_B_100_CSMS",
    "Network profile with an identity and a password",
    required="The back end sends both in the profile.",
    requirements=("B09.FR.14",),
    needs=("network profiles",),
    **_OF,
)
async def network_profile(t: CsmsTest) -> None:
    await t.ready()
    data = {
        "ocppVersion": "OCPP21", "ocppTransport": "JSON", "ocppInterface": "Any", "messageTimeout": 30,
        "ocppCsmsUrl": "wss://csms.example/ocpp", "securityProfile": 2,
        "identity": "CS-V2G-OTHER", "basicAuthPassword": "a-password-of-the-tester",
    }  # fmt: skip
    await t.asked("SetNetworkProfile", "B09.FR.14", configurationSlot=2, connectionData=data)


@OTHERS_21.case(
    "TC_B_105_CSMS",
    "Network profile by variables",
    required="The back end sets the variables of the free slot, with those of APN and VPN, then the slot's priority.",
    requirements=("B09.FR.21", "B09.FR.30", "B10.FR.01"),
    needs=("network profiles by variables",),
    **_OF,
)
async def profile_by_variables(t: CsmsTest) -> None:
    await t.ready()
    with precondition():
        await _prioritises(t, "1,2")
    values = {
        "OcppCsmsUrl": "wss://csms.example/ocpp", "OcppInterface": "Any", "OcppTransport": "JSON",
        "MessageTimeout": "30", "SecurityProfile": "2", "ApnEnabled": "false", "VpnEnabled": "false",
    }  # fmt: skip
    component = {"name": "NetworkConfiguration", "instance": "3"}
    await t.operate(
        "SetVariables",
        setVariableData=[
            {"component": component, "variable": {"name": name}, "attributeValue": value}
            for name, value in values.items()
        ],
    )
    found: dict[str, str] = {}
    while values.keys() - found.keys():
        sent = (await t.expect("SetVariables", "B09.FR.30"))["setVariableData"]
        for each in (one for one in sent if one["component"]["name"] == component["name"]):
            slot, name = each["component"].get("instance"), each["variable"]["name"]
            t.check(slot == "3", "B09.FR.21", f"sets {name} of slot {slot} instead of 3")
            found[name] = each["attributeValue"]
    wrong = sorted(name for name, value in values.items() if found[name].lower() != value.lower())
    t.check(not wrong, "B09.FR.30", f"sets other values of {', '.join(wrong)}")
    await _prioritises(t, "3,1")


async def _prioritises(t: CsmsTest, slots: str) -> None:
    """Have the back end set which slots the station uses. Raises Failed."""
    place = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "NetworkConfigurationPriority"}}
    await t.asked("SetVariables", "B10.FR.01", setVariableData=[place | {"attributeValue": slots}])


def _case_of_reset(number: int, title: str, *requirements: str, charging: bool) -> None:
    @OTHERS_21.case(
        f"TC_B_{number}_CSMS",
        title,
        required="The back end asks for it, and takes the boot after it" + (
            ", and that the transaction continues." if charging else "."
        ),
        requirements=requirements,
        **_OF,
    )  # fmt: skip
    async def script(t: CsmsTest) -> None:
        transaction = await going(t) if charging else None
        if transaction is None:
            await t.ready()
        await t.asked("Reset", "B13.FR.03", type="ImmediateAndResume")
        if transaction is not None:
            await transaction.event("Updated", "ResetCommand", state="SuspendedEVSE")
        await _boots_again(t, "RemoteReset")
        if transaction is not None:
            await transaction.event("Updated", "TxResumed", state="Charging", context="Other")
            await transaction.unplugged()


_case_of_reset(103, "Reset that transactions survive", "B13.FR.03", "B13.FR.30", charging=True)
_case_of_reset(104, "Reset that transactions survive, without a transaction", "B13.FR.02", "B01.FR.02", charging=False)


async def _boots_again(t: CsmsTest, reason: str) -> None:
    """Connect and boot. Raises Inconclusive unless the back end accepts the station at once, as it need not (B02)."""
    await t.away()
    status = (await t.boot(reason))["status"]
    if status != "Accepted":
        raise Inconclusive(f"the back end answers BootNotification with {status}")


@OTHERS_21.case(
    "TC_B_116_CSMS",
    "Reset that a transaction with a profile survives",
    required="The back end asks for it, and sends the profile, which the station does not keep, again.",
    requirements=("B13.FR.03", "B13.FR.31"),
    needs=("charging profiles",),
    **_OF,
)
async def profile_after_reset(t: CsmsTest) -> None:
    transaction = await _with_profile(t)
    await t.asked("Reset", "B13.FR.03", type="ImmediateAndResume")
    await transaction.event("Updated", "ResetCommand", state="SuspendedEVSE")
    await t.away()
    with precondition():
        await t.booted("RemoteReset")
    await _sent_again(t, transaction, "B13.FR.31")


def _case_of_limit(number: int, what: str, trigger: str, **limit: float) -> None:
    @OTHERS_21.case(
        f"TC_E_{number}_CSMS",
        f"The driver limits the {what}",
        required="The back end takes the limit, and sets none of its own that is not lower.",
        requirements=("E16.FR.08",),
        **_OF,
    )
    async def script(t: CsmsTest) -> None:
        transaction = await going(t)
        await _says(t, transaction, "E16.FR.08", **limit)
        await transaction.event("Updated", trigger, state="SuspendedEVSE", context="Sample.Periodic")
        await transaction.unplugged()


_case_of_limit(106, "energy", "EnergyLimitReached", maxEnergy=20_000.0)
_case_of_limit(107, "time", "TimeLimitReached", maxTime=600)
_case_of_limit(108, "cost", "CostLimitReached", maxCost=5.0)


async def _limits(t: CsmsTest, transaction: Transaction, **limit: float) -> None:
    """Have the operator limit the transaction; the station confirms it. Raises Failed unless it is told once."""
    await t.operate(TRANSACTION_LIMIT, transactionId=transaction.id, transactionLimit=limit)
    answer = await transaction.event("Updated", "MeterValuePeriodic", state="Charging", context="Sample.Periodic")
    told: Payload = answer.get("transactionLimit", {})
    same = told.items() >= limit.items()
    t.check(same, "E16.FR.02", f"answers the next event with the limit {told} instead of {limit}")
    await _says(t, transaction, "E16.FR.02", **limit)


async def _says(t: CsmsTest, transaction: Transaction, requirement: str, **limit: float) -> None:
    """Report the station's limit. Raises Failed if the back end sets it, too, unless it lowers it."""
    answer = await transaction.event("Updated", "LimitSet", state="Charging", info={"transactionLimit": limit})
    for name, value in answer.get("transactionLimit", {}).items():
        lower = name not in limit or value < limit[name]
        t.check(lower, requirement, f"sets the limit {name} of {value}")


@OTHERS_21.case(
    "TC_E_102_CSMS",
    "Driver and back end limit the energy",
    required="The back end sets a lower limit than the driver's, once, and leaves a lower one of the driver.",
    requirements=("E16.FR.02", "E16.FR.07", "E16.FR.08"),
    needs=("limits of transactions",),
    **_OF,
)
async def both_limit(t: CsmsTest) -> None:
    transaction = await going(t)
    await _says(t, transaction, "E16.FR.08", maxEnergy=20_000.0)
    await _limits(t, transaction, maxEnergy=10_000.0)
    await _says(t, transaction, "E16.FR.08", maxEnergy=5_000.0)
    await transaction.event("Updated", "EnergyLimitReached", state="SuspendedEVSE", context="Sample.Periodic")
    await transaction.unplugged()


@OTHERS_21.case(
    "TC_E_109_CSMS",
    "The back end limits the cost",
    required="The back end sets the limit once, and tells the cost so far in an answer or by CostUpdated.",
    requirements=("E16.FR.02", "E16.FR.11"),
    needs=("limits of transactions", "costs"),
    **_OF,
)
async def cost_limit(t: CsmsTest) -> None:
    transaction = await going(t)
    await _limits(t, transaction, maxCost=5.0)
    transaction.wh += 2000
    answer = await transaction.event("Updated", "MeterValuePeriodic", state="Charging", context="Sample.Periodic")
    told = [answer, *(each for each in t.received("CostUpdated") if each["transactionId"] == transaction.id)]
    if not any("totalCost" in each for each in told):
        await t.asked("CostUpdated", "E16.FR.11", free=("totalCost",), totalCost=1.0, transactionId=transaction.id)
    await transaction.event("Updated", "CostLimitReached", state="SuspendedEVSE", context="Sample.Periodic")
    await transaction.unplugged()


def _case_of_limit_set(number: int, what: str, trigger: str, **limit: float) -> None:
    @OTHERS_21.case(
        f"TC_E_{number}_CSMS",
        f"The back end limits the {what}",
        required="The back end sets the limit in its next answer, once.",
        requirements=("E16.FR.02",),
        needs=("limits of transactions",),
        **_OF,
    )
    async def script(t: CsmsTest) -> None:
        transaction = await going(t)
        await _limits(t, transaction, **limit)
        await transaction.event("Updated", trigger, state="SuspendedEVSE", context="Sample.Periodic")
        await transaction.unplugged()


_case_of_limit_set(110, "energy", "EnergyLimitReached", maxEnergy=5_000.0)
_case_of_limit_set(111, "time", "TimeLimitReached", maxTime=600)


@OTHERS_21.case(
    "TC_E_113_CSMS",
    "Transaction that an interruption does not end",
    required="The back end accepts the station again, and takes the events after it.",
    requirements=("E17.FR.14",),
    **_OF,
)
async def resumed(t: CsmsTest) -> None:
    transaction = await going(t)
    await _boots_again(t, "PowerUp")
    await transaction.event("Updated", "TxResumed", state="Charging", context="Other")
    await transaction.unplugged()


@OTHERS_21.case(
    "TC_E_117_CSMS",
    "Profile of a transaction that an interruption does not end",
    required="The back end sends the profile of the transaction again, which the station does not keep.",
    requirements=("E17.FR.15",),
    needs=("charging profiles",),
    **_OF,
)
async def profile_after_interruption(t: CsmsTest) -> None:
    transaction = await _with_profile(t)
    await t.away()
    with precondition():
        await t.booted("PowerUp")
    await _sent_again(t, transaction, "E17.FR.15")


async def _with_profile(t: CsmsTest) -> Transaction:
    """Let a transaction charge by a TxProfile of the back end."""
    transaction = await going(t)
    with precondition():
        await sets(t, "K01.FR.03", 1, profile(t, {"limit": 6000.0}, transactionId=transaction.id))
    t.forget("SetChargingProfile")
    return transaction


async def _sent_again(t: CsmsTest, transaction: Transaction, requirement: str) -> None:
    """Resume the transaction. Raises Failed unless the back end sends its profile by itself, beside any of its own."""
    await transaction.event("Updated", "TxResumed", state="Charging", context="Other")
    limits: list[float | None] = []
    while limits != [6000.0]:
        sent = await t.expect(
            "SetChargingProfile",
            requirement,
            chargingProfile__chargingProfilePurpose="TxProfile",
            chargingProfile__transactionId=transaction.id,
        )
        schedule = sent["chargingProfile"]["chargingSchedule"][0]
        limits = [each.get("limit") for each in schedule["chargingSchedulePeriod"]]
    await transaction.unplugged()


@OTHERS_21.case(
    "TC_F_100_CSMS",
    "Custom trigger",
    required="The back end asks for the message by its custom name.",
    requirements=("F06.FR.20",),
    needs=("custom triggers",),
    **_OF,
)
async def custom_trigger(t: CsmsTest) -> None:
    await t.ready()
    await t.asked("TriggerMessage", "F06.FR.20", requestedMessage="CustomTrigger", customTrigger="NotifyChargingLimit")


_STREAMS: Final[dict[str, Any]] = _OF | {
    "profiles": ("Advanced Device Management",),
    "needs": ("periodic event streams",),
}
_STREAM: Final = {"id": 7, "variableMonitoringId": 7, "params": {"interval": 10}}


async def _opens(t: CsmsTest) -> None:
    """Open a stream. Raises Failed."""
    answer = await t.call("OpenPeriodicEventStream", constantStreamData=_STREAM)
    t.check(answer["status"] == "Accepted", "N11.FR.06", f"answers {answer['status']} to the stream")


async def _monitored(t: CsmsTest) -> None:
    """Have the back end set a monitor with a stream. Raises Failed."""
    await t.ready()
    about: Payload = {"component": {"name": "EVSE", "evse": {"id": 1}}, "variable": {"name": "Power"}}
    monitor = about | {"type": "Periodic", "value": 2.0, "severity": 8, "periodicEventStream": {"interval": 10}}
    result = about | {"id": 7, "type": "Periodic", "severity": 8, "status": "Accepted"}
    t.answer("SetVariableMonitoring", {"setMonitoringResult": [result]})
    await t.asked("SetVariableMonitoring", "N11.FR.09", setMonitoringData=[monitor])


@OTHERS_21.case(
    "TC_N_105_CSMS",
    "Stream of a periodic monitor",
    required="The back end sets the monitor with the rate of its stream, and accepts the stream.",
    requirements=("N11.FR.06", "N11.FR.09", "N13.FR.02"),
    **_STREAMS,
)
async def stream(t: CsmsTest) -> None:
    await _monitored(t)
    await _opens(t)
    await t.call("ClosePeriodicEventStream", id=7)


@OTHERS_21.case(
    "TC_N_107_CSMS",
    "Streams are read",
    required="The back end asks for the streams that are open.",
    requirements=("N12.FR.01",),
    **_STREAMS,
)
async def streams(t: CsmsTest) -> None:
    with precondition():
        await _monitored(t)
        await _opens(t)
    t.answer("GetPeriodicEventStream", {"constantStreamData": [_STREAM]})
    await t.asked("GetPeriodicEventStream", "N12.FR.01")
    await t.call("ClosePeriodicEventStream", id=7)
