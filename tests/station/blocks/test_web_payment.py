"""Payment without a token of the operator (C17, C24, C25) at our station."""

from typing import Any

import pytest

from csms.payments.rules import decode, is_valid
from tests.station.bench import Bench
from tests.station.web_payments import PAID, SECRET, TEMPLATE, code_of, start, web
from v2g.ocpp.messages.transactions import TransactionLimit
from v2g.ocpp.web_payment import QrCode
from v2g_station.blocks.web_payment import WebPaymentRequested

# -- C24, C25: the CSMS starts what was paid for elsewhere


def scanned(found: Bench) -> TransactionLimit | None:
    """Return what the address says that is shown; the CSMS finds it good, and says that a payment has begun."""
    url = code_of(found)
    assert url is not None
    result = decode(url, TEMPLATE)
    assert (result.station_id, result.evse_id) == ("CS-1", 1)
    assert is_valid(result.totp, QrCode(template=TEMPLATE, shared_secret=SECRET), found.utc_ms)
    assert found.ask("NotifyWebPaymentStarted", evseId=1, timeout=60) == {}
    return result.limit


@pytest.mark.parametrize("dynamic", [True, False])
def test_code_without_parameters(dynamic: bool) -> None:
    found = web(code=dynamic)
    found.plug()
    if dynamic:
        assert scanned(found) is None
        assert code_of(found) is None, "the code was scanned"
        assert code_of(found, 2) is not None
    else:
        found.ask("NotifyWebPaymentStarted", evseId=1, timeout=60)
    assert found.shown()[-1] == "web_payment"
    found.present()
    found.nothing("TransactionEvent")
    assert found.shown()[-1] == "rejected", "somebody is paying"
    start(found)
    found.expect("TransactionEvent", eventType="Started", triggerReason="RemoteStart", idToken=PAID)
    assert found.allowed()
    found.nothing("NotifySettlement")


def limited(wish: TransactionLimit, reported: dict[str, Any]) -> Bench:
    """A driver chooses, scans and pays; the transaction has his limit though the CSMS allows more."""
    found = web()
    found.plug()
    found.fact(WebPaymentRequested(evse_id=1, limit=wish))
    assert scanned(found) == wish
    name = next(iter(reported))
    found.answers["TransactionEvent"] = lambda event: (
        {"transactionLimit": {name: 1_000_000}} if event["eventType"] == "Started" else {}
    )
    start(found)
    event = found.expect("TransactionEvent", eventType="Started", idToken=PAID)
    assert event["transactionInfo"]["transactionLimit"] == reported
    found.expect("TransactionEvent", triggerReason="LimitSet", transactionInfo__transactionLimit=reported)
    found.flow()
    assert found.allowed()
    return found


def reached(found: Bench, trigger: str) -> None:
    """The limit ends the flow of energy."""
    found.expect("TransactionEvent", triggerReason=trigger, transactionInfo__chargingState="SuspendedEVSE")
    assert not found.allowed()


def test_code_with_max_time() -> None:
    found = limited(TransactionLimit(max_time=600), {"maxTime": 600})
    found.wait(590)
    assert found.allowed()
    found.wait(15)
    reached(found, "TimeLimitReached")


def test_code_with_max_cost() -> None:
    found = limited(TransactionLimit(max_cost=12.5), {"maxCost": 12.5})
    transaction_id = found.all("TransactionEvent")[0]["transactionInfo"]["transactionId"]
    found.ask("CostUpdated", totalCost=12.4, transactionId=transaction_id)
    assert found.allowed()
    found.ask("CostUpdated", totalCost=12.5, transactionId=transaction_id)
    reached(found, "CostLimitReached")


def test_code_with_max_energy() -> None:
    found = limited(TransactionLimit(max_energy=2000.0), {"maxEnergy": 2000.0})
    found.flow("SuspendedEV", wh=1900)
    found.wait(6)
    assert found.allowed()
    found.flow("Charging", wh=100)
    found.wait(6)
    reached(found, "EnergyLimitReached")


def test_a_code_changes_with_its_password_and_goes_while_the_evse_is_used() -> None:
    found = web()
    first = code_of(found)
    found.wait(31)
    assert code_of(found) not in (None, first)
    found.plug()
    found.present()
    assert code_of(found) is None
    assert found.set("WebPaymentsCtrlr", "Enabled", "false") == "Accepted"
    assert code_of(found, 2) is None
    found.ask("NotifyWebPaymentStarted", evseId=1, timeout=60)
    assert found.allowed(), "whoever charges is left alone"


def test_a_payment_that_does_not_come_frees_the_evse() -> None:
    found = web()
    found.fact(WebPaymentRequested(evse_id=2, limit=TransactionLimit(max_time=60)))
    assert "maxtime=60" in str(code_of(found, 2))
    found.ask("NotifyWebPaymentStarted", evseId=0, timeout=30)
    found.plug()
    found.present()
    assert not found.allowed()
    found.wait(31)
    assert "maxtime" not in str(code_of(found, 2))
    found.present()
    assert found.allowed()


def test_what_somebody_chose_is_not_forced_on_the_next() -> None:
    found = web()
    found.fact(WebPaymentRequested(evse_id=1, limit=TransactionLimit(max_time=60)))
    found.plug()
    found.present()
    event = found.expect("TransactionEvent", eventType="Started")
    assert "transactionLimit" not in event["transactionInfo"]
    found.unplug()
    found.fact(WebPaymentRequested(evse_id=1, limit=TransactionLimit(max_time=60, max_soc=80)))
    found.wait(301)
    found.plug()
    start(found)
    event = found.expect("TransactionEvent", eventType="Started")
    assert "transactionLimit" not in event["transactionInfo"], "he went away"


def test_an_address_can_name_a_roaming_evse_or_the_station_alone() -> None:
    found = web("https://emsp.example/{roamingevseid}/{totp}/{version}")
    data = {
        "component": {"name": "WebPaymentsCtrlr", "evse": {"id": 2}}, "variable": {"name": "RoamingEvseId"},
        "attributeValue": "DE*ABC*E2",
    }  # fmt: skip
    assert found.ask("SetVariables", setVariableData=[data])["setVariableResult"][0]["attributeStatus"] == "Accepted"
    assert str(code_of(found, 2)).startswith("https://emsp.example/DE*ABC*E2/")
    found = web("https://pay.example/{totp}/{version}/{chargingstationid}")
    assert (code_of(found, 0), code_of(found)) != (None, None)
    assert code_of(found) is None


def test_the_secret_is_never_sent_and_differs_at_first() -> None:
    found = web(code=False)
    assert found.get("WebPaymentsCtrlr", "SharedSecret")["attributeStatus"] == "Rejected"
    assert len(found.saved["variables"]["WebPaymentsCtrlr.SharedSecret"]) == 48
    assert found.set("WebPaymentsCtrlr", "URLTemplate", "https://pay.example/{chargingstationid}") == "Rejected"
    assert found.set("WebPaymentsCtrlr", "ValidityTime", "5") == "Rejected"
    assert code_of(found, 0) is None
