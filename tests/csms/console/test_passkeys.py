"""Passkeys, by an authenticator in software."""

import base64
import hashlib
import json
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from csms.domain.security.access import Role
from tests.csms.api.support import Answer, ApiClient
from tests.csms.console.support import HOST, PASSWORD, Person, employ, text_of

PRESENT, VERIFIED, ATTESTED = 1, 4, 64


def text(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


class Authenticator:
    """A security key with one passkey (WebAuthn Level 2, 6), for pages of an origin."""

    def __init__(self, origin: str = f"https://{HOST}", *, flags: int = PRESENT | VERIFIED) -> None:
        self.origin, self.flags, self.counter = origin, flags, 0
        self.key, self.id = ec.generate_private_key(ec.SECP256R1()), b"passkey-of-the-test"

    def create(self, asked: dict[str, Any]) -> str:
        """Return the answer to options of a registration."""
        point = self.key.public_key().public_numbers()
        cose = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32, "big"), -3: point.y.to_bytes(32, "big")})
        attested = bytes(16) + len(self.id).to_bytes(2, "big") + self.id + cose
        data = self._data(asked["rp"]["id"], ATTESTED) + attested
        response = {"attestationObject": text(cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data}))}
        return self._answer("webauthn.create", asked, response)

    def get(self, asked: dict[str, Any]) -> str:
        """Return the answer to options of a login."""
        self.counter += 1
        data = self._data(asked["rpId"])
        signed = data + hashlib.sha256(self._client("webauthn.get", asked)).digest()
        signature = self.key.sign(signed, ec.ECDSA(hashes.SHA256()))
        response = {"authenticatorData": text(data), "signature": text(signature)}
        return self._answer("webauthn.get", asked, response)

    def _data(self, rp_id: str, more: int = 0) -> bytes:
        counter = self.counter.to_bytes(4, "big")
        return hashlib.sha256(rp_id.encode()).digest() + bytes([self.flags | more]) + counter

    def _client(self, kind: str, asked: dict[str, Any]) -> bytes:
        return json.dumps({"type": kind, "challenge": asked["challenge"], "origin": self.origin}).encode()

    def _answer(self, kind: str, asked: dict[str, Any], response: dict[str, str]) -> str:
        response["clientDataJSON"] = text(self._client(kind, asked))
        return json.dumps({"id": text(self.id), "rawId": text(self.id), "type": "public-key", "response": response})


async def add(person: Person, authenticator: Authenticator, password: str = PASSWORD) -> Answer:
    asked = (await person.send("/console/account/passkeys/options")).json
    fields = {"credential": authenticator.create(asked), "password": password, "label": "phone"}
    return await person.send("/console/account/passkeys", fields)


async def log_in(person: Person, authenticator: Authenticator) -> Answer:
    asked = (await person.send("/console/login/passkey/options")).json
    fields = {"credential": authenticator.get(asked), "next": "/console/stations"}
    answer = await person.send("/console/login/passkey", fields)
    await person.get("/console/account")
    return answer


def is_in(person: Person) -> bool:
    return "__Host-v2g-session" in person.cookies


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
    await again.send(f"/console/account/passkeys/{identifier}/remove")
    entries = (await ask("GET", "/audit?caller=ada")).json
    assert [each["operation"] for each in entries] == ["remove_passkey", "add_passkey", "change_password"]
    late = Person(ask)
    await log_in(late, authenticator)
    assert not is_in(late)


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
    assert "the present password is wrong" in text_of(await ada.get("/console/account"))
    await add(ada, authenticator)
    assert (await ask("POST", "/access/users/ada/reset")).status == 200
    stranger = Person(ask)
    await log_in(stranger, authenticator)
    assert not is_in(stranger)
    for broken in ("", "[]", "{}", '{"id": 7}', "\x00"):
        answer = await stranger.send("/console/login/passkey", {"credential": broken})
        assert (answer.status, is_in(stranger)) == (303, False)
