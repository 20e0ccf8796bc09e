"""Reports over the API: who reads them, in pages, in decimal text, and what they refuse."""

import asyncio
import csv
import io
import threading
from datetime import datetime

import pytest

from csms.accounts.rules import ALLOWED, Permission, Role
from csms.tariffs import store as tariffs
from tests.csms.api.support import ApiClient, serving
from tests.csms.fixtures import Start
from tests.csms.settlement.journals import SESSION, journal
from tests.csms.settlement.witness import delivered_whole
from v2g.energy.settlement.costing import Bill
from v2g.energy.settlement.taxes import VatRate

STATION = "CS-V2G-0001"
PATH = "/reports/transactions"


@pytest.mark.requirement("R32", "R33")
async def test_a_session_in_the_books_counts_once_with_vat(backend: Start) -> None:
    """2 kWh at 0.30 less 1 kWh at 0.20, 19 % on 0.60; the station's own cost of the transaction does not count."""
    async with backend(vat=(VatRate(percent="19"),)) as csms, serving(csms) as ask:
        await delivered_whole(ask, journal())
        own = Bill(currency="USD", excl_tax=7_000_000, incl_tax=8_000_000)
        key = STATION, f"tx-{SESSION}"
        await csms.services.store.run(tariffs.save_cost, *key, own, "{}", 0, final=True, source="station")
        (found,) = (await ask("GET", f"{PATH}?by=station", role=Role.BILLING)).json
        duration = found.pop("duration_s")
        assert float(duration) > 0
        assert found == {
            "group": STATION, "currency": "EUR", "transactions": 1, "held": 0, "unpriced": 0,
            "preliminary": 0, "import_kwh": "2", "export_kwh": "1", "net": "0.40", "vat": "0.11", "gross": "0.51",
        }  # fmt: skip


@pytest.mark.requirement("R33")
async def test_a_free_session_costs_nothing_whatever_its_transaction_would(backend: Start) -> None:
    async with backend() as csms, serving(csms) as ask:
        await delivered_whole(ask, journal(price=0, compensation=0))
        own = Bill(currency="EUR", excl_tax=2_000_000, incl_tax=2_380_000)
        await csms.services.store.run(
            tariffs.save_cost, STATION, f"tx-{SESSION}", own, "{}", 0, final=True, source="csms"
        )
        (found,) = (await ask("GET", PATH)).json
        assert (found["currency"], found["gross"], found["transactions"]) == ("EUR", "0.00", 1)
        assert "<b>0.00 EUR</b>" in (await ask("GET", f"/settlements/{SESSION}/receipt")).body.decode()


async def test_a_group_has_a_row_for_each_currency_and_they_come_in_pages(ask: ApiClient) -> None:
    await delivered_whole(ask, journal(currency="JPY", price=30_100_000))
    yen = await ask("GET", f"{PATH}?by=site")
    assert [(each["group"], each["currency"], each["vat"]) for each in yen.json] == [(None, "JPY", "0")]
    for number, currency in enumerate(("EUR", "JPY"), 1):
        session = f"01020304050607{number:02}"
        await delivered_whole(ask, journal(session, currency=currency, nth=number), session)
    whole = (await ask("GET", f"{PATH}?by=station")).json
    assert [(each["currency"], each["transactions"]) for each in whole] == [("EUR", 1), ("JPY", 2)]
    first = await ask("GET", f"{PATH}?by=station&limit=1")
    assert first.json == whole[:1]
    following = first.headers["link"].split("<")[1].split(">")[0]
    assert (await ask("GET", following.removeprefix("/v1"))).json == whole[1:]


async def test_only_reports_wait_for_reports(backend: Start) -> None:
    over = threading.Event()
    async with backend() as csms, serving(csms) as ask:
        read = asyncio.create_task(csms.services.store.read_report(lambda _: over.wait(timeout=300)))
        reports = [asyncio.create_task(ask("GET", path)) for path in (PATH, "/reports/charging-entries", "/uptime")]
        try:
            assert (await ask("GET", "/transactions")).status == 200
            assert not any(each.done() for each in reports)
        finally:
            over.set()
        assert await read
        assert [each.status for each in await asyncio.gather(*reports)] == [200, 200, 200]


async def test_days_bound_a_report_and_wrong_ones_are_refused(ask: ApiClient) -> None:
    await delivered_whole(ask, journal())
    (found,) = (await ask("GET", f"{PATH}?by=day")).json
    day = found["group"]
    assert (await ask("GET", f"{PATH}?by=day&from_day={day}&to_day={day}")).json == [found]
    assert (await ask("GET", f"{PATH}?by=day&to_day=9999-12-31&from_day=0001-01-01")).json == [found]
    assert (await ask("GET", f"{PATH}?by=day&to_day=2000-01-01")).json == []
    for wrong in ("by=colour", "from_day=2026-13-01", "from_day=2026-02-02&to_day=2026-02-01", "cursor=x"):
        assert (await ask("GET", f"{PATH}?{wrong}")).status == 400, wrong


async def test_only_roles_that_read_settlements_read_reports(ask: ApiClient) -> None:
    for role in Role:
        wanted = 200 if Permission.READ_SETTLEMENTS in ALLOWED[role] else 403
        assert (await ask("GET", PATH, role=role)).status == wanted, role
    assert Permission.READ_SETTLEMENTS not in ALLOWED[Role.INSTALLER]


async def test_charging_entries_are_the_transactions_that_a_report_sums(backend: Start) -> None:
    """Columns and dates as Fleetio's import has them; a token is no formula in a spreadsheet."""
    entries = "/reports/charging-entries"
    async with backend(vat=(VatRate(percent="19"),)) as csms, serving(csms) as ask:
        assert (await ask("GET", entries)).body.count(b"\r\n") == 1
        await delivered_whole(ask, journal())
        answer = await ask("GET", entries, role=Role.BILLING)
        assert answer.headers["content-type"].partition(";")[0] == "text/csv"
        (entry,) = csv.DictReader(io.StringIO(answer.body.decode()))
        (summed,) = (await ask("GET", f"{PATH}?by=token")).json
        assert (entry["vehicle_name"], entry["total_energy_kwh"], entry["fed_back_kwh"]) == (summed["group"], "2", "1")
        assert (entry["total_cost"], entry["currency"]) == (summed["gross"], "EUR") == ("0.51", "EUR")
        assert entry["energy_price"] == "0.255"
        begun, ended = (
            datetime.strptime(entry[f"charging_{each}_at"], "%Y-%m-%d %H:%M:%S %z") for each in ("started", "ended")
        )
        assert abs((ended - begun).total_seconds() - float(summed["duration_s"])) <= 1
        assert entry["reference"] == f"{STATION} tx-{SESSION}"
        day = f"{ended:%Y-%m-%d}"
        assert (await ask("GET", f"{entries}?to_day=2000-01-01")).body.count(b"\r\n") == 1
        assert (await ask("GET", f"{entries}?from_day={day}&to_day={day}")).body.count(b"\r\n") == 2
        assert (await ask("GET", f"{entries}?from_day=2026-02-02&to_day=2026-02-01")).status == 400
        assert (await ask("GET", entries, role=Role.DRIVER)).status == 403
