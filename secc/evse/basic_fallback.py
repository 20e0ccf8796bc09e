"""Fall-back to charging by nominal duty: when a vehicle never matched, stopped responding, or failed repeatedly."""

import asyncio
from typing import TYPE_CHECKING, Final

from secc.evse.visit import Visit
from secc.session.basic_charging import Way
from secc.session.config import BasicConfig
from v2g.hardware.interfaces import ChargerPilot
from v2g.iec61851.pilot import PilotState
from v2g.io.plc.datalink import ChargerLink
from v2g.io.runtime.null_stream import NullStream
from v2g.io.runtime.supervision import child
from v2g.observe import Observe
from v2g.slac.actions import FAILURES, Matched

if TYPE_CHECKING:
    from secc.evse.controller import EvseController

ORDERLY: Final = frozenset({"finished", "paused", "unplugged", "shut_down", "cancelled"})
"""Ends of a session that need no fall-back."""


class Fallback:
    """Watches the data link and sessions, and serves the vehicle by nominal duty when they fail.

    A charger without a data link does nothing else. While it serves, matching and sessions are suspended, until the
    vehicle has left.
    """

    def __init__(self, controller: "EvseController", config: BasicConfig, pilot: ChargerPilot) -> None:
        self._controller, self._config, self._pilot = controller, config, pilot
        self._loop = asyncio.get_running_loop()
        self._link: ChargerLink | None = None
        self._begun = False  # the vehicle has started to match
        self._failed = 0
        self._silence: asyncio.TimerHandle | None = None
        self._serving: asyncio.Task[None] | None = None
        self._left = False  # the vehicle that is served

    def use(self, link: ChargerLink | None) -> None:
        """Watch this data link; None: there is none."""
        self._link = link
        if link is not None:
            link.on_ready(self._matched)
        self.consider()

    async def close(self) -> None:
        """End the present service."""
        self._quiet()
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)

    # -- events

    def pilot_changed(self, state: PilotState) -> None:
        """Forget a vehicle that left; serve one that arrives at once if nothing else is possible."""
        if state is PilotState.A:
            self._begun, self._failed, self._left = False, 0, True
            self._quiet()
        self.consider()

    def saw(self, event: Observe) -> None:
        """Process an event of the matching core."""
        if event.name == "matching_started":
            self._begun = True

    def link_down(self, reason: str) -> None:
        """The data link went down, or will not come up, without a session."""
        self._quiet()
        if reason in FAILURES:
            self._begin("x1" if self._begun else "f", reason)

    def conversation_ended(self, reason: str) -> bool:
        """Return whether that was one failure too many, so that the vehicle is charged by nominal duty."""
        if reason in ORDERLY or self._pilot.state is PilotState.A:
            return False
        self._failed += 1
        return self._failed >= self._config.conversations and self._begin("x1", reason)

    def consider(self) -> None:
        """Serve a connected vehicle without a data link to wait for."""
        if self._link is None and self._pilot.state.connected:
            self._begin("at_once", "no_data_link")

    # -- inside

    def _matched(self, _: Matched) -> None:
        """Matched: wait for the vehicle's session."""
        self._quiet()
        self._silence = self._loop.call_later(self._config.timing.conversation_s, self._not_talking)

    def _quiet(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def _not_talking(self) -> None:
        self._silence = None
        self._begin("x1", "no_conversation")

    def _begin(self, way: Way, reason: str) -> bool:
        """Begin, unless a vehicle is served, none is present, or hardware or back end forbid it."""
        controller = self._controller
        busy = controller.busy or (self._serving is not None and not self._serving.done())
        if busy or not self._pilot.state.connected or self._pilot.proximity.state != "seated":
            return False
        if controller.at_fault or not controller.open:
            return False
        self._quiet()
        if self._link is not None:
            self._link.hand_over()
        controller.observe(Observe("basic", "fallback", {"reason": reason, "way": way}))
        self._left = False
        self._serving = child(self._serve(way), name="basic charging")
        self._serving.add_done_callback(self._served)
        return True

    def _served(self, task: "asyncio.Task[None]") -> None:
        """Serve the next vehicle, which may have arrived while the last journal was being closed."""
        if task.cancelled():
            return
        task.exception()  # a journal that could not be written: reported by the runner
        if self._left:
            self.consider()

    async def _serve(self, way: Way) -> None:
        self._controller.pauses.forget(
            "not_resumed", "Other"
        )  # a vehicle that paused a session cannot be recognised without one
        visit = Visit(self._controller, self._controller.transport.credentials[0])
        await self._controller.receive(visit, visit.basic(way), NullStream())
