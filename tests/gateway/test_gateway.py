"""The telemetry gateway, from CAN frames to a real broker and through outages."""

import asyncio
import contextlib
import itertools
import json
import os
import sqlite3
import time
import tty
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import can
import msgspec
import pytest

from evcc.hardware.ecu import BatteryEcu
from pki_tools.tree import PkiTree
from tests.gateway.gateway import AT_ONCE, EV, NOBODY, data_of, gateway, send_frames, snapshot, until_event
from tests.telemetry.brokers import access, mosquitto
from tests.telemetry.mirror import BatchMirror
from tests.telemetry.reference import ReferenceBackEnd
from tests.virtual_time import in_simulated_time
from tests.waiting import until
from v2g.errors import CodecError, TransportError
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import cancel_tasks
from v2g.io.storage.outbox import BootName, Outbox, Waiting
from v2g.observe import Observe
from v2g.telemetry.delivery import decode_marks
from v2g.telemetry.priority import Priority
from v2g.telemetry.signals import Record, decode_record, encode_record
from v2g_cli.demo.broker import Broker
from v2g_gateway.config import CanSource, GatewayConfig
from v2g_gateway.delivery import UplinkDelivery
from v2g_gateway.gateway import Gateway

DRIVE_CYCLE = 512
"""Id of the frame with the context, in battery.dbc."""


@pytest.mark.requirement("R53", "R78")
async def test_battery_frames_arrive_as_records_that_rebuild_the_state(
    pki: PkiTree, broker: Broker, tmp_path: Path
) -> None:
    """What the back end has stored is forgotten, and nothing before."""
    back_end = ReferenceBackEnd()
    await back_end.connect(broker, pki)
    async with gateway(tmp_path, access(broker, pki, EV)) as (can, port, events):
        send_frames(can, port, *range(50, 40, -1))
        port.send(0x7DF, b"\x02\x01\x0c")  # somebody's diagnosis request: counted, not fatal
        port.send(0x100, b"\x02\x01")
        await back_end.has(1)
    mirror = BatchMirror()
    for _, element in sorted(back_end.records.items()):
        mirror.apply(decode_record(json.dumps(element).encode()))
    assert mirror.complete
    assert (mirror.state["battery.soc"], mirror.state["battery.current"]) == (41.0, -25.0)
    assert mirror.state["battery.cell_voltage.max"] == 3.712
    assert (mirror.state["battery.power"], mirror.state["grid.frequency"]) == (-10_000, 49.987)
    (stopped,) = data_of(events, "stopped")
    assert (stopped["stored"], stopped["waiting"], stopped["dropped"]) == (len(back_end.records), 0, 0)
    assert (stopped["unknown_frames"], stopped["malformed_frames"], stopped["outliers"]) == (1, 1, 0)
    assert data_of(events, "short_frame") == [{"message": "BMS_Pack", "octets": 2}]
    assert (back_end.missing, back_end.duplicates) == (set(), 0)
    await back_end.close()


@pytest.mark.requirement("R75")
async def test_a_vehicle_that_drives_when_the_gateway_starts_is_never_parked(tmp_path: Path) -> None:
    """The context comes after the first values, from another control unit."""
    async with gateway(tmp_path, NOBODY, drain=0.0) as (can, port, _):
        *frames, context = sorted(
            BatteryEcu(can, lambda: snapshot(0)).frames(snapshot(50.0)), key=lambda frame: frame[0] == DRIVE_CYCLE
        )
        for frame_id, data in frames:
            port.send(frame_id, data)
            await asyncio.sleep(0.02)
        port.send(*context)
        box = sqlite3.connect(tmp_path / "outbox.db")
        found = await until(lambda: [body for (body,) in box.execute("SELECT body FROM outbox")])
        box.close()
    assert {decode_record(each).context for each in found} == {"discharging"}


async def test_an_operator_sees_which_gateways_are_online(pki: PkiTree, broker: Broker, tmp_path: Path) -> None:
    """Retained: also a reader that comes later."""

    async def status() -> dict[str, Any]:
        command = mosquitto("mosquitto_sub", broker, pki, "telemetry-reader")
        options = "-t", f"v2g/telemetry/vehicle/{EV}/status", "-C", "1"
        reader = await asyncio.create_subprocess_exec(*command, *options, stdout=asyncio.subprocess.PIPE)
        found: dict[str, Any] = json.loads((await reader.communicate())[0])
        return found

    async with gateway(tmp_path, access(broker, pki, EV), drain=0.0) as (_can, _port, events):
        boot = (await until_event(events, "started"))["boot"]
        assert await status() == {"online": True, "boot": boot}
    assert await status() == {"online": False, "boot": boot}


