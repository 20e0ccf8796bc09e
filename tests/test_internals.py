"""What we use of libraries below their public interface: a newer version that moves it says so here, and not in the
field. The ceilings of these libraries in pyproject.toml rise once these tests pass with them.
"""

import asyncio
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from unittest.mock import Mock

import pytest
from packaging.requirements import Requirement

INSIDE = ("pyOpenSSL", "uvicorn", "websockets")
SYMBOLS = (
    "BIO_read", "SSL_CTX_set1_curves_list", "SSL_CTX_set1_sigalgs_list", "SSL_CTX_set_cert_cb",
    "SSL_CTX_set_msg_callback", "SSL_CTX_set_verify", "SSL_get_error", "SSL_read", "SSL_write",
    "X509_STORE_CTX_get_error_depth", "X509_STORE_CTX_set_error",
)  # fmt: skip


def requirements() -> Iterator[Requirement]:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    yield from map(Requirement, (*project["dependencies"], *project["optional-dependencies"]["csms"]))


@pytest.mark.parametrize("name", INSIDE)
def test_who_depends_on_internals_has_a_ceiling_and_is_below_it(name: str) -> None:
    (found,) = [each for each in requirements() if each.name == name]
    assert any(each.operator == "<" for each in found.specifier)
    assert found.specifier.contains(version(name))


def test_openssl_is_reached_below_pyopenssl() -> None:
    from OpenSSL._util import ffi, lib

    assert [name for name in SYMBOLS if not callable(getattr(lib, name, None))] == []
    assert ffi.NULL is not None


def test_http_connections_of_uvicorn_are_where_we_meet_them() -> None:
    from uvicorn.protocols.http.h11_impl import H11Protocol

    for name in ("connection_made", "connection_lost", "data_received"):
        assert callable(getattr(H11Protocol, name))


async def test_queues_and_parser_of_websockets_are_where_we_meet_them() -> None:
    from websockets.asyncio.server import ServerConnection
    from websockets.server import ServerProtocol

    async def nobody_answers(_: ServerConnection) -> None:
        """The conversation."""

    connection = ServerConnection(ServerProtocol(), Mock(handler=nobody_answers))
    connection.connection_made(Mock(spec=asyncio.Transport))
    assert len(connection.recv_messages.frames.queue) == 0
    assert connection.paused is False
    assert connection.protocol.reader.buffer == b""
    assert connection.protocol.current_size is None
