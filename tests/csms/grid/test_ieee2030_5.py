"""The client of an IEEE 2030.5 server, on recorded answers: limits by the minute, responses, outages, TLS."""

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from lxml import etree

from csms.grid.config import Ieee2030
from csms.grid.der_server import AnswerError, DerServer, lfdi_in, tls_of
from csms.grid.ieee2030_5 import DerClient
from csms.grid.source import GridSource
from pki_tools.tree import PkiTree
from secc.energy_manager import grid_frequency
from tests.csms.backend import Backend, running_backend
from tests.csms.grid.site import GridSite, report_meter, report_transaction, sampled
from tests.csms.grid.utility import FIRST_S, LFDI, NOW_MS, VECTORS, Utility, recorded, serving
from tests.csms.support import make_config
from tests.grid_curves import BY_VOLTAGE, TOLERANCE
from tests.grid_curves import VOLT_VAR as INVERTER_VAR
from tests.grid_curves import VOLT_WATT as INVERTER_WATT
from tests.ieee2030_5.curves import VOLT_VAR, curve
from tests.ieee2030_5.official import schema
from tests.secc.backend import backend
from tests.secc.stand import stand
from v2g.errors import CodecError, ConfigError, TransportError
from v2g.xml_text import read_xml, text_at


class Site(GridSite):
    """A back end whose client takes its steps when the test says so."""

    def __init__(self, utility: Utility, backend: Backend, again: Callable[[], DerClient]) -> None:
        """`again` makes a client, as after a restart."""
        super().__init__(backend)
        self.utility, self.client, self.again = utility, again(), again
        utility.clock = backend.clock

    async def at(self, second: float) -> int:
        """Take a step so many seconds after the first event's start; return in how many seconds the next is due."""
        self.backend.clock.now_ms = round((FIRST_S + second) * 1000)
        return (await self.client.step() - self.backend.clock.utc_ms()) // 1000


Start = Callable[..., contextlib.AbstractAsyncContextManager[Site]]


@pytest.fixture
def site(tmp_path: Path, pki: PkiTree, empty_database: Path) -> Start:
    """Start a server and its client; keyword arguments change `[grid.ieee2030_5]`."""

    @contextlib.asynccontextmanager
    async def begin(**changes: Any) -> AsyncIterator[Site]:
        utility = Utility()
        async with serving(utility) as url:
            settings: dict[str, Any] = {"url": url, "lfdi": LFDI, "max_charge_w": 20_000, "max_discharge_w": 10_000}
            settings["poll_interval_s"] = 60.0
            files: dict[str, Any] = {
                "certificate": pki.path("csms/station/chain.pem"),
                "key": pki.path("csms/station/leaf.key"),
            }
            config = Ieee2030(**(settings | files | changes))
            grid = {"ieee2030_5": config, "currency": "AUD", "import_limit_w": 8_000, "export_limit_w": 8_000}
            whole = make_config(tmp_path, pki, grid=grid)
            async with running_backend(whole, empty_database, NOW_MS) as backend:

                def again() -> DerClient:
                    server = DerServer(url, tls=None, rates=config.poll_interval_s is None)
                    return DerClient(backend.services, config, server, LFDI)

                one = Site(utility, backend, again)
                yield one

    return begin


@pytest.mark.requirement("R56", "R207")
async def test_recorded_controls_become_limits_at_their_times_and_are_answered(site: Start) -> None:
    """The default, then five events of five minutes; never more than the site's own limits."""
    async with site() as one:
        assert await one.at(-70) == 60
        assert (one.limits, one.named("ieee2030_5_connected")) == ((1500, 1500), [{"programs": 2, "events": 5}])
        assert [status for _, status, _ in one.utility.posted] == ["1"] * 5
        assert await one.at(-9) == 9, "the next event comes before the next poll"
        limits = []
        for number in range(6):
            await one.at(300 * number)
            limits.append(one.limits)
        assert limits == [(3512, 2512), (2510, 2500), (5000, 5000), (8000, 8000), (0, 0), (1500, 1500)]
        said = [(status, subject) for _, status, subject in one.utility.posted[5:]]
        assert said[:4] == [("2", "DC1B"), ("3", "DC1B"), ("2", "737A"), ("3", "737A")]
        assert len(said) == 10
        assert {path for path, _, _ in one.utility.posted} == {"/api/v2/rsps/res-ms/rsp"}
        assert (f"{DER}/ders", "00") in one.utility.put, "no station is connected"


async def test_a_cancelled_event_ends_and_says_so(site: Start) -> None:
    """At the next poll."""
    async with site() as one:
        await one.at(-60)
        await one.at(0)
        recorded = (VECTORS / "derp_TESTPRG3_derc.xml").read_bytes()
        one.utility.replaced["derp/TESTPRG3/derc"] = recorded.replace(
            b"<currentStatus>0</currentStatus>", b"<currentStatus>2</currentStatus>", 1
        )
        await one.at(60)
        assert one.limits == (1500, 1500)
        assert one.utility.posted[-1][1:] == ("6", "DC1B")


@pytest.mark.parametrize(("category", "limits"), [("00000001", (1500, 1500)), ("00020001", (3512, 2512))])
async def test_an_event_for_other_kinds_of_devices_is_none(site: Start, category: str, limits: tuple[int, int]) -> None:
    """Bit 0 is a thermostat, bit 17 an EVSE: a thermostat's event would end one that is meant for chargers."""
    async with site() as one:
        recorded = (VECTORS / "derp_TESTPRG3_derc.xml").read_bytes()
        said = f"</DERControlBase><deviceCategory>{category}</deviceCategory>".encode()
        one.utility.replaced["derp/TESTPRG3/derc"] = recorded.replace(b"</DERControlBase>", said, 1)
        await one.at(-60)
        await one.at(0)
        assert one.limits == limits
        assert (("2", "DC1B") in [each[1:] for each in one.utility.posted]) == (limits == (3512, 2512))


