"""CAN frames to signals: a DBC file defines the encoding, a mapping the meaning of the numbers (R63).

Unknown frames are counted and otherwise ignored.
"""

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from v2g.dbc import STANDARD_ID, Dbc, DbcMessage, DbcSignal, parse_dbc, read_dbc
from v2g.dbc_units import rescaled
from v2g.errors import ConfigError
from v2g.telemetry.absence import is_j1939_absence, scaled, states
from v2g.telemetry.signals import CELL_VOLTAGE, CONTEXTS, SIGNALS
from v2g.telemetry.simulated_battery import BATTERY_SIGNALS, battery_dbc

_CELL = SIGNALS[f"{CELL_VOLTAGE}.min"]

_MOST_IDS = 4096
"""Unknown ids that are counted one by one; others share the count of id -1: ids of 29 bits could fill the memory."""

_ANY_SOURCE, _BROADCAST = 0xFE, 0xF0
"""Of J1939: the source address in files for whatever source, and the first format of messages to all (J1939-21)."""


class Mapped(msgspec.Struct, frozen=True):
    """Content of one frame: values by signal name (rounded to the signal's resolution), perhaps the context, and
    voltages of cells (V) by their name in the DBC. `absent`: signals of which it says that there is no value. `utc_ms`:
    when that was, where the frame says so; None: now."""

    values: dict[str, float]
    context: str | None = None
    cells: dict[str, float] = {}
    absent: tuple[str, ...] = ()
    utc_ms: int | None = None


class _Source(msgspec.Struct, frozen=True):
    """A signal of the DBC with its target, and the raw values that are no value of it."""

    signal: DbcSignal
    target: str
    states: frozenset[float]


