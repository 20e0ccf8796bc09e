"""Functional block Q, bidirectional power transfer: cases for charging stations, all of OCPP 2.1.

What a station does with a profile shows in its composite schedule and its events; what it measures depends on the
vehicle, and judges nothing.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from v2g.typed_json import Fields
from v2g_testkit.ocpp.case import Block, Payload, given, precondition
from v2g_testkit.ocpp.connection import field_of
from v2g_testkit.ocpp.driver import Action, Step
from v2g_testkit.ocpp.station_cases import profiles
from v2g_testkit.ocpp.station_cases.steps import ended, prefer
from v2g_testkit.ocpp.station_tester import StationTest

V2X: Final = ("V2XChargingCtrlr.Enabled", "SmartChargingCtrlr.Enabled")
ISO: Final = (*V2X, "ISO15118Ctrlr.Enabled")
DYNAMIC: Final = (*V2X, "SmartChargingCtrlr.SupportsDynamicProfiles")
OUTSIDE: Final = (*DYNAMIC, "SmartChargingCtrlr.ExternalControlSignalsEnabled")
Q: Final[Block[StationTest]] = Block(
    profiles=("Smart Charging",), versions=("2.1",), needs=("V2XChargingCtrlr.Enabled", "SmartChargingCtrlr.Enabled")
)
Q_OUTSIDE: Final = Q.having(needs=OUTSIDE)
Q_DYNAMIC: Final = Q.having(needs=DYNAMIC)
Q_ISO: Final = Q.having(needs=ISO)
_EXTRA: Final = "Power.Active.Setpoint"
CURVE: Final = [{"frequency": 49.0, "power": -4000.0}, {"frequency": 51.0, "power": 4000.0}]
SIGNALS: Final = [{"signal": -100, "power": -1000.0}, {"signal": 100, "power": 1000.0}]


def has_mode(t: StationTest, mode: str) -> bool:
    """Return whether a station supports an operation mode, as it reports (Q01.FR.30)."""
    entries = (each for each in t.reported if each["variable"]["name"] == "SupportedOperationModes")
    return any(mode in str(each["variableAttribute"][0].get("value", "")).split(",") for each in entries)


def _needs_mode(t: StationTest, mode: str) -> None:
    t.needs(has_mode(t, mode), f"it does not support {mode}")


async def _arrives(t: StationTest, kind: str = "dynamic", allowed: Payload = profiles.TRANSFERS) -> tuple[str, Payload]:
    """Let a vehicle of ISO 15118-20 come that can feed back; return its transaction and its first event. `allowed`:
    answer to Authorize."""
    with precondition():
        await profiles.cleared(t)
        t.answer("Authorize", allowed)
        await t.present()
        await t.vehicle(kind)
        event = await t.expect("TransactionEvent", "E01.FR.01", eventType="Started")
    return event["transactionInfo"]["transactionId"], event


def _names(event: Payload) -> bool:
    """Return whether the token of an event has the EVCCID of the vehicle."""
    return any(each.get("type") == "EVCCID" for each in field_of(event, "idToken__additionalInfo") or ())


async def _asks(t: StationTest, requirement: str = "Q01.FR.03") -> Payload:
    """Expect the needs of the vehicle at EVSE 1. Raises Failed."""
    told = await t.expect("NotifyEVChargingNeeds", requirement, evseId=1)
    needs: Payload = told["chargingNeeds"]
    return needs


# -- authorization and needs (Q01, Q02)


@Q.case("TC_Q_100_CS", "Measurands of an operation mode", requirements="Q01.FR.33 Q01.FR.34 Q01.FR.35")
async def measurands(t: StationTest) -> None:
    """The station measures what is set for the operation mode in force, in addition, from start to end."""
    for name in ("TxStartedMeasurands", "TxUpdatedMeasurands", "TxEndedMeasurands"):
        await t.demand("V2XChargingCtrlr", name, _EXTRA, instance="CentralSetpoint")
    await t.demand("SampledDataCtrlr", "TxUpdatedInterval", "10")
    with precondition():
        await profiles.cleared(t)
        period = {"operationMode": "CentralSetpoint", "setpoint": 3000.0}
        await profiles.accepted(t, profiles.profile(t, period, purpose="TxDefaultProfile"), "Q03.FR.01")
    await t.present()
    await t.plug()
    _measures(t, await t.expect("TransactionEvent", "Q01.FR.33", eventType="Started"), "Q01.FR.33")
    periodic = await t.expect("TransactionEvent", "Q01.FR.35", within=t.after(10), triggerReason="MeterValuePeriodic")
    _measures(t, periodic, "Q01.FR.35")
    await t.present()
    await t.unplug()
    _measures(t, await ended(t, "Q01.FR.34"), "Q01.FR.34")


def _measures(t: StationTest, event: Payload, requirement: str) -> None:
    names = {one.get("measurand") for each in event.get("meterValue", []) for one in each["sampledValue"]}
    t.check(_EXTRA in names, requirement, f"measures no {_EXTRA} in the event {event['eventType']}")


@Q_ISO.case(
    "TC_Q_101_CS",
    "A bidirectional vehicle, whose needs take time",
    requirements="Q01.FR.02 Q01.FR.03 K01.FR.110 K08.FR.04",
)
async def processing(t: StationTest) -> None:
    """The station names the vehicle, sends its needs, and follows the profile that comes later."""
    t.answer("NotifyEVChargingNeeds", {"status": "Processing"})
    transaction, event = await _arrives(t)
    # a transaction that starts before the vehicle communicates can name it only later
    early = event["triggerReason"] in ("Authorized", "CablePluggedIn", "EVDetected", "RemoteStart")
    named = _names(event) or (early and await t.find(lambda each: _names(each.payload)) is not None)
    t.check(named, "Q01.FR.02", "does not add the vehicle's EVCCID to the token")
    needs = await _asks(t)
    t.check(str(needs["requestedEnergyTransfer"]).endswith("BPT"), "Q01.FR.03", "requests no bidirectional transfer")
    for name in ("availableEnergyTransfer", "controlMode", "v2xChargingParameters"):
        t.check(name in needs, "Q01.FR.03", f"sends needs without {name}")
    await t.wait(5)
    period = {"operationMode": "CentralSetpoint", "setpoint": -3000.0}
    await profiles.accepted(t, profiles.profile(t, period, transactionId=transaction), "Q03.FR.01")
    await profiles.enters(t, "CentralSetpoint")
    await profiles.follows(t, "K08.FR.04", setpoint=-3000)


@Q_ISO.case(
    "TC_Q_102_CS", "Bidirectional transfer is allowed after the start", requirements="Q02.FR.04 Q02.FR.06 Q02.FR.07"
)
async def allowed_later(t: StationTest) -> None:
    """The station charges only; then it accepts the new list, and sends needs with both directions."""
    transaction, _ = await _arrives(t, allowed={"idTokenInfo": {"status": "Accepted"}})
    before = (await _asks(t, "Q02.FR.04"))["requestedEnergyTransfer"]
    t.check("BPT" not in before, "Q02.FR.04", f"requests {before} before it is allowed")
    with precondition():
        period = {"operationMode": "ChargingOnly", "limit": 6000.0}
        await profiles.accepted(t, profiles.profile(t, period, transactionId=transaction), "Q02.FR.01")
    both = ["DC", "DC_BPT"] if before.startswith("DC") else [before, "AC_BPT"]
    answer = await t.ask("NotifyAllowedEnergyTransfer", transactionId=transaction, allowedEnergyTransfer=both)
    t.check(answer["status"] == "Accepted", "Q02.FR.06", f"answers {answer['status']}")
    after = (await _asks(t, "Q02.FR.07"))["requestedEnergyTransfer"]
    t.check(after == both[1], "Q02.FR.07", f"requests {after} after {both[1]} was allowed")


async def _refused(t: StationTest) -> str:
    """Reject the needs of a vehicle; return its transaction."""
    t.answer("NotifyEVChargingNeeds", {"status": "Rejected"})
    transaction, _ = await _arrives(t)
    await given(_asks(t))
    return transaction


@Q_ISO.case("TC_Q_103_CS", "Needs that are rejected")
async def needs_rejected(t: StationTest) -> None:
    """The station, which cannot renegotiate services, ends the transaction."""
    renegotiates = t.has("ISO15118Ctrlr.ServiceRenegotiationSupport")
    t.needs(not renegotiates, "it renegotiates services")
    transaction = await _refused(t)
    event = await ended(t, "Q01.FR.06", transactionInfo__transactionId=transaction)
    found = event["triggerReason"], event["transactionInfo"].get("stoppedReason")
    wanted = "AbnormalCondition", "ReqEnergyTransferRejected"
    t.check(found == wanted, "Q01.FR.06", f"ends it with {found[0]}, {found[1]}")


@Q.case(
    "TC_Q_130_CS", "Needs that are rejected, and services that are renegotiated", also="Q01.FR.03",
    needs=(*ISO, "ISO15118Ctrlr.ServiceRenegotiationSupport"),
)  # fmt: skip
async def renegotiated(t: StationTest) -> None:
    """The station lets the vehicle select another service, and sends its needs."""
    t.answer("NotifyEVChargingNeeds", lambda asked: {
        "status": "Rejected" if "BPT" in asked["chargingNeeds"]["requestedEnergyTransfer"] else "Accepted"
    })  # fmt: skip
    await _arrives(t)
    with precondition():
        before = (await _asks(t))["requestedEnergyTransfer"]
    # with ServiceRenegotiationSupport a SHALL, by the errata of 2025-06
    after = (await _asks(t, "Q01.FR.05"))["requestedEnergyTransfer"]
    t.check(after != before, "Q01.FR.05", f"requests {after} again")


@Q_ISO.case(
    "TC_Q_104_CS",
    "Set-points for a vehicle in scheduled control mode",
    requirements="Q01.FR.03 K18.FR.01 K18.FR.10 K08.FR.04",
)
async def scheduled(t: StationTest) -> None:
    """The station sends the needs, follows each set-point in its time, and sends the vehicle's schedule."""
    transaction, _ = await _arrives(t, "scheduled")
    t.equal((await _asks(t))["controlMode"], "ScheduledControl", "K18.FR.01", "sends the mode {}")
    periods = (
        {"operationMode": "CentralSetpoint", "setpoint": 5000.0},
        {"startPeriod": 300, "operationMode": "CentralSetpoint", "setpoint": -5000.0},
    )
    wanted = await profiles.accepted(t, profiles.profile(t, *periods, transactionId=transaction), "Q03.FR.01")
    told = await t.expect("NotifyEVChargingSchedule", "K18.FR.10", evseId=1)
    selected = told.get("selectedChargingScheduleId")
    t.check(selected == wanted["chargingSchedule"][0]["id"], "K18.FR.10", f"says that it has selected {selected}")
    await profiles.follows(t, "K08.FR.04", setpoint=5000)
    await profiles.follows(t, "K08.FR.04", 330, setpoint=-5000)


