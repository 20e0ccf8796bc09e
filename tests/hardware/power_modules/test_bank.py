"""Power modules in parallel: shares, losses, silence; frames checked by cantools, which we did not write."""

import struct
from pathlib import Path
from typing import Any

import cantools
import msgspec
import pytest
from cantools.database.can import Database, Message
from hypothesis import given
from hypothesis import strategies as st

from tests.hardware.power_modules.bank_sim import ModuleBank
from tests.hardware.power_modules.module_bus import ModuleBus
from v2g.errors import ConfigError
from v2g.hardware.interfaces import OFF, Demand, StageReport
from v2g.hardware.power_modules.bank import (
    DbcModules,
    IsolationReceiver,
    ModuleGroup,
    ModulesConfig,
    ModuleSignals,
    dbc_group,
    load_database,
)
from v2g.hardware.simulation import StageConfig, StageLoad

DBC = Path("v2g/hardware/power_modules/power_modules.dbc")
PEER = cantools.database.load_file(str(DBC))
DATABASE = load_database(None)
AT_ONCE = StageConfig(voltage_v_per_s=0, current_a_per_s=0, discharge_tau_s=0)
THREE = ModulesConfig(modules=(1, 2, 3), max_current_a=100)
BATTERY = StageLoad(400_000, contactor_closed=True, max_charge_ma=1_000_000, max_discharge_ma=1_000_000)


class Bus(ModuleBus):
    """Modules of the documented DBC file."""

    def __init__(self, config: ModulesConfig = THREE) -> None:
        super().__init__(dbc_group(config, DATABASE, 0.0), ModuleBank(config, DATABASE, AT_ONCE))
        self.bank.load = BATTERY

    def commands(self) -> dict[int, Any]:
        """Return the last command of each module, as an independent reader of the DBC sees it."""
        message = PEER.get_message_by_name("ModuleCommand")
        return {frame_id - message.frame_id: message.decode(data) for frame_id, data in self.sent}


def charging() -> Bus:
    """Return three modules that share 90 A."""
    bus = Bus()
    bus.run(0.3)
    bus.group.drive(Demand(450_000, 90_000, 150_000))
    bus.run(0.5)
    return bus


def test_what_is_demanded_is_shared_and_summed() -> None:
    bus = Bus()
    bus.run(0.3)
    bus.group.drive(Demand(450_000, 90_000, 150_000))
    bus.run(0.3)
    assert bus.commands() == {
        address: {"Enable": 1, "Counter": bus.commands()[1]["Counter"], "VoltageLimit": 450.0, "CurrentSetpoint": 30.0}
        for address in (1, 2, 3)
    }
    assert bus.group.report == StageReport(400_000, 90_000)
    assert bus.group.temperatures == {"module_1": 40.0, "module_2": 40.0, "module_3": 40.0}


@pytest.mark.parametrize("harm", ["dead", "mute"])
def test_what_a_lost_module_may_still_give_is_not_taken_over(harm: str) -> None:
    """`mute`: a module without a bus goes on with its last command until it switches itself off, 1 s later."""
    bus = charging()
    setattr(bus.bank.units[2], harm, True)
    sums = []
    for _ in range(40):
        bus.run(0.05)
        sums.append(bus.bank.current_ma)
    assert max(sums) <= 90_000
    assert sums[-1] == 90_000, "the others carry all of it in the end"
    assert bus.commands()[1]["CurrentSetpoint"] == 45.0


def test_less_is_shared_so_that_it_holds_with_what_a_lost_module_may_still_give() -> None:
    bus = charging()
    bus.bank.units[2].mute = True
    bus.run(0.7)
    bus.group.drive(Demand(450_000, 40_000, 150_000))
    bus.run(0.1)
    assert bus.bank.current_ma == 40_000
    assert bus.commands()[1]["CurrentSetpoint"] == 5.0
    bus.run(1.0)
    assert bus.bank.current_ma == 40_000
    assert bus.commands()[1]["CurrentSetpoint"] == 20.0


