"""An integrated payment terminal (C18 to C23) at our station."""

from decimal import Decimal
from typing import Any

import pytest

from tests.station.bench import Bench, at
from tests.station.tariffs import charge, tariff, total
from tests.station.till import PAID, PSP, Till
from v2g.ocpp.messages.transactions import TransactionLimit
from v2g_station.blocks.evse import StopButton
from v2g_station.blocks.payment.terminal import CardPresented, SettlePayment, ShowReceipt, TerminalState, VatEntered
from v2g_station.blocks.transaction_limits import DriverLimit
from v2g_station.kernel.kernel import StationCommand
from v2g_station.simulator.terminal import TerminalFaults

ASKING = {"PaymentCtrlr.AuthorizeDirectPayment": "true"}


def reported(found: Bench, kind: type[StationCommand]) -> list[Any]:
    """Return the commands of a kind."""
    return [command for command in found.commands if isinstance(command, kind)]


def charging(till: Till, **more: Any) -> Bench:
    """Somebody has paid and charges."""
    found = till.open(**more)
    found.plug()
    till.present(found)
    found.flow(wh=1000)
    return found


def end(till: Till, found: Bench) -> dict[str, Any]:
    """The driver ends; return the event."""
    found.fact(StopButton(evse_id=1))
    till.serve(found)
    return found.expect("TransactionEvent", eventType="Ended", triggerReason="StopAuthorized")


def test_the_csms_rejects() -> None:
    till = Till()
    found = till.open(variables=ASKING)
    found.answers["Authorize"] = {"idTokenInfo": {"status": "Invalid"}}
    found.plug()
    till.present(found)
    found.expect("Authorize", idToken=PAID)
    found.nothing("TransactionEvent")
    found.nothing("NotifySettlement")
    assert not found.allowed()
    assert till.state() == "released"


@pytest.mark.parametrize("first", [True, False])
def test_vat_number(first: bool) -> None:
    company = {"name": "ACME", "address1": "Road 1", "city": "Arnhem", "country": "NL"}
    till = Till(cost=12.5)
    found = till.open()
    found.answers["VatNumberValidation"] = lambda request: {
        "vatNumber": request["vatNumber"], "evseId": request["evseId"],
        "status": "Accepted" if request["vatNumber"].startswith("NL") else "Rejected", "company": company,
    }  # fmt: skip
    if first:
        found.fact(VatEntered(evse_id=1, number="NL123456789B01"))
    found.plug()
    till.present(found)
    if not first:
        found.fact(VatEntered(evse_id=1, number=" NL123456789B01 "))
    found.expect("VatNumberValidation", vatNumber="NL123456789B01", evseId=1)
    assert "vat_accepted" in found.shown()
    found.fact(VatEntered(evse_id=1, number="12"))
    assert found.shown()[-1] == "vat_rejected"
    found.flow()
    end(till, found)
    settled = found.expect("NotifySettlement", status="Settled", vatNumber="NL123456789B01")
    assert settled["vatCompany"] == company
    assert reported(found, SettlePayment)[0].vat_company.name == "ACME"


def test_nobody_plugs_in() -> None:
    till = Till()
    found = till.open()
    till.present(found)
    found.wait(121)
    till.serve(found)
    assert till.state() == "released"
    found.nothing("TransactionEvent")
    found.nothing("NotifySettlement")
    found.plug()
    assert not found.allowed()


@pytest.mark.parametrize("evse_id", [1, None])
def test_canceled_where_the_csms_had_authorized(evse_id: int | None) -> None:
    till = Till()
    found = till.open(variables=ASKING)
    till.present(found, evse_id)
    found.expect("Authorize")
    till.present(found, evse_id)  # the same card again
    assert till.state() == "released"
    settled = found.expect("NotifySettlement", pspRef=PSP, status="Canceled", settlementAmount=0.0)
    assert "transactionId" not in settled
    assert settled["settlementTime"] == at(found.utc_ms)
    found.plug()
    assert not found.allowed()


def test_a_payment_at_a_common_terminal_waits_for_a_plug() -> None:
    """E03."""
    till = Till()
    found = till.open(variables={"TxCtrlr.EVConnectionTimeOut": "60"})
    till.present(found, None)
    assert (till.state(), found.shown()[-1]) == ("reserved", "plug_in")
    till.present(found, None)  # the same card again
    assert till.state() == "released"
    found.wait(120)
    assert "timeout" not in found.shown()
    till.present(found, None, card="B")
    found.plug(2)
    assert found.allowed(2)


