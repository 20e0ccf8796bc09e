"""Functional block K, smart charging: cases for back ends."""

from typing import Any, Final

from v2g.typed_json import Fields
from v2g_testkit.ocpp.case import Block, Failed, Inconclusive, NotApplicable, Payload, Profile, given, precondition
from v2g_testkit.ocpp.connection import CallError
from v2g_testkit.ocpp.csms_cases.transaction import Transaction, charging
from v2g_testkit.ocpp.csms_tester import CLOCK_S, CsmsTest, covers

K: Final[Block[CsmsTest]] = Block(profiles=("Smart Charging",), needs=("charging profiles",), booted=True)

_BOTH: Final[tuple[Profile, ...]] = ("Smart Charging", "ISO 15118 Support")
_LIMIT_W: Final = 6000.0
_NAMES: Final = frozenset({"recurrencyKind", "transactionId"})
"""Fields that a profile has only if it was asked for with them."""
_VALID: Final = frozenset({"validFrom", "validTo"})


def profile(
    t: CsmsTest, *periods: Payload, purpose: str = "TxProfile", kind: str = "Absolute", duration: int = 0, **more: Any
) -> Payload:
    """Return a charging profile in W of these periods; `more` adds fields."""
    schedule: Payload = {
        "id": 1,
        "chargingRateUnit": "W",
        "chargingSchedulePeriod": [{"startPeriod": 0} | each for each in periods],
    }
    if duration:
        schedule["duration"] = duration
    if kind in ("Absolute", "Recurring"):
        schedule["startSchedule"] = t.now()
    return {
        "id": 60,
        "stackLevel": 1,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": kind,
        "chargingSchedule": [schedule | more.pop("schedule", {})],
        **more,
    }


def _profile(
    t: CsmsTest, purpose: str, kind: str = "Absolute", *, number: int = 1, limit: float = _LIMIT_W, **more: object
) -> Payload:
    """Return a charging profile of five minutes; `more` adds fields."""
    return profile(
        t, {"limit": limit}, purpose=purpose, kind=kind, duration=300, **{"id": number, "stackLevel": 0} | more
    )


async def sets(t: CsmsTest, requirement: str, evse: int, wanted: Payload) -> Payload:
    """Have the back end set a profile; return what it sent. Raises Failed."""
    sent = await t.asked(
        "SetChargingProfile", requirement, free=("chargingProfile",), evseId=evse, chargingProfile=wanted
    )
    found: Payload = sent["chargingProfile"]
    _is_profile(t, found, wanted, requirement)
    return found


def _is_profile(t: CsmsTest, found: Payload, wanted: Payload, requirement: str) -> None:
    """Raise Failed unless a profile is as it was asked for; its number, and that of its schedule, may differ."""
    for name in (wanted.keys() | _NAMES) - {"id", "chargingSchedule", *_VALID}:
        same = found.get(name) == wanted.get(name)
        t.check(same, requirement, f"sets {name} {found.get(name)!r} instead of {wanted.get(name)!r}")
    for name in _VALID & wanted.keys():
        t.check(name in found, requirement, f"the profile has no {name}")
        t.is_at(found[name], wanted[name], requirement)
    for name, ahead_s in ((each, t.until(found[each])) for each in _VALID & found.keys()):
        applies = ahead_s < CLOCK_S if name == "validFrom" else ahead_s > 0
        t.check(applies, requirement, f"the profile does not apply now: {name} {found[name]}")
    (schedule,), (has, *others) = wanted["chargingSchedule"], found["chargingSchedule"]
    t.check(not others, requirement, f"sends {1 + len(others)} schedules")
    for name in schedule.keys() - {"id", "startSchedule"}:
        same = covers(has.get(name), schedule[name])
        t.check(same, requirement, f"sets {name} {has.get(name)!r} instead of {schedule[name]!r}")
    if "startSchedule" in schedule:
        t.check("startSchedule" in has, requirement, f"{wanted['chargingProfileKind']} without startSchedule")
        t.is_now(has["startSchedule"], requirement)
    elif wanted["chargingProfileKind"] == "Relative":
        t.check("startSchedule" not in has, "K01.FR.41", "Relative with startSchedule")
    for period in has["chargingSchedulePeriod"]:
        t.check(
            "phaseToUse" not in period or period.get("numberPhases") == 1, "K01.FR.19", "phaseToUse of several phases"
        )


