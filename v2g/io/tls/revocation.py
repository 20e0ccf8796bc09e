"""A vehicle's queries to OCSP responders for answers that a charger did not staple (V2G20-2411).

It asks after the handshake and before the first message: a TLS library cannot wait in between. So a charger whose
certificate is revoked sees the connection end without a message, not an alert.
"""

import asyncio

from cryptography import x509

from v2g.errors import RevocationError, TlsError
from v2g.io.tls.endpoint import Endpoint
from v2g.io.tls.ocsp import Ask, ask, question
from v2g.io.tls.stream import TlsStream
from v2g.pki.ocsp import check_ocsp, responder_url
from v2g.pki.revocation import ABSENT, Fail


async def ask_responders(stream: TlsStream, endpoint: Endpoint, *, ask: Ask = ask) -> None:
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
