"""Webhooks: signed so that another implementation of the rule agrees, tried again until they arrive, given up late."""

import asyncio
import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from csms.webhooks import store as rows
from csms.webhooks.rules import BACK_OFF_S, MAX_FAILURES, Reach, check_url, signature
from csms.webhooks.work import call_webhook
from tests.csms.api.receiver import Receiver
from tests.csms.api.support import ApiClient, serving
from tests.csms.backend import Backend
from tests.csms.settlement.journals import T0, journal
from tests.csms.settlement.witness import delivered_whole
from v2g.energy.settlement.bookkeeping import period_of
from v2g.errors import ConfigError, StoreError


async def make(ask: ApiClient, receiver: Receiver, **changes: Any) -> tuple[str, str]:
    """Make a webhook for the connections of stations; return its path and secret."""
    made = await ask("POST", "/webhooks", {"url": receiver.url, "kinds": ["station_connected"], **changes})
    assert made.status == 201, made.json
    return made.headers["location"], made.json["secret"]


async def settled(ask: ApiClient, path: str, **wanted: Any) -> dict[str, Any]:
    """Wait until the newest delivery has these values."""
    async with asyncio.timeout(60):
        while True:
            found = (await ask("GET", f"{path}/deliveries")).json
            if found and all(found[0][name] == value for name, value in wanted.items()):
                newest: dict[str, Any] = found[0]
                return newest
            await asyncio.sleep(0.005)


async def test_an_event_arrives_once_and_signed(ask: ApiClient) -> None:
    async with Receiver().running() as receiver:
        path, secret = await make(ask, receiver)
        await ask.backend.booted()
        headers, body = await receiver.call()
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        key = base64.b64decode(secret.removeprefix("whsec_"))
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"
        delivery = await settled(ask, path, due_ms=None, error="")
        assert delivery["body"]["station_id"] == "CS-V2G-0001"
        assert delivery["attempts"] == 1
        assert receiver.calls.empty()
        assert secret.encode() not in (await ask("GET", path)).body


async def test_numbers_of_cards_are_shown_if_whoever_made_it_may_read_them(ask: ApiClient) -> None:
    scopes = {"name": "hooks", "role": "operator", "scopes": ["manage_webhooks"]}
    token = (await ask("POST", "/access/tokens", scopes)).json["secret"]
    for shown, shower in ((True, ""), (False, token)):
        async with Receiver().running() as receiver:
            body = {"url": receiver.url, "kinds": ["authorize"], "station_id": f"CS-{shown}"}
            made = await ask("POST", "/webhooks", body, token=shower or None)
            assert made.json["webhook"]["shows_tokens"] is shown
            ask.backend.services.feed.publish("authorize", f"CS-{shown}", {"emaid": "04AABBCCDD"})
            _headers, posted = await receiver.call()
            assert (b"04AABBCCDD" in posted) is shown
            await settled(ask, made.headers["location"], due_ms=None, error="")


async def test_what_did_not_arrive_is_tried_again_later_and_can_be_replayed(ask: ApiClient) -> None:
    async with Receiver().running() as receiver:
        path, _secret = await make(ask, receiver)
        receiver.status = 500
        await ask.backend.booted()
        await receiver.call()
        failed = await settled(ask, path, attempts=1)
        assert failed["error"] == "HTTP status 500"
        assert failed["due_ms"] == ask.backend.clock.utc_ms() + BACK_OFF_S[0] * 1000
        receiver.status = 204
        ask.backend.clock.advance(BACK_OFF_S[0])
        await ask("PATCH", path, {"enabled": True})  # which makes it look
        await receiver.call()
        done = await settled(ask, path, due_ms=None)
        assert (done["attempts"], done["delivered_ms"]) == (2, ask.backend.clock.utc_ms())
        assert (await ask("POST", f"{path}/replay", {"ids": [done["id"]]})).json == {"deliveries": 1}
        await receiver.call()


