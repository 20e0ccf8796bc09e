"""Roles that are limited to sites: what they ask and see of other sites, in the API and on pages."""

import asyncio
from typing import Any

from csms.accounts.rules import Role
from tests.csms.api.support import ApiClient
from tests.csms.charging import Charging
from tests.csms.console.support import PASSWORD, employ, text_of

NORTH, SOUTH = "CS-NORTH", "CS-SOUTH"


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


async def test_a_role_of_one_site_works_there_and_follows_the_site(ask: ApiClient) -> None:
    peers = await built(ask)
    ada = await employ(ask, "ada", Role.OPERATOR, PASSWORD, "north")
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
    refused = await ask("PUT", "/sites/north", body)
    assert (refused.status, refused.json["code"]) == (409, "evse_elsewhere")
    assert f"{SOUTH}/1 stands in site south" in refused.json["detail"]
    assert (await ada.get(f"/console/stations/{SOUTH}")).status == 403
    empty = {"id": "south", "nodes": body["nodes"]}
    assert (await ask("PUT", "/sites/south", empty)).status == 200
    assert (await ask("PUT", "/sites/north", body)).status == 200
    assert (await ada.get(f"/console/stations/{SOUTH}")).status == 200
    assert (await ask("PUT", "/access/users/ada/role", {"role": "viewer"})).json["sites"] is None
    assert "Restart when idle" not in text_of(await ada.get(f"/console/stations/{SOUTH}"))


async def test_a_role_of_one_site_follows_fleets_and_updates_of_its_stations(ask: ApiClient) -> None:
    await built(ask)
    ada = await employ(ask, "ada", Role.OPERATOR, PASSWORD, "north")
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


async def test_an_unlimited_role_still_sees_all(ask: ApiClient) -> None:
    await built(ask)
    ada = await employ(ask, "ada", Role.VIEWER)
    page = text_of(await ada.get("/console/stations"))
    assert NORTH in page
    assert SOUTH in page
