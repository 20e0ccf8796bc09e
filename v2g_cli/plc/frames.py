"""Frames as lines: live ones, recorded ones, and the charger core's answers to recorded ones."""

import secrets
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from v2g.errors import ConfigError, FrameError, V2GError
from v2g.io.capture.recorder import FrameRecorder, RecordConfig
from v2g.io.plc.tap import without_keys
from v2g.observe import Observe
from v2g.slac.evse import EvseSlac, EvseSlacConfig
from v2g.slac.inspection import describe, replay
from v2g.slac.shared import SendFrame
from v2g_cli.output import print_json, raise_all, say_row
from v2g_cli.plc.source import Seen, Source, followed, frames, recorded

# -- One-line descriptions of other frames: IPv6, UDP with SDP, TCP with V2GTP or TLS

_TCP, _UDP, _ICMP = 6, 17, 58
_IPV6 = b"\x86\xdd"
_SDP_PORT = 15118
_TLS = {20: "change cipher spec", 21: "alert", 22: "handshake", 23: "encrypted data"}


class IpDescription(msgspec.Struct, frozen=True):
    """Content of a frame; addresses with ports where there are any."""

    source: str
    destination: str
    name: str
    fields: tuple[tuple[str, str], ...] = ()


def describe_ip(frame: bytes) -> IpDescription:
    """Return the description of an Ethernet frame of any other kind. Never raises."""
    source, destination = frame[6:12].hex(":"), frame[:6].hex(":")
    if frame[12:14] != _IPV6 or len(frame) < 54:
        return IpDescription(source, destination, f"EtherType {frame[12:14].hex()}", (("bytes", str(len(frame))),))
    from ipaddress import IPv6Address

    source, destination = str(IPv6Address(frame[22:38])), str(IPv6Address(frame[38:54]))
    length, protocol = int.from_bytes(frame[18:20], "big"), frame[20]
    payload = frame[54 : 54 + length]
    if protocol == _UDP and len(payload) >= 8:
        ports = _ports(payload)
        ends = f"[{source}]:{ports[0]}", f"[{destination}]:{ports[1]}"
        found = _sdp(payload[8:]) if _SDP_PORT in ports else None
        return IpDescription(*ends, *(found or ("UDP", (("bytes", str(len(payload) - 8)),))))
    if protocol == _TCP and len(payload) >= 20:
        return _tcp(source, destination, payload)
    name = {_ICMP: "ICMPv6"}.get(protocol, f"IPv6 protocol {protocol}")
    return IpDescription(source, destination, name, (("bytes", str(len(payload))),))


def _ports(payload: bytes) -> tuple[int, int]:
    return int.from_bytes(payload[:2], "big"), int.from_bytes(payload[2:4], "big")


def _sdp(datagram: bytes) -> tuple[str, tuple[tuple[str, str], ...]] | None:
    from v2g.iso15118.engine import sdp

    try:
        request = sdp.decode_request(datagram)
    except FrameError:
        try:
            answer = sdp.decode_response(datagram)
        except FrameError:
            return None
        where = (("address", str(answer.address)), ("port", str(answer.port)))
        return "SDP response", (*where, ("security", answer.security.name), ("transport", answer.transport.name))
    return "SDP request", (("security", request.security.name), ("transport", request.transport.name))


def _tcp(source: str, destination: str, payload: bytes) -> IpDescription:
    ports = _ports(payload)
    ends = f"[{source}]:{ports[0]}", f"[{destination}]:{ports[1]}"
    flags = "".join(letter for bit, letter in enumerate("FSRPA") if payload[13] >> bit & 1)
    data = payload[4 * (payload[12] >> 4) :]
    fields: tuple[tuple[str, str], ...] = (("flags", flags), ("bytes", str(len(data))))
    if len(data) > 5 and data[0] in _TLS and data[1] == 3:
        return IpDescription(*ends, "TLS", (("record", _TLS[data[0]]), *fields))
    if data[:2] == b"\x01\xfe" and len(data) >= 8:
        return IpDescription(*ends, "V2GTP", (("payload_type", f"0x{data[2:4].hex()}"), *fields))
    return IpDescription(*ends, "TCP", fields)


