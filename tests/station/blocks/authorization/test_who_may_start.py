"""Who may start and stop at which EVSE, and what is asked of whom (C01 to C16, E03, E07)."""

from typing import Any

import pytest
from msgspec.structs import replace

from tests.station.bench import SOCKET, Bench, Refused
from tests.station.charging import bench, charging
from v2g_station.blocks.evse import Authorization, Indicate, StopButton
from v2g_station.blocks.transactions.sessions import NO_AUTHORIZATION

A = "AuthCtrlr."
REFUSED = {"idTokenInfo": {"status": "Invalid"}}
CACHED = {"AuthCacheCtrlr.Enabled": "true", A + "LocalPreAuthorize": "true"}


def words(found: Bench, evse_id: int | None = 1) -> list[str]:
    """What an EVSE, or the common display, has shown."""
    return [each.word for each in found.commands if isinstance(each, Indicate) and each.evse_id == evse_id]


def holder(found: Bench, evse_id: int = 1) -> str | None:
    """Whose authorization an EVSE has."""
    authorization = found.station.evses[evse_id].authorization
    return None if authorization is None else authorization.id_token.id_token


def learnt(status: str, **variables: str) -> Bench:
    """A station whose cache knows what the CSMS has said of TAG-1, who has left again."""
    found = bench("PowerPathClosed", variables=CACHED | variables)
    found.answers["Authorize"] = {"idTokenInfo": {"status": status}}
    found.present()
    if status == "Accepted":
        found.present()
    assert len(found.all("Authorize")) == 1
    assert holder(found) is None
    found.clear()
    return found


@pytest.mark.parametrize("enabled", [True, False])
def test_without_authorization_a_plug_is_enough(enabled: bool) -> None:
    """C02."""
    found = bench("PowerPathClosed", variables={A + "Enabled": str(enabled).lower()})
    found.plug()
    assert found.station.evses[1].authorization == (None if enabled else Authorization(id_token=NO_AUTHORIZATION))
    assert holder(found, 2) is None
    assert found.all("Authorize") == []
    if not enabled:
        found.flow()
        token = found.expect("TransactionEvent", eventType="Started")["idToken"]
        assert token == {"idToken": "", "type": "NoAuthorization"}


@pytest.mark.parametrize("evse_id", [2, None])
def test_a_card_that_was_presented_first_is_kept_where_none_is_needed(evse_id: int | None) -> None:
    found = bench("PowerPathClosed", variables={A + "Enabled": "false"})
    found.present(evse_id=evse_id)
    found.plug(2)
    assert holder(found, 2) == "TAG-1"


@pytest.mark.parametrize("status", ["Accepted", "Blocked"])
def test_where_the_csms_is_not_asked_only_those_that_are_known_are_accepted(status: str) -> None:
    """DisableRemoteAuthorization."""
    found = learnt(status)
    assert found.set("AuthCtrlr", "DisableRemoteAuthorization", "true") == "Accepted"
    found.present("TAG-9")
    assert holder(found) is None
    found.present()
    assert holder(found) == ("TAG-1" if status == "Accepted" else None)
    assert found.set("AuthCtrlr", "LocalPreAuthorize", "false") == "Accepted"
    found.present(evse_id=2)
    assert len(found.all("Authorize")) == 1


@pytest.mark.parametrize("status", ["Accepted", "Blocked"])
@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("post", [True, False])
def test_who_is_known_is_asked_about_again_unless_that_is_enough(status: str, local: bool, post: bool) -> None:
    """C12.FR.02, C10: of those that are refused, unless DisablePostAuthorize."""
    variables = {} if post else {"AuthCacheCtrlr.DisablePostAuthorize": "true"}
    found = learnt(status, **variables)
    found.set("AuthCtrlr", "LocalPreAuthorize", str(local).lower())
    found.answers["Authorize"] = {"idTokenInfo": {"status": "Accepted"}}
    found.present()
    asked = not local or (status == "Blocked" and post)
    assert len(found.all("Authorize")) == 1 + asked
    assert holder(found) == ("TAG-1" if asked or status == "Accepted" else None)


@pytest.mark.parametrize("early", [True, False])
def test_before_the_station_is_accepted_nobody_starts_unless_that_is_allowed(early: bool) -> None:
    """B02, B03: TxBeforeAcceptedEnabled."""
    variables = CACHED | {"TxCtrlr.TxBeforeAcceptedEnabled": str(early).lower()}
    found = Bench(variables=variables | {A + "OfflineTxForUnknownIdEnabled": "true"}, power=False)
    found.registration.append(("Pending", 600))
    found.power_up()
    found.drop()
    found.present()
    assert holder(found) == ("TAG-1" if early else None)
    assert words(found)[-1] == ("accepted" if early else "rejected")
    found.back()
    found.wait(600)  # until the next boot notification, which is accepted
    found.present(evse_id=2)
    assert holder(found, 2) == "TAG-1"


@pytest.mark.parametrize("online", [True, False])
def test_an_error_of_the_csms_is_not_its_absence(online: bool) -> None:
    """C15: what is unknown is accepted while the CSMS is unreachable, also if that happens meanwhile."""
    found = bench("PowerPathClosed", variables={A + "OfflineTxForUnknownIdEnabled": "true"})
    found.answers["Authorize"] = Refused("InternalError") if online else (lambda _: None)
    found.present()
    if not online:
        assert holder(found) is None
        found.drop()
    assert holder(found) == (None if online else "TAG-1")
    assert words(found) == ["rejected" if online else "accepted"]
    found.present()
    assert len(found.all("Authorize")) == 1 + online, "who was refused may try again"


