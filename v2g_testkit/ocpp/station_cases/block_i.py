"""Functional block I, tariff and cost: cases for charging stations; those with tariffs are of OCPP 2.1."""

from typing import Any, Final

from v2g_testkit.ocpp.case import Block, Payload, given, precondition
from v2g_testkit.ocpp.station_cases.steps import ended, forget_tokens
from v2g_testkit.ocpp.station_tester import StationTest

I: Final[Block[StationTest]] = Block(profiles=("Advanced User Interface",), needs=("TariffCostCtrlr.Available",))  # noqa: E741 - the block's name

COSTS: Final = ("TariffCostCtrlr.Available",)
I_TARIFFS: Final = I.having(versions=("2.1",), needs=COSTS)
CONDITIONED: Final[tuple[Payload, ...]] = (
    {"priceKwh": 0.2, "conditions": {"startTimeOfDay": "00:00", "endTimeOfDay": "06:00"}},
    {"priceKwh": 0.4},
)
ACCEPTED: Final[Payload] = {"idTokenInfo": {"status": "Accepted"}}


@I.case("TC_I_01_CS", "Running cost, by a request")
async def cost_updated(t: StationTest) -> None:
    """The station answers CostUpdated, and continues to charge."""
    transaction = await t.charging()
    for cost in (1.25, 2.5):
        await t.ask("CostUpdated", totalCost=cost, transactionId=transaction)
    status = await t.ask("GetTransactionStatus", transactionId=transaction)
    t.check(status.get("ongoingIndicator") is True, "I02.FR.02", "ends the transaction")


@I.case("TC_I_02_CS", "Total cost")
async def total_cost(t: StationTest) -> None:
    """The station ends the transaction, and takes the cost in the answer: it does not send the event again."""
    transaction = await t.charging()
    t.answer("TransactionEvent", lambda event: {"totalCost": 8.04} if event["eventType"] == "Ended" else ACCEPTED)
    await t.present()
    await t.unplug()
    await ended(t, "I03.FR.01", transactionInfo__transactionId=transaction)
    await t.nothing("TransactionEvent", "I03.FR.03", within=15, eventType="Ended")


@I.case("TC_I_07_CS", "Running cost, in answers to events")
async def cost_answered(t: StationTest) -> None:
    """The station takes the cost and the text in the answer, and continues to charge."""
    await t.demand("SampledDataCtrlr", "TxUpdatedInterval", "5")
    await t.charging()
    text = {"format": "UTF8", "content": "2.50 EUR so far"}
    t.answer("TransactionEvent", ACCEPTED | {"totalCost": 2.5, "updatedPersonalMessage": text})
    for _ in range(3):
        await t.expect(
            "TransactionEvent", "I02.FR.04", within=t.after(5), eventType="Updated", triggerReason="MeterValuePeriodic"
        )


# -- tariffs of the station (2.1)


def _tariff(name: str, *prices: Payload, currency: str = "EUR", **more: object) -> Payload:
    return {"tariffId": name, "currency": currency, "energy": {"prices": list(prices) or [{"priceKwh": 0.5}]}} | more


async def _default(t: StationTest, tariff: Payload) -> None:
    """Install a default tariff, which is cleared after the case. Raises Failed, NotApplicable."""
    await t.demand("TariffCostCtrlr", "Enabled", "true", instance="Tariff")
    await t.must_answer("Accepted", "I07.FR.10", "SetDefaultTariff", evseId=1, tariff=tariff)
    t.undo(lambda: _clear(t, tariff["tariffId"]))


async def _clear(t: StationTest, name: str) -> str:
    """Clear a tariff; return the status."""
    (result,) = (await t.ask("ClearTariffs", tariffIds=[name]))["clearTariffsResult"]
    return str(result["status"])


