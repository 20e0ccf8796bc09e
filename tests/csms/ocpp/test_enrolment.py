"""Certificates of stations from an outside CA, by EST: waiting, restarts, repeated requests, refusals (A02, R217)."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from csms.accounts.rules import Role as Caller
from csms.config import OutsideCa
from csms.station_security.authority import StationCa
from csms.station_security.store import list_certificates
from pki_tools.authority import load_issuer, new_key
from pki_tools.est import EstSettings, decide, waiting
from pki_tools.issuing import make_request
from pki_tools.tree import PkiTree
from tests import web_server
from tests.csms.api.support import serving
from tests.csms.backend import Backend
from tests.csms.charging import away
from tests.csms.fixtures import Start
from tests.csms.scripted_station import ScriptedStation
from tests.io.tls.support import pki_2 as tree_2
from tests.pki.forge import CN, ORG, Party, name, remade
from tests.pki_tools.conftest import tree
from tests.pki_tools.est_lab import SECC_ID, Lab, csr_of
from v2g.io.http.est import EnrolmentPending
from v2g.io.http.known_client import EstServer
from v2g.pki.certificates import chain_from_pem
from v2g.pki.csr import load_csr
from v2g.pki.est import write_certificates
from v2g.pki.issue import Subject
from v2g.pki.profile import Generation, KeyKind, Role
from v2g.pki.verify import verify_chain

__all__ = ["tree", "tree_2"]  # fixtures

KIND = "V2GCertificate"
USERS = EstSettings(users={"lab": "a secret"})


@pytest_asyncio.fixture
async def lab(tree: PkiTree, tmp_path: Path) -> AsyncIterator[Lab]:
    found = Lab(tree, tmp_path)
    await found.start(USERS)
    yield found
    await found.stop()


def ca(lab: Lab, **changes: Any) -> OutsideCa:
    est = changes.pop("est", None) or lab.server()
    return OutsideCa(est=est, roots=(lab.tree.path("v2g/root.pem"),), **changes)


def pem(csr: x509.CertificateSigningRequest) -> str:
    return csr.public_bytes(Encoding.PEM).decode()


async def asks(station: ScriptedStation, csr: x509.CertificateSigningRequest, **more: Any) -> str:
    answer = await station.call("SignCertificate", {"csr": pem(csr), "certificateType": KIND, **more})
    return str(answer["status"])


def delivered(station: ScriptedStation) -> list[dict[str, Any]]:
    return [dict(each) for each in station.payloads("CertificateSigned")]


async def look(csms: Backend, later_s: float = 0.0) -> None:
    csms.clock.advance(later_s)
    await csms.services[StationCa].enrolments.look()


async def joined(csms: Backend) -> ScriptedStation:
    station = await csms.booted()
    station.answers["CertificateSigned"] = {"status": "Accepted"}
    return station


def issued(lab: Lab) -> int:
    return len([each for each in lab.tree.index().entries if each.name.startswith("est/")])


@pytest.mark.requirement("R217")
async def test_a_request_waits_for_its_ca_over_a_restart_and_is_made_once(backend: Start, lab: Lab) -> None:
    await lab.start(EstSettings(users=USERS.users, approve=True))
    csr = csr_of()
    async with backend(outside_cas=(ca(lab),)) as csms:
        station = await joined(csms)
        for _ in range(2):
            assert await asks(station, csr) == "Accepted"
            await look(csms)
        assert delivered(station) == []
        assert [each.data["detail"] for each in csms.events.named("certificate_pending")] == ["", ""]
    async with backend(outside_cas=(ca(lab),)) as csms:
        station = await joined(csms)
        ((number, _),) = waiting(lab.tree.directory)
        decide(lab.tree.directory, number, approve=True)
        await look(csms, 31)
        (signed,) = delivered(station)
        chain = chain_from_pem(signed["certificateChain"].encode())
        verify_chain(chain[0], chain[1:], lab.tree.anchors("v2g"), role=Role.SECC, at=datetime.now(UTC))
        assert (signed["certificateType"], len(chain)) == (KIND, 3)
        await look(csms, 10_000)
        assert len(delivered(station)) == 1
        (kept,) = await csms.services.store.read(list_certificates, station_id=station.id)
        assert (kept["status"], kept["kind"]) == ("Accepted", KIND)
    assert issued(lab) == 1


async def test_what_is_issued_while_a_station_is_away_is_delivered_when_it_is_back(backend: Start, lab: Lab) -> None:
    async with backend(outside_cas=(ca(lab),)) as csms:
        station = await joined(csms)
        assert await asks(station, csr_of()) == "Accepted"
        await away(csms, station)
        await look(csms)
        await lab.stop()  # it is not asked again
        station = await joined(csms)
        await look(csms)
        assert delivered(station) == []
        await look(csms, 61)
        assert len(delivered(station)) == 1
    assert issued(lab) == 1


async def test_what_cannot_be_delivered_is_given_up_in_the_end(backend: Start, lab: Lab) -> None:
    async with backend(outside_cas=(ca(lab, patience_h=24),)) as csms:
        station = await joined(csms)
        assert await asks(station, csr_of()) == "Accepted"
        await away(csms, station)
        await look(csms)
        await look(csms, 25 * 3600)
        (event,) = csms.events.named("certificate_refused")
        assert event.data["reason"] == "TimedOut"


async def test_a_new_request_replaces_one_that_waits(backend: Start, lab: Lab) -> None:
    await lab.start(EstSettings(users=USERS.users, approve=True))
    async with backend(outside_cas=(ca(lab),)) as csms:
        station = await joined(csms)
        newer = csr_of()
        for csr in (csr_of(), newer):
            assert await asks(station, csr) == "Accepted"
            await look(csms)
        for number, _ in waiting(lab.tree.directory):
            decide(lab.tree.directory, number, approve=True)
        await look(csms, 31)
        (signed,) = delivered(station)
        leaf = x509.load_der_x509_certificate(chain_from_pem(signed["certificateChain"].encode())[0])
        assert leaf.public_key() == newer.public_key()


@pytest.mark.parametrize(
    ("changes", "seconds", "reason"),
    [
        ({"label": "/oem"}, 0, "wrong_profile"),
        ({"password": "wrong"}, 0, "refused"),
        ({"enrol": "nowhere"}, 0, "refused"),
        ({}, 40 * 3600, "TimedOut"),
    ],
)
async def test_a_request_that_ends_badly_is_named(
    backend: Start, lab: Lab, changes: dict[str, Any], seconds: float, reason: str
) -> None:
    async with backend(outside_cas=(ca(lab, est=lab.server(**changes), patience_h=24),)) as csms:
        station = await joined(csms)
        assert await asks(station, csr_of()) == "Accepted"
        await look(csms, seconds)
        (event,) = csms.events.named("certificate_refused")
        assert (event.data["kind"], event.data["station"]) == (KIND, station.id)
        if reason != "wrong_profile":
            assert event.data["reason"] == reason
        await look(csms, 1000)
        assert delivered(station) == []
        assert len(csms.events.named("certificate_refused")) == 1, "it is over"


async def test_a_ca_that_is_down_is_asked_again(backend: Start, lab: Lab) -> None:
    await lab.stop()
    async with backend(outside_cas=(ca(lab),)) as csms:
        station = await joined(csms)
        assert await asks(station, csr_of()) == "Accepted"
        await look(csms)
        (event,) = csms.events.named("certificate_pending")
        assert event.data["detail"]
        await lab.start(USERS)
        await look(csms, 59)
        assert delivered(station) == []
        await look(csms, 2)
        assert len(delivered(station)) == 1


async def test_the_first_ca_that_fits_station_and_kind_is_asked(backend: Start, lab: Lab) -> None:
    nobody = EstServer(url="https://localhost:1/.well-known/est", root=lab.tree.path("csms/root.pem"))
    cas = (ca(lab, est=nobody, stations=("CS-V2G-0002", "OTHER-*")), ca(lab, kinds=(KIND,)))
    async with backend(outside_cas=cas) as csms:
        station = await joined(csms)
        assert await asks(station, csr_of()) == "Accepted"
        await look(csms)
        assert len(delivered(station)) == 1
        other = await csms.booted("CS-V2G-0002")
        assert await asks(other, csr_of()) == "Accepted"
        await look(csms)
        (event,) = csms.events.named("certificate_pending")
        assert event.data["station"] == other.id
        request = {"csr": pem(csr_of(station.id)), "certificateType": "ChargingStationCertificate"}
        answer = await station.call("SignCertificate", request)
        assert answer["statusInfo"]["reasonCode"] == "NotConfigured", "a built-in one, which there is not"


async def test_a_request_that_no_ca_would_sign_is_refused_at_once(backend: Start, lab: Lab) -> None:
    async with backend(outside_cas=(ca(lab, kinds=(KIND, "Combined")),)) as csms:
        station = await joined(csms)
        for request in (
            {"csr": "rubbish", "certificateType": KIND},
            {"csr": pem(csr_of("CS-V2G-0002"))},  # combined: of another station (A00.FR.511)
        ):
            assert (await station.call("SignCertificate", request))["status"] == "Rejected"
        await look(csms)
    assert issued(lab) == 0


async def test_a_hash_of_another_root_is_refused(backend: Start, lab: Lab) -> None:
    """hashRootCertificate of 2.1."""
    async with backend(outside_cas=(ca(lab),)) as csms:
        station = await csms.booted(version="2.1")
        wanted = {"hashAlgorithm": "SHA256", "issuerNameHash": "00", "issuerKeyHash": "00", "serialNumber": "1"}
        assert await asks(station, csr_of(), hashRootCertificate=wanted) == "Rejected"
        assert await asks(station, csr_of(SECC_ID), requestId=7) == "Accepted"
        station.answers["CertificateSigned"] = {"status": "Accepted"}
        await look(csms)
        assert delivered(station)[0]["requestId"] == 7


async def test_a_certificate_that_vehicles_of_2_will_refuse_is_named(
    backend: Start, tree_2: PkiTree, tmp_path: Path
) -> None:
    """One without DC=CPO, as a CA of -2 may issue it: it is delivered, and the operator is told."""
    key, authority = (
        new_key(KeyKind.SECP256R1, Role.SECC),
        load_issuer(tree_2.directory, tree_2.index().find("cpo/sub2")),
    )
    csr = load_csr(make_request(key, Role.SECC, Subject(common_name=SECC_ID, organization="Lab")))
    leaf = x509.load_der_x509_certificate(tree_2.chain("secc")[0])
    plain = remade(
        leaf,
        Party(authority.certificate, authority.key),
        subject=name((CN, SECC_ID), (ORG, "Lab")),
        key=csr.public_key(),
        digest=hashes.SHA256(),
    )
    subs = tuple(x509.load_der_x509_certificate(der) for der in tree_2.chain("secc")[1:])

    async def enrol(_: web.Request) -> web.Response:
        return web.Response(body=write_certificates((plain, *subs)))

    async with web_server.serving(enrol, web_server.server_tls(tree_2)) as port:
        est = EstServer(url=f"https://localhost:{port}/.well-known/est", root=tree_2.path("csms/root.pem"))
        outside = OutsideCa(est=est, roots=(tree_2.path("v2g/root.pem"),))
        async with backend(outside_cas=(outside,)) as csms:
            station = await joined(csms)
            assert await asks(station, csr) == "Accepted"
            await look(csms)
            (event,) = csms.events.named("certificate_doubtful")
            assert (event.data["rule"], event.data["station"]) == ("no_domain", station.id)
            assert "vehicles of ISO 15118-2 refuse it" in str(event.data["detail"])
            assert len(delivered(station)) == 1


async def issued_for(lab: Lab, csr: x509.CertificateSigningRequest) -> str:
    """Return what a person gets for a request: leaf and CAs, PEM, in some order."""
    found = await lab.client().enrol(csr, Generation.ISO15118_20)
    assert not isinstance(found, EnrolmentPending)
    return "".join(each.public_bytes(Encoding.PEM).decode() for each in reversed(found))


def by_hand(lab: Lab, root: str = "v2g/root.pem") -> OutsideCa:
    return OutsideCa(roots=(lab.tree.path(root),), patience_h=24)


async def test_a_person_gets_a_certificate_and_it_is_delivered_after_a_restart(backend: Start, lab: Lab) -> None:
    """R217: the request is listed and downloaded, its answer handed over while the station is away, all in the audit
    log."""
    csr = csr_of()
    async with backend(outside_cas=(by_hand(lab),)) as csms, serving(csms) as ask:
        station = await joined(csms)
        assert await asks(station, csr) == "Accepted"
        await look(csms)
        (listed,) = (await ask("GET", "/certificates/requests")).json
        assert listed | {"csr": "", "since_ms": 0} == {
            "station_id": station.id, "kind": KIND, "since_ms": 0, "manual": True, "issued": False, "csr": "",
        }  # fmt: skip
        assert (await ask("GET", "/certificates/requests", role=Caller.BILLING)).status == 403
        await away(csms, station)
    async with backend(outside_cas=(by_hand(lab),)) as csms, serving(csms) as ask:
        here = f"/stations/{station.id}/certificates/requests/{KIND}"
        downloaded = x509.load_pem_x509_csr((await ask("GET", here)).body)
        assert downloaded.public_key() == csr.public_key()
        chain = await issued_for(lab, downloaded)
        handed = await ask("POST", f"{here}/issue", {"pem": chain})
        assert (handed.status, handed.json["issued"]) == (200, True)
        (entry, *_) = (await ask("GET", "/audit")).json
        assert entry["operation"] == "issue_certificate_request"
        await look(csms)
        station = await joined(csms)
        await look(csms, 61)
        (signed,) = delivered(station)
        got = chain_from_pem(signed["certificateChain"].encode())
        verify_chain(got[0], got[1:], lab.tree.anchors("v2g"), role=Role.SECC, at=datetime.now(UTC))
        assert (await ask("GET", "/certificates/requests")).json == []
        assert (await ask("POST", f"{here}/issue", {"pem": chain})).status == 404


async def test_what_a_person_hands_over_is_checked_as_an_answer_by_est_is(backend: Start, lab: Lab) -> None:
    key = new_key(KeyKind.SECP521R1, Role.SECC)
    csr, namesake = (
        load_csr(make_request(key, Role.SECC, Subject(common_name=cn, organization="Lab")))
        for cn in (SECC_ID, "DEV2GS00000000000000000000000000000002X")
    )
    good, other = await issued_for(lab, csr), await issued_for(lab, csr_of())
    cases = {"the requested key": other, "issued for": await issued_for(lab, namesake), "no certificate": "rubbish",
             "private key": lab.tree.path("csms/server/leaf.key").read_text()}  # fmt: skip
    async with backend(outside_cas=(by_hand(lab),)) as csms, serving(csms) as ask:
        station = await joined(csms)
        assert await asks(station, csr) == "Accepted"
        here = f"/stations/{station.id}/certificates/requests/{KIND}"
        for why, pem_text in cases.items():
            refused = await ask("POST", f"{here}/issue", {"pem": pem_text})
            assert refused.status in (400, 409)
            assert why in refused.json["detail"]
        csms.clock.advance(400 * 86_400)
        assert "expired" in (await ask("POST", f"{here}/issue", {"pem": good})).json["detail"]
        assert delivered(station) == []
    async with backend(outside_cas=(by_hand(lab, "csms/root.pem"),)) as csms, serving(csms) as ask:
        refused = await ask("POST", f"{here}/issue", {"pem": good})
        assert (refused.status, "root" in refused.json["detail"]) == (400, True)
    async with backend(outside_cas=(ca(lab),)) as csms, serving(csms) as ask:
        assert (await ask("POST", f"{here}/issue", {"pem": good})).status == 409, "its CA is asked by EST"


async def test_a_person_refuses_with_a_reason_and_the_station_may_ask_again(backend: Start, lab: Lab) -> None:
    async with backend(outside_cas=(by_hand(lab),)) as csms, serving(csms) as ask:
        station = await joined(csms)
        csr = csr_of()
        assert await asks(station, csr) == "Accepted"
        here = f"/stations/{station.id}/certificates/requests/{KIND}"
        assert (await ask("POST", f"{here}/refuse", {"reason": "no contract"})).status == 204
        (event,) = csms.events.named("certificate_refused")
        assert (event.data["reason"], event.data["detail"]) == ("Refused", "no contract")
        assert (await ask("GET", "/audit")).json[0]["request"] == {"reason": "no contract"}
        assert (await ask("POST", f"{here}/refuse", {"reason": "no contract"})).status == 404
        assert await asks(station, csr) == "Accepted"
        await look(csms, 25 * 3600)
        assert csms.events.named("certificate_refused")[-1].data["reason"] == "TimedOut"
