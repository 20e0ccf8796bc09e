"""Search for paths from a leaf to a trusted root, over sub-CAs and cross certificates in any arrangement.

Shorter paths come first. The search is bounded: with any certificates of a hostile peer, only
a limited number of signatures and paths is checked.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from v2g.errors import CertificateError
from v2g.pki.conformity import STRONG_HASHES, extension, label, refusal
from v2g.pki.profile import MAX_INTERMEDIATES

Path = tuple[x509.Certificate, ...]
"""Leaf first, root last."""

_MAX_SIGNATURES: Final = 64
_MAX_PATHS: Final = 64


class PathSearch:
    """One search. `between` may be used as CAs, `roots` end a path."""

    def __init__(
        self, leaf: x509.Certificate, between: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]
    ) -> None:
        self._leaf = leaf
        self._between = between
        self._roots = roots
        self._checked: dict[tuple[int, int], bool] = {}
        self._refused: x509.Certificate | None = None

    def paths(self) -> Iterator[Path]:
        """Yield paths with valid signatures, shortest first."""
        growing: list[Path] = [(self._leaf,)]
        for between in range(MAX_INTERMEDIATES + 1):
            if between:
                growing = [longer for path in growing for longer in self._longer(path)][:_MAX_PATHS]
            for path in growing:
                for root in self._roots:
                    if self._has_issued(root, path[-1]):
                        yield (*path, root)

    def failure(self) -> CertificateError:
        """Return why there was no path: chain_too_long, weak_hash, bad_signature or unknown_root."""
        if len(self._checked) > _MAX_SIGNATURES:
            return CertificateError(f"{label(self._leaf)} has too many possible paths", reason="chain_too_long")
        if self._refused is not None:
            digest = self._refused.signature_hash_algorithm
            if digest is not None and digest.name not in STRONG_HASHES:  # the library verifies none by SHA-1
                return refusal(self._refused, f"is signed with {digest.name}", "weak_hash")
            return CertificateError(f"signature on {label(self._refused)} does not match", reason="bad_signature")
        return CertificateError(
            f"{label(self._leaf)} does not lead to a trusted root",
            reason="unknown_root",
            hint=f"its issuer is {self._leaf.issuer.rfc4514_string()}",
        )

    def _longer(self, path: Path) -> Iterator[Path]:
        for candidate in self._between:
            if not any(_is_same_party(candidate, each) for each in path) and self._has_issued(candidate, path[-1]):
                yield (*path, candidate)

    def _has_issued(self, issuer: x509.Certificate, subject: x509.Certificate) -> bool:
        if not _could_have_issued(issuer, subject):
            return False
        pair = id(issuer), id(subject)
        known = self._checked.get(pair)
        if known is None:
            known = len(self._checked) < _MAX_SIGNATURES and signature_matches(issuer, subject)
            self._checked[pair] = known
            if not known and self._refused is None:
                self._refused = subject
        return known


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Return whether a certificate is signed by its own key: the same name alone is not enough, nor are identifiers,
    which a root's certificate for its own new key may lack."""
    return _could_have_issued(certificate, certificate) and signature_matches(certificate, certificate)


def _is_same_party(one: x509.Certificate, other: x509.Certificate) -> bool:
    return one.subject == other.subject and one.public_key() == other.public_key()


def _could_have_issued(issuer: x509.Certificate, subject: x509.Certificate) -> bool:
    """Return whether names and key identifiers match; the key identifier distinguishes issuers of the same name."""
    if issuer.subject != subject.issuer:
        return False
    authority = extension(subject, x509.AuthorityKeyIdentifier)
    own = extension(issuer, x509.SubjectKeyIdentifier)
    named = authority.value.key_identifier if authority is not None else None
    held = own.value.digest if own is not None else None
    return named is None or held is None or named == held


@functools.lru_cache(maxsize=1024)  # slow, and often repeated for sub-CAs and responders
def signature_matches(issuer: x509.Certificate, subject: x509.Certificate) -> bool:
    """Return whether `subject` has the name and a signature of `issuer`."""
    try:
        subject.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True
