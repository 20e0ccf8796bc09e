"""Fields of Tesla's Fleet Telemetry as signals: payloads on the wire by hand, and by the kept library."""

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.errors import CodecError
from v2g.telemetry.mapping import Mapped
from v2g.telemetry.signals import CONTEXTS, LATITUDE, LONGITUDE, SIGNALS
from v2g.telemetry.tesla import FIELDS, MAX_PAYLOAD, TeslaFields, payload_class

pytestmark = pytest.mark.requirement("R212")

VIN = "5YJ3E1EA7HF000337"


def _field(number: int, wire: int, content: bytes) -> bytes:
    tag = _varint(number << 3 | wire)
    return tag + (_varint(len(content)) + content if wire == 2 else content)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def datum(key: int, value: bytes) -> bytes:
    """Return a Datum of a field's number and its Value, in a Payload."""
    return _field(1, 2, _field(1, 0, _varint(key)) + _field(2, 2, value))


def text(value: str) -> bytes:
    return _field(1, 2, value.encode())


def test_a_payload_octet_by_octet_is_its_values_in_our_units() -> None:
    place = _field(1, 1, struct.pack("<d", 48.1)) + _field(2, 1, struct.pack("<d", 11.5))
    data = b"".join((
        datum(8, text("55.5")),
        datum(4, _field(4, 5, struct.pack("<f", 60.0))),
        datum(5, _field(5, 1, struct.pack("<d", 1000.0))),
        datum(7, text("-12.5")),
        datum(35, _field(2, 0, _varint(50))),
        datum(21, _field(7, 2, place)),
        datum(86, _field(10, 0, _varint(1))),  # invalid
        datum(10, _field(9, 0, _varint(4))),  # D
        datum(179, _field(32, 0, _varint(4))),  # charging
        datum(40, _field(77, 0, _varint(1))),  # of a type that does not exist yet
        datum(999, text("1")),
        _field(2, 2, _field(1, 0, _varint(1_900_000_000)) + _field(2, 0, _varint(500_000_000))),
        _field(3, 2, VIN.encode()),
        _field(4, 0, b"\1"),  # is_resend
    ))  # fmt: skip
    vin, found = TeslaFields().payload(data)
    assert vin == VIN
    assert {each.utc_ms for each in found} == {1_900_000_000_500}
    values = {name: value for each in found for name, value in each.values.items()}
    assert values == pytest.approx({
        "battery.soc": 55.5, "vehicle.speed": 96.56064, "vehicle.odometer": 1609.344, "battery.current": -12.5,
        "charging.power": 50_000, LATITUDE: 48.1, LONGITUDE: 11.5,
    })  # fmt: skip
    assert [each.absent for each in found if each.absent] == [("ambient.temperature",)]
    assert [each.context for each in found if each.context] == ["parked", "highway", "charging"]


def test_the_library_reads_what_it_wrote_and_the_octets_are_those_by_hand() -> None:
    made: Any = payload_class()()
    added = made.data.add()
    added.key, added.value.string_value = 8, "55.5"
    assert made.SerializeToString() == datum(8, text("55.5"))


def test_fields_by_mqtt_are_values_texts_or_objects() -> None:
    fields = TeslaFields()
    for data in (b"55.5", b'"55.5"', b'{"value": 55.5}', b'{"value": "55.5"}'):
        assert fields.json("Soc", data) == Mapped({"battery.soc": 55.5})
    assert fields.json("Soc", b"null") == Mapped({}, absent=("battery.soc",))
    place = fields.json("Location", b'{"value": {"latitude": 48.1, "longitude": 11.5}}')
    assert place == fields.json("Location", b'{"latitude": 48.1, "longitude": 11.5}')
    assert place == Mapped({LATITUDE: 48.1, LONGITUDE: 11.5})
    assert fields.json("Location", b"null") == Mapped({}, absent=(LATITUDE, LONGITUDE))
    assert fields.json("VehicleName", b'"Anna"') is None
    assert fields.malformed == 0
    for wrong in (b'{"latitude": 95, "longitude": 11.5}', b'{"latitude": 48.1, "longitude": 181}'):
        assert fields.json("Location", wrong) is None, "half a position"
    for data in (b"true", b'"x"', b"[1]", b"1e999", b'{"latitude": 1}', b"\xff", b"[" * 5000):
        assert fields.json("Soc", data) is None
    assert fields.malformed == 9


def test_powers_of_both_chargers_are_one() -> None:
    fields = TeslaFields()
    assert fields.json("ACChargingPower", b"7.4") == Mapped({"charging.power": 7400})
    assert fields.json("DCChargingPower", b"0") == Mapped({"charging.power": 7400})
    assert fields.json("ACChargingPower", b"null") == Mapped({"charging.power": 0})
    assert fields.json("DCChargingPower", b"null") == Mapped({}, absent=("charging.power",))


def test_the_context_is_that_of_gear_charging_and_speed() -> None:
    fields, found = TeslaFields(), []
    for name, value in (
        ("Gear", "ShiftStateD"), ("VehicleSpeed", 65), ("Gear", "P"),
        ("DetailedChargeState", "DetailedChargeStateCharging"), ("DetailedChargeState", "Stopped"), ("Gear", None),
        ("Gear", "ShiftStateR"), ("Gear", "ShiftStateSNA"), ("Gear", 3), ("Gear", 6), ("Gear", "D"),
        ("Gear", "Invalid"),
    ):  # fmt: skip
        mapped = fields.json(name, json.dumps(value).encode())
        found.append(mapped and mapped.context)
    assert found == ["city", "highway", "parked", "charging", "parked", "parked", *["highway", "parked"] * 3]


def test_each_field_is_a_signal() -> None:
    assert {signal for _, signal, _ in FIELDS.values()} <= SIGNALS.keys()


def test_a_payload_beyond_the_limit_is_refused() -> None:
    with pytest.raises(CodecError, match="octets"):
        TeslaFields().payload(bytes(MAX_PAYLOAD + 1))


@given(st.binary(max_size=200) | st.lists(st.tuples(st.integers(0, 300), st.binary(max_size=40))).map(
    lambda each: b"".join(datum(*one) for one in each)
))  # fmt: skip
def test_any_octets_are_values_or_the_one_error(data: bytes) -> None:
    try:
        _, found = TeslaFields().payload(data)
    except CodecError:
        return
    for each in found:
        assert each.values.keys() <= SIGNALS.keys()
        assert each.context is None or each.context in CONTEXTS


@given(st.sampled_from([*FIELDS, "Location", "Gear", "DetailedChargeState", "x"]), st.binary(max_size=60))
def test_any_payload_of_mqtt_is_values_or_counted(name: str, data: bytes) -> None:
    fields = TeslaFields()
    mapped = fields.json(name, data)
    if mapped is not None:
        assert mapped.values.keys() <= SIGNALS.keys()
        assert fields.malformed == 0
