"""The end of payments at the station's terminal: settled or canceled, and reported to the CSMS (C19 to C22, 2.1).

A payment is stored across restarts from its reservation by the provider until the money was taken or released.
"""

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Final, Literal

import msgspec

from v2g.ocpp.messages import payment as ocpp
from v2g.ocpp.messages.authorization import AdditionalInfo, IdToken
from v2g.ocpp.messages.base import Message
from v2g.ocpp.times import format_time
from v2g_station.blocks.connection.outbox import CsmsOutbox
from v2g_station.blocks.evse import Indicate
from v2g_station.blocks.payment.terminal import (
    CancelPayment,
    PaymentReleased,
    PaymentSettled,
    SettlePayment,
    ShowReceipt,
)
from v2g_station.kernel.kernel import Answer, Kernel

ANSWER_S: Final = 120.0
"""How long to wait for an answer of the terminal."""

ATTEMPTS: Final = 3
"""How often a terminal that does not answer is commanded to settle or cancel."""

UNREACHED_S: Final = 86_400.0
"""How long a terminal that is not connected is waited for besides: it holds what was reserved for days."""

_UNANSWERED: Final = {
    "settling": "the payment terminal does not answer",
    "canceling": "the payment terminal could not release the amount",
}

Phase = Literal["asked", "authorized", "ended", "settling", "canceling"]


class CardPayment(msgspec.Struct, frozen=True, kw_only=True):
    """One payment; `amount` is the reserved amount, `cost` the amount to take."""

    psp_ref: str
    evse_id: int | None
    amount: Decimal
    card: str = ""
    details: tuple[tuple[str, str], ...] = ()
    phase: Phase
    known: bool = False
    """Whether the CSMS knows the payment, and so must be notified of its end."""

    transaction_id: str | None = None
    cost: Decimal = Decimal(0)
    vat_number: str = ""
    vat_company: ocpp.Address | None = None

    @property
    def id_token(self) -> IdToken:
        """The identifier of the authorization that it pays for (C18.FR.04)."""
        info = tuple(AdditionalInfo(additional_id_token=value[:255], type=name) for name, value in self.details)
        return IdToken(id_token=self.psp_ref, type=ocpp.DIRECT_PAYMENT, additional_info=info)


