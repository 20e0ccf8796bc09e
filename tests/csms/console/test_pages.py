"""Pages: what each role may open, what they show, hostile texts, headers, and actions with their answers."""

import asyncio
import codecs
import csv
import gzip
import io
import re
from html import escape

import pytest

from csms.accounts.rules import NO_PEOPLE, Role, allowed, principal_of
from csms.admission.store import ConnectionAttempt, note_attempt
from csms.alerts.rules import Report
from csms.console.application import HEADERS, ROUTES
from csms.settlements.journals import JournalStore
from pki_tools.tree import PkiTree
from tests.csms.api.support import Answer, ApiClient
from tests.csms.backend import BOOT
from tests.csms.charging import Charging
from tests.csms.console.support import Person, employ, text_of
from tests.csms.settlement.journals import SESSION, delivery, journal
from tests.csms.settlement.witness import witness
from tests.energy.settlement.conftest import Session, run_whole_session
from v2g.energy.settlement.rows import csv_text, unmarked

STATION = "CS-V2G-0001"
PEOPLE = [each for each in Role if each not in NO_PEOPLE]


def path_of(path: str) -> str:
    return "/console" + re.sub(r"\{\w+\}", "none", path)


def check_headers(answer: Answer) -> None:
    for name, value in HEADERS.items():
        if name != "Content-Security-Policy":
            assert answer.headers[name.lower()] == value, name
    policy = answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy or "sandbox" in policy


@pytest.mark.some(2)
@pytest.mark.parametrize("role", PEOPLE)
async def test_every_page_and_action_denies_every_role_that_may_not_ask_its_operation(
    ask: ApiClient, role: Role
) -> None:
    person = await employ(ask, "ada", role)
    for route in ROUTES:
        streams = route.path.endswith(("/frames", "/positions"))
        if (
            route.path in ("/logout", "/login")
            or (streams and allowed(principal_of("ada", role), route.asks.permission))
            or route.path.startswith("/account")
        ):
            continue
        path = path_of(route.path)
        answer = await (person.get(path) if route.method == "GET" else person.send(path))
        if route.open_to(lambda operation: allowed(principal_of("ada", role), operation.permission)):
            assert answer.status not in (401, 403, 405, 500), (route.path, text_of(answer))
        else:
            assert answer.status == 403, route.path
            assert "your role may not do that" in text_of(answer)
        check_headers(answer)


async def test_nobody_opens_a_page_without_login(ask: ApiClient) -> None:
    for route in ROUTES:
        if not route.public:
            stranger, path = Person(ask), path_of(route.path)
            answer = await (stranger.get(path) if route.method == "GET" else stranger.send(path))
            assert (answer.status, answer.body) == (303, b""), path
            assert answer.headers["location"].startswith("/console/login")
    assert (await Person(ask).get("/")).headers["location"] == "/console"
    missing = await Person(ask).get("/console/nothing")
    assert missing.status == 404
    check_headers(missing)


@pytest.mark.long
async def test_links_of_the_menu_are_those_that_a_role_may_follow(ask: ApiClient) -> None:
    for number, role in enumerate(PEOPLE):
        person = await employ(ask, f"p{number}", role)
        page = (await person.get("/console")).body.decode()
        menu = re.findall(r'href="(/console[^"]*)"', page.split("<nav", 1)[1].split("</nav>")[0])
        assert len(menu) >= 2
        for path in menu:
            assert (await person.get(path)).status == 200, (role, path)


@pytest.mark.requirement("R113")
@pytest.mark.parametrize("role", [Role.BILLING, Role.INSTALLER])
async def test_texts_link_to_pages_that_the_role_may_open(ask: ApiClient, role: Role) -> None:
    place = {"station_id": STATION, "evse_id": 1, "node": "main", "most_ma": 32_000}
    site = {"id": "depot", "nodes": [{"id": "main", "limits": [63_000] * 3}], "places": [place]}
    assert (await ask("PUT", "/sites/depot", site)).status == 200
    charging = Charging(ask.backend, await ask.backend.booted())
    await charging.event("Started", "CablePluggedIn", state="Charging")
    now_ms = ask.backend.clock.utc_ms()
    await ask.alerts.take([Report("settlement", STATION, "money_quarantined", "warning", now_ms, raised=True)])
    person = await employ(ask, "ada", role)
    session = f"/console/sessions/{STATION}/{charging.id}"
    links: set[str] = set()
    for path in ("/console", "/console/alerts", "/console/stations", "/console/sessions", session):
        page = await person.get(path)
        links.update(re.findall(r'href="(/console/[^"#?]*)"', page.body.decode()))
    assert (f"/console/stations/{STATION}" in links) == (role is Role.INSTALLER)
    for link in links:
        assert "/static/" in link or (await person.get(link)).status == 200, link


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
ESCAPES = "\u202eedoc\x1b[31m\u200b"


