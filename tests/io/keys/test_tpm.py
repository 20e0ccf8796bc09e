"""What only a TPM does, judged by tpm2-tools and the openssl command."""

import re
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.io.keys import stores
from tests.io.keys.stores import PIN, WRONG, Tpm, refer
from v2g.errors import ConfigError, KeyAccessError
from v2g.io.keys.stores import open_key
from v2g.io.keys.tpm import make_tpm
from v2g.pki.keys import Algorithm, verify_signature

pytestmark = pytest.mark.requirement("R146")

P256 = Algorithm.ECDSA_SHA256


def test_a_persistent_key_of_the_tpm_is_used_by_its_handle(tpm: Tpm) -> None:
    tpm.tool("tpm2_createprimary", "-Q", "-C", "o", "-G", "ecc256", "-c", "primary.ctx")
    attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign|decrypt"
    tpm.tool("tpm2_create", "-Q", "-C", "primary.ctx", "-G", "ecc521", "-p", PIN, "-a", attributes,
             "-u", "key.pub", "-r", "key.priv")  # fmt: skip
    tpm.tool("tpm2_flushcontext", "-t")
    tpm.tool("tpm2_load", "-Q", "-C", "primary.ctx", "-u", "key.pub", "-r", "key.priv", "-c", "key.ctx")
    tpm.tool("tpm2_evictcontrol", "-Q", "-C", "o", "-c", "key.ctx", "0x81000005")
    tpm.tool("tpm2_flushcontext", "-t")
    key = open_key(refer(f"handle:0x81000005?tcti={tpm.tcti}", tpm))
    verify_signature(key.public_key, b"data", key.sign(b"data"))
    other = ec.generate_private_key(ec.SECP521R1())
    assert isinstance(key.public_key, ec.EllipticCurvePublicKey)
    assert key.agree(other.public_key()) == other.exchange(ec.ECDH(), key.public_key)


def test_the_file_of_a_key_is_of_no_use_without_its_tpm(tpm: Tpm, tmp_path: Path) -> None:
    reference = tpm.make(P256)
    file = next(tpm.folder.glob("*.tss"))
    assert file.stat().st_mode & 0o777 == 0o600
    alone = subprocess.run(["openssl", "pkey", "-in", str(file), "-noout"], capture_output=True, text=True)
    assert alone.returncode != 0
    (tmp_path / "other").mkdir()
    with stores.swtpm(tmp_path / "other") as other:
        moved = reference.replace(tpm.tcti, other.tcti)
        with pytest.raises(KeyAccessError):
            open_key(refer(moved, tpm))
    key = open_key(refer(reference, tpm))
    verify_signature(key.public_key, b"data", key.sign(b"data"))


def test_a_wrong_pin_is_counted_once(tpm: Tpm) -> None:
    reference = refer(tpm.make(P256), tpm, pin=WRONG)
    with pytest.raises(KeyAccessError, match="authorization") as error:
        open_key(reference)
    assert "pin-source" in error.value.hint
    del error
    said = tpm.tool("tpm2_getcap", "properties-variable")
    counted = re.search(r"TPM2_PT_LOCKOUT_COUNTER: 0x(\w+)", said)
    assert counted is not None
    assert int(counted[1], 16) == 1


def test_a_tpm_that_comes_back_is_used_again(tpm: Tpm) -> None:
    key = make_tpm(refer(f"file:free.tss?tcti={tpm.tcti}", tpm, pin=None), P256)
    tpm.withdraw()
    for words in ("IO failure", "no TPM"):
        with pytest.raises(KeyAccessError, match=words):
            key.sign(b"data")
    tpm.start()
    verify_signature(key.public_key, b"data", key.sign(b"data"))


def test_a_tpm_makes_no_ed448_keys_and_no_key_twice(tpm: Tpm) -> None:
    with pytest.raises(KeyAccessError, match="not support Ed448"):
        make_tpm(refer(f"file:ed.tss?tcti={tpm.tcti}", tpm), Algorithm.ED448)
    reference = refer(tpm.make(P256), tpm)
    with pytest.raises(KeyAccessError, match="exists"):
        make_tpm(reference, P256)
    with pytest.raises(KeyAccessError, match="created in files"):
        make_tpm(refer(f"handle:0x81000005?tcti={tpm.tcti}", tpm), P256)


def test_no_tpm_and_no_provider_are_told_apart(tpm: Tpm, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyAccessError, match="no TPM") as nobody:
        open_key(refer("handle:0x81000005?tcti=swtpm:path=/nowhere", tpm))
    assert "tcti" in nobody.value.hint
    with pytest.raises(KeyAccessError, match="handle:0x81000006"):
        open_key(refer(f"handle:0x81000006?tcti={tpm.tcti}", tpm))
    monkeypatch.setenv("OPENSSL_MODULES", str(tpm.folder))
    with pytest.raises(ConfigError, match="provider for TPMs") as missing:
        open_key(refer("handle:0x81000005?tcti=swtpm:path=/nowhere/else", tpm))
    assert "tpm2-openssl" in missing.value.hint
