"""Nodes of a back end that follow a repository of releases, as programs, with slots as folders and their boot loader;
an image is Python code that runs before the back end."""

import asyncio
import contextlib
import json
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from csms.accounts.rules import Role
from csms.db.store import HEAD
from pki_tools.tree import PkiTree
from tests.cli.csms import run
from tests.csms.databases import Databases
from tests.csms.program import write_config
from tests.csms.support import TOKENS, make_config, provide
from tests.deploy.service import TRIAL
from tests.gateway.program import Supervised, supervised
from tests.io.ota.maker import HARDWARE, Maker
from tests.station.device.file_server import FileServer, file_server
from v2g.errors import TransferError
from v2g.io.http.client import request
from v2g.io.ota.opening import FollowerConfig
from v2g.ota.release import RepositoryConfig

pytestmark = [pytest.mark.e2e, pytest.mark.requirement("R133", "R135", "R137", "R139")]

RUN: Final = """import os, sys
os.chdir(os.path.dirname(sys.argv[3]))
code = open(sys.argv[1]).read()
sys.argv[1:4] = ["--config", "node.yaml"]
exec(code)
from csms.app import main
from v2g.io.runtime.program import arguments
sys.exit(main(*arguments("csms", "")))
"""
GOOD: Final = "import sys"
DEAF: Final = """import sys, csms.app
start = csms.app.Api.start
async def elsewhere(api):
    await start(api)
    return 9
csms.app.Api.start = elsewhere
"""
"""Its API does not listen where it says."""
UNREADABLE: Final = "import sys; sys.argv[2] = 'newer.yaml'"
BROKEN: Final = {
    "missing": "import of_tomorrow",
    "wrong": "def",
    "garbled": r"open('garbled.toml', 'wb').write(b'\xff\x00[update'); sys.argv[2] = 'garbled.toml'",
}
"""Nothing of it runs, or it finds no configuration that says where its slots are."""
CLOSING: Final = "import sys, csms.db.store as s; s.HEAD = s.READABLE_BY = '9999'"
"""It would migrate the database."""


class Site:
    """A maker's web server, and folders of nodes."""

    def __init__(self, folder: Path, pki: PkiTree, server: FileServer) -> None:
        self._folder, self._pki, self._server = folder, pki, server
        (folder / "maker").mkdir()
        self._maker = Maker(folder / "maker")

    def release(self, number: int, code: str) -> None:
        self._maker.release(f"csms-{number}.img", number, image=code.encode())
        for each in self._maker.repository.folder.rglob("*"):
            if each.is_file():
                name = each.relative_to(self._maker.repository.folder)
                self._server.files[f"/releases/{name}"] = each.read_bytes()

    def node(self, name: str, database: Path | None = None, **changes: Any) -> Path:
        """Make and return a node's folder."""
        folder = self._folder / name
        (folder / "slots" / "a").mkdir(parents=True)
        (folder / "slots" / "a" / "image").write_text(GOOD)
        releases = RepositoryConfig(root=self._maker.root, url=f"{self._server.url}/releases", hardware=HARDWARE)
        update = FollowerConfig(
            releases=releases, slots=folder / "slots", window="00:00-00:00", every_s=1.0, confirm_s=5.0
        )
        config = make_config(folder, self._pki, node=name, update=update, **changes)
        if database is not None:
            provide(database, config)
        write_config(folder / "node.yaml", config)
        newer = write_config(folder / "newer.yaml", config)
        newer.write_text(newer.read_text() + "of_tomorrow: 1\n")
        return folder

    @contextlib.asynccontextmanager
    async def running(self, folder: Path) -> AsyncIterator[Supervised]:
        start = sys.executable, str(TRIAL), "start", str(folder / "slots")
        run = sys.executable, "-c", RUN, "{image}"
        async with supervised(folder, *start, *run, config="", most_s=180) as found:
            yield found

    async def ask(self, node: Supervised, path: str) -> tuple[int, bytes]:
        """Ask a node where it listened last; 0 if it does not."""
        context = ssl.create_default_context(cafile=self._pki.path("csms/root.pem"))
        ready = node.events("ready")
        url = f"https://localhost:{ready[-1]['data']['api_port'] if ready else 9}{path}"
        headers = {"Authorization": f"Bearer {TOKENS[Role.VIEWER]}"}
        try:
            answer = await request("GET", url, most=65_536, timeout_s=5, headers=headers, context=context)
        except TransferError:
            return 0, b""
        return answer.status, answer.body

    async def inventory(self, node: Supervised) -> list[dict[str, Any]]:
        """Return what `v2g csms inventory` has of it, once it has said that a release has failed."""
        access = self._folder / "access.toml"
        access.touch(mode=0o600)
        while True:
            url = f"https://localhost:{node.events('ready')[-1]['data']['api_port']}"
            ca = self._pki.path("csms/root.pem")
            access.write_text(f'url = "{url}"\ntoken = "{TOKENS[Role.ADMIN]}"\nca = "{ca}"\n')
            words = "csms", "--access", str(access), "inventory", "--each", "--json"
            code, output, errors = await asyncio.to_thread(run, *words)
            assert code == 0, errors
            if '"failed":2' in output.replace(" ", ""):
                return [json.loads(line) for line in output.splitlines()]
            await asyncio.sleep(0.1)


