"""How long a request may wait for its answer, and the timers that ISO 15118-2 and DIN 70121 share."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final

import msgspec

Timer = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
TimerScale = Annotated[float, msgspec.Meta(ge=0.1, le=1000)]


class MessageTiming(msgspec.Struct, frozen=True):
    """One row of an edition's table, s: `timeout` until the vehicle gives up waiting, `performance` by which the
    charger answers."""

    timeout: float
    performance: float


SLOW_IN_THE_FIELD: Final[Mapping[str, float]] = {
    "ChargeParameterDiscoveryReq": 6.0,
    "PowerDeliveryReq": 6.0,
    "CurrentDemandReq": 5.0,
}
"""Request -> how long, s, a vehicle waits that tolerates old chargers (`v2g.iso15118.engine.quirks`)."""

SLOW_PRE_CHARGE_S: Final = 20.0
"""How long, s, such a vehicle waits in PreCharge for an output that still moves; a recorded one waited 12 s."""


class SharedTiming(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The timers that ISO 15118-2 and DIN 70121 share, s; the defaults are theirs. An edition adds `messages`."""

    messages: ClassVar[Mapping[str, MessageTiming]]

    secc_communication_setup: Timer = 18.0
    """Charger: from the data link to a connection, and from there to SessionSetupRes; then TCP is closed, the network
    is left, and the vehicle may start over (V2G2-714, -716, -723)."""
    evcc_communication_setup: Timer = 20.0
    """Vehicle: from the matched data link to SessionSetupRes."""
    secc_sequence: Timer = 60.0
    """Charger: maximum time to the vehicle's next request after a response (V2G2-443, -536, -537, V2G-DC-432)."""
    secc_loop_silence: Timer = 2.0
    """Charger: without another CurrentDemandReq no current flows after this; policy, far above the vehicle's 0.25 s."""
    evcc_sequence_performance: Timer = 40.0
    """Vehicle: maximum time to its next request; a late one is logged, not disconnected."""
    evcc_ongoing: Timer = 60.0
    """Vehicle: maximum duration of a series of Ongoing answers (authorisation, ChargeParameterDiscovery)."""
    secc_ongoing_performance: Timer = 55.0
    """Charger: Finished or FAILED by then, also where it waits for a contract's authorisation. Only ISO 15118-2 has
    a value to wait longer, for the customer."""
    evcc_cable_check: Timer = 40.0
    """Vehicle: maximum duration of CableCheck; then CP state B at once."""
    secc_cable_check: Timer = 38.0
    """Charger: a longer cable check has failed, before the vehicle's time-out: policy."""
    evcc_pre_charge: Timer = 7.0
    """Vehicle: maximum duration of PreCharge (V2G-DC-380)."""
    secc_pre_charge: Timer = 90.0
    """Charger: from the first PreChargeReq to the loop: policy, so that voltage does not wait for ever."""
    secc_cp_state: Timer = 1.5
    """Charger: wait for the control pilot's state C or D before CableCheck (V2G-DC-547), B before WeldingDetection
    (V2G-DC-556)."""
    close: Timer = 5.0
    """Charger: maximum time from a fault between two requests to the end of TCP."""
    secc_linger: Timer = 2.0
    """Charger: after SessionStopRes, or FAILED, the vehicle may close first: some are upset by the contrary."""
    message_scale: TimerScale = 1.0
    """Vehicle: factor on every message timeout, for peers known to be slow; 1 is the standard."""
    tolerate_slow_chargers: bool = True
    """Vehicle: waits longer for some answers (`SLOW_IN_THE_FIELD`), and for the voltage of a pre-charge that moves
    (`SLOW_PRE_CHARGE_S`); off is the standard."""

    def message_timeout(self, request: str) -> float:
        """Return the vehicle's time-out, s, for the answer to the named request."""
        timeout = self.messages[request].timeout * self.message_scale
        return max(timeout, SLOW_IN_THE_FIELD.get(request, 0.0)) if self.tolerate_slow_chargers else timeout


_ROUNDING_S: Final = 0.001
"""Added to the way to a moment of UTC, which has then come when the timer expires."""

_SET_MS: Final = 500
"""By how much UTC has to differ from what it was on the monotonic clock for it to have been set, real ms."""


class SessionTime:
    """What the clocks say at this step: `now` (s, any monotonic clock) and `utc_ms` (ms since 1970, perhaps simulated).

    `scale` is how many seconds of UTC pass in one of the monotonic clock. A timer that is armed again starts again.
    """

    __slots__ = ("_moments", "now", "scale", "set_ms", "timers", "utc_ms")

    def __init__(self, *, scale: float = 1.0) -> None:
        self.now = 0.0
        self.utc_ms = 0
        self.set_ms = 0
        """By how much UTC was set since the first step, forward or (negative) back."""
        self.scale = scale
        self.timers: dict[str, float] = {}
        """When each of them expires, by name."""
        self._moments: dict[str, int] = {}

    def at(self, now: float, utc_ms: int) -> None:
        """Take what the clocks say. Where UTC was set forward, timers for a moment of it expire earlier."""
        ahead_ms = utc_ms - self.utc_ms - round((now - self.now) * 1000 * self.scale) if self.utc_ms else 0
        self.now, self.utc_ms = now, utc_ms
        if abs(ahead_ms) > _SET_MS * self.scale:
            self.set_ms += ahead_ms
            for name in self._moments.keys() & self.timers.keys():
                self.timers[name] = min(self.timers[name], now + self.until(self._moments[name]))

    def arm(self, name: str, seconds: float) -> None:
        """(Re)start a timer."""
        self.timers[name] = self.now + seconds
        self._moments.pop(name, None)

    def until(self, at_ms: int) -> float:
        """Return how long it is to a moment of UTC, s of the monotonic clock."""
        return max(0, at_ms - self.utc_ms) / 1000 / self.scale + _ROUNDING_S

    def arm_utc(self, name: str, at_ms: int | None) -> None:
        """(Re)start a timer for a moment of UTC; None stops it."""
        if at_ms is None:
            self.disarm(name)
        else:
            self.arm(name, self.until(at_ms))
            self._moments[name] = at_ms

    def disarm(self, name: str) -> None:
        """Stop a timer; harmless where it does not run."""
        self.timers.pop(name, None)
