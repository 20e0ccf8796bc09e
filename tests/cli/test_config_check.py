"""`--check-config` lists everything that is wrong with a configuration, each with its line and what to do."""

import re
from pathlib import Path

import msgspec
import pytest
import yaml

from csms.config import TelemetryConfig
from pki_tools.tree import PkiTree
from tests.cli.csms import run
from tests.csms.support import make_config
from v2g.config import reworded

CHARGER = """data_dir = "secc"
[tls]
chain = "{pki}/secc/chain.pem"
key = "{pki}/secc/leaf.key"
v2g_roots = ["{pki}/v2g/root.pem"]
[meter]
chain = "{pki}/meter/chain.pem"
key = "{pki}/meter/leaf.key"
"""


def written(folder: Path, text: str, name: str = "secc.toml") -> Path:
    path = folder / name
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def reported(output: str) -> dict[int, str]:
    """Return what is said of each line, with its hint."""
    found: dict[int, str] = {}
    line = 0
    for each in output.splitlines():
        where = re.match(r"\S+\.toml:(\d+): ", each)
        line = int(where[1]) if where else line
        found[line] = f"{found.get(line, '')} {each}"
    return found


def test_all_mistakes_of_a_configuration_are_listed_at_once(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """data_dir = "secc"
colour = "red"
[site]
charge_w = "much"
contracts = 7
[charger]
poll_hold_s = 9
[log]
level = "loud"
[station]
url = "https://localhost/ocpp"
identity = "CS-1"
store = "s.db"
[hardware]
backend = "benhc"
""",
    )
    code, output, errors = run("secc", "--config", str(path), "--check-config")
    assert (code, errors) == (2, "")
    found = reported(output)
    assert "unknown key 'colour'" in found[2]
    assert "site.charge_w: must be a whole number, but is text" in found[4]
    assert "site.contracts: must be a list, but is a whole number" in found[5]
    assert "charger.poll_hold_s: must be at most 1.2" in found[7]
    assert "'loud' is not an allowed value" in found[9]
    assert "one of debug" in found[9]
    assert "not an OCPP-J endpoint: ws://" in found[10]
    assert "simulated, bench" in found[15]
    assert "the key tls is missing" in found[1]
    assert "the key meter is missing" in found[1]
    assert "$" not in output
    code, output, errors = run("secc", "--config", str(path))
    assert "unknown key 'colour'" not in output


@pytest.mark.parametrize(
    ("extra", "line", "said"),
    [
        ('[site]\ncontracts = ["not an emaid!"]\n', 10, "'not an emaid!' is not an EMAID"),
        ('[hardware]\nbackend = "bench"\npilot = "board"\n', 11, "hardware.pilot: is ignored by the bench"),
        ('[hardware]\n[hardware.board]\ndevice = "/dev/ttyUSB0"\n', 10, "is ignored while pilot is 'simulated'"),
        ('[station]\nurl = "wss://h/o"\nidentity = "C"\nstore = "s"\n', 9, "a wss: url needs [station.tls]"),
        (
            "[charger.rating]\nmin_charge_power_w = 9000\nmax_charge_power_w = 8000\n",
            10,
            "min_charge_power_w: is above max_charge_power_w",
        ),
    ],
)
def test_what_was_accepted_silently_is_reported(pki: PkiTree, tmp_path: Path, extra: str, line: int, said: str) -> None:
    path = written(tmp_path, CHARGER.format(pki=pki.directory) + extra)
    code, output, errors = run("secc", "--config", str(path), "--check-config")
    assert (code, errors) == (2, "")
    assert said in reported(output)[line]
    code, output, errors = run("secc", "--config", str(path))  # and it does not start
    assert code == 2


def test_files_are_looked_at(pki: PkiTree, tmp_path: Path) -> None:
    good = CHARGER.format(pki=pki.directory)
    assert run("secc", "--config", str(written(tmp_path, good)), "--check-config")[0] == 0
    path = written(tmp_path, good.replace("v2g/root.pem", "v2g/none.pem").replace("meter/chain.pem", "meter/none.pem"))
    code, output, _errors = run("secc", "--config", str(path), "--check-config")
    assert code == 2
    assert "none.pem: No such file" in reported(output)[5]
    assert "none.pem" in reported(output)[7]
    path = written(tmp_path, good.replace("v2g/root.pem", f"v2g/{'a' * 5000}.pem"))
    code, output, errors = run("secc", "--config", str(path), "--check-config")
    assert (code, errors) == (2, "")
    assert "aaa.pem: File name too long" in reported(output)[5]


@pytest.mark.parametrize("program", ["secc", "evcc", "csms"])
def test_a_folder_is_no_configuration(tmp_path: Path, program: str) -> None:
    code, _output, errors = run(program, "--config", str(tmp_path), "--check-config")
    assert code == 2
    assert "is a folder" in errors
    assert "chmod" not in errors


def test_other_programs_have_it_too(tmp_path: Path) -> None:
    for program, text in (
        ("evcc", "[timing]\nloop_pause_s = 0.4\n"),
        ("csms", '[ocpp]\nport = "x"\nsubprotocols = []\n'),
    ):
        path = written(tmp_path, text, f"{program}.toml")
        code, output, _errors = run(program, "--config", str(path), "--check-config")
        assert code == 2
        assert 2 in reported(output)


@pytest.mark.parametrize(
    ("why", "words"),
    [
        ("Expected `int | null`, got `str`", "must be a whole number or nothing, but is text"),
        ("Expected `str` of length >= 7", "must have at least 7"),
        ("something else", "something else"),
    ],
)
def test_what_the_validator_says_is_said_in_plain_words(why: str, words: str) -> None:
    assert reworded(why) == words


def plain(program: str, path: Path) -> list[str]:
    code, output, _errors = run(program, "--config", str(path), "--check-config")
    assert code == 0
    return re.findall("plain on the disk: (.*)", output)


def test_what_charger_and_vehicle_store_plain_is_named(pki: PkiTree, tmp_path: Path) -> None:
    """R145"""
    charger = CHARGER.format(pki=pki.directory)
    tls = f'chain = "{pki.path("vehicle/chain.pem")}"\nkey = "{pki.path("vehicle/leaf.key")}"\n'
    vehicle = f'[tls]\n{tls}anchors = ["{pki.path("v2g/root.pem")}"]\n'
    pausing = f'{vehicle}[pause]\nfile = "paused.json"\n'
    written(tmp_path, f"1 {'ab' * 32}\n", "journal.keys")
    sealed = 'journal_keys = "journal.keys"\n'
    found = plain("secc", written(tmp_path, charger))
    assert found == [f"journals and settlements in {tmp_path / 'secc'} (journal_keys)"]
    assert plain("secc", written(tmp_path, sealed + charger)) == []
    assert plain("evcc", written(tmp_path, vehicle)) == []
    assert plain("evcc", written(tmp_path, pausing)) == ["checkpoints and paused sessions (journal_keys)"]
    assert plain("evcc", written(tmp_path, sealed + pausing)) == []


def test_what_the_back_end_stores_plain_is_named(pki: PkiTree, tmp_path: Path) -> None:
    """R145"""
    for sealed, more in ((True, []), (False, ["telemetry with positions in the database (telemetry.sealed)"])):
        config = make_config(tmp_path, pki, telemetry=TelemetryConfig(sealed=sealed))
        text = yaml.safe_dump(msgspec.to_builtins(config, enc_hook=str))
        assert plain("csms", written(tmp_path, text, "csms.yaml")) == more
