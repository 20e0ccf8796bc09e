"""The data link of both roles: control pilot and matching together, from plug-in to D-LINK_READY and back.

How plugs, pilot states and lost links affect matching is ISO 15118-3's coupling of
IEC 61851-1 with SLAC; it is the same for simulated and real ports.
"""

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from v2g.errors import SlacError
from v2g.hardware.interfaces import ChargerPilot
from v2g.iec61851.pilot import HLC_DUTY, DutyReading, PilotState, toggles
from v2g.iec61851.proximity import Proximity
from v2g.io.plc.link import PlcLink
from v2g.io.plc.pilot import VehiclePilot
from v2g.observe import Callbacks, Observe, Scalar
from v2g.slac import shared
from v2g.slac.ev import EvSlac, EvSlacConfig
from v2g.slac.evse import EvseSlac, EvseSlacConfig
from v2g.slac.host import Entropy
from v2g.slac.shared import Action, SendFrame


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


# -- Timed sequences of the charger's pilot: restarts, wake-ups and the transition to basic charging


class ShowState(msgspec.Struct, frozen=True):
    """Set a duty cycle (percent, None is X1) or force E or F, for a time (s)."""

    duty: float | None
    seconds: float = 0.0
    forced: PilotState | None = None


def start_over(step_x1_s: float, step_ef_s: float) -> tuple[ShowState, ...]:
    """X1, then F, then 5 % again: the vehicle starts over (V2G3-M07-04 to -12)."""
    return (ShowState(None, step_x1_s), ShowState(None, step_ef_s, PilotState.F), ShowState(HLC_DUTY))


class PilotSteps:
    """Runs steps on a pilot. Meanwhile the wire's states are ignored; the final one is reported."""

    def __init__(self, pilot: ChargerPilot, on_end: Callable[[], None]) -> None:
        self._pilot, self._on_end = pilot, on_end
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def running(self) -> bool:
        return self._timer is not None

    def play(self, steps: Sequence[ShowState]) -> None:
        """Begin, replacing running steps; the last step stays."""
        self.cancel()
        self._play(list(steps))

    def cancel(self) -> None:
        """Stop at the present step."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _play(self, steps: list[ShowState]) -> None:
        step, *rest = steps
        # armed first: callbacks of the pilot within are also to be ignored
        self._timer = self._loop.call_later(step.seconds, self._play, rest) if rest else self._timer
        if step.forced is not None:
            self._pilot.set_error(step.forced)
        else:
            self._pilot.set_duty(step.duty)
        if not rest:
            self._timer = None
            self._on_end()


PilotAction = shared.RestartPilot | shared.TogglePilot | shared.OscillatorOff | shared.OscillatorOn
"""Commands of cores to the control pilot."""

OnObserve = Callable[[Observe], None]


class _DataLink:
    """Shared by both roles: callbacks, waiting, and pauses."""

    _core: EvseSlac | EvSlac
    _runner: SlacRunner

    def __init__(self, observe: OnObserve) -> None:
        self.matched: shared.Matched | None = None
        self._observe_to = observe
        self.on_ready: Final = Callbacks[shared.Matched]()
        """Called when the link is up (D-LINK_READY, established)."""
        self.on_down: Final = Callbacks[str]()
        """Called with a stable code when the link went down or will not come up: `unplugged`, `link_lost`,
        `port_lost`, `pilot_lost`, `pilot_fault`, `plug_not_seated`, or one of `v2g.slac.shared.FAILURES`."""
        self._waiting: set[asyncio.Future[shared.Matched]] = set()

    async def ready(self) -> shared.Matched:
        """Wait until the link is up. Raises SlacError when matching fails for good."""
        if self.matched is not None:
            return self.matched
        future: asyncio.Future[shared.Matched] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            return await future
        finally:
            self._waiting.discard(future)

    def pause(self) -> None:
        """The session pauses (D-LINK_PAUSE): oscillator off, the network stays. `wake_up`, a B-C-B toggle of the
        vehicle or 5 % of the charger ends that."""
        self._step(self._core.pause)

    def wake_up(self) -> None:
        """Resume after a pause: the charger's oscillator is on again, for which a vehicle toggles the pilot."""
        self._step(self._core.wake_up)

    def close(self) -> None:
        """Leave the network and stop; the port and the pilot stay open."""
        self._leave()
        self._runner.close()

    def _step(self, step: Callable[..., None], *facts: object) -> None:
        """Have the core take a step now, and carry out what follows."""
        step(*facts, self._runner.now())
        self._runner.drain()

    def _leave(self) -> None:
        raise NotImplementedError

    def _observe(self, name: str, **data: Scalar) -> None:
        self._observe_to(Observe("link", name, data))

    def _act(self, action: shared.Action) -> None:
        """Execute a core's action: shared ones here, those of the pilot by each role."""
        match action:
            case Observe():
                self._observe_to(action)
            case shared.Matched():
                self.matched = action
                self._observe(
                    "matched",
                    evse=action.evse_mac.hex(":"),
                    pev=action.pev_mac.hex(":"),
                    nid=action.nid.hex(),
                    attenuation_db=action.attenuation_db,
                )
                for future in self._waiting:
                    if not future.done():
                        future.set_result(action)
                self.on_ready.tell(action)
            case shared.LinkLost():
                self._down("link_lost")
            case shared.MatchingFailed():
                self._down(action.reason, failed=True)
            case shared.SendFrame():
                raise AssertionError("frames are the runner's")
            case _:
                self._move_pilot(action)

    def _move_pilot(self, action: PilotAction) -> None:
        raise NotImplementedError

    def _down(self, reason: str, *, failed: bool = False) -> None:
        self.matched = None
        self._observe("down", reason=reason)
        if failed:
            hint = "is the peer on this powerline? Events of stage `link` show the frames received"
            error = SlacError(shared.FAILURES[reason], answer="Unmatched", hint=hint)
            for future in self._waiting:
                if not future.done():
                    future.set_exception(error)
        self.on_down.tell(reason)


