"""Charging profiles at a station: set for a case, cleared after it, and what they do as the station reports it."""

import math
from typing import Final

from v2g_testkit.ocpp.case import Payload, given
from v2g_testkit.ocpp.connection import field_of
from v2g_testkit.ocpp.driver import Action, Step
from v2g_testkit.ocpp.station_tester import StationTest

TRANSFERS: Final[Payload] = {
    "idTokenInfo": {"status": "Accepted"},
    "allowedEnergyTransfer": [
        "AC_single_phase", "AC_two_phase", "AC_three_phase", "DC", "AC_BPT", "AC_BPT_DER", "DC_BPT",
    ],
}  # fmt: skip
"""Answer to Authorize that allows a vehicle both directions, at any station."""

_PURPOSES: Final = ("TxDefaultProfile", "ChargingStationMaxProfile", "TxProfile", "PriorityCharging")


def profile(
    t: StationTest,
    *periods: Payload,
    purpose: str = "TxProfile",
    kind: str = "Absolute",
    schedule: Payload | None = None,
    **more: object,
) -> Payload:
    """Return a profile in W of these periods of OCPP 2.1, which begin at 0 unless they say otherwise."""
    body: Payload = {
        "id": t.next_id(),
        "chargingRateUnit": "W",
        "chargingSchedulePeriod": [{"startPeriod": 0} | each for each in periods],
    }
    if kind in ("Absolute", "Recurring"):
        body["startSchedule"] = t.later(0)
    return {
        "id": t.next_id(),
        "stackLevel": 0,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": kind,
        "chargingSchedule": [body | (schedule or {})],
    } | more


async def sent(t: StationTest, wanted: Payload, evse: int = 1) -> Payload:
    """Send a profile; return the answer. It is cleared after the case. Raises NotApplicable without profiles in W."""
    units = (await t.value("SmartChargingCtrlr", "RateUnit")).split(",")
    t.needs("W" in [each.strip() for each in units], "its charging profiles are in A only")
    t.undo(lambda: t.ask("ClearChargingProfile", chargingProfileId=wanted["id"]))
    return await t.ask("SetChargingProfile", evseId=evse, chargingProfile=wanted)


async def accepted(t: StationTest, wanted: Payload, requirement: str, evse: int = 1) -> Payload:
    """Send a profile, which the station must accept; return it. Raises Failed."""
    t.equal((await sent(t, wanted, evse))["status"], "Accepted", requirement, "answers {} to the profile")
    return wanted


async def rejected(t: StationTest, wanted: Payload, requirement: str, code: str = "") -> None:
    """Send a profile, which the station must reject, with this reason if one is required. Raises Failed."""
    answer = await sent(t, wanted)
    t.check(answer["status"] == "Rejected", requirement, f"answers {answer['status']}")
    reason = answer.get("statusInfo", {}).get("reasonCode", "")
    t.check(not code or reason == code, requirement, f"gives the reason {reason or 'none'} instead of {code}")


async def cleared(t: StationTest) -> None:
    """Remove all profiles of the back end; for preconditions."""
    for purpose in _PURPOSES[: 3 if t.version == "2.0.1" else None]:
        await t.ask("ClearChargingProfile", chargingProfileCriteria={"chargingProfilePurpose": purpose})


async def now(t: StationTest, seconds: int = 0, evse: int = 1) -> Payload:
    """Return the period of the composite schedule in force after some time, in W. Raises Failed."""
    answer = await t.ask("GetCompositeSchedule", evseId=evse, duration=seconds + 60, chargingRateUnit="W")
    t.check(answer["status"] == "Accepted", "K08.FR.02", f"answers {answer['status']}")
    begun = [each for each in answer["schedule"]["chargingSchedulePeriod"] if each["startPeriod"] <= seconds]
    period: Payload = begun[-1]
    return period


async def follows(t: StationTest, requirement: str, seconds: int = 0, evse: int = 1, **expected: float | None) -> None:
    """Expect values of the composite schedule after some time, in W: `limit`, `dischargeLimit`, `setpoint`; None for
    one that must not be there. Raises Failed."""
    found = await now(t, seconds, evse)
    for name, value in expected.items():
        has = found.get(name)
        same = has is None if value is None else has is not None and abs(has - value) < 1
        if name == "limit" and value and has is not None and not same:  # K08.FR.04: what it has may be less
            most = _most(t, evse)
            same = most < value and abs(has - most) <= 0.01 * most
        t.check(same, requirement, f"{name} is {has} instead of {value}")


def _most(t: StationTest, evse: int) -> float:
    """Return the highest power of an EVSE, W, as the station reports it."""
    for each in t.reported:
        of_evse = field_of(each, "component__name") == "EVSE" and field_of(each, "component__evse__id") == evse
        if of_evse and each["variable"]["name"] == "Power":
            return float(field_of(each, "variableCharacteristics__maxLimit") or math.inf)
    return math.inf


async def stored(t: StationTest, requirement: str, **criteria: object) -> list[tuple[str, Payload]]:
    """Return the profiles that match, with their source. Raises Failed if it reports none."""
    number = t.next_id()
    answer = await t.ask("GetChargingProfiles", requestId=number, chargingProfile=criteria)
    t.check(answer["status"] == "Accepted", requirement, f"answers {answer['status']} for {criteria}")
    found: list[tuple[str, Payload]] = []
    while True:
        part = await t.expect("ReportChargingProfiles", requirement, requestId=number)
        found += [(part["chargingLimitSource"], each) for each in part["chargingProfile"]]
        if not part.get("tbc", False):
            return found


async def enters(t: StationTest, mode: str, requirement: str = "K01.FR.110", within: float | None = None) -> Payload:
    """Expect the event that the transaction continues in another operation mode. Raises Failed."""
    return await t.expect(
        "TransactionEvent",
        requirement,
        within=within,
        triggerReason="OperationModeChanged",
        transactionInfo__operationMode=mode,
    )


async def charging(t: StationTest) -> str:
    """Let a transaction run without profiles; return it. For preconditions."""
    await given(cleared(t))
    return await t.charging()


async def outside(t: StationTest, action: Action, value: float | None = None) -> None:
    """Let the external system say something, or end what it has said."""
    t.undo(lambda: t.do(Step("release")))
    await t.do(Step(action, value="" if value is None else f"{value:g}"))
