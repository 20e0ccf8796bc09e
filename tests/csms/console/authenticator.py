"""A security key in software, and what people do with it at the console."""

import base64
import hashlib
import json
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from tests.csms.api.support import Answer
from tests.csms.console.support import HOST, PASSWORD, Person, text_of

PRESENT, VERIFIED, ATTESTED = 1, 4, 64


def text(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


class Authenticator:
    """A security key with one passkey (WebAuthn Level 2, 6), for pages of an origin."""

    def __init__(
        self, origin: str = f"https://{HOST}", *, flags: int = PRESENT | VERIFIED, name: str = "passkey-of-the-test"
    ) -> None:
        self.origin, self.flags, self.counter = origin, flags, 0
        self.key, self.id = ec.generate_private_key(ec.SECP256R1()), name.encode()

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


async def add(person: Person, authenticator: Authenticator, password: str = PASSWORD, **proof: str) -> Answer:
    asked = (await person.send("/console/account/passkeys/options")).json
    fields = {"credential": authenticator.create(asked), "password": password, "label": "phone", **proof}
    return await person.send("/console/account/passkeys", fields)


def is_in(person: Person) -> bool:
    return "__Host-v2g-session" in person.cookies


async def log_in_once(one: Person, two: Person, authenticator: Authenticator) -> None:
    """Ask for a challenge at one node, and answer it at another, and then once more at the first."""
    asked = (await one.send("/console/login/passkey/options")).json
    authenticator.counter = -1  # it always says 0, so that only the challenge tells a repetition
    fields = {"credential": authenticator.get(asked)}
    two.cookies = dict(one.cookies)
    await two.send("/console/login/passkey", fields)
    assert is_in(two), "any node finishes it"
    await one.send("/console/login/passkey", fields)
    assert not is_in(one)
    assert "this was used already" in text_of(await one.get("/console/login"))
