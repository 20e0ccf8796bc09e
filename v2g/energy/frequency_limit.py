"""Active power by frequency (LFSM-O, LFSM-U): what a deviation leaves of it, and how it returns. Pure."""

import math

from v2g.energy.grid_support import FrequencySupport


class Since:
    """Since when a condition holds, s; None while it does not."""

    def __init__(self) -> None:
        self._at: float | None = None

    def lasts(self, now: float, *, holds: bool) -> float | None:
        """Return for how long it has held."""
        self._at = (now if self._at is None else self._at) if holds else None
        return None if self._at is None else now - self._at


class FrequencyLimit:
    """The magnitude of power (W) that a deviation of the frequency leaves; infinite without one."""

    def __init__(self, support: FrequencySupport, *, over: bool) -> None:
        self._support, self._sign = support, 1 if over else -1
        self._beyond, self._within = Since(), Since()
        self._begun_w: float | None = None
        self._held = math.inf
        self._risen_w: float | None = None
        """How far the power has returned, while it does."""

    def at(self, flow_w: float, most_w: float, hertz: float, now: float) -> float:
        """Return the limit, given the power that would flow now and the maximum of discharge."""
        each = self._support
        excess = (hertz - each.start_hz) * self._sign
        beyond = self._beyond.lasts(now, holds=excess > 0)
        low, high = each.return_band or (-math.inf, math.inf)
        within = self._within.lasts(now, holds=excess <= 0 and low <= hertz <= high)
        if beyond is not None:
            if self._risen_w is not None:  # it had not returned yet: it falls from where it was
                self._begun_w, self._held, self._risen_w = self._risen_w, math.inf, None
            self._begun_w = flow_w if self._begun_w is None else self._begun_w
            if beyond >= each.delay_s:
                share = min(excess, abs(each.stop_hz - each.start_hz)) * each.slope / 100
                limit = max(0.0, self._begun_w - share * self._reference(most_w, self._begun_w))
                self._held = min(self._held, limit) if each.hysteresis else limit
            return self._held
        if within is None:  # no longer beyond, and not yet where power returns
            if self._risen_w is not None:
                self._held, self._risen_w = self._risen_w, None
            return self._held
        if self._begun_w is not None:
            if each.hysteresis and within < each.deactivation_s:
                return self._held
            if each.ramp is not None:
                minutes = (within - (each.deactivation_s if each.hysteresis else 0)) / 60
                risen_w = self._held + minutes * each.ramp / 100 * self._reference(most_w, self._begun_w)
                if risen_w < self._begun_w:
                    self._risen_w = risen_w
                    return risen_w
        self._begun_w, self._held, self._risen_w = None, math.inf, None
        return self._held

    def _reference(self, most_w: float, begun_w: float) -> float:
        return most_w if self._support.reference == "maximum" else begun_w
