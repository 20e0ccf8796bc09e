"""Sites, as operators have defined them."""

from typing import Final

import msgspec
from sqlalchemy import BigInteger, Column, Connection, String, Text, select

from csms.db.base import declare_table
from csms.db.bulk import delete_rows, upsert_rows
from csms.sites.rules import Site
from v2g import typed_json

sites: Final = declare_table(
    "sites",
    Column("site_id", String(60), primary_key=True),
    Column("updated_ms", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
)


def save_site(connection: Connection, site: Site, now_ms: int) -> None:
    """Store a site, replacing one of the same id."""
    values = {"updated_ms": now_ms, "document": msgspec.json.encode(site).decode()}
    upsert_rows(connection, sites, [{"site_id": site.id} | values])


def site(connection: Connection, site_id: str) -> Site | None:
    document = connection.execute(select(sites.c.document).where(sites.c.site_id == site_id)).scalar()
    return None if document is None else typed_json.decode(document, Site)


def all_sites(connection: Connection) -> list[Site]:
    """Return every site, by id."""
    rows = connection.execute(select(sites.c.document).order_by(sites.c.site_id))
    return [typed_json.decode(row.document, Site) for row in rows]


def remove_site(connection: Connection, site_id: str) -> bool:
    """Delete a site; False when it is unknown."""
    return delete_rows(connection, sites, site_id=site_id)
