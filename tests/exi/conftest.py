"""The official schemas, and a codec to compare with."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.exi import official, peer


@pytest.fixture(scope="session")
def schema_folder() -> Path:
    """Folder with the official schema files; without a package index there is nothing to compare with."""
    try:
        return official.schema_folder()
    except official.Unreachable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def peer_codec(schema_folder: Path, request: pytest.FixtureRequest) -> Iterator[peer.PeerCodec]:
    """An independent EXI processor; `make interop` gets its Java if need be."""
    if reason := peer.missing(install="interop" in request.config.option.markexpr):
        pytest.skip(reason)
    try:
        codec = peer.PeerCodec(schema_folder)
    except official.Unreachable as error:
        pytest.skip(str(error))
    with codec:
        yield codec
