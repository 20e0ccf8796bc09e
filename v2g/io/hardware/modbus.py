"""A meter on Modbus RTU or TCP, by pymodbus: polled, since each query takes time."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Protocol

import msgspec
from msgspec import Meta

from v2g.errors import ConfigError, TransportError
from v2g.hardware.energy_manager.modbus_server import Table
from v2g.hardware.meters.registers import RegisterMap, find_model, load_map, shipped_map, values_of
from v2g.io.hardware.driver import Driver
from v2g.io.hardware.readings import MeterReadings, without_echo
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import spawn
from v2g.observe import Observe
from v2g.typed_json import Fields

_log = logging.getLogger(__name__)

START_S: Final = 5.0
"""Time-out of the meter's first answer."""


class ModbusConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A meter on a serial line, or on a network."""

    device: str = ""
    """The serial port of a meter on Modbus RTU, such as /dev/ttyUSB0."""
    host: str = ""
    """Name or address of a meter, or its gateway, on Modbus TCP, instead of `device`."""
    port: Annotated[int, Meta(ge=1, le=65_535)] = 502
    """Port of `host`."""
    baud_rate: Annotated[int, Meta(ge=300, le=1_000_000)] = 9_600
    """Speed of the serial port, bit/s."""
    parity: Literal["N", "E", "O"] = "N"
    """Parity of the serial port: none, even or odd."""
    stop_bits: Literal[1, 2] = 1
    """Stop bits of the serial port."""
    unit: Annotated[int, Meta(ge=0, le=255)] = 1
    """The meter's address on the line, from 1 to 247; behind `host` also 0 or 255."""
    map: str = "sdm630"
    """Kind of meter whose registers are known: a file of v2g/hardware/meters/maps, without its extension."""
    map_file: Path | None = None
    """Registers of another kind of meter, TOML or YAML; it replaces `map`."""
    registers: RegisterMap | None = None
    """Registers of another kind of meter, given here; they replace `map`."""
    rollover_kwh: Annotated[int, Meta(ge=1, le=10**9)] | None = None
    """Where the meter's registers start again at 0, kWh, such as 1000000; without it a register that falls is a
    fault."""
    swap: bool = False
    """The meter counts energy into the vehicle as export."""
    poll_s: Annotated[float, Meta(gt=0, le=10)] = 0.2
    """Maximum age of a reading while energy flows; a session ends with a fresh one."""
    timeout_s: Annotated[float, Meta(gt=0, le=10)] = 0.3
    """Time-out of the meter's answers."""
    lost_s: Annotated[float, Meta(gt=0, le=60)] = 2.0
    """Time without a reading after which no energy flows."""

    def __post_init__(self) -> None:
        """Reject a meter with two ways to it, or none, or with two maps."""
        if bool(self.device) == bool(self.host):
            raise ValueError("needs either device (Modbus RTU) or host (Modbus TCP)")
        if self.device and not 1 <= self.unit <= 247:
            raise ValueError("unit must be 1 to 247 on a serial line")
        if self.map_file is not None and self.registers is not None:
            raise ValueError("has map_file and registers: give one of them")

    @property
    def place(self) -> str:
        """Where the meter is, for people."""
        return self.device or f"{self.host}:{self.port}"

    @property
    def devices(self) -> tuple[str, ...]:
        """See Driver: several meters may share a line, or a gateway."""
        return (f"{self.place} unit {self.unit}",)

    def register_map(self) -> RegisterMap:
        """Return the meter's registers. Raises ConfigError for an unknown map, or an invalid file."""
        if self.registers is not None:
            return self.registers
        return shipped_map(self.map) if self.map_file is None else load_map(self.map_file)


