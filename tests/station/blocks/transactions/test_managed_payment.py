"""Who may charge at a charger that leads its transactions, where no contract says so: whoever the CSMS starts, or who
has paid (F02, C18 to C21, C25)."""

from typing import Any

import pytest

from tests.station.bench import FIXED, Bench
from tests.station.blocks.transactions.managed_payment import end
from tests.station.blocks.transactions.managed_resumption import begin, lead, records
from tests.station.tariffs import authorizes, station, tariff
from tests.station.till import PAID, Till
from tests.station.web_payments import PAID as PAID_ON_WEB
from tests.station.web_payments import code_of, start, web
from v2g.ocpp.messages.transactions import TransactionLimit
from v2g_station.blocks.cost.tariffs import ShowTariff
from v2g_station.blocks.evse import ContractPresented, Indicate
from v2g_station.blocks.transactions.managed import RemoteStartExpired, RemoteStartRequested, RemoteStopRequested
from v2g_station.blocks.web_payment import WebPaymentRequested

LED: dict[str, Any] = {"evses": (FIXED,), "managed": True}


def last(found: Bench, kind: type) -> Any:
    """Return the last command of a kind."""
    return next((each for each in reversed(found.commands) if isinstance(each, kind)), None)


def test_a_transaction_of_a_remote_start_says_whose_it_is() -> None:
    """F02.FR.01, E01.FR.10: identifier and remoteStartId, as the CSMS gave them."""
    found = Bench("2.1", **LED)
    start(found)
    assert last(found, RemoteStartRequested).remote_start_id == 7
    assert found.ask("RequestStartTransaction", {"idToken": PAID_ON_WEB, "remoteStartId": 8})["status"] == "Rejected"
    begin(found, "a", emaid="")
    event = found.expect("TransactionEvent", eventType="Started", triggerReason="RemoteStart", idToken=PAID_ON_WEB)
    assert event["transactionInfo"]["remoteStartId"] == 7
    end(found)
    begin(found, "b", emaid="")
    event = found.expect("TransactionEvent", eventType="Started", transactionInfo__transactionId="tx-b")
    assert event["idToken"]["type"] == "NoAuthorization", "it was for one"


def test_a_contract_at_the_plug_is_somebody_else() -> None:
    found = Bench("2.1", **LED)
    start(found)
    begin(found, "a")
    event = found.expect("TransactionEvent", eventType="Started")
    assert event["idToken"]["idToken"] == "EMAID1"
    assert "remoteStartId" not in event["transactionInfo"]
    assert found.station.evses[1].authorization is None


def test_a_remote_start_is_over_when_nobody_comes() -> None:
    """F02.FR.08: EVConnectionTimeOut."""
    found = Bench("2.1", variables={"TxCtrlr.EVConnectionTimeOut": "50"}, **LED)
    start(found)
    found.wait(49)
    assert last(found, RemoteStartExpired) is None
    found.wait(2)
    assert last(found, RemoteStartExpired) == RemoteStartExpired(evse_id=1)
    start(found)


def test_a_code_for_payment_is_shown_while_nobody_charges() -> None:
    """C25.FR.01, .22."""
    found = web(evses=(FIXED,), managed=True)
    assert code_of(found) is not None
    begin(found, "a")
    assert code_of(found) is None
    end(found)
    assert code_of(found) is not None


def test_a_payment_elsewhere_holds_no_evse_at_which_a_contract_charges() -> None:
    """C25.FR.27: one for the station holds those that are free."""
    found = web(evses=(FIXED, FIXED), managed=True)
    begin(found, "a")
    found.ask("NotifyWebPaymentStarted", evseId=0, timeout=60)
    assert [each.evse_id for each in found.commands if isinstance(each, Indicate)] == [2]


def test_what_somebody_chose_is_not_forced_on_the_next_after_a_contract() -> None:
    found = web(evses=(FIXED,), managed=True)
    found.fact(WebPaymentRequested(evse_id=1, limit=TransactionLimit(max_time=60)))
    begin(found, "a")
    end(found)
    assert "maxtime" not in str(code_of(found))


@pytest.mark.parametrize(("limit", "word"), [
    ({"maxCost": 5.0}, "cost_limit"), ({"maxTime": 60}, "time_limit"), ({"maxEnergy": 100.0}, "energy_limit"),
])  # fmt: skip
def test_what_the_csms_limits_ends_the_session(limit: dict[str, float], word: str) -> None:
    """E16.FR.03, .05, .06."""
    found = Bench("2.1", **LED)
    found.answers["TransactionEvent"] = lambda event: (
        {"transactionLimit": limit, "totalCost": 1.0} if event["eventType"] == "Started" else {}
    )
    start(found)
    begin(found, "a", emaid="")
    reported = found.expect("TransactionEvent", triggerReason="LimitSet")
    assert reported["transactionInfo"]["transactionLimit"] == limit
    found.wait(30)
    assert last(found, RemoteStopRequested) is None
    found.meter_mwh[1] += 200_000
    found.ask("CostUpdated", totalCost=5.5, transactionId="tx-a")
    found.wait(61)
    assert RemoteStopRequested(reference="a", cause=word) in found.commands  # type: ignore[arg-type]


