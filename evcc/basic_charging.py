"""Basic charging by control pilot (IEC 61851-1): the vehicle obeys the duty cycle if communication fails."""

import asyncio
from collections.abc import Awaitable, Callable

from evcc.session.settings import BasicConfig
from v2g.errors import TimeoutExpired, V2GError
from v2g.io.plc.pilot import SimulatedVehiclePilot
from v2g.io.runtime.supervision import cancel_tasks, child
from v2g.observe import Observe


class BasicFallback:
    """Watches a conversation and the pilot; charges by nominal duty if the conversation fails or the pilot shows it."""

    def __init__(
        self,
        config: BasicConfig,
        pilot: SimulatedVehiclePilot,
        charge: Callable[[], Awaitable[str]],
        observe: Callable[[Observe], None],
    ) -> None:
        """`charge` charges by the duty cycle, and returns how that ended."""
        self._config, self._pilot, self._charge, self._observe = config, pilot, charge, observe
        self._nominal = asyncio.Event()
        pilot.on_duty(lambda _: self._read())
        self._read()

    async def follow(self, talk: "asyncio.Task[str]") -> str:
        """Return how charging ended, with or without communication. Raises the conversation's error if no nominal duty
        comes in time."""
        nominal = child(self._nominal.wait())
        try:
            await asyncio.wait((talk, nominal), return_when=asyncio.FIRST_COMPLETED)
            reason, error = "charger_decides", None
            if talk.done():
                reason, error = _outcome(talk)
                if error is None and reason in ("finished", "paused", "interrupted"):
                    return reason
                try:
                    async with asyncio.timeout(self._config.wait_s):
                        await asyncio.shield(nominal)
                except TimeoutError:
                    if error is not None:
                        raise error from None
                    hint = "does the charger fall back to nominal duty?"
                    raise TimeoutExpired("wait for nominal duty", self._config.wait_s, hint=hint) from None
            await cancel_tasks(talk)
        finally:
            nominal.cancel()
        self._observe(Observe("basic", "fallback", {"reason": reason}))
        return await self._charge()

    def _read(self) -> None:
        if self._pilot.duty.meaning == "current":
            self._nominal.set()


def _outcome(talk: "asyncio.Task[str]") -> tuple[str, BaseException | None]:
    """Return the outcome of a conversation, and the error that ended it."""
    error = talk.exception()
    if error is None:
        return talk.result(), None
    if not isinstance(error, V2GError):
        raise error
    return type(error).__name__, error
