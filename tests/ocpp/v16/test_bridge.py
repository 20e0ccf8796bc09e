"""The bridge between OCPP 1.6 and 2.0.1, by messages that the official schemas allow (R198)."""

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.ocpp.official import instances, validator
from tests.ocpp.v16.drawing import Run as Translation
from tests.ocpp.v16.drawing import drawn, in_turn
from tests.ocpp.v16.known import AT, NOW_MS, Run, facts
from tests.together import together
from v2g.errors import OcppError
from v2g.ocpp.messages.authorization import AuthorizationData, IdToken, IdTokenInfo, SendLocalListRequest
from v2g.ocpp.messages.base import CertificateHashData, Component, Message, Variable
from v2g.ocpp.messages.certificates import DeleteCertificateRequest, GetInstalledCertificateIdsRequest
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedule, ChargingSchedulePeriod
from v2g.ocpp.messages.data_transfer import DataTransferRequest, DataTransferResponse
from v2g.ocpp.messages.display import GetDisplayMessagesRequest
from v2g.ocpp.messages.firmware import Firmware, UpdateFirmwareRequest
from v2g.ocpp.messages.provisioning import (
    GetBaseReportRequest,
    SetVariableData,
    SetVariablesRequest,
    SetVariablesResponse,
)
from v2g.ocpp.messages.remote_control import (
    RequestStartTransactionRequest,
    RequestStartTransactionResponse,
    TriggerMessageRequest,
)
from v2g.ocpp.messages.security import SignCertificateRequest, SignCertificateResponse
from v2g.ocpp.messages.smart_charging import SetChargingProfileRequest
from v2g.ocpp.messages.transactions import TransactionEventRequest, TransactionEventResponse
from v2g.ocpp.routes import action_of, known, response_type
from v2g.ocpp.times import format_time
from v2g.ocpp.v16 import from_station, to_station
from v2g.ocpp.v16 import messages as v16
from v2g.ocpp.v16.bridge import FROM_STATION, TO_STATION, Bridge, EventOf, Numbered, OngoingAt, TransactionOf
from v2g.ocpp.v16.configuration import key_of, value_in_2x, value_in_16, variable_of
from v2g.ocpp.v16.tolerance import read_softly
from v2g.ocpp.versions import read_payload, write_payload

pytestmark = pytest.mark.requirement("R198")

_REGISTERED = from_station.boot, to_station.start


@together("kind", sorted(FROM_STATION, key=lambda each: each.__name__), ids=lambda each: each.__name__)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_a_station_sends_is_valid_in_2_0_1_and_its_answer_in_1_6(kind: Any, data: st.DataObject) -> None:
    request = read_payload(msgspec.json.encode(data.draw(instances(kind, "1.6"))), kind, "1.6")
    bridge = Bridge(NOW_MS)
    run = Run(bridge.upward(request, NOW_MS), drawn(data, "2.0.1"))
    for step in run.asked:
        name = f"{action_of(step)}Request"
        validator(name, "2.0.1").validate(msgspec.json.decode(write_payload(step, "2.0.1")))
    answered = msgspec.json.decode(write_payload(run.result, "1.6"))
    validator(f"{action_of(request)}Response", "1.6").validate(answered)


def test_the_cost_of_a_transaction_is_shown_after_the_answer_to_its_stop() -> None:
    bridge = Bridge(NOW_MS)
    stop = v16.StopTransactionReq(transaction_id=7, meter_stop=5, timestamp=AT)
    Run(bridge.upward(stop, NOW_MS), in_turn(TransactionEventResponse(total_cost=1.5)))
    (shown,) = bridge.after
    known = v16.ConfigurationKey(key="customdisplaycostandprice", readonly=True, value=" True")
    run = Run(
        shown, in_turn(v16.GetConfigurationConf(configuration_key=(known,)), v16.DataTransferConf(status="Accepted"))
    )
    transfer = run.asked[1]
    assert isinstance(transfer, v16.DataTransferReq)
    assert (transfer.vendor_id, transfer.message_id) == ("org.openchargealliance.costmsg", "FinalCost")
    assert msgspec.json.decode(transfer.data or "") == {"transactionId": 7, "cost": 1.5, "priceText": "1.50"}


