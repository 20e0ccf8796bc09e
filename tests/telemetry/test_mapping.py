"""CAN frames to signals."""

import cantools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evcc.gateway import BATTERY_SIGNALS
from evcc.hardware.ecu import battery_dbc
from v2g.errors import ConfigError
from v2g.telemetry.mapping import CanMapping
from v2g.telemetry.signals import SIGNALS

MOTOROLA = """VERSION ""
NS_ :
BS_:
BU_: B
BO_ 1840 PackBE: 4 B
 SG_ Volts : 7|16@0+ (0.5,0) [0|1000] "V" B
 SG_ Amps : 23|16@0- (0.25,-100) [-1000|1000] "A" B
"""
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


@pytest.mark.requirement("R75", "R108")
def test_the_drive_cycle_becomes_the_context() -> None:
    mapped = MAPPING.decode(0x200, bytes([0x14, 0, 0, 0, 0, 0, 0, 0]))
    assert mapped is not None
    assert mapped.context == "discharging"
    assert mapped.values["vehicle.contactor"] == 1


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
