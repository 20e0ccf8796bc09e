"""`v2g pki`: what a person types, and what comes of mistakes."""

import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, pkcs7, pkcs12
from typer.testing import CliRunner, Result

from v2g.errors import CertificateError, ConfigError
from v2g_cli.main import app

runner = CliRunner()


def v2g(*arguments: object) -> Result:
    return runner.invoke(app, [str(each) for each in arguments], catch_exceptions=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki") / "lab"
    emaids = [each for n in (1, 2, 3) for each in ("--emaid", f"DEABCC765432{n}X")]
    done = v2g("pki", "make", folder, *emaids, "--host", "csms.example", "--gateway-id", "ev-9")
    assert done.exit_code == 0, done.output
    return folder


def test_identities_are_taken_from_the_command_line(made: Path) -> None:
    leaf = x509.load_pem_x509_certificate((made / "contract/leaf.pem").read_bytes())
    assert "CN=DEABCC7654321X" in leaf.subject.rfc4514_string()
    server = x509.load_pem_x509_certificate((made / "csms/server/leaf.pem").read_bytes())
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["csms.example"]
    assert all(path.stat().st_mode & 0o077 == 0 for path in made.rglob("*.key"))


def test_a_folder_that_is_not_empty_is_kept_unless_forced(tmp_path: Path) -> None:
    made = tmp_path / "lab"
    assert v2g("pki", "make", made).exit_code == 0
    before = (made / "v2g/root.pem").read_bytes()
    refused = v2g("pki", "make", made)
    assert isinstance(refused.exception, ConfigError)
    assert (made / "v2g/root.pem").read_bytes() == before
    assert v2g("pki", "make", made, "--force").exit_code == 0
    assert (made / "v2g/root.pem").read_bytes() != before


def test_a_chain_is_shown_a_line_a_certificate_with_the_profiles_it_keeps(made: Path) -> None:
    done = v2g("pki", "show", made / "secc/chain.pem", "--role", "secc")
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert len(lines) == 3
    assert "secc" in lines[0].split("\t")[-1]
    records = [json.loads(line) for line in v2g("pki", "show", made / "secc/chain.pem", "--json").output.splitlines()]
    assert [record["state"] for record in records] == ["valid"] * 3


def test_a_certificate_of_another_role_is_told_apart(made: Path) -> None:
    done = v2g("pki", "show", made / "vehicle/leaf.pem", "--role", "secc")
    assert done.exit_code == 4


@pytest.mark.parametrize(("name", "error"), [("secc/leaf.key", CertificateError), ("nowhere.pem", ConfigError)])
def test_what_is_no_certificate_is_named(made: Path, name: str, error: type[Exception]) -> None:
    refused = v2g("pki", "show", made / name).exception
    assert isinstance(refused, error)
    assert name in str(refused)


@pytest.mark.parametrize("container", ["pkcs12", "pkcs7"])
def test_a_container_is_named_with_what_opens_it(made: Path, tmp_path: Path, container: str) -> None:
    (certificate,) = x509.load_pem_x509_certificates((made / "v2g/root.pem").read_bytes())
    file = tmp_path / "from-a-partner"
    if container == "pkcs7":
        file.write_bytes(pkcs7.serialize_certificates([certificate], Encoding.DER))
    else:
        file.write_bytes(pkcs12.serialize_key_and_certificates(None, None, certificate, None, NoEncryption()))
    refused = v2g("pki", "show", file).exception
    assert isinstance(refused, CertificateError)
    assert str(file) in str(refused)
    assert f"openssl {container}" in refused.hint
    done = v2g("pki", "verify", file, "--role", "v2g_root", "--root", made / "v2g/root.pem")
    assert (done.exit_code, done.output.count(str(file))) == (4, 1)


def test_ocsp_answers_are_renewed_and_can_say_revoked(made: Path) -> None:
    before = (made / "secc/ocsp.der").read_bytes()
    done = v2g("pki", "staple", made, "--revoked", "--json")
    said = {record["leaf"]: record["revoked"] for record in map(json.loads, done.output.splitlines())}
    assert said == {"secc": True} | dict.fromkeys(("contract", "contract-2", "contract-3", "cps"), False)
    answer = x509.ocsp.load_der_ocsp_response((made / "secc/ocsp.der").read_bytes())
    assert next(iter(answer.responses)).certificate_status is x509.ocsp.OCSPCertStatus.REVOKED
    assert (made / "secc/ocsp.der").read_bytes() != before
    assert v2g("pki", "staple", made).exit_code == 0
