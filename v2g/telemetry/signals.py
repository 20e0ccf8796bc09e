"""The signal model: names, units, and plausible ranges of a vehicle's quantities.

One registry for all vehicles (R53, R67): CAN databases differ, the names, units and directions here do not. Current and
power are positive while the battery charges, as on the ISO 15118-20 wire.
"""

from collections.abc import Mapping
from itertools import islice
from typing import Annotated, Any, Final, Literal, Union, get_args, get_type_hints

import msgspec
from msgspec import UNSET, Meta, UnsetType

from v2g import typed_json
from v2g.energy.settlement.checkpoints import Copy
from v2g.errors import CodecError
from v2g.telemetry.local_events import REPORTED, LocalEvent
from v2g.typed_json import Fields

Value = float | int | str


class Signal(msgspec.Struct, frozen=True):
    """A quantity: its unit, the plausible range, its resolution, and its dead band: the least change, in its unit,
    that makes a record due at once."""

    unit: str
    minimum: float
    maximum: float
    resolution: float
    dead_band: float
    vss: str = ""
    """Path of the same quantity in COVESA's Vehicle Signal Specification 6, below `Vehicle`; empty where it has none,
    as for the motor: its speed is that of an axle there."""
    jump: float = 0.0
    """Larger changes between two samples need a second sample that confirms them; 0: none do."""
    derived: bool = False
    """Whether the gateway calculates it from other values: its changes alone make no record due at once."""


_BATTERY: Final = "Powertrain.TractionBattery"

MODULES: Final = 16
"""Temperatures of modules that the registry has; a larger pack reports that of each group of modules."""

MODULE_TEMPERATURE: Final = "battery.temperature.module"
"""With `.1` to `.16` the mean temperature of a module."""

_FIVE_METRES: Final = 4.5e-5
"""5 m on a meridian, degrees; the dead band of a position is the way between two, whatever its direction."""

LATITUDE: Final = "location.latitude"
LONGITUDE: Final = "location.longitude"

