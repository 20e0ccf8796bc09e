"""Chains that are believed, and every way in which one is not."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pki_tools.tree import Fault, PkiOptions, PkiTree, make_pki
from v2g.errors import CertificateError
from v2g.pki.issue import Issuer, Request, Subject, issue
from v2g.pki.keys import load_private_key
from v2g.pki.profiles import KeyKind, Role
from v2g.pki.verify import check_profile, verify_chain

NOW = datetime.now(UTC).replace(microsecond=0)
LEAVES = [
    ("secc", ("v2g",), Role.SECC),
    ("vehicle", ("v2g", "oem"), Role.VEHICLE),
    ("provisioning", ("v2g", "oem"), Role.OEM_PROVISIONING),
    ("contract", ("v2g", "mo"), Role.CONTRACT),
    ("meter", ("v2g",), Role.METER),
    ("csms/server", ("csms",), Role.CSMS_SERVER),
    ("csms/station", ("csms",), Role.STATION),
    ("csms/gateway", ("csms",), Role.GATEWAY),
    ("csms/broker", ("csms",), Role.BROKER),
]
ROLES = {leaf: role for leaf, _roots, role in LEAVES}
ROOTS = {leaf: roots for leaf, roots, _role in LEAVES}
Change = Callable[[x509.CertificateBuilder], x509.CertificateBuilder]


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def refusal(tree: PkiTree, leaf: str, *, at: datetime = NOW, **options: Any) -> str:
    """Return the reason for which a leaf's chain is refused."""
    chain = options.pop("chain", tree.chain(leaf))
    options = {"role": ROLES[leaf], "at": at} | options
    anchors = options.pop("anchors", tree.anchors(*ROOTS[leaf]))
    with pytest.raises(CertificateError) as error:
        verify_chain(chain[0], chain[1:], anchors, **options)
    return error.value.reason


def issuer_of(tree: PkiTree, name: str) -> Issuer:
    path = tree.path(f"{name}.pem")
    return Issuer(x509.load_pem_x509_certificate(path.read_bytes()), load_private_key(path.with_suffix(".key")))


def own_contract(tree: PkiTree, **change: Any) -> tuple[bytes, ...]:
    """Return a contract chain whose leaf was requested with `change`."""
    key = ec.generate_private_key(ec.SECP521R1())
    request = {
        "role": Role.CONTRACT,
        "subject": Subject(common_name="DEV2GC00000002", organization="eMSP"),
        "public_key": key.public_key(),
        "serial": 2,
        "not_before": NOW - timedelta(days=1),
        "ocsp_url": "http://ocsp.invalid",
    } | change
    leaf = issue(Request(**request), issuer_of(tree, "mo/sub2"))
    return (der(leaf), *tree.chain("contract")[1:])


def rebuilt(tree: PkiTree, leaf: str, issuer: str, **change: Any) -> tuple[bytes, ...]:
    """Return a chain whose leaf is a copy with `subject`, `without` (extension types), `add` or `hash` changed."""
    chain = tree.chain(leaf)
    old = x509.load_der_x509_certificate(chain[0])
    above = issuer_of(tree, issuer)
    assert above.certificate is not None
    builder = (
        x509.CertificateBuilder()
        .subject_name(change.get("subject", old.subject))
        .issuer_name(above.certificate.subject)
        .public_key(change.get("public_key", old.public_key()))
        .serial_number(7)
        .not_valid_before(old.not_valid_before_utc)
        .not_valid_after(old.not_valid_after_utc)
    )
    for extension in old.extensions:
        if not isinstance(extension.value, change.get("without", ())):
            builder = builder.add_extension(extension.value, extension.critical)
    for value, critical in change.get("add", ()):
        builder = builder.add_extension(value, critical)
    return (der(builder.sign(above.key, change.get("hash", hashes.SHA512()))), *chain[1:])


def name(*parts: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])


def usage(**bits: bool) -> x509.KeyUsage:
    names = ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"]
    names += ["key_cert_sign", "crl_sign", "encipher_only", "decipher_only"]
    return x509.KeyUsage(**(dict.fromkeys(names, False) | bits))


