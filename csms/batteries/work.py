"""Makes the report of each month's references of batteries (R124), once, by whichever node looks first."""

import asyncio
from datetime import UTC, datetime
from typing import Final, NoReturn

from csms.batteries import store as rows
from csms.ocpp.base import Services

LOOK_S: Final = 600.0


async def make_reports(services: Services) -> NoReturn:
    """Make the report of the last month when it has ended, until cancelled. Raises StoreError."""
    while True:
        await make_report(services)
        await asyncio.sleep(LOOK_S / services.clock.scale)


async def make_report(services: Services) -> None:
    """Make the report of the month before this one, if there is none. Raises StoreError."""
    now_ms = services.clock.utc_ms()
    month, span_ms = last_month(now_ms)
    apart_percent = 100 * services.config.battery.health.apart
    made = await services.store.run(rows.make_report, month, span_ms, apart_percent, now_ms)
    if made is not None:
        services.announce(
            "alerts", "battery_report", month=month, vehicles=made.vehicles, checked=made.checked, apart=made.apart
        )


def last_month(now_ms: int) -> tuple[str, tuple[int, int]]:
    """Return the month before that of `now_ms` (UTC), as 2026-11, and its span (ms)."""
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    end = datetime(now.year, now.month, 1, tzinfo=UTC)
    begin = datetime(end.year - (end.month == 1), (end.month - 2) % 12 + 1, 1, tzinfo=UTC)
    return f"{begin:%Y-%m}", (round(1000 * begin.timestamp()), round(1000 * end.timestamp()))
