"""Pages of drivers: prices before the start, energy and cost, receipt; none without the code of its address."""

import re
from typing import Any
from urllib.parse import quote

import pytest

from csms.accounts.rules import Role
from csms.db.bulk import insert_rows
from csms.payments.config import Payments
from csms.transactions.tables import booked_transactions
from tests.csms.api.support import Answer, ApiClient
from tests.csms.charging import Charging
from tests.csms.console.driving import PLAN, go_on
from tests.csms.console.support import Person, console, employ, text_of

STATION = "CS-V2G-0001"


async def opened(ask: ApiClient) -> tuple[Charging, str]:
    """Return a station's session to be, and the page of its EVSE."""
    station = await ask.backend.booted()
    about = {"timestamp": "2026-01-01T00:00:00Z", "connectorStatus": "Available", "evseId": 1, "connectorId": 1}
    await station.call("StatusNotification", about)
    (page,) = (await ask("GET", f"/stations/{STATION}/driver-pages")).json
    assert page["evse_id"] == 1
    return Charging(ask.backend, station), page["path"]


async def look(person: Person, path: str, **headers: str) -> Answer:
    """Follow the short address of a QR code."""
    moved = await person.get(path)
    assert (moved.status, moved.headers["location"]) == (303, f"/console{path}")
    return await person.get(moved.headers["location"], **headers)


@pytest.mark.requirement("R218")
async def test_a_driver_sees_the_price_of_the_receipt_before_while_and_after_charging(ask: ApiClient) -> None:
    charging, path = await opened(ask)
    driver = Person(ask)
    assert "Charging is free of charge here." in text_of(await look(driver, path))
    assert (await ask("POST", "/tariffs", PLAN)).status == 201
    assert (await ask("PUT", "/tariff-assignments", {"plan_id": "city"})).status == 200
    page = text_of(await look(driver, path))
    for said in (
        "Free", "Charging, you pay 0.4998 EUR/kWh", "Feeding back, you get 0.12 EUR/kWh", "Each session 1.19 EUR",
        "From 23:59", "0.6902 EUR/kWh",
    ):  # fmt: skip
        assert said in page, said
    assert "Laden, Sie zahlen 0,4998 EUR/kWh" in text_of(await look(driver, path, accept_language="de"))
    await go_on(charging, "Started", "Authorized", 1000)
    here = (await look(driver, path)).body.decode()
    (link,) = re.findall(r'href="(/console/q/[^"]+/session/[^"]+)"', here)
    await go_on(charging, "Updated", "MeterValuePeriodic", 3000, 12_000)
    text = text_of(await driver.get(link))
    for said in ("Your session", "Charging · 12.0 kW", "Charged 2.0 kWh", "Cost so far 2.19 EUR"):
        assert said in text, said
    await go_on(charging, "Ended", "EVCommunicationLost", 5000)
    assert "/session/" not in (await look(driver, path)).body.decode(), "it is over for who comes next"
    done = await driver.get(link)
    cost = (await ask("GET", f"/transactions/{charging.id}/cost")).json
    assert cost["incl_tax"]["amount"] == "3.1892"
    text = text_of(done)
    for said in (
        "Receipt",
        "To pay, with taxes 3.19 EUR",
        "Taxes in it 0.51 EUR",
        "4.000 kWh 0.42 2.00 EUR",
        "1.000 … 5.000",
    ):
        assert said in text, said
    for said in ("Begun", "Ended", "As of"):
        assert re.search(said + r" \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", text), "a receipt is printed with its date"
    assert "DEADBEEF" not in done.body.decode() + here, "nobody is named"
    assert "data-print hidden" in done.body.decode()
    ada = await employ(ask, "ada", Role.VIEWER)
    assert f'href="{path}"' in (await ada.get(f"/console/stations/{STATION}")).body.decode()
    row = {"station_id": STATION, "transaction_id": charging.id, "currency": "EUR", "import_mwh": 4_000_000}
    row |= {"export_mwh": 0, "net": 2_000_000, "gross": 2_380_000}
    await ask.backend.services.store.run(insert_rows, booked_transactions, [row])
    text = text_of(await driver.get(link))
    assert "To pay, with taxes 2.38 EUR Taxes in it 0.38 EUR" in text, "what is booked from its journal"
    assert "0.42" not in text


@pytest.mark.requirement("R205")
@pytest.mark.parametrize("url", ["", "https://pay.example/start?station={station_id}&evse={evse_id}"])
async def test_who_has_no_contract_is_led_to_the_payment_where_one_is_configured(backend: Any, url: str) -> None:
    """Only at an EVSE that is free: else somebody would pay for what another one gets."""
    async with backend(payments=Payments(pay_url=url)) as csms, console(csms) as ask:
        charging, path = await opened(ask)
        driver = Person(ask)
        free = (await look(driver, path)).body.decode()
        assert (f'href="https://pay.example/start?station={STATION}&amp;evse=1"' in free) == bool(url)
        await go_on(charging, "Started", "Authorized", 1000)
        assert "pay.example" not in (await look(driver, path)).body.decode()


