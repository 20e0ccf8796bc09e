"""Functional block K, smart charging: cases for back ends about what vehicles say by ISO 15118."""

from typing import Any, Final

from v2g_testkit.ocpp.case import Block, Failed, Inconclusive, NotApplicable, Payload, given, precondition
from v2g_testkit.ocpp.csms_cases.block_k_21 import profile, sets
from v2g_testkit.ocpp.csms_cases.transaction import Transaction
from v2g_testkit.ocpp.csms_tester import CsmsTest

K_VEHICLES: Final[Block[CsmsTest]] = Block(profiles=("ISO 15118 Support",), versions=("2.1",), booted=True)

NEEDS: Final = ("charging schedules for vehicles",)
_OF_2: Final[dict[str, Any]] = {"profiles": ("ISO 15118 Support",), "versions": ("2.0.1",), "needs": NEEDS}
_OF_20: Final[dict[str, Any]] = {"profiles": ("ISO 15118 Support",), "versions": ("2.1",), "needs": NEEDS}

SCHEDULE_S: Final = 60.0
"""Until when a back end should have sent the schedule (K15.FR.08), s."""

_MOST_PERIODS: Final = 12
"""maxScheduleTuples: the least that a vehicle has to support."""

_SLOW: Final = {"W": 1000.0, "A": 1.0}


def needs_of(t: CsmsTest, *, mode: str = "ScheduledControl", transfer: str = "DC") -> Payload:
    """Return ChargingNeedsType of a vehicle; `mode` is the control mode of ISO 15118-20, which OCPP 2.0.1 lacks."""
    if t.version == "2.0.1":
        parameters = {"evMaxCurrent": 100, "evMaxVoltage": 400, "energyAmount": 20_000}
        return {"requestedEnergyTransfer": transfer, "dcChargingParameters": parameters}
    v2x = {"maxChargePower": 11_000.0, "evTargetEnergyRequest": 20_000.0}
    if transfer.endswith("BPT"):
        v2x["maxDischargePower"] = -8_000.0
    return {"requestedEnergyTransfer": transfer, "controlMode": mode, "v2xChargingParameters": v2x}


async def tells(t: CsmsTest, **needs: str) -> str:
    """Send the needs of the vehicle at EVSE 1; return the status of the answer."""
    t.forget("SetChargingProfile")
    about: Payload = {"evseId": 1, "maxScheduleTuples": _MOST_PERIODS, "chargingNeeds": needs_of(t, **needs)}
    return str((await t.call("NotifyEVChargingNeeds", **about))["status"])


async def connected(t: CsmsTest) -> Transaction:
    """Authorized and EVConnectedPreSession."""
    transaction = Transaction(t)
    await given(transaction.authorized(), transaction.plugged())
    return transaction


async def scheduled(t: CsmsTest, transaction: Transaction, requirement: str, **needs: str) -> Payload:
    """Send the needs of a vehicle; return the profile that follows. Raises Failed, Inconclusive without a schedule."""
    status = await tells(t, **needs)
    if status not in ("Accepted", "Processing"):
        raise Inconclusive(f"the back end has no schedule for the vehicle: it answers {status}")
    return await _follows(t, transaction, requirement, may_wait=status == "Processing")


async def _follows(t: CsmsTest, transaction: Transaction, requirement: str, *, may_wait: bool = False) -> Payload:
    wanted = {"evseId": 1, "chargingProfile__chargingProfilePurpose": "TxProfile"}
    try:
        sent = await t.expect("SetChargingProfile", requirement, within=SCHEDULE_S, **wanted)
    except Failed as failure:
        if may_wait:
            raise Inconclusive(str(failure)) from None
        raise
    found: Payload = sent["chargingProfile"]
    t.equal(found.get("transactionId"), transaction.id, requirement, "the profile is of transaction {}")
    schedules = found["chargingSchedule"]
    t.check(len(schedules) <= 3, requirement, f"sends {len(schedules)} schedules")
    periods = max(len(each["chargingSchedulePeriod"]) for each in schedules)
    t.check(periods <= _MOST_PERIODS, requirement, f"a schedule has {periods} periods")
    return found


async def plans(
    t: CsmsTest, found: Payload, wanted: str, requirement: str, *, more: float = 0.0, slow: bool = False
) -> None:
    """Send the vehicle's plan, which is the schedule that it got, with limits that are higher by `more`, or so low that
    no other profile is exceeded. Raises Failed unless it is answered so.
    """
    schedule: Payload = found["chargingSchedule"][0]
    periods = [dict(each) for each in schedule["chargingSchedulePeriod"]]
    for each in periods:
        if more and "limit" not in each:
            raise Inconclusive("the back end sets no limits that a plan could exceed")
        if more:
            each["limit"] += more
        if slow and "limit" in each:
            each["limit"] = min(each["limit"], _SLOW[schedule["chargingRateUnit"]])
    plan = {name: value for name, value in schedule.items() if name in ("id", "chargingRateUnit", "duration")}
    request: Payload = {
        "evseId": 1,
        "timeBase": schedule.get("startSchedule") or t.now(),
        "chargingSchedule": plan | {"chargingSchedulePeriod": periods},
    }
    if t.version == "2.1":
        request["selectedChargingScheduleId"] = schedule["id"]
    status = (await t.call("NotifyEVChargingSchedule", **request))["status"]
    t.check(status == wanted, requirement, f"answers the vehicle's plan with {status}")


async def adjusted(t: CsmsTest, transaction: Transaction, requirement: str) -> Payload:
    """Have the back end set another profile for the transaction; return it. Raises Failed."""
    return await sets(t, requirement, 1, profile(t, {"limit": 4000.0}, transactionId=transaction.id, stackLevel=3))


