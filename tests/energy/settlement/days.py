"""A day of many vehicles at one site, by published prices and a published frequency, with batteries and real meters.

Prices are those of DE-LU on 4 May 2024, recorded, the frequency that of the separation of the European grid on 8
January 2021, as published, once an hour (tests/vectors). A battery has a voltage that rises with its charge, a
resistance, and a power that tapers at both ends. The vehicles charge where energy is cheap, feed back where it is dear,
and follow the frequency around both.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

from tests.energy.settlement.meter_classes import CLASS_05, CLASS_1, ErringMeter
from v2g.asn1.discharge import PriceSlot
from v2g.energy.frequency_trace import FrequencyTrace, load_grid_trace
from v2g.energy.grid_signal import Tariff
from v2g.energy.price_feeds import Markup, parse_feed
from v2g.energy.settlement.records import (
    AnyRecord,
    ContractAuthorized,
    MeterReading,
    SessionStarted,
    TariffSet,
    VehicleDescribed,
)
from v2g.energy.settlement.session_journal import SessionJournal
from v2g.units import QUARTER_MS

VECTORS: Final = Path(__file__).parents[2] / "vectors"
DAY_MS: Final = 96 * QUARTER_MS
MAX_W: Final = 11_000.0


def prices() -> Tariff:
    """The recorded day, import at the market's price plus 12 cents, export at the market's price less 5.

    So feeding back costs something around noon.
    """
    data = (VECTORS / "prices/energy-charts-de-lu-2024-05-04.json").read_bytes()
    feed = parse_feed(data, "energy-charts", Markup(import_surcharge=0.12, export_surcharge=-0.05))
    slots = tuple(
        PriceSlot(slot.start_ms, slot.duration_s * 1000, slot.import_price or 0, slot.export_compensation or 0)
        for slot in feed.slots
    )
    return Tariff(currency=feed.currency, slots=slots, version=1, source="energy-charts")


def frequency() -> FrequencyTrace:
    """The published course of a disturbance, less than four minutes."""
    return load_grid_trace(VECTORS / "frequency/continental-europe-2021-01-08-north-west.csv").frequency


@dataclass
class Battery:
    """Open-circuit voltage 320 to 400 V, 0.1 ohm; `charge_wh` is what is in it."""

    capacity_wh: float
    charge_wh: float
    resistance: float = 0.1

    @property
    def soc(self) -> float:
        return self.charge_wh / self.capacity_wh

    def power(self, wanted_w: float) -> float:
        """The power at its terminals: less near both ends."""
        if wanted_w > 0:
            return min(wanted_w, MAX_W * max(0.0, min(1.0, (1.0 - self.soc) / 0.1)))
        return max(wanted_w, -MAX_W * max(0.0, min(1.0, (self.soc - 0.2) / 0.1)))

    def flow(self, power_w: float, span_ms: float) -> None:
        """Change the charge by what is left behind the resistance."""
        volts = 320 + 80 * self.soc
        current = (-volts + (volts * volts + 4 * self.resistance * power_w) ** 0.5) / (2 * self.resistance)
        self.charge_wh += volts * current * span_ms / 3_600_000


@dataclass
class Visit:
    """A session: its records as they were made, its journal, and every reading as the meter gave it."""

    session_id: str
    records: list[tuple[AnyRecord | None, int]] = field(default_factory=list)
    """A record and its time; None is the end."""
    readings: list[tuple[int, int, int]] = field(default_factory=list)
    journal: SessionJournal = field(default_factory=SessionJournal)
    lines: list[bytes] = field(default_factory=list)

    def record(self, record: AnyRecord, utc_ms: int) -> None:
        self.records.append((record, utc_ms))
        self.lines += self.journal.record(record, utc_ms)

    def read(self, meter: ErringMeter, utc_ms: int, reason: str) -> None:
        registers = meter.read()
        self.readings.append((utc_ms, *registers))
        self.record(MeterReading(import_mwh=registers[0], export_mwh=registers[1], reason=reason), utc_ms)

    def end(self, meter: ErringMeter | None, utc_ms: int, reason: str) -> None:
        """End it, with the meter's registers or, None, with those that are durable."""
        if meter is None:
            self.lines += self.journal.end(reason, utc_ms)
            return
        registers = meter.read()
        self.readings.append((utc_ms, *registers))
        self.records.append((None, utc_ms))
        self.lines += self.journal.end(reason, utc_ms, import_mwh=registers[0], export_mwh=registers[1])

    @property
    def data(self) -> bytes:
        return b"".join(self.lines)