# --- believed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("leaf", "roots", "role"), LEAVES)
@pytest.mark.parametrize("order", [1, -1])
def test_every_chain_of_a_tree_is_believed_in_either_order(
    pki: PkiTree, leaf: str, roots: tuple[str, ...], role: Role, order: int
) -> None:
    chain = pki.chain(leaf)
    verified = verify_chain(chain[0], chain[1:][::order], pki.anchors(*roots), role=role, at=NOW)
    assert verified.der == chain
    assert verified.leaf_issuer == ([*verified.certificates, verified.anchor])[1]
    assert der(verified.anchor) in pki.anchors(*roots)
    assert verified.subject_cn


@pytest.mark.parametrize("kind", [KeyKind.ED448, KeyKind.SECP256R1])
def test_ed448_is_part_of_the_standard_and_p256_of_interop_only(tmp_path: Path, kind: KeyKind) -> None:
    tree = make_pki(tmp_path, now=NOW, options=PkiOptions(key_kind=kind))
    for leaf in ("secc", "vehicle", "contract"):
        chain = tree.chain(leaf)
        options = {"role": ROLES[leaf], "at": NOW}
        verify_chain(chain[0], chain[1:], tree.anchors(*ROOTS[leaf]), interop=True, **options)
        if kind is KeyKind.ED448:
            verify_chain(chain[0], chain[1:], tree.anchors(*ROOTS[leaf]), **options)
        else:
            assert refusal(tree, leaf) == "bad_profile"


def test_extensions_that_annex_b_marks_critical_are_understood(tmp_path: Path) -> None:
    tree = make_pki(tmp_path, now=NOW, options=PkiOptions(annex_b_critical=True))
    for leaf, roots, role in LEAVES:
        chain = tree.chain(leaf)
        verify_chain(chain[0], chain[1:], tree.anchors(*roots), role=role, at=NOW)


def test_a_root_sent_along_is_ignored(pki: PkiTree) -> None:
    chain = pki.chain("secc")
    root = pki.anchors("v2g")[0]
    assert verify_chain(chain[0], [*chain[1:], root], [root], role=Role.SECC, at=NOW).der == chain


def test_a_contract_gives_its_emaid_as_it_is_compared(pki: PkiTree) -> None:
    chain = own_contract(pki, subject=Subject(common_name="de-v2g-c00000003-x", organization="eMSP"))
    verified = verify_chain(chain[0], chain[1:], pki.anchors("mo"), role=Role.CONTRACT, at=NOW)
    assert verified.emaid == "DEV2GC00000003X"
    assert verified.subject_cn == "de-v2g-c00000003-x"


def test_a_contract_may_hang_below_the_v2g_root_and_below_one_sub_ca(pki: PkiTree) -> None:
    key = ec.generate_private_key(ec.SECP521R1())
    root = issuer_of(pki, "v2g/root")
    subject = Subject(common_name="MO sub", organization="MO")
    begin = NOW - timedelta(days=1)
    request = Request(role=Role.MO_SUB2, subject=subject, public_key=key.public_key(), serial=5, not_before=begin)
    sub = issue(request, root)
    contract = ec.generate_private_key(ec.SECP521R1())
    leaf = issue(
        Request(
            role=Role.CONTRACT,
            subject=Subject(common_name="DEV2GC00000009", organization="MO"),
            public_key=contract.public_key(),
            serial=6,
            not_before=begin,
            crl_url="http://crl.invalid",
        ),
        Issuer(sub, key),
    )
    assert verify_chain(der(leaf), [der(sub)], pki.anchors("v2g"), role=Role.CONTRACT, at=NOW).emaid


# --- expired, early, foreign -----------------------------------------------------------------------------------


@pytest.mark.parametrize("leaf", ["secc", "vehicle", "contract"])
@pytest.mark.parametrize("interop", [False, True])
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault.EXPIRED, "expired"),
        (Fault.NOT_YET_VALID, "not_yet_valid"),
        (Fault.FOREIGN_ROOT, "unknown_root"),
    ],
)
def test_wrong_leaves_are_refused_by_name(tmp_path: Path, leaf: str, fault: Fault, reason: str, interop: bool) -> None:
    tree = make_pki(tmp_path, now=NOW, options=PkiOptions(**{leaf: fault}))
    assert refusal(tree, leaf, interop=interop) == reason


def test_a_stranger_of_the_same_name_is_an_unknown_root(pki: PkiTree, tmp_path: Path) -> None:
    other = make_pki(tmp_path, now=NOW)
    for leaf in ("secc", "vehicle", "contract"):
        assert refusal(pki, leaf, anchors=other.anchors(*ROOTS[leaf])) == "unknown_root"


