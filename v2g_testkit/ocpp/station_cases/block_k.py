"""Functional block K, smart charging: cases for charging stations."""

from typing import Any, Final

from v2g.ocpp.times import parse_time
from v2g_testkit.ocpp.case import BOTH, Block, Payload, given, precondition
from v2g_testkit.ocpp.connection import having
from v2g_testkit.ocpp.driver import Step
from v2g_testkit.ocpp.run_judge import AHEAD_MS, IMPORT, registers_of
from v2g_testkit.ocpp.station_cases.block_j import ENERGY
from v2g_testkit.ocpp.station_cases.profiles import (
    TRANSFERS,
    accepted,
    charging,
    cleared,
    follows,
    outside,
    profile,
    rejected,
    stored,
)
from v2g_testkit.ocpp.station_cases.steps import prefer, reset
from v2g_testkit.ocpp.station_tester import StationTest

K: Final[Block[StationTest]] = Block(
    profiles=("Smart Charging", "ISO 15118 Support"), needs=("SmartChargingCtrlr.Enabled",)
)

SMART: Final = ("SmartChargingCtrlr.Enabled",)
NO_TRANSACTION: Final = "no-such-transaction"
_LIMIT: Final = 6.0
"""A limit, A or kW: the least that vehicles may be offered (IEC 61851-1)."""


async def _unit(t: StationTest) -> str:
    """Return a unit of power that the station supports."""
    return (await t.value("SmartChargingCtrlr", "RateUnit")).split(",")[0].strip()


async def _profile(
    t: StationTest,
    purpose: str = "TxDefaultProfile",
    *periods: tuple[int, float],
    unit: str = "",
    stack: int = 0,
    kind: str = "Absolute",
    start: float = 0,
    duration: int | None = None,
    **more: object,
) -> Payload:
    """Return a profile of (start, limit); limits in A or kW, times in s from now."""
    unit = unit or await _unit(t)
    schedule: Payload = {
        "id": t.next_id(),
        "chargingRateUnit": unit,
        "chargingSchedulePeriod": [
            {"startPeriod": begin, "limit": (limit * 1000 if unit == "W" else limit)}
            for begin, limit in periods or ((0, _LIMIT),)
        ],
    }
    if kind != "Relative":
        schedule["startSchedule"] = t.later(start)
    if duration is not None:
        schedule["duration"] = duration
    return {
        "id": t.next_id(),
        "stackLevel": stack,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": kind,
        "chargingSchedule": [schedule],
    } | more


async def _set(t: StationTest, profile: Payload, evse: int = 1) -> str:
    """Send a profile; return the status. It is cleared after the case."""
    t.undo(lambda: t.ask("ClearChargingProfile", chargingProfileId=profile["id"]))
    answer = await t.ask("SetChargingProfile", evseId=evse, chargingProfile=profile)
    return str(answer["status"])


async def _accepts(t: StationTest, profile: Payload, evse: int = 1, requirement: str = "K01.FR.07") -> None:
    status = await _set(t, profile, evse)
    t.check(status == "Accepted", requirement, f"answers {status} to a {profile['chargingProfilePurpose']}")


async def _cleared(t: StationTest) -> None:
    """Remove all profiles of the back end."""
    for purpose in ("TxDefaultProfile", "ChargingStationMaxProfile", "TxProfile"):
        await t.ask("ClearChargingProfile", chargingProfileCriteria={"chargingProfilePurpose": purpose})


async def _reported(t: StationTest, evse: int | None = None, **criteria: object) -> list[tuple[int, Payload]]:
    """Return the profiles that match, with their EVSE; none for the status NoProfiles."""
    number = t.next_id()
    place = {} if evse is None else {"evseId": evse}
    answer = await t.ask("GetChargingProfiles", requestId=number, chargingProfile=criteria, **place)
    if answer["status"] != "Accepted":
        t.check(answer["status"] == "NoProfiles", "K09.FR.01", f"answers {answer['status']}")
        return []
    found: list[tuple[int, Payload]] = []
    while True:
        part = await t.expect("ReportChargingProfiles", "K09.FR.02", requestId=number)
        source = [part["chargingLimitSource"]]
        t.equal(source, criteria.get("chargingLimitSource", source), "K09.FR.04", "reports profiles of {}")
        found += [(part["evseId"], each) for each in part["chargingProfile"]]
        if not part.get("tbc", False):
            return found


def _is_within(sent: object, found: object) -> bool:
    """Return whether what was sent is in what was found, which may have more."""
    match sent, found:
        case dict(), dict():
            return all(name in found and _is_within(value, found[name]) for name, value in sent.items())
        case list(), list():
            return len(sent) == len(found) and all(map(_is_within, sent, found))
        case str(), str() if sent[:4].isdecimal() and "T" in sent:
            return abs(parse_time(sent) - parse_time(found)) < 1000
    return bool(sent == found)


async def _has(t: StationTest, profile: Payload, evse: int, requirement: str) -> None:
    """Expect the station to report a profile as it was sent."""
    found = await _reported(t, chargingProfileId=[profile["id"]])
    t.check(len(found) == 1, requirement, f"reports {len(found)} profiles with its id")
    t.check(found[0][0] == evse, requirement, f"reports it for EVSE {found[0][0]} instead of {evse}")
    t.check(_is_within(profile, found[0][1]), requirement, f"reports another profile than was sent: {found[0][1]}")


async def _composite(t: StationTest, evse: int, seconds: int, requirement: str = "K08.FR.02") -> Payload:
    """Return the composite schedule of an EVSE. Raises Failed."""
    unit = await _unit(t)
    answer = await t.ask("GetCompositeSchedule", evseId=evse, duration=seconds, chargingRateUnit=unit)
    t.check(answer["status"] == "Accepted", requirement, f"answers {answer['status']}")
    schedule: Payload = answer["schedule"]
    t.check(schedule["evseId"] == evse, requirement, f"is of EVSE {schedule['evseId']}")
    t.check(schedule["duration"] == seconds, requirement, f"is of {schedule['duration']} s")
    t.check(schedule["chargingRateUnit"] == unit, requirement, f"is in {schedule['chargingRateUnit']}")
    away_ms = abs(parse_time(schedule["scheduleStart"]) - parse_time(t.now()))
    t.check(away_ms < AHEAD_MS, requirement, f"begins at {schedule['scheduleStart']}, not now")
    t.equal(schedule["chargingSchedulePeriod"][0]["startPeriod"], 0, requirement, "begins at {} s")
    return schedule


