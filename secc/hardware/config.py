"""The configuration of the power hardware: the driver of each part, and what its drivers are given."""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from secc.hardware.drivers import BUILT_IN, POWER_KINDS, installed, read_settings
from secc.hardware.evse import WatchConfig
from secc.hardware.simulated import SimulatedEvseConfig
from v2g.config import Flaw, Table, without_flaw
from v2g.errors import ConfigError
from v2g.hardware.power_modules.bank import ModulesConfig
from v2g.io.hardware.board import BoardConfig
from v2g.io.hardware.driver import PowerKind
from v2g.io.hardware.modbus import ModbusConfig

Kind = Literal["dc", "ac", "wpt", "acdp"]
Plug = Literal["type1", "type2", "nacs"]

DriverName = Annotated[str, Meta(min_length=1, max_length=64)]


class HardwareConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The power electronics. Every part is simulated unless another driver is configured; simulated parts are
    connected to the vehicle by `link.medium`. `v2g hardware list` lists the drivers."""

    backend: Literal["simulated", "bench"] = "simulated"
    """simulated: the parts below; bench: no parts, a load at the output represents the vehicle."""
    kind: Kind = "dc"
    """Energy transfer to the vehicle: dc and ac by a plug, wpt wirelessly (a primary device in the ground), acdp by an
    automatic connection device (direct current)."""
    pilot: DriverName = "simulated"
    """Control pilot, contactor, lock, lamp: "simulated", "board", "linux" (own lines), or another driver."""
    stage: DriverName = "simulated"
    """Power stage and isolation monitor: "simulated", "can" (modules on CAN), "infypower", or another driver."""
    plug: Plug | None = None
    """Plug or socket, as the back end sees it: type1 (SAE J1772, CCS1), type2 (IEC 62196, CCS2), or nacs (SAE J3400);
    none: that of `board.proximity`, else type2."""
    meter: DriverName = "simulated"
    """Energy meter: "simulated", "modbus", "d0" (optical), or another driver."""
    emergency: DriverName = "simulated"
    """Emergency output, asserted at a thermal runaway until it is reset by hand: "simulated", "gpio", or another
    driver."""
    drivers: dict[str, Table] = {}
    """Other drivers by name, each with the keys that it knows."""
    simulated: SimulatedEvseConfig = SimulatedEvseConfig()
    """Behaviour of the simulation."""
    board: BoardConfig | None = None
    """Keys of the pilot "board"."""
    can: ModulesConfig | None = None
    """Keys of the stage "can"."""
    modbus: ModbusConfig | None = None
    """Keys of the meter "modbus"."""
    watch: WatchConfig = WatchConfig()
    """Limits beyond which the hardware is at fault."""
    voltmeter_offset_mv: Annotated[int, Meta(ge=-10_000, le=10_000)] = 0
    """What the output's voltmeter reads too little (below 0: too much) against a reference, mV; recorded in every
    journal."""


def hardware_flaws(config: HardwareConfig, path: tuple[str, ...]) -> Iterator[Flaw]:
    """Yield drivers that are not installed, their invalid keys, and keys that a charger would not use."""
    chosen: dict[PowerKind, str] = {kind: getattr(config, kind) for kind in POWER_KINDS}
    bench = config.backend == "bench"
    for kind, name in chosen.items():
        if bench and name != "simulated":
            yield (*path, kind), "is ignored by the bench", 'remove it, or remove backend = "bench"'
        elif not bench:
            for key, why, hint in _settings(config, kind)[1]:
                yield (*path, *key), why, hint
    for kind, name in ((kind, name) for kind in POWER_KINDS for each, name in BUILT_IN if each == kind):
        if name != "simulated" and getattr(config, name, None) is not None:
            if bench:
                yield (*path, name), "is ignored by the bench", 'remove it, or remove backend = "bench"'
            elif chosen[kind] != name:
                yield (*path, name), f"is ignored while {kind} is {chosen[kind]!r}", f'{kind} = "{name}" uses it'
    for name in config.drivers:
        if bench or not any(each == name and not _has_own_table(kind, each) for kind, each in chosen.items()):
            kinds = [each.kind for each in installed() if each.name == name]
            fitting = [kind for kind in POWER_KINDS if kind in kinds] or ([] if kinds else POWER_KINDS)
            use = f'{", ".join(fitting)} = "{name}" would use it'
            hint = use if fitting else f"keys of a {kinds[0]} are in its settings"
            yield (*path, "drivers", name), "is ignored", hint
    for option, part in (("grid", config.meter), ("phase_switch", config.pilot)):
        used = config.kind == "ac" and not bench and part == "simulated"
        if getattr(config.simulated, option) and not used:
            yield (*path, "simulated", option), "is ignored", 'it is for simulated parts of kind = "ac", not a bench'


def check_parts(config: HardwareConfig) -> None:
    """Reject parts that a kind of hardware does not have. Raises ConfigError."""
    if config.backend == "bench" and config.kind not in ("dc", "ac"):
        raise ConfigError(f"a bench has no device of kind {config.kind}", hint="remove hardware.backend")
    if config.kind == "wpt" and config.pilot != "simulated":
        raise ConfigError("a primary device has no control pilot", hint="remove hardware.pilot")
    if config.kind == "wpt" and config.stage != "simulated":
        raise ConfigError("a primary device has no power stage for direct current", hint="remove hardware.stage")
    if config.kind == "ac" and config.stage != "simulated":
        raise ConfigError("a charge point for alternating current has no power stage", hint="remove stage")


def on_simulated_wires(config: HardwareConfig) -> str:
    """Return a part that simulated wires join to the vehicle, "" if there is none."""
    if config.backend == "bench":
        return ""
    parts = {
        "the air above the primary device": config.kind == "wpt",
        "the control pilot": config.pilot == "simulated",
        "the connection device": config.kind == "acdp",
        "the DC line": config.kind == "dc" and config.stage == "simulated",
        "the AC line": config.kind == "ac" and config.meter == "simulated",
    }
    return next((name for name, simulated in parts.items() if simulated), "")


def devices_of(config: HardwareConfig) -> list[tuple[PowerKind, str]]:
    """Return the names of what only one EVSE can have, such as a serial port, each with the part that it is of."""
    kinds = () if config.backend == "bench" else POWER_KINDS
    return [(kind, each) for kind in kinds for each in getattr(_settings(config, kind)[0], "devices", ())]


def switches_phases(config: HardwareConfig) -> bool:
    """Return whether the configured board has a relay that connects L2 and L3."""
    return config.backend != "bench" and getattr(_settings(config, "pilot")[0], "phase_relay", None) is not None


def _has_own_table(kind: PowerKind, name: str) -> bool:
    """Return whether a driver's configuration is `[hardware.NAME]`; otherwise it is `[hardware.drivers.NAME]`."""
    return (kind, name) in BUILT_IN and name in HardwareConfig.__struct_fields__


def _settings(config: HardwareConfig, kind: PowerKind) -> tuple[msgspec.Struct | None, list[Flaw]]:
    """Return the configuration of a part's driver, None if it is invalid, and its errors."""
    name = getattr(config, kind)
    if _has_own_table(kind, name):
        own: msgspec.Struct | None = getattr(config, name)
        return own, [((name,), "is missing", f'{kind} = "{name}" needs it')] if own is None else []
    try:
        found, flaws = read_settings(kind, name, config.drivers.get(name))
    except ConfigError as error:
        return None, [((kind,), str(error), error.hint)]
    return found, [(("drivers", name, *key), why, hint) for key, why, hint in flaws]


def settings_of(config: HardwareConfig, kind: PowerKind) -> msgspec.Struct:
    """Return the configuration of a part's driver. Raises ConfigError if it is missing or invalid."""
    return without_flaw(_settings(config, kind), "hardware.")
