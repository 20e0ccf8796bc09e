"""A station's answers about transactions, charging profiles, cost and the grid."""

from types import MappingProxyType
from typing import Final

import msgspec

from v2g.errors import CodecError
from v2g.grid.tariff import parse_grid_signal
from v2g.ocpp import profiles
from v2g.ocpp.answers import (
    VENDOR,
    Answers,
    CostShown,
    GridSignalReceived,
    KeepProfiles,
    Reply,
    SendReport,
    StartRemotely,
    StopRemotely,
    View,
    because,
)
from v2g.ocpp.messages.data_transfer import DataTransferRequest, DataTransferResponse
from v2g.ocpp.messages.remote_control import (
    RequestStartTransactionRequest,
    RequestStartTransactionResponse,
    RequestStopTransactionRequest,
    RequestStopTransactionResponse,
)
from v2g.ocpp.messages.smart_charging import (
    ClearChargingProfileRequest,
    ClearChargingProfileResponse,
    GetChargingProfilesRequest,
    GetChargingProfilesResponse,
    GetCompositeScheduleRequest,
    GetCompositeScheduleResponse,
    ReportChargingProfilesRequest,
    SetChargingProfileRequest,
    SetChargingProfileResponse,
)
from v2g.ocpp.messages.tariff_cost import CostUpdatedRequest, CostUpdatedResponse
from v2g.ocpp.messages.transactions import GetTransactionStatusRequest, GetTransactionStatusResponse
from v2g.ocpp.profiles import Installed


def set_charging_profile(request: SetChargingProfileRequest, view: View) -> Reply:
    """K01."""
    refused = profiles.refuse(
        request.charging_profile,
        request.evse_id,
        version=view.version,
        evses=len(view.evses),
        installed=view.profiles,
        transactions=view.transactions,
    )
    if refused is not None:
        return Reply(SetChargingProfileResponse(status="Rejected", status_info=refused))
    new = Installed(request.evse_id, request.charging_profile, view.version)
    kept = profiles.replace(view.profiles, new)
    return Reply(SetChargingProfileResponse(status="Accepted"), (KeepProfiles(profiles=kept),))


def clear_charging_profile(request: ClearChargingProfileRequest, view: View) -> Reply:
    """K10."""
    profile_id, criteria = request.charging_profile_id, request.charging_profile_criteria
    kept = tuple(item for item in view.profiles if not profiles.matches_clearing(item, profile_id, criteria))
    if len(kept) == len(view.profiles):
        return Reply(ClearChargingProfileResponse(status="Unknown"))
    return Reply(ClearChargingProfileResponse(status="Accepted"), (KeepProfiles(profiles=kept),))


def get_charging_profiles(request: GetChargingProfilesRequest, view: View) -> Reply:
    """K09: one ReportChargingProfiles for each EVSE that holds some."""
    found = [i for i in view.profiles if profiles.matches_report(i, request.evse_id, request.charging_profile)]
    if not found:
        return Reply(GetChargingProfilesResponse(status="NoProfiles"))
    evses = sorted({item.evse_id for item in found})
    reports = tuple(
        ReportChargingProfilesRequest(
            request_id=request.request_id,
            charging_limit_source="CSO",
            charging_profile=tuple(item.profile for item in found if item.evse_id == evse_id),
            tbc=evse_id != evses[-1],
            evse_id=evse_id,
        )
        for evse_id in evses
    )
    return Reply(GetChargingProfilesResponse(status="Accepted"), (SendReport(requests=reports),))


def get_composite_schedule(request: GetCompositeScheduleRequest, view: View) -> Reply:
    """K08."""
    if view.evse(request.evse_id) is None and request.evse_id != 0:
        return Reply(GetCompositeScheduleResponse(status="Rejected", status_info=because("UnknownEvse")))
    if request.charging_rate_unit == "A":
        info = because("UnsupportedRateUnit", "W is supported")
        return Reply(GetCompositeScheduleResponse(status="Rejected", status_info=info))
    schedule = profiles.composite(
        view.profiles,
        view.utc_ms,
        max(0, request.duration),
        evse_id=request.evse_id,
        transaction=view.transaction_on(request.evse_id),
        max_w=view.max_power_w,
    )
    return Reply(GetCompositeScheduleResponse(status="Accepted", schedule=schedule))


