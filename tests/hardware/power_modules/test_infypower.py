"""Infypower modules: the protocol document's examples as public sources quote them, shares, silence, refusals."""

import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hardware.power_modules.infypower_sim import InfypowerBank
from tests.hardware.power_modules.module_bus import ModuleBus
from tests.together import together
from v2g.hardware.interfaces import OFF, Demand, StageReport
from v2g.hardware.power_modules.bank import ModuleReading, load_database
from v2g.hardware.power_modules.infypower import InfypowerConfig, InfypowerModules, infypower_group
from v2g.hardware.simulation import StageConfig, StageLoad

DATABASE = load_database(None)
AT_ONCE = StageConfig(voltage_v_per_s=0, current_a_per_s=0, discharge_tau_s=0)
BATTERY = StageLoad(400_000, contactor_closed=True, max_charge_ma=1_000_000, max_discharge_ma=1_000_000)

OUTPUT = bytes.fromhex("43FA0000 40600000")  # 500 V, 3.5 A (B)
STATE = bytes.fromhex("00000200 1B004000")  # group 2, 27 degrees, walk-in (B and C)
RATINGS = bytes.fromhex("02EE0064 010005DC")  # 750 V, 100 V, 25.6 A, 15 kW (B)
BEHIND_DIODE = bytes.fromhex("13580166 00000000")  # 495.2 V, 35.8 A (B)
SET = bytes.fromhex("000B71B0 00003A98")  # 750 V, 15 A (D)
NONE, OFF_COMMAND = bytes(8), bytes.fromhex("01000000 00000000")


def answered(*answers: tuple[int, bytes]) -> ModuleReading | None:
    """Return the state that these answers of module 1 complete."""
    modules, found = InfypowerModules(InfypowerConfig(modules=(1,))), None
    for identifier, data in answers:
        found = modules.read(identifier, data) or found
    return None if found is None else found[1]


def test_the_examples_of_the_document_are_read() -> None:
    """Responses of module 1 to the controller: identifiers as 0x0284F001 in B."""
    answers = [(0x0283F001, OUTPUT), (0x0284F001, STATE), (0x028AF001, RATINGS), (0x028CF001, BEHIND_DIODE)]
    assert answered(*answers) == ModuleReading(495_200, 3_500, tripped=False, off=False)
    for missing in range(4):
        assert answered(*answers[:missing], *answers[missing + 1 :]) is None
    short = [(identifier, data[:7]) for identifier, data in answers]
    elsewhere = [(identifier ^ 0x0000CF00, data) for identifier, data in answers]
    of_a_group = [(identifier + 0x00400000, data) for identifier, data in answers]
    refused = [(identifier | 2 << 26, data) for identifier, data in answers]
    for wrong in (short, elsewhere, of_a_group, refused):
        assert answered(*wrong) is None


@together(
    ("octets", "tripped", "off"),
    [
        ("FE008000", True, False),  # the controller was silent for too long
        ("1B000100", False, True),
        ("1B000200", True, False),
        ("1B000400", True, False),
        ("1B000800", False, False),  # a fan: a warning
        ("1B001000", True, False),
        ("1B002000", True, False),
        ("1B020000", True, False),
        ("1B000001", True, False),
    ],
)
def test_the_bits_of_a_state_are_read(octets: str, tripped: bool, off: bool) -> None:
    state = bytes.fromhex("00000000" + octets)
    read = answered((0x0283F001, OUTPUT), (0x0284F001, state), (0x028AF001, RATINGS), (0x028CF001, BEHIND_DIODE))
    assert read is not None
    assert (read.tripped, read.off) == (tripped, off)


def test_commands_are_those_of_the_public_examples() -> None:
    group = infypower_group(InfypowerConfig(modules=(0,), max_current_a=15), DATABASE, 0.0)
    group.tick(0.0)
    polls = [(0x028300F0, NONE), (0x028400F0, NONE), (0x028A00F0, NONE), (0x028C00F0, NONE)]
    assert group.frames() == [(0x029A00F0, OFF_COMMAND), *polls]
    for identifier, data in ((0x0283F000, OUTPUT), (0x0284F000, STATE), (0x028AF000, RATINGS)):
        group.receive(identifier, data, 0.0)
    assert group.receive(0x028CF000, BEHIND_DIODE, 0.0)
    group.frames()
    group.drive(Demand(900_000, 20_000, 20_000))
    assert group.frames() == [(0x029C00F0, SET), (0x029A00F0, NONE)]
    assert answered((0x0283F001, struct.pack(">ff", 1, float("nan"))), (0x0284F001, STATE)) is None


class Bus(ModuleBus):
    """Modules of Infypower."""

    def __init__(self, count: int = 3, *, send_s: float = 0.1) -> None:
        config = InfypowerConfig(modules=tuple(range(count)), send_s=send_s, bitrate=500_000)
        super().__init__(infypower_group(config, DATABASE, 0.0), InfypowerBank(config, DATABASE, AT_ONCE))
        self.bank.load = BATTERY
        self.run(0.3)

    def drive(self, demand: Demand) -> None:
        self.group.drive(demand)
        self.run(0.3)


