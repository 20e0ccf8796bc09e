"""`v2g csms init`, `secc init`, `evcc init`: configurations that are valid, private, and charge."""

import contextlib
import itertools
import os
import pwd
import re
import shlex
import socket
import stat
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from csms.config import check_config as check_csms
from csms.config import load_config as load_csms
from csms.tokens.rules import ChainVerdict
from evcc.config import check_config as check_evcc
from secc.config import StatusPageConfig, notes
from secc.config import check_config as check_secc
from secc.config import load_config as load_secc
from tests.cli.conftest import Run
from tests.csms.support import contract_judge
from v2g.io.runtime.program import read_config
from v2g.io.storage.record_keys import RecordKeys
from v2g_cli.init import STATUS_PORT

NO_BYTECODE = {"PYTHONDONTWRITEBYTECODE": "1"}

CHECKS = {"csms.toml": check_csms, "secc.toml": check_secc, "evcc.toml": check_evcc}


def valid(path: Path) -> bool:
    """Return whether a program accepts its configuration and all files in it; only its owner may read it."""
    assert CHECKS[path.name](read_config(path), name=str(path)) == []
    return stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.requirement("R150")
def test_back_end_charger_and_vehicle_share_certificates(v2g: Run, tmp_path: Path) -> None:
    back_end = v2g("csms", "init", str(tmp_path / "csms"), "--host", "localhost", "--station", "CS-7")
    assert back_end.code == 0
    assert "v2g secc init FOLDER --pki" in back_end.output
    pki = str(tmp_path / "csms" / "pki")
    url = "wss://localhost:9443/ocpp"
    assert v2g("secc", "init", str(tmp_path / "a"), "--pki", pki, "--csms", url, "--station", "CS-7").code == 0
    assert v2g("evcc", "init", str(tmp_path / "b"), "--pki", pki, "--medium", str(tmp_path / "a/medium")).code == 0
    for path in ("csms/csms.toml", "a/secc.toml", "b/evcc.toml"):
        assert valid(tmp_path / path)
    token = (tmp_path / "csms/csms-client.toml").read_text().split('token = "')[1].split('"')[0]
    assert len(token) > 40
    assert token not in (tmp_path / "csms/csms.toml").read_text() + back_end.output
    keys = list((tmp_path / "csms").rglob("*.key"))
    assert keys
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}


def test_a_second_station_gets_a_certificate_of_its_own(v2g: Run, tmp_path: Path) -> None:
    pki, common = str(tmp_path / "pki"), ("--csms", "wss://localhost:9443/ocpp", "--station")
    assert v2g("secc", "init", str(tmp_path / "a"), *common, "CS-7", "--pki", pki).code == 0
    second = ("secc", "init", str(tmp_path / "b"), *common, "CS-8", "--pki", pki)
    refused = v2g(*second)
    assert refused.code == 2
    assert "'CS-8' is not the name in" in refused.errors
    assert not (tmp_path / "b").exists()
    hint = refused.errors.partition("repeat this: v2g ")[2]
    assert v2g(*shlex.split(hint)).code == 0
    assert v2g(*second).code == 0
    assert valid(tmp_path / "b/secc.toml")


