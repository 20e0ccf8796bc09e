"""What several tests of own station use."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from csms.db.store import open_store
from csms.tariffs import store as tariffs
from pki_tools.tree import PkiTree
from secc.station.station import ChargerStation, MeterSample, StationConfig
from tests.csms.settlement.journals import SESSION, T0, journal, seen
from tests.csms.support import EMAID, STATION, Running, grid_signal
from tests.station.no_charger import NoCharger
from v2g.energy.grid_signal import ExportSignal, PriceSignal
from v2g.energy.needs import EvNeeds
from v2g.energy.price_plan import Charge, PricePlan, Rate
from v2g.io.runtime.clock import Clock
from v2g.io.tls.files import TlsFiles
from v2g.iso15118.d20.prices import fraction
from v2g.ocpp.routes import Version
from v2g_station.blocks.data_transfer import GridSignalReceived
from v2g_station.blocks.smart_charging.profiles import ProfileLimits
from v2g_station.blocks.smart_charging.smart_charging import AnnouncePrices
from v2g_station.kernel.kernel import StationCommand

NEEDS = EvNeeds(
    service="DC_BPT",
    control_mode="dynamic",
    max_charge_w=50_000,
    max_discharge_w=10_000,
    max_current_ma=100_000,
    max_voltage_mv=500_000,
)


class Charger(NoCharger):
    """What the charger around the station would notice."""

    station: ChargerStation

    def __init__(self) -> None:
        self.limits: list[ProfileLimits] = []
        self.signals: list[PriceSignal] = []
        self.prices: list[Any] = []
        self.changed = asyncio.Event()

    def carry_out(self, command: StationCommand) -> bool:
        """Take down limits, prices and signals."""
        match command:
            case ProfileLimits() as limits:
                self.limits.append(limits)
            case AnnouncePrices(prices=prices):
                self.prices.append(prices)
            case GridSignalReceived(signal=signal):
                self.signals.append(signal)
            case _:
                return False
        self.changed.set()
        return True

    async def until(self, discharge_w: int) -> None:
        """Wait for a limit of discharge."""
        async with asyncio.timeout(60):
            while not self.limits or self.limits[-1].discharge_w != discharge_w:
                self.changed.clear()
                await self.changed.wait()


@contextlib.asynccontextmanager
async def charger(
    csms: Running, tmp_path: Path, versions: tuple[Version, ...] = ("2.1", "2.0.1")
) -> AsyncIterator[Charger]:
    """Run a station."""
    pki: PkiTree = csms.pki
    tls = TlsFiles(
        ca=pki.path("csms/root.pem"),
        chain=pki.path("csms/station/chain.pem"),
        key=pki.path("csms/station/leaf.key"),
    )
    config = StationConfig(
        url=f"wss://127.0.0.1:{csms.csms.ports['ocpp']}/ocpp",
        identity=STATION,
        store=tmp_path / "station.sqlite3",
        tls=tls,
        versions=versions,
        retry_minimum=0.05,
        retry_random_range=0.05,
    )
    found = Charger()
    station = ChargerStation(config, clock=Clock(), entropy=os.urandom, observe=lambda _event: None, charger=found)
    found.station = station
    task = asyncio.create_task(station.run())
    try:
        async with asyncio.timeout(60):
            await station.online.wait()
        yield found
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await station.close()


def sample(import_wh: int, export_wh: int) -> MeterSample:
    """Return a reading."""
    return MeterSample(utc_ms=Clock().utc_ms(), import_mwh=import_wh * 1000, export_mwh=export_wh * 1000)


async def whole_session(csms: Running, tmp_path: Path, versions: tuple[Version, ...]) -> None:
    """Play a session from the contract to its settlement, and expect everything to be stored."""
    valid: dict[str, Any] = {"valid_until_ms": T0 + 86_400_000}  # while the journal feeds back with 6 kW
    await csms.csms.grid.offer(grid_signal(1, **valid), "test")
    energy, back = (Charge(rates=(Rate(price=price),)) for price in ("0.42", "0.10"))
    plan = PricePlan(id="city", currency="EUR", energy=energy, export=back)
    store = open_store(csms.config.store_url, csms.config.data_dir)
    await store.run(tariffs.add_plan, plan, 0)
    await store.run(tariffs.assign, tariffs.Scope(), "city", 0)
    store.close()
    async with charger(csms, tmp_path, versions) as found:
        station = found.station
        outcome = await station.requests.authorize(EMAID, csms.pki.chain("contract"))
        assert outcome.decision == "accepted"
        transaction = station.started("ref", EMAID, sample=sample(1000, 500))
        await station.drain(10)
        signal = "1"
        if versions == ("2.1",):
            assert await station.requests.charging_needs(NEEDS) == "Accepted"
            await found.until(5_000)
            await csms.csms.grid.offer(grid_signal(2, export_limit_w=6_200, **valid), "test")
            signal = "2"
            await found.until(6_200)
            station.updated("ref", trigger="ChargingRateChanged", sample=sample(1500, 500))
            rules = [each.price_rule for each in found.prices[-1].price_rule_stacks.price_rule_stack]
            assert [[(fraction(r.energy_fee), r.power_range_start.value >= 0) for r in each] for each in rules] == [
                [(Fraction("0.42"), True), (Fraction("0.1"), False)]
            ]
        async with asyncio.timeout(10):  # later ones would end the prices of the journal
            while signal not in [str(each["version"]) for each in csms.events("grid_signal_pushed")]:
                await asyncio.sleep(0.005)
        seen(csms, journal())
        for line in journal():
            station.journal(SESSION, line.decode())
        station.ended("ref", trigger="EVDeparted", reason="EVDisconnected", sample=sample(1500, 700))
        assert await station.drain(10)
        await csms.event("settled")
    assert type(found.signals[0]) is (PriceSignal if versions == ("2.1",) else ExportSignal)
    assert found.signals[0].version in (1, 2), "one that is replaced before it is sent need not be sent"
    ended = await csms.event("transaction_ended")
    assert (ended["import_wh"], ended["export_wh"]) == ("1500", "700")
    assert ended["transaction"] == transaction or versions == ("1.6",), "in which the back end names it"
    assert csms.events("frame_refused") == []
