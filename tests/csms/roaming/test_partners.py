"""Partners register with each other over HTTPS, rotate tokens, and get nowhere without one."""

import asyncio
import base64
import ssl
import threading
from typing import Any

import aiohttp
import pytest
from sqlalchemy import Connection, text

from csms.accounts.rules import Role
from csms.roaming import store as rows
from csms.roaming.rules import digest_of
from tests.csms.roaming.peers import Operator, acquainted, operator
from tests.csms.roaming.scripted_partner import ROLE, ScriptedPartner
from tests.csms.support import TOKENS
from v2g_cli.demo.processes import free_port

pytestmark = pytest.mark.requirement("R202")


async def invited(cpo: Operator, **settings: Any) -> str:
    """Invite a partner; return token A."""
    made = await cpo.ask("POST", "/roaming/partners", {"partner_id": "tnm", **settings}, 201)
    token: str = made["token"]
    return token


def credentials(partner: ScriptedPartner, **changes: Any) -> dict[str, Any]:
    """Return what a partner sends in a handshake."""
    return {"token": "token-b", "url": f"{partner.url}/versions", "roles": [ROLE], **changes}


async def test_two_back_ends_register_and_each_knows_the_other(cpo: Operator, emsp: Operator) -> None:
    await acquainted(cpo, emsp)
    at_emsp = await emsp.ask("GET", "/roaming/partners/cpo")
    at_cpo = await cpo.ask("GET", "/roaming/partners/emsp")
    assert (at_emsp["state"], at_emsp["version"], at_cpo["state"]) == ("registered", "2.3.0", "registered")
    assert "DE*CPO CPO" in at_emsp["parties"]
    assert "DE*MSP EMSP" in at_cpo["parties"]
    assert at_cpo["versions_url"] == f"{emsp.url}/ocpi/versions"
    for _ in range(2):  # rotation: in either direction, as often as wanted
        await emsp.ask("POST", "/roaming/partners/cpo/register")
        await cpo.ask("POST", "/roaming/partners/emsp/register")
    await emsp.ask("DELETE", "/roaming/partners/cpo", status=204)
    assert (await cpo.ask("GET", "/roaming/partners/emsp"))["state"] == "unregistered"
    assert await emsp.ask("GET", "/roaming/partners") == []


async def test_the_handshake_calls_back_with_b_and_ends_token_a(cpo: Operator) -> None:
    token = await invited(cpo)
    with ScriptedPartner().running() as partner:
        partner.offers()
        versions = await cpo.ocpi("GET", "/versions", token)
        assert {each["version"] for each in versions.data} == {"2.2.1", "2.3.0"}
        assert (versions.headers["X-Request-ID"], versions.headers["X-Correlation-ID"]) == ("r-1", "c-1")
        (url,) = [each["url"] for each in versions.data if each["version"] == "2.2.1"]
        details = (await cpo.ocpi("GET", url, token)).data
        (endpoint,) = [each["url"] for each in details["endpoints"] if each["identifier"] == "credentials"]
        assert (await cpo.ocpi("GET", "/cpo/2.2.1/locations", token)).status == 401
        assert (await cpo.ocpi("PUT", endpoint, token, credentials(partner))).status == 405
        answer = await cpo.ocpi("POST", endpoint, token, credentials(partner))
        assert (answer.status, answer.code) == (200, 1000)
        assert {path for _, path, _ in partner.requests} == {"/versions", "/d"}
        assert {headers["Authorization"] for _, _, headers in partner.requests} == {"Token dG9rZW4tYg=="}
        assert (await cpo.ocpi("GET", "/cpo/2.2.1/locations", token)).status == 401
        issued = answer.data["token"]
        assert (await cpo.ocpi("POST", endpoint, issued, credentials(partner))).status == 405
        assert (await cpo.ocpi("GET", "/versions", token)).status == 401
        assert (await cpo.ocpi("GET", endpoint, issued, bare=True)).data["roles"][0]["party_id"] == "CPO"
        # a rotation keeps the old token until the new one is used
        rotated = (await cpo.ocpi("PUT", endpoint, issued, credentials(partner, token="token-b2"))).data["token"]
        assert (await cpo.ocpi("GET", endpoint, issued)).status == 200
        assert (await cpo.ocpi("GET", endpoint, rotated)).status == 200
        assert (await cpo.ocpi("GET", endpoint, issued)).status == 401
        assert (await cpo.ocpi("DELETE", endpoint, rotated)).code == 1000
        assert (await cpo.ocpi("GET", endpoint, rotated)).status == 401
        failed = await cpo.ask("POST", "/roaming/partners/tnm/register", status=502)
        assert failed["hint"] == "remove it, and add it again"


