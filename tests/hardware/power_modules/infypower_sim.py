"""Simulated Infypower modules, for tests: each answers its requests, and fails as configured. Pure."""

import struct
from typing import TYPE_CHECKING, Final

from tests.hardware.power_modules.bank_sim import SimulatedIsolationMonitor, Unit
from v2g.hardware.interfaces import Demand
from v2g.hardware.power_modules.bank import Frame
from v2g.hardware.power_modules.infypower import (
    BEHIND_DIODE,
    CONTROLLER,
    OFF_AFTER_S,
    OUTPUT,
    RATINGS,
    SET,
    STATE,
    SWITCH,
    InfypowerConfig,
    ModuleState,
    frame_id,
)
from v2g.hardware.simulation import StageConfig, StageLoad, StageModel

if TYPE_CHECKING:
    from cantools.database.can import Database

LEAST_V: Final = 100
MOST_V: Final = 750
MOST_A: Final = 25.6
RATED_W: Final = 15_000
"""Ratings of the protocol's example."""

REFUSED: Final = 3


class InfypowerBank:
    """Modules in parallel on one output, and an isolation monitor; `load` is connected to the output. A module refuses
    a set-point of 0 A and one outside its ratings, and keeps its last one."""

    def __init__(self, config: InfypowerConfig, database: "Database", stage: StageConfig | None = None) -> None:
        self.units = {address: Unit(StageModel(stage or StageConfig())) for address in config.modules}
        self.monitor = SimulatedIsolationMonitor(database, config.isolation)
        self.load: StageLoad | None = None
        self._demands = {address: Demand(0) for address in config.modules}
        self._answers: list[Frame] = []
        self._now = 0.0

    @property
    def current_ma(self) -> int:
        """The current into the load."""
        return sum(unit.model.current_ma for unit in self.units.values())

    def receive(self, identifier: int, data: bytes, now: float) -> None:
        """Process a request or command; `tick` returns the response."""
        self.monitor.receive(identifier, data)
        command, address = identifier >> 16 & 0x3F, identifier >> 8 & 0xFF
        unit = self.units.get(address)
        if unit is None or unit.dead or unit.mute or identifier != frame_id(command, address, CONTROLLER):
            return
        unit.received_at, error, answer = now, 0, data
        if command == SWITCH:
            unit.enabled = not data[0]
        elif command == SET:
            voltage_mv, current_ma = struct.unpack(">II", data)
            if LEAST_V * 1000 <= voltage_mv <= MOST_V * 1000 and 0 < current_ma <= MOST_A * 1000:
                self._demands[address] = Demand(voltage_mv, current_ma, 1_000_000)
            else:
                error = REFUSED
        else:
            answer = self._read(command, unit)
        self._answers.append((frame_id(command, CONTROLLER, address, error), answer))

    def tick(self, now: float) -> list[Frame]:
        """Advance time and return the frames of all."""
        seconds, self._now = max(0.0, now - self._now), now
        for address, unit in self.units.items():
            unit.model.demand = self._demands[address]
            unit.advance(seconds, self.load, silent=now - unit.received_at > OFF_AFTER_S)
        answers, self._answers = self._answers, []
        return answers + self.monitor.frames()

    def _read(self, command: int, unit: Unit) -> bytes:
        model = unit.model
        if command == OUTPUT:
            return struct.pack(">ff", model.voltage_mv / 1000, model.current_ma / 1000)
        if command == RATINGS:
            return struct.pack(">4H", MOST_V, LEAST_V, round(MOST_A * 10), RATED_W // 10)
        if command == BEHIND_DIODE:
            return struct.pack(">HHI", model.voltage_mv // 100, round(MOST_A * 10), 0)
        if command != STATE:
            return bytes(8)
        state = (0 if unit.enabled and not unit.tripped else ModuleState.OFF) | (
            ModuleState.FAULT if unit.tripped else 0
        )
        return struct.pack(">4xb", round(unit.temperature_c)) + state.to_bytes(3)
