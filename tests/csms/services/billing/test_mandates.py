"""What sessions cost is debited by mandate: once for each settlement, over crashes, lost answers and corrections."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from msgspec.structs import replace

from csms.accounts.rules import Role
from csms.books import store as books
from csms.config import look
from csms.db import leases
from csms.mandates import store as rows
from csms.mandates.rules import Debit, Mandate
from csms.mandates.work import DebitCollector, MandateClient, collect_debits
from csms.payments.config import Mandates, Payments
from csms.settlements.journals import JournalStore
from pki_tools.tree import PkiTree
from tests.csms.api.support import serving
from tests.csms.backend import Backend
from tests.csms.db.books import posting
from tests.csms.fixtures import backend, csms
from tests.csms.services.billing.payment_provider import TOKEN, FakeProvider
from tests.csms.settlement.journals import SESSION, T0, delivery, journal
from tests.csms.settlement.witness import witness
from tests.csms.support import make_config
from tests.waiting import until
from v2g.energy.settlement.bookkeeping import Posting
from v2g.errors import CodecError, RefusedError, TransportError

__all__ = ["backend", "csms"]

VEHICLE = "DEV2GC1"
DAY_MS = 86_400_000


class Debits:
    """A back end, the fake provider, and a collector between them."""

    def __init__(self, csms: Backend, provider: FakeProvider, url: str) -> None:
        self.csms, self.provider, self.url = csms, provider, url
        self.client = MandateClient(url, TOKEN, None)
        self.collector = DebitCollector(csms.services, self.client)

    async def agree(self, *, vehicle: str = VEHICLE, most: int = 10**9, state: str = "active", days: int = 1) -> int:
        """Make a mandate that the payer approves."""
        now_ms = self.csms.clock.utc_ms()
        number = await self.csms.services.store.run(
            rows.add, vehicle=vehicle, payer="driver@bank", currency="EUR", most_micro=most, now_ms=now_ms,
            expires_ms=now_ms + days * DAY_MS,
        )  # fmt: skip
        for _ in range(2):  # the payer takes a while
            await self.collector.step()
        self.provider.approve(state)
        await self.collector.step()
        return int(number)

    async def book(self, *postings: Posting) -> None:
        for each in postings:
            ended = replace(each, end_ms=self.csms.clock.utc_ms())
            await self.csms.services.store.run(books.book, ended, self.csms.clock.utc_ms(), UTC)

    async def debits(self, mandate: int = 1) -> list[Debit]:
        return list(await self.csms.services.store.run(rows.list_debits, mandate))

    async def mandate(self, number: int = 1) -> Mandate:
        found = await self.csms.services.store.run(rows.find, number)
        assert found is not None
        return found


@pytest_asyncio.fixture
async def debits(csms: Backend) -> AsyncIterator[Debits]:
    provider = FakeProvider()
    runner = web.AppRunner(provider.application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield Debits(csms, provider, f"http://127.0.0.1:{runner.addresses[0][1]}")
    await runner.cleanup()


@pytest.mark.requirement("R42", "R189")
async def test_a_mandate_is_created_approved_and_debited_for_each_session(debits: Debits) -> None:
    await debits.book(posting("00", money=5_000_000))  # before there was a mandate
    debits.csms.clock.advance(1)
    expires_ms = debits.csms.clock.utc_ms() + DAY_MS
    number = await debits.agree()
    assert (await debits.mandate(number)).state == "active"
    terms = {"payer": "driver@bank", "currency": "EUR", "most": "1000.00", "expires_ms": expires_ms}
    assert debits.provider.mandates["M1"].items() >= terms.items()
    await debits.book(posting("01", money=123_456_789), posting("02", money=990_000))
    await debits.book(posting("03", money=7_000_000, vehicle="OTHER"), posting("04", money=-4_000_000))
    for _ in range(3):
        await debits.collector.step()
    assert debits.provider.balance == {"D1": "123.46", "D2": "0.99"}
    assert [(each.session_id, each.amount_micro, each.state, each.reference) for each in await debits.debits()] == [
        ("01", 123_460_000, "done", "D1"), ("02", 990_000, "done", "D2"), ("04", 0, "nothing", ""),
    ]  # fmt: skip
    assert [each.data["state"] for each in debits.csms.events.named("mandate_changed")] == ["pending", "active"]
    reported = [each.data for each in debits.csms.events.named("debit_done")]
    assert [(each["session_id"], each["amount"]) for each in reported] == [("01", "123.46"), ("02", "0.99")]
    assert reported[0].items() >= {"station": "CS", "mandate": number, "currency": "EUR", "reason": ""}.items()


@pytest.mark.requirement("R42", "R189")
async def test_a_corrected_settlement_reverses_its_debit_and_is_debited_anew(debits: Debits) -> None:
    await debits.agree()
    await debits.book(posting("01", money=5_000_000))
    await debits.collector.step()
    await debits.book(posting("01", mwh=600, money=6_000_000))
    await debits.collector.step()
    assert (debits.provider.reversals, debits.provider.balance) == (["D1"], {"D2": "6.00"})
    assert [(each.key, each.amount_micro, each.state) for each in await debits.debits()] == [
        ("CS/01/1", 5_000_000, "done"), ("CS/01/2", -5_000_000, "done"), ("CS/01/3", 6_000_000, "done"),
    ]  # fmt: skip


async def test_an_emaid_is_one_in_each_of_its_forms(debits: Debits) -> None:
    """A certificate's may have a check digit; people write hyphens (ISO 15118-2 Annex H)."""
    await debits.agree(vehicle="de-v2g-C00000001")
    await debits.book(posting("01", money=5_000_000, vehicle="DEV2GC000000017"))
    await debits.collector.step()
    assert debits.provider.balance == {"D1": "5.00"}
    async with serving(debits.csms) as ask:
        for emaid in ("DEV2GC00000001", "DE-V2G-C00000001-7"):
            assert (await ask("GET", f"/books/vehicles/{emaid}")).json["sessions"] == 1
            assert len((await ask("GET", f"/books/costs?by=vehicle&vehicle={emaid}")).json) == 1


