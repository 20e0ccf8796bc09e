"""A Modbus meter: over a serial cable with pymodbus' server at the other end, and over TCP with our own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from secc.hardware.meter_remote import MeterMains, RemoteMeter
from tests.io.hardware.modbus_meter import SUNSPEC_VALUES, Bench, sunspec
from v2g.errors import ConfigError, FrameError
from v2g.hardware.energy_manager.modbus_server import ILLEGAL_ADDRESS, ModbusConversation, ModbusRefused
from v2g.io.hardware.modbus import ModbusConfig, ModbusMeter
from v2g.io.runtime.clock import Clock


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
    meter = RemoteMeter("M", bench.meter, lambda: 0.0)
    reading = meter.read(7)
    assert (reading.utc_ms, reading.import_mwh, reading.export_mwh) == (7, 1_234_500_000, 6_250_000)
    present = MeterMains(bench.meter, 230_000).present
    assert present.voltage_mv == 231_500
    assert present.voltage_mv * present.current_ma / 1_000_000 == pytest.approx(-4_600, abs=1)


async def test_after_a_refresh_everything_that_flowed_is_there(bench: Bench) -> None:
    """A session's last reading is taken after the contactor has opened."""
    meter = RemoteMeter("M", bench.meter, lambda: 0.0)
    bench.set(import_kwh=1235.0)
    await meter.refresh()
    assert meter.read(0).import_mwh == 1_235_000_000


async def test_registers_continue_when_the_meter_starts_again_at_0(bench: Bench) -> None:
    """A register that falls otherwise falls here, too: the charger stops."""
    meter, found = RemoteMeter("M", bench.meter, lambda: 0.0), []
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
    assert (meter.rollover_mwh, meter.read(0).rolled[1]) == (first, 0)


async def test_broken_frames_are_no_readings_and_the_next_whole_one_is(bench: Bench, until: Callable[..., Any]) -> None:
    faults: list[tuple[str, bool]] = []
    bench.meter.on_fault(lambda word, active: faults.append((word, active)))
    bench.cable.flip = 29
    errors = bench.meter.errors
    bench.set(import_kwh=1240.0)
    await until(lambda: bench.meter.errors > errors + 2 and bench.meter.values.import_mwh == 1_240_000_000)
    assert faults == []


async def test_a_line_that_echoes_what_is_sent_is_read(bench: Bench, until: Callable[..., Any]) -> None:
    bench.cable.echoes = True
    await bench.meter.refresh()
    errors = bench.meter.errors
    bench.set(import_kwh=1_300.0)
    await until(lambda: bench.meter.values.import_mwh == 1_300_000_000)
    assert bench.meter.errors == errors


async def test_a_silent_meter_is_a_fault_until_it_answers_again(bench: Bench, until: Callable[..., Any]) -> None:
    faults: list[tuple[str, bool]] = []
    bench.meter.on_fault(lambda word, active: faults.append((word, active)))
    bench.cable.cut = True
    await until(lambda: faults == [("meter_lost", True)])
    await bench.meter.refresh()  # does not wait for ever
    assert RemoteMeter("M", bench.meter, lambda: 0.0).read(0).shown == {}
    bench.cable.cut = False
    await until(lambda: faults == [("meter_lost", True), ("meter_lost", False)])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
async def test_what_is_no_number_of_energy_is_no_reading(bench: Bench, until: Callable[..., Any], value: float) -> None:
    errors = bench.meter.errors
    bench.set(import_kwh=value)
    await until(lambda: bench.meter.errors > errors + 1)
    assert bench.meter.values.import_mwh == 1_234_500_000


async def test_a_refusal_of_the_meter_is_no_reading(bench: Bench, until: Callable[..., Any]) -> None:
    errors, bench.refuses = bench.meter.errors, True
    await until(lambda: bench.meter.errors > errors + 1)
    assert bench.meter.values.import_mwh == 1_234_500_000


async def test_a_late_answer_is_not_taken_for_that_of_the_next_request(bench: Bench, until: Callable[..., Any]) -> None:
    """Answers on a serial line have no numbers: one that comes after its time-out must not become another value."""
    seen = set()
    bench.meter.on_change(lambda: seen.add((bench.meter.values.import_mwh, bench.meter.values.export_mwh)))
    errors = bench.meter.errors
    for delay_s in (0.12, 0.15, 0.19):
        bench.delay_s = delay_s
        reached = bench.meter.errors + 2
        await until(lambda reached=reached: bench.meter.errors >= reached)
        bench.delay_s = 0.0
        await bench.meter.refresh()
    assert bench.meter.errors > errors
    assert seen == {(1_234_500_000, 6_250_000)}


async def test_two_meters_on_one_line_are_read_in_turn(bench: Bench, until: Callable[..., Any]) -> None:
    """A port has one owner: the second one could not open it."""
    config = ModbusConfig(device=bench.cable.devices[0], baud_rate=19_200, poll_s=0.02, timeout_s=0.1)
    with pytest.raises(ConfigError, match="different settings"):
        await ModbusMeter(msgspec.structs.replace(config, parity="E"), Clock()).open()
    for _ in range(2):
        second = ModbusMeter(config, Clock())
        await second.open()
        bench.set(import_kwh=1_500.0)
        await until(lambda second=second: second.values == bench.meter.values)
        await second.stop()
        bench.set(import_kwh=1_600.0)
        await until(lambda: bench.meter.values.import_mwh == 1_600_000_000)  # the other one stays on the line


