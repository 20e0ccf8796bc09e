"""Single messages through the mirror: a station of 2.0.1 at a back end of 1.6, word by word (R199)."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.ocpp.v16.drawing import Run, in_turn
from tests.together import together
from v2g.errors import OcppError
from v2g.ocpp.messages.authorization import (
    AuthorizeRequest,
    AuthorizeResponse,
    ClearCacheResponse,
    IdToken,
    IdTokenInfo,
)
from v2g.ocpp.messages.availability import ConnectorStatus, StatusNotificationRequest
from v2g.ocpp.messages.base import EVSE, CertificateHashData, Component, Message, OCSPRequestData, StatusInfo, Variable
from v2g.ocpp.messages.certificates import (
    CertificateHashDataChain,
    DeleteCertificateResponse,
    GetInstalledCertificateIdsResponse,
)
from v2g.ocpp.messages.charging_profiles import ChargingSchedulePeriod
from v2g.ocpp.messages.data_transfer import VENDOR, DataTransferRequest, DataTransferResponse
from v2g.ocpp.messages.diagnostics import EventData, GetLogResponse, LogStatusNotificationRequest, NotifyEventRequest
from v2g.ocpp.messages.display import SetDisplayMessageRequest, SetDisplayMessageResponse
from v2g.ocpp.messages.ev_charging import ChargingNeeds, NotifyEVChargingNeedsRequest
from v2g.ocpp.messages.firmware import FirmwareStatusNotificationRequest, UpdateFirmwareResponse
from v2g.ocpp.messages.metering import MeterValue, MeterValuesRequest, SampledValue
from v2g.ocpp.messages.provisioning import (
    BootNotificationRequest,
    ChargingStation,
    GetVariableResult,
    GetVariablesResponse,
    ResetResponse,
    SetNetworkProfileResponse,
    SetVariableResult,
    SetVariablesResponse,
)
from v2g.ocpp.messages.remote_control import (
    RequestStartTransactionResponse,
    RequestStopTransactionResponse,
    TriggerMessageResponse,
    UnlockConnectorResponse,
)
from v2g.ocpp.messages.reservation import ReserveNowResponse
from v2g.ocpp.messages.security import (
    CertificateSignedRequest,
    CertificateSignedResponse,
    SecurityEventNotificationRequest,
    SecurityEventNotificationResponse,
    SignCertificateRequest,
)
from v2g.ocpp.messages.smart_charging import (
    ClearChargingProfileResponse,
    CompositeSchedule,
    GetCompositeScheduleResponse,
    SetChargingProfileResponse,
)
from v2g.ocpp.messages.tariff_cost import CostUpdatedRequest, CostUpdatedResponse
from v2g.ocpp.messages.transactions import Transaction, TransactionEventRequest
from v2g.ocpp.routes import action_of
from v2g.ocpp.v16 import messages as v16
from v2g.ocpp.v16 import mirrored
from v2g.ocpp.v16.bridge import Bridge
from v2g.ocpp.v16.from_station import COSTS, EVENTS
from v2g.ocpp.v16.mirror import BegunAs, Mirror, NetworkInUse, NumberedHere, StateOf
from v2g.ocpp.v16.plug_and_charge import PLUG_AND_CHARGE
from v2g_station.blocks.connection.network import first_profile

pytestmark = pytest.mark.requirement("R199")

_REGISTERED = mirrored.MirroredPeer
NOW_MS = 1_800_000_000_000
AT = "2027-01-15T08:00:00Z"


def station(connectors: int = 2, state: str = "Charging", **known: NumberedHere) -> tuple[Mirror, Callable[[Any], Any]]:
    """Return a mirror, and the answers to its questions."""
    running = NumberedHere(connector_id=1, began=AT, meter_start=5, id_tag="TAG", number=7, last_wh=9)
    here = Mirror(connectors, {}, known or {"known": running}, lambda _name, _found: None)
    return here, lambda question: state if isinstance(question, StateOf) else None


def up(request: Message, *answers: Any, at: Any = None) -> Run:
    """Carry out what a station says."""
    here, facts = at or station()
    left = list(answers)
    return Run(here.upward(request, NOW_MS), lambda _: left.pop(0) if left else None, facts)


def down(request: Message, *answers: Any, at: Any = None) -> Run:
    """Carry out what a back end asks."""
    here, facts = at or station()
    left = list(answers)
    return Run(here.downward(request, NOW_MS), lambda _: left.pop(0), facts)


def problem(component: str, value: str, evse: int | None = 1, variable: str = "Problem", **more: Any) -> Message:
    place = Component(name=component, evse=None if evse is None else EVSE(id=evse))
    return NotifyEventRequest(
        generated_at=AT, seq_no=0,
        event_data=(
            EventData(
                event_id=1, timestamp=AT, trigger="Alerting", actual_value=value, component=place,
                variable=Variable(name=variable), event_notification_type="HardWiredNotification", **more,
            ),
        ),
    )  # fmt: skip


ERRORS = {
    "ConnectorPlugRetentionLock": "ConnectorLockFailure", "Controller": "InternalError",
    "CPPWMController": "EVCommunicationError", "DataLink": "WeakSignal", "FiscalMetering": "PowerMeterFailure",
    "GroundIsolationProtection": "GroundFailure", "OverCurrentProtection": "OverCurrentFailure",
    "PlugRetentionLock": "ConnectorLockFailure", "PowerContactor": "PowerSwitchFailure", "RCD": "GroundFailure",
    "TemperatureSensor": "HighTemperature", "TokenReader": "ReaderFailure", "Anything": "OtherError",
}  # fmt: skip


@together("component", ERRORS)
def test_a_problem_is_an_error_code_until_it_is_over(component: str) -> None:
    at = station()
    up(StatusNotificationRequest(timestamp=AT, connector_status="Occupied", evse_id=1, connector_id=1), at=at)
    (said,) = up(problem(component, "true", tech_info="x" * 60, tech_code="E4"), at=at).asked
    assert isinstance(said, v16.StatusNotificationReq)
    assert (said.connector_id, said.error_code, said.status) == (1, ERRORS[component], "Charging")
    assert (said.info, said.vendor_error_code, said.timestamp) == ("x" * 50, "E4", AT)
    (said,) = up(problem("Other", "false"), at=at).asked
    assert isinstance(said, v16.StatusNotificationReq)
    assert said.error_code == (ERRORS[component] if component != "Anything" else "NoError"), "another one ended"
    (said,) = up(problem(component, "false"), at=at).asked
    assert isinstance(said, v16.StatusNotificationReq)
    assert (said.error_code, said.info) == ("NoError", None)


def test_other_events_are_not_sent_and_a_problem_of_the_station_is_that_of_connector_0() -> None:
    assert up(problem("Controller", "true", variable="Active")).asked == []
    assert up(problem("Controller", "7")).asked == []
    (said,) = up(problem("Controller", "true", evse=None), at=station(state="Faulted")).asked
    assert isinstance(said, v16.StatusNotificationReq)
    assert (said.connector_id, said.status, said.error_code) == (0, "Faulted", "InternalError")
    (said,) = up(problem("Controller", "true", evse=2)).asked
    assert isinstance(said, v16.StatusNotificationReq)
    assert said.status == "Available", "it has not said what it is"


def test_names_at_boot_are_cut_to_20_characters() -> None:
    long = ChargingStation(model="M" * 30, vendor_name="V" * 50)
    accepted = v16.BootNotificationConf(status="Accepted", current_time=AT, interval=5)
    (said,) = up(BootNotificationRequest(reason="PowerUp", charging_station=long), accepted).asked
    assert isinstance(said, v16.BootNotificationReq)
    assert (said.charge_point_model, said.charge_point_vendor) == ("M" * 20, "V" * 20)


def ends(reason: Any, **known: Any) -> v16.StopTransactionReq:
    usual: dict[str, Any] = {"connector_id": 1, "began": AT, "id_tag": "TAG", "number": 7, "last_wh": 9}
    found = NumberedHere(**usual | known)
    request = TransactionEventRequest(
        event_type="Ended", timestamp=AT, trigger_reason="StopAuthorized", seq_no=9, evse=EVSE(id=1, connector_id=1),
        transaction_info=Transaction(transaction_id="known", stopped_reason=reason),
    )  # fmt: skip
    said = up(request, v16.StopTransactionConf(), at=station(known=found)).asked[0]
    assert isinstance(said, v16.StopTransactionReq)
    return said


def test_a_stop_has_the_last_register_and_a_reason_of_1_6() -> None:
    assert [ends(each).reason for each in (None, "Local", "ImmediateReset", "EVDisconnected", "SOCLimitReached")] == [
        "Local", "Local", "HardReset", "EVDisconnected", "Other",
    ]  # fmt: skip
    assert ends("ImmediateReset", soft_reset=True).reason == "SoftReset"
    assert ends("Local", soft_reset=True).reason == "Local"
    assert [ends(each, unlocked=True).reason for each in ("Remote", "Local")] == ["UnlockCommand", "Local"]
    assert (ends("Local").meter_stop, ends("Local", last_wh=None).meter_stop) == (9, 0)
    assert ends("Local", number=None, id_tag=None).transaction_id == -1


@pytest.mark.parametrize(("number", "shown"), [(7, 7), (1, 1), (0, None), (-1, None), (None, None)])
def test_values_carry_the_number_that_the_back_end_gave(number: int | None, shown: int | None) -> None:
    values = (MeterValue(timestamp=AT, sampled_value=(SampledValue(value=1.0),)),)
    found = NumberedHere(connector_id=1, began=AT, id_tag="TAG", number=number)
    (said,) = up(
        MeterValuesRequest(evse_id=1, meter_value=values), v16.MeterValuesConf(), at=station(known=found)
    ).asked
    assert isinstance(said, v16.MeterValuesReq)
    assert said.transaction_id == shown
    if number is not None:
        event = happens("Updated", 3, None, meter_value=values)
        (said,) = up(event, v16.MeterValuesConf(), at=station(new=found)).asked
        assert isinstance(said, v16.MeterValuesReq)
        assert said.transaction_id == shown


REPORTS: dict[str, tuple[Message, Message | None]] = {
    "log": (
        LogStatusNotificationRequest(status="Uploaded", request_id=0),
        v16.LogStatusNotificationReq(status="Uploaded", request_id=0),
    ),
    "diagnostics": (
        LogStatusNotificationRequest(status="BadMessage", request_id=-1),
        v16.DiagnosticsStatusNotificationReq(status="UploadFailed"),
    ),
    "signed": (
        FirmwareStatusNotificationRequest(status="InvalidSignature", request_id=0),
        v16.SignedFirmwareStatusNotificationReq(status="InvalidSignature", request_id=0),
    ),
    "plain": (
        FirmwareStatusNotificationRequest(status="InstallVerificationFailed", request_id=-3),
        v16.FirmwareStatusNotificationReq(status="InstallationFailed"),
    ),
    "wrong signature": (
        FirmwareStatusNotificationRequest(status="InvalidSignature", request_id=-3),
        v16.FirmwareStatusNotificationReq(status="InstallationFailed"),
    ),
    "rebooting": (
        FirmwareStatusNotificationRequest(status="InstallRebooting", request_id=-3),
        v16.FirmwareStatusNotificationReq(status="Installing"),
    ),
    "a word that the plain one has not": (
        FirmwareStatusNotificationRequest(status="SignatureVerified", request_id=-3), None
    ),
}  # fmt: skip


@together("name", REPORTS)
def test_progress_is_reported_as_it_was_asked_for(name: str) -> None:
    request, wanted = REPORTS[name]
    for by_whitepaper in (False, True):  # a number says more than the last trigger
        at = station()
        at[0].by_whitepaper = by_whitepaper
        assert up(request, at=at).asked == ([] if wanted is None else [wanted])


def test_security_events_have_the_names_of_their_version() -> None:
    for name, other in {*EVENTS.items()} | {("FirmwareUpdated", "FirmwareUpdated")}:
        (said,) = up(SecurityEventNotificationRequest(type=other, timestamp=AT)).asked
        assert said == v16.SecurityEventNotificationReq(type=name, timestamp=AT)
        bridge = Bridge(NOW_MS)
        asked = Run(bridge.upward(said, NOW_MS), lambda _: SecurityEventNotificationResponse(), lambda _: None).asked
        assert asked == [SecurityEventNotificationRequest(type=other, timestamp=AT)]


def test_plug_and_charge_needs_a_back_end_that_knows_it() -> None:
    request = SignCertificateRequest(csr="PEM", certificate_type="V2GCertificate")
    for answer in (v16.DataTransferConf(status="Accepted"), v16.DataTransferConf(status="Rejected", data="{}")):
        with pytest.raises(OcppError, match="no Plug and Charge") as refused:
            up(request, answer)
        assert refused.value.answer == "NotSupported"
    own: tuple[Any, ...] = (None, "ChargingStationCertificate")
    for kind in own:
        signed = SignCertificateRequest(csr="PEM", certificate_type=kind)
        assert up(signed, v16.SignCertificateConf(status="Accepted")).asked == [v16.SignCertificateReq(csr="PEM")]
    hashed = OCSPRequestData(
        hash_algorithm="SHA256", issuer_name_hash="a", issuer_key_hash="b", serial_number="1", responder_url="http://x"
    )
    token = IdToken(id_token="DE1", type="eMAID")
    request = AuthorizeRequest(id_token=token, iso15118_certificate_hash_data=(hashed,))
    for answers in (["Rejected", "Rejected"], ["UnknownVendorId"]):
        with pytest.raises(OcppError, match="no Plug and Charge"):
            up(request, *(v16.DataTransferConf(status=each) for each in answers))


@pytest.mark.parametrize("first", [v16.DataTransferConf(status="Rejected"), OcppError("", answer="FormationViolation")])
def test_a_contract_is_authorized_in_the_form_that_the_other_side_has(first: Any) -> None:
    """OCA's application note has the EMAID alone, and an idTagInfo in the answer; others send that of 2.0.1."""
    request = AuthorizeRequest(id_token=IdToken(id_token="DE1", type="eMAID"), certificate="PEM")
    answer = {"idTokenInfo": {"status": "Accepted", "expiryDate": AT}, "certificateStatus": "Accepted"}
    noted = v16.DataTransferConf(status="Accepted", data=msgspec.json.encode(answer).decode())
    run = up(request, first, noted)
    simple = run.asked[-1]
    assert msgspec.json.decode(simple.data) == {"idToken": "DE1", "certificate": "PEM"}
    assert run.result == AuthorizeResponse(id_token_info=IdTokenInfo(status="Accepted"), certificate_status="Accepted")
    whole = {"idTokenInfo": {"status": "Accepted", "groupIdToken": {"idToken": "G", "type": "Central"}}}
    run = up(request, v16.DataTransferConf(status="Accepted", data=msgspec.json.encode(whole).decode()))
    assert run.result.id_token_info == IdTokenInfo(
        status="Accepted", group_id_token=IdToken(id_token="G", type="Central")
    )
    refused = AuthorizeResponse(id_token_info=IdTokenInfo(status="NoCredit"), certificate_status="Accepted")
    taken = Run(Bridge(NOW_MS).upward(simple, NOW_MS), in_turn(refused), lambda _: None)
    assert taken.asked == [request]
    said = {"idTokenInfo": {"status": "Invalid"}, "certificateStatus": "Accepted"}
    assert (taken.result.status, msgspec.json.decode(taken.result.data)) == ("Accepted", said)


