"""What every route has in common: permissions, problems, pages, entity tags, idempotency keys, limits, audit."""

import asyncio
import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from sqlalchemy import Connection, text

from csms.accounts.rules import ALLOWED, Permission, Role
from csms.cluster.bus import LocalBus, LocalHub
from csms.db.store import Store
from csms.http.openapi import document, smallest
from csms.http.operations import Operation
from csms.http.parameters import write_cursor
from csms.http.problems import describe
from csms.http.routes import OPERATIONS
from csms.tokens.api import OneToken
from pki_tools.tree import PkiTree
from tests.csms.api.support import ApiClient, serving
from tests.csms.backend import daytime_ms, running_backend
from tests.csms.charging import VALID, Charging
from tests.csms.databases import Databases
from tests.csms.fixtures import Start
from tests.csms.support import TOKENS, make_config
from v2g.errors import UnstorableError
from v2g.units import LAST_MS


def path_of(operation: Operation) -> str:
    """A path that fits the operation and names nothing that exists."""
    return re.sub(r"\{\w+\}", "none", operation.path)


async def test_what_the_database_says_is_for_the_log_alone(ask: ApiClient, caplog: pytest.LogCaptureFixture) -> None:
    """The words of PostgreSQL name its host, database and role, to callers without a token, too."""
    for table in ("transactions", "api_tokens"):
        renamed = text(f"ALTER TABLE {table} RENAME TO x_{table}")
        await ask.backend.services.store.run(Connection.execute, renamed)
    for answer in (await ask("GET", "/transactions"), await ask("GET", "/stations", token="x" * 40)):
        assert (answer.status, answer.json["detail"]) == (503, "the store is unavailable")
        assert "table" not in answer.body.decode()
    assert "transactions" in caplog.text
    assert "api_tokens" in caplog.text


def test_what_a_database_rejects_is_a_conflict_and_not_to_be_sent_again() -> None:
    """Clients repeat what is answered with 503, and this fails each time."""
    answer = describe(UnstorableError("CHECK constraint failed: least"))
    assert (answer.status, answer.detail) == (409, "the database rejects the values")
    assert "do not send them again" in answer.hint


@pytest.mark.requirement("R96", "R151")
@pytest.mark.some(4)
@pytest.mark.parametrize("role", [None, *Role])
async def test_every_route_denies_every_role_that_its_permission_does_not_allow(
    ask: ApiClient, role: Role | None
) -> None:
    for operation in OPERATIONS:
        if operation.streams:
            continue
        answer = await ask(operation.method, path_of(operation), role=role)
        public = operation.permission is Permission.PUBLIC
        anybody = operation.permission is Permission.READ_SELF and role is not None
        if public or anybody or (role is not None and operation.permission in ALLOWED[role]):
            assert answer.status not in (401, 403, 405, 500), (operation.name, answer.json)
        else:
            assert answer.status == (401 if role is None else 403), operation.name
            assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("name", ["new\n", "\nnew", "a\x1bb", " new", "new\t"])
async def test_no_name_has_a_line_end_or_space_at_an_end(ask: ApiClient, name: str) -> None:
    """What two readers of a list, or a log, would take for two names, or for the same one."""
    for method, path, body in (
        ("POST", "/access/tokens", {"name": name, "role": "viewer"}),
        ("PUT", "/token-groups", {"group_id": name}),
        ("PUT", "/token-groups", {"group_id": "g", "name": name}),
        ("PUT", "/tokens/Central/X", {"status": "Accepted", "terms": {"group_id": name}}),
    ):
        answer = await ask(method, path, body)
        assert answer.status == 400, (method, path, answer.json)
    for path in (f"/tokens/Central/{quote(name)}", f"/tokens/{quote(name)}/X"):
        answer = await ask("PUT", path, {"status": "Accepted"})
        assert answer.status == 400, (path, answer.json)
    for wrong in ({"token_type": "Central", "id_token": name}, {"token_type": name, "id_token": "X"}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, OneToken)


DOCUMENT = document(OPERATIONS)
SCHEMAS = DOCUMENT["components"]["schemas"]


