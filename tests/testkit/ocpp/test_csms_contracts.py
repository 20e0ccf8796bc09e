"""Cases of contracts against our own back end with a real responder, and against it with one fault in its answers."""

import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from csms.contracts.pool import ContractPool
from pki_tools.tree import PkiTree
from tests.csms.fixtures import Start
from tests.csms.trust.contracts import responder
from tests.csms.trust.provisioning import pool, provisioning
from tests.csms.trust.provisioning_2 import provisioning_2, trusted
from tests.io.tls.support import pki_2
from tests.iso15118.d2.contracts import contract_2
from tests.iso15118.d20.contracts import PCID, own_contract
from tests.testkit.ocpp.csms_mutants import CALLRESULT, Mutant, put, token_status
from tests.testkit.ocpp.csms_rig import DECLARED, csms_under_test
from v2g.ocpp.routes import Version
from v2g_testkit.cases.case import Verdict
from v2g_testkit.ocpp.csms_cases.contracts import CONTRACTS
from v2g_testkit.ocpp.csms_tester import CsmsTester
from v2g_testkit.ocpp.declaration import CertificateFiles, CsmsDeclaration

__all__ = ["pki_2", "pool"]

NONE = Mutant("none", CALLRESULT, "", None, "")


def joined(folder: Path, name: str, *parts: Path) -> Path:
    """Return a file with these certificates."""
    file = folder / f"{name}.pem"
    file.write_text("".join(part.read_text() for part in parts))
    return file


def of_status(pki: PkiTree, folder: Path, *, revoked: bool) -> CsmsDeclaration:
    """Return a declaration with certificates about which the responder is asked: a contract, valid or revoked."""
    chain = pki.path("contract/chain.pem")
    leaf, issuer, *_ = x509.load_pem_x509_certificates(chain.read_bytes())
    known = folder / "known.pem"
    known.write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in (leaf, issuer)))
    if revoked:
        return msgspec.structs.replace(DECLARED, revoked_contract=known, v2g_chain=known)
    contract = CertificateFiles(
        chain=joined(folder, "contract", chain, pki.path("mo/root.pem")), key=pki.path("contract/leaf.key")
    )
    return msgspec.structs.replace(DECLARED, contract=contract, v2g_chain=known)


async def ended(tester: CsmsTester, verdict: Verdict) -> set[str]:
    """Return which cases end so."""
    found = set()
    for case in CONTRACTS.cases:
        result = await tester.run(case)
        if result.verdict is verdict:
            found.add(case.id.removeprefix("TC_").removesuffix("_CSMS"))
    return found


async def status_cases(
    backend: Start, pki: PkiTree, folder: Path, verdict: Verdict, *, revoked: bool, mutant: Mutant = NONE
) -> set[str]:
    """Return which cases end so at a back end whose responder knows the contract as good, or as revoked."""
    async with responder(pki) as server:
        server.revoked = revoked
        trust = {"ocsp_responder": server.url, "crls": (), "issuers": (pki.path("contract/chain.pem"),)}
        declared = of_status(pki, folder, revoked=revoked)
        async with csms_under_test(backend, "2.0.1", mutant.change, declared=declared, trust=trust) as tester:
            found = await ended(tester, verdict)
        assert server.asked
    return found


async def test_our_back_end_passes_with_valid_contracts(backend: Start, pki: PkiTree, tmp_path: Path) -> None:
    assert await status_cases(backend, pki, tmp_path, Verdict.PASS, revoked=False) == {"C_50", "C_52", "M_24"}


async def test_our_back_end_passes_with_a_revoked_contract(backend: Start, pki: PkiTree, tmp_path: Path) -> None:
    assert await status_cases(backend, pki, tmp_path, Verdict.PASS, revoked=True) == {"C_51", "M_24"}


def another(payload: dict[str, Any]) -> None:
    """Answer with the status of another certificate."""
    response = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
    payload["ocspResult"] = base64.b64encode(response.public_bytes(Encoding.DER)).decode()


