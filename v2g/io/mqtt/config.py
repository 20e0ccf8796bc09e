"""Configuration of a broker's connection, separate from its implementation."""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

TopicPrefix = Annotated[str, Meta(pattern=r"^[^+#$/\x00][^+#\x00]{0,127}\Z")]
"""Prefix of topics: no wildcard, and no topic of the broker's own."""


class HomeAssistantConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Devices appear in a Home Assistant at the same broker."""

    discovery_prefix: TopicPrefix = "homeassistant"
    """Prefix of its topics of discovery."""


class MqttConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Connection to a broker."""

    host: str
    """Name or address of the broker."""
    port: Annotated[int, Meta(ge=1, le=65535)] = 8883
    """TCP port of the broker."""
    ca: Path | None = None
    """PEM file of the roots for the broker's certificate; without it the connection fails."""
    chain: Path | None = None
    """PEM file of the own certificate, then its chain; for brokers that require one."""
    key: Path | None = None
    """PEM file of its key, mode 0600."""
    client_id: str = ""
    """Unique client id of this program; empty uses the program's own. A broker may replace it by
    the certificate's common name."""
    keep_alive: Annotated[int, Meta(ge=0, le=65535)] = 30
    """A dead connection is found within 1.5 times this, s (from 4 s on)."""
    username: str | None = None
    """User name for brokers that require a password."""
    password_file: Path | None = None
    """File of mode 0600 with the password."""
    without_tls: bool = False
    """Connect without TLS, only in the site's own closed network."""
