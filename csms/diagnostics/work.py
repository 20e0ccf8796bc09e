"""Functional block N: log files, customer data at stations, monitors of variables and their event streams."""

from collections.abc import Iterable, Sequence

from csms.device_model.work import items_per_message
from csms.requests.work import Asked, ask, call
from csms.services import Services
from csms.tokens import local_lists
from v2g.errors import RefusedError
from v2g.ocpp.messages import diagnostics
from v2g.ocpp.messages import monitoring as ocpp
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.base import CertificateHashData, Message
from v2g.ocpp.messages.provisioning import ComponentVariable
from v2g.ocpp.times import format_time


async def get_log(
    services: Services,
    station_id: str,
    log_type: diagnostics.LogType,
    remote_location: str,
    *,
    oldest_ms: int | None = None,
    latest_ms: int | None = None,
    retries: int | None = None,
    retry_interval_s: int | None = None,
) -> Asked[diagnostics.GetLogResponse]:
    """Have a station upload a log (N01); LogStatusNotification reports the progress.

    Raises RefusedError (`upload_url`), V2GError as `ConnectionRegistry.call`.
    """
    check_upload(remote_location)
    log = diagnostics.LogParameters(
        remote_location=remote_location,
        oldest_timestamp=None if oldest_ms is None else format_time(oldest_ms),
        latest_timestamp=None if latest_ms is None else format_time(latest_ms),
    )
    return await ask(
        services,
        station_id,
        lambda number: diagnostics.GetLogRequest(
            log=log, log_type=log_type, request_id=number, retries=retries, retry_interval=retry_interval_s
        ),
        diagnostics.GetLogResponse,
        follows=("Accepted", "AcceptedCanceled"),
    )


def check_upload(url: str) -> None:
    """Raise RefusedError (`upload_url`) for an address of HTTP with a fragment, or with a query that ends with a slash:
    stations would use another one (N01.FR.27, FR.28)."""
    if url.lower().startswith(("http://", "https://")) and ("#" in url or ("?" in url and url.endswith("/"))):
        fault = "has a fragment" if "#" in url else "has a query that ends with a slash"
        raise RefusedError(f"the address {fault}", reason="upload_url", hint="leave it out: a station cannot send it")


async def customer_information(
    services: Services,
    station_id: str,
    *,
    report: bool,
    clear: bool,
    id_token: IdToken | None = None,
    certificate: CertificateHashData | None = None,
    identifier: str | None = None,
) -> Asked[diagnostics.CustomerInformationResponse]:
    """Have a customer's data reported, cleared, or both (N09, N10); a report arrives in parts.

    A cleared customer is also removed from the local authorization list (N10.FR.02). Raises RefusedError unless exactly
    one of `id_token`, `certificate` and `identifier` is given, and V2GError as `ConnectionRegistry.call` does.
    """
    if sum(each is not None for each in (id_token, certificate, identifier)) != 1:  # N09.FR.04, N10.FR.08
        raise RefusedError("give exactly one of token, certificate and identifier", reason="customer")

    def make(number: int) -> diagnostics.CustomerInformationRequest:
        return diagnostics.CustomerInformationRequest(
            customer_certificate=certificate,
            id_token=id_token,
            request_id=number,
            report=report,
            clear=clear,
            customer_identifier=identifier,
        )

    asked = await ask(services, station_id, make, diagnostics.CustomerInformationResponse, follows=("Accepted",))
    await after_customer_information(services, station_id, make(asked.request_id), asked.response)
    return asked


async def after_customer_information(
    services: Services, station_id: str, request: diagnostics.CustomerInformationRequest, answer: Message
) -> None:
    """Remove a customer whose data a station clears from its local authorization list, too (N10.FR.02)."""
    if request.clear and request.id_token is not None and getattr(answer, "status", "") == "Accepted":
        await local_lists.forget(services, station_id, request.id_token)


MAX_ITEMS = 50
"""Monitors in one message, when the station has not reported its ItemsPerMessage (N04.FR.09, N06.FR.04)."""


