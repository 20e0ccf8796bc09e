"""Private keys wherever they are kept: one way to open them, whatever the store."""

from v2g.io.keys.secrets import read_pin
from v2g.io.keys.stores import STORES, StoredKey, load_credentials, open_key

__all__ = ["STORES", "StoredKey", "load_credentials", "open_key", "read_pin"]
