"""Power modules in parallel on a CAN bus: presence, load sharing, and total output, whatever their protocol. Pure.

`DbcModules` is the protocol of modules that a DBC file describes: names of messages and signals come from it and a
configuration, so that any vendor's modules with periodic frames can be described.
"""

import importlib.resources
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol

import msgspec
from msgspec import Meta

from v2g.dbc import LARGEST_ID, STANDARD_ID, identity, read_dbc, strict_text
from v2g.dbc_units import in_si
from v2g.errors import ConfigError
from v2g.hardware.interfaces import OFF, Demand, StageReport
from v2g.typed_json import Fields

if TYPE_CHECKING:
    from cantools.database.can import Database, Message, Signal

SELF_TEST: Final = "SelfTest"
PASSED: Final = 2
FAILED: Final = 3
"""Signal of an isolation monitor's own test, and what it says at its end."""

OWN_DBC: Final = "power_modules.dbc"
"""The documented default, beside this file."""

HOLDS_S: Final = 1.0
"""Silence after which a module of a DBC file must switch itself off, s: a requirement on the module."""
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
    """In `command`: counter modulo 16, or less where the signal has fewer bits."""
    state: str = "State"
    """In `status`: the module's state, a number."""
    tripped: tuple[Annotated[int, Meta(ge=0, le=2**32 - 1)], ...] = (3,)
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


class ModuleBusConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Modules on a bus, with an isolation monitor. Powers and currents are those of one module."""

    interface: str = "socketcan"
    """Kind of adapter, as python-can names it."""
    channel: str = "can0"
    """Channel of that adapter, as python-can names it."""
    bitrate: Annotated[int, Meta(ge=1, le=10_000_000)] = 500_000
    """Bit rate of the bus, bit/s, if the driver sets one."""
    dbc: Path | None = None
    """DBC file; the built-in one by default."""
    isolation: str = "IsolationStatus"
    """Message of the isolation monitor; empty without one."""
    isolation_command: str = ""
    """Message with the signal `SelfTest` that has the isolation monitor test itself: while it is 1, `SelfTest` of
    `isolation` is 1 (runs) and then 2 (passed) or 3 (failed), otherwise 0. Empty: the monitor does so on its own."""
    modules: Annotated[tuple[Annotated[int, Meta(ge=0, le=127)], ...], Meta(min_length=1, max_length=64)] = (1,)
    """Addresses of the modules."""
    max_current_a: Annotated[float, Meta(gt=0, le=1_000)] = 100.0
    """Maximum current of a module."""
    send_s: Annotated[float, Meta(gt=0, le=1)] = 0.1
    """Interval of commands to every module."""
    lost_s: Annotated[float, Meta(gt=0, le=10)] = 0.5
    """Time without a frame after which a module counts as lost."""
    isolation_s: Annotated[float, Meta(ge=0, le=60)] = 1.0
    """Measuring time of the isolation monitor at a new voltage."""

    def __post_init__(self) -> None:
        if len(set(self.modules)) < len(self.modules):
            raise ValueError("an address is twice in modules")

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of what only one EVSE can have: its modules, and its isolation monitor."""
        bus = f"{self.interface} {self.channel}"
        monitor = (f"{bus} message {self.isolation}",) if self.isolation else ()
        return *(f"{bus} module {each}" for each in self.modules), *monitor


