"""Keys in a PKCS#11 token: smart card, HSM, or SoftHSM. They sign and agree inside; only public halves come out."""

import hashlib
from typing import Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from v2g.errors import KeyAccessError
from v2g.io.keys.pins import read_pin, same_curve
from v2g.io.keys.pkcs11_abi import KDF_NULL, Attribute, KeyType, Mechanism, ObjectClass
from v2g.io.keys.pkcs11_module import DEFAULT, Pkcs11Module, Pkcs11Session, Pkcs11Token, load_module
from v2g.pki.keys import AgreementPeer, Algorithm, PublicKey, algorithm_of, check_agreement
from v2g.pki.reference import KeyReference

_CURVES: Final = {
    Algorithm.ECDSA_SHA512: (ec.SECP521R1(), bytes.fromhex("06052b81040023")),
    Algorithm.ECDSA_SHA256: (ec.SECP256R1(), bytes.fromhex("06082a8648ce3d030107")),
}
_ED448: Final = (bytes.fromhex("06032b6571"), b"\x13\x0aedwards448")
"""CKA_EC_PARAMS: curves by object identifier (DER); Ed448 also by its name."""


class OpenedKey(msgspec.Struct, frozen=True):
    """A key of a token in an open session."""

    session: Pkcs11Session
    key: int
    public: PublicKey
    pin: bytes | None
    """The PIN, for a key that needs it for every signature."""

    def __repr__(self) -> str:
        """Return a form without the PIN."""
        return f"OpenedKey({self.session.name}, {self.key})"


class Pkcs11Key:
    """A StoredKey in a token. After a failure the token is searched again at the next use, and only then."""

    def __init__(self, reference: KeyReference) -> None:
        self.reference = reference
        self._module = load_module(reference.options.get("module-path", DEFAULT))
        self._opened: OpenedKey | None = None
        self._closed = False
        self.public_key: PublicKey = self._open().public
        self.algorithm = algorithm_of(self.public_key)

    def __str__(self) -> str:
        return str(self.reference)

    def sign(self, data: bytes) -> bytes:
        """Return the raw signature over `data`. Raises KeyAccessError."""
        opened = self._open()
        if self.algorithm is Algorithm.ED448:
            # A pure signature must be requested explicitly (PKCS#11 3.0): otherwise some tokens assume Ed25519.
            plain = self._module.ffi.new("CK_EDDSA_PARAMS *")
            return self._try(opened, Mechanism.EDDSA, data, plain)
        digest = hashlib.sha512 if self.algorithm is Algorithm.ECDSA_SHA512 else hashlib.sha256
        return self._try(opened, Mechanism.ECDSA, digest(data).digest(), None)

    def agree(self, peer: AgreementPeer) -> bytes:
        """Return the x coordinate shared with `peer`. Raises KeyAccessError, SignatureError."""
        check_agreement(self.public_key, peer)
        opened, ffi = self._open(), self._module.ffi
        point = same_curve(self, peer).public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        buffer = ffi.new("unsigned char[]", point)
        parameter = ffi.new("CK_ECDH1_DERIVE_PARAMS *")
        parameter.kdf, parameter.public_length, parameter.public_data = KDF_NULL, len(point), buffer
        width = (len(point) - 1) // 2
        template = {
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: KeyType.GENERIC_SECRET,
            Attribute.TOKEN: False,
            Attribute.SENSITIVE: False,  # the secret, unlike the key, is to be read
            Attribute.EXTRACTABLE: True,
            Attribute.VALUE_LEN: width,
        }
        try:
            secret = opened.session.derive(opened.key, Mechanism.ECDH1_DERIVE, parameter, template)
        except KeyAccessError:
            self._lose()
            raise
        return secret.rjust(width, b"\0")

    def close(self) -> None:
        """End the session with the token."""
        self._closed = True
        self._lose()

    def _try(self, opened: OpenedKey, mechanism: Mechanism, data: bytes, parameter: object) -> bytes:
        try:
            return opened.session.sign(opened.key, mechanism, data, parameter=parameter, pin=opened.pin)
        except KeyAccessError:
            self._lose()
            raise

    def _lose(self) -> None:
        if self._opened is not None:
            self._opened.session.close()
            self._opened = None

    def _open(self) -> OpenedKey:
        if self._closed:
            raise KeyAccessError(f"{self} is closed")
        if self._opened is None:
            pin = read_pin(self.reference.pin)
            session = self._module.open(find_token(self._module, self.reference), pin=pin)
            try:
                match session.find({Attribute.CLASS: ObjectClass.PRIVATE_KEY, **_name(self.reference)}):
                    case [key]:
                        pass
                    case []:
                        hint = "add pin-source=...: without PIN a token hides private keys" if pin is None else ""
                        raise KeyAccessError(f"{session.name} has no private key for {self}", hint=hint)
                    case _:
                        raise KeyAccessError(f"{session.name} has several private keys for {self}", hint="add id=")
                if session.read(key, Attribute.SENSITIVE) != b"\1" or session.read(key, Attribute.EXTRACTABLE) != b"\0":
                    raise KeyAccessError(
                        f"{self} can be exported from its token", hint="create a non-extractable key: v2g pki key"
                    )
                each_time = session.read(key, Attribute.ALWAYS_AUTHENTICATE) == b"\1"
                self._opened = OpenedKey(session, key, _public_half(session, key, self), pin if each_time else None)
            except BaseException:
                session.close()
                raise
        return self._opened


