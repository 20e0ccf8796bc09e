"""Journals in quarantine: shown, released or rejected by an operator, in the audit log; until then without effect."""

from typing import Any

import pytest

from csms.accounts.rules import Role
from csms.settlements.journals import JournalStore
from tests.csms.api.support import ApiClient
from tests.csms.settlement.journals import SESSION, delivery, journal
from tests.csms.settlement.witness import witness

STATION = "CS-V2G-0001"
PLACE = f"/books/quarantine/{SESSION}"
NOTE = {"note": "confirmed by the driver"}


async def quarantined(ask: ApiClient) -> dict[str, Any]:
    """Deliver a journal with prices that were not sent, after the rest was seen; return what is shown of it."""
    services = ask.backend.services
    await services.store.run(witness, journal(), STATION, SESSION)
    await services[JournalStore].deliver(STATION, delivery(journal(price=999_999)))
    found: dict[str, Any] = (await ask("GET", PLACE, role=Role.BILLING)).json
    return found


@pytest.mark.requirement("R39")
async def test_a_journal_in_quarantine_is_shown_and_has_no_effect(ask: ApiClient) -> None:
    found = await quarantined(ask)
    assert (found["state"], found["reason"], found["transaction_id"]) == ("quarantined", "prices", f"tx-{SESSION}")
    assert (await ask("GET", "/books/quarantine", role=Role.BILLING)).json == [found]
    assert (await ask("GET", "/books/quarantine?state=rejected", role=Role.BILLING)).json == []
    assert (await ask("GET", f"/settlements/{SESSION}", role=Role.BILLING)).status == 404
    for path in (f"/settlements/{SESSION}/receipt", f"/settlements/{SESSION}/receipt?station={STATION}"):
        answer = await ask("GET", path, role=Role.BILLING)
        assert (answer.status, answer.json["code"]) == (409, "not_booked")
    body = {"line": "1/import", "price_per_kwh": "0.25", "reason": "wrong"}
    answer = await ask("POST", f"/settlements/{SESSION}/corrections", body, role=Role.BILLING)
    assert (answer.status, answer.json["code"]) == (409, "not_booked")
    assert (await ask("GET", "/books/periods", role=Role.BILLING)).json == []
    assert (await ask("GET", "/books/costs", role=Role.BILLING)).json == []
    assert "v2g_journals_quarantined 1.0" in (await ask("GET", "/metrics")).body.decode()


@pytest.mark.requirement("R39", "R44")
async def test_an_operator_releases_it_once_and_the_audit_log_says_who(ask: ApiClient) -> None:
    before = await quarantined(ask)
    released = await ask("POST", f"{PLACE}/release", NOTE, role=Role.BILLING)
    assert released.status == 200
    assert {**before, "state": "released", "decided_by": "billing", **NOTE} == {**released.json, "decided_ms": None}
    again = await ask("POST", f"{PLACE}/release", {"note": "again"}, role=Role.BILLING)
    assert again.json == released.json
    (cost,) = (await ask("GET", "/books/costs", role=Role.BILLING)).json
    assert cost["owed"] == [{"amount": "1.80", "currency": "EUR"}]
    assert (await ask("GET", f"/settlements/{SESSION}/receipt", role=Role.BILLING)).status == 200
    refused = await ask("POST", f"{PLACE}/reject", NOTE, role=Role.BILLING)
    assert (refused.status, refused.json["code"]) == (409, "not_quarantined")
    entries = (await ask("GET", "/audit")).json
    (entry,) = [each for each in entries if each["path"].endswith("/release") and NOTE["note"] in str(each["request"])]
    assert (entry["caller"], entry["before"]["state"], entry["after"]["state"]) == (
        "billing",
        "quarantined",
        "released",
    )


@pytest.mark.requirement("R39")
async def test_a_rejected_one_is_never_booked(ask: ApiClient) -> None:
    await quarantined(ask)
    rejected = await ask("POST", f"{PLACE}/reject", NOTE, role=Role.BILLING)
    assert (rejected.json["state"], rejected.json["note"]) == ("rejected", NOTE["note"])
    assert (await ask("POST", f"{PLACE}/reject", NOTE, role=Role.BILLING)).json == rejected.json
    await ask.backend.services[JournalStore].deliver(STATION, delivery(journal(price=999_999)))
    await ask.backend.services[JournalStore].recover()
    assert (await ask("GET", "/books/costs", role=Role.BILLING)).json == []
    assert (await ask("POST", f"{PLACE}/release", NOTE, role=Role.BILLING)).status == 409


async def test_only_who_may_correct_decides(ask: ApiClient) -> None:
    await quarantined(ask)
    for decision in ("release", "reject"):
        assert (await ask("POST", f"{PLACE}/{decision}", NOTE, role=Role.OPERATOR)).status == 403
        assert (await ask("POST", f"/books/quarantine/ffff/{decision}", NOTE, role=Role.BILLING)).status == 404
    assert (await ask("GET", PLACE)).json["state"] == "quarantined"
