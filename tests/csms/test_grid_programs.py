"""Limits of the grid signal through whole programs: what simulated vehicles really draw stays within them (R193)."""

import asyncio
import contextlib
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path
from typing import Any, Final

import pytest

from csms.alerts.config import AlertsConfig
from csms.config import StationEntry
from csms.smart_charging.charging_plans import FOLLOWED_MS
from csms.tokens.rules import TokenEntry
from pki_tools.tree import PkiTree
from tests.csms.databases import Databases
from tests.csms.program import Program, write_config
from tests.csms.support import make_config, provide
from tests.waiting import until
from v2g.io.runtime.clock import ClockConfig

SPEED: Final = 10.0
PASSWORD: Final = "a password of all"  # of simulated stations
STEADY_S: Final = 1.0
"""So long what flows has to stay where it is expected."""

Limits = list[dict[str, Any]]


class World:
    """Nodes of one back end, and stations at them in processes of their own."""

    def __init__(self, folder: Path, pki: PkiTree) -> None:
        self._folder, self._pki = folder, pki
        self.nodes: list[Program] = []
        self._fleets: dict[str, asyncio.subprocess.Process] = {}
        self._version = 0

    async def node(self, name: str, empty: Path | None = None, *, patient: bool = False, **changes: Any) -> None:
        folder = self._folder / name
        folder.mkdir()
        token = TokenEntry(id_token="CA4D0001", type="ISO14443")
        given: dict[str, Any] = {"clock": ClockConfig(scale=SPEED), "alerts": AlertsConfig(poll_interval_s=0.5)}
        config = make_config(
            folder, self._pki, node=name, ocpp={"security_profile": 1}, tokens=(token,), **(given | changes)
        )
        if empty is not None:
            provide(empty, config)
        path, events = write_config(self._folder / f"{name}.yaml", config), self._folder / f"{name}.events"
        self.nodes.append(await Program.start(path, events, self._pki, quiet=True, patient=patient))

    async def fleet(self, prefix: str, count: int, node: int = 0, **about: Any) -> None:
        """Start stations, each with a vehicle that takes and gives 50 kW, or by `kw`."""
        given = {
            "url": f"ws://127.0.0.1:{self.nodes[node].ports['ocpp']}/ocpp", "prefix": prefix, "count": count,
            "password": PASSWORD, "speed": SPEED, "powers": str(self._powers(prefix)), "kw": 50.0, "phases": 0,
            "offline_per_day": 0.0, "ignores_limits": [], "refuses_below": {},
        }  # fmt: skip
        path = self._folder / f"{prefix}.json"
        path.write_text(json.dumps(given | about))
        with (self._folder / f"{prefix}.log").open("wb") as log:
            self._fleets[prefix] = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.csms.grid_fleet", str(path), stdout=log, stderr=log
            )

    async def stop(self) -> None:
        for each in self._fleets.values():
            with contextlib.suppress(ProcessLookupError):
                each.kill()
            await each.wait()
        for node in self.nodes:
            with contextlib.suppress(ProcessLookupError):
                await node.stop()

    def _powers(self, prefix: str) -> Path:
        return self._folder / f"{prefix}.powers"

    def now(self, prefix: str) -> dict[str, int]:
        """What the stations of a prefix draw now, W."""
        lines = self._powers(prefix).read_bytes().split(b"\n") if self._powers(prefix).exists() else []
        found: dict[str, int] = json.loads(lines[-2])["powers"] if len(lines) > 1 else {}
        return found

    def flows(self, names: Collection[str] | None = None) -> int:
        """What flows to these stations, or to all, W."""
        every = {name: power for prefix in self._fleets for name, power in self.now(prefix).items()}
        return sum(power for name, power in every.items() if names is None or name in names)

    async def steady(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds, and goes on to."""
        since = time.monotonic()
        while time.monotonic() < since + STEADY_S:
            if not holds():
                since = time.monotonic()
            await asyncio.sleep(0.05)

    async def ask(self, method: str, path: str, body: Any = None, node: int = 0) -> Any:
        status, found = await self.nodes[node].request(method, path, b"" if body is None else json.dumps(body).encode())
        assert status < 300, found
        return found

    async def limit(self, import_w: int, export_w: int, limits: Limits | None = None) -> int:
        """Put a signal in force that limits all stations together; return when it was issued (UTC, ms)."""
        self._version += 1
        now_ms = self.nodes[0].events()[-1]["utc_ms"]
        signal = {
            "version": self._version, "issued_at_ms": now_ms, "source": "dso", "currency": "EUR", "slots": [],
            "site_import_limit_w": import_w, "export_limit_w": export_w, "valid_until_ms": 4_000_000_000_000,
            "limits": limits or [],
        }  # fmt: skip
        await self.ask("PUT", "/grid/signal", signal)
        return int(now_ms)

    async def metered(self, names: Collection[str]) -> None:
        """Have stations report their power every 10 s of their time."""
        variable = {"component": {"name": "SampledDataCtrlr"}, "variable": {"name": "TxUpdatedInterval"}}
        for name in names:
            body = {"setVariableData": [variable | {"attributeValue": "10"}]}
            await self.ask("POST", f"/stations/{name}/commands/SetVariables", body)

    async def connected(self, count: int) -> None:
        while len([each for each in await self.ask("GET", "/stations?limit=1000") if each["connected"]]) < count:
            await asyncio.sleep(0.2)

    async def until_alert(self, kind: str, subject: str, node: int = 0) -> dict[str, Any]:
        while True:
            for each in await self.ask("GET", "/alerts?active=true", node=node):
                if (each["kind"], each["subject"]) == (kind, subject):
                    return dict(each)
            await asyncio.sleep(0.1)

    async def shown(self, limit_w: int, flow_w: int) -> None:
        """Wait until metrics and console show a limit of import, what flows, and the difference."""
        back_end = self.nodes[0]
        sample = 'v2g_grid_{}_watts{{connection_point="all"{}}} {:.1f}'.format
        direction = ',direction="import"'
        samples = {
            sample("limit", direction, limit_w), sample("flow", "", flow_w), sample("left", direction, limit_w - flow_w)
        }  # fmt: skip
        while not samples <= set((await back_end.request("GET", "/metrics"))[1].splitlines()):
            await asyncio.sleep(0.1)
        overview, limits = await back_end.console_pages("/console", "/console/v2g")
        limit, flow, excess = (f"{each / 1000:.1f} kW" for each in (limit_w, flow_w, flow_w - limit_w))
        assert f"Import limit {limit}, {excess} exceeded" in overview
        row = f"all stations import {limit} .*? {flow} {excess} exceeded"  # between them its source and its end
        assert re.search(row, limits), limits


@pytest.fixture
async def world(tmp_path: Path, pki: PkiTree) -> AsyncIterator[World]:
    made = World(tmp_path, pki)
    try:
        yield made
    finally:
        await made.stop()


def entries(*names: str) -> tuple[StationEntry, ...]:
    return tuple(StationEntry(id=each, password=PASSWORD) for each in names)


@pytest.mark.e2e
@pytest.mark.requirement("R193")
@pytest.mark.long
async def test_what_those_draw_that_ignore_a_limit_or_refuse_a_lower_one_is_taken_from_the_others(
    world: World, empty_database: Path
) -> None:
    names = ["DC1", "DC2", "DC3", "DC4"]
    async with asyncio.timeout(120):
        await world.node("a", stations=entries(*names), empty=empty_database)
        await world.limit(140_000, 6_000)
        await world.fleet("DC", 4, ignores_limits=["DC3"], refuses_below={"DC4": 26_000.0})
        await world.connected(4)
        await world.metered(names)
        await world.steady(lambda: 139_000 <= world.flows() <= 140_000 and world.now("DC")["DC3"] == 50_000)
        await world.until_alert("limit_not_obeyed", "DC3")
        assert 89_000 <= world.flows(["DC1", "DC2", "DC4"]) <= 90_000
        await world.limit(100_000, 6_000)
        await world.until_alert("limit_not_obeyed", "DC4")
        await world.steady(lambda: 99_000 <= world.flows() <= 100_000 and world.now("DC")["DC4"] == 30_000)
        assert 19_000 <= world.flows(["DC1", "DC2"]) <= 20_000


BROKEN_S: Final = 10.0
"""So soon after the reading that shows it a broken limit is an alert."""


@pytest.mark.long
@pytest.mark.e2e
@pytest.mark.requirement("R125")
@pytest.mark.requirement("R193")
async def test_a_broken_limit_is_an_alert_within_10_s_and_shown_by_metric_and_console(
    world: World, empty_database: Path
) -> None:
    """By the times that the back end records, with the alerts' configuration that it begins with: first a limit is
    lowered below what one draws that ignores it, then another one that ignores limits comes."""
    names = ["DC1", "DC2", "DC3", "IG1"]
    async with asyncio.timeout(120):
        await world.node("a", stations=entries(*names), empty=empty_database, patient=True, alerts=AlertsConfig())
        (back_end,) = world.nodes
        await world.limit(100_000, 6_000)
        await world.fleet("DC", 3, ignores_limits=["DC3"])
        await world.connected(3)
        await world.metered(names[:3])
        await world.steady(lambda: world.flows() <= 100_000 and world.now("DC")["DC3"] == 50_000)

        def said(what: str) -> list[int]:
            """When the back end announced that alerts about the limit began or were over (its UTC, ms)."""
            found = back_end.events(what)
            return [each["utc_ms"] for each in found if each["data"]["kind"] == "grid_limit_exceeded"]

        def since_read_s(at_ms: int, from_ms: float, *stations: str) -> float:
            """How long before a time it received the first reading of these stations from another time on, s."""
            found = [each for each in back_end.events("transaction_updated") if each["data"]["station"] in stations]
            times = [each["utc_ms"] for each in found if each["data"]["trigger"] == "MeterValuePeriodic"]
            return (at_ms - min(each for each in times if each >= from_ms)) / 1000 / SPEED

        async def over() -> int:
            """Wait until no alert is left; return how many there were."""
            while len(said("alert_raised")) != len(said("alert_cleared")):
                await asyncio.sleep(0.1)
            return len(said("alert_raised"))

        before = await over()  # while the one that ignores it began, and others were not lowered yet
        issued_ms = await world.limit(30_000, 6_000)
        await world.steady(lambda: len(said("alert_raised")) > before and world.flows() == 50_000)
        follow_ms = issued_ms + FOLLOWED_MS * SPEED  # until then stations may take to follow
        assert 0 < since_read_s(said("alert_raised")[before], follow_ms, *names) <= BROKEN_S
        await world.shown(30_000, 50_000)

        await world.limit(90_000, 6_000)
        before = await over()
        await world.steady(lambda: 85_000 <= world.flows() <= 90_000)
        await world.fleet("IG", 1, ignores_limits=["IG1"])
        await until(lambda: world.now("IG").get("IG1") == 50_000)
        broken_ms = back_end.events()[-1]["utc_ms"]
        await world.metered(["IG1"])
        await world.steady(lambda: len(said("alert_raised")) > before and world.flows() == 100_000)
        assert since_read_s(said("alert_raised")[before], broken_ms, "IG1") <= BROKEN_S
        await world.shown(90_000, 100_000)


AC: Final = ("AC1", "AC2", "AC3", "AC4")
PHASES: Final = ("L1", "L2", "L3", "L1")
"""Of these stations, whose site is unbalanced: two are at L1."""
STATIONS: Final = ("DA1", "DA2", "DA3", "DB1", "DB2", "OF1", *AC)
YARD: Final = {
    "id": "yard",
    "nodes": [{"id": "main", "limits": [80_000] * 3}, {"id": "row", "parent": "main", "limits": [63_000] * 3}],
    "places": [
        {"station_id": name, "evse_id": 1, "node": "row", "most_ma": 32_000, "phases": [phase]}
        for name, phase in zip(AC, PHASES, strict=True)
    ],
}
ROW_MA: Final = (24_000, 16_000, 32_000)
ROW: Final[Limits] = [
    {"connection_point": {"site": "yard", "feeder": "row"}, "direction": "import", "phases_ma": list(ROW_MA)}
]


@pytest.fixture
async def two_nodes(world: World, tmp_path: Path, postgresql_databases: Databases, redis_url: str) -> World:
    """Two nodes on PostgreSQL and Redis; stations at both, one of which ignores limits, and one is often offline."""
    key = tmp_path / "store.key"
    key.touch(mode=0o600)
    key.write_text("ab" * 32)
    common: dict[str, Any] = {
        "store_url": postgresql_databases.create(), "bus_url": redis_url, "bus_without_password": True,
        "store_key": key, "stations": entries(*STATIONS),
    }  # fmt: skip
    for name in ("a", "b"):
        await world.node(name, **common)
    await world.ask("PUT", "/sites/yard", YARD)
    await world.limit(100_000, 6_000, ROW)
    await world.fleet("DA", 3, ignores_limits=["DA3"])
    await world.fleet("DB", 2, node=1)
    await world.fleet("AC", 4, node=1, phases=1, kw=7.36)
    await world.fleet("OF", 1, offline_per_day=2880.0)
    await world.connected(len(STATIONS))
    await world.metered(["DA1", "DA2", "DA3", "DB1", "DB2", *AC])
    return world


def on_phases(world: World) -> list[int]:
    """The current on each phase of the site's feeder, mA."""
    powers = world.now("AC")
    return [
        sum(powers[name] * 1000 // 230 for name, at in zip(AC, PHASES, strict=True) if at == phase)
        for phase in ("L1", "L2", "L3")
    ]


@pytest.mark.long
@pytest.mark.e2e
@pytest.mark.requirement("R193")
async def test_limits_hold_over_two_nodes_whatever_is_asked_and_when_one_is_killed(two_nodes: World) -> None:
    world = two_nodes

    def full(limit_w: int) -> bool:
        within = all(drawn <= most for drawn, most in zip(on_phases(world), ROW_MA, strict=True))
        return within and limit_w * 0.9 <= world.flows() <= limit_w and world.now("DA")["DA3"] == 50_000

    async with asyncio.timeout(600):
        await world.steady(lambda: full(100_000))
        assert on_phases(world)[0] > 20_000, "both vehicles at L1 charge"
        await world.until_alert("limit_not_obeyed", "DA3", node=1)

        await world.ask("POST", "/dispatch/setpoint", {"setpoint_w": 300_000})
        await world.steady(lambda: full(100_000))
        await world.ask("POST", "/dispatch/setpoint", {"setpoint_w": -300_000})
        await world.steady(lambda: -6_000 <= world.flows(set(STATIONS) - {"DA3", "OF1"}) <= -3_000)
        await world.ask("POST", "/dispatch/setpoint", {"setpoint_w": 300_000}, node=1)  # the last one counts
        await world.steady(lambda: full(100_000))
        before = time.monotonic()
        while time.monotonic() < before + 10:  # one station comes and goes meanwhile
            assert world.flows(set(STATIONS) - {"DA3", "OF1"}) > 0
            await asyncio.sleep(0.05)

        await world.limit(30_000, 6_000, ROW)  # less than the one draws that ignores it
        await world.until_alert("grid_limit_exceeded", "import", node=1)
        await world.steady(lambda: world.flows() == 50_000)  # the others draw nothing any more
        (found,) = [
            each for each in await world.ask("GET", "/grid/limits") if each["connection_point"] == "all"
            and each["direction"] == "import"
        ]  # fmt: skip
        assert (found["limit_w"], found["left_w"] < 0) == (30_000, True)
        assert found["flow_w"] >= 50_000

        await world.limit(100_000, 6_000, ROW)
        await world.steady(lambda: full(100_000))
        await world.nodes[1].kill()
        before = time.monotonic()
        while time.monotonic() < before + 10:  # its stations keep their shares
            assert world.flows() <= 100_000
            await asyncio.sleep(0.05)
        kept_w = world.flows({"DB1", "DB2", *AC, "OF1"})
        await world.limit(90_000, 6_000, ROW)
        await world.steady(lambda: world.flows() <= max(90_000, 50_000 + kept_w))
