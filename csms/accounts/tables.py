"""Tables of the HTTP API: tokens, answers of idempotency keys, the audit log, webhooks and their deliveries."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    false,
    true,
)

from csms.db.base import metadata, row_id

api_tokens: Final = Table(
    "api_tokens",
    metadata,
    Column("token_id", String(32), primary_key=True),
    Column("name", String(128), nullable=False),
    Column("role", String(32), nullable=False),
    Column("scopes", Text),  # JSON; null: all of the role
    Column("evs", Text, nullable=False),
    Column("sites", Text),  # JSON; null: all
    Column("sha256", String(64), nullable=False, unique=True),
    Column("created_ms", BigInteger, nullable=False),
    Column("created_by", String(128), nullable=False),
    Column("expires_ms", BigInteger),
    Column("revoked_ms", BigInteger),
)

idempotency_keys: Final = Table(
    "idempotency_keys",
    metadata,
    Column("caller", String(128), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("status", Integer),  # null: under way, or interrupted
    Column("headers", Text),
    Column("body", LargeBinary),
    Index(None, "created_ms"),
)

audit: Final = Table(
    "audit",
    metadata,
    Column("id", row_id, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("caller", String(128), nullable=False),
    Column("role", String(32), nullable=False),
    Column("peer", String(64), nullable=False),
    Column("operation", String(64), nullable=False),
    Column("path", String(500), nullable=False),
    Column("status", Integer, nullable=False),
    Column("request", Text),
    Column("before", Text),
    Column("after", Text),
    Index(None, "caller", "id"),
)

webhooks: Final = Table(
    "webhooks",
    metadata,
    Column("webhook_id", String(32), primary_key=True),
    Column("url", String(2000), nullable=False),
    Column("sealed_secret", Text, nullable=False, server_default=""),  # sealed with the store's key
    Column("kinds", Text, nullable=False),  # JSON; empty: all
    Column("station_id", String(48)),
    Column("enabled", Boolean, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("shows_tokens", Boolean, nullable=False, server_default=true()),
    Column("created_ms", BigInteger, nullable=False),
    Column("created_by", String(128), nullable=False),
)

store_keys: Final = Table("store_keys", metadata, Column("fingerprint", String(32), primary_key=True))

webhook_deliveries: Final = Table(
    "webhook_deliveries",
    metadata,
    Column("id", row_id, primary_key=True),
    Column("webhook_id", String(32), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("due_ms", BigInteger),  # null: delivered, or abandoned
    Column("attempts", Integer, nullable=False),
    Column("delivered_ms", BigInteger),
    Column("error", String(300), nullable=False),
    ForeignKeyConstraint(["webhook_id"], ["webhooks.webhook_id"], ondelete="CASCADE"),
    Index(None, "due_ms"),
    Index(None, "webhook_id", "id"),
)


users: Final = Table(
    "users",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("role", String(32), nullable=False),
    Column("sites", Text),  # JSON; null: all
    Column("subject", String(600)),  # issuer and subject of an OpenID provider; null: with a password
    Column("password", String(200), nullable=False),  # argon2id, with its parameters and salt
    Column("initial", Boolean, nullable=False, server_default=false()),  # the password was issued, not chosen
    Column("sealed_factor", Text),  # secret of the second factor, sealed with the store's key; null: none
    Column("factor_step", BigInteger, nullable=False, default=0, server_default="0"),  # last step used (RFC 6238)
    Column("created_ms", BigInteger, nullable=False),
    Column("created_by", String(128), nullable=False),
    Column("login_ms", BigInteger),
    Index(None, "subject", unique=True),
)

user_passkeys: Final = Table(
    "user_passkeys",
    metadata,
    Column("credential_id", String(1400), primary_key=True),  # base64url
    Column("name", String(64), nullable=False),
    Column("public_key", Text, nullable=False),  # COSE, base64url
    Column("sign_count", BigInteger, nullable=False),
    Column("label", String(60), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    ForeignKeyConstraint(["name"], ["users.name"], ondelete="CASCADE"),
    Index(None, "name"),
)

saved_views: Final = Table(
    "saved_views",
    metadata,
    Column("path", String(200), primary_key=True),
    Column("owner", String(64), primary_key=True),
    Column("name", String(40), primary_key=True),
    Column("query", String(500), nullable=False),
    Column("shared", Boolean, nullable=False),
    ForeignKeyConstraint(["owner"], ["users.name"], ondelete="CASCADE"),
)
"""Views of the console's lists: the query of an address, under a name."""

user_sessions: Final = Table(
    "user_sessions",
    metadata,
    Column("sha256", String(64), primary_key=True),  # of the cookie
    Column("name", String(64), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("seen_ms", BigInteger, nullable=False),
    ForeignKeyConstraint(["name"], ["users.name"], ondelete="CASCADE"),
    Index(None, "name"),
    Index(None, "seen_ms"),
)