@pytest.mark.parametrize(
    ("station", "back_end"), [('{"priceText":"0.30 EUR"}', "0.30 EUR"), ("free", "free"), ('{"x":1}', '{"x":1}')]
)
def test_a_default_price_is_a_text_in_2_x(station: str, back_end: str) -> None:
    assert value_in_2x("DefaultPrice", station) == back_end
    assert value_in_2x("DefaultPrice", value_in_16("DefaultPrice", back_end)) == back_end


@together("kind", sorted(TO_STATION, key=lambda each: each.__name__), ids=lambda each: each.__name__)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_a_back_end_asks_is_valid_in_1_6_or_refused(kind: Any, data: st.DataObject) -> None:
    request = read_payload(msgspec.json.encode(data.draw(instances(kind, "2.0.1"))), kind, "2.0.1")
    bridge = Bridge(NOW_MS)
    try:
        run = Run(bridge.downward(request, NOW_MS), drawn(data, "1.6"))
    except OcppError:
        return
    for step in run.asked:
        try:
            written = msgspec.json.decode(write_payload(step, "1.6"))
        except OcppError:
            continue
        tenths = {"SetChargingProfile", "RemoteStartTransaction"}  # the validator counts tenths in binary
        if action_of(step) not in tenths:
            validator(action_of(step), "1.6").validate(written)
    write_payload(run.result, "2.0.1")
    for report in bridge.reports:
        write_payload(report, "2.0.1")


def test_a_local_list_has_every_token_that_1_6_can_name() -> None:
    """One of an app, a UUID, does not keep all cards from the list."""
    app, card = ("Central", "7d9b2c60-8f0e-4f63-9a3b-0f6f3a6f5a11"), ("ISO14443", "04A1B2C3")
    data = tuple(
        AuthorizationData(id_token=IdToken(id_token=name, type=kind), id_token_info=IdTokenInfo(status="Accepted"))
        for kind, name in (app, card)
    )
    request = SendLocalListRequest(version_number=3, update_type="Full", local_authorization_list=data)
    run = Run(Bridge(NOW_MS).downward(request, NOW_MS), in_turn(v16.SendLocalListConf(status="Accepted")))
    (sent,) = run.asked
    assert isinstance(sent, v16.SendLocalListReq)
    assert [each.id_tag for each in sent.local_authorization_list] == ["04A1B2C3"]


def test_every_request_of_2_x_that_1_6_has_not_is_refused_by_name() -> None:
    with pytest.raises(OcppError) as caught:
        Bridge(NOW_MS).downward(GetDisplayMessagesRequest(request_id=1), NOW_MS)
    assert (caught.value.answer, "GetDisplayMessages" in str(caught.value)) == ("NotSupported", True)
    from_it = {each.__name__.removesuffix("Req") for each in FROM_STATION}
    to_it = {"GetConfiguration", "ChangeConfiguration", "GetDiagnostics", "RemoteStartTransaction"}
    assert from_it | to_it < known("1.6")


def test_a_start_that_the_operator_asked_for_carries_its_number() -> None:
    bridge = Bridge(NOW_MS)
    token = IdToken(id_token="Card-1", type="Central")
    asked = RequestStartTransactionRequest(id_token=token, remote_start_id=99, evse_id=2)
    run = Run(bridge.downward(asked, NOW_MS), in_turn(v16.RemoteStartTransactionConf(status="Accepted")))
    assert run.asked == [v16.RemoteStartTransactionReq(connector_id=2, id_tag="Card-1")]
    assert run.result == RequestStartTransactionResponse(status="Accepted")
    start = v16.StartTransactionReq(connector_id=2, id_tag="CARD-1", meter_start=5, timestamp=AT)
    (event,) = Run(bridge.upward(start, NOW_MS), in_turn(TransactionEventResponse())).asked
    assert isinstance(event, TransactionEventRequest)
    assert (event.trigger_reason, event.transaction_info.remote_start_id, event.id_token) == ("RemoteStart", 99, token)

    def stored(question: Any) -> Any:
        return event if question == EventOf(7, "Started") else facts(question)

    again = Translation(bridge.upward(start, NOW_MS), in_turn(TransactionEventResponse()), stored)
    assert again.asked == [event], "a start that is sent again is not another event"


def test_an_event_that_is_refused_leaves_its_number_to_the_next() -> None:
    bridge = Bridge(NOW_MS)
    start = v16.StartTransactionReq(connector_id=1, id_tag="A", meter_start=5, timestamp=AT)
    with pytest.raises(OcppError):
        Run(bridge.upward(start, NOW_MS), in_turn(OcppError("no", answer="InternalError")))
    (event,) = Run(bridge.upward(start, NOW_MS), in_turn(TransactionEventResponse())).asked
    assert isinstance(event, TransactionEventRequest)
    assert (event.event_type, event.seq_no) == ("Started", 0)