# -- set


def _sets(id: str, title: str, evse: int, purpose: str, kind: str = "Absolute", **more: Any) -> None:  # noqa: A002
    @K.case(
        id, title, profiles=_BOTH,
        needs=("charging profiles", *(("recurring profiles",) if kind == "Recurring" else ())),
        quick=id == "TC_K_01_CSMS",
    )  # fmt: skip
    async def script(t: CsmsTest) -> None:
        """The back end sends the profile as it was asked for, to the right EVSE."""
        validity: Payload = {"validFrom": t.later(0), "validTo": t.later(300)} if purpose == "TxDefaultProfile" else {}
        await sets(t, "K01.FR.31", evse, _profile(t, purpose, kind, **validity, **more))


_sets("TC_K_01_CSMS", "TxDefaultProfile of an EVSE", 1, "TxDefaultProfile")
_sets("TC_K_03_CSMS", "ChargingStationMaxProfile", 0, "ChargingStationMaxProfile")
_sets("TC_K_10_CSMS", "TxDefaultProfile of all EVSEs", 0, "TxDefaultProfile")
_sets("TC_K_19_CSMS", "Recurring profile", 1, "TxDefaultProfile", "Recurring", recurrencyKind="Daily")


@K.case("TC_K_04_CSMS", "Replace a profile", profiles=_BOTH)
async def replace(t: CsmsTest) -> None:
    """The back end sends the changed profile under the same id."""
    first = await sets(t, "K01.FR.31", 1, _profile(t, "TxDefaultProfile", limit=8000.0))
    second = await sets(t, "K01.FR.31", 1, _profile(t, "TxDefaultProfile", number=first["id"]))
    t.check(first["id"] == second["id"], "K01.FR.31", f"replaces {first['id']} by {second['id']}")


@K.case("TC_K_70_CSMS", "Two profiles")
async def two_profiles(t: CsmsTest) -> None:
    """The back end sends profiles of two stack levels under different ids."""
    first = await sets(t, "K01.FR.31", 1, _profile(t, "TxDefaultProfile"))
    second = await sets(t, "K01.FR.31", 1, _profile(t, "TxDefaultProfile", number=2) | {"stackLevel": 1})
    t.check(first["id"] != second["id"], "K01.FR.31", f"both profiles have the id {first['id']}")


@K.case("TC_K_15_CSMS", "Profile at a station without smart charging", also="K01")
async def not_supported(t: CsmsTest) -> None:
    """The back end continues after the CALLERROR NotSupported."""
    t.answer("SetChargingProfile", CallError("NotSupported"))
    await sets(t, "K01", 1, _profile(t, "TxDefaultProfile"))
    await t.call("Heartbeat")


@K.case("TC_K_60_CSMS", "TxProfile of a transaction", also="K01.FR.31", profiles=_BOTH)
async def tx_profile(t: CsmsTest) -> None:
    """The back end sends the profile to the EVSE of the transaction, with its transactionId."""
    transaction = await charging(t)
    await sets(t, "K01.FR.03", 1, _profile(t, "TxProfile", "Relative", transactionId=transaction.id))


@K.case("TC_K_37_CSMS", "Remote start with a profile", also="K05.FR.02", needs=("remote start with a profile",))
async def remote_start(t: CsmsTest) -> None:
    """The back end asks to start with a TxProfile without transactionId, and accepts the token in the events."""
    transaction = Transaction(t)
    wanted: Payload = {"idToken": t.declared.token.payload, "evseId": 1, "remoteStartId": t.next_id()}
    wish = _profile(t, "TxProfile", "Relative")
    sent = await t.asked(
        "RequestStartTransaction", "F01.FR.08", free=("chargingProfile",), chargingProfile=wish, **wanted
    )
    t.check("chargingProfile" in sent, "F01.FR.08", "starts without the profile")
    found = sent["chargingProfile"]
    t.equal(found["chargingProfilePurpose"], "TxProfile", "F01.FR.09", "the profile is a {}")
    t.check("transactionId" not in found, "F01.FR.11", "the profile names a transaction that does not exist yet")
    _is_profile(t, found, wish, "F01.FR.08")
    info = {"remoteStartId": sent["remoteStartId"]}
    transaction.accepted(await transaction.event("Started", "RemoteStart", info=info, token=transaction.token))


