"""Configuration of energy managers' connections, separate from their implementation."""

from typing import Annotated

import msgspec
from msgspec import Meta

from v2g.io.mqtt.config import MqttConfig


class EnergyModbusConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The charger as a Modbus TCP server. The protocol has no authentication: only for the site's own networks."""

    host: str = "127.0.0.1"
    """Listen address: that of an interface of the site's own network."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 502
    """TCP port; 0 picks a free one."""


class EnergyMqttConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A broker, and the topics for this charger."""

    broker: MqttConfig
    prefix: Annotated[str, Meta(pattern=r"^[^#+\x00/][^#+\x00]{0,199}\Z")] = "v2g/charger"
    """Prefix of this charger's topics, without a trailing slash."""