class Vehicle:
    """One vehicle's day at its charger, in one or more sessions: a power cut ends one, and the next one goes on."""

    def __init__(self, number: int, tariff: Tariff, trace: FrequencyTrace, cuts: int) -> None:
        self.number, self.tariff, self._trace = number, tariff, trace
        chance = random.Random(number)
        self.emaid = f"DEV2GC{number:08}"
        capacity = chance.choice((40_000.0, 60_000.0, 77_000.0))
        self.battery = Battery(capacity, capacity * chance.uniform(0.2, 0.9))
        self.meter = ErringMeter(CLASS_05 if number % 2 else CLASS_1, MAX_W, number, chance.randrange(10**9))
        begin = tariff.slots[0].start_ms
        self._begin_ms = begin + chance.randrange(8 * 3_600_000)
        self._end_ms = begin + DAY_MS - 1 - chance.randrange(4 * 3_600_000)
        self._cuts = sorted(chance.randrange(self._begin_ms, self._end_ms) for _ in range(cuts))
        self._droop_w = chance.uniform(0, 20_000)
        known = sorted(slot.import_price for slot in tariff.slots)
        self._cheap, self._dear = known[len(known) // 3], known[-len(known) // 4]
        self.visits: list[Visit] = []

    def live(self, step_ms: int) -> None:
        """Live through the day in steps; the meter is read where a step meets a quarter hour."""
        edges = [self._begin_ms, *self._cuts, self._end_ms]
        for number, (begin, end) in enumerate(pairwise(edges)):
            self._session(begin, end, step_ms, cut=number < len(self._cuts))

    def _session(self, begin_ms: int, end_ms: int, step_ms: int, *, cut: bool) -> None:
        visit = Visit(f"{self.number:08x}{len(self.visits):08x}")
        self.visits.append(visit)
        registers = self.meter.read()
        visit.readings.append((begin_ms, *registers))
        started = SessionStarted(
            station_id=f"CS-{self.number}", evse_id="DE*V2G*E1", session_id=visit.session_id, meter_serial="M",
            meter_certificate="00", charger_certificate="00", import_mwh=registers[0], export_mwh=registers[1],
            discharge="standard",
        )  # fmt: skip
        visit.record(started, begin_ms)
        contract = ContractAuthorized(emaid=self.emaid, contract_certificate="00", authorized_by="csms")
        visit.record(contract, begin_ms)
        visit.record(VehicleDescribed(evcc_id="V", battery_capacity_wh=int(self.battery.capacity_wh)), begin_ms)
        visit.record(TariffSet(tariff=self.tariff), begin_ms)
        before = 0.0
        for now, after in self._steps(begin_ms, end_ms, step_ms):
            power = self.battery.power(self._wanted(now))
            if (power < 0) != (before < 0):
                visit.read(self.meter, now, "direction")
            self.meter.flow(power, after - now)
            self.battery.flow(power, after - now)
            before = power
            if after % QUARTER_MS == 0 and after < end_ms:
                visit.read(self.meter, after, "interval")
        # a cut takes the program with it; the meter keeps its registers, and the next start ends the journal with them
        visit.end(self.meter, end_ms, "aborted" if cut else "vehicle")

    @staticmethod
    def _steps(begin_ms: int, end_ms: int, step_ms: int) -> Iterator[tuple[int, int]]:
        now = begin_ms
        while now < end_ms:
            after = min((now // step_ms + 1) * step_ms, end_ms)
            yield now, after
            now = after

    def _wanted(self, now_ms: int) -> float:
        price = self.tariff.price_at(now_ms).import_price
        plan = MAX_W if price <= self._cheap else -MAX_W if price >= self._dear else 0.0
        hz = self._trace.at((now_ms - self.tariff.slots[0].start_ms) / 1000 % 3600)
        return max(-MAX_W, min(MAX_W, plan + self._droop_w * (hz - 50.0) / 0.2))


def day(vehicles: int, step_ms: int, *, cuts: int = 1) -> list[Vehicle]:
    """Let so many vehicles live through the day."""
    tariff, trace = prices(), frequency()
    found = [Vehicle(number, tariff, trace, cuts) for number in range(vehicles)]
    for vehicle in found:
        vehicle.live(step_ms)
    return found
