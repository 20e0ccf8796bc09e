"""The powerline between stations of one process or one machine: Ethernet frames over the medium."""

from typing import Final

from v2g.errors import ConfigError
from v2g.io.plc.link import OnFrame, OnPort, PlcConfig, PlcLink, own_mac
from v2g.io.simulation.medium import Medium, MediumChannel
from v2g.slac.modem import Measures

_STATIONS: Final = 256  # limit of stored addresses


class LoopbackLink:
    """A PlcLink on the medium. As on copper, every station in range receives every frame; addresses are checked by the
    modem."""

    def __init__(self, medium: Medium, mac: bytes) -> None:
        self._medium = medium
        self.mac = mac
        """The port's own address."""
        self._callback: OnFrame | None = None
        self._attenuations: dict[bytes, int] = {}
        medium.subscribe(MediumChannel.PLC, self._received)

    def on_frame(self, callback: OnFrame) -> None:
        self._callback = callback

    def on_port(self, callback: OnPort) -> None:
        """See PlcLink. A medium is never lost."""

    def send(self, frame: bytes) -> None:
        self._medium.send(MediumChannel.PLC, frame)

    def close(self) -> None:
        """Stop listening. The medium belongs to the caller."""
        self._callback = None

    def extra_db(self, mac: bytes) -> int:
        """Return the medium's additional attenuation of frames from `mac`, dB."""
        return self._attenuations.get(mac, 0)

    def _received(self, peer: str, frame: bytes) -> None:
        db = self._medium.attenuation_db(peer)
        if self._callback is None or db is None:
            return
        source = frame[6:12]
        if source in self._attenuations or len(self._attenuations) < _STATIONS:
            self._attenuations[source] = db
        self._callback(frame)


class MeasuresAcross:
    """Measurements of a charger's modem on a medium with different attenuations. Implements Measures."""

    def __init__(self, link: LoopbackLink, near: Measures) -> None:
        self._link = link
        self._near = near

    def profile(self, pev_mac: bytes) -> bytes:
        extra = self._link.extra_db(pev_mac)
        return bytes(min(255, db + extra) for db in self._near.profile(pev_mac))


def open_loopback(config: PlcConfig, medium: Medium | None) -> PlcLink:
    """Open the loopback port on `medium`."""
    if medium is None:
        raise ConfigError("the loopback powerline needs a medium", hint="set the folder of the simulated medium")
    return LoopbackLink(medium, own_mac(config))
