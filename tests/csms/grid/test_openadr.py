"""The VEN at a VTN: events become limits, prices and set-points at stations; outages, other nodes, foreign clients."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from csms.config import StationEntry
from csms.dispatch.work import Dispatch, in_force
from csms.grid.config import OpenAdr
from csms.grid.openadr import Ven
from csms.grid.source import GridSource
from csms.grid.vtn_client import VtnClient, VtnRefusal
from csms.smart_charging.rules import DISPATCH_PROFILE
from csms.tokens.rules import TokenEntry
from pki_tools.tree import PkiTree
from tests.csms.backend import Backend, running_backend
from tests.csms.charging import VALID, Charging
from tests.csms.grid.site import GridSite
from tests.csms.support import make_config
from tests.waiting import until
from tests.web_server import serving
from v2g.errors import CodecError, TransportError
from v2g.openadr.objects import Interval, ReportRequest, ReportResource, ValuesMap
from v2g.openadr.timing import FOREVER
from v2g_testkit.vtn import Vtn

HOUR_MS = 3_600_000
NOW_MS = 1_795_161_600_000 + 12 * HOUR_MS
ACCEPTED = {"status": "Accepted"}


class Site(GridSite):
    """A VTN, and a back end whose VEN takes its steps when the test says so."""

    def __init__(self, vtn: Vtn, backend: Backend, ven: Ven, client: VtnClient) -> None:
        super().__init__(backend)
        self.vtn, self.ven, self.client = vtn, ven, client
        self.program_id: str = vtn.put("programs", {"programName": "depot"})["id"]

    def event(self, kind: str, *values: Any, start_ms: int = NOW_MS, duration: str = "PT1H", **more: Any) -> str:
        """Publish an event with an interval for each value; return its id."""
        period = {"start": iso(start_ms), "duration": duration}
        intervals = [{"id": n, "payloads": [{"type": kind, "values": [value]}]} for n, value in enumerate(values)]
        event = {"programID": self.program_id, "intervalPeriod": period, "intervals": intervals, **more}
        return str(self.vtn.put("events", event)["id"])

    async def step(self, seconds: float = 0.0) -> int:
        """Let time pass and take a step; return in how many ms the next one is due."""
        self.backend.clock.advance(seconds)
        return await self.ven.step() - self.backend.clock.utc_ms()

    @property
    def config(self) -> OpenAdr:
        """The section `[grid.openadr]`."""
        config = self.backend.services.config.grid.openadr
        assert config is not None
        return config

    @property
    def signal(self) -> Any:
        """The grid signal in force."""
        return self.backend.services[GridSource].current


def iso(utc_ms: int) -> str:
    """Return a time as a VTN writes it."""
    from v2g.ocpp.times import format_time

    return format_time(utc_ms)


Start = Callable[..., contextlib.AbstractAsyncContextManager[Site]]


@pytest.fixture
def site(tmp_path: Path, pki: PkiTree, empty_database: Path) -> Start:
    """Start a VTN and its VEN; keyword arguments change `[grid.openadr]`."""

    @contextlib.asynccontextmanager
    async def begin(**changes: Any) -> AsyncIterator[Site]:
        vtn = Vtn()
        port = await vtn.start(0)
        settings: dict[str, Any] = {
            "url": f"http://127.0.0.1:{port}",
            "client_id": "ven_client",
            "client_secret_file": tmp_path / "secret",
            "ven_name": "VEN-1",
        }
        config = OpenAdr(**(settings | changes))
        whole = make_config(
            tmp_path,
            pki,
            grid={"openadr": config, "currency": "EUR", "import_limit_w": 100_000, "export_limit_w": 40_000},
            stations=(StationEntry(id="CS-V2G-0001"),),
            tokens=(TokenEntry(id_token=VALID["idToken"], type=VALID["type"], energy_transfer=("DC", "DC_BPT")),),
        )
        async with running_backend(whole, empty_database, NOW_MS) as backend:
            client = VtnClient(
                backend.clock,
                url=config.url,
                token_url=config.token_url,
                client_id=config.client_id,
                client_secret="ven_secret",
                scope=config.scope,
                tls=None,
            )
            try:
                yield Site(vtn, backend, Ven(backend.services, config, client), client)
            finally:
                await vtn.close()

    return begin


async def test_without_events_the_sites_own_limits_hold(site: Start) -> None:
    """And no price; export is vouched for as long as the VTN answers."""
    async with site() as one:
        await one.step()
        assert (one.signal.site_import_limit_w, one.signal.export_limit_w) == (100_000, 40_000)
        assert (one.signal.slots, one.signal.currency) == ((), "EUR")
        assert one.signal.valid_until_ms == NOW_MS + 900_000
        assert one.named("openadr_connected") == [{"programs": 1, "events": 0}]


@pytest.mark.requirement("R56")
async def test_limits_begin_and_end_with_their_intervals(site: Start) -> None:
    """An event sets lower limits for an hour; a higher one than the site's own changes nothing."""
    async with site() as one:
        one.event("IMPORT_CAPACITY_LIMIT", 30, 500, start_ms=NOW_MS + 10_000)
        one.event("EXPORT_CAPACITY_LIMIT", 5)
        assert await one.step() == 10_000, "the next change comes before the next poll"
        assert (one.signal.site_import_limit_w, one.signal.export_limit_w) == (100_000, 5_000)
        await one.step(10)
        assert one.signal.site_import_limit_w == 30_000
        await one.step(3600)
        assert (one.signal.site_import_limit_w, one.signal.export_limit_w) == (100_000, 40_000)


