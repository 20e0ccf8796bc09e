"""Everything that is wrong with a chain is listed, with what peers of each edition make of it (R217)."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.pki.bad_certificates import CASES, CASES_2, Case, opaque
from tests.pki.forge import CN, DAY, DC, ISO, NOW, ORG, Forge, Made, name, subject_of, usage
from tests.pki_tools.conftest import Openssl, openssl
from tests.together import together
from v2g.errors import CertificateError
from v2g.pki.certificates import chain_to_pem, extensions_of, load_certificate
from v2g.pki.lint import Linted, lint
from v2g.pki.profile import Generation, Role
from v2g.pki.verify import verify_chain

__all__ = ["openssl"]  # a fixture

OLD, NEW = Generation.ISO15118_2, Generation.ISO15118_20


def constraints(octets: str, *more: tuple[x509.ExtensionType, bool]) -> dict[str, Any]:
    """Other basic constraints; those of leaves of public V2G CAs spell out the default, which DER leaves out."""
    value = opaque("2.5.29.19", bytes.fromhex(octets))
    return {"without": (x509.BasicConstraints,), "add": [(value, True), *more]}


SPELT_OUT = "3003010100"


def linted(made: Made, role: Role | None = None, *, at: Any = NOW, root: bool = True) -> Linted:
    return lint(made.chain, made.anchors if root else (), role=role, at=at)


def rules(found: Linted, edition: str = "") -> set[str]:
    return {each.rule for each in found.findings if each.edition == edition}


@pytest.mark.parametrize("generation", Generation)
@pytest.mark.parametrize("role", ISO)
def test_what_is_issued_here_is_accepted_by_its_edition_and_its_role_is_found(
    role: Role, generation: Generation
) -> None:
    if role is Role.VEHICLE and generation is OLD:
        return
    for anchored in (True, False):
        found = linted(Forge(role, generation).made(), root=anchored)
        assert (found.role, found.verdicts[generation.value]) == (role, "accepted")
        assert rules(found, generation.value) == set()
        assert rules(found) <= {"server_only"}


def judged(cases: tuple[Case, ...]) -> list[Case]:
    return [each for each in cases if each.reason != "malformed" and each.name != "nobody is trusted"]


@pytest.mark.requirement("R217")
@together("case", judged(CASES), ids=lambda case: case.name)
def test_every_bad_chain_has_its_verdict_and_reason(case: Case) -> None:
    """Those that verification, TLS and OCPP are tried with: 100 and more."""
    for role in set(case.roles) & set(ISO):
        found = linted(case.make(Forge(role)), role)
        assert found.verdicts[NEW.value] != "accepted", role
        assert found.refusals[NEW.value].startswith(f"{case.reason}: "), (role, found.refusals)


@together("case", judged(CASES_2), ids=lambda case: case.name)
@pytest.mark.long
def test_every_bad_chain_of_2_has_its_verdict_and_reason(case: Case) -> None:
    for role in set(case.roles) & set(ISO):
        found = linted(case.make(Forge(role, OLD)), role)
        assert found.refusals[OLD.value].startswith(f"{case.reason}: "), (role, found.refusals)


Change = dict[str, Any]


def add(value: x509.ExtensionType, *, critical: bool = False) -> Change:
    return {"add": [(value, critical)]}


def cn(text: str, role: Role = Role.SECC) -> Change:
    return {"subject": subject_of(role, (CN, text), without=(CN,))}


NO_DC = {"subject": subject_of(Role.SECC, without=(DC,))}
AKI = x509.AuthorityKeyIdentifier
KU, EKU, AIA = x509.KeyUsage, x509.ExtendedKeyUsage, x509.AuthorityInformationAccess

# what a certificate of -2 looks like in the field; the verdicts of peers of -2 and -20; a rule of the field or of -2
FIELD: dict[str, tuple[Role, Callable[[Forge], Made], str, str, str]] = {
    "charger without DC=CPO": (Role.SECC, lambda f: f.made(leaf=NO_DC), "tolerated", "tolerated", "no_domain"),
    "charger with DC=V2G": (
        Role.SECC,
        lambda f: f.made(leaf={"subject": name((CN, "DEV2GS" + "0" * 32), (ORG, "o"), (DC, "V2G"))}),
        "tolerated",
        "tolerated",
        "no_domain",
    ),
    "charger named by its EVSE id": (
        Role.SECC,
        lambda f: f.made(leaf=cn("DE*V2G*E1234*1")),
        "accepted",
        "tolerated",
        "secc_id",
    ),
    "charger with a host as CN": (
        Role.SECC,
        lambda f: f.made(leaf=cn("charger.example")),
        "accepted",
        "tolerated",
        "secc_id",
    ),
    "charger that is a TLS client, too": (
        Role.SECC,
        lambda f: f.made(leaf=add(EKU([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]))),
        "accepted",
        "tolerated",
        "",
    ),
    "charger for clients only": (
        Role.SECC,
        lambda f: f.made(leaf=add(EKU([ExtendedKeyUsageOID.CLIENT_AUTH]))),
        "refused",
        "refused",
        "extended_key_usage",
    ),
    "charger without extended key usage": (
        Role.SECC,
        lambda f: f.made(leaf={"without": (EKU,)}),
        "accepted",
        "tolerated",
        "",
    ),
    "charger for ten years": (
        Role.SECC,
        lambda f: f.made(
            root={"end": NOW + 4000 * DAY},
            sub1={"end": NOW + 4000 * DAY},
            sub2={"end": NOW + 4000 * DAY},
            leaf={"end": NOW + 3650 * DAY},
        ),
        "accepted",
        "tolerated",
        "long_validity",
    ),
    "charger that outlives its CA": (
        Role.SECC,
        lambda f: f.made(leaf={"end": NOW + 50 * DAY}),
        "accepted",
        "tolerated",
        "outlives_issuer",
    ),
    "charger on P-384": (
        Role.SECC,
        lambda f: f.made(leaf={"key": ec.generate_private_key(ec.SECP384R1())}),
        "refused",
        "refused",
        "wrong_curve",
    ),
    "charger signed with SHA-384": (
        Role.SECC,
        lambda f: f.made(leaf={"digest": hashes.SHA384()}),
        "tolerated",
        "tolerated",
        "weak_hash",
    ),
    "charger without OCSP": (
        Role.SECC,
        lambda f: f.made(leaf={"without": (AIA,)}),
        "tolerated",
        "tolerated",
        "bad_profile",
    ),
    "default spelt out": (Role.SECC, lambda f: f.made(leaf=constraints(SPELT_OUT)), "accepted", "tolerated", ""),
    "contract, default spelt out": (
        Role.CONTRACT,
        lambda f: f.made(leaf=constraints(SPELT_OUT)),
        "accepted",
        "tolerated",
        "",
    ),
    "contract without key usage": (
        Role.CONTRACT,
        lambda f: f.made(leaf={"without": (KU,)}),
        "tolerated",
        "tolerated",
        "key_usage",
    ),
    "contract with hyphens": (
        Role.CONTRACT,
        lambda f: f.made(leaf=cn("DE-V2G-C00000042-X", Role.CONTRACT)),
        "accepted",
        "tolerated",
        "separators",
    ),
    "contract in small letters": (
        Role.CONTRACT,
        lambda f: f.made(leaf=cn("dev2gc00000042", Role.CONTRACT)),
        "accepted",
        "tolerated",
        "separators",
    ),
    "contract of nobody": (
        Role.CONTRACT,
        lambda f: f.made(leaf=cn("nobody", Role.CONTRACT)),
        "refused",
        "refused",
        "wrong_subject",
    ),
    "contract right below the root": (
        Role.CONTRACT,
        lambda f: f.shown({**f.good(), "leaf": f.party("leaf", Role.CONTRACT, f.good()["root"])}, "leaf"),
        "refused",
        "refused",
        "",
    ),
    "vehicle with 16 characters": (
        Role.OEM_PROVISIONING,
        lambda f: f.made(leaf=cn("WMIV2GENGINE0042", Role.OEM_PROVISIONING)),
        "accepted",
        "tolerated",
        "pcid",
    ),
    "vehicle with hyphens": (
        Role.OEM_PROVISIONING,
        lambda f: f.made(leaf=cn("WMI-V2GENGINE00042-X", Role.OEM_PROVISIONING)),
        "accepted",
        "tolerated",
        "separators",
    ),
    "service without key usage": (
        Role.CPS,
        lambda f: f.made(leaf={"without": (KU,)}),
        "tolerated",
        "tolerated",
        "key_usage",
    ),
    "service below CAs with DC=V2G": (
        Role.CPS,
        lambda f: f.made(
            sub1={"subject": name((CN, "Prov Sub1"), (ORG, "o"), (DC, "V2G"))},
            sub2={"subject": name((CN, "Prov Sub2"), (ORG, "o"), (DC, "V2G"))},
        ),
        "accepted",
        "tolerated",
        "",
    ),
    "leaf without issuer's identifier": (
        Role.SECC,
        lambda f: f.made(leaf={"without": (AKI,)}),
        "accepted",
        "tolerated",
        "no_issuer_identifier",
    ),
    "leaf that names another key": (
        Role.SECC,
        lambda f: f.made(leaf=add(AKI(b"12345678", None, None))),
        "refused",
        "refused",
        "issuer_identifier",
    ),
    "sub-CAs in reverse": (
        Role.SECC,
        lambda f: f.shown(f.good(), "leaf", "sub1", "sub2"),
        "tolerated",
        "tolerated",
        "order",
    ),
    "root sent along": (
        Role.SECC,
        lambda f: f.shown(f.good(), also=(f.good()["root"].der,)),
        "accepted",
        "tolerated",
        "root_in_chain",
    ),
    "leaf alone": (Role.SECC, lambda f: f.shown(f.good(), "leaf"), "refused", "refused", ""),
    "serial number 7": (Role.SECC, lambda f: f.made(leaf={"serial": 7}), "accepted", "tolerated", "serial"),
    "expired yesterday": (Role.SECC, lambda f: f.made(leaf={"end": NOW - DAY}), "refused", "refused", "expired"),
    "from tomorrow": (Role.SECC, lambda f: f.made(leaf={"begin": NOW + DAY}), "refused", "refused", "not_yet_valid"),
    "sub-CA that signs data, too": (
        Role.SECC,
        lambda f: f.made(sub2=add(usage(key_cert_sign=True, crl_sign=True, digital_signature=True), critical=True)),
        "accepted",
        "tolerated",
        "",
    ),
}


@together("case", FIELD)
def test_what_the_field_looks_like_has_a_verdict_for_each_edition(case: str) -> None:
    role, make, of_2, of_20, rule = FIELD[case]
    found = linted(make(Forge(role, OLD)), role)
    assert found.verdicts == {OLD.value: of_2, NEW.value: of_20}, found.refusals
    assert not rule or rule in rules(found) | rules(found, OLD.value), [each.rule for each in found.findings]
    for each in found.findings:
        assert each.text.isprintable()
        assert not each.text.startswith("certificate ")


def test_all_faults_of_a_certificate_are_listed_not_the_first() -> None:
    made = Forge(Role.SECC, OLD).made(
        leaf={"subject": name((CN, "x"), (ORG, "o")), "without": (KU, x509.BasicConstraints, AIA), "serial": 9}
    )
    found = linted(made, Role.SECC)
    assert {"key_usage", "bad_profile", "wrong_domain"} <= rules(found, OLD.value)
    assert {"no_domain", "secc_id", "serial"} <= rules(found)
    assert [each.text for each in found.findings if each.rule == "no_domain"] == [
        "has no DC=CPO: vehicles of ISO 15118-2 refuse it (EVerest issue 2119)"
    ]


def test_a_spelt_out_default_changes_no_byte_and_no_signature(openssl: Openssl, tmp_path: Path) -> None:
    """The library refuses it, openssl takes it; whatever stands before or behind it, and however long that is."""
    for more in ([], [(opaque("1.2.3.4", bytes(100)), False)], [(opaque("1.2.3.4", bytes(180)), False)]):
        forge = Forge(Role.SECC, OLD)
        made = forge.made(leaf=constraints(SPELT_OUT, *more))
        leaf = load_certificate(made.chain[0])
        with pytest.raises(ValueError, match="EncodedDefault"):
            _ = leaf.extensions
        found = extensions_of(leaf)
        given = found.get_extension_for_class(x509.BasicConstraints)
        assert (given.critical, given.value.ca) == (True, False)
        assert {each.oid for each in found} >= {x509.SubjectKeyIdentifier.oid, x509.AuthorityKeyIdentifier.oid}
        chain = verify_chain(made.chain[0], made.chain[1:], made.anchors, role=Role.SECC, at=NOW, generation=OLD)
        assert chain.der == made.chain
        (tmp_path / "leaf.pem").write_text(chain_to_pem(made.chain[:1]))
        assert "CA:FALSE" in openssl("x509", "-in", tmp_path / "leaf.pem", "-text", "-noout").stdout
    for other in ("3003010101", "300401010000", "3003020100"):
        with pytest.raises(CertificateError):
            load_certificate(forge.made(leaf=constraints(other)).chain[0])


def test_what_is_no_certificate_is_said_so() -> None:
    with pytest.raises(CertificateError):
        lint([b"rubbish"], (), role=None, at=NOW + timedelta(days=1))