async def test_without_the_server_events_go_on_and_export_ends(site: Start) -> None:
    """After `outage_s`, also at stations that no longer hear of the back end."""
    async with site(outage_s=300) as one:
        await one.at(-60)
        one.utility.replaced["dcap"] = b"<html/>"
        await one.at(0)
        assert one.limits == (3512, 2512)
        signal = one.backend.services[GridSource].current
        assert signal is not None
        assert signal.valid_until_ms == (FIRST_S - 60 + 300) * 1000
        await one.at(120)
        assert len(one.named("ieee2030_5_lost")) == 1
        (stated,) = await one.backend.services[GridSource].stated()
        assert stated.problem.startswith("the server does not answer")
        await one.at(290)
        by = await one.backend.services[GridSource].governing()
        assert by is not None
        assert by.export_source == "ieee2030.5"


@pytest.mark.requirement("R207")
async def test_a_server_that_answers_too_little_in_one_poll_is_read_in_several(site: Start) -> None:
    """As a slow one, whose poll takes longer than the client waits; once it was lost, everything is read again."""
    async with site(poll_interval_s=None) as one:
        one.utility.left = 0
        await one.at(-240)
        for second in (-180, -120, -60):
            one.utility.left = 4
            await one.at(second)
        assert one.limits == (1500, 1500)
        assert len(one.named("ieee2030_5_connected")) == 1
        assert one.utility.asked.count("dcap") == 2, "once it was not answered"


async def test_what_cannot_be_read_is_named_and_exports_nothing(site: Start) -> None:
    """Where no event says more."""
    async with site() as one:
        one.utility.replaced["derp/TESTPRG3/dderc"] = b"<DefaultDERControl><oops></DefaultDERControl>"
        await one.at(-60)
        assert one.limits == (8000, 0)
        assert any("DefaultDERControl" in each["reason"] for each in one.named("ieee2030_5_problem"))
        await one.at(0)
        assert one.limits == (3512, 2512)


async def test_a_site_that_must_not_be_energized_draws_and_feeds_nothing(site: Start) -> None:
    """By the default control here."""
    async with site() as one:
        recorded = (VECTORS / "derp_TESTPRG3_dderc.xml").read_bytes()
        one.utility.replaced["derp/TESTPRG3/dderc"] = recorded.replace(b">true<", b">false<")
        await one.at(-60)
        assert one.limits == (0, 0)


async def test_a_fixed_power_becomes_a_set_point_within_the_limits(site: Start) -> None:
    """Positive per cent are discharge."""
    async with site() as one:
        recorded = (VECTORS / "derp_TESTPRG3_dderc.xml").read_bytes()
        one.utility.replaced["derp/TESTPRG3/dderc"] = recorded.replace(
            b"<opModEnergize>true", b"<opModFixedW>5000</opModFixedW><opModEnergize>true"
        )
        await one.at(-60)
        (stated,) = await one.backend.services[GridSource].stated()
        assert stated.setpoint_w == -5_000
        assert one.named("setpoint_dispatched")[0]["setpoint_w"] == -1_500, "the export limit is lower"


async def test_an_unknown_device_and_another_clock_are_named(site: Start) -> None:
    """Nothing is in force then."""
    async with site() as one:
        one.utility.replaced["tm"] = (VECTORS / "tm.xml").read_bytes().replace(b"1682475024", b"1682470000")
        one.utility.replaced["edev"] = (VECTORS / "edev.xml").read_bytes().replace(LFDI.encode(), b"0" * 40)
        await one.at(-276)
        assert LFDI in one.named("ieee2030_5_lost")[0]["reason"]
        one.utility.replaced["dcap"] = b"<nothing/>"
        for second in (-200, -100):
            await one.at(second)
        reasons = [each["reason"] for each in one.named("ieee2030_5_lost")]
        assert len(reasons) == len(set(reasons)) == 2, "a later reason is named once, too"
        assert "5024 s behind" in one.named("ieee2030_5_problem")[0]["reason"]
        assert one.backend.services[GridSource].current is None


CONTROLS, DEFAULT, DER = "derp/TESTPRG3/derc", "derp/TESTPRG3/dderc", "edev/_EQLDEV3/der/_EQLDEV3"
REGISTRATION = "edev/_EQLDEV3/rg"


async def test_events_follow_the_servers_clock(site: Start) -> None:
    """An hour ahead of ours: so are events, and the times of responses; the limits of the site stay in UTC."""
    async with site() as one:
        one.utility.ahead_s = 3600
        assert await one.at(-3660) == 60
        await one.at(-3600)
        assert one.limits == (3512, 2512)
        one.utility.ahead_s = 3599
        await one.at(-3540)
        one.utility.ahead_s = 3600
        await one.at(-3480)
        (named,) = one.named("ieee2030_5_problem")
        assert "3600 s ahead" in named["reason"], "once, though it varies by a second"
        (stated,) = await one.backend.services[GridSource].stated()
        assert (stated.problem, stated.export_until_ms) == ("", (FIRST_S - 3480 + 900) * 1000)
        assert "application/xml" in one.utility.accepts.pop()