@pytest.mark.parametrize("program", ["csms", "secc", "evcc"])
def test_a_file_is_no_folder(v2g: Run, tmp_path: Path, program: str) -> None:
    (tmp_path / "file").touch()
    refused = v2g(
        program, "init", str(tmp_path / "file"), *(("--medium", "m") if program == "evcc" else ("--pki", "p"))
    )
    assert (refused.code, "is not a folder" in refused.errors) == (2, True)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("csms", "--host", ""), "'' is neither a host name"),
        (("csms", "--host", "https://csms.example.org"), "'https://csms.example.org' is neither a host name"),
        (("csms", "--station", "C S"), "stations.id: does not have the form"),
        (("csms", "--port", "8443"), "api.port: is that of ocpp"),
        (("secc", "--csms", "http://csms.example.org"), "is not an OCPP-J endpoint"),
        (("secc", "--csms", "", "--kind", "ac", "--edition", "din"), "direct current only"),
        (("secc", "--csms", "wss://csms.example.org/", "--station", "C S"), "station.identity: does not have the form"),
    ],
)
@pytest.mark.some(2)
def test_what_no_program_would_read_is_not_written(
    v2g: Run, tmp_path: Path, options: tuple[str, ...], why: str
) -> None:
    program, *rest = options
    refused = v2g(program, "init", str(tmp_path / "a"), *rest)
    assert refused.code == 2
    assert why in refused.errors
    assert ".toml:" not in refused.errors or refused.errors.startswith(f"v2g: not written: {tmp_path}/a/")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x = [", "not TOML"),
        ("x = 1", "unknown key 'x'"),
        ("", "the key data_dir is missing"),
        (
            (
                'data_dir = "d"\nlink.interface = "e"\nmeter = {chain = "c", key = "k"}\n'
                'tls = {chain = "c", key = "k", v2g_roots = ["r"]}'
            ),
            "has no simulated wires",
        ),
    ],
)
def test_a_vehicle_beside_no_simulated_charger_says_why(v2g: Run, tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "a/secc.toml"
    path.parent.mkdir()
    path.touch(0o600)
    path.write_text(text)
    refused = v2g("evcc", "init", str(tmp_path / "b"))
    assert refused.code == 2
    assert why in refused.errors


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("file", "key", "broken", "why"),
    [
        ("csms/csms.toml", "api.key", "csms/pki/csms/server/leaf.key", "is no key of"),
        ("a/secc.toml", "tls.key", "csms/pki/secc/leaf.key", "not a private key in PEM: "),
        ("a/secc.toml", "station.tls.ca", "csms/pki/csms/root.pem", "no certificate"),
        ("b/evcc.toml", "contract.key", "csms/pki/contract/leaf.key", "not a private key in PEM: "),
    ],
)
def test_what_a_file_should_hold_is_checked(
    v2g: Run, tmp_path: Path, file: str, key: str, broken: str, why: str
) -> None:
    assert v2g("csms", "init", str(tmp_path / "csms")).code == 0
    pki = ("--pki", str(tmp_path / "csms/pki"))
    assert v2g("secc", "init", str(tmp_path / "a"), *pki, "--csms", "wss://localhost:9443/ocpp").code == 0
    assert v2g("evcc", "init", str(tmp_path / "b"), *pki, "--medium", str(tmp_path / "a/medium")).code == 0
    (tmp_path / broken).write_text("something else")
    path = tmp_path / file
    found = [str(each) for each in CHECKS[path.name](read_config(path), name=str(path))]
    assert any(re.match(rf"{path}:\d+: {key}: .*{broken}.*({why})", each) for each in found), found


@pytest.mark.some(1)
@pytest.mark.requirement("R1", "R15")
@pytest.mark.parametrize("tree", ["", "iso15118-2"])
async def test_the_back_end_accepts_contracts_of_each_edition(v2g: Run, tmp_path: Path, tree: str) -> None:
    assert v2g("csms", "init", str(tmp_path)).code == 0
    judge = contract_judge(load_csms(tmp_path / "csms.toml").trust)
    chain = (tmp_path / "pki" / tree / "contract/chain.pem").read_text()
    assert (await judge.judge("DEV2GC00000001", chain, ())).chain is ChainVerdict.VALID


def test_a_charger_gets_a_status_page_with_a_token_of_its_own(v2g: Run, tmp_path: Path) -> None:
    assert v2g("secc", "init", str(tmp_path / "a"), "--csms", "", "--status-port", "8099").code == 0
    assert v2g("secc", "init", str(tmp_path / "b"), "--csms", "", "--pki", str(tmp_path / "a/pki")).code == 0
    tokens = [tmp_path / each / "status.token" for each in "ab"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in tokens} == {0o600}
    assert len({path.read_text() for path in tokens}) == 2
    config = load_secc(read_config(tmp_path / "a/secc.toml"), name=str(tmp_path / "a/secc.toml"))
    assert config.status_page == StatusPageConfig(port=8099, token_file=tokens[0])