def _since(schedule: Payload, profile: Payload) -> float:
    """Return how long after the start of a profile a composite schedule begins, s: a station may be slow to answer."""
    started = profile["chargingSchedule"][0]["startSchedule"]
    return (parse_time(schedule["scheduleStart"]) - parse_time(started)) / 1000


def _at(schedule: Payload, seconds: float) -> float:
    """Return the limit of a composite schedule at some time after its start, in A or kW."""
    begun = [each for each in schedule["chargingSchedulePeriod"] if each["startPeriod"] <= seconds]
    limit: float = begun[-1]["limit"]
    return limit / 1000 if schedule["chargingRateUnit"] == "W" else limit


def _follows(
    t: StationTest, schedule: Payload, requirement: str, *expected: tuple[int, float], profile: Payload | None = None
) -> None:
    """Expect limits at some times after the start of the schedule, or of a `profile`, as far as these are in the
    schedule; each at least 10 s away from a change."""
    since = 0.0 if profile is None else _since(schedule, profile)
    for seconds, limit in expected:
        if not since <= seconds < since + schedule["duration"]:
            continue
        found = _at(schedule, seconds - since)
        t.check(
            abs(found - limit) < 0.01, requirement, f"the limit after {seconds} s is {found:g} instead of {limit:g}"
        )


def _differs(t: StationTest, schedule: Payload, requirement: str, seconds: int) -> None:
    found = _at(schedule, seconds)
    t.check(abs(found - _LIMIT) > 0.01, requirement, f"the limit after {seconds} s is that of the profile")


# -- set


def _case_of_set(number: int, title: str, purpose: str, evse: int, requirement: str, *, quick: bool = False) -> None:
    @K.case(f"TC_K_{number:02}_CS", title, also="K01.FR.07 K09.FR.02", quick=quick)
    async def script(t: StationTest) -> None:
        """The station accepts the profile, and reports it as it was sent."""
        await given(_cleared(t))
        profile = await _profile(t, purpose, duration=None if evse == 0 else 3600)
        await _accepts(t, profile, evse)
        await _has(t, profile, evse, requirement)


_case_of_set(1, "TxDefaultProfile of one EVSE", "TxDefaultProfile", 1, "K01.FR.15", quick=True)
_case_of_set(3, "ChargingStationMaxProfile", "ChargingStationMaxProfile", 0, "K09.FR.06")
_case_of_set(10, "TxDefaultProfile of all EVSEs", "TxDefaultProfile", 0, "K01.FR.14")


@K.case("V2G-K-01-CS", "A limit of 0 while a vehicle charges", also="K01.FR.07")
async def stops_energy(t: StationTest) -> None:
    """The register of the EVSE stands, nearly, while the profile allows no energy."""
    with precondition():
        await _cleared(t)
        await t.demand("SampledDataCtrlr", "TxUpdatedMeasurands", ENERGY)
        await t.demand("SampledDataCtrlr", "TxUpdatedInterval", str(_PERIOD))
        transaction = await t.charging()
        before = await _taken(t, 4)
    t.needs(before is not None and before > 0, "its register does not rise while a vehicle charges")
    await _accepts(t, await _profile(t, "TxProfile", (0, 0.0), transactionId=transaction))
    await t.wait(t.declared.seconds)
    t.forget()
    after = await _taken(t, 4)
    t.needs(after is not None, "it sends no readings without energy")
    if before and after is not None:
        about = f"charges with {after:.0f} W at a limit of 0, and {before:.0f} W before"
        t.check(after < before / 4, "K01.FR.02", about)


_PERIOD: Final = 10
"""Interval of readings, s."""


async def _taken(t: StationTest, number: int) -> float | None:
    """Return the mean power (W) over the next readings of the energy register, None without."""
    found: list[tuple[int, float]] = []
    for _ in range(number):
        event = await t.find(having("TransactionEvent", {"triggerReason": "MeterValuePeriodic"}), t.after(_PERIOD))
        found += [(at, wh) for key, at, wh in registers_of((event or {}).get("meterValue")) if key == IMPORT]
    if len(found) < 2 or found[0][0] == found[-1][0]:
        return None
    return (found[-1][1] - found[0][1]) * 3_600_000 / (found[-1][0] - found[0][0])


@K.case("TC_K_60_CS", "TxProfile of a transaction", also="K01.FR.07")
async def set_for_transaction(t: StationTest) -> None:
    """The station accepts the profile of a transaction, and reports it as it was sent."""
    transaction = await t.charging()
    profile = await _profile(t, "TxProfile", kind="Relative", transactionId=transaction)
    await _accepts(t, profile, requirement="K01.FR.04")
    await _has(t, profile, 1, "K01.FR.15")


@K.case("TC_K_19_CS", "Recurring profile")
async def set_recurring(t: StationTest) -> None:
    """The station accepts a profile that recurs daily, reports it as it was sent, and follows it."""
    await given(_cleared(t))
    profile = await _profile(t, kind="Recurring", recurrencyKind="Daily", duration=3600)
    await _accepts(t, profile, requirement="K01.FR.40")
    await _has(t, profile, 1, "K01.FR.40")
    _follows(t, await _composite(t, 1, 300), "K01.FR.40", (150, _LIMIT))


@K.case("TC_K_04_CS", "Replace a profile by its id")
async def replace(t: StationTest) -> None:
    """The station accepts the second profile, and has it instead of the first."""
    with precondition():
        await _cleared(t)
        first = await _profile(t)
        await _accepts(t, first)
    second = await _profile(t, "TxDefaultProfile", (0, 10.0)) | {"id": first["id"]}
    await _accepts(t, second, requirement="K01.FR.05")
    await _has(t, second, 1, "K01.FR.05")


