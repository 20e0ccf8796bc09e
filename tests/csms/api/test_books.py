"""The books over the API: what a delivered journal posts, in decimal text, and the closing of periods."""

import csv
import io
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, Row, select

from csms.accounts.rules import Role
from csms.books.tables import facts
from csms.settlements import store as records
from tests.csms.api.support import ApiClient, serving
from tests.csms.fixtures import Start
from tests.csms.settlement.journals import SESSION, T0, journal
from tests.csms.settlement.witness import delivered_whole
from v2g.energy.settlement.bookkeeping import period_of
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.settle import settle
from v2g.energy.settlement.taxes import VatRate
from v2g.units import payable


async def delivered(ask: ApiClient) -> str:
    """Deliver a complete journal; return the period of its session."""
    await delivered_whole(ask, journal())
    return period_of(settle(verify_lines(b"".join(journal()))).end.utc_ms)


@pytest.mark.requirement("R32", "R33", "R195")
async def test_books_and_receipt_are_with_vat_and_so_is_what_a_correction_comes_to(backend: Start) -> None:
    """2 kWh at 0.30 less 1 kWh at 0.20: 19 % of 0.60 is 0.11, of 0.70 it is 0.13. No fact of the session changes."""

    def landed(connection: Connection) -> list[Row[Any]]:
        return list(connection.execute(select(facts).order_by(facts.c.source, facts.c.kind)))

    async with backend(vat=(VatRate(percent="19"),)) as csms, serving(csms) as ask:
        await delivered(ask)
        before = await csms.services.store.read(landed)
        assert {each.source for each in before} == {"journal", "transaction"}
        (posted,) = (await ask("GET", f"/settlements/{SESSION}/postings", role=Role.BILLING)).json
        amounts = {each["account"]: each["amount"] for each in posted["amounts"] if each["unit"] == "EUR"}
        assert amounts == {"driver": "0.51", "purchases": "0.2", "sales": "-0.6", "vat": "-0.11"}
        (cost,) = (await ask("GET", "/books/costs", role=Role.BILLING)).json
        assert cost["owed"] == [{"amount": "0.51", "currency": "EUR"}]
        page = (await ask("GET", f"/settlements/{SESSION}/receipt", role=Role.BILLING)).body.decode()
        assert ("To pay <b>0.51 EUR</b>" in page, "19 % of 0.6000 EUR" in page) == (True, True)
        body = {"line": f"{T0}/import", "price_per_kwh": "0.35", "reason": "wrong tariff"}
        for _ in range(2):
            corrected = await ask("POST", f"/settlements/{SESSION}/corrections", body, role=Role.BILLING)
            assert corrected.json["owed"] == [{"amount": "0.63", "currency": "EUR"}]
        assert await csms.services.store.read(landed) == before


@pytest.mark.requirement("R32", "R33")
async def test_a_booked_session_keeps_its_vat_when_rates_change(backend: Start) -> None:
    """Also without `from_day`: receipt, audit and corrections have the rate of when the journal arrived."""
    async with backend(vat=(VatRate(percent="19"), VatRate(percent="7", stations=("CS-2",)))) as csms:
        async with serving(csms) as ask:
            await delivered(ask)
            signed = await csms.services.store.read(records.journal_receipt, "CS-V2G-0001", SESSION)
            assert signed is not None
            assert b'"rates":[{"feed_in":false,"from_day":null,"percent":"19","stations":[],"tariffs":[]}]' in signed
            config = csms.services.config
            config = msgspec.structs.replace(config, vat=(VatRate(percent="25"),))
            csms.services = msgspec.structs.replace(csms.services, config=config)
        async with serving(csms) as ask:
            page = (await ask("GET", f"/settlements/{SESSION}/receipt", role=Role.BILLING)).body.decode()
            assert ("To pay <b>0.51 EUR</b>" in page, "19 % of 0.6000 EUR" in page) == (True, True)
            assert (await ask("GET", "/books/audit/sessions", role=Role.BILLING)).json[0]["findings"] == []
            body = {"line": f"{T0}/import", "price_per_kwh": "0.35", "reason": "wrong tariff"}
            corrected = await ask("POST", f"/settlements/{SESSION}/corrections", body, role=Role.BILLING)
            assert corrected.json["owed"] == [{"amount": "0.63", "currency": "EUR"}]


@pytest.mark.requirement("R32", "R33", "R36", "R37")
async def test_a_settled_session_is_in_the_books_and_each_unit_sums_to_zero(ask: ApiClient) -> None:
    settled = settle(verify_lines(b"".join(journal())))
    period = await delivered(ask)
    found = (await ask("GET", f"/books/periods/{period}", role=Role.BILLING)).json
    assert (found["intact"], found["sheet"]["sessions"]) == (True, 1)
    amounts = {(each["account"], each["unit"]): Decimal(each["amount"]) for each in found["sheet"]["amounts"]}
    for unit in {unit for _, unit in amounts}:
        assert sum(amount for (_, its), amount in amounts.items() if its == unit) == 0
    (total,) = settled.totals
    assert amounts["driver", total.currency] == Decimal(total.balance) / 10**6
    assert amounts["vehicle", "kWh"] == Decimal(total.import_mwh - total.export_mwh) / 10**6
    usage = found["sheet"]["usage"]
    plugged_ms = settled.end.utc_ms - settled.begin.utc_ms
    assert sum(Decimal(usage[name]) for name in ("charging_s", "discharging_s", "idle_s")) * 1000 == plugged_ms
    assert (await ask("GET", f"/books/vehicles/{settled.emaid}?period={period}")).json == found["sheet"]
    assert (await ask("GET", "/books/vehicles/NOBODY")).json["sessions"] == 0
    (posting,) = (await ask("GET", f"/settlements/{SESSION}/postings")).json
    assert (posting["period"], posting["journal_head"]) == (period, settled.journal_head)
    assert (await ask("GET", "/settlements/FF/postings")).status == 404


