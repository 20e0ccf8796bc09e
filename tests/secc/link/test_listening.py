"""What a charger listens to by its editions, what SDP answers, and why a vehicle is refused."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from pki_tools.tree import PkiTree
from secc.link.listening import Listening, Stream, listen
from secc.link.transport import VehicleTransport
from tests.io.tls.support import evcc, only_2, pki_2
from tests.secc.link.transport import config
from v2g.errors import ConfigError, TlsError
from v2g.io.capture.recorder import FrameRecorder, RecordConfig, packets
from v2g.io.network import plain_tcp
from v2g.io.network.sdp import discover
from v2g.io.tls.client import connect
from v2g.io.tls.endpoint import ISO15118_2, Endpoint
from v2g.iso15118.engine.sdp import Security
from v2g.observe import Observe

__all__ = ["pki_2"]

LOCALHOST = IPv6Address("::1")
TLS, NONE = Security.TLS, Security.NONE
EDITIONS_20, ALL = '["20"]', '["20", "2", "din"]'


class Charger:
    """Listeners of a charger, the connections that they accepted, and the events."""

    def __init__(self) -> None:
        self.events: list[Observe] = []
        self.streams: list[Stream] = []
        self.refused: asyncio.Queue[Observe] = asyncio.Queue()
        self.listening: Listening

    async def greet(self, stream: Stream) -> None:
        self.streams.append(stream)
        await stream.write(b"hello")

    def observe(self, event: Observe) -> None:
        self.events.append(event)
        if event.name == "refused":
            self.refused.put_nowait(event)

    async def answer(self, security: Security) -> tuple[Security, int]:
        """Return what SDP answers to a vehicle that asks for this security."""
        port = self.listening.discovery.port
        found = await discover("lo", port=port, security=security, accepted=tuple(Security))
        return found.response.security, found.port

    async def greeted(self, port: int, endpoint: Endpoint | None) -> str:
        """Connect as a vehicle; return the version of TLS."""
        stream: Stream
        if endpoint is None:
            stream = await plain_tcp.connect("::1", port, timeout=5)
        else:
            stream = await connect("::1", port, endpoint)
        assert await stream.read(5) == b"hello"
        await stream.close()
        return stream.version


@contextlib.asynccontextmanager
async def charger(
    folder: Path, tree: PkiTree, editions: str, more: str = "", *, plain: bool, recorder: FrameRecorder | None = None
) -> AsyncIterator[Charger]:
    """Run the listeners of a charger; `more` stands in its TLS section."""
    top = f"charger = {{ editions = {editions} }}\nsdp = {{ port = 0, without_tls = {str(plain).lower()} }}\n"
    found = Charger()
    made = config(folder, tree, f'ocsp = "{tree.path("secc/ocsp.der")}"\n{more}', top)
    transport = VehicleTransport(made, found.observe)
    found.listening = await listen(
        "lo",
        LOCALHOST,
        config=made,
        endpoint=transport.endpoint_of(made),
        handler=found.greet,
        observe=found.observe,
        evse_ids=["DEV2GE00001"],
        recorder=recorder,
    )
    try:
        yield found
    finally:
        await found.listening.close()


async def test_connections_with_and_without_tls_are_recorded(tmp_path: Path, pki: PkiTree, pki_2: PkiTree) -> None:
    path = tmp_path / "secc.pcapng"
    recorder = FrameRecorder(RecordConfig(file=path), application="v2g test")
    async with charger(tmp_path, pki, ALL, second(pki_2), plain=True, recorder=recorder) as found:
        for endpoint in (None, evcc(pki)):
            _, port = await found.answer(TLS if endpoint else NONE)
            await found.greeted(port, endpoint)
    recorder.close()
    sent = [packet.data[74:] for packet in packets(path) if packet.data[74:]]
    assert sent[0] == b"hello"
    assert sent[1][:3] == b"\x16\x03\x01", "the ClientHello of the second vehicle"


def second(tree: PkiTree) -> str:
    """Return a further chain of the charger."""
    chain, key, ocsp = (tree.path(f"secc/{name}") for name in ("chain.pem", "leaf.key", "ocsp.der"))
    return f'[[tls.other_chains]]\nchain = "{chain}"\nkey = "{key}"\nocsp = "{ocsp}"\n'


@pytest.mark.parametrize(
    ("editions", "plain", "answers"),
    [
        (EDITIONS_20, False, (TLS, TLS)),  # V2G20-1238
        (ALL, True, (TLS, NONE)),  # each vehicle gets what it asks for
        ('["2"]', True, (NONE, NONE)),  # without a chain of -2
        ('["din"]', True, (NONE, NONE)),  # TLS asked, none there: the vehicle decides
    ],
)
async def test_sdp_answers_with_what_the_editions_have(
    tmp_path: Path, pki: PkiTree, pki_2: PkiTree, editions: str, plain: bool, answers: tuple[Security, Security]
) -> None:
    more = second(pki_2) if editions == ALL else ""
    async with charger(tmp_path, pki, editions, more, plain=plain) as found:
        ports = found.listening.ports
        for asked, answered in zip((TLS, NONE), answers, strict=True):
            port = ports["tls_port" if answered is TLS else "plain_port"]
            assert await found.answer(asked) == (answered, port)
        assert ("tls_port" in ports) is (TLS in answers)


@pytest.mark.requirement("R18")
async def test_one_listener_serves_vehicles_of_every_edition(tmp_path: Path, pki: PkiTree, pki_2: PkiTree) -> None:
    roots = (*pki.anchors("v2g"), *pki_2.anchors("v2g"))
    async with charger(tmp_path, pki, ALL, second(pki_2), plain=True) as found:
        (_, port), (_, plain_port) = await found.answer(TLS), await found.answer(NONE)
        assert await found.greeted(port, evcc(pki)) == "TLSv1.3"
        assert await found.greeted(port, evcc(pki, older=ISO15118_2, anchors=roots)) == "TLSv1.3"
        assert await found.greeted(port, evcc(pki, **only_2(pki_2))) == "TLSv1.2"
        assert await found.greeted(plain_port, None) == "none"
    assert [each.version for each in found.streams] == ["TLSv1.3", "TLSv1.3", "TLSv1.2", "none"]


@pytest.mark.requirement("R18")
async def test_tls_12_is_refused_with_advice_where_only_20_is_enabled(
    tmp_path: Path, pki: PkiTree, pki_2: PkiTree
) -> None:
    async with charger(tmp_path, pki, EDITIONS_20, plain=False) as found:
        _, port = await found.answer(TLS)
        with pytest.raises(TlsError) as error:
            await connect("::1", port, evcc(pki, **only_2(pki_2)))
        assert error.value.reason == "protocol_version"
        event = await asyncio.wait_for(found.refused.get(), 60)
        assert event.data["reason"] == "protocol_version"
        assert "TLSv1.2" in str(event.data["error"])
        assert 'add "2" to charger.editions' in str(event.data["hint"])
    assert not found.streams


@pytest.mark.parametrize(
    ("editions", "tree", "said"),
    [
        ('["20", "2"]', "pki", "no chain has a key for iso15118-2"),
        ('["20"]', "pki_2", "does not allow"),
        ('["20", "2"]', "pki_2", "no chain has a key for iso15118-20"),
    ],
)
async def test_an_edition_without_chain_is_refused_at_the_start(
    tmp_path: Path, request: pytest.FixtureRequest, editions: str, tree: str, said: str
) -> None:
    with pytest.raises((ConfigError, TlsError), match=said):
        async with charger(tmp_path, request.getfixturevalue(tree), editions, plain=False):
            pass
