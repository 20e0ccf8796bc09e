"""The end of a payment by itself: what the terminal and the CSMS receive, whatever either of them answers."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from v2g.errors import OcppError
from v2g.ocpp.messages.authorization import AdditionalInfo, IdToken
from v2g.ocpp.messages.availability import HeartbeatRequest
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.payment import DIRECT_PAYMENT, Address, NotifySettlementRequest, NotifySettlementResponse
from v2g.ocpp.times import format_time
from v2g_station.blocks.connection.outbox import CsmsOutbox
from v2g_station.blocks.evse import Indicate
from v2g_station.blocks.payment.settlement import CardPayment, Settlements
from v2g_station.blocks.payment.terminal import (
    CancelPayment,
    PaymentReleased,
    PaymentSettled,
    SettlePayment,
    ShowReceipt,
)
from v2g_station.kernel.kernel import Action, Answer, Keep, Kernel, Moment, StationCommand, Then
from v2g_station.kernel.layout import ConnectorLayout, EvseLayout, StationLayout, TerminalLayout

NOW_MS = 1_780_000_200_000
PSP = "psp-1"
COST = Decimal("8.04")
NO_MERCHANT = dict.fromkeys(("Id", "TaxId", "Name", "Address", "City"), "")
COMPANY = Address(name="A", address1="B", city="C", country="D")
PAYMENT = CardPayment(psp_ref=PSP, evse_id=2, amount=Decimal(50), phase="ended", known=True, transaction_id="tx")


class Desk:
    """The payments of a station, a terminal that is asked by hand, and a CSMS that answers when asked to."""

    def __init__(self, saved: Mapping[str, Mapping[str, bytes]] | None = None, *, terminal: bool = True, **values: str):
        layout = StationLayout(
            evses=(EvseLayout(connectors=(ConnectorLayout(),)),), terminal=TerminalLayout() if terminal else None
        )
        settings = {f"PaymentCtrlr.{name}": value for name, value in values.items()}
        self.saved: dict[str, dict[str, bytes]] = {name: dict(found) for name, found in (saved or {}).items()}
        self.kernel = Kernel(layout, self.saved, Moment(0.0, NOW_MS), bytes, values=settings)
        self.kernel.use(self)
        self.outbox = CsmsOutbox(self.kernel)
        self.forgotten: list[str] = []
        self.book = Settlements(self.kernel, self.outbox, self.forgotten.append)
        self._thens: list[Then] = []

    def add(self, **fields: Any) -> CardPayment:
        """A payment of a transaction that has ended."""
        return self.book.change(PAYMENT, **fields)

    def does(self) -> list[StationCommand]:
        """Carry out what is to be stored; return what terminal and display received."""
        actions: list[Action] = list(self.kernel.actions)
        self.kernel.actions.clear()
        for each in actions:
            if isinstance(each, Keep):
                assert each.durable or each.body is None
                stored = self.saved.setdefault(each.collection, {})
                if each.body is None:
                    stored.pop(each.key, None)
                else:
                    stored[each.key] = each.body
        return [each for each in actions if isinstance(each, StationCommand)]

    def wait(self, seconds: float) -> list[StationCommand]:
        """Let time pass; return what the terminal received."""
        self.kernel.at(Moment(self.kernel.now + seconds, self.kernel.utc_ms + round(seconds * 1000)))
        self.kernel.run_timers()
        return self.does()

    def told(self) -> list[NotifySettlementRequest]:
        """What the CSMS receives."""
        return [msgspec.json.decode(body, type=NotifySettlementRequest) for body in self.outbox.bodies()]

    def answer(self, message: Answer) -> list[StationCommand]:
        """Let the CSMS answer the oldest message."""
        assert self.outbox.pump()
        self._thens.pop()(message)
        return self.does()

    @property
    def over(self) -> bool:
        """Whether nothing is left of the payment, and it was said once that it is forgotten."""
        return not self.book.all and not self.saved.get("payments") and self.forgotten == [PSP]

    # -- the connection of the kernel

    def call(
        self, request: Message, then: Then | None = None, *, always: bool = False, timeout: float | None = None
    ) -> None:
        assert not always
        assert request
        assert then is not None
        self._thens.append(then)

    def notify(self, message: Message) -> None:
        raise AssertionError(message)

    def boot(self, *, triggered: bool = False) -> None:
        raise AssertionError(triggered)

    def reconnect(self) -> None:
        raise AssertionError


def received(**fields: Any) -> NotifySettlementRequest:
    """What the CSMS receives of the payment now."""
    about = {"transaction_id": "tx", "psp_ref": PSP, "settlement_time": format_time(NOW_MS)}
    return NotifySettlementRequest(**(about | fields))


def settle(**fields: Any) -> SettlePayment:
    """The command to take the cost."""
    about: dict[str, Any] = {"psp_ref": PSP, "amount": COST, "merchant": NO_MERCHANT}
    return SettlePayment(**(about | fields))


def settling(**values: str) -> Desk:
    """A station whose terminal was asked to take the cost."""
    desk = Desk(**values)
    desk.book.finish(desk.add(), COST)
    assert desk.does() == [settle()]
    return desk


def test_a_payment_pays_for_an_identifier_of_its_reference() -> None:
    """C18.FR.04; what is longer than OCPP allows is cut."""
    payment = msgspec.structs.replace(PAYMENT, details=(("CardBin", "411111"), ("PaymentBrand", "x" * 256)))
    assert payment.id_token == IdToken(
        id_token=PSP,
        type=DIRECT_PAYMENT,
        additional_info=(
            AdditionalInfo(additional_id_token="411111", type="CardBin"),
            AdditionalInfo(additional_id_token="x" * 255, type="PaymentBrand"),
        ),
    )


def test_a_new_payment_is_not_known_to_the_csms_and_costs_nothing_yet() -> None:
    new = CardPayment(psp_ref=PSP, evse_id=1, amount=Decimal(50), phase="asked")
    assert (new.known, new.cost, new.card, new.vat_number) == (False, Decimal(0), "", "")


def test_the_payments_of_a_transaction_are_found() -> None:
    desk = Desk()
    mine = desk.add()
    other = desk.add(psp_ref="psp-2", transaction_id="other")
    assert (desk.book.of("tx"), desk.book.of("other"), desk.book.of("none")) == ([mine], [other], [])


@pytest.mark.parametrize("cost", [Decimal(0), Decimal("-0.01")])
def test_what_cost_nothing_is_released_and_said(cost: Decimal) -> None:
    """C20.FR.04, .05."""
    desk = Desk(SettlementByCSMS="true")
    desk.book.finish(desk.add(cost=Decimal(3), known=False), cost)
    assert desk.does() == [CancelPayment(psp_ref=PSP)]
    assert desk.told() == []
    desk.book.released(PaymentReleased(psp_ref=PSP))
    assert desk.does() == []
    assert desk.told() == [received(status="Canceled", settlement_amount=0.0)]
    assert desk.over


def test_the_smallest_cost_is_taken() -> None:
    desk = Desk()
    desk.book.finish(desk.add(), Decimal("0.01"))
    assert desk.does() == [settle(amount=Decimal("0.01"))]


def test_what_the_csms_does_not_know_is_released_without_a_word() -> None:
    desk = Desk()
    desk.book.cancel(desk.add(), notify=False)
    assert desk.does() == [CancelPayment(psp_ref=PSP)]
    desk.book.released(PaymentReleased(psp_ref=PSP))
    desk.does()
    assert desk.told() == []
    assert desk.over


def test_where_the_csms_settles_the_driver_is_shown_where_the_receipt_will_be() -> None:
    """C21.FR.05 to .07."""
    desk = Desk(SettlementByCSMS="true", ReceiptServerUrl="https://r.example")
    desk.book.finish(desk.add(), COST)
    assert desk.does() == [ShowReceipt(evse_id=2, url="https://r.example")]
    assert desk.told() == []
    assert desk.over
    desk = Desk(SettlementByCSMS="true")
    desk.book.finish(desk.add(), None)
    assert desk.does() == []
    assert desk.told() == []
    assert desk.over


def test_an_unknown_cost_is_not_taken() -> None:
    desk = Desk()
    desk.book.finish(desk.add(), None)
    assert desk.does() == []
    info = "the total cost is unknown"
    assert desk.told() == [received(status="Failed", status_info=info, settlement_amount=0.0)]
    assert desk.over


def test_the_terminal_learns_for_whose_receipt() -> None:
    """C18.FR.08, C21.FR.01."""
    merchant = {"Id": "1", "TaxId": "2", "Name": "3", "Address": "4", "City": "5"}
    desk = Desk(**{f"Merchant[{name}]": value for name, value in merchant.items()})
    desk.book.finish(desk.add(vat_number="DE1", vat_company=COMPANY), COST)
    assert desk.does() == [settle(merchant=merchant, vat_number="DE1", vat_company=COMPANY)]
    desk.book.settled(PaymentSettled(psp_ref=PSP, status="Settled"))
    assert desk.told() == [
        received(status="Settled", settlement_amount=8.04, vat_number="DE1", vat_company=COMPANY),
    ]


def test_what_was_settled_is_said_and_its_receipt_shown() -> None:
    """C21.FR.02, .04."""
    desk = settling()
    desk.book.settled(PaymentSettled(psp_ref=PSP, status="Settled", receipt_id="R1", receipt_url="https://t.example"))
    assert desk.does() == [ShowReceipt(evse_id=2, url="https://t.example", receipt_id="R1")]
    assert desk.told() == [
        received(status="Settled", settlement_amount=8.04, receipt_id="R1", receipt_url="https://t.example")
    ]
    assert desk.over
    assert desk.wait(1000) == [], "no command is repeated"
    assert desk.answer(NotifySettlementResponse(receipt_id="C1")) == []


def test_what_the_card_was_charged_is_said_where_that_is_not_the_cost() -> None:
    """C21.FR.02: a terminal takes at most what was reserved, in units that can be paid."""
    desk = settling()
    desk.book.settled(PaymentSettled(psp_ref=PSP, status="Settled", amount=Decimal("8.00")))
    assert desk.told() == [received(status="Settled", settlement_amount=8.0)]


def test_texts_that_are_too_long_for_the_csms_are_cut_and_a_terminal_without_receipt_shows_none() -> None:
    desk = settling()
    desk.book.settled(
        PaymentSettled(psp_ref=PSP, status="Settled", info="i" * 501, receipt_id="r" * 51, receipt_url="u" * 2001)
    )
    (told,) = desk.told()
    assert (told.status_info, told.receipt_id, told.receipt_url) == ("i" * 500, "r" * 50, "u" * 2000)
    desk = settling()
    desk.book.settled(PaymentSettled(psp_ref=PSP, status="Settled"))
    assert desk.does() == []
    assert desk.told() == [received(status="Settled", settlement_amount=8.04)]


def test_a_receipt_of_the_csms_is_shown_at_the_evse_of_the_payment() -> None:
    """C21.FR.03: the terminal's own is neither said nor shown."""
    desk = settling(ReceiptByCSMS="true")
    desk.book.settled(
        PaymentSettled(psp_ref=PSP, status="Settled", info="i", receipt_id="R1", receipt_url="https://t.example")
    )
    assert desk.does() == []
    assert desk.told() == [received(status="Settled", status_info="i", settlement_amount=8.04)]
    shown = desk.answer(NotifySettlementResponse(receipt_url="https://c.example", receipt_id="C1"))
    assert shown == [ShowReceipt(evse_id=2, url="https://c.example", receipt_id="C1")]


