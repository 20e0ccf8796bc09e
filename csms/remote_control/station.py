"""Functional blocks B, G and P: heartbeats, connectors' status, vendor extensions."""

import msgspec

from csms.attestations.work import Attester, report_attestation
from csms.handlers import answers, answers_at_once, small
from csms.remote_control import store as commands
from csms.services import HandlerContext
from csms.session_metrics import store as session_metrics
from csms.settlements.journals import JournalStore
from csms.stations import store as stations
from csms.stations.last_seen import LastSeen
from v2g.errors import CodecError, OcppError, V2GError
from v2g.hardware.session_metrics import MESSAGE, METRICS, read_session_metrics
from v2g.ocpp.messages import availability as ocpp
from v2g.ocpp.messages.base import StatusInfo
from v2g.ocpp.messages.data_transfer import VENDOR, DataTransferRequest, DataTransferResponse
from v2g.ocpp.times import format_time, parse_time


@answers_at_once
def answer_heartbeat(context: HandlerContext, _request: ocpp.HeartbeatRequest) -> ocpp.HeartbeatResponse:
    """Answer with the time (G02)."""
    now_ms = context.services.clock.utc_ms()
    context.services[LastSeen].note(context.station_id, now_ms)
    return ocpp.HeartbeatResponse(current_time=format_time(now_ms))


@answers
async def answer_status_notification(
    context: HandlerContext, request: ocpp.StatusNotificationRequest
) -> ocpp.StatusNotificationResponse:
    """Store a connector's status (G01)."""
    at_ms = parse_time(request.timestamp)
    await take_status(context, small(request.evse_id), small(request.connector_id), request.connector_status, at_ms)
    return ocpp.StatusNotificationResponse()


@answers
async def answer_data_transfer(context: HandlerContext, request: DataTransferRequest) -> DataTransferResponse:
    """Handle journal entries, and data of known vendors; anything else is unknown (P02.FR.06, .07)."""
    if request.vendor_id != VENDOR:
        vendors = {vendor.vendor_id: vendor.message_ids for vendor in context.services.config.vendors}
        if request.vendor_id not in vendors:
            return DataTransferResponse(status="UnknownVendorId")
        allowed = vendors[request.vendor_id]
        if allowed and request.message_id not in allowed:
            return DataTransferResponse(status="UnknownMessageId")
        now_ms = context.services.clock.utc_ms()
        await context.services.store.run(commands.add_transfer, context.station_id, request, now_ms)
        context.observe("ocpp", "data_transfer", vendor=request.vendor_id, message=request.message_id)
        return DataTransferResponse(status="Accepted")
    if request.message_id == MESSAGE:
        try:
            metrics = read_session_metrics(request.data)
        except CodecError as error:
            return _refusal("InvalidMetrics", error)
        now_ms = context.services.clock.utc_ms()
        if await context.services.store.run(session_metrics.take, context.station_id, metrics, now_ms):
            known = {name: metrics.values.get(name) for name in METRICS}
            context.observe("ocpp", "session_metrics", evse=metrics.evse_id, session_id=metrics.session_id, **known)
        return DataTransferResponse(status="Accepted")
    if request.message_id == "AttestationEvidence":
        # examine evidence that the station was asked for (R148)
        data = request.data
        services = context.services
        if (attester := services.find(Attester)) is None:
            return DataTransferResponse(status="UnknownMessageId")
        found = await attester.take(services.store, context.station_id, data, services.clock.utc_ms())
        if isinstance(found, str):
            context.observe("ocpp", "attestation_refused", reason=found)
            return DataTransferResponse(status="Rejected", status_info=StatusInfo(reason_code=found))
        before, after = found
        report_attestation(services, before, after)
        if after.state == "Whole":
            return DataTransferResponse(status="Accepted")
        info = StatusInfo(reason_code="NotWhole", additional_info="; ".join(after.reasons)[:500])
        return DataTransferResponse(status="Rejected", status_info=info)
    if request.message_id not in ("JournalEntries", "JournalCertificates"):
        return DataTransferResponse(status="UnknownMessageId")
    journals = context.services[JournalStore]
    try:
        if request.message_id == "JournalCertificates":
            await journals.take_certificates(context.station_id, request.data)
            return DataTransferResponse(status="Accepted")
        result = await journals.deliver(context.station_id, request.data)
    except CodecError as error:
        return _refusal("InvalidEntries", error)
    except V2GError as error:
        if error.exit_code == 8:  # storage: the station must try again
            raise OcppError("the journal cannot be stored at present", answer="InternalError") from error
        return _refusal("JournalRefused", error)
    receipt = {} if result.receipt is None else {"receipt": msgspec.to_builtins(result.receipt)}
    return DataTransferResponse(status="Accepted", data={"lines": result.lines, "head": result.head, **receipt})


def _refusal(code: str, error: V2GError) -> DataTransferResponse:
    return DataTransferResponse(
        status="Rejected", status_info=StatusInfo(reason_code=code, additional_info=str(error)[:500])
    )


async def take_status(context: HandlerContext, evse_id: int, connector_id: int, status: str, at_ms: int) -> None:
    """Store a connector's status, which may fulfil availability orders. One of the future is of now: it would hide all
    that come until then."""
    now_ms = context.services.clock.utc_ms()
    reported = stations.ConnectorStatus(context.station_id, evse_id, connector_id, status, min(at_ms, now_ms))
    done = await context.services.store.gather(commands.take_statuses, (reported, now_ms))
    context.observe("ocpp", "connector_status", evse=evse_id, connector=connector_id, status=status)
    for order in done:
        context.observe("ocpp", "availability_done", order=order.order_id, wanted=order.wanted)
