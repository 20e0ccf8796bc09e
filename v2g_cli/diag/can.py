"""`v2g diag can`: a CAN interface, and frames of a bus or recording as signals."""

import contextlib
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.config import parse_config
from v2g.dbc import LARGEST_ID, STANDARD_ID
from v2g.errors import ConfigError, TransportError
from v2g.hardware.power_modules.can_errors import BusHealth, CanFault, FaultName, fault, least_bits
from v2g.io.can import CanConfig, CanFrame, frame_of, open_bus
from v2g.io.can_link import CanLink, complaints
from v2g.telemetry.error_codes import CODES
from v2g.telemetry.mapping import CanMapping, Mapped
from v2g.typed_json import Fields
from v2g_cli.output import print_json, print_table, say, say_row

MOST_WARNINGS: Final = 20
"""Warnings about the DBC that are shown as text."""

MOST_IDS: Final = 4096
"""Ids that are shown one by one."""


class MappingFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file with the keys of the same names in `[telemetry]`."""

    dbc: Annotated[Path, Meta(description="CAN database")]
    signals: Annotated[dict[str, str], Meta(description="Message.Signal of the DBC to signal name")] = {}


def read_mapping(path: Path | None) -> CanMapping:
    """Return the mapping of a file, by default that of the simulated battery. Raises ConfigError."""
    if path is None:
        return CanMapping.read(None, None)
    try:
        file = parse_config(path.read_text(encoding="utf-8"), MappingFile, name=str(path))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text") from None
    return CanMapping.read(file.dbc, file.signals)


class _Id(msgspec.Struct):
    extended: bool
    frames: int = 0
    last: bytes = b""


class BusView:
    """Frames of a bus, counted and decoded."""

    def __init__(self, mapping: CanMapping, channel: str, bitrate: int) -> None:
        self._mapping, self._bitrate = mapping, bitrate
        self._health = BusHealth(channel)
        self._ids: dict[int, _Id] = {}
        self._bits = 0
        self._first_s: float | None = None
        self._last_s = 0.0
        self._other = 0
        self.faults: list[CanFault] = []

    def take(self, frame: CanFrame) -> Mapped | None:
        """Count a frame and return its signals, None for an error frame or an unknown id."""
        self._first_s = frame.time_s if self._first_s is None else self._first_s
        self._last_s = max(self._last_s, frame.time_s)
        if frame.error:
            self.faults += self._health.error(frame.frame_id, frame.data, frame.time_s)
            return None
        self._health.received()
        self._bits += least_bits(len(frame.data), extended=frame.extended)
        if frame.identity not in self._ids and len(self._ids) >= MOST_IDS:
            self._other += 1
        else:
            seen = self._ids.setdefault(frame.identity, _Id(frame.extended))
            seen.frames += 1
            seen.last = frame.data
        return self._mapping.decode(frame.identity, frame.data)

    def payload(self, frame: CanFrame, mapped: Mapped | None) -> Fields:
        """Return a frame with its signals and the bits without one."""
        shown: dict[str, object] = {
            "time_s": frame.time_s,
            "id": hex_id(frame.frame_id, extended=frame.extended),
            "data": frame.data.hex(),
        }
        if frame.error:
            return shown | {"error_frame": True}
        shown |= {
            "message": self._mapping.message_name(frame.identity),
            "signals": mapped.values | mapped.cells if mapped is not None else {},
            "absent": mapped.absent if mapped is not None else (),
            "uncovered": self._mapping.uncovered(frame.identity, frame.data).hex(),
        }
        return shown | ({"context": mapped.context} if mapped is not None and mapped.context else {})

    @property
    def frames(self) -> int:
        """How many frames were taken, with those of errors."""
        return sum(each.frames for each in self._ids.values()) + self._other + self._health.errors

    @property
    def seconds(self) -> float:
        """Time between the first and the last frame."""
        return self._last_s - self._first_s if self._first_s is not None else 0.0

    def rows(self) -> Iterator[tuple[str, str, str, str, str, str]]:
        """Yield each id: message, frames, frames per second, last data, and the bits of it that no signal covers."""
        for frame_id, seen in sorted(self._ids.items()):
            rate = f"{seen.frames / self.seconds:.1f}" if self.seconds else ""
            yield (
                hex_id(frame_id, extended=seen.extended),
                self._mapping.message_name(frame_id) or "unknown",
                str(seen.frames),
                rate,
                seen.last.hex(),
                self._mapping.uncovered(frame_id, seen.last).hex(),
            )

    def summary(self) -> Fields:
        """Return the counts."""
        load = 100 * self._bits / (self._bitrate * self.seconds) if self.seconds else None
        unknown: Counter[int] = self._mapping.unknown_ids
        return {
            "frames": self.frames - self._health.errors,
            "seconds": round(self.seconds, 3),
            "least_load_percent": None if load is None else round(load, 1),
            "error_frames": self._health.errors,
            "unknown_frames": unknown.total(),
            "malformed_frames": self._mapping.malformed.total(),
            "short_frames": dict(self._mapping.short),
            "absent_values": dict(self._mapping.absent),
            "dbc_warnings": [str(each) for each in self._mapping.warnings],
            "error_counters": self._health.counters,
            "faults": [msgspec.to_builtins(each) for each in self.faults],
        }


def hex_id(frame_id: int, *, extended: bool) -> str:
    """Return an id as three hexadecimal digits, as eight if it is extended."""
    return f"{frame_id & LARGEST_ID:08X}" if extended or frame_id > STANDARD_ID else f"{frame_id:03X}"


def live(config: CanConfig, seconds: float | None) -> Iterator[CanFrame]:
    """Yield frames of a bus until the time is over, or Ctrl-C. Raises TransportError."""
    bus = open_bus(config)
    until = None if seconds is None else time.monotonic() + seconds
    try:
        with contextlib.suppress(KeyboardInterrupt):
            while until is None or time.monotonic() < until:
                try:
                    message = bus.recv(0.1)
                except Exception as error:  # noqa: BLE001 - each driver has its own errors
                    raise TransportError(f"CAN {config.interface} {config.channel}: {error}") from None
                if message is not None and not message.is_remote_frame:
                    yield frame_of(message)
    finally:
        bus.shutdown()


def show_link(link: CanLink, bitrate: int, *, json: bool) -> bool:
    """Show an interface; return whether all is well."""
    wrong = complaints(link, bitrate)
    if json:
        print_json({"link": link, "complaints": [{"what": what, "hint": hint} for what, hint in wrong]})
        return not wrong
    rate = f"{link.bitrate} bit/s" if link.bitrate is not None else "no bit rate (virtual)"
    data_rate = f", data {link.data_bitrate} bit/s" if link.data_bitrate is not None else ""
    counts = f"errors sent {link.sent_errors}, received {link.received_errors}; bus-off {link.bus_offs} times"
    say(f"{link.name}: {rate}{data_rate}, {link.state or ('up' if link.up else 'down')}")
    if link.sent_errors is not None:
        say(f"     {counts}; frames dropped {link.dropped}")
    for what, hint in wrong:
        say(f"{link.name}: {what}\n     {hint}", lines=True)
    return not wrong


def show_frames(view: BusView, frames: Iterable[CanFrame], *, inspect: bool, json: bool) -> bool:
    """Show frames as they arrive if `inspect`, then the counts; return whether the bus has no fault."""
    for frame in frames:
        mapped = view.take(frame)
        if not inspect:
            continue
        shown = view.payload(frame, mapped)
        if json:
            print_json(shown)
        elif frame.error:
            say_row(f"{frame.time_s:.6f}", shown["id"], shown["data"], "error frame", "")
        else:
            signals = msgspec.json.encode(shown["signals"] | {k: v for k, v in shown.items() if k == "context"})
            say_row(f"{frame.time_s:.6f}", shown["id"], shown["data"], signals.decode(), shown["uncovered"])
    summary = view.summary()
    if json:
        print_json(summary)
        return not view.faults
    if not inspect:
        print_table(
            "Frames", ("id", "message", "frames", "per second", "last data", "bits without signal"), view.rows()
        )
    load = summary["least_load_percent"]
    say(
        f"{summary['frames']} frames in {summary['seconds']:g} s, "
        + (f"load {load:g} % and stuff bits, " if load is not None else "")
        + f"{summary['error_frames']} error frames, {summary['unknown_frames']} of unknown ids, "
        f"{summary['malformed_frames']} malformed"
    )
    for name, count in summary["short_frames"].items():
        say(f"{name}: {count} times with fewer octets than in the DBC, not decoded")
    for name, count in summary["absent_values"].items():
        say(f"{name}: {count} times not available, invalid or a named state")
    for text in summary["dbc_warnings"][:MOST_WARNINGS]:
        say(f"DBC, {text}")
    if more := len(summary["dbc_warnings"][MOST_WARNINGS:]):
        say(f"DBC: {more} more; --json shows all")
    for each in view.faults:
        say(f"{each.name}: {each.cause}" + (f"\n     {each.hint}" if each.hint else ""), lines=True)
    return not view.faults


LONGEST_LINE: Final = 65536


class Explained(msgspec.Struct):
    """Something known in a log: where it is first, how often, what it means, and what to do."""

    code: str
    line: int
    text: str
    cause: str
    hint: str
    count: int = 1


_CODE: Final = re.compile(r"\b0x0*([0-9A-Fa-f]{1,8})\b")

_CAN: Final[tuple[tuple[re.Pattern[str], FaultName], ...]] = (
    (re.compile(r"\b(?P<channel>\w*can\d+): (?:CAN )?bus[- ]off\b", re.IGNORECASE), "bus_off"),
    (re.compile(r"\b(?P<channel>\w*can\d+): .*\berror[- ]passive\b", re.IGNORECASE), "error_passive"),
    (re.compile(r"\b(?P<channel>\w*can\d+): .*\b(?:rx|fifo|buffer) overflow\b", re.IGNORECASE), "frames_lost"),
    (re.compile(r"\b(?P<channel>\w*can\d+): restarted\b", re.IGNORECASE), "restarted"),
)
"""Lines of the kernel, as in /var/log/kern.log."""


def explain(lines: Iterable[str]) -> list[Explained]:
    """Return what is known in the lines of a log, each once, by where it is first."""
    found: dict[str, Explained] = {}
    for number, line in enumerate(lines, 1):
        for code, cause, hint in _known(line[:LONGEST_LINE]):
            if code in found:
                found[code].count += 1
            else:
                found[code] = Explained(code, number, line.strip()[:500], cause, hint)
    return list(found.values())


def _known(line: str) -> Iterable[tuple[str, str, str]]:
    for each in _CODE.finditer(line):
        if (found := CODES.get(code := int(each[1], 16))) is not None:
            yield f"0x{code:X} {found.name}", found.cause, found.hint
    for pattern, name in _CAN:
        if (match := pattern.search(line)) is not None:
            known = fault(name, match["channel"])
            yield f"{match['channel']}: {name}", known.cause, known.hint
