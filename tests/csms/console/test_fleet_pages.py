"""Pages of sites, vehicles, updates and health, and the stream of positions behind the map."""

import asyncio
import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from csms.accounts.rules import Role
from csms.batteries import store as batteries
from csms.batteries.rules import Advanced, Battery
from csms.db.backup import restore
from csms.nodes import store as nodes
from csms.overview.api import KEPT
from tests.csms.api.support import ApiClient
from tests.csms.charging import Charging
from tests.csms.console.support import employ, text_of
from tests.csms.estimates import estimate
from v2g.battery.driving import DrivingState
from v2g.battery.scores import ScoreState
from v2g.telemetry.local_events import INSTALLED, LocalEvent
from v2g.telemetry.signals import SCHEMA_4, Record, encode_record

STATION = "CS-V2G-0001"


async def deliver(ask: ApiClient, ev: str, seq: int, *, keyframe: bool = False, **signals: float) -> None:
    found = {name.replace("__", "."): value for name, value in signals.items()}
    record = Record(ev, 1, seq, ask.backend.clock.utc_ms(), "city", keyframe or seq == 1, found)
    assert (await ask("POST", "/telemetry", b"[" + encode_record(record) + b"]")).json["stored"] == 1


async def test_a_site_and_a_session_show_which_limit_binds(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    station.refuses_others = True
    place = {"station_id": STATION, "evse_id": 1, "node": "main", "most_ma": 32_000}
    site = {"id": "depot", "nodes": [{"id": "main", "limits": [63_000] * 3}], "places": [place], "latitude": 48.1}
    assert (await ask("PUT", "/sites/depot", {**site, "longitude": 11.5})).status == 200
    charging = Charging(ask.backend, station)
    sample = {"value": 7200, "measurand": "Power.Active.Import", "context": "Transaction.Begin"}
    extra = {"meterValue": [{"timestamp": charging.now(), "sampledValue": [sample]}]}
    await charging.event("Started", "CablePluggedIn", state="Charging", extra=extra)
    schedule = {
        "id": 1,
        "startSchedule": charging.now(),
        "chargingRateUnit": "W",
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 9000.0}],
    }
    request = {"chargingLimit": {"chargingLimitSource": "EMS"}, "chargingSchedule": [schedule], "evseId": 1}
    await station.call("NotifyChargingLimit", request)
    (found,) = (await ask("GET", "/sites/depot/evse-limits")).json
    assert found == (await ask("GET", f"/stations/{STATION}/evse-limits")).json[0]
    assert found["bounds"] == [{"name": "external", "power_w": 9000, "source": "EMS"}]
    assert float(found["power_w"]) == 7200
    ada = await employ(ask, "ada", Role.VIEWER)
    assert "63 / 63 / 63 48.1, 11.5" in text_of(await ada.get("/console/sites"))
    page = text_of(await ada.get("/console/sites/depot"))
    assert re.search(r"feeder depot/main import 63.0 / 63.0 / 63.0 A fuse always 7.2.kW 52.6 A \(L1\)", page)
    assert re.search(r"Limit from outside EMS 9.0.kW binds", page)
    assert re.search(
        r"Limit from outside EMS 9.0.kW binds", text_of(await ada.get(f"/console/sessions/{STATION}/{charging.id}"))
    )


async def test_vehicles_are_listed_with_those_that_are_silent(ask: ApiClient) -> None:
    await deliver(ask, "EV-OLD", 1, battery__soc=20.5, battery__temperature__max=31.0)
    ask.backend.clock.advance(2 * 3600)
    for number in range(60):
        await deliver(ask, f"EV-{number:02}", 1, battery__soc=81.0, charging__power=-7_500.0)
    ada = await employ(ask, "ada", Role.ADMIN)
    first = await ada.get("/console/vehicles")
    assert "EV-49" in text_of(first)
    assert re.search(r"EV-00 \S+ 81 % . \u22127\.5.kW", text_of(first))
    assert "EV-50" not in text_of(first)
    assert "EV-50" in text_of(await ada.get("/console/vehicles?page=2"))
    silent = text_of(await ada.get("/console/vehicles?silent=yes"))
    assert "EV-OLD" in silent
    assert "EV-00" not in silent
    assert "20.5 %" in text_of(await ada.get("/console/vehicles/EV-OLD"))
    german = text_of(await ada.get("/console/vehicles/EV-OLD", accept_language="de"))
    assert ("20,5 %" in german, "31,0 °C" in german) == (True, True)
    assert (await ada.get("/console/vehicles/nobody")).status == 404
    grid = await employ(ask, "bob", Role.GRID_OPERATOR)
    assert (await grid.get("/console/vehicles")).status == 200
    assert (await grid.get("/console/map")).status == 403, "no role but the administrator's sees positions"