async def set_monitors(
    services: Services, station_id: str, wanted: Sequence[ocpp.SetMonitoringData]
) -> list[ocpp.SetMonitoringResult]:
    """Set monitors, as many in a message as the station supports (N04, N04.FR.09); return each result.

    Raises RefusedError for a stream without rate (N11.FR.09), V2GError as `ConnectionRegistry.call` does.
    """
    check_streams(wanted)
    limit = await _limit(services, station_id, "SetVariableMonitoring", len(wanted))
    results: list[ocpp.SetMonitoringResult] = []
    for begin in range(0, len(wanted), limit):
        part = tuple(wanted[begin : begin + limit])
        request = ocpp.SetVariableMonitoringRequest(set_monitoring_data=part)
        results += (await call(services, station_id, request, ocpp.SetVariableMonitoringResponse)).set_monitoring_result
    return results


def check_streams(wanted: Iterable[ocpp.SetMonitoringData]) -> None:
    """Raise RefusedError (`stream_rate`) for a stream without rate (N11.FR.09)."""
    for each in wanted:
        stream = each.periodic_event_stream
        if stream is not None and stream.interval is None and stream.values is None:
            raise RefusedError("a stream needs an interval, a number of values, or both", reason="stream_rate")


async def _limit(services: Services, station_id: str, action: str, items: int) -> int:
    if items < 2:
        return 1
    return await items_per_message(services, station_id, "MonitoringCtrlr", action, MAX_ITEMS)


async def clear_monitors(
    services: Services, station_id: str, monitor_ids: Sequence[int]
) -> list[ocpp.ClearMonitoringResult]:
    """Remove monitors, as many in a message as the station supports (N06, N06.FR.04)."""
    limit = await _limit(services, station_id, "ClearVariableMonitoring", len(monitor_ids))
    results: list[ocpp.ClearMonitoringResult] = []
    for begin in range(0, len(monitor_ids), limit):
        request = ocpp.ClearVariableMonitoringRequest(id=tuple(monitor_ids[begin : begin + limit]))
        results += (
            await call(services, station_id, request, ocpp.ClearVariableMonitoringResponse)
        ).clear_monitoring_result
    return results


async def set_base(services: Services, station_id: str, base: ocpp.MonitoringBase) -> ocpp.SetMonitoringBaseResponse:
    """Set the monitoring base (N03); FactoryDefault and HardWiredOnly remove those of the CSMS."""
    return await call(
        services, station_id, ocpp.SetMonitoringBaseRequest(monitoring_base=base), ocpp.SetMonitoringBaseResponse
    )


async def set_level(services: Services, station_id: str, severity: int) -> ocpp.SetMonitoringLevelResponse:
    """Report only events of this severity (0 to 9) or more severe, which is a lower number (N05)."""
    request = ocpp.SetMonitoringLevelRequest(severity=severity)
    return await call(services, station_id, request, ocpp.SetMonitoringLevelResponse)


async def report(
    services: Services,
    station_id: str,
    criteria: Iterable[ocpp.MonitoringCriterion] = (),
    variables: Iterable[ComponentVariable] = (),
) -> Asked[ocpp.GetMonitoringReportResponse]:
    """Have monitors reported: all, of kinds, of components and variables (N02); the report arrives in parts."""
    return await ask(
        services,
        station_id,
        lambda number: ocpp.GetMonitoringReportRequest(
            component_variable=tuple(variables), request_id=number, monitoring_criteria=tuple(criteria)
        ),
        ocpp.GetMonitoringReportResponse,
        follows=("Accepted",),
    )


async def adjust_stream(
    services: Services, station_id: str, stream_id: int, params: ocpp.PeriodicEventStreamParams
) -> ocpp.AdjustPeriodicEventStreamResponse:
    """Have a stream send at another rate (N14, 2.1)."""
    request = ocpp.AdjustPeriodicEventStreamRequest(id=stream_id, params=params)
    return await call(services, station_id, request, ocpp.AdjustPeriodicEventStreamResponse)