async def _assigned(t: StationTest, evse: int = 0) -> dict[str, Payload]:
    """Return the assignments of the station, by tariff."""
    answer = await t.ask("GetTariffs", evseId=evse)
    found = {each["tariffId"]: each for each in answer.get("tariffAssignments", [])}
    expected = "Accepted" if found else "NoTariff"
    t.check(answer["status"] == expected, "I09.FR.03", f"answers {answer['status']} with {len(found)} tariffs")
    return found


async def _applies(t: StationTest, name: str, requirement: str, **fields: Any) -> Payload:
    """Expect the event that says which tariff applies. Raises Failed."""
    return await t.expect("TransactionEvent", requirement, transactionInfo__tariffId=name, **fields)


async def _change(t: StationTest, transaction: str, tariff: Payload) -> str:
    answer = await t.ask("ChangeTransactionTariff", transactionId=transaction, tariff=tariff)
    return str(answer["status"])


@I_TARIFFS.case(
    "TC_I_100_CS", "A default tariff of later", requirements="I07.FR.10 I07.FR.14 I07.FR.19 I07.FR.32 I09.FR.07"
)
async def valid_from(t: StationTest) -> None:
    """The station lists it with its time, and applies the one of now."""
    later = t.later(3600)
    await _default(t, _tariff("v2g-now"))
    await _default(t, _tariff("v2g-later", validFrom=later))
    found = await _assigned(t)
    t.check({"v2g-now", "v2g-later"} <= set(found), "I09.FR.01", f"lists {', '.join(found)}")
    t.check("validFrom" in found["v2g-later"], "I09.FR.07", "does not list from when it holds")
    await t.present()
    await t.plug()
    await _applies(t, "v2g-now", "I07.FR.32")


@I_TARIFFS.case("TC_I_109_CS", "A driver's tariff", also="I08.FR.04")
async def of_driver(t: StationTest) -> None:
    """The station applies the tariff of the answer to Authorize, and removes it after the transaction."""
    await t.demand("TariffCostCtrlr", "Enabled", "true", instance="Tariff")
    t.undo(lambda: forget_tokens(t))  # I08.FR.05: tariffs are in the cache
    await forget_tokens(t)
    t.answer("Authorize", ACCEPTED | {"tariff": _tariff("v2g-driver")})
    await t.present(t.declared.other_token)
    await t.plug()
    await _applies(t, "v2g-driver", "I08.FR.22")
    await t.present(t.declared.other_token)
    await t.unplug()
    await ended(t, "I08.FR.06")
    t.check("v2g-driver" not in await _assigned(t), "I08.FR.06", "still lists the driver's tariff")


@I_TARIFFS.case("TC_I_110_CS", "Clear a default tariff")
async def clear(t: StationTest) -> None:
    """The station clears the tariff that is named, keeps the others, and answers NoTariff the next time."""
    await given(_default(t, _tariff("v2g-1")), _default(t, _tariff("v2g-2", validFrom=t.later(3600))))
    t.equal(await _clear(t, "v2g-1"), "Accepted", "I10.FR.02", "answers {}")
    found = await _assigned(t)
    t.check("v2g-1" not in found, "I10.FR.02", "still lists the tariff")
    t.check("v2g-2" in found, "I10.FR.02", "has cleared another tariff")
    t.equal(await _clear(t, "v2g-1"), "NoTariff", "I10.FR.06", "answers {} the second time")


@I_TARIFFS.case("TC_I_111_CS", "Clear a tariff in use")
async def clear_in_use(t: StationTest) -> None:
    """The station clears the tariff, and applies it to the transaction until that ends."""
    await given(_default(t, _tariff("v2g-used")), t.demand("TariffCostCtrlr", "Enabled", "true", instance="Cost"))
    transaction = await t.charging()
    t.equal(await _clear(t, "v2g-used"), "Accepted", "I10.FR.07", "answers {}")
    t.check("v2g-used" not in await _assigned(t), "I10.FR.07", "still lists the tariff")
    await t.wait(10)
    await t.present()
    await t.unplug()
    event = await ended(t, "I10.FR.07", transactionInfo__transactionId=transaction)
    t.check("costDetails" in event, "I12.FR.01", "ends without costs")
    used = {each.get("tariffId") for each in event["costDetails"].get("chargingPeriods", [])}
    t.check(used == {"v2g-used"}, "I12.FR.04", f"calculates by {', '.join(map(str, used)) or 'no tariff'}")


