"""Functional block C, authorization, of our station, beyond the cases of the test lab."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.station.authorizations import says
from tests.station.bench import SOCKET, Bench, Refused, at
from tests.station.vehicles import V2X
from v2g.ocpp.messages.authorization import AuthorizationStatus, IdToken, IdTokenInfo
from v2g_station.blocks.authorization.contracts import CHARGING_ONLY, AuthorizeOutcome
from v2g_station.blocks.evse import AllowPower, ContractPresented, Indicate

GROUP = {"idToken": "GROUP-1", "type": "Central"}
ONE: dict[str, Any] = {"evses": (SOCKET,)}


def cached(
    status: str = "Accepted", *, pre: bool = True, variables: dict[str, str] | None = None, **info: Any
) -> Bench:
    """A station that has an identifier in its cache, and a vehicle that is plugged in."""
    found = Bench(variables={"AuthCtrlr.LocalPreAuthorize": "true" if pre else "false"} | (variables or {}))
    found.answers["Authorize"] = says(status, **info)
    found.present("TAG-1", 2)
    if status == "Accepted":
        found.present("TAG-1", 2)
    del found.answers["Authorize"]
    found.plug()
    found.clear()
    return found


def test_tc_c_05_cs_invalid_does_not_lock_the_cable() -> None:
    found = Bench()
    found.answers["Authorize"] = says("Invalid")
    found.plug()
    found.present()
    assert not found.locked()


@pytest.mark.parametrize("plugged", [True, False])
def test_a_driver_reads_why_a_card_is_refused(*, plugged: bool) -> None:
    """C01: personalMessage can be shown to the driver."""
    found = Bench()
    found.answers["Authorize"] = says("NoCredit", personalMessage={"format": "UTF8", "content": "Top up, please"})
    if plugged:
        found.plug()
    found.present()
    notices = [(each.word, each.message) for each in found.commands if isinstance(each, Indicate)]
    assert notices == [("rejected", "Top up, please")]


def test_a_message_for_a_card_that_may_charge_elsewhere_is_no_reason() -> None:
    found = Bench()
    welcome = {"format": "UTF8", "content": "Welcome"}
    found.answers["Authorize"] = says("Accepted", evseId=[2], personalMessage=welcome)
    found.plug()
    found.present()
    notices = [(each.word, each.message) for each in found.commands if isinstance(each, Indicate)]
    assert notices == [("rejected", "")]


def offline_then_invalid(**variables: str) -> Bench:
    """A transaction that began offline under an identifier that the CSMS no longer accepts."""
    found = cached(variables=variables)
    found.drop()
    found.present()
    found.flow()
    found.clear()
    found.answers["TransactionEvent"] = lambda p: says("Invalid") if "idToken" in p else {}
    found.back()
    return found


def test_invalid_later_with_energy_left() -> None:
    found = offline_then_invalid(**{"TxCtrlr.StopTxOnInvalidId": "false", "TxCtrlr.MaxEnergyOnInvalidId": "10000"})
    found.nothing("TransactionEvent", triggerReason="Deauthorized")
    assert found.allowed()
    found.meter_mwh[1] += 10_000_000
    found.wait(61)
    found.expect("TransactionEvent", transactionInfo__chargingState="SuspendedEVSE")
    assert not found.allowed()


def test_invalid_later_is_known_the_next_time() -> None:
    """C10.FR.05."""
    found = offline_then_invalid()
    found.expect("TransactionEvent", triggerReason="Deauthorized")
    found.unplug()
    found.plug()
    assert not offline(found)


def test_invalid_after_the_end_ends_nothing() -> None:
    found = cached()
    found.drop()
    found.present()
    found.flow()
    found.present()
    found.clear()
    found.answers["TransactionEvent"] = lambda p: says("Invalid") if "idToken" in p else {}
    found.back()
    found.expect("TransactionEvent", eventType="Ended", triggerReason="StopAuthorized")
    found.nothing("TransactionEvent")


def listed(
    status: str = "Accepted", *, pre: bool = True, variables: dict[str, str] | None = None, **info: Any
) -> Bench:
    """A station that has an identifier in its list, and a vehicle that is plugged in."""
    found = Bench(variables={"AuthCtrlr.LocalPreAuthorize": "true" if pre else "false"} | (variables or {}))
    entry = {"idToken": {"idToken": "TAG-1", "type": "ISO14443"}, "idTokenInfo": {"status": status, **info}}
    answer = found.ask("SendLocalList", versionNumber=1, updateType="Full", localAuthorizationList=[entry])
    assert answer["status"] == "Accepted"
    found.plug()
    found.clear()
    return found


def offline(found: Bench) -> bool:
    """Whether a token is accepted while the CSMS is out of reach."""
    found.drop()
    found.present()
    return found.allowed()


def test_a_listed_identifier_that_has_run_out_counts_as_none() -> None:
    found = listed(cacheExpiryDateTime=at(1_780_000_200_000 + 60_000))
    found.wait(61)
    found.present()
    found.expect("Authorize")


@pytest.mark.parametrize("expired", [True, False])
def test_a_listed_identifier_that_has_run_out_is_not_an_unknown_one(*, expired: bool) -> None:
    """C13.FR.06: offline it does not charge."""
    until = at(1_780_000_200_000 + 60_000)
    found = listed(cacheExpiryDateTime=until, variables={"AuthCtrlr.OfflineTxForUnknownIdEnabled": "true"})
    assert found.get("LocalAuthListCtrlr", "SupportsExpiryDateTime")["attributeValue"] == "true"
    found.wait(61 if expired else 59)
    assert offline(found) is not expired
    found.present("TAG-9", 2)
    assert found.shown()[-1] == "accepted"


def test_unknown_offline() -> None:
    assert not offline(cached(variables={"AuthCtrlr.OfflineTxForUnknownIdEnabled": "true"}, status="Invalid"))
    found = Bench(variables={"AuthCtrlr.OfflineTxForUnknownIdEnabled": "false"})
    found.plug()
    assert not offline(found)


def grouped(second: dict[str, Any], *, first: dict[str, Any] | None = None, **more: Any) -> Bench:
    """A transaction of a group's member, and what the CSMS says of another identifier."""
    found = Bench(**more)
    answers = {"TAG-1": first or says(groupIdToken=GROUP), "TAG-2": second}
    found.answers["Authorize"] = lambda p: answers[p["idToken"]["idToken"]]
    found.plug()
    found.present()
    found.flow()
    found.clear()
    return found


