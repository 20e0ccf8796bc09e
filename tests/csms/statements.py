"""What a node asks its database, statement by statement."""

import contextlib
from collections.abc import Callable, Iterator
from unittest import mock

from sqlalchemy import Connection, event

from csms.db import bulk
from csms.db.store import Store


@contextlib.contextmanager
def before_each_statement(store: Store, call: Callable[[Connection], None]) -> Iterator[None]:
    """Call before each statement of a store, also those that are executed by the driver alone."""
    by_driver = bulk.by_driver

    @contextlib.contextmanager
    def watched(connection: Connection, statement: str) -> Iterator[object]:
        if connection.engine.pool is store.engine.pool:
            call(connection)
        with by_driver(connection, statement) as driver:
            yield driver

    def execute(connection: Connection, *_: object) -> None:
        call(connection)

    event.listen(store.engine, "before_cursor_execute", execute)
    try:
        with mock.patch.object(bulk, "by_driver", watched):
            yield
    finally:
        event.remove(store.engine, "before_cursor_execute", execute)