@Q.case("TC_Q_107_CS", "Charging only, before both directions", requirements="Q02.FR.01 K08.FR.04")
async def charging_only(t: StationTest) -> None:
    """The station follows a profile of ChargingOnly, also if it names no operation mode."""
    transaction = await profiles.charging(t)
    await profiles.accepted(t, profiles.profile(t, {"limit": 6000.0}, transactionId=transaction), "Q02.FR.01")
    await profiles.follows(t, "K08.FR.04", limit=6000, setpoint=None)
    await t.nothing("TransactionEvent", "K01.FR.110", within=2, triggerReason="OperationModeChanged")


# -- set-points of the back end (Q03, Q04, Q07)


async def _dynamic(t: StationTest, period: Payload, **more: Any) -> Payload:
    """Let a dynamic profile of one period be in force for a transaction; return it. Raises Failed."""
    transaction = await profiles.charging(t)
    wanted = profiles.profile(t, period, kind="Dynamic", transactionId=transaction, **more)
    return await profiles.accepted(t, wanted, "K28.FR.05")


async def _push(t: StationTest, wanted: Payload, **values: float) -> None:
    answer = await t.ask("UpdateDynamicSchedule", chargingProfileId=wanted["id"], scheduleUpdate=values)
    t.check(answer["status"] == "Accepted", "K28.FR.06", f"answers {answer['status']} to an update")


