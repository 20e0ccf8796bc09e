"""A payment at a ZVT terminal as station and back end see it (C18 to C21), from the card to the settlement."""

import itertools
from decimal import Decimal
from typing import Any

import pytest

from tests.hardware.zvt.zvt import Pair
from tests.station.bench import FIXED, Bench
from tests.station.blocks.transactions.managed_payment import end
from tests.station.blocks.transactions.managed_resumption import begin
from v2g.hardware.zvt import commands as zvt
from v2g.hardware.zvt.terminal_sim import Card
from v2g.hardware.zvt.till import JobEnded, ReadCard, ReleaseJob, ReserveJob, Settle, TillJob
from v2g.iso15118.engine.session import Fact
from v2g_station.blocks.payment.terminal import (
    AuthorizationIncreased,
    AuthorizeCard,
    CancelPayment,
    CardAuthorized,
    CardRefused,
    IncreaseAuthorization,
    PaymentReleased,
    PaymentSettled,
    SettlePayment,
)
from v2g_station.device.terminal_translation import DETAILS, TerminalTranslator
from v2g_station.kernel.layout import TerminalLayout

CARD = Card(last4="4771", name="Visa")


def desk(**more: Any) -> TerminalTranslator:
    return TerminalTranslator(**{"evse_id": None, "digits": 2, "secret": b"secret"} | more)


class Site:
    """A charger with one EVSE, its terminal over a wire, and the CSMS that knows the cost."""

    def __init__(self, cost: float) -> None:
        variables = {"PaymentCtrlr.PaymentDetails": ",".join(DETAILS), "PaymentCtrlr.AuthorizationAmount": "50"}
        self.station = Bench(
            "2.1", evses=(FIXED,), managed=True, terminal=TerminalLayout(details=DETAILS), variables=variables
        )
        self.station.answers["TransactionEvent"] = lambda event: (
            {"totalCost": cost} if event["eventType"] == "Ended" else {}
        )
        self.pair, self.desk, self.done, self.reported = Pair(), desk(), 0, 0
        self.work()

    def work(self) -> None:
        """Let station and terminal do what they want of each other, and the terminal wait for a card."""
        while True:
            if self.done < len(self.station.commands):
                found = self.desk.job(self.station.commands[self.done])
                self.done += 1
                if isinstance(found, TillJob):
                    self.pair.do(found)
                elif found is not None:
                    self.station.fact(found)
            elif self.reported < len(self.pair.events):
                self.reported += 1
                for fact in list(self.desk.facts(self.pair.events[self.reported - 1], self.station.utc_ms)):
                    self.station.fact(fact)
            elif self.pair.till.idle:
                self.pair.do(ReadCard())
            else:
                return

    def hold(self, card: Card) -> None:
        """Somebody holds a card there."""
        self.pair.terminal.present(card)
        self.pair.pump()
        self.work()


def test_from_the_card_to_the_settlement() -> None:
    site = Site(cost=12.34)
    site.hold(CARD)  # it is read
    site.hold(CARD)  # and 50 euros are reserved on it
    begin(site.station, "a", emaid="")
    token = site.station.expect("TransactionEvent", eventType="Started")["idToken"]
    reported = {each["type"]: each["additionalIdToken"] for each in token["additionalInfo"]}
    assert token["type"] == "DirectPayment"
    assert reported == {
        "SessionRef": "000001", "PaymentBrand": "Visa", "ReadingMethod": "Contactless", "CardLast4Digits": "4771",
        "CardExpiryDate": "2030/12",
    }  # fmt: skip
    end(site.station)
    site.work()
    settled = site.station.expect("NotifySettlement", pspRef=token["idToken"], status="Settled")
    assert (settled["settlementAmount"], settled["receiptId"]) == (12.34, "0001")
    assert [(each.state, each.taken) for each in site.pair.terminal.payments.values()] == [("taken", 1_234)]


@pytest.mark.parametrize(
    ("cost", "taken", "state"), [(12.345678, 1_235, "taken"), (52.1, 5_000, "taken"), (0.004, 0, "released")]
)
def test_what_is_settled_is_what_the_card_was_charged(cost: float, taken: int, state: str) -> None:
    site = Site(cost=cost)
    site.hold(CARD)
    site.hold(CARD)
    begin(site.station, "a", emaid="")
    end(site.station)
    site.work()
    assert site.station.expect("NotifySettlement", status="Settled")["settlementAmount"] == taken / 100
    assert [(each.state, each.taken) for each in site.pair.terminal.payments.values()] == [(state, taken)]


def test_the_same_card_again_gives_the_money_back_and_another_one_does_not() -> None:
    site = Site(cost=12.34)
    site.hold(CARD)
    site.hold(CARD)
    site.hold(Card(last4="0000"))
    assert site.pair.terminal.payments["0001"].state == "reserved"
    site.hold(CARD)
    assert site.pair.terminal.payments["0001"].state == "released"


