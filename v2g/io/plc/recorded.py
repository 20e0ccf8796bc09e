"""Recording of a host's traffic on its powerline port."""

from typing import Final

import msgspec

from v2g.errors import FrameError
from v2g.io.capture.recorder import Recorder
from v2g.io.plc.link import PlcLink
from v2g.io.plc.tap import WrappedLink
from v2g.slac import mme

_IPV6, _TCP = b"\x86\xdd", b"\x06"

BLANKED: Final = "network key blanked"
"""Comment of a recorded frame whose NMK was overwritten with zeros."""


class RecordedLink(WrappedLink):
    """A PlcLink that writes every frame into a Recorder, which belongs to the caller."""

    def __init__(self, link: PlcLink, recorder: Recorder, name: str) -> None:
        super().__init__(link)
        self._recorder = recorder
        self._number = recorder.interface(name, "powerline port: host to modem and back")
        link.on_frame(self._received)

    def send(self, frame: bytes) -> None:
        """See PlcLink."""
        self._record(frame, outbound=True)
        super().send(frame)

    def _received(self, frame: bytes) -> None:
        self._record(frame, outbound=False)
        self._pass_on(frame)

    def _record(self, frame: bytes, *, outbound: bool) -> None:
        if self._recorder.has_connections and frame[12:14] == _IPV6 and frame[20:21] == _TCP:
            return
        recorded = frame if self._recorder.network_keys else without_keys(frame)
        self._recorder.packet(self._number, recorded, outbound=outbound, comment="" if recorded == frame else BLANKED)


def without_keys(frame: bytes) -> bytes:
    """Return the frame with keys and other secrets zeroed; the same frame if it has none."""
    try:
        header = mme.read_header(frame)
    except FrameError:
        return frame
    codec = mme.CODECS.get((header.mmtype, header.version > 0, header.oui))
    if codec is None or not codec.holds_secrets:
        return frame
    try:
        message = mme.decode(frame).message
    except FrameError:  # the key's position is unknown
        return frame[: header.payload_at] + bytes(len(frame) - header.payload_at)
    blank = {name: bytes(len(getattr(message, name))) for name in codec.secrets}
    changed = mme.encode(mme.MmeFrame(frame[:6], frame[6:12], msgspec.structs.replace(message, **blank)))
    return (frame[: header.payload_at] + changed[header.payload_at :]).ljust(len(frame), b"\0")
