"""Certification cases of functional block C, authorization: the station."""

from typing import Any

import pytest

from tests.certification.station.bench import SOCKET, Bench, at
from tests.certification.station.test_block_e import charging
from v2g_station.blocks.evse import Contract

GROUP = {"idToken": "GROUP-1", "type": "Central"}
ONE: dict[str, Any] = {"evses": (SOCKET,)}


def says(status: str = "Accepted", **more: Any) -> dict[str, Any]:
    """What the CSMS says to an identifier."""
    return {"idTokenInfo": {"status": status, **more}}


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


@pytest.mark.parametrize("status", ["Invalid", "Unknown"])
def test_tc_c_02_cs_invalid(status: str) -> None:
    found = Bench()
    found.plug()
    found.answers["Authorize"] = says(status)
    found.present()
    found.expect("Authorize")
    found.nothing("TransactionEvent", triggerReason="Authorized")
    assert not found.allowed()
    assert found.shown()[-1] == "rejected"


def test_tc_c_04_cs_a_different_token_does_not_stop() -> None:
    found = charging()
    found.clear()
    found.present("OTHER")
    found.expect("Authorize", idToken__idToken="OTHER")
    found.nothing("TransactionEvent")
    assert found.allowed()


def test_tc_c_05_cs_invalid_does_not_lock_the_cable() -> None:
    found = Bench()
    found.answers["Authorize"] = says("Invalid")
    found.plug()
    found.present()
    assert not found.locked()


def test_tc_c_06_cs_blocked() -> None:
    test_tc_c_02_cs_invalid("Blocked")


def test_tc_c_07_cs_expired() -> None:
    test_tc_c_02_cs_invalid("Expired")


def test_tc_c_56_cs_unknown() -> None:
    test_tc_c_02_cs_invalid("Unknown")


def test_tc_c_08_cs_cached() -> None:
    found = cached()
    found.present()
    found.nothing("Authorize")
    found.expect("TransactionEvent", triggerReason="Authorized", idToken__idToken="TAG-1")
    assert found.allowed()


def test_tc_c_09_cs_cached_invalid_and_not_accepted() -> None:
    found = cached("Invalid")
    found.answers["Authorize"] = says("Invalid")
    found.present()
    found.expect("Authorize")
    assert not found.allowed()


def test_tc_c_10_cs_cached_blocked() -> None:
    found = cached("Blocked")
    found.answers["Authorize"] = says("Blocked")
    found.present()
    found.expect("Authorize")
    assert not found.allowed()


def test_tc_c_11_cs_cached_expired() -> None:
    found = cached("Expired")
    found.answers["Authorize"] = says("Expired")
    found.present()
    found.expect("Authorize")
    assert not found.allowed()


def test_tc_c_12_cs_cached_invalid_and_accepted() -> None:
    found = cached("Invalid")
    found.present()
    found.expect("Authorize")
    found.expect("TransactionEvent", triggerReason="Authorized")
    assert found.allowed()


def test_tc_c_13_cs_cached_before_the_cable() -> None:
    found = cached(variables={"TxCtrlr.TxStartPoint": "Authorized"})
    found.unplug()
    found.clear()
    found.present()
    found.expect("TransactionEvent", eventType="Started", triggerReason="Authorized")
    assert not found.allowed()
    found.plug()
    assert found.allowed()


def test_tc_c_14_cs_cached_master_pass_does_not_start() -> None:
    found = cached(variables={"AuthCtrlr.MasterPassGroupId": "GROUP-1"}, groupIdToken=GROUP)
    found.present()
    found.nothing("TransactionEvent", triggerReason="Authorized")
    assert not found.allowed()


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


def test_tc_c_15_cs_invalid_later_with_energy_left() -> None:
    found = offline_then_invalid(**{"TxCtrlr.StopTxOnInvalidId": "false", "TxCtrlr.MaxEnergyOnInvalidId": "10000"})
    found.nothing("TransactionEvent", triggerReason="Deauthorized")
    assert found.allowed()
    found.meter_mwh[1] += 10_000_000
    found.wait(61)
    found.expect("TransactionEvent", transactionInfo__chargingState="SuspendedEVSE")
    assert not found.allowed()


def test_tc_c_16_cs_invalid_later_stops() -> None:
    found = offline_then_invalid(**{"TxCtrlr.StopTxOnInvalidId": "true", "TxCtrlr.MaxEnergyOnInvalidId": "0"})
    found.expect("TransactionEvent", triggerReason="Deauthorized")
    assert not found.allowed()


