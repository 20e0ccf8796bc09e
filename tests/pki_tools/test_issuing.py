"""Certificates are issued by the role's own authority, keep its profile, and never take a name that is taken."""

import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pki_tools.issuing import CertificateOrder, issue_certificate, make_request, read_request
from pki_tools.tree import PkiOptions, PkiTree, make_pki
from tests.packages import need
from tests.pki_tools.conftest import NOW, Openssl
from v2g.errors import CertificateError, ConfigError, KeyAccessError
from v2g.pki.issue import Subject
from v2g.pki.keys import Algorithm, load_private_key
from v2g.pki.profile import Generation, KeyKind, Role
from v2g.pki.verify import verify_chain

LEAVES = [
    (Role.SECC, "DEV2GS00000000000000000000000000000002X", ("v2g",), "sslserver"),
    (Role.VEHICLE, "WMIV2GENGINE0000002X", ("oem",), "sslclient"),
    (Role.OEM_PROVISIONING, "WMIV2GENGINE00002X", ("oem",), "any"),
    (Role.CONTRACT, "DEV2GC00000009", ("mo",), "any"),
    (Role.CPS, "cps-2", ("v2g",), "any"),
    (Role.METER, "METER-2", ("v2g",), "any"),
    (Role.CSMS_SERVER, "csms.example", ("csms",), "sslserver"),
    (Role.STATION, "CS-2", ("csms",), "sslclient"),
    (Role.GATEWAY, "ev-2", ("csms",), "sslclient"),
    (Role.BROKER, "broker.example", ("csms",), "sslserver"),
]


def issue(tree: PkiTree, role: Role, name: str, common_name: str, **more: object) -> PkiTree:
    order = CertificateOrder(role=role, name=name, common_name=common_name, **more)  # type: ignore[arg-type]
    issue_certificate(tree.directory, order, at=NOW)
    return tree


def test_a_leaf_of_every_role_is_believed_by_us_and_by_openssl(tree: PkiTree, openssl: Openssl) -> None:
    for role, common_name, roots, purpose in LEAVES:
        name = f"new/{role.value}"
        issue(tree, role, name, common_name)
        credentials = tree.credentials(name)
        verify_chain(credentials.leaf, credentials.chain[1:], tree.anchors(*roots), role=role, at=NOW)
        chain, root = tree.path(f"{name}/chain.pem"), tree.path(f"{roots[0]}/root.pem")
        done = openssl("verify", "-x509_strict", "-purpose", purpose, "-CAfile", root, "-untrusted", chain, chain)
        assert done.stdout.endswith("OK\n")


def test_a_meter_gets_a_key_that_can_sign_its_readings(tree: PkiTree) -> None:
    """OCMF, whatever the tree's keys are; and no other is issued on request."""
    issue(tree, Role.METER, "m2", "METER-2")
    assert tree.credentials("m2").key.algorithm is Algorithm.ECDSA_SHA256
    with pytest.raises(CertificateError, match="secp521r1"):
        issue(tree, Role.METER, "m3", "METER-3", kind=KeyKind.SECP521R1)


def test_a_second_family_of_authorities_can_be_built(tree: PkiTree, openssl: Openssl) -> None:
    issue(tree, Role.V2G_ROOT, "other/root", "Other V2G Root")
    issue(tree, Role.CPO_SUB1, "cpo-b/sub1", "CPO B Sub-CA 1", authority="other/root")
    issue(tree, Role.CPO_SUB2, "cpo-b/sub2", "CPO B Sub-CA 2", authority="cpo-b/sub1")
    issue(tree, Role.SECC, "secc-b", "DEV2GS00000000000000000000000000000002X", authority="cpo-b/sub2")
    chain = tree.chain("secc-b")
    assert verify_chain(chain[0], chain[1:], tree.anchors("other"), role=Role.SECC, at=NOW)
    root, file = tree.path("other/root.pem"), tree.path("secc-b/chain.pem")
    subs = tree.path("cpo-b/sub1.crl"), tree.path("cpo-b/sub2.crl"), tree.path("other/root.crl")
    lists = [part for crl in subs for part in ("-CRLfile", crl)]
    openssl("verify", "-x509_strict", "-crl_check_all", *lists, "-CAfile", root, "-untrusted", file, file)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"role": Role.SECC, "name": "secc"}, "exists"),
        ({"role": Role.SECC, "name": "../secc2"}, "not a valid certificate name"),
        ({"role": Role.SECC, "name": "/tmp/secc2"}, "not a valid certificate name"),
        ({"role": Role.CPO_SUB2, "name": "sub2"}, "needs a family"),
        ({"role": Role.SECC, "name": "s", "authority": "vehicle"}, "not a CA"),
        ({"role": Role.SECC, "name": "s", "authority": "nobody"}, "no certificate named"),
        ({"role": Role.V2G_ROOT, "name": "s/root", "authority": "v2g/root"}, "is self-signed"),
        ({"role": Role.CROSS, "name": "s/cross"}, "no default CA"),
        ({"role": Role.SECC, "name": "s", "days": 20 * 365}, "outlive"),
        ({"role": Role.SECC, "name": "s", "days": 10**7}, "9999"),
        ({"role": Role.SECC, "name": "s", "common_name": "x" * 65}, "not valid in a certificate"),
        ({"role": Role.SECC, "name": "s", "country": "Germany"}, "not valid in a certificate"),
    ],
)
def test_what_cannot_be_is_refused_in_words_and_changes_nothing(
    tree: PkiTree, options: dict[str, object], words: str
) -> None:
    before = tree.index()
    with pytest.raises(ConfigError, match=words):
        issue_certificate(tree.directory, CertificateOrder(**({"common_name": "CN"} | options)), at=NOW)  # type: ignore[arg-type]
    assert tree.index() == before


