"""People who log in to the console: login with second factor, sessions, changes of their own account."""

import asyncio
import hashlib
import hmac
import math
import secrets
from collections.abc import Mapping
from typing import Final

import msgspec
import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection

from csms.db.queries import users as rows
from csms.domain.security.access import Principal
from csms.domain.security.users import STEP_S, check_factor, check_password, principal_of, steps_at
from csms.ocpp.base import Services
from csms.services.security.openid import OpenIdProvider
from csms.services.security.passkeys import Passkey, Passkeys, credential_id
from v2g.errors import RefusedError
from v2g.observe import Observe
from v2g.rates import Buckets, caller_at

_HASHES_AT_ONCE: Final = 2
"""Each takes 64 MiB and a core for some 50 ms."""

_MAX_NAME: Final = 64
_MAX_PASSWORD: Final = 1000

_hasher: Final = PasswordHasher()  # argon2id with the parameters of RFC 9106 for little memory


class Throttled(RefusedError):
    """Too many attempts; `wait_s`: after so many seconds the next one is permitted."""

    def __init__(self, wait_s: int) -> None:
        super().__init__("too many attempts to log in", reason="throttled", hint=f"wait {wait_s} s")
        self.wait_s: Final = wait_s


class UserSession(msgspec.Struct, frozen=True, kw_only=True):
    """A person who has logged in. `initial`: the password has to be changed first. `csrf`: what each form sends."""

    principal: Principal
    initial: bool
    second_factor: bool
    csrf: str
    sha256: str

    @property
    def name(self) -> str:
        """The person's name."""
        return self.principal.name


def new_password() -> str:
    """Return a random password to be issued: 80 bits."""
    return secrets.token_hex(10)


def hash_password(password: str) -> str:
    """Return the hash of a password for storage (argon2id); takes some 50 ms."""
    return _hasher.hash(password)


