"""Detects abandoned transactions, and events that are lost for good (E14); ends those that have reached their limit.

A station is asked after its boot, when a transaction has had no message for long, and when one has ended with a gap. A
forgotten transaction is closed when the next begins on its EVSE, or when that is free and its station cannot tell.
Stations of OCPP 2.1 keep the limits that they know themselves.
"""

import asyncio
import contextlib
from decimal import Decimal
from typing import Final

from csms.booking import held
from csms.booking.work import announce_due
from csms.cluster.feed import FeedEvent
from csms.cluster.precedence import AT_ONCE, for_each
from csms.device_model.store import list_variables
from csms.remote_control import work as remote_control
from csms.services import Services
from csms.smart_charging.rules import StationAbilities
from csms.stations.store import is_free
from csms.tariffs import store as tariffs
from csms.transactions import rules
from csms.transactions import store as transactions
from v2g import typed_json
from v2g.errors import OcppError, RefusedError, V2GError
from v2g.observe import Scalar
from v2g.ocpp.messages.transactions import GetTransactionStatusRequest, GetTransactionStatusResponse, TransactionLimit

_BOOTED: Final = "boot_accepted"
_STARTED: Final = "transaction_started"
_ENDED: Final = "transaction_ended"
LIMITED: Final = "transaction_limited"
"""Kind of the event that a transaction has a limit that its station does not know."""
LIMITED_READING: Final = "limited_reading"
"""Kind of the event of a reading in such a transaction, for the node of its station."""
_STATUS: Final = "GetTransactionStatus"
_MAX_GAPS: Final = 10_000
_REST: Final = 200
"""So many times as long as it takes to work out a cost, which grows with each reading, none is worked out again."""