def test_a_group_may_stop_in_any_case() -> None:
    found = grouped(says(groupIdToken={"idToken": "group-1", "type": "Central"}))
    found.present("TAG-2")
    found.expect("TransactionEvent", triggerReason="StopAuthorized")


def test_another_group_does_not_stop() -> None:
    found = grouped(says(groupIdToken={"idToken": "GROUP-2", "type": "Central"}))
    found.present("TAG-2")
    found.nothing("TransactionEvent")
    assert found.allowed()
    found.answers["Authorize"] = lambda _: says(groupIdToken=GROUP)
    found.present("TAG-2")  # whose group is cached, and has changed
    found.expect("TransactionEvent", eventType="Ended", triggerReason="StopAuthorized")


MASTER = {"AuthCtrlr.MasterPassGroupId": "GROUP-1"}


def two_charging(free: int = 0) -> Bench:
    """Two transactions, EVSEs that are free, and a master pass."""
    found = Bench(variables=MASTER, evses=(SOCKET,) * (2 + free))
    found.answers["Authorize"] = lambda p: says(groupIdToken=GROUP) if p["idToken"]["idToken"] == "MASTER" else says()
    for evse_id in (1, 2):
        found.plug(evse_id)
        found.present(f"TAG-{evse_id}", evse_id)
        found.flow(evse_id=evse_id)
    found.clear()
    return found


@pytest.mark.parametrize("free", [0, 1, 2])
@pytest.mark.parametrize(("chosen", "ended"), [((), [1, 2]), ((1, 2), [1, 2]), ((2,), [2])])
def test_a_master_pass_stops_all_or_what_is_chosen(free: int, chosen: tuple[int, ...], ended: list[int]) -> None:
    """C16: at a common reader, also where another driver could begin."""
    found = two_charging(free)
    found.present("MASTER", None, chosen=chosen)
    events = [each for action, each in found.unread if action == "TransactionEvent"]
    events = [each for each in events if each["triggerReason"] == "StopAuthorized"]
    assert [each["evse"]["id"] for each in events] == ended
    assert {each["transactionInfo"]["stoppedReason"] for each in events} == {"MasterPass"}
    assert "rejected" not in found.shown()


