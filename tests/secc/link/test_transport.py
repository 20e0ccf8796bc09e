"""The charger's TLS end as its configuration wants it."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pki_tools.serve import Server
from pki_tools.tree import PkiOptions, PkiTree, make_pki
from secc.link.transport import VehicleTransport
from tests.io.tls.support import ed448_pki
from tests.secc.link.transport import config
from tests.waiting import until
from v2g.errors import ConfigError, TlsError
from v2g.io.tls.client import connect
from v2g.io.tls.endpoint import ISO15118_20, Endpoint, TlsIdentity, TlsProfile
from v2g.io.tls.server import serve
from v2g.io.tls.stream import TlsStream
from v2g.observe import Observe
from v2g.pki.certificates import load_certificate
from v2g.pki.issue import Issuer
from v2g.pki.keys import load_private_key
from v2g.pki.ocsp import make_response
from v2g.pki.profile import KeyKind, Role
from v2g_station.device.certificates import status_file

__all__ = ["ed448_pki"]


async def test_a_vehicle_is_believed_over_a_cross_certificate_that_the_charger_holds(
    pki: PkiTree, tmp_path: Path
) -> None:
    """The V2G root has certified the vehicle maker's, which the charger does not know by itself."""
    text = f'cross_certificates = ["{pki.path("cross/oem-by-v2g.pem")}"]'
    failures: list[TlsError] = []
    for more, believed in ((text, True), ("", False)):
        plain = config(tmp_path, pki, f'ocsp = "{pki.path("secc/ocsp.der")}"\n{more}')
        alone = msgspec.structs.replace(plain, tls=msgspec.structs.replace(plain.tls, oem_roots=()))
        endpoint = VehicleTransport(alone, lambda _: None).endpoint
        server = await serve("::1", 0, hang_up, endpoint, on_failure=failures.append)
        try:
            stream = await connect("::1", server.port, vehicle(pki))
            with contextlib.suppress(TlsError):
                await stream.read(1)
            await stream.close()
        finally:
            await server.close()
        assert [each.reason for each in failures] == ([] if believed else ["unknown_ca"])


def vehicle(tree: PkiTree, **options: Any) -> Endpoint:
    return Endpoint(
        server=False,
        identities=(TlsIdentity(tree.credentials("vehicle")),),
        anchors=tree.anchors("v2g"),
        peer_role=Role.SECC,
        **options,
    )


async def hang_up(_stream: TlsStream) -> None:
    return


async def test_every_chain_of_the_configuration_is_served_to_those_who_believe_it(
    pki: PkiTree, ed448_pki: PkiTree, tmp_path: Path
) -> None:
    second = f"""
ocsp = "{pki.path("secc/ocsp.der")}"
[[tls.other_chains]]
chain = "{ed448_pki.path("secc/chain.pem")}"
key = "{ed448_pki.path("secc/leaf.key")}"
ocsp = "{ed448_pki.path("secc/ocsp.der")}"
"""
    transport = VehicleTransport(config(tmp_path, pki, second), lambda _: None)
    assert [each.leaf for each in transport.credentials] == [each.chain("secc")[0] for each in (pki, ed448_pki)]
    server = await serve("::1", 0, hang_up, transport.endpoint)
    try:
        stream = await connect("::1", server.port, vehicle(pki))
        assert stream.peer_chain == pki.chain("secc")
        await stream.close()
        only = TlsProfile(
            name="ed448 only",
            ciphers=ISO15118_20.ciphers,
            groups=ISO15118_20.groups,
            signature_algorithms=("ed448",),
            revocation=ISO15118_20.revocation,
            interop=False,
        )
        stream = await connect("::1", server.port, vehicle(ed448_pki, profile=only))
        assert stream.peer_chain == ed448_pki.chain("secc")
        await stream.close()
    finally:
        await server.close()


async def test_the_stapler_gets_its_answers_from_the_responder_that_the_certificate_names(tmp_path: Path) -> None:
    from v2g_cli.demo.processes import free_port

    port = free_port()
    options = PkiOptions(url=f"http://127.0.0.1:{port}")
    tree = make_pki(tmp_path / "pki", now=datetime.now(UTC) - timedelta(hours=1), options=options)
    events: list[Observe] = []
    transport = VehicleTransport(config(tmp_path / "data", tree, "stapler = {}"), events.append)
    responder = Server(tree.directory, observe=lambda _: None)
    await responder.start("127.0.0.1", port)
    running = asyncio.create_task(transport.run())
    server = await serve("::1", 0, hang_up, transport.endpoint)
    try:
        await until(lambda: events)
        assert events[0].name == "staple_refreshed"
        stream = await connect("::1", server.port, vehicle(tree))
        assert stream.ocsp_response
        await stream.close()
        assert list((tmp_path / "data" / "ocsp").iterdir())
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await server.close()
        await responder.close()


