"""TLS of ISO 15118 as asyncio streams: verified certificates, and a name for every failure.

Neither side resumes: no session is stored, no pre-shared key and no early data are accepted.
"""

import asyncio

from v2g.errors import TlsError, TransportError
from v2g.io.tls.endpoint import Channel, Endpoint, open_channel, record_channel
from v2g.io.tls.revocation import ask_responders
from v2g.io.tls.stream import HANDSHAKE_SECONDS, TlsStream, close_gracefully, handshake


async def connect(host: str, port: int, endpoint: Endpoint, *, timeout: float = HANDSHAKE_SECONDS) -> TlsStream:
    """Connect to a TLS server that `endpoint` trusts, with one of its chains.

    `timeout` is in seconds and covers connecting and handshake. Raises TransportError without a TCP
    connection, TlsError with its reason when the handshake fails, and as `open_channel`. Asking
    responders (`endpoint.ask_responder`) takes at most RESPONDER_SECONDS more.
    """
    assert not endpoint.server
    channel = open_channel(endpoint)
    until = asyncio.get_running_loop().time() + timeout
    try:
        async with asyncio.timeout_at(until):
            reader, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        raise TransportError(f"cannot reach {host} port {port} in {timeout:g} s") from None
    except OSError as error:
        raise TransportError(f"cannot reach {host} port {port}: {error.strerror or error}") from None
    try:
        recorded = record_channel(endpoint, channel, writer)

        async def opener(_first: bytes) -> Channel:
            return recorded

        stream = await handshake(opener, reader, writer, until=until)
    except TlsError:
        await close_gracefully(reader, writer)
        raise
    except BaseException:
        writer.transport.abort()
        raise
    if endpoint.ask_responder:
        try:
            await ask_responders(stream, endpoint)
        except TlsError:
            await stream.close()
            raise
    return stream