@I_TARIFFS.case("TC_I_113_CS", "Change the tariff of a transaction to one with too many prices")
async def too_many(t: StationTest) -> None:
    """The station answers TooManyElements."""
    most = int(await t.value("TariffCostCtrlr", "MaxElements", instance="Tariff") or 0)
    t.needs(0 < most < 500, "it takes any number of prices")
    transaction = await t.charging()
    prices = [{"priceKwh": number / 100} for number in range(most + 1)]
    status = await _change(t, transaction, _tariff("v2g-many", *prices))
    t.check(status == "TooManyElements", "I11.FR.02", f"answers {status} to {most + 1} prices")


@I_TARIFFS.case("TC_I_114_CS", "Change the tariff of a transaction to one with conditions, without support for them")
async def conditions_refused(t: StationTest) -> None:
    """The station answers ConditionNotSupported."""
    supported = await t.value("TariffCostCtrlr", "ConditionsSupported", instance="Tariff")
    t.needs(supported.lower() == "false", "it supports conditions")
    transaction = await t.charging()
    status = await _change(t, transaction, _tariff("v2g-conditions", *CONDITIONED))
    t.check(status == "ConditionNotSupported", "I11.FR.03", f"answers {status}")


@I_TARIFFS.case("TC_I_115_CS", "Change the tariff of a transaction to one with conditions")
async def conditions(t: StationTest) -> None:
    """The station accepts the tariff, and says that it applies."""
    supported = await t.value("TariffCostCtrlr", "ConditionsSupported", instance="Tariff")
    t.needs(supported.lower() == "true", "it does not support conditions")
    transaction = await t.charging()
    status = await _change(t, transaction, _tariff("v2g-conditions", *CONDITIONED))
    t.check(status == "Accepted", "I11.FR.06", f"answers {status}")
    await _applies(t, "v2g-conditions", "I11.FR.07", triggerReason="TariffChanged")


@I_TARIFFS.case("TC_I_116_CS", "Change the tariff of a transaction")
async def change(t: StationTest) -> None:
    """The station accepts the tariff, and says that it applies."""
    transaction = await t.charging()
    t.equal(await _change(t, transaction, _tariff("v2g-changed")), "Accepted", "I11.FR.06", "answers {}")
    await _applies(t, "v2g-changed", "I11.FR.07", triggerReason="TariffChanged")


@I_TARIFFS.case("TC_I_117_CS", "Change the tariff of a transaction that there is not, and its currency")
async def change_refused(t: StationTest) -> None:
    """The station answers TxNotFound, and NoCurrencyChange."""
    status = await _change(t, "no-such-transaction", _tariff("v2g-nowhere"))
    t.check(status == "TxNotFound", "I11.FR.04", f"answers {status} for an unknown transaction")
    await given(_default(t, _tariff("v2g-euro")))
    transaction = await t.charging()
    status = await _change(t, transaction, _tariff("v2g-dollar", currency="USD"))
    t.check(status == "NoCurrencyChange", "I11.FR.05", f"answers {status} to another currency")


