"""Configuration templates: which stations differ from what, since when, and setting it."""

from typing import Any

from csms.accounts.rules import Role
from csms.station_templates.work import READ_AGAIN_MS, TemplateKeeper
from tests.csms.api.support import ApiClient
from tests.csms.console.support import employ, text_of
from tests.csms.scripted_station import ScriptedStation

HEARTBEAT = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "HeartbeatInterval"}}
WANTED = {"component": "OCPPCommCtrlr", "variable": "HeartbeatInterval", "value": "300"}
TEMPLATE = {"values": [WANTED]}
PATH = "/station-templates/depots"


async def reported(ask: ApiClient, name: str, value: str) -> ScriptedStation:
    station = await ask.backend.booted(name)
    entry = {**HEARTBEAT, "variableAttribute": [{"value": value}]}
    about = {"requestId": 1, "generatedAt": "2026-01-01T00:00:00Z", "seqNo": 0, "reportData": [entry]}
    await station.call("NotifyReport", about)
    return station


def answers(station: ScriptedStation, status: str) -> None:
    station.answers["SetVariables"] = {"setVariableResult": [{**HEARTBEAT, "attributeStatus": status}]}


async def drift(ask: ApiClient) -> list[tuple[Any, ...]]:
    rows = (await ask("GET", "/station-drift")).json
    return [(each["station_id"], each["place"], each["wanted"], each["actual"], each["state"]) for each in rows]


async def test_stations_that_differ_are_shown_since_when_and_follow_once_they_report_it(ask: ApiClient) -> None:
    clock = ask.backend.clock
    await reported(ask, "CS-V2G-0001", "60")
    await reported(ask, "CS-V2G-0002", "300")
    begun = clock.utc_ms()
    assert (await ask("PUT", PATH, TEMPLATE)).json["version"] == 1
    place = "OCPPCommCtrlr.HeartbeatInterval"
    assert await drift(ask) == [("CS-V2G-0001", place, "300", "60", "differs")]
    clock.now_ms += 60_000
    await reported(ask, "CS-V2G-0001", "90")
    await TemplateKeeper(ask.backend.services).step()
    (row,) = (await ask("GET", "/station-drift?template_id=depots")).json
    assert (row["actual"], row["since_ms"]) == ("90", begun), "it differs as long as before"
    assert (await ask("PUT", PATH, TEMPLATE)).json["version"] == 1, "the same is no new version"
    await reported(ask, "CS-V2G-0001", "300.0")
    await TemplateKeeper(ask.backend.services).step()
    assert await drift(ask) == []
    seen = [each.name for each in ask.backend.events.reported if each.name.startswith("template_")]
    assert seen == ["template_differs", "template_followed"]
    changed = await ask("PUT", PATH, {"values": [{**WANTED, "value": "10"}], "stations": ["CS-V2G-0002"]})
    assert changed.json["version"] == 2
    assert [each[0] for each in await drift(ask)] == ["CS-V2G-0002"]
    assert (await ask("DELETE", PATH)).status == 204
    assert await drift(ask) == []
    assert (await ask("GET", PATH)).status == 404
    audit = (await ask("GET", "/audit")).json
    assert {each["operation"] for each in audit} >= {"put_station_template", "delete_station_template"}


async def test_names_of_variables_mean_the_same_in_any_case(ask: ApiClient) -> None:
    await reported(ask, "CS-V2G-0001", "60")
    small = {"component": "ocppcommctrlr", "variable": "heartbeatInterval", "value": "300"}
    await ask("PUT", PATH, {"values": [small]})
    place = "ocppcommctrlr.heartbeatInterval"
    assert await drift(ask) == [("CS-V2G-0001", place, "300", "60", "differs")]
    await reported(ask, "CS-V2G-0001", "300")
    await TemplateKeeper(ask.backend.services).step()
    assert await drift(ask) == []


async def test_a_template_is_for_sites_and_models(ask: ApiClient) -> None:
    for name in ("CS-V2G-0001", "CS-V2G-0002"):
        await reported(ask, name, "60")
    place = {"station_id": "CS-V2G-0002", "evse_id": 1, "node": "main", "most_ma": 32_000}
    north = {"id": "north", "nodes": [{"id": "main", "limits": [63_000] * 3}], "places": [place]}
    assert (await ask("PUT", "/sites/north", north)).status == 200
    await ask("PUT", PATH, {**TEMPLATE, "sites": ["north"]})
    assert [each[0] for each in await drift(ask)] == ["CS-V2G-0002"]
    known = (await ask("GET", "/stations/CS-V2G-0001")).json
    await ask("PUT", PATH, {**TEMPLATE, "models": [f"{known['vendor']} {known['model']}"]})
    assert len(await drift(ask)) == 2
    await ask("PUT", PATH, {**TEMPLATE, "models": ["Nobody 1"]})
    assert await drift(ask) == []


