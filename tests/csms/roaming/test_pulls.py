"""Lists of partners are read page by page, however they are cut, and what is wrong in them keeps nothing else back."""

import threading
from typing import Any

import pytest

from csms.roaming import store as rows
from csms.roaming.pulls import keep_pulling, pull_all
from tests.csms.fixtures import backend as backend
from tests.csms.roaming.peers import LOCATION
from tests.csms.roaming.registered import TOKEN, Roaming
from tests.csms.roaming.registered import roaming as roaming
from tests.csms.roaming.scripted_partner import ROLE, ScriptedPartner
from v2g.io.runtime.supervision import cancel_tasks, child

pytestmark = pytest.mark.requirement("R202")


def tokens(*uids: str) -> list[dict[str, Any]]:
    return [{**TOKEN, "uid": each} for each in uids]


async def pulled(roaming: Roaming) -> Any:
    return (await roaming.ask("POST", "/roaming/partners/tnm/pull")).json


async def known(roaming: Roaming, uid: str) -> int:
    return (await roaming.ocpi("GET", f"/cpo/2.2.1/tokens/NL/TNM/{uid}")).status


async def test_pages_are_followed_by_link_and_by_number(roaming: Roaming) -> None:
    """The list moves between pages: what comes twice is stored once. Only what changed is asked for next time."""
    partner = roaming.partner
    first, last = "/tokens?offset=0&limit=100", "/tokens?offset=5&limit=100"
    partner.answers[first] = 200, [*tokens("01", "02"), {**TOKEN, "uid": "bad", "valid": None}, "nonsense"]
    partner.headers[first] = {"Link": '</tokens?cursor=x>; rel="next"', "X-Total-Count": "6"}
    partner.answers["/tokens?cursor=x"] = 200, tokens("02")
    partner.headers["/tokens?cursor=x"] = {"X-Total-Count": "6", "X-Limit": "4"}
    partner.answers[last] = 200, [*tokens("03"), {**TOKEN, "party_id": "XYZ", "uid": "04"}]
    assert await pulled(roaming) == [{"module": "tokens", "objects": 7}]
    assert [await known(roaming, each) for each in ("01", "02", "03", "bad", "04")] == [200, 200, 200, 404, 404]
    partner.answers["/tokens"] = 200, []
    assert await pulled(roaming) == [{"module": "tokens", "objects": 0}]
    assert "date_from=" in partner.requests[-1][1]


async def test_a_list_that_moves_while_it_is_read_is_read_again(roaming: Roaming) -> None:
    """One that has changed is last then, and the one that was next is on a page that was read already."""
    partner = roaming.partner
    first, last = "/tokens?offset=0&limit=100", "/tokens?offset=2&limit=100"
    partner.headers[first] = {"X-Total-Count": "3"}
    partner.once[first] = 200, tokens("01", "02")
    partner.answers[first] = 200, tokens("02", "03")
    partner.answers[last] = 200, tokens("01")
    assert await pulled(roaming) == [{"module": "tokens", "objects": 3}]
    assert [await known(roaming, each) for each in ("01", "02", "03")] == [200, 200, 200]
    asked = [where for _, where, _ in partner.requests if where.startswith("/tokens")]
    assert asked == [first, last, first, last], "the second time nothing has moved"


async def test_a_list_from_which_one_goes_while_it_is_read_is_read_again(roaming: Roaming) -> None:
    """Those after it move to pages that were read already, and nothing comes twice."""
    partner = roaming.partner
    first, last = "/tokens?offset=0&limit=100", "/tokens?offset=2&limit=100"
    partner.once[first], partner.answers[first] = (200, tokens("01", "02")), (200, tokens("02", "03"))
    partner.answers[last] = 200, tokens("04")
    partner.headers[first], partner.headers[last] = {"X-Total-Count": "4"}, {"X-Total-Count": "3"}
    await pulled(roaming)
    assert [await known(roaming, each) for each in ("02", "03", "04")] == [200, 200, 200]


