"""Contracts that reach vehicles from pools outside, and what a pool may answer instead of one (R217)."""

import asyncio
import base64
import contextlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web

from csms.config import OutsidePool
from csms.contracts.pool import ContractPool
from evcc.session import ports as ev
from pki_tools.tree import PkiTree, make_pki
from secc.session import ports as se
from tests.csms.conftest import Start
from tests.csms.trust.provisioning import VERSIONS, ask, asking, booted, pool, provisioning
from tests.csms.trust.provisioning import read as read_20
from tests.csms.trust.provisioning_2 import trusted
from tests.io.tls.support import pki_2
from tests.iso15118.d2.contracts import installation, update
from tests.iso15118.d20.contracts import NOW, PCID, new_contract
from tests.pki_tools.pool_lab import PoolLab
from tests.sessions.joined_messages import ContractJoined
from tests.web_server import server_tls, serving
from v2g import exi
from v2g.iso15118.d2.provisioning import SCHEMA_VERSION as SCHEMA_2
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.engine.contracts import Service
from v2g.iso15118.foreign_contracts import (
    NAMESPACES,
    ForeignRequest,
    addressed,
    no_contract,
    read_contract_request,
    sealed,
    signed,
)
from v2g.pki.certificates import load_certificate
from v2g.pki.pools import MOST_ANSWER_BYTES, PoolContract, write_contracts
from v2g.pki.profile import Generation
from v2g_station.blocks.security.certificates import ContractAnswer

__all__ = ["pki_2", "pool"]

OLD, NEW = Generation.ISO15118_2, Generation.ISO15118_20
EMAIDS = ("DEV2GC00000011", "DEV2GC00000012")


def copied(tree: PkiTree, folder: Path) -> PkiTree:
    return PkiTree(Path(shutil.copytree(tree.directory, folder / "tree", symlinks=True)))


@pytest_asyncio.fixture
async def lab(pki: PkiTree, tmp_path: Path) -> AsyncIterator[PoolLab]:
    found = PoolLab(copied(pki, tmp_path), tmp_path)
    await found.start()
    yield found
    await found.stop()


@pytest_asyncio.fixture
async def lab_2(pki_2: PkiTree, tmp_path: Path) -> AsyncIterator[PoolLab]:
    found = PoolLab(copied(pki_2, tmp_path), tmp_path)
    await found.start()
    yield found
    await found.stop()


def outside(lab: PoolLab, shape: str = "opcp", **more: Any) -> dict[str, Any]:
    return {"outside_pools": (OutsidePool(server=lab.server(shape), **more),), "trust": proven(lab.tree)}


def proven(tree: PkiTree, **changes: Any) -> dict[str, Any]:
    trust = trusted(tree)
    return trust | {"crls": (*trust["crls"], tree.path("cps/sub2.crl"))} | changes


@pytest.mark.requirement("R217")
@pytest.mark.parametrize(("version", "shape"), [(VERSIONS[0], "opcp"), (VERSIONS[1], "opnc")])
async def test_a_vehicle_of_2_charges_with_a_contract_from_a_pool_outside(
    start: Start, lab_2: PoolLab, version: str, shape: str
) -> None:
    """The independent package carries what our charger forwards; the back end has no provisioning of its own."""
    await lab_2.fill(EMAIDS[0], generation=OLD)
    joined = ContractJoined("2-dc", lab_2.tree, keeps=False)
    joined.answers = False
    joined.run(lambda: bool(commands(joined)))
    (command,) = commands(joined)
    async with start(**outside(lab_2, shape)) as csms, booted(csms, version) as point:
        answer = await ask(point, version, command.request.exi, schema=command.request.schema, action="Install")
        (event,) = csms.events("pool_asked")
    assert answer.status == "Accepted"
    assert (event["emaid"], event["problem"]) == (EMAIDS[0], "")
    found = ContractAnswer("answered", base64.b64decode(answer.exi_response))
    joined.secc.fact(se.ContractAnswered(command.attempt, found), joined.now, joined.utc_ms)
    joined.settle()
    joined.complete()
    (stored,) = [each for each in joined.evcc_actions if isinstance(each, ev.StoreContract)]
    assert stored.emaid == EMAIDS[0]
    assert joined.imported_mwh() >= 100_000


def commands(joined: ContractJoined) -> list[se.RequestContract]:
    return [each for each in joined.secc_actions if isinstance(each, se.RequestContract)]


