"""Functional block A, security, beyond the cases of the test lab."""

import asyncio
import ssl
import warnings
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import websockets
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from csms.admission.work import StationAdmissions
from csms.config import FurtherListener, StationAuthority
from csms.device_model.work import upgrade_security
from csms.station_security.authority import StationCa
from csms.station_security.rules import Authority, read_request, sign
from csms.station_security.store import list_certificates
from pki_tools.tree import PkiTree
from tests.csms.backend import BOOT, Backend
from tests.csms.fixtures import Start
from tests.csms.network import knocking, listening
from tests.csms.scripted_station import Refused, ScriptedStation
from v2g.errors import TransportError
from v2g.io.keys.stores import load_credentials
from v2g.ocpp.messages.provisioning import NetworkConnectionProfile
from v2g.pki.certificates import load_certificate
from v2g.pki.issue import Issuer
from v2g.pki.profile import Role
from v2g.pki.reference import KeyReference
from v2g.pki.verify import verify_chain

CS = "CS-V2G-0001"
PASSWORD = "a-Password_of=32*characters+4321"
AVAILABLE = {"evseId": 1, "connectorId": 1, "connectorStatus": "Available", "timestamp": "2026-01-01T00:00:00Z"}
PROFILE_1 = {"security_profile": 1, "port": 0}


async def boots(station: ScriptedStation) -> None:
    """The last steps of many cases: boot, and tell the state of the connectors."""
    assert (await station.call("BootNotification", BOOT))["status"] == "Accepted"
    assert await station.call("StatusNotification", AVAILABLE) == {}


async def refused(port: int, status: int, **how: Any) -> websockets.Response:
    """Knock, and be refused with this HTTP status; return what it says."""
    with pytest.raises(websockets.InvalidStatus) as caught:
        async with knocking(port, CS, **how):
            pass
    assert caught.value.response.status_code == status
    return caught.value.response


def tls(pki: PkiTree, leaf: str | None = None) -> ssl.SSLContext:
    """A station's TLS, made by the standard library alone."""
    context = ssl.create_default_context(cafile=str(pki.path("csms/root.pem")))
    if leaf is not None:
        context.load_cert_chain(pki.path(f"{leaf}/chain.pem"), pki.path(f"{leaf}/leaf.key"))
    return context


async def test_what_is_wrong_with_a_password_is_noted_and_answered(backend: Start) -> None:
    async with backend(ocpp=PROFILE_1) as csms, listening(csms) as (port,):
        await csms.services[StationAdmissions].set_password(CS, PASSWORD)
        await refused(port, 401, username=CS + "Invalid", password=PASSWORD)
        (fault,) = await csms.faults(CS)
        assert (fault["kind"], fault["times"]) == ("password", 1)
        assert "user name" in fault["detail"]
        response = await refused(port, 401, password=None)
        assert response.headers["WWW-Authenticate"].startswith("Basic ")
        assert {each["detail"] for each in await csms.faults(CS)} == {
            "the request has no header 'Authorization: Basic'"
        }