@pytest.mark.parametrize("after", [(200, []), (404, {}), (200, tokens("0200"))])
async def test_a_partner_that_says_nothing_of_further_pages_is_asked_for_them(
    roaming: Roaming, after: tuple[int, Any]
) -> None:
    """Neither Link nor X-Total-Count: what was after the first 100 was never read."""
    partner = roaming.partner
    for offset in (0, 100):
        page = tokens(*(f"{number:04}" for number in range(offset, offset + 100)))
        partner.answers[f"/tokens?offset={offset}&limit=100"] = 200, page
    partner.answers["/tokens?offset=200&limit=100"] = after
    objects = 201 if after[1] else 200
    assert await pulled(roaming) == [{"module": "tokens", "objects": objects}]
    assert [await known(roaming, each) for each in ("0000", "0199")] == [200, 200]


async def test_a_number_out_of_range_keeps_no_other_object_of_its_page_back(roaming: Roaming) -> None:
    page = [{**TOKEN, "uid": "bad", "valid": 1e300}, {**TOKEN, "uid": "01", "vendor_number": 1e300}, *tokens("02")]
    roaming.partner.answers["/tokens"] = 200, page
    assert await pulled(roaming) == [{"module": "tokens", "objects": 3}]
    assert [await known(roaming, each) for each in ("bad", "01", "02")] == [404, 200, 200]
    (refused,) = roaming.backend.events.named("object_refused")
    assert "bad: " in str(refused.data["reason"])
    assert "$.valid" in str(refused.data["reason"])


async def test_what_was_pushed_and_refused_is_reported(roaming: Roaming) -> None:
    """Only the partner knew that its CDRs or handshakes were refused; a question about an unknown token is none."""
    answer = await roaming.ocpi("POST", "/emsp/2.2.1/cdrs", {"id": "C1"})
    assert answer.json["status_code"] == 2001
    assert (await roaming.ocpi("POST", "/emsp/2.2.1/tokens/00/authorize")).json["status_code"] == 2004
    (refused,) = roaming.backend.events.named("object_refused")
    assert refused.data == {"partner": "tnm", "module": "cdrs", "reason": answer.json["status_message"]}
    said = {"token": "c", "url": "https://10.0.0.1/versions", "roles": [ROLE]}
    assert (await roaming.ocpi("PUT", "/2.2.1/credentials", said)).json["status_code"] == 3001
    assert roaming.backend.events.named("object_refused")[1].data["module"] == "credentials"


async def test_what_was_refused_is_asked_for_again_daily_and_when_people_ask(roaming: Roaming) -> None:
    """The partner, or this back end, is mended, and the object's time of change stays."""
    partner, services = roaming.partner, roaming.backend.services
    partner.answers["/tokens"] = 200, [*tokens("01"), {**TOKEN, "uid": "02", "valid": None}]
    await pulled(roaming)

    def asked_from() -> str:
        return partner.requests[-1][1].partition("date_from=")[2][:10]

    await pull_all(services, "tnm")
    assert asked_from() > TOKEN["last_updated"][:10], "each hour only what is new"
    await pulled(roaming)
    assert asked_from() < TOKEN["last_updated"][:10]
    roaming.backend.clock.advance(86_400)
    partner.answers["/tokens"] = 200, tokens("01", "02")
    await pull_all(services, "tnm")
    assert asked_from() < TOKEN["last_updated"][:10]
    assert await known(roaming, "02") == 200
    roaming.backend.clock.advance(86_400)
    await pull_all(services, "tnm")
    assert asked_from() > TOKEN["last_updated"][:10]


@pytest.mark.parametrize("timestamp", ["2025-12-30T10:00:00Z", "2025-12-30T10:00:00", "never", None])
async def test_what_is_new_is_asked_for_by_the_clock_of_a_partner_that_is_slow(
    roaming: Roaming, timestamp: str | None
) -> None:
    """Its objects have their times by it: what changed since would be older than this back end's last question."""
    partner = roaming.partner
    partner.timestamp, partner.answers["/tokens"] = timestamp, (200, tokens("01"))
    await pulled(roaming)
    await pull_all(roaming.backend.services, "tnm")
    asked = partner.requests[-1][1].partition("date_from=")[2][:10]
    assert (asked == "2025-12-30") is (timestamp is not None and timestamp.startswith("2025"))


