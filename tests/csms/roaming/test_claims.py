"""What a partner may claim about our drivers, once: a session has one price, one authorization one session."""

import asyncio
import contextlib
import shutil
import socket
import time
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from csms.roaming import store as rows
from csms.roaming.partners import Partners
from csms.roaming.received import store_object
from pki_tools.tree import PkiTree
from tests.csms.roaming.peers import Operator, acquainted, charge, eventually, operator, roaming
from v2g.ocpi.wire import utc_ms


class Claims:
    """A session that is booked, and what its partner sends beside it."""

    def __init__(self, cpo: Operator, emsp: Operator, document: dict[str, Any]) -> None:
        self.emsp = emsp
        self.document = document
        self._cpo = cpo

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the provider as its partner does."""
        partners = self._cpo.services.find(Partners)
        assert partners is not None
        token = partners.token_of(await partners.known("emsp"))
        return await self.emsp.ocpi(method, f"/emsp/2.3.0/{path}", token, body)

    def periods(self, begin: str) -> list[dict[str, Any]]:
        """Return the charging periods of a like session that begins at another time."""
        whole: list[dict[str, Any]] = self.document["charging_periods"]
        first, then = (datetime.fromisoformat(each) for each in (self.document["start_date_time"], begin))
        starts = [datetime.fromisoformat(each["start_date_time"]) - first + then for each in whole]
        return [{**each, "start_date_time": at.isoformat()} for each, at in zip(whole, starts, strict=True)]

    async def send(self, name: str, **changes: Any) -> str:
        """Send a CDR; return its state with what is found about it."""
        without = changes.pop("without", ())
        sent = {key: each for key, each in self.document.items() if key not in without} | {"id": name, **changes}
        answer = await self.ask("POST", "cdrs", sent)
        assert (answer.status, answer.code) == (201, 1000), answer.body
        found = {each["key"]: each for each in await self.emsp.ask("GET", "/roaming/cdrs")}[f"de*cpo*{name.lower()}"]
        return f"{found['state']} {found['detail']}".strip()

    async def credit(self, name: str, of: str, factor: int = -1, **changes: Any) -> str:
        """Send a credit CDR."""
        cost = {"before_taxes": factor * self.document["total_cost"]["before_taxes"]}
        return await self.send(name, credit=True, credit_reference_id=of, total_cost=cost, **changes)


class Booked(NamedTuple):
    """What two back ends have stored after a driver's session abroad; partners know each other by their ports."""

    folder: Path
    ports: tuple[int, int]
    now_ms: int
    document: dict[str, Any]

    def copied(self, party: str, folder: Path) -> Path:
        """Copy what one has stored, with its keys, into a folder; return that."""
        shutil.copytree(self.folder / party, folder / party)
        return folder


@contextlib.contextmanager
def kept_port() -> Iterator[int]:
    """Yield a port that nobody else gets, and on which a server can listen time and again."""
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        yield kept.getsockname()[1]


@pytest.fixture(scope="module")
def booked(tmp_path_factory: pytest.TempPathFactory, pki: PkiTree, empty_database: Path) -> Iterator[Booked]:
    """A driver's booked session abroad, made once: it takes as long as five of these tests."""
    folder, begin_ms = tmp_path_factory.mktemp("booked"), int(time.time() * 1000) - 55 * 60_000

    async def make(ports: tuple[int, int]) -> Booked:
        async with (
            operator(folder, pki, empty_database, "CPO", ports[0], begin_ms) as cpo,
            operator(folder, pki, empty_database, "MSP", ports[1], stations=()) as emsp,
        ):
            await roaming(cpo, emsp)
            await emsp.ask("PUT", "/tokens/ISO14443/04A1B2C3", {"status": "Accepted"})
            assert await charge(cpo, 20_000, 0) == "Accepted"
            (cdr,) = await eventually(emsp, "/roaming/cdrs")
            assert cdr["state"] == "booked"
            return Booked(folder, ports, begin_ms + 50 * 60_000, cdr["document"])

    with kept_port() as first, kept_port() as second, asyncio.Runner() as runner:
        yield runner.run(make((first, second)))


