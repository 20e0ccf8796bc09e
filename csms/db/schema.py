"""The database schema: the tables of all features, in `tables` or, where there are few, in `store`.

Migrations bring existing databases here; a test compares both.
"""

from typing import Final

from sqlalchemy import MetaData

from csms.db import base, leases
from csms.features import modules

TABLES: Final = (leases, *modules("tables", "store"))
"""The modules that declare tables."""

metadata: Final[MetaData] = base.metadata
"""All tables."""
