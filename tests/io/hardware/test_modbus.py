"""A Modbus meter over a serial cable: pymodbus' server at the other end, and everything that a line can do to it."""

import asyncio
import os
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.client import AsyncModbusSerialClient
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

from secc.hardware.meter_remote import MeterMains, RemoteMeter
from tests.io.conftest import PtyPair
from v2g.errors import ConfigError, FrameError, TransportError
from v2g.hardware.meter_registers import MAPS, Register, RegisterMap
from v2g.io.hardware.modbus import ModbusConfig, ModbusMeter
from v2g.io.runtime.clock import Clock

CLOCK = Clock()


def floats(*values: float) -> list[int]:
    return [word for value in values for word in struct.unpack(">HH", struct.pack(">f", value))]


class Cable(PtyPair):
    """A serial cable that can be cut, or that flips a bit now and then."""

    cut, flip = False, 0
    _count = 0

    def _pump(self, source: int, target: int) -> None:
        data = bytearray(os.read(source, 512))
        self._count += 1
        if self.flip and self._count % self.flip == 0:
            data[len(data) // 2] ^= 0x04
        if not self.cut:
            os.write(target, data)


class Bench:
    """A meter of make `sdm630` and whoever asks it."""

    def __init__(self) -> None:
        self.cable = Cable()
        self.registers = [0] * 200
        self.refuses = False
        self.set(import_kwh=1234.5, export_kwh=6.25, volts=231.5, watts=-4_600.0)
        blank = SimData(address=0, count=200, values=0, datatype=DataType.REGISTERS)
        device = SimDevice(id=1, simdata=[blank], action=self.answer)
        self.server = ModbusSerialServer(device, port=self.cable.devices[1], baudrate=19_200)
        self.meter = ModbusMeter(
            ModbusConfig(
                device=self.cable.devices[0],
                baud_rate=19_200,
                rollover_kwh=2_000,
                poll_s=0.02,
                timeout_s=0.1,
                lost_s=0.4,
            ),
            CLOCK,
        )

    async def answer(
        self, function: int, start: int, address: int, count: int, current: list[int], wanted: object
    ) -> ExcCodes | None:
        """Put what the meter shows into the server's registers; only input registers (function 4) are there."""
        current[address - start : address - start + count] = self.registers[address : address + count]
        return ExcCodes.ILLEGAL_ADDRESS if self.refuses or function != 4 else None

    def set(self, **values: float) -> None:
        """Write as the data sheet says: addresses of the input registers, floats of two words."""
        sheet = {"volts": 30_043, "watts": 30_053, "import_kwh": 30_073, "export_kwh": 30_075}
        for name, value in values.items():
            at = sheet[name] - 30_001
            self.registers[at : at + 2] = floats(value)


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    serving = asyncio.create_task(bench.server.serve_forever())
    await bench.meter.open()
    yield bench
    await bench.meter.stop()
    await bench.server.shutdown()
    await asyncio.gather(serving, return_exceptions=True)
    bench.cable.close()


async def test_the_registers_of_the_data_sheet_are_read(bench: Bench) -> None:
    meter = RemoteMeter("M", bench.meter)
    reading = meter.read(7)
    assert (reading.utc_ms, reading.import_mwh, reading.export_mwh) == (7, 1_234_500_000, 6_250_000)
    present = MeterMains(bench.meter, 230_000).present
    assert present.voltage_mv == 231_500
    assert present.voltage_mv * present.current_ma / 1_000_000 == pytest.approx(-4_600, abs=1)


async def test_after_a_refresh_everything_that_flowed_is_there(bench: Bench) -> None:
    """A session's last reading is taken after the contactor has opened."""
    meter = RemoteMeter("M", bench.meter)
    bench.set(import_kwh=1235.0)
    await meter.refresh()
    assert meter.read(0).import_mwh == 1_235_000_000


async def test_registers_continue_when_the_meter_starts_again_at_0(bench: Bench) -> None:
    """A register that falls otherwise falls here, too: the charger stops."""
    meter, found = RemoteMeter("M", bench.meter), []
    for import_kwh in (1999.5, 0.5, 1.5, 0.25):
        bench.set(import_kwh=import_kwh, export_kwh=0.0)
        await meter.refresh()
        reading = meter.read(0)
        found.append((reading.import_mwh, reading.shown["import_mwh"]))
    first = 2_000_000_000
    assert found == [
        (first - 500_000, first - 500_000),
        (first + 500_000, 500_000),
        (first + 1_500_000, 1_500_000),
        (first + 250_000, 250_000),
    ]
    assert (meter.rollover_mwh, meter.read(0).rolled_export_mwh) == (first, 0)


async def test_broken_frames_are_no_readings_and_the_next_whole_one_is(bench: Bench, until: Callable[..., Any]) -> None:
    faults: list[tuple[str, bool]] = []
    bench.meter.on_fault(lambda word, active: faults.append((word, active)))
    bench.cable.flip = 29
    errors = bench.meter.errors
    bench.set(import_kwh=1240.0)
    await until(lambda: bench.meter.errors > errors + 2 and bench.meter.values.import_mwh == 1_240_000_000)
    assert faults == []


async def test_a_silent_meter_is_a_fault_until_it_is_heard_again(bench: Bench, until: Callable[..., Any]) -> None:
    faults: list[tuple[str, bool]] = []
    bench.meter.on_fault(lambda word, active: faults.append((word, active)))
    bench.cable.cut = True
    await until(lambda: faults == [("meter_lost", True)])
    await bench.meter.refresh()  # does not wait for ever
    assert RemoteMeter("M", bench.meter).read(0).shown == {}
    bench.cable.cut = False
    await until(lambda: faults == [("meter_lost", True), ("meter_lost", False)])


async def test_what_the_library_cannot_make_sense_of_is_no_reading_and_no_end(
    bench: Bench, until: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers whose checksum is right and whose contents are not."""
    faults: list[tuple[str, bool]] = []
    bench.meter.on_fault(lambda word, active: faults.append((word, active)))

    async def broken(*_: object, **__: object) -> object:
        raise struct.error("unpack requires a buffer of 2 bytes")

    with monkeypatch.context() as patched:
        patched.setattr(AsyncModbusSerialClient, "read_input_registers", broken)
        await until(lambda: faults == [("meter_lost", True)])
    await until(lambda: faults == [("meter_lost", True), ("meter_lost", False)])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
async def test_what_is_no_number_of_energy_is_no_reading(bench: Bench, until: Callable[..., Any], value: float) -> None:
    errors = bench.meter.errors
    bench.set(import_kwh=value)
    await until(lambda: bench.meter.errors > errors + 1)
    assert bench.meter.values.import_mwh == 1_234_500_000


async def test_a_meter_that_never_answers_is_named_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("v2g.io.hardware.modbus.START_S", 0.3)
    cable = PtyPair()
    meter = ModbusMeter(ModbusConfig(device=cable.devices[0], timeout_s=0.05), CLOCK)
    with pytest.raises(TransportError, match="does not answer") as caught:
        await meter.open()
    assert "hardware.modbus" in caught.value.hint
    cable.close()


async def test_a_refusal_of_the_meter_is_no_reading(bench: Bench, until: Callable[..., Any]) -> None:
    errors, bench.refuses = bench.meter.errors, True
    await until(lambda: bench.meter.errors > errors + 1)
    assert bench.meter.values.import_mwh == 1_234_500_000


def test_an_unknown_map_is_named() -> None:
    with pytest.raises(ConfigError, match="unknown register map 'sdm999'"):
        ModbusMeter(ModbusConfig(device="x", map="sdm999"), CLOCK)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.booleans())
def test_words_come_in_either_order(value: float, low_first: bool) -> None:
    words = floats(value)
    register = Register(address=0, words="low_first" if low_first else "high_first")
    assert register.read(words[::-1] if low_first else words) == value


@given(st.integers(-(2**63), 2**63 - 1))
def test_integers_of_every_width(value: int) -> None:
    for kind, size in (("int16", 2), ("int32", 4), ("int64", 8)):
        wrapped = int.from_bytes((value & (2 ** (8 * size) - 1)).to_bytes(size, "big"), "big", signed=True)
        data = wrapped.to_bytes(size, "big", signed=True)
        words = [int.from_bytes(data[at : at + 2], "big") for at in range(0, size, 2)]
        assert Register(address=0, kind=kind).read(words) == float(wrapped)  # type: ignore[arg-type]


def test_every_map_is_whole() -> None:
    for registers in MAPS.values():
        assert isinstance(registers, RegisterMap)
        assert registers.import_wh.address != registers.export_wh.address
    with pytest.raises(FrameError):
        Register(address=1).read(floats(float("nan")))