@pytest.mark.requirement("R98")
async def test_what_the_broker_has_and_the_back_end_has_not_is_kept(
    pki: PkiTree, broker: Broker, tmp_path: Path
) -> None:
    """A broker's acknowledgement says nothing about the back end."""
    back_end = ReferenceBackEnd()
    await back_end.connect(broker, pki)
    back_end.deaf = True
    async with gateway(tmp_path, access(broker, pki, EV), drain=0.0) as (can, port, events):
        send_frames(can, port, 50)
        assert (await until_event(events, "waiting"))["reason"] == "the back end does not answer"
    (stopped,) = data_of(events, "stopped")
    assert stopped["waiting"] > 0
    await back_end.close()
    async with gateway(tmp_path, access(broker, pki, EV), drain=0.0) as (_can, _port, events):
        assert (await until_event(events, "waiting"))["reason"] == "no back end is connected to the broker"
        back_end = ReferenceBackEnd()
        await back_end.connect(broker, pki)
        await until_event(events, "resumed")
        await back_end.has(stopped["waiting"])
    await back_end.close()


@pytest.mark.requirement("R100", "R167")
async def test_without_an_uplink_records_wait_for_the_next_boot(tmp_path: Path) -> None:
    """The log goes on in a blind spot."""
    async with gateway(tmp_path, NOBODY, drain=0.0) as (can, port, events):
        send_frames(can, port, *range(50, 45, -1))
        await until_event(events, "waiting")
    box = await Outbox.open(tmp_path / "outbox.db", EV, 1)
    found = await box.pending()
    assert [row.seq for row in found] == list(range(1, data_of(events, "stopped")[0]["waiting"] + 1))
    assert decode_record(found[-1].body).signals["battery.soc"] == 46.0
    await box.close()


@pytest.mark.requirement("R167")
async def test_a_disk_that_is_full_is_an_event_and_the_gateway_goes_on_afterwards(tmp_path: Path) -> None:
    """The task that stores records must not end unseen, and no number may be left out."""
    async with gateway(tmp_path, NOBODY, drain=0.0) as (can, port, events):
        send_frames(can, port, 50)
        other = sqlite3.connect(tmp_path / "outbox.db", isolation_level=None)
        await until(lambda: other.execute("SELECT count(*) FROM outbox").fetchone()[0])
        other.execute("CREATE TRIGGER full BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'disk full'); END")
        send_frames(can, port, 60, 70)
        failed = await until_event(events, "task_failed")
        assert failed["task"] == "telemetry records"
        assert "disk full" in failed["error"]
        other.execute("DROP TRIGGER full")
        while "80.0" not in str(other.execute("SELECT body FROM outbox ORDER BY seq DESC").fetchone()):
            send_frames(can, port, 80)
            await asyncio.sleep(0.05)
        numbers = [seq for (seq,) in other.execute("SELECT seq FROM outbox ORDER BY seq")]
        assert numbers == list(range(1, len(numbers) + 1))
        other.close()


async def test_a_bus_that_fails_is_an_event_and_does_not_keep_the_loop_busy(tmp_path: Path) -> None:
    """An adapter that is pulled out."""
    adapter, line = os.openpty()
    tty.setraw(line)
    name = os.ttyname(line)
    can = CanSource(interface="slcan", channel=name)
    async with gateway(tmp_path, NOBODY, drain=0.0, can=can) as (_can, port, events):
        await port.close()
        os.close(line)
        os.close(adapter)
        failed = await until_event(events, "task_failed")
        assert failed["task"] == "telemetry bus"
        assert "CAN slcan" in failed["error"]


class Loopback:
    """An uplink to a back end in memory, which can refuse."""

    name = "loopback"
    parallel = 8
    low_rate = False

    def __init__(self, back_end: ReferenceBackEnd, max_bytes: int = 256_000) -> None:
        self.back_end, self.max_bytes = back_end, max_bytes
        self.refusal = ""
        self.sizes: list[int] = []
        self.delivery: UplinkDelivery | None = None

    def start(self) -> None:
        pass

    async def ready(self) -> None:
        pass

    async def send(self, delivery: bytes) -> None:
        self.sizes.append(len(delivery))
        if self.refusal:
            raise TransportError(self.refusal)
        assert self.delivery is not None
        self.delivery.on_marks(decode_marks(json.dumps(self.back_end.take(delivery)).encode()))

    async def close(self) -> None:
        pass


