"""What a gateway keeps of a drive that it replays: CAN databases of several makes, rates, tags, glitches of the bus."""

import random
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import can
import cantools
import msgspec
import pytest

from tests.gateway.gateway import data_of
from tests.gateway.replays import BEGAN_S, replayed
from tests.telemetry.makes import MAKES
from tests.telemetry.mirror import BatchMirror
from v2g.telemetry.batch import Bands
from v2g.telemetry.privacy import GROUPS, SCORES

DBC = """VERSION ""
NS_ :
BS_:
BU_: B
BO_ 256 Car: 8 B
 SG_ Volts : 0|16@1+ (0.1,0) [0|1000] "V" B
 SG_ Power : 16|16@1- (10,0) [-300000|300000] "W" B
 SG_ Air : 32|16@1- (0.1,0) [-60|85] "degC" B
 SG_ Cycle : 48|4@1+ (1,0) [0|15] "" B
VAL_ 256 Cycle 0 "parked" 1 "city" 2 "highway" 3 "charging" 4 "discharging" ;
"""
SIGNALS = {
    "Car.Volts": "battery.voltage", "Car.Power": "charging.power", "Car.Air": "ambient.temperature",
    "Car.Cycle": "context",
}  # fmt: skip
CAR = cantools.database.load_string(DBC, "dbc").get_message_by_name("Car")


def car(volts: float, power_w: float, context: str) -> bytes:
    """Return a frame of the vehicle above."""
    return CAR.encode({"Volts": volts, "Power": power_w, "Air": 20.5, "Cycle": context})


def record(folder: Path, dbc: str, frames: Iterable[tuple[float, int, bytes]]) -> tuple[Path, Path]:
    """Write a recording of frames (s after its begin, id, data) and their database."""
    (folder / "car.dbc").write_text(dbc)
    with can.Logger(folder / "car.log") as logger:
        for at_s, frame_id, data in frames:
            logger(
                can.Message(
                    timestamp=BEGAN_S + at_s, arbitration_id=frame_id, data=data,
                    is_extended_id=frame_id > 0x7FF, is_fd=len(data) > 8,
                )
            )  # fmt: skip
    return folder / "car.log", folder / "car.dbc"


@pytest.mark.requirement("R64", "R67", "R108")
async def test_vehicles_of_three_makes_in_the_same_state_have_the_same_record(tmp_path: Path) -> None:
    found = []
    for number, (dbc, signals, frames) in enumerate(MAKES.values()):
        folder = tmp_path / str(number)
        folder.mkdir()
        paths = record(folder, dbc, ((0.0, frame_id, bytes.fromhex(data)) for frame_id, data in frames))
        (kept,), events = await replayed(
            folder, paths[0], dbc=paths[1], signals=signals, consent=tuple(GROUPS.keys() - {SCORES}), position_noise_m=0
        )
        (stopped,) = data_of(events, "stopped")
        assert (stopped["unknown_frames"], stopped["malformed_frames"]) == (0, 0)
        assert kept.trip == f"{kept.boot}-1"  # a boot's number is its time
        found.append(msgspec.structs.replace(kept, boot=1, trip=""))
    assert found[0] == found[1] == found[2]
    assert (found[0].context, found[0].utc_ms) == ("highway", int(BEGAN_S * 1000))
    assert found[0].signals == {
        "battery.voltage": 400.0, "battery.current": -10.0, "battery.soc": 50.0, "motor.speed": 628,
        "location.latitude": 52.5, "location.longitude": 12.8,
    }  # fmt: skip


