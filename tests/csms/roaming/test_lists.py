"""Lists for partners: each page is the part of the whole list that it names, and a crawl loses nothing."""

from typing import Any

import pytest

from csms.roaming.store import Kept, put_object
from tests.csms.fixtures import backend as backend
from tests.csms.roaming.registered import Roaming
from tests.csms.roaming.registered import roaming as roaming
from v2g.ocpi import wire

pytestmark = pytest.mark.requirement("R202")

NAMES = [f"T{number}" for number in range(7)]
BEGIN_MS = 1_790_000_000_000


async def put(roaming: Roaming, name: str, second: int) -> None:
    kept = Kept(
        owner="", module="cdrs", object_id=name.lower(), updated_ms=BEGIN_MS + 1000 * second,
        document=f'{{"id":"{name}"}}',
    )  # fmt: skip
    await roaming.backend.services.store.run(put_object, kept)


async def page(roaming: Roaming, query: str) -> tuple[list[str], str | None, str]:
    """Return the names on a page, the next one's query, and the total."""
    answer: Any = await roaming.ocpi("GET", f"/cpo/2.2.1/cdrs?{query}")
    assert answer.json["status_code"] == 1000
    link = wire.link_of(answer.headers.get("link", ""))
    following = None if link is None else link.partition("?")[2]
    return [each["id"] for each in answer.json["data"]], following, answer.headers["x-total-count"]


async def test_pages_by_offset_are_parts_of_the_whole(roaming: Roaming) -> None:
    for number, name in enumerate(NAMES):
        await put(roaming, name, number // 2)  # two of the same time
    for limit in range(1, 9):
        for offset in range(10):
            names, following, total = await page(roaming, f"offset={offset}&limit={limit}")
            assert (names, total) == (NAMES[offset : offset + limit], "7")
            assert (following is None) == (offset + limit >= 7)


async def test_a_crawl_sees_what_changes_meanwhile(roaming: Roaming) -> None:
    for number, name in enumerate(NAMES):
        await put(roaming, name, number)
    names, following, total = await page(roaming, "limit=2")
    await put(roaming, "T0", 100)
    await put(roaming, "T9", 101)
    while following is not None:
        more, following, total = await page(roaming, following)
        names += more
    assert (names, total) == ([*NAMES, "T0", "T9"], "9")
    assert (await page(roaming, "limit=2&total=nonsense"))[::2] == (["T1", "T2"], "8")
