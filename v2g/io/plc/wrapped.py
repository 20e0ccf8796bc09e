"""Base of ports that wrap another one."""

from v2g.io.plc.link import OnFrame, OnPort, PlcLink


class WrappedLink:
    """A PlcLink that forwards everything to the wrapped one; subclasses override parts."""

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
        """Pass a frame to the callback."""
        if self._callback is not None:
            self._callback(frame)
