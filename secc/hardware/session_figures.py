"""Takes the figures of a session (`v2g.hardware.session_metrics`) from what the hardware does. Pure; times in s."""

from typing import Final

from v2g.hardware.session_metrics import MetricName

HEAT_S: Final = 300.0
"""After so long with power the rise of temperature is taken: parts are compared at the same time."""

_LEAST_W: Final = 1000
"""Power, into or out of the vehicle, from which on heat is compared."""

_LEAST_MWH: Final = 100_000
"""Energy from which on the meter's and the power electronics' are compared, mWh."""


class SessionFigures:
    """Figures of one session. `values` are those known so far."""

    def __init__(self, flowed_mwh: int, metered_mwh: int) -> None:
        """Begin with both sums of energy, in and out, as they are now."""
        self.values: dict[MetricName, float] = {}
        self._began = flowed_mwh, metered_mwh
        self._power_since: float | None = None
        self._cool_c, self._seen, self._joule = 0.0, 0.0, 0.0

    def take(self, name: MetricName, value: float) -> None:
        """Note a figure; of several, as of contactors that close twice, the largest counts."""
        self.values[name] = max(value, self.values.get(name, value))

    def power(self, watts: int, hottest_c: float, now: float) -> None:
        """Note the present power and the temperature of the hottest sensor."""
        if "heat_k_per_kw" in self.values:
            return
        if abs(watts) < _LEAST_W:
            self._power_since = None  # a pause lets it cool
            return
        if self._power_since is None:
            self._power_since, self._cool_c, self._joule = now, hottest_c, 0.0
        else:
            self._joule += abs(watts) * (now - self._seen)
        self._seen = now
        lasts_s = now - self._power_since
        if lasts_s >= HEAT_S:
            self.values["heat_k_per_kw"] = (hottest_c - self._cool_c) / (self._joule / lasts_s / 1000)

    def end(self, flowed_mwh: int, metered_mwh: int) -> None:
        """Compare both sums of energy at the end of the session."""
        flowed, metered = flowed_mwh - self._began[0], metered_mwh - self._began[1]
        if min(flowed, metered) >= _LEAST_MWH:
            self.values["efficiency"] = flowed / metered
