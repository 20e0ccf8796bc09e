"""The folder of contracts: private, whole at every moment, and read again after whatever happened."""

import os
import signal
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from evcc.config import EvccConfig, load_config
from evcc.contract_store import Contracts, ContractStore
from evcc.session.contracts import Contract, emaid, ranked, signing
from evcc.session.ports import OpenContactor, PostponeInstallation, RefuseContract, StoreContract
from pki_tools.tree import PkiTree
from tests.evcc.session.d2.contract import certificate
from tests.iso15118.d20.contracts import NOW, new_contract
from v2g.errors import CertificateError, ConfigError, KeyAccessError, StoreError
from v2g.iso15118.engine.signature import EDITION_2
from v2g.observe import Observe
from v2g.pki.keys import SoftwareKey


def storable(tree: PkiTree, name: str, **options: Any) -> StoreContract:
    made = new_contract(tree, name, ed448=bool(options.pop("ed448", False)), **options)
    return StoreContract(name, made.chain, made.key)


class Reports:
    """Keeps what was observed."""

    def __init__(self) -> None:
        self.events: list[Observe] = []

    def __call__(self, event: Observe) -> None:
        self.events.append(event)

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.events]


@pytest.fixture
def received() -> Reports:
    return Reports()


@pytest.fixture
def store(tmp_path: Path, received: Reports) -> ContractStore:
    return ContractStore(tmp_path / "contracts", None, received)


def names(contracts: tuple[Contract, ...]) -> list[str]:
    return [emaid(each) for each in contracts]


@pytest.mark.parametrize("ed448", [0, 1], ids=["secp521r1", "ed448"])
def test_what_is_stored_is_read_again(store: ContractStore, pki: PkiTree, ed448: int) -> None:
    contract = storable(pki, "DEV2GC00000001", ed448=ed448)
    store.save(contract)
    (found,) = store.load()
    assert found.chain == contract.chain
    assert found.key.public_key == SoftwareKey(contract.key).public_key


def test_files_and_folder_are_their_owners_only(store: ContractStore, pki: PkiTree, tmp_path: Path) -> None:
    store.save(storable(pki, "DEV2GC00000001"))
    folder = tmp_path / "contracts"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (path,) = folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    assert store.load() == ()


def test_with_a_passphrase_the_key_is_encrypted(tmp_path: Path, pki: PkiTree, received: Reports) -> None:
    store = ContractStore(tmp_path, b"a long secret", received)
    store.save(storable(pki, "DEV2GC00000001"))
    (path,) = tmp_path.iterdir()
    assert b"ENCRYPTED PRIVATE KEY" in path.read_bytes()
    assert names(store.load()) == ["DEV2GC00000001"]
    assert ContractStore(tmp_path, b"another", received).load() == ()
    assert received.names == ["not_readable"]
    assert b"a long secret" not in path.read_bytes()


def test_a_successor_takes_the_place_of_its_predecessor_only(store: ContractStore, pki: PkiTree) -> None:
    store.save(storable(pki, "DEV2GC00000001"))
    store.save(storable(pki, "DEV2GC00000002", start=2))
    newer = storable(pki, "DEV2GC00000001", start=3)
    store.save(newer)
    store.save(newer)
    found = store.load()
    assert sorted(names(found)) == ["DEV2GC00000001", "DEV2GC00000002"]
    assert newer.chain in [each.chain for each in found]


def test_an_old_contract_sent_once_more_does_not_cost_the_new_one(store: ContractStore, pki: PkiTree) -> None:
    """Nothing in a response says when it was made: a charger may keep one, and send it again."""
    recorded = storable(pki, "DEV2GC00000001", not_before=NOW - timedelta(days=90))
    store.save(recorded)
    newer = storable(pki, "DEV2GC00000001", start=3)
    store.save(newer)
    store.save(recorded)
    assert newer.chain in [each.chain for each in store.load()]


def test_each_edition_keeps_its_contract_of_an_emaid(store: ContractStore, pki: PkiTree) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    of_2 = StoreContract("DEV2GC00000001", (certificate("DEV2GC00000001", key), certificate("MO Sub 2", key)), key)
    of_20 = storable(pki, "DEV2GC00000001")
    for each in (of_2, of_20, of_2):
        store.save(each)
    assert {each.chain for each in store.load()} == {of_2.chain, of_20.chain}


def test_contracts_that_sign_as_in_iso_15118_2_are_last_in_20(pki: PkiTree) -> None:
    key, made = ec.generate_private_key(ec.SECP256R1()), new_contract(pki, "DEV2GC00000001")
    of_2 = Contract((certificate("DEV2GC00000002", key, days=7_000),), SoftwareKey(key))
    of_20 = Contract(made.chain, SoftwareKey(made.key))
    now_ms = int(NOW.timestamp() * 1000)
    assert ranked((of_2, of_20), now_ms, preferred=("DEV2GC00000002",)) == (of_20, of_2)
    assert signing((of_2, of_20), EDITION_2) == (of_2,)


