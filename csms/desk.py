"""Where a station's requests are worked on: what is needed for it, and one function per action."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from csms.config import CsmsConfig
from csms.contracts import ContractJudge
from csms.core.authorize import CONTRACT, Answer, Chain, answer_contract, answer_token, normalise
from csms.core.meters import samples_of
from csms.core.profiles import Needs, answer_needs
from csms.core.transactions import Event
from csms.grid_source import GridSource
from csms.journals import JournalArchive
from csms.rows import stations, transactions
from csms.store import Store
from v2g.errors import CodecError, OcppError, V2GError
from v2g.net.clock import Clock
from v2g.net.events import EventLog
from v2g.observe import Observe, Scalar
from v2g.ocpp.messages.authorization import AuthorizeRequest, AuthorizeResponse, IdToken, IdTokenInfo
from v2g.ocpp.messages.availability import (
    HeartbeatRequest,
    HeartbeatResponse,
    StatusNotificationRequest,
    StatusNotificationResponse,
)
from v2g.ocpp.messages.base import Message, StatusInfo
from v2g.ocpp.messages.data_transfer import DataTransferRequest, DataTransferResponse
from v2g.ocpp.messages.ev_charging import (
    NotifyEVChargingNeedsRequest,
    NotifyEVChargingNeedsResponse,
    NotifyEVChargingScheduleResponse,
)
from v2g.ocpp.messages.metering import MeterValuesRequest, MeterValuesResponse
from v2g.ocpp.messages.transactions import TransactionEventRequest, TransactionEventResponse
from v2g.ocpp.routes import Version, response_type
from v2g.ocpp.times import format_time, parse_time

M = TypeVar("M", bound=Message)

VENDOR: Final = "org.v2g-engine"
_MAX_INTEGER: Final = 2**31 - 1  # OCPP integers have 32 bits (part 2, 2.1)

REPORTS: Final = (
    "ClearedChargingLimit",
    "LogStatusNotification",
    "NotifyChargingLimit",
    "NotifyEVChargingSchedule",
    "NotifyEvent",
    "NotifyReport",
    "ReportChargingProfiles",
    "SecurityEventNotification",
)
"""Actions that are kept as they are and answered without content."""


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """What all stations share."""

    config: CsmsConfig
    store: Store
    clock: Clock
    observe: EventLog
    grid: GridSource
    contracts: ContractJudge
    journals: JournalArchive


class Desk:
    """One station's requests on one connection. `on_needs(evse_id)` is called when a vehicle has told its needs."""

    def __init__(
        self, services: Services, station_id: str, version: Version, on_needs: Callable[[str, Needs], None]
    ) -> None:
        self._services = services
        self._station_id = station_id
        self._version = version
        self._on_needs = on_needs
        self._early_needs: dict[int, Needs] = {}

    async def answer(self, action: str, request: Message) -> Message:
        """Return the response. Raises OcppError for what becomes a CALLERROR."""
        if action in REPORTS:
            return await self._keep(action, request)
        return await ANSWERS[action](self, request)

    def observe(self, stage: str, name: str, **data: Scalar) -> None:
        """Record something about this station."""
        self._services.observe(Observe(stage, name, {"station": self._station_id, **data}))

    async def _keep(self, action: str, request: Message) -> Message:
        services = self._services
        document = msgspec.json.encode(request)
        await services.store.run(stations.add_report, self._station_id, action, document, services.clock.utc_ms())
        self.observe("ocpp", "report", action=action)
        if action == "NotifyEVChargingSchedule":
            return NotifyEVChargingScheduleResponse(status="Accepted")
        return response_type(action)()

    async def heartbeat(self, _request: HeartbeatRequest) -> HeartbeatResponse:
        """Tell the time (G02)."""
        now_ms = self._services.clock.utc_ms()
        await self._services.store.run(stations.seen, self._station_id, now_ms)
        return HeartbeatResponse(current_time=format_time(now_ms))

    async def status_notification(self, request: StatusNotificationRequest) -> StatusNotificationResponse:
        """Note a connector's status (G01)."""
        evse_id, connector_id = _small(request.evse_id), _small(request.connector_id)
        at_ms = parse_time(request.timestamp)
        status = request.connector_status
        await self._services.store.run(stations.save_connector, self._station_id, evse_id, connector_id, status, at_ms)
        self.observe("ocpp", "connector_status", evse=evse_id, connector=connector_id, status=status)
        return StatusNotificationResponse()

    async def authorize(self, request: AuthorizeRequest) -> AuthorizeResponse:
        """Say whether a contract or token may charge (C01, C07)."""
        token = request.id_token
        reason = ""
        if token.type == CONTRACT:
            verdict = await self._services.contracts.judge(
                token.id_token, request.certificate, request.iso15118_certificate_hash_data
            )
            reason = verdict.reason
            known = await self._find(token) if verdict.chain is Chain.VALID else None
            answer = answer_contract(verdict.chain, known)
        else:
            answer = answer_token(await self._find(token))
        self.observe(
            "authorization",
            "authorize",
            emaid=token.id_token,
            type=token.type,
            result=answer.status,
            certificate=answer.certificate_status,
            reason=reason[:200],
        )
        contract = token.type == CONTRACT and self._version == "2.1"
        return AuthorizeResponse(
            id_token_info=_info(answer),
            certificate_status=answer.certificate_status,  # type: ignore[arg-type]  # core.authorize speaks OCPP
            allowed_energy_transfer=answer.energy_transfer if contract else (),  # type: ignore[arg-type]
        )

    async def transaction_event(self, request: TransactionEventRequest) -> TransactionEventResponse:
        """Store an event, once; check the token that it names (E01 to E13)."""
        services = self._services
        document = msgspec.json.encode(request)
        event = _event(self._station_id, request, document)
        outcome, transaction = await services.store.run(
            transactions.add_event, event, document, services.clock.utc_ms()
        )
        name = f"transaction_{event.kind.lower()}" if outcome == "new" else f"transaction_event_{outcome}"
        self.observe(
            "ocpp",
            name,
            transaction=event.transaction_id,
            seq_no=event.seq_no,
            trigger=event.trigger,
            import_wh=transaction.import_wh.value if transaction.import_wh else None,
            export_wh=transaction.export_wh.value if transaction.export_wh else None,
        )
        if transaction.active and transaction.evse_id in self._early_needs:
            needs = self._early_needs.pop(transaction.evse_id)
            await self._take_needs(transaction.transaction_id, needs)
        if request.id_token is None:
            return TransactionEventResponse()
        return TransactionEventResponse(id_token_info=_info(answer_token(await self._find(request.id_token))))

    async def meter_values(self, request: MeterValuesRequest) -> MeterValuesResponse:
        """Store meter values outside a transaction (J01)."""
        evse_id, samples = _small(request.evse_id), samples_of(request.meter_value)
        await self._services.store.run(transactions.add_samples, self._station_id, evse_id, samples)
        self.observe("metering", "meter_values", evse=evse_id, samples=len(samples))
        return MeterValuesResponse()

    async def charging_needs(self, request: NotifyEVChargingNeedsRequest) -> NotifyEVChargingNeedsResponse:
        """Say whether a profile will come; it follows this answer (K15, K19, Q01)."""
        services = self._services
        needs = Needs(
            evse_id=_small(request.evse_id),
            requested=request.charging_needs.requested_energy_transfer,
            max_periods=request.max_schedule_tuples or 0,
        )
        running = [
            each
            for each in await services.store.run(transactions.active, self._station_id)
            if each.evse_id == needs.evse_id
        ]
        allowed: tuple[str, ...] = ()
        newest = max(running, key=lambda each: each.started_ms or 0, default=None)
        if newest is not None and newest.id_token is not None:
            token_type = newest.token_type.value if newest.token_type else CONTRACT
            known = await self._find(IdToken(id_token=newest.id_token.value, type=token_type))
            allowed = known.energy_transfer if known is not None else ()
        has_signal = services.grid.current is not None
        status = answer_needs(needs, allowed, has_signal=has_signal, version=self._version)
        self.observe("ocpp", "charging_needs", evse=needs.evse_id, requested=needs.requested, status=status)
        if status == "Accepted" and newest is None:
            self._early_needs[needs.evse_id] = needs  # its transaction's start may still wait in a queue
            status = "Processing"
        elif newest is not None and status != "Rejected":
            await self._take_needs(newest.transaction_id, needs)
        return NotifyEVChargingNeedsResponse(status=status)  # type: ignore[arg-type]  # core.profiles speaks OCPP

    async def data_transfer(self, request: DataTransferRequest) -> DataTransferResponse:
        """Take journal entries; everything else is unknown here (P01)."""
        if request.vendor_id != VENDOR:
            return DataTransferResponse(status="UnknownVendorId")
        if request.message_id != "JournalEntries":
            return DataTransferResponse(status="UnknownMessageId")
        try:
            result = await self._services.journals.deliver(self._station_id, request.data)
        except CodecError as error:
            return _refusal("InvalidEntries", error)
        except V2GError as error:
            if error.exit_code == 8:  # storage: the station shall try again
                raise OcppError("the journal cannot be stored now", answer="InternalError") from error
            return _refusal("JournalRefused", error)
        return DataTransferResponse(status="Accepted", data={"lines": result.lines, "head": result.head})

    async def _find(self, token: IdToken) -> Any:
        return await self._services.store.run(stations.find_token, token.type, normalise(token.type, token.id_token))

    async def _take_needs(self, transaction_id: str, needs: Needs) -> None:
        await self._services.store.run(transactions.save_needs, self._station_id, transaction_id, needs)
        self._on_needs(transaction_id, needs)


