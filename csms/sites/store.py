"""Sites, as operators have defined them."""

from typing import Final

from sqlalchemy import BigInteger, Column, Connection, String, Text

from csms.db.base import declare_table
from csms.db.documents import Documents
from csms.sites.rules import Site
from v2g import typed_json

sites: Final = declare_table(
    "sites",
    Column("site_id", String(60), primary_key=True),
    Column("updated_ms", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
)


_sites: Final = Documents(sites, typed_json.decoder(Site).decode)

site = _sites.find
all_sites = _sites.all
remove_site = _sites.remove


def save_site(connection: Connection, site: Site, now_ms: int) -> None:
    """Store a site, replacing one of the same id."""
    _sites.save(connection, site.id, site, updated_ms=now_ms)
