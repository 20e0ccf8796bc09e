"""Rate limits: a token bucket for each caller, and how long a server asks to wait. Pure."""

from collections import OrderedDict
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Final

import msgspec

MAX_CALLERS: Final = 10_000
"""Stored buckets; an idle caller starts with a full one anyway."""


class Bucket(msgspec.Struct, frozen=True):
    """How many requests a caller may still send at once (`level`), as of `at` (s, monotonic)."""

    level: float
    at: float


def take(bucket: Bucket | None, now: float, *, per_s: float, burst: float) -> tuple[Bucket, float]:
    """Return the bucket after one request, and the time to wait (s) when it exceeded the rate; else 0.

    `now` is monotonic time in s; `per_s` requests a second fill a bucket of `burst`.
    """
    level = burst if bucket is None else min(burst, bucket.level + max(0.0, now - bucket.at) * per_s)
    at = now if bucket is None else max(now, bucket.at)  # no time counts twice, whatever the order of calls
    if level < 1:
        return Bucket(level, at), (1 - level) / per_s
    return Bucket(level - 1, at), 0.0


def spend(bucket: Bucket | None, now: float, *, per_s: float, burst: float) -> Bucket:
    """Return the bucket after what happens at any rate, such as at regular times, which also counts: one of it may be
    owed."""
    refilled, wait_s = take(bucket, now, per_s=per_s, burst=burst)
    return refilled if not wait_s else Bucket(max(-1.0, refilled.level - 1), refilled.at)


def retry_after(text: str, now: datetime) -> float | None:
    """Return how long Retry-After asks to wait, s, as long as it may be; it is seconds, or a date in one of the three
    forms (RFC 9110 10.2.3, 5.6.7), 0 for one that has passed. None for others."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds())


@lru_cache(MAX_CALLERS)
def caller_at(address: str) -> str:
    """Return who is limited for a peer's address: an IPv4 address, also one mapped into IPv6, or a /64 of IPv6, which a
    single customer has whole. Of a link-local address the address: all on the link share that network."""
    try:
        found = ip_address(address)
    except ValueError:  # no address: a socket of this machine, or a peer that is gone
        return address
    if not isinstance(found, IPv6Address) or found.is_link_local:
        return address
    return str(found.ipv4_mapped or IPv6Network((found.packed[:8] + bytes(8), 64)))


class Buckets:
    """The buckets of all callers, by any key; of more than `most` the one idle for longest is dropped."""

    def __init__(self, *, per_s: float, burst: float, most: int = MAX_CALLERS) -> None:
        self._per_s = per_s
        self._burst = burst
        self._most = most
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_s(self, caller: str, now: float) -> float:
        """Return how long a request would have to wait (s), without counting one."""
        return take(self._buckets.get(caller), now, per_s=self._per_s, burst=self._burst)[1]

    def take(self, caller: str, now: float) -> float:
        """Count a request; return the time to wait (s) when it exceeds the rate, else 0."""
        bucket, wait_s = take(self._buckets.get(caller), now, per_s=self._per_s, burst=self._burst)
        self._buckets[caller] = bucket
        self._buckets.move_to_end(caller)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return wait_s

    def give(self, caller: str) -> None:
        """Give back one request that was counted."""
        if bucket := self._buckets.get(caller):
            self._buckets[caller] = Bucket(min(self._burst, bucket.level + 1), bucket.at)
