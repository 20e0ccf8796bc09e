"""Health of a fleet's batteries over the API."""

import pytest

from csms.accounts.rules import Role
from tests.csms.api.support import ApiClient
from tests.csms.estimates import DAY_MS, estimate


@pytest.mark.requirement("R178")
async def test_the_health_of_a_fleet_is_that_of_each_vehicles_last_estimate(ask: ApiClient) -> None:
    await estimate(ask.backend, "EV-1", 60, 95.0)
    await estimate(ask.backend, "EV-1", 2, 93.0, 90.0)
    await estimate(ask.backend, "EV-1", 1, 92.0, 89.0)
    await estimate(ask.backend, "EV-2", 3, 80.5, 78.0)
    await estimate(ask.backend, "EV-3", 4, 79.5)
    await estimate(ask.backend, "EV-4", 5, None)
    await estimate(ask.backend, "EV-5", 40, 70.0)
    found = (await ask("GET", "/battery-health")).json
    assert len(found) == 14
    last, day = found[-1], 91 / 13
    assert last == {
        "at_ms": ask.backend.clock.utc_ms(),
        "vehicles": 3,
        "lowest_percent": 79.5,
        "mean_percent": 84.0,
        "highest_percent": 92.0,
        "low": 1,
        "forecast": 2,
        "expected_percent": 83.5,
        "expected_low": 1,
        "weakest": [
            {"ev": "EV-3", "percent": 79.5, "expected_percent": None},
            {"ev": "EV-2", "percent": 80.5, "expected_percent": 78.0},
            {"ev": "EV-1", "percent": 92.0, "expected_percent": 89.0},
        ],
    }
    assert found[-1]["at_ms"] - found[-2]["at_ms"] == day * DAY_MS
    assert [each["vehicles"] for each in found] == [0, 0, 0, 0, 0, 1, 1, 1, 2, 1, 1, 1, 0, 3]
    assert found[0]["mean_percent"] is None
    now_ms = ask.backend.clock.utc_ms()
    path = f"/battery-health?from_ms={now_ms - 2 * DAY_MS}&to_ms={now_ms}&points=3"
    assert [each["highest_percent"] for each in (await ask("GET", path)).json] == [80.5, 93.0, 92.0]
    assert (await ask("GET", f"/battery-health?from_ms={now_ms}&to_ms={now_ms}")).status == 400
    assert [each["ev"] for each in (await ask("GET", "/battery-health", role=Role.DRIVER)).json[-1]["weakest"]] == [
        "EV-1"
    ]
    for role, status in ((Role.FLEET, 200), (Role.INSURER, 403), (Role.OPERATOR, 403), (Role.VIEWER, 403)):
        assert (await ask("GET", "/battery-health", role=role)).status == status
