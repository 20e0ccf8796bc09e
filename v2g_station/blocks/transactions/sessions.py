"""From cable to receipt: when a transaction starts, what is reported, and when it ends (functional block E).

Conditions of an EVSE (`Evse.conditions`) change by facts. A transaction starts when a condition of TxStartPoint becomes
true and ends when one of TxStopPoint becomes false; other changes are updates.
"""

import uuid
from collections.abc import Mapping
from typing import Final

import msgspec

from v2g.observe import Callbacks
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.base import Message, OperationMode
from v2g.ocpp.messages.metering import MeterValue
from v2g.ocpp.messages.transactions import (
    GetTransactionStatusRequest,
    GetTransactionStatusResponse,
    Reason,
    TransactionLimit,
    TriggerReason,
)
from v2g_station.blocks import transaction_records as transactions
from v2g_station.blocks.connection.outbox import CsmsOutbox
from v2g_station.blocks.evse import (
    AllowPower,
    Authorization,
    Bay,
    Evse,
    EvseConnector,
    Lock,
    MeterSigns,
    Plug,
    Power,
    PowerLimited,
)
from v2g_station.blocks.transaction_records import MeterSample, ReadMeter, TransactionRecord
from v2g_station.blocks.transactions.transaction_events import TransactionEvents
from v2g_station.kernel.kernel import Handler, Kernel

NO_AUTHORIZATION: Final = IdToken(id_token="", type="NoAuthorization")