# -- Modbus TCP


class TcpMeter:
    """Our server as a meter: `registers` holds what there is, `broken` sends other octets than the right ones."""

    def __init__(self, registers: dict[int, int]) -> None:
        self.registers = registers
        self.asked: list[tuple[str, int, int]] = []
        self.broken: Callable[[bytes], bytes] = lambda answer: answer
        self.connections: dict[Any, asyncio.StreamWriter] = {}

    def read(self, table: str, address: int, count: int) -> list[int]:
        self.asked.append((table, address, count))
        if not all(address + at in self.registers for at in range(count)):
            raise ModbusRefused(ILLEGAL_ADDRESS)
        return [self.registers[address + at] for at in range(count)]

    def refuse(self, *_: object) -> None:
        raise ModbusRefused(ILLEGAL_ADDRESS)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = ModbusConversation(self.read, self.refuse)
        self.connections[asyncio.current_task()] = writer
        try:
            while data := await reader.read(4096):
                for answer in conversation.receive(data):
                    writer.write(self.broken(answer))
        except (FrameError, OSError):
            pass
        writer.close()


@contextlib.asynccontextmanager
async def tcp(registers: dict[int, int], **config: Any) -> AsyncIterator[tuple[TcpMeter, ModbusMeter]]:
    """Serve these registers and yield the meter that reads them, not yet opened."""
    server = TcpMeter(registers)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    settings = {"host": "127.0.0.1", "port": port, "poll_s": 0.02, "timeout_s": 0.1, "lost_s": 0.4} | config
    meter = ModbusMeter(msgspec.convert(settings, ModbusConfig), Clock())
    try:
        yield server, meter
    finally:
        await meter.stop()
        listening.close()
        for writer in server.connections.values():
            writer.transport.abort()
        await asyncio.gather(*server.connections, return_exceptions=True)


@pytest.mark.parametrize("start", [40_000, 50_000, 0])
async def test_a_meter_of_sunspec_is_found_and_read_in_one_request(start: int) -> None:
    async with tcp(sunspec(start, SUNSPEC_VALUES), map="sunspec") as (server, meter):
        await meter.open()
        values = meter.values
        assert (values.import_mwh, values.export_mwh) == (123_457_500, 62_500)
        assert (values.voltage_mv, values.power_w, values.frequency_mhz) == (231_500, -4_600, 0)
        asked = len(server.asked)
        await meter.refresh()
        assert set(server.asked[asked:]) == {("holding", start + 73, 52)}


async def test_a_meter_counts_by_network_as_by_line(until: Callable[..., Any]) -> None:
    """Registers of another map, with import and export exchanged."""
    registers = dict.fromkeys(range(8), 0) | {0: 1, 3: 500, 5: 40_000, 7: 10}
    async with tcp(registers, map="generic", swap=True) as (server, meter):
        await meter.open()
        assert (meter.values.export_mwh, meter.values.import_mwh) == (65_536_000, 500_000)
        assert (meter.values.voltage_mv, meter.values.power_w) == (40_000, -10)
        assert set(server.asked) == {("holding", 0, 8)}


REFUSED = b"\x83\x02"


@pytest.mark.parametrize(
    "broken",
    [
        lambda answer: answer[:7] + REFUSED,
        lambda answer: answer[:5] + b"\x03" + answer[6:7] + REFUSED,
        lambda answer: answer[:5] + bytes((answer[5] - 2, answer[6], answer[7], answer[8] - 2)) + answer[9:-2],
        lambda answer: answer[:-3],
        lambda _: b"",
        lambda answer: b"\xff\xff" + answer[2:],
        lambda answer: answer[:2] + b"\x00\x07" + answer[4:],
        lambda answer: answer[:7] + b"\x04" + answer[8:],
        lambda answer: answer[:6] + b"\x55" + answer[7:],
        lambda answer: answer[:7] + b"\x55" + answer[8:],
    ],
    ids=[
        *("exception cut", "exception", "short", "cut", "none", "number", "protocol", "function", "unit"),
        "unknown function",
    ],
)
async def test_no_broken_answer_becomes_a_reading(broken: Callable[[bytes], bytes], until: Callable[..., Any]) -> None:
    """The last good values stay, the loss is reported, and the next whole answer ends it. It is no defect here."""
    defects: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: defects.append(context))
    async with tcp(dict.fromkeys(range(8), 0) | {1: 7}, map="generic") as (server, meter):
        await meter.open()
        faults: list[tuple[str, bool]] = []
        meter.on_fault(lambda word, active: faults.append((word, active)))
        server.broken = broken
        await until(lambda: faults == [("meter_lost", True)])
        assert meter.values.import_mwh == 7_000
        server.broken = lambda answer: answer
        await until(lambda: faults == [("meter_lost", True), ("meter_lost", False)])
    assert defects == []
