"""What a device refuses: attacks on repositories listed by TUF (specification, 1.5.2) and Uptane."""

import os
import shutil
import ssl
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, MetaFile, TargetFile, Targets
from tuf.ngclient._internal import trusted_metadata_set

from pki_tools.tree import PkiTree
from tests.io.ota.maker import HARDWARE, Maker, key
from tests.station.device.file_server import file_server
from v2g.errors import InstallError, StoreError, TransferError, V2GError
from v2g.io.ota import trusted
from v2g.io.ota.repository import KeySigner
from v2g.io.ota.trusted import METADATA_S, TrustedReleases
from v2g.ota.release import TargetFacts, check_release

pytestmark = pytest.mark.requirement("R139", "R140")

IMAGE = TargetFile.from_data("one.img", b"evil", ["sha256"])


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    made = Maker(tmp_path)
    made.release("one.img", 1)
    return made


def test_what_three_of_five_have_signed_is_believed(maker: Maker) -> None:
    release = maker.device().find("one.img")
    assert (release.length, release.facts) == (5, TargetFacts(number=1, hardware=(HARDWARE,)))
    check_release(release, HARDWARE, 1)


def test_a_snapshot_is_renewed_once_half_its_time_is_over(maker: Maker) -> None:
    """Before that the timestamp alone is."""
    maker.now = maker.now.replace(microsecond=0)
    maker.release("two.img", 2)
    for after, newest in ((timedelta(days=15), 2), (timedelta(days=15, seconds=1), 3), (timedelta(days=16), 3)):
        maker.publish(after=after)
        versions = {int(each.name.split(".")[0]) for each in maker.path("").glob("*.snapshot.json")}
        assert max(versions) == newest


def test_a_snapshot_is_signed_by_the_key_of_the_newest_root(maker: Maker) -> None:
    new = [key("new online").public_key]
    maker.repository.change_roles({"snapshot": new}, {}, maker.now)
    for name in "abc":
        maker.repository.sign(key(name))
    maker.repository.publish(key("new online"), key("timestamp"), maker.now)
    assert maker.device().find("one.img").facts.number == 1


def few_sign(maker: Maker) -> None:
    maker.forge("1.targets.json", "ab", targets={"one.img": IMAGE})
    listed_by_thieves(maker)


def listed_by_thieves(maker: Maker) -> None:
    """Let the snapshot fit, as whoever has the online keys can."""
    data = maker.path("1.targets.json").read_bytes()
    maker.forge("1.snapshot.json", ["snapshot"], meta={"targets.json": MetaFile.from_data(1, data, ["sha256"])})


def others_at_the_same_time(maker: Maker) -> None:
    """Three holders sign two lists of one number."""
    maker.forge("1.targets.json", "abc", targets={"one.img": IMAGE})


def one_signs_three_times(maker: Maker) -> None:
    maker.forge("1.targets.json", "aaa", targets={"one.img": IMAGE})
    listed_by_thieves(maker)


def others_sign(maker: Maker) -> None:
    maker.forge("1.targets.json", ("x", "y", "z"), targets={"one.img": IMAGE})
    listed_by_thieves(maker)


def nobody_signs(maker: Maker) -> None:
    maker.forge("1.targets.json", "", targets={"one.img": IMAGE})
    listed_by_thieves(maker)


def text_is_changed(maker: Maker) -> None:
    path = maker.path("1.targets.json")
    path.write_bytes(path.read_bytes().replace(b'"length": 5', b'"length": 6').replace(b'"length":5', b'"length":6'))
    listed_by_thieves(maker)


def online_keys_are_stolen(maker: Maker) -> None:
    """With those of snapshot and timestamp alone nothing can be installed."""
    maker.forge("1.targets.json", ("snapshot", "timestamp"), targets={"one.img": IMAGE})
    listed_by_thieves(maker)


def root_by_too_few(maker: Maker) -> None:
    second = Metadata.from_bytes(maker.path("1.root.json").read_bytes())
    maker.path("2.root.json").write_bytes(second.to_bytes())
    maker.forge("2.root.json", "ab", version=2)


def root_of_another_number(maker: Maker) -> None:
    shutil.copy(maker.path("1.root.json"), maker.path("2.root.json"))
    maker.forge("2.root.json", "abc", version=3)