def _case_of_push(number: int, title: str, mode: str) -> None:
    @Q_DYNAMIC.case(f"TC_Q_{number}_CS", title, requirements="K28.FR.06 K28.FR.09 K01.FR.110 K08.FR.04")
    async def script(t: StationTest) -> None:
        """The station applies each set-point at once, and says only once that the operation mode is another."""
        _needs_mode(t, mode)
        wanted = await _dynamic(t, {"operationMode": mode, "setpoint": 3000.0})
        await profiles.enters(t, mode)
        await profiles.follows(t, "K08.FR.04", setpoint=3000)
        for watts in (-2000.0, 4000.0):
            await _push(t, wanted, setpoint=watts)
            await profiles.follows(t, "K28.FR.06", setpoint=watts)
        await t.nothing("TransactionEvent", "K01.FR.110", within=2, triggerReason="OperationModeChanged")
        ((_, found),) = await profiles.stored(t, "K09.FR.02", chargingProfileId=[wanted["id"]])
        t.check("dynUpdateTime" in found, "K28.FR.09", "reports no time of the update")


_case_of_push(109, "Set-points that the back end pushes", "CentralSetpoint")
_case_of_push(117, "Set-points for frequency support that the back end pushes", "CentralFrequency")


@Q_DYNAMIC.case("TC_Q_110_CS", "Set-points that the station pulls", requirements="K28.FR.08 K28.FR.10")
async def pulled(t: StationTest) -> None:
    """The station asks for each update in its time, and applies the answer at once."""
    t.answer("PullDynamicScheduleUpdate", {"status": "Accepted", "scheduleUpdate": {"setpoint": -2500.0}})
    period = {"operationMode": "CentralSetpoint", "setpoint": 3000.0}
    wanted = await _dynamic(t, period, dynUpdateInterval=20)
    await profiles.follows(t, "K08.FR.04", setpoint=3000)
    for _ in range(2):
        await t.expect("PullDynamicScheduleUpdate", "K28.FR.10", within=t.after(20), chargingProfileId=wanted["id"])
    await profiles.follows(t, "K28.FR.08", setpoint=-2500)