def test_needs_of_vehicles_are_refused_with_the_reason() -> None:
    asked = NotifyEVChargingNeedsRequest(
        evse_id=1, charging_needs=ChargingNeeds(requested_energy_transfer="AC_three_phase")
    )
    answer = up(asked).result
    assert (answer.status, answer.status_info.reason_code) == ("Rejected", "OCPP16")


def test_a_reason_in_our_own_data_is_a_reason() -> None:
    data = v16.DataTransferConf(status="Rejected", data='{"reasonCode": "%s"}' % ("r" * 30))
    answer = up(DataTransferRequest(vendor_id=VENDOR, message_id="M"), data).result
    assert answer.status_info == StatusInfo(reason_code="r" * 20)


@together(
    ("connector", "answer", "status"),
    [
        (2, UnlockConnectorResponse(status="Unlocked"), "Unlocked"),
        (2, UnlockConnectorResponse(status="UnlockFailed"), "UnlockFailed"),
        (2, UnlockConnectorResponse(status="UnknownConnector"), "NotSupported"),
        (2, UnlockConnectorResponse(status="UnlockFailed", status_info=StatusInfo(reason_code="FixedCable")),
         "NotSupported"),
        (2, UnlockConnectorResponse(status="UnlockFailed", status_info=StatusInfo(reason_code="Other")),
         "UnlockFailed"),
        (0, None, "NotSupported"), (3, None, "NotSupported"),
    ],
)  # fmt: skip
def test_a_connector_is_unlocked_if_it_is_there(connector: int, answer: Any, status: str) -> None:
    run = down(v16.UnlockConnectorReq(connector_id=connector), answer)
    assert (run.result.status, len(run.asked)) == (status, 0 if answer is None else 1)


