"""How a ZVT terminal is reached: a declaration for configurations, which need not load what reaches it."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class ZvtConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a ZVT terminal is reached, over TCP in a closed network: the protocol has no protection of its own."""

    host: str
    """Name or address of the terminal."""
    port: Annotated[int, Meta(ge=1, le=65535)] = 20007
    """TCP port of the terminal."""
    password: Annotated[str, Meta(pattern=r"^[0-9]{6}\Z")] = "000000"  # noqa: S105
    """What the terminal wants of a till that registers; as they come from their makers it is this."""
    currency: Annotated[int, Meta(ge=1, le=999)] = 978
    """ISO 4217's number of the currency; 978 is the euro."""
    config_byte: Annotated[int, Meta(ge=0, le=255)] = 0x38
    """What the till wants at its registration: intermediate status (0x08), control of payments (0x10) and of
    administration (0x20); receipts are not printed here."""
    read_s: Annotated[int, Meta(ge=5, le=255)] = 30
    """How long the terminal waits for a card before it is asked anew."""
    partial_reversal: Literal["released", "booked"] = "released"
    """What the amount of a partial reversal (06 23) is at this terminal: what is given back, or what is taken."""
    retry_s: Annotated[float, Meta(gt=0, le=600)] = 5.0
    """After which time a terminal that cannot be reached is tried again."""