async def test_prices_reach_the_signal_and_only_changes_make_a_new_version(site: Start) -> None:
    """What a station has is not sent again; validity is extended in time."""
    async with site() as one:
        event = one.event("PRICE", 0.25, 0.35)
        one.event("EXPORT_PRICE", 0.1)
        await one.step()
        version = one.signal.version
        assert [(slot.import_price, slot.export_compensation) for slot in one.signal.slots] == [
            (250_000, 100_000),
            (350_000, 0),
        ]
        for _ in range(14):
            await one.step(30)
        assert one.signal.version == version
        await one.step(30)
        assert one.signal.version == version + 1, "half of the validity is over"
        one.vtn.put("events", {**one.vtn.objects["events"][event], "priority": 1, "duration": "PT1H"}, event)
        await one.step(30)
        assert len(one.signal.slots) == 1


async def test_prices_in_another_currency_are_not_used(site: Start) -> None:
    """And the operator is notified once."""
    async with site() as one:
        descriptors = [{"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": "PRICE", "currency": "USD"}]
        one.event("PRICE", 0.25, payloadDescriptors=descriptors)
        for _ in range(3):
            await one.step(30)
        assert one.signal.slots == ()
        (problem,) = one.named("openadr_problem")
        assert "USD" in problem["reason"]


async def test_without_the_vtn_events_go_on_and_export_ends(site: Start) -> None:
    """Nobody vouches for export after `outage_s`; an import limit that was announced still begins."""
    async with site() as one:
        one.event("IMPORT_CAPACITY_LIMIT", 30, start_ms=NOW_MS + 60_000)
        await one.step()
        await one.vtn.close()
        await one.step(60)
        assert one.signal.site_import_limit_w == 30_000
        assert one.signal.valid_until_ms == NOW_MS + 900_000
        for _ in range(40):
            await one.step(30)
        assert one.signal.valid_until_ms == NOW_MS + 900_000
        assert len(one.named("openadr_lost")) == 1
        (stated,) = await one.backend.services[GridSource].stated()
        assert stated.problem.startswith("the VTN does not answer")


async def test_a_clock_that_is_set_back_stops_no_poll_and_lengthens_no_export(site: Start) -> None:
    async with site() as one:
        await one.step()
        one.event("IMPORT_CAPACITY_LIMIT", 30, start_ms=NOW_MS - 7_200_000, duration="P1D")
        await one.step(-3600)
        assert one.signal.site_import_limit_w == 30_000
        await one.vtn.close()
        await one.step(-3600)
        assert one.signal.valid_until_ms == NOW_MS - 7_200_000 + 900_000


