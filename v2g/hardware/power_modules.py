"""Power modules in parallel on a CAN bus: presence, load sharing, and total output. Pure.

Names of messages and signals come from a DBC file and a configuration, so that any vendor's modules can be described.
"""

import importlib.resources
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import Meta

from v2g.errors import ConfigError
from v2g.hardware.interfaces import OFF, Demand, StageReport

if TYPE_CHECKING:
    from cantools.database.can import Database, Message, Signal

OWN_DBC: Final = "power_modules.dbc"
"""The documented default, beside this file."""

LEAST_MV: Final = 10_000
"""Below it power does not determine current."""


class ModuleSignals(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Names in the DBC. An empty name is a signal that the modules lack: heart-beat counters and
    temperature only."""

    enable: str = "Enable"
    """In `command`: whether the module works, 0 or 1."""
    voltage_limit: str = "VoltageLimit"
    """In `command`: highest voltage, V."""
    current_setpoint: str = "CurrentSetpoint"
    """In `command`: current, A, negative out of the vehicle."""
    command_counter: str = "Counter"
    """In `command`: counter modulo 16."""
    state: str = "State"
    """In `status`: the module's state, a number."""
    tripped: tuple[int, ...] = (3,)
    """Values of `state` in which the module has switched itself off."""
    voltage: str = "Voltage"
    """In `status`: voltage at the module, V."""
    current: str = "Current"
    """In `status`: current of the module, A."""
    temperature: str = "Temperature"
    """In `status`: temperature of the module, °C."""
    status_counter: str = "Counter"
    """In `status`: changes with every frame; repeated frames do not count as received."""
    resistance: str = "Resistance"
    """In `isolation`: insulation resistance, ohm."""
    resistance_counter: str = "Counter"
    """In `isolation`: changes with every frame."""


class ModulesConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Modules on a bus. Powers and currents are those of one module."""

    interface: str = "socketcan"
    """Kind of adapter, as python-can names it."""
    channel: str = "can0"
    """Channel of that adapter, as python-can names it."""
    bitrate: int = 500_000
    """Bit rate of the bus, bit/s, if the driver sets one."""
    dbc: Path | None = None
    """DBC file; the built-in one by default."""
    command: str = "ModuleCommand"
    """Command message to a module; its address is added to the identifier."""
    status: str = "ModuleStatus"
    """Status message of a module; its address is added to the identifier."""
    isolation: str = "IsolationStatus"
    """Message of the isolation monitor; empty without one."""
    modules: Annotated[tuple[Annotated[int, Meta(ge=0, le=127)], ...], Meta(min_length=1, max_length=64)] = (1,)
    """Addresses of the modules."""
    max_current_a: Annotated[float, Meta(gt=0, le=1_000)] = 100.0
    """Maximum current of a module."""
    max_temperature_c: Annotated[float, Meta(ge=0, le=200)] = 95.0
    """Temperature above which a module counts as tripped."""
    send_s: Annotated[float, Meta(gt=0, le=1)] = 0.1
    """Interval of commands to every module."""
    lost_s: Annotated[float, Meta(gt=0, le=10)] = 0.5
    """Time without a frame after which a module counts as lost."""
    isolation_s: Annotated[float, Meta(ge=0, le=60)] = 1.0
    """Measuring time of the isolation monitor at a new voltage."""
    signals: ModuleSignals = ModuleSignals()


class Module(msgspec.Struct):
    """The last received state of one module."""

    address: int
    received_at: float
    counter: int | None = None
    state: int = 0
    voltage_mv: int = 0
    current_ma: int = 0
    temperature_c: float | None = None
    present: bool = False
    tripped: bool = False


def load_database(path: Path | None) -> "Database":
    """Return the messages of a DBC file, the built-in one if None. Raises ConfigError."""
    from cantools.database.can import Database  # 60 ms: only for chargers with modules

    database = Database()
    try:
        if path is None:
            text = importlib.resources.files("v2g.hardware").joinpath(OWN_DBC).read_text()
        else:
            text = path.read_text()
        database.add_dbc_string(text)
    except Exception as error:  # noqa: BLE001 - cantools raises its parser's and its own errors
        raise ConfigError(f"{path}: {error}", hint="hardware.can.dbc must be a DBC file") from None
    return database


class ModuleGroup:
    """All modules as one power stage. `frames()` returns frames to send; call `tick` at `deadline()`."""

    def __init__(self, config: ModulesConfig, database: "Database", now: float) -> None:
        """Raises ConfigError for a message or signal missing in the DBC."""
        self._config, self._signals = config, config.signals
        names = config.signals
        self._command = _message(
            database, config.command, names.enable, names.voltage_limit, names.current_setpoint, names.command_counter
        )
        self._status = _message(
            database, config.status, names.state, names.voltage, names.current, names.temperature, names.status_counter
        )
        self._isolation: Message | None = None
        if config.isolation:
            self._isolation = _message(database, config.isolation, names.resistance, names.resistance_counter)
        base = self._status.frame_id
        self._modules = {base + address: Module(address, now) for address in config.modules}
        self._demand = OFF
        self._next = now
        self._counter = 0
        self._frames: list[tuple[int, bytes]] = []
        self._isolation_received = now
        self._isolation_counter: int | None = None
        self._resistance_ohm: int | None = None
        self._reported: set[str] = set()

    # -- state

    @property
    def modules(self) -> tuple[Module, ...]:
        """Every configured module."""
        return tuple(self._modules.values())

    @property
    def working(self) -> tuple[Module, ...]:
        """Modules that share the load."""
        return tuple(module for module in self.modules if module.present and not module.tripped)

    @property
    def report(self) -> StageReport:
        """Voltage at the common output, the highest measured, and the sum of currents."""
        present = [module for module in self.modules if module.present]
        voltage_mv = max((module.voltage_mv for module in present), default=0)
        return StageReport(voltage_mv, sum(module.current_ma for module in present))

    @property
    def temperatures(self) -> dict[str, float | None]:
        """Degrees C of each module with a temperature, by name."""
        return {
            f"module_{module.address}": module.temperature_c
            for module in self.modules
            if module.present and module.temperature_c is not None
        }

    def resistance_ohm(self, now: float) -> int | None:
        """Return the insulation resistance, None when the monitor has sent nothing for `lost_s`."""
        received_at = now - self._isolation_received < self._config.lost_s
        return self._resistance_ohm if received_at else None

    def faults(self) -> list[tuple[str, bool]]:
        """Return which faults began (True) or ended since the last call."""
        present = [module for module in self.modules if module.present]
        active = set()
        if not present:
            active.add("stage_lost")
        elif not self.working:
            active.add("stage_tripped")
        elif len(self.working) < len(self.modules):
            active.add("module_lost")
        changes = [(fault, fault in active) for fault in sorted(active ^ self._reported)]
        self._reported = active
        return changes

    def deadline(self) -> float:
        """Return when `tick` has to be called."""
        return self._next

    def frames(self) -> list[tuple[int, bytes]]:
        """Return the frames to send, in order, and clear them."""
        frames, self._frames = self._frames, []
        return frames

    # -- inputs

    def drive(self, demand: Demand, now: float) -> None:
        """Distribute this command among the modules."""
        if demand != self._demand:
            self._demand = demand
            self._send(now)

    def receive(self, frame_id: int, data: bytes, now: float) -> bool:
        """Process a frame; return whether it was of a module or the monitor, and could be decoded."""
        module = self._modules.get(frame_id)
        if module is not None:
            read = _decode(self._status, data, self._signals.state, self._signals.voltage, self._signals.current)
            if read is None:
                return False
            self._take(module, read, now)
            return True
        if self._isolation is None or frame_id != self._isolation.frame_id:
            return False
        read = _decode(self._isolation, data, self._signals.resistance)
        if read is None:
            return False
        counter = read.get(self._signals.resistance_counter)
        if counter is None or counter != self._isolation_counter:
            self._isolation_counter, self._isolation_received = counter, now
        scale = 1000 if (self._isolation.get_signal_by_name(self._signals.resistance).unit or "").startswith("k") else 1
        self._resistance_ohm = round(read[self._signals.resistance] * scale)
        return True

    def tick(self, now: float) -> None:
        """Detect lost modules, and repeat the commands."""
        usable = len(self.working)
        for module in self.modules:
            if module.present and now - module.received_at >= self._config.lost_s:
                module.present, module.current_ma = False, 0
        if now >= self._next or len(self.working) != usable:
            self._send(now)

    # -- inside

    def _take(self, module: Module, read: dict[str, Any], now: float) -> None:
        names = self._signals
        counter = read.get(names.status_counter)
        if counter is not None and counter == module.counter:
            return  # a repeated frame: its sender has failed
        before = (module.present, module.tripped)
        module.counter, module.received_at, module.present = counter, now, True
        module.state = int(read[names.state])
        module.voltage_mv = round(read[names.voltage] * 1000)
        module.current_ma = round(read[names.current] * 1000)
        temperature = read.get(names.temperature)
        module.temperature_c = None if temperature is None else float(temperature)
        too_hot = module.temperature_c is not None and module.temperature_c > self._config.max_temperature_c
        module.tripped = module.state in names.tripped or too_hot
        if (module.present, module.tripped) != before:
            self._send(now)  # shares change with the working modules

    def _share_ma(self) -> int:
        """Return each working module's current: never more in total than commanded."""
        count = len(self.working)
        if not count:
            return 0
        demand, voltage_mv = self._demand, self.report.voltage_mv
        most = abs(demand.current_ma)
        if voltage_mv >= LEAST_MV:
            most = min(most, demand.power_w * 1_000_000 // voltage_mv)
        share = min(most // count, int(self._config.max_current_a * 1000))
        return -share if demand.current_ma < 0 else share

    def _send(self, now: float) -> None:
        names, working = self._signals, {module.address for module in self.working}
        self._counter = (self._counter + 1) % 16
        self._next = now + self._config.send_s
        resolution = abs(float(self._command.get_signal_by_name(names.current_setpoint).scale))
        for module in self.modules:
            on = module.address in working and self._demand.voltage_mv > 0
            share_a = self._share_ma() / 1000 if on else 0.0
            values: dict[str, float] = {signal.name: 0 for signal in self._command.signals}
            values[names.enable] = int(on)
            values[names.voltage_limit] = self._demand.voltage_mv / 1000 if on else 0
            values[names.current_setpoint] = int(share_a / resolution + (1e-9 if share_a > 0 else -1e-9)) * resolution
            if names.command_counter:
                values[names.command_counter] = self._counter
            for name in (names.voltage_limit, names.current_setpoint):
                values[name] = _fitting(self._command.get_signal_by_name(name), values[name])
            data = self._command.encode(values, strict=False)
            self._frames.append((self._command.frame_id + module.address, bytes(data)))


def _message(database: "Database", name: str, *signals: str) -> "Message":
    """Return a message that has every named signal. Raises ConfigError."""
    try:
        message = database.get_message_by_name(name)
    except KeyError:
        known = ", ".join(sorted(each.name for each in database.messages)[:12])
        raise ConfigError(f"the DBC has no message {name!r}", hint=f"it has {known}") from None
    there = {signal.name for signal in message.signals}
    for signal in signals:
        if signal and signal not in there:
            raise ConfigError(f"{name} has no signal {signal!r}", hint=f"it has {', '.join(sorted(there))}")
    return message


def _decode(message: "Message", data: bytes, *needed: str) -> dict[str, Any] | None:
    """Return the signals of a frame; None when it cannot be decoded, or lacks a required number."""
    from cantools.database import errors

    try:
        read = message.decode(data, decode_choices=False)
    except (errors.Error, ValueError):
        return None
    if not isinstance(read, dict) or not read.keys() >= set(needed):
        return None
    numbers = all(isinstance(value, int | float) and math.isfinite(value) for value in read.values())
    return read if numbers else None


def _fitting(signal: "Signal", value: float) -> float:
    """Return the nearest representable value; of a limit, never more."""
    if signal.is_float:
        return value
    least, most = (
        (-(1 << signal.length - 1), (1 << signal.length - 1) - 1) if signal.is_signed else (0, (1 << signal.length) - 1)
    )
    ends = sorted((least * signal.scale + signal.offset, most * signal.scale + signal.offset))
    return min(max(value, ends[0]), ends[1])
