"""Transactions managed by the charger: its ISO 15118 sessions decide when they start and end.

Records are stored by `reference`, the charger's name for a transaction. Requests of the CSMS become commands.

An ISO 15118 session does not survive a crash or a power failure, its transaction may (E17): it waits for the vehicle,
whose next session continues it if the same contract pays.
"""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.availability import ConnectorStatus
from v2g.ocpp.messages.base import OperationMode
from v2g.ocpp.messages.metering import MeterValue
from v2g.ocpp.messages.transactions import (
    ChargingState,
    Reason,
    TransactionEventRequest,
    TransactionLimit,
    TriggerReason,
)
from v2g_station.blocks import transaction_records as transactions
from v2g_station.blocks.evse import Authorization, Evse
from v2g_station.blocks.transaction_records import MeterSample, Step, TransactionRecord
from v2g_station.blocks.transactions.sessions import EvseSessions
from v2g_station.kernel.kernel import StationCommand

HARDWARE_S: Final = 15.0
"""How long the charger may take to detect whether a vehicle is connected."""

POLL_S: Final = 1.0
"""Poll interval of the energy limit for an identifier that the CSMS no longer accepts."""

MAY_CHARGE_ON: Final = "TxCtrlr.AllowEnergyTransferResumption"

POINTS: Final = {
    "TxCtrlr.TxStartPoint": "PowerPathClosed",
    "TxCtrlr.TxStopPoint": "EVConnected,Authorized",
    "TxCtrlr.StopTxOnEVSideDisconnect": "true",
}
"""When the charger starts and ends its transactions; the CSMS cannot change that, nor the EVSEID for vehicles."""

_STARTED: Final = "SampledDataCtrlr.TxStartedMeasurands"
_UPDATED: Final = "SampledDataCtrlr.TxUpdatedMeasurands"
_ENDED: Final = "SampledDataCtrlr.TxEndedMeasurands"


StopCause = Literal[
    "remote", "local", "master_pass", "deauthorized", "cost_limit", "energy_limit", "time_limit", "soc_limit"
]

LIMITS: Final[Mapping[TriggerReason, StopCause]] = {
    "CostLimitReached": "cost_limit",
    "EnergyLimitReached": "energy_limit",
    "TimeLimitReached": "time_limit",
    "SoCLimitReached": "soc_limit",
}


CAUSES: Final[Mapping[Reason, StopCause]] = {
    "Local": "local",
    "MasterPass": "master_pass",
    "DeAuthorized": "deauthorized",
}
"""Ends of an authorization that no back end has asked for."""


class RemoteStopRequested(StationCommand, frozen=True, kw_only=True):
    """The CSMS, a limit, a card at the charger, or the paying driver requests the end of a transaction."""

    reference: str
    cause: StopCause


class RemoteStartRequested(StationCommand, frozen=True, kw_only=True):
    """The CSMS, a card, or a payment at the terminal starts charging at the EVSE under `id_token`."""

    evse_id: int
    remote_start_id: int
    id_token: IdToken
    energy_transfer: tuple[str, ...] = ()
    """See Authorization."""


class SuspendEnergy(StationCommand, frozen=True, kw_only=True):
    """Suspend or resume the energy flow of an EVSE's transaction, which continues."""

    evse_id: int
    suspended: bool


class RemoteStartExpired(StationCommand, frozen=True, kw_only=True):
    """The last RemoteStartRequested is no longer valid."""

    evse_id: int


