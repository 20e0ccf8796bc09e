"""Recording TCP connections at their endpoint, in synthetic frames."""

import asyncio
from functools import partial

from v2g.io.capture.recorder import Recorder
from v2g.io.capture.tcp_frames import Socket, TcpFrames


class ConnectionRecorder:
    """Records connections into `recorder`, on an interface of their own with this description.

    Their frames are not recorded at the port as well: each byte appears once.
    """

    def __init__(self, recorder: Recorder, description: str = "bytes of the TCP connection, in synthetic TCP") -> None:
        number = recorder.interface("tcp", description)
        recorder.has_connections = True
        self._packet = partial(recorder.packet, number)

    def open(self, writer: asyncio.StreamWriter, *, server: bool) -> "RecordedConnection | None":
        """Record the beginning of a connection, `server` at its server; None if it is gone already."""
        local, peer = writer.get_extra_info("sockname"), writer.get_extra_info("peername")
        if local is None or peer is None:
            return None
        ends = (Socket(*peer[:2]), Socket(*local[:2])) if server else (Socket(*local[:2]), Socket(*peer[:2]))
        return RecordedConnection(self, TcpFrames(*ends), server=server)

    def put(self, frames: list[bytes]) -> None:
        """Record frames."""
        for frame in frames:
            self._packet(frame)


class RecordedConnection:
    """One connection, recorded at one of its ends."""

    def __init__(self, recorder: ConnectionRecorder, frames: TcpFrames, *, server: bool) -> None:
        self._recorder, self._frames, self._server = recorder, frames, server
        self._closed = False
        recorder.put(frames.open())

    def received(self, data: bytes) -> None:
        """Record bytes of the peer."""
        self._recorder.put(self._frames.data(data, from_client=self._server))

    def sent(self, data: bytes) -> None:
        """Record our own bytes."""
        self._recorder.put(self._frames.data(data, from_client=not self._server))

    def closed(self) -> None:
        """Record the end; idempotent."""
        if not self._closed:
            self._closed = True
            self._recorder.put(self._frames.close())