async def test_text_of_stations_is_shown_and_never_obeyed(ask: ApiClient) -> None:
    station = await ask.backend.join(STATION)
    about = {
        "model": HOSTILE[:20],
        "vendorName": HOSTILE[:50],
        "firmwareVersion": ESCAPES,
    }
    answer = await station.call("BootNotification", {"reason": "PowerUp", "chargingStation": about})
    assert answer["status"] == "Accepted"
    charging = Charging(ask.backend, station)
    charging.id = "'\"><b>t%2F/?#\r\nx"
    await charging.event("Started", "CablePluggedIn", state="Charging", context="Transaction.Begin")
    ada = await employ(ask, "ada", Role.ADMIN)
    stations = await ada.get("/console/stations")
    (link,) = re.findall(r'href="(/console/sessions/[^"]+)"', (await ada.get("/console/sessions")).body.decode())
    pages = [stations, await ada.get(f"/console/stations/{STATION}"), await ada.get(link)]
    for page in (*pages, await ada.get("/console"), await ada.get("/console/v2g")):
        body = page.body.decode()
        assert page.status == 200
        assert "<script>alert" not in body
        assert "<img src=x" not in body
        assert "<b>t" not in body
        assert not set(body) & {"\u202e", "\x1b", "\u200b"}, "invisible characters are shown"
    assert escape(HOSTILE[:50], quote=False)[:30] in stations.body.decode().replace("&#34;", '"').replace("&#39;", "'")
    assert "\\u202eedoc\\u001b[31m\\u200b" in pages[1].body.decode()
    stopping = asyncio.create_task(ada.send(link + "/stop"))
    request = await station.expect("RequestStopTransaction")
    assert request.payload["transactionId"] == charging.id
    request.reply({"status": "Accepted"})
    assert (await stopping).headers["location"] == link, "no text ends up in a header as it is"
    assert "Stop: Accepted" in text_of(await ada.get(link))
    stranger = Person(ask, "ada")
    await stranger.get((await stranger.get(link)).headers["location"])
    assert (await stranger.log_in(path=link)).headers["location"] == link
    for path in (f"/console/stations?text={HOSTILE}", f"/console/login?next={HOSTILE}", "/console/audit?caller=<b>"):
        assert "<script>alert" not in (await ada.get(path)).body.decode()
    for markup in re.findall(r"<[a-z][^>]*>", pages[1].body.decode()):
        assert not re.search(r"\son\w+=|\sstyle=", markup), "the policy would stop it"


async def test_a_station_that_waits_is_admitted(ask: ApiClient) -> None:
    visit = ConnectionAttempt(station_id="CS-NEW", address="192.0.2.9", offered="ocpp2.1", security_profile=2)
    await ask.backend.services.store.run(note_attempt, visit, ask.backend.clock.utc_ms())
    ada = await employ(ask, "ada", Role.INSTALLER)
    for page in ("/console", "/console/stations", "/console/stations/CS-NEW"):
        assert "CS-NEW" in text_of(await ada.get(page)), page
    assert "has never been connected" in text_of(await ada.get("/console/stations/CS-NEW"))
    await ada.send("/console/stations/CS-NEW/admission", {"decision": "Accepted"})
    assert "CS-NEW: Accepted" in text_of(await ada.get("/console/stations"))
    station = await ask.backend.join("CS-NEW")
    assert (await station.call("BootNotification", BOOT))["status"] == "Accepted"
    assert (await ada.get("/console/stations/CS-OTHER")).status == 404


