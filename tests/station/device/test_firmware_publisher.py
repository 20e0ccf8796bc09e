"""Firmware for other stations of the site: what is fetched, and what is served (L03, L04)."""

import asyncio
import hashlib
import http.client
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from tests.station.device.file_server import FileServer, file_server
from v2g.io.http.cancel import Cancel
from v2g.io.http.files import download
from v2g.iso15118.engine.session import Fact
from v2g_station.blocks.firmware_publishing import Publish, PublishProgress, Unpublish
from v2g_station.device.firmware_publisher import PublishConfig, Publisher

IMAGE = b"firmware of another station " * 4000
MD5 = hashlib.md5(IMAGE, usedforsecurity=False).hexdigest()


class Site:
    """A publisher, and what it reported."""

    def __init__(self, folder: Path, most_clients: int = 32) -> None:
        self.reported: list[Fact] = []
        self.folder = folder
        config = PublishConfig(address="127.0.0.1", port=0, most_mib=1, most_clients=most_clients)
        self.publisher = Publisher(
            config, lambda: folder, notify=self.reported.append, context=self.none, pause=self.pause
        )

    def none(self) -> Any:
        raise AssertionError("no TLS here")

    async def pause(self, _: float) -> None:
        return

    async def publish(self, url: str, checksum: str = MD5) -> list[str]:
        """Publish; return the statuses."""
        self.reported.clear()
        command = Publish(request_id=1, url=url, checksum=checksum, retries=1, retry_interval_s=60)
        self.publisher.command(command)
        await self.publisher.finished()
        return [fact.status for fact in self.reported if isinstance(fact, PublishProgress)]

    @property
    def location(self) -> str:
        """Where the file is."""
        return [fact for fact in self.reported if isinstance(fact, PublishProgress)][-1].locations[0]


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    found = Site(tmp_path)
    yield found
    await found.publisher.close()


@pytest.fixture
def maker() -> Iterator[FileServer]:
    with file_server() as server:
        server.files["/image"] = IMAGE
        yield server


WHOLE = ["Downloading", "Downloaded", "ChecksumVerified", "Published"]


async def test_others_get_the_file_and_nothing_else(site: Site, maker: FileServer, tmp_path: Path) -> None:
    assert await site.publish(maker.url + "/image") == WHOLE
    copy = tmp_path / "copy"
    with copy.open("wb") as into:
        await asyncio.to_thread(download, site.location, into, most=10**6, cancel=Cancel())
    assert copy.read_bytes() == IMAGE
    host, port = site.location.removeprefix("http://").split("/")[0].split(":")

    def status(path: str) -> int:
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        connection.request("GET", path)
        found = connection.getresponse().status
        connection.close()
        return found

    for path in ("/", "/firmware/", "/firmware/../copy", "/firmware/%2e%2e/copy", f"/firmware/{'0' * 32}", "/copy"):
        assert await asyncio.to_thread(status, path) == 404, path
    site.publisher.command(Unpublish(checksum=MD5))
    assert await asyncio.to_thread(status, f"/firmware/{MD5}") == 404
    assert not (tmp_path / MD5).exists()


@pytest_asyncio.fixture
async def narrow(tmp_path: Path) -> AsyncIterator[Site]:
    found = Site(tmp_path, most_clients=1)
    yield found
    await found.publisher.close()


async def test_idle_connections_do_not_use_the_charger_up(narrow: Site, maker: FileServer) -> None:
    """One client is allowed here: one that only sits there makes room for one that asks."""
    site = narrow
    await site.publish(maker.url + "/image")
    host, port = site.location.removeprefix("http://").split("/")[0].split(":")
    _, sitting = await asyncio.open_connection(host, int(port))

    def fetch() -> int | None:
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        try:
            connection.request("GET", f"/firmware/{MD5}")
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    for _ in range(3):
        assert await asyncio.to_thread(fetch) == 200
        _, another = await asyncio.open_connection(host, int(port))
        another.close()
    sitting.close()


async def test_a_file_that_is_there_is_not_fetched_again(site: Site, maker: FileServer) -> None:
    await site.publish(maker.url + "/image")
    asked = maker.asked
    assert await site.publish(maker.url + "/image") == ["Published"]
    assert maker.asked == asked


async def test_a_wrong_checksum_is_not_published(site: Site, maker: FileServer) -> None:
    assert await site.publish(maker.url + "/image", "0" * 32) == ["Downloading", "Downloaded", "InvalidChecksum"]
    assert list(site.folder.iterdir()) == []


async def test_what_cannot_be_had_fails(site: Site, maker: FileServer) -> None:
    assert await site.publish(maker.url + "/elsewhere") == ["Downloading", "DownloadFailed"]
    maker.files["/large"] = bytes(2 * 1024 * 1024)
    assert await site.publish(maker.url + "/large") == ["Downloading", "DownloadFailed"]
    maker.judge = lambda *_: 302
    before = maker.asked
    assert await site.publish(maker.url + "/image") == ["Downloading", "DownloadFailed"]
    assert maker.asked == before + 1, "redirects are not followed"
    assert list(site.folder.iterdir()) == []


async def test_a_disk_that_does_not_take_it_fails(site: Site, maker: FileServer) -> None:
    (site.folder / MD5).mkdir()
    assert (await site.publish(maker.url + "/image"))[-1] == "PublishFailed"


def test_an_address_that_others_cannot_reach_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="publish needs url"):
        msgspec.convert({"port": 1}, PublishConfig)
    assert msgspec.convert({"url": "http://10.0.0.1:8180"}, PublishConfig).port == 8180
