"""Passkeys, by an authenticator in software."""

import json

import pyotp
import pytest

from csms.accounts.passkeys import credential_id
from csms.accounts.rules import Role
from tests.csms.api.support import Answer, ApiClient
from tests.csms.console.authenticator import PRESENT, Authenticator, add, is_in, log_in_once, text
from tests.csms.console.support import HOST, PASSWORD, Person, console, employ, text_of
from tests.csms.fixtures import Start
from v2g.errors import RefusedError


async def prove(person: Person, authenticator: Authenticator) -> dict[str, str]:
    """Return the fields of a form that a passkey has signed."""
    await person.get("/console/account")
    asked = (await person.send("/console/account/proof/options")).json
    return {"password": PASSWORD, "proof": authenticator.get(asked)}


async def log_in(person: Person, authenticator: Authenticator) -> Answer:
    asked = (await person.send("/console/login/passkey/options")).json
    fields = {"credential": authenticator.get(asked), "next": "/console/stations"}
    answer = await person.send("/console/login/passkey", fields)
    await person.get("/console/account")
    return answer


async def test_a_passkey_replaces_password_and_code(ask: ApiClient) -> None:
    ada, authenticator = await employ(ask, "ada", Role.OPERATOR), Authenticator()
    assert (await add(ada, authenticator)).status == 303
    page = text_of(await ada.get("/console/account"))
    assert "From now on you can log in by this passkey" in page
    assert "phone" in page
    again = Person(ask)
    answer = await log_in(again, authenticator)
    assert (answer.status, answer.headers["location"]) == (303, "/console/stations")
    assert "ada" in text_of(await again.get("/console/stations"))
    identifier = text(authenticator.id)
    await again.send(f"/console/account/passkeys/{identifier}/remove", await prove(again, authenticator))
    entries = (await ask("GET", "/audit?caller=ada")).json
    assert [each["operation"] for each in entries] == ["remove_passkey", "add_passkey", "change_password"]
    late = Person(ask)
    await log_in(late, authenticator)
    assert not is_in(late)


async def test_whose_pages_a_passkey_is_for_is_said_by_the_configuration(ask: ApiClient) -> None:
    """Not by the header Host, which a page of anybody's name may send here."""
    ada, authenticator = await employ(ask, "ada", Role.OPERATOR), Authenticator()
    await add(ada, authenticator)
    await ada.get("/console/account")
    for host in (HOST, "evil.test"):
        asked = (await Person(ask).send("/console/login/passkey/options", host=host)).json
        assert asked["rpId"] == HOST
        asked = (await ada.send("/console/account/passkeys/options", host=host)).json
        assert asked["rp"]["id"] == HOST
    misled = Person(ask)
    await log_in(misled, Authenticator("https://evil.test"))
    assert not is_in(misled)


async def test_a_change_is_proved_by_one_of_ones_own_passkeys(ask: ApiClient) -> None:
    ada, bob = await employ(ask, "ada", Role.OPERATOR), await employ(ask, "bob", Role.ADMIN)
    own, others = Authenticator(), Authenticator(name="passkey-of-bob")
    assert (await add(ada, own)).status == 303
    assert (await add(bob, others, label=f" {'y' * 70}")).status == 303
    shown = text_of(await bob.get("/console/account"))
    assert "y" * 60 in shown
    assert "y" * 61 not in shown
    remove = f"/console/account/passkeys/{text(own.id)}/remove"
    await ada.send(remove, await prove(ada, others))
    assert "password, code or passkey is wrong" in text_of(await ada.get("/console/account"))
    assert (await add(ada, own, **await prove(ada, own))).status == 303
    assert "known already" in text_of(await ada.get("/console/account"))
    for _ in range(12):
        await log_in(again := Person(ask), own)
        assert is_in(again)
    await ada.send(remove, await prove(ada, own))
    assert "The passkey is removed" in text_of(await ada.get("/console/account"))


