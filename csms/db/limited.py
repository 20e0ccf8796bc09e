"""Connections to PostgreSQL that end in time, also at a server that has admitted them and then answers nothing.

libpq waits for an answer for ever, and TCP's own timeouts find only hosts that are gone.
"""

import time
from collections.abc import Callable
from math import inf
from typing import Any

from psycopg import Connection, OperationalError
from psycopg.abc import RV, PQGen
from sqlalchemy import Engine, event


class LimitedConnection(Connection[Any]):
    """Is closed, and raises OperationalError, where an answer is waited for at `until()` (s, monotonic) or later."""

    until: Callable[[], float] = staticmethod(lambda: inf)

    def wait(self, gen: PQGen[RV], *arguments: Any, **options: Any) -> RV:
        """Wait for the end of an exchange; psycopg continues `gen` every 0.1 s even if nothing arrives."""
        return super().wait(self._limited(gen), *arguments, **options)

    def _limited(self, gen: PQGen[RV]) -> PQGen[RV]:
        try:
            state = next(gen)
            while True:
                ready = yield state
                if time.monotonic() >= self.until():
                    self.close()
                    raise OperationalError("the server does not answer in time")
                state = gen.send(ready)
        except StopIteration as end:
            found: RV = end.value
            return found


def limit(engine: Engine, until: Callable[[], float]) -> None:
    """Give every new connection of an engine for PostgreSQL a limit."""

    def connect(_dialect: Any, _record: Any, arguments: Any, options: Any) -> LimitedConnection:
        made = LimitedConnection.connect(*arguments, **options)
        made.until = until
        return made

    event.listen(engine, "do_connect", connect)
