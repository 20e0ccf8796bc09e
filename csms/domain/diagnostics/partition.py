"""Which of several workers handles a vehicle: rendezvous hashing (Thaler and Ravishankar, 1998).

Each worker has a score for each vehicle, the highest wins. So all agree without a table, and when a worker goes only
its own vehicles move, evenly to the others: a share of 1/n on average. A share differs from that by a few times
sqrt((n - 1) / vehicles), relative to the share.
"""

from collections.abc import Collection
from hashlib import blake2b


def owner(ev: str, workers: Collection[str]) -> str:
    """Return the worker that handles a vehicle. `workers` are names, at least one."""
    return max(workers, key=lambda worker: _score(worker, ev))


def _score(worker: str, ev: str) -> bytes:
    return blake2b(ev.encode(), digest_size=8, key=worker.encode()[:64]).digest()
