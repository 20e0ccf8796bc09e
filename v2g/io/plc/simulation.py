"""A simulated modem for a port without one."""

from v2g.io.plc.link import PlcLink, random_mac
from v2g.io.plc.wrapped import WrappedLink
from v2g.slac.modem import Delivery, Measures, SimulatedModem


class SimulatedModemLink(WrappedLink):
    """A PlcLink through a simulated modem; `measures` as for SimulatedModem."""

    def __init__(self, line: PlcLink, measures: Measures | None) -> None:
        super().__init__(line)
        self.modem = SimulatedModem(host_mac=line.mac, mac=random_mac(), measures=measures)
        line.on_frame(lambda frame: self._deliver(self.modem.from_line(frame)))

    def send(self, frame: bytes) -> None:
        """See PlcLink. The modem's own answers arrive before this returns."""
        self._deliver(self.modem.from_host(frame))

    def _deliver(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            if delivery.to == "line":
                self._link.send(delivery.frame)
            else:
                self._pass_on(delivery.frame)