async def test_what_differs_is_set_after_a_preview_and_failures_are_named(ask: ApiClient) -> None:
    good = await reported(ask, "CS-V2G-0001", "60")
    bad = await reported(ask, "CS-V2G-0002", "60")
    answers(good, "Accepted")
    answers(bad, "Rejected")
    await ask("PUT", PATH, TEMPLATE)
    would = (await ask("POST", f"{PATH}/apply", {"dry_run": True})).json
    assert [(each["station_id"], each["variables"], each["state"]) for each in would] == [
        ("CS-V2G-0001", 1, "would be set"),
        ("CS-V2G-0002", 1, "would be set"),
    ]
    assert good.payloads("SetVariables") == []
    done = (await ask("POST", f"{PATH}/apply", {})).json
    assert [(each["state"], each["reason"]) for each in done] == [
        ("set", ""),
        ("failed", "OCPPCommCtrlr.HeartbeatInterval: Rejected"),
    ]
    assert [each[0] for each in await drift(ask)] == ["CS-V2G-0002"], "what was accepted follows"
    answers(bad, "RebootRequired")
    (later,) = (await ask("POST", f"{PATH}/apply", {})).json
    assert later["state"] == "after its next boot"
    assert [each[4] for each in await drift(ask)] == ["after its next boot"]
    assert (await ask("POST", f"{PATH}/apply", {})).json == [], "it is not set again"


async def test_old_values_are_read_once_a_day(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    answer = {**HEARTBEAT, "attributeStatus": "Accepted", "attributeValue": "60"}
    station.answers["GetVariables"] = {"getVariableResult": [answer]}
    await ask("PUT", PATH, TEMPLATE)
    assert [each[4] for each in await drift(ask)] == ["not reported"]
    keeper = TemplateKeeper(ask.backend.services)
    for _ in range(3):
        await keeper.step()
    assert len(station.payloads("GetVariables")) == 1
    assert [each[4] for each in await drift(ask)] == ["differs"]
    ask.backend.clock.now_ms += READ_AGAIN_MS + 1000
    await keeper.step()
    assert len(station.payloads("GetVariables")) == 2


async def test_secrets_and_doubles_are_refused(ask: ApiClient) -> None:
    secret = {"component": "SecurityCtrlr", "variable": "BasicAuthPassword", "value": "x"}
    for values, reason in (([secret], "secret"), ([WANTED, WANTED], "named twice")):
        answer = await ask("PUT", PATH, {"values": values})
        assert answer.status == 409
        assert reason in answer.json["detail"]
    assert (await ask("POST", f"{PATH}/apply", {})).status == 404


async def test_the_pages_store_compare_ask_and_set(ask: ApiClient) -> None:
    station = await reported(ask, "CS-V2G-0001", "<b>60")
    answers(station, "Rejected")
    ada = await employ(ask, "ada", Role.OPERATOR)
    assert "No template yet." in text_of(await ada.get("/console/templates"))
    form = {"name": "depots", "values": "OCPPCommCtrlr.HeartbeatInterval = 300"}
    wrong = await ada.send("/console/templates", {**form, "values": "nonsense"})
    assert wrong.status == 303
    assert (await ada.send("/console/templates", form)).headers["location"] == "/console/templates/depots"
    page = await ada.get("/console/templates/depots")
    text = text_of(page)
    for said in ("Stations that differ from version 1: 1.", "CS-V2G-0001", "300", "<b>60", "Differs"):
        assert said in text, said
    assert "<b>60" not in page.body.decode()
    row = "pick:CS-V2G-0001/OCPPCommCtrlr.HeartbeatInterval"
    asked = await ada.send("/console/templates/depots/apply", {"do": "apply", row: "1"})
    assert "Set what depots wants at stations: 1?" in text_of(asked)
    assert station.payloads("SetVariables") == []
    failed = await ada.send("/console/templates/depots/apply", {"do": "apply", "pick:CS-V2G-0001": "1", "sure": "1"})
    assert "CS-V2G-0001: OCPPCommCtrlr.HeartbeatInterval: Rejected" in text_of(failed)
    answers(station, "Accepted")
    done = await ada.send("/console/templates/depots/apply", {"do": "apply", "pick:CS-V2G-0001": "1", "sure": "1"})
    assert done.status == 303
    assert "No station differs" in text_of(await ada.get("/console/templates/depots"))
