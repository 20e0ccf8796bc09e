"""The journal of a session: on disk before anything follows, in order, closed once."""

import asyncio
import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from secc.evse.journal import JournalWriter
from secc.hardware.meter import SimulatedMeter
from secc.session import ports
from secc.session.config import SeccConfig
from secc.session.identity import Identity
from secc.session.journal import session_started
from tests.waiting import until
from v2g.asn1.discharge import PriceSlot
from v2g.energy.grid_signal import Tariff
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.records import (
    EnergyUnmetered,
    MeteringConfirmed,
    MeterReading,
    SessionStarted,
    TariffSet,
    VehicleDescribed,
)
from v2g.energy.settlement.settle import settle
from v2g.errors import StoreError
from v2g.io.runtime.clock import Clock, ClockConfig
from v2g.io.runtime.disk import DiskThread
from v2g.io.simulation.power import Faults
from v2g.io.storage.journal_file import JournalFile

STARTED = SessionStarted(
    station_id="CS-1",
    evse_id="DEV2GE00001",
    session_id="0011223344556677",
    meter_serial="M",
    meter_certificate="00" * 32,
    charger_certificate="00" * 32,
    import_mwh=0,
    export_mwh=0,
)
QUARTER_MS = 900_000


class Desk:
    """A journal in a folder, with a meter in the hand."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder, self.clock = folder, clock
        self.meter = SimulatedMeter("M", folder / "meter.bin", now_ms=clock.utc_ms)
        self.lines: list[bytes] = []
        self.journal = JournalWriter(
            lambda session_id: JournalFile.open(folder / f"{session_id}.jsonl"),
            meter=self.meter,
            clock=clock,
            disk=DiskThread(),
            on_line=self.copy,
        )

    def copy(self, line: bytes) -> None:
        assert line in (self.folder / f"{STARTED.session_id}.jsonl").read_bytes()  # durable before it is copied
        self.lines.append(line)

    def kinds(self) -> list[str]:
        return [type(entry.data).__name__ for entry in verify_lines(b"".join(self.lines))]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Return a desk whose clock is simulated and stands at 00:14 of a day."""
    return Desk(tmp_path, Clock(ClockConfig(scale=1.0)))


async def test_a_session_is_written_from_its_start_to_its_end(desk: Desk) -> None:
    commands: list[Any] = [
        ports.Journal(STARTED),
        ports.Journal(VehicleDescribed(evcc_id="V")),
        ports.RecordMeter("begin", power_w=0, soc=50),
        ports.CloseJournal("vehicle"),
        ports.CloseJournal("vehicle"),
        ports.EmergencyOff("not ours"),
    ]
    asked = [desk.journal.execute(command) for command in commands]  # at once: the order is that of the asking
    assert not desk.lines
    outcomes = [await each if each is not None else None for each in asked]
    assert isinstance(outcomes[2], ports.MeterRead)
    assert [each for each in outcomes if each] == [outcomes[2]]
    kinds = desk.kinds()
    assert kinds[:3] == ["SessionStarted", "VehicleDescribed", "MeterReading"]
    assert kinds[-1] == "SessionEnded"
    assert not desk.journal.is_open
    assert b"".join(desk.lines) == (desk.folder / f"{STARTED.session_id}.jsonl").read_bytes()


async def test_nothing_is_written_before_the_start(desk: Desk) -> None:
    with pytest.raises(StoreError, match="session_started"):
        desk.journal.write(VehicleDescribed(evcc_id="V"))
    reading = await desk.journal.record_meter("begin")  # a reading is still a reading
    assert isinstance(reading, ports.MeterRead)
    assert (reading.import_mwh, desk.lines) == (0, [])
    assert desk.journal.close("never begun") is None


async def test_the_registers_on_disk_never_fall_behind_the_journal(desk: Desk) -> None:
    desk.meter.flow(desk.clock.utc_ms() - 3_600_000, 400_000, 25_000)
    desk.journal.write(STARTED)
    reading = await desk.journal.record_meter("stop")
    assert isinstance(reading, ports.MeterRead)
    assert reading.import_mwh >= 10_000_000
    assert (
        SimulatedMeter("M", desk.folder / "meter.bin", now_ms=desk.clock.utc_ms).read(0).import_mwh
        == reading.import_mwh
    )


async def test_intervals_close_at_the_quarter_hours_of_the_clock(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Clock(ClockConfig(scale=10_000.0)))
    closed: list[ports.MeterRead] = []
    closing = asyncio.create_task(desk.journal.close_intervals(closed.append))
    desk.journal.write(STARTED)
    await until(lambda: len(closed) >= 3)
    ended = desk.journal.close("vehicle")
    assert ended is not None
    await ended
    closing.cancel()
    entries = verify_lines(b"".join(desk.lines))
    intervals = [entry.data for entry in entries if type(entry.data).__name__ == "IntervalClosed"]
    assert len(intervals) >= 3
    for before, after in itertools.pairwise(intervals):
        assert before.end_ms == after.start_ms  # type: ignore[union-attr]
        assert before.end_ms % QUARTER_MS == 0  # type: ignore[union-attr]
    assert {each.utc_ms // QUARTER_MS for each in closed} == {
        closed[0].utc_ms // QUARTER_MS + n for n in range(len(closed))
    }


