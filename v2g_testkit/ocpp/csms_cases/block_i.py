"""Functional block I, costs: cases for back ends, which have a price for the declared token at the station."""

from typing import Final

from v2g_testkit.ocpp.case import Block, precondition
from v2g_testkit.ocpp.csms_cases.transaction import Transaction
from v2g_testkit.ocpp.csms_tester import CsmsTest

I: Final[Block[CsmsTest]] = Block(profiles=(), needs=("costs",))  # noqa: E741 - the block's letter


@I.case("TC_I_01_CSMS", "Running cost")
async def running_cost(t: CsmsTest) -> None:
    """The back end tells the cost so far in its answer to an event, or by CostUpdated."""
    transaction = Transaction(t)
    with precondition():
        await t.booted()
        await transaction.started()
    for _ in range(2):
        transaction.wh += 1000
        answer = await transaction.event("Updated", "MeterValuePeriodic", context="Sample.Periodic")
        if "totalCost" not in answer:
            await t.asked("CostUpdated", "I02.FR.01", free=("totalCost",), totalCost=1.0, transactionId=transaction.id)


@I.case("TC_I_02_CSMS", "Final cost")
async def final_cost(t: CsmsTest) -> None:
    """The back end tells the cost of the transaction in its answer to the last event."""
    transaction = Transaction(t)
    with precondition():
        await t.booted()
        await transaction.started()
        await transaction.stop_authorized()
        await transaction.post_session()
    await t.connector("Available")
    answer = await transaction.event(
        "Ended", "EVCommunicationLost", state="Idle", stopped="EVDisconnected", context="Transaction.End"
    )
    t.check("totalCost" in answer, "I03.FR.02", "answers the last event without totalCost")