@pytest.mark.parametrize("number", [0, -1])
def test_a_stop_without_a_number_ends_the_only_transaction_that_ran_then(number: int) -> None:
    stop = v16.StopTransactionReq(transaction_id=number, meter_stop=9, timestamp=AT)
    (event,) = Run(Bridge(NOW_MS).upward(stop, NOW_MS), in_turn(TransactionEventResponse())).asked
    assert isinstance(event, TransactionEventRequest)
    assert (event.transaction_info.transaction_id, event.seq_no, event.event_type) == ("7", 3, "Ended")


def test_a_stop_of_a_transaction_that_nobody_knows_is_kept_as_one_without_a_beginning() -> None:
    stop = v16.StopTransactionReq(transaction_id=555, meter_stop=9, timestamp=AT)
    (event,) = Run(Bridge(NOW_MS).upward(stop, NOW_MS), in_turn(TransactionEventResponse())).asked
    assert isinstance(event, TransactionEventRequest)
    assert event.transaction_info.transaction_id.startswith("unknown 555 ")
    assert event.meter_value[0].sampled_value[0].value == 9


STOPS = {
    "idTag": (-1, "CARD-2", 800_500, "8"), "register": (0, None, 6_000, "7"), "rounded": (-1, "Card-1", 4_999, "7"),
    "card of its group": (-1, "Card-3", 6_000, "7"), "unknown number": (555, "Card-1", 6_000, "7"),
    "both": (-1, None, 800_500, "unknown -1 "), "neither": (-1, None, 9, "unknown -1 "),
    "other register": (-1, "Card-2", 6_000, "unknown -1 "), "other number": (555, None, 6_000, "unknown 555 "),
}  # fmt: skip


@together("name", STOPS)
def test_a_stop_of_an_unknown_number_ends_the_only_one_of_two_that_its_idtag_and_register_permit(name: str) -> None:
    number, id_tag, meter_wh, wanted = STOPS[name]
    stop = v16.StopTransactionReq(transaction_id=number, id_tag=id_tag, meter_stop=meter_wh, timestamp=AT)

    two = (
        Numbered(number=7, connector_id=1, next_seq=3, import_wh=5_000, id_tag="Card-1"),
        Numbered(number=8, connector_id=2, next_seq=4, import_wh=800_000, id_tag="Card-2"),
    )

    def stored(question: Any) -> Any:
        return two if isinstance(question, OngoingAt) else None if isinstance(question, TransactionOf) else "Central"

    run = Translation(Bridge(NOW_MS).upward(stop, NOW_MS), in_turn(TransactionEventResponse()), stored)
    (event,) = run.asked
    assert isinstance(event, TransactionEventRequest)
    assert event.event_type == "Ended"
    assert event.transaction_info.transaction_id.startswith(wanted)


def test_a_transaction_of_before_the_connection_goes_on() -> None:
    status = v16.StatusNotificationReq(connector_id=1, error_code="NoError", status="Charging", timestamp=AT)
    _, event = Run(Bridge(NOW_MS).upward(status, NOW_MS), in_turn(None, TransactionEventResponse())).asked
    assert isinstance(event, TransactionEventRequest)
    assert (event.transaction_info.transaction_id, event.transaction_info.charging_state) == ("7", "Charging")
    values = (v16.MeterValue16(timestamp=AT, sampled_value=(v16.SampledValue16(value="9"),)),)
    said = v16.MeterValuesReq(connector_id=1, transaction_id=-1, meter_value=values)
    (event,) = Run(Bridge(NOW_MS).upward(said, NOW_MS), in_turn(TransactionEventResponse())).asked
    assert isinstance(event, TransactionEventRequest)
    assert (event.transaction_info.transaction_id, event.seq_no) == ("7", 3)


def test_values_after_the_end_do_not_revive_a_transaction() -> None:
    bridge = Bridge(NOW_MS)
    stop = v16.StopTransactionReq(transaction_id=7, meter_stop=9, timestamp=AT)
    Run(bridge.upward(stop, NOW_MS), in_turn(TransactionEventResponse()))
    values = (v16.MeterValue16(timestamp=AT, sampled_value=(v16.SampledValue16(value="9"),)),)
    late = v16.MeterValuesReq(connector_id=1, transaction_id=7, meter_value=values)
    (said,) = Run(bridge.upward(late, NOW_MS), in_turn(None)).asked
    assert action_of(said) == "MeterValues"


