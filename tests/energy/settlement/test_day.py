"""A day of 50 vehicles with published prices and frequency: every mWh and every cent, against arithmetic of its own."""

import random
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.energy.settlement.day import VEHICLES, vehicles
from tests.energy.settlement.days import Vehicle, Visit, prices
from tests.energy.settlement.meter_classes import CLASS_05, CLASS_1, ErringMeter, MeterClass
from tests.together import together
from v2g.asn1.discharge import PriceSlot
from v2g.energy.grid_signal import Tariff, local_day
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.records import MeterReading, SessionStarted, TariffSet
from v2g.energy.settlement.session_journal import SessionJournal
from v2g.energy.settlement.settle import Settlement, settle
from v2g.io.storage.journal_file import JournalFile
from v2g.units import QUARTER_MS


def settled(visit: Visit) -> Settlement:
    return settle(verify_lines(visit.data))


def energy(settlement: Settlement) -> tuple[int, int]:
    begin, end = settlement.begin, settlement.end
    return end.import_mwh - begin.import_mwh, end.export_mwh - begin.export_mwh


def check_energy(found: tuple[Vehicle, ...]) -> None:
    flowed = [0.0, 0.0]
    for vehicle in found:
        first, last = vehicle.visits[0].readings[0], vehicle.visits[-1].readings[-1]
        sums = [0, 0]
        for visit in vehicle.visits:
            settlement = settled(visit)
            for way in (0, 1):
                sums[way] += energy(settlement)[way]
                lines = [line for line in settlement.lines if line.direction == ("import", "export")[way]]
                assert sum(line.energy_mwh for line in lines) == energy(settlement)[way]
            assert energy(settlement) == tuple(visit.readings[-1][k] - visit.readings[0][k] for k in (1, 2))
        assert sums == [last[1] - first[1], last[2] - first[2]], "no arithmetic error, over power cuts, too"
        meter = vehicle.meter
        for way in (0, 1):
            assert abs(sums[way] - meter.true_wms[way] / 3600) <= meter.bound_wms[way] / 3600 + 1
            flowed[way] += meter.true_wms[way] / 3_600_000_000
    assert min(flowed) > len(found)  # some kWh each way