@pytest.mark.parametrize("suite", ["AES128-GCM-SHA256", "AES256-GCM-SHA384"])
async def test_stations_that_know_rsa_only_are_shown_a_certificate_of_rsa(
    backend: Start, pki: PkiTree, tmp_path: Path, suite: str
) -> None:
    """A00.FR.318."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    chain, secret = tmp_path / "rsa.pem", tmp_path / "rsa.key"
    chain.write_bytes(pem)
    secret.touch(mode=0o600)
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    secret.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    ocpp = {"security_profile": 2, "rsa_certificate": chain, "rsa_key": secret}
    async with backend(ocpp=ocpp) as csms, listening(csms) as (port,):
        context = ssl.create_default_context(cadata=pem.decode())
        context.check_hostname = False
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(suite)
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        assert writer.get_extra_info("cipher")[0] == suite
        writer.close()


async def test_an_old_version_of_tls_is_noted_with_what_to_do(backend: Start, pki: PkiTree) -> None:
    async with backend(ocpp={"security_profile": 2}) as csms, listening(csms) as (port,):
        await csms.services[StationAdmissions].set_password(CS, PASSWORD)
        old = tls(pki)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            old.minimum_version = ssl.TLSVersion.TLSv1
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            async with knocking(port, CS, password=PASSWORD, context=old):
                pass
        async with asyncio.timeout(5):
            while not (faults := await csms.faults("")):
                await asyncio.sleep(0)
        (fault,) = faults
        assert fault["kind"] == "tls"
        assert "TLS 1.2" in fault["hint"]


async def test_an_invalid_certificate_of_a_station_is_noted(backend: Start, pki: PkiTree) -> None:
    async with backend() as csms, listening(csms) as (port,):
        with pytest.raises((ssl.SSLError, OSError, websockets.WebSocketException)):
            async with knocking(port, CS, context=tls(pki, "secc")):
                pass
        async with asyncio.timeout(5):
            while not (faults := await csms.faults("")):
                await asyncio.sleep(0)
        assert [each["kind"] for each in faults] == ["certificate"]


def _names(data: dict[str, Any]) -> dict[str, Any]:
    return {"component": data["component"], "variable": data["variable"]}


async def test_when_the_answer_is_lost_both_passwords_are_taken_until_one_is_used(backend: Start) -> None:
    async with backend(ocpp=PROFILE_1) as csms, listening(csms) as (port,):
        await csms.services[StationAdmissions].set_password(CS, PASSWORD)
        async with knocking(port, CS, password=PASSWORD) as station:
            await boots(station)
            task = asyncio.create_task(csms.services[StationAdmissions].rotate_password(station.id))
            request = await station.expect("SetVariables")
            await station.disconnect()
        with pytest.raises(TransportError):
            await task
        new = request.payload["setVariableData"][0]["attributeValue"]
        assert not any(new in repr(event) for event in csms.events.reported)
        async with knocking(port, CS, password=PASSWORD) as station:
            await boots(station)
        async with knocking(port, CS, password=new) as station:
            await boots(station)
        await refused(port, 401, password=PASSWORD)


@pytest.fixture
def authorities(pki: PkiTree, tmp_path: Path) -> dict[str, StationAuthority]:
    """Both built-in authorities, with CAs of the test's PKI."""
    chain = tmp_path / "cpo.pem"
    chain.write_bytes(pki.path("cpo/sub2.pem").read_bytes() + pki.path("cpo/sub1.pem").read_bytes())
    here = partial(KeyReference.from_text, folder=tmp_path)
    return {
        "station_ca": StationAuthority(
            chain=pki.path("csms/root.pem"), key=here(str(pki.path("csms/root.key"))), organization="Operator"
        ),
        "v2g_ca": StationAuthority(
            chain=chain, key=here(str(pki.path("cpo/sub2.key"))), ocsp_url="http://ocsp.example/"
        ),
    }


def csr(common_name: str, curve: ec.EllipticCurve | None = None, key: ec.EllipticCurvePrivateKey | None = None) -> str:
    """A station's request, made by `cryptography` alone."""
    key = key or ec.generate_private_key(curve or ec.SECP256R1())
    names = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(names).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


async def renewed(
    csms: Backend, kind: Any, request: dict[str, Any], status: str
) -> tuple[ScriptedStation, dict[str, Any]]:
    """Reusable state RenewChargingStationCertificate, answered so at its end; return what was delivered."""
    station = await csms.booted()
    trigger = asyncio.create_task(csms.services[StationCa].renew(station.id, kind))
    (asked := await station.expect("TriggerMessage")).reply({"status": "Accepted"})
    wanted = {"ChargingStationCertificate": "SignChargingStationCertificate", "V2GCertificate": "SignV2GCertificate"}
    assert asked.payload["requestedMessage"] == wanted.get(kind, "SignCombinedCertificate")
    assert await trigger == "Accepted"
    assert (await station.call("SignCertificate", request))["status"] == "Accepted"
    signed = await station.expect("CertificateSigned")
    signed.reply({"status": status})
    return station, signed.payload


