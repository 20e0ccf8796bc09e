"""The states of an EVSE, as charts: data."""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final


class Service(Enum):
    """Who is served."""

    FREE = "no vehicle is served"
    SESSION = "session of ISO 15118"
    BASIC = "basic charging"  # IEC 61851-1, by nominal duty


class Pause(Enum):
    """What is known of a paused session. Its journal and its transaction are open in every state but NONE."""

    NONE = "no paused session"
    SAVING = "session is being saved"
    UNWANTED = "session is being saved, then closed"
    KEPT = "session is kept"  # its vehicle may resume it


class Availability(Enum):
    """What the data link shows to vehicles."""

    AVAILABLE = "available"
    UNAVAILABLE = "pilot shows F"


Chart = Mapping[Enum, Mapping[str, Enum]]
"""State -> what happens there -> the next state; anything else leaves the state as it is."""

CHARTS: Final[Mapping[str, Chart]] = MappingProxyType(
    {
        "service": {
            Service.FREE: {"vehicle connects": Service.SESSION, "ISO 15118 is not possible": Service.BASIC},
            Service.SESSION: {"session ends": Service.FREE},
            Service.BASIC: {"session ends": Service.FREE},
        },
        "pause": {
            Pause.NONE: {"vehicle pauses": Pause.SAVING, "found at start": Pause.KEPT},
            Pause.SAVING: {"saved": Pause.KEPT, "cannot return": Pause.UNWANTED, "not saved": Pause.NONE},
            Pause.UNWANTED: {"saved": Pause.NONE, "not saved": Pause.NONE},
            Pause.KEPT: {"vehicle resumes": Pause.NONE, "cannot return": Pause.NONE},
        },
        "availability": {
            Availability.AVAILABLE: {"fault, or out of service": Availability.UNAVAILABLE},
            Availability.UNAVAILABLE: {"available again": Availability.AVAILABLE},
        },
    }
)
"""The states of an EVSE: one of each chart at a time."""
