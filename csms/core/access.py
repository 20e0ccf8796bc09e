"""Who may do what over HTTP, as one table. What it does not allow is denied."""

import enum
import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

import msgspec


class Role(enum.Enum):
    """What a client of the HTTP API is."""

    ADMIN = "admin"  # everything
    GRID_OPERATOR = "grid_operator"  # sets and reads the grid signal
    VIEWER = "viewer"  # reads stations, transactions, settlements and the grid signal
    GATEWAY = "gateway"  # delivers its vehicles' telemetry


class Operation(enum.Enum):
    """What may be asked over HTTP. `HEALTH` needs no role: load balancers have none."""

    HEALTH = "health"
    READ_STATIONS = "read_stations"
    READ_TRANSACTIONS = "read_transactions"
    READ_SETTLEMENTS = "read_settlements"
    READ_GRID = "read_grid"
    WRITE_GRID = "write_grid"
    WRITE_TELEMETRY = "write_telemetry"
    READ_TELEMETRY = "read_telemetry"


ALLOWED: Final[dict[Role, frozenset[Operation]]] = {
    Role.ADMIN: frozenset(Operation),
    Role.GRID_OPERATOR: frozenset({Operation.READ_GRID, Operation.WRITE_GRID}),
    Role.VIEWER: frozenset(
        {Operation.READ_STATIONS, Operation.READ_TRANSACTIONS, Operation.READ_SETTLEMENTS, Operation.READ_GRID}
    ),
    Role.GATEWAY: frozenset({Operation.WRITE_TELEMETRY, Operation.READ_TELEMETRY}),
}


class Principal(msgspec.Struct, frozen=True):
    """Somebody who proved who they are. `evs` limits whose telemetry they may handle; `*` is everybody's."""

    name: str
    role: Role
    evs: tuple[str, ...] = ("*",)


def allowed(principal: Principal | None, operation: Operation) -> bool:
    """Say whether `principal` (None: nobody in particular) may do `operation`."""
    if operation is Operation.HEALTH:
        return True
    return principal is not None and operation in ALLOWED[principal.role]


def may_handle(principal: Principal, ev: str) -> bool:
    """Say whether telemetry of `ev` is this principal's business."""
    return "*" in principal.evs or ev in principal.evs


def find_bearer(header: str, known: Iterable[tuple[str, Role, str]]) -> Principal | None:
    """Return whose token an Authorization header carries. `known`: (name, role, SHA-256 of the token in hex).

    Every known hash is compared, in constant time, so that the answer's delay tells nothing.
    """
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token:
        return None
    # octets that are no UTF-8 come as lone surrogates
    digest = hashlib.sha256(token.strip().encode(errors="surrogateescape")).hexdigest()
    found: Principal | None = None
    for name, role, expected in known:
        if hmac.compare_digest(digest, expected):
            found = Principal(name, role)
    return found


def find_certificate(common_name: str, known: Iterable[tuple[str, Role, tuple[str, ...]]]) -> Principal | None:
    """Return who presented a client certificate of this common name. `known`: (common name, role, evs)."""
    for name, role, evs in known:
        if name == common_name:
            return Principal(name, role, evs or (name,))
    return None