@I_TARIFFS.case("TC_I_101_CS", "Default tariff by the time of day", also="I07.FR.17 I12.FR.33 I12.FR.09")
async def time_of_day(t: StationTest) -> None:
    """The station calculates by the price of the time of day."""
    supported = await t.value("TariffCostCtrlr", "ConditionsSupported", instance="Tariff")
    t.needs(supported.lower() == "true", "it does not support conditions")
    never = {"startTimeOfDay": "00:00", "endTimeOfDay": "00:01"}
    always = {"startTimeOfDay": "00:01", "endTimeOfDay": "00:00"}
    with precondition():
        prices = ({"priceKwh": 90.0, "conditions": never}, {"priceKwh": 10.0, "conditions": always})
        await _default(t, _tariff("v2g-day", *prices))
    details = await _costs(t, seconds=20)
    energy = details["totalUsage"]["energy"] / 1000
    cost = details["totalCost"].get("energy", {}).get("exclTax", 0.0)
    t.check(abs(cost - 10 * energy) <= 0.02, "I12.FR.34", f"calculates {cost} for {energy} kWh of 10.00")


async def _costs(t: StationTest, *, seconds: float, idle: float = 0) -> Payload:
    """Charge for some time, then be idle, and return the details of the cost. Raises Failed."""
    await t.demand("TariffCostCtrlr", "Enabled", "true", instance="Cost")
    transaction = await t.charging()
    await t.wait(seconds)
    if idle:
        await t.suspend()
        await t.wait(idle)
    await t.present()
    await t.unplug()
    event = await ended(t, "I12.FR.01", transactionInfo__transactionId=transaction)
    t.check("costDetails" in event, "I12.FR.01", "ends without costs")
    details: Payload = event["costDetails"]
    return details


@I_TARIFFS.case(
    "TC_I_118_CS",
    "Costs by a tariff without conditions",
    requirements="I12.FR.01 I12.FR.04 I12.FR.05 I12.FR.09 I12.FR.10 I12.FR.11 I12.FR.17",
)
async def details(t: StationTest) -> None:
    """The details have energy, times, fixed fee and taxes, each in its place, and their total."""
    tax = {"taxRates": [{"type": "vat", "tax": 20.0}]}
    tariff = _tariff("v2g-all", {"priceKwh": 2.0}) | {
        "chargingTime": {"prices": [{"priceMinute": 3.0}]},
        "idleTime": {"prices": [{"priceMinute": 6.0}]},
        "fixedFee": {"prices": [{"priceFixed": 2.5}]} | tax,
    }
    await given(_default(t, tariff))
    found = await _costs(t, seconds=30, idle=20)
    usage, cost = found["totalUsage"], found["totalCost"]
    for name, used, price, requirement, rounded in (
        ("energy", usage["energy"] / 1000, 2.0, "I12.FR.09", 0.0),
        ("chargingTime", usage["chargingTime"] / 60, 3.0, "I12.FR.10", 1 / 60),  # whole seconds
        ("idleTime", usage["idleTime"] / 60, 6.0, "I12.FR.11", 1 / 60),
    ):
        is_cost = cost.get(name, {}).get("exclTax", 0.0)
        t.check(used > 0, requirement, f"has no usage of {name}")
        fits = abs(is_cost - price * used) <= 0.02 + price * rounded
        t.check(fits, requirement, f"calculates {is_cost} for {used:g} of {price:g}")
    fee = cost.get("fixed", {})
    t.check(fee.get("exclTax") == 2.5, "I12.FR.05", f"has the fixed fee {fee.get('exclTax')}")
    t.check(abs(fee.get("inclTax", 0.0) - 3.0) <= 0.005, "I12.FR.13", f"has it with taxes as {fee.get('inclTax')}")
    parts = sum(cost[each]["exclTax"] for each in ("energy", "chargingTime", "idleTime", "fixed"))
    total = cost["total"]["exclTax"]
    t.check(abs(total - parts) <= 0.02, "I12.FR.17", f"has the total {total} instead of {parts:.2f}")
    used_by = {each.get("tariffId") for each in found.get("chargingPeriods", [])}
    t.check(used_by == {"v2g-all"}, "I12.FR.04", f"names the tariffs {used_by}")