@pytest.mark.requirement("R64")
async def test_each_value_of_a_frame_is_in_a_record_within_half_a_step(tmp_path: Path) -> None:
    """cantools encodes; a value that jumps by more than a battery can is kept once the next frame confirms it."""
    chance = random.Random(3)
    sent = [(chance.uniform(0, 1000), chance.uniform(-300_000, 300_000)) for _ in range(40)]
    frames = [
        (second + part, CAR.frame_id, car(*values, "city")) for second, values in enumerate(sent) for part in (0, 0.1)
    ]
    recording, dbc = record(tmp_path, DBC, frames)
    records, _ = await replayed(tmp_path, recording, dbc=dbc, signals=SIGNALS)
    mirror, at = BatchMirror(), dict[int, dict[str, float]]()
    for each in records:
        mirror.apply(each)
        at[(each.utc_ms - int(BEGAN_S * 1000)) // 1000] = dict(mirror.state)
    assert at.keys() == set(range(len(sent)))
    for second, (volts, power_w) in enumerate(sent):
        assert abs(at[second]["battery.voltage"] - volts) <= 0.05 + 1e-6
        assert abs(at[second]["charging.power"] - power_w) <= 5 + 1e-6


SECONDS = 20
MODES = {
    "parked": (0.0, (0, 1)), "city": (0.0, (1, 2)), "highway": (0.0, (1, 2)), "charging": (11_000.0, (0, 2)),
    "fast": (150_000.0, (10, 50)), "discharging": (-60_000.0, (10, 50)),
}  # fmt: skip
"""Charging power (W) of each mode, and how many records a second it may have."""

WAVES: dict[str, Callable[[int], float]] = {
    "drifts": lambda tick: 400 + tick / 20,
    "jitters": lambda tick: 400.0 + 50 * (tick % 2),
}


@pytest.mark.some(1)
@pytest.mark.requirement("R76", "R88", "R108")
@pytest.mark.parametrize("wave", WAVES.values(), ids=WAVES)
async def test_a_drive_sampled_at_100_hz_has_the_records_of_each_mode_and_their_tags(
    tmp_path: Path, wave: Callable[[int], float]
) -> None:
    modes = list(MODES.items())
    frames = [
        (number * SECONDS + tick / 100, CAR.frame_id, car(wave(tick), power_w, mode.replace("fast", "charging")))
        for number, (mode, (power_w, _)) in enumerate(modes)
        for tick in range(SECONDS * 100)
    ]
    recording, dbc = record(tmp_path, DBC, frames)
    records, _ = await replayed(
        tmp_path, recording, dbc=dbc, signals=SIGNALS, consent=tuple(GROUPS), rates=Bands(burst=0)
    )
    of = Counter((each.utc_ms - int(BEGAN_S * 1000)) // (SECONDS * 1000) for each in records)
    for number, (mode, (power_w, (least, most))) in enumerate(modes):
        at_once = 4  # as the mode has changed, and as the steps of its values are valid
        assert least * SECONDS - at_once <= of[number] <= most * SECONDS + at_once, mode
        if most <= 2:
            assert of[number] * 20 <= SECONDS * 100, "at least 20 times fewer"
        own = [each for each in records if (each.utc_ms - int(BEGAN_S * 1000)) // (SECONDS * 1000) == number]
        assert {each.context for each in own} == {mode.replace("fast", "charging")}
        assert {each.ambient_c for each in own} == {20.5}
        assert {each.charging_w for each in own[1:]} == {power_w}, "a step is valid once a second sample confirms it"
        assert len({each.trip for each in own}) == 1
    trips = list(dict.fromkeys(each.trip.partition("-")[2] for each in records if isinstance(each.trip, str)))
    assert trips == ["0", "1"], "one begins as the vehicle leaves"


@pytest.mark.requirement("R109")
async def test_glitches_and_repetitions_of_frames_are_in_no_record_and_a_true_step_is(tmp_path: Path) -> None:
    chance, samples = random.Random(7), 2_000
    volts = [round(380 + tick * 0.01, 1) + (100 if tick >= 1_000 else 0) for tick in range(samples)]
    spikes = set(chance.sample([tick for tick in range(10, samples - 10, 3) if not 990 < tick < 1_010], 100))
    again = set(chance.sample(range(samples), 100)) - spikes
    frames = []
    for tick, value in enumerate(volts):
        at_s = tick / 100
        data = car(chance.choice((0.0, 1000.0)) if tick in spikes else value, 150_000.0, "charging")
        frames += [(at_s, CAR.frame_id, data), (at_s + 0.0002, CAR.frame_id, data)][: 2 if tick in again else 1]
    recording, dbc = record(tmp_path, DBC, frames)
    records, events = await replayed(tmp_path, recording, dbc=dbc, signals=SIGNALS)
    seen = [each.signals["battery.voltage"] for each in records if "battery.voltage" in each.signals]
    assert set(seen) <= set(volts)
    assert len(seen) > 200
    assert seen == sorted(seen)
    assert min(seen) < 400 < 480 < max(seen), "before and after the step"
    (stopped,) = data_of(events, "stopped")
    assert (stopped["outliers"], stopped["repeated_frames"]) == (len(spikes), len(again))
