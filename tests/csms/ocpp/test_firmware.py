"""Functional block L, firmware, beyond the cases of the test lab."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from csms.config import StationEntry
from csms.firmware import campaigns
from csms.firmware import store as rows
from csms.firmware import work as firmware
from csms.firmware.rules import CampaignPlan, Image
from csms.grid.config import PriceFeed
from csms.grid.rules import SourceSignal
from csms.grid.source import GridSource
from csms.reservations import work as reservations
from csms.sites import store as site_store
from csms.sites.rules import Site
from csms.stations.last_seen import LastSeen
from tests.csms.backend import BOOT, Backend
from tests.csms.customers import Start, accepted, connector_is, make_certificate, request_of
from tests.csms.scripted_station import Payload, Refused, ScriptedStation
from tests.csms.support import run_periodic
from v2g.errors import ConfigError, OcppError, RefusedError
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.times import format_time

IMAGE = Image(
    location="https://firmware.example/1.2.3.bin",
    signing_certificate=make_certificate(),
    signature="c2lnbmF0dXJl",
)
CHECKSUM = "d41d8cd98f00b204e9800998ecf8427e"


async def update(csms: Backend, station: ScriptedStation, status: str = "Accepted", **when: Any) -> int:
    """Have the back end ask for an update; return its request's number."""
    station.answers["UpdateFirmware"] = {"status": status}
    asked = await firmware.update(csms.services, station.id, IMAGE, **when)
    sent = station.payloads("UpdateFirmware")[-1]
    assert sent["requestId"] == asked.request_id
    assert sent["firmware"]["location"] == IMAGE.location
    assert sent["firmware"]["signingCertificate"] == IMAGE.signing_certificate  # L01.FR.11
    assert sent["firmware"]["signature"] == "c2lnbmF0dXJl"
    return asked.request_id


async def reported(station: ScriptedStation, number: int, *statuses: str) -> None:
    """Let the station tell how far it is."""
    for status in statuses:
        assert await station.call("FirmwareStatusNotification", {"status": status, "requestId": number}) == {}


async def rebooted(csms: Backend, station: ScriptedStation) -> None:
    """Let the station come back with its new firmware."""
    boot: Payload = {**BOOT, "reason": "FirmwareUpdate"}
    assert (await station.call("BootNotification", boot))["status"] == "Accepted"
    await connector_is(csms, station, "Available")


async def ended(csms: Backend, number: int, progress: str) -> None:
    """The request is over, with that progress."""
    found = await request_of(csms, number)
    assert found["progress"] == progress
    assert found["done_ms"] is not None


BEFORE_REBOOT = ("Downloading", "Downloaded", "SignatureVerified", "Installing", "InstallRebooting")


@pytest.mark.requirement("R141")
async def test_an_update_ends_after_the_boot(csms: Backend) -> None:
    station = await csms.booted()
    number = await update(csms, station)
    await reported(station, number, *BEFORE_REBOOT)
    assert (await request_of(csms, number))["done_ms"] is None
    await rebooted(csms, station)
    await reported(station, number, "Installed")
    await ended(csms, number, "Installed")


async def published(csms: Backend, *statuses: str) -> int:
    """Have a local controller publish an image, and tell how that goes; return the request's number."""
    station = await csms.booted()
    station.answers["PublishFirmware"] = accepted
    asked = await firmware.publish(csms.services, station.id, IMAGE.location, CHECKSUM)
    sent = {"location": IMAGE.location, "checksum": CHECKSUM, "requestId": asked.request_id}
    assert station.payloads("PublishFirmware") == [sent]
    for status in statuses:
        about: Payload = {"status": status, "requestId": asked.request_id}
        if status == "Published":
            about["location"] = ["http://controller.local/1.2.3.bin"]
        assert await station.call("PublishFirmwareStatusNotification", about) == {}
    return asked.request_id


async def test_published_firmware_is_told_with_its_address(csms: Backend) -> None:
    number = await published(csms, "Downloading", "Downloaded", "ChecksumVerified", "Published")
    await ended(csms, number, "Published")
    event = csms.events.named("publish_firmware_status")[-1]
    assert event.data["location"] == "http://controller.local/1.2.3.bin"


# -- campaigns

