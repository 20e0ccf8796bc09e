"""Books over sessions: facts, postings of settlements, their entries, and accounting periods."""

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Text, case

from csms.db.base import AnyColumn, declare_table, row_id, transaction_key
from csms.tokens.rules import CONTRACT, normalise
from v2g.units import CURRENCY_DIGITS


def vehicle_of(emaid: str) -> str:
    """Return an EMAID, however it is written, as the `vehicle` of postings."""
    return normalise(CONTRACT, emaid)


_SMALLEST: Final = {name: 10 ** (6 - digits) for name, digits in CURRENCY_DIGITS.items()}
"""Micro-units in the smallest unit of currencies that do not have two decimals."""


def billed(micro: AnyColumn, currency: AnyColumn) -> AnyColumn:
    """Return micro-units as `payable_micro` rounds them: what is billed, of which sums are made."""
    unit = case(_SMALLEST, value=currency, else_=10_000)
    return case((micro < 0, -((unit // 2 - micro) // unit * unit)), else_=(micro + unit // 2) // unit * unit)


periods: Final = declare_table(
    "accounting_periods",
    Column("period", String(7), primary_key=True),
    Column("closed_ms", BigInteger, nullable=False),
    Column("postings", BigInteger, nullable=False),
    Column("digest", String(128), nullable=False),
    Column("seal", Text),
)
"""Closed periods; `seal` is the operator's signature of each, as JSON."""

postings: Final = declare_table(
    "postings",
    Column("id", row_id, primary_key=True),
    Column("period", String(7), nullable=False),
    Column("booked_ms", BigInteger, nullable=False),
    Column("station_id", String(48), nullable=False),
    Column("session_id", String(64), nullable=False),
    Column("vehicle", String(255), nullable=False),
    Column("reverses", row_id, ForeignKey("postings.id")),
    Column("reversed", Integer, nullable=False),
    Column("import_mwh", BigInteger, nullable=False),
    Column("export_mwh", BigInteger, nullable=False),
    Column("full_cycles", BigInteger),
    Column("v2g_cycles", BigInteger),
    Column("charging_ms", BigInteger, nullable=False),
    Column("discharging_ms", BigInteger, nullable=False),
    Column("idle_ms", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
    Index(None, "station_id", "session_id"),
    Index(None, "session_id"),
    Index(None, "vehicle", "period"),
    Index(None, "period"),
)
"""Postings in order; `reversed` is 1 where a later one cancels it."""

posting_entries: Final = declare_table(
    "posting_entries",
    Column("posting_id", row_id, ForeignKey("postings.id"), primary_key=True, autoincrement=False),
    Column("account", String(16), primary_key=True),
    Column("unit", String(3), primary_key=True),
    Column("amount", BigInteger, nullable=False),
)
"""Amounts: mWh, or micro-units of a currency."""

facts: Final = declare_table(
    "facts",
    Column("station_id", String(48), primary_key=True),
    Column("source", String(11), primary_key=True),
    Column("source_id", String(64), primary_key=True),
    Column("kind", String(8), primary_key=True),
    Column("key", String(255), nullable=False),
    Column("evse_id", Integer, nullable=False),
    Column("transaction_id", transaction_key, nullable=False),
    Column("state", String(9), nullable=False),
    Column("from_ms", BigInteger, nullable=False),
    Column("to_ms", BigInteger, nullable=False),
    Column("imports_from", BigInteger),
    Column("imports_to", BigInteger),
    Column("exports_from", BigInteger),
    Column("exports_to", BigInteger),
    Column("landed_ms", BigInteger, nullable=False),
    Column("against_station", String(48)),
    Column("against_source", String(11)),
    Column("against_id", String(64)),
    Index(None, "kind", "key", "to_ms"),
)
"""Facts of sessions, registers in mWh (`csms.booking.facts`), and the one that contradicts what is held."""
