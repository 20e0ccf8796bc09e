"""People who log in to the console, and their sessions."""

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, ForeignKeyConstraint, Index, String, Table, Text, false

from csms.db.tables.base import metadata

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
