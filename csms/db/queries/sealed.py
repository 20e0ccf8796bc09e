"""Which key seals the secrets in this database."""

from sqlalchemy import Connection, delete, insert, select

from csms.db.tables import store_keys


def key_in_use(connection: Connection) -> str | None:
    """Return the fingerprint of the key, None without one."""
    found: str | None = connection.execute(select(store_keys.c.fingerprint)).scalar()
    return found


def use_key(connection: Connection, fingerprint: str) -> None:
    """Store the fingerprint of the present key."""
    connection.execute(delete(store_keys))
    connection.execute(insert(store_keys).values(fingerprint=fingerprint))
