"""Functional block C, authorization, of OCPP 2.1: prepaid cards, payment terminals, payment on the web (C17 to C25);
cases for charging stations."""

from typing import Any, Final

from v2g_testkit.ocpp.case import Block, Failed, Payload, given, precondition
from v2g_testkit.ocpp.connection import CallError
from v2g_testkit.ocpp.declaration import Token
from v2g_testkit.ocpp.driver import Action, Step
from v2g_testkit.ocpp.station_cases.block_e import reached, says_limit, supports
from v2g_testkit.ocpp.station_cases.steps import ended, forget_tokens, is_token, priced, refuses
from v2g_testkit.ocpp.station_tester import StationTest

C_PAYMENT: Final[Block[StationTest]] = Block(versions=("2.1",), needs=("TariffCostCtrlr.Available",))
C_TERMINAL: Final = C_PAYMENT.having(needs=("PaymentCtrlr.Enabled",))
C_WITHOUT_COSTS: Final = C_PAYMENT.having(needs=())

_ACCEPTED: Final[Payload] = {"idTokenInfo": {"status": "Accepted"}}
_AMOUNT: Final = 50.0
PAID: Final = Token("psp-v2g-4711", "DirectPayment")


# -- prepaid cards (C17)


async def _prepaid(t: StationTest, status: str) -> None:
    """Let the back end say this of a prepaid card, for now only (C17.FR.01, .02)."""
    with precondition():
        t.undo(lambda: forget_tokens(t))
        await forget_tokens(t)

    def answer(event: Payload) -> Payload:
        info = {"idTokenInfo": {"status": status, "cacheExpiryDateTime": t.now()}} if "idToken" in event else {}
        return info | ({"transactionLimit": {"maxCost": 8.5}} if event.get("eventType") == "Started" else {})

    t.answer("Authorize", answer)
    t.answer("TransactionEvent", answer)


@C_WITHOUT_COSTS.case("TC_C_103_CS", "Prepaid card with credit", requirements="C17.FR.04 E16.FR.03 E16.FR.05")
async def prepaid(t: StationTest) -> None:
    """The station charges, says that the credit is the limit, and stops the energy when it is spent."""
    await supports(t, "maxCost")
    await _prepaid(t, "Accepted")
    await t.present()
    await t.plug()
    await t.expect("Authorize", "C01.FR.02")
    await says_limit(t, "E16.FR.03", maxCost=8.5)
    transaction = await t.flowing()
    await t.ask("CostUpdated", totalCost=8.5, transactionId=transaction)
    await reached(t, "CostLimitReached")


@C_WITHOUT_COSTS.case("TC_C_104_CS", "Prepaid card without credit")
async def no_credit(t: StationTest) -> None:
    """The station does not charge, and asks the back end again the next time."""
    await _prepaid(t, "NoCredit")
    await t.plug()
    for _ in range(2):
        await t.present()
        await t.expect("Authorize", "C01.FR.02")
        await refuses(t, "C17.FR.05")


# -- integrated payment terminals (C18 to C23)


async def _terminal(t: StationTest, *, asks: bool) -> None:
    """Let the back end be asked about cards, or not, and an amount be reserved. Raises NotApplicable."""
    await t.demand("PaymentCtrlr", "AuthorizeDirectPayment", str(asks).lower())
    await t.demand("PaymentCtrlr", "AuthorizationAmount", f"{_AMOUNT:g}")


async def _pays(t: StationTest) -> None:
    await t.do(Step("pay"))


async def _authorizes(t: StationTest) -> Payload:
    """Expect Authorize for a payment; return its token. Raises Failed."""
    asked = (await t.expect("Authorize", "C18.FR.04"))["idToken"]
    t.check(asked["type"] == "DirectPayment", "C18.FR.04", f"asks about a token of type {asked['type']}")
    return asked  # type: ignore[no-any-return]


