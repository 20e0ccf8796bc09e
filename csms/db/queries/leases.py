"""Leases: one node at a time does a work, and another one takes over when it no longer renews its lease."""

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from csms.db.tables import leases


def take(connection: Connection, name: str, node: str, now_ms: int, until_ms: int) -> bool:
    """Take or renew a lease; return False while another node has it."""
    if connection.execute(select(leases.c.name).where(leases.c.name == name)).first() is None:
        try:
            with connection.begin_nested():
                connection.execute(insert(leases).values(name=name, node=node, until_ms=until_ms))
        except IntegrityError:  # another node was first
            pass
        else:
            return True
    free = (leases.c.node == node) | (leases.c.until_ms <= now_ms)
    taken = connection.execute(
        update(leases).where((leases.c.name == name) & free).values(node=node, until_ms=until_ms)
    )
    return taken.rowcount == 1