class ModbusClient(Protocol):
    """What a meter needs of a client of pymodbus."""

    @property
    def connected(self) -> bool:
        """Whether the line is open."""

    async def connect(self) -> bool:
        """Open the line."""

    def close(self) -> None:
        """Close the line."""

    def read_holding_registers(self, address: int, *, count: int, device_id: int) -> Awaitable[object]:
        """Return the answer. Raises ModbusException."""

    def read_input_registers(self, address: int, *, count: int, device_id: int) -> Awaitable[object]:
        """Return the answer. Raises ModbusException."""


class _SharedLine:
    """See ModbusClient: one serial line with several meters. The port has one owner, and they are asked in turn.

    After a missing answer the line rests for the time-out: a late one would collide with that of another meter.
    """

    def __init__(self, config: ModbusConfig, client: ModbusClient) -> None:
        self.settings = _settings_of(config)
        self.users = 0
        self._device, self._timeout_s, self._client = config.device, config.timeout_s, client
        self._turn, self._rests_until = asyncio.Lock(), 0.0

    @property
    def connected(self) -> bool:
        return self._client.connected

    async def connect(self) -> bool:
        return self.connected or await self._client.connect()

    async def read_holding_registers(self, address: int, *, count: int, device_id: int) -> object:
        return await self._ask(partial(self._client.read_holding_registers, address, count=count, device_id=device_id))

    async def read_input_registers(self, address: int, *, count: int, device_id: int) -> object:
        return await self._ask(partial(self._client.read_input_registers, address, count=count, device_id=device_id))

    async def _ask(self, ask: Callable[[], Awaitable[object]]) -> object:
        now = asyncio.get_running_loop().time
        async with self._turn:
            await asyncio.sleep(self._rests_until - now())
            try:
                return await ask()
            except Exception:
                self._rests_until = now() + self._timeout_s
                raise

    def close(self) -> None:
        """One of the meters needs it no longer."""
        self.users -= 1
        if not self.users:
            del _shared[self._device]
            self._client.close()


_shared: Final[dict[str, _SharedLine]] = {}
"""Serial lines that are open, by their ports."""


def _settings_of(config: ModbusConfig) -> Fields:
    return {"baudrate": config.baud_rate, "parity": config.parity, "stopbits": config.stop_bits}


def modbus_client(config: ModbusConfig) -> ModbusClient:
    """Return a client for the meter's line, not yet connected; one that was once connected reconnects by itself."""
    from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient  # only for chargers with such a meter

    sent = b""

    def traced(sending: bool, data: bytes) -> bytes:
        nonlocal sent
        if sending:
            sent = data
            return data
        return without_echo(data, sent)  # its own `handle_local_echo` loses parts of answers of lines without

    again: Any = {"timeout": config.timeout_s, "retries": 0, "reconnect_delay": 0.1, "reconnect_delay_max": 2.0}
    client = (
        AsyncModbusTcpClient(config.host, port=config.port, **again)
        if config.host
        else AsyncModbusSerialClient(config.device, **_settings_of(config), **again, trace_packet=traced)
    )
    context: Any = client.ctx
    decode = context.callback_data

    def received(data: bytes, addr: object = None) -> int:
        try:
            used: int = decode(data, addr)
        except Exception as error:  # noqa: BLE001 - in the loop's callback it would be a defect of this program
            _log.debug("meter: %s", error)
            if config.host:
                context.transport.abort()  # where the next frame begins is unknown; a serial line finds it by its CRC
            return len(data)
        return used

    context.callback_data = received
    return client


def client_on_line(config: ModbusConfig) -> ModbusClient:
    """Return a client as `modbus_client`, on a serial line that of all its meters, with the time-out of the first.

    Raises ConfigError if their settings of the line differ.
    """
    if config.host:
        return modbus_client(config)
    line = _shared.get(config.device) or _SharedLine(config, modbus_client(config))
    if line.settings != _settings_of(config):
        raise ConfigError(
            f"meters on {config.device} have different settings of their line",
            hint="give all of them the same baud_rate, parity and stop_bits",
        )
    _shared[config.device] = line
    line.users += 1
    return line


