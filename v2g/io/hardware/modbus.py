"""A meter on a Modbus RTU line, by pymodbus: polled, since each query takes time."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from v2g.errors import ConfigError, TransportError
from v2g.hardware.interfaces import MeterValues, OnFault
from v2g.hardware.meter_registers import MAPS, Register, RegisterMap, values_of
from v2g.io.hardware.driver import Driver, DriverContext
from v2g.io.runtime.clock import Clock
from v2g.units import MWH_PER_KWH

if TYPE_CHECKING:
    from pymodbus.client import AsyncModbusSerialClient

_log = logging.getLogger(__name__)

START_S: Final = 5.0
"""Time-out of the meter's first answer."""


class ModbusConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A meter on a serial line."""

    device: Annotated[str, Meta(min_length=1)]
    """The serial port, such as /dev/ttyUSB0."""
    baud_rate: Annotated[int, Meta(ge=300, le=1_000_000)] = 9_600
    """Speed of the serial port, bit/s."""
    parity: Literal["N", "E", "O"] = "N"
    """Parity of the serial port: none, even or odd."""
    stop_bits: Literal[1, 2] = 1
    """Stop bits of the serial port."""
    unit: Annotated[int, Meta(ge=1, le=247)] = 1
    """The meter's address on the line."""
    map: str = "sdm630"
    """Kind of meter, with known registers: `sdm630` or `generic`."""
    registers: RegisterMap | None = None
    """Registers of another kind of meter; they replace `map`."""
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


class ModbusMeter:
    """See EnergyMeter: the last good reading is kept fresh; invalid and late ones are discarded."""

    def __init__(self, config: ModbusConfig, clock: Clock) -> None:
        """Raises ConfigError for an unknown map."""
        registers = config.registers or MAPS.get(config.map)
        if registers is None:
            raise ConfigError(f"unknown register map {config.map!r}", hint=f"one of {', '.join(MAPS)}")
        self._config, self._clock, self._registers = config, clock, registers
        self._client: AsyncModbusSerialClient | None = None
        self._values: MeterValues | None = None
        self._taken = 0.0
        self._lost = self._stopping = False
        self._polled = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self._on_fault: list[OnFault] = []
        self._on_change: list[Callable[[], None]] = []
        self.errors = 0
        """Polls that gave no reading."""

    @property
    def rollover_mwh(self) -> int | None:
        """Where its registers start again at 0, mWh; None if they do not."""
        return None if self._config.rollover_kwh is None else self._config.rollover_kwh * MWH_PER_KWH

    @property
    def lost(self) -> bool:
        """Whether it does not answer."""
        return self._lost

    @property
    def has_voltage(self) -> bool:
        """Whether it has voltage registers."""
        return self._registers.voltage is not None

    @property
    def values(self) -> MeterValues:
        """The last good reading. Raises TransportError before `open`."""
        if self._values is None:
            raise TransportError(f"the meter on {self._config.device} has not answered")
        return self._values

    async def open(self) -> None:
        """Open the line and wait for the first reading. Raises TransportError without one."""
        from pymodbus.client import AsyncModbusSerialClient  # only for chargers with such a meter

        # it logs every missing answer; relevant losses are reported as `meter_lost`
        logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)
        config = self._config
        self._client = AsyncModbusSerialClient(
            config.device,
            baudrate=config.baud_rate,
            parity=config.parity,
            stopbits=config.stop_bits,
            timeout=config.timeout_s,
            retries=0,
            reconnect_delay=0.1,
            reconnect_delay_max=2.0,
        )
        if not Path(config.device).exists():
            hint = "is the adapter plugged in, and is the name right? ls /dev/serial/by-id"
            raise TransportError(f"the meter's port {config.device} does not exist", hint=hint)
        await self._client.connect()
        self._task = asyncio.create_task(self._poll_forever(), name="meter")
        try:
            async with asyncio.timeout(START_S), self._polled:
                await self._polled.wait_for(lambda: self._values is not None)
        except TimeoutError:
            await self.stop()
            raise TransportError(
                f"the meter on {config.device} does not answer",
                hint="device, baud_rate, parity, unit and map of [hardware.modbus] must match the meter",
            ) from None

    async def stop(self) -> None:
        """Stop polling and close the line."""
        self._stopping = True
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._client is not None:
            self._client.close()

    async def refresh(self) -> None:
        """Return when a poll that began after this call has ended, or the meter is lost."""
        began = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._config.lost_s), self._polled:
                await self._polled.wait_for(lambda: self._taken >= began)
        except TimeoutError:
            return

    def on_fault(self, callback: OnFault) -> None:
        """Call `callback` when the meter stops responding or responds again (`meter_lost`)."""
        self._on_fault.append(callback)

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call `callback` with each new reading."""
        self._on_change.append(callback)

    # -- inside

    async def _poll_forever(self) -> None:
        received = self._clock.monotonic()
        while (
            not self._stopping
        ):  # before Python 3.12 a cancellation may be lost in asyncio.wait_for, which pymodbus uses
            began = self._clock.monotonic()
            try:
                values = await self._poll()
            except Exception as error:  # noqa: BLE001 - any error of the library on garbage is a missing reading
                self.errors += 1
                _log.debug("meter: %s", error)
                if began - received >= self._config.lost_s:
                    self._notify(lost=True)
            else:
                received = began
                self._values, self._taken = values, began
                self._notify(lost=False)
                for callback in self._on_change:
                    callback()
                async with self._polled:
                    self._polled.notify_all()
            await asyncio.sleep(max(0.01, self._config.poll_s - (self._clock.monotonic() - began)))

    async def _poll(self) -> MeterValues:
        """Read every register of the map. Raises TransportError for no answer, FrameError for an invalid one."""
        read = {}
        for name in self._registers.__struct_fields__:
            register = getattr(self._registers, name)
            if register is not None:
                read[name] = await self._read(register)
        values = values_of(self._registers, read)
        if not self._config.swap:
            return values
        power_w = None if values.power_w is None else -values.power_w
        return MeterValues(values.export_mwh, values.import_mwh, values.voltage_mv, power_w, values.frequency_mhz)

    async def _read(self, register: Register) -> Sequence[int]:
        from pymodbus.exceptions import ModbusException

        assert self._client is not None
        if not self._client.connected:
            raise TransportError("the line is not open")
        ask: Any = self._client.read_input_registers
        if register.table == "holding":
            ask = self._client.read_holding_registers
        try:
            answer = await ask(register.address, count=register.count, device_id=self._config.unit)
        except ModbusException as error:
            raise TransportError(str(error)) from None
        if answer.isError() or len(answer.registers) != register.count:
            raise TransportError(f"register {register.address}: {answer}")
        words: Sequence[int] = answer.registers
        return words

    def _notify(self, *, lost: bool) -> None:
        if lost is not self._lost:
            self._lost = lost
            for callback in self._on_fault:
                callback("meter_lost", lost)


@contextlib.asynccontextmanager
async def _open(config: ModbusConfig, context: DriverContext) -> AsyncIterator[ModbusMeter]:
    meter = ModbusMeter(config, context.clock)
    await meter.open()
    try:
        yield meter
    finally:
        await meter.stop()


DRIVER = Driver("meter", ModbusConfig, _open)
