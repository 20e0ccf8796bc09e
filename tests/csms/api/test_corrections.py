"""Corrections of settled sessions: who, when and why continue the journal; books, receipt and debits follow."""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from csms.accounts.rules import Role
from csms.settlements.journals import JournalStore
from csms.settlements.store import JournalRow, append_journal
from tests.csms.api.support import ApiClient
from tests.csms.settlement.journals import SESSION, T0, delivery, journal, started
from tests.csms.settlement.witness import delivered_whole
from v2g.energy.settlement.bookkeeping import next_period, period_of
from v2g.energy.settlement.corrections import Change, read_addendum, read_corrected
from v2g.energy.settlement.journal import Journal, verify_lines
from v2g.energy.settlement.records import CorrectionsSigned, LineCorrected, SessionRepriced
from v2g.energy.settlement.settle import settle
from v2g.pki.keys import PublicKey, load_public_key

STATION = "CS-V2G-0001"
LINE = f"{T0}/import"
CORRECTIONS = f"/settlements/{SESSION}/corrections"
REPRICE = f"/settlements/{SESSION}/reprice"


def price(per_kwh: str, reason: str = "wrong tariff", line: str = LINE) -> dict[str, str]:
    return {"line": line, "price_per_kwh": per_kwh, "reason": reason}


def tariff(import_price: int | str, export: int | str, currency: str = "EUR", hours: int = 2) -> dict[str, Any]:
    slot = {
        "start_ms": T0,
        "duration_ms": hours * 3_600_000,
        "import_price": import_price,
        "export_compensation": export,
    }
    return {"tariff": {"currency": currency, "slots": [slot], "version": 8, "source": "op"}, "reason": "dispute 7"}


@pytest.fixture
async def settled(ask: ApiClient) -> ApiClient:
    """A back end with a settled session: 2 kWh bought at 0.30, 1 kWh sold at 0.20."""
    await delivered_whole(ask, journal())
    return ask


@pytest.mark.requirement("R32", "R33")
async def test_a_correction_reverses_the_posting_and_says_who_when_and_why(settled: ApiClient) -> None:
    ask = settled
    corrected = await ask("POST", CORRECTIONS, price("-0.05"), role=Role.BILLING)
    assert (corrected.status, corrected.json["owed"]) == (200, [{"amount": "-0.30", "currency": "EUR"}])
    entries = verify_lines((await ask("GET", f"/settlements/{SESSION}/journal")).body)
    assert entries[-1].hash == corrected.json["journal_head"]
    record, signed = entries[-2].data, entries[-1].data
    assert isinstance(record, LineCorrected)
    assert isinstance(signed, CorrectionsSigned)
    assert (record.price, record.reason, bool(record.by)) == (-50_000, "wrong tariff", True)
    assert entries[-1].utc_ms == max(ask.backend.clock.utc_ms(), entries[-2].utc_ms)
    document = (await ask("GET", f"/settlements/{SESSION}")).json["document"]
    assert [each["kind"] for each in document["lines"]][-2:] == ["reversal", "replacement"]
    assert document["totals"][0]["balance"] == settle(entries).totals[0].balance == -300_000
    found = (await ask("GET", f"/settlements/{SESSION}/postings")).json
    assert [each["kind"] for each in found] == ["settlement", "reversal", "settlement"]
    (cost,) = (await ask("GET", "/books/costs")).json
    assert cost["owed"] == [{"amount": "-0.30", "currency": "EUR"}]
    page = (await ask("GET", f"/settlements/{SESSION}/receipt")).body.decode()
    assert "A price was corrected after the session" in page
    (entry,) = [each for each in (await ask("GET", "/audit")).json if each["operation"] == "correct_line"]
    assert (entry["caller"], entry["status"]) == (record.by, 200)
    assert Decimal(entry["before"]["owed"][0]["amount"]) == Decimal("0.4")
    assert entry["after"] == corrected.json


@pytest.mark.requirement("R32", "R33")
async def test_a_session_is_priced_anew_and_a_closed_period_stays(settled: ApiClient) -> None:
    ask, month = settled, period_of(T0)
    ask.backend.clock.now_ms = T0 + 40 * 86_400_000
    closed = (await ask("POST", f"/books/periods/{month}/close", role=Role.BILLING)).json
    before = (await ask("GET", f"/books/periods/{month}")).json
    again = await ask("POST", REPRICE, tariff("0.10", "0.25"), role=Role.BILLING)
    assert again.json["owed"] == [{"amount": "-0.05", "currency": "EUR"}]
    assert (await ask("GET", f"/books/periods/{month}")).json == before
    assert (before["intact"], before["state"]) == (True, closed)
    periods = [each["period"] for each in (await ask("GET", f"/settlements/{SESSION}/postings")).json]
    assert periods == [month, next_period(month), next_period(month)]
    sheet = (await ask("GET", f"/books/periods/{next_period(month)}")).json["sheet"]
    driver = [each["amount"] for each in sheet["amounts"] if each["account"] == "driver"]
    assert (driver, sheet["sessions"]) == (["-0.45"], 0)
    record = verify_lines((await ask("GET", f"/settlements/{SESSION}/journal")).body)[-2].data
    assert isinstance(record, SessionRepriced)
    assert record.reason == "dispute 7"


