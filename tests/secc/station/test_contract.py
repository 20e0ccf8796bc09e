"""Plug and charge over security profile 3: certificates on both ends, the contract chain, signed readings."""

import asyncio
import base64
import contextlib
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from pki_tools.tree import PkiTree
from secc.station.station import ChargerStation, MeterSample, SignedRegister, StationConfig
from tests.secc.backend import Backend, backend
from tests.station.no_charger import NoCharger
from v2g.io.runtime.clock import Clock
from v2g.io.tls.files import TlsFiles

EMAID = "DEV2GC00000001"


@pytest.fixture
async def csms(pki: PkiTree) -> AsyncIterator[Backend]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.path("csms/server/chain.pem"), pki.path("csms/server/leaf.key"))
    context.load_verify_locations(pki.path("csms/root.pem"))
    context.verify_mode = ssl.CERT_REQUIRED
    async with backend(context) as found:
        yield found


@contextlib.asynccontextmanager
async def station(pki: PkiTree, path: Path, port: int, **changes: Any) -> AsyncIterator[ChargerStation]:
    """Run a station with its certificate."""
    tls = TlsFiles(
        ca=pki.path("csms/root.pem"),
        chain=pki.path("csms/station/chain.pem"),
        key=pki.path("csms/station/leaf.key"),
    )
    config = StationConfig(
        url=f"wss://localhost:{port}/ocpp", identity="CS-V2G-0001", store=path / "s.db", tls=tls, **changes
    )
    found = ChargerStation(config, clock=Clock(), entropy=os.urandom, observe=lambda _: None, charger=NoCharger())
    run = asyncio.create_task(found.run())
    try:
        async with asyncio.timeout(60):
            await found.online.wait()
        yield found
    finally:
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        await found.close()


def chain(pki: PkiTree) -> list[x509.Certificate]:
    """The contract's certificates, leaf first."""
    return x509.load_pem_x509_certificates(pki.path("contract/chain.pem").read_bytes())


def der(certificates: list[x509.Certificate]) -> list[bytes]:
    """Certificates as they come from the vehicle."""
    return [c.public_bytes(serialization.Encoding.DER) for c in certificates]


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
async def test_a_contract_is_shown_whole(pki: PkiTree, tmp_path: Path, csms: Backend, version: Any) -> None:
    certificates = chain(pki)
    async with station(pki, tmp_path, csms.port, versions=(version,)) as found:
        outcome = await found.requests.authorize(EMAID, der(certificates))
    assert (outcome.decision, outcome.status, outcome.certificate_status) == ("accepted", "Accepted", "Accepted")
    request = csms.all("Authorize")[0]
    assert request["id_token"] == {"id_token": EMAID, "type": "eMAID"}
    assert x509.load_pem_x509_certificates(request["certificate"].encode()) == certificates
    hashed = request["iso15118_certificate_hash_data"]
    assert len(hashed) == len(certificates) - 1
    for data, certificate, issuer in zip(hashed, certificates, certificates[1:], strict=False):
        expected = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA256()).build()
        assert data["hash_algorithm"] == "SHA256"
        assert bytes.fromhex(data["issuer_name_hash"]) == expected.issuer_name_hash
        assert bytes.fromhex(data["issuer_key_hash"]) == expected.issuer_key_hash
        assert int(data["serial_number"], 16) == certificate.serial_number


@pytest.mark.parametrize(
    ("token", "certificate", "decision"),
    [
        ("Accepted", "Accepted", "accepted"),
        ("Accepted", None, "accepted"),
        ("Expired", "CertificateExpired", "certificate_expired"),
        ("Invalid", "CertificateRevoked", "certificate_revoked"),
        ("Invalid", "CertChainError", "certificate_invalid"),
        ("Invalid", "SignatureError", "certificate_invalid"),
        ("Accepted", "NoCertificateAvailable", "certificate_invalid"),
        ("Blocked", "ContractCancelled", "refused"),
        ("Accepted", "ContractCancelled", "refused"),
        ("Unknown", "ContractCancelled", "unknown"),
        ("NoCredit", "Accepted", "refused"),
    ],
)
async def test_what_the_csms_says_decides(
    pki: PkiTree, tmp_path: Path, csms: Backend, token: str, certificate: str | None, decision: str
) -> None:
    csms.answers["Authorize"] = {"id_token_info": {"status": token}, "certificate_status": certificate}
    async with station(pki, tmp_path, csms.port) as found:
        assert (await found.requests.authorize(EMAID, der(chain(pki)))).decision == decision


