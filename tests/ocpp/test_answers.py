"""A station's answers to wishes that it does not grant, and what follows from those it does."""

from typing import Any

import pytest

from v2g.errors import OcppError
from v2g.ocpp import answers
from v2g.ocpp.answers import EvseView, View
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.availability import ChangeAvailabilityRequest
from v2g.ocpp.messages.base import EVSE, Message
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedule, ChargingSchedulePeriod
from v2g.ocpp.messages.device_model import Component
from v2g.ocpp.messages.provisioning import ComponentVariable, GetBaseReportRequest, GetReportRequest, ResetRequest
from v2g.ocpp.messages.remote_control import (
    RequestStartTransactionRequest,
    RequestStopTransactionRequest,
    TriggerMessageRequest,
    UnlockConnectorRequest,
)
from v2g.ocpp.messages.smart_charging import (
    ChargingProfileCriterion,
    GetChargingProfilesRequest,
    GetCompositeScheduleRequest,
    SetChargingProfileRequest,
)
from v2g.ocpp.messages.transactions import GetTransactionStatusRequest
from v2g.ocpp.profiles import OpenTransaction

RUNNING = (OpenTransaction("tx-1", 1, 0),)
TOKEN = IdToken(id_token="A", type="Central")


def profile(purpose: str) -> ChargingProfile:
    """A profile that allows 5 W."""
    schedule = ChargingSchedule(
        id=1, charging_rate_unit="A", charging_schedule_period=(ChargingSchedulePeriod(start_period=0, limit=5),)
    )
    return ChargingProfile(
        id=1, stack_level=0, charging_profile_purpose=purpose, charging_profile_kind="Relative",
        charging_schedule=(schedule,),
    )  # type: ignore[arg-type]  # fmt: skip


def start(**changes: Any) -> RequestStartTransactionRequest:
    """A wish to start."""
    return RequestStartTransactionRequest(**({"id_token": TOKEN, "remote_start_id": 1} | changes))


def ask(request: Message, **changes: Any) -> tuple[str, str, tuple[answers.Effect, ...]]:
    """Return status, reason code and effects of an answer."""
    fields = {
        "version": "2.1", "registration": "Accepted", "utc_ms": 0, "max_power_w": 100, "can_start": True,
        "evses": (EvseView(1, "Available"), EvseView(2, "Available")), "can_reset": True, "can_unlock": True,
    }  # fmt: skip
    response, effects = answers.answer(request, View(**(fields | changes)))
    info = getattr(response, "status_info", None)
    return getattr(response, "status", ""), info.reason_code if info else "", effects


@pytest.mark.parametrize(
    ("request_", "changes", "status", "code"),
    [
        (start(), {"can_start": False}, "Rejected", "NotEnabled"),
        (start(), {"registration": "Pending"}, "Rejected", "CSNotAccepted"),
        (start(evse_id=1), {"transactions": RUNNING}, "Rejected", "TxInProgress"),
        (start(), {"evses": (EvseView(1, "Available", operative=False),)}, "Rejected", "TxInProgress"),
        (start(charging_profile=profile("TxProfile")), {}, "Rejected", "UnsupportedParam"),
        (start(charging_profile=profile("TxDefaultProfile")), {}, "Rejected", "InvalidProfile"),
        (RequestStopTransactionRequest(transaction_id="tx-2"), {"transactions": RUNNING}, "Rejected", "TxNotFound"),
        (RequestStopTransactionRequest(transaction_id="tx-1"), {"registration": "Pending"}, "Rejected",
         "CSNotAccepted"),
        (SetChargingProfileRequest(evse_id=1, charging_profile=profile("TxDefaultProfile")), {}, "Rejected",
         "UnsupportedRateUnit"),
        (GetChargingProfilesRequest(request_id=1, charging_profile=ChargingProfileCriterion()), {}, "NoProfiles", ""),
        (GetCompositeScheduleRequest(duration=5, evse_id=9), {}, "Rejected", "UnknownEvse"),
        (GetCompositeScheduleRequest(duration=5, evse_id=1, charging_rate_unit="A"), {}, "Rejected",
         "UnsupportedRateUnit"),
        (ResetRequest(type="Immediate"), {"can_reset": False}, "Rejected", "NotEnabled"),
        (ResetRequest(type="ImmediateAndResume"), {}, "Rejected", "NotEnabled"),
        (ResetRequest(type="OnIdle", evse_id=9), {}, "Rejected", "UnknownEvse"),
        (ChangeAvailabilityRequest(operational_status="Inoperative", evse=EVSE(id=9)), {}, "Rejected", "UnknownEvse"),
        (ChangeAvailabilityRequest(operational_status="Inoperative", evse=EVSE(id=1, connector_id=2)), {}, "Rejected",
         "UnknownEvse"),
        (TriggerMessageRequest(requested_message="Heartbeat", evse=EVSE(id=9)), {}, "Rejected", "UnknownEvse"),
        (TriggerMessageRequest(requested_message="BootNotification"), {}, "Rejected", ""),
        (TriggerMessageRequest(requested_message="TransactionEvent"), {}, "Rejected", "TxNotFound"),
        (TriggerMessageRequest(requested_message="LogStatusNotification"), {}, "NotImplemented", ""),
        (UnlockConnectorRequest(evse_id=1, connector_id=1), {"can_unlock": False}, "UnlockFailed", "FixedCable"),
        (UnlockConnectorRequest(evse_id=1, connector_id=2), {}, "UnknownConnector", ""),
        (GetReportRequest(request_id=1, component_criteria=("Problem",)), {}, "EmptyResultSet", ""),
        (GetReportRequest(request_id=1, component_variable=(ComponentVariable(component=Component(name="X")),)), {},
         "EmptyResultSet", ""),
    ],
)  # fmt: skip
def test_what_cannot_be_granted_is_refused_with_its_reason(
    request_: Message, changes: dict[str, Any], status: str, code: str
) -> None:
    assert ask(request_, **changes) == (status, code, ())