@pytest_asyncio.fixture
async def cpo(tmp_path: Path, pki: PkiTree, empty_database: Path, booked: Booked) -> AsyncIterator[Operator]:
    """The operator abroad, after that session."""
    folder = booked.copied("CPO", tmp_path)
    async with operator(folder, pki, empty_database, "CPO", booked.ports[0], booked.now_ms) as found:
        yield found


@pytest_asyncio.fixture
async def claims(
    tmp_path: Path, pki: PkiTree, empty_database: Path, booked: Booked, cpo: Operator
) -> AsyncIterator[Claims]:
    """The driver's provider, after that session."""
    folder = booked.copied("MSP", tmp_path)
    async with operator(folder, pki, empty_database, "MSP", booked.ports[1], stations=()) as emsp:
        yield Claims(cpo, emsp, booked.document)


async def test_a_credit_cdr_cannot_be_credited(claims: Claims) -> None:
    """With a bill in its place, the session would be paid twice."""
    first = claims.document["id"]
    assert await claims.credit("c", first) == "booked"
    assert await claims.send("again") == "booked"
    assert (await claims.credit("cc", "c", 1)).startswith("disputed credit: c is a credit CDR")


@pytest.mark.parametrize("changes", [{"currency": "JPY"}, {"of": "none"}])
async def test_a_credit_that_is_not_booked_does_not_make_room_for_another_bill(
    claims: Claims, changes: dict[str, Any]
) -> None:
    first = claims.document["id"]
    assert (await claims.credit("c", changes.pop("of", first), **changes)).startswith("disputed")
    assert "twice" in await claims.send("again")


@pytest.mark.requirement("R202")
async def test_a_credit_that_is_not_booked_does_not_stand_in_for_the_right_one(claims: Claims) -> None:
    """The right one was disputed, and so was the bill in its place; two of them are not booked, on nobody's word."""
    first, path = claims.document["id"], "/roaming/partners/cpo/cdrs/de*cpo*wrong/decision"
    assert (await claims.credit("wrong", first, currency="JPY")).startswith("disputed")
    assert await claims.credit("right", first) == "booked"
    assert await claims.send("again") == "booked"
    assert await claims.credit("twice", first) == "disputed credit: right has credited that CDR"
    said = await claims.emsp.ask("POST", path, {"decision": "released", "note": "fine"}, status=409)
    assert "right has credited that CDR" in said["detail"]
    await claims.emsp.ask("POST", path, {"decision": "rejected", "note": "wrong currency"})


async def test_a_cdr_in_a_list_is_kept_without_it(claims: Claims) -> None:
    """The page of partners could not show it."""
    sent = {**claims.document, "id": "listed", "session_id": "s2"}
    answer = await claims.ask("POST", "cdrs", [sent])
    assert (answer.status, answer.code) == (201, 1000)
    (found,) = await claims.emsp.ask("GET", "/roaming/cdrs?state=disputed")
    assert found["document"]["id"] == "listed"


async def test_a_credit_that_comes_before_its_cdr_is_booked_with_it(claims: Claims) -> None:
    """It waited for a person for ever."""
    begin = "2024-05-01T10:00:00Z"
    answer = await claims.ask("POST", "tokens/04A1B2C3/authorize?type=RFID", {"location_id": "Depot"})
    more = {
        "session_id": "s2", "start_date_time": begin, "end_date_time": "2024-05-01T10:50:00Z",
        "charging_periods": claims.periods(begin), "without": ["signed_data"],
        "authorization_reference": answer.data["authorization_reference"],
    }  # fmt: skip
    assert await claims.credit("c", "late", **more) == "disputed credit: no CDR late is known"
    assert await claims.credit("d", "later", **more) == "disputed credit: no CDR later is known"
    assert await claims.send("late", **more) == "booked"
    found = {each["key"]: each["state"] for each in await claims.emsp.ask("GET", "/roaming/cdrs")}
    assert (found["de*cpo*c"], found["de*cpo*d"]) == ("booked", "disputed")


