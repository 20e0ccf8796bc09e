"""A station on the bench whose drivers, vehicles and meters are simulated, in the bench's own time."""

import random
from typing import Any

from tests.station.bench import Bench
from tests.station.profiles import transaction
from v2g_station.blocks.transaction_records import MeterSample
from v2g_station.kernel.layout import ConnectorLayout, EvseLayout
from v2g_station.simulator.behaviour import Behaviour, Departing, SimulatedSite
from v2g_station.simulator.grid import SimulatedGrid

POWER_W = 50_000


class Served(Bench):
    """One EVSE of direct current, of 50 kW in both directions."""

    site: SimulatedSite | None = None

    def __init__(self, behaviour: Behaviour, *, grid: SimulatedGrid | None = None, **more: Any) -> None:
        layout = EvseLayout(connectors=(ConnectorLayout(),), max_power_w=POWER_W, max_discharge_w=POWER_W)
        super().__init__("2.1", evses=(layout,), **more)
        self._done = 0
        self.answers["Authorize"] = {
            "idTokenInfo": {"status": "Accepted"}, "allowedEnergyTransfer": ["DC", "DC_BPT"]
        }  # fmt: skip
        chance = random.Random(5).random
        self.site = SimulatedSite(behaviour, (POWER_W,), self.utc_ms, chance, grid=grid)
        for fact in list(self.site.started(self.utc_ms)):
            self.fact(fact)

    def read(self, evse_id: int, _context: str = "Other") -> MeterSample | None:
        """Return what a meter shows."""
        return super().read(evse_id) if self.site is None else self.site.read(evse_id, self.utc_ms)

    def shown(self) -> MeterSample:  # type: ignore[override]
        """Return what the EVSE's meter shows."""
        found = self.read(1)
        assert found is not None
        return found

    def go_on(self, seconds: float) -> None:
        """Let time pass for everybody: what is due comes first, the vehicle's part or the station's."""
        assert self.site is not None
        until_ms = self.utc_ms + round(seconds * 1000)
        while True:
            orders, self._done = self.commands[self._done :], len(self.commands)
            facts = [fact for order in orders for fact in self.site.command(order, self.utc_ms)]
            for fact in facts:
                self.fact(fact.dated(self.utc_ms) if isinstance(fact, Departing) else fact)
            if facts:
                continue
            due = min(self.site.due(), until_ms)
            own = self.station.deadline()
            if own is not None:  # it may want something of its vehicle
                due = min(due, self.utc_ms + max(0, round((own - self.now) * 1000)) + 1)
            if due >= until_ms and self.utc_ms >= until_ms:
                break
            self.wait(max(0, due - self.utc_ms) / 1000)
            for fact in list(self.site.advance(self.utc_ms)):
                self.fact(fact)

    def charge(self, **period: Any) -> str:
        """Wait for a vehicle that charges, and give it a profile of one period."""
        assert self.site is not None
        while self.site.bays[1].phase != "charging":
            self.go_on(60)
        schedule = {"id": 1, "chargingRateUnit": "W", "duration": 86_400,
                    "chargingSchedulePeriod": [{"startPeriod": 0} | period]}  # fmt: skip
        profile = {"id": 1, "stackLevel": 0, "chargingProfilePurpose": "TxProfile", "chargingProfileKind": "Relative",
                   "transactionId": transaction(self), "chargingSchedule": [schedule]}  # fmt: skip
        status: str = self.ask("SetChargingProfile", evseId=1, chargingProfile=profile)["status"]
        self.go_on(0)
        return status
