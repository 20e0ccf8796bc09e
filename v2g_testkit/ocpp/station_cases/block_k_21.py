"""Functional block K, smart charging, of OCPP 2.1: vehicles of ISO 15118-20, priority, energy managers, dynamic
profiles; cases for charging stations."""

from typing import Any, Final

from v2g.ocpp.times import parse_time
from v2g_testkit.ocpp.case import BOTH, Block, Payload, given, precondition
from v2g_testkit.ocpp.driver import Step
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
from v2g_testkit.ocpp.station_cases.steps import prefer
from v2g_testkit.ocpp.station_tester import StationTest

SMART: Final = ("SmartChargingCtrlr.Enabled",)
ISO: Final = (*SMART, "ISO15118Ctrlr.Enabled")
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
    more: dict[str, Any] = {"transactionId": transaction}
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
