"""Orders about availability: which connectors they are about, and when they have come true."""

from csms.remote_control.rules import OPEN, Order, covers, fulfilled, statuses_of
from tests.together import together
from v2g.ocpp.messages.base import EVSE, Component, Variable
from v2g.ocpp.messages.diagnostics import EventData


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


def test_an_order_begins_at_once_and_is_planned() -> None:
    assert Order(order_id=1, station_id="CS", wanted="Operative") == Order(
        order_id=1, station_id="CS", evse_id=0, connector_id=0, wanted="Operative", state="Planned",
        not_before_ms=0, updated_ms=0, detail="",
    )  # fmt: skip
    assert frozenset({"Planned", "Sent", "Accepted", "Scheduled"}) == OPEN


@together(
    ("component", "variable", "value", "evse", "status"),
    [
        ("Connector", "AvailabilityState", "Occupied", EVSE(id=2, connector_id=1), "Occupied"),
        ("Connector", "AvailabilityState", "Faulted", EVSE(id=2, connector_id=1), "Faulted"),
        ("Connector", "AvailabilityState", "occupied", EVSE(id=2, connector_id=1), None),
        ("Connector", "AvailabilityState", "Occupied", EVSE(id=2), None),
        ("Connector", "AvailabilityState", "Occupied", None, None),
        ("EVSE", "AvailabilityState", "Occupied", EVSE(id=2, connector_id=1), None),
        ("Connector", "Available", "Occupied", EVSE(id=2, connector_id=1), None),
    ],
)
def test_events_that_report_the_status_of_a_connector(
    component: str, variable: str, value: str, evse: EVSE | None, status: str | None
) -> None:
    """G01.FR.07: a station may send NotifyEvent in place of StatusNotification."""
    event = EventData(
        event_id=1, timestamp="1970-01-01T00:00:01Z", trigger="Delta", actual_value=value,
        event_notification_type="HardWiredNotification",
        component=Component(name=component, evse=evse), variable=Variable(name=variable),
    )  # fmt: skip
    assert list(statuses_of([event])) == ([((2, 1), status, 1000)] if status else [])
