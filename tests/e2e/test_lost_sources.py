"""A source of limits that is lost, lies or flaps, at the whole charger, in each language: silence and nonsense never
raise what may flow, and what replaced the commands is named on the charger's page, or by the back end (R56, R206 to
R208)."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from html import unescape
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as paho
import pytest
from pymodbus.client import AsyncModbusTcpClient

import secc.charger
from csms.app import Csms, running
from csms.config import StationEntry
from csms.grid.config import Iec104, Ieee2030, OpenAdr, Scada
from csms.grid.source import GridSource
from pki_tools.tree import PkiTree
from secc.charger import Charger
from secc.status import StatusKeeper
from secc.status_page import page
from tests.csms.backend import TestClock
from tests.csms.grid.line import LineToSite
from tests.csms.grid.utility import LFDI, Utility, recorded, serving
from tests.csms.support import make_config, provide
from tests.eebus import guard
from tests.io.eebus.box import Box, joined, ski
from tests.secc.backend import Backend
from tests.secc.bench_program import BENCH, made
from tests.telemetry.brokers import plain_broker
from v2g.energy.limits import effective_limits
from v2g.errors import TransportError
from v2g.io.hardware import energy_relays
from v2g.io.hardware.energy_eebus import EebusEnergyManager
from v2g.io.hardware.energy_modbus import ModbusEnergyManager
from v2g.ocpp.times import format_time
from v2g_cli.demo.processes import free_port
from v2g_testkit.vtn import Vtn

Limits = tuple[int, int]

FALLBACK: Final = 6_000, 1_000
STATION: Final = """[site]
charge_w = 20000
discharge_w = 20000
[station]
url = "URL"
identity = "CS-V2G-0001"
store = "station.db"
retry_minimum = 0.05
retry_random_range = 0.05
"""
MANAGER: Final = """[[station.energy_managers]]
backend = "{backend}"
source = "SO"
fallback_charge_w = 6000
fallback_discharge_w = 1000
timeout_s = {timeout_s}
state_s = 0.1
{backend} = {section}
"""
SPOKEN: Final = (3_000, 500), (9_000, 5_000), (0, 0), (2_000, 20_000)
NOW_MS: Final = 1_795_161_600_000
PASSWORD: Final = "a password of all"
SPEED: Final = 20.0
"""How fast UTC passes where a back end is between the source and the charger."""


class LostSource:
    """One source, and what the charger knows of it. Subclasses say how it speaks, lies and vanishes."""

    words: tuple[Limits, ...] = SPOKEN

    def __init__(self, folder: Path, pki: PkiTree, patch: pytest.MonkeyPatch, stack: AsyncExitStack) -> None:
        self.folder, self.pki, self.patch, self.stack = folder, pki, patch, stack
        self.clock = TestClock(NOW_MS)
        self.clock.start()

    async def tables(self) -> str:
        """Return the station's tables in the charger's configuration, once all that they name is there."""
        raise NotImplementedError

    async def begin(self, charger: Charger) -> None:
        """Look at this charger."""
        self.charger = charger
        self.keeper = StatusKeeper(charger.config, charger.clock)
        charger.observe.on_event(self.keeper.saw)

    async def say(self, limits: Limits) -> None:
        """Command."""
        raise NotImplementedError

    async def lie(self) -> None:
        """Say what cannot be."""
        raise NotImplementedError

    async def vanish(self) -> None:
        """Say no more."""

    async def instead(self) -> str:
        """Return what is named in its place; empty while it is there."""
        return " ".join(self.keeper.latest.managers_lost.values())

    def remains(self, word: Limits) -> tuple[Limits, str]:
        """Return what holds in the end in place of a word, and how that is named."""
        least = min(word[0], FALLBACK[0]), min(word[1], FALLBACK[1])
        what = "fall-back" if least == FALLBACK else "fall-back, and the last command below it"
        return least, f"{what}: {least[0]} W in, {least[1]} W out"

    @property
    def shown(self) -> str:
        """The charger's page, without markup."""
        return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", page(self.keeper.latest))))


def manager(backend: str, section: str, timeout_s: float = 0.3) -> str:
    """Return the tables of a charger with an energy manager."""
    made = MANAGER.format(backend=backend, section=section, timeout_s=timeout_s)
    return STATION.replace("URL", "ws://127.0.0.1:9/ocpp") + made