@pytest.mark.requirement("R32", "R42")
async def test_an_operators_correction_reverses_the_debit_and_debits_what_is_owed_now(debits: Debits) -> None:
    """2 kWh at 0.30 less 1 kWh at 0.20; then at 0.40, then at -0.05, which owes the driver money."""
    debits.csms.clock.now_ms = T0
    number = await debits.agree(vehicle="DEV2GC00000001")
    debits.csms.clock.now_ms = T0 + 3_600_000
    await debits.csms.services.store.run(witness, journal(), "CS-V2G-0001", SESSION)
    await debits.csms.services[JournalStore].deliver("CS-V2G-0001", delivery(journal()))
    await debits.collector.step()
    assert debits.provider.balance == {"D1": "0.40"}
    async with serving(debits.csms) as ask:
        line = f"{T0}/import"
        for price, balance in (("0.40", {"D2": "0.60"}), ("-0.05", {})):
            body = {"line": line, "price_per_kwh": price, "reason": "wrong tariff"}
            answer = await ask("POST", f"/settlements/{SESSION}/corrections", body, role=Role.BILLING)
            assert answer.status == 200
            line = (await ask("GET", f"/settlements/{SESSION}")).json["document"]["lines"][-1]["id"]
            await debits.collector.step()
            assert debits.provider.balance == balance
    assert [(each.amount_micro, each.state) for each in await debits.debits(number)] == [
        (400_000, "done"), (-400_000, "done"), (600_000, "done"), (-600_000, "done"), (0, "nothing"),
    ]  # fmt: skip


