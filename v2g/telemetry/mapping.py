"""CAN frames to signals: a DBC file defines the encoding, a mapping the meaning of the numbers (R63).

The database is passed as text; no files are opened. Unknown frames are counted and otherwise ignored.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from v2g.errors import ConfigError
from v2g.telemetry.signals import CONTEXTS, SIGNALS, Signal


class Mapped(msgspec.Struct, frozen=True):
    """Content of one frame: values by signal name (rounded to the signal's resolution) and perhaps the context."""

    values: dict[str, float]
    context: str | None = None


class CanMapping:
    """Decodes frames by DBC and renames their signals.

    `dbc` is the database's text; `signals` maps `Message.Signal` of the DBC to names of the registry, with `context`
    for the signal whose value table names the drive cycle. Raises ConfigError when either is invalid.
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
        self._names: dict[tuple[int, str], tuple[str, Signal | None]] = {}
        for source, target in signals.items():
            message_name, _, signal_name = source.partition(".")
            message = next((m for m in database.messages if m.name == message_name), None)
            if message is None or signal_name not in {s.name for s in message.signals}:
                raise ConfigError(f"the CAN database has no signal {source!r}")
            if target != "context" and target not in SIGNALS:
                raise ConfigError(f"{source}: unknown target {target!r}", hint=f"known: context, {', '.join(SIGNALS)}")
            self._names[message.frame_id, signal_name] = target, SIGNALS.get(target)

    def decode(self, frame_id: int, data: bytes) -> Mapped | None:
        """Return the content of a frame, or None when its id is unknown or its length is wrong."""
        message = self._messages.get(frame_id)
        if message is None:
            self.unknown_ids[frame_id] += 1
            return None
        try:
            decoded = message.decode(data, decode_choices=True)
        except (self._decode_error, ValueError):
            self.malformed[frame_id] += 1
            return None
        values: dict[str, float] = {}
        context: str | None = None
        for name, value in decoded.items():
            target, signal = self._names.get((frame_id, name), ("", None))
            if target == "context":
                context = str(value) if str(value) in CONTEXTS else None
            elif signal is not None:
                number = float(getattr(value, "value", value))
                if signal.minimum <= number <= signal.maximum:
                    values[target] = _on_grid(number, signal.resolution)
                else:
                    self.malformed[frame_id] += 1
        return Mapped(values, context)


def _on_grid(number: float, resolution: float) -> float:
    """Round to a multiple of `resolution`, so that equal quantities are equal numbers (idempotent, R65)."""
    return round(round(number / resolution) * resolution, 6)