def test_a_lost_module_is_known_in_half_a_second_and_the_others_carry_on() -> None:
    bus = charging()
    bus.bank.units[2].dead = True
    died = bus.now
    bus.run(1.5)
    ((at, word, active),) = [each for each in bus.faults if each[0] > died]
    assert (word, active) == ("module_lost", True)
    assert at - died <= THREE.lost_s + 0.1
    assert {address: each["CurrentSetpoint"] for address, each in bus.commands().items()} == {1: 45.0, 2: 0.0, 3: 45.0}
    assert bus.group.report.current_ma == 90_000
    bus.bank.units[2].dead = False
    bus.run(0.5)
    assert bus.faults[-1][1:] == ("module_lost", False)
    assert bus.group.report.current_ma == 90_000


@pytest.mark.parametrize(
    ("harm", "word"), [("tripped", "stage_tripped"), ("dead", "stage_lost"), ("frozen", "stage_lost")]
)
def test_without_any_module_the_stage_is_at_fault(harm: str, word: str) -> None:
    """`frozen`: frames go on, and their counter stands still."""
    bus = Bus()
    bus.run(0.5)
    for unit in bus.bank.units.values():
        setattr(unit, harm, True)
    bus.run(1.5)
    assert [each[1:] for each in bus.faults][-1] == (word, True)
    assert bus.group.report.current_ma == 0


def test_a_voltage_that_nobody_measures_any_more_is_not_0() -> None:
    bus = charging()
    for unit in bus.bank.units.values():
        unit.dead = True
    bus.run(1.5)
    assert bus.group.report == StageReport(400_000, 0)
    bus.group.drive(OFF)
    bus.bank.load = None
    bus.bank.units[2].dead = False
    bus.run(0.5)
    assert bus.group.report == StageReport(0, 0), "one module measures the common output"


def test_a_module_that_is_too_hot_carries_nothing() -> None:
    bus = Bus()
    bus.group.drive(Demand(450_000, 60_000, 150_000))
    bus.bank.units[1].temperature_c = 96
    bus.run(0.5)
    assert {address: each["CurrentSetpoint"] for address, each in bus.commands().items()} == {1: 0.0, 2: 30.0, 3: 30.0}


def test_off_switches_every_module_off_and_silence_does_too() -> None:
    bus = Bus()
    bus.group.drive(Demand(450_000, 60_000, 150_000))
    bus.run(0.5)
    bus.group.drive(OFF)
    bus.run(0.2)
    assert {each["Enable"] for each in bus.commands().values()} == {0}
    assert bus.group.report.current_ma == 0
    bus.group.drive(Demand(450_000, 60_000, 150_000))
    bus.run(0.3)
    assert bus.bank.current_ma == 60_000
    for _ in range(30):  # the controller is dead
        bus.now += 0.05
        bus.bank.tick(bus.now)
    assert bus.bank.current_ma == 0


def test_the_isolation_monitor_is_read_in_its_own_unit_and_missed_when_silent() -> None:
    bus = Bus()
    bus.bank.monitor.resistance_kohm = 432
    bus.run(0.3)
    assert bus.group.resistance_ohm(bus.now) == 432_000
    bus.bank.monitor.dead = True
    bus.run(0.6)
    assert bus.group.resistance_ohm(bus.now) is None


def test_a_frame_of_the_isolation_monitor_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'VERSION ""\nBU_:\nBO_ 7 Imd: 4 V\n SG_ R : 0|16@1+ (0.5,10) [0|0] "kOhm" V\n'
    text += ' SG_ SelfTest : 16|8@1+ (1,0) [0|0] "" V\n'
    database = Database()
    database.add_dbc_string(text)
    receiver = IsolationReceiver(database, "Imd", "R", "", lost_s=1.0, now=0.0, absent=lambda raw: raw == 0xFFFF)
    decoded: list[int] = []
    decode = Message.decode

    def counted(message: Message, *data: Any, **options: Any) -> Any:
        decoded.append(message.frame_id)
        return decode(message, *data, **options)

    monkeypatch.setattr(Message, "decode", counted)
    for data, ohm, state in ((b"\x64\0\2\0", 60_000, 2), (b"\xff\xff\1\0", None, 1)):
        assert receiver.receive(7, data, 0.5)
        assert (receiver.resistance_ohm(0.6), receiver.test_state(0.6)) == (ohm, state)
    assert decoded == [7, 7]


