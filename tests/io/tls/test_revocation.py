"""What a vehicle makes of OCSP answers that are missing, old or wrong, and of responders that it asks itself."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from msgspec.structs import replace

from pki_tools.renewal import revoke_certificate
from pki_tools.serve import Server
from pki_tools.tree import PkiOptions, PkiTree, make_pki
from tests.io.tls.hello import certificate
from tests.io.tls.support import evcc, join, refused, secc, serving
from v2g.errors import RevocationError
from v2g.io.tls import revocation
from v2g.io.tls.endpoint import ISO15118_20
from v2g.io.tls.hello import HelloEntry
from v2g.io.tls.peer_verifier import PeerVerdict
from v2g.pki.issue import Issuer
from v2g.pki.keys import load_private_key
from v2g.pki.ocsp import make_response
from v2g.pki.revocation import Fail
from v2g_cli.demo.processes import free_port

SOFT = replace(ISO15118_20, revocation=Fail.SOFT)


def answer(tree: PkiTree, place: int = 0, *, revoked: bool = False, days: int = 0) -> bytes:
    """Return an answer about a certificate of the charger's chain by its issuer, from `days` ago."""
    keys = ("cpo/sub2.key", "cpo/sub1.key", "v2g/root.key")
    chain = [x509.load_der_x509_certificate(each) for each in (*tree.chain("secc"), *tree.anchors("v2g"))]
    signer = Issuer(chain[place + 1], load_private_key(tree.path(keys[place])))
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(days=days)
    return make_response(chain[place], chain[place + 1], signer, at=at, revoked_at=at if revoked else None)


# --- what is stapled -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("staple", "hard", "soft"),
    [
        (lambda _: None, "ocsp_missing", "missing"),
        (lambda tree: answer(tree, days=8), "ocsp_expired", "expired"),
        (lambda tree: answer(tree, revoked=True), "ocsp_revoked", None),
        (lambda tree: answer(tree, revoked=True, days=8), "ocsp_revoked", None),
    ],
)
async def test_soft_goes_on_where_nobody_has_said_anything_and_hard_does_not(
    pki: PkiTree, staple: Callable[[PkiTree], Any], hard: str, soft: str | None
) -> None:
    async with serving(pki, staple=staple(pki)) as server:
        assert await refused(server, pki) == hard
        if soft is None:
            assert await refused(server, pki, profile=SOFT) == hard
            return
        stream = await join(server, pki, profile=SOFT)
        assert (stream.unproven, stream.ocsp_response) == (soft, b"")
        await stream.close()


def verdict(tree: PkiTree, *staples: bytes, **options: Any) -> PeerVerdict:
    """Return the verdict of a vehicle that was shown the charger's chain with an answer beside each certificate."""
    made = PeerVerdict(evcc(tree, **options))
    made.on_message(
        certificate([HelloEntry(der, staple) for der, staple in zip(tree.chain("secc"), staples, strict=True)])
    )
    return made


def test_an_answer_beside_each_certificate_is_checked(pki: PkiTree) -> None:
    """V2G20-2388. No library at hand staples more than one, so the message is written here."""
    answers = [answer(pki, place) for place in range(3)]
    judged = verdict(pki, *answers)
    assert judged.judge() == 0
    assert judged.staples_good()
    assert judged.ocsp_responses == tuple(answers)
    judged = verdict(pki, answers[0], b"", answers[2])
    assert judged.judge() == 0
    assert judged.staples_good()
    assert judged.ocsp_responses == (answers[0], b"", answers[2])


@pytest.mark.parametrize("place", [1, 2])
def test_a_sub_ca_that_is_revoked_or_answered_for_wrongly_is_refused(pki: PkiTree, place: int) -> None:
    answers = [answer(pki, each) for each in range(3)]
    answers[place] = answer(pki, place, revoked=True)
    judged = verdict(pki, *answers, profile=SOFT)
    assert judged.judge() == 23  # X509_V_ERR_CERT_REVOKED, whose alert is certificate_revoked
    assert judged.name([], evcc(pki).current()[0]).reason == "ocsp_revoked"
    answers[place] = answers[0]
    judged = verdict(pki, *answers, profile=SOFT)
    assert judged.judge() == 0
    assert not judged.staples_good()
    assert judged.name([], evcc(pki).current()[0]).reason == "ocsp_bad_signature"