class ChargerLink(_DataLink):
    """The charger's data link: listens from the start, and matches each arriving vehicle."""

    def __init__(
        self,
        link: PlcLink,
        pilot: ChargerPilot,
        config: EvseSlacConfig,
        *,
        observe: OnObserve,
        entropy: Entropy = secrets.token_bytes,
    ) -> None:
        super().__init__(observe)
        self._pilot = pilot
        self._config = config
        self._core: EvseSlac = EvseSlac(config, mac=link.mac, entropy=entropy)
        self._runner = SlacRunner(self._core, link, self._act)
        self._steps = PilotSteps(pilot, self._stepped)
        self._engaged = False
        self._ended = False  # terminated or faulty: the vehicle must unplug before it may start again
        self._held = False  # the charger is not available, and shows F
        self._step(self._core.prepare)
        link.on_port(self._on_port)
        pilot.on_proximity(self._on_proximity)
        pilot.on_state(self._on_state)
        self._on_state(pilot.state)

    def terminate(self) -> None:
        """The session ended normally (D-LINK_TERMINATE): oscillator off, leave the network, new key.

        The next matching needs unplugging and plugging in, or `restart`.
        """
        self._leave()
        self._ended = self._pilot.state.connected
        self._pilot.set_duty(None)

    def restart(self, reason: str) -> None:
        """The session failed (D-LINK_ERROR): leave, then X1, F and 5 % again so that the vehicle may start over."""
        self.matched = None
        self._step(self._core.error, reason)

    def hand_over(self) -> None:
        """Leave the pilot to basic charging until the vehicle has left: no matching meanwhile."""
        self._leave()
        self._ended = True

    def hold(self) -> None:
        """Show F, as the charger is not available, until `release`."""
        if not self._held:
            self._held = True
            self._leave()
            self._pilot.set_error(PilotState.F)

    def release(self) -> None:
        """Make the charger available again; a connected vehicle may start."""
        if self._held:
            self._held = self._ended = False
            self._pilot.set_duty(None)
            self._on_state(self._pilot.state)

    def _on_state(self, state: PilotState) -> None:
        if self._steps.running or self._held:
            return  # our own X1 and F; the wire is read again at their end
        if state.connected:
            if self._engaged:
                self._step(self._core.pilot, state)
            elif not self._ended:
                self._plugged_in(self._pilot.proximity)
            return
        self._ended = state is not PilotState.A and (self._engaged or self._ended)
        if self._engaged:
            self._leave()
            self._pilot.set_duty(None)
            self._down("unplugged" if state is PilotState.A else "pilot_fault")

    def _on_port(self, present: bool) -> None:
        """Handle a lost or returned modem: the link is lost at once, and a returned modem has no key."""
        if present:
            self._step(self._core.prepare)
        elif self.matched is not None:
            self._down("port_lost")
            self.restart("port_lost")

    def _plugged_in(self, proximity: Proximity) -> None:
        """Begin only with a latched plug: half-open latches may cause arcs."""
        self._observe("plugged_in", proximity=proximity.state)
        if proximity.state != "seated":
            self._down("plug_not_seated")
            return
        self._engaged = True
        self._core.connect(self._runner.now())
        self._step(self._core.pilot, self._pilot.state)
        self._pilot.set_duty(HLC_DUTY)

    def _on_proximity(self, proximity: Proximity) -> None:
        if not self._pilot.state.connected or self._held:
            return
        if self._engaged and proximity.state != "seated":
            self._leave()
            self._pilot.set_duty(None)
            self._down("plug_not_seated")
        elif not self._engaged and not self._ended and proximity.state == "seated":
            self._plugged_in(proximity)

    def _leave(self) -> None:
        self._steps.cancel()
        self._engaged = False
        self.matched = None
        self._step(self._core.disconnect)

    def _move_pilot(self, action: PilotAction) -> None:
        match action:
            case shared.RestartPilot():
                if self._engaged:  # else the vehicle has left during the actions before
                    self._observe("pilot_restart", reason=action.reason)
                    self._steps.play(start_over(self._config.timing.step_x1_s, self._config.timing.step_ef_s))
            case shared.OscillatorOff():
                self._pilot.set_duty(None)
            case shared.OscillatorOn():
                self._pilot.set_duty(HLC_DUTY)
            case shared.TogglePilot():
                raise AssertionError(f"a charger's core does not ask for {action}")

    def _stepped(self) -> None:
        """The vehicle may have left behind the F that hid it."""
        self._on_state(self._pilot.state)