@pytest.mark.requirement("R177")
async def test_positions_stream_first_all_and_then_those_that_move(ask: ApiClient) -> None:
    await deliver(ask, "EV-1", 1, location__latitude=48.1, location__longitude=11.5)
    await deliver(ask, "EV-2", 1, battery__soc=50.0)
    gone, came, points = asyncio.Event(), asyncio.Event(), []

    async def send(message: Any) -> None:
        for line in message.get("body", b"").decode().splitlines():
            if line.startswith("data: "):
                points.extend(json.loads(line[6:]))
                came.set()

    streaming = asyncio.create_task(ask.stream("/vehicle-positions", send, gone))
    async with asyncio.timeout(60):
        await came.wait()
        assert [each[:3] for each in points] == [["EV-1", 48.1, 11.5]], "who reports no position is not shown"
        came.clear()
        await deliver(ask, "EV-1", 2, location__latitude=48.2)
        await came.wait()
    assert points[-1][:3] == ["EV-1", 48.2, 11.5]
    ask.backend.clock.advance(60)
    came.clear()
    async with asyncio.timeout(60):
        await deliver(ask, "EV-1", 3, battery__soc=50.0)
        await deliver(ask, "EV-1", 4, keyframe=True, battery__soc=50.0)
        while points[-1][1] is not None:
            came.clear()
            await came.wait()
    assert points[-1] == ["EV-1", None, None, 0], "consent is withdrawn: a record of all signals has no position"
    gone.set()
    await streaming
    assert (await ask("GET", "/vehicle-positions", role=Role.OPERATOR)).status == 403


async def test_a_campaign_is_followed_and_paused(ask: ApiClient) -> None:
    plan = {"image": {"location": "https://files.example/1.4.bin"}, "cohorts": [0.5, 1.0]}
    body = {"name": "1.4", "plan": plan, "station_ids": ["CS-A", "CS-B"]}
    made = await ask("POST", "/campaigns", body)
    assert made.status == 201, made.json
    ada = await employ(ask, "ada", Role.OPERATOR)
    assert "1.4 Running" in text_of(await ada.get("/console/campaigns"))
    path = f"/console/campaigns/{made.json['campaign_id']}"
    page = text_of(await ada.get(path))
    assert "Cohort Waiting" in page
    assert "50.0 %, 100.0 %" in page
    await ada.send(f"{path}/pause")
    page = text_of(await ada.get(path))
    assert "1.4: Paused" in page
    assert "Resume" in page
    assert (await ada.send(f"{path}/burn")).status == 303
    assert "there is no such action" in text_of(await ada.get(path))
    viewer = await employ(ask, "bob", Role.VIEWER)
    assert "Resume" not in text_of(await viewer.get(path))
    assert (await viewer.send(f"{path}/resume")).status == 403


async def test_a_campaign_begins_for_the_stations_of_a_kind_and_leaves_some_out(ask: ApiClient) -> None:
    for name in (STATION, "CS-V2G-0002"):
        await ask.backend.booted(name)
    ada = await employ(ask, "ada", Role.OPERATOR)
    (link,) = re.findall(r'href="(/console/campaigns/new[^"]+)"', (await ada.get("/console/inventory")).body.decode())
    form = await ada.get(unescape(link))
    assert "For 2 stations" in text_of(form)
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form.body.decode()))
    await ada.send(
        "/console/campaigns", {**fields, "name": "1.4", "image": "https://files.example/1", "window": "soon"}
    )
    assert " plan: 'soon' is not a window such as 22:00-06:00 " in text_of(await ada.get(unescape(link)))
    begun = await ada.send("/console/campaigns", {**fields, "name": "1.4", "image": "https://files.example/1"})
    path = begun.headers["location"]
    assert "1.4: Running" in text_of(await ada.get(path))
    await ada.send(f"{path}/exclude", {"stations": f"{STATION}, CS-NONE"})
    assert "CS-NONE does not wait in campaign 1" in text_of(await ada.get(path))
    await ada.send(f"{path}/exclude", {"stations": STATION})
    assert "Cohort Waiting Excluded" in text_of(await ada.get(path))
    entries = (await ask("GET", "/audit?caller=ada")).json
    assert {"make_campaign", "exclude_from_campaign"} <= {each["operation"] for each in entries}
    nothing = await ada.send(
        "/console/campaigns", {"vendor": "Nobody", "name": "x", "image": "https://files.example/1"}
    )
    assert nothing.headers["location"].startswith("/console/campaigns/new")
    viewer = await employ(ask, "bob", Role.VIEWER)
    assert "Update these" not in text_of(await viewer.get("/console/inventory"))