def record(boot: int, seq: int) -> bytes:
    return encode_record(Record(EV, boot, seq, seq, "parked", False, {"battery.soc": 50.0}))  # noqa: FBT003


@contextlib.asynccontextmanager
async def delivering(box: Outbox, uplink: Loopback) -> AsyncIterator[list[Observe]]:
    """Deliver an outbox until it is empty."""
    events: list[Observe] = []
    delivery = uplink.delivery = UplinkDelivery(EV, box, events.append)
    task = asyncio.create_task(delivery.run(uplink))
    async with asyncio.timeout(60):
        yield events
        await delivery.drain()
    await cancel_tasks(task)


async def filled(tmp_path: Path, count: int, **more: Any) -> Outbox:
    box = await Outbox.open(tmp_path / "o.db", EV, 1, **more)
    for seq in range(1, count + 1):
        await box.put(seq, record(box.boot, seq))
    return box


@pytest.mark.requirement("R98", "R102")
async def test_many_records_go_out_in_few_deliveries_and_only_beyond_the_mark(tmp_path: Path) -> None:
    box = await filled(tmp_path, 2500)
    back_end = ReferenceBackEnd()
    back_end.take(b"[" + b",".join(record(box.boot, seq) for seq in range(1, 1001)) + b"]")
    async with delivering(box, uplink := Loopback(back_end)):
        pass
    assert len(back_end.records) == 2500
    assert back_end.duplicates == 0
    assert len(uplink.sizes) < 10
    assert max(uplink.sizes) <= uplink.max_bytes
    await box.close()


async def test_a_delivery_is_no_larger_than_the_uplink_takes(tmp_path: Path) -> None:
    box = await filled(tmp_path, 100)
    async with delivering(box, uplink := Loopback(back_end := ReferenceBackEnd(), max_bytes=2000)):
        pass
    assert max(uplink.sizes) <= 2000
    assert len(back_end.records) == 100
    await box.close()


@pytest.mark.requirement("R92")
async def test_new_records_go_out_together_once_an_interval_and_safety_at_once(tmp_path: Path) -> None:
    box = await filled(tmp_path, 0)
    back_end, times = ReferenceBackEnd(), list[float]()
    uplink = Loopback(back_end)
    delivery = uplink.delivery = UplinkDelivery(EV, box, lambda _: None, interval_s=0.2)
    task = asyncio.create_task(delivery.run(uplink))
    now = asyncio.get_running_loop().time
    async with asyncio.timeout(60):
        for seq in range(1, 101):
            before = len(back_end.records)
            await box.put(seq, record(box.boot, seq), Priority.LIVE)
            delivery.wake()
            await asyncio.sleep(0.01)
            if len(back_end.records) > before:
                times.append(now())
        assert len(times) < 100 / 5
        gaps = [later - earlier for earlier, later in itertools.pairwise(times[1:])]  # the first one was waiting
        assert min(gaps) > 0.15, gaps
        await until(lambda: len(back_end.records) >= 100)
        await box.put(101, record(box.boot, 101), Priority.LIVE)
        delivery.wake()
        await asyncio.sleep(0.01)
        assert len(back_end.records) == 100
        await box.put(102, record(box.boot, 102), Priority.SETTLEMENT)
        delivery.wake()
        await delivery.drain()
    assert len(back_end.records) == 102
    await cancel_tasks(task)
    await box.close()


@pytest.mark.requirement("R103")
async def test_what_was_dropped_is_reported_so_that_the_rest_counts(tmp_path: Path) -> None:
    """The back end knows what it will never get, also of a boot of which nothing is left."""
    size = len(record(1, 1))
    first = await filled(tmp_path, 10, max_bytes=12 * size)
    await first.close()
    box = await Outbox.open(tmp_path / "o.db", EV, 1, max_bytes=12 * size)
    for seq in range(1, 21):
        await box.put(seq, record(box.boot, seq))
    gone = 20 - await box.count()
    assert 0 < gone < 20
    async with delivering(box, Loopback(back_end := ReferenceBackEnd())):
        pass
    assert back_end.missing == {(EV, 1, n) for n in range(1, 11)} | {(EV, 2, n) for n in range(1, gone + 1)}
    assert sorted(back_end.records) == [(EV, 2, n) for n in range(gone + 1, 21)]
    assert await box.waiting() == []
    await box.close()


