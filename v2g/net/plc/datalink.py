"""The data link of both roles: control pilot and matching together, from plug-in to D-LINK_READY and back.

What triggers matching, what an unplugged cable, a state E or F, or a lost link does, is ISO 15118-3's coupling of
IEC 61851-1 with SLAC; it is the same for simulated and real ports.
"""

import asyncio
import secrets
from collections.abc import Callable

from v2g.errors import SlacError
from v2g.net.plc.link import PlcLink
from v2g.net.plc.pilot import ChargerPilot, VehiclePilot
from v2g.net.plc.runner import SlacRunner
from v2g.observe import Observe, Scalar
from v2g.slac.actions import FAILURES, Action, Failed, LinkLost, Matched, RestartPilot
from v2g.slac.ev import EvSlac, EvSlacConfig
from v2g.slac.evse import EvseSlac, EvseSlacConfig
from v2g.slac.host import Entropy
from v2g.slac.pilot import HLC_DUTY, DutyReading, PilotState, Proximity

OnObserve = Callable[[Observe], None]
OnReady = Callable[[Matched], None]
OnDown = Callable[[str], None]


class _DataLink:
    """What both roles share: who is told, and waiting."""

    def __init__(self, observe: OnObserve) -> None:
        self.matched: Matched | None = None
        self._observe_to = observe
        self._on_ready: list[OnReady] = []
        self._on_down: list[OnDown] = []
        self._waiting: set[asyncio.Future[Matched]] = set()

    def on_ready(self, callback: OnReady) -> None:
        """Call `callback` when the link is up (D-LINK_READY, established)."""
        self._on_ready.append(callback)

    def on_down(self, callback: OnDown) -> None:
        """Call `callback` with a stable word when the link went down or will not come up: `unplugged`, `link_lost`,
        `pilot_lost`, `pilot_fault`, `plug_not_seated`, or one of `v2g.slac.actions.FAILURES`."""
        self._on_down.append(callback)

    async def ready(self) -> Matched:
        """Wait until the link is up. Raises SlacError when matching fails for good."""
        if self.matched is not None:
            return self.matched
        future: asyncio.Future[Matched] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            return await future
        finally:
            self._waiting.discard(future)

    def _observe(self, name: str, **data: Scalar) -> None:
        self._observe_to(Observe("link", name, data))

    def _up(self, matched: Matched) -> None:
        self.matched = matched
        self._observe(
            "matched",
            evse=matched.evse_mac.hex(":"),
            pev=matched.pev_mac.hex(":"),
            nid=matched.nid.hex(),
            attenuation_db=matched.attenuation_db,
        )
        for future in self._waiting:
            if not future.done():
                future.set_result(matched)
        for callback in self._on_ready:
            callback(matched)

    def _down(self, reason: str, *, failed: bool = False) -> None:
        self.matched = None
        self._observe("down", reason=reason)
        if failed:
            hint = "is the other side on this powerline? events of stage `link` say what was heard"
            error = SlacError(FAILURES[reason], answer="Unmatched", hint=hint)
            for future in self._waiting:
                if not future.done():
                    future.set_exception(error)
        for callback in self._on_down:
            callback(reason)


