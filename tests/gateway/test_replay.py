"""Recordings of python-can in place of the bus: the same records whatever their format and speed, with their times."""

import asyncio
import json
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.gateway.gateway import EV, data_of
from tests.gateway.replays import BEGAN_S, content, drive, kept, replayed
from tests.telemetry.mirror import BatchMirror
from tests.virtual_time import VirtualLoop
from v2g.errors import ConfigError, V2GError
from v2g_gateway.replay import Replay

FORMATS = ("log", "blf", "asc")


@pytest.mark.long
@pytest.mark.requirement("R62", "R78")
async def test_the_program_makes_the_same_records_of_each_format(tmp_path: Path) -> None:
    """Their times are those of the recording, and a receiver rebuilds its last state."""
    gateways = []
    for each in FORMATS:
        folder = tmp_path / each
        folder.mkdir()
        drive(folder / f"drive.{each}")
        config = folder / "gateway.toml"
        config.write_text(
            f'ev = "{EV}"\noutbox = "o.db"\n[can]\nreplay = "drive.{each}"\nreplay_speed = 1000.0\n'
            '[mqtt]\nhost = "127.0.0.1"\nport = 1\nwithout_tls = true\n'
        )
        config.chmod(0o600)
        command = sys.executable, "-m", "v2g_gateway", "--config", str(config), "--events", str(folder / "events")
        gateways.append(await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE))
    for each, gateway in zip(FORMATS, gateways, strict=True):
        file = tmp_path / each / "events"
        while not file.exists() or '"replay_ended"' not in file.read_text():
            assert gateway.returncode is None, (await gateway.communicate())[1]
            await asyncio.sleep(0.02)
        gateway.send_signal(signal.SIGTERM)
    await asyncio.gather(*(each.communicate() for each in gateways))
    found = {}
    for each in FORMATS:
        events = [json.loads(line) for line in (tmp_path / each / "events").read_text().splitlines()]
        (stopped,) = [line["data"] for line in events if line["name"] == "stopped"]
        assert stopped.items() >= {"frames": 900, "unknown_frames": 0, "malformed_frames": 0}.items()
        found[each] = await kept(tmp_path / each / "o.db")
    records = found["log"]
    assert content(found["blf"]) == content(records) == content(found["asc"])
    assert records[0].keyframe
    assert (records[0].utc_ms, records[-1].utc_ms) == (1_700_000_000_000, 1_700_000_019_800)
    assert {each.context for each in records} == {"discharging"}
    assert len(records) == 51, "with every second sample the charge has changed by its dead band, and is sent at once"
    mirror = BatchMirror()
    for record in records:
        mirror.apply(record)
    assert mirror.complete
    assert mirror.state["battery.soc"] == pytest.approx(90.0 - 0.1 * 99)


async def test_the_speed_changes_no_record(tmp_path: Path) -> None:
    recording = drive(tmp_path / "drive.log", seconds=2)
    quick, _ = await replayed(tmp_path, recording)
    slow, _ = await replayed(tmp_path, recording, speed=20.0)
    assert content(quick) == content(slow)


@pytest.mark.parametrize("speed", [1.0, 2.0])
def test_frames_come_at_the_times_of_the_recording_by_the_speed(speed: float, tmp_path: Path) -> None:
    recording = drive(tmp_path / "drive.blf", seconds=10)

    async def run() -> list[tuple[float, float]]:
        replay, now = await Replay.open(recording, speed, lambda: 0), asyncio.get_running_loop().time
        began = now()
        return [(now() - began, at_s - BEGAN_S) async for at_s, _ in replay.frames()]

    with asyncio.Runner(loop_factory=lambda: VirtualLoop(waits=True)) as runner:
        times = runner.run(run())
    assert len(times) == 10 * 5 * 9
    assert all(abs(passed * speed - recorded) < 0.01 for passed, recorded in times)


async def test_a_recording_without_a_date_begins_now(tmp_path: Path) -> None:
    before = time.time_ns() // 1_000_000
    records, _ = await replayed(tmp_path, drive(tmp_path / "drive.log", seconds=2, began_s=5.0))
    assert before <= records[0].utc_ms <= time.time_ns() // 1_000_000
    assert records[-1].utc_ms - records[0].utc_ms == 1800


async def test_faults_of_the_recorded_bus_are_reported(tmp_path: Path) -> None:
    recording = drive(tmp_path / "drive.log", seconds=1)
    with recording.open("a") as log:
        log.write("(1700000001.000000) can0 20000040#0000000000000000\n")
    _, events = await replayed(tmp_path, recording)
    assert data_of(events, "can_fault")[0].items() >= {"fault": "bus_off", "context": "discharging"}.items()


async def test_what_is_damaged_of_a_recording_is_skipped_and_named(tmp_path: Path) -> None:
    recording = drive(tmp_path / "drive.log", seconds=30)
    whole, _ = await replayed(tmp_path, recording)
    text = recording.read_bytes().splitlines()
    broken = [b"no frame", b"\0" * 600, b"\xff\xfe" + text[1000], text[1000][:20]]
    recording.write_bytes(b"\n".join([*text[:1000], *broken, *text[1000:]]))
    (tmp_path / "damaged").mkdir()
    records, events = await replayed(tmp_path / "damaged", recording)
    (failed,) = data_of(events, "replay_failed")
    assert "line 1001" in failed["error"]
    assert data_of(events, "replay_ended") == [{"frames": len(text)}]
    assert content(records) == content(whole)
    assert data_of(events, "task_failed") == []


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("gone.blf", None, ConfigError),
        ("empty.log", b"", ConfigError),
        ("drive.blf", b"no recording", V2GError),
        ("drive.asc", b"base hex  timestamps relative\n 0.1 1 100 Rx d 1 00\n", V2GError),
    ],
)
async def test_what_is_no_recording_ends_the_start(
    name: str, content: bytes | None, error: type[V2GError], tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=name):
        await replayed(tmp_path, tmp_path / name)