def test_a_transaction_ends_before_its_connector_is_unlocked() -> None:
    stops = RequestStopTransactionResponse(status="Accepted")
    run = down(v16.UnlockConnectorReq(connector_id=1), stops, UnlockConnectorResponse(status="Unlocked"))
    assert [getattr(each, "transaction_id", getattr(each, "connector_id", None)) for each in run.asked] == ["known", 1]


@pytest.mark.parametrize(("connector", "asked"), [(None, 1), (0, 1), (2, 1), (3, 0), (-1, 0)])
def test_a_trigger_is_of_a_connector_that_is_there(connector: int | None, asked: int) -> None:
    request = v16.TriggerMessageReq(requested_message="MeterValues", connector_id=connector)
    run = down(request, TriggerMessageResponse(status="Accepted"))
    assert (len(run.asked), run.result.status) == (asked, "Accepted" if asked else "Rejected")
    of_none = v16.TriggerMessageReq(requested_message="Heartbeat", connector_id=connector)
    run = down(of_none, TriggerMessageResponse(status="Accepted"))
    assert (len(run.asked), run.result.status) == (1, "Accepted"), "the message is leading"


def test_starts_and_reservations_of_the_station_name_no_connector() -> None:
    accepted = RequestStartTransactionResponse(status="Accepted")
    assert down(v16.RemoteStartTransactionReq(id_tag="TAG"), accepted).asked[0].remote_start_id > 0  # type: ignore[attr-defined]
    reserve = v16.ReserveNowReq(connector_id=0, expiry_date=AT, id_tag="TAG", reservation_id=1)
    assert down(reserve, ReserveNowResponse(status="Accepted")).asked[0].evse_id is None  # type: ignore[attr-defined]


