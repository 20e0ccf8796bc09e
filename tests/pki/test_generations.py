"""The same data issues and verifies: every role of both generations, on every kind of key that it may have."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448

from tests.pki.forge import AUTHORITIES, DAY, ISO, NOW, Forge, Made, usage
from tests.pki.forge_chains import rsa_key
from tests.together import together
from v2g.errors import CertificateError
from v2g.pki.certificates import load_certificate
from v2g.pki.conformity import check_profile
from v2g.pki.issue import CertifiedKey, Issuer, IssueRequest, Subject, issue
from v2g.pki.keys import PrivateKey
from v2g.pki.profile import Generation, KeyKind, Role
from v2g.pki.profiles import PROFILES, PROFILES_2, profile_of
from v2g.pki.verify import VerifiedChain, verify_chain

NEW, OLD = Generation.ISO15118_20, Generation.ISO15118_2
CURVES = {KeyKind.SECP256R1: ec.SECP256R1(), KeyKind.SECP384R1: ec.SECP384R1(), KeyKind.SECP521R1: ec.SECP521R1()}
LONGEST = {
    Role.CONTRACT: "DEV2GC00000042X",
    Role.SECC: "DEV2GS" + "0" * 58,
    Role.OEM_PROVISIONING: "WMIV2GENGINE00042X",
}


def new_key(kind: KeyKind) -> PrivateKey:
    return ed448.Ed448PrivateKey.generate() if kind is KeyKind.ED448 else ec.generate_private_key(CURVES[kind])


def certificate(
    role: Role, key: CertifiedKey, issuer: Issuer, generation: Generation, *, critical: bool = False
) -> x509.Certificate:
    request = IssueRequest(
        role=role,
        subject=Subject(common_name=LONGEST.get(role, role.value), organization="Operator of Chargers", country="DE"),
        public_key=key,
        serial=x509.random_serial_number(),
        not_before=NOW - DAY,
        ocsp_url="http://ocsp.operator.example/x" if issuer.certificate is not None else None,
        generation=generation,
        annex_b_critical=critical,
    )
    return issue(request, issuer)


ALL = [
    (generation, role, kind)
    for generation, table in ((NEW, PROFILES), (OLD, PROFILES_2))
    for role, profile in table.items()
    for kind in sorted(profile.key_kinds, key=lambda each: each.value)  # the same order in every process
]


@together(("generation", "role", "kind"), ALL)
def test_what_is_issued_by_a_profile_keeps_it(generation: Generation, role: Role, kind: KeyKind) -> None:
    above = KeyKind.SECP521R1 if generation is NEW else KeyKind.SECP256R1
    root_key = new_key(above)
    root = certificate(Role.V2G_ROOT, root_key.public_key(), Issuer(None, root_key), generation)
    key = rsa_key(4096).public_key() if kind is KeyKind.RSA else new_key(kind).public_key()
    check_profile(certificate(role, key, Issuer(root, root_key), generation), role, generation=generation)


def chain(role: Role, kind: KeyKind, generation: Generation, *, critical: bool = False) -> list[bytes]:
    """Return a whole chain, leaf first, root last."""
    made: list[bytes] = []
    issuer: Issuer | None = None
    for each in (*(authority for _, authority in AUTHORITIES[role]), role):
        key = new_key(kind)
        found = certificate(each, key.public_key(), issuer or Issuer(None, key), generation, critical=critical)
        issuer = Issuer(found, key)
        made.insert(0, found.public_bytes(serialization.Encoding.DER))
    return made


def verify(shown: list[bytes], role: Role, generation: Generation, *, interop: bool = False) -> VerifiedChain:
    leaf, *subs, root = shown
    return verify_chain(leaf, subs, [root], role=role, at=NOW, generation=generation, interop=interop)


@pytest.mark.parametrize("role", ISO)
@pytest.mark.parametrize("kind", [KeyKind.SECP521R1, KeyKind.ED448])
@pytest.mark.parametrize("critical", [False, True])
def test_whole_chains_of_every_family_on_both_curves(role: Role, kind: KeyKind, critical: bool) -> None:
    """Also with key identifiers marked critical, as Annex B has them."""
    shown = chain(role, kind, NEW, critical=critical)
    assert len(verify(shown, role, NEW).certificates) == 3
    assert max(map(len, shown)) <= 1600
    if role is not Role.VEHICLE:
        with pytest.raises(CertificateError) as error:
            verify(shown, role, OLD)
        assert error.value.reason == "wrong_curve"


@pytest.mark.parametrize("role", [role for role in ISO if role is not Role.VEHICLE])
def test_whole_chains_of_the_generation_before(role: Role) -> None:
    """secp256r1 with SHA-256, 800 bytes each; -20 takes them for interoperability only."""
    shown = chain(role, KeyKind.SECP256R1, OLD)
    assert len(verify(shown, role, OLD).certificates) == 3
    assert max(map(len, shown)) <= 800
    verify(shown, role, NEW, interop=True)
    with pytest.raises(CertificateError) as error:
        verify(shown, role, NEW)
    assert error.value.reason == "wrong_curve"


@pytest.mark.parametrize(
    ("role", "tariffs", "refused"),
    [(Role.CONTRACT, False, ""), (Role.CONTRACT, True, ""), (Role.SECC, False, ""), (Role.SECC, True, "key_usage")],
)
def test_sub_cas_of_the_generation_before_may_sign_data(role: Role, tariffs: bool, refused: str) -> None:
    """Annex F as public PKIs have it: the sub-CA above contracts signs tariffs (nonRepudiation)."""
    allowed = usage(key_cert_sign=True, crl_sign=True, digital_signature=True, content_commitment=tariffs)
    shown = Forge(role, OLD).made(sub2={"add": [(allowed, True)]})
    assert fault(shown, role, OLD) == refused


@pytest.mark.parametrize("more", [(), ("key_agreement",), ("key_encipherment", "key_agreement")])
def test_contracts_of_the_generation_before_have_two_key_usages_or_more(more: tuple[str, ...]) -> None:
    """Sources disagree on Annex F: digitalSignature and nonRepudiation alone, or all four, which are issued."""
    found = usage(digital_signature=True, content_commitment=True, **dict.fromkeys(more, True))
    shown = Forge(Role.CONTRACT, OLD).made(leaf={"add": [(found, True)]})
    assert fault(shown, Role.CONTRACT, OLD) == ""
    issued = load_certificate(chain(Role.CONTRACT, KeyKind.SECP256R1, OLD)[0])
    bits = issued.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (bits.digital_signature, bits.content_commitment, bits.key_encipherment, bits.key_agreement) == (True,) * 4


def test_sub_cas_of_iso15118_20_sign_certificates_only() -> None:
    allowed = usage(key_cert_sign=True, crl_sign=True, digital_signature=True)
    shown = Forge(Role.CONTRACT, NEW).made(sub2={"add": [(allowed, True)]})
    assert fault(shown, Role.CONTRACT, NEW) == "key_usage"


def fault(shown: Made, role: Role, generation: Generation) -> str:
    try:
        verify([*shown.chain, *shown.anchors], role, generation)
    except CertificateError as error:
        return error.reason
    return ""


def test_the_generation_before_has_no_vehicle_certificates() -> None:
    assert Role.VEHICLE not in PROFILES_2
    assert set(PROFILES) == set(Role)
    with pytest.raises(KeyError):
        profile_of(Role.VEHICLE, OLD)
