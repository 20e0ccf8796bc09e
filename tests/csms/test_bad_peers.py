"""Bad certificates of charging stations and API clients: what generic TLS lets through, our own judge refuses."""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import websockets
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from websockets.typing import Subprotocol

from csms.accounts.config import ApiClient
from csms.config import StationEntry
from pki_tools.tree import PkiTree
from tests.csms.backend import TestClock
from tests.csms.conftest import Start
from tests.pki.bad_certificates import CASES, Case, cases_for
from tests.pki.forge import Forge, Made
from tests.pki.forge_chains import pem, rsa_key
from v2g.errors import CertificateError
from v2g.io.runtime.clock import Clock
from v2g.io.tls.peer_chain import PeerJudge
from v2g.pki.credentials import load_chain
from v2g.pki.profile import Role
from v2g.pki.verify import verify_chain

STATION = "CS-V2G-0042"
CLIENT = "DEV2GS00000000000000000000000000000042X"


class Transport:
    """As much of an asyncio transport as the judge looks at."""

    def __init__(self, connection: ssl.SSLObject) -> None:
        self._connection = connection

    def get_extra_info(self, _name: str) -> ssl.SSLObject:
        return self._connection


def save(made: Made, folder: Path) -> tuple[Path, Path]:
    chain, key = folder / "chain.pem", folder / "leaf.key"
    chain.write_bytes(b"".join(map(pem, made.chain)))
    private = made.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key.write_bytes(private)
    return chain, key


