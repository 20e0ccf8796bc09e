"""Of several chains, each peer is shown the one that it believes and can verify."""

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pki_tools.renewal import Renewal, renew_certificate
from pki_tools.tree import PkiTree, refresh_staple
from tests.io.tls.peer import needs_openssl, openssl, s_client
from tests.io.tls.support import evcc, join, refused, secc, serving, shake
from v2g.errors import TlsError
from v2g.io.tls.endpoint import ISO15118_20, Backend, Endpoint, TlsIdentity, open_channel
from v2g.io.tls.hello import PeerPreferences, choose
from v2g.io.tls.stream import TlsStream
from v2g.pki.credentials import load_chain

pytestmark = pytest.mark.usefixtures("backend")


@pytest.fixture
def trees(pki: PkiTree, ed448_pki: PkiTree, other_pki: PkiTree) -> tuple[PkiTree, ...]:
    """Three V2G PKIs whose roots have different names: P-521, Ed448, P-521."""
    return pki, ed448_pki, other_pki


def stations(trees: Sequence[PkiTree]) -> tuple[TlsIdentity, ...]:
    return tuple(TlsIdentity(each.credentials("secc"), each.staple()) for each in trees)


def vehicles(trees: Sequence[PkiTree]) -> tuple[TlsIdentity, ...]:
    return tuple(TlsIdentity(each.credentials("vehicle")) for each in trees)


def roots(trees: Sequence[PkiTree], name: str) -> tuple[bytes, ...]:
    return tuple(each.anchors(name)[0] for each in trees)


def subject(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).subject.public_bytes()


# --- the choice itself -----------------------------------------------------------------------------------------


def test_the_first_that_the_peer_verifies_and_believes_is_shown(trees: tuple[PkiTree, ...]) -> None:
    p521, ed448, other = stations(trees)
    of_p521, of_ed448, of_other = (subject(each) for each in roots(trees, "v2g"))
    both, only_ecdsa, only_ed448 = (0x0603, 0x0808), (0x0603,), (0x0808, 0x0403)
    for order in permutations((p521, ed448, other)):
        assert choose(order, PeerPreferences((of_other,), both)) is other
        assert choose(order, PeerPreferences((of_ed448,), both)) is ed448
        assert choose(order, PeerPreferences((of_other, of_p521), only_ecdsa)) is next(
            x for x in order if x is not ed448
        )
        assert choose(order, PeerPreferences((), only_ed448)) is ed448
        assert choose(order, PeerPreferences((), both)) is order[0]  # V2G20-2378
        assert choose(order, PeerPreferences()) is order[0]
        # Nothing fits: something is shown all the same, one that the peer can at least verify.
        assert choose(order, PeerPreferences((b"a root of nobody",), both)) is order[0]
        assert choose(order, PeerPreferences((of_p521,), only_ed448)) is ed448
        assert choose(order, PeerPreferences((of_p521,), (0x0804,))) is p521


@given(st.lists(st.binary(max_size=50), max_size=4), st.lists(st.integers(0, 0xFFFF), max_size=4))
def test_whatever_a_peer_wishes_one_chain_is_shown(
    pki: PkiTree, authorities: list[bytes], algorithms: list[int]
) -> None:
    ours = stations((pki, pki))
    assert choose(ours, PeerPreferences(tuple(authorities), tuple(algorithms))) in ours


# --- the charger chooses ---------------------------------------------------------------------------------------


@needs_openssl
@pytest.mark.parametrize("wanted", [0, 1, 2])
async def test_the_charger_shows_what_an_openssl_client_believes(trees: tuple[PkiTree, ...], wanted: int) -> None:
    tree = trees[wanted]
    seen: list[TlsStream] = []

    async def handler(stream: TlsStream) -> None:
        seen.append(stream)
        while data := await stream.read(100):
            await stream.write(data)

    async with serving(trees[0], handler, identities=stations(trees), anchors=roots(trees, "oem")) as server:
        root = str(tree.path("v2g/root.pem"))
        command = s_client(server, tree, "-tls1_3", "-status", "-verify_return_error", "-requestCAfile", root)
        code, output = await openssl(*command, send=b"echo\n", until=b"\necho\n")
    assert code == 0, output
    assert "Verify return code: 0 (ok)" in output
    assert "Cert Status: good" in output  # each chain has its own OCSP answer
    assert seen[0].own.chain == tree.chain("secc")
    assert seen[0].peer_chain == tree.chain("vehicle")


@needs_openssl
@pytest.mark.parametrize(("algorithms", "wanted"), [("ed448", 1), ("ECDSA+SHA512", 0), ("ed448:ECDSA+SHA512", 0)])
async def test_the_charger_shows_what_an_openssl_client_can_verify(
    trees: tuple[PkiTree, ...], algorithms: str, wanted: int
) -> None:
    async with serving(trees[0], identities=stations(trees), anchors=roots(trees, "oem")) as server:
        tree = trees[wanted]
        command = s_client(server, tree, "-tls1_3", "-sigalgs", algorithms, "-verify_return_error")
        code, output = await openssl(*command, send=b"echo\n", until=b"\necho\n")
    assert code == 0, output
    assert "Verify return code: 0 (ok)" in output


