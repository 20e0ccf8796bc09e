"""A back end in memory, to which scripted stations are joined."""

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from csms.config import StationAuthority, StationEntry
from pki_tools.tree import PkiTree
from tests.csms.backend import Backend, daytime_ms, running_backend
from tests.csms.support import make_config
from v2g.pki import password_hash as passwords
from v2g.pki.reference import KeyReference

Start = Callable[..., contextlib.AbstractAsyncContextManager[Backend]]


@pytest.fixture
def backend(tmp_path: Path, pki: PkiTree, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Start a back end of a test's own; keyword arguments go to `make_config`. Its passwords are hashed cheaply."""
    monkeypatch.setattr(passwords, "_COST", 16)

    def begin(*, signs: bool = False, **changes: Any) -> contextlib.AbstractAsyncContextManager[Backend]:
        """`signs`: it has an authority for stations' certificates, and OpenSSL's time, the machine's."""
        begin_ms = time.time_ns() // 1_000_000 if signs else daytime_ms()
        if signs:
            key = KeyReference.from_text(str(pki.path("csms/root.key")), folder=tmp_path)
            changes["station_ca"] = StationAuthority(chain=pki.path("csms/root.pem"), key=key, organization="Operator")
        changes.setdefault("stations", (StationEntry(id="CS-V2G-0001"), StationEntry(id="CS-V2G-0002")))
        config = make_config(tmp_path, pki, **changes)
        return running_backend(config, empty_database, begin_ms)

    return begin


@pytest_asyncio.fixture
async def csms(backend: Start) -> AsyncIterator[Backend]:
    """A back end with the ordinary configuration."""
    async with backend() as running:
        yield running
