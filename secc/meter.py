"""The simulated meter: two registers that only grow, and survive the process.

Energy is exact: the products of mV, mA and ms are added up as integers, and a register is what of them makes whole
mWh. A real meter stands beside the charger's computer and counts on when that fails; this one keeps its registers in
a small file, written in place as energy flows, so that `kill -9` loses at most what flowed since the last write.
"""

import os
import struct
import zlib
from pathlib import Path
from typing import Final, Protocol

import msgspec

from v2g.errors import StoreError

PER_MWH: Final = 3_600_000_000
"""mV x mA x ms in one mWh."""

_SLOT: Final = struct.Struct(">8sQ16s16sI")  # magic, generation, import, export, CRC-32 of what precedes
_MAGIC: Final = b"V2GMETR1"


class MeterReading(msgspec.Struct, frozen=True):
    """Both registers (mWh) at a time (ms of UTC). Import is energy into the vehicle, export energy out of it."""

    utc_ms: int
    import_mwh: int
    export_mwh: int


class Meter(Protocol):
    """What the charger needs of a meter."""

    @property
    def serial(self) -> str:
        """What is printed on it, at most 32 characters."""

    def read(self, utc_ms: int) -> MeterReading:
        """Return the registers now."""

    def save(self) -> None:
        """Bring the registers to the disk: what is read afterwards is never less. Raises StoreError."""


class SimulatedMeter:
    """Integrates voltage and current over (simulated) time. With no path the registers live in memory only.

    Raises StoreError when the file cannot be used or holds no whole slot.
    """

    def __init__(self, serial: str, path: Path | None = None) -> None:
        self.serial: Final = serial
        self._import = self._export = self._generation = 0  # mV x mA x ms
        self._voltage_mv = self._current_ma = 0
        self._utc_ms: int | None = None
        self._path = path
        self._descriptor: int | None = None
        if path is not None:
            self._open(path)

    def flow(self, utc_ms: int, voltage_mv: int, current_ma: int) -> None:
        """Let this flow from `utc_ms` on; what flowed before counts until then. Current > 0 goes into the vehicle."""
        self._advance(utc_ms)
        self._voltage_mv, self._current_ma = voltage_mv, current_ma

    def read(self, utc_ms: int) -> MeterReading:
        """Return the registers at `utc_ms`. Time that goes back counts as no time."""
        self._advance(utc_ms)
        return MeterReading(utc_ms, self._import // PER_MWH, self._export // PER_MWH)

    def save(self, *, sync: bool = True) -> None:
        """Write the registers in place; with `sync` they survive a power cut too. Raises StoreError."""
        if self._descriptor is None:
            return
        self._generation += 1
        body = struct.pack(
            ">8sQ16s16s", _MAGIC, self._generation, self._import.to_bytes(16, "big"), self._export.to_bytes(16, "big")
        )
        slot = body + zlib.crc32(body).to_bytes(4, "big")
        try:
            # two slots in turn: a write that is cut off leaves the other one whole
            os.pwrite(self._descriptor, slot, self._generation % 2 * _SLOT.size)
            if sync:
                os.fdatasync(self._descriptor)
        except OSError as error:
            raise StoreError(f"{self._path}: {error}", hint="no energy moves that cannot be accounted for") from None

    def close(self) -> None:
        """Save and let go of the file."""
        if self._descriptor is not None:
            self.save()
            os.close(self._descriptor)
            self._descriptor = None

    def _advance(self, utc_ms: int) -> None:
        if self._utc_ms is not None and utc_ms > self._utc_ms:
            energy = self._voltage_mv * self._current_ma * (utc_ms - self._utc_ms)
            if energy > 0:
                self._import += energy
            else:
                self._export -= energy
        self._utc_ms = max(utc_ms, self._utc_ms or 0)

    def _open(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            data = os.pread(self._descriptor, 2 * _SLOT.size, 0)
        except OSError as error:
            raise StoreError(f"{path}: {error}") from None
        slots = [slot for begin in (0, _SLOT.size) if (slot := _read_slot(data[begin : begin + _SLOT.size]))]
        if slots:
            self._generation, self._import, self._export = max(slots)
        elif data:
            os.close(self._descriptor)
            self._descriptor = None
            raise StoreError(f"{path} holds no registers", hint="a meter that lost its registers is not used again")


def _read_slot(data: bytes) -> tuple[int, int, int] | None:
    if len(data) != _SLOT.size:
        return None
    magic, generation, import_, export, checksum = _SLOT.unpack(data)
    if magic != _MAGIC or checksum != zlib.crc32(data[:-4]):
        return None
    return generation, int.from_bytes(import_, "big"), int.from_bytes(export, "big")
