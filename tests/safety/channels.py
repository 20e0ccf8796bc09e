"""What several tests of channels use."""

from typing import Final

from v2g.hardware.interfaces import OnFault
from v2g.safety import ChargerRating

RATING: Final = ChargerRating(charge_w=20_000, discharge_w=0)


class FaultLog:
    """Where faults are kept."""

    faults = ()

    def __init__(self) -> None:
        self.reported: list[tuple[str, bool]] = []

    def on_fault(self, callback: OnFault) -> None:
        """There are none but those of the monitor."""

    def fault(self, word: str, active: bool) -> None:
        self.reported.append((word, active))
