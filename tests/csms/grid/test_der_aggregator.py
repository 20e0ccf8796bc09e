"""An aggregator at an IEEE 2030.5 server: a device for each site, subscriptions, notifications, events of alarms."""

import asyncio
import contextlib
import http.client
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from csms.dispatch import der_controls as der
from csms.grid.config import AggregatedDevice, Grid, Ieee2030, Notifications
from csms.grid.der_server import DerServer
from csms.grid.der_subscriptions import DerSubscriber
from csms.grid.ieee2030_5 import DerClient, of_device
from csms.grid.rules import SiteLimits, SourceSignal, combine, governing
from csms.grid.source import GridSource
from csms.sites import store as site_store
from csms.sites.rules import Place, Site
from pki_tools.tree import PkiTree
from tests.csms.backend import Backend, running_backend
from tests.csms.grid.utility import FIRST_S, LFDI, NOW_MS, Utility, recorded, serving
from tests.csms.support import make_config
from tests.ieee2030_5.official import schema
from tests.waiting import until
from v2g.energy.balancing import Node
from v2g.energy.grid_signal import ALL, ConnectionPoint, GridLimit
from v2g.errors import ConfigError
from v2g.ocpp.messages.der_control import NotifyDERAlarmRequest
from v2g.xml_text import read_xml, text_at

OTHER = "4AECA0BBB7FE3A29920E6B0643348B2200057269"
AGGREGATOR = "B1857F74B5DA25E82E78BE34877221CB89D55F45"
"""The devices of the recorded list; the last has the subscriptions."""
YARD, DOCK = ConnectionPoint(site="yard"), ConnectionPoint(site="dock")
DEVICES = (
    AggregatedDevice(lfdi=LFDI, chargers=YARD, max_charge_w=20_000, max_discharge_w=10_000),
    AggregatedDevice(lfdi=OTHER, chargers=DOCK, max_charge_w=40_000, max_discharge_w=10_000),
)
SUBSCRIPTIONS = "edev/E-AGGREQL/sub"


def place(name: str, station: str) -> Site:
    """A site with one EVSE."""
    evse = Place(station_id=station, evse_id=1, node="main", most_ma=32_000, phases=("L1", "L2", "L3"))
    return Site(id=name, nodes=(Node(id="main", limits=(100_000,) * 3),), places=(evse,))


class Sites:
    """Two sites of an aggregator, whose clients take their steps when the test says so."""

    def __init__(self, backend: Backend, utility: Utility, config: Ieee2030, url: str) -> None:
        self.backend, self.utility = backend, utility
        utility.clock = backend.clock
        self.server = DerServer(url, tls=None, rates=True)
        self.clients = [
            DerClient(backend.services, of_device(config, each), self.server, each.lfdi, point=each.chargers)
            for each in config.devices
        ]
        self.subscriber = DerSubscriber(backend.services, config, self.server, AGGREGATOR, self.clients)

    async def at(self, second: float) -> None:
        """Have every client take a step so many seconds after the first event's start."""
        self.backend.clock.now_ms = round((FIRST_S + second) * 1000)
        await asyncio.gather(*(each.step() for each in self.clients))

    @property
    def limits(self) -> dict[str, dict[str, int | None]]:
        """The limits at each site, by direction."""
        signal = self.backend.services[GridSource].current
        assert signal is not None
        found: dict[str, dict[str, int | None]] = {}
        for each in signal.limits_at(self.backend.clock.utc_ms()):
            found.setdefault(str(each.connection_point), {})[each.direction] = each.limit_w
        return found


Start = Callable[..., contextlib.AbstractAsyncContextManager[Sites]]