class Users:
    """Logs people in and out. Attempts are throttled before any work, by address and by name; codes of second factors,
    whose guesses have the right password, by name and harder: in a year, a guess succeeds with a chance of 1 in 4."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._addresses = Buckets(per_s=0.1, burst=10)
        self._names = Buckets(per_s=0.1, burst=20)
        self._codes = Buckets(per_s=1 / 300, burst=5)
        self._hashing = asyncio.Semaphore(_HASHES_AT_ONCE)
        self._nobody: str | None = None
        self.passkeys: Final = Passkeys(services.store_key, services.clock.utc_ms)
        config = services.config.api.openid
        self.provider: Final = (
            None if config is None else OpenIdProvider(config, services.store_key, services.clock.utc_ms)
        )

    async def log_in(self, name: str, password: str, code: str, peer: str) -> str:
        """Return the cookie of a new session. Raises RefusedError, Throttled; no answer reveals which part was wrong.

        `code`: of the second factor, "" without one. Each code works once.
        """
        now, address = self._services.clock.monotonic(), caller_at(peer)
        name = name.strip().lower()[:_MAX_NAME]
        for buckets, who in ((self._addresses, address), (self._names, name)):
            if (wait_s := buckets.take(who, now)) > 0:
                raise Throttled(math.ceil(wait_s))
        user = await self._services.store.read(rows.find, name)
        fits = await self._fits(password, user)
        if not fits or user is None or not await self._uses_code(user, code):
            self._services.observe(Observe("ocpp", "login_refused", {"by": name, "peer": peer}))
            raise RefusedError("name, password or code is wrong", reason="login")
        self._addresses.give(address)
        self._names.give(name)
        if _hasher.check_needs_rehash(user.password):
            hashed = await self._hash(password)
            await self._services.store.run(rows.set_password, name, hashed, initial=user.initial)
        return await self._begin(name)

    async def log_in_by_provider(self, cookie: str, answer: Mapping[str, str], peer: str) -> tuple[str, str]:
        """Return the cookie of a new session of a person whom the OpenID provider names, and the page after it.

        Role and sites follow the provider's at each login. Raises RefusedError.
        """
        assert self.provider is not None
        address = caller_at(peer)
        if (wait_s := self._addresses.take(address, self._services.clock.monotonic())) > 0:
            raise Throttled(math.ceil(wait_s))
        try:
            person, following = await self.provider.finish(cookie, answer)
            given = person.role
            await self._services.store.run(
                rows.adopt, person.subject, person.name, given.role, given.sites, self._services.clock.utc_ms()
            )
        except RefusedError as error:
            self._services.observe(Observe("ocpp", "login_refused", {"by": error.reason, "peer": peer}))
            raise
        self._addresses.give(address)
        return await self._begin(person.name), following

    async def passkeys_of(self, name: str) -> list[rows.StoredPasskey]:
        """Return a person's passkeys."""
        return await self._services.store.read(rows.passkeys, name)

    async def begin_passkey(self, session: UserSession, host: str) -> tuple[str, str]:
        """Return what the browser is asked for a new passkey, and the cookie of it."""
        known = [each.credential_id for each in await self.passkeys_of(session.name)]
        return self.passkeys.begin_adding(session.name, host, known)

    async def add_passkey(
        self, session: UserSession, password: str, label: str, host: str, cookie: str, answer: str
    ) -> None:
        """Let a person log in by a passkey, too. Raises RefusedError."""
        await self._require_password(session, password)
        made = self.passkeys.finish_adding(session.name, host, cookie, answer)
        stored = rows.StoredPasskey(
            **made._asdict(), name=session.name, label=label.strip()[:60], created_ms=self._services.clock.utc_ms()
        )
        if not await self._services.store.run(rows.add_passkey, stored):
            raise RefusedError("this passkey is known already", reason="passkey")

    async def remove_passkey(self, session: UserSession, credential_id: str) -> None:
        """Accept one of a person's passkeys no more."""
        await self._services.store.run(rows.remove_passkeys, session.name, credential_id)

    async def log_in_by_passkey(self, host: str, cookie: str, answer: str, peer: str) -> str:
        """Return the cookie of a new session of the person whose passkey has signed. Raises RefusedError, Throttled."""
        address = caller_at(peer)
        if (wait_s := self._addresses.take(address, self._services.clock.monotonic())) > 0:
            raise Throttled(math.ceil(wait_s))
        store = self._services.store
        try:
            known = await store.read(rows.find_passkey, credential_id(answer))
            if known is None:
                raise RefusedError("this passkey is not known here", reason="passkey", hint="log in with the password")
            key = Passkey(known.credential_id, known.public_key, known.sign_count)
            count = self.passkeys.finish_login(host, cookie, answer, key)
        except RefusedError:
            self._services.observe(Observe("ocpp", "login_refused", {"by": "passkey", "peer": peer}))
            raise
        await store.run(rows.count_passkey, known.credential_id, count)
        self._addresses.give(address)
        return await self._begin(known.name)

    async def _begin(self, name: str) -> str:
        cookie = secrets.token_urlsafe(32)
        await self._services.store.run(rows.begin_session, _digest(cookie), name, self._services.clock.utc_ms())
        return cookie

    async def session(self, cookie: str) -> UserSession | None:
        """Return the session of a cookie; None without one, or if it is over."""
        store, now_ms, sha256 = self._services.store, self._services.clock.utc_ms(), _digest(cookie)
        found = await store.read(rows.find_session, sha256, now_ms)
        if found is None:
            return None
        user, used = found
        if used:
            await store.run(rows.note_use, sha256, now_ms)
        return UserSession(
            principal=principal_of(user.name, user.role, user.sites),
            initial=user.initial,
            second_factor=user.sealed_factor is not None,
            csrf=hmac.new(cookie.encode(), b"csrf", "sha256").hexdigest(),
            sha256=sha256,
        )

    async def log_out(self, session: UserSession) -> None:
        """End a session."""
        await self._services.store.run(rows.end_session, session.sha256)

    async def change_password(self, session: UserSession, old: str, new: str) -> str:
        """Change one's own password; all sessions end. Return the cookie of a new one. Raises RefusedError."""
        await self._require_password(session, old)
        check_password(new, session.name)
        if new == old:
            raise RefusedError("this is the present password", reason="password", hint="choose another one")
        hashed = await self._hash(new)
        await self._services.store.run(rows.set_password, session.name, hashed, initial=False)
        return await self._begin(session.name)

    async def set_factor(self, session: UserSession, password: str, secret: str, code: str) -> str:
        """Use a second factor from now on; return the cookie of a new session. Raises RefusedError.

        `secret`: from `new_factor`; `code` proves that the app has it. An existing factor has to be removed first.
        """
        if session.second_factor:
            raise RefusedError("the login has a second factor already", reason="factor", hint="remove it first")
        check_factor(secret)
        await self._require_password(session, password)
        step = _step_of(secret, code, self._services.clock.utc_ms())
        if step is None:
            raise RefusedError("the code does not fit", reason="code", hint="is the phone's clock right?")
        sealed = self._services.store_key.seal(secret, _purpose(session.name))

        def write(connection: Connection) -> None:
            rows.set_factor(connection, session.name, sealed, step)
            rows.end_sessions(connection, session.name)

        await self._services.store.run(write)
        return await self._begin(session.name)

    async def remove_factor(self, session: UserSession, password: str, code: str) -> str:
        """Use no second factor any more, by a last code of it; return the cookie of a new session. Raises RefusedError.

        All sessions end: who has a session and the password still cannot remove what protects the account.
        """
        user = await self._require_password(session, password)
        if not await self._uses_code(user, code):
            raise RefusedError("the code does not fit", reason="code", hint="each code works once")

        def write(connection: Connection) -> None:
            rows.set_factor(connection, session.name, None)
            rows.end_sessions(connection, session.name)

        await self._services.store.run(write)
        return await self._begin(session.name)

    async def _require_password(self, session: UserSession, password: str) -> rows.StoredUser:
        if (wait_s := self._names.take(session.name, self._services.clock.monotonic())) > 0:
            raise Throttled(math.ceil(wait_s))
        user = await self._services.store.read(rows.find, session.name)
        if not await self._fits(password, user) or user is None:
            raise RefusedError("the present password is wrong", reason="password")
        self._names.give(session.name)
        return user

    async def _fits(self, password: str, user: rows.StoredUser | None) -> bool:
        """Return whether a password is right; takes as long for a name that does not exist."""
        if self._nobody is None:
            self._nobody = await self._hash(secrets.token_hex())
        hashed = self._nobody if user is None else user.password
        async with self._hashing:
            return await asyncio.to_thread(_verify, hashed, password[:_MAX_PASSWORD])

    async def _hash(self, password: str) -> str:
        async with self._hashing:
            return await asyncio.to_thread(hash_password, password)

    async def _uses_code(self, user: rows.StoredUser, code: str) -> bool:
        if user.sealed_factor is None:
            return True
        if not code:
            return False
        if (wait_s := self._codes.take(user.name, self._services.clock.monotonic())) > 0:
            raise Throttled(math.ceil(wait_s))
        secret = self._services.store_key.open(user.sealed_factor, _purpose(user.name))
        step = _step_of(secret, code, self._services.clock.utc_ms())
        fits = step is not None and await self._services.store.run(rows.use_step, user.name, step)
        if fits:
            self._codes.give(user.name)
        return fits


def new_factor(name: str, issuer: str) -> tuple[str, str]:
    """Return the secret of a second factor (base32), and the URI from which apps take it."""
    secret = pyotp.random_base32()
    return secret, pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=issuer)


def _step_of(secret: str, code: str, now_ms: int) -> int | None:
    """Return the step whose code this is, None if it is none of now."""
    said = code.replace(" ", "")
    try:
        factor = pyotp.TOTP(secret)
        codes = {step: factor.at(step * STEP_S) for step in steps_at(now_ms)}
    except ValueError:  # no base32
        return None
    return next((step for step, each in codes.items() if hmac.compare_digest(each.encode(), said.encode())), None)


def _verify(hashed: str, password: str) -> bool:
    try:
        return _hasher.verify(hashed, password)
    except (VerificationError, InvalidHashError):
        return False


def _digest(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()


def _purpose(name: str) -> str:
    return f"second factor {name}"
