"""A release is complete, verifiable with common tools, and of nothing but a committed tree that its notes describe."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from deploy.release import NOTES, SUMS, check_tree, checksums, notes_of
from tests.deploy.package import ROOT, run
from v2g.errors import ConfigError
from v2g.pki.keys import save_key

LOG = "# Change log\n\n## [Unreleased]\n\n## [1.2.0] - 2026-01-02\n\n- New.\n\n## [1.1.0] - 2025-01-02\n\n- Old.\n"


def test_notes_are_those_of_the_version() -> None:
    assert notes_of(LOG, "1.2.0") == "# v2g-engine 1.2.0\n\n- New.\n"


@pytest.mark.parametrize(
    ("log", "version"),
    [
        (LOG, "1.1.0"),
        (LOG, "1.2.1"),
        (LOG, "1.2"),
        ("", "1.2.0"),
        (LOG.replace("[Unreleased]", "[Unreleased]\n\n- More."), "1.2.0"),
    ],
)
def test_a_version_without_notes_is_refused(log: str, version: str) -> None:
    with pytest.raises(ConfigError, match="CHANGELOG"):
        notes_of(log, version)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit."""
    (tree := tmp_path / "tree").mkdir()
    run("git", "init", "-q", tree)
    (tree / "file").touch()
    commit(tree)
    return tree


def commit(tree: Path) -> None:
    """Commit everything."""
    run("git", "-C", tree, "add", "-A")
    run("git", "-C", tree, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x")


def test_what_is_not_committed_or_was_released_is_refused(repository: Path) -> None:
    check_tree(repository, "1.0.0")
    run("git", "-C", repository, "tag", "v1.0.0")
    check_tree(repository, "1.0.0")
    (repository / "new").touch()
    with pytest.raises(ConfigError, match="new"):
        check_tree(repository, "1.0.0")
    commit(repository)
    with pytest.raises(ConfigError, match="released already"):
        check_tree(repository, "1.0.0")
    check_tree(repository, "1.0.1")


def test_checksums_are_those_of_sha256sum(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_bytes(bytes(100_000))
    sums = checksums(tmp_path)
    (tmp_path / SUMS).write_text(sums)
    run("sha256sum", "--check", "--strict", SUMS, cwd=tmp_path)


@pytest.mark.long
def test_a_release_is_made_in_a_clone(tmp_path: Path) -> None:
    """Without the Debian packages, which a test of their own makes; the same octets if made again."""
    if subprocess.run([sys.executable, "-m", "build", "--version"], capture_output=True).returncode != 0:
        pytest.skip("the extra [release] is not installed: make release installs it")
    clone, out, key, public = (tmp_path / name for name in ("clone", "out", "s.key", "s.pem"))
    run("git", "clone", "-q", "--depth=1", f"file://{ROOT}", clone)
    save_key(key, ec.generate_private_key(ec.SECP256R1()))
    run("openssl", "pkey", "-in", key, "-pubout", "-out", public)
    command = [sys.executable, "-m", "deploy.release", str(out), "--no-packages", "--key", str(key)]
    command += ["--today", "2026-12-01"]
    log = re.sub(r"(?s)## \[Unreleased\].*?(?=## \[)", "", (clone / "CHANGELOG.md").read_text())
    (clone / "CHANGELOG.md").write_text(log.replace("## [", "## [Unreleased]\n\n- A change.\n\n## [", 1))
    refused = subprocess.run(command, cwd=clone, capture_output=True, text=True)
    assert (refused.returncode, "Unreleased" in refused.stderr) == (2, True)
    (clone / "CHANGELOG.md").write_text(log.replace(" - 2026", " - 2027", 1))
    refused = subprocess.run(command, cwd=clone, capture_output=True, text=True)
    assert (refused.returncode, "CHANGELOG.md" in refused.stderr) == (2, True)
    commit(clone)
    again, offline = tmp_path / "again", os.environ | {"PIP_NO_INDEX": "1"}  # nothing is fetched that no lock names
    other = subprocess.Popen(
        [*command[:3], str(again), *command[4:]], cwd=clone, env=offline, stdout=subprocess.DEVNULL
    )  # meanwhile
    try:
        run(*command, cwd=clone, env=offline)
        assert other.wait() == 0
    finally:
        other.kill()
        other.wait()
    assert {path.name for path in out.iterdir()} == {
        "v2g_engine-0.2.0-py3-none-any.whl", "v2g_engine-0.2.0.tar.gz", "v2g_engine-0.2.0-docs.zip", NOTES, SUMS,
        f"{SUMS}.sig",
    }  # fmt: skip
    with zipfile.ZipFile(next(out.glob("*-docs.zip"))) as docs:
        assert {"docs/index.html", "docs/searchindex.js", "docs/reference/configuration.html"} <= set(docs.namelist())
        assert b"without_tls" in docs.read("docs/reference/configuration.html")  # a key of a generated table
    with zipfile.ZipFile(next(out.glob("*.whl"))) as wheel, tarfile.open(next(out.glob("*.tar.gz"))) as sdist:
        assert any(name.endswith("share/v2g/board/monitor.c") for name in wheel.namelist())
        assert "v2g/look.css" in wheel.namelist()
        assert any(name.endswith("/board/monitor.c") for name in sdist.getnames())
    run("sha256sum", "--check", "--strict", SUMS, cwd=out)
    verify = ("openssl", "dgst", "-sha256", "-verify", public, "-signature", f"{SUMS}.sig", SUMS)
    assert run(*verify, cwd=out) == "Verified OK\n"
    assert (again / SUMS).read_text() == (out / SUMS).read_text(), "the same commit makes another release"
    shutil.rmtree(clone)
