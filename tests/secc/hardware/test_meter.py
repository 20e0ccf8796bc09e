"""The meter: exact, monotone, and still right after the process is killed."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secc.hardware.meter import MeterReading, SimulatedMeter
from tests.sealing import Keys, new_keys
from v2g.errors import SealedError, StoreError
from v2g.hardware.meters.counter import PER_MWH

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
    assert meter.read(7) == MeterReading(7, 10_000_000, 0)
    dial.ms = 2 * HOUR
    assert meter.read(8) == MeterReading(8, 10_000_000, 10_000_000)


Flow = st.tuples(st.integers(0, 100_000), st.integers(0, 1_000_000), st.integers(-300_000, 300_000))


@given(st.lists(Flow, max_size=30))
def test_however_often_it_is_read_nothing_is_lost_and_nothing_falls(flows: list[tuple[int, int, int]]) -> None:
    dial = Dial()
    often, seldom = SimulatedMeter("A", now_ms=dial), SimulatedMeter("B", now_ms=dial)
    now = exact_import = exact_export = 0
    before = MeterReading(0, 0, 0)
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
    assert often.read(now) == seldom.read(now) == MeterReading(now, exact_import // PER_MWH, exact_export // PER_MWH)


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
    path = tmp_path / "sub" / "meter.bin"
    dial = Dial()
    meter = SimulatedMeter("M", path, now_ms=dial, keys=keys)
    meter.flow(0, 400_000, 25_001)
    dial.ms = HOUR + 1
    meter.read(HOUR + 1)
    meter.save(sync=False)  # killed here: nothing is closed
    again = SimulatedMeter("M", path, now_ms=Dial(), keys=keys)
    assert again.read(0) == MeterReading(0, *(meter.read(HOUR + 1).import_mwh, 0))
    assert again._counter.imported == meter._counter.imported
    again.close()
    again.close()
    meter.close()


def test_a_write_that_was_cut_off_leaves_the_one_before(tmp_path: Path, keys: Keys) -> None:
    path = tmp_path / "meter.bin"
    meter = SimulatedMeter("M", path, now_ms=Dial(), keys=keys)
    for hour in range(3):
        meter.flow(hour * HOUR, 400_000, 25_000)
        meter.save()
    data = bytearray(path.read_bytes())
    generation = meter._generation % 2
    data[generation * len(data) // 2 + 20] ^= 0xFF
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


def full(*_: object) -> int:
    """Write to a full disk."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_without_a_file_there_is_nothing_to_save() -> None:
    meter = SimulatedMeter("M", now_ms=Dial())
    meter.save()
    meter.close()