async def test_known_events_outlive_a_restart_without_the_vtn(site: Start) -> None:
    """They begin and end, and export ends when it would have; not those of a VTN that is no longer configured."""
    async with site() as one:
        one.event("IMPORT_CAPACITY_LIMIT", 30, start_ms=NOW_MS + 60_000)
        await one.step()
        await one.vtn.close()
        other = msgspec.structs.replace(one.config, programs=("another",))
        await Ven(one.backend.services, other, one.client).step()
        one.backend.clock.advance(90)
        await Ven(one.backend.services, other, one.client).step()
        assert one.signal.site_import_limit_w == 100_000
        again = Ven(one.backend.services, one.config, one.client)
        await again.step()
        assert one.signal.site_import_limit_w == 30_000
        assert one.signal.valid_until_ms == NOW_MS + 900_000
        assert len(one.named("openadr_connected")) == 1
        one.backend.clock.advance(3600)
        await again.step()
        assert one.signal.site_import_limit_w == 100_000


async def test_a_token_that_is_no_longer_valid_is_replaced(site: Start) -> None:
    """Also one that has run out; wrong credentials are an error that says so."""
    async with site() as one:
        await one.step()
        one.vtn.forget_tokens()
        await one.step(30)
        assert one.named("openadr_lost") == []
        stranger = VtnClient(
            one.backend.clock,
            url=one.config.url,
            token_url="",
            client_id="ven_client",
            client_secret="guessed",
            scope="",
            tls=None,
        )
        with pytest.raises(TransportError, match="gives no token: HTTP status 401"):
            await stranger.programs(())


async def test_more_events_than_a_page_are_all_read(site: Start) -> None:
    """50 a page."""
    async with site() as one:
        for number in range(120):
            one.event("IMPORT_CAPACITY_LIMIT", 90 - number / 10)
        await one.step()
        assert one.signal.site_import_limit_w == 78_100


async def test_events_for_other_targets_are_not_seen(site: Start) -> None:
    """Targets are asked for."""
    async with site(targets=("depot-1",)) as one:
        one.event("IMPORT_CAPACITY_LIMIT", 10, targets=["depot-2"])
        one.event("IMPORT_CAPACITY_LIMIT", 50, targets=["depot-1", "depot-3"])
        await one.step()
        assert one.signal.site_import_limit_w == 50_000


async def test_programs_that_are_not_named_are_not_followed(site: Start) -> None:
    """By `programs`."""
    async with site(programs=("another",)) as one:
        one.event("IMPORT_CAPACITY_LIMIT", 10)
        await one.step()
        assert one.signal.site_import_limit_w == 100_000


@pytest.mark.parametrize(("status", "until_s"), [(403, 121), (503, 60)])
async def test_what_one_program_cannot_answer_loses_nothing(
    site: Start, monkeypatch: pytest.MonkeyPatch, status: int, until_s: int
) -> None:
    """Of an older one, known events go on; where the VTN may have more of it, export ends after `outage_s`."""
    async with site(outage_s=60) as one:
        older = one.program_id
        one.event("IMPORT_CAPACITY_LIMIT", 50)
        await one.step()
        one.program_id = one.vtn.put("programs", {"programName": "other"})["id"]
        one.event("IMPORT_CAPACITY_LIMIT", 30, duration="PT2M")
        one.vtn.objects["programs"]["strange"] = {"id": "strange", "programName": 5}
        events = one.client.events

        async def refused(program_id: str, targets: tuple[str, ...]) -> Any:
            if program_id == older:
                raise VtnRefusal(f"HTTP status {status}", status)
            return await events(program_id, targets)

        monkeypatch.setattr(one.client, "events", refused)
        await one.step(61)
        assert one.named("openadr_lost") == []
        assert (one.signal.site_import_limit_w, one.signal.valid_until_ms) == (30_000, NOW_MS + until_s * 1000)
        problems = {each["reason"][:15] for each in one.named("openadr_problem")}
        assert problems == {f"HTTP status {status}", "program strange"}
        await one.step(120)
        assert one.signal.site_import_limit_w == 50_000


async def test_an_alert_is_reported_once(site: Start) -> None:
    """With its text, for operators and webhooks."""
    async with site() as one:
        one.event("ALERT_GRID_EMERGENCY", "shed what you can", start_ms=NOW_MS - 1000, duration="P9999Y")
        await one.step()
        await one.step(30)
        (alert,) = one.named("openadr_alert")
        assert (alert["type"], alert["text"], alert["until_ms"]) == (
            "ALERT_GRID_EMERGENCY",
            "shed what you can",
            FOREVER,
        )