def test_current_is_shared_lowered_at_once_and_never_taken_out_of_the_vehicle() -> None:
    bus = Bus()
    bus.drive(Demand(450_000, 60_000, 150_000))
    assert bus.group.report == StageReport(400_000, 60_000)
    bus.group.drive(Demand(450_000, 30_000, 150_000))
    bus.exchange()  # no interval passes
    bus.bank.tick(bus.now)
    assert bus.bank.current_ma == 30_000
    bus.drive(Demand(450_000, 30_000, 4_000))
    assert bus.bank.current_ma <= 10_000
    for demand in (Demand(450_000, -30_000, 150_000), Demand(450_000), OFF):
        bus.drive(Demand(450_000, 60_000, 150_000))
        bus.drive(demand)
        assert bus.bank.current_ma == 0
        assert {unit.enabled for unit in bus.bank.units.values()} == {False}


def test_a_voltage_is_built_up_with_little_current_and_not_below_what_modules_can() -> None:
    bus = Bus()
    bus.bank.load = None
    bus.drive(Demand(420_000))
    assert bus.group.report == StageReport(420_000, 0)
    bus.bank.load = BATTERY
    bus.run(0.2)
    assert 0 < bus.bank.current_ma <= 1_000
    bus.drive(OFF)
    bus.bank.load = None
    bus.drive(Demand(60_000))
    assert bus.group.report.voltage_mv == 0


def test_a_silent_module_ends_the_power_of_all_until_it_has_switched_itself_off() -> None:
    bus = Bus()
    bus.drive(Demand(450_000, 60_000, 150_000))
    bus.bank.units[1].mute = True
    silent = bus.now
    bus.run(1.0)
    (at, word, active), *_ = [each for each in bus.faults if each[0] > silent]
    assert (word, active) == ("stage_lost", True)
    assert at - silent <= 0.6
    assert bus.bank.current_ma == 20_000  # that of the silent one, behind a contactor that opens
    bus.group.drive(OFF)
    bus.run(11.0)
    assert [each[1:] for each in bus.faults[-2:]] == [("module_lost", True), ("stage_lost", False)]
    bus.drive(Demand(450_000, 60_000, 150_000))
    assert bus.bank.current_ma == 2 * 25_600


def test_a_module_that_was_off_is_only_missed() -> None:
    bus = Bus()
    bus.bank.units[1].dead = True
    bus.run(1.0)
    assert bus.faults[-1][1:] == ("module_lost", True)
    bus.drive(Demand(450_000, 40_000, 150_000))
    assert bus.group.report.current_ma == 40_000


def test_a_module_that_refuses_a_lower_current_is_switched_off() -> None:
    """It may keep its last set-point."""
    bus = Bus(1)
    bus.drive(Demand(450_000, 20_000, 150_000))
    assert bus.group.receive(0x029CF000 | 3 << 26, NONE, bus.now) is False
    bus.run(0.3)
    assert bus.bank.current_ma == 0
    assert bus.faults[-1][1:] == ("stage_tripped", True)
    bus.drive(OFF)
    bus.drive(Demand(450_000, 20_000, 150_000))
    assert bus.bank.current_ma == 20_000
    assert bus.faults[-1][1:] == ("stage_tripped", False)


def test_what_a_bus_cannot_carry_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"6 modules need send_s >= 0\.11"):
        msgspec.convert({"modules": list(range(6))}, InfypowerConfig)
    assert msgspec.convert({"modules": list(range(16)), "send_s": 0.3, "lost_s": 0.6}, InfypowerConfig)
    with pytest.raises(msgspec.ValidationError, match="lost_s"):
        msgspec.convert({"send_s": 0.3}, InfypowerConfig)


@given(
    st.integers(1, 5),
    st.lists(
        st.tuples(
            st.integers(-120_000, 120_000),
            st.integers(0, 60_000),
            st.integers(0, 4),
            st.sampled_from(("dead", "tripped", "none")),
        ),
        max_size=5,
    ),
)
def test_all_modules_together_never_give_more_than_was_demanded(
    count: int, steps: list[tuple[int, int, int, str]]
) -> None:
    bus = Bus(count)
    for current_ma, power_w, address, harm in steps:
        if address in bus.bank.units and harm != "none":
            setattr(bus.bank.units[address], harm, True)
        bus.drive(Demand(450_000, current_ma, power_w))
        if current_ma:
            assert 0 <= bus.bank.current_ma <= max(current_ma, 0)
            assert bus.bank.current_ma * 400 <= power_w * 1_000
        else:
            assert bus.bank.current_ma <= 1_000


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0x0283F000, 0x0284F000, 0x028AF000, 0x028CF000, 0x029AF000, 0x029CF001, 1024, 5])
            | st.integers(0, (1 << 29) - 1),
            st.binary(max_size=64) | st.binary(min_size=8, max_size=8),
        ),
        max_size=40,
    )
)
def test_no_frame_breaks_anything(frames: list[tuple[int, bytes]]) -> None:
    group = infypower_group(InfypowerConfig(modules=(0, 1)), DATABASE, 0.0)
    group.drive(Demand(450_000, 60_000, 150_000))
    for at, (frame_id, data) in enumerate(frames):
        group.receive(frame_id, data, at * 0.1)
        group.tick(at * 0.1)
        group.faults()
        msgspec.convert(msgspec.to_builtins(group.report), StageReport)
        assert all(len(data) == 8 for _, data in group.frames())
