"""A meter with an optical interface (D0) on a serial port: SML, or readouts of IEC 62056-21."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from v2g.errors import FrameError, TransportError
from v2g.hardware.meters import iec62056
from v2g.hardware.meters.iec62056 import values_of_codes
from v2g.io.hardware.driver import Driver
from v2g.io.hardware.readings import MeterReadings, without_echo
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import cancel_tasks, spawn
from v2g.io.serial_port import SerialPort
from v2g.observe import Observe
from v2g.sml import SmlFramer

START_S: Final = 20.0
"""Time-out of the meter's first telegram."""

REOPEN_S: Final = 0.5
"""Interval of attempts to open a port that was unplugged, and of looking whether the meter is lost."""

SIGN_ON_BAUD_RATE: Final = 300
"""Speed of requests, bit/s (IEC 62056-21, 6.4.3)."""

REACTION_S: Final = 0.3
"""Pause before an answer to the meter, which needs 0.2 s (6.3.14)."""


class D0Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A meter under an optical head."""

    device: Annotated[str, Meta(min_length=1)]
    """The serial port of the head, such as /dev/ttyUSB0."""
    protocol: Literal["sml", "iec62056"] = "sml"
    """`sml`: Smart Message Language; `iec62056`: readouts of IEC 62056-21."""
    baud_rate: Annotated[int, Meta(ge=300, le=1_000_000)] = 9_600
    """Speed of the meter's telegrams, bit/s; on request it is what the meter offers."""
    parity: bool = True
    """Readouts have 7 bits and even parity; false: 8 bits, as those of DSMR."""
    request: bool = False
    """Readouts come on request (modes A to C), one after the other; false: the meter sends them unasked."""
    export: bool = True
    """The meter counts energy out of the vehicle (2.8.0). If not, it takes no power from it either."""
    rollover_kwh: Annotated[int, Meta(ge=1, le=10**9)] | None = None
    """Where the meter's registers start again at 0, kWh; without it a register that falls is a fault."""
    swap: bool = False
    """The meter counts energy into the vehicle as export."""
    lost_s: Annotated[float, Meta(gt=0, le=120)] = 10.0
    """Time without a telegram after which no energy flows."""

    def __post_init__(self) -> None:
        """Reject combinations that no meter has."""
        if self.request and self.protocol == "sml":
            raise ValueError('request = true needs protocol = "iec62056"')
        if self.swap and not self.export:
            raise ValueError("swap = true needs export = true")

    @property
    def devices(self) -> tuple[str, ...]:
        """See Driver."""
        return (self.device,)


class D0Meter(MeterReadings):
    """See EnergyMeter: reads the telegrams of a meter."""

    def __init__(self, config: D0Config, clock: Clock, observe: Callable[[Observe], None] = lambda _: None) -> None:
        super().__init__(
            config.device,
            clock,
            observe,
            lost_s=config.lost_s,
            rollover_kwh=config.rollover_kwh,
            swap=config.swap,
        )
        self._config = config
        self._port: SerialPort | None = None
        self._task: asyncio.Task[None] | None = None
        self._framer = self._new_framer()
        self._began = clock.monotonic()
        self._read_out = asyncio.Event()
        self._sent = self._heard = b""

    async def open(self) -> None:
        """Open the port and wait for the first reading. Raises TransportError without one."""
        self._connect(SIGN_ON_BAUD_RATE if self._config.request else self._config.baud_rate)
        self._task = spawn(self._run(), name="meter")
        try:
            hint = "is the head on the meter, and protocol, baud_rate and parity right? Some meters need their PIN"
            await self._first(START_S, hint)
        except TransportError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close the port."""
        await cancel_tasks(self._task)
        self._close()

    # -- inside

    def _new_framer(self) -> SmlFramer | iec62056.ReadoutFramer:
        if self._config.protocol == "sml":
            return SmlFramer()
        return iec62056.ReadoutFramer(parity=self._config.parity)

    def _connect(self, baud_rate: int) -> None:
        """Open the port at this speed. Raises TransportError."""
        self._close()
        self._port = SerialPort(self._config.device, baud_rate, on_data=self._on_data, on_gone=self._gone)

    def _close(self) -> None:
        if self._port is not None:
            self._port.close()
            self._port = None

    def _gone(self) -> None:
        self._port = None
        self._framer = self._new_framer()

    def _on_data(self, data: bytes) -> None:
        self._heard += data
        if not (data := without_echo(self._heard, self._sent)):
            return
        self._sent = self._heard = b""
        if not self._framer.waiting:
            self._began = self._clock.monotonic()
        errors = self._framer.errors
        for telegram in self._framer.receive(data):
            self._read_out.set()
            try:
                found = iec62056.sml_codes(telegram) if isinstance(telegram, bytes) else iec62056.codes(telegram)
                values = values_of_codes(found, export=self._config.export)
            except FrameError as error:
                self._missed(str(error))
            else:
                self._take(values, self._began)
        if self._framer.errors > errors:
            self._missed("a telegram was broken")

    async def _run(self) -> None:
        while True:
            try:
                if self._config.request:
                    await self._request()
                elif self._port is None:
                    self._connect(self._config.baud_rate)
            except TransportError as error:
                self._missed(str(error))
            self._missed()
            await asyncio.sleep(REOPEN_S)

    async def _request(self) -> None:
        """Ask for a readout, and wait for it. Raises TransportError for a lost port, or no answer."""
        framer = self._framer = iec62056.ReadoutFramer(parity=self._config.parity)
        self._read_out.clear()
        self._connect(SIGN_ON_BAUD_RATE)
        self._write(iec62056.REQUEST)
        try:
            async with asyncio.timeout(self._config.lost_s):
                while not framer.identification:
                    await asyncio.sleep(0.05)
                answer = iec62056.answer_to(framer.identification)
                if answer is not None:
                    await asyncio.sleep(REACTION_S)
                    self._write(answer[0])
                    await asyncio.sleep(len(answer[0]) * 10 / SIGN_ON_BAUD_RATE)  # it must be on the line before
                    self._connect(answer[1])
                await self._read_out.wait()
        except TimeoutError:
            raise TransportError("it does not answer") from None
        except FrameError as error:
            raise TransportError(str(error)) from None

    def _write(self, text: bytes) -> None:
        if self._port is None:
            raise TransportError("the head was unplugged")
        self._sent, self._heard = iec62056.with_parity(text) if self._config.parity else text, b""
        self._port.write(self._sent)


DRIVER = Driver("meter", D0Config, lambda config, context: D0Meter(config, context.clock, context.observe).opened())
