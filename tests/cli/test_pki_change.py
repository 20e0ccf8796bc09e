"""`v2g pki csr, issue, renew, revoke, crl, verify, export`: what a person types, and what comes of mistakes."""

import json
import os
import pty
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from pki_tools.tree import PkiTree
from tests.cli.conftest import Done, Run
from tests.together import together


@pytest.fixture
def lab(pki: PkiTree, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pki.directory, tmp_path / "lab"))


def records(done: Done) -> list[dict[str, Any]]:
    assert done.code == 0, done.errors
    return [json.loads(line) for line in done.output.splitlines()]


def test_a_certificate_goes_through_its_life(v2g: Run, lab: Path) -> None:
    issued = records(v2g("pki", "issue", str(lab), "--role", "contract", "--cn", "DEV2GC00000042", "--json"))
    assert [record["issued"] for record in issued] == ["contract/DEV2GC00000042"]
    name = issued[0]["issued"]
    chain = str(lab / name / "chain.pem")
    judged = ("pki", "verify", chain, "--role", "contract", "--tree", str(lab))
    assert records(v2g(*judged, "--json"))[0]["verdict"] == "trusted"
    renewed = records(v2g("pki", "renew", str(lab), name, "--days", "30", "--json"))
    assert renewed[0]["serial"] != issued[0]["serial"]
    assert Path(renewed[0]["former"]).exists()
    shown = records(v2g("pki", "show", str(lab), "--json"))
    assert [record["state"] for record in shown if record["name"] == name] == ["replaced", "valid"]
    revoked = records(v2g("pki", "revoke", str(lab), name, "--reason", "key-compromise", "--json"))
    assert (revoked[0]["reason"], revoked[0]["crl_waits_for"]) == ("key_compromise", None)
    done = v2g(*judged, "--json")
    assert done.code == 4
    assert json.loads(done.output)["reason"] == "revoked"
    plain = v2g(*judged)
    assert (plain.code, plain.output) == (4, "")
    assert plain.errors.startswith(f"{chain}: revoked: ")


def test_a_tree_is_plain_text_in_a_pipe_and_drawn_at_a_terminal(v2g: Run, lab: Path) -> None:
    piped = v2g("pki", "show", str(lab)).output
    assert "\x1b" not in piped
    assert any(line.startswith("      secc\tDEV2GS") for line in piped.splitlines())
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "160"}
    command = [sys.executable, "-m", "v2g_cli", "pki", "show", str(lab)]
    with subprocess.Popen(command, stdout=theirs, env=environment) as process:
        os.close(theirs)
        drawn = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:
                break
            if not part:
                break
            drawn += part
    os.close(ours)
    assert process.returncode == 0
    assert "└── ".encode() in drawn
    assert b"\x1b[" in drawn


def test_requests_go_out_and_come_back(v2g: Run, lab: Path, tmp_path: Path) -> None:
    key, csr, out = tmp_path / "secc.key", tmp_path / "secc.csr", tmp_path / "secc.pem"
    name = "DEV2GS00000000000000000000000000000009X"
    made = records(v2g("pki", "csr", "--role", "secc", "--cn", name, "--key", str(key), "--out", str(csr), "--json"))
    assert made[0]["key_made"] is True
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    again = records(v2g("pki", "csr", "--role", "secc", "--cn", name, "--key", str(key), "--out", str(csr), "--json"))
    assert again[0]["key_made"] is False
    done = v2g("pki", "issue", str(lab), "--role", "secc", "--name", "secc-9", "--csr", str(csr), "--out", str(out))
    assert done.code == 0, done.errors
    assert len(x509.load_pem_x509_certificates(out.read_bytes())) == 3
    assert v2g("pki", "verify", str(out), "--role", "secc", "--root", str(lab / "v2g/root.pem")).code == 0
    piped = ("pki", "csr", "--role", "secc", "--cn", name, "--key", str(key))
    for words in (piped, (*piped, "--out", "-")):
        printed = v2g(*words).output
        assert printed.startswith("-----BEGIN CERTIFICATE REQUEST-----")
        assert printed.endswith("-----END CERTIFICATE REQUEST-----\n")


@pytest.mark.long
def test_the_gateways_rsa_request_is_refused_for_a_station_in_words(v2g: Run, lab: Path, tmp_path: Path) -> None:
    command = (
        "openssl req -new -newkey rsa:4096 -nodes -keyout v2g_gateway.key -out v2g_gateway.csr -subj /CN=ev-7/ST=X"
    )
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed (Debian package openssl)")
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    csr = str(tmp_path / "v2g_gateway.csr")
    refused = v2g("pki", "issue", str(lab), "--role", "station", "--csr", csr)
    assert refused.code == 4
    assert refused.errors.startswith("v2g: a station certificate cannot have a key of kind rsa")
    done = v2g("pki", "issue", str(lab), "--role", "gateway", "--csr", csr)
    assert done.code == 0, done.errors
    assert "omitted, not in the profile: ST=X" in done.output


