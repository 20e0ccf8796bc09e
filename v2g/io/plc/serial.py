"""The powerline behind a serial port: a QCA7000 in UART mode."""

from v2g.errors import ConfigError
from v2g.io.plc.link import OnFrame, OnPort, PlcConfig, PlcLink, own_mac
from v2g.io.serial_port import SerialPort
from v2g.io.simulation.medium import Medium
from v2g.slac import uart


class SerialLink:
    """A PlcLink on one port, 8N1 without flow control."""

    def __init__(self, device: str, baud_rate: int, mac: bytes) -> None:
        """Open the port. Raises TransportError when it is missing or in use."""
        self._mac = mac
        self._callback: OnFrame | None = None
        self._on_port: OnPort | None = None
        self._deframer = uart.Deframer()
        self._port = SerialPort(device, baud_rate, on_data=self._received, on_gone=self._gone)

    @property
    def mac(self) -> bytes:
        """The port's own address, configured or random."""
        return self._mac

    def on_frame(self, callback: OnFrame) -> None:
        """See PlcLink."""
        self._callback = callback

    def on_port(self, callback: OnPort) -> None:
        """See PlcLink."""
        self._on_port = callback

    def send(self, frame: bytes) -> None:
        """See PlcLink."""
        self._port.write(uart.wrap(frame))

    def close(self) -> None:
        """See PlcLink."""
        self._port.close()

    def _received(self, data: bytes) -> None:
        for frame in self._deframer.feed(data):
            if self._callback is not None:
                self._callback(frame)

    def _gone(self) -> None:
        """Handle the port's loss."""
        if self._on_port is not None:
            self._on_port(False)  # noqa: FBT003


def open_serial(config: PlcConfig, _medium: Medium | None) -> PlcLink:
    """Open `config.device`."""
    if not config.device:
        raise ConfigError("the serial powerline needs a port", hint="set `device`, such as /dev/ttyUSB0")
    return SerialLink(config.device, config.baud_rate, own_mac(config))
