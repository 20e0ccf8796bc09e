"""Functional block K, smart charging, of OCPP 2.1: cases for back ends."""

from typing import Any, Final

from v2g_testkit.ocpp.case import Block, Payload, given
from v2g_testkit.ocpp.csms_cases.transaction import charging
from v2g_testkit.ocpp.csms_tester import CsmsTest, covers

OF_21: Final[dict[str, Any]] = {"profiles": ("Smart Charging",), "versions": ("2.1",)}
K_21: Final[Block[CsmsTest]] = Block(**OF_21, needs=("charging profiles",), booted=True)
_NEEDS: Final = ("charging profiles",)


def profile(t: CsmsTest, *periods: Payload, purpose: str = "TxProfile", kind: str = "Absolute", **more: Any) -> Payload:
    """Return a charging profile in W of these periods; `more` adds fields."""
    schedule: Payload = {
        "id": 1,
        "chargingRateUnit": "W",
        "chargingSchedulePeriod": [{"startPeriod": 0} | each for each in periods],
    }
    if kind == "Absolute":
        schedule["startSchedule"] = t.later(0)
    return {
        "id": 60,
        "stackLevel": 1,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": kind,
        "chargingSchedule": [schedule | more.pop("schedule", {})],
        **more,
    }


async def sets(t: CsmsTest, requirement: str, evse: int, wanted: Payload) -> Payload:
    """Have the back end set a profile; return what it sent. Its number and times may differ. Raises Failed."""
    sent = await t.asked(
        "SetChargingProfile", requirement, free=("chargingProfile",), evseId=evse, chargingProfile=wanted
    )
    found: Payload = sent["chargingProfile"]
    for name in wanted.keys() - {"id", "chargingSchedule"}:
        same = found.get(name) == wanted[name]
        t.check(same, requirement, f"sets {name} {found.get(name)!r} instead of {wanted[name]!r}")
    (schedule,) = wanted["chargingSchedule"]
    for name in schedule.keys() - {"id", "startSchedule"}:
        has = found["chargingSchedule"][0].get(name)
        t.check(covers(has, schedule[name]), requirement, f"sets {name} {has!r} instead of {schedule[name]!r}")
    return found


def _case_of_profile(number: int, title: str, *requirements: str, evse: int = 1, **of: Any) -> None:
    @K_21.case(f"TC_K_{number}_CSMS", title, requirements=requirements)
    async def script(t: CsmsTest) -> None:
        """The back end sends the profile as it was asked for, with these fields."""
        found = await sets(t, requirements[0], evse, profile(t, {"limit": 6000.0}, **of))
        if of["purpose"] == "PriorityCharging":
            has = "duration" in found["chargingSchedule"][0]
            t.check(not has, "K01.FR.73", "adds a duration to a PriorityCharging profile")


_DEFAULT: Final = "TxDefaultProfile"
_case_of_profile(
    100, "Profile that is not valid for a long time offline", "K01.FR.104",
    purpose=_DEFAULT, maxOfflineDuration=60, invalidAfterOfflineDuration=True,
)  # fmt: skip
_case_of_profile(
    102, "Profile with a limit by the state of charge", "K01.FR.105",
    purpose=_DEFAULT, schedule={"limitAtSoC": {"soc": 80, "limit": 3000.0}},
)  # fmt: skip
_case_of_profile(104, "PriorityCharging profile", "K01.FR.72", "K01.FR.73", evse=0, purpose="PriorityCharging")
_case_of_profile(106, "Profile with a random delay", "K01.FR.96", purpose=_DEFAULT, schedule={"randomizedDelay": 60})


@K_21.case("TC_K_101_CSMS", "Other operation mode for a transaction", also="K01.FR.110", needs=(*_NEEDS, "V2X"))
async def operation_mode(t: CsmsTest) -> None:
    """The back end sends a profile with the other mode, and takes the report that the mode has changed."""
    transaction = await charging(t)
    for mode, period in (("ChargingOnly", {"limit": 6000.0}), ("CentralSetpoint", {"setpoint": 3000.0})):
        wanted = profile(t, {"operationMode": mode, **period}, transactionId=transaction.id)
        await sets(t, "Q03.FR.01", 1, wanted)
    info = {"operationMode": "CentralSetpoint"}
    await transaction.event("Updated", "OperationModeChanged", state="Charging", info=info)


@K_21.case("TC_K_109_CSMS", "Numbers of profiles that the station keeps for external limits")
async def reserved_numbers(t: CsmsTest) -> None:
    """The back end gives a profile a higher number than MaxExternalConstraintsId, which it has read."""
    t.undo(lambda: _reserves(t, 0))
    await _reserves(t, 50)
    found = await sets(t, "K01.FR.80", 1, profile(t, {"limit": 6000.0}, purpose=_DEFAULT))
    t.check(found["id"] > 50, "K01.FR.80", f"sets a profile with the number {found['id']}, which the station keeps")


async def _reserves(t: CsmsTest, most: int) -> None:
    """Have the back end read up to which number the station keeps those of profiles."""
    t.set_value("SmartChargingCtrlr", "MaxExternalConstraintsId", str(most))
    variable = {"component": {"name": "SmartChargingCtrlr"}, "variable": {"name": "MaxExternalConstraintsId"}}
    await given(t.asked("GetVariables", getVariableData=[variable]))


@K_21.case("TC_K_118_CSMS", "Priority charging", also="K21.FR.09", needs=("priority charging",))
async def priority(t: CsmsTest) -> None:
    """The back end asks the station to use priority for the transaction, and takes its word that it does."""
    transaction = await charging(t)
    await t.asked("UsePriorityCharging", "K21.FR.10", transactionId=transaction.id, activate=True)
    await t.call("NotifyPriorityCharging", transactionId=transaction.id, activated=True)


async def pushes(t: CsmsTest, number: int, requirement: str, **values: float) -> None:
    """Have the back end update a dynamic profile. Raises Failed."""
    await t.asked("UpdateDynamicSchedule", requirement, chargingProfileId=number, scheduleUpdate=values)


async def pulls(t: CsmsTest, number: int, **values: float) -> None:
    """Ask for an update of a dynamic profile, which must have these values. Raises Failed."""
    answer = await t.call("PullDynamicScheduleUpdate", chargingProfileId=number)
    t.check(answer["status"] == "Accepted", "K28.FR.07", f"answers {answer['status']}")
    found = answer.get("scheduleUpdate")
    t.check(found == values, "K28.FR.07", f"answers {found} instead of {values}")


@K_21.case(
    "TC_K_121_CSMS", "Limits that the station pulls", requirements="K28.FR.07 K28.FR.12", needs=("dynamic profiles",),
)  # fmt: skip
async def pulled(t: CsmsTest) -> None:
    """The back end answers with the limit to use, and rejects a request for a profile that there is not."""
    transaction = await charging(t)
    wanted = profile(t, {"limit": 6000.0}, kind="Dynamic", transactionId=transaction.id, dynUpdateInterval=60)
    number = (await sets(t, "K28.FR.07", 1, wanted))["id"]
    await pushes(t, number, "K28.FR.06", limit=5000.0)
    await pulls(t, number, limit=5000.0)
    answer = await t.call("PullDynamicScheduleUpdate", chargingProfileId=number + 4711)
    t.check(answer["status"] == "Rejected", "K28.FR.12", f"answers {answer['status']} for an unknown profile")