class EvseSessions(TransactionEvents):
    """Transactions of all EVSEs. `read` returns an EVSE's meter sample."""

    def __init__(self, kernel: Kernel, outbox: CsmsOutbox, evses: Mapping[int, Evse], read: ReadMeter) -> None:
        super().__init__(kernel, outbox, read)
        self._evses = evses
        self.on_starting: Final = Callbacks[Evse]()
        """Called before the first event of a transaction, to complete its record."""
        self.on_started: Final = Callbacks[Evse]()
        self.on_ended: Final = Callbacks[Evse, TransactionRecord]()
        self.on_power: Final = Callbacks[Evse]()
        self.on_authorized: Final = Callbacks[Evse]()
        self.on_unused: Final = Callbacks[Evse]()
        """Called before an authorization ends for which no vehicle came, without a transaction."""
        self.keeping = False
        """Whether transactions survive the pending restart (B13)."""
        self.answers: dict[str, Handler] = {"GetTransactionStatus": self._status}
        kernel.on_clock_set.append(self.clock_set)

    # -- facts

    def plug(self, fact: Plug) -> None:
        """Handle a cable plugged in or removed (E02, E09, E10)."""
        evse = self._evses[fact.evse_id]
        connector = evse.connector(fact.connector_id)
        if connector is None:
            return
        before, connected = evse.conditions(), evse.plugged is not None
        connector.station_end = fact.station
        connector.vehicle_end = fact.vehicle
        if (evse.plugged is not None) == connected:
            return
        if not connected:
            self._k.cancel(f"tx.{evse.number}.connect")
            if evse.record is not None and evse.record.connector_id != connector.number:
                evse.record = msgspec.structs.replace(evse.record, connector_id=connector.number)
            if evse.reason == "EVDisconnected":  # the transaction has outlasted it (E10)
                evse.reason = None
            if evse.authorization is not None:
                self.let_flow(evse)
            self.changed(evse, before, "CablePluggedIn")
        else:
            self._pulled(evse, connector)
            self.changed(evse, before, "EVCommunicationLost", leaves=True)
            if evse.record is None:
                evse.authorization = None
                self.announce(evse)

    def _pulled(self, evse: Evse, connector: EvseConnector) -> None:
        evse.power = "EVConnected"
        self._k.do(AllowPower(evse_id=evse.number, allowed=False))
        evse.reason = evse.reason or "EVDisconnected"
        if self._k.model.flag("TxCtrlr.StopTxOnEVSideDisconnect"):  # E09.FR.01
            evse.authorization = None
            if self._k.model.flag("OCPPCommCtrlr.UnlockOnEVSideDisconnect"):  # E09.FR.02, .03
                self.unlock(evse)
        elif evse.record is not None and connector.fixed_cable and evse.authorization is not None:  # E10.FR.02
            self.await_vehicle(evse)

    def bay(self, fact: Bay) -> None:
        """Handle a vehicle entering or leaving the parking bay."""
        evse = self._evses[fact.evse_id]
        before = evse.conditions()
        evse.bay = fact.occupied
        if not fact.occupied and evse.plugged is None and evse.record is not None:
            evse.reason = "Local" if evse.reason in (None, "EVDisconnected") else evse.reason
        if evse.conditions() != before:
            self.changed(evse, before, "EVDetected" if fact.occupied else "EVDeparted")

    def power(self, fact: Power) -> None:
        """Handle the start or end of the energy flow."""
        evse = self._evses[fact.evse_id]
        if evse.resuming or (fact.state == evse.power and fact.phases == evse.phases):
            return
        before = evse.conditions()
        evse.power, evse.phases = fact.state, fact.phases
        if fact.state == "SuspendedEV" and "EnergyTransfer" in self._stop_points() and evse.record is not None:
            evse.reason = evse.reason or "StoppedByEV"
            evse.power = "EVConnected"
        self.on_power.tell(evse)
        self.changed(evse, before, "ChargingStateChanged")

    def limited(self, fact: PowerLimited) -> None:
        """Show what limits the power."""
        self._k.put(f"EVSE#{fact.evse_id}.ChargeLimitedBy", fact.charge)
        self._k.put(f"EVSE#{fact.evse_id}.DischargeLimitedBy", fact.discharge)

    def signature(self, fact: MeterSigns) -> None:
        """Handle the start or end of signed readings."""
        evse = self._evses[fact.evse_id]
        before = evse.conditions()
        evse.signed = fact.available
        if evse.conditions() != before:
            self.changed(evse, before, "SignedDataReceived")

    def clock_set(self, by_ms: int) -> None:
        """Shift the times stored in transactions when the clock was set, so that it counts as no time."""
        for evse in self._evses.values():
            if evse.record is not None:
                self.keep(evse, transactions.moved(evse.record, by_ms))

    # -- authorization

    def driver(self, evse: Evse) -> Authorization | None:
        """Return who uses an EVSE, or is going to; None while anybody may."""
        return evse.authorization

    def is_free(self, evse: Evse) -> bool:
        """Return whether an EVSE has no driver yet."""
        return self.driver(evse) is None

    def authorize(self, evse: Evse, found: Authorization, trigger: TriggerReason = "Authorized") -> None:
        before = evse.conditions()
        evse.authorization, evse.owner = found, found.id_token
        evse.reason = None
        evse.token_reported = False
        evse.limit_mwh = None
        if evse.plugged is not None:
            self.let_flow(evse)
        else:
            self.await_vehicle(evse)
        self.changed(evse, before, trigger)
        self.on_authorized.tell(evse)

    def end_authorization(
        self, evse: Evse, trigger: TriggerReason, reason: Reason, id_token: IdToken | None = None
    ) -> None:
        """End the authorization of an EVSE: by the driver, the CSMS or a timeout (E05 to E07, F03)."""
        before = evse.conditions()
        evse.authorization = None
        evse.reason = reason
        waits = evse.record is not None and evse.plugged is None and "Authorized" in before
        if not waits:  # else it still ends when no vehicle comes
            self._k.cancel(f"tx.{evse.number}.connect")
        self._k.do(AllowPower(evse_id=evse.number, allowed=False))
        if "EnergyTransfer" in self._stop_points():
            evse.power = "EVConnected"
        self.changed(evse, before, trigger, id_token=id_token, leaves=not waits)
        if reason != "DeAuthorized":  # E05.FR.11
            self.unlock(evse)

    def invalid(self, evse: Evse) -> None:
        """Handle an identifier that the CSMS no longer accepts (E05)."""
        model = self._k.model
        if evse.record is None or evse.authorization is None or evse.limit_mwh is not None:
            return
        self._k.note("deauthorized", transaction_id=evse.record.transaction_id)
        if model.flag("TxCtrlr.StopTxOnInvalidId"):
            self.end_authorization(evse, "Deauthorized", "DeAuthorized")  # E05.FR.09, .10
            return
        sample = self._read(evse.number)
        allowed_mwh = int(model.number("TxCtrlr.MaxEnergyOnInvalidId")) * 1000
        evse.limit_mwh = (sample.import_mwh if sample else 0) + allowed_mwh
        self.keep(evse, msgspec.structs.replace(evse.record, stop_mwh=evse.limit_mwh))
        self.metered(evse, sample)

    def metered(self, evse: Evse, sample: MeterSample | None) -> None:
        """Stop energy when an invalid identifier has used its allowance (E05.FR.02, .03)."""
        if self._is_used_up(evse, sample):
            self.suspend(evse)

    def _is_used_up(self, evse: Evse, sample: MeterSample | None) -> bool:
        return evse.limit_mwh is not None and (sample is None or sample.import_mwh >= evse.limit_mwh)

    def enter_mode(self, evse: Evse, mode: OperationMode) -> None:
        """Switch the transaction to another operation mode (K01.FR.110)."""
        if evse.record is not None:
            evse.record = msgspec.structs.replace(evse.record, operation_mode=mode)
            self.update(evse, "OperationModeChanged")

    def limit_reached(self, evse: Evse, trigger: TriggerReason, reason: Reason) -> None:
        """Handle a limit of the transaction: stop energy, and end it if required (E16.FR.05, .06)."""
        if "EnergyTransfer" in self._stop_points():
            self.end(evse, trigger, reason=reason)
            return
        self._k.do(AllowPower(evse_id=evse.number, allowed=False))
        if evse.plugged is not None:
            evse.power = "SuspendedEVSE"
        self.update(evse, trigger)

    def suspend(self, evse: Evse) -> None:
        """Suspend the energy flow, and report it."""
        self._k.do(AllowPower(evse_id=evse.number, allowed=False))
        if evse.power in ("Charging", "SuspendedEV"):
            self.power(Power(evse_id=evse.number, state="SuspendedEVSE"))

    def await_vehicle(self, evse: Evse) -> None:
        """Start the time-out for connecting a vehicle."""
        timeout = self._k.model.number("TxCtrlr.EVConnectionTimeOut")
        if timeout > 0:
            self._k.after(f"tx.{evse.number}.connect", timeout, lambda: self._not_plugged(evse))

    def _not_plugged(self, evse: Evse) -> None:
        """Handle a vehicle that was not plugged in in time (E03.FR.05, .15).

        The transaction ends whatever its stop points are, lest the next driver charges in it.
        """
        if evse.plugged is not None:
            return
        if evse.record is not None and not (evse.bay and "ParkingBayOccupancy" in self._stop_points()):
            self.end(evse, "EVConnectTimeout", reason="Timeout")
        elif evse.authorization is not None:
            if evse.record is None:
                self.on_unused.tell(evse)
            self.end_authorization(evse, "EVConnectTimeout", "Timeout")

    def let_flow(self, evse: Evse) -> None:
        """Let energy flow if a driver is authorized, a vehicle is there, and no limit is reached."""
        found, connector = evse.authorization, evse.plugged
        if found is None or connector is None:
            return
        self.lock(evse, connector)
        if evse.at_limit or self._is_used_up(evse, self._read(evse.number)):
            return  # also for a vehicle that is plugged in again
        self._k.do(AllowPower(evse_id=evse.number, allowed=True, energy_transfer=found.energy_transfer))

    def lock(self, evse: Evse, connector: EvseConnector) -> None:
        """Lock a detachable cable."""
        if not connector.fixed_cable:
            connector.locked = True
            self._k.do(Lock(evse_id=evse.number, connector_id=connector.number, locked=True))

    def unlock(self, evse: Evse) -> None:
        """Unlock detachable cables (E06.FR.10)."""
        for connector in evse.connectors:
            if not connector.fixed_cable and connector.locked:
                connector.locked = False
                self._k.do(Lock(evse_id=evse.number, connector_id=connector.number, locked=False))

    # -- events

    def changed(
        self,
        evse: Evse,
        before: frozenset[str],
        trigger: TriggerReason,
        *,
        id_token: IdToken | None = None,
        leaves: bool = False,
    ) -> None:
        """Report the effect of changed conditions on a transaction.

        `leaves`: a driver or a vehicle; without either a transaction ends of whose stop points none was reached.
        """
        after = evse.conditions()
        if evse.record is None:
            points = set(self._k.model.members("TxCtrlr.TxStartPoint"))
            again = bool(after & points) and "Authorized" in after - before  # after a transaction, still plugged in
            if (after - before) & points or again:
                self._start(evse, trigger)
        elif (before - after) & self._stop_points() or (
            leaves and evse.authorization is None and not after & self._stop_points()
        ):
            self.end(evse, trigger, id_token=id_token)
        elif trigger != "ChargingStateChanged" or evse.charging_state() != evse.last_state:
            self.update(evse, trigger, id_token=id_token)
        self.announce(evse)

    def _stop_points(self) -> frozenset[str]:
        """Return the conditions of which none may become false. The power path's are its two parts, as it may never
        have been closed (E06.FR.06)."""
        points = frozenset(self._k.model.members("TxCtrlr.TxStopPoint"))
        if self._k.bridged:  # in OCPP 1.6 StopTransactionOnEVSideDisconnect decides, which ends the authorization
            return points - {"EVConnected"} | ({"Authorized"} if "PowerPathClosed" in points else frozenset())
        return points | {"Authorized", "EVConnected"} if "PowerPathClosed" in points else points

    def _start(self, evse: Evse, trigger: TriggerReason) -> None:
        found = evse.authorization
        connector = evse.plugged or evse.connectors[0]
        token = found.id_token if found else NO_AUTHORIZATION
        record = TransactionRecord(
            transaction_id=str(uuid.UUID(bytes=self._k.entropy(16), version=4)),  # E01.FR.08
            reference="",
            evse_id=evse.number,
            connector_id=connector.number,
            started_ms=self._k.utc_ms,
            id_token=token.id_token,
            id_token_type=token.type,
            remote_start_id=found.remote_start_id if found else None,
            reservation_id=found.reservation_id if found else None,
            group=found.group if found else None,
        )
        evse.record, evse.reason, evse.begun, evse.ended_values = record, None, False, []
        self.on_starting.tell(evse)
        self.event(evse, "Started", trigger, samples=self.first_reading(evse))
        self.on_started.tell(evse)

    def update(
        self,
        evse: Evse,
        trigger: TriggerReason,
        *,
        samples: tuple[MeterValue, ...] = (),
        id_token: IdToken | None = None,
        limit: TransactionLimit | None = None,
    ) -> None:
        """Report progress."""
        if evse.record is None:
            return
        if not evse.begun and evse.power == "Charging":
            samples = self.first_reading(evse) + samples  # E03.FR.11
        self.event(evse, "Updated", trigger, samples=samples, id_token=id_token, limit=limit)

    def end(
        self, evse: Evse, trigger: TriggerReason, *, reason: Reason | None = None, id_token: IdToken | None = None
    ) -> None:
        """End the transaction of an EVSE."""
        record = evse.record
        if record is None:
            return
        self._k.cancel(f"tx.{evse.number}.connect")
        samples = tuple(evse.ended_values) + self.last_reading(evse)
        if evse.authorization is not None:
            self._k.do(AllowPower(evse_id=evse.number, allowed=False))
        if evse.power != "EVConnected":
            evse.power = "EVConnected"
        why = reason or evse.reason or "Local"
        self.event(evse, "Ended", trigger, samples=samples, id_token=id_token, reason=why)
        evse.record = evse.authorization = evse.limit_mwh = None
        evse.ended_values = []
        self._k.forget("transactions", str(evse.number))
        if why not in ("DeAuthorized", "EVDisconnected"):  # E05.FR.11; `_pulled` decides (E09.FR.02, .03)
            self.unlock(evse)
        self.on_ended.tell(evse, record)
        self.announce(evse)

    def triggered(self, evse: Evse) -> None:
        """Report a transaction at the CSMS's request (F06)."""
        value = self.reading(evse, "Trigger", "SampledDataCtrlr.TxUpdatedMeasurands")
        self.update(evse, "Trigger", samples=() if value is None else (value,))

    # -- queries

    def find(self, transaction_id: str) -> Evse | None:
        """Return the EVSE of an open transaction."""
        return next((e for e in self._evses.values() if e.record and e.record.transaction_id == transaction_id), None)

    def _status(self, request: GetTransactionStatusRequest) -> Message:
        """E14."""
        waiting = self._outbox.waiting()
        if request.transaction_id is None:
            return GetTransactionStatusResponse(messages_in_queue=bool(waiting))  # E14.FR.06 to .08
        return GetTransactionStatusResponse(
            ongoing_indicator=self.find(request.transaction_id) is not None,
            messages_in_queue=waiting.get(request.transaction_id, 0) > 0,
        )


class Shared(msgspec.Struct, frozen=True):
    """What most functional blocks of a station are given. `read` returns an EVSE's meter sample, None without one."""

    kernel: Kernel
    evses: Mapping[int, Evse]
    sessions: EvseSessions
    outbox: CsmsOutbox
    read: ReadMeter


class FunctionalBlock:
    """Base of the functional blocks that are given it."""

    def __init__(self, shared: Shared) -> None:
        self._k, self._evses, self._sessions = shared.kernel, shared.evses, shared.sessions
        self._outbox, self._read = shared.outbox, shared.read
