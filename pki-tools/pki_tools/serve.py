"""OCSP responder and CRL server as a program: HTTP around `responder` (RFC 6960 appendix A, RFC 5019).

`POST /<family>` and `GET /<family>/<base64>` are OCSP, `GET /<family>/<key>.crl` is a list; `GET /health` checks
that it runs.
"""

import base64
import binascii
import hashlib
import urllib.parse
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web
from cryptography import x509

from pki_tools import ocsp_wire
from pki_tools.authority import CRL_DAYS, find_responder, load_issuer, load_pem, sign_crl, status_of
from pki_tools.bounded_http import BoundedHttp, HttpBounds, Watch, serve_until_cancelled
from pki_tools.index import FILE, Index, IndexEntry, load_index
from pki_tools.layout import crl_path
from pki_tools.ocsp_wire import MAX_REQUEST_BYTES
from v2g.errors import KeyAccessError, RevocationError
from v2g.io.runtime.file_watch import FileWatch
from v2g.observe import Observe
from v2g.pki.issue import Issuer

# Answers OCSP requests and serves revocation lists, by an index (RFC 6960, RFC 5019). No socket, no clock.
#
# Answers without a nonce are signed once and cached for half their validity, as in RFC 5019. An answer to
# several questions is signed by the responder for the first certificate's issuer; for certificates of other issuers
# its status is unknown.

VALIDITY: Final = timedelta(hours=24)
"""Validity of an answer: the maximum delay until a revocation is known everywhere."""

MALFORMED: Final = ocsp_wire.write_refusal(1)
INTERNAL_ERROR: Final = ocsp_wire.write_refusal(2)
UNAUTHORIZED: Final = ocsp_wire.write_refusal(6)

_MAX_KEPT: Final = 20_000


class ResponderAnswer(msgspec.Struct, frozen=True):
    """DER for a client. `this_update` and `next_update` are None for an uncacheable answer, such as an error."""

    body: bytes
    outcome: str  # good, revoked, unknown (the worst of several), malformed, unauthorized, internal_error; or crl
    this_update: datetime | None = None
    next_update: datetime | None = None


class _Served(msgspec.Struct, frozen=True):
    """A served authority, and its certificates by serial number."""

    entry: IndexEntry
    responder: Issuer
    delegated: bool
    known: dict[int, IndexEntry]


class Responder:
    """Answers for all authorities of one index whose responder's or own key is in the tree."""

    def __init__(self, directory: Path, index: Index, *, at: datetime, validity: timedelta = VALIDITY) -> None:
        """Read certificates and keys. Raises ConfigError, KeyAccessError for a key that others may read."""
        self._directory = directory
        self._index = index
        self._validity = validity
        self._answers: dict[bytes, ResponderAnswer] = {}
        self._lists: dict[str, ResponderAnswer] = {}
        self._served: dict[tuple[str, bytes, bytes], _Served] = {}
        self._authorities: dict[str, IndexEntry] = {}
        self.silent: list[str] = []
        """Names of authorities without a usable key."""
        for entry in index.entries:
            if entry.is_authority and index.authority(entry.key) == entry:
                self._authorities[crl_path(entry.name, entry.key)] = entry
                try:
                    responder, delegated = find_responder(directory, index, entry.key, at=at)
                except KeyAccessError as error:
                    if "not in the tree" not in str(error):
                        raise
                    self.silent.append(entry.name)
                    continue
                known = {int(each.serial, 16): each for each in index.issued_by(entry.key)}
                served = _Served(entry, responder, delegated, known)
                for hashes in ocsp_wire.issuer_hashes(load_pem(directory / entry.file)):
                    self._served[hashes] = served

    def answer(self, request: bytes, *, at: datetime) -> ResponderAnswer:
        """Return the answer to a DER OCSPRequest, whatever the bytes. `at` is aware UTC."""
        try:
            asked = ocsp_wire.read_request(request)
        except RevocationError:
            return ResponderAnswer(MALFORMED, "malformed")
        first = self._find(asked.certificates[0])
        if first is None:
            return ResponderAnswer(UNAUTHORIZED, "unauthorized")
        at = at.replace(microsecond=0)
        key = b"".join(each.der for each in asked.certificates)
        cached = self._answers.get(key) if asked.nonce is None else None
        if cached is not None and cached.this_update is not None and at - cached.this_update < self._validity / 2:
            return cached
        statuses = [self._status(each, first, at) for each in asked.certificates]
        body = ocsp_wire.write_answer(statuses, first.responder, at=at, delegated=first.delegated, nonce=asked.nonce)
        if any(status.revoked_at is not None for status in statuses):
            outcome = "revoked"
        else:
            outcome = "good" if all(status.known for status in statuses) else "unknown"
        if asked.nonce is not None:
            return ResponderAnswer(body, outcome)
        answer = ResponderAnswer(body, outcome, at, at + self._validity)
        # Only answers about known certificates are cached: unknown ones are unlimited.
        if len(statuses) == 1 and statuses[0].known and len(self._answers) < _MAX_KEPT:
            self._answers[key] = answer
        return answer

    def _find(self, certificate: ocsp_wire.CertId) -> _Served | None:
        return self._served.get((certificate.algorithm or "", certificate.name_hash, certificate.key_hash))

    def _status(self, certificate: ocsp_wire.CertId, first: _Served, at: datetime) -> ocsp_wire.SerialStatus:
        entry = first.known.get(certificate.serial) if self._find(certificate) is first else None
        return status_of(entry, certificate, at=at, validity=self._validity)

    def crl(self, path: str, *, at: datetime) -> ResponderAnswer | None:
        """Return the list at the path of a distribution point, such as `cpo/3f2a9b1c.crl`; None without one.

        A list whose authority's key is in the tree is renewed at half its validity; otherwise the file in the tree is
        served.
        """
        entry = self._authorities.get(path)
        if entry is None:
            return None
        at = at.replace(microsecond=0)
        cached = self._lists.get(path)
        if (
            cached is None
            or cached.this_update is None
            or cached.next_update is None
            or at >= cached.this_update + (cached.next_update - cached.this_update) / 2
        ):
            cached = self._new_list(entry, at)
            if cached is not None:
                self._lists[path] = cached
        return cached

    def _new_list(self, entry: IndexEntry, at: datetime) -> ResponderAnswer | None:
        try:
            body = sign_crl(self._index, entry, load_issuer(self._directory, entry), at=at)
        except KeyAccessError:
            file = (self._directory / entry.file).with_suffix(".crl")
            try:
                body = file.read_bytes()
            except OSError:
                return None
        try:
            crl = x509.load_der_x509_crl(body)
        except ValueError:
            return None
        return ResponderAnswer(body, "crl", crl.last_update_utc, crl.next_update_utc or at + timedelta(days=CRL_DAYS))