@pytest.mark.parametrize("free", [0, 1])
def test_a_master_pass_that_is_refused_stops_nothing(free: int) -> None:
    found = two_charging(free)
    found.answers["Authorize"] = says("Blocked", groupIdToken=GROUP)
    found.present("MASTER", None)
    found.nothing("TransactionEvent")
    assert found.shown()[-1] == "rejected"


@pytest.mark.parametrize("evse_id", [1, None])
@pytest.mark.parametrize("plugged", [True, False])
def test_a_master_pass_that_stops_nothing_is_rejected(evse_id: int | None, *, plugged: bool) -> None:
    """C16.FR.03."""
    found = Bench(variables=MASTER)
    found.answers["Authorize"] = says(groupIdToken=GROUP)
    if plugged:
        found.plug()
    found.present("MASTER", evse_id)
    assert [each.word for each in found.commands if isinstance(each, Indicate)] == ["rejected"]
    found.nothing("TransactionEvent", idToken__idToken="MASTER")


def test_a_contract_of_the_group_of_the_master_pass_stops_nothing() -> None:
    """It is presented by a vehicle that plugs in, and not by a person."""
    found = two_charging(1)
    found.answers["Authorize"] = says(groupIdToken=GROUP)
    found.plug(3)
    found.fact(ContractPresented(evse_id=3, emaid="DEV2GC00000001", locally_valid=True))
    found.expect("Authorize", idToken__type="eMAID")
    found.nothing("TransactionEvent", triggerReason="StopAuthorized")
    assert not found.allowed(3)


def contract(found: Bench, **more: Any) -> None:
    """Show a contract."""
    found.plug()
    found.fact(ContractPresented(evse_id=1, emaid="DEV2GC00000001", **more))


@pytest.mark.parametrize("central", ["true", "false"])
def test_contract_validated_here(central: str) -> None:
    found = Bench(variables={"ISO15118Ctrlr.CentralContractValidationAllowed": central})
    found.answers["Authorize"] = says() | {"certificateStatus": "Accepted"}
    contract(found, locally_valid=True, chain_pem="CHAIN")
    assert ("certificate" in found.expect("Authorize", idToken__type="eMAID")) is (central == "true")
    found.expect("TransactionEvent", triggerReason="Authorized")


@pytest.mark.parametrize("online", [True, False])
def test_a_contract_charges_only_where_v2x_is_turned_off(*, online: bool) -> None:
    """V2XChargingCtrlr.Enabled."""
    variables = {"ISO15118Ctrlr.ContractValidationOffline": "true", "AuthCtrlr.OfflineTxForUnknownIdEnabled": "true"}
    found = Bench("2.1", variables=variables | {"V2XChargingCtrlr.Enabled": "false"})
    found.answers["Authorize"] = says() | {"certificateStatus": "Accepted", "allowedEnergyTransfer": ["DC_BPT", "DC"]}
    if not online:
        found.drop()
    shown: list[AuthorizeOutcome] = []
    fact = ContractPresented(evse_id=1, emaid="DEV2GC00000001", locally_valid=True)
    found.run(found.station.judge_contract(fact, lambda outcome, _: shown.append(outcome), found.moment))
    assert [each.energy_transfer for each in shown] == [("DC",) if online else CHARGING_ONLY]


@pytest.mark.parametrize("v2x", ["true", "false"])
@pytest.mark.parametrize("second", [False, True])
def test_a_card_is_allowed_what_the_csms_says_and_is_turned_on(v2x: str, *, second: bool) -> None:
    """Q01.FR.09, also where it is asked about while another one charges; V2XChargingCtrlr.Enabled."""
    found = Bench(
        "2.1", evses=(V2X,), variables={"V2XChargingCtrlr.Enabled": v2x, "AuthCtrlr.LocalPreAuthorize": "true"}
    )
    found.answers["Authorize"] = says() | {"allowedEnergyTransfer": ["DC_BPT", "DC"]}
    found.plug()
    if second:
        for token in ("TAG-1", "TAG-2", "TAG-1"):
            found.present(token)
        del found.answers["Authorize"]
    found.present("TAG-2")
    (allowed,) = [each for each in found.commands[-1:] if isinstance(each, AllowPower) and each.allowed]
    assert allowed.energy_transfer == (("DC_BPT", "DC") if v2x == "true" else ("DC",))