@pytest.fixture
def sites(tmp_path: Path, pki: PkiTree, empty_database: Path) -> Start:
    """Start a server and its aggregator; keyword arguments change `[grid.ieee2030_5]`."""

    @contextlib.asynccontextmanager
    async def begin(**changes: Any) -> AsyncIterator[Sites]:
        utility = Utility()
        for path, name in (("fsa", "FunctionSetAssignments"), ("der", "DER")):
            utility.replaced[f"edev/_EQLDEV1/{path}"] = f"<{name}List all='0' results='0'/>".encode()
        async with serving(utility) as url:
            settings: dict[str, Any] = {
                "url": url,
                "lfdi": AGGREGATOR,
                "devices": DEVICES,
                "certificate": pki.path("csms/server/chain.pem"),
                "key": pki.path("csms/server/leaf.key"),
                "root": pki.path("csms/root.pem"),
                "notifications": Notifications(url="https://aggregator.example/notify", port=0),
            }
            config = Ieee2030(**(settings | changes))
            grid = Grid(ieee2030_5=config, currency="AUD", import_limit_w=80_000, export_limit_w=8_000)
            async with running_backend(make_config(tmp_path, pki, grid=grid), empty_database, NOW_MS) as backend:
                for name, station in (("yard", "A"), ("dock", "B")):
                    await backend.services.store.run(site_store.save_site, place(name, station), NOW_MS)
                yield Sites(backend, utility, config, url)

    return begin


@pytest.mark.requirement("R56", "R207")
async def test_each_device_has_limits_at_its_site_and_answers_with_its_own_name(sites: Start) -> None:
    """Of a recorded list of an aggregator; the other device has no programs, and its site only the common limits."""
    async with sites() as some:
        some.utility.replaced["edev"] = recorded("edev").replace(b'all="5"', b'all="3"')
        await some.at(-60)
        await some.at(0)
        both = {"import": 80_000, "export": 8_000}
        assert some.limits == {"all": both, "site yard": {"import": 3512, "export": 2512}}
        said = [etree.fromstring(each) for each in some.utility.bodies_of["rsps/res-ms/rsp"]]
        assert {each.findtext("{*}endDeviceLFDI") for each in said} == {LFDI}
        stated = {each.source: each for each in await some.backend.services[GridSource].stated()}
        assert stated.keys() == {f"ieee2030.5:{LFDI}", f"ieee2030.5:{OTHER}"}
        assert some.utility.asked.count("edev") == 1, "one list for all devices"


async def test_a_device_that_begins_later_goes_by_what_others_have_read(sites: Start) -> None:
    async with sites() as some:
        some.utility.replaced["edev"] = recorded("edev").replace(b'all="5"', b'all="3"')
        some.backend.clock.now_ms = round(FIRST_S * 1000)
        for client in some.clients:
            await client.step()
        assert some.utility.asked.count("edev") == 1


async def test_one_device_that_is_lost_ends_export_at_its_own_site(sites: Start) -> None:
    """Once what stations were sent has run out; its known events go on, and the other site's are as before."""
    async with sites(outage_s=60) as some:
        some.utility.replaced["edev/_EQLDEV1/fsa"] = recorded("edev__EQLDEV3_fsa")
        await some.at(-60)
        await some.at(0)
        assert some.limits["site dock"] == some.limits["site yard"] == {"import": 3512, "export": 2512}
        devices = recorded("edev")
        some.utility.replaced["edev"] = devices.replace(OTHER.encode(), b"0" * 40)
        for second in range(60, 2000, 60):
            await some.at(second)
        assert some.limits["site dock"] == {"import": 1500, "export": 0}
        assert some.limits["site yard"] == {"import": 1500, "export": 1500}
        assert some.limits["all"] == {"import": 80_000, "export": 8_000}
        (lost,) = {each.source for each in await some.backend.services[GridSource].stated() if each.problem}
        assert lost == f"ieee2030.5:{OTHER}"


