"""Certificates as issued, read by `cryptography` alone: subject, times, keys, usages, where to ask for more."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from tests.together import together
from v2g.pki.issue import Issuer, IssueRequest, Subject, cross_certify, issue, key_identifier, signature_hash
from v2g.pki.keys import PrivateKey
from v2g.pki.profile import FieldPresence, Generation, KeyKind, KeyUsageBit, Role
from v2g.pki.profiles import OPERATOR, PROFILES, PROFILES_2, generation_of, profile_of

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
DAY = timedelta(days=1)
P521, P384, P256 = (ec.generate_private_key(curve) for curve in (ec.SECP521R1(), ec.SECP384R1(), ec.SECP256R1()))
ED448 = ed448.Ed448PrivateKey.generate()
LEAF_KEY = ec.generate_private_key(ec.SECP521R1())


def made(role: Role, key: PrivateKey = P521, issuer: Issuer | None = None, **more: object) -> x509.Certificate:
    values: dict[str, object] = {
        "subject": Subject(common_name="CN", organization="O", country="DE"), "serial": 7, "not_before": NOW, **more,
    }  # fmt: skip
    request = IssueRequest(role=role, public_key=key.public_key(), **values)  # type: ignore[arg-type]
    return issue(request, issuer or Issuer(None, key))


ROOT = made(Role.V2G_ROOT)
SUB = made(Role.CPO_SUB1, P384, Issuer(ROOT, P521))


@together(
    ("key", "name"),
    [(P521, "sha512"), (P384, "sha384"), (P256, "sha256"), (ED448, None)],
    ids=lambda case: str(case[1]),
)
def test_each_key_signs_with_the_hash_of_its_length(key: PrivateKey, name: str | None) -> None:
    chosen = signature_hash(key)
    assert (None if chosen is None else chosen.name) == name
    root = made(Role.CSMS_ROOT, key)
    root.verify_directly_issued_by(root)
    assert (None if root.signature_hash_algorithm is None else root.signature_hash_algorithm.name) == name


def test_a_certificate_has_what_was_asked_for_and_the_names_of_its_issuer() -> None:
    leaf = made(Role.SECC, LEAF_KEY, Issuer(SUB, P384), not_after=NOW + 9 * DAY)
    leaf.verify_directly_issued_by(SUB)
    assert (leaf.serial_number, leaf.not_valid_before_utc, leaf.not_valid_after_utc) == (7, NOW, NOW + 9 * DAY)
    assert leaf.public_key() == LEAF_KEY.public_key()
    assert made(Role.SECC, LEAF_KEY, Issuer(SUB, P384)).not_valid_after_utc == NOW + PROFILES[Role.SECC].days * DAY
    extensions = leaf.extensions
    identifier = extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    assert identifier.value == x509.SubjectKeyIdentifier.from_public_key(LEAF_KEY.public_key())
    above = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    assert above.value.key_identifier == key_identifier(P384.public_key())
    assert (above.value.authority_cert_issuer, above.value.authority_cert_serial_number) == (None, None)
    assert not identifier.critical
    assert not above.critical
    own = ROOT.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert own.key_identifier == key_identifier(P521.public_key())
    assert ROOT.issuer == ROOT.subject


def test_a_subject_keeps_its_order_and_what_the_profile_knows() -> None:
    """Common name, organization, country, domain component; a domain that the profile wants is added."""
    subject = Subject(common_name="CN", organization="O", country="DE", domain="CPO")
    names = [each.oid for each in made(Role.SECC, LEAF_KEY, Issuer(SUB, P384), subject=subject).subject]
    assert names == [NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.COUNTRY_NAME, NameOID.DOMAIN_COMPONENT]
    for role, profile in PROFILES.items():
        part = profile.subject.get(NameOID.DOMAIN_COMPONENT.dotted_string)
        plain = made(role, P521, Issuer(SUB, P384), subject=Subject(common_name="CN"))
        domains = plain.subject.get_attributes_for_oid(NameOID.DOMAIN_COMPONENT)
        wanted = part is not None and part.presence is FieldPresence.REQUIRED
        assert [each.value for each in domains] == ([part.value] if wanted and part is not None else [])
        assert len(plain.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)) == 0
    other = Subject(common_name="CN", domain="OTHER")  # it is said by whoever checks
    for role, profile in PROFILES.items():
        if NameOID.DOMAIN_COMPONENT.dotted_string in profile.subject:
            (domain,) = made(role, P521, Issuer(SUB, P384), subject=other).subject.get_attributes_for_oid(
                NameOID.DOMAIN_COMPONENT
            )
            assert domain.value == "OTHER"
    gateway = made(Role.GATEWAY, P521, Issuer(SUB, P384), subject=subject)
    assert gateway.subject.get_attributes_for_oid(NameOID.DOMAIN_COMPONENT) == []


def test_a_key_identifier_is_the_hash_of_rfc_5280() -> None:
    digest = x509.SubjectKeyIdentifier.from_public_key(P256.public_key()).digest
    assert (len(digest), key_identifier(P256.public_key())) == (20, digest)
    assert key_identifier(P256.public_key(), 8) == digest[:8]


@together("role", PROFILES)
def test_usages_are_those_of_the_profile_and_critical(role: Role) -> None:
    profile = PROFILES[role]
    found = made(role, P521, Issuer(SUB, P384)).extensions
    basic = found.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, profile.ca, profile.path_length)
    usage = found.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    bits = {
        each for each in KeyUsageBit
        if not (each.value.endswith("_only") and not usage.value.key_agreement) and getattr(usage.value, each.value)
    }  # fmt: skip
    assert bits == profile.usages | profile.issued_usages
    if profile.extended_usage is None:
        with pytest.raises(x509.ExtensionNotFound):
            found.get_extension_for_class(x509.ExtendedKeyUsage)
    else:
        extended = found.get_extension_for_class(x509.ExtendedKeyUsage)
        assert not extended.critical
        assert [each.dotted_string for each in extended.value] == [profile.extended_usage]
    for kind in (x509.AuthorityInformationAccess, x509.CRLDistributionPoints, x509.SubjectAlternativeName):
        with pytest.raises(x509.ExtensionNotFound):
            found.get_extension_for_class(kind)
    assert any(isinstance(each.value, x509.OCSPNoCheck) for each in found) is (role is Role.OCSP_RESPONDER)
    assert not any(each.critical for each in found if isinstance(each.value, x509.OCSPNoCheck))


@together("critical", [False, True])
def test_a_certificate_says_where_it_is_revoked_and_which_hosts_it_is_for(critical: bool) -> None:
    hosts = ("csms.example", ip_address("192.0.2.1"), ip_address("2001:db8::1"))
    urls = {"ocsp_url": "http://ocsp.example/", "crl_url": "http://crl.example/"}
    leaf = made(Role.CSMS_SERVER, LEAF_KEY, Issuer(SUB, P384), hosts=hosts, annex_b_critical=critical, **urls)
    access = leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess)
    assert [(each.access_method, each.access_location.value) for each in access.value] == [
        (AuthorityInformationAccessOID.OCSP, urls["ocsp_url"])
    ]
    points = leaf.extensions.get_extension_for_class(x509.CRLDistributionPoints)
    (point,) = points.value
    assert point.full_name is not None
    assert [each.value for each in point.full_name] == [urls["crl_url"]]
    assert (point.relative_name, point.reasons, point.crl_issuer) == (None, None, None)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == ["csms.example"]
    assert names.value.get_values_for_type(x509.IPAddress) == list(hosts[1:])
    assert not names.critical
    identifiers = (x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier)
    extensions = [access, points, *(leaf.extensions.get_extension_for_class(each) for each in identifiers)]
    assert {each.critical for each in extensions} == {critical}


def test_a_cross_certificate_has_the_name_and_key_of_the_other_root() -> None:
    other = made(Role.V2G_ROOT, P384, subject=Subject(common_name="Other", organization="P", domain="V2G"))
    subject = Subject(common_name="ignored")
    request = IssueRequest(role=Role.CROSS, subject=subject, public_key=P256.public_key(), serial=9, not_before=NOW)
    cross = cross_certify(other, request, Issuer(ROOT, P521))
    cross.verify_directly_issued_by(ROOT)
    assert (cross.subject, cross.public_key(), cross.serial_number) == (other.subject, P384.public_key(), 9)
    assert cross.not_valid_before_utc == NOW
    assert cross.not_valid_after_utc == NOW + PROFILES[Role.CROSS].days * DAY
    own = other.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert cross.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value == own
    above = cross.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert above.key_identifier == key_identifier(P521.public_key())
    basic = cross.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca) == (True, True)
    old = IssueRequest(
        role=Role.CROSS, subject=subject, public_key=P256.public_key(), serial=9, not_before=NOW, not_after=NOW + DAY,
        generation=Generation.ISO15118_2, annex_b_critical=True,
    )  # fmt: skip
    short = cross_certify(other, old, Issuer(ROOT, P521))
    assert short.not_valid_after_utc == NOW + DAY
    assert short.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).critical


def test_a_certificate_of_iso_15118_2_keeps_the_profile_of_that_edition() -> None:
    old = made(Role.CONTRACT, P256, Issuer(SUB, P384), generation=Generation.ISO15118_2)
    new = made(Role.CONTRACT, P256, Issuer(SUB, P384))
    for found, profiles in ((old, PROFILES_2), (new, PROFILES)):
        assert found.not_valid_after_utc == NOW + profiles[Role.CONTRACT].days * DAY
        size = profiles[Role.CONTRACT].subject_key_id_bytes
        identifier = found.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        assert identifier.digest == key_identifier(P256.public_key(), size)
    assert PROFILES_2[Role.CONTRACT] != PROFILES[Role.CONTRACT]


# -- profiles of the operator's own PKI

SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH.dotted_string, ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string
LEAVES = {
    Role.CSMS_SERVER: SERVER, Role.STATION: None, Role.GATEWAY: CLIENT, Role.API_CLIENT: CLIENT, Role.BROKER: SERVER,
    Role.TRUST_LIST: "1.3.6.1.4.1.311.10.3.1",
}  # fmt: skip
ELLIPTIC = {KeyKind.SECP521R1, KeyKind.SECP384R1, KeyKind.SECP256R1, KeyKind.ED448}


def test_authorities_of_the_operator_sign_certificates_and_lists_only() -> None:
    assert OPERATOR.keys() == LEAVES.keys() | {Role.CSMS_ROOT, Role.CSMS_SUB}
    for role, days, below in ((Role.CSMS_ROOT, 7300, 1), (Role.CSMS_SUB, 3650, 0)):
        found = OPERATOR[role]
        assert (found.ca, found.days, found.path_length, found.exact_path_length) == (True, days, below, False)
        assert found.other_parts
        assert found.usages == {KeyUsageBit.KEY_CERT_SIGN, KeyUsageBit.CRL_SIGN}


@together("role", LEAVES)
def test_leaves_of_the_operator_have_the_usage_of_their_role(role: Role) -> None:
    """A00.FR.514: none for stations. The usage of a list's signer is required, as others could sign it, too."""
    found = OPERATOR[role]
    assert (found.extended_usage, found.ca, found.path_length) == (LEAVES[role], False, None)
    assert found.extended_usage_required is (role is Role.TRUST_LIST)
    assert (found.days, found.authorities, found.other_parts) == (730, (Role.CSMS_SUB,), False)
    assert found.usages == {KeyUsageBit.DIGITAL_SIGNATURE}
    assert found.allowed_usages == {
        KeyUsageBit.CONTENT_COMMITMENT, KeyUsageBit.KEY_ENCIPHERMENT, KeyUsageBit.KEY_AGREEMENT
    }  # fmt: skip