@pytest.mark.long
@given(
    st.integers(1, 8),
    st.integers(-900_000, 900_000),
    st.integers(0, 400_000),
    st.lists(st.tuples(st.integers(0, 7), st.sampled_from(("dead", "tripped"))), max_size=6),
)
def test_all_modules_together_never_give_more_than_was_demanded(
    count: int, current_ma: int, power_w: int, harms: list[tuple[int, str]]
) -> None:
    config = msgspec.structs.replace(THREE, modules=tuple(range(count)))
    bus = Bus(config)
    bus.run(0.2)
    bus.group.drive(Demand(450_000, current_ma, power_w))
    for address, harm in harms:
        if address in bus.bank.units:
            setattr(bus.bank.units[address], harm, True)
        bus.run(0.2)
        total_ma = bus.bank.current_ma
        assert abs(total_ma) <= abs(current_ma)
        assert abs(total_ma) * 400 <= power_w * 1_000
        assert total_ma * current_ma >= 0


@given(st.lists(st.tuples(st.sampled_from((768, 769, 770, 1024, 512, 5)), st.binary(max_size=64)), max_size=30))
def test_no_frame_breaks_anything(frames: list[tuple[int, bytes]]) -> None:
    group = dbc_group(ModulesConfig(modules=(0, 1, 2)), DATABASE, 0.0)
    group.drive(Demand(450_000, 60_000, 150_000))
    for at, (frame_id, data) in enumerate(frames):
        group.receive(frame_id, data, at * 0.1)
        group.tick(at * 0.1)
        group.faults()
        assert abs(group.report.voltage_mv) < 10_000_000
        assert all(len(data) == 8 for _, data in group.frames())


ODD_DBC = """VERSION ""
BU_: A
BO_ 256 ModuleCommand: 8 A
 SG_ Enable : 0|1@1+ (1,0) [0|0] "" A
 SG_ VoltageLimit : 8|12@1+ (0.1,0) [0|0] "V" A
 SG_ CurrentSetpoint : 20|8@1- (0.1,0) [0|0] "A" A
 SG_ Counter : 32|4@1+ (1,0) [0|0] "" A
BO_ 512 ModuleStatus: 8 A
 SG_ Kind M : 0|1@1+ (1,0) [0|0] "" A
 SG_ Voltage m0 : 8|32@1- (1,0) [0|0] "V" A
 SG_ Current m0 : 40|16@1- (0.1,0) [0|0] "A" A
 SG_ State m0 : 56|4@1+ (1,0) [0|0] "" A
 SG_ Counter : 60|4@1+ (1,0) [0|0] "" A
 SG_ Temperature m1 : 8|8@1- (1,0) [0|0] "" A
SIG_VALTYPE_ 512 Voltage : 1;
"""
"""Narrow limits, floating point, multiplexed: all that other makes do."""


@pytest.fixture
def odd(tmp_path: Path) -> ModuleGroup:
    path = tmp_path / "odd.dbc"
    path.write_text(ODD_DBC)
    return dbc_group(ModulesConfig(isolation="", modules=(1,)), load_database(path), 0.0)


def test_a_demand_beyond_what_a_message_can_say_is_the_most_that_it_can(odd: ModuleGroup) -> None:
    odd.receive(513, struct.pack("<BfhB", 0, 400.0, 10, 0x11), 0.0)
    for current_ma, reported in ((200_000, 12.7), (-200_000, -12.8)):
        odd.frames()
        odd.drive(Demand(920_000, current_ma, 100_000))
        (_, data), *_ = odd.frames()
        command = cantools.database.load_string(ODD_DBC).decode_message("ModuleCommand", data)
        assert (command["VoltageLimit"], command["CurrentSetpoint"]) == pytest.approx((409.5, reported))


@pytest.mark.parametrize(
    "frame",
    [struct.pack("<BfhB", 0, value, 10, 0x21) for value in (float("nan"), float("inf"))] + [bytes((1, 30, *[0] * 6))],
    ids=["nan", "inf", "another part"],
)
def test_a_frame_without_numbers_or_with_another_part_is_no_status(odd: ModuleGroup, frame: bytes) -> None:
    assert odd.receive(513, struct.pack("<BfhB", 0, 400.0, 10, 0x11), 0.0)
    assert not odd.receive(513, frame, 0.1)
    assert odd.report == StageReport(400_000, 1_000)