def open_pkcs11(reference: KeyReference) -> Pkcs11Key:
    """Return the key in a token. Raises as `v2g.io.keys.stores.open_key`."""
    return Pkcs11Key(reference)


def make_pkcs11(reference: KeyReference, algorithm: Algorithm) -> Pkcs11Key:
    """Create a new key in a token, under the name or id of `reference`, which can never be exported.

    Raises KeyAccessError, also when there is such a key already.
    """
    module = load_module(reference.options.get("module-path", DEFAULT))
    session = module.open(find_token(module, reference), pin=read_pin(reference.pin), write=True)
    named = _name(reference)
    named.setdefault(Attribute.ID, hashlib.sha256(named.get(Attribute.LABEL, b"")).digest()[:8])
    edwards = algorithm is Algorithm.ED448
    curve = _ED448[0] if edwards else _CURVES[algorithm][1]
    kind = {Attribute.KEY_TYPE: KeyType.EC_EDWARDS if edwards else KeyType.EC, Attribute.TOKEN: True}
    try:
        if session.find({Attribute.CLASS: ObjectClass.PRIVATE_KEY, **_name(reference)}):
            raise KeyAccessError(f"{session.name} already has a key {reference}", hint="choose another object= or id=")
        session.generate(
            Mechanism.EC_EDWARDS_KEY_PAIR_GEN if edwards else Mechanism.EC_KEY_PAIR_GEN,
            {**kind, **named, Attribute.EC_PARAMS: curve, Attribute.VERIFY: True},
            {
                **kind,
                **named,
                Attribute.PRIVATE: True,
                Attribute.SENSITIVE: True,
                Attribute.EXTRACTABLE: False,
                Attribute.SIGN: True,
                Attribute.DERIVE: not edwards,
            },
        )
    finally:
        session.close()
    return Pkcs11Key(reference)


