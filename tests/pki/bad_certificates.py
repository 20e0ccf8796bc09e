"""Bad certificates: what is wrong, for which roles, how it is made, and the one word for which it is refused.

Every place where certificates are judged reads this table: verification, TLS of both sides, Authorization,
CertificateInstallation, OCPP, broker and HTTP API.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.pki import forge_chains as chains
from tests.pki.forge import CN, DAY, DC, EVERY, ISO, NOW, OPERATOR, ORG, Forge, Made, name, subject_of, usage
from tests.together import Test, together
from v2g.errors import CertificateReason
from v2g.pki.profile import Role

Make = Callable[[Forge], Made]


class Case(NamedTuple):
    """One way to be wrong."""

    name: str
    reason: CertificateReason
    roles: tuple[Role, ...]
    make: Make
    sendable: bool = True  # False: no TLS library shows such bytes


def leaf(**changes: Any) -> Make:
    return lambda forge: forge.made(leaf=changes)


def sub(**changes: Any) -> Make:
    """Change the CA next to the leaf."""
    return lambda forge: forge.made(sub2=changes)


def top(**changes: Any) -> Make:
    """Change the CA below the root."""
    return lambda forge: forge.made(**{forge.top: changes})


def root(**changes: Any) -> Make:
    return lambda forge: forge.made(root=changes)


def subject(*more: tuple[x509.ObjectIdentifier, str], without: Iterable[Any] = ()) -> Make:
    """Change parts of the leaf's subject."""
    return lambda forge: forge.made(leaf={"subject": subject_of(forge.role, *more, without=tuple(without))})


def added(extension: x509.ExtensionType, *, critical: bool = False) -> dict[str, Any]:
    return {"add": [(extension, critical)]}


def key_usage(*, critical: bool = True, **bits: bool) -> dict[str, Any]:
    return added(usage(**bits), critical=critical)


def for_use(*oids: x509.ObjectIdentifier) -> dict[str, Any]:
    return added(x509.ExtendedKeyUsage(oids))


def ca(length: int | None, *, critical: bool = True) -> dict[str, Any]:
    return added(x509.BasicConstraints(ca=True, path_length=length), critical=critical)


def opaque(oid: str, value: bytes = b"\x05\x00") -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)


def curve(kind: ec.EllipticCurve) -> dict[str, Any]:
    return {"key": ec.generate_private_key(kind)}


def with_rsa(bits: int) -> Make:
    return lambda forge: forge.made(leaf={"key": chains.rsa_key(bits)})


constrained = chains.constrained
OTHERS = x509.DirectoryName(name((CN, "others")))
NO_REVOCATION = (x509.AuthorityInformationAccess, x509.CRLDistributionPoints)
CONSTRAINTS, USAGE, PURPOSE = x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
TLS_ISO = (Role.SECC, Role.VEHICLE)
NO_RSA = tuple(role for role in EVERY if role is not Role.GATEWAY)
WITH_DOMAIN = (Role.SECC, Role.CPS)

