"""A meter of make `sdm630` at the end of a serial cable, and the registers of meters."""

import asyncio
import os
import struct

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

from tests.io.conftest import PtyPair
from v2g.io.hardware.modbus import ModbusConfig, ModbusMeter
from v2g.io.runtime.clock import Clock


def floats(*values: float) -> list[int]:
    return [word for value in values for word in struct.unpack(">HH", struct.pack(">f", value))]


class Cable(PtyPair):
    """A serial cable that can be cut, or that flips a bit now and then."""

    cut, flip, echoes = False, 0, False
    _count, _echo = 0, b""

    def _pump(self, source: int, target: int) -> None:
        data = bytearray(os.read(source, 512))
        if self.echoes and source == self._masters[0]:
            self._echo = bytes(data)
        elif self._echo:  # an adapter on USB passes on what has come within some ms at once
            data[:0], self._echo = self._echo, b""
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
        self.refuses, self.delay_s = False, 0.0
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
            Clock(),
        )

    async def answer(
        self, function: int, start: int, address: int, count: int, current: list[int], wanted: object
    ) -> ExcCodes | None:
        """Put what the meter shows into the server's registers; only input registers (function 4) are there."""
        await asyncio.sleep(self.delay_s)
        current[address - start : address - start + count] = self.registers[address : address + count]
        return ExcCodes.ILLEGAL_ADDRESS if self.refuses or function != 4 else None

    def set(self, **values: float) -> None:
        """Write as the data sheet says: addresses of the input registers, floats of two words."""
        sheet = {"volts": 30_043, "watts": 30_053, "import_kwh": 30_073, "export_kwh": 30_075}
        for name, value in values.items():
            at = sheet[name] - 30_001
            self.registers[at : at + 2] = floats(value)


def sunspec(start: int, values: dict[int, int]) -> dict[int, int]:
    """Return the registers of a device with the models 1 (66 long) and 203 (105 long), from a marker on."""
    found = dict.fromkeys(range(start, start + 180), 0)
    words = {0: 0x5375, 1: 0x6E53, 2: 1, 3: 66, 70: 203, 71: 105, 177: 0xFFFF, 178: 0}
    return found | {start + at: word for at, word in words.items()} | {start + 70 + at: v for at, v in values.items()}


SUNSPEC_VALUES = {46: 18, 47: 54_927, 38: 0, 39: 625, 54: 0x10000 - 1, 7: 2_315, 15: 0xFFFF, 18: 0x10000 - 460, 22: 1}
"""1234.567 kWh import and 62.5 Wh export by 10^-1 Wh, 231.5 V by 10^-1, -4600 W by 10."""
SUNSPEC_VALUES |= {5: 199, 6: 0xFFFF, 8: 2_315, 9: 2_315, 10: 2_315, 21: 0x10000 - 460}
"""On L3: 19.9 A by 10^-1, -4600 W by 10; 231.5 V on each line."""