def test_a_file_that_cannot_be_read_costs_only_itself(
    store: ContractStore, pki: PkiTree, tmp_path: Path, received: Reports
) -> None:
    store.save(storable(pki, "DEV2GC00000001"))
    folder = tmp_path / "contracts"
    (whole,) = folder.iterdir()
    other = storable(pki, "DEV2GC00000002", start=2)
    for name, data in (
        ("a.pem", b""),
        ("b.pem", whole.read_bytes()[:300]),
        ("c.pem", pki.path("contract/chain.pem").read_bytes()),
        ("d.pem", pki.path("vehicle/leaf.key").read_bytes() + pki.path("contract/chain.pem").read_bytes()),
    ):
        (folder / name).write_bytes(data)
        (folder / name).chmod(0o600)
    assert names(store.load()) == ["DEV2GC00000001"]
    assert received.names == ["not_readable"] * 4
    store.save(other)
    assert sorted(names(store.load())) == ["DEV2GC00000001", "DEV2GC00000002"]


def test_a_disk_that_does_not_take_it_is_named(
    store: ContractStore, pki: PkiTree, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        store.save(storable(pki, "DEV2GC00000001"))
    assert list((tmp_path / "contracts").iterdir()) == []


def _save_and_die(folder: Path, contract: StoreContract, moment: int) -> int:
    """Save in a process of its own that is killed at its `moment`-th touch of the disk; return how it ended."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    touches = 0

    def die_in_time() -> None:
        nonlocal touches
        touches += 1
        if touches == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def dying(module: Any, name: str) -> None:
        real = getattr(module, name)

        def call(*arguments: Any, **options: Any) -> Any:
            die_in_time()
            result = real(*arguments, **options)
            die_in_time()
            return result

        setattr(module, name, call)

    try:
        for module, name in ((os, "open"), (os, "fdopen"), (os, "fsync"), (Path, "replace"), (Path, "unlink")):
            dying(module, name)
        ContractStore(folder, None, print).save(contract)
    finally:
        os._exit(0)


@pytest.mark.long
def test_a_kill_at_any_moment_leaves_the_old_contract_or_the_new(
    pki: PkiTree, tmp_path: Path, received: Reports
) -> None:
    """SIGKILL before and after every call that touches the disk: the folder is read, and holds no half contract."""
    old, new = storable(pki, "DEV2GC00000001"), storable(pki, "DEV2GC00000001", start=2)
    ends, moment, killed = set(), 0, True
    while killed:
        moment += 1
        assert moment < 40
        folder = tmp_path / str(moment)
        ContractStore(folder, None, received).save(old)
        ended = _save_and_die(folder, new, moment)
        killed = os.WIFSIGNALED(ended)
        assert killed or os.waitstatus_to_exitcode(ended) == 0
        found = ContractStore(folder, None, received).load()
        chains = frozenset(each.chain for each in found)
        assert chains in ({old.chain}, {old.chain, new.chain}, {new.chain})
        assert {path.suffix for path in folder.iterdir()} == {".pem"}  # what was unfinished is gone
        assert not received.events
        ends.add(chains)
    assert moment > 8
    assert {frozenset({old.chain}), frozenset({new.chain})} <= ends


# -- in the program -----------------------------------------------------------------------------------------------

CONFIG = """
[tls]
chain = "{pki}/vehicle/chain.pem"
key = "{pki}/vehicle/leaf.key"
anchors = ["{pki}/v2g/root.pem"]

[provisioning]
chain = "{pki}/{leaf}/chain.pem"
key = "{pki}/{leaf}/leaf.key"
store = "{store}"
mo_roots = ["{pki}/mo/root.pem"]
"""

Configure = Callable[..., EvccConfig]


@pytest.fixture
def configure(pki: PkiTree, tmp_path: Path) -> Configure:
    def configured(extra: str = "", *, leaf: str = "provisioning", store: str = "contracts") -> EvccConfig:
        text = CONFIG.format(pki=pki.directory, leaf=leaf, store=store) + extra.format(pki=pki.directory)
        return load_config(text, name=str(tmp_path / "evcc.toml"))

    return configured


def test_the_program_knows_who_it_is_and_what_it_has(
    configure: Configure, pki: PkiTree, received: Reports, tmp_path: Path
) -> None:
    extra = '[contract]\nchain = "{pki}/contract/chain.pem"\nkey = "{pki}/contract/leaf.key"\n'
    config = configure(extra)
    assert config.provisioning is not None
    several = tmp_path / "roots.pem"  # an old root, and the new one beside it
    several.write_bytes(pki.path("mo/root.pem").read_bytes() + pki.path("oem/root.pem").read_bytes())
    config = replace(config, provisioning=replace(config.provisioning, mo_roots=(several,)))
    contracts = Contracts(config, received)
    own = contracts.provisioning
    assert own is not None
    assert (own.pcid, own.chain) == ("WMIV2GENGINE00001X", pki.chain("provisioning"))
    assert own.v2g_roots == pki.anchors("v2g")
    assert own.mo_roots == pki.anchors("mo", "oem")
    assert names(contracts.known) == ["DEV2GC00000001"]
    contracts.execute(storable(pki, "DEV2GC00000002", start=2), lambda _: None)
    assert names(Contracts(config, received).known) == ["DEV2GC00000001", "DEV2GC00000002"]
    assert received.names == ["stored"]


@pytest.mark.requirement("R15")
def test_when_the_next_contract_is_requested_outlives_the_program(
    configure: Configure, pki: PkiTree, received: Reports, tmp_path: Path
) -> None:
    def known() -> int:
        own = Contracts(configure(), received).provisioning
        assert own is not None
        return own.postponed_until_ms

    assert known() == 0
    Contracts(configure(), received).execute(PostponeInstallation(1_795_000_000_000), lambda _: None)
    assert known() == 1_795_000_000_000
    (path,) = (tmp_path / "contracts").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("torn")
    assert known() == 0
    Contracts(configure(), received).execute(PostponeInstallation(1_795_000_000_000), lambda _: None)
    Contracts(configure(), received).execute(storable(pki, "DEV2GC00000002"), lambda _: None)
    assert known() == 0


@pytest.mark.requirement("R15")
def test_a_refusal_outlives_the_program_and_is_forgotten(
    configure: Configure, pki: PkiTree, received: Reports, tmp_path: Path
) -> None:
    contract, hour = storable(pki, "DEV2GC00000002"), 3_600_000
    leaf, path = contract.chain[0], tmp_path / "contracts" / "refused"
    Contracts(configure(), received).execute(contract, lambda _: None)

    def refused(*commands: RefuseContract) -> dict[bytes, int]:
        for each in commands:
            Contracts(configure(), received).execute(each, lambda _: None)
        return Contracts(configure(), received).refused

    assert refused() == {}
    assert refused(RefuseContract(leaf, 10 * hour), RefuseContract(b"another", 10 * hour + 1)) == {leaf: 10 * hour}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert refused(RefuseContract(b"another", 12 * hour)) == {}
    path.write_text("torn")
    assert refused(RefuseContract(leaf, 13 * hour)) == {leaf: 13 * hour}


def test_commands_of_others_go_on_to_them(configure: Configure, received: Reports) -> None:
    seen: list[object] = []
    Contracts(configure(), received).execute(OpenContactor(), seen.append)  # type: ignore[func-returns-value,arg-type]
    assert seen == [OpenContactor()]


def test_a_contract_that_cannot_be_stored_is_reported_and_ends_nothing(
    configure: Configure, pki: PkiTree, received: Reports, tmp_path: Path
) -> None:
    contracts = Contracts(configure(), received)
    (tmp_path / "contracts").rmdir()
    contracts.execute(storable(pki, "DEV2GC00000002"), lambda _: None)
    assert received.names == ["not_stored"]


def test_a_leaf_that_is_no_provisioning_certificate_is_refused_at_the_start(
    configure: Configure, received: Reports
) -> None:
    with pytest.raises(CertificateError, match="PCID"):
        Contracts(configure(leaf="vehicle"), received)


def test_a_store_that_is_no_folder_is_refused(configure: Configure, received: Reports, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a folder"):
        Contracts(configure(store="handle:0x81000001"), received)
    (tmp_path / "contracts").touch()
    with pytest.raises(StoreError):
        Contracts(configure(), received)


def test_a_passphrase_is_read_from_where_the_reference_says(
    configure: Configure, pki: PkiTree, received: Reports, tmp_path: Path
) -> None:
    with pytest.raises(KeyAccessError):
        Contracts(configure(store="file:contracts?pin-source=file:secret"), received)
    (tmp_path / "secret").touch(mode=0o600)
    (tmp_path / "secret").write_text("a long secret\n")
    contracts = Contracts(configure(store="file:contracts?pin-source=file:secret"), received)
    contracts.execute(storable(pki, "DEV2GC00000002"), lambda _: None)
    (path,) = (tmp_path / "contracts").iterdir()
    assert b"ENCRYPTED" in path.read_bytes()
