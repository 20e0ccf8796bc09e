"""TLS 1.3 of ISO 15118-20 and TLS 1.2 of ISO 15118-2 at one listener: the ClientHello decides, and what gets neither
is refused by name.
"""

import asyncio
import ssl
import struct
from collections.abc import Sequence
from contextlib import suppress
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pki_tools.tree import PkiTree, TreeFault
from tests.io.tls.hello import extension, message, vector
from tests.io.tls.peer import needs_openssl, openssl, s_server
from tests.io.tls.support import (
    BACKENDS,
    Serving,
    both,
    echo,
    evcc,
    identity,
    join,
    only_2,
    secc,
    serving,
    shake,
    tree_2,
    unavailable,
)
from v2g.errors import TlsError
from v2g.io.tls.client import connect
from v2g.io.tls.endpoint import ISO15118_2, ISO15118_20, Backend, Endpoint, TlsIdentity, open_channel
from v2g.io.tls.hello import CLIENT_HELLO, ClientHello, first_message, read_client_hello, select
from v2g.io.tls.stream import TlsStream
from v2g.pki.certificates import load_certificate

BOTH = (ISO15118_20, ISO15118_2)


# --- the choice by the ClientHello, pure -----------------------------------------------------------------------

V13, V12, V11 = 0x0304, 0x0303, 0x0302
SUITE_13, SUITE_12, STATIC, GCM = 0x1302, 0xC023, 0xC025, 0xC02B
AES_128 = 0x1301
P256, P521, X448, X25519 = 23, 25, 30, 29
BY_P256, BY_P521, BY_ED448 = 0x0403, 0x0603, 0x0808


def offer(
    versions: Sequence[int], ciphers: Sequence[int], groups: Sequence[int],
    algorithms: Sequence[int] = (BY_P521, BY_ED448, BY_P256),
) -> ClientHello:  # fmt: skip
    return ClientHello(tuple(versions), tuple(ciphers), tuple(groups), tuple(algorithms))


SIGNED = "no_common_signature_algorithm"
CASES = {
    "-20": (offer([V13], [SUITE_13], [P521]), "iso15118-20", "iso15118-20", "protocol_version"),
    "-20 and -2": (offer([V13, V12], [SUITE_13, SUITE_12], [X448, P256]), "iso15118-20", "iso15118-20", "iso15118-2"),
    "-2": (offer([V12], [SUITE_12], [P256]), "iso15118-2", "protocol_version", "iso15118-2"),
    "-2 with both suites": (offer([V12], [STATIC, SUITE_12], [P256]), "iso15118-2", "protocol_version", "iso15118-2"),
    "-2 without groups": (offer([V12], [SUITE_12], []), "no_common_group", "protocol_version", "no_common_group"),
    "-2 by SHA-1": (offer([V12], [SUITE_12], [P256], []), SIGNED, "protocol_version", SIGNED),
    "-20 by P-256": (offer([V13], [SUITE_13], [P521], [BY_P256]), SIGNED, SIGNED, "protocol_version"),
    "static": (offer([V12], [STATIC], [P256]), "static_ecdh_only", "protocol_version", "static_ecdh_only"),
    "no suite": (offer([V12], [GCM], [P256]), "no_common_cipher", "protocol_version", "no_common_cipher"),
    "no curve": (offer([V12], [SUITE_12], [P521]), "no_common_group", "protocol_version", "no_common_group"),
    "1.3 without groups": (offer([V13], [SUITE_13], [P256]), "no_common_group", "no_common_group", "protocol_version"),
    "both without groups": (
        offer([V13, V12], [SUITE_13, SUITE_12], [X25519, P256]), "no_common_group", "no_common_group", "iso15118-2",
    ),
    "both without suites": (
        offer([V13, V12], [AES_128, SUITE_12], [P521, P256]), "no_common_cipher", "no_common_cipher", "iso15118-2",
    ),
    "both by P-256": (offer([V13, V12], [SUITE_13, SUITE_12], [P521, P256], [BY_P256]), SIGNED, SIGNED, "iso15118-2"),
    "too old": (offer([V11], [SUITE_12], [P256]), *["protocol_version"] * 3),
    "nothing": (offer([], [], []), *["protocol_version"] * 3),
}  # fmt: skip
"""ClientHello, and its profile or the reason of its refusal: where both are served, only -20, only -2."""


def outcome(hello: ClientHello, *profiles: Any, **options: Any) -> str:
    try:
        return select(hello, profiles, **options).name
    except TlsError as error:
        return error.reason if error.hint else "no advice"


@pytest.mark.requirement("R18")
@pytest.mark.parametrize("case", CASES)
def test_a_client_hello_gets_its_profile_or_a_named_refusal(case: str) -> None:
    hello, *expected = CASES[case]
    assert [outcome(hello, *BOTH), outcome(hello, ISO15118_20), outcome(hello, ISO15118_2)] == expected


