"""What a gateway makes of a full bus, how regular its samples are, and what they cost in a month."""

import itertools
import math
import random
import time
from collections.abc import Callable
from pathlib import Path

import can
import msgspec
import pytest

from benchmarks.telemetry import MONTH_H, PACKET
from evcc.hardware.ecu import BatteryEcu, BatterySnapshot
from tests.gateway.gateway import AT_ONCE, NOBODY, data_of, gateway, snapshot, until_event
from tests.gateway.replays import BEGAN_S, replayed
from v2g.io.can import CanConfig
from v2g.telemetry.columns import encode_compact
from v2g.telemetry.signals import encode_record
from v2g_gateway.config import UPLINK_S

FRAMES_PER_S = 4000
"""A full bus: frames of 8 octets at 500 kbit/s take 111 bits and more."""


@pytest.mark.requirement("R68")
async def test_a_full_bus_is_decoded_without_a_lost_frame_on_less_than_a_core(tmp_path: Path) -> None:
    """The processor time is that of sender, bus and gateway together; a jump that stays is the only finding."""
    ecu = BatteryEcu(CanConfig(), lambda: snapshot(0))
    states = [*(snapshot(50 + number / 1000) for number in range(100)), snapshot(59)]
    frames = [each for state in states for each in ecu.frames(state)]
    frames += [each for each in ecu.frames(snapshot(59.5)) if each not in frames]  # the last frame confirms the jump
    async with gateway(tmp_path, NOBODY, drain=0.0) as (_, port, events):
        begin = time.process_time()
        for frame_id, data in frames:
            port.send(frame_id, data)
        await until_event(events, "battery_finding")
        used_s = time.process_time() - begin
    (stopped,) = data_of(events, "stopped")
    assert stopped.items() >= {"frames": len(frames), "unknown_frames": 0, "malformed_frames": 0}.items()
    assert used_s < len(frames) / FRAMES_PER_S


def recorded(path: Path, rate: float, seconds: float, state: Callable[[float], BatterySnapshot]) -> Path:
    """Write what a car's control units send at this rate (Hz), by the time since the begin (s)."""
    ecu = BatteryEcu(CanConfig(), lambda: snapshot(0))
    with can.Logger(path) as logger:
        for tick in range(round(seconds * rate)):
            for frame_id, data in ecu.frames(state(tick / rate)):
                at_s = BEGAN_S + tick / rate
                logger(can.Message(timestamp=at_s, arbitration_id=frame_id, is_extended_id=False, data=data))
    return path


@pytest.mark.requirement("R73")
@pytest.mark.parametrize("rate", [10, 100])
async def test_samples_come_at_the_rate_of_the_bus_with_its_regularity(tmp_path: Path, rate: int) -> None:
    def state(second: float) -> BatterySnapshot:
        return msgspec.structs.replace(snapshot(50.0), current_a=-20.0 - round(second * rate) % 50)

    records, _ = await replayed(tmp_path, recorded(tmp_path / "drive.log", rate, 100 / rate, state), rates=AT_ONCE)
    steps = [after.utc_ms - before.utc_ms for before, after in itertools.pairwise(records)]
    assert len(steps) >= 98
    assert {abs(each - 1000 / rate) <= 1 for each in steps} == {True}


POWER_W = {"highway": -18_000.0, "charging": 11_000.0, "fast_charging": 120_000.0, "parked": 0.0}


def moving(mode: str) -> Callable[[float], BatterySnapshot]:
    """Return the states of a battery in a mode, with the noise of its sensors."""
    noise, context = random.Random(mode), "charging" if mode == "fast_charging" else mode

    def state(second: float) -> BatterySnapshot:
        power = POWER_W[mode] * (
            1 + (0.5 if mode == "highway" else 0.01) * math.sin(second / 7) + noise.gauss(0, 0.003)
        )
        voltage = 380 + power / 4000 + noise.gauss(0, 0.05)
        return msgspec.structs.replace(
            snapshot(50 + POWER_W[mode] * second / 2e9), context=context, voltage_v=voltage, current_a=power / voltage,
            power_request_w=round(power), charging_power_w=0 if mode == "highway" else round(power),
            motor_rpm=round(8000 + 500 * math.sin(second / 9)) if mode == "highway" else 0,
            coolant_temperature=22 + noise.gauss(0, 0.05), grid_hz=50 + noise.gauss(0, 0.005),
        )  # fmt: skip

    return state


@pytest.mark.requirement("R95")
async def test_a_month_of_a_much_used_vehicle_is_less_than_300_mb(tmp_path: Path) -> None:
    """A stretch of each mode, as the bus says it ten times a second, stands for its hours."""
    seconds, sent = 20, 0.0
    for mode, hours in MONTH_H.items():
        recording = recorded(tmp_path / f"{mode}.log", 10, seconds, moving(mode))
        (tmp_path / mode).mkdir()
        records, _ = await replayed(tmp_path / mode, recording)
        deliveries = itertools.groupby(records, lambda each: each.utc_ms // round(1000 * UPLINK_S))
        octets = sum(len(encode_compact(map(encode_record, each))) + PACKET for _, each in deliveries)
        assert octets > 10 * PACKET * (mode != "parked")
        sent += octets * hours * 3600 / seconds
    assert 50e6 < sent < 300e6
