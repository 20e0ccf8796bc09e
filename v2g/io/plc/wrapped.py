"""What every port around another one has in common."""

from v2g.io.plc.link import OnFrame, OnPort, PlcLink


class WrappedLink:
    """A PlcLink that passes everything on to the one it wraps; those who do more say what."""

    def __init__(self, link: PlcLink) -> None:
        self._link = link
        self._callback: OnFrame | None = None

    @property
    def mac(self) -> bytes:
        """See PlcLink."""
        return self._link.mac

    def on_frame(self, callback: OnFrame) -> None:
        """See PlcLink."""
        self._callback = callback

    def on_port(self, callback: OnPort) -> None:
        """See PlcLink."""
        self._link.on_port(callback)

    def send(self, frame: bytes) -> None:
        """See PlcLink."""
        self._link.send(frame)

    def close(self) -> None:
        """See PlcLink."""
        self._link.close()

    def _pass_on(self, frame: bytes) -> None:
        """Give a frame to whoever listens."""
        if self._callback is not None:
            self._callback(frame)
