"""The port between a charging station and the charger that it belongs to."""

from collections.abc import Sequence
from typing import Protocol

from v2g_station.blocks.transactions.transactions import MeterSample
from v2g_station.kernel.kernel import Command


class ChargerPort(Protocol):
    """What a station needs of its charger. Everything is called in the event loop."""

    @property
    def able(self) -> frozenset[str]:
        """What of `StationSettings.able` the charger adds: `remote_start`, `reset`."""

    def carry_out(self, command: Command) -> bool:
        """Begin what the CSMS wants; False for a command that is not the charger's."""

    async def unlock(self, evse_id: int) -> bool:
        """Try to release the plug; return whether it is free."""

    def online(self, reachable: bool) -> None:
        """The CSMS has accepted this station, or can no longer be reached."""

    def meter(self, evse_id: int) -> MeterSample | None:
        """Return what the meter of an EVSE shows now."""

    def serves(self, evse_id: int, modes: Sequence[str]) -> bool:
        """Return whether an EVSE has a service for any of these energy transfer modes."""


class NoCharger:
    """A station without a charger: it reports transactions, and rejects what only a charger could do."""

    able: frozenset[str] = frozenset()

    def carry_out(self, command: Command) -> bool:
        """Leave every command to the station."""
        return False

    async def unlock(self, evse_id: int) -> bool:
        """Release no plug."""
        return False

    def online(self, reachable: bool) -> None:
        """Need no notice."""

    def meter(self, evse_id: int) -> MeterSample | None:
        """Return no sample: there is no meter."""

    def serves(self, evse_id: int, modes: Sequence[str]) -> bool:
        """Have no service."""
        return False
