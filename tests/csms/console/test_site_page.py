"""A site's page: fuses, phases, limits of each source with place and validity, base load, plan, and who is lowered."""

import re

from csms.accounts.rules import Role
from csms.fleets import store as fleets
from csms.grid.source import GridSource
from csms.overview import work as power_course
from csms.overview.course import STEP_MS
from csms.transactions.powers import FRESH_MS
from tests.csms.api.support import ApiClient
from tests.csms.charging import Charging
from tests.csms.console.support import charts, employ, text_of
from tests.csms.scripted_station import ScriptedStation
from tests.csms.support import grid_signal
from v2g.energy.grid_signal import ConnectionPoint, GridLimit

HOSTILE = "<img src=x onerror=1>{power}\u202e"
HOUR_MS = 3_600_000


async def plain(ask: ApiClient, path: str) -> str:
    """What an operator reads at a path."""
    ada = await employ(ask, "ada", Role.OPERATOR)
    return text_of(await ada.get(path)).replace("\u00a0", " ")


async def depot(ask: ApiClient, *stations: str, most_ma: int = 32_000) -> None:
    places = [{"station_id": each, "evse_id": 1, "node": "main", "most_ma": most_ma} for each in stations]
    site = {"id": "depot", "nodes": [{"id": "main", "limits": [40_000, 50_000, 60_000]}], "places": places}
    assert (await ask("PUT", "/sites/depot", site)).status == 200


async def charges(ask: ApiClient, station: ScriptedStation, watts: int) -> Charging:
    """Let a vehicle draw at a station."""
    charging = Charging(ask.backend, station)
    sample = {"value": watts, "measurand": "Power.Active.Import", "context": "Sample.Periodic"}
    extra = {"meterValue": [{"timestamp": charging.now(), "sampledValue": [sample]}]}
    await charging.event("Started", "CablePluggedIn", state="Charging", extra=extra)
    return charging


async def read(ask: ApiClient, station: ScriptedStation, watts: float, *, evse_id: int = 0, unit: str = "W") -> None:
    """Let a station send what its meter at the grid connection reads."""
    sample = {
        "value": watts, "measurand": "Power.Active.Import", "location": "Upstream",
        "unitOfMeasure": {"unit": unit, "multiplier": 0},
    }  # fmt: skip
    reading = {"timestamp": "2026-06-01T12:00:00Z", "sampledValue": [sample]}
    await station.call("MeterValues", {"evseId": evse_id, "meterValue": [reading]})


async def test_limits_have_places_sources_and_validity_now_and_announced(ask: ApiClient) -> None:
    await depot(ask, "CS-V2G-0001")
    await charges(ask, await ask.backend.booted(), 6_900)
    now_ms = ask.backend.clock.utc_ms()
    at = ConnectionPoint(site="depot")
    later = GridLimit(
        connection_point=at, direction="import", limit_w=18_000, source=HOSTILE[:60],
        from_ms=now_ms + HOUR_MS, until_ms=now_ms + 2 * HOUR_MS,
    )  # fmt: skip
    elsewhere = GridLimit(connection_point=ConnectionPoint(station_id="CS-9", evse_id=1), direction="import", limit_w=7)
    over = GridLimit(connection_point=at, direction="import", limit_w=1, from_ms=1, until_ms=2)
    await depot(ask, "CS-V2G-0001")
    await ask.backend.services[GridSource].offer(
        grid_signal(now_ms=now_ms, site_import_limit_w=24_000, connection_point=at, limits=(later, over)), "dso"
    )
    found = (await ask("GET", "/sites/depot/limits")).json
    assert [(each["connection_point"], each["direction"], each["source"], each["limit_w"]) for each in found] == [
        ("feeder depot/main", "import", "fuse", None),
        ("site depot", "export", "dso", 5_000),
        ("site depot", "export", "dso", 0),
        ("site depot", "import", "dso", 24_000),
        ("site depot", "import", HOSTILE[:60], 18_000),
    ]
    assert elsewhere.connection_point not in {each["connection_point"] for each in found}
    fuse, *_, granted, _ = found
    assert (fuse["phases_ma"], fuse["flow_ma"]) == ([40_000, 50_000, 60_000], [10_000, 10_000, 10_000])
    assert granted["left_w"] == 24_000 - 6_900
    page = await plain(ask, "/console/sites/depot")
    assert "Within its limits: 17.1 kW left at site depot." in page
    assert "site depot may have 18.0 kW from" in page
    assert re.search(r"L1 10.0 A 24.8 A left L2 10.0 A 24.8 A left L3 10.0 A 24.8 A left", page), "24 kW on 3 phases"
    assert "onerror" in page
    bea = await employ(ask, "bea", Role.VIEWER)
    german = text_of(await bea.get("/console/sites/depot", accept_language="de"))
    assert "Zuleitung depot/main Bezug 40,0 / 50,0 / 60,0 A Sicherung" in german
    raw = (await bea.get("/console/sites/depot")).body.decode()
    assert "<img src=x" not in raw
    assert "\u202e" not in raw
    assert (await ask("GET", "/sites/none/limits")).status == 404


