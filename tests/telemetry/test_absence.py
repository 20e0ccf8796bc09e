"""Which raw values of a CAN signal are no quantity: named states, and J1939's codes."""

import pytest

from tests.together import together
from v2g.telemetry.absence import says_no_value
from v2g.telemetry.mapping import CanMapping

pytestmark = pytest.mark.requirement("R210")

SOC, AMPS, CELSIUS, VOLTS = "battery.soc", "battery.current", "battery.temperature.max", "battery.voltage"


def decoded(layout: str, target: str, names: str, code: int, *more: str, frame_id: int = 5) -> float | None:
    """Return the value of a signal whose raw value has this code, None if it is absent, which has to be counted."""
    text = (f"BO_ {frame_id} M: 8 X", f' SG_ S : {layout} "" X', f"VAL_ {frame_id} S {names} ;" if names else "", *more)
    mapping = CanMapping("\n".join(text) + "\n", {"M.S": target})
    mapped = mapping.decode(frame_id & (1 << 29) - 1, code.to_bytes(8, "little"))
    assert mapped is not None
    assert mapping.absent.total() == len(mapped.absent) == (target not in mapped.values)
    return mapped.values.get(target)


@together(
    ("layout", "target", "names", "code", "expected"),
    [
        ("0|8@1+ (0.5,0) [0|100]", SOC, '100 "Reserve"', 100, 50.0),
        ("0|8@1+ (0.5,0) [0|0]", SOC, '200 "Full" 255 "?"', 200, 100.0),
        ("0|16@1+ (0.1,-100) [-100|900]", AMPS, '1000 "Zero"', 1000, 0.0),
        ("0|16@1+ (0.1,-100) [-100|900]", AMPS, '0 "Off"', 0, None),
        ("0|16@1+ (0.1,0) [0|900]", AMPS, '0 "Off"', 0, 0.0),
        ("0|7@1+ (1,0) [0|127]", CELSIUS, '127 "Not available"', 127, None),
        ("0|8@1+ (1,-40) [-40|215]", CELSIUS, '65 "25 degC"', 65, 25.0),
        ("0|8@1+ (1,-40) [-40|215]", CELSIUS, '66 "25"', 66, None),
        ("0|10@1+ (1,0) [0|1023]", VOLTS, '1023 "SNA"', 1023, None),
        ("0|10@1+ (1,0) [0|1023]", VOLTS, '1022 "Xyzzy" 1023 "Plugh"', 1022, None),
        ("0|10@1+ (1,0) [0|1023]", VOLTS, '1022 "Xyzzy"', 1022, 1022.0),
        ("0|10@1+ (1,0) [0|1023]", VOLTS, '1023 "Maximum"', 1023, 1023.0),
        ("0|10@1+ (1,0) [0|500]", VOLTS, '600 "Xyzzy"', 600, None),
        ("0|10@1+ (1,0) [0|500]", VOLTS, '600 "Xyzzy"', 601, 601.0),
        ("0|8@1+ (1,0) [0|255]", SOC, '30 "Charging"', 30, None),
        ("0|2@1+ (1,0) [0|3]", CELSIUS, '0 "Frosty" 1 "Mild" 2 "Tropical"', 1, None),
        ("0|16@1- (0.1,0) [-3276|3276]", AMPS, '-32768 "Xyzzy"', 0x8000, None),
        ("0|16@1- (0.1,0) [-3276|3276]", AMPS, '65535 "SNA"', 0xFFFF, None),
        ("0|2@1+ (1,0) [0|3]", "vehicle.contactor", '0 "Open" 1 "Closed" 2 "Fault" 3 "SNA"', 0, 0.0),
        ("0|2@1+ (1,0) [0|3]", "vehicle.contactor", '0 "Open" 1 "Closed" 2 "Fault" 3 "SNA"', 1, 1.0),
        ("0|2@1+ (1,0) [0|3]", "vehicle.contactor", '0 "Open" 1 "Closed" 2 "Fault" 3 "SNA"', 2, None),
    ],
)
def test_a_named_state_is_no_number_unless_its_entry_is_a_value(
    layout: str, target: str, names: str, code: int, expected: float | None
) -> None:
    assert decoded(layout, target, names, code) == expected


