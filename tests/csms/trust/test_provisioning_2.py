"""Contracts of ISO 15118-2 from the back end: vehicle, charger and back end joined over OCPP (M01, M02)."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from csms.config import Provisioning2
from csms.contracts.pool import ContractPool
from evcc.session import ports as ev
from evcc.session.contracts import Contract
from pki_tools.tree import PkiTree
from secc.session import ports as se
from tests.csms.conftest import Start
from tests.csms.support import Running
from tests.csms.trust.provisioning import VERSIONS, ask, asking, booted, pool
from tests.csms.trust.provisioning import read as read_20
from tests.csms.trust.provisioning_2 import provisioning_2, trusted
from tests.io.tls.support import pki_2
from tests.iso15118.d2.contracts import contract_2, installation, update
from tests.iso15118.d20.contracts import PCID, own_contract
from tests.sessions.joined_messages import ContractJoined
from v2g import exi
from v2g.iso15118.d2.provisioning import SCHEMA_VERSION
from v2g.iso15118.d2.schemas import ISO2
from v2g.pki.certificates import load_certificate
from v2g.pki.keys import SoftwareKey
from v2g.pki.reference import KeyReference
from v2g_station.blocks.security.certificates import ContractAnswer

__all__ = ["pki_2", "pool"]


@pytest.fixture
async def csms(start: Start, pki_2: PkiTree, tmp_path: Path, pool: ContractPool) -> AsyncIterator[Running]:
    async with start(provisioning=provisioning_2(pki_2, tmp_path), trust=trusted(pki_2)) as found:
        yield found


def code(answer: Any) -> str:
    message: Any = exi.decode(base64.b64decode(answer.exi_response), ISO2)
    return str(message.body.body_element.response_code.name)


@pytest.mark.some(1)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["installation", "update"])
async def test_a_vehicle_charges_with_the_contract_that_the_back_end_gave_it(
    csms: Running, pki_2: PkiTree, pool: ContractPool, version: str, kind: str
) -> None:
    """TC_M_26_CSMS, TC_M_28_CSMS. The independent package carries what our charger forwards, and the answer back."""
    old, new = contract_2(pki_2, days=1 / 12, start=1), contract_2(pki_2)
    for contract in (old, new) if kind == "update" else (new,):
        pool.add(PCID, contract.chain, contract.key)
    own = {"contract": Contract(old.chain, SoftwareKey(old.key))} if kind == "update" else {"keeps": False}
    joined = ContractJoined("2-dc", pki_2, **own)
    joined.answers = False
    joined.run(lambda: bool(commands(joined)))
    (command,) = commands(joined)
    assert command.request.schema == SCHEMA_VERSION
    async with booted(csms, version) as point:
        action = "Update" if command.request.update else "Install"
        answer = await ask(point, version, command.request.exi, schema=command.request.schema, action=action)
    assert answer.status == "Accepted"
    found = ContractAnswer("answered", base64.b64decode(answer.exi_response))
    installed = se.ContractAnswered(command.attempt, found)
    joined.secc.fact(installed, joined.now, joined.utc_ms)
    joined.settle()
    joined.complete()
    (stored,) = [each for each in joined.evcc_actions if isinstance(each, ev.StoreContract)]
    assert stored.chain == new.chain
    assert joined.imported_mwh() >= 100_000
    (event,) = csms.events("answered")
    assert (event["emaid"], event["code"]) == ("DEV2GC00000001", "OK")


def commands(joined: ContractJoined) -> list[se.RequestContract]:
    return [each for each in joined.secc_actions if isinstance(each, se.RequestContract)]


async def test_one_service_serves_both_editions(
    start: Start, pki: PkiTree, pki_2: PkiTree, tmp_path: Path, pool: ContractPool
) -> None:
    """Each vehicle gets the contract of its own edition, from one pool."""
    for tree in (pki, pki_2):
        contract = own_contract(tree)
        pool.add(PCID, contract.chain, contract.key)
    config = provisioning_2(
        pki_2,
        tmp_path,
        chain=pki.path("cps/chain.pem"),
        key=KeyReference.of(pki.path("cps/leaf.key")),
        oem_roots=(pki.path("oem/root.pem"), pki_2.path("oem/root.pem")),
        iso15118_2=Provisioning2(chain=pki_2.path("cps/chain.pem"), key=KeyReference.of(pki_2.path("cps/leaf.key"))),
    )
    async with (
        start(provisioning=config, trust=trusted(pki, pki_2)) as csms,
        booted(csms, "ocpp2.1") as point,
    ):
        of_20 = read_20(await ask(point, "ocpp2.1", asking(pki)))
        answer = await ask(point, "ocpp2.1", installation(pki_2), schema=SCHEMA_VERSION)
    chain = of_20.signed_installation_data.contract_certificate_chain
    assert chain.certificate == pki.chain("contract")[0]
    of_2: Any = exi.decode(base64.b64decode(answer.exi_response), ISO2)
    assert of_2.body.body_element.contract_signature_cert_chain.certificate == pki_2.chain("contract")[0]


@pytest.mark.parametrize("request_of", [installation, update])
async def test_a_revoked_certificate_gets_nothing(
    start: Start, pki_2: PkiTree, tmp_path: Path, pool: ContractPool, request_of: Any
) -> None:
    new = contract_2(pki_2)
    pool.add(PCID, new.chain, new.key)
    leaves = (load_certificate(pki_2.chain(name)[0]) for name in ("provisioning", "contract"))
    trust = {**trusted(pki_2), "revoked": tuple(f"{each.serial_number:x}" for each in leaves)}
    async with (
        start(provisioning=provisioning_2(pki_2, tmp_path), trust=trust) as csms,
        booted(csms, "ocpp2.1") as point,
    ):
        answer = await ask(point, "ocpp2.1", request_of(pki_2), schema=SCHEMA_VERSION)
    assert (answer.status, code(answer)) == ("Failed", "FAILED_CertificateRevoked")


async def test_an_update_finds_its_vehicle_by_certificate(csms: Running, pki_2: PkiTree, pool: ContractPool) -> None:
    """A contract of two vehicles: without the certificate that is replaced it is not known which of them asks."""
    new, other, own = contract_2(pki_2), contract_2(pki_2, days=2000, start=3), own_contract(pki_2)
    pool.add(PCID, new.chain, new.key)
    codes = []
    async with booted(csms, "ocpp2.1") as point:
        for change in (
            lambda: None,
            lambda: pool.add("WMIV2GENGINE00002X", other.chain, other.key),
            lambda: pool.add(PCID, own.chain, own.key),
        ):
            change()
            answer = await ask(point, "ocpp2.1", update(pki_2), schema=SCHEMA_VERSION)
            codes.append(code(answer))
    assert codes == ["OK", "FAILED_NoCertificateAvailable", "OK"]
    of_2: Any = exi.decode(base64.b64decode(answer.exi_response), ISO2)
    assert of_2.body.body_element.contract_signature_cert_chain.certificate == new.chain[0]