class ModbusWriter(LostSource):
    """pymodbus, as an energy manager."""

    async def tables(self) -> str:
        links = self._links = list[ModbusEnergyManager]()
        opened = ModbusEnergyManager.open

        async def note(link: ModbusEnergyManager) -> None:
            await opened(link)
            links.append(link)

        self.patch.setattr(ModbusEnergyManager, "open", note)
        self._client: AsyncModbusTcpClient | None = None
        return manager("modbus", "{ port = 0 }")

    async def _open(self) -> AsyncModbusTcpClient:
        if self._client is None:
            self._client = AsyncModbusTcpClient("127.0.0.1", port=self._links[0].port)
            await self._client.connect()
        return self._client

    async def say(self, limits: Limits) -> None:
        await (await self._open()).write_registers(2, [0, limits[0], 0, limits[1]])

    async def lie(self) -> None:
        assert (await (await self._open()).write_registers(3, [7])).isError(), "half of a value"

    async def vanish(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


class MqttPublisher(LostSource):
    """paho, as an energy manager at a broker in the house."""

    async def tables(self) -> str:
        port = self.stack.enter_context(plain_broker(self.folder)).port
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self.stack.callback(self._client.loop_stop)
        self.stack.callback(self._client.disconnect)
        broker = f'{{ host = "127.0.0.1", port = {port}, without_tls = true }}'
        return manager("mqtt", f'{{ prefix = "site", broker = {broker} }}')

    def _publish(self, text: str) -> None:
        self._client.publish("site/set", text, qos=1).wait_for_publish(5)

    async def say(self, limits: Limits) -> None:
        await asyncio.to_thread(self._publish, json.dumps({"limit_w": limits[0], "discharge_w": limits[1]}))

    async def lie(self) -> None:
        for text in ('{"limit_w": -1e99, "discharge_w": "all"}', '{"limit_w": NaN}', '{"limit_w": 99999999}', "{"):
            await asyncio.to_thread(self._publish, text)


class Contacts(LostSource):
    """Relays of a control box: W4 dims to 4.2 kW, S1 leaves 30 % of 10 kW; those that are open leave all."""

    words = (4_200, 3_000), (20_000, 20_000), (4_200, 20_000)

    async def tables(self) -> str:
        self._active: dict[str, bool] | None = {}
        self.patch.setattr(energy_relays, "POLL_S", 0.01)
        self.patch.setattr(energy_relays, "GpiodLines", lambda _out, _in: self)
        return manager("relays", "{ dim = { line = 4 }, feed_in_30 = { line = 2 }, installed_w = 10000 }")

    def read(self) -> dict[str, bool]:
        if self._active is None:
            raise TransportError("the chip is gone")
        return self._active

    def write(self, name: str, *, active: bool) -> None:
        raise AssertionError(name)

    def close(self) -> None:
        """Nothing is open."""

    async def say(self, limits: Limits) -> None:
        self._active = {"dim": limits[0] == 4_200, "feed_in_30": limits[1] == 3_000}

    async def lie(self) -> None:
        """A contact that bounces is read as nothing new."""

    async def vanish(self) -> None:
        self._active = None


class ControlBoxOnLine(LostSource):
    """A control box over SHIP."""

    async def tables(self) -> str:
        links = self._links = list[EebusEnergyManager]()
        opened = EebusEnergyManager.open
        self._ahead = 0.0

        async def note(link: EebusEnergyManager) -> None:
            await opened(link)
            links.append(link)

        self.patch.setattr(EebusEnergyManager, "open", note)
        read = self.clock.monotonic
        self.patch.setattr(self.clock, "monotonic", lambda: read() + self._ahead)
        self._box: Box | None = None
        self._lines = await self.stack.enter_async_context(AsyncExitStack())
        node = f'folder = "eebus", port = 0, mdns = false, trusted = ["{ski(self.folder / "box")}"], serial = "7"'
        return manager("eebus", f"{{ {node}, nominal_charge_w = 20000, nominal_discharge_w = 20000 }}", 60)

    async def say(self, limits: Limits) -> None:
        if self._box is None:
            link = self._links[0]
            self.patch.setattr(guard, "CHARGER", link.node.id)
            box = joined(self.folder / "box", link.ship.port, link.node.id)
            self._box = await self._lines.enter_async_context(box)
            await self._box.bind()
        for number, watts in ((0, limits[0]), (1, -limits[1])):
            item = {"limitId": number, "isLimitActive": True, "value": {"number": watts, "scale": 0}}
            assert await self._box.say(self._box.limit(item, ended=True)) == 0

    async def lie(self) -> None:
        assert self._box is not None
        for item in (
            {"limitId": 0, "isLimitActive": True, "value": {"number": -20_000}},
            {"limitId": 1, "isLimitActive": True, "value": {"number": 20_000}},
            {"limitId": 0, "isLimitActive": False, "timePeriod": {"endTime": "2001-01-01T00:00:00Z"}},
            {"limitId": 9, "isLimitActive": False},
        ):
            assert await self._box.say(self._box.limit(item)) == 7, item

    async def vanish(self) -> None:
        await self._lines.aclose()
        self._box = None
        self._ahead += 121

    async def instead(self) -> str:
        shown = self.keeper.latest.eebus
        states = {} if shown is None else shown.limits
        lost = all(states.get(each, "").startswith("failsafe") for each in ("LPC", "LPP"))
        return " ".join(f"{each} {states[each]}" for each in states) if lost else ""

    def remains(self, word: Limits) -> tuple[Limits, str]:
        least, _ = super().remains(word)
        return least, f"LPC failsafe, {least[0]} W LPP failsafe, {least[1]} W"


class CsmsOfOthers(LostSource):
    """A back end by the package `ocpp`: its charging profiles go on without it."""

    async def tables(self) -> str:
        self._backend = Backend()
        self._backend.versions = ["ocpp2.1"]
        await self._backend.start()
        self.stack.push_async_callback(self._backend.stop)
        self._there, self._number = True, 0
        return STATION.replace("URL", f"ws://127.0.0.1:{self._backend.port}/ocpp")

    async def say(self, limits: Limits) -> None:
        if not self._there:
            self._backend.point = None
            await self._backend.start(port=self._backend.port)
            self._there = True
        while self._backend.point is None or not self.charger.connected:
            await asyncio.sleep(0.01)
        period = {
            "startPeriod": 0,
            "limit": limits[0],
            "dischargeLimit": -limits[1],
            "operationMode": "ExternalSetpoint",
        }
        answer = await self._set(period)
        assert answer["status"] == "Accepted", answer

    async def _set(self, period: dict[str, Any], **more: Any) -> dict[str, Any]:
        schedule = {"id": 1, "chargingRateUnit": "W", "startSchedule": format_time(self.clock.utc_ms() - 60_000)}
        profile = {
            "id": 1, "stackLevel": 0, "chargingProfilePurpose": "TxDefaultProfile",
            "chargingProfileKind": "Absolute", "chargingSchedule": [schedule | {"chargingSchedulePeriod": [period]}],
        }  # fmt: skip
        return await self._backend.request("SetChargingProfile", {"evseId": 0, "chargingProfile": profile | more})

    async def lie(self) -> None:
        wrong: list[tuple[dict[str, Any], dict[str, Any]]] = [
            ({"limit": 20_000, "dischargeLimit": 20_000}, {}),
            ({"limit": "all"}, {}),
            ({"limit": float("nan")}, {}),
            ({"limit": 20_000, "startPeriod": 5}, {}),
            ({"limit": 20_000}, {"validTo": "2001-01-01T00:00:00Z"}),
        ]
        for period, more in wrong:
            answer = await self._set({"startPeriod": 0} | period, **more)
            assert answer.get("status") != "Accepted", (period, more)

    async def vanish(self) -> None:
        await self._backend.stop()
        self._there = False

    async def instead(self) -> str:
        self.keeper.take(self.charger.controllers, connected=self.charger.connected)
        return self.shown if "not connected since" in self.shown else ""

    def remains(self, word: Limits) -> tuple[Limits, str]:
        return word, "its limits stay in force"


class BehindBackEnd(LostSource):
    """A source of our back end, which shares its limits out over the chargers."""

    source: str

    async def tables(self) -> str:
        self.clock.start(SPEED)
        config = make_config(
            self.folder / "csms", self.pki, ocpp={"security_profile": 1},
            stations=(StationEntry(id="CS-V2G-0001", password=PASSWORD),), grid=await self.grid(),
        )  # fmt: skip
        provide(self.database, config)
        events = self.folder / "csms.events"
        self.csms: Csms = await self.stack.enter_async_context(running(config, events, self.clock))
        self.patch.setenv("V2G_STATION_PASSWORD", PASSWORD)
        return STATION.replace("URL", f"ws://127.0.0.1:{self.csms.ports['ocpp']}/ocpp")

    database: Path

    async def grid(self) -> dict[str, Any]:
        """Return the changes of `[grid]`."""
        raise NotImplementedError

    async def problem(self) -> tuple[str, int]:
        """Return what the back end says of the source, and until when (UTC, ms) its last answer permits export."""
        stated = {each.source: each for each in await self.csms.services[GridSource].stated()}
        mine = stated.get(self.source)
        return ("", 0) if mine is None else (mine.problem, mine.export_until_ms or 0)

    async def instead(self) -> str:
        problem, until_ms = await self.problem()
        return problem if until_ms <= self.clock.utc_ms() else ""  # before, its last answer may still be under way


LIMITED: Final = {"currency": "EUR", "import_limit_w": 20_000, "export_limit_w": 20_000}
GOES_ON: Final = "known events go on, and export ends 60 s after its last answer"


class VtnOnLine(BehindBackEnd):
    """OpenADR."""

    source = "openadr:VEN-1"

    async def grid(self) -> dict[str, Any]:
        self._vtn: Vtn | None = Vtn(now=self.clock.now)
        self._port = await self._vtn.start(0)
        self._event = ""
        secret = self.folder / "secret"
        secret.touch(mode=0o600)
        secret.write_text("ven_secret")
        vtn = OpenAdr(
            url=f"http://127.0.0.1:{self._port}", client_id="ven_client", client_secret_file=secret, ven_name="VEN-1",
            poll_interval_s=1, outage_s=60,
        )  # fmt: skip
        self.stack.push_async_callback(self.vanish)
        return LIMITED | {"openadr": vtn}

    def _put(self, values: tuple[Any, Any]) -> None:
        assert self._vtn is not None
        kinds = ("IMPORT_CAPACITY_LIMIT", "EXPORT_CAPACITY_LIMIT")
        payloads = [{"type": kind, "values": [value]} for kind, value in zip(kinds, values, strict=True)]
        start = format_time(NOW_MS - 3_600_000)
        period = {"start": start, "duration": "P1D"}
        event = {"programID": self._program, "intervalPeriod": period, "intervals": [{"id": 0, "payloads": payloads}]}
        self._event = str(self._vtn.put("events", event, self._event)["id"])

    async def say(self, limits: Limits) -> None:
        if self._vtn is None:
            self._vtn, self._event = Vtn(now=self.clock.now), ""
            await self._vtn.start(self._port)
        if not self._event:
            self._program = str(self._vtn.put("programs", {"programName": "depot"})["id"])
        self._put((limits[0] / 1000, limits[1] / 1000))

    async def lie(self) -> None:
        self._put(("a lot", 1e300))
        while "not supported" not in (await self.problem())[0]:
            await asyncio.sleep(0.01)

    async def vanish(self) -> None:
        if self._vtn is not None:
            await self._vtn.close()
            self._vtn = None

    def remains(self, word: Limits) -> tuple[Limits, str]:
        return (word[0], 0), f"the VTN does not answer; {GOES_ON}"


class UtilityOnLine(BehindBackEnd):
    """IEEE 2030.5."""

    source = "ieee2030.5"

    async def grid(self) -> dict[str, Any]:
        self._utility = Utility()
        self._utility.clock = self.clock
        self._events = 0
        url = await self.stack.enter_async_context(serving(self._utility))
        files: dict[str, Any] = {
            "certificate": self.pki.path("csms/station/chain.pem"), "key": self.pki.path("csms/station/leaf.key"),
        }  # fmt: skip
        config = Ieee2030(url=url, lfdi=LFDI, poll_interval_s=1, outage_s=60, **files)
        return LIMITED | {"ieee2030_5": config}

    def _control(self, limits: tuple[object, object]) -> bytes:
        """Return a list with one event that began just now, and takes a day."""
        self._events += 1
        text = recorded("derp_TESTPRG3_derc").decode()
        head, first, *_ = re.split(r"(?=<DERControl )", text)
        base = "".join(
            f"<ns2:{mode}><multiplier>0</multiplier><value>{watts}</value></ns2:{mode}>"
            for mode, watts in zip(("opModImpLimW", "opModExpLimW"), limits, strict=True)
        )
        now_s = self.clock.utc_ms() // 1000
        for pattern, new in (
            (r"(?s)<DERControlBase>.*</DERControlBase>", f"<DERControlBase>{base}</DERControlBase>"),
            (r"<start>\d+", f"<start>{now_s - 60}"),
            (r"<duration>\d+", "<duration>86400"),
            (r"<creationTime>\d+", f"<creationTime>{now_s + self._events}"),
            (r"DC1B27AC", f"{self._events:08X}"),
        ):
            first = re.sub(pattern, new, first)
        return (head.replace('"5"', '"1"') + first + "</DERControlList>").encode()

    async def say(self, limits: Limits) -> None:
        self._utility.refused.clear()
        if "dcap" in self._utility.replaced or not self._events or limits != self._said:
            self._utility.replaced.pop("dcap", None)
            self._said = limits
            self._utility.replaced["derp/TESTPRG3/derc"] = self._control(limits)

    async def lie(self) -> None:
        self._utility.replaced["derp/TESTPRG3/derc"] = self._control(("NaN", 99_999_999))
        while not (await self.problem())[0]:
            await asyncio.sleep(0.01)

    async def vanish(self) -> None:
        self._utility.replaced["dcap"] = b"<html/>"

    def remains(self, word: Limits) -> tuple[Limits, str]:
        return (word[0], 0), f"the server does not answer; {GOES_ON}"


class CentreOnLine(BehindBackEnd):
    """IEC 60870-5-104, by octets."""

    source = "scada"

    async def grid(self) -> dict[str, Any]:
        self._line: LineToSite | None = None
        self._port = free_port()
        scada = Scada(
            dead_man_s=60, safe_import_w=FALLBACK[0], safe_export_w=FALLBACK[1], iec104=Iec104(port=self._port)
        )
        return LIMITED | {"scada": scada}

    async def say(self, limits: Limits) -> None:
        if self._line is None:
            with suppress(OSError):
                self._line = LineToSite(*await asyncio.open_connection("127.0.0.1", self._port))
                await self._line.start()
        if self._line is not None:
            assert await self._line.command(2101, limits[0] / 1000) == [True, True]
            assert await self._line.command(2102, limits[1] / 1000) == [True, True]

    async def lie(self) -> None:
        assert self._line is not None
        for kw in (float("nan"), float("inf"), -5.0, 1e30):
            for point in (2101, 2102):
                assert await self._line.command(point, kw) == [False, False], (point, kw)
        assert await self._line.command(2101, 20.0, select=False) == [False]

    async def vanish(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    def remains(self, word: Limits) -> tuple[Limits, str]:
        least, _ = super().remains(word)
        below = word[0] < FALLBACK[0] or word[1] < FALLBACK[1]
        what = "a lower written limit stays" if below else "the safe state applies"
        return least, f"nothing was written for 60 s: {what}"


KINDS: Final[dict[str, type[LostSource]]] = {
    "modbus": ModbusWriter, "mqtt": MqttPublisher, "relays": Contacts, "eebus": ControlBoxOnLine, "ocpp": CsmsOfOthers,
    "openadr": VtnOnLine, "ieee2030.5": UtilityOnLine, "iec104": CentreOnLine,
}  # fmt: skip
"""The languages in which a charger's power can be limited."""


@pytest.mark.requirement("R56", "R206", "R207", "R208")
@pytest.mark.parametrize("language", KINDS)
@pytest.mark.parametrize("often", [False, pytest.param(True, marks=pytest.mark.long)], ids=["twice", "often"])
@pytest.mark.some(2)
async def test_a_source_that_is_lost_lies_or_flaps_raises_nothing_and_its_successor_is_named(
    often: bool, language: str, pki: PkiTree, tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A word below the fall-back and one above it; often: every word, and all of them back again."""
    monkeypatch.setattr(secc.charger, "DRAIN_S", 0.0)
    monkeypatch.setattr(BehindBackEnd, "database", empty_database, raising=False)
    async with AsyncExitStack() as stack, asyncio.timeout(240):
        source = KINDS[language](tmp_path, pki, monkeypatch, stack)
        tables = await source.tables()
        charger = await stack.enter_async_context(made(tmp_path, pki, BENCH + tables, clock=source.clock))
        await source.begin(charger)
        words = (*source.words, *reversed(source.words)) if often else source.words[:2]
        for word in words:  # it flaps: it comes and goes
            await until(lambda word=word: says(source, charger, word))  # type: ignore[misc]
            await source.lie()
            await holds(charger, word, 20)
            await source.vanish()
            least, name = source.remains(word)
            while allowed(charger) != least or name not in await source.instead():
                await holds(charger, word, 1)
            await holds(charger, least, 20)


async def says(source: LostSource, charger: Charger, word: Limits) -> bool:
    """Have it say something, and return whether that holds."""
    await source.say(word)  # until now the charger may not have listened
    return allowed(charger) == word and not await source.instead()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something."""
    while not await holds():
        await asyncio.sleep(0.02)


async def holds(charger: Charger, most: Limits, times: int) -> None:
    """Look several times whether no more than this may flow."""
    for _ in range(times):
        now = allowed(charger)
        assert all(each <= bound for each, bound in zip(now, most, strict=True)), f"{now} after {most}"
        await asyncio.sleep(0.005)


def allowed(charger: Charger) -> Limits:
    """Return W that the charger may draw and feed back."""
    (controller,) = charger.controllers
    found = effective_limits(controller.grid.limits, charger.clock.utc_ms())
    return found.charge_w, found.discharge_w
