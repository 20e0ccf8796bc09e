"""How a broker is reached: a declaration for configurations, which need not load what connects."""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

TopicPrefix = Annotated[str, Meta(pattern=r"^[^+#$/\x00][^+#\x00]{0,127}\Z")]
"""The beginning of topics: no wildcard, and none of a broker's own."""


class MqttConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to reach a broker. `ca`, `chain` and `key` are PEM files; without `ca` the connection is refused.

    `client_id` must be different for each program at a broker; a broker may put the certificate's common name in its
    place. `username`, and the password in `password_file`, are for brokers that ask for them. `without_tls` is for
    brokers in a closed network of the site's own.
    """

    host: str
    port: int = 8883
    ca: Path | None = None
    chain: Path | None = None
    key: Path | None = None
    client_id: str = ""
    keep_alive: int = 30
    username: str | None = None
    password_file: Path | None = None
    without_tls: bool = False
