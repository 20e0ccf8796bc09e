"""Register maps: what is published, what is refused, and what a meter's registers say."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.together import together
from v2g.energy.conductors import Currents
from v2g.errors import ConfigError, FrameError
from v2g.hardware.interfaces import MeterValues
from v2g.hardware.meters.iec62056 import values_of_codes
from v2g.hardware.meters.registers import (
    Kind,
    LineRegisters,
    MeterRegister,
    RegisterMap,
    load_map,
    meter_values,
    shipped_map,
    shipped_maps,
    swapped,
    values_of,
)

REGISTERS = st.builds(
    MeterRegister,
    address=st.integers(0, 400),
    kind=st.sampled_from(get_args(Kind)),
    table=st.sampled_from(("input", "holding")),
    exponent=st.none() | st.integers(0, 400),
)
MAPS = st.builds(
    RegisterMap,
    import_wh=REGISTERS,
    export_wh=REGISTERS,
    voltage=st.none() | REGISTERS,
    power=st.none() | REGISTERS,
    frequency=st.none() | REGISTERS,
    most_gap=st.integers(0, 124),
    most_read=st.integers(4, 125),
)


def needed(registers: RegisterMap) -> set[tuple[str, int]]:
    found = set()
    for _, each in registers.registers():
        found |= {(each.table, each.address + at) for at in range(each.count)}
        found |= set() if each.exponent is None else {(each.table, each.exponent)}
    return found


@given(MAPS)
def test_requests_read_what_is_needed_and_no_gap_that_is_too_wide(registers: RegisterMap) -> None:
    wanted, read = needed(registers), []
    for table, first, count in registers.requests():
        assert 1 <= count <= registers.most_read
        block = [(table, first + at) for at in range(count)]
        assert block[0] in wanted
        assert block[-1] in wanted
        gap = 0
        for each in block:
            gap = 0 if each in wanted else gap + 1
            assert gap <= registers.most_gap
        read += block
    assert wanted <= set(read)


def test_a_value_is_never_split_between_two_requests() -> None:
    """Both halves are of one moment; else a carry between them reads as a jump."""
    parts = RegisterMap(
        import_wh=MeterRegister(address=0, kind="uint64"),
        export_wh=MeterRegister(address=4, kind="uint64"),
        most_read=6,
    )
    assert parts.requests() == (("input", 0, 4), ("input", 4, 4))


REQUESTS = {
    "abb_b23": 5,
    "djsf1352": 1,
    "em24": 7,
    "em340": 2,
    "generic": 1,
    "sdm630": 1,
    "sunspec": 1,
    "sunspec_float": 1,
}


def test_every_shipped_map_is_known_here() -> None:
    assert set(shipped_maps()) == set(REQUESTS)


@together("name", sorted(REQUESTS))
def test_a_shipped_map_says_its_source_and_is_read_in_few_requests(name: str) -> None:
    registers = shipped_map(name)
    assert registers.name
    assert registers.source
    assert len(registers.requests()) == REQUESTS[name]


# Registers as the maker's document has them: first register of the value, contents, and what it shows.
SHOWN: dict[str, tuple[dict[tuple[str, int], list[int]], MeterValues]] = {
    "em340": (
        {
            ("input", 300053 - 300001): [12345, 0],
            ("input", 300079 - 300001): [1, 1],
            ("input", 300037 - 300001): [2310, 0],
            ("input", 300041 - 300001): [0x10000 - 46000, 0xFFFF],
            ("input", 300052 - 300001): [500],
            ("input", 0x00): [2310, 0, 2310, 0, 2310, 0],
            ("input", 0x0C): [20_100, 0, 0, 0, 0, 0],  # mA, without sign
            ("input", 0x12): [0x10000 - 46000, 0xFFFF, 0, 0, 0, 0],
        },
        MeterValues(
            1_234_500_000, 6_553_700_000, 231_000, -4_600, 50_000, Currents(-20_100), (231_000,) * 3, (-4_600, 0, 0)
        ),
    ),
    "em24": (
        {
            ("input", 300063 - 300001): [10, 0],
            ("input", 300093 - 300001): [5, 0],
            ("input", 300037 - 300001): [2299, 0],
            ("input", 300041 - 300001): [70, 0],
            ("input", 300056 - 300001): [499],
            ("input", 0x00): [2299, 0, 2298, 0, 2300, 0],
            ("input", 0x0C): [40, 0, 50, 0, 60, 0],
            ("input", 0x12): [0x10000 - 30, 0xFFFF, 40, 0, 60, 0],
        },
        MeterValues(
            1_000_000, 500_000, 229_900, 7, 49_900, Currents(-40, 50, 60), (229_900, 229_800, 230_000), (-3, 4, 6)
        ),
    ),
    "abb_b23": (
        {
            ("holding", 0x5000): [0, 0, 0, 12_345],
            ("holding", 0x5004): [0, 0, 1, 0],
            ("holding", 0x5B00): [0, 2305, 0, 2306, 0, 2307],
            ("holding", 0x5B0C): [0, 3200, 0, 1600, 0, 0],  # 0.01 A, without sign
            ("holding", 0x5B16): [0x000B, 0x4141, 0xFFFA, 0x5CA4, 0, 0],  # 7376.01 W and -3695 W
            ("holding", 0x5B14): [0x0005, 0x9DE5],
            ("holding", 0x5B2C): [5001],
        },
        MeterValues(
            123_450_000,
            655_360_000,
            230_500,
            3_681,
            50_010,
            Currents(32_000, -16_023),  # what -3695 W need at 230.6 V is more than 16 A
            (230_500, 230_600, 230_700),
            (7_376, -3_695, 0),
        ),
    ),
    "djsf1352": (
        {
            ("holding", 12): [1, 2],
            ("holding", 14): [0, 9],
            ("holding", 0): [4005, 2],
            ("holding", 8): [0x10000 - 1200, 5],
        },
        MeterValues(65_538_000, 9_000, 400_500, -120_000, None),
    ),
}


@together("name", sorted(SHOWN))
def test_a_map_reads_registers_as_its_maker_describes_them(name: str) -> None:
    contents, shown = SHOWN[name]
    registers = shipped_map(name)
    read = {(table, first + at): 0xABCD for table, first, count in registers.requests() for at in range(count)}
    for (table, first), words in contents.items():
        read |= {(table, first + at): word for at, word in enumerate(words)}
    assert values_of(registers, read) == shown


def generic(**changes: int) -> MeterValues:
    words = {("holding", at): 0 for at in range(8)} | {("holding", 1): 5, ("holding", 3): 6}
    return values_of(
        shipped_map("generic"), words | {("holding", int(at.removeprefix("r"))): v for at, v in changes.items()}
    )


def test_what_a_meter_does_not_measure_is_left_out_and_energy_and_power_are_not() -> None:
    def one(kind: Kind, words: list[int], absent: int, quantity: str) -> MeterValues:
        register = MeterRegister(address=4, kind=kind, absent=absent, table="holding")
        registers = msgspec.structs.replace(
            shipped_map("generic"), **{"power": None, "voltage": None, quantity: register}
        )
        read = {("holding", at): 1 for at in range(4)} | {("holding", 4 + at): word for at, word in enumerate(words)}
        return values_of(registers, read)

    assert one("uint16", [0xFFFF], 0xFFFF, "voltage").voltage_mv is None
    assert one("float32", [0x7FC0, 0], 0, "frequency").frequency_mhz is None
    with pytest.raises(FrameError, match="register 4 has no value"):
        one("int32", [0x7FFF, 0xFFFF], 0x7FFFFFFF, "power")
    with pytest.raises(FrameError):
        one("float32", [0x7FC0, 0], 0, "power")
    assert generic() == MeterValues(5_000, 6_000, 0, 0)
    assert swapped(generic(r7=12)) == MeterValues(6_000, 5_000, 0, -12)


@given(st.integers(0, 0xFFFF))
def test_an_exponent_of_no_scale_factor_is_refused(exponent: int) -> None:
    register = MeterRegister(address=0, kind="uint16", exponent=1)
    signed = exponent - 0x10000 if exponent >= 0x8000 else exponent
    if -10 <= signed <= 10:
        assert register.read([3], exponent) == pytest.approx(3 * 10.0**signed)
    else:
        with pytest.raises(FrameError, match="exponent"):
            register.read([3], exponent)


@given(st.sampled_from(get_args(Kind)), st.binary(min_size=8, max_size=8), st.booleans(), st.booleans())
def test_orders_of_words_and_octets_are_those_of_struct(kind: Kind, data: bytes, low: bool, little: bool) -> None:
    """The value in an order is that of the octets put into network order beforehand."""
    register = MeterRegister(
        address=0, kind=kind, words="low_first" if low else "high_first", octets="low_first" if little else "high_first"
    )
    data = data[: 2 * register.count]
    pairs = [data[at : at + 2] for at in range(0, len(data), 2)]
    sent = [pair[::-1] if little else pair for pair in (pairs[::-1] if low else pairs)]
    words = [int.from_bytes(pair, "big") for pair in sent]
    code = {"float32": "f", "float64": "d", "uint16": "H", "int16": "h", "uint32": "I", "int32": "i"}
    wanted = struct.unpack(">" + (code | {"uint64": "Q", "int64": "q"})[kind], data)[0]
    try:
        assert register.read(words) == float(wanted)
    except FrameError:
        assert wanted != wanted or wanted in (float("inf"), float("-inf"))


# -- lines


def line_map(**changes: Any) -> RegisterMap:
    registers = {
        f"line_{name}": LineRegisters(address=10 * place + 1, step=1, kind="int16", absent=0x8000)
        for place, name in enumerate(("current", "power", "voltage"), 1)
    }
    energies = {
        "import_wh": MeterRegister(address=0, kind="int16"),
        "export_wh": MeterRegister(address=1, kind="int16"),
    }
    return RegisterMap(**energies, power=MeterRegister(address=2, kind="int16"), **registers | changes)


def polled(registers: RegisterMap, words: dict[int, int]) -> MeterValues:
    read = {(table, first + at): 0 for table, first, count in registers.requests() for at in range(count)}
    return values_of(registers, read | {("input", at): word & 0xFFFF for at, word in words.items()})


@given(
    st.tuples(*[st.integers(-80, 80)] * 3),
    st.tuples(*[st.integers(207, 253)] * 3),
    st.sampled_from(("no sign and powers", "sign", "powers", "no sign")),
)
def test_the_current_of_each_line_has_the_sign_and_at_least_the_size_of_its_power(
    amperes: tuple[int, int, int], volts: tuple[int, int, int], kind: str
) -> None:
    """Judged by the currents that flow: what a meter shows is made from them."""
    if kind == "no sign":  # one sign for all lines is all that such a meter knows
        amperes = (abs(amperes[0]), abs(amperes[1]), abs(amperes[2]))
    watts = [a * v for a, v in zip(amperes, volts, strict=True)]
    shown = {30 + line: v for line, v in enumerate(volts, 1)} | {2: sum(watts)}
    if "sign" in kind:
        shown |= {10 + line: a if kind == "sign" else abs(a) for line, a in enumerate(amperes, 1)}
    if "powers" in kind:
        shown |= {20 + line: w for line, w in enumerate(watts, 1)}
    gone = ["current" if kind == "powers" else "power"] if kind != "no sign and powers" else []
    registers = line_map(**{f"line_{name}": None for name in gone})
    if any(abs(each) > 0x7FFF for each in shown.values()):
        return
    values = polled(registers, shown)
    assert values.currents is not None
    assert values.currents == pytest.approx([1000 * a for a in amperes], abs=1)
    assert swapped(values).currents == Currents(*(-each for each in values.currents))


@pytest.mark.requirement("R192")
@given(st.sampled_from((11, 12, 13, 21, 22, 23)))
def test_a_line_that_cannot_be_read_is_no_current_of_0(wrong: int) -> None:
    shown = {11: 16, 12: 16, 13: 16, 21: 3680, 22: 3680, 23: 3680, 31: 230, 32: 230, 33: 230, 2: 11_040}
    assert polled(line_map(), shown).currents == Currents(16_000, 16_000, 16_000)
    failed = polled(line_map(), shown | {wrong: 0x8000})
    assert (failed.currents, failed.power_w) == (None, 11_040)


def test_currents_that_cannot_carry_the_power_or_that_nothing_carries_are_left_out() -> None:
    shown = {11: 16, 12: 0, 13: 0, 31: 230, 32: 230, 33: 230, 2: 11_040}  # two current transformers are missing
    bare = line_map(line_power=None)
    assert polled(bare, shown).currents is None
    assert polled(bare, shown | {2: 3_680}).currents == Currents(16_000)
    assert polled(bare, shown | {11: 1_001}).currents is None
    for name in ("current", "power"):
        read = {"import_wh": 1.0, "export_wh": 0.0, "power": 3_680.0, f"line_{name}_1": float("nan")}
        assert meter_values(read).currents is None


def test_a_meter_of_one_phase_measures_l1() -> None:
    whole = line_map()
    one = {
        name: msgspec.structs.replace(getattr(whole, name), lines=1)
        for name in whole.__struct_fields__
        if "line_" in name
    }
    values = polled(line_map(**one), {11: 20, 21: -4600, 31: 230, 2: -4600})
    assert (values.currents, values.line_mv, values.line_w) == (Currents(-20_000), (230_000,), (-4_600,))


@together("name", sorted(REQUESTS))
def test_a_map_measures_lines_if_the_meter_has_them(name: str) -> None:
    assert shipped_map(name).measures_lines is (name not in ("generic", "djsf1352"))


# -- files of users


def example(**changes: Any) -> dict[str, Any]:
    return {"import_wh": {"address": 0}, "export_wh": {"address": 2}} | changes


def wrong() -> Iterator[tuple[dict[str, Any], str]]:
    yield {"import_wh": {"address": 0}}, "the key export_wh is missing"
    yield example(voltage={"address": 4, "unit": "kWh"}), "voltage: the unit kWh must be V or mV"
    yield example(import_wh={"address": 0, "kind": "u32"}), "import_wh.kind: 'u32' is not an allowed value"
    yield example(import_wh={"adress": 0}), "unknown key 'import_wh.adress'"
    yield example(export_wh={"address": 65_535}), "export_wh: float32 at 65535 ends beyond register 65535"
    yield example(line_current={"address": 4, "unit": "V"}), "line_current_1: the unit V must be A or mA"
    yield example(line_power={"address": 65_530, "lines": 4}), "line_power.lines: must be at most 3"
    yield example(line_power={"address": 65_532}), "line_power_3: float32 at 65536 ends beyond register 65535"
    yield example(power={"address": -1}), "power.address: must be at least 0"
    yield example(most_read=126), "most_read: must be at most 125"


@together(("content", "said"), list(wrong()), ids=lambda case: case[1])
def test_a_wrong_file_is_named_with_its_key(content: dict[str, Any], said: str, tmp_path: Path) -> None:
    file = tmp_path / "meter.yaml"
    file.write_text(json.dumps(content))
    with pytest.raises(ConfigError) as caught:
        load_map(file)
    assert str(file) in str(caught.value)
    assert said in str(caught.value)


def test_a_file_of_a_user_is_read_like_a_shipped_one(tmp_path: Path) -> None:
    shipped = Path("v2g/hardware/meters/maps/sdm630.toml")
    (tmp_path / "own.toml").write_bytes(shipped.read_bytes())
    assert load_map(tmp_path / "own.toml") == shipped_map("sdm630")
    (tmp_path / "own.toml").write_bytes(b"\xff\xfe")
    for file in (tmp_path / "own.toml", tmp_path / "absent.toml", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            load_map(file)


def test_an_unknown_map_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown register map 'sdm631'") as caught:
        shipped_map("sdm631")
    assert "sdm630" in caught.value.hint
    assert "map_file" in caught.value.hint


@pytest.mark.requirement("R192")
def test_currents_without_a_sign_have_no_direction_of_their_own() -> None:
    """Of a meter that counts both ways: nothing says that they flow into the vehicle."""
    found = {"1.8.0": 5.0, "2.8.0": 3.0, "31.7.0": 16.0, "32.7.0": 230.0}
    assert values_of_codes(found, export=True).currents is None
    assert values_of_codes(found, export=False).currents == Currents(16_000)
    assert values_of_codes({**found, "16.7.0": -3_680.0}, export=True).currents == Currents(-16_000)
    assert values_of_codes({**found, "22.7.0": 3_680.0, "21.7.0": 0.0}, export=True).currents == Currents(-16_000)