_WAYS = {True: ">", False: "<", None: "-"}


async def listen_to(
    source: Source, printer: "Printer", *, seconds: float | None, count: int | None, record: Path | None
) -> None:
    """Print, and optionally record, received frames."""
    recorder = FrameRecorder(RecordConfig(file=record), application="v2g plc listen") if record else None
    number = recorder.interface(source.name, "powerline port, listened to") if recorder else 0
    left = count
    try:
        async for seen in frames(source, seconds=seconds):
            printer.frame(seen)
            if recorder is not None:
                recorder.packet(number, without_keys(seen.data), outbound=seen.outbound)
            if left is not None and (left := left - 1) <= 0:
                return
    finally:
        if recorder is not None:
            recorder.close()


async def follow_file(file: Path, printer: "Printer") -> None:
    """Print the frames of a recording, and those appended to it."""
    async for seen in followed(file):
        printer.frame(seen)


def into_charger(file: Path, printer: "Printer") -> None:
    """Replay the vehicle's frames to the charger core, whose modem always accepts the key."""
    errors: list[V2GError] = []
    seen = list(recorded(file, errors))
    received = [each for each in seen if each.outbound is False and each.data[12:14] == b"\x88\xe1"]
    hosts = {each.data[6:12] for each in seen if each.outbound}
    if not received or len(hosts) != 1:
        raise_all(errors)
        raise ConfigError(f"{file} is not a recording of one charger's port", hint="record it with link.record")
    start = received[0].time_ns
    core = EvseSlac(EvseSlacConfig(), mac=hosts.pop(), entropy=secrets.token_bytes)
    core.prepare(0.0)
    core.connect(0.0)
    for at, action in replay(core, [((each.time_ns - start) / 1e9, each.data) for each in received]):
        time_ns = start + int(at * 1e9)
        if isinstance(action, SendFrame):
            printer.frame(Seen(time_ns=time_ns, port="replay", data=action.frame, outbound=True))
        elif isinstance(action, Observe):
            printer.line(time_ns, "event", action.name, dict(action.data))
        else:
            printer.line(time_ns, "event", type(action).__name__, {})
    raise_all(errors)


class Printer:
    """Writes frames as lines: time, direction, port, addresses, message, fields."""

    def __init__(self, *, keys: bool, json: bool) -> None:
        self._keys = keys
        self._json = json

    def frame(self, seen: Seen) -> None:
        """Print one frame."""
        if seen.data[12:14] != b"\x88\xe1":
            ip = describe_ip(seen.data)
            self._print(seen, ip.source, ip.destination, ip.name, dict(ip.fields), "")
            return
        described = describe(seen.data, secrets=self._keys)
        self._print(
            seen, described.source, described.destination, described.name, dict(described.fields), described.problem
        )

    def line(self, time_ns: int, kind: str, name: str, data: dict[str, object]) -> None:
        """Print something other than a frame."""
        if self._json:
            print_json({"time_ns": time_ns, kind: name, **data})
            return
        texts = " ".join(f"{key}={value}" for key, value in data.items())
        say_row(_clock(time_ns), "*", kind, name, texts)

    def _print(
        self, seen: Seen, source: str, destination: str, name: str, fields: dict[str, str], problem: str
    ) -> None:
        if self._json:
            record: dict[str, object] = {
                "time_ns": seen.time_ns,
                "port": seen.port,
                "outbound": seen.outbound,
                "source": source,
                "destination": destination,
                "name": name,
                "fields": fields,
            }
            notes = (("problem", problem), ("comment", seen.comment))
            print_json(record | {key: note for key, note in notes if note})
            return
        texts = " ".join(f"{key}={value}" for key, value in fields.items())
        ending = "".join(f" ({note})" for note in (problem, seen.comment) if note)
        say_row(_clock(seen.time_ns), _WAYS[seen.outbound], source, destination, name, texts + ending)


def _clock(time_ns: int) -> str:
    """Return the time of day (UTC) with microseconds."""
    return f"{datetime.fromtimestamp(time_ns // 1_000_000_000, UTC):%H:%M:%S}.{time_ns // 1000 % 1_000_000:06}"