def test_tc_c_17_cs_invalid_later_suspends() -> None:
    found = offline_then_invalid(**{"TxCtrlr.StopTxOnInvalidId": "false", "TxCtrlr.MaxEnergyOnInvalidId": "0"})
    found.expect(
        "TransactionEvent", triggerReason="ChargingStateChanged", transactionInfo__chargingState="SuspendedEVSE"
    )
    found.nothing("TransactionEvent", triggerReason="Deauthorized")
    assert not found.allowed()


def test_tc_c_18_cs_invalid_later_stops_whatever_energy_is_left() -> None:
    found = offline_then_invalid(**{"TxCtrlr.StopTxOnInvalidId": "true", "TxCtrlr.MaxEnergyOnInvalidId": "500"})
    found.expect("TransactionEvent", triggerReason="Deauthorized")


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


def test_tc_c_21_cs_listed_offline() -> None:
    assert offline(listed())


def test_tc_c_22_cs_listed_invalid_offline() -> None:
    assert not offline(listed("Invalid"))


def test_tc_c_23_cs_listed_blocked_offline() -> None:
    assert not offline(listed("Blocked"))


def test_tc_c_24_cs_listed_expired_offline() -> None:
    assert not offline(listed("Expired"))


def test_a_listed_identifier_that_has_run_out_counts_as_none() -> None:
    found = listed(cacheExpiryDateTime=at(1_780_000_200_000 + 60_000))
    found.wait(61)
    found.present()
    found.expect("Authorize")


def test_tc_c_25_cs_the_list_comes_before_the_cache() -> None:
    found = listed("Invalid")
    found.present()  # the CSMS accepts it: that is in the cache now
    found.present()
    assert not found.allowed()
    assert not offline(found)


def test_tc_c_26_cs_unknown_offline() -> None:
    assert not offline(cached(variables={"AuthCtrlr.OfflineTxForUnknownIdEnabled": "true"}, status="Invalid"))
    found = Bench(variables={"AuthCtrlr.OfflineTxForUnknownIdEnabled": "false"})
    found.plug()
    assert not offline(found)


def test_tc_c_27_cs_listed_online() -> None:
    found = listed()
    found.present()
    found.nothing("Authorize")
    found.expect("TransactionEvent", triggerReason="Authorized")
    assert found.allowed()


def test_tc_c_28_cs_listed_invalid_is_not_asked_about() -> None:
    found = listed("Invalid", variables={"LocalAuthListCtrlr.DisablePostAuthorize": "true"})
    found.present()
    found.nothing("Authorize")
    assert not found.allowed()


@pytest.mark.parametrize("status", ["Blocked", "Expired"])
def test_tc_c_58_cs_listed_otherwise_is_not_asked_about(status: str) -> None:
    found = listed(status, variables={"LocalAuthListCtrlr.DisablePostAuthorize": "true"})
    found.answers["Authorize"] = says("Accepted")
    found.present()
    found.nothing("Authorize")
    assert not found.allowed()


def test_tc_c_29_cs_listed_blocked_online() -> None:
    found = listed("Blocked")
    found.answers["Authorize"] = says("Blocked")
    found.present()
    found.expect("Authorize")
    assert not found.allowed()


def test_tc_c_30_cs_listed_expired_online() -> None:
    found = listed("Expired")
    found.answers["Authorize"] = says("Expired")
    found.present()
    found.expect("Authorize")
    assert not found.allowed()


def test_tc_c_31_cs_listed_invalid_and_accepted() -> None:
    found = listed("Invalid")
    found.present()
    found.expect("Authorize")
    assert found.allowed()


def test_tc_c_32_cs_the_cache_survives_a_reboot() -> None:
    found = cached()
    found.power_loss()
    found.plug()
    found.clear()
    found.present()
    found.nothing("Authorize")
    assert found.allowed()


def test_tc_c_33_cs_the_cache_learns_from_authorize() -> None:
    found = cached("Invalid")
    found.present()
    found.present()
    found.clear()
    found.present()
    found.nothing("Authorize")


def test_tc_c_34_cs_the_cache_learns_from_events() -> None:
    found = cached()
    found.answers["TransactionEvent"] = lambda p: says("Blocked") if "idToken" in p else {}
    found.present()
    found.answers.clear()
    found.answers["Authorize"] = says("Blocked")
    found.unplug()
    found.plug()
    found.clear()
    found.present()
    found.present()
    found.expect("Authorize")


