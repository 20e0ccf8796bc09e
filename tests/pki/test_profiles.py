"""What the certificate profiles of Annex B refuse, part by part."""

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pki_tools.tree import PkiTree
from tests.pki.chains import NOW, ROLES, der, issuer_of, name, own_contract, rebuilt, refusal, usage
from v2g.errors import CertificateError
from v2g.pki.issue import Issuer, Request, Subject, issue
from v2g.pki.keys import load_private_key
from v2g.pki.profiles import Role
from v2g.pki.verify import check_profile, verify_chain

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


@pytest.mark.parametrize(
    "extensions",
    [
        [(x509.BasicConstraints(ca=True, path_length=1), True), (usage(key_cert_sign=True, crl_sign=True), True)],
        [(x509.BasicConstraints(ca=True, path_length=None), True), (usage(key_cert_sign=True, crl_sign=True), True)],
        [(x509.BasicConstraints(ca=True, path_length=0), False), (usage(key_cert_sign=True, crl_sign=True), True)],
        [(x509.BasicConstraints(ca=True, path_length=0), True), (usage(key_cert_sign=True, crl_sign=True), False)],
        [(x509.BasicConstraints(ca=True, path_length=0), True), (usage(key_cert_sign=True), True)],
        [(x509.BasicConstraints(ca=True, path_length=0), True)],
        [(usage(key_cert_sign=True, crl_sign=True), True)],
        [(x509.BasicConstraints(ca=True, path_length=0), True), (usage(crl_sign=True), True)],
    ],
)
def test_a_contracts_sub_ca_outside_its_profile_is_refused(pki: PkiTree, extensions: list[Any]) -> None:
    """V2G20-2686: critical, exactly the two CA usages, and a path length that is its place in the chain."""
    key = ec.generate_private_key(ec.SECP521R1())
    root = issuer_of(pki, "mo/root")
    assert root.certificate is not None
    begin = NOW - timedelta(days=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name((CN, "lone sub"), (ORG, "MO")))
        .issuer_name(root.certificate.subject)
        .public_key(key.public_key())
        .serial_number(11)
        .not_valid_before(begin)
        .not_valid_after(NOW + timedelta(days=9))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    sub = builder.sign(root.key, hashes.SHA512())
    request = Request(
        role=Role.CONTRACT,
        subject=Subject(common_name="DEV2GC00000007", organization="MO"),
        public_key=key.public_key(),
        serial=12,
        not_before=begin,
        ocsp_url="http://ocsp.invalid",
    )
    leaf = issue(request, Issuer(sub, key))
    assert refusal(pki, "contract", chain=(der(leaf), der(sub))) == "bad_profile"


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