def test_a_certificate_message_that_cannot_be_read_is_no_chain(pki: PkiTree) -> None:
    judged = PeerVerdict(evcc(pki))
    judged.on_message(certificate([HelloEntry(b"x")])[:-1])
    assert judged.judge() != 0
    assert judged.name([], evcc(pki).current()[0]).reason == "peer_certificate_malformed"
    assert not PeerVerdict(evcc(pki)).staples_good()


# --- asking a responder ----------------------------------------------------------------------------------------


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def named(tmp_path: Path, port: int) -> PkiTree:
    """A tree whose certificates name a responder at `port`."""
    options = PkiOptions(url=f"http://127.0.0.1:{port}")
    return make_pki(tmp_path / "pki", now=datetime.now(UTC), options=options)


@asynccontextmanager
async def responder(tree: PkiTree, port: int) -> AsyncIterator[None]:
    server = Server(tree.directory, observe=lambda _: None)
    await server.start("127.0.0.1", port)
    try:
        yield
    finally:
        await server.close()


@pytest.mark.usefixtures("backend")
async def test_a_vehicle_asks_the_responders_for_what_was_not_stapled(named: PkiTree, port: int) -> None:
    """V2G20-2411: for the leaf, and for the sub-CAs that name a responder."""
    async with serving(named, staple=None) as server, responder(named, port):
        stream = await join(server, named, ask_responder=True)
        assert stream.unproven == ""
        assert stream.ocsp_response
        assert len([each for each in stream.ocsp_responses if each]) >= 2
        await stream.close()
        revoke_certificate(named.directory, name="secc", at=datetime.now(UTC))
        for profile in (ISO15118_20, SOFT):
            assert await refused(server, named, ask_responder=True, profile=profile) == "ocsp_revoked"


@pytest.mark.usefixtures("backend")
async def test_a_responder_that_is_not_there_ends_it_or_not_as_the_policy_says(named: PkiTree) -> None:
    async with serving(named, staple=None) as server:
        assert await refused(server, named, ask_responder=True) == "ocsp_refused"
        stream = await join(server, named, ask_responder=True, profile=SOFT)
        assert stream.unproven == "refused"
        await stream.close()
        assert await refused(server, named) == "ocsp_missing"


async def test_a_staple_that_is_wrong_is_refused_although_a_responder_could_be_asked(named: PkiTree) -> None:
    async with serving(named, staple=answer(named, revoked=True)) as server:
        assert await refused(server, named, ask_responder=True) == "ocsp_revoked"


@asynccontextmanager
async def http(answer: bytes) -> AsyncIterator[str]:
    """Serve one fixed answer, whatever it is; yields the URL."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        if answer:
            writer.close()

    writers: list[asyncio.StreamWriter] = []
    listener = await asyncio.start_server(talk, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"
    for each in writers:
        each.close()
        with suppress(OSError):
            await each.wait_closed()
    listener.close()
    await listener.wait_closed()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", "HTTP status 500"),
        (b"HTTP/1.1 302 Go\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", "HTTP status 302"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + bytes(99999), "longer than 16384 bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + bytes(9), "OCSP responder"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n0\x03\n\x01\x02", "it answered internalError"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n0\x03\n\x01\x03", "it answered tryLater"),
        (b"nonsense", "OCSP responder"),
        (b"", "no answer in 0.1 s"),
    ],
)
async def test_a_responder_that_misbehaves_is_no_answer(said: bytes, words: str) -> None:
    async with http(said) as url:
        with pytest.raises(RevocationError, match=words) as error:
            await revocation.ask(url, b"question", timeout_s=0.1)
    assert error.value.reason == "refused"


async def test_a_url_that_is_none_is_no_answer() -> None:
    for url in ("ldap://responder", "no url", "http://"):
        with pytest.raises(RevocationError):
            await revocation.ask(url, b"question", timeout_s=0.1)


def test_what_a_vehicle_staples_is_not_asked_for_and_does_not_count(pki: PkiTree) -> None:
    """V2G20-2407; and a library that forgot to ask about the staples would find nobody believed."""
    judged = PeerVerdict(secc(pki))
    judged.on_message(certificate([HelloEntry(der, b"rubbish") for der in pki.chain("vehicle")]))
    assert judged.judge() == 0
    assert judged.peer is not None
    judged = verdict(pki, b"rubbish", b"", b"")
    assert judged.judge() == 0
    assert judged.peer is None