CASES: tuple[Case, ...] = (
    # bytes
    Case("no certificate at all", "malformed", EVERY, chains.with_leaf(lambda _: b"certificate"), sendable=False),
    Case("empty leaf", "malformed", EVERY, chains.with_leaf(lambda _: b""), sendable=False),
    Case("truncated leaf", "malformed", EVERY, chains.with_leaf(lambda der: der[:-9]), sendable=False),
    Case("bytes after the leaf", "malformed", EVERY, chains.with_leaf(lambda der: der + b"\0"), sendable=False),
    Case("leaf in PEM", "malformed", EVERY, chains.with_leaf(chains.pem), sendable=False),
    Case("leaf in BER", "malformed", EVERY, chains.with_leaf(chains.ber), sendable=False),
    Case("leaf of 20 kB", "malformed", EVERY, chains.with_leaf(lambda der: der + bytes(20_000)), sendable=False),
    Case("public key off its curve", "malformed", ISO, chains.with_leaf(chains.off_curve), sendable=False),
    Case("unreadable extension", "malformed", EVERY, leaf(**added(opaque("2.5.29.18", b"\x02\x01\x00")))),
    Case("sub-CA is no certificate", "malformed", EVERY, chains.sub_of_rubbish, sendable=False),
    # length and order
    Case("four sub-CAs", "chain_too_long", EVERY, chains.four_subs),
    Case("six copies of a sub-CA", "chain_too_long", EVERY, chains.six_subs),
    Case("sub-CAs in reverse", "chain_out_of_order", ISO, chains.reversed_subs),
    Case("sub-CA before its leaf", "chain_out_of_order", EVERY, chains.sub_first),
    # roots
    Case("root of strangers", "unknown_root", EVERY, chains.foreign_root),
    Case("root of strangers with a known name", "unknown_root", EVERY, chains.namesake_root),
    Case("nobody is trusted", "unknown_root", EVERY, chains.no_anchor),
    Case("self-signed leaf", "unknown_root", EVERY, chains.self_signed_leaf),
    Case("leaf alone", "unknown_root", EVERY, chains.levels("leaf")),
    Case("sub-CA 2 missing", "unknown_root", ISO, chains.levels("leaf", "sub1")),
    Case("sub-CA 1 missing", "unknown_root", ISO, chains.levels("leaf", "sub2")),
    Case("trust in the root that was sent along", "unknown_root", EVERY, chains.root_sent_along),
    Case("cross certificate by strangers", "unknown_root", ISO, chains.cross_by_strangers),
    Case("root of the wrong family", "wrong_root", chains.WITH_OTHER_FAMILY, chains.other_family),
    # signatures
    Case("CN changed after signing", "bad_signature", EVERY, chains.with_leaf(chains.renamed)),
    Case("last bit of the signature", "bad_signature", EVERY, chains.with_leaf(chains.last_bit)),
    Case("leaf signed by somebody else", "bad_signature", EVERY, chains.signed_by_another("leaf")),
    Case("sub-CA signed by somebody else", "bad_signature", EVERY, chains.signed_by_another("sub2")),
    Case("sub-CA 1 signed by somebody else", "bad_signature", ISO, chains.signed_by_another("sub1")),
    Case("leaf signed with its own key", "bad_signature", EVERY, chains.signed_by_itself),
    # time
    Case("leaf expired", "expired", EVERY, leaf(end=NOW - DAY)),
    Case("leaf expired a second ago", "expired", EVERY, leaf(end=NOW - DAY / 86400)),
    Case("sub-CA expired", "expired", EVERY, sub(end=NOW - DAY)),
    Case("sub-CA 1 expired", "expired", ISO, top(end=NOW - DAY)),
    Case("root expired", "expired", EVERY, root(end=NOW - DAY)),
    Case("leaf expired below a CA to come", "expired", EVERY, chains.expired_below_early),
    Case("leaf not yet valid", "not_yet_valid", EVERY, leaf(begin=NOW + DAY)),
    Case("sub-CA not yet valid", "not_yet_valid", EVERY, sub(begin=NOW + DAY)),
    Case("sub-CA 1 not yet valid", "not_yet_valid", ISO, top(begin=NOW + DAY)),
    Case("root not yet valid", "not_yet_valid", EVERY, root(begin=NOW + DAY)),
    # serial numbers
    Case("two leaves of one number", "serial_reuse", EVERY, chains.twin_in_chain),
    Case("two sub-CAs of one number", "serial_reuse", EVERY, chains.twin_sub_in_chain),
    # names that a CA above may not certify
    Case("name excluded", "name_constraints", EVERY, chains.leaf_excluded("top")),
    Case("name excluded by the root", "name_constraints", EVERY, chains.leaf_excluded("root")),
    Case("other names permitted", "name_constraints", EVERY, constrained("top", permitted=OTHERS)),
    Case("host excluded", "name_constraints", EVERY,
         constrained("top", excluded=x509.DNSName("B.invalid"), alternative=chains.HOST)),
    Case("host outside", "name_constraints", EVERY,
         constrained("top", permitted=x509.DNSName("c.b.invalid"), alternative=chains.HOST)),
    Case("address outside", "name_constraints", EVERY,
         constrained("top", permitted=chains.NETWORK, alternative=chains.ADDRESS)),
    Case("URI outside", "name_constraints", EVERY,
         constrained("top", permitted=x509.UniformResourceIdentifier(".a.invalid"), alternative=chains.URI)),
    Case("mail address under a constraint", "name_constraints", EVERY,
         constrained("top", permitted=x509.RFC822Name("a.invalid"), alternative=x509.RFC822Name("x@a.invalid"))),
    # authorities
    Case("issued by a leaf", "not_a_ca", EVERY, chains.issued_by_leaf),
    Case("sub-CA without basic constraints", "not_a_ca", EVERY, sub(without=(CONSTRAINTS,))),
    Case("sub-CA that is none", "not_a_ca", EVERY,
         sub(**added(CONSTRAINTS(ca=False, path_length=None), critical=True))),
    Case("root that is none", "not_a_ca", EVERY, root(without=(CONSTRAINTS,))),
    Case("basic constraints of a sub-CA not critical", "bad_profile", EVERY, sub(**ca(0, critical=False))),
    Case("sub-CA without keyCertSign", "key_usage", EVERY, sub(**key_usage(crl_sign=True))),
    Case("sub-CA without cRLSign", "key_usage", EVERY, sub(**key_usage(key_cert_sign=True))),
    Case("sub-CA without key usage", "key_usage", EVERY, sub(without=(USAGE,))),
    Case("key usage of a sub-CA not critical", "key_usage", EVERY,
         sub(**key_usage(key_cert_sign=True, crl_sign=True, critical=False))),
    Case("sub-CA with digitalSignature", "key_usage", EVERY,
         sub(**key_usage(key_cert_sign=True, crl_sign=True, digital_signature=True))),
    Case("root without keyCertSign", "key_usage", EVERY, root(**key_usage(crl_sign=True))),
    Case("sub-CA with extended key usage", "extended_key_usage", ISO, sub(**for_use(CLIENT, SERVER))),
    Case("root with no room for sub-CAs", "path_length", EVERY, root(**ca(0))),
    Case("sub-CA 1 with no room for sub-CA 2", "path_length", ISO, top(**ca(0))),
    Case("third sub-CA below sub-CA 2", "path_length", EVERY, chains.third_sub),
    Case("path length 1 next to the leaf", "path_length", ISO, sub(**ca(1))),
    Case("no path length next to the leaf", "path_length", ISO, sub(**ca(None))),
    Case("no path length below the root", "path_length", ISO, top(**ca(None))),
    Case("DC of another family in a sub-CA", "wrong_domain", ISO, sub(subject=name((CN, "s"), (ORG, "o"), (DC, "X")))),
    Case("sub-CA without organization", "wrong_subject", EVERY, sub(subject=name((CN, "s")))),
    # extensions
    Case("unknown critical extension", "unknown_critical_extension", EVERY,
         leaf(**added(opaque("1.2.3.4"), critical=True))),
    Case("unknown critical extension in a sub-CA", "unknown_critical_extension", EVERY,
         sub(**added(opaque("1.2.3.4"), critical=True))),
    Case("policy constraints in a sub-CA", "unknown_critical_extension", EVERY,
         sub(**added(x509.PolicyConstraints(0, None), critical=True))),
    Case("inhibitAnyPolicy in a sub-CA", "unknown_critical_extension", EVERY,
         sub(**added(x509.InhibitAnyPolicy(0), critical=True))),
    Case("name constraints in a leaf", "bad_profile", EVERY,
         leaf(**added(x509.NameConstraints([OTHERS], None), critical=True))),
    Case("extension that contracts do not have", "bad_profile", (Role.CONTRACT,), leaf(**added(opaque("1.2.3.4")))),
    Case("host name in a contract", "bad_profile", (Role.CONTRACT,),
         leaf(**added(x509.SubjectAlternativeName([x509.DNSName("x")])))),
    Case("too big for a message", "bad_profile", ISO, leaf(**added(opaque("1.2.3.4", bytes(1300))))),
    # keys and hashes
    Case("leaf on P-256", "wrong_curve", ISO, leaf(**curve(ec.SECP256R1()))),
    Case("leaf on P-384", "wrong_curve", ISO, leaf(**curve(ec.SECP384R1()))),
    Case("leaf on secp256k1", "wrong_curve", EVERY, leaf(**curve(ec.SECP256K1()))),
    Case("leaf on brainpoolP512r1", "wrong_curve", EVERY, leaf(**curve(ec.BrainpoolP512R1()))),
    Case("leaf with RSA of 4096 bit", "wrong_curve", NO_RSA, with_rsa(4096)),
    Case("leaf with RSA of 2048 bit", "wrong_curve", EVERY, with_rsa(2048)),
    Case("leaf with Ed25519", "wrong_curve", EVERY, leaf(key=ed25519.Ed25519PrivateKey.generate())),
    Case("leaf with an Ed448 key of low order", "wrong_curve", ISO, leaf(key=chains.KeyOfLowOrder()), sendable=False),
    Case("sub-CA on P-256", "wrong_curve", ISO, sub(**curve(ec.SECP256R1()))),
    Case("root on P-256", "wrong_curve", ISO, chains.root_on(ec.SECP256R1())),
    Case("leaf signed with SHA-256", "weak_hash", ISO, leaf(digest=hashes.SHA256())),
    Case("leaf signed with SHA-384", "weak_hash", ISO, leaf(digest=hashes.SHA384())),
    Case("leaf signed with SHA-224", "weak_hash", EVERY, leaf(digest=hashes.SHA224())),
    Case("sub-CA signed with SHA-256", "weak_hash", ISO, sub(digest=hashes.SHA256())),
    Case("sub-CA 1 signed with SHA-384", "weak_hash", ISO, top(digest=hashes.SHA384())),
    # what a leaf may be used for
    Case("no key usage", "key_usage", EVERY, leaf(without=(USAGE,))),
    Case("key usage not critical", "key_usage", EVERY,
         leaf(**key_usage(digital_signature=True, key_agreement=True, critical=False))),
    Case("no digitalSignature", "key_usage", EVERY, leaf(**key_usage(key_agreement=True))),
    Case("leaf with keyCertSign", "key_usage", EVERY, leaf(**key_usage(digital_signature=True, key_cert_sign=True))),
    Case("leaf with cRLSign", "key_usage", EVERY, leaf(**key_usage(digital_signature=True, crl_sign=True))),
    Case("leaf with dataEncipherment", "key_usage", EVERY,
         leaf(**key_usage(digital_signature=True, data_encipherment=True))),
    Case("leaf with encipherOnly", "key_usage", EVERY,
         leaf(**key_usage(digital_signature=True, key_agreement=True, encipher_only=True))),
    Case("provisioning without keyAgreement", "key_usage", (Role.OEM_PROVISIONING,),
         leaf(**key_usage(digital_signature=True))),
    Case("vehicle without extended key usage", "extended_key_usage", (Role.VEHICLE,), leaf(without=(PURPOSE,))),
    Case("extended key usage of the other side", "extended_key_usage", (Role.VEHICLE, Role.GATEWAY, Role.API_CLIENT),
         leaf(**for_use(SERVER))),
    Case("server with clientAuth", "extended_key_usage", (Role.SECC, Role.CSMS_SERVER), leaf(**for_use(CLIENT))),
    Case("extended key usage for mail", "extended_key_usage", (*TLS_ISO, Role.GATEWAY, Role.API_CLIENT),
         leaf(**for_use(ExtendedKeyUsageOID.EMAIL_PROTECTION))),
    Case("extended key usage where none belongs", "extended_key_usage",
         (Role.CONTRACT, Role.OEM_PROVISIONING, Role.CPS), leaf(**for_use(CLIENT))),
    # other rules of a profile
    Case("no basic constraints", "bad_profile", EVERY, leaf(without=(CONSTRAINTS,))),
    Case("basic constraints not critical", "bad_profile", EVERY,
         leaf(**added(CONSTRAINTS(ca=False, path_length=None)))),
    Case("leaf that is a CA", "bad_profile", EVERY, leaf(**ca(0))),
    Case("no word on revocation", "bad_profile", (Role.SECC, Role.CONTRACT, Role.CPS), leaf(without=NO_REVOCATION)),
    Case("contract right below a root", "bad_profile", (Role.CONTRACT,), chains.below_root),
    Case("X.509 version 1", "bad_profile", EVERY, chains.version_1),
    # subjects
    Case("no DC", "wrong_domain", WITH_DOMAIN, subject(without=(DC,))),
    Case("DC of another role", "wrong_domain", (*WITH_DOMAIN, Role.VEHICLE, Role.OEM_PROVISIONING),
         subject((DC, "MO"), without=(DC,))),
    Case("two DCs", "wrong_domain", WITH_DOMAIN, subject((DC, "V2G"))),
    Case("DC in a certificate of the operator", "wrong_domain", OPERATOR, subject((DC, "CPO"))),
    Case("no CN", "wrong_subject", EVERY, subject(without=(CN,))),
    Case("two CNs", "wrong_subject", EVERY, subject((CN, "other"))),
    Case("no organization", "wrong_subject", EVERY, subject(without=(ORG,))),
    Case("locality in the subject", "wrong_subject", EVERY, subject((NameOID.LOCALITY_NAME, "Here"))),
    Case("country in a vehicle's subject", "wrong_subject", (Role.VEHICLE,), subject((NameOID.COUNTRY_NAME, "DE"))),
    Case("CN that is no EMAID", "wrong_subject", (Role.CONTRACT,), subject((CN, "Jane Doe"), without=(CN,))),
    Case("letter outside ASCII in an EMAID", "wrong_subject", (Role.CONTRACT,),
         subject((CN, "DEV2GC000000\N{LATIN SMALL LETTER LONG S}2"), without=(CN,))),
    Case("EMAID with a character too many", "wrong_subject", (Role.CONTRACT,),
         subject((CN, "DEV2GC0000000420"), without=(CN,))),
)  # fmt: skip
"""All of them."""


