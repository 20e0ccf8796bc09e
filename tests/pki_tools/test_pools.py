"""The laboratory's pools by our client, in the shapes of both ecosystems (R217)."""

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web

from pki_tools.tree import PkiTree
from tests import web_server
from tests.iso15118.d20.contracts import NOW, new_contract
from tests.pki_tools.conftest import Openssl
from tests.pki_tools.pool_lab import PCID, PoolLab
from tests.waiting import until
from v2g import exi
from v2g.errors import CertificateError, CodecError, EnvelopeError, RefusedError, TransportError
from v2g.io.http.authorized import AuthorizedRequests
from v2g.io.runtime.clock import Clock
from v2g.iso15118.d20.installation import InstallationRequest, make_request, open_contract
from v2g.iso15118.d20.messages.common_messages import CertificateInstallationRes
from v2g.iso15118.d20.messages.common_types import MessageHeader
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.foreign_contracts import NAMESPACES, sealed
from v2g.pki.pools import PATHS, SIGNATURE_HEADERS, SealedContract, decode_base64, encode_base64, read_event
from v2g.pki.profile import Generation
from v2g.pki.trust_list import read_trust_list

NEW = Generation.ISO15118_20
EMAIDS = ("DEV2GC00000011", "DEV2GC00000012")


@pytest_asyncio.fixture
async def lab(tree: PkiTree, tmp_path: Path) -> AsyncIterator[PoolLab]:
    found = PoolLab(tree, tmp_path)
    await found.start()
    yield found
    await found.stop()


def asked(tree: PkiTree, session: bytes = bytes(range(1, 9))) -> bytes:
    header = MessageHeader(session_id=session, time_stamp=int(NOW.timestamp()))
    wish = InstallationRequest(roots=tree.anchors("v2g"), maximum=3)
    return exi.encode(make_request(header, tree.chain("provisioning"), tree.key("provisioning"), wish))


@pytest.mark.requirement("R217")
@pytest.mark.parametrize("shape", ["opcp", "opnc"])
async def test_a_vehicle_opens_the_contracts_that_a_provider_has_ordered(lab: PoolLab, shape: str) -> None:
    client = lab.client(shape)
    assert await client.contracts(asked(lab.tree), NAMESPACES[NEW]) == ()
    assert await client.provisioning(PCID) is None
    await client.add_provisioning(lab.tree.chain("provisioning"), NAMESPACES[NEW])
    assert await client.provisioning(PCID) == lab.tree.chain("provisioning")
    for emaid in EMAIDS:
        await client.generate(lab.order(emaid, NEW))
    await lab.start()  # again: nothing is lost
    found = await client.contracts(asked(lab.tree), NAMESPACES[NEW])
    assert [each.emaid for each in found] == list(EMAIDS)
    remaining = []
    for each in found:
        response = exi.decode(each.response, COMMON_MESSAGES)
        assert isinstance(response, CertificateInstallationRes)
        assert response.header.session_id == bytes(range(1, 9))
        remaining.append(response.remaining_contract_certificate_chains)
        opened = open_contract(
            response.signed_installation_data,
            lab.tree.key("provisioning"),
            PCID,
            roots=lab.tree.anchors("mo"),
            at=lab.now(),
        )
        assert opened.emaid == each.emaid
    assert remaining == [1, 0]
    await client.remove_contract(EMAIDS[0])
    assert [each.emaid for each in await client.contracts(asked(lab.tree), NAMESPACES[NEW])] == [EMAIDS[1]]


@pytest.mark.parametrize("shape", ["opcp", "opnc"])
async def test_a_provider_with_its_own_authority_has_a_contract_signed(lab: PoolLab, shape: str) -> None:
    client = lab.client(shape)
    contract = new_contract(lab.tree, EMAIDS[0])
    wanted = sealed(contract, lab.tree.chain("provisioning")[0], NEW, os.urandom)
    signed = await client.sign(wanted, store=False)
    assert signed is not None
    assert (signed.emaid, signed.pcid, signed.namespace) == (EMAIDS[0], PCID, NAMESPACES[NEW])
    await client.add_contract(signed)
    (found,) = await client.contracts(asked(lab.tree), NAMESPACES[NEW])
    response: Any = exi.decode(found.response, COMMON_MESSAGES)
    chain = response.signed_installation_data.contract_certificate_chain
    assert chain.certificate == contract.chain[0]
    await client.sign(wanted, store=True)
    assert len(await client.contracts(asked(lab.tree), NAMESPACES[NEW])) == 1, "the same eMAID overwrites"