@K.case("V2G-K-02-CS", "A second profile of a purpose, stack level and EVSE", requirements="K01.FR.06")
async def alike(t: StationTest) -> None:
    """The station rejects it while the first one is valid, and has the first one only."""
    with precondition():
        await _cleared(t)
        first = await _profile(t)
        await _accepts(t, first)
    second = await _profile(t, "TxDefaultProfile", (0, 10.0))
    t.equal(await _set(t, second), "Rejected", "K01.FR.06", "answers {}")
    await _has(t, first, 1, "K01.FR.06")
    t.check(not await _reported(t, chargingProfileId=[second["id"]]), "K01.FR.06", "reports the second one")


@K.case("V2G-K-03-CS", "A profile of a transaction that has ended", requirements="ChargingProfilePurposeEnumType")
async def outlived(t: StationTest) -> None:
    """The profile ceases to be valid with its transaction: the next one charges without its limit."""
    with precondition():
        await _cleared(t)
        transaction = await t.charging()
        await _accepts(t, await _profile(t, "TxProfile", kind="Relative", transactionId=transaction))
        _follows(t, await _composite(t, 1, 300), "K08.FR.06", (150, _LIMIT))
        await t.leave()
        await t.charging()
    _differs(t, await _composite(t, 1, 300), "ChargingProfilePurposeEnumType", 150)


@K.case("V2G-K-04-CS", "TxDefaultProfile of one EVSE, and of all")
async def one_and_all(t: StationTest) -> None:
    """The station rejects the second of two with the same stack level, whichever it is."""
    for first, second, requirement in ((1, 0, "K01.FR.52"), (0, 1, "K01.FR.53")):
        with precondition():
            await _cleared(t)
            await _accepts(t, await _profile(t), first)
        t.equal(await _set(t, await _profile(t), second), "Rejected", requirement, "answers {}")


@K.case("V2G-K-05-CS", "Profiles that have begun to recur", also="K01.FR.07")
async def recurs(t: StationTest) -> None:
    """A daily profile applies again each day, for its duration, and a weekly one does not."""
    day = 86_400
    await given(_cleared(t))
    daily = await _profile(t, kind="Recurring", recurrencyKind="Daily", start=-2 * day - 60, duration=180)
    await _accepts(t, daily, requirement="K01.FR.40")
    schedule = await _composite(t, 1, 300)
    _follows(t, schedule, "RecurrencyKindEnumType", (50, _LIMIT))
    _differs(t, schedule, "K01.FR.13", 200)
    await given(_cleared(t))
    await _accepts(t, await _profile(t, kind="Recurring", recurrencyKind="Weekly", start=-day - 60, duration=180))
    _differs(t, await _composite(t, 1, 300), "RecurrencyKindEnumType", 50)


def _case_of_rejection(
    number: int, title: str, requirement: str, purpose: str, evse: int, *, charging: bool = False
) -> None:
    """Add a case in which a profile is rejected. EVSE -1 is one that does not exist."""
    of: Payload = {"transactionId": NO_TRANSACTION} if purpose == "TxProfile" else {}

    @K.case(f"TC_K_{number:02}_CS", title)
    async def script(t: StationTest) -> None:
        """The station rejects the profile, and does not have it."""
        if charging:
            await t.charging()
        profile = await _profile(t, purpose, kind="Relative" if purpose == "TxProfile" else "Absolute", **of)
        status = await _set(t, profile, t.declared.evses + 1 if evse < 0 else evse)
        t.check(status == "Rejected", requirement, f"answers {status}")
        found = await _reported(t, chargingProfileId=[profile["id"]])
        t.check(not found, requirement, "reports the profile that it rejected")


_case_of_rejection(2, "TxProfile without a transaction", "K01.FR.09", "TxProfile", 1)
_case_of_rejection(11, "TxProfile of all EVSEs", "K01.FR.16", "TxProfile", 0)
_case_of_rejection(14, "Profile of an EVSE that does not exist", "K01.FR.28", "TxDefaultProfile", -1)
_case_of_rejection(16, "TxProfile of an unknown transaction", "K01.FR.33", "TxProfile", 1, charging=True)


@K.case("V2G-K-06-CS", "Profiles that are not valid")
async def invalid(t: StationTest) -> None:
    """The station rejects them, and does not have them."""
    await given(_cleared(t))
    most, external = "ChargingStationMaxProfile", "ChargingStationExternalConstraints"
    no_start = await _profile(t)
    del no_start["chargingSchedule"][0]["startSchedule"]
    for wrong, evse, requirement in (
        (await _profile(t, external), 0, "K01.FR.22"),
        (await _profile(t, "TxDefaultProfile", (60, _LIMIT)), 1, "K01.FR.31"),
        (await _profile(t, most, kind="Relative"), 0, "K01.FR.38"),
        (no_start, 1, "K01.FR.40"),
    ):
        t.equal(await _set(t, wrong, evse), "Rejected", requirement, "answers {}")
        t.check(not await _reported(t, chargingProfileId=[wrong["id"]]), requirement, "reports it")


async def _other_unit(t: StationTest) -> str:
    """Return the unit that the station does not support. Raises NotApplicable."""
    other = {"A", "W"} - {each.strip() for each in (await t.value("SmartChargingCtrlr", "RateUnit")).split(",")}
    t.needs(bool(other), "the station supports both units of power")
    return other.pop()


@K.case("TC_K_12_CS", "Profile in a unit that is not supported")
async def wrong_unit(t: StationTest) -> None:
    """The station rejects the profile."""
    t.equal(await _set(t, await _profile(t, unit=await _other_unit(t))), "Rejected", "K01.FR.26", "answers {}")


@K.case("TC_K_13_CS", "A profile stays over a reset")
async def persists(t: StationTest) -> None:
    """After a reset the station reports the profile as it was sent."""
    with precondition():
        await _cleared(t)
        profile = await _profile(t)
        await _accepts(t, profile)
        await reset(t)
    await _has(t, profile, 1, "K01.FR.27")


@K.case("TC_K_15_CS", "Profile for a station without smart charging", profiles=("Core",), needs=())
async def not_supported(t: StationTest) -> None:
    """The station answers that it does not support the request."""
    t.needs(not t.has("SmartChargingCtrlr.Enabled"), "the station supports smart charging")
    profile = await _profile(t, unit="W")
    error = await t.refused("SetChargingProfile", evseId=1, chargingProfile=profile)
    t.check(error.code in ("NotSupported", "NotImplemented"), "K01.FR.29", f"answers {error.code}")


