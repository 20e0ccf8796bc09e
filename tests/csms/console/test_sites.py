"""Roles that are limited to sites: what they ask and see of other sites, in the API and on pages."""

import asyncio
import re
from functools import partial
from typing import Any

import msgspec
import pytest

from csms.api.http.site_limits import may_ask, rule_of
from csms.api.routes import OPERATIONS
from csms.console.application import ROUTES
from csms.domain.security.access import Role, Sites
from csms.domain.security.users import NO_PEOPLE, principal_of
from tests.csms.api.support import ApiClient
from tests.csms.charging import Charging
from tests.csms.console.support import Person, employ, text_of

NORTH, SOUTH = "CS-NORTH", "CS-SOUTH"
PEOPLE = [each for each in Role if each not in NO_PEOPLE]
VALUES = {"evse_id": "1", "connector_id": "1", "fleet_id": "all", "site_id": "south", "station": SOUTH}


async def built(ask: ApiClient) -> dict[str, Any]:
    """Build two sites, each with a station that charges; return the peers."""
    peers = {}
    for site, station in (("north", NORTH), ("south", SOUTH)):
        await ask("PUT", f"/admissions/{station}", {"decision": "Accepted"})
        peer = peers[station] = await ask.backend.booted(station)
        charging = Charging(ask.backend, peer)
        charging.id = f"T-{station}"
        await charging.event("Started", "CablePluggedIn", state="Charging", context="Transaction.Begin")
        place = {"station_id": station, "evse_id": 1, "node": "main", "most_ma": 32_000}
        body = {"id": site, "nodes": [{"id": "main", "limits": [63_000] * 3}], "places": [place]}
        assert (await ask("PUT", f"/sites/{site}", body)).status == 200
    for name, stations in (("all", [NORTH, SOUTH]), ("here", [NORTH])):
        assert (await ask("PUT", f"/fleets/{name}", {"id": name, "stations": stations})).status == 200
    plan = {"image": {"location": "https://files.example/1.4.bin"}}
    for name, stations in (("both", [NORTH, SOUTH]), ("there", [SOUTH])):
        made = await ask("POST", "/campaigns", {"name": name, "plan": plan, "station_ids": stations})
        assert made.status == 201, made.json
    for peer in peers.values():
        peer.refuses_others = True
        peer.calls.clear()
    return peers


async def token_of(ask: ApiClient, role: Role, *sites: str) -> str:
    made = await ask("POST", "/access/tokens", {"name": "t", "role": role.value, "sites": sites or None})
    assert made.status == 201, made.json
    return str(made.json["secret"])


def path_of(operation: Any) -> str:
    path = re.sub(r"\{(\w+)\}", lambda found: VALUES.get(found[1], "1"), operation.path.replace("{station_id}", SOUTH))
    return path.replace("{transaction_id}", f"T-{SOUTH}")


@pytest.mark.some(2)
@pytest.mark.parametrize("role", PEOPLE)
async def test_no_operation_of_the_api_reaches_another_site(ask: ApiClient, role: Role) -> None:
    peers = await built(ask)
    token = await token_of(ask, role, "north")
    asked = 0
    for each in OPERATIONS:
        if each.streams or each.permission.value == "public":
            continue
        path = path_of(each).replace("/1/", f"/T-{SOUTH}/") if "transactions" in each.path else path_of(each)
        names = () if each.parameters is None else [one.name for one in msgspec.structs.fields(each.parameters)]
        queries = [""] + [f"?{name}={SOUTH}" for name in ("station_id", "station") if name in names]
        for query in queries:
            answer = await asyncio.wait_for(ask(each.method, path + query, {}, token=token), 20)
            asked += 1
            shown = answer.body.decode(errors="replace").replace(path, "")
            if each.method != "GET" and rule_of(each) != "for_sites":
                incomplete = answer.status == 400 and "see the parameters" in shown
                assert answer.status == 403 or incomplete, (each.name, answer.status, shown)
            assert SOUTH not in shown, (each.name, query, shown)
            if (rule_of(each) in ("station", "site") and "{site_id}" not in each.path) or query:
                assert answer.status in (400, 403), (each.name, query, answer.status)
    assert asked > 200
    assert peers[SOUTH].calls == []


@pytest.mark.some(1)
@pytest.mark.parametrize("role", PEOPLE)
async def test_no_page_or_action_reaches_another_site(ask: ApiClient, role: Role) -> None:
    await built(ask)
    made = await ask("POST", "/access/users", {"name": "ada", "role": role.value, "sites": ["north"]})
    assert made.status == 201, made.json
    person = await employ_made(ask, "ada", made.json["password"])
    limited = principal_of("ada", role, Sites(frozenset({"north"}), frozenset({NORTH})))
    for route in ROUTES:
        if (
            route.path.endswith(("/events", "/frames", "/positions"))
            or route.path in ("/login", "/logout")
            or "account" in route.path
        ):
            continue
        path = "/console" + path_of(route)
        answer = await (person.get(path) if route.method == "GET" else person.send(path))
        assert answer.status != 500, route.path
        if not route.open_to(partial(may_ask, limited)):
            assert answer.status == 403, route.path
        assert SOUTH not in answer.body.decode().replace(path, ""), (route.path, answer.status)


async def employ_made(ask: ApiClient, name: str, password: str) -> Person:
    person = Person(ask, name)
    await person.log_in(password)
    new = "seven wild geese fly"
    assert (await person.send("/console/account/password", {"old": password, "new": new, "again": new})).status == 303
    await person.get("/console/account")
    return person


