"""What only tokens do, judged by OpenSC's pkcs11-tool and seen by its pkcs11-spy."""

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ed448

from tests.io.keys.stores import PIN, SOFTHSM, WRONG, SoftHsm, refer
from tests.packages import need
from v2g.errors import ConfigError, KeyAccessError
from v2g.io.keys.pkcs11 import OpenedKey, make_pkcs11, make_successor, numbered
from v2g.io.keys.pkcs11_abi import Flag
from v2g.io.keys.pkcs11_module import load_module
from v2g.io.keys.stores import open_key
from v2g.pki.keys import Algorithm, verify_signature
from v2g.pki.reference import KeyReference

P521 = Algorithm.ECDSA_SHA512
SPY = Path("/usr/lib/x86_64-linux-gnu/pkcs11/pkcs11-spy.so")


@pytest.fixture
def opensc(hsm: SoftHsm) -> SoftHsm:
    need("opensc", program="pkcs11-tool")
    return hsm


def generate(hsm: SoftHsm, name: str, *options: str, kind: str = "EC:secp521r1") -> str:
    """Make a key by other means than ours; return its reference."""
    said = hsm.tool(
        "--login", "--pin", PIN, "--keypairgen", "--key-type", kind, "--label", name, "--id", "42", *options
    )
    assert "Private Key Object" in said, said
    return f"pkcs11:token=car;object={name}?module-path={SOFTHSM}"


def test_the_private_half_cannot_be_taken_out(opensc: SoftHsm) -> None:
    opensc.make(P521)
    login = ("--login", "--pin", PIN)
    listed = opensc.tool(*login, "--list-objects", "--type", "privkey")
    assert "sensitive, always sensitive, never extractable, local" in listed
    opensc.tool(*login, "--read-object", "--type", "privkey", "--label", P521.value, "--output-file", "out")
    assert not Path("out").exists()


def test_a_key_that_could_be_taken_out_is_refused(opensc: SoftHsm) -> None:
    reference = generate(opensc, "loose", "--usage-sign", "--extractable")
    with pytest.raises(KeyAccessError, match="can be exported"):
        open_key(refer(reference, opensc))


@pytest.mark.long
def test_keys_made_by_others_are_used(opensc: SoftHsm) -> None:
    key = open_key(refer(generate(opensc, "theirs", "--usage-sign"), opensc))
    verify_signature(key.public_key, b"data", key.sign(b"data"))


def test_a_key_that_wants_its_pin_for_every_signature_gets_it(opensc: SoftHsm) -> None:
    key = open_key(refer(generate(opensc, "careful", "--usage-sign", "--always-auth"), opensc))
    for number in range(3):
        verify_signature(key.public_key, bytes([number]), key.sign(bytes([number])))


def test_keys_of_unknown_kinds_in_the_same_token_do_not_matter(opensc: SoftHsm) -> None:
    """OpenSSL's engine for PKCS#11 finds no key at all in such a token."""
    generate(opensc, "modern", kind="EC:edwards25519")
    key = open_key(refer(opensc.make(P521), opensc))
    verify_signature(key.public_key, b"data", key.sign(b"data"))
    with pytest.raises(KeyAccessError, match="curve that ISO 15118 does not allow"):
        open_key(refer(f"pkcs11:token=car;object=modern?module-path={SOFTHSM}", opensc))


def test_two_keys_of_one_name_are_told_apart_by_their_id(opensc: SoftHsm) -> None:
    reference = opensc.make(P521)
    generate(opensc, P521.value, "--usage-sign", kind="EC:prime256v1")
    with pytest.raises(KeyAccessError, match="several private keys") as error:
        open_key(refer(reference, opensc))
    assert "id=" in error.value.hint
    both = reference.replace("?", ";id=%42?")
    assert open_key(refer(both, opensc)).algorithm is Algorithm.ECDSA_SHA256


def test_a_name_is_not_given_twice(hsm: SoftHsm) -> None:
    reference = hsm.make(P521)
    with pytest.raises(KeyAccessError, match="already has a key"):
        make_pkcs11(refer(reference, hsm), P521)


