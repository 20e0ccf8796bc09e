"""How the parts of each station work, by its sessions: one row a station."""

from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    String,
    insert,
    select,
    update,
)

from csms.db.base import AnyRow, declare_table, page
from csms.session_metrics.rules import JudgedStation, StationTracks, apart, drift, figures, levels, restarted, taken
from csms.stations.tables import stations
from v2g import typed_json
from v2g.hardware.session_metrics import SessionMetrics
from v2g.typed_json import Fields

session_metrics: Final = declare_table(
    "session_metrics",
    Column("station_id", String(48), primary_key=True),
    Column("kind", String(128), nullable=False),  # make, model and firmware
    Column("changed_ms", BigInteger, nullable=False),
    Column("document", LargeBinary, nullable=False),  # StationState, as JSON
    Column("levels", LargeBinary, nullable=False),  # by figure, as JSON
    Column("drift", Float, nullable=False),
    Column("drift_by", LargeBinary, nullable=False),  # Judged, as JSON
    Column("apart", Float, nullable=False),
    Column("apart_by", LargeBinary, nullable=False),
    Index(None, "kind", "changed_ms"),
    ForeignKeyConstraint(["station_id"], ["stations.station_id"]),
)

_OTHERS: Final = 200
"""Stations of a kind with which one is compared: those with the latest sessions."""

_encode: Final = msgspec.json.Encoder().encode
_state = typed_json.decoder(StationTracks).decode
_levels = typed_json.decoder(dict[str, float]).decode
_judged = typed_json.decoder(JudgedStation).decode


def take(connection: Connection, station_id: str, metrics: SessionMetrics, now_ms: int) -> bool:
    """Take over a session of a station; return False for one that is known. Another make or firmware starts over."""
    column, made = session_metrics.c, stations.c
    row = connection.execute(select(session_metrics).where(column.station_id == station_id).with_for_update()).first()
    query = select(made.vendor, made.model, made.firmware).where(made.station_id == station_id)
    kind = "\n".join(connection.execute(query).one_or_none() or ())
    before = StationTracks() if row is None or row.kind != kind else _state(row.document)
    state = taken(before, metrics)
    if state is None:
        return False
    others = select(column.levels).where(column.kind == kind, column.station_id != station_id)
    newest = connection.execute(others.order_by(column.changed_ms.desc()).limit(_OTHERS)).scalars()
    values = {"kind": kind, **_judgement(state, apart(state, [_levels(each) for each in newest]), now_ms)}
    if row is None:
        connection.execute(insert(session_metrics).values(station_id=station_id, **values))
    else:
        connection.execute(update(session_metrics).where(column.station_id == station_id).values(**values))
    return True


def _judgement(state: StationTracks, differs: JudgedStation, now_ms: int) -> dict[str, object]:
    moved = drift(state)
    return {
        "changed_ms": now_ms,
        "document": _encode(state),
        "levels": _encode(levels(state)),
        "drift": moved.value,
        "drift_by": _encode(moved),
        "apart": differs.value,
        "apart_by": _encode(differs),
    }


def reset(connection: Connection, station_id: str, now_ms: int) -> None:
    """Forget how a station's sessions were: the next ones are the reference."""
    here = session_metrics.c.station_id == station_id
    document = connection.execute(select(session_metrics.c.document).where(here).with_for_update()).scalar()
    if document is not None:
        values = _judgement(restarted(_state(document)), JudgedStation(), now_ms)
        connection.execute(update(session_metrics).where(here).values(**values))


def listed(connection: Connection, after: tuple[str, ...] | None, limit: int) -> list[Fields]:
    """Return what is known of stations, by identity: at most `limit` of those after a position."""
    query = page(select(session_metrics), (session_metrics.c.station_id,), after, limit, rising=True)
    return [_known(row) for row in connection.execute(query)]


def find(connection: Connection, station_id: str) -> Fields | None:
    """Return what is known of a station."""
    row = connection.execute(select(session_metrics).where(session_metrics.c.station_id == station_id)).first()
    return None if row is None else _known(row)


def _known(row: AnyRow) -> Fields:
    names = ("station_id", "changed_ms", "drift", "apart")
    return {name: row._mapping[name] for name in names} | {"figures": figures(_state(row.document))}


def beyond(
    connection: Connection, what: Literal["drift", "apart"], limit: float, most: int
) -> Sequence[tuple[str, JudgedStation]]:
    """Return the stations whose `drift` or `apart` is beyond a limit."""
    column: Any = session_metrics.c
    query = select(column.station_id, column[f"{what}_by"]).where(column[what] > limit).order_by(column.station_id)
    return [(row[0], _judged(row[1])) for row in connection.execute(query.limit(most))]
