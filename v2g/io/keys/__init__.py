"""Private keys in files, tokens and TPMs: one interface for all stores."""

from v2g.io.keys.secrets import read_pin
from v2g.io.keys.stores import STORES, StoredKey, load_credentials, open_key

__all__ = ["STORES", "StoredKey", "load_credentials", "open_key", "read_pin"]
