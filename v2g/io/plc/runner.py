"""Runs a pure matching core on a powerline port: frames in, actions out, one timer."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from v2g.io.plc.link import PlcLink
from v2g.slac.actions import Action, SendFrame


class SlacCore(Protocol):
    """A core: matching of either role, or the inspection of a modem."""

    def receive(self, frame: bytes, now: float) -> None:
        """Process one Ethernet frame."""

    def tick(self, now: float) -> None:
        """Let due timers expire."""

    def deadline(self) -> float | None:
        """Return when `tick` must be called, or None."""

    def actions(self) -> Sequence[Action]:
        """Return the actions since the last call, in order."""


class SlacRunner:
    """Executes `SendFrame` itself and passes every other action to `on_action`, in order."""

    def __init__(self, core: SlacCore, link: PlcLink, on_action: Callable[[Action], None]) -> None:
        self._core = core
        self._link = link
        self._on_action = on_action
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._armed: float | None = None
        self._draining = False
        self._closed = False
        link.on_frame(self._received)

    def now(self) -> float:
        """Return the time for the core (s)."""
        return self._loop.time()

    def drain(self) -> None:
        """Execute the core's actions; call it after every call of the core."""
        if self._draining or self._closed:
            return  # a simulated modem answers within `send`: the loop below handles the consequences
        self._draining = True
        try:
            while actions := self._core.actions():
                for action in actions:
                    if isinstance(action, SendFrame):
                        self._link.send(action.frame)
                    else:
                        self._on_action(action)
        finally:
            self._draining = False
        deadline = self._core.deadline()
        if deadline == self._armed:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._armed = deadline
        self._timer = None if deadline is None else self._loop.call_at(deadline, self._tick)

    def close(self) -> None:
        """Stop, after the core's last actions, such as a new key for the modem."""
        if not self._closed:
            self.drain()
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()

    def _received(self, frame: bytes) -> None:
        if not self._closed:
            self._core.receive(frame, self.now())
            self.drain()

    def _tick(self) -> None:
        # The loop may call a clock tick early; the core compares exactly.
        due = self._armed
        self._timer = self._armed = None
        self._core.tick(max(self.now(), due or 0.0))
        self.drain()