async def test_what_is_not_booked_is_not_credited(claims: Claims) -> None:
    """Our books would owe the partner what they never had."""
    assert "energy" in await claims.send("wrong", session_id="s2", total_energy=3, without=["authorization_reference"])
    assert "credit: wrong is disputed" in await claims.credit("c", "wrong", session_id="s2")


async def test_a_rejected_bill_makes_room_for_the_right_one(claims: Claims) -> None:
    more = {"session_id": "s2", "start_date_time": "2024-05-01T10:00:00Z", "end_date_time": "2024-05-01T10:50:00Z"}
    more["charging_periods"] = claims.periods(more["start_date_time"])
    assert "energy" in await claims.send("wrong", **more, total_energy=3)
    path = "/roaming/partners/cpo/cdrs/de*cpo*wrong/decision"
    await claims.emsp.ask("POST", path, {"decision": "rejected", "note": "typing error"})
    assert "twice" not in await claims.send("right", **more)


@pytest.mark.parametrize("name", ["other", None])
async def test_one_session_under_two_names_is_billed_once(claims: Claims, name: str | None) -> None:
    """A partner may leave `session_id` out, or give another one; where and when it charged is the same."""
    assert "twice" in await claims.send("again", session_id=name, without=["authorization_reference"])


async def test_a_bill_is_compared_with_those_of_sessions_that_were_not_over(claims: Claims) -> None:
    """A fleet's card has thousands. Those of a session are found, whenever a partner says that it has changed them."""
    begin, end = "2024-05-01T10:00:00Z", "2024-05-01T10:50:00Z"
    more: dict[str, Any] = {"start_date_time": begin, "end_date_time": end, "last_updated": "2020-01-01T00:00:00Z"}
    more["charging_periods"] = claims.periods(begin)
    await claims.send("old", **more, session_id="s2")
    assert "twice: CDR old" in await claims.send("again", **more, session_id=None)
    over_ms = utc_ms(datetime.fromisoformat(end))
    near = await claims.emsp.services.store.read(rows.cdrs_near, "cpo", "", "04A1B2C3", over_ms)
    assert [each.object_id for each in near] == [f"de*cpo*{claims.document['id']}"]


async def test_a_session_of_one_driver_is_not_billed_to_another(claims: Claims) -> None:
    """The partner's own sessions say who has charged."""
    await claims.emsp.ask("PUT", "/tokens/ISO14443/04FFFFFF", {"status": "Accepted"})
    own: dict[str, Any] = {}
    async with asyncio.timeout(60):
        while "04FFFFFF" not in own:
            await asyncio.sleep(0.05)
            own = {each["uid"]: each for each in (await claims.ask("GET", "tokens")).data}
    other = {name: own["04FFFFFF"][name] for name in claims.document["cdr_token"]}
    assert "token: session" in await claims.send("other", cdr_token=other, without=["authorization_reference"])
    assert "token" not in await claims.send("same", without=["authorization_reference"])


async def test_an_authorization_is_for_one_session(claims: Claims) -> None:
    answer = await claims.ask("POST", "tokens/04A1B2C3/authorize?type=RFID", {"location_id": "Depot"})
    reference = answer.data["authorization_reference"]
    found = {}
    for day in (1, 2):
        begin, end = f"2024-05-0{day}T10:00:00Z", f"2024-05-0{day}T10:50:00Z"
        found[day] = await claims.send(
            f"day-{day}", session_id=f"day-{day}", start_date_time=begin, end_date_time=end,
            charging_periods=claims.periods(begin), authorization_reference=reference,
        )  # fmt: skip
    assert "authorization" not in found[1]
    assert "authorization: its reference is that of session day-1" in found[2]