def test_chargers_of_one_machine_get_status_pages_of_their_own(v2g: Run, tmp_path: Path) -> None:
    """Also before the first one runs, and beside other programs."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # somebody else listens there
            other.bind(("127.0.0.1", STATUS_PORT))
            other.listen()
        (tmp_path / "strange").mkdir()
        (tmp_path / "strange/secc.toml").write_text("status_page = 5")
        for name in "ab":
            pki = ("--pki", str(tmp_path / "a/pki")) if name == "b" else ()
            assert v2g("secc", "init", str(tmp_path / name), "--csms", "", *pki).code == 0
    pages = [tomllib.loads((tmp_path / name / "secc.toml").read_text())["status_page"]["port"] for name in "ab"]
    assert STATUS_PORT < pages[0] < pages[1]


@pytest.mark.parametrize(
    "options",
    [
        ("--kind", "ac", "--edition", "20", "--edition", "2"),
        ("--edition", "20", "--edition", "din", "--evse-id", "DE*ABC*E1"),
    ],
)
def test_a_charger_without_back_end(v2g: Run, tmp_path: Path, options: tuple[str, ...]) -> None:
    assert v2g("secc", "init", str(tmp_path), "--csms", "", *options).code == 0
    assert valid(tmp_path / "secc.toml")
    keys = tmp_path / "journal.keys"
    assert (stat.S_IMODE(keys.stat().st_mode), RecordKeys(keys).newest) == (0o600, 1)
    found = notes((tmp_path / "secc.toml").read_text(), name="secc.toml")  # R145
    assert [each for each in found if "max_charge_current_a" not in each] == [], "but for a current that is derived"


def test_a_charger_at_a_real_network_lacks_its_hardware_alone(v2g: Run, tmp_path: Path) -> None:
    options = ("--csms", "", "--interface", "eth1", "--power-kw", "22")
    assert v2g("secc", "init", str(tmp_path), *options).code == 0
    path = tmp_path / "secc.toml"
    (flaw,) = check_secc(read_config(path), name=str(path))
    assert "the control pilot is simulated" in str(flaw)
    path.write_text(path.read_text().replace("[hardware]", '[hardware]\nbackend = "bench"').replace("[link.slac]", ""))
    assert valid(path)


def test_a_vehicle_meets_the_charger_that_is_beside_it_or_that_was_printed(v2g: Run, tmp_path: Path) -> None:
    pki = ("--pki", str(tmp_path / "größer, with spaces"))
    printed = v2g("secc", "init", str(tmp_path / "a"), "--csms", "", *pki).output
    words = next(line for line in printed.splitlines() if "v2g evcc init" in line).partition("evcc init FOLDER ")[2]
    assert v2g("evcc", "init", str(tmp_path / "b"), *shlex.split(words)).code == 0
    assert v2g("evcc", "init", str(tmp_path / "c")).code == 0
    vehicles = [tomllib.loads((tmp_path / name / "evcc.toml").read_text()) for name in "bc"]
    assert vehicles[0] == vehicles[1]
    charger = tomllib.loads((tmp_path / "a/secc.toml").read_text())
    assert vehicles[0]["link"]["medium"] == str(tmp_path / "a" / charger["link"]["medium"])
    assert vehicles[0]["tls"]["anchors"] == charger["tls"]["v2g_roots"]
    assert v2g("secc", "init", str(tmp_path / "d"), "--csms", "", *pki).code == 0
    assert "2 chargers are beside" in v2g("evcc", "init", str(tmp_path / "e")).errors


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--kind", "steam"), "'steam' is neither dc nor ac"),
        (("--edition", "21"), "'21' is no edition"),
        (("--evse-id", 'DE*"A"*E1\\n'), "is not an EVSEID"),
        (("--owner", "nobody-at-all"), "there is no user 'nobody-at-all'"),
        (("--pki", "."), "holds no PKI"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    v2g: Run, tmp_path: Path, options: tuple[str, ...], word: str
) -> None:
    done = v2g("secc", "init", str(tmp_path / "new"), "--csms", "", *options)
    assert done.code == 2
    assert word in done.errors
    assert not (tmp_path / "new").exists()


def test_a_pki_without_certificates_of_the_older_edition_serves_the_newer_one(v2g: Run, tmp_path: Path) -> None:
    pki = str(tmp_path / "pki")
    assert v2g("pki", "make", pki).code == 0
    charger = ("secc", "init", str(tmp_path / "a"), "--csms", "", "--pki", pki)
    done = v2g(*charger)
    assert done.code == 2
    assert "iso15118-2/secc/chain.pem is missing" in done.errors
    assert "--generation iso15118-2" in done.errors
    assert not (tmp_path / "a").exists()
    assert v2g(*charger, "--edition", "20").code == 0
    assert valid(tmp_path / "a/secc.toml")


def test_what_exists_is_kept(v2g: Run, tmp_path: Path) -> None:
    (tmp_path / "secc.toml").write_text("mine")
    done = v2g("secc", "init", str(tmp_path), "--csms", "")
    assert done.code == 2
    assert "secc.toml exists" in done.errors
    assert [path.name for path in tmp_path.iterdir()] == ["secc.toml"]


@pytest.mark.some(1)
@pytest.mark.parametrize("most_octets", [100, 1400, 2000, 2600])
def test_a_full_disk_leaves_nothing(tmp_path: Path, most_octets: int) -> None:
    """The first file that is too large is of the PKI, of its second half, or the configuration."""
    command = [sys.executable, "-m", "v2g_cli", "secc", "init", str(tmp_path / "new/charger"), "--csms", ""]
    limited = ["prlimit", f"--fsize={most_octets}", *command]
    done = subprocess.run(limited, capture_output=True, text=True, check=False, env=os.environ | NO_BYTECODE)
    assert done.returncode == 8, done.stderr
    assert re.match(r"v2g: .*File too large\n     raise the limit", done.stderr)
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.some(1)
@pytest.mark.parametrize("moved", range(4))
def test_what_was_cut_short_is_continued(v2g: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: int) -> None:
    """Between two moves: the configuration is the last one, and what is there already is used."""
    moves, move = itertools.count(), Path.replace

    def cut(self: Path, target: Path) -> Path:
        if ".v2g-init-" in str(self) and ".v2g-init-" not in str(target) and next(moves) == moved:
            raise KeyboardInterrupt
        return move(self, target)

    init = ("secc", "init", str(tmp_path / "a"), "--csms", "")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", cut)
        assert v2g(*init).code == 130
    there = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.name for path in (tmp_path / "a").glob("*")} == set(("pki", "status.token", "journal.keys")[:moved])
    assert not list(tmp_path.rglob(".v2g-init-*"))
    assert v2g(*init).code == 0
    assert valid(tmp_path / "a/secc.toml")
    assert {path: path.read_bytes() for path in there} == there


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter; below pytest's own only one may."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.requirement("R149")
def test_the_programs_user_gets_what_it_needs_and_no_authoritys_key(v2g: Run, open_folder: Path) -> None:
    user = pwd.getpwnam("nobody")
    assert v2g("secc", "init", str(open_folder / "etc"), "--csms", "", "--owner", "nobody").code == 0
    owned = {path.name for path in (open_folder / "etc").rglob("*.key") if path.stat().st_uid == user.pw_uid}
    assert owned == {"leaf.key"}
    assert (open_folder / "etc/journal.keys").stat().st_uid == user.pw_uid
    certs = open_folder / "etc/certs/nobody"
    assert {str(path.parent.relative_to(certs)) for path in certs.rglob("*.key")} == {
        "secc",
        "meter",
        "iso15118-2/secc",
    }
    read = ["setpriv", f"--reuid={user.pw_uid}", "--clear-groups", "cat", str(open_folder / "etc/secc.toml")]
    assert subprocess.run(read, capture_output=True, check=False).returncode == 0
    for key in (open_folder / "etc/pki").rglob("*.key"):
        assert key.stat().st_uid == os.geteuid()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_copies_of_another_pki_are_not_mixed_with_those_of_the_first(v2g: Run, open_folder: Path) -> None:
    etc, other = open_folder / "etc", open_folder / "other"
    init = ("secc", "init", str(etc), "--csms", "", "--owner", "nobody", "--pki", str(other))
    assert v2g(*init[:-2]).code == 0
    (etc / "secc.toml").unlink()
    copies = {path: path.read_bytes() for path in (etc / "certs").rglob("*") if path.is_file()}
    refused = v2g(*init)
    assert refused.code == 2
    assert "is of another PKI" in refused.errors
    assert "--replace" in refused.errors
    assert not other.exists()
    assert {path: path.read_bytes() for path in copies} == copies
    assert v2g(*init, "--replace").code == 0
    assert valid(etc / "secc.toml")
    assert all(path.read_bytes() != old for path, old in copies.items())
    assert all(path.read_bytes() == (other / path.relative_to(etc / "certs/nobody")).read_bytes() for path in copies)
