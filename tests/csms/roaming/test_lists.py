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


async def put(roaming: Roaming, name: str, second: int, owner: str = "") -> None:
    kept = Kept(
        owner=owner, module="cdrs", object_id=name.lower(), updated_ms=BEGIN_MS + 1000 * second,
        document=f'{{"id":"{name}"}}', state="booked" if owner else "",
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


async def test_partners_cdrs_are_listed_page_by_page(roaming: Roaming) -> None:
    for owner in ("tnm", "abc"):
        for name in NAMES[:3]:
            await put(roaming, name, 0, owner)
    path, found = "/roaming/cdrs?limit=2&state=booked", []
    for _ in range(3):
        answer: Any = await roaming.ask("GET", path)
        found += [(each["partner_id"], each["document"]["id"]) for each in answer.json]
        path = wire.link_of(answer.headers.get("link", "")) or ""
    assert path == ""
    assert found == [(owner, name) for owner in ("abc", "tnm") for name in NAMES[:3]]
    assert (await roaming.ask("GET", "/roaming/cdrs?state=disputed")).json == []


async def test_what_partners_own_is_shown_to_people(roaming: Roaming) -> None:
    """Nobody could see which session of a driver to stop, or that one ended and no CDR came."""
    token = {"country_code": "DE", "party_id": "CPO", "uid": "A", "type": "RFID", "contract_id": "C"}
    session = {
        "country_code": "NL", "party_id": "TNM", "id": "S1", "start_date_time": "2026-01-01T00:00:00Z", "kwh": 7.5,
        "cdr_token": token, "auth_method": "WHITELIST", "location_id": "L1", "evse_uid": "E1", "connector_id": "1",
        "currency": "EUR", "status": "COMPLETED", "last_updated": "2026-01-01T01:00:00Z",
    }  # fmt: skip
    assert (await roaming.ocpi("PUT", "/emsp/2.2.1/sessions/NL/TNM/S1", session)).status == 201
    (found,) = (await roaming.ask("GET", "/roaming/objects")).json
    assert (found["partner_id"], found["key"], found["document"]) == ("tnm", "nl*tnm*s1", session)
    assert (await roaming.ask("GET", "/roaming/objects?module=locations")).json == []
    assert (await roaming.ask("GET", "/roaming/objects?module=tokens")).status == 400