@pytest.mark.requirement("R202")
async def test_a_session_costs_what_its_tariff_said_at_its_start(claims: Claims) -> None:
    """A tariff of a later change, or none, was compared with nothing: any price was booked."""

    def tariff(price: str, changed: str) -> dict[str, Any]:
        part = {"type": "ENERGY", "price": price, "step_size": 1}
        return {
            "country_code": "DE", "party_id": "CPO", "id": "T", "currency": "EUR", "tax_included": "NO",
            "elements": [{"price_components": [part]}], "last_updated": changed,
        }  # fmt: skip

    async def billed(name: str, minute: str, price: int, *tariffs: dict[str, Any], tariff_id: str = "T") -> str:
        begin = f"2024-05-01T{minute}:00Z"
        period = {"start_date_time": begin, "tariff_id": tariff_id, "dimensions": [{"type": "ENERGY", "volume": 20}]}
        until = f"2024-05-01T{int(minute[:2]) + 1:02}{minute[2:]}:00Z"
        return await claims.send(
            name, session_id=name, start_date_time=begin, end_date_time=until, charging_periods=[period], total_time=1,
            total_energy=20, total_cost={"before_taxes": 20 * price}, tariffs=tariffs, without=["signed_data"],
            authorization_reference=None,
        )  # fmt: skip

    async def sent(tariff: dict[str, Any], at: str = "") -> None:
        """Receive it when it is changed, or at another time."""
        key, now_ms = f"de*cpo*{tariff['id'].lower()}", utc_ms(datetime.fromisoformat(at or tariff["last_updated"]))
        await claims.emsp.services.store.run(store_object, "cpo", "tariffs", key, lambda _: tariff, now_ms)

    first, second = tariff("1", "2024-04-01T00:00:00Z"), tariff("2", "2024-05-01T10:30:00Z")
    coming = {**tariff("3", "2024-05-01T14:00:00Z"), "start_date_time": "2024-05-01T18:00:00Z"}
    for each in (first, second, {**second, "last_updated": "2024-05-01T13:00:00Z"}, coming):
        await sent(each)
    assert (await claims.ask("DELETE", "tariffs/DE/CPO/T")).code == 1000
    dearer = "disputed tariff: T is not what was published"
    assert await billed("a", "10:00", 2, second) == dearer
    assert await billed("b", "06:00", 1, first) == "booked"
    assert await billed("c", "08:00", 1) == "booked"
    assert await billed("d", "12:00", 2, second) == "booked"
    assert await billed("e", "16:00", 3, coming) == dearer
    assert await billed("g", "11:00", 3, coming) == dearer, "that it was sent again since changes no price"
    assert await billed("f", "20:00", 3, coming) == "booked"
    # one that is replaced before it comes into force, and one that does not say when it has changed
    early = tariff("4", "2024-05-01T15:00:00Z")
    again = {**early, "elements": tariff("9", "")["elements"]}
    for each in (first, coming, early):
        await sent({**each, "id": "U"})
    await sent({**again, "id": "U"}, "2024-05-01T21:00:00Z")
    # and one of the past: what it says of that is not believed
    for each, at in ((first, ""), (tariff("5", "2024-05-01T08:00:00Z"), "2024-05-01T18:30:00Z")):
        await sent({**each, "id": "V"}, at)
    assert await billed("h", "13:00", 1, {**first, "id": "U"}, tariff_id="U") == "booked"
    assert await billed("i", "15:00", 4, {**early, "id": "U"}, tariff_id="U") == "booked"
    lie = {**again, "id": "U"}
    assert await billed("j", "17:00", 9, lie, tariff_id="U") == "disputed tariff: U is not what was published"
    dear = tariff("5", "2024-05-01T08:00:00Z") | {"id": "V"}
    assert await billed("k", "09:00", 5, dear, tariff_id="V") == "disputed tariff: V is not what was published"
    assert await billed("l", "18:00", 5, dear, tariff_id="V") == "booked"


async def test_a_session_goes_on_while_its_partner_registers_anew(claims: Claims, cpo: Operator) -> None:
    """Its CDR was disputed: the authorization was forgotten with the partner, and its published prices."""
    answer = await claims.ask("POST", "tokens/04A1B2C3/authorize?type=RFID", {"location_id": "Depot"})
    for each, name in ((claims.emsp, "cpo"), (cpo, "emsp")):
        await each.ask("DELETE", f"/roaming/partners/{name}", status=204)
    await acquainted(cpo, claims.emsp)
    begin = "2024-05-01T10:00:00Z"
    more = {"session_id": "s2", "start_date_time": begin, "end_date_time": "2024-05-01T10:50:00Z"}
    reference = answer.data["authorization_reference"]
    said = await claims.send("new", **more, charging_periods=claims.periods(begin), authorization_reference=reference)
    assert said == "booked"