def request_start_transaction(request: RequestStartTransactionRequest, view: View) -> Reply:
    """F01, F02: for identification outside the vehicle; a plugged-in contract needs no remote start."""
    refused = None
    free = [e for e in view.evses if e.operative and view.transaction_on(e.evse_id) is None]
    evse = next((e for e in free if request.evse_id in (None, e.evse_id)), None)
    if view.registration != "Accepted":
        refused = because("CSNotAccepted")  # B02.FR.05
    elif not view.can_start:
        refused = because("NotEnabled", "this station authorises by contract certificate")
    elif evse is None:
        refused = because("TxInProgress", "no free EVSE")
    elif request.charging_profile is not None:
        profile = request.charging_profile
        if profile.charging_profile_purpose != "TxProfile" or profile.transaction_id is not None:
            refused = because("InvalidProfile", "a TxProfile without transactionId is expected (F01.FR.08)")
        else:
            refused = because("UnsupportedParam", "set the profile once the transaction runs")
    if refused is not None or evse is None:
        return Reply(RequestStartTransactionResponse(status="Rejected", status_info=refused))
    effect = StartRemotely(
        evse_id=evse.evse_id,
        remote_start_id=request.remote_start_id,
        id_token=request.id_token.id_token,
        id_token_type=request.id_token.type,
    )
    return Reply(RequestStartTransactionResponse(status="Accepted"), (effect,))


def request_stop_transaction(request: RequestStopTransactionRequest, view: View) -> Reply:
    """F03."""
    if view.registration != "Accepted" or view.transaction(request.transaction_id) is None:
        info = because("CSNotAccepted" if view.registration != "Accepted" else "TxNotFound")
        return Reply(RequestStopTransactionResponse(status="Rejected", status_info=info))
    effect = StopRemotely(transaction_id=request.transaction_id)
    return Reply(RequestStopTransactionResponse(status="Accepted"), (effect,))


def get_transaction_status(request: GetTransactionStatusRequest, view: View) -> Reply:
    """E14."""
    if request.transaction_id is None:
        return Reply(GetTransactionStatusResponse(messages_in_queue=any(view.queued.values())))
    ongoing = view.transaction(request.transaction_id) is not None
    waiting = view.queued.get(request.transaction_id, 0) > 0
    return Reply(GetTransactionStatusResponse(ongoing_indicator=ongoing, messages_in_queue=waiting))


def cost_updated(request: CostUpdatedRequest, _: View) -> Reply:
    """I02."""
    shown = CostShown(transaction_id=request.transaction_id, total=request.total_cost)
    return Reply(CostUpdatedResponse(), (shown,))


def data_transfer(request: DataTransferRequest, _: View) -> Reply:
    """P01: the grid signal, as a JSON object or as its text."""
    if request.vendor_id != VENDOR:
        return Reply(DataTransferResponse(status="UnknownVendorId"))
    if request.message_id != "GridSignal":
        return Reply(DataTransferResponse(status="UnknownMessageId"))
    data = request.data.encode() if isinstance(request.data, str) else msgspec.json.encode(request.data)
    try:
        parse_grid_signal(data)
    except CodecError as error:
        return Reply(DataTransferResponse(status="Rejected", status_info=because("InvalidValue", str(error)[:512])))
    return Reply(DataTransferResponse(status="Accepted"), (GridSignalReceived(data=data),))


ANSWERS: Final[Answers] = MappingProxyType(
    {
        "ClearChargingProfile": clear_charging_profile,
        "CostUpdated": cost_updated,
        "DataTransfer": data_transfer,
        "GetChargingProfiles": get_charging_profiles,
        "GetCompositeSchedule": get_composite_schedule,
        "GetTransactionStatus": get_transaction_status,
        "RequestStartTransaction": request_start_transaction,
        "RequestStopTransaction": request_stop_transaction,
        "SetChargingProfile": set_charging_profile,
    }
)