async def test_a_list_that_leads_in_a_circle_or_away_ends(roaming: Roaming) -> None:
    partner, first = roaming.partner, "/tokens?offset=0&limit=100"
    partner.answers["/tokens"] = 200, tokens("01")
    partner.headers[first] = {"Link": f'<{partner.url}{first}>; rel="next"'}
    assert await pulled(roaming) == [{"module": "tokens", "objects": 1}]
    await pulled(roaming)
    partner.headers[partner.requests[-1][1]] = {"Link": f'<{partner.url}/elsewhere>; rel="next"'}
    (failed,) = await pulled(roaming)  # and is tried again
    assert failed == {"module": "tokens", "objects": 0, "problem": "HTTP 404"}
    partner.answers["/tokens"] = 302, "http://["
    assert "Invalid IPv6" in (await pulled(roaming))[0]["problem"]
    partner.answers["/tokens"] = 200, {"tokens": tokens("01")}
    assert (await pulled(roaming))[0]["problem"] == "its data is not a list"
    assert (await roaming.ask("POST", "/roaming/partners/nobody/pull")).status == 404


async def test_a_next_page_that_was_read_already_is_asked_for_by_number(roaming: Roaming) -> None:
    """The first page again and again was taken for the whole list of 3, and the next pull asked for changes only."""
    partner, first, link = roaming.partner, "/tokens?offset=0&limit=100", "/tokens?offset=0&limit=2"
    for page in (first, link):
        partner.answers[page] = 200, tokens("01", "02")
        partner.headers[page] = {"Link": f'<{link}>; rel="next"', "X-Total-Count": "3"}
    partner.answers["/tokens?offset=2&limit=100"] = 200, tokens("03")
    await pulled(roaming)
    assert [await known(roaming, each) for each in ("01", "02", "03")] == [200, 200, 200]


@pytest.mark.parametrize("where", ["https://169.254.169.254/", "http://partner.lan/tokens?offset=1", "http://["])
async def test_a_next_page_at_a_host_that_is_not_called_is_asked_for_by_number(roaming: Roaming, where: str) -> None:
    """Servers behind a proxy name themselves as they know it: all but the first page was never read."""
    partner = roaming.partner
    partner.answers["/tokens?offset=0&limit=100"] = 200, tokens("01")
    partner.headers["/tokens?offset=0&limit=100"] = {"Link": f'<{where}>; rel="next"'}
    partner.answers["/tokens?offset=1&limit=100"] = 200, tokens("02")
    assert await pulled(roaming) == [{"module": "tokens", "objects": 2}]
    assert [await known(roaming, each) for each in ("01", "02")] == [200, 200]


async def test_a_list_without_end_is_left_where_a_page_is_always_the_same(roaming: Roaming) -> None:
    """One that always has a next page, or a total that is too great and a server that knows no offset: 20,000 pages."""
    partner = roaming.partner
    partner.answers["/tokens"] = 200, []
    partner.answers["/tokens?offset=0&limit=100"] = 200, tokens("01")
    for page in range(9):
        link = f'<{partner.url}/tokens?offset={page + 1}&limit=100>; rel="next"'
        partner.headers[f"/tokens?offset={page}&limit=100"] = {"Link": link}
    assert await pulled(roaming) == [{"module": "tokens", "objects": 1}]
    assert partner.requests[-1][1] == "/tokens?offset=4&limit=100"


async def test_parties_that_a_hub_names_during_a_handshake_stay(roaming: Roaming) -> None:
    """Another node stores them, while this one waits for the hub's answers."""
    run = roaming.backend.services.store.run
    said = {"token": "token-b", "url": f"{roaming.partner.url}/versions", "roles": [
        {"role": "HUB", "country_code": "NL", "party_id": "TNM", "business_details": {"name": "Hub"}}]}  # fmt: skip
    roaming.token = (await roaming.ocpi("PUT", "/2.2.1/credentials", said)).json["data"]["token"]
    before = await run(rows.find_partner, "tnm")
    assert before is not None
    info = {"country_code": "FR", "party_id": "BHD", "role": "EMSP", "status": "CONNECTED",
            "last_updated": "2026-01-01T00:00:00Z"}  # fmt: skip
    assert (await roaming.ocpi("PUT", "/cpo/2.2.1/hubclientinfo/FR/BHD", info)).json["status_code"] == 1000
    await run(rows.put_partner, before.partner)  # what the handshake has agreed
    after = await run(rows.find_partner, "tnm")
    assert after is not None
    assert "fr*bhd" in after.partner.parties


