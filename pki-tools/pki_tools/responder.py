"""Answers OCSP requests and serves revocation lists, by an index (RFC 6960, RFC 5019). No socket, no clock.

Answers without a nonce are signed once and cached for half their validity, as in RFC 5019. An answer to
several questions is signed by the responder for the first certificate's issuer; for certificates of other issuers
its status is unknown.
"""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509

from pki_tools import ocsp_wire
from pki_tools.authority import CRL_DAYS, find_responder, load_issuer, load_pem, sign_crl, status_of
from pki_tools.index import Entry, Index
from pki_tools.layout import crl_path
from v2g.errors import KeyAccessError, RevocationError
from v2g.pki.issue import Issuer

VALIDITY: Final = timedelta(hours=24)
"""Validity of an answer: the maximum delay until a revocation is known everywhere."""

MALFORMED: Final = ocsp_wire.write_refusal(1)
INTERNAL_ERROR: Final = ocsp_wire.write_refusal(2)
UNAUTHORIZED: Final = ocsp_wire.write_refusal(6)

_MAX_KEPT: Final = 20_000


class Answer(msgspec.Struct, frozen=True):
    """DER for a client. `this_update` and `next_update` are None for an uncacheable answer, such as an error."""

    body: bytes
    outcome: str  # good, revoked, unknown (the worst of several), malformed, unauthorized, internal_error; or crl
    this_update: datetime | None = None
    next_update: datetime | None = None


class _Served(msgspec.Struct, frozen=True):
    """A served authority, and its certificates by serial number."""

    entry: Entry
    responder: Issuer
    delegated: bool
    known: dict[int, Entry]


class Responder:
    """Answers for all authorities of one index whose responder's or own key is in the tree."""

    def __init__(self, directory: Path, index: Index, *, at: datetime, validity: timedelta = VALIDITY) -> None:
        """Read certificates and keys. Raises ConfigError, KeyAccessError for a key that others may read."""
        self._directory = directory
        self._index = index
        self._validity = validity
        self._answers: dict[bytes, Answer] = {}
        self._lists: dict[str, Answer] = {}
        self._served: dict[tuple[str, bytes, bytes], _Served] = {}
        self._authorities: dict[str, Entry] = {}
        self.silent: list[str] = []
        """Names of authorities without a usable key."""
        for entry in index.entries:
            if entry.is_authority and index.authority(entry.key) == entry:
                self._serve(entry, at)

    def _serve(self, entry: Entry, at: datetime) -> None:
        self._authorities[crl_path(entry.name, entry.key)] = entry
        try:
            responder, delegated = find_responder(self._directory, self._index, entry.key, at=at)
        except KeyAccessError as error:
            if "not in the tree" not in str(error):
                raise
            self.silent.append(entry.name)
            return
        known = {int(each.serial, 16): each for each in self._index.issued_by(entry.key)}
        served = _Served(entry, responder, delegated, known)
        for hashes in ocsp_wire.issuer_hashes(load_pem(self._directory / entry.file)):
            self._served[hashes] = served

    def answer(self, request: bytes, *, at: datetime) -> Answer:
        """Return the answer to a DER OCSPRequest, whatever the bytes. `at` is aware UTC."""
        try:
            asked = ocsp_wire.read_request(request)
        except RevocationError:
            return Answer(MALFORMED, "malformed")
        first = self._find(asked.certificates[0])
        if first is None:
            return Answer(UNAUTHORIZED, "unauthorized")
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
            return Answer(body, outcome)
        answer = Answer(body, outcome, at, at + self._validity)
        # Only answers about known certificates are cached: unknown ones are unlimited.
        if len(statuses) == 1 and statuses[0].known and len(self._answers) < _MAX_KEPT:
            self._answers[key] = answer
        return answer

    def _find(self, certificate: ocsp_wire.CertId) -> _Served | None:
        return self._served.get((certificate.algorithm or "", certificate.name_hash, certificate.key_hash))

    def _status(self, certificate: ocsp_wire.CertId, first: _Served, at: datetime) -> ocsp_wire.Status:
        entry = first.known.get(certificate.serial) if self._find(certificate) is first else None
        return status_of(entry, certificate, at=at, validity=self._validity)

    def crl(self, path: str, *, at: datetime) -> Answer | None:
        """Return the list at the path of a distribution point, such as `cpo/3f2a9b1c.crl`; None without one.

        A list whose authority's key is in the tree is renewed at half its validity; otherwise the file in the tree is
        served.
        """
        entry = self._authorities.get(path)
        if entry is None:
            return None
        at = at.replace(microsecond=0)
        cached = self._lists.get(path)
        if cached is None or cached.this_update is None or cached.next_update is None or not _fresh(cached, at):
            cached = self._new_list(entry, at)
            if cached is not None:
                self._lists[path] = cached
        return cached

    def _new_list(self, entry: Entry, at: datetime) -> Answer | None:
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
        return Answer(body, "crl", crl.last_update_utc, crl.next_update_utc or at + timedelta(days=CRL_DAYS))


def _fresh(answer: Answer, at: datetime) -> bool:
    assert answer.this_update is not None
    assert answer.next_update is not None
    return at < answer.this_update + (answer.next_update - answer.this_update) / 2
