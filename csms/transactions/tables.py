"""Transactions, their events and meter values."""

from typing import Final

import sqlalchemy as sa

from csms.db.base import declare_table, row_id, transaction_key

transactions: Final = declare_table(
    "transactions",
    sa.Column("station_id", sa.String(48), primary_key=True),
    sa.Column("transaction_id", transaction_key, primary_key=True),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("started_ms", sa.BigInteger),
    sa.Column("ended_ms", sa.BigInteger),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("needs", sa.Text),
    sa.Column("heard_ms", sa.BigInteger, nullable=False, default=0, server_default="0"),
    sa.Column("answer", sa.String(20), nullable=False, default="", server_default=""),  # about its token
    sa.ForeignKeyConstraint(["station_id"], ["stations.station_id"]),
    sa.Index(None, "transaction_id"),
    sa.Index(None, "station_id", "active"),
    sa.Index(None, "started_ms"),
    sa.Index(None, "ended_ms"),
    sa.Index(None, "station_id", "started_ms"),
)

transaction_totals: Final = declare_table(
    "transaction_totals",
    sa.Column("station_id", sa.String(48), primary_key=True),
    sa.Column("transaction_id", transaction_key, primary_key=True),
    sa.Column("end_ms", sa.BigInteger, nullable=False),
    sa.Column("duration_ms", sa.BigInteger, nullable=False),
    sa.Column("evse_id", sa.Integer, nullable=False),
    sa.Column("token", sa.Text, nullable=False),
    sa.Column("tariff", sa.Text, nullable=False),
    sa.Column("import_mwh", sa.BigInteger, nullable=False),
    sa.Column("export_mwh", sa.BigInteger, nullable=False),
    sa.ForeignKeyConstraint(
        ["station_id", "transaction_id"], ["transactions.station_id", "transactions.transaction_id"]
    ),
    sa.Index(None, "end_ms"),
)
"""What ended transactions come to, for reports; those that run have no row."""

booked_transactions: Final = declare_table(
    "booked_transactions",
    sa.Column("station_id", sa.String(48), primary_key=True),
    sa.Column("transaction_id", transaction_key, primary_key=True),
    sa.Column("currency", sa.String(3), primary_key=True),
    sa.Column("import_mwh", sa.BigInteger),
    sa.Column("export_mwh", sa.BigInteger),
    sa.Column("net", sa.BigInteger),
    sa.Column("gross", sa.BigInteger),
)
"""What the postings of a transaction's sessions come to that stand, for reports: micro-units in each currency, with the
energy in the first one; without money a row without currency."""

held_transactions: Final = declare_table(
    "held_transactions",
    sa.Column("station_id", sa.String(48), primary_key=True),
    sa.Column("transaction_id", transaction_key, primary_key=True),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("reason", sa.String(16), nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("begin_ms", sa.BigInteger, nullable=False),
    sa.Column("end_ms", sa.BigInteger, nullable=False),
    sa.Column("import_mwh", sa.BigInteger, nullable=False),
    sa.Column("export_mwh", sa.BigInteger, nullable=False),
    sa.Column("since_ms", sa.BigInteger, nullable=False),
    sa.Column("decided_ms", sa.BigInteger),
    sa.Column("decided_by", sa.String(255), nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.ForeignKeyConstraint(
        ["station_id", "transaction_id"], ["transactions.station_id", "transactions.transaction_id"]
    ),
    sa.Index(None, "state"),
)
"""Ended transactions that need a person's decision, or had it; the energy is what a release books."""

transaction_events: Final = declare_table(
    "transaction_events",
    sa.Column("id", row_id, primary_key=True),
    sa.Column("station_id", sa.String(48), nullable=False),
    sa.Column("transaction_id", transaction_key, nullable=False),
    sa.Column("seq_no", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.String(8), nullable=False),
    sa.Column("trigger", sa.String(32), nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("received_ms", sa.BigInteger, nullable=False),
    sa.Column("earliest_ms", sa.BigInteger),  # it cannot have happened before: see csms.booking.plausibility
    sa.Column("offline", sa.Boolean, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("samples", sa.Text, nullable=False, default="[]", server_default="[]"),
    sa.UniqueConstraint("station_id", "transaction_id", "seq_no"),
    sa.ForeignKeyConstraint(
        ["station_id", "transaction_id"], ["transactions.station_id", "transactions.transaction_id"]
    ),
)

meter_values: Final = declare_table(
    "meter_values",
    sa.Column("id", row_id, primary_key=True),
    sa.Column("station_id", sa.String(48), nullable=False),
    sa.Column("evse_id", sa.Integer),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("measurand", sa.String(64), nullable=False),
    sa.Column("value", sa.String(40), nullable=False),
    sa.Column("unit", sa.String(20), nullable=False),
    sa.Column("context", sa.String(24), nullable=False),
    sa.Column("phase", sa.String(8), nullable=False),
    sa.Column("location", sa.String(16), nullable=False),
    sa.Column("signed", sa.Text, nullable=False),
    sa.Column("verdict", sa.String(12), nullable=False, default="", server_default=""),
    sa.ForeignKeyConstraint(["station_id"], ["stations.station_id"]),
)
"""Readings outside transactions. Those of a transaction are in its events: `samples`, as JSON."""

grid_meters: Final = declare_table(
    "grid_meters",
    sa.Column("station_id", sa.String(48), primary_key=True),
    sa.Column("received_ms", sa.BigInteger, nullable=False),
    sa.Column("power_w", sa.BigInteger, nullable=False),
    sa.Column("reading", sa.Text, nullable=False, default="{}", server_default="{}"),
    sa.ForeignKeyConstraint(["station_id"], ["stations.station_id"]),
)
"""The last power, below 0 fed in, of the meter at the grid connection that a station reads (EVSE 0, Upstream), and all
that it read then (a ConnectionReading)."""

transaction_faults: Final = declare_table(
    "transaction_faults",
    sa.Column("id", row_id, primary_key=True),
    sa.Column("station_id", sa.String(48), nullable=False),
    sa.Column("transaction_id", transaction_key, nullable=False),
    sa.Column("seq_no", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.String(24), nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("found_ms", sa.BigInteger, nullable=False),
    sa.ForeignKeyConstraint(
        ["station_id", "transaction_id"], ["transactions.station_id", "transactions.transaction_id"]
    ),
    sa.Index(None, "station_id", "transaction_id"),
)

meter_keys: Final = declare_table(
    "meter_keys",
    sa.Column("station_id", sa.String(48), primary_key=True),
    sa.Column("evse_id", sa.Integer, primary_key=True, autoincrement=False),  # 0: every meter of the station
    sa.Column("public_key", sa.Text, nullable=False),
    sa.Column("noted_ms", sa.BigInteger, nullable=False),
)
"""Trusted keys of meters, as OCPP's `publicKey`."""
