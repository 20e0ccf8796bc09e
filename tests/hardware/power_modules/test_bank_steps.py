"""Power modules step by step: each time, share and frame, by a protocol of this test's own and by small DBC files."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cantools
import msgspec
import pytest
from cantools.database.can import Database

from tests.together import together
from v2g.errors import ConfigError
from v2g.hardware.interfaces import OFF, Demand, StageReport
from v2g.hardware.power_modules.bank import (
    FAILED,
    LEAST_MV,
    PASSED,
    Frame,
    IsolationReceiver,
    ModuleBusConfig,
    ModuleGroup,
    ModuleReading,
    ModulesConfig,
    ModuleSignals,
    dbc_group,
    load_database,
    never,
)


class Command(msgspec.Struct, frozen=True):
    """What a module is told."""

    address: int
    voltage_mv: int
    current_ma: int | None
    counter: int
    on: bool


class Plain:
    """Frames as JSON. A module's identifier is its address, a poll's 100 more."""

    def __init__(self, holds_s: float = 1.0, off_after_s: float = 0.0) -> None:
        self.holds_s, self.off_after_s = holds_s, off_after_s

    def command(
        self, address: int, voltage_mv: int, current_ma: int | None, counter: int, *, on: bool
    ) -> Sequence[Frame]:
        return [(address, msgspec.json.encode(Command(address, voltage_mv, current_ma, counter, on)))]

    def poll(self, address: int) -> Sequence[Frame]:
        return [(100 + address, b"")]

    def read(self, frame_id: int, data: bytes) -> tuple[int, ModuleReading] | None:
        return (frame_id, msgspec.json.decode(data, type=ModuleReading)) if frame_id < 100 else None


class Bank:
    """Modules at addresses from 1 on, at 400 V and without current, and what they are told."""

    def __init__(self, count: int = 2, max_current_a: float = 100.0, protocol: Plain | None = None) -> None:
        config = ModuleBusConfig(modules=tuple(range(1, count + 1)), max_current_a=max_current_a, send_s=0.125)
        self.group = ModuleGroup(config, protocol or Plain(), None, 0.0)
        for address in range(1, count + 1):
            self.hear(address, 0.0)
        self.told()

    def hear(self, address: int, now: float, **more: Any) -> bool:
        reading = ModuleReading(**{"voltage_mv": 400_000, "current_ma": 0} | more)
        return self.group.receive(address, msgspec.json.encode(reading), now)

    def told(self) -> list[Command]:
        return [msgspec.json.decode(data, type=Command) for at, data in self.group.frames() if at < 100]

    def shares(self) -> dict[int, int | None]:
        """Return the current of each module that was last told to work."""
        return {each.address: each.current_ma for each in self.told() if each.on}


# -- shares


@together(
    ("demand", "voltage_mv", "most_a", "share_ma"),
    [
        (Demand(450_000, 90_001, 150_000), 400_000, 100, 45_000),
        (Demand(450_000, -90_001, 150_000), 400_000, 100, -45_000),
        (Demand(450_000, 2, 150_000), 400_000, 100, 1),
        (Demand(450_000, -2, 150_000), 400_000, 100, -1),
        (Demand(450_000, 300_000, 150_000), 400_000, 100.5, 100_500),
        (Demand(450_000, 300_000, 40_000), 400_000, 100, 50_000),
        (Demand(450_000, 3_000_000, 800_000), 400_000, 2_000, 1_000_000),
        (Demand(450_000, 300_000, 1_000), 10_000, 100, 50_000),
        (Demand(450_000, 150_000, 1_000), 9_999, 100, 75_000),
        (Demand(450_000, 0, 1_000), 400_000, 100, None),
    ],
)
def test_each_module_gets_its_share(demand: Demand, voltage_mv: int, most_a: float, share_ma: int | None) -> None:
    bank = Bank(2, most_a)
    for address in (1, 2):
        bank.hear(address, 0.0, voltage_mv=voltage_mv)
    bank.group.drive(demand)
    assert bank.shares() == {1: share_ma, 2: share_ma}


def test_below_10_v_power_does_not_bound_current() -> None:
    assert LEAST_MV == 10_000


def test_shares_change_with_the_frame_that_says_that_a_module_tripped_and_not_with_others() -> None:
    bank = Bank(2)
    bank.group.drive(Demand(450_000, 60_000, 150_000))
    assert bank.shares() == {1: 30_000, 2: 30_000}
    assert bank.hear(1, 0.1, tripped=True) is True
    assert bank.shares() == {2: 60_000}
    assert bank.hear(1, 0.2, tripped=True) is True
    assert bank.told() == []
    assert bank.hear(1, 0.3) is True
    assert bank.shares() == {1: 30_000, 2: 30_000}


def test_without_a_module_nothing_is_shared() -> None:
    bank = Bank(1)
    bank.hear(1, 0.0, tripped=True)
    bank.told()
    bank.group.drive(Demand(450_000, 60_000, 150_000))
    assert [(each.current_ma, each.on) for each in bank.told()] == [(0, False)]


def test_commands_count_modulo_16_and_are_repeated_with_polls() -> None:
    bank, counters = Bank(1), list[int]()
    for step in range(40):
        bank.hear(1, step * 0.0625)
        bank.group.tick(step * 0.0625)
        frames = bank.group.frames()
        if not frames:
            assert bank.group.deadline() > step * 0.0625
            continue
        (_, data), poll = frames
        assert poll == (101, b"")
        counters.append(msgspec.json.decode(data, type=Command).counter)
        assert bank.group.deadline() == step * 0.0625 + 0.125
    assert len(counters) == 20
    assert [(after - before) % 16 for before, after in itertools.pairwise(counters)] == [1] * 19
    assert (min(counters), max(counters)) == (0, 15)


# -- losses


def test_a_module_is_lost_after_half_a_second_and_its_share_is_kept_while_it_may_go_on() -> None:
    """It holds its last command for 1 s, and the last one may be 0.125 s younger than what was last heard."""
    bank = Bank(2)
    bank.group.drive(Demand(450_000, 60_000, 150_000))
    for at, working, shares in (
        (0.4, 2, {1: 30_000, 2: 30_000}),
        (0.499, 2, {}),
        (0.5, 1, {2: 30_000}),
        (1.125, 1, {2: 30_000}),
        (1.126, 1, {2: 60_000}),
    ):
        bank.told()
        bank.hear(2, at)
        bank.group.tick(at)
        assert len(bank.group.working) == working, at
        if shares:
            assert bank.shares() == shares, at
    assert (bank.group.faults(), bank.group.out) == ([("module_lost", True)], (1,))
    bank.hear(1, 1.2)
    assert (bank.group.faults(), bank.group.out) == ([("module_lost", False)], ())
    assert bank.group.faults() == []


def test_what_a_lost_module_may_give_leaves_nothing_of_a_smaller_demand() -> None:
    bank = Bank(2)
    bank.group.drive(Demand(450_000, 60_000, 150_000))
    bank.hear(2, 0.5)
    bank.group.tick(0.5)
    bank.told()
    for current_ma in (30_000, 20_000, -20_000):
        bank.group.drive(Demand(450_000, current_ma, 150_000))
        assert bank.shares() == {2: 0}, current_ma
    bank.group.drive(Demand(450_000, 30_001, 150_000))
    assert bank.shares() == {2: 1}


@pytest.mark.parametrize(
    "before", [OFF, Demand(450_000, 0, 150_000), Demand(1, 0, 150_000)], ids=["off", "0 A", "1 mV"]
)
def test_a_module_without_current_gave_none_when_it_was_lost(before: Demand) -> None:
    bank = Bank(2)
    bank.group.drive(before)
    assert bank.shares() == ({} if before == OFF else {1: None, 2: None})
    bank.hear(2, 0.5)
    bank.group.tick(0.5)
    bank.told()
    bank.group.drive(Demand(450_000, 60_000, 150_000))
    assert bank.shares() == {2: 60_000}


def test_a_module_that_had_tripped_gave_nothing_when_it_was_lost() -> None:
    bank = Bank(2)
    bank.hear(1, 0.0, tripped=True)
    bank.group.drive(Demand(450_000, 50_000, 150_000))
    bank.hear(2, 0.5)
    bank.group.tick(0.5)
    bank.told()
    bank.group.drive(Demand(450_000, 60_000, 150_000))
    assert bank.shares() == {2: 60_000}


@pytest.mark.parametrize(
    ("commanded", "off", "unreachable"),
    [(True, False, True), (True, True, True), (False, False, True), (False, True, False)],
)
def test_no_module_works_while_a_lost_one_may_go_on_for_long(commanded: bool, off: bool, unreachable: bool) -> None:
    """It switches itself off 10 s after the last frame; until then it cannot be switched off."""
    bank = Bank(2, protocol=Plain(off_after_s=10.0))
    bank.group.drive(Demand(450_000, 60_000, 150_000) if commanded else OFF)
    bank.hear(1, 0.25, off=off)
    bank.told()
    for at in (0.75, 10.125, 10.25):
        bank.hear(2, at)
        bank.group.tick(at)
        bank.group.drive(Demand(450_000, 60_000 + int(at), 150_000))
        lost = unreachable and at < 10.25
        assert bool(bank.shares()) is not lost, at
        assert dict(bank.group.faults()).get("stage_lost", at == 10.125 and unreachable) is lost


def test_a_command_that_no_frame_has_answered_counts_as_followed() -> None:
    bank = Bank(2, protocol=Plain(off_after_s=10.0))
    bank.group.drive(Demand(450_000, 60_000, 150_000))
    bank.told()
    bank.hear(2, 0.5)
    bank.group.tick(0.5)
    assert bank.group.faults() == [("stage_lost", True)]
    assert bank.shares() == {}


def test_a_repeated_frame_is_of_the_module_and_says_nothing() -> None:
    bank = Bank(1)
    assert bank.hear(1, 0.1, counter=3, current_ma=1) is True
    assert bank.hear(1, 0.4, counter=3, current_ma=2) is True
    assert bank.group.report == StageReport(400_000, 1)
    bank.group.tick(0.6)
    assert bank.group.working == ()


# -- what it says


def test_a_stage_is_at_the_highest_voltage_and_has_all_currents() -> None:
    bank = Bank(3)
    for address, current_ma in ((1, 10), (2, -3), (3, 5)):
        bank.hear(address, 0.0, voltage_mv=address * 100_000, current_ma=current_ma)
    assert bank.group.report == StageReport(300_000, 12)
    bank.hear(2, 0.6)
    bank.group.tick(0.6)
    assert bank.group.report == StageReport(400_000, 0), "of those that answer"


def test_temperatures_are_those_of_modules_that_have_one_and_answer() -> None:
    bank = Bank(3)
    bank.hear(1, 0.0, temperature_c=41.0)
    bank.hear(2, 0.6, temperature_c=42.0)
    bank.hear(3, 0.6)
    bank.group.tick(0.6)
    assert bank.group.temperatures == {"module_2": 42.0}


def test_a_module_is_absent_and_off_before_its_first_frame() -> None:
    group = ModuleGroup(ModuleBusConfig(modules=(7,)), Plain(off_after_s=10.0), None, 0.0)
    (module,) = group.modules
    assert (module.present, module.working, module.commanded, module.driven) == (False, False, False, False)
    assert module.share_ma == 0
    assert module.reading == ModuleReading(0, 0, tripped=False, off=True, temperature_c=None, counter=None)
    assert group.report == StageReport(0, 0)
    assert group.faults() == [("stage_lost", True)]
    group.tick(0.6)
    assert group.isolation is None
    assert group.resistance_ohm(0.6) is None


def test_what_is_documented_of_a_bus_holds_and_its_devices_have_names() -> None:
    config = ModuleBusConfig()
    assert (config.interface, config.channel, config.bitrate) == ("socketcan", "can0", 500_000)
    assert (config.max_current_a, config.send_s, config.lost_s, config.isolation_s) == (100.0, 0.1, 0.5, 1.0)
    assert config.devices == ("socketcan can0 module 1", "socketcan can0 message IsolationStatus")
    assert ModuleBusConfig(modules=(4, 5), isolation="").devices == (
        "socketcan can0 module 4",
        "socketcan can0 module 5",
    )


# -- DBC files

SMALL = """VERSION ""
BU_: A
BO_ 256 ModuleCommand: 8 A
 SG_ Enable : 0|1@1+ (1,0) [0|0] "" A
 SG_ Reserved : 4|4@1+ (1,-3) [0|0] "" A
 SG_ VoltageLimit : 8|12@1+ (0.1,5) [0|100] "V" A
 SG_ CurrentSetpoint : 20|16@1+ (0.001,-30) [-10|10] "A" A
