"""Secrets in the database are of no use to who has the database alone."""

from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from csms.db.store import Store
from csms.db.store_key import is_sealed, load_store_key, purpose, qr_purpose, seal, unseal
from csms.key_adoption import adopt, open_store_key
from csms.payments import store as payments
from csms.webhooks import store as rows
from csms.webhooks.store import Webhook
from csms.webhooks.tables import webhooks
from v2g.errors import ConfigError, KeyAccessError, StoreError
from v2g.observe import Observe
from v2g.ocpp.web_payment import QrCode

pytestmark = pytest.mark.requirement("R145")

SECRET = "whsec_" + "A" * 44


def webhook(webhook_id: str, sealed_secret: str) -> Webhook:
    return Webhook(
        webhook_id=webhook_id,
        url="https://a.example",
        sealed_secret=sealed_secret,
        kinds=(),
        station_id=None,
        enabled=True,
        failures=0,
        created_ms=1,
        created_by="admin",
    )


def kept(connection: Connection) -> str:
    found: str = connection.execute(select(webhooks.c.sealed_secret)).scalar_one()
    return found


def test_only_the_same_key_and_purpose_open_what_was_sealed() -> None:
    key, nonce = bytes(range(32)), bytes(12)
    sealed = seal(key, nonce, SECRET, "a")
    assert is_sealed(sealed)
    assert SECRET not in sealed
    assert unseal(key, sealed, "a") == SECRET
    for wrong in ((bytes(32), sealed, "a"), (key, sealed, "b"), (key, sealed[:-4] + "AAA=", "a"), (key, "x", "a")):
        with pytest.raises(StoreError):
            unseal(*wrong)


def test_secrets_of_before_are_sealed_at_the_first_start(store: Store, tmp_path: Path) -> None:
    key = load_store_key(None, tmp_path)
    assert (tmp_path / "store.key").stat().st_mode & 0o777 == 0o600
    store.do(rows.add, webhook("w", SECRET))
    store.do(payments.save_qr_code, "CS-1", QrCode(template="t", shared_secret="a secret of before"))
    store.do(payments.save_qr_code, "CS-2", QrCode(template="t", shared_secret=""))
    assert store.do(adopt, key, alone=False) is None
    secrets = store.do(payments.qr_secrets)
    assert list(secrets) == ["CS-1"]
    assert is_sealed(secrets["CS-1"])
    assert key.open(secrets["CS-1"], qr_purpose("CS-1")) == "a secret of before"
    sealed = store.do(kept)
    assert SECRET not in sealed
    again = load_store_key(None, tmp_path)
    assert again.open(sealed, purpose("w")) == SECRET
    assert store.do(adopt, again, alone=False) is None
    assert store.do(kept) == sealed


async def test_a_node_with_another_key_is_refused_and_who_lost_the_key_goes_on(store: Store, tmp_path: Path) -> None:
    first, second = load_store_key(None, tmp_path / "1"), load_store_key(None, tmp_path / "2")
    store.do(adopt, first, alone=False)
    store.do(rows.add, webhook("w", first.seal(SECRET, purpose("w"))))
    with pytest.raises(StoreError) as caught:
        store.do(adopt, second, alone=False)
    assert "store_key" in caught.value.hint
    reported: list[Observe] = []
    await open_store_key(store, None, tmp_path / "2", reported.append, alone=True)
    assert [(each.name, each.data.get("webhook")) for each in reported] == [
        ("store_key_changed", None),
        ("webhook_disabled", "w"),
    ]
    found = store.do(rows.find, "w")
    assert found is not None
    assert not found.enabled
    await open_store_key(store, None, tmp_path / "2", reported.append, alone=False)
    assert len(reported) == 2


def test_a_key_that_is_none_or_may_be_read_by_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    with pytest.raises(KeyAccessError):
        load_store_key(path, tmp_path)
    path.write_text("00" * 31)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="no key"):
        load_store_key(path, tmp_path)
    path.write_text("00" * 32)
    path.chmod(0o640)
    with pytest.raises(KeyAccessError, match="0640"):
        load_store_key(path, tmp_path)
