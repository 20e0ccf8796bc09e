"""One certificate and the profile of its role: what each rule refuses, and what interoperability accepts."""

from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed448
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose
from cryptography.x509.oid import NameOID

from tests.pki.forge import COUNTRY, DC, UNIT, Forge, name, subject_of, usage
from tests.together import together
from v2g.errors import CertificateError
from v2g.pki.conformity import check_basics, check_profile
from v2g.pki.profile import Generation, Role
from v2g.pki.profiles import profile_of

_PLAIN = x509.BasicConstraints(ca=False, path_length=None)


def made(role: Role, **changes: Any) -> x509.Certificate:
    """Return a leaf of a role, or the CA that issues stations' (CSMS_SUB) or chargers' (CPO_SUB2), with changes."""
    issued = {Role.CSMS_SUB: Role.STATION, Role.CPO_SUB2: Role.SECC}.get(role, role)
    level = "leaf" if issued is role else "sub2"
    return Forge(issued).parties(**{level: changes})[level].certificate


def fault(certificate: x509.Certificate, role: Role, *, interop: bool = False) -> str:
    """Return reason and message of the fault without the certificate's name, or an empty text."""
    try:
        check_profile(certificate, role, interop=interop)
    except CertificateError as error:
        return ": ".join((error.reason, str(error).partition("' ")[2] + error.hint))
    return ""


def add(value: x509.ExtensionType, *, critical: bool = True) -> dict[str, Any]:
    return {"add": [(value, critical)]}


@together(
    ("role", "changes", "strict", "lenient"),
    [
        (Role.SECC, {"digest": hashes.SHA256()}, "weak_hash: is signed with sha256", ""),
        (Role.SECC, {"digest": hashes.SHA384()}, "weak_hash: is signed with sha384", ""),
        (Role.SECC, {"digest": hashes.SHA224()}, "weak_hash: is signed with sha224",
         "weak_hash: is signed with sha224"),
        (Role.SECC, {"signer": ed448.Ed448PrivateKey.generate()}, "", ""),
        (Role.CSMS_SUB, add(x509.NameConstraints([x509.DNSName("a")], None)), "", ""),
        (Role.STATION, add(x509.NameConstraints([x509.DNSName("a")], None)),
         "bad_profile: has name constraints but is not a CA", ""),
        (Role.CPO_SUB2, {"without": [x509.BasicConstraints]}, "not_a_ca: is not a CA", "not_a_ca: is not a CA"),
        (Role.CPO_SUB2, add(_PLAIN), "not_a_ca: is not a CA", "not_a_ca: is not a CA"),
        (Role.CPO_SUB2, add(x509.BasicConstraints(ca=True, path_length=1)),
         "path_length: has path length 1 instead of 0", ""),
        (Role.CSMS_SUB, add(x509.BasicConstraints(ca=True, path_length=1)), "", ""),
        (Role.SECC, {"without": [x509.BasicConstraints]}, "bad_profile: lacks basic constraints", ""),
        (Role.SECC, add(_PLAIN, critical=False), "bad_profile: has basic constraints that are not critical", ""),
        (Role.SECC, add(x509.BasicConstraints(ca=True, path_length=None)),
         "bad_profile: is a CA", "bad_profile: is a CA"),
        (Role.SECC, add(usage(digital_signature=True), critical=False),
         "key_usage: has a key usage that is not critical", ""),
        (Role.STATION, add(usage(digital_signature=True, crl_sign=True, key_cert_sign=True)),
         "key_usage: must not have key usage crl_sign, key_cert_sign", ""),
        (Role.STATION, add(usage(crl_sign=True)),
         "key_usage: lacks key usage digital_signature", "key_usage: lacks key usage digital_signature"),
        (Role.VEHICLE, {"without": [x509.ExtendedKeyUsage]}, "extended_key_usage: lacks extended key usage", ""),
        (Role.CONTRACT, add(x509.ExtendedKeyUsage([Purpose.CLIENT_AUTH]), critical=False),
         "extended_key_usage: has an extended key usage, which its profile does not allow", ""),
        (Role.SECC, add(x509.ExtendedKeyUsage([Purpose.CLIENT_AUTH]), critical=False),
         "extended_key_usage: has another extended key usage", "extended_key_usage: has another extended key usage"),
        (Role.SECC, add(x509.ExtendedKeyUsage([Purpose.ANY_EXTENDED_KEY_USAGE]), critical=False),
         "extended_key_usage: has another extended key usage", ""),
        (Role.STATION, add(x509.ExtendedKeyUsage([Purpose.CODE_SIGNING]), critical=False), "", ""),
        (Role.SECC, {"subject": subject_of(Role.SECC, (UNIT, "x"))},
         f"wrong_subject: has the attribute {UNIT.dotted_string}, which its profile does not allow", ""),
        (Role.CPS, {"subject": subject_of(Role.SECC)},
         "wrong_domain: has DC CPO instead of CPS", "wrong_domain: has DC CPO instead of CPS"),
        (Role.SECC, {"subject": subject_of(Role.CPS)},
         "wrong_domain: has DC CPS instead of CPO", "wrong_domain: has DC CPS instead of CPO"),
        (Role.VEHICLE, {"subject": subject_of(Role.VEHICLE, (DC, "OEM"), without=(DC,))},
         "wrong_domain: has DC OEM instead of VEHICLE", ""),
        (Role.SECC, {"subject": subject_of(Role.SECC, without=(DC,))},
         f"wrong_domain: lacks the attribute {DC.dotted_string}", ""),
        (Role.SECC, {"subject": name((COUNTRY, "DE"))},
         "wrong_subject: does not have exactly one CN", "wrong_subject: does not have exactly one CN"),
    ],
)  # fmt: skip
def test_each_rule(role: Role, changes: dict[str, Any], strict: str, lenient: str) -> None:
    certificate = made(role, **changes)
    assert fault(certificate, role) == strict
    assert fault(certificate, role, interop=True) == lenient