@I_TARIFFS.case("TC_I_119_CS", "Costs by a tariff with conditions", also="I12.FR.33 I12.FR.36")
async def details_by_conditions(t: StationTest) -> None:
    """The first price whose condition holds applies; at each change another period begins."""
    supported = await t.value("TariffCostCtrlr", "ConditionsSupported", instance="Tariff")
    t.needs(supported.lower() == "true", "it does not support conditions")
    tariff = _tariff("v2g-minutes") | {
        "chargingTime": {"prices": [{"priceMinute": 6.0, "conditions": {"maxTime": 20}}, {"priceMinute": 60.0}]}
    }
    await given(_default(t, tariff))
    found = await _costs(t, seconds=40)
    seconds = found["totalUsage"]["chargingTime"]
    cost = found["totalCost"].get("chargingTime", {}).get("exclTax", 0.0)
    wanted = 20 / 60 * 6 + (seconds - 20) / 60 * 60
    t.check(abs(cost - wanted) <= 3, "I12.FR.34", f"calculates {cost} instead of {wanted:.2f} for {seconds} s")
    periods = len(found.get("chargingPeriods", []))
    t.check(periods >= 2, "I12.FR.35", f"has {periods} periods")


@I_TARIFFS.case("TC_I_112_CS", "Change the tariff of a transaction, without tariffs")
async def change_unsupported(t: StationTest) -> None:
    """The station answers that it does not support the request."""
    await t.demand("TariffCostCtrlr", "Enabled", "false", instance="Tariff")
    transaction = await t.charging()
    error = await t.refused("ChangeTransactionTariff", transactionId=transaction, tariff=_tariff("v2g-none"))
    t.check(error.code in ("NotSupported", "NotImplemented"), "I11.FR.01", f"answers {error.code}")


async def _unreadable(t: StationTest) -> None:
    """Let a driver's tariff have more prices than the station takes. Raises NotApplicable."""
    most = int(await t.value("TariffCostCtrlr", "MaxElements", instance="Tariff") or 0)
    t.needs(0 < most < 500, "it takes any number of prices")
    await given(_default(t, _tariff("v2g-default")))
    t.undo(lambda: forget_tokens(t))
    await forget_tokens(t)
    prices = [{"priceKwh": number / 100} for number in range(most + 1)]
    t.answer("Authorize", ACCEPTED | {"tariff": _tariff("v2g-unreadable", *prices)})


@I_TARIFFS.case("TC_I_107_CS", "A driver's tariff that the station cannot process", requirements="I08.FR.32 I08.FR.33")
async def unreadable(t: StationTest) -> None:
    """The station charges by its default tariff, or without one, as it is set."""
    await _unreadable(t)
    for choice, requirement in (("UseDefaultTariff", "I08.FR.32"), ("CentralCost", "I08.FR.33")):
        await t.demand("TariffCostCtrlr", "HandleFailedTariff", choice, instance="Tariff")
        await t.present()
        await t.plug()
        event = await t.expect("TransactionEvent", requirement, eventType="Started")
        transaction = await t.flowing()
        used = event["transactionInfo"].get("tariffId")
        wanted = "v2g-default" if choice == "UseDefaultTariff" else None
        t.check(used == wanted, requirement, f"charges by {used or 'no tariff'}")
        await t.present()
        await t.unplug()
        await ended(t, "E07.FR.02", transactionInfo__transactionId=transaction)
        t.forget()


@I_TARIFFS.case("TC_I_108_CS", "A driver's tariff that the station cannot process, and that must not charge then")
async def unreadable_refused(t: StationTest) -> None:
    """The station does not charge."""
    await _unreadable(t)
    await t.demand("TariffCostCtrlr", "HandleFailedTariff", "Deauthorize", instance="Tariff")
    await t.plug()
    await t.present()
    await t.nothing("TransactionEvent", "I08.FR.31", within=5, transactionInfo__chargingState="Charging")
