"""Functional block M, certificate management, beyond the cases of the test lab."""

import base64
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.x509 import ocsp

from csms.config import StationAuthority
from csms.contracts.pool import ContractPool
from csms.station_security import work as service
from pki_tools.tree import PkiTree
from tests.csms.backend import Backend
from tests.csms.fixtures import Start
from tests.csms.scripted_station import Payload
from tests.csms.trust.contracts import responder
from tests.csms.trust.provisioning import asking, provisioning
from tests.iso15118.d20.contracts import PCID, own_contract
from tests.web_server import serving
from v2g.errors import RefusedError
from v2g.io.tls.revocation import ask
from v2g.iso15118.d20.installation import SCHEMA_VERSION
from v2g.ocpp.routes import Version
from v2g.pki.ocsp import ocsp_request_data
from v2g.pki.reference import KeyReference

CS = "CS-V2G-0001"
HASH = {"hashAlgorithm": "SHA256", "issuerNameHash": "aa" * 32, "issuerKeyHash": "bb" * 32, "serialNumber": "1f"}


async def test_only_roots_are_installed(csms: Backend, pki: PkiTree) -> None:
    for text in ("", pki.path("secc/leaf.pem").read_text(), pki.path("secc/chain.pem").read_text()):
        with pytest.raises(RefusedError):
            await service.install(csms.services, CS, "V2GRootCertificate", text)
    two = pki.path("v2g/root.pem").read_text() + pki.path("mo/root.pem").read_text()
    with pytest.raises(RefusedError, match="2 certificates, but one is installed at a time"):
        await service.install(csms.services, CS, "V2GRootCertificate", two)


# -- status


def hashes_of(pki: PkiTree, algorithm: str = "SHA256") -> Payload:
    """The contract leaf, named by hashes."""
    chain = [x509.load_der_x509_certificate(der) for der in pki.chain("contract")]
    leaf, issuer = next(pairwise(chain))
    data = ocsp_request_data(leaf, issuer, algorithm)
    return {
        "hashAlgorithm": data.hash_algorithm,
        "issuerNameHash": data.issuer_name_hash,
        "issuerKeyHash": data.issuer_key_hash,
        "serialNumber": data.serial_number,
    }


async def test_the_status_of_a_certificate_is_asked_for_once(backend: Start, pki: PkiTree) -> None:
    async with responder(pki) as server:
        trust = {"ocsp_responder": server.url, "issuers": (pki.path("contract/chain.pem"),)}
        async with backend(trust=trust) as csms:
            station = await csms.booted()
            asked = {**hashes_of(pki), "responderURL": "http://ocsp.example/"}
            for _ in range(3):
                answer = await station.call("GetCertificateStatus", {"ocspRequestData": asked})
                assert answer["status"] == "Accepted"
                reported = ocsp.load_der_ocsp_response(base64.b64decode(answer["ocspResult"], validate=True))
                assert reported.certificate_status is ocsp.OCSPCertStatus.GOOD
            assert server.asked == 1  # the answer is kept


async def test_a_responder_that_is_busy_is_asked_again(backend: Start, pki: PkiTree) -> None:
    """What says nothing of the certificate is not kept."""
    answers = [bytes.fromhex("30030a0103")]  # tryLater

    async def give(request: web.Request) -> web.Response:
        if answers:
            return web.Response(body=answers.pop())
        return web.Response(body=await ask(server.url, await request.read()))

    async with responder(pki) as server, serving(give) as port:
        url = f"http://127.0.0.1:{port}/"
        trust = {"ocsp_responder": url, "issuers": (pki.path("contract/chain.pem"),)}
        async with backend(trust=trust) as csms:
            station = await csms.booted()
            asked = {"ocspRequestData": {**hashes_of(pki), "responderURL": "http://ocsp.example/"}}
            reported = [await station.call("GetCertificateStatus", asked) for _ in range(2)]
            assert [each["status"] for each in reported] == ["Failed", "Accepted"]
            assert reported[0]["statusInfo"]["additionalInfo"] == f"OCSP responder {url}: it answered tryLater"


async def test_nothing_that_a_station_names_is_asked_unless_it_is_allowed(backend: Start, pki: PkiTree) -> None:
    issuers = (pki.path("contract/chain.pem"),)
    async with responder(pki) as server:
        asked = {"ocspRequestData": {**hashes_of(pki), "responderURL": server.url}}
        async with backend(trust={"issuers": issuers}) as csms:
            answer = await (await csms.booted()).call("GetCertificateStatus", asked)
            assert (answer["status"], server.asked) == ("Failed", 0)
            assert answer["statusInfo"]["additionalInfo"].startswith(f"{server.url} may not be asked: set trust.")


