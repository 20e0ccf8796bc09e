"""Prices and costs on the displays of stations of 1.6: DataTransfers of `org.openchargealliance.costmsg` ("OCPP &
California Pricing Requirements"), which a station has that says so (`CustomDisplayCostAndPrice`)."""

from collections.abc import Mapping
from typing import Final

import msgspec

from v2g.errors import OcppError
from v2g.ocpp.messages.authorization import IdTokenInfo
from v2g.ocpp.messages.tariff_cost import CostUpdatedRequest, CostUpdatedResponse
from v2g.ocpp.messages.transactions import TransactionEventResponse
from v2g.ocpp.times import format_time
from v2g.ocpp.v16 import messages as v16
from v2g.ocpp.v16.bridge import Bridge, Numbered, Steps, number_in, to_station

COSTS: Final = "org.openchargealliance.costmsg"
SHOWS_PRICES: Final = "CustomDisplayCostAndPrice"


def _send(bridge: Bridge, message: str, data: Mapping[str, object]) -> Steps[v16.DataTransferConf]:
    """Send a price. Raises OcppError (`NotSupported`) where the station does not say that it shows prices."""
    if bridge.shows_prices is None:
        known: v16.GetConfigurationConf = yield v16.GetConfigurationReq(key=(SHOWS_PRICES,))
        values = (
            each.value or "" for each in known.configuration_key if each.key.casefold() == SHOWS_PRICES.casefold()
        )
        bridge.shows_prices = any(each.strip().casefold() == "true" for each in values)
    if not bridge.shows_prices:
        raise OcppError(f"the station shows no prices: its {SHOWS_PRICES} is not true", answer="NotSupported")
    text = msgspec.json.encode({name: value for name, value in data.items() if value is not None}).decode()
    answer: v16.DataTransferConf = yield v16.DataTransferReq(vendor_id=COSTS, message_id=message, data=text)
    if answer.status != "Accepted":
        raise OcppError(f"the station answers {message} with {answer.status}", answer="NotSupported")
    return answer


@to_station
def update_cost(bridge: Bridge, request: CostUpdatedRequest) -> Steps[CostUpdatedResponse]:
    """Show what a transaction costs so far."""
    found = yield from bridge.find(number_in(request.transaction_id))
    if found is None:
        raise OcppError(f"no transaction {request.transaction_id}", answer="PropertyConstraintViolation")
    yield from _send(bridge, "RunningCost", _running(bridge, found, request.total_cost))
    return CostUpdatedResponse()


def _running(bridge: Bridge, found: Numbered, cost: float) -> dict[str, object]:
    return {
        "transactionId": found.number,
        "timestamp": format_time(bridge.now_ms),
        "meterValue": found.import_wh,
        "cost": cost,
        "state": "Charging" if found.charging_state == "Charging" else "Idle",
        "chargingPrice": {},  # the station adds nothing to a cost of the back end
    }


def show_price(bridge: Bridge, id_tag: str, info: IdTokenInfo | None) -> None:
    """Show a driver what the back end has to say to them, after the answer in which it says so."""
    if bridge.shows_prices is not False and info is not None and info.personal_message is not None:
        data = {"idToken": id_tag, "priceText": info.personal_message.content}
        bridge.after.append(_send(bridge, "SetUserPrice", data))


def show_cost(bridge: Bridge, found: Numbered, answer: TransactionEventResponse) -> None:
    """Show the cost in the answer to an event, after that of the station's message: that of the end is final."""
    cost, text = answer.total_cost, answer.updated_personal_message
    if cost is None or found.number <= 0 or bridge.shows_prices is False:
        return
    if found.active:
        bridge.after.append(_send(bridge, "RunningCost", _running(bridge, found, cost)))
        return
    shown = f"{cost:.2f}" if text is None else text.content
    data = {"transactionId": found.number, "cost": cost, "priceText": shown}
    bridge.after.append(_send(bridge, "FinalCost", data))
