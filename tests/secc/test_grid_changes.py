"""What the back end and the grid change while a vehicle is at a whole charger."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from pki_tools.tree import PkiTree
from tests.secc.backend import Backend, backend
from tests.secc.stand import bundle, charge, signal, stand
from v2g.energy.grid_signal import GridSignal, PriceSignal, SignalSlot
from v2g.ocpp.messages.data_transfer import VENDOR

DC = '[charger]\nservices = [6]\npoll_hold_s = 0.05\n[hardware]\nkind = "dc"\n'
STATION = """[station]
url = "ws://127.0.0.1:{port}/ocpp"
identity = "CS-1"
store = "station.db"
retry_minimum = 0.02
"""
MINUTE_MS = 60_000
PAID_LESS = 50_000
"""What a kWh fed back earns less than one taken costs."""


@pytest.fixture
async def csms() -> AsyncIterator[Backend]:
    async with backend() as found:
        found.versions = ["ocpp2.1"]
        found.answers["Authorize"] = {"allowed_energy_transfer": ["DC", "DC_BPT"]}
        yield found


async def push(csms: Backend, grid: GridSignal) -> None:
    """Send a grid signal over the wire."""
    data = msgspec.to_builtins(grid.part(PriceSignal))
    answer = await csms.request("DataTransfer", {"vendorId": VENDOR, "messageId": "GridSignal", "data": data})
    assert answer == {"status": "Accepted"}


def minutes(begin_ms: int, prices: dict[int, int], *, version: int) -> GridSignal:
    """Return prices of minutes from `begin_ms` on."""
    slots = tuple(
        SignalSlot(
            start_ms=begin_ms + n * MINUTE_MS, duration_s=60, import_price=price, export_compensation=price - PAID_LESS
        )
        for n, price in prices.items()
    )
    return msgspec.structs.replace(signal(begin_ms, 22_000), slots=slots, version=version)


@pytest.mark.requirement("R7")
async def test_a_changed_minute_price_reaches_the_vehicle_and_prices_each_metered_minute(
    csms: Backend, pki: PkiTree, tmp_path: Path
) -> None:
    wish = charge("DC_BPT", 'do = "discharge"\nfor_s = 500')
    async with stand(tmp_path, pki, DC, wish, tables=STATION.format(port=csms.port)) as both:
        await csms.wait("BootNotification")
        begin_ms = both.vehicle.clock.utc_ms() // MINUTE_MS * MINUTE_MS
        first = {n: 250_000 + n * 1_000 for n in range(60)}
        await push(csms, minutes(begin_ms, first, version=2))
        running = asyncio.create_task(both.run())
        await both.until(lambda: any(each["power_w"] < 0 for each in both.named("evcc", "loop", "flow")))
        changed_ms, offers = both.vehicle.clock.utc_ms(), len(both.named("evcc", "offer", "decided"))
        from_minute = (changed_ms - begin_ms) // MINUTE_MS + 2
        second = first | {n: 400_000 + n * 1_000 for n in range(from_minute, 60)}
        await push(csms, minutes(begin_ms, second, version=3))
        await both.until(lambda: len(both.named("evcc", "offer", "decided")) > offers)
        assert both.vehicle.clock.utc_ms() - changed_ms <= MINUTE_MS
        assert both.named("evcc", "offer", "received")[-1]["best_compensation"] == max(second.values()) - PAID_LESS
        assert await running == "finished"
        taken, fed_back, *_ = both.energy_wh()
    _, settlement = bundle(tmp_path)
    for line in settlement["lines"]:
        n = (line["start_ms"] - begin_ms) // MINUTE_MS
        assert line["end_ms"] <= begin_ms + (n + 1) * MINUTE_MS, "no line spans two minutes"
        assert line["price"] == second[n] - (PAID_LESS if line["direction"] == "export" else 0)
    exported = [line for line in settlement["lines"] if line["direction"] == "export"]
    assert len({line["price"] for line in exported if line["price"] >= 350_000}) > 2, "changed prices were paid"
    assert sum(line["energy_mwh"] for line in exported) == round(fed_back * 1000)
    assert sum(line["energy_mwh"] for line in settlement["lines"]) == round((taken + fed_back) * 1000)