def test_contract_validation_by_the_csms_fails() -> None:
    found = Bench()
    found.answers["Authorize"] = says("Accepted") | {"certificateStatus": "CertChainError"}
    contract(found, chain_pem="CHAIN")
    found.expect("Authorize")
    assert not found.allowed()


@pytest.mark.parametrize(("valid", "allowed"), [(True, True), (False, False), (None, False)])
def test_contract_offline(valid: bool | None, allowed: bool) -> None:
    variables = {"ISO15118Ctrlr.ContractValidationOffline": "true", "AuthCtrlr.OfflineTxForUnknownIdEnabled": "true"}
    found = Bench(variables=variables)
    found.drop()
    contract(found, locally_valid=valid)
    assert found.allowed() is allowed


def test_a_listed_contract_may_have_separators() -> None:
    variables = {"ISO15118Ctrlr.ContractValidationOffline": "true", "AuthCtrlr.LocalAuthorizeOffline": "true"}
    found = Bench(variables=variables)
    entry = {"idToken": {"idToken": "DE-V2G-C00000001", "type": "eMAID"}, "idTokenInfo": {"status": "Accepted"}}
    found.ask("SendLocalList", versionNumber=1, updateType="Full", localAuthorizationList=[entry])
    found.drop()
    contract(found, locally_valid=True)
    assert found.allowed()


def test_a_contract_that_is_known_to_be_blocked_does_not_charge_as_an_unknown_one() -> None:
    found = Bench(variables={"ISO15118Ctrlr.ContractValidationOffline": "true"})
    entry = {"idToken": {"idToken": "DEV2GC00000001", "type": "eMAID"}, "idTokenInfo": {"status": "Blocked"}}
    found.ask("SendLocalList", versionNumber=1, updateType="Full", localAuthorizationList=[entry])
    found.drop()
    contract(found, locally_valid=True, accept_unknown=True)
    assert not found.allowed()


def test_a_contract_that_is_known_may_transfer_what_was_allowed_offline() -> None:
    """C10.FR.04, Q01.FR.09."""
    found = Bench("2.1", evses=(V2X,), variables={"ISO15118Ctrlr.ContractValidationOffline": "true"})
    found.answers["Authorize"] = says() | {"certificateStatus": "Accepted", "allowedEnergyTransfer": ["DC"]}
    contract(found, locally_valid=True)
    found.unplug()
    found.drop()
    found.commands.clear()
    contract(found, locally_valid=True)
    assert [each.energy_transfer for each in found.commands if isinstance(each, AllowPower)] == [("DC",)]


def test_the_cache_lets_go_of_what_is_no_use_first() -> None:
    from v2g_station.blocks.authorization import cache

    found = Bench(**ONE)
    for number in range(cache.MAX_ENTRIES + 3):
        found.answers["Authorize"] = says(
            "Blocked" if number == 7 else "Accepted",
        )
        token = IdToken(id_token=f"T-{number}", type="ISO14443")
        found.station.cache.learn(token, IdTokenInfo(status="Blocked" if number == 7 else "Accepted"))
    assert found.station.cache.find(IdToken(id_token="T-7", type="ISO14443")) is None
    assert found.station.cache.find(IdToken(id_token="T-900", type="ISO14443")) is not None
    assert int(found.get("AuthCacheCtrlr", "Storage")["attributeValue"]) <= 524_288


def stored(found: Bench, place: str, status: AuthorizationStatus) -> None:
    """Let a station know TAG-2 of the group, by its list or its cache."""
    if place == "list":
        entry = {
            "idToken": {"idToken": "TAG-2", "type": "ISO14443"},
            "idTokenInfo": says(status, groupIdToken=GROUP)["idTokenInfo"],
        }
        found.ask("SendLocalList", versionNumber=1, updateType="Full", localAuthorizationList=[entry])
    else:
        found.station.cache.learn(
            IdToken(id_token="TAG-2", type="ISO14443"),
            IdTokenInfo(status=status, group_id_token=IdToken(id_token="GROUP-1", type="Central")),
        )