async def _charges(t: StationTest) -> tuple[str, str]:
    """Expect a transaction of a payment, with its limit; return it with the payment's reference. Raises Failed."""
    shown = await t.find(
        lambda each: (
            each.action == "TransactionEvent" and each.payload.get("idToken", {}).get("type") == "DirectPayment"
        )
    )
    if shown is None:
        raise Failed("sends no event with a token of type DirectPayment", "C18.FR.06")
    info = shown["transactionInfo"]
    limit = info.get("transactionLimit", {}).get("maxCost")
    t.check(limit == _AMOUNT, "C18.FR.06", f"says that the limit of the cost is {limit}")
    transaction = await t.flowing()
    return transaction, str(shown["idToken"]["idToken"])


async def _paid(t: StationTest) -> tuple[str, str]:
    """Pay at the terminal and charge; return the transaction and the payment's reference."""
    with precondition():
        await _pays(t)
        await t.plug()
        return await _charges(t)


async def _settled(t: StationTest, reference: str, status: str, requirement: str, **fields: Any) -> Payload:
    return await t.expect("NotifySettlement", requirement, pspRef=reference, status=status, **fields)


def _costs(t: StationTest, cost: float) -> None:
    """Let the back end say what a transaction has cost, at its end."""
    t.answer("TransactionEvent", lambda event: (
        (_ACCEPTED if "idToken" in event else {}) | ({"totalCost": cost} if event["eventType"] == "Ended" else {})
    ))  # fmt: skip


async def _stops(t: StationTest) -> None:
    """Let the driver end the transaction at the station."""
    await t.do(Step("stop"))


@C_TERMINAL.case("TC_C_105_CS", "Bank card that the back end rejects", also="C18.FR.04")
async def card_rejected(t: StationTest) -> None:
    """The station asks the back end about the payment, and does not charge."""
    await _terminal(t, asks=True)
    t.answer("Authorize", {"idTokenInfo": {"status": "Invalid"}})
    await t.plug()
    await _pays(t)
    await _authorizes(t)
    await refuses(t, "C18.FR.07")


@C_TERMINAL.case("TC_C_106_CS", "Bank card that the terminal authorizes alone", also="C18.FR.06")
async def card_alone(t: StationTest) -> None:
    """The station charges without asking the back end, and sends the payment with its limit."""
    await _terminal(t, asks=False)
    await _pays(t)
    await t.plug()
    await _charges(t)
    await t.nothing("Authorize", "C18.FR.03", within=1)


@C_TERMINAL.case("TC_C_107_CS", "Bank card that terminal and back end authorize", also="C18.FR.04 C18.FR.05")
async def card_of_both(t: StationTest) -> None:
    """The station asks the back end about the payment, charges, and sends the payment with its limit."""
    await _terminal(t, asks=True)
    await _pays(t)
    asked = await _authorizes(t)
    await t.plug()
    _, reference = await _charges(t)
    t.check(reference == asked["idToken"], "C18.FR.06", f"charges with the payment {reference}")


@C_TERMINAL.case("TC_C_108_CS", "VAT number")
async def vat_number(t: StationTest) -> None:
    """The station has the number validated, and sends it with the settlement."""
    await _terminal(t, asks=False)
    _costs(t, 12.5)
    number = "NL123456789B01"
    t.answer("VatNumberValidation", lambda asked: {"vatNumber": asked["vatNumber"], "status": "Accepted"} | (
        {"evseId": asked["evseId"]} if "evseId" in asked else {}
    ))  # fmt: skip
    transaction, reference = await _paid(t)
    await t.do(Step("vat", value=number))
    await t.expect("VatNumberValidation", "C18.FR.08", vatNumber=number)
    await _stops(t)
    told = await _settled(t, reference, "Settled", "C21.FR.02", transactionId=transaction)
    t.check(told.get("vatNumber") == number, "C21.FR.02", f"sends the VAT number {told.get('vatNumber')}")


async def _times_out(t: StationTest) -> None:
    """Plug no vehicle in for as long as the station waits."""
    await t.demand("TxCtrlr", "EVConnectionTimeOut", "10")
    starts = (await t.value("TxCtrlr", "TxStartPoint")).split(",")
    t.needs("Authorized" not in starts, "its transactions start with the authorization")
    await _pays(t)


