"""What the client of load tests says of connections that end."""

import ssl

import pytest

from v2g.errors import TransportError
from v2g_testkit.ocpp.minimal_client import MinimalClient


async def test_a_client_says_why_tls_ended() -> None:
    client = MinimalClient(b"", lambda _: None)
    client.connection_lost(ssl.SSLError(1, "tlsv13 alert certificate required"))
    with pytest.raises(TransportError, match="certificate required"):
        await client.opened
    assert "certificate required" in await client.gone
