"""Bad chains that are more than one changed certificate."""

import base64
import functools
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from msgspec.structs import replace

from tests.pki.forge import CN, COUNTRY, DAY, DC, NOW, ORG, Forge, Made, Party, name
from v2g.pki.issue import Issuer, IssueRequest, Subject, cross_certify
from v2g.pki.profile import Generation, Role

Make = Callable[[Forge], Made]


_BELOW = {2048: (105, 179), 4096: (1557, 2543)}


@functools.cache
def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    """Make a key of the largest primes of half its bits, where these are known: to find others takes a second."""
    if bits not in _BELOW:
        return rsa.generate_private_key(65537, bits)
    p, q = (2 ** (bits // 2) - each for each in _BELOW[bits])
    d = pow(65537, -1, (p - 1) * (q - 1))
    public, parts = rsa.RSAPublicNumbers(65537, p * q), (d % (p - 1), d % (q - 1), pow(q, -1, p))
    return rsa.RSAPrivateNumbers(p, q, d, *parts, public).private_key(unsafe_skip_rsa_key_validation=True)


# --- bytes -----------------------------------------------------------------------------------------------------


def with_leaf(change: Callable[[bytes], bytes]) -> Make:
    """Change the bytes of a good leaf."""

    def make(forge: Forge) -> Made:
        made = forge.made()
        return replace(made, chain=(change(made.chain[0]), *made.chain[1:]))

    return make


def pem(der: bytes) -> bytes:
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n".encode()


def ber(der: bytes) -> bytes:
    """Write the outermost length with one byte more than it takes."""
    assert der[1] == 0x82
    return b"\x30\x83\x00" + der[2:]


class KeyOfLowOrder:
    """An Ed448 key whose public half is a point for which OpenSSL takes signatures that anybody can make."""

    def public_key(self) -> ed448.Ed448PublicKey:
        return ed448.Ed448PublicKey.from_public_bytes(bytes(57))


def off_curve(der: bytes) -> bytes:
    key = x509.load_der_x509_certificate(der).public_key()
    point = key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    return der.replace(point, point[:-1] + bytes([point[-1] ^ 1]))


def renamed(der: bytes) -> bytes:
    common = x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(CN)[0].value.encode()  # type: ignore[union-attr]
    return der.replace(common, common[:-1] + bytes([common[-1] ^ 1]))


def last_bit(der: bytes) -> bytes:
    return der[:-1] + bytes([der[-1] ^ 1])


def sub_of_rubbish(forge: Forge) -> Made:
    made = forge.made()
    return replace(made, chain=(made.chain[0], b"rubbish", *made.chain[2:]))


def version_1(forge: Forge) -> Made:
    """Take version and extensions out of a leaf, and sign it again."""
    parties = forge.good()
    tbs = parties["leaf"].certificate.tbs_certificate_bytes
    fields = list(_elements(_content(tbs)))
    assert (fields[0][0], fields[-1][0]) == (0xA0, 0xA3)
    tbs = _sequence(b"".join(fields[1:-1]))
    signature = parties["sub2"].key.sign(tbs, ec.ECDSA(forge.digest))
    old = list(_elements(_content(parties["leaf"].der)))
    leaf = _sequence(tbs + old[1] + b"\x03" + _length(len(signature) + 1) + b"\x00" + signature)
    made = forge.shown(parties)
    return replace(made, chain=(leaf, *made.chain[1:]))


def _content(der: bytes) -> bytes:
    return der[2 + (der[1] & 0x7F if der[1] & 0x80 else 0) :]


def _elements(content: bytes) -> Any:
    while content:
        size = content[1]
        head = 2
        if size & 0x80:
            head += size & 0x7F
            size = int.from_bytes(content[2:head], "big")
        yield content[: head + size]
        content = content[head + size :]


def _length(size: int) -> bytes:
    if size < 0x80:
        return bytes([size])
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(octets)]) + octets


def _sequence(content: bytes) -> bytes:
    return b"\x30" + _length(len(content)) + content


# --- length and order ------------------------------------------------------------------------------------------


def levels(*shown: str) -> Make:
    """Show some of the chain only."""
    return lambda forge: forge.shown(forge.good(), *shown)


def four_subs(forge: Forge) -> Made:
    made, other = forge.made(), Forge(Role.SECC).good()
    more = (other["sub1"].der, other["sub2"].der, Forge(Role.CPS).good()["sub2"].der)
    return replace(made, chain=made.chain + more)


def six_subs(forge: Forge) -> Made:
    made = forge.made()
    return replace(made, chain=(made.chain[0], *[made.chain[1]] * 6))


def reversed_subs(forge: Forge) -> Made:
    return forge.shown(forge.good(), "leaf", "sub1", "sub2")


def sub_first(forge: Forge) -> Made:
    parties = forge.good()
    return forge.shown(parties, "sub2", "leaf", *({"sub1"} & set(parties)))


# --- roots -----------------------------------------------------------------------------------------------------

_STRANGERS = name((CN, "strangers"), (ORG, "Strangers"))
_FAMILIES = {Role.SECC: "MO", Role.CPS: "OEM", Role.VEHICLE: "MO", Role.OEM_PROVISIONING: "MO", Role.CONTRACT: "OEM"}
WITH_OTHER_FAMILY = tuple(_FAMILIES)


def foreign_root(forge: Forge) -> Made:
    return replace(forge.made(), anchors=forge.made(root={"subject": _STRANGERS}).anchors)


