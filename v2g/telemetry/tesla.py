"""Tesla's Fleet Telemetry as signals (R212): `vehicle_data.proto` of github.com/teslamotors/fleet-telemetry.

The server hands a payload on as protobuf (Kafka), or each field as JSON (MQTT). Fields and units by
developer.tesla.com, "Available Data"; numbers are text in older firmware. Speed is in mph, ways are in miles. The
pack's current is positive while it charges (issue 186 there).
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from v2g.errors import CodecError
from v2g.extras import extras_named
from v2g.telemetry.gnss import ODOMETER
from v2g.telemetry.mapping import Mapped
from v2g.telemetry.ovms import HIGHWAY_KMH
from v2g.telemetry.signals import LATITUDE, LONGITUDE, MAX_UTC_MS

_MILE_KM: Final = 1.609344

FIELDS: Final = {
    "VehicleSpeed": (4, "vehicle.speed", _MILE_KM),
    "Odometer": (5, ODOMETER, _MILE_KM),
    "PackVoltage": (6, "battery.voltage", 1.0),
    "PackCurrent": (7, "battery.current", 1.0),
    "Soc": (8, "battery.soc", 1.0),
    "BrickVoltageMax": (25, "battery.cell_voltage.max", 1.0),
    "BrickVoltageMin": (27, "battery.cell_voltage.min", 1.0),
    "ModuleTempMax": (29, "battery.temperature.max", 1.0),
    "ModuleTempMin": (31, "battery.temperature.min", 1.0),
    "DCChargingPower": (35, "charging.power", 1000.0),
    "ACChargingPower": (37, "charging.power", 1000.0),
    "EstBatteryRange": (40, "vehicle.range", _MILE_KM),
    "OutsideTemp": (86, "ambient.temperature", 1.0),
}
"""Field -> its number, signal, and unit in that of the signal."""
LOCATION, GEAR, STATE = "Location", "Gear", "DetailedChargeState"
_NUMBERS: Final = {number: name for name, (number, _, _) in FIELDS.items()} | {21: LOCATION, 10: GEAR, 179: STATE}

MAX_PAYLOAD: Final = 1 << 20
"""Octets of the longest payload, as the server's own limit."""
_LONGEST: Final = 32
_LAST_S: Final = MAX_UTC_MS // 1000
_CHARGING = 4
"""DetailedChargeStateCharging."""
_DRIVING: Final = (3, 4, 5, "R", "D", "N")
"""ShiftState of a vehicle that is driven: others are parked, unknown, or not available as it sleeps."""


class TeslaFields:
    """Takes the fields of one vehicle. What is no value of a field is counted as `malformed`."""

    def __init__(self) -> None:
        self.malformed = 0
        self._charging = self._driving = False
        self._kmh = 0.0
        self._power: dict[str, float] = {}

    def payload(self, data: bytes) -> tuple[str, list[Mapped]]:
        """Return the VIN of a payload, perhaps empty, and what its fields say, at its time. Raises CodecError."""
        if len(data) > MAX_PAYLOAD:
            raise CodecError(f"a payload of {len(data)} octets, {MAX_PAYLOAD} are allowed")
        message = payload_class()()
        from google.protobuf.message import DecodeError

        try:
            message.ParseFromString(data)
        except DecodeError as error:
            raise CodecError(f"not a payload of Fleet Telemetry: {error}") from None
        at = message.created_at
        utc_ms = at.seconds * 1000 + at.nanos // 1_000_000 if 0 < at.seconds <= _LAST_S else None
        found = [each for datum in message.data if (each := self._datum(datum)) is not None]
        return message.vin, [msgspec.structs.replace(each, utc_ms=utc_ms) for each in found]

    def _datum(self, datum: "_Datum") -> Mapped | None:
        name, kind = _NUMBERS.get(datum.key), datum.value.WhichOneof("value")
        if name is None or kind is None:  # a type of a later version
            return None
        value: object = getattr(datum.value, kind)
        if kind == "location_value":
            place = datum.value.location_value
            value = {"latitude": place.latitude, "longitude": place.longitude}
        return self.field(name, None if kind == "invalid" else value)

    def json(self, name: str, data: bytes) -> Mapped | None:
        """Return what a field says as MQTT has it: its value, or an object with it as `value`."""
        try:
            value = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.malformed += 1
            return None
        return self.field(name, value["value"] if isinstance(value, dict) and "value" in value else value)

    def field(self, name: str, value: object) -> Mapped | None:
        """Return what a field says; None for others, and for what is no value, which is counted."""
        if name == LOCATION:
            return self._location(value)
        if name == GEAR:
            self._driving = (value.removeprefix("ShiftState") if isinstance(value, str) else value) in _DRIVING
            return Mapped({}, self._context())
        if name == STATE:
            self._charging = value == _CHARGING or str(value).removeprefix("DetailedChargeState") == "Charging"
            return Mapped({}, self._context())
        if name not in FIELDS:
            return None
        _, signal, unit = FIELDS[name]
        if value is None or value == "<invalid>":
            self._power.pop(name, None)
            return self._charged() if signal == "charging.power" else Mapped({}, absent=(signal,))
        number = _number(value)
        if number is None:
            self.malformed += 1
            return None
        if signal == "charging.power":
            self._power[name] = number * unit
            return self._charged()
        if name == "VehicleSpeed":
            self._kmh = number * unit
        return Mapped({signal: number * unit}, self._context() if name == "VehicleSpeed" else None)

    def _charged(self) -> Mapped:
        total = {"charging.power": sum(self._power.values())} if self._power else {}
        return Mapped(total, absent=() if total else ("charging.power",))

    def _location(self, value: object) -> Mapped | None:
        if value is None or value == "<invalid>":
            return Mapped({}, absent=(LATITUDE, LONGITUDE))
        place = value if isinstance(value, dict) else {}
        latitude, longitude = _number(place.get("latitude")), _number(place.get("longitude"))
        if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:  # neither without both
            self.malformed += 1
            return None
        return Mapped({LATITUDE: latitude, LONGITUDE: longitude})

    def _context(self) -> str:
        if self._charging:
            return "charging"
        return "parked" if not self._driving else "highway" if self._kmh > HIGHWAY_KMH else "city"


