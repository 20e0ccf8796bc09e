"""How energy managers on site are configured."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from v2g.io.hardware.energy_config import EnergyModbusConfig, EnergyMqttConfig


class EnergyManagerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A system on site that bounds, or sets, the charger's power: an energy manager, or the grid operator's box."""

    backend: Literal["mqtt", "modbus"]
    """`mqtt`: topics of a broker; `modbus`: registers of the charger, over TCP."""
    source: Literal["EMS", "SO", "Other"] = "EMS"
    """What the CSMS is told of where limits come from (ChargingLimitSourceEnum); SO is the grid operator."""
    fallback_charge_w: Annotated[int, Meta(ge=0, le=10_000_000)]
    """What all EVSEs together may draw, W, until the energy manager has spoken, and when it falls silent."""
    fallback_discharge_w: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    """What they may feed back then, W."""
    timeout_s: Annotated[float, Meta(ge=0.1, le=65_535)] = 60.0
    """How long after its last word an energy manager counts as there; words may say longer."""
    state_s: Annotated[float, Meta(ge=0.1, le=3600)] = 5.0
    """How often it is told the charger's state."""
    load: bool = False
    """It tells what flows into the site (`load_w`): profiles in the mode LocalLoadBalancing are taken (Q09)."""
    mqtt: EnergyMqttConfig | None = None
    modbus: EnergyModbusConfig | None = None

    def __post_init__(self) -> None:
        """Keep backend and section together."""
        if (self.backend == "mqtt") != (self.mqtt is not None) or (self.backend == "modbus") != (
            self.modbus is not None
        ):
            raise ValueError(f'backend = "{self.backend}" needs the section `{self.backend}`, and no other one')


def check_sources(configs: Sequence[EnergyManagerConfig]) -> None:
    """Refuse energy managers that the CSMS could not tell apart. Raises ValueError."""
    sources = [each.source for each in configs]
    if len(set(sources)) < len(sources):
        raise ValueError("station.energy_managers: each has a `source` of its own")
