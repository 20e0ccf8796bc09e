"""What several tests of contracts use."""

import contextlib
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import pairwise

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from pki_tools.tree import PkiTree
from v2g.ocpp.messages.base import OCSPRequestData
from v2g.pki.issue import Issuer
from v2g.pki.keys import load_private_key
from v2g.pki.ocsp import make_response, ocsp_request_data


def hash_data(pki: PkiTree, leaf_only: bool = False) -> tuple[OCSPRequestData, ...]:
    """Return what a station says about the contract chain instead of sending it."""
    chain = [x509.load_der_x509_certificate(der) for der in (*pki.chain("contract"), *pki.anchors("mo"))]
    pairs = list(pairwise(chain))[: 1 if leaf_only else None]
    return tuple(
        OCSPRequestData(
            hash_algorithm=data.hash_algorithm,
            issuer_name_hash=data.issuer_name_hash,
            issuer_key_hash=data.issuer_key_hash,
            serial_number=data.serial_number,
            responder_url=data.responder_url,
        )  # type: ignore[call-arg]
        for data in (ocsp_request_data(certificate, issuer) for certificate, issuer in pairs)
    )


class Responder:
    """An OCSP responder that knows one leaf."""

    def __init__(self, pki: PkiTree) -> None:
        self._pki = pki
        self.revoked = False
        self.broken = self.busy = False
        self.open_ended = False  # answers have no nextUpdate
        self.asked = 0
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        """Answer about the contract leaf; of the CAs it knows nothing."""
        self.asked += 1
        if self.busy:
            return web.Response(body=bytes.fromhex("30030a0103"))  # tryLater
        question = ocsp.load_der_ocsp_request(await request.read())
        chain = [x509.load_der_x509_certificate(der) for der in self._pki.chain("contract")]
        if self.broken or question.serial_number != chain[0].serial_number:
            return web.Response(body=b"?")
        signer = x509.load_pem_x509_certificate(self._pki.path("mo/ocsp.pem").read_bytes())
        now, key = datetime.now(UTC), load_private_key(self._pki.path("mo/ocsp.key"))
        revoked_at = now if self.revoked else None
        if self.open_ended:
            status = ocsp.OCSPCertStatus.REVOKED if self.revoked else ocsp.OCSPCertStatus.GOOD
            builder = ocsp.OCSPResponseBuilder(certs=[signer]).add_response(
                chain[0], chain[1], hashes.SHA256(), status, now, None, revoked_at, None
            )
            builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer)
            body = builder.sign(key, hashes.SHA512()).public_bytes(serialization.Encoding.DER)
        else:
            body = make_response(chain[0], chain[1], Issuer(signer, key), at=now, revoked_at=revoked_at)
        return web.Response(body=body, content_type="application/ocsp-response")


@contextlib.asynccontextmanager
async def responder(pki: PkiTree, place: socket.socket | None = None, path: str = "/") -> AsyncIterator[Responder]:
    """Run a responder, at a port of its own or on a socket."""
    found = Responder(pki)
    application = web.Application()
    application.router.add_post(path, found.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await (web.TCPSite(runner, "127.0.0.1", 0) if place is None else web.SockSite(runner, place)).start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        yield found
    finally:
        await runner.cleanup()
