"""Rate limit of SDP requests: answers every conforming vehicle, and little of a flood. Pure."""

from typing import Final

import msgspec

from v2g.rates import Buckets

SOURCES: Final = 256
"""Limit of tracked senders; the one idle for longest is dropped for a new one."""


class SdpLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sustained requests per second, and burst. A vehicle sends 4 a second, 50 at most."""

    source_rate: float = 8.0
    source_burst: float = 16.0
    total_rate: float = 100.0
    total_burst: float = 200.0


class SdpLimiter:
    """Decides for each request whether it is answered, with bounded memory."""

    def __init__(self, limits: SdpLimits | None = None) -> None:
        limits = limits or SdpLimits()
        self._sources = Buckets(per_s=limits.source_rate, burst=limits.source_burst, most=SOURCES)
        self._total = Buckets(per_s=limits.total_rate, burst=limits.total_burst)

    def __len__(self) -> int:
        return len(self._sources)

    def allow(self, source: str, now: float) -> bool:
        """Return whether a request of `source` (an address without port) at `now` (s, monotonic) is answered."""
        # A sender beyond its own limit is rejected before it uses the common one.
        return not self._sources.take(source, now) and not self._total.take("", now)