def test_a_limit_is_rounded_down_to_a_tenth_and_discharge_is_refused() -> None:
    def asked(**limits: Any) -> SetChargingProfileRequest:
        period = ChargingSchedulePeriod(start_period=0, **limits)
        schedule = ChargingSchedule(id=1, charging_rate_unit="A", charging_schedule_period=(period,))
        return SetChargingProfileRequest(
            evse_id=1,
            charging_profile=ChargingProfile(
                id=1,
                stack_level=0,
                charging_profile_purpose="TxDefaultProfile",
                charging_profile_kind="Absolute",
                charging_schedule=(schedule,),
            ),
        )

    answer = in_turn(v16.SetChargingProfileConf(status="Accepted"))
    (said,) = Run(Bridge(NOW_MS).downward(asked(limit=15.99), NOW_MS), answer).asked
    assert isinstance(said, v16.SetChargingProfileReq)
    assert said.cs_charging_profiles.charging_schedule.charging_schedule_period[0].limit == 15.9
    with pytest.raises(OcppError, match="discharge"):
        Run(Bridge(NOW_MS).downward(asked(limit=-5.0), NOW_MS), in_turn())


def test_a_password_is_set_as_text_else_as_hexadecimal_digits() -> None:
    component, variable = variable_of("AuthorizationKey")
    assert key_of(component, variable) == "AuthorizationKey"
    data = SetVariableData(attribute_value="sixteen-letters-", component=component, variable=variable)
    answers = in_turn(v16.ChangeConfigurationConf(status="Rejected"), v16.ChangeConfigurationConf(status="Accepted"))
    run = Run(Bridge(NOW_MS).downward(SetVariablesRequest(set_variable_data=(data,)), NOW_MS), answers)
    assert [each.value for each in run.asked if isinstance(each, v16.ChangeConfigurationReq)] == [
        "sixteen-letters-",
        b"sixteen-letters-".hex(),
    ]
    assert isinstance(run.result, SetVariablesResponse)
    assert run.result.set_variable_result[0].attribute_status == "Accepted"


def test_a_signed_image_is_never_sent_as_one_without_a_signature() -> None:
    image = Firmware(location="https://a/b", retrieve_date_time=AT, signing_certificate="PEM", signature="AA==")
    asked = UpdateFirmwareRequest(request_id=1, firmware=image)
    with pytest.raises(OcppError):
        Run(Bridge(NOW_MS).downward(asked, NOW_MS), in_turn(OcppError("no", answer="NotImplemented")))


def test_a_station_without_the_whitepaper_sends_its_log_as_diagnostics() -> None:
    from v2g.ocpp.messages.diagnostics import GetLogRequest, LogParameters, LogStatusNotificationRequest

    bridge = Bridge(NOW_MS)
    asked = GetLogRequest(request_id=5, log_type="DiagnosticsLog", log=LogParameters(remote_location="ftp://a/b"))
    answers = (OcppError("no", answer="NotImplemented"), v16.GetDiagnosticsConf(file_name="a.log"))
    run = Run(bridge.downward(asked, NOW_MS), in_turn(*answers))
    assert (run.result.status, run.result.filename) == ("Accepted", "a.log")
    report = v16.DiagnosticsStatusNotificationReq(status="UploadFailed")
    assert Run(bridge.upward(report, NOW_MS), in_turn(None)).asked == [
        LogStatusNotificationRequest(status="UploadFailure", request_id=5)
    ]
    run = Run(bridge.downward(asked, NOW_MS), in_turn(v16.GetDiagnosticsConf()))
    assert run.result.status == "Rejected", "there is nothing to upload"