@pytest.mark.parametrize("wanted", [0, 1, 2])
async def test_a_vehicle_says_whom_it_believes_where_its_backend_can(
    trees: tuple[PkiTree, ...], wanted: int, backend: Backend
) -> None:
    """V2G20-1006. The bundled library cannot: it gets the first chain, and refuses it by name if it is a wrong one."""
    tree = trees[wanted]
    async with serving(trees[0], identities=stations(trees), anchors=roots(trees, "oem")) as server:
        if backend == "bundled" and wanted:
            with pytest.raises(TlsError) as error:
                await join(server, tree)
            assert error.value.reason == "unknown_ca"
            assert await server.failure() == "own_certificate_unknown_ca"
            return
        stream = await join(server, tree)
        assert stream.peer_chain == tree.chain("secc")
        assert stream.ocsp_response == tree.staple()
        await stream.close()


def sizes_of(endpoint: Endpoint, *, record: int = 0) -> Sequence[bytes]:
    """Return the first flight of a client, whole, or its handshake message spread over records of `record` bytes."""
    client = open_channel(endpoint)
    client.handshake()
    flight = client.take()
    assert flight[0] == 22
    if not record:
        return (flight,)
    message = flight[5:]
    pieces = [message[at : at + record] for at in range(0, len(message), record)]
    return tuple(flight[:3] + len(each).to_bytes(2, "big") + each for each in pieces)


@pytest.mark.parametrize("record", [1, 7, 100])
def test_a_hello_in_many_records_and_reads_is_understood(trees: tuple[PkiTree, ...], record: int) -> None:
    profile = replace(ISO15118_20, signature_algorithms=("ed448",))
    vehicle = evcc(trees[1], profile=profile)
    server = open_channel(secc(trees[0], identities=stations(trees), anchors=roots(trees, "oem")))
    for each in sizes_of(vehicle, record=record):
        for at in range(0, len(each), 3):
            server.feed(each[at : at + 3])
            server.handshake()
    assert server.shown.chain == trees[1].chain("secc")
    assert len(server.take()) > 1000


@pytest.mark.parametrize("size", [1, 50, 1 << 20])
def test_the_choice_holds_when_the_client_has_to_start_again(trees: tuple[PkiTree, ...], size: int) -> None:
    """HelloRetryRequest: the client guesses secp521r1, the server has X448 only."""
    client = open_channel(evcc(trees[1], profile=replace(ISO15118_20, signature_algorithms=("ed448",))))
    x448 = replace(ISO15118_20, groups=("X448",))
    server = open_channel(secc(trees[0], identities=stations(trees), anchors=roots(trees, "oem"), profile=x448))
    shake(client, server, size=size)
    assert (client.group, server.shown.chain) == ("x448", trees[1].chain("secc"))


# --- the vehicle chooses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [0, 1, 2])
def test_the_vehicle_shows_what_the_charger_believes(trees: tuple[PkiTree, ...], wanted: int) -> None:
    """V2G20-2400, -2401: the CertificateRequest lists the charger's roots, and every backend can read it."""
    client = open_channel(evcc(trees[0], identities=vehicles(trees)))
    server = open_channel(secc(trees[0], anchors=trees[wanted].anchors("oem")))
    shake(client, server)
    assert server.peer is not None
    assert server.peer.der == trees[wanted].chain("vehicle") == client.shown.chain


def test_the_vehicle_shows_what_the_charger_can_verify(trees: tuple[PkiTree, ...]) -> None:
    """A charger without roots lists none (V2G20-2404); then the signature algorithms decide."""
    profile = replace(ISO15118_20, signature_algorithms=("ed448",))
    station = TlsIdentity(trees[1].credentials("secc"), trees[1].staple())
    client = open_channel(evcc(trees[1], identities=vehicles(trees)))
    server = open_channel(secc(trees[1], identities=(station,), anchors=trees[1].anchors("oem"), profile=profile))
    shake(client, server)
    assert client.shown.chain == trees[1].chain("vehicle")


async def test_no_session_is_lost_while_a_root_is_rolled_over(pki: PkiTree, tmp_path: Path) -> None:
    """Vehicles with the old root, the new one, or both; chargers before and after renewal, which show new with old, or
    old with new (RFC 4210 4.4), beside their sub-CAs."""
    tree = PkiTree(Path(shutil.copytree(pki.directory, tmp_path / "tree", symlinks=True)))
    old_root, old, old_staple = tree.anchors("v2g")[0], tree.credentials("secc"), tree.staple()
    for renewed in renew_certificate(tree.directory, "v2g/root", Renewal(below=True), at=datetime.now(UTC)):
        assert renewed.files
    new_root, new = tree.anchors("v2g")[0], tree.credentials("secc")
    new_staple = refresh_staple(tree, now=datetime.now(UTC))
    assert (old_root != new_root, old.leaf != new.leaf) == (True, True)
    (new_with_old,) = load_chain(tree.path("v2g/root-new-by-former.pem"))
    (old_with_new,) = load_chain(tree.path("v2g/root-former-by-new.pem"))
    before = replace(old, chain=(*old.chain, old_with_new)), old_staple
    after = replace(new, chain=(*new.chain, new_with_old)), new_staple
    for credentials, staple in (before, after):
        async with serving(pki, credentials=credentials, staple=staple) as server:
            for roots in ((old_root,), (new_root,), (old_root, new_root)):
                stream = await join(server, pki, anchors=roots)
                await stream.close()
    async with serving(pki, credentials=new, staple=new_staple) as server:
        assert await refused(server, pki, anchors=(old_root,)) == "unknown_ca", "without the link it is lost"