async def test_one_node_at_a_time_is_the_ven(site: Start) -> None:
    """Another takes over when it no longer renews its lease."""
    async with site() as one:
        other = Ven(one.backend.services, one.config, one.client)
        await one.step()
        connected = len(one.named("openadr_connected"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(one.backend.services.feed), "node", property(lambda _: "another"))
            await other.step()
            assert len(one.named("openadr_connected")) == connected, "the first one has the lease"
            one.backend.clock.advance(91)
            await other.step()
            assert len(one.named("openadr_connected")) == connected + 1
        await one.step()
        assert one.backend.clock.utc_ms() > NOW_MS


async def vehicle(one: Site) -> Any:
    """Return a station whose vehicle can feed back."""
    station = await one.backend.booted("CS-V2G-0001", version="2.1")
    for action in ("SetChargingProfile", "UpdateDynamicSchedule", "DataTransfer"):
        station.answers[action] = ACCEPTED
    charge = Charging(one.backend, station)
    await charge.authorized()
    await charge.plugged()
    v2x = {"maxChargePower": 11000.0, "maxDischargePower": -8000.0, "evTargetEnergyRequest": 20000.0}
    needs = {"requestedEnergyTransfer": "DC_BPT", "controlMode": "DynamicControl", "v2xChargingParameters": v2x}
    await station.call("NotifyEVChargingNeeds", {"evseId": 1, "chargingNeeds": needs})
    return station


async def test_a_set_point_is_dispatched_kept_up_and_ends_on_time(site: Start) -> None:
    """From the grid to a vehicle: the profile ends with the event's interval."""
    async with site() as one:
        station = await vehicle(one)
        one.event("DISPATCH_SETPOINT", -6, start_ms=one.backend.clock.utc_ms(), duration="PT4M")
        await one.step()
        assert one.named("setpoint_dispatched")[0]["setpoint_w"] == -6000
        (profile,) = profiles(station)
        schedule = profile["chargingSchedule"][0]
        assert schedule["chargingSchedulePeriod"][0]["setpoint"] == -6000.0
        assert schedule["duration"] == 240, "no longer than the event"
        await one.step(150)
        assert profiles(station)[-1]["chargingSchedule"][0]["duration"] == 90, "kept up for what is left"
        await one.step(91)
        assert len(one.named("setpoint_dispatched")) == 1


async def test_a_set_point_whose_event_is_withdrawn_ends_at_once(site: Start) -> None:
    """Unless another set-point has taken its place at the vehicles meanwhile."""
    async with site() as one:
        station = await vehicle(one)
        for replaced in (False, True):
            event = one.event("DISPATCH_SETPOINT", -6, start_ms=one.backend.clock.utc_ms(), duration="PT4M")
            await one.step(60)
            assert profiles(station)[-1]["chargingSchedule"][0]["chargingSchedulePeriod"][0]["setpoint"] == -6000.0
            if replaced:
                await Dispatch(one.backend.services).set_point(2_000)
            del one.vtn.objects["events"][event]
            await one.step(60)
            last = profiles(station)[-1]["chargingSchedule"][0]
            assert last["duration"] == (300 if replaced else 1)
            await one.step(60)
            assert profiles(station)[-1]["chargingSchedule"][0] == last


@pytest.mark.parametrize("back", [True, False])
async def test_a_set_point_whose_event_is_withdrawn_during_a_restart_ends_with_its_stations_return(
    site: Start, *, back: bool
) -> None:
    """They are not waited for for ever."""
    async with site() as one:
        station, services = await vehicle(one), one.backend.services
        event = one.event("DISPATCH_SETPOINT", -6, start_ms=one.backend.clock.utc_ms(), duration="PT4M")
        await one.step()
        del one.vtn.objects["events"][event]
        await station.disconnect()
        again = Ven(services, one.config, one.client)
        assert await again.step() <= one.backend.clock.utc_ms() + 1_000
        one.backend.clock.advance(2)
        assert [each.setpoint_w for each in await in_force(services)] == [-6_000]
        if not back:
            one.backend.clock.advance(58)
            await again.step()
            one.backend.clock.advance(2)
            assert await in_force(services) == []
            return
        station = await one.backend.booted(station.id, version="2.1")
        station.answers |= {name: {"status": "Accepted"} for name in ("SetChargingProfile", "UpdateDynamicSchedule")}
        await again.step()
        last = profiles(station)[-1]["chargingSchedule"][0]
        assert (last["chargingSchedulePeriod"][0]["setpoint"], last["duration"]) == (-6000.0, 1)


def profiles(station: Any) -> list[Any]:
    """Return the profiles of dispatch that a station was sent."""
    sent = [each["chargingProfile"] for each in station.payloads("SetChargingProfile")]
    return [each for each in sent if each["id"] == DISPATCH_PROFILE + 1]


@contextlib.asynccontextmanager
async def answering(answers: dict[str, bytes], other: bytes = b"[]") -> AsyncIterator[str]:
    """Run a VTN with these answers by path, whatever its queries; return its URL."""
    answers = {"/auth/token": b'{"access_token": "a", "token_type": "Bearer"}', **answers}

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=answers.get(request.path, other), content_type="application/json")

    async with serving(answer) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("count", [50, 120])