async def test_a_refused_response_is_given_up_and_one_that_fails_is_repeated_in_order(site: Start) -> None:
    """The server takes all others meanwhile."""
    async with site() as one:
        one.utility.refused = {"1 DC1B": 400, "1 737A": 503}
        await one.at(-60)
        await one.at(0)
        await one.at(300)
        said = [(status, subject) for _, status, subject in one.utility.posted]
        assert ("1", "DC1B") not in said
        assert [status for status, subject in said if subject == "DC1B"] == ["2", "3"]
        assert [status for status, subject in said if subject == "737A"] == []
        assert any("response 1 for event DC1B" in each["reason"] for each in one.named("ieee2030_5_problem"))
        one.utility.refused = {}
        await one.at(360)
        assert [status for _, status, subject in one.utility.posted if subject == "737A"] == ["1", "2"]


async def test_what_was_known_survives_a_restart_without_the_server(site: Start) -> None:
    """Events, shifts, and what was answered; responses that wait are sent once the server is back, each once."""
    async with site() as one:
        one.utility.replaced[CONTROLS] = recorded(CONTROLS).replace(
            b"</interval>", b"</interval><randomizeStart>-50</randomizeStart>"
        )
        begins = await one.at(-60)
        assert 10 <= begins < 60
        one.utility.refused["dcap"] = 503
        one.client = one.again()
        assert await one.at(-60) == begins
        await one.at(1)
        assert one.limits == (3512, 2512)
        one.client = one.again()
        await one.at(2)
        assert one.limits == (3512, 2512)
        assert {status for _, status, _ in one.utility.posted} == {"1"}
        one.utility.refused = {}
        await one.at(125)
        assert [(status, subject) for _, status, subject in one.utility.posted[5:]] == [("2", "DC1B")]


async def test_another_node_goes_on_where_the_first_has_stopped(site: Start) -> None:
    """Once its lease is over, with the states that it has stored: nothing is answered twice."""
    async with site() as one:
        await one.at(-60)
        first, one.client = one.client, one.again()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(one.backend.services.feed), "node", property(lambda _: "another"))
            await one.at(0)
            assert one.limits == (1500, 1500)
            await one.at(150)
            assert one.limits == (3512, 2512)
        assert [status for _, status, subject in one.utility.posted if subject == "DC1B"] == ["1", "2"]
        one.client = first
        await one.at(210)
        await one.at(300)
        assert one.limits == (3512, 2512), "the other node has the lease"


@pytest.mark.parametrize("status", [404, 500])
async def test_what_one_program_cannot_answer_loses_nothing(site: Start, status: int) -> None:
    """Its known events and default stay; events that leave the list run to their end, those of a program that is
    gone do not."""
    async with site() as one:
        await one.at(-60)
        one.utility.refused[CONTROLS] = status
        await one.at(0)
        assert one.limits == (3512, 2512)
        assert one.named("ieee2030_5_lost") == []
        assert any(CONTROLS in each["reason"] for each in one.named("ieee2030_5_problem"))
        one.utility.refused = {}
        one.utility.replaced[CONTROLS] = b"<DERControlList all='0' results='0'/>"
        await one.at(60)
        await one.at(300)
        assert one.limits == (2510, 2500)
        one.utility.replaced["edev/_EQLDEV3/fsa"] = b"<FunctionSetAssignmentsList all='0' results='0'/>"
        await one.at(360)
        assert one.limits == (8000, 8000)
        said = [(state, subject) for _, state, subject in one.utility.posted[5:]]
        assert said == [("2", "DC1B"), ("3", "DC1B"), ("2", "737A")]


async def test_a_default_that_the_server_does_not_have_is_none(site: Start) -> None:
    """Many servers name one always."""
    async with site() as one:
        one.utility.refused[DEFAULT] = 404
        await one.at(-60)
        assert one.limits == (8000, 8000)
        assert one.named("ieee2030_5_problem") == []


async def test_limits_of_load_and_generation_apply_and_unknown_modes_do_not_start(site: Start) -> None:
    """The lower of both kinds; per cent are those of the greatest discharge. Australia takes neither 252 nor 254."""
    limits = b"""<opModMaxLimW>1000</opModMaxLimW><n:opModLoadLimW xmlns:n="https://csipaus.org/ns/v1.3"><multiplier>2
        </multiplier><value>21</value></n:opModLoadLimW><opModEnergize>true"""
    for profile, expected in (("csip", ["1", "252", "254"]), ("csip-aus", ["1"])):
        async with site(profile=profile) as one:
            one.utility.replaced[DEFAULT] = recorded(DEFAULT).replace(b"<opModEnergize>true", limits)
            other = b"<opModVoltVar href='/c'/>"
            events = recorded(CONTROLS)
            begin, end = events.index(b"<DERControlBase>") + 16, events.index(b"</DERControlBase>")
            one.utility.replaced[CONTROLS] = events[:begin] + other + events[end:]
            one.utility.replaced[CONTROLS] = one.utility.replaced[CONTROLS].replace(b"1682475600", b"1682400000")
            await one.at(-60)
            await one.at(0)
            assert one.limits == (1500, 1000)
            said = [status for _, status, subject in one.utility.posted if subject in ("DC1B", "737A")]
            assert sorted(said) == expected
            assert len(one.utility.posted) == len(expected) + 3


@pytest.mark.parametrize(("mode", "watts"), [("opModTargetW", 25_000), ("opModStorageTargetW", -3000)])
async def test_targets_become_set_points(site: Start, mode: str, watts: int) -> None:
    """Output of the vehicles is positive there, and negative here."""
    async with site() as one:
        target = f"<{mode}><multiplier>1</multiplier><value>{watts // 10}</value></{mode}><opModEnergize>true"
        one.utility.replaced[DEFAULT] = recorded(DEFAULT).replace(b"<opModEnergize>true", target.encode())
        await one.at(-60)
        (stated,) = await one.backend.services[GridSource].stated()
        assert stated.setpoint_w == -watts


