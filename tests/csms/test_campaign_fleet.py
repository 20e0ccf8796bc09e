"""Campaigns over simulated stations and two nodes, to the end: some are offline, some crash, files are gone."""

import asyncio
import contextlib
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from csms.config import StationEntry
from pki_tools.tree import PkiTree
from tests.csms.databases import Databases
from tests.csms.program import Program, write_config
from tests.csms.support import make_config
from tests.station.device.file_server import FileServer, file_server
from v2g.io.runtime.clock import ClockConfig
from v2g_cli.demo.update import Maker

SCALE: Final = 5.0
PASSWORD: Final = "a password of all"  # of simulated stations
EACH: Final = 25
OFFLINE: Final = 3
FLEETS: Final = {"NA": EACH, "NB": EACH, "OFF": OFFLINE}
NAMES: Final = tuple(
    f"{prefix}-{number:0{len(str(count))}}" for prefix, count in FLEETS.items() for number in range(1, count + 1)
)


class Fleet:
    """Two nodes with 25 stations each, and stations that are offline until `come`."""

    def __init__(self, folder: Path, nodes: list[Program], server: FileServer) -> None:
        self._folder, self.nodes, self.server = folder, nodes, server
        self._maker = Maker(folder)
        self._stations: list[asyncio.subprocess.Process] = []
        self._update = folder / "update.toml"
        self._update.write_text('slots = "slots"\nwindow = "00:00-00:00"\nmanufacturer_roots = ["manufacturer.pem"]\n')

    async def start(self, prefix: str, node: Program) -> None:
        """Start the stations of a prefix at a node."""
        # Their clocks must not be behind those of the nodes.
        words = "--no-live", "--count", str(FLEETS[prefix]), "--update", str(self._update), "--speed", str(SCALE)
        url = f"ws://127.0.0.1:{node.ports['ocpp']}/ocpp"
        command = [sys.executable, "-m", "v2g_cli", "station", "--prefix", f"{prefix}-", "--url", url]
        command += ["--password", PASSWORD, *words]
        with (self._folder / f"{prefix}.log").open("wb") as log:
            self._stations.append(await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log))

    async def stop(self) -> None:
        for each in self._stations:
            each.terminate()
        await asyncio.gather(*(each.wait() for each in self._stations))

    async def get(self, path: str) -> Any:
        return (await self.nodes[0].request("GET", path))[1]

    async def connected(self, count: int) -> None:
        while len([each for each in await self.pages("/stations") if each["connected"]]) < count:
            await asyncio.sleep(0.5)

    async def pages(self, path: str) -> list[Any]:
        return list(await self.get(f"{path}?limit=1000"))

    async def versions(self) -> Counter[str]:
        return Counter(each["firmware"] for each in await self.pages("/stations"))

    def image(self, name: str, content: bytes) -> dict[str, str]:
        self.server.files[f"/{name}"] = content
        return self._maker.offer(f"{self.server.url}/{name}", content)

    async def begin(self, name: str, content: bytes, **plan: Any) -> str:
        """Begin a campaign; return its path."""
        given = {
            "image": self.image(f"{name}.img", content), "rollback": self.image("old.img", b"0.1.0\n"), "daily": 1.0,
            "window": None, "watch_s": 30, "retries": 0, "patience_s": 300, "cohorts": [0.05, 0.3, 1.0],
        }  # fmt: skip
        body = {"name": name, "plan": given | plan, "station_ids": list(NAMES)}
        status, made = await self.nodes[1].request("POST", "/campaigns", json.dumps(body).encode())
        assert status == 201, made
        return f"/campaigns/{made['campaign_id']}"

    async def end(self, path: str, *, settled: int = 0) -> tuple[str, str, list[dict[str, Any]]]:
        """Wait until a campaign is over, with so many stations installed; return its state, reason and members."""
        while True:
            found = await self.get(path)
            states = Counter(each["state"] for each in found["members"])
            if found["state"] in ("Finished", "Halted") and states["Installed"] >= settled and not states["Working"]:
                return found["state"], found["reason"], found["members"]
            await asyncio.sleep(0.5)


