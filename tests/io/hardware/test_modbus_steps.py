"""A Modbus meter, step by step, in simulated time: what it is asked, when, and what becomes of each answer."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ModbusIOException
from pymodbus.logging import Log
from pymodbus.pdu import ExceptionResponse, ModbusPDU
from pymodbus.pdu.register_message import ReadHoldingRegistersResponse, ReadInputRegistersResponse

from tests.io.hardware.modbus_meter import SUNSPEC_VALUES, floats, sunspec
from tests.virtual_time import in_simulated_time
from v2g.energy.conductors import Currents
from v2g.errors import TransportError
from v2g.hardware.interfaces import MeterValues
from v2g.io.hardware.modbus import DRIVER, ModbusConfig, ModbusMeter, modbus_client
from v2g.io.runtime.clock import Clock

LINES = {"line_mv": (231_500,) * 3, "line_w": (4_600, 0, 0)}
BEFORE = MeterValues(1_234_500_000, 6_250_000, 231_500, 4_600, 50_000, Currents(19_900), **LINES)
SDM630 = {0x2A: 231.5, 0x34: 4_600.0, 0x46: 50.0, 0x48: 1_234.5, 0x4A: 6.25}
SDM630 |= {0x00: 231.5, 0x02: 231.5, 0x04: 231.5, 0x06: 19.9, 0x0C: 4_600.0}


def holding(words: list[int]) -> ModbusPDU:
    return ReadHoldingRegistersResponse(registers=words)


def inputs(words: list[int]) -> ModbusPDU:
    return ReadInputRegistersResponse(registers=words)


class Line:
    """A client of pymodbus and a meter, of make `sdm630`: when it was asked what, and what it answers."""

    def __init__(self, **config: Any) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self.asked: list[tuple[float, int, int, int]] = []
        self.answers: dict[str, Callable[[list[int]], ModbusPDU]] = {"holding": holding, "input": inputs}
        self.takes_s, self.closed, self.deaf = 0.01, 0, False
        self.silent: int | None = None
        """The unit that answers too late."""
        self.reachable, self.connected = True, False
        self.registers = dict.fromkeys(range(200), 0)
        for at, value in SDM630.items():
            self.set(at, value)
        self.meter = ModbusMeter(msgspec.convert({"host": "meter"} | config, ModbusConfig), Clock(), lambda _: self)

    def set(self, at: int, value: float) -> None:
        self.registers |= dict(enumerate(floats(value), at))

    @property
    def now(self) -> float:
        return round(self._loop.time() - self._began, 2)

    async def connect(self) -> bool:
        self.connected = self.reachable
        return self.connected

    def close(self) -> None:
        self.closed += 1

    async def read_holding_registers(self, address: int, *, count: int, device_id: int) -> ModbusPDU:
        return await self._read("holding", address, count, device_id)

    async def read_input_registers(self, address: int, *, count: int, device_id: int) -> ModbusPDU:
        return await self._read("input", address, count, device_id)

    async def _read(self, table: str, address: int, count: int, device_id: int) -> ModbusPDU:
        self.asked.append((self.now, address, count, device_id))
        if device_id == self.silent:
            await asyncio.sleep(0.3)
            raise ModbusIOException("no answer")
        try:
            await asyncio.sleep(self.takes_s)
        except asyncio.CancelledError:
            if not self.deaf:
                raise
        return self.answers[table]([self.registers.get(address + at, 0) for at in range(count)])

    async def until(self, at: float) -> None:
        await asyncio.sleep(self._began + at - self._loop.time())


def play(scene: Callable[[Line], Coroutine[Any, Any, None]], **config: Any) -> None:
    async def scenario() -> None:
        line = Line(**config)
        await scene(line)
        await line.meter.stop()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    in_simulated_time(scenario())


def test_it_is_polled_at_its_interval_until_it_is_stopped() -> None:
    async def scene(line: Line) -> None:
        await line.meter.open()
        assert line.now == 0.01
        assert line.meter.values == BEFORE
        assert line.meter.has_voltage
        await line.until(0.45)
        assert line.asked == [(at, 0, 76, 7) for at in (0.0, 0.2, 0.4)]
        line.takes_s = 0.3
        await line.until(1.3)
        assert [at for at, *_ in line.asked] == [0.0, 0.2, 0.4, 0.6, 0.91, 1.22]
        await line.meter.stop()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await line.until(9.0)
        assert (len(line.asked), line.closed) == (6, 1)

    play(scene, unit=7)


def test_it_stops_where_the_library_loses_a_cancellation() -> None:
    """As `asyncio.wait_for` may before Python 3.12."""

    async def scene(line: Line) -> None:
        await line.meter.open()
        line.deaf = True
        await line.until(0.205)
        async with asyncio.timeout(3):
            await line.meter.stop()
        assert (line.now, len(line.asked), line.closed) == (0.4, 2, 1)

    play(scene)


def refuse(_: list[int]) -> ModbusPDU:
    raise ModbusIOException("no answer")


def break_(_: list[int]) -> ModbusPDU:
    raise ValueError("garbage")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (refuse, "it does not answer"),
        (break_, "garbage"),
        (lambda _: ExceptionResponse(4, 2), "it refuses 76 registers from input 0 with exception 2"),
        (holding, "it answers function 3 instead"),
        (lambda words: inputs(words[:-1]), "it sends 75 of 76 registers from input register 0"),
    ],
)
def test_what_is_no_answer_is_no_reading_and_the_next_request_waits_for_a_late_one(
    answer: Callable[[list[int]], ModbusPDU], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def scene(line: Line) -> None:
        await line.meter.open()
        line.answers["input"] = answer
        await line.until(0.45)
        assert (line.meter.errors, line.meter.failure) == (1, said)
        assert f"meter: {said}" in caplog.messages
        assert [at for at, *_ in line.asked] == [0.0, 0.2]  # and not before 0.21 s + timeout_s
        line.answers["input"] = inputs
        line.set(0x48, 1_235.0)
        await line.until(0.55)
        assert [at for at, *_ in line.asked] == [0.0, 0.2, 0.51]
        assert line.meter.values.import_mwh == 1_235_000_000

    play(scene)


def test_a_meter_that_fails_at_once_is_asked_no_more_often() -> None:
    async def scene(line: Line) -> None:
        await line.meter.open()
        line.answers["input"] = refuse
        await line.until(0.65)
        assert [at for at, *_ in line.asked] == [0.0, 0.2, 0.4, 0.6]

    play(scene, timeout_s=0.05)


def test_answers_to_another_function_are_none_of_holding_registers() -> None:
    async def scene(line: Line) -> None:
        line.registers = {1: 7, 3: 5, 5: 40_000, 7: 10}
        await line.meter.open()
        assert line.meter.values == MeterValues(7_000, 5_000, 40_000, 10)
        assert line.asked == [(0.0, 0, 8, 1)]
        line.answers["holding"] = inputs
        await line.until(0.3)
        assert line.meter.failure == "it answers function 4 instead"

    play(scene, map="generic")


def test_the_model_of_a_sunspec_meter_is_looked_for_once() -> None:
    async def scene(line: Line) -> None:
        line.registers = sunspec(50_000, SUNSPEC_VALUES)
        line.answers["input"] = refuse
        await line.meter.open()
        assert line.meter.values == MeterValues(
            123_457_500, 62_500, 231_500, -4_600, 0, Currents(0, 0, -19_900), (231_500,) * 3, (0, 0, -4_600)
        )
        assert [at for _, at, *_ in line.asked] == [40_000, 50_000, 50_002, 50_070, 50_073]
        await line.until(0.3)
        assert [at for _, at, *_ in line.asked[5:]] == [50_073]

    play(scene, map="sunspec")


def test_a_line_that_is_not_open_is_not_asked() -> None:
    async def scene(line: Line) -> None:
        line.reachable = False
        with pytest.raises(TransportError, match="meter:503 unit 1: no TCP connection") as caught:
            await line.meter.open()
        assert "host, port, unit and map" in caught.value.hint
        assert (line.now, line.asked, line.closed) == (5.0, [], 1)
        with pytest.raises(TransportError, match="the meter on meter:503 unit 1 has not answered"):
            _ = line.meter.values

    play(scene, port=503)


@pytest.mark.parametrize(
    ("config", "registers", "said"),
    [
        ({"map": "sdm630"}, {}, "it refuses 76 registers from input 0 with exception 2"),
        ({"map": "abb_b23"}, {}, "it refuses 8 registers from holding 20480 with exception 2"),
        ({"map": "sunspec"}, sunspec(40_000, {0: 103}), r"has the SunSpec models \[1, 103\], but none of \[201"),
    ],
)
def test_a_map_of_another_meter_is_said_at_the_start(
    config: dict[str, Any], registers: dict[int, int], said: str
) -> None:
    async def scene(line: Line) -> None:
        line.registers = registers
        if not registers:
            line.answers = {"holding": lambda _: ExceptionResponse(3, 2), "input": lambda _: ExceptionResponse(4, 2)}
        with pytest.raises(TransportError, match=said):
            await line.meter.open()
        assert (line.now, line.closed) == (5.0, 1)

    play(scene, **config)


def test_a_serial_port_is_opened_where_there_is_one(tmp_path: Path) -> None:
    async def scene(line: Line) -> None:
        with pytest.raises(TransportError, match=r"port .*ttyUSB0 does not exist") as caught:
            await line.meter.open()
        assert "by-id" in caught.value.hint
        assert line.asked == []
        device.touch()
        line.answers["input"] = refuse
        with pytest.raises(TransportError, match=r"meter on .*ttyUSB0 unit 1: it does not answer") as caught:
            await line.meter.open()
        assert "device, baud_rate, parity, unit and map" in caught.value.hint
        assert line.asked

    device = tmp_path / "ttyUSB0"
    play(scene, host="", device=str(device))


def test_the_library_logs_no_missing_answers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "pymodbus.logging")
    Log.error("before")  # with the frames of earlier tests, which the library kept for an error
    caplog.clear()

    async def scene(line: Line) -> None:
        for each in ("one", "another"):  # a text that it repeats it logs as such
            Log.error(each)
        await line.meter.open()
        Log.error("no answer")

    play(scene)
    assert caplog.messages == ["one", "another"]


def test_clients_are_made_as_configured() -> None:
    with asyncio.Runner() as runner:

        async def scenario() -> None:
            tcp = modbus_client(ModbusConfig(host="meter", port=1502, timeout_s=0.7))
            assert isinstance(tcp, AsyncModbusTcpClient)
            serial = modbus_client(ModbusConfig(device="/dev/x", baud_rate=300, parity="E", stop_bits=2))
            assert isinstance(serial, AsyncModbusSerialClient)
            assert (tcp.comm_params.host, tcp.comm_params.port, tcp.comm_params.timeout_connect) == ("meter", 1502, 0.7)
            found = serial.comm_params
            assert (found.baudrate, found.parity, found.stopbits) == (300, "E", 2)
            for each in (tcp, serial):
                assert (each.comm_params.reconnect_delay, each.comm_params.reconnect_delay_max) == (0.1, 2.0)
                assert each.ctx.retries == 0

        runner.run(scenario())


def test_after_a_missing_answer_a_line_rests_before_it_asks_another_meter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late answer would collide with the other meter's."""
    device = tmp_path / "ttyUSB0"
    device.touch()

    async def scene(line: Line) -> None:
        monkeypatch.setattr("v2g.io.hardware.modbus.modbus_client", lambda _: line)
        line.registers |= {1: 7, 3: 5, 5: 40_000, 7: 10}
        kinds = {1: "sdm630", 2: "generic"}
        meters = [ModbusMeter(ModbusConfig(device=str(device), unit=at, map=kinds[at]), Clock()) for at in kinds]
        for each in meters:
            await each.open()
        line.silent = 1
        await line.until(3.0)
        assert [each.lost for each in meters] == [True, False]
        for at, *_, unit in line.asked:
            if unit == 1 and at > 0.1:
                assert not [each for each, *_ in line.asked if at < each < at + 0.59]
        line.silent = None
        await line.until(3.5)
        before = len(line.asked)
        await line.until(4.5)
        assert len(line.asked) - before == 10, "both are asked each 0.2 s again"
        for each in meters:
            await each.stop()
        assert line.closed == 1

    play(scene)


