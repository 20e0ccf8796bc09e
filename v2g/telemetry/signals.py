"""The signal model: what a vehicle's quantities are called, in which unit, and what range is believable.

One registry for all makes (R53, R67): CAN databases differ, the names, units and directions here do not. Current and
power are positive while the battery charges, as on the ISO 15118-20 wire.
"""

import msgspec

from v2g.errors import CodecError

Value = float | int | str


class Signal(msgspec.Struct, frozen=True):
    """A quantity: its unit, the believable range, and the step below which a change says nothing."""

    unit: str
    minimum: float
    maximum: float
    resolution: float


SIGNALS: dict[str, Signal] = {
    "battery.voltage": Signal("V", 0, 1500, 0.1),
    "battery.current": Signal("A", -2000, 2000, 0.1),
    "battery.soc": Signal("%", 0, 100, 0.01),
    "battery.soh": Signal("%", 0, 100, 0.5),
    "battery.temperature.min": Signal("degC", -60, 150, 0.1),
    "battery.temperature.max": Signal("degC", -60, 150, 0.1),
    "battery.temperature.coolant": Signal("degC", -60, 150, 0.1),
    "battery.cell_voltage.min": Signal("V", 0, 5, 0.001),
    "battery.cell_voltage.max": Signal("V", 0, 5, 0.001),
    "battery.energy.charged": Signal("Wh", 0, 2**32 - 1, 1),
    "battery.energy.discharged": Signal("Wh", 0, 2**32 - 1, 1),
    "vehicle.contactor": Signal("", 0, 1, 1),
    "vehicle.power_request": Signal("W", -(2**31), 2**31 - 1, 1),
}

CONTEXTS = ("parked", "city", "highway", "charging", "discharging")
"""Drive-cycle contexts that tag every record (R75)."""


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One telemetry message: what changed since the last one, or everything when `keyframe`.

    `(ev, boot, seq)` identifies it for ever: `ev` is a pseudonym (never the VIN, R143), `boot` counts the gateway's
    starts, `seq` its records from 1 without gaps (R98). `utc_ms` is the newest sample's time.
    """

    ev: str
    boot: int
    seq: int
    utc_ms: int
    context: str
    keyframe: bool
    signals: dict[str, Value]
    schema: str = "v2g-telemetry/1"


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(Record)
MAX_RECORD_BYTES = 65536
MAX_NUMBER = 2**53 - 1
"""Largest boot, seq and utc_ms: JSON readers elsewhere hold them as doubles."""

SCHEMAS = ("v2g-telemetry/1",)


def encode_record(record: Record) -> bytes:
    """Return the record as canonical JSON, at most 64 KiB."""
    return _encoder.encode(record)


def decode_record(data: bytes) -> Record:
    """Return the record in `data`.

    Raises CodecError when it is no JSON record, too large, of an unknown schema version (0x2B9, R160), or holds a
    signal that the registry does not know or a value outside its range.
    """
    if len(data) > MAX_RECORD_BYTES:
        raise CodecError(f"telemetry record has {len(data)} bytes, {MAX_RECORD_BYTES} are allowed")
    try:
        record = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CodecError(f"telemetry record: {error}") from None
    check_record(record)
    return record


def check_record(record: Record) -> None:
    """Raise CodecError when a record does not follow the registry."""
    if record.schema not in SCHEMAS:
        raise CodecError(f"0x2B9 UNSUPPORTED_SCHEMA_VERSION {record.schema!r}", hint="update the schema registry")
    numbers_fit = max(record.boot, record.seq, record.utc_ms) <= MAX_NUMBER
    named = 0 < len(record.ev) <= 64 and "\0" not in record.ev
    if not (named and record.boot >= 1 and record.seq >= 1 and record.utc_ms >= 0 and numbers_fit):
        raise CodecError("telemetry record has no usable (ev, boot, seq)")
    if record.context not in CONTEXTS:
        raise CodecError(f"unknown context {record.context!r}")
    for name, value in record.signals.items():
        signal = SIGNALS.get(name)
        if signal is None:
            raise CodecError(f"unknown signal {name!r}", hint="update the schema registry")
        if isinstance(value, str) or not signal.minimum <= value <= signal.maximum:  # NaN fails the comparison too
            raise CodecError(f"{name} = {value!r} lies outside {signal.minimum}..{signal.maximum} {signal.unit}")