ANSWERS: Final[Mapping[str, Callable[[Desk, Any], Awaitable[Message]]]] = {
    "Authorize": Desk.authorize,
    "DataTransfer": Desk.data_transfer,
    "Heartbeat": Desk.heartbeat,
    "MeterValues": Desk.meter_values,
    "NotifyEVChargingNeeds": Desk.charging_needs,
    "StatusNotification": Desk.status_notification,
    "TransactionEvent": Desk.transaction_event,
}


def _event(station_id: str, request: TransactionEventRequest, document: bytes) -> Event:
    info, evse, token = request.transaction_info, request.evse, request.id_token
    return Event(
        station_id=station_id,
        transaction_id=info.transaction_id,
        seq_no=_small(request.seq_no),
        kind=request.event_type,
        at_ms=parse_time(request.timestamp),
        trigger=request.trigger_reason,
        digest=hashlib.sha256(document).hexdigest(),
        offline=request.offline,
        evse_id=_small(evse.id) if evse is not None else None,
        connector_id=_small(evse.connector_id) if evse is not None and evse.connector_id is not None else None,
        id_token=token.id_token if token is not None else None,
        token_type=token.type if token is not None else None,
        charging_state=info.charging_state,
        operation_mode=info.operation_mode,
        stopped_reason=info.stopped_reason,
        samples=samples_of(request.meter_value),
    )


def _info(answer: Answer) -> IdTokenInfo:
    return IdTokenInfo(status=answer.status)  # type: ignore[arg-type]  # core.authorize speaks OCPP


def _small(number: int) -> int:
    if number > _MAX_INTEGER:
        raise OcppError(f"{number} does not fit an OCPP integer", answer="PropertyConstraintViolation")
    return number


def _refusal(code: str, error: V2GError) -> DataTransferResponse:
    return DataTransferResponse(
        status="Rejected", status_info=StatusInfo(reason_code=code, additional_info=str(error)[:500])
    )
