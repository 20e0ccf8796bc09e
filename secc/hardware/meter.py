"""Meters: the interface, and the simulated one: two registers that never fall, and survive the process.

Energy is exact: the products of mV, mA and ms are added up as integers, and a register is what of them makes whole
mWh. A real meter is independent of the charger's computer; this one stores its registers in
a small file, written in place as energy flows, so that `kill -9` loses at most the energy since the last write.
"""

import math
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import msgspec

from secc.session.ports import MeterRead
from v2g.errors import SealedError, StoreError, VerificationError
from v2g.hardware.interfaces import MeterValues, OnFault
from v2g.hardware.meters.plausibility import EnergyCounter
from v2g.io.simulation.power import Faults
from v2g.io.storage.journal_file import write_files
from v2g.io.storage.record_keys import RecordKeys, is_sealed, open_line, seal_line
from v2g.observe import Callbacks

ANY_MV: Final = 400_000
"""Voltage of power that a wrong meter adds where there is none."""

_SLOT: Final = struct.Struct(">8sQ16s16sI")  # magic, generation, import, export, CRC-32 of what precedes
_MAGIC: Final = b"V2GMETR1"
_SEALED_BYTES: Final = 160
"""Size of a sealed slot, filled with spaces."""


class Meter(Protocol):
    """Interface of a meter."""

    @property
    def serial(self) -> str:
        """Its serial number, at most 32 characters."""

    @property
    def rollover_mwh(self) -> int | None:
        """Where its registers start again at 0; None if they do not."""

    def read(self, utc_ms: int) -> MeterRead:
        """Return the registers now."""

    def keep(self, reading: MeterRead) -> None:
        """Return this reading from now on, as of a meter that does not answer: what it shows is implausible."""

    @property
    def values(self) -> MeterValues:
        """See EnergyMeter."""

    @property
    def power_w(self) -> int | None:
        """The power that it measures, W, into the vehicle; None if it does not answer, or has none."""

    @property
    def read_at(self) -> float:
        """When `power_w` was read (s, monotonic)."""

    async def refresh(self) -> None:
        """Return when the registers that `read` returns include all energy until now."""

    def on_fault(self, callback: OnFault) -> None:
        """Call `callback` when the meter stops responding or responds again (`meter_lost`)."""

    def save(self, *, sync: bool = True) -> None:
        """Store the registers: later readings are never lower. Raises StoreError."""

    def sync(self) -> None:
        """Return when stored registers survive a power cut. For any thread. Raises StoreError."""

    def close(self) -> None:
        """Close the meter."""


