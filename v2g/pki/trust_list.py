"""Signed lists of the roots that a public ecosystem trusts (CTL). No socket, no clock.

OPCP has `{signerCertificate, timeStamp, CTL}` and leaves the list's form open. Here CTL is `{list, signature}`: `list`
is JSON in base64 (its number, when it was made, until when it counts, the roots), `signature` the signer's over these
bytes, DER in base64, as `openssl dgst -verify` checks it. The signer's certificate leads to a configured root.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, cast

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding

from v2g import typed_json
from v2g.errors import CertificateError, CodecError, RefusedError, SignatureError
from v2g.pki.certificates import CLOCK_SKEW, load_certificate
from v2g.pki.crl import RevocationList
from v2g.pki.issue import Issuer
from v2g.pki.keys import PublicKey, SoftwareKey, raw_signature, sign_der, verify_signature
from v2g.pki.pools import Json, PoolRoot, RootKind, decode_base64, encode_base64
from v2g.pki.profile import Role
from v2g.pki.revocation import refuse_revoked
from v2g.pki.verify import verify_chain

MOST_ROOTS: Final = 500


class ListedRoot(msgspec.Struct, frozen=True, kw_only=True):
    """A root in a list; the certificate is DER in base64."""

    kinds: Annotated[tuple[RootKind, ...], msgspec.Meta(min_length=1, max_length=4)]
    certificate: Annotated[str, msgspec.Meta(max_length=8192)]


class RootList(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a list; `number` grows with each one."""

    number: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    issued: datetime
    next_update: datetime
    roots: Annotated[tuple[ListedRoot, ...], msgspec.Meta(max_length=MOST_ROOTS)]


class _SignedList(msgspec.Struct, frozen=True):
    list: str
    signature: str


class _Envelope(msgspec.Struct, frozen=True):
    signer: str = msgspec.field(name="signerCertificate")
    ctl: _SignedList = msgspec.field(name="CTL")


class TrustList(msgspec.Struct, frozen=True, kw_only=True):
    """A list that is signed and current."""

    number: int
    until: datetime
    roots: tuple[PoolRoot, ...]


def read_trust_list(
    body: bytes, anchors: Sequence[bytes], *, at: datetime, newest: int = 0, crls: Sequence[RevocationList] = ()
) -> TrustList:
    """Return a list whose signer leads to one of `anchors` (DER), and is not revoked by one of `crls`; `newest` is the
    number of the last one accepted.

    Raises CodecError, CertificateError (also `bad_signature`), RevocationError, RefusedError: `replayed` for an older
    list, `expired`, `not_yet_valid`, `empty`.
    """
    try:
        envelope = typed_json.decode(body, _Envelope)
    except msgspec.DecodeError as error:
        raise CodecError(f"not a trust list: {error}") from None
    signer, content = decode_base64(envelope.signer), decode_base64(envelope.ctl.list)
    verified = verify_chain(signer, (), anchors, role=Role.TRUST_LIST, at=at)
    refuse_revoked(verified, crls, at=at)
    key = cast(PublicKey, verified.leaf.public_key())  # the profile allows no other kind
    try:
        verify_signature(key, content, raw_signature(key, decode_base64(envelope.ctl.signature)))
    except SignatureError as error:
        raise CertificateError(f"the trust list is not signed by its signer: {error}", reason="bad_signature") from None
    try:
        found = typed_json.decode(content, RootList)
    except msgspec.DecodeError as error:
        raise CodecError(f"not a trust list: {error}") from None
    if found.issued.tzinfo is None or found.next_update.tzinfo is None:
        raise CodecError("not a trust list: times without time zone")
    if found.number < newest:
        raise RefusedError(f"list {found.number} is older than {newest}, which is known", reason="replayed")
    if at + CLOCK_SKEW < found.issued:
        raise RefusedError(f"list {found.number} is of the future: {found.issued:%Y-%m-%d}", reason="not_yet_valid")
    if at > found.next_update:
        raise RefusedError(f"list {found.number} has expired at {found.next_update:%Y-%m-%d %H:%MZ}", reason="expired")
    roots = tuple(PoolRoot(kinds=each.kinds, certificate=decode_base64(each.certificate)) for each in found.roots)
    if not roots:  # a list without roots would take all of them away
        raise RefusedError(f"list {found.number} has no root", reason="empty")
    for each in roots:
        load_certificate(each.certificate)
    return TrustList(number=found.number, until=found.next_update, roots=roots)


def write_trust_list(
    number: int, issued: datetime, next_update: datetime, roots: Sequence[PoolRoot], signer: Issuer
) -> Json:
    """Return a signed list, as JSON's values."""
    assert signer.certificate is not None
    listed = tuple(ListedRoot(kinds=each.kinds, certificate=encode_base64(each.certificate)) for each in roots)
    content = msgspec.json.encode(RootList(number=number, issued=issued, next_update=next_update, roots=listed))
    return {
        "signerCertificate": encode_base64(signer.certificate.public_bytes(Encoding.DER)),
        "timeStamp": f"{issued:%Y-%m-%dT%H:%M:%SZ}",
        "CTL": {"list": encode_base64(content), "signature": encode_base64(sign_der(SoftwareKey(signer.key), content))},
    }
