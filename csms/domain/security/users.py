"""People who log in to the console: their roles, passwords, second factors, and how long a session lasts. Pure."""

import re
from typing import Final

from csms.domain.security.access import OF_VEHICLES, Principal, Role, Sites, evs_of
from v2g.errors import RefusedError

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
    """Raise RefusedError (`password`) for a password that is too short, too long, not printable, or the name."""
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD or not password.isprintable():
        raise RefusedError(f"a password has {MIN_PASSWORD} to {MAX_PASSWORD} printable characters", reason="password")
    if (len(name) > 2 and name.lower() in password.lower()) or len(set(password)) < 5:
        raise RefusedError("this password is easily guessed", reason="password", hint="choose several random words")


def check_factor(secret: str) -> None:
    """Raise RefusedError (`factor`) for a secret of a second factor that is not 160 bits in base32 (RFC 4226 R6)."""
    if not _FACTOR.fullmatch(secret):
        raise RefusedError("this is not a key of a second factor", reason="factor", hint="open the page again")


def is_over(created_ms: int, seen_ms: int, now_ms: int) -> bool:
    """Return whether a session, begun and last used at these times, is over."""
    return now_ms - created_ms >= SESSION_MS or now_ms - seen_ms >= IDLE_MS


def steps_at(now_ms: int) -> tuple[int, ...]:
    """Return the steps whose code is accepted now: the current one, and its neighbours for clocks that differ."""
    now = now_ms // (STEP_S * 1000)
    return now - 1, now, now + 1