@pytest.mark.parametrize("shape", ["opcp", "opnc"])
async def test_a_vehicle_of_20_gets_its_contracts_one_by_one_the_preferred_one_first(
    start: Start, lab: PoolLab, shape: str
) -> None:
    await lab.fill(*EMAIDS)
    request = asking(lab.tree, emaids=(EMAIDS[1],))
    async with start(**outside(lab, shape)) as csms, booted(csms, "ocpp2.1") as point:
        answers = [await ask(point, "ocpp2.1", request) for _ in range(2)]
        one = await ask(point, "ocpp2.1", asking(lab.tree, maximum=1))
        assert [each["emaid"] for each in csms.events("pool_asked")] == [EMAIDS[1], EMAIDS[0], EMAIDS[0]]
    assert [each.remaining_contracts for each in (*answers, one)] == [1, 0, 0]
    assert [read_20(each).remaining_contract_certificate_chains for each in (*answers, one)] == [1, 0, 0]


async def test_a_station_of_1_6_asks_the_pool_by_data_transfer(start: Start, lab_2: PoolLab) -> None:
    """`data` is the text of the 2.0.1 message; an object in its place is refused, not a failure."""
    await lab_2.fill(EMAIDS[0], generation=OLD)
    inner = {
        "iso15118SchemaVersion": SCHEMA_2,
        "action": "Install",
        "exiRequest": base64.b64encode(installation(lab_2.tree)).decode(),
    }
    async with start(**outside(lab_2)) as csms, csms.connect(versions=("ocpp1.6",)) as websocket:

        async def call(action: str, payload: dict[str, Any]) -> Any:
            await websocket.send(json.dumps([2, "7", action, payload]))
            while True:
                message = json.loads(await websocket.recv())
                if message[0] != 2 and message[1] == "7":
                    return message

        await call("BootNotification", {"chargePointModel": "M", "chargePointVendor": "V"})
        about = {"vendorId": "org.openchargealliance.iso15118pnc", "messageId": "Get15118EVCertificate"}
        kind, _, answer = await call("DataTransfer", {**about, "data": json.dumps(inner)})
        assert (kind, answer["status"]) == (3, "Accepted")
        content = json.loads(answer["data"])
        assert content["status"] == "Accepted"
        message: Any = exi.decode(base64.b64decode(content["exiResponse"]), ISO2)
        assert message.body.body_element.emaid.value == EMAIDS[0]
        refused = await call("DataTransfer", {**about, "data": json.dumps(inner)[:-1]})
        assert refused[0] == 4 or refused[2]["status"] == "Rejected"
        unknown = await call("DataTransfer", {**about, "messageId": "Nothing", "data": "{}"})
        assert unknown[2]["status"] == "UnknownMessageId"


@pytest.mark.parametrize(
    ("own", "options", "emaid"),
    [
        ((), {}, EMAIDS[0]),
        ((EMAIDS[1],), {}, EMAIDS[1]),
        ((EMAIDS[1],), {"before_own": True}, EMAIDS[0]),
        ((EMAIDS[1],), {"before_own": True, "vehicles": ("WVW*",)}, EMAIDS[1]),
        ((), {"vehicles": ("WMI*",)}, EMAIDS[0]),
        ((), {"vehicles": ("WVW*",)}, ""),
        ((), {"editions": ("iso15118-2",)}, ""),
    ],
)
async def test_own_and_outside_pools_are_asked_as_configured(
    start: Start, lab: PoolLab, tmp_path: Path, pool: ContractPool, own: Any, options: Any, emaid: str
) -> None:
    await lab.fill(EMAIDS[0])
    for each in own:
        contract = new_contract(lab.tree, each)
        pool.add(PCID, contract.chain, contract.key)
    config = {"provisioning": provisioning(lab.tree, tmp_path), **outside(lab, **options)}
    async with start(**config) as csms, booted(csms, "ocpp2.1") as point:
        answer = await ask(point, "ocpp2.1", asking(lab.tree))
    assert answer.status == ("Accepted" if emaid else "Failed")
    code = read_20(answer).response_code.name
    assert code == ("OK" if emaid else "WARNING_NoContractMatchingPCIDFound")
    found = [each["emaid"] for each in (*csms.events("answered"), *csms.events("pool_asked")) if each["emaid"]]
    assert found == ([emaid] if emaid else [])


