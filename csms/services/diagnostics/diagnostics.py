"""Functional block N: log files, and customer data at stations."""

from csms.ocpp.base import Services
from csms.services.authorization import local_lists
from csms.services.stations.requests import Asked, ask
from v2g.errors import RefusedError
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.base import CertificateHashData, Message
from v2g.ocpp.messages.diagnostics import (
    CustomerInformationRequest,
    CustomerInformationResponse,
    GetLogRequest,
    GetLogResponse,
    LogParameters,
    LogType,
)
from v2g.ocpp.times import format_time


async def get_log(
    services: Services,
    station_id: str,
    log_type: LogType,
    remote_location: str,
    *,
    oldest_ms: int | None = None,
    latest_ms: int | None = None,
    retries: int | None = None,
    retry_interval_s: int | None = None,
) -> Asked[GetLogResponse]:
    """Have a station upload a log (N01); LogStatusNotification reports the progress. Raises V2GError as
    `ConnectionRegistry.call`."""
    log = LogParameters(
        remote_location=remote_location,
        oldest_timestamp=None if oldest_ms is None else format_time(oldest_ms),
        latest_timestamp=None if latest_ms is None else format_time(latest_ms),
    )
    return await ask(
        services,
        station_id,
        lambda number: GetLogRequest(
            log=log, log_type=log_type, request_id=number, retries=retries, retry_interval=retry_interval_s
        ),
        GetLogResponse,
        follows=("Accepted", "AcceptedCanceled"),
    )


async def customer_information(
    services: Services,
    station_id: str,
    *,
    report: bool,
    clear: bool,
    id_token: IdToken | None = None,
    certificate: CertificateHashData | None = None,
    identifier: str | None = None,
) -> Asked[CustomerInformationResponse]:
    """Have a customer's data reported, cleared, or both (N09, N10); a report arrives in parts.

    A cleared customer is also removed from the local authorization list (N10.FR.02). Raises RefusedError unless exactly
    one of `id_token`, `certificate` and `identifier` is given, and V2GError as `ConnectionRegistry.call` does.
    """
    if sum(each is not None for each in (id_token, certificate, identifier)) != 1:  # N09.FR.04, N10.FR.08
        raise RefusedError("give exactly one of token, certificate and identifier", reason="customer")

    def make(number: int) -> CustomerInformationRequest:
        return CustomerInformationRequest(
            customer_certificate=certificate,
            id_token=id_token,
            request_id=number,
            report=report,
            clear=clear,
            customer_identifier=identifier,
        )

    asked = await ask(services, station_id, make, CustomerInformationResponse, follows=("Accepted",))
    await after_customer_information(services, station_id, make(asked.request_id), asked.response)
    return asked


async def after_customer_information(
    services: Services, station_id: str, request: CustomerInformationRequest, answer: Message
) -> None:
    """Remove a customer whose data a station clears from its local authorization list, too (N10.FR.02)."""
    if request.clear and request.id_token is not None and getattr(answer, "status", "") == "Accepted":
        await local_lists.forget(services, station_id, request.id_token)
