"""How energy managers are reached: declarations for configurations, which need not load what reaches them."""

from typing import Annotated

import msgspec
from msgspec import Meta

from v2g.io.mqtt.config import MqttConfig


class EnergyModbusConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The charger as a server of Modbus TCP. The protocol knows no passwords: only for networks of the site's own."""

    host: str = "127.0.0.1"
    """The address at which it listens: that of an interface of the site's own network."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 502
    """0 picks a free one."""


class EnergyMqttConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A broker, and where its topics for this charger are."""

    broker: MqttConfig
    prefix: Annotated[str, Meta(pattern=r"^[^#+\x00/][^#+\x00]{0,199}\Z")] = "v2g/charger"
    """What this charger's topics begin with, without a slash at the end."""
