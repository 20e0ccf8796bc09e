"""Functional block I, costs: cases for back ends, which have a price for the declared token at the station."""

from typing import Final

from v2g_testkit.ocpp.case import Block, Payload, given, precondition
from v2g_testkit.ocpp.csms_cases.transaction import Transaction, charging
from v2g_testkit.ocpp.csms_tester import CsmsTest, covers

I: Final[Block[CsmsTest]] = Block(profiles=(), needs=("costs",), booted=True)  # noqa: E741 - the block's letter


@I.case("TC_I_01_CSMS", "Running cost")
async def running_cost(t: CsmsTest) -> None:
    """The back end tells the cost so far in its answer to an event, or by CostUpdated; it does not fall."""
    transaction = await charging(t)
    costs: list[float] = [0]
    for _ in range(2):
        transaction.wh += 1000
        found = await transaction.event("Updated", "MeterValuePeriodic", context="Sample.Periodic")
        if "totalCost" not in found:
            wanted = Payload(totalCost=1.0, transactionId=transaction.id)
            found = await t.asked("CostUpdated", "I02.FR.01", free=("totalCost",), **wanted)
        costs.append(found["totalCost"])
    t.check(costs == sorted(costs), "I02.FR.01", f"tells costs of {costs[1]:g}, then of {costs[2]:g}")


@I.case("TC_I_02_CSMS", "Final cost")
async def final_cost(t: CsmsTest) -> None:
    """The back end tells the cost of the transaction in its answer to the last event, which is not below that so
    far."""
    transaction = await charging(t)
    answer = await transaction.event("Updated", "MeterValuePeriodic", context="Sample.Periodic")
    so_far = max(0.0, answer.get("totalCost", 0.0))
    await given(transaction.stop_authorized(), transaction.post_session())
    await t.connector("Available")
    answer = await transaction.event(
        "Ended", "EVCommunicationLost", state="Idle", stopped="EVDisconnected", context="Transaction.End"
    )
    t.check("totalCost" in answer, "I03.FR.02", "answers the last event without totalCost")
    cost = answer["totalCost"]
    t.check(cost >= so_far, "I03.FR.02", f"tells a cost of {cost:g} after one of {so_far:g}")


# -- Functional block I, tariffs of stations that calculate costs themselves: cases for back ends, all of OCPP 2.1

I_21: Final[Block[CsmsTest]] = Block(profiles=(), versions=("2.1",), needs=("tariffs",), booted=True)
_DAY: Final[Payload] = {"priceKwh": 0.4, "conditions": {"startTimeOfDay": "08:00", "endTimeOfDay": "18:00"}}
_NIGHT: Final[Payload] = {"priceKwh": 0.25}


def _tariff(number: int, *prices: Payload) -> Payload:
    """Return a tariff whose id the back end may choose."""
    return {"tariffId": f"v2g-{number}", "currency": "EUR", "energy": {"prices": list(prices)}}


def _is(t: CsmsTest, sent: Payload, wanted: Payload, requirement: str) -> str:
    """Return the id of a tariff that the back end sent. Raises Failed unless its contents are as wanted."""
    found: Payload = sent["tariff"]
    for name in wanted.keys() - {"tariffId"}:
        same = covers(found.get(name), wanted[name])
        t.check(same, requirement, f"sends {name} {found.get(name)!r} instead of {wanted[name]!r}")
    return str(found["tariffId"])


async def _sets(t: CsmsTest, wanted: Payload, status: str = "Accepted", evse: int = 0) -> str:
    """Have the back end set a default tariff, which the station answers so; return its id. Raises Failed."""
    t.answer("SetDefaultTariff", {"status": status})
    sent = await t.asked("SetDefaultTariff", "I07.FR.10", free=("tariff",), evseId=evse, tariff=wanted)
    return _is(t, sent, wanted, "I07.FR.10")


def _differ(t: CsmsTest, old: str, new: str) -> None:
    t.check(old != new, "I08.FR.08", f"gives tariffs of different contents the id {old}")


async def calculating(t: CsmsTest) -> str:
    """Return the id of a default tariff, which the back end has set, and by which the station calculates costs."""
    with precondition():
        return await _sets(t, _tariff(1, _NIGHT))


async def _calculated(t: CsmsTest) -> tuple[Transaction, str]:
    """Let a transaction run whose cost the station calculates by a default tariff; return the tariff's id too."""
    transaction = Transaction(t)
    tariff = await calculating(t)
    await given(transaction.started())
    await transaction.event("Updated", "MeterValuePeriodic", context="Sample.Periodic", info={"tariffId": tariff})
    return transaction, tariff


@I_21.case("TC_I_101_CSMS", "Default tariff with times of the day")
async def default_tariff(t: CsmsTest) -> None:
    """The back end sends the prices, that of the time of the day before the one for all others."""
    t.answer("SetDefaultTariff", {"status": "Accepted"})
    wanted = _tariff(1, _DAY, _NIGHT)
    sent = await t.asked("SetDefaultTariff", "I07.FR.10", free=("tariff",), evseId=0, tariff=wanted)
    _is(t, sent, wanted, "I07.FR.17")
    first = sent["tariff"]["energy"]["prices"][0]
    t.check("conditions" in first, "I12.FR.34", "sends the price without conditions first, which then always applies")


