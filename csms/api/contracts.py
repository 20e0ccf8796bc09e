"""Contracts of vehicles: the pool from which they are given to those that ask (Get15118EVCertificate)."""

import asyncio
from typing import Annotated

import msgspec

from csms.api.call import Call
from csms.api.operations import delete, get
from csms.api.problems import ApiError, conflict, missing
from csms.core.access import Permission
from csms.pool import ContractPool


class PooledContract(msgspec.Struct, frozen=True, kw_only=True):
    """A contract in the pool, for the vehicle with this provisioning id. `problem`: why it cannot be given."""

    pcid: str
    emaid: str
    until_ms: int | None
    problem: str


class OneContract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which contract."""

    pcid: Annotated[str, msgspec.Meta(min_length=1, max_length=20)]
    emaid: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9]{1,20}$")]


@get("/contracts", Permission.READ_CERTIFICATES, problems=(409,))
async def list_contracts(call: Call) -> tuple[PooledContract, ...]:
    """List the contracts in the pool."""
    return await asyncio.to_thread(_entries, _pool(call))


@delete("/contracts/{pcid}/{emaid}", Permission.WRITE_CERTIFICATES, problems=(404,))
async def remove_contract(call: Call, parameters: OneContract) -> None:
    """Take a contract out of the pool. Vehicles keep what they were given; a token that is blocked stops them."""
    try:
        removed = await asyncio.to_thread(_pool(call).remove, parameters.pcid, parameters.emaid)
    except OSError as error:
        raise ApiError(503, f"the pool: {error.strerror}") from None
    if not removed:
        raise missing("contract")


def _pool(call: Call) -> ContractPool:
    provisioning = call.services.provisioning
    if provisioning is None:
        raise conflict("no contracts are given here", "see [provisioning]", code="not_configured")
    return provisioning.pool


def _entries(pool: ContractPool) -> tuple[PooledContract, ...]:
    return tuple(
        PooledContract(
            pcid=each.pcid,
            emaid=each.emaid,
            until_ms=None if each.not_after is None else int(each.not_after.timestamp() * 1000),
            problem=each.problem,
        )
        for each in pool.entries()
    )


OPERATIONS = (list_contracts, remove_contract)
