"""Transactions that survive an interruption: a commanded restart, a crash, a power failure (B13, E17, 2.1).

Transactions open when the program last stopped are resumed if possible, else ended. A resumed transaction waits until
the hardware has reported the cable state; no energy flows before that.
"""

from typing import Final

import msgspec

from v2g.iso15118.engine.session import Fact
from v2g.observe import Callbacks
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.transactions import ChargingState, Reason, TriggerReason
from v2g_station.blocks import transaction_records as transactions
from v2g_station.blocks.evse import AllowPower, Authorization, Evse, EvseConnector, Plug
from v2g_station.blocks.transaction_records import TransactionRecord, meter_value
from v2g_station.blocks.transactions.managed import HARDWARE_S, MAY_CHARGE_ON
from v2g_station.blocks.transactions.sessions import FunctionalBlock, Shared

TIMEOUT: Final = "TxCtrlr.ResumptionTimeout"
ALIVE_S: Final = 60.0
"""Minimum rate at which an open transaction is time-stamped, to know the length of an interruption."""


class Restarted(Fact, frozen=True, kw_only=True):
    """An EVSE has restarted, as commanded."""

    evse_id: int


class Resumption(FunctionalBlock):
    """Resumes transactions. `on_resumed` is called for each resumed one."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._was: dict[int, ChargingState] = {}
        """The charging states before the interruption, of EVSEs whose cable state is awaited."""
        self._delayed: set[int] = set()
        """Those of them interrupted by an accident: energy returns after a random delay (E17.FR.18)."""
        self.on_resumed: Final = Callbacks[Evse]()
        self._k.model.after[TIMEOUT.lower()] = lambda _: self.stamp()
        self._sessions.on_started(lambda _: self.stamp())

    @property
    def possible(self) -> bool:
        """Whether transactions are resumed at all (B13.FR.01)."""
        return self._k.model.number(TIMEOUT) > 0

    # -- the length of an interruption

    def stamp(self) -> None:
        """Store the time in open transactions that were not stored lately (E17.FR.02)."""
        period = min(ALIVE_S, max(5.0, self._k.model.number(TIMEOUT) / 4))
        self._k.cancel("transactions.alive")
        running = [evse for evse in self._evses.values() if evse.record is not None]
        if not self.possible or not running:
            return
        for evse in running:
            if evse.record is not None and self._k.utc_ms - evse.record.seen_ms >= period * 1000:
                self._sessions.keep(evse, msgspec.structs.replace(evse.record, seen_ms=self._k.utc_ms))
        self._k.after("transactions.alive", period, self.stamp)

    def in_time(self, record: TransactionRecord) -> bool:
        """Return whether an interruption was short enough (E17.FR.10, .20); false if the clock is behind its start."""
        away_ms = self._k.utc_ms - record.seen_ms
        return self.possible and 0 <= away_ms <= self._k.model.number(TIMEOUT) * 1000

    # -- after a restart

    def restore(self, reason: Reason, trigger: TriggerReason, *, commanded: bool) -> None:
        """Resume or end transactions open at the last stop. `commanded`: after a restart that keeps them."""
        for number in self._evses:
            self._k.do(AllowPower(evse_id=number, allowed=False))  # after a crash it may still flow
        for key, record in self._k.stored("transactions", TransactionRecord).items():
            evse = self._evses.get(int(key))
            if evse is None:
                self._k.forget("transactions", key)
                continue
            found = transactions.interrupted(record)
            evse.record, evse.begun, evse.token_reported = found, True, True
            if commanded or self.in_time(record):
                self._take_up(evse, found)
                self.expect(evse, delayed=not commanded)
            else:
                self._k.note("transaction_recovered", transaction_id=record.transaction_id, reason=reason)
                self._sessions.end(evse, trigger, reason=reason)

    def _take_up(self, evse: Evse, record: TransactionRecord) -> None:
        """Restore the known state of an EVSE, except energy."""
        if record.authorized:
            token = IdToken(id_token=record.id_token, type=record.id_token_type)
            evse.owner = token
            evse.authorization = Authorization(
                id_token=token,
                group=record.group,
                remote_start_id=record.remote_start_id,
                reservation_id=record.reservation_id,
            )
        evse.power = "EVConnected" if record.charging_state == "Idle" else record.charging_state
        evse.limit_mwh = record.stop_mwh
        evse.begun = record.begin is not None
        measurands = self._k.model.members("SampledDataCtrlr.TxEndedMeasurands")
        if record.begin is not None and measurands:
            evse.ended_values = [meter_value(record.begin, "Transaction.Begin", frozenset(measurands))]
        stops = self._k.model.members("TxCtrlr.TxStopPoint")
        evse.bay, evse.signed = "ParkingBayOccupancy" in stops, "DataSigned" in stops  # until reported otherwise
        evse.last_state = record.charging_state

    # -- waiting for the hardware

    def hold(self, evse: Evse) -> None:
        """Stop energy for a restart that keeps the transaction, and release the cable (B13.FR.10, .20)."""
        self._was[evse.number] = evse.charging_state()
        evse.resuming = True
        self._k.do(AllowPower(evse_id=evse.number, allowed=False))
        self._sessions.unlock(evse)

    def expect(self, evse: Evse, *, delayed: bool) -> None:
        """Continue once the hardware has reported the cable."""
        if evse.record is not None:
            self._was.setdefault(evse.number, evse.record.charging_state)
            evse.resuming = True
            if delayed:
                self._delayed.add(evse.number)
            self._k.after(f"tx.{evse.number}.resume", HARDWARE_S, lambda: self._resume(evse))

    def plugged(self, fact: Plug) -> None:
        """Handle the cable state at a waiting EVSE."""
        evse = self._evses[fact.evse_id]
        connector = evse.connector(fact.connector_id)
        if connector is None:
            return
        connector.station_end, connector.vehicle_end = fact.station, fact.vehicle
        if evse.record is None or self._k.planned(f"tx.{evse.number}.resume"):
            mine = evse.record is None or evse.record.connector_id == connector.number
            if mine or fact.vehicle:
                self._resume(evse)

    def restarted(self, fact: Restarted) -> None:
        """Handle the return of an EVSE (B13.FR.12)."""
        evse = self._evses[fact.evse_id]
        if evse.resuming:
            self._resume(evse)

    # -- continuation

    def _resume(self, evse: Evse) -> None:
        was = self._was.pop(evse.number, "EVConnected")
        delayed = evse.number in self._delayed
        self._delayed.discard(evse.number)
        self._k.cancel(f"tx.{evse.number}.resume")
        evse.resuming = False
        if evse.record is None:
            return
        connector = evse.plugged
        if connector is None:
            if not self._without_vehicle(evse, was):
                return
        else:
            self._with_vehicle(evse, connector, was, delayed=delayed)
        self._k.note("transaction_resumed", transaction_id=evse.record.transaction_id)
        value = self._sessions.reading(evse, "Other", "SampledDataCtrlr.TxUpdatedMeasurands")
        self._sessions.update(evse, "TxResumed", samples=() if value is None else (value,))  # E17.FR.14, B13.FR.30
        self.on_resumed.tell(evse)
        self.stamp()

    def _with_vehicle(self, evse: Evse, connector: EvseConnector, was: ChargingState, *, delayed: bool) -> None:
        """Continue in the former state, without energy if it may not return by itself (E17.FR.11 to .13)."""
        may = self._k.model.flag(MAY_CHARGE_ON)
        self._sessions.lock(evse, connector)  # B13.FR.22
        evse.power = "EVConnected" if was == "Idle" else was
        if not may and was in ("Charging", "SuspendedEV"):
            evse.power = "SuspendedEVSE"  # E17.FR.12, B13.FR.14, .25
        if not may or evse.authorization is None:
            return
        wait = self._random_wait() if delayed and was == "Charging" else 0.0
        if wait > 0:
            evse.power = "SuspendedEVSE"
            self._k.after(f"tx.{evse.number}.flow", wait, lambda: self._sessions.let_flow(evse))
        else:
            self._sessions.let_flow(evse)

    def _without_vehicle(self, evse: Evse, was: ChargingState) -> bool:
        """Handle a departed vehicle, which may end the transaction; return whether it continues (E17.FR.16, .17)."""
        model = self._k.model
        evse.power = "EVConnected"
        if was != "Idle":
            gone = {"EVConnected", "PowerPathClosed"} | ({"EnergyTransfer"} if was == "Charging" else set())
            if model.flag("TxCtrlr.StopTxOnEVSideDisconnect"):
                gone.add("Authorized")
                evse.authorization = None
            if gone & set(model.members("TxCtrlr.TxStopPoint")):
                self._sessions.end(evse, "EVCommunicationLost", reason="EVDisconnected")
                return False
        self._sessions.await_vehicle(evse)
        return True

    def _random_wait(self) -> float:
        share = int.from_bytes(self._k.entropy(4), "big") / 2**32
        return share * self._k.model.number("TxCtrlr.EnergyTransferResumptionRandomRange")