class VehicleLink(_DataLink):
    """The vehicle's data link: matches whenever the pilot asks for digital communication."""

    def __init__(
        self,
        link: PlcLink,
        pilot: VehiclePilot,
        config: EvSlacConfig,
        *,
        observe: OnObserve,
        entropy: Entropy = secrets.token_bytes,
    ) -> None:
        super().__init__(observe)
        self._pilot = pilot
        self._core: EvSlac = EvSlac(config, mac=link.mac, entropy=entropy)
        self._runner = SlacRunner(self._core, link, self._act)
        self._loop = asyncio.get_running_loop()
        self._toggling: asyncio.TimerHandle | None = None
        self._engaged = False
        link.on_port(self._on_port)
        pilot.on_duty(self._on_duty)
        self._on_duty(pilot.duty)

    def terminate(self) -> None:
        """The session ended normally (D-LINK_TERMINATE): leave the network."""
        self._leave()

    def _on_port(self, present: bool) -> None:
        """Handle a lost or returned modem: the link is lost at once; matching restarts when it is back."""
        if present:
            self._on_duty(self._pilot.duty)
        elif self._engaged:
            was_up = self.matched is not None
            self._leave()
            if was_up:
                self._down("port_lost")

    def _on_duty(self, duty: DutyReading) -> None:
        """Start at 5 %, leave at E, F or an absent charger; other changes do not stop a matching (V2G3-M06-15)."""
        if duty.meaning == "digital" and self._engaged:
            self._step(self._core.resume)
        elif duty.meaning == "digital":
            self._engaged = True
            self._observe("pilot_digital")
            self._step(self._core.start)
        elif duty.meaning == "no_charging" and self._engaged:
            self._leave()
            self._down("pilot_lost")

    def _leave(self) -> None:
        if self._toggling is not None:
            self._toggling.cancel()
            self._toggling = None
            with contextlib.suppress(ValueError):  # unplugged during the toggle
                self._pilot.set_state(PilotState.B)
        self._engaged = False
        self.matched = None
        self._step(self._core.leave)

    def _move_pilot(self, action: PilotAction) -> None:
        match action:
            case shared.TogglePilot(count=count, state_s=state_s):
                self._observe("pilot_toggled", count=count)
                self._toggle(deque([(PilotState.B, state_s), *toggles(count, state_s)]))
            case _:
                raise AssertionError(f"a vehicle's core does not ask for {action}")

    def _toggle(self, states: "deque[tuple[PilotState, float]]") -> None:
        self._toggling = None
        if states:
            state, seconds = states.popleft()
            self._pilot.set_state(state)
            self._toggling = self._loop.call_later(seconds, self._toggle, states)
