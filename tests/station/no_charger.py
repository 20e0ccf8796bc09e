"""A station without a charger."""

from collections.abc import Sequence

from v2g_station.blocks.transaction_records import MeterSample
from v2g_station.kernel.kernel import StationCommand


class NoCharger:
    """A station without a charger: it reports transactions and rejects what only a charger could do."""

    able: frozenset[str] = frozenset()

    def carry_out(self, command: StationCommand) -> bool:
        """Leave every command to the station."""
        return False

    async def unlock(self, evse_id: int) -> bool:
        """Release no plug."""
        return False

    def online(self, reachable: bool) -> None:
        """Ignore the change."""

    def meter(self, evse_id: int) -> MeterSample | None:
        """Return None: there is no meter."""

    def serves(self, evse_id: int, modes: Sequence[str]) -> bool:
        """Return False: there is no service."""
        return False

    def store_failed(self) -> None:
        """Do nothing: there are no sessions."""
