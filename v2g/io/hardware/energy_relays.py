"""Relays of a grid operator's control box without a protocol: W4 dims, W3, S1 and S2 bound the feed-in (§ 14a EnWG,
§ 9 EEG). Inputs are GPIO lines."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from v2g.errors import TransportError
from v2g.hardware.energy_manager.commands import EnergyCommand, ManagedStation, Refused, Take
from v2g.io.hardware.energy_config import EnergyRelaysConfig
from v2g.io.hardware.gpio import GpiodLines, GpioLine, GpioLines
from v2g.io.runtime.supervision import cancel_tasks, child

POLL_S: Final = 0.25
"""Interval of readings; a change counts when two in a row agree, so that bouncing contacts command nothing."""


def relay_command(config: EnergyRelaysConfig, active: Mapping[str, bool]) -> EnergyCommand:
    """Return what the contacts command, by the names of their keys; of several the lowest limit."""
    shares = {"no_feed_in": 0.0, "feed_in_30": 0.3, "feed_in_60": 0.6}
    shares = {name: share for name, share in shares.items() if active.get(name)}
    return EnergyCommand(
        limit_w=config.dimmed_w if active.get("dim") else None,
        discharge_w=round(config.installed_w * min(shares.values())) if shares else None,
        grid_critical=True if any(active.values()) else None,
    )


class RelayEnergyManager:
    """See EnergyManagerLink. What is read is repeated, so that lines that cannot be read end in the fall-back."""

    def __init__(
        self,
        config: EnergyRelaysConfig,
        take: Take,
        refused: Refused,
        *,
        open_lines: Callable[[dict[str, GpioLine]], GpioLines] = lambda inputs: GpiodLines({}, inputs),
    ) -> None:
        self._config, self._take, self._refused, self._open_lines = config, take, refused, open_lines
        self._lines: GpioLines | None = None
        self._polling: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._lines = self._open_lines(self._config.lines)
        self._polling = child(self._poll(self._lines), name="relays")

    def notify(self, state: ManagedStation) -> None:
        """See EnergyManagerLink: contacts report nothing."""

    async def close(self) -> None:
        await cancel_tasks(self._polling)
        if self._lines is not None:
            self._lines.close()

    async def _poll(self, lines: GpioLines) -> None:
        before: dict[str, bool] | None = None
        failed = False
        while True:
            try:
                active, failed = lines.read(), False
            except TransportError as error:
                if not failed:
                    self._refused(str(error))
                before, failed = None, True
            else:
                if active == before:
                    self._take(0, relay_command(self._config, active))
                before = active
            await asyncio.sleep(POLL_S)