async def test_what_is_subscribable_is_subscribed_to_once(sites: Start) -> None:
    """What others have subscribed to stays; what is read no more is ended; valid by the schema."""
    async with sites() as some:
        await some.at(-60)
        begun = "<Subscription href='/api/v2/{}'><subscribedResource>{}</subscribedResource><notificationURI>{}{}"
        end = "</notificationURI></Subscription>"
        ours, theirs = "https://aggregator.example/notify", "https://other.example/"
        listed = [begun.format("s/1", "/api/v2/gone", ours, end), begun.format("s/2", "/api/v2/edev", theirs, end)]
        document = f"<SubscriptionList all='2' results='2'>{''.join(listed)}</SubscriptionList>"
        some.utility.replaced[SUBSCRIPTIONS] = document.encode()
        some.utility.created[SUBSCRIPTIONS] = "/api/v2/s/3"
        await some.subscriber.step()
        sent = some.utility.bodies_of[SUBSCRIPTIONS]
        about = {text_at(read_xml(each, "", most_bytes=9_000), "subscribedResource") for each in sent}
        assert about == some.server.subscribable
        assert {"/api/v2/edev", "/api/v2/derp/TESTPRG3/derc"} <= about
        assert some.utility.deleted == ["s/1"]
        for each in sent:
            schema("1.3").assertValid(etree.fromstring(each))
        listed = [begun.format(f"s/{number}", name, ours, end) for number, name in enumerate(sorted(about))]
        document = f"<SubscriptionList all='{len(listed)}' results='{len(listed)}'>{''.join(listed)}</SubscriptionList>"
        some.utility.replaced[SUBSCRIPTIONS] = document.encode()
        await some.subscriber.step()
        assert len(sent) == len(about), "all are there"


@pytest.mark.requirement("R207")
async def test_a_server_that_writes_our_address_otherwise_has_each_subscription_once(sites: Start) -> None:
    """As with its port; one that has lost some is subscribed to again when its list is due."""
    async with sites() as some:
        await some.at(-60)
        some.utility.replaced[SUBSCRIPTIONS] = b"<SubscriptionList all='0' results='0'/>"
        some.utility.created[SUBSCRIPTIONS] = "/api/v2/s/3"
        await some.subscriber.step()
        sent = some.utility.bodies_of[SUBSCRIPTIONS]
        count = len(sent)
        items = [
            f"<Subscription href='/api/v2/s/3'><subscribedResource>{each}</subscribedResource>"
            "<notificationURI>https://aggregator.example:443/notify</notificationURI></Subscription>"
            for each in sorted(some.server.subscribable)
        ]
        for listed, missing in ((items, 0), (items[1:], 1)):
            document = f"<SubscriptionList all='{len(listed)}' results='9'>{''.join(listed)}</SubscriptionList>"
            some.utility.replaced[SUBSCRIPTIONS] = document.encode()
            some.backend.clock.advance(60)
            await some.subscriber.step()
            assert len(sent) == count, "the list is not due"
            some.backend.clock.advance(900)
            await some.subscriber.step()
            assert len(sent) == count + missing


async def test_a_server_without_subscriptions_is_polled_and_that_is_named_once(sites: Start) -> None:
    async with sites() as some:
        some.utility.replaced["edev"] = recorded("edev").replace(b"SubscriptionListLink", b"NothingLink")
        await some.at(-60)
        for _ in range(2):
            await some.subscriber.step()
        problems = [each.data["reason"] for each in some.backend.events.named("ieee2030_5_problem")]
        assert len([each for each in problems if "takes none" in str(each)]) == 1


NOTIFIED = """<Notification xmlns="urn:ieee:std:2030.5:ns"><subscribedResource>{}</subscribedResource>
<status>{}</status><subscriptionURI>/api/v2/s/3</subscriptionURI></Notification>"""


