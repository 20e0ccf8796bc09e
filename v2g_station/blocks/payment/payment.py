"""Payments at the station's terminal: from the card to the end of the transaction (C18 to C23, 2.1).

The provider's reference of a payment is the identifier of its transaction, the reserved amount the transaction's limit.
"""

from decimal import Decimal
from functools import partial
from typing import Final

import msgspec

from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.payment import Address, VatNumberValidationRequest, VatNumberValidationResponse
from v2g.ocpp.messages.transactions import TransactionEventRequest, TransactionEventResponse, TransactionLimit
from v2g.units import payable
from v2g_station.blocks.authorization.authorization import Authorizer
from v2g_station.blocks.cost.local_cost import LocalCosts
from v2g_station.blocks.evse import Evse, Indicate, NoticeWord, TokenVerdict
from v2g_station.blocks.payment import terminal
from v2g_station.blocks.payment.settlement import ANSWER_S, CardPayment, Settlements
from v2g_station.blocks.transaction_limits import TransactionLimits
from v2g_station.blocks.transactions.sessions import FunctionalBlock, Shared
from v2g_station.blocks.web_payment import WebPayments
from v2g_station.kernel.kernel import Answer

VAT_S: Final = 60.0
"""How long a VAT number is stored without a payment."""


class Vat(msgspec.Struct, frozen=True):
    """A VAT number validated by the CSMS, and its holder."""

    number: str
    company: Address | None


