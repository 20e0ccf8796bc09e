"""A handshake that fails has a name at both ends, in time; strangers cannot keep the charger busy."""

import asyncio
import errno
import gc
import resource
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from msgspec.structs import replace

from pki_tools.tree import PkiOptions, PkiTree, TreeFault, make_pki
from tests.io.tls.peer import needs_openssl, s_server
from tests.io.tls.support import Serving, echo, evcc, join, secc, serving
from v2g.errors import TlsError
from v2g.io.tls import stream as tls_stream
from v2g.io.tls.client import connect
from v2g.io.tls.endpoint import ISO15118_20, TlsChannel, open_channel
from v2g.io.tls.server import MAX_HANDSHAKES, serve
from v2g.io.tls.stream import ACCEPT_SECONDS, HANDSHAKE_SECONDS, TlsStream
from v2g.iso15118.engine.message_timing import SharedTiming
from v2g.pki.crl import Revoked, load_crl, make_crl
from v2g.pki.issue import Issuer
from v2g.pki.keys import load_private_key

pytestmark = pytest.mark.usefixtures("backend")

Case = tuple[dict[str, Any], dict[str, Any]]
"""Options of the charger's end and of the vehicle's."""


@pytest.fixture
def tree(pki: PkiTree) -> PkiTree:
    return pki


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, TreeFault], PkiTree]:
    """Return a maker of trees with one fault, each made once."""
    made: dict[tuple[str, TreeFault], PkiTree] = {}

    def make(leaf: str, fault: TreeFault) -> PkiTree:
        if (leaf, fault) not in made:
            options = PkiOptions(**{leaf: fault})
            made[leaf, fault] = make_pki(tmp_path_factory.mktemp("faulty"), now=datetime.now(UTC), options=options)
        return made[leaf, fault]

    return make


async def both(tree: PkiTree, station: dict[str, Any], vehicle: dict[str, Any]) -> tuple[str, str]:
    """Return the reasons that the charger and the vehicle give, both within 5 s."""
    async with asyncio.timeout(5), serving(tree, **station) as server:
        with pytest.raises(TlsError) as error:
            await _say_nothing(server, tree, vehicle)
        return await server.failure(), error.value.reason


async def _say_nothing(server: Serving, tree: PkiTree, vehicle: dict[str, Any]) -> None:
    stream = await join(server, tree, **vehicle)
    try:
        await stream.read(1)  # in TLS 1.3 a client is done before the server has judged it
    finally:
        await stream.close()


def only(**change: Any) -> dict[str, Any]:
    return {"profile": replace(ISO15118_20, **change)}


NOTHING_IN_COMMON: dict[str, tuple[Case, str]] = {
    "suite": (({}, only(ciphers=("TLS_AES_128_GCM_SHA256",))), "no_common_cipher"),
    "group": (({}, only(groups=("prime256v1",))), "no_common_group"),
    "one group each": ((only(groups=("X448",)), only(groups=("secp521r1",))), "no_common_group"),
    "signature": (({}, only(signature_algorithms=("ecdsa_secp521r1_sha512",))), "no_common_signature_algorithm"),
}


@pytest.mark.requirement("R17")
@pytest.mark.parametrize("name", NOTHING_IN_COMMON)
async def test_nothing_in_common_has_a_name_at_both_ends(tree: PkiTree, ed448_pki: PkiTree, name: str) -> None:
    (station, vehicle), reason = NOTHING_IN_COMMON[name]
    charger = tree
    if name == "signature":
        charger, vehicle = ed448_pki, vehicle | {"credentials": tree.credentials("vehicle")}
    # The alert does not say more (RFC 8446, 6.2); the vehicle's hint lists what it offered.
    assert await both(charger, station, vehicle) == (reason, "handshake_refused")