async def test_the_inventory_counts_stations_by_firmware(ask: ApiClient) -> None:
    await ask.backend.booted()
    ada = await employ(ask, "ada", Role.VIEWER)
    (row,) = re.findall(r"<tr><th scope=\"row\">(.*?)</tr>", (await ada.get("/console/inventory")).body.decode())
    assert row.endswith(">1</td>")


@pytest.mark.requirement("R113")
async def test_the_inventory_of_vehicles_is_for_those_who_read_them(ask: ApiClient) -> None:
    said: dict[str, str | int | None] = {"hardware": "<gw>", "version": "gw-2.img", "number": 2, "failed": 3}
    event = LocalEvent("gateway", INSTALLED, 1, said)
    tags: dict[str, Any] = {"schema": SCHEMA_4, "trip": "1-0", "ambient_c": None, "charging_w": None}
    record = Record("EV-1", 1, 1, ask.backend.clock.utc_ms(), "city", keyframe=True, signals={}, event=event, **tags)
    assert (await ask("POST", "/telemetry", b"[" + encode_record(record) + b"]")).json["stored"] == 1
    ada, bob = await employ(ask, "ada", Role.ADMIN), await employ(ask, "bob", Role.VIEWER)
    assert "gateway <gw> gw-2.img 2 3 1 Known flaws" in text_of(await ada.get("/console/inventory"))
    assert "gw-2.img" not in text_of(await bob.get("/console/inventory"))
    await ask.backend.booted()
    gus = await employ(ask, "gus", Role.GRID_OPERATOR)
    assert "What is installed where" in text_of(await gus.get("/console/vehicles"))
    inventory = text_of(await gus.get("/console/inventory"))
    assert "No vehicle says what is installed in it." in inventory, "this role sees other signals"
    assert "Vendor" not in inventory, "nor does it read stations"
    assert (await (await employ(ask, "fay", Role.BILLING)).get("/console/inventory")).status == 403


async def test_the_inventory_has_the_nodes_that_follow_releases(ask: ApiClient) -> None:
    """For those who may see how the back end runs."""
    store = ask.backend.services.store
    installed = {"hardware": "<node>", "version": "csms-2.img", "number": 2, "failed": 3}
    await store.run(nodes.settled, "north", installed, ask.backend.clock.utc_ms())
    await store.run(nodes.settled, "south", {**installed, "failed": None}, ask.backend.clock.utc_ms())
    assert await store.run(nodes.begin, "south", 4, 0, 1) == ""
    ada, gus = await employ(ask, "ada", Role.OPERATOR), await employ(ask, "gus", Role.GRID_OPERATOR)
    found = text_of(await ada.get("/console/inventory"))
    assert "Failed release Being installed north <node> csms-2.img 2 3 south <node> csms-2.img 2 4 Known flaws" in found
    assert "csms-2.img" not in text_of(await gus.get("/console/inventory"))


@pytest.mark.requirement("R178")
async def test_a_vehicles_battery_is_in_a_table_beside_its_chart(ask: ApiClient) -> None:
    """Of many estimates at most 100, from the newest on."""
    await deliver(ask, "EV-1", 1, battery__soc=20.5)
    ada = await employ(ask, "ada", Role.ADMIN)
    await estimate(ask.backend, "EV-1", 9, None)
    assert "As a table" not in text_of(await ada.get("/console/vehicles/EV-1"))
    await estimate(ask.backend, "EV-1", 1, 93.0, 91.5)
    shown = text_of(await ada.get("/console/vehicles/EV-1"))
    table = re.sub(
        r"(\d+ \w+( \d{4})?, )?\d\d:\d\d ", "", shown.partition("As a table")[2].partition("Alerts")[0]
    ).strip()
    assert table == "Time Charge Health Health in half a year 50.0 % 93.0 % 91.5 % 50.0 % \u2013 \u2013"
    store, now_ms = ask.backend.services.store, ask.backend.clock.utc_ms()
    many = tuple(
        (now_ms - (250 - each) * 60_000, {"soc_percent": each / 10, "soc_deviation_percent": 1.0})
        for each in range(250)
    )
    before = await store.read(batteries.batteries, ["EV-1"])
    assert await store.run(batteries.save, before, {"EV-1": Advanced(Battery(1, 2), (), many)}, now_ms) is not None
    found = re.findall(r"([\d.]+) % \u2013 \u2013", text_of(await ada.get("/console/vehicles/EV-1")))
    assert found[:2] == ["24.9", "24.6"]
    assert 50 < len(found) <= 100


