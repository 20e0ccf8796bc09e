"""Pages of which the tutorial for operators has pictures: `V2G_TUTORIAL_PICTURES=docs/pictures make browser`."""

from typing import Final

SHOWN: Final = ("overview", "session", "v2g", "tariff", "quarantine-open")
