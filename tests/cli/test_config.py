"""JSON schemas of the configuration files, as an independent validator reads them; and where the files are."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pki_tools.tree import PkiTree
from tests.cli.conftest import Run
from v2g.io.runtime import program
from v2g.io.runtime.program import arguments, config_path

PROGRAMS = ("secc", "evcc", "csms", "telemetry")
RECORDING = Path(__file__).parents[1] / "vectors" / "din70121" / "2022-12-13_compleo_with_bulb.pcapng"


def schema(v2g: Run, name: str) -> Any:
    done = v2g("config", "schema", name)
    assert (done.code, done.errors) == (0, "")
    found = json.loads(done.output)
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


@pytest.mark.some(1)
@pytest.mark.requirement("R157")
@pytest.mark.parametrize("name", PROGRAMS)
def test_each_schema_is_valid_and_refuses_unknown_keys(v2g: Run, name: str) -> None:
    validator = schema(v2g, name)
    assert any("'colour' was unexpected" in each.message for each in validator.iter_errors({"colour": 1}))


@pytest.mark.long
@pytest.mark.requirement("R157")
@pytest.mark.parametrize(
    ("name", "section", "key", "text"),
    [
        ("evcc", "SdpConfig", "tries", "Maximum number of requests, 250 ms apart."),
        ("secc", "SdpConfig", "port", "UDP port of the SDP server; 0 picks a free one."),
        ("csms", "ApiListener", "host", "Address to listen at."),
    ],
)
def test_a_schema_says_what_keys_mean(v2g: Run, name: str, section: str, key: str, text: str) -> None:
    assert schema(v2g, name).schema["$defs"][section]["properties"][key]["description"] == text


def test_configurations_of_init_fit_their_schema_and_faults_do_not(v2g: Run, pki: PkiTree, tmp_path: Path) -> None:
    shared, validators = ("--pki", str(pki.directory)), dict[str, Any]()
    for name, options in (
        ("csms", ("--host", "localhost", "--station", "CS-7", "--contract", "DEV2GC00000001", *shared)),
        ("secc", ("--csms", "wss://localhost:9443/ocpp", "--station", "CS-V2G-0001", "--edition", "20", *shared)),
        ("evcc", shared),
    ):
        assert v2g(name, "init", str(tmp_path / name), *options).code == 0
        text = (tmp_path / name / f"{name}.toml").read_text()
        validators[name] = schema(v2g, name)
        assert list(validators[name].iter_errors(tomllib.loads(text))) == []
    tree = tomllib.loads((tmp_path / "secc/secc.toml").read_text())
    for change in (
        {"tls": {**tree["tls"], "port": 65_536}},
        {"hardware": {"kind": "steam"}},
        {"sdp": {"prot": 1}},
        {"meter": {}},
        {"status_page": {"port": 1}},
    ):
        assert list(validators["secc"].iter_errors({**tree, **change})), change


def test_another_program_has_none(v2g: Run) -> None:
    done = v2g("config", "schema", "secx")
    assert done.code == 2
    assert "did you mean 'secc'?" in done.errors


@pytest.mark.requirement("R157", "R216")
@pytest.mark.parametrize(("name", "module"), list(zip(PROGRAMS, ("secc", "evcc", "csms", "v2g_gateway"), strict=True)))
def test_without_config_a_program_reads_its_own_file(
    v2g: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, module: str
) -> None:
    monkeypatch.setattr(program, "CONFIG_FOLDER", tmp_path)
    none = v2g(name, "--check-config")
    assert none.code == 2
    assert f"there is no {tmp_path / name}.toml or {name}.yaml" in none.errors
    with pytest.raises(SystemExit):
        arguments(module, "", [])
    given = tmp_path / "config.yaml"
    given.touch(mode=0o600)  # whose would it be?
    named = v2g(name, "--check-config")
    assert (named.code, f"{given} is not read: rename it to {name}.yaml" in named.errors) == (2, True)
    assert config_path(given, name) == given
    for suffix, text, line in (("yaml", "colour: 1\n", 1), ("toml", "\ncolour = 1\n", 2)):
        path = tmp_path / f"{name}.{suffix}"
        path.touch(mode=0o600)
        path.write_text(text)
        assert f"{path}:{line}: unknown key 'colour'" in v2g(name, "--check-config").output
        assert arguments(module, "", []) == (path, None)


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("secc", "sdp.port"), "integer from"),
        (("csms", "api.max_body_bytes"), "4_194_304"),
        (("csms", "ocpp.listeners.security_profile"), "1 or 2 or 3"),  # numbers: "1" is refused
        (("telemetry", "can"), "can."),
        (("evcc", "tls.chain"), "required"),
    ],
)
def test_keys_are_explained(v2g: Run, words: tuple[str, str], said: str) -> None:
    done = v2g("config", "explain", *words)
    assert (done.code, done.errors) == (0, "")
    assert done.output.startswith(words[1])
    assert said in done.output
    assert "`" not in done.output


@pytest.mark.some(1)
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_key_of_the_schema_is_explained(v2g: Run, name: str) -> None:
    done = v2g("config", "explain", name, "--json")
    explained = [json.loads(line) for line in done.output.splitlines()]
    assert all(each["type"] and each["default"] and each["meaning"] for each in explained)
    assert not re.search(r"`|\*\*|\]\(", done.output), "marks of a page"
    tables: Any = json.loads(v2g("config", "schema", name).output)
    top = tables["$defs"][tables["$ref"].rpartition("/")[2]]["properties"] if "$ref" in tables else tables["properties"]
    assert set(top) == {each["key"] for each in explained if "." not in each["key"]}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("config", "explain", "csms"), 0),
        (("--help",), 0),
        (("conform", "secc", "--list"), 0),
        (("hardware", "test", "modbus", "--set", "device=none"), 141),
        (("trace", "--diff", str(RECORDING), str(RECORDING)), 141),  # its exit code is a verdict
    ],
)
@pytest.mark.some(1)
def test_a_reader_who_has_seen_enough_is_no_failure(words: tuple[str, ...], code: int) -> None:
    """As `| head` is: nobody reads the pipe from the start."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "v2g_cli", *words]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (code, b"")


@pytest.mark.long
def test_an_unknown_key_has_its_neighbour(v2g: Run) -> None:
    done = v2g("config", "explain", "secc", "tls.chian")
    assert (done.code, "tls.chain" in done.errors) == (2, True)
    done = v2g("config", "explain", "secc", "nothing.like.this")
    allowed = done.errors.partition("allowed: ")[2].strip().split(", ")
    assert "tls" in allowed
    assert not any("." in each for each in allowed)
