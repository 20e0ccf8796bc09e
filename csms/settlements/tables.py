"""Journal copies, what is decided about them, settlements, and the delivery of prices."""

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, LargeBinary, String, Text

from csms.db.base import declare_table, row_id, transaction_key

journals: Final = declare_table(
    "journals",
    Column("station_id", String(48), primary_key=True),
    Column("session_id", String(64), primary_key=True),
    Column("lines", BigInteger, nullable=False),
    Column("head", String(128), nullable=False),
    Column("ended", Boolean, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False, default=0, server_default="0"),
    Column("receipt", Text),
)

journal_lines: Final = declare_table(
    "journal_lines",
    Column("station_id", String(48), primary_key=True),
    Column("session_id", String(64), primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("line", LargeBinary, nullable=False),
)

journal_certificates: Final = declare_table(
    "journal_certificates",
    Column("station_id", String(48), primary_key=True),
    Column("session_id", String(64), primary_key=True),
    Column("charger", LargeBinary, nullable=False),
    Column("contract", LargeBinary, nullable=False),
    Column("emaid", String(255), nullable=False),
    Column("charger_fault", Text, nullable=False, default="", server_default=""),
)
"""The signers of sessions (DER); `emaid` is empty unless the contract's chain led to a trusted root, `charger_fault` if
the charger's did."""

journal_reviews: Final = declare_table(
    "journal_reviews",
    Column("station_id", String(48), primary_key=True),
    Column("session_id", String(64), primary_key=True),
    Column("state", String(12), nullable=False),
    Column("transaction_id", transaction_key, nullable=False),
    Column("begin_ms", BigInteger, nullable=False),
    Column("end_ms", BigInteger, nullable=False),
    Column("reason", String(16), nullable=False),
    Column("detail", Text, nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    Column("due_ms", BigInteger, nullable=False),
    Column("decided_ms", BigInteger),
    Column("decided_by", String(255), nullable=False, default="", server_default=""),
    Column("note", Text, nullable=False, default="", server_default=""),
    Index(None, "state"),
    Index(None, "station_id", "transaction_id"),
)
"""What is decided about complete journals: see `csms.booking.store`."""

offer_decisions: Final = declare_table(
    "offer_decisions",
    Column("id", row_id, primary_key=True),
    Column("station_id", String(48), nullable=False),
    Column("session_id", String(64), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("kind", String(8), nullable=False),
    Column("accepted", Boolean, nullable=False),
    Column("reason", String(40), nullable=False),
    Column("detail", Text, nullable=False),
    Index(None, "at_ms"),
)
"""What vehicles decided about offers, and which of their commands chargers refused, by journals as they arrive."""

settlements: Final = declare_table(
    "settlements",
    Column("station_id", String(48), primary_key=True),
    Column("session_id", String(64), primary_key=True),
    Column("computed_ms", BigInteger, nullable=False),
    Column("journal_head", String(128), nullable=False),
    Column("document", Text, nullable=False),
)


price_deliveries: Final = declare_table(
    "price_deliveries",
    Column("station_id", String(48), primary_key=True),
    Column("tariff", String(64), primary_key=True),
    Column("sent_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("accepted_ms", BigInteger),
    Column("ended_ms", BigInteger),
    Index(None, "ended_ms"),
)
"""Prices by the hash of their tariff: first sent, accepted, and ended when their station accepted others (UTC)."""