PLAN = CampaignPlan(
    image=IMAGE, cohorts=(0.34, 1.0), retries=0, daily=1.0, window=None, watch_s=0, max_failure_rate=0.1
)
STATIONS = tuple(StationEntry(id=f"CS-V2G-000{number}") for number in range(1, 4))


async def fleet(csms: Backend) -> dict[str, ScriptedStation]:
    """Return three stations that accept updates."""
    found = {entry.id: await csms.booted(entry.id) for entry in STATIONS}
    for station in found.values():
        station.answers["UpdateFirmware"] = accepted
    return found


def updating(stations: dict[str, ScriptedStation]) -> dict[str, int]:
    """Return who was asked last, under which number."""
    return {
        name: station.payloads("UpdateFirmware")[-1]["requestId"]
        for name, station in stations.items()
        if station.payloads("UpdateFirmware")
    }


async def test_a_campaign_goes_from_cohort_to_cohort(backend: Start) -> None:
    async with backend(stations=STATIONS) as csms:
        stations = await fleet(csms)
        campaign = await campaigns.create(csms.services, "1.2.3", PLAN, stations)
        await run_periodic(csms.services)
        (first,) = updating(stations).items()
        await run_periodic(csms.services)
        assert len(updating(stations)) == 1
        await reported(stations[first[0]], first[1], *BEFORE_REBOOT, "Installed")
        await run_periodic(csms.services)
        for name, number in updating(stations).items():
            if name != first[0]:
                await reported(stations[name], number, "Downloading", "Installed")
        await run_periodic(csms.services)
        found = await csms.services.store.run(rows.find, campaign.campaign_id)
        assert found is not None
        assert (found.state, found.reason) == ("Finished", "3 of 3 stations installed it")
        assert all(len(station.payloads("UpdateFirmware")) == 1 for station in stations.values())


async def test_a_campaign_halts_by_itself_and_goes_on_when_asked(backend: Start) -> None:
    async with backend(stations=STATIONS) as csms:
        stations = await fleet(csms)
        campaign = await campaigns.create(csms.services, "1.2.3", PLAN, stations)
        await run_periodic(csms.services)
        ((name, number),) = updating(stations).items()
        await reported(stations[name], number, "Downloading", "InstallationFailed")
        await run_periodic(csms.services)
        await run_periodic(csms.services)
        assert csms.events.named("campaign")[-1].data["reason"] == "1 of 1 stations failed (InstallationFailed 1)"
        assert len(updating(stations)) == 1
        with pytest.raises(RefusedError):
            await campaigns.resume(csms.services, campaign.campaign_id + 1)
        await campaigns.resume(csms.services, campaign.campaign_id)
        await run_periodic(csms.services)
        assert len(stations[name].payloads("UpdateFirmware")) == 2
        await campaigns.cancel(csms.services, campaign.campaign_id)
        await run_periodic(csms.services)
        assert len(updating(stations)) == 1
        with pytest.raises(RefusedError):
            await campaigns.cancel(csms.services, campaign.campaign_id)


async def test_a_notification_that_comes_before_the_answer_counts(backend: Start) -> None:
    async with backend(stations=STATIONS) as csms:
        station = await csms.booted()
        plan = replace(PLAN, cohorts=(1.0,))
        campaign = await campaigns.create(csms.services, "1.2.3", plan, [station.id])
        going = asyncio.create_task(run_periodic(csms.services))
        request = await station.expect("UpdateFirmware")
        await reported(station, request.payload["requestId"], "Downloading", "Installed")
        request.reply(accepted)
        await going
        (member,) = await csms.services.store.run(rows.members, campaign.campaign_id)
        assert (member.state, member.status) == ("Installed", "Installed")


async def test_rounds_that_are_made_at_once_ask_each_station_once(backend: Start) -> None:
    """Several nodes on one database."""
    async with backend(stations=STATIONS) as csms:
        stations = await fleet(csms)
        plan = replace(PLAN, cohorts=(1.0,))
        await campaigns.create(csms.services, "1.2.3", plan, stations)
        await asyncio.gather(*(run_periodic(csms.services) for _ in range(3)))
        assert [len(each.payloads("UpdateFirmware")) for each in stations.values()] == [1, 1, 1]


