"""Who may use the API and the console: permissions, roles, passwords, second factors, how long a session lasts."""

import enum
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from csms.sites.rules import Site
from v2g.errors import RefusedError
from v2g.telemetry.signals import EV_PATTERN


class Permission(enum.Enum):
    """A permission of the HTTP API.

    `PUBLIC` needs no role: for load balancers and readers of the API description. `READ_SELF` comes with any role.
    """

    PUBLIC = "public"
    READ_SELF = "read_self"
    READ_STATIONS = "read_stations"
    ADMIT_STATIONS = "admit_stations"
    COMMAND_STATIONS = "command_stations"
    READ_TRANSACTIONS = "read_transactions"
    READ_TOKENS = "read_tokens"
    WRITE_TOKENS = "write_tokens"
    READ_TARIFFS = "read_tariffs"
    WRITE_TARIFFS = "write_tariffs"
    READ_ENERGY = "read_energy"
    WRITE_ENERGY = "write_energy"
    READ_MAINTENANCE = "read_maintenance"
    WRITE_MAINTENANCE = "write_maintenance"
    READ_CERTIFICATES = "read_certificates"
    WRITE_CERTIFICATES = "write_certificates"
    READ_SETTLEMENTS = "read_settlements"
    CLOSE_PERIODS = "close_periods"
    CORRECT_SETTLEMENTS = "correct_settlements"
    WRITE_MANDATES = "write_mandates"
    READ_GRID = "read_grid"
    WRITE_GRID = "write_grid"
    WRITE_PREQUALIFICATIONS = "write_prequalifications"
    READ_TELEMETRY = "read_telemetry"
    WRITE_TELEMETRY = "write_telemetry"
    READ_VEHICLES = "read_vehicles"
    READ_BATTERIES = "read_batteries"
    WRITE_BATTERIES = "write_batteries"
    READ_ROUTES = "read_routes"
    READ_AGGREGATES = "read_aggregates"
    ERASE_TELEMETRY = "erase_telemetry"
    READ_ALERTS = "read_alerts"
    WRITE_ALERTS = "write_alerts"
    READ_EVENTS = "read_events"
    MANAGE_WEBHOOKS = "manage_webhooks"
    MANAGE_ROAMING = "manage_roaming"
    MANAGE_ACCESS = "manage_access"
    READ_AUDIT = "read_audit"
    READ_METRICS = "read_metrics"


class Role(enum.Enum):
    """The role of a client of the HTTP API."""

    ADMIN = "admin"  # everything
    OPERATOR = (
        "operator"  # runs the stations: everything but access, trust, the grid's signal and telemetry of vehicles
    )
    VIEWER = "viewer"  # reads what the operator works with
    INSTALLER = "installer"  # brings stations into service
    BILLING = "billing"  # transactions, settlements and what they cost
    GRID_OPERATOR = "grid_operator"  # sets and reads the grid signal, and prequalifies stations
    GATEWAY = "gateway"  # delivers its vehicles' telemetry
    DRIVER = "driver"  # reads everything of its vehicles, and may have it erased
    FLEET = "fleet"  # reads everything of its vehicles
    INSURER = "insurer"  # reads aggregates about use and battery of its vehicles, and no position
    MONITOR = "monitor"  # reads the metrics


_READ: Final = frozenset(
    {
        Permission.READ_STATIONS,
        Permission.READ_TRANSACTIONS,
        Permission.READ_TARIFFS,
        Permission.READ_ENERGY,
        Permission.READ_MAINTENANCE,
        Permission.READ_CERTIFICATES,
        Permission.READ_SETTLEMENTS,
        Permission.READ_GRID,
        Permission.READ_EVENTS,
        Permission.READ_METRICS,
        Permission.READ_ALERTS,
    }
)

_OF_VEHICLE: Final = frozenset(
    {
        Permission.READ_VEHICLES,
        Permission.READ_BATTERIES,
        Permission.READ_ROUTES,
        Permission.READ_AGGREGATES,
        Permission.READ_ALERTS,
        Permission.WRITE_ALERTS,
    }
)