async def test_a_handshake_whose_answer_was_lost_is_repeated(cpo: Operator) -> None:
    """A partner that did not wait for our calls back, or whose connection broke, had no token that was any good."""
    assert cpo.clock is not None
    token = await invited(cpo)
    with ScriptedPartner().running() as partner:
        partner.offers()
        lost = (await cpo.ocpi("POST", "/2.2.1/credentials", token, credentials(partner))).data["token"]
        again = await cpo.ocpi("POST", "/2.2.1/credentials", token, credentials(partner))
        assert (await cpo.ocpi("GET", "/versions", lost)).status == 401
        cpo.clock.advance(899)
        assert (await cpo.ocpi("GET", "/versions", token)).status == 200
        assert (await cpo.ocpi("PUT", "/2.2.1/credentials", token, credentials(partner))).status == 405
        cpo.clock.advance(1)
        assert (await cpo.ocpi("GET", "/versions", token)).status == 401
        rotated = await cpo.ocpi("PUT", "/2.2.1/credentials", again.data["token"], credentials(partner))
        assert (await cpo.ocpi("GET", "/cpo/2.2.1/locations", again.data["token"])).status == 200
        assert (await cpo.ocpi("GET", "/cpo/2.2.1/locations", rotated.data["token"])).status == 200


async def test_what_the_database_says_is_for_the_log_alone(cpo: Operator, caplog: pytest.LogCaptureFixture) -> None:
    renamed = text("ALTER TABLE roaming_partners RENAME TO x_roaming_partners")
    await cpo.services.store.run(Connection.execute, renamed)
    answer = await cpo.ocpi("GET", "/versions", "x" * 40)
    assert (answer.status, answer.code, answer.body["status_message"]) == (503, 3000, "the store is unavailable")
    assert "roaming_partners" in caplog.text


async def test_of_two_rotations_at_once_the_second_is_refused(cpo: Operator) -> None:
    """By both sides, or two nodes: each side could keep a token that the other one had replaced."""
    token = await invited(cpo)
    with ScriptedPartner().running() as partner:
        partner.offers()
        issued = (await cpo.ocpi("POST", "/2.2.1/credentials", token, credentials(partner))).data["token"]
        partner.answers["/credentials"] = 200, credentials(partner, token="token-c")
        partner.held["/credentials"] = threading.Event()
        assert (await cpo.ocpi("GET", "/versions", issued)).status == 200
        ours = asyncio.create_task(cpo.ask("POST", "/roaming/partners/tnm/register"))
        said = await partner.sent("PUT", "/credentials")
        theirs = await cpo.ocpi("PUT", "/2.2.1/credentials", issued, credentials(partner, token="token-d"))
        assert theirs.code == 3000
        assert "under way" in (await cpo.ask("POST", "/roaming/partners/tnm/register", status=502))["detail"]
        partner.held["/credentials"].set()
        await ours
        assert (await cpo.ocpi("GET", "/versions", said["token"])).status == 200
        await cpo.ask("POST", "/roaming/partners/tnm/register")
        authorizations = [headers["Authorization"] for _, _, headers in partner.requests]
        assert authorizations[-1] == f"Token {base64.b64encode(b'token-c').decode()}"


async def test_a_token_of_a_rotation_that_was_never_used_outlives_rotations_that_fail(cpo: Operator) -> None:
    """Its partner, which has no other one, was locked out."""
    token = await invited(cpo)
    with ScriptedPartner().running() as partner:
        partner.offers()
        issued = (await cpo.ocpi("POST", "/2.2.1/credentials", token, credentials(partner))).data["token"]
        assert (await cpo.ocpi("GET", "/versions", issued)).status == 200
        partner.answers["/credentials"] = 200, credentials(partner, token="token-c")
        await cpo.ask("POST", "/roaming/partners/tnm/register")
        rotated = (await partner.sent("PUT", "/credentials"))["token"]
        partner.answers["/credentials"] = 500, {}
        for _ in range(2):
            failed = await cpo.ask("POST", "/roaming/partners/tnm/register", status=502)
            assert failed["hint"].startswith("try again; if the partner does not take the token")
        assert (await cpo.ocpi("GET", "/versions", rotated)).status == 200