def rounded(quantity: int, price: int) -> int:
    """mWh times micro-units per kWh, by decimal arithmetic, half to even."""
    return int((Decimal(quantity) * price / Decimal(10**6)).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def expected_lines(visit: Visit) -> list[tuple[int, int, str, int, int]]:
    """Start, end, direction, mWh and amount of each line, from the readings at the edges of quarter hours alone."""
    hours = {slot.start_ms // 3_600_000: slot for slot in prices().slots}
    first, last = visit.readings[0], visit.readings[-1]
    cuts = {each[0]: each for each in visit.readings if each[0] % QUARTER_MS == 0}
    edges = [first, *(cuts[at] for at in sorted(cuts) if first[0] < at < last[0]), last]
    lines = []
    for begin, end in pairwise(edges):
        slot = hours[begin[0] // 3_600_000]
        for way, price in ((1, slot.import_price), (2, slot.export_compensation)):
            if more := end[way] - begin[way]:
                lines.append((begin[0], end[0], ("", "import", "export")[way], more, rounded(more, price)))
    return lines


def check_money(found: tuple[Vehicle, ...]) -> tuple[int, Fraction]:
    """Check every line and total; return the balance of all (micro-units), and what it is without any rounding."""
    balance, exact = 0, Fraction()
    slots = {slot.start_ms // 3_600_000: slot for slot in prices().slots}
    for vehicle in found:
        for visit in vehicle.visits:
            settlement = settled(visit)
            ours = [(x.start_ms, x.end_ms, x.direction, x.energy_mwh, x.amount) for x in settlement.lines]
            expected = expected_lines(visit)
            assert ours == expected
            (total,) = settlement.totals
            cost = sum(each[4] for each in expected if each[2] == "import")
            credit = sum(each[4] for each in expected if each[2] == "export")
            assert (total.import_cost, total.export_credit, total.balance) == (cost, credit, cost - credit)
            balance += total.balance
            for start, _, direction, more, _ in expected:
                slot = slots[start // 3_600_000]
                price = slot.import_price if direction == "import" else -slot.export_compensation
                exact += Fraction(more * price, 10**6)
    return balance, exact


@pytest.mark.requirement("R31")
def test_settled_energy_is_the_registers_to_the_mwh_and_within_the_class_of_what_flowed() -> None:
    check_energy(vehicles())


@pytest.mark.requirement("R33", "R34")
def test_every_cent_of_the_day_is_explained_also_where_prices_are_negative() -> None:
    """Rounding is at most half a millionth a line."""
    assert min(slot.export_compensation for slot in prices().slots) < 0
    balance, exact = check_money(vehicles())
    lines = sum(len(expected_lines(visit)) for vehicle in vehicles() for visit in vehicle.visits)
    assert lines > 40 * VEHICLES
    assert abs(balance - exact) <= Fraction(lines, 2)


@pytest.mark.requirement("R31")
@pytest.mark.parametrize("kind", [CLASS_05, CLASS_1], ids=lambda kind: kind.name)
@pytest.mark.parametrize("power_factor", [1.0, 0.5, 0.8])
def test_at_every_load_a_meter_of_a_class_errs_within_it_and_settlement_adds_nothing(
    kind: MeterClass, power_factor: float
) -> None:
    """From a hundredth of the nominal current to all of it, each for an hour in both directions, in one journal."""
    meter, journal, tariff = ErringMeter(kind, 22_000, 3, 5), SessionJournal(), prices()
    begin = tariff.slots[0].start_ms
    started = SessionStarted(
        station_id="CS", evse_id="DE*V2G*E1", session_id="00", meter_serial="M", meter_certificate="00",
        charger_certificate="00", import_mwh=5, export_mwh=5, discharge="standard",
    )  # fmt: skip
    lines, before = journal.record(started, begin), (5, 5)
    for hour, share in enumerate((0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0), 1):
        true = meter.true_wms.copy()
        for way in (1, -1):
            meter.flow(way * share * 22_000 * power_factor, 3_600_000, power_factor)
        found = meter.read()
        lines += journal.record(MeterReading(import_mwh=found[0], export_mwh=found[1]), begin + hour * 3_600_000)
        settlement = settle(verify_lines(b"".join(lines)))
        assert energy(settlement) == (found[0] - 5, found[1] - 5)
        for way in (0, 1):
            flowed = (meter.true_wms[way] - true[way]) / 3600
            assert abs(found[way] - before[way] - flowed) <= flowed * kind.limit(share, power_factor) / 100 + 1
        before = found
        if share >= 0.2 and power_factor == 1.0:
            assert kind.limit(share, power_factor) == kind.percent


@pytest.mark.requirement("R34")
@together(
    ("zone", "day", "quarters"),
    [
        ("Europe/Berlin", date(2026, 3, 29), 92),
        ("Europe/Berlin", date(2026, 6, 1), 96),
        ("Europe/Berlin", date(2026, 10, 25), 100),
        ("America/New_York", date(2026, 3, 8), 92),
        ("America/New_York", date(2026, 11, 1), 100),
        ("Australia/Lord_Howe", date(2026, 4, 5), 98),  # its summer time is half an hour
        ("Australia/Lord_Howe", date(2026, 10, 4), 94),
    ],
)
def test_a_session_over_a_local_day_is_priced_by_the_clock_on_the_wall(zone: str, day: date, quarters: int) -> None:
    """1 kWh in each quarter hour, at a price that is negative by night."""
    starts = range(*local_day(day, ZoneInfo(zone)), QUARTER_MS)
    hours = [datetime.fromtimestamp(start / 1000, UTC).astimezone(ZoneInfo(zone)).hour for start in starts]
    paid = [(300_000, 100_000) if 6 <= hour < 22 else (-50_000, 0) for hour in hours]
    slots = tuple(PriceSlot(start, QUARTER_MS, *price) for start, price in zip(starts, paid, strict=True))
    begin, register, journal = slots[0].start_ms, 5, SessionJournal()
    started = SessionStarted(
        station_id="CS", evse_id="DE*V2G*E1", session_id="00", meter_serial="M", meter_certificate="00",
        charger_certificate="00", import_mwh=register, export_mwh=0, discharge="none",
    )  # fmt: skip
    lines = journal.record(started, begin)
    lines += journal.record(TariffSet(tariff=Tariff(currency="EUR", slots=slots)), begin)
    for quarter in range(1, quarters):
        register += 1_000_000
        lines += journal.record(MeterReading(import_mwh=register, export_mwh=0), begin + quarter * QUARTER_MS)
    end = begin + quarters * QUARTER_MS
    lines += journal.end("vehicle", end, import_mwh=register + 1_000_000, export_mwh=0)
    settlement = settle(verify_lines(b"".join(lines)))
    assert len(settlement.lines) == len(settlement.intervals) == quarters
    assert [line.start_ms for line in settlement.lines] == list(starts)
    assert [line.amount for line in settlement.lines] == [price for price, _ in paid]
    dear = 64
    assert settlement.totals[0].balance == dear * 300_000 - (quarters - dear) * 50_000


def replayed(visit: Visit, path: Path, chance: random.Random) -> bytes:
    """Kill the writer at a random byte of its file, and let another one go on with what is not durable."""
    data = visit.data
    path.write_bytes(data[: chance.randrange(1, len(data) + 1)])
    file = JournalFile.open(path)
    journal, done = SessionJournal(), 0
    if file.recovered:
        journal = SessionJournal.resume(file.recovered)
        entries = verify_lines(file.recovered)
        done = sum(type(entry.data).__name__ not in ("IntervalClosed", "SessionEnded") for entry in entries)
    if not journal.state.ended:
        for record, utc_ms in visit.records[done:]:
            if record is not None:
                file.append(journal.record(record, utc_ms), sync=False)
        _, import_mwh, export_mwh = visit.readings[-1]
        ended = verify_lines(data)[-1]
        reason = getattr(ended.data, "reason", "")
        registers = {} if done == len(visit.records) else {"import_mwh": import_mwh, "export_mwh": export_mwh}
        file.append(journal.end(reason, visit.readings[-1][0], **registers))
    file.close()
    found = path.read_bytes()
    path.unlink()
    path.with_name(path.name + ".torn").unlink(missing_ok=True)
    return found


@pytest.mark.requirement("R27", "R39")
@pytest.mark.parametrize("kills", [30, pytest.param(200, marks=pytest.mark.long)])
def test_a_writer_killed_at_any_byte_leaves_the_same_journal_in_the_end(tmp_path: Path, kills: int) -> None:
    chance = random.Random(kills)
    visits = [visit for vehicle in vehicles() for visit in vehicle.visits]
    for _ in range(kills):
        visit = chance.choice(visits)
        assert replayed(visit, tmp_path / "journal.jsonl", chance) == visit.data


@pytest.mark.long
@pytest.mark.requirement("R31")
def test_the_same_by_the_second() -> None:
    """50 vehicles, 86,400 steps each."""
    found = vehicles(1_000)
    check_energy(found)
    check_money(found)