@pytest.mark.parametrize("place", ["list", "cache"])
def test_a_member_of_the_group_that_is_known_stops_unasked(place: str) -> None:
    """C09.FR.04, C09.FR.07."""
    found = grouped(says("Invalid"))
    stored(found, place, "Accepted")
    found.clear()
    found.commands.clear()
    found.present("TAG-2")
    found.expect("TransactionEvent", triggerReason="StopAuthorized")
    found.nothing("Authorize", idToken__idToken="TAG-2")
    assert "rejected" not in found.shown()


@pytest.mark.parametrize("place", ["list", "cache"])
@pytest.mark.parametrize("away", [False, True])
def test_a_member_of_the_group_that_is_blocked_stops_nothing(place: str, *, away: bool) -> None:
    found = grouped(says("Blocked", groupIdToken=GROUP))
    stored(found, place, "Blocked")
    if away:
        found.drop()
    found.clear()
    found.present("TAG-2")
    found.nothing("TransactionEvent", triggerReason="StopAuthorized")
    assert found.allowed()
    assert found.shown()[-1] == "rejected"


def test_a_member_of_the_group_that_the_csms_accepts_is_not_rejected() -> None:
    found = grouped(says(groupIdToken=GROUP))
    found.commands.clear()
    found.present("TAG-2")
    found.expect("TransactionEvent", triggerReason="StopAuthorized")
    assert "rejected" not in found.shown()


def test_an_answer_that_comes_late_does_not_stop_the_next_driver() -> None:
    """C09.FR.03: it is the group of the driver who has ended."""
    found = grouped(says(), variables={"AuthCtrlr.LocalPreAuthorize": "true"})
    entry = {"idToken": {"idToken": "TAG-3", "type": "ISO14443"}, "idTokenInfo": {"status": "Accepted"}}
    found.ask("SendLocalList", versionNumber=1, updateType="Full", localAuthorizationList=[entry])
    found.answers["Authorize"] = None
    for token in ("TAG-2", "TAG-1", "TAG-3"):
        found.present(token)
    assert found.allowed()
    found.answer_late("Authorize", **says(groupIdToken=GROUP))
    assert found.allowed()
    assert found.shown()[-1] == "rejected"


def test_what_the_csms_says_of_another_card_is_kept() -> None:
    """C10.FR.04: it starts while the CSMS is away."""
    found = grouped(says(groupIdToken={"idToken": "GROUP-2", "type": "Central"}))
    found.set("AuthCtrlr", "LocalAuthorizeOffline", "true")
    found.present("TAG-2")
    found.present("TAG-1")
    found.unplug()
    found.drop()
    found.plug()
    found.present("TAG-2")
    assert found.allowed()


@pytest.mark.parametrize("kind", ["NoAuthorization", "ISO14443"])
def test_who_has_no_identifier_is_not_an_unknown_one(kind: str) -> None:
    """C15.FR.08."""
    found = Bench(variables={"AuthCtrlr.OfflineTxForUnknownIdEnabled": "true"})
    found.plug()
    found.drop()
    found.present("" if kind == "NoAuthorization" else "TAG-1", kind=kind)
    assert found.allowed() is (kind != "NoAuthorization")


def test_a_known_identifier_does_not_start_offline_where_none_known_may() -> None:
    """LocalAuthorizeOffline is off; OfflineTxForUnknownIdEnabled is about unknown ones."""
    variables = {"AuthCtrlr.LocalAuthorizeOffline": "false", "AuthCtrlr.OfflineTxForUnknownIdEnabled": "true"}
    assert not offline(cached(variables=variables))


def test_a_second_contract_at_an_evse_is_rejected() -> None:
    found = Bench()
    found.answers["Authorize"] = says()
    contract(found, locally_valid=True)
    assert found.allowed()
    found.commands.clear()
    found.fact(ContractPresented(evse_id=1, emaid="DEV2GC00000002", locally_valid=True))
    assert found.shown() == ["rejected"]


@pytest.mark.parametrize(("enabled", "valid"), [("false", True), ("true", False)])
def test_a_contract_that_is_invalid_or_unwanted_is_not_asked_about(enabled: str, *, valid: bool) -> None:
    found = Bench(variables={"ISO15118Ctrlr.PnCEnabled": enabled})
    found.answers["Authorize"] = says()
    contract(found, locally_valid=valid, chain_pem="CHAIN")
    found.nothing("Authorize")
    assert not found.allowed()
    assert found.shown()[-1] == "rejected"