ALLOWED: Final[dict[Role, frozenset[Permission]]] = {
    Role.ADMIN: frozenset(Permission),
    Role.OPERATOR: _READ
    | {
        Permission.ADMIT_STATIONS,
        Permission.COMMAND_STATIONS,
        Permission.READ_TOKENS,
        Permission.WRITE_TOKENS,
        Permission.WRITE_TARIFFS,
        Permission.WRITE_ENERGY,
        Permission.WRITE_PREQUALIFICATIONS,
        Permission.WRITE_MAINTENANCE,
        Permission.MANAGE_WEBHOOKS,
        Permission.MANAGE_ROAMING,
        Permission.WRITE_ALERTS,
    },
    Role.VIEWER: _READ,
    Role.INSTALLER: frozenset(
        {
            Permission.READ_STATIONS,
            Permission.ADMIT_STATIONS,
            Permission.COMMAND_STATIONS,
            Permission.READ_MAINTENANCE,
            Permission.WRITE_MAINTENANCE,
            Permission.READ_EVENTS,
        }
    ),
    Role.BILLING: frozenset(
        {
            Permission.READ_TRANSACTIONS,
            Permission.READ_SETTLEMENTS,
            Permission.READ_ALERTS,
            Permission.WRITE_ALERTS,
            Permission.CLOSE_PERIODS,
            Permission.CORRECT_SETTLEMENTS,
            Permission.WRITE_MANDATES,
            Permission.READ_TARIFFS,
            Permission.WRITE_TARIFFS,
            Permission.READ_TOKENS,
        }
    ),
    Role.GRID_OPERATOR: frozenset(
        {
            Permission.READ_GRID,
            Permission.WRITE_GRID,
            Permission.WRITE_PREQUALIFICATIONS,
            Permission.READ_VEHICLES,
            Permission.READ_AGGREGATES,
        }
    ),
    Role.GATEWAY: frozenset({Permission.WRITE_TELEMETRY, Permission.READ_TELEMETRY}),
    Role.DRIVER: _OF_VEHICLE | {Permission.ERASE_TELEMETRY},
    Role.FLEET: _OF_VEHICLE | {Permission.WRITE_BATTERIES},
    Role.INSURER: frozenset({Permission.READ_AGGREGATES}),
    Role.MONITOR: frozenset({Permission.READ_METRICS}),
}


OF_VEHICLES: Final = frozenset({Role.DRIVER, Role.FLEET, Role.INSURER})
"""Roles whose callers read vehicles that have to be named."""

_SIGNALS: Final = {
    Role.GRID_OPERATOR: (
        "battery.soc",
        "battery.power",
        "battery.energy.",
        "charging.",
        "grid.",
        "vehicle.contactor",
        "vehicle.power_request",
    ),
    Role.INSURER: ("battery.soc", "battery.soh", "battery.temperature.", "battery.energy.", "motor.speed", "ambient."),
}
"""Beginnings of the signals that a role sees; the others see all (R113)."""


_SILENT: Final = object()


class Sites(msgspec.Struct, frozen=True):
    """Sites that a role is limited to, and the stations there now."""

    names: frozenset[str]
    stations: frozenset[str] = frozenset()

    def have(self, item: object) -> bool | None:
        """Return whether a site, or something of a station, is of these sites; None: it does not say whose it is."""
        if isinstance(item, Site):
            return item.id in self.names
        station = item.get("station_id", _SILENT) if isinstance(item, Mapping) else getattr(item, "station_id", _SILENT)
        return None if station is _SILENT else station in self.stations


class Principal(msgspec.Struct, frozen=True):
    """An authenticated caller.

    `id` distinguishes callers with the same name: that of the token or certificate. `evs` limits whose telemetry they
    may handle; `*` is all. `scopes` restricts the role's permissions, `sites` whose stations they are for; None does
    not.
    """

    name: str
    role: Role
    evs: tuple[str, ...] = ("*",)
    scopes: frozenset[Permission] | None = None
    id: str = ""
    sites: Sites | None = None

    @property
    def only_evs(self) -> tuple[str, ...] | None:
        """The vehicles whose telemetry they may handle; None: all."""
        return None if "*" in self.evs else self.evs


def permissions(principal: Principal) -> frozenset[Permission]:
    of_role = ALLOWED[principal.role]
    return of_role if principal.scopes is None else of_role & principal.scopes


def allowed(principal: Principal | None, permission: Permission) -> bool:
    """Return whether `principal` (None: unauthenticated) has a permission."""
    if permission is Permission.PUBLIC:
        return True
    if principal is None:
        return False
    return permission is Permission.READ_SELF or permission in permissions(principal)


def may_handle(principal: Principal, ev: str) -> bool:
    """Return whether a principal may handle telemetry of `ev`."""
    return principal.only_evs is None or ev in principal.only_evs