async def test_no_answer_is_no_permission(pki: PkiTree, tmp_path: Path, csms: Backend) -> None:
    csms.silent = {"Authorize"}
    async with station(pki, tmp_path, csms.port, authorize_timeout=0.1) as found:
        assert (await found.requests.authorize(EMAID, der(chain(pki)))).decision == "unreachable"
    csms.silent, csms.refuse = set(), {"Authorize": 1}
    async with station(pki, tmp_path, csms.port) as found:
        assert (await found.requests.authorize(EMAID, der(chain(pki)))).decision == "unreachable"


@pytest.mark.parametrize("central", ["true", "false"])
@pytest.mark.parametrize("certificate", ["Accepted", None])
async def test_the_csms_judges_a_contract_of_an_unknown_root(
    pki: PkiTree, tmp_path: Path, csms: Backend, central: str, certificate: str | None
) -> None:
    """C07.FR.06: it must say that the certificate is valid (C07.FR.14)."""
    csms.answers["Authorize"] = {"id_token_info": {"status": "Accepted"}, "certificate_status": certificate}
    async with station(pki, tmp_path, csms.port) as found:
        await set_to(csms, "ISO15118Ctrlr", "CentralContractValidationAllowed", central)
        assert found.judges_contracts is (central == "true")
        outcome = await found.requests.authorize(EMAID, der(chain(pki)), known_root=False)
    assert outcome.decision == ("accepted" if central == "true" and certificate else "certificate_invalid")
    assert len(csms.all("Authorize")) == (central == "true")


OFFLINE = {"ContractValidationOffline": "ISO15118Ctrlr", "OfflineTxForUnknownIdEnabled": "AuthCtrlr"}
MASTER = {"id_token": "MASTER", "type": "Central"}


async def set_to(csms: Backend, component: str, name: str, value: str) -> None:
    """Set a variable of the station."""
    given = {"component": {"name": component}, "variable": {"name": name}, "attributeValue": value}
    answer = await csms.request("SetVariables", {"setVariableData": [given]})
    assert answer["setVariableResult"][0]["attributeStatus"] == "Accepted"


@pytest.mark.parametrize("permitted", [*OFFLINE, "both"])
async def test_the_csms_says_whether_contracts_charge_offline(
    pki: PkiTree, tmp_path: Path, csms: Backend, permitted: str
) -> None:
    """C07.FR.07 to .12: both variables for a contract that is in neither list nor cache; no answer is offline, too."""
    async with station(pki, tmp_path, csms.port, authorize_timeout=0.1) as found:
        for name, component in OFFLINE.items():
            value = str(permitted in (name, "both")).lower()
            await set_to(csms, component, name, value)
        csms.silent = {"Authorize"}
        outcome = await found.requests.authorize(EMAID, der(chain(pki)))
    assert outcome.decision == ("accepted" if permitted == "both" else "unreachable")


@pytest.mark.parametrize("valid", ["true", "false"])
async def test_contracts_that_are_accepted_offline_leave_cards_alone(
    pki: PkiTree, tmp_path: Path, csms: Backend, valid: str
) -> None:
    """`accept_offline` is of contracts, until the CSMS sets ContractValidationOffline to false."""
    async with station(pki, tmp_path, csms.port, authorize_timeout=0.1, accept_offline=True) as found:
        read = {"component": {"name": "AuthCtrlr"}, "variable": {"name": "OfflineTxForUnknownIdEnabled"}}
        (cards,) = (await csms.request("GetVariables", {"getVariableData": [read]}))["getVariableResult"]
        assert cards["attributeValue"] == "false"
        await set_to(csms, "ISO15118Ctrlr", "ContractValidationOffline", valid)
        csms.silent = {"Authorize"}
        outcome = await found.requests.authorize(EMAID, der(chain(pki)))
    assert outcome.decision == ("accepted" if valid == "true" else "unreachable")