async def test_answers_for_others_and_used_ones_are_refused(ask: ApiClient) -> None:
    ada, authenticator = await employ(ask, "ada", Role.OPERATOR), Authenticator()
    await add(ada, authenticator)
    stranger = Person(ask)
    asked = (await stranger.send("/console/login/passkey/options")).json
    fields = {"credential": authenticator.get(asked)}
    other = Person(ask)
    await other.send("/console/login/passkey/options")
    await other.send("/console/login/passkey", fields)
    assert not is_in(other), "a challenge of another browser"
    await stranger.send("/console/login/passkey", fields)
    assert is_in(stranger)
    stranger.cookies.pop("__Host-v2g-session")
    await stranger.send("/console/login/passkey", fields)
    assert not is_in(stranger), "the challenge is used"
    authenticator.counter = 0
    cloned = Person(ask)
    await log_in(cloned, authenticator)
    assert not is_in(cloned), "a counter that falls is that of a clone"
    late = Person(ask)
    asked = (await late.send("/console/login/passkey/options")).json
    ask.backend.clock.advance(301)
    authenticator.counter = 9
    await late.send("/console/login/passkey", {"credential": authenticator.get(asked)})
    assert not is_in(late)


@pytest.mark.parametrize(
    "authenticator",
    [Authenticator("https://evil.test"), Authenticator(flags=PRESENT), Authenticator(f"https://{HOST}:444")],
    ids=["another page", "no user verification", "another port"],
)
async def test_passkeys_of_other_pages_and_without_verification_are_not_added(
    ask: ApiClient, authenticator: Authenticator
) -> None:
    ada = await employ(ask, "ada", Role.OPERATOR)
    await add(ada, authenticator)
    assert "this passkey is not accepted" in text_of(await ada.get("/console/account"))
    await log_in(stranger := Person(ask), authenticator)
    assert not is_in(stranger)


async def test_a_passkey_needs_the_password_and_goes_with_a_reset(ask: ApiClient) -> None:
    ada, authenticator = await employ(ask, "ada", Role.OPERATOR), Authenticator()
    await add(ada, authenticator, "another password")
    assert "password, code or passkey is wrong" in text_of(await ada.get("/console/account"))
    await add(ada, authenticator)
    assert (await ask("POST", "/access/users/ada/reset")).status == 200
    stranger = Person(ask)
    await log_in(stranger, authenticator)
    assert not is_in(stranger)
    for broken in ("", "[]", "{}", '{"id": 7}', "\x00"):
        answer = await stranger.send("/console/login/passkey", {"credential": broken})
        assert (answer.status, is_in(stranger)) == (303, False)


async def test_a_challenge_is_used_once_over_nodes(ask: ApiClient) -> None:
    ada, authenticator = await employ(ask, "ada", Role.OPERATOR), Authenticator()
    await add(ada, authenticator)
    async with console(ask.backend) as other:
        await log_in_once(Person(ask), Person(other), authenticator)


async def test_host_and_origin_are_those_of_the_configuration(ask: ApiClient) -> None:
    ada = await employ(ask, "ada", Role.OPERATOR)
    asked = (await ada.send("/console/account/passkeys/options", host="evil.test")).json
    assert asked["rp"] == {"id": HOST, "name": "v2g-engine"}
    evil = Authenticator("https://evil.test")
    fields = {"credential": evil.create(asked), "password": PASSWORD}
    await ada.send("/console/account/passkeys", fields, host="evil.test")
    shown = text_of(await ada.get("/console/account"))
    assert "this passkey is not accepted" in shown
    assert "origin" in shown, "why, as the library says it"


async def test_without_an_origin_there_are_no_passkeys(backend: Start) -> None:
    async with backend(api={"origin": ""}) as csms, console(csms) as ask:
        ada = await employ(ask, "ada", Role.OPERATOR)
        for path in ("/console/account/passkeys/options", "/console/login/passkey/options"):
            answer = await ada.send(path)
            assert (answer.status, "set api.origin" in text_of(answer)) == (409, True)