@K.case("TC_K_37_CS", "Remote start with a profile", also="K05.FR.02")
async def remote_start(t: StationTest) -> None:
    """The station rejects one of another purpose; it uses a TxProfile, and reports it with the transaction's id."""
    await given(_cleared(t), t.plug())
    profile = await _profile(t, "TxProfile", kind="Relative")
    t.undo(lambda: t.ask("ClearChargingProfile", chargingProfileId=profile["id"]))
    token, number = t.token.payload, t.next_id()
    wrong = {"idToken": token, "remoteStartId": t.next_id(), "evseId": 1, "chargingProfile": await _profile(t)}
    await t.must_answer("Rejected", "F01.FR.26", "RequestStartTransaction", **wrong)
    answer = await t.ask(
        "RequestStartTransaction", idToken=token, remoteStartId=number, evseId=1, chargingProfile=profile
    )
    t.check(answer["status"] == "Accepted", "F01.FR.08", f"answers {answer['status']}")
    transaction = await t.flowing()
    await _has(t, profile | {"transactionId": transaction}, 1, "F01.FR.10")


@K.case("TC_K_38_CS", "Remote start with a profile, without smart charging", profiles=("Core",), needs=())
async def remote_start_ignores(t: StationTest) -> None:
    """The station ignores the profile, and charges."""
    t.needs(not t.has("SmartChargingCtrlr.Enabled"), "the station supports smart charging")
    await given(t.plug())
    profile = await _profile(t, "TxProfile", unit="W", kind="Relative")
    token, number = t.token.payload, t.next_id()
    answer = await t.ask(
        "RequestStartTransaction", idToken=token, remoteStartId=number, evseId=1, chargingProfile=profile
    )
    t.check(answer["status"] == "Accepted", "F01.FR.12", f"answers {answer['status']}")
    await t.flowing()


# -- clear


async def _clear(t: StationTest, requirement: str, status: str, **what: object) -> None:
    answer = await t.ask("ClearChargingProfile", **what)
    t.check(answer["status"] == status, requirement, f"answers {answer['status']} instead of {status}")


@K.case("TC_K_05_CS", "Clear a profile by its id")
async def clear_one(t: StationTest) -> None:
    """The station clears the profile, and no other one."""
    with precondition():
        profile, other = await _profile(t), await _profile(t, "ChargingStationMaxProfile")
        await _accepts(t, profile)
        await _accepts(t, other, 0)
    await _clear(t, "K10.FR.03", "Accepted", chargingProfileId=profile["id"])
    found = await _reported(t, chargingProfileId=[profile["id"]])
    t.check(not found, "K10.FR.03", "reports the profile that was cleared")
    await _has(t, other, 0, "K10.FR.03")


async def _clears_alike(t: StationTest, evses: tuple[int, ...]) -> None:
    with precondition():
        await _cleared(t)
        for evse in evses:
            await _accepts(t, await _profile(t), evse)
        others = [(0, await _profile(t, "ChargingStationMaxProfile"))]
        if (await t.get("SmartChargingCtrlr", "ProfileStackLevel")).get("attributeValue", "0") != "0":
            others.append((evses[0], await _profile(t, stack=1)))
        for evse, other in others:
            await _accepts(t, other, evse)
    alike: Payload = {"chargingProfilePurpose": "TxDefaultProfile", "stackLevel": 0}
    await _clear(t, "K10.FR.04", "Accepted", chargingProfileCriteria=alike)
    t.check(not await _reported(t, **alike), "K10.FR.04", "reports a profile that was cleared")
    for evse, other in others:
        await _has(t, other, evse, "K10.FR.04")


@K.case("TC_K_06_CS", "Clear a profile by purpose and stack level", also="K10.FR.04")
async def clear_alike(t: StationTest) -> None:
    """The station clears the profile, and does not report it any more."""
    await _clears_alike(t, (1,))


@K.case("TC_K_24_CS", "Clear several profiles by purpose and stack level", also="K10.FR.04", needs=(*SMART, "2 EVSEs"))
async def clear_several(t: StationTest) -> None:
    """The station clears the profiles of all EVSEs."""
    await _clears_alike(t, (1, 2))


@K.case("TC_K_07_CS", "Clear by criteria that no profile has")
async def clear_none(t: StationTest) -> None:
    """The station answers that it knows no such profile, and keeps the others."""
    with precondition():
        await _cleared(t)
        profile = await _profile(t, stack=1)
        await _accepts(t, profile)
    for alike in ({"chargingProfilePurpose": "ChargingStationMaxProfile", "stackLevel": 0}, {"evseId": 0}):
        await _clear(t, "K10.FR.01", "Unknown", chargingProfileCriteria=alike)
    await _has(t, profile, 1, "K10.FR.01")


@K.case("TC_K_08_CS", "Clear an unknown profile")
async def clear_unknown(t: StationTest) -> None:
    """The station answers that it knows no such profile."""
    await given(_cleared(t))
    await _clear(t, "K10.FR.01", "Unknown", chargingProfileId=t.next_id())


@K.case("TC_K_09_CS", "Clear a TxDefaultProfile during a transaction", requirements="K10.FR.07")
async def clear_in_use(t: StationTest) -> None:
    """The limit of the profile applies, and no longer once it is cleared."""
    with precondition():
        await _cleared(t)
        await _accepts(t, await _profile(t, duration=900))
    await t.charging()
    _follows(t, await _composite(t, 1, 300), "K01.FR.32", (30, _LIMIT))
    alike = {"chargingProfilePurpose": "TxDefaultProfile"}
    await _clear(t, "K10.FR.04", "Accepted", chargingProfileCriteria=alike)
    _differs(t, await _composite(t, 1, 300), "K10.FR.07", 30)


# -- get


async def _two(t: StationTest) -> tuple[Payload, Payload]:
    """Let the station have a ChargingStationMaxProfile, and a TxDefaultProfile of stack level 1 at EVSE 1."""
    with precondition():
        await _cleared(t)
        most, usual = await _profile(t, "ChargingStationMaxProfile"), await _profile(t, stack=1)
        await _accepts(t, most, 0)
        await _accepts(t, usual, 1)
    return most, usual