@pytest.mark.parametrize("limited", ["a", "b"])
def test_the_limits_of_a_session_are_not_those_of_the_next(limited: str) -> None:
    """One may be about to end while the next has begun already."""
    found = Bench("2.1", **LED)
    found.answers["TransactionEvent"] = lambda event: (
        {"transactionLimit": {"maxEnergy": 100.0}}
        if event["eventType"] == "Started" and event["transactionInfo"]["transactionId"] == f"tx-{limited}"
        else {}
    )
    begin(found, "a")
    begin(found, "b")
    end(found)
    found.meter_mwh[1] += 200_000
    found.wait(10)
    stopped = [each.reference for each in found.commands if isinstance(each, RemoteStopRequested)]
    assert stopped == (["b"] if limited == "b" else [])


@pytest.mark.parametrize("after", ["the end of the one before", "a restart"])
def test_a_limit_of_energy_counts_from_the_begin(after: str) -> None:
    """E16.FR.05: whatever a session has charged before."""
    found = Bench("2.1", **LED, variables={"TxCtrlr.ResumptionTimeout": "300"})
    begin(found, "a")
    found.answers["TransactionEvent"] = lambda _: {"transactionLimit": {"maxEnergy": 100.0}}
    if after == "a restart":
        end(found)
    begin(found, "b")
    found.meter_mwh[1] += 80_000
    lead(found, lambda sessions: sessions.progress("b", "MeterValuePeriodic", sample=found.read(1)))
    if after == "a restart":
        found.power_loss(away_s=30, same_boot=True)
        found.run(found.station.resume(records(found)["b"], found.read(1), found.moment))
        begin(found, "c")
    else:
        end(found)
    found.wait(10)
    assert last(found, RemoteStopRequested) is None
    found.meter_mwh[1] += 20_000
    found.wait(10)
    stopped = last(found, RemoteStopRequested)
    assert stopped == RemoteStopRequested(reference="c" if after == "a restart" else "b", cause="energy_limit")


def test_the_tariff_of_a_session_stays_on_display_when_the_one_before_ends() -> None:
    """I08.FR.04."""
    found = station(tariff(description=[{"format": "UTF8", "content": "for all"}]), **LED)
    begin(found, "a")
    authorizes(found, tariff("OWN", description=[{"format": "UTF8", "content": "for you"}]))
    found.fact(ContractPresented(evse_id=1, emaid="DEV2GC00000001", locally_valid=True))
    begin(found, "b", "DEV2GC00000001")
    for text in ("for you", "for all"):
        end(found)
        assert last(found, ShowTariff).text == text


def test_a_card_pays_for_a_session() -> None:
    """C18, C21: from the card to the settlement."""
    till = Till(cost=12.0)
    found = till.open(**LED)
    till.present(found)
    assert last(found, RemoteStartRequested).id_token.id_token == PAID["idToken"]
    begin(found, "a", emaid="")
    event = found.expect("TransactionEvent", eventType="Started", idToken=PAID)
    assert event["transactionInfo"]["transactionLimit"] == {"maxCost": 50.0}, "C18.FR.06"
    till.present(found, card="B")
    assert found.shown()[-1] == "rejected", "somebody charges"
    end(found)
    till.serve(found)
    assert found.expect("NotifySettlement", status="Settled")["settlementAmount"] == 12.0
    assert till.state() == "taken"


def test_a_card_ends_what_it_pays_after_a_restart() -> None:
    """C20, E17."""
    till = Till(cost=12.0)
    found = till.open(**LED, variables={"TxCtrlr.ResumptionTimeout": "300"})
    till.present(found)
    begin(found, "a", emaid="")
    found.power_loss(away_s=30, same_boot=True)
    found.run(found.station.resume(records(found)["a"], found.read(1), found.moment))
    till.present(found)
    till.serve(found)
    found.expect("TransactionEvent", eventType="Ended", triggerReason="StopAuthorized")
    assert till.state() == "taken"


def test_a_card_of_which_nobody_makes_use_is_not_charged() -> None:
    """C19: nobody comes, or a contract begins to charge instead; and who holds his card there again stops."""
    for way in ("nobody", "contract", "card"):
        till = Till()
        found = till.open(**LED)
        till.present(found)
        match way:
            case "nobody":
                found.wait(130)
            case "contract":
                begin(found, "a")
            case "card":
                till.present(found)
                assert last(found, RemoteStartExpired) is not None
        till.serve(found)
        assert till.state() == "released", way


def test_a_limit_of_zero_is_no_limit_that_nobody_set() -> None:
    found = Bench("2.1", **LED)
    begin(found, "a")
    found.wait(600)
    assert not any(each["transactionInfo"].get("transactionLimit") for each in found.all("TransactionEvent"))
    assert last(found, RemoteStopRequested) is None