LINE, NETWORK = {"device": "x"}, {"host": "x"}


def test_the_limits_of_its_configuration() -> None:
    assert msgspec.convert(NETWORK, ModbusConfig) == ModbusConfig(
        device="",
        host="x",
        port=502,
        baud_rate=9_600,
        parity="N",
        stop_bits=1,
        unit=1,
        map="sdm630",
        map_file=None,
        registers=None,
        rollover_kwh=None,
        swap=False,
        poll_s=0.2,
        timeout_s=0.3,
        lost_s=2.0,
    )
    limits: dict[str, tuple[Any, ...]] = {
        "port": (1, 65_535),
        "baud_rate": (300, 1_000_000),
        "unit": (0, 255),
        "rollover_kwh": (1, 10**9),
    }
    for key, (least, most) in limits.items():
        for value in (least, most):
            assert getattr(msgspec.convert(NETWORK | {key: value}, ModbusConfig), key) == value
        for value in (least - 1, most + 1):
            with pytest.raises(msgspec.ValidationError):
                msgspec.convert(NETWORK | {key: value}, ModbusConfig)
    for key, most in (("poll_s", 10), ("timeout_s", 10), ("lost_s", 60)):
        assert getattr(msgspec.convert(NETWORK | {key: most}, ModbusConfig), key) == most
        for value in (0, most + 0.1):
            with pytest.raises(msgspec.ValidationError):
                msgspec.convert(NETWORK | {key: value}, ModbusConfig)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(NETWORK | {"speed": 300}, ModbusConfig)
    for unit in (1, 247):
        assert msgspec.convert(LINE | {"unit": unit}, ModbusConfig).unit == unit


MAP = {"import_wh": {"address": 0, "kind": "uint32"}, "export_wh": {"address": 2, "kind": "uint32"}}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "needs either device"),
        (LINE | NETWORK, "needs either device"),
        (LINE | {"unit": 0}, "unit must be 1 to 247"),
        (LINE | {"unit": 248}, "unit must be 1 to 247"),
        (LINE | {"map_file": Path("x"), "registers": MAP}, "map_file and registers"),
    ],
)
def test_what_no_meter_is_like_is_refused(config: dict[str, Any], said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=said):
        msgspec.convert(config, ModbusConfig)


def test_registers_are_those_of_the_configuration_of_a_file_or_of_a_known_meter(tmp_path: Path) -> None:
    file = tmp_path / "map.toml"
    file.write_text('[import_wh]\naddress = 5\nkind = "uint32"\n[export_wh]\naddress = 7\nkind = "uint32"\n')
    found = [
        msgspec.convert(LINE | each, ModbusConfig).register_map().import_wh.address
        for each in ({"registers": MAP}, {"map_file": file}, {"map": "sdm630"})
    ]
    assert found == [0, 5, 0x48]


def test_the_driver_is_one_of_a_meter() -> None:
    assert DRIVER.kind == "meter"