async def test_a_station_that_is_away_or_cannot_read_the_request(backend: Start) -> None:
    async with backend(stations=STATIONS) as csms:
        station = await csms.booted()
        station.answers["UpdateFirmware"] = Refused("NotSupported")
        plan = replace(PLAN, cohorts=(1.0,), max_failure_rate=1.0)
        campaign = await campaigns.create(csms.services, "1.2.3", plan, [station.id, "CS-V2G-0002"])
        await run_periodic(csms.services)
        members = await csms.services.store.run(rows.members, campaign.campaign_id)
        assert {each.station_id: each.state for each in members} == {station.id: "Failed", "CS-V2G-0002": "Waiting"}


async def test_a_station_that_says_nothing_has_failed_after_a_while(backend: Start) -> None:
    async with backend(stations=STATIONS) as csms:
        stations = await fleet(csms)
        campaign = await campaigns.create(csms.services, "1.2.3", PLAN, stations)
        await run_periodic(csms.services)
        csms.clock.advance(PLAN.patience_s - 1)
        await run_periodic(csms.services)
        assert csms.events.named("campaign")[-1].data["state"] == "Running"
        csms.clock.advance(1)
        await run_periodic(csms.services)
        members = await csms.services.store.run(rows.members, campaign.campaign_id)
        assert [each.status for each in members if each.state == "Failed"] == ["Silent"]
        assert csms.events.named("campaign")[-1].data["state"] == "Halted"


# -- watched, taken back, held (R136 to R138)

OLD = replace(IMAGE, location="https://firmware.example/1.2.2.bin")
NIGHT = datetime(2026, 12, 1, 23, tzinfo=UTC)
FLEET = tuple(StationEntry(id=f"CS-V2G-{number:04}") for number in range(1, 11))


async def states(csms: Backend, campaign: rows.Campaign) -> dict[str, str]:
    """Return the state of each member, and the campaign's under an empty name."""
    found = await csms.services.store.run(rows.find, campaign.campaign_id)
    assert found is not None
    members = await csms.services.store.run(rows.members, campaign.campaign_id)
    return {"": found.state} | {each.station_id: each.state for each in members}


async def install(stations: dict[str, ScriptedStation], done: set[int]) -> list[str]:
    """Let each station that was asked anew install what it was asked to; return their names."""
    names = []
    for name, station in stations.items():
        for request in station.payloads("UpdateFirmware"):
            if request["requestId"] not in done:
                done.add(request["requestId"])
                await reported(station, request["requestId"], *BEFORE_REBOOT, "Installed")
                names.append(name)
    return names


@pytest.mark.requirement("R137")
async def test_a_release_that_crashes_halts_a_fleet_of_ten_and_goes_back(backend: Start) -> None:
    async with backend(stations=FLEET) as csms:
        stations = {entry.id: await csms.booted(entry.id) for entry in FLEET}
        for station in stations.values():
            station.answers["UpdateFirmware"] = accepted
        plan = CampaignPlan(image=IMAGE, rollback=OLD, cohorts=(0.1, 0.3, 1.0), daily=1.0, window=None)
        campaign = await campaigns.create(csms.services, "bad", plan, stations)
        done: set[int] = set()
        updated: list[str] = []
        while (await states(csms, campaign))[""] == "Running":
            await run_periodic(csms.services)
            for name in await install(stations, done):
                if stations[name].payloads("UpdateFirmware")[-1]["firmware"]["location"] == OLD.location:
                    continue
                updated.append(name)
                csms.clock.advance(60)
                boot: Payload = {**BOOT, "reason": "Watchdog"}
                assert (await stations[name].call("BootNotification", boot))["status"] == "Accepted"
            await run_periodic(csms.services)
        assert (await states(csms, campaign))[""] == "RollingBack"
        assert len(updated) == 3, "one, then two: the others keep the old firmware"
        await run_periodic(csms.services)
        for name in updated:
            assert stations[name].payloads("UpdateFirmware")[-1]["firmware"]["location"] == OLD.location
        assert sorted(await install(stations, done)) == sorted(updated[1:]), "the first one is back already"
        await run_periodic(csms.services)
        found = await states(csms, campaign)
        assert found.pop("") == "Halted"
        assert {found.pop(name) for name in updated} == {"Reverted"}
        assert set(found.values()) == {"Waiting"}
        reason = csms.events.named("campaign")[-1].data["reason"]
        assert reason == "3 of 3 stations failed (Crashed 3); 3 of 3 stations went back"
        members = await csms.services.store.run(rows.members, campaign.campaign_id)
        assert {each.trouble for each in members if each.state == "Reverted"} == {"Crashed"}


