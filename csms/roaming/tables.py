"""Roaming partners, objects of OCPI (own and partners'), and what partners are yet to be sent."""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from csms.db.base import metadata, row_id

roaming_partners: Final = Table(
    "roaming_partners",
    metadata,
    Column("partner_id", String(36), primary_key=True),
    Column("digest", String(64), unique=True),  # SHA-256 of the token that the partner uses
    Column("next_digest", String(64), unique=True),  # that of a newer one: its first use ends the other
    Column("sealed_token", Text, nullable=False),  # the token that we use
    Column("seen_ms", BigInteger),
    Column("document", Text, nullable=False),
)

roaming_objects: Final = Table(
    "roaming_objects",
    metadata,
    Column("owner", String(36), primary_key=True),  # the partner; "": this back end
    Column("module", String(20), primary_key=True),
    Column("object_id", String(160), primary_key=True),  # in lower case, a partner's with country and party
    Column("audience", String(36), nullable=False),  # the only partner that may see it; "": all
    Column("updated_ms", BigInteger, nullable=False),
    Column("state", String(20), nullable=False),
    # what it is of here: station and transaction, a token's number, a partner's session; of a tariff: when its
    # plan was stored; of one that a partner has replaced: its key (its `updated_ms`: until when it was in force)
    Column("about", String(300), nullable=False),
    # another name: the contract of a token, the plan of a tariff, the token's number of a partner's session or CDR; of
    # own sessions and CDRs: the driver's party; of a command for a driver: whether it has its result
    Column("alias", String(64), nullable=False),
    Column("document", Text, nullable=False),
    # of a CDR: findings; of an own session: its place at its start; of a command: its node; of an EVSE: why partners
    # see no price; of a partner's tariff: since when its prices are in force, UTC ms
    Column("detail", Text, nullable=False),
    Index(None, "owner", "module", "updated_ms", "object_id", "audience"),  # pages are also counted by it
    # by three columns: SQLite takes the primary key, and all objects of a module, before an index of two
    Index(None, "module", "about", "owner"),
    Index(None, "module", "alias", "owner"),
    Index(None, "module", "state", "owner", "object_id"),  # disputed CDRs, by page and counted
)

roaming_deliveries: Final = Table(
    "roaming_deliveries",
    metadata,
    Column("id", row_id, primary_key=True),
    Column("partner_id", String(36), nullable=False),
    Column("module", String(20), nullable=False),
    Column("subject", String(160), nullable=False),
    Column(
        "chain", String(300), nullable=False, server_default=""
    ),  # not sent before those of the same chain; "": of none
    Column("method", String(6), nullable=False),
    Column("path", String(2000), nullable=False),
    Column("body", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("due_ms", BigInteger),
    Column("attempts", Integer, nullable=False),
    Column("error", Text, nullable=False),
    Index(None, "due_ms"),
    Index(None, "partner_id", "module", "subject"),
)
"""The outbox; delivered rows are deleted, abandoned ones have no `due_ms`."""
