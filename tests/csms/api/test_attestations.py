"""Attestation over the API: stations are enrolled with keys of their TPMs, listed, asked and removed (R148)."""

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from csms.attestations import store as attestations
from tests.csms.api.support import ApiClient

pytestmark = pytest.mark.requirement("R148")

PATH = "/stations/CS-V2G-0001/attestation"


def key() -> dict[str, str]:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    return {"tpm_key": public.public_bytes(serialization.Encoding.PEM, form).decode()}


async def test_a_station_is_enrolled_listed_and_removed(ask: ApiClient) -> None:
    for method, path in (("GET", PATH), ("DELETE", PATH), ("POST", f"{PATH}/ask")):
        assert (await ask(method, path)).status == 404, path
    refused = await ask("PUT", PATH, {"tpm_key": "no key"})
    assert (refused.status, refused.json["detail"]) == (400, "tpm_key: not a public key or certificate in PEM")
    body = key()
    made = await ask("PUT", PATH, body)
    assert (made.status, made.json["state"], made.json["asked_ms"]) == (200, "Pending", None)
    assert [each["station_id"] for each in (await ask("GET", "/attestations?state=Pending")).json] == ["CS-V2G-0001"]
    assert (await ask("GET", "/attestations?state=Whole")).json == []
    assert (await ask("GET", PATH)).json["tpm_key"] == body["tpm_key"]
    assert (await ask("DELETE", PATH)).status == 204
    assert (await ask("GET", "/attestations")).json == []


async def test_a_station_that_shall_be_asked_now_keeps_its_state_until_it_answers(ask: ApiClient) -> None:
    await ask("PUT", PATH, key())
    store = ask.backend.services.store
    before = await store.read(attestations.find, "CS-V2G-0001")
    assert before is not None
    await store.run(
        attestations.enrol, whole := type(before)(station_id="CS-V2G-0001", tpm_key="", state="Whole", asked_ms=5)
    )
    answer = await ask("POST", f"{PATH}/ask")
    assert (answer.status, answer.json["state"], answer.json["asked_ms"]) == (200, "Whole", None)
    after = await store.read(attestations.find, "CS-V2G-0001")
    assert after is not None
    assert (after.nonce, after.asked_ms, after.state) == ("", 0, whole.state)


async def test_an_audit_entry_has_no_nonce(ask: ApiClient) -> None:
    await ask("PUT", PATH, key())
    await ask("POST", f"{PATH}/ask")
    assert "nonce" not in str((await ask("GET", "/audit")).json)