async def test_a_tariff_shows_what_an_example_costs_before_it_is_stored(ask: ApiClient) -> None:
    ada = await employ(ask, "ada", Role.OPERATOR)
    plan = {"id": "one", "currency": "EUR", "energy": "0.40", "vat": "19", "import_kwh": "10", "charging_min": "30"}
    example = text_of(await ada.send("/console/tariffs", {**plan, "do": "example"}))
    assert "4.76 EUR with tax, 4.00 EUR without" in example
    assert (await ask("GET", "/tariffs")).json == []
    back = text_of(await ada.send("/console/tariffs", {**plan, "export_kwh": "5", "export": "0.20", "do": "example"}))
    assert "3.57 EUR with tax" in back
    wrong = await ada.send("/console/tariffs", {**plan, "energy": "cheap", "do": "example"})
    assert (wrong.status, "not a number" in text_of(wrong)) == (400, True)
    assert (await ada.send("/console/tariffs", {**plan, "do": "store", "everywhere": "yes"})).status == 303
    assert "one 0.40 \u2013 EUR everywhere" in text_of(await ada.get("/console/tariffs"))
    assert "the one for all. everywhere End" in text_of(await ada.get("/console/tariffs/one"))
    assert 'value="0.40"' in (await ada.get("/console/tariffs/new?like=one")).body.decode()


async def test_a_tariff_is_edited_as_a_week_with_seasons_and_holidays(ask: ApiClient) -> None:
    ada = await employ(ask, "ada", Role.OPERATOR)
    night = {"energy0_price": "0,29", "energy0_start": "22:00", "energy0_end": "6"}
    sunday = {"energy1_price": "0.2", "energy1_days": "6", "energy1_first": "2027-04-01", "energy1_last": "2027-09-30"}
    work = {"energy2_price": "0.42", "energy2_days": "01234"}
    form = {"id": "week", "currency": "EUR", "zone": "Europe/Berlin", "vat": "19", **night, **sunday, **work}
    form |= {"closed": "2027-12-25, 2027-05-13", "sundays": "yes", "import_kwh": "10", "charging_min": "30"}
    form |= {"begins": "2027-01-04 23:00", "day": "2027-05-10"}
    page = await ada.send("/console/tariffs", {**form, "do": "example"})
    text = text_of(page)
    assert "3.45 EUR with tax, 2.90 EUR without" in text
    assert "charging has no price, and is free." in text
    assert page.body.decode().count('class="gap"') == 2, "on Saturday, and what it means"
    assert ">0.29</text>" in page.body.decode()
    assert 'value="fill-energy"' in page.body.decode()
    filled = await ada.send("/console/tariffs", {**form, "do": "fill-energy", "fill_energy": "0.42"})
    assert "has no price" not in text_of(filled)
    more = await ada.send("/console/tariffs", {**form, "do": "add-energy"})
    assert 'name="energy3_price"' in more.body.decode()
    assert 'name="energy4_price"' not in more.body.decode()
    for wrong, said in (
        ({"energy0_start": "25:00"}, "is not a time of day"), ({"energy0_start": "x"}, "is not a time of day"),
        ({"energy1_first": "soon"}, "is not a day"), ({"energy1_first": "9999-12-31"}, "is not a day"),
        ({"energy0_price": ""}, "a rate needs a price"), ({"energy0_days": "78"}, "days of the week"),
        ({"zone": "Mars"}, "time zone"), ({"begins": "later"}, "is not a time"), ({"closed": "<b>"}, "is not a day"),
        ({"energy0_days": "66"}, "week"), ({"currency": "EURO"}, "currency: does not have the form [A-Z]{3}"),
    ):  # fmt: skip
        answer = await ada.send("/console/tariffs", {**form, **wrong, "do": "example"})
        assert answer.status == 400 or wrong == {"energy0_days": "66"}, wrong
        assert said in text_of(answer), wrong
        assert "<b>" not in answer.body.decode()
    assert (await ada.send("/console/tariffs", {**form, "do": "store"})).status == 303
    shown = await ada.get("/console/tariffs/week?day=2027-05-10")
    assert "Week of 2027-05-10" in text_of(shown)
    assert "Week of 2027-04-01" in text_of(shown)
    assert "energy 0.29 EUR/kWh 22:00 \u2013 06:00 VAT" in text_of(shown)
    assert "Monday to Friday, never on holidays" in text_of(shown)
    again = (await ada.get("/console/tariffs/new?like=week")).body.decode()
    assert 'name="like" value="week"' in again
    for value in ("22:00", "06:00", "2027-09-30", "2027-05-13 2027-12-25"):
        assert f'value="{value}"' in again, value
    places = [{"station_id": STATION, "evse_id": 1, "node": "main", "most_ma": 32_000}]
    body = {"id": "north", "nodes": [{"id": "main", "limits": [63_000] * 3}], "places": places}
    assert (await ask("PUT", "/sites/north", body)).status == 200
    for to, name in (("site_id", "north"), ("group_id", "fleet"), ("id_token", "ISO14443 04A1B2C3"), ("", "")):
        await ada.send("/console/tariffs/assign", {"plan_id": "week", "to": to, "name": name})
    page = await ada.get("/console/tariffs/week")
    for said in ("site north", "group fleet", "everywhere: ISO14443 04A1B2C3", "everywhere End"):
        assert said in text_of(page), said
    german = text_of(await ada.get("/console/tariffs", accept_language="de"))
    assert "EUR überall, Gruppe fleet, Standort north, überall: ISO14443 04A1B2C3" in german
    german = text_of(await ada.get("/console/tariffs/week", accept_language="de"))
    assert "Energie 0,29 EUR/kWh" in german
    assert "Umsatzsteuer 19" in german
    await ada.send("/console/tariffs/unassign", {"plan_id": "week", "site_id": "north"})
    assert "site north" not in text_of(await ada.get("/console/tariffs/week"))
    for wrong in ({"to": "site_id"}, {"to": "x", "name": "y"}, {"to": "site_id", "name": "none"}):
        await ada.send("/console/tariffs/assign", {"plan_id": "week", **wrong})
        assert "applies" not in text_of(await ada.get("/console/tariffs/week")).replace("Applies", ""), wrong