@pytest.fixture
async def fleet(tmp_path: Path, pki: PkiTree, postgresql_databases: Databases, redis_url: str) -> AsyncIterator[Fleet]:
    key = tmp_path / "store.key"
    key.touch(mode=0o600)
    key.write_text("ab" * 32)
    entries = tuple(StationEntry(id=each, password=PASSWORD) for each in NAMES)
    common: dict[str, Any] = {
        "store_url": postgresql_databases.create(), "bus_url": redis_url, "bus_without_password": True,
        "store_key": key, "stations": entries, "clock": ClockConfig(scale=SCALE), "ocpp": {"security_profile": 1},
    }  # fmt: skip
    nodes: list[Program] = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        config = write_config(tmp_path / f"{name}.yaml", make_config(tmp_path / name, pki, node=name, **common))
        nodes.append(await Program.start(config, tmp_path / f"{name}.events", pki, quiet=True))
    with file_server() as server:
        made = Fleet(tmp_path, nodes, server)
        try:
            for prefix, node in zip(("NA", "NB"), nodes, strict=True):
                await made.start(prefix, node)
            await made.connected(2 * EACH)
            yield made
        finally:
            await made.stop()
            for node in nodes:
                with contextlib.suppress(ProcessLookupError):
                    await node.stop()


@pytest.mark.long
@pytest.mark.e2e
@pytest.mark.requirement("R136", "R137")
async def test_stations_that_were_offline_are_updated_when_they_connect(fleet: Fleet) -> None:
    async with asyncio.timeout(600):
        state, reason, _ = await fleet.end(await fleet.begin("good", b"0.2.0\n"))
        gone = f"{OFFLINE} offline"
        assert (state, reason) == ("Finished", f"{2 * EACH} of {len(NAMES)} stations installed it, {gone}")
        await fleet.start("OFF", fleet.nodes[0])
        _, _, members = await fleet.end("/campaigns/1", settled=len(NAMES))
        assert {each["state"] for each in members} == {"Installed"}
        assert await fleet.versions() == {"0.2.0": len(NAMES)}


@pytest.mark.long
@pytest.mark.e2e
@pytest.mark.requirement("R136", "R137")
@pytest.mark.parametrize("share", [3, 10])
async def test_stations_that_crash_go_back_with_their_reason(fleet: Fleet, share: int) -> None:
    """It goes on or halts; none of those that crash stays on the new image."""
    async with asyncio.timeout(900):
        # A watch is 12 s of the machine, so that those that crash are back before, on a busy one, too.
        path = await fleet.begin("bad", f"0.{share}.1\ncrashes 2 at {share} %\n".encode(), watch_s=60)
        state, reason, members = await fleet.end(path)
        crashed = [each for each in members if each["trouble"] == "Crashed"]
        assert crashed, reason
        assert {each["state"] for each in crashed} == {"Reverted"}
        assert f"Crashed {len(crashed)}" in reason
        if state == "Halted":
            assert set(await fleet.versions()) == {"0.1.0"}


@pytest.mark.long
@pytest.mark.e2e
@pytest.mark.requirement("R136", "R137")
async def test_a_file_server_that_is_gone_ends_a_campaign(fleet: Fleet) -> None:
    """What has begun fails with its reason, the rest is left alone, and an operator is told."""
    async with asyncio.timeout(900):
        path = await fleet.begin("gone", b"0.9.0\n")
        del fleet.server.files["/gone.img"]
        state, _, members = await fleet.end(path)
        assert state == "Halted"
        assert {each["trouble"] for each in members if each["state"] == "Failed"} <= {"DownloadFailed", "Silent"}
        assert Counter(each["state"] for each in members)["Waiting"] > EACH
        while {each["kind"] for each in await fleet.get("/alerts?active=true")} < {"campaign_halted", "update_failed"}:
            await asyncio.sleep(0.5)