async def test_power_of_a_reading_that_is_old_is_unknown(ask: ApiClient) -> None:
    await depot(ask, "CS-V2G-0001")
    await charges(ask, await ask.backend.booted(), 6_900)
    ada, path = await employ(ask, "ada", Role.OPERATOR), "/sites/depot/evse-limits"

    async def at_the_fuse() -> tuple[int, int]:
        (fuse,) = (await ask("GET", "/sites/depot/limits")).json
        return fuse["flow_w"], fuse["unknown"]

    assert [each["power_w"] for each in (await ask("GET", path)).json] == ["6900"]
    ask.backend.clock.advance(FRESH_MS / 1000)
    assert [each["power_w"] for each in (await ask("GET", path)).json] == ["6900"]
    assert await at_the_fuse() == (6_900, 0)
    ask.backend.clock.advance(0.001)
    assert [each["power_w"] for each in (await ask("GET", path)).json] == [None]
    assert await at_the_fuse() == (0, 1)
    for page in ("/console/sites/depot", "/console/v2g"):
        assert "1 session without a reading" in text_of(await ada.get(page))
    found = (await ask("GET", "/overview/transactions")).json
    assert (found["active"], found["unknown"], found["import_w"]) == (1, 1, 0)
    metrics = (await ask("GET", "/metrics")).body.decode()
    assert 'v2g_grid_flow_unknown{connection_point="all"} 1' in metrics


async def test_what_is_drawn_beside_the_vehicles_comes_from_the_meter_else_from_what_is_expected(
    ask: ApiClient,
) -> None:
    await depot(ask, "CS-V2G-0001", "CS-V2G-0002")
    station = await ask.backend.booted(version="2.1")
    await charges(ask, station, 6_900)
    fleet = {"id": "vans", "stations": ["CS-V2G-0001"], "load_w": 3_000}
    assert (await ask("PUT", "/fleets/vans", fleet)).status == 200
    services, clock = ask.backend.services, ask.backend.clock
    for read_w, base_w in ((None, 3_000), (11_500.0, 4_600), (-2_000.0, -8_900)):
        clock.now_ms += STEP_MS
        if read_w is not None:
            await read(ask, station, read_w)
            await read(ask, station, 77_000.0, evse_id=1)
            await read(ask, station, 1e14, unit="kW")
        await power_course.note(services)
        newest = await ask(
            "GET", f"/overview/course?site_id=depot&from_ms={clock.now_ms - STEP_MS}&to_ms={clock.now_ms + 1}"
        )
        assert newest.json[-1]["base_w"] == base_w
        if base_w == 4_600:
            page = await plain(ask, "/console/sites/depot")
            assert "From: Grid 11.5 kW Into: Vehicles 6.9 kW Into: Buildings 4.6 kW" in page
    clock.now_ms += 4 * STEP_MS
    await power_course.note(services)
    newest = await ask("GET", f"/overview/course?from_ms={clock.now_ms - STEP_MS}&to_ms={clock.now_ms + 1}")
    assert newest.json[-1]["base_w"] == 3_000, "the meter is silent; and of all stations it is the sum of their sites"


async def test_the_plan_stands_beside_what_has_happened_and_goes_on_until_the_end_of_the_day(ask: ApiClient) -> None:
    await depot(ask, "CS-V2G-0001")
    for name, stations in (("vans", ["CS-V2G-0001"]), ("far", ["CS-7"])):
        assert (await ask("PUT", f"/fleets/{name}", {"id": name, "stations": stations})).status == 200
    store, clock = ask.backend.services.store, ask.backend.clock
    begin_ms = clock.now_ms // STEP_MS * STEP_MS
    before = fleets.FleetPoint(
        at_ms=begin_ms - STEP_MS + 60_000, planned_w=-4_000, asked_w=0, accepted_w=0, delivered_w=None, vehicles=1
    )
    await store.run(fleets.note_course, "vans", before)
    await store.run(
        fleets.put_planned, "vans", [(begin_ms, 5_000), (begin_ms + STEP_MS, 7_000), (begin_ms + 2 * STEP_MS, 0)]
    )
    await store.run(fleets.put_planned, "far", [(begin_ms, 100), (begin_ms + STEP_MS, 0)])
    about = f"from_ms={begin_ms - STEP_MS}&to_ms={begin_ms + 4 * STEP_MS}"
    found = (await ask("GET", f"/overview/plan?site_id=depot&{about}")).json
    assert [each["power_w"] for each in found] == [-4_000, 5_000, 7_000]
    assert [each["power_w"] for each in (await ask("GET", f"/overview/plan?{about}")).json] == [-4_000, 5_100, 7_000]
    assert (await ask("GET", f"/overview/plan?site_id=nowhere&{about}")).json == []
    await power_course.note(ask.backend.services)
    ada = await employ(ask, "ada", Role.OPERATOR)
    (chart,) = charts(await ada.get("/console/sites/depot"))
    (planned,) = (each for each in chart["lines"] if each["label"] == "Planned")
    assert [each for each in planned["values"] if each is not None] == [-4, 5, 7]


async def test_who_has_less_than_asked_for_stands_first_with_the_reason(ask: ApiClient) -> None:
    await depot(ask, "CS-V2G-0001", "CS-V2G-0002")
    for name in ("CS-V2G-0001", "CS-V2G-0002"):
        station = await ask.backend.booted(name)
        charging = await charges(ask, station, 3_000)
    schedule = {
        "id": 1, "startSchedule": charging.now(), "chargingRateUnit": "W",
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 9000.0}],
    }  # fmt: skip
    request = {"chargingLimit": {"chargingLimitSource": "EMS"}, "chargingSchedule": [schedule], "evseId": 1}
    await station.call("NotifyChargingLimit", request)
    page = await plain(ask, "/console/sites/depot")
    assert "1 of 2 EVSEs have less than they ask for" in page
    assert "CS-V2G-0002 1 main, 32.0 A 9.0 kW of 22.1 kW 3.0 kW Limit from outside: EMS" in page
    assert page.index("CS-V2G-0002 1 main") < page.index("CS-V2G-0001 1 main")
