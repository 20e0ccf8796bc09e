"""The page of alerts: groups with sentences, outages, and what is done about many at once."""

import re

import pytest

from csms.accounts.rules import Role
from csms.alerts.rules import Evidence, Report
from tests.csms.api.support import ApiClient
from tests.csms.console.support import Person, employ, text_of

STATION = "CS-V2G-0001"
CHANGE = "/console/alerts/change"


async def alert(ask: ApiClient, subject: str, kind: str, value: float | None = None, **more: str) -> None:
    """Have an alert raised now."""
    about = {"subject_kind": "station", "severity": "warning", **more}
    report = Report(
        about["subject_kind"],  # type: ignore[arg-type]  # one of these
        subject,
        kind,
        about["severity"],  # type: ignore[arg-type]
        ask.backend.clock.utc_ms(),
        raised=True,
        evidence=Evidence(value, 900.0),
    )
    await ask.alerts.take([report])


async def site(ask: ApiClient, name: str, stations: int) -> list[str]:
    names = [f"{name}-{number}" for number in range(stations)]
    places = [{"station_id": each, "evse_id": 1, "node": "main", "most_ma": 32_000} for each in names]
    body = {"id": name, "nodes": [{"id": "main", "limits": [63_000] * 3}], "places": places}
    assert (await ask("PUT", f"/sites/{name}", body)).status == 200
    return names


async def chosen(ada: Person, path: str = "/console/alerts") -> list[str]:
    """The keys of the rows on a page."""
    return re.findall(r'name="pick:(\d+)"', (await ada.get(path)).body.decode())


@pytest.mark.requirement("R125")
async def test_alerts_of_a_kind_at_a_site_are_one_row_with_a_sentence_and_units(ask: ApiClient) -> None:
    north = await site(ask, "north", 40)
    for each in north[:3]:
        await alert(ask, each, "station_faulted", 60.0, severity="error")
        ask.backend.clock.advance(60)
    await alert(ask, STATION, "limit_not_obeyed", 1250.0)
    await alert(ask, "all", "grid_limit_exceeded", 12_500.0, subject_kind="grid")
    await alert(ask, "north", "fuse_overloaded", 3.5, subject_kind="site")
    ada = await employ(ask, "ada", Role.OPERATOR)
    answer = await ada.get("/console/alerts")
    page = text_of(answer).replace("\u00a0", " ")
    for said in (
        "6 open, 0 acknowledged, 0 muted.",
        "3 stations have a faulted connector, the first for 4 min",
        f"{STATION} is 1.2 kW above its share of a limit",
        "all is 12.5 kW above its grid limit",
        "A fuse of north carries 3.5 A more than it may",
    ):
        assert said in page, said
    shown = [page.rindex(each) for each in ("faulted connector", "fuse of north", "share of a limit")]
    assert shown == sorted(shown)
    assert answer.body.count(b'<li class="alert') == 4
    assert "fuse of" not in text_of(await ada.get("/console/alerts?kind=limit_not_obeyed"))
    only = text_of(await ada.get("/console/alerts?site=north"))
    assert ("faulted connector" in only, STATION in only) == (True, False)
    assert "faulted" in text_of(await ada.get("/console/alerts?q=north-2"))
    assert "No alert." in text_of(await ada.get("/console/alerts?q=nothing"))


async def test_alerts_are_acknowledged_together_after_their_effects_are_shown(ask: ApiClient) -> None:
    for each in ("CS-1", "CS-2"):
        await alert(ask, each, "station_faulted", 60.0, severity="error")
    await alert(ask, STATION, "limit_not_obeyed", 1250.0)
    ada = await employ(ask, "ada", Role.OPERATOR)
    picks = {f"pick:{key}": "1" for key in await chosen(ada)}
    assert len(picks) == 2
    question = text_of(await ada.send(CHANGE, {"do": "acknowledge", **picks}))
    for said in ("Acknowledge 3 alerts?", "2 stations have a faulted connector", "Nobody else is called about them"):
        assert said in question
    assert all(each["acknowledged_by"] == "" for each in (await ask("GET", "/alerts")).json)
    await alert(ask, "CS-3", "station_faulted", 60.0, severity="error")
    again = text_of(await ada.send(CHANGE, {"do": "acknowledge", **picks, "sure": "3", "note": "power cut"}))
    assert "Meanwhile others are concerned than before" in again
    assert (await ada.send(CHANGE, {"do": "acknowledge", **picks, "sure": "4", "note": "power cut"})).status == 303
    page = text_of(await ada.get("/console/alerts"))
    assert "4 alerts are acknowledged." in page
    assert "0 open, 4 acknowledged" in page
    assert "ada: power cut" in text_of(await ada.get("/console/alerts?state=acknowledged"))
    assert {each["note"] for each in (await ask("GET", "/alerts")).json} == {"power cut"}
    await ada.send(CHANGE, {"do": "acknowledge", "pick:99": "1"})
    assert "no alert that has not ended is chosen" in text_of(await ada.get("/console/alerts"))
    bob = await employ(ask, "bob", Role.VIEWER)
    assert await chosen(bob) == []
    assert (await bob.send(CHANGE, {"do": "acknowledge", **picks, "sure": "4"})).status == 403


