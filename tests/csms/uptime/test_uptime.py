"""Uptime from what stations report and when they are away, over the API."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, insert

from csms.accounts.rules import Role
from csms.db.store import Store
from csms.overview import course
from csms.overview.course import STEP_MS
from csms.retention.store import delete_old
from csms.stations import store as stations
from csms.stations import tables
from csms.stations.store import StationContact
from csms.transactions.events import EventArrival, add_events
from csms.transactions.rules import IMPORT_REGISTER, Event, Sample
from csms.uptime import rules as rules_of
from csms.uptime import store as rows
from csms.uptime.rules import PRESETS, Status, TimeSpan, UptimeRules
from tests.csms.api.support import ApiClient, serving
from tests.csms.backend import Backend
from tests.csms.fixtures import Start
from tests.csms.support import STATION
from v2g.ocpp.times import format_time
from v2g.units import DAY_MS, HOUR_MS

pytestmark = pytest.mark.requirement("R185")

STATES = ("Available", "Occupied", "Available", "Occupied", "Reserved", "Faulted", "Unavailable")


async def known(csms: Backend, station_id: str, *states: tuple[int, str]) -> None:
    """Store a station that first connected with the first state of its EVSE, and the later ones."""
    run = csms.services.store.run
    await run(stations.touch_all, [StationContact(station_id, "ocpp2.0.1", states[0][0])])
    for at_ms, status in states:
        await run(stations.save_connector, station_id, 1, 1, status, at_ms)


async def uptime(ask: ApiClient, query: str) -> list[dict[str, Any]]:
    answer = await ask("GET", f"/uptime?{query}")
    assert answer.status == 200, answer.json
    found: list[dict[str, Any]] = answer.json
    return found


async def test_states_and_absences_make_the_uptime_that_a_regulation_defines(csms: Backend) -> None:
    now = csms.clock.utc_ms()
    begin = now - 100 * HOUR_MS
    run = csms.services.store.run
    await known(
        csms, "CS-1", (begin, "Available"), (begin + 10 * HOUR_MS, "Faulted"), (begin + 20 * HOUR_MS, "Occupied")
    )
    await run(stations.save_seen, {"CS-1": begin + 50 * HOUR_MS})
    await run(stations.save_left, {"CS-1": begin + 55 * HOUR_MS})
    await run(stations.touch_all, [StationContact("CS-1", "ocpp2.0.1", begin + 60 * HOUR_MS)])
    await run(stations.save_seen, {"CS-1": now})
    async with serving(csms) as ask:
        (found,) = await uptime(ask, "rules=strict")
        assert (found["station_id"], found["evse_id"], found["percent"]) == ("CS-1", 1, "85.000")
        assert [(each["why"], (each["to_ms"] - each["from_ms"]) // HOUR_MS) for each in found["outages"]] == [
            ("faulted", 10),
            ("offline", 5),
        ]
        assert (found["hours_between"], found["hours_of"], found["reaches_target"]) == (42.5, 7.5, False)
        (found,) = await uptime(ask, "rules=uk-2023")
        assert found["percent"] == "90.000", "a station that is away does not count"
        (found,) = await uptime(ask, f"rules=strict&from_ms={begin}&to_ms={begin + 20 * HOUR_MS}")
        assert found["percent"] == "50.000"
        assert await uptime(ask, "station_id=CS-2") == []


async def test_a_station_reports_its_past_late_and_states_that_repeat_are_not_kept(csms: Backend) -> None:
    now = csms.clock.utc_ms()
    begin = now - 10 * HOUR_MS
    await known(csms, "CS-1", (begin, "Available"), (begin + 8 * HOUR_MS, "Available"))
    await csms.services.store.run(stations.save_seen, {"CS-1": now})
    async with serving(csms) as ask:
        assert (await uptime(ask, "rules=strict"))[0]["percent"] == "100.000"
        run = csms.services.store.run
        await run(stations.save_connector, "CS-1", 1, 1, "Unavailable", begin + 2 * HOUR_MS)
        await run(stations.save_connector, "CS-1", 1, 1, "Available", begin + 4 * HOUR_MS)
        (found,) = await uptime(ask, "rules=strict")
        assert (found["percent"], found["outages"][0]["why"]) == ("80.000", "unavailable")
        (shown,) = (await ask("GET", "/stations")).json
        assert shown["connectors"][0]["status"] == "Available", "the newest state stays"


async def test_what_a_person_excludes_does_not_count_where_the_definition_allows_it(csms: Backend) -> None:
    now = csms.clock.utc_ms()
    begin = now - 100 * HOUR_MS
    await known(csms, "CS-1", (begin, "Faulted"), (begin + 50 * HOUR_MS, "Available"))
    await csms.services.store.run(stations.save_seen, {"CS-1": now})
    body = {"station_id": "CS-1", "from_ms": begin, "to_ms": begin + 25 * HOUR_MS, "evidence": "police report 7"}
    async with serving(csms) as ask:
        assert (await ask("POST", "/uptime/exclusions", body | {"cause": "weather"})).status == 400
        assert (await ask("POST", "/uptime/exclusions", body | {"cause": "grid", "to_ms": begin})).status == 400
        assert (await ask("POST", "/uptime/exclusions", body | {"cause": "grid", "station_id": "CS-9"})).status == 404
        wrong = await ask("POST", "/uptime/exclusions", body | {"cause": "vandalism"}, role=Role.VIEWER)
        assert wrong.status == 403
        made = await ask("POST", "/uptime/exclusions", body | {"cause": "vandalism"})
        assert made.status == 201
        assert (await ask("GET", "/uptime/exclusions")).json == [made.json]
        assert (await uptime(ask, "rules=strict"))[0]["percent"] == "50.000"
        (found,) = await uptime(ask, "rules=nevi")
        assert (found["percent"], found["excluded_ms"]) == ("75.000", 25 * HOUR_MS)
        path = f"/uptime/exclusions/{made.json['exclusion_id']}"
        assert (await ask("DELETE", path)).status == 204
        assert (await ask("DELETE", path)).status == 404
        assert (await uptime(ask, "rules=nevi"))[0]["percent"] == "50.000"
        assert "police report 7" in str((await ask("GET", "/audit")).json)


def ended(station_id: str, number: int, evse_id: int, register_wh: int, at_ms: int) -> Iterator[EventArrival]:
    """Yield the events of a transaction whose import register rises by so much."""
    for seq_no, kind in enumerate(("Started", "Ended")):
        then_ms = at_ms - HOUR_MS * (1 - seq_no)
        sample = Sample(at_ms=then_ms, measurand=IMPORT_REGISTER, value=str(register_wh * seq_no), unit="Wh")
        event = Event(
            station_id=station_id, transaction_id=f"tx-{number}", seq_no=seq_no, kind=kind, at_ms=then_ms,  # type: ignore[arg-type]
            trigger="CablePluggedIn", digest=f"{number}-{seq_no}", evse_id=evse_id, connector_id=1, samples=(sample,),
        )  # fmt: skip
        yield EventArrival(event, b"{}", then_ms)


@pytest.mark.parametrize(("stopped", "percent"), [("EVDisconnected", "90.000"), ("PowerLoss", "75.000")])
async def test_a_station_worked_during_the_sessions_that_it_reports_after_an_absence(
    csms: Backend, stopped: str, percent: str
) -> None:
    """Stations of OCPP keep events of transactions while they are offline, but not states of connectors. Without power
    it worked until the last event of before."""
    now, run = csms.clock.utc_ms(), csms.services.store.run
    begin = now - 20 * HOUR_MS
    await known(csms, "CS-1", (begin, "Available"))
    await run(stations.save_seen, {"CS-1": begin + 10 * HOUR_MS})
    await run(stations.touch_all, [StationContact("CS-1", "ocpp2.0.1", begin + 16 * HOUR_MS)])
    await run(stations.save_seen, {"CS-1": now})
    events = [
        Event(
            station_id="CS-1", transaction_id="tx", seq_no=seq_no, kind=kind, at_ms=begin + hours * HOUR_MS,
            trigger="CablePluggedIn", digest=str(seq_no), evse_id=1, connector_id=1, offline=hours > 10,
            stopped_reason=stopped if kind == "Ended" else None,
        )
        for seq_no, (kind, hours) in enumerate((("Started", 9), ("Updated", 11), ("Ended", 14)))
    ]  # fmt: skip
    await run(add_events, [EventArrival(each, b"{}", max(each.at_ms, begin + 16 * HOUR_MS)) for each in events])
    async with serving(csms) as ask:
        (found,) = await uptime(ask, "rules=strict")
    assert found["percent"] == percent
    assert found["outages"][-1]["to_ms"] == begin + 16 * HOUR_MS


async def test_sessions_without_energy_are_attempts_that_failed(csms: Backend) -> None:
    now = csms.clock.utc_ms()
    begin = now - 10 * HOUR_MS
    for name in ("CS-1", "CS-2"):
        await known(csms, name, (begin, "Available"))
    sessions = [("CS-1", 1, 5_000, begin), ("CS-1", 1, 0, begin), ("CS-1", 1, 9_000, now - 1), ("CS-2", 1, 1, begin)]
    events = [each for n, session in enumerate(sessions) for each in ended(session[0], n, *session[1:])]
    await csms.services.store.run(add_events, events)
    async with serving(csms) as ask:
        found = {each["station_id"]: each for each in await uptime(ask, "rules=strict")}
        assert {name: (each["attempts"], each["charged"], each["charged_percent"]) for name, each in found.items()} == {
            "CS-1": (3, 2, "66.666"),
            "CS-2": (1, 1, "100.000"),
        }
        summary = (await ask("GET", "/uptime/summary?rules=strict")).json
        assert (summary["attempts"], summary["charged"], summary["charged_percent"]) == (4, 3, "75.000")
        (first, _) = await uptime(ask, f"rules=strict&from_ms={begin}&to_ms={now - 1}")
        assert (first["attempts"], first["charged"]) == (2, 1), "what ended later is of the next period"
        summary = (await ask("GET", f"/uptime/summary?rules=strict&from_ms={begin + 1}&to_ms={begin + 2}")).json
        assert (summary["attempts"], summary["charged_percent"]) == (0, None)


async def test_an_operator_may_define_uptime_too(backend: Start) -> None:
    mine = UptimeRules(
        name="mine", title="Contract 7", source="contract with the city", read="2026-11-26", target_percent=50.0,
        days=5, not_working=("Faulted",),
    )  # fmt: skip
    async with backend(uptime=(mine,)) as csms, serving(csms) as ask:
        assert (await ask("GET", "/uptime/summary")).json["back_end_percent"] is None
        now = csms.clock.utc_ms()
        await known(csms, "CS-1", (now - 100 * HOUR_MS, "Unavailable"), (now - 10 * HOUR_MS, "Faulted"))
        await csms.services.store.run(stations.save_seen, {"CS-1": now})
        (found,) = await uptime(ask, "rules=mine")
        assert (found["percent"], found["reaches_target"]) == ("90.000", True)
        assert (await ask("GET", "/uptime/rules")).json[-1]["name"] == "mine"


async def test_the_summary_says_whether_the_target_is_reached_each_or_on_average(csms: Backend) -> None:
    now = csms.clock.utc_ms()
    begin = now - 100 * HOUR_MS
    for number in range(9):
        await known(csms, f"CS-{number}", (begin, "Available"))
    await known(csms, "CS-9", (begin, "Faulted"), (begin + 9 * HOUR_MS, "Available"))
    await csms.services.store.run(stations.save_seen, {f"CS-{number}": now for number in range(10)})
    async with serving(csms) as ask:
        summary = (await ask("GET", "/uptime/summary?rules=uk-2023")).json
        assert (summary["evses"], summary["average_percent"], summary["reaches_target"]) == (10, "99.100", True)
        summary = (await ask("GET", "/uptime/summary?rules=nevi")).json
        assert (summary["below_target"], summary["reaches_target"]) == (1, False)
        assert summary["to_ms"] - summary["from_ms"] == 365 * DAY_MS
        assert (await ask("GET", "/uptime/summary?rules=mine")).status == 404
        assert (await ask("GET", f"/uptime/summary?from_ms={now}")).status == 400
        names = [each["name"] for each in (await ask("GET", "/uptime/rules")).json]
        assert names == ["nevi", "california", "uk-2023", "strict"]
        first = await ask("GET", "/uptime?limit=4")
        assert len(first.json) == 4
        assert 'rel="next"' in first.headers["link"]


async def past_of(csms: Backend, chance: random.Random, names: list[str], begin: int, now: int) -> dict[str, Any]:
    """Store a random past of stations with two connectors each, and return it: states and absences by station."""
    pasts: dict[str, Any] = {}
    for name in names:
        states = {
            (chance.randrange(1, 3), chance.randrange(begin - HOUR_MS, now)): chance.choice(STATES)
            for _ in range(chance.randrange(1, 30))
        }
        spans = [sorted(chance.sample(range(begin, now), 2)) for _ in range(chance.randrange(6))]
        pasts[name] = states, dict(spans)

    def write(connection: Connection) -> None:
        for name, (states, spans) in pasts.items():
            row = {"station_id": name, "first_seen_ms": begin, "last_seen_ms": now, "protocol": "ocpp2.0.1"}
            connection.execute(insert(tables.stations), row)
            for connector, at_ms in states:
                place = {"station_id": name, "evse_id": 1, "connector_id": connector}
                status = {"status": states[connector, at_ms]}
                connection.execute(insert(tables.connector_history), {**place, **status, "at_ms": at_ms})
                if all(at <= at_ms for each, at in states if each == connector):
                    connection.execute(insert(tables.connectors), {**place, **status, "changed_ms": at_ms})
            for first, last in spans.items():
                row = {"station_id": name, "from_ms": first, "to_ms": last}
                connection.execute(insert(tables.station_absences), row)

    await csms.services.store.run(write)
    return pasts


async def test_the_states_that_are_read_say_the_same_as_all_of_them(csms: Backend) -> None:
    """Most are left out, and the older ones deleted; what follows is what the whole past gives."""
    chance = random.Random(185)
    now = csms.clock.utc_ms()
    begin, names = now - 50 * HOUR_MS, [f"CS-{number:02}" for number in range(20)]
    pasts = await past_of(csms, chance, names, begin, now)
    read = csms.services.store.read
    for old_ms in (0, now - 20 * HOUR_MS):
        while old_ms and await csms.services.store.run(delete_old, "events", old_ms):
            pass
        for from_ms, to_ms in ((begin, now), (now - 20 * HOUR_MS, now - HOUR_MS), (now - 9 * HOUR_MS, now)):
            if from_ms < old_ms:
                continue
            period = TimeSpan(from_ms, to_ms)
            found = {each.station_id: each for each in await read(rows.pasts, names, period, names, now)}
            for name, (states, spans) in pasts.items():
                whole = [Status(one, max(at, begin), states[one, at]) for one, at in sorted(states) if at < to_ms]
                away = [TimeSpan(*each) for each in spans.items()]
                for rules in PRESETS.values():
                    expected = rules_of.uptime(rules, period, whole, away)
                    known = found[name].history.get(1, [])
                    got = rules_of.uptime(rules, period, known, found[name].absences)
                    assert got.outages == expected.outages, (name, rules.name)
                    assert got.known_ms == expected.known_ms
                    assert set(known) <= set(whole)


async def test_of_states_before_the_first_contact_the_latest_holds(store: Store) -> None:
    """They all count from that contact on, in whatever order a database finds them."""
    begin, names = 1_790_000_000_000, [f"CS-{number:02}" for number in range(30)]

    def write(connection: Connection) -> None:
        for name in names:
            row = {"station_id": name, "first_seen_ms": begin, "last_seen_ms": begin, "protocol": "ocpp2.0.1"}
            connection.execute(insert(tables.stations), row)
            place = {"station_id": name, "evse_id": 1, "connector_id": 1}
            connection.execute(insert(tables.connectors), {**place, "status": "Available", "changed_ms": begin - 1})
            for before_ms, status in ((3, "Unavailable"), (2, "Faulted"), (1, "Available")):
                row = {**place, "at_ms": begin - before_ms, "status": status}
                connection.execute(insert(tables.connector_history), row)

    await store.run(write)
    period = TimeSpan(begin, begin + HOUR_MS)
    for past in await store.read(rows.pasts, names, period, names, period.to_ms):
        assert rules_of.uptime(PRESETS["strict"], period, past.history[1], ()).outages == (), past.station_id


async def test_without_stations_nothing_is_known(store: Store) -> None:
    assert await store.read(rows.pasts, [], TimeSpan(0, HOUR_MS), [], HOUR_MS) == []


async def test_while_the_back_end_did_not_run_no_station_was_away_and_it_says_so_of_itself(csms: Backend) -> None:
    now = csms.clock.utc_ms() // STEP_MS * STEP_MS
    begin = now - 100 * STEP_MS
    csms.clock.now_ms = now
    await known(csms, "CS-1", (begin, "Available"))
    run = csms.services.store.run
    for number in range(101):
        if not 40 < number < 61:
            rows = await csms.services.store.read(course.now, [], (), (), begin + number * STEP_MS, now)
            await run(course.add, rows)
    await run(stations.save_seen, {"CS-1": begin + 40 * STEP_MS})
    await run(stations.touch_all, [StationContact("CS-1", "ocpp2.0.1", begin + 62 * STEP_MS)])
    await run(stations.save_seen, {"CS-1": now})
    async with serving(csms) as ask:
        (found,) = await uptime(ask, f"rules=strict&from_ms={begin}")
        assert found["percent"] == "98.000", "the first and the last five minutes of 22 were not the back end's"
        summary = (await ask("GET", f"/uptime/summary?rules=strict&from_ms={begin}")).json
        assert summary["back_end_percent"] == "80.000"
        summary = (await ask("GET", "/uptime/summary?rules=strict")).json
        assert summary["back_end_percent"] == "80.000", "a year before its first start is not its uptime"
        cut = f"from_ms={begin + 50 * STEP_MS}&to_ms={begin + 56 * STEP_MS}"
        summary = (await ask("GET", f"/uptime/summary?rules=strict&{cut}")).json
        assert summary["back_end_percent"] == "0.000", "it began before the period and ended after it"
        (found,) = await uptime(ask, f"rules=strict&{cut}")
        assert found["percent"] == "100.000"


async def test_a_station_that_connects_again_at_once_was_not_away(csms: Backend) -> None:
    station = await csms.booted()
    csms.clock.now_ms = csms.clock.utc_ms() + HOUR_MS
    for away_ms, times in ((2_000, 0), (60_000, 1)):
        await csms.leave(station)
        csms.clock.now_ms += away_ms
        station = await csms.join()
        async with serving(csms) as ask:
            (found,) = await uptime(ask, "rules=strict")
            assert [each["to_ms"] - each["from_ms"] for each in found["outages"]] == [away_ms] * times
    await csms.leave(station)


async def test_a_clock_that_is_set_back_keeps_no_fault(csms: Backend) -> None:
    """As by a station in local time, when daylight saving time ends; what was said late stays late."""
    station = await csms.booted()
    begin, minute = csms.clock.utc_ms(), 60_000
    for now_ms, at_ms, status in (
        (begin + 3 * HOUR_MS, begin + 3 * HOUR_MS, "Faulted"),
        (begin + 3 * HOUR_MS + 10 * minute, begin + 2 * HOUR_MS + 10 * minute, "Available"),
        (begin + 3 * HOUR_MS + 11 * minute, begin + minute // 2, "Unavailable"),
    ):
        csms.clock.now_ms = now_ms
        body = {"evseId": 1, "connectorId": 1, "connectorStatus": status, "timestamp": format_time(at_ms)}
        await station.call("StatusNotification", body)
    found = await csms.services.store.read(stations.find, STATION)
    assert found is not None
    (connector,) = found["connectors"]
    assert (connector["status"], connector["changed_ms"]) == ("Available", begin + 3 * HOUR_MS + 10 * minute)
    await csms.leave(station)


@pytest.mark.parametrize("wrong", ["2099-01-01T00:00:00Z", "1970-01-01T00:00:12Z"])
async def test_a_clock_that_is_wrong_hides_no_fault_and_adds_no_time(csms: Backend, wrong: str) -> None:
    station = await csms.booted()
    begin = csms.clock.utc_ms()
    csms.clock.now_ms = begin + HOUR_MS
    for when, status in ((wrong, "Faulted"), (csms.clock.utc_ms() + HOUR_MS, "Available")):
        csms.clock.now_ms = when if isinstance(when, int) else csms.clock.now_ms
        stamp = when if isinstance(when, str) else format_time(when)
        body = {"evseId": 1, "connectorId": 1, "connectorStatus": status, "timestamp": stamp}
        await station.call("StatusNotification", body)
    async with serving(csms) as ask:
        (found,) = await uptime(ask, "rules=strict")
        assert [(each["why"], each["to_ms"] - each["from_ms"]) for each in found["outages"]] == [("faulted", HOUR_MS)]
        assert found["known_ms"] == 2 * HOUR_MS, "not since the beginning of 2026, which the station said"
        (shown,) = (await ask("GET", "/stations")).json
        assert shown["connectors"][0]["status"] == "Available"
    await csms.leave(station)