def test_tc_c_36_cs_the_cache_is_not_used_without_pre_authorization() -> None:
    found = cached(pre=False)
    found.present()
    found.expect("Authorize")


def test_tc_c_37_cs_the_cache_is_cleared() -> None:
    found = cached()
    assert found.ask("ClearCache")["status"] == "Accepted"
    found.present()
    found.expect("Authorize")


def test_tc_c_38_cs_a_cache_that_is_off_is_not_cleared() -> None:
    assert Bench(variables={"AuthCacheCtrlr.Enabled": "false"}).ask("ClearCache")["status"] == "Rejected"


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


def test_tc_c_39_cs_a_group_member_stops() -> None:
    found = grouped(says(groupIdToken=GROUP))
    found.present("TAG-2")
    found.expect("Authorize")
    found.expect("TransactionEvent", triggerReason="StopAuthorized", idToken__idToken="TAG-2")
    assert not found.allowed()


def with_list(info: dict[str, Any]) -> Bench:
    """A group member charges; another identifier stands in the list."""
    found = grouped(says(groupIdToken=GROUP))
    entry = {"idToken": {"idToken": "TAG-2", "type": "ISO14443"}, "idTokenInfo": info}
    found.ask("SendLocalList", versionNumber=1, updateType="Full", localAuthorizationList=[entry])
    return found


def test_tc_c_40_cs_a_listed_group_member_stops() -> None:
    found = with_list({"status": "Accepted", "groupIdToken": GROUP})
    found.present("TAG-2")
    found.nothing("Authorize")
    found.expect("TransactionEvent", triggerReason="StopAuthorized")


def test_tc_c_41_cs_a_cached_group_member_stops() -> None:
    found = Bench(variables={"AuthCtrlr.LocalPreAuthorize": "true"})
    found.answers["Authorize"] = says(groupIdToken=GROUP)
    found.present("TAG-2", 2)
    found.present("TAG-2", 2)
    found.plug()
    found.present()
    found.flow()
    found.clear()
    found.present("TAG-2")
    found.nothing("Authorize")
    found.expect("TransactionEvent", triggerReason="StopAuthorized")


def test_tc_c_42_cs_another_group_does_not_stop() -> None:
    found = grouped(says(groupIdToken={"idToken": "GROUP-2", "type": "Central"}))
    found.present("TAG-2")
    found.nothing("TransactionEvent")
    assert found.allowed()


def test_tc_c_43_cs_a_listed_invalid_group_member_does_not_stop() -> None:
    found = with_list({"status": "Invalid", "groupIdToken": GROUP})
    found.answers["Authorize"] = says("Invalid", groupIdToken=GROUP)
    found.present("TAG-2")
    found.nothing("TransactionEvent", triggerReason="StopAuthorized")
    assert found.allowed()


def test_tc_c_44_cs_an_invalid_group_member_does_not_stop() -> None:
    found = grouped(says("Invalid", groupIdToken=GROUP))
    found.present("TAG-2")
    found.present("TAG-2")
    found.nothing("TransactionEvent", triggerReason="StopAuthorized")


MASTER = {"AuthCtrlr.MasterPassGroupId": "GROUP-1"}


def test_tc_c_45_cs_a_master_pass_does_not_start() -> None:
    found = Bench(variables=MASTER)
    found.answers["Authorize"] = says(groupIdToken=GROUP)
    found.plug()
    found.present()
    found.nothing("TransactionEvent", triggerReason="Authorized")
    assert not found.allowed()


def test_tc_c_46_cs_the_cache_has_a_lifetime() -> None:
    found = cached(variables={"AuthCacheCtrlr.LifeTime": "60"})
    found.wait(61)
    found.present()
    found.expect("Authorize")


def two_charging() -> Bench:
    """Two transactions, and a master pass."""
    found = Bench(variables=MASTER)
    found.answers["Authorize"] = lambda p: says(groupIdToken=GROUP) if p["idToken"]["idToken"] == "MASTER" else says()
    for evse_id in (1, 2):
        found.plug(evse_id)
        found.present(f"TAG-{evse_id}", evse_id)
        found.flow(evse_id=evse_id)
    found.clear()
    return found