def _case_of_get(
    number: int, title: str, requirement: str, expected: tuple[int, ...], evse: int | None = None, **criteria: object
) -> None:
    """Add a case in which `expected` of the two profiles, 0 and 1, are reported."""

    @K.case(f"TC_K_{number}_CS", title, also="K09.FR.02")
    async def script(t: StationTest) -> None:
        """The station reports the profiles that match, and no others."""
        two = await _two(t)
        wanted = criteria | ({"chargingProfileId": [two[0]["id"]]} if number == 32 else {})
        found = {each["id"] for _, each in await _reported(t, evse, **wanted)}
        ids = {two[each]["id"] for each in expected}
        t.check(found == ids, requirement, f"reports {len(found)} profiles, of which {len(found & ids)} match")


_case_of_get(29, "Get the profiles of the station", "K09.FR.05", (0,), 0)
_case_of_get(30, "Get the profiles of one EVSE", "K09.FR.04", (1,), 1)
_case_of_get(31, "Get all profiles", "K09.FR.06", (0, 1), chargingLimitSource=["CSO"])
_case_of_get(32, "Get a profile by its id", "K09.FR.01", (0,))
_case_of_get(33, "Get the profiles of an EVSE by stack level", "K09.FR.04", (1,), 1, stackLevel=1)
_case_of_get(35, "Get profiles by purpose", "K09.FR.04", (1,), 1, chargingProfilePurpose="TxDefaultProfile")
_case_of_get(
    36, "Get profiles by purpose and stack level", "K09.FR.04", (1,), 1, chargingProfilePurpose="TxDefaultProfile",
    stackLevel=1,
)  # fmt: skip


@K.case("TC_K_34_CS", "Get profiles by their source", also="K09.FR.02")
async def get_by_source(t: StationTest) -> None:
    """The station reports the profiles of that source, and none of a source without profiles."""
    _, usual = await _two(t)
    found = [each["id"] for _, each in await _reported(t, 1, chargingLimitSource=["CSO"])]
    t.check(found == [usual["id"]], "K09.FR.04", f"reports {len(found)} profiles of the back end at EVSE 1")
    t.check(not await _reported(t, 1, chargingLimitSource=["SO"]), "K09.FR.04", "reports profiles of another source")


# -- when profiles apply


@K.case("TC_K_21_CS", "Profile that is not valid yet")
async def valid_from(t: StationTest) -> None:
    """The limit applies from validFrom on, and not before."""
    await given(_cleared(t))
    await _accepts(t, await _profile(t, kind="Relative", validFrom=t.later(300)))
    schedule = await _composite(t, 1, 400)
    _differs(t, schedule, "K01.FR.36", 200)
    _follows(t, schedule, "K01.FR.36", (350, _LIMIT))


@K.case("TC_K_22_CS", "Profile that is no longer valid")
async def valid_to(t: StationTest) -> None:
    """The limit applies up to validTo, and not longer."""
    await given(_cleared(t))
    await _accepts(t, await _profile(t, validFrom=t.later(-10), validTo=t.later(300)), 0)
    for evse in range(1, t.declared.evses + 1):
        schedule = await _composite(t, evse, 400)
        _follows(t, schedule, "K01.FR.37", (100, _LIMIT))
        _differs(t, schedule, "K01.FR.37", 350)


@K.case("TC_K_23_CS", "Schedule that begins later")
async def starts_later(t: StationTest) -> None:
    """The limit applies from startSchedule on, and not before."""
    await given(_cleared(t))
    profile = await _profile(t, start=120)
    await _accepts(t, profile)
    schedule = await _composite(t, 1, 300)
    _differs(t, schedule, "K01.FR.30", 10)
    _follows(t, schedule, "K01.FR.30", (30, _LIMIT), (160, _LIMIT), profile=profile)


@K.case("TC_K_28_CS", "TxDefaultProfile during a transaction", quick=True)
async def applies_at_once(t: StationTest) -> None:
    """The limit applies to the transaction that runs."""
    await given(_cleared(t))
    await t.charging()
    await _accepts(t, await _profile(t, duration=900))
    _follows(t, await _composite(t, 1, 300), "K01.FR.32", (30, _LIMIT), (250, _LIMIT))


# -- composite schedules


@K.case("TC_K_39_CS", "Composite schedule of the station", also="K08.FR.02 K08.FR.06")
async def composite_station(t: StationTest) -> None:
    """The station answers with a schedule of the whole station, of the duration asked for, within its limit."""
    with precondition():
        await _cleared(t)
        await _accepts(t, await _profile(t, "ChargingStationMaxProfile"), 0)
    _follows(t, await _composite(t, 0, 300, "K08.FR.03"), "K08.FR.06", (150, _LIMIT))


@K.case("TC_K_40_CS", "Composite schedule of two stack levels", also="K08.FR.02 K01.FR.17")
async def composite_stack(t: StationTest) -> None:
    """The higher stack level applies while it lasts, then the lower one."""
    levels = await t.value("SmartChargingCtrlr", "ProfileStackLevel")
    t.needs(int(levels or 0) > 0, "the station has a single stack level")
    with precondition():
        await _cleared(t)
        lower = await _profile(t, "TxDefaultProfile", (0, 6.0), (100, 8.0), (200, 10.0), duration=420)
        upper = await _profile(t, "TxDefaultProfile", (0, 7.0), (100, 9.0), stack=1, duration=150)
        upper["chargingSchedule"][0]["startSchedule"] = lower["chargingSchedule"][0]["startSchedule"]
        await _accepts(t, lower)
        await _accepts(t, upper)
    schedule = await _composite(t, 1, 350)
    _follows(t, schedule, "K08.FR.06", (20, 7.0), (85, 7.0), (125, 9.0), (175, 8.0), (250, 10.0), profile=lower)


@K.case("TC_K_41_CS", "Composite schedule of several purposes", also="K08.FR.02")
async def composite_purposes(t: StationTest) -> None:
    """The profile of the transaction comes before the default one, and the station's limits both."""
    await given(_cleared(t))
    transaction = await t.charging()
    with precondition():
        await _accepts(t, await _profile(t, "ChargingStationMaxProfile", (0, 10.0)), 0)
        await _accepts(t, await _profile(t, "TxDefaultProfile", (0, 6.0)))
        running = await _profile(t, "TxProfile", (0, 8.0), (100, 16.0), (200, 7.0), transactionId=transaction)
        await _accepts(t, running)
    schedule = await _composite(t, 1, 300)
    _follows(t, schedule, "K08.FR.04", (30, 8.0), (85, 8.0), (150, 10.0), (250, 7.0), profile=running)


