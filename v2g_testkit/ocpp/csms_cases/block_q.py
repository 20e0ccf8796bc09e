"""Functional block Q, bidirectional power transfer: cases for back ends, all of OCPP 2.1."""

from typing import Final

from v2g_testkit.ocpp.case import Block, NotApplicable, Payload
from v2g_testkit.ocpp.csms_cases.block_k import NEEDS, OF_21, connected, profile, pulls, pushes, scheduled, sets, tells
from v2g_testkit.ocpp.csms_cases.transaction import charging
from v2g_testkit.ocpp.csms_tester import CsmsTest

Q: Final[Block[CsmsTest]] = Block(**OF_21, needs=("V2X",), booted=True)
_CURVE: Final = [{"frequency": 49.8, "power": -5000.0}, {"frequency": 50.2, "power": 5000.0}]


def _bare(t: CsmsTest, found: Payload, requirement: str) -> None:
    """Raise Failed if periods with set-points have limits."""
    for each in found["chargingSchedule"][0]["chargingSchedulePeriod"]:
        more = sorted({"limit", "dischargeLimit"} & each.keys())
        t.check(not more, requirement, f"sets {', '.join(more)} beside the set-point")


async def _transfers(t: CsmsTest) -> list[str] | None:
    """Present the token; return the energy transfers that it allows, None if the back end does not say."""
    answer = await t.call("Authorize", idToken=t.declared.token.payload)
    found: list[str] | None = answer.get("allowedEnergyTransfer")
    return found


@Q.case("TC_Q_102_CSMS", "Energy transfer that is allowed", also="K19.FR.07", needs=("V2X", *NEEDS))
async def allowed_transfer(t: CsmsTest) -> None:
    """The back end accepts the needs of a vehicle whose energy transfer it allows, and sends a TxProfile."""
    transaction = await connected(t)
    transfers = await _transfers(t)
    transfer = "DC_BPT" if transfers is None else next((each for each in transfers if each.endswith("_BPT")), "")
    if not transfer:
        raise NotApplicable("the back end allows no bidirectional transfer for the declared token")
    await scheduled(t, transaction, "Q01.FR.07", mode="DynamicControl", transfer=transfer)


@Q.case("TC_Q_103_CSMS", "Energy transfer that is not allowed")
async def other_transfer(t: CsmsTest) -> None:
    """The back end rejects the needs of a vehicle whose energy transfer it does not allow."""
    await connected(t)
    transfers = await _transfers(t)
    if transfers is None:
        raise NotApplicable("the back end does not say which energy transfers it allows")
    other = next((each for each in ("AC_BPT", "DC_BPT") if each not in transfers), "")
    if not other:
        raise NotApplicable("the back end allows all bidirectional transfers for the declared token")
    status = await tells(t, mode="DynamicControl", transfer=other)
    t.check(status == "Rejected", "Q01.FR.04", f"answers {status} to the needs of a vehicle with {other}")


@Q.case("TC_Q_107_CSMS", "Energy transfers that are allowed later")
async def allowed(t: CsmsTest) -> None:
    """The back end sends the transfers that the transaction may use."""
    transaction = await charging(t)
    both = ["DC", "DC_BPT"]
    await t.asked("NotifyAllowedEnergyTransfer", "Q02.FR.05", transactionId=transaction.id, allowedEnergyTransfer=both)


@Q.case("TC_Q_108_CSMS", "Schedule of set-points")
async def schedule(t: CsmsTest) -> None:
    """The back end sends periods of CentralSetpoint, without limits."""
    transaction = await charging(t)
    periods = (
        {"operationMode": "CentralSetpoint", "setpoint": -3000.0},
        {"startPeriod": 600, "operationMode": "CentralSetpoint", "setpoint": 4000.0},
    )
    found = await sets(t, "Q03.FR.01", 1, profile(t, *periods, transactionId=transaction.id))
    _bare(t, found, "Q03.FR.02")


def _case_of_push(number: int, title: str, mode: str, *requirements: str) -> None:
    @Q.case(f"TC_Q_{number}_CSMS", title)
    async def script(t: CsmsTest) -> None:
        """The back end sends a dynamic profile of this mode, without limits, and each set-point as an update."""
        transaction = await charging(t)
        period = {"operationMode": mode, "setpoint": 3000.0}
        wanted = profile(t, period, kind="Dynamic", transactionId=transaction.id)
        found = await sets(t, requirements[0], 1, wanted)
        _bare(t, found, requirements[1])
        for watts in (-2000.0, 4000.0):
            await pushes(t, found["id"], "K28.FR.06", setpoint=watts)


_case_of_push(109, "Set-points that the back end pushes", "CentralSetpoint", "Q03.FR.01", "Q03.FR.02")
_case_of_push(
    117, "Set-points for frequency support that the back end pushes", "CentralFrequency", "Q07.FR.02", "Q07.FR.03"
)


@Q.case("TC_Q_110_CSMS", "Set-points that the station pulls", requirements="Q03.FR.01 K28.FR.07")
async def pulled(t: CsmsTest) -> None:
    """The back end answers with the set-point to use."""
    transaction = await charging(t)
    period = {"operationMode": "CentralSetpoint", "setpoint": 3000.0}
    wanted = profile(t, period, kind="Dynamic", transactionId=transaction.id, dynUpdateInterval=60)
    number = (await sets(t, "Q03.FR.01", 1, wanted))["id"]
    await pushes(t, number, "K28.FR.06", setpoint=-2500.0)
    await pulls(t, number, setpoint=-2500.0)


@Q.case("TC_Q_120_CSMS", "A signal for frequency support")
async def signal(t: CsmsTest) -> None:
    """The back end sends the signal with the time of now."""
    await charging(t)
    sent = await t.asked("AFRRSignal", "Q08.FR.12", free=("timestamp",), timestamp=t.now(), signal=1)
    t.is_now(sent["timestamp"], "Q08.FR.12")


@Q.case("TC_Q_121_CSMS", "The station's own response to the frequency")
async def local(t: CsmsTest) -> None:
    """The back end sends a period of LocalFrequency with a curve and a baseline, and nothing else."""
    transaction = await charging(t)
    period = {"operationMode": "LocalFrequency", "v2xBaseline": 0.0, "v2xFreqWattCurve": _CURVE}
    found = await sets(t, "Q08.FR.02", 1, profile(t, period, transactionId=transaction.id))
    (schedule,) = found["chargingSchedule"]
    (sent,) = schedule["chargingSchedulePeriod"]
    more = sorted({"limit", "dischargeLimit", "setpoint", "setpointReactive"} & sent.keys())
    t.check(not more, "Q08.FR.01", f"sets {', '.join(more)} beside the curve")
    t.check(schedule["chargingRateUnit"] == "W", "Q08.FR.05", f"sends the curve in {schedule['chargingRateUnit']}")


@Q.case("TC_Q_124_CSMS", "Load balancing by the station", also="Q09.FR.01")
async def load_balancing(t: CsmsTest) -> None:
    """The back end sends a period of LocalLoadBalancing with the limits of charging and discharging."""
    transaction = await charging(t)
    period = {"operationMode": "LocalLoadBalancing", "limit": 11_000.0, "dischargeLimit": -8_000.0}
    await sets(t, "Q09.FR.05", 1, profile(t, period, transactionId=transaction.id))