async def test_a_pool_stores_only_what_a_service_has_signed_for_that_contract(lab: PoolLab) -> None:
    client = lab.client()
    wanted = sealed(new_contract(lab.tree, EMAIDS[0]), lab.tree.chain("provisioning")[0], NEW, os.urandom)
    signed = await client.sign(wanted, store=False)
    assert signed is not None
    changes: list[dict[str, Any]] = [
        {"emaid": "DEV2GC99999999"},
        {"pcid": "short"},
        {"response": signed.response[:-9] + bytes(9)},
        {"response": b"rubbish"},
        {"namespace": "urn:iso:15118:2:2013:MsgDef"},
        {"namespace": "urn:else"},
        {"emaid": "../../index"},
    ]
    for change in changes:
        fields = {name: getattr(signed, name) for name in signed.__struct_fields__}
        with pytest.raises(RefusedError, match="400"):
            await client.add_contract(type(signed)(**(fields | change)))
    foreign = SealedContract(
        emaid=EMAIDS[0], pcid=PCID, namespace=NAMESPACES[NEW], chain=(b"x",), encrypted_key=b"x", dh_public_key=b"x"
    )
    with pytest.raises(RefusedError, match="400"):
        await client.sign(foreign, store=True)
    assert await client.contracts(asked(lab.tree), NAMESPACES[NEW]) == ()


async def test_orders_that_cannot_be_met_say_why(lab: PoolLab) -> None:
    client = lab.client()
    with pytest.raises(RefusedError, match="not known"):
        await client.generate(lab.order(EMAIDS[0], NEW))
    await client.add_provisioning(lab.tree.chain("provisioning"), NAMESPACES[NEW])
    for order, why in (
        (lab.order(EMAIDS[0], Generation.ISO15118_2), "iso15118-20 only"),
        (lab.order("nobody", NEW), "EMAID"),
        (lab.order(EMAIDS[0], NEW, pcid="nobody"), "PCID"),
        (lab.order(EMAIDS[0], NEW, days=-2), "past"),
    ):
        with pytest.raises(RefusedError, match=why):
            await client.generate(order)
    with pytest.raises(RefusedError, match="400"):
        await client.add_provisioning(lab.tree.chain("contract"), NAMESPACES[NEW])
    with pytest.raises(RefusedError, match="400"):
        await client.contracts(b"no request", NAMESPACES[NEW])
    requests = AuthorizedRequests(lab.server(), Clock(), most_bytes=4096)
    for roots, count in ((b"", 0), (b",".join([msgspec.json.encode(_entry(lab))] * 2), 2)):
        url = lab.server().url + PATHS["opcp"].roots
        answer = await requests.send("PUT", url, roots, {}, timeout_s=10)
        assert (answer.status, f"{count} roots instead of one" in answer.body.decode()) == (400, True)


async def test_a_root_is_deleted_by_the_number_that_is_listed(lab: PoolLab) -> None:
    requests = AuthorizedRequests(lab.server(), Clock(), most_bytes=2**20)
    url = lab.server().url + PATHS["opcp"].roots
    listed = json.loads((await requests.send("GET", url, None, {}, timeout_s=10)).body)
    first, *others = listed["RootCertificateCollection"]["rootCertificates"]
    gone = f"{url}/{first['rootCertificateId']}"
    assert [(await requests.send("DELETE", gone, None, {}, timeout_s=10)).status for _ in range(2)] == [200, 404]
    remaining = {each.fingerprint for each in await lab.client().roots()}
    assert remaining == {each["fingerprint"] for each in others}


def _entry(lab: PoolLab) -> dict[str, str]:
    return {"caCertificate": encode_base64(lab.tree.anchors("v2g")[0]), "rootType": "V2G"}


