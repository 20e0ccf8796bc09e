"""Rate limit of SDP requests: answers every conforming vehicle, and little of a flood. Pure."""

from collections import OrderedDict
from typing import Final

import msgspec

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
        self._limits = limits or SdpLimits()
        self._sources: OrderedDict[str, _Bucket] = OrderedDict()
        self._total = _Bucket(self._limits.total_burst)

    def __len__(self) -> int:
        return len(self._sources)

    def allow(self, source: str, now: float) -> bool:
        """Return whether a request of `source` (an address without port) at `now` (s, monotonic) is answered."""
        limits = self._limits
        bucket = self._sources.pop(source, None) or _Bucket(limits.source_burst)
        self._sources[source] = bucket  # the newest is last
        if len(self._sources) > SOURCES:
            self._sources.popitem(last=False)
        # A sender beyond its own limit is rejected before it uses the common one.
        return bucket.take(now, limits.source_rate, limits.source_burst) and self._total.take(
            now, limits.total_rate, limits.total_burst
        )


class _Bucket:
    __slots__ = ("_at", "_tokens")

    def __init__(self, tokens: float) -> None:
        self._tokens = tokens
        self._at: float | None = None

    def take(self, now: float, rate: float, burst: float) -> bool:
        if self._at is not None:
            self._tokens = min(burst, self._tokens + max(0.0, now - self._at) * rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
