"""Renewed chains come into use once they are whole and fit, and the old ones stay in use until then."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from pki_tools.renewal import Renewal, renew_certificate
from pki_tools.tree import PkiOptions, PkiTree, make_pki
from tests.io.tls.support import evcc, join, secc, serving
from v2g.errors import ConfigError, KeyAccessError, V2GError
from v2g.io.runtime.file_watch import FileWatch
from v2g.io.tls.client import connect
from v2g.io.tls.identity import IdentityFiles, identities
from v2g.io.tls.revocation import CrlFiles
from v2g.io.tls.server import serve
from v2g.observe import Observe
from v2g.pki.certificates import load_certificate
from v2g.pki.credentials import load_credentials
from v2g.pki.crl import Revoked, make_crl
from v2g.pki.issue import Issuer
from v2g.pki.keys import load_private_key
from v2g.pki.ocsp import make_response


@pytest.fixture
def tree(tmp_path: Path) -> PkiTree:
    """A tree of a day ago, whose charger certificate is about to be renewed."""
    return make_pki(tmp_path, now=datetime.now(UTC) - timedelta(days=1), options=PkiOptions())


class Desk:
    """The charger's chain of a tree, with a clock that goes on."""

    def __init__(self, tree: PkiTree, *, staple: bool = True) -> None:
        self.tree = tree
        self.now = datetime.now(UTC)
        self.events: list[Observe] = []
        self.files = IdentityFiles(
            lambda: load_credentials(tree.path("secc/chain.pem"), tree.path("secc/leaf.key")),
            (tree.path("secc/chain.pem"), tree.path("secc/leaf.key")),
            answers=(lambda _: tree.staple()) if staple else None,
            observe=self.events.append,
            now=lambda: self.now,
        )

    def renew(self) -> None:
        renew_certificate(self.tree.directory, "secc", Renewal(), at=datetime.now(UTC))

    def shown(self) -> bytes:
        return self.files.current().credentials.leaf

    def reported(self) -> list[str]:
        names = [each.name for each in self.events]
        self.events.clear()
        return names


def copy(tree: PkiTree, names: tuple[str, ...]) -> dict[str, bytes]:
    return {name: tree.path(name).read_bytes() for name in names}


def put(tree: PkiTree, files: dict[str, bytes]) -> None:
    """Write files anew, as a careful program does: beside, then in their place."""
    for name, data in files.items():
        draft = tree.path(f"{name}.draft")
        draft.touch(mode=0o600)
        draft.write_bytes(data)
        draft.replace(tree.path(name))


PAIR = ("secc/chain.pem", "secc/leaf.key")


def test_a_chain_that_has_expired_comes_after_one_that_has_not(tree: PkiTree) -> None:
    first, second = Desk(tree), Desk(tree)
    old = first.shown()
    second.renew()
    new, chains = second.shown(), identities([first.files, second.files])
    first.now += timedelta(days=36_500)  # the new one is not used by it then
    assert [each.credentials.leaf for each in chains()] == [new, old]
    second.now = first.now
    assert [each.credentials.leaf for each in chains()] == [old, new]


def test_the_tool_renews_and_the_new_chain_is_shown(tree: PkiTree) -> None:
    desk = Desk(tree)
    old = desk.shown()
    assert old == tree.chain("secc")[0]
    desk.renew()
    assert desk.shown() == tree.chain("secc")[0] != old
    assert desk.reported() == ["credentials_renewed"]
    assert desk.files.current().answer() == tree.staple()


def test_files_that_are_written_one_by_one_come_into_use_together(tree: PkiTree) -> None:
    desk = Desk(tree)
    old, old_files = desk.shown(), copy(tree, (*PAIR, "secc/ocsp.der"))
    desk.renew()
    new_files = copy(tree, (*PAIR, "secc/ocsp.der"))
    put(tree, old_files)
    assert desk.shown() == old
    desk.events.clear()
    for name in PAIR:
        assert desk.shown() == old
        put(tree, {name: new_files[name]})
    assert desk.shown() == old  # the pair fits, but the OCSP answer is still about the old certificate
    assert [each.data["error"] for each in desk.events] == [
        f"{tree.path('secc/leaf.key')} is not the key of {tree.path('secc/chain.pem')}",
        "no OCSP response for the new certificate yet",
    ]
    assert desk.files.wanted()[1].leaf == tree.chain("secc")[0]  # it is asked for
    desk.reported()
    put(tree, {"secc/ocsp.der": new_files["secc/ocsp.der"]})
    assert desk.shown() == tree.chain("secc")[0] != old
    assert desk.reported() == ["credentials_renewed"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda tree: tree.path("secc/chain.pem").write_text("not a certificate"),
        lambda tree: tree.path("secc/chain.pem").unlink(),
        lambda tree: tree.path("secc/leaf.key").unlink(),
        lambda tree: tree.path("secc/leaf.key").chmod(0o644) or os.utime(tree.path("secc/leaf.key"), (1, 1)),
        lambda tree: tree.path("secc/leaf.key").write_bytes(tree.path("vehicle/leaf.key").read_bytes()),
    ],
)
def test_a_broken_pair_changes_nothing_and_is_reported_once(tree: PkiTree, spoil: Callable[[PkiTree], object]) -> None:
    desk = Desk(tree)
    old = desk.shown()
    spoil(tree)
    for _ in range(3):
        assert desk.shown() == old
    assert desk.reported() == ["credentials_kept"]


def test_a_pair_that_cannot_be_used_at_the_start_is_an_error(tree: PkiTree) -> None:
    tree.path("secc/leaf.key").write_bytes(tree.path("vehicle/leaf.key").read_bytes())
    with pytest.raises(KeyAccessError):
        Desk(tree)