async def test_the_first_lists_at_once_have_one_signer(lab: PoolLab) -> None:
    lists = await asyncio.gather(*(lab.client().trust_list() for _ in range(3)))
    assert len({json.loads(each)["signerCertificate"] for each in lists}) == 1


async def test_strangers_get_nothing_and_a_token_ends(lab: PoolLab) -> None:
    with pytest.raises(TransportError, match="gives no token"):
        await lab.client(secret="wrong").roots()
    client = lab.client()
    assert await client.roots()
    lab.late_s = 3600
    assert await client.roots(), "a new token is fetched after 401"


@pytest.mark.parametrize("shape", ["opcp", "opnc"])
async def test_roots_are_listed_by_kind(lab: PoolLab, shape: str) -> None:
    found = await lab.client(shape).roots()
    assert {(each.kinds, each.certificate) for each in found} == {
        (("V2G",), lab.tree.anchors("v2g")[0]),
        (("MO",), lab.tree.anchors("mo")[0]),
        (("OEM",), lab.tree.anchors("oem")[0]),
    }
    (only,) = await lab.client(shape).roots("mo" if shape == "opcp" else "emsp")
    assert only.kinds == ("MO",)


async def test_the_signature_of_the_list_of_roots_is_good_for_openssl(
    lab: PoolLab, openssl: Openssl, tmp_path: Path
) -> None:
    body = await lab.client().trust_list()
    found = read_trust_list(body, lab.tree.anchors("csms"), at=lab.now())
    assert {each.certificate for each in found.roots} == set(lab.tree.anchors("v2g", "mo", "oem"))
    told = json.loads(body)
    (tmp_path / "list").write_bytes(decode_base64(told["CTL"]["list"]))
    (tmp_path / "signature").write_bytes(decode_base64(told["CTL"]["signature"]))
    (tmp_path / "signer.der").write_bytes(decode_base64(told["signerCertificate"]))
    key = openssl("x509", "-inform", "DER", "-in", tmp_path / "signer.der", "-pubkey", "-noout").stdout
    (tmp_path / "signer.pub").write_text(key)
    said = openssl(
        "dgst", "-sha256", "-verify", tmp_path / "signer.pub", "-signature", tmp_path / "signature", tmp_path / "list"
    )
    assert "Verified OK" in said.stdout
    with pytest.raises(CodecError, match="OPNC"):
        await lab.client("opnc").trust_list()


async def test_subscribers_are_told_and_know_who_tells_them(lab: PoolLab) -> None:
    told: list[tuple[bytes, str]] = []

    async def hear(request: web.Request) -> web.Response:
        told.append((await request.read(), request.headers[SIGNATURE_HEADERS[0]]))
        return web.Response(status=500 if len(told) == 1 else 200)

    async with web_server.serving(hear, web_server.server_tls(lab.tree)) as port:
        assert lab.service is not None
        lab.service.event_tls = ssl.create_default_context(cafile=str(lab.tree.path("csms/root.pem")))
        url = f"https://localhost:{port}/events"
        number, secret = await lab.client().subscribe(url, ["oem.contract.created", "oem.contract.deleted"])
        await lab.fill(EMAIDS[0])
        await lab.client().remove_contract(EMAIDS[0])
        await until(lambda: len(told) >= 3)
        assert told.count(told[0]) == 2, "an event whose answer was 500 is repeated, before or after the next"
        kinds = [read_event(body, signature, secret).kind for body, signature in told]
        assert sorted(set(kinds)) == ["oem.contract.created", "oem.contract.deleted"]
        for body, signature in ((told[0][0] + b" ", told[0][1]), (told[0][0], "sha256=00"), (told[0][0], "")):
            with pytest.raises(CertificateError):
                read_event(body, signature, secret)
        await lab.client().unsubscribe(number)
        with pytest.raises(RefusedError, match="404"):
            await lab.client().unsubscribe(number)


def test_a_key_of_another_edition_is_not_sealed(pki: PkiTree) -> None:
    contract = new_contract(pki, EMAIDS[0])
    with pytest.raises(EnvelopeError):
        sealed(contract, pki.chain("provisioning")[0], Generation.ISO15118_2, os.urandom)