async def test_what_is_due_is_delivered_after_a_restart(csms: Backend) -> None:
    async with Receiver().running() as receiver:
        async with serving(csms) as ask:
            path, _secret = await make(ask, receiver)
            receiver.status = 503
            await csms.booted()
            await receiver.call()
            await settled(ask, path, attempts=1)
        receiver.status = 200
        csms.clock.advance(BACK_OFF_S[0])
        async with serving(csms) as ask:
            _headers, body = await receiver.call()
            assert json.loads(body)["kind"] == "station_connected"
            assert (await settled(ask, path, due_ms=None))["attempts"] == 2


async def test_the_digest_of_a_closed_month_arrives_as_often_as_it_is_closed_as_the_books_have_it(
    ask: ApiClient,
) -> None:
    """It is kept where who writes in the database cannot change it; a node that was killed may have lost it."""
    async with Receiver().running() as receiver:
        await make(ask, receiver, kinds=["period_closed"])
        await delivered_whole(ask, journal())
        month = period_of(T0)
        ask.backend.clock.now_ms = T0 + 40 * 86_400_000
        for _ in range(2):
            closed = (await ask("POST", f"/books/periods/{month}/close")).json
        for _ in range(2):
            _, body = await receiver.call()
            assert msgspec.json.decode(body)["data"] == closed
        assert closed == (await ask("GET", "/books/periods")).json[0]
        assert len(closed["digest"]) == 128
        assert receiver.calls.empty()


async def test_a_webhook_is_disabled_after_days_of_failures_until_somebody_enables_it(
    ask: ApiClient, monkeypatch: Any
) -> None:
    """Not after a minute in which a receiver restarts, which would lose what comes then."""
    monkeypatch.setattr("csms.webhooks.work._LOOK_S", 0.01)
    async with Receiver().running() as receiver:
        path, _secret = await make(ask, receiver)
        receiver.status = 503
        for number in range(MAX_FAILURES):
            ask.backend.services.feed.publish("station_connected", "CS-V2G-0001", {"n": number})
        for attempts, pause_s in enumerate((0, *BACK_OFF_S), 1):
            assert (await ask("GET", path)).json["enabled"]
            ask.backend.clock.advance(pause_s)
            async with asyncio.timeout(60):
                while {each["attempts"] for each in (await ask("GET", f"{path}/deliveries")).json} != {attempts}:
                    await asyncio.sleep(0.005)
        async with asyncio.timeout(60):
            while (await ask("GET", path)).json["enabled"]:
                await asyncio.sleep(0.005)
        changed = await ask("PATCH", path, {"enabled": True})
        assert (changed.json["enabled"], changed.json["failures"]) == (True, 0)
        assert (await ask("DELETE", path)).status == 204
        assert (await ask("GET", path)).status == 404


async def test_a_receiver_that_wants_no_more_is_called_once(ask: ApiClient) -> None:
    async with Receiver().running() as receiver:
        path, _secret = await make(ask, receiver)
        receiver.status = 410
        await ask.backend.booted()
        await settled(ask, path, error="HTTP status 410")
        assert not (await ask("GET", path)).json["enabled"]
        assert ask.backend.events.named("webhook_disabled")


async def test_a_new_webhook_uses_no_id_again_by_which_a_receiver_knows_repetitions(ask: ApiClient) -> None:
    found = []
    async with Receiver().running() as receiver:
        for _ in range(2):
            path, _secret = await make(ask, receiver)
            ask.backend.services.feed.publish("station_connected", "CS-V2G-0001", {})
            found.append((await receiver.call())[0]["webhook-id"])
            await settled(ask, path, due_ms=None)
            assert (await ask("DELETE", path)).status == 204
            ask.backend.clock.advance(1)
    assert len({*found}) == 2


@pytest.mark.parametrize(
    "url",
    [
        "http://billing.example/",
        "ftp://x/",
        "https:///x",
        "https://a:b@c/",
        "https://[",
        "x",
    ],
)
async def test_a_url_that_is_not_to_be_called_is_refused(ask: ApiClient, url: str) -> None:
    with pytest.raises(ConfigError):
        check_url(url, Reach())
    answer = await ask("POST", "/webhooks", {"url": url})
    assert answer.status == 400
    check_url("https://billing.example:8443/hook?x=1", Reach())