def test_a_payment_that_waits_for_a_plug_gives_way_to_the_next_driver() -> None:
    till = Till()
    found = till.open()
    till.present(found, None)
    found.present("TAG-1", None)
    till.serve(found)
    assert till.state() == "released"


def test_a_payment_of_the_master_pass_waits_for_no_plug() -> None:
    """C16.FR.03."""
    till = Till()
    found = till.open(variables=ASKING | {"AuthCtrlr.MasterPassGroupId": "GROUP-1"})
    group = {"idToken": "GROUP-1", "type": "Central"}
    found.answers["Authorize"] = {"idTokenInfo": {"status": "Accepted", "groupIdToken": group}}
    till.present(found, None)
    assert (till.state(), found.shown()) == ("released", ["rejected"])


def test_canceled_where_the_terminal_had_authorized() -> None:
    till = Till()
    found = till.open()
    till.present(found)
    found.fact(StopButton(evse_id=1))
    till.serve(found)
    assert till.state() == "released"
    found.nothing("NotifySettlement")
    found.plug()
    found.nothing("TransactionEvent")


def test_nobody_plugs_in_where_the_csms_had_authorized() -> None:
    till = Till()
    found = till.open(variables=ASKING)
    till.present(found)
    found.wait(121)
    till.serve(found)
    assert till.state() == "released"
    found.expect("NotifySettlement", pspRef=PSP, status="Canceled")


def test_canceled_after_the_start() -> None:
    till = Till(cost=0.0)
    found = till.open()
    till.present(found)
    found.plug()
    event = found.expect("TransactionEvent", eventType="Started", idToken=PAID)
    till.present(found)  # the same card
    found.expect("TransactionEvent", eventType="Ended", triggerReason="StopAuthorized")
    till.serve(found)
    assert till.state() == "released"
    transaction_id = event["transactionInfo"]["transactionId"]
    found.expect("NotifySettlement", pspRef=PSP, status="Canceled", transactionId=transaction_id)


def test_nobody_plugs_in_after_the_start() -> None:
    """C20.FR.02."""
    till = Till("Authorized", cost=0.0)
    found = till.open()
    till.present(found)
    found.expect("TransactionEvent", eventType="Started", triggerReason="Authorized", idToken=PAID)
    found.wait(121)
    till.serve(found)
    found.expect("TransactionEvent", eventType="Ended", triggerReason="EVConnectTimeout")
    found.expect("NotifySettlement", status="Canceled")
    assert till.state() == "released"


def test_settled_with_the_terminals_receipt() -> None:
    till = Till(cost=12.34)
    found = charging(till)
    event = end(till, found)
    (order,) = reported(found, SettlePayment)
    assert (order.amount, order.merchant["Name"]) == (Decimal("12.34"), "Charge & Co")
    assert till.terminal.reserved[PSP].taken == Decimal("12.34")
    url = f"https://receipts.example/R-{PSP}"
    settled = found.expect("NotifySettlement", transactionId=event["transactionInfo"]["transactionId"])
    assert settled == {
        "transactionId": event["transactionInfo"]["transactionId"], "pspRef": PSP, "status": "Settled",
        "settlementAmount": 12.34, "settlementTime": at(found.utc_ms), "receiptId": f"R-{PSP}", "receiptUrl": url,
    }  # fmt: skip
    assert reported(found, ShowReceipt) == [ShowReceipt(evse_id=1, url=url, receipt_id=f"R-{PSP}")]
    found.nothing("NotifySettlement")
    assert not found.saved["payments"]


def by_tariff(till: Till, **more: Any) -> Bench:
    """A station that works out itself what it costs."""
    found = till.open(**more)
    assert found.ask("SetDefaultTariff", evseId=0, tariff=tariff(price=1.0)) == {"status": "Accepted"}
    found.plug()
    till.present(found)
    found.flow()
    return found


def test_settled_by_local_cost_also_offline() -> None:
    till = Till()
    found = by_tariff(till)
    charge(found, 10, 10_000)
    found.drop()
    found.fact(StopButton(evse_id=1))
    till.serve(found)
    assert till.state() == "taken"
    found.back()
    event = found.expect("TransactionEvent", eventType="Ended")
    cost = total(event)[1]
    assert till.terminal.reserved[PSP].taken == Decimal(str(cost)) > 10
    found.expect("NotifySettlement", status="Settled", settlementAmount=cost)


