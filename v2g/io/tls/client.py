"""TLS of ISO 15118 as asyncio streams: verified certificates, and a name for every failure.

Neither side resumes: no session is stored, no pre-shared key and no early data are accepted.
"""

import asyncio

from cryptography import x509

from v2g.errors import RevocationError, TlsError
from v2g.io.network.plain_tcp import dial
from v2g.io.tls.endpoint import Endpoint, TlsChannel, open_channel, record_channel
from v2g.io.tls.revocation import ask, question
from v2g.io.tls.stream import HANDSHAKE_SECONDS, TlsStream, close_gracefully, handshake
from v2g.pki.ocsp import check_ocsp, responder_url
from v2g.pki.revocation import ABSENT, Fail

# -- A vehicle's queries to OCSP responders for answers that a charger did not staple (V2G20-2411). It asks after the
# handshake and before the first message: a TLS library cannot wait in between. So a charger whose certificate is
# revoked sees the connection end without a message, not an alert.


async def ask_responders(stream: TlsStream, endpoint: Endpoint) -> None:
    """Ask about the certificates of the peer's chain without an answer, and store the answers in `stream`.

    Certificates without responder are skipped, except the leaf. Raises TlsError(ocsp_...) by the policy of
    `endpoint`; the caller closes the connection.
    """
    assert stream.peer is not None  # a server always shows its chain
    path = (*stream.peer.certificates, stream.peer.anchor)

    async def answer(place: int) -> bytes:
        certificate, issuer = path[place], path[place + 1]
        url = responder_url(certificate)
        if stream.ocsp_responses[place] or (place and not url):
            return stream.ocsp_responses[place]
        try:
            if not url:
                raise RevocationError("no OCSP answer, and the certificate names no responder", reason="missing")
            return await _ask(url, certificate, issuer)
        except RevocationError as error:
            if endpoint.profile.revocation is Fail.HARD or error.reason not in ABSENT:
                raise TlsError(str(error), reason=f"ocsp_{error.reason}", hint=error.hint) from None
            stream.unproven = stream.unproven or error.reason
            return b""

    async def _ask(url: str, certificate: x509.Certificate, issuer: x509.Certificate) -> bytes:
        response = await ask(url, question(certificate, issuer))
        check_ocsp(response, certificate, issuer, endpoint.now())
        return response

    stream.unproven = ""
    found = await asyncio.gather(*(answer(place) for place in range(len(path) - 1)), return_exceptions=True)
    for each in found:
        if isinstance(each, BaseException):
            raise each
    stream.ocsp_responses = tuple(each for each in found if isinstance(each, bytes))


async def connect(host: str, port: int, endpoint: Endpoint, *, timeout: float = HANDSHAKE_SECONDS) -> TlsStream:
    """Connect to a TLS server that `endpoint` trusts, with one of its chains.

    `timeout` is in seconds and covers connecting and handshake. Raises TransportError without a TCP
    connection, TlsError with its reason when the handshake fails, and as `open_channel`. Asking
    responders (`endpoint.ask_responder`) takes at most RESPONDER_SECONDS more.
    """
    assert not endpoint.server
    channel = open_channel(endpoint)
    until = asyncio.get_running_loop().time() + timeout
    reader, writer = await dial(host, port, timeout)
    try:
        recorded = record_channel(endpoint, channel, writer)

        async def opener(_first: bytes) -> TlsChannel:
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