@C_TERMINAL.case(
    "TC_C_109_CS", "No vehicle is plugged in, after the terminal authorized", requirements="C19.FR.01 C01.FR.26"
)
async def times_out(t: StationTest) -> None:
    """The station cancels the payment after EVConnectionTimeOut: a vehicle that comes later is not charged."""
    await _terminal(t, asks=False)
    await _times_out(t)
    await t.nothing("NotifySettlement", "C19.FR.02", within=20)
    await t.plug()
    await refuses(t, "C01.FR.26")


@C_TERMINAL.case("TC_C_112_CS", "No vehicle is plugged in, after terminal and back end authorized", also="C19.FR.01")
async def times_out_asked(t: StationTest) -> None:
    """The station cancels the payment after EVConnectionTimeOut, and says so."""
    await _terminal(t, asks=True)
    await _times_out(t)
    reference = (await _authorizes(t))["idToken"]
    await _settled(t, reference, "Canceled", "C19.FR.02", within=t.after(10))


@C_TERMINAL.case("TC_C_110_CS", "The driver cancels, after terminal and back end authorized", also="C19.FR.01")
async def cancels_asked(t: StationTest) -> None:
    """The station cancels the payment, and says so."""
    await _terminal(t, asks=True)
    await _pays(t)
    reference = (await _authorizes(t))["idToken"]
    await _stops(t)
    told = await _settled(t, reference, "Canceled", "C19.FR.02")
    t.check(bool(told.get("settlementTime")), "C19.FR.02", "does not say when")


@C_TERMINAL.case("TC_C_111_CS", "The driver cancels, after the terminal authorized", requirements="C19.FR.01")
async def cancels(t: StationTest) -> None:
    """The station cancels the payment: a vehicle that comes later is not charged."""
    await _terminal(t, asks=False)
    await _pays(t)
    await _stops(t)
    await t.nothing("NotifySettlement", "C19.FR.02", within=3)
    await t.plug()
    await refuses(t, "C19.FR.01")


@C_TERMINAL.case("TC_C_113_CS", "The driver cancels after the start")
async def cancels_later(t: StationTest) -> None:
    """The station ends the transaction, cancels the payment as nothing is to be paid, and says so."""
    await _terminal(t, asks=False)
    _costs(t, 0.0)
    transaction, reference = await _paid(t)
    await _stops(t)
    await ended(t, "C20.FR.01", triggerReason="StopAuthorized", transactionInfo__transactionId=transaction)
    told = await _settled(t, reference, "Canceled", "C20.FR.05", transactionId=transaction)
    t.check(bool(told.get("settlementTime")), "C20.FR.05", "does not say when")


@C_TERMINAL.case("TC_C_114_CS", "Settled by the station, with its receipt")
async def settled(t: StationTest) -> None:
    """The station settles what the back end says that it cost, and sends amount, time and receipt."""
    await _terminal(t, asks=False)
    await t.demand("PaymentCtrlr", "ReceiptByCSMS", "false")
    _costs(t, 12.34)
    transaction, reference = await _paid(t)
    await _stops(t)
    told = await _settled(t, reference, "Settled", "C21.FR.02", transactionId=transaction)
    t.check(told["settlementAmount"] == 12.34, "C21.FR.01", f"settles {told['settlementAmount']}")
    for name in ("receiptUrl", "receiptId"):
        t.check(bool(told.get(name)), "C21.FR.04", f"sends no {name}")


@C_TERMINAL.case("TC_C_115_CS", "Settled by the back end", requirements="C21.FR.06")
async def settled_by_csms(t: StationTest) -> None:
    """The station does not settle the payment."""
    await _terminal(t, asks=False)
    await t.demand("PaymentCtrlr", "SettlementByCSMS", "true")
    _costs(t, 12.34)
    transaction, _ = await _paid(t)
    await _stops(t)
    await ended(t, "E07.FR.02", transactionInfo__transactionId=transaction)
    await t.nothing("NotifySettlement", "C21.FR.06", within=5)


