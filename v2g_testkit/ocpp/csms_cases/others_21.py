"""What only OCPP 2.1 has in the blocks B, C, E, F and N: cases for back ends."""

from typing import Any, Final

from v2g_testkit.ocpp.case import Block, Payload
from v2g_testkit.ocpp.csms_cases.block_k_21 import going
from v2g_testkit.ocpp.csms_tester import CsmsTest

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


def _case_of_reset(number: int, title: str, *requirements: str, charging: bool) -> None:
    @OTHERS_21.case(
        f"TC_B_{number}_CSMS",
        title,
        required="The back end asks for it, and takes the boot after it" + (
            ", and that the transaction goes on." if charging else "."
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
        await t.away()
        answer = await t.boot("RemoteReset")
        t.check(answer["status"] == "Accepted", "B01.FR.02", f"answers BootNotification with {answer['status']}")
        if transaction is not None:
            await transaction.event("Updated", "TxResumed", state="Charging", context="Other")
            await transaction.unplugged()


_case_of_reset(103, "Reset that transactions survive", "B13.FR.03", "B13.FR.30", charging=True)
_case_of_reset(104, "Reset that transactions survive, without a transaction", "B13.FR.02", "B01.FR.02", charging=False)


@OTHERS_21.case(
    "TC_C_108_CSMS",
    "VAT number",
    required="The back end answers with the number and the EVSE that it was asked about.",
    requirements=("C18.FR.09", "C18.FR.10"),
    needs=("payment terminals",),
    **_OF,
)
async def vat_number(t: CsmsTest) -> None:
    await t.ready()
    answer = await t.call("VatNumberValidation", vatNumber="NL123456789B01", evseId=1)
    t.check(answer["vatNumber"] == "NL123456789B01", "C18.FR.09", f"answers about {answer['vatNumber']}")
    t.check(answer.get("evseId") == 1, "C18.FR.10", f"answers with the EVSE {answer.get('evseId')}")


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
        answer = await transaction.event("Updated", "LimitSet", state="Charging", info={"transactionLimit": limit})
        for name, value in answer.get("transactionLimit", {}).items():
            lower = name not in limit or value < limit[name]
            t.check(lower, "E16.FR.08", f"sets the limit {name} of {value}")
        await transaction.event("Updated", trigger, state="SuspendedEVSE", context="Sample.Periodic")
        await transaction.unplugged()


_case_of_limit(106, "energy", "EnergyLimitReached", maxEnergy=20_000.0)
_case_of_limit(107, "time", "TimeLimitReached", maxTime=600)
_case_of_limit(108, "cost", "CostLimitReached", maxCost=5.0)


@OTHERS_21.case(
    "TC_E_113_CSMS",
    "Transaction that an interruption does not end",
    required="The back end accepts the station again, and takes the events after it.",
    requirements=("E17.FR.14",),
    **_OF,
)
async def resumed(t: CsmsTest) -> None:
    transaction = await going(t)
    await t.away()
    answer = await t.boot("PowerUp")
    t.check(answer["status"] == "Accepted", "B01.FR.02", f"answers BootNotification with {answer['status']}")
    await transaction.event("Updated", "TxResumed", state="Charging", context="Other")
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


@OTHERS_21.case(
    "TC_N_105_CSMS",
    "Stream of a periodic monitor",
    required="The back end sets the monitor with the rate of its stream, and accepts the stream.",
    requirements=("N11.FR.06", "N11.FR.09"),
    profiles=("Advanced Device Management",),
    needs=("periodic event streams",),
    **_OF,
)
async def stream(t: CsmsTest) -> None:
    await t.ready()
    about: Payload = {"component": {"name": "EVSE", "evse": {"id": 1}}, "variable": {"name": "Power"}}
    monitor = about | {"type": "Periodic", "value": 2.0, "severity": 8, "periodicEventStream": {"interval": 10}}
    result = about | {"id": 7, "type": "Periodic", "severity": 8, "status": "Accepted"}
    t.answer("SetVariableMonitoring", {"setMonitoringResult": [result]})
    await t.asked("SetVariableMonitoring", "N11.FR.09", setMonitoringData=[monitor])
    data = {"id": 7, "variableMonitoringId": 7, "params": {"interval": 10}}
    answer = await t.call("OpenPeriodicEventStream", constantStreamData=data)
    t.check(answer["status"] == "Accepted", "N11.FR.06", f"answers {answer['status']} to the stream")
    await t.call("ClosePeriodicEventStream", id=7)