def test_a_receipt_without_a_number_or_of_an_earlier_program_is_shown_as_well() -> None:
    desk = settling(ReceiptByCSMS="true")
    desk.book.settled(PaymentSettled(psp_ref=PSP, status="Settled"))
    desk.does()
    again = Desk(desk.saved)
    shown = again.answer(NotifySettlementResponse(receipt_url="https://c.example"))
    assert shown == [ShowReceipt(evse_id=None, url="https://c.example", receipt_id="")]


def test_a_csms_that_refuses_the_message_shows_no_receipt() -> None:
    desk = settling(ReceiptByCSMS="true")
    desk.book.settled(PaymentSettled(psp_ref=PSP, status="Settled"))
    desk.does()
    assert desk.answer(OcppError("no", answer="NotSupported")) == []
    assert desk.told() == []


def test_answers_to_other_messages_show_no_receipt() -> None:
    desk = Desk()
    desk.outbox.add(HeartbeatRequest())
    assert desk.answer(NotifySettlementResponse(receipt_url="https://c.example")) == []


@pytest.mark.parametrize("status", ["Rejected", "Failed"])
def test_what_could_not_be_settled_is_said_with_its_reason(status: Any) -> None:
    """C22.FR.01, .02; whose VAT number it would have been matters no more."""
    desk = Desk(ReceiptByCSMS="true")
    desk.book.finish(desk.add(vat_number="DE1", vat_company=COMPANY), COST)
    desk.does()
    desk.book.settled(PaymentSettled(psp_ref=PSP, status=status, info="no money"))
    assert desk.does() == [Indicate(evse_id=2, word="payment_failed")]
    assert desk.told() == [received(status=status, status_info="no money", settlement_amount=8.04)]
    assert desk.over


