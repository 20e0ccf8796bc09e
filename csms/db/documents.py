"""Tables of documents of one type, each under its name: sites, fleets, templates, groups, price plans."""

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec
from sqlalchemy import Connection, Table, delete, select

from csms.db.bulk import upsert_rows

T = TypeVar("T")


class Documents(Generic[T]):
    """The documents of `table`: its key is their name, its column `document` their JSON, which `read` decodes."""

    def __init__(self, table: Table, read: Callable[[str], T]) -> None:
        self._table = table
        (self._name,) = table.primary_key
        self._read = read

    def save(self, connection: Connection, name: str, document: T, **columns: object) -> None:
        """Store a document, replacing one of the same name, of which columns that are not given stay."""
        encoded = msgspec.json.encode(document).decode()
        upsert_rows(connection, self._table, [{self._name.name: name, "document": encoded, **columns}])

    def find(self, connection: Connection, name: str) -> T | None:
        """Return the document of this name."""
        document = connection.execute(select(self._table.c.document).where(self._name == name)).scalar()
        return None if document is None else self._read(document)

    def all(self, connection: Connection) -> list[T]:
        """Return every document, by name."""
        query = select(self._table.c.document).order_by(self._name)
        return [self._read(document) for document in connection.execute(query).scalars()]

    def remove(self, connection: Connection, name: str) -> bool:
        """Delete a document; False when the name is unknown."""
        return connection.execute(delete(self._table).where(self._name == name)).rowcount > 0
