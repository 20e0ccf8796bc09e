"""Event streams: what happens is sent at once, nothing twice, and what was missed is sent or counted."""

import asyncio
import json
from typing import Any

from csms.accounts.rules import Role
from csms.cluster.bus import LocalBus
from csms.cluster.feed import LOST, Feed, FeedEvent, FrameLog
from csms.events.work import History
from tests.csms.api.support import ApiClient
from tests.csms.api.watch import Watch
from v2g.io.runtime.clock import Clock


async def test_a_stream_reports_what_happens_and_goes_on_where_it_was_interrupted(ask: ApiClient) -> None:
    async with Watch(ask, "/events") as watch:
        assert dict(watch.start["headers"])[b"content-type"].startswith(b"text/event-stream")
        await ask.backend.booted()
        seen = await watch.first("station_connected")
        assert seen.data["station_id"] == "CS-V2G-0001"
        assert seen.data["data"]["version"] == "2.0.1"
    async with Watch(ask, "/events?kinds=boot_accepted,connector_status", last_event_id=seen.id) as watch:
        events = watch.lines()
        assert [(await anext(events)).kind for _ in range(2)] == ["boot_accepted", "connector_status"]


async def test_a_stream_of_one_station_has_events_of_no_other(ask: ApiClient) -> None:
    async with Watch(ask, "/events?station_id=CS-V2G-0002") as watch:
        await ask.backend.booted("CS-V2G-0001")
        await ask.backend.booted("CS-V2G-0002")
        assert (await watch.first("station_connected")).data["station_id"] == "CS-V2G-0002"


async def test_the_ocpp_log_shows_frames_of_both_directions_without_passwords(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    variable = {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "BasicAuthPassword"}}
    station.answers["SetVariables"] = {"setVariableResult": [{**variable, "attributeStatus": "Accepted"}]}
    path = f"/stations/{station.id}/commands/SetVariables"
    async with Watch(ask, f"/ocpp-log?station_id={station.id}") as watch:
        await ask("POST", path, {"setVariableData": [{**variable, "attributeValue": "correct-horse-battery"}]})
        sent, received = await watch.first("ocpp_frame"), await watch.first("ocpp_frame")
        assert (sent.data["data"]["direction"], received.data["data"]["direction"]) == ("sent", "received")
        frame = json.loads(sent.data["data"]["text"])
        assert frame[2] == "SetVariables"
        assert "correct-horse-battery" not in json.dumps(frame)
        assert json.loads(received.data["data"]["text"])[0] == 3