def test_a_terminal_that_does_not_answer_gets_the_command_three_times() -> None:
    desk = settling()
    for _ in range(2):
        assert desk.wait(119) == []
        assert desk.wait(1) == [settle()]
    assert desk.told() == []
    desk.wait(120)
    later = format_time(NOW_MS + 360_000)
    info = "the payment terminal does not answer"
    assert desk.told() == [received(status="Failed", status_info=info, settlement_amount=8.04, settlement_time=later)]
    assert desk.over
    desk.book.settled(PaymentSettled(psp_ref=PSP, status="Settled"))
    assert len(desk.told()) == 1


def test_a_terminal_that_is_not_connected_is_waited_for_for_a_day() -> None:
    """It takes the money when it is back, so nothing has failed before."""
    desk = settling()
    desk.kernel.put("PaymentCtrlr.Connected", "false")
    for _ in range(30):
        assert desk.wait(120) == [settle()]
    desk.kernel.put("PaymentCtrlr.Connected", "true")
    assert desk.wait(120) == [settle()]
    desk.kernel.put("PaymentCtrlr.Connected", "false")
    desk.wait(120)
    desk.book.settled(PaymentSettled(psp_ref=PSP, status="Settled"))
    assert [each.status for each in desk.told()] == ["Settled"]
    desk = settling()
    desk.kernel.put("PaymentCtrlr.Connected", "false")
    for _ in range(722):
        assert desk.wait(120) == [settle()]
    assert desk.wait(120) == []
    assert [each.status for each in desk.told()] == ["Failed"]
    assert desk.over


