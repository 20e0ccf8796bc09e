"""`v2g pki ceremony`: from a root's key to paper, and back for one signature."""

import json
import stat
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest
from cryptography import x509

from pki_tools import ceremony
from pki_tools.tree import PkiTree, make_pki
from tests.cli.conftest import Run
from tests.packages import need
from tests.pki_tools.conftest import NOW


@pytest.fixture
def lab(tmp_path: Path) -> PkiTree:
    return make_pki(tmp_path / "lab", now=NOW)


def split(v2g: Run, lab: PkiTree, out: Path, *more: str) -> list[str]:
    done = v2g("pki", "ceremony", "split", str(lab.path("v2g/root.key")), "--out", str(out), "--json", *more)
    assert done.code == 0, done.errors
    return list(json.loads(done.output)["sheets"])


def shares(papers: list[str], *numbers: int) -> list[str]:
    return [part for number in numbers for part in ("--share", papers[number - 1])]


def test_a_root_lives_on_paper_and_signs_with_three_of_five(v2g: Run, lab: PkiTree, tmp_path: Path) -> None:
    out = tmp_path / "ceremony"
    papers = split(v2g, lab, out, "--holder", "Ada", "--holder", "Grace", "--present", "Notary", "--remove-key")
    sealed = str(out / "root.sealed")
    assert not lab.path("v2g/root.key").exists()
    assert {stat.S_IMODE(Path(sheet).stat().st_mode) for sheet in papers} == {0o600}
    transcript = json.loads(next(out.glob("transcript-split-*.json")).read_bytes())
    assert transcript["present"] == ["Notary"]
    assert [share["holder"] for share in transcript["shares"]] == ["Ada", "Grace", None, None, None]
    assert (transcript["trial_joins"], transcript["key_removed"]) == (10, True)
    words = set(Path(papers[0]).read_text().split()[-200:])
    assert not {share["mark"] for share in transcript["shares"]} & (words - {transcript["shares"][0]["mark"]})

    refused = v2g("pki", "renew", str(lab.directory), "cpo/sub1")
    assert (refused.code, "ceremony" in refused.errors) == (4, True)
    for two in combinations(range(1, 6), 2):
        done = v2g("pki", "ceremony", "sign", str(lab.directory), "--sealed", sealed, *shares(papers, *two))
        assert done.code == 4
        assert "2 shares given, 3 needed" in done.errors
    old = lab.path("cpo/sub1.pem").read_bytes()
    sign = ("pki", "ceremony", "sign", str(lab.directory), "cpo/sub1", "--sealed", sealed)
    done = v2g(*sign, *shares(papers, 5, 1, 3), "--present", "Notary", "--json")
    assert done.code == 0, done.errors
    assert json.loads(done.output)["files"][-1] == "v2g/root.crl"
    assert lab.path("cpo/sub1.pem").read_bytes() != old
    x509.load_pem_x509_certificate(lab.path("cpo/sub1.pem").read_bytes()).verify_directly_issued_by(
        x509.load_pem_x509_certificate(lab.path("v2g/root.pem").read_bytes())
    )
    assert list(lab.directory.rglob("root.key")) == [
        path for path in lab.directory.rglob("root.key") if "v2g" not in path.parts
    ]
    # Every command that signs takes shares as well.
    issue = ("pki", "issue", str(lab.directory), "--role", "cps_sub1", "--name", "cps-b/sub1", "--cn", "CPS B")
    assert v2g(*issue, "--sealed", sealed, *shares(papers, 2, 3, 4)).code == 0


def test_a_key_that_is_joined_for_a_command_is_gone_afterwards(v2g: Run, lab: PkiTree, tmp_path: Path) -> None:
    out = tmp_path / "ceremony"
    papers = split(v2g, lab, out, "--remove-key")
    key = lab.path("v2g/root.key")
    join = ("pki", "ceremony", "join", str(out / "root.sealed"), *shares(papers, 1, 2, 4), "--out", str(key), "--")
    seen = tmp_path / "seen"
    assert v2g(*join, "sh", "-c", f"stat -c %a {key} > {seen}; exit 3").code == 3
    assert seen.read_text() == "600\n"
    assert not key.exists()
    assert v2g(*join, "no-such-command").code == 2
    assert not key.exists()
    assert v2g(*join[:-1]).code == 0
    assert key.exists()
    assert "exists" in v2g(*join[:-1]).errors