async def test_commands_show_what_the_station_answered(ask: ApiClient) -> None:
    ada = await employ(ask, "ada", Role.OPERATOR)
    station = await ask.backend.booted()
    for answer, shown in (("Accepted", "Restart: Accepted"), ("Rejected", "Restart: Rejected")):
        sending = asyncio.create_task(
            ada.send(f"/console/stations/{STATION}/reset", {"type": "OnIdle", "what": "Restart"})
        )
        request = await station.expect("Reset")
        request.reply({"status": answer, "statusInfo": {"reasonCode": "Busy", "additionalInfo": "<b>bold</b>"}})
        assert (await sending).status == 303
        page = await ada.get(f"/console/stations/{STATION}")
        assert shown in text_of(page)
        assert "<b>bold" not in page.body.decode()
    entries = (await ask("GET", "/audit?operation=reset_station")).json
    assert [(each["caller"], each["path"]) for each in entries] == [("ada", f"/stations/{STATION}/reset")] * 2


async def test_any_request_of_ocpp_is_sent_and_its_answer_shown_as_it_is(ask: ApiClient) -> None:
    ada, bob = await employ(ask, "ada", Role.OPERATOR), await employ(ask, "bob", Role.VIEWER)
    station = await ask.backend.booted()
    path = f"/console/stations/{STATION}"
    assert "<option>GetBaseReport</option>" in (await ada.get(path)).body.decode()
    assert "GetBaseReport" not in text_of(await bob.get(path))
    fields = {"action": "GetBaseReport", "payload": '{"requestId": 7, "reportBase": "FullInventory"}'}
    sending = asyncio.create_task(ada.send(f"{path}/command", fields))
    request = await station.expect("GetBaseReport")
    assert request.payload["requestId"] == 7
    request.reply({"status": "EmptyResultSet", "statusInfo": {"reasonCode": "None", "additionalInfo": "<b>x</b>"}})
    page = await sending
    assert '"status": "EmptyResultSet"' in text_of(page)
    assert "<b>x" not in page.body.decode()
    for wrong, said in (
        ({"action": "Explode"}, "'Explode' is not an OCPP action that a CSMS can send"),
        ({"action": "GetBaseReport", "payload": "{"}, "the payload is not JSON"),
        ({"action": "GetBaseReport", "payload": "[" * 2000 + "]" * 2000}, "the payload is not JSON"),
        ({"action": "GetBaseReport", "payload": "[" * 500 + "]" * 500}, "payload: "),
        ({"action": "GetBaseReport", "payload": "{}"}, "payload: "),
    ):
        assert (await ada.send(f"{path}/command", wrong)).headers["location"] == path
        assert said in text_of(await ada.get(path))
    (entry,) = (await ask("GET", "/audit?operation=command_GetBaseReport&caller=ada")).json[-1:]
    assert entry["status"] == 200