async def test_one_of_anything_is_said_in_the_singular(ask: ApiClient) -> None:
    ada = await employ(ask, "ada", Role.ADMIN)
    for number, sessions, vehicles in ((1, "1 session ", "1 of 1"), (2, "2 sessions ", "2 of 2")):
        station = await ask.backend.booted(f"CS-V2G-000{number}")
        await Charging(ask.backend, station).event("Started", "ChargingStateChanged", state="Charging")
        await deliver(ask, f"EV-{number}", 1, battery__soc=20.5)
        assert sessions in text_of(await ada.get("/console"))
        assert vehicles in text_of(await ada.get("/console/vehicles"))
    assert "0 sessions " in text_of(await ada.get("/console/v2g"))
    assert "2 Ladevorgänge " in text_of(await ada.get("/console", accept_language="de"))


@pytest.mark.long
async def test_health_shows_nodes_and_queues_and_makes_a_backup_that_can_be_restored(
    ask: ApiClient, tmp_path: Path
) -> None:
    ada, bob = await employ(ask, "ada", Role.ADMIN), await employ(ask, "bob", Role.OPERATOR)
    page = text_of(await bob.get("/console/health"))
    assert ask.backend.services.feed.node in page
    assert "sqlite" in page
    assert "Back up now" not in page
    assert (await bob.send("/console/health/backup")).status == 403
    await ada.send("/console/health/backup")
    shown = text_of(await ada.get("/console/health"))
    (name,) = re.findall(r"Backup: (\S+)", shown)
    assert Path(name).stat().st_mode & 0o077 == 0
    assert restore(f"sqlite:///{tmp_path / 'again.sqlite3'}", Path(name)) > 0
    entry = (await ask("GET", "/audit?operation=make_backup")).json[0]
    for _ in range(KEPT):
        ask.backend.clock.advance(1)
        await ada.send("/console/health/backup")
    kept = sorted(Path(name).parent.iterdir())
    assert len(kept) == KEPT
    assert Path(name) not in kept, "the oldest goes"
    assert (entry["caller"], entry["status"]) == ("ada", 201)


@pytest.mark.requirement("R178")
async def test_the_console_shows_the_health_of_a_fleet_and_its_weakest_batteries(ask: ApiClient) -> None:
    ada = await employ(ask, "ada", Role.ADMIN)
    assert "No battery is estimated yet" in text_of(await ada.get("/console/batteries"))
    await estimate(ask.backend, "EV-1", 9, 93.0)
    await estimate(ask.backend, "EV-2", 1, 79.0, 77.5)
    page = text_of(await ada.get("/console/batteries"))
    assert "Mean 86.0 % 79.0 \u2026 93.0 %" in page
    assert "Too low in half a year 1 1 vehicle " in page
    assert page.index("EV-2 79.0 % 77.5 %") < page.index("EV-1 93.0 %")
    assert "data-chart" in (await ada.get("/console/batteries")).body.decode()
    assert "Health of batteries" in text_of(await ada.get("/console/vehicles"))
    viewer = await employ(ask, "bob", Role.GRID_OPERATOR)
    assert "Health of batteries" not in text_of(await viewer.get("/console/vehicles"))
    assert (await viewer.get("/console/batteries")).status == 403


@pytest.mark.requirement("R214")
async def test_a_vehicles_page_has_its_scores_with_their_figures_and_none_without_consent(ask: ApiClient) -> None:
    await deliver(ask, "EV-1", 1, battery__soc=20.5)
    ada, store = await employ(ask, "ada", Role.ADMIN), ask.backend.services.store
    assert "Precision" not in text_of(await ada.get("/console/vehicles/EV-1"))
    state = ScoreState(since_ms=1, at_ms=2, driving=DrivingState(km=50.0, strong=20, brakes_j=1e6))
    scored = Advanced(Battery(1, 1, scores=state), ())
    before = await store.read(batteries.batteries, ["EV-1"])
    assert await store.run(batteries.save, before, {"EV-1": scored}, ask.backend.clock.utc_ms()) is not None
    shown = text_of(await ada.get("/console/vehicles/EV-1"))
    assert "strong accelerations 40.0 /100 km high 87 % 94 %" in shown
    assert "brake wear 2.0 MJ/100 km 91 % 86 %" in shown
