"""A Modbus meter, step by step, in simulated time: what it is asked, when, and what becomes of each answer."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ModbusIOException

from tests.io.hardware.test_modbus import floats
from tests.virtual_time import VirtualLoop
from v2g.errors import TransportError
from v2g.hardware.interfaces import MeterValues
from v2g.io.hardware.modbus import ModbusConfig, ModbusMeter, _client
from v2g.io.runtime.clock import Clock

BEFORE = MeterValues(1_234_500_000, 6_250_000, 231_500, 4_600, 50_000)


class Answer:
    """Registers, or a refusal."""

    def __init__(self, registers: list[int], function_code: int = 4, exception_code: int | None = None) -> None:
        self.registers, self.function_code = registers, function_code
        if exception_code is not None:
            self.exception_code = exception_code

    def isError(self) -> bool:
        return hasattr(self, "exception_code")


class Line:
    """A client of pymodbus with a meter of make `sdm630` behind it: times of its requests, and what it answers."""

    connected = True

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **config: Any) -> None:
        monkeypatch.setattr("v2g.io.hardware.modbus._client", lambda _: self)
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self.asked: list[tuple[float, int, int, int]] = []
        self.answer: Callable[[list[int]], Answer] = Answer
        self.takes_s, self.closed = 0.01, 0
        self.registers = [0] * 200
        for at, value in ((0x2A, 231.5), (0x34, 4_600.0), (0x46, 50.0), (0x48, 1_234.5), (0x4A, 6.25)):
            self.registers[at : at + 2] = floats(value)
        self.meter = ModbusMeter(msgspec.convert({"host": "meter"} | config, ModbusConfig), Clock())

    @property
    def now(self) -> float:
        return round(self._loop.time() - self._began, 2)

    async def connect(self) -> None:
        """It is connected."""

    def close(self) -> None:
        self.closed += 1

    async def read_input_registers(self, address: int, *, count: int, device_id: int) -> Answer:
        self.asked.append((self.now, address, count, device_id))
        await asyncio.sleep(self.takes_s)
        return self.answer(self.registers[address : address + count])

    async def until(self, at: float) -> None:
        await asyncio.sleep(self._began + at - self._loop.time())


def play(monkeypatch: pytest.MonkeyPatch, scene: Callable[[Line], Coroutine[Any, Any, None]], **config: Any) -> None:
    async def scenario() -> None:
        line = Line(monkeypatch, **config)
        await scene(line)
        await line.meter.stop()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scenario())


def test_it_is_polled_at_its_interval_until_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(line: Line) -> None:
        await line.meter.open()
        assert line.now == 0.01
        assert line.meter.values == BEFORE
        assert line.meter.has_voltage
        await line.until(0.45)
        assert line.asked == [(at, 0x2A, 34, 7) for at in (0.0, 0.2, 0.4)]
        line.takes_s = 0.3
        await line.until(1.3)
        assert [at for at, *_ in line.asked] == [0.0, 0.2, 0.4, 0.6, 0.91, 1.22]
        await line.meter.stop()
        await line.until(9.0)
        assert (len(line.asked), line.closed) == (6, 1)

    play(monkeypatch, scene, unit=7)


def refuse(_: list[int]) -> Answer:
    raise ModbusIOException("no answer")


def break_(_: list[int]) -> Answer:
    raise ValueError("garbage")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (refuse, "it does not answer"),
        (break_, "garbage"),
        (lambda words: Answer(words, exception_code=2), "it refuses 34 registers from input 42 with exception 2"),
        (lambda words: Answer(words, 3), "it answers function 3 instead"),
        (lambda words: Answer(words[:-1]), "it sends 33 of 34 registers from input register 42"),
    ],
)
def test_what_is_no_answer_is_no_reading_and_the_next_request_waits_for_a_late_one(
    answer: Callable[[list[int]], Answer], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(line: Line) -> None:
        await line.meter.open()
        line.answer = answer
        await line.until(0.45)
        assert (line.meter.errors, line.meter.failure) == (1, said)
        assert [at for at, *_ in line.asked] == [0.0, 0.2]  # and not before 0.21 s + timeout_s
        line.answer = Answer
        line.registers[0x48:0x4A] = floats(1_235.0)
        await line.until(0.55)
        assert [at for at, *_ in line.asked] == [0.0, 0.2, 0.51]
        assert line.meter.values.import_mwh == 1_235_000_000

    play(monkeypatch, scene)


def test_a_line_that_is_not_open_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(line: Line) -> None:
        line.connected = False
        with pytest.raises(TransportError, match="the line is not open") as caught:
            await line.meter.open()
        assert "host, port, unit and map" in caught.value.hint
        assert (line.now, line.asked, line.closed) == (5.0, [], 1)

    play(monkeypatch, scene)


def test_a_port_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def scene(line: Line) -> None:
        with pytest.raises(TransportError, match="none does not exist") as caught:
            await line.meter.open()
        assert "by-id" in caught.value.hint
        assert line.asked == []

    play(monkeypatch, scene, host="", device=str(tmp_path / "none"))


def test_clients_are_made_as_configured() -> None:
    with asyncio.Runner() as runner:

        async def scenario() -> None:
            tcp = _client(ModbusConfig(host="meter", port=1502, timeout_s=0.7))
            assert isinstance(tcp, AsyncModbusTcpClient)
            serial = _client(ModbusConfig(device="/dev/x", baud_rate=300, parity="E", stop_bits=2))
            assert isinstance(serial, AsyncModbusSerialClient)
            assert (tcp.comm_params.host, tcp.comm_params.port, tcp.comm_params.timeout_connect) == ("meter", 1502, 0.7)
            found = serial.comm_params
            assert (found.baudrate, found.parity, found.stopbits) == (300, "E", 2)
            for each in (tcp, serial):
                assert (each.comm_params.reconnect_delay, each.comm_params.reconnect_delay_max) == (0.1, 2.0)

        runner.run(scenario())
