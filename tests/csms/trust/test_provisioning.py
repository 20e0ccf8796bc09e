"""Contracts for vehicles over OCPP, asked for by stations of the independent package `ocpp` (M01)."""

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from csms.contracts.pool import ContractPool
from pki_tools.tree import PkiTree
from tests.csms.conftest import Start
from tests.csms.support import Running
from tests.csms.trust.provisioning import SESSION, VERSIONS, ask, asking, booted, csms, pool, provisioning, read
from tests.iso15118.d20.contracts import PCID, new_contract, own_contract
from v2g import exi
from v2g.iso15118.d20.installation import open_contract, verify_service
from v2g.iso15118.d20.messages.common_messages import CertificateInstallationReq, CertificateInstallationRes
from v2g.iso15118.d20.messages.common_types import MessageHeader
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.engine.contracts import Contract
from v2g.pki.certificates import load_certificate

__all__ = ["csms", "pool"]


def opened(pki: PkiTree, response: CertificateInstallationRes) -> Contract:
    verify_service(response, pki.anchors("v2g"), at=datetime.now(UTC))
    data = response.signed_installation_data
    return open_contract(data, pki.key("provisioning"), PCID, roots=pki.anchors("mo"), at=datetime.now(UTC))


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_vehicle_gets_its_contract(csms: Running, pki: PkiTree, pool: ContractPool, version: str) -> None:
    """TC_M_26_CSMS. The answer fits what each version of OCPP allows, which the package checks."""
    contract = own_contract(pki)
    pool.add(PCID, contract.chain, contract.key)
    async with booted(csms, version) as point:
        answer = await ask(point, version, asking(pki))
    assert answer.status == "Accepted"
    assert opened(pki, read(answer)).chain == contract.chain
    if version == "ocpp2.1":
        assert answer.remaining_contracts == 0
    (event,) = csms.events("answered")
    assert (event["pcid"], event["emaid"], event["code"]) == (PCID, "DEV2GC00000001", "OK")


@pytest.mark.parametrize("version", VERSIONS)
async def test_several_contracts_come_with_several_requests(
    csms: Running, pki: PkiTree, pool: ContractPool, version: str
) -> None:
    """M01.FR.04, .07."""
    for number in (1, 2, 3):
        contract = new_contract(pki, f"DEV2GC0000000{number}", start=number)
        pool.add(PCID, contract.chain, contract.key)
    request = asking(pki, emaids=("DEV2GC00000003",))
    async with booted(csms, version) as point:
        answers = [await ask(point, version, request) for _ in range(3)]
    responses = [read(answer) for answer in answers]
    assert [each.remaining_contract_certificate_chains for each in responses] == [2, 1, 0]
    assert [opened(pki, each).emaid for each in responses] == [
        "DEV2GC00000003", "DEV2GC00000001", "DEV2GC00000002",
    ]  # fmt: skip
    if version == "ocpp2.1":
        assert [each.remaining_contracts for each in answers] == [2, 1, 0]


async def test_a_contract_that_is_added_or_removed_counts_at_once(
    csms: Running, pki: PkiTree, pool: ContractPool
) -> None:
    contract = own_contract(pki)
    codes = []
    async with booted(csms, "ocpp2.1") as point:
        for change in (
            lambda: None,
            lambda: pool.add(PCID, contract.chain, contract.key),
            lambda: pool.remove(PCID, "DEV2GC00000001"),
        ):
            change()
            codes.append(read(await ask(point, "ocpp2.1", asking(pki))).response_code.name)
    assert codes == ["WARNING_NoContractMatchingPCIDFound", "OK", "WARNING_NoContractMatchingPCIDFound"]


async def test_a_refusal_is_in_the_vehicles_words_and_the_stations(csms: Running, pki: PkiTree) -> None:
    unsigned = exi.decode(asking(pki), COMMON_MESSAGES)
    assert isinstance(unsigned, CertificateInstallationReq)
    bare = msgspec.structs.replace(unsigned, header=MessageHeader(session_id=SESSION, time_stamp=1))
    async with booted(csms, "ocpp2.1") as point:
        for request, code in (
            (asking(pki), "WARNING_NoContractMatchingPCIDFound"),
            (exi.encode(bare), "FAILED_SignatureError"),
        ):
            answer = await ask(point, "ocpp2.1", request)
            assert answer.status == "Failed"
            assert read(answer).response_code.name == code
            assert answer.status_info["reason_code"] == "Refused"
            assert code in answer.status_info["additional_info"]