async def test_a_vehicle_without_contract_is_told_so(start: Start, lab_2: PoolLab) -> None:
    """By the failed code of its edition, not by a time-out; an update has no way to a pool."""
    async with start(**outside(lab_2)) as csms, booted(csms, "ocpp2.1") as point:
        answer = await ask(point, "ocpp2.1", installation(lab_2.tree), schema=SCHEMA_2)
        message: Any = exi.decode(base64.b64decode(answer.exi_response), ISO2)
        assert message.body.body_element.response_code.name == "FAILED_NoCertificateAvailable"
        assert (answer.status, answer.status_info["reason_code"]) == ("Failed", "NoContract")
        for request in (update(lab_2.tree), b"rubbish", b""):
            answer = await ask(point, "ocpp2.1", request, schema=SCHEMA_2, action="Update")
            assert (answer.status, answer.status_info["reason_code"]) == ("Failed", "InvalidExi")


# -- hostile pools

Answer = Callable[["Pool"], Awaitable[web.StreamResponse]]


class Pool:
    """A pool whose answer a test chooses."""

    def __init__(self, tree: PkiTree, request: bytes) -> None:
        self.tree, self.request, self.port = tree, request, 0
        self.answer: Answer = Pool.nothing
        self.token_status = 200
        self.token_hangs = False
        self.asked = self.tokens = 0
        self.problem = ""
        self.over = asyncio.Event()

    async def nothing(self) -> web.StreamResponse:
        return web.json_response({}, status=404)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/oauth/token":
            self.tokens += 1
            if self.token_hangs:
                await self.over.wait()
            return web.json_response({"access_token": "t"}, status=self.token_status)
        self.asked += 1
        return await self.answer(self)

    def contract(
        self, tree: PkiTree | None = None, cps: PkiTree | None = None, emaid: str = EMAIDS[0], **how: Any
    ) -> bytes:
        """A response for the request, with changes of the contract or its service."""
        made = new_contract(tree or self.tree, emaid, **how)
        service = Service((cps or self.tree).chain("cps"), (cps or self.tree).key("cps"))
        vehicle = self.tree.chain("provisioning")[0]
        response = signed(sealed(made, vehicle, NEW, os.urandom), service, 0)
        return addressed(response, read_contract_request(self.request, NAMESPACES[NEW]), 0, 0)

    def says(self, response: bytes, emaid: str = EMAIDS[0], status: int = 200) -> web.Response:
        told = write_contracts([PoolContract(emaid=emaid, response=response)], PCID, NAMESPACES[NEW], "opcp")
        return web.json_response(told, status=status)


@pytest_asyncio.fixture
async def hostile(pki: PkiTree) -> AsyncIterator[Pool]:
    found = Pool(pki, asking(pki))
    async with serving(found.serve, server_tls(pki)) as found.port:
        yield found
        found.over.set()


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> PkiTree:
    """Another ecosystem, with names that are the same."""
    return make_pki(tmp_path_factory.mktemp("other"), now=datetime.now(UTC))


def answers(make: Callable[[Pool], web.StreamResponse]) -> Answer:
    async def answer(pool: Pool) -> web.StreamResponse:
        return make(pool)

    return answer


def raw(body: bytes, status: int = 200, **headers: str) -> Answer:
    return answers(lambda _: web.Response(body=body, status=status, headers=headers))


async def hangs(pool: Pool) -> web.StreamResponse:
    await pool.over.wait()
    return web.Response()


def changed(pool: Pool, **fields: Any) -> bytes:
    """A contract whose signed content was changed afterwards."""
    message: Any = exi.decode(pool.contract(), COMMON_MESSAGES)
    data = msgspec.structs.replace(message.signed_installation_data, **fields)
    return exi.encode(msgspec.structs.replace(message, signed_installation_data=data))


def of_session(pool: Pool, session: bytes) -> bytes:
    message: Any = exi.decode(pool.contract(), COMMON_MESSAGES)
    return exi.encode(
        msgspec.structs.replace(message, header=msgspec.structs.replace(message.header, session_id=session))
    )


def with_service(pool: Pool, leaf: str) -> bytes:
    """A contract signed by the holder of another certificate of the ecosystem."""
    service = Service(pool.tree.chain(leaf), pool.tree.key(leaf))
    contract = sealed(new_contract(pool.tree, EMAIDS[0]), pool.tree.chain("provisioning")[0], NEW, os.urandom)
    asked = read_contract_request(pool.request, NAMESPACES[NEW])
    return addressed(signed(contract, service, 0), asked, 0, 0)


