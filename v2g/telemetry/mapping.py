"""CAN frames to signals: a DBC file defines the encoding, a mapping the meaning of the numbers (R63).

Unknown frames are counted and otherwise ignored.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from v2g.errors import ConfigError
from v2g.telemetry.signals import CELL_VOLTAGE, CONTEXTS, SIGNALS
from v2g.telemetry.simulated_battery import BATTERY_SIGNALS, battery_dbc

_CELL = SIGNALS[f"{CELL_VOLTAGE}.min"]

_MOST_IDS = 4096
"""Unknown ids that are counted one by one; others share the count of id -1: ids of 29 bits could fill the memory."""


class Mapped(msgspec.Struct, frozen=True):
    """Content of one frame: values by signal name (rounded to the signal's resolution), perhaps the context, and
    voltages of cells (V) by their name in the DBC."""

    values: dict[str, float]
    context: str | None = None
    cells: dict[str, float] = {}


class CanMapping:
    """Decodes frames by DBC and renames their signals.

    `dbc` is the database's text; `signals` maps `Message.Signal` of the DBC to names of the registry, with `context`
    for the signal whose value table names the drive cycle, and `battery.cell_voltage` for any number of single cells.
    Raises ConfigError when either is invalid.
    """

    def __init__(self, dbc: str, signals: Mapping[str, str]) -> None:
        from cantools.database import errors  # 90 ms to import: only for processes with a CAN bus
        from cantools.database.can import Database

        database = Database()
        try:
            database.add_dbc_string(dbc)
        except Exception as error:  # noqa: BLE001  cantools raises its parser's and its own errors
            raise ConfigError(f"CAN database: {error}") from None
        self.unknown_ids: Counter[int] = Counter()
        self.malformed: Counter[int] = Counter()
        self._messages: dict[int, Any] = {m.frame_id: m for m in database.messages}
        self._decode_error = errors.DecodeError
        self._names: dict[int, dict[str, str]] = {each: {} for each in self._messages}
        for source, target in signals.items():
            message_name, _, signal_name = source.partition(".")
            message = next((m for m in database.messages if m.name == message_name), None)
            if message is None or signal_name not in {s.name for s in message.signals}:
                raise ConfigError(f"the CAN database has no signal {source!r}")
            if target not in ("context", CELL_VOLTAGE) and target not in SIGNALS:
                known = ", ".join(("context", CELL_VOLTAGE, *SIGNALS))
                raise ConfigError(f"{source}: unknown target {target!r}", hint=f"known: {known}")
            self._names[message.frame_id][signal_name] = target
        self._cells = tuple(source for source, target in signals.items() if target == CELL_VOLTAGE)

    @classmethod
    def read(cls, dbc: Path | None, signals: Mapping[str, str] | None) -> "CanMapping":
        """Return the mapping of a DBC file; None: what the simulated battery has. Raises ConfigError."""
        try:
            text = battery_dbc() if dbc is None else dbc.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise ConfigError(f"{dbc}: {error.strerror}") from None
        try:
            return cls(text, BATTERY_SIGNALS if signals is None else signals)
        except ConfigError as error:
            raise ConfigError(f"{dbc}: {error}" if dbc is not None else str(error), hint=error.hint) from None

    def decode(self, frame_id: int, data: bytes) -> Mapped | None:
        """Return the content of a frame, or None when its id is unknown or its length is wrong."""
        message = self._messages.get(frame_id)
        if message is None:
            self.unknown_ids[frame_id if len(self.unknown_ids) < _MOST_IDS or frame_id in self.unknown_ids else -1] += 1
            return None
        try:
            decoded = message.decode(data, decode_choices=True)
        except (self._decode_error, ValueError):
            self.malformed[frame_id] += 1
            return None
        found: dict[str, float] = {}
        cells: dict[str, float] = {}
        context: str | None = None
        for name, target in self._names[frame_id].items():
            if (value := decoded.get(name)) is None:  # not in this frame: multiplexed
                continue
            if target == "context":
                context = str(value) if str(value) in CONTEXTS else None
            elif target == CELL_VOLTAGE:
                cells[f"{message.name}.{name}"] = float(value)
            else:
                found[target] = float(getattr(value, "value", value))
        values = normalised(found)
        cells = {name: voltage for name, voltage in cells.items() if _CELL.minimum <= voltage <= _CELL.maximum}
        if wrong := len(found) - len(values):
            self.malformed[frame_id] += wrong
        return Mapped(values, context, cells)

    @property
    def cells(self) -> tuple[str, ...]:
        """Names of all single cells in the DBC, in the order of the mapping."""
        return self._cells

    @property
    def has_cell_summary(self) -> bool:
        """Whether the vehicle itself reports minimum and maximum of its cells."""
        return any({f"{CELL_VOLTAGE}.min", f"{CELL_VOLTAGE}.max"} <= {*each.values()} for each in self._names.values())

    @property
    def has_context(self) -> bool:
        """Whether a signal is mapped to the context."""
        return any("context" in each.values() for each in self._names.values())

    def message_name(self, frame_id: int) -> str:
        """Return the name of the message with this id in the DBC, or nothing."""
        message = self._messages.get(frame_id)
        return message.name if message is not None else ""

    def uncovered(self, frame_id: int, data: bytes) -> bytes:
        """Return a mask as long as `data`: bits are 1 where no signal of the DBC is, or one that is not mapped."""
        free = bytearray(b"\xff" * len(data))
        if (message := self._messages.get(frame_id)) is not None:
            for signal in message.signals:
                if signal.name in self._names[frame_id]:
                    for place in _bits(signal.start, signal.length, little=signal.byte_order == "little_endian"):
                        if place // 8 < len(free):
                            free[place // 8] &= ~(1 << place % 8)
        return bytes(free)


def _bits(start: int, length: int, *, little: bool) -> list[int]:
    """Return the bits of a signal, numbered as in a DBC: 0 is the lowest bit of the first octet.

    A big-endian signal begins at its highest bit and goes on at the highest bit of the next octet.
    """
    if little:
        return list(range(start, start + length))
    first = start // 8 * 8 + 7 - start % 8
    return [each // 8 * 8 + 7 - each % 8 for each in range(first, first + length)]


def _on_grid(number: float, resolution: float) -> float:
    """Round to a multiple of `resolution`, so that equal quantities are equal numbers (idempotent, R65)."""
    return round(round(number / resolution) * resolution, 6)


def normalised(values: Mapping[str, float]) -> dict[str, float]:
    """Return values of the registry, each rounded to its signal's resolution; those out of range are left out (R65)."""
    return {
        name: _on_grid(value, signal.resolution)
        for name, value in values.items()
        if (signal := SIGNALS.get(name)) is not None and signal.minimum <= value <= signal.maximum
    }