def namesake_root(forge: Forge) -> Made:
    return replace(forge.made(), anchors=(forge.fresh()["root"].der,))


def no_anchor(forge: Forge) -> Made:
    return replace(forge.made(), anchors=())


def self_signed_leaf(forge: Forge) -> Made:
    leaf = forge.party("leaf", forge.role, None)
    return Made(chain=(leaf.der,), key=leaf.key, anchors=forge.made().anchors)


def root_sent_along(forge: Forge) -> Made:
    made = forge.made(root={"subject": _STRANGERS})
    return replace(made, chain=made.chain + made.anchors, anchors=forge.made().anchors)


def cross(root: Party, by: Party, generation: Generation = Generation.ISO15118_20) -> bytes:
    """Return what lets those who trust `by` believe what `root` has issued."""
    request = IssueRequest(
        role=Role.CROSS,
        subject=Subject(common_name="unused"),
        public_key=root.certificate.public_key(),  # type: ignore[arg-type]
        serial=x509.random_serial_number(),
        not_before=NOW - DAY,
        not_after=NOW + DAY,
        generation=generation,
    )
    certificate = cross_certify(root.certificate, request, Issuer(by.certificate, by.key))
    return certificate.public_bytes(serialization.Encoding.DER)


def cross_by_strangers(forge: Forge) -> Made:
    parties, strangers = forge.good(), forge.parties(root={"subject": _STRANGERS})
    made = forge.shown(parties, also=(cross(parties["root"], strangers["root"], forge.generation),))
    return replace(made, anchors=forge.made(root={"subject": name((CN, "ours"), (ORG, "Ours"))}).anchors)


def other_family(forge: Forge) -> Made:
    dc = _FAMILIES[forge.role]
    return forge.made(root={"subject": name((CN, "root"), (ORG, "Forge"), (COUNTRY, "DE"), (DC, dc))})


# --- signatures and serial numbers -----------------------------------------------------------------------------


def signed_by_another(level: str) -> Make:
    return lambda forge: forge.made(**{level: {"signer": ec.generate_private_key(forge.curve)}})


def signed_by_itself(forge: Forge) -> Made:
    key = ec.generate_private_key(forge.curve)
    return forge.made(leaf={"key": key, "signer": key})


def twin_in_chain(forge: Forge) -> Made:
    return _with_twin(forge, "leaf", forge.role, "sub2")


def twin_sub_in_chain(forge: Forge) -> Made:
    return _with_twin(forge, forge.top, Role.CSMS_SUB, "root")


def _with_twin(forge: Forge, level: str, role: Role, above: str) -> Made:
    parties = forge.good()
    twin = forge.party(level, role, parties[above], serial=parties[level].certificate.serial_number)
    return forge.shown(parties, also=(twin.der,))


def expired_below_early(forge: Forge) -> Made:
    return forge.made(sub2={"begin": NOW + DAY}, leaf={"end": NOW - DAY})


# --- authorities and names -------------------------------------------------------------------------------------


def issued_by_leaf(forge: Forge) -> Made:
    parties = forge.good()
    below = forge.party("leaf", forge.role, parties["leaf"])
    made = forge.shown(parties)
    return replace(made, chain=(below.der, *made.chain), key=below.key)


def third_sub(forge: Forge) -> Made:
    parties = forge.good()
    role = Role.CSMS_SUB if forge.top == "sub2" else Role.CPO_SUB2
    third = forge.party("sub3", role, parties["sub2"])
    leaf = forge.party("leaf", forge.role, third)
    made = forge.shown(parties)
    return replace(made, chain=(leaf.der, third.der, *made.chain[1:]), key=leaf.key)


def root_on(curve: ec.EllipticCurve) -> Make:
    return lambda forge: forge.made(root={"key": ec.generate_private_key(curve)}, sub1={"digest": forge.digest})


def below_root(forge: Forge) -> Made:
    root = forge.good()["root"]
    leaf = forge.party("leaf", forge.role, root)
    return Made(chain=(leaf.der,), key=leaf.key, anchors=(root.der,))


def constrained(
    level: str,
    *,
    permitted: x509.GeneralName | None = None,
    excluded: x509.GeneralName | None = None,
    alternative: x509.GeneralName | None = None,
) -> Make:
    """Constrain what `level` may certify; `top` is the first CA below the root. `alternative` is the leaf's name."""
    constraints = x509.NameConstraints([permitted] if permitted else None, [excluded] if excluded else None)

    def make(forge: Forge) -> Made:
        leaf = {"add": [(x509.SubjectAlternativeName([alternative]), False)]} if alternative else {}
        where = forge.top if level == "top" else level
        return forge.made(**{where: {"add": [(constraints, True)]}, "leaf": leaf})

    return make


def leaf_excluded(level: str) -> Make:
    """Exclude the leaf's own name."""

    def make(forge: Forge) -> Made:
        common = forge.good()["leaf"].certificate.subject.get_attributes_for_oid(CN)[0]
        excluded = x509.DirectoryName(name((CN, str(common.value).lower())))
        return constrained(level, excluded=excluded)(forge)

    return make


HOST, URI = x509.DNSName("a.b.invalid"), x509.UniformResourceIdentifier("https://a.invalid/x")
ADDRESS, NETWORK = x509.IPAddress(ip_address("10.0.0.1")), x509.IPAddress(ip_network("192.168.0.0/16"))