async def test_alerts_are_assigned_and_found_by_who_has_them(ask: ApiClient) -> None:
    await alert(ask, STATION, "limit_not_obeyed", 1250.0)
    ada = await employ(ask, "ada", Role.OPERATOR)
    (key,) = await chosen(ada)
    assert 'value="ada"' in (await ada.send(CHANGE, {"do": "assign", f"pick:{key}": "1"})).body.decode()
    assert "No alert." in text_of(await ada.get("/console/alerts?state=mine"))
    await ada.send(CHANGE, {"do": "assign", f"pick:{key}": "1", "sure": "1", "to": "ada"})
    assert "above its share" in text_of(await ada.get("/console/alerts?state=mine"))
    bob = await employ(ask, "bob", Role.OPERATOR)
    assert "No alert." in text_of(await bob.get("/console/alerts?state=mine"))
    (entry,) = [each for each in (await ask("GET", "/audit")).json if each["operation"] == "assign_alerts"]
    assert entry["caller"] == "ada"


@pytest.mark.requirement("R177")
async def test_alerts_are_muted_for_a_while_with_a_reason(ask: ApiClient) -> None:
    await alert(ask, STATION, "station_silent")
    ada = await employ(ask, "ada", Role.OPERATOR)
    (key,) = await chosen(ada)
    about = {"do": "mute", f"pick:{key}": "1", "sure": "1", "hours": "8", "note": "replaced"}
    for wrong in ({"note": " "}, {"hours": "9"}):
        await ada.send(CHANGE, about | wrong)
        assert "muting needs a duration and a reason" in text_of(await ada.get("/console/alerts"))
    await ada.send(CHANGE, about)
    (silence,) = (await ask("GET", "/alert-silences")).json
    assert silence["until_ms"] - silence["created_ms"] == 8 * 3_600_000
    assert (silence["subject"], silence["kind"]) == (STATION, "station_silent")
    page = text_of(await ada.get("/console/alerts"))
    for said in ("1 alerts are muted.", "0 open, 0 acknowledged, 1 muted", "ada: replaced", "End silence"):
        assert said in page, said
    bea = await employ(ask, "bea", Role.VIEWER)
    assert "End silence" not in text_of(await bea.get("/console/alerts"))
    place = {"station_id": STATION, "evse_id": 1, "node": "main", "most_ma": 32_000}
    north = {"id": "north", "nodes": [{"id": "main", "limits": [63_000] * 3}], "places": [place]}
    assert (await ask("PUT", "/sites/north", north)).status == 200
    cara = await employ(ask, "cara", Role.OPERATOR)
    await ask("PUT", "/access/users/cara/role", {"role": "operator", "sites": ["north"]})
    assert STATION in text_of(await cara.get("/console/alerts?state=muted"))
    refused = text_of(await cara.send(CHANGE, about))
    assert "This failed: CS-V2G-0001: only who may read alerts of every station may silence one" in refused
    await ada.send(f"/console/alerts/silences/{silence['silence_id']}/end")
    assert (await ask("GET", "/alert-silences")).json == []
    assert "1 open" in text_of(await ada.get("/console/alerts"))


@pytest.mark.requirement("R219")
@pytest.mark.long
async def test_an_outage_of_2000_stations_is_one_panel_and_ends_by_itself(ask: ApiClient) -> None:
    stations = [f"CS-{number:04}" for number in range(2000)]
    now_ms = ask.backend.clock.utc_ms()

    def reports(at_ms: int, names: list[str], *, raised: bool = True) -> list[Report]:
        evidence = Evidence(900.0, 900.0)
        return [Report("station", each, "station_offline", "warning", at_ms, raised, evidence) for each in names]

    await ask.alerts.take(reports(now_ms, stations[:1000]))
    ask.backend.clock.advance(120)
    await ask.alerts.take(reports(now_ms + 120_000, stations[1000:]))
    await alert(ask, STATION, "limit_not_obeyed", 1250.0)
    ada = await employ(ask, "ada", Role.OPERATOR)
    answer = await ada.get("/console/alerts")
    page = text_of(answer).replace("\u2009", " ")
    assert "2 000 stations lost their connection within 3 min" in page
    assert "0 are back, 2 000 are missing." in page
    assert answer.body.count(b'<li class="alert') == 1
    assert len(answer.body) < 120_000
    ask.backend.clock.advance(60)
    await ask.alerts.take(reports(now_ms + 180_000, stations[:1640], raised=False))
    page = text_of(await ada.get("/console/alerts")).replace("\u2009", " ")
    assert "1 640 are back, 360 are missing." in page
    key = (await chosen(ada))[0]
    question = text_of(await ada.send(CHANGE, {"do": "mute", f"pick:{key}": "1"}))
    assert "All alerts of the kind station_offline are muted" in question
    await ada.send(CHANGE, {"only": key, "sure": "360", "note": "network"})
    assert "360 alerts are acknowledged." in text_of(await ada.get("/console/alerts"))
    await ask.alerts.take(reports(now_ms + 180_000, stations[1640:], raised=False))
    page = text_of(await ada.get("/console/alerts"))
    assert "lost their connection" not in page
    assert "1 open, 0 acknowledged" in page


async def test_hostile_texts_in_alerts_are_shown_and_never_obeyed(ask: ApiClient) -> None:
    hostile = "<img src=x onerror=alert(1)>{subject}\u202e\"'"
    await alert(ask, hostile[:64], "station_silent")
    await alert(ask, hostile[:60], "fuse_overloaded", 3.0, subject_kind="site")
    ada = await employ(ask, "ada", Role.ADMIN)
    keys = await chosen(ada)
    pages = [await ada.get("/console/alerts"), await ada.send(CHANGE, {f"pick:{each}": "1" for each in keys})]
    pages += [await ada.get(f"/console/alerts?{name}=%3Cimg%20src=x%3E") for name in ("q", "state", "site", "severity")]
    for page in pages:
        body = page.body.decode()
        assert page.status == 200
        assert "<img src=x" not in body
        assert "\u202e" not in body
    assert "onerror" in text_of(pages[0])