async def test_no_page_opens_without_the_code_that_was_made_for_it(ask: ApiClient) -> None:
    charging, path = await opened(ask)
    charging.id = "'\"><b>t%2F/?#x"
    await charging.event("Started", "CablePluggedIn", state="Charging", context="Transaction.Begin")
    driver = Person(ask)
    (link,) = re.findall(r'href="(/console/q/[^"]+/session/[^"]+)"', (await look(driver, path)).body.decode())
    page = await driver.get(link)
    assert page.status == 200
    assert "<b>" not in page.body.decode()
    code, other = path.rpartition("/")[2], link.rpartition("/")[2]
    assert (len(code), code != other) == (16, True)
    for wrong in (
        f"/console/q/{STATION}/1/{'a' * 16}", f"/console/q/{STATION}/1/{other}", f"/console/q/{STATION}/2/{code}",
        f"/console/q/{STATION}/01/{code}", f"/console/q/{STATION}/-1/{code}", f"/console/q/CS-2/1/{code}",
        f"/console/q/{STATION}/1/%C3%A4", f"/console/q/{STATION}/session/tx-1/{other}",
        link.replace(other, code), f"/console/q/{STATION}/{'9' * 30}/{code}",
    ):  # fmt: skip
        assert (await driver.get(wrong)).status == 404, wrong
    assert (await driver.get("/q/\u00e4/1/x")).status in (303, 400, 404)


async def test_held_amounts_are_not_told(ask: ApiClient) -> None:
    charging, path = await opened(ask)
    assert (await ask("POST", "/tariffs", PLAN)).status == 201
    assert (await ask("PUT", "/tariff-assignments", {"plan_id": "city"})).status == 200
    await go_on(charging, "Started", "Authorized", 1000)
    driver = Person(ask)
    (link,) = re.findall(r'href="(/console/q/[^"]+/session/[^"]+)"', (await look(driver, path)).body.decode())
    await go_on(charging, "Ended", "EVCommunicationLost", 900_000_000)
    text = text_of(await driver.get(link))
    assert "Amounts are being checked" in text
    assert "EUR" not in text


async def test_the_page_of_a_held_session_says_why_and_shows_no_energy_that_is_not_known(ask: ApiClient) -> None:
    charging, _ = await opened(ask)
    assert (await ask("POST", "/tariffs", PLAN)).status == 201
    assert (await ask("PUT", "/tariff-assignments", {"plan_id": "city"})).status == 200
    await go_on(charging, "Started", "Authorized", 1000)
    await go_on(charging, "Ended", "EVCommunicationLost", 900_000_000)
    page = await (await employ(ask, "ada", Role.BILLING)).get(f"/console/sessions/{STATION}/{charging.id}")
    assert page.status == 200
    text = text_of(page)
    assert "Cost with taxes \u2013 On hold" in text
    assert "Fed back \u2013" in text, "it has no such register"


@pytest.mark.parametrize("accept", ["en", "de"])
async def test_drivers_pages_tell_search_engines_to_stay_away(ask: ApiClient, accept: str) -> None:
    _, path = await opened(ask)
    page = (await look(Person(ask), path, accept_language=accept)).body.decode()
    assert '<meta name="robots" content="noindex">' in page
    assert f'<html lang="{accept}">' in page
    assert "api-docs" not in page


async def test_who_has_a_token_is_one_page_with_tariff_group_sessions_and_what_they_cost(ask: ApiClient) -> None:
    charging, _ = await opened(ask)
    assert (await ask("POST", "/tariffs", PLAN)).status == 201
    assert (await ask("PUT", "/tariff-assignments", {"plan_id": "city", "group_id": "fleet"})).status == 200
    for name, modes in (("DEADBEEF", ["DC", "DC_BPT"]), ("<I>OTHER", ["DC"])):
        body = {"terms": {"group_id": "fleet"}, "energy_transfer": modes}
        assert (await ask("PUT", f"/tokens/Central/{quote(name)}", body)).status == 200
    await go_on(charging, "Started", "Authorized", 1000)
    await go_on(charging, "Updated", "MeterValuePeriodic", 3000, 12_000)
    await go_on(charging, "Ended", "EVCommunicationLost", 5000)
    ada, bob = await employ(ask, "ada", Role.OPERATOR), await employ(ask, "bob", Role.VIEWER)
    page = await ada.get("/console/tokens/Central/DEADBEEF")
    text = text_of(page)
    for said in (
        "Accepted Central", "Sessions 1", "Cost with taxes 3.19 EUR", "Feeding back allowed", "Own tariff city",
        "Group fleet",
        "Other tokens <I>OTHER", f"{STATION} 3.19 EUR", "Block",
    ):  # fmt: skip
        assert said in text, said
    assert "<I>" not in page.body.decode()
    assert 'href="/console/tokens/Central/DEADBEEF"' in (await ada.get("/console/tokens")).body.decode()
    other = text_of(await ada.get(f"/console/tokens/Central/{quote('<I>OTHER')}"))
    assert "Feeding back not allowed" in other
    assert "No session yet." in other
    assert (await ada.get("/console/tokens/Central/NONE")).status == 404
    assert (await bob.get("/console/tokens/Central/DEADBEEF")).status == 403


@pytest.mark.parametrize(
    ("kind", "known", "reported"),
    [("ISO14443", "04A1B2C3", "04a1b2c3"), ("eMAID", "DEV2GC00000001", "DEV2GC000000017")],
)
async def test_who_has_a_token_is_known_in_whatever_form_the_station_writes_it(
    ask: ApiClient, kind: str, known: str, reported: str
) -> None:
    assert (await ask("PUT", f"/tokens/{kind}/{known}", {})).status == 200
    charging, _ = await opened(ask)
    await charging.event(
        "Started", "Authorized", token={"idToken": reported, "type": kind}, context="Transaction.Begin"
    )
    ada = await employ(ask, "ada", Role.OPERATOR)
    for form in (known, reported):
        assert "Sessions 1 " in text_of(await ada.get(f"/console/tokens/{kind}/{form}"))
