"""Updates of back-end hosts by signed releases, one node of a cluster after the other (R133, R135, R137).

A node that did not work with a release keeps the others from it: they wait for the next one.
"""

import asyncio
import ssl
from pathlib import Path
from typing import Final, NoReturn

from csms.config import CsmsConfig
from csms.db.store import shut_out
from csms.nodes import store as rows
from csms.services import Services
from v2g.errors import TransferError
from v2g.io.http.client import request
from v2g.io.ota.follower import Follower
from v2g.io.ota.opening import FollowerConfig
from v2g.observe import Observe

_RESTART_S: Final = 600.0
"""A node that is back later than that, after the time limits of the download and of its trial, has failed."""

_ANSWER_S: Final = 5.0
_EVERYWHERE: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - where it listens


class NodeUpdates:
    """Keeps one node up to date. `follower` was started before; `port` is that of the API."""

    def __init__(self, services: Services, follower: Follower, config: FollowerConfig, port: int) -> None:
        self._services, self._follower, self._config = services, follower, config
        host = services.config.api.host
        self._url = f"https://{_EVERYWHERE.get(host, host)}:{port}/health"
        self._node = services.config.node_name
        self._waits_for = ""

    async def run(self) -> NoReturn:
        """Settle what is on trial, and look for releases. Raises InstallError, StoreError."""
        await self._follower.settle(self._problem)
        self._services.observe(self._follower.installed())
        await self._report()
        while True:
            await self._follower.look(self._turn)
            await self._report()
            await asyncio.sleep(self._config.every_s)

    async def _report(self) -> None:
        services, installed = self._services, self._follower.installed()
        await services.store.run(rows.settled, self._node, installed.data, services.clock.utc_ms())

    async def _turn(self, number: int) -> bool:
        """Return whether this node may install a release now."""
        services = self._services
        now_ms, config = services.clock.utc_ms(), self._config
        most_ms = round(1000 * services.clock.scale * (config.download_s + config.confirm_s + _RESTART_S))
        why = await services.store.run(rows.begin, self._node, number, now_ms, now_ms + most_ms)
        if why and why != self._waits_for:
            services.observe(Observe("firmware", "update_waits", {"number": number, "reason": why}))
        self._waits_for = why
        return not why

    async def _problem(self) -> str:
        """Return why this node does not work: its API answers, and reaches the database."""
        config = self._services.config.api
        try:
            context = ssl.create_default_context(cafile=config.certificate)
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            context.check_hostname = False  # this very certificate is expected
            answer = await request("GET", self._url, most=65_536, timeout_s=_ANSWER_S, context=context)
        except (TransferError, OSError) as error:
            return f"{self._url}: {error}"
        return "" if answer.ok else f"{self._url} answers {answer.status}"


def state_folder(data_dir: Path) -> Path:
    """Return where updates keep images and state."""
    return data_dir / "update"


async def begin(config: CsmsConfig, follower: Follower) -> None:
    """Start a follower, before anything else may fail. What is on trial goes back rather than migrate the database to
    what the old release cannot use. Raises InstallError, StoreError."""
    await follower.start()
    if await follower.on_trial() and (why := await asyncio.to_thread(shut_out, config.store_url, config.data_dir)):
        await follower.go_back(why)