@pytest.mark.parametrize(
    ("role", "common_name", "kind", "reason"),
    [
        (Role.CONTRACT, "not an eMAID", KeyKind.SECP521R1, "wrong_subject"),
        (Role.SECC, "CN", KeyKind.SECP384R1, "wrong_curve"),
    ],
)
def test_what_the_profile_refuses_is_not_issued(
    tree: PkiTree, role: Role, common_name: str, kind: KeyKind, reason: str
) -> None:
    with pytest.raises(CertificateError) as error:
        issue(tree, role, "s", common_name, kind=kind)
    assert error.value.reason == reason
    assert not tree.path("s").exists()


def test_without_the_authoritys_key_it_is_said_how_to_get_it(tree: PkiTree) -> None:
    tree.path("v2g/root.key").unlink()
    with pytest.raises(KeyAccessError) as error:
        issue(tree, Role.CPO_SUB1, "cpo-b/sub1", "CPO B")
    assert "ceremony" in error.value.hint
    issue(tree, Role.SECC, "secc-b", "DEV2GS00000000000000000000000000000002X")  # needs no root


def test_requests_of_every_kind_of_key_come_back_as_certificates(tree: PkiTree, tmp_path: Path) -> None:
    for role, common_name, roots, _ in LEAVES:
        issue(tree, role, f"mine/{role.value}", common_name)
        key = load_private_key(tree.path(f"mine/{role.value}/leaf.key"))
        subject = Subject(common_name=common_name, organization="O", country="DE")
        read = read_request(make_request(key, role, subject, ["a.example", "::1"]), role)
        assert (read.common_name, read.organization) == (common_name, "O")
        assert read.hosts == (("a.example", "::1") if role in (Role.CSMS_SERVER, Role.BROKER) else ())
        name = f"theirs/{role.value}"
        issue(tree, role, name, read.common_name, hosts=read.hosts, request=read.request, organization="O")
        chain = tree.chain(name)
        verify_chain(chain[0], chain[1:], tree.anchors(*roots), role=role, at=NOW)
        assert x509.load_der_x509_certificate(chain[0]).public_key() == key.public_key()
        assert not tree.path(f"{name}/leaf.key").exists()


ANSWERS = "DE\nHessen\nKassel\nFleet Operator\n\nev-0042\nfleet@example.org\n\n\n"
"""What openssl asks: C, ST, L, O, OU, CN, mail, challenge, optional name."""


