"""Simulated power modules on a CAN bus, for tests: each follows its command frame, and fails as configured. Pure."""

from typing import TYPE_CHECKING

import msgspec

from v2g.hardware.interfaces import Demand
from v2g.hardware.power_modules import ModulesConfig
from v2g.hardware.simulation import Load, StageConfig, StageModel

if TYPE_CHECKING:
    from cantools.database.can import Database

SILENCE_S = 1.0
"""A module without a command for this time switches off."""


class _Unit(msgspec.Struct):
    """One module. `dead`: does nothing; `frozen`: repeats its last frame; `tripped`: no current; `reversed`:
    reports the opposite direction of its current."""

    model: StageModel
    received_at: float = -1e9
    enabled: bool = False
    dead: bool = False
    frozen: bool = False
    tripped: bool = False
    reversed: bool = False
    temperature_c: float = 40.0
    counter: int = 0
    last: bytes = b""


class ModuleBank:
    """Modules in parallel on one output, and an isolation monitor; `load` is connected to the output."""

    def __init__(self, config: ModulesConfig, database: "Database", stage: StageConfig | None = None) -> None:
        self._config, self._now = config, 0.0
        self._command = database.get_message_by_name(config.command)
        self._status = database.get_message_by_name(config.status)
        self._isolation = database.get_message_by_name(config.isolation) if config.isolation else None
        self.units = {address: _Unit(StageModel(stage or StageConfig())) for address in config.modules}
        self.load: Load | None = None
        self.resistance_kohm = 1_000
        self.monitor_dead = False
        self._isolation_counter = 0

    @property
    def current_ma(self) -> int:
        """The current into the load."""
        return sum(unit.model.current_ma for unit in self.units.values())

    def receive(self, frame_id: int, data: bytes, now: float) -> None:
        """Process a command."""
        unit = self.units.get(frame_id - self._command.frame_id)
        if unit is None or unit.dead:
            return
        read = self._command.decode(data)
        assert isinstance(read, dict)
        unit.received_at, unit.enabled = now, bool(read["Enable"])
        volts, amperes = float(str(read["VoltageLimit"])), float(str(read["CurrentSetpoint"]))
        unit.model.demand = Demand(round(volts * 1000), round(amperes * 1000), 1_000_000)

    def tick(self, now: float) -> list[tuple[int, bytes]]:
        """Advance time and return the frames of all."""
        seconds, self._now = max(0.0, now - self._now), now
        frames = []
        for address, unit in self.units.items():
            if unit.dead or unit.tripped or not unit.enabled or now - unit.received_at > SILENCE_S:
                unit.model.demand = Demand(0)
            connected = self.load is not None and self.load.contactor_closed
            unit.model.advance(seconds, self.load, connected=connected)
            if unit.dead:
                continue
            if not unit.frozen:
                unit.counter = (unit.counter + 1) % 16
                unit.last = self._frame(unit)
            frames.append((self._status.frame_id + address, unit.last))
        if self._isolation is not None and not self.monitor_dead:
            self._isolation_counter = (self._isolation_counter + 1) % 16
            values = {"Counter": self._isolation_counter, "Resistance": self.resistance_kohm}
            frames.append((self._isolation.frame_id, bytes(self._isolation.encode(values))))
        return frames

    def _frame(self, unit: _Unit) -> bytes:
        values = {
            "State": 3 if unit.tripped else int(unit.enabled),
            "Counter": unit.counter,
            "Voltage": unit.model.voltage_mv / 1000,
            "Current": unit.model.current_ma / (-1000 if unit.reversed else 1000),
            "Temperature": unit.temperature_c,
        }
        return bytes(self._status.encode(values))