async def _charges(transaction: Transaction) -> None:
    await transaction.event("Updated", "ChargingStateChanged", state="Charging", context="Sample.Periodic")


# -- ISO 15118-2


@K_VEHICLES.case("TC_K_53_CSMS", "Load leveling", also="K15.FR.02 K15.FR.03 K15.FR.05", **_OF_2)
async def load_leveling(t: CsmsTest) -> None:
    """The back end sends a TxProfile for the needs of the vehicle, and accepts a plan within its limits."""
    transaction = await connected(t)
    found = await scheduled(t, transaction, "K15.FR.07")
    await plans(t, found, "Accepted", "K15.FR.11")
    await _charges(transaction)


@K_VEHICLES.case("TC_K_55_CSMS", "Plan of a vehicle beyond its limits", also="K16.FR.07 K16.FR.08", **_OF_2)
async def exceeding_plan(t: CsmsTest) -> None:
    """The back end rejects the plan, sends a profile again, and accepts a plan within its limits."""
    transaction = await connected(t)
    found = await given(scheduled(t, transaction, "K15.FR.07"))
    t.forget("SetChargingProfile")
    await plans(t, found, "Rejected", "K15.FR.12", more=1000.0)
    await _charges(transaction)
    again = await _follows(t, transaction, "K15.FR.13")
    await plans(t, again, "Accepted", "K15.FR.11")


async def _negotiated(t: CsmsTest) -> Transaction:
    """ISO15118SmartCharging."""
    transaction = await connected(t)
    with precondition():
        found = await scheduled(t, transaction, "K15.FR.07")
        await plans(t, found, "Accepted", "K15.FR.11")
        await _charges(transaction)
    return transaction


def _by_vehicle(number: int, title: str, requirements: tuple[str, str], **of: Any) -> None:
    @K_VEHICLES.case(f"TC_K_{number}_CSMS", title, requirements=requirements, **of)
    async def script(t: CsmsTest) -> None:
        """The back end sends a TxProfile for the new needs of the vehicle, and accepts a plan within its limits."""
        transaction = await _negotiated(t)
        found = await scheduled(t, transaction, requirements[0])
        await plans(t, found, "Accepted", requirements[1])


def _by_back_end(number: int, title: str, **of: Any) -> None:
    @K_VEHICLES.case(f"TC_K_{number}_CSMS", title, **of)
    async def script(t: CsmsTest) -> None:
        """The back end sends the other TxProfile as it was asked for, and accepts a plan within its limits."""
        transaction = await _negotiated(t)
        found = await adjusted(t, transaction, "K01.FR.03")
        await plans(t, found, "Accepted", "K16.FR.06", slow=True)


_by_vehicle(57, "Renegotiation by the vehicle", ("K17.FR.07", "K17.FR.11"), **_OF_2)
_by_back_end(58, "Renegotiation by the back end", **_OF_2)


@K_VEHICLES.case("TC_K_59_CSMS", "Renegotiation by the back end, after which the vehicle repeats its needs", **_OF_2)
async def needs_again(t: CsmsTest) -> None:
    """The back end sends a TxProfile for the needs again, and accepts a plan within its limits."""
    transaction = await _negotiated(t)
    await adjusted(t, transaction, "K01.FR.03")
    found = await scheduled(t, transaction, "K16.FR.12")
    await plans(t, found, "Accepted", "K16.FR.06", slow=True)


# -- ISO 15118-20

_by_back_end(113, "Renegotiation by the back end, ISO 15118-20", **_OF_20)
_by_vehicle(114, "Renegotiation by the vehicle, ISO 15118-20", ("K18.FR.07", "K18.FR.11"), **_OF_20)


@K_VEHICLES.case("TC_K_115_CSMS", "Dynamic control mode", also="K19.FR.02 K19.FR.03 K19.FR.05", **_OF_20)
async def dynamic(t: CsmsTest) -> None:
    """The back end sends a TxProfile with one schedule for the needs of the vehicle."""
    transaction = await connected(t)
    found = await scheduled(t, transaction, "K19.FR.07", mode="DynamicControl")
    t.equal(len(found["chargingSchedule"]), 1, "K19.FR.07", "sends {} schedules")
    await _charges(transaction)


@K_VEHICLES.case("TC_K_117_CSMS", "Other schedule in dynamic control mode", requirements="K01.FR.03", **_OF_20)
async def other_schedule(t: CsmsTest) -> None:
    """The back end sends the other TxProfile as it was asked for."""
    transaction = await connected(t)
    await given(scheduled(t, transaction, "K19.FR.07", mode="DynamicControl"), _charges(transaction))
    await adjusted(t, transaction, "K01.FR.03")


@K_VEHICLES.case("TC_K_126_CSMS", "Dynamic control mode without a profile", also="K19.FR.02 K19.FR.04")
async def no_profile(t: CsmsTest) -> None:
    """A back end that has no schedule for the vehicle answers NoChargingProfile, and sends none."""
    transaction = await connected(t)
    await _charges(transaction)
    status = await tells(t, mode="DynamicControl")
    if status in ("Accepted", "Processing"):
        await _follows(t, transaction, "K19.FR.07", may_wait=status == "Processing")
        raise NotApplicable("the back end has a schedule for the vehicle")
    if status == "Rejected":
        raise Inconclusive("the back end does not accept the vehicle's energy transfer (K19.FR.15)")
    await t.call("Heartbeat")
    purposes = [each["chargingProfile"]["chargingProfilePurpose"] for each in t.received("SetChargingProfile")]
    t.check("TxProfile" not in purposes, "K19.FR.03", "answers NoChargingProfile, and sends a TxProfile")
