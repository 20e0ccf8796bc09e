"""The reports of a transaction: its events with their sequence numbers, and the readings in them (E01, J02)."""

from collections.abc import Callable
from typing import Final

import msgspec

from v2g.observe import Callbacks
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.metering import MeterValue, ReadingContext
from v2g.ocpp.messages.transactions import (
    Reason,
    TransactionEventRequest,
    TransactionEventType,
    TransactionLimit,
    TriggerReason,
)
from v2g_station.blocks import transaction_records as transactions
from v2g_station.blocks.connection.outbox import CsmsOutbox
from v2g_station.blocks.evse import Evse
from v2g_station.blocks.transaction_records import MeterSample, ReadMeter, Step, TransactionRecord, meter_value
from v2g_station.kernel.kernel import Kernel
from v2g_station.kernel.layout import V2X

MAX_ENDED_VALUES: Final = 200
_SIGNED_APART: Final = {
    "TxStartedMeasurands": "SignStartedReadings",
    "TxUpdatedMeasurands": "SignUpdatedReadings",
    "Measurands": "SignUpdatedReadings",
}
"""Variable of measurands -> that of 2.1 by which their readings are signed."""


PUBLIC_KEY: Final = "OCPPCommCtrlr.PublicKeyWithSignedMeterValue"