def test_a_csms_that_answers_a_contract_with_an_error_is_not_away() -> None:
    """C07.FR.08 is about a station that is offline."""
    variables = {"ISO15118Ctrlr.ContractValidationOffline": "true", "AuthCtrlr.OfflineTxForUnknownIdEnabled": "true"}
    found = Bench(variables=variables)
    found.answers["Authorize"] = Refused("InternalError", "x" * 250)
    contract(found, locally_valid=True)
    assert not found.allowed()
    (noted,) = [each.data["reason"] for each in found.observed if each.name == "authorize_failed"]
    assert len(str(noted)) == 200


@pytest.mark.parametrize("lost", [True, False])
def test_a_csms_that_does_not_answer_a_contract_is_away(*, lost: bool) -> None:
    variables = {"ISO15118Ctrlr.ContractValidationOffline": "true", "AuthCtrlr.OfflineTxForUnknownIdEnabled": "true"}
    found = Bench(variables=variables)
    found.answers["Authorize"] = None
    contract(found, locally_valid=True)
    assert not found.allowed()
    if lost:
        found.drop()
    else:
        found.wait(120)
    assert found.allowed()


def test_a_station_that_is_not_accepted_starts_no_contract_offline() -> None:
    variables = {"ISO15118Ctrlr.ContractValidationOffline": "true", "AuthCtrlr.OfflineTxForUnknownIdEnabled": "true"}
    found = Bench(variables=variables | {"TxCtrlr.TxBeforeAcceptedEnabled": "false"}, power=False)
    found.registration.append(("Pending", 3600))
    found.power_up()
    found.drop()
    contract(found, locally_valid=True)
    assert not found.allowed()


def test_without_identification_an_evse_that_is_reserved_does_not_charge() -> None:
    """C02, H01: it is for somebody else."""
    found = Bench(variables={"AuthCtrlr.Enabled": "false"})
    found.ask(
        "ReserveNow", id=1, expiryDateTime=at(1_790_000_000_000), idToken={"idToken": "X", "type": "ISO14443"}, evseId=1
    )
    found.plug()
    assert not found.allowed()


@pytest.mark.parametrize(("place", "controller"), [(listed, "LocalAuthListCtrlr"), (cached, "AuthCacheCtrlr")])
@pytest.mark.parametrize("own", [True, False])
def test_a_blocked_identifier_that_is_known_is_asked_about_unless_disabled(
    place: Callable[..., Bench], controller: str, *, own: bool
) -> None:
    """C10.FR.03, C14.FR.03: each of the two says so for itself."""
    other = ({"LocalAuthListCtrlr", "AuthCacheCtrlr"} - {controller}).pop()
    found = place("Blocked", variables={f"{controller if own else other}.DisablePostAuthorize": "true"})
    found.present()
    if own:
        found.nothing("Authorize")
        assert found.shown()[-1] == "rejected"
    else:
        found.expect("Authorize")
    assert found.allowed() is not own


@pytest.mark.parametrize(("status", "allowed"), [("Accepted", True), ("Blocked", False)])
def test_without_remote_authorization_what_is_known_decides(status: str, *, allowed: bool) -> None:
    """C01.FR.03: DisableRemoteAuthorization."""
    found = listed(status, pre=False, variables={"AuthCtrlr.DisableRemoteAuthorization": "true"})
    found.present()
    found.nothing("Authorize")
    assert found.allowed() is allowed
    found.present("TAG-9", 2)  # unknown
    assert found.shown()[-1] == "rejected"


def test_a_second_card_waits_for_the_first_at_an_evse() -> None:
    found = Bench()
    found.answers["Authorize"] = None
    found.plug()
    found.present("TAG-1")
    found.present("TAG-2")
    assert len(found.all("Authorize")) == 1
    found.answer_late("Authorize", **says())
    assert found.allowed()


def test_a_cable_is_released_for_its_owner_only_where_nobody_charges() -> None:
    """E09.FR.03: another driver's cable is not."""
    found = Bench(evses=(SOCKET,), variables={"TxCtrlr.StopTxOnEVSideDisconnect": "true"})
    found.plug()
    found.present()
    found.flow()
    found.answers["Authorize"] = says("Invalid")
    found.present("TAG-2")
    assert found.locked()
    assert found.allowed()