OCSP_RESPONSE: Final = "application/ocsp-response"
CRL: Final = "application/pkix-crl"


def utc_now() -> datetime:
    """Return the present time, aware."""
    return datetime.now(UTC)


BOUNDS: Final = HttpBounds(most_bytes=MAX_REQUEST_BYTES, patience_s=10.0, most_connections=512)


def _internal_error() -> web.Response:
    return web.Response(body=INTERNAL_ERROR, content_type=OCSP_RESPONSE)


class Server:
    """Serves one tree from `start` to `close`, including later revocations."""

    def __init__(
        self, directory: Path, *, observe: Watch, now: Callable[[], datetime] = utc_now, bounds: HttpBounds = BOUNDS
    ) -> None:
        self._directory = directory
        self._observe = observe
        self._now = now
        self._index_file = FileWatch((directory / FILE,))
        self._responder: Responder | None = None
        routes = [
            web.get("/health", self._health),
            web.get("/{path:.+}", self._get),
            web.post("/{path:.*}", self._post),
        ]
        self._http = BoundedHttp(routes, bounds, observe=observe, failed=_internal_error)

    async def start(self, host: str, port: int) -> int:
        """Read the tree and listen; return the port. Raises ConfigError, KeyAccessError, TransportError."""
        self._current()
        return await self._http.start(host, port)

    async def close(self) -> None:
        """Stop listening, finish pending answers (2 s at most)."""
        await self._http.close()

    async def _health(self, _request: web.Request) -> web.Response:
        self._current()
        return web.json_response({"status": "ok"})

    async def _post(self, request: web.Request) -> web.Response:
        body = await request.read()
        return self._answered(self._current().answer(body, at=self._now()), request)

    async def _get(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        if path.endswith(".crl"):
            found = self._current().crl(path, at=self._now())
            if found is None:
                raise web.HTTPNotFound
            return self._reply(found, request, CRL)
        encoded = urllib.parse.unquote(request.raw_path.partition("?")[0]).removeprefix("/")
        # Base64 contains slashes, and the family before it is optional: a request begins with a SEQUENCE.
        family, _, rest = encoded.partition("/")
        text = rest if rest and not family.startswith("M") else encoded
        try:
            der = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            return self._answered(ResponderAnswer(MALFORMED, "malformed"), request)
        return self._answered(self._current().answer(der, at=self._now()), request)

    def _answered(self, answer: ResponderAnswer, request: web.Request) -> web.Response:
        self._observe(Observe("pki", "answered", {"outcome": answer.outcome, "peer": request.remote}))
        return self._reply(answer, request, OCSP_RESPONSE)

    def _reply(self, answer: ResponderAnswer, request: web.Request, content_type: str) -> web.Response:
        """Return an answer with caching headers (RFC 5019 6.2)."""
        if answer.this_update is None or answer.next_update is None:
            headers = {"Cache-Control": "no-store"}
            return web.Response(body=answer.body, content_type=content_type, headers=headers)
        tag = hashlib.sha256(answer.body).hexdigest()
        left = max(0, int((answer.next_update - self._now()).total_seconds()))
        headers = {
            "Last-Modified": format_datetime(answer.this_update, usegmt=True),
            "Expires": format_datetime(answer.next_update, usegmt=True),
            "ETag": f'"{tag}"',
            "Cache-Control": f"max-age={left},public,no-transform,must-revalidate",
        }
        if request.method == "GET" and tag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        return web.Response(body=answer.body, content_type=content_type, headers=headers)

    def _current(self) -> Responder:
        """Return a responder with the present index; one `stat` detects changes."""
        if self._index_file.changed() or self._responder is None:
            self._responder = None  # an index that cannot be read now is tried again, the former one is over
            index = load_index(self._directory)
            self._responder = Responder(self._directory, index, at=self._now(), validity=VALIDITY)
            revoked = sum(entry.revoked_at is not None for entry in index.entries)
            silent = ",".join(self._responder.silent)
            self._observe(
                Observe("pki", "loaded", {"certificates": len(index.entries), "revoked": revoked, "silent": silent})
            )
        return self._responder


async def serve(directory: Path, host: str, port: int, *, observe: Watch) -> int:
    """Serve a tree until cancelled; return 0."""
    server = Server(directory, observe=observe)
    return await serve_until_cancelled(server.start(host, port), server.close, host, observe=observe)
