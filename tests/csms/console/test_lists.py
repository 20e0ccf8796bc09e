"""Lists of stations and sessions: search, filters, order, files, and actions on several rows."""

import asyncio
import csv
import re

import pytest

from csms.accounts.rules import Role
from csms.console.listing import Column, in_order
from tests.csms.api.support import Answer, ApiClient
from tests.csms.backend import BOOT
from tests.csms.charging import Charging
from tests.csms.console.support import employ, text_of

STATION, OTHER, NEVER = "CS-V2G-0001", "CS-V2G-0002", "CS-NEVER"
STATIONS = "/console/stations"


def rows(page: Answer) -> list[str]:
    """The keys of the rows that a page has, in order."""
    return re.findall(r'<tr data-row="([^"]+)"', page.body.decode())


async def site(ask: ApiClient, name: str, *stations: str) -> None:
    places = [{"station_id": each, "evse_id": 1, "node": "main", "most_ma": 32_000} for each in stations]
    body = {"id": name, "nodes": [{"id": "main", "limits": [63_000] * 3}], "places": places}
    assert (await ask("PUT", f"/sites/{name}", body)).status == 200


async def test_stations_that_never_connected_are_in_the_list_and_who_needs_a_person_is_first(ask: ApiClient) -> None:
    assert (await ask("PUT", f"/admissions/{NEVER}", {"decision": "Accepted"})).status == 200
    assert (await ask("PUT", "/admissions/CS-NOT", {"decision": "Refused"})).status == 200
    station = await ask.backend.booted()
    for number, status in enumerate(("Available", "Faulted"), 1):
        about = {"timestamp": "2026-01-01T00:00:00Z", "connectorStatus": status, "evseId": number, "connectorId": 1}
        await station.call("StatusNotification", about)
    await ask.backend.booted(OTHER)
    await site(ask, "north", OTHER, NEVER)
    ada = await employ(ask, "ada", Role.OPERATOR)
    page = await ada.get(STATIONS)
    found = rows(page)
    assert found[0] == STATION
    assert found.index(NEVER) < found.index("CS-NOT") < found.index(OTHER)
    text = text_of(page)
    for said in ("Faulted 1", "Never connected", f"{len(found)} of {len(found)}", "Refused"):
        assert said in text, said
    assert "2 of 2 are connected." in text
    assert "Stations connected 2 of 2" in text_of(await ada.get("/console")), (
        "those that never connected are in neither"
    )
    assert rows(await ada.get(f"{STATIONS}?site=north&sort=station")) == [NEVER, OTHER]
    assert rows(await ada.get(f"{STATIONS}?site=north&sort=-station")) == [OTHER, NEVER]
    assert rows(await ada.get(f"{STATIONS}?q=never")) == [NEVER]
    assert rows(await ada.get(f"{STATIONS}?state=Faulted")) == rows(await ada.get(f"{STATIONS}?status=Faulted"))
    assert OTHER in rows(await ada.get(f"{STATIONS}?q=scripted")), "also by what they are"
    assert "Nothing fits." in text_of(await ada.get(f"{STATIONS}?q=nothing"))
    assert (await ada.get(f"{STATIONS}?sort=none&page=x")).status == 200
    bea = await employ(ask, "bea", Role.OPERATOR, "six tame ducks swim", "north")
    assert set(rows(await bea.get(STATIONS))) == {OTHER, NEVER}


