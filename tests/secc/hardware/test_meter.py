"""The meter: exact, monotone, and still right after the process is killed."""

import math
import os
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secc.hardware.meter import SimulatedMeter
from secc.session.ports import MeterRead
from tests.sealing import Keys, new_keys
from tests.secc.hardware.meter import full
from v2g.errors import SealedError, StoreError
from v2g.hardware.interfaces import MeterValues
from v2g.hardware.meters.plausibility import PER_MWH
from v2g.io.runtime.clock import Clock
from v2g.io.simulation.power import Faults

HOUR = 3_600_000


class Dial:
    """The meter's own time."""

    ms = 0

    def __call__(self) -> int:
        return self.ms


def test_an_hour_of_ten_kilowatts_is_ten_kilowatt_hours_each_way() -> None:
    dial = Dial()
    meter = SimulatedMeter("M", now_ms=dial)
    meter.flow(0, 400_000, 25_000)
    meter.flow(HOUR, 400_000, -25_000)
    dial.ms = HOUR
    assert meter.read(7) == MeterRead(7, 10_000_000, 0)
    dial.ms = 2 * HOUR
    assert meter.read(8) == MeterRead(8, 10_000_000, 10_000_000)


Flow = st.tuples(st.integers(0, 100_000), st.integers(0, 1_000_000), st.integers(-300_000, 300_000))