@C_TERMINAL.case("TC_C_116_CS", "Settled by the station, with the receipt of the back end")
async def receipt_of_csms(t: StationTest) -> None:
    """The station settles the payment, and sends no receipt of its own."""
    await _terminal(t, asks=False)
    await t.demand("PaymentCtrlr", "ReceiptByCSMS", "true")
    _costs(t, 12.34)
    t.answer("NotifySettlement", {"receiptUrl": "https://csms.example/receipts/1", "receiptId": "1"})
    transaction, reference = await _paid(t)
    await _stops(t)
    told = await _settled(t, reference, "Settled", "C21.FR.02", transactionId=transaction)
    t.check(told["settlementAmount"] == 12.34, "C21.FR.01", f"settles {told['settlementAmount']}")
    t.check("receiptUrl" not in told, "C21.FR.03", "sends a receipt of its own")


def _case_of_settlement(number: int, status: str, requirement: str) -> None:
    @C_TERMINAL.case(
        f"TC_C_{number}_CS",
        f"Settlement that ends as {status}",
        required=f"The station reports the amount as {status}, with the time and without a receipt.",
    )
    async def script(t: StationTest) -> None:
        await _terminal(t, asks=False)
        _costs(t, 12.34)
        transaction, reference = await _paid(t)
        t.undo(lambda: t.do(Step("settlements", value="Settled")))
        await t.do(Step("settlements", value=status))
        await _stops(t)
        told = await _settled(t, reference, status, requirement, transactionId=transaction)
        t.check(
            told.get("settlementAmount") == 12.34, requirement, f"reports the amount {told.get('settlementAmount')}"
        )
        t.check(bool(told.get("settlementTime")), requirement, "does not say when")
        for name in ("receiptUrl", "receiptId"):
            t.check(name not in told, requirement, f"sends a {name}")


_case_of_settlement(119, "Failed", "C22.FR.02")
_case_of_settlement(120, "Rejected", "C22.FR.01")


@C_TERMINAL.case("TC_C_121_CS", "More is reserved while the vehicle charges")
async def more(t: StationTest) -> None:
    """When the cost comes near the amount, the station reserves more, and says that the limit is higher."""
    await _terminal(t, asks=False)
    await t.demand("PaymentCtrlr", "IncrementalAuthorizationAmount", "20")
    await t.demand("PaymentCtrlr", "IncrementalAuthorizationThreshold", "5")
    transaction, _ = await _paid(t)
    await t.ask("CostUpdated", totalCost=40.0, transactionId=transaction)
    await t.nothing("TransactionEvent", "C23.FR.01", within=3, triggerReason="LimitSet")
    await t.ask("CostUpdated", totalCost=46.0, transactionId=transaction)
    await says_limit(t, "C23.FR.02", maxCost=70.0)


@C_TERMINAL.case("TC_C_122_CS", "No more is reserved while the vehicle charges", also="C23.FR.01 E16.FR.05")
async def no_more(t: StationTest) -> None:
    """When the cost reaches the amount, the station stops the energy."""
    await _terminal(t, asks=False)
    await t.demand("PaymentCtrlr", "IncrementalAuthorizationAmount", "0")
    transaction, _ = await _paid(t)
    await t.ask("CostUpdated", totalCost=_AMOUNT, transactionId=transaction)
    await reached(t, "CostLimitReached")


# -- payment elsewhere (C24, C25)


async def _started(t: StationTest, **limit: float) -> tuple[str, Payload]:
    """Let the back end start what was paid for elsewhere, with a limit; return the transaction and its first event."""
    t.answer("TransactionEvent", lambda event: (_ACCEPTED if "idToken" in event else {}) | (
        {"transactionLimit": limit} if event["eventType"] == "Started" and limit else {}
    ))  # fmt: skip
    await given(t.plug())
    number = t.next_id()
    answer = await t.ask("RequestStartTransaction", idToken=PAID.payload, remoteStartId=number, evseId=1)
    t.check(answer["status"] == "Accepted", "F01.FR.01", f"answers {answer['status']}")
    shown = await t.find(lambda each: each.action == "TransactionEvent" and is_token(each.payload.get("idToken"), PAID))
    if shown is None:
        raise Failed("sends no event with the token of the payment", "E03.FR.01")
    return shown["transactionInfo"]["transactionId"], shown


