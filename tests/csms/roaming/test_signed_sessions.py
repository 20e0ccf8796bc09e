"""Sessions whose vehicle signed offers: their CDRs say what was settled, once that is booked (R203)."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from csms.booking import store as reviews
from csms.booking.store import Review
from csms.settlements import store as records
from csms.settlements.store import JournalRow
from tests.csms.fixtures import backend as backend
from tests.csms.roaming.peers import LOCATION
from tests.csms.roaming.registered import TOKEN, Roaming, charge
from tests.csms.roaming.registered import roaming as roaming
from v2g.asn1.discharge import PriceSlot
from v2g.energy.grid_signal import Tariff
from v2g.energy.settlement.journal import Journal, verify_lines
from v2g.energy.settlement.records import LineCorrected, MeterReading, SessionStarted, TariffSet
from v2g.energy.settlement.session_journal import SessionJournal
from v2g.energy.settlement.settle import settle
from v2g.units import payable

pytestmark = pytest.mark.requirement("R203")

STATION, SESSION = "CS-V2G-0001", "00112233"
HOUR_MS = 3_600_000
CARD = {"idToken": "04A1B2C3", "type": "ISO14443"}


def journal(begin_ms: int) -> list[bytes]:
    """Return a journal: 8 kWh taken at 0.30, 3 kWh fed back at 0.45."""
    slots = tuple(PriceSlot(begin_ms // HOUR_MS * HOUR_MS + n * HOUR_MS, HOUR_MS, 300_000, 450_000) for n in range(4))
    made = SessionJournal()
    started = SessionStarted(
        station_id=STATION, evse_id="DE*CPO*E1", session_id=SESSION, meter_serial="M", meter_certificate="ab",
        charger_certificate="cd", import_mwh=0, export_mwh=0, discharge="standard",
    )  # fmt: skip
    lines = [*made.record(started, begin_ms), *made.record(TariffSet(tariff=Tariff(
        currency="EUR", slots=slots, version=1, source="dso")), begin_ms)]  # fmt: skip
    lines += made.record(MeterReading(import_mwh=8_000_000, export_mwh=0), begin_ms + 1_200_000)
    lines += made.record(MeterReading(import_mwh=8_000_000, export_mwh=3_000_000), begin_ms + 2_400_000)
    return [*lines, *made.end("vehicle", begin_ms + 2_400_000, import_mwh=8_000_000, export_mwh=3_000_000)]


async def arrives(roaming: Roaming, lines: list[bytes], before: int = 0) -> None:
    state = Journal.resume(b"".join(lines)).state
    row = JournalRow(station_id=STATION, session_id=SESSION, lines=len(lines), head=state.head, ended=state.ended)
    now_ms = roaming.backend.clock.utc_ms()
    store = roaming.backend.services.store
    assert await store.run(records.append_journal, row, before, lines[before:], now_ms)


async def put(roaming: Roaming, transaction_id: str, state: Any) -> None:
    """Store what is decided about the journal, and tell."""
    services = roaming.backend.services
    review = Review(
        station_id=STATION, session_id=SESSION, state=state, transaction_id=transaction_id, begin_ms=0, end_ms=0,
        reason="", detail="", since_ms=0, due_ms=0,
    )  # fmt: skip
    assert await services.store.run(reviews.put, review)
    services.feed.publish("settled", STATION, {"session": SESSION, "transaction": transaction_id})


def money(cdr: Any) -> Decimal:
    return Decimal(str(cdr["total_cost"]["excl_vat"]))


@pytest.mark.parametrize("negative", [True, False])
async def test_the_bill_waits_for_the_settlement_says_it_and_follows_its_corrections(
    roaming: Roaming, negative: bool
) -> None:
    await roaming.ask("DELETE", "/roaming/partners/tnm")
    await roaming.register(negative_energy=negative)
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    await roaming.ocpi("PUT", "/cpo/2.2.1/tokens/NL/TNM/04A1B2C3", {**TOKEN, "whitelist": "ALWAYS"})
    lines = journal(roaming.backend.clock.utc_ms() + 120_000)
    await arrives(roaming, lines[:2])
    charging = await charge(roaming, CARD)
    await arrives(roaming, lines, before=2)
    services = roaming.backend.services
    services.feed.publish("transaction_updated", STATION, {"transaction": charging.id})
    async with asyncio.timeout(60):
        while (await roaming.ask("GET", "/roaming/partners/tnm/deliveries")).json:
            await asyncio.sleep(0.01)
    assert [where for how, where, _ in roaming.partner.bodies if where == "/cdrs"] == []
    await put(roaming, charging.id, "booked")
    count = 1 if negative else 2
    await roaming.partner.sent("POST", "/cdrs", count)
    bills = [body for _, where, body in roaming.partner.bodies if where == "/cdrs"]
    settled = settle(verify_lines(b"".join(lines)))
    (total,) = settled.totals
    assert sum(map(money, bills)) == payable(Decimal(total.balance).scaleb(-6), "EUR") == Decimal("1.05")
    assert [each["total_energy"] for each in bills] == ([5] if negative else [8, 3])
    assert [each.get("credit", False) for each in bills] == [False, True][:count]
    # a correction takes everything back, and bills again
    most = max(settled.lines, key=lambda each: each.energy_mwh)  # the first is less than a cent before a quarter hour
    change = LineCorrected(line=most.id, price=200_000, reason="x", by="alice")
    longer = [*lines, Journal.resume(b"".join(lines)).append(change, roaming.backend.clock.utc_ms())]
    await arrives(roaming, longer, before=len(lines))
    services.feed.publish("corrected", STATION, {"transaction": charging.id})
    await roaming.partner.sent("POST", "/cdrs", 2 * count + 1)
    bills = [body for _, where, body in roaming.partner.bodies if where == "/cdrs"]
    (total,) = settle(verify_lines(b"".join(longer))).totals
    assert sum(map(money, bills)) == payable(Decimal(total.balance).scaleb(-6), "EUR") != Decimal("1.05")
    assert sum(map(money, bills[:-count])) == 0
