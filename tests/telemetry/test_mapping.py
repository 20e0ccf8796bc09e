"""CAN frames to signals."""

from typing import Any

import cantools
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from tests.telemetry.makes import MAKES
from tests.together import together
from v2g.dbc import identity
from v2g.errors import ConfigError
from v2g.telemetry.batch import Batcher
from v2g.telemetry.mapping import CanMapping, normalised
from v2g.telemetry.signals import SIGNALS, decode_record, encode_record
from v2g.telemetry.simulated_battery import BATTERY_SIGNALS, battery_dbc

MOTOROLA = """VERSION ""
NS_ :
BS_:
BU_: B
BO_ 1840 PackBE: 4 B
 SG_ Volts : 7|16@0+ (0.5,0) [0|1000] "V" B
 SG_ Amps : 23|16@0- (0.25,-100) [-1000|1000] "A" B
"""
GOLDEN = (
    b'{"ev":"ev-1","boot":1,"seq":1,"utc_ms":1700000000000,"context":"highway","keyframe":true,'
    b'"signals":{"battery.current":-10.0,"battery.soc":50.0,"battery.voltage":400.0,'
    b'"location.latitude":52.5,"location.longitude":12.8,"motor.speed":628},"schema":"v2g-telemetry/5",'
    b'"trip":"1-1","ambient_c":null,"charging_w":null}'
)
MAPPING = CanMapping(battery_dbc(), BATTERY_SIGNALS)


@pytest.mark.requirement("R64")
@given(st.floats(0, 1000), st.floats(-1000, 1000), st.floats(0, 100))
def test_decoding_a_frame_gives_the_value_within_one_step(volts: float, amps: float, soc: float) -> None:
    database = cantools.database.load_string(battery_dbc())
    values = {"PackVoltage": volts, "PackCurrent": amps, "StateOfCharge": soc, "StateOfHealth": 99, "AliveCounter": 1}
    mapped = MAPPING.decode(0x100, database.encode_message("BMS_Pack", values))
    assert mapped is not None
    assert abs(mapped.values["battery.voltage"] - volts) <= 0.1
    assert abs(mapped.values["battery.current"] - amps) <= 0.1
    assert abs(mapped.values["battery.soc"] - soc) <= 0.01


@pytest.mark.requirement("R63", "R67")
def test_golden_frame_of_little_endian_and_big_endian_makes_is_the_same_signal() -> None:
    little = MAPPING.decode(0x100, bytes.fromhex("a00f9cff8813c805"))
    big = CanMapping(MOTOROLA, {"PackBE.Volts": "battery.voltage", "PackBE.Amps": "battery.current"}).decode(
        1840, bytes.fromhex("03200168")
    )
    assert little is not None
    assert big is not None
    assert big.values == {"battery.voltage": 400.0, "battery.current": -10.0}
    assert little.values == big.values | {"battery.soc": 50.0, "battery.soh": 100.0}


@pytest.mark.requirement("R63", "R67")
@together(
    ("numbers", "unit", "target", "value"),
    [
        ("(1,0)", "mV", "battery.cell_voltage.max", 4.0),
        ("(0.001,0)", "MilliVolt", "battery.cell_voltage.max", 0.004),
        ("(0.1,0)", "kV", "battery.voltage", None),
        ("(0.0001,0)", "KV", "battery.voltage", 400.0),
        ("(0.5,-100)", "degF", "ambient.temperature", None),
        ("(0.025,0)", "°F", "ambient.temperature", 37.8),
        ("(0.01,0)", "kW", "charging.power", 40_000.0),
        ("(0.01,0)", "Unit_MilePerHour", "vehicle.speed", 64.4),
        ("(0.01,0)", "Kph", "vehicle.speed", 40.0),
        ("(0.001,0)", "bar", "battery.pressure", 400.0),
        ("(1,0)", "Unit_Meter", "vehicle.odometer", 4.0),
        ("(0.01,0)", "?", "battery.voltage", 40.0),
    ],
)
def test_a_value_comes_in_the_registrys_unit(numbers: str, unit: str, target: str, value: float | None) -> None:
    """The database's unit says what a number is: 4000 "mV" are 4 V. One that is unknown is taken for the registry's."""
    dbc = f'BO_ 256 Pack: 2 B\n SG_ S : 0|16@1+ {numbers} [0|0] "{unit}" B\n'
    mapped = CanMapping(dbc, {"Pack.S": target}).decode(256, (4000).to_bytes(2, "little"))
    assert mapped is not None
    assert mapped.values == ({} if value is None else {target: value})


