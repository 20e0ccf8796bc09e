"""Orders about availability: which connectors they are about, and when they have come true."""

from csms.remote_control.rules import Order, covers, fulfilled
from v2g.ocpp.messages.base import EVSE


def order(evse_id: int = 0, connector_id: int = 0, wanted: str = "Inoperative") -> Order:
    return Order(order_id=1, station_id="CS", evse_id=evse_id, connector_id=connector_id, wanted=wanted)  # type: ignore[arg-type]


def test_what_is_named_to_the_station() -> None:
    assert order().evse is None
    assert order(1).evse == EVSE(id=1)
    assert order(1, 2).evse == EVSE(id=1, connector_id=2)


def test_which_connectors_an_order_is_about() -> None:
    assert covers(order(), 3, 1)
    assert covers(order(1), 1, 2)
    assert not covers(order(1), 2, 1)
    assert not covers(order(1, 1), 1, 2)


def test_an_order_is_fulfilled_when_every_connector_of_it_says_so() -> None:
    assert fulfilled(order(1), [(1, 1, "Unavailable"), (1, 2, "Unavailable"), (2, 1, "Available")])
    assert not fulfilled(order(), [(1, 1, "Unavailable"), (2, 1, "Occupied")])
    assert fulfilled(order(1, wanted="Operative"), [(1, 1, "Occupied"), (2, 1, "Unavailable")])
    assert not fulfilled(order(4), [(1, 1, "Unavailable")])