async def _expires(t: StationTest, mode: str, update: Callable[[Payload], Awaitable[None]], requirement: str) -> None:
    """Expect a dynamic profile that is not updated to end for the one below it, and to hold again with an update."""
    transaction = await profiles.charging(t)
    await given(profiles.accepted(t, profiles.profile(t, {"limit": 4000.0}, transactionId=transaction), "K01.FR.07"))
    start = {"setpoint": 1000.0} if mode == "CentralFrequency" else {}
    limits = {"operationMode": mode} | start
    wanted = profiles.profile(
        t, limits, kind="Dynamic", stackLevel=1, transactionId=transaction, schedule={"duration": 30}
    )
    await profiles.accepted(t, wanted, "K28.FR.05")
    await update(wanted)
    await profiles.enters(t, mode)
    await profiles.follows(t, requirement, setpoint=-3000)
    await profiles.enters(t, "ChargingOnly", requirement, within=t.after(30))
    await profiles.follows(t, requirement, limit=4000, setpoint=None)
    await update(wanted)
    await profiles.enters(t, mode, requirement)
    await profiles.follows(t, requirement, setpoint=-3000)


@Q_DYNAMIC.case("TC_Q_118_CS", "Set-points for frequency support that are not updated", also="K28.FR.14 K01.FR.110")
async def central_expires(t: StationTest) -> None:
    """After its duration without an update the profile no longer applies; with the next update it does."""
    _needs_mode(t, "CentralFrequency")
    await _expires(t, "CentralFrequency", lambda wanted: _push(t, wanted, setpoint=-3000.0), "K28.FR.13")