SIGNALS: dict[str, Signal] = {
    "battery.voltage": Signal("V", 0, 1500, 0.1, 0.5, f"{_BATTERY}.CurrentVoltage", 50),
    "battery.current": Signal("A", -2000, 2000, 0.1, 1, f"{_BATTERY}.CurrentCurrent", 200),
    "battery.power": Signal("W", -2_000_000, 2_000_000, 1, 500, f"{_BATTERY}.CurrentPower", 100_000),
    "battery.soc": Signal("%", 0, 100, 0.01, 0.2, f"{_BATTERY}.StateOfCharge.Current", 5),
    "battery.soh": Signal("%", 0, 100, 0.5, 0.5, f"{_BATTERY}.StateOfHealth", 5),
    "battery.temperature.min": Signal("degC", -60, 150, 0.1, 0.5, f"{_BATTERY}.Temperature.Min", 10),
    "battery.temperature.max": Signal("degC", -60, 150, 0.1, 0.5, f"{_BATTERY}.Temperature.Max", 10),
    "battery.temperature.coolant": Signal("degC", -60, 150, 0.1, 0.5, jump=10),
    "battery.cell_voltage.min": Signal("V", 0, 5, 0.001, 0.005, f"{_BATTERY}.CellVoltage.Min", 0.5),
    "battery.cell_voltage.max": Signal("V", 0, 5, 0.001, 0.005, f"{_BATTERY}.CellVoltage.Max", 0.5),
    "battery.cell_voltage.mean": Signal("V", 0, 5, 0.001, 0.005, jump=0.5),
    "battery.cell_voltage.imbalance": Signal("V", 0, 5, 0.001, 0.002, jump=0.2),
    "battery.energy.charged": Signal("Wh", 0, 2**32 - 1, 1, 100, f"{_BATTERY}.AccumulatedChargedEnergy", 100_000),
    "battery.energy.discharged": Signal("Wh", 0, 2**32 - 1, 1, 100, f"{_BATTERY}.AccumulatedConsumedEnergy", 100_000),
    "charging.power": Signal("W", -2_000_000, 2_000_000, 1, 250, jump=100_000),
    "motor.speed": Signal("rpm", -30_000, 30_000, 1, 100, jump=3000),
    "ambient.temperature": Signal("degC", -60, 85, 0.1, 0.5, "Exterior.AirTemperature", 10),
    LATITUDE: Signal("degrees", -90, 90, 1e-6, _FIVE_METRES, "CurrentLocation.Latitude", 0.01),
    LONGITUDE: Signal("degrees", -180, 180, 1e-6, _FIVE_METRES, "CurrentLocation.Longitude", 0.02),
    "grid.frequency": Signal("Hz", 40, 70, 0.001, 0.01, jump=1),
    "vehicle.contactor": Signal("", 0, 1, 1, 1, f"{_BATTERY}.IsPowerConnected"),
    "vehicle.power_request": Signal("W", -(2**31), 2**31 - 1, 1, 500),
    "battery.resistance": Signal("ohm", 0, 5, 0.0001, 0.001),
    "battery.cycles": Signal("", 0, 100_000, 0.1, 0.1),
    "battery.pressure": Signal("kPa", 0, 1000, 0.1, 0.5),
    "battery.coolant.flow": Signal("l/min", 0, 1000, 0.1, 0.5),
    "battery.contactor.positive": Signal("", 0, 1, 1, 1),
    "battery.contactor.negative": Signal("", 0, 1, 1, 1),
    "battery.contactor.precharge": Signal("", 0, 1, 1, 1),
    "battery.temperature.mean": Signal("degC", -60, 150, 0.1, 0.5, f"{_BATTERY}.Temperature.Average", 10),
    "battery.temperature.gradient": Signal("K/s", -100, 100, 0.01, 0.05, derived=True),
    "battery.cell_voltage.variance": Signal("V2", 0, 25, 1e-6, 1e-5, derived=True),
    "battery.cell_voltage.gradient": Signal("V/s", -50, 50, 0.001, 0.05, derived=True),
    **{f"{MODULE_TEMPERATURE}.{each}": Signal("degC", -60, 150, 0.1, 0.5, jump=10) for each in range(1, MODULES + 1)},
    "location.quality": Signal("", 0, 8, 1, 1),
    "location.hdop": Signal("", 0, 100, 0.1, 1),
    "vehicle.speed": Signal("km/h", -250, 500, 0.1, 2, "Speed", 100),
    "vehicle.odometer": Signal("km", 0, 10_000_000, 0.001, 0.1, "TraveledDistance"),
    "vehicle.range": Signal("km", 0, 10_000, 0.1, 1, "Powertrain.Range"),
}
"""In the order in which they came: a version of the schema has the first so many, and the compact form their places."""

CELL_VOLTAGE: Final = "battery.cell_voltage"
"""Target of a mapping for the voltage of one cell. Records have only minimum, maximum, mean and imbalance of all."""

CONTEXTS = ("parked", "city", "highway", "charging", "discharging")
"""Drive-cycle contexts that tag every record (R75)."""


EV_PATTERN: Final = r"^[A-Za-z0-9._:-]{1,64}\Z"
"""Pattern of a vehicle's pseudonym: valid as a level of MQTT topics, a path segment and a common name."""

SCHEMA: Final = "v2g-telemetry/1"
CHECKPOINT_SCHEMA: Final = "v2g-telemetry/2"
"""Of a record with a checkpoint; it is version 1 in all else."""
TAGGED_SCHEMA: Final = "v2g-telemetry/3"
"""Of a record with trip, ambient temperature and charging power, and perhaps a checkpoint or a local event."""
SCHEMA_4: Final = "v2g-telemetry/4"
"""As version 3, with signals of pressure, cooling, contactors and modules, and perhaps samples of single cells."""
SCHEMA_5: Final = "v2g-telemetry/5"
"""As version 4, with the quality of positions, speed, odometer and range."""

MAX_RECORD_BYTES: Final = 65536
MAX_NUMBER: Final = 2**53 - 1
"""Largest boot and seq: other JSON parsers use doubles."""

MAX_UTC_MS: Final = 9_223_372_036_854
"""Largest utc_ms, 2262-04-11: time-series databases count nanoseconds in 64 bits, and calendars end in 9999."""


