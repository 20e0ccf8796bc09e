"""Fuzz targets of the links: captures, serial framing, SDP, IP for people, and who watches a line."""

import msgspec

from v2g.errors import FrameError
from v2g.io.capture import pcapng
from v2g.io.capture.pcapng import MAX_BLOCK, Packet, PcapngReader
from v2g.io.capture.tcp_recorder import Socket, TcpFrames
from v2g.io.plc.tap import without_keys
from v2g.iso15118.d20 import sdp_wireless
from v2g.iso15118.engine import sdp
from v2g.slac import mme, uart
from v2g.slac.watch import SlacWatch
from v2g_cli.plc.frames import describe_ip


def capture(data: bytes) -> None:
    """The first octet is the size of the pieces, the rest a capture: the same records or error in any split."""
    pieces = data[0] + 1 if data else 1
    whole, split = _records(data[1:], len(data) or 1), _records(data[1:], pieces)
    assert whole == split
    for record in whole[0]:
        if isinstance(record, Packet):
            assert 0 <= record.time_ns <= pcapng.LATEST_NS
            describe_ip(record.data)
            assert len(without_keys(record.data)) == len(record.data)


def _records(data: bytes, pieces: int) -> tuple[list[pcapng.Record], str]:
    reader, found = PcapngReader(), []
    try:
        for at in range(0, len(data), pieces):
            found += reader.feed(data[at : at + pieces])
            assert reader.unfinished <= MAX_BLOCK
    except FrameError as error:
        return [], str(error)  # of what stood before in the same piece, nothing is said
    return found, ""


def capture_seeds() -> list[bytes]:
    """Return captures with every kind of block."""
    start = pcapng.section("fuzz", "comment") + pcapng.interface("plc0", "port") + pcapng.interface("tcp")
    frames = TcpFrames(Socket("::1", 50000), Socket("::1", 50001)).open()
    packets = b"".join(pcapng.packet(1, 1 << 60, frame, outbound=True, comment="é") for frame in frames)
    return [b"\x07" + start + pcapng.secrets(b"CLIENT_RANDOM 00 11\n") + packets]


def serial(data: bytes) -> None:
    """The first octet is the size of the pieces, the rest what a port delivers: the same frames in any split."""
    pieces = data[0] + 1 if data else 1
    found: list[list[bytes]] = []
    for size in (pieces, len(data) or 1):
        deframer = uart.Deframer()
        found.append([frame for at in range(1, len(data), size) for frame in deframer.feed(data[at : at + size])])
        assert all(uart.MIN_LENGTH <= len(frame) <= uart.MAX_LENGTH for frame in found[-1])
    assert found[0] == found[1]


def serial_seeds() -> list[bytes]:
    """Return frames between noise."""
    frames = [uart.wrap(bytes(range(60))), uart.wrap(b"\xaa" * 200), uart.wrap(b"\x55" * 61)]
    return [b"\x05" + b"\xaa\x00".join(frames), b"\x10" + b"".join(frames) + b"\xaa\xaa\xaa\xaa\x40\x00\x00\x00"]


def discovery(data: bytes) -> None:
    """The first octet is ignored, the rest a datagram: what is understood is written as it was read."""
    for module in (sdp, sdp_wireless):
        for decode, encode in (
            (module.decode_request, module.encode_request),
            (module.decode_response, module.encode_response),
        ):
            try:
                message = decode(data[1:])
            except FrameError:
                continue
            assert isinstance(message, msgspec.Struct)
            assert decode(encode(message)) == message


def discovery_seeds() -> list[bytes]:
    """Return one datagram of each kind."""
    address = sdp.MULTICAST
    return [
        b"\0" + datagram
        for datagram in (
            sdp.encode_request(sdp.SdpRequest()),
            sdp.encode_response(sdp.SdpResponse(address, 61000)),
            sdp_wireless.encode_request(sdp_wireless.SdpWirelessRequest(evseid="DE*1")),
            sdp_wireless.encode_response(sdp_wireless.SdpWirelessResponse(address=address, port=1)),
        )
    ]


def watched(data: bytes) -> None:
    """The first octet is the length of the frames, the rest frames that a watcher sees one after the other."""
    watch, size = SlacWatch(), (data[0] if data else 60) + 1
    for number, at in enumerate(range(1, len(data), size)):
        frame = data[at : at + size]
        for each in (frame, mme.BROADCAST + frame[:6].ljust(6, b"\2") + b"\x88\xe1" + frame):
            watch.take(each, number)
            describe_ip(each)


def watched_seeds() -> list[bytes]:
    """Return a vehicle's frames, each of 70 bytes."""
    pev, run = b"\x02" * 6, bytes(8)
    messages = (
        mme.CmSlacParmReq(run_id=run),
        mme.CmMnbcSoundInd(cnt=0, run_id=run, rnd=bytes(16)),
        mme.CmSlacMatchReq(pev_mac=pev, evse_mac=pev, run_id=run),
    )
    frames = [mme.encode(mme.MmeFrame(mme.BROADCAST, pev, message)).ljust(85, b"\0") for message in messages]
    return [b"\x54" + b"".join(frames)]
