"""Two nodes on one database: one dies before any statement of its work, the other completes it, and nothing differs."""

import contextlib
import random
from collections.abc import Callable, Iterator
from datetime import UTC
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import Connection, select
from sqlalchemy.exc import SQLAlchemyError

from csms.books import store as books
from csms.books.tables import periods, posting_entries, postings
from csms.db.store import Store
from csms.settlements import store as records
from csms.settlements.rules import Copy
from csms.settlements.store import JournalRow
from csms.settlements.work import settle_journal
from tests.csms.db.books import KEY
from tests.csms.settlement.journals import SESSION, T0, journal
from tests.csms.statements import before_each_statement
from tests.csms.support import STATION
from v2g.energy.settlement.bookkeeping import period_of
from v2g.energy.settlement.canonical import canonical
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.settle import settle
from v2g.errors import RefusedError, StoreError

LATER = T0 + 40 * 86_400_000

Work = Callable[[Connection], object]


class Death(Exception):
    """The end of a node."""


@contextlib.contextmanager
def dying(store: Store, after: int) -> Iterator[list[int]]:
    """Let the node of a store lose its connection before its statement number `after`; yield the count of them."""
    count = [0]

    def execute(connection: Connection) -> None:
        if count[0] == after:
            connection.connection.dbapi_connection.close()  # type: ignore[union-attr]
            raise Death
        count[0] += 1

    with before_each_statement(store, execute):
        yield count


def works() -> list[Work]:
    """A node's work on a session, in order: lines, settlement, another settlement of it, the end of the month."""
    lines = journal()
    first, second = settle_journal(b"".join(journal(price=1)), SESSION), settle_journal(b"".join(lines), SESSION)
    head = second.posting.journal_head
    row = JournalRow(station_id=STATION, session_id=SESSION, lines=len(lines), head=head, ended=True)
    return [
        lambda connection: records.append_journal(connection, row, 0, lines, T0),
        lambda connection: books.save_settled(connection, first.posting, first.document, T0, UTC),
        lambda connection: books.save_settled(connection, second.posting, second.document, T0, UTC),
        lambda connection: books.close(connection, period_of(T0), LATER, UTC, KEY),
    ]


def content(connection: Connection) -> list[list[Any]]:
    """Everything that the work leaves, without the numbers of rows: a sequence may skip some."""
    number = {row.id: place for place, row in enumerate(connection.execute(select(postings).order_by(postings.c.id)))}
    found = [
        [tuple(row)[1:] for row in connection.execute(select(postings.c.id, postings.c.document, postings.c.reversed))],
        sorted(
            (number[row.posting_id], row.account, row.unit, row.amount)
            for row in connection.execute(select(posting_entries))
        ),
        [tuple(row) for row in connection.execute(select(periods))],
        list(records.journal_lines(connection, STATION, SESSION)),
        [row.head for row in connection.execute(select(settlement_head()))],
    ]
    return [sorted(each, key=repr) for each in found]


def settlement_head() -> Any:
    """The stored settlements' heads."""
    from csms.settlements.tables import settlements

    return settlements.c.journal_head.label("head")


@pytest.mark.some(1)
@pytest.mark.requirement("R32", "R39")
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_node_that_dies_before_any_statement_leaves_work_that_another_completes(
    request: pytest.FixtureRequest, kind: str
) -> None:
    databases = request.getfixturevalue(f"{kind}_databases")
    whole = Store(databases.create())
    statements = []
    for work in works():
        with dying(whole, -1) as count:
            whole.do(work)
        statements.append(count[0])
    expected = whole.do(content)
    whole.close()
    assert min(statements) >= 1
    url = databases.create()
    other = Store(url)
    for work, number in zip(works(), statements, strict=True):
        before = other.do(content)
        for after in range(number):
            node = Store(url)
            with dying(node, after), pytest.raises((Death, StoreError, SQLAlchemyError)):
                node.do(work)
            with contextlib.suppress(SQLAlchemyError):
                node.close()
            assert other.do(content) == before
        other.do(work)
        other.do(work)  # it died after the commit, before anybody knew of it
    assert other.do(content) == expected
    other.close()


@pytest.mark.requirement("R39")
@pytest.mark.parametrize("seed", range(5))
def test_deliveries_late_twice_and_in_any_order_make_the_same_settlement(seed: int) -> None:
    """A piece that is too early is refused, and delivered again."""
    chance, lines = random.Random(seed), [line.removesuffix(b"\n") for line in journal()]
    cuts = sorted({0, len(lines), *(chance.randrange(len(lines)) for _ in range(4))})
    pieces = [lines[begin:end] for begin, end in pairwise(cuts)]
    waiting = pieces + chance.choices(pieces, k=3)
    copy, taken = Copy(STATION, SESSION), list[bytes]()
    while waiting:
        chance.shuffle(waiting)
        with contextlib.suppress(RefusedError):
            taken += copy.take(waiting[0])
            waiting.pop(0)
    assert b"".join(taken) == b"".join(journal())
    document = settle_journal(b"".join(taken), SESSION).document
    assert document == canonical(settle(verify_lines(b"".join(journal()))))
