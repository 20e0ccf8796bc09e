"""Functional block E, limits of transactions (OCPP 2.1): cases for back ends."""

from typing import Final

from v2g_testkit.ocpp.case import Block, Payload
from v2g_testkit.ocpp.csms_cases.transaction import Transaction, charging
from v2g_testkit.ocpp.csms_tester import CsmsTest
from v2g_testkit.ocpp.operator import TRANSACTION_LIMIT

E_21: Final[Block[CsmsTest]] = Block(versions=("2.1",))


def _case_of_limit(number: int, what: str, trigger: str, **limit: float) -> None:
    @E_21.case(f"TC_E_{number}_CSMS", f"The driver limits the {what}")
    async def script(t: CsmsTest) -> None:
        """The back end takes the limit, and sets none of its own that is not lower."""
        transaction = await charging(t)
        await _says(t, transaction, "E16.FR.08", **limit)
        await transaction.event("Updated", trigger, state="SuspendedEVSE", context="Sample.Periodic")
        await transaction.unplugged()


_case_of_limit(106, "energy", "EnergyLimitReached", maxEnergy=20_000.0)
_case_of_limit(107, "time", "TimeLimitReached", maxTime=600)
_case_of_limit(108, "cost", "CostLimitReached", maxCost=5.0)


async def _limits(t: CsmsTest, transaction: Transaction, **limit: float) -> None:
    """Have the operator limit the transaction; the station confirms it. Raises Failed unless it is told once."""
    await t.operate(TRANSACTION_LIMIT, transactionId=transaction.id, transactionLimit=limit)
    answer = await transaction.event("Updated", "MeterValuePeriodic", state="Charging", context="Sample.Periodic")
    told: Payload = answer.get("transactionLimit", {})
    same = told.items() >= limit.items()
    t.check(same, "E16.FR.02", f"answers the next event with the limit {told} instead of {limit}")
    await _says(t, transaction, "E16.FR.02", **limit)


async def _says(t: CsmsTest, transaction: Transaction, requirement: str, **limit: float) -> None:
    """Report the station's limit. Raises Failed if the back end sets it, too, unless it lowers it."""
    answer = await transaction.event("Updated", "LimitSet", state="Charging", info={"transactionLimit": limit})
    for name, value in answer.get("transactionLimit", {}).items():
        lower = name not in limit or value < limit[name]
        t.check(lower, requirement, f"sets the limit {name} of {value}")


@E_21.case(
    "TC_E_102_CSMS",
    "Driver and back end limit the energy",
    also=("E16.FR.02", "E16.FR.07"),
    needs=("limits of transactions",),
)
async def both_limit(t: CsmsTest) -> None:
    """The back end sets a lower limit than the driver's, once, and leaves a lower one of the driver."""
    transaction = await charging(t)
    await _says(t, transaction, "E16.FR.08", maxEnergy=20_000.0)
    await _limits(t, transaction, maxEnergy=10_000.0)
    await _says(t, transaction, "E16.FR.08", maxEnergy=5_000.0)
    await transaction.event("Updated", "EnergyLimitReached", state="SuspendedEVSE", context="Sample.Periodic")
    await transaction.unplugged()


@E_21.case(
    "TC_E_109_CSMS", "The back end limits the cost", also=("E16.FR.02",), needs=("limits of transactions", "costs")
)
async def cost_limit(t: CsmsTest) -> None:
    """The back end sets the limit once, and tells the cost so far in an answer or by CostUpdated."""
    transaction = await charging(t)
    await _limits(t, transaction, maxCost=5.0)
    transaction.wh += 2000
    answer = await transaction.event("Updated", "MeterValuePeriodic", state="Charging", context="Sample.Periodic")
    told = [answer, *(each for each in t.received("CostUpdated") if each["transactionId"] == transaction.id)]
    if not any("totalCost" in each for each in told):
        await t.asked("CostUpdated", "E16.FR.11", free=("totalCost",), totalCost=1.0, transactionId=transaction.id)
    await transaction.event("Updated", "CostLimitReached", state="SuspendedEVSE", context="Sample.Periodic")
    await transaction.unplugged()


def _case_of_limit_set(number: int, what: str, trigger: str, **limit: float) -> None:
    @E_21.case(
        f"TC_E_{number}_CSMS", f"The back end limits the {what}", also=("E16.FR.02",), needs=("limits of transactions",)
    )
    async def script(t: CsmsTest) -> None:
        """The back end sets the limit in its next answer, once."""
        transaction = await charging(t)
        await _limits(t, transaction, **limit)
        await transaction.event("Updated", trigger, state="SuspendedEVSE", context="Sample.Periodic")
        await transaction.unplugged()


_case_of_limit_set(110, "energy", "EnergyLimitReached", maxEnergy=5_000.0)
_case_of_limit_set(111, "time", "TimeLimitReached", maxTime=600)