async def test_set_points_are_reached_by_ramps(site: Start) -> None:
    """From and to a default by its gradient, which is sent to the server; by the time that an event states."""
    fixed = b"<opModFixedW>%d</opModFixedW><rampTms>4000</rampTms></DERControlBase>"
    async with site() as one:
        one.utility.replaced[DEFAULT] = (
            recorded(DEFAULT)
            .replace(b"<opModEnergize>true", b"<opModFixedW>-1000</opModFixedW><opModEnergize>true")
            .replace(b"<setSoftGradW>", b"<setGradW>50</setGradW><setSoftGradW>")
        )
        one.utility.replaced[CONTROLS] = recorded(CONTROLS).replace(b"</DERControlBase>", fixed % -3000, 1)
        found = {}
        for second in (-120, -100, -80, -60, 0, 10, 20, 40, 50, 299, 300, 340, 380):
            due = await one.at(second)
            (stated,) = await one.backend.services[GridSource].stated()
            found[second] = stated.setpoint_w
            assert due <= 5 or second not in (-120, 10, 20), "the next part of the ramp"
        assert list(found.values()) == [0, 1000, 2000, 2000, 2000, 3000, 4000, 6000, 6000, 6000, 6000, 4000, 2000]
        assert b"<setGradW>50</setGradW>" in one.utility.bodies[f"{DER}/derg"]


async def test_a_device_is_found_by_its_short_identifier_where_the_long_one_is_not_said(site: Start) -> None:
    async with site() as one:
        one.utility.replaced["edev"] = recorded("edev").replace(b"<lFDI>" + LFDI.encode() + b"</lFDI>", b"")
        await one.at(-60)
        assert one.limits == (1500, 1500)


async def test_resources_are_requested_at_the_rates_of_the_server(site: Start) -> None:
    """Controls as often as the list of their program; what states none every 900 s."""
    async with site(poll_interval_s=None) as one:
        for second in range(0, 1200, 60):
            await one.at(second - 270)
        assert {path: one.utility.asked.count(path) for path in ("dcap", CONTROLS)} == {"dcap": 2, CONTROLS: 4}
        (stated,) = await one.backend.services[GridSource].stated()
        assert stated.export_until_ms is not None
        assert stated.export_until_ms >= (FIRST_S + 630 + 900) * 1000


async def test_a_clock_that_is_set_back_stops_no_request(site: Start) -> None:
    async with site(poll_interval_s=None) as one:
        await one.at(-70)
        one.utility.asked.clear()
        await one.at(-3670)
        assert {"dcap", CONTROLS} <= {*one.utility.asked}


async def test_a_server_that_asks_for_a_pause_gets_one(site: Start) -> None:
    """Longer each time, also for responses."""
    async with site() as one:
        one.utility.refused["dcap"] = 429
        for second in range(-3600, -60, 60):
            await one.at(second)
        assert 4 <= len(one.utility.asked) <= 8
        one.utility.refused = {}
        await one.at(3600)
        assert len(one.named("ieee2030_5_connected")) == 1


@pytest.mark.parametrize("asks", ["900", "Thu, 01 Jan 1970 00:15:00 GMT"])
async def test_a_server_that_asks_for_a_pause_by_seconds_or_by_a_date_gets_that(asks: str) -> None:
    class Busy(Utility):
        async def answer(self, request: web.Request) -> web.Response:
            return web.Response(status=429, headers={"Retry-After": asks})

    async with serving(Busy()) as url:
        server = DerServer(url, tls=None)
        server.begin(1_000)
        for said in ("HTTP status 429", r"for another 89[89] s"):
            with pytest.raises(AnswerError, match=said):
                await server.resource("/dcap", "A")
            server.begin(2_000)


async def test_links_with_the_servers_own_address_are_followed_and_others_are_not() -> None:
    """Whether with its port, relative, or to another server."""

    class Linking(Utility):
        async def answer(self, request: web.Request) -> web.Response:
            here = f"http://LOCALHOST:{request.url.port}"
            links = f"<AL href='{here}/x?y=1'/><BL href='ders'/><CL href='https://elsewhere.example/a'/><DL href='/d'/>"
            return web.Response(body=f"<A replyTo='{here}/r'>{links}</A>".encode())

    async with serving(Linking()) as url:
        server = DerServer(url.replace("127.0.0.1", "localhost"), tls=None)
        node = await server.resource("/edev/1", "A")
        assert [each.get("href") for each in node] == ["/x?y=1", "/edev/ders", "https://elsewhere.example/a", "/d"]
        assert node.get("replyTo") == "/r"
        with pytest.raises(CodecError):
            await server.post("https://elsewhere.example/a", b"")


@pytest.mark.parametrize(("status", "pin"), [(200, "111115"), (404, ""), (204, "")])
async def test_a_server_without_another_pin_is_obeyed(site: Start, status: int, pin: str) -> None:
    """The right one, or none."""
    async with site(pin=111_115) as one:
        one.utility.replaced[REGISTRATION] = f"<Registration><pIN>{pin}</pIN></Registration>".encode()
        one.utility.refused = {} if status == 200 else {REGISTRATION: status}
        await one.at(-60)
        assert one.limits == (1500, 1500)