def test_exports_take_passwords_from_anywhere_but_the_command_line(
    v2g: Run, lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = ("pki", "export", str(lab), "vehicle", "--format", "pkcs12", "--out", str(tmp_path / "v.p12"))
    refused = v2g(*export)
    assert (refused.code, "a password is needed" in refused.errors) == (2, True)
    monkeypatch.setenv("P12", "secret")
    assert v2g(*export, "--password-env", "P12").code == 0
    assert stat.S_IMODE((tmp_path / "v.p12").stat().st_mode) == 0o600
    file = tmp_path / "password"
    file.write_text("secret\n")
    assert "chmod 600" in v2g(*export, "--password-file", str(file)).errors
    file.chmod(0o600)
    assert v2g(*export, "--password-file", str(file)).code == 0
    assert v2g("pki", "export", str(lab), "vehicle").output == (lab / "vehicle/chain.pem").read_text()
    assert "secp256r1 only" in v2g("pki", "export", str(lab), "-f", "josev", "-o", "x", "--password-env", "P12").errors


def test_a_tree_for_the_peer_is_made_and_exported(v2g: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOSEV", "12345")
    lab = str(tmp_path / "p256")
    made = v2g("pki", "make", lab, "--key-kind", "secp256r1", "--generation", "iso15118-2", "--emaid", "DEABCC1234567X")
    assert made.code == 0, made.errors
    assert not (tmp_path / "p256/contract-2").exists()
    options = ("--format", "josev", "--out", str(tmp_path / "pki"), "--password-env", "JOSEV")
    assert v2g("pki", "export", lab, *options).code == 0
    assert (tmp_path / "pki/iso15118_2/certs/contractLeafCert.der").exists()


@together(
    ("arguments", "code", "words"),
    [
        (("make", "{tmp}/new", "--key-kind", "dsa"), 2, "unknown kind of key"),
        (("make", "{tmp}/new", "--generation", "iso15118-3"), 2, "unknown generation"),
        (("make", "{tmp}/new", "--generation", "iso15118-2", "--key-kind", "ed448"), 2, "secp256r1 only"),
        (("make", "{tmp}/new", "--url", "https://x"), 2, "not an http:// URL of a responder"),
        (("make", "{lab}/index.json"), 2, "is not empty"),
        (("show", "{tmp}"), 2, "holds no PKI"),
        (("show", "{lab}/nothing"), 2, "No such file"),
        (("issue", "{lab}", "--role", "king", "--cn", "x"), 2, "unknown role"),
        (("issue", "{lab}", "--role", "secc"), 2, "needs a common name"),
        (("issue", "{tmp}/none", "--role", "secc", "--cn", "x"), 2, "holds no PKI"),
        (("issue", "{lab}", "--role", "secc", "--csr", "{lab}/secc/leaf.pem"), 4, "not a certificate request"),
        (("renew", "{lab}", "nobody"), 2, "no certificate named"),
        (("revoke", "{lab}"), 2, "no certificate given"),
        (("revoke", "{lab}", "secc", "--since", "yesterday"), 2, "is not a time"),
        (("revoke", "{lab}", "secc", "--since", "0001-01-01T00:00:00+14:00"), 2, "is not a time"),
        (("verify", "{lab}/secc/chain.pem", "--role", "secc"), 2, "no root to trust"),
        (("verify", "{lab}/secc/chain.pem", "--role", "secc", "--root", "{lab}/secc/leaf.key"), 4, "a private key"),
        (("export", "{lab}", "secc", "--format", "doc"), 2, "unknown format"),
        (("export", "{lab}"), 2, "no certificate given"),
        (("crl", "{lab}", "--share", "{lab}/index.json"), 2, "--share needs --sealed"),
        (("ceremony", "split", "{lab}/secc/leaf.key", "--out", "{tmp}/c"), 2, "is not a root"),
        (("ceremony", "check", "{lab}/index.json"), 4, "not a sealed key"),
        (("serve", "{tmp}"), 2, "holds no PKI"),
        (("approve", "{tmp}"), 2, "holds no PKI"),
    ],
)
def test_mistakes_are_one_line_and_a_code(
    v2g: Run, lab: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = v2g("pki", *(each.format(lab=lab, tmp=tmp_path) for each in arguments))
    assert done.code == code, done
    assert words in done.errors
    assert "Traceback" not in done.errors


@together(
    "command",
    [
        *("make", "show", "verify", "csr", "issue", "renew", "revoke", "staple", "crl", "export", "serve"),
        *("ceremony split", "ceremony check", "ceremony join", "ceremony sign"),
    ],
)
def test_help_has_an_example_that_parses(v2g: Run, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    done = v2g("pki", *command.split(), "--help")
    assert done.code == 0
    assert f"v2g pki {command} " in " ".join(done.output.split())


def test_lint_lists_what_is_wrong_and_its_exit_code_is_of_the_edition(v2g: Run, lab: Path) -> None:
    chain, root = str(lab / "secc/chain.pem"), str(lab / "v2g/root.pem")
    found = v2g("pki", "lint", chain, "--root", root)
    assert (found.code, "secc by iso15118-20: accepted" in found.output) == (0, True), found.errors
    assert "server_only: is for servers only" in found.output
    assert v2g("pki", "lint", chain, "--root", root, "--edition", "iso15118-2").code == 4
    (told,) = records(v2g("pki", "lint", chain, "--json"))
    assert told["verdicts"] == {"iso15118-2": "refused", "iso15118-20": "accepted"}
    assert v2g("pki", "lint", chain, "--role", "v2g_root").code == 2