ISO_2 = tuple(role for role in ISO if role is not Role.VEHICLE)
_OTHERWISE_IN_2 = {
    "leaf on P-256", "sub-CA on P-256", "root on P-256", "leaf signed with SHA-256", "sub-CA signed with SHA-256",
    "leaf with RSA of 4096 bit", "sub-CA with digitalSignature",
}  # fmt: skip

_FIELD_2 = {("DC of another family in a sub-CA", Role.CPS)}
"""Taken, since public PKIs have it."""

CASES_2: tuple[Case, ...] = (
    *(
        case._replace(roles=tuple(role for role in case.roles if role in ISO_2 and (case.name, role) not in _FIELD_2))
        for case in CASES
        if case.name not in _OTHERWISE_IN_2 and not set(ISO_2).isdisjoint(case.roles)
    ),
    Case("leaf on P-521", "wrong_curve", ISO_2, leaf(**curve(ec.SECP521R1()))),
    Case("sub-CA on P-521", "wrong_curve", ISO_2, sub(**curve(ec.SECP521R1()))),
    Case("root on P-521", "wrong_curve", ISO_2, chains.root_on(ec.SECP521R1())),
    Case("leaf signed with SHA-512", "weak_hash", ISO_2, leaf(digest=hashes.SHA512())),
    Case("sub-CA signed with SHA-512", "weak_hash", ISO_2, sub(digest=hashes.SHA512())),
    Case("leaf with RSA of 4096 bit", "bad_profile", ISO_2, with_rsa(4096)),  # more than 800 bytes
    Case("sub-CA with keyEncipherment", "key_usage", ISO_2,
         sub(**key_usage(key_cert_sign=True, crl_sign=True, key_encipherment=True))),
    Case("charger without keyAgreement", "key_usage", (Role.SECC,), leaf(**key_usage(digital_signature=True))),
    Case("contract without nonRepudiation", "key_usage", (Role.CONTRACT,),
         leaf(**key_usage(digital_signature=True, key_encipherment=True, key_agreement=True))),
)  # fmt: skip
"""Those of ISO 15118-2."""


def cases_for(*roles: Role, sendable: bool = False, cases: Iterable[Case] = CASES) -> Callable[[Test], Test]:
    """Give a test every `case` and `role`, all of them or those that a TLS library can show."""
    found = [(case, role) for case in cases for role in case.roles if role in roles and (case.sendable or not sendable)]
    return together(("case", "role"), found, ids=lambda each: each[0].name, by=lambda each: each[1].value)