class ChargerLink(_DataLink):
    """The charger's data link: listens from the start, and matches each vehicle that comes."""

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
        self._core = EvseSlac(config, mac=link.mac, entropy=entropy)
        self._runner = SlacRunner(self._core, link, self._act)
        self._loop = asyncio.get_running_loop()
        self._restart: asyncio.TimerHandle | None = None
        self._engaged = False
        self._ended = False  # terminated or faulty: the vehicle must leave before it may start again
        self._core.prepare(self._runner.now())
        self._runner.drain()
        pilot.on_proximity(self._on_proximity)
        pilot.on_state(self._on_state)
        self._on_state(pilot.state)

    def terminate(self) -> None:
        """The session ended normally (D-LINK_TERMINATE): oscillator off, leave the network, new key.

        The next matching needs the plug out and in, or `restart`.
        """
        self._leave()
        self._ended = self._pilot.state.connected
        self._pilot.set_duty(None)

    def restart(self, reason: str) -> None:
        """The session failed (D-LINK_ERROR): leave, then X1, F and 5 % again so that the vehicle may start over."""
        self._core.disconnect(self._runner.now())
        self._runner.drain()
        self.matched = None
        self._act(RestartPilot(reason))
        self._core.connect(self._runner.now())
        self._runner.drain()

    def close(self) -> None:
        """Leave the network and stop; the port and the pilot stay open."""
        self._cancel_restart()
        self._leave()
        self._runner.close()

    def _on_state(self, state: PilotState) -> None:
        if self._restart is not None:
            return  # our own X1 and F; what the wire says then is read at their end
        if state.connected:
            if self._engaged:
                self._core.pilot(state, self._runner.now())
            elif not self._ended:
                self._plugged_in(self._pilot.proximity)
            return
        self._ended = state is not PilotState.A and (self._engaged or self._ended)
        if self._engaged:
            self._leave()
            self._pilot.set_duty(None)
            self._down("unplugged" if state is PilotState.A else "pilot_fault")

    def _plugged_in(self, proximity: Proximity) -> None:
        """Begin only with a plug that is seated: arcs and half-open latches start with one that is not."""
        self._observe("plugged_in", proximity=proximity.state)
        if proximity.state != "seated":
            self._down("plug_not_seated")
            return
        self._engaged = True
        self._core.connect(self._runner.now())
        self._runner.drain()
        self._pilot.set_duty(HLC_DUTY)

    def _on_proximity(self, proximity: Proximity) -> None:
        if not self._pilot.state.connected:
            return
        if self._engaged and proximity.state != "seated":
            self._leave()
            self._pilot.set_duty(None)
            self._down("plug_not_seated")
        elif not self._engaged and not self._ended and proximity.state == "seated":
            self._plugged_in(proximity)

    def _leave(self) -> None:
        self._cancel_restart()
        self._engaged = False
        self.matched = None
        self._core.disconnect(self._runner.now())
        self._runner.drain()

    def _act(self, action: Action) -> None:
        match action:
            case Observe():
                self._observe_to(action)
            case Matched():
                self._up(action)
            case LinkLost():
                self._down("link_lost")
            case Failed():
                self._down(action.reason, failed=True)
            case RestartPilot():
                self._observe("pilot_restart", reason=action.reason)
                self._cancel_restart()
                self._restart = self._loop.call_later(self._config.timing.step_x1_s, self._show_f)
                self._pilot.set_duty(None)

    def _show_f(self) -> None:
        self._restart = self._loop.call_later(self._config.timing.step_ef_s, self._show_duty)
        self._pilot.set_error(PilotState.F)

    def _show_duty(self) -> None:
        """End the restart; the vehicle may have left behind the F that hid it."""
        self._pilot.set_duty(HLC_DUTY)
        self._restart = None
        self._on_state(self._pilot.state)

    def _cancel_restart(self) -> None:
        if self._restart is not None:
            self._restart.cancel()
            self._restart = None


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
        self._core = EvSlac(config, mac=link.mac, entropy=entropy)
        self._runner = SlacRunner(self._core, link, self._act)
        self._engaged = False
        pilot.on_duty(self._on_duty)
        self._on_duty(pilot.duty)

    def terminate(self) -> None:
        """The session ended normally (D-LINK_TERMINATE): leave the network."""
        self._leave()

    def close(self) -> None:
        """Leave the network and stop; the port and the pilot stay open."""
        self._leave()
        self._runner.close()

    def _on_duty(self, duty: DutyReading) -> None:
        """Start at 5 %, leave at E, F or an absent charger; other changes do not stop a matching (V2G3-M06-15)."""
        if duty.meaning == "digital" and not self._engaged:
            self._engaged = True
            self._observe("pilot_digital")
            self._core.start(self._runner.now())
            self._runner.drain()
        elif duty.meaning == "no_charging" and self._engaged:
            self._leave()
            self._down("pilot_lost")

    def _leave(self) -> None:
        self._engaged = False
        self.matched = None
        self._core.leave(self._runner.now())
        self._runner.drain()

    def _act(self, action: Action) -> None:
        match action:
            case Observe():
                self._observe_to(action)
            case Matched():
                self._up(action)
            case LinkLost():
                self._down("link_lost")
            case Failed():
                self._down(action.reason, failed=True)
            case _:
                raise AssertionError(f"a vehicle's core does not ask for {action}")