@pytest.mark.parametrize("size", [4, 10_000])
def test_plug_and_charge_travels_as_a_message_of_2_0_1_in_a_text(size: int) -> None:
    """But for lengths: contracts of ISO 15118-20 need those of 2.1."""
    inner = {"iso15118SchemaVersion": "urn:iso:15118:2:2013:MsgDef", "action": "Install", "exiRequest": "A" * size}
    asked = v16.DataTransferReq(
        vendor_id="org.openchargealliance.iso15118pnc",
        message_id="Get15118EVCertificate",
        data=msgspec.json.encode(inner).decode(),
    )
    kind = response_type("Get15118EVCertificate")
    answer = read_payload(b'{"status":"Accepted","exiResponse":"%s"}' % (b"B" * size), kind, "2.1")
    run = Run(Bridge(NOW_MS).upward(asked, NOW_MS), in_turn(answer))
    assert action_of(run.asked[0]) == "Get15118EVCertificate"
    assert (run.result.status, msgspec.json.decode(run.result.data)["exiResponse"]) == ("Accepted", "B" * size)
    run = Run(Bridge(NOW_MS).upward(replace(asked, data="{}"), NOW_MS), in_turn())
    assert (run.asked, run.result.status) == ([], "Rejected")
    signs = replace(asked, message_id="SignCertificate", data='{"csr":"PEM"}')
    run = Run(Bridge(NOW_MS).upward(signs, NOW_MS), in_turn(SignCertificateResponse(status="Accepted")))
    assert run.asked == [SignCertificateRequest(csr="PEM", certificate_type="V2GCertificate")], "1.6 has its own"
    other = v16.DataTransferReq(vendor_id="com.example", data="x")
    run = Run(Bridge(NOW_MS).upward(other, NOW_MS), in_turn(DataTransferResponse(status="Accepted", data={"a": 1})))
    assert run.asked == [DataTransferRequest(vendor_id="com.example", data="x")]
    assert run.result.data == '{"a":1}'


ABSENT = v16.DataTransferConf(status="UnknownVendorId")


def transferred(status: str = "Accepted", **payload: Any) -> v16.DataTransferConf:
    """An answer of 2.0.1 in a DataTransfer."""
    return v16.DataTransferConf(status="Accepted", data=msgspec.json.encode({"status": status, **payload}).decode())


@pytest.mark.parametrize(
    ("answer", "status"),
    [(transferred(), "Accepted"), (ABSENT, "NotImplemented")],
)  # fmt: skip
def test_the_certificate_of_iso_15118_is_asked_for_by_plug_and_charge(
    answer: v16.DataTransferConf, status: str
) -> None:
    asked = TriggerMessageRequest(requested_message="SignV2GCertificate")
    run = Run(Bridge(NOW_MS).downward(asked, NOW_MS), in_turn(answer))
    (step,) = run.asked
    assert isinstance(step, v16.DataTransferReq)
    assert (step.message_id, step.data) == ("TriggerMessage", '{"requestedMessage":"SignV2GCertificate"}')
    assert run.result.status == status


HASH = {"hashAlgorithm": "SHA256", "issuerNameHash": "ab", "issuerKeyHash": "cd", "serialNumber": "1"}


def test_certificates_of_all_types_are_those_of_iso_15118_too() -> None:
    own, v2g = ({"certificateHashData": HASH, "certificateType": f"{each}RootCertificate"} for each in ("CSMS", "V2G"))
    none = v16.GetInstalledCertificateIdsConf(status="NotFound")
    every = transferred(certificateHashDataChain=[own, v2g])
    run = Run(Bridge(NOW_MS).downward(GetInstalledCertificateIdsRequest(), NOW_MS), in_turn(none, none, every))
    assert [each.certificate_type for each in run.result.certificate_hash_data_chain] == ["V2GRootCertificate"]
    run = Run(Bridge(NOW_MS).downward(GetInstalledCertificateIdsRequest(), NOW_MS), in_turn(none, none, ABSENT))
    assert run.result.status == "NotFound"
    wanted = GetInstalledCertificateIdsRequest(certificate_type=("V2GRootCertificate",))
    with pytest.raises(OcppError):
        Run(Bridge(NOW_MS).downward(wanted, NOW_MS), in_turn(ABSENT))


def test_a_station_without_a_store_of_its_own_deletes_by_plug_and_charge() -> None:
    asked = DeleteCertificateRequest(certificate_hash_data=msgspec.convert(HASH, CertificateHashData))
    absent, failed = OcppError("no", answer="NotSupported"), OcppError("no", answer="InternalError")
    run = Run(Bridge(NOW_MS).downward(asked, NOW_MS), in_turn(absent, transferred()))
    assert run.result.status == "Accepted"
    with pytest.raises(OcppError):
        Run(Bridge(NOW_MS).downward(asked, NOW_MS), in_turn(failed))


