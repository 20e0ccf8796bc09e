"""Meter readings: sampled in transactions, clock-aligned, on demand (functional block J)."""

from collections.abc import Callable
from functools import partial

from v2g.ocpp.messages.base import EVSE
from v2g.ocpp.messages.metering import MeterValuesRequest, ReadingContext
from v2g.units import DAY_MS
from v2g_station.blocks.evse import Evse
from v2g_station.blocks.transaction_records import meter_value
from v2g_station.blocks.transactions.sessions import FunctionalBlock, Shared
from v2g_station.blocks.transactions.transaction_events import PUBLIC_KEY


class Metering(FunctionalBlock):
    """The readings of one station. `read` returns the meter sample of an EVSE, 0 for the main meter."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        after = self._k.model.after
        for name in ("txupdatedinterval", "txendedinterval"):
            after[f"sampleddatactrlr.{name}"] = lambda _: self._again()
        for name in ("enabled", "interval", "txendedinterval"):
            after[f"aligneddatactrlr.{name}"] = lambda _: self.align()
        for number in self._evses:
            for way in ("import", "export"):
                name = f"fiscalmetering#{number}.energy{way}"
                self._k.model.live[f"{name}register"] = partial(self._energy, number, f"{way}_mwh")
                self._k.model.live[name] = partial(self._energy, number, f"{way}_mwh", transaction=True)
        self._sessions.on_started(self._started)
        self._k.on_clock_set.append(lambda _: self.align())

    def _energy(self, number: int, register: str, *, transaction: bool = False) -> str:
        """Return what a register shows, Wh, or what of it is of the transaction; empty if the meter does not answer."""
        sample, record = self._read(number), self._evses[number].record
        begin = sample if record is None or record.begin is None else record.begin
        if sample is None or begin is None:
            return ""
        return str((getattr(sample, register) - (getattr(begin, register) if transaction else 0)) / 1000)

    # -- in transactions

    def resumed(self, evse: Evse) -> None:
        """Continue after an interruption."""
        self._started(evse)
        self._sessions.metered(evse, self._read(evse.number))

    def _started(self, evse: Evse) -> None:
        for name in ("TxUpdatedInterval", "TxEndedInterval"):
            self._plan(evse, name)

    def _again(self) -> None:
        for evse in self._evses.values():
            if evse.record is not None:
                self._started(evse)

    def _plan(self, evse: Evse, name: str) -> None:
        interval = self._k.model.number(f"SampledDataCtrlr.{name}")
        key = f"meter.{evse.number}.{name}"
        self._k.cancel(key)
        if interval > 0 and evse.record is not None:
            self._k.after(key, interval, lambda: self._sample(evse, name))

    def _sample(self, evse: Evse, name: str) -> None:
        """J02.FR.11; values collected for the end go into the Ended event."""
        if evse.record is None:
            return
        variable = f"SampledDataCtrlr.{name.removesuffix('Interval')}Measurands"
        value = self._sessions.reading(evse, "Sample.Periodic", variable)
        if value is not None:
            if name == "TxEndedInterval":
                self._sessions.collect(evse, value)
            else:
                self._sessions.update(evse, "MeterValuePeriodic", samples=(value,))
        self._sessions.metered(evse, self._read(evse.number))
        self._plan(evse, name)

    # -- clock-aligned

    def align(self) -> None:
        """Schedule the next clock-aligned readings (J01)."""
        self._align("Interval", self._aligned)
        self._align("TxEndedInterval", self._aligned_ended)

    def _align(self, name: str, work: Callable[[], None]) -> None:
        """Schedule the next readings of an interval, counted from midnight."""
        interval_ms = int(self._k.model.number(f"AlignedDataCtrlr.{name}") * 1000)
        key = f"aligned.{name}"
        self._k.cancel(key)
        if interval_ms > 0 and self._k.model.flag("AlignedDataCtrlr.Enabled"):
            today = self._k.utc_ms % DAY_MS
            rest = min(interval_ms - today % interval_ms, DAY_MS - today)
            self._k.after(key, rest / 1000, work)

    def _aligned(self) -> None:
        """Report meter values; EVSEs with a transaction report theirs in its events (J01.FR.14, .19, .20, .22)."""
        model = self._k.model
        idle_only = model.flag("AlignedDataCtrlr.SendDuringIdle")
        busy = any(evse.record is not None for evse in self._evses.values())
        for number in (0, *self._evses):
            evse = self._evses.get(number)
            if evse is not None and evse.record is not None:
                value = self._sessions.reading(evse, "Sample.Clock", "AlignedDataCtrlr.Measurands")
                if value is not None and not idle_only:
                    self._sessions.update(evse, "MeterValueClock", samples=(value,))
            elif not (idle_only and busy):
                self._report(number, "Sample.Clock")
        self._align("Interval", self._aligned)

    def _aligned_ended(self) -> None:
        for evse in self._evses.values():
            if evse.record is not None:
                value = self._sessions.reading(evse, "Sample.Clock", "AlignedDataCtrlr.TxEndedMeasurands")
                if value is not None:
                    self._sessions.collect(evse, value)
        self._align("TxEndedInterval", self._aligned_ended)

    def _report(self, number: int, context: ReadingContext, *, always: bool = False) -> None:
        sample = self._read(number)
        measurands = frozenset(self._k.model.members("AlignedDataCtrlr.Measurands"))
        if sample is None or not measurands:
            return
        signed = self._k.model.flag("AlignedDataCtrlr.SignReadings")  # J01.FR.21
        with_key = self._k.model.text(PUBLIC_KEY) == "EveryMeterValue"
        value = meter_value(sample, context, measurands, signed=signed, with_key=with_key)
        request = MeterValuesRequest(evse_id=number, meter_value=(value,))
        if not self._k.online and self._k.model.flag("OCPPCommCtrlr.QueueAllMessages"):
            self._outbox.add(request)
        else:
            self._k.call(request, always=always)

    def trigger(self, place: EVSE | None) -> None:
        """Report meter values at the CSMS's request (F06.FR.06)."""
        numbers = [place.id] if place is not None and place.id else list(self._evses)
        for number in numbers:
            self._report(number, "Trigger", always=True)