class CardPayments(FunctionalBlock):
    """All payments at the terminal of one station."""

    def __init__(
        self,
        shared: Shared,
        authorizer: Authorizer,
        web_payments: WebPayments,
        limits: TransactionLimits,
        local_costs: LocalCosts,
    ) -> None:
        super().__init__(shared)
        self._authorizer = authorizer
        self._web_payments = web_payments
        self._limits = limits
        self._book = Settlements(self._k, self._outbox, self._forgotten)
        self._reading: dict[int, Decimal] = {}
        """EVSEs (0: any) whose card reader is active -> the amount to reserve."""
        self._increases: dict[str, Decimal] = {}
        """Payments with a pending increase -> the requested total."""
        self._declined: set[str] = set()
        self._costs: dict[str, Decimal] = {}
        self._vat: dict[int, Vat] = {}
        self._sessions.on_change(lambda _: self._follow())
        authorizer.on_floating(self._follow)
        limits.on_cost(self.cost)
        local_costs.on_cost(self.cost)
        self._outbox.on_queued(self._queued)
        self._outbox.on_answer(self._answered)

    @property
    def _enabled(self) -> bool:
        model = self._k.model
        return self._k.version == "2.1" and model.has("PaymentCtrlr.Enabled") and model.flag("PaymentCtrlr.Enabled")

    def _show(self, evse_id: int | None, word: NoticeWord) -> None:
        self._k.do(Indicate(evse_id=evse_id, word=word))

    # -- facts from the terminal

    def take(self, fact: object) -> bool:
        """Handle a fact if it is the terminal's; return whether it was."""
        match fact:
            case terminal.CardPresented():
                self._presented(fact)
            case terminal.CardAuthorized():
                self._authorized(fact)
            case terminal.CardRefused():
                self._not_read(fact.evse_id)
            case terminal.AuthorizationIncreased():
                self._increased(fact)
            case terminal.PaymentSettled():
                self._book.settled(fact)
            case terminal.PaymentReleased():
                self._book.released(fact)
            case terminal.VatEntered():
                self._vat_entered(fact)
            case terminal.TerminalState():
                self._k.put("PaymentCtrlr.Connected", str(fact.connected).lower())
                self._k.put("PaymentCtrlr.Problem", str(fact.problem).lower())
            case _:
                return False
        return True

    def _presented(self, fact: terminal.CardPresented) -> None:
        """Request the card's authorization, unless the card ends its own transaction (C18.FR.01, .02)."""
        mine = [p for p in self._book.all.values() if fact.card and p.card == fact.card and _open(p)]
        running = next((p for p in mine if fact.evse_id in (None, p.evse_id)), None)
        if running is not None:
            if running.phase == "asked":  # C19, C20: the driver ends the wait for the CSMS, or the charging
                self._book.cancel(running, notify=True)
            else:
                self._authorizer.let_go(running.id_token)
            return
        if not self._can_begin(fact.evse_id):
            self._show(fact.evse_id, "rejected")
            return
        if (fact.evse_id or 0) in self._reading:
            return
        amount = self._number("AuthorizationAmount") or Decimal(0)
        self._reading[fact.evse_id or 0] = amount
        self._k.after(f"payment.card.{fact.evse_id or 0}", ANSWER_S, partial(self._not_read, fact.evse_id))
        self._k.do(terminal.AuthorizeCard(evse_id=fact.evse_id, card=fact.card, amount=amount))

    def _can_begin(self, evse_id: int | None) -> bool:
        model = self._k.model
        if not self._enabled or model.flag("PaymentCtrlr.Problem"):
            return False
        if self._k.registration != "Accepted" and not model.flag("TxCtrlr.TxBeforeAcceptedEnabled"):
            return False
        if model.flag("PaymentCtrlr.AuthorizeDirectPayment") and not self._k.online:
            return False  # the authorization could not be confirmed
        chosen = [evse for evse in self._evses.values() if evse_id in (None, evse.number)]
        return any(
            evse.asking is None
            and self._web_payments.may_begin(evse)
            and not (evse.record is not None and bool(self._book.of(evse.record.transaction_id)))
            for evse in chosen
        )

    def _amount_of(self, evse_id: int | None) -> Decimal | None:
        self._k.cancel(f"payment.card.{evse_id or 0}")
        return self._reading.pop(evse_id or 0, None)

    def _not_read(self, evse_id: int | None) -> None:
        self._amount_of(evse_id)
        self._show(evse_id, "rejected")

    def _authorized(self, fact: terminal.CardAuthorized) -> None:
        """Authorize the driver once the money is reserved, or ask the CSMS (C18.FR.03, .04)."""
        if fact.psp_ref in self._book.all:
            return
        amount = self._amount_of(fact.evse_id)
        wanted = self._k.model.members("PaymentCtrlr.PaymentDetails") if self._enabled else ()
        vat = self._vat.pop(fact.evse_id or 0, None)
        payment = self._book.change(
            CardPayment(
                psp_ref=fact.psp_ref,
                evse_id=fact.evse_id,
                amount=amount or Decimal(0),
                card=fact.card,
                details=tuple((name, value) for name, value in fact.details if name in wanted and name != "PspRef"),
                phase="authorized",
                vat_number=vat.number if vat else "",
                vat_company=vat.company if vat else None,
            )
        )
        if amount is None:  # no longer expected
            self._book.cancel(payment, notify=False)
        elif self._k.model.flag("PaymentCtrlr.AuthorizeDirectPayment"):
            payment = self._book.change(payment, phase="asked")
            self._authorizer.ask(payment.id_token, partial(self._decided, payment.psp_ref))
        else:
            self._admit(payment, TokenVerdict(accepted=True))

    def _decided(self, psp_ref: str, verdict: TokenVerdict) -> None:
        """Handle the CSMS's authorization of the driver (C18.FR.05, .07)."""
        payment = self._book.all.get(psp_ref)
        if payment is not None and payment.phase == "asked":
            self._admit(self._book.change(payment, phase="authorized", known=verdict.accepted), verdict)

    def _admit(self, payment: CardPayment, verdict: TokenVerdict) -> None:
        limit = TransactionLimit(max_cost=float(payment.amount))  # C18.FR.06
        self._authorizer.admit(payment.evse_id, payment.id_token, msgspec.structs.replace(verdict, limit=limit))
        self._follow()

    def _increased(self, fact: terminal.AuthorizationIncreased) -> None:
        """Raise the cost limit of the transaction with the reserved amount (C23.FR.02)."""
        payment, amount = self._book.all.get(fact.psp_ref), self._increases.pop(fact.psp_ref, None)
        self._k.cancel(f"payment.more.{fact.psp_ref}")
        if payment is None or amount is None or payment.transaction_id is None or payment.phase != "authorized":
            return
        if not fact.approved:
            self._declined.add(payment.psp_ref)
            return
        payment = self._book.change(payment, amount=amount)
        evse = self._sessions.find(payment.transaction_id or "")
        if evse is not None:
            self._limits.extend(evse, float(amount))
            self._check_cost(evse, payment)

    # -- running cost

    def cost(self, evse: Evse, total: float) -> None:
        """Handle the running cost of a transaction: increase the reservation before it is used up (C23.FR.01)."""
        for payment in self._book.of(evse.record.transaction_id)[:1] if evse.record is not None else []:
            self._costs[payment.psp_ref] = Decimal(str(total))
            self._check_cost(evse, payment)

    def _check_cost(self, evse: Evse, payment: CardPayment) -> None:
        more, threshold = map(self._number, ("IncrementalAuthorizationAmount", "IncrementalAuthorizationThreshold"))
        asked = payment.psp_ref in self._increases or payment.psp_ref in self._declined
        if not more or asked or payment.phase != "authorized":
            return
        if threshold is None:
            threshold = payment.amount / 5  # our default
        if self._costs.get(payment.psp_ref, Decimal(0)) > payment.amount - threshold:
            self._increases[payment.psp_ref] = payment.amount + more
            self._k.after(f"payment.more.{payment.psp_ref}", 0, partial(self._ask_for_more, payment.psp_ref))

    def _ask_for_more(self, psp_ref: str) -> None:
        """Request a higher reservation, unless the cost was final."""
        payment, amount = self._book.all.get(psp_ref), self._increases.get(psp_ref)
        if payment is None or amount is None or payment.phase != "authorized":
            self._increases.pop(psp_ref, None)
            return
        self._k.after(f"payment.more.{psp_ref}", ANSWER_S, lambda: self._increases.pop(psp_ref, None))
        self._k.do(terminal.IncreaseAuthorization(psp_ref=psp_ref, amount=amount))

    def _number(self, name: str) -> Decimal | None:
        text = self._k.model.text(f"PaymentCtrlr.{name}") if self._k.model.has(f"PaymentCtrlr.{name}") else ""
        return Decimal(text) if text else None

    # -- transactions

    def _forgotten(self, psp_ref: str) -> None:
        self._costs.pop(psp_ref, None)
        self._increases.pop(psp_ref, None)
        self._declined.discard(psp_ref)

    def _follow(self) -> None:
        """Link payments with their transactions, and end those without an authorization (C19.FR.01)."""
        for payment in [p for p in self._book.all.values() if p.phase == "authorized" and p.transaction_id is None]:
            evse = self._authorizer.holder(payment.id_token)
            if evse is not None and evse.record is not None:
                self._book.change(payment, transaction_id=evse.record.transaction_id, evse_id=evse.number, known=True)
            elif evse is None and not self._authorizer.awaits(payment.id_token):
                self._book.cancel(payment, notify=payment.known)  # C19.FR.02

    def _queued(self, request: Message) -> None:
        """Handle the end of a transaction: its cost is in the event, or will be in the response (C21)."""
        if not isinstance(request, TransactionEventRequest) or request.event_type != "Ended":
            return
        found = self._book.of(request.transaction_info.transaction_id)
        for other in found[1:]:  # only one pays
            self._book.cancel(other, notify=True)
        for payment in found[:1]:
            ended = self._book.change(payment, phase="ended")
            details = request.cost_details
            if details is not None and not details.failure_to_calculate:
                total = details.total_cost.total
                cost = total.excl_tax if total.incl_tax is None else total.incl_tax
                self._book.finish(ended, payable(Decimal(str(cost)), details.total_cost.currency))

    def _answered(self, request: Message, answer: Answer) -> None:
        if isinstance(request, TransactionEventRequest) and request.event_type == "Ended":
            csms_total = answer.total_cost if isinstance(answer, TransactionEventResponse) else None
            for payment in self._book.of(request.transaction_info.transaction_id):
                if payment.phase == "ended":
                    cost = self._costs.get(payment.psp_ref) if csms_total is None else Decimal(str(csms_total))
                    self._book.finish(payment, cost)

    # -- VAT numbers

    def _vat_entered(self, fact: terminal.VatEntered) -> None:
        """Have a VAT number validated before it appears on a receipt (C18.FR.08)."""
        number = fact.number.strip()
        if not self._enabled or fact.evse_id not in self._evses or not 0 < len(number) <= 20:
            self._show(fact.evse_id, "vat_rejected")
            return
        payment = self._paying_at(fact.evse_id)

        def answered(answer: Answer) -> None:
            if not isinstance(answer, VatNumberValidationResponse):
                self._show(fact.evse_id, "vat_unknown")
            elif answer.status == "Accepted":
                self._vat_found(fact.evse_id, payment, Vat(number, answer.company))
                self._show(fact.evse_id, "vat_accepted")
            else:
                self._show(fact.evse_id, "vat_rejected")

        self._k.call(VatNumberValidationRequest(vat_number=number, evse_id=fact.evse_id), answered)

    def _paying_at(self, evse_id: int) -> CardPayment | None:
        """Return the payment at an EVSE that is not yet settled."""
        found = (p for p in self._book.all.values() if p.evse_id == evse_id and (_open(p) or p.phase == "ended"))
        return next(found, None)

    def _vat_found(self, evse_id: int, asked: CardPayment | None, vat: Vat) -> None:
        """Store a VAT number for the payment for which it was entered, or for the next one there."""
        payment = self._paying_at(evse_id)
        if payment is not None and (asked is None or asked.psp_ref == payment.psp_ref):
            self._book.change(payment, vat_number=vat.number, vat_company=vat.company)
        elif asked is None:
            self._vat[evse_id] = vat
            self._k.after(f"payment.vat.{evse_id}", VAT_S, lambda: self._vat.pop(evse_id, None))

    # -- after a restart

    def start(self) -> None:
        """Finish payments that were open when the program stopped, after transactions have been restored."""
        self._book.start()
        for payment in list(self._book.all.values()):
            lost = payment.phase == "authorized" and payment.transaction_id is not None
            if lost and self._sessions.find(payment.transaction_id or "") is None:
                self._book.finish(payment, None)  # its record could not be read
        self._follow()


def _open(payment: CardPayment) -> bool:
    """Return whether the payment's driver charges, or will."""
    return payment.phase in ("asked", "authorized")