@pytest.mark.requirement("R137")
@pytest.mark.parametrize("installed_first", [True, False])
async def test_a_station_of_1_6_restarts_before_or_after_it_reports_the_installation(
    backend: Start, *, installed_first: bool
) -> None:
    """Neither number nor reason is in what the bridge makes of its messages: the connection is another one then."""
    boot: Payload = {**BOOT, "reason": "Unknown"}
    async with backend(stations=STATIONS) as csms:
        name = STATIONS[0].id
        station = await csms.join(name)
        await station.call("BootNotification", boot)
        station.answers["UpdateFirmware"] = accepted
        plan = replace(PLAN, watch_s=900)
        campaign = await campaigns.create(csms.services, "1.2.3", plan, [name])
        await run_periodic(csms.services)
        csms.clock.advance(60)
        for status in ("Downloading", "Downloaded", "Installing", *(["Installed"] if installed_first else [])):
            await station.call("FirmwareStatusNotification", {"status": status})
        csms.clock.advance(60)
        await csms.leave(station)
        station = await csms.join(name)
        await station.call("BootNotification", boot)
        for status in ("Idle", *([] if installed_first else ["Installed"])):
            await station.call("FirmwareStatusNotification", {"status": status})
        csms.clock.advance(901)
        await run_periodic(csms.services)
        assert (await states(csms, campaign))[name] == "Installed"
        await csms.leave(station)


@pytest.mark.requirement("R137")
async def test_stations_that_are_offline_are_updated_when_they_come(backend: Start) -> None:
    """One in the first cohort holds up nothing; the campaign finishes without it, and then reaches it."""
    async with backend(stations=STATIONS) as csms:
        stations = await fleet(csms)
        plan = replace(PLAN, watch_s=0, rollback=OLD)
        campaign = await campaigns.create(csms.services, "1.2.3", plan, stations)
        number = campaign.campaign_id
        members = await csms.services.store.run(rows.members, number)
        late = members[0].station_id
        await csms.leave(stations.pop(late))
        done: set[int] = set()
        await run_periodic(csms.services)
        assert await install(stations, done) == [], "it may still connect"
        csms.clock.advance(61)
        for _ in range(4):
            await run_periodic(csms.services)
            await install(stations, done)
        found = await csms.services.store.run(rows.find, number)
        assert found is not None
        assert (found.state, found.reason) == ("Finished", "2 of 3 stations installed it, 1 offline")
        csms.clock.advance(3600)
        stations[late] = await csms.join(late)
        stations[late].answers["UpdateFirmware"] = accepted
        await run_periodic(csms.services)
        assert await install(stations, done) == [late]
        await run_periodic(csms.services)
        found = await csms.services.store.run(rows.find, number)
        assert found is not None
        assert (found.state, found.reason) == ("Finished", "3 of 3 stations installed it")
        assert [each.data["state"] for each in csms.events.named("campaign")] == ["Running", "Finished"]


@pytest.mark.requirement("R137")
async def test_an_installation_by_an_attempt_that_was_given_up_counts_and_is_taken_back(backend: Start) -> None:
    """It takes longer than the campaign waits, and the station rejects to begin again meanwhile."""
    async with backend(stations=STATIONS) as csms:
        station = (await fleet(csms))[STATIONS[0].id]
        plan = replace(PLAN, rollback=OLD, retries=1, cohorts=(1.0,), max_failure_rate=1.0)
        campaign = await campaigns.create(csms.services, "1.2.3", plan, [station.id])
        await run_periodic(csms.services)
        await reported(station, station.payloads("UpdateFirmware")[-1]["requestId"], "Downloading")
        csms.clock.advance(plan.patience_s)
        await run_periodic(csms.services)
        station.answers["UpdateFirmware"] = {"status": "Rejected"}
        csms.clock.advance(plan.retry_after_s)
        await run_periodic(csms.services)
        assert (await states(csms, campaign))[station.id] == "Failed"
        station.answers["UpdateFirmware"] = accepted
        first, _ = station.payloads("UpdateFirmware")
        await reported(station, first["requestId"], "InstallationFailed", "Installed")
        for _ in range(2):
            await run_periodic(csms.services)
        assert station.payloads("UpdateFirmware")[-1]["firmware"]["location"] == OLD.location