def profile16(purpose: Any, kind: Any, start: str | None = None) -> v16.SetChargingProfileReq:
    periods = (v16.SchedulePeriod16(start_period=0, limit=6.0),)
    schedule = v16.ChargingSchedule16(charging_rate_unit="A", charging_schedule_period=periods, start_schedule=start)
    return v16.SetChargingProfileReq(
        connector_id=1,
        cs_charging_profiles=v16.ChargingProfile16(
            charging_profile_id=1, stack_level=0, charging_profile_purpose=purpose, charging_profile_kind=kind,
            charging_schedule=schedule,
        ),
    )  # fmt: skip


KINDS: list[tuple[Any, Any, str | None, str, str | None]] = [
    ("TxProfile", "Absolute", None, "Relative", None), ("TxDefaultProfile", "Absolute", None, "Relative", None),
    ("ChargePointMaxProfile", "Absolute", None, "Absolute", AT),
    ("TxProfile", "Relative", None, "Relative", None), ("TxProfile", "Relative", AT, "Relative", None),
    ("TxProfile", "Absolute", AT, "Absolute", AT), ("TxProfile", "Recurring", None, "Recurring",
                                                    AT),
]  # fmt: skip


@together("case", KINDS, ids=str)
def test_a_schedule_without_a_beginning_begins_with_its_transaction_else_now(case: Any) -> None:
    purpose, kind, start, wanted, begins = case
    run = down(profile16(purpose, kind, start), SetChargingProfileResponse(status="Accepted"))
    found: Any = run.asked[0]
    (schedule,) = found.charging_profile.charging_schedule
    assert (found.charging_profile.charging_profile_kind, schedule.start_schedule) == (wanted, begins)


def test_only_a_profile_that_is_there_twice_is_replaced() -> None:
    for code, count in (("DuplicateProfile", 3), ("Other", 1)):
        refused = SetChargingProfileResponse(status="Rejected", status_info=StatusInfo(reason_code=code))
        taken = SetChargingProfileResponse(status="Accepted")
        run = down(profile16("TxProfile", "Relative"), refused, ClearChargingProfileResponse(status="Accepted"), taken)
        assert len(run.asked) == count
    accepted = SetChargingProfileResponse(status="Accepted", status_info=StatusInfo(reason_code="DuplicateProfile"))
    assert len(down(profile16("TxProfile", "Relative"), accepted).asked) == 1
    cleared = ClearChargingProfileResponse(status="Accepted")
    by_id: Any = down(v16.ClearChargingProfileReq(id=1, stack_level=2), cleared).asked[0]
    assert (by_id.charging_profile_id, by_id.charging_profile_criteria) == (1, None)


def test_a_composite_schedule_has_tenths_and_no_discharge() -> None:
    limits = (6.26, -5.0, None)
    periods = tuple(ChargingSchedulePeriod(start_period=n, limit=limit) for n, limit in enumerate(limits))
    schedule = CompositeSchedule(
        evse_id=1, duration=60, schedule_start=AT, charging_rate_unit="A", charging_schedule_period=periods
    )
    asked = v16.GetCompositeScheduleReq(connector_id=1, duration=60)
    run = down(asked, GetCompositeScheduleResponse(status="Accepted", schedule=schedule))
    assert [each.limit for each in run.result.charging_schedule.charging_schedule_period] == [6.3, 0.0, 0.0]
    for answer in (GetCompositeScheduleResponse(status="Rejected", schedule=schedule), OcppError("no", answer="X")):
        assert down(asked, answer).result == v16.GetCompositeScheduleConf(status="Rejected")


def test_phase_rotations_are_those_of_all_connectors() -> None:
    asked = v16.GetConfigurationReq(key=("ConnectorPhaseRotation",))

    def answer(step: Any) -> Any:
        results = tuple(
            GetVariableResult(
                attribute_status="Accepted", component=each.component, variable=each.variable,
                attribute_value="RST" if each.component.evse == EVSE(id=1) else None,
            )
            for each in step.get_variable_data
            if each.component.name == "EVSE"
        )  # fmt: skip
        return GetVariablesResponse(get_variable_result=results)

    here, facts = station()
    (found,) = Run(here.downward(asked, NOW_MS), answer, facts).result.configuration_key
    assert found == v16.ConfigurationKey(key="ConnectorPhaseRotation", readonly=True, value="1.RST,2.Unknown")