def numbered(reference: KeyReference) -> list[KeyReference]:
    """Return the keys of a token with the name of `reference`, also with a running number appended (`name.2`): the
    configured one and its successors, in order. Raises KeyAccessError."""
    module = load_module(reference.options.get("module-path", DEFAULT))
    session = module.open(find_token(module, reference), pin=read_pin(reference.pin))
    try:
        keys = session.find({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
        labels = {session.read(key, Attribute.LABEL) for key in keys}
    finally:
        session.close()
    found = [(number, label) for label in labels if label and (number := _number(reference, label)) is not None]
    return [reference if number == 1 else reference.called(label) for number, label in sorted(found)]


def make_successor(reference: KeyReference, algorithm: Algorithm) -> Pkcs11Key:
    """Create a key beside those with the name of `reference`, with the next number appended to its label.

    Raises KeyAccessError.
    """
    known = [_number(reference, each.pkcs11["object"]) or 1 for each in numbered(reference)]
    label = reference.pkcs11["object"] + b".%d" % (max(known, default=1) + 1)
    return make_pkcs11(reference.called(label), algorithm)


def delete_pkcs11(reference: KeyReference) -> None:
    """Delete a key of a token for good, with its public half. Raises KeyAccessError."""
    module = load_module(reference.options.get("module-path", DEFAULT))
    session = module.open(find_token(module, reference), pin=read_pin(reference.pin), write=True)
    try:
        for kind in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
            for key in session.find({Attribute.CLASS: kind, **_name(reference)}):
                session.destroy(key)
    finally:
        session.close()


def _number(reference: KeyReference, label: bytes) -> int | None:
    """Return which successor a label names, 1 for the configured key; None for another key."""
    name, rest = reference.pkcs11["object"], label.removeprefix(reference.pkcs11["object"])
    if label == name:
        return 1
    digits = rest.removeprefix(b".")
    follows = label.startswith(name) and rest.startswith(b".") and digits.isdigit()
    return int(digits) if follows and int(digits) > 1 else None


def open_fitting(reference: KeyReference, public: PublicKey) -> Pkcs11Key:
    """Return the key of this public half: the configured one, or a successor.

    If none matches, as `open_pkcs11`.
    """
    for each in reversed(numbered(reference)) if "object" in reference.pkcs11 else ():
        key = Pkcs11Key(each)
        if key.public_key == public:
            return key
        key.close()
    return Pkcs11Key(reference)


def find_token(module: Pkcs11Module, reference: KeyReference) -> Pkcs11Token:
    """Return the one token that matches `reference`. Raises KeyAccessError."""
    fields = {"token": "label", "serial": "serial", "manufacturer": "manufacturer", "model": "model"}
    wanted = {fields[name]: value for name, value in reference.pkcs11.items() if name in fields}
    found = [each for each in module.tokens() if all(getattr(each, name) == wanted[name] for name in wanted)]
    match found:
        case [token]:
            return token
        case []:
            raise KeyAccessError(f"no token for {reference} in {module.path}", hint="is it plugged in? see module-path")
    raise KeyAccessError(f"{len(found)} tokens match {reference}", hint="add token= or serial=")


def _name(reference: KeyReference) -> dict[Attribute, bytes]:
    names = (("object", Attribute.LABEL), ("id", Attribute.ID))
    return {attribute: reference.pkcs11[name] for name, attribute in names if name in reference.pkcs11}


def _public_half(session: Pkcs11Session, key: int, name: object) -> PublicKey:
    """Return the public half, which is stored beside the private one or in an object with the same id."""
    holders = [key]
    if (number := session.read(key, Attribute.ID)) is not None:
        holders += session.find({Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.ID: number})
    for holder in holders:
        if info := session.read(holder, Attribute.PUBLIC_KEY_INFO):
            return _known(_spki(info), name)
        curve, point = session.read(holder, Attribute.EC_PARAMS), session.read(holder, Attribute.EC_POINT)
        if curve and point:
            return _known(_decode(curve, point), name)
    raise KeyAccessError(f"{name} has no public half in its token", hint="store the public key object with the same id")


def _known(public: PublicKey | None, name: object) -> PublicKey:
    if public is None:
        raise KeyAccessError(f"{name} is on a curve that ISO 15118 does not allow")
    return public


def _spki(info: bytes) -> PublicKey | None:
    try:
        public = load_der_public_key(info)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return public if isinstance(public, ec.EllipticCurvePublicKey | ed448.Ed448PublicKey) else None


def _decode(curve: bytes, point: bytes) -> PublicKey | None:
    """Return a public key from CKA_EC_PARAMS and CKA_EC_POINT: an octet string in DER, or bare."""
    try:
        if curve in _ED448:
            return ed448.Ed448PublicKey.from_public_bytes(_bare(point, 57))
        for known, oid in _CURVES.values():
            if curve == oid:
                return ec.EllipticCurvePublicKey.from_encoded_point(
                    known, _bare(point, 1 + 2 * ((known.key_size + 7) // 8))
                )
    except ValueError:
        return None
    return None


def _bare(point: bytes, size: int) -> bytes:
    header = b"\x04" + (bytes([size]) if size < 0x80 else bytes([0x81, size]))
    return point.removeprefix(header) if len(point) == len(header) + size else point