@pytest.mark.requirement("R137")
async def test_a_station_that_a_later_campaign_has_updated_gets_no_older_image(backend: Start) -> None:
    """It was offline in the first campaign, and is still expected there."""
    async with backend(stations=STATIONS) as csms:
        stations = await fleet(csms)
        old = await campaigns.create(csms.services, "1.2.2", replace(PLAN, image=OLD), stations)
        late = (await csms.services.store.run(rows.members, old.campaign_id))[0].station_id
        await csms.leave(stations.pop(late))
        done: set[int] = set()
        csms.clock.advance(61)
        for _ in range(4):
            await run_periodic(csms.services)
            await install(stations, done)
        assert (await states(csms, old))[""] == "Finished"
        stations[late] = await csms.join(late)
        stations[late].answers["UpdateFirmware"] = accepted
        new = await campaigns.create(csms.services, "1.2.3", replace(PLAN, cohorts=(1.0,)), [late])
        for _ in range(4):
            await run_periodic(csms.services)
            await install(stations, done)
        (asked,) = stations[late].payloads("UpdateFirmware")
        assert asked["firmware"]["location"] == IMAGE.location
        assert (await states(csms, new))[late] == "Installed"
        assert (await states(csms, old))[late] == "Excluded"


@pytest.mark.requirement("R137")
async def test_a_dead_station_is_taken_back_when_it_comes_or_listed(backend: Start) -> None:
    async with backend(stations=STATIONS) as csms:
        stations = await fleet(csms)
        plan = replace(PLAN, rollback=OLD, cohorts=(1.0,), max_failure_rate=1.0)
        campaign = await campaigns.create(csms.services, "1.2.3", plan, stations)
        done = set[int]()
        await run_periodic(csms.services)
        assert len(await install(stations, done)) == 3
        dead, gone, well = stations
        for name in (dead, gone):
            await csms.leave(stations.pop(name))
        await campaigns.roll_back(csms.services, campaign.campaign_id)
        csms.clock.advance(61)
        for _ in range(3):
            await run_periodic(csms.services)
            await install(stations, done)
        assert await states(csms, campaign) == {"": "Halted", dead: "Waiting", gone: "Waiting", well: "Reverted"}
        stations[dead] = await csms.join(dead)
        stations[dead].answers["UpdateFirmware"] = accepted
        await run_periodic(csms.services)
        assert await install(stations, done) == [dead]
        csms.clock.advance(plan.absent_s)
        await run_periodic(csms.services)
        assert await states(csms, campaign) == {"": "Halted", dead: "Reverted", gone: "Failed", well: "Reverted"}
        found = await csms.services.store.run(rows.find, campaign.campaign_id)
        assert found is not None
        assert found.reason == "by an operator; 2 of 3 stations went back"


@pytest.mark.requirement("R137")
async def test_silence_counts_from_when_the_back_end_was_there(backend: Start) -> None:
    async with backend(stations=STATIONS) as csms:
        stations = await fleet(csms)
        plan = replace(PLAN, cohorts=(1.0,), watch_s=900, max_failure_rate=1.0)
        campaign = await campaigns.create(csms.services, "1.2.3", plan, stations)
        await run_periodic(csms.services)
        await install(stations, set())
        silent, returning, well = stations
        await csms.leave(stations[silent])
        await csms.leave(stations[returning])
        csms.clock.advance(900 - 1)
        await run_periodic(csms.services)
        assert set((await states(csms, campaign)).values()) == {"Running", "Watched"}
        csms.services[LastSeen].since_ms = csms.clock.utc_ms()  # as after a restart of all nodes
        csms.clock.advance(2)
        await run_periodic(csms.services)
        found = await states(csms, campaign)
        assert (found[silent], found[returning], found[well]) == ("Watched", "Watched", "Installed")
        await csms.join(returning)
        csms.clock.advance(900)
        await run_periodic(csms.services)
        found = await states(csms, campaign)
        assert (found[silent], found[returning]) == ("Failed", "Installed")