async def test_a_list_is_the_same_as_a_file_with_units(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    charging = Charging(ask.backend, station)
    await charging.event("Started", "CablePluggedIn", state="Charging", context="Transaction.Begin")
    ada = await employ(ask, "ada", Role.ADMIN)
    answer = await ada.get(f"{STATIONS}?csv=1&q=0001")
    assert answer.headers["content-disposition"] == 'attachment; filename="stations.csv"'
    head, line = csv.reader(answer.body.decode("utf-8-sig").splitlines())
    assert (head[:4], line[:4]) == (["station", "state", "site", "sessions"], [STATION, "Available", "", "1"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]+\+00:00", line[-1])
    head, line = csv.reader((await ada.get("/console/sessions?csv=1")).body.decode("utf-8-sig").splitlines())
    assert {"taken [Wh]", "power [W]", "charge [%]", "id"} <= set(head)
    assert line[-1] == charging.id


async def test_a_part_of_a_long_list_passes_for_no_file_of_it(ask: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = await employ(ask, "ada", Role.ADMIN)
    assert (await ada.get("/console/audit?csv=1")).status == 200
    monkeypatch.setattr("csms.console.listing.MOST_CSV", 1)
    refused = await ada.get("/console/audit?csv=1")
    assert refused.status == 400
    assert "more than 1 rows" in text_of(refused)


async def test_sessions_are_found_by_place_day_state_person_and_id(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    charging = Charging(ask.backend, station)
    token = {"idToken": "DEADBEEF", "type": "ISO14443"}
    await charging.event("Started", "CablePluggedIn", state="Charging", context="Transaction.Begin", token=token)
    await site(ask, "north", STATION)
    await site(ask, "south", OTHER)
    ada, bob = await employ(ask, "ada", Role.OPERATOR), await employ(ask, "bob", Role.VIEWER)
    shown = "/console/sessions"
    assert rows(await ada.get(shown)) == [charging.id]
    today = charging.now()[:10]
    for query, there in (
        ("site=north", 1), ("site=south", 0), ("site=none", 0), (f"from={today}&to={today}", 1), ("from=2090-01-01", 0),
        ("to=2020-01-01", 0), ("from=nonsense", 1), ("active=true", 1), ("active=false", 0), ("q=deadbeef", 1),
        ("q=DEADBEE", 0), (f"q={charging.id[1:]}", 1), ("q=v2g-0001", 1), ("q=%25", 0),
    ):  # fmt: skip
        assert len(rows(await ada.get(f"{shown}?{query}"))) == there, query
    assert rows(await bob.get(f"{shown}?q=deadbeef")) == [], "who may not see tokens cannot look for them"


@pytest.mark.requirement("R219")
async def test_several_stations_restart_and_what_failed_is_listed_and_tried_again(ask: ApiClient) -> None:
    first, second = await ask.backend.booted(), await ask.backend.booted(OTHER)
    assert (await ask("PUT", f"/admissions/{NEVER}", {"decision": "Accepted"})).status == 200
    ada, bob = await employ(ask, "ada", Role.OPERATOR), await employ(ask, "bob", Role.VIEWER)
    picks = {f"pick:{each}": "1" for each in (STATION, OTHER, NEVER)}
    question = text_of(await ada.send(f"{STATIONS}/change", {"do": "restart", **picks}))
    for said in ("Restart 3 stations?", f"Not connected, so it fails there: {NEVER}", "Sessions that run there now: 0"):
        assert said in question, said
    sending = asyncio.create_task(ada.send(f"{STATIONS}/change", {"do": "restart", **picks, "sure": "3"}))
    (await first.expect("Reset")).reply({"status": "Accepted"})
    (await second.expect("Reset")).reply({"status": "Rejected"})
    page = await sending
    text = text_of(page)
    for said in ("1 done, 2 failed.", f"{OTHER}: Rejected", f"{NEVER}: ", "Try these again"):
        assert said in text, said
    assert re.findall(r'name="pick:([^"]+)"', page.body.decode()) == [OTHER, NEVER]
    again = asyncio.create_task(ada.send(f"{STATIONS}/change", {"do": "restart", f"pick:{OTHER}": "1", "sure": "1"}))
    (await second.expect("Reset")).reply({"status": "Accepted"})
    assert (await again).status == 303
    assert "1 stations: done." in text_of(await ada.get(STATIONS))
    for wrong in ({"do": "explode", **picks}, {"do": "restart"}, {"do": "restart", "pick:CS-OTHER": "1"}):
        assert (await ada.send(f"{STATIONS}/change", wrong)).status == 303
    assert "no station is chosen" in text_of(await ada.get(STATIONS))
    assert 'name="pick:' not in (await bob.get(STATIONS)).body.decode()
    assert (await bob.send(f"{STATIONS}/change", {"do": "restart", **picks, "sure": "3"})).status == 403


def test_rows_without_a_value_are_last_in_either_order() -> None:
    columns = (Column("value", "Value", lambda row: row[1]), Column("name", "Name", lambda row: row[0]))
    some = [("a", None), ("b", 2), ("c", 1), ("d", None)]
    for sort, names in (("value", "cbad"), ("-value", "bcad"), ("-name", "dcba"), ("", "abcd"), ("-other", "abcd")):
        assert "".join(row[0] for row in in_order(columns, some, sort)) == names, sort


def test_names_with_numbers_are_in_the_order_of_these() -> None:
    columns, names = (Column("name", "Name", str),), ("EV-10", "EV-2", "EV", "EV-1", "EV-02b", "9")
    assert in_order(columns, names, "name") == ["9", "EV", "EV-1", "EV-2", "EV-02b", "EV-10"]


async def test_hostile_texts_in_lists_are_shown_and_never_obeyed(ask: ApiClient) -> None:
    hostile = "<img src=x>\u202e\"'=1+1"
    station = await ask.backend.join(STATION)
    about = {"model": hostile[:20], "vendorName": f"={hostile}"[:50], "firmwareVersion": hostile}
    assert (await station.call("BootNotification", {**BOOT, "chargingStation": about}))["status"] == "Accepted"
    charging = Charging(ask.backend, station)
    charging.id = "'\"><b>t%2F/?#\r\nx"
    await charging.event("Started", "CablePluggedIn", state="Charging", context="Transaction.Begin")
    ada = await employ(ask, "ada", Role.ADMIN)
    for path in ("", "?q=<b>", "?site=%22%3E<b>&state=<b>&sort=<b>"):
        for page in (await ada.get(f"{STATIONS}{path}"), await ada.get(f"/console/sessions{path}")):
            assert page.status == 200
            body = page.body.decode()
            assert "<img src=x" not in body
            assert "<b>" not in body.replace('<b role="status">', "")
            assert "\u202e" not in body
    _, line = csv.reader((await ada.get(f"{STATIONS}?csv=1&q=0001")).body.decode("utf-8-sig").splitlines())
    assert line[4].startswith("'="), "no formula"


@pytest.mark.requirement("R219")
async def test_a_stations_page_says_which_first_step_is_missing(ask: ApiClient) -> None:
    assert (await ask("PUT", f"/admissions/{NEVER}", {"decision": "Accepted"})).status == 200
    ada = await employ(ask, "ada", Role.OPERATOR)
    page = await ada.get(f"{STATIONS}/{NEVER}")
    assert "<strong>Connected and accepted</strong>" in page.body.decode(), "admitted, and it is in the list"
    assert "has never been connected" in text_of(page)
    assert (await ada.get(f"{STATIONS}/CS-OTHER")).status == 404
    station = await ask.backend.booted()
    assert "<strong>Behind a fuse of a site</strong>" in (await ada.get(f"{STATIONS}/{STATION}")).body.decode()
    await site(ask, "north", STATION)
    assert "<strong>First session</strong>" in (await ada.get(f"{STATIONS}/{STATION}")).body.decode()
    charging = Charging(ask.backend, station)
    await charging.event("Started", "CablePluggedIn", state="Charging", context="Transaction.Begin")
    assert "First steps" not in text_of(await ada.get(f"{STATIONS}/{STATION}"))


async def test_columns_are_chosen_by_the_address_and_views_have_names_of_their_own_or_for_all(ask: ApiClient) -> None:
    await ask.backend.booted()
    await ask.backend.booted(OTHER)
    ada, bob = await employ(ask, "ada", Role.OPERATOR), await employ(ask, "bob", Role.VIEWER)
    query = "q=0001&sort=-station&col=state&col=seen"
    page = await ada.get(f"{STATIONS}?{query}")
    heads = re.findall(r"<th scope=\"col\"[^>]*><a [^>]*>([^<]+)</a>", page.body.decode())
    assert heads == ["Station", "State", "Last message"]
    view = {"path": STATIONS, "query": query, "name": " My  station "}
    saved = await ada.send("/console/views", view)
    assert saved.headers["location"] == f"{STATIONS}?{query}"
    page = await ada.get(f"{STATIONS}?{query}")
    assert "The view My station is kept." in text_of(page)
    assert 'aria-current="true">My station' in page.body.decode()
    assert "Give up the view My station" in text_of(page)
    assert "My station" not in text_of(await bob.get(STATIONS))
    await ada.send("/console/views", {**view, "shared": "yes"})
    there = await bob.get(STATIONS)
    assert f'href="?{query.replace("&", "&amp;")}">My station' in there.body.decode()
    assert "Give up" not in text_of(await bob.get(f"{STATIONS}?{query}")), "it is ada's"
    await bob.send("/console/views", {**view, "do": "forget"})
    assert "My station" in text_of(await bob.get(STATIONS))
    await ada.send("/console/views", {**view, "do": "forget", "name": "My station"})
    assert "The view My station is gone." in text_of(await ada.get("/console/sessions"))
    assert "My station" not in text_of(await ada.get(STATIONS)) + text_of(await bob.get(STATIONS))
    for wrong in (
        {"name": ""}, {"name": "x" * 41}, {"name": "\u202e"}, {"path": "https://evil.test"}, {"query": "javascript:<>"},
    ):  # fmt: skip
        answer = await ada.send("/console/views", {**view, **wrong})
        assert answer.headers["location"].startswith("/console"), wrong
        assert "kept" not in text_of(await ada.get(STATIONS)), wrong
    for number in range(21):
        await ada.send("/console/views", {**view, "name": f"<b>{number}"})
    page = await ada.get(STATIONS)
    assert "there are too many views" in text_of(page)
    assert len(re.findall(r">&lt;b&gt;\d+", page.body.decode())) == 20


async def test_what_a_list_of_another_kind_shows_is_the_same_component(ask: ApiClient) -> None:
    ada = await employ(ask, "ada", Role.ADMIN)
    for name, status in (("CARD-1", "Accepted"), ("CARD-2", "Blocked"), ("100%", "Accepted")):
        body = {"status": status, "terms": {"group_id": "fleet"}}
        assert (await ask("PUT", f"/tokens/Central/{name.replace('%', '%25')}", body)).status == 200
    tokens = "/console/tokens"
    assert rows(await ada.get(f"{tokens}?q=card")) == ["Central CARD-1", "Central CARD-2"]
    assert rows(await ada.get(f"{tokens}?q=%25")) == ["Central 100%"], "no wildcard"
    assert rows(await ada.get(f"{tokens}?status=Blocked")) == ["Central CARD-2"]
    assert rows(await ada.get(f"{tokens}?group_id=other")) == []
    for path, name in (
        ("tokens", "tokens"), ("users", "users"), ("audit", "audit-log"), ("sites", "sites"), ("vehicles", "vehicles"),
        ("campaigns", "updates"), ("quarantine", "on-hold"), ("tariffs", "tariffs"), ("settlements", "settlements"),
        ("contracts", "contracts"), ("partners", "roaming"),
    ):  # fmt: skip
        page = await ada.get(f"/console/{path}?col=x&q=<b>&sort=none&page=x")
        assert page.status == 200, path
        assert "<b>" not in page.body.decode().replace('<b role="status">', ""), path
        file = await ada.get(f"/console/{path}?csv=1")
        assert file.headers["content-disposition"] == f'attachment; filename="{name}.csv"'
        assert csv.reader(file.body.decode("utf-8-sig").splitlines()), path
    people = await ada.get("/console/users?sort=-name")
    assert rows(people) == ["ada"]
    await employ(ask, "bob", Role.VIEWER)
    question = text_of(await ada.send("/console/users/bob/role"))
    assert "Which role has bob?" in question
    assert (await ada.send("/console/users/bob/role", {"role": "billing", "sites": ""})).status == 303
    assert (await ask("GET", "/access/users/bob")).json["role"] == "billing"
    assert rows(await ada.get("/console/users?role=billing")) == ["bob"]


async def test_a_file_adds_stations_after_a_look_at_what_would_change(ask: ApiClient) -> None:
    body = {"id": "north", "nodes": [{"id": "main", "limits": [63_000] * 3}], "places": []}
    assert (await ask("PUT", "/sites/north", body)).status == 200
    await ask.backend.booted()
    ada, bob = await employ(ask, "ada", Role.OPERATOR), await employ(ask, "bob", Role.VIEWER)
    page = f"{STATIONS}/import"
    assert "Add stations" in text_of(await ada.get(page))
    file = f"station,site,evses,most_a\r\n{STATION},,,\r\nCS-NEW,north,2,16\n<b>\u202ex,,,\nCS-BAD,south,,\n".encode()
    looked = await ada.upload(page, {"stations.csv": file})
    text = text_of(looked)
    for said in (
        "2 of 4 lines can be added", "It is known already.", "It is admitted. EVSEs: 2 at north, main, at most 16 A",
        "There is no site south", "Add 2 stations",
    ):  # fmt: skip
        assert said in text, said
    assert "<b>" not in looked.body.decode()
    assert "\u202e" not in looked.body.decode().partition("<textarea")[0]
    assert (await ask("GET", "/sites/north")).json["places"] == [], "nothing has changed yet"
    done = await ada.send(page, {"text": file.decode(), "sure": "2"})
    assert done.headers["location"] == STATIONS
    assert "2 stations are added." in text_of(await ada.get(STATIONS))
    assert rows(await ada.get(f"{STATIONS}?site=north")) == ["CS-NEW"]
    places = (await ask("GET", "/sites/north")).json["places"]
    assert [(each["evse_id"], each["most_ma"]) for each in places] == [(1, 16_000), (2, 16_000)]
    again = await ada.send(page, {"text": file.decode(), "sure": "2"})
    assert "1 of 4 lines can be added" in text_of(again), "others have changed it meanwhile"
    for octets in (b"", b"\xff\xfe\x00", b"name\nx"):
        assert "0 of 1 lines can be added" in text_of(await ada.upload(page, {"stations.csv": octets}))
    assert (await bob.get(page)).status == 403
    assert (await bob.upload(page, {"stations.csv": file})).status == 403
    assert "Add stations" not in text_of(await bob.get(STATIONS))


def reported(
    component: str, variable: str, value: str, mutability: str = "ReadWrite", **kind: object
) -> dict[str, object]:
    about = {"component": {"name": component, "evse": {"id": 1}}, "variable": {"name": variable}}
    attribute = {"value": value, "mutability": mutability}
    characteristics = {"dataType": "string", "supportsMonitoring": False, **kind}
    return {**about, "variableAttribute": [attribute], "variableCharacteristics": characteristics}


async def test_variables_are_found_by_component_and_set_one_by_one(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    data = [
        reported("EVSE", "Power", "11000", "ReadOnly", dataType="decimal", unit="W"),
        reported("EVSE", "Mode/1", "<b>\u202eslow", dataType="OptionList", valuesList="slow, fast"),
        reported("Clock", "Interval", "300", dataType="integer", unit="s", minLimit=60, maxLimit=900),
    ]
    head = {"requestId": 1, "generatedAt": "2026-01-01T00:00:00Z", "seqNo": 0}
    await station.call("NotifyReport", {**head, "reportData": data})
    ada, bob = await employ(ask, "ada", Role.OPERATOR), await employ(ask, "bob", Role.VIEWER)
    page = f"{STATIONS}/{STATION}/variables"
    assert f'href="{page}"' in (await ada.get(f"{STATIONS}/{STATION}")).body.decode()
    shown = await ada.get(page)
    for said in ("Interval Clock 1 300 s", "Power EVSE 1 11000 W", "read and written"):
        assert said in text_of(shown), said
    assert "<b>\u202e" not in shown.body.decode()
    assert len(rows(await ada.get(f"{page}?component=EVSE"))) == 2
    assert len(rows(await ada.get(f"{page}?q=interval"))) == 1
    assert shown.body.decode().count("Set …") == 2, "not of what may only be read"
    assert "Set …" not in text_of(await bob.get(page))
    keys = dict(zip(("clock", "mode"), re.findall(r'name="key" value="([^"]+)"', shown.body.decode()), strict=True))
    question = await ada.send(page, {"key": keys["clock"]})
    for said in ("Set Clock Interval?", "Now: 300 s", "From 60.0 to 900.0"):
        assert said in text_of(question), said
    assert "<option" in (await ada.send(page, {"key": keys["mode"]})).body.decode()
    for status, said in (("RebootRequired", "It holds after the station's next boot."), ("Rejected", "Rejected")):
        sending = asyncio.create_task(ada.send(page, {"key": keys["clock"], "value": " 600", "sure": "1"}))
        request = await station.expect("SetVariables")
        (wanted,) = request.payload["setVariableData"]
        assert wanted["attributeValue"] == "600"
        assert wanted["component"] == {"name": "Clock", "evse": {"id": 1}}
        answer = {name: wanted[name] for name in ("component", "variable")} | {"attributeStatus": status}
        request.reply({"setVariableResult": [answer]})
        assert (await sending).headers["location"] == page
        assert said in text_of(await ada.get(page))
    assert (await ada.send(page, {"key": "x", "value": "1", "sure": "1"})).status == 303
    assert "there is no such variable" in text_of(await ada.get(page))
    assert (await bob.send(page, {"key": keys["clock"], "value": "1", "sure": "1"})).status == 403