def test_an_update_that_is_refused_has_failed_once_it_is_answered() -> None:
    cases: tuple[tuple[Any, int], ...] = (("Accepted", 0), ("AcceptedCanceled", 0), ("Rejected", 1))
    for status, count in cases:
        at = station()
        down(v16.UpdateFirmwareReq(location="x", retrieve_date=AT), UpdateFirmwareResponse(status=status), at=at)
        assert len(at[0].after) == count


def ask_and_answer(request: Message, answer: Message, at: Any = None) -> tuple[Any, Any]:
    """Return what a station is asked for a request, and what the back end is answered."""
    run = down(request, answer, at=at)
    return run.asked[0], run.result


def test_answers_of_stations_are_told() -> None:
    for connector, asked in ((0, 0), (1, 1), (None, 1)):
        started = RequestStartTransactionResponse(status="Accepted")
        run = down(v16.RemoteStartTransactionReq(id_tag="TAG", connector_id=connector), started)
        assert (len(run.asked), run.result.status) == (asked, "Accepted" if asked else "Rejected")
    statuses: tuple[tuple[Any, str], ...] = (
        ("Accepted", "Accepted"), ("Scheduled", "Accepted"), ("Rejected", "Rejected")
    )  # fmt: skip
    for status, told in statuses:
        assert ask_and_answer(v16.ResetReq(type="Hard"), ResetResponse(status=status))[1].status == told
    assert ask_and_answer(v16.ClearCacheReq(), ClearCacheResponse(status="Rejected"))[1].status == "Rejected"
    listed = v16.SendLocalListReq(list_version=1, update_type="Full")
    assert down(listed, OcppError("no", answer="X")).result.status == "Failed"
    vendor = v16.DataTransferReq(vendor_id="com.example", message_id="M", data="x")
    _, told_back = ask_and_answer(vendor, DataTransferResponse(status="Accepted", data="y"))
    assert (told_back.status, told_back.data) == ("Accepted", "y")


def test_diagnostics_that_are_refused_have_no_file() -> None:
    asked = v16.GetDiagnosticsReq(location="http://x")
    answers: tuple[tuple[Any, str | None], ...] = (("Accepted", "d"), ("AcceptedCanceled", "d"), ("Rejected", None))
    for status, name in answers:
        assert down(asked, GetLogResponse(status=status, filename="d")).result.file_name == name


def test_a_plain_trigger_asks_for_the_plain_report_again() -> None:
    at = station()
    accepted = TriggerMessageResponse(status="Accepted")
    idle = FirmwareStatusNotificationRequest(status="Idle")
    down(v16.ExtendedTriggerMessageReq(requested_message="FirmwareStatusNotification"), accepted, at=at)
    assert up(idle, at=at).asked == [v16.SignedFirmwareStatusNotificationReq(status="Idle")]
    down(v16.TriggerMessageReq(requested_message="FirmwareStatusNotification"), accepted, at=at)
    assert up(idle, at=at).asked == [v16.FirmwareStatusNotificationReq(status="Idle")]


def test_profiles_are_cleared_by_what_they_have_in_common_or_all() -> None:
    cleared = ClearChargingProfileResponse(status="Accepted")
    every, _ = ask_and_answer(v16.ClearChargingProfileReq(), cleared)
    assert (every.charging_profile_id, every.charging_profile_criteria) == (None, None)
    some, _ = ask_and_answer(v16.ClearChargingProfileReq(connector_id=1, stack_level=2), cleared)
    assert (some.charging_profile_criteria.evse_id, some.charging_profile_criteria.stack_level) == (1, 2)
    run = down(profile16("TxProfile", "Relative"), SetChargingProfileResponse(status="Rejected"))
    assert (len(run.asked), run.result.status) == (1, "Rejected")


def values_of(step: Any, value: str | None) -> GetVariablesResponse:
    """Return the answer of a station all of whose variables have a value."""
    results = tuple(
        GetVariableResult(
            attribute_status="Accepted", component=each.component, variable=each.variable, attribute_value=value
        )
        for each in step.get_variable_data
    )
    return GetVariablesResponse(get_variable_result=results)


def test_configuration_is_read_40_variables_at_a_time() -> None:
    here, facts = station(connectors=0)
    run = Run(here.downward(v16.GetConfigurationReq(), NOW_MS), lambda step: values_of(step, None), facts)
    sizes = [len(each.get_variable_data) for each in run.asked]  # type: ignore[attr-defined]
    assert (sizes[0], len(sizes)) == (40, 2)
    found = {each.key: each.value for each in run.result.configuration_key}
    assert (found["ConnectorPhaseRotation"], found["HeartbeatInterval"]) == ("", "")
    here, facts = station()
    asked = v16.GetConfigurationReq(key=("ConnectorPhaseRotation",))
    run = Run(here.downward(asked, NOW_MS), lambda step: values_of(step, "RST"), facts)
    (step,) = run.asked
    assert [each.variable.name for each in step.get_variable_data] == ["PhaseRotation"] * 2  # type: ignore[attr-defined]


def test_truth_is_written_in_small_letters() -> None:
    for value, wanted in (("True", "true"), ("FALSE", "false"), ("Other", "Other")):
        run = down(v16.ChangeConfigurationReq(key="LocalPreAuthorize", value=value), set_to("Accepted"))
        assert run.asked[0].set_variable_data[0].attribute_value == wanted  # type: ignore[attr-defined]


def set_to(status: Any) -> SetVariablesResponse:
    component, variable = Component(name="X"), Variable(name="Y")
    result = SetVariableResult(attribute_status=status, component=component, variable=variable)
    return SetVariablesResponse(set_variable_result=(result,))


