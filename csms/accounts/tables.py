"""Tables of the HTTP API: tokens, answers of idempotency keys, the audit log, users, their sessions and views."""

from typing import Final

import sqlalchemy as sa

from csms.db.base import declare_table, row_id

api_tokens: Final = declare_table(
    "api_tokens",
    sa.Column("token_id", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(128), nullable=False),
    sa.Column("role", sa.String(32), nullable=False),
    sa.Column("scopes", sa.Text),  # JSON; null: all of the role
    sa.Column("evs", sa.Text, nullable=False),
    sa.Column("sites", sa.Text),  # JSON; null: all
    sa.Column("sha256", sa.String(64), nullable=False, unique=True),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("created_by", sa.String(128), nullable=False),
    sa.Column("expires_ms", sa.BigInteger),
    sa.Column("revoked_ms", sa.BigInteger),
)

idempotency_keys: Final = declare_table(
    "idempotency_keys",
    sa.Column("caller", sa.String(128), primary_key=True),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("status", sa.Integer),  # null: under way, or interrupted
    sa.Column("headers", sa.Text),
    sa.Column("body", sa.LargeBinary),
    sa.Index(None, "created_ms"),
)

audit: Final = declare_table(
    "audit",
    sa.Column("id", row_id, primary_key=True),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("caller", sa.String(128), nullable=False),
    sa.Column("role", sa.String(32), nullable=False),
    sa.Column("peer", sa.String(64), nullable=False),
    sa.Column("operation", sa.String(64), nullable=False),
    sa.Column("path", sa.String(500), nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("request", sa.Text),
    sa.Column("before", sa.Text),
    sa.Column("after", sa.Text),
    sa.Index(None, "caller", "id"),
)

store_keys: Final = declare_table("store_keys", sa.Column("fingerprint", sa.String(32), primary_key=True))

users: Final = declare_table(
    "users",
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("role", sa.String(32), nullable=False),
    sa.Column("sites", sa.Text),  # JSON; null: all
    sa.Column("subject", sa.String(600)),  # issuer and subject of an OpenID provider; null: with a password
    sa.Column("password", sa.String(200), nullable=False),  # argon2id, with its parameters and salt
    sa.Column("initial", sa.Boolean, nullable=False, server_default=sa.false()),  # the password was issued, not chosen
    sa.Column("sealed_factor", sa.Text),  # secret of the second factor, sealed with the store's key; null: none
    sa.Column("factor_step", sa.BigInteger, nullable=False, default=0, server_default="0"),  # last step used (RFC 6238)
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("created_by", sa.String(128), nullable=False),
    sa.Column("login_ms", sa.BigInteger),
    sa.Index(None, "subject", unique=True),
)

user_passkeys: Final = declare_table(
    "user_passkeys",
    sa.Column("credential_id", sa.String(1400), primary_key=True),  # base64url
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("public_key", sa.Text, nullable=False),  # COSE, base64url
    sa.Column("sign_count", sa.BigInteger, nullable=False),
    sa.Column("label", sa.String(60), nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.ForeignKeyConstraint(["name"], ["users.name"], ondelete="CASCADE"),
    sa.Index(None, "name"),
)

saved_views: Final = declare_table(
    "saved_views",
    sa.Column("path", sa.String(200), primary_key=True),
    sa.Column("owner", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("query", sa.String(500), nullable=False),
    sa.Column("shared", sa.Boolean, nullable=False),
    sa.ForeignKeyConstraint(["owner"], ["users.name"], ondelete="CASCADE"),
)
"""Views of the console's lists: the query of an address, under a name."""

user_sessions: Final = declare_table(
    "user_sessions",
    sa.Column("sha256", sa.String(64), primary_key=True),  # of the cookie
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("seen_ms", sa.BigInteger, nullable=False),
    sa.ForeignKeyConstraint(["name"], ["users.name"], ondelete="CASCADE"),
    sa.Index(None, "name"),
    sa.Index(None, "seen_ms"),
)
