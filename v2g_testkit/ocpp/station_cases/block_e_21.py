"""Functional block E, transactions, of OCPP 2.1: limits (E16) and resumption (E17); cases for charging stations."""

from collections.abc import Callable
from typing import Final

from v2g_testkit.ocpp.case import Block, Failed, Payload
from v2g_testkit.ocpp.connection import Received, field_of
from v2g_testkit.ocpp.driver import Action, Step
from v2g_testkit.ocpp.station_cases.steps import connector_is, priced, stopped
from v2g_testkit.ocpp.station_tester import StationTest

E_21: Final[Block[StationTest]] = Block(versions=("2.1",))
_TOKEN: Final[Payload] = {"idTokenInfo": {"status": "Accepted"}}
_MINUTES: Final = 600
"""How long a vehicle may take to reach a limit, s."""


# -- limits (E16)


async def supports(t: StationTest, *limits: str) -> None:
    """Raise NotApplicable unless the station supports these limits of a transaction."""
    found = [each.strip() for each in (await t.value("TxCtrlr", "SupportedLimits")).split(",")]
    if "maxLength" in found:  # so the list of part 2 has it
        found.append("maxTime")
    for each in limits:
        t.needs(each in found, f"it does not support the limit {each}")


async def limited(t: StationTest, **limit: float) -> str:
    """Let the back end limit a transaction at its start; return it. Raises Failed."""
    await supports(t, *limit)
    t.answer("TransactionEvent", lambda event: _TOKEN | (
        {"transactionLimit": limit} if event["eventType"] == "Started" else {}
    ))  # fmt: skip
    await t.present()
    await t.plug()
    await says_limit(t, "E16.FR.03", **limit)
    return await t.flowing()


async def says_limit(t: StationTest, requirement: str, **limit: float) -> None:
    """Expect an event that says which limit was set: LimitSet, or of a trigger at the same time (E16.FR.01, E02.FR.17),
    which is left for what follows. Raises Failed."""
    if await t.find(_says(lambda found: limit.items() <= found.items()), keep=True) is None:
        told = "; ".join(str(found) for each in t.seen("TransactionEvent") if (found := _limit_in(each)))
        raise Failed(f"does not say that the limit is {limit}" + (f", but {told}" if told else ""), requirement)


def _says(fits: Callable[[Payload], bool]) -> Callable[[Received], bool]:
    """Return whether a request is an event with limits that fit."""
    return lambda each: each.action == "TransactionEvent" and fits(_limit_in(each.payload))


def _limit_in(event: Payload) -> Payload:
    """Return the limits that an event says have been set."""
    found = field_of(event, "transactionInfo__transactionLimit")
    return found if isinstance(found, dict) else {}


async def reached(t: StationTest, trigger: str) -> None:
    """Expect the transaction to be suspended, or to end, for a limit. Raises Failed."""
    ends = "EnergyTransfer" in (await t.value("TxCtrlr", "TxStopPoint")).split(",")
    requirement = "E16.FR.06" if ends else "E16.FR.05"
    event = await t.expect("TransactionEvent", requirement, within=_MINUTES, triggerReason=trigger)
    state = event["transactionInfo"].get("chargingState")
    fine = event["eventType"] == "Ended" if ends else state == "SuspendedEVSE"
    t.check(fine, requirement, f"sends {event['eventType']} in the state {state}")


async def _asks(t: StationTest, action: Action, value: float, **limit: float) -> None:
    """Let the driver limit the transaction. Raises Failed, NotApplicable."""
    await t.do(Step(action, value=f"{value:g}"))
    await says_limit(t, "E16.FR.01", **limit)


def _case_of_limit(
    number: int, title: str, limit: dict[str, float], trigger: str, required: str, *requirements: str
) -> None:
    @E_21.case(f"TC_E_{number}_CS", title, required=required, requirements=requirements)
    async def script(t: StationTest) -> None:
        await limited(t, **limit)
        await reached(t, trigger)


_AT: Final = "The station says that the limit is set, and stops the energy when it is reached."
_case_of_limit(
    100, "The back end limits the energy", {"maxEnergy": 100.0}, "EnergyLimitReached", _AT, "E16.FR.03", "E16.FR.05"
)
_case_of_limit(
    105, "The back end limits the time", {"maxTime": 180}, "TimeLimitReached", _AT, "E16.FR.03", "E16.FR.05",
    "E16.FR.09",
)  # fmt: skip