async def _ends(t: StationTest, transaction: str) -> Payload:
    """Stop a transaction that was paid for elsewhere; return its last event. Raises Failed."""
    await t.must_answer("Accepted", "F03.FR.01", "RequestStopTransaction", transactionId=transaction)
    event = await ended(t, "F03.FR.02", transactionInfo__transactionId=transaction)
    await t.nothing("NotifySettlement", "C24.FR.10", within=2)
    return event


@C_PAYMENT.case("TC_C_123_CS", "Paid at a kiosk, and the station calculates the cost", also="I07.FR.32")
async def kiosk_local(t: StationTest) -> None:
    """The station charges with the limit by its tariff, and sends the cost with its details."""
    await supports(t, "maxCost")
    await priced(t, "v2g-kiosk", 0.5)
    transaction, _ = await _started(t, maxCost=20.0)
    await says_limit(t, "C24.FR.03", maxCost=20.0)
    await t.flowing()
    await t.wait(10)
    event = await _ends(t, transaction)
    used = {each.get("tariffId") for each in event.get("costDetails", {}).get("chargingPeriods", [])}
    t.check(used == {"v2g-kiosk"}, "I12.FR.01", f"calculates by {', '.join(map(str, used)) or 'no tariff'}")


@C_WITHOUT_COSTS.case(
    "TC_C_124_CS", "Paid at a kiosk, and the back end calculates the cost", also="C24.FR.04 E16.FR.05 E16.FR.15"
)
async def kiosk_central(t: StationTest) -> None:
    """The station charges with the limit by the costs of the back end, and stops the energy at the limit."""
    await supports(t, "maxCost")
    transaction, _ = await _started(t, maxCost=20.0)
    await says_limit(t, "C24.FR.03", maxCost=20.0)
    await t.flowing()
    await t.ask("CostUpdated", totalCost=20.0, transactionId=transaction)
    await reached(t, "CostLimitReached")


@C_WITHOUT_COSTS.case("TC_C_127_CS", "Paid by a QR code", also="C25.FR.27 E03.FR.01")
async def qr_code(t: StationTest) -> None:
    """The station answers that it knows of the payment, and charges once the back end starts it."""
    try:
        await t.ask("NotifyWebPaymentStarted", evseId=1, timeout=60)
    except CallError as error:
        t.needs(error.code not in ("NotImplemented", "NotSupported"), "it knows nothing of payments on the web")
        raise
    await _started(t)
    await t.flowing()


def _case_of_code(number: int, what: str, action: Action, value: float, limit: str, trigger: str, fr: str) -> None:
    @C_WITHOUT_COSTS.case(
        f"TC_C_{number}_CS", f"Paid by a QR code, with a limit of the {what}", also="C25.FR.26 E16.FR.05"
    )
    async def script(t: StationTest) -> None:
        """The station sends the limit that the driver has chosen, and stops the energy when it is reached."""
        await t.demand("WebPaymentsCtrlr", "URLTemplate", _TEMPLATE)
        await t.demand("WebPaymentsCtrlr", "Enabled", "true")
        await t.do(Step(action, value=f"{value:g}"))
        await t.ask("NotifyWebPaymentStarted", evseId=1, timeout=60)
        transaction, event = await _started(t, **{limit: 1_000_000})
        t.equal(event["transactionInfo"].get("transactionLimit"), {limit: value}, fr, "sends the limit {}")
        await t.flowing()
        if limit == "maxCost":
            await t.ask("CostUpdated", totalCost=value, transactionId=transaction)
        await reached(t, trigger)


_TEMPLATE: Final = "https://pay.example/{chargingstationid}/{evse}/{totp}/{version}"
_case_of_code(128, "time", "most-time", 180, "maxTime", "TimeLimitReached", "C25.FR.04")
_case_of_code(129, "cost", "most-cost", 12.5, "maxCost", "CostLimitReached", "C25.FR.06")
_case_of_code(130, "energy", "most-energy", 500, "maxEnergy", "EnergyLimitReached", "C25.FR.05")