class ModbusMeter(MeterReadings):
    """See EnergyMeter: polls a meter on Modbus RTU or TCP."""

    def __init__(
        self,
        config: ModbusConfig,
        clock: Clock,
        client: Callable[[ModbusConfig], ModbusClient] = client_on_line,
        observe: Callable[[Observe], None] = lambda _: None,
    ) -> None:
        """Raises ConfigError for an unknown map, or an invalid file."""
        super().__init__(
            config.devices[0],
            clock,
            observe,
            lost_s=config.lost_s,
            rollover_kwh=config.rollover_kwh,
            swap=config.swap,
        )
        self._config, self._registers = config, config.register_map()
        self._requests = self._registers.requests()
        self._new_client = client
        self._client: ModbusClient | None = None
        self._model_at: int | None = None if self._registers.sunspec else 0
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    @property
    def has_voltage(self) -> bool:
        """Whether it has voltage registers."""
        return self._registers.voltage is not None

    async def open(self) -> None:
        """Open the line and wait for the first reading. Raises TransportError without one."""
        # it logs every missing answer; relevant losses are reported as `meter_lost`
        logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)
        config = self._config
        if config.device and not Path(config.device).exists():
            hint = "is the adapter plugged in, and is the name right? ls /dev/serial/by-id"
            raise TransportError(f"the meter's port {config.device} does not exist", hint=hint)
        self._client = self._new_client(config)
        await self._client.connect()
        self._task = spawn(self._poll_forever(), name="meter")
        way = "device, baud_rate, parity" if config.device else "host, port"
        try:
            await self._first(START_S, f"{way}, unit and map of [hardware.modbus] must match the meter")
        except TransportError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop polling and close the line."""
        self._stopping = True
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        client, self._client = self._client, None
        if client is not None:
            client.close()

    # -- inside

    async def _poll_forever(self) -> None:
        while (
            not self._stopping
        ):  # before Python 3.12 a cancellation may be lost in asyncio.wait_for, which pymodbus uses
            began, pause_s = self._clock.monotonic(), self._config.poll_s
            try:
                # read the whole map
                if self._model_at is None:
                    self._model_at = await find_model(partial(self._read, "holding"), self._registers.sunspec)
                read = {}
                for table, first, count in self._requests:
                    words = await self._read(table, self._model_at + first, count)
                    read.update({(table, first + at): word for at, word in enumerate(words)})
                values = values_of(self._registers, read)
            except Exception as error:  # noqa: BLE001 - any error of the library on garbage is a missing reading
                # a late answer must not be taken for that of the next request: a serial line has no numbers
                pause_s = max(pause_s, self._clock.monotonic() - began + self._config.timeout_s)
                _log.debug("meter: %s", error)
                self._missed(str(error))
            else:
                self._take(values, began)
            await asyncio.sleep(max(0.01, pause_s - (self._clock.monotonic() - began)))

    async def _read(self, table: Table, address: int, count: int) -> Sequence[int]:
        from pymodbus.exceptions import ModbusException

        assert self._client is not None
        if not self._client.connected:
            raise TransportError("no TCP connection" if self._config.host else "the serial port is not open")
        ask: Any = self._client.read_holding_registers if table == "holding" else self._client.read_input_registers
        try:
            answer = await ask(address, count=count, device_id=self._config.unit)
        except ModbusException:
            raise TransportError("it does not answer") from None
        if answer.isError():
            code = answer.exception_code
            raise TransportError(f"it refuses {count} registers from {table} {address} with exception {code}")
        if answer.function_code != (3 if table == "holding" else 4):  # pymodbus does not compare it
            raise TransportError(f"it answers function {answer.function_code} instead")
        if len(answer.registers) != count:
            raise TransportError(
                f"it sends {len(answer.registers)} of {count} registers from {table} register {address}"
            )
        words: Sequence[int] = answer.registers
        return words


DRIVER = Driver(
    "meter",
    ModbusConfig,
    lambda config, context: ModbusMeter(config, context.clock, observe=context.observe).opened(),
)
