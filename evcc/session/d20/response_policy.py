"""The vehicle's reaction to every response code in every response: data.

A code that is not in a table has the reaction of its kind, so that codes in unexpected places
are tolerated: OK continues, a warning is reported, a failure ends the session (clause 8.6).
"""

import enum
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from v2g.iso15118.d20.messages.common_types import ResponseCode


class Reaction(enum.Enum):
    """Reaction to a response."""

    GO_ON = "continue"
    NOTE = "report it and continue"
    TRY_ANOTHER = "not authorised or not installed: try the next means, or stop normally"
    KEEP = "continue with the previous state"
    STOP = "stop normally"
    END = "end at once, make everything safe, send no further request"


_WARNINGS: Final = tuple(code for code in ResponseCode if code.name.startswith("WARNING"))

REACTIONS: Final[Mapping[str, Mapping[ResponseCode, Reaction]]] = MappingProxyType(
    {
        # Table 224: with any warning the vehicle is not authorised
        "AuthorizationRes": MappingProxyType(dict.fromkeys(_WARNINGS, Reaction.TRY_ANOTHER)),
        "CertificateInstallationRes": MappingProxyType(dict.fromkeys(_WARNINGS, Reaction.TRY_ANOTHER)),
        # with any warning the charger has returned to its previous state (see the charts)
        "ScheduleExchangeRes": MappingProxyType(dict.fromkeys(_WARNINGS, Reaction.KEEP)),
        "PowerDeliveryRes": MappingProxyType(
            {
                **dict.fromkeys(_WARNINGS, Reaction.STOP),
                ResponseCode.WARNING_PowerToleranceNotConfirmed: Reaction.NOTE,
                ResponseCode.WARNING_ScheduleRenegotiationFailed: Reaction.KEEP,
                ResponseCode.WARNING_StandbyNotAllowed: Reaction.KEEP,
                ResponseCode.WARNING_EVPowerProfileViolation: Reaction.NOTE,
                ResponseCode.WARNING_WPT: Reaction.NOTE,
            }
        ),
    }
)
"""Name of the response -> code -> reaction, if the kind of the code does not determine it."""


def reaction(response: Any) -> Reaction:
    """Return the reaction to a response (a message Struct)."""
    return _reaction(type(response).__name__, response.response_code)


@cache
def _reaction(name: str, code: ResponseCode) -> Reaction:
    known = REACTIONS.get(name, {}).get(code)
    if known is not None:
        return known
    kind = code.name.partition("_")[0].upper()
    return {"OK": Reaction.GO_ON, "WARNING": Reaction.NOTE}.get(kind, Reaction.END)
