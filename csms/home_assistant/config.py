"""The keys of `[home_assistant]`."""

from typing import Annotated

from msgspec import Meta

from v2g.config import Seconds
from v2g.io.mqtt.config import HomeAssistantConfig, MqttConfig, TopicPrefix


class HomeAssistant(HomeAssistantConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A broker of a Home Assistant, where sites and vehicles appear. One node of the back end publishes."""

    broker: MqttConfig
    prefix: TopicPrefix = "v2g/state"
    """Prefix of the topics of states."""
    sites: bool = True
    """Whether sites appear."""
    vehicles: Annotated[tuple[str, ...], Meta(max_length=1000)] = ()
    """Patterns of the pseudonyms of vehicles that appear, such as `["T-*"]`; none by default. Each must have agreed:
    whoever reads the broker sees them. A vehicle shows what it delivers, so no position without consent to it."""
    interval_s: Seconds = 10.0
    """Interval of states, s."""