# -- external systems (Q05, Q06)


async def _only_by_leave(t: StationTest) -> None:
    await t.demand("SmartChargingCtrlr", "ExternalConstraintsProfileDisallowed", "true")


def _case_of_leave(
    number: int, title: str, mode: str, requirements: tuple[str, ...], action: Action, name: str
) -> None:
    @Q_OUTSIDE.case(f"TC_Q_{number}_CS", title, requirements=requirements)
    async def script(t: StationTest) -> None:
        """The station takes the values of the external system for the back end's profile, with their time."""
        _needs_mode(t, mode)
        await _only_by_leave(t)
        wanted = await _dynamic(t, {"operationMode": mode})
        await profiles.enters(t, mode)
        for watts in (5000.0, 3000.0):
            await profiles.outside(t, action, watts)
            await t.wait(1)
            period = await profiles.now(t)
            t.check(period.get(name) == watts, requirements[0], f"follows the {name} {period.get(name)}")
        ((source, found),) = await profiles.stored(t, "K09.FR.02", chargingProfileId=[wanted["id"]])
        t.check(source == "CSO", requirements[1], f"reports the profile as one of {source}")
        period = found["chargingSchedule"][0]["chargingSchedulePeriod"][0]
        t.check(period.get(name) == 3000, requirements[1], f"reports the {name} {period.get(name)}")
        t.check("dynUpdateTime" in found, requirements[1], "reports no time of the update")


_case_of_leave(
    111, "Set-points of an external system, in a profile of the back end", "ExternalSetpoint",
    ("Q05.FR.01", "Q05.FR.05"), "setpoint", "setpoint",
)  # fmt: skip
_case_of_leave(
    112, "Limits of an external system, in a profile of the back end", "ExternalLimits",
    ("Q05.FR.02", "Q05.FR.06"), "limit", "limit",
)  # fmt: skip


@Q_OUTSIDE.case("TC_Q_113_CS", "Set-points of an external system that are not updated", also="Q05.FR.08 K01.FR.110")
async def external_expires(t: StationTest) -> None:
    """After its duration without an update the profile no longer applies; with the next update it does."""
    _needs_mode(t, "ExternalSetpoint")
    await _only_by_leave(t)
    await _expires(t, "ExternalSetpoint", lambda _: profiles.outside(t, "setpoint", -3000), "Q05.FR.07")


async def _foreign(t: StationTest, kind: str, requirement: str) -> Payload:
    """Return the profile in which the station keeps values of an external system. Raises Failed."""
    found = await profiles.stored(t, requirement, chargingProfilePurpose="ChargingStationExternalConstraints")
    t.check(len(found) == 1, requirement, f"reports {len(found)} profiles of external systems")
    t.check(found[0][0] != "CSO", "K11.FR.05", "reports it as one of the back end")
    t.check(found[0][1]["chargingProfileKind"] == kind, requirement, f"is {found[0][1]['chargingProfileKind']}")
    return found[0][1]