async def test_a_server_with_another_pin_is_not_obeyed(site: Start) -> None:
    """Nor what it said before, and that is reported: without its limit nothing is exported."""
    async with site(pin=111_115) as one:
        await one.at(-60)
        one.utility.replaced[REGISTRATION] = b"<Registration><pIN>222220</pIN></Registration>"
        await one.at(0)
        signal = one.backend.services[GridSource].current
        assert signal is not None
        assert signal.valid_until_ms < one.backend.clock.now_ms
        assert signal.site_import_limit_w == 8000
        assert "another PIN" in one.named("ieee2030_5_lost")[0]["reason"]
        del one.utility.replaced[REGISTRATION]
        await one.at(60)
        assert one.limits == (3512, 2512)
        assert one.backend.services[GridSource].current.valid_until_ms > one.backend.clock.now_ms  # type: ignore[union-attr]


async def test_a_device_registers_itself_once_and_says_where_it_is(site: Start) -> None:
    """Its programs appear with its connection point; a restart registers nothing again, a server's loss of it does."""
    point = b'<c:ConnectionPointLink xmlns:c="https://csipaus.org/ns/v1.3" href="/api/v2/cp"/></EndDevice>'
    first = recorded("edev").index(b"<EndDevice ")
    device = recorded("edev")[first : recorded("edev").index(b"</EndDevice>")] + point
    device = device.replace(b"<EndDevice ", b'<EndDevice xmlns="urn:ieee:std:2030.5:ns" ')
    async with site(profile="csip-aus", connection_point="4102345678<9") as one:
        one.utility.replaced["edev"] = b"<EndDeviceList all='0' results='0'/>"
        one.utility.refused["POST edev"] = 403
        await one.at(-60)
        assert "does not register" in one.named("ieee2030_5_lost")[0]["reason"]
        one.utility.refused = {}
        one.utility.created["edev"] = "/api/v2/edev/77"
        one.utility.replaced["edev/77"] = device
        await one.at(0)
        assert one.limits == (3512, 2512)
        schema("1.3").assertValid(etree.fromstring(one.utility.bodies["edev"]))
        assert text_at(read_xml(one.utility.bodies["cp"], "", most_bytes=10_000), "connectionPointId") == "4102345678<9"
        del one.utility.created["edev"], one.utility.bodies["edev"]
        one.client = one.again()
        await one.at(60)
        assert "edev" not in one.utility.bodies
        assert [path for path, _ in one.utility.put].count("cp") == 1
        one.utility.refused["edev/77"] = 404
        await one.at(120)
        one.utility.refused, one.utility.created["edev"] = {}, "/api/v2/edev/77"
        await one.at(180)
        assert "edev" in one.utility.bodies
        assert [path for path, _ in one.utility.put].count("cp") == 2
        one.utility.replaced["edev/77"] = device.replace(b"/api/v2/cp", b"/api/v2/cp/2")
        await one.at(240)
        assert [path for path, _ in one.utility.put][-1] == "cp/2", "the utility has made it anew"


async def test_without_leave_to_register_the_reason_is_named(site: Start) -> None:
    """Others are registered by the utility alone, and never try."""
    for profile, tries in (("csip", False), ("csip-aus", True)):
        async with site(profile=profile) as one:
            one.utility.replaced["edev"] = b"<EndDeviceList all='0' results='0'/>"
            one.utility.refused["POST edev"] = 403
            await one.at(-60)
            assert LFDI in (reason := one.named("ieee2030_5_lost")[0]["reason"])
            assert ("403" in reason) is tries


async def test_a_device_that_is_not_enabled_has_no_programs(site: Start) -> None:
    async with site() as one:
        one.utility.replaced["edev"] = recorded("edev").replace(b"<enabled>true", b"<enabled>false", 1)
        await one.at(-60)
        assert one.limits == (8000, 8000)


async def test_the_newest_version_of_an_australian_server_is_followed(site: Start) -> None:
    """A server without a list of versions has only the configured one; one without a known version is not followed."""
    for known, limits in (("https://csipaus.org/ns/v1.3", (1500, 1500)), ("https://csipaus.org/ns/v9", None)):
        async with site(profile="csip-aus") as one:
            versions = {"supportedSchemaVersions": {known: {"dcap": ["/api/v2/dcap13"]}}}
            one.utility.replaced["/.well-known/csipaus"] = msgspec.json.encode(versions)
            one.utility.replaced["dcap13"] = recorded("dcap")
            await one.at(-60)
            assert ("dcap13" in one.utility.asked) is (limits is not None)
            assert "dcap" not in one.utility.asked
            assert limits is None or one.limits == limits
            assert bool(one.named("ieee2030_5_lost")) is (limits is None)


async def test_ratings_are_sent_once_and_a_status_every_five_minutes(site: Start) -> None:
    """Again when the server was lost; valid by the schema of Australia."""
    async with site(profile="csip-aus") as one:
        for second in range(-600, 0, 60):
            await one.at(second)
        counts = {name: [path for path, _ in one.utility.put].count(f"{DER}/{name}") for name in ("dercap", "derg")}
        assert counts == {"dercap": 1, "derg": 1}
        assert [path for path, _ in one.utility.put].count(f"{DER}/dera") == 2
        for name in ("dercap", "derg", "ders", "dera"):
            schema("1.2").assertValid(etree.fromstring(one.utility.bodies[f"{DER}/{name}"]))
        one.utility.refused["dcap"] = 503
        await one.at(0)
        one.utility.refused = {}
        await one.at(60)
        assert [path for path, _ in one.utility.put].count(f"{DER}/dercap") == 2
        one.utility.refused[f"{DER}/ders"] = 400
        await one.at(600)
        assert any("ders" in each["reason"] for each in one.named("ieee2030_5_problem"))