@together("role", OPERATOR)
def test_keys_and_hashes_of_the_operator_are_of_112_bit_at_least(role: Role) -> None:
    """A00.FR.506, .507. Gateways have RSA keys of 4096 bit in the field."""
    found = OPERATOR[role]
    assert found.key_kinds == ELLIPTIC | ({KeyKind.RSA} if role is Role.GATEWAY else set())
    assert found.interop_kinds == ELLIPTIC | {KeyKind.RSA, KeyKind.RSA_2048}
    assert (found.hashes, found.max_bytes) == ({"sha256", "sha384", "sha512"}, 8192)
    parts = {oid: part.presence for oid, part in found.subject.items()}
    required, optional = FieldPresence.REQUIRED, FieldPresence.OPTIONAL
    assert parts == {
        NameOID.COMMON_NAME.dotted_string: required, NameOID.ORGANIZATION_NAME.dotted_string: required,
        NameOID.ORGANIZATIONAL_UNIT_NAME.dotted_string: optional, NameOID.COUNTRY_NAME.dotted_string: optional,
    }  # fmt: skip


def test_a_profile_is_found_by_role_and_edition() -> None:
    assert PROFILES.keys() - PROFILES_2.keys() == {Role.VEHICLE}
    for role in OPERATOR:
        assert profile_of(role) is profile_of(role, Generation.ISO15118_2) is OPERATOR[role]
    assert profile_of(Role.SECC) is PROFILES[Role.SECC]
    assert profile_of(Role.SECC, Generation.ISO15118_2) is PROFILES_2[Role.SECC] is not PROFILES[Role.SECC]
    with pytest.raises(KeyError):
        profile_of(Role.VEHICLE, Generation.ISO15118_2)
    editions = {each: generation_of(each) for each in (None, *KeyKind)}
    assert {each for each, edition in editions.items() if edition is Generation.ISO15118_2} == {KeyKind.SECP256R1}