async def test_a_settlement_that_was_corrected_before_its_debit_is_not_debited(debits: Debits) -> None:
    await debits.agree()
    await debits.book(posting("01", money=5_000_000), posting("01", mwh=600, money=6_000_000))
    await debits.collector.step()
    assert debits.provider.balance == {"D1": "6.00"}
    assert debits.provider.reversals == []


class Crashed(BaseException):
    """The process ends."""


class Crashing:
    """Requests of which one, the `n`th, ends the process: `before` it is sent, or after it was answered."""

    def __init__(self, client: MandateClient, n: int, *, before: bool) -> None:
        self._client, self._left, self._before = client, n, before

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any) -> Any:
            self._left -= 1
            if self._left == 0 and self._before:
                raise Crashed
            answer = await getattr(self._client, name)(*arguments)
            if self._left == 0:
                raise Crashed
            return answer

        return call


@pytest.mark.some(1)
@pytest.mark.requirement("R42")
@pytest.mark.parametrize(("n", "before"), list(itertools.product(range(1, 7), (True, False))))
async def test_a_crash_at_any_request_never_debits_twice(debits: Debits, n: int, before: bool) -> None:
    """Create, find, two debits, a reversal, a debit: the process ends at one of them, and another one continues."""
    crashing: Any = Crashing(debits.client, n, before=before)
    dying = DebitCollector(debits.csms.services, crashing)
    now_ms, store = debits.csms.clock.utc_ms(), debits.csms.services.store
    terms = {"vehicle": VEHICLE, "payer": "p", "currency": "EUR", "most_micro": 10**9, "expires_ms": now_ms + DAY_MS}
    await store.run(rows.add, now_ms=now_ms, **terms)
    crashes = 0
    works = (
        [],
        [posting("01", money=5_000_000), posting("02", money=1_000_000)],
        [posting("01", mwh=600, money=6_000_000)],
    )
    for work in works:
        await debits.book(*work)
        for _ in range(2):
            try:
                await dying.step()
            except Crashed:
                crashes += 1
                dying = DebitCollector(debits.csms.services, debits.client)
            debits.provider.approve()
    await dying.step()
    assert crashes == 1
    assert sorted(debits.provider.balance.values()) == ["1.00", "6.00"]
    assert (len(debits.provider.mandates), len(debits.provider.debits), len(debits.provider.reversals)) == (1, 3, 1)
    assert {each.state for each in await debits.debits()} == {"done"}


@pytest.mark.requirement("R42")
async def test_lost_answers_and_a_provider_that_is_down_lead_to_one_debit(debits: Debits) -> None:
    await debits.agree()
    await debits.book(posting("01", money=5_000_000))
    debits.provider.lost = 2
    for _ in range(3):
        await debits.collector.step()
    debits.provider.down = 2
    await debits.book(posting("02", money=1_000_000))
    for _ in range(3):
        await debits.collector.step()
    assert debits.provider.balance == {"D1": "5.00", "D2": "1.00"}
    assert [len(debits.csms.events.named(name)) for name in ("provider_lost", "provider_back")] == [2, 2]