async def test_the_first_use_of_a_token_ends_the_repetition_of_the_handshake_at_once(cpo: Operator) -> None:
    """A node that was killed between the two took the next rotation's older token for token A."""
    store = cpo.services.store
    token = await invited(cpo)
    with ScriptedPartner().running() as partner:
        partner.offers()
        issued = (await cpo.ocpi("POST", "/2.2.1/credentials", token, credentials(partner))).data["token"]
    (known,) = await store.read(rows.list_partners)
    assert known.partner.repeats_until_ms > 0
    await store.run(rows.note_use, "tnm", [digest_of(issued)], 0)
    (known,) = await store.read(rows.list_partners)
    assert (known.partner.state, known.partner.repeats_until_ms) == ("registered", 0)


async def test_tokens_are_not_in_the_database(cpo: Operator) -> None:
    token = await invited(cpo)
    with ScriptedPartner().running() as partner:
        partner.offers()
        issued = (await cpo.ocpi("POST", "/2.2.1/credentials", token, credentials(partner))).data["token"]
        folder = cpo.csms.config.data_dir
        written = b"".join(each.read_bytes() for each in folder.glob("csms.sqlite3*"))
        assert issued.encode() not in written
        assert token.encode() not in written
        assert b"token-b" not in written


async def test_who_cannot_be_called_is_not_registered(cpo: Operator) -> None:
    token = await invited(cpo)
    with ScriptedPartner().running() as partner:

        async def said(**changes: Any) -> int:
            answer = await cpo.ocpi("POST", "/2.2.1/credentials", token, credentials(partner, **changes))
            assert answer.status == 200
            return answer.code

        assert await said() == 3001  # no versions
        partner.offers("2.1.1")
        assert await said() == 3002
        partner.offers(modules=("locations",))
        assert await said() == 3003
        partner.offers()
        assert await said(roles=[{**ROLE, "country_code": "DE", "party_id": "CPO"}]) == 2001  # our own party
        assert await said(roles=[]) == 2001
        assert await said(url="http://10.0.0.1/versions") == 3001
        assert await said(url="file:///etc/passwd") == 3001
        partner.answers["/versions"] = 302, f"{partner.url}/elsewhere"
        assert await said() == 3001
        assert not [path for _, path, _ in partner.requests if path == "/elsewhere"]
        endpoints = [{"identifier": "credentials", "role": "SENDER", "url": "https://169.254.169.254/latest"}]
        partner.offers()
        partner.answers["/d"] = 200, {"version": "2.2.1", "endpoints": endpoints}
        assert await said() == 3001
        assert (await cpo.ocpi("POST", "/2.2.1/credentials", token, b"{")).status == 400
    assert (await cpo.ask("GET", "/roaming/partners/tnm"))["state"] == "invited"
    assert (await cpo.ocpi("GET", "/versions", token)).status == 200  # token A is still good


async def test_unknown_tokens_and_paths_are_refused(cpo: Operator) -> None:
    token = await invited(cpo)
    for wrong in ("", "x", "\u00e4".encode().decode(), token + "x"):
        assert (await cpo.ocpi("GET", "/versions", wrong or "-")).status == 401
    assert (await cpo.ocpi("POST", "/versions", token)).status == 405
    assert (await cpo.ocpi("GET", "/2.1.1", token)).status in (401, 404)
    assert cpo.csms.events("request_refused")


async def test_a_partner_that_asks_too_often_waits(tmp_path: Any, pki: Any, empty_database: Any) -> None:
    limits = {"requests_per_s": 0.5, "requests_at_once": 3}
    async with operator(tmp_path, pki, empty_database, "CPO", roaming=limits) as cpo:
        token = await invited(cpo)
        answers = [await cpo.ocpi("GET", "/versions", token) for _ in range(4)]
        assert [each.status for each in answers] == [200, 200, 200, 429]
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= 2


