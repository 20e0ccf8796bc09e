"""The Modbus registers of a charger for an energy manager: holding registers are commands, input ones states. Pure.

The station's registers begin at 0, those of EVSE n at 100 n; addresses count from 0 as on the wire. Values of more than
16 bits have their high word first. As in SunSpec one number means "not implemented": all bits set, in signed values
only the top bit.
"""

import struct
from collections.abc import Sequence
from typing import Annotated, Final, NamedTuple

import msgspec

from v2g import typed_json
from v2g.errors import CodecError
from v2g.hardware.energy_manager.commands import EnergyCommand, ManagedEvse, ManagedStation, command_of
from v2g.hardware.energy_manager.modbus_server import ILLEGAL_ADDRESS, ILLEGAL_VALUE, ModbusRefused, Table

STRIDE: Final = 100
VERSION: Final = 1

_Word = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
Kind = str
"""A format of `struct`: H, I or i."""


class RegisterField(NamedTuple):
    """A value: its first register, and its kind."""

    at: int
    kind: Kind

    @property
    def registers(self) -> range:
        """The registers of a value."""
        return range(self.at, self.at + struct.calcsize(f">{self.kind}") // 2)


NOTHING: Final = {"H": 0xFFFF, "I": 0xFFFF_FFFF, "i": -0x8000_0000}
""""Not implemented", by type."""

WRITTEN: Final = {
    "heartbeat": RegisterField(0, "H"),
    "valid_s": RegisterField(1, "H"),
    "limit_w": RegisterField(2, "I"),
    "discharge_w": RegisterField(4, "I"),
    "setpoint_w": RegisterField(6, "i"),
    "generation_w": RegisterField(8, "I"),
    "load_w": RegisterField(10, "i"),
    "grid_critical": RegisterField(12, "H"),
    "limit_ma": RegisterField(13, "I"),
    "discharge_ma": RegisterField(15, "I"),
}
"""Holding registers by EnergyCommand field. A heartbeat of any value keeps the written values in force."""

READ: Final = {
    "version": RegisterField(0, "H"),
    "status": RegisterField(1, "H"),
    "power_w": RegisterField(2, "i"),
    "import_wh": RegisterField(4, "Q"),
    "export_wh": RegisterField(8, "Q"),
    "charge_limit_w": RegisterField(12, "I"),
    "discharge_limit_w": RegisterField(14, "I"),
    "setpoint_w": RegisterField(16, "i"),
    "evses": RegisterField(18, "H"),
    "timeout_s": RegisterField(19, "H"),
}
"""Input registers. The station's values are the sums of its EVSEs'; its status is 1 while a manager is active."""

STATUSES: Final = ("Available", "Occupied", "Reserved", "Unavailable", "Faulted")
"""Values of an EVSE's `status`."""

_WORDS: Final = struct.Struct(">" + "".join(field.kind for field in WRITTEN.values()))
_SHOWN: Final = struct.Struct(">" + "".join(field.kind for field in READ.values()))


class EnergyRegisters:
    """The registers of a charger with a number of EVSEs."""

    def __init__(self, evses: int) -> None:
        self._evses = evses
        blank = _registers(_WORDS.pack(*(NOTHING[field.kind] for field in WRITTEN.values())))
        self._held = dict.fromkeys(range(evses + 1), blank)
        self._spoken = set[int]()
        """The EVSEs (0: station) that were written, except heartbeats."""
        self._state = ManagedStation()

    @property
    def kept(self) -> str:
        """The holding registers that were written, without heartbeats, for `resume`; empty before the first."""
        unset = (NOTHING["H"],) * len(WRITTEN["heartbeat"].registers)
        held = {place: (*unset, *self._held[place][len(unset) :]) for place in sorted(self._spoken)}
        return msgspec.json.encode(held).decode() if held else ""

    def resume(self, kept: str) -> None:
        """Hold the registers of before, in force from the next write on. Raises DecodeError."""
        for place, values in typed_json.decode(kept, dict[int, tuple[_Word, ...]]).items():
            if place in self._held and len(values) == len(self._held[place]):
                self._held[place] = values
                self._spoken.add(place)

    def notify(self, state: ManagedStation) -> None:
        """Set the values to be read."""
        self._state = state

    def read(self, table: Table, address: int, count: int) -> Sequence[int]:
        """Return registers. Raises ModbusRefused."""
        place, at = divmod(address, STRIDE)
        if place not in self._held:
            raise ModbusRefused(ILLEGAL_ADDRESS)
        found = self._held[place] if table == "holding" else self._shown(place)
        if at + count > len(found):
            raise ModbusRefused(ILLEGAL_ADDRESS)
        return found[at : at + count]

    def write(self, address: int, values: Sequence[int]) -> Sequence[tuple[int, EnergyCommand]]:
        """Write registers; return every EVSE that was ever written, except heartbeats, and its present command.

        Including those not addressed: their values may have expired, and are repeated here.
        Raises ModbusRefused for partial or invalid values: then nothing is written.
        """
        place, at = divmod(address, STRIDE)
        touched = range(at, at + len(values))
        if place not in self._held or touched.stop > len(self._held[place]):
            raise ModbusRefused(ILLEGAL_ADDRESS)
        names = {name for name, field in WRITTEN.items() if set(field.registers) & set(touched)}
        if any(not set(WRITTEN[name].registers) <= set(touched) for name in names):
            raise ModbusRefused(ILLEGAL_VALUE)  # partial value
        before = self._held[place]
        held = (*before[:at], *values, *before[touched.stop :])
        command = _command(held)
        if place and command.load_w is not None:
            raise ModbusRefused(ILLEGAL_VALUE)  # only the station has a grid connection
        self._held[place] = held
        if names != {"heartbeat"}:
            self._spoken.add(place)
        found = [(each, _command(self._held[each])) for each in sorted(self._spoken)]
        if "load_w" in names:
            return found
        return [(each, msgspec.structs.replace(said, load_repeated=said.load_w is not None)) for each, said in found]

    def _shown(self, place: int) -> Sequence[int]:
        state = self._state
        evses = state.evses if place == 0 else tuple(each for each in state.evses if each.evse == place)
        status = int(state.heard) if place == 0 else _status(evses)
        totals = (
            sum(getattr(each, name) for each in evses)
            for name in ("import_wh", "export_wh", "charge_limit_w", "discharge_limit_w")
        )
        powers = [each.power_w for each in evses if each.power_w is not None]
        setpoint = evses[0].setpoint_w if place and evses else None
        data = _SHOWN.pack(
            VERSION,
            status,
            sum(powers) if len(powers) == len(evses) else NOTHING["i"],
            *totals,
            NOTHING["i"] if setpoint is None else setpoint,
            self._evses,
            min(0xFFFF, state.timeout_s),
        )
        return _registers(data)


def _status(evses: Sequence[ManagedEvse]) -> int:
    found = evses[0].status if evses else ""
    return STATUSES.index(found) if found in STATUSES else NOTHING["H"]


def _registers(data: bytes) -> tuple[int, ...]:
    return struct.unpack(f">{len(data) // 2}H", data)


def _command(held: Sequence[int]) -> EnergyCommand:
    """Return the values of registers. Raises ModbusRefused for numbers out of range."""
    values = zip(WRITTEN.items(), _WORDS.unpack(struct.pack(f">{len(held)}H", *held)), strict=True)
    said = {name: value for (name, field), value in values if value != NOTHING[field.kind] and name != "heartbeat"}
    if "grid_critical" in said:
        said["grid_critical"] = bool(said["grid_critical"])
    try:
        return command_of(said)
    except CodecError:
        raise ModbusRefused(ILLEGAL_VALUE) from None