def test_a_security_profile_rises_by_a_network_profile_that_is_taken() -> None:
    def asked(value: str, level: int | None, *answers: Any) -> tuple[list[Any], str]:
        profile = first_profile("ws://csms.example/ocpp", security_profile=level or 0, message_timeout=30)
        using = None if level is None else NetworkInUse(slot=1, profile=profile, spare=5)
        here, left = station()[0], iter(answers)
        run = Run(
            here.downward(v16.ChangeConfigurationReq(key="SecurityProfile", value=value), NOW_MS),
            lambda _: next(left),
            lambda _: using,
        )  # fmt: skip
        return list(run.asked), run.result.status

    assert asked("2", None) == ([], "Rejected"), "it is not this back end's"
    for value, level, told in (
        ("1", 1, "Accepted"), ("0", 0, "Accepted"), ("1", 2, "Rejected"), ("x", 1, "Rejected"), ("x", 0, "Rejected"),
        ("4", 1, "Rejected"),
    ):  # fmt: skip
        assert asked(value, level) == ([], told)
    assert asked("2", 1, SetNetworkProfileResponse(status="Rejected"))[1] == "Rejected"
    taken = SetNetworkProfileResponse(status="Accepted")
    steps, told = asked("2", 1, taken, set_to("Accepted"))
    assert (told, steps[0].configuration_slot, steps[0].connection_data.security_profile) == ("RebootRequired", 5, 2)
    assert steps[0].connection_data.ocpp_csms_url == "wss://csms.example/ocpp"
    assert steps[1].set_variable_data[0].attribute_value == "5,1"
    assert asked("1", 0, taken, set_to("Accepted"))[0][0].connection_data.ocpp_csms_url == "ws://csms.example/ocpp"
    assert asked("2", 1, taken, set_to("Rejected"))[1] == "Rejected"


@pytest.mark.parametrize("action", ["CertificateSigned", "InstallCertificate", "DeleteCertificate", "TriggerMessage",
                                    "GetInstalledCertificateIds"])  # fmt: skip
def test_messages_of_plug_and_charge_go_to_the_station(action: str) -> None:
    texts = {
        "CertificateSigned": {"certificateChain": "PEM"}, "TriggerMessage": {"requestedMessage": "Heartbeat"},
        "InstallCertificate": {"certificateType": "V2GRootCertificate", "certificate": "PEM"},
        "DeleteCertificate": {"certificateHashData": {
            "hashAlgorithm": "SHA256", "issuerNameHash": "a", "issuerKeyHash": "b", "serialNumber": "1"}},
        "GetInstalledCertificateIds": {},
    }  # fmt: skip
    text = msgspec.json.encode(texts[action]).decode()
    request = v16.DataTransferReq(vendor_id=PLUG_AND_CHARGE, message_id=action, data=text)
    run = down(request, OcppError("n" * 300, answer="X"))
    assert (len(run.asked), run.result.status, len(run.result.data)) == (1, "Rejected", 255)
    if action == "CertificateSigned":
        assert run.asked == [CertificateSignedRequest(certificate_chain="PEM", certificate_type="V2GCertificate")]
    nameless = v16.DataTransferReq(vendor_id=PLUG_AND_CHARGE, data=text)
    assert down(nameless).result.status == "UnknownMessageId"


def test_certificates_and_their_absence_are_told() -> None:
    signed = v16.CertificateSignedReq(certificate_chain="PEM")
    asked_for, told = ask_and_answer(signed, CertificateSignedResponse(status="Rejected"))
    assert (asked_for.certificate_type, told.status) == ("ChargingStationCertificate", "Rejected")
    known = CertificateHashData(
        hash_algorithm="SHA256", issuer_name_hash="a", issuer_key_hash="b", serial_number="1"
    )  # fmt: skip
    chain = CertificateHashDataChain(certificate_type="CSMSRootCertificate", certificate_hash_data=known)
    asked = v16.GetInstalledCertificateIdsReq(certificate_type="CentralSystemRootCertificate")
    for chains, status in (((chain,), "Accepted"), ((), "NotFound")):
        answer = GetInstalledCertificateIdsResponse(status="Accepted", certificate_hash_data_chain=chains)
        assert down(asked, answer).result.status == status
    deletes = v16.DeleteCertificateReq(certificate_hash_data=known)
    assert ask_and_answer(deletes, DeleteCertificateResponse(status="Failed"))[1].status == "Failed"
    image = v16.Firmware16(location="x", retrieve_date_time=AT, signing_certificate="PEM", signature="s")
    update = v16.SignedUpdateFirmwareReq(request_id=1, firmware=image)
    refused = UpdateFirmwareResponse(status="InvalidCertificate")
    assert ask_and_answer(update, refused)[1].status == "InvalidCertificate"
    empty = v16.DataTransferReq(vendor_id=PLUG_AND_CHARGE, message_id="DeleteCertificate")
    assert down(empty).result.status == "Rejected"
    unknown = v16.DataTransferReq(vendor_id=PLUG_AND_CHARGE, message_id="Authorize", data="{}")
    assert down(unknown).result.status == "UnknownMessageId"


def price(message_id: str, **data: Any) -> v16.DataTransferReq:
    return v16.DataTransferReq(vendor_id=COSTS, message_id=message_id, data=msgspec.json.encode(data).decode())


def test_prices_are_shown_and_costs_are_those_of_a_transaction() -> None:
    shown = SetDisplayMessageResponse(status="Accepted")
    for request, place, text in (
        (price("SetUserPrice", priceText="0.30 EUR"), 16_000_000, "0.30 EUR"),
        (price("FinalCost", transactionId=7, cost=1.5), 16_000_001, "1.50"),
        (price("FinalCost", transactionId=8), 16_000_000, ""),
        (price("SetUserPrice", priceText="x" * 600), 16_000_000, "x" * 512),
    ):
        run = down(request, shown)
        (asked,) = run.asked
        assert isinstance(asked, SetDisplayMessageRequest)
        assert (asked.message.id, asked.message.message.content) == (place, text)
        assert asked.message.end_date_time == "2027-01-15T08:01:00Z"
        assert run.result.status == "Accepted"
    run = down(price("RunningCost", transactionId=7, cost=1.5), CostUpdatedResponse())
    assert run.asked == [CostUpdatedRequest(total_cost=1.5, transaction_id="known")]
    for refused in (price("RunningCost", transactionId=8, cost=1.5), price("RunningCost", transactionId=7)):
        assert (down(refused).asked, down(refused).result.status) == ([], "Rejected")
    assert down(price("Other")).result.status == "UnknownMessageId"
    for data in ("[", None):
        broken = v16.DataTransferReq(vendor_id=COSTS, message_id="FinalCost", data=data)
        assert down(broken).result.status == "Rejected"
    assert down(price("SetUserPrice"), SetDisplayMessageResponse(status="Rejected")).result.status == "Rejected"