def test_settled_by_the_csms() -> None:
    till = Till(cost=12.34)
    url = "https://csms.example/receipts"
    found = charging(till, variables={"PaymentCtrlr.SettlementByCSMS": "true", "PaymentCtrlr.ReceiptServerUrl": url})
    end(till, found)
    assert not reported(found, SettlePayment)
    assert till.state() == "reserved"
    found.nothing("NotifySettlement")
    assert reported(found, ShowReceipt) == [ShowReceipt(evse_id=1, url=url)]


def test_settled_with_the_csmss_receipt() -> None:
    till = Till(cost=12.34)
    found = charging(till, variables={"PaymentCtrlr.ReceiptByCSMS": "true"})
    url = "https://csms.example/receipts/9"
    found.answers["NotifySettlement"] = {"receiptUrl": url, "receiptId": "9"}
    end(till, found)
    settled = found.expect("NotifySettlement", status="Settled", settlementAmount=12.34)
    assert not {"receiptUrl", "receiptId"} & settled.keys()
    assert reported(found, ShowReceipt) == [ShowReceipt(evse_id=1, url=url, receipt_id="9")]


def test_settlement_fails() -> None:
    till = Till(cost=12.34)
    found = charging(till)
    till.terminal.faults = TerminalFaults(unreachable=1.0)
    end(till, found)
    settled = found.expect("NotifySettlement", status="Failed", settlementAmount=12.34, statusInfo="no answer")
    assert not {"receiptUrl", "receiptId"} & settled.keys()
    assert found.shown()[-1] == "payment_failed"


def test_settlement_is_rejected() -> None:
    till = Till(cost=12.34, rejected=1.0)
    found = charging(till)
    end(till, found)
    settled = found.expect("NotifySettlement", status="Rejected", settlementAmount=12.34)
    assert not {"receiptUrl", "receiptId"} & settled.keys()


def running(found: Bench, cost: float) -> None:
    """The CSMS sends what it costs so far."""
    transaction_id = found.all("TransactionEvent")[-1]["transactionInfo"]["transactionId"]
    found.ask("CostUpdated", totalCost=cost, transactionId=transaction_id)


MORE = {"PaymentCtrlr.IncrementalAuthorizationAmount": "20", "PaymentCtrlr.IncrementalAuthorizationThreshold": "5"}


def test_more_is_reserved() -> None:
    till = Till(cost=61.0)
    found = charging(till, variables=MORE)
    running(found, 45.0)
    till.serve(found)
    assert till.terminal.reserved[PSP].amount == 50
    running(found, 45.01)
    till.serve(found)
    assert till.terminal.reserved[PSP].amount == 70
    found.expect("TransactionEvent", triggerReason="LimitSet", transactionInfo__transactionLimit={"maxCost": 70.0})
    running(found, 60.0)
    assert found.allowed()
    end(till, found)
    found.expect("NotifySettlement", settlementAmount=61.0)


def test_more_is_reserved_by_local_cost() -> None:
    till = Till()
    found = by_tariff(till, variables=MORE | {"TariffCostCtrlr.Interval[Tariff]": "60"})
    charge(found, 10, 30_000)
    till.serve(found)
    assert till.terminal.reserved[PSP].amount == 50
    charge(found, 10, 12_000)
    till.serve(found)
    assert till.terminal.reserved[PSP].amount == 70, "with its taxes it costs more than 45"
    found.expect("TransactionEvent", triggerReason="LimitSet", transactionInfo__transactionLimit={"maxCost": 70.0})
    assert found.allowed()
    end(till, found)
    assert till.state() == "taken"


def test_energy_flows_again_when_more_was_reserved_late_and_not_when_declined() -> None:
    till = Till()
    found = charging(till, variables=MORE)
    running(found, 85.0)
    assert not found.allowed()
    till.serve(found)
    assert till.terminal.reserved[PSP].amount == 90, "as often as it takes"
    assert found.allowed()
    till.terminal.faults = TerminalFaults(declined=1.0)
    for cost in (86.0, 87.0):
        running(found, cost)
        till.serve(found)
    assert sum("Increase" in type(command).__name__ for command in found.commands) == 3, "asked once, declined"