def it_stands_still(maker: Maker) -> None:
    maker.forge("timestamp.json", ["timestamp"], expires=maker.now.replace(microsecond=0) - timedelta(seconds=1))


def releases_have_expired(maker: Maker) -> None:
    maker.forge("1.targets.json", "abc", expires=maker.now.replace(microsecond=0) - timedelta(seconds=1))
    listed_by_thieves(maker)


def root_has_expired(maker: Maker) -> None:
    shutil.copy(maker.path("1.root.json"), maker.path("2.root.json"))
    maker.forge("2.root.json", "abc", version=2, expires=maker.now.replace(microsecond=0) - timedelta(seconds=1))


def mixed(maker: Maker) -> None:
    """The snapshot of one time with the releases of another."""
    maker.forge("1.targets.json", "abc", version=2)
    data = maker.path("1.targets.json").read_bytes()
    maker.forge("1.snapshot.json", ["snapshot"], meta={"targets.json": MetaFile.from_data(1, data, ["sha256"])})


def snapshot_mixed(maker: Maker) -> None:
    maker.forge("1.snapshot.json", ["snapshot"], version=2)


def snapshot_without_releases(maker: Maker) -> None:
    maker.forge("1.snapshot.json", ["snapshot"], meta={})


def endless(maker: Maker) -> None:
    with maker.path("timestamp.json").open("ab") as file:
        file.truncate(1 << 20)


def garbage(maker: Maker) -> None:
    maker.path("timestamp.json").write_bytes(b"\x1b[31m{")


def another_role(maker: Maker) -> None:
    shutil.copy(maker.path("1.snapshot.json"), maker.path("timestamp.json"))


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        (few_sign, "too few"),
        (one_signs_three_times, "too few"),
        (others_sign, "too few"),
        (nobody_signs, "too few"),
        (text_is_changed, "too few"),
        (online_keys_are_stolen, "too few"),
        (root_by_too_few, "too few"),
        (root_of_another_number, "older"),
        (it_stands_still, "expired"),
        (releases_have_expired, "expired"),
        (root_has_expired, "expired"),
        (mixed, "older"),
        (others_at_the_same_time, "do not belong together"),
        (snapshot_mixed, "older"),
        (snapshot_without_releases, "malformed"),
        (endless, "too large"),
        (garbage, "malformed"),
        (another_role, "malformed"),
    ],
)
def test_an_attack_is_refused_and_named(maker: Maker, attack: Callable[[Maker], None], said: str) -> None:
    attack(maker)
    with pytest.raises(InstallError, match=said) as refused:
        maker.device().find("one.img")
    assert refused.value.verification
    assert "\x1b" not in str(refused.value)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_nothing_goes_back(maker: Maker, role: str) -> None:
    """A mirror that has kept what was published before, of one role or of all."""
    before = {each.name: each.read_bytes() for each in maker.path("").glob("*.json")}
    maker.release("two.img", 2)
    assert maker.device().find("two.img").facts.number == 2
    if role == "timestamp":
        maker.path("timestamp.json").write_bytes(before["timestamp.json"])
    elif role == "snapshot":
        maker.forge("timestamp.json", ["timestamp"], version=3, snapshot_meta=MetaFile(1))
    else:
        shutil.copy(maker.path("2.snapshot.json"), maker.path("3.snapshot.json"))
        maker.forge("3.snapshot.json", ["snapshot"], version=3, meta={"targets.json": MetaFile(1)})
        maker.forge("timestamp.json", ["timestamp"], version=3, snapshot_meta=MetaFile(3))
    with pytest.raises(InstallError, match="older"):
        maker.device().find("one.img")
    if role != "timestamp":  # whoever has seen nothing cannot know
        assert maker.device(name="new").find("one.img").facts.number == 1


def test_what_was_seen_outlives_a_damaged_file(maker: Maker) -> None:
    """A page of the disk that is lost costs the memory of one role, and stops no update."""
    maker.device().find("one.img")
    for each in (maker.folder / "device").rglob("*.json"):
        each.write_bytes(b"")
    assert maker.device().find("one.img").facts.number == 1