@pytest.mark.requirement("R137")
@pytest.mark.parametrize(
    ("reasons", "state"),
    [
        (["Other"], "Failed"),
        (["EVDisconnected"], "Watched"),
        (["Other", "Local"], "Watched"),
        (["PowerLoss"], "Watched"),
        (["Other", ""], "Failed"),
    ],
)
async def test_failed_sessions_after_an_update_count(backend: Start, reasons: list[str], state: str) -> None:
    async with backend(stations=STATIONS) as csms:
        stations = await fleet(csms)
        name = STATIONS[0].id
        plan = replace(PLAN, cohorts=(1.0,), watch_s=900, max_failure_rate=1.0)
        campaign = await campaigns.create(csms.services, "1.2.3", plan, [name])
        await run_periodic(csms.services)
        await install(stations, set())
        csms.clock.advance(60)
        for number, reason in enumerate(reasons):
            await session(csms, stations[name], f"tx-{number}", reason)
        await run_periodic(csms.services)
        assert (await states(csms, campaign))[name] == state


async def session(csms: Backend, station: ScriptedStation, transaction: str, reason: str = "") -> None:
    """Start a transaction; with a reason, end it, too."""
    event: Payload = {
        "timestamp": datetime.fromtimestamp(csms.clock.utc_ms() / 1000, UTC).isoformat().replace("+00:00", "Z"),
        "transactionInfo": {"transactionId": transaction},
        "evse": {"id": 1},
    }
    await station.call(
        "TransactionEvent", {**event, "eventType": "Started", "triggerReason": "CablePluggedIn", "seqNo": 0}
    )
    if reason:
        event["transactionInfo"] = {"transactionId": transaction, "stoppedReason": reason}
        ended = {**event, "eventType": "Ended", "triggerReason": "AbnormalCondition", "seqNo": 1}
        await station.call("TransactionEvent", ended)


@pytest.mark.requirement("R138")
async def test_a_campaign_waits_for_the_night_of_the_site_and_for_sessions(backend: Start) -> None:
    async with backend(stations=STATIONS) as csms:
        csms.clock.now_ms = round(NIGHT.replace(hour=20, minute=59).timestamp() * 1000)
        stations = await fleet(csms)
        busy, reserved, free = stations
        site = msgspec.convert(
            {
                "id": "depot",
                "nodes": [{"id": "grid", "limits": [100_000] * 3}],
                "places": [{"station_id": each, "evse_id": 1, "node": "grid", "most_ma": 32_000} for each in stations],
                "zone": "Europe/Berlin",
            },
            Site,
        )
        await csms.services.store.run(site_store.save_site, site, csms.clock.utc_ms())
        await session(csms, stations[busy], "tx")
        stations[reserved].answers["ReserveNow"] = accepted
        token = IdToken(id_token="04A1", type="ISO14443")
        expires_ms = csms.clock.utc_ms() + 3_600_000
        await reservations.reserve(csms.services, reserved, token, expires_ms=expires_ms, evse_id=1)
        plan = CampaignPlan(image=IMAGE, cohorts=(1.0,), daily=1.0)
        campaign = await campaigns.create(csms.services, "1.2.3", plan, stations)
        await run_periodic(csms.services)
        assert updating(stations) == {}, "21:59 in Berlin"
        csms.clock.advance(60)
        await run_periodic(csms.services)
        assert set(updating(stations)) == {free}
        await campaigns.force(csms.services, campaign.campaign_id, [busy])
        await run_periodic(csms.services)
        assert set(updating(stations)) == {free, busy}
        sent = stations[busy].payloads("UpdateFirmware")[0]["firmware"]
        assert sent["installDateTime"] == sent["retrieveDateTime"], "now, whatever the charger's own window is"
        csms.clock.advance(3600)
        await run_periodic(csms.services)
        assert set(updating(stations)) == set(stations)


@pytest.mark.requirement("R138")
async def test_an_emergency_of_the_grid_postpones_a_campaign(backend: Start, tmp_path: Path) -> None:
    feed = PriceFeed(name="day", format="energy-charts", file=tmp_path / "none.json")
    grid = {"prices": (feed,), "currency": "EUR", "import_limit_w": 50_000, "export_limit_w": 9_000}
    async with backend(stations=STATIONS, grid=grid) as csms:
        stations = await fleet(csms)
        campaign = await campaigns.create(csms.services, "1.2.3", replace(PLAN, rollback=OLD), stations)
        until_ms = csms.clock.utc_ms() + 60_000
        await csms.services[GridSource].state(SourceSignal(source="prices:day", emergency_until_ms=until_ms))
        await run_periodic(csms.services)
        assert updating(stations) == {}
        csms.clock.advance(60)
        await run_periodic(csms.services)
        ((first, _),) = updating(stations).items()
        await install(stations, set())
        until_ms = csms.clock.utc_ms() + 60_000
        await csms.services[GridSource].state(SourceSignal(source="prices:day", emergency_until_ms=until_ms))
        await campaigns.roll_back(csms.services, campaign.campaign_id)
        await run_periodic(csms.services)
        assert len(stations[first].payloads("UpdateFirmware")) == 1, "nor does it go back"
        csms.clock.advance(60)
        await run_periodic(csms.services)
        assert len(stations[first].payloads("UpdateFirmware")) == 2