def happens(kind: Any, seq_no: int, tag: str | None, evse: EVSE | None = None, **more: Any) -> TransactionEventRequest:
    return TransactionEventRequest(
        event_type=kind, timestamp=AT, trigger_reason="Authorized", seq_no=seq_no, evse=evse,
        transaction_info=Transaction(transaction_id="new"),
        id_token=None if tag is None else IdToken(id_token=tag, type="ISO14443"), **more,
    )  # fmt: skip


STARTED = v16.StartTransactionConf(transaction_id=8, id_tag_info=v16.IdTagInfo(status="Accepted"))


@pytest.mark.parametrize(("evse", "connector"), [(None, 1), (EVSE(id=0), 1), (EVSE(id=2), 2)], ids=str)
def test_a_start_without_registers_begins_at_0_at_a_connector(evse: Any, connector: int) -> None:
    at = station()
    (said,) = up(happens("Started", 0, "FIRST", evse), STARTED, at=at).asked
    assert isinstance(said, v16.StartTransactionReq)
    assert (said.connector_id, said.meter_start, said.id_tag) == (connector, 0, "FIRST")
    assert up(happens("Updated", 1, "SECOND"), at=at).asked == [], "it has its number"
    assert at[0].transactions["new"].id_tag == "FIRST", "another one may end it"
    info = v16.IdTagInfo(status="Blocked")
    run = up(happens("Ended", 2, "SECOND"), v16.StopTransactionConf(id_tag_info=info), at=at)
    assert isinstance(run.asked[0], v16.StopTransactionReq)
    assert (run.asked[0].id_tag, run.result.id_token_info.status) == ("SECOND", "Blocked")


def test_what_a_transaction_without_a_number_measures_waits() -> None:
    value = MeterValue(timestamp=AT, sampled_value=(SampledValue(value=5),))
    at = station()
    assert up(happens("Started", 0, None), at=at).asked == []
    assert up(happens("Updated", 1, None, meter_value=(value, value)), at=at).asked == []


def test_a_transaction_without_identifier_and_energy_never_was_one() -> None:
    assert up(happens("Ended", 2, None)).asked == []
    read = (MeterValue(timestamp=AT, sampled_value=(SampledValue(value=5.0),)),)
    (said,) = up(happens("Ended", 2, None, meter_value=read), v16.StopTransactionConf()).asked
    assert isinstance(said, v16.StopTransactionReq)
    assert (said.transaction_id, said.meter_stop, said.id_tag) == (-1, 5, None)
    silent = NumberedHere(connector_id=1, began=AT, number=7)
    (said,) = up(happens("Ended", 2, None), v16.StopTransactionConf(), at=station(new=silent)).asked
    assert isinstance(said, v16.StopTransactionReq)
    assert said.transaction_id == 7


def energy(*values: float, times: int = 1) -> tuple[MeterValue, ...]:
    samples = tuple(SampledValue(value=each) for each in values)
    return tuple(MeterValue(timestamp=AT, sampled_value=samples) for _ in range(times))


def test_a_start_is_told_once_with_the_first_register_and_its_reservation() -> None:
    asked: list[object] = []
    here, _ = station()
    values = (*energy(5.0), *energy(9.0))
    event = happens("Started", 0, "TAG", meter_value=values, reservation_id=4)
    Run(here.upward(event, NOW_MS), lambda step: STARTED if action_of(step) == "StartTransaction" else
        v16.MeterValuesConf(), lambda question: asked.append(question) or None)  # fmt: skip
    assert not any(isinstance(each, BegunAs) for each in asked), "it begins here"
    assert (here.transactions["new"].meter_start, here.transactions["new"].reservation_id) == (5, 4)
    known = NumberedHere(connector_id=1, began=AT, id_tag="TAG", number=7)
    assert up(happens("Started", 0, None), at=station(new=known)).asked == [], "nobody is asked about"


@pytest.mark.parametrize(
    ("kind", "values", "told"),
    [("Started", (5.0,), 0), ("Started", (5.0, 6.0), 1), ("Updated", (5.0,), 1), ("Updated", (), 0)],
)
def test_the_register_of_a_start_is_not_told_twice(kind: Any, values: tuple[float, ...], told: int) -> None:
    known = NumberedHere(connector_id=1, began=AT, id_tag="TAG", number=7)
    asked = up(happens(kind, 1, None, meter_value=energy(*values)), v16.MeterValuesConf(), at=station(new=known)).asked
    assert len(asked) == told


def test_the_number_of_a_start_is_kept_before_anything_else_is_told() -> None:
    kept: list[int | None] = []
    here = Mirror(2, {}, {}, lambda _, found: kept.append(None if found is None else found.number))
    event = happens("Ended", 9, "TAG")
    left = iter((STARTED, OcppError("no", answer="InternalError")))
    with pytest.raises(OcppError):
        Run(here.upward(event, NOW_MS), lambda _: next(left), lambda _: None)
    assert kept == [8]


def test_what_a_stop_is_answered_counts_for_the_token_that_has_stopped() -> None:
    known = NumberedHere(connector_id=1, began=AT, id_tag="TAG", number=7)
    info = v16.IdTagInfo(status="Blocked")
    for tag, said in ((None, info), ("TAG", None)):
        run = up(happens("Ended", 2, tag), v16.StopTransactionConf(id_tag_info=said), at=station(new=known))
        assert run.result.id_token_info is None