@given(st.lists(Flow, max_size=30))
def test_however_often_it_is_read_nothing_is_lost_and_nothing_falls(flows: list[tuple[int, int, int]]) -> None:
    dial = Dial()
    often, seldom = SimulatedMeter("A", now_ms=dial), SimulatedMeter("B", now_ms=dial)
    now = exact_import = exact_export = 0
    before = MeterRead(0, 0, 0)
    for milliseconds, voltage, current in flows:
        often.flow(now, voltage, current)
        seldom.flow(now, voltage, current)
        for part in range(1, 4):
            dial.ms = now + milliseconds * part // 3
            reading = often.read(dial.ms)
            assert reading.import_mwh >= before.import_mwh
            assert reading.export_mwh >= before.export_mwh
            before = reading
        now += milliseconds
        energy = voltage * current * milliseconds
        exact_import += max(0, energy)
        exact_export += max(0, -energy)
    dial.ms = now
    assert often.read(now) == seldom.read(now) == MeterRead(now, exact_import // PER_MWH, exact_export // PER_MWH)


def test_a_clock_that_is_set_forward_is_no_energy() -> None:
    """UTC only stamps readings; energy is integrated over a time that nobody sets."""
    dial = Dial()
    meter = SimulatedMeter("M", now_ms=dial)
    meter.flow(0, 400_000, 25_000)
    dial.ms = 1_000
    before = meter.read(1_700_000_000_000)
    after = meter.read(1_700_000_000_000 + 24 * HOUR)  # a day in a moment
    assert (after.import_mwh, after.export_mwh) == (before.import_mwh, before.export_mwh)
    assert after.utc_ms == 1_700_000_000_000 + 24 * HOUR


def test_time_that_goes_back_counts_as_no_time() -> None:
    dial = Dial()
    meter = SimulatedMeter("M", now_ms=dial)
    meter.flow(HOUR, 400_000, 25_000)
    assert meter.read(0).import_mwh == 0
    dial.ms = 2 * HOUR
    assert meter.read(0).import_mwh == 10_000_000


def test_registers_and_what_is_not_yet_a_whole_mwh_survive(tmp_path: Path, keys: Keys) -> None:
    path = tmp_path / "sub" / "more" / "meter.bin"
    dial = Dial()
    meter = SimulatedMeter("M", path, now_ms=dial, keys=keys)
    meter.flow(0, 60_000, 30_000)  # half a mWh in a ms
    dial.ms = HOUR + 1
    assert meter.read(0) == MeterRead(0, HOUR // 2, 0)
    meter.save(sync=False)  # killed here: nothing is closed
    dial = Dial()
    again = SimulatedMeter("M", path, now_ms=dial, keys=keys)
    assert again.read(0) == MeterRead(0, HOUR // 2, 0)
    again.flow(0, 60_000, 30_000)
    dial.ms = 1
    assert again.read(0) == MeterRead(0, HOUR // 2 + 1, 0)
    again.close()
    again.close()
    meter.close()


def test_a_write_that_was_cut_off_leaves_the_one_before(tmp_path: Path, keys: Keys) -> None:
    path = tmp_path / "meter.bin"
    meter = SimulatedMeter("M", path, now_ms=Dial(), keys=keys)
    for hour in range(3):
        before = path.read_bytes()
        meter.flow(hour * HOUR, 400_000, 25_000)
        meter.save()
    data = bytearray(path.read_bytes())
    data[next(at for at, byte in enumerate(before) if data[at] != byte)] ^= 0xFF
    path.write_bytes(data)
    assert SimulatedMeter("M", path, now_ms=Dial(), keys=keys).read(0).import_mwh == 10_000_000


@pytest.mark.requirement("R145")
@pytest.mark.parametrize("saves", [1, 2])
def test_sealed_registers_need_their_key_and_go_on_from_a_plain_file(tmp_path: Path, saves: int) -> None:
    path, keys = tmp_path / "meter.bin", new_keys(tmp_path / "keys")
    meter = SimulatedMeter("M", path, now_ms=Dial())
    meter.flow(0, 400_000, 25_000)
    for hour in range(1, saves + 1):
        meter.flow(hour * HOUR, 400_000, 25_000)
        meter.save()
    for _ in range(2):  # as if killed before anything is saved: the second one finds what the first one has sealed
        assert SimulatedMeter("M", path, now_ms=Dial(), keys=keys).read(0).import_mwh == saves * 10_000_000
        assert path.stat().st_size == 160 * (1 + saves % 2)
    for _ in range(2):
        sealed = SimulatedMeter("M", path, now_ms=Dial(), keys=keys)
        assert sealed.read(0).import_mwh == saves * 10_000_000
        assert b"V2GMETR1" not in path.read_bytes()
        assert path.stat().st_mode & 0o777 == 0o600
        sealed.close()
    with pytest.raises(SealedError, match="is sealed"):
        SimulatedMeter("M", path, now_ms=Dial())
    with pytest.raises(StoreError, match="has no valid registers"):
        SimulatedMeter("M", path, now_ms=Dial(), keys=new_keys(tmp_path / "others"))


def test_to_open_a_file_changes_nothing_in_it_and_nobody_else_reads_it(tmp_path: Path, keys: Keys) -> None:
    path = tmp_path / "meter.bin"
    meter = SimulatedMeter("M", path, now_ms=Dial(), keys=keys)
    assert path.read_bytes() == b""
    assert path.stat().st_mode & 0o777 == 0o600
    for hour in range(3):
        meter.flow(hour * HOUR, 400_000, 25_000)
        meter.save()
    data = path.read_bytes()
    SimulatedMeter("M", path, now_ms=Dial(), keys=keys)
    assert path.read_bytes() == data


def test_a_closed_meter_has_stored_its_registers_and_left_its_file(tmp_path: Path) -> None:
    path = tmp_path / "meter.bin"
    meter = SimulatedMeter("M", path, now_ms=Dial())
    meter.flow(0, 400_000, 25_000)
    meter.flow(HOUR, 0, 0)
    assert descriptors(path) == 1
    meter.close()
    assert descriptors(path) == 0
    assert SimulatedMeter("M", path, now_ms=Dial()).read(0).import_mwh == 10_000_000


def descriptors(path: Path) -> int:
    """Return how many of this process's descriptors are of this file."""
    return sum(each.is_symlink() and each.readlink() == path for each in Path("/proc/self/fd").iterdir())


def test_registers_are_synced_unless_that_is_done_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meter, synced = SimulatedMeter("M", tmp_path / "meter.bin", now_ms=Dial()), []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    meter.save(sync=False)
    assert not synced
    meter.save()
    assert len(synced) == 1
    meter.sync()
    assert len(synced) == 2
    monkeypatch.setattr(os, "fdatasync", full)
    with pytest.raises(StoreError, match="No space left"):
        meter.save()


def test_a_slot_of_something_else_is_no_register(tmp_path: Path) -> None:
    path = tmp_path / "meter.bin"
    body = struct.pack(">8sQ16s16s", b"V2GMETR2", 1, bytes(16), bytes(16))
    path.write_bytes(body + zlib.crc32(body).to_bytes(4, "big"))
    with pytest.raises(StoreError, match="has no valid registers"):
        SimulatedMeter("M", path, now_ms=Dial())


@pytest.mark.parametrize("data", [b"x", bytes(120), b"V2GMETR1" * 15])
def test_a_file_without_registers_is_no_meter(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "meter.bin"
    path.write_bytes(data)
    with pytest.raises(StoreError, match="has no valid registers"):
        SimulatedMeter("M", path, now_ms=Dial())


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=str(tmp_path)):
        SimulatedMeter("M", tmp_path, now_ms=Dial())


def test_a_full_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meter = SimulatedMeter("M", tmp_path / "meter.bin", now_ms=Dial())
    meter.save()
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StoreError, match="No space left"):
        meter.save()


def test_without_a_file_there_is_nothing_to_save() -> None:
    meter = SimulatedMeter("M", now_ms=Dial())
    meter.save()
    meter.close()


def test_after_a_rollover_registers_go_on_and_the_meter_shows_less() -> None:
    dial = Dial()
    meter = SimulatedMeter("M", now_ms=dial, rollover_mwh=4_000_000)
    meter.flow(0, 400_000, 25_000)
    meter.flow(HOUR, 400_000, -52_500)
    dial.ms = 2 * HOUR
    reading = meter.read(5)
    assert reading == MeterRead(5, 10_000_000, 21_000_000, (8_000_000, 20_000_000), 4_000_000)
    assert reading.shown == {"import_mwh": 2_000_000, "export_mwh": 1_000_000}
    assert meter.values == MeterValues(2_000_000, 1_000_000, 400_000, -21_000)
    assert meter.has_voltage
    assert meter.read_at == math.inf


def test_whoever_subscribes_is_notified_of_each_flow() -> None:
    meter, reported = SimulatedMeter("M", now_ms=Dial()), []
    meter.on_change(lambda: reported.append(meter.power_w))
    meter.flow(0, 400_000, 25_000)
    meter.flow(0, 0, 25_000)
    assert reported == [10_000, 0]
    assert meter.values.voltage_mv == 0


class Wrong:
    """A meter with 10 kW, and its faults, of which it reports what it has lost."""

    def __init__(self) -> None:
        self.dial, self.reported = Dial(), list[tuple[str, bool]]()
        self.meter, self.faults = SimulatedMeter("M", now_ms=self.dial), Faults((), Clock())
        self.meter.on_fault(lambda word, active: self.reported.append((word, active)))
        self.meter.obey(self.faults)

    def hour(self) -> MeterRead:
        """Return what it reads an hour later."""
        self.dial.ms += HOUR
        return self.meter.read(self.dial.ms)


async def test_a_meter_that_counts_wrong_adds_power_with_and_without_voltage() -> None:
    wrong = Wrong()
    wrong.faults.set("meter_wrong", value=1_000.0)  # before anything was measured
    assert wrong.meter.values == MeterValues(0, 0, 400_000, 1_000)
    wrong.meter.flow(0, 0, 5_000)
    assert wrong.hour().import_mwh == 1_000_000
    wrong.meter.flow(HOUR, 100_000, 5_000)
    assert wrong.hour().import_mwh == 2_500_000
    wrong.faults.set("meter_wrong", value=100_000.0)
    assert wrong.hour().import_mwh == 103_000_000
    wrong.faults.set("meter_wrong", active=False)
    assert wrong.hour().import_mwh == 103_500_000
    assert wrong.reported == [("meter_lost", False)] * 3


async def test_before_anything_was_measured_a_fault_finds_nothing() -> None:
    wrong = Wrong()
    wrong.faults.set("meter_stuck")
    assert wrong.meter.values == MeterValues(0, 0, 0, 0)


@pytest.mark.parametrize(("fault", "sign"), [("meter_jump", 1), ("meter_backward", -1)])
async def test_a_register_jumps_for_as_long_as_the_fault_is_there(fault: str, sign: int) -> None:
    wrong = Wrong()
    wrong.meter.flow(0, 400_000, 25_000)
    wrong.hour()
    wrong.faults.set(fault, value=2.5)  # type: ignore[arg-type]
    assert wrong.meter.read(0) == MeterRead(0, 10_000_000 + sign * 2_500, 0)
    wrong.faults.set(fault, active=False)  # type: ignore[arg-type]
    assert wrong.meter.read(0) == MeterRead(0, 10_000_000, 0)


async def test_a_reading_that_is_kept_is_read_for_good_as_of_a_meter_that_does_not_answer() -> None:
    wrong = Wrong()
    wrong.meter.flow(0, 400_000, 25_000)
    plausible = wrong.hour()
    wrong.faults.set("meter_jump", value=9.0)
    wrong.meter.keep(plausible)
    assert wrong.hour() == MeterRead(2 * HOUR, 10_000_000, 0, answered=False)
    wrong.faults.set("meter_stuck")
    assert wrong.hour() == MeterRead(3 * HOUR, 10_000_000, 0, answered=False)


async def test_no_register_is_below_0() -> None:
    wrong = Wrong()
    wrong.faults.set("meter_backward", value=1.0)
    assert wrong.meter.read(0) == MeterRead(0, 0, 0)


async def test_a_stuck_meter_answers_with_what_it_had_whatever_else_fails() -> None:
    wrong = Wrong()
    wrong.meter.flow(0, 400_000, 25_000)
    wrong.faults.set("meter_jump", value=1.0)
    wrong.hour()
    wrong.faults.set("meter_stuck")
    assert wrong.hour() == MeterRead(2 * HOUR, 10_001_000, 0)
    wrong.faults.set("meter_jump", value=9.0)
    assert wrong.hour() == MeterRead(3 * HOUR, 10_001_000, 0)
    assert wrong.meter.power_w == 10_000
    wrong.faults.set("meter_silent")
    assert wrong.hour() == MeterRead(4 * HOUR, 10_001_000, 0, answered=False)
    wrong.faults.set("meter_silent", active=False)
    wrong.faults.set("meter_jump", active=False)
    wrong.faults.set("meter_stuck", active=False)
    assert wrong.hour() == MeterRead(5 * HOUR, 50_000_000, 0)


async def test_a_silent_meter_says_nothing_and_is_lost_until_it_answers() -> None:
    wrong = Wrong()
    assert not wrong.meter.lost
    wrong.meter.flow(0, 400_000, 25_000)
    wrong.faults.set("meter_silent")
    assert wrong.meter.lost
    assert wrong.meter.power_w is None
    reading = wrong.hour()
    assert reading == MeterRead(HOUR, 0, 0, answered=False)
    assert reading.shown == {}
    wrong.faults.set("meter_silent", active=False)
    assert not wrong.meter.lost
    assert wrong.meter.read(0) == MeterRead(0, 10_000_000, 0)
    assert wrong.reported == [("meter_lost", True), ("meter_lost", False)]