@E_21.case("TC_E_101_CS", "The back end limits the cost, and says what it costs", also="E16.FR.03 E16.FR.15")
async def cost_limit(t: StationTest) -> None:
    """The station stops the energy when CostUpdated reaches the limit, not before."""
    transaction = await limited(t, maxCost=5.0)
    await t.ask("CostUpdated", totalCost=4.5, transactionId=transaction)
    await t.nothing("TransactionEvent", "E16.FR.05", within=3, triggerReason="CostLimitReached")
    await t.ask("CostUpdated", totalCost=5.0, transactionId=transaction)
    await reached(t, "CostLimitReached")


@E_21.case(
    "TC_E_104_CS",
    "The back end limits the cost, and says in answers what it costs",
    also="E16.FR.03 E16.FR.05 E16.FR.15",
)
async def cost_in_answers(t: StationTest) -> None:
    """The station stops the energy when the cost in an answer reaches the limit."""
    await t.demand("SampledDataCtrlr", "TxUpdatedInterval", "10")
    await limited(t, maxCost=5.0)
    t.answer("TransactionEvent", _TOKEN | {"totalCost": 6.0})
    await reached(t, "CostLimitReached")


@E_21.case(
    "TC_E_103_CS", "The back end limits the cost, and the station calculates it", also="E16.FR.03 E16.FR.05",
    needs=("TariffCostCtrlr.Available",),
)  # fmt: skip
async def cost_by_tariff(t: StationTest) -> None:
    """The station stops the energy by the cost of its tariff, whatever CostUpdated says."""
    await priced(t, "v2g-limit", 20.0)
    transaction = await limited(t, maxCost=10.0)
    await t.ask("CostUpdated", totalCost=50.0, transactionId=transaction)
    await t.nothing("TransactionEvent", "E16.FR.16", within=3, triggerReason="CostLimitReached")
    await reached(t, "CostLimitReached")


@E_21.case("TC_E_102_CS", "The back end and the driver limit the energy", also="E16.FR.01 E16.FR.05")
async def limits_of_both(t: StationTest) -> None:
    """The station does not take a higher limit of the driver; it takes a lower one, and keeps it."""
    await limited(t, maxEnergy=5000.0)
    await t.do(Step("most-energy", value="9000"))
    higher = await t.find(_says(lambda found: found.get("maxEnergy", 0) > 5000), 3)
    t.check(higher is None, "E16.FR.04", "says that the limit is higher than that of the back end")
    await _asks(t, "most-energy", 500, maxEnergy=500.0)
    await reached(t, "EnergyLimitReached")


def _case_of_driver(number: int, title: str, action: Action, value: float, limit: str, trigger: str) -> None:
    @E_21.case(
        f"TC_E_{number}_CS", title, also="E16.FR.01 E16.FR.05",
        needs=("TariffCostCtrlr.Available",) if limit == "maxCost" else (),
    )  # fmt: skip
    async def script(t: StationTest) -> None:
        """The station says which limit the driver has set, and stops the energy when it is reached."""
        await supports(t, limit)
        if limit == "maxCost":
            await priced(t, "v2g-driver-limit", 20.0)
        await t.charging()
        await _asks(t, action, value, **{limit: value})
        await reached(t, trigger)


_case_of_driver(106, "The driver limits the energy", "most-energy", 500.0, "maxEnergy", "EnergyLimitReached")
_case_of_driver(107, "The driver limits the time", "most-time", 180, "maxTime", "TimeLimitReached")
_case_of_driver(
    108, "The driver limits the cost, which the station calculates", "most-cost", 10.0, "maxCost", "CostLimitReached"
)


# -- resumption (E17, B13)


async def may_resume(t: StationTest, seconds: int, *, energy: bool = True) -> None:
    """Set how long after an interruption transactions continue, and whether energy does. Raises NotApplicable."""
    await t.demand("TxCtrlr", "ResumptionTimeout", str(seconds))
    await t.demand("TxCtrlr", "AllowEnergyTransferResumption", str(energy).lower())