@pytest.mark.parametrize(
    ("status", "decision"), [("Accepted", "accepted"), ("Blocked", "refused"), ("Unknown", "unknown")]
)
async def test_offline_the_cache_knows_contracts(
    pki: PkiTree, tmp_path: Path, csms: Backend, status: str, decision: str
) -> None:
    """C07.FR.11, C10.FR.04: what the CSMS has said before counts."""
    csms.answers["Authorize"] = {"id_token_info": {"status": status}}
    async with station(pki, tmp_path, csms.port, authorize_timeout=1, accept_offline=True) as found:
        await set_to(csms, "AuthCtrlr", "OfflineTxForUnknownIdEnabled", "false")
        await found.requests.authorize(EMAID, der(chain(pki)))
        csms.silent = {"Authorize"}
        outcome = await found.requests.authorize(EMAID, der(chain(pki)))
    assert (outcome.decision, outcome.status) == (decision, "" if status == "Accepted" else status)


async def test_a_refused_request_is_not_offline(pki: PkiTree, tmp_path: Path, csms: Backend) -> None:
    csms.refuse = {"Authorize": 1}
    async with station(pki, tmp_path, csms.port, accept_offline=True) as found:
        assert (await found.requests.authorize(EMAID, der(chain(pki)))).decision == "unreachable"


@pytest.mark.parametrize("info", [{"evse_id": [2]}, {"group_id_token": MASTER}], ids=["evse", "master"])
async def test_what_the_csms_says_of_the_driver_counts_for_contracts(
    pki: PkiTree, tmp_path: Path, csms: Backend, info: dict[str, Any]
) -> None:
    """C16.FR.03, and evseId: accepted, but not here."""
    csms.answers["Authorize"] = {"id_token_info": {"status": "Accepted", **info}}
    async with station(pki, tmp_path, csms.port) as found:
        await set_to(csms, "AuthCtrlr", "MasterPassGroupId", "MASTER")
        assert (await found.requests.authorize(EMAID, der(chain(pki)))).decision == "refused"


async def test_a_chain_that_is_none_is_left_to_the_csms_to_refuse(pki: PkiTree, tmp_path: Path, csms: Backend) -> None:
    async with station(pki, tmp_path, csms.port) as found:
        await found.requests.authorize(EMAID, [b"no certificate"])
    assert "certificate" not in csms.all("Authorize")[0]


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
async def test_signed_readings_travel_with_the_end(pki: PkiTree, tmp_path: Path, csms: Backend, version: Any) -> None:
    key = x509.load_pem_x509_certificates(pki.path("meter/chain.pem").read_bytes())[0].public_key()
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    container = 'OCMF|{"FV":"1.0"}|{"SD":"00"}'
    signed = tuple(SignedRegister(register=r, data=container, public_key=spki) for r in ("import", "export"))
    async with station(pki, tmp_path, csms.port, versions=(version,)) as found:
        found.started("a", EMAID, sample=MeterSample(utc_ms=1, import_mwh=1, export_mwh=2))
        last = MeterSample(utc_ms=2, import_mwh=5, export_mwh=7, signed=signed)
        found.ended("a", trigger="EVDeparted", reason="EVDisconnected", sample=last)
        assert await found.drain(10)
    values = csms.all("TransactionEvent")[1]["meter_value"][0]["sampled_value"]
    for value in values[:2]:
        field = value["signed_meter_value"]
        assert base64.b64decode(field["signed_meter_data"]).decode() == container
        assert field["encoding_method"] == "OCMF"
        assert field["signing_method"] == "", "OCMF names its algorithm itself"
        assert base64.b64decode(field["public_key"]).decode() == f"oca:base16:asn1:{spki.hex()}"
        assert value["context"] == "Transaction.End"