def test_a_temperature_in_frames_of_its_own_counts(odd: ModuleGroup) -> None:
    for counter, tripped in ((0x11, False), (0x21, True)):
        odd.receive(513, struct.pack("<BfhB", 0, 400.0, 10, counter), 0.0)
        assert [each.reading.tripped for each in odd.modules] == [tripped]
        odd.receive(513, bytes((1, 96, *[0] * 6)), 0.1)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (ModulesConfig(command="Order"), "no message 'Order'"),
        (ModulesConfig(signals=ModuleSignals(voltage="Volts")), "no signal 'Volts'"),
        (ModulesConfig(command="Parts"), "no frame of Parts has all of Enable, VoltageLimit, CurrentSetpoint, Counter"),
        (ModulesConfig(command="Near"), "Near: no identifier for module 1"),
        (ModulesConfig(command="Same", modules=(1, 2)), "ModuleStatus of a module has the identifier 0x302 of"),
        (
            ModulesConfig(isolation="Same", signals=ModuleSignals(resistance="VoltageLimit")),
            "ModuleStatus of a module has the identifier 0x301 of",
        ),
    ],
)
def test_a_dbc_that_lacks_something_is_named(config: ModulesConfig, said: str, tmp_path: Path) -> None:
    text, signals = DBC.read_text(), DBC.read_text().partition("ModuleCommand: 8")[2].partition("BO_ 768")[0]
    parts = (
        signals.replace("tage", "tage m0").replace("Setpoint", "Setpoint m1").replace("tage m0Limit", "tageLimit m0")
    )
    messages = f'BO_ 100 Parts: 8{parts} SG_ M M : 48|4@1+ (1,0) [0|0] "" M\n'
    for number, name in ((0x7FF, "Near"), (769, "Same")):
        messages += f"BO_ {number} {name}: 8{signals}"
    path = tmp_path / "more.dbc"
    path.write_text(text.replace("BO_ 1025", messages + "BO_ 1025"))
    with pytest.raises(ConfigError, match=said):
        dbc_group(config, load_database(path), 0.0)


def test_an_address_is_given_once() -> None:
    with pytest.raises(ValueError, match="an address is twice in modules"):
        ModulesConfig(modules=(1, 2, 1))


def test_the_highest_identifier_is_one(tmp_path: Path) -> None:
    path = tmp_path / "high.dbc"
    path.write_text(DBC.read_text().replace("BO_ 512 ", "BO_ 2046 "))
    ((frame_id, _),) = DbcModules(ModulesConfig(modules=(1,)), load_database(path)).command(1, 0, 0, 0, on=True)
    assert frame_id == 0x7FF


def test_a_status_in_several_frames_is_named(tmp_path: Path) -> None:
    path = tmp_path / "split.dbc"
    path.write_text(ODD_DBC.replace("SG_ State m0", "SG_ State m1"))
    with pytest.raises(ConfigError, match="no frame of ModuleStatus has all of State, Voltage, Current"):
        dbc_group(ModulesConfig(isolation="", modules=(1,)), load_database(path), 0.0)


def test_a_frame_without_the_isolation_resistance_is_none_of_its_monitor() -> None:
    text = (
        'VERSION ""\nBU_:\nBO_ 7 Imd: 4 V\n SG_ M M : 0|8@1+ (1,0) [0|0] "" V\n SG_ R m1 : 8|16@1+ (1,0) [0|0] "" V\n'
    )
    alone = 'BO_ 8 Alone: 2 V\n SG_ R : 0|16@1+ (1,0) [0|0] "kOhm" V\n'
    database = Database()
    database.add_dbc_string(text + ' SG_ Other m2 : 8|16@1+ (1,0) [0|0] "" V\n' + alone)
    parts = IsolationReceiver(database, "Imd", "R", "", lost_s=1.0, now=0.0, absent=lambda _: False)
    assert [parts.receive(7, bytes((part, 5, 0, 0)), 0.0) for part in (1, 2)] == [True, False]
    whole = IsolationReceiver(database, "Alone", "R", "", lost_s=1.0, now=0.0, absent=lambda _: False)
    assert whole.receive(8, b"\5\0", 0.0)
    assert whole.resistance_ohm(0.1) == 5_000