async def test_a_journal_is_released_with_a_note(ask: ApiClient) -> None:
    services = ask.backend.services
    await services.store.run(witness, journal(), STATION, SESSION)
    await services[JournalStore].deliver(STATION, delivery(journal(price=999_999, compensation=2_700_000)))
    viewer, billing = await employ(ask, "bob", Role.VIEWER), await employ(ask, "ada", Role.BILLING)
    assert "Release" not in text_of(await viewer.get("/console/quarantine"))
    shown = text_of(await billing.get("/console/quarantine"))
    assert [each in shown for each in ("Release", "Waits until", "Decided")] == [True, True, False]
    path, one = "/console/quarantine/change", {"do": "release", f"pick:{STATION}/{SESSION}": "1"}
    question = text_of(await billing.send(path, {**one, "note": " ", "sure": "1"}))
    for said in ("Release 1 sessions?", f"{STATION}/{SESSION}: ", "They are settled, posted and paid"):
        assert said in question, "a decision needs a note"
    await billing.send(path, {**one, "note": "confirmed by the driver", "sure": "1"})
    assert "1 sessions are decided." in text_of(await billing.get("/console/quarantine"))
    await billing.send(path, {**one, "note": "in another tab", "sure": "1"})
    assert "what was chosen is decided already" in text_of(await billing.get("/console/quarantine"))
    shown = text_of(await billing.get("/console/quarantine?state=released"))
    assert [each in shown for each in ("ada confirmed by the driver", "Decided", "Waits until")] == [True, True, False]
    for wrong in ({"do": "burn"}, {"do": "reject"}, {"do": "reject", "pick:x/y": "1"}):
        assert (await billing.send(path, wrong)).status == 303
    assert f"{SESSION} {STATION}" in text_of(await billing.get("/console/settlements"))
    (row,) = csv.DictReader((await billing.get("/console/settlements?csv=1")).body.decode("utf-8-sig").splitlines())
    assert (row["balance"], row["balance [currency]"]) == ("-0.70", "EUR")
    page = await billing.get(f"/console/sessions/{STATION}/tx-{SESSION}")
    assert "Cost with taxes \u22120.70 EUR final" in text_of(page).replace("\u00a0", " "), "as the report has it"
    (row,) = csv.DictReader((await billing.get("/console/sessions?csv=1")).body.decode("utf-8-sig").splitlines())
    assert (row["cost"], row["cost [currency]"]) == ("-0.70", "EUR")
    (receipt,) = re.findall(r'href="(/console/settlements/[^"]+/receipt)"', page.body.decode())
    paper = await billing.get(receipt)
    assert paper.status == 200
    assert "sandbox" in paper.headers["content-security-policy"]
    checked = text_of(await billing.get(receipt.replace("/receipt", "/verify")))
    assert "stored settlement follows from the copy" in checked
    assert re.search(r"chain of \d+ entries is unbroken", checked)
    kept = await billing.get(receipt.replace("/receipt", "/journal"))
    assert kept.headers["content-disposition"] == f'attachment; filename="journal-{SESSION}.jsonl"'
    file = (await billing.get("/console/reports/table.csv?by=station")).body
    assert file.startswith(codecs.BOM_UTF8), "by which spreadsheets know UTF-8"
    table = file.decode("utf-8-sig")
    assert table.splitlines()[0].startswith("group,currency,transactions")
    assert table.splitlines()[1].startswith(f"{STATION},EUR,1,")


