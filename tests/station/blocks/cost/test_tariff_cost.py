"""Costs that the CSMS sends: what of them the driver sees, and when the station's own count instead (E16.FR.16)."""

from typing import Any

import pytest

from tests.station.bench import Bench, Refused
from tests.station.charging import charging
from tests.station.tariffs import RUNNING, begin, station, tariff
from v2g_station.blocks.cost.local_cost import ShowCost
from v2g_station.blocks.evse import Evse

FALLBACK = "TariffCostCtrlr.TotalCostFallbackMessage"
NO_COST = "TariffCostCtrlr.Enabled[Cost]"


def shown(found: Bench) -> list[ShowCost]:
    """What drivers were shown."""
    return [each for each in found.commands if isinstance(each, ShowCost)]


def transaction(found: Bench) -> str:
    return str(found.all("TransactionEvent")[-1]["transactionInfo"]["transactionId"])


def listening(found: Bench) -> list[tuple[int, float]]:
    """What listeners hear from now on."""
    received: list[tuple[int, float]] = []

    def hear(evse: Evse, total: float) -> None:
        received.append((evse.number, total))

    found.station.tariff_cost.on_cost(hear)
    return received


def at_the_end(**answer: Any) -> Any:
    """A CSMS that says this of the end of a transaction, and nothing of anything else."""
    return lambda event: answer if event["eventType"] == "Ended" else {}


def test_a_cost_is_shown_at_the_evse_of_its_transaction_and_notified() -> None:
    found = charging()
    received, name = listening(found), transaction(found)
    assert found.ask("CostUpdated", totalCost=3.25, transactionId=name) == {}
    assert shown(found) == [ShowCost(evse_id=1, transaction_id=name, total=3.25, currency="EUR", final=False, text="")]
    assert received == [(1, 3.25)]


def test_a_cost_of_no_transaction_or_where_costs_are_disabled_is_not_shown() -> None:
    found = charging()
    received = listening(found)
    assert found.ask("CostUpdated", totalCost=3.25, transactionId="other") == {}
    off = charging(variables={NO_COST: "false"})
    heard_off = listening(off)
    assert off.ask("CostUpdated", totalCost=3.25, transactionId=transaction(off)) == {}
    assert shown(found) == received == shown(off) == heard_off == []


def test_where_the_station_works_it_out_the_csmss_cost_is_not_shown() -> None:
    """Neither while it charges nor at the end."""
    found = station(tariff(price=0.5), variables={RUNNING: "true"})
    begin(found)
    received, name, before = listening(found), transaction(found), shown(found)
    assert found.ask("CostUpdated", totalCost=99.0, transactionId=name) == {}
    found.answers["TransactionEvent"] = {"totalCost": 99.0}
    found.flow("SuspendedEV")
    found.present()
    assert found.all("TransactionEvent")[-1]["eventType"] == "Ended"
    assert received == []
    assert 99.0 not in [each.total for each in shown(found)[len(before) :]]
    assert [each.final for each in shown(found)].count(True) == 1


def test_words_for_the_driver_come_with_the_station_s_own_cost_too() -> None:
    found = station(tariff(price=0.5))
    begin(found)
    message = {"format": "UTF8", "content": "Thank you"}
    found.answers["TransactionEvent"] = at_the_end(totalCost=99.0, updatedPersonalMessage=message)
    found.present()
    said = shown(found)[-1]
    assert (said.total, said.final, said.text) == (None, False, "Thank you")


@pytest.mark.parametrize("total", [1.5, 0.0])
def test_a_cost_with_an_answer_is_shown_with_its_text(total: float) -> None:
    """I02.FR.01, I03, I05; no cost is one, too."""
    found = charging(variables={FALLBACK: "See your bill."})
    name = transaction(found)
    message = {"format": "UTF8", "content": "Hello"}
    found.answers["TransactionEvent"] = {"totalCost": total, "updatedPersonalMessage": message}
    found.flow("SuspendedEV")
    assert shown(found) == [
        ShowCost(evse_id=1, transaction_id=name, total=total, currency="EUR", final=False, text="Hello")
    ]
    found.answers["TransactionEvent"] = at_the_end(totalCost=total)
    found.present()
    assert shown(found)[1:] == [
        ShowCost(evse_id=1, transaction_id=name, total=total, currency="EUR", final=True, text="")
    ]


def test_a_late_cost_is_not_shown_to_the_next_driver() -> None:
    found = charging(
        variables={"AuthCtrlr.LocalAuthorizeOffline": "true", "AuthCtrlr.OfflineTxForUnknownIdEnabled": "true"}
    )
    first = transaction(found)
    found.answers["TransactionEvent"] = {"totalCost": 1.5}
    found.drop()
    found.present()
    found.unplug()
    found.plug()
    found.present("TAG-2")
    found.flow("Charging", wh=1)
    found.back()
    second = transaction(found)
    assert first != second
    assert {(each.transaction_id, each.evse_id) for each in shown(found)} == {(first, None), (second, 1)}


def test_an_error_instead_of_an_answer_shows_nothing_and_harms_nothing() -> None:
    found = charging(variables={"OCPPCommCtrlr.MessageAttempts[TransactionEvent]": "1", FALLBACK: "See your bill."})
    found.answers["TransactionEvent"] = Refused("InternalError")
    found.present()
    assert found.all("TransactionEvent")[-1]["eventType"] == "Ended"
    assert shown(found) == []
    assert "event_given_up" in [each.name for each in found.observed]


def test_without_a_cost_the_fallback_is_shown_at_the_end_only() -> None:
    """I05.FR.02."""
    found = charging(variables={FALLBACK: "See your bill."})
    found.flow("SuspendedEV")
    assert shown(found) == []
    found.present()
    (said,) = shown(found)
    assert (said.total, said.final, said.text) == (None, True, "See your bill.")


def test_the_fallback_is_shown_at_once_where_the_csms_cannot_be_asked() -> None:
    """I05.FR.02: the driver is there now, not when the station is online again."""
    found = charging(variables={FALLBACK: "See your bill.", "AuthCtrlr.LocalAuthorizeOffline": "true"})
    name = transaction(found)
    found.drop()
    found.flow("SuspendedEV")
    assert shown(found) == []
    found.present()
    said = [ShowCost(evse_id=1, transaction_id=name, total=None, currency="EUR", final=True, text="See your bill.")]
    assert shown(found) == said
    found.back()
    assert found.all("TransactionEvent")[-1]["offline"] is True
    assert shown(found) == said


def test_no_fallback_is_shown_for_a_cost_of_the_station() -> None:
    found = station(tariff(), variables={FALLBACK: "See your bill.", "AuthCtrlr.LocalAuthorizeOffline": "true"})
    begin(found)
    found.drop()
    found.present()
    assert [(each.final, each.text) for each in shown(found)][-1] == (True, "")


def test_a_personal_message_goes_before_the_fallback() -> None:
    found = charging(variables={FALLBACK: "See your bill."})
    found.answers["TransactionEvent"] = at_the_end(updatedPersonalMessage={"format": "UTF8", "content": "Bye"})
    found.present()
    (said,) = shown(found)
    assert (said.total, said.final, said.text) == (None, True, "Bye")


def test_there_is_no_fallback_where_costs_are_disabled_or_none_is_set() -> None:
    for found in (charging(variables={FALLBACK: "See your bill.", NO_COST: "false"}), charging()):
        found.present()
        assert found.all("TransactionEvent")[-1]["eventType"] == "Ended"
        assert shown(found) == []