# -- clear


def _clears(id: str, title: str, status: str, *, number: int | None = None) -> None:  # noqa: A002
    @K.case(id, title, profiles=_BOTH)
    async def script(t: CsmsTest) -> None:
        """The back end names the profile, or what it has to be, and continues after the answer."""
        t.answer("ClearChargingProfile", {"status": status})
        criteria = {"chargingProfilePurpose": "TxDefaultProfile", "evseId": 1, "stackLevel": 0}
        if number is None:
            await t.asked(
                "ClearChargingProfile", "K10.FR.02", without=("chargingProfileId",), chargingProfileCriteria=criteria
            )
        else:
            without = ("chargingProfileCriteria",)
            await t.asked("ClearChargingProfile", "K10.FR.02", without=without, chargingProfileId=number)
        await t.call("Heartbeat")


_clears("TC_K_05_CSMS", "Clear a profile by its id", "Accepted", number=1)
_clears("TC_K_06_CSMS", "Clear a profile by purpose and stack level", "Accepted")
_clears("TC_K_08_CSMS", "Clear a profile that is not there", "Unknown")


# -- get


def _gets(id: str, title: str, evse: int | None, **criteria: object) -> None:  # noqa: A002
    @K.case(id, title, profiles=_BOTH, needs=("profiles are read",))
    async def script(t: CsmsTest) -> None:
        """The back end asks for these profiles only, and acknowledges each report."""
        await charging(t)
        t.answer("GetChargingProfiles", {"status": "Accepted"})
        place: Payload = {} if evse is None else {"evseId": evse}
        wanted: Payload = {"requestId": t.next_id(), "chargingProfile": criteria, **place}
        without = ("evseId",) if evse is None else ()
        sent = await t.asked("GetChargingProfiles", "K09.FR.03", without=without, **wanted)
        more = sent["chargingProfile"].keys() - criteria.keys()
        t.check(not more, "K09.FR.03", f"also asks for {', '.join(sorted(more))}")
        places = (0, 1, 2) if evse is None else (evse,)
        for each in places:
            await t.call(
                "ReportChargingProfiles",
                requestId=sent["requestId"],
                chargingLimitSource="CSO",
                evseId=each,
                chargingProfile=[_profile(t, "TxDefaultProfile", number=1 + each)],
                tbc=each != places[-1],
            )


_DEFAULT: Final = "TxDefaultProfile"
_gets("TC_K_29_CSMS", "Profiles of the station", 0, chargingProfilePurpose="ChargingStationMaxProfile")
_gets("TC_K_30_CSMS", "Profiles of an EVSE", 1, chargingProfilePurpose=_DEFAULT)
_gets("TC_K_31_CSMS", "Profiles of all EVSEs", None, chargingProfilePurpose=_DEFAULT)
_gets("TC_K_32_CSMS", "A profile by its id", None, chargingProfileId=[1])
_gets("TC_K_33_CSMS", "Profiles by stack level", 1, stackLevel=0)
_gets("TC_K_34_CSMS", "Profiles by source", 1, chargingLimitSource=["CSO"])
_gets("TC_K_35_CSMS", "Profiles by purpose", 1, chargingProfilePurpose="TxProfile")
_gets("TC_K_36_CSMS", "Profiles by purpose and stack level", 1, chargingProfilePurpose=_DEFAULT, stackLevel=0)


def _composite(id: str, title: str, evse: int) -> None:  # noqa: A002
    @K.case(id, title, profiles=_BOTH, needs=("composite schedule",))
    async def script(t: CsmsTest) -> None:
        """The back end asks for the schedule of the place, duration and unit that are meant."""
        schedule = {
            "evseId": evse,
            "duration": 300,
            "scheduleStart": t.now(),
            "chargingRateUnit": "W",
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 10_000.0}],
        }
        t.answer("GetCompositeSchedule", {"status": "Accepted", "schedule": schedule})
        await t.asked("GetCompositeSchedule", "K08.FR.01", evseId=evse, duration=300, chargingRateUnit="W")
        await t.call("Heartbeat")