def test_a_terminal_that_cannot_be_reached_lets_nobody_begin() -> None:
    site = Site(cost=1.0)
    assert site.station.get("PaymentCtrlr", "Connected")["attributeValue"] == "true"
    site.pair.cut()
    site.pair.events.append(JobEnded(job=site.pair.events[0].job, done=False))
    site.work()
    assert site.station.get("PaymentCtrlr", "Connected")["attributeValue"] == "false"
    assert site.station.get("PaymentCtrlr", "Problem")["attributeValue"] == "true"


def test_a_terminal_that_does_not_reach_its_provider_takes_the_money_later() -> None:
    site = Site(cost=12.34)
    site.hold(CARD)
    site.hold(CARD)
    begin(site.station, "a", emaid="")
    site.pair.terminal.offline = True
    end(site.station)
    site.work()
    for _ in range(10):
        site.station.wait(120)
        site.work()
    assert site.station.get("PaymentCtrlr", "Connected")["attributeValue"] == "false"
    site.pair.terminal.offline = False
    site.station.wait(120)
    site.work()
    assert site.station.get("PaymentCtrlr", "Connected")["attributeValue"] == "true"
    assert site.station.expect("NotifySettlement")["status"] == "Settled"
    assert [(each.state, each.taken) for each in site.pair.terminal.payments.values()] == [("taken", 1_234)]


# -- words


def reserved(found: TerminalTranslator, fields: dict[int, bytes], *, done: bool = True) -> Fact:
    job = found.job(AuthorizeCard(evse_id=2, card="c", amount=Decimal("49.995")))
    assert job == ReserveJob(5_000)
    (fact,) = found.facts(JobEnded(job=job, done=done, fields=fields, code=0x05), 17)  # type: ignore[arg-type]
    return fact


def test_a_reference_holds_what_ends_the_payment_also_after_a_restart() -> None:
    fields = {zvt.RECEIPT: b"\x04\x70", zvt.TERMINAL_ID: bytes.fromhex("28004869")}
    fact = reserved(desk(), fields)
    assert fact == CardAuthorized(evse_id=2, psp_ref="28004869-0470-5000-17", card="c", details=())
    again = desk()
    settle = again.job(SettlePayment(psp_ref=fact.psp_ref, amount=Decimal("12.34")))
    assert settle == Settle("0470", 5_000, 1_234)
    (reported,) = again.facts(JobEnded(job=settle, done=True), 0)
    assert reported == PaymentSettled(
        psp_ref=fact.psp_ref, status="Settled", amount=Decimal("12.34"), receipt_id="0470"
    )
    assert again.job(CancelPayment(psp_ref=fact.psp_ref)) == ReleaseJob("0470")
    (reported,) = again.facts(JobEnded(job=ReleaseJob("0470"), done=True), 0)
    assert reported == PaymentReleased(psp_ref=fact.psp_ref)


@pytest.mark.parametrize(("code", "status"), [(0x6C, "Rejected"), (None, "Failed")])
def test_a_settlement_that_did_not_come_about_says_why(code: int | None, status: str) -> None:
    found = desk()
    job = found.job(SettlePayment(psp_ref="28004869-0470-5000-17", amount=Decimal(60)))
    assert job == Settle("0470", 5_000, 5_000), "never more than was reserved"
    (reported,) = found.facts(JobEnded(job=job, done=False, code=code), 0)  # type: ignore[arg-type]
    assert isinstance(reported, PaymentSettled)
    assert reported.status == status
    assert reported.info


def test_what_no_terminal_can_do_is_said_at_once() -> None:
    found = desk()
    assert found.job(SettlePayment(psp_ref="psp-1", amount=Decimal(1))) == PaymentSettled(
        psp_ref="psp-1", status="Failed", info="unknown payment"
    )
    assert found.job(CancelPayment(psp_ref="psp-1")) == PaymentReleased(psp_ref="psp-1", done=False)
    assert found.job(IncreaseAuthorization(psp_ref="psp-1", amount=Decimal(1))) == AuthorizationIncreased(
        psp_ref="psp-1", approved=False
    )
    assert reserved(found, {}) == CardRefused(evse_id=2, reason="result code 05"), "nothing could end it"


def test_cards_are_told_apart_without_their_numbers() -> None:
    found, fields = desk(), {zvt.PAN: bytes.fromhex("eeeeeeeeeeee4771"), zvt.EXPIRY: b"\x30\x12"}

    def seen(**more: bytes) -> str:
        changed = {**fields, **{getattr(zvt, name): value for name, value in more.items()}}
        (fact,) = found.facts(JobEnded(job=ReadCard(), done=True, fields=changed), 0)
        return fact.card  # type: ignore[attr-defined,no-any-return]

    several = [seen(), seen(EXPIRY=b"\x31\x01"), seen(PAN=b"\x47" * 8), seen(CARD_NAME=b"Visa\0")]
    assert all(one != other for one, other in itertools.combinations(several, 2))
    assert seen() == several[0]
    assert "4771" not in several[0]
    (fact,) = found.facts(JobEnded(job=ReadCard(), done=True, fields={}), 0)
    assert fact.card == ""  # type: ignore[attr-defined]
