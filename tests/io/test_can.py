"""CAN buses, recordings and links. This kernel may lack AF_CAN: then the virtual bus and UDP stand in for it, and the
output of `ip` for netlink."""

import asyncio
import os
import select
import socket
import struct
import time
import tty
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import can
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.io.can import LINK
from v2g.errors import ConfigError, FrameError, TransportError, V2GError
from v2g.hardware.power_modules.can_errors import CanFault
from v2g.io.can import MOST_AT_ONCE, CanConfig, CanFrame, CanPort, open_bus
from v2g.io.can_link import complaints, read_link
from v2g.io.can_recordings import recorded

Until = Callable[[Callable[[], object]], "asyncio.Future[None]"]
Got = list[tuple[int, bytes]]


def collector() -> tuple[Got, Callable[[int, bytes, float], None]]:
    got: Got = []
    return got, lambda frame_id, data, _at_s: got.append((frame_id, data))


@pytest.mark.requirement("R62")
@pytest.mark.parametrize(
    "config",
    [CanConfig(channel="test_can", fd=True), CanConfig(interface="udp_multicast", channel="239.74.163.2", fd=True)],
)
async def test_frames_of_8_and_64_bytes_arrive_in_order(config: CanConfig, until: Until) -> None:
    got, on_frame = collector()
    try:
        port = await CanPort.opened(config, on_frame)
        other = CanPort(config)
    except (TransportError, OSError) as error:
        if "udp" not in config.interface:
            raise
        pytest.skip(f"no multicast on this machine: {error}")
    frames = [(n, bytes([n % 256] * (64 if n % 2 else 8))) for n in range(0x100, 0x180)]
    for frame_id, data in frames:
        other.send(frame_id, data)
    other.send(0x18FF0001, b"\x01")
    await until(lambda: len(got) == len(frames) + 1)
    assert got == [*frames, (0x18FF0001, b"\x01")]
    await other.close()
    await port.close()


class ClosedBus(can.BusABC):
    """As socketcan, whose `send` waits for a socket that is closed."""

    def __init__(self, channel: str, **_: object) -> None:
        super().__init__(channel)
        self._is_shutdown = True

    def send(self, msg: can.Message, timeout: float | None = None) -> None:
        with socket.socket() as closed:
            pass
        select.select([], [closed], [], 0)


async def test_any_error_of_a_driver_in_sending_is_that_of_a_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(can, "Bus", ClosedBus)
    with pytest.raises(TransportError, match="0x123 not sent"):
        CanPort(CanConfig(interface="socketcan", channel="can0")).send(0x123, b"")


@pytest.mark.requirement("R62")
async def test_an_adapter_on_a_serial_port_by_slcan(until: Until) -> None:
    """The far end of the line is written by hand, by the ASCII protocol of LAWICEL."""
    adapter, line = os.openpty()
    tty.setraw(line)
    got, on_frame = collector()
    port = await CanPort.opened(CanConfig(interface="slcan", channel=os.ttyname(line)), on_frame)
    received = bytearray()
    while b"S6\r" not in received:  # 500 kbit/s
        received += os.read(adapter, 100)
    os.write(adapter, b"t10081122334455667788\rT18FF00012AABB\r")
    await until(lambda: len(got) == 2)
    assert got == [(0x100, bytes.fromhex("1122334455667788")), (0x18FF0001, b"\xaa\xbb")]
    port.send(0x123, b"\x01\x02")
    while not received.endswith(b"\rt12320102\r"):  # what opened the port may come in parts
        received += os.read(adapter, 100)
    await port.close()
    os.close(line)
    os.close(adapter)


@pytest.mark.requirement("R62")
@pytest.mark.parametrize("gather_s", [0.0, 0.05])
async def test_a_frame_does_not_wait_for_silence_on_the_bus(gather_s: float) -> None:
    """An adapter on a serial port waits for the next frame though it shall not, and modules send one every 10 ms. What
    python-can's `serial` reads is written by hand."""
    adapter, line = os.openpty()
    tty.setraw(line)
    got, on_frame = collector()
    config = CanConfig(interface="serial", channel=os.ttyname(line))
    port, sent = await CanPort.opened(config, on_frame, gather_s=gather_s), 0
    while not got and sent < MOST_AT_ONCE:
        os.write(adapter, struct.pack("<BIBI2sB", 0xAA, 0, 2, 0x100, b"\1\2", 0xBB))
        sent += 1
        await asyncio.sleep(0.01)
    assert got[0] == (0x100, b"\1\2")
    assert sent < MOST_AT_ONCE / 4
    await port.close()
    os.close(line)
    os.close(adapter)


