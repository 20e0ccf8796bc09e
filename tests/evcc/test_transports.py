"""What a vehicle offers in TLS by its editions, and what it gets from chargers of each kind."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from evcc.app import tls_endpoint
from evcc.config import EvccConfig, load_config
from pki_tools.tree import PkiTree
from tests.io.tls.support import both, echo, pki_2, serving
from v2g.errors import ConfigError, TlsError
from v2g.io.tls.client import connect
from v2g.io.tls.endpoint import ISO15118_2, open_channel
from v2g.io.tls.hello import first_message, read_client_hello, read_preferences

__all__ = ["pki_2"]

V13, V12 = 0x0304, 0x0303


def vehicle(pki: PkiTree, pki_2: PkiTree, editions: str, more: str = "") -> EvccConfig:
    text = f"""
editions = {editions}
{more}
[tls]
chain = "{pki.path("vehicle/chain.pem")}"
key = "{pki.path("vehicle/leaf.key")}"
anchors = ["{pki.path("v2g/root.pem")}", "{pki_2.path("v2g/root.pem")}"]
"""
    return load_config(text, name="evcc.toml")


@pytest.mark.requirement("R18")
@pytest.mark.parametrize(
    ("editions", "versions", "ciphers"),
    [('["20"]', (V13,), {0x1302, 0x1303}), ('["20", "2"]', (V13, V12), {0x1302, 0x1303, 0xC023}),
     ('["2"]', (V12,), {0xC023})],
)  # fmt: skip
def test_a_client_hello_offers_what_the_editions_need(
    pki: PkiTree, pki_2: PkiTree, editions: str, versions: tuple[int, ...], ciphers: set[int]
) -> None:
    """With both editions one ClientHello has both (V2G20-2062 to -2066), the groups of -20 first."""
    channel = open_channel(tls_endpoint(vehicle(pki, pki_2, editions), lambda _: None))
    channel.handshake()
    message = first_message(channel.take())
    assert message is not None
    hello = read_client_hello(message)
    assert hello.versions == versions
    assert set(hello.ciphers) - {0x00FF} == ciphers  # renegotiation_info as a suite (RFC 5746, 3.3)
    assert hello.groups == {1: (25, 30), 2: (25, 30, 23)}[len(versions)] if V13 in versions else (23,)
    assert len(read_preferences(message).roots) == (2 if V12 in versions else 0)  # V2G2-651


def test_one_file_may_have_several_roots(pki: PkiTree, pki_2: PkiTree, tmp_path: Path) -> None:
    """As an old root and the new one beside it."""
    both_roots = tmp_path / "roots.pem"
    both_roots.write_bytes(pki.path("v2g/root.pem").read_bytes() + pki_2.path("v2g/root.pem").read_bytes())
    config = vehicle(pki, pki_2, '["20"]')
    tls = replace(config.tls, anchors=(both_roots,), cross_certificates=(both_roots,))
    endpoint = tls_endpoint(replace(config, tls=tls), lambda _: None)
    assert endpoint.anchors == endpoint.crosses == (*pki.anchors("v2g"), *pki_2.anchors("v2g"))


NO = "protocol_version"


@pytest.mark.requirement("R18")
@pytest.mark.parametrize(
    ("editions", "of_both", "of_20", "of_2"),
    [
        ('["20"]', "TLSv1.3", "TLSv1.3", NO),
        ('["20", "2"]', "TLSv1.3", "TLSv1.3", "TLSv1.2"),
        ('["2"]', "TLSv1.2", NO, "TLSv1.2"),
    ],
)
async def test_a_vehicle_gets_the_best_that_it_shares_with_a_charger(
    pki: PkiTree, pki_2: PkiTree, editions: str, of_both: str, of_20: str, of_2: str
) -> None:
    endpoint = tls_endpoint(vehicle(pki, pki_2, editions), lambda _: None)
    chargers: list[tuple[PkiTree, dict[str, Any], str]] = [
        (pki, both(pki, pki_2), of_both),
        (pki, {}, of_20),
        (pki_2, {"profile": ISO15118_2}, of_2),
    ]
    for tree, options, expected in chargers:
        async with serving(tree, echo, **options) as server:
            if expected == NO:
                with pytest.raises(TlsError) as error:
                    await connect("::1", server.port, endpoint)
                assert error.value.reason == NO
                continue
            stream = await connect("::1", server.port, endpoint)
            assert stream.version == expected
            await stream.close()


@pytest.mark.parametrize(
    ("editions", "sdp", "said"),
    [
        ('["20", "20"]', "", "twice"),
        ('["din"]', "", "sdp.without_tls"),
        ('["din"]', "sdp.accept_without_tls = true", "set sdp.without_tls"),
        ('["20", "din"]', "", "accept_without_tls"),
        ('["20", "din"]', "sdp.accept_without_tls = true", ""),
        ('["din"]', "sdp.without_tls = true", ""),
    ],
)
def test_an_edition_needs_its_transport(pki: PkiTree, pki_2: PkiTree, editions: str, sdp: str, said: str) -> None:
    if not said:
        assert vehicle(pki, pki_2, editions, sdp).editions
        return
    with pytest.raises(ConfigError, match=said):
        vehicle(pki, pki_2, editions, sdp)