@pytest.mark.requirement("R63", "R67", "R75", "R78")
@pytest.mark.parametrize("make", MAKES)
def test_golden_frames_of_three_makes_are_the_same_record(make: str) -> None:
    dbc, signals, frames = MAKES[make]
    mapping, batcher = CanMapping(dbc, signals), Batcher("ev-1", 1)
    for frame_id, data in frames:
        mapped = mapping.decode(frame_id, bytes.fromhex(data))
        assert mapped is not None
        batcher.offer(mapped.values, 0.0, 1_700_000_000_000, mapped.context)
    record = batcher.flush(1.0)
    assert record is not None
    assert encode_record(record) == GOLDEN
    assert decode_record(GOLDEN) == record
    assert (mapping.unknown_ids, mapping.malformed) == ({}, {})


@pytest.mark.requirement("R64")
@pytest.mark.parametrize("make", MAKES)
@given(st.data())
def test_each_value_of_a_make_survives_within_one_step(make: str, data: st.DataObject) -> None:
    """cantools encodes; one step is that of the DBC, or of the registry if it is coarser."""
    dbc, signals, _ = MAKES[make]
    mapping = CanMapping(dbc, signals)
    for message in cantools.database.load_string(dbc, "dbc").messages:
        if message.is_multiplexed():
            continue
        values = {each.name: data.draw(st.floats(*_limits(each))) for each in message.signals if not each.choices}
        values |= {each.name: next(iter(each.choices)) for each in message.signals if each.choices}
        mapped = mapping.decode(message.frame_id, message.encode(values, strict=False))
        assert mapped is not None
        for each in message.signals:
            target = signals[f"{message.name}.{each.name}"]
            if target in mapped.values:
                step = abs(each.scale) + SIGNALS[target].resolution / 2
                assert abs(mapped.values[target] - values[each.name]) <= step * 1.000001
        assert all(
            signals[f"{message.name}.{each.name}"] in mapped.values for each in message.signals if not each.choices
        )


