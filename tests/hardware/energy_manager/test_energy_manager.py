"""What energy managers say, as JSON and as registers: a word, or the one documented error; never half a value."""

import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.hardware import energy, energy_seeds, energy_word
from tests.together import together
from v2g.errors import CodecError, FrameError
from v2g.hardware.energy_manager.commands import CommandStep, EnergyCommand, ManagedEvse, ManagedStation, read_command
from v2g.hardware.energy_manager.modbus_server import ILLEGAL_ADDRESS, ILLEGAL_VALUE, ModbusConversation, ModbusRefused
from v2g.hardware.energy_manager.registers import NOTHING, READ, STRIDE, WRITTEN, EnergyRegisters


def test_a_word_says_what_is_wanted_and_nothing_else() -> None:
    said = b'{"limit_w": 11000, "discharge_w": 0, "setpoint_w": -3000.5, "generation_w": 4000, "valid_s": 90}'
    wanted = EnergyCommand(limit_w=11_000, discharge_w=0, setpoint_w=-3000.5, generation_w=4_000, valid_s=90)
    assert read_command(said) == wanted
    assert read_command(b"{}") == EnergyCommand()
    assert read_command(b'{"limit_w":4200,"valid_s":6e1}') == EnergyCommand(limit_w=4200, valid_s=60)
    steps = (CommandStep(start_s=0, limit_w=5_000), CommandStep(start_s=900, setpoint_w=-1))
    assert read_command(
        b'{"schedule": [{"start_s": 0, "limit_w": 5000}, {"start_s": 900, "setpoint_w": -1}]}'
    ) == EnergyCommand(schedule=steps)


@together(
    ("said", "why"),
    [
        (b'{"limit": 11000}', "limit"),
        (b'{"limit_w": -1}', ">= 0"),
        (b'{"limit_w": 1e9}', "<="),
        (b'{"limit_w": NaN}', "malformed"),
        (b'{"schedule": [{"start_s": 5, "limit_w": 5000}]}', "start_s = 0"),
        (b'{"schedule": [{"start_s": 0}, {"start_s": 0}]}', "ascend"),
        (b'{"schedule": [{"start_s": 0}], "limit_w": 1}', "excludes"),
        (b"[" * 100_000, "bytes"),
        (b"[" * 60_000, ""),
        (b'{"limit_w": "\xff"}', ""),
    ],
)
def test_what_is_no_word_is_refused_with_the_reason(said: bytes, why: str) -> None:
    with pytest.raises(CodecError) as refused:
        read_command(said)
    assert why in str(refused.value)


@given(data=st.binary(max_size=200))
def test_any_text_is_a_word_or_refused(data: bytes) -> None:
    energy_word(data)


@pytest.mark.requirement("R206")
@pytest.mark.parametrize(("outlet_v", "least_ma"), [(690, 6_087), (230, 18_261)])
def test_limits_leave_what_the_law_does_in_power_and_current(outlet_v: int, least_ma: int) -> None:
    limits = b'{"schedule": [{"start_s": 0, "limit_ma": 0}, {"start_s": 9, "limit_ma": 32000, "discharge_ma": 1}]}'
    found = [each.at_least(4200, outlet_v=outlet_v) for each in map(read_command, (b'{"limit_ma": 6000}', limits))]
    assert [found[0].limit_ma, *(each.limit_ma for each in found[1].schedule)] == [least_ma, least_ma, 32_000]
    assert found[1].schedule[1].discharge_ma == 1
    assert read_command(b'{"limit_w": 0, "discharge_w": 0}').at_least(4200).limit_w == 4200
    assert read_command(b'{"setpoint_w": 1}').at_least(4200) == EnergyCommand(setpoint_w=1)


# -- registers


def words(name: str, value: int) -> list[int]:
    data = struct.pack(f">{WRITTEN[name].kind}", value)
    return list(struct.unpack(f">{len(data) // 2}H", data))


def test_what_is_written_is_a_word_of_the_place_where_it_is_written() -> None:
    registers = EnergyRegisters(2)
    assert registers.write(0, [1]) == [], "a heartbeat alone wants nothing: nobody has said yet what"
    assert registers.write(2, words("limit_w", 11_000)) == [(0, EnergyCommand(limit_w=11_000))]
    assert registers.write(6, words("setpoint_w", -4_000)) == [(0, EnergyCommand(limit_w=11_000, setpoint_w=-4_000))]
    assert registers.write(6, words("setpoint_w", NOTHING["i"])) == [(0, EnergyCommand(limit_w=11_000))]
    assert registers.write(12, [1]) == [(0, EnergyCommand(limit_w=11_000, grid_critical=True))]
    assert list(registers.read("holding", 2, 2)) == words("limit_w", 11_000)


@pytest.mark.requirement("R192")
def test_currents_of_conductors_are_written_instead_of_powers() -> None:
    registers = EnergyRegisters(1)
    both = words("limit_ma", 16_000) + words("discharge_ma", 10_000)
    assert registers.write(13, both) == [(0, EnergyCommand(limit_ma=16_000, discharge_ma=10_000))]
    unset = words("limit_ma", NOTHING["I"]) + words("discharge_ma", NOTHING["I"])
    assert registers.write(13, unset) == [(0, EnergyCommand())]


def test_all_that_can_be_read_holds_on_whatever_is_written_or_a_heartbeat() -> None:
    """After a silence none of it does: a heartbeat must not end the fall-back for the place written last alone."""
    registers = EnergyRegisters(2)
    registers.write(2, words("limit_w", 11_000))
    both = words("limit_w", 0) + words("discharge_w", 5_000)
    held = [(0, EnergyCommand(limit_w=11_000)), (2, EnergyCommand(limit_w=0, discharge_w=5_000))]
    assert registers.write(2 * STRIDE + 2, both) == held
    assert registers.write(0, [2]) == registers.write(STRIDE, [3]) == held


