"""Configuration of energy managers' connections, separate from their implementation."""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from v2g.io.hardware.gpio import GpioLine
from v2g.io.mqtt.config import HomeAssistantConfig, MqttConfig

Ski = Annotated[str, Meta(pattern=r"^[0-9a-f]{40}\Z")]
"""The identity of an EEBUS node: 40 lower-case hexadecimal digits."""


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
    home_assistant: HomeAssistantConfig | None = None
    """Let EVSEs appear in a Home Assistant at this broker; none by default."""


class EnergyEebusConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The charger as EEBUS node: a control box limits it (LPC, LPP) over SHIP."""

    folder: Path
    """Folder of its key and certificate, which are made at the first start, and of trusted peers: `v2g eebus`."""
    host: str = "127.0.0.1"
    """Listen address: that of an interface of the site's own network, or 0.0.0.0."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 4712
    """TCP port; 0 picks a free one."""
    mdns: bool = True
    """Announce the charger, and find trusted boxes, by mDNS (extra `eebus`)."""
    boxes: dict[Ski, Annotated[str, Meta(pattern=r"^wss://[^\s/]+:\d+(/\S*)?\Z")]] = {}
    """URLs of trusted peers that mDNS does not find, by SKI."""
    trusted: Annotated[tuple[Ski, ...], Meta(max_length=16)] = ()
    """SKIs of trusted peers, beside those of `v2g eebus trust`."""
    brand: Annotated[str, Meta(pattern=r"^[^;\x00-\x1f]{1,32}\Z")] = "v2g-engine"
    """Brand shown to the user of the box."""
    model: Annotated[str, Meta(pattern=r"^[^;\x00-\x1f]{1,32}\Z")] = "charger"
    """Model shown there."""
    serial: Annotated[str, Meta(pattern=r"^[^;\s\x00-\x1f]{0,32}\Z")] = ""
    """Serial number; empty: the beginning of the SKI."""
    nominal_charge_w: Annotated[int, Meta(ge=1, le=10_000_000)]
    """Maximum draw of the whole charger, W."""
    nominal_discharge_w: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    """Maximum feed-back of the whole charger, W; 0: it offers no limit of production."""
    failsafe_s: Annotated[int, Meta(ge=7200, le=86_400)] = 7200
    """Preset of the failsafe duration minimum, s; the box may write another one."""
    autonomous: bool = False
    """Whether the charger becomes unlimited when no box takes over for 2 minutes after the start, or for the failsafe
    duration after it was lost; if not, the failsafe limits hold until one does."""
    production_as_magnitude: bool = False
    """Read a positive limit of production as its magnitude; else it is refused, since such limits are negative."""


class EnergyRelaysConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Contacts of the grid operator's control box or ripple receiver, at GPIO lines (extra `gpio`)."""

    dim: GpioLine | None = None
    """W4: the draw is bounded to `dimmed_w`."""
    dimmed_w: Annotated[int, Meta(ge=0, le=10_000_000)] = 4200
    """Draw while dimmed, W."""
    no_feed_in: GpioLine | None = None
    """W3: no feed-in."""
    feed_in_30: GpioLine | None = None
    """S2: feed-in up to 30 % of `installed_w`."""
    feed_in_60: GpioLine | None = None
    """S1: feed-in up to 60 % of `installed_w`."""
    installed_w: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    """Installed feed-in power, W."""

    @property
    def lines(self) -> dict[str, GpioLine]:
        """The lines in use, by their keys."""
        found = {"dim": self.dim, "no_feed_in": self.no_feed_in, "feed_in_30": self.feed_in_30}
        found["feed_in_60"] = self.feed_in_60
        return {name: line for name, line in found.items() if line is not None}

    def __post_init__(self) -> None:
        """Check that there is a line."""
        if not self.lines:
            raise ValueError("relays need at least one of dim, no_feed_in, feed_in_30 and feed_in_60")