FAULTS = {
    ("secc", TreeFault.EXPIRED): ("own_certificate_expired", "peer_certificate_expired"),
    ("secc", TreeFault.NOT_YET_VALID): ("own_certificate_refused", "peer_certificate_not_yet_valid"),
    ("secc", TreeFault.FOREIGN_ROOT): ("own_certificate_unknown_ca", "unknown_ca"),
    ("secc", TreeFault.REVOKED): ("own_certificate_revoked", "ocsp_revoked"),
    ("vehicle", TreeFault.EXPIRED): ("peer_certificate_expired", "own_certificate_expired"),
    ("vehicle", TreeFault.NOT_YET_VALID): ("peer_certificate_not_yet_valid", "own_certificate_refused"),
    ("vehicle", TreeFault.FOREIGN_ROOT): ("unknown_ca", "own_certificate_unknown_ca"),
}


@pytest.mark.some(2)
@pytest.mark.requirement("R2")
@pytest.mark.parametrize(("leaf", "fault"), FAULTS)
async def test_a_certificate_at_fault_has_a_name_at_both_ends(
    faulty: Callable[[str, TreeFault], PkiTree], leaf: str, fault: TreeFault
) -> None:
    assert await both(faulty(leaf, fault), {}, {}) == FAULTS[leaf, fault]


@pytest.mark.requirement("R2")
@pytest.mark.parametrize("leaf", ["vehicle", "secc"])
async def test_a_certificate_on_a_revocation_list_has_a_name_at_both_ends(tree: PkiTree, leaf: str) -> None:
    certificate, issuer = (x509.load_der_x509_certificate(each) for each in tree.chain(leaf)[:2])
    folder = {"vehicle": "oem", "secc": "cpo"}[leaf]
    signer = Issuer(issuer, load_private_key(tree.path(f"{folder}/sub2.key")))
    now = datetime.now(UTC)
    listed = make_crl(signer, (Revoked(certificate.serial_number, now),), number=1, at=now, validity=timedelta(days=7))
    end = {"crls": lambda: (load_crl(listed),)}
    reasons = await (both(tree, end, {}) if leaf == "vehicle" else both(tree, {}, end))
    expected = ("crl_revoked", "own_certificate_revoked")
    assert reasons == (expected if leaf == "vehicle" else expected[::-1])


async def test_a_missing_ocsp_answer_has_a_name_at_both_ends(tree: PkiTree) -> None:
    assert await both(tree, {"staple": None}, {}) == ("own_ocsp_refused", "ocsp_missing")


# --- a man in the middle ---------------------------------------------------------------------------------------


@pytest.mark.requirement("R20")
async def test_a_man_in_the_middle_with_his_own_authorities_is_refused_by_both(tree: PkiTree, tmp_path: Path) -> None:
    """His authorities have the names of the real ones; only the keys differ."""
    his = make_pki(tmp_path, now=datetime.now(UTC))
    everyone = (*tree.anchors("v2g", "oem"), *his.anchors("v2g", "oem"))
    async with serving(tree) as station:

        async def relay(stream: TlsStream) -> None:
            raise AssertionError("the vehicle has let him in")

        end = secc(his, anchors=everyone)
        failures: asyncio.Queue[TlsError] = asyncio.Queue()
        middle = await serve("::1", 0, relay, end, on_failure=failures.put_nowait)
        try:
            with pytest.raises(TlsError) as error:
                await connect("::1", middle.port, evcc(tree))
            assert error.value.reason == "unknown_ca"
            assert (await asyncio.wait_for(failures.get(), 60)).reason == "own_certificate_unknown_ca"

            stream = await connect("::1", station.port, evcc(his, anchors=everyone))
            with pytest.raises(TlsError) as error:
                await stream.read(1)
            assert error.value.reason == "own_certificate_unknown_ca"
            await stream.close()
        finally:
            await middle.close()
        assert await station.failure() == "unknown_ca"


@needs_openssl
async def test_an_openssl_server_with_other_authorities_is_refused(tree: PkiTree, other_pki: PkiTree) -> None:
    async with s_server(other_pki, "-tls1_3", staple=other_pki.path("secc/ocsp.der")) as port:
        with pytest.raises(TlsError) as error:
            await connect("::1", port, evcc(tree))
    assert error.value.reason == "unknown_ca"


# --- stalling --------------------------------------------------------------------------------------------------


def hello(tree: PkiTree) -> bytes:
    channel = open_channel(evcc(tree))
    channel.handshake()
    return channel.take()