class TransactionEvents:
    """Writes events and takes readings. `read` returns an EVSE's meter sample."""

    def __init__(self, kernel: Kernel, outbox: CsmsOutbox, read: ReadMeter) -> None:
        self._k = kernel
        self._outbox = outbox
        self._read = read
        self.on_sample: Final = Callbacks[Evse]()
        self.on_change: Final = Callbacks[Evse]()
        """Called when an EVSE's authorization, transaction, or energy flow may have changed."""
        self.hertz: float | None = None
        """The grid's frequency, None while it is not measured."""

        self.on_bound: Final = Callbacks[Evse, TransactionLimit]()
        """Called with the limit of a payment, once the transaction has it."""
        self.on_event: list[Callable[[Evse, TransactionRecord, TransactionEventRequest], TransactionEventRequest]] = []
        """Called with each event before it is stored; each returns it with its own additions."""

    def event(
        self,
        evse: Evse,
        kind: TransactionEventType,
        trigger: TriggerReason,
        *,
        samples: tuple[MeterValue, ...] = (),
        id_token: IdToken | None = None,
        reason: Reason | None = None,
        limit: TransactionLimit | None = None,
    ) -> None:
        """Store the next event of a transaction together with its state, in one step."""
        record = evse.record
        if record is None:
            return
        found = evse.authorization
        bound: TransactionLimit | None = None
        if id_token is None and found is not None and not evse.token_reported:
            id_token = found.id_token  # E01.FR.10, E03.FR.01
            evse.token_reported = True
            bound = found.limit
            limit = bound or limit
            record = msgspec.structs.replace(
                record,
                id_token=found.id_token.id_token,
                id_token_type=found.id_token.type,
                remote_start_id=found.remote_start_id,
                reservation_id=found.reservation_id,
                group=found.group,
            )
        if id_token is not None and self.both_ways():
            id_token = transactions.with_vehicle(id_token, evse.evccid)
        state = evse.charging_state()
        record = transactions.turn(record, self._k.utc_ms, state)
        record = msgspec.structs.replace(record, authorized=found is not None)
        if record.ready_ms is None and found is not None and evse.plugged is not None:
            record = msgspec.structs.replace(record, ready_ms=self._k.utc_ms)
        record, request = transactions.event(
            record,
            kind,
            self._k.utc_ms,
            trigger=trigger,
            samples=samples,
            offline=not self._k.online,
            id_token=id_token,
            reason=reason,
            phases=evse.phases if state == "Charging" else None,
            reservation_id=record.reservation_id if id_token is not None else None,
            limit=limit,
            asleep=evse.asleep,
        )
        record, request = self._keyed(record, request)
        evse.record, evse.last_state = record, state
        if kind != "Ended":
            self.keep(evse, record)
        spare = kind == "Updated" and trigger in ("MeterValuePeriodic", "MeterValueClock", "RunningCost")
        self._add(evse, record, request, spare=spare)
        if bound is not None and kind != "Ended":
            self.on_bound.tell(evse, bound)
        self.announce(evse)

    def _keyed(self, record: TransactionRecord, request: TransactionEventRequest) -> Step:
        """Return an event with the meter's public key as often as the CSMS wants it."""
        text = self._k.model.text
        return transactions.keyed(record, request, text(PUBLIC_KEY), text(f"FiscalMetering#{record.evse_id}.PublicKey"))

    def _add(self, evse: Evse, record: TransactionRecord, request: TransactionEventRequest, *, spare: bool) -> None:
        """Queue an event, with the additions of other blocks."""
        for listener in self.on_event:
            request = listener(evse, record, request)
        self._outbox.add(request, group=record.transaction_id, spare=spare)

    def announce(self, evse: Evse) -> None:
        """Call `on_change`."""
        self.present(evse)
        self.on_change.tell(evse)

    def present(self, evse: Evse) -> None:
        """Show an EVSE's transaction in its variables, with the power that was read last while energy flows."""
        record, place = evse.record, f"EVSE#{evse.number}"
        state = evse.charging_state() if record is None else record.charging_state
        sample = record.last_sample if record is not None and state == "Charging" else None
        power_w = (sample.power_w or 0) if sample is not None else 0
        self._k.put(f"{place}.ActiveTransactionId", "" if record is None else record.transaction_id)
        self._k.put(f"{place}.ChargingState", state)
        self._k.put(f"{place}.Power", str(max(0, power_w)))
        self._k.put(f"{place}.DischargePower", str(max(0, -power_w)))

    def keep(self, evse: Evse, record: TransactionRecord) -> None:
        """Set and store a transaction's state."""
        evse.record = record
        self._k.keep("transactions", str(evse.number), record)

    def both_ways(self) -> bool:
        """Return whether bidirectional transfer by ISO 15118-20 is possible (Q01.FR.02)."""
        flag = self._k.model.flag
        return self._k.version == "2.1" and flag("ISO15118Ctrlr.Enabled") and flag(V2X)

    # -- readings

    def reading(self, evse: Evse, context: ReadingContext, variable: str) -> MeterValue | None:
        """Return a reading of the measurands that a variable names, None if there are none."""
        sample = self._sample_of(evse, context)
        return None if sample is None else self._chosen(evse, sample, context, variable)

    def _sample_of(self, evse: Evse, context: ReadingContext) -> MeterSample | None:
        """Read the meter of an EVSE."""
        sample = self._read(evse.number, context)
        if sample is not None and evse.record is not None:
            evse.record = msgspec.structs.replace(evse.record, last_sample=msgspec.structs.replace(sample, signed=()))
            self.present(evse)
            self.on_sample.tell(evse)
        return sample

    def _chosen(self, evse: Evse, sample: MeterSample, context: ReadingContext, variable: str) -> MeterValue | None:
        """Return of a sample what a variable names, if its controller is enabled."""
        measurands = frozenset(self.wanted(evse.record, variable))
        if not measurands or not self._k.model.flag(f"{variable.partition('.')[0]}.Enabled"):
            return None
        sample = msgspec.structs.replace(sample, setpoint_w=evse.setpoint_w)
        return meter_value(sample, context, measurands, signed=self.signs(variable))

    def signs(self, variable: str) -> bool:
        """Return whether readings of the measurands that a variable names are to be signed (J02.FR.21); 2.1 tells those
        of the beginning, and those in between, apart."""
        flag, (controller, _, name) = self._k.model.flag, variable.partition(".")
        apart = _SIGNED_APART.get(name) if self._k.version == "2.1" else None
        return flag(f"{controller}.SignReadings") and (apart is None or flag(f"{controller}.{apart}"))

    def wanted(self, record: TransactionRecord | None, variable: str) -> tuple[str, ...]:
        """Return the measurands that a variable names, with those of the operation mode (Q01.FR.33 to .35)."""
        model, (controller, _, name) = self._k.model, variable.partition(".")
        mode = record.operation_mode if record is not None else None
        more = f"V2XChargingCtrlr.{name}[{mode}]"
        known = controller == "SampledDataCtrlr" and mode is not None and model.has(more)
        register = (transactions.IMPORT,) if self._k.registers and name != "TxUpdatedMeasurands" else ()
        return (*model.members(variable), *(model.members(more) if known else ()), *register)

    def collect(self, evse: Evse, value: MeterValue) -> None:
        """Collect a reading for the Ended event; intermediate ones are dropped first (J02.FR.20)."""
        evse.ended_values.append(value)
        if len(evse.ended_values) > MAX_ENDED_VALUES:
            del evse.ended_values[1:-1:2]

    def first_reading(self, evse: Evse) -> tuple[MeterValue, ...]:
        """Return the reading before energy may start to flow."""
        sample = self._sample_of(evse, "Transaction.Begin")
        if sample is None:
            return ()
        evse.begun = True
        if evse.record is not None:
            evse.record = msgspec.structs.replace(evse.record, begin=evse.record.last_sample)
        begin = self._chosen(evse, sample, "Transaction.Begin", "SampledDataCtrlr.TxEndedMeasurands")
        if begin is not None:
            self.collect(evse, begin)
        value = self._chosen(evse, sample, "Transaction.Begin", "SampledDataCtrlr.TxStartedMeasurands")
        return () if value is None else (value,)

    def last_reading(self, evse: Evse) -> tuple[MeterValue, ...]:
        """Return the final reading."""
        if not self.wanted(evse.record, "SampledDataCtrlr.TxEndedMeasurands"):
            return ()
        value = self.reading(evse, "Transaction.End", "SampledDataCtrlr.TxEndedMeasurands")
        return () if value is None else (value,)