def test_the_station_is_told_when_its_state_is_new_and_after_a_boot() -> None:
    here, now = station()[0], {"station": "Available"}
    at = here, lambda question: now["station"] if isinstance(question, StateOf) else None
    free = StatusNotificationRequest(timestamp=AT, connector_status="Available", evse_id=1, connector_id=1)

    def told(*answers: Any) -> list[tuple[int, str]]:
        said = [each for each in up(free, *answers, at=at).asked if isinstance(each, v16.StatusNotificationReq)]
        return [(each.connector_id, each.status) for each in said]

    assert told() == [(0, "Available"), (1, "Available")]
    assert told() == [(1, "Available")]
    for state in ("Unavailable", "Faulted"):
        now["station"] = state
        assert told() == [(0, state), (1, "Available")]
    accepted = v16.BootNotificationConf(status="Accepted", current_time=AT, interval=5)
    boot = BootNotificationRequest(reason="PowerUp", charging_station=ChargingStation(model="M", vendor_name="V"))
    up(boot, accepted, at=at)
    assert told() == [(0, "Faulted"), (1, "Available")]
    now["station"] = "Available"
    refused = OcppError("no", answer="InternalError")
    assert told(refused) == [(0, "Available"), (1, "Available")], "it is told later"
    with pytest.raises(OcppError):
        told(refused)


@pytest.mark.parametrize(("code", "refused"), [("InternalError", 0), ("SecurityError", None)])
def test_a_start_is_refused_but_not_by_a_back_end_that_was_not_asked_in_time(code: str, refused: Any) -> None:
    at = station()
    with pytest.raises(OcppError):
        up(happens("Started", 0, "TAG"), OcppError("no", answer=code), at=at)
    found = at[0].transactions.get("new")
    assert (None if found is None else found.refused) == refused


def states(run: Run) -> list[str]:
    return [each.status for each in run.asked if isinstance(each, v16.StatusNotificationReq) and each.connector_id == 1]


def connector(status: ConnectorStatus) -> StatusNotificationRequest:
    return StatusNotificationRequest(timestamp=AT, connector_status=status, evse_id=1, connector_id=1)


def ended(state: Any) -> TransactionEventRequest:
    transaction = Transaction(transaction_id="new", charging_state=state)
    return msgspec.structs.replace(happens("Ended", 1, None), transaction_info=transaction)


@pytest.mark.parametrize("reported", [("Available", "Occupied"), ("Occupied",), ()])
def test_a_vehicle_that_has_left_makes_the_next_one_finishing_at_no_time(reported: tuple[ConnectorStatus, ...]) -> None:
    """The states of a connector do not wait for transactions to be reported."""
    at = station(state="")
    up(connector("Occupied"), at=at)
    up(happens("Started", 0, "TAG"), STARTED, at=at)
    for status in reported:
        up(connector(status), at=at)
    assert states(up(ended("Idle"), v16.StopTransactionConf(), at=at)) == []
    assert states(up(connector("Occupied"), at=at)) == ["Preparing"]


def test_a_vehicle_that_stays_is_finishing() -> None:
    at = station(state="")
    up(connector("Occupied"), at=at)
    up(happens("Started", 0, "TAG"), STARTED, at=at)
    assert states(up(ended("EVConnected"), v16.StopTransactionConf(), at=at)) == ["Finishing"]
    assert states(up(connector("Occupied"), at=at)) == ["Finishing"]


@pytest.mark.parametrize("flowing", ["Charging", "SuspendedEV", "SuspendedEVSE"])
def test_a_transaction_without_energy_is_suspended_and_prepares_nothing(flowing: str) -> None:
    """From those states 1.6 has no way to Preparing (4.9)."""
    now = {"state": "EVConnected"}
    at = (station()[0], lambda question: now["state"] if isinstance(question, StateOf) else None)
    assert states(up(connector("Occupied"), at=at)) == ["Preparing"]
    for now["state"], shown in ((flowing, flowing), ("EVConnected", "SuspendedEV"), ("Charging", "Charging")):
        assert states(up(connector("Occupied"), at=at)) == [shown]
    now["state"] = "Idle"  # its cable was unplugged at the vehicle, which StopTransactionOnEVSideDisconnect lets do
    assert states(up(connector("Available"), at=at)) == ["SuspendedEV"]
    now["state"] = ""
    assert states(up(connector("Occupied"), at=at)) == ["Preparing"]


def test_a_vehicle_that_charges_once_more_is_not_finishing() -> None:
    at = station(state="EVConnected")
    at[0].finishing.add(1)
    up(connector("Occupied"), at=at)
    up(happens("Started", 0, "TAG"), STARTED, at=at)
    assert states(up(connector("Occupied"), at=at)) == ["Preparing"]


def test_a_connector_that_is_reserved_again_is_not_finishing() -> None:
    at = station(state="")
    at[0].finishing.add(1)
    states: tuple[tuple[ConnectorStatus, str], ...] = (
        ("Occupied", "Finishing"), ("Reserved", "Reserved"), ("Occupied", "Preparing"), ("Available", "Available"),
        ("Occupied", "Preparing"), ("Unavailable", "Unavailable"), ("Occupied", "Preparing"),
    )  # fmt: skip
    for status, shown in states:
        if status in ("Available", "Unavailable"):
            at[0].finishing.add(1)
        said = up(
            StatusNotificationRequest(timestamp=AT, connector_status=status, evse_id=1, connector_id=1),
            at=at,
        ).asked[-1]
        assert isinstance(said, v16.StatusNotificationReq)
        assert (said.status, said.error_code) == (shown, "NoError")
    faulted = StatusNotificationRequest(timestamp=AT, connector_status="Faulted", evse_id=1, connector_id=1)
    said = up(faulted, at=at).asked[-1]
    assert isinstance(said, v16.StatusNotificationReq)
    assert (said.status, said.error_code) == ("Faulted", "OtherError")
