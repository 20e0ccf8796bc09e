"""Prices by the minute: from the back end's sources to the vehicle and the settled session; time is an argument."""

import time

import msgspec
import pytest

from csms.grid.rules import SiteLimits, SourceSignal, combine
from evcc.session.settings import ProgramStep, SessionConfig
from pki_tools.tree import PkiTree
from secc.energy_manager.grid import SiteGrid
from tests.sessions.joined import Joined
from tests.station.bench import Bench as StationBench
from v2g.energy.grid_signal import GridSignal, PriceSignal, SignalSlot
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.records import MeterReading
from v2g.energy.settlement.settle import settle
from v2g.iso15118.engine.session import Fact
from v2g.ocpp.messages.data_transfer import VENDOR
from v2g_station.blocks.data_transfer import GridSignalReceived

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
SITE = SiteLimits(currency="EUR", import_limit_w=20_000, export_limit_w=8_000, sources=("prices:market",))


def series(begin_ms: int, compensation: dict[int, int]) -> SourceSignal:
    """Return what a feed states: a price and a compensation for each minute."""
    slots = tuple(
        SignalSlot(start_ms=begin_ms + n * MINUTE_MS, duration_s=60, import_price=300_000, export_compensation=each)
        for n, each in compensation.items()
    )
    return SourceSignal(source="prices:market", slots=slots)


class Metered(Joined):
    """A pair whose charger keeps a journal, and reads its meter when that is due."""

    def advance(self, seconds: float = 0.05) -> None:
        """Let time pass, and read the meter when it is due."""
        super().advance(seconds)
        due_ms = self.ledger.next_reading_ms
        if due_ms is not None and due_ms < self.utc_ms and not self.secc.closed:
            self.read("price")


@pytest.mark.requirement("R7")
def test_a_changed_minute_price_reaches_the_vehicle_and_prices_each_minute(pki: PkiTree) -> None:
    begin_ms = time.time_ns() // 1_000_000 // HOUR_MS * HOUR_MS
    station, grid = StationBench("2.1"), SiteGrid(charge_w=20_000, discharge_w=8_000)

    def push(signal: GridSignal) -> list[Fact]:
        """Bring a signal to the charger's sessions, as `csms.grid.signal_delivery` and `Charger` do."""
        station.commands.clear()
        data = msgspec.to_builtins(signal.part(PriceSignal))
        answer = station.ask("DataTransfer", vendorId=VENDOR, messageId="GridSignal", data=data)
        assert answer["status"] == "Accepted"
        (received,) = [each for each in station.commands if isinstance(each, GridSignalReceived)]
        return list(grid.signal(received.signal))

    first = {n: 250_000 + n * 1_000 for n in range(60)}
    signal = combine(SITE, [series(begin_ms, first)], None, begin_ms)
    assert signal is not None
    push(signal)
    vehicle = SessionConfig(program=(ProgramStep(do="discharge", for_s=600),))
    joined = Metered(pki, begin_ms + 30_000, vehicle=vehicle, tariff=grid.tariff)
    joined.run(lambda: joined.plant.flow()[1] < 0 and joined.utc_ms > begin_ms + 3 * MINUTE_MS)

    changed_ms, offers = joined.utc_ms, len(joined.vehicle_saw("offer", "decided"))
    minute = (changed_ms - begin_ms) // MINUTE_MS + 2
    second = first | {n: 400_000 + n * 1_000 for n in range(minute, 60)}
    newer = combine(SITE, [series(begin_ms, second)], signal, changed_ms)
    assert newer is not None
    for fact in push(newer):
        joined.secc.fact(fact, joined.now, joined.utc_ms)
    joined.settle()
    joined.run(lambda: len(joined.vehicle_saw("offer", "decided")) > offers)
    assert joined.utc_ms - changed_ms <= MINUTE_MS
    assert joined.vehicle_saw("offer", "decided")[-1]["accepted"]

    joined.run()
    settlement = settle(verify_lines(b"".join(joined.lines)))
    exported = [line for line in settlement.lines if line.direction == "export"]
    assert sum(line.energy_mwh for line in exported) == joined.exported_mwh() > 0
    for line in exported:
        n = (line.start_ms - begin_ms) // MINUTE_MS
        assert line.end_ms <= begin_ms + (n + 1) * MINUTE_MS, "no line spans two minutes"
        assert line.price == second[n], "the changed minutes were in the future"
    assert {line.price for line in exported} & {second[n] for n in range(minute, 60)}, "changed prices were paid"
    read = {
        entry.utc_ms // MINUTE_MS
        for entry in verify_lines(b"".join(joined.lines))
        if isinstance(entry.data, MeterReading)
    }
    assert {line.start_ms // MINUTE_MS for line in exported} <= read, "the meter was read in each minute"