@pytest.mark.requirement("R138")
async def test_an_emergency_of_the_grid_postpones_what_is_scheduled(backend: Start, tmp_path: Path) -> None:
    """It is asked again once for each end of the emergency, to install in its window after that; another node that has
    seen the same does not ask."""
    feed = PriceFeed(name="day", format="energy-charts", file=tmp_path / "none.json")
    grid = {"prices": (feed,), "currency": "EUR", "import_limit_w": 50_000, "export_limit_w": 9_000}
    async with backend(stations=STATIONS, grid=grid) as csms:
        csms.clock.now_ms = round(NIGHT.replace(hour=22, minute=30).timestamp() * 1000)
        stations = await fleet(csms)
        name, now = STATIONS[0].id, STATIONS[1].id
        plan = replace(PLAN, window="22:00-06:00", cohorts=(1.0,), daily=1.0)
        number = (await campaigns.create(csms.services, "1.2.3", plan, [name, now])).campaign_id
        await run_periodic(csms.services)
        for each in (name, now):
            await reported(stations[each], updating(stations)[each], "Downloaded", "InstallScheduled")
        await campaigns.force(csms.services, number, [now])
        await run_periodic(csms.services)
        await reported(stations[now], stations[now].payloads("UpdateFirmware")[-1]["requestId"], "InstallScheduled")
        ends = [csms.clock.utc_ms() + hours * 3_600_000 for hours in (2, 2, 9)]
        for until_ms in ends:
            await csms.services[GridSource].state(SourceSignal(source="prices:day", emergency_until_ms=until_ms))
            await run_periodic(csms.services)
            await run_periodic(csms.services)
            asked = stations[name].payloads("UpdateFirmware")[-1]["requestId"]
            await reported(stations[name], asked, "Downloaded", "InstallScheduled")
        sent = [each["firmware"].get("installDateTime") for each in stations[name].payloads("UpdateFirmware")]
        evening = NIGHT.replace(hour=22, minute=0) + timedelta(days=1)
        assert sent == [None, format_time(ends[0]), format_time(round(evening.timestamp() * 1000))]
        assert len(stations[now].payloads("UpdateFirmware")) == 2, "what an operator wants now is not postponed"
        await reported(stations[name], asked, "Installing", "Installed")
        (member,) = [each for each in await csms.services.store.run(rows.members, number) if each.station_id == name]
        assert (member.installed_ms > 0, member.attempts) == (True, 1)


@pytest.mark.requirement("R136")
async def test_a_station_that_another_campaign_updates_waits(backend: Start) -> None:
    async with backend(stations=STATIONS) as csms:
        stations = await fleet(csms)
        name = STATIONS[0].id
        for version in ("1.2.3", "1.2.4"):
            await campaigns.create(csms.services, version, PLAN, [name])
            await run_periodic(csms.services)
        assert len(stations[name].payloads("UpdateFirmware")) == 1
        await install(stations, set())
        await run_periodic(csms.services)
        assert len(stations[name].payloads("UpdateFirmware")) == 2


async def test_a_campaign_that_turns_back_begins_nothing_more(backend: Start) -> None:
    """Another node has decided that between this one's decision and its request."""
    async with backend(stations=STATIONS) as csms:
        stations = await fleet(csms)
        plan = replace(PLAN, cohorts=(1.0,), rollback=OLD)
        campaign = await campaigns.create(csms.services, "1.2.3", plan, stations)
        await asyncio.gather(campaigns.roll_back(csms.services, campaign.campaign_id), run_periodic(csms.services))
        await run_periodic(csms.services)
        found = await states(csms, campaign)
        assert found.pop("") == "Halted"
        assert set(found.values()) == {"Waiting"}
        assert updating(stations) == {}