@pytest.mark.requirement("R69")
async def test_error_frames_are_faults_and_not_data(until: Until) -> None:
    got, on_frame = collector()
    faults: list[CanFault] = []
    port = await CanPort.opened(CanConfig(channel="test_faults"), on_frame, on_fault=faults.append)
    with can.Bus(interface="virtual", channel="test_faults") as bus:
        bus.send(can.Message(arbitration_id=0x40, is_error_frame=True, dlc=8, data=bytes(8)))
        bus.send(can.Message(arbitration_id=0x100, is_remote_frame=True, is_extended_id=False))
        bus.send(can.Message(arbitration_id=0x101, data=b"\1", is_extended_id=False))
        await until(lambda: got)
    assert got == [(0x101, b"\1")]
    assert [each.name for each in faults] == ["bus_off"]
    await port.close()


@pytest.mark.requirement("R62")
async def test_frames_that_the_loop_cannot_take_are_lost_counted_and_reported(
    until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop that is held for long must not fill the memory."""
    monkeypatch.setattr("v2g.io.can.MOST_WAITING", 1000)
    got, on_frame = collector()
    faults: list[CanFault] = []
    port = await CanPort.opened(CanConfig(channel="test_lost"), on_frame, on_fault=faults.append)
    with can.Bus(interface="virtual", channel="test_lost") as bus:
        for number in range(5000):
            bus.send(can.Message(arbitration_id=0x1000 + number, data=b"\1"))
        deadline = time.monotonic() + 10
        while port.lost + 1000 < 5000 - MOST_AT_ONCE and time.monotonic() < deadline:
            time.sleep(0.01)  # holds the loop
        await until(lambda: len(got) + port.lost == 5000)
        assert got == sorted(got)
        assert 1000 - MOST_AT_ONCE < len(got) <= 1000 + MOST_AT_ONCE  # the last group may come when the loop goes on
        bus.send(can.Message(arbitration_id=9999, data=b"\1"))
        await until(lambda: got[-1] == (9999, b"\1"))
    await port.close()
    assert {each.name for each in faults} == {"frames_lost"}
    counted = int(faults[0].cause.partition(" frames")[0])  # so many when it was reported; more may follow
    assert 3000 < counted <= port.lost


@pytest.mark.parametrize("interface", ["socketcan", "no-such-adapter"])
def test_a_bus_that_cannot_be_opened_is_named(interface: str) -> None:
    with pytest.raises(TransportError, match=f"CAN {interface} no_such_can0"):
        CanPort(CanConfig(interface=interface, channel="no_such_can0"))


MESSAGES = [
    can.Message(timestamp=1_700_000_000.5, arbitration_id=0x100, is_extended_id=False, data=bytes(range(8))),
    can.Message(timestamp=1_700_000_000.75, arbitration_id=0x18FF0001, data=b"\xab"),
    can.Message(timestamp=1_700_000_001.0, arbitration_id=0x101, is_extended_id=False, is_fd=True, data=bytes(64)),
]


@pytest.mark.requirement("R62")
@pytest.mark.parametrize("name", ["a.log", "a.blf", "a.asc", "a.asc.gz"])
def test_recordings_that_python_can_writes_are_read(name: str, tmp_path: Path) -> None:
    with can.Logger(tmp_path / name) as logger:
        for each in MESSAGES:
            logger(each)
    found = list(recorded(tmp_path / name))
    assert [(each.frame_id, each.data, each.extended, each.error) for each in found] == [
        (each.arbitration_id, bytes(each.data), each.is_extended_id, False) for each in MESSAGES
    ]
    assert found[2].time_s - found[0].time_s == pytest.approx(0.5)


@pytest.mark.requirement("R69")
def test_error_frames_of_candump_keep_their_class(tmp_path: Path) -> None:
    log = tmp_path / "bus.log"
    log.write_text(
        "(1700000000.100000) can0 20000040#0000000000000000\n\n"
        "(1700000000.200000) can0 123#R\n(1700000000.300000) can0 123##1AABB R\n"
    )
    shown = tmp_path / "shown.log"
    shown.write_text(  # as `candump -ta -a` shows it
        "\ufeff (1700000000.100000)  can0  20000040   [8]  00 00 00 00 00 00 00 00   ERRORFRAME\n"
        " (1700000000.200000)  can0  123   [0]  remote request\n"
        " (1700000000.300000)  can0  123   [2]  AA BB                     '..'\n",
        encoding="utf-8",
    )
    assert list(recorded(shown)) == list(recorded(log))
    shown.write_text(" (1700000000.300000)  can0  123   [3]  AA BB\n")
    with pytest.raises(FrameError, match="line 1"):
        list(recorded(shown))
    assert list(recorded(log)) == [
        CanFrame(1700000000.1, 0x40, bytes(8), error=True),
        CanFrame(1700000000.3, 0x123, b"\xaa\xbb"),
    ]


@pytest.mark.parametrize(
    ("name", "error"),
    [("a.log", FrameError), ("a.blf", FrameError), ("a.mf4", ConfigError), ("a.xyz", ConfigError), ("a", ConfigError)],
)
def test_what_is_no_recording_is_one_error(name: str, error: type[V2GError], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"this is no recording")
    with pytest.raises(error):
        list(recorded(tmp_path / name))
    with pytest.raises(ConfigError):
        list(recorded(tmp_path / f"missing-{name}"))


@pytest.mark.requirement("R197")
def test_what_is_damaged_of_a_recording_is_named_after_what_can_be_read(tmp_path: Path) -> None:
    good = [f"(1700000000.{number:06}) can0 123#{number:04X}" for number in range(300)]
    lines = [*good[:20], "garbage", "x" * 100_000, "\0\0", "(1700000000.0) can0 123#\xff", *good[20:], "(17000000"]
    (tmp_path / "a.log").write_text("\n".join(lines), encoding="latin-1")
    errors: list[V2GError] = []
    assert [each.data for each in recorded(tmp_path / "a.log", errors)] == [number.to_bytes(2) for number in range(300)]
    assert [str(each).partition(": ")[2].split()[1] for each in errors] == ["21", "22", "23", "24", "305"]
    frames = recorded(tmp_path / "a.log")
    assert len(list(islice(frames, 20))) == 20
    with pytest.raises(FrameError, match="line 21 "):
        next(frames)


@pytest.mark.requirement("R197")
@pytest.mark.parametrize("name", ["a.blf", "a.asc.gz", "a.csv", "a.trc"])
def test_a_recording_that_is_cut_gives_what_is_before(name: str, tmp_path: Path) -> None:
    with can.Logger(tmp_path / name) as logger:
        for number in range(20_000):
            logger(can.Message(1_700_000_000 + number / 1000, 0x123, is_extended_id=False, data=number.to_bytes(4)))
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: 2 * len(data) // 3 + 2])
    errors: list[V2GError] = []
    found = list(recorded(tmp_path / name, errors))
    assert len(found) > 100
    assert [each.data for each in found] == [number.to_bytes(4) for number in range(len(found))]
    assert str(tmp_path / name) in str(errors[0])


@given(st.binary(max_size=200), st.sampled_from((".log", ".blf", ".asc", ".trc", ".csv")))
def test_garbage_is_frames_or_one_error(tmp_path_factory: pytest.TempPathFactory, data: bytes, suffix: str) -> None:
    path = tmp_path_factory.getbasetemp() / f"garbage{suffix}"
    path.write_bytes(data)
    errors: list[V2GError] = []
    try:
        for each in recorded(path, errors):
            assert len(each.data) <= 64
    except V2GError as error:
        errors.append(error)
    assert all(str(each).isprintable() for each in errors)


@pytest.mark.parametrize(
    ("interface", "hint"), [("socketcan", "ip link set can0 up"), ("slcan", "is the adapter there")]
)
def test_a_bus_that_is_not_there_has_the_hint_of_its_kind(interface: str, hint: str) -> None:
    with pytest.raises(TransportError) as caught:
        open_bus(CanConfig(interface=interface, channel="no_such_can"))
    assert hint in caught.value.hint


@pytest.mark.requirement("R61")
def test_bit_rate_and_state_of_an_interface_and_what_is_wrong() -> None:
    link = read_link("can0", ip=lambda _: msgspec.json.encode([LINK]))
    assert (link.bitrate, link.data_bitrate, link.state, link.up) == (250_000, 2_000_000, "ERROR-PASSIVE", True)
    assert (link.received_errors, link.bus_offs, link.dropped) == (135, 1, 3)
    assert [what for what, _ in complaints(link, 500_000)] == [
        "bit rate 250000, expected 500000", "ERROR-PASSIVE: more than 127 errors"
    ]  # fmt: skip
    assert "ip link set can0 down; ip link set can0 up type can bitrate 500000" in complaints(link, 500_000)[0][1]
    well = msgspec.structs.replace(link, bitrate=500_000, state="ERROR-ACTIVE")
    assert complaints(well, 500_000) == []
    assert [what for what, _ in complaints(msgspec.structs.replace(well, up=False), 500_000)] == [
        "the interface is down"
    ]


@pytest.mark.parametrize("answer", [b"", b"[]", b"[{}]", b'[{"ifname":"lo","link_type":"loopback"}]', b"\xff"])
def test_an_answer_about_no_can_bus_is_one_error(answer: bytes) -> None:
    with pytest.raises(TransportError):
        read_link("lo", ip=lambda _: answer)


def test_the_real_ip_command_knows_no_such_interface() -> None:
    with pytest.raises(TransportError):
        read_link("no_such_can0")