async def test_readings_wait_for_the_server_and_arrive_once_in_order(site: Start) -> None:
    """At the ends of intervals, by the clock, as often as the server asks; no second usage point after a restart."""
    async with site(metering=True) as one:
        one.utility.created = {"mup": "/api/v2/mup/3", "mup/3": "/api/v2/mup/3/r"}
        one.utility.replaced["mup/3"] = b"<MirrorUsagePoint><postRate>60</postRate></MirrorUsagePoint>"
        arrived = []
        for second in range(-90, 400, 5):
            one.utility.refused = {"dcap": 503, "mup/3": 503} if 100 < second < 300 else {}
            if second == 150:
                one.client = one.again()
            await one.at(second)
            arrived += one.utility.readings
            one.utility.readings.clear()
        starts = [start for start, _ in arrived]
        assert starts == sorted(set(starts))
        assert {start % 60 for start in starts} == {0}
        assert {length for _, length in arrived} == {60}
        assert starts[0] == FIRST_S - 60
        assert starts[-1] == FIRST_S + 300
        assert len(starts) >= 6
        assert one.utility.mirrors == 1


def said_readings(utility: Utility, mirror: str) -> dict[tuple[str | None, ...], list[tuple[int, int]]]:
    """Return start and value of the readings at a usage point, by unit, phase, multiplier and direction."""
    fields = "uom", "phase", "powerOfTenMultiplier", "flowDirection"
    points = [etree.fromstring(each) for each in utility.bodies_of["mup"]]
    sent = [etree.fromstring(each) for each in utility.bodies_of.get(mirror, [])]
    for each in (*points, *sent):
        schema("1.2").assertValid(each)
    types = {
        each.findtext("{*}mRID"): tuple(each.findtext(f"{{*}}ReadingType/{{*}}{name}") for name in fields)
        for point in points
        for each in point.findall("{*}MirrorMeterReading")
    }
    found: dict[tuple[str | None, ...], list[tuple[int, int]]] = {}
    for each in sent:
        start, value = (each.findtext(f"{{*}}Reading/{{*}}{name}") for name in ("timePeriod/{*}start", "value"))
        assert each.findtext("{*}Reading/{*}timePeriod/{*}duration") == "60"
        found.setdefault(types[each.findtext("{*}mRID")], []).append((int(start or ""), int(value or "")))
    return found


@pytest.mark.requirement("R207")
async def test_what_chargers_and_the_sites_meter_measure_is_sent(site: Start) -> None:
    """Means of both, generation positive at chargers and import at the site, in W, var and V; what is not measured, or
    was more than 15 minutes ago, is not sent."""
    async with site(metering=True) as one:
        utility, station = one.utility, await one.backend.booted(version="2.1")
        utility.created = {"mup 0049": "/api/v2/mup/3", "mup 0003": "/api/v2/mup/4", "mup/3": "/r", "mup/4": "/r"}
        utility.replaced |= dict.fromkeys(
            ("mup/3", "mup/4"), b"<MirrorUsagePoint><postRate>60</postRate></MirrorUsagePoint>"
        )

        async def charges(seq_no: int, watts: float) -> None:
            values = sampled("Outlet", ("Power.Active.Import", watts, "W"), ("Power.Reactive.Export", 0.3, "kvar"))
            values += sampled("Outlet", ("Voltage", 400, "V"), ("Voltage L1-N", 229.5, "V"))
            await report_transaction(station, seq_no, values)

        for second in range(-90, 75, 5):
            one.backend.clock.now_ms = (FIRST_S + second) * 1000
            if second in (-90, 30):
                await charges(0 if second < 0 else 1, 7_000 if second < 0 else 1_000)
            if second == -60:
                read = sampled("Upstream", ("Power.Active.Export", 4.2, "kW"), ("Power.Reactive.Import", 1500, "var"))
                read += sampled("Upstream", ("Voltage L1-N", 230.44, "V"), ("Voltage L2-N", 231, "V"))
                await report_meter(station, read)
            await one.at(second)
        first, second_s = FIRST_S - 60, FIRST_S
        assert said_readings(utility, "mup/3") == {
            ("38", "0", "0", "19"): [(first, -7_000), (second_s, -4_000)],
            ("63", "0", "0", "19"): [(first, 300), (second_s, 300)],
            ("29", "129", "-1", "19"): [(first, 2_295), (second_s, 2_295)],
        }
        assert said_readings(utility, "mup/4") == {
            ("38", "0", "0", "1"): [(first, -4_200), (second_s, -4_200)],
            ("63", "0", "0", "1"): [(first, 1_500), (second_s, 1_500)],
            ("29", "129", "-1", "1"): [(first, 2_304), (second_s, 2_304)],
            ("29", "65", "-1", "1"): [(first, 2_310), (second_s, 2_310)],
        }
        assert utility.mirrors == 2
        await one.at(1_000)
        for mirror in ("mup/3", "mup/4"):
            utility.bodies_of[mirror].clear()
        for second in range(1_000, 1_200, 20):
            await one.at(second)
        assert said_readings(utility, "mup/3") == said_readings(utility, "mup/4") == {}