def test_tc_c_47_cs_a_master_pass_stops_all() -> None:
    found = two_charging()
    found.present("MASTER", None, chosen=(1, 2))
    for evse in (1, 2):
        event = found.expect("TransactionEvent", triggerReason="StopAuthorized", evse={"id": evse, "connectorId": 1})
        assert event["transactionInfo"]["stoppedReason"] == "MasterPass"


def test_tc_c_48_cs_a_master_pass_stops_those_chosen() -> None:
    found = two_charging()
    found.present("MASTER", None, chosen=(2,))
    found.expect("TransactionEvent", triggerReason="StopAuthorized", evse={"id": 2, "connectorId": 1})
    assert found.allowed(1)


def test_tc_c_49_cs_a_master_pass_without_display() -> None:
    """Where nobody can choose, all are meant (C16.FR.02)."""
    found = two_charging()
    found.present("MASTER", None)
    for _ in (1, 2):
        event = found.expect("TransactionEvent", triggerReason="StopAuthorized")
        assert event["transactionInfo"]["stoppedReason"] == "MasterPass"
    assert not any(found.allowed(evse) for evse in (1, 2))


def test_tc_c_57_cs_cached_invalid_is_not_asked_about() -> None:
    found = cached("Invalid", variables={"AuthCacheCtrlr.DisablePostAuthorize": "true"})
    found.present()
    found.nothing("Authorize")
    assert not found.allowed()


def contract(found: Bench, **more: Any) -> None:
    """Show a contract."""
    found.plug()
    found.fact(Contract(evse_id=1, emaid="DEV2GC00000001", **more))


def test_tc_c_50_cs_contract_validated_here() -> None:
    found = Bench()
    found.answers["Authorize"] = says() | {"certificateStatus": "Accepted"}
    contract(found, locally_valid=True, chain_pem="CHAIN")
    assert "certificate" not in found.expect("Authorize", idToken__type="eMAID")
    found.expect("TransactionEvent", triggerReason="Authorized")


def test_tc_c_51_cs_contract_refused_by_the_csms() -> None:
    found = Bench()
    found.answers["Authorize"] = says("Invalid") | {"certificateStatus": "CertificateRevoked"}
    contract(found, locally_valid=True)
    found.expect("Authorize")
    assert not found.allowed()


def test_tc_c_52_cs_contract_validated_by_the_csms() -> None:
    found = Bench()
    found.answers["Authorize"] = says() | {"certificateStatus": "Accepted"}
    contract(found, chain_pem="CHAIN")
    assert found.expect("Authorize")["certificate"] == "CHAIN"
    assert found.allowed()


def test_tc_c_53_cs_contract_validation_by_the_csms_fails() -> None:
    found = Bench()
    found.answers["Authorize"] = says("Accepted") | {"certificateStatus": "CertChainError"}
    contract(found, chain_pem="CHAIN")
    found.expect("Authorize")
    assert not found.allowed()


@pytest.mark.parametrize(("valid", "allowed"), [(True, True), (False, False), (None, False)])
def test_tc_c_54_cs_contract_offline(valid: bool | None, allowed: bool) -> None:
    variables = {"ISO15118Ctrlr.ContractValidationOffline": "true", "AuthCtrlr.OfflineTxForUnknownIdEnabled": "true"}
    found = Bench(variables=variables)
    found.drop()
    contract(found, locally_valid=valid)
    assert found.allowed() is allowed


def test_tc_c_55_cs_contract_offline_is_not_validated() -> None:
    found = Bench(variables={"AuthCtrlr.OfflineTxForUnknownIdEnabled": "true"})
    found.drop()
    contract(found, locally_valid=True)
    assert not found.allowed()


def test_the_cache_lets_go_of_what_is_no_use_first() -> None:
    from v2g_station.blocks.authorization import cache

    found = Bench(**ONE)
    for number in range(cache.MAX_ENTRIES + 3):
        found.answers["Authorize"] = says(
            "Blocked" if number == 7 else "Accepted",
        )
        from v2g.ocpp.messages.authorization import IdToken, IdTokenInfo

        token = IdToken(id_token=f"T-{number}", type="Central")
        found.station.cache.learn(token, IdTokenInfo(status="Blocked" if number == 7 else "Accepted"))
    assert found.station.cache.find(IdToken(id_token="T-7", type="Central")) is None
    assert found.station.cache.find(IdToken(id_token="T-900", type="Central")) is not None
    assert int(found.get("AuthCacheCtrlr", "Storage")["attributeValue"]) <= 524_288