def _case_of_status(number: int, status: str, title: str) -> None:
    @I_21.case(f"TC_I_{number}_CSMS", title, also="I07.FR.10 I08.FR.08")
    async def script(t: CsmsTest) -> None:
        """The back end continues after this answer, and sends other contents with another id."""
        refused = await _sets(t, _tariff(1, _DAY, _NIGHT), status, evse=1)
        await t.call("Heartbeat")
        _differ(t, refused, await _sets(t, _tariff(2, _NIGHT), evse=1))


_case_of_status(102, "TooManyElements", "Default tariff with too many elements for the station")
_case_of_status(105, "ConditionNotSupported", "Default tariff with conditions that the station does not have")
_case_of_status(106, "Rejected", "Default tariff that the station rejects")


@I_21.case("TC_I_109_CSMS", "Tariff of a driver", requirements="I08.FR.01 I08.FR.09", needs=("tariffs of drivers",))
async def driver_tariff(t: CsmsTest) -> None:
    """The back end authorizes the driver with the tariff, which has no date from which it is valid."""
    answer = await t.call("Authorize", idToken=t.declared.tariff_token.payload)
    t.equal(answer["idTokenInfo"]["status"], "Accepted", "C01.FR.07", "answers a valid token with {}")
    t.check("tariff" in answer, "I08.FR.01", "authorizes the driver without the tariff")
    t.check("validFrom" not in answer["tariff"], "I08.FR.09", "sends a tariff with validFrom")


@I_21.case("TC_I_110_CSMS", "Default tariff is cleared")
async def cleared(t: CsmsTest) -> None:
    """The back end names the tariff that it has set, and reads that there is none any more."""
    number = await _sets(t, _tariff(1, _NIGHT), evse=1)
    t.answer("ClearTariffs", {"clearTariffsResult": [{"tariffId": number, "status": "Accepted"}]})
    await t.asked("ClearTariffs", "I10.FR.02", tariffIds=[number])
    await t.asked("GetTariffs", "I09.FR.01", evseId=0)


def _case_of_change(number: int, status: str, title: str) -> None:
    @I_21.case(f"TC_I_{number}_CSMS", title, also="I08.FR.08")
    async def script(t: CsmsTest) -> None:
        """The back end sends the tariff for the transaction, with an id of its own, and continues."""
        transaction, old = await _calculated(t)
        # have the back end change the tariff of a transaction; return its id. Raises Failed
        wanted = _tariff(2, _DAY, _NIGHT)
        t.answer("ChangeTransactionTariff", {"status": status})
        sent = await t.asked(
            "ChangeTransactionTariff", "I11.FR.06", free=("tariff",), transactionId=transaction.id, tariff=wanted
        )
        new = _is(t, sent, wanted, "I11.FR.06")
        _differ(t, old, new)
        if status == "Accepted":
            await transaction.event("Updated", "TariffChanged", state="Charging", info={"tariffId": new})
        await transaction.unplugged()


_case_of_change(113, "TooManyElements", "Other tariff for a transaction, with too many elements for the station")
_case_of_change(114, "ConditionNotSupported", "Other tariff for a transaction, with conditions, at a station without")
_case_of_change(115, "Accepted", "Other tariff for a transaction")


@I_21.case("TC_I_122_CSMS", "Costs that the station has calculated", also="I12.FR.01 I03.FR.02")
async def cost_details(t: CsmsTest) -> None:
    """The back end takes the details, and tells no other cost of the transaction."""
    transaction, tariff = await _calculated(t)
    await transaction.event("Updated", "RunningCost", state="Charging", costDetails=details(t, tariff, 1.0))
    transaction.wh += 4000
    answer = await transaction.event(
        "Ended", "EVCommunicationLost", state="Idle", stopped="EVDisconnected", costDetails=details(t, tariff, 2.0)
    )
    same_cost(t, answer, 2.0)


def details(t: CsmsTest, tariff: str, net: float, energy_wh: float = 0) -> Payload:
    """Return the cost of energy without tax, with a tax of 20 %, in EUR. The energy is that of the meter: a back end
    may hold a cost for another one."""
    total = {"exclTax": net, "inclTax": round(net * 1.2, 2)}
    energy = total | {"taxRates": [{"type": "vat", "tax": 20.0}]}
    return {
        "totalCost": {"currency": "EUR", "typeOfCost": "NormalCost", "energy": energy, "total": total},
        "totalUsage": {"energy": energy_wh, "chargingTime": 60, "idleTime": 0},
        "chargingPeriods": [{"tariffId": tariff, "startPeriod": t.now()}],
    }


def same_cost(t: CsmsTest, answer: Payload, net: float) -> None:
    """Raise Failed if the answer to the last event tells another cost than these details, tax included."""
    found = answer.get("totalCost", net * 1.2)
    t.check(abs(found - net * 1.2) < 0.005, "I03.FR.02", f"tells a cost of {found} instead of {net * 1.2}")
