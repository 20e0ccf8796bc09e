"""Protocol of Infypower's rectifier modules (REG, CEG and LRG series; CAN protocol V1.13). Pure.

Facts, each from at least two of these public sources that do not depend on each other (none of their code is used):

A  EVerest, modules/HardwareDrivers/PowerSupplies/InfyPower (README, can_driver_acdc), which names the document
   "REG/CEG/LRG series Charger Module CAN Communication Protocol V1.13" and quotes it
B  "CAN sniffer", a reader of this protocol in Python with the document's examples as tests (tests/hardware has them)
C  charger firmware for STM32 with these modules (AppCanBus.c, requests and responses in comments)
D  a bench tool in Python for modules with such identifiers (presets 0x029A3FF0, 0x029C3FF0, 0x0284F000, ...)

| fact | sources |
|---|---|
| 125 kbit/s, 29-bit identifiers, eight octets, big-endian | A B C D |
| identifier: error code 28..26, device 25..22 (0x0A: one module), command 21..16, destination 15..8, source 7..0; the
  controller is 0xF0; a response has source and destination exchanged | A B C D |
| up to 60 modules, from address 0 | A, and the broadcast address 0x3F in B C D |
| command 0x03: voltage V and current A, two floats | A B C |
| 0x04: octets 5, 6, 7 are states 2, 1, 0, with the bits of `ModuleState` | A C, D for octet 6; B exchanges 5 and 6,
  against the document's example that it quotes |
| 0x0A: highest and lowest voltage V, highest current 0.1 A, rated power 10 W, 16 bits each | A B |
| 0x0C: voltage behind the output diode 0.1 V, available current 0.1 A, 16 bits each | A B |
| 0x1A: first octet 0 on, 1 off | A C D |
| 0x1C: voltage mV, current mA of one module, 32 bits each | A D |
| a module without messages switches off after 10 s | A, which quotes the document; B and C have its alarm bit |

Left out: temperature (octet 4 of 0x04: only B says that it is signed, and that of the air), group numbers, walk-in,
low-noise modes, bar codes. These modules do not measure insulation: a monitor of its own is on the bus. They have no
counter in their responses, but answer only when asked, so what has failed falls silent.

Two facts have a single source, and are used so that they do no harm if wrong: A reports that modules reject a current
of 0 A, so none is ever sent (`InfypowerConfig.hold_a`); a response with an error code counts as a refused command.
"""

import math
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta

from v2g.hardware.power_modules import bank
from v2g.hardware.power_modules.can_errors import least_bits

if TYPE_CHECKING:
    from cantools.database.can import Database

CONTROLLER: Final = 0xF0
ONE_MODULE: Final = 0x0A

OUTPUT: Final = 0x03
STATE: Final = 0x04
RATINGS: Final = 0x0A
BEHIND_DIODE: Final = 0x0C
SWITCH: Final = 0x1A
SET: Final = 0x1C

READS: Final = (OUTPUT, STATE, RATINGS, BEHIND_DIODE)
NOTHING: Final = bytes(8)

ACCEPTED: Final = (0, 7)
"""Error codes that are none: 7 is a module that still starts."""

OFF_AFTER_S: Final = 10.0

FRAMES: Final = 2 * (len(READS) + 2)
"""Frames of a module in each interval: requests, commands, and the responses to them."""

MOST_LOAD: Final = 0.7
"""Share of the bus that may be taken: stuff bits and commands in between need the rest."""


class ModuleState:
    """Bits of octets 5, 6 and 7 of a state, as one number."""

    OFF: Final = 1 << 8
    FAULT: Final = 1 << 9
    PROTECTION: Final = 1 << 10
    OVER_TEMPERATURE: Final = 1 << 12
    OVER_VOLTAGE: Final = 1 << 13
    INTERRUPTED: Final = 1 << 15
    SAME_ADDRESS: Final = 1 << 17
    SHORT: Final = 1 << 0
    TRIPPED: Final = FAULT | PROTECTION | OVER_TEMPERATURE | OVER_VOLTAGE | INTERRUPTED | SAME_ADDRESS | SHORT


