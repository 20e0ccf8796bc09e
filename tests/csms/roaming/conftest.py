"""Two operators."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from pki_tools.tree import PkiTree
from tests.csms.roaming.peers import Operator, no_system_roots, operator

__all__ = ["no_system_roots"]


@pytest_asyncio.fixture
async def cpo(tmp_path: Path, pki: PkiTree, empty_database: Path) -> AsyncIterator[Operator]:
    """The operator DE*CPO, 55 minutes ago: certificates of tests are an hour old."""
    begin_ms = int(time.time() * 1000) - 55 * 60_000
    async with operator(tmp_path, pki, empty_database, "CPO", hand_ms=begin_ms) as found:
        yield found


@pytest_asyncio.fixture
async def emsp(tmp_path: Path, pki: PkiTree, empty_database: Path) -> AsyncIterator[Operator]:
    """The provider DE*MSP."""
    async with operator(tmp_path, pki, empty_database, "MSP", stations=()) as found:
        yield found
