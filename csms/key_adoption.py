"""The key of a database: adopted when the back end starts, and secrets that are not sealed yet are sealed by it."""

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, delete, insert, select

from csms.accounts.tables import store_keys
from csms.db.store import Store
from csms.db.store_key import StoreKey, is_sealed, load_store_key, purpose, qr_purpose
from csms.payments import store as payments
from csms.webhooks import store as webhooks
from v2g.errors import StoreError
from v2g.observe import Observe


def key_in_use(connection: Connection) -> str | None:
    """Return the fingerprint of the key, None without one."""
    found: str | None = connection.execute(select(store_keys.c.fingerprint)).scalar()
    return found


def adopt(connection: Connection, key: StoreKey, *, alone: bool) -> list[str] | None:
    """Check that this database is used with this key; return None, or the webhooks whose secrets another key had.

    Clear secrets are sealed. A node of a cluster with another key is rejected with StoreError; a single node
    has lost the old key, continues with the new one, and disables what only the old one opens.
    """
    known = key_in_use(connection)
    lost: list[str] | None = None
    if known not in (None, key.fingerprint):
        if not alone:
            raise StoreError(
                "the secrets in this database are sealed with another key",
                hint="give every node the same store_key: copy the file of the first one",
            )
        lost = [each.webhook_id for each in webhooks.list_all(connection) if is_sealed(each.sealed_secret)]
        webhooks.disable(connection, lost)
    if known != key.fingerprint:
        connection.execute(delete(store_keys))
        connection.execute(insert(store_keys).values(fingerprint=key.fingerprint))
    for webhook in webhooks.list_all(connection):
        here = webhook.webhook_id
        if not is_sealed(webhook.sealed_secret):
            webhooks.change_secret(connection, here, key.seal(webhook.sealed_secret, purpose(here)))
    for station_id, secret in payments.qr_secrets(connection).items():
        if not is_sealed(secret):
            payments.change_qr_secret(connection, station_id, key.seal(secret, qr_purpose(station_id)))
    return lost


async def open_store_key(
    store: Store, path: Path | None, data_dir: Path, observe: Callable[[Observe], None], *, alone: bool
) -> StoreKey:
    """Load the key and adopt it; report what only another one opens. Raises ConfigError, StoreError."""
    key = load_store_key(path, data_dir)
    lost = await store.run(lambda connection: adopt(connection, key, alone=alone))
    if lost is not None:
        observe(Observe("program", "store_key_changed"))
    for webhook_id in lost or ():
        observe(Observe("ocpp", "webhook_disabled", {"webhook": webhook_id, "reason": "another store_key"}))
    return key
