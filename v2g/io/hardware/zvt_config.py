"""Configuration of a ZVT terminal's connection, separate from its implementation."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class ZvtConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Connection to a ZVT terminal, over TCP in a closed network: the protocol has no protection."""

    host: str
    """Name or address of the terminal."""
    port: Annotated[int, Meta(ge=1, le=65535)] = 20007
    """TCP port of the terminal."""
    password: Annotated[str, Meta(pattern=r"^[0-9]{6}\Z")] = "000000"  # noqa: S105
    """Password for registration; this is the usual factory default."""
    currency: Annotated[int, Meta(ge=1, le=999)] = 978
    """Currency number of ISO 4217; 978 is the euro."""
    config_byte: Annotated[int, Meta(ge=0, le=255)] = 0x38
    """Requested at registration: intermediate status (0x08), control of payments (0x10) and of
    administration (0x20); receipts are not printed here."""
    read_s: Annotated[int, Meta(ge=5, le=255)] = 30
    """How long the terminal waits for a card before it is asked again."""
    partial_reversal: Literal["released", "booked"] = "released"
    """Meaning of the amount of a partial reversal (06 23) at this terminal: the amount returned, or the one charged."""
    retry_s: Annotated[float, Meta(gt=0, le=600)] = 5.0
    """Interval of attempts to reach an unreachable terminal."""
