"""A key in a store as a private key of `cryptography`, whose builders sign certificates and requests with it."""

from typing import Any, NoReturn, Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448

from v2g.errors import KeyAccessError
from v2g.pki.keys import Algorithm, LeafKey, PrivateKey, SoftwareKey, sign_der

_HASHES = {Algorithm.ECDSA_SHA512: hashes.SHA512, Algorithm.ECDSA_SHA256: hashes.SHA256}


def as_private_key(key: LeafKey) -> PrivateKey:
    """Return a private key that can sign; one in a store still cannot be exported."""
    if isinstance(key, SoftwareKey):
        return key.expose()
    return _StoredEd448(key) if key.algorithm is Algorithm.ED448 else _StoredEc(key)


class _StoredPrivateKey:
    """Shared by both kinds."""

    def __init__(self, key: LeafKey) -> None:
        self._key = key

    def _refuse(self) -> NoReturn:
        raise KeyAccessError(f"{self._key} never leaves its store")

    def public_key(self) -> Any:
        return self._key.public_key

    def private_bytes(self, *_: object) -> NoReturn:
        self._refuse()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


class _StoredEc(_StoredPrivateKey, ec.EllipticCurvePrivateKey):
    @property
    def curve(self) -> ec.EllipticCurve:
        public = self._key.public_key
        assert isinstance(public, ec.EllipticCurvePublicKey)
        return public.curve

    @property
    def key_size(self) -> int:
        return self.curve.key_size

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        wanted = _HASHES[self._key.algorithm]
        if not isinstance(signature_algorithm.algorithm, wanted):
            raise KeyAccessError(f"{self._key} signs with {wanted.name} only")
        return sign_der(self._key, bytes(data))

    def exchange(self, _algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> bytes:
        return self._key.agree(peer_public_key)

    def private_numbers(self) -> NoReturn:
        self._refuse()


class _StoredEd448(_StoredPrivateKey, ed448.Ed448PrivateKey):
    def sign(self, data: Any) -> bytes:
        return self._key.sign(bytes(data))

    def private_bytes_raw(self) -> NoReturn:
        self._refuse()
