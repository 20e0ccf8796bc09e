"""Bad gateway certificates at the broker: a real mosquitto refuses what RFC 5280 forbids, and takes RSA of 4096 bit."""

import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from pki_tools.tree import PkiTree
from tests.pki.bad_certificates import CASES, Case
from tests.pki.forge import Forge, Made
from tests.pki.forge_chains import pem, rsa_key
from tests.pki.openssl_verify import ALSO, KNOWN, OURS_ONLY
from v2g.pki.profile import Role
from v2g_cli.demo.broker import Broker, find_mosquitto, start_broker

_FORGE = Forge(Role.GATEWAY)
_TRUSTED_HERE = {
    "root of strangers", "root of strangers with a known name", "nobody is trusted",
    "trust in the root that was sent along",
}  # fmt: skip
"""Good chains to people who trust others than this broker does."""
BAD = [
    case
    for case in CASES
    if Role.GATEWAY in case.roles
    and case.sendable
    and (case.reason in KNOWN or case.name in ALSO)
    and case.name not in OURS_ONLY | _TRUSTED_HERE
]


@pytest.fixture(scope="module")
def made() -> dict[str, Made]:
    return {case.name: case.make(_FORGE) for case in BAD}


@pytest.fixture(scope="module")
def mosquitto(pki: PkiTree, made: dict[str, Made], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that trusts the roots of all cases."""
    program = find_mosquitto()
    if program is None:
        pytest.skip("mosquitto is not installed (Debian package mosquitto)")
    folder = tmp_path_factory.mktemp("broker")
    roots = {pem(anchor) for each in (*made.values(), _FORGE.made()) for anchor in each.anchors}
    (folder / "roots.pem").write_bytes(b"".join(sorted(roots)))
    running = start_broker(program, folder, pki, ca=folder / "roots.pem")
    yield running
    running.stop()


@pytest.fixture
def admits(mosquitto: Broker, pki: PkiTree, tmp_path: Path) -> Callable[[Made], bool]:
    """Say whether the broker answers the CONNECT of a gateway with success."""

    def ask(made: Made) -> bool:
        chain, key = tmp_path / "chain.pem", tmp_path / "leaf.key"
        chain.write_bytes(b"".join(map(pem, made.chain)))
        encodings = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        key.write_bytes(made.key.private_bytes(*encodings))
        context = ssl.create_default_context(cafile=str(pki.path("csms/root.pem")))
        context.load_cert_chain(chain, key)
        name = made.chain[0][:8].hex().encode()
        body = b"\x00\x04MQTT\x05\x02\x00\x3c\x00" + len(name).to_bytes(2, "big") + name  # MQTT 5, clean start
        try:
            with (
                socket.create_connection(("127.0.0.1", mosquitto.port), timeout=60) as plain,
                context.wrap_socket(plain, server_hostname="localhost") as connection,
            ):
                connection.sendall(bytes([0x10, len(body)]) + body)
                answer = connection.recv(64)
        except OSError:  # ssl.SSLError is one
            return False
        return answer[:1] == b"\x20" and answer[3] == 0  # CONNACK, Success

    return ask


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
def test_the_broker_refuses_what_rfc_5280_forbids(
    case: Case, made: dict[str, Made], admits: Callable[[Made], bool]
) -> None:
    assert not admits(made[case.name])


@pytest.mark.requirement("R19")
def test_the_broker_takes_good_gateways_and_those_with_rsa_of_4096_bit(admits: Callable[[Made], bool]) -> None:
    assert admits(_FORGE.made())
    assert admits(_FORGE.made(leaf={"key": rsa_key(4096)}))