def _case_of_no_schedule(number: int, title: str, requirement: str) -> None:
    @K.case(f"TC_K_{number}_CS", title)
    async def script(t: StationTest) -> None:
        """The station rejects the request, and answers without a schedule."""
        unit = await _other_unit(t) if number == 42 else await _unit(t)
        evse = 0 if number == 42 else t.declared.evses + 1
        answer = await t.ask("GetCompositeSchedule", evseId=evse, duration=300, chargingRateUnit=unit)
        t.check(answer["status"] == "Rejected", requirement, f"answers {answer['status']}")
        t.check("schedule" not in answer, requirement, "answers with a schedule")


_case_of_no_schedule(42, "Composite schedule in a unit that is not supported", "K08.FR.07")
_case_of_no_schedule(47, "Composite schedule of an EVSE that does not exist", "K08.FR.05")


DYNAMIC: Final = (*SMART, "SmartChargingCtrlr.SupportsDynamicProfiles")
OUTSIDE: Final = (*SMART, "SmartChargingCtrlr.ExternalControlSignalsEnabled")
K_21: Final[Block[StationTest]] = Block(
    profiles=("Smart Charging",), versions=("2.1",), needs=(*SMART, "ISO15118Ctrlr.Enabled")
)
K_DYNAMIC: Final = K_21.having(needs=DYNAMIC)
K_OUTSIDE: Final = K_21.having(needs=OUTSIDE)
K_SMART: Final = K_21.having(needs=SMART)


@K_21.case(
    "TC_K_112_CS", "Composite schedule with a random delay", requirements="K01.FR.92 K01.FR.93 K01.FR.94",
    needs=(*SMART, "SmartChargingCtrlr.SupportsRandomizedDelay"),
)  # fmt: skip
async def randomized(t: StationTest) -> None:
    """Each period but the first begins up to randomizedDelay later; the schedule stays the same."""
    transaction = await charging(t)
    periods = ({"limit": 3000.0}, {"startPeriod": 120, "limit": 5000.0}, {"startPeriod": 240, "limit": 4000.0})
    wanted = profile(t, *periods, transactionId=transaction, schedule={"randomizedDelay": 60})
    await accepted(t, wanted, "K01.FR.92")
    begun = parse_time(wanted["chargingSchedule"][0]["startSchedule"])
    found: list[list[float]] = []
    for _ in range(2):
        answer = await t.ask("GetCompositeSchedule", evseId=1, duration=360, chargingRateUnit="W")
        t.check(answer["status"] == "Accepted", "K08.FR.02", f"answers {answer['status']}")
        schedule = answer["schedule"]
        limits = [each["limit"] for each in schedule["chargingSchedulePeriod"]]
        t.check(limits == [3000, 5000, 4000], "K01.FR.94", f"answers with the limits {limits}")
        at = (parse_time(schedule["scheduleStart"]) - begun) / 1000
        found.append([at + each["startPeriod"] for each in schedule["chargingSchedulePeriod"][1:]])
        for start, nominal in zip(found[-1], (120, 240), strict=True):
            t.check(-2 <= start - nominal <= 62, "K01.FR.92", f"begins a period {start - nominal:.0f} s late")
        await t.wait(5)
    moved = max(abs(one - other) for one, other in zip(*found, strict=True))
    t.check(moved <= 2, "K01.FR.93", f"answers with another delay the second time, by {moved:.0f} s")


# -- vehicles of ISO 15118-20 (K16 to K20)


async def _agreed(t: StationTest, kind: str) -> str:
    """Let a vehicle come that charges by a profile made for its needs; return its transaction."""
    with precondition():
        await cleared(t)
        t.answer("Authorize", TRANSFERS)
        await t.present()
        await t.vehicle(kind)
        event = await t.expect("TransactionEvent", "E01.FR.01", eventType="Started")
        transaction: str = event["transactionInfo"]["transactionId"]
    mode = "ScheduledControl" if kind == "scheduled" else "DynamicControl"
    requirement = "K18" if kind == "scheduled" else "K19"
    told = await t.expect("NotifyEVChargingNeeds", f"{requirement}.FR.01", evseId=1)
    needs = told["chargingNeeds"]
    t.check(needs.get("controlMode") == mode, f"{requirement}.FR.01", f"sends the mode {needs.get('controlMode')}")
    t.check("v2xChargingParameters" in needs, f"{requirement}.FR.06", "sends needs without v2xChargingParameters")
    await accepted(t, profile(t, {"limit": 6000.0}, transactionId=transaction), f"{requirement}.FR.07")
    if kind == "scheduled":
        await t.expect("NotifyEVChargingSchedule", "K18.FR.10", evseId=1)
    return transaction


@K_21.case("TC_K_113_CS", "The back end changes the schedule of a vehicle in scheduled control mode", also="K16.FR.02")
async def renegotiated(t: StationTest) -> None:
    """The station renegotiates, and sends the vehicle's schedule."""
    transaction = await _agreed(t, "scheduled")
    t.forget()
    wanted = profile(t, {"limit": 3000.0}, stackLevel=1, transactionId=transaction)
    await accepted(t, wanted, "K16.FR.01")
    told = await t.expect("NotifyEVChargingSchedule", "K16.FR.05", evseId=1)
    limits = [each.get("limit", 0) for each in told["chargingSchedule"]["chargingSchedulePeriod"]]
    t.check(max(limits) <= 3000, "K16.FR.04", f"sends a schedule of up to {max(limits):g} W")


@K_21.case(
    "TC_K_114_CS", "A vehicle in scheduled control mode renegotiates", requirements="K17.FR.01 K17.FR.06 K17.FR.10"
)
async def vehicle_renegotiates(t: StationTest) -> None:
    """The station sends the new needs, and then the vehicle's schedule by the new profile."""
    transaction = await _agreed(t, "scheduled")
    t.forget()
    await t.do(Step("needs"))
    told = await t.expect("NotifyEVChargingNeeds", "K17.FR.01", evseId=1)
    t.check("v2xChargingParameters" in told["chargingNeeds"], "K17.FR.06", "sends no v2xChargingParameters")
    await accepted(t, profile(t, {"limit": 4000.0}, stackLevel=1, transactionId=transaction), "K17.FR.07")
    await t.expect("NotifyEVChargingSchedule", "K17.FR.10", evseId=1)