def _number(value: object) -> float | None:
    """Return a finite number, which may be a text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str) or len(str(value)) > _LONGEST:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


_MESSAGES: Final[Mapping[str, tuple[tuple[str, int, str], ...]]] = {
    "LocationValue": (("latitude", 1, "double"), ("longitude", 2, "double")),
    "Value": (
        ("string_value", 1, "string"),
        ("int_value", 2, "int32"),
        ("long_value", 3, "int64"),
        ("float_value", 4, "float"),
        ("double_value", 5, "double"),
        ("boolean_value", 6, "bool"),
        ("location_value", 7, "LocationValue"),
        ("charging_value", 8, "int32"),
        ("shift_state_value", 9, "int32"),
        ("invalid", 10, "bool"),
        ("detailed_charge_state_value", 32, "int32"),
    ),
    "Datum": (("key", 1, "int32"), ("value", 2, "Value")),
    "Timestamp": (("seconds", 1, "int64"), ("nanos", 2, "int32")),
    "Payload": (("data", 1, "Datum*"), ("created_at", 2, "Timestamp"), ("vin", 3, "string")),
}
"""Field, number and type of the messages, as far as they are read; enumerations are numbers on the wire."""


class _Timestamp(Protocol):
    seconds: int
    nanos: int


class _Place(Protocol):
    latitude: float
    longitude: float


class _Value(Protocol):
    location_value: _Place

    def WhichOneof(self, group: str) -> str | None: ...  # noqa: N802


class _Datum(Protocol):
    key: int
    value: _Value


class FleetPayload(Protocol):
    """A message Payload."""

    data: Sequence[_Datum]
    created_at: _Timestamp
    vin: str

    def ParseFromString(self, data: bytes) -> int: ...  # noqa: N802
    def SerializeToString(self) -> bytes: ...  # noqa: N802


@functools.cache
def payload_class() -> "Callable[[], FleetPayload]":
    """Return the class of payloads. Raises ConfigError without the extra `tesla`."""
    with extras_named():
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="v2g/tesla.proto", package="v2g.tesla", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        if name == "Value":
            message.oneof_decl.add(name="value")
        for field, number, kind in fields:
            single = kind.removesuffix("*")
            added = message.field.add(name=field, number=number, label=1 if single == kind else 3)
            if single in _MESSAGES:
                added.type, added.type_name = kinds.TYPE_MESSAGE, f".v2g.tesla.{single}"
            else:
                added.type = getattr(kinds, f"TYPE_{single.upper()}")
            if name == "Value":
                added.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found: Callable[[], FleetPayload] = message_factory.GetMessageClass(pool.FindMessageTypeByName("v2g.tesla.Payload"))
    return found