class CanMapping:
    """Decodes frames by DBC and renames their signals.

    `dbc` is the database, or its text; `signals` maps `Message.Signal` of the DBC to names of the registry, with
    `context` for the signal whose value table names the drive cycle, and `battery.cell_voltage` for any number of
    single cells. Only what is mapped has to be right in the DBC; `warnings` has what else is wrong there. Raises
    ConfigError when either is invalid.
    """

    def __init__(self, dbc: str | Dbc, signals: Mapping[str, str]) -> None:
        database = parse_dbc(dbc) if isinstance(dbc, str) else dbc
        self.unknown_ids: Counter[int] = Counter()
        self.malformed: Counter[int] = Counter()
        self.short: Counter[str] = Counter()
        """Frames with fewer octets than their message has in the DBC, by its name; they are `malformed`, too."""
        self.absent: Counter[str] = Counter()
        """Values that were not available, invalid or named states, by signal of the registry."""
        wanted: dict[str, dict[str, str]] = {}
        for source, target in signals.items():
            if target not in ("context", CELL_VOLTAGE) and target not in SIGNALS:
                known = ", ".join(("context", CELL_VOLTAGE, *SIGNALS))
                raise ConfigError(f"{source}: unknown target {target!r}", hint=f"known: {known}")
            message_name, dot, signal_name = source.rpartition(".")
            if not dot:
                raise ConfigError(f"the CAN database has no signal {source!r}", hint="write MESSAGE.SIGNAL")
            wanted.setdefault(message_name, {})[signal_name] = target
        self._messages: dict[int, DbcMessage] = {each.identity: each for each in reversed(database.messages)}
        self._sources: dict[int, list[_Source]] = {}
        self._groups: dict[int, DbcMessage] = {}
        for message_name, targets in wanted.items():
            message = database.use(message_name, *targets)
            if (other := self._messages[message.identity]).name in wanted and other.name != message_name:
                text = f"{message_name} and {other.name} have the identifier {message.frame_id:#x}"
                raise ConfigError(f"the CAN database cannot tell two messages apart: {text}")
            self._messages[message.identity] = message
            if message.j1939 and message.frame_id & 0xFF == _ANY_SOURCE:
                self._groups[_group(message.frame_id)] = message
            self._sources[message.identity] = [
                _Source(rescaled(signal, _unit(target)), target, states(signal, is_state=not _unit(target)))
                for name, target in targets.items()
                for signal in (message.signals[name],)
            ]
        self.cells = tuple(source for source, target in signals.items() if target == CELL_VOLTAGE)
        """Names of all single cells in the DBC, in the order of the mapping."""
        self.warnings: Final = tuple(database.warnings(wanted))

    @classmethod
    def read(cls, dbc: Path | None, signals: Mapping[str, str] | None) -> "CanMapping":
        """Return the mapping of a DBC file; None: what the simulated battery has. Raises ConfigError."""
        database = parse_dbc(battery_dbc()) if dbc is None else read_dbc(dbc)
        try:
            return cls(database, BATTERY_SIGNALS if signals is None else signals)
        except ConfigError as error:
            raise ConfigError(f"{dbc}: {error}" if dbc is not None else str(error), hint=error.hint) from None

    def _message(self, frame_id: int) -> DbcMessage | None:
        found = self._messages.get(frame_id)
        if found is None and frame_id > STANDARD_ID:
            found = self._groups.get(_group(frame_id))
        return found

    def decode(self, frame_id: int, data: bytes) -> Mapped | None:
        """Return the content of a frame, or None when its id (`v2g.dbc.identity`) is unknown or it is too short."""
        message = self._message(frame_id)
        if message is None:
            self.unknown_ids[frame_id if len(self.unknown_ids) < _MOST_IDS or frame_id in self.unknown_ids else -1] += 1
            return None
        if len(data) < message.length:
            self.malformed[frame_id] += 1
            self.short[message.name] += 1
            return None
        found: dict[str, float] = {}
        cells: dict[str, float] = {}
        absent: list[str] = []
        context: str | None = None
        for source in self._sources.get(message.identity, ()):
            signal, target = source.signal, source.target
            if signal.selector and not message.present(signal, data):
                continue
            raw = signal.raw(data)
            if target == "context":
                name = signal.names.get(raw, "")
                context = name if name in CONTEXTS else None
            elif raw in source.states or not math.isfinite(raw) or is_j1939_absence(message, signal, raw):
                self.absent[target] += 1
                absent.append(target)
            elif target == CELL_VOLTAGE:
                cells[f"{message.name}.{signal.name}"] = scaled(signal, raw)
            else:
                found[target] = scaled(signal, raw)
        values = normalised(found)
        cells = {name: voltage for name, voltage in cells.items() if _CELL.minimum <= voltage <= _CELL.maximum}
        if wrong := len(found) - len(values):
            self.malformed[frame_id] += wrong
        return Mapped(values, context, cells, tuple(absent))

    @property
    def has_cell_summary(self) -> bool:
        """Whether the vehicle itself reports minimum and maximum of its cells."""
        return any(
            {f"{CELL_VOLTAGE}.min", f"{CELL_VOLTAGE}.max"} <= {source.target for source in each}
            for each in self._sources.values()
        )

    @property
    def has_context(self) -> bool:
        """Whether a signal is mapped to the context."""
        return any(source.target == "context" for each in self._sources.values() for source in each)

    def message_name(self, frame_id: int) -> str:
        """Return the name of the message with this id in the DBC, or nothing."""
        message = self._message(frame_id)
        return message.name if message is not None else ""

    def uncovered(self, frame_id: int, data: bytes) -> bytes:
        """Return a mask as long as `data`: bits are 1 where no signal of the DBC is, or one that is not mapped."""
        free = (1 << 8 * len(data)) - 1
        if (message := self._message(frame_id)) is not None:
            for source in self._sources.get(message.identity, ()):
                free &= ~source.signal.bits(message.length)
        return free.to_bytes(len(data), "little")


def _group(frame_id: int) -> int:
    """Return what identifies a message of J1939 whoever sends it, and however urgent it is: its parameter group."""
    group = frame_id >> 8 & 0x3FFFF
    return group if group >> 8 & 0xFF >= _BROADCAST else group & ~0xFF


def _unit(target: str) -> str:
    return _CELL.unit if target == CELL_VOLTAGE else SIGNALS[target].unit if target in SIGNALS else ""


def normalised(values: Mapping[str, float]) -> dict[str, float]:
    """Return values of the registry, each rounded to its signal's resolution; those out of range are left out (R65)."""
    # round to a multiple of `resolution`, so that equal quantities are equal numbers (idempotent, R65)
    return {
        name: round(round(value / signal.resolution) * signal.resolution, 6)
        for name, value in values.items()
        if (signal := SIGNALS.get(name)) is not None and signal.minimum <= value <= signal.maximum
    }
