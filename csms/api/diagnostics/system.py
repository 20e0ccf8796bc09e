"""The back end itself: version, nodes, database, queues; and a backup now."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import msgspec

from csms.api.http.call import Call
from csms.api.http.operations import get, post
from csms.api.http.problems import conflict
from csms.db.queries import alert_sources
from csms.db.store import HEAD, address
from csms.domain.security.access import Permission
from v2g.version import VERSION

KEPT: Final = 7
"""Backups in that folder: names begin with their time, and the oldest go."""


class Queue(msgspec.Struct, frozen=True):
    """A queue of work, and how long (s) its oldest part has waited."""

    name: str
    oldest_s: int


class System(msgspec.Struct, frozen=True, kw_only=True):
    """What runs. `node` answered; `nodes` are all that live; `revision` is that of the database's schema. `queues`
    that are empty are not listed."""

    version: str
    node: str
    nodes: tuple[str, ...]
    database: Literal["sqlite", "postgresql"]
    revision: str
    queues: tuple[Queue, ...]


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """A backup: its file on the node that answered, and its size."""

    file: str
    rows: int
    octets: int


@get("/system", Permission.READ_METRICS)
async def read_system(call: Call) -> System:
    """Return version, nodes, database, and how old the queues are."""
    services = call.services
    waiting = await call.run(alert_sources.queues, call.now_ms)
    return System(
        version=VERSION,
        node=services.feed.node,
        nodes=tuple(sorted(services.feed.nodes())),
        database="postgresql" if services.config.store_url.startswith("postgresql:") else "sqlite",
        revision=HEAD,
        queues=tuple(Queue(each.subject, round(each.value)) for each in waiting),
    )


@post("/system/backup", Permission.MANAGE_ACCESS, status=201, problems=(409,))
async def make_backup(call: Call) -> Backup:
    """Write a backup of the database into the folder `backups` of `data_dir`, on the node that answers.

    It is as secret as the database; `v2g csms restore` reads it. One is made at a time; the newest seven stay.
    """
    from csms.db.backup import backup  # on demand: for administrators only

    making = call.backend.backing_up
    if making.locked():
        raise conflict("a backup is being made", "wait for it")
    config = call.services.config
    async with making:
        folder = config.data_dir / "backups"
        file = folder / f"csms-{datetime.fromtimestamp(call.now_ms / 1000, UTC):%Y%m%dT%H%M%S.%f}.backup"
        await asyncio.to_thread(folder.mkdir, mode=0o700, exist_ok=True)
        rows = await asyncio.to_thread(backup, address(config.store_url, config.data_dir), file)
        octets = (await asyncio.to_thread(file.stat)).st_size
        await asyncio.to_thread(_delete_old, folder)
    return Backup(file=str(file), rows=rows, octets=octets)


def _delete_old(folder: Path) -> None:
    for old in sorted(folder.glob("csms-*.backup"))[:-KEPT]:
        old.unlink(missing_ok=True)