class Noticed:
    """A collector that gives a day's notice, and the clocks of back end and provider."""

    def __init__(self, debits: Debits) -> None:
        self._debits = debits
        self.collector = DebitCollector(debits.csms.services, debits.client, DAY_MS // 1000)

    async def later(self, ms: int) -> None:
        """Let time pass, and do what is due twice."""
        self._debits.csms.clock.now_ms += ms
        self._debits.provider.now_ms = self._debits.csms.clock.now_ms
        for _ in range(2):
            await self.collector.step()


@pytest_asyncio.fixture
async def noticed(debits: Debits) -> Noticed:
    """With a mandate for ten days, before which a session was booked for which 5.00 are owed."""
    await debits.agree(days=10)
    await debits.book(posting("01", money=5_000_000))
    return Noticed(debits)


@pytest.mark.requirement("R189")
async def test_the_payer_has_a_days_notice_of_each_debit_which_the_provider_can_prove(
    debits: Debits, noticed: Noticed
) -> None:
    debits.provider.lost = 1
    await noticed.later(1)
    begun_ms = debits.csms.clock.now_ms
    assert debits.provider.notices == {"N1": ("5.00", begun_ms, 86_400)}, "once, although an answer was lost"
    await noticed.later(DAY_MS - 1)
    assert debits.provider.balance == {}
    await noticed.later(1)
    assert debits.provider.balance == {"D1": "5.00"}
    assert debits.provider.debits["D1"] == {"amount": "5.00", "currency": "EUR", "notice": "N1"}
    (debit,) = await debits.debits()
    assert (debit.state, debit.notice, debit.noticed_ms) == ("done", "N1", begun_ms)
    assert [each.data["amount"] for each in debits.csms.events.named("debit_noticed")] == ["5.00"]
    async with serving(debits.csms) as ask:
        (shown,) = (await ask("GET", "/mandates/1/debits", role=Role.BILLING)).json
        assert (shown["notice"], shown["noticed_ms"]) == ("N1", begun_ms)


@pytest.mark.requirement("R189")
async def test_what_is_corrected_while_a_notice_runs_is_not_debited_and_noticed_anew(
    debits: Debits, noticed: Noticed
) -> None:
    await noticed.later(1)
    await debits.book(posting("01", mwh=600, money=6_000_000))
    await noticed.later(DAY_MS // 2)
    await noticed.later(DAY_MS)
    assert (debits.provider.balance, debits.provider.reversals) == ({"D1": "6.00"}, [])
    assert [amount for amount, *_ in debits.provider.notices.values()] == ["5.00", "6.00"]
    assert [each.state for each in await debits.debits()] == ["nothing", "nothing", "done"]


@pytest.mark.requirement("R189")
async def test_what_is_corrected_before_its_notice_gets_none(debits: Debits, noticed: Noticed) -> None:
    debits.provider.down = 2
    await noticed.later(1)
    await debits.book(posting("01", mwh=600, money=6_000_000))
    await noticed.later(1)
    assert [amount for amount, *_ in debits.provider.notices.values()] == ["6.00"]
    assert [each.state for each in await debits.debits()] == ["nothing", "nothing", "due"]


@pytest.mark.requirement("R189")
async def test_what_is_corrected_once_its_debit_was_asked_for_is_given_back(debits: Debits, noticed: Noticed) -> None:
    """At the first moment at which it may be: nobody knows whether it was debited."""
    await noticed.later(1)
    debits.provider.lost = 2
    await noticed.later(DAY_MS)
    await debits.book(posting("01", mwh=600, money=6_000_000))
    await noticed.later(0)
    assert (debits.provider.balance, debits.provider.reversals) == ({}, ["D1"])
    await noticed.later(DAY_MS)
    assert debits.provider.balance == {"D2": "6.00"}


@pytest.mark.requirement("R189")
async def test_a_notice_counts_from_when_the_provider_has_given_it(debits: Debits, noticed: Noticed) -> None:
    debits.provider.slow = True
    await noticed.collector.step()
    assert (await debits.debits())[0].noticed_ms is None
    assert debits.csms.events.named("debit_noticed") == []
    await noticed.later(1)
    assert (await debits.debits())[0].noticed_ms == debits.csms.clock.now_ms
    assert len(debits.provider.notices) == len(debits.csms.events.named("debit_noticed")) == 1


@pytest.mark.requirement("R189")
async def test_without_notice_nothing_is_debited(debits: Debits, noticed: Noticed) -> None:
    debits.provider.reachable = False
    await noticed.later(1)
    await noticed.later(2 * DAY_MS)
    assert debits.provider.balance == {}
    (debit,) = await debits.debits()
    assert (debit.state, debit.reason) == ("failed", "no notice: the payer has moved")
    assert debits.csms.events.named("debit_failed")


@pytest.mark.requirement("R42")
async def test_two_nodes_debit_once(debits: Debits) -> None:
    await debits.agree()
    await debits.book(posting("01", money=5_000_000))
    store = debits.csms.services.store
    await store.run(rows.plan, debits.csms.clock.utc_ms())
    ((due, reference),) = await store.run(rows.due)
    other = DebitCollector(debits.csms.services, debits.client)
    await debits.client.debit(
        due.key, reference, due.amount_micro, due.currency, ""
    )  # a node between asking and storing
    await other.step()
    assert debits.provider.balance == {"D1": "5.00"}


async def test_a_debit_that_is_pending_is_asked_about_until_it_is_decided(debits: Debits) -> None:
    await debits.agree()
    debits.provider.slow = True
    await debits.book(posting("01", money=5_000_000))
    states = []
    for _ in range(2):
        await debits.collector.step()
        states.append((await debits.debits())[0].state)
    assert (states, debits.provider.balance) == (["due", "done"], {"D1": "5.00"})


async def test_what_the_provider_refuses_fails_with_its_reason_and_its_reversal_is_nothing(debits: Debits) -> None:
    await debits.agree(most=5_000_000)
    debits.provider.funds = False
    await debits.book(posting("01", money=5_000_000), posting("02", money=5_010_000))
    await debits.collector.step()
    await debits.book(posting("01", mwh=600, money=0))
    debits.provider.approve("ended")
    await debits.book(posting("03", money=1_000_000))
    await debits.collector.step()
    found = {each.key: (each.state, each.reason) for each in await debits.debits()}
    assert found["CS/01/1"] == ("failed", "insufficient funds")
    assert found["CS/02/1"] == ("failed", "more than the mandate allows")
    assert found["CS/01/2"] == found["CS/01/3"] == ("nothing", "")
    assert found["CS/03/1"][0] == "failed"
    assert "the mandate is not active" in found["CS/03/1"][1]
    assert debits.provider.balance == {}
    assert len(debits.csms.events.named("debit_failed")) == 3


@pytest.mark.parametrize(
    ("refused", "mandate", "debited"),
    [
        ("mandates", ("ended", ""), []),
        ("M1", ("ended", "M1"), []),
        ("notices", ("active", "M1"), [(5_000_000, "failed", "no notice: HTTP status 422: ")]),
        ("debits", ("active", "M1"), [(5_000_000, "failed", "HTTP status 422: ")]),
        (
            "reversals",
            ("active", "M1"),
            [(5_000_000, "done", ""), (-5_000_000, "failed", "HTTP status 422: "), (0, "nothing", "")],
        ),
    ],
)
async def test_what_a_provider_refuses_is_not_asked_for_again(
    debits: Debits, refused: str, mandate: tuple[str, str], debited: list[tuple[int, str, str]]
) -> None:
    debits.provider.refused = refused
    debits.collector = DebitCollector(debits.csms.services, debits.client, int(refused == "notices"))
    await debits.agree()
    await debits.book(posting("01", money=5_000_000))
    await debits.collector.step()
    if refused == "reversals":
        await debits.book(posting("01", mwh=600, money=0))
    for _ in range(2):
        await debits.collector.step()
    asked = len(debits.provider.requests)
    await debits.collector.step()
    assert len(debits.provider.requests) == asked
    found = await debits.mandate()
    assert (found.state, found.reference) == mandate
    assert found.reason == ("HTTP status 422: " if found.state == "ended" else "")
    assert [(each.amount_micro, each.state, each.reason) for each in await debits.debits()] == debited
    failed = [each.data["reason"] for each in debits.csms.events.named("debit_failed")]
    assert failed == [reason for _, state, reason in debited if state == "failed"]
    assert debits.csms.events.named("provider_lost") == []


async def test_a_provider_that_does_not_answer_five_times_is_asked_again_in_the_next_step(debits: Debits) -> None:
    now_ms, store = debits.csms.clock.utc_ms(), debits.csms.services.store
    terms = {"payer": "p", "currency": "EUR", "most_micro": 10**9, "expires_ms": now_ms + DAY_MS}
    for number in range(7):
        await store.run(rows.add, vehicle=f"{VEHICLE}{number}", now_ms=now_ms, **terms)
    debits.provider.down = 100
    await debits.collector.step()
    assert len(debits.provider.requests) == 5
    debits.provider.down = 0
    await debits.collector.step()
    assert len(debits.provider.mandates) == 7
    assert [len(debits.csms.events.named(name)) for name in ("provider_lost", "provider_back")] == [1, 1]


async def test_a_mandate_ends_when_the_payer_declines_it_ends_it_or_it_expires(debits: Debits) -> None:
    first = await debits.agree(state="ended")
    assert (await debits.mandate(first)).state == "ended"
    second = await debits.agree()
    with pytest.raises(RefusedError, match="has mandate 2"):
        await debits.agree()
    expires_ms = (await debits.mandate(second)).expires_ms
    for now_ms, found in ((expires_ms - 1, ("active", "")), (expires_ms, ("ended", "expired"))):
        debits.csms.clock.now_ms = now_ms
        await debits.collector.step()
        mandate = await debits.mandate(second)
        assert (mandate.state, mandate.reason) == found
    assert (await debits.mandate(first)).reason == "", "it had ended before"
    await debits.book(posting("01", money=5_000_000))
    await debits.collector.step()
    assert debits.provider.balance == {}


async def test_answers_that_are_not_of_the_interface_leave_everything_due(debits: Debits) -> None:
    wrong = MandateClient(debits.url, "another token", None)
    with pytest.raises(TransportError, match="401") as reported:
        await wrong.find("M1")
    assert "secret_file" in reported.value.hint
    with pytest.raises(RefusedError, match="404"):
        await MandateClient(f"{debits.url}/v1", TOKEN, None).reverse("k", "D1")
    await debits.agree()
    debits.provider.mandates["M1"]["state"] = "asleep"
    with pytest.raises(CodecError, match="asleep"):
        await debits.client.find("M1")


async def test_a_mandate_that_cannot_be_read_does_not_stop_the_debits_of_others(debits: Debits) -> None:
    await debits.agree()
    await debits.agree(vehicle="OTHER", state="asleep")
    debits.provider.mandates["M1"]["state"] = "active"
    await debits.book(posting("01", money=5_000_000))
    await debits.collector.step()
    assert debits.provider.balance == {"D1": "5.00"}
    assert "asleep" in str(debits.csms.events.named("provider_lost")[0].data["reason"])


async def test_the_configured_provider_is_asked_with_the_token_of_its_file(debits: Debits, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text(f"{TOKEN}\n")
    secret.chmod(0o600)
    now_ms, store = debits.csms.clock.utc_ms(), debits.csms.services.store
    terms = {"vehicle": VEHICLE, "payer": "p", "currency": "EUR", "most_micro": 10**9, "expires_ms": now_ms + DAY_MS}
    await store.run(rows.add, now_ms=now_ms, **terms)
    assert await store.run(leases.take, "payment mandates", "another node", now_ms - 2, now_ms - 1)  # and it has died
    task = asyncio.create_task(collect_debits(debits.csms.services, Mandates(url=debits.url, secret_file=secret)))
    await until(lambda: debits.csms.events.named("mandate_changed"))
    task.cancel()
    assert (await debits.mandate()).approval_url == "https://pay.example/M1"


@pytest.mark.parametrize(("url", "refused"), [("http://pay.example", True), ("http://127.0.0.1:8080", False)])
def test_a_provider_is_not_asked_without_encryption(tmp_path: Path, pki: PkiTree, url: str, refused: bool) -> None:
    payments = Payments(mandates=Mandates(url=url, secret_file=tmp_path / "token"))
    places = [flaw[0] for flaw in look(make_config(tmp_path, pki, payments=payments))]
    assert (("payments", "mandates", "url") in places) is refused