@Q_OUTSIDE.case("TC_Q_114_CS", "Limits of an external system")
async def external_limits(t: StationTest) -> None:
    """The station keeps to each limit, reports it, and has it as a dynamic profile."""
    await t.demand("SmartChargingCtrlr", "ExternalConstraintsProfileDisallowed", "false")
    await prefer(t, "SmartChargingCtrlr", "NotifyChargingLimitWithSchedules", "true")
    await profiles.charging(t)
    for watts in (7000.0, 5000.0):
        await profiles.outside(t, "limit", watts)
        told = await t.expect("NotifyChargingLimit", "Q06.FR.11")
        (schedule,) = told.get("chargingSchedule", [{}])
        (period,) = schedule.get("chargingSchedulePeriod", [{}])
        t.check(period.get("limit") == watts, "Q06.FR.11", f"reports the limit {period.get('limit')}")
        await profiles.follows(t, "Q06.FR.05", limit=watts)
        found = await _foreign(t, "Dynamic", "Q06.FR.02")
        t.check("dynUpdateTime" in found, "Q06.FR.07", "reports no time of the update")


@Q_OUTSIDE.case(
    "TC_Q_115_CS",
    "Set-points of an external system, and of the back end",
    requirements="Q06.FR.04 Q06.FR.06 Q06.FR.11 Q06.FR.21 Q06.FR.22",
)
async def external_setpoints(t: StationTest) -> None:
    """The station follows whichever has priority by SetpointPriority, and reports the external one."""
    await t.demand("SmartChargingCtrlr", "ExternalConstraintsProfileDisallowed", "false")
    await t.demand("SmartChargingCtrlr", "SetpointPriority", "ExternalSystem")
    transaction = await profiles.charging(t)
    with precondition():
        period = {"operationMode": "CentralSetpoint", "setpoint": 2000.0}
        await profiles.accepted(t, profiles.profile(t, period, transactionId=transaction), "Q03.FR.01")
    for watts in (-3000.0, -4000.0):
        await profiles.outside(t, "setpoint", watts)
        await t.expect("NotifyChargingLimit", "Q06.FR.11")
        await profiles.follows(t, "Q06.FR.21", setpoint=watts)
    await _foreign(t, "Dynamic", "Q06.FR.04")
    await t.set("SmartChargingCtrlr", "SetpointPriority", "CSMS")
    await profiles.outside(t, "setpoint", -1500)
    await profiles.follows(t, "Q06.FR.22", setpoint=2000)


@Q_OUTSIDE.case("TC_Q_116_CS", "A schedule of limits of an external system", also="K08.FR.04")
async def external_schedule(t: StationTest) -> None:
    """The station reports the schedule, has it as a profile with absolute times, and keeps to each limit."""
    await t.demand("SmartChargingCtrlr", "ExternalConstraintsProfileDisallowed", "false")
    await prefer(t, "SmartChargingCtrlr", "NotifyChargingLimitWithSchedules", "true")
    await profiles.charging(t)
    t.undo(lambda: t.do(Step("release")))
    await t.do(Step("schedule", value="7000/120/4000"))
    told = await t.expect("NotifyChargingLimit", "Q06.FR.10")
    t.equal(told["chargingLimit"]["chargingLimitSource"], "EMS", "Q06.FR.10", "says that the source is {}")
    for schedule in (told.get("chargingSchedule"), (await _foreign(t, "Absolute", "Q06.FR.01"))["chargingSchedule"]):
        periods = [one for each in schedule or () for one in each["chargingSchedulePeriod"]][:2]
        t.equal([each.get("limit") for each in periods], [7000, 4000], "Q06.FR.10", "reports the limits {}")
        modes = {each.get("operationMode") for each in periods}
        t.check(modes == {"ExternalLimits"}, "Q06.FR.01", f"reports the modes {', '.join(sorted(map(str, modes)))}")
    await profiles.follows(t, "Q06.FR.30", limit=7000)
    await profiles.follows(t, "Q06.FR.30", 150, limit=4000)


# -- local control (Q08, Q09)