async def test_a_token_that_was_blocked_does_not_charge(claims: Claims) -> None:
    """The partner has been told long before the session."""
    await claims.emsp.ask("PUT", "/tokens/ISO14443/04A1B2C3/status", {"status": "Blocked"})
    begin, end = "2036-05-01T10:00:00Z", "2036-05-01T10:50:00Z"
    more = {
        "session_id": "s2",
        "start_date_time": begin,
        "end_date_time": end,
        "charging_periods": claims.periods(begin),
    }
    async with asyncio.timeout(60):
        while any(each["valid"] for each in (await claims.ask("GET", "tokens")).data if each["uid"] == "04A1B2C3"):
            await asyncio.sleep(0.05)
    assert "token: it was not valid any more" in await claims.send("late", **more, without=["authorization_reference"])


@pytest.mark.parametrize("allowance", [{"energy_wh": 35_000}, {"cost": "16.00"}])
async def test_what_is_used_abroad_counts_for_allowances(claims: Claims, allowance: dict[str, Any]) -> None:
    """A prepaid card would charge at partners without end."""
    terms = {"allowances": [{"period": "total", **allowance}]}
    await claims.emsp.ask("PUT", "/tokens/ISO14443/04A1B2C3", {"status": "Accepted", "terms": terms})
    said = []
    for day in (1, 2, 3):
        answer = await claims.ask("POST", "tokens/04A1B2C3/authorize?type=RFID", {"location_id": "Depot"})
        said.append(answer.data["allowed"])
        begin, end = f"2024-05-0{day}T10:00:00Z", f"2024-05-0{day}T10:50:00Z"
        reference = answer.data.get("authorization_reference")
        state = await claims.send(
            f"day-{day}", session_id=f"day-{day}", start_date_time=begin, end_date_time=end,
            charging_periods=claims.periods(begin), authorization_reference=reference,
        )  # fmt: skip
        assert state == "booked" or day == 3
    assert said == ["ALLOWED", "ALLOWED", "NO_CREDIT"]
    if "energy_wh" in allowance:
        assert (await claims.credit("c", "day-1", session_id="day-1")) == "booked"
        again = await claims.ask("POST", "tokens/04A1B2C3/authorize?type=RFID", {"location_id": "Depot"})
        assert again.data["allowed"] == "ALLOWED"


async def test_the_dearest_cdr_is_counted_and_one_beyond_is_refused(claims: Claims) -> None:
    """Its cost was no integer of the database: it failed each pull from its partner, with all that came beside it."""
    terms = {"allowances": [{"period": "total", "energy_wh": 10**12}]}
    await claims.emsp.ask("PUT", "/tokens/ISO14443/04A1B2C3", {"status": "Accepted", "terms": terms})
    answer = await claims.ask("POST", "tokens/04A1B2C3/authorize?type=RFID", {"location_id": "Depot"})
    part = {"type": "FLAT", "price": 99_999_999_999, "vat": 0, "step_size": 1}
    tariff = {**claims.document["tariffs"][0], "id": "T", "elements": [{"price_components": [part]}]}
    begin = "2024-05-01T10:00:00Z"
    period = {"start_date_time": begin, "tariff_id": "T", "dimensions": [{"type": "ENERGY", "volume": 20}]}
    more = {
        "session_id": "s2", "start_date_time": begin, "end_date_time": "2024-05-01T10:50:00Z",
        "authorization_reference": answer.data["authorization_reference"], "tariffs": [tariff], "total_energy": 20,
        "charging_periods": [period], "total_cost": {"before_taxes": 99_999_999_999, "taxes": []},
    }  # fmt: skip
    assert await claims.send("dear", **more, without=["signed_data"]) == "booked"
    wrong = {**claims.document, **more, "id": "dearer", "total_cost": {"before_taxes": 10**11}}
    assert (await claims.ask("POST", "cdrs", wrong)).code == 2001
