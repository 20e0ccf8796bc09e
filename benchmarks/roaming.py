"""Lists of roaming: pages of 100,000 locations as partners crawl them, on either kind of database."""

import asyncio
import base64
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import insert

from benchmarks.figures import Figure, percentile
from csms.config import RoamingConfig
from csms.db.store import Store
from csms.roaming import store as rows
from csms.roaming.rules import Partner, digest_of
from csms.roaming.tables import roaming_objects
from pki_tools.tree import make_pki
from tests.csms.api.support import ApiClient, serving
from tests.csms.backend import running_backend
from tests.csms.databases import Databases, running_cluster
from tests.csms.support import make_config
from v2g.ocpi import wire
from v2g.ocpi.objects import OcpiConnector, OcpiEvse, OcpiLocation, OcpiPlace

ABOUT = "a partner crawls 100,000 locations: a page of 100, the whole request in the back end"
REQUIREMENTS = ("R202",)

PAGE: Final = 100
MOST_MS: Final = 50.0
_TOKEN: Final = "benchmark-token"
_BEGIN_MS: Final = 1_790_000_000_000
_BATCH: Final = 5000


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield the figures of SQLite, and of PostgreSQL where it is installed."""
    count = 2000 if quick else 100_000
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        yield from asyncio.run(_figures("SQLite", Path(folder), "", count))
    try:
        with running_cluster(fsync=True) as cluster, tempfile.TemporaryDirectory() as folder:
            url = Databases(Path(folder), cluster).create(owner=True)
            yield from asyncio.run(_figures("PostgreSQL", Path(folder), url, count))
    except pytest.skip.Exception as missing:
        yield Figure("PostgreSQL", 0, "ms", note=f"not measured: {missing}")


async def _figures(kind: str, folder: Path, url: str, count: int) -> list[Figure]:
    roaming = RoamingConfig(
        url="https://cpo.test", country_code="DE", party_id="CPO", name="Operator", requests_per_s=1e6,
        requests_at_once=10**6,
    )  # fmt: skip
    pki = make_pki(folder / "pki", now=datetime.now(UTC))
    config = make_config(folder, pki, roaming=roaming, **({"store_url": url} if url else {}))
    empty = folder / "empty.sqlite3"
    if not url:
        Store(f"sqlite:///{empty}").close()
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(running_backend(config, empty, _BEGIN_MS + 10**9))
        ask = await stack.enter_async_context(serving(backend))
        _fill(backend.services.store, count)
        partner = Partner(partner_id="tnm", state="registered", version="2.2.1")
        await backend.services.store.run(rows.put_partner, partner, digest=digest_of(_TOKEN))
        crawl, pages = await _crawl(ask, count)
        jumps = [
            await _timed(ask, f"?limit={PAGE}&offset={offset}") for offset in range(0, count, max(PAGE, count // 200))
        ]
        since = wire.moment(_BEGIN_MS + count * 500).strftime("%Y-%m-%dT%H:%M:%SZ")
        changes = [await _timed(ask, f"?limit={PAGE}&date_from={since}") for _ in range(min(200, pages))]

    def figure(what: str, times: list[float], note: str) -> Figure:
        about = f"{kind}, {count:,} locations: {what}, p95"
        value = percentile(times, 0.95) * 1000
        return Figure(about, value, "ms", target=MOST_MS, note=note)

    return [
        figure("a page by Link", crawl, f"all {pages} pages"),
        figure("a page by offset", jumps, "from the first page to the last"),
        figure("the first page of what has changed", changes, "half of the locations"),
    ]


async def _crawl(ask: ApiClient, count: int) -> tuple[list[float], int]:
    """Follow the list from page to page; return the time of each, s."""
    times, seen, query = list[float](), set[str](), f"?limit={PAGE}"
    while query:
        start = time.perf_counter()
        answer = await _get(ask, query)
        times.append(time.perf_counter() - start)
        seen |= {each["id"] for each in answer.json["data"]}
        following = wire.link_of(answer.headers.get("link", ""))
        query = "" if following is None else f"?{following.partition('?')[2]}"
    assert len(seen) == count
    return times, len(times)


async def _timed(ask: ApiClient, query: str) -> float:
    start = time.perf_counter()
    answer = await _get(ask, query)
    spent = time.perf_counter() - start
    assert answer.json["data"]
    return spent


async def _get(ask: ApiClient, query: str) -> Any:
    token = base64.b64encode(_TOKEN.encode()).decode()
    path = f"/ocpi/cpo/2.2.1/locations{query}"
    answer = await ask("GET", path, role=None, authorization=f"Token {token}")
    assert answer.json["status_code"] == 1000, answer.json
    return answer


def _fill(store: Store, count: int) -> None:
    for first in range(0, count, _BATCH):
        with store.engine.begin() as connection:
            connection.execute(insert(roaming_objects), [_row(n) for n in range(first, min(count, first + _BATCH))])
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # what the database does by itself in the time of a day
        connection.exec_driver_sql("ANALYZE" if store.engine.dialect.name == "sqlite" else "VACUUM ANALYZE")


def _row(number: int) -> dict[str, object]:
    """Return a location of two EVSEs as it is stored."""
    updated_ms = _BEGIN_MS + number * 1000
    when = wire.moment(updated_ms)
    evses = tuple(
        OcpiEvse(
            uid=f"CS-{number}*{each}", evse_id=f"DE*CPO*E{number}*{each}", status="AVAILABLE", last_updated=when,
            connectors=(
                OcpiConnector(
                    id="1", standard="IEC_62196_T2_COMBO", format="CABLE", power_type="DC", max_voltage=900,
                    max_amperage=500, tariff_ids=("day",), last_updated=when,
                ),
            ),
        )
        for each in (1, 2)
    )  # fmt: skip
    location = OcpiLocation(
        country_code="DE", party_id="CPO", id=f"L{number}", publish=True, address="Ladestr. 1", city="Berlin",
        country="DEU", coordinates=OcpiPlace(latitude="52.52000", longitude="13.40500"), evses=evses,
        time_zone="Europe/Berlin", last_updated=when,
    )  # fmt: skip
    names = ("audience", "state", "about", "alias", "detail")
    return {
        "owner": "", "module": "locations", "object_id": f"l{number}", "updated_ms": updated_ms,
        "document": wire.encode(location).decode(), **dict.fromkeys(names, ""),
    }  # fmt: skip