def test_a_key_that_is_joined_for_a_command_is_gone_when_the_command_line_is_killed(
    v2g: Run, lab: PkiTree, tmp_path: Path
) -> None:
    papers, key = split(v2g, lab, tmp_path / "c"), tmp_path / "joined.key"
    command = [sys.executable, "-m", "v2g_cli", "pki", "ceremony", "join", str(tmp_path / "c/root.sealed")]
    command += [*shares(papers, 1, 2, 4), "--out", str(key), "--", "sh", "-c", "echo running; sleep 60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        assert key.exists()
        process.terminate()
        process.stdout.close()
        assert process.wait(300) == 128 + 15
    assert not key.exists()


def test_the_key_stays_unless_asked_for_and_when_a_trial_fails(
    v2g: Run, lab: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split(v2g, lab, tmp_path / "a")
    assert lab.path("v2g/root.key").exists()

    write = ceremony.write_sheet
    monkeypatch.setattr(ceremony, "write_sheet", lambda *a, **k: write(*a, **k).replace(" 7 ", " 8 "))
    key = str(lab.path("v2g/root.key"))
    done = v2g("pki", "ceremony", "split", key, "--out", str(tmp_path / "b"), "--remove-key")
    assert done.code == 4
    assert "is listed twice" in done.errors
    assert lab.path("v2g/root.key").exists()


def test_printed_shares_are_not_on_disk(v2g: Run, lab: PkiTree, tmp_path: Path) -> None:
    out = tmp_path / "ceremony"
    key = str(lab.path("v2g/root.key"))
    done = v2g("pki", "ceremony", "split", key, "--out", str(out), "--print", "--threshold", "2", "--shares", "3")
    assert done.code == 0, done.errors
    assert [done.output.count(f"SHARE {number} OF 3") for number in (1, 2, 3)] == [1, 1, 1]
    assert not list(out.glob("share*"))
    typed = tmp_path / "typed.txt"
    typed.write_text(done.output.split("\f")[1])
    check = v2g("pki", "ceremony", "check", str(out / "root.sealed"), "--share", str(typed))
    assert check.output.startswith(f"{typed}: share 2 of 3")


def test_an_old_ceremony_is_not_written_over(v2g: Run, lab: PkiTree, tmp_path: Path) -> None:
    split(v2g, lab, tmp_path / "c")
    done = v2g("pki", "ceremony", "split", str(lab.path("v2g/root.key")), "--out", str(tmp_path / "c"))
    assert (done.code, "exists" in done.errors) == (2, True)


def test_shares_of_two_roots_are_told_apart(v2g: Run, lab: PkiTree, tmp_path: Path) -> None:
    papers = split(v2g, lab, tmp_path / "v2g")
    done = v2g("pki", "ceremony", "split", str(lab.path("oem/root.key")), "--out", str(tmp_path / "oem"), "--json")
    others = json.loads(done.output)["sheets"]
    mixed = ["--share", papers[0], "--share", others[1], "--share", papers[2]]
    refused = v2g("pki", "ceremony", "join", str(tmp_path / "v2g/root.sealed"), *mixed, "--out", str(tmp_path / "k"))
    assert refused.code == 4
    assert f"{others[1]}: belongs to set" in refused.errors
    assert not (tmp_path / "k").exists()


def test_openssl_uses_the_joined_key(v2g: Run, lab: PkiTree, tmp_path: Path) -> None:
    need("openssl", program="openssl")
    papers = split(v2g, lab, tmp_path / "c")
    key = tmp_path / "joined.key"
    assert (
        v2g("pki", "ceremony", "join", str(tmp_path / "c/root.sealed"), *shares(papers, 3, 4, 5), "-o", str(key)).code
        == 0
    )
    public = [
        subprocess.run(["openssl", *command], check=True, capture_output=True).stdout
        for command in (
            ["pkey", "-in", str(key), "-pubout"],
            ["x509", "-in", str(lab.path("v2g/root.pem")), "-noout", "-pubkey"],
        )
    ]
    assert public[0] == public[1]