def test_a_remote_start_takes_a_free_evse() -> None:
    _, _, (effect,) = ask(start(), transactions=RUNNING)
    assert effect == answers.StartRemotely(evse_id=2, remote_start_id=1, id_token="A", id_token_type="Central")


def test_a_reset_waits_for_transactions_it_concerns() -> None:
    assert ask(ResetRequest(type="OnIdle", evse_id=1), transactions=RUNNING)[0] == "Scheduled"
    assert ask(ResetRequest(type="OnIdle", evse_id=2), transactions=RUNNING)[0] == "Accepted"
    assert ask(ResetRequest(type="Immediate", evse_id=1), transactions=RUNNING)[0] == "Accepted"


@pytest.mark.parametrize("base", ["FullInventory", "ConfigurationInventory", "SummaryInventory"])
def test_a_report_comes_in_numbered_parts(base: Any) -> None:
    status, _, (effect,) = ask(GetBaseReportRequest(request_id=4, report_base=base))
    assert status == "Accepted"
    assert isinstance(effect, answers.SendReport)
    parts: list[Any] = list(effect.requests)
    assert [part.seq_no for part in parts] == list(range(len(parts)))
    assert [part.tbc for part in parts] == [True] * (len(parts) - 1) + [False]
    writable = [v.variable_attribute[0].mutability != "ReadOnly" for part in parts for v in part.report_data]
    assert all(writable) == (base == "ConfigurationInventory")


def test_a_report_by_component_alone_has_all_its_variables() -> None:
    wanted = ComponentVariable(component=Component(name="txctrlr"))
    _, _, (effect,) = ask(GetReportRequest(request_id=1, component_variable=(wanted,)))
    assert isinstance(effect, answers.SendReport)
    part: Any = effect.requests[0]
    assert {data.variable.name for data in part.report_data} == {
        "TxStartPoint", "TxStopPoint", "StopTxOnInvalidId", "StopTxOnEVSideDisconnect", "EVConnectionTimeOut",
    }  # fmt: skip
    _, _, (effect,) = ask(GetReportRequest(request_id=1, component_criteria=("Available",)))
    assert isinstance(effect, answers.SendReport)


@pytest.mark.parametrize(
    ("transaction", "queued", "ongoing", "waiting"),
    [("tx-1", {"tx-1": 2}, True, True), ("tx-1", {}, True, False), ("tx-0", {"tx-0": 1}, False, True),
     (None, {"tx-0": 1}, None, True), (None, {}, None, False)],
)  # fmt: skip
def test_the_status_of_a_transaction_says_what_waits(
    transaction: str | None, queued: dict[str, int], ongoing: bool | None, waiting: bool
) -> None:
    view = View(
        version="2.1", registration="Accepted", utc_ms=0, evses=(), max_power_w=1, transactions=RUNNING, queued=queued
    )
    response: Any = answers.answer(GetTransactionStatusRequest(transaction_id=transaction), view).response
    assert (response.ongoing_indicator, response.messages_in_queue) == (ongoing, waiting)


def test_a_rejected_station_answers_with_a_security_error() -> None:
    with pytest.raises(OcppError) as caught:
        ask(start(), registration="Rejected")
    assert caught.value.answer == "SecurityError"
