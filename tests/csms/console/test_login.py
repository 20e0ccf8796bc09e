"""Login: passwords, second factors, sessions, throttling, forms of other origins, links that lead elsewhere."""

import re

import pyotp
import pytest

from csms.accounts.rules import IDLE_MS, SESSION_MS, Role
from csms.console.application import ROUTES
from csms.console.visit import local
from tests.csms.api.support import ApiClient
from tests.csms.console.support import HOST, PASSWORD, Person, employ, text_of


async def test_the_issued_password_has_to_be_changed_before_anything_else(ask: ApiClient) -> None:
    made = (await ask("POST", "/access/users", {"name": "ada", "role": "admin"})).json
    ada = Person(ask, "ada")
    await ada.log_in(made["password"])
    moved = await ada.get("/console/stations")
    assert (moved.status, moved.headers["location"]) == (303, "/console/account")
    assert "Choose a password" in text_of(await ada.get("/console/account"))
    for new, again, why in (
        ("short", "short", "12 to 128"),
        ("ada is my name", "ada is my name", "easily guessed"),
        (PASSWORD, f"{PASSWORD}!", "differ"),
        (made["password"], made["password"], "present password"),
    ):
        await ada.send("/console/account/password", {"password": made["password"], "new": new, "again": again})
        assert why in text_of(await ada.get("/console/account")), new
    wrong = {"password": "not mine at all", "new": PASSWORD, "again": PASSWORD}
    await ada.send("/console/account/password", wrong)
    assert "password, code or passkey is wrong" in text_of(await ada.get("/console/account"))
    await ada.send("/console/account/password", {"password": made["password"], "new": PASSWORD, "again": PASSWORD})
    assert (await ada.get("/console/stations")).status == 200
    assert (await Person(ask, "ada").log_in(made["password"])).status == 401


async def test_no_answer_reveals_whether_a_name_exists(ask: ApiClient) -> None:
    await employ(ask, "ada", Role.ADMIN)
    answers = [await Person(ask, name).log_in("wrong password") for name in ("ada", "nobody")]
    assert [each.status for each in answers] == [401, 401]
    shown = [text_of(each) for each in answers]
    assert shown[0] == shown[1]
    assert "name, password or code is wrong" in shown[0]
    assert len(ask.backend.events.named("login_refused")) == 2


async def test_guesses_are_throttled_before_any_work_and_for_a_name_from_anywhere(ask: ApiClient) -> None:
    await employ(ask, "ada", Role.ADMIN)
    guesser = Person(ask, "ada")
    answers = [await guesser.log_in(f"guess {number}") for number in range(12)]
    assert [each.status for each in answers] == [401] * 10 + [429] * 2
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert (await guesser.log_in()).status == 429, "the right password does not help"


async def test_the_cookie_is_safe_and_a_login_replaces_the_session(ask: ApiClient) -> None:
    ada = await employ(ask, "ada", Role.ADMIN)
    before = dict(ada.cookies)
    answer = await ada.log_in()
    (cookie,) = (each for each in answer.cookies if each.startswith("__Host-v2g-session="))
    attributes = {each.lower() for each in cookie.split("; ")[1:]}
    assert {"secure", "httponly", "samesite=strict", "path=/"} <= attributes
    assert not any(each.startswith("domain") for each in attributes)
    assert ada.cookies != before
    planted = Person(ask)
    planted.cookies = before
    assert (await planted.get("/console/stations")).status == 303, "the session from before the login is over"
    planted.cookies = {"__Host-v2g-session": "chosen-by-an-attacker"}
    planted.name = "ada"
    await planted.log_in()
    assert planted.cookies["__Host-v2g-session"] != "chosen-by-an-attacker"