async def resumes(t: StationTest, transaction: str, requirement: str, *, energy: bool) -> None:
    """Expect a transaction to continue. Raises Failed."""
    event = await t.expect(
        "TransactionEvent", requirement, within=t.declared.away_seconds, eventType="Updated", triggerReason="TxResumed"
    )
    info = event["transactionInfo"]
    t.check(info["transactionId"] == transaction, requirement, f"resumes the transaction {info['transactionId']}")
    states = ("Charging",) if energy else ("SuspendedEVSE", "EVConnected")
    t.check(info.get("chargingState") in states, requirement, f"resumes it in the state {info.get('chargingState')}")


async def _cut(t: StationTest) -> None:
    """Switch the station off and on."""
    t.forget()
    async with t.reconnects():
        await t.do(Step("reboot"))


def _case_of_resumption(number: int, *, energy: bool) -> None:
    @E_21.case(
        f"TC_E_{number}_CS",
        f"Power loss within ResumptionTimeout, {'with' if energy else 'without'} energy afterwards",
        required="The station resumes the transaction, says so, and " + ("charges." if energy else "does not charge."),
        requirements=("E17.FR.10", "E17.FR.11" if energy else "E17.FR.12", "E17.FR.14"),
    )
    async def script(t: StationTest) -> None:
        await may_resume(t, 300, energy=energy)
        transaction = await t.charging()
        await _cut(t)
        await resumes(t, transaction, "E17.FR.11" if energy else "E17.FR.12", energy=energy)
        await t.nothing("TransactionEvent", "E17.FR.10", within=5, eventType="Ended")


_case_of_resumption(112, energy=False)
_case_of_resumption(113, energy=True)


async def _ends_by_power_loss(t: StationTest) -> None:
    transaction = await t.charging()
    await _cut(t)
    event = await t.expect(
        "TransactionEvent", "E17.FR.20", within=t.declared.away_seconds, eventType="Ended",
        transactionInfo__transactionId=transaction,
    )  # fmt: skip
    found = event["triggerReason"], stopped(event)
    t.check(found == ("AbnormalCondition", "PowerLoss"), "E17.FR.21", f"ends it with {found[0]}, {found[1]}")
    await t.nothing("TransactionEvent", "E17.FR.20", within=3, triggerReason="TxResumed")


@E_21.case("TC_E_114_CS", "Power loss, without ResumptionTimeout", also="E17.FR.20 E17.FR.21")
async def no_timeout(t: StationTest) -> None:
    """The station ends the transaction: PowerLoss."""
    found = await t.get("TxCtrlr", "ResumptionTimeout")
    t.needs(found["attributeStatus"] != "Accepted", "it has ResumptionTimeout")
    await _ends_by_power_loss(t)


@E_21.case("TC_E_115_CS", "Power loss, with ResumptionTimeout 0", also="E17.FR.20 E17.FR.21")
async def timeout_of_zero(t: StationTest) -> None:
    """The station ends the transaction: PowerLoss."""
    await t.demand("TxCtrlr", "ResumptionTimeout", "0")
    await _ends_by_power_loss(t)


@E_21.case("TC_E_116_CS", "Power loss for longer than ResumptionTimeout", also="E17.FR.20 E17.FR.21")
async def timeout_expired(t: StationTest) -> None:
    """The station ends the transaction: PowerLoss."""
    await may_resume(t, 1)
    await _ends_by_power_loss(t)


# -- authorization (C01)


@E_21.case("TC_C_100_CS", "Authorized, and no vehicle is plugged in", requirements="C01.FR.26 E03.FR.05")
async def nobody_plugs_in(t: StationTest) -> None:
    """After EVConnectionTimeOut the station ends the authorization: it does not charge a vehicle that comes."""
    await t.demand("TxCtrlr", "EVConnectionTimeOut", "10")
    points = [(await t.value("TxCtrlr", name)).split(",") for name in ("TxStartPoint", "TxStopPoint")]
    await t.present()
    if all("Authorized" in each for each in points):
        event = await t.expect("TransactionEvent", "E03.FR.05", within=t.after(10), eventType="Ended")
        found = event["triggerReason"], stopped(event)
        t.check(found == ("EVConnectTimeout", "Timeout"), "E03.FR.05", f"ends it with {found[0]}, {found[1]}")
    else:
        await t.wait(t.after(10))
    await t.plug()
    await connector_is(t, "Occupied", "G01.FR.01")
    await t.nothing("TransactionEvent", "C01.FR.26", within=5, transactionInfo__chargingState="Charging")