async def test_a_back_end_that_was_restored_from_a_backup_learns_what_it_has_lost(tmp_path: Path) -> None:
    box = await filled(tmp_path, 20)
    back_end, older = ReferenceBackEnd(), ReferenceBackEnd()
    older.take(b"[" + b",".join(record(box.boot, seq) for seq in range(1, 6)) + b"]")
    async with delivering(box, Loopback(back_end)):
        pass
    for seq in range(21, 26):
        await box.put(seq, record(box.boot, seq))
    async with delivering(box, Loopback(older)):
        pass
    assert older.missing == {(EV, box.boot, n) for n in range(6, 21)}
    assert {seq for _, _, seq in older.records} == {*range(1, 6), *range(21, 26)}
    await box.close()


async def test_a_damaged_record_is_given_up_and_does_not_hold_up_the_others(tmp_path: Path) -> None:
    events: list[Observe] = []
    box = await filled(tmp_path, 5, observe=events.append)
    for seq, damage in ((2, b'{"ev":"EV-1","boot":1,"se'), (5, b"\xff")):
        other = sqlite3.connect(tmp_path / "o.db", isolation_level=None)
        other.execute("UPDATE outbox SET body = ? WHERE seq = ?", (damage, seq))
        other.close()
    async with delivering(box, Loopback(back_end := ReferenceBackEnd())):
        pass
    assert {seq for _, _, seq in back_end.records} == {1, 3, 4}
    assert {seq for _, _, seq in back_end.missing} == {2, 5}
    assert [data["seq"] for data in data_of(events, "record_unreadable")] == [2, 5]
    await box.close()


async def test_why_nothing_is_delivered_is_reported_once_and_so_is_the_end_of_that(tmp_path: Path) -> None:
    box = await filled(tmp_path, 3)
    uplink = Loopback(ReferenceBackEnd())
    uplink.refusal = "MQTT broker refused the message: Not authorized"
    async with delivering(box, uplink) as events:
        await until(lambda: len(uplink.sizes) >= 3)
        uplink.refusal = ""
    assert [(event.name, event.data) for event in events] == [
        ("waiting", {"reason": "MQTT broker refused the message: Not authorized"}),
        ("resumed", {}),
    ]
    await box.close()


class Waits:
    """An outbox with one record."""

    async def waiting(self) -> list[Waiting]:
        return [Waiting(1, 1, 0)]

    def name(self, boot: int) -> BootName:
        return BootName(boot, "00" * 8)


def test_pauses_between_attempts_grow_and_end_with_progress() -> None:
    """Vehicles that have all lost their back end do not come back all at once, nor every second."""
    attempts: list[float] = []

    class Refuses(Loopback):
        async def send(self, delivery: bytes) -> None:
            attempts.append(asyncio.get_running_loop().time())
            raise TransportError("nobody is there")

    async def deliver() -> None:
        delivery = UplinkDelivery(EV, Waits(), lambda _: None)  # type: ignore[arg-type]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(600):
                await delivery.run(Refuses(ReferenceBackEnd()))

    in_simulated_time(deliver())
    pauses = [later - earlier for earlier, later in itertools.pairwise(attempts)]
    for pause, most in zip(pauses, [1, 2, 4, 8, 16, 32, *[60] * 100], strict=False):
        assert most / 2 - 0.01 <= pause <= most + 0.01
    assert len(pauses) > 10


def test_patience_with_an_uplink_is_that_of_waiting_records_and_its_failures_keep_no_core_busy() -> None:
    """An hour without records does not count, and an uplink that fails at once is tried at intervals."""

    class Later(Waits):
        async def waiting(self) -> list[Waiting]:
            return await super().waiting() if asyncio.get_running_loop().time() > begun + 3600 else []

    class Refuses(Loopback):
        async def ready(self) -> None:
            attempts.append(asyncio.get_running_loop().time())
            raise TransportError("connection refused")

    attempts: list[float] = []
    begun = 0.0

    async def deliver() -> float:
        nonlocal begun
        loop = asyncio.get_running_loop()
        begun = loop.time()
        delivery = UplinkDelivery(EV, Later(), lambda _: None)  # type: ignore[arg-type]
        loop.call_later(3601, delivery.wake)
        await delivery.run(Refuses(ReferenceBackEnd()), patience_s=60.0)
        return loop.time() - begun

    assert in_simulated_time(deliver()) == pytest.approx(3661, abs=0.1)
    assert 10 <= len(attempts) <= 14