async def test_a_name_that_leads_to_a_private_host_is_not_called_even_if_it_did_not_before() -> None:
    def here(_host: str) -> list[str]:
        return ["127.0.0.1"]

    async with Receiver().running() as receiver:
        port = urlsplit(receiver.url).port
        url = f"https://hook.example:{port}/hook"
        assert "not a host of the internet" in await call_webhook(url, b"{}", {}, Reach(), here)
        assert "127.0.0.1 is not a host" in await call_webhook(receiver.url, b"{}", {}, Reach(), here)
        assert receiver.calls.empty()
        error = await call_webhook(url, b"{}", {}, Reach(["hook.example"]), here)
        assert "not a host of the internet" not in error, "reached"
        assert error.startswith("hook.example: "), "but it does not speak TLS"


async def test_nobody_is_followed_to_where_they_redirect(ask: ApiClient) -> None:
    async with Receiver().running() as receiver, Receiver().running() as other:
        receiver.status, receiver.location = 307, other.url
        path, _secret = await make(ask, receiver)
        await ask.backend.booted()
        assert (await settled(ask, path, attempts=1))["error"] == "HTTP status 307"
        assert other.calls.empty()


async def test_one_that_does_not_answer_keeps_nobody_else_waiting(ask: ApiClient) -> None:
    async with Receiver().running() as silent, Receiver().running() as quick:
        silent.answers.clear()
        await make(ask, silent)
        for number in range(12):  # more than one webhook's calls at a time
            ask.backend.services.feed.publish("station_connected", "CS-V2G-0001", {"n": number})
        for _ in range(8):
            await silent.call()
        path, _secret = await make(ask, quick)
        ask.backend.services.feed.publish("station_connected", "CS-V2G-0001", {"n": 99})
        _headers, body = await quick.call()
        assert json.loads(body)["data"] == {"n": 99}
        await settled(ask, path, due_ms=None)
        silent.answers.set()


@pytest.mark.parametrize("number", [1, 12])
async def test_one_that_is_deleted_while_it_is_called_keeps_nobody_else_waiting(ask: ApiClient, number: int) -> None:
    async with Receiver().running() as silent, Receiver().running() as quick:
        silent.answers.clear()
        gone, _secret = await make(ask, silent)
        for n in range(number):
            ask.backend.services.feed.publish("station_connected", "CS-V2G-0001", {"n": n})
        await silent.call()
        assert (await ask("DELETE", gone)).status == 204
        await make(ask, quick)
        ask.backend.services.feed.publish("station_connected", "CS-V2G-0001", {"n": 99})
        _headers, body = await quick.call()
        assert json.loads(body)["data"] == {"n": 99}
        silent.answers.set()


async def test_a_secret_is_sealed_and_can_be_renewed(ask: ApiClient) -> None:
    async with Receiver().running() as receiver:
        path, old = await make(ask, receiver)
        (row,) = await ask.backend.services.store.run(rows.list_all)
        assert old not in row.sealed_secret
        new = (await ask("POST", f"{path}/secret")).json["secret"]
        assert new != old
        await ask.backend.booted()
        headers, body = await receiver.call()
        now_s = int(headers["webhook-timestamp"])
        assert headers["webhook-signature"] == signature(new, headers["webhook-id"], now_s, body)
        assert new not in json.dumps((await ask("GET", "/audit")).json)


async def test_what_a_database_refuses_for_a_while_is_delivered_later(ask: ApiClient, monkeypatch: Any) -> None:
    def refuse(*_: Any) -> None:
        refused.set()
        raise StoreError("no space left on device")

    refused = asyncio.Event()
    monkeypatch.setattr("csms.webhooks.work._LOOK_S", 0.01)
    async with Receiver().running() as receiver:
        await make(ask, receiver)
        with monkeypatch.context() as patch:
            patch.setattr("csms.webhooks.store.enqueue", refuse)
            await ask.backend.booted()
            await asyncio.wait_for(refused.wait(), 60)
        _headers, body = await receiver.call()
        assert json.loads(body)["kind"] == "station_connected"
