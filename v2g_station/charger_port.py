"""The port between a charging station and its charger."""

from collections.abc import Sequence
from typing import Protocol

from v2g_station.blocks.transactions.transactions import MeterSample
from v2g_station.kernel.kernel import Command


class ChargerPort(Protocol):
    """What a station needs from its charger. All calls are made in the event loop."""

    @property
    def able(self) -> frozenset[str]:
        """The members of `StationSettings.able` that the charger adds: `remote_start`, `reset`, `attestation`."""

    def carry_out(self, command: Command) -> bool:
        """Begin to carry out a command; return False for one that is not the charger's."""

    async def unlock(self, evse_id: int) -> bool:
        """Try to release the plug; return whether it is free."""

    def online(self, reachable: bool) -> None:
        """Report that the CSMS has accepted this station, or is no longer reachable."""

    def meter(self, evse_id: int) -> MeterSample | None:
        """Return the current meter sample of an EVSE."""

    def serves(self, evse_id: int, modes: Sequence[str]) -> bool:
        """Return whether an EVSE has a service for any of these energy transfer modes."""