@pytest.fixture
def site(tmp_path: Path, pki: PkiTree) -> Iterator[Site]:
    with file_server() as server:
        yield Site(tmp_path, pki, server)


def slots(folder: Path) -> tuple[str, str]:
    """Return the images of the permanent and the running slot."""
    there = folder / "slots"
    return tuple((there / (there / name).read_text() / "image").read_text() for name in ("active", "runs"))  # type: ignore[return-value]


def data(node: Supervised, name: str) -> list[dict[str, Any]]:
    return [each["data"] for each in node.events(name)]


@pytest.mark.long
async def test_it_installs_what_works_and_goes_back_from_what_cannot_read_its_configuration(
    site: Site, empty_database: Path
) -> None:
    site.release(1, GOOD + "  # 1")
    folder = site.node("north", empty_database)
    async with site.running(folder) as node:
        await node.until("update_confirmed", 1)
        assert slots(folder) == (GOOD + "  # 1",) * 2
        site.release(2, UNREADABLE)
        await node.until("update_failed", 1)
        (failed,) = data(node, "update_failed")
        assert (failed["number"], "unknown key 'of_tomorrow'" in failed["reason"]) == (2, True), failed
        assert slots(folder) == (GOOD + "  # 1",) * 2
        assert len(node.pids) == 4, "one restart for the first, two for the second"
        await node.until("installed", 3)
        assert data(node, "installed")[-1] == {
            "hardware": HARDWARE, "version": "csms-1.img", "number": 1, "failed": 2,
        }  # fmt: skip
        shown = {"part": "node", "where": "north", "vendor": "", "model": HARDWARE, "firmware": "csms-1.img"}
        assert await site.inventory(node) == [shown | {"number": 1, "failed": 2}]


@pytest.mark.long
@pytest.mark.parametrize("name", BROKEN)
async def test_the_former_release_runs_again_within_60_s_after_one_that_cannot_begin(
    site: Site, empty_database: Path, name: str
) -> None:
    site.release(1, BROKEN[name])
    folder = site.node("north", empty_database)
    async with site.running(folder) as node:
        await node.until("update_interrupted", 1)
        assert len(node.pids) == 3
        assert asyncio.get_running_loop().time() - node.started_at[1] < 60
        assert (folder / "slots" / "runs").read_text() == "a"


def overlap(nodes: list[Supervised]) -> bool:
    """Return whether two nodes were ever updated at a time."""
    ends = ("update_confirmed", "update_failed")
    times = [
        (each["utc_ms"], place, each["name"])
        for place, node in enumerate(nodes)
        for name in ("update_began", *ends)
        for each in node.events(name)
    ]
    busy = set[int]()
    for _, place, name in sorted(times):
        if name in ends:
            busy.discard(place)
        else:
            busy.add(place)
        if len(busy) > 1:
            return True
    return False


@pytest.mark.long
async def test_two_nodes_on_one_database_take_turns_and_what_fails_at_one_is_not_tried_by_the_other(
    site: Site, tmp_path: Path, postgresql_databases: Databases, redis_url: str
) -> None:
    key = tmp_path / "store.key"
    key.touch(mode=0o600)
    key.write_text("ab" * 32)
    shared: dict[str, Any] = {
        "store_url": postgresql_databases.create(), "bus_url": redis_url, "bus_without_password": True,
        "store_key": key,
    }  # fmt: skip
    folders = [site.node(name, **shared) for name in ("north", "south")]
    async with contextlib.AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(site.running(folder)) for folder in folders]
        for node in nodes:
            await node.until("installed", 1)
        silent = 0

        async def watch() -> None:
            nonlocal silent
            while True:
                answers = [(await site.ask(node, "/health"))[0] for node in nodes]
                silent += 200 not in answers
                await asyncio.sleep(0.05)

        watching = asyncio.create_task(watch())
        stack.callback(watching.cancel)
        site.release(1, GOOD + "  # 1")
        for node in nodes:
            await node.until("update_confirmed", 1)
        assert [slots(folder) for folder in folders] == [(GOOD + "  # 1",) * 2] * 2
        for number, bad in ((2, DEAF), (3, CLOSING)):
            site.release(number, bad)
            while not any(each["number"] == number for node in nodes for each in data(node, "update_failed")):
                await asyncio.sleep(0.05)
            tried = [sum(each["number"] == number for each in data(node, "update_began")) for node in nodes]
            assert sorted(tried) == [0, 1]
            other = nodes[tried.index(0)]
            while data(other, "update_waits")[-1:] != [
                {"number": number, "reason": f"it failed at node {('north', 'south')[tried.index(1)]}"}
            ]:
                await asyncio.sleep(0.05)
        site.release(4, GOOD + "  # 4")
        for node in nodes:
            await node.until("update_confirmed", 2)
        assert [slots(folder) for folder in folders] == [(GOOD + "  # 4",) * 2] * 2
        watching.cancel()
        reasons = [each["reason"] for node in nodes for each in data(node, "update_failed")]
        assert any("after 5 s" in each for each in reasons), reasons
        assert any(f"revision {HEAD}" in each for each in reasons), reasons
        assert (silent, overlap(nodes)) == (0, False)
        status, body = await site.ask(nodes[0], "/node-firmware")
        assert (status, body.count(b'"number":4'), body.count(b'"trying":null')) == (200, 2, 2), body