async def notify(port: int, pki: PkiTree | None, body: str, path: str = "/notify") -> int:
    """Send a notification with a certificate of the utility, or without one; return the status."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if pki is not None:
        context.load_cert_chain(pki.path("csms/station/chain.pem"), pki.path("csms/station/leaf.key"))

    def send() -> int:
        with contextlib.closing(http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=context)) as line:
            line.request("POST", path, body)
            return line.getresponse().status

    return await asyncio.to_thread(send)


async def test_a_notification_makes_a_change_apply_at_once(sites: Start, pki: PkiTree) -> None:
    """It is requested again before its rate is due; a resource that nobody reads, or nonsense, changes nothing."""
    schema("1.3").assertValid(etree.fromstring(NOTIFIED.format("/api/v2/edev", 0)))
    async with sites() as some:
        some.utility.created[SUBSCRIPTIONS] = "/api/v2/s/3"
        some.utility.replaced[SUBSCRIPTIONS] = b"<SubscriptionList all='0' results='0'/>"
        await some.at(-60)
        running = asyncio.create_task(some.subscriber.run())
        await until(lambda: some.subscriber.port)
        port, controls = some.subscriber.port, "derp/TESTPRG3/derc"
        await some.at(-50)
        cancelled = recorded(controls).replace(b"<currentStatus>0</currentStatus>", b"<currentStatus>2</currentStatus>")
        some.utility.replaced[controls] = cancelled
        await some.at(0)
        assert some.limits["site yard"] == {"import": 3512, "export": 2512}, "its rate is not due"
        assert await notify(port, pki, NOTIFIED.format("/api/v2/nothing", 0)) == 201
        assert await notify(port, pki, "<Notification><oops>") == 400
        assert await notify(port, pki, NOTIFIED.format("/api/v2/edev", 0), "/elsewhere") == 404
        asked = some.utility.asked.count(controls)
        assert await notify(port, pki, NOTIFIED.format(f"/api/v2/{controls}", 0)) == 201
        await until(lambda: some.server.due(f"/api/v2/{controls}") is not False)
        await some.at(1)
        assert some.utility.asked.count(controls) == asked + 1
        assert some.limits["site yard"] == {"import": 1500, "export": 1500}
        with pytest.raises((ssl.SSLError, OSError)):
            await notify(port, None, NOTIFIED.format("/api/v2/edev", 0))
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


@pytest.mark.requirement("R207")
async def test_a_subscription_that_the_server_cancels_is_made_again(sites: Start, pki: PkiTree) -> None:
    """At once, before the list of subscriptions is due; for a server that cancels each one, once a minute."""
    notifications = Notifications(url="https://aggregator.example/notify?key=1", port=0)
    async with sites(notifications=notifications) as some:
        some.utility.created[SUBSCRIPTIONS] = "/api/v2/s/3"
        some.utility.replaced[SUBSCRIPTIONS] = b"<SubscriptionList all='0' results='0'/>"
        await some.at(-60)
        await some.subscriber.step()
        sent, names = some.utility.bodies_of[SUBSCRIPTIONS], sorted(some.server.subscribable)
        made = len(sent)
        item = "<Subscription href='/s/3'><subscribedResource>{}</subscribedResource><notificationURI>{}"
        items = "".join(
            item.format(each, notifications.url) + "</notificationURI></Subscription>" for each in names[1:]
        )
        document = f"<SubscriptionList all='{made - 1}' results='{made - 1}'>{items}</SubscriptionList>"
        some.utility.replaced[SUBSCRIPTIONS] = document.encode()
        for seconds, more in ((0, 1), (59, 1), (1, 2)):
            some.backend.clock.advance(seconds)
            some.subscriber.changed({names[0]}, cancelled=True)
            await some.subscriber.step()
            assert len(sent) == made + more
        some.backend.clock.advance(60)
        running = asyncio.create_task(some.subscriber.run())
        await until(lambda: some.subscriber.port)
        assert await notify(some.subscriber.port, pki, NOTIFIED.format(names[0], 1), "/notify?key=1") == 201
        await until(lambda: len(sent) == made + 3)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def test_alarms_of_a_sites_stations_become_its_status_and_events(sites: Start) -> None:
    """Each begin and end once, with rising numbers, also over a failure; those of other sites are not its own."""
    alarm = {"control_type": "HVMustTrip", "timestamp": "2023-04-26T02:00:00Z"}
    log, status = "edev/_EQLDEV3/lel", "edev/_EQLDEV3/der/_EQLDEV3/ders"

    def found(some: Sites) -> list[tuple[str | None, str | None]]:
        nodes = [etree.fromstring(each) for each in some.utility.bodies_of.get(log, [])]
        for each in nodes:
            schema("1.3").assertValid(each)
        return [(each.findtext("{*}logEventCode"), each.findtext("{*}logEventID")) for each in nodes]

    async with sites() as some:
        some.utility.created[log] = "/api/v2/lel/1"

        async def raised(station: str, fault: str, *, ended: bool = False) -> None:
            request = NotifyDERAlarmRequest(grid_event_fault=fault, alarm_ended=ended, **alarm)  # type: ignore[arg-type]
            await some.backend.services.store.run(der.add_alarm, station, request, NOW_MS)

        await raised("A", "PhaseRotation")
        await raised("A", "OverVoltage")  # takes it over: no end of the first comes (R05.FR.04)
        await raised("B", "OverCurrent")
        some.utility.refused = {f"POST {log}": 503}
        await some.at(-270)
        assert found(some) == []
        assert text_at(read_xml(some.utility.bodies[status], "", most_bytes=9_000), "alarmStatus") == "00000002"
        some.utility.refused = {}
        await some.at(-210)
        assert found(some) == [("2", "0")]
        await raised("A", "OverVoltage", ended=True)
        await raised("A", "OverFrequency")
        await some.at(-150)
        await some.at(-90)
        assert found(some) == [("2", "0"), ("3", "1"), ("6", "2")]
        assert text_at(read_xml(some.utility.bodies[status], "", most_bytes=9_000), "alarmStatus") == "00000008"


def test_limits_at_points_of_their_own_neither_lower_nor_raise_those_of_the_site() -> None:
    """An expired one exports nothing there, and shortens no validity any more."""
    site = SiteLimits(currency="EUR", import_limit_w=50_000, export_limit_w=20_000, sources=("a", "b", "scada"))
    first = SourceSignal(source="a", connection_point=YARD, import_limit_w=5, export_limit_w=7, export_until_ms=1_000)
    second = SourceSignal(source="b", connection_point=DOCK, import_limit_w=6, export_until_ms=9_000)
    wide = SourceSignal(source="scada", import_limit_w=40_000)
    signal = combine(site, (first, second, wide), None, 500)
    assert signal is not None
    assert (signal.site_import_limit_w, signal.export_limit_w, signal.valid_until_ms) == (40_000, 20_000, 1_000)
    later = combine(site, (first, second, wide), signal, 1_000)
    assert later is not None
    assert later.valid_until_ms == 9_000
    at_yard = [each for each in later.limits if each.connection_point == YARD]
    assert [(each.direction, each.limit_w) for each in at_yard] == [("import", 5), ("export", 0)]
    assert GridLimit(connection_point=DOCK, direction="import", limit_w=6, source="b") in later.limits
    assert governing(site, (first, second, wide), 2_000).export_source == "site"
    assert combine(site, (first, second, wide), later, 1_001) is None


def test_an_aggregator_is_configured_consistently(tmp_path: Path) -> None:
    """Two devices of one name or place, rates of our own, and notifications that anybody could send are refused."""
    files: dict[str, Any] = {"url": "https://u.example/dcap", "certificate": tmp_path, "key": tmp_path}
    twice = (DEVICES[0], AggregatedDevice(lfdi=LFDI.lower(), chargers=ALL))
    wrong: tuple[dict[str, Any], ...] = (
        {"devices": twice},
        {"devices": (DEVICES[0], AggregatedDevice(lfdi=OTHER, chargers=YARD))},
        {"devices": DEVICES, "poll_interval_s": 5.0},
        {"notifications": Notifications(url="https://a.example/n")},
    )
    for each in wrong:
        with pytest.raises((ValueError, ConfigError)):
            Ieee2030(**files, **each)
