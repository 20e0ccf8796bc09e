"""The console in a real browser: the main paths of an operator, kept current without reloading, and accessible."""

import asyncio
import json

import pyotp
import pytest
from playwright.async_api import Browser, Dialog, FilePayload, expect

from csms.accounts import store as users
from csms.accounts.rules import Role
from csms.accounts.work import hash_password
from csms.admission.store import ConnectionAttempt, note_attempt
from csms.alerts.work import AlertWatch
from csms.backend import make_backend
from csms.dispatch.store import CoursePoint, note_course
from csms.fleets import store as fleets
from csms.fleets.rules import Fleet
from csms.fleets.store import FleetPoint
from csms.grid.source import GridSource
from csms.nodes import store as nodes
from csms.settlements.journals import JournalStore
from csms.smart_charging.rules import Needs
from csms.smart_charging.store import note_limits
from csms.transactions import store as transactions
from pki_tools.tree import PkiTree
from tests.browser.conftest import Served
from tests.browser.tab import PASSWORD, WAIT_MS, Tab, employed, log_in
from tests.csms.backend import Backend
from tests.csms.charging import Charging
from tests.csms.estimates import estimate
from tests.csms.settlement.course import running
from tests.csms.settlement.journals import SESSION, delivery, journal
from tests.csms.settlement.witness import witness
from tests.csms.support import STATION, TOKENS, grid_signal, run_periodic
from tests.energy.settlement.conftest import Session, run_whole_session
from v2g.ocpp.times import format_time
from v2g.telemetry.signals import Record, encode_record

OTHER = "CS-V2G-0002"