def evs_of(role: Role, evs: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the vehicles of a caller; where none are named all, or for drivers, fleets and insurers none."""
    if evs is not None:
        return evs
    return () if role in OF_VEHICLES else ("*",)


def sees(principal: Principal, signal: str) -> bool:
    """Return whether a principal may see the values of a signal."""
    return principal.role not in _SIGNALS or signal.startswith(_SIGNALS[principal.role])


def bearer_digest(header: bytes) -> str | None:
    """Return the SHA-256, in hex, of the token in an Authorization header; None without one."""
    scheme, _, token = header.partition(b" ")
    token = token.strip()
    if scheme.lower() != b"bearer" or not token:
        return None
    return hashlib.sha256(token).hexdigest()


def find_bearer(digest: str, known: Iterable[tuple[str, Role, str, tuple[str, ...] | None]]) -> Principal | None:
    """Return the owner of the token with this digest. `known`: (name, role, SHA-256 of the token in hex, evs).

    Every known hash is compared, in constant time, so that the delay reveals nothing.
    """
    found: Principal | None = None
    for name, role, expected, evs in known:
        if hmac.compare_digest(digest, expected):
            found = Principal(name, role, evs_of(role, evs), id=f"configured {expected[:32]}")
    return found


def balanced(vehicle: str) -> Principal | None:
    """Return the principal of a vehicle that a load balancer has named (R215); None for no pseudonym."""
    if re.fullmatch(EV_PATTERN, vehicle) is None:
        return None
    return Principal(vehicle, Role.GATEWAY, (vehicle,), id=f"certificate {vehicle}")


def find_certificate(common_name: str, known: Iterable[tuple[str, Role, tuple[str, ...]]]) -> Principal | None:
    """Return the owner of a client certificate of this common name. `known`: (common name, role, evs)."""
    for name, role, evs in known:
        if name == common_name:
            return Principal(name, role, evs or (name,), id=f"certificate {name}"[:128])
    return None


MIN_PASSWORD: Final = 12
MAX_PASSWORD: Final = 128

SESSION_MS: Final = 12 * 3600 * 1000
"""A session ends so long after the login: a shift."""

IDLE_MS: Final = 3600 * 1000
"""A session ends so long after its last use; an open page uses it."""

_FACTOR: Final = re.compile("[A-Z2-7]{32}")

NAME: Final = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")
"""A person's name at the login."""

STEP_S: Final = 30
"""Steps of second factors (RFC 6238)."""

NO_PEOPLE: Final = OF_VEHICLES | {Role.GATEWAY, Role.MONITOR}
"""Roles of programs, and of callers whose vehicles have to be named."""


def principal_of(name: str, role: Role, sites: Sites | None = None) -> Principal:
    """Return a person as a caller of the API."""
    return Principal(name, role, evs_of(role, None), id=f"user {name}", sites=sites)


def check_role(role: Role) -> None:
    """Raise RefusedError (`role`) for a role of programs and drivers."""
    if role in NO_PEOPLE:
        possible = ", ".join(each.value for each in Role if each not in NO_PEOPLE)
        raise RefusedError(f"{role.value} is not a role of the console", reason="role", hint=f"one of {possible}")


def check_password(password: str, name: str) -> None:
    """Raise RefusedError (`password`) for a password that is too short, too long, not printable, a repeated word, or
    the name."""
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD or not password.isprintable():
        raise RefusedError(f"a password has {MIN_PASSWORD} to {MAX_PASSWORD} printable characters", reason="password")
    text = password.lower()
    if (len(name) > 2 and name.lower() in text) or len(set(text)) < 5 or text in (text + text)[1:-1]:
        raise RefusedError("this password is easily guessed", reason="password", hint="choose several random words")


def check_factor(secret: str) -> None:
    """Raise RefusedError (`factor`) for a secret of a second factor that is not 160 bits in base32 (RFC 4226 R6)."""
    if not _FACTOR.fullmatch(secret):
        raise RefusedError("this is not a key of a second factor", reason="factor", hint="open the page again")


def is_over(created_ms: int, seen_ms: int, now_ms: int, scale: float = 1.0) -> bool:
    """Return whether a session, begun and last used at these times, is over. People have real time: a second of it is
    `scale` seconds of the clock."""
    return now_ms - created_ms >= SESSION_MS * scale or now_ms - seen_ms >= IDLE_MS * scale


def steps_at(now_ms: int) -> tuple[int, ...]:
    """Return the steps whose code is accepted now: the current one, and its neighbours for clocks that differ."""
    now = now_ms // (STEP_S * 1000)
    return now - 1, now, now + 1
