"""Tariffs of 2.1, and what a station works out by them."""

from typing import Any

from tests.station.bench import Bench, Payload
from tests.station.charging import bench
from tests.station.profiles import transaction

HOUR = 3600
VAT = [{"type": "vat", "tax": 20.0}]
MAX = "TariffCostCtrlr.MaxElements[Tariff]"
FAILED = "TariffCostCtrlr.HandleFailedTariff[Tariff]"
RUNNING = "TariffCostCtrlr.Enabled[RunningCost]"
INTERVAL = "TariffCostCtrlr.Interval[Cost]"
LOOKS = "TariffCostCtrlr.Interval[Tariff]"


def tariff(name: str = "T1", price: float = 0.5, **more: Any) -> Payload:
    """A tariff for energy."""
    energy = {"prices": [{"priceKwh": price}], "taxRates": VAT}
    return {"tariffId": name, "currency": "EUR", "energy": energy} | more


def priced(*prices: tuple[float, Payload], name: str = "T1") -> Payload:
    """A tariff whose prices for energy have conditions."""
    return tariff(name, energy={"prices": [{"priceKwh": price, "conditions": when} for price, when in prices]})


def many(count: int) -> Payload:
    return tariff(energy={"prices": [{"priceKwh": 0.1 * each} for each in range(1, count + 1)]})


def station(*defaults: Payload, **more: Any) -> Bench:
    """A station of 2.1 with default tariffs."""
    variables = {RUNNING: "false", LOOKS: "60"} | more.pop("variables", {})
    found = bench(version="2.1", variables=variables, **more)
    for each in defaults:
        assert found.ask("SetDefaultTariff", evseId=0, tariff=each) == {"status": "Accepted"}
    return found


def begin(found: Bench, token: str = "TAG-1", evse_id: int = 1) -> Payload:
    """Begin to charge; return the event that began the transaction."""
    found.clear()
    found.plug(evse_id)
    found.present(token, evse_id)
    event = found.expect("TransactionEvent", eventType="Started")
    found.flow("Charging", evse_id)
    return event


def charge(found: Bench, minutes: float, wh: int, evse_id: int = 1) -> None:
    """Charge evenly, as the station's looks at the meter see it."""
    steps = max(1, round(minutes))
    for step in range(steps):
        found.advance_clock(minutes * 60 / steps)
        found.meter_mwh[evse_id] += wh * 1000 * (step + 1) // steps - wh * 1000 * step // steps
        found.wait(0)


def end(found: Bench, token: str = "TAG-1", evse_id: int = 1) -> Payload:
    """End the transaction; return its last event."""
    found.clear()
    found.present(token, evse_id)
    found.unplug(evse_id)
    return found.expect("TransactionEvent", eventType="Ended")


def total(event: Payload) -> tuple[float, float]:
    """What a transaction cost, without and with taxes."""
    found = event["costDetails"]["totalCost"]["total"]
    return found["exclTax"], found["inclTax"]


def assigned(found: Bench, evse_id: int = 0) -> list[Payload]:
    """What tariffs the station says it has."""
    answer = found.ask("GetTariffs", evseId=evse_id)
    assert (answer["status"] == "Accepted") == ("tariffAssignments" in answer)
    return answer.get("tariffAssignments", [])


def tariff_of(event: Payload) -> str | None:
    name: str | None = event["transactionInfo"].get("tariffId")
    return name


def authorizes(found: Bench, own: Payload | None) -> None:
    """Let the CSMS authorize everybody, with this tariff."""
    found.answers["Authorize"] = {"idTokenInfo": {"status": "Accepted"}} | ({"tariff": own} if own else {})


def change(found: Bench, wanted: Payload, identifier: str | None = None) -> Payload:
    return found.ask(
        "ChangeTransactionTariff", tariff=wanted, transactionId=transaction(found) if identifier is None else identifier
    )
