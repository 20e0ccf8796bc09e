"""Presence of the charger's own powerline modem, from its data link: a fault that operators see."""

from v2g.hardware.interfaces import OnFault
from v2g.observe import Observe


class ModemWatch:
    """Calls `on_fault` with `modem_lost` when the modem does not accept its key or its port is lost, and when it
    recovers. Feed it every event of the data link and its port."""

    def __init__(self, on_fault: OnFault) -> None:
        self._on_fault = on_fault
        self._lost = False

    def saw(self, event: Observe) -> None:
        """Process an event."""
        silent = event.name == "down" and event.data.get("reason") == "modem_silent"
        lost = silent or event.name == "port_lost" or (self._lost and event.name != "key_set")
        if lost is not self._lost:
            self._lost = lost
            self._on_fault("modem_lost", lost)