def test_a_certificate_of_tomorrow_is_shown_tomorrow(tree: PkiTree) -> None:
    desk = Desk(tree, staple=False)
    old = desk.shown()
    desk.now -= timedelta(hours=12)  # the clock is slow: what is issued now is not valid yet
    desk.renew()
    assert desk.shown() == old
    assert desk.reported() == ["credentials_kept"]
    desk.now += timedelta(hours=13)
    assert desk.shown() == tree.chain("secc")[0] != old
    assert desk.reported() == ["credentials_renewed"]


def test_an_old_certificate_that_has_expired_does_not_hold_up_the_new_one(tree: PkiTree) -> None:
    desk = Desk(tree)
    old_staple, leaf = tree.staple(), x509.load_der_x509_certificate(desk.shown())
    desk.renew()
    put(tree, {"secc/ocsp.der": old_staple})
    desk.now = leaf.not_valid_after_utc + timedelta(minutes=1)
    assert desk.shown() == tree.chain("secc")[0]


@pytest.mark.requirement("R152")
@pytest.mark.usefixtures("backend")
def test_an_answer_that_has_expired_is_not_stapled(tree: PkiTree) -> None:
    """After none a vehicle may ask the responder (V2G20-2411), after an old one it ends the handshake; so it does after
    one that says revoked, which it gets."""
    desk = Desk(tree)
    assert desk.files.current().answer() == tree.staple()
    desk.now += timedelta(days=8)
    assert desk.files.current().answer() == b""
    leaf, issuer = (load_certificate(each) for each in tree.credentials("secc").chain[:2])
    signer = Issuer(issuer, load_private_key(tree.path("cpo/sub2.key")))
    revoked = make_response(leaf, issuer, signer, at=desk.now - timedelta(days=8), revoked_at=desk.now)
    tree.path("secc/ocsp.der").write_bytes(revoked)
    assert desk.files.current().answer() == revoked


async def test_new_handshakes_show_the_new_chain_and_running_sessions_go_on(tree: PkiTree) -> None:
    desk = Desk(tree)
    async with serving(tree, identities=identities([desk.files])) as server:
        first = await join(server, tree)
        desk.renew()
        second = await join(server, tree)
        assert second.peer_chain == tree.chain("secc") != first.peer_chain
        assert second.ocsp_response == tree.staple()
        for stream in (first, second):
            await stream.write(b"x")
            assert await stream.read(1) == b"x"
            await stream.close()


@pytest.mark.usefixtures("backend")
async def test_credentials_that_break_in_a_handshake_cost_that_connection_only(tree: PkiTree) -> None:
    broken = False

    def now() -> tuple[object, ...]:
        if broken:
            raise KeyAccessError("the token was pulled out")
        return secc(tree).current()

    failures: list[str] = []
    endpoint = secc(tree, identities=now)
    server = await serve("::1", 0, _hang_up, endpoint, on_failure=lambda error: failures.append(error.reason))
    try:
        broken = True
        with pytest.raises(V2GError):
            await connect("::1", server.port, evcc(tree))
        assert failures == ["own_credentials_unusable"]
        broken = False
        await (await connect("::1", server.port, evcc(tree))).close()
    finally:
        await server.close()


async def _hang_up(_stream: object) -> None:
    return


def test_a_chain_that_nobody_renews_is_reported_from_its_last_third_on(tree: PkiTree) -> None:
    desk = Desk(tree)
    leaf = x509.load_der_x509_certificate(desk.shown())
    begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    for left, reported in ((0.4, []), (0.3, ["credentials_expire_soon"]), (-0.1, ["credentials_expire_soon"])):
        desk.now = end - left * (end - begin)
        desk.files.report_end()
        assert desk.reported() == reported


# --- files -----------------------------------------------------------------------------------------------------


def test_a_change_of_a_file_is_seen_once(tmp_path: Path) -> None:
    path = tmp_path / "file"
    watched = FileWatch([path])
    assert not watched.changed()
    for change in (
        lambda: path.write_text("made"),
        lambda: path.write_text("longer than before"),
        lambda: os.utime(path, (1, 1)),
        lambda: (tmp_path / "other").write_text("longer than before") and (tmp_path / "other").replace(path),
        lambda: path.chmod(0o640),
        path.unlink,
    ):
        change()
        assert watched.changed()
        assert not watched.changed()


def test_revocation_lists_are_read_anew_and_a_broken_one_does_not_count(tree: PkiTree) -> None:
    issuer = x509.load_der_x509_certificate(tree.chain("vehicle")[1])
    signer = Issuer(issuer, load_private_key(tree.path("oem/sub2.key")))
    path, events, now = tree.path("vehicles.crl"), [], datetime.now(UTC)

    def write(*serials: int) -> None:
        revoked = [Revoked(each, now) for each in serials]
        path.write_bytes(make_crl(signer, revoked, number=len(serials), at=now, validity=timedelta(days=1)))

    with pytest.raises(ConfigError, match=r"tls\.crls"):
        CrlFiles((path,), events.append)
    write(1)
    lists = CrlFiles((path,), events.append)
    assert [set(each.entries) for each in lists()] == [{1}]
    write(1, 2)
    assert [set(each.entries) for each in lists()] == [{1, 2}]
    path.write_bytes(b"broken")
    assert [set(each.entries) for each in lists()] == [{1, 2}]
    path.unlink()
    assert [set(each.entries) for each in lists()] == [{1, 2}]
    assert [each.name for each in events] == ["crls_renewed", "crls_kept", "crls_kept"]
