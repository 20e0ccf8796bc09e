"""Simulated power modules on a CAN bus, for tests: each follows its commands, and fails as configured. Pure."""

from typing import TYPE_CHECKING

import msgspec

from v2g.hardware.interfaces import Demand
from v2g.hardware.power_modules.bank import HOLDS_S, Frame, ModulesConfig
from v2g.hardware.simulation import StageConfig, StageLoad, StageModel

if TYPE_CHECKING:
    from cantools.database.can import Database


class Unit(msgspec.Struct):
    """One module. `dead`: does nothing; `mute`: neither receives nor sends, and goes on; `frozen`: repeats its last
    frame; `tripped`: no current; `reversed`: reports the opposite direction of its current."""

    model: StageModel
    received_at: float = -1e9
    enabled: bool = False
    dead: bool = False
    mute: bool = False
    frozen: bool = False
    tripped: bool = False
    reversed: bool = False
    temperature_c: float = 40.0
    counter: int = 0
    last: bytes = b""

    def advance(self, seconds: float, load: StageLoad | None, *, silent: bool) -> None:
        """Advance; `silent`: no command has arrived for too long."""
        if self.dead or self.tripped or not self.enabled or silent:
            self.model.demand = Demand(0)
        self.model.advance(seconds, load, connected=load is not None and load.contactor_closed)


class SimulatedIsolationMonitor:
    """An isolation monitor that reports by itself."""

    def __init__(self, database: "Database", message: str) -> None:
        self._message = database.get_message_by_name(message)
        self._command = database.get_message_by_name("IsolationCommand")
        self._counter = self._test = 0
        self.resistance_kohm = 1_000
        self.dead = self.untestable = False

    def receive(self, frame_id: int, data: bytes) -> None:
        """Process a command: its test passes with the next frame but one, unless it is `untestable`."""
        if frame_id == self._command.frame_id:
            self._test = max(1, self._test) if data[0] & 1 else 0

    def frames(self) -> list[Frame]:
        """Return its next frame."""
        if self.dead:
            return []
        self._counter = (self._counter + 1) % 16
        values = {"Counter": self._counter, "Resistance": self.resistance_kohm, "SelfTest": self._test}
        if self._test == 1:
            self._test = 3 if self.untestable else 2
        return [(self._message.frame_id, bytes(self._message.encode(values)))]


class ModuleBank:
    """Modules in parallel on one output, and an isolation monitor; `load` is connected to the output."""

    def __init__(self, config: ModulesConfig, database: "Database", stage: StageConfig | None = None) -> None:
        self._config, self._now = config, 0.0
        self._command = database.get_message_by_name(config.command)
        self._status = database.get_message_by_name(config.status)
        self.units = {address: Unit(StageModel(stage or StageConfig())) for address in config.modules}
        self.load: StageLoad | None = None
        self.monitor = SimulatedIsolationMonitor(database, config.isolation)

    @property
    def current_ma(self) -> int:
        """The current into the load."""
        return sum(unit.model.current_ma for unit in self.units.values())

    def receive(self, frame_id: int, data: bytes, now: float) -> None:
        """Process a command."""
        self.monitor.receive(frame_id, data)
        unit = self.units.get(frame_id - self._command.frame_id)
        if unit is None or unit.dead or unit.mute:
            return
        read = self._command.decode(data)
        assert isinstance(read, dict)
        unit.received_at, unit.enabled = now, bool(read["Enable"])
        volts, amperes = float(str(read["VoltageLimit"])), float(str(read["CurrentSetpoint"]))
        unit.model.demand = Demand(round(volts * 1000), round(amperes * 1000), 1_000_000)

    def tick(self, now: float) -> list[Frame]:
        """Advance time and return the frames of all."""
        seconds, self._now = max(0.0, now - self._now), now
        frames: list[Frame] = []
        for address, unit in self.units.items():
            unit.advance(seconds, self.load, silent=now - unit.received_at > HOLDS_S)
            if unit.dead or unit.mute:
                continue
            if not unit.frozen:
                unit.counter = (unit.counter + 1) % 16
                unit.last = self._frame(unit)
            frames.append((self._status.frame_id + address, unit.last))
        return frames + self.monitor.frames()

    def _frame(self, unit: Unit) -> bytes:
        values = {
            "State": 3 if unit.tripped else int(unit.enabled),
            "Counter": unit.counter,
            "Voltage": unit.model.voltage_mv / 1000,
            "Current": unit.model.current_ma / (-1000 if unit.reversed else 1000),
            "Temperature": unit.temperature_c,
        }
        return bytes(self._status.encode(values))
