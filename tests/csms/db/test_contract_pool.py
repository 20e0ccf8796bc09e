"""The operator's contract pool: keys encrypted, files private, and no way out of the folder."""

import re
import stat
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st

from csms.contracts.pool import ContractPool, open_pool
from pki_tools.tree import PkiTree
from tests.iso15118.d20.contracts import NOW, PCID, new_contract, new_key, own_contract
from v2g.errors import CertificateError, ConfigError, EnvelopeError, KeyAccessError, StoreError
from v2g.iso15118.engine.contracts import Contract
from v2g.pki.keys import SoftwareKey
from v2g.pki.reference import KeyReference

PASSPHRASE = b"a long and random secret"


@pytest.fixture
def pool(tmp_path: Path) -> ContractPool:
    return ContractPool(tmp_path / "pool", PASSPHRASE)


def faultless(_: Sequence[bytes]) -> str:
    return ""


def add(pool: ContractPool, contract: Contract, pcid: str = PCID) -> Path:
    return pool.add(pcid, contract.chain, contract.key).file


@pytest.mark.parametrize("ed448", [False, True], ids=["secp521r1", "ed448"])
def test_what_is_added_is_found_under_its_vehicle_only(pool: ContractPool, pki: PkiTree, ed448: bool) -> None:
    contract = new_contract(pki, "DEV2GC00000001", ed448=ed448)
    add(pool, contract, "wmi-v2gengine00001x")
    ((found,), problems) = pool.find(PCID)
    assert not problems
    assert found.chain == contract.chain
    assert SoftwareKey(found.key).public_key == SoftwareKey(contract.key).public_key
    assert pool.find("WMIV2GENGINE00002X") == ((), ())


def test_keys_are_encrypted_and_files_their_owners_only(pool: ContractPool, pki: PkiTree) -> None:
    path = add(pool, own_contract(pki))
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in path.read_bytes()
    assert b"BEGIN PRIVATE KEY" not in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_another_passphrase_opens_nothing_and_says_so(pool: ContractPool, pki: PkiTree, tmp_path: Path) -> None:
    add(pool, own_contract(pki))
    found, problems = ContractPool(tmp_path / "pool", b"wrong").find(PCID)
    assert not found
    assert len(problems) == 1
    assert [each.problem != "" for each in ContractPool(tmp_path / "pool", b"wrong").entries(faultless)] == [True]


def test_a_key_that_was_put_there_in_the_clear_is_not_delivered(
    pool: ContractPool, pki: PkiTree, tmp_path: Path
) -> None:
    folder = tmp_path / "pool" / PCID
    folder.mkdir(parents=True)
    path = folder / "DEV2GC00000001-00.pem"
    path.touch(mode=0o600)
    path.write_bytes(pki.path("contract/leaf.key").read_bytes() + pki.path("contract/chain.pem").read_bytes())
    found, problems = pool.find(PCID)
    assert not found
    assert "not encrypted" in problems[0]


def test_renewal_overlaps_and_removal_is_by_contract(pool: ContractPool, pki: PkiTree) -> None:
    for number in (1, 2):
        add(pool, new_contract(pki, "DEV2GC00000001", start=number))
    add(pool, new_contract(pki, "DEV2GC00000002", start=3))
    assert [(each.pcid, each.emaid) for each in pool.entries(faultless)] == [
        (PCID, "DEV2GC00000001"), (PCID, "DEV2GC00000001"), (PCID, "DEV2GC00000002"),
    ]  # fmt: skip
    assert pool.remove(PCID, "DEV2GC00000001") == 2
    assert [each.emaid for each in pool.entries(faultless)] == ["DEV2GC00000002"]
    assert pool.remove(PCID, "DEV2GC00000001") == 0


def test_what_is_no_contract_is_not_taken(pool: ContractPool, pki: PkiTree) -> None:
    contract = own_contract(pki)
    provisioning = pki.credentials("provisioning")
    with pytest.raises(KeyAccessError):
        pool.add(PCID, contract.chain, new_key())
    with pytest.raises(CertificateError):
        pool.add(PCID, provisioning.chain, provisioning.private_key)
    with pytest.raises(CertificateError, match="sub-CAs"):
        pool.add(PCID, contract.chain[:1], contract.key)
    with pytest.raises(CertificateError):
        pool.add(PCID, (b"no certificate",), contract.key)
    long = Ed448PrivateKey.from_private_bytes(bytes(56) + b"\1")
    other = new_contract(pki, "DEV2GC00000001", public_key=long.public_key())
    with pytest.raises(EnvelopeError, match="does not fit 56 bytes"):
        pool.add(PCID, other.chain, long)
    leaf, *authorities = contract.chain
    with pytest.raises(CertificateError, match="is not signed by what follows it"):
        pool.add(PCID, (leaf, *reversed(authorities)), contract.key)
    assert list(pool.entries(faultless)) == []


def test_a_root_behind_the_chain_is_left_out(pool: ContractPool, pki: PkiTree) -> None:
    own = own_contract(pki)
    pool.add(PCID, (*own.chain, *pki.anchors("mo")), own.key)
    ((found,), _) = pool.find(PCID)
    assert found.chain == own.chain


@pytest.fixture(scope="module")
def contract(pki: PkiTree) -> Contract:
    """One contract for all examples."""
    return own_contract(pki)


@given(pcid=st.sampled_from(["", "..", "../../etc/cron.d/x", "A" * 16, "A" * 19, "WMIV2GENGINE0000/X"]) | st.text())
@example(pcid="WM\N{LATIN SMALL LETTER DOTLESS I}V2GENGINE00001X")  # whose capital is an I
def test_nothing_but_a_pcid_names_a_vehicle(contract: Contract, pcid: str) -> None:
    """No text leads out of the pool's folder."""
    if re.fullmatch(r"[A-Za-z0-9]{17,18}", pcid.replace("-", "")):
        return
    pool = ContractPool(Path("/nonexistent"), PASSPHRASE)
    for use in (lambda: pool.add(pcid, contract.chain, contract.key), lambda: pool.find(pcid)):
        with pytest.raises(CertificateError) as error:
            use()
        assert error.value.reason == "wrong_subject"


def test_expiry_is_reported(pool: ContractPool, pki: PkiTree) -> None:
    end = NOW + timedelta(days=30)
    add(pool, new_contract(pki, "DEV2GC00000001", not_after=end))
    assert [each.not_after for each in pool.entries(faultless)] == [end]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, pki: PkiTree) -> None:
    (tmp_path / "pool").touch()
    with pytest.raises(StoreError, match="pool"):
        add(ContractPool(tmp_path / "pool", PASSPHRASE), own_contract(pki))


@pytest.mark.parametrize("text", ["pool", "handle:0x81000001?pin-source=env:V2G_POOL"])
def test_a_pool_without_folder_or_passphrase_is_refused(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("V2G_POOL", "secret")
    with pytest.raises(ConfigError, match="passphrase"):
        open_pool(KeyReference.from_text(text, tmp_path))
