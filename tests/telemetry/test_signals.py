"""Records on the wire."""

import contextlib
import json

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.together import together
from v2g.errors import CodecError
from v2g.telemetry.signals import CONTEXTS, MAX_UTC_MS, SIGNALS, Key, Record, decode_key, decode_record, encode_record

VALUES = st.sampled_from(sorted(SIGNALS)).flatmap(
    lambda n: st.tuples(st.just(n), st.floats(SIGNALS[n].minimum, SIGNALS[n].maximum))
)
RECORDS = st.builds(
    Record,
    ev=st.text("abcdef0123456789", min_size=1, max_size=64),
    boot=st.integers(1, 2**31),
    seq=st.integers(1, 2**53 - 1),
    utc_ms=st.integers(0, MAX_UTC_MS),
    context=st.sampled_from(CONTEXTS),
    keyframe=st.booleans(),
    signals=st.lists(VALUES, max_size=13).map(dict),
    schema=st.just("v2g-telemetry/5"),
    trip=st.just("1-0"),
    ambient_c=st.none(),
    charging_w=st.none(),
)


@given(RECORDS)
def test_every_record_survives_the_wire(record: Record) -> None:
    assert decode_record(encode_record(record)) == record


@given(st.binary(max_size=300))
def test_garbage_is_one_documented_error(data: bytes) -> None:
    with pytest.raises(CodecError):
        decode_record(data)


@given(RECORDS, st.data())
def test_a_damaged_record_is_a_record_or_one_documented_error(record: Record, data: st.DataObject) -> None:
    body = bytearray(encode_record(record))
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(CodecError):
        assert isinstance(decode_record(bytes(body)), Record)


@pytest.mark.requirement("R53")
@together(
    ("field", "message"),
    [
        ({"schema": "v2g-telemetry/9"}, "0x2B9"),
        ({"context": "flying"}, "context"),
        ({"seq": 0}, "no usable"),
        ({"seq": 2**53}, "no usable"),
        ({"ev": ""}, "no usable"),
        ({"signals": {"battery.voltage": 1e9}}, "outside"),
        ({"signals": {"battery.voltage": "400"}}, "outside"),
        ({"signals": {"engine.torque": 3}}, "unknown signal"),
        ({"signals": {"battery.pressure": 101.0}}, "unknown signal"),  # of a later version
    ],
)
def test_what_the_registry_does_not_know_is_refused(field: dict[str, object], message: str) -> None:
    good: dict[str, object] = {
        "ev": "a", "boot": 1, "seq": 1, "utc_ms": 0, "context": "parked", "keyframe": True, "signals": {}
    }  # fmt: skip
    with pytest.raises(CodecError, match=message):
        decode_record(encode_record(Record(**(good | field))))  # type: ignore[arg-type]


UNITS = {"battery.soc": "%", "battery.power": "W", "grid.frequency": "Hz"}


@pytest.mark.long
@pytest.mark.requirement("R53")
@settings(max_examples=25)
@given(RECORDS)
def test_the_payload_schema_accepts_every_record_and_names_each_unit(record: Record) -> None:
    schema = msgspec.json.schema(Record)
    named = schema["$defs"]["Record"]["properties"]["signals"]["properties"]
    assert named.keys() == SIGNALS.keys()
    assert named["battery.soc"]["vss"] == "Vehicle.Powertrain.TractionBattery.StateOfCharge.Current"
    assert "vss" not in named["grid.frequency"]
    assert {name: named[name]["unit"] for name in UNITS} == UNITS
    jsonschema.validate(json.loads(encode_record(record)), schema)


@pytest.mark.requirement("R53")
@pytest.mark.parametrize(
    "signals",
    [
        {"grid.frequency": "50"},
        {"grid.frequency": 39.9},
        {"battery.soc": 101},
        {"grid.voltage": 230},
        {"battery.power": None},
    ],
)
def test_the_payload_schema_refuses_what_the_registry_does(signals: dict[str, object]) -> None:
    body = {"ev": "a", "boot": 1, "seq": 1, "utc_ms": 0, "context": "parked", "keyframe": True, "signals": signals}
    schema = msgspec.json.schema(Record)
    schema["$defs"]["Record"]["properties"]["ev"].pop("pattern")  # in Python's dialect
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(body, schema)
    with pytest.raises(CodecError):
        decode_record(json.dumps(body).encode())


def test_a_record_larger_than_the_bound_is_refused_for_that() -> None:
    with pytest.raises(CodecError, match="65536"):
        decode_record(b'{"ev":"a","boot":1,"seq":1}' + b" " * 65536)


@together("name", ["a/b", "+", "#", "$x", "", "a" * 65, "a\n", "a b", "\u00e4"])
def test_a_name_that_cannot_be_a_level_of_a_topic_is_no_pseudonym(name: str) -> None:
    with pytest.raises(CodecError, match="no usable"):
        decode_key(json.dumps({"ev": name, "boot": 1, "seq": 1}).encode())


@pytest.mark.requirement("R112", "R160")
def test_the_key_of_a_record_of_a_later_version_can_be_read() -> None:
    """0x2B9 says what is not known; the key says where it belongs."""
    later = b'{"schema":"v2g-telemetry/7","ev":"EV-1","boot":3,"seq":4,"whatever":[1,{"x":null}]}'
    assert decode_key(later) == Key("EV-1", 3, 4, "v2g-telemetry/7")
    with pytest.raises(CodecError, match="0x2B9 UNSUPPORTED_SCHEMA_VERSION 'v2g-telemetry/7'"):
        decode_record(later)