def test_the_longest_handshake_leaves_time_for_what_follows() -> None:
    """A vehicle may try again within 5 s; a charger has CommunicationSetup (V2G2-714)."""
    assert HANDSHAKE_SECONDS + tls_stream.DRAIN_SECONDS < 5
    assert SharedTiming().secc_communication_setup > ACCEPT_SECONDS + tls_stream.DRAIN_SECONDS


@pytest.mark.parametrize(
    ("sends", "reason", "words"),
    [
        (lambda _: b"", "peer_silent", "connected and sent nothing"),
        (lambda tree: hello(tree)[:100], "peer_stalled", "100 bytes into its first message"),
        (lambda tree: hello(tree)[:3], "peer_stalled", "3 bytes into"),
        (hello, "peer_stalled", "bytes sent"),
    ],
)
async def test_a_client_that_stops_is_cut_and_it_is_said_where(
    tree: PkiTree, sends: Callable[[PkiTree], bytes], reason: str, words: str
) -> None:
    async with serving(tree, timeout=0.1) as server:
        reader, writer = await asyncio.open_connection("::1", server.port)
        writer.write(sends(tree))
        error = await asyncio.wait_for(server.failures.get(), 60)
        assert (error.reason, words in str(error)) == (reason, True)
        with suppress(ConnectionError):
            await reader.read()  # the connection is closed, and nothing waits
        writer.close()


