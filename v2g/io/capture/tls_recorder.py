"""Recording a TLS connection as it is on the wire, with its secrets before the bytes that they decrypt."""

import asyncio
from collections.abc import Callable
from functools import partial

import msgspec

from v2g.io.capture.recorder import FrameRecorder
from v2g.io.capture.tcp_recorder import ConnectionRecorder, RecordedConnection
from v2g.io.tls.endpoint import Endpoint, TlsChannel
from v2g.pki.credentials import Credentials
from v2g.pki.verify import VerifiedChain


def recorded(endpoint: Endpoint, recorder: FrameRecorder) -> Endpoint:
    """Return `endpoint` with its connections written into `recorder`; their secrets, too, if it keeps a key log.

    Frames recorded at the port would come before the secrets, too early for readers that do not look ahead.
    """
    connections = ConnectionRecorder(recorder, "bytes of the TLS connection, in synthetic TCP")
    key_log = endpoint.key_log
    return msgspec.structs.replace(
        endpoint,
        record=partial(_record, connections, server=endpoint.server),
        key_log=partial(_log_key, recorder, key_log) if key_log is not None else None,
    )


def _log_key(recorder: FrameRecorder, key_log: Callable[[bytes], None], line: bytes) -> None:
    key_log(line)
    recorder.secrets(line.rstrip(b"\n") + b"\n")


def _record(
    connections: ConnectionRecorder, channel: TlsChannel, writer: asyncio.StreamWriter, *, server: bool
) -> TlsChannel:
    recording = connections.open(writer, server=server)
    return channel if recording is None else RecordedChannel(channel, recording)


class RecordedChannel:
    """A Channel whose connection is recorded."""

    def __init__(self, channel: TlsChannel, recording: RecordedConnection) -> None:
        self._channel, self._recording = channel, recording
        self._fed = bytearray()
        self._ending = False

    @property
    def peer(self) -> VerifiedChain | None:
        return self._channel.peer

    @property
    def ocsp_responses(self) -> tuple[bytes, ...]:
        return self._channel.ocsp_responses

    @property
    def unproven(self) -> str:
        return self._channel.unproven

    @property
    def shown(self) -> Credentials | None:
        return self._channel.shown

    @property
    def cipher(self) -> str:
        return self._channel.cipher

    @property
    def group(self) -> str:
        return self._channel.group

    @property
    def version(self) -> str:
        return self._channel.version

    def handshake(self) -> bool:
        try:
            return self._channel.handshake()
        finally:
            self._received()

    def feed(self, data: bytes) -> None:
        """See Channel. Recorded after the secrets that result from it, for readers that do not look ahead."""
        self._fed += data
        self._channel.feed(data)

    def take(self) -> bytes:
        self._received()
        data = self._channel.take()
        if data:
            self._recording.sent(data)
        if self._ending:
            self._recording.closed()
        return data

    def read(self, n: int) -> bytes | None:
        try:
            return self._channel.read(n)
        finally:
            self._received()

    def write(self, data: bytes) -> None:
        self._channel.write(data)

    def shutdown(self) -> None:
        self._channel.shutdown()
        self._ending = True

    def _received(self) -> None:
        if self._fed:
            self._recording.received(bytes(self._fed))
            self._fed.clear()
