"""Autocharge: a vehicle's MAC address is an identifier like any other that only starts, and only for this vehicle."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.station.bench import FIXED, Bench
from tests.station.blocks.transactions.managed_resumption import begin, lead, records, show
from tests.station.vehicles import V2X
from v2g.ocpp.routes import Version
from v2g_station.blocks.evse import VehicleAddress
from v2g_station.blocks.transactions.managed import RemoteStartExpired, RemoteStartRequested

MAC, OTHER = "0465650064C3", "98ED5CDAD998"
ACCEPTED = {"idTokenInfo": {"status": "Accepted"}}


def bench(version: Version = "2.0.1", answer: Any = None, **options: Any) -> Bench:
    found = Bench(version, **{"evses": (FIXED,), "managed": True, **options})
    if answer is not None:
        found.answers["Authorize"] = answer
    found.clear()
    return found


def came(found: Bench, address: str = MAC) -> None:
    found.fact(VehicleAddress(evse_id=1, mac_address=address))


def left(found: Bench) -> None:
    came(found, "")


def starts(found: Bench) -> list[tuple[str, str]]:
    commands = (each for each in found.commands if isinstance(each, RemoteStartRequested))
    return [(each.id_token.type, each.id_token.id_token) for each in commands]


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
def test_the_csms_decides_and_the_transaction_is_the_vehicles(version: Version) -> None:
    found = bench(version)
    came(found)
    token = {"idToken": MAC, "type": "MacAddress"}
    found.expect("Authorize", idToken=token)
    assert starts(found) == [("MacAddress", MAC)]
    begin(found, "a", "")
    assert found.expect("TransactionEvent", eventType="Started")["idToken"] == token
    left(found)
    assert not any(isinstance(each, RemoteStartExpired) for each in found.commands), "the transaction continues"
    lead(found, lambda s: s.finish("a", trigger="StopAuthorized", reason="Local", sample=found.read(1)))
    came(found, OTHER)
    found.expect("Authorize", idToken__idToken=OTHER)


@pytest.mark.parametrize("status", ["Invalid", "Unknown", "Blocked", "NoCredit", "NotAtThisLocation"])
def test_after_a_refusal_the_driver_presents_a_card_and_is_shown_nothing_before(status: str) -> None:
    found = bench(
        answer=lambda p: {"idTokenInfo": {"status": status if p["idToken"]["type"] == "MacAddress" else "Accepted"}}
    )
    before = found.shown()
    came(found)
    found.expect("Authorize", idToken__type="MacAddress")
    assert (starts(found), found.shown()) == ([], before)
    found.present("TAG-1")
    assert starts(found) == [("ISO14443", "TAG-1")]


def test_a_card_is_taken_while_the_address_is_being_checked() -> None:
    found = bench(
        answer=lambda p: None if p["idToken"]["type"] == "MacAddress" else {"idTokenInfo": {"status": "Accepted"}}
    )
    came(found)
    found.present("TAG-1")
    found.wait(60)
    begin(found, "a", "")
    found.expect("TransactionEvent", eventType="Started", idToken__idToken="TAG-1")


def test_an_address_that_is_accepted_after_a_card_starts_nothing() -> None:
    found = bench(answer=lambda _: None, variables={"AuthCtrlr.LocalPreAuthorize": "true"})
    entry = {"idToken": {"idToken": "TAG-1", "type": "ISO14443"}, **ACCEPTED}
    found.ask("SendLocalList", versionNumber=1, updateType="Full", localAuthorizationList=[entry])
    came(found)
    found.present("TAG-1")
    found.answer_late("Authorize", **ACCEPTED)
    assert starts(found) == [("ISO14443", "TAG-1")]


@pytest.mark.parametrize("then", [left, lambda found: came(found, OTHER)], ids=["nobody", "another"])
def test_a_late_answer_is_not_for_the_next_vehicle(then: Callable[[Bench], None]) -> None:
    found = bench()

    def answer(asked: Any) -> Any:
        if asked["idToken"]["idToken"] == OTHER:
            return {"idTokenInfo": {"status": "Unknown"}}
        then(found)
        return ACCEPTED

    found.answers["Authorize"] = answer
    came(found)
    found.expect("Authorize", idToken__idToken=MAC)
    assert starts(found) == []


def test_what_was_granted_to_a_vehicle_that_has_left_is_withdrawn() -> None:
    found = bench()
    came(found)
    assert starts(found) == [("MacAddress", MAC)]
    left(found)
    assert [each for each in found.commands if isinstance(each, RemoteStartExpired)] == [RemoteStartExpired(evse_id=1)]
    begin(found, "a", "")
    assert found.expect("TransactionEvent", eventType="Started")["idToken"]["type"] == "NoAuthorization"


def restarted() -> Bench:
    """A charger whose transaction of a vehicle waits for that after a restart (E17)."""
    found = bench(variables={"TxCtrlr.ResumptionTimeout": "300"}, version="2.1")
    came(found)
    begin(found, "a", "")
    found.power_loss(away_s=30, same_boot=True)
    found.run(found.station.resume(records(found)["a"], found.read(1), found.moment))
    found.clear()
    found.commands.clear()
    came(found)
    assert starts(found) == [("MacAddress", MAC)]
    return found


def test_after_a_restart_the_vehicle_charges_under_its_address() -> None:
    found = restarted()
    begin(found, "b", "")
    found.expect("TransactionEvent", eventType="Ended", transactionInfo__transactionId="tx-a")
    assert found.expect("TransactionEvent", eventType="Started")["idToken"] == {"idToken": MAC, "type": "MacAddress"}


def test_a_vehicle_that_leaves_after_a_restart_leaves_nothing_to_the_next() -> None:
    found = restarted()
    left(found)
    found.wait(16)
    show(found, "Available")
    found.expect("TransactionEvent", eventType="Ended", transactionInfo__transactionId="tx-a")
    assert RemoteStartExpired(evse_id=1) in found.commands
    begin(found, "b", "")
    assert found.expect("TransactionEvent", eventType="Started")["idToken"]["type"] == "NoAuthorization"


def test_a_card_that_was_presented_before_outlives_the_session() -> None:
    found = bench()
    found.present("TAG-1")
    came(found)
    left(found)
    found.nothing("Authorize", idToken__type="MacAddress")
    begin(found, "a", "")
    found.expect("TransactionEvent", eventType="Started", idToken__idToken="TAG-1")


def test_it_ends_no_transaction() -> None:
    """Neither its own, as a card presented twice does, nor as a member of a group or the holder of the master pass."""
    master = {"idTokenInfo": {"status": "Accepted", "groupIdToken": {"idToken": "M", "type": "Central"}}}
    found = bench(answer=master, evses=(V2X, V2X), variables={"AuthCtrlr.MasterPassGroupId": "M"})
    begin(found, "a")
    found.clear()
    found.fact(VehicleAddress(evse_id=2, mac_address=MAC))
    found.expect("Authorize", idToken__idToken=MAC)
    assert starts(found) == []
    assert "a" in found.station.sessions.records  # type: ignore[attr-defined]


@pytest.mark.parametrize(("listed", "expected"), [(True, [("MacAddress", MAC)]), (False, [])])
def test_without_the_csms_only_a_known_address_charges(listed: bool, expected: list[tuple[str, str]]) -> None:
    """Even where unknown cards may: every vehicle has an address."""
    variables = {"AuthCtrlr.OfflineTxForUnknownIdEnabled": "true", "AuthCtrlr.LocalAuthorizeOffline": "true"}
    found = bench(variables=variables)
    if listed:
        entry = {"idToken": {"idToken": MAC, "type": "MacAddress"}, "idTokenInfo": {"status": "Accepted"}}
        assert found.ask("SendLocalList", versionNumber=1, updateType="Full", localAuthorizationList=[entry]) == {
            "status": "Accepted"
        }
    found.accepting = lambda _: False
    found.drop()
    came(found)
    assert starts(found) == expected
    if not listed:
        found.present("TAG-1")
        assert starts(found) == [("ISO14443", "TAG-1")]


def test_a_reserved_evse_is_not_for_another_vehicle() -> None:
    found = bench(evses=(FIXED,))
    reserved = found.ask(
        "ReserveNow", id=1, evseId=1, expiryDateTime="2030-01-01T00:00:00Z", idToken={"idToken": "R", "type": "Central"}
    )
    assert reserved["status"] == "Accepted"
    came(found)
    assert starts(found) == []