def test_a_missing_link_is_an_unknown_root(pki: PkiTree) -> None:
    leaf, sub2, sub1 = pki.chain("contract")
    for chain in ((leaf,), (leaf, sub1), (leaf, sub2)):
        assert refusal(pki, "contract", chain=chain) == "unknown_root"
    assert refusal(pki, "contract", anchors=()) == "unknown_root"


def test_mo_roots_never_anchor_tls_and_oem_roots_never_a_contract(pki: PkiTree) -> None:
    assert refusal(pki, "contract", role=Role.VEHICLE, anchors=pki.anchors("mo")) == "unknown_root"
    assert refusal(pki, "contract", role=Role.SECC, anchors=pki.anchors("mo")) == "unknown_root"
    assert refusal(pki, "vehicle", role=Role.CONTRACT, anchors=pki.anchors("oem")) == "unknown_root"


def test_expired_outweighs_not_yet_valid(tmp_path: Path) -> None:
    tree = make_pki(tmp_path, now=NOW, options=PkiOptions(contract=Fault.NOT_YET_VALID))
    above = issuer_of(tree, "mo/sub1")
    key = ec.generate_private_key(ec.SECP521R1())
    expired = Request(
        role=Role.MO_SUB2,
        subject=Subject(common_name="old", organization="MO"),
        public_key=key.public_key(),
        serial=3,
        not_before=NOW - timedelta(days=10),
        not_after=NOW - timedelta(days=1),
    )
    sub2 = issue(expired, above)
    early = Request(
        role=Role.CONTRACT,
        subject=Subject(common_name="DEV2GC00000004", organization="MO"),
        public_key=key.public_key(),
        serial=4,
        not_before=NOW + timedelta(days=1),
        ocsp_url="http://ocsp.invalid",
    )
    chain = (der(issue(early, Issuer(sub2, key))), der(sub2), tree.chain("contract")[2])
    assert refusal(tree, "contract", chain=chain) == "expired"


def test_the_last_second_is_valid_and_the_next_is_not(pki: PkiTree) -> None:
    chain = pki.chain("secc")
    end = x509.load_der_x509_certificate(chain[0]).not_valid_after_utc
    verify_chain(chain[0], chain[1:], pki.anchors("v2g"), role=Role.SECC, at=end)
    assert refusal(pki, "secc", at=end + timedelta(seconds=1)) == "expired"


# --- signatures ------------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(which=st.integers(0, 2), position=st.integers(0, 5000), bit=st.integers(0, 7))
def test_no_flipped_bit_anywhere_in_a_chain_is_believed(pki: PkiTree, which: int, position: int, bit: int) -> None:
    chain = [bytearray(each) for each in pki.chain("contract")]
    chain[which][position % len(chain[which])] ^= 1 << bit
    with pytest.raises(CertificateError):
        verify_chain(
            bytes(chain[0]), [bytes(each) for each in chain[1:]], pki.anchors("mo"), role=Role.CONTRACT, at=NOW
        )


def test_a_tampered_leaf_has_a_bad_signature(pki: PkiTree) -> None:
    chain = pki.chain("secc")
    tampered = chain[0].replace(b"DEV2GS", b"DEXXXS")
    assert tampered != chain[0]
    assert refusal(pki, "secc", chain=(tampered, *chain[1:])) == "bad_signature"


# --- profiles --------------------------------------------------------------------------------------------------

CN, ORG, COUNTRY, DC, UNIT = (
    NameOID.COMMON_NAME,
    NameOID.ORGANIZATION_NAME,
    NameOID.COUNTRY_NAME,
    NameOID.DOMAIN_COMPONENT,
    NameOID.ORGANIZATIONAL_UNIT_NAME,
)
EMAID = (CN, "DEV2GC00000001")
CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])