def _limits(signal: Any) -> tuple[float, float]:
    """Return what a signal can hold and the registry accepts."""
    low, high = (
        (0, 2**signal.length - 1) if not signal.is_signed else (-(2**signal.length) // 2, 2**signal.length // 2 - 1)
    )
    ends = sorted((low * signal.scale + signal.offset, high * signal.scale + signal.offset))
    return max(signal.minimum, ends[0] + abs(signal.scale)), min(
        100 if signal.unit == "%" else signal.maximum, ends[1] - abs(signal.scale)
    )


@pytest.mark.requirement("R65")
@given(st.dictionaries(st.sampled_from(sorted(SIGNALS)), st.floats(allow_nan=False, allow_infinity=False)))
def test_normalising_twice_changes_nothing(values: dict[str, float]) -> None:
    once = normalised(values)
    assert normalised(once) == once
    assert all(SIGNALS[name].minimum <= value <= SIGNALS[name].maximum for name, value in once.items())


@pytest.mark.requirement("R65")
def test_input_that_is_replayed_makes_no_new_record() -> None:
    batcher = Batcher("ev-1", 1)
    for now in (0.0, 1.0, 2.0):
        for frame_id, data in MAKES["synthetic A, little-endian"][2]:
            mapped = CanMapping(*MAKES["synthetic A, little-endian"][:2]).decode(frame_id, bytes.fromhex(data))
            assert mapped is not None
            batcher.offer(mapped.values, now, 1, mapped.context)
        assert (batcher.flush(now + 0.9) is None) is (now > 0)


def test_cells_are_collected_under_their_own_names() -> None:
    cells = (f' SG_ Cell{n} : {n * 16}|16@1+ (0.0001,0) [0|5] "V" B' for n in range(24))
    dbc = "\n".join(('VERSION ""', "NS_ :", "BS_:", "BU_: B", "BO_ 300 Module: 64 B", *cells))
    mapping = CanMapping(dbc, {f"Module.Cell{n}": "battery.cell_voltage" for n in range(24)})
    frame = b"".join((37_000 + n).to_bytes(2, "little") for n in range(24)) + bytes(16)
    mapped = mapping.decode(300, frame)
    assert mapped is not None
    assert mapped.values == {}
    assert mapped.cells == {f"Module.Cell{n}": pytest.approx(3.7 + n / 10_000) for n in range(24)}
    assert mapping.uncovered(300, frame) == bytes(48) + b"\xff" * 16


@pytest.mark.requirement("R70")
@given(st.integers(0, 63), st.integers(1, 32), st.booleans())
def test_bits_that_no_signal_covers_are_those_that_never_change_it(start: int, length: int, little: bool) -> None:
    signal = f' SG_ S : {start}|{length}@{int(little)}+ (1,0) [0|0] "" B'
    dbc = "\n".join(('VERSION ""', "NS_ :", "BS_:", "BU_: B", "BO_ 5 M: 8 B", signal))
    try:
        message = cantools.database.load_string(dbc, "dbc").get_message_by_name("M")
    except cantools.database.UnsupportedDatabaseFormatError:
        reject()
    expected = 0
    for bit in range(64):
        if message.decode((1 << bit).to_bytes(8, "big"))["S"] == 0:
            expected |= 1 << bit
    mapping = CanMapping(dbc, {"M.S": "vehicle.contactor"})
    assert mapping.uncovered(5, bytes(8)) == expected.to_bytes(8, "big")
    assert mapping.uncovered(6, bytes(3)) == b"\xff" * 3


@pytest.mark.requirement("R75", "R108")
def test_the_drive_cycle_becomes_the_context() -> None:
    mapped = MAPPING.decode(0x200, bytes([0x14, 0, 0, 0, 0, 0, 0, 0]))
    assert mapped is not None
    assert mapped.context == "discharging"
    assert mapped.values["vehicle.contactor"] == 1


def test_an_identifier_of_29_bits_is_not_that_of_11_with_its_number() -> None:
    signal = '\n SG_ S : 0|8@1+ (1,0) [0|0] "V" B\n'
    dbc = f"BO_ {0x123} Short: 1 B{signal}BO_ {0x80000123} Long: 1 B{signal}"
    signals = {"Short.S": "battery.voltage", "Long.S": "battery.soc"}
    mapping = CanMapping(dbc, signals)
    for extended, name in ((False, "battery.voltage"), (True, "battery.soc")):
        mapped = mapping.decode(identity(0x123, extended=extended), b"\x07")
        assert mapped is not None
        assert mapped.values == {name: 7}
    only = CanMapping(f"BO_ {0x123} Short: 1 B{signal}", {"Short.S": "battery.voltage"})
    assert only.decode(identity(0x123, extended=True), b"\x07") is None


def test_a_frame_of_11_bits_is_no_message_of_j1939() -> None:
    """The group of TSC1 is 0, and so would be that of each of them."""
    dbc = (
        f'BO_ {0x8C0000FE} TSC1: 1 B\n SG_ S : 0|8@1+ (1,0) [0|0] "V" B\n'
        'BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";\n'
        f'BA_ "VFrameFormat" BO_ {0x8C0000FE} 3;\n'
    )
    mapping = CanMapping(dbc, {"TSC1.S": "battery.voltage"})
    assert mapping.decode(0x0C000003, b"\x07") is not None
    assert mapping.decode(0x123, b"\x07") is None


def test_frames_that_are_too_short_are_named() -> None:
    mapping = CanMapping('BO_ 256 Pack: 2 B\n SG_ S : 0|16@1+ (1,0) [0|0] "V" B\n', {"Pack.S": "battery.voltage"})
    assert mapping.decode(256, b"\x07") is None
    assert mapping.short == {"Pack": 1}


@pytest.mark.requirement("R62", "R63")
@given(st.integers(0, 0x7FF), st.binary(max_size=64))
def test_any_frame_is_decoded_or_counted(frame_id: int, data: bytes) -> None:
    mapping = CanMapping(battery_dbc(), BATTERY_SIGNALS)
    mapped = mapping.decode(frame_id, data)
    if mapped is None:
        assert mapping.unknown_ids.total() + mapping.malformed.total() == 1
    else:
        assert all(SIGNALS[n].minimum <= v <= SIGNALS[n].maximum for n, v in mapped.values.items())


@pytest.mark.parametrize(
    ("dbc", "signals", "message"),
    [
        ("this is no database", {}, "CAN database"),
        (MOTOROLA, {"PackBE.Watts": "battery.voltage"}, "no signal 'PackBE.Watts'"),
        (MOTOROLA, {"PackBE.Volts": "engine.torque"}, "unknown target"),
    ],
)
def test_a_database_or_mapping_that_does_not_fit_is_refused(dbc: str, signals: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CanMapping(dbc, signals)