async def test_a_vtn_without_pages_answers_all_at_once(site: Start, count: int) -> None:
    event = {"programID": "p", "createdDateTime": iso(NOW_MS), "modificationDateTime": iso(NOW_MS), "intervals": []}
    events = msgspec.json.encode([{"id": f"e{number}", **event} for number in range(count)])
    answers = {"/programs": b'[{"id": "p", "programName": "depot"}]', "/events": events}
    async with answering(answers) as url, site(url=url) as one:
        await one.step()
        assert one.named("openadr_connected") == [{"programs": 1, "events": count}]


@pytest.mark.parametrize(
    "answer",
    [b"", b"{}", b"[{}", b'[{"id": 1}]', b"<html>", b"[" * 5000],
    ids=["nothing", "object", "cut off", "wrong members", "html", "deep"],
)
async def test_nonsense_from_a_vtn_is_a_lost_vtn(site: Start, answer: bytes) -> None:
    """Never anything else; what was in force stays."""
    async with answering({}, answer) as url, site(url=url) as one:
        await one.step()
        assert len(one.named("openadr_lost")) == 1
        assert one.signal is None
        with pytest.raises((CodecError, TransportError)):
            await one.client.programs(())


@pytest.mark.requirement("R56")
async def test_an_event_that_turns_into_nonsense_goes_on_as_it_was(site: Start) -> None:
    """Until it ends as it was to, or can be used again; one that never could limits nothing."""
    async with site() as one:
        event = one.event("IMPORT_CAPACITY_LIMIT", 30)
        other = one.event("IMPORT_CAPACITY_LIMIT", "many", duration="P1D")
        await one.step()
        assert one.signal.site_import_limit_w == 30_000
        document = dict(one.vtn.objects["events"][event])
        for value in ("all", True):
            payloads = [{"type": "IMPORT_CAPACITY_LIMIT", "values": [value]}]
            one.vtn.put("events", document | {"intervals": [{"id": 0, "payloads": payloads}]}, event)
            await one.step(30)
            assert one.signal.site_import_limit_w == 30_000
        one.vtn.objects["events"][event] = document | {"intervals": 7}  # against the schema
        await one.step(30)
        assert one.signal.site_import_limit_w == 30_000
        one.vtn.put("events", document | {"intervals": [{"id": 0, "payloads": [{"type": "X", "values": []}]}]}, event)
        await one.step(30)
        assert one.signal.site_import_limit_w == 100_000, "what can be read, and is no limit any more"
        one.vtn.put("events", document, event)
        await one.step(30)
        one.vtn.put("events", document | {"intervals": [{"id": 0, "payloads": [payloads[0]]}]}, event)
        await one.step(30)
        assert one.signal.site_import_limit_w == 30_000
        await one.step(3600)
        assert one.signal.site_import_limit_w == 100_000, "its hour is over"
        assert {each["reason"].split(":")[0] for each in one.named("openadr_problem")} == {
            f"event {event}", f"event {other}",
        }  # fmt: skip


async def test_each_reason_of_a_lost_vtn_is_announced_when_it_changes(site: Start) -> None:
    """The first one, every other one, and one that comes again; not one that stays."""
    from aiohttp import web

    answers = {"status": 200, "body": b"<html>"}

    async def answer_all(request: web.Request) -> web.Response:
        if request.path == "/auth/token":
            return web.json_response({"access_token": "a", "token_type": "Bearer"})
        return web.Response(status=answers["status"], body=answers["body"], content_type="application/json")

    async with serving(answer_all) as port, site(url=f"http://127.0.0.1:{port}") as one:
        for status in (200, 200, 503, 503, 200):
            answers["status"] = status
            await one.step(60)
        answers |= {"status": 200, "body": b"[]"}
        await one.step(60)
        reasons = [str(each["reason"]) for each in one.named("openadr_lost")]
        assert ["503" in each for each in reasons] == [False, True, False]
        assert reasons[0] == reasons[2]
        assert len(one.named("openadr_connected")) == 1