def test_a_wrong_pin_reaches_the_token_once(opensc: SoftHsm, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = opensc.make(P521)
    if not SPY.exists():
        need("opensc-pkcs11")
    log = opensc.folder / "spy.log"
    monkeypatch.setenv("PKCS11SPY", str(SOFTHSM))
    monkeypatch.setenv("PKCS11SPY_OUTPUT", str(log))
    for _ in range(3):
        with pytest.raises(KeyAccessError, match="PIN"):
            open_key(refer(reference.replace(str(SOFTHSM), str(SPY)), opensc, pin=WRONG))
    load_module(str(SPY)).close()
    assert log.read_text().count(": C_Login") == 1


def test_the_last_try_of_a_token_is_left_to_people(hsm: SoftHsm) -> None:
    hsm.make(P521)
    module = load_module(str(SOFTHSM))
    (token,) = (each for each in module.tokens() if each.label == b"car")
    for flag, words in ((Flag.USER_PIN_FINAL_TRY, "next wrong PIN would lock"), (Flag.USER_PIN_LOCKED, "is locked")):
        with pytest.raises(KeyAccessError, match=words):
            module.open(msgspec.structs.replace(token, flags=token.flags | flag), pin=PIN.encode())


def test_tokens_that_the_system_knows_need_no_module_path(hsm: SoftHsm) -> None:
    need("libp11-kit0")
    reference = hsm.make(P521).partition("?")[0]
    try:
        key = open_key(refer(reference, hsm))
        verify_signature(key.public_key, b"data", key.sign(b"data"))
    finally:
        load_module().close()


def test_tokens_of_one_name_are_told_apart_by_their_serial_number(hsm: SoftHsm) -> None:
    reference = hsm.make(P521)
    load_module(str(SOFTHSM)).close()
    load_module.cache_clear()
    label = ["--label", "car", "--pin", PIN, "--so-pin", "8642"]
    subprocess.run(["softhsm2-util", "--init-token", "--free", *label], check=True, capture_output=True)
    with pytest.raises(KeyAccessError, match="2 tokens match") as error:
        open_key(refer(reference, hsm))
    assert "serial=" in error.value.hint
    exact = [
        reference.replace("token=car", f"token=car;serial={token.serial.decode()}")
        for token in load_module(str(SOFTHSM)).tokens()
        if token.label == b"car"
    ]
    assert sorted(_outcome(refer(each, hsm)) for each in exact) == ["no key", "usable"]


def _outcome(reference: KeyReference) -> str:
    try:
        open_key(reference)
    except KeyAccessError as error:
        return "no key" if "no private key" in str(error) else str(error)
    return "usable"


@pytest.mark.parametrize("path", ["/nowhere/at/all.so", "libc.so.6"])
def test_what_is_no_pkcs11_library_is_named(tmp_path: Path, hsm: SoftHsm, path: str) -> None:
    with pytest.raises(ConfigError, match="PKCS#11 library") as error:
        open_key(refer(f"pkcs11:token=car;object=x?module-path={path}", hsm))
    assert "module-path" in error.value.hint


def test_a_missing_token_is_named(hsm: SoftHsm) -> None:
    with pytest.raises(KeyAccessError, match="no token for pkcs11:token=bus"):
        open_key(refer(f"pkcs11:token=bus;object=x?module-path={SOFTHSM}", hsm))
    assert PIN not in os.environ.values()


def test_a_pin_that_is_kept_for_each_signature_is_not_shown() -> None:
    opened = OpenedKey(SimpleNamespace(name="token v2g"), 7, ed448.Ed448PrivateKey.generate().public_key(), b"98765")  # type: ignore[arg-type]
    assert "98765" not in repr(opened)


def test_successors_are_found_among_many_other_keys(hsm: SoftHsm) -> None:
    for number in range(4):
        make_pkcs11(refer(f"pkcs11:token=car;object=other{number}?module-path={SOFTHSM}", hsm), P521).close()
    reference = refer(hsm.make(P521), hsm)
    names = [each.pkcs11["object"].decode() for each in numbered(reference)]
    assert names == [P521.value]
    for _ in range(3):
        make_successor(reference, P521).close()
    names = [each.pkcs11["object"].decode() for each in numbered(reference)]
    assert names == [P521.value, *(f"{P521.value}.{number}" for number in (2, 3, 4))]