def test_the_fall_back_is_for_those_only_that_cannot_speak_as_in_20() -> None:
    for case, (hello, expected, *_) in CASES.items():
        found = outcome(hello, *BOTH, falls_back=True)
        assert found == ("iso15118-2" if case.startswith("both ") else expected)


numbers = st.lists(
    st.sampled_from(
        [V11, V12, V13, SUITE_12, SUITE_13, AES_128, STATIC, GCM, P256, P521, X448, BY_P256, BY_P521, BY_ED448, 0]
    )
)


@pytest.mark.requirement("R18")
@given(numbers, numbers, numbers, numbers, st.booleans())
def test_no_hello_that_can_do_as_in_20_ever_ends_below(
    versions: list[int], ciphers: list[int], groups: list[int], algorithms: list[int], falls_back: bool
) -> None:
    hello = offer(versions, ciphers, groups, algorithms)
    with suppress(TlsError):
        if select(hello, BOTH, falls_back=falls_back).version == "TLSv1.2":
            assert V12 in versions
            needed = ((ciphers, {SUITE_13}), (groups, {P521, X448}), (algorithms, {BY_P521, BY_ED448}))
            assert V13 not in versions or (falls_back and any(each.isdisjoint(has) for has, each in needed))


# --- two ends in memory ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("client_backend", "server_backend"), [*product(BACKENDS, BACKENDS)])
def test_tls_12_authenticates_the_charger_only(
    pki_2: PkiTree, client_backend: Backend, server_backend: Backend
) -> None:
    """ISO 15118-2: one suite, one curve, a stapled answer, and no certificate of the vehicle."""
    for each in (client_backend, server_backend):
        if why := unavailable(each):
            pytest.skip(why)
    client = open_channel(evcc(pki_2, **only_2(pki_2), backend=client_backend))
    server = open_channel(secc(pki_2, profile=ISO15118_2, backend=server_backend))
    shake(client, server)
    for end in (client, server):
        assert (end.version, end.cipher, end.group) == ("TLSv1.2", "ECDHE-ECDSA-AES128-SHA256", "secp256r1")
    assert client.peer is not None
    assert client.peer.der == pki_2.chain("secc")
    assert client.ocsp_responses[0] == pki_2.staple()
    assert (server.peer, client.shown) == (None, None)
    for one, other in ((client, server), (server, client)):
        one.write(b"to the other side")
        other.feed(one.take())
        assert other.read(100) == b"to the other side"


# --- one listener ----------------------------------------------------------------------------------------------


async def group_of(server: Serving, tree: PkiTree, **options: Any) -> tuple[str, str, tuple[bytes, ...]]:
    """Return what a vehicle gets: version, group and chain."""
    stream = await join(server, tree, **options)
    await stream.write(b"abc")
    assert await stream.read(3) == b"abc"
    await stream.close()
    return stream.version, stream.group, stream.peer_chain


@pytest.mark.requirement("R18")
@pytest.mark.usefixtures("backend")
async def test_each_vehicle_gets_the_best_that_both_can(pki: PkiTree, pki_2: PkiTree) -> None:
    streams: list[TlsStream] = []

    async def handler(stream: TlsStream) -> None:
        streams.append(stream)
        await echo(stream)

    roots = (*pki.anchors("v2g"), *pki_2.anchors("v2g"))
    new, old = pki.chain("secc"), pki_2.chain("secc")
    async with serving(pki, handler, **both(pki, pki_2)) as server:
        assert await group_of(server, pki) == ("TLSv1.3", "secp521r1", new)
        assert await group_of(server, pki, older=ISO15118_2, anchors=roots) == ("TLSv1.3", "secp521r1", new)
        assert await group_of(server, pki, **only_2(pki_2)) == ("TLSv1.2", "secp256r1", old)
    assert [each.peer_chain for each in streams] == [pki.chain("vehicle"), pki.chain("vehicle"), ()]
    assert [each.peer_name != "" for each in streams] == [True, True, False]
    assert [each.own.chain for each in streams if each.own] == [new, new, old]
    async with serving(pki_2, profile=ISO15118_2) as server:
        version, _, chain = await group_of(server, pki, older=ISO15118_2, anchors=roots)
        assert (version, chain) == ("TLSv1.2", old)


