"""The vehicle's side of validation (ISO 15118-3): it toggles its pilot, and selects the charger that counts correctly.

The chargers that attenuation leaves possible are asked, the nearest first. Each is asked to watch its pilot (step 1),
then notified of the duration (step 2), while the vehicle toggles one to three times.

A charger reports only a number, and may have counted the toggles of another vehicle that validates at the same time. So
the number is random, and repeated (`rounds`) if other vehicles are received.
"""

import math
from collections.abc import Callable
from enum import Enum

import msgspec

from v2g.slac import mme
from v2g.slac.actions import TogglePilot
from v2g.slac.timing import MAX_VALIDATION_S, SlacTiming


class Step(msgspec.Struct, frozen=True):
    """Next step: send `request` to the present charger, toggle the pilot, and report its `verdict`.

    `over` ends the validation; `Validation.found` and `unvalidated` have the result.
    """

    request: mme.CmValidateReq | None = None
    toggle: TogglePilot | None = None
    verdict: str = ""
    over: bool = False


class Asking(Enum):
    """What the present charger must send."""

    READY = "the answer to step 1"
    PAUSE = "nothing for now: it is not ready"
    COUNT = "the answer to step 2"


_NOTHING = Step()


class EvValidation:
    """Call `begin` once. `deadline` is when `on_timer` must be called."""

    def __init__(
        self, candidates: list[bytes], timing: SlacTiming, *, rounds: int, entropy: Callable[[int], bytes]
    ) -> None:
        """Takes chargers, nearest first, and how often each must count correctly."""
        self.found: bytes | None = None
        self.unvalidated: list[bytes] = []
        """Chargers that cannot or will not watch their pilot, nearest first."""
        self.deadline = 0.0
        self.state = Asking.READY
        self._timing = timing
        self._left = candidates
        self._rounds = rounds
        self._entropy = entropy
        self._asked = b""
        self._won = 0
        self._toggles = 0
        self._tries = 0
        self._pauses = 0

    @property
    def asked(self) -> bytes:
        """The present charger."""
        return self._asked

    def begin(self, now: float) -> Step:
        """Ask the nearest."""
        return self._next(now)

    def on_confirmation(self, source: bytes, message: mme.CmValidateCnf, now: float) -> Step:
        """Process an answer; those of others, and unexpected ones, are ignored."""
        if source != self._asked or message.signal_type != 0:
            return _NOTHING
        if self.state is Asking.COUNT:
            match message.result:
                case mme.VALIDATE_READY if self._tries <= self._timing.match_retries:
                    self._tries += 1  # it has not received step 2
                    return Step(request=mme.CmValidateReq(timer=max(0, round(self._window_s * 10) - 1)))
                case mme.VALIDATE_SUCCESS if message.toggle_num == self._toggles:
                    self._won += 1
                    if self._won < self._rounds:
                        self._tries = self._pauses = 0
                        return self._ask(now)
                    self.found = self._asked
                    return Step(verdict="validated", over=True)
                case mme.VALIDATE_SUCCESS:
                    return self._next(now, verdict="miscounted")
                case mme.VALIDATE_FAILURE | mme.VALIDATE_NOT_READY:
                    return self._next(now, verdict="failed")
            return _NOTHING
        if self.state is not Asking.READY:
            return _NOTHING
        match message.result:
            case mme.VALIDATE_READY:
                return self._toggle(now)
            case mme.VALIDATE_NOT_READY if self._pauses < self._timing.not_ready_retries:
                self._pauses += 1
                self.state, self.deadline = Asking.PAUSE, now + self._timing.not_ready_pause_s
                return _NOTHING
            case mme.VALIDATE_NOT_READY:
                return self._pass_over("not_ready", now)
            case mme.VALIDATE_FAILURE:
                return self._pass_over("unable", now)
            case mme.VALIDATE_NOT_REQUIRED:
                return self._pass_over("not_required", now)
        return _NOTHING

    def on_timer(self, now: float) -> Step:
        """Repeat an unanswered request, C_EV_match_retry times."""
        if self.state is Asking.PAUSE:
            self._tries = 0
            return self._ask(now)
        if self._tries <= self._timing.match_retries:
            return self._ask(now) if self.state is Asking.READY else self._announce(now, self._timing.match_response_s)
        if self.state is Asking.READY:
            return self._pass_over("silent", now)
        # It promised to count and did not answer: not a reason to select it.
        return self._next(now, verdict="no_count")

    def _next(self, now: float, *, verdict: str = "") -> Step:
        if not self._left:
            return Step(verdict=verdict, over=True)
        self._asked, *self._left = self._left
        self._tries = self._pauses = self._won = 0
        request = self._ask(now).request
        return Step(request=request, verdict=verdict)

    def _ask(self, now: float) -> Step:
        self._tries += 1
        self.state, self.deadline = Asking.READY, now + self._timing.match_response_s
        return Step(request=mme.CmValidateReq())

    def _pass_over(self, verdict: str, now: float) -> Step:
        self.unvalidated.append(self._asked)
        return self._next(now, verdict=verdict)

    def _toggle(self, now: float) -> Step:
        """Begin step 2."""
        self._toggles, self._tries = 1 + self._entropy(1)[0] % self._timing.max_toggles, 0
        self.state = Asking.COUNT
        message = self._announce(now, self._window_s + self._timing.validation_extra_s + self._timing.match_response_s)
        return Step(request=message.request, toggle=TogglePilot(self._toggles, self._timing.toggle_state_s))

    @property
    def _window_s(self) -> float:
        """Return the window, a multiple of 100 ms: each toggle has three parts, B, C and B."""
        return min(math.ceil(self._toggles * 30 * self._timing.toggle_state_s - 1e-9) / 10, MAX_VALIDATION_S)

    def _announce(self, now: float, wait_s: float) -> Step:
        self._tries += 1
        self.deadline = now + wait_s
        return Step(request=mme.CmValidateReq(timer=max(0, round(self._window_s * 10) - 1)))