async def test_a_station_may_ask_about_what_the_authority_here_has_issued(backend: Start, pki: PkiTree) -> None:
    """Its CA and its responder are known, without being among `trust.issuers` and `status_urls`."""
    async with responder(pki) as server:
        mine = StationAuthority(
            chain=pki.path("mo/sub2.pem"), key=KeyReference.of(pki.path("mo/sub2.key")), ocsp_url=server.url
        )
        asked = {"ocspRequestData": {**hashes_of(pki), "responderURL": server.url}}
        for authority, status in ((mine, "Accepted"), (None, "Failed")):
            async with backend(v2g_ca=authority) as csms:
                answer = await (await csms.booted()).call("GetCertificateStatus", asked)
                assert answer["status"] == status
                failed = [each.data["reason"] for each in csms.events.named("certificate_status_failed")]
                assert failed == ([] if authority is not None else ["unknown_root"])
        assert server.asked == 1


async def test_the_status_of_a_chain_by_responder_and_list(backend: Start, pki: PkiTree, tmp_path: Path) -> None:
    """M07 of 2.1: each source is believed only under a signature of an issuer that is trusted here."""
    lists = {"good": pki.path("mo/sub2.crl").read_bytes(), "other": pki.path("cpo/sub2.crl").read_bytes()}

    async def give(request: web.Request) -> web.Response:
        return web.Response(body=lists[request.path.removeprefix("/")])

    async with responder(pki) as server, serving(give) as port:
        base = f"http://127.0.0.1:{port}/"
        trust = {"issuers": (pki.path("contract/chain.pem"),), "status_urls": (base, server.url)}
        async with backend(trust=trust) as csms:
            station = await csms.booted(version="2.1")

            async def status(source: str, *urls: str) -> list[Any]:
                wanted = {"certificateHashData": hashes_of(pki, "SHA512"), "source": source, "urls": list(urls)}
                answer = await station.call("GetCertificateChainStatus", {"certificateStatusRequests": [wanted]})
                return [each["status"] for each in answer["certificateStatus"]]

            assert await status("OCSP", server.url) == ["Good"]
            assert await status("CRL", base + "other", base + "good") == ["Good"]
            assert await status("CRL", base + "other") == ["Failed"]
            assert await status("CRL", "http://127.0.0.2:9/not-allowed") == ["Failed"]
            stranger = {**HASH, "serialNumber": "1"}
            wanted = {"certificateHashData": stranger, "source": "OCSP", "urls": [server.url]}
            answer = await station.call("GetCertificateChainStatus", {"certificateStatusRequests": [wanted]})
            assert answer["certificateStatus"][0]["status"] == "Failed"


# -- contracts


async def contract(backend: Start, pki: PkiTree, folder: Path, action: str, version: Version = "2.0.1") -> None:
    """A vehicle gets its contract."""
    secret = folder / "pool.secret"
    secret.touch(mode=0o600)
    secret.write_text("a long and random secret\n")
    pool = ContractPool(folder / "pool", b"a long and random secret")
    own = own_contract(pki)
    pool.add(PCID, own.chain, own.key)
    async with backend(provisioning=provisioning(pki, folder)) as csms:
        station = await csms.booted(version=version)
        request = base64.b64encode(asking(pki)).decode()
        asked: Payload = {"iso15118SchemaVersion": SCHEMA_VERSION, "action": action, "exiRequest": request}
        if version == "2.1":
            asked |= {"maximumContractCertificateChains": 3, "prioritizedEMAIDs": ["DEV2GC00000001"]}
        answer = await station.call("Get15118EVCertificate", asked)
        assert answer["status"] == "Accepted"
        assert base64.b64decode(answer["exiResponse"], validate=True)[0] == 0x80
        assert answer.get("remainingContracts") == (0 if version == "2.1" else None)


async def test_why_a_vehicle_gets_no_contract_is_reported_with_its_station(csms: Backend) -> None:
    station = await csms.booted()
    asked = {"iso15118SchemaVersion": SCHEMA_VERSION, "action": "Install", "exiRequest": "gA=="}
    answer = await station.call("Get15118EVCertificate", asked)
    assert (answer["status"], answer["exiResponse"]) == ("Failed", "")
    (refused,) = csms.events.named("refused")
    info = answer["statusInfo"]
    assert refused.data == {"station": station.id, "reason": info["reasonCode"], "detail": info["additionalInfo"]}


async def test_the_contracts_that_remain_are_counted(backend: Start, pki: PkiTree, tmp_path: Path) -> None:
    await contract(backend, pki, tmp_path, "Install", "2.1")
