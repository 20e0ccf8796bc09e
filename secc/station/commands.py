"""What the CSMS wants of the charger, as calls of the program's hooks."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from secc.station.config import Hooks
from v2g_station.blocks.availability import Serve
from v2g_station.blocks.cost.tariff_cost import ShowCost
from v2g_station.blocks.data_transfer import GridSignalReceived
from v2g_station.blocks.der.reactive import React
from v2g_station.blocks.der.response import Respond
from v2g_station.blocks.evse import Fact, Lock, LockFailure, Restart, Unlocked
from v2g_station.blocks.smart_charging.energy_transfer import AllowEnergyTransfer
from v2g_station.blocks.smart_charging.local_control import SetPower
from v2g_station.blocks.smart_charging.smart_charging import AnnouncePrices, ProfileTaken, SetLimit
from v2g_station.blocks.transactions.managed import (
    RemoteStartExpired,
    RemoteStartRequested,
    RemoteStopRequested,
    SuspendEnergy,
)
from v2g_station.blocks.transactions.transactions import TransactionRecord
from v2g_station.kernel.kernel import Command


class CommandDispatcher:
    """`find` gives an open transaction by its OCPP id, `tell` takes what follows at once."""

    def __init__(
        self, hooks: Hooks, find: Callable[[str], TransactionRecord | None], tell: Callable[[Fact], None]
    ) -> None:
        self._hooks, self._find, self._tell = hooks, find, tell
        self._unlockings: set[asyncio.Task[None]] = set()

    def carry_out(self, command: Command) -> bool:
        """Call the hook for a command; False when there is none."""
        hooks = self._hooks
        match command:
            case SetLimit() if hooks.on_limit:
                hooks.on_limit(command.evse_id, command.allowance, command.version)
            case AnnouncePrices() if hooks.on_prices:
                hooks.on_prices(command.evse_id, command.prices)
            case ProfileTaken() if hooks.on_profile:
                hooks.on_profile(command.evse_id)
            case GridSignalReceived(signal=signal) if hooks.on_grid_signal:
                hooks.on_grid_signal(signal)
            case AllowEnergyTransfer() if hooks.on_energy_transfer:
                if (record := self._find(command.transaction_id)) is not None:
                    hooks.on_energy_transfer(record.reference, command.modes)
            case RemoteStopRequested(reference=reference, cause=cause) if hooks.on_stop:
                hooks.on_stop(reference, cause)
            case SuspendEnergy(evse_id=evse_id, suspended=suspended) if hooks.on_suspend:
                hooks.on_suspend(evse_id, suspended)
            case RemoteStartRequested(id_token=token) if hooks.on_start:
                hooks.on_start(command.evse_id, command.remote_start_id, token.id_token, token.type)
            case RemoteStartExpired(evse_id=evse_id) if hooks.on_start_over:
                hooks.on_start_over(evse_id)
            case Restart(evse_id=place, at_once=at_once, keep=keep) if hooks.on_reset:
                hooks.on_reset(place, at_once, keep)
            case Lock(locked=False):
                task = asyncio.create_task(self._unlock(command, hooks.on_unlock), name="unlock")
                self._unlockings.add(task)
                task.add_done_callback(self._unlockings.discard)
            case Serve(evse_id=evse_id, operative=operative) if hooks.on_availability:
                hooks.on_availability(evse_id, operative)
            case SetPower(evse_id=evse_id, power_w=power_w) if hooks.on_power:
                hooks.on_power(evse_id, power_w)
            case Respond() if hooks.on_response:
                hooks.on_response(command)
            case React(evse_id=evse_id, var=var) if hooks.on_reactive:
                hooks.on_reactive(evse_id, var)
            case ShowCost(total=total) if hooks.on_cost and total is not None:
                if (record := self._find(command.transaction_id)) is not None:
                    hooks.on_cost(record.reference, total)
            case _:
                return False
        return True

    def close(self) -> None:
        """Wait for no outcome any more."""
        for task in self._unlockings:
            task.cancel()

    async def _unlock(self, command: Lock, release: Callable[[int], Coroutine[Any, Any, bool]] | None) -> None:
        """Tell what becomes of an unlocking (F05.FR.04, .05)."""
        place = {"evse_id": command.evse_id, "connector_id": command.connector_id}
        free = release is not None and await release(command.evse_id)
        self._tell(Unlocked(**place) if free else LockFailure(**place, unlocking=True))