@pytest.fixture(scope="module")
def gateway_request(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the command that field documents give, letter by letter, and return its folder."""
    need("openssl", program="openssl")
    folder = tmp_path_factory.mktemp("gateway")
    command = "openssl req -new -newkey rsa:4096 -nodes -keyout v2g_gateway.key -out v2g_gateway.csr"
    subprocess.run(command.split(), cwd=folder, input=ANSWERS, text=True, check=True, capture_output=True)
    return folder


@pytest.mark.long
@pytest.mark.requirement("R19")
def test_the_rsa_request_of_a_gateway_is_signed_for_its_broker_identity(
    tree: PkiTree, gateway_request: Path, openssl: Openssl
) -> None:
    read = read_request((gateway_request / "v2g_gateway.csr").read_bytes(), Role.GATEWAY)
    assert read.common_name == "ev-0042"
    assert set(read.left_out) == {"ST=Hessen", "L=Kassel", "1.2.840.113549.1.9.1=fleet@example.org"}
    issue(tree, Role.GATEWAY, "ev-0042", read.common_name, request=read.request, organization=read.organization)
    chain, root = tree.path("ev-0042/chain.pem"), tree.path("csms/root.pem")
    openssl("verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", root, "-untrusted", chain, chain)
    ours = openssl("x509", "-in", chain, "-noout", "-pubkey").stdout
    assert ours == openssl("pkey", "-in", gateway_request / "v2g_gateway.key", "-pubout").stdout
    assert verify_chain(tree.chain("ev-0042")[0], (), tree.anchors("csms"), role=Role.GATEWAY, at=NOW)


@pytest.mark.some(1)
@pytest.mark.requirement("R19")
@pytest.mark.parametrize("role", [role for role, *_ in LEAVES if role is not Role.GATEWAY] + [Role.CPO_SUB1])
def test_an_rsa_request_is_refused_for_every_other_role(tree: PkiTree, gateway_request: Path, role: Role) -> None:
    read = read_request((gateway_request / "v2g_gateway.csr").read_bytes(), role)
    with pytest.raises(CertificateError, match=f"{role.value} certificate cannot have a key of kind rsa") as error:
        issue(tree, role, "rsa/sub1", "DEV2GC00000009", request=read.request)
    assert error.value.reason == "wrong_curve"
    assert not tree.path("rsa").exists()


@pytest.mark.long
def test_a_shorter_rsa_key_is_refused_for_gateways_too(tree: PkiTree, openssl: Openssl, tmp_path: Path) -> None:
    csr = tmp_path / "short.csr"
    openssl("req", "-new", "-newkey", "rsa:3072", "-nodes", "-keyout", tmp_path / "k", "-out", csr, "-subj", "/CN=ev-1")
    read = read_request(csr.read_bytes(), Role.GATEWAY)
    with pytest.raises(CertificateError) as error:
        issue(tree, Role.GATEWAY, "ev-1", "ev-1", request=read.request)
    assert error.value.reason == "wrong_curve"


@pytest.mark.long
def test_a_request_that_is_not_signed_by_its_own_key_is_refused(gateway_request: Path) -> None:
    csr = x509.load_pem_x509_csr((gateway_request / "v2g_gateway.csr").read_bytes())
    der = bytearray(csr.public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    with pytest.raises(CertificateError) as error:
        read_request(bytes(der), Role.GATEWAY)
    assert error.value.reason == "bad_signature"
    assert isinstance(csr.public_key(), rsa.RSAPublicKey)


def test_openssl_reads_the_requests_that_we_make(tree: PkiTree, openssl: Openssl, tmp_path: Path) -> None:
    for leaf, role in (("secc", Role.SECC), ("csms/server", Role.CSMS_SERVER)):
        csr = tmp_path / "ours.csr"
        key = load_private_key(tree.path(f"{leaf}/leaf.key"))
        csr.write_bytes(make_request(key, role, Subject(common_name="c.example"), ["c.example"]))
        done = openssl("req", "-in", csr, "-noout", "-verify", "-subject", "-text")
        assert "verify OK" in done.stdout + done.stderr
        assert "DNS:c.example" in done.stdout


@pytest.mark.parametrize(
    ("kind", "generation"),
    [
        (KeyKind.ED448, Generation.ISO15118_20),
        (KeyKind.SECP256R1, Generation.ISO15118_20),
        (KeyKind.SECP256R1, Generation.ISO15118_2),
    ],
)
def test_trees_of_other_keys_issue_in_kind(
    tmp_path: Path, openssl: Openssl, kind: KeyKind, generation: Generation
) -> None:
    tree = make_pki(tmp_path / "t", now=NOW, options=PkiOptions(key_kind=kind, generation=generation))
    issue(tree, Role.CONTRACT, "more", "DEV2GC00000009")
    chain = tree.chain("more")
    interop = kind is KeyKind.SECP256R1 and generation is Generation.ISO15118_20
    options = {"role": Role.CONTRACT, "at": NOW, "interop": interop, "generation": generation}
    verify_chain(chain[0], chain[1:], tree.anchors("mo"), **options)  # type: ignore[arg-type]
    file, root = tree.path("more/chain.pem"), tree.path("mo/root.pem")
    done = openssl("verify", "-x509_strict", "-CAfile", root, "-untrusted", file, file)
    assert done.stdout.endswith("OK\n")
    assert max(len(der) for der in chain) <= (800 if kind is KeyKind.SECP256R1 else 1600)
    with pytest.raises(ConfigError, match="outlive"):
        issue(tree, Role.CONTRACT, "long", "DEV2GC00000010", days=13 * 365)
