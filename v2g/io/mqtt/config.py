"""How a broker is reached: a declaration for configurations, which need not load what connects."""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

TopicPrefix = Annotated[str, Meta(pattern=r"^[^+#$/\x00][^+#\x00]{0,127}\Z")]
"""The beginning of topics: no wildcard, and none of a broker's own."""


class MqttConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to reach a broker."""

    host: str
    """Name or address of the broker."""
    port: int = 8883
    """TCP port of the broker."""
    ca: Path | None = None
    """PEM file of the roots that the broker is believed by; without it the connection is refused."""
    chain: Path | None = None
    """PEM file of the own certificate, then those that issued it; for brokers that ask for one."""
    key: Path | None = None
    """PEM file of its key, mode 0600."""
    client_id: str = ""
    """Name of this program at the broker, where no other may have it; empty takes the program's own. A broker may put
    the certificate's common name in its place."""
    keep_alive: int = 30
    """Longest silence towards the broker, s."""
    username: str | None = None
    """Name for brokers that ask for a password."""
    password_file: Path | None = None
    """File of mode 0600 with the password."""
    without_tls: bool = False
    """Connect without TLS, in a closed network of the site's own only."""
