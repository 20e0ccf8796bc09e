"""Functional block I, tariff and cost, of our station, beyond the cases of the test lab."""

from tests.station.bench import Bench
from tests.station.charging import charging
from v2g_station.blocks.cost.local_cost import ShowCost


def shown(found: Bench) -> list[tuple[float | None, bool, str]]:
    """What drivers were shown."""
    return [(each.total, each.final, each.text) for each in found.commands if isinstance(each, ShowCost)]


def test_running_cost() -> None:
    found = charging()
    identifier = found.all("TransactionEvent")[0]["transactionInfo"]["transactionId"]
    assert found.ask("CostUpdated", totalCost=3.25, transactionId=identifier) == {}
    assert shown(found) == [(3.25, False, "")]


def test_final_cost() -> None:
    found = charging()
    found.answers["TransactionEvent"] = lambda p: {"totalCost": 8.04} if p["eventType"] == "Ended" else {}
    found.present()
    assert shown(found) == [(8.04, True, "")]


def test_running_cost_with_an_event() -> None:
    found = charging()
    found.answers["TransactionEvent"] = {"totalCost": 1.5}
    found.flow("SuspendedEV")
    assert shown(found) == [(1.5, False, "")]


def test_without_a_cost_the_fallback_is_shown() -> None:
    found = charging(variables={"TariffCostCtrlr.TotalCostFallbackMessage": "See your bill."})
    found.present()
    assert shown(found) == [(None, True, "See your bill.")]