@K_21.case("TC_K_115_CS", "A vehicle in dynamic control mode", requirements="K19.FR.01 K19.FR.06 K20.FR.04")
async def dynamic_control(t: StationTest) -> None:
    """The station sends its needs, and follows each profile."""
    transaction = await _agreed(t, "dynamic")
    await follows(t, "K20.FR.04", limit=6000)
    t.forget()
    await accepted(t, profile(t, {"limit": 3000.0}, stackLevel=1, transactionId=transaction), "K16.FR.01")
    await follows(t, "K20.FR.04", limit=3000)


@K_21.case("TC_K_116_CS", "A vehicle in dynamic control mode needs other energy", requirements="K20.FR.01 K20.FR.04")
async def other_needs(t: StationTest) -> None:
    """The station sends the new needs, and follows the new profile."""
    transaction = await _agreed(t, "dynamic")
    t.forget()
    await t.do(Step("needs"))
    told = (await t.expect("NotifyEVChargingNeeds", "K20.FR.01", evseId=1))["chargingNeeds"]
    new = "departureTime" in told or "evTargetEnergyRequest" in told.get("v2xChargingParameters", {})
    t.check(new, "K20.FR.01", "sends neither departure nor energy")
    await accepted(t, profile(t, {"limit": 9000.0}, stackLevel=1, transactionId=transaction), "K16.FR.01")
    await follows(t, "K20.FR.04", limit=9000)


# -- priority (K21, K22)


def _priority(t: StationTest) -> None:
    entries = [each for each in t.reported if each["variable"]["name"] == "SupportedAdditionalPurposes"]
    offered = any("PriorityCharging" in str(each["variableAttribute"][0].get("value")) for each in entries)
    t.needs(offered, "it does not support PriorityCharging")


async def _with_profile(t: StationTest) -> str:
    """Let a transaction be limited to 4 kW; return it."""
    transaction = await charging(t)
    await given(accepted(t, profile(t, {"limit": 4000.0}, transactionId=transaction), "K01.FR.07"))
    return transaction


async def _fast(t: StationTest) -> None:
    await accepted(t, profile(t, {"limit": 9000.0}, purpose="PriorityCharging"), "K01.FR.07", evse=0)


async def _use(t: StationTest, transaction: str, expected: str, requirement: str, *, activate: bool) -> None:
    answer = await t.ask("UsePriorityCharging", transactionId=transaction, activate=activate)
    t.check(answer["status"] == expected, requirement, f"answers {answer['status']} instead of {expected}")


async def _says(t: StationTest, transaction: str, requirement: str, *, activated: bool) -> None:
    await t.expect("NotifyPriorityCharging", requirement, transactionId=transaction, activated=activated)
    watts = 9000 if activated else 4000
    await follows(t, "K21.FR.04" if activated else "K21.FR.07", limit=watts)


@K_SMART.case(
    "TC_K_118_CS",
    "Priority charging by the back end",
    requirements="K21.FR.01 K21.FR.02 K21.FR.03 K21.FR.04 K21.FR.05 K21.FR.07 K21.FR.08",
)
async def priority(t: StationTest) -> None:
    """With a profile for it the station applies that, says so, and returns to the other profile at the end."""
    _priority(t)
    transaction = await _with_profile(t)
    await _use(t, "no-such-transaction", "Rejected", "K21.FR.02", activate=True)
    await _use(t, transaction, "NoProfile", "K21.FR.01", activate=True)
    await _fast(t)
    await follows(t, "K21.FR.04", limit=4000)
    await _use(t, transaction, "Accepted", "K21.FR.03", activate=True)
    await _says(t, transaction, "K21.FR.05", activated=True)
    await _use(t, transaction, "Accepted", "K21.FR.06", activate=False)
    await _says(t, transaction, "K21.FR.08", activated=False)


@K_SMART.case("TC_K_119_CS", "Priority charging by the driver", requirements="K22.FR.02 K22.FR.03 K22.FR.04 K22.FR.05")
async def priority_by_driver(t: StationTest) -> None:
    """With a profile for it the station applies that, says so, and returns to the other profile at the end."""
    _priority(t)
    transaction = await _with_profile(t)
    await t.do(Step("hurry"))
    await t.nothing("NotifyPriorityCharging", "K22.FR.01", within=3)
    await _fast(t)
    await t.do(Step("hurry"))
    await _says(t, transaction, "K22.FR.03", activated=True)
    await t.do(Step("relax"))
    await _says(t, transaction, "K22.FR.05", activated=False)


# -- energy managers (K27, K29)


def _later(first: str, second: str) -> bool:
    """Return whether both are times (RFC 3339), the second after the first."""
    return bool(first and second) and parse_time(first) < parse_time(second)


@K_OUTSIDE.case(
    "TC_K_120_CS", "Local generation", requirements="K27.FR.01 K27.FR.02 K27.FR.03 K27.FR.04 K08.FR.04 K13.FR.02"
)
async def generation(t: StationTest) -> None:
    """The station adds the power to its limit, reports it as local generation, and has a profile of it."""
    await prefer(t, "SmartChargingCtrlr", "NotifyChargingLimitWithSchedules", "true")
    await _with_profile(t)
    await outside(t, "generate", 2000)
    told = await t.expect("NotifyChargingLimit", "K27.FR.03")
    limit = told["chargingLimit"]
    t.check(limit.get("isLocalGeneration") is True, "K27.FR.03", "does not report it as local generation")
    t.check(limit["chargingLimitSource"] in ("EMS", "Other"), "K27.FR.03", f"says {limit['chargingLimitSource']}")
    t.check(bool(told.get("chargingSchedule")), "K27.FR.04", "reports it without the schedule")
    await follows(t, "K08.FR.04", limit=6000)
    found = await stored(t, "K27.FR.02", chargingProfilePurpose="LocalGeneration")
    t.check(len(found) == 1, "K27.FR.02", f"reports {len(found)} profiles")
    await t.do(Step("release"))
    await t.expect("ClearedChargingLimit", "K13.FR.02")
    await follows(t, "K13.FR.01", limit=4000)