@pytest.mark.long
async def test_a_bundle_is_verified_in_the_page(ask: ApiClient, pki: PkiTree) -> None:
    clock = ask.backend.clock
    files = run_whole_session(Session(pki, clock.utc_ms() // 900_000 * 900_000 - 1_800_000)).bundle()
    billing = await employ(ask, "ada", Role.BILLING)
    await billing.get("/console/verify")
    shown = text_of(await billing.upload("/console/verify", files))
    assert "not verified" not in shown
    assert "verified" in shown
    assert "kWh" in shown
    forged = {**files, "journal.jsonl": files["journal.jsonl"].replace(b'"import_mwh":', b'"import_mwh": ', 1)}
    shown = text_of(await billing.upload("/console/verify", forged))
    assert "not verified" in shown
    assert "journal.jsonl" in shown
    assert "missing" in text_of(await billing.upload("/console/verify", {"manifest.json": b"{}"}))
    assert (await billing.upload("/console/verify", {"journal.jsonl": bytes(17_000_000)})).status == 413
    assert (await billing.upload("/console/tariffs", {"a": bytes(70_000)})).status == 413, "other forms are short"


async def test_a_spreadsheet_takes_no_text_for_a_formula() -> None:
    for text, field in (
        ("=1+1", "'=1+1"),
        ("@sum", "'@sum"),
        ("-2+3", "'-2+3"),
        ("-2.50", "-2.50"),
        ('a"b,c', '"a""b,c"'),
        ("Lab;=1+1", "Lab;'=1+1"),  # where the decimal separator is a comma, ; separates cells
        ("Lab; x;-1", "Lab; x;'-1"),
        (None, ""),
    ):
        assert csv_text([1, text]) == f"1,{field}\r\n"
        (row,) = csv.reader([csv_text([1, text])])
        assert unmarked(row[1]) == (text or "")
    (row,) = csv.reader(io.StringIO(csv_text(["Lab\n=1+1"]), newline=""))
    assert (row[0], unmarked(row[0])) == ("Lab\n'=1+1", "Lab\n=1+1")


async def test_a_page_that_is_not_there_says_so(ask: ApiClient) -> None:
    ada = await employ(ask, "ada", Role.VIEWER)
    page = await ada.get("/console/nothing")
    assert (page.status, "There is no such page." in text_of(page)) == (404, True)
    assert "Diese Seite gibt es nicht." in text_of(await ada.get("/console/nothing", accept_language="de"))


async def test_the_interface_is_described_for_people_offline_without_login(ask: ApiClient) -> None:
    stranger = Person(ask)
    assert (await stranger.get("/api-docs")).headers["location"] == "/console/api-docs"
    first = await stranger.get("/console/api-docs")
    check_headers(first)
    document = (await ask("GET", "/openapi.json", role=None)).json
    pages = re.findall(r'href="(/console/api-docs/[^"]+)"', first.body.decode())
    assert len(pages) == len(document["tags"])
    shown: dict[str, str] = {}
    for page in pages:
        listed = await stranger.get(page)
        for operation in re.findall(rf'href="({page}/[^"]+)"', listed.body.decode()):
            found = await stranger.get(operation)
            text = found.body.decode()
            assert (found.status, len(found.body) < 120_000) == (200, True), operation
            anchors, linked = set(re.findall(r'id="([^"]+)"', text)), set(re.findall(r'href="#([^"]+)"', text))
            assert linked - {"main"} <= anchors, operation
            shown[operation.rpartition("/")[2]] = text_of(listed) + text_of(found)
    for path, methods in document["paths"].items():
        for method, each in methods.items():
            text = shown[each["operationId"]]
            assert text.count(f"{method.upper()} {path}") >= 2, "in the list, and on its page"
            assert each["summary"] in text
    assert (await stranger.get("/console/api-docs/nothing")).status == 404
    assert (await stranger.get(f"{pages[0]}/nothing")).status == 404
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', first.body.decode()), "nothing of other hosts"


async def test_tokens_are_allowed_and_blocked_and_no_known_one_is_overwritten(ask: ApiClient) -> None:
    ada, bob = await employ(ask, "ada", Role.OPERATOR), await employ(ask, "bob", Role.VIEWER)
    assert (await bob.get("/console/tokens")).status == 403
    await ada.send("/console/tokens", {"token": "04A1/B2", "type": "Central", "group": "fleet"})
    assert "04A1/B2 Central Accepted fleet" in text_of(await ada.get("/console/tokens?group_id=fleet"))
    await ada.send("/console/tokens", {"token": "04a1/b2", "type": "Central"})
    assert "known already" in text_of(await ada.get("/console/tokens"))
    body = (await ada.get("/console/tokens")).body.decode()
    (path,) = re.findall(r'action="(/console/tokens/[^"]+/04A1[^"]+/status)"', body)
    await ada.send(path, {"status": "Blocked"})
    page = text_of(await ada.get("/console/tokens"))
    assert "04A1/B2: Blocked" in page
    assert "04A1/B2 Central Blocked fleet" in page


async def test_a_stations_security_events_are_shown_to_whom_they_concern(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    event = {"type": "TamperDetectionActivated", "timestamp": "2026-01-01T00:00:00Z", "techInfo": "<b>lid</b>"}
    await station.call("SecurityEventNotification", event)
    ada, bob = await employ(ask, "ada", Role.VIEWER), await employ(ask, "bob", Role.INSTALLER)
    page = await ada.get(f"/console/stations/{STATION}")
    assert "TamperDetectionActivated <b>lid</b>" in text_of(page)
    assert "<b>lid" not in page.body.decode()
    assert "Tamper" not in text_of(await bob.get(f"/console/stations/{STATION}"))


async def test_the_audit_log_is_shown_by_caller_and_operation(ask: ApiClient) -> None:
    ada = await employ(ask, "ada", Role.ADMIN)
    await employ(ask, "bob", Role.VIEWER)
    assert "add_user" in text_of(await ada.get("/console/audit?operation=add_user"))
    assert (await ask("PUT", "/tokens/ISO14443/04A1B2C3", {"status": "Blocked"})).status < 300
    assert '"status":"Blocked"' in text_of(await ada.get("/console/audit?operation=put_token"))
    assert "Nothing fits." in text_of(await ada.get("/console/audit?operation=reset_user"))
    assert "Nothing fits." in text_of(await ada.get("/console/audit?caller=default%C2%BF%27%22%28&operation=default"))


async def test_times_are_of_the_zone_that_a_viewer_has_chosen_on_every_page(ask: ApiClient) -> None:
    ada = await employ(ask, "ada", Role.ADMIN)
    await ask.backend.booted()

    async def shown() -> tuple[str, str]:
        page = (await ada.get(f"/console/stations/{STATION}")).body.decode()
        found = re.search(r'<time datetime="([^"]+)"[^>]*>(\d+):', page)
        assert found
        return found[1], found[2]

    stamp, hour = await shown()
    assert hour == stamp[11:13]
    assert (await ada.send("/console/zone", {"zone": "Asia/Kathmandu", "next": "/console/alerts"})).status == 303
    stamp, hour = await shown()
    assert (int(hour) - int(stamp[11:13])) % 24 in (5, 6)
    assert 'data-zone="Asia/Kathmandu"' in (await ada.get("/console/alerts")).body.decode()
    assert (await ada.send("/console/zone", {"zone": "../etc/passwd"})).status == 400
    ada.cookies["__Host-v2g-zone"] = "../etc/passwd"
    assert (await shown())[1] == stamp[11:13]


async def test_pages_and_scripts_are_compressed_for_who_can_unpack_them(ask: ApiClient) -> None:
    ada = await employ(ask, "ada", Role.ADMIN)
    whole, packed = await ada.get("/console/users"), await ada.get("/console/users", accept_encoding="gzip, br")
    assert packed.headers["content-encoding"] == "gzip"
    assert b"<h1>Users</h1>" in gzip.decompress(packed.body)
    assert len(packed.body) < len(whole.body) / 2
    (script,) = re.findall(r'src="(/console/static/console.js[^"]+)"', whole.body.decode())
    assert gzip.decompress((await ada.get(script, accept_encoding="gzip")).body).startswith(b"// Keeps pages")
