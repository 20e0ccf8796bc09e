"""Telemetry records with their typed values, their aggregates, what waits for sinks, and the progress of each boot."""

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, LargeBinary, String, Table, Text

from csms.db.base import declare_table, metadata, row_id
from v2g.telemetry.signals import SIGNALS

VALUES: Final = {name: name.replace(".", "_") for name in SIGNALS}
"""Column of each signal in `telemetry`. The store adds those of new signals when it opens the database."""

BITS: Final = {signal: 1 << place for place, signal in enumerate(VALUES)}
"""Bit of each signal in `present` of a sealed record."""

telemetry: Final = declare_table(
    "telemetry",
    Column("ev", String(64), primary_key=True),
    Column("boot", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("digest", LargeBinary(32), nullable=False),  # of a sealed record: empty
    Column("document", LargeBinary, nullable=False),
    Column("context", String(16), nullable=False, server_default=""),
    Column("present", BigInteger),  # of a sealed record: bit 0 for the first signal ..., whose columns are empty
    *(Column(column, Double) for column in VALUES.values()),
    Index(None, "ev", "at_ms"),
    Index(None, "received_ms"),
)

telemetry_keys: Final = declare_table(
    "telemetry_keys",
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("made_ms", BigInteger, nullable=False),
    Column("sealed", Text, nullable=False),  # by the store key
)

telemetry_pending: Final = declare_table(
    "telemetry_pending",
    Column("id", row_id, primary_key=True),
    Column("sink", String(64), nullable=False),
    Column("ev", String(64), nullable=False),
    Column("boot", BigInteger, nullable=False),  # 0: erase the vehicle
    Column("first_seq", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Index(None, "sink", "id"),
    Index(None, "ev", "boot"),
)

telemetry_sink_positions: Final = declare_table(
    "telemetry_sink_positions",
    Column("sink", String(64), primary_key=True),
    Column("ev", String(64), primary_key=True),
    Column("boot", BigInteger, nullable=False),  # the highest (boot, seq) that the sink has got
    Column("seq", BigInteger, nullable=False),
)

telemetry_aggregates: Final = declare_table(
    "telemetry_aggregates",
    Column("ev", String(64), primary_key=True),
    Column("width_s", Integer, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),  # begin of the interval
    Column("sealed", Boolean, nullable=False),
    Column("document", LargeBinary, nullable=False),  # Aggregate by signal, as JSON
    Index(None, "at_ms"),
    Index(None, "sealed"),
)

telemetry_segments: Final = declare_table(
    "telemetry_segments",
    Column("ev", String(64), primary_key=True),
    Column("boot", BigInteger, primary_key=True, autoincrement=False),
    Column("first_seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, nullable=False),  # of the newest value
    Column("document", LargeBinary, nullable=False),  # Segment, as JSON
    Index(None, "at_ms"),
)

telemetry_states: Final = declare_table(
    "telemetry_states",
    Column("ev", String(64), primary_key=True),
    Column("at_ms", BigInteger, nullable=False),  # of its last change, by our clock: the vehicle's may be wrong
    Column("document", LargeBinary, nullable=False),  # VehicleState, as JSON
)

telemetry_quarantine: Final = declare_table(
    "telemetry_quarantine",
    Column("ev", String(64), primary_key=True),
    Column("boot", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("schema_version", String(64), nullable=False),
    Column("reason", String(200), nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("document", LargeBinary, nullable=False),
)

vehicle_checkpoints: Final = declare_table(
    "vehicle_checkpoints",
    Column("session_id", String(16), primary_key=True),
    Column("ev", String(64), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("document", LargeBinary, nullable=False),  # the line of its file of copies
)

vehicle_firmware: Final = Table(  # plain: what a program is called, which the database counts
    "vehicle_firmware",
    metadata,
    Column("ev", String(64), primary_key=True),
    Column("part", String(16), primary_key=True),
    Column("boot", BigInteger, nullable=False),  # (boot, seq) of the newest record that says it
    Column("seq", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("hardware", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    Column("number", Integer, nullable=False),  # 0: that with which it came
    Column("failed", Integer),
)

telemetry_marks: Final = declare_table(
    "telemetry_marks",
    Column("ev", String(64), primary_key=True),
    Column("boot", BigInteger, primary_key=True, autoincrement=False),
    Column("boot_id", String(16), nullable=False, server_default=""),  # empty: of an older gateway
    Column("highest", BigInteger, nullable=False),
    Column("contiguous", BigInteger, nullable=False),
    Column("arrived", Text, nullable=False, server_default="[]"),  # ranges of numbers, as JSON
    Column("gaps", Text, nullable=False, server_default="[]"),  # ranges that are missing for good
    Column("stored", BigInteger, nullable=False),
    Column("duplicates", BigInteger, nullable=False),
    Column("conflicts", BigInteger, nullable=False),
    Column("quarantined", BigInteger, nullable=False, server_default="0"),
    Column("missing", BigInteger, nullable=False, server_default="0"),
)

Index(  # few of all boots have gaps; partial in PostgreSQL, too, whose dialect is not loaded to say so here
    "ix_telemetry_marks_gaps",
    telemetry_marks.c.ev,
    sqlite_where=telemetry_marks.c.highest > telemetry_marks.c.contiguous,
)