def _described(signals: Mapping[str, Signal]) -> dict[str, object]:
    """Return what JSON schemas say of signals: each one's type, range, unit and dead band (R53, R210)."""
    properties = {
        name: {
            "type": "number",
            "minimum": each.minimum,
            "maximum": each.maximum,
            "unit": each.unit,
            "deadBand": each.dead_band,
        }
        | ({"vss": f"Vehicle.{each.vss}"} if each.vss else {})
        for name, each in signals.items()
    }
    return {"properties": properties, "propertyNames": {"enum": list(signals)}}


Signals = Annotated[dict[str, Value], Meta(extra_json_schema=_described(SIGNALS))]
"""Values by signal."""

Pseudonym = Annotated[str, Meta(pattern=EV_PATTERN)]
Trip = Annotated[str, Meta(pattern=r"^[0-9]{1,16}-[0-9]{1,9}\Z")]
"""Boot and number of a trip, which begins when the vehicle starts to drive: 0 before the first one (R108)."""
Number = Annotated[int, Meta(ge=1, le=MAX_NUMBER)]

CELL_STEP_V: Final = 0.0001
"""Step of the voltages of single cells in samples."""

MAX_CELLS: Final = 2000

CellRow = Annotated[tuple[Annotated[int, Meta(ge=0, le=50_000)] | None, ...], Meta(max_length=MAX_CELLS)]
"""Cells in their order, in steps of 0.1 mV; None: not in this sample."""