@pytest.mark.usefixtures("backend")
async def test_of_several_chains_the_one_under_a_root_of_trusted_ca_keys_is_shown(
    pki: PkiTree, pki_2: PkiTree, other_2: PkiTree
) -> None:
    """V2G2-871, V2G2-651."""
    async with serving(pki, **both(pki, pki_2, other_2)) as server:
        for tree in (pki_2, other_2):
            assert (await group_of(server, pki, **only_2(tree)))[2] == tree.chain("secc")
        # V2G2-923: with no root in common, another one is shown, and the vehicle refuses it.
        with pytest.raises(TlsError) as error:
            await join(server, pki, **only_2(pki_2) | {"anchors": pki.anchors("v2g")})
        assert error.value.reason == "unknown_ca"
        assert await server.failure() == "own_certificate_unknown_ca"


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("staple", "reasons"),
    [
        (None, {"ocsp_missing"}),
        (b"no answer", {"ocsp_malformed", "ocsp_missing"}),  # OpenSSL 4 does not send what it cannot read
        ("revoked", {"ocsp_revoked"}),
    ],
)
async def test_a_charger_without_a_good_answer_is_left(
    pki_2: PkiTree, tmp_path_factory: pytest.TempPathFactory, staple: Any, reasons: set[str]
) -> None:
    """V2G2-873."""
    tree = tree_2(tmp_path_factory, secc=TreeFault.REVOKED) if staple == "revoked" else pki_2
    staple = tree.staple() if staple == "revoked" else staple
    async with serving(tree, profile=ISO15118_2, identities=(TlsIdentity(tree.credentials("secc"), staple),)) as server:
        with pytest.raises(TlsError) as error:
            await join(server, tree, **only_2(tree))
        assert error.value.reason in reasons
        assert await server.failure() == ("own_certificate_revoked" if staple == tree.staple() else "own_ocsp_refused")


# --- refused by name -------------------------------------------------------------------------------------------


def record(hello: bytes) -> bytes:
    return b"\x16\x03\x01" + vector(2, hello)


def hand_made(hello: ClientHello) -> bytes:
    """Return a ClientHello in a record, as a device of a few kilobytes would write it."""

    def listed(codes: Sequence[int]) -> bytes:
        return struct.pack(f">{len(codes)}H", *codes)

    body = b"\x03\x03" + bytes(range(32)) + vector(1, b"") + vector(2, listed(hello.ciphers)) + vector(1, b"\0")
    extensions = extension(13, vector(2, listed([0x0603, 0x0403])))
    if hello.groups:
        extensions += extension(10, vector(2, listed(hello.groups))) + extension(11, vector(1, b"\0"))
    if V13 in hello.versions:
        extensions += extension(43, vector(1, listed(hello.versions)))
    elif hello.versions:
        body = struct.pack(">H", max(hello.versions)) + body[2:]
    return record(message(CLIENT_HELLO, body + vector(2, extensions)))


REFUSED = ("static", "no suite", "no curve", "1.3 without groups", "both without groups", "too old")


@pytest.mark.requirement("R18")
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("case", REFUSED)
async def test_a_hand_made_hello_is_refused_by_name_and_with_an_alert(pki: PkiTree, pki_2: PkiTree, case: str) -> None:
    hello, where_both, only_20, _ = CASES[case]
    for options, reason in ((both(pki, pki_2), where_both), ({}, only_20)):
        async with serving(pki, **options) as server:
            reader, writer = await asyncio.open_connection("::1", server.port)
            for piece in (hand_made(hello)[:20], hand_made(hello)[20:]):
                writer.write(piece)
                await writer.drain()
            async with asyncio.timeout(60):
                answer = await reader.read()
            assert answer[:1] == b"\x15"  # an alert
            assert answer[5] == 2  # fatal
            assert await server.failure() == reason
            writer.close()


@pytest.mark.requirement("R18")
@pytest.mark.usefixtures("backend")
async def test_the_standard_library_connects_with_tls_12_where_it_is_enabled(pki: PkiTree, pki_2: PkiTree) -> None:
    context = ssl.create_default_context(cafile=str(pki_2.path("v2g/root.pem")))
    context.check_hostname = False
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with serving(pki, **both(pki, pki_2)) as server:
        reader, writer = await asyncio.open_connection("::1", server.port, ssl=context)
        connection = writer.get_extra_info("ssl_object")
        assert connection.version() == "TLSv1.2"
        assert connection.cipher()[0] == "ECDHE-ECDSA-AES128-SHA256"
        writer.write(b"hello")
        assert await reader.read(10) == b"hello"
        writer.close()
        await writer.wait_closed()
        context.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
        with pytest.raises(ssl.SSLError, match=r"(?i)handshake.failure"):
            await asyncio.open_connection("::1", server.port, ssl=context)
        assert await server.failure() == "no_common_cipher"
    async with serving(pki, **both(pki, pki_2)) as server:
        context.maximum_version = ssl.TLSVersion.TLSv1_3
        context.set_ciphers("ECDHE-ECDSA-AES128-SHA256")
        context.set_ecdh_curve("prime256v1")
        with pytest.raises(ssl.SSLError):
            await asyncio.open_connection("::1", server.port, ssl=context)
        assert await server.failure() == "no_common_group"
    async with serving(pki, **both(pki, pki_2), falls_back=True) as server:
        _, writer = await asyncio.open_connection("::1", server.port, ssl=context)
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.2"
        writer.close()
        await writer.wait_closed()