def test_marks_are_bounded() -> None:
    plain = decode_marks(b'[{"boot":1,"contiguous":2,"highest":3}]')[0]
    assert msgspec.structs.astuple(plain) == (1, 2, 3, (), "", 0, 0)
    many = b",".join(b"[%d,%d]" % (2 * n, 2 * n) for n in range(2, 259))
    with pytest.raises(CodecError):
        decode_marks(b'[{"boot":1,"contiguous":2,"highest":600,"beyond":[' + many + b"]}]")


CELL = ' SG_ Cell{0} : {1}|16@1+ (0.001,0) [0|5] "V" B'
MODULE = "\n".join(("BO_ 300 Module: 64 B", *(CELL.format(n, n * 16) for n in range(24))))
CELLS = f"""VERSION ""
NS_ :
BS_:
BU_: B
{MODULE}
BO_ 301 Mode: 1 B
 SG_ Cycle : 0|8@1+ (1,0) [0|9] "" B
VAL_ 301 Cycle 2 "highway" ;
"""
CELL_SIGNALS = {f"Module.Cell{n}": "battery.cell_voltage" for n in range(24)} | {"Mode.Cycle": "context"}


class RecordedBus:
    """Stands in for an adapter: the times of its frames are given."""

    def __init__(self, messages: list[can.Message]) -> None:
        self._messages = messages

    def recv(self, timeout: float) -> can.Message | None:
        return self._messages.pop(0) if self._messages else time.sleep(timeout)

    def shutdown(self) -> None:
        pass


@pytest.mark.requirement("R62", "R69", "R71", "R74", "R75")
async def test_cells_of_long_frames_become_windows_and_alerts_bear_the_context(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = [can.Message(arbitration_id=301, data=b"\2", timestamp=1.0, is_extended_id=False)]
    for ms in range(301):
        millivolts = [3700 + (52 if n == 7 and ms < 200 else 0) + ms % 3 for n in range(24)]
        data = b"".join(each.to_bytes(2, "little") for each in millivolts) + bytes(16)
        at_s = 10.0001 + ms / 1000
        messages.append(can.Message(arbitration_id=300, data=data, is_fd=True, timestamp=at_s, is_extended_id=False))
    messages.append(can.Message(arbitration_id=0x40, is_error_frame=True, dlc=8, data=bytes(8), timestamp=11.0))
    dbc, events = tmp_path / "cells.dbc", list[Observe]()
    dbc.write_text(CELLS)
    monkeypatch.setattr(can, "Bus", lambda **_: RecordedBus(messages))
    config = GatewayConfig(
        ev=EV, outbox=tmp_path / "o.db", mqtt=NOBODY, dbc=dbc, signals=CELL_SIGNALS, rates=AT_ONCE, outbox_sealed=False
    )
    running = await Gateway.open(config, Clock(), events.append)
    async with asyncio.timeout(60):
        await until_event(events, "can_fault")
    await running.close(drain=0)
    found = [(each["kind"], each["raised"], each["context"]) for each in data_of(events, "battery_finding")]
    assert found == [("cell_spread", True, "highway"), ("cell_spread", False, "highway")]
    assert data_of(events, "can_fault")[0].items() >= {"fault": "bus_off", "context": "highway"}.items()
    box = await Outbox.open(tmp_path / "o.db", EV, 1)
    merged = {name: value for row in await box.pending() for name, value in decode_record(row.body).signals.items()}
    await box.close()
    assert merged == {f"battery.cell_voltage.{name}": value for name, value in (
        ("min", 3.7), ("max", 3.702), ("mean", 3.701), ("imbalance", 0.0)
    )}  # fmt: skip


@pytest.mark.requirement("R61")
async def test_an_interface_with_another_bit_rate_is_an_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ip"
    info = {"state": "ERROR-ACTIVE", "bittiming": {"bitrate": 250_000}}
    link = {"ifname": "can9", "link_type": "can", "flags": ["UP"], "linkinfo": {"info_kind": "can", "info_data": info}}
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps([link])}\nEND\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    events: list[Observe] = []
    bus = CanSource(interface="socketcan", channel="can9")
    config = GatewayConfig(ev=EV, outbox=tmp_path / "o.db", mqtt=NOBODY, can=bus)
    with pytest.raises(TransportError, match="CAN socketcan can9"):
        await Gateway.open(config, Clock(), events.append)
    (found,) = data_of(events, "can_fault")
    assert (found["fault"], found["cause"]) == ("interface", "bit rate 250000, expected 500000")
