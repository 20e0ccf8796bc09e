"""Charger and vehicle take keys from where their configurations say, and the TLS backend that can use them."""

import pytest

from evcc.app import tls_endpoint
from evcc.config import load_config as load_evcc
from pki_tools.tree import PkiTree
from secc.config import load_config as load_secc
from secc.link.transport import VehicleTransport
from tests.io.keys.stores import SoftHsm, Store, refer
from tests.io.keys.stores_support import certified
from tests.io.tls.support import shake
from v2g.errors import ConfigError
from v2g.io.keys.stores import open_key
from v2g.io.tls import openssl
from v2g.io.tls.endpoint import open_channel
from v2g.io.tls.native import NativeChannel, factory
from v2g.io.tls.openssl_provider import provider
from v2g.observe import Observe
from v2g.pki.certificates import chain_to_pem
from v2g.pki.keys import Algorithm
from v2g.pki.profile import Role

SECC = """
data_dir = "data"
[tls]
backend = "bundled"
chain = "{chain}"
key = "{key}"
v2g_roots = ["{pki}/v2g/root.pem"]
oem_roots = ["{pki}/oem/root.pem"]
[meter]
chain = "{pki}/meter/chain.pem"
key = "{pki}/meter/leaf.key"
"""
EVCC = """
[tls]
backend = "bundled"
chain = "{chain}"
key = "{key}"
anchors = ["{pki}/v2g/root.pem"]
revocation = "soft"
"""


def stored(store: Store, pki: PkiTree, role: Role, name: str, issuer: str) -> tuple[str, str]:
    """Make a key in a store and a chain for it; return the names of both as configurations say them."""
    reference = str(refer(store.make(Algorithm.ECDSA_SHA512), store))
    key = open_key(refer(reference.partition("pin-source")[0].rstrip("?&"), store))
    (store.folder / "chain.pem").write_text(chain_to_pem(certified(key, pki, role, name, issuer)))
    return "chain.pem", reference


@pytest.fixture(params=["pkcs11", "tpm"])
def token(request: pytest.FixtureRequest) -> Store:
    name = {"pkcs11": "hsm", "tpm": "tpm"}[request.param]
    found: Store = request.getfixturevalue(name)
    return found


def test_a_vehicle_with_its_key_in_a_token_charges_at_a_charger(token: Store, pki: PkiTree) -> None:
    chain, key = stored(token, pki, Role.VEHICLE, "WMISTORE", "oem")
    seen: list[Observe] = []
    text = EVCC.format(chain=chain, key=key, pki=pki.directory)
    config = load_evcc(text, name=str(token.folder / "evcc.toml"))
    vehicle = tls_endpoint(config, seen.append)
    plain = SECC.format(chain=pki.path("secc/chain.pem"), key=pki.path("secc/leaf.key"), pki=pki.directory)
    charger = VehicleTransport(load_secc(plain, name=str(token.folder / "secc.toml")), seen.append)
    ends = open_channel(vehicle), open_channel(charger.endpoint)
    assert [isinstance(each, NativeChannel) for each in ends] == [True, False]
    shake(*ends)
    assert ends[1].peer is not None
    assert ends[1].peer.subject_cn == "WMISTORE"
    (reported,) = [each for each in seen if (each.stage, each.name) == ("tls", "backend")]
    assert reported.data == {"used": "native", "configured": "bundled", "because": "key_stays_in_store"}


def test_a_charger_with_its_key_in_a_token_serves_a_vehicle(hsm: SoftHsm, pki: PkiTree) -> None:
    chain, key = stored(hsm, pki, Role.SECC, "DEV2GS0000000000000000000000000000000077", "cpo")
    text = SECC.format(chain=chain, key=key, pki=pki.directory)
    transport = VehicleTransport(load_secc(text, name=str(hsm.folder / "secc.toml")), lambda _: None)
    config = load_evcc(
        EVCC.format(chain=pki.path("vehicle/chain.pem"), key=pki.path("vehicle/leaf.key"), pki=pki.directory),
        name=str(hsm.folder / "evcc.toml"),
    )
    vehicle = open_channel(tls_endpoint(config, lambda _: None))
    charger = open_channel(transport.endpoint)
    assert isinstance(charger, NativeChannel)
    shake(vehicle, charger)
    assert vehicle.peer is not None


def test_without_a_library_that_can_use_the_key_the_hint_says_what_to_install(
    hsm: SoftHsm, pki: PkiTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain, key = stored(hsm, pki, Role.VEHICLE, "WMISTORE", "oem")
    text = EVCC.format(chain=chain, key=key, pki=pki.directory)
    config = load_evcc(text, name=str(hsm.folder / "evcc.toml"))
    endpoint = tls_endpoint(config, lambda _: None)
    monkeypatch.setattr(openssl, "NAMES", (("/nowhere/libcrypto.so", "/nowhere/libssl.so"),))
    forget()
    try:
        with pytest.raises(ConfigError, match="no OpenSSL 3") as error:
            open_channel(endpoint)
        assert "libssl3" in error.value.hint
    finally:
        forget()


def forget() -> None:
    """Let the next connection look for the library again."""
    for cached in (factory, provider, openssl.load):
        cached.cache_clear()