async def outcome(csms: Backend, status: str) -> None:
    """Wait until the back end has noted what became of a certificate."""
    async with asyncio.timeout(60):
        while [each["status"] for each in await csms.services.store.read(list_certificates, station_id=CS)] != [status]:
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("kind", "name", "root", "role"),
    [
        ("ChargingStationCertificate", CS, "csms", Role.STATION),
        ("V2GCertificate", "DEXYZS123", "v2g", Role.SECC),
        (None, CS, "v2g", Role.SECC),
    ],
    ids=["station", "V2G", "combined"],
)
async def test_a_renewed_certificate_leads_to_its_root(
    backend: Start, authorities: dict[str, StationAuthority], pki: PkiTree, kind: Any, name: str, root: str, role: Role
) -> None:
    async with backend(**authorities) as csms:
        use = {} if kind is None else {"certificateType": kind}
        curve = ec.SECP256R1() if role is Role.STATION else ec.SECP521R1()
        _, signed = await renewed(csms, kind, {"csr": csr(name, curve), **use}, "Accepted")
        assert signed.get("certificateType") == kind  # A02.FR.14
        chain = x509.load_pem_x509_certificates(signed["certificateChain"].encode())
        assert chain[0].subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == name
        der = [each.public_bytes(serialization.Encoding.DER) for each in chain]
        trusted = x509.load_pem_x509_certificate(pki.path(f"{root}/root.pem").read_bytes())
        roots = (trusted.public_bytes(serialization.Encoding.DER),)
        verify_chain(der[0], der[1:], roots, role=role, at=csms.clock.now())


async def test_a_combined_certificate_names_no_other_station(
    backend: Start, authorities: dict[str, StationAuthority]
) -> None:
    """A00.FR.511: it is shown to this end as well."""
    async with backend(**authorities) as csms:
        station = await csms.booted()
        answer = await station.call("SignCertificate", {"csr": csr("CS-V2G-0002", ec.SECP521R1())})
        assert (answer["status"], answer["statusInfo"]["reasonCode"]) == ("Rejected", "wrong_subject")


async def test_a_certificate_that_soon_runs_out_is_renewed_once(
    backend: Start, authorities: dict[str, StationAuthority]
) -> None:
    async with backend(**authorities) as csms:
        kind = "ChargingStationCertificate"
        station, _ = await renewed(csms, kind, {"csr": csr(CS), "certificateType": kind}, "Accepted")
        await outcome(csms, "Accepted")
        station.answers["TriggerMessage"] = {"status": "Accepted"}
        assert await csms.services[StationCa].renew_due() == 0
        csms.clock.advance(720 * 86400)
        assert await csms.services[StationCa].renew_due() == 1
        assert station.payloads("TriggerMessage")[-1] == {"requestedMessage": "SignChargingStationCertificate"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (csr("CS-V2G-0002"), "wrong_subject"),
        (csr(CS, ec.SECP192R1()), "wrong_curve"),
        ("-----BEGIN CERTIFICATE REQUEST-----\n!\n-----END CERTIFICATE REQUEST-----", "malformed"),
        ("", "malformed"),
    ],
    ids=["another station's", "wrong curve", "no request", "empty"],
)
async def test_a_request_that_must_not_be_signed_is_rejected(
    backend: Start, authorities: dict[str, StationAuthority], text: str, reason: str
) -> None:
    async with backend(**authorities) as csms:
        station = await csms.booted()
        answer = await station.call("SignCertificate", {"csr": text, "certificateType": "ChargingStationCertificate"})
        assert answer["status"] == "Rejected"  # A02.FR.12
        assert answer["statusInfo"]["reasonCode"] == reason
        assert await csms.services.store.read(list_certificates) == []


def expired(pki: PkiTree, authorities: dict[str, StationAuthority], name: str, folder: Path) -> ssl.SSLContext:
    """The TLS of a station whose certificate ran out a minute ago."""
    key = ec.generate_private_key(ec.SECP256R1())
    ours = load_credentials(pki.path("csms/root.pem"), authorities["station_ca"].key)
    issuer = Issuer(load_certificate(ours.leaf), ours.private_key)
    authority = Authority(chain=ours.chain, issuer=issuer, organization="Operator", role=Role.STATION, days=1)
    at = datetime.now(UTC) - timedelta(days=1, minutes=1)
    wanted = csr(name, key=key)
    asked = read_request(wanted, name, authority.role, authority.generation, vehicles_only=False)
    certificate = sign(asked, authority, 7, at)
    chain, private = folder / f"{name}.pem", folder / f"{name}.key"
    chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = tls(pki)
    context.load_cert_chain(chain, private)
    return context