async def test_a_hub_speaks_for_the_parties_behind_it(roaming: Roaming) -> None:
    path = "/cpo/2.2.1/hubclientinfo/FR/BHD"
    info = {"country_code": "FR", "party_id": "BHD", "role": "EMSP", "status": "CONNECTED",
            "last_updated": "2026-01-01T00:00:00Z"}  # fmt: skip
    token = {**TOKEN, "country_code": "FR", "party_id": "BHD"}
    assert (await roaming.ocpi("PUT", path, info)).status == 404  # it is no hub
    said = {"token": "token-b", "url": f"{roaming.partner.url}/versions", "roles": [
        {"role": "HUB", "country_code": "NL", "party_id": "TNM", "business_details": {"name": "Hub"}}]}  # fmt: skip
    roaming.token = (await roaming.ocpi("PUT", "/2.2.1/credentials", said)).json["data"]["token"]
    assert (await roaming.ocpi("PUT", "/cpo/2.2.1/tokens/FR/BHD/04A1B2C3", token)).status == 404
    assert (await roaming.ocpi("PUT", path.replace("BHD", "XXX"), info)).json["status_code"] == 2001
    assert (await roaming.ocpi("PUT", path, info)).json["status_code"] == 1000
    assert (await roaming.ocpi("GET", path)).json["data"]["status"] == "CONNECTED"
    assert (await roaming.ocpi("PUT", "/cpo/2.2.1/tokens/FR/BHD/04A1B2C3", token)).status == 201
    ours = {**info, "country_code": "DE", "party_id": "CPO"}
    await roaming.ocpi("PUT", "/cpo/2.2.1/hubclientinfo/DE/CPO", ours)
    roaming.partner.answers["/tokens/04A1B2C3/authorize"] = 200, {"allowed": "ALLOWED", "token": token}
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    station = await roaming.backend.booted()
    asked = {"idToken": {"idToken": "04A1B2C3", "type": "ISO14443"}}
    assert (await station.call("Authorize", asked))["idTokenInfo"]["status"] == "Accepted"
    headers = next(each for _, where, each in roaming.partner.requests if "authorize" in where)
    assert (headers["OCPI-to-country-code"], headers["OCPI-to-party-id"]) == ("FR", "BHD")
    assert (await roaming.ocpi("PUT", "/cpo/2.2.1/tokens/DE/CPO/04A1B2C3", token)).status == 404


async def test_a_partner_whose_list_takes_hours_keeps_no_other_waiting(roaming: Roaming) -> None:
    held = roaming.partner.held["/tokens"] = threading.Event()
    with ScriptedPartner().running() as other:
        second = Roaming(roaming.ask, other)
        await second.register(party="OTH", partner_id="zoo")
        pulling = child(keep_pulling(roaming.backend.services))
        await roaming.partner.sent("GET", "/tokens")
        await other.sent("GET", "/tokens")
        held.set()
        await cancel_tasks(pulling)


async def test_a_clock_that_is_set_back_stops_no_pull(roaming: Roaming) -> None:
    """All is asked for: what has changed by our clock would begin in the future."""
    roaming.partner.answers["/tokens"] = 200, []
    await pull_all(roaming.backend.services, "tnm")
    roaming.backend.clock.advance(-7200)
    pulling = child(keep_pulling(roaming.backend.services))
    await roaming.partner.sent("GET", "/tokens", 2)
    await cancel_tasks(pulling)
    assert "date_from" not in [path for _, path, _ in roaming.partner.requests if path.startswith("/tokens")][-1]