async def test_partners_that_are_not_strict_are_understood(cpo: Operator) -> None:
    """Objects in lists, slashes that a redirect adds, long tokens, endpoints without roles, and versions and modules
    that we do not use, without a URL or at another host."""
    with ScriptedPartner().running() as partner:
        partner.offers()
        partner.answers["/versions"][1].extend([{"version": "2.0"}, {"version": "3.0", "url": ""}])
        partner.answers["/d"] = 200, [{"version": "2.2.1", "endpoints": [
            {"identifier": "credentials", "url": f"{partner.url}/credentials"},
            {"identifier": "hubclientinfo", "role": "SENDER", "url": ""},
            {"identifier": "nltnm-invoices", "role": "SENDER", "url": "https://invoices.test/"}]}]  # fmt: skip
        partner.answers["/credentials"] = 307, f"{partner.url}/credentials/"
        partner.answers["/credentials/"] = 200, [credentials(partner, token="c" * 200)]
        body = {"partner_id": "tnm", "versions_url": f"{partner.url}/versions", "token": "A"}
        await cpo.ask("POST", "/roaming/partners", body, 201)
        assert (await cpo.ask("POST", "/roaming/partners/tnm/register"))["state"] == "registered"
        partner.answers["/credentials"] = 307, f"{partner.url}/elsewhere/credentials/"
        await cpo.ask("POST", "/roaming/partners/tnm/register", status=502)


async def test_what_a_configuration_lacks_for_a_partner_is_said(cpo: Operator) -> None:
    far = {"partner_id": "far", "versions_url": "https://10.9.8.7/versions", "token": "A"}
    assert "roaming.allow" in (await cpo.ask("POST", "/roaming/partners", far, 409))["hint"]
    nobody = {"partner_id": "away", "versions_url": f"https://127.0.0.1:{free_port()}/versions", "token": "A"}
    await cpo.ask("POST", "/roaming/partners", nobody, 201)
    assert "roaming.roots" in (await cpo.ask("POST", "/roaming/partners/away/register", status=502))["hint"]


async def test_a_handshake_that_fails_names_the_request_and_asks_for_the_token_only_where_it_may_be_wrong(
    cpo: Operator,
) -> None:
    """A version that is too old, or what credentials lacked, was said to be of token A."""
    with ScriptedPartner().running() as partner:
        body = {"partner_id": "tnm", "versions_url": f"{partner.url}/versions", "token": "A"}
        await cpo.ask("POST", "/roaming/partners", body, 201)

        async def failed() -> tuple[str, str]:
            said = await cpo.ask("POST", "/roaming/partners/tnm/register", status=502)
            return said["detail"].partition("failed: ")[2], said.get("hint", "")

        partner.offers("2.1.1")
        assert await failed() == ("no common version: 2.3.0, 2.2.1 here, 2.1.1 there", "")
        partner.offers()
        partner.answers["/credentials"] = 200, {"token": "c"}
        assert await failed() == (f"POST {partner.url}/credentials: Object missing required field `url`", "")
        partner.answers["/credentials"] = 405, None
        assert await failed() == (
            f"POST {partner.url}/credentials: HTTP 405",
            "it has registered us already: it has to unregister us, and give a new token A",
        )
        partner.answers["/versions"] = 401, None
        assert await failed() == (f"GET {partner.url}/versions: HTTP 401", "is the token A still valid there?")


async def test_partners_may_have_tls_1_2_and_nobody_else(cpo: Operator) -> None:
    token = await invited(cpo)
    older = cpo.csms.context(None)
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    admin = {"Authorization": f"Bearer {TOKENS[Role.ADMIN]}"}
    async with aiohttp.ClientSession() as session:
        for path, headers, status in (
            ("/ocpi/versions", {"Authorization": f"Token {token}"}, 200), ("/roaming/partners", admin, 426),
        ):  # fmt: skip
            async with session.get(f"{cpo.url}{path}", headers=headers, ssl=older) as response:
                assert response.status == status
    older.set_ciphers("AES256-SHA256:AES256-GCM-SHA384")  # no forward secrecy
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(f"{cpo.url}/ocpi/versions", ssl=older)


async def test_a_partner_that_wants_plain_tokens_gets_them(cpo: Operator) -> None:
    with ScriptedPartner().running() as partner:
        partner.offers("2.3.0")
        partner.answers["/credentials"] = 200, credentials(partner, token="token-c")
        body = {"partner_id": "tnm", "versions_url": f"{partner.url}/versions", "token": "A", "bare_token": True}
        await cpo.ask("POST", "/roaming/partners", body, 201)
        registered = await cpo.ask("POST", "/roaming/partners/tnm/register")
        assert (registered["version"], registered["state"]) == ("2.3.0", "registered")
        assert {headers["Authorization"] for _, _, headers in partner.requests} == {"Token A"}
        partner.answers["/credentials"] = 500, None
        await cpo.ask("DELETE", "/roaming/partners/tnm", status=204)  # also if it cannot be told
        assert partner.requests[-1][0] == "DELETE"
        assert partner.requests[-1][2]["Authorization"] == "Token token-c"