def test_a_second_card_waits_for_the_answer_to_the_first() -> None:
    found = bench("PowerPathClosed")
    found.answers["Authorize"] = lambda _: None
    found.present("TAG-1")
    found.present("TAG-2")
    assert [each["idToken"]["idToken"] for each in found.all("Authorize")] == ["TAG-1"]
    found.answer_late("Authorize", idTokenInfo={"status": "Accepted"})
    assert holder(found) == "TAG-1"
    assert len(found.all("Authorize")) == 1, "nor is it asked about later"
    found.answers["Authorize"] = REFUSED
    found.present("TAG-2")
    assert [each["idToken"]["idToken"] for each in found.all("Authorize")] == ["TAG-1", "TAG-2"]


def test_a_reader_of_no_evse_starts_nothing() -> None:
    found = bench("PowerPathClosed")
    found.present(evse_id=9)
    assert (words(found, 9), found.all("Authorize")) == (["no_evse"], [])


def test_a_card_at_a_common_reader_is_for_the_vehicle_that_waits() -> None:
    found = bench("PowerPathClosed")
    found.plug(2)
    found.present(evse_id=None)
    assert (holder(found, 1), holder(found, 2)) == (None, "TAG-1")
    found.present("TAG-2", evse_id=None)
    assert holder(found, 1) == "TAG-2", "the only one that is left"
    found.present("TAG-3", evse_id=None)
    assert (holder(found, 1), holder(found, 2)) == ("TAG-2", "TAG-1")


def test_a_card_at_a_common_reader_waits_for_a_plug() -> None:
    """E03: of two free EVSEs, at any of them, for EVConnectionTimeOut."""
    found = bench("PowerPathClosed", variables={"TxCtrlr.EVConnectionTimeOut": "60"})
    found.present(evse_id=None)
    assert words(found, None) == ["plug_in"]
    found.wait(59)
    found.plug(2, vehicle=False)  # a cable that no vehicle hangs on yet
    assert holder(found, 2) is None
    found.plug(2)
    assert (holder(found, 1), holder(found, 2)) == (None, "TAG-1")
    found.plug(1)
    found.wait(120)
    assert holder(found, 1) is None
    assert words(found, None) == ["plug_in"]
    late = bench("PowerPathClosed", variables={"TxCtrlr.EVConnectionTimeOut": "60"})
    late.present(evse_id=None)
    late.wait(61)
    assert words(late, None) == ["plug_in", "timeout"]
    late.plug(2)
    assert holder(late, 2) is None


def test_a_refused_card_at_a_common_reader_waits_for_nothing() -> None:
    found = bench("PowerPathClosed")
    found.answers["Authorize"] = REFUSED
    found.present(evse_id=None)
    assert words(found, None) == ["rejected"]
    found.plug(2)
    assert holder(found, 2) is None


@pytest.mark.parametrize("known", [True, False])
def test_another_card_of_the_same_group_ends_what_runs(known: bool) -> None:
    """C09.FR.04, .07, .11; one of another group, or of none, does not."""
    found = bench("PowerPathClosed", variables=CACHED if known else {})

    def answer(payload: dict[str, Any]) -> dict[str, Any]:
        group = {"TAG-1": "G", "TAG-2": "g", "TAG-3": "H"}.get(payload["idToken"]["idToken"])
        info: dict[str, Any] = {"status": "Accepted"}
        return {"idTokenInfo": info | ({"groupIdToken": {"idToken": group, "type": "Central"}} if group else {})}

    found.answers["Authorize"] = answer
    found.plug()
    if known:
        for token in ("TAG-3", "TAG-2"):
            found.present(token, 2)
            found.present(token, 2)
    found.present()
    found.flow()
    found.clear()
    for other in ("TAG-3", "TAG-4"):
        found.present(other)
        assert (holder(found), words(found)[-1]) == ("TAG-1", "rejected")
    found.present("TAG-2")
    assert holder(found) is None
    event = found.expect("TransactionEvent", triggerReason="StopAuthorized")
    assert event["idToken"]["idToken"] == "TAG-2"


def test_another_card_while_the_csms_is_away_ends_nothing() -> None:
    found = charging()
    found.drop()
    found.present("TAG-2")
    assert (holder(found), words(found)[-1]) == ("TAG-1", "rejected")


def test_the_stop_button_ends_what_runs_at_its_evse() -> None:
    """E07.FR.04."""
    found = charging()
    found.clear()
    found.fact(StopButton(evse_id=2))
    assert holder(found) == "TAG-1"
    found.fact(StopButton(evse_id=1))
    event = found.expect("TransactionEvent", triggerReason="StopAuthorized", eventType="Ended")
    assert (event["transactionInfo"]["stoppedReason"], "idToken" in event) == ("Local", False)


@pytest.mark.parametrize("sockets", [1, 2])
def test_a_cable_is_unlocked_by_its_owner_alone(sockets: int) -> None:
    """E09.FR.03, E10.FR.01: nobody is asked, and nothing begins."""
    evse = replace(SOCKET, connectors=SOCKET.connectors * sockets)
    found = charging(variables={"OCPPCommCtrlr.UnlockOnEVSideDisconnect": "false"}, evses=(evse,))
    found.unplug(station=True)
    assert holder(found) is None
    connector = found.station.evses[1].connectors[0]
    assert connector.locked
    asked = len(found.all("Authorize"))
    found.answers["Authorize"] = REFUSED
    found.present("TAG-2")
    assert (connector.locked, len(found.all("Authorize"))) == (True, asked + 1)
    found.present()
    assert (connector.locked, len(found.all("Authorize"))) == (False, asked + 1)
    assert holder(found) is None