@pytest.mark.parametrize(
    "change",
    [
        {"without": (x509.KeyUsage,)},
        {"without": (x509.KeyUsage,), "add": [(usage(digital_signature=True), False)]},
        {"without": (x509.KeyUsage,), "add": [(usage(key_agreement=True), True)]},
        {"without": (x509.KeyUsage,), "add": [(usage(digital_signature=True, data_encipherment=True), True)]},
        {"without": (x509.KeyUsage,), "add": [(usage(digital_signature=True, key_cert_sign=True), True)]},
        {
            "without": (x509.KeyUsage,),
            "add": [(usage(digital_signature=True, key_agreement=True, encipher_only=True), True)],
        },
        {"without": (x509.BasicConstraints,)},
        {"without": (x509.BasicConstraints,), "add": [(x509.BasicConstraints(ca=False, path_length=None), False)]},
        {"without": (x509.BasicConstraints,), "add": [(x509.BasicConstraints(ca=True, path_length=0), True)]},
        {"without": (x509.AuthorityInformationAccess,)},
        {"add": [(CLIENT, False)]},  # V2G20-2686: none
        {"add": [(x509.SubjectAlternativeName([x509.DNSName("x")]), False)]},
        {"add": [(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)]},
        {"hash": hashes.SHA256()},
        {"public_key": ec.generate_private_key(ec.SECP256R1()).public_key()},
        {"public_key": ec.generate_private_key(ec.SECP384R1()).public_key()},
    ],
)
def test_a_contract_outside_its_profile_is_refused(pki: PkiTree, change: dict[str, Any]) -> None:
    assert refusal(pki, "contract", chain=rebuilt(pki, "contract", "mo/sub2", **change)) == "bad_profile"


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"subject": name(EMAID, (ORG, "eMSP"), (COUNTRY, "DE"), (UNIT, "unit"), (DC, "MO"))},
        {"without": (x509.KeyUsage,), "add": [(usage(digital_signature=True, content_commitment=True), True)]},
        {
            "without": (x509.AuthorityInformationAccess,),
            "add": [
                (
                    x509.CRLDistributionPoints(
                        [x509.DistributionPoint([x509.UniformResourceIdentifier("http://c")], None, None, None)]
                    ),
                    True,
                )
            ],
        },
    ],
)
def test_what_the_contract_profile_allows_is_believed(pki: PkiTree, change: dict[str, Any]) -> None:
    chain = rebuilt(pki, "contract", "mo/sub2", **change)
    verify_chain(chain[0], chain[1:], pki.anchors("mo"), role=Role.CONTRACT, at=NOW)


@pytest.mark.parametrize(
    ("leaf", "issuer", "subject"),
    [
        ("contract", "mo/sub2", name((ORG, "eMSP"))),
        ("contract", "mo/sub2", name(EMAID)),
        ("contract", "mo/sub2", name(EMAID, EMAID, (ORG, "eMSP"))),
        ("contract", "mo/sub2", name((CN, "not an EMAID"), (ORG, "eMSP"))),
        ("contract", "mo/sub2", name(EMAID, (ORG, "eMSP"), (NameOID.LOCALITY_NAME, "here"))),
        ("secc", "cpo/sub2", name((CN, "DEV2GS1"), (ORG, "CPO"))),
        ("secc", "cpo/sub2", name((CN, "DEV2GS1"), (ORG, "CPO"), (DC, "V2G"))),
        ("secc", "cpo/sub2", name((CN, "DEV2GS1"), (ORG, "CPO"), (DC, "CPO"), (DC, "V2G"))),
        ("vehicle", "oem/sub2", name((CN, "WMI1"), (ORG, "OEM"), (COUNTRY, "DE"))),
        ("vehicle", "oem/sub2", name((CN, "WMI1"))),
    ],
)
def test_a_subject_outside_the_profile_is_wrong(pki: PkiTree, leaf: str, issuer: str, subject: x509.Name) -> None:
    assert refusal(pki, leaf, chain=rebuilt(pki, leaf, issuer, subject=subject)) == "wrong_subject"


def test_a_vehicle_certificate_needs_client_authentication_and_an_secc_not_the_opposite(pki: PkiTree) -> None:
    chain = rebuilt(pki, "vehicle", "oem/sub2", without=(x509.ExtendedKeyUsage,))
    assert refusal(pki, "vehicle", chain=chain) == "bad_profile"
    chain = rebuilt(pki, "secc", "cpo/sub2", without=(x509.ExtendedKeyUsage,))
    verify_chain(chain[0], chain[1:], pki.anchors("v2g"), role=Role.SECC, at=NOW)
    chain = rebuilt(pki, "secc", "cpo/sub2", without=(x509.ExtendedKeyUsage,), add=[(CLIENT, False)])
    assert refusal(pki, "secc", chain=chain) == "bad_profile"


def test_no_leaf_passes_for_another_role(pki: PkiTree) -> None:
    """Except that station certificates are general clients, which OCPP wants so."""
    for leaf in ("secc", "vehicle", "provisioning", "contract"):
        for role in (Role.SECC, Role.VEHICLE, Role.OEM_PROVISIONING, Role.CONTRACT):
            if role is not ROLES[leaf]:
                with pytest.raises(CertificateError):
                    check_profile(x509.load_der_x509_certificate(pki.chain(leaf)[0]), role)


