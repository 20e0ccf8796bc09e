"""The powerline between processes of one machine: Ethernet frames over the medium."""

from v2g.errors import ConfigError
from v2g.net.medium import Channel, Medium
from v2g.net.plc.link import OnFrame, PlcConfig, PlcLink, parse_mac
from v2g.net.plc.simulation import random_mac


class LoopbackLink:
    """A PlcLink on the medium. As on copper, every station gets every frame; addresses are for the modem to check."""

    def __init__(self, medium: Medium, mac: bytes) -> None:
        self._medium = medium
        self._mac = mac
        self._callback: OnFrame | None = None
        medium.subscribe(Channel.PLC, self._received)

    @property
    def mac(self) -> bytes:
        """Our address."""
        return self._mac

    def on_frame(self, callback: OnFrame) -> None:
        """See PlcLink."""
        self._callback = callback

    def send(self, frame: bytes) -> None:
        """See PlcLink."""
        self._medium.send(Channel.PLC, frame)

    def close(self) -> None:
        """Stop listening. The medium belongs to whoever attached it."""
        self._callback = None

    def _received(self, _peer: str, frame: bytes) -> None:
        if self._callback is not None:
            self._callback(frame)


def open_loopback(config: PlcConfig, medium: Medium | None) -> PlcLink:
    """Open the loopback port on `medium`."""
    if medium is None:
        raise ConfigError("the loopback powerline needs a medium", hint="set the folder of the simulated medium")
    return LoopbackLink(medium, parse_mac(config.mac) if config.mac else random_mac())
