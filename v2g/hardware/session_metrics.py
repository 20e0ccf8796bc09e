"""How a charger's parts worked in one session: measured at the station, compared at the back end. Pure; times in s.

A part that wears out is slow, warm or inexact long before it fails: each figure is one that should stay as it was.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

from v2g import typed_json
from v2g.errors import CodecError

MESSAGE: Final = "SessionMetrics"
"""messageId of the DataTransfer that carries them."""

MetricName = Literal[
    "contactor_close_s", "contactor_open_s", "cable_check_s", "pre_charge_gap_v", "heat_k_per_kw", "efficiency"
]


class Metric(NamedTuple):
    """`least`: smallest standard deviation that is believed; of the logarithm where a `ratio` counts."""

    meaning: str
    least: float
    ratio: bool = False


METRICS: Final[Mapping[MetricName, Metric]] = {
    "contactor_close_s": Metric("from the command to the closed contactor, s", 0.05, ratio=True),
    "contactor_open_s": Metric("from the command to the open contactor, s", 0.05, ratio=True),
    "cable_check_s": Metric("duration of the cable check, s", 0.05, ratio=True),
    "pre_charge_gap_v": Metric("output above the vehicle's voltage at the end of the pre-charge, V", 0.5),
    "heat_k_per_kw": Metric("rise of the hottest sensor in the first five minutes of power, K for each kW", 0.02),
    "efficiency": Metric("energy at the output for each by the meter; 1 where the meter measures the output", 0.002),
}


class SessionMetrics(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """DataTransfer SessionMetrics: figures of a session, or of its part before a pause, that ended at `at_ms` (UTC).

    Names that this version does not know are ignored.
    """

    session_id: Annotated[str, Meta(min_length=1, max_length=64)]
    evse_id: Annotated[int, Meta(ge=1, le=1000)]
    at_ms: Annotated[int, Meta(ge=0, le=2**53 - 1)]
    values: Annotated[dict[Annotated[str, Meta(max_length=64)], Annotated[float, Meta(ge=-1e6, le=1e6)]],
                      Meta(max_length=32)]  # fmt: skip


def read_session_metrics(data: object) -> SessionMetrics:
    """Return the payload of a DataTransfer. Raises CodecError."""
    try:
        return typed_json.convert(data, SessionMetrics)
    except msgspec.ValidationError as error:
        raise CodecError(f"{MESSAGE}: {error}") from None


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
