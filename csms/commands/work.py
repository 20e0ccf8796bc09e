"""Any OCPP request of an operator, as it is: nothing that the back end records of stations is bypassed.

What a station accepts is recorded as for the requests that the back end makes itself (`station_records`). Requests with
a number of their own are stored under that number. What would contradict the records is refused before it is sent.
"""

from typing import Final

from csms.device_model import work as device_model
from csms.diagnostics import work as diagnostics
from csms.diagnostics.work import check_streams, check_upload
from csms.dispatch.der import check_control
from csms.payments import work as payments
from csms.remote_control import store as commands
from csms.remote_control import work as availability
from csms.requests import store as requests
from csms.requests.rules import check_own_variables
from csms.requests.work import call, deliver
from csms.reservations import store as reservation_rows
from csms.reservations import work as reservations
from csms.services import Services
from csms.smart_charging.work import SmartCharging
from csms.station_security.authority import StationCa
from csms.station_security.work import check_root
from csms.tariffs.work import TariffService
from csms.tokens import store as token_rows
from v2g.errors import RefusedError
from v2g.ocpp.messages.authorization import SendLocalListRequest
from v2g.ocpp.messages.availability import ChangeAvailabilityRequest
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.certificates import InstallCertificateRequest
from v2g.ocpp.messages.data_transfer import DataTransferRequest
from v2g.ocpp.messages.der_control import SetDERControlRequest
from v2g.ocpp.messages.diagnostics import CustomerInformationRequest, GetLogRequest
from v2g.ocpp.messages.monitoring import SetVariableMonitoringRequest
from v2g.ocpp.messages.payment import NotifyWebPaymentStartedRequest, NotifyWebPaymentStartedResponse
from v2g.ocpp.messages.provisioning import SetNetworkProfileRequest, SetVariableData, SetVariablesRequest
from v2g.ocpp.messages.remote_control import RequestStartTransactionRequest
from v2g.ocpp.messages.reservation import CancelReservationRequest, ReserveNowRequest
from v2g.ocpp.messages.security import CertificateSignedRequest
from v2g.ocpp.messages.smart_charging import UpdateDynamicScheduleRequest
from v2g.ocpp.messages.tariff_cost import ChangeTransactionTariffRequest, ClearTariffsRequest, SetDefaultTariffRequest
from v2g.ocpp.routes import action_of, answer_to, is_of_16
from v2g.ocpp.v16.configuration import change_status, variable_of
from v2g.ocpp.v16.messages import ChangeConfigurationConf, ChangeConfigurationReq, InstallCertificateReq

_GREATEST: Final = 1_000_000_000
"""Greatest number that an operator may choose: the back end counts on from the greatest that there is."""


_IN_2_0_1: Final = frozenset({
    "ChangeAvailability", "ClearChargingProfile", "ReserveNow", "SendLocalList", "SetChargingProfile", "UpdateFirmware",
})  # fmt: skip
"""Actions of 1.6 that would change what is recorded here, and that stations of 1.6 take in the form of 2.0.1."""