def test_recovery_from_a_fast_forward(maker: Maker) -> None:
    """A thief of the online keys counts up to the end; with new keys the maker goes on."""
    maker.forge("1.snapshot.json", ["snapshot"], version=2**31 - 1)
    shutil.move(maker.path("1.snapshot.json"), maker.path(f"{2**31 - 1}.snapshot.json"))
    maker.forge("timestamp.json", ["timestamp"], version=2**31 - 1, snapshot_meta=MetaFile(2**31 - 1))
    assert maker.device().find("one.img").facts.number == 1
    new = [key("new online").public_key]
    maker.repository.change_roles({"snapshot": new, "timestamp": new}, {}, maker.now)
    for name in "abc":
        maker.repository.sign(key(name))
    maker.path("timestamp.json").unlink()
    maker.path(f"{2**31 - 1}.snapshot.json").unlink()
    maker.repository.publish(key("new online"), key("new online"), maker.now)
    assert maker.device().find("one.img").facts.number == 1


def test_a_device_follows_changes_of_holders(maker: Maker) -> None:
    """Over several roots at once, and no longer believes who has left."""
    for leaves, joins in (("abcde", "bcdef"), ("bcdef", "cdefg")):
        people = [key(name).public_key for name in joins]
        maker.repository.change_roles({"root": people, "targets": people}, {"root": 3, "targets": 3}, maker.now)
        for name in {*leaves[:3], *joins[-3:]}:
            maker.repository.sign(key(name))
        maker.repository.withdraw("one.img", maker.now) if joins == "bcdef" else None
        maker.publish(joins[-3:])
    maker.release("two.img", 2, by="efg")
    assert maker.device().find("two.img").facts.number == 2
    three = maker.path("3.targets.json")
    maker.forge(three.name, "abc")
    listed = {"targets.json": MetaFile.from_data(3, three.read_bytes(), ["sha256"])}
    snapshot = max(maker.path("").glob("*.snapshot.json"))
    maker.forge(snapshot.name, ["snapshot"], meta=listed)
    with pytest.raises(InstallError, match="too few"):
        maker.device(name="new").find("two.img")


def test_a_name_that_is_not_released_is_refused(maker: Maker) -> None:
    for name in ("two.img", "../one.img", "%2e%2e/one.img", "", "one.img\x1b[31m"):
        with pytest.raises(InstallError, match="does not list") as refused:
            maker.device().find(name)
        assert "\x1b" not in str(refused.value)
        assert refused.value.verification


def test_nobody_releases_for_the_holders(maker: Maker) -> None:
    """A role to which they delegate, as TUF permits, is not asked: three of five sign each image."""
    deputy = KeySigner(key("deputy"))
    role = DelegatedRole("deputy", [deputy.public_key.keyid], 1, terminating=False, paths=["*"])
    delegations = Delegations({deputy.public_key.keyid: deputy.public_key}, roles={"deputy": role})
    maker.forge("1.targets.json", "abc", delegations=delegations)
    theirs = Metadata(Targets(version=1, expires=maker.now + timedelta(days=1), targets={"two.img": IMAGE}))
    theirs.sign(deputy)
    maker.path("1.deputy.json").write_bytes(theirs.to_bytes())
    files = {each: maker.path(f"1.{each}").read_bytes() for each in ("targets.json", "deputy.json")}
    meta = {name: MetaFile.from_data(1, data, ["sha256"]) for name, data in files.items()}
    maker.forge("1.snapshot.json", ["snapshot"], meta=meta)
    assert maker.device().find("one.img").facts.number == 1
    with pytest.raises(InstallError, match="does not list"):
        maker.device().find("two.img")


def test_a_release_says_for_what_it_is(maker: Maker) -> None:
    maker.forge("1.targets.json", "abc", targets={"one.img": IMAGE})
    listed_by_thieves(maker)
    with pytest.raises(InstallError, match="incomplete"):
        maker.device().find("one.img")


@pytest.mark.parametrize(("hardware", "installed", "said"), [("ac22", 0, "is for dc30"), (HARDWARE, 8, "older than 8")])
def test_other_hardware_and_older_releases(maker: Maker, hardware: str, installed: int, said: str) -> None:
    maker.release("seven.img", 7)
    release = maker.device().find("seven.img")
    with pytest.raises(InstallError, match=said) as refused:
        check_release(release, hardware, installed)
    assert refused.value.verification


