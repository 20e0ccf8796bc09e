"""Stores that keep telemetry plain, and stores that seal it: whatever a test finds of its values holds for both."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from csms.db.store import Store
from csms.db.store_key import load_store_key
from csms.telemetry.seal import TelemetrySeal, open_seal

__all__ = ["store"]


def sealing(store: Store, folder: Path, *, now_ms: int = 0, key_days: int = 30, wanted: bool = True) -> TelemetrySeal:
    """Let a store seal telemetry under the store key in a folder, made when missing."""
    key = load_store_key(None, folder)
    return asyncio.run(open_seal(store, key, now_ms, key_days, sealing=wanted))


@pytest.fixture(params=["plain", "sealed"])
def store(store_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    """A store on an empty database of either kind."""
    with contextlib.closing(Store(store_url)) as found:
        if request.param == "sealed":
            sealing(found, tmp_path)
        yield found