def shake_hands(pki: PkiTree, made: Made, folder: Path, roots: Path) -> Transport | None:
    """Return the server's end of a handshake by the standard library, or None if it refused the client itself."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pki.path("csms/server/chain.pem"), pki.path("csms/server/leaf.key"))
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.create_default_context(cafile=str(pki.path("csms/root.pem")))
    try:
        if made.anchors:
            server.load_verify_locations(roots)
        client.load_cert_chain(*save(made, folder))
    except ssl.SSLError:
        return None  # a key or hash below OpenSSL's own security level
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname="localhost"),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    for _ in range(3):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                return None
    return Transport(ends[1])


@pytest.mark.some(1)
@cases_for(Role.STATION, Role.API_CLIENT, sendable=True)
def test_whom_tls_lets_in_our_judge_refuses(pki: PkiTree, tmp_path: Path, case: Case, role: Role) -> None:
    made = case.make(Forge(role))
    roots = tmp_path / "roots.pem"
    roots.write_bytes(b"".join(map(pem, made.anchors)))
    transport = shake_hands(pki, made, tmp_path, roots)
    if transport is None:
        assert case.reason not in {"wrong_domain", "wrong_subject"}  # of which generic TLS knows nothing
        return
    with pytest.raises(CertificateError) as error:
        PeerJudge([roots], role, Clock()).judge(transport)  # type: ignore[arg-type]
    assert error.value.reason == case.reason


def test_the_judge_believes_good_ones_and_wants_a_certificate(pki: PkiTree, tmp_path: Path) -> None:
    made = Forge(Role.STATION).made()
    roots = tmp_path / "roots.pem"
    roots.write_bytes(pem(made.anchors[0]))
    transport = shake_hands(pki, made, tmp_path, roots)
    judge = PeerJudge([roots], Role.STATION, Clock())
    assert judge.judge(transport).subject_cn == STATION  # type: ignore[arg-type]
    with pytest.raises(CertificateError):
        judge.judge(Transport(None))  # type: ignore[arg-type]


def test_the_judge_refuses_an_expired_one_on_a_connection_that_it_believed(pki: PkiTree, tmp_path: Path) -> None:
    made = Forge(Role.STATION).made()
    roots = tmp_path / "roots.pem"
    roots.write_bytes(pem(made.anchors[0]))
    transport = shake_hands(pki, made, tmp_path, roots)
    clock = TestClock(Clock().utc_ms())
    judge = PeerJudge([roots], Role.STATION, clock)
    assert judge.judge(transport) is judge.judge(transport)  # type: ignore[arg-type]  # verified once a connection
    end = x509.load_der_x509_certificate(made.chain[0]).not_valid_after_utc
    clock.now_ms = int(end.timestamp() * 1000) + 1000
    with pytest.raises(CertificateError) as error:
        judge.judge(transport)  # type: ignore[arg-type]
    assert error.value.reason == "expired"


WHOLE = [
    "leaf with RSA of 4096 bit",
    "DC in a certificate of the operator",
    "no organization",
    "no key usage",
    "leaf with cRLSign",
    "no basic constraints",
    "two leaves of one number",
    "sub-CA with digitalSignature",
]
"""What generic TLS believes."""


@pytest.fixture
def bad(tmp_path: Path) -> dict[str, tuple[Case, dict[Role, tuple[Path, Path]], bytes]]:
    """Return for each name the case, files for both roles, and their roots."""
    found = {}
    for case in CASES:
        if case.name in WHOLE:
            files, roots = {}, b""
            for role in (Role.STATION, Role.API_CLIENT):
                folder = tmp_path / f"{len(found)}-{role.value}"
                folder.mkdir()
                made = case.make(Forge(role))
                files[role] = save(made, folder)
                roots += pem(made.anchors[0])
            found[case.name] = (case, files, roots)
    assert set(found) == set(WHOLE)
    return found


@pytest.mark.long
async def test_the_whole_back_end_lets_none_of_them_in(
    start: Start, pki: PkiTree, tmp_path: Path, bad: dict[str, Any]
) -> None:
    roots = tmp_path / "all.pem"
    roots.write_bytes(pki.path("csms/root.pem").read_bytes() + b"".join(each for _, _, each in bad.values()))
    clients = (ApiClient(common_name=CLIENT, evs=("*",)),)
    config = {
        "ocpp": {"client_roots": (roots,), "strict_certificates": True},
        "api": {"client_roots": (roots,), "clients": clients},
    }
    async with start(**config, stations=(StationEntry(id=STATION),)) as csms:
        for number, (case, files, _roots) in enumerate(bad.values(), 1):
            context = csms.context(None)
            context.load_cert_chain(*files[Role.STATION])
            url = f"wss://127.0.0.1:{csms.csms.ports['ocpp']}/ocpp/{STATION}"
            with pytest.raises(websockets.InvalidStatus) as refused:
                await websockets.connect(url, subprotocols=[Subprotocol("ocpp2.1")], ssl=context)
            assert refused.value.response.status_code == 403
            assert case.reason.encode() in refused.value.response.body  # type: ignore[operator]
            assert (await csms.event("station_refused", number))["reason"] == case.reason
            context = csms.context(None)
            context.load_cert_chain(*files[Role.API_CLIENT])
            url = f"https://127.0.0.1:{csms.csms.ports['api']}/telemetry"
            async with (
                aiohttp.ClientSession() as session,
                session.post(url, data=b"[]", ssl=context) as response,
            ):
                assert response.status == 401
            assert (await csms.event("http_client_refused", number))["reason"] == case.reason


Plain = Callable[..., tuple[Path, Path, Path]]


@pytest.fixture
def plain(tmp_path: Path) -> Plain:
    """Make a root and a station's certificate below it as RFC 5280 allows them; return the files."""

    def make(usage: x509.ObjectIdentifier | None = None) -> tuple[Path, Path, Path]:
        root_key, key = ec.generate_private_key(ec.SECP256R1()), rsa_key(2048)
        names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in ("Operator", STATION)]
        now = datetime.now(UTC)

        def builder(subject: x509.Name, public: Any) -> x509.CertificateBuilder:
            made = x509.CertificateBuilder(issuer_name=names[0], subject_name=subject, public_key=public)
            made = made.serial_number(x509.random_serial_number())
            return made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=9))

        root = builder(names[0], root_key.public_key())
        root = root.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=False)
        leaf = builder(names[1], key.public_key())
        if usage is not None:
            leaf = leaf.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        files = tmp_path / "root.pem", tmp_path / "leaf.pem", tmp_path / "leaf.key"
        for file, each in zip(files, (root, leaf), strict=False):
            file.write_bytes(each.sign(root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        form = serialization.PrivateFormat.PKCS8
        files[2].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
        return files

    return make


async def test_ordinary_certificates_of_stations_are_taken_unless_configured_otherwise(
    start: Start, plain: Plain
) -> None:
    """RSA of 2048 bit, no O, no extensions: RFC 5280 and OCPP (A00.FR.506) allow them."""
    root, leaf, key = plain()
    for strict in (False, True):
        config = {"client_roots": (root,), "strict_certificates": strict}
        async with start(ocpp=config, stations=(StationEntry(id=STATION),)) as csms:
            context = csms.context(None)
            context.load_cert_chain(leaf, key)
            url = f"wss://127.0.0.1:{csms.csms.ports['ocpp']}/ocpp/{STATION}"
            connecting = websockets.connect(url, subprotocols=[Subprotocol("ocpp2.0.1")], ssl=context)
            if not strict:
                async with connecting:
                    continue
            with pytest.raises(websockets.InvalidStatus) as refused:
                async with connecting:
                    pass
            words = (refused.value.response.body or b"").decode()
            assert "an RSA key of 2048 bit" in words
            assert "client_roots" not in words


@pytest.mark.parametrize(
    ("usage", "fits"),
    [
        (ExtendedKeyUsageOID.CLIENT_AUTH, True),
        (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE, True),
        (ExtendedKeyUsageOID.SERVER_AUTH, False),
    ],
)
def test_an_extended_key_usage_that_is_there_has_to_fit(plain: Plain, usage: x509.ObjectIdentifier, fits: bool) -> None:
    files = plain(usage)
    (root,), (leaf,) = load_chain(files[0]), load_chain(files[1])
    if fits:
        verify_chain(leaf, (), (root,), role=Role.API_CLIENT, at=datetime.now(UTC), interop=True)
        return
    with pytest.raises(CertificateError) as caught:
        verify_chain(leaf, (), (root,), role=Role.API_CLIENT, at=datetime.now(UTC), interop=True)
    assert caught.value.reason == "extended_key_usage"
