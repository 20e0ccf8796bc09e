"""A station at a back end of OCPP 1.6: every frame of it is valid by the official schemas (R199)."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.station.bench import Refused
from tests.station.bench_16 import PNC, Bench16
from tests.station.certificates import ROOT
from v2g.ocpp.routes import Version
from v2g_station.blocks.connection.network import first_profile
from v2g_station.blocks.cost.local_cost import ShowCost
from v2g_station.blocks.display import ShowMessages
from v2g_station.blocks.evse import ContractPresented, Unlocked

pytestmark = pytest.mark.requirement("R199")


def test_a_session_is_a_transaction_with_the_number_of_the_back_end() -> None:
    bench = Bench16()
    assert bench.statuses(0) == ["Available"]
    assert bench.statuses() == ["Available"]
    bench.plug()
    bench.present("TAG-1")
    begun = bench.expect("StartTransaction", connectorId=1, idTag="TAG-1", meterStart=1000)
    bench.flow("Charging", wh=2500)
    bench.flow("SuspendedEV")
    bench.wait(60)
    values = bench.expect("MeterValues", connectorId=1, transactionId=101)
    assert {"Energy.Active.Import.Register"} <= {each["measurand"] for each in values["meterValue"][0]["sampledValue"]}
    bench.present("TAG-1")
    ended = bench.expect("StopTransaction", transactionId=101, meterStop=3500, reason="Local", idTag="TAG-1")
    assert begun["timestamp"] < ended["timestamp"]
    bench.unplug()
    assert bench.statuses() == ["Available", "Preparing", "Charging", "SuspendedEV", "Finishing", "Available"]


def test_what_happens_offline_is_told_in_order_and_the_number_survives_a_power_loss() -> None:
    bench = Bench16()
    bench.change("AllowOfflineTxForUnknownId", "true")
    bench.plug()
    bench.drop()
    bench.present("TAG-1")
    bench.flow("Charging", wh=1000)
    bench.wait(130)
    bench.clear()
    bench.back()
    bench.expect("StartTransaction", connectorId=1, meterStart=1000)
    bench.expect("MeterValues", transactionId=101)
    bench.power_loss()
    bench.expect("StopTransaction", transactionId=101, meterStop=2000, reason="PowerLoss")
    assert len(bench.all("StartTransaction")) == 1
    assert not bench.saved["numbers"], "an ended transaction is forgotten"


def test_a_refused_start_is_given_up_and_the_end_has_no_number() -> None:
    bench = Bench16()
    bench.answers["StartTransaction"] = Refused("InternalError")
    bench.change("TransactionMessageAttempts", "2")
    bench.plug()
    bench.present("TAG-1")
    bench.flow("Charging", wh=1000)
    bench.wait(200)
    bench.unplug()
    bench.wait(60)
    assert len(bench.all("StartTransaction")) == 2
    assert bench.expect("MeterValues", connectorId=1).get("transactionId") is None
    bench.expect("StopTransaction", transactionId=-1, meterStop=2000, reason="EVDisconnected")


def test_signed_readings_are_texts_of_1_6() -> None:
    bench = Bench16()
    bench.signs = True
    bench.plug()
    bench.present()
    bench.flow("Charging", wh=10)
    bench.present()
    values = [each for data in bench.expect("StopTransaction")["transactionData"] for each in data["sampledValue"]]
    signed = {each["context"]: each["value"] for each in values if each.get("format") == "SignedData"}
    assert signed == dict.fromkeys(("Transaction.Begin", "Transaction.End"), 'OCMF|{"RD":[]}|{"SD":"00"}')


def test_remote_start_and_stop() -> None:
    bench = Bench16()
    bench.plug(2)
    assert bench.ask("RemoteStartTransaction", idTag="APP-1", connectorId=2) == {"status": "Accepted"}
    bench.expect("Authorize", idTag="APP-1")
    bench.expect("StartTransaction", connectorId=2, idTag="APP-1")
    assert bench.ask("RemoteStopTransaction", transactionId=7) == {"status": "Rejected"}
    assert bench.ask("RemoteStopTransaction", transactionId=101) == {"status": "Accepted"}
    bench.expect("StopTransaction", transactionId=101, reason="Remote")
    assert bench.ask("RemoteStartTransaction", idTag="APP-1", connectorId=0) == {"status": "Rejected"}


def test_all_keys_can_be_read_and_set_by_their_rules() -> None:
    bench = Bench16()
    found = {each["key"]: each for each in bench.ask("GetConfiguration")["configurationKey"]}
    required = [
        "AuthorizeRemoteTxRequests",
        "ClockAlignedDataInterval",
        "ConnectionTimeOut",
        "ConnectorPhaseRotation",
        "GetConfigurationMaxKeys",
        "HeartbeatInterval",
        "LocalAuthorizeOffline",
        "LocalPreAuthorize",
        "MeterValuesAlignedData",
        "MeterValuesSampledData",
        "MeterValueSampleInterval",
        "NumberOfConnectors",
        "ResetRetries",
        "StopTransactionOnEVSideDisconnect",
        "StopTransactionOnInvalidId",
        "StopTxnAlignedData",
        "StopTxnSampledData",
        "SupportedFeatureProfiles",
        "TransactionMessageAttempts",
        "TransactionMessageRetryInterval",
        "UnlockConnectorOnEVSideDisconnect",
        "LocalAuthListEnabled",
        "LocalAuthListMaxLength",
        "SendLocalListMaxLength",
        "ReserveConnectorZeroSupported",
        "ChargeProfileMaxStackLevel",
        "ChargingScheduleAllowedChargingRateUnit",
        "ChargingScheduleMaxPeriods",
        "MaxChargingProfilesInstalled",
        "AuthorizationKey",
        "SecurityProfile",
        "ISO15118PnCEnabled",
        "CentralContractValidationAllowed",
        "ContractValidationOffline",
        "CpoName",
    ]
    assert set(required) <= set(found)
    assert found["NumberOfConnectors"] == {"key": "NumberOfConnectors", "readonly": True, "value": "2"}
    assert found["AuthorizationKey"] == {"key": "AuthorizationKey", "readonly": False}
    assert found["LocalAuthListMaxLength"]["value"] == "1000"
    assert set(found["ChargingScheduleAllowedChargingRateUnit"]["value"].split(",")) == {"Current", "Power"}
    assert bench.ask("GetConfiguration", key=["heartbeatinterval", "Nonsense"]) == {
        "configurationKey": [{"key": "HeartbeatInterval", "readonly": False, "value": "3600"}],
        "unknownKey": ["Nonsense"],
    }
    assert bench.change("HeartbeatInterval", "60") == "Accepted"
    assert bench.key("HeartbeatInterval") == "60"
    assert bench.change("LocalPreAuthorize", "True") == "Accepted"
    assert bench.change("MeterValuesSampledData", "SoC,Nonsense") == "Rejected"
    assert bench.change("NumberOfConnectors", "3") == "Rejected"
    assert bench.change("Nonsense", "1") == "NotSupported"


def test_the_security_profile_rises_only_and_falls_back_while_the_new_one_fails() -> None:
    bench = Bench16(network=first_profile("ws://csms.example/ocpp", security_profile=0, message_timeout=30))
    assert (bench.connects[-1].security_profile, bench.connects[-1].password) == (0, None)
    assert bench.key("SecurityProfile") == "0"
    key = "00ff" * 10
    assert bench.change("AuthorizationKey", key) == "Accepted"
    bench.wait(1)
    assert bench.connects[-1].password is None, "profile 0 has none"
    assert bench.change("SecurityProfile", "1") == "RebootRequired"
    bench.accepting = lambda wanted: wanted.security_profile == 0
    bench.ask("Reset", type="Hard")
    bench.wait(60)
    assert bench.connected, "the new profile is refused, and the old one goes on"
    assert bench.key("SecurityProfile") == "0"
    bench.accepting = lambda _: True
    bench.ask("Reset", type="Hard")
    wanted = bench.connects[-1]
    assert (wanted.security_profile, wanted.url, wanted.versions) == (1, "ws://csms.example/ocpp", ("1.6",))
    assert (wanted.password or "").encode(errors="surrogateescape") == bytes.fromhex(key)
    assert bench.change("SecurityProfile", "0") == "Rejected"
    assert bench.change("SecurityProfile", "2") == "Rejected", "there is no root for the back end"
    root = {"certificateType": "CentralSystemRootCertificate", "certificate": ROOT.pem}
    assert bench.ask("InstallCertificate", root) == {"status": "Accepted"}
    assert bench.change("SecurityProfile", "3") == "Rejected", "there is no certificate of the station"
    for level in ("2", "3"):
        if level == "3":
            bench.settings["chains"] = {"ChargingStationCertificate": ROOT.pem}
            bench.ask("Reset", type="Hard")
        assert bench.change("SecurityProfile", level) == "RebootRequired"
        bench.ask("Reset", type="Hard")
        assert (bench.connects[-1].security_profile, bench.connects[-1].url[:6]) == (int(level), "wss://")
        assert bench.key("SecurityProfile") == level


def test_octets_that_are_refused_are_tried_as_digits() -> None:
    bench = Bench16()
    assert bench.change("AuthorizationKey", "41" * 20) == "Accepted"
    bench.accepting = lambda wanted: wanted.password == "41" * 20
    bench.wait(60)
    assert bench.connected
    passwords = [each.password for each in bench.connects]
    assert "A" * 20 in passwords
    assert bench.change("AuthorizationKey", "a-password-of-text") == "Accepted"
    bench.accepting = lambda _: True
    bench.wait(60)
    assert bench.connects[-1].password == "a-password-of-text"


@pytest.mark.parametrize(("versions", "first"), [(("1.6",), "A" * 20), (("2.0.1", "1.6"), "41" * 20)])
def test_configured_digits_are_octets_at_a_back_end_of_1_6_alone(versions: tuple[Version, ...], first: str) -> None:
    bench = Bench16(versions=versions, values={"SecurityCtrlr.BasicAuthPassword": "41" * 20})
    bench.accepting = lambda wanted: wanted.password == "41" * 20
    bench.ask("Reset", type="Hard")
    bench.wait(60)
    assert (bench.connects[0].password, bench.connected) == (first, True)


def test_a_transaction_goes_on_over_1_6_and_back() -> None:
    bench = Bench16(versions=("2.1", "2.0.1", "1.6"))
    assert bench.connects[-1].versions == ("2.1", "2.0.1", "1.6")
    bench.version = "2.0.1"
    bench.drop()
    bench.answers["Authorize"] = {"idTokenInfo": {"status": "Accepted"}}
    bench.back()
    bench.plug()
    bench.present("TAG-1")
    name = bench.expect("TransactionEvent", eventType="Started")["transactionInfo"]["transactionId"]
    bench.flow("Charging", wh=500)
    bench.version = "1.6"
    bench.drop()
    bench.back()
    bench.wait(70)
    bench.expect("StartTransaction", idTag="TAG-1", meterStart=1000)
    bench.expect("MeterValues", transactionId=101)
    bench.version = "2.0.1"
    bench.drop()
    bench.back()
    bench.flow("SuspendedEV", wh=500)
    bench.expect("TransactionEvent", eventType="Updated", transactionInfo__transactionId=name)
    bench.version = "1.6"
    bench.drop()
    bench.back()
    bench.unplug()
    bench.expect("StopTransaction", transactionId=101, meterStop=2000, reason="EVDisconnected")


def test_a_network_profile_of_1_6_offers_nothing_else() -> None:
    network = msgspec.structs.replace(
        first_profile("ws://csms.example/ocpp", security_profile=1, message_timeout=30), ocpp_version="OCPP16"
    )
    assert Bench16(versions=("2.1", "1.6"), network=network).connects[-1].versions == ("1.6",)


def profile(number: int, limit: float, **more: Any) -> dict[str, Any]:
    """Return a profile of 1.6."""
    periods = [{"startPeriod": 0, "limit": limit}]
    return {
        "chargingProfileId": number,
        "stackLevel": 0,
        "chargingProfilePurpose": "TxDefaultProfile",
        "chargingProfileKind": "Absolute",
        "chargingSchedule": {"chargingRateUnit": "A", "chargingSchedulePeriod": periods},
        **more,
    }


def test_profiles_are_phase_amperes_and_replace_those_of_their_level() -> None:
    bench = Bench16()
    for number, limit in ((1, 16.0), (2, 10.0)):
        asked = profile(number, limit)
        assert bench.ask("SetChargingProfile", connectorId=1, csChargingProfiles=asked) == {"status": "Accepted"}
    schedule = bench.ask("GetCompositeSchedule", connectorId=1, duration=600, chargingRateUnit="A")
    assert schedule["chargingSchedule"]["chargingSchedulePeriod"][0]["limit"] == 10.0
    of_transaction = profile(3, 6.0, chargingProfilePurpose="TxProfile")
    assert bench.ask("SetChargingProfile", connectorId=1, csChargingProfiles=of_transaction) == {"status": "Rejected"}
    bench.plug()
    bench.present()
    for number, status in ((5, "Rejected"), (101, "Accepted")):
        asked = of_transaction | {"transactionId": number}
        assert bench.ask("SetChargingProfile", connectorId=1, csChargingProfiles=asked) == {"status": status}
    assert bench.ask("ClearChargingProfile", id=3) == {"status": "Accepted"}
    assert bench.ask("ClearChargingProfile", chargingProfilePurpose="TxDefaultProfile") == {"status": "Accepted"}
    assert bench.ask("ClearChargingProfile") == {"status": "Unknown"}


def test_local_list_reservations_and_availability() -> None:
    bench = Bench16()
    listed = [{"idTag": "TAG-7", "idTagInfo": {"status": "Accepted"}}]
    sent = {"listVersion": 3, "updateType": "Full", "localAuthorizationList": listed}
    assert bench.ask("SendLocalList", sent) == {"status": "Accepted"}
    assert bench.ask("GetLocalListVersion") == {"listVersion": 3}
    reserved = {"connectorId": 1, "expiryDate": bench.ago(-600), "idTag": "TAG-7", "reservationId": 9}
    assert bench.ask("ReserveNow", reserved) == {"status": "Accepted"}
    assert bench.statuses()[-1] == "Reserved"
    assert bench.ask("CancelReservation", reservationId=9) == {"status": "Accepted"}
    assert bench.ask("ChangeAvailability", connectorId=2, type="Inoperative") == {"status": "Accepted"}
    assert bench.statuses(2)[-1] == "Unavailable"
    bench.drop()
    bench.plug()
    bench.present("TAG-7")
    bench.back()
    bench.expect("StartTransaction", idTag="TAG-7")


def test_triggers_reset_and_what_the_station_has_not() -> None:
    bench = Bench16()
    for message in ("Heartbeat", "StatusNotification", "MeterValues", "FirmwareStatusNotification"):
        bench.clear()
        assert bench.ask("TriggerMessage", requestedMessage=message) == {"status": "Accepted"}
        bench.expect(message)
    bench.ask("TriggerMessage", requestedMessage="DiagnosticsStatusNotification")
    bench.expect("DiagnosticsStatusNotification", status="Idle")
    bench.ask("ExtendedTriggerMessage", requestedMessage="LogStatusNotification")
    bench.expect("LogStatusNotification", status="Idle")
    bench.ask("ExtendedTriggerMessage", requestedMessage="FirmwareStatusNotification")
    bench.expect("SignedFirmwareStatusNotification", status="Idle")
    assert bench.ask("TriggerMessage", requestedMessage="MeterValues", connectorId=9) == {"status": "Rejected"}
    assert bench.ask("UpdateFirmware", location="https://x/y", retrieveDate=bench.ago(0)) == {}
    bench.expect("FirmwareStatusNotification", status="DownloadFailed")
    bench.plug()
    bench.present()
    assert bench.ask("Reset", type="Soft") == {"status": "Accepted"}
    bench.expect("StopTransaction", transactionId=101, reason="SoftReset")
    assert bench.restarts == 1


@pytest.mark.parametrize("action", ["TriggerMessage", "ExtendedTriggerMessage"])
@pytest.mark.parametrize(("connector", "states"), [(None, [0, 1, 2]), (0, [0]), (2, [2])])
def test_states_are_triggered_of_the_station_or_of_connectors_or_of_all(
    action: str, connector: int | None, states: list[int]
) -> None:
    """5.17 of OCPP 1.6."""
    bench = Bench16()
    bench.clear()
    place = {} if connector is None else {"connectorId": connector}
    assert bench.ask(action, requestedMessage="StatusNotification", **place) == {"status": "Accepted"}
    bench.wait(1)
    said = [(each["connectorId"], each["status"]) for name, each in bench.unread if name == "StatusNotification"]
    assert sorted(said) == [(each, "Available") for each in states]


def test_a_connection_is_lost_while_the_state_of_the_station_is_on_its_way_twice() -> None:
    bench = Bench16()
    bench.answers["StatusNotification"] = None
    for _ in range(2):
        status = bench.ask("TriggerMessage", requestedMessage="StatusNotification", connectorId=0)
        assert status == {"status": "Accepted"}
    bench.drop()
    del bench.answers["StatusNotification"]
    bench.clear()
    bench.back()
    bench.wait(1)
    assert bench.statuses(0)[-1:] == ["Available"]


def test_a_station_that_is_accepted_says_again_what_it_is() -> None:
    bench = Bench16()
    bench.clear()
    assert bench.ask("TriggerMessage", requestedMessage="BootNotification") == {"status": "Accepted"}
    bench.expect("BootNotification", chargePointVendor="v2g-engine")
    bench.present()
    bench.plug()
    bench.expect("StartTransaction")


def test_a_soft_reset_is_still_told_when_the_end_was_sent_after_the_restart() -> None:
    bench = Bench16()
    bench.change("TransactionMessageAttempts", "9")
    bench.plug()
    bench.present()
    bench.answers["StopTransaction"] = Refused("InternalError")
    bench.ask("Reset", type="Soft")
    bench.power_loss()
    del bench.answers["StopTransaction"]
    bench.clear()
    bench.wait(600)
    bench.expect("StopTransaction", transactionId=101, reason="SoftReset")


def test_unlocking_ends_a_transaction_and_says_so() -> None:
    """As in TC_018_1_CS."""
    bench = Bench16()
    bench.plug()
    bench.present()
    unlocked = bench.ask_later("UnlockConnector", connectorId=1)
    bench.wait(1)
    bench.expect("StopTransaction", transactionId=101, reason="UnlockCommand")
    bench.fact(Unlocked(evse_id=1, connector_id=1))
    assert unlocked()["status"] == "Unlocked"


def test_diagnostics_and_logs_report_as_they_were_asked_for() -> None:
    from v2g_station.blocks.diagnostics.diagnostics import LogProgress

    bench = Bench16()
    assert bench.ask("GetDiagnostics", location="https://logs.example/")["fileName"]
    number = next(c.request_id for c in reversed(bench.commands) if hasattr(c, "request_id"))
    bench.fact(LogProgress(request_id=number, status="Uploaded"))
    bench.expect("DiagnosticsStatusNotification", status="Uploaded")
    log = {"remoteLocation": "https://logs.example/"}
    assert bench.ask("GetLog", log=log, logType="SecurityLog", requestId=4)["status"] == "Accepted"
    bench.fact(LogProgress(request_id=4, status="Uploading"))
    bench.expect("LogStatusNotification", status="Uploading", requestId=4)


def test_plug_and_charge_travels_in_data_transfers() -> None:
    bench = Bench16()

    def answer(payload: dict[str, Any]) -> dict[str, Any]:
        assert (payload["vendorId"], payload["messageId"]) == (PNC, "Authorize")
        inner = {"idTokenInfo": {"status": "Accepted"}, "certificateStatus": "Accepted"}
        return {"status": "Accepted", "data": json.dumps(inner)}

    bench.answers["DataTransfer"] = answer
    bench.plug()
    bench.fact(ContractPresented(evse_id=1, emaid="DEVTGC12345678", chain_pem="PEM", hashes=()))
    inner = json.loads(bench.expect("DataTransfer")["data"])
    assert (inner["idToken"], inner["certificate"]) == ({"idToken": "DEVTGC12345678", "type": "eMAID"}, "PEM")
    bench.expect("StartTransaction", idTag="DEVTGC12345678")
    ids = bench.ask("DataTransfer", vendorId=PNC, messageId="GetInstalledCertificateIds", data="{}")
    assert json.loads(ids["data"])["status"] == "NotFound"
    assert bench.ask("DataTransfer", vendorId=PNC, messageId="Reset", data="{}") == {"status": "UnknownMessageId"}
    assert bench.ask("DataTransfer", vendorId=PNC, messageId="TriggerMessage", data="{")["status"] == "Rejected"


def test_prices_are_displayed() -> None:
    bench = Bench16()
    vendor = "org.openchargealliance.costmsg"
    bench.plug()
    bench.present()
    cost = json.dumps({"transactionId": 101, "cost": 1.5, "state": "Charging"})
    assert bench.ask("DataTransfer", vendorId=vendor, messageId="RunningCost", data=cost) == {"status": "Accepted"}
    assert [c.total for c in bench.commands if isinstance(c, ShowCost)] == [1.5]
    final = json.dumps({"transactionId": 101, "cost": 3.31, "priceText": "3.31 EUR"})
    assert bench.ask("DataTransfer", vendorId=vendor, messageId="FinalCost", data=final) == {"status": "Accepted"}
    bench.wait(1)
    shown = [c for c in bench.commands if isinstance(c, ShowMessages)]
    assert shown[-1].messages[0].message.content == "3.31 EUR"
    assert bench.ask("DataTransfer", vendorId=vendor, messageId="RunningCost", data="[]") == {"status": "Rejected"}


STEPS = st.sampled_from(
    (
        *("plug 1", "plug 2", "unplug 1", "unplug 2", "card 1", "card 2", "flow 1", "pause 1", "wait", "drop", "back"),
        *("loss", "start", "stop", "trigger", "fault", "profile"),
    )
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@example(steps=["plug 1", "plug 2", "card 1", "start", "wait", "wait"], signs=False, refused=True)
@given(steps=st.lists(STEPS, max_size=25), signs=st.booleans(), refused=st.booleans())
def test_whatever_happens_each_frame_is_valid_and_each_start_has_one_end(
    steps: list[str], signs: bool, refused: bool
) -> None:
    from v2g_station.blocks.evse import Fault

    bench = Bench16()
    bench.signs = signs
    bench.change("AllowOfflineTxForUnknownId", "true")
    if refused:
        bench.answers["MeterValues"] = Refused("GenericError")
    for step in steps:
        bench.wait(1)  # two starts of one second are one to this back end
        word, _, number = step.partition(" ")
        evse = int(number or 1)
        match word:
            case "plug":
                bench.plug(evse)
            case "unplug":
                bench.unplug(evse)
            case "card":
                bench.present(f"TAG-{evse}", evse)
            case "flow":
                bench.flow("Charging", evse, wh=123)
            case "pause":
                bench.flow("SuspendedEVSE", evse)
            case "wait":
                bench.wait(100)
            case "drop" if bench.connected:
                bench.drop()
            case "back" if not bench.connected:
                bench.back()
            case "loss":
                bench.accepting = lambda _: True
                bench.power_loss()
            case "fault":
                bench.fact(Fault(evse_id=1, word="ground", active=True))
                bench.fact(Fault(evse_id=1, word="ground", active=False))
            case "start" | "stop" | "trigger" | "profile" if bench.connected:
                asked: dict[str, tuple[str, dict[str, Any]]] = {
                    "start": ("RemoteStartTransaction", {"idTag": "APP-1"}),
                    "stop": ("RemoteStopTransaction", {"transactionId": 101}),
                    "trigger": ("TriggerMessage", {"requestedMessage": "MeterValues"}),
                    "profile": ("SetChargingProfile", {"connectorId": 1, "csChargingProfiles": profile(1, 8.0)}),
                }
                bench.ask(*asked[word])
    if not bench.connected:
        bench.back()
    for evse in (1, 2):
        bench.unplug(evse)
    bench.wait(4000)  # each MeterValues that is refused comes again, and what follows it waits
    assert not bench.station.kernel.defects
    begun, ended = bench.all("StartTransaction"), bench.all("StopTransaction")
    assert sorted(each["transactionId"] for each in ended) == [101 + number for number in range(len(begun))]
    for each in ended:
        started = begun[each["transactionId"] - 101]
        assert each["meterStop"] >= started["meterStart"]
    running: set[int] = set()
    for action, payload in bench.log:
        if action == "StartTransaction":
            running.add(bench.numbers[json.dumps(payload, sort_keys=True)])
        elif action == "MeterValues" and "transactionId" in payload:
            assert payload["transactionId"] in running
        elif action == "StopTransaction":
            running.remove(payload["transactionId"])
    assert not running