async def test_both_sides_show_certificates(pki: PkiTree) -> None:
    """The server refuses a client without one; the client refuses a server of another CA."""
    files: dict[str, Any] = {
        "certificate": pki.path("csms/station/chain.pem"),
        "key": pki.path("csms/station/leaf.key"),
    }
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki.path("csms/root.pem")))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(pki.path("csms/server/chain.pem"), pki.path("csms/server/leaf.key"))
    async with serving(Utility(), context) as url:
        config = Ieee2030(url=url, root=pki.path("csms/root.pem"), check_hostname=False, **files)
        node = await DerServer(url, tls=tls_of(config)).resource("/api/v2/dcap", "DeviceCapability")
        assert text_at(node, "TimeLink") == ""
        bare = ssl.create_default_context(cafile=str(pki.path("csms/root.pem")))
        bare.check_hostname = False
        with pytest.raises(TransportError):
            await DerServer(url, tls=bare).resource("/api/v2/dcap", "DeviceCapability")
        foreign = Ieee2030(url=url, root=pki.path("v2g/root.pem"), check_hostname=False, **files)
        with pytest.raises(TransportError, match="certificate verify failed"):
            await DerServer(url, tls=tls_of(foreign)).resource("/api/v2/dcap", "DeviceCapability")
    assert len(lfdi_in(files["certificate"])) == 40
    with pytest.raises(ConfigError):
        lfdi_in(files["key"])


async def test_a_list_of_several_pages_is_read_whole() -> None:
    """The server says how many there are."""
    item = b"<DER><DERStatusLink href='/s'/></DER>"

    class Paging(Utility):
        async def answer(self, request: web.Request) -> web.Response:
            count = min(int(request.query["l"]), 250 - int(request.query["s"]))
            return web.Response(body=b"<DERList all='250' results='9'>" + item * count + b"</DERList>")

    async with serving(Paging()) as url:
        assert len(await DerServer(url, tls=None).items("/der", "DER")) == 250


async def test_a_list_that_changes_between_two_pages_is_read_again() -> None:
    """What is read is one state of the list."""

    class Changing(Utility):
        async def answer(self, request: web.Request) -> web.Response:
            self.pages += 1
            count, start = (3 if self.pages < 3 else 300), int(request.query["s"])
            size = 1 if count == 3 else 30
            items = "".join(f"<DER href='/{count}/{start + number}'/>" for number in range(size))
            return web.Response(body=f"<DERList all='{count}' results='{size}'>{items}</DERList>".encode())

    async with serving(Changing()) as url:
        found = await DerServer(url, tls=None).items("/der", "DER")
        assert [each.get("href") for each in found] == [f"/300/{number}" for number in range(300)]


def with_functions(*more: str) -> bytes:
    """Return the recorded default control with functions of inverters beside its limits."""
    volt_var = '<opModVoltVar href="/api/v2/dc/1"/>'
    return recorded(DEFAULT).replace(b"</DERControlBase>", (volt_var + "".join(more) + "</DERControlBase>").encode())


VAR = "<opModFixedVar><refType>2</refType><value>-2500</value></opModFixedVar>"


@pytest.mark.requirement("R46", "R221")
async def test_functions_of_inverters_become_controls_of_the_stations(site: Start) -> None:
    """Set once, also over a restart; cleared when they are demanded no more."""
    async with site(functions=("VoltVar", "FixedVar", "FreqDroop")) as one:
        station = await one.backend.booted(version="2.1")
        station.answers |= {each: {"status": "Accepted"} for each in ("SetDERControl", "ClearDERControl")}
        one.utility.replaced |= {DEFAULT: with_functions(VAR), "dc/1": curve(11, VOLT_VAR, x=-2, y=-1)}
        await one.at(-60)
        await one.client.functions.step()
        assert station.payloads("SetDERControl") == [
            {
                "isDefault": True,
                "controlId": "ieee2030.5-FixedVar",
                "controlType": "FixedVar",
                "fixedVar": {"priority": 1, "setpoint": -25, "unit": "PctMaxVar"},
            },
            {
                "isDefault": True,
                "controlId": "ieee2030.5-VoltVar",
                "controlType": "VoltVar",
                "curve": {
                    "priority": 1,
                    "yUnit": "PctMaxVar",
                    "curveData": [{"x": 92, "y": 44}, {"x": 98, "y": 0}, {"x": 102, "y": 0}, {"x": 108, "y": -44}],
                },
            },
        ]
        one.client = one.again()
        await one.client.functions.step()
        await one.at(-50)
        await one.client.functions.step()
        assert len(station.payloads("SetDERControl")) == 2
        one.utility.replaced[DEFAULT] = with_functions()
        await one.at(11)
        await one.client.functions.step()
        assert [each["controlId"] for each in station.payloads("ClearDERControl")] == ["ieee2030.5-FixedVar"]
        assert one.limits == (3512, 2512), "limits apply as without functions"


async def test_functions_that_nothing_can_follow_are_named(site: Start) -> None:
    """By the client, or by the stations; the rest of a program counts."""
    async with site(functions=("VoltVar", "FixedVar")) as one:
        station = await one.backend.booted(version="2.1")
        station.answers["SetDERControl"] = {"status": "NotSupported"}
        one.utility.replaced |= {DEFAULT: with_functions(VAR), "dc/1": curve(12, VOLT_VAR)}
        await one.at(-60)
        for _ in range(3):
            await one.client.functions.step()
        assert [each["controlType"] for each in station.payloads("SetDERControl")] == ["FixedVar"], "asked once"
        await one.at(0)
        named = [each["reason"] for each in one.named("ieee2030_5_problem")]
        assert any("type 12" in each for each in named)
        assert any("FixedVar is not taken by CS-V2G-0001" in each for each in named)
        one.utility.replaced[DEFAULT] = with_functions(VAR.replace("<refType>2", "<refType>5"))
        await one.at(61)
        await one.at(62)
        assert any("unit 5" in each["reason"] for each in one.named("ieee2030_5_problem"))


async def test_functions_that_no_station_carries_out_have_no_effect(site: Start) -> None:
    """Unless they are configured."""
    async with site() as one:
        station = await one.backend.booted(version="2.1")
        one.utility.replaced[DEFAULT] = with_functions(VAR)
        await one.at(-60)
        await one.client.functions.step()
        assert station.payloads("SetDERControl") == []
        assert one.limits == (1500, 1500)