async def test_a_repeated_request_with_its_key_corrects_once(settled: ApiClient) -> None:
    ask = settled
    answers = [await ask("POST", REPRICE, tariff("0.000001", 1), Idempotency_Key="k1") for _ in range(3)]
    assert len({each.body for each in answers}) == 1
    assert len((await ask("GET", f"/settlements/{SESSION}/postings")).json) == 3


@pytest.mark.parametrize("path", [CORRECTIONS, REPRICE])
async def test_the_same_correction_again_changes_nothing(settled: ApiClient, path: str) -> None:
    """Not even with another key, or for another reason; another one after it counts, and so does the first again."""
    ask = settled
    first, other = (price("0.1"), price("0.2")) if path == CORRECTIONS else (tariff(1, 1), tariff(2, 2))
    made = await ask("POST", path, first, Idempotency_Key="k1")
    again = await ask("POST", path, {**first, "reason": "once more"}, role=Role.BILLING)
    assert again.json == made.json
    assert len((await ask("GET", f"/settlements/{SESSION}/postings")).json) == 3
    if path == REPRICE:
        for count, body in ((5, other), (7, first)):
            assert (await ask("POST", path, body)).status == 200
            assert len((await ask("GET", f"/settlements/{SESSION}/postings")).json) == count


async def test_the_station_may_deliver_its_lines_again_after_a_correction(settled: ApiClient) -> None:
    ask = settled
    head = (await ask("POST", CORRECTIONS, price("0.1"))).json["journal_head"]
    delivered = await ask.backend.services[JournalStore].deliver(STATION, delivery(journal()))
    assert delivered.lines >= len(journal())
    assert (await ask("GET", f"/settlements/{SESSION}")).json["journal_head"] == head


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "why"),
    [
        (CORRECTIONS, price("0.1", line="nothing"), 409, "no_line", "no line nothing is in force"),
        (CORRECTIONS, price("0.1").items(), 400, "", "body"),
        (CORRECTIONS, price("a lot"), 400, "", "price_per_kwh"),
        (CORRECTIONS, price("0.1", reason=""), 400, "", "reason"),
        (REPRICE, tariff(1, 1, currency="SEK"), 409, "other_currency", "SEK"),
        (REPRICE, tariff(1, 1, hours=0), 400, "", "duration_ms"),
        ("/settlements/FF/reprice", tariff(1, 1), 404, "", "no such session"),
    ],
)
async def test_what_cannot_be_corrected_is_refused_with_the_reason(
    settled: ApiClient, path: str, body: Any, status: int, code: str, why: str
) -> None:
    found = await settled("POST", path, body if isinstance(body, dict) else [])
    assert (found.status, found.json.get("code", "")) == (status, code)
    assert why in found.json["detail"]
    assert len((await settled("GET", f"/settlements/{SESSION}/postings")).json) == 1


async def test_a_running_session_is_not_corrected_and_only_billing_corrects(ask: ApiClient) -> None:
    await ask.backend.services[JournalStore].deliver(STATION, delivery(journal()[:4]))
    assert started().session_id == SESSION
    early = await ask("POST", REPRICE, tariff(1, 1))
    assert (early.status, early.json["code"]) == (409, "not_over")
    for role in (Role.OPERATOR, Role.VIEWER):
        assert (await ask("POST", REPRICE, tariff(1, 1), role=role)).status == 403


@pytest.mark.requirement("R32", "R33")
async def test_the_operators_key_signs_each_correction_and_those_of_earlier_versions_on_request(
    settled: ApiClient,
) -> None:
    ask, store = settled, settled.backend.services.store
    line = Journal.resume(b"".join(journal())).append(
        LineCorrected(line=LINE, price=1, reason="of an earlier version", by="bob"), T0 + 2_000_000
    )
    row = JournalRow(
        station_id=STATION, session_id=SESSION, lines=len(journal()) + 1, head=json.loads(line)["hash"], ended=True
    )
    await store.run(append_journal, row, len(journal()), [line], 1)
    pem = (await ask("GET", "/books/key")).body
    (tmp := ask.backend.services.config.data_dir / "operator.pem").write_bytes(pem)

    async def changes(*operators: PublicKey) -> tuple[Change, ...]:
        copy = (await ask("GET", f"/settlements/{SESSION}/journal")).body
        entries = read_corrected(copy, b"".join(journal()), name="copy")
        return read_addendum(entries, operators=operators or None, name="copy").changes

    (before,) = await changes()
    assert (before.by, before.key) == ("bob", None)
    assert (await ask("POST", f"{CORRECTIONS}/sign", role=Role.VIEWER)).status == 403
    assert (await ask("POST", f"{CORRECTIONS}/sign", role=Role.BILLING)).status == 200
    (after,) = await changes(load_public_key(tmp))
    assert after == msgspec.structs.replace(before, key=after.key, known=True)