@pytest.mark.parametrize("known", [True, False])
def test_what_could_not_be_released_is_said_of_what_the_csms_knows(known: bool) -> None:
    desk = Desk()
    desk.book.cancel(desk.add(), notify=known)
    assert desk.does() == [CancelPayment(psp_ref=PSP)]
    for _ in range(2):
        desk.book.released(PaymentReleased(psp_ref=PSP, done=False))
        assert desk.wait(120) == [CancelPayment(psp_ref=PSP)]
    actions = desk.kernel.actions
    desk.kernel.at(Moment(360.0, NOW_MS + 360_000))
    desk.kernel.run_timers()
    (noted,) = [each for each in actions if getattr(each, "name", "") == "terminal_gave_up"]
    assert noted.data == {"psp_ref": PSP, "phase": "canceling"}  # type: ignore[union-attr]
    desk.does()
    info = "the payment terminal could not release the amount"
    assert [(each.status, each.status_info) for each in desk.told()] == ([("Failed", info)] if known else [])
    assert desk.over


def test_answers_that_nobody_asked_for_change_nothing() -> None:
    desk = settling()
    desk.book.released(PaymentReleased(psp_ref=PSP))
    desk.book.released(PaymentReleased(psp_ref="other"))
    desk.book.settled(PaymentSettled(psp_ref="other", status="Settled"))
    assert (desk.told(), desk.forgotten) == ([], [])
    desk = Desk()
    desk.book.cancel(desk.add(), notify=True)
    desk.book.settled(PaymentSettled(psp_ref=PSP, status="Settled"))
    assert (desk.told(), desk.forgotten) == ([], [])


def test_a_restart_repeats_what_was_under_way_and_releases_what_the_csms_was_still_asked_for() -> None:
    desk = Desk()
    for number, phase in enumerate(("asked", "authorized", "ended", "settling", "canceling"), 1):
        desk.add(psp_ref=f"p{number}", phase=phase, cost=COST, known=False)
    desk.does()
    again = Desk(desk.saved)
    again.book.start()
    assert again.does() == [
        CancelPayment(psp_ref="p1"),
        settle(psp_ref="p4"),
        CancelPayment(psp_ref="p5"),
    ]
    assert again.wait(120) == [CancelPayment(psp_ref="p1"), settle(psp_ref="p4"), CancelPayment(psp_ref="p5")]
    again.wait(120)
    again.wait(120)
    assert {each.psp_ref: each.status for each in again.told()} == {"p1": "Failed", "p4": "Failed"}
    assert list(again.book.all) == ["p2", "p3"]


def test_a_terminal_that_is_no_longer_in_the_device_model_still_ends_its_payments() -> None:
    desk = Desk(terminal=False)
    desk.book.finish(desk.add(), COST)
    assert desk.does() == [settle()]


def test_messages_wait_behind_those_of_their_transaction() -> None:
    desk = Desk()
    desk.book.finish(desk.add(), None)
    desk.book.finish(desk.add(psp_ref="psp-2", transaction_id=None), None)
    assert desk.outbox.waiting() == {"tx": 1, "psp-2": 1}
