"""`v2g attest`: what it writes is what a charger compares, and what it lists is what differs."""

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.cli.conftest import Run
from tests.docs.documents import ROOT
from tests.io.keys.stores import Tpm, swtpm
from v2g.pki.keys import save_key


@pytest.mark.long
@pytest.mark.requirement("R148")
def test_a_manifest_is_made_and_checked(v2g: Run, tmp_path: Path) -> None:
    key, public, manifest = tmp_path / "s.key", tmp_path / "s.pem", tmp_path / "manifest.json"
    save_key(key, private := ec.generate_private_key(ec.SECP256R1()))
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(private.public_key().public_bytes(serialization.Encoding.PEM, form))
    (program := tmp_path / "program").mkdir()
    (program / "a.py").write_text("A = 1")
    done = v2g("attest", "make", str(manifest), str(program), "--key", str(key), "--number", "4")
    assert (done.code, done.output) == (0, f"{manifest}: 1 files, number 4\n")
    (program / "a.py").write_text("A = 2")
    (program / "b\x1b.py").touch()
    checked = v2g("attest", "check", str(manifest), "--public-key", str(public), "--number", "5", "--json")
    found = [msgspec.json.decode(line) for line in checked.output.splitlines()]
    ours = {(each["kind"], each["path"]) for each in found if each["path"].startswith(str(tmp_path))}
    assert ours == {("older", str(manifest)), ("changed", f"{program}/a.py"), ("extra", f"{program}/b\x1b.py")}
    assert checked.code == 4
    shown = v2g("attest", "check", str(manifest), "--public-key", str(public)).output
    assert {f"changed\t{program}/a.py", f"extra\t{program}/b\\u001b.py"} <= set(shown.splitlines())
    elsewhere = v2g("attest", "make", str(manifest), str(program), "--key", str(key), "--root", str(tmp_path / "image"))
    assert (elsewhere.code, f"{program} is not below" in elsewhere.errors) == (2, True)
    nothing = v2g("attest", "make", str(tmp_path / "no" / "m.json"), str(program), "--key", str(key))
    assert (nothing.code, "No such file" in nothing.errors) == (8, True)


@pytest.mark.requirement("R148", "R182")
def test_a_tpm_proves_that_it_has_the_quoting_key_beside_the_one_of_its_maker(tmp_path: Path) -> None:
    """By the commands of the page: not for another TPM, nor for a key that it does not have."""
    page = (ROOT / "docs/how-to/attest-the-charger.md").read_text()
    (block,) = re.findall(r"```console\n(\$ tpm2_readpublic.*?)```", page, re.DOTALL)
    typed = [line.removeprefix("$ ") for line in block.splitlines()]

    def proves(tpm: Tpm, *changes: str) -> bool:
        """Run them; `changes` come between what the charger sends and what is done with it."""
        text = "\n".join(["set -e", typed[0], *changes, *typed[1:]])
        environment = os.environ | {"TPM2TOOLS_TCTI": tpm.tcti}
        done = subprocess.run(["sh", "-c", text], cwd=tpm.folder, env=environment, capture_output=True, text=True)
        tpm.tool("tpm2_flushcontext", "-l")
        assert done.returncode == 0 or "integrity check failed" in done.stderr, done.stderr
        return done.returncode == 0

    other = tmp_path / "other"
    other.mkdir()
    with swtpm(other) as tpm:
        tpm.tool("tpm2_createek", "-c", "-", "-G", "ecc", "-u", "ek.pem", "-f", "pem")
    with swtpm(tmp_path) as tpm:
        made = tpm.make_quoting_key().read_text()
        tpm.tool("tpm2_readpublic", "-c", "0x81010001", "-f", "pem", "-o", "ek.pem")
        assert proves(tpm)
        assert (tmp_path / "ak.pem").read_text() == made
        elsewhere = "tpm2_readpublic -c 0x81010001 -f tss -o other.pub; (head -c -64 ak.pub; tail -c 64 other.pub) > x"
        assert not proves(tpm, elsewhere, "mv x ak.pub"), "another key than it has"
        (other / "ek.pem").rename(tmp_path / "ek.pem")
        assert not proves(tpm), "another TPM"


NONCE = "00112233445566778899aabbccddeeff"


@pytest.mark.requirement("R148")
@pytest.mark.long
def test_a_back_end_believes_the_tpm_of_a_whole_charger_only(v2g: Run, tmp_path: Path) -> None:
    """The keys are made by tpm2-tools; the process that is measured is a Python of its own."""
    with swtpm(tmp_path) as tpm:
        tpm.make_quoting_key()
        key, public, manifest = tmp_path / "s.key", tmp_path / "s.pem", tmp_path / "manifest.json"
        save_key(key, private := ec.generate_private_key(ec.SECP256R1()))
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        public.write_bytes(private.public_key().public_bytes(serialization.Encoding.PEM, form))
        paths = [str(Path(sys.prefix) / "bin"), str(Path(sysconfig.get_paths()["platlib"]) / "msgspec")]
        paths += map(str, Path(sysconfig.get_config_var("LIBDIR")).glob("libpython3*.so*"))  # of no system
        assert v2g("attest", "make", str(manifest), *paths, "--key", str(key)).code == 0
        signer = ("--public-key", str(public), "--nonce", NONCE)
        code = "import msgspec, time; print(1, flush=True); time.sleep(600)"
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                process.stdout.read(1)
                ask = ("attest", "quote", str(manifest), *signer, "--pid", str(process.pid))
                sent = v2g(*ask, "--key", f"handle:0x81010002?tcti={tpm.tcti}")
                assert sent.code == 0, sent.errors
                other = v2g(*ask, "--key", f"handle:0x81010009?tcti={tpm.tcti}")
                assert (other.code, other.output) == (4, ""), other.errors
                assert v2g(*ask, "--key", str(key)).code == 2
            finally:
                process.kill()
        (evidence := tmp_path / "evidence.json").write_text(sent.output)
        given = msgspec.json.decode(sent.output)
        report = msgspec.json.decode(given["report"])
        assert any("msgspec" in each for each in report["mapped"])
        check = ("attest", "verify", str(evidence), str(manifest), *signer, "--tpm-key", str(tmp_path / "ak.pem"))
        whole = [each for each in report["differences"] if each[0] != "extra"]  # this interpreter imports more
        assert whole == []
        judged = v2g(*check, "--registers", str(evidence))
        assert judged.code == (4 if report["differences"] else 0), judged.errors
        assert not [line for line in judged.output.splitlines() if line.startswith(("memory: ", "register "))]
        replayed = v2g(*check[:-4], "--nonce", NONCE[::-1], *check[-2:])
        assert (replayed.code, "another nonce" in replayed.errors) == (9, True), replayed.errors
        tpm.tool("tpm2_pcrextend", f"7:sha256={'ab' * 32}")
        changed = v2g(*ask[:-2], "--key", f"handle:0x81010002?tcti={tpm.tcti}")
        (later := tmp_path / "later.json").write_text(changed.output)
        found = v2g(*(str(later) if each == str(evidence) else each for each in check), "--registers", str(evidence))
        assert found.code == 4
        assert "register 7: " in found.output
