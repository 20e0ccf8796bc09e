"""A simulated modem behind a port that has none."""

import secrets

from v2g.net.plc.link import OnFrame, PlcLink
from v2g.slac.modem import AttenuationConfig, Delivery, SimulatedModem


def random_mac() -> bytes:
    """Return a locally administered address."""
    first, *rest = secrets.token_bytes(6)
    return bytes(((first & 0xFC) | 0x02, *rest))


class SimulatedModemLink:
    """A PlcLink through a simulated modem; `measures` as for SimulatedModem."""

    def __init__(self, line: PlcLink, measures: AttenuationConfig | None) -> None:
        self._line = line
        self._callback: OnFrame | None = None
        self.modem = SimulatedModem(host_mac=line.mac, mac=random_mac(), measures=measures)
        line.on_frame(lambda frame: self._deliver(self.modem.from_line(frame)))

    @property
    def mac(self) -> bytes:
        """Our address, that of the line."""
        return self._line.mac

    def on_frame(self, callback: OnFrame) -> None:
        """See PlcLink."""
        self._callback = callback

    def send(self, frame: bytes) -> None:
        """See PlcLink. The modem's own answers arrive before this returns."""
        self._deliver(self.modem.from_host(frame))

    def close(self) -> None:
        """See PlcLink."""
        self._line.close()

    def _deliver(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            if delivery.to == "line":
                self._line.send(delivery.frame)
            elif self._callback is not None:
                self._callback(delivery.frame)