STATUS = (
    (False, Mutant("contracts are invalid", CALLRESULT, "Authorize", token_status("Invalid"), "C_50 C_52")),
    (
        False,
        Mutant(
            "contracts are cancelled",
            CALLRESULT,
            "Authorize",
            put("certificateStatus", "ContractCancelled"),
            "C_50 C_52",
        ),
    ),
    (True, Mutant("certificates are good", CALLRESULT, "Authorize", put("certificateStatus", "Accepted"), "C_51")),
    (True, Mutant("tokens are valid", CALLRESULT, "Authorize", token_status("Accepted"), "C_51")),
    (False, Mutant("a status is no answer", CALLRESULT, "GetCertificateStatus", put("ocspResult", "bm9uZQ=="), "M_24")),
    (False, Mutant("a status is not base64", CALLRESULT, "GetCertificateStatus", put("ocspResult", "?"), "M_24")),
    (False, Mutant("a status says nothing", CALLRESULT, "GetCertificateStatus", another, "M_24")),
)


@pytest.mark.some(2)
@pytest.mark.parametrize(("revoked", "mutant"), STATUS, ids=lambda each: getattr(each, "name", str(each)))
async def test_a_wrong_status_fails_exactly_the_cases_about_it(
    backend: Start, pki: PkiTree, tmp_path: Path, revoked: bool, mutant: Mutant
) -> None:
    found = await status_cases(backend, pki, tmp_path, Verdict.FAIL, revoked=revoked, mutant=mutant)
    assert found == set(mutant.fails.split())


async def contract_cases(
    backend: Start,
    tree: PkiTree,
    folder: Path,
    version: Version,
    verdict: Verdict,
    config: dict[str, Any],
    mutant: Mutant = NONE,
) -> set[str]:
    """Return which cases end so at a back end that has contracts for the tree's vehicle."""
    declared = msgspec.structs.replace(
        DECLARED,
        contract=CertificateFiles(chain=tree.path("contract/chain.pem"), key=tree.path("contract/leaf.key")),
        v2g_chain=joined(folder, "v2g", tree.path("secc/chain.pem"), tree.path("v2g/root.pem")),
        provisioning=(
            CertificateFiles(chain=tree.path("provisioning/chain.pem"), key=tree.path("provisioning/leaf.key")),
        ),
    )
    async with csms_under_test(backend, version, mutant.change, declared=declared, **config) as tester:
        return await ended(tester, verdict) & {"M_26", "M_28", "M_100"}


def older(tree: PkiTree, folder: Path, pool: ContractPool) -> dict[str, Any]:
    """Return the configuration of a back end with a new contract of ISO 15118-2."""
    new = contract_2(tree)
    pool.add(PCID, new.chain, new.key)
    return {"provisioning": provisioning_2(tree, folder), "trust": trusted(tree)}


def newer(tree: PkiTree, folder: Path, pool: ContractPool) -> dict[str, Any]:
    """Return the configuration of a back end with a contract of ISO 15118-20."""
    own = own_contract(tree)
    pool.add(PCID, own.chain, own.key)
    return {"provisioning": provisioning(tree, folder)}


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
async def test_our_back_end_has_contracts_of_iso_15118_2(
    backend: Start, pki_2: PkiTree, tmp_path: Path, pool: ContractPool, version: Version
) -> None:
    config = older(pki_2, tmp_path, pool)
    assert await contract_cases(backend, pki_2, tmp_path, version, Verdict.PASS, config) == {"M_26", "M_28"}


async def test_our_back_end_has_contracts_of_iso_15118_20(
    backend: Start, pki: PkiTree, tmp_path: Path, pool: ContractPool
) -> None:
    config = newer(pki, tmp_path, pool)
    assert await contract_cases(backend, pki, tmp_path, "2.1", Verdict.PASS, config) == {"M_100"}


CONTRACT = (
    Mutant("contracts are refused", CALLRESULT, "Get15118EVCertificate", "NotSupported", ""),
    Mutant("contracts are not EXI", CALLRESULT, "Get15118EVCertificate", put("exiResponse", "bm9uZQ=="), ""),
    Mutant("contracts are not base64", CALLRESULT, "Get15118EVCertificate", put("exiResponse", "?"), ""),
)


@pytest.mark.some(1)
@pytest.mark.parametrize("mutant", CONTRACT, ids=lambda mutant: mutant.name)
async def test_a_wrong_contract_fails_the_cases_about_it(
    backend: Start, pki: PkiTree, pki_2: PkiTree, tmp_path: Path, pool: ContractPool, mutant: Mutant
) -> None:
    config = older(pki_2, tmp_path, pool)
    found = await contract_cases(backend, pki_2, tmp_path, "2.0.1", Verdict.FAIL, config, mutant)
    assert found == {"M_26", "M_28"}
    config = newer(pki, tmp_path, pool)
    assert await contract_cases(backend, pki, tmp_path, "2.1", Verdict.FAIL, config, mutant) == {"M_100"}
