"""People who log in to the console: login with second factor, sessions, changes of their own account."""

import asyncio
import contextlib
import hashlib
import hmac
import math
import secrets
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec
import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from csms.accounts import store as access
from csms.accounts.openid import OpenIdProvider
from csms.accounts.passkeys import Passkey, Passkeys, PendingCeremony, credential_id, refused
from csms.accounts.rules import STEP_S, Principal, check_factor, check_password, principal_of, steps_at
from csms.services import Services
from v2g.errors import RefusedError
from v2g.observe import Observe
from v2g.rates import Buckets, caller_at

_HASHES_AT_ONCE: Final = 2
"""Each takes 64 MiB and a core for some 50 ms."""

_CODES: Final = "a code works once; after some wrong ones, none does for 5 minutes"
_MAX_NAME: Final = 64
_MAX_PASSWORD: Final = 1000

_hasher: Final = PasswordHasher()  # argon2id with the parameters of RFC 9106 for little memory


class Throttled(RefusedError):
    """Too many attempts; `wait_s`: after so many seconds the next one is permitted."""

    def __init__(self, wait_s: int) -> None:
        super().__init__("too many attempts to log in", reason="throttled", hint=f"wait {wait_s} s")
        self.wait_s: Final = wait_s


class Proof(NamedTuple):
    """What a person shows to change a credential. `signed`: a passkey's answer, with the cookie of its ceremony."""

    password: str
    code: str = ""
    signed: str = ""
    cookie: str = ""


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
        origin = services.config.api.origin
        self.passkeys: Final = Passkeys(origin, services.store_key, services.clock.utc_ms)
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
        user = await self._services.store.read(access.find, name)
        fits = await self._fits(password, user)
        if not fits or user is None or not await self._uses_code(user, code):
            self._services.observe(Observe("ocpp", "login_refused", {"by": name, "peer": peer}))
            raise RefusedError("name, password or code is wrong", reason="login", hint=_CODES)
        self._addresses.give(address)
        self._names.give(name)
        if _hasher.check_needs_rehash(user.password):
            hashed = await self._hash(password)
            await self._services.store.run(access.set_password, name, hashed, initial=user.initial)
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
                access.adopt, person.subject, person.name, given.role, given.sites, self._services.clock.utc_ms()
            )
        except RefusedError as error:
            self._services.observe(Observe("ocpp", "login_refused", {"by": error.reason, "peer": peer}))
            raise
        self._addresses.give(address)
        return await self._begin(person.name), following

    async def passkeys_of(self, name: str) -> list[access.StoredPasskey]:
        """Return a person's passkeys."""
        return await self._services.store.read(access.passkeys, name)

    async def begin_passkey(self, session: UserSession) -> tuple[str, str]:
        """Return what the browser is asked for a new passkey, and the cookie of it."""
        return self.passkeys.begin_adding(session.name, await self._known(session))

    async def begin_proof(self, session: UserSession) -> tuple[str, str]:
        """Return what the browser is asked for a proof by one of a person's passkeys, and the cookie of it."""
        return self.passkeys.begin_signing(session.name, await self._known(session))

    async def _known(self, session: UserSession) -> list[str]:
        return [each.credential_id for each in await self.passkeys_of(session.name)]

    async def add_passkey(self, session: UserSession, proof: Proof, label: str, cookie: str, answer: str) -> str:
        """Let a person log in by a passkey, too; return the cookie of a new session. Raises RefusedError."""
        await self._require(session, proof)
        made = self.passkeys.finish_adding(await self._once(cookie, session.name, adds=True), answer)
        stored = access.StoredPasskey(
            **made._asdict(), name=session.name, label=label.strip()[:60], created_ms=self._services.clock.utc_ms()
        )
        if not await self._services.store.run(access.add_passkey, stored):
            raise RefusedError("this passkey is known already", reason="passkey")
        return await self._begin(session.name, alone=True)

    async def remove_passkey(self, session: UserSession, proof: Proof, credential_id: str) -> str:
        """Accept one of a person's passkeys no more; return the cookie of a new session. Raises RefusedError."""
        await self._require(session, proof)
        await self._services.store.run(access.remove_passkeys, session.name, credential_id)
        return await self._begin(session.name, alone=True)

    async def log_in_by_passkey(self, cookie: str, answer: str, peer: str) -> str:
        """Return the cookie of a new session of the person whose passkey has signed. Raises RefusedError, Throttled."""
        address = caller_at(peer)
        if (wait_s := self._addresses.take(address, self._services.clock.monotonic())) > 0:
            raise Throttled(math.ceil(wait_s))
        try:
            name = await self._signed("", cookie, answer)
        except RefusedError:
            self._services.observe(Observe("ocpp", "login_refused", {"by": "passkey", "peer": peer}))
            raise
        self._addresses.give(address)
        return await self._begin(name)

    async def _signed(self, name: str, cookie: str, answer: str) -> str:
        """Return whose passkey has signed; `name`: only this person's. Raises RefusedError (`passkey`)."""
        store = self._services.store
        pending = await self._once(cookie, name, adds=False)
        known = await store.read(access.find_passkey, credential_id(answer))
        if known is None or name not in ("", known.name):
            raise RefusedError("this passkey is not known here", reason="passkey", hint="log in with the password")
        key = Passkey(known.credential_id, known.public_key, known.sign_count)
        count = self.passkeys.finish_signing(pending, answer, key)
        await store.run(access.count_passkey, known.credential_id, count)
        return known.name

    async def _once(self, cookie: str, name: str, *, adds: bool) -> PendingCeremony:
        """Return the ceremony of a cookie, which no node has finished. Raises RefusedError (`passkey`)."""
        pending = self.passkeys.pending(cookie, name, adds=adds)
        used = await self._services.store.run(
            access.claim_key, "passkey", _digest(pending.challenge), "", self._services.clock.utc_ms()
        )
        if used is not None:
            raise refused("this was used already")
        return pending

    async def _begin(self, name: str, *, alone: bool = False) -> str:
        """Begin a session; return its cookie. `alone`: all others of the person end."""
        cookie = secrets.token_urlsafe(32)
        clock = self._services.clock
        now_ms = clock.utc_ms()
        await self._services.store.run(
            access.begin_session, _digest(cookie), name, now_ms, alone=alone, scale=clock.scale
        )
        if alone:
            await self._services.connections.decided()
        return cookie

    async def session(self, cookie: str) -> UserSession | None:
        """Return the session of a cookie; None without one, or if it is over."""
        store, now_ms, sha256 = self._services.store, self._services.clock.utc_ms(), _digest(cookie)
        found = await store.read(access.find_session, sha256, now_ms, self._services.clock.scale)
        if found is None:
            return None
        user, used = found
        if used:
            await store.run(access.note_use, sha256, now_ms)
        return UserSession(
            principal=principal_of(user.name, user.role, user.sites),
            initial=user.initial,
            second_factor=user.sealed_factor is not None,
            csrf=hmac.new(cookie.encode(), b"csrf", "sha256").hexdigest(),
            sha256=sha256,
        )

    async def log_out(self, session: UserSession) -> None:
        """End a session."""
        await self._services.store.run(access.end_session, session.sha256)

    async def change_password(self, session: UserSession, proof: Proof, new: str) -> str:
        """Change one's own password; return the cookie of a new session. Raises RefusedError."""
        await self._require(session, proof)
        check_password(new, session.name)
        if new == proof.password:
            raise RefusedError("this is the present password", reason="password", hint="choose another one")
        hashed = await self._hash(new)
        await self._services.store.run(access.set_password, session.name, hashed, initial=False)
        return await self._begin(session.name, alone=True)

    async def set_factor(self, session: UserSession, proof: Proof, secret: str, code: str) -> str:
        """Use a second factor from now on; return the cookie of a new session. Raises RefusedError.

        `secret`: from `new_factor`; `code` proves that the app has it. An existing factor has to be removed first.
        """
        if session.second_factor:
            raise RefusedError("the login has a second factor already", reason="factor", hint="remove it first")
        check_factor(secret)
        await self._require(session, proof)
        step = _step_of(secret, code, self._services.clock.utc_ms())
        if step is None:
            raise RefusedError("the code does not fit", reason="code", hint="is the phone's clock right?")
        sealed = self._services.store_key.seal(secret, _purpose(session.name))
        await self._services.store.run(access.set_factor, session.name, sealed, step)
        return await self._begin(session.name, alone=True)

    async def remove_factor(self, session: UserSession, proof: Proof) -> str:
        """Use no second factor any more; return the cookie of a new session. Raises RefusedError."""
        await self._require(session, proof)
        await self._services.store.run(access.set_factor, session.name, None)
        return await self._begin(session.name, alone=True)

    async def _require(self, session: UserSession, proof: Proof) -> None:
        """Have a change of a credential proved by the password and, where the person has one, a second factor: a code,
        or the signature of a passkey. Raises RefusedError, Throttled; no answer reveals which part was wrong."""
        if (wait_s := self._names.take(session.name, self._services.clock.monotonic())) > 0:
            raise Throttled(math.ceil(wait_s))
        user = await self._services.store.read(access.find, session.name)
        fits = await self._fits(proof.password, user)
        if not fits or user is None or not await self._proves(user, proof):
            raise RefusedError("password, code or passkey is wrong", reason="proof", hint=_CODES)
        self._names.give(session.name)

    async def _proves(self, user: access.StoredUser, proof: Proof) -> bool:
        """Return whether a second factor is shown, or the person has none."""
        if not proof.signed:
            needed = user.sealed_factor is None and await self.passkeys_of(user.name)
            return not needed and await self._uses_code(user, proof.code)
        with contextlib.suppress(RefusedError):
            await self._signed(user.name, proof.cookie, proof.signed)
            return True
        return False

    async def _fits(self, password: str, user: access.StoredUser | None) -> bool:
        """Return whether a password is right; takes as long for a name that does not exist."""
        if self._nobody is None:
            self._nobody = await self._hash(secrets.token_hex())
        hashed = self._nobody if user is None else user.password
        async with self._hashing:
            return await asyncio.to_thread(_verify, hashed, password[:_MAX_PASSWORD])

    async def _hash(self, password: str) -> str:
        async with self._hashing:
            return await asyncio.to_thread(hash_password, password)

    async def _uses_code(self, user: access.StoredUser, code: str) -> bool:
        if user.sealed_factor is None:
            return True
        if not code or self._codes.take(user.name, self._services.clock.monotonic()) > 0:
            return False  # as a wrong one: "wait" would say that the password is right
        secret = self._services.store_key.open(user.sealed_factor, _purpose(user.name))
        step = _step_of(secret, code, self._services.clock.utc_ms())
        fits = step is not None and await self._services.store.run(access.use_step, user.name, step)
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