class SimulatedMeter:
    """Integrates voltage and current over the time of `now_ms`, which must not be a settable clock:
    a jump of UTC is not energy. Without a path the registers are in memory only; with `keys` the file is sealed.

    Raises StoreError when the file cannot be used or has no valid slot.
    """

    def __init__(
        self,
        serial: str,
        path: Path | None = None,
        *,
        now_ms: Callable[[], int],
        rollover_mwh: int | None = None,
        keys: RecordKeys | None = None,
    ) -> None:
        self.serial: Final = serial
        self.rollover_mwh: Final = rollover_mwh
        self._now_ms = now_ms
        self._counter, self._generation = EnergyCounter(), 0
        self._voltage_mv = self._current_ma = 0
        self._faults: Faults | None = None
        self._frozen: MeterRead | None = None
        self._kept: MeterRead | None = None
        self._offset_mwh = 0
        self.on_fault: Final = Callbacks[str, bool]()
        """See Meter."""
        self.on_change: Final = Callbacks[[]]()
        """See EnergyMeter."""
        self._path, self._keys = path, keys
        self._descriptor: int | None = None
        if path is not None:
            self._open(path)

    def flow(self, now_ms: int, voltage_mv: int, current_ma: int) -> None:
        """Set the present flow from `now_ms` on; the previous one counts until then. Current > 0: into the vehicle."""
        self._voltage_mv, self._current_ma = voltage_mv, current_ma
        self._measure(now_ms)
        self.on_change.tell()

    def _measure(self, now_ms: int) -> None:
        """Count what flows, and what a wrong meter adds."""
        wrong_w = self._faults.value("meter_wrong") if self._faults is not None else None
        voltage_mv, current_ma = self._voltage_mv, self._current_ma
        if wrong_w:
            current_ma = (current_ma if voltage_mv else 0) + int(wrong_w * 1_000_000 / (voltage_mv or ANY_MV))
        self._counter.flow(now_ms, voltage_mv or (ANY_MV if wrong_w else 0), current_ma)

    def read(self, utc_ms: int) -> MeterRead:
        """Return the present registers, stamped with `utc_ms`."""
        self._counter.advance(self._now_ms())
        if (shown := self._kept or self._frozen) is not None:
            return msgspec.structs.replace(shown, utc_ms=utc_ms, answered=self._kept is None and not self.lost)
        import_mwh, export_mwh = self._counter.mwh
        import_mwh = max(0, import_mwh + self._offset_mwh)
        rolled = (0, 0)
        if (rollover_mwh := self.rollover_mwh) is not None:
            rolled = import_mwh - import_mwh % rollover_mwh, export_mwh - export_mwh % rollover_mwh
        return MeterRead(utc_ms, import_mwh, export_mwh, rolled, rollover_mwh, answered=not self.lost)

    def keep(self, reading: MeterRead) -> None:
        """See Meter."""
        self._kept = reading

    @property
    def values(self) -> MeterValues:
        """See EnergyMeter."""
        shown = self.read(0)
        return MeterValues(
            shown.import_mwh - shown.rolled[0],
            shown.export_mwh - shown.rolled[1],
            self._counter.voltage_mv,
            self._counter.power_w,
        )

    @property
    def power_w(self) -> int | None:
        """See Meter."""
        return None if self.lost else self._counter.power_w

    @property
    def read_at(self) -> float:
        """See Meter: always now."""
        return math.inf

    @property
    def lost(self) -> bool:
        """See EnergyMeter."""
        return self._faults is not None and "meter_silent" in self._faults

    @property
    def has_voltage(self) -> bool:
        """See EnergyMeter."""
        return True

    async def refresh(self) -> None:
        """See Meter: the registers are always exact."""

    def obey(self, faults: Faults) -> None:
        """Falsify readings for a test: `meter_stuck`, `meter_backward` (Wh), `meter_jump` (Wh), `meter_silent`,
        `meter_wrong` (W)."""
        self._faults = faults
        faults.on_change(self._faults_changed)

    def _faults_changed(self) -> None:
        assert self._faults is not None
        self._measure(self._now_ms())
        stands = "meter_stuck" in self._faults or "meter_silent" in self._faults
        self._frozen = self.read(0) if stands else None
        self._offset_mwh = int(1000 * (self._faults.value("meter_jump") or 0))
        self._offset_mwh -= int(1000 * (self._faults.value("meter_backward") or 0))
        self.on_fault.tell("meter_lost", "meter_silent" in self._faults)

    def save(self, *, sync: bool = True) -> None:
        """Write the registers in place; with `sync` they survive a power cut, too. Raises StoreError."""
        if self._descriptor is None:
            return
        self._generation += 1
        slot, place = self._slot(), self._generation % 2
        try:
            # two slots in turn: an interrupted write leaves the other one intact
            os.pwrite(self._descriptor, slot, place * len(slot))
        except OSError as error:
            raise StoreError(f"{self._path}: {error}", hint="energy transfer stops without stored registers") from None
        if sync:
            self.sync()

    def _slot(self) -> bytes:
        registers = (each.to_bytes(16, "big") for each in (self._counter.imported, self._counter.exported))
        body = struct.pack(">8sQ16s16s", _MAGIC, self._generation, *registers)
        slot = body + zlib.crc32(body).to_bytes(4, "big")
        if self._path is None or self._keys is None:
            return slot
        return seal_line(self._keys, slot, self._path.name, self._generation % 2).ljust(_SEALED_BYTES)

    def sync(self) -> None:
        """See Meter."""
        try:
            if self._descriptor is not None:
                os.fdatasync(self._descriptor)
        except OSError as error:
            raise StoreError(f"{self._path}: {error}", hint="energy transfer stops without stored registers") from None

    def close(self) -> None:
        """Save and close the file."""
        if self._descriptor is not None:
            self.save()
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            data = path.read_bytes() if path.exists() else b""
            plain = [slot for place in (0, 1) if (slot := _read_slot(_part(data, place, _SLOT.size)))]
            slots = plain or [slot for place in (0, 1) if (slot := self._open_slot(data, place))]
            if data and not slots:
                hint = "a meter that lost its registers must not be used again"
                raise StoreError(f"{path} has no valid registers", hint=hint)
            if slots:
                self._generation, *registers = max(slots)
                self._counter = EnergyCounter(*registers)
            if plain and self._keys is not None:
                stored = self._slot().rjust(_SEALED_BYTES * (1 + self._generation % 2))
                write_files(path.parent, {path.name: stored}, private=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"{path}: {error}") from None

    def _open_slot(self, data: bytes, place: int) -> tuple[int, int, int] | None:
        assert self._path is not None
        line = _part(data, place, _SEALED_BYTES).rstrip(b" ").removesuffix(b"\n")
        if not is_sealed(line):
            return None
        if self._keys is None:
            raise SealedError(f"{self._path} is sealed", hint="set journal_keys to the file of its keys")
        try:
            return _read_slot(open_line(self._keys, line, self._path.name, place))
        except VerificationError:
            return None


def _part(data: bytes, place: int, size: int) -> bytes:
    return data[place * size : (place + 1) * size]


def _read_slot(data: bytes) -> tuple[int, int, int] | None:
    if len(data) != _SLOT.size:
        return None
    magic, generation, import_, export, checksum = _SLOT.unpack(data)
    if magic != _MAGIC or checksum != zlib.crc32(data[:-4]):
        return None
    return generation, int.from_bytes(import_, "big"), int.from_bytes(export, "big")