_composite("TC_K_43_CSMS", "Composite schedule of an EVSE", 1)
_composite("TC_K_44_CSMS", "Composite schedule of the station", 0)


# -- TxProfiles without a transaction


@K.case(
    "TC_K_02_CSMS", "TxProfile without a transaction", also="K01.FR.31",
    needs=("charging profiles", "TxProfile without a transaction"),
)  # fmt: skip
async def no_transaction(t: CsmsTest) -> None:
    """The back end sends the TxProfile with a transactionId, and continues after the station has rejected it."""
    t.answer("SetChargingProfile", {"status": "Rejected", "statusInfo": {"reasonCode": "TxNotFound"}})
    await sets(t, "K01.FR.03", 1, _profile(t, "TxProfile", "Relative", transactionId="no-transaction"))
    await t.call("Heartbeat")


# -- limits of other systems


@K.case("TC_K_48_CSMS", "Limit of an external system", also="K12", needs=())
async def external_limit(t: CsmsTest) -> None:
    """The back end acknowledges the limit."""
    await t.call("NotifyChargingLimit", chargingLimit={"chargingLimitSource": "EMS"})


@K.case("TC_K_50_CSMS", "Release of an external limit", also="K13", needs=())
async def released_limit(t: CsmsTest) -> None:
    """The back end acknowledges that the limit has ended."""
    await t.call("ClearedChargingLimit", chargingLimitSource="EMS")


@K.case("TC_K_51_CSMS", "Release of an external limit in a transaction", also="K13", needs=())
async def released_while_charging(t: CsmsTest) -> None:
    """The back end acknowledges that the limit has ended, and that the charging rate has changed."""
    transaction = await charging(t)
    await t.call("ClearedChargingLimit", chargingLimitSource="EMS")
    await transaction.event("Updated", "ChargingRateChanged", state="Charging")


@K.case("TC_K_52_CSMS", "Report of external constraints", also="K12", needs=("profiles are read",))
async def external_constraints(t: CsmsTest) -> None:
    """The back end asks for profiles, and acknowledges a report of ChargingStationExternalConstraints."""
    t.answer("GetChargingProfiles", {"status": "Accepted"})
    criteria = {"chargingProfilePurpose": "ChargingStationExternalConstraints"}
    sent = await t.asked("GetChargingProfiles", "K09.FR.03", requestId=t.next_id(), chargingProfile=criteria)
    await t.call(
        "ReportChargingProfiles",
        requestId=sent["requestId"],
        chargingLimitSource="EMS",
        evseId=0,
        chargingProfile=[_profile(t, "ChargingStationExternalConstraints", number=-1)],
    )


OF_21: Final[Fields] = {"profiles": ("Smart Charging",), "versions": ("2.1",)}
K_21: Final[Block[CsmsTest]] = Block(**OF_21, needs=("charging profiles",), booted=True)
_NEEDS: Final = ("charging profiles",)


def _case_of_profile(number: int, title: str, *requirements: str, evse: int = 1, **of: Any) -> None:
    @K_21.case(f"TC_K_{number}_CSMS", title, requirements=requirements)
    async def script(t: CsmsTest) -> None:
        """The back end sends the profile as it was asked for, with these fields."""
        found = await sets(t, requirements[0], evse, profile(t, {"limit": 6000.0}, **of))
        if of["purpose"] == "PriorityCharging":
            has = "duration" in found["chargingSchedule"][0]
            t.check(not has, "K01.FR.73", "adds a duration to a PriorityCharging profile")


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


K_VEHICLES: Final[Block[CsmsTest]] = Block(profiles=("ISO 15118 Support",), versions=("2.1",), booted=True)

NEEDS: Final = ("charging schedules for vehicles",)
_OF_2: Final[Fields] = {"profiles": ("ISO 15118 Support",), "versions": ("2.0.1",), "needs": NEEDS}
_OF_20: Final[Fields] = {"profiles": ("ISO 15118 Support",), "versions": ("2.1",), "needs": NEEDS}

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
    @K_VEHICLES.case(f"TC_K_{number}_CSMS", title, **of)
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
