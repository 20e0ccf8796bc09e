"""Limits of a transaction in cost, energy, time and state of charge: which of them a station is sent (E16)."""

from collections.abc import Collection
from typing import Final

import msgspec

from v2g.ocpp.messages.transactions import TransactionLimit

_NAMES: Final = {
    "max_cost": ("maxCost",),
    "max_energy": ("maxEnergy",),
    "max_time": ("maxTime", "maxLength"),  # the second is what the device model's own list says
    "max_soc": ("maxSoC",),
}


def limit_to_tell(
    wanted: TransactionLimit, reported: TransactionLimit | None, supported: Collection[str] = ()
) -> TransactionLimit | None:
    """Return the limits to send, None for none.

    A station's own equal or lower limit stays (E16.FR.08). `supported`: the station's
    TxCtrlr.SupportedLimits, empty if unknown (E16.FR.12).
    """
    sent = {}
    for name, words in _NAMES.items():
        ours = getattr(wanted, name)
        theirs = getattr(reported, name) if reported is not None else None
        if ours is not None and (theirs is None or theirs > ours) and (not supported or set(words) & set(supported)):
            sent[name] = ours
    return msgspec.structs.replace(TransactionLimit(), **sent) if sent else None
