"""Running costs of transactions: sent to stations at an interval and when prices change (I02, I03)."""

import asyncio

from csms.cluster.concurrency import for_each
from csms.ocpp.base import Services
from csms.tariffs import store as tariffs
from csms.transactions import store as transactions
from v2g.errors import V2GError
from v2g.observe import Scalar
from v2g.ocpp.messages.tariff_cost import CostUpdatedRequest
from v2g.translate.ocpp_tariffs import money
from v2g.units import decimals_of


class CostAnnouncer:
    """Sends the running cost of the transactions of stations that are connected to this node."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._announced: dict[tuple[str, str], int] = {}

    async def run(self) -> None:
        """Send costs at every interval, for ever."""
        while True:
            await asyncio.sleep(self._services.config.tariffs.running_cost_interval_s)
            await self.tell_all()

    async def tell_all(self) -> None:
        """Send every cost that has changed since it was sent."""
        services = self._services
        if not await services.store.read(tariffs.any_assigned):
            return
        here = services.connections.connected_here()
        stations = [each for each in await services.store.read(transactions.stations_with_open) if each in here]
        running = {key for keys in await for_each(stations, self._tell_station) for key in keys}
        self._announced = {key: announced for key, announced in self._announced.items() if key in running}

    async def _tell_station(self, station_id: str) -> list[tuple[str, str]]:
        """Send a station the costs of its transactions; return their ids."""
        keys = [
            (station_id, each.transaction_id)
            for each in await self._services.store.read(transactions.active, station_id)
        ]
        for key in keys:
            await self.announce(*key)
        return keys

    async def announce(self, station_id: str, transaction_id: str) -> bool:
        """Send one transaction's cost; False without a price or change, where it would be held, or when the station
        did not accept it."""
        services = self._services
        key = (station_id, transaction_id)
        known = await services.store.read(tariffs.cost, station_id, transaction_id)
        if known is not None and known["source"] == "station":
            return False  # the station calculates its cost
        now_ms = services.clock.utc_ms()
        found = await services.store.read(tariffs.work_out, station_id, transaction_id, now_ms)
        if found is None or found.held or self._announced.get(key) == found.bill.incl_tax:
            return False
        bill = found.bill
        await services.store.run(tariffs.keep_cost, found, now_ms)
        request = CostUpdatedRequest(total_cost=money(bill.incl_tax), transaction_id=transaction_id)
        try:
            await services.connections.call(station_id, request)  # I02.FR.01
        except V2GError as error:
            data = {"transaction": transaction_id, "reason": str(error)[:200]}
            services.report("ocpp", "cost_update_failed", station_id, data)
            return False
        self._announced[key] = bill.incl_tax
        cost = decimals_of(bill.incl_tax, bill.currency)
        announced: dict[str, Scalar] = {"transaction": transaction_id, "cost": cost, "currency": bill.currency}
        services.report("ocpp", "cost_updated", station_id, announced)
        return True