DAY = timedelta(days=1)
HOSTILE: dict[str, tuple[Any, str]] = {
    "no contract": (Pool.nothing, "no contract"),
    "a page": (raw(b"<html><script>alert(1)</script></html>"), "not an answer of a pool"),
    "nothing": (raw(b""), "not an answer of a pool"),
    "half": (raw(b'{"CCPResponse":{"emaidContent":['), "not an answer of a pool"),
    "other fields": (raw(b'{"CCPResponse":{"emaidContent":[{"messageDef":{"emaid":1}}]}}'), "not an answer of a pool"),
    "deep": (raw(b"[" * 100_000), "not an answer of a pool"),
    "huge": (raw(b"A" * (MOST_ANSWER_BYTES + 1)), "longer than"),
    "no base64": (
        raw(b'{"CCPResponse":{"emaidContent":[{"messageDef":{"certificateInstallationRes":"%%%"}}]}}'),
        "base64",
    ),
    "many": (answers(lambda pool: _many(pool)), "65 contracts"),
    "no EXI": (answers(lambda pool: pool.says(b"\xff" * 99)), "EXI"),
    "empty EXI": (answers(lambda pool: pool.says(b"")), "EXI"),
    "another message": (answers(lambda pool: pool.says(pool.request)), "no CertificateInstallationRes"),
    "another edition": (answers(lambda pool: pool.says(no_contract(_asked_2(pool), 0))), "SessionStopRes/Header"),
    "a refusal": (
        answers(lambda pool: pool.says(no_contract(read_contract_request(pool.request, NAMESPACES[NEW]), 0))),
        "no_contract: the response is WARNING_NoContractMatchingPCIDFound",
    ),
    "replayed": (answers(lambda pool: pool.says(of_session(pool, bytes(8)))), "session: the response is of another"),
    "another EMAID": (answers(lambda pool: pool.says(pool.contract(), EMAIDS[1])), "wrong_subject"),
    "expired": (
        answers(lambda pool: pool.says(pool.contract(not_before=NOW - 9 * DAY, not_after=NOW - DAY))),
        "expired",
    ),
    "not yet valid": (
        answers(lambda pool: pool.says(pool.contract(not_before=NOW + DAY, not_after=NOW + 9 * DAY))),
        "not_yet_valid",
    ),
    "changed key": (
        answers(lambda pool: pool.says(changed(pool, dh_public_key=bytes(133)))),
        "the hash of SignedInstallationData does not match",
    ),
    "signed by a charger": (answers(lambda pool: pool.says(with_service(pool, "secc"))), "wrong_domain"),
    "signed by a contract": (answers(lambda pool: pool.says(with_service(pool, "contract"))), "wrong_"),
    "401": (raw(b"", 401), "refused"),
    "403": (raw(b"\x1b[31mno\x07", 403), "HTTP status 403: "),
    "500": (raw(b"", 500), "HTTP status 500"),
    "503": (raw(b"", 503), "HTTP status 503"),
    "redirect": (raw(b"", 302, Location="https://elsewhere.invalid/"), "HTTP status 302"),
    "202": (raw(b"", 202), "not an answer"),
    "slow": (hangs, "no answer in"),
}


def _many(pool: Pool) -> web.Response:
    told = [PoolContract(emaid=EMAIDS[0], response=b"x")] * 65
    return web.json_response(write_contracts(told, PCID, NAMESPACES[NEW], "opcp"))


def _asked_2(pool: Pool) -> ForeignRequest:
    return ForeignRequest(generation=OLD, session_id=bytes(8), pcid=PCID)