def _local(**more: object) -> Payload:
    return {"operationMode": "LocalFrequency", "v2xBaseline": 0.0, "v2xFreqWattCurve": CURVE} | more


@Q.case("TC_Q_119_CS", "Profiles for the local response to frequency", requirements="Q08.FR.03 Q08.FR.04")
async def local_frequency(t: StationTest) -> None:
    """The station takes a curve with a baseline; it rejects one without either, or with limits or set-points."""
    _needs_mode(t, "LocalFrequency")
    transaction = await profiles.charging(t)
    for missing in ("v2xBaseline", "v2xFreqWattCurve"):
        period = {name: value for name, value in _local().items() if name != missing}
        await profiles.rejected(
            t, profiles.profile(t, period, transactionId=transaction), "Q08.FR.03", "NoFreqWattCurve"
        )
    for name, value in (("limit", 6000.0), ("setpoint", 1000.0), ("dischargeLimit", -1000.0)):
        period = _local(**{name: value})
        await profiles.rejected(
            t, profiles.profile(t, period, transactionId=transaction), "Q08.FR.04", "InvalidSchedule"
        )
    await profiles.accepted(t, profiles.profile(t, _local(), transactionId=transaction), "Q08.FR.02")
    await profiles.enters(t, "LocalFrequency")


@Q.case("TC_Q_120_CS", "A signal of the operator for frequency support", requirements="Q08.FR.10 Q08.FR.11")
async def signals(t: StationTest) -> None:
    """The station accepts signals while a profile has a curve for them, and rejects them otherwise."""
    _needs_mode(t, "LocalFrequency")
    transaction = await profiles.charging(t)
    answer = await t.ask("AFRRSignal", timestamp=t.now(), signal=50)
    t.check(answer["status"] == "Rejected", "Q08.FR.11", f"answers {answer['status']} without a curve for signals")
    period = _local(v2xSignalWattCurve=SIGNALS)
    await profiles.accepted(t, profiles.profile(t, period, transactionId=transaction), "Q08.FR.02")
    await t.must_answer("Accepted", "Q08.FR.10", "AFRRSignal", timestamp=t.now(), signal=50)


_THRESHOLDS: Final = {"UpperThreshold": "9000", "LowerThreshold": "-9000", "UpperOffset": "500", "LowerOffset": "-500"}
_BALANCING: Final = {"operationMode": "LocalLoadBalancing"}


@Q.case("TC_Q_122_CS", "Load balancing without thresholds")
async def thresholds(t: StationTest) -> None:
    """The station rejects the profile while its thresholds contradict each other, and takes it afterwards."""
    _needs_mode(t, "LocalLoadBalancing")
    transaction = await profiles.charging(t)
    for name, value in _THRESHOLDS.items():
        await t.demand("V2XChargingCtrlr", "LocalLoadBalancing", value, instance=name)
    await t.set("V2XChargingCtrlr", "LocalLoadBalancing", "9000", instance="LowerThreshold")
    await profiles.rejected(t, profiles.profile(t, _BALANCING, transactionId=transaction), "Q09.FR.02")
    await t.set("V2XChargingCtrlr", "LocalLoadBalancing", "-9000", instance="LowerThreshold")
    await profiles.accepted(t, profiles.profile(t, _BALANCING, transactionId=transaction), "Q09.FR.02")


@Q.case("TC_Q_123_CS", "Load balancing that is not supported")
async def balancing_unsupported(t: StationTest) -> None:
    """The station rejects the profile: UnsupportedParam."""
    t.needs(not has_mode(t, "LocalLoadBalancing"), "it supports LocalLoadBalancing")
    transaction = await profiles.charging(t)
    await profiles.rejected(
        t, profiles.profile(t, _BALANCING, transactionId=transaction), "Q09.FR.01", "UnsupportedParam"
    )


# -- idle (Q10)