async def test_frames_show_tokens_only_to_those_who_may_read_tokens(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    path = f"/ocpp-log?station_id={station.id}"
    async with Watch(ask, path, role=Role.VIEWER) as viewer, Watch(ask, path, role=Role.OPERATOR) as operator:
        await station.call("Authorize", {"idToken": {"idToken": "04A1B2C3", "type": "ISO14443"}})
        seen, whole = await viewer.first("ocpp_frame"), await operator.first("ocpp_frame")
        payload = json.loads(seen.data["data"]["text"])[3]
        assert payload == {"idToken": {"idToken": "***", "type": "ISO14443"}}
        assert "04A1B2C3" in whole.data["data"]["text"]


async def test_frames_cost_nothing_while_nobody_watches(ask: ApiClient) -> None:
    shown: list[Any] = []
    ask.backend.services.feed.publish = lambda *event: shown.append(event)  # type: ignore[method-assign]
    await ask.backend.booted()
    assert "ocpp_frame" not in {kind for kind, _, _ in shown}


async def test_streams_beyond_the_limit_are_refused(ask: ApiClient, monkeypatch: Any) -> None:
    monkeypatch.setattr("csms.events.api._MAX_STREAMS", 1)
    async with Watch(ask, "/events"):
        assert (await ask("GET", "/ocpp-log")).status == 503
    async with Watch(ask, "/ocpp-log"):
        pass


async def test_nobody_takes_all_streams(ask: ApiClient, monkeypatch: Any) -> None:
    monkeypatch.setattr("csms.events.api._MAX_OF_ONE", 2)
    async with Watch(ask, "/events"), Watch(ask, "/events"):
        assert (await ask("GET", "/events")).status == 429
        assert (await ask("GET", "/ocpp-log")).status == 429
        async with Watch(ask, "/events", role=Role.VIEWER):
            pass
    async with Watch(ask, "/events"):
        pass


async def test_numbers_of_cards_are_shown_to_nobody_who_may_not_read_them(ask: ApiClient) -> None:
    async with Watch(ask, "/events", role=Role.VIEWER) as viewer, Watch(ask, "/events") as admin:
        ask.backend.services.feed.publish("authorize", "CS-1", {"emaid": "04AABBCCDD", "type": "ISO14443"})
        assert (await admin.first("authorize")).data["data"]["emaid"] == "04AABBCCDD"
        assert (await viewer.first("authorize")).data["data"]["emaid"] == "***"


async def test_who_falls_behind_learns_how_much_is_lost() -> None:
    bus = LocalBus()
    feed = Feed(bus, lambda: 1)
    history = History(feed, FrameLog(feed, Clock()))
    work = asyncio.create_task(history.run())
    await asyncio.sleep(0)
    followed = history.follow(0, 5)
    for number in range(6000):
        feed.publish("tick", None, {"n": number})
        if number % 500 == 0:
            await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    portion = await anext(followed)
    assert portion[0].event.kind == LOST
    lost = portion[0].event.data["count"]
    ticks = [each.event.data["n"] for each in portion[1:] if isinstance(each.event, FeedEvent)]
    assert ticks == list(range(lost, 6000))
    history.close()
    assert [each async for each in followed] == []
    work.cancel()


async def test_a_stream_ends_when_its_token_is_revoked_or_runs_out(ask: ApiClient, monkeypatch: Any) -> None:
    expires_ms = ask.backend.clock.utc_ms() + 60_000
    made = [
        (await ask("POST", "/access/tokens", {"name": "wall", "role": "viewer", "expires_ms": each})).json
        for each in (None, None, expires_ms)
    ]
    revoked, kept, short = (each["secret"] for each in made)
    feed = ask.backend.services.feed
    async with (
        Watch(ask, "/events", token=revoked) as first,
        Watch(ask, "/ocpp-log", token=revoked) as log,
        Watch(ask, "/events?kinds=campaign", token=kept) as second,
        Watch(ask, "/events", token=short) as third,
    ):
        await ask("DELETE", f"/access/tokens/{made[0]['token']['token_id']}")
        await asyncio.wait_for(first.ended.wait(), 60)
        monkeypatch.setattr("csms.events.api._LOOK_S", 0.0)
        ask.backend.clock.advance(61)
        feed.publish("ocpp_frame", "CS-V2G-0001", {"direction": "sent", "text": "[]"})
        await asyncio.wait_for(log.ended.wait(), 60)
        feed.publish("campaign", None, {"n": 1})
        assert (await second.first("campaign")).data["data"] == {"n": 1}
        await asyncio.wait_for(third.ended.wait(), 60)
        assert not second.ended.is_set()


async def test_a_kind_that_there_is_not_is_refused_with_the_nearest(ask: ApiClient) -> None:
    refused = await ask("GET", "/events?kinds=station_connected,station_conected")
    assert (refused.status, refused.json["code"]) == (400, "unknown_kind")
    assert refused.json["hint"] == "did you mean 'station_connected'?"
    assert (await ask("GET", "/events?kinds=x")).json["hint"].count("webhook_disabled") == 1, "all, once"
    for there_is_none in ("boot_x", "transaction_*", "transaction_event_"):
        assert (await ask("GET", f"/events?kinds={there_is_none}")).json["code"] == "unknown_kind"
    hook = {"url": "https://billing.example/ocpp", "kinds": ["transaction_end"]}
    assert (await ask("POST", "/webhooks", hook)).json["code"] == "unknown_kind"
    hook["kinds"] = ["transaction_ended", "boot_accepted"]
    path = (await ask("POST", "/webhooks", hook)).headers["location"]
    assert (await ask("PATCH", path, {"kinds": ["boot_x"]})).json["code"] == "unknown_kind"