STATION = """
[station]
url = "ws://localhost/ocpp"
identity = "CS-1"
store = "{folder}/station.sqlite"
certificates = "{folder}"
"""


async def test_answers_of_the_back_end_are_stapled_while_a_vehicle_would_take_them(
    pki: PkiTree, tmp_path: Path
) -> None:
    """OCPP M06: the station leaves them in its folder."""
    transport = VehicleTransport(config(tmp_path, pki, STATION.format(folder=tmp_path)), lambda _: None)
    (chain,) = transport.credentials
    file = status_file(tmp_path, f"{load_certificate(chain.leaf).serial_number:x}")

    def stapled() -> bytes:
        (identity,) = transport.endpoint.current()
        return identity.answer()

    assert stapled() == b""
    leaf, issuer = (load_certificate(each) for each in chain.chain[:2])
    now, signer = datetime.now(UTC), Issuer(issuer, load_private_key(pki.path("cpo/sub2.key")))
    good = make_response(leaf, issuer, signer, at=now)
    revoked = make_response(leaf, issuer, signer, at=now, revoked_at=now)
    stale = make_response(leaf, issuer, signer, at=now - timedelta(days=30))
    for answer, taken in (
        (good, good),
        (revoked, revoked),
        (stale, b""),
        (b"0\n", b""),
        (b"", b""),
    ):
        file.write_bytes(answer)
        assert stapled() == taken


def test_files_and_a_stapler_exclude_each_other(pki: PkiTree, tmp_path: Path) -> None:
    more = f'ocsp = "{pki.path("secc/ocsp.der")}"\nstapler = {{}}'
    with pytest.raises(ConfigError, match="exclude each other"):
        VehicleTransport(config(tmp_path, pki, more), lambda _: None)


def test_a_chain_that_the_profile_forbids_is_found_at_the_start_and_interop_is_loud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    small = make_pki(tmp_path / "pki", now=datetime.now(UTC), options=PkiOptions(key_kind=KeyKind.SECP256R1))
    with pytest.raises(TlsError, match="secp256r1, which iso15118-20 does not allow"):
        VehicleTransport(config(tmp_path, small), lambda _: None)
    events: list[Observe] = []
    VehicleTransport(config(tmp_path, small, top='security_profile = "interop"'), events.append)
    assert [(each.stage, each.name) for each in events] == [("tls", "weakened")]
    assert "security_profile is interop" in caplog.text


def test_a_vehicle_without_a_group_of_20_gets_tls_12_unless_that_is_forbidden(pki: PkiTree, tmp_path: Path) -> None:
    """See docs/explanation/transports.md; `tests/io/tls/test_versions.py` has the handshakes."""
    assert VehicleTransport(config(tmp_path, pki), lambda _: None).endpoint.falls_back
    assert not VehicleTransport(config(tmp_path, pki, "falls_back = false"), lambda _: None).endpoint.falls_back


def test_one_file_may_have_several_roots(pki: PkiTree, tmp_path: Path) -> None:
    """As an old root and the new one beside it."""
    both = tmp_path / "roots.pem"
    both.write_bytes(pki.path("oem/root.pem").read_bytes() + pki.path("mo/root.pem").read_bytes())
    plain = config(tmp_path, pki, f'cross_certificates = ["{both}"]')
    several = msgspec.structs.replace(plain, tls=msgspec.structs.replace(plain.tls, oem_roots=(both,)))
    endpoint = VehicleTransport(several, lambda _: None).endpoint
    assert callable(endpoint.anchors)
    assert endpoint.anchors() == pki.anchors("v2g", "oem", "mo")
    assert endpoint.crosses == pki.anchors("oem", "mo")


def test_a_key_log_is_opened_only_when_asked_for(pki: PkiTree, tmp_path: Path) -> None:
    assert VehicleTransport(config(tmp_path, pki), lambda _: None).endpoint.key_log is None
    more = f'key_log = "{tmp_path / "keys"}"'
    assert VehicleTransport(config(tmp_path, pki, more), lambda _: None).endpoint.key_log is not None
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o600


def test_revocation_lists_that_cannot_be_read_are_found_at_the_start(pki: PkiTree, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tls\.crls"):
        VehicleTransport(config(tmp_path, pki, f'crls = ["{tmp_path / "none.crl"}"]'), lambda _: None)