def test_a_certificate_that_no_message_can_carry_is_refused(pki: PkiTree) -> None:
    big = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), bytes(1300))
    chain = rebuilt(pki, "secc", "cpo/sub2", add=[(big, False)])
    assert len(chain[0]) > 1600
    assert refusal(pki, "secc", chain=chain) == "bad_profile"


# --- authorities -----------------------------------------------------------------------------------------------


def test_a_leaf_cannot_issue(pki: PkiTree) -> None:
    chain = pki.chain("contract")
    forger = Issuer(x509.load_der_x509_certificate(chain[0]), load_private_key(pki.path("contract/leaf.key")))
    request = Request(
        role=Role.CONTRACT,
        subject=Subject(common_name="DEV2GC00000666", organization="eMSP"),
        public_key=ec.generate_private_key(ec.SECP521R1()).public_key(),
        serial=9,
        not_before=NOW - timedelta(days=1),
        ocsp_url="http://ocsp.invalid",
    )
    forged = (der(issue(request, forger)), *chain)
    assert refusal(pki, "contract", chain=forged) == "bad_profile"
    assert refusal(pki, "contract", chain=forged, interop=True) == "bad_profile"


def test_path_lengths_bind(pki: PkiTree) -> None:
    """A sub-CA of path length 0 cannot have another one below it, in any profile."""
    chain = pki.chain("contract")
    key = ec.generate_private_key(ec.SECP521R1())
    begin = NOW - timedelta(days=1)
    subject = Subject(common_name="sub 3", organization="MO")
    request = Request(role=Role.MO_SUB2, subject=subject, public_key=key.public_key(), serial=3, not_before=begin)
    below = issue(request, issuer_of(pki, "mo/sub2"))
    leaf = own_contract(pki)[0]
    request = Request(
        role=Role.CONTRACT,
        subject=Subject(common_name="DEV2GC00000005", organization="MO"),
        public_key=key.public_key(),
        serial=4,
        not_before=begin,
        ocsp_url="http://ocsp.invalid",
    )
    leaf = der(issue(request, Issuer(below, key)))
    for interop in (False, True):
        assert refusal(pki, "contract", chain=(leaf, der(below), *chain[1:]), interop=interop) == "bad_profile"


def test_a_contract_directly_below_a_root_is_refused(pki: PkiTree) -> None:
    key = ec.generate_private_key(ec.SECP521R1())
    request = Request(
        role=Role.CONTRACT,
        subject=Subject(common_name="DEV2GC00000006", organization="MO"),
        public_key=key.public_key(),
        serial=4,
        not_before=NOW - timedelta(days=1),
        ocsp_url="http://ocsp.invalid",
    )
    leaf = der(issue(request, issuer_of(pki, "mo/root")))
    assert refusal(pki, "contract", chain=(leaf,)) == "bad_profile"


def test_more_than_three_sub_cas_are_refused(pki: PkiTree) -> None:
    subs = [pki.path(f"{each}.pem") for each in ("mo/sub2", "mo/sub1", "cpo/sub1", "cpo/sub2")]
    chain = (pki.chain("contract")[0], *(der(x509.load_pem_x509_certificate(each.read_bytes())) for each in subs))
    assert refusal(pki, "contract", chain=chain) == "bad_profile"


# --- garbage ---------------------------------------------------------------------------------------------------


@given(data=st.binary(max_size=400))
def test_anything_that_is_no_certificate_is_malformed(data: bytes) -> None:
    for leaf, subs, roots in ((data, [], []),):
        with pytest.raises(CertificateError) as error:
            verify_chain(leaf, subs, roots, role=Role.SECC, at=NOW)
        assert error.value.reason == "malformed"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mangled_certificate_is_only_ever_a_certificate_error(pki: PkiTree, data: st.DataObject) -> None:
    leaf = bytearray(pki.chain("secc")[0])
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(leaf) - 1))
        cut = data.draw(st.integers(0, 3))
        leaf[position : position + cut] = data.draw(st.binary(max_size=4))
    if bytes(leaf) == pki.chain("secc")[0]:
        return
    with pytest.raises(CertificateError):
        verify_chain(bytes(leaf), pki.chain("secc")[1:], pki.anchors("v2g"), role=Role.SECC, at=NOW)