OF_OTHER_MAKES = {
    "a counter of two bits": (("4|4@1+", "4|2@1+"), (0x201, 400.0, 30.0)),
    "floating point": (("24|16@1- (0.1,0)", "24|32@1- (1,0)"), (0x201, 400.0, 29.999)),
    "an identifier of 29 bits": (("BO_ 512", "BO_ 2147484160"), (0x8000_0201, 400.0, 30.0)),
    "an offset beyond 0": (('0|1@1+ (1,0) [0|1] ""', '0|1@1+ (1,1) [0|1] ""'), (0x201, 400.0, 30.0)),
    "one frame of several": (("SG_ VoltageLimit :", "SG_ M M : 48|4@1+ (1,0) [0|0] \"\" A\n SG_ VoltageLimit m3 :"),
                             (0x201, 400.0, 30.0)),
}  # fmt: skip


@pytest.mark.parametrize(("change", "told"), OF_OTHER_MAKES.values(), ids=OF_OTHER_MAKES)
def test_modules_of_another_make_get_each_command(
    change: tuple[str, str], told: tuple[int, float, float], tmp_path: Path
) -> None:
    before, middle, after = DBC.read_text().partition("BO_ 768")
    text = before.replace(*change) + middle + after
    if "32@1-" in change[1]:
        text += "SIG_VALTYPE_ 512 CurrentSetpoint : 1;\n"
    path = tmp_path / "other.dbc"
    path.write_text(text)
    modules = DbcModules(ModulesConfig(modules=(1,)), load_database(path))
    peer = cantools.database.load_string(text).get_message_by_name("ModuleCommand")
    for counter in range(16):
        ((frame_id, data),) = modules.command(1, 400_000, 29_999 if told[2] % 1 else 30_000, counter, on=True)
        read: Any = peer.decode(data)
        assert (frame_id, read["VoltageLimit"], round(read["CurrentSetpoint"], 3)) == told
        assert read["Counter"] == counter % (1 << peer.get_signal_by_name("Counter").length)
    assert "M" not in read or read["M"] == 3
    ((_, data),) = modules.command(1, 400_000, 30_000, 0, on=False)
    off: Any = peer.decode(data)
    assert (off["VoltageLimit"], off["CurrentSetpoint"]) == (0, 0)


def test_a_dbc_may_have_other_units(tmp_path: Path) -> None:
    path = tmp_path / "milli.dbc"
    text = DBC.read_text().replace('(0.1,0) [0|1500] "V"', '(100,0) [0|1500000] "mV"')
    path.write_text(text.replace('"kOhm"', '"MOhm"').replace('"degC"', '"K"'))
    database = load_database(path)
    group = dbc_group(ModulesConfig(modules=(1,)), database, 0.0)
    status = {"State": 1, "Counter": 1, "Voltage": 400_000, "Current": 10, "Temperature": 25}
    assert group.receive(0x301, cantools.database.load_string(text).encode_message("ModuleStatus", status), 0.0)
    assert group.report.voltage_mv == 400_000
    assert database.get_message_by_name("IsolationStatus").get_signal_by_name("Resistance").scale == 1e6


def test_a_dbc_of_another_make_is_described_by_its_names(tmp_path: Path) -> None:
    text = DBC.read_text().replace("ModuleCommand", "PSU_Set").replace("CurrentSetpoint", "I_Set")
    path = tmp_path / "other.dbc"
    path.write_text(text)
    config = ModulesConfig(dbc=path, command="PSU_Set", signals=ModuleSignals(current_setpoint="I_Set"))
    group = dbc_group(config, load_database(path), 0.0)
    group.tick(0.0)
    assert group.frames()[0][0] == 513
    path.write_text("no DBC")
    with pytest.raises(ConfigError, match=r"other\.dbc"):
        load_database(path)
