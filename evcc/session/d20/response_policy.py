"""What the vehicle makes of every response code in every response: data.

A code that a table does not hold is taken by its kind, so that a charger that uses one where the standard does not
foresee it is borne: OK goes on, a warning is noted, a failure ends the session (clause 8.6).
"""

import enum
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from v2g.iso15118.d20.messages.common_types import ResponseCode


class Reaction(enum.Enum):
    """What follows a response."""

    GO_ON = "go on"
    NOTE = "note it and go on"
    TRY_ANOTHER = "not authorised or not installed: try the next means, or stop in order"
    KEEP = "go on with what held before"
    STOP = "stop in order"
    END = "end at once, with everything made safe and no further request"


_WARNINGS: Final = tuple(code for code in ResponseCode if code.name.startswith("WARNING"))

REACTIONS: Final[Mapping[str, Mapping[ResponseCode, Reaction]]] = MappingProxyType(
    {
        # Table 224: whatever is warned of here, the vehicle is not authorised
        "AuthorizationRes": MappingProxyType(dict.fromkeys(_WARNINGS, Reaction.TRY_ANOTHER)),
        "CertificateInstallationRes": MappingProxyType(dict.fromkeys(_WARNINGS, Reaction.TRY_ANOTHER)),
        # whatever is warned of, the charger is back where it was (see the charts)
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
"""Name of the response -> code -> reaction, where the kind of the code does not settle it."""


def reaction(response: Any) -> Reaction:
    """Return what follows a response (a message Struct)."""
    return _reaction(type(response).__name__, response.response_code)


@cache
def _reaction(name: str, code: ResponseCode) -> Reaction:
    known = REACTIONS.get(name, {}).get(code)
    if known is not None:
        return known
    kind = code.name.partition("_")[0].upper()
    return {"OK": Reaction.GO_ON, "WARNING": Reaction.NOTE}.get(kind, Reaction.END)
