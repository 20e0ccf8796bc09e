"""What several tests of provisioning use."""

import base64
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from ocpp.v21 import call as call21
from ocpp.v201 import call as call201

from csms.config import Provisioning
from csms.contracts.pool import ContractPool
from pki_tools.tree import PkiTree
from tests.csms.conftest import Start
from tests.csms.station import boot, station
from tests.csms.support import Running
from tests.iso15118.d20.contracts import NOW
from v2g import exi
from v2g.iso15118.d20.installation import SCHEMA_VERSION, InstallationRequest, make_request
from v2g.iso15118.d20.messages.common_messages import CertificateInstallationRes
from v2g.iso15118.d20.messages.common_types import MessageHeader
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.pki.reference import KeyReference

SESSION = bytes(range(1, 9))
VERSIONS = ["ocpp2.0.1", "ocpp2.1"]


@pytest.fixture
def pool(tmp_path: Path) -> ContractPool:
    secret = tmp_path / "pool.secret"
    secret.touch(mode=0o600)
    secret.write_text("a long and random secret\n")
    return ContractPool(tmp_path / "pool", b"a long and random secret")


def provisioning(pki: PkiTree, folder: Path) -> Provisioning:
    return Provisioning(
        pool=KeyReference.from_text("file:pool?pin-source=file:pool.secret", folder),
        chain=pki.path("cps/chain.pem"),
        key=KeyReference.of(pki.path("cps/leaf.key")),
        oem_roots=(pki.path("oem/root.pem"), pki.path("v2g/root.pem")),
    )


@pytest.fixture
async def csms(start: Start, pki: PkiTree, tmp_path: Path, pool: ContractPool) -> AsyncIterator[Running]:
    async with start(provisioning=provisioning(pki, tmp_path)) as found:
        yield found


def asking(pki: PkiTree, **wishes: Any) -> bytes:
    wish = InstallationRequest(**({"roots": pki.anchors("v2g"), "maximum": 3} | wishes))
    header = MessageHeader(session_id=SESSION, time_stamp=int(NOW.timestamp()))
    return exi.encode(make_request(header, pki.chain("provisioning"), pki.key("provisioning"), wish))


async def ask(point: Any, version: str, request: bytes, **change: Any) -> Any:
    schema = change.pop("schema", SCHEMA_VERSION)
    fields: dict[str, Any] = {
        "iso_15118_schema_version" if version == "ocpp2.1" else "iso15118_schema_version": schema,
        "action": "Install",
        "exi_request": base64.b64encode(request).decode(),
    }
    if version == "ocpp2.1":
        fields["maximum_contract_certificate_chains"] = 3
    call = call21 if version == "ocpp2.1" else call201
    return await point.call(call.Get15118EVCertificate(**(fields | change)), suppress=False)


def read(answer: Any) -> CertificateInstallationRes:
    response = exi.decode(base64.b64decode(answer.exi_response), COMMON_MESSAGES)
    assert isinstance(response, CertificateInstallationRes)
    assert response.header.session_id == SESSION
    return response


@contextlib.asynccontextmanager
async def booted(csms: Running, version: str) -> AsyncIterator[Any]:
    async with station(csms, version) as point:
        await boot(point)
        yield point