class ModulesConfig(ModuleBusConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Modules whose messages a DBC file describes. Powers and currents are those of one module."""

    command: str = "ModuleCommand"
    """Command message to a module; its address is added to the identifier."""
    status: str = "ModuleStatus"
    """Status message of a module; its address is added to the identifier."""
    max_temperature_c: Annotated[float, Meta(ge=0, le=200)] = 95.0
    """Temperature above which a module counts as tripped."""
    signals: ModuleSignals = ModuleSignals()


Frame = tuple[int, bytes]
"""Identifier and data of a CAN frame; identifiers above 0x7FF have 29 bits."""


class ModuleReading(msgspec.Struct, frozen=True):
    """What a module reports. `tripped`: it has switched itself off, or must not be used. `off`: it says that it gives
    no power. `counter`: changes with every frame; None without one."""

    voltage_mv: int
    current_ma: int
    tripped: bool = False
    off: bool = True
    temperature_c: float | None = None
    counter: int | None = None


class ModuleProtocol(Protocol):
    """How modules of one family are commanded and read."""

    @property
    def off_after_s(self) -> float:
        """Time without a frame after which a module switches itself off, where that is too long to be left out of
        account: until then a lost module counts as one that cannot be switched off. 0 where it is short."""

    @property
    def holds_s(self) -> float:
        """Time without a frame for which a module may go on with its last command: until then nobody takes its share
        over."""

    def command(
        self, address: int, voltage_mv: int, current_ma: int | None, counter: int, *, on: bool
    ) -> Sequence[Frame]:
        """Return the frames that make a module follow: never more than this voltage and this current, signed. None is
        a voltage without current, as in cable check and pre-charge."""

    def poll(self, address: int) -> Sequence[Frame]:
        """Return the frames that ask a module for its state; none where modules report by themselves."""

    def read(self, frame_id: int, data: bytes) -> tuple[int, ModuleReading] | None:
        """Return address and state of a module if this frame completes it; None for other and for invalid frames."""


class PowerModule(msgspec.Struct):
    """The last received state of one module. `commanded`: its last command was on. `driven`: it may give power, at
    most `share_ma`."""

    address: int
    received_at: float
    reading: ModuleReading = ModuleReading(0, 0)
    present: bool = False
    commanded: bool = False
    driven: bool = False
    share_ma: int = 0

    @property
    def working(self) -> bool:
        """Whether it shares the load."""
        return self.present and not self.reading.tripped


def load_database(path: Path | None) -> "Database":
    """Return the messages of a DBC file that have no flaw, the built-in one if None. Raises ConfigError."""
    from cantools.database.can import Database  # 60 ms: only for chargers with modules

    database = Database()
    if path is None:
        text = importlib.resources.files("v2g.hardware.power_modules").joinpath(OWN_DBC).read_text()
    else:
        found = read_dbc(path)
        for message in found.messages:
            message.signals = {name: in_si(each) for name, each in message.signals.items()}
        text = strict_text(found)
    try:
        database.add_dbc_string(text)
    except Exception as error:  # noqa: BLE001 - cantools raises its parser's and its own errors
        raise ConfigError(f"{path}: {error}", hint="hardware.can.dbc must be a DBC file") from None
    return database


class DbcModules:
    """The protocol of modules that report by themselves, by the messages of a DBC file. See ModuleProtocol."""

    off_after_s = 0.0
    holds_s = HOLDS_S

    def __init__(self, config: ModulesConfig, database: "Database") -> None:
        """Raises ConfigError for a message or signal missing in the DBC."""
        self._signals, self._max_temperature_c = config.signals, config.max_temperature_c
        names = config.signals
        sent = names.enable, names.voltage_limit, names.current_setpoint, names.command_counter
        self._command = _message(database, config.command, *sent)
        self._selected = _one_frame(self._command, *sent)
        self._needed = names.state, names.voltage, names.current
        self._status = _message(database, config.status, *self._needed, names.temperature, names.status_counter)
        _one_frame(self._status, *self._needed)
        self._temperatures: dict[int, float] = {}
        self._addresses = {_identifier(self._status, address): address for address in config.modules}
        self._commands = {address: _identifier(self._command, address) for address in config.modules}
        others = {
            _identifier(_message(database, each)) for each in (config.isolation, config.isolation_command) if each
        }
        if same := self._addresses.keys() & {*self._commands.values(), *others}:
            raise ConfigError(f"{config.status} of a module has the identifier {min(same):#x} of another message")
        setpoint = self._command.get_signal_by_name(names.current_setpoint)
        self._resolution = 0.001 if setpoint.is_float else abs(float(setpoint.scale))
        counter = names.command_counter
        self._counts = 1 << self._command.get_signal_by_name(counter).length if counter else 1

    def command(
        self, address: int, voltage_mv: int, current_ma: int | None, counter: int, *, on: bool
    ) -> Sequence[Frame]:
        names, share_a = self._signals, (current_ma or 0) / 1000 if on else 0.0
        steps = int(share_a / self._resolution + (1e-9 if share_a > 0 else -1e-9))
        values = {
            **self._selected,
            names.enable: int(on),
            names.voltage_limit: voltage_mv / 1000 if on else 0,
            names.current_setpoint: steps * self._resolution,
            names.command_counter: counter % self._counts,
        }
        return [(self._commands[address], _encoded(self._command, values))]

    def poll(self, _address: int) -> Sequence[Frame]:
        return ()

    def read(self, frame_id: int, data: bytes) -> tuple[int, ModuleReading] | None:
        names, address = self._signals, self._addresses.get(frame_id)
        if address is None:
            return None
        read = _decode(self._status, data) or {}
        if names.temperature in read:  # maybe in a frame of its own
            self._temperatures[address] = float(read[names.temperature])
        if not read.keys() >= set(self._needed):
            return None
        temperature_c = self._temperatures.get(address)
        too_hot = temperature_c is not None and temperature_c > self._max_temperature_c
        return address, ModuleReading(
            round(read[names.voltage] * 1000),
            round(read[names.current] * 1000),
            tripped=int(read[names.state]) in names.tripped or too_hot,
            temperature_c=temperature_c,
            counter=read.get(names.status_counter),
        )


Absent = Callable[[Any], bool]
"""Whether a raw value of the insulation resistance says that there is none, such as 65535 for "not available"."""


def never(_raw: object) -> bool:
    """Every raw value is a resistance."""
    return False


class IsolationReceiver:
    """The insulation resistance that a monitor reports on the bus."""

    def __init__(
        self,
        database: "Database",
        message: str,
        resistance: str,
        counter: str,
        *,
        lost_s: float,
        now: float,
        command: str = "",
        absent: Absent = never,
    ) -> None:
        """Raises ConfigError for a message or signal missing in the DBC."""
        self._absent = absent
        self._command = _message(database, command, SELF_TEST) if command else None
        if command:
            _message(database, message, SELF_TEST)
        self._test: int | None = None
        self._message, self._signal, self._counter_signal = (
            _message(database, message, resistance, counter), resistance, counter
        )  # fmt: skip
        self._resistance = self._message.get_signal_by_name(resistance)
        self._unit = 1000 if (self._resistance.unit or "").startswith("k") else 1
        self._lost_s, self._received_at = lost_s, now
        self._counter: int | None = None
        self._ohm: int | None = None

    def receive(self, frame_id: int, data: bytes, now: float) -> bool:
        """Process a frame; return whether it was of the monitor, and could be decoded."""
        if (
            frame_id != _identifier(self._message)
            or (raw := _decode(self._message, data, self._signal, scaling=False)) is None
        ):
            return False
        counter = raw.get(self._counter_signal)
        if counter is None or counter != self._counter:
            self._counter, self._received_at = counter, now
        self._test = raw.get(SELF_TEST)
        signal, code = self._resistance, raw[self._signal]
        self._ohm = None if self._absent(code) else round((code * signal.scale + signal.offset) * self._unit)
        return True

    @property
    def testable(self) -> bool:
        """Whether it can be commanded to test itself."""
        return self._command is not None

    def tell_test(self, *, on: bool) -> Frame:
        """Return the frame that begins or ends its test."""
        assert self._command is not None
        return _identifier(self._command), _encoded(self._command, {SELF_TEST: int(on)})

    def test_state(self, now: float) -> int | None:
        """Return 0 without a test, 1 while it runs, 2 if it has passed, 3 if not; None when the monitor is silent."""
        return self._test if now - self._received_at < self._lost_s else None

    def resistance_ohm(self, now: float) -> int | None:
        """Return the insulation resistance, None when the monitor has sent none, or nothing for `lost_s`."""
        return self._ohm if now - self._received_at < self._lost_s else None


class ModuleGroup:
    """All modules as one power stage. `frames()` returns frames to send; call `tick` at `deadline()`."""

    def __init__(
        self, config: ModuleBusConfig, protocol: ModuleProtocol, isolation: IsolationReceiver | None, now: float
    ) -> None:
        self._config, self._protocol, self._isolation = config, protocol, isolation
        self._modules = {address: PowerModule(address, now) for address in config.modules}
        self._demand = OFF
        self._next = now
        self._counter = 0
        self._frames: list[Frame] = []
        self._unreachable = False
        self._reported: set[str] = set()

    # -- state

    @property
    def isolation(self) -> IsolationReceiver | None:
        """The isolation monitor."""
        return self._isolation

    @property
    def modules(self) -> tuple[PowerModule, ...]:
        """Every configured module."""
        return tuple(self._modules.values())

    @property
    def working(self) -> tuple[PowerModule, ...]:
        """Modules that share the load."""
        return tuple(module for module in self.modules if module.working)

    @property
    def out(self) -> tuple[int, ...]:
        """Addresses of the others: lost, or tripped."""
        return tuple(module.address for module in self.modules if not module.working)

    @property
    def report(self) -> StageReport:
        """Voltage at the common output, the highest measured, and the sum of currents. While no module answers, the
        voltage is the last one: nobody has seen it fall."""
        present = [module.reading for module in self.modules if module.present]
        voltage_mv = max(reading.voltage_mv for reading in present or [module.reading for module in self.modules])
        return StageReport(voltage_mv, sum(reading.current_ma for reading in present))

    @property
    def temperatures(self) -> dict[str, float | None]:
        """Degrees C of each module with a temperature, by name."""
        return {
            f"module_{module.address}": module.reading.temperature_c
            for module in self.modules
            if module.present and module.reading.temperature_c is not None
        }

    def resistance_ohm(self, now: float) -> int | None:
        """Return the insulation resistance, None without monitor, or when it has sent nothing for `lost_s`."""
        return None if self._isolation is None else self._isolation.resistance_ohm(now)

    def faults(self) -> list[tuple[str, bool]]:
        """Return which faults began (True) or ended since the last call."""
        active = set()
        if self._unreachable or not any(module.present for module in self.modules):
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

    def frames(self) -> list[Frame]:
        """Return the frames to send, in order, and clear them."""
        frames, self._frames = self._frames, []
        return frames

    # -- inputs

    def drive(self, demand: Demand) -> None:
        """Distribute this command among the modules."""
        if demand != self._demand:
            self._demand = demand
            self._send()

    def receive(self, frame_id: int, data: bytes, now: float) -> bool:
        """Process a frame; return whether it completes the state of a module or is of the isolation monitor."""
        read = self._protocol.read(frame_id, data)
        if read is None:
            return self._isolation is not None and self._isolation.receive(frame_id, data, now)
        address, reading = read
        module = self._modules[address]
        if reading.counter is not None and reading.counter == module.reading.counter:
            return True  # a repeated frame: its sender has failed
        was_working = module.working
        module.reading, module.received_at, module.present = reading, now, True
        module.driven = module.commanded or not reading.off
        if module.working != was_working:
            self._send()  # shares change with the working modules
        return True

    def tick(self, now: float) -> None:
        """Detect lost modules, repeat the commands, and ask for the state of all."""
        before = len(self.working), self._unreachable, self._held_ma
        for module in self.modules:
            if now - module.received_at >= self._config.lost_s:
                module.present = False
                if now - module.received_at > self._protocol.holds_s + self._config.send_s:
                    module.share_ma = 0
        self._unreachable = any(
            module.driven and not module.present and now - module.received_at < self._protocol.off_after_s
            for module in self.modules
        )
        due = now >= self._next
        if due or (len(self.working), self._unreachable, self._held_ma) != before:
            self._send()
        if due:
            self._next = now + self._config.send_s
            for address in self._modules:
                self._frames += self._protocol.poll(address)

    # -- inside

    @property
    def _held_ma(self) -> int:
        """What lost modules may still give."""
        return sum(module.share_ma for module in self.modules if not module.present)

    def _share_ma(self) -> int:
        """Return each working module's current: with what lost ones may still give never more than commanded."""
        count = len(self.working)
        if not count:
            return 0
        demand, voltage_mv = self._demand, self.report.voltage_mv
        most = abs(demand.current_ma)
        if voltage_mv >= LEAST_MV:
            most = min(most, demand.power_w * 1_000_000 // voltage_mv)
        share = min(max(0, most - self._held_ma) // count, int(self._config.max_current_a * 1000))
        return -share if demand.current_ma < 0 else share

    def _send(self) -> None:
        self._counter = (self._counter + 1) % 16
        voltage_mv, share_ma = self._demand.voltage_mv, self._share_ma() if self._demand.current_ma else None
        for module in self.modules:
            on = module.working and voltage_mv > 0 and not self._unreachable
            module.commanded, module.driven = on, module.driven or on
            if module.present:
                module.share_ma = abs(share_ma or 0) if on else 0
            self._frames += self._protocol.command(module.address, voltage_mv, share_ma, self._counter, on=on)


def isolation_of(
    config: ModuleBusConfig, database: "Database", resistance: str, counter: str, now: float, absent: Absent
) -> IsolationReceiver | None:
    """Return the configured isolation monitor, None without one. Raises ConfigError for what the DBC file lacks."""
    if not config.isolation:
        return None
    return IsolationReceiver(
        database, config.isolation, resistance, counter, lost_s=config.lost_s, now=now,
        command=config.isolation_command, absent=absent,
    )  # fmt: skip


def dbc_group(config: ModulesConfig, database: "Database", now: float, absent: Absent = never) -> ModuleGroup:
    """Return modules that a DBC file describes. Raises ConfigError for a message or signal missing in it."""
    names = config.signals
    isolation = isolation_of(config, database, names.resistance, names.resistance_counter, now, absent)
    return ModuleGroup(config, DbcModules(config, database), isolation, now)


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


def _identifier(message: "Message", address: int = 0) -> int:
    """Return a message's identifier, of the module at this address. Raises ConfigError if it has none."""
    number, extended = message.frame_id + address, message.is_extended_frame
    if number > (LARGEST_ID if extended else STANDARD_ID):
        raise ConfigError(f"{message.name}: no identifier for module {address}", hint="addresses are added to it")
    return identity(number, extended=extended)


def _one_frame(message: "Message", *names: str) -> dict[str, int]:
    """Return the multiplexers' values with which a frame has all these signals. Raises ConfigError without one."""
    found: dict[str, set[int]] = {}
    for signal in (message.get_signal_by_name(name) for name in names if name):
        if signal.multiplexer_signal is not None and signal.multiplexer_ids is not None:
            found.setdefault(signal.multiplexer_signal, set(signal.multiplexer_ids)).intersection_update(
                signal.multiplexer_ids
            )
    if not all(found.values()):
        raise ConfigError(f"no frame of {message.name} has all of {', '.join(filter(None, names))}")
    return {multiplexer: min(values) for multiplexer, values in found.items()}


def _encoded(message: "Message", values: Mapping[str, float]) -> bytes:
    """Return a frame's data; other signals are 0."""
    return bytes(
        message.encode({each.name: _fitting(each, values.get(each.name, 0)) for each in message.signals}, strict=False)
    )


def _decode(message: "Message", data: bytes, *needed: str, scaling: bool = True) -> Fields | None:
    """Return the signals of a frame; None when it cannot be decoded, or lacks a required number."""
    from cantools.database import errors

    try:
        read = message.decode(data, decode_choices=False, scaling=scaling)
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
