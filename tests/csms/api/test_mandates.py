"""Mandates over the API: made by those who bill, once, shown without the payer's address, and ended."""

from pathlib import Path

import pytest

from csms.accounts.rules import Role
from csms.mandates import store as rows
from csms.payments.config import Mandates, Payments
from tests.csms.api.support import ApiClient, serving
from tests.csms.fixtures import Start

MANDATE = {"vehicle": "DEV2GC1", "payer": "driver@bank", "most": {"amount": "2000.5", "currency": "INR"}}


@pytest.mark.requirement("R42")
async def test_a_mandate_is_made_read_and_ended(backend: Start, tmp_path: Path) -> None:
    provider = Mandates(url="https://pay.example", secret_file=tmp_path / "token")
    async with backend(payments=Payments(mandates=provider)) as csms, serving(csms) as ask:
        body = {**MANDATE, "expires_ms": csms.clock.utc_ms() + 1}
        for role, status in ((Role.OPERATOR, 403), (Role.BILLING, 201), (Role.BILLING, 409)):
            made = await ask("POST", "/mandates", body, role=role)
            assert made.status == status
        (shown,) = (await ask("GET", "/mandates", role=Role.BILLING)).json
        assert (shown["state"], shown["most"], "payer" in shown) == (
            "requested", {"amount": "2000.50", "currency": "INR"}, False,
        )  # fmt: skip
        for wrong in ("0", "-1", "1e3", "1000000000.01", 5):
            assert (
                await ask("POST", "/mandates", {**body, "most": {"amount": wrong, "currency": "INR"}})
            ).status == 400
        for amount, currency in (("0.001", "EUR"), ("100.5", "JPY"), ("1.0005", "KWD")):
            finer = await ask("POST", "/mandates", {**body, "most": {"amount": amount, "currency": currency}})
            assert (finer.status, "decimals" in finer.json["detail"]) == (400, True)
        assert (await ask("GET", f"/mandates/{shown['id']}")).json == shown
        assert (await ask("GET", f"/mandates/{shown['id']}/debits")).json == []
        assert (await ask("DELETE", f"/mandates/{shown['id']}")).status == 204
        assert (await ask("GET", f"/mandates/{shown['id']}")).json["state"] == "ended"
        assert await csms.services.store.run(rows.undecided) == []
        assert (await ask("GET", "/mandates/99")).status == (await ask("DELETE", "/mandates/99")).status == 404
        past = await ask("POST", "/mandates", {**body, "expires_ms": csms.clock.utc_ms()})
        assert (past.status, past.json["detail"]) == (400, "expires_ms is in the past")


async def test_without_a_provider_there_are_no_mandates(ask: ApiClient) -> None:
    answer = await ask("POST", "/mandates", {**MANDATE, "expires_ms": 2 * 10**12})
    assert (answer.status, answer.json["code"]) == (409, "no_provider")
