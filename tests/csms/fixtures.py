"""A back end in memory, to which scripted stations are joined."""

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from csms.config import StationAuthority, StationEntry
from csms.domain.security import passwords
from pki_tools.tree import PkiTree
from tests.csms.backend import Backend, running_backend
from tests.csms.support import make_config
from v2g.pki.reference import KeyReference

Start = Callable[..., contextlib.AbstractAsyncContextManager[Backend]]


@pytest.fixture
def memory_dir(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: a test of answers does not wait for a disk."""
    if not Path("/dev/shm").is_dir():
        yield tmp_path
        return
    path = Path(tempfile.mkdtemp(prefix="v2g-test-", dir="/dev/shm"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def backend(memory_dir: Path, pki: PkiTree, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Start a back end of a test's own; keyword arguments go to `make_config`. Its passwords are hashed cheaply."""
    monkeypatch.setattr(passwords, "_COST", 16)

    def begin(*, signs: bool = False, **changes: Any) -> contextlib.AbstractAsyncContextManager[Backend]:
        """`signs`: it has an authority for stations' certificates."""
        if signs:
            key = KeyReference.from_text(str(pki.path("csms/root.key")), folder=memory_dir)
            changes["station_ca"] = StationAuthority(chain=pki.path("csms/root.pem"), key=key, organization="Operator")
        changes.setdefault("stations", (StationEntry(id="CS-V2G-0001"), StationEntry(id="CS-V2G-0002")))
        config = make_config(memory_dir, pki, **changes)
        return running_backend(config, empty_database, int(datetime.now(UTC).timestamp() * 1000))

    return begin


@pytest_asyncio.fixture
async def csms(backend: Start) -> AsyncIterator[Backend]:
    """A back end with the ordinary configuration."""
    async with backend() as running:
        yield running
