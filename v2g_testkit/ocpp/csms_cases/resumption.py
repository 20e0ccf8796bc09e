"""Transactions that resets and interruptions do not end (OCPP 2.1): cases of blocks B and E for back ends."""

from typing import Final

from v2g_testkit.ocpp.case import Block, Inconclusive, given
from v2g_testkit.ocpp.csms_cases.block_k_21 import profile, sets
from v2g_testkit.ocpp.csms_cases.transaction import Transaction, charging
from v2g_testkit.ocpp.csms_tester import CsmsTest

RESUMPTION: Final[Block[CsmsTest]] = Block(versions=("2.1",), booted=True)


def _case_of_reset(number: int, title: str, *requirements: str, ongoing: bool) -> None:
    @RESUMPTION.case(
        f"TC_B_{number}_CSMS",
        title,
        required="The back end asks for it, and takes the boot after it"
        + (", and that the transaction continues." if ongoing else "."),
        requirements=requirements,
    )
    async def script(t: CsmsTest) -> None:
        transaction = await charging(t) if ongoing else None
        await t.asked("Reset", "B13.FR.03", type="ImmediateAndResume")
        if transaction is not None:
            await transaction.event("Updated", "ResetCommand", state="SuspendedEVSE")
        await _boots_again(t, "RemoteReset")
        if transaction is not None:
            await transaction.event("Updated", "TxResumed", state="Charging", context="Other")
            await transaction.unplugged()


_case_of_reset(103, "Reset that transactions survive", "B13.FR.03", "B13.FR.30", ongoing=True)
_case_of_reset(104, "Reset that transactions survive, without a transaction", "B13.FR.02", "B01.FR.02", ongoing=False)


async def _boots_again(t: CsmsTest, reason: str) -> None:
    """Connect and boot. Raises Inconclusive unless the back end accepts the station at once, as it need not (B02)."""
    await t.away()
    status = (await t.boot(reason))["status"]
    if status != "Accepted":
        raise Inconclusive(f"the back end answers BootNotification with {status}")


@RESUMPTION.case("TC_B_116_CSMS", "Reset that a transaction with a profile survives", needs=("charging profiles",))
async def profile_after_reset(t: CsmsTest) -> None:
    """The back end asks for it, and sends the profile, which the station does not keep, again."""
    transaction = await _with_profile(t)
    await t.asked("Reset", "B13.FR.03", type="ImmediateAndResume")
    await transaction.event("Updated", "ResetCommand", state="SuspendedEVSE")
    await t.away()
    await given(t.booted("RemoteReset"))
    await _sent_again(t, transaction, "B13.FR.31")


@RESUMPTION.case("TC_E_113_CSMS", "Transaction that an interruption does not end", also="E17.FR.14")
async def resumed(t: CsmsTest) -> None:
    """The back end accepts the station again, and takes the events after it."""
    transaction = await charging(t)
    await _boots_again(t, "PowerUp")
    await transaction.event("Updated", "TxResumed", state="Charging", context="Other")
    await transaction.unplugged()


@RESUMPTION.case(
    "TC_E_117_CSMS", "Profile of a transaction that an interruption does not end", needs=("charging profiles",)
)
async def profile_after_interruption(t: CsmsTest) -> None:
    """The back end sends the profile of the transaction again, which the station does not keep."""
    transaction = await _with_profile(t)
    await t.away()
    await given(t.booted("PowerUp"))
    await _sent_again(t, transaction, "E17.FR.15")


async def _with_profile(t: CsmsTest) -> Transaction:
    """Let a transaction charge by a TxProfile of the back end."""
    transaction = await charging(t)
    await given(sets(t, "K01.FR.03", 1, profile(t, {"limit": 6000.0}, transactionId=transaction.id)))
    t.forget("SetChargingProfile")
    return transaction


async def _sent_again(t: CsmsTest, transaction: Transaction, requirement: str) -> None:
    """Resume the transaction. Raises Failed unless the back end sends its profile by itself, beside any of its own."""
    await transaction.event("Updated", "TxResumed", state="Charging", context="Other")
    limits: list[float | None] = []
    while limits != [6000.0]:
        sent = await t.expect(
            "SetChargingProfile",
            requirement,
            chargingProfile__chargingProfilePurpose="TxProfile",
            chargingProfile__transactionId=transaction.id,
        )
        schedule = sent["chargingProfile"]["chargingSchedule"][0]
        limits = [each.get("limit") for each in schedule["chargingSchedulePeriod"]]
    await transaction.unplugged()
