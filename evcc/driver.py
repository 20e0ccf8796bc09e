"""The driver's requests during a session, from a script or by a signal."""

import asyncio
import signal
from collections.abc import Callable
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from evcc.session.ports import ConsentChanged, NeedsChanged, StopRequested
from evcc.session.settings import Percent
from v2g.io.runtime.clock import Clock
from v2g.iso15118.engine.session import Fact
from v2g.observe import Observe

Tell = Callable[[Fact], None]


class DriverStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One request: `stop`, `pause`, `reselect` (services), other `needs`, `consent` to discharging or `withdraw` it."""

    after_s: Annotated[float, Meta(ge=0, le=86_400, description="s of simulated time after energy was first allowed")]
    wish: Annotated[
        Literal["stop", "pause", "reselect", "needs", "consent", "withdraw"], Meta(description="the driver's request")
    ]
    target_soc: Annotated[Percent | None, Meta(description="needs: target charge at departure, %")] = None
    minimum_soc: Annotated[Percent | None, Meta(description="needs: minimum charge, %")] = None
    departure_after_s: Annotated[
        Annotated[int, Meta(ge=60, le=0xFFFFFFFF)] | None, Meta(description="needs: departure, seconds from then")
    ] = None


class Driver:
    """Sends the driver's requests to the running session. SIGUSR1 requests a pause, and during a pause to resume."""

    def __init__(self, script: tuple[DriverStep, ...], clock: Clock) -> None:
        self._script, self._clock = script, clock
        self._loop = asyncio.get_running_loop()
        self._tell: Tell | None = None
        self._wake: Callable[[], None] | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._begun = False
        self._loop.add_signal_handler(signal.SIGUSR1, self._signalled)

    def close(self) -> None:
        """Request nothing more."""
        self._loop.remove_signal_handler(signal.SIGUSR1)
        for timer in self._timers:
            timer.cancel()

    def drives(self, tell: Tell | None) -> None:
        """Send facts to this session from now on; None: none is running."""
        self._tell = tell

    def rests(self, wake: Callable[[], None] | None) -> None:
        """Call `wake` when the driver requests to resume; None: the vehicle is not paused."""
        self._wake = wake

    def end(self) -> bool:
        """Request a graceful end of the running session; return False if none is running."""
        if self._tell is None:
            return False
        self._tell(StopRequested("interrupted"))
        return True

    def saw(self, event: Observe) -> None:
        """Begin the script when energy is first allowed."""
        if not self._begun and (event.stage, event.name) == ("power", "started"):
            self._begun = True
            for step in self._script:
                self._timers.append(self._loop.call_later(step.after_s / self._clock.scale, self._want, step))

    def _signalled(self) -> None:
        if self._wake is not None:
            self._wake()
        elif self._tell is not None:
            self._tell(StopRequested("driver", pause=True))

    def _want(self, step: DriverStep) -> None:
        if self._tell is None:
            return
        if step.wish in ("consent", "withdraw"):
            self._tell(ConsentChanged(given=step.wish == "consent"))
            return
        if step.wish != "needs":
            self._tell(StopRequested("driver", pause=step.wish == "pause", reselect=step.wish == "reselect"))
            return
        departure = step.departure_after_s
        self._tell(
            NeedsChanged(
                departure_ms=None if departure is None else self._clock.utc_ms() + departure * 1000,
                target_soc=step.target_soc,
                minimum_soc=step.minimum_soc,
            )
        )
