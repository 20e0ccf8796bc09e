"""What a session would cost, asked of the API: by the clock on the wall, on days of any length."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from csms.accounts.rules import Role
from tests.csms.api.support import ApiClient

NIGHT, DAY = "0.10", "0.40"
PLAN = {
    "id": "day-night",
    "currency": "EUR",
    "energy": {"rates": [{"price": NIGHT, "when": {"from_minute": 22 * 60, "to_minute": 6 * 60}}, {"price": DAY}]},
}


@pytest.mark.requirement("R34")
@pytest.mark.parametrize(
    ("zone", "day", "hours", "by_night"),
    [
        ("Europe/Berlin", "2026-03-29", 23.0, 7.0),
        ("Europe/Berlin", "2026-06-01", 24.0, 8.0),
        ("Europe/Berlin", "2026-10-25", 25.0, 9.0),
        ("America/New_York", "2026-11-01", 25.0, 9.0),
        ("Australia/Lord_Howe", "2026-10-04", 23.5, 7.5),  # its summer time is half an hour
    ],
)
async def test_a_local_day_is_priced_by_its_clock(
    ask: ApiClient, zone: str, day: str, hours: float, by_night: float
) -> None:
    """Energy flows evenly, 1 kWh an hour, from midnight to midnight."""
    ask.backend.clock.now_ms = round(datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)
    asked = {"plan": {**PLAN, "zone": zone}, "import_wh": round(hours * 1000), "charging_min": round(hours * 60)}
    cost = (await ask("POST", "/tariffs/example", asked, role=Role.OPERATOR)).json
    assert {line["price"]: float(line["quantity"]) for line in cost["lines"]} == {NIGHT: by_night, DAY: 16.0}
    assert float(cost["excl_tax"]) == pytest.approx(by_night * 0.10 + 16 * 0.40, abs=1e-9)


@pytest.mark.parametrize(
    ("zone", "status"), [("Europe/Berlin", 201), ("+01:00", 201), ("Europe/Berlni", 400), ("+99", 400), ("Europe", 400)]
)
async def test_a_plan_by_a_clock_that_nobody_has_is_refused(ask: ApiClient, zone: str, status: int) -> None:
    """It would give no session a cost, and its content never changes."""
    made = await ask("POST", "/tariffs", {**PLAN, "zone": zone})
    assert made.status == status
    assert status == 201 or made.json["detail"].startswith("zone: ")
