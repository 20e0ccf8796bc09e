"""The independent peer, once per test run."""

import os
from collections.abc import Iterator
from itertools import count

import pytest

from tests.interop import peer as peers

_tags = count()


@pytest.fixture(scope="session")
def peer(tmp_path_factory: pytest.TempPathFactory) -> peers.Peer:
    reason = peers.missing()
    if reason:
        pytest.skip(reason)
    return peers.make_peer(tmp_path_factory.mktemp("peer"))


@pytest.fixture
def cable(peer: peers.Peer) -> Iterator[peers.Cable]:
    with peers.cable(f"{os.getpid()}-{next(_tags)}") as names:
        yield names
