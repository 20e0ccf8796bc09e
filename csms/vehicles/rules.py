"""Latest state of a vehicle: of each signal the value with the highest (boot, seq), in whatever order records arrive.

A record has only what has changed, so each signal is compared for itself. `join` is commutative, associative and
idempotent: nodes and stores that exchange states agree, and no value goes backwards (R173).
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta

from v2g import typed_json
from v2g.telemetry.local_events import INSTALLED, reported
from v2g.telemetry.signals import Record

CONTEXT: Final = "context"
"""The driving mode, beside the signals."""

KEYFRAME: Final = "keyframe"
"""The newest record with all signals that may leave the vehicle, beside the signals."""


class StateReading(msgspec.Struct, frozen=True, array_like=True):
    """A value (a number, or the driving mode as text), and (boot, seq) and time (UTC) of its record."""

    boot: int
    seq: int
    at_ms: int
    value: float | str

    @property
    def position(self) -> tuple[int, int]:
        """What orders the readings of a signal."""
        return self.boot, self.seq


class VehicleState(msgspec.Struct, frozen=True):
    """The latest reading of each signal, by name, of `context`, and of `keyframe`."""

    ev: str
    readings: dict[str, StateReading]

    @property
    def at_ms(self) -> int:
        """Time of the newest reading (UTC); 0 without any."""
        return max((each.at_ms for each in self.readings.values()), default=0)

    @property
    def position(self) -> tuple[int, int]:
        """(boot, seq) of the newest record."""
        return max((each.position for each in self.readings.values()), default=(0, 0))

    def present(self, name: str) -> StateReading | None:
        """Return a signal's reading, unless a newer record with all signals lacks it: the vehicle sends it no more."""
        found, whole = self.readings.get(name), self.readings.get(KEYFRAME)
        return None if found is None or (whole is not None and found.position < whole.position) else found


def readings_of(record: Record) -> dict[str, StateReading]:
    """Return what a record says."""
    boot, seq, at_ms = record.boot, record.seq, record.utc_ms
    found = {name: StateReading(boot, seq, at_ms, value) for name, value in record.signals.items()}
    found[CONTEXT] = StateReading(boot, seq, at_ms, record.context)
    if record.keyframe:
        found[KEYFRAME] = StateReading(boot, seq, at_ms, 1.0)
    return found


def take(readings: dict[str, StateReading], others: Mapping[str, StateReading]) -> bool:
    """Take over newer readings; return whether there were any."""
    changed = False
    for name, each in others.items():
        known = readings.get(name)
        if known is None or (each.boot, each.seq) > (known.boot, known.seq):
            readings[name] = each
            changed = True
    return changed


def join(one: VehicleState, other: VehicleState) -> VehicleState:
    """Return the newer of each reading of two states of a vehicle."""
    readings = dict(one.readings)
    take(readings, other.readings)
    return VehicleState(one.ev, readings)


_encode = msgspec.json.Encoder().encode
_decode = typed_json.decoder(VehicleState).decode


def encode_state(state: VehicleState) -> bytes:
    """Return a state as JSON."""
    return _encode(state)


def decode_state(document: bytes) -> VehicleState:
    """Return the state in what `encode_state` returned."""
    return _decode(document)


Part = Literal["gateway", "vehicle"]
Number = Annotated[int, Meta(ge=0, le=2**31 - 1)]

_PARTS: Final[dict[str, Part]] = {"gateway": "gateway", "evcc": "vehicle"}
"""Program -> the part that it is."""


class InstalledFirmware(msgspec.Struct, frozen=True, kw_only=True):
    """Firmware of a part: the kind of `hardware`, name (`version`) and `number` of its release, "" and 0 for that with
    which it came; `failed` is the number of the newest release above it that did not work there."""

    hardware: str
    version: str
    number: Number
    failed: Number | None


class PartFirmware(InstalledFirmware, frozen=True, kw_only=True):
    """Firmware of a vehicle's part, said at `at_ms` (UTC) by the record (boot, seq)."""

    ev: str
    part: Part
    boot: int
    seq: int
    at_ms: int


def installed_in(records: Iterable[Record]) -> list[PartFirmware]:
    """Return what records say is installed, sorted by vehicle and part; what is not understood says nothing."""
    found = []
    for record in records:
        event = record.event
        if event is UNSET or event.name != INSTALLED or event.program not in _PARTS:
            continue
        stage, _, name = INSTALLED.partition(".")
        bounded = reported(event.program, stage, name, event.utc_ms, event.data)
        assert bounded is not None
        try:
            said = typed_json.convert(bounded.data, InstalledFirmware)
        except msgspec.ValidationError:
            continue
        found.append(
            PartFirmware(
                ev=record.ev,
                part=_PARTS[event.program],
                boot=record.boot,
                seq=record.seq,
                at_ms=event.utc_ms,
                **msgspec.structs.asdict(said),
            )
        )
    return sorted(found, key=lambda each: (each.ev, each.part))
