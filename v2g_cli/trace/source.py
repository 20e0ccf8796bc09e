"""Sources of conversations: traces, and recordings with the secrets of their connections."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from v2g.errors import CodecError, ConfigError
from v2g.exi.declare import Schema
from v2g.io.capture import pcapng, recorder
from v2g.io.capture.tls_decryption import OpenedConnection, key_log
from v2g.io.runtime import trace
from v2g.iso15118 import trace as lines
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.session import decode_payload
from v2g.iso15118.din.schemas import DIN
from v2g.iso15118.engine.v2g_message import decode_message
from v2g.iso15118.engine.v2gtp import VERSION, Framer, PayloadType
from v2g.iso15118.trace import Described, Line, Way
from v2g.iso15118.trace_read import Entry, entries

_SECTION: Final = b"\x0a\x0d\x0d\x0a"
"""First bytes of pcapng."""

_IPV6, _TCP, _SYN, _ACK = b"\x86\xdd", 6, 0x02, 0x10
_OLDER: Final[Mapping[str, Schema]] = {each.uri: each for each in (ISO2, DIN)}
_FAMILIES: Final = {"AC": Family.AC, "DC": Family.DC, "WPT": Family.WPT, "ACDP": Family.ACDP}


def read_entries(path: Path) -> list[Entry]:
    """Return everything in a file. Raises TransportError, CodecError, and ConfigError for missing secrets."""
    return entries(_recorded(path) if _begins(path, _SECTION) else trace.read(path))


def _begins(path: Path, mark: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(mark)) == mark
    except OSError:
        return False


class _Conversation:
    """One TCP connection of a recording: bytes in, lines out. A recording has no states.

    TLS is decrypted; what begins as V2GTP is plain, as with DIN 70121. The answered handshake selects the edition.
    """

    def __init__(self, run: str, secrets: dict[bytes, dict[str, bytes]]) -> None:
        self.opened = OpenedConnection(secrets)
        self._plain: bool | None = None
        self._offered: dict[int, str] = {}
        self._older: Schema | None = None
        self.run = run
        self._framers = (Framer(), Framer())
        self._next: list[int | None] = [None, None]
        self._family = Family.DC
        self._session = ""

    def take(self, side: int, sequence: int, data: bytes, time_ns: int) -> Iterator[Line]:
        """Process a segment of the client (0) or the server (1); retransmissions are ignored."""
        if not data or sequence != (self._next[side] if self._next[side] is not None else sequence):
            return
        self._next[side] = (sequence + len(data)) & 0xFFFFFFFF
        if self._plain is None:
            self._plain = data.startswith(VERSION)
        for plain in (data,) if self._plain else self.opened.feed(side, data):
            for frame in self._framers[side].feed(plain):
                yield self._line("in" if side else "out", frame.payload_type, frame.payload, time_ns)

    def _line(self, way: Way, payload_type: int, payload: bytes, time_ns: int) -> Line:
        stream = lines.stream_name(payload_type)
        self._family = _FAMILIES.get(stream, self._family)
        described = lines.describe(payload_type, payload, self._decode)
        self._negotiate(described)
        header = described.body.get("Header") if isinstance(described.body, dict) else None
        if isinstance(header, dict) and int(header["SessionID"], 16):
            self._session = header["SessionID"].lower()
        return Line(
            time=lines.rfc3339(time_ns // 1_000_000),
            mono_ms=round(time_ns / 1_000_000, 3),
            run=self.run,
            session=self._session,
            process="evcc",  # out: from the client, the vehicle
            way=way,
            name=described.name,
            stream=stream,
            body=described.body,
            exi="" if described.withheld else payload.hex(),
            withheld=described.withheld,
            error=described.error,
        )

    def _decode(self, payload_type: int, payload: bytes) -> tuple[Any, int]:
        if payload_type == PayloadType.SAP and self._older is not None:
            return decode_message(payload, self._older, handshake=False)
        return decode_payload(payload_type, payload, self._family)

    def _negotiate(self, described: Described) -> None:
        """Note what the vehicle offers, and what the charger selects of it."""
        if described.name == "SupportedAppProtocolReq":
            self._offered = {each["SchemaID"]: each["ProtocolNamespace"] for each in described.body["AppProtocol"]}
        elif described.name == "SupportedAppProtocolRes":
            selected = self._offered.get(described.body.get("SchemaID"), "")
            self._older = _OLDER.get(selected)


def _recorded(path: Path) -> Iterator[Line]:
    """Yield the messages of every connection that can be decrypted."""
    secrets: dict[bytes, dict[str, bytes]] = {}
    for record in recorder.read(path):
        if isinstance(record, recorder.Secrets) and record.kind == pcapng.TLS_KEY_LOG:
            for random, named in key_log(record.data).items():
                secrets.setdefault(random, {}).update(named)
    connections: dict[tuple[bytes, bytes], _Conversation] = {}
    count = 0
    for packet in recorder.packets(path):
        segment = _segment(packet.data)
        if segment is None:
            continue
        ends, flags, sequence, data = segment
        if flags & _SYN and not flags & _ACK:
            connections[ends] = _Conversation(f"connection {len(connections) + 1}", secrets)
        for side, key in enumerate((ends, ends[::-1])):
            if key in connections and not flags & _SYN:
                try:
                    for line in connections[key].take(side, sequence, data, packet.time_ns):
                        count += 1
                        yield line
                except CodecError as error:
                    raise CodecError(f"{path}, {connections[key].run}: {error}", hint="is it complete?") from None
    if not count:
        why = next((each.opened.missing for each in connections.values() if each.opened.missing), "no connection")
        raise ConfigError(
            f"{path}: {why}", hint="record with tls.key_log set; Wireshark shows what is visible without it"
        )


def _segment(frame: bytes) -> tuple[tuple[bytes, bytes], int, int, bytes] | None:
    """Return ends, flags, sequence number and data of a TCP segment over IPv6 without extension headers."""
    if frame[12:14] != _IPV6 or len(frame) < 74 or frame[20] != _TCP:
        return None
    segment = frame[54 : 54 + int.from_bytes(frame[18:20], "big")]
    ends = (frame[22:38] + segment[:2], frame[38:54] + segment[2:4])
    return ends, segment[13], int.from_bytes(segment[4:8], "big"), segment[(segment[12] >> 4) * 4 :]