async def test_a_role_of_one_site_works_there_and_follows_the_site(ask: ApiClient) -> None:
    peers = await built(ask)
    made = await ask("POST", "/access/users", {"name": "ada", "role": "operator", "sites": ["north"]})
    ada = await employ_made(ask, "ada", made.json["password"])
    assert NORTH in text_of(await ada.get("/console/stations"))
    assert NORTH in text_of(await ada.get("/console/sessions"))
    page = text_of(await ada.get(f"/console/stations/{NORTH}"))
    assert "Restart when idle" in page
    peers[NORTH].refuses_others = False
    sending = asyncio.create_task(ada.send(f"/console/stations/{NORTH}/reset", {"type": "OnIdle", "what": "Restart"}))
    (await peers[NORTH].expect("Reset")).reply({"status": "Accepted"})
    assert (await sending).status == 303
    overview = text_of(await ada.get("/console"))
    assert "1 of 1" in overview or " 1 " in overview
    assert (await ada.get(f"/console/stations/{SOUTH}")).status == 403
    both = [{"station_id": name, "evse_id": 1, "node": "main", "most_ma": 32_000} for name in (NORTH, SOUTH)]
    body = {"id": "north", "nodes": [{"id": "main", "limits": [63_000] * 3}], "places": both}
    assert (await ask("PUT", "/sites/north", body)).status == 200
    assert (await ada.get(f"/console/stations/{SOUTH}")).status == 200
    assert (await ask("PUT", "/access/users/ada/role", {"role": "viewer"})).json["sites"] is None
    assert "Restart when idle" not in text_of(await ada.get(f"/console/stations/{SOUTH}"))


async def test_a_role_of_one_site_follows_fleets_and_updates_of_its_stations(ask: ApiClient) -> None:
    await built(ask)
    made = await ask("POST", "/access/users", {"name": "ada", "role": "operator", "sites": ["north"]})
    ada = await employ_made(ask, "ada", made.json["password"])
    assert "Fleets here" in text_of(await ada.get("/console/sites"))
    assert (await ada.get("/console/v2g/fleets/all")).headers["location"] == "/console/sites", "unknown, to this role"
    assert "both Running" in text_of(await ada.get("/console/campaigns"))
    assert "there" not in text_of(await ada.get("/console/campaigns"))
    page = text_of(await ada.get("/console/campaigns/1"))
    assert "Cohort Waiting 1 1" in page, "one of the two stations"
    assert "Pause" not in page
    assert (await ada.send("/console/campaigns/1/pause")).status == 403
    assert (await ada.get("/console/campaigns/2")).status == 404


async def test_a_limited_administrator_cannot_extend_a_role(ask: ApiClient) -> None:
    await built(ask)
    token = await token_of(ask, Role.ADMIN, "north")
    for method, path, body in (
        ("POST", "/access/users", {"name": "eve", "role": "admin"}),
        ("POST", "/access/tokens", {"name": "eve", "role": "admin"}),
        ("PUT", "/sites/north", {"id": "north", "nodes": [{"id": "main", "limits": [1, 1, 1]}]}),
        ("GET", "/audit", None),
    ):
        answer = await ask(method, path, body, token=token)
        assert (answer.status, answer.json["code"]) == (403, "site"), path
    assert (await ask("GET", "/access/me", token=token)).json["sites"] == ["north"]
    unknown = await ask("POST", "/access/users", {"name": "eve", "role": "viewer", "sites": ["nowhere"]})
    assert (unknown.status, "no site nowhere" in unknown.json["detail"]) == (409, True)


async def test_pages_of_a_list_are_full_of_what_the_role_extends_to(ask: ApiClient) -> None:
    await built(ask)
    token = await token_of(ask, Role.VIEWER, "south")
    assert [each["station_id"] for each in (await ask("GET", "/stations?limit=1", token=token)).json] == [SOUTH]
    found = await ask("GET", "/transactions?limit=1", token=token)
    assert [each["station_id"] for each in found.json] == [SOUTH]
    assert "link" not in found.headers
    assert [each["id"] for each in (await ask("GET", "/sites", token=token)).json] == ["south"]


async def test_streams_carry_events_of_own_sites_only(ask: ApiClient) -> None:
    await built(ask)
    token = await token_of(ask, Role.OPERATOR, "north")
    gone, chunks, seen = asyncio.Event(), [], asyncio.Event()

    async def send(message: Any) -> None:
        chunks.append(message.get("body", b""))
        if NORTH.encode() in message.get("body", b""):
            seen.set()

    streaming = asyncio.create_task(ask.stream("/events", send, gone, token=token))
    async with asyncio.timeout(20):
        while not any(chunks):
            await asyncio.sleep(0)
        feed = ask.backend.services.feed
        feed.publish("station_connected", SOUTH, {})
        feed.publish("grid_signal", None, {})
        feed.publish("station_connected", NORTH, {})
        await seen.wait()
    gone.set()
    await streaming
    assert SOUTH.encode() not in b"".join(chunks)


async def test_an_unlimited_role_still_sees_all(ask: ApiClient) -> None:
    await built(ask)
    ada = await employ(ask, "ada", Role.VIEWER)
    page = text_of(await ada.get("/console/stations"))
    assert NORTH in page
    assert SOUTH in page
