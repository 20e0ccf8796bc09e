"""Functional block F, remote control, of our station, beyond the cases of the test lab."""

from typing import Any

import pytest

from tests.station.bench import Bench
from tests.station.charging import charging
from v2g_station.blocks.evse import Lock, LockFailure, Unlocked

TOKEN = {"idToken": "0A0B0C0D", "type": "ISO14443"}


def start(found: Bench, **more: Any) -> dict[str, Any]:
    """Start remotely."""
    return found.ask("RequestStartTransaction", {"idToken": TOKEN, "remoteStartId": 42, "evseId": 1} | more)


@pytest.mark.parametrize("managed", [False, True], ids=["station", "charger"])
def test_the_csms_is_asked_about_the_identifier_of_a_remote_start(managed: bool) -> None:
    """F01.FR.01, F02.FR.09, whoever manages transactions; F01.FR.02 without AuthorizeRemoteStart."""
    for asks, status, allowed in (("true", "Accepted", True), ("true", "Blocked", False), ("false", "Blocked", True)):
        found = Bench(managed=managed, variables={"AuthCtrlr.AuthorizeRemoteStart": asks})
        found.answers["Authorize"] = {"idTokenInfo": {"status": status}}
        assert start(found)["status"] == "Accepted"
        assert len(found.all("Authorize")) == (asks == "true")
        assert (found.station.evses[1].authorization is not None) == allowed


@pytest.mark.parametrize("change", ["out of service", "reserved", "master pass"])
def test_a_remote_start_needs_what_a_card_needs_once_the_csms_has_answered(change: str) -> None:
    """F01.FR.01; F01.FR.21 to .23, C16.FR.03."""
    found = Bench(variables={"AuthCtrlr.MasterPassGroupId": "MASTER"})
    group = {"groupIdToken": {"idToken": "MASTER", "type": "Central"}} if change == "master pass" else {}

    def answer(_: Any) -> dict[str, Any]:
        if change == "out of service":
            found.ask("ChangeAvailability", operationalStatus="Inoperative", evse={"id": 1})
        elif change == "reserved":
            wish = {
                "id": 1,
                "idToken": TOKEN | {"idToken": "0F"},
                "expiryDateTime": "2099-01-01T00:00:00Z",
                "evseId": 1,
            }
            assert found.ask("ReserveNow", wish)["status"] == "Accepted"
        return {"idTokenInfo": {"status": "Accepted"} | group}

    found.answers["Authorize"] = answer
    assert start(found)["status"] == "Accepted"
    assert found.station.evses[1].authorization is None


def test_the_csms_is_not_asked_about_its_own_identifier() -> None:
    """C05.FR.01."""
    found = Bench()
    found.plug()
    assert start(found, idToken={"idToken": "APP-1", "type": "Central"})["status"] == "Accepted"
    assert not found.all("Authorize")
    assert found.allowed()


def test_a_remote_start_takes_no_evse_that_is_busy_or_out_of_service() -> None:
    found = charging()
    assert start(found)["status"] == "Rejected"
    assert start(found, evseId=9)["status"] == "Rejected"
    found.ask("ChangeAvailability", operationalStatus="Inoperative", evse={"id": 2})
    assert start(found, evseId=2)["status"] == "Rejected"
    assert found.ask("RequestStartTransaction", idToken=TOKEN, remoteStartId=1)["status"] == "Rejected"


def unlock(found: Bench, connector_id: int = 1) -> Any:
    """Ask for an unlocking, which the hardware has yet to do."""
    return found.ask_later("UnlockConnector", evseId=1, connectorId=connector_id)


def unlocks(found: Bench) -> None:
    """Ask for an unlocking and let the hardware do it."""
    found.commands.clear()
    answer = unlock(found)
    assert Lock(evse_id=1, connector_id=1, locked=False) in found.commands
    found.fact(Unlocked(evse_id=1))
    assert answer()["status"] == "Unlocked"


def test_unlock_accepted() -> None:
    found = Bench()
    found.plug()
    unlocks(found)


def test_an_unlocking_that_fails_or_never_ends_is_reported() -> None:
    found = Bench()
    answer = unlock(found)
    found.fact(LockFailure(evse_id=1, unlocking=True))
    assert answer()["status"] == "UnlockFailed"
    answer = unlock(found)
    found.wait(11)
    assert answer()["status"] == "UnlockFailed"


def trigger(found: Bench, message: str, **place: int) -> str:
    """Ask for a message."""
    evse = {"evse": {"id": place["id"]} | ({"connectorId": place["c"]} if "c" in place else {})} if place else {}
    found.clear()
    status: str = found.ask("TriggerMessage", {"requestedMessage": message} | evse)["status"]
    return status


def test_a_trigger_of_an_event_needs_a_transaction() -> None:
    assert trigger(Bench(), "TransactionEvent") == "Rejected"


def test_tc_f_27_cs_trigger_not_implemented() -> None:
    assert trigger(Bench(), "PublishFirmwareStatusNotification") == "NotImplemented"
