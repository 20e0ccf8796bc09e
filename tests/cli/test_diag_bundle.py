"""`v2g diag bundle`: what a report of a fault has, and that nothing secret or about a person is in it."""

import json
import stat
import zipfile
from functools import cache
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from v2g_cli.diag.support_bundle import Scrubber, own_words
from v2g_cli.main import app


@cache
def words() -> frozenset[str]:
    """Return the words of this program's own, which takes a second: not while the tests are collected."""
    return own_words()


SECC = """
[log]
events = "events.jsonl"
file = "secc.log"
level = "debug"
[station]
url = "wss://CP-77-Nord:hunter2@csms.stadtwerke-ulmental.example/ocpp"
password = "battery charger"
[meter]
latitude = 48.39876
[tls]
key = "./secc.key"
"""

PERSONAL = (
    "hunter2", "battery charger", "ulmental", "CP-77-Nord", "48.39876", "9.98765", "WVWZZZ1JZXW386752", "04A1B2C3D4E5",
    "DE8AACA1B2C3D4E", "192.168.178.21", "00:01:87:0e:ab:cd", "fe80::201:87ff:fe0e:abcd", "Erika Mustermann", "4929123",
)  # fmt: skip

EVENTS = (
    {"name": "authorize", "stage": "authorization", "t": 12.25, "data": {"id_token": "04A1B2C3D4E5", "reason": "Bad"}},
    {"name": "timeout", "stage": "session", "data": {"vin": "WVWZZZ1JZXW386752", "id": "DE8AACA1B2C3D4E", "soc": 44}},
    {"name": "at", "data": {"latitude": 48.39876, "text": "seen at 48.39876, 9.98765 by Erika Mustermann"}},
)

LOG = """\
2026-11-26 17:05:11,201 WARNING secc.charger: cable check timed out after 38.2 s: battery charger
2026-11-26 17:05:12,000 INFO v2g.io.tls: peer 192.168.178.21 (00:01:87:0e:ab:cd, fe80::201:87ff:fe0e:abcd), card 4929123
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("v2g_cli.diag.support_bundle.own_words", words)
    (tmp_path / "secc.toml").write_text(SECC)
    (tmp_path / "secc.toml").chmod(0o600)
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(each) + "\n" for each in EVENTS) + '{"torn')
    (tmp_path / "secc.log").write_text(LOG)
    (tmp_path / "secc.key").write_text("-----BEGIN PRIVATE KEY-----")
    (tmp_path / "secc.key").chmod(0o600)
    return tmp_path


def bundle(folder: Path, *arguments: str) -> dict[str, str]:
    out = folder / "report.zip"
    done = CliRunner().invoke(app, ["diag", "bundle", "--out", str(out), *arguments])
    assert done.exit_code == 0, done.output
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    with zipfile.ZipFile(out) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_secrets_vins_tokens_positions_and_addresses_are_left_out(folder: Path) -> None:
    members = bundle(folder, "--config", str(folder / "secc.toml"))
    whole = "\n".join(members.values())
    assert [each for each in PERSONAL if each in whole] == []
    assert "BEGIN PRIVATE KEY" not in whole


def test_what_a_developer_needs_is_kept(folder: Path) -> None:
    members = bundle(folder, "--config", str(folder / "secc.toml"))
    assert "cable check timed out after 38.2 s" in members["secc.log"]
    first, second, *_ = map(json.loads, members["secc.events.jsonl"].splitlines()[:-1])
    assert (first["stage"], first["t"], first["data"]["reason"]) == ("authorization", 12.25, "Bad")
    assert second["data"]["soc"] == 44
    assert json.loads(members["secc.config.json"])["log"]["level"] == "debug"
    assert json.loads(members["secc.files.json"])["tls.key"] == "mode 0600, 27 octets"
    assert "secc.toml:8: unknown key 'station.password'" in members["secc.check.txt"]
    assert {"Python", "Linux"} <= {each["name"] for each in json.loads(members["machine.json"])["checks"]}


def test_the_same_text_is_the_same_placeholder() -> None:
    scrubber = Scrubber(words())
    first, again, other = (scrubber.text(each) for each in ("tag 04A1B2C3D4", "tag 04A1B2C3D4", "tag 04FFB2C3D4"))
    assert first == again != other


TAGS = st.from_regex(r"[0-9A-F]{8}([0-9A-F]{6})?", fullmatch=True)
VINS = st.from_regex(r"[A-HJ-NPR-Z0-9]{12}[A-Z][0-9]{4}", fullmatch=True)
CONTRACTS = st.from_regex(r"[A-Z]{2}-?[0-9][0-9A-Z]{2}-?C[0-9A-Z]{8}-?[0-9]", fullmatch=True)
PLACES = st.floats(-90, 90).map(lambda each: f"{each:.5f}").filter(lambda each: not each.endswith("000"))
ADDRESSES = st.ip_addresses().map(str).filter(lambda each: len(each) > 6)


@given(st.one_of(VINS, CONTRACTS, PLACES, ADDRESSES, TAGS.filter(lambda each: each.lower() not in words())))
@example("12345678")
@example("DE-8AA-C12345678-9")
@example("64:ff9b::")
@pytest.mark.parametrize("before", ["", "id_token=", "[", "/var/lib/", "wss://x@", '{"a": "'])
def test_no_identity_is_kept_wherever_it_stands(before: str, identity: str) -> None:
    scrubber = Scrubber(words())
    assert identity not in scrubber.text(f"{before}{identity} and more")
    assert identity not in json.dumps(scrubber.value({"data": [{"any": identity, identity: 1}]}))


@given(st.text(min_size=3), st.text())
def test_a_secret_of_the_configuration_is_nowhere(secret: str, text: str) -> None:
    scrubber = Scrubber(words())
    scrubber.hide(secret)
    assert secret in " <hidden> " or secret not in scrubber.text(f"{text}{secret}{text}")


def test_what_cannot_be_read_is_said(folder: Path) -> None:
    (folder / "secc.toml").write_text("[log")
    members = bundle(
        folder, "--config", str(folder / "secc.toml"), "--health", "http://127.0.0.1:1/health", str(folder / "no.log")
    )
    assert "not TOML" in members["secc.check.txt"]
    assert "No such file" in members["no.log"]
    assert "refused" in members["health-1.json"]


def test_files_of_one_name_are_both_kept_and_binary_ones_left_out(folder: Path) -> None:
    (folder / "secc.pcapng").write_bytes(b"\n\r\r\n\0\0\x01\x87\x0e\xab\xcd")
    (folder / "run").mkdir()
    (folder / "run" / "secc.log").write_text("the session ended\n")
    files = [str(folder / each) for each in ("secc.pcapng", "secc.log", "run/secc.log")]
    members = bundle(folder, "--config", str(folder / "secc.toml"), *files)
    assert members["secc.pcapng"].startswith("not text")
    kept = [content for name, content in members.items() if name.endswith("secc.log")]
    assert [("ended" in each, "cable check" in each) for each in kept] == [(False, True), (True, False)]


def test_a_file_without_its_program_is_refused(folder: Path) -> None:
    done = CliRunner().invoke(app, ["diag", "bundle", "--config", str(folder / "my.toml")])
    assert done.exit_code != 0
    assert "which program" in str(done.exception)
