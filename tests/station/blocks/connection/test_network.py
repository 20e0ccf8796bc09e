"""Functional block B that only OCPP 2.1 has, network profiles, of our station, beyond the cases of the test lab."""

from typing import Any

import pytest

from tests.station.bench import Bench
from tests.station.certificates import install
from tests.station.reports import PROFILE, reports
from tests.together import together
from v2g.ocpp.routes import Version
from v2g_station.blocks.connection.network import first_profile
from v2g_station.kernel.kernel import Connect

CONFIGURED = {
    "OcppCsmsUrl": "ws://other.example/ocpp",
    "OcppInterface": "Wired0",
    "OcppTransport": "JSON",
    "OcppVersion": "OCPP21",
    "MessageTimeout": "20",
    "SecurityProfile": "1",
    "Identity": "CS-2",
    "BasicAuthPassword": "another-password-2",
}


def bench(**more: Any) -> Bench:
    """A station of 2.1."""
    return Bench("2.1", **more)


def put(found: Bench, slot: int, values: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Write variables of a slot; return status and reason of each."""
    component = {"name": "NetworkConfiguration", "instance": str(slot)}
    data = [{"component": component, "variable": {"name": n}, "attributeValue": v} for n, v in values.items()]
    results = found.ask("SetVariables", setVariableData=data)["setVariableResult"]
    return {
        r["variable"]["name"]: (r["attributeStatus"], r.get("attributeStatusInfo", {}).get("reasonCode", ""))
        for r in results
    }


def read(found: Bench, slot: int, name: str) -> dict[str, Any]:
    """Read a variable of a slot."""
    component = {"name": "NetworkConfiguration", "instance": str(slot)}
    wanted = [{"component": component, "variable": {"name": name}}]
    result: dict[str, Any] = found.ask("GetVariables", getVariableData=wanted)["getVariableResult"][0]
    return result


def prioritize(found: Bench, value: str) -> tuple[str, str]:
    """Write the order of slots; return status and reason."""
    place = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "NetworkConfigurationPriority"}}
    result = found.ask("SetVariables", setVariableData=[place | {"attributeValue": value}])["setVariableResult"][0]
    return result["attributeStatus"], result.get("attributeStatusInfo", {}).get("reasonCode", "")


def restart(found: Bench) -> None:
    """Restart the station; its connections are those from then on."""
    found.connects.clear()
    found.ask("Reset", type="OnIdle")


def with_profile(found: Bench, slot: int, **fields: Any) -> tuple[str, str]:
    """Set a network profile; return status and reason."""
    answer = found.ask("SetNetworkProfile", configurationSlot=slot, connectionData=PROFILE | fields)
    return answer["status"], answer.get("statusInfo", {}).get("reasonCode", "")


def test_identity_and_password_in_a_profile() -> None:
    found = bench()
    own = {"identity": "CS-OTHER", "basicAuthPassword": "a-password-of-its-own"}
    assert with_profile(found, 2, **own)[0] == "Accepted"
    assert read(found, 2, "Identity")["attributeValue"] == "CS-OTHER", "B09.FR.09"
    assert read(found, 2, "BasicAuthPassword")["attributeStatus"] == "Rejected", "write only"
    assert read(found, 2, "ApnEnabled")["attributeValue"] == "false", "B09.FR.11"
    assert prioritize(found, "2,1")[0] == "Accepted"
    restart(found)
    (connect,) = found.connects
    assert (connect.slot, connect.identity, connect.password) == (2, "CS-OTHER", "a-password-of-its-own")
    found.expect("BootNotification", reason="RemoteReset")
    assert found.get("SecurityCtrlr", "Identity")["attributeValue"] == "CS-OTHER", "B09.FR.28"
    found.accepting = lambda connect: connect.slot == 1
    found.connected = False
    found.run(found.station.closed("cut", found.moment))
    found.wait(600)
    assert found.connects[-1].slot == 1
    assert found.connects[-1].identity == "CS-1", "what the other profile says is not this one's"


def test_a_profile_by_variables() -> None:
    found = bench()
    assert put(found, 2, CONFIGURED) == dict.fromkeys(CONFIGURED, ("Accepted", ""))
    found.ask("GetBaseReport", requestId=1, reportBase="FullInventory")
    slots = [i for i in reports(found) if i["component"]["name"] == "NetworkConfiguration"]
    assert {i["component"]["instance"] for i in slots} == {"1", "2", "3", "4"}, "B09.FR.08"
    mutability = {i["variable"]["name"]: i["variableAttribute"][0]["mutability"] for i in slots}
    assert mutability["OcppCsmsUrl"] == "ReadWrite"
    assert mutability["BasicAuthPassword"] == "WriteOnly"
    assert mutability["VpnEnabled"] == "ReadOnly", "B09.FR.13"
    assert prioritize(found, "2,1")[0] == "Accepted"
    restart(found)
    (connect,) = found.connects
    assert (connect.url, connect.identity) == (CONFIGURED["OcppCsmsUrl"], "CS-2")
    assert connect.password == CONFIGURED["BasicAuthPassword"]
    found.expect("BootNotification")
    found.power_loss()
    assert found.connects[-1].url == CONFIGURED["OcppCsmsUrl"], "it is kept"


def test_slots_come_and_go() -> None:
    found = bench()
    put(found, 2, CONFIGURED)
    assert prioritize(found, "1,2")[0] == "Accepted"
    assert prioritize(found, "1")[0] == "Accepted", "B09.FR.20"
    assert put(found, 2, {"OcppCsmsUrl": "ws://third.example/ocpp"})["OcppCsmsUrl"][0] == "Accepted"
    assert prioritize(found, "2,1")[0] == "Accepted"
    assert prioritize(found, "2,3") == ("Rejected", "InvalidNetworkConf"), "slot 3 is empty (B09.FR.34)"
    assert prioritize(found, "5")[0] == "Rejected"
    assert prioritize(found, "")[0] == "Rejected"
    assert prioritize(found, "2,2")[0] == "Rejected"
    priority = found.get("OCPPCommCtrlr", "NetworkConfigurationPriority")["attributeValue"]
    assert priority == "2,1"


def test_a_slot_in_use_is_not_overwritten() -> None:
    found = bench()
    refused = put(found, 1, CONFIGURED)
    assert refused == dict.fromkeys(CONFIGURED, ("Rejected", "ActiveNetworkConf"))
    put(found, 2, CONFIGURED)
    prioritize(found, "1,2")
    assert put(found, 2, {"MessageTimeout": "99"})["MessageTimeout"] == ("Rejected", "ActiveNetworkConf")
    assert read(found, 2, "MessageTimeout")["attributeValue"] == "20"


def test_identity_and_password_of_the_security_controller() -> None:
    found = bench()
    with_profile(found, 2, identity="CS-OTHER", basicAuthPassword="a-password-of-its-own")
    prioritize(found, "2")
    restart(found)
    assert found.set("SecurityCtrlr", "Identity", "CS:3") == "Rejected", "a colon ends a user name"
    assert found.set("SecurityCtrlr", "Identity", "CS-3") in ("Accepted", "RebootRequired")
    assert read(found, 2, "Identity")["attributeValue"] == "", "B09.FR.26"
    assert found.set("SecurityCtrlr", "BasicAuthPassword", "the-third-of-the-passwords") == "Accepted"
    assert found.connects[-1].password == "the-third-of-the-passwords", "B09.FR.27"
    restart(found)
    assert (found.connects[-1].identity, found.connects[-1].password) == ("CS-3", "the-third-of-the-passwords")
    assert found.get("SecurityCtrlr", "Identity")["attributeValue"] == "CS-3"


def above(level: int, *, downgrade: bool) -> Bench:
    """A station of 2.1 that has come to a security profile of 2 or 3."""
    found = bench(chains={"ChargingStationCertificate": "the station's own chain"})
    install(found)
    if downgrade:
        assert found.set("SecurityCtrlr", "AllowSecurityProfileDowngrade", "true") == "Accepted"
    assert with_profile(found, 2, securityProfile=level, ocppCsmsUrl="wss://csms.example/ocpp")[0] == "Accepted"
    assert prioritize(found, "2,1")[0] == "Accepted"
    restart(found)
    assert found.get("SecurityCtrlr", "SecurityProfile")["attributeValue"] == str(level)
    assert read(found, 1, "OcppCsmsUrl")["attributeValue"] == "", "lower ones are gone (A05.FR.06)"
    assert found.get("OCPPCommCtrlr", "NetworkConfigurationPriority")["attributeValue"] == "2"
    return found


TLS = {"ocppCsmsUrl": "wss://csms.example/ocpp"}


@pytest.mark.parametrize("level", [2, 3])
def test_never_down_to_profile_1(level: int) -> None:
    found = above(level, downgrade=True)
    assert with_profile(found, 3) == ("Rejected", "NoSecurityDowngrade"), "B09.FR.31"


@pytest.mark.parametrize("level", [2, 3])
def test_never_down_to_profile_1_by_variables(level: int) -> None:
    found = above(level, downgrade=True)
    assert put(found, 3, CONFIGURED)["SecurityProfile"] == ("Rejected", "NoSecurityDowngrade"), "B09.FR.32"
    assert prioritize(found, "3")[0] == "Rejected"


def test_no_downgrade_where_none_is_allowed() -> None:
    found = above(3, downgrade=False)
    assert with_profile(found, 3, securityProfile=2, **TLS) == ("Rejected", "NoSecurityDowngrade"), "B09.FR.04"
    assert with_profile(found, 3, securityProfile=3, **TLS)[0] == "Accepted"


def test_no_downgrade_by_variables_where_none_is_allowed() -> None:
    found = above(3, downgrade=False)
    wanted = CONFIGURED | {"OcppCsmsUrl": "wss://csms.example/ocpp", "SecurityProfile": "2"}
    results = put(found, 3, wanted)
    assert results.pop("SecurityProfile") == ("Rejected", "NoSecurityDowngrade"), "B09.FR.35"
    assert {status for status, _ in results.values()} == {"Accepted"}


def test_a_downgrade_that_is_allowed_is_from_3_to_2() -> None:
    found = above(3, downgrade=True)
    assert with_profile(found, 3, securityProfile=2, **TLS)[0] == "Accepted"
    assert prioritize(found, "3,2")[0] == "Accepted"
    restart(found)
    assert found.connects[-1].security_profile == 2
    assert found.get("SecurityCtrlr", "SecurityProfile")["attributeValue"] == "2"
    assert read(found, 2, "SecurityProfile")["attributeValue"] == "3", "the higher one stays"


@together(
    "fields",
    [
        {"identity": "CS 1"},
        {"identity": "CS:1"},
        {"basicAuthPassword": "short"},
        {"messageTimeout": 0},
        {"ocppCsmsUrl": "https://csms.example"},
        {"ocppCsmsUrl": "ws://"},
        {"ocppCsmsUrl": "ws://csms.example:99999/ocpp"},
        {"ocppCsmsUrl": "ws://csms example/ocpp"},
        {"apn": {"apn": "internet", "apnAuthentication": "AUTO"}},
    ],
)
def test_what_cannot_be_used_is_not_taken(fields: dict[str, Any]) -> None:
    assert with_profile(bench(), 2, **fields)[0] == "Rejected"


def test_another_csms_gets_a_boot_notification_without_a_boot() -> None:
    found = bench(variables={"OCPPCommCtrlr.NetworkProfileConnectionAttempts": "1"})
    with_profile(found, 2)
    prioritize(found, "1,2")
    found.power_loss()
    found.clear()
    found.connected = False
    found.accepting = lambda connect: connect.slot == 2
    found.run(found.station.closed("cut", found.moment))
    found.wait(60)
    assert found.connects[-1].slot == 2
    found.expect("BootNotification")  # B10.FR.10


def test_a_stations_own_profile_is_used_as_it_is() -> None:
    """Whoever installs a station may know better: what is wrong with it shows when it connects."""
    found = Bench("2.1", network=first_profile("ws://csms.example/ocpp", security_profile=2, message_timeout=30))
    assert [(connect.slot, connect.url) for connect in found.connects] == [(1, "ws://csms.example/ocpp")]
    found.expect("BootNotification")


def test_a_wrong_profile_in_the_slot_in_use_does_not_strand_the_station() -> None:
    """B10.FR.07: it falls back to the profile that worked, also after a restart, until a new one works."""
    found = bench()
    good = found.connects[-1].url
    wrong = PROFILE | {"ocppCsmsUrl": "ws://wrong.example/ocpp", "ocppVersion": "OCPP21"}
    assert found.ask("SetNetworkProfile", configurationSlot=1, connectionData=wrong)["status"] == "Accepted"
    found.accepting = lambda connect: connect.url == good
    for _ in range(2):
        found.power_loss()
        found.wait(3600)
        assert found.connected
    found.accepting = lambda connect: connect.url != good
    found.power_loss()
    found.wait(60)
    assert found.connected
    found.connects.clear()
    found.accepting = lambda _: False
    found.power_loss()
    found.wait(3600)
    assert good not in {each.url for each in found.connects}


def test_the_csms_of_the_next_profile_need_not_be_waited_for() -> None:
    """That of the first one is busy, and asks not to be called for two minutes."""
    found = bench(variables={
        "OCPPCommCtrlr.NetworkProfileConnectionAttempts": "1", "OCPPCommCtrlr.RetryBackOffRandomRange": "0",
        "OCPPCommCtrlr.RetryBackOffWaitMinimum": "1",
    })  # fmt: skip
    put(found, 2, CONFIGURED)
    prioritize(found, "1,2")
    restart(found)
    found.station.closed("cut", found.moment)
    found.station.failed("busy", found.moment, wait_s=120)
    found.advance_clock(10)
    (again,) = [each for each in found.station.tick(found.moment) if isinstance(each, Connect)]
    assert again.slot == 2


@pytest.mark.parametrize(("version", "longest"), [("2.0.1", 40), ("2.1", 64)])
def test_a_password_is_as_long_as_the_version_permits(version: Version, longest: int) -> None:
    found = Bench(version)
    assert found.set("SecurityCtrlr", "BasicAuthPassword", "x" * (longest + 1)) == "Rejected"
    assert found.set("SecurityCtrlr", "BasicAuthPassword", "x" * longest) == "Accepted"