@together(
    "label",
    ["SNA", "Not available", "NotAvailable", "NOT_AVAIL", "n/a", "N.A.", "Invalid", "InvalidValue", "Error", "Init",
     "DI_UI_SPEED_SNA", "SensorFault", "reserved", "Undefined", "unknown", "Signal nicht verfügbar", "nicht_verfuegbar",
     "Fehler", "ungültig", "Sensor defekt", "indisponible", "Non disponible", "valeur invalide", "no disponible",
     "Réservé", "errore", "ongeldig", "ogiltigt", "无效", "недоступно", "---", "open circuit", "NOT_IN_SPEC"],
)  # fmt: skip
def test_names_that_say_that_there_is_no_value(label: str) -> None:
    assert says_no_value(label)


@together(
    "label", ["Reserve", "Zero", "Full", "Max", "50 %", "Open", "Closed", "Not charging", "Half", "Nominal", "No load"]
)
def test_names_that_may_be_values_or_states(label: str) -> None:
    assert not says_no_value(label)


FORMAT = 'BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";'
J1939 = (FORMAT, f'BA_ "VFrameFormat" BO_ {0x98FEF1FE} 3;')
OTHER = (FORMAT, f'BA_ "VFrameFormat" BO_ {0x98FEF1FE} 1;')


@together(
    ("layout", "target", "code", "more", "expected"),
    [
        ("0|8@1+ (1,-40) [-40|210]", CELSIUS, 0xFF, (), None),
        ("0|8@1+ (0.4,0) [0|102]", SOC, 0xFA, (), 100.0),
        ("0|16@1+ (0.01,0) [0|655]", VOLTS, 0xFE12, (), None),
        ("0|16@1+ (0.01,0) [0|655]", VOLTS, 0xFD12, (), 647.9),
        ("0|16@1+ (0.01,0) [0|655]", VOLTS, 0xFD12, J1939, None),
        ("0|16@1+ (0.01,0) [0|655]", VOLTS, 0xFAFF, J1939, 642.6),
        ("0|16@1+ (0.01,0) [0|655]", VOLTS, 0xFFFF, OTHER, 655.4),
        ("0|16@1+ (0.01,0) [0|655]", VOLTS, 0xFFFF, ('BA_DEF_DEF_ "ProtocolType" "CAN";',), 655.4),
        ("0|16@1- (0.1,0) [-100|100]", AMPS, 0xFFFF, (), -0.1),
        ("0|32@1+ (1,0) [0|0]", "battery.energy.charged", 0xFF000000, (), None),
        ("0|32@1+ (1,0) [0|0]", "battery.energy.charged", 0x10000000, (), 0x10000000),
        ("0|2@1+ (1,0) [0|3]", "vehicle.contactor", 3, (), None),
        ("0|2@1+ (1,0) [0|3]", "vehicle.contactor", 1, (), 1.0),
    ],
)
def test_codes_of_j1939_are_absence_in_its_messages(
    layout: str, target: str, code: int, more: tuple[str, ...], expected: float | None
) -> None:
    assert decoded(layout, target, "", code, *more, frame_id=0x98FEF1FE) == expected


def test_eleven_bits_have_no_codes_of_j1939() -> None:
    assert decoded("0|16@1+ (0.01,0) [0|655]", VOLTS, "", 0xFFFF) == 655.4


def test_a_message_of_j1939_is_found_whoever_sends_it() -> None:
    text = "\n".join((f"BO_ {0x98FEF1FE} M: 8 X", ' SG_ S : 0|8@1+ (0.4,0) [0|100] "%" X', *J1939))
    mapping = CanMapping(text, {"M.S": SOC})
    mapped = mapping.decode(0x0CFEF127, bytes((125, *bytes(7))))
    assert (mapped and mapped.values, mapping.message_name(0x0CFEF127)) == ({SOC: 50.0}, "M")
    assert mapping.decode(0x0CFEF227, bytes(8)) is None


def test_floating_point_that_is_no_number_is_absent() -> None:
    more = "SIG_VALTYPE_ 5 S : 1;"
    assert decoded("0|32@1- (1,0) [0|0]", SOC, "", 0x7FC00000, more) is None
    assert decoded("0|32@1- (1,0) [0|0]", SOC, "", 0x42480000, more) == 50.0


def test_attributes_that_name_a_code_as_not_available() -> None:
    more = 'BA_ "GenSigSNA" SG_ 5 S "0x7F";'
    assert [decoded("0|8@1+ (1,0) [0|0]", CELSIUS, "", code, more) for code in (0x7E, 0x7F)] == [126.0, None]
