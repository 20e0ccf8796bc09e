"""Accounts of people: what is throttled and for how long, what proves who changes a credential, and what then ends."""

import argon2
import pyotp
import pytest

from csms.accounts import store as rows
from csms.accounts import work as module
from csms.accounts.config import OpenIdRole
from csms.accounts.openid import Person
from csms.accounts.rules import IDLE_MS, Role
from csms.accounts.store import StoredPasskey
from csms.accounts.work import Proof, Throttled, Users, UserSession, hash_password, new_password
from tests.csms.backend import Backend
from v2g.errors import RefusedError

PASSWORD = "seven wild geese fly"
CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class Provider:
    """An OpenID provider that names Ada, or refuses."""

    refuses = False

    async def finish(self, cookie: str, answer: object) -> tuple[Person, str]:
        if self.refuses:
            raise RefusedError("not today", reason="provider", hint="")
        assert (cookie, answer) == ("the cookie", {"code": "1"})
        return Person("issuer subject", "eve", OpenIdRole(value="staff", role=Role.OPERATOR)), "/console/sites"


class Accounts:
    """Users of a back end, whose clock of deadlines the test sets."""

    def __init__(self, csms: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
        self.csms, self.now_s, self.changes = csms, 1000.0, 0
        monkeypatch.setattr(module, "_hasher", CHEAP)
        monkeypatch.setattr(csms.services.clock, "monotonic", lambda: self.now_s)
        self.users = Users(csms.services)
        csms.services.connections.access_changed = self._changed

    def _changed(self) -> None:
        self.changes += 1

    async def employ(self, name: str = "ada", password: str = PASSWORD, *, initial: bool = False) -> None:
        store, hashed = self.csms.services.store, hash_password(password)
        await store.run(rows.add, name, Role.OPERATOR, hashed, self.csms.clock.utc_ms(), "test")
        await store.run(rows.set_password, name, hashed, initial=initial)

    async def log_in(self, name: str = "ada", password: str = PASSWORD, code: str = "", peer: str = "192.0.2.1") -> str:
        return await self.users.log_in(name, password, code, peer)

    async def session(self, cookie: str) -> UserSession:
        found = await self.users.session(cookie)
        assert found is not None
        return found

    async def begun(self, name: str = "ada", code: str = "") -> UserSession:
        return await self.session(await self.log_in(name, code=code))

    async def factor(self) -> pyotp.TOTP:
        """Give Ada a second factor."""
        secret, uri = module.new_factor("ada", "depot")
        assert uri.startswith("otpauth://totp/depot:ada?secret=")
        found = pyotp.TOTP(secret)
        await self.users.set_factor(await self.begun(), Proof(PASSWORD), secret, self.code(found))
        return found

    def code(self, factor: pyotp.TOTP) -> str:
        """Return a code that was not used yet."""
        self.csms.clock.advance(30)
        return factor.at(self.csms.clock.utc_ms() // 1000)


@pytest.fixture
def accounts(csms: Backend, monkeypatch: pytest.MonkeyPatch) -> Accounts:
    return Accounts(csms, monkeypatch)


async def refused(work: object, reason: str) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        await work  # type: ignore[misc]
    assert caught.value.reason == reason
    return caught.value


async def test_guesses_from_one_address_are_ten_and_then_one_in_ten_seconds(accounts: Accounts) -> None:
    await accounts.employ()
    for number in range(10):
        await refused(accounts.log_in(f"nobody {number}"), "login")
    error = await refused(accounts.log_in(), "throttled")
    assert isinstance(error, Throttled)
    assert error.wait_s == 10
    accounts.now_s += 9.5
    assert (await refused(accounts.log_in(), "throttled")).hint == "wait 1 s"
    accounts.now_s += 0.5
    for _ in range(30):
        assert await accounts.log_in(), "who logs in pays nothing"
    first = accounts.csms.events.named("login_refused")[0]
    assert (first.stage, first.data) == ("ocpp", {"by": "nobody 0", "peer": "192.0.2.1"})


async def test_guesses_for_one_name_are_twenty_from_anywhere(accounts: Accounts) -> None:
    await accounts.employ()
    for number in range(20):
        await refused(accounts.log_in(" ADA", "wrong", peer=f"192.0.2.{number}"), "login")
    assert (await refused(accounts.log_in(peer="192.0.2.99"), "throttled")).hint == "wait 10 s"
    accounts.now_s += 9.5
    await refused(accounts.log_in(peer="192.0.2.99"), "throttled")
    accounts.now_s += 0.5
    for number in range(25):
        assert await accounts.log_in(" ADA", peer=f"198.51.100.{number}")


async def test_an_old_hash_is_renewed_at_the_login(accounts: Accounts) -> None:
    await accounts.employ()
    store, old = accounts.csms.services.store, argon2.PasswordHasher(time_cost=2, memory_cost=16, parallelism=1)
    for initial in (True, False):
        await store.run(rows.set_password, "ada", old.hash(PASSWORD), initial=initial)
        assert (await accounts.begun()).initial is initial
        found = await store.read(rows.find, "ada")
        assert found is not None
        assert not CHEAP.check_needs_rehash(found.password)
        assert CHEAP.verify(found.password, PASSWORD)


async def test_five_codes_are_tried_and_then_one_in_five_minutes(accounts: Accounts) -> None:
    await accounts.employ()
    factor = await accounts.factor()
    for _ in range(6):
        await refused(accounts.log_in(), "login")  # without a code, none is tried
    for number in range(4):
        await refused(accounts.log_in(code="000000", peer=f"192.0.2.{number}"), "login")
    assert await accounts.log_in(code=accounts.code(factor), peer="192.0.2.7"), "and gives its tries back"
    for number in range(4):
        await refused(accounts.log_in(code="000000", peer=f"192.0.2.{number}"), "login")
    await refused(accounts.log_in(code="000000", peer="192.0.2.8"), "login")
    await refused(accounts.log_in(code=accounts.code(factor), peer="192.0.2.9"), "login")
    accounts.now_s += 299.5
    await refused(accounts.log_in(code=accounts.code(factor), peer="192.0.2.10"), "login")
    accounts.now_s += 0.5
    assert await accounts.log_in(code=accounts.code(factor), peer="192.0.2.11")


async def test_the_fifth_wrong_code_is_the_last_and_a_code_works_once(accounts: Accounts) -> None:
    await accounts.employ()
    factor = await accounts.factor()
    code = accounts.code(factor)
    assert await accounts.log_in(code=f"{code[:3]} {code[3:]}"), "as apps show it"
    await refused(accounts.log_in(code=code), "login")
    accounts.now_s += 300
    for number in range(5):
        await refused(accounts.log_in(code="000000", peer=f"192.0.2.{number}"), "login")
    await refused(accounts.log_in(code=accounts.code(factor)), "login")


async def test_a_session_lasts_while_it_is_used(accounts: Accounts) -> None:
    await accounts.employ()
    cookie = await accounts.log_in()
    for _ in range(4):
        accounts.csms.clock.advance(IDLE_MS / 2000)
        assert await accounts.users.session(cookie) is not None
    accounts.csms.clock.advance(IDLE_MS / 1000 + 1)
    assert await accounts.users.session(cookie) is None


async def test_a_person_of_the_provider_has_its_role_and_pays_nothing(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, users = Provider(), accounts.users
    monkeypatch.setattr(users, "provider", provider)
    for _ in range(12):
        cookie, following = await users.log_in_by_provider("the cookie", {"code": "1"}, "192.0.2.1")
    session = await accounts.session(cookie)
    assert (session.name, session.principal.role, following) == ("eve", Role.OPERATOR, "/console/sites")
    provider.refuses = True
    for _ in range(10):
        await refused(users.log_in_by_provider("", {}, "192.0.2.1"), "provider")
    event = accounts.csms.events.named("login_refused")[0]
    assert (event.stage, event.data) == ("ocpp", {"by": "provider", "peer": "192.0.2.1"})
    assert (await refused(users.log_in_by_provider("", {}, "192.0.2.1"), "throttled")).hint == "wait 10 s"
    provider.refuses = False
    accounts.now_s += 9.5
    await refused(users.log_in_by_provider("the cookie", {"code": "1"}, "192.0.2.1"), "throttled")
    accounts.now_s += 0.5
    assert await users.log_in_by_provider("the cookie", {"code": "1"}, "192.0.2.1")


async def test_each_change_needs_the_password_and_ends_other_sessions(accounts: Accounts) -> None:
    users, other = accounts.users, "eight tame ducks swim"
    await accounts.employ()
    session, elsewhere = await accounts.begun(), await accounts.log_in()
    await refused(users.change_password(session, Proof("wrong"), other), "proof")
    await refused(users.change_password(session, Proof(PASSWORD), PASSWORD), "password")
    await refused(users.change_password(session, Proof(PASSWORD), "short"), "password")
    assert await users.session(elsewhere) is not None
    session = await accounts.session(await users.change_password(session, Proof(PASSWORD), other))
    assert (await users.session(elsewhere), accounts.changes) == (None, 1)
    elsewhere = await accounts.log_in(password=other)
    secret, _ = module.new_factor("ada", "depot")
    factor = pyotp.TOTP(secret)
    await refused(users.set_factor(session, Proof("wrong"), secret, accounts.code(factor)), "proof")
    await refused(users.set_factor(session, Proof(other), "AAAAAAAA", "000000"), "factor")
    await refused(users.set_factor(session, Proof(other), secret, "000000"), "code")
    session = await accounts.session(await users.set_factor(session, Proof(other), secret, accounts.code(factor)))
    assert (await users.session(elsewhere), accounts.changes) == (None, 2)
    await refused(users.set_factor(session, Proof(other), secret, accounts.code(factor)), "factor")
    await refused(users.remove_factor(session, Proof(other)), "proof")
    elsewhere = await accounts.log_in(password=other, code=accounts.code(factor))
    session = await accounts.session(await users.remove_factor(session, Proof(other, accounts.code(factor))))
    assert (await users.session(elsewhere), accounts.changes, session.second_factor) == (None, 3, False)
    await users.log_out(session)
    assert await accounts.log_in(password=other)


async def test_changes_are_throttled_as_logins_are(accounts: Accounts) -> None:
    users = accounts.users
    await accounts.employ()
    session = await accounts.begun()
    for _ in range(20):
        await refused(users.remove_factor(session, Proof("wrong")), "proof")
    assert (await refused(users.remove_factor(session, Proof(PASSWORD)), "throttled")).hint == "wait 10 s"
    accounts.now_s += 9.5
    await refused(users.remove_factor(session, Proof(PASSWORD)), "throttled")
    accounts.now_s += 0.5
    for _ in range(25):
        session = await accounts.session(await users.remove_factor(session, Proof(PASSWORD)))


async def test_a_session_that_has_ended_is_none(accounts: Accounts) -> None:
    await accounts.employ()
    cookie = await accounts.log_in()
    session = await accounts.session(cookie)
    await accounts.users.log_out(session)
    assert await accounts.users.session(cookie) is None
    assert len(new_password()) == 20


async def test_a_passkey_that_is_held_is_needed_and_only_its_own_counts(accounts: Accounts) -> None:
    """A signature itself is proved in the tests of the console."""
    users, store = accounts.users, accounts.csms.services.store
    await accounts.employ()
    session = await accounts.begun()
    await store.run(
        rows.add_passkey,
        StoredPasskey(credential_id="aWQ", name="ada", public_key="", sign_count=0, label="", created_ms=0),
    )
    await refused(users.remove_factor(session, Proof(PASSWORD)), "proof")
    await refused(users.remove_factor(session, Proof(PASSWORD, signed="{}", cookie="none")), "proof")
    factor = pyotp.TOTP(secret := module.new_factor("ada", "depot")[0])
    await refused(users.set_factor(session, Proof(PASSWORD), secret, accounts.code(factor)), "proof")


async def test_passkeys_are_tried_ten_times_from_one_address(accounts: Accounts) -> None:
    users = accounts.users
    for _ in range(9):
        await refused(users.log_in_by_passkey("none", "{}", "192.0.2.1"), "passkey")
    _, cookie = users.passkeys.begin_signing("", ())
    unknown = await refused(users.log_in_by_passkey(cookie, '{"id": "bm9uZQ"}', "192.0.2.1"), "passkey")
    assert "not known here" in str(unknown)
    assert (await refused(users.log_in_by_passkey("none", "{}", "192.0.2.1"), "throttled")).hint == "wait 10 s"
    accounts.now_s += 9.5
    await refused(users.log_in_by_passkey("none", "{}", "192.0.2.1"), "throttled")
    event = accounts.csms.events.named("login_refused")[0]
    assert (event.stage, event.data) == ("ocpp", {"by": "passkey", "peer": "192.0.2.1"})