@pytest.mark.parametrize(
    ("data", "reasons"),
    [
        (b"\x01\xfe\x80\x01\x00\x00\x00\x10" + bytes(16), ["not_tls"]),  # V2GTP without TLS
        (b"GET / HTTP/1.1\r\nHost: evse\r\n\r\n", ["not_tls"]),
        (bytes(100), ["not_tls"]),
        (b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00", ["tls_failed"]),  # a ServerHello from a client
    ],
)
async def test_what_is_not_tls_is_named_at_once(tree: PkiTree, data: bytes, reasons: list[str]) -> None:
    async with serving(tree) as server:
        _reader, writer = await asyncio.open_connection("::1", server.port)
        writer.write(data)
        async with asyncio.timeout(1):
            assert await server.failure() in reasons
        writer.close()


@asynccontextmanager
async def raw_server(answer: bytes, *, close: bool) -> AsyncIterator[int]:
    """Listen, say `answer` to whatever comes, and perhaps close."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        if close:
            writer.close()
        else:
            await reader.read()
            writer.close()

    listener = await asyncio.start_server(talk, "::1", 0)
    yield listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()


@pytest.mark.parametrize(
    ("answer", "close", "reason"),
    [
        (b"", False, "peer_silent"),
        (b"\x16\x03\x03\x00\x7a\x02", False, "peer_stalled"),
        (b"", True, "closed"),
        (b"\x01\xfe\x80\x01\x00\x00\x00\x04\x80\x40\x00\x40", False, "not_tls"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", True, "not_tls"),
        (b"\x15\x03\x03\x00\x02\x02\x46", True, "protocol_version"),
        (b"\x15\x03\x03\x00\x02\x02\x50", True, "alert_80"),
    ],
)
async def test_a_vehicle_names_what_a_broken_charger_does(
    tree: PkiTree, answer: bytes, close: bool, reason: str
) -> None:
    async with raw_server(answer, close=close) as port:
        with pytest.raises(TlsError) as error:
            await connect("::1", port, evcc(tree), timeout=0.2)
    assert error.value.reason == reason


async def test_a_byte_now_and_then_does_not_buy_time(tree: PkiTree) -> None:
    async with serving(tree, timeout=0.3) as server:
        clock = asyncio.get_running_loop().time
        began = clock()
        _reader, writer = await asyncio.open_connection("::1", server.port)
        dripping = asyncio.create_task(drip(writer, hello(tree)))
        error = await asyncio.wait_for(server.failures.get(), 60)
        assert error.reason == "peer_stalled"
        assert clock() - began < 1.5
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
        writer.close()


async def drip(writer: asyncio.StreamWriter, data: bytes) -> None:
    for byte in data:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.01)


@pytest.mark.long
async def test_with_the_real_times_both_ends_name_a_silent_peer(tree: PkiTree) -> None:
    """The vehicle within 5 s, the charger within 20."""
    async with serving(tree) as server, raw_server(b"", close=False) as silent:
        _reader, writer = await asyncio.open_connection("::1", server.port)
        async with asyncio.timeout(20):
            with pytest.raises(TlsError) as error:
                async with asyncio.timeout(5):
                    await connect("::1", silent, evcc(tree))
            assert error.value.reason == "peer_silent"
            assert await server.failure() == "peer_silent"
        writer.close()


# --- floods ----------------------------------------------------------------------------------------------------


def flood(server: Serving, number: int, address: str = "::1") -> list[socket.socket]:
    """Open connections and say nothing."""
    opened = []
    for _ in range(number):
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        sock.settimeout(0)
        with suppress(BlockingIOError):
            sock.connect((address, server.port))
        opened.append(sock)
    return opened


def ended(sock: socket.socket) -> bool:
    """Return whether the server has closed a connection."""
    try:
        return sock.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


async def test_a_thousand_half_open_connections_do_not_stop_a_good_one(tree: PkiTree) -> None:
    async with serving(tree) as server:
        opened: list[socket.socket] = []
        try:
            for _ in range(20):
                opened += flood(server, 50)
                await asyncio.sleep(0)
            stream = await join(server, tree)
            await stream.write(b"still here")
            assert await stream.read(10) == b"still here"
            await stream.close()
        finally:
            for sock in opened:
                sock.close()


async def test_a_flood_from_one_address_pushes_out_its_own_first(tree: PkiTree) -> None:
    """An honest vehicle is in the middle of its handshake when the flood from another address comes."""
    result = Serving()
    result.server = await serve("127.0.0.1", 0, echo, secc(tree), on_failure=result.failures.put_nowait)
    try:
        vehicle = open_channel(evcc(tree))
        vehicle.handshake()
        reader, writer = await asyncio.open_connection("127.0.0.1", result.port, local_addr=("127.0.0.2", 0))
        writer.write(vehicle.take())
        opened = flood(result, 100, "127.0.0.1")
        try:
            async with asyncio.timeout(60):
                while sum(map(ended, opened)) < len(opened) + 1 - MAX_HANDSHAKES:  # the vehicle's is one, too
                    await asyncio.sleep(0.001)

                async def opener(_first: bytes) -> TlsChannel:
                    return vehicle

                until = asyncio.get_running_loop().time() + 4
                stream = await tls_stream.handshake(opener, reader, writer, until=until)
                await stream.write(b"x")
                assert await stream.read(1) == b"x"
                await stream.close()
        finally:
            for sock in opened:
                sock.close()
    finally:
        await result.server.close()


HOLD = """
import socket, sys
held = []
for _ in range(int(sys.argv[2])):
    sock = socket.socket(socket.AF_INET6)
    sock.setblocking(False)
    try:
        sock.connect(("::1", int(sys.argv[1])))
    except BlockingIOError:
        pass
    held.append(sock)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.some(1)
async def test_a_process_without_file_descriptors_listens_on(tree: PkiTree) -> None:
    """Somebody holds more connections than the process may have files open; when they are gone, it serves again."""
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))
    async with serving(tree) as server:
        holder = await asyncio.create_subprocess_exec(
            sys.executable, "-c", HOLD, str(server.port), "200",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert holder.stdin is not None
        assert holder.stdout is not None
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        gc.disable()  # descriptors of earlier tests must not become free for these connections
        used = len(list(Path("/proc/self/fd").iterdir()))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 8, hard))
        try:
            await holder.stdout.readline()
            async with asyncio.timeout(60):
                while not reported:
                    await asyncio.sleep(0.01)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            gc.enable()
        assert isinstance(reported[0]["exception"], OSError)
        assert reported[0]["exception"].errno == errno.EMFILE
        holder.stdin.close()
        await holder.wait()
        stream = await join(server, tree)
        await stream.write(b"x")
        assert await stream.read(1) == b"x"
        await stream.close()