@needs_openssl
@pytest.mark.usefixtures("backend")
async def test_a_charger_of_tls_12_that_requires_a_certificate_is_named(pki_2: PkiTree) -> None:
    """As one of PyPI does in ISO 15118-2, too, where its TLS 1.3 is on; alert 40 says no more."""
    async with s_server(pki_2, "-tls1_2", staple=pki_2.path("secc/ocsp.der")) as port:
        with pytest.raises(TlsError) as error:
            await connect("::1", port, evcc(pki_2, **only_2(pki_2)))
    assert error.value.reason == "own_certificate_missing"


@needs_openssl
@pytest.mark.usefixtures("backend")
async def test_openssl_gets_the_stapled_answer_in_tls_12(pki: PkiTree, pki_2: PkiTree) -> None:
    async with serving(pki, **both(pki, pki_2)) as server:
        command = ["s_client", "-connect", f"[::1]:{server.port}", "-CAfile", str(pki_2.path("v2g/root.pem"))]
        command += ["-tls1_2", "-status", "-verify_return_error", "-x509_strict"]
        code, output = await openssl(*command, send=b"to be echoed\n", until=b"to be echoed\n")
    assert code == 0, output
    assert "Cert Status: good" in output
    assert "ECDHE-ECDSA-AES128-SHA256" in output
    assert "No client certificate CA names sent" in output


# --- nobody between --------------------------------------------------------------------------------------------


@pytest.mark.requirement("R18")
@pytest.mark.usefixtures("backend")
async def test_a_third_party_cannot_talk_both_down_to_tls_12(pki: PkiTree, pki_2: PkiTree) -> None:
    """The ClientHello loses its TLS 1.3 on the way; the charger's random shows it (RFC 8446, 4.1.3)."""
    roots = (*pki.anchors("v2g"), *pki_2.anchors("v2g"))
    client = open_channel(evcc(pki, older=ISO15118_2, anchors=roots))
    client.handshake()
    hello = first_message(client.take())
    assert hello is not None
    assert read_client_hello(hello).versions == (V13, V12)
    async with serving(pki, **both(pki, pki_2)) as server:
        reader, writer = await asyncio.open_connection("::1", server.port)
        writer.write(record(without(hello, 43, 51)))
        answer = await reader.read(1 << 16)
        assert answer[9:11] == b"\x03\x03"  # ServerHello of TLS 1.2
        client.feed(answer)
        with pytest.raises(TlsError) as error:
            client.handshake()
        assert error.value.reason == "downgrade"
        writer.close()


def without(hello: bytes, *kinds: int) -> bytes:
    """Return a ClientHello without some of its extensions."""
    at = 4 + 2 + 32
    at += 1 + hello[at]
    at += 2 + int.from_bytes(hello[at : at + 2], "big")
    at += 1 + hello[at]
    kept, place = b"", at + 2
    while place < len(hello):
        size = 4 + int.from_bytes(hello[place + 2 : place + 4], "big")
        if int.from_bytes(hello[place : place + 2], "big") not in kinds:
            kept += hello[place : place + size]
        place += size
    return message(CLIENT_HELLO, hello[4:at] + vector(2, kept))


@pytest.mark.usefixtures("backend")
async def test_a_vehicle_of_both_takes_no_chain_of_2_in_tls_13(pki: PkiTree, pki_2: PkiTree) -> None:
    """Nor a group: what it offers for TLS 1.2 weakens nothing in TLS 1.3."""
    wide = replace(
        ISO15118_20,
        groups=("prime256v1",),
        signature_algorithms=("ecdsa_secp256r1_sha256", *ISO15118_20.signature_algorithms),
    )
    roots = (*pki.anchors("v2g"), *pki_2.anchors("v2g"))
    for tree, reason in ((pki, "no_common_group"), (pki_2, "peer_certificate_wrong_curve")):
        options = {"identities": (identity(tree),), "profile": wide}
        client = open_channel(evcc(pki, older=ISO15118_2, anchors=roots))
        with pytest.raises(TlsError) as error:
            shake(client, open_channel(secc(pki, **options)))
        assert error.value.reason == reason


def test_an_endpoint_of_both_is_served_by_suitable_chains_only(pki: PkiTree, pki_2: PkiTree) -> None:
    ends: Endpoint = secc(pki, **both(pki, pki_2))
    for profile, tree in ((ISO15118_20, pki), (ISO15118_2, pki_2)):
        channel = open_channel(replace(ends, profile=profile, older=None))
        assert channel.shown is not None
        assert load_certificate(channel.shown.leaf) == load_certificate(tree.chain("secc")[0])
