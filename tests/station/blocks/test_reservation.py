"""Functional block H, reservation, of our station, beyond the cases of the test lab."""

from typing import Any

import pytest

from tests.station.authorizations import says
from tests.station.bench import FIXED, Bench, at
from v2g.ocpp.messages.availability import ConnectorStatus
from v2g.ocpp.routes import Version
from v2g_station.blocks.evse import Fault
from v2g_station.kernel.layout import ConnectorLayout, EvseLayout

TOKEN = {"idToken": "TAG-1", "type": "ISO14443"}


def reserve(found: Bench, number: int = 1, evse_id: int | None = 1, *, s: int = 3600, **more: Any) -> str:
    """Reserve."""
    wish: dict[str, Any] = {"id": number, "expiryDateTime": at(found.utc_ms + s * 1000), "idToken": TOKEN}
    if evse_id is not None:
        wish["evseId"] = evse_id
    found.clear()
    status: str = found.ask("ReserveNow", wish | more)["status"]
    return status


def test_a_faulted_evse_cannot_be_reserved() -> None:
    found = Bench()
    found.fact(Fault(evse_id=1, word="x", active=True))
    assert reserve(found) == "Faulted"


def test_a_charger_that_shows_its_connectors_shows_that_one_is_reserved() -> None:
    """G03.FR.09, H01.FR.11: until its driver is authorized; another one cannot reserve it."""
    found = Bench("2.0.1", evses=(FIXED,), managed=True)

    def show(status: ConnectorStatus) -> None:
        found.run(found.station.show((1, 1), status, found.moment))

    show("Available")
    assert reserve(found) == "Accepted"
    found.expect("StatusNotification", connectorStatus="Reserved")
    assert reserve(found, 2) == "Occupied"
    show("Occupied")
    found.nothing("StatusNotification")
    other = {"idToken": "TAG-2", "type": "ISO14443"}
    assert found.ask("RequestStartTransaction", remoteStartId=1, evseId=1, idToken=other)["status"] == "Rejected"
    assert found.ask("RequestStartTransaction", remoteStartId=2, evseId=1, idToken=TOKEN)["status"] == "Accepted"
    found.expect("StatusNotification", connectorStatus="Occupied")
    show("Available")
    found.expect("StatusNotification", connectorStatus="Reserved")
    show("Faulted")
    found.expect("StatusNotification", connectorStatus="Faulted")
    show("Available")
    found.wait(3601)
    assert found.all("StatusNotification")[-1]["connectorStatus"] == "Available"


def test_a_reservation_that_ends_while_the_power_is_off_expires_afterwards() -> None:
    found = Bench()
    reserve(found, s=60)
    found.power_loss(away_s=120)
    found.expect("ReservationStatusUpdate", reservationUpdateStatus="Expired")


def test_tc_h_13_cs_any_evse_not_supported() -> None:
    assert reserve(Bench(variables={"ReservationCtrlr.NonEvseSpecific": "false"}), evse_id=None) == "Rejected"


@pytest.mark.parametrize("kind", ["cTesla"])
def test_a_kind_of_connector_that_is_not_there_is_rejected(kind: str) -> None:
    assert reserve(Bench(), evse_id=None, connectorType=kind) == "Rejected"


@pytest.mark.parametrize("first", ["any", "own"])
def test_a_reservation_of_any_evse_takes_none_from_a_driver_who_reserved_that_one(first: str) -> None:
    """H03.FR.01: one of two EVSEs remains for each."""
    found = Bench(variables={"ReservationCtrlr.NonEvseSpecific": "true"})
    other = {"idToken": "TAG-2", "type": "ISO14443"}
    wishes = {"any": (1, None, TOKEN), "own": (2, 1, other)}
    for name in (first, *({"any", "own"} - {first})):
        number, evse_id, token = wishes[name]
        assert reserve(found, number, evse_id, idToken=token) == "Accepted"
    found.plug(1)
    found.present("TAG-1", 1)
    assert not found.allowed(1)
    found.present("TAG-2", 1)
    assert found.allowed(1)


@pytest.mark.parametrize(("version", "said"), [("2.1", [(7, "NoTransaction")]), ("2.0.1", [])])
def test_a_reservation_that_no_transaction_follows_is_over(version: Version, said: list[tuple[int, str]]) -> None:
    """H03.FR.11; a station of 2.0.1 has no word for it."""
    variables = {"TxCtrlr.EVConnectionTimeOut": "60", "TxCtrlr.TxStartPoint": "PowerPathClosed"}
    found = Bench(version, evses=(FIXED,), variables=variables)
    assert reserve(found, 7) == "Accepted"
    begun = found.ask("RequestStartTransaction", {"idToken": TOKEN, "remoteStartId": 1, "evseId": 1})
    assert begun["status"] == "Accepted"
    found.wait(59)
    assert found.all("ReservationStatusUpdate") == []
    found.wait(2)
    updates = found.all("ReservationStatusUpdate")
    assert [(each["reservationId"], each["reservationUpdateStatus"]) for each in updates] == said
    assert reserve(found, 8) == "Accepted"


CCS = EvseLayout(connectors=(ConnectorLayout(connector_type="cCCS2"),), max_power_w=150_000)
OTHER = EvseLayout(connectors=(ConnectorLayout(connector_type="cG105"),), max_power_w=50_000)


def mixed() -> Bench:
    """Return a station with an EVSE of each of two kinds."""
    return Bench(evses=(CCS, OTHER), variables={"ReservationCtrlr.NonEvseSpecific": "true"})


def test_a_reservation_of_one_kind_of_connector_takes_none_of_another() -> None:
    """H01.FR.06."""
    found = mixed()
    assert reserve(found, 1, None, connectorType="cCCS2") == "Accepted"
    assert reserve(found, 2, None, connectorType="cG105") == "Accepted"
    assert reserve(found, 3, None, connectorType="cG105") == "Occupied"


@pytest.mark.parametrize("first", [None, "cCCS2"])
def test_reservations_of_any_evse_and_of_a_kind_are_for_evses_of_their_own(first: str | None) -> None:
    """H01.FR.07, .09: one of any EVSE has the other one then, which nobody else gets."""
    found = mixed()
    for number, kind in enumerate((first, None if first else "cCCS2"), 1):
        assert reserve(found, number, None, **({} if kind is None else {"connectorType": kind})) == "Accepted"
    assert reserve(found, 3, None) == "Occupied"
    for evse_id in (1, 2):
        found.plug(evse_id)
        found.present("TAG-2", evse_id)
        assert not found.allowed(evse_id)


@pytest.mark.parametrize("group", ["GROUP-1", "group-1"])
def test_a_reservation_of_a_group_is_kept_in_any_case(group: str) -> None:
    found = Bench()
    assert reserve(found, groupIdToken={"idToken": "Group-1", "type": "Central"}) == "Accepted"
    found.answers["Authorize"] = says(groupIdToken={"idToken": group, "type": "Central"})
    found.plug(1)
    found.present("TAG-2", 1)
    assert found.allowed(1)