@pytest.mark.some(6)
@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_pool_is_refused_with_the_reason_and_the_vehicle_is_answered(
    start: Start, hostile: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    hostile.answer, reason = HOSTILE[name]
    if name == "slow":
        monkeypatch.setattr("csms.contracts.outside.PATIENCE_S", 0.3)
    code = "NoContractMatchingPCIDFound" if name == "no contract" else "NoCertificateAvailable"  # it may ask again
    assert await verdict(start, hostile, tmp_path) == f"Failed WARNING_{code}"
    assert reason in hostile.problem


async def verdict(start: Start, hostile: Pool, folder: Path, **options: Any) -> str:
    """What the vehicle gets; `problem` becomes what the operator reads."""
    lab = PoolLab(hostile.tree, folder)
    lab.port = hostile.port
    config = outside(lab) | options
    async with start(**config) as csms, booted(csms, "ocpp2.1") as point:
        answer = await ask(point, "ocpp2.1", hostile.request)
        hostile.problem = " ".join(str(each["problem"]) for each in csms.events("pool_asked"))
    assert hostile.problem.isprintable()
    return f"{answer.status} {read_20(answer).response_code.name}"


@pytest.mark.parametrize("which", ["tree", "cps"])
async def test_contracts_of_another_ecosystem_are_refused(
    start: Start, hostile: Pool, other: PkiTree, tmp_path: Path, which: str
) -> None:
    """Its names are the same: only signatures tell."""
    hostile.answer = answers(lambda pool: pool.says(pool.contract(**{which: other})))
    assert (await verdict(start, hostile, tmp_path)).startswith("Failed")
    assert "unknown_root" in hostile.problem or "bad_signature" in hostile.problem


async def test_a_good_contract_is_found_among_bad_ones(start: Start, hostile: Pool, tmp_path: Path) -> None:
    def mixed(pool: Pool) -> web.Response:
        responses = (b"rubbish", of_session(pool, bytes(8)), pool.contract(emaid=EMAIDS[1]))
        told = [PoolContract(emaid="", response=each) for each in responses]
        return web.json_response(write_contracts(told, PCID, NAMESPACES[NEW], "opcp"))

    hostile.answer = answers(mixed)
    assert await verdict(start, hostile, tmp_path) == "Accepted OK"


async def test_no_secret_reaches_a_server_that_is_not_the_pool(
    start: Start, hostile: Pool, other: PkiTree, tmp_path: Path
) -> None:
    lab = PoolLab(hostile.tree, tmp_path)
    lab.port = hostile.port
    server = msgspec.structs.replace(lab.server(), root=other.path("csms/root.pem"))
    await verdict(start, hostile, tmp_path, outside_pools=(OutsidePool(server=server),))
    assert "certificate" in hostile.problem.lower()
    assert (hostile.asked, hostile.tokens) == (0, 0)


async def test_a_pool_without_token_is_not_asked(start: Start, hostile: Pool, tmp_path: Path) -> None:
    hostile.token_status = 401
    await verdict(start, hostile, tmp_path)
    assert "gives no token" in hostile.problem
    assert hostile.asked == 0


@pytest.mark.parametrize("hangs_at", ["token", "status"])
async def test_no_part_of_the_way_makes_a_vehicle_wait_longer(
    start: Start, hostile: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hangs_at: str
) -> None:
    """Neither the token nor a responder that is asked about the contract."""
    monkeypatch.setattr("csms.contracts.outside.PATIENCE_S", 0.3)
    hostile.answer, hostile.token_hangs = answers(lambda pool: pool.says(pool.contract())), hangs_at == "token"
    trust = proven(hostile.tree)

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            await hostile.over.wait()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        if hangs_at == "status":
            trust["ocsp_responder"] = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        assert (await verdict(start, hostile, tmp_path, trust=trust)).startswith("Failed")
        hostile.over.set()
    assert hostile.problem == "no answer in 0.3 s"


def _serial(chain: tuple[bytes, ...], place: int) -> str:
    return f"{load_certificate(chain[place]).serial_number:x}"


@pytest.mark.parametrize(("chain", "place"), [("cps", 0), ("cps", 1), ("contract", 1)])
async def test_a_contract_is_refused_if_anything_above_it_or_its_service_is_revoked(
    start: Start, hostile: Pool, tmp_path: Path, chain: str, place: int
) -> None:
    hostile.answer = answers(lambda pool: pool.says(pool.contract()))
    revoked = proven(hostile.tree, revoked=(_serial(hostile.tree.chain(chain), place),))
    assert (await verdict(start, hostile, tmp_path, trust=revoked)).startswith("Failed")
    assert hostile.problem.startswith("revoked: ")


async def test_status_that_nobody_knows_counts_as_configured(start: Start, hostile: Pool, tmp_path: Path) -> None:
    hostile.answer = answers(lambda pool: pool.says(pool.contract()))
    unknown = proven(hostile.tree, crls=())
    assert (await verdict(start, hostile, tmp_path, trust=unknown)).startswith("Failed")
    assert hostile.problem.startswith("missing: ")
    tolerant = unknown | {"revocation_unknown": "accept"}
    assert await verdict(start, hostile, tmp_path, trust=tolerant) == "Accepted OK"
