"""Functional block K, smart charging: cases for back ends."""

from typing import Any, Final

from v2g_testkit.ocpp.case import Block, Payload, Profile
from v2g_testkit.ocpp.connection import CallError
from v2g_testkit.ocpp.csms_cases.transaction import Transaction, charging
from v2g_testkit.ocpp.csms_tester import CsmsTest

K: Final[Block[CsmsTest]] = Block(profiles=("Smart Charging",), needs=("charging profiles",), booted=True)

_BOTH: Final[tuple[Profile, ...]] = ("Smart Charging", "ISO 15118 Support")
_LIMIT_W: Final = 6000.0


def _profile(
    t: CsmsTest, purpose: str, kind: str = "Absolute", *, number: int = 1, limit: float = _LIMIT_W, **more: Any
) -> Payload:
    """Return a charging profile of five minutes; `more` adds fields."""
    schedule: Payload = {
        "id": 1,
        "chargingRateUnit": "W",
        "duration": 300,
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit}],
    }
    if kind != "Relative":
        schedule["startSchedule"] = t.later(0)
    return {
        "id": number,
        "stackLevel": 0,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": kind,
        "chargingSchedule": [schedule],
        **more,
    }


async def _set(t: CsmsTest, requirement: str, evse: int, profile: Payload) -> Payload:
    """Have the back end set a profile; return what it sent. Its number, times and schedule's number may differ."""
    sent = await t.asked(
        "SetChargingProfile", requirement, free=("chargingProfile",), evseId=evse, chargingProfile=profile
    )
    found: Payload = sent["chargingProfile"]
    for name in ("stackLevel", "chargingProfilePurpose", "chargingProfileKind", "recurrencyKind", "transactionId"):
        same = found.get(name) == profile.get(name)
        t.check(same, requirement, f"sets {name} {found.get(name)!r} instead of {profile.get(name)!r}")
    (wanted,), (schedule, *others) = profile["chargingSchedule"], found["chargingSchedule"]
    t.check(not others, requirement, f"sends {1 + len(others)} schedules")
    for name in ("chargingRateUnit", "duration", "chargingSchedulePeriod"):
        same = schedule.get(name) == wanted[name]
        t.check(same, requirement, f"sets {name} {schedule.get(name)!r} instead of {wanted[name]!r}")
    if profile["chargingProfileKind"] == "Absolute":
        t.check("startSchedule" in schedule, requirement, "an absolute schedule has no startSchedule")
    return found


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
        await _set(t, "K01.FR.31", evse, _profile(t, purpose, kind, **validity, **more))


_sets("TC_K_01_CSMS", "TxDefaultProfile of an EVSE", 1, "TxDefaultProfile")
_sets("TC_K_03_CSMS", "ChargingStationMaxProfile", 0, "ChargingStationMaxProfile")
_sets("TC_K_10_CSMS", "TxDefaultProfile of all EVSEs", 0, "TxDefaultProfile")
_sets("TC_K_19_CSMS", "Recurring profile", 1, "TxDefaultProfile", "Recurring", recurrencyKind="Daily")


@K.case("TC_K_04_CSMS", "Replace a profile", profiles=_BOTH)
async def replace(t: CsmsTest) -> None:
    """The back end sends the changed profile under the same id."""
    first = await _set(t, "K01.FR.31", 1, _profile(t, "TxDefaultProfile", limit=8000.0))
    second = await _set(t, "K01.FR.31", 1, _profile(t, "TxDefaultProfile", number=first["id"]))
    t.check(first["id"] == second["id"], "K01.FR.31", f"replaces {first['id']} by {second['id']}")


@K.case("TC_K_70_CSMS", "Two profiles")
async def two_profiles(t: CsmsTest) -> None:
    """The back end sends profiles of two stack levels under different ids."""
    first = await _set(t, "K01.FR.31", 1, _profile(t, "TxDefaultProfile"))
    second = await _set(t, "K01.FR.31", 1, _profile(t, "TxDefaultProfile", number=2) | {"stackLevel": 1})
    t.check(first["id"] != second["id"], "K01.FR.31", f"both profiles have the id {first['id']}")


@K.case("TC_K_15_CSMS", "Profile at a station without smart charging", also="K01")
async def not_supported(t: CsmsTest) -> None:
    """The back end continues after the CALLERROR NotSupported."""
    t.answer("SetChargingProfile", CallError("NotSupported"))
    await _set(t, "K01", 1, _profile(t, "TxDefaultProfile"))
    await t.call("Heartbeat")


@K.case("TC_K_60_CSMS", "TxProfile of a transaction", also="K01.FR.31", profiles=_BOTH)
async def tx_profile(t: CsmsTest) -> None:
    """The back end sends the profile to the EVSE of the transaction, with its transactionId."""
    transaction = await charging(t)
    await _set(t, "K01.FR.03", 1, _profile(t, "TxProfile", "Relative", transactionId=transaction.id))


@K.case("TC_K_37_CSMS", "Remote start with a profile", also="K05.FR.02", needs=("remote start with a profile",))
async def remote_start(t: CsmsTest) -> None:
    """The back end asks to start with a TxProfile without transactionId, and accepts the token in the events."""
    transaction = Transaction(t)
    wanted: Payload = {"idToken": t.declared.token.payload, "evseId": 1, "remoteStartId": t.next_id()}
    profile = _profile(t, "TxProfile", "Relative")
    sent = await t.asked(
        "RequestStartTransaction", "F01.FR.08", free=("chargingProfile",), chargingProfile=profile, **wanted
    )
    t.check("chargingProfile" in sent, "F01.FR.08", "starts without the profile")
    found = sent["chargingProfile"]
    t.equal(found["chargingProfilePurpose"], "TxProfile", "F01.FR.09", "the profile is a {}")
    t.check("transactionId" not in found, "F01.FR.11", "the profile names a transaction that does not exist yet")
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
    await _set(t, "K01.FR.03", 1, _profile(t, "TxProfile", "Relative", transactionId="no-transaction"))
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
