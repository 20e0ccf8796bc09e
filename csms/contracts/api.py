"""Contracts of vehicles: the pool that serves Get15118EVCertificate."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated

import msgspec

from csms.accounts.rules import Permission
from csms.contracts.pool import ContractPool, PoolEntry
from csms.contracts.rules import contract_fault
from csms.http.call import Call
from csms.http.operations import Page, Reply, delete, get, post
from csms.http.parameters import Paged, page_of
from csms.http.problems import ApiError, conflict, missing
from csms.tokens import store as tokens
from csms.tokens.rules import CONTRACT, normalise
from csms.trust.certificate_status import CertificateStatus
from v2g.errors import KeyAccessError
from v2g.pki.certificates import chain_from_pem
from v2g.pki.keys import parse_private_key


class PooledContract(msgspec.Struct, frozen=True, kw_only=True):
    """A contract in the pool, for the vehicle with this provisioning id. `problem`: why it cannot be issued now."""

    pcid: str
    emaid: str
    until_ms: int | None
    problem: str


class NewContract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A contract for the vehicle with this PCID (CN of its provisioning certificate).

    `chain`: PEM of the contract certificate, its sub-CAs after it. `key`: PEM of its private key (PKCS#8), with
    `passphrase` where it is encrypted.
    """

    pcid: Annotated[str, msgspec.Meta(min_length=1, max_length=30)]
    chain: Annotated[str, msgspec.Meta(min_length=1, max_length=40_000)]
    key: Annotated[str, msgspec.Meta(min_length=1, max_length=10_000)]
    passphrase: Annotated[str, msgspec.Meta(max_length=1000)] | None = None


class AddedContract(msgspec.Struct, frozen=True, kw_only=True):
    """A contract in the pool. `has_token`: whether its EMAID is among the tokens; without one it cannot charge."""

    contract: PooledContract
    has_token: bool


Pcid = Annotated[str, msgspec.Meta(min_length=1, max_length=20)]
Emaid = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9]{1,20}\Z")]


@get("/contracts", Permission.READ_CERTIFICATES, problems=(409,))
async def list_contracts(call: Call, parameters: Paged) -> Page[PooledContract]:
    """List the contracts in the pool."""
    found = sorted(await asyncio.to_thread(_entries, _pool(call), _fault_of(call)), key=_key)
    return page_of(call, found, parameters, _key)


@post(
    "/contracts",
    Permission.WRITE_CERTIFICATES,
    status=201,
    confidential=True,
    problems=(409,),
    example={
        "pcid": "WMIV2GENGINE0001XX",
        "chain": "-----BEGIN CERTIFICATE-----",
        "key": "-----BEGIN PRIVATE KEY-----",
    },
)
async def add_contract(call: Call, body: NewContract) -> Reply[AddedContract]:
    """Add a contract to the pool; its vehicle can fetch it at once. The key is stored encrypted and never shown."""
    pool, interop = _pool(call), call.services.config.trust.profile == "interop"
    passphrase = None if body.passphrase is None else body.passphrase.encode()
    try:
        chain, key = chain_from_pem(body.chain.encode()), parse_private_key(body.key.encode(), passphrase)
        entry = await asyncio.to_thread(pool.add, body.pcid, chain, key, interop=interop)
    except KeyAccessError as error:
        raise ApiError(400, str(error), error.hint or "PKCS#8 PEM, of the contract certificate") from None
    token = await call.run(tokens.find, CONTRACT, normalise(CONTRACT, entry.emaid))
    shown = _shown(msgspec.structs.replace(entry, problem=_fault_of(call)(chain)))
    added = AddedContract(contract=shown, has_token=token is not None)
    location = f"/contracts/{entry.pcid}/{entry.emaid}"
    return Reply(content=added, status=201, headers={"Location": location})


@delete("/contracts/{pcid}/{emaid}", Permission.WRITE_CERTIFICATES, problems=(404,))
async def remove_contract(call: Call, pcid: Pcid, emaid: Emaid) -> None:
    """Remove a contract from the pool. Vehicles keep contracts already issued; block the token to stop them."""
    try:
        removed = await asyncio.to_thread(_pool(call).remove, pcid, emaid)
    except OSError as error:
        raise ApiError(503, f"contract pool: {error.strerror}") from None
    if not removed:
        raise missing("contract")


def _key(contract: PooledContract) -> str:
    return f"{contract.pcid}/{contract.emaid}"


def _pool(call: Call) -> ContractPool:
    if call.services.config.provisioning is None:
        raise conflict("contract provisioning is not configured", "set [provisioning]", code="not_configured")
    from csms.contracts.provisioning import Provisioner  # on demand: imports messages of ISO 15118

    return call.services[Provisioner].pool


def _fault_of(call: Call) -> Callable[[Sequence[bytes]], str]:
    anchors, at = call.services[CertificateStatus].anchors, call.services.clock.now()
    return lambda chain: contract_fault(chain, anchors, at)


def _entries(pool: ContractPool, fault_of: Callable[[Sequence[bytes]], str]) -> tuple[PooledContract, ...]:
    return tuple(_shown(each) for each in pool.entries(fault_of))


def _shown(entry: PoolEntry) -> PooledContract:
    until = entry.not_after
    return PooledContract(
        pcid=entry.pcid,
        emaid=entry.emaid,
        until_ms=None if until is None else int(until.timestamp() * 1000),
        problem=entry.problem,
    )
