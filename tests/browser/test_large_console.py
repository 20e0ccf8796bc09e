"""The console with few and many stations in a real browser: each list and overview, in every view, by keyboard."""

import itertools
import sys
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection

from csms.accounts.rules import Role
from csms.alerts.rules import Evidence, Report
from csms.backend import make_backend
from csms.db.bulk import append_rows
from csms.stations.tables import connector_history, connectors, stations
from csms.transactions.events import EventArrival, add_events
from csms.transactions.rules import IMPORT_REGISTER, Event, Sample
from tests.browser.tab import VIEWS, Tab, employed
from tests.csms.backend import Backend
from tests.csms.console.support import console, employ

PAGES = (
    "", "/alerts", "/audit", "/batteries", "/campaigns", "/certificates", "/contracts", "/health", "/inventory", "/map",
    "/quarantine", "/reports", "/search?q=CS", "/sessions", "/settlements", "/sites", "/stations", "/stations/CS-00001",
    "/tariffs", "/templates", "/tokens", "/trends", "/uptime", "/v2g", "/vehicles",
)  # fmt: skip
HOSTILE = '"><img src=x onerror=alert(1)>\u202e'
"""What a station calls itself."""
STATES = "Available", "Occupied", "Faulted", "Unavailable"
DAY_MS = 86_400_000


def seed(connection: Connection, count: int, now_ms: int) -> None:
    """Store so many stations of two connectors, a tenth of them with a session now, and one that has ended."""
    names = [f"CS-{number:05}" for number in range(count)]
    columns = ("station_id", "first_seen_ms", "last_seen_ms", "protocol", "boot_status", "vendor", "model", "firmware")
    rows = [
        (name, now_ms - DAY_MS, now_ms, "ocpp2.1", "Accepted", HOSTILE, f"M{n % 7}", HOSTILE)
        for n, name in enumerate(names)
    ]
    append_rows(connection, stations, columns, rows)
    here = ("station_id", "evse_id", "connector_id", "status", "changed_ms")
    places = itertools.product(enumerate(names), (1, 2))
    states = [
        (name, evse, 1, STATES[(n + evse) % 16 if (n + evse) % 16 < 4 else 0], now_ms) for (n, name), evse in places
    ]
    append_rows(connection, connectors, here, states)
    begin_ms = now_ms - DAY_MS
    history = ("station_id", "evse_id", "connector_id", "at_ms", "status")
    append_rows(connection, connector_history, history, [(*each[:3], begin_ms, each[3]) for each in states])
    add_events(connection, list(_sessions(names[:: 10 if count > 10 else 1], now_ms)))


def _sessions(names: list[str], now_ms: int) -> Iterator[EventArrival]:
    for name, ended in itertools.product(names, (True, False)):
        for nth, kind in enumerate(("Started", "Ended" if ended else "Updated")):
            at_ms = now_ms - 7_200_000 * ended - 3_600_000 * (1 - nth)
            values = ((IMPORT_REGISTER, str(9_000 * nth), "Wh"), ("Power.Active.Import", "9000", "W"))
            event = Event(
                station_id=name,
                transaction_id=f"{name}-{ended:d}",
                seq_no=nth,
                kind=kind,  # type: ignore[arg-type]  # one of them
                at_ms=at_ms,
                trigger="MeterValuePeriodic",
                digest=f"{name}{nth}{ended}",
                evse_id=1,
                connector_id=1,
                charging_state="Charging",
                samples=tuple(Sample(at_ms=at_ms, measurand=what, value=value, unit=of) for what, value, of in values),
            )
            yield EventArrival(event, b"{}", at_ms)


async def fill(csms: Backend, count: int) -> None:
    """Have so many stations, a fifth of which are offline."""
    now_ms = csms.clock.utc_ms()
    await csms.services.store.run(seed, count, now_ms)
    away = [f"CS-{number:05}" for number in range(0, count, 5)]
    lost = Evidence(900.0, 900.0)
    reports = [
        Report("station", each, "station_offline", "warning", now_ms, raised=True, evidence=lost) for each in away
    ]
    await make_backend(csms.services).alerts.take(reports)


@pytest.mark.long
@pytest.mark.e2e
@pytest.mark.requirement("R219")
@pytest.mark.parametrize("count", [3, 1_000, 10_000])
async def test_every_page_has_no_finding_in_any_view_with_many_stations(tab: Tab, csms: Backend, count: int) -> None:
    await employed(tab)
    await fill(csms, count)
    faults: list[str] = []
    for path in PAGES:
        for view in VIEWS:
            await tab.look(view)
            answer = await tab.open(f"/console{path}")
            assert answer is not None
            assert answer.status == 200, path
            name = f"{count}{path.partition('?')[0].replace('/', '-')}-{view}"
            octets = len(await answer.body())
            faults += [f"{name}: {octets} octets"] if octets > 120_000 else []
            faults += [f"{name}: {each}" for each in await tab.faults(name, keyboard=view.language == "en")]
    assert faults == []


@pytest.mark.long
@pytest.mark.requirement("R219")
async def test_a_first_page_takes_a_tenth_of_a_second_of_the_processor_at_1000_stations(csms: Backend) -> None:
    await fill(csms, 1_000)
    async with console(csms) as ask:
        ada = await employ(ask, "ada", Role.ADMIN)
        spent: dict[str, float] = {}
        for path in PAGES:
            for _ in range(4):
                before = time.process_time()
                answer = await ada.get(f"/console{path}")
                took = 1000 * (time.process_time() - before)
                assert answer.status == 200
                spent[path] = min(took, spent.get(path, took))
    shown = sorted(spent.items(), key=lambda each: -each[1])
    sys.stderr.write("".join(f"{took:7.1f} ms /console{path}\n" for path, took in shown))
    assert shown[0][1] <= 100, shown[0]
