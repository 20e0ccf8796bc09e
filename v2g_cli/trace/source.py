"""Sources of conversations: traces, and recordings with the secrets of their connections."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from v2g.errors import CodecError, ConfigError, FrameError, V2GError
from v2g.exi.bits import Deviation
from v2g.exi.declare import Schema
from v2g.io.capture import pcap, pcapng, recorder
from v2g.io.capture.tcp_segments import ACK, SYN, Direction, TcpSegment, is_read, segment_of
from v2g.io.capture.tls_decryption import OpenedConnection, key_log
from v2g.io.runtime import trace
from v2g.iso15118 import trace as lines
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.schemas import AC_DER_IEC, AC_DER_SAE
from v2g.iso15118.d20.session import decode_payload
from v2g.iso15118.din.schemas import DIN
from v2g.iso15118.engine.v2g_message import decode_message
from v2g.iso15118.engine.v2gtp import VERSION, Framer, PayloadType
from v2g.iso15118.trace import Described, Line, Way
from v2g.iso15118.trace_read import Entry, entries

_CAPTURES: Final = (b"\x0a\x0d\x0d\x0a", *pcap.MAGICS)
"""First bytes of pcapng and pcap."""

_TEXT: Final = re.compile(rb"[\s\0 -~\xef\xbb\xbf]*")
"""What a trace begins with; zeros are left by a power cut."""

_TLS_HANDSHAKE, _CLIENT_HELLO = b"\x16", b"\x01"
_OLDER: Final[Mapping[str, Schema]] = {each.uri: each for each in (ISO2, DIN)}
_DER: Final = {"AC_DER_IEC": AC_DER_IEC, "AC_DER_SAE": AC_DER_SAE}
_FAMILIES: Final = {**dict.fromkeys(("AC", *_DER), Family.AC), "DC": Family.DC, "WPT": Family.WPT, "ACDP": Family.ACDP}


def read_entries(path: Path, errors: list[V2GError] | None = None) -> list[Entry]:
    """Return what can be read of a file, and add what cannot to `errors`.

    Without `errors` the first one is raised: CodecError, and ConfigError for an unreadable file or missing secrets.
    """
    found: list[V2GError] = [] if errors is None else errors
    if path.is_fifo():
        raise ConfigError(f"{path}: a pipe", hint="it would be read more than once: write it to a file before")
    if path.is_file() and not path.stat().st_size:
        found.append(FrameError(f"{path}: an empty file"))
    try:
        return entries(list(_recorded(path, found) if _is_capture(path) else trace.read(path, found)))
    finally:
        if errors is None and found:
            raise found[0]


def _is_capture(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except OSError:
        return False
    if head not in _CAPTURES and not _TEXT.fullmatch(head):
        raise ConfigError(
            f"{path}: neither a trace nor a recording (pcapng, pcap)",
            hint="editcap -F pcapng converts other recordings, also compressed ones",
        )
    return head in _CAPTURES


class _Conversation:
    """One TCP connection of a recording: segments in, lines out. A recording has no states.

    TLS is decrypted; what begins as V2GTP is plain, as with DIN 70121. The answered handshake selects the edition;
    where the recording begins later, or lacks something, the messages show edition and vehicle.
    """

    def __init__(self, run: str, secrets: dict[bytes, dict[str, bytes]], ends: tuple[bytes, bytes]) -> None:
        self.opened = OpenedConnection(secrets)
        self.run = run
        self.directions = {end: Direction() for end in ends}
        self.vehicle: bytes | None = None
        """The vehicle's end, which has connected; None: not known yet."""
        self._plain: bool | None = None
        self._first: dict[bytes, bytes] = dict.fromkeys(ends, b"")
        """What each end began with, until that shows what the connection is."""
        self._begun: dict[bytes, bytes] = {}
        """The first octet of a header, for want of the second."""
        self._gap = False
        """Whether the last line is about missing octets."""
        self.flaws: list[CodecError] = []
        """What could not be read in between."""
        self._offered: dict[int, str] = {}
        self._older: Schema | None = None
        self._framers: dict[bytes, Framer | None] = dict.fromkeys(ends)
        self._family = Family.DC
        self._der: Schema | None = None
        self._session = ""
        self.broken = False
        """Whether nothing more can be read of it."""
        self.count = 0
        """The messages that have been read."""
        self._beyond: list[Deviation] = []

    def take(self, segment: TcpSegment, time_ns: int) -> Iterator[Line]:
        """Process a segment; an answer shows what its recording lacks."""
        if segment.data:
            missing = self.directions[segment.destination].answered(segment.acknowledged)
            yield from self._lines(segment.destination, missing, time_ns)
        yield from self._lines(segment.source, self.directions[segment.source].take(segment), time_ns)

    def end(self, time_ns: int) -> Iterator[Line]:
        """Process what still waits for something that was not recorded."""
        for end, direction in self.directions.items():
            yield from self._lines(end, direction.end(), time_ns)

    def _lines(self, source: bytes, pieces: Iterator[tuple[bytes, bool]], time_ns: int) -> Iterator[Line]:
        for data, gap in pieces:
            if gap and not self._gap and self.count:
                self._gap = True
                yield self._said(time_ns, way="fact", stage="recording", name="gap")
            if self._plain is None:
                self._first[source] = (b"" if gap else self._first[source]) + data
                if not self._recognise(source, self._first[source]):
                    continue
                data = self._first[source]
            for plain in (data,) if self._plain else self.opened.feed(int(source != self.vehicle), data):
                framer = None if gap else self._framers[source]
                before = self._begun.pop(source, b"")
                begun = plain if gap else before + plain
                if framer is None and begun.startswith(VERSION):
                    framer = Framer()  # within a message of which the beginning is missing there is nothing to read
                elif framer is None and begun == VERSION[:1]:
                    self._begun[source] = begun
                self._framers[source] = framer
                try:
                    for frame in framer.feed(begun) if framer is not None else ():
                        self._gap = False
                        yield self._line(source, frame.payload_type, frame.payload, time_ns)
                except FrameError as error:
                    self._framers[source] = None
                    self.flaws.append(error)

    def _recognise(self, source: bytes, data: bytes) -> bool:
        """Return whether this connection is readable from here on: as V2GTP, or by the ClientHello of TLS."""
        if data.startswith(VERSION):
            self._plain = True
        elif data[:1] == _TLS_HANDSHAKE and data[5:6] == _CLIENT_HELLO:
            self._plain, self.vehicle = False, source
        elif not (VERSION.startswith(data) or (len(data) < 6 and data[:1] == _TLS_HANDSHAKE)):
            self._first[source] = b""  # the rest of a message
        return self._plain is not None

    def _line(self, source: bytes, payload_type: int, payload: bytes, time_ns: int) -> Line:
        stream = lines.stream_name(payload_type)
        self._family, self._der = _FAMILIES.get(stream, self._family), _DER.get(stream, self._der)
        self._beyond, self.count = [], self.count + 1
        described = lines.describe(payload_type, payload, self._decode)
        self._negotiate(described)
        if self.vehicle is None:
            asks = described.name.endswith("Req")
            self.vehicle = source if asks else next(end for end in self.directions if end != source)
        way: Way = "out" if source == self.vehicle else "in"
        header = described.body.get("Header") if isinstance(described.body, dict) else None
        session = header.get("SessionID", "") if isinstance(header, dict) else ""
        if session.strip("0"):  # empty or zero: none yet
            self._session = session.lower()
        return self._said(
            time_ns,
            way=way,
            name=described.name,
            stream=stream,
            body=described.body,
            exi="" if described.withheld else payload.hex(),
            withheld=described.withheld,
            beyond=tuple(str(each) for each in self._beyond),
            error=described.error,
        )

    def _said(self, time_ns: int, **content: Any) -> Line:
        return Line(
            time=lines.rfc3339(time_ns // 1_000_000),
            mono_ms=round(time_ns / 1_000_000, 3),
            run=self.run,
            session=self._session,
            process="evcc",  # out: from the client, the vehicle
            **content,
        )

    def _decode(self, payload_type: int, payload: bytes) -> tuple[Any, int]:
        if payload_type == PayloadType.SAP and self._older is not None:
            return decode_message(payload, self._older, handshake=False, deviations=self._beyond)
        try:
            return decode_payload(payload_type, payload, self._family, self._beyond, der=self._der)
        except CodecError:
            if payload_type != PayloadType.SAP:
                raise
            for schema in _OLDER.values():  # the handshake was not recorded
                with contextlib.suppress(CodecError):
                    found = decode_message(payload, schema, handshake=False, deviations=self._beyond)
                    self._older = schema
                    return found
            raise

    def _negotiate(self, described: Described) -> None:
        """Note what the vehicle offers, and what the charger selects of it."""
        if described.name == "SupportedAppProtocolReq":
            self._offered = {each["SchemaID"]: each["ProtocolNamespace"] for each in described.body["AppProtocol"]}
        elif described.name == "SupportedAppProtocolRes":
            selected = self._offered.get(described.body.get("SchemaID"), "")
            self._older = _OLDER.get(selected)


def _recorded(path: Path, errors: list[V2GError]) -> Iterator[Line]:
    """Yield the messages of every connection that can be decrypted; the others go on after what is wrong with one."""
    secrets: dict[bytes, dict[str, bytes]] = {}
    for record in recorder.read(path, []):  # what is wrong with it is named below
        if isinstance(record, recorder.Secrets) and record.kind == pcapng.TLS_KEY_LOG:
            for random, named in key_log(record.data).items():
                secrets.setdefault(random, {}).update(named)
    connections: dict[frozenset[bytes], _Conversation] = {}
    all_: list[_Conversation] = []
    unread: set[int] = set()
    count = last_ns = 0
    for packet in recorder.packets(path, errors):
        if not is_read(packet.interface.link_type):
            unread.add(packet.interface.link_type)
        segment = segment_of(packet)
        if segment is None:
            continue
        ends, last_ns = frozenset((segment.source, segment.destination)), packet.time_ns
        known = connections.get(ends)
        if known is None or known.directions[segment.source].begins_anew(segment):
            known = connections[ends] = _Conversation(
                f"connection {len(all_) + 1}", secrets, (segment.source, segment.destination)
            )
            all_.append(known)
            if segment.flags & SYN:
                known.vehicle = segment.destination if segment.flags & ACK else segment.source
        for line in _checked(path, known, known.take(segment, packet.time_ns), errors):
            count += 1
            yield line
    for each in all_:
        for line in _checked(path, each, each.end(last_ns), errors):
            count += 1
            yield line
    if not count and not errors:
        if not all_ and unread:
            kinds = ", ".join(map(str, sorted(unread)))
            hint = "Ethernet, Linux cooked, raw IP and loopback are read"
            raise ConfigError(f"{path}: no connection; frames of link type {kinds} are not understood", hint=hint)
        if not all_:
            raise ConfigError(f"{path}: no connection", hint="v2g plc replay shows what precedes one: SLAC and SDP")
        why = next((each.opened.missing for each in all_ if each.opened.missing), "no message")
        raise ConfigError(
            f"{path}: {why}",
            hint="record with tls.key_log set, or add a key log: editcap --inject-secrets tls,KEYS OLD NEW.pcapng",
        )


def _checked(path: Path, connection: _Conversation, found: Iterator[Line], errors: list[V2GError]) -> Iterator[Line]:
    if connection.broken:
        return
    try:
        yield from found
    except CodecError as error:
        connection.broken = True
        connection.flaws.append(error)
    place = f"{path}, {connection.run}, after {connection.count} messages"
    errors += (CodecError(f"{place}: {each}", hint="is it complete?") for each in connection.flaws)
    connection.flaws.clear()