@pytest.mark.parametrize("held", ["a passkey", "a code", "both"])
async def test_each_change_of_a_credential_asks_for_the_strongest_factor_and_ends_other_sessions(
    ask: ApiClient, held: str
) -> None:
    ada, clock = await employ(ask, "ada", Role.OPERATOR), ask.backend.clock
    authenticator, factor = Authenticator(), pyotp.TOTP(pyotp.random_base32())

    def code() -> dict[str, str]:
        clock.advance(60)
        return {"password": PASSWORD, "code": factor.at(clock.utc_ms() // 1000)}

    if held != "a code":
        await add(ada, authenticator)
    if held != "a passkey":
        signed = {} if held == "a code" else await prove(ada, authenticator)
        await ada.send("/console/account/factor", {"secret": factor.secret, **signed, **code()})
    await ada.get("/console/account")

    async def shown() -> dict[str, str]:
        return code() if held == "a code" else await prove(ada, authenticator)

    other = Authenticator(name="another passkey")
    new = {"new": "eight tame geese walk", "again": "eight tame geese walk"}
    remove = f"/console/account/passkeys/{text(other.id)}/remove"
    for number, (path, fields) in enumerate(
        (("/console/account/passkeys", {}), (remove, {}), ("/console/account/password", new))
    ):
        elsewhere = Person(ask, "ada")
        if held == "a code":
            await elsewhere.log_in(code=code()["code"])
        else:
            await log_in(elsewhere, authenticator)
        if number == 0:
            fields = {"credential": other.create((await ada.send(f"{path}/options")).json)}
        await ada.send(path, {"password": PASSWORD, **fields})
        assert "password, code or passkey is wrong" in text_of(await ada.get("/console/account"))
        assert (await elsewhere.get("/console/stations")).status == 200
        await ada.send(path, {**fields, **await shown()})
        assert "wrong" not in text_of(await ada.get("/console/account"))
        assert (await elsewhere.get("/console/stations")).status == 303, path
        assert (await ada.get("/console/stations")).status == 200, path


async def test_a_ceremony_serves_only_what_and_whom_it_was_begun_for(ask: ApiClient) -> None:
    """A login is no proof, a proof is no login and is of one person, and neither makes a passkey."""
    ada, bob = await employ(ask, "ada", Role.OPERATOR), await employ(ask, "bob", Role.OPERATOR)
    authenticator, other = Authenticator(), Authenticator(name="that of bob")
    await add(ada, authenticator)
    await add(bob, other)
    new = {"new": "eight tame geese walk", "again": "eight tame geese walk"}

    async def changed(fields: dict[str, str]) -> bool:
        await ada.get("/console/account")
        await ada.send("/console/account/password", {"password": PASSWORD, **new, **fields})
        return "wrong" not in text_of(await ada.get("/console/account"))

    asked = (await ada.send("/console/login/passkey/options")).json
    ada.cookies["__Host-v2g-proof"] = ada.cookies["__Host-v2g-passkey"]
    assert not await changed({"proof": authenticator.get(asked)})
    theirs = await prove(bob, other)
    ada.cookies["__Host-v2g-proof"] = bob.cookies["__Host-v2g-proof"]
    assert not await changed(theirs)
    own = (await ada.send("/console/account/proof/options")).json
    assert not await changed({"proof": other.get(own)}), "signed by the passkey of another person"
    stranger = Person(ask)
    proof = (await ada.send("/console/account/proof/options")).json
    stranger.cookies["__Host-v2g-passkey"] = ada.cookies["__Host-v2g-proof"]
    await stranger.send("/console/login/passkey", {"credential": authenticator.get(proof)})
    assert not is_in(stranger)
    stranger.cookies["__Host-v2g-passkey"] = "forged"
    await stranger.send("/console/login/passkey", {"credential": authenticator.get(proof)})
    assert "this was not begun in this browser" in text_of(await stranger.get("/console/login"))
    assert await changed(await prove(ada, authenticator))


async def test_a_ceremony_may_take_five_minutes(ask: ApiClient) -> None:
    ada, authenticator = await employ(ask, "ada", Role.OPERATOR), Authenticator()
    await add(ada, authenticator)
    for late_s, taken in ((300, True), (300.001, False)):
        person = Person(ask)
        asked = (await person.send("/console/login/passkey/options")).json
        ask.backend.clock.advance(late_s)
        await person.send("/console/login/passkey", {"credential": authenticator.get(asked)})
        assert is_in(person) == taken


def test_an_answer_names_a_passkey_of_limited_length() -> None:
    for good in ("a", "b" * 1400):
        assert credential_id(json.dumps({"id": good})) == good
    text = json.dumps({"id": "a"}).ljust(20_000)
    assert credential_id(f"{text}x") == "a", "more is not read"
    bad = [json.dumps({"id": each}) for each in ("", "b" * 1401, 7, None)]
    for each in (*bad, "[]", "{", json.dumps({"id": "a", "more": "x" * 20_000})):
        with pytest.raises(RefusedError, match="not an answer of a passkey"):
            credential_id(each)
