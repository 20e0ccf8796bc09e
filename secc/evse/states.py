"""The states of an EVSE, as charts: data."""

from collections.abc import Mapping
from enum import Enum
from typing import Final


class EvseService(Enum):
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


class LinkAvailability(Enum):
    """What the data link shows to vehicles."""

    AVAILABLE = "available"
    UNAVAILABLE = "pilot shows F"


Chart = Mapping[Enum, Mapping[str, Enum]]
"""State -> what happens there -> the next state; anything else leaves the state as it is."""

CHARTS: Final[Mapping[str, Chart]] = {
    "service": {
        EvseService.FREE: {"vehicle connects": EvseService.SESSION, "ISO 15118 is not possible": EvseService.BASIC},
        EvseService.SESSION: {"session ends": EvseService.FREE},
        EvseService.BASIC: {"session ends": EvseService.FREE},
    },
    "pause": {
        Pause.NONE: {"vehicle pauses": Pause.SAVING, "found at start": Pause.KEPT},
        Pause.SAVING: {"saved": Pause.KEPT, "cannot return": Pause.UNWANTED, "not saved": Pause.NONE},
        Pause.UNWANTED: {"saved": Pause.NONE, "not saved": Pause.NONE},
        Pause.KEPT: {"vehicle resumes": Pause.NONE, "cannot return": Pause.NONE},
    },
    "availability": {
        LinkAvailability.AVAILABLE: {"fault, or out of service": LinkAvailability.UNAVAILABLE},
        LinkAvailability.UNAVAILABLE: {"available again": LinkAvailability.AVAILABLE},
    },
}
"""The states of an EVSE: one of each chart at a time."""