@K_21.case("TC_K_52_CS", "A limit of an external system, without a transaction", needs=OUTSIDE, versions=BOTH)
async def external_limit(t: StationTest) -> None:
    """The station tells the limit, not as one of the back end, and reports it as external constraints."""
    await prefer(t, "SmartChargingCtrlr", "ExternalConstraintsProfileDisallowed", "false")
    await outside(t, "limit", 6000)
    told = await t.expect("NotifyChargingLimit", "K12.FR.02")
    source = told["chargingLimit"]["chargingLimitSource"]
    t.check(source != "CSO", "K12.FR.04", f"says that the source is {source}")
    found = await stored(t, "K12.FR.05", chargingProfilePurpose="ChargingStationExternalConstraints")
    purposes = {each["chargingProfilePurpose"] for _, each in found}
    t.check(purposes == {"ChargingStationExternalConstraints"}, "K12.FR.05", f"reports it as {', '.join(purposes)}")


@K_OUTSIDE.case("TC_K_124_CS", "An external system, without the back end's leave")
async def disallowed(t: StationTest) -> None:
    """The station ignores the limit, and does not report it."""
    await t.demand("SmartChargingCtrlr", "ExternalConstraintsProfileDisallowed", "true")
    await _with_profile(t)
    await outside(t, "limit", 2000)
    await t.nothing("NotifyChargingLimit", "K11.FR.07", within=3)
    await follows(t, "K11.FR.07", limit=4000)


@K_21.case(
    "TC_K_125_CS",
    "An external system, in a dynamic profile of the back end",
    needs=(*OUTSIDE, "SmartChargingCtrlr.SupportsDynamicProfiles"),
)
async def allowed(t: StationTest) -> None:
    """The station has each limit as that of the profile, with the time of the update."""
    await t.demand("SmartChargingCtrlr", "ExternalConstraintsProfileDisallowed", "true")
    transaction = await charging(t)
    wanted = profile(t, {"operationMode": "ExternalLimits"}, kind="Dynamic", transactionId=transaction)
    await accepted(t, wanted, "K29.FR.03")
    times = []
    for watts in (9000.0, 4000.0):
        await outside(t, "limit", watts)
        await t.wait(2)
        ((_, found),) = await stored(t, "K29.FR.05", chargingProfileId=[wanted["id"]])
        has = found["chargingSchedule"][0]["chargingSchedulePeriod"][0].get("limit")
        t.check(has == watts, "K29.FR.05", f"has the limit {has} instead of {watts:g}")
        times.append(found.get("dynUpdateTime", ""))
    t.check(_later(*times), "K29.FR.06", f"has the times {times[0] or 'none'} and {times[1] or 'none'}")


# -- dynamic profiles (K28)


async def _dynamic(t: StationTest, **more: Any) -> Payload:
    transaction = await charging(t)
    wanted = profile(t, {"limit": 6000.0}, kind="Dynamic", transactionId=transaction, **more)
    return await accepted(t, wanted, "K28.FR.05")


@K_DYNAMIC.case("TC_K_121_CS", "Limits that the station pulls", requirements="K28.FR.08 K28.FR.10")
async def pulled(t: StationTest) -> None:
    """The station asks for updates in their time, and applies each answer at once."""
    limits = iter((5000.0, 3000.0))
    t.answer("PullDynamicScheduleUpdate", lambda _: {"status": "Accepted", "scheduleUpdate": {"limit": next(limits)}})
    wanted = await _dynamic(t, dynUpdateInterval=20)
    await follows(t, "K08.FR.04", limit=6000)
    for watts in (5000, 3000):
        await t.expect("PullDynamicScheduleUpdate", "K28.FR.10", within=t.after(20), chargingProfileId=wanted["id"])
        await follows(t, "K28.FR.08", limit=watts)


@K_DYNAMIC.case("TC_K_122_CS", "Limits that the back end pushes")
async def pushed(t: StationTest) -> None:
    """The station applies each update at once, and has its time."""
    wanted = await _dynamic(t)
    times = []
    for watts in (5000.0, 3000.0):
        ((_, found),) = await stored(t, "K28.FR.05", chargingProfileId=[wanted["id"]])
        times.append(found.get("dynUpdateTime", ""))
        await t.wait(2)
        answer = await t.ask("UpdateDynamicSchedule", chargingProfileId=wanted["id"], scheduleUpdate={"limit": watts})
        t.check(answer["status"] == "Accepted", "K28.FR.06", f"answers {answer['status']}")
        await follows(t, "K28.FR.06", limit=watts)
    t.check(bool(times[0]), "K28.FR.05", "has no time of the update")
    t.check(_later(*times), "K28.FR.09", f"has the time {times[1] or 'none'} after an update")


@K_DYNAMIC.case(
    "TC_K_123_CS", "Dynamic profiles that are not valid", requirements="K28.FR.03 K28.FR.04 K28.FR.11 K01.FR.122"
)
async def validated(t: StationTest) -> None:
    """The station rejects more than one period or schedule, updates of other profiles, and their interval."""
    transaction = await charging(t)
    more: Payload = {"transactionId": transaction}
    two = ({"limit": 6000.0}, {"startPeriod": 60, "limit": 5000.0})
    await rejected(t, profile(t, *two, kind="Dynamic", **more), "K28.FR.03")
    await rejected(t, profile(t, {"startPeriod": 60, "limit": 6000.0}, kind="Dynamic", **more), "K28.FR.03")
    wanted = profile(t, {"limit": 6000.0}, kind="Dynamic", **more)
    await rejected(t, wanted | {"chargingSchedule": wanted["chargingSchedule"] * 2}, "K28.FR.03")
    usual = profile(t, {"limit": 6000.0}, **more)
    await rejected(t, usual | {"dynUpdateInterval": 60}, "K28.FR.04")
    await accepted(t, usual, "K01.FR.07")
    answer = await t.ask("UpdateDynamicSchedule", chargingProfileId=usual["id"], scheduleUpdate={"limit": 3000.0})
    t.check(answer["status"] == "Rejected", "K28.FR.11", f"answers {answer['status']}")
    await follows(t, "K28.FR.11", limit=6000)