class TransactionWatch:
    """Checks the transactions of the stations that are connected to this node."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._gaps: dict[tuple[str, str], None] = {}
        """Ended transactions, by station and id, whose missing events are queued at their stations."""
        self._over: set[tuple[str, str]] = set()
        """Transactions that are looked at or have reached their limit: no reading asks again before the next check."""
        self._rests: dict[tuple[str, str], float] = {}
        """Until when no reading has the cost of a transaction worked out again, on the monotonic clock (s)."""

    async def run(self) -> None:
        """Check after every boot, start and end, limits after every reading, and all at every interval, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sweep_for_ever())
            places = asyncio.Semaphore(AT_ONCE)
            with self._services.feed.subscribe({_BOOTED, _STARTED, _ENDED, LIMITED, LIMITED_READING}) as events:
                async for event in events:
                    if event.station_id in self._services.connections.connected_here():
                        await places.acquire()
                        tasks.create_task(self._follow(event, places))

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._services.config.transactions.check_interval_s)
            await self.sweep()

    async def _follow(self, event: FeedEvent, places: asyncio.Semaphore) -> None:
        try:
            assert event.station_id is not None
            if event.kind == _BOOTED:
                await self.look(event.station_id)
            elif event.kind == _STARTED:
                await self.began(event.station_id, event.data["transaction"])
            elif event.kind == _ENDED:
                await self.ended(event.station_id, event.data["transaction"])
            elif (event.station_id, event.data["transaction"]) not in self._over:
                reading = event.kind == LIMITED_READING
                await self._keep_limit(event.station_id, event.data["transaction"], reading=reading)
        finally:
            places.release()

    async def sweep(self) -> None:
        """Check every connected station that has open transactions, or some with gaps."""
        self._over.clear()
        self._rests.clear()
        here = self._services.connections.connected_here()
        stations = set(await self._services.store.read(transactions.stations_with_open))
        stations |= {station_id for station_id, _ in self._gaps}
        await for_each([each for each in sorted(stations) if each in here], self.look)

    async def look(self, station_id: str) -> None:
        """Ask a station about its suspect transactions, and about gaps that it was going to fill."""
        services = self._services
        found = await services.store.read(transactions.open_with_last_message, station_id)
        over = {each for newer, heard_ms in found for each in rules.forgotten(newer, heard_ms, found)}
        for transaction_id in over:
            await self.close(station_id, transaction_id, "next_began")
        booted_ms = await services.store.read(transactions.booted_ms, station_id)
        silent_ms = round(services.config.transactions.silent_after_s * 1000)
        last_ms = {each.transaction_id: heard_ms for each, heard_ms in found}
        evses = {each.transaction_id: each.evse_id for each, _ in found}
        still = [each for each, _ in found if each.transaction_id not in over]
        for each in still:
            if each.wanted_limit is not None and not each.limit_told:
                await self._keep_limit(station_id, each.transaction_id)
        doubtful = rules.suspects(still, last_ms, services.clock.utc_ms(), booted_ms=booted_ms, silent_ms=silent_ms)
        for transaction_id in doubtful:
            with contextlib.suppress(V2GError):  # unreachable now: the next check asks again
                if self._can_tell(station_id):
                    await self.ask(station_id, transaction_id)
            if not self._can_tell(station_id):
                asked = evses[transaction_id] or 0, last_ms[transaction_id], services.clock.utc_ms()
                if await services.store.read(is_free, station_id, *asked):
                    await self.close(station_id, transaction_id, "station_lost_it")
        for transaction_id in [named for station, named in self._gaps if station == station_id]:
            await self.ended(station_id, transaction_id)

    async def began(self, station_id: str, transaction_id: str) -> None:
        """Close the forgotten transactions on the EVSE on which this one has begun."""
        newer = await self._services.store.read(transactions.with_last_message, station_id, transaction_id)
        if newer is None:
            return
        found = await self._services.store.read(transactions.open_with_last_message, station_id)
        for over in rules.forgotten(*newer, found):
            await self.close(station_id, over, "next_began")

    async def ended(self, station_id: str, transaction_id: str) -> None:
        """Ask a station about an ended transaction with a gap; store what is lost (E14)."""
        services, key = self._services, (station_id, transaction_id)
        if not self._can_tell(station_id) or not await services.store.read(transactions.gaps, *key):
            self._gaps.pop(key, None)
            return
        if len(self._gaps) < _MAX_GAPS:
            self._gaps[key] = None
        with contextlib.suppress(V2GError):  # unreachable now: the next check asks again
            if await self.ask(*key) != "wait":
                self._gaps.pop(key, None)
                await services.store.run(transactions.note_lost, *key, services.clock.utc_ms())

    async def ask(self, station_id: str, transaction_id: str) -> rules.Verdict:
        """Ask a station about a transaction, and close it when it is over. Raises V2GError: no answer."""
        services = self._services
        try:
            response = await services.connections.expect(
                station_id, GetTransactionStatusRequest(transaction_id=transaction_id), GetTransactionStatusResponse
            )
        except OcppError as error:
            if error.not_there:
                services[StationAbilities].lack(station_id, _STATUS)
            raise
        verdict = rules.judge_status(ongoing=response.ongoing_indicator, messages_in_queue=response.messages_in_queue)
        now_ms = services.clock.utc_ms()
        if verdict == "ongoing":
            await services.store.run(transactions.note_message, station_id, transaction_id, now_ms)
        elif verdict == "over":
            await self.close(station_id, transaction_id, "station_lost_it")
        data = {"transaction": transaction_id, "verdict": verdict}
        services.report("ocpp", "transaction_status", station_id, data)
        return verdict

    def _can_tell(self, station_id: str) -> bool:
        """Return whether a station may know GetTransactionStatus; none of 1.6 does."""
        return self._services[StationAbilities].has(station_id, _STATUS)

    async def limit(self, station_id: str, transaction_id: str, wanted: TransactionLimit) -> None:
        """Limit a transaction; a station of 2.1 receives the limits with the answer to its next event (E16), another
        one is asked to stop what has reached them.

        Raises RefusedError: `unknown_transaction` for one that is not open.
        """
        services, key = self._services, (station_id, transaction_id)
        found = await services.store.read(transactions.get, *key)
        if found is None or not found.active:
            raise RefusedError(f"no open transaction {transaction_id}", reason="unknown_transaction")
        add = services.connections.version(station_id) in ("2.0.1", "1.6") or not found.limit_told
        if await services.store.run(transactions.want_limit, *key, wanted, add=add):
            services.report("ocpp", LIMITED, station_id, {"transaction": transaction_id})

    async def _keep_limit(self, station_id: str, transaction_id: str, *, reading: bool = False) -> None:
        """Have a station stop a transaction that has reached a limit that it does not know, once it agrees to that;
        after a `reading`, or to look at it in any case."""
        services, key = self._services, (station_id, transaction_id)
        self._over.add(key)
        if not reading:
            self._rests.pop(key, None)
        found = await services.store.read(transactions.get, *key)
        if found is None or not found.active or (over := await self._reached(found)) is None:
            self._over.discard(key)
            return
        with contextlib.suppress(V2GError):  # unreachable now: the next check asks again
            answer = await remote_control.stop(services, transaction_id, station_id)
            if answer.status != "Accepted":
                return
            if await services.store.run(transactions.limit_told, *key, found.wanted_limit):
                data: dict[str, Scalar] = {"transaction": transaction_id, **over}
                services.report("ocpp", "transaction_limit_reached", station_id, data)

    async def _reached(self, found: rules.Transaction) -> dict[str, Scalar] | None:
        if found.wanted_limit is None or found.limit_told:
            return None
        wanted: TransactionLimit | None = typed_json.decode(found.wanted_limit, TransactionLimit)
        version = self._services.connections.version(found.station_id)
        if version == "2.1" and wanted is not None:
            wanted = rules.kept_here(wanted, await known_limits(self._services, found.station_id))
        if version is None or wanted is None:
            return None
        which = rules.reached(found, wanted, await self._cost_of(found, wanted), self._services.clock.utc_ms())
        return {"limit": which, "value": getattr(wanted, which)} if which else None

    async def _cost_of(self, found: rules.Transaction, wanted: TransactionLimit) -> Decimal | None:
        key, clock = (found.station_id, found.transaction_id), self._services.clock
        began_s = clock.monotonic()
        if wanted.max_cost is None or began_s < self._rests.get(key, began_s):
            return None
        worked = await self._services.store.read(tariffs.work_out, *key, clock.utc_ms())
        ended_s = clock.monotonic()
        self._rests[key] = ended_s + _REST * (ended_s - began_s)
        return None if worked is None else Decimal(worked.bill.incl_tax).scaleb(-6)

    async def close(self, station_id: str, transaction_id: str, reason: rules.ClosedReason) -> bool:
        """Close a transaction with the data received so far, and calculate its cost; False when it is not open."""
        services = self._services
        now_ms = services.clock.utc_ms()
        closed = await services.store.run(transactions.close_lost, station_id, transaction_id, now_ms, reason)
        if closed is None:
            return False
        await services.store.run(tariffs.update_cost, station_id, transaction_id, now_ms)
        if (why := await services.store.read(held.find, station_id, transaction_id)) is not None:
            data = {"transaction": transaction_id, "reason": why["reason"], "detail": why["detail"]}
            services.report("settlement", "transaction_held", station_id, data)
        services.report("ocpp", "transaction_closed", station_id, {"transaction": transaction_id, "reason": reason})
        await announce_due(services, station_id, closed)
        return True


async def known_limits(services: Services, station_id: str) -> list[str]:
    """Return a station's TxCtrlr.SupportedLimits, empty if unknown."""
    mirrored = await services.store.read(list_variables, station_id, "TxCtrlr", "SupportedLimits")
    names = next((each["value"] for each in mirrored if each["attribute"] == "Actual"), "") or ""
    return [name.strip() for name in names.split(",") if name.strip()]