BO_ 512 ModuleStatus: 8 A
 SG_ Voltage : 0|16@1+ (0.1,0) [0|0] "V" A
 SG_ Current : 16|16@1- (0.1,0) [0|0] "A" A
 SG_ State : 32|8@1+ (1,0) [0|0] "" A
"""
"""Offsets, steps of 1 mA, and no counters; a status has what is needed and nothing else."""

PLAIN_SIGNALS = ModuleSignals(command_counter="", status_counter="", temperature="")


def small(tmp_path: Path) -> ModuleGroup:
    path = tmp_path / "small.dbc"
    path.write_text(SMALL)
    config = ModulesConfig(isolation="", modules=(1,), signals=PLAIN_SIGNALS)
    return dbc_group(config, load_database(path), 0.0)


def status(state: int = 1) -> bytes:
    values = {"Voltage": 40.0, "Current": -1.5, "State": state}
    return bytes(cantools.database.load_string(SMALL).encode_message("ModuleStatus", values))


@pytest.mark.parametrize(
    ("demand", "told"),
    [
        (Demand(50_000, 0, 1_000), (1, 50.0, 0.0)),
        (Demand(50_000, 1_001, 1_000), (1, 50.0, 1.001)),
        (Demand(50_000, 19_999, 100_000), (1, 50.0, 19.999)),
        (Demand(50_000, -29_999, 100_000), (1, 50.0, -29.999)),
        (Demand(50_000, -40_000, 100_000), (1, 50.0, -30.0)),
        (Demand(50_000, 50_000, 100_000), (1, 50.0, 35.535)),
        (Demand(900_000, 1_000, 1_000), (1, 414.5, 1.0)),
    ],
)
def test_a_command_says_what_it_can_of_a_demand(tmp_path: Path, demand: Demand, told: tuple[int, float, float]) -> None:
    group = small(tmp_path)
    assert group.receive(513, status(), 0.0)
    assert group.report == StageReport(40_000, -1_500)
    group.frames()
    group.drive(demand)
    (frame_id, data), *_ = group.frames()
    read: Any = cantools.database.load_string(SMALL).decode_message("ModuleCommand", data)
    assert frame_id == 257
    assert (read["Enable"], read["VoltageLimit"], read["CurrentSetpoint"]) == pytest.approx(told)
    assert read["Reserved"] == 0


def test_a_module_that_may_not_work_is_told_no_current(tmp_path: Path) -> None:
    group = small(tmp_path)
    group.receive(513, status(state=3), 0.0)
    group.drive(Demand(50_000, 10_000, 1_000))
    read: Any = cantools.database.load_string(SMALL).decode_message("ModuleCommand", group.frames()[-1][1])
    assert (read["Enable"], read["VoltageLimit"], read["CurrentSetpoint"]) == (0, 5.0, 0.0)
    assert group.faults() == [("stage_tripped", True)]


@pytest.mark.parametrize(("current_ma", "ampere"), [(300, 0.3), (-300, -0.3), (390, 0.3), (-390, -0.3), (700, 0.7)])
def test_steps_of_a_current_are_never_more_than_demanded_nor_one_too_few(current_ma: int, ampere: float) -> None:
    """0.3 / 0.1 is less than 3 in floating point."""
    database = load_database(None)
    group, peer = dbc_group(ModulesConfig(), database, 0.0), cantools.database.load_string
    frame: Any = {"State": 1, "Counter": 1, "Voltage": 400, "Current": 0, "Temperature": 95}
    group.receive(769, database.encode_message("ModuleStatus", frame), 0.0)
    assert len(group.working) == 1, "95 degrees are allowed"
    group.drive(Demand(1_600_000, current_ma, 100_000))
    text = Path("v2g/hardware/power_modules/power_modules.dbc").read_text()
    told = [peer(text).decode_message("ModuleCommand", data) for _, data in group.frames()]
    read: Any = told[-1]
    assert (read["CurrentSetpoint"], read["VoltageLimit"], read["Counter"]) == (pytest.approx(ampere), 1600.0, 2)


def test_a_setpoint_in_floating_point_is_sent_as_it_is(tmp_path: Path) -> None:
    text = (
        SMALL.replace("20|16@1+ (0.001,-30) [-10|10]", "24|32@1- (1,0) [0|0]")
        + "SIG_VALTYPE_ 256 CurrentSetpoint : 1;\n"
    )
    path = tmp_path / "float.dbc"
    path.write_text(text)
    group = dbc_group(
        ModulesConfig(isolation="", modules=(1,), signals=PLAIN_SIGNALS, max_current_a=900), load_database(path), 0.0
    )
    group.receive(513, status(), 0.0)
    group.drive(Demand(50_000, -800_000, 100_000))
    read: Any = cantools.database.load_string(text).decode_message("ModuleCommand", group.frames()[-1][1])
    assert (read["VoltageLimit"], read["CurrentSetpoint"]) == (50.0, -800.0)


def test_a_dbc_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    path = tmp_path / "keyword.dbc"
    path.write_text('VERSION ""\nBU_: A\nBO_ 1 BO_: 8 A\n SG_ S : 0|8@1- (1,0) [0|0] "" A\n')
    with pytest.raises(ConfigError, match=r"keyword\.dbc: .*syntax") as caught:
        load_database(path)
    assert caught.value.hint == "hardware.can.dbc must be a DBC file"


def test_what_a_dbc_file_has_is_named_where_something_lacks(tmp_path: Path) -> None:
    path = tmp_path / "many.dbc"
    many = "".join(f'BO_ {300 + n} M{n:02}: 1 A\n SG_ S : 0|8@1+ (1,0) [0|0] "" A\n' for n in range(14))
    path.write_text('VERSION ""\nBU_: A\n' + many)
    with pytest.raises(ConfigError) as caught:
        dbc_group(ModulesConfig(), load_database(path), 0.0)
    assert caught.value.hint == "it has " + ", ".join(f"M{n:02}" for n in range(12))


# -- isolation monitor

MONITOR = (
    'VERSION ""\nBU_:\nBO_ 7 Imd: 4 V\n SG_ R : 0|16@1+ (0.5,10) [0|0] "{}" V\n SG_ C : 16|4@1+ (1,0) [0|0] "" V\n'
)
TESTED = ' SG_ SelfTest : 24|2@1+ (1,0) [0|0] "" V\n'
ORDER = 'BO_ 8 Order: 2 V\n SG_ SelfTest : 0|1@1+ (1,0) [0|0] "" V\n SG_ Gain : 8|8@1+ (1,-5) [1|2] "" V\n'


def monitor(text: str, *, counter: str = "C", command: str = "") -> IsolationReceiver:
    database = Database()
    database.add_dbc_string(text)
    return IsolationReceiver(database, "Imd", "R", counter, lost_s=1.0, now=0.0, command=command)


@pytest.mark.parametrize(("unit", "ohm"), [("kOhm", 60_000), ("Ohm", 60), ("", 60)])
def test_a_resistance_is_read_in_its_unit(unit: str, ohm: int) -> None:
    receiver = monitor(MONITOR.format(unit))
    assert receiver.resistance_ohm(0.0) is None
    assert receiver.receive(7, b"\x64\0\1\0", 0.5) is True
    assert receiver.receive(8, b"\x64\0\1\0", 0.5) is False
    assert receiver.resistance_ohm(1.49) == ohm
    assert receiver.resistance_ohm(1.5) is None
    assert never(0xFFFF) is False


def test_a_monitor_whose_counter_stands_still_is_silent() -> None:
    receiver = monitor(MONITOR.format("") + TESTED)
    for at in (0.5, 0.9, 1.4):
        receiver.receive(7, b"\x64\0\1\1", at)
    assert (receiver.resistance_ohm(1.49), receiver.test_state(1.49)) == (60, 1)
    assert (receiver.resistance_ohm(1.5), receiver.test_state(1.5)) == (None, None)
    receiver.receive(7, b"\x64\0\2\2", 1.5)
    assert (receiver.resistance_ohm(2.49), receiver.test_state(2.49)) == (60, 2)


def test_each_frame_of_a_monitor_without_a_counter_counts() -> None:
    receiver = monitor(MONITOR.format(""), counter="")
    for at in (0.5, 0.9, 1.4):
        receiver.receive(7, b"\x64\0\1\1", at)
    assert receiver.resistance_ohm(2.39) == 60


def test_a_group_has_the_monitor_of_its_bus() -> None:
    receiver = monitor(MONITOR.format(""))
    group = ModuleGroup(ModuleBusConfig(), Plain(), receiver, 0.0)
    assert group.isolation is receiver
    assert (PASSED, FAILED) == (2, 3), "what others' monitors say of their test"


def test_a_monitor_is_told_to_test_itself_where_both_messages_have_the_signal() -> None:
    assert monitor(MONITOR.format("")).testable is False
    receiver = monitor(MONITOR.format("") + TESTED + ORDER, command="Order")
    assert receiver.testable is True
    for on, data in ((True, b"\x01\x05"), (False, b"\x00\x05")):
        assert receiver.tell_test(on=on) == (8, data)
    with pytest.raises(ConfigError, match="Imd has no signal 'SelfTest'"):
        monitor(MONITOR.format("") + ORDER, command="Order")