async def test_the_meter_is_read_where_the_price_changes(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Clock(ClockConfig(scale=1_000.0)))
    begin_ms = desk.clock.utc_ms() // 60_000 * 60_000
    slots = tuple(PriceSlot(begin_ms + n * 60_000, 60_000, n, 0) for n in range(60))
    closing = asyncio.create_task(desk.journal.close_intervals(lambda _: None))
    desk.journal.write(STARTED)
    desk.journal.write(TariffSet(tariff=Tariff(currency="EUR", slots=slots)))

    def read() -> list[int]:
        lines = verify_lines(b"".join(desk.lines)) if desk.lines else ()
        entries = [entry for entry in lines if isinstance(entry.data, MeterReading)]
        return [entry.utc_ms for entry in entries if entry.data.reason == "price"]  # type: ignore[union-attr]

    await until(lambda: len(read()) >= 3)
    ended = desk.journal.close("vehicle")
    assert ended is not None
    await ended
    closing.cancel()
    assert len({each // 60_000 for each in read()}) == len(read()), "once in each minute"


async def test_the_meter_is_read_before_other_prices_once_energy_may_flow(desk: Desk) -> None:
    """Not at the start, where the session's first entries follow each other."""
    tariff = TariffSet(tariff=Tariff(currency="EUR", slots=()))
    for record in (STARTED, tariff):
        desk.journal.write(record)
    desk.journal.record_meter("begin")
    desk.journal.write(VehicleDescribed(evcc_id="V"))
    await desk.journal.write(tariff)
    first = ["SessionStarted", "TariffSet", "MeterReading", "VehicleDescribed"]
    assert desk.kinds() == [*first, "MeterReading", "TariffSet"]
    *_, reading, priced = verify_lines(b"".join(desk.lines))
    assert reading.utc_ms == priced.utc_ms
    assert isinstance(reading.data, MeterReading)
    assert reading.data.reason == "price"


async def test_what_the_vehicle_confirms_is_in_the_journal_before(desk: Desk) -> None:
    """A crash must not lose a reading that the vehicle has signed."""
    desk.journal.write(STARTED)
    desk.journal.record_meter("begin")
    await desk.journal.write(MeteringConfirmed(payload=b"signed"))
    *_, reading, confirmed = verify_lines(b"".join(desk.lines))
    assert isinstance(reading.data, MeterReading)
    assert (reading.data.reason, reading.utc_ms) == ("confirmation", confirmed.utc_ms)


async def test_what_is_wrong_with_a_reading_is_written_and_reported(desk: Desk) -> None:
    """A silent meter, then a clock set forward by an hour, then both; a session may end with a silent meter."""
    found: list[tuple[str, ...]] = []
    faults = Faults((), desk.clock)
    desk.meter.obey(faults)
    clock = desk.clock
    journal = JournalWriter(
        lambda session_id: JournalFile.open(desk.folder / f"{session_id}.jsonl"),
        meter=desk.meter,
        clock=clock,
        disk=DiskThread(),
        on_line=desk.copy,
        on_status=lambda status, reason: found.append((reason, *status)),
    )
    journal.write(STARTED)
    journal.record_meter("begin")
    faults.set("meter_silent")
    journal.record_meter("interval")
    faults.set("meter_silent", active=False)
    real = clock.utc_ms
    clock.utc_ms = lambda: real() + 3_600_000  # type: ignore[method-assign]
    journal.record_meter("interval")
    clock.utc_ms = real  # type: ignore[method-assign]
    faults.set("meter_silent")
    await journal.record_meter("direction")
    assert found == [
        ("interval", "missing"),
        ("interval", "time_jump"),
        ("direction", "missing", "time_jump"),
    ]
    ended = journal.close("fault")
    assert ended is not None
    await ended
    settlement = settle(verify_lines(b"".join(desk.lines)))
    assert (settlement.end.basis, settlement.end.status) == ("substitute", ("missing",))


async def test_what_a_meter_showed_before_it_fell_silent_counts(tmp_path: Path) -> None:
    """Nothing since the reading before, of up to a quarter hour ago, was settled, though the meter had counted it."""
    clock, now_ms, lines = Clock(), [0], list[bytes]()
    meter, faults = SimulatedMeter("M", now_ms=lambda: now_ms[0]), Faults((), clock)
    meter.obey(faults)
    journal = JournalWriter(
        lambda session_id: JournalFile.open(tmp_path / "journal"),
        meter=meter,
        clock=clock,
        disk=DiskThread(),
        on_line=lines.append,
        flowed_mwh=lambda: (2_000_000, 0),
    )
    journal.write(STARTED)
    journal.record_meter("begin")
    meter.flow(0, 400_000, 150_000)
    now_ms[0] = 120_000
    faults.set("meter_silent")
    ended = journal.close("meter_lost")
    assert ended is not None
    await ended
    settlement = settle(verify_lines(b"".join(lines)))
    assert (settlement.end.import_mwh, settlement.end.basis, settlement.unmetered) == (2_000_000, "substitute", UNSET)


async def test_a_session_starts_with_what_a_meter_shows_that_has_started_again_at_0(tmp_path: Path) -> None:
    clock = Clock()
    now_ms = [0]
    meter = SimulatedMeter("M", now_ms=lambda: now_ms[0], rollover_mwh=1_500_000)
    meter.flow(0, 400_000, 5_000)
    now_ms[0] = 3_600_000
    lines: list[bytes] = []
    journal = JournalWriter(
        lambda session_id: JournalFile.open(tmp_path / "journal"),
        meter=meter,
        clock=clock,
        disk=DiskThread(),
        on_line=lines.append,
    )
    before = meter.read(0)
    assert (before.import_mwh, before.shown["import_mwh"]) == (2_000_000, 500_000)
    parties = Identity("CS", "M", b"meter")
    began = (before.import_mwh, before.export_mwh)
    await journal.write(
        session_started(
            SeccConfig(),
            parties,
            b"own",
            session_id=bytes(8),
            meter=before,
            registers=began,
            discharge="none",
        )
    )
    now_ms[0] += 1_980_000
    fact = await journal.record_meter("stop")
    assert isinstance(fact, ports.MeterRead)
    assert fact.import_mwh == 3_100_000
    started, reading = (entry.data for entry in verify_lines(b"".join(lines)))
    assert (started.import_mwh, started.rollover_mwh) == (500_000, 1_500_000)  # type: ignore[union-attr]
    assert isinstance(reading, MeterReading)
    assert (reading.import_mwh, reading.shown_import_mwh, reading.status) == (1_600_000, 100_000, ("rollover",))


class Uncounted:
    """A journal at a desk whose power electronics measures what the meter may not count."""

    def __init__(self, desk: Desk, started: SessionStarted = STARTED) -> None:
        self.flowed_mwh, self.faults = (0, 0), Faults((), desk.clock)
        desk.meter.obey(self.faults)
        desk.journal = JournalWriter(
            lambda session_id: JournalFile.open(desk.folder / f"{session_id}.jsonl"),
            meter=desk.meter,
            clock=desk.clock,
            disk=DiskThread(),
            on_line=desk.copy,
            flowed_mwh=lambda: self.flowed_mwh,
        )
        desk.journal.write(started)


@pytest.mark.requirement("R31")
@pytest.mark.parametrize("way", ["stuck", "paused"])
async def test_energy_that_the_meter_did_not_count_is_in_the_journal_as_such(desk: Desk, way: str) -> None:
    """8 s at 50 kW with a dead meter were settled as what it showed, and verified, with no word about the rest."""
    made = Uncounted(desk)
    made.faults.set("meter_stuck")
    made.flowed_mwh = (111_111, 0)
    if way == "paused":
        await desk.journal.put_down()
    elif (ended := desk.journal.close("meter_stuck")) is not None:
        await ended
    entries = verify_lines(b"".join(desk.lines))
    assert EnergyUnmetered(import_mwh=111_111, export_mwh=0) in [entry.data for entry in entries]
    settlement = settle(entries)
    assert settlement.end.import_mwh == settlement.begin.import_mwh
    assert settlement.unmetered == EnergyUnmetered(import_mwh=111_111, export_mwh=0)


async def test_a_meter_that_starts_again_leaves_no_more_unmetered_than_what_flowed(desk: Desk) -> None:
    """The registers that it lost, here 40 kWh, were stated as energy of the session."""
    made = Uncounted(desk, msgspec.structs.replace(STARTED, import_mwh=40_000_000))
    made.flowed_mwh = (111_111, 0)
    ended = desk.journal.close("meter_backward")
    assert ended is not None
    await ended
    settlement = settle(verify_lines(b"".join(desk.lines)))
    assert settlement.unmetered == EnergyUnmetered(import_mwh=111_111, export_mwh=0)


@pytest.mark.parametrize(("counted_wh", "unmetered"), [(50_000, False), (49_700, True)])
async def test_only_beyond_the_errors_of_both_is_energy_without_a_meter(
    desk: Desk, counted_wh: int, unmetered: bool
) -> None:
    made = Uncounted(desk)
    made.flowed_mwh = (52_500_000, 0)
    made.faults.set("meter_jump", value=float(counted_wh))
    ended = desk.journal.close("vehicle")
    assert ended is not None
    await ended
    assert (settle(verify_lines(b"".join(desk.lines))).unmetered is not UNSET) is unmetered