async def test_a_report_is_one_that_the_vtn_takes(site: Start) -> None:
    """By the schema of the published API."""
    async with site() as one:
        event = one.event("PRICE", 0.25)
        values = ValuesMap("USAGE", (1.5,))
        resource = ReportResource(resource_name="VEN-1", intervals=(Interval(id=0, payloads=(values,)),))
        await one.client.report(ReportRequest(event_id=event, client_name="VEN-1", resources=(resource,)))
        (report,) = one.vtn.objects["reports"].values()
        assert report["resources"][0]["intervals"][0]["payloads"] == [{"type": "USAGE", "values": [1.5]}]
        with pytest.raises(TransportError, match="eventID is not the id of one of the events"):
            await one.client.report(ReportRequest(event_id="nothing", client_name="VEN-1", resources=(resource,)))


async def test_usage_is_reported_once_when_the_last_interval_is_over(site: Start) -> None:
    """By interval, from the readings of transactions; a VEN that takes over sees that it was sent."""
    async with site() as one:
        clock = one.backend.clock
        station = await one.backend.booted("CS-V2G-0001", version="2.1")
        begin = clock.utc_ms()
        descriptors = [{"payloadType": "USAGE", "units": "KWH"}]
        event = one.event("PRICE", 0.2, 0.3, start_ms=begin, duration="PT10M", reportDescriptors=descriptors)
        odd = {"id": "odd", "eventID": event, "clientName": "VEN-1", "resources": "what another VEN has sent"}
        one.vtn.objects["reports"]["odd"] = odd
        await one.step()
        for number, (minute, wh) in enumerate(((0, 1000), (10, 3000), (25, 6000))):
            clock.now_ms = begin + minute * 60_000
            await energy(station, number, iso(clock.utc_ms()), wh)
        await one.step()
        reports = one.vtn.objects["reports"]
        assert len(reports) == 2, "due 20 minutes after its begin, and a minute for late readings"
        (report,) = (each for each in reports.values() if each is not odd)
        intervals = report["resources"][0]["intervals"]
        assert (report["eventID"], report["clientName"]) == (event, "VEN-1")
        assert [each["payloads"][0]["values"] for each in intervals] == [[2.0], [2.0]]
        other = Ven(one.backend.services, one.config, one.client)
        await other.step()
        await one.step(30)
        assert len(reports) == 2
        assert one.vtn.faults == []


async def test_a_report_that_is_not_supported_is_a_problem(site: Start) -> None:
    """Named once, and nothing is sent."""
    async with site() as one:
        for asked in ({"payloadType": "STORAGE_LEVEL"}, {"payloadType": "USAGE", "repeat": 2},
                      {"payloadType": "USAGE", "readingType": "FORECAST"}):  # fmt: skip
            one.event("PRICE", 0.2, start_ms=NOW_MS - 2 * HOUR_MS, reportDescriptors=[asked])
        await one.step()
        await one.step(30)
        assert len(one.named("openadr_problem")) == 3
        assert one.vtn.objects["reports"] == {}


async def energy(station: Any, number: int, at: str, wh: int) -> None:
    """Send a reading of the import register of a transaction."""
    value = {"value": wh, "measurand": "Energy.Active.Import.Register", "unitOfMeasure": {"unit": "Wh"}}
    event = {
        "eventType": "Updated" if number else "Started",
        "triggerReason": "MeterValuePeriodic" if number else "CablePluggedIn",
        "timestamp": at,
        "seqNo": number,
        "transactionInfo": {"transactionId": "tx-1", "chargingState": "Charging"},
        "evse": {"id": 1, "connectorId": 1},
        "meterValue": [{"timestamp": at, "sampledValue": [value]}],
    }
    await station.call("TransactionEvent", event)


async def test_it_runs_by_itself(site: Start) -> None:
    """On the clock, as a task of the back end."""
    async with site(poll_interval_s=1.0) as one:
        task = asyncio.create_task(one.ven.run())
        await until(lambda: one.signal is not None)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