def times(schema: Mapping[str, Any], path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where a body has times: names of members; 0 for an item of an array."""
    if "$ref" in schema:
        schema = SCHEMAS[schema["$ref"].rpartition("/")[2]]
    for each in schema.get("anyOf", ()):
        yield from times(each, path)
    if schema.get("type") == "integer" and str(path[-1]).endswith("_ms") and path[-1] != "duration_ms":
        yield path
    if schema.get("items"):
        yield from times(schema["items"], (*path, 0))
    for name, each in schema.get("properties", {}).items():
        yield from times(each, (*path, name))


def put(value: Any, schema: Mapping[str, Any], path: tuple[str | int, ...], time_ms: int) -> Any:
    """A body with a time, and with what must be around it."""
    if not path:
        return time_ms
    if "$ref" in schema:
        schema = SCHEMAS[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        schema = next(each for each in schema["anyOf"] if path in times(each))
        return put(value, schema, path, time_ms)
    step, *rest = path
    inner = schema["items"] if step == 0 else schema["properties"][step]
    if step == 0:
        first = value[0] if value else smallest(inner, SCHEMAS)
        return [put(first, inner, tuple(rest), time_ms), *(value or ())[1:]]
    before = value.get(step) if value.get(step) is not None or len(path) == 1 else smallest(inner, SCHEMAS, str(step))
    return {**value, step: put(before, inner, tuple(rest), time_ms)}


async def test_no_route_takes_a_time_that_no_calendar_has(ask: ApiClient) -> None:
    """Which would fail when it is written as text for a station, or later, in a task."""
    station = await ask.backend.booted("CS-V2G-0001", "2.1")
    station.refuses_others = True
    asked = []
    for each in OPERATIONS:
        described = DOCUMENT["paths"][each.path][each.method.lower()]
        path = each.path.replace("{station_id}", station.id)
        path = re.sub(r"\{(\w+)\}", lambda found: {"token_type": "Central"}.get(found[1], "1"), path)
        for parameter in described.get("parameters", ()):
            if str(parameter.get("name")).endswith("_ms"):
                asked.append((each.name, parameter["name"]))
                for time_ms in (LAST_MS + 1, 2**53, -1):
                    answer = await ask(each.method, f"{path}?{parameter['name']}={time_ms}")
                    assert answer.status == 400, (asked[-1], answer.json)
                    assert parameter["name"] in answer.json["detail"]
                assert (await ask(each.method, f"{path}?{parameter['name']}={LAST_MS}")).status < 500
        content = described.get("requestBody", {}).get("content", {}).get("application/json")
        for where in times(content["schema"]) if content else ():
            asked.append((each.name, ".".join(map(str, where))))
            for time_ms in (LAST_MS + 1, 2**53, -1):
                answer = await ask(each.method, path, put(content["example"], content["schema"], where, time_ms))
                if each.name == "post_telemetry":  # names what it does not store, by record
                    assert answer.json["stored"] == 0, (asked[-1], answer.json)
                    continue
                assert answer.status == 400, (asked[-1], answer.json)
                assert str(where[-1]) in answer.json["detail"], (asked[-1], answer.json)
            answer = await ask(each.method, path, put(content["example"], content["schema"], where, LAST_MS))
            assert answer.status < 500 or answer.status in (501, 504), (asked[-1], answer.json)
    assert len(asked) >= 30, asked


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("put_token", ("terms", "cache_s")),
        *(("make_campaign", ("plan", each)) for each in ("soak_s", "retry_after_s", "patience_s")),
    ],
)
async def test_no_time_to_wait_leads_out_of_the_calendar(ask: ApiClient, name: str, where: tuple[str, ...]) -> None:
    (operation,) = (each for each in OPERATIONS if each.name == name)
    content = DOCUMENT["paths"][operation.path][operation.method.lower()]["requestBody"]["content"]["application/json"]
    body = put(content["example"], content["schema"], where, 2**31)
    answer = await ask(operation.method, re.sub(r"\{\w+\}", "Central", operation.path), body)
    assert (answer.status, where[-1] in answer.json["detail"]) == (400, True), answer.json


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/roaming/partners", {"partner_id": "a b"},
         "body: partner_id: does not have the form of 1 to 36 characters of A-Za-z0-9_-"),
        ("/roaming/partners", {"partner_id": 1}, "body: partner_id: must be text, but is a whole number"),
        ("/roaming/partners", {}, "body: the key partner_id is missing"),
        ("/roaming/partners", {"partner_id": "a", "b": 1}, "body: the key b is unknown"),
        ("/roaming/partners/a/cdrs/b/decision", {"decision": "maybe", "note": "a"},
         "body: decision: 'maybe' is not an allowed value; allowed are released, rejected"),
        ("/stations?limit=0", None, "limit: must be at least 1"),
    ],
)  # fmt: skip
async def test_a_wrong_value_is_named_in_plain_words(ask: ApiClient, path: str, body: object, words: str) -> None:
    answer = await ask("GET" if body is None else "POST", path, body)
    assert (answer.status, answer.json["detail"]) == (400, words)


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")


@pytest.mark.requirement("R96", "R151")
@pytest.mark.some(1)
@pytest.mark.parametrize("token", ["right", "wrong", None])
async def test_every_method_on_every_route_has_an_answer(ask: ApiClient, token: str | None) -> None:
    """None is a failure of the back end, and none without the token does more than to name the methods of a route."""
    declared: dict[str, set[str]] = {}
    for operation in OPERATIONS:
        declared.setdefault(path_of(operation), set()).add(operation.method)
    public = {(each.method, path_of(each)) for each in OPERATIONS if each.permission is Permission.PUBLIC}
    streams = {(each.method, path_of(each)) for each in OPERATIONS if each.streams}
    for path, methods in declared.items():
        for method in METHODS:
            if token == "right" and (method, path) in streams:
                continue
            wrong = "wrong" if token == "wrong" else None
            answer = await ask(method, path, role=Role.ADMIN if token == "right" else None, token=wrong)
            where = method, path, answer.status
            assert answer.status < 500, (where, answer.body)
            if method == "OPTIONS":
                assert answer.status == 204, where
                assert {"OPTIONS"} < {each.strip() for each in answer.headers["allow"].split(",")}, where
            elif method not in methods:
                assert answer.status == 405, where
                assert methods < {each.strip() for each in answer.headers["allow"].split(",")}, where
            elif token != "right" and (method, path) not in public:
                assert answer.status == 401, where


def test_the_roles_and_the_routes_cover_every_permission() -> None:
    assert set(ALLOWED) == set(Role)
    assert ALLOWED[Role.ADMIN] == set(Permission)
    names = [each.name for each in OPERATIONS]
    assert len(names) == len(set(names))


async def test_an_error_is_a_problem_document_with_a_hint(ask: ApiClient) -> None:
    for method, path, status in (
        ("GET", "/nothing", 404),
        ("DELETE", "/stations", 405),
        ("GET", "/stations?limit=0", 400),
        ("GET", "/stations?limits=5", 400),
        ("GET", "/stations?cursor=never", 400),
        ("GET", f"/transactions?cursor={write_cursor(2**70)}", 400),
        ("GET", f"/events?cursor={write_cursor(2**70)}", 400),
        ("PUT", "/admissions/X%0A", 400),
        ("GET", "/stations/CS-404", 404),
        ("POST", "/access/tokens", 400),
    ):
        answer = await ask(method, path)
        assert answer.status == status, (path, answer.json)
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json
        assert problem["status"] == status
        assert problem["title"]
        assert problem["detail"]
        assert problem["instance"] == path.partition("?")[0]


async def test_pages_follow_one_another_until_there_is_no_next(ask: ApiClient) -> None:
    for identity in ("CS-V2G-0001", "CS-V2G-0002"):
        await ask.backend.booted(identity)
    first = await ask("GET", "/stations?limit=1")
    assert [each["station_id"] for each in first.json] == ["CS-V2G-0001"]
    target, rel = first.headers["link"].split("; ")
    assert rel == 'rel="next"'
    second = await ask("GET", target.strip("<>"))
    assert [each["station_id"] for each in second.json] == ["CS-V2G-0002"]
    assert second.json[0]["connected"] is True
    assert "link" not in second.headers


@pytest.mark.requirement("R86")
async def test_what_has_not_changed_is_not_sent_again(ask: ApiClient) -> None:
    first = await ask("GET", "/health")
    again = await ask("GET", "/health", if_none_match=f'"other", {first.headers["etag"]}')
    assert (again.status, again.body) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert (await ask("GET", "/health", if_none_match='"other"')).status == 200


@pytest.mark.requirement("R85", "R86")
async def test_a_download_goes_on_where_it_was_cut(ask: ApiClient) -> None:
    """As long as it is the same: else everything is sent."""
    whole = await ask("GET", "/openapi.json")
    size, tag = len(whole.body), whole.headers["etag"]
    assert whole.headers["accept-ranges"] == "bytes"
    half = await ask("GET", "/openapi.json", range="bytes=0-999", if_range=tag)
    rest = await ask("GET", "/openapi.json", range="bytes=1000-", if_range=tag)
    assert (half.status, rest.status) == (206, 206)
    assert rest.headers["content-range"] == f"bytes 1000-{size - 1}/{size}"
    assert half.body + rest.body == whole.body
    assert (await ask("GET", "/openapi.json", range="bytes=-7")).body == whole.body[-7:]
    assert (await ask("GET", "/openapi.json", range=f"bytes=0-{10 * size}")).body == whole.body
    other = await ask("GET", "/openapi.json", range="bytes=1000-", if_range='"other"')
    assert (other.status, other.body) == (200, whole.body)
    for ignored in ("bytes=1-2,4-5", "lines=1-2", "bytes=9-3", "bytes=-", "bytes=x"):
        assert (await ask("GET", "/openapi.json", range=ignored)).status == 200
    beyond = await ask("GET", "/openapi.json", range=f"bytes={size}-")
    assert (beyond.status, beyond.headers["content-range"]) == (416, f"bytes */{size}")


async def test_a_change_of_what_has_changed_is_refused(ask: ApiClient) -> None:
    made = await ask("POST", "/access/tokens", {"name": "console", "role": "viewer"})
    path = made.headers["location"]
    assert (await ask("DELETE", path, if_match='"what-was"')).status == 412
    tag = (await ask("GET", path)).headers["etag"]
    assert (await ask("DELETE", path, if_match=tag)).status == 204
    assert (await ask("GET", path)).json["revoked_ms"] is not None


def test_what_is_changed_by_its_entity_tag_can_be_read() -> None:
    read = {each.path for each in OPERATIONS if each.method == "GET"}
    assert {each.path.removesuffix("/status") for each in OPERATIONS if each.conditional} <= read


async def test_of_changes_of_one_state_at_two_nodes_one_is_refused(
    tmp_path: Path, pki: PkiTree, empty_database: Path, postgresql_databases: Databases
) -> None:
    url, site = postgresql_databases.create(), {"id": "depot", "nodes": [{"id": "main", "limits": [63_000] * 3}]}
    async with contextlib.AsyncExitStack() as stack:
        hub, asked, other = LocalHub(), [], stack.enter_context(contextlib.closing(Store(url)))
        for name in ("one", "two"):
            config = make_config(tmp_path / name, pki, store_url=url)
            node = await stack.enter_async_context(
                running_backend(config, empty_database, daytime_ms(), LocalBus(name, hub))
            )
            asked.append(await stack.enter_async_context(serving(node)))
        assert (await asked[0]("PUT", "/sites/depot", site)).status == 200
        tag = (await asked[0]("GET", "/sites/depot")).headers["etag"]
        with other.engine.begin() as connection:  # both can read, and wait to write
            connection.exec_driver_sql("LOCK TABLE sites IN EXCLUSIVE MODE")
            bodies = ({**site, "nodes": [{"id": "main", "limits": [most] * 3}]} for most in (32_000, 16_000))
            changes = [
                asyncio.create_task(ask("PUT", "/sites/depot", body, if_match=tag))
                for ask, body in zip(asked, bodies, strict=True)
            ]
            waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            while await other.read(lambda reader: reader.execute(waiting).scalar_one()) < len(changes):
                pass
        assert sorted([(await each).status for each in changes]) == [200, 412]


@pytest.mark.requirement("R86")
async def test_a_token_lets_in_until_it_is_revoked_or_its_time_is_over(ask: ApiClient) -> None:
    soon = ask.backend.clock.utc_ms() + 1000
    body = {"name": "shop", "role": "operator", "scopes": ["read_stations"], "expires_ms": soon}
    made = (await ask("POST", "/access/tokens", body)).json
    who = await ask("GET", "/access/me", token=made["secret"])
    assert (who.json["name"], who.json["permissions"]) == ("shop", ["read_stations"])
    assert (await ask("GET", "/stations", token=made["secret"])).status == 200
    assert (await ask("GET", "/metrics", token=made["secret"])).status == 403  # the role may, the scope may not
    ask.backend.clock.advance(1)
    assert (await ask("GET", "/stations", token=made["secret"])).status == 401
    other = (await ask("POST", "/access/tokens", {"name": "x", "role": "viewer"})).json
    assert (await ask("DELETE", f"/access/tokens/{other['token']['token_id']}")).status == 204
    assert (await ask("GET", "/stations", token=other["secret"])).status == 401
    listed = (await ask("GET", "/access/tokens")).body
    assert made["secret"].encode() not in listed
    assert b"sha256" not in listed


async def test_the_same_idempotency_key_has_the_same_answer_and_nothing_is_done_twice(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    station.answers["Reset"] = {"status": "Scheduled"}
    path, body = f"/stations/{station.id}/commands/Reset", {"type": "OnIdle"}
    first = await ask("POST", path, body, idempotency_key="k1")
    again = await ask("POST", path, body, idempotency_key="k1")
    assert first.json == again.json == {"status": "Scheduled"}
    assert again.headers["idempotent-replayed"] == "true"
    assert len(station.payloads("Reset")) == 1
    other = await ask("POST", path, {"type": "Immediate"}, idempotency_key="k1")
    assert (other.status, other.json["code"]) == (409, "key_reused")
    await ask("POST", path, body, idempotency_key="k2")
    assert len(station.payloads("Reset")) == 2


async def test_two_at_once_with_one_idempotency_key_are_one(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    path = f"/stations/{station.id}/commands/ClearCache"
    first = asyncio.create_task(ask("POST", path, idempotency_key="k"))
    request = await station.expect("ClearCache")
    second = await ask("POST", path, idempotency_key="k")
    assert (second.status, second.json["code"]) == (409, "key_in_use")
    request.reply({"status": "Accepted"})
    assert (await first).json == (await ask("POST", path, idempotency_key="k")).json == {"status": "Accepted"}
    assert len(station.payloads("ClearCache")) == 1


async def test_what_did_not_work_may_be_tried_again_with_the_same_key(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    path = f"/stations/{station.id}/commands/ClearCache?timeout_s=0.01"
    assert (await ask("POST", path, idempotency_key="k")).status == 504
    await station.expect("ClearCache")
    station.answers["ClearCache"] = {"status": "Accepted"}
    path = path.replace("0.01", "5")
    assert (await ask("POST", path, idempotency_key="k")).json == {"status": "Accepted"}


async def test_an_answer_with_a_secret_is_not_kept(ask: ApiClient) -> None:
    body = {"name": "shop", "role": "viewer"}
    assert (await ask("POST", "/access/tokens", body, idempotency_key="k")).status == 201
    again = await ask("POST", "/access/tokens", body, idempotency_key="k")
    assert (again.status, again.json["code"]) == (409, "answer_not_kept")
    assert len((await ask("GET", "/access/tokens")).json) == 1


async def test_who_asks_too_fast_learns_when_to_come_again(backend: Start) -> None:
    async with backend(api={"requests_at_once": 3, "requests_per_s": 0.1}) as memory, serving(memory) as ask:
        statuses = [(await ask("GET", "/stations")).status for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        assert int((await ask("GET", "/stations")).headers["retry-after"]) in range(1, 11)
        assert (await ask("GET", "/stations", role=Role.VIEWER)).status == 200
        assert (await ask("GET", "/health/live")).status == 200


async def test_the_audit_log_says_who_changed_what_from_what_to_what(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    station.answers["Reset"] = {"status": "Accepted"}
    await ask("POST", f"/stations/{station.id}/commands/Reset", {"type": "OnIdle"}, role=Role.OPERATOR)
    made = (await ask("POST", "/access/tokens", {"name": "shop", "role": "viewer"})).json
    await ask("DELETE", f"/access/tokens/{made['token']['token_id']}")
    await ask("POST", f"/stations/{station.id}/commands/Reset", {"type": "Never"})  # 400: nothing was changed
    revoked, created, reset = (await ask("GET", "/audit")).json
    assert (reset["caller"], reset["operation"], reset["status"]) == ("operator", "command_Reset", 200)
    assert (reset["request"], reset["after"]) == ({"type": "OnIdle"}, {"status": "Accepted"})
    assert (created["request"], created["before"]) == (None, None)
    assert created["after"]["name"] == "shop"
    assert revoked["before"]["revoked_ms"] is None
    assert revoked["after"]["revoked_ms"] == revoked["at_ms"]
    assert made["secret"] not in json.dumps([revoked, created])
    only = await ask("GET", "/audit?caller=operator&operation=command_Reset")
    assert only.json == [reset]
    older = await ask("GET", "/audit?limit=2")
    assert (await ask("GET", older.headers["link"].split(";")[0].strip("<>"))).json == [reset]


async def test_the_audit_log_says_what_may_have_happened_although_something_went_wrong(ask: ApiClient) -> None:
    """A station may have acted, whatever became of its answer."""
    station = await ask.backend.booted()
    answer = await ask("POST", f"/stations/{station.id}/commands/Reset?timeout_s=0.01", {"type": "OnIdle"})
    assert answer.status >= 500
    (reported,) = (await ask("GET", "/audit")).json
    assert (reported["operation"], reported["status"]) == ("command_Reset", answer.status)


async def test_other_origins_may_ask_only_where_the_configuration_names_them(backend: Start) -> None:
    mine, other = "https://console.example", "https://elsewhere.example"
    async with backend(api={"cors_origins": (mine,)}) as memory, serving(memory) as ask:
        assert (await ask("GET", "/health", origin=mine)).headers["access-control-allow-origin"] == mine
        assert "access-control-allow-origin" not in (await ask("GET", "/health", origin=other)).headers


async def test_no_other_origin_may_ask_by_default(ask: ApiClient) -> None:
    answer = await ask("GET", "/health", origin="https://console.example")
    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_metrics_count_stations_frames_and_requests(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    station.answers["ClearCache"] = {"status": "Accepted"}
    await ask("POST", f"/stations/{station.id}/commands/ClearCache")
    await ask("GET", "/stations", role=Role.VIEWER)
    answer = await ask("GET", "/metrics", role=Role.MONITOR)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.body.decode().splitlines()
    assert "v2g_stations_connected 1.0" in lines
    assert 'v2g_ocpp_received_seconds_count{action="StatusNotification"} 1.0' in lines
    assert 'v2g_ocpp_sent_seconds_count{action="ClearCache"} 1.0' in lines
    assert 'v2g_events_total{kind="station_connected"} 1.0' in lines
    assert {"v2g_store_waiting 0.0", "v2g_store_reports_waiting 0.0"} <= set(lines)
    assert 'v2g_http_request_seconds_count{operation="list_stations",status="200"} 1.0' in lines
    assert 'v2g_http_request_seconds_bucket{le="+Inf",operation="list_stations",status="200"} 1.0' in lines


async def test_tokens_of_the_configuration_are_no_secret_of_the_answer(ask: ApiClient) -> None:
    for path in ("/access/tokens", "/audit", "/openapi.json", "/access/me"):
        assert TOKENS[Role.ADMIN].encode() not in (await ask("GET", path)).body


async def test_what_is_on_cards_is_shown_only_to_those_who_may_read_tokens(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    charging = Charging(ask.backend, station)
    await charging.event("Started", "Authorized", token={"idToken": "04A1B2C3", "type": "ISO14443"})
    for path in ("/transactions", f"/transactions/{charging.id}"):
        for role, shown in ((Role.VIEWER, "***"), (Role.OPERATOR, "04A1B2C3"), (Role.BILLING, "04A1B2C3")):
            answer = await ask("GET", path, role=role)
            found = answer.json[0] if isinstance(answer.json, list) else answer.json
            assert (found["id_token"], found["token_type"]) == (shown, "ISO14443"), (path, role)
            again = await ask("GET", path, role=role, if_none_match=answer.headers["etag"])
            assert again.status == 304


@pytest.mark.parametrize(
    ("path", "position"),
    [
        ("/security-events", (10, 1)),
        ("/certificates", (10, "aa")),
        ("/admissions", (10, "CS")),
        ("/admissions/faults", (10, 1)),
        ("/payments/settlements", (10, "CS", "p", 1)),
        ("/stations/CS/battery-swaps", (1,)),
        ("/stations/CS/der-alarms", (1,)),
        ("/stations/CS/streams/1/values", (10, 1)),
        ("/webhooks", ("a",)),
        ("/tariff-assignments", ("a",)),
    ],
)
async def test_every_long_list_goes_on_from_a_cursor_and_refuses_others(
    ask: ApiClient, path: str, position: tuple[Any, ...]
) -> None:
    assert (await ask("GET", f"{path}?cursor={write_cursor(*position)}")).json == []
    assert (await ask("GET", f"{path}?cursor={write_cursor(None, [])}")).status == 400  # type: ignore[arg-type]


async def test_events_of_one_moment_are_on_one_page_each_and_once(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    for number in range(5):
        said = {"type": f"Custom{number}", "timestamp": "2026-01-01T00:00:00Z"}
        await station.call("SecurityEventNotification", said)
    seen, path = [], "/security-events?limit=2"
    while path:
        answer = await ask("GET", path)
        seen += [each["type"] for each in answer.json]
        link = answer.headers.get("link", "")
        path = link[1 : link.index(">")] if link else ""
    assert seen == [f"Custom{number}" for number in reversed(range(5))]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/tokens/ISO14443/04A1", b'{"status": "Accepted", "terms": {"group": "a\\u0000b"}}'),
        ("POST", "/webhooks", b'{"url": "https://a.example/\\u0000"}'),
        ("GET", "/stations/a%00b", None),
        ("GET", "/transactions?station_id=%00", None),
    ],
)
async def test_u0000_is_no_text(ask: ApiClient, method: str, path: str, body: bytes | None) -> None:
    answer = await ask(method, path.replace("%00", "\0") if "?" not in path else path, body)
    assert (answer.status, "U+0000" in answer.json["detail"]) == (400, True), answer.json


async def test_an_id_may_have_a_slash(ask: ApiClient) -> None:
    """Some stations' ids have, though an identifierString has none: a held transaction could not be released."""
    station = await ask.backend.booted()
    for name in ("a/b", "a%2Fb", "/", "\u00fc/%"):
        said = quote(name, safe="")
        place = f"/tokens/Central/{said}"
        assert (await ask("PUT", place, {"status": "Accepted"})).json["id_token"] == name.upper()
        assert (await ask("GET", place)).json["id_token"] == name.upper()
        charging = Charging(ask.backend, station)
        charging.id = name
        await charging.event("Started", "Authorized", state="Charging", token=VALID, context="Transaction.Begin")
        charging.wh -= 500
        await charging.unplugged()
        path = f"/books/quarantine/{said}?station={station.id}"
        found = await ask("POST", path.replace("?", "/release?"), {"note": "as the meter says"})
        assert found.status == 200, found.json
        assert (found.json["session_id"], found.json["state"]) == (name, "released")
        assert (await ask("GET", path)).json == found.json


async def test_a_mode_that_ocpp_lacks_is_no_mode_of_a_token(ask: ApiClient) -> None:
    """Its Authorize response could not be sent."""
    path = "/tokens/ISO14443/04A1B2C3"
    answer = await ask("PUT", path, {"status": "Accepted", "energy_transfer": ["DC", "Induction"]})
    assert (answer.status, "energy_transfer" in answer.json["detail"]) == (400, True), answer.json
    assert (await ask("PUT", path, {"energy_transfer": ["DC", "DC_BPT"]})).json["energy_transfer"] == ["DC", "DC_BPT"]


async def test_a_token_has_the_form_of_its_type_as_in_the_configuration(ask: ApiClient) -> None:
    for name in ("ISO14443/04A1", "MacAddress/04A1B2C3", "eMAID/DE"):
        answer = await ask("PUT", f"/tokens/{name}", {"status": "Accepted"})
        assert (answer.status, name.split("/")[1] in answer.json["detail"]) == (400, True), name
    assert (await ask("PUT", "/tokens/Central/04A1", {"status": "Accepted"})).status == 200


async def test_answers_are_kept_by_token_and_not_by_the_name_on_it(ask: ApiClient) -> None:
    tokens = [
        (await ask("POST", "/access/tokens", {"name": "console", "role": "admin"})).json["secret"] for _ in range(2)
    ]
    body = {"name": "made", "role": "viewer"}
    first, second = [await ask("POST", "/access/tokens", body, token=token, idempotency_key="one") for token in tokens]
    assert (first.status, second.status) == (201, 201)
    assert first.headers["location"] != second.headers["location"]
    again = await ask("POST", "/access/tokens", body, token=tokens[0], idempotency_key="one")
    assert again.status == 409, "its answer held a secret"


async def test_a_former_route_is_answered_with_its_new_name(ask: ApiClient) -> None:
    answer = await ask("GET", "/door/faults")
    assert (answer.status, answer.json["hint"]) == (404, "/door is now /admissions")