async def send(services: Services, station_id: str, request: Message, timeout_s: float) -> Message:
    """Send a request to a station; return its response.

    Raises RefusedError for one that would contradict what the back end records, V2GError as `ConnectionRegistry.call`.
    """
    await _check(services, station_id, request)
    match request:
        case ChangeConfigurationReq():
            wanted = SetVariablesRequest(set_variable_data=variables_of(request))
            answer_2x = await device_model.send_variables(services, station_id, wanted, timeout_s)
            return ChangeConfigurationConf(status=change_status(answer_2x.set_variable_result[0].attribute_status))
        case SetVariablesRequest():
            return await device_model.send_variables(services, station_id, request, timeout_s)
        case SetNetworkProfileRequest():
            return await device_model.send_network_profile(services, station_id, request, timeout_s)
        case ChangeAvailabilityRequest(evse=evse, operational_status=wanted):
            place = (0, 0) if evse is None else (evse.id, evse.connector_id or 0)
            now_ms = services.clock.utc_ms()
            order = await services.store.run(commands.open_order, station_id, *place, wanted, now_ms, now_ms)
            return (await availability.send(services, order, timeout_s=timeout_s))[1]
        case RequestStartTransactionRequest(remote_start_id=number, id_token=token, evse_id=evse_id):
            taken = await services.store.read(commands.find_start, number) is not None
            _check_number("remoteStartId", number, taken=taken)
            now_ms = services.clock.utc_ms()
            await services.store.run(commands.open_start, station_id, evse_id, token, None, now_ms, number)
            return await availability.deliver_start(services, station_id, request, timeout_s)
        case ReserveNowRequest(id=number):
            known = await services.store.read(reservation_rows.find_reservation, number)
            replaces = number if known is not None and known.station_id == station_id else None
            _check_number("id", number, taken=known is not None and replaces is None)
            sent = reservations.send(
                services, station_id, request, replaces=replaces, number=number, timeout_s=timeout_s
            )
            return (await sent)[1]
        case CancelReservationRequest(reservation_id=number):
            known = await services.store.read(reservation_rows.find_reservation, number)
            if known is not None and known.station_id == station_id:
                return await reservations.cancel(services, number, timeout_s)
        case UpdateDynamicScheduleRequest(charging_profile_id=number, schedule_update=values):
            return await SmartCharging(services).update_dynamic(station_id, number, values, timeout_s)
        case SetDefaultTariffRequest() | ClearTariffsRequest() | ChangeTransactionTariffRequest():
            return await TariffService(services).send(station_id, request, timeout_s)
        case CertificateSignedRequest():
            return await services[StationCa].deliver(station_id, request, timeout_s)
        case NotifyWebPaymentStartedRequest(evse_id=evse_id, timeout=open_s):
            await payments.web_payment_started(services, station_id, evse_id, open_s, answer_s=timeout_s)
            return NotifyWebPaymentStartedResponse()
    kind, request_id = answer_to(request), getattr(request, "request_id", None)
    if not isinstance(request_id, int) or is_of_16(request):
        return await call(services, station_id, request, kind, timeout_s=timeout_s)
    _check_number("requestId", request_id, taken=await services.store.read(requests.find, request_id) is not None)
    await services.store.run(requests.open_numbered, station_id, request_id, request, services.clock.utc_ms())
    follows = ("Accepted", "AcceptedCanceled")
    answer = await deliver(services, station_id, request_id, request, kind, follows, timeout_s=timeout_s)
    if isinstance(request, CustomerInformationRequest):
        await diagnostics.after_customer_information(services, station_id, request, answer)
    return answer


def variables_of(request: ChangeConfigurationReq) -> tuple[SetVariableData, ...]:
    """Return the variable that a key of 1.6 is."""
    component, variable = variable_of(request.key)
    return (SetVariableData(component=component, variable=variable, attribute_value=request.value),)


async def _check(services: Services, station_id: str, request: Message) -> None:
    """Raise RefusedError for a request that breaks a rule of the requests that the back end makes itself."""
    await SmartCharging(services).check_command(station_id, request)
    match request:
        case SetVariablesRequest(set_variable_data=data):
            check_own_variables(data)
            await device_model.check_variables(services, station_id, data)
        case ChangeConfigurationReq():
            await device_model.check_variables(services, station_id, variables_of(request))
        case SetDERControlRequest():
            check_control(request)
        case InstallCertificateRequest() | InstallCertificateReq():
            check_root(request.certificate_type, request.certificate)
        case SetVariableMonitoringRequest(set_monitoring_data=monitors):
            check_streams(monitors)
        case GetLogRequest(log=log):
            check_upload(log.remote_location)
        case SendLocalListRequest(version_number=number, update_type=kind):
            _check_number("versionNumber", number, taken=False)
            known = await services.store.read(token_rows.find_local_list, station_id)
            if kind == "Differential" and (known is None or known["status"] != "Accepted"):
                raise RefusedError(
                    "the back end does not know the station's local list, so it cannot record a change of it (D01)",
                    reason="unknown_list",
                    hint=f"send a Full one first: v2g csms request POST /stations/{station_id}/local-list/synchronise",
                )
        case DataTransferRequest(vendor_id=vendor_id):
            availability.check_vendor(vendor_id)
    if is_of_16(request) and action_of(request) in _IN_2_0_1:
        raise RefusedError(
            f"the back end records {action_of(request)}, so it has to be in the form of OCPP 2.0.1",
            reason="version",
            hint="it is translated for the station; see /openapi.json",
        )


def _check_number(name: str, number: int, *, taken: bool) -> None:
    """Refuse a number by which stations' events name a request, and that means another one. Raises RefusedError."""
    if taken or not 0 < number <= _GREATEST:
        fault = "is that of an earlier request" if taken else f"is not from 1 to {_GREATEST}"
        raise RefusedError(f"{name} {number} {fault}", reason="number_taken", hint="choose a greater one" * taken)