async def test_a_certificate_that_has_run_out_is_renewed_where_that_is_allowed(
    backend: Start, authorities: dict[str, StationAuthority], pki: PkiTree, tmp_path: Path
) -> None:
    """A00.FR.429: let in by name, Pending, and asked at once for a request to sign (A02)."""
    context = expired(pki, authorities, CS, tmp_path)
    async with backend(**authorities) as csms, listening(csms) as (port,):
        admissions = csms.services[StationAdmissions]
        words = (await refused(port, 403, context=context)).body or b""
        assert b"expired at" in words
        assert b"--expired-for" in words
        assert await admissions.allow_expired(CS, 7) == csms.clock.utc_ms() + 7 * 86_400_000
        async with knocking(port, CS, context=context) as station:
            assert (await station.call("BootNotification", BOOT))["status"] == "Pending"
            (asked := await station.expect("TriggerMessage")).reply({"status": "Accepted"})
            assert asked.payload == {"requestedMessage": "SignChargingStationCertificate"}
            with pytest.raises(Refused, match="SecurityError"):
                await station.call("Authorize", {"idToken": {"idToken": "A", "type": "Central"}})
            wanted = {"csr": csr(CS), "certificateType": "ChargingStationCertificate"}
            assert (await station.call("SignCertificate", wanted))["status"] == "Accepted"
            (await station.expect("CertificateSigned")).reply({"status": "Accepted"})
            assert (await station.call("BootNotification", BOOT))["status"] == "Pending", "until it comes with the new"
            (await station.expect("TriggerMessage")).reply({"status": "Rejected"})
        kinds = [each.data["type"] for each in csms.events.named("security_event")]
        assert kinds == ["InvalidChargingStationCertificate"]  # A00.FR.408; the second time is counted
        async with knocking(port, CS, context=tls(pki, "csms/station")) as station:
            await boots(station)
        await refused(port, 403, context=expired(pki, authorities, "CS-OTHER", tmp_path))
        await admissions.allow_expired(CS, 0)
        await refused(port, 403, context=context)
        await admissions.allow_expired(CS, 7)
        csms.clock.advance(8 * 86_400)
        await refused(port, 403, context=context)


async def test_without_an_authority_requests_are_rejected(csms: Backend) -> None:
    station = await csms.booted()
    answer = await station.call("SignCertificate", {"csr": csr(CS)})
    info = {"reasonCode": "NotConfigured", "additionalInfo": "no such authority is configured"}
    assert (answer["status"], answer["statusInfo"]) == ("Rejected", info)


async def test_an_upgrade_of_the_security_profile_is_ordered_whole_and_can_be_taken_back(
    backend: Start, pki: PkiTree
) -> None:
    listeners = (FurtherListener(port=0, security_profile=2),)
    async with backend(ocpp={**PROFILE_1, "listeners": listeners}) as csms, listening(csms) as (plain, secure):
        await csms.services[StationAdmissions].set_password(CS, PASSWORD)
        async with knocking(plain, CS, password=PASSWORD) as station:
            await boots(station)
            station.answers["SetNetworkProfile"] = {"status": "Accepted"}
            station.answers["SetVariables"] = lambda payload: {
                "setVariableResult": [{**_names(payload["setVariableData"][0]), "attributeStatus": "Accepted"}]
            }
            station.answers["Reset"] = {"status": "Accepted"}
            better = NetworkConnectionProfile(
                ocpp_version="OCPP20",
                ocpp_interface="Wired0",
                ocpp_transport="JSON",
                message_timeout=30,
                ocpp_csms_url=f"wss://127.0.0.1:{secure}/ocpp",
                security_profile=2,
            )
            await upgrade_security(csms.services, CS, 2, better, others=(1,))
            assert [action for action, _ in station.calls] == ["SetNetworkProfile", "SetVariables", "Reset"]
            ((data,),) = [each["setVariableData"] for each in station.payloads("SetVariables")]
            assert data["attributeValue"] == "2,1"
        async with knocking(secure, CS, password=PASSWORD, context=tls(pki)):
            pass
        await refused(plain, 403, password=PASSWORD)
        assert (await csms.faults(CS))[0]["kind"] == "security_profile"
        await csms.services[StationAdmissions].allow_profile(CS, 1)
        async with knocking(plain, CS, password=PASSWORD) as station:
            await boots(station)