def test_a_limit_of_the_csms_stays_however_much_is_reserved() -> None:
    """E16.FR.04."""
    till = Till()
    found = till.open(variables=MORE)
    found.answers["TransactionEvent"] = lambda event: (
        {"transactionLimit": {"maxCost": 55.0}} if event["eventType"] == "Started" else {}
    )
    found.plug()
    till.present(found)
    found.expect("TransactionEvent", triggerReason="LimitSet", transactionInfo__transactionLimit={"maxCost": 50.0})
    running(found, 46.0)
    till.serve(found)
    found.expect("TransactionEvent", triggerReason="LimitSet", transactionInfo__transactionLimit={"maxCost": 55.0})


# -- faults


def test_a_declined_card_authorizes_nobody() -> None:
    till = Till(declined=1.0)
    found = till.open(variables=ASKING)
    found.plug()
    till.present(found)
    found.nothing("Authorize")
    assert found.shown()[-1] == "rejected"
    till.terminal.faults = TerminalFaults(silent=1.0)
    till.present(found)
    found.present()
    assert found.allowed(), "another way to pay is open meanwhile"


def test_a_card_that_is_authorized_too_late_is_given_its_money_back() -> None:
    till = Till()
    found = till.open()
    found.fact(CardPresented(evse_id=1, card="A"))
    found.wait(121)
    assert found.shown()[-1] == "rejected"
    till.serve(found)
    assert till.state() == "released"
    found.fact(CardPresented(evse_id=1, card="B"))
    found.plug()
    found.present()
    till.serve(found)
    assert till.state("psp-000002") == "released", "somebody else was faster"


def test_a_terminal_that_does_not_answer_gets_the_command_again_also_after_a_restart() -> None:
    till = Till(cost=5.0)
    found = charging(till)
    found.fact(StopButton(evse_id=1))
    found.wait(125)
    found.power_loss()
    assert len(reported(found, SettlePayment)) == 3
    till.serve(found)
    found.expect("NotifySettlement", status="Settled")
    found.nothing("NotifySettlement")
    assert till.terminal.reserved[PSP].taken == 5, "once"


def test_a_terminal_that_stays_silent_is_given_up() -> None:
    till = Till(cost=5.0)
    found = charging(till)
    till.terminal.faults = TerminalFaults(silent=1.0)
    end(till, found)
    found.wait(361)
    found.expect("NotifySettlement", status="Failed", statusInfo="the payment terminal does not answer")
    found.wait(500)
    assert len(reported(found, SettlePayment)) == 3


def test_a_power_loss_settles_what_was_charged_and_releases_what_was_not() -> None:
    till = Till(cost=7.0)
    found = charging(till)
    till.present(found, 2, "B")
    found.power_loss()
    till.serve(found)
    found.expect("TransactionEvent", eventType="Ended")
    found.expect("NotifySettlement", status="Settled", settlementAmount=7.0)
    assert (till.state(), till.state("psp-000002")) == ("taken", "released")


def test_a_transaction_that_outlives_a_power_loss_keeps_its_payment() -> None:
    till = Till(cost=9.0)
    found = charging(till, variables={"TxCtrlr.ResumptionTimeout": "600"})
    found.power_loss(away_s=30)
    found.plug()
    found.wait(60)
    till.serve(found)
    assert (till.state(), found.allowed()) == ("reserved", True)
    found.fact(DriverLimit(evse_id=1, limit=TransactionLimit(max_cost=80.0)))
    found.nothing("TransactionEvent", triggerReason="LimitSet")
    running(found, 50.0)
    assert not found.allowed()
    end(till, found)
    found.expect("NotifySettlement", status="Settled", settlementAmount=9.0)


def test_a_driver_who_cancels_while_the_csms_thinks_is_let_go() -> None:
    till = Till()
    found = till.open(variables=ASKING)
    found.answers["Authorize"] = None
    found.plug()
    till.present(found)
    till.present(found)  # the same card
    found.wait(31)
    assert (till.state(), found.allowed()) == ("released", False)
    found.expect("NotifySettlement", status="Canceled")


