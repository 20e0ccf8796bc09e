"""The independent peer, once per test run, and a cable for each test."""

import os
from collections.abc import Iterator
from itertools import count

import pytest

from tests.interop import cable as cables
from tests.interop import peer as peers

_tags = count()


@pytest.fixture(scope="session")
def peer(tmp_path_factory: pytest.TempPathFactory) -> peers.Peer:
    """The peer, with certificates of its own."""
    reason = peers.missing()
    if reason:
        pytest.skip(reason)
    return peers.make_peer(tmp_path_factory.mktemp("peer"))


@pytest.fixture
def cable() -> Iterator[cables.Cable]:
    """Two namespaces and the cable between them."""
    reason = cables.missing()
    if reason:
        pytest.skip(reason)
    with cables.cable(f"{os.getpid()}-{next(_tags)}") as names:
        yield names