class InfypowerConfig(bank.ModuleBusConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Infypower modules, in one direction only. Powers and currents are those of one module; `dbc` and `isolation`
    describe the isolation monitor."""

    bitrate: Annotated[int, Meta(ge=1, le=10_000_000)] = 125_000
    """Bit rate of the bus, bit/s, if the driver sets one."""
    modules: Annotated[tuple[Annotated[int, Meta(ge=0, le=59)], ...], Meta(min_length=1, max_length=60)] = (0,)
    """Addresses of the modules."""
    hold_a: Annotated[float, Meta(ge=0, le=10)] = 1.0
    """Current limit of all modules together while a voltage without current is commanded (cable check, pre-charge):
    modules may reject 0 A. Where current has flowed, 0 A switches them off instead. 0 always does."""
    resistance: str = "Resistance"
    """In `isolation`: insulation resistance, ohm."""
    resistance_counter: str = "Counter"
    """In `isolation`: changes with every frame."""

    def __post_init__(self) -> None:
        super().__post_init__()
        load = FRAMES * len(self.modules) * least_bits(8, extended=True) / (self.bitrate * self.send_s)
        if load > MOST_LOAD:
            least_s = self.send_s * load / MOST_LOAD
            raise ValueError(
                f"{len(self.modules)} modules need send_s >= {math.ceil(least_s * 100) / 100:g} on this bus"
            )
        if self.lost_s < 2 * self.send_s:
            raise ValueError("lost_s must be at least twice send_s")


def frame_id(command: int, destination: int, source: int, error: int = 0) -> int:
    """Return an identifier."""
    return error << 26 | ONE_MODULE << 22 | command << 16 | destination << 8 | source


class InfypowerModules:
    """See ModuleProtocol. A state is complete when each of READS has been answered since it was asked for."""

    off_after_s = OFF_AFTER_S
    holds_s = OFF_AFTER_S

    def __init__(self, config: InfypowerConfig) -> None:
        self._addresses = frozenset(config.modules)
        self._hold_ma = int(config.hold_a * 1000 / len(config.modules))
        self._answers: dict[int, dict[int, bytes]] = {address: {} for address in config.modules}
        self._ratings: dict[int, tuple[int, int, int]] = {}
        self._refused: set[int] = set()
        self._flowed: set[int] = set()

    def command(
        self, address: int, voltage_mv: int, current_ma: int | None, _counter: int, *, on: bool
    ) -> Sequence[bank.Frame]:
        """See ModuleProtocol. The set-point precedes the switch: no module starts with an old one. A module that
        refused one is asked again after the whole stage was off."""
        if not voltage_mv:
            self._refused.discard(address)
        if not on:
            self._flowed.discard(address)
        elif current_ma is not None:
            self._flowed.add(address)
        if current_ma is None:
            current_ma = 0 if address in self._flowed else self._hold_ma
        least_mv, most_mv, most_ma = self._ratings.get(address, (0, 0, 0))
        if not on or current_ma <= 0 or not most_mv or voltage_mv < least_mv:
            return [(frame_id(SWITCH, address, CONTROLLER), b"\1".ljust(8, b"\0"))]
        limits = struct.pack(">II", min(voltage_mv, most_mv), min(current_ma, most_ma))
        return [(frame_id(SET, address, CONTROLLER), limits), (frame_id(SWITCH, address, CONTROLLER), NOTHING)]

    def poll(self, address: int) -> Sequence[bank.Frame]:
        self._answers[address].clear()  # no state of older and newer parts
        return [(frame_id(command, address, CONTROLLER), NOTHING) for command in READS]

    def read(self, identifier: int, data: bytes) -> tuple[int, bank.ModuleReading] | None:
        error, command, address = identifier >> 26, identifier >> 16 & 0x3F, identifier & 0xFF
        if address not in self._addresses or identifier != frame_id(command, CONTROLLER, address, error):
            return None
        if command in (SWITCH, SET):
            if error not in ACCEPTED:
                self._refused.add(address)
            return None
        answers = self._answers[address]
        if command in READS and error in ACCEPTED and len(data) == 8:
            answers[command] = data
        if len(answers) < len(READS):
            return None
        _, amperes = struct.unpack(">ff", answers[OUTPUT])
        most_v, least_v, most_da, _ = struct.unpack(">4H", answers[RATINGS])
        (decivolts,) = struct.unpack_from(">H", answers[BEHIND_DIODE])
        if not -1e4 <= amperes <= 1e4:  # nor NaN
            reading: bank.ModuleReading | None = None
        else:
            self._ratings[address] = least_v * 1000, most_v * 1000, most_da * 100
            state = int.from_bytes(answers[STATE][5:])
            reading = bank.ModuleReading(
                decivolts * 100,
                round(amperes * 1000),
                tripped=bool(state & ModuleState.TRIPPED) or address in self._refused,
                off=bool(state & ModuleState.OFF),
            )
        answers.clear()
        return None if reading is None else (address, reading)


def infypower_group(
    config: InfypowerConfig, database: "Database", now: float, absent: bank.Absent = bank.never
) -> bank.ModuleGroup:
    """Return the modules of a bus; `database` describes its isolation monitor. Raises ConfigError for what it lacks."""
    isolation = bank.isolation_of(config, database, config.resistance, config.resistance_counter, now, absent)
    return bank.ModuleGroup(config, InfypowerModules(config), isolation, now)