@pytest.mark.requirement("R138")
async def test_a_station_that_has_scheduled_its_installation_is_forced(backend: Start) -> None:
    async with backend(stations=STATIONS) as csms:
        stations = await fleet(csms)
        name = STATIONS[0].id
        number = (await campaigns.create(csms.services, "1.2.3", PLAN, [name])).campaign_id
        await run_periodic(csms.services)
        asked = updating(stations)[name]
        with pytest.raises(RefusedError):
            await campaigns.force(csms.services, number, [name])
        await reported(stations[name], asked, "Downloading", "Downloaded", "InstallScheduled")
        with pytest.raises(RefusedError):
            await campaigns.exclude(csms.services, number, [name])
        await campaigns.force(csms.services, number, [name])
        await run_periodic(csms.services)
        sent = stations[name].payloads("UpdateFirmware")
        assert ["installDateTime" in each["firmware"] for each in sent] == [False, True]
        await install(stations, {asked})
        (member,) = await csms.services.store.run(rows.members, number)
        assert (member.state, member.attempts) == ("Installed", 1)


async def test_a_campaign_is_resumed_once(backend: Start) -> None:
    async with backend(stations=STATIONS) as csms:
        stations = await fleet(csms)
        campaign = await campaigns.create(csms.services, "1.2.3", PLAN, stations)
        await campaigns.pause(csms.services, campaign.campaign_id)
        resumed = await asyncio.gather(
            *(campaigns.resume(csms.services, campaign.campaign_id) for _ in range(3)), return_exceptions=True
        )
        assert [each for each in resumed if not isinstance(each, RefusedError)] == [None]
        assert [each.data["state"] for each in csms.events.named("campaign")].count("Running") == 2


async def test_an_operator_pauses_excludes_and_takes_back(backend: Start) -> None:
    async with backend(stations=STATIONS) as csms:
        stations = await fleet(csms)
        plan = replace(PLAN, rollback=OLD)
        number = (campaign := await campaigns.create(csms.services, "1.2.3", plan, stations)).campaign_id
        await campaigns.pause(csms.services, number)
        await run_periodic(csms.services)
        assert updating(stations) == {}
        with pytest.raises(RefusedError):
            await campaigns.pause(csms.services, number)
        await campaigns.resume(csms.services, number)
        await run_periodic(csms.services)
        ((first, _),) = updating(stations).items()
        await install(stations, done := set[int]())
        other = next(name for name in stations if name != first)
        await campaigns.exclude(csms.services, number, [other])
        for names in ([first], ["CS-V2G-0009"], [other]):
            with pytest.raises(RefusedError):
                await campaigns.exclude(csms.services, number, names)
        await campaigns.roll_back(csms.services, number)
        await run_periodic(csms.services)
        await run_periodic(csms.services)
        assert await install(stations, done) == [first]
        await run_periodic(csms.services)
        found = await states(csms, campaign)
        assert (found[""], found[first], found[other]) == ("Halted", "Reverted", "Excluded")
        await campaigns.resume(csms.services, number)
        assert (await states(csms, campaign))[first] == "Waiting"
        await campaigns.cancel(csms.services, number)
        for change in (campaigns.resume, campaigns.cancel, campaigns.pause, campaigns.roll_back):
            with pytest.raises(RefusedError):
                await change(csms.services, number)
        with pytest.raises(RefusedError):
            await campaigns.force(csms.services, number, [first])
        bare = await campaigns.create(csms.services, "no way back", PLAN, stations)
        with pytest.raises(RefusedError):
            await campaigns.roll_back(csms.services, bare.campaign_id)


async def test_what_makes_no_campaign(csms: Backend) -> None:
    with pytest.raises(RefusedError):
        await campaigns.create(csms.services, "none", PLAN, [])
    with pytest.raises(ConfigError):
        await campaigns.create(csms.services, "half", CampaignPlan(image=IMAGE, cohorts=(0.5,)), ["CS-V2G-0001"])


async def test_a_request_that_the_station_could_not_read_is_noted(csms: Backend) -> None:
    station = await csms.booted()
    station.answers["UpdateFirmware"] = Refused("NotSupported")
    with pytest.raises(OcppError):
        await firmware.update(csms.services, station.id, IMAGE)
    assert (await request_of(csms, 1))["answer"] == "NotSent"
    await reported(station, 1, "Installed")
    await reported(station, 99, "Installed")