class ManagedSessions(EvseSessions):
    """Manages the transactions that the charger reports."""

    records: dict[str, TransactionRecord]
    waiting: dict[int, str]
    """EVSE -> reference of the interrupted transaction that waits for its vehicle there."""
    admitted: dict[int, tuple[int | None, str | None]]
    """EVSE -> reservation and group of the last authorized driver, until the transaction starts."""
    _shown: dict[int, ConnectorStatus]

    def load(self) -> None:
        """Load transactions that were open when the program last stopped."""
        for key, value in POINTS.items():
            self._k.model.fix(key, value)
        for number, evse in enumerate(self._k.layout.evses, 1):
            if evse.evse_id:
                self._k.model.fix(f"EVSE#{number}.ISO15118EvseId", evse.evse_id)
        self.records, self.waiting, self.admitted, self._shown = {}, {}, {}, {}
        found = self._k.stored("managed", TransactionRecord)
        for record in sorted(found.values(), key=lambda record: record.started_ms):
            self._hold(transactions.interrupted(record))

    def _commit(self, step: Step) -> None:
        """Store a transaction's new state and queue its event, in one step."""
        record, request = step
        bound: TransactionLimit | None = None
        if request.event_type == "Started":
            record, request, bound = self._granted(record, request)
        record, request = self._keyed(record, request)
        if request.event_type == "Ended":
            if not self._k.planned(f"granted.{record.evse_id}"):  # else it is the next driver's
                self._evses[record.evse_id].authorization = None
            self._release(record)
            self._k.forget("managed", record.reference)
        else:
            self.keep(self._evses[record.evse_id], record)
        spare = request.event_type == "Updated" and request.trigger_reason in ("MeterValuePeriodic", "RunningCost")
        evse = self._evses[record.evse_id]
        self._add(evse, record, request, spare=spare)
        if request.event_type == "Started":
            self.on_started.tell(evse)
            if bound is not None:
                self.on_bound.tell(evse, bound)
        elif request.event_type == "Ended":
            # lift the suspension for the next driver: the invalid identifier was another's
            self._k.cancel(f"invalid.{evse.number}")
            self._k.do(SuspendEnergy(evse_id=evse.number, suspended=False))
            self._check_energy(evse)  # of the next one, if that has begun already
            self.on_ended.tell(evse, record)
        elif request.meter_value:
            self.on_sample.tell(evse)
        self.announce(evse)

    def _granted(
        self, record: TransactionRecord, request: TransactionEventRequest
    ) -> tuple[TransactionRecord, TransactionEventRequest, TransactionLimit | None]:
        """Assign a transaction without identification to the authorization at its EVSE (F02, C18, C25)."""
        evse, replace = self._evses[record.evse_id], msgspec.structs.replace
        found = evse.authorization
        self._k.cancel(f"granted.{evse.number}")
        if found is None or record.id_token:
            evse.authorization = None
            return record, request, None
        remote = found.remote_start_id
        record = replace(
            record,
            id_token=found.id_token.id_token,
            id_token_type=found.id_token.type,
            remote_start_id=remote,
            group=found.group,
        )
        request = replace(
            request,
            trigger_reason=request.trigger_reason if remote is None else "RemoteStart",
            id_token=transactions.with_vehicle(found.id_token, record.evccid),
            transaction_info=replace(request.transaction_info, remote_start_id=remote, transaction_limit=found.limit),
        )
        return record, request, found.limit

    # -- after an interruption

    def wait_for_vehicle(self, record: TransactionRecord, sample: MeterSample | None) -> None:
        """Let an interrupted transaction continue, without energy until its vehicle is back (E17)."""
        self.waiting[record.evse_id] = record.reference
        self.progress(record.reference, "TxResumed", charging_state="EVConnected", sample=sample)
        self._k.note("transaction_resumed", transaction_id=record.transaction_id)
        self._k.after(f"vehicle.{record.evse_id}", HARDWARE_S, lambda: self._poll(record.evse_id))

    def shown(self, evse_id: int, status: ConnectorStatus) -> None:
        """Handle the connector state displayed by the charger: a vehicle that has left ends its waiting transaction,
        and an authorization that it has not used (E09.FR.01)."""
        left = status == "Available" and self._shown.get(evse_id) == "Occupied"
        self._shown[evse_id] = status
        evse = self._evses[evse_id]
        self.present(evse)
        if left and evse.authorization is not None and evse.record is None:
            self._withdraw(evse)
        if not self._k.planned(f"vehicle.{evse_id}"):
            self._poll(evse_id)

    def _poll(self, evse_id: int) -> None:
        """E17.FR.17."""
        reference, evse = self.waiting.get(evse_id), self._evses[evse_id]
        if reference is not None and self._shown.get(evse_id) == "Available":
            self._end_waiting(reference, "EVCommunicationLost", "EVDisconnected")
            if evse.authorization is not None:
                self._withdraw(evse)

    def rejoin(self, evse_id: int, reference: str, id_token: str) -> None:
        """Handle the start of a session: it continues the waiting transaction if the same contract pays, else ends it.

        A session without identification may belong to any driver.
        """
        old = self.waiting.get(evse_id)
        if old is None:
            return
        record = self.records[old]
        if not (id_token and id_token == record.id_token and self._k.model.flag(MAY_CHARGE_ON)):
            self._end_waiting(old, "EVCommunicationLost", "EVDisconnected")
            return
        self._stop_waiting(evse_id)
        self._release(record)
        self._k.forget("managed", old)
        evse = self._evses[evse_id]
        self.keep(evse, msgspec.structs.replace(record, reference=reference))
        self._check_energy(evse)  # the remaining energy of an invalid identifier was lost in the restart

    def _stop_waiting(self, evse_id: int) -> None:
        del self.waiting[evse_id]
        self._k.cancel(f"vehicle.{evse_id}")

    def _end_waiting(self, reference: str, trigger: TriggerReason, reason: Reason) -> None:
        record = self.records[reference]
        self._stop_waiting(record.evse_id)
        self.finish(record.reference, trigger=trigger, reason=reason, sample=self._read(record.evse_id))

    def _stop(self, record: TransactionRecord, cause: StopCause, trigger: TriggerReason, reason: Reason) -> None:
        """Have the charger end a transaction; a waiting one has no session that could."""
        if record.reference in self.waiting.values():
            self._end_waiting(record.reference, trigger, reason)
        else:
            self._k.do(RemoteStopRequested(reference=record.reference, cause=cause))

    def _hold(self, record: TransactionRecord) -> None:
        self.records[record.reference] = record
        self._evses[record.evse_id].record = record

    def _release(self, record: TransactionRecord) -> None:
        self.records.pop(record.reference, None)
        others = [each for each in self.records.values() if each.evse_id == record.evse_id]
        self._evses[record.evse_id].record = others[-1] if others else None

    # -- reports of the charger

    def begin(self, record: TransactionRecord, *, trigger: TriggerReason, sample: MeterSample | None) -> None:
        """Open a transaction."""
        evse = self._evses[record.evse_id]
        self._hold(record)
        self.on_starting.tell(evse)
        record = evse.record or record
        step = transactions.start(
            record,
            self._k.utc_ms,
            trigger=trigger,
            sample=self._completed(evse, sample, _STARTED),
            offline=not self._k.online,
            measurands=self._measurands(record, _STARTED),
        )
        self._commit(step)

    def progress(
        self,
        reference: str,
        trigger: TriggerReason,
        *,
        charging_state: ChargingState | None = None,
        operation_mode: OperationMode | None = None,
        sample: MeterSample | None = None,
        limit: TransactionLimit | None = None,
    ) -> None:
        """Report progress. KeyError for a reference that is not open."""
        record = self.records[reference]
        evse = self._evses[record.evse_id]
        listener = record if operation_mode is None else msgspec.structs.replace(record, operation_mode=operation_mode)
        variable = "AlignedDataCtrlr.Measurands" if trigger == "MeterValueClock" else _UPDATED
        record, request = transactions.update(
            record,
            self._k.utc_ms,
            trigger=trigger,
            charging_state=charging_state,
            operation_mode=operation_mode,
            sample=self._completed(evse, sample, variable),
            offline=not self._k.online,
            asleep=evse.asleep,
            measurands=self._measurands(listener, variable),
        )
        if limit is not None:
            info = msgspec.structs.replace(request.transaction_info, transaction_limit=limit)
            request = msgspec.structs.replace(request, transaction_info=info)
        self._commit((record, request))

    def finish(
        self,
        reference: str,
        *,
        trigger: TriggerReason,
        reason: Reason,
        begin: MeterSample | None = None,
        sample: MeterSample | None = None,
    ) -> None:
        """Close a transaction, unless a restart keeps it (B13); see `transactions.end`. KeyError if it is not open."""
        record = self.records[reference]
        evse = self._evses[record.evse_id]
        if trigger == "ResetCommand" and self.keeping:
            self._interrupt(evse, record, sample)
            return
        step = transactions.end(
            record,
            self._k.utc_ms,
            trigger=trigger,
            reason=reason,
            charging_state="Idle" if self._shown.get(record.evse_id) == "Available" else "EVConnected",
            begin=self._completed(evse, begin, _ENDED),
            sample=self._completed(evse, sample, _ENDED),
            offline=not self._k.online,
            measurands=self._measurands(record, _ENDED),
        )
        self._commit(step)

    def _interrupt(self, evse: Evse, record: TransactionRecord, sample: MeterSample | None) -> None:
        """Keep a transaction unchanged until after the restart although its session has ended."""
        record = transactions.turn(record, self._k.utc_ms, "EVConnected")
        last = record.last_sample if sample is None else msgspec.structs.replace(sample, signed=())
        self.keep(evse, msgspec.structs.replace(record, last_sample=last, seen_ms=self._k.utc_ms))

    def _measurands(self, record: TransactionRecord, variable: str) -> frozenset[str]:
        """Return the measurands to report of a sample (J02, Q01.FR.33 to .35)."""
        enabled = self._k.model.flag(f"{variable.partition('.')[0]}.Enabled")
        return frozenset(self.wanted(record, variable) if enabled else ())

    def _completed(self, evse: Evse, sample: MeterSample | None, variable: str) -> MeterSample | None:
        """Return a sample with what only the station knows, without unwanted signatures (J02.FR.21)."""
        if sample is None:
            return None
        signed = sample.signed if self.signs(variable) else ()
        hertz = self.hertz if sample.frequency_hz is None else sample.frequency_hz
        return msgspec.structs.replace(sample, setpoint_w=evse.setpoint_w, frequency_hz=hertz, signed=signed)

    def enter_mode(self, evse: Evse, mode: OperationMode) -> None:
        """Switch the transaction to another operation mode (K01.FR.110)."""
        if evse.record is not None:
            reference = evse.record.reference
            self.progress(reference, "OperationModeChanged", operation_mode=mode, sample=self._read(evse.number))

    def clock_set(self, by_ms: int) -> None:
        for record in list(self.records.values()):
            self.keep(self._evses[record.evse_id], transactions.moved(record, by_ms))

    # -- requests of the CSMS and of other blocks

    def keep(self, evse: Evse, record: TransactionRecord) -> None:
        """Set and store a transaction's state."""
        del evse
        self._hold(record)
        self._k.keep("managed", record.reference, record)

    def find(self, transaction_id: str) -> Evse | None:
        """Return the EVSE of an open transaction, and make it the current one there."""
        record = next((each for each in self.records.values() if each.transaction_id == transaction_id), None)
        if record is None:
            return None
        evse = self._evses[record.evse_id]
        evse.record = record
        return evse

    def driver(self, evse: Evse) -> Authorization | None:
        found, record = evse.authorization, evse.record
        if found is not None or record is None:
            return found  # none for a contract, nor after a restart
        return Authorization(id_token=IdToken(id_token=record.id_token, type=record.id_token_type), group=record.group)

    def authorize(self, evse: Evse, found: Authorization, trigger: TriggerReason = "Authorized") -> None:
        """Authorize the next driver, until EVConnectionTimeOut."""
        del trigger
        self.admitted[evse.number] = found.reservation_id, found.group
        evse.authorization = found
        command = RemoteStartRequested(
            evse_id=evse.number,
            remote_start_id=found.remote_start_id or 0,
            id_token=found.id_token,
            energy_transfer=found.energy_transfer,
        )
        self._k.do(command)
        self.announce(evse)
        timeout = self._k.model.number("TxCtrlr.EVConnectionTimeOut")
        if timeout > 0:
            self._k.after(f"granted.{evse.number}", timeout, lambda: self._withdraw(evse))

    def _withdraw(self, evse: Evse) -> None:
        """Withdraw an unused authorization."""
        evse.authorization = None
        self.admitted.pop(evse.number, None)
        self._k.cancel(f"granted.{evse.number}")
        self._k.do(RemoteStartExpired(evse_id=evse.number))
        self.announce(evse)

    def end_authorization(
        self, evse: Evse, trigger: TriggerReason, reason: Reason, id_token: IdToken | None = None
    ) -> None:
        """Have the charger end what the CSMS, or a card or button at the charger, ends."""
        del id_token
        if evse.record is not None:
            self._stop(evse.record, CAUSES.get(reason, "remote"), trigger, reason)
        elif evse.authorization is not None:
            self._withdraw(evse)

    def limit_reached(self, evse: Evse, trigger: TriggerReason, reason: Reason) -> None:
        """End the transaction at a limit: its session can no longer be used (E16.FR.05, .06)."""
        if evse.record is not None:
            self.update(evse, trigger)
            self._stop(evse.record, LIMITS.get(trigger, "remote"), trigger, reason)

    def invalid(self, evse: Evse) -> None:
        """Handle an identifier that the CSMS no longer accepts (E05, C15.FR.04)."""
        record = evse.record
        if record is None or record.stop_mwh is not None:
            return
        self._k.note("deauthorized", transaction_id=record.transaction_id)
        if self._k.model.flag("TxCtrlr.StopTxOnInvalidId"):
            self._stop(record, "deauthorized", "Deauthorized", "DeAuthorized")
            return
        sample = self._read(evse.number)
        allowed_mwh = int(self._k.model.number("TxCtrlr.MaxEnergyOnInvalidId")) * 1000
        stop_mwh = (sample.import_mwh if sample is not None else 0) + allowed_mwh
        self.keep(evse, msgspec.structs.replace(record, stop_mwh=stop_mwh))
        self._check_energy(evse)

    def _check_energy(self, evse: Evse) -> None:
        """Stop energy when an invalid identifier has used its allowance (E05.FR.02, .03); polled until then."""
        record, sample = evse.record, self._read(evse.number)
        if record is None or record.stop_mwh is None:
            return
        if sample is not None and sample.import_mwh < record.stop_mwh:
            self._k.after(f"invalid.{evse.number}", POLL_S, lambda: self._check_energy(evse))
            return
        self._k.do(SuspendEnergy(evse_id=evse.number, suspended=True))
        self.progress(record.reference, "ChargingStateChanged", charging_state="SuspendedEVSE", sample=sample)

    def end(
        self, evse: Evse, trigger: TriggerReason, *, reason: Reason | None = None, id_token: IdToken | None = None
    ) -> None:
        """Leave the end to the charger, which ends its transactions itself."""

    def update(
        self,
        evse: Evse,
        trigger: TriggerReason,
        *,
        samples: tuple[MeterValue, ...] = (),
        id_token: IdToken | None = None,
        limit: TransactionLimit | None = None,
    ) -> None:
        """Report meter values because of time or at the CSMS's request.

        A transaction about to end may still be open beside the newest, which alone the energy belongs to.
        """
        del samples, id_token
        here = [each for each in self.records.values() if each.evse_id == evse.number]
        newest = max((each.started_ms for each in here), default=0)
        for record in here:
            sample = self._read(evse.number) if record.started_ms == newest else None
            if sample is not None or limit is not None or trigger == "ResetCommand":
                self.progress(record.reference, trigger, sample=sample, limit=limit)
