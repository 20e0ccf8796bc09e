"""Certification cases of functional block H, reservation: the station."""

from typing import Any

import pytest

from tests.certification.station.bench import FIXED, SOCKET, Bench, at
from v2g_station.blocks.evse import Fault

TOKEN = {"idToken": "TAG-1", "type": "ISO14443"}


def reserve(found: Bench, number: int = 1, evse_id: int | None = 1, *, s: int = 3600, **more: Any) -> str:
    """Reserve."""
    wish: dict[str, Any] = {"id": number, "expiryDateTime": at(found.utc_ms + s * 1000), "idToken": TOKEN}
    if evse_id is not None:
        wish["evseId"] = evse_id
    found.clear()
    status: str = found.ask("ReserveNow", wish | more)["status"]
    return status


def test_tc_h_01_cs_reserved_for_him() -> None:
    found = Bench()
    assert reserve(found) == "Accepted"
    found.expect("StatusNotification", evseId=1, connectorStatus="Reserved")
    found.present()
    found.plug()
    found.expect("StatusNotification", evseId=1, connectorStatus="Occupied")
    event = found.expect("TransactionEvent", eventType="Started")
    assert event["reservationId"] == 1  # H01.FR.15
    assert found.ask("CancelReservation", reservationId=1)["status"] == "Rejected", "it has been used"


def test_tc_h_02_cs_reserved_for_another() -> None:
    found = Bench()
    reserve(found)
    found.present("OTHER")
    found.plug()
    found.nothing("TransactionEvent")
    assert not found.allowed()
    assert found.shown()[-1] == "rejected"


def test_tc_h_03_cs_occupied_by_a_reservation() -> None:
    found = Bench()
    reserve(found)
    assert reserve(found, 2) == "Occupied"


def test_tc_h_04_cs_occupied_by_a_vehicle() -> None:
    found = Bench()
    found.plug()
    assert reserve(found) == "Occupied"


def test_tc_h_06_cs_unavailable() -> None:
    found = Bench()
    found.ask("ChangeAvailability", operationalStatus="Inoperative", evse={"id": 1})
    assert reserve(found) == "Unavailable"


def test_a_faulted_evse_cannot_be_reserved() -> None:
    found = Bench()
    found.fact(Fault(evse_id=1, word="x", active=True))
    assert reserve(found) == "Faulted"


def test_tc_h_07_cs_expired() -> None:
    found = Bench()
    reserve(found, s=60)
    found.wait(61)
    update = found.expect("ReservationStatusUpdate", reservationId=1)
    assert update["reservationUpdateStatus"] == "Expired"
    assert found.all("StatusNotification")[-1]["connectorStatus"] == "Available"


def test_a_reservation_that_ends_while_the_power_is_off_expires_afterwards() -> None:
    found = Bench()
    reserve(found, s=60)
    found.power_loss(away_s=120)
    found.expect("ReservationStatusUpdate", reservationUpdateStatus="Expired")


def test_tc_h_08_cs_any_evse() -> None:
    found = Bench()
    assert reserve(found, evse_id=None) == "Accepted"
    found.nothing("StatusNotification")
    found.present(evse_id=2)
    found.plug(2)
    found.expect("TransactionEvent", eventType="Started", reservationId=1)


def test_tc_h_09_cs_any_evse_but_all_reserved() -> None:
    found = Bench()
    reserve(found, 1, 1)
    reserve(found, 2, 2)
    assert reserve(found, 3, None) == "Occupied"


def test_tc_h_10_cs_any_evse_but_all_occupied() -> None:
    found = Bench()
    found.plug(1)
    found.plug(2)
    assert reserve(found, evse_id=None) == "Occupied"


def test_tc_h_12_cs_any_evse_but_none_in_service() -> None:
    found = Bench()
    found.ask("ChangeAvailability", operationalStatus="Inoperative")
    assert reserve(found, evse_id=None) == "Unavailable"


def test_tc_h_13_cs_any_evse_not_supported() -> None:
    assert reserve(Bench(variables={"ReservationCtrlr.NonEvseSpecific": "false"}), evse_id=None) == "Rejected"


def test_tc_h_14_cs_as_many_reservations_as_evses() -> None:
    found = Bench()
    reserve(found, 1, None)
    assert reserve(found, 2, None, idToken={"idToken": "TAG-2", "type": "ISO14443"}) == "Accepted"
    found.expect("StatusNotification", evseId=1, connectorStatus="Reserved")
    found.expect("StatusNotification", evseId=2, connectorStatus="Reserved")


def test_tc_h_15_cs_kind_of_connector() -> None:
    found = Bench(evses=(SOCKET, FIXED))
    assert reserve(found, evse_id=None, connectorType="cCCS2") == "Accepted"
    found.expect("StatusNotification", evseId=2, connectorStatus="Reserved")
    found.present("OTHER", 1)
    found.present(evse_id=2)
    found.plug(2)
    found.expect("TransactionEvent", reservationId=1)


def test_tc_h_16_cs_as_many_reservations_as_connectors_of_a_kind() -> None:
    found = Bench(evses=(SOCKET, FIXED))
    reserve(found, evse_id=None, connectorType="cCCS2")
    assert reserve(found, 2, None, connectorType="cCCS2") == "Occupied"


@pytest.mark.parametrize("kind", ["cTesla"])
def test_a_kind_of_connector_that_is_not_there_is_rejected(kind: str) -> None:
    assert reserve(Bench(), evse_id=None, connectorType=kind) == "Rejected"


def test_tc_h_17_cs_cancel() -> None:
    found = Bench()
    reserve(found)
    assert found.ask("CancelReservation", reservationId=1)["status"] == "Accepted"
    assert found.all("StatusNotification")[-1]["connectorStatus"] == "Available"


def test_tc_h_18_cs_cancel_rejected() -> None:
    assert Bench().ask("CancelReservation", reservationId=1)["status"] == "Rejected"


def test_tc_h_19_cs_used_by_the_group() -> None:
    group = {"idToken": "GROUP", "type": "Central"}
    found = Bench()
    found.answers["Authorize"] = {"idTokenInfo": {"status": "Accepted", "groupIdToken": group}}
    reserve(found, groupIdToken=group)
    found.present("OTHER")
    found.plug()
    found.expect("TransactionEvent", eventType="Started", reservationId=1)


def test_tc_h_21_cs_unavailable_cancels() -> None:
    found = Bench()
    reserve(found)
    found.ask("ChangeAvailability", operationalStatus="Inoperative", evse={"id": 1})
    found.expect("ReservationStatusUpdate", reservationUpdateStatus="Removed")


def test_tc_h_22_cs_configured_to_reject() -> None:
    assert reserve(Bench(variables={"ReservationCtrlr.Enabled": "false"})) == "Rejected"


def test_tc_h_23_cs_replaced() -> None:
    found = Bench()
    reserve(found)
    assert reserve(found, idToken={"idToken": "TAG-2", "type": "ISO14443"}) == "Accepted"
    found.present("TAG-1")
    assert found.shown()[-1] == "rejected"
    found.present("TAG-2")
    assert found.shown()[-1] == "accepted"


def test_tc_h_24_cs_any_evse_for_a_group() -> None:
    group = {"idToken": "GROUP", "type": "Central"}
    found = Bench(evses=(SOCKET,))
    found.answers["Authorize"] = {"idTokenInfo": {"status": "Accepted", "groupIdToken": group}}
    reserve(found, evse_id=None, groupIdToken=group)
    found.present("OTHER")
    found.plug()
    found.expect("TransactionEvent", reservationId=1)