async def test_a_second_factor_is_asked_for_and_a_code_works_once(ask: ApiClient) -> None:
    ada = await employ(ask, "ada", Role.ADMIN)
    page = (await ada.get("/console/account")).body.decode()
    secret = re.search(r'name="secret" value="([A-Z2-7]+)"', page)
    assert secret is not None
    factor = pyotp.TOTP(secret[1])
    clock = ask.backend.clock

    def code() -> str:
        return factor.at(clock.utc_ms() // 1000)

    fields = {"password": PASSWORD, "secret": secret[1]}
    await ada.send("/console/account/factor", {**fields, "code": "000000"})
    assert "does not fit" in text_of(await ada.get("/console/account"))
    await ada.send("/console/account/factor", {**fields, "code": code()})
    assert "asks for a code" in text_of(await ada.get("/console/account"))
    assert (await Person(ask, "ada").log_in()).status == 401
    assert (await Person(ask, "ada").log_in(code=code())).status == 401, "used to set it up"
    clock.advance(30)
    assert (await Person(ask, "ada").log_in(code=code())).status == 303
    assert (await Person(ask, "ada").log_in(code=code())).status == 401, "each code works once"
    clock.advance(120)
    late = factor.at(clock.utc_ms() // 1000 - 90)
    assert (await Person(ask, "ada").log_in(code=late)).status == 401
    reset = (await ask("POST", "/access/users/ada/reset")).json
    assert reset["user"]["second_factor"] is False
    assert (await Person(ask, "ada").log_in(reset["password"])).status == 303


async def test_a_second_factor_is_neither_replaced_nor_removed_by_password_alone(ask: ApiClient) -> None:
    ada, clock = await employ(ask, "ada", Role.ADMIN), ask.backend.clock
    page = (await ada.get("/console/account")).body.decode()
    (secret,) = re.findall(r'name="secret" value="([A-Z2-7]+)"', page)

    def code(of: str = secret) -> str:
        clock.advance(30)
        return pyotp.TOTP(of).at(clock.utc_ms() // 1000)

    async def answered(path: str, fields: dict[str, str]) -> str:
        await ada.send(f"/console/account/factor{path}", {"password": PASSWORD, **fields})
        return text_of(await ada.get("/console/account"))

    assert "not a key" in await answered("", {"secret": "AAAAAAAA", "code": code()})
    assert "asks for a code" in await answered("", {"secret": secret, "code": code()})
    other = pyotp.random_base32()
    assert "has a second factor already" in await answered("", {"secret": other, "code": code(other)})
    wrong = await answered("/remove", {"code": "000000"})
    assert "password, code or passkey is wrong" in wrong
    assert wrong == await answered("/remove", {"code": code(), "password": "not the password"})
    elsewhere = Person(ask, "ada")
    assert (await elsewhere.log_in(code=code())).status == 303
    assert "asks for no code any more" in await answered("/remove", {"code": code()})
    assert (await elsewhere.get("/console/stations")).status == 303, "other sessions end"


async def test_guesses_of_codes_with_the_right_password_are_few(ask: ApiClient) -> None:
    ada, clock = await employ(ask, "ada", Role.ADMIN), ask.backend.clock
    page = (await ada.get("/console/account")).body.decode()
    (secret,) = re.findall(r'name="secret" value="([A-Z2-7]+)"', page)
    factor = pyotp.TOTP(secret)
    fields = {"password": PASSWORD, "secret": secret, "code": factor.at(clock.utc_ms() // 1000)}
    await ada.send("/console/account/factor", fields)
    guesses = [await Person(ask, "ada").log_in(code="000000") for _ in range(6)]
    clock.advance(60)
    right = factor.at(clock.utc_ms() // 1000)
    guesses.append(await Person(ask, "ada").log_in(code=right))
    guesses.append(await Person(ask, "ada").log_in("not the password", code=right))
    assert {(each.status, text_of(each), each.headers.get("retry-after")) for each in guesses} == {
        (401, text_of(guesses[0]), None)
    }, "no answer says that the password is right, nor that no code counts for a while"
    reset = (await ask("POST", "/access/users/ada/reset")).json
    assert (await Person(ask, "ada").log_in(reset["password"])).status == 303, "an administrator helps"


async def test_a_session_lasts_as_long_for_people_where_time_is_simulated(ask: ApiClient) -> None:
    clock = ask.backend.clock
    clock.scale = 60.0
    ada = await employ(ask, "ada", Role.VIEWER)
    clock.advance(IDLE_MS / 1000 * 59)
    assert (await ada.get("/console/stations")).status == 200
    clock.advance(IDLE_MS / 1000 * 61)
    assert (await ada.get("/console/stations")).status != 200


async def test_a_form_of_a_login_that_has_ended_leads_back_to_its_page(ask: ApiClient) -> None:
    ada = await employ(ask, "ada", Role.ADMIN)
    ask.backend.clock.advance(IDLE_MS / 1000 + 1)
    for sender, following in (
        (f"https://{HOST}/console/tariffs/new?like=day", "?next=/console/tariffs/new%3Flike%3Dday"),
        (f"https://{HOST}/console", ""), ("", ""),
    ):  # fmt: skip
        answer = await ada.send("/console/tariffs", {"do": "store"}, referer=sender)
        assert (answer.status, answer.headers["location"]) == (303, f"/console/login{following}")
        assert "Your login has ended. Log in, and send the form again." in text_of(await ada.get("/console/login"))
    page = (await ada.get("/console/login?next=https://evil.test/console")).body.decode()
    assert "evil" not in page


async def test_sessions_end_by_logout_time_and_decision(ask: ApiClient) -> None:
    clock = ask.backend.clock
    ada, bob = await employ(ask, "ada", Role.ADMIN), await employ(ask, "bob", Role.VIEWER)

    async def is_in(person: Person) -> bool:
        return (await person.get("/console/stations")).status == 200

    clock.advance(IDLE_MS / 1000 + 1)
    assert not await is_in(ada)
    await ada.log_in()
    for _ in range(SESSION_MS // IDLE_MS * 2 - 1):
        clock.advance(IDLE_MS / 2000)
        assert await is_in(ada), "it is in use"
    clock.advance(IDLE_MS / 2000)
    assert not await is_in(ada), "a shift is over"
    await ada.log_in()
    await bob.log_in()
    stolen = dict(bob.cookies)
    await bob.send("/console/logout")
    thief = Person(ask)
    thief.cookies = stolen
    assert not await is_in(thief)
    await bob.log_in()
    assert (await ask("PUT", "/access/users/bob/role", {"role": "installer"})).status == 200
    assert (await bob.get("/console/sessions")).status == 403, "the new role counts at once"
    assert (await ask("DELETE", "/access/users/bob")).status == 204
    assert not await is_in(bob)
    assert await is_in(ada)


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "none"},
        {"sec_fetch_site": "", "origin": "https://evil.test"},
        {"sec_fetch_site": "same-origin", "origin": f"http://{HOST}"},
        {"sec_fetch_site": "same-origin", "origin": "null"},
    ],
)
async def test_forms_of_other_pages_do_nothing(ask: ApiClient, headers: dict[str, str]) -> None:
    ada = await employ(ask, "ada", Role.ADMIN)
    for path in ("/console/login", "/console/logout", "/console/users"):
        answer = await ada.send(path, {"name": "eve", "role": "admin", "password": PASSWORD}, **headers)
        assert answer.status == 403, path
    assert [each["name"] for each in (await ask("GET", "/access/users")).json] == ["ada"]


async def test_every_action_needs_the_token_of_its_own_session(ask: ApiClient) -> None:
    ada, bob = await employ(ask, "ada", Role.ADMIN), await employ(ask, "bob", Role.ADMIN)
    for route in ROUTES:
        if route.method == "POST" and not route.public:
            path = "/console" + re.sub(r"\{\w+\}", "none", route.path)
            for token in ("", "0" * 64, bob.csrf):
                answer = await ada.send(path, {"csrf": token})
                assert answer.status == 403, (path, token)
    assert (await ada.get("/console")).status == 200, "also not logged out"


@pytest.mark.some(2)
@pytest.mark.parametrize(
    "path",
    [
        "https://evil.test/",
        "//evil.test/",
        "/\\evil.test",
        "/console/../../evil",
        "/console//evil.test",
        "/console@evil.test",
        "javascript:alert(1)",
        "/console/x\r\nSet-Cookie: a=b",
        "/consolevil",
        "/stations",
    ],
)
async def test_a_login_leads_nowhere_else(ask: ApiClient, path: str) -> None:
    ada = await employ(ask, "ada", Role.ADMIN)
    answer = await ada.log_in(path=path)
    assert answer.headers["location"] == "/console"
    assert local(path) == "/console"
    assert local("/console/stations?text=A&status=Faulted") == "/console/stations?text=A&status=Faulted"


async def test_a_page_that_needs_a_login_is_shown_after_it(ask: ApiClient) -> None:
    ada = await employ(ask, "ada", Role.ADMIN)
    stranger = Person(ask, "ada")
    moved = await stranger.get("/console/stations?status=Faulted")
    assert moved.status == 303
    page = await stranger.get(moved.headers["location"])
    assert 'name="next" value="/console/stations?status=Faulted"' in page.body.decode()
    assert (await stranger.log_in(path="/console/stations?status=Faulted")).headers["location"].endswith("=Faulted")
    assert ada.name == "ada"
