"""How long a request may wait for its answer: one row of an edition's table."""

import msgspec


class MessageTiming(msgspec.Struct, frozen=True):
    """One row, s: `timeout` until the vehicle gives up waiting, `performance` by which the charger answers."""

    timeout: float
    performance: float