def test_one_card_pays_twice_and_who_stays_plugged_in_pays_once() -> None:
    till = Till(cost=4.0)
    found = till.open(variables={"TxCtrlr.TxStopPoint": "EVConnected"})
    found.plug()
    till.present(found)
    till.present(found, 2)
    assert set(till.terminal.reserved) == {PSP, "psp-000002"}, "at another EVSE it begins anew"
    found.fact(StopButton(evse_id=1))
    till.present(found, card="B")
    assert len(till.terminal.reserved) == 2, "the transaction is still that of the first"
    found.unplug()
    till.serve(found)
    found.expect("NotifySettlement", pspRef=PSP, status="Settled")


def test_a_vat_number_is_not_the_next_drivers() -> None:
    till = Till(cost=4.0)
    found = till.open()
    found.answers["VatNumberValidation"] = {"vatNumber": "NL1", "status": "Accepted"}
    found.fact(VatEntered(evse_id=1, number="NL1"))
    found.wait(61)
    found.plug()
    till.present(found)
    end(till, found)
    assert "vatNumber" not in found.expect("NotifySettlement", status="Settled")


def test_offline_the_cost_is_waited_for_unless_the_csms_never_sends_it() -> None:
    till = Till(cost=7.0)
    found = charging(till)
    found.drop()
    found.fact(StopButton(evse_id=1))
    till.serve(found)
    assert till.state() == "reserved"
    till.cost = None
    found.answers.pop("TransactionEvent")
    found.back()
    till.serve(found)
    assert till.state() == "reserved"
    found.expect("NotifySettlement", status="Failed", settlementAmount=0.0, statusInfo="the total cost is unknown")


def test_a_broken_or_disabled_terminal_takes_no_card() -> None:
    till = Till()
    found = till.open()
    found.fact(TerminalState(connected=False, problem=True))
    assert found.get("PaymentCtrlr", "Connected")["attributeValue"] == "false"
    till.present(found)
    assert not till.terminal.reserved
    found.fact(TerminalState())
    found.set("PaymentCtrlr", "Enabled", "false")
    till.present(found)
    assert not till.terminal.reserved
    assert found.shown()[-1] == "rejected"
    found.fact(VatEntered(evse_id=1, number="NL1"))
    found.nothing("VatNumberValidation")


def test_a_station_offline_asks_no_card_that_the_csms_would_have_to_approve() -> None:
    till = Till()
    found = till.open(variables=ASKING)
    found.drop()
    found.plug()
    till.present(found)
    assert not till.terminal.reserved


def test_the_device_model_says_what_the_terminal_can() -> None:
    found = Till().open()
    found.ask("GetReport", requestId=1, componentVariable=[{"component": {"name": "PaymentCtrlr"}}])
    report = {
        (data["variable"]["name"], data["variable"].get("instance")): data
        for data in found.expect("NotifyReport")["reportData"]
    }
    assert "CardExpiryDate" in report["PaymentDetails", None]["variableCharacteristics"]["valuesList"]
    assert report["TerminalID", None]["variableAttribute"][0]["value"] == "T-1"
    assert ("IncrementalAuthorizationAmount", None) in report
    assert found.set("PaymentCtrlr", "PaymentDetails", "Shoesize") == "Rejected"
    assert found.get("PaymentCtrlr", "AuthorizationAmount")["attributeValue"] == "50"
    assert Bench("2.1").get("PaymentCtrlr", "Enabled")["attributeStatus"] == "UnknownComponent"


def test_what_the_station_works_out_is_reserved_and_settled() -> None:
    till = Till()
    found = till.open(variables=MORE | {"TariffCostCtrlr.Interval[Tariff]": "30"})
    energy = {"prices": [{"priceKwh": 1.001}], "taxRates": [{"type": "vat", "tax": 19.0}]}
    tariff = {"tariffId": "T", "currency": "EUR", "energy": energy}
    assert found.ask("SetDefaultTariff", evseId=0, tariff=tariff) == {"status": "Accepted"}
    found.plug()
    till.present(found)
    found.flow()
    found.meter_mwh[1] += 38_000_000  # 45.27
    found.wait(31)
    till.serve(found)
    assert till.terminal.reserved[PSP].amount == 70
    event = end(till, found)
    assert event["costDetails"]["totalCost"]["total"]["inclTax"] == 45.26522
    found.expect("NotifySettlement", settlementAmount=45.27)
    assert till.terminal.reserved[PSP].taken == Decimal("45.27")