def test_a_load_is_measured_only_when_it_is_written() -> None:
    registers = EnergyRegisters(1)
    measured = [(0, EnergyCommand(load_w=9_000))]
    assert registers.write(10, words("load_w", 9_000)) == measured
    assert registers.write(0, [1]) == [(0, EnergyCommand(load_w=9_000, load_repeated=True))]
    assert registers.write(10, words("load_w", 9_000)) == measured


@pytest.mark.requirement("R206")
def test_registers_are_kept_over_a_restart_and_hold_from_the_next_write_on() -> None:
    before, after = EnergyRegisters(2), EnergyRegisters(1)
    before.write(0, [1])
    assert before.kept == "", "nothing was commanded"
    before.write(6, words("setpoint_w", -3_000))
    before.write(STRIDE + 2, words("limit_w", 5_000))
    before.write(2 * STRIDE + 2, words("limit_w", 6_000))
    kept = before.kept
    before.write(0, [2])
    assert before.kept == kept, "heartbeats do not wear out the disk"
    after.resume(kept)
    assert after.write(4, words("discharge_w", 4_000)) == [
        (0, EnergyCommand(setpoint_w=-3_000, discharge_w=4_000)),
        (1, EnergyCommand(limit_w=5_000)),
    ]
    with pytest.raises(msgspec.DecodeError):
        after.resume('{"0": [65536]}')


@together(
    ("address", "values", "code"),
    [
        (2, [0], ILLEGAL_VALUE),  # half of the limit
        (3, [0, 0], ILLEGAL_VALUE),  # half of each
        (2, [0x7FFF, 0xFFFF], ILLEGAL_VALUE),  # 2 GW
        (6, [0x7FFF, 0xFFFF], ILLEGAL_VALUE),
        (1, [0], ILLEGAL_VALUE),  # valid for 0 s
        (16, [1, 1], ILLEGAL_ADDRESS),
        (13, [0, 16_000], ILLEGAL_VALUE),  # amperes beside the limit in watts
        (3 * STRIDE, [1], ILLEGAL_ADDRESS),  # no such EVSE
        (STRIDE + 10, [0, 1], ILLEGAL_VALUE),  # the grid connection is not an EVSE's
    ],
)
def test_half_values_and_nonsense_are_refused_and_change_nothing(address: int, values: list[int], code: int) -> None:
    registers = EnergyRegisters(2)
    registers.write(2, words("limit_w", 11_000))
    before = [list(registers.read("holding", place * STRIDE, 17)) for place in range(3)]
    with pytest.raises(ModbusRefused) as refused:
        registers.write(address, values)
    assert refused.value.code == code
    assert [list(registers.read("holding", place * STRIDE, 17)) for place in range(3)] == before


def test_the_state_is_read_where_the_map_says() -> None:
    registers = EnergyRegisters(2)
    one = ManagedEvse(
        evse=1, status="Occupied", power_w=-7_000, import_wh=2**40, charge_limit_w=11_000, setpoint_w=-7_000
    )
    two = ManagedEvse(evse=2, status="Faulted", power_w=3_000, import_wh=5, export_wh=6, discharge_limit_w=9)
    registers.notify(ManagedStation(heard=True, timeout_s=60, evses=(one, two)))

    def read(place: int, name: str) -> int:
        field = READ[name]
        found = registers.read("input", place * STRIDE + field.at, len(field.registers))
        value: Any = struct.unpack(f">{field.kind}", struct.pack(f">{len(found)}H", *found))[0]
        return int(value)

    assert [read(1, name) for name in ("status", "power_w", "import_wh", "setpoint_w")] == [1, -7_000, 2**40, -7_000]
    assert [read(2, name) for name in ("status", "setpoint_w")] == [4, NOTHING["i"]]
    names = ("version", "status", "power_w", "export_wh", "charge_limit_w", "evses", "timeout_s")
    assert [read(0, name) for name in names] == [1, 1, -4_000, 6, 11_000, 2, 60]
    unmeasured = ManagedEvse(evse=2, status="Faulted", power_w=None)
    registers.notify(ManagedStation(evses=(one, unmeasured)))
    assert [read(place, "power_w") for place in range(3)] == [NOTHING["i"], -7_000, NOTHING["i"]]


def test_fields_stand_side_by_side_and_nowhere_twice() -> None:
    for fields in (WRITTEN, READ):
        taken = [register for field in fields.values() for register in field.registers]
        assert taken == list(range(len(taken)))


@given(data=st.binary(max_size=300))
def test_any_octets_are_answered_or_end_the_connection(data: bytes) -> None:
    energy(data)


def conversation() -> ModbusConversation:
    registers = EnergyRegisters(1)
    return ModbusConversation(registers.read, lambda at, values: void(registers.write(at, values)))


def void(_: object) -> None:
    """Let nothing follow."""


@pytest.mark.parametrize("seed", energy_seeds())
def test_real_requests_are_answered_however_they_are_cut(seed: bytes) -> None:
    whole, octets = conversation(), conversation()
    data = seed[1:]
    answers = b"".join(whole.receive(data))
    assert len(answers) > 8
    assert b"".join(part for at in range(len(data)) for part in octets.receive(data[at : at + 1])) == answers


@pytest.mark.parametrize("head", [b"\0\1\0\1\0\2\1", b"\0\1\0\0\0\1\1", b"\0\1\0\0\1\1\1", b"GET / H"])
def test_what_is_no_modbus_tcp_ends_the_connection(head: bytes) -> None:
    with pytest.raises(FrameError):
        list(conversation().receive(head))
