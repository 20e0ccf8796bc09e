"""A charger whose books cannot be kept, or whose session breaks down, does not go on as if nothing had happened."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pki_tools.tree import PkiTree
from secc.books import Books
from secc.outlet import Outlet
from tests.secc.test_bench_program import made
from v2g.errors import StoreError

BENCH = '[hardware]\nbackend = "bench"\n'


class SilentVehicle:
    """A TLS stream whose vehicle has connected and says nothing."""

    version, cipher, group = "TLSv1.3", "TLS_AES_256_GCM_SHA384", "secp521r1"
    peer_name = "WMIV2GENGINE0000001X"
    peer_leaf = b"vehicle"

    def __init__(self, outlet: Outlet) -> None:
        self.own = outlet.owner.chargers[0]
        self.closed = asyncio.Event()

    async def read(self, _n: int) -> bytes:
        await self.closed.wait()
        return b""

    async def write(self, _data: bytes) -> None:
        """Take it."""

    async def close(self) -> None:
        self.closed.set()


async def test_intervals_that_cannot_be_closed_end_the_session(
    tmp_path: Path, pki: PkiTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full_disk(_books: Books, _on_interval: Any) -> None:
        raise StoreError("no space left on device")

    monkeypatch.setattr(Books, "close_intervals", full_disk)
    async with made(tmp_path, pki, BENCH) as charger:
        seen: list[str] = []
        (outlet,) = charger.outlets
        outlet.observe = lambda event: seen.append(event.name)
        async with asyncio.timeout(5):
            await outlet.vehicle(SilentVehicle(outlet), lambda stream: stream)  # type: ignore[arg-type]
    assert "books_failed" in seen


async def test_a_second_vehicle_is_a_stranger_while_one_is_served(tmp_path: Path, pki: PkiTree) -> None:
    async with made(tmp_path, pki, BENCH) as charger:
        seen: list[Any] = []
        (outlet,) = charger.outlets
        outlet.observe = seen.append
        first = SilentVehicle(outlet)
        serving = asyncio.create_task(outlet.vehicle(first, lambda stream: stream))  # type: ignore[arg-type]
        while not outlet.busy:
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await outlet.vehicle(SilentVehicle(outlet), lambda stream: stream)  # type: ignore[arg-type]
        assert [event.data["reason"] for event in seen if event.name == "refused"] == ["occupied"]
        first.closed.set()
        await serving