@pytest.mark.requirement("R33")
@pytest.mark.parametrize(
    ("currency", "price", "owed"),
    [("JPY", 30_100_000, "60"), ("JPY", -30_300_000, "-61"), ("EUR", -105_000, "-0.41"), ("BHD", 102_600, "0.005")],
)
async def test_money_has_the_decimals_of_its_currency_also_at_negative_prices(
    ask: ApiClient, currency: str, price: int, owed: str
) -> None:
    lines = journal(price=price, currency=currency)
    await delivered_whole(ask, lines)
    (total,) = settle(verify_lines(b"".join(lines))).totals
    (cost,) = (await ask("GET", "/books/costs")).json
    assert cost["owed"][0]["currency"] == currency
    assert Decimal(cost["owed"][0]["amount"]) == payable(Decimal(total.balance) / 10**6, currency)
    assert cost["owed"][0]["amount"] == owed
    page = (await ask("GET", f"/settlements/{SESSION}/receipt")).body.decode()
    assert f"<b>{owed.removeprefix('-')} {currency}</b>" in page


@pytest.mark.requirement("R33")
async def test_sums_are_of_what_is_billed_for_each_session(ask: ApiClient) -> None:
    """3 times 0.404 EUR; receipts, debits and charge detail records have 0.40."""
    for number in range(3):
        session = f"01020304050607{number:02}"
        await delivered_whole(ask, journal(session, price=302_000, nth=number), session)
    for path in ("/books/costs?by=session", "/books/costs?by=vehicle", "/books/costs?by=period"):
        assert sum(Decimal(each["owed"][0]["amount"]) for each in (await ask("GET", path)).json) == Decimal("1.20")
    (sums,) = (await ask("GET", "/reports/transactions")).json
    assert (sums["net"], sums["vat"], sums["gross"]) == ("1.20", "0.00", "1.20")
    entries = csv.DictReader(io.StringIO((await ask("GET", "/reports/charging-entries")).body.decode()))
    assert [each["total_cost"] for each in entries] == ["0.40"] * 3


@pytest.mark.requirement("R44")
async def test_revenue_at_the_bounds_of_market_rates_is_right_to_the_cent(ask: ApiClient) -> None:
    rates = (20, 30, 50, 80)
    for number, rate in enumerate(rates):
        session = f"01020304050607{number:02}"
        lines = journal(session, price=rate * 1_000, nth=number)
        await delivered_whole(ask, lines, session)
    (month,) = (await ask("GET", "/books/costs?by=period")).json
    assert (month["sessions"], month["import_kwh"]) == (4, "8")
    wanted = 2 * Decimal(sum(rates)) / 1000 - 4 * Decimal("0.20")
    assert month["owed"] == [{"amount": f"{wanted:.2f}", "currency": "EUR"}]


async def test_costs_come_in_pages_by_session_vehicle_or_period(ask: ApiClient) -> None:
    await delivered(ask)
    await delivered_whole(ask, journal("0102030405060709", nth=1), "0102030405060709")
    first = await ask("GET", "/books/costs?limit=1")
    assert [each["session_id"] for each in first.json] == [SESSION]
    assert first.json[0]["owed"] == [{"amount": "0.40", "currency": "EUR"}]
    link = first.headers["link"]
    (second,) = (await ask("GET", link[1 : link.index(">")])).json
    assert (second["session_id"], second["vehicle"], second["period"]) == ("0102030405060709", "DEV2GC00000001", None)
    (mine,) = (await ask("GET", "/books/costs?by=vehicle")).json
    assert (mine["sessions"], mine["import_kwh"], mine["owed"][0]["amount"]) == (2, "4", "0.80")
    assert (
        await ask("GET", f"/books/costs?by=period&cursor={link[1:-1].split('cursor=')[1].split('>')[0]}")
    ).status == 400
    assert (await ask("GET", "/books/costs?by=colour")).status == 400
    assert (await ask("GET", "/books/costs?period=2026-13")).status == 400


@pytest.mark.requirement("R32")
async def test_a_period_is_closed_by_those_who_bill_when_it_is_over(ask: ApiClient) -> None:
    period = await delivered(ask)
    assert (await ask("GET", "/books/periods")).json == [
        {"period": period, "closed_ms": None, "postings": None, "digest": None, "signer": None}
    ]
    assert (await ask("POST", f"/books/periods/{period}/close", role=Role.OPERATOR)).status == 403
    early = await ask("POST", f"/books/periods/{period_of(ask.backend.clock.utc_ms())}/close", role=Role.BILLING)
    assert (early.status, early.json["code"]) == (409, "not_over")
    ask.backend.clock.now_ms = T0 + 40 * 86_400_000
    closed = (await ask("POST", f"/books/periods/{period}/close", role=Role.BILLING)).json
    assert (closed["period"], closed["postings"]) == (period, 1)
    assert (await ask("POST", f"/books/periods/{period}/close", role=Role.BILLING)).json == closed
    assert (await ask("GET", "/books/periods")).json == [closed]
    assert (await ask("GET", f"/books/periods/{period}")).json["intact"] is True
    assert (await ask("GET", "/books/periods/2026-13")).status == 400


@pytest.mark.parametrize("period", ["0000-01", "9999-12", "2026-13", "%D9%A2026-11"])
async def test_a_period_that_cannot_be_is_refused(ask: ApiClient, period: str) -> None:
    for method, what in (("POST", "/close"), ("GET", "")):
        assert (await ask(method, f"/books/periods/{period}{what}", role=Role.BILLING)).status == 400