async def _idle(t: StationTest) -> Payload:
    """Let a transaction be idle, with its EVSE asleep if it can; return the event that says so."""
    transaction = await profiles.charging(t)
    period = {"operationMode": "Idle", "evseSleep": True}
    await profiles.accepted(t, profiles.profile(t, period, transactionId=transaction), "Q10.FR.01")
    return await profiles.enters(t, "Idle")


@Q.case(
    "TC_Q_125_CS", "Idle, with an EVSE that sleeps", also="K01.FR.110",
    needs=(*V2X, "SmartChargingCtrlr.SupportsEvseSleep"),
)  # fmt: skip
async def sleeps(t: StationTest) -> None:
    """The station says in its events that the EVSE sleeps, and no longer once another profile applies."""
    await t.demand("SampledDataCtrlr", "TxUpdatedInterval", "10")
    event = await _idle(t)
    transaction = event["transactionInfo"]["transactionId"]
    t.forget()
    periodic = await t.expect("TransactionEvent", "Q10.FR.04", within=t.after(10), triggerReason="MeterValuePeriodic")
    t.check(periodic.get("evseSleep") is True, "Q10.FR.04", "does not say that the EVSE sleeps")
    other = profiles.profile(t, {"limit": 6000.0}, stackLevel=1, transactionId=transaction)
    await profiles.accepted(t, other, "Q10.FR.03")
    event = await profiles.enters(t, "ChargingOnly")
    t.check(not event.get("evseSleep", False), "Q10.FR.03", "says that the EVSE sleeps on")


@Q.case("TC_Q_126_CS", "Idle, with an EVSE that cannot sleep", also="K01.FR.110")
async def cannot_sleep(t: StationTest) -> None:
    """The station does not say in its events that the EVSE sleeps."""
    t.needs(not t.has("SmartChargingCtrlr.SupportsEvseSleep"), "its EVSEs can sleep")
    event = await _idle(t)
    t.check(not event.get("evseSleep", False), "Q10.FR.05", "says that the EVSE sleeps")


@Q.case("TC_Q_127_CS", "Idle, with limits or set-points")
async def idle_refused(t: StationTest) -> None:
    """The station rejects the profile: InvalidSchedule."""
    transaction = await profiles.charging(t)
    for name, value in (("limit", 6000.0), ("setpoint", 1000.0), ("dischargeLimit", -1000.0)):
        wanted = profiles.profile(t, {"operationMode": "Idle", name: value}, transactionId=transaction)
        await profiles.rejected(t, wanted, "Q10.FR.02", "InvalidSchedule")


# -- offline (Q11)


@Q.case(
    "TC_Q_128_CS", "A profile that ends with a long time offline", requirements="K01.FR.101 K01.FR.102 K01.FR.110",
    needs=(*V2X, "SmartChargingCtrlr.SupportsMaxOfflineDuration"),
)  # fmt: skip
async def offline(t: StationTest) -> None:
    """After maxOfflineDuration the station follows the profile below, and continues with it once it is online."""
    transaction = await profiles.charging(t)
    with precondition():
        await profiles.accepted(t, profiles.profile(t, {"limit": 4000.0}, transactionId=transaction), "K01.FR.07")
        period = {"operationMode": "CentralSetpoint", "setpoint": -3000.0}
        more: Fields = {"maxOfflineDuration": 20, "invalidAfterOfflineDuration": True}
        await profiles.accepted(
            t, profiles.profile(t, period, stackLevel=1, transactionId=transaction, **more), "Q03.FR.01"
        )
        await profiles.enters(t, "CentralSetpoint")
    async with t.away(60):
        pass
    event = await profiles.enters(t, "ChargingOnly", within=t.declared.away_seconds)
    t.check(event.get("offline") is True, "K01.FR.101", "does not say that it changed the mode while it was offline")
    await profiles.follows(t, "K01.FR.102", limit=4000, setpoint=None)
