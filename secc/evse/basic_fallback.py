"""When a vehicle is charged by nominal duty instead of by words: it never matched, fell silent, or talked in vain."""

import asyncio
from typing import TYPE_CHECKING, Final

from secc.evse.visit import Visit
from secc.session.basic_charging import Way
from secc.session.config import BasicConfig
from v2g.iec61851.pilot import PilotState
from v2g.io.plc.datalink import ChargerLink
from v2g.io.plc.pilot import ChargerPilot
from v2g.io.runtime.null_stream import NullStream
from v2g.observe import Observe
from v2g.slac.actions import FAILURES, Matched

if TYPE_CHECKING:
    from secc.evse.controller import EvseController

ORDERLY: Final = frozenset({"finished", "paused", "unplugged", "shut_down", "cancelled"})
"""Ends of a conversation after which nothing has to be made up for."""


class Fallback:
    """Watches the data link and conversations, and serves the vehicle by nominal duty when they fail.

    A charger without a data link does nothing else. While it serves, matching and conversations rest, until the
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
        """End what is served."""
        self._quiet()
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)

    # -- what happens

    def pilot_changed(self, state: PilotState) -> None:
        """A vehicle that left is forgotten; one that comes is served at once where nothing else can be tried."""
        if state is PilotState.A:
            self._begun, self._failed, self._left = False, 0, True
            self._quiet()
        self.consider()

    def saw(self, event: Observe) -> None:
        """Take note of what the matching core tells."""
        if event.name == "matching_started":
            self._begun = True

    def link_down(self, reason: str) -> None:
        """The data link went down, or will not come up, while nobody talked."""
        self._quiet()
        if reason in FAILURES:
            self._begin("x1" if self._begun else "f", reason)

    def conversation_ended(self, reason: str) -> bool:
        """Return whether that was one failure too many, after which the vehicle is charged by nominal duty."""
        if reason in ORDERLY or self._pilot.state is PilotState.A:
            return False
        self._failed += 1
        return self._failed >= self._config.conversations and self._begin("x1", reason)

    def consider(self) -> None:
        """Serve a vehicle that is there where there is no data link to wait for."""
        if self._link is None and self._pilot.state.connected:
            self._begin("at_once", "no_data_link")

    # -- inside

    def _matched(self, _: Matched) -> None:
        """Matched, and now the vehicle has to talk."""
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
        """Begin, unless somebody is served, nobody is there, or hardware or back end forbid it."""
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
        self._serving = asyncio.create_task(self._serve(way), name="basic charging")
        self._serving.add_done_callback(self._served)
        return True

    def _served(self, task: "asyncio.Task[None]") -> None:
        """Serve the next vehicle, which may have come while the books of the last one were being closed."""
        if task.cancelled():
            return
        task.exception()  # books that could not be kept: the runner has told
        if self._left:
            self.consider()

    async def _serve(self, way: Way) -> None:
        self._controller.pauses.forget(
            "not_resumed", "Other"
        )  # who paused by words and comes back without is not known
        visit = Visit(self._controller, self._controller.transport.credentials[0])
        await self._controller.receive(visit, visit.basic(way), NullStream())