class CellSamples(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Voltages of all single cells around a finding, sample by sample."""

    begin_ms: Annotated[int, Meta(ge=0, le=MAX_UTC_MS)]
    """Time of the first sample (UTC)."""
    samples: Annotated[tuple[tuple[Annotated[int, Meta(ge=0, le=3_600_000)], CellRow], ...], Meta(max_length=2000)]
    """Time of each since `begin_ms`, and its cells."""


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One telemetry message: changes since the last one, or everything when `keyframe`.

    `(ev, boot, seq)` identifies it permanently: `ev` is a pseudonym (never the VIN, R143), `boot` one start of the
    gateway, rising from start to start, `seq` its records from 1 without gaps (R98). `utc_ms` is the newest sample's
    time. `checkpoint` is a countersigned checkpoint of a charger's journal, in a record of its own; so are an `event`
    of a program beside the gateway, and samples of `cells`. `ambient_c` (degC) and `charging_w` (W, positive while
    charging) are the newest known
    values, None if there are none.
    """

    ev: Pseudonym
    boot: Number
    seq: Number
    utc_ms: Annotated[int, Meta(ge=0, le=MAX_UTC_MS)]
    context: str
    keyframe: bool
    signals: Signals
    schema: str = SCHEMA
    checkpoint: Copy | UnsetType = UNSET
    trip: Trip | UnsetType = UNSET
    ambient_c: Annotated[float, Meta(ge=-60, le=85)] | UnsetType | None = UNSET
    charging_w: Annotated[float, Meta(ge=-2_000_000, le=2_000_000)] | UnsetType | None = UNSET
    event: LocalEvent | UnsetType = UNSET
    cells: CellSamples | UnsetType = UNSET


class Version(msgspec.Struct, frozen=True):
    """A version of the schema: which optional fields of a record it demands, which it allows, and its signals."""

    demands: tuple[str, ...]
    allows: tuple[str, ...] = ()
    signals: Mapping[str, Signal] = msgspec.field(default_factory=lambda: SIGNALS)


_OPTIONAL: Final = ("checkpoint", "trip", "ambient_c", "charging_w", "event", "cells")
_FIRST: Final = dict(islice(SIGNALS.items(), 22))
_TAGS: Final = ("trip", "ambient_c", "charging_w")

SCHEMAS: Final[dict[str, Version]] = {
    SCHEMA: Version((), (), _FIRST),
    CHECKPOINT_SCHEMA: Version(("checkpoint",), (), _FIRST),
    TAGGED_SCHEMA: Version(_TAGS, ("checkpoint", "event"), _FIRST),
    SCHEMA_4: Version(_TAGS, ("checkpoint", "event", "cells"), dict(islice(SIGNALS.items(), 49))),
    SCHEMA_5: Version(_TAGS, ("checkpoint", "event", "cells"), dict(islice(SIGNALS.items(), 54))),
}
"""Versions of the schema. A later version is decoded into the same `Record`."""


class Key(msgspec.Struct, frozen=True):
    """Common part of all versions of the schema: key, and version."""

    ev: Pseudonym
    boot: Number
    seq: Number
    schema: Annotated[str, Meta(pattern=r"^[!-~]{1,64}\Z")] = SCHEMA


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = typed_json.decoder(Record)
_keys = typed_json.decoder(Key)


def encode_record(record: Record) -> bytes:
    """Return the record as canonical JSON, at most 64 KiB."""
    return _encoder.encode(record)


def decode_key(data: bytes) -> Key:
    """Return the key of the record in `data`, of any schema version. Raises CodecError."""
    try:
        return _keys.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CodecError(f"telemetry record has no usable (ev, boot, seq): {error}") from None


def decode_record(data: bytes) -> Record:
    """Return the record in `data`.

    Raises CodecError when it has no key, is too large, of an unknown schema version (0x2B9, R160), or has an unknown
    signal or a value outside its range.
    """
    record, reason = None, ""
    try:
        record = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = f"telemetry record: {error}"
    schema = "" if record is None else record.schema
    if schema not in SCHEMAS:
        schema = decode_key(data).schema
    if len(data) > MAX_RECORD_BYTES:
        raise CodecError(f"telemetry record has {len(data)} bytes, {MAX_RECORD_BYTES} are allowed")
    version = SCHEMAS.get(schema)
    if version is None:
        raise CodecError(f"0x2B9 UNSUPPORTED_SCHEMA_VERSION {schema!r}", hint="update the schema registry")
    if record is None:
        raise CodecError(reason)
    for name in _OPTIONAL:
        if getattr(record, name) is UNSET:
            if name in version.demands:
                raise CodecError(f"a record of {record.schema} needs {name!r}")
        elif name not in version.demands and name not in version.allows:
            raise CodecError(f"{name!r} in a record of {record.schema}")
    if record.context not in CONTEXTS:
        raise CodecError(f"unknown context {record.context!r}")
    if record.event is not UNSET and record.event.name not in REPORTED:
        raise CodecError(f"unknown event {record.event.name!r}", hint="update the schema registry")
    for name, value in record.signals.items():
        signal = version.signals.get(name)
        if signal is None:
            raise CodecError(f"unknown signal {name!r}", hint="update the schema registry")
        if isinstance(value, str) or not signal.minimum <= value <= signal.maximum:  # NaN fails the comparison too
            raise CodecError(f"{name} = {value!r} is outside {signal.minimum}..{signal.maximum} {signal.unit}")
    return record


def json_schema(schema: str) -> Fields:
    """Return the JSON Schema of a version's records: a file of the schema registry (R112)."""
    version = SCHEMAS[schema]
    hints = get_type_hints(Record, include_extras=True)
    fields: list[Any] = []
    for field in msgspec.structs.fields(Record):
        name, kind = field.name, hints[field.name]
        if name in version.demands:
            fields.append((name, _without_unset(kind)))
        elif name == "schema":  # absent in records of the first version
            kind = Literal[schema]
            fields.append((name, kind, schema) if schema == SCHEMA else (name, kind))
        elif name not in _OPTIONAL:
            fields.append((name, kind))
        elif name in version.allows:
            fields.append((name, kind, UNSET))
    model = msgspec.defstruct("Record", fields, kw_only=True, forbid_unknown_fields=True)
    found = msgspec.json.schema(model)
    record = found["$defs"]["Record"]
    record["properties"]["context"] = {"enum": list(CONTEXTS)}
    record["properties"]["signals"] |= _described(version.signals)
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": schema, "title": f"Record of {schema}"}
    portable: Fields = _portable(found)
    return dialect | portable


def _without_unset(kind: object) -> object:
    return Union[tuple(each for each in get_args(kind) if each is not UnsetType)]  # noqa: UP007 - made as it runs


def _portable(tree: object) -> Any:
    """Return a JSON Schema whose patterns end as those of other languages do."""
    if isinstance(tree, dict):
        return {
            key: value.removesuffix(r"\Z") + "$" if key == "pattern" and isinstance(value, str) else _portable(value)
            for key, value in tree.items()
        }
    return [_portable(each) for each in tree] if isinstance(tree, list) else tree
