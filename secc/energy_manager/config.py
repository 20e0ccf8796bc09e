"""Configuration of energy managers on site."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from v2g.io.hardware import energy_config


class EnergyManagerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A system on site that limits, or sets, the charger's power: an energy manager, or the grid operator's box."""

    backend: Literal["eebus", "modbus", "mqtt", "relays"]
    """`mqtt`: topics of a broker; `modbus`: registers of the charger, over TCP; `eebus`: LPC and LPP over SHIP;
    `relays`: contacts at GPIO lines."""
    source: Literal["EMS", "SO", "Other"] = "EMS"
    """Source of its limits for the CSMS (ChargingLimitSourceEnum); SO is the grid operator."""
    fallback_charge_w: Annotated[int, Meta(ge=0, le=10_000_000)]
    """Maximum draw of all EVSEs together, W, without a command of the energy manager, or when it stops responding."""
    fallback_discharge_w: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    """Maximum feed-back then, W."""
    timeout_s: Annotated[float, Meta(ge=0.1, le=65_535)] = 60.0
    """Validity of a command of the energy manager; commands may set a longer one."""
    state_s: Annotated[float, Meta(ge=0.1, le=3600)] = 5.0
    """Interval of the charger's state reports."""
    load: bool = False
    """It reports the flow into the site (`load_w`): profiles in the mode LocalLoadBalancing are accepted (Q09)."""
    section_14a_devices: Annotated[int, Meta(ge=0, le=1000)] = 0
    """Number of controllable devices (§ 14a EnWG) that its limits are for: the draw is bounded to no less than their
    minimum power, 4.2 kW for one; 0: its limits hold as they are."""
    mqtt: energy_config.EnergyMqttConfig | None = None
    modbus: energy_config.EnergyModbusConfig | None = None
    eebus: energy_config.EnergyEebusConfig | None = None
    relays: energy_config.EnergyRelaysConfig | None = None

    def __post_init__(self) -> None:
        """Check that backend and section match."""
        sections = {"eebus": self.eebus, "modbus": self.modbus, "mqtt": self.mqtt, "relays": self.relays}
        if [name for name, section in sections.items() if section is not None] != [self.backend]:
            raise ValueError(f'backend = "{self.backend}" needs the section `{self.backend}`, and no other one')


def check_sources(configs: Sequence[EnergyManagerConfig]) -> None:
    """Reject energy managers that the CSMS could not distinguish. Raises ValueError."""
    sources = [each.source for each in configs]
    if len(set(sources)) < len(sources):
        raise ValueError("station.energy_managers: each needs a unique `source`")