@pytest.mark.long
@pytest.mark.e2e
async def test_an_operator_logs_in_with_a_second_factor(tab: Tab, csms: Backend) -> None:
    await tab.check("login")
    await employed(tab)
    await tab.page.get_by_role("link", name="Set one up").click()
    await tab.check("account")
    factor = pyotp.TOTP(await tab.page.locator(".key code").inner_text())

    def code() -> str:
        return factor.at(csms.clock.utc_ms() // 1000)

    form = tab.page.locator("form[action$='/account/factor']")
    await form.get_by_label("Password").fill(PASSWORD)
    await form.get_by_label("Code").fill(code())
    await form.get_by_role("button").click()
    await expect(tab.page.get_by_text("From now on the login asks for a code.")).to_be_visible()
    await tab.page.get_by_role("button", name="Log out").click()
    csms.clock.advance(60)
    await log_in(tab, PASSWORD)
    await expect(tab.page.get_by_role("alert")).to_contain_text("name, password or code is wrong")
    await log_in(tab, PASSWORD, code())
    await expect(tab.page.get_by_role("heading", name="Today")).to_be_visible()
    (cookie,) = (each for each in await tab.page.context.cookies() if "session" in each["name"])
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Strict")
    assert await tab.page.evaluate("document.cookie") == ""


@pytest.mark.e2e
async def test_an_operator_admits_a_station_and_watches_and_stops_a_session(tab: Tab, csms: Backend) -> None:
    await employed(tab)
    visit = ConnectionAttempt(station_id="CS-NEW", address="192.0.2.9", offered="ocpp2.1", security_profile=2)
    await csms.services.store.run(note_attempt, visit, csms.clock.utc_ms())
    csms.services.feed.publish("unknown_station", "CS-NEW", {})
    await expect(tab.page.get_by_text("CS-NEW waits for admission")).to_be_visible()
    await tab.check("overview")
    await tab.page.locator(".rail").get_by_role("link", name="Stations", exact=True).click()
    await tab.page.get_by_role("button", name="Admit").click()
    await expect(tab.page.get_by_text("CS-NEW: Accepted")).to_be_visible()
    station = await csms.booted()
    await tab.page.locator(".rail").get_by_role("link", name="Sessions", exact=True).click()
    await expect(tab.page.get_by_text("No session yet.")).to_be_visible()
    charging = Charging(csms, station)
    await charging.started()
    row = tab.page.locator(f"[data-row='{charging.id}']")
    await expect(row).to_be_visible()
    await row.get_by_role("link").first.click()
    for step in range(1, 30):
        values = (("Power.Active.Import", 11_000 - 300 * step), ("SoC", 40 + step))
        sampled = [{"value": value, "measurand": name, "context": "Sample.Periodic"} for name, value in values]
        reading = {"timestamp": charging.now(), "sampledValue": sampled}
        await charging.event("Updated", "MeterValuePeriodic", extra={"meterValue": [reading]})
    plot = tab.page.locator("canvas").first
    await expect(plot).to_be_visible()
    await expect(tab.page.get_by_text("2.3").first).to_be_visible()
    await plot.evaluate("(canvas) => { canvas.dataset.mine = 'yes'; }")
    await plot.hover(force=True)
    sampled = [{"value": 4321, "measurand": "Power.Active.Import", "context": "Sample.Periodic"}]
    reading = {"timestamp": charging.now(), "sampledValue": sampled}
    await charging.event("Updated", "MeterValuePeriodic", extra={"meterValue": [reading]})
    await expect(tab.page.locator("#figures")).to_contain_text("4.3")
    await expect(tab.page.locator("canvas[data-mine]")).to_be_visible()
    await tab.page.mouse.move(2, 2)
    begun_ms = csms.clock.utc_ms() - 1_500_000
    await csms.services[JournalStore].deliver(STATION, delivery(running(begun_ms)))
    await expect(tab.page.get_by_role("heading", name="What bound discharging")).to_be_visible(timeout=WAIT_MS)
    await limit(csms, charging, begun_ms)
    await expect(tab.page.get_by_role("heading", name="What bound the power")).to_be_visible(timeout=WAIT_MS)
    await expect(tab.page.locator("figure.chart:has(canvas)")).to_have_count(3, timeout=WAIT_MS)
    await tab.check("session")

    async def agree(dialog: Dialog) -> None:
        await dialog.accept()

    tab.page.on("dialog", agree)
    pressing = asyncio.ensure_future(tab.page.get_by_role("button", name="Stop this session").click())
    request = await station.expect("RequestStopTransaction")
    assert request.payload["transactionId"] == charging.id
    request.reply({"status": "Accepted"})
    await pressing
    await expect(tab.page.get_by_text("Stop: Accepted")).to_be_visible()


@pytest.mark.long
@pytest.mark.e2e
async def test_each_page_is_accessible(tab: Tab, csms: Backend) -> None:
    await employed(tab)
    station = await csms.booted()
    await Charging(csms, station).started()
    station.refuses_others = True
    await csms.services[GridSource].offer(grid_signal(now_ms=csms.clock.utc_ms()), "dso")
    for minute in range(30):
        at_ms, asked_w = csms.clock.utc_ms() - minute * 60_000, -60_000 if minute < 20 else -20_000
        point = CoursePoint(at_ms=at_ms, asked_w=asked_w, accepted_w=asked_w * 9 // 10, delivered_w=-18_000, vehicles=6)
        await csms.services.store.run(note_course, "node", point)
    for area, tabs in (
        ("Today", ()),
        ("Alerts", ()),
        ("Stations", ("Updates", "Installed")),
        ("Sessions", ("Tokens", "On hold")),
        ("V2G", ()),
        ("Money", ("Reports",)),
        ("Administration", ("Audit", "Health")),
    ):
        rail = tab.page.locator(".rail")
        await rail.get_by_role("link", name=area, exact=True).click()
        await expect(rail.get_by_role("link", name=area, exact=True)).to_have_attribute("aria-current", "page")
        await tab.check(area.lower())
        for name in tabs:
            await tab.page.locator(".tabs").get_by_role("link", name=name, exact=True).click()
            await expect(tab.page.locator(".tabs [aria-current]")).to_have_text(name)
            await tab.check(name.lower())
    await tab.open(f"/console/stations/{STATION}")
    await tab.check("station")
    await csms.services.store.run(fleets.save, Fleet(id="depot"), csms.clock.utc_ms())
    for minute in range(60):
        at_ms, planned_w = csms.clock.utc_ms() - minute * 60_000, 20_000 if minute % 30 < 20 else -10_000
        asked = {"planned_w": planned_w, "asked_w": planned_w, "accepted_w": planned_w * 9 // 10}
        course = FleetPoint(at_ms=at_ms, delivered_w=planned_w * 9 // 10 - 500, vehicles=6, **asked)
        await csms.services.store.run(fleets.note_course, "depot", course)
    await tab.open("/console/v2g/fleets/depot")
    await expect(tab.page.locator("figure.chart:has(canvas)")).to_have_count(2)
    await tab.check("fleet")


async def limit(csms: Backend, charging: Charging, begun_ms: int) -> None:
    """Have an energy manager limit a vehicle that takes 11 kW, once below that and once above."""
    needs = Needs(evse_id=1, requested="DC", most_w=11_000)
    await csms.services.store.run(transactions.save_needs, STATION, charging.id, needs)
    for minute, watts in enumerate((14_000, 7_000)):
        period = {"startPeriod": 0, "limit": watts}
        schedule = {"id": 1, "chargingRateUnit": "W", "chargingSchedulePeriod": [period]}
        schedule |= {"startSchedule": format_time(begun_ms)}
        request = {"chargingLimit": {"chargingLimitSource": "EMS"}, "chargingSchedule": [schedule], "evseId": 1}
        await charging.station.call("NotifyChargingLimit", request)
        await csms.services.store.run(note_limits, [STATION], {}, begun_ms + minute * 600_000)


@pytest.mark.long
@pytest.mark.requirement("R177")
@pytest.mark.e2e
async def test_a_campaign_runs_pauses_and_halts_and_its_alert_is_acknowledged(tab: Tab, csms: Backend) -> None:
    await employed(tab)
    stations = [await csms.booted(name) for name in (STATION, OTHER)]
    await tab.open("/console/campaigns")
    await tab.page.get_by_role("link", name="What is installed where").first.click()
    await tab.page.get_by_role("link", name="Update these").click()
    await expect(tab.page.get_by_text("For 2 stations")).to_be_visible()
    await tab.check("campaign-new")
    await tab.page.get_by_label("Name").fill("1.4")
    await tab.page.get_by_label("Image its URL").fill("https://files.example/1.4.bin")
    await tab.page.get_by_label("Window").fill("")
    await tab.page.get_by_role("button", name="Begin").click()
    await expect(tab.page.get_by_text("1.4: Running")).to_be_visible()
    tab.page.on("dialog", lambda dialog: dialog.accept())
    for press, state in (("Pause", "Paused"), ("Resume", "Running")):
        await tab.page.get_by_role("button", name=press).click()
        await expect(tab.page.get_by_text(f"1.4: {state}")).to_be_visible()
    await tab.page.get_by_label("Leave out").fill(OTHER)
    await tab.page.get_by_role("button", name="Leave out").click()
    await expect(tab.page.get_by_role("columnheader", name="Excluded")).to_be_visible()
    await tab.page.get_by_role("button", name="Cancel").click()
    await expect(tab.page.get_by_text("1.4: Cancelled")).to_be_visible()
    stations[0].answers["UpdateFirmware"] = {"status": "Rejected"}
    plan = {"image": {"location": "https://files.example/1.5.bin"}, "window": None, "retries": 0}
    plan |= {"cohorts": [1.0], "daily": 1.0, "max_failure_rate": 0.0}
    await send(tab, "POST", "/campaigns", {"name": "1.5", "plan": plan, "station_ids": [STATION]})
    await tab.open("/console/campaigns/2")
    await expect(tab.page.locator("#state")).to_contain_text("Running")
    for _ in range(2):
        await run_periodic(csms.services)
    await expect(tab.page.locator("#state")).to_contain_text("Halted", timeout=WAIT_MS)
    await tab.check("campaign")
    made = make_backend(csms.services)
    await AlertWatch(csms.services, made.alerts).look()
    await tab.page.locator(".rail").get_by_role("link", name="Alerts", exact=True).click()
    alert = tab.page.locator(".alert", has_text="Update 2 has stopped")
    await alert.get_by_role("button", name="Acknowledge").click()
    await tab.page.get_by_label("Note for colleagues").fill("the image is broken")
    await tab.page.get_by_role("button", name="Acknowledge").click()
    await tab.page.get_by_role("link", name="Acknowledged").click()
    await expect(alert).to_contain_text("ada: the image is broken")
    await alert.get_by_role("checkbox").check()
    await tab.page.get_by_role("button", name="Mute …").click()
    await tab.page.get_by_label("Mute for").select_option("1 day")
    await tab.page.get_by_label("Reason").fill("the manufacturer knows")
    await tab.page.get_by_role("button", name="Mute", exact=True).click()
    await expect(tab.page.get_by_role("button", name="End silence")).to_be_visible()
    await tab.page.get_by_role("link", name="Muted").click()
    await expect(alert).to_be_visible()
    await tab.check("alerts-acknowledged")


@pytest.mark.long
@pytest.mark.e2e
async def test_frames_are_followed_and_other_pages_are_accessible(tab: Tab, csms: Backend) -> None:
    await employed(tab)
    station = await csms.booted()
    await tab.open(f"/console/stations/{STATION}")
    await tab.page.get_by_role("link", name="OCPP log").click()
    await expect(tab.page.get_by_role("heading", name=f"OCPP of {STATION}")).to_be_visible()
    frames = tab.page.locator("[data-log] tbody tr")
    async with asyncio.timeout(WAIT_MS / 1000):
        while not await frames.count():
            await station.call("Heartbeat", {})
    await expect(frames.first).to_contain_text("currentTime")
    assert "Heartbeat" in await tab.page.locator("[data-log]").inner_text()
    await tab.check("ocpp-log")
    await tab.open(f"/console/stations/{STATION}")
    await tab.page.get_by_text("Any request of OCPP").click()
    await tab.page.get_by_label("Action").select_option("GetLocalListVersion")
    await tab.check("station-request")
    pressing = asyncio.ensure_future(tab.page.get_by_role("button", name="Send", exact=True).click())
    (await station.expect("GetLocalListVersion")).reply({"versionNumber": 7})
    await pressing
    await expect(tab.page.get_by_text('"versionNumber": 7')).to_be_visible()
    await tab.check("answer")
    for path, name in (
        ("/console/verify", "verify"),
        ("/api-docs", "api-docs"),
        ("/console/api-docs/commands", "api-commands"),
        ("/console/api-docs/commands/command_SetChargingProfile", "api"),
    ):
        await tab.open(path)
        await tab.check(name)


@pytest.mark.long
@pytest.mark.e2e
async def test_a_back_end_that_is_lost_is_said_and_followed_again(tab: Tab, csms: Backend, served: Served) -> None:
    await employed(tab)
    station = await csms.booted()
    await tab.open("/console/sessions")
    lost = tab.page.locator("#lost")
    await expect(tab.page.get_by_text("No session yet.")).to_be_visible()
    await served.stop()
    await expect(lost).to_be_visible(timeout=WAIT_MS)
    await tab.check("lost")
    charging = Charging(csms, station)
    await charging.started()
    await served.start()
    await expect(lost).to_be_hidden(timeout=WAIT_MS)
    await expect(tab.page.locator(f"[data-row='{charging.id}']")).to_be_visible(timeout=WAIT_MS)
    tab.complaints = [each for each in tab.complaints if "net::ERR_" not in each]


@pytest.mark.long
@pytest.mark.e2e
async def test_tariffs_and_quarantine_are_decided_with_the_keyboard_alone(tab: Tab, csms: Backend) -> None:
    await csms.services.store.run(witness, journal(), STATION, SESSION)
    await csms.services[JournalStore].deliver(STATION, delivery(journal(price=999_999)))
    await employed(tab)
    await tab.open("/console/tariffs/new")
    await tab.page.get_by_label("Name such as").fill("summer")
    await tab.page.get_by_role("group", name="Prices").get_by_label("per kWh; empty is free").fill("0.40")
    await tab.page.get_by_role("button", name="Show what it costs").focus()
    await tab.page.keyboard.press("Enter")
    await expect(tab.page.locator("#cost")).to_contain_text("14.28 EUR with tax")
    await tab.check("tariff")
    await tab.page.get_by_role("button", name="Store this tariff").focus()
    await tab.page.keyboard.press("Enter")
    await expect(tab.page.get_by_text("Tariff summer is stored.")).to_be_visible()
    await tab.open("/console/quarantine")
    await tab.check("quarantine-open")
    await tab.page.get_by_role("button", name="Release …").last.focus()
    await tab.page.keyboard.press("Enter")
    await tab.page.get_by_label("Why").fill("confirmed by the driver")
    await tab.check("quarantine-question")
    await tab.page.keyboard.press("Enter")
    await expect(tab.page.get_by_text("1 sessions are decided.")).to_be_visible()
    await tab.page.keyboard.press("Tab")
    skip = await tab.page.evaluate("document.activeElement.className")
    assert "skip" in skip.split(), "the first stop of the keyboard leads to the content"
    assert Role.ADMIN.value in await tab.page.locator(".who").inner_text()


@pytest.mark.long
@pytest.mark.e2e
async def test_a_receipt_is_shown_and_copy_and_bundle_are_verified(tab: Tab, csms: Backend, pki: PkiTree) -> None:
    await csms.services.store.run(witness, journal(), STATION, SESSION)
    await csms.services[JournalStore].deliver(STATION, delivery(journal()))
    await employed(tab)
    session = f"/console/sessions/{STATION}/tx-{SESSION}"
    await tab.open(session)
    await tab.page.get_by_role("link", name="Receipt", exact=True).click()
    await expect(tab.page.locator("body")).to_contain_text("DEV2GC00000001")
    await tab.open(session)
    await tab.page.get_by_role("link", name="Verify the copy").click()
    await expect(tab.page.get_by_text("stored settlement follows from the copy")).to_be_visible()
    await tab.check("verify-copy")
    files = run_whole_session(Session(pki, csms.clock.utc_ms() // 900_000 * 900_000 - 1_800_000)).bundle()
    for change, verdict in ((b"", "verified"), (b" ", "not verified")):
        await tab.open("/console/verify")
        sent: list[FilePayload] = [
            {"name": name, "mimeType": "application/octet-stream", "buffer": data + change * (name == "journal.jsonl")}
            for name, data in files.items()
        ]
        await tab.page.locator("input[type=file]").set_input_files(sent)
        await tab.page.get_by_role("button", name="Verify").click()
        await expect(tab.page.get_by_role("heading", name=verdict, exact=True)).to_be_visible()
    await tab.check("verify-bundle")


@pytest.mark.long
@pytest.mark.requirement("R177", "R178")
@pytest.mark.e2e
async def test_vehicles_move_on_the_map_and_other_pages_of_a_fleet_are_accessible(tab: Tab, csms: Backend) -> None:
    place = {"station_id": STATION, "evse_id": 1, "node": "main", "most_ma": 32_000}
    site = {"id": "depot", "nodes": [{"id": "main", "limits": [63_000] * 3}], "places": [place]}
    plan = {"image": {"location": "https://files.example/1.4.bin"}}
    await send(tab, "PUT", "/sites/depot", {**site, "latitude": 48.1, "longitude": 11.5})
    await send(tab, "POST", "/campaigns", {"name": "1.4", "plan": plan, "station_ids": [STATION]})
    await deliver(tab, csms, 1, 48.0)
    for days_ago, percent in ((20, 93.5), (9, 92.8), (1, 92.5)):
        await estimate(csms, "EV-1", days_ago, percent, percent - 1.5)
    await employed(tab)
    await tab.open("/console/map")
    await expect(tab.page.get_by_text("1 vehicle, 1 site")).to_be_visible()
    installed = {"hardware": "csms-amd64", "version": "csms-2.img", "number": 2, "failed": 3}
    await csms.services.store.run(nodes.settled, "north", installed, csms.clock.utc_ms())
    canvas = tab.page.locator("canvas.map")
    before = await canvas.screenshot()
    csms.clock.advance(1)
    await deliver(tab, csms, 2, 48.05)
    await expect(canvas).to_have_attribute("data-drawn", str(csms.clock.utc_ms()))
    assert await canvas.screenshot() != before
    await canvas.focus()
    await tab.page.keyboard.press("+")
    await tab.check("map")
    for path in (
        "sites",
        "vehicles",
        "campaigns",
        "sites/depot",
        "vehicles/EV-1",
        "batteries",
        "campaigns/1",
        "inventory",
    ):
        await tab.open(f"/console/{path}")
        await expect(tab.page.get_by_role("heading", level=1)).to_be_visible()
        if path in ("vehicles/EV-1", "batteries"):
            await expect(tab.page.locator("figure.chart canvas")).to_be_visible()
        await tab.check(path.replace("/", "-"))


async def send(tab: Tab, method: str, path: str, body: object) -> None:
    """Ask the API as its administrator."""
    headers = {"Authorization": f"Bearer {TOKENS[Role.ADMIN]}"}
    answer = await tab.page.request.fetch(f"{tab.url}{path}", method=method, headers=headers, data=json.dumps(body))
    assert answer.ok, await answer.text()


async def deliver(tab: Tab, csms: Backend, seq: int, latitude: float) -> None:
    """Deliver a record with a vehicle's position."""
    signals = {"location.latitude": latitude, "location.longitude": 11.55, "battery.soc": 80.0}
    record = Record("EV-1", 1, seq, csms.clock.utc_ms(), "city", seq == 1, signals)
    await send(tab, "POST", "/telemetry", [json.loads(encode_record(record))])


@pytest.mark.long
@pytest.mark.e2e
async def test_a_passkey_of_the_browser_replaces_the_password(
    trusting: Browser, csms: Backend, served: Served, url: str
) -> None:
    await served.stop()
    await served.start()
    await csms.services.store.run(users.add_first, "ada", hash_password("first password"), csms.clock.utc_ms())
    context = await trusting.new_context(ignore_https_errors=True)
    tab = Tab(await context.new_page(), url.replace("127.0.0.1", "localhost"))
    devtools = await context.new_cdp_session(tab.page)
    await devtools.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    await devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    await tab.open("/")
    await employed(tab)
    await tab.open("/console/account")
    form = tab.page.locator("form[action$='/account/passkeys']")
    await form.get_by_label("Name of the passkey").fill("laptop")
    await form.get_by_label("Password").fill(PASSWORD)
    await form.get_by_role("button", name="Add a passkey").click()
    await expect(tab.page.get_by_text("From now on you can log in by this passkey.")).to_be_visible()
    await tab.check("passkeys")
    form = tab.page.locator("form[action$='/account/password']")
    await form.get_by_label("Present password").fill(PASSWORD)
    await form.get_by_label("New password", exact=False).nth(0).fill(f"{PASSWORD} north")
    await form.get_by_label("New password again").fill(f"{PASSWORD} north")
    await form.get_by_role("button", name="Sign with a passkey").click()
    await expect(form.get_by_role("button", name="A passkey has signed.")).to_be_visible()
    await form.get_by_role("button", name="Change").click()
    await expect(tab.page.get_by_text("Your password has changed.")).to_be_visible()
    await tab.page.get_by_role("button", name="Log out").click()
    await tab.page.get_by_role("button", name="Log in with a passkey").click()
    await expect(tab.page.get_by_role("heading", name="Today")).to_be_visible()
    assert tab.complaints == []
    await context.close()