def _no_roots() -> ssl.SSLContext:
    raise AssertionError


def test_over_http(maker: Maker) -> None:
    """And a server that is away, or has no repository, is no reason to call it an attack."""
    assert METADATA_S == 30
    with file_server() as server:
        for each in maker.path("").glob("*.json"):
            server.files[f"/r/metadata/{each.name}"] = each.read_bytes()
        assert maker.device(f"{server.url}/r").find("one.img").facts.number == 1
        device = TrustedReleases(maker.root, f"{server.url}/r/", maker.folder / "plain", _no_roots)
        assert device.find("one.img").facts.number == 1, "no roots are read for a connection without TLS"
        with pytest.raises(TransferError):
            maker.device(f"{server.url}/other").find("one.img")
        server.files["/r/metadata/timestamp.json"] += b" " * (1 << 20)
        with pytest.raises(InstallError, match="too large"):
            maker.device(f"{server.url}/r").find("one.img")
        server.judge = lambda _method, _path: 503
        with pytest.raises(TransferError, match="503"):
            maker.device(f"{server.url}/r").find("one.img")
    with pytest.raises(TransferError):
        maker.device(f"{server.url}/r").find("one.img")


def test_slow_retrieval(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that never stops sending, an octet now and then, holds up nobody for longer than the time limit."""
    monkeypatch.setattr(trusted, "METADATA_S", 0.05)
    with file_server() as server:
        for each in maker.path("").glob("*.json"):
            server.files[f"/r/metadata/{each.name}"] = each.read_bytes()
        server.drips_s = 0.01
        with pytest.raises(TransferError):
            maker.device(f"{server.url}/r").find("one.img")
        assert server.paths[-1] == "/r/metadata/timestamp.json"
        server.drips_s = 0.0
        assert maker.device(f"{server.url}/r").find("one.img").facts.number == 1


def test_over_https_by_the_roots_that_are_given(maker: Maker, pki: PkiTree) -> None:
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(pki.path("csms/server/chain.pem"), pki.path("csms/server/leaf.key"))
    with file_server(server_side) as server:
        for each in maker.path("").glob("*.json"):
            server.files[f"/metadata/{each.name}"] = each.read_bytes()
        url = server.url.replace("127.0.0.1", "localhost")

        def trusting() -> ssl.SSLContext:
            return ssl.create_default_context(cafile=str(pki.path("csms/root.pem")))

        device = TrustedReleases(maker.root, f"{url}/", maker.folder / "https", trusting)
        assert device.find("one.img").facts.number == 1
        with pytest.raises(TransferError, match="certificate"):
            maker.device(url, "stranger").find("one.img")


@pytest.mark.parametrize(("status", "believed"), [(404, True), (403, True), (500, False), (401, False)])
def test_the_chain_of_roots_ends_where_there_is_no_next(maker: Maker, status: int, believed: bool) -> None:
    """Some file stores answer 403 for what does not exist."""
    with file_server() as server:
        for each in maker.path("").glob("*.json"):
            server.files[f"/metadata/{each.name}"] = each.read_bytes()
        server.judge = lambda _method, path: status if path.endswith("/2.root.json") else None
        if believed:
            assert maker.device(server.url).find("one.img").facts.number == 1
        else:
            with pytest.raises(TransferError, match=str(status)):
                maker.device(server.url).find("one.img")


def test_the_largest_timestamp_that_is_read(maker: Maker) -> None:
    path = maker.path("timestamp.json")
    whole = path.read_bytes()
    path.write_bytes(whole + b" " * (16384 - len(whole)))
    assert maker.device().find("one.img").facts.number == 1
    path.write_bytes(whole + b" " * (16385 - len(whole)))
    with pytest.raises(InstallError, match="too large"):
        maker.device(name="other").find("one.img")


def test_a_file_that_cannot_be_read_is_no_attack(maker: Maker) -> None:
    maker.path("timestamp.json").unlink()
    maker.path("timestamp.json").mkdir()
    with pytest.raises(TransferError, match="Is a directory") as failed:
        maker.device().find("one.img")
    assert failed.value.failure == "unreachable"


def test_what_was_seen_is_durable_and_private(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: set[str] = set()
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.add(str(Path(f"/proc/self/fd/{descriptor}").readlink())))
    before = len(list(Path("/proc/self/fd").iterdir()))
    maker.device(name="a/b").find("one.img")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    folder = maker.folder / "a" / "b"
    files = ["timestamp.json", "snapshot.json", "targets.json", "root_history/1.root.json", "root_history", ""]
    assert synced >= {str(folder / name) for name in files}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "latest_time").stat().st_mode) == 0o600


def test_every_image_is_listed_by_the_newest_metadata(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the patches between them."""
    device = maker.device()
    maker.release("two.img", 2)
    maker.repository.add_patch("two.img", "one.img", maker.now)
    maker.publish()
    assert {each.facts.number for each in device.every()} == {1, 2}
    maker.release("three.img", 3)
    assert {each.facts.number for each in device.every()} == {1, 2, 3}
    targets = maker.folder / "device" / "targets.json"

    def forget_at_last(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().name == "root_history":
            targets.write_text("{}")

    monkeypatch.setattr(os, "fsync", forget_at_last)
    with pytest.raises(StoreError, match="device"):
        device.every()


def test_another_question_by_the_same_metadata(maker: Maker) -> None:
    device = maker.device()
    assert device.find("one.img") == device.also("one.img")
    assert device.also("none") is None
    maker.release("two.img", 2)
    assert device.also("two.img") is None
    assert device.find("two.img").facts.number == 2


def test_without_a_root_or_a_disk(maker: Maker, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nowhere"):
        TrustedReleases(tmp_path / "nowhere", "", tmp_path / "device").find("one.img")
    (tmp_path / "file").touch()
    with pytest.raises(StoreError):
        maker.device(name="file").find("one.img")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(["timestamp.json", "1.snapshot.json", "1.targets.json"]), data=st.data())
def test_a_damaged_repository_is_refused_whatever_the_damage(maker: Maker, name: str, data: st.DataObject) -> None:
    """Nothing but what was signed is believed, and nothing else than an error of the tree comes out."""
    whole = maker.path(name).read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = whole[:at] + data.draw(st.binary(max_size=3)) + whole[at + data.draw(st.integers(0, 3)) :]
    maker.path(name).write_bytes(damaged)
    try:
        release = maker.device(name="fuzzed").find("one.img")
    except V2GError:
        pass
    else:
        assert (release.length, release.facts.number) == (5, 1)
    finally:
        maker.path(name).write_bytes(whole)


def test_what_has_expired_is_not_believed_again_when_the_clock_is_set_back(
    maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repository that is held back from the device for three days, then a clock that says that it is not."""
    device = maker.device()
    device.find("one.img")
    with monkeypatch.context() as later:
        _set_clock(later, timedelta(days=3))
        with pytest.raises(InstallError, match="expired"):
            device.find("one.img")
    with pytest.raises(InstallError, match=r"have expired.*timestamp\.json"):
        maker.device().find("one.img")
    maker.publish(after=timedelta(hours=1))
    assert maker.device().find("one.img").length == 5, "newer metadata are believed"


def test_a_clock_that_was_years_ahead_once_harms_nothing(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    device = maker.device()
    device.find("one.img")
    with monkeypatch.context() as later:
        _set_clock(later, timedelta(days=4000))
        with pytest.raises(InstallError, match="expired"):
            device.find("one.img")
    maker.publish(after=timedelta(hours=1))
    assert device.find("one.img").length == 5


def _set_clock(patch: pytest.MonkeyPatch, ahead: timedelta) -> None:
    """Let a device's clock, also as python-tuf reads it, be ahead."""

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Ahead":
            return cls.fromtimestamp((datetime.now(UTC) + ahead).timestamp(), tz)

    patch.setattr(trusted, "datetime", Ahead)
    patch.setattr(trusted_metadata_set, "datetime", SimpleNamespace(datetime=Ahead, timezone=timezone))


def test_a_refusal_says_which_file(maker: Maker) -> None:
    it_stands_still(maker)
    with pytest.raises(InstallError, match=r"timestamp\.json is expired"):
        maker.device().find("one.img")