def test_a_report_has_every_key_and_an_evse_for_each_connector() -> None:
    bridge = Bridge(NOW_MS)
    keys = tuple(
        v16.ConfigurationKey(key=name, readonly=True, value=value)
        for name, value in (("NumberOfConnectors", "2"), ("heartbeatinterval", "60"), ("Own", None))
    )
    Run(
        bridge.downward(GetBaseReportRequest(request_id=1, report_base="FullInventory"), NOW_MS),
        in_turn(v16.GetConfigurationConf(configuration_key=keys)),
    )
    (report,) = bridge.reports
    said = [(each.component.name, each.variable.name) for each in report.report_data]
    assert said.count(("EVSE", "Available")) == 2
    assert ("OCPPCommCtrlr", "HeartbeatInterval") in said
    assert key_of(Component(name="OCPP16Ctrlr"), Variable(name="Own")) == "Own"


@pytest.mark.parametrize("silent", [OcppError("", answer="InternalError"), v16.GetConfigurationConf()])
def test_a_station_that_does_not_answer_for_all_keys_is_asked_for_each(silent: Any) -> None:
    def answer(step: Message) -> Any:
        assert isinstance(step, v16.GetConfigurationReq)
        if not step.key:
            return silent
        if step.key == ("CpoName",):
            return OcppError("", answer="InternalError")
        return v16.GetConfigurationConf(
            configuration_key=(v16.ConfigurationKey(key=step.key[0], readonly=True, value="1"),)
        )

    bridge = Bridge(NOW_MS)
    Run(bridge.downward(GetBaseReportRequest(request_id=1, report_base="FullInventory"), NOW_MS), answer)
    said = {variable.variable.name for report in bridge.reports for variable in report.report_data}
    assert {"HeartbeatInterval", "NumberOfConnectors"} <= said
    assert "OrganizationName" not in said


def measurands(known: set[str]) -> Any:
    """Answer as a station that refuses a list of measurands for one that it does not know."""

    def answer(step: Message) -> Any:
        assert isinstance(step, v16.ChangeConfigurationReq)
        return v16.ChangeConfigurationConf(status="Accepted" if set(step.value.split(",")) <= known else "Rejected")

    return answer


@pytest.mark.parametrize(
    ("known", "status", "last"),
    [
        ({"Voltage", "Power.Active.Import", "SoC"}, "Accepted", "Voltage,Power.Active.Import,SoC"),
        ({"Voltage", "SoC"}, "Accepted", "Voltage,SoC"),
        (set(), "Rejected", "SoC"),
    ],
)
def test_a_refused_list_of_measurands_is_stripped(known: set[str], status: str, last: str) -> None:
    wanted = SetVariableData(
        component=Component(name="SampledDataCtrlr"),
        variable=Variable(name="TxUpdatedMeasurands"),
        attribute_value="Voltage,Power.Active.Import,SoC",
    )
    run = Run(Bridge(NOW_MS).downward(SetVariablesRequest(set_variable_data=(wanted,)), NOW_MS), measurands(known))
    (result,) = run.result.set_variable_result
    asked = run.asked[-1]
    assert isinstance(asked, v16.ChangeConfigurationReq)
    assert (result.attribute_status, asked.value) == (status, last)
    refused = [each for each in wanted.attribute_value.split(",") if each not in known]
    info = result.attribute_status_info
    assert (info.additional_info if info else None) == (f"refused: {', '.join(refused)}" if refused else None)


SIGNED = "OCMF|{}|{}"


def test_a_signed_text_stays_with_the_register_that_it_signs() -> None:
    values = (
        v16.TransactionValue(value="12,5", unit="kWh", context="Transaction.End"),
        v16.TransactionValue(value=SIGNED, format="SignedData", context="Transaction.End"),
        v16.TransactionValue(value="no number", measurand="SoC"),
    )
    data = (v16.TransactionData(timestamp=AT, sampled_value=values),)
    stop = v16.StopTransactionReq(transaction_id=7, meter_stop=12500, timestamp=AT, transaction_data=data)
    (event,) = Run(Bridge(NOW_MS).upward(stop, NOW_MS), in_turn(TransactionEventResponse())).asked
    assert isinstance(event, TransactionEventRequest)
    ((sample,),) = [each.sampled_value for each in event.meter_value]
    assert (sample.value, sample.unit_of_measure and sample.unit_of_measure.unit) == (12.5, "kWh")
    assert sample.signed_meter_value is not None