async def test_a_curve_that_cannot_be_read_now_holds_up_nothing_else(site: Start) -> None:
    """An event of nothing else waits for it; others begin."""
    async with site(functions=("VoltVar",)) as one:
        recorded = (VECTORS / "derp_TESTPRG3_derc.xml").read_bytes()
        linked = b'<opModVoltVar href="/api/v2/dc/1"/></DERControlBase>'
        both = recorded.replace(b"</DERControlBase>", linked, 1)
        first, second, *others = re.split(rb"(?<=</DERControlBase>)", both)
        second = re.sub(rb"(<DERControlBase>).*", rb"\1" + linked, second, flags=re.DOTALL)
        one.utility.replaced |= {"derp/TESTPRG3/derc": b"".join([first, second, *others]), DEFAULT: with_functions()}
        one.utility.refused["dc/1"] = 503
        await one.at(-60)
        await one.at(0)
        assert one.limits == (3512, 2512)
        await one.at(300)
        assert one.limits == (1500, 1500), "the default"
        assert {subject for _, _, subject in one.utility.posted if subject == "737A"} == set()
        del one.utility.refused["dc/1"]
        one.utility.replaced["dc/1"] = curve(11, VOLT_VAR, x=-2, y=-1)
        await one.at(361)
        assert [status for _, status, subject in one.utility.posted if subject == "737A"] == ["1", "2"]


async def test_a_curve_that_cannot_be_read_now_stays_as_it_was(site: Start) -> None:
    async with site(functions=("VoltVar",)) as one:
        station = await one.backend.booted(version="2.1")
        station.answers |= {each: {"status": "Accepted"} for each in ("SetDERControl", "ClearDERControl")}
        one.utility.replaced |= {DEFAULT: with_functions(), "dc/1": curve(11, VOLT_VAR, x=-2, y=-1)}
        for second in (-60, 1):
            await one.at(second)
            await one.client.functions.step()
            one.utility.refused["dc/1"] = 503
        assert len(station.payloads("SetDERControl")) == 1
        assert station.payloads("ClearDERControl") == []


CHARGER = """[charger]
services = [6]
[charger.rating]
max_charge_power_w = 10_000
max_discharge_power_w = 10_000
[hardware]
kind = "dc"
[hardware.watch]
hung_s = 60
[hardware.simulated.stage]
max_var = 10_000
"""
STATION = """[station]
url = "ws://127.0.0.1:{port}/ocpp"
identity = "CS-1"
store = "station.db"
[station.frequency]
source = "trace"
trace = "mains.csv"
every_s = 0.1
"""
CURVES = {"VoltVar": INVERTER_VAR, "VoltWatt": INVERTER_WATT}
SOLD = """[hardware]
hung_s = 60
[services]
energy = ["DC_BPT"]
[[program]]
do = "discharge"
power_w = 10_000
for_s = 1_000_000
"""


@pytest.mark.requirement("R46", "R221")
async def test_curves_of_the_server_are_what_flows_at_the_charger(
    site: Start, pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the server's DERCurves by the client and OCPP 2.1 to the power stage of a whole charger, with a vehicle that
    would discharge at its maximum: W and var at each voltage, by sums made beside (`tests.grid_curves`)."""
    volts = [230.0]
    monkeypatch.setattr(grid_frequency, "value_at", lambda _points, _seconds: volts[-1])
    (tmp_path / "mains.csv").write_text("0,50,230\n1,50,230\n")
    hundredths = {name: [(round(x * 100), round(y * 100)) for x, y in points] for name, points in CURVES.items()}
    async with site(functions=("VoltVar", "VoltWatt")) as one, backend() as csms:
        relay = await one.backend.booted(version="2.1")
        relay.answers["SetDERControl"] = {"status": "Accepted"}
        one.utility.replaced |= {
            DEFAULT: with_functions('<opModVoltWatt href="/api/v2/dc/2"/>'),
            "dc/1": curve(11, hundredths["VoltVar"], x=-2, y=-2),
            "dc/2": curve(12, hundredths["VoltWatt"], unit=1, x=-2, y=-2),
        }
        await one.at(-60)
        await one.client.functions.step()
        controls = relay.payloads("SetDERControl")
        assert {each["controlType"] for each in controls} == set(CURVES)
        csms.versions = ["ocpp2.1"]
        csms.answers["Authorize"] = {"allowed_energy_transfer": ["DC", "DC_BPT"]}
        tables = STATION.format(port=csms.port)
        policy = "minimum_soc = 20\nmax_power_w = 10000"
        async with stand(tmp_path, pki, CHARGER, SOLD, tables=tables, policy=policy) as both:
            await csms.wait("BootNotification")
            for each in controls:
                assert (await csms.request("SetDERControl", each))["status"] == "Accepted"
            running = asyncio.create_task(both.run())
            hardware = both.controller.hardware

            def off() -> tuple[float, float]:
                """Return what flows out of the vehicle, and is injected, percent of the rating."""
                return -hardware.present.watts / 100, hardware.var / 100

            await both.until(lambda: off()[0] > 95)
            for point in (*BY_VOLTAGE[2:11:2], BY_VOLTAGE[9], BY_VOLTAGE[4]):
                volts.append(2.3 * point.volts)
                right = (point.watts, point.var)
                await both.until(
                    lambda right=right: all(abs(a - b) <= 100 * TOLERANCE for a, b in zip(off(), right, strict=True))
                )
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
