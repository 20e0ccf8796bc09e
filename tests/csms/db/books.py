"""What several tests of books use."""

from datetime import UTC

from cryptography.hazmat.primitives.asymmetric import ed448
from sqlalchemy import Connection

from csms.books import store as books
from v2g.energy.settlement.bookkeeping import Entry, Posting, Use
from v2g.pki.keys import SoftwareKey

DAY = 86_400_000
NOV = 1_795_000_000_000
LATER = NOV + 100 * DAY
KEY = SoftwareKey(ed448.Ed448PrivateKey.generate())
"""Signs alike each time."""


def posting(
    session: str = "01", mwh: int = 500, money: int = 300, *, vehicle: str = "DEV2GC1", end_ms: int = NOV
) -> Posting:
    entries = (
        Entry(account="driver", unit="EUR", amount=money), Entry(account="sales", unit="EUR", amount=-money),
        Entry(account="vehicle", unit="mWh", amount=mwh), Entry(account="grid", unit="mWh", amount=-mwh),
    )  # fmt: skip
    use = Use(import_mwh=mwh, export_mwh=0, full_cycles=2, v2g_cycles=1, charging_ms=60, discharging_ms=30, idle_ms=10)
    return Posting(
        kind="settlement", station_id="CS", session_id=session, journal_head=f"{mwh}/{money}", vehicle=vehicle,
        begin_ms=end_ms - 100, end_ms=end_ms, entries=entries, use=use,
    )  # fmt: skip


def book(connection: Connection, *found: Posting, now_ms: int = LATER) -> list[int]:
    return [number for each in found for number in books.book(connection, each, now_ms, UTC)]