END = "Transaction.End"


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ([v16.TransactionValue(value="99000", context=END, location="Inlet")], [(99000, None), (12500, None)]),
        ([v16.TransactionValue(value="4200", context=END, phase="L1")], [(4200, "L1"), (12500, None)]),
        ([v16.TransactionValue(value="1000", context=END)], [(1000, None), (12500, None)]),
        ([v16.TransactionValue(value="12502", context=END)], [(12502, None)]),
        ([v16.TransactionValue(value="12.5", context=END)], [(12500, None)]),
        ([v16.TransactionValue(value="-1", context=END)], [(12500, None)]),
    ],
    ids=["at another place", "of one phase", "of the begin", "a moment later", "in kWh and labelled Wh", "unknown"],
)
def test_meter_stop_counts_beside_an_end_that_says_something_else(
    said: list[v16.TransactionValue], found: list[tuple[float, str | None]]
) -> None:
    data = (v16.TransactionData(timestamp=AT, sampled_value=tuple(said)),)
    stop = v16.StopTransactionReq(transaction_id=7, meter_stop=12500, timestamp=AT, transaction_data=data)
    (event,) = Run(Bridge(NOW_MS).upward(stop, NOW_MS), in_turn(TransactionEventResponse())).asked
    assert isinstance(event, TransactionEventRequest)
    assert [(each.value, each.phase) for value in event.meter_value for each in value.sampled_value] == found


def test_values_of_the_end_without_a_time_are_of_the_receipt() -> None:
    values = (v16.TransactionValue(value="12000"),)
    data = (v16.TransactionData(timestamp="1970-01-01T00:00:00Z", sampled_value=values),)
    stop = v16.StopTransactionReq(transaction_id=7, meter_stop=12500, timestamp=AT, transaction_data=data)
    (event,) = Run(Bridge(NOW_MS).upward(stop, NOW_MS), in_turn(TransactionEventResponse())).asked
    assert isinstance(event, TransactionEventRequest)
    assert [each.timestamp for each in event.meter_value] == [format_time(NOW_MS), AT]


SOFT = {
    "an unknown field": b'{"connectorId":1,"errorCode":"NoError","status":"Available","more":1}',
    "another case": b'{"connectorId":1,"errorCode":"noerror","status":"AVAILABLE"}',
    "an optional field that says nothing": b'{"connectorId":1,"errorCode":"NoError","status":"Available","info":null}',
    "a time with hours alone": b'{"connectorId":1,"errorCode":"NoError","status":"Available",'
    b'"timestamp":"2026-01-01T00:00:00+03"}',
    "a field of the wrong kind": b'{"connectorId":1,"errorCode":"NoError","status":"Available","vendorId":7}',
}


@pytest.mark.parametrize("what", SOFT)
def test_soft_violations_are_mended_and_named(what: str) -> None:
    with pytest.raises(OcppError):
        read_payload(SOFT[what], v16.StatusNotificationReq, "1.6")
    message, shown = read_softly(SOFT[what], v16.StatusNotificationReq)
    assert (message.status, message.error_code, len(shown)) == ("Available", "NoError", 1)


@pytest.mark.parametrize(
    "payload", [b"{}", b"[]", b"7", b'{"connectorId":"x","errorCode":"NoError","status":"Available"}']
)
def test_hard_violations_are_refused(payload: bytes) -> None:
    with pytest.raises(OcppError):
        read_softly(payload, v16.StatusNotificationReq)


TEXTS = st.sampled_from(["", "NoError", "Available", AT, "x" * 300])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["sampledValue", "value"]), inner),
    max_leaves=5,
)


@together("kind", sorted(FROM_STATION, key=lambda each: each.__name__), ids=lambda each: each.__name__)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_whatever_a_station_sends_is_read_or_refused(kind: Any, data: st.DataObject) -> None:
    fields = [each.encode_name for each in msgspec.structs.fields(kind)]
    sent = msgspec.json.encode(data.draw(st.dictionaries(st.sampled_from([*fields, "more"]), ANYTHING)))
    try:
        message, _ = read_softly(sent, kind)
    except OcppError:
        return
    write_payload(message, "1.6")


def test_what_is_remembered_of_a_connection_is_bounded() -> None:
    bridge = Bridge(NOW_MS)
    for number in range(3000):
        bridge.remember(Numbered(number=number, connector_id=1, active=number % 2 == 0))
    assert len(bridge.transactions) <= 1000
