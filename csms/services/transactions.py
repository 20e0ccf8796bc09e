"""Finds out about transactions that nobody ended: after a station's boot, and when nothing is heard of them (E14)."""

import asyncio
import contextlib
from typing import Final

from csms.core.transaction_checks import Verdict, judge_status, suspects
from csms.core.transactions import ClosedReason
from csms.desk.base import Services
from csms.rows import tariffs, transactions
from csms.services.crowd import for_each
from v2g.errors import RefusedError, V2GError
from v2g.ocpp.messages.transactions import GetTransactionStatusRequest, GetTransactionStatusResponse, TransactionLimit

_BOOTED: Final = "boot_accepted"


class TransactionWatch:
    """Watches the open transactions of the stations that are connected to this node."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def run(self) -> None:
        """Ask after every boot and at every interval, for ever."""
        interval_s = self._services.config.transactions.check_interval_s
        with self._services.feed.subscribe({_BOOTED}) as boots:
            while True:
                try:
                    async with asyncio.timeout(interval_s):
                        boot = await anext(boots)
                except TimeoutError:
                    await self.sweep()
                else:
                    if boot.station_id in self._services.switchboard.connected_here():
                        await self.look(boot.station_id)

    async def sweep(self) -> None:
        """Look after every station that is connected here and has open transactions."""
        here = self._services.switchboard.connected_here()
        stations = await self._services.store.read(transactions.stations_with_open)
        await for_each([each for each in stations if each in here], self.look)

    async def look(self, station_id: str) -> None:
        """Ask a station about its suspect transactions."""
        services = self._services
        found = await services.store.read(transactions.open_with_heard, station_id)
        booted_ms = await services.store.read(transactions.booted_ms, station_id)
        silent_ms = round(services.config.transactions.silent_after_s * 1000)
        heard = {each.transaction_id: heard_ms for each, heard_ms in found}
        now_ms = services.clock.utc_ms()
        doubtful = suspects([each for each, _ in found], heard, now_ms, booted_ms=booted_ms, silent_ms=silent_ms)
        for transaction_id in doubtful:
            with contextlib.suppress(V2GError):  # it cannot be asked now: the next look asks again
                await self.ask(station_id, transaction_id)

    async def ask(self, station_id: str, transaction_id: str) -> Verdict:
        """Ask a station about a transaction, and close it here when it is over. Raises V2GError: no answer."""
        services = self._services
        response = await services.switchboard.expect(
            station_id, GetTransactionStatusRequest(transaction_id=transaction_id), GetTransactionStatusResponse
        )
        verdict = judge_status(ongoing=response.ongoing_indicator, messages_in_queue=response.messages_in_queue)
        now_ms = services.clock.utc_ms()
        if verdict == "ongoing":
            await services.store.run(transactions.heard, station_id, transaction_id, now_ms)
        elif verdict == "over":
            await self.close(station_id, transaction_id)
        data = {"transaction": transaction_id, "verdict": verdict}
        services.tell("ocpp", "transaction_status", station_id, data)
        return verdict

    async def limit(self, station_id: str, transaction_id: str, wanted: TransactionLimit) -> None:
        """Let a transaction have limits; its station hears of them with the answer to its next event (E16).

        Raises RefusedError: `unknown_transaction` for one that is not open, `no_limits` for a station of 2.0.1.
        """
        services = self._services
        if services.switchboard.version(station_id) == "2.0.1":
            raise RefusedError(f"{station_id} speaks OCPP 2.0.1, which knows no limits", reason="no_limits")
        if not await services.store.run(transactions.want_limit, station_id, transaction_id, wanted):
            raise RefusedError(f"{transaction_id} is no open transaction", reason="unknown_transaction")

    async def close(self, station_id: str, transaction_id: str, *, by_operator: bool = False) -> bool:
        """Close a transaction with what is known of it, and work out its cost; False when it is not open."""
        services = self._services
        now_ms = services.clock.utc_ms()
        reason: ClosedReason = "operator" if by_operator else "station_lost_it"
        closed = await services.store.run(transactions.close_lost, station_id, transaction_id, now_ms, reason)
        if closed is None:
            return False
        await services.store.run(tariffs.update_cost, station_id, transaction_id, now_ms)
        services.tell("ocpp", "transaction_closed", station_id, {"transaction": transaction_id, "reason": reason})
        return True