class Settlements:
    """The payments of one station, and their settlement; `forgotten` is called with each reference at the end."""

    def __init__(self, kernel: Kernel, outbox: CsmsOutbox, forgotten: Callable[[str], None]) -> None:
        self._k = kernel
        self._outbox = outbox
        self._forgotten = forgotten
        self.all = {payment.psp_ref: payment for payment in kernel.stored("payments", CardPayment).values()}
        self._settled_at: dict[str, int | None] = {}
        """The EVSE of each payment whose receipt the CSMS makes."""
        outbox.on_answer(self._answered)

    def change(self, payment: CardPayment, **fields: object) -> CardPayment:
        """Store a changed payment."""
        payment = msgspec.structs.replace(payment, **fields)
        self.all[payment.psp_ref] = payment
        self._k.keep("payments", payment.psp_ref, payment)
        return payment

    def _text(self, name: str) -> str:
        key = f"PaymentCtrlr.{name}"
        return self._k.model.text(key) if self._k.model.has(key) else ""

    def of(self, transaction_id: str) -> list[CardPayment]:
        """Return the payments of a transaction: at most one, unless two drivers paid for the same."""
        return [payment for payment in self.all.values() if payment.transaction_id == transaction_id]

    def _answered(self, request: Message, answer: Answer) -> None:
        if isinstance(request, ocpp.NotifySettlementRequest):
            evse_id = self._settled_at.pop(request.psp_ref, None)
            if isinstance(answer, ocpp.NotifySettlementResponse) and answer.receipt_url:  # C21.FR.03
                self._k.do(ShowReceipt(evse_id=evse_id, url=answer.receipt_url, receipt_id=answer.receipt_id or ""))

    def finish(self, payment: CardPayment, cost: Decimal | None) -> None:
        """Settle the cost of a transaction, or cancel the payment if it is zero (C20, C21)."""
        if cost is not None and cost <= 0:
            self.cancel(payment, notify=True)  # C20.FR.04, .05
        elif self._text("SettlementByCSMS") == "true":  # C21.FR.05 to .07
            self.forget(payment)
            if url := self._text("ReceiptServerUrl"):
                self._k.do(ShowReceipt(evse_id=payment.evse_id, url=url))
        elif cost is None:
            self._notify(payment, "Failed", info="the total cost is unknown")
        else:
            self._command(self.change(payment, phase="settling", cost=cost), ATTEMPTS)

    def cancel(self, payment: CardPayment, *, notify: bool) -> None:
        """Release the amount; the CSMS is notified if it knows the payment."""
        self._command(self.change(payment, phase="canceling", cost=Decimal(0), known=notify), ATTEMPTS)

    def _command(self, payment: CardPayment, attempts: int, unreached_s: float = 0.0) -> None:
        """Send the command to the terminal, again if it does not answer."""
        if attempts == 0:
            if payment.phase == "settling" or payment.known:
                self._notify(payment, "Failed", info=_UNANSWERED[payment.phase])
            else:
                self.forget(payment)
            self._k.note("terminal_gave_up", psp_ref=payment.psp_ref, phase=payment.phase)
            return
        if payment.phase == "canceling":
            self._k.do(CancelPayment(psp_ref=payment.psp_ref))
        else:
            names = ("Id", "TaxId", "Name", "Address", "City")
            merchant = {name: self._text(f"Merchant[{name}]") for name in names}
            self._k.do(
                SettlePayment(
                    psp_ref=payment.psp_ref,
                    amount=payment.cost,
                    merchant=merchant,
                    vat_number=payment.vat_number,
                    vat_company=payment.vat_company,
                )
            )
        self._k.after(
            f"settlement.{payment.psp_ref}", ANSWER_S, partial(self._unanswered, payment, attempts, unreached_s)
        )

    def _unanswered(self, payment: CardPayment, attempts: int, unreached_s: float) -> None:
        if self._text("Connected") == "false" and unreached_s < UNREACHED_S:
            self._command(payment, attempts, unreached_s + ANSWER_S)
        else:
            self._command(payment, attempts - 1, unreached_s)

    def settled(self, fact: PaymentSettled) -> None:
        """Handle the outcome of a settlement (C21.FR.02, C22.FR.01, .02)."""
        payment = self.all.get(fact.psp_ref)
        if payment is None or payment.phase != "settling":
            return
        if fact.amount is not None:
            payment = msgspec.structs.replace(payment, cost=fact.amount)
        if fact.status != "Settled":
            self._notify(payment, fact.status, info=fact.info)
            self._k.do(Indicate(evse_id=payment.evse_id, word="payment_failed"))
        elif self._text("ReceiptByCSMS") == "true":
            self._settled_at[payment.psp_ref] = payment.evse_id
            self._notify(payment, "Settled", info=fact.info)
        else:
            self._notify(payment, "Settled", info=fact.info, receipt=(fact.receipt_id, fact.receipt_url))
            if fact.receipt_url:
                self._k.do(ShowReceipt(evse_id=payment.evse_id, url=fact.receipt_url, receipt_id=fact.receipt_id))

    def released(self, fact: PaymentReleased) -> None:
        """Handle the release of the amount, or repeat the command (C19.FR.02, C20.FR.05)."""
        payment = self.all.get(fact.psp_ref)
        if payment is None or payment.phase != "canceling" or not fact.done:
            return  # the command is repeated
        if payment.known:
            self._notify(payment, "Canceled")
        else:
            self.forget(payment)

    def _notify(
        self, payment: CardPayment, status: ocpp.PaymentStatus, *, info: str = "", receipt: tuple[str, str] = ("", "")
    ) -> None:
        """Notify the CSMS of the outcome, now or when it is reachable, and remove the payment."""
        settled = status == "Settled"
        request = ocpp.NotifySettlementRequest(
            transaction_id=payment.transaction_id,
            psp_ref=payment.psp_ref,
            status=status,
            status_info=info[:500] or None,
            settlement_amount=float(payment.cost),
            settlement_time=format_time(self._k.utc_ms),
            receipt_id=receipt[0][:50] or None,  # C21.FR.04
            receipt_url=receipt[1][:2000] or None,
            vat_number=payment.vat_number or None if settled else None,
            vat_company=payment.vat_company if settled else None,
        )
        self._outbox.add(request, group=payment.transaction_id or payment.psp_ref)
        self.forget(payment)

    def forget(self, payment: CardPayment) -> None:
        """Remove a payment."""
        del self.all[payment.psp_ref]
        self._k.forget("payments", payment.psp_ref)
        self._k.cancel(f"settlement.{payment.psp_ref}")
        self._forgotten(payment.psp_ref)

    def start(self) -> None:
        """Repeat commands that were pending when the program stopped."""
        for payment in list(self.all.values()):
            if payment.phase in ("settling", "canceling"):
                self._command(payment, ATTEMPTS)
            elif payment.phase == "asked":
                self.cancel(payment, notify=True)
