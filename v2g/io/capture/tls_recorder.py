"""Recording a TLS connection as it is on the wire, with its secrets before the bytes that they decrypt."""

import asyncio
from collections.abc import Callable
from functools import partial

import msgspec

from v2g.io.capture.recorder import Recorder
from v2g.io.capture.tcp_frames import Socket, TcpFrames
from v2g.io.tls.endpoint import Channel, Endpoint
from v2g.pki.credentials import Credentials
from v2g.pki.verify import VerifiedChain


def recorded(endpoint: Endpoint, recorder: Recorder) -> Endpoint:
    """Return `endpoint` with its connections written into `recorder`; their secrets, too, if it keeps a key log.

    The connection's frames must not also be recorded at the port: in their order, the secrets would come too
    late for readers that do not look ahead.
    """
    number = recorder.interface("tcp", "bytes of the TLS connection, in synthetic TCP")
    recorder.has_connections = True
    key_log = endpoint.key_log
    return msgspec.structs.replace(
        endpoint,
        record=partial(_record, recorder, number, server=endpoint.server),
        key_log=partial(_log_key, recorder, key_log) if key_log is not None else None,
    )


def _log_key(recorder: Recorder, key_log: Callable[[bytes], None], line: bytes) -> None:
    key_log(line)
    recorder.secrets(line.rstrip(b"\n") + b"\n")


def _record(
    recorder: Recorder, number: int, channel: Channel, writer: asyncio.StreamWriter, *, server: bool
) -> Channel:
    local, peer = writer.get_extra_info("sockname"), writer.get_extra_info("peername")
    if local is None or peer is None:  # gone already
        return channel
    ends = (Socket(*peer[:2]), Socket(*local[:2])) if server else (Socket(*local[:2]), Socket(*peer[:2]))
    return RecordedChannel(channel, TcpFrames(*ends), partial(recorder.packet, number), server=server)


class RecordedChannel:
    """A Channel that passes frames with the connection's bytes to `packet`."""

    def __init__(self, channel: Channel, frames: TcpFrames, packet: Callable[[bytes], None], *, server: bool) -> None:
        self._channel = channel
        self._frames = frames
        self._packet = packet
        self._server = server
        self._fed = bytearray()
        self._ending = False
        self._put(frames.open())

    @property
    def peer(self) -> VerifiedChain | None:
        """See Channel."""
        return self._channel.peer

    @property
    def ocsp_responses(self) -> tuple[bytes, ...]:
        """See Channel."""
        return self._channel.ocsp_responses

    @property
    def unproven(self) -> str:
        """See Channel."""
        return self._channel.unproven

    @property
    def shown(self) -> Credentials | None:
        """See Channel."""
        return self._channel.shown

    @property
    def cipher(self) -> str:
        """See Channel."""
        return self._channel.cipher

    @property
    def group(self) -> str:
        """See Channel."""
        return self._channel.group

    @property
    def version(self) -> str:
        """See Channel."""
        return self._channel.version

    def handshake(self) -> bool:
        """See Channel."""
        try:
            return self._channel.handshake()
        finally:
            self._received()

    def feed(self, data: bytes) -> None:
        """See Channel. Recorded after the secrets that result from it, for readers that do not look ahead."""
        self._fed += data
        self._channel.feed(data)

    def take(self) -> bytes:
        """See Channel."""
        self._received()
        data = self._channel.take()
        self._put(self._frames.data(data, from_client=not self._server))
        if self._ending:
            self._put(self._frames.close())
            self._ending = False
        return data

    def read(self, n: int) -> bytes | None:
        """See Channel."""
        try:
            return self._channel.read(n)
        finally:
            self._received()

    def write(self, data: bytes) -> None:
        """See Channel."""
        self._channel.write(data)

    def shutdown(self) -> None:
        """See Channel."""
        self._channel.shutdown()
        self._ending = True

    def _received(self) -> None:
        if self._fed:
            self._put(self._frames.data(bytes(self._fed), from_client=self._server))
            self._fed.clear()

    def _put(self, frames: list[bytes]) -> None:
        for frame in frames:
            self._packet(frame)