def test_a_ca_may_have_more_in_its_name() -> None:
    subject = made(Role.CSMS_SUB).subject
    assert (
        fault(made(Role.CSMS_SUB, subject=x509.Name([*subject, *name((NameOID.LOCALITY_NAME, "x"))])), Role.CSMS_SUB)
        == ""
    )


def test_a_certificate_may_be_as_long_as_its_profile_says() -> None:
    certificate = made(Role.SECC)
    size, profile = len(certificate.public_bytes(Encoding.DER)), profile_of(Role.SECC, Generation.ISO15118_20)
    check_basics(certificate, msgspec.structs.replace(profile, max_bytes=size), interop=False)
    with pytest.raises(CertificateError, match=f"has {size} bytes, more than {size - 1}"):
        check_basics(certificate, msgspec.structs.replace(profile, max_bytes=size - 1), interop=False)


def test_older_forms_than_version_3_are_refused() -> None:
    """Their structure is that of version 3 without the version and the extensions (RFC 5280 4.1)."""
    tbs, algorithm, signature = _parts(made(Role.SECC).public_bytes(Encoding.DER))
    old = b"".join(each for each in _parts(tbs) if each[0] not in (0xA0, 0xA3))
    certificate = x509.load_der_x509_certificate(_sequence(_sequence(old) + algorithm + signature))
    assert certificate.version is x509.Version.v1
    assert fault(certificate, Role.SECC) == "bad_profile: is not X.509 v3"


def _parts(sequence: bytes) -> list[bytes]:
    """Return the elements of a DER sequence."""
    rest, found = sequence[_head(sequence) :], []
    while rest:
        size = _head(rest) + _length(rest)
        found.append(rest[:size])
        rest = rest[size:]
    return found


def _head(element: bytes) -> int:
    return 2 + (element[1] & 0x7F if element[1] & 0x80 else 0)


def _length(element: bytes) -> int:
    return int.from_bytes(element[2 : _head(element)], "big") if element[1] & 0x80 else element[1]


def _sequence(content: bytes) -> bytes:
    return b"\x30\x82" + len(content).to_bytes(2, "big") + content