@pytest.mark.parametrize("which", ["list", "crl"])
async def test_a_revoked_vehicle_gets_nothing(
    start: Start, pki: PkiTree, tmp_path: Path, pool: ContractPool, which: str
) -> None:
    contract = own_contract(pki)
    pool.add(PCID, contract.chain, contract.key)
    leaf = load_certificate(pki.chain("provisioning")[0])
    if which == "list":
        trust: dict[str, Any] = {"revoked": (f"{leaf.serial_number:x}",)}
    else:
        trust = {"crls": (_crl(pki, leaf.serial_number, tmp_path / "oem.crl"),)}
    async with (
        start(provisioning=provisioning(pki, tmp_path), trust=trust) as csms,
        booted(csms, "ocpp2.1") as point,
    ):
        answer = await ask(point, "ocpp2.1", asking(pki))
    assert read(answer).response_code.name == "WARNING_CertificateRevoked"


def _crl(pki: PkiTree, serial: int, path: Path) -> Path:
    """Write a list that the OEM's CA has signed, made by the library alone."""
    issuer = load_certificate(pki.chain("provisioning")[1])
    key = serialization.load_pem_private_key(pki.path("oem/sub2.key").read_bytes(), None)
    now = datetime.now(UTC).replace(microsecond=0)
    revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now)
        .next_update(now + timedelta(days=365))
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_revoked_certificate(revoked)
        .sign(key, hashes.SHA512())  # type: ignore[arg-type]
    )
    path.write_bytes(crl.public_bytes(serialization.Encoding.DER))
    return path


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema": "urn:iso:15118:2:2010:MsgDef"}, "SchemaVersion"),
        ({"schema": "urn:iso:15118:2:2013:MsgDef"}, "NotConfigured"),
        ({"exi_request": "not base64!"}, "InvalidExi"),
        ({"exi_request": "bäse64"}, "InvalidExi"),
        ({"exi_request": ""}, "InvalidExi"),
        ({"exi_request": base64.b64encode(bytes(300)).decode()}, "InvalidExi"),
    ],
)
async def test_what_cannot_be_read_has_no_response_for_the_vehicle(
    csms: Running, pki: PkiTree, change: dict[str, str], reason: str
) -> None:
    async with booted(csms, "ocpp2.1") as point:
        answer = await ask(point, "ocpp2.1", asking(pki), **change)
    assert (answer.status, answer.exi_response) == ("Failed", "")
    assert answer.status_info["reason_code"] == reason


async def test_without_a_provisioning_service_the_answer_says_so(start: Start, pki: PkiTree) -> None:
    async with start() as csms, booted(csms, "ocpp2.1") as point:
        answer = await ask(point, "ocpp2.1", asking(pki))
    assert (answer.status, answer.status_info["reason_code"]) == ("Failed", "NotConfigured")


async def test_a_response_that_does_not_fit_becomes_a_refusal(
    csms: Running, pki: PkiTree, pool: ContractPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = own_contract(pki)
    pool.add(PCID, contract.chain, contract.key)
    monkeypatch.setattr("csms.contracts.provisioning.LONGEST", {"2.1": 4000})
    async with booted(csms, "ocpp2.1") as point:
        answer = await ask(point, "ocpp2.1", asking(pki))
    assert read(answer).response_code.name == "WARNING_NoCertificateAvailable"
    assert "at most 3000 fit" in answer.status_info["additional_info"]


async def test_a_file_in_the_pool_that_cannot_be_read_is_reported(
    csms: Running, pki: PkiTree, pool: ContractPool
) -> None:
    contract = own_contract(pki)
    path = pool.add(PCID, contract.chain, contract.key).file
    path.write_bytes(path.read_bytes()[:400])
    async with booted(csms, "ocpp2.1") as point:
        answer = await ask(point, "ocpp2.1", asking(pki))
    assert read(answer).response_code.name == "WARNING_NoContractMatchingPCIDFound"
    (event,) = csms.events("pool_problem")
    assert event["pcid"] == PCID
